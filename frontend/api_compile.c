/* From an open model to compiled code with a session: shapes of the data, graphs, programs, the JIT, first states.
 *
 * Everything is done when it is first needed. A model that is only asked for its functions never opens its training
 * data; when it is then trained, it is compiled again and the states that both know keep their values. */
#include "frontend/api.h"

#include "runtime/data/data.h"

#include <stdlib.h>
#include <string.h>

int api_need_target(SelfcModel *model) {
    if (model->has_target) return 0;
    Diag diag;
    diag_init(&diag);
    if (!target_make(model->options.triple, model->options.cpu, model->arena, &model->target, &diag))
        return api_fail_with(&diag);
    diag_free(&diag);
    model->has_target = true;
    if (!model->options.untuned) api_choices_load(model, &model->measured, model->arena);
    return 0;
}

PipelineOptions api_pipeline_options(const SelfcModel *model) {
    Machine machine = model->has_target ? model->target.machine : machine_generic();
    machine.measured = &model->measured;
    return (PipelineOptions){.dump = model->options.dump,
                             .check_meaning = model->options.check_meaning,
                             .times = model->options.times,
                             .machine = machine};
}

/* --- the data --- */

static Type api_type(const SelfcTensor *tensor) {
    Dim dim[MAX_RANK] = {0};
    for (int32_t i = 0; i < tensor->rank; i++) dim[i] = tensor->dim[i];
    return type_make((DType)tensor->dtype, (uint32_t)tensor->rank, dim);
}

static int api_shape_of(SelfcModel *model, const SelfcSource *source, const DataSpec *spec, DataShape *shape) {
    const SelfcField *fields;
    selfc_source_fields(source, &fields);
    int field = selfc_source_field(source, spec->field);
    if (field < 0)
        return api_fail("%s: error: training input \"%s\": %s", model->options.file, spec->input, selfc_failure());
    *shape = (DataShape){spec->input, arena_copy(model->arena, fields[field].name), api_type(&fields[field].sample)};
    return 0;
}

SelfcSourceOptions api_source_options(const SelfcModel *model, const DataSpec *spec) {
    const char *data = model->options.data;
    return (SelfcSourceOptions){.source = data ? NULL : spec->source,
                                .path = data ? data : spec->path,
                                .split = SELFC_TRAIN,
                                .height = spec->height,
                                .width = spec->width,
                                .channels = spec->channels,
                                .cache = model->options.cache ? model->options.cache : "",
                                .tokenizer = model->tokenizer,
                                .length = spec->length,
                                .stride = spec->stride,
                                .unit = spec->unit,
                                .has_labels = spec->has_labels};
}

int api_need_shapes(SelfcModel *model) {
    if (model->has_shapes) return 0;
    if (api_need_tokenizer(model) || api_begin_check_tokenizer(model)) return 1;
    const DataSpec *specs;
    uint32_t count = model_data(model->description, &specs);
    double start = api_seconds();
    model->shapes = arena_array(model->arena, DataShape, count + 1);
    SelfcSource *source = NULL;
    int failed = 0;
    for (uint32_t i = 0; i < count && !failed; i++) {
        SelfcSourceOptions options = api_source_options(model, &specs[i]);
        selfc_source_close(source);
        source = selfc_source_open(&options);
        failed = source ? api_shape_of(model, source, &specs[i], &model->shapes[i]) : api_fail("%s", selfc_failure());
        if (source && selfc_source_cut(source)) model->cut = arena_copy(model->arena, selfc_source_cut(source));
    }
    if (source) model->samples = selfc_source_count(source);
    model_set_samples(model->description, model->samples);
    selfc_source_close(source);
    if (model->options.times) fprintf(stderr, "%8.2f ms  opening the data\n", 1e3 * (api_seconds() - start));
    if (failed) return 1;
    model->shape_count = count;
    model->has_shapes = true;
    return 0;
}

/* --- graphs and programs --- */

const char *api_function(SelfcModel *model, const char *function) {
    const char *const *names;
    uint32_t count = model_functions(model->description, &names);
    bool has_training = model_has_training(model->description);
    if (!function && has_training) return "train";
    if (!function && count) return names[0];
    if (!function) {
        api_fail("%s: error: there is neither training nor a function in it", model->options.file);
        return NULL;
    }
    if (has_training && (!strcmp(function, "train") || !strcmp(function, "evaluate"))) return function;
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(names[i], function)) return names[i];
    int64_t most;
    const char *longest = model_function_for(model->description, function, INT64_MAX, &most);
    if (longest) return longest;
    const char *nearest = diag_nearest(function, names, count);
    if (nearest)
        api_fail("%s: error: there is no function \"%s\"; did you mean \"%s\"?", model->options.file, function,
                 nearest);
    else if (count)
        api_fail("%s: error: there is no function \"%s\"; the first of %u is \"%s\"", model->options.file, function,
                 count, names[0]);
    else
        api_fail("%s: error: there is no function \"%s\": the description has no functions", model->options.file,
                 function);
    return NULL;
}

Graph *api_lower(SelfcModel *model, const char *name, Diag *diag) {
    Graph *(*lower)(const Model *, const DataShape *, size_t, Diag *) = !strcmp(name, "train")      ? lower_train
                                                                        : !strcmp(name, "evaluate") ? lower_evaluate
                                                                        : !strcmp(name, "$health")  ? lower_health
                                                                                                    : NULL;
    if (!lower) return lower_function(model->description, name, diag);
    return lower(model->description, model->shapes, model->shape_count, diag);
}

Program *api_program(SelfcModel *model, const char *name, const char *stop_after, Diag *diag) {
    double start = api_seconds();
    Graph *graph = api_lower(model, name, diag), *stopped;
    double lowered = api_seconds();
    Program *program = NULL;
    if (graph && !diag->errors && autodiff_check(graph, diag)) {
        PipelineOptions options = api_pipeline_options(model);
        options.stop_after = stop_after;
        api_memory_run(model, graph, &options, diag, &stopped, &program);
    }
    graph_free(graph);
    if (model->options.times)
        fprintf(stderr, "%8.2f ms  lowering %s\n%8.2f ms  passes over %s\n", 1e3 * (lowered - start), name,
                1e3 * (api_seconds() - lowered), name);
    return program;
}

/* --- compiling --- */

/* Of how many classes the training step takes this input to be labels; 0: it does not say. */
static int64_t api_class_count(const Program *train, const char *input) {
    for (uint32_t i = 0; i < train->input_count; i++)
        if (!strcmp(train->inputs[i].name, input)) return train->inputs[i].below;
    return 0;
}

/* What the training multiplies data input `data` with. */
static double api_scale(const SelfcModel *model, const Program *train, uint32_t data, const char *input) {
    for (uint32_t i = 0; i < train->input_count; i++)
        if (train->inputs[i].kind == INPUT_data && !strcmp(train->inputs[i].name, input))
            return model_data_scale(model->description, data, train->inputs[i].type.dtype);
    return 1;
}

/* The training step's outputs that are none of the description's reports. */
static const char *const *api_measures(const SelfcModel *model, const Program *train, uint32_t *count) {
    const char **names = arena_array(model->arena, const char *, train->output_count);
    *count = 0;
    for (uint32_t i = 0; i < train->output_count; i++)
        if (train->outputs[i].updates < 0 && train->outputs[i].name[0] == '$')
            names[(*count)++] = train->outputs[i].name;
    return names;
}

static SelfcTraining api_training(const SelfcModel *model, const Program *train) {
    const Model *description = model->description;
    const DataSpec *specs;
    uint32_t count = model_data(description, &specs);
    SelfcDataSpec *data = arena_array(model->arena, SelfcDataSpec, count + 1);
    for (uint32_t i = 0; i < count; i++)
        data[i] = (SelfcDataSpec){specs[i].input,
                                  specs[i].source,
                                  specs[i].path,
                                  specs[i].field,
                                  api_class_count(train, specs[i].input),
                                  specs[i].height,
                                  specs[i].width,
                                  specs[i].channels,
                                  api_scale(model, train, i, specs[i].input),
                                  specs[i].length,
                                  specs[i].stride,
                                  specs[i].unit,
                                  specs[i].has_labels};
    bool has_health = model_health(description) > 0;
    KnnSpec knn = model_knn(description);
    SelfcTraining training = {.train = 0,
                              .evaluate = 1,
                              .health = has_health ? 2 : -1,
                              .feature_count = model_health(description),
                              .knn = {knn.every, knn.k, knn.samples, knn.temperature, knn.function},
                              .data = data,
                              .data_count = count,
                              .batch = model_batch(description),
                              .epochs = model_epochs(description),
                              .seed = model_seed(description),
                              .tokenizer = model->tokenizer_text,
                              .begin = api_begin(model)};
    ApiClassTexts classes = api_class_texts(model);
    training.labels = classes.labels;
    training.problem_type = classes.problem_type;
    training.report_count = model_reports(description, &training.reports);
    training.measures = api_measures(model, train, &training.measure_count);
    return training;
}

/* A loss that compares the samples of a batch with one another is evaluated in batches of the training's size. */
static int64_t api_evaluation_batch(const SelfcModel *model, const Program *program) {
    for (uint32_t i = 0; i < program->input_count; i++)
        if (program->inputs[i].kind == INPUT_data && type_has_batch(program->inputs[i].type)) return 0;
    return model_batch(model->description);
}

static bool api_add_program(SelfcModel *model, CompileInput *input, const char *name, int64_t batch,
                            const char *stop_after, Diag *diag) {
    Program *program = api_program(model, name, stop_after, diag);
    if (!program) return false;
    if (!strcmp(name, "evaluate")) batch = api_evaluation_batch(model, program);
    input->batches[input->program_count] = batch;
    input->programs[input->program_count++] = program;
    return true;
}

/* Samples and their views for the report, where the description makes any. */
static void api_add_views(SelfcModel *model, CompileInput *input) {
    enum { ROWS = 8 };
    Diag quiet;
    diag_init(&quiet);
    Graph *graph = lower_preview(model->description, model->shapes, model->shape_count, ROWS, &quiet), *stopped;
    diag_free(&quiet);
    if (!graph) return;
    Program *program = NULL;
    PipelineOptions options = api_pipeline_options(model);
    pipeline_run(graph, &options, &stopped, &program);
    graph_free(graph);
    input->batches[input->program_count] = ROWS;
    input->programs[input->program_count++] = program;
}

/* The step, its evaluation and what looks at its health have the same layers: what is wrong with them is said once. */
static bool api_add_training(SelfcModel *model, CompileInput *input, const char *stop_after, Diag *diag) {
    int64_t batch = model_batch(model->description);
    bool good =
        api_add_program(model, input, "train", batch, stop_after, diag) &&
        api_add_program(model, input, "evaluate", 0, stop_after, diag) &&
        (!model_health(model->description) || api_add_program(model, input, "$health", batch, stop_after, diag));
    if (good) input->training = api_training(model, input->programs[0]);
    return good;
}

int api_input(SelfcModel *model, ApiWanted wanted, CompileInput *input) {
    if (api_need_target(model) || (wanted.has_training && api_need_shapes(model))) return 1;
    uint32_t most = wanted.function_count + 4;
    *input = (CompileInput){.name = model_name(model->description),
                            .description = model_resolved(model->description, model->arena),
                            .programs = arena_array(model->arena, Program *, most),
                            .batches = arena_array(model->arena, int64_t, most),
                            .training = {.train = -1, .evaluate = -1, .health = -1}};
    Diag diag;
    diag_init(&diag);
    bool good = !wanted.has_training || api_add_training(model, input, wanted.stop_after, &diag);
    for (uint32_t i = 0; i < wanted.function_count; i++)
        good = api_add_program(model, input, wanted.functions[i], 0, wanted.stop_after, &diag) && good;
    if (good && wanted.has_training) api_add_views(model, input);
    if (good) return diag_free(&diag), 0;
    api_input_free(input);
    return api_fail_with(&diag);
}

void api_input_free(CompileInput *input) {
    for (uint32_t i = 0; i < input->program_count; i++) program_free(input->programs[i]);
    input->program_count = 0;
}

void api_compiled_free(Compiled *compiled) {
    for (uint32_t i = 0; compiled->programs && compiled->programs[i]; i++) program_free(compiled->programs[i]);
    selfc_session_free(compiled->session);
    jit_free(compiled->jit);
    free(compiled->programs);
    free(compiled->io);
    free(compiled->results);
    *compiled = (Compiled){0};
}

static int api_jit(SelfcModel *model, bool training, Compiled *compiled) {
    ApiWanted wanted = {.has_training = training};
    wanted.function_count = model_functions(model->description, &wanted.functions);
    CompileInput input;
    if (api_input(model, wanted, &input)) return 1;
    compiled->programs = calloc(input.program_count + 1, sizeof *compiled->programs);
    if (!compiled->programs) die("no memory");
    memcpy(compiled->programs, input.programs, input.program_count * sizeof *compiled->programs);
    if (!model->target.is_host) return api_fail("code for %s cannot be run here, only built", model->target.triple);
    CompileOptions options = {.threads = (uint32_t)model->options.threads,
                              .cache = model->options.cache,
                              .times = model->options.times,
                              .listener = api_listener(model)};
    Diag diag;
    diag_init(&diag);
    double start = api_seconds();
    compiled->jit = jit_compile(&input, &model->target, &options, &diag);
    if (model->options.times) fprintf(stderr, "%8.2f ms  compiling\n", 1e3 * (api_seconds() - start));
    if (!compiled->jit) return api_fail_with(&diag);
    diag_free(&diag);
    compiled->module = jit_module(compiled->jit);
    compiled->has_training = training;
    return 0;
}

/* First values of the states, then what the RUN or selfc_weights_load says. */
static int api_open_session(const SelfcModel *model, Compiled *compiled) {
    compiled->session = selfc_session_new(compiled->module, model->options.threads, api_seed(model));
    if (!compiled->session) return api_fail("%s", selfc_failure());
    if (!(model->weights ? api_load(compiled, model->weights) : api_begin_states(model, compiled))) return 0;
    selfc_session_free(compiled->session);
    compiled->session = NULL;
    return 1;
}

static void api_keep_states(const Compiled *from, Compiled *to) {
    if (to->session) selfc_session_changed(to->session);
    for (uint32_t i = 0; from->session && i < from->module->state_count; i++) {
        const SelfcState *old = &from->module->states[i], *new = selfc_find_state(to->module, old->tensor.name);
        if (new)
            memcpy((char *)to->session->state + new->offset, (char *)from->session->state + old->offset,
                   selfc_tensor_bytes(&old->tensor, 1));
    }
}

int api_need_code(SelfcModel *model, bool training) {
    training = training && model_has_training(model->description);
    Compiled *old = &model->compiled;
    if (old->jit && (old->has_training || !training)) return 0;
    Compiled compiled = {0};
    if (api_jit(model, training, &compiled) || (old->session && api_open_session(model, &compiled))) {
        api_compiled_free(&compiled);
        return 1;
    }
    api_keep_states(old, &compiled);
    api_compiled_free(old);
    *old = compiled;
    return 0;
}

int api_need_session(SelfcModel *model, bool training) {
    if (api_need_code(model, training)) return 1;
    return model->compiled.session ? 0 : api_open_session(model, &model->compiled);
}
