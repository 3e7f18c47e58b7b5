/* Feeds programs from data sets. Inputs of one training step that name the same source share it; all inputs see the
 * same sample numbers, so all their sources must have equally many. */
#include "runtime/text/tokenizer.h"
#include "runtime/train/trainer.h"

#include <stdlib.h>
#include <string.h>

static bool feed_same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

static bool feed_open_source(FeedInput *input, const SelfcDataSpec *spec, const char *data, const char *cache,
                             const SelfcTokenizer *tokenizer) {
    for (int split = SELFC_TRAIN; split <= SELFC_TEST; split++) {
        SelfcSourceOptions options = {.source = data ? NULL : spec->source,
                                      .path = data ? data : spec->path,
                                      .split = (SelfcSplit)split,
                                      .height = spec->height,
                                      .width = spec->width,
                                      .channels = spec->channels,
                                      .cache = cache,
                                      .tokenizer = tokenizer,
                                      .length = spec->length,
                                      .stride = spec->stride,
                                      .unit = spec->unit,
                                      .has_labels = spec->has_labels};
        input->source[split] = selfc_source_open(&options);
        if (!input->source[split] || selfc_source_load(input->source[split])) return false;
    }
    return true;
}

static bool feed_same_source(const SelfcDataSpec *a, const SelfcDataSpec *b, const char *data) {
    bool is_same_place = data || (feed_same_text(a->source, b->source) && feed_same_text(a->path, b->path));
    bool is_same_text = a->length == b->length && a->stride == b->stride && a->has_labels == b->has_labels &&
                        feed_same_text(a->unit, b->unit);
    return is_same_place && is_same_text && a->height == b->height && a->width == b->width &&
           a->channels == b->channels;
}

/* An earlier input that reads the same. */
static const FeedInput *feed_find_shared(const Feed *feed, const SelfcDataSpec *specs, uint32_t before,
                                         const char *data) {
    for (uint32_t i = 0; i < before; i++)
        if (feed_same_source(&specs[i], &specs[before], data)) return &feed->inputs[i];
    return NULL;
}

static const SelfcTensor *feed_program_input(const SelfcProgram *program, const char *name) {
    for (uint32_t i = 0; i < program->input_count; i++)
        if (!strcmp(program->io[i].name, name)) return &program->io[i];
    return NULL;
}

static bool feed_check_sample(const SelfcProgram *program, const FeedInput *input) {
    const SelfcTensor *wanted = feed_program_input(program, input->input);
    const SelfcField *fields;
    if (!wanted) return true; /* evaluation may not need every input */
    selfc_source_fields(input->source[SELFC_TRAIN], &fields);
    const SelfcTensor *sample = &fields[input->field].sample;
    int64_t batch = program->batch ? program->batch : 1;
    if (wanted->dtype == sample->dtype &&
        selfc_tensor_elements(wanted, batch) == batch * selfc_tensor_elements(sample, 0))
        return true;
    char a[128], b[128];
    selfc_fail("the data for \"%s\" is %s a sample, but the model was compiled for %s", input->input,
               selfc_tensor_print(sample, a), selfc_tensor_print(wanted, b));
    return false;
}

static bool feed_check_programs(const SelfcModule *module, const FeedInput *input) {
    const SelfcTraining *training = &module->training;
    return feed_check_sample(&module->programs[training->train], input) &&
           (training->evaluate < 0 || feed_check_sample(&module->programs[training->evaluate], input));
}

static bool feed_check_field(const FeedInput *input) {
    const SelfcField *train, *test;
    if (selfc_source_count(input->source[SELFC_TEST]) == 0) return true;
    selfc_source_fields(input->source[SELFC_TRAIN], &train);
    uint32_t count = selfc_source_fields(input->source[SELFC_TEST], &test);
    const SelfcTensor *a = &train[input->field].sample, *b = &test[input->field].sample;
    if (input->field < count && a->dtype == b->dtype && a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof a->dim))
        return true;
    char a_text[128], b_text[128];
    selfc_tensor_print(a, a_text);
    if (input->field < count)
        selfc_fail("the training data for \"%s\" is %s a sample, the test data %s", input->input, a_text,
                   selfc_tensor_print(b, b_text));
    else if (selfc_source_field(input->source[SELFC_TEST], train[input->field].name) < 0) /* says why */
        selfc_fail("the training data for \"%s\" is %s a sample, but of the test data: %s", input->input, a_text,
                   selfc_failure());
    return false;
}

/* A label without a class would train without a complaint, into nonsense. */
static bool feed_check_labels(const FeedInput *input, int64_t classes) {
    if (!classes) return true;
    for (int split = SELFC_TRAIN; split <= SELFC_TEST; split++)
        if (selfc_source_check_labels(input->source[split], input->field, classes)) return false;
    return true;
}

static bool feed_check_count(Feed *feed, const FeedInput *input) {
    for (int split = SELFC_TRAIN; split <= SELFC_TEST; split++) {
        int64_t count = selfc_source_count(input->source[split]);
        if (input == feed->inputs) feed->count[split] = count;
        if (count == feed->count[split]) continue;
        selfc_fail("the %s data for \"%s\" has %lld samples, that for \"%s\" %lld",
                   split == SELFC_TRAIN ? "training" : "test", input->input, (long long)count, feed->inputs->input,
                   (long long)feed->count[split]);
        return false;
    }
    return true;
}

bool feed_open(Feed *feed, const SelfcModule *module, const char *data, const char *cache) {
    const SelfcTraining *training = &module->training;
    *feed = (Feed){.inputs = calloc(training->data_count + 1, sizeof *feed->inputs)};
    if (!feed->inputs) return selfc_fail("no memory for the data"), false;
    if (training->tokenizer) {
        feed->tokenizer = selfc_tokenizer_parse(training->tokenizer, strlen(training->tokenizer), module->name);
        if (!feed->tokenizer) return false;
    }
    for (uint32_t i = 0; i < training->data_count; i++) {
        FeedInput *input = &feed->inputs[i];
        const FeedInput *shared = feed_find_shared(feed, training->data, i, data);
        feed->input_count++;
        input->input = training->data[i].input;
        if (shared)
            memcpy(input->source, shared->source, sizeof input->source);
        else if (!feed_open_source(input, &training->data[i], data, cache, feed->tokenizer))
            return false;
        int field = selfc_source_field(input->source[SELFC_TRAIN], training->data[i].field);
        if (field < 0) return false;
        input->field = (uint32_t)field;
        if (!feed_check_field(input) || !feed_check_programs(module, input) || !feed_check_count(feed, input) ||
            !feed_check_labels(input, training->data[i].classes))
            return false;
    }
    if (feed->count[SELFC_TRAIN]) return true;
    selfc_fail(training->data_count ? "there is no training data" : "the description names no training data");
    return false;
}

bool feed_is_first_with(const Feed *feed, uint32_t input) {
    for (uint32_t i = 0; i < input; i++)
        if (feed->inputs[i].source[0] == feed->inputs[input].source[0]) return false;
    return true;
}

void feed_close(Feed *feed) {
    for (uint32_t i = feed->input_count; i--;) {
        if (!feed_is_first_with(feed, i)) continue;
        selfc_source_close(feed->inputs[i].source[SELFC_TRAIN]);
        selfc_source_close(feed->inputs[i].source[SELFC_TEST]);
    }
    selfc_tokenizer_close(feed->tokenizer);
    free(feed->inputs);
    *feed = (Feed){0};
}

typedef struct {
    const SelfcSource *source;
    uint32_t field;
    const int32_t *index;
    int64_t n;
    char *out;
    size_t sample_bytes;
} Gather;

static void feed_gather_share(void *context, int thread, int threads) {
    const Gather *gather = context;
    int64_t first = gather->n * thread / threads, end = gather->n * (thread + 1) / threads;
    selfc_source_gather(gather->source, gather->field, gather->index + first, end - first,
                        gather->out + (size_t)first * gather->sample_bytes);
}

void feed_ahead(const Feed *feed, SelfcSplit split, const int32_t *index, int64_t n) {
    for (uint32_t i = 0; i < feed->input_count; i++)
        if (feed_is_first_with(feed, i)) selfc_source_ahead(feed->inputs[i].source[split], index, n);
}

bool feed_fill(const Feed *feed, SelfcSplit split, Binding *binding, const int32_t *index, int64_t n, SelfcPool *pool) {
    enum { FEED_WORTH_THREADS = 1 << 15 }; /* bytes; less is copied sooner than others are called */
    if (binding->sample) memcpy(binding->sample, index, (size_t)n * sizeof *index);
    for (uint32_t i = 0; i < feed->input_count; i++) {
        const FeedInput *input = &feed->inputs[i];
        const SelfcTensor *tensor = feed_program_input(binding->program, input->input);
        const SelfcField *fields;
        if (!tensor) continue;
        selfc_source_fields(input->source[split], &fields);
        Gather gather = {.source = input->source[split],
                         .field = input->field,
                         .index = index,
                         .n = n,
                         .out = binding->io[tensor - binding->program->io],
                         .sample_bytes = selfc_tensor_bytes(&fields[input->field].sample, 0)};
        if ((size_t)n * gather.sample_bytes < FEED_WORTH_THREADS)
            feed_gather_share(&gather, 0, 1);
        else
            selfc_pool_run(pool, feed_gather_share, &gather);
        if (selfc_source_check(gather.source)) return false;
    }
    return true;
}

/* FNV-1a. */
static uint64_t feed_hash(uint64_t hash, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3;
    return hash;
}

bool feed_fingerprint(const Feed *feed, uint64_t *print) {
    enum { FEED_LOOKED_AT = 16 };
    int64_t count = feed->count[SELFC_TRAIN];
    *print = feed_hash(0xcbf29ce484222325, &count, sizeof count);
    for (uint32_t i = 0; i < feed->input_count; i++) {
        const FeedInput *input = &feed->inputs[i];
        const SelfcField *fields;
        selfc_source_fields(input->source[SELFC_TRAIN], &fields);
        size_t bytes = selfc_tensor_bytes(&fields[input->field].sample, 0);
        void *sample = malloc(bytes + 1);
        if (!sample) return selfc_fail("no memory for a sample"), false;
        for (int64_t k = 0; k < FEED_LOOKED_AT; k++) {
            int32_t number = (int32_t)(k * (count - 1) / (FEED_LOOKED_AT - 1));
            selfc_source_gather(input->source[SELFC_TRAIN], input->field, &number, 1, sample);
            *print = feed_hash(*print, sample, bytes);
        }
        free(sample);
    }
    return true;
}
