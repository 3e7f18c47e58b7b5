/* include/selfc.h, selfc_embed: the features that a function gives to every sample of a data set.
 *
 * Which function, and which of its inputs takes which field of the data, follows from names and shapes. Samples are
 * gathered, made what training makes of them, and run in batches; rows are handed over as they come, so that memory
 * does not grow with the data. */
#include "frontend/api_embed.h"

#include "runtime/data/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ApiProgress api_progress_begin(const SelfcModel *model, const char *what) {
    return (ApiProgress){.what = what, .is_wanted = model->options.notes && isatty(STDERR_FILENO)};
}

void api_progress(ApiProgress *progress, int64_t done, int64_t total) {
    static const double pause = 0.1;
    if (!progress->is_wanted || (done < total && api_seconds() - progress->shown_at < pause)) return;
    progress->shown_at = api_seconds();
    fprintf(stderr, "\r\033[K");
    if (done < total)
        fprintf(stderr, "%s: %lld of %lld, %.0f %%", progress->what, (long long)done, (long long)total,
                100.0 * (double)done / (double)total);
    fflush(stderr);
}

/* --- which function --- */

/* What the training multiplies this field with. */
static double embed_scale(const SelfcModel *model, const SelfcSource *source, uint32_t field) {
    const DataSpec *specs;
    const SelfcField *fields;
    uint32_t count = model_data(model->description, &specs);
    selfc_source_fields(source, &fields);
    for (uint32_t i = 0; i < count; i++)
        if (wanted_field(source, specs[i].field) == field)
            return model_data_scale(model->description, i, (DType)fields[field].sample.dtype);
    return fields[field].sample.dtype == SELFC_u8 ? 1.0 / 255 : 1;
}

/* Whether the function takes samples of the data and gives a row for each; if not, api_fail says why. */
static bool embed_bind(Embed *embed) {
    const SelfcSource *source = embed->source[SELFC_TRAIN];
    Wanted *wanted = &embed->wanted;
    char have[128];
    embed->output = &embed->program->io[embed->program->input_count];
    if (!wanted_find(wanted, embed->program, embed->function, source)) return api_fail("%s", selfc_failure()), false;
    for (uint32_t i = 0; i < wanted->count; i++)
        wanted->input[i].scale = embed_scale(embed->model, source, wanted->input[i].field);
    if (embed->output->dtype == SELFC_f32 && embed->output->rank && embed->output->dim[0] == -1) return true;
    api_fail("function \"%s\" gives %s %s, which is no row of f32 numbers for each sample", embed->function,
             embed->output->name, selfc_tensor_print(embed->output, have));
    return false;
}

void embed_close(Embed *embed) {
    for (int split = SELFC_TRAIN; split <= SELFC_TEST; split++) {
        selfc_source_close(embed->source[split]);
        embed->source[split] = NULL;
    }
}

/* Texts as long as the function takes them, a line each; documents, if that is what the training has. */
static int embed_ask_texts(Embed *embed, SelfcSourceOptions *options) {
    SelfcModel *model = embed->model;
    const char *kind = options->source ? options->source : options->path ? selfc_source_kind_at(options->path) : NULL;
    if (!embed->lengths.count || !kind || strcmp(kind, "text")) return 0;
    options->tokenizer = api_tokenizer(model);
    options->length = embed->lengths.length[embed->lengths.count - 1];
    options->stride = 0;
    options->whole = embed->takes_all;
    if (!options->unit || strcmp(options->unit, "document")) options->unit = "line";
    return options->tokenizer ? 0 : 1;
}

/* Pictures of the size that the function takes, cropped in their middle; of other functions, as the training has them.
 */
static void embed_ask_pictures(const SelfcProgram *program, SelfcSourceOptions *options) {
    options->fill = 1;
    for (uint32_t i = 0; i < program->input_count; i++)
        if (program->io[i].rank == 4 && program->io[i].dim[1] > 0) {
            const int64_t *dim = program->io[i].dim;
            options->height = dim[1], options->width = dim[2], options->channels = dim[3];
        }
}

static int embed_open_source(Embed *embed) {
    const SelfcModel *model = embed->model;
    const DataSpec *specs;
    uint32_t count = model_data(model->description, &specs);
    const char *path = model->options.data;
    if (!path && !count)
        return api_fail("%s: error: the description names no data; use --data PATH", model->options.file);
    if (api_need_tokenizer(model)) return 1;
    SelfcSourceOptions options = api_source_options(model, count ? &specs[0] : &(DataSpec){0});
    options.has_labels |= embed->needs_labels;
    embed_ask_pictures(embed->program, &options);
    if (embed_ask_texts(embed, &options)) return 1;
    embed->data = options.path ? options.path : options.source;
    embed_close(embed);
    for (int split = SELFC_TRAIN; split <= SELFC_TEST; split++) {
        options.split = (SelfcSplit)split;
        embed->source[split] = selfc_source_open(&options);
        if (!embed->source[split]) return api_fail("%s", selfc_failure());
    }
    return 0;
}

/* What is filled and run is this copy of a function on texts. */
static void embed_use(Embed *embed, uint32_t copy) {
    embed->program = embed->lengths.program[copy];
    embed->output = &embed->program->io[embed->program->input_count];
}

/* Its only copy, or all of them if it takes texts, the longest to begin with. */
static bool embed_programs(Embed *embed, const char *function) {
    const SelfcModule *module = embed->model->compiled.module;
    int64_t most;
    const char *longest = model_function_for(embed->model->description, function, INT64_MAX, &most);
    embed->function = function;
    embed->lengths = (Lengths){0};
    embed->program = selfc_find_program(module, longest ? longest : function);
    if (!lengths_text(embed->program)) return true;
    if (!lengths_find(embed->model, function, &embed->lengths)) return false;
    embed->program = embed->lengths.program[embed->lengths.count - 1];
    return true;
}

static bool embed_try(Embed *embed, const char *function) {
    return embed_programs(embed, function) && !embed_open_source(embed) && embed_bind(embed);
}

/* "encode", or the only function that fits. */
static const char *embed_choose(Embed *embed) {
    const Model *description = embed->model->description;
    const char *const *names, *chosen = NULL, *last = NULL;
    uint32_t count = model_functions(description, &names), fitting = 0;
    for (uint32_t i = 0; i < count; i++) {
        const char *family = model_family(description, i);
        if (count == 1 || !strcmp(family, "encode")) return family;
    }
    for (uint32_t i = 0; i < count; i++) {
        const char *family = model_family(description, i);
        if ((!last || strcmp(family, last)) && embed_try(embed, family)) {
            chosen = family;
            fitting++;
        }
        last = family;
    }
    if (fitting == 1) return chosen;
    if (fitting)
        api_fail("%s: error: %u functions take such data, and none is called \"encode\": say --function %s, or another",
                 embed->model->options.file, fitting, chosen);
    else
        api_fail("%s: error: it has no function \"encode\", nor another that takes such data",
                 embed->model->options.file);
    return NULL;
}

/* --- the data --- */

int embed_load(Embed *embed, SelfcSplit split) {
    if (selfc_source_count(embed->source[split]) == 0)
        return api_fail("%s: there is no %s data", embed->data, split == SELFC_TRAIN ? "training" : "test");
    return selfc_source_load(embed->source[split]) ? api_fail("%s", selfc_failure()) : 0;
}

void embed_tell_cut(const Embed *embed, SelfcSplit split) {
    const char *cut = selfc_source_cut(embed->source[split]);
    const char *taker = embed->lengths.count == 1 ? embed->program->name : embed->function;
    if (cut) api_note(embed->model, "%s; \"%s\" takes no longer ones", cut, taker);
}

int embed_label_field(const Embed *embed, SelfcSplit split) { return wanted_label(embed->source[split]); }

int embed_open(Embed *embed, SelfcModel *model, const char *function) {
    embed->model = model;
    if (!model_functions(model->description, &(const char *const *){NULL}))
        return api_fail("%s: error: the description has no functions", model->options.file);
    const char *name = function;
    if (function && !api_function(model, function)) return 1;
    if (name && (!strcmp(name, "train") || !strcmp(name, "evaluate")))
        return api_fail("\"%s\" gives losses, not features: name a function of the description", name);
    if (api_need_session(model, false)) return 1;
    if (!name && !(name = embed_choose(embed))) return 1;
    if (!embed_try(embed, name)) return 1;
    embed->features = selfc_tensor_elements(embed->output, 1);
    embed->batch = wanted_batch(embed->program);
    for (uint32_t i = 0; i < embed->lengths.count; i++) {
        const SelfcProgram *program = embed->lengths.program[i];
        if (selfc_tensor_elements(&program->io[program->input_count], 1) != embed->features)
            return api_fail("function \"%s\" gives more numbers for longer texts, which are no features of a text",
                            embed->function);
    }
    return 0;
}

/* --- running --- */

int embed_fill(const Embed *embed, SelfcSplit split, const int32_t *index, int64_t n, void *const *inputs) {
    bool is_fine = wanted_fill(&embed->wanted, embed->program, embed->source[split], index, n, inputs,
                               embed->model->compiled.session->pool) &&
                   !selfc_source_check(embed->source[split]);
    return is_fine ? 0 : api_fail("%s", selfc_failure());
}

/* How long the sample is, if it is a text; else 0. */
static int64_t embed_tokens(const Embed *embed, SelfcSplit split, int32_t index) {
    const SelfcSource *source = embed->source[split];
    uint32_t field = wanted_field(source, "count");
    int32_t count = 0;
    if (embed->lengths.count && field) selfc_source_gather(source, field, &index, 1, &count);
    return count;
}

int embed_shorten(Embed *embed, const int32_t *index, int64_t count, double share) {
    Lengths *lengths = &embed->lengths;
    if (lengths->count < 2) return 0;
    int64_t held[ROWS_MOST_LENGTHS] = {0}, all = 0;
    for (int64_t i = 0; i < count; i++) held[lengths_for(lengths, embed_tokens(embed, SELFC_TRAIN, index[i]))]++;
    uint32_t copy = 0;
    while ((double)(all += held[copy]) < share * (double)count) copy++;
    *lengths = (Lengths){1, {lengths->length[copy]}, {lengths->program[copy]}};
    embed_use(embed, 0);
    if (embed_open_source(embed) || embed_load(embed, SELFC_TRAIN) || embed_load(embed, SELFC_TEST)) return 1;
    embed_tell_cut(embed, SELFC_TRAIN);
    embed_tell_cut(embed, SELFC_TEST);
    return 0;
}

/* Memory for a batch: what goes in, what comes out, and which samples they are. */
typedef struct {
    void *inputs[WANTED_MOST], **outputs;
    int32_t *sample;
    /* Texts: samples are taken in stretches, whose rows are put back in order. */
    int64_t stretch;
    uint8_t *copy; /* of each sample of the stretch */
    float *rows;
} EmbedMemory;

static bool embed_reserve(const Embed *embed, EmbedMemory *memory) {
    enum { STRETCH = 4096 };
    const SelfcProgram *program = embed->program;
    memory->outputs = calloc(program->output_count + 1, sizeof *memory->outputs);
    memory->sample = calloc((size_t)embed->batch, sizeof *memory->sample);
    bool is_fine = memory->outputs && memory->sample;
    for (uint32_t i = 0; is_fine && i < embed->wanted.count; i++)
        is_fine = (memory->inputs[i] = api_memory(selfc_tensor_bytes(wanted_tensor(program, i), embed->batch)));
    for (uint32_t i = 0; is_fine && i < program->output_count; i++)
        is_fine =
            (memory->outputs[i] = api_memory(selfc_tensor_bytes(&program->io[program->input_count + i], embed->batch)));
    if (!is_fine || embed->lengths.count < 2) return is_fine;
    memory->stretch = STRETCH;
    memory->copy = malloc(STRETCH);
    memory->rows = calloc((size_t)embed->features * STRETCH, sizeof *memory->rows);
    return memory->copy && memory->rows;
}

static void embed_release(const Embed *embed, EmbedMemory *memory) {
    for (uint32_t i = 0; i < embed->wanted.count; i++) free(memory->inputs[i]);
    for (uint32_t i = 0; memory->outputs && i < embed->program->output_count; i++) free(memory->outputs[i]);
    free(memory->outputs);
    free(memory->sample);
    free(memory->copy);
    free(memory->rows);
}

/* Runs the n samples in memory->sample. */
static int embed_run_batch(Embed *embed, SelfcSplit split, EmbedMemory *memory, int64_t n) {
    if (embed_fill(embed, split, memory->sample, n, memory->inputs)) return 1;
    return api_execute(embed->model, embed->program, n, memory->sample, (const void *const *)memory->inputs,
                       memory->outputs);
}

/* Those of samples first + 0..n) that go to one copy; their rows come to their places. */
static int embed_run_copy(Embed *embed, SelfcSplit split, const int32_t *index, int64_t first, int64_t n, uint32_t copy,
                          EmbedMemory *memory) {
    int64_t place[WANTED_MOST_BATCH], count = 0;
    for (int64_t i = 0; i < n; i++) {
        if (memory->copy[i] == copy) {
            place[count] = i;
            memory->sample[count++] = index ? index[first + i] : (int32_t)(first + i);
        }
        if (!count || (count < embed->batch && i + 1 < n)) continue;
        embed_use(embed, copy);
        if (embed_run_batch(embed, split, memory, count)) return 1;
        for (int64_t k = 0; k < count; k++)
            memcpy(memory->rows + place[k] * embed->features, (float *)memory->outputs[0] + k * embed->features,
                   (size_t)embed->features * sizeof(float));
        count = 0;
    }
    return 0;
}

/* Texts of several lengths: each goes to the smallest that holds it. */
static int embed_run_stretch(Embed *embed, SelfcSplit split, const int32_t *index, int64_t first, int64_t n,
                             EmbedMemory *memory) {
    for (int64_t i = 0; i < n; i++) {
        int64_t tokens = embed_tokens(embed, split, index ? index[first + i] : (int32_t)(first + i));
        memory->copy[i] = (uint8_t)lengths_for(&embed->lengths, tokens);
    }
    int failed = 0;
    for (uint32_t copy = 0; copy < embed->lengths.count && !failed; copy++)
        failed = embed_run_copy(embed, split, index, first, n, copy, memory);
    embed_use(embed, embed->lengths.count - 1);
    return failed;
}

static int embed_run_all(Embed *embed, SelfcSplit split, const int32_t *index, int64_t count, EmbedTake *take,
                         void *context, EmbedMemory *memory) {
    ApiProgress progress = api_progress_begin(embed->model, split == SELFC_TRAIN ? "training data" : "test data");
    int64_t most = memory->stretch ? memory->stretch : embed->batch;
    int failed = 0;
    for (int64_t first = 0; first < count && !failed; first += most) {
        int64_t n = count - first < most ? count - first : most;
        if (memory->stretch) {
            failed = embed_run_stretch(embed, split, index, first, n, memory) || take(context, memory->rows, n);
        } else {
            for (int64_t i = 0; i < n; i++) memory->sample[i] = index ? index[first + i] : (int32_t)(first + i);
            failed = embed_run_batch(embed, split, memory, n) || take(context, memory->outputs[0], n);
        }
        api_progress(&progress, first + n, count);
    }
    return failed;
}

int embed_run(Embed *embed, SelfcSplit split, const int32_t *index, int64_t count, EmbedTake *take, void *context) {
    EmbedMemory memory = {0};
    int failed = embed_reserve(embed, &memory)
                     ? embed_run_all(embed, split, index, count, take, context, &memory)
                     : api_fail("no memory for %lld samples at once", (long long)embed->batch);
    embed_release(embed, &memory);
    return failed;
}

/* --- selfc_embed --- */

typedef struct {
    FileWriter writer;
    size_t row_bytes;
} EmbedFile;

static int embed_write_rows(void *context, const float *rows, int64_t n) {
    EmbedFile *file = context;
    file_write(&file->writer, rows, (size_t)n * file->row_bytes);
    return 0; /* what failed is said at the end */
}

static int embed_write_features(Embed *embed, SelfcSplit split, const char *path) {
    int64_t count = selfc_source_count(embed->source[split]);
    EmbedFile file = {.row_bytes = (size_t)embed->features * sizeof(float)};
    SelfcTensor tensor = {.dtype = SELFC_f32, .rank = 2, .dim = {count, embed->features}};
    if (!npy_begin(&file.writer, path, &tensor, 0)) return api_fail("%s", selfc_failure());
    if (embed_run(embed, split, NULL, count, embed_write_rows, &file)) return file_abandon(&file.writer), 1;
    return file_commit(&file.writer) ? api_fail("%s", selfc_failure()) : 0;
}

static int embed_write_labels(Embed *embed, SelfcSplit split, int field, const char *path) {
    int64_t count = selfc_source_count(embed->source[split]);
    int32_t *numbers = malloc(2 * (size_t)count * sizeof *numbers), *labels = numbers + count;
    if (!numbers) return api_fail("no memory for %lld labels", (long long)count);
    for (int64_t i = 0; i < count; i++) numbers[i] = (int32_t)i;
    selfc_source_gather(embed->source[split], (uint32_t)field, numbers, count, labels);
    SelfcTensor tensor = {.dtype = SELFC_i32, .rank = 1, .dim = {count}};
    int failed = selfc_npy_write(path, &tensor, labels, 0);
    free(numbers);
    return failed ? api_fail("%s", selfc_failure()) : 0;
}

/* Of the files that the samples came from, one a line. */
static int embed_write_names(Embed *embed, SelfcSplit split, const char *path) {
    FileWriter writer;
    if (!file_begin(&writer, path)) return api_fail("%s", selfc_failure());
    for (int64_t i = 0; i < selfc_source_count(embed->source[split]); i++) {
        const char *name = selfc_source_name(embed->source[split], i);
        file_print(&writer, "%s\n", name ? name : "");
    }
    return file_commit(&writer) ? api_fail("%s", selfc_failure()) : 0;
}

static int embed_write(Embed *embed, SelfcSplit split, const char *out, FILE *report) {
    size_t length = strlen(out), stem = length > 4 && !strcmp(out + length - 4, ".npy") ? length - 4 : length;
    int label = embed_label_field(embed, split);
    char *labels = arena_printf(embed->model->arena, "%.*s.labels.npy", (int)stem, out);
    char *names = arena_printf(embed->model->arena, "%.*s.files.txt", (int)stem, out);
    if (embed_load(embed, split) || embed_write_features(embed, split, out)) return 1;
    fprintf(report, "%s: f32[%lld,%lld], \"%s\" of \"%s\" on the %s data\n", out,
            (long long)selfc_source_count(embed->source[split]), (long long)embed->features, embed->output->name,
            embed->function, split == SELFC_TRAIN ? "training" : "test");
    if (label >= 0 && embed_write_labels(embed, split, label, labels)) return 1;
    if (label >= 0) fprintf(report, "%s: their labels\n", labels);
    if (!selfc_source_name(embed->source[split], 0)) return 0;
    if (embed_write_names(embed, split, names)) return 1;
    fprintf(report, "%s: the files that they came from\n", names);
    return 0;
}

int selfc_embed(SelfcModel *model, const SelfcEmbed *given, FILE *report) {
    SelfcEmbed settings = {.size = sizeof settings};
    if (given) memcpy(&settings, given, given->size < sizeof settings ? given->size : sizeof settings);
    const char *split = settings.split ? settings.split : "train",
               *out = settings.out ? settings.out : "embeddings.npy";
    if (strcmp(split, "train") && strcmp(split, "test"))
        return api_fail("the split is \"%s\", but must be \"train\" or \"test\"", split);
    Embed embed = {.needs_labels = settings.labelled, .takes_all = !settings.split};
    int failed = embed_open(&embed, model, settings.function);
    if (!failed && !model->is_trained && api_reads_states(embed.program))
        api_note(model, "\"%s\" runs with untrained weights, as the seed made them; name a RUN for trained ones",
                 embed.function);
    SelfcSplit wanted = strcmp(split, "test") ? SELFC_TRAIN : SELFC_TEST;
    if (!failed) embed_tell_cut(&embed, wanted);
    failed = failed || embed_write(&embed, wanted, out, report);
    embed_close(&embed);
    return failed;
}
