/* Features of samples, for pictures of what was learned and for judging it. */
#include "runtime/train/features.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static const SelfcSource *features_source(const Trainer *trainer, SelfcSplit split) {
    return trainer->feed.inputs[0].source[split];
}

/* --- which function --- */

/* Of a function on texts the tokens that it takes; else 0. */
static int64_t features_length(const SelfcProgram *program) {
    const SelfcTensor *tensor;
    for (uint32_t i = 0; (tensor = wanted_tensor(program, i)); i++)
        if (!strcmp(tensor->name, "text") && tensor->rank == 2) return tensor->dim[1];
    return 0;
}

/* "encode" of "encode_32" that takes 32 of something; else the whole name. */
static void features_family(const SelfcProgram *program, char name[128]) {
    const SelfcTensor *tensor;
    char ending[32];
    size_t all = strlen(program->name), kept = all;
    for (uint32_t i = 0; (tensor = wanted_tensor(program, i)); i++) {
        size_t less = (size_t)snprintf(ending, sizeof ending, "_%lld", (long long)tensor->dim[1]);
        if (tensor->rank > 1 && all > less && !strcmp(program->name + all - less, ending)) kept = all - less;
    }
    snprintf(name, 128, "%.*s", (int)kept, program->name);
}

/* What the training multiplies the field with, where it reads it. */
static void features_set_scales(const Trainer *trainer, Features *features) {
    const Feed *feed = &trainer->feed;
    for (uint32_t k = 0; k < features->wanted.count; k++)
        for (uint32_t i = 0; i < feed->input_count; i++)
            if (feed->inputs[i].source[SELFC_TRAIN] == feed->inputs[0].source[SELFC_TRAIN] &&
                feed->inputs[i].field == features->wanted.input[k].field)
                features->wanted.input[k].scale = trainer->module->training.data[i].scale;
}

/* False after selfc_fail: it does not. */
static bool features_fit(const Trainer *trainer, const SelfcProgram *program, Features *features) {
    const SelfcTensor *output = &program->io[program->input_count];
    char has[128];
    *features = (Features){.width = output->dim[1], .copy = {program}, .copies = 1};
    features_family(program, features->name);
    if (!wanted_find(&features->wanted, program, program->name, features_source(trainer, SELFC_TRAIN))) return false;
    features_set_scales(trainer, features);
    if (output->dtype == SELFC_f32 && output->rank == 2 && output->dim[0] == -1 && output->dim[1] > 1) return true;
    selfc_fail("function \"%s\" gives %s %s, but features are f32[n,d]", program->name, output->name,
               selfc_tensor_print(output, has));
    return false;
}

/* Whether it is the same function for other texts. */
static bool features_agree(const SelfcProgram *a, const SelfcProgram *b) {
    char name[2][128];
    features_family(a, name[0]);
    features_family(b, name[1]);
    const SelfcTensor *x = &a->io[a->input_count], *y = &b->io[b->input_count];
    if (strcmp(name[0], name[1]) || a->input_count != b->input_count || x->dtype != y->dtype || x->rank != y->rank ||
        memcmp(x->dim, y->dim, sizeof x->dim))
        return false;
    for (uint32_t i = 0; i < a->input_count; i++)
        if (strcmp(a->io[i].name, b->io[i].name)) return false;
    return true;
}

/* Copies for shorter texts. The description has them in order, before the one for the training's. */
static void features_add_shorter(const Trainer *trainer, Features *features) {
    const SelfcModule *module = trainer->module;
    const SelfcProgram *longest = features->copy[0];
    bool has_count = wanted_field(features_source(trainer, SELFC_TRAIN), "count") > 0;
    features->copies = 0;
    for (uint32_t i = 0; has_count && i < module->program_count; i++)
        if (features_length(&module->programs[i]) < features_length(longest) &&
            features->copies + 1 < FEATURES_MOST_COPIES && features_agree(&module->programs[i], longest))
            features->copy[features->copies++] = &module->programs[i];
    features->copy[features->copies++] = longest;
}

bool features_find(const Trainer *trainer, const char *name, Features *features) {
    const SelfcModule *module = trainer->module;
    const SelfcProgram *named = NULL, *found = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < module->program_count && trainer->feed.input_count; i++) {
        const SelfcProgram *program = &module->programs[i];
        char family[128];
        features_family(program, family);
        bool is_training = (int32_t)i == module->training.train || (int32_t)i == module->training.evaluate;
        if (is_training || program->name[0] == '$' || program->batch || !program->output_count) continue;
        bool is_named = !strcmp(name ? name : "encode", family) || (name && !strcmp(name, program->name));
        if (is_named) named = program;
        if ((name && !is_named) || !features_fit(trainer, program, features)) continue;
        found = program;
        count = is_named ? 1 : count + 1;
        if (is_named) break;
    }
    if (count == 1 && features_fit(trainer, found, features)) return features_add_shorter(trainer, features), true;
    if (count)
        selfc_fail("%u functions give features, and none is called \"encode\": say which by \"function\"", count);
    else if (named)
        features_fit(trainer, named, features); /* for its reason */
    else
        selfc_fail("no function takes samples of the data and gives features f32[n,d]");
    return false;
}

/* --- running --- */

int32_t features_place(const Trainer *trainer, SelfcSplit split, int64_t i, int64_t n) {
    return (int32_t)(i * trainer->feed.count[split] / n);
}

/* The copy for a sample. */
static uint32_t features_copy(const Features *features, const SelfcSource *source, int32_t number) {
    int32_t count = 0;
    uint32_t copy = 0;
    if (features->copies > 1) selfc_source_gather(source, wanted_field(source, "count"), &number, 1, &count);
    while (copy + 1 < features->copies && features_length(features->copy[copy]) < count) copy++;
    return copy;
}

/* The samples index[0..count) into the binding, and out of it. */
static bool features_run_batch(Trainer *trainer, const Features *features, SelfcSplit split, Binding *binding,
                               const int32_t *index, int64_t count) {
    const SelfcProgram *program = binding->program;
    const SelfcSource *source = features_source(trainer, split);
    void *inputs[WANTED_MOST];
    for (uint32_t k = 0; k < features->wanted.count; k++)
        inputs[k] = binding->io[wanted_tensor(program, k) - program->io];
    if (binding->sample) memcpy(binding->sample, index, (size_t)count * sizeof *index);
    if (!wanted_fill(&features->wanted, program, source, index, count, inputs, trainer->session->pool) ||
        selfc_source_check(source))
        return false;
    selfc_execute(trainer->session, program, binding->io, count);
    return true;
}

/* Those of the n samples that go to one copy. */
static bool features_run_copy(Trainer *trainer, const Features *features, SelfcSplit split, uint32_t copy, int64_t n,
                              float *rows) {
    const SelfcProgram *program = features->copy[copy];
    int64_t most = wanted_batch(program), width = features->width, count = 0, place[WANTED_MOST_BATCH];
    int32_t index[WANTED_MOST_BATCH];
    Binding binding;
    bool is_fine = binding_make(&binding, trainer->session, program, n < most ? n : most);
    if (!is_fine) return false;
    binding_set_key(&binding, trainer->seed, 0);
    for (int64_t i = 0; i < n && is_fine; i++) {
        int32_t number = features_place(trainer, split, i, n);
        if (features_copy(features, features_source(trainer, split), number) == copy) {
            index[count] = number;
            place[count++] = i;
        }
        if (!count || (count < most && i + 1 < n)) continue;
        is_fine = features_run_batch(trainer, features, split, &binding, index, count);
        const float *from = binding.io[program->input_count];
        for (int64_t k = 0; k < count; k++)
            memcpy(rows + place[k] * width, from + k * width, (size_t)width * sizeof *rows);
        count = 0;
    }
    binding_free(&binding);
    return is_fine;
}

bool features_run(Trainer *trainer, const Features *features, SelfcSplit split, int64_t n, float *rows) {
    for (uint32_t copy = 0; copy < features->copies; copy++)
        if (!features_run_copy(trainer, features, split, copy, n, rows)) return false;
    return true;
}

/* --- what the samples are --- */

int32_t *features_labels(const Trainer *trainer, SelfcSplit split, int64_t n) {
    const SelfcSource *source = features_source(trainer, split);
    int field = wanted_label(source);
    if (field < 0) return NULL;
    int32_t *index = malloc((size_t)n * sizeof *index), *labels = malloc((size_t)n * sizeof *labels);
    for (int64_t k = 0; index && k < n; k++) index[k] = features_place(trainer, split, k, n);
    if (index && labels) {
        selfc_source_gather(source, (uint32_t)field, index, n, labels);
    } else {
        free(labels);
        labels = NULL;
    }
    free(index);
    return labels;
}

const char *features_class(const Trainer *trainer, int32_t label, char text[32]) {
    const char *name = selfc_source_class(features_source(trainer, SELFC_TRAIN), label);
    snprintf(text, 32, "%d", (int)label);
    return name ? name : text;
}

bool features_text(const Trainer *trainer, SelfcSplit split, int32_t number, char text[FEATURES_MOST_TEXT]) {
    const SelfcSource *source = features_source(trainer, split);
    const SelfcField *fields;
    if (!trainer->feed.tokenizer || strcmp(selfc_source_kind(source), "text")) return false;
    selfc_source_fields(source, &fields);
    uint32_t field = wanted_field(source, "text");
    int64_t length = fields[field].sample.dim[0];
    int32_t *ids = calloc((size_t)length, sizeof *ids);
    if (ids) selfc_source_gather(source, field, &number, 1, ids);
    char *whole = ids ? selfc_tokenizer_decode(trainer->feed.tokenizer, ids, length, false) : NULL;
    free(ids);
    if (!whole) return false;
    size_t cut = strlen(whole);
    bool is_long = cut >= FEATURES_MOST_TEXT;
    if (is_long) cut = FEATURES_MOST_TEXT - sizeof "…";
    while (is_long && cut && ((unsigned char)whole[cut] & 0xC0) == 0x80) cut--; /* within a character */
    snprintf(text, FEATURES_MOST_TEXT, "%.*s%s", (int)cut, whole, is_long ? "…" : "");
    free(whole);
    return true;
}
