/* The front end as the rest of the compiler sees it: a description's text in, a Model out, and questions about it. */
#include "frontend/library.h"
#include "frontend/lower.h"

#include <string.h>

static Model *parse(const char *text, const char *file, const char *const *sets, size_t set_count, bool is_made,
                    Arena *arena, Diag *diag) {
    int errors = diag->errors;
    Json *json = json_parse(text, file, arena, diag);
    if (!json) return NULL;
    for (size_t i = 0; i < set_count; i++) json_set(json, sets[i], arena, diag);
    Model *model = arena_array(arena, Model, 1);
    model->arena = arena;
    model->reported = arena_array(arena, const Reported *, 1);
    const Json **library = library_parse(arena);
    if (json->kind != JSON_object)
        return diag_error(diag, json_place(json), "a description is an object, but this is %s",
                          json_kind_name(json->kind)),
               NULL;
    read_model(model, json, library, library_file_count, diag);
    lower_trial(model, diag);
    if (!is_made) model_check_unused(model, diag);
    return diag->errors == errors ? model : NULL;
}

Model *model_parse(const char *text, const char *file, const char *const *sets, size_t set_count, Arena *arena,
                   Diag *diag) {
    return parse(text, file, sets, set_count, false, arena, diag);
}

Model *model_parse_made(const char *text, const char *file, Arena *arena, Diag *diag) {
    return parse(text, file, NULL, 0, true, arena, diag);
}

const char *model_name(const Model *model) { return model->name; }
const char *model_resolved(const Model *model, Arena *arena) { return json_print(model->json, arena); }
bool model_has_training(const Model *model) { return model->has_training; }
int64_t model_batch(const Model *model) { return model->training.batch; }
int64_t model_epochs(const Model *model) { return model->training.epochs; }
uint64_t model_seed(const Model *model) { return model->training.seed; }

/* The tree is this model's alone. */
void model_set_epochs(Model *model, int64_t epochs) {
    Diag quiet;
    diag_init(&quiet);
    const char *set = arena_printf(model->arena, "training.epochs=%lld", (long long)epochs);
    json_set((Json *)(uintptr_t)model->json, set, model->arena, &quiet);
    diag_free(&quiet);
    model->training.epochs = epochs;
}

void model_set_samples(Model *model, int64_t samples) { model->training.samples = samples; }

bool model_check_samples(const Model *model, Diag *diag) {
    const Json *training = model->training.json, *batch = json_get(training, "batch");
    int64_t samples = model->training.samples;
    if (samples >= model->training.batch) return true;
    diag_error(diag, json_place(batch ? batch : training),
               "a batch is %lld samples, but the data hold %lld: no step could be made",
               (long long)model->training.batch, (long long)samples);
    return false;
}

uint32_t model_data(const Model *model, const DataSpec **specs) {
    *specs = model->data_specs;
    return model->training.data_count;
}

const DataSpec *model_text(const Model *model) {
    return model->text ? &model->data_specs[model->text - model->training.data] : NULL;
}

void model_set_vocabulary_failure(Model *model, const char *why) { model->vocabulary_failure = why; }

uint32_t model_reports(const Model *model, const char *const **names) {
    *names = model->report_names;
    return model->report_count;
}

uint32_t model_health(const Model *model) { return model->training.health.count; }

KnnSpec model_knn(const Model *model) { return model->training.knn; }

BeginSpec model_begin(const Model *model) { return model->training.begin; }

/* The tree is this model's alone. */
void model_begin_at(Model *model, const char *from) {
    model->training.begin.from = from;
    ((Json *)(uintptr_t)model->training.begin_from)->text = from;
}

void model_begin_error(const Model *model, Diag *diag, const char *message) {
    diag_error(diag, json_place(model->training.begin_json), "%s", message);
}

uint32_t model_functions(const Model *model, const char *const **names) {
    *names = model->function_names;
    return model->function_count;
}

const char *model_family(const Model *model, uint32_t function) {
    const Function *named = &model->functions[function];
    return named->family ? named->family : named->name;
}

const char *model_function_for(const Model *model, const char *family, int64_t length, int64_t *most) {
    const char *name = NULL;
    *most = 0;
    for (uint32_t i = 0; i < model->function_count; i++) {
        const Function *function = &model->functions[i];
        if (!function->family || strcmp(function->family, family)) continue;
        if (*most < length) name = function->name, *most = function->length;
    }
    return name;
}
