/* Features of samples, for pictures of what was learned and for judging it. */
#include "runtime/train/features.h"

#include <stdlib.h>
#include <string.h>

static const SelfcTensor *features_sample(const Trainer *trainer) {
    const Feed *feed = &trainer->feed;
    const SelfcField *fields;
    if (!feed->input_count) return NULL;
    selfc_source_fields(feed->inputs[0].source[SELFC_TRAIN], &fields);
    return &fields[feed->inputs[0].field].sample;
}

/* The only input that is data. */
static const SelfcTensor *features_input(const SelfcProgram *program) {
    const SelfcTensor *only = NULL;
    for (uint32_t i = 0; i < program->input_count; i++) {
        if (!binding_is_data_input(&program->io[i])) continue;
        if (only) return NULL;
        only = &program->io[i];
    }
    return only;
}

static bool features_fits(const Trainer *trainer, const SelfcProgram *program) {
    const SelfcTensor *sample = features_sample(trainer), *input = features_input(program);
    const SelfcTensor *output = &program->io[program->input_count];
    if (!sample || !input || program->batch || !program->output_count || program->name[0] == '$') return false;
    bool is_stored = input->dtype == sample->dtype, is_scaled = input->dtype == SELFC_f32 && sample->dtype == SELFC_u8;
    return (is_stored || is_scaled) && input->rank > 0 && input->dim[0] == -1 &&
           selfc_tensor_elements(input, 1) == selfc_tensor_elements(sample, 0) && output->dtype == SELFC_f32 &&
           output->rank == 2 && output->dim[0] == -1 && output->dim[1] > 1;
}

const SelfcProgram *features_function(const Trainer *trainer, const char *name) {
    const SelfcModule *module = trainer->module;
    const SelfcProgram *found = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < module->program_count; i++) {
        const SelfcProgram *program = &module->programs[i];
        bool is_training = (int32_t)i == module->training.train || (int32_t)i == module->training.evaluate;
        if (is_training || !features_fits(trainer, program)) continue;
        if (!strcmp(program->name, name ? name : "encode")) return program;
        found = program;
        count++;
    }
    return !name && count == 1 ? found : NULL;
}

int64_t features_width(const SelfcProgram *function) { return function->io[function->input_count].dim[1]; }

int32_t features_place(const Trainer *trainer, SelfcSplit split, int64_t i, int64_t n) {
    return (int32_t)(i * trainer->feed.count[split] / n);
}

/* Samples first to first + n - 1 of the `all` that are asked for, into the function's input. */
static bool features_fill(const Trainer *trainer, Binding *binding, SelfcSplit split, int64_t first, int64_t n,
                          int64_t all) {
    enum { MOST = 256 };
    int32_t index[MOST];
    const FeedInput *feed = &trainer->feed.inputs[0];
    const SelfcTensor *sample = features_sample(trainer), *input = features_input(binding->program);
    void *out = binding->io[input - binding->program->io];
    for (int64_t i = 0; i < n && i < MOST; i++) index[i] = features_place(trainer, split, first + i, all);
    for (int64_t i = 0; binding->sample && i < n; i++) binding->sample[i] = index[i];
    float scale = (float)trainer->module->training.data[0].scale, *numbers = out;
    int64_t elements = n * selfc_tensor_elements(sample, 0);
    uint8_t *bytes = input->dtype == sample->dtype ? out : malloc((size_t)elements);
    if (!bytes) return selfc_fail("no memory for features"), false;
    selfc_source_gather(feed->source[split], feed->field, index, n, bytes);
    for (int64_t i = 0; input->dtype == SELFC_f32 && i < elements; i++)
        numbers[i] = (sample->dtype == SELFC_u8 ? (float)bytes[i] : numbers[i]) * scale;
    if (bytes != out) free(bytes);
    return !selfc_source_check(feed->source[split]);
}

bool features_run(Trainer *trainer, const SelfcProgram *function, SelfcSplit split, int64_t n, float *rows) {
    enum { BATCH = 256 };
    Binding binding;
    int64_t width = features_width(function);
    if (!binding_make(&binding, trainer->session, function, n < BATCH ? n : BATCH)) return false;
    binding_set_key(&binding, trainer->seed, 0);
    bool is_fine = true;
    for (int64_t done = 0; is_fine && done < n; done += BATCH) {
        int64_t count = n - done < BATCH ? n - done : BATCH;
        is_fine = features_fill(trainer, &binding, split, done, count, n);
        if (!is_fine) break;
        selfc_execute(trainer->session, function, binding.io, count);
        memcpy(rows + done * width, binding.io[function->input_count], (size_t)(count * width) * sizeof *rows);
    }
    binding_free(&binding);
    return is_fine;
}

int32_t *features_labels(const Trainer *trainer, SelfcSplit split, int64_t n) {
    const SelfcField *fields;
    const SelfcSource *source = trainer->feed.inputs[0].source[split];
    uint32_t count = selfc_source_fields(source, &fields);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, "label") || fields[i].sample.dtype != SELFC_i32 || fields[i].sample.rank) continue;
        int32_t *index = malloc((size_t)n * sizeof *index), *labels = malloc((size_t)n * sizeof *labels);
        for (int64_t k = 0; index && k < n; k++) index[k] = features_place(trainer, split, k, n);
        if (index && labels) selfc_source_gather(source, i, index, n, labels);
        free(index);
        return labels;
    }
    return NULL;
}

const char *features_class(const Trainer *trainer, int32_t label, char text[32]) {
    const char *name = selfc_source_class(trainer->feed.inputs[0].source[SELFC_TRAIN], label);
    snprintf(text, 32, "%d", (int)label);
    return name ? name : text;
}
