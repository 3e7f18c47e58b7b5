/* include/selfc.h, selfc_import: a folder that the `transformers` package wrote becomes a RUN.
 *
 * Every tensor of the model must be found, with the shape that config.json makes it, and every tensor of the file must
 * have a place or be known to be of no use; what is wrong is said in one go. The RUN's description calls the library's
 * modules, so it can be read, trained on and built like any other. */
#include "frontend/api_import.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *folder, *out;
    Arena *arena;
    Bert bert;
    BertFile file;
    BertTensors tensors;
    SelfcTokenizer *tokenizer; /* NULL: there is none */
    const SelfcEntry **found;  /* for each tensor */
    uint32_t left_out;         /* tensors of the file that no part of the model takes */
} Import;

/* --- finding tensors --- */

static const SelfcEntry *import_named(BertFile *file, const char *name) {
    for (uint32_t i = 0; i < file->count; i++)
        if (!strcmp(file->entries[i]->name, name)) return file->used[i] = true, file->entries[i];
    return NULL;
}

/* `name` with another ending; NULL if it does not end so. */
static const char *import_with_end(const char *name, const char *end, const char *other, Arena *arena) {
    size_t length = strlen(name), tail = strlen(end);
    if (length < tail || strcmp(name + length - tail, end)) return NULL;
    return arena_printf(arena, "%.*s%s", (int)(length - tail), name, other);
}

/* By its name, or one that older versions gave it. */
static const SelfcEntry *import_spelt(BertFile *file, const char *name, Arena *arena) {
    static const char *const spelling[][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                              {"LayerNorm.bias", "LayerNorm.beta"},
                                              {"predictions.bias", "predictions.decoder.bias"},
                                              {"predictions.decoder.bias", "predictions.bias"}};
    const SelfcEntry *entry = import_named(file, name);
    for (size_t i = 0; !entry && i < sizeof spelling / sizeof *spelling; i++) {
        const char *other = import_with_end(name, spelling[i][0], spelling[i][1], arena);
        if (other) entry = import_named(file, other);
    }
    return entry;
}

/* The encoder alone has no prefix, with a head it is "bert."; files of either kind are taken for both. */
static const SelfcEntry *import_find(BertFile *file, const char *name, Arena *arena) {
    const SelfcEntry *entry = import_spelt(file, name, arena);
    if (entry) return entry;
    bool has_prefix = !strncmp(name, "bert.", 5);
    return import_spelt(file, has_prefix ? name + 5 : arena_printf(arena, "bert.%s", name), arena);
}

static bool import_is_float(int32_t dtype) { return dtype == SELFC_f32 || dtype == SELFC_bf16 || dtype == SELFC_f16; }

static bool import_same_axes(const SelfcTensor *a, const SelfcTensor *b) {
    bool is_same = a->rank == b->rank;
    for (int32_t i = 0; is_same && i < a->rank; i++) is_same = a->dim[i] == b->dim[i];
    return is_same;
}

/* --- everything that does not fit --- */

enum { IMPORT_LISTED = 8 };

typedef struct {
    FILE *out;
    uint32_t count;
} Problems;

__attribute__((format(printf, 2, 3))) static void problem(Problems *problems, const char *format, ...) {
    if (problems->count++ >= IMPORT_LISTED) return;
    va_list args;
    va_start(args, format);
    fputs("\n  ", problems->out);
    vfprintf(problems->out, format, args);
    va_end(args);
}

static void import_check_found(Import *import, uint32_t i, Problems *problems) {
    const BertTensor *tensor = &import->tensors.items[i];
    SelfcTensor want = bert_shape_there(tensor);
    const SelfcEntry *entry = import->found[i];
    char wanted[128], has[128];
    selfc_tensor_print(&want, wanted);
    if (!entry)
        problem(problems, "%s, %s, is not in it", tensor->there, wanted);
    else if (!import_is_float(entry->tensor.dtype))
        problem(problems, "%s is %s, but must be f32, f16 or bf16", entry->name,
                selfc_tensor_print(&entry->tensor, has));
    else if (!import_same_axes(&entry->tensor, &want))
        problem(problems, "%s is %s, but config.json makes it %s", entry->name, selfc_tensor_print(&entry->tensor, has),
                wanted);
}

static void import_check_left(Import *import, Problems *problems) {
    for (uint32_t i = 0; i < import->file.count; i++) {
        const SelfcEntry *entry = import->file.entries[i];
        char has[128];
        if (import->file.used[i]) continue;
        if (bert_is_left_out(entry->name))
            import->left_out++;
        else
            problem(problems, "%s, %s, has no place in it", entry->name, selfc_tensor_print(&entry->tensor, has));
    }
}

/* Weights that are tied may stand in the file all the same, but must then be the same. */
static void import_check_tied(Import *import, Problems *problems) {
    if (import->bert.kind != BERT_masked_lm || !import->bert.is_tied) return;
    const SelfcEntry *decoder = import_named(&import->file, "cls.predictions.decoder.weight");
    const SelfcEntry *words = import_find(&import->file, "bert.embeddings.word_embeddings.weight", import->arena);
    size_t bytes = decoder ? selfc_tensor_bytes(&decoder->tensor, 0) : 0;
    if (!decoder || !words) return;
    if (selfc_tensor_bytes(&words->tensor, 0) == bytes && !memcmp(words->data, decoder->data, bytes)) return;
    problem(problems, "cls.predictions.decoder.weight is not the word embeddings, with which config.json ties it: set "
                      "\"tie_word_embeddings\": false there if it is to have weights of its own");
}

static const char *import_advice(const Import *import) {
    static const char advice[] = "\nIf it was trained with another head, say so with --as masked-lm, encoder or "
                                 "classifier: --as encoder leaves heads out";
    return import->bert.kind == BERT_encoder ? "" : advice;
}

static void import_find_all(Import *import) {
    Import *m = import;
    m->bert.has_pooler = import_find(&m->file, "pooler.dense.weight", m->arena) != NULL;
    m->tensors = bert_tensors(&m->bert, m->arena);
    m->found = arena_array(m->arena, const SelfcEntry *, m->tensors.count + 1);
    for (uint32_t i = 0; i < m->tensors.count; i++)
        m->found[i] = import_find(&m->file, m->tensors.items[i].there, m->arena);
}

static int import_match(Import *import) {
    char *list = NULL;
    size_t length;
    Problems problems = {.out = open_memstream(&list, &length)};
    if (!problems.out) die("no memory");
    import_find_all(import);
    for (uint32_t i = 0; i < import->tensors.count; i++) import_check_found(import, i, &problems);
    import_check_tied(import, &problems);
    import_check_left(import, &problems);
    if (problems.count > IMPORT_LISTED) fprintf(problems.out, "\n  and %u more", problems.count - IMPORT_LISTED);
    fclose(problems.out);
    if (problems.count)
        api_fail("%s: error: these are not the weights of the %s that config.json describes:%s%s", import->file.path,
                 import->bert.architecture, list, import_advice(import));
    free(list);
    return problems.count != 0;
}

/* --- the weights --- */

static void import_widen(float *to, const SelfcEntry *entry, int64_t count) {
    if (entry->tensor.dtype == SELFC_f32) {
        memcpy(to, entry->data, (size_t)count * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < count; i++) to[i] = (float)selfc_value(entry->data, entry->tensor.dtype, i);
}

/* Owned by the caller: free(). */
static float *import_values(const BertTensor *tensor, const SelfcEntry *entry) {
    int64_t count = selfc_tensor_elements(&tensor->tensor, 0);
    float *values = malloc((size_t)count * sizeof *values), *turned = NULL;
    if (!values) die("no memory for %s", tensor->here);
    import_widen(values, entry, count);
    if (!tensor->is_dense) return values;
    turned = malloc((size_t)count * sizeof *turned);
    if (!turned) die("no memory for %s", tensor->here);
    bert_turn(turned, values, tensor->tensor.dim[1], tensor->tensor.dim[0]);
    free(values);
    return turned;
}

static int import_write_weights(Import *import) {
    uint32_t count = import->tensors.count;
    SelfcWrite *writes = arena_array(import->arena, SelfcWrite, count + 1);
    float **values = arena_array(import->arena, float *, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        const BertTensor *tensor = &import->tensors.items[i];
        values[i] = import_values(tensor, import->found[i]);
        writes[i] = (SelfcWrite){tensor->here, &tensor->tensor, values[i]};
    }
    const char *metadata[BERT_METADATA];
    bert_metadata(&import->bert, metadata, import->arena);
    const char *path = arena_printf(import->arena, "%s/weights.safetensors", import->out);
    int failed = selfc_safetensors_write(path, writes, count, metadata);
    for (uint32_t i = 0; i < count; i++) free(values[i]);
    return failed ? api_fail("%s", selfc_failure()) : 0;
}

/* --- the RUN --- */

static const char *import_name(const Import *import) {
    char *path = arena_copy(import->arena, import->out);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') path[--length] = 0;
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static int import_write_description(const Import *import) {
    const char *text = bert_description(&import->bert, import_name(import), import->arena);
    const char *path = arena_printf(import->arena, "%s/model.json", import->out);
    return selfc_file_replace(path, text, strlen(text)) ? api_fail("%s", selfc_failure()) : 0;
}

static int import_check_out(const Import *import) {
    static const char *const files[] = {"model.json", "weights.safetensors", "config.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!access(arena_printf(import->arena, "%s/%s", import->out, files[i]), F_OK))
            return api_fail("%s holds a %s already; name another folder with -o", import->out, files[i]);
    return 0;
}

static int import_make_out(const Import *import) {
    return selfc_make_folders(import->out) ? api_fail("%s", selfc_failure()) : 0;
}

static void import_report(const Import *import, FILE *report) {
    const Bert *bert = &import->bert;
    double numbers = 0;
    for (uint32_t i = 0; i < import->tensors.count; i++)
        numbers += (double)selfc_tensor_elements(&import->tensors.items[i].tensor, 0);
    fprintf(report, "%s: a %s, %lld layers of %lld, %lld words, %.1f M parameters\n", import->out, bert->architecture,
            (long long)bert->layers, (long long)bert->units, (long long)bert->vocabulary, numbers / 1e6);
    if (import->left_out)
        fprintf(report, "left out: %u tensor%s of other heads and buffers\n", import->left_out,
                import->left_out == 1 ? "" : "s");
    if (!import->tokenizer)
        fprintf(report, "without a tokenizer: %s has neither tokenizer.json nor vocab.txt\n", import->folder);
}

/* All is looked at before anything is written; the description comes last, so that half an import is no RUN. */
static int import_all(Import *import, const char *as, FILE *report) {
    if (import_check_out(import) || bert_read_config(import->folder, as, import->arena, &import->bert) ||
        bert_open(import->folder, import->arena, &import->file))
        return 1;
    int failed = import_match(import) ||
                 bert_open_tokenizer(import->folder, &import->bert, import->arena, &import->tokenizer) ||
                 import_make_out(import) || bert_import_tokenizer(import->tokenizer, import->out, import->arena) ||
                 import_write_weights(import) || import_write_description(import);
    bert_close(&import->file);
    selfc_tokenizer_close(import->tokenizer);
    if (!failed) import_report(import, report);
    return failed;
}

int selfc_import(const char *folder, const char *out, const char *as, FILE *report) {
    Import import = {.folder = folder, .out = out, .arena = arena_new()};
    int failed = import_all(&import, as, report);
    arena_free(import.arena);
    return failed;
}
