/* Texts as a data set: samples of so many tokens, cut out of the token cache when they are wanted.
 *
 * Of a stream, sample i has the tokens from i * stride on. A stride that is smaller than a sample is for training; what
 * judges it is read once, without overlap. What does not fill a sample at the end is left out. Of documents, a sample
 * is the beginning of each file; of lines, the beginning of each that is not empty, with its label or its question.
 *
 * Around the tokens stand [CLS] and [SEP], if the tokenizer has both, and behind them [PAD]. Opening tokenises what the
 * cache does not have; nothing is loaded. */
#include "runtime/data/cache_file.h"
#include "runtime/data/source.h"
#include "runtime/data/text_tokens.h"

#include <stdlib.h>
#include <string.h>

typedef enum { FIELD_text, FIELD_word, FIELD_segment, FIELD_count, FIELD_label, FIELD_start, FIELD_end } TextField;
static const char *const text_field_name[] = {"text", "word", "segment", "count", "label", "start", "end"};

/* What an id says about the word that it stands in. */
enum { TOKEN_is_special = 1, TOKEN_continues = 2 };

typedef struct {
    char *path, *cache, *cut;
    TextPlan plan;
    TextUnit unit;
    TokenStore store;
    int64_t stride, vocabulary;
    uint8_t *token; /* TOKEN_… of each id */
    TextField field[SOURCE_FIELDS];
    char **classes;
    int64_t class_count;
} Texts;

/* --- samples --- */

/* The tokens of the text in a sample, and the record that they stand in. */
typedef struct {
    const uint16_t *tokens, *record; /* record NULL: of a stream */
    int64_t count;
} TextSample;

static bool text_sample(const SelfcSource *source, int64_t index, TextSample *sample) {
    const Texts *texts = source->own;
    int64_t body = text_body(&texts->plan);
    if (index < 0 || index >= source->count) return false;
    if (texts->unit == UNIT_stream) {
        *sample = (TextSample){texts->store.units + index * texts->stride * text_width(&texts->plan), NULL, body};
        return true;
    }
    const uint16_t *record = token_store_record(&texts->store, index);
    if (!record) return false;
    *sample = (TextSample){record + 1 + text_extra(texts->plan.kind), record, record[0] < body ? record[0] : body};
    return true;
}

/* A changed cache file makes wrong tokens at worst, none outside of the vocabulary. */
static int32_t text_id(const Texts *texts, const TextSample *sample, int64_t i) {
    bool is_wide = texts->plan.is_wide;
    const uint16_t *unit = sample->tokens + (is_wide ? 2 * i : i);
    uint32_t id = unit[0] | (is_wide ? (uint32_t)unit[1] << 16 : 0);
    return id < texts->vocabulary ? (int32_t)id : 0;
}

static void text_put_text(const Texts *texts, const TextSample *sample, int32_t *out) {
    int64_t at = 0, length = texts->plan.length;
    if (texts->plan.has_specials) out[at++] = texts->plan.begin;
    for (int64_t i = 0; i < sample->count; i++) out[at++] = text_id(texts, sample, i);
    if (texts->plan.has_specials) out[at++] = texts->plan.end;
    while (at < length) out[at++] = texts->plan.padding;
}

static void text_put_words(const Texts *texts, const TextSample *sample, int32_t *out) {
    int64_t at = texts->plan.has_specials;
    int32_t word = -1;
    bool is_inside = false; /* of a word that may go on */
    for (int64_t i = 0; i < texts->plan.length; i++) out[i] = -1;
    for (int64_t i = 0; i < sample->count; i++, at++) {
        uint8_t token = texts->token[text_id(texts, sample, i)];
        bool is_special = token & TOKEN_is_special;
        if (!is_special && !(is_inside && (token & TOKEN_continues))) word++;
        is_inside = !is_special;
        if (!is_special) out[at] = word;
    }
}

/* The second text of a question stands behind the first [SEP], and ends with the last. */
static void text_put_segments(const Texts *texts, const TextSample *sample, int32_t *out) {
    bool is_second = false;
    memset(out, 0, (size_t)texts->plan.length * sizeof *out);
    if (texts->plan.kind != TEXT_question) return;
    for (int64_t i = 0; i < sample->count; i++) {
        out[1 + i] = is_second;
        is_second |= text_id(texts, sample, i) == texts->plan.end;
    }
    out[1 + sample->count] = 1;
}

static void text_put(const Texts *texts, TextField field, const TextSample *sample, int32_t *out) {
    int64_t most = texts->plan.length - 1;
    switch (field) {
    case FIELD_text: text_put_text(texts, sample, out); break;
    case FIELD_word: text_put_words(texts, sample, out); break;
    case FIELD_segment: text_put_segments(texts, sample, out); break;
    case FIELD_count: *out = (int32_t)(sample->count + (texts->plan.has_specials ? 2 : 0)); break;
    case FIELD_label: *out = sample->record[1]; break;
    case FIELD_start: *out = sample->record[1] < most ? sample->record[1] : (int32_t)most; break;
    case FIELD_end: *out = sample->record[2] < most ? sample->record[2] : (int32_t)most; break;
    }
}

static void text_gather(const SelfcSource *source, uint32_t field, const int32_t *index, int64_t n, void *out) {
    const Texts *texts = source->own;
    size_t bytes = selfc_tensor_bytes(&source->fields[field].sample, 0);
    for (int64_t i = 0; i < n; i++) {
        int32_t *to = (int32_t *)((char *)out + (size_t)i * bytes);
        TextSample sample;
        if (text_sample(source, index[i], &sample))
            text_put(texts, texts->field[field], &sample, to);
        else
            memset(to, 0, bytes);
    }
}

static bool text_load(SelfcSource *source) {
    (void)source;
    return true;
}

static void text_close(SelfcSource *source) {
    Texts *texts = source->own;
    token_store_close(&texts->store);
    for (int64_t i = 0; i < texts->class_count; i++) free(texts->classes[i]);
    free(texts->classes);
    free(texts->token);
    free(texts->cut);
    free(texts->path);
    free(texts->cache);
    free(texts);
}

/* --- what is asked for --- */

static bool text_set_plan(Texts *texts, const SelfcSourceOptions *options) {
    TextPlan *plan = &texts->plan;
    const SelfcTokenizer *tokenizer = options->tokenizer;
    *plan = (TextPlan){.tokenizer = tokenizer, .length = options->length};
    texts->vocabulary = selfc_tokenizer_size(tokenizer);
    plan->is_wide = texts->vocabulary > TEXT_NARROW_TOKENS;
    SelfcMarks marks = selfc_tokenizer_marks(tokenizer);
    plan->begin = marks.begin;
    plan->end = marks.end;
    plan->padding = marks.padding < 0 ? 0 : marks.padding;
    plan->has_specials = marks.begin >= 0;
    int64_t least = plan->has_specials ? 3 : 1;
    if (plan->length >= least && plan->length <= TEXT_LONGEST) return true;
    selfc_fail("%s: samples of %lld tokens: a \"length\" must be from %lld%s to %d", texts->path,
               (long long)plan->length, (long long)least, plan->has_specials ? ", for [CLS] and [SEP] count," : "",
               TEXT_LONGEST);
    return false;
}

/* Labels and questions stand in lines. */
static bool text_set_unit(Texts *texts, const SelfcSourceOptions *options) {
    texts->plan.kind = options->has_labels ? TEXT_labelled : TEXT_plain;
    texts->unit = options->has_labels ? UNIT_line : UNIT_stream;
    if (!options->unit) return true;
    if (!text_unit_find(options->unit, &texts->unit))
        return selfc_fail("%s: the unit is \"%s\", but must be \"stream\", \"document\" or \"line\"", texts->path,
                          options->unit),
               false;
    if (!options->has_labels || texts->unit == UNIT_line) return true;
    selfc_fail("%s: labels stand at the beginning of lines, so the unit must be \"line\", not \"%s\"", texts->path,
               options->unit);
    return false;
}

static bool text_set_questions(Texts *texts, const SelfcSourceOptions *options) {
    if (options->unit && texts->unit != UNIT_line)
        return selfc_fail("%s: its samples are JSON lines, so the unit must be \"line\", not \"%s\"", texts->path,
                          options->unit),
               false;
    if (options->has_labels)
        return selfc_fail("%s: JSON lines hold questions; there are no labels in them", texts->path), false;
    texts->unit = UNIT_line;
    texts->plan.kind = TEXT_question;
    if (texts->plan.has_specials && texts->plan.length >= 5) return true;
    selfc_fail("%s: questions need a tokenizer with [CLS] and [SEP], and a \"length\" of at least 5", texts->path);
    return false;
}

static bool text_learn_tokens(Texts *texts) {
    texts->token = calloc((size_t)texts->vocabulary + 1, 1);
    if (!texts->token) return selfc_fail("no memory for a vocabulary"), false;
    for (int32_t id = 0; id < texts->vocabulary; id++)
        texts->token[id] = (uint8_t)((selfc_tokenizer_is_special(texts->plan.tokenizer, id) ? TOKEN_is_special : 0) |
                                     (selfc_tokenizer_continues(texts->plan.tokenizer, id) ? TOKEN_continues : 0));
    return true;
}

/* --- the cache --- */

/* Which tokens there are depends on the tokenizer, on the files, and for records on where they are cut off. */
static uint64_t text_key(const Texts *texts, const TextFiles *files) {
    enum { TEXT_VERSION = 3 }; /* changes when the same files give other tokens */
    uint64_t key = CACHE_KEY_BEGIN, tables;
    size_t size;
    const void *blob = selfc_tokenizer_tables(texts->plan.tokenizer, &size);
    tables = cache_checksum(blob, size);
    int64_t facts[] = {TEXT_VERSION, texts->unit, texts->plan.kind, texts->unit == UNIT_stream ? 0 : texts->plan.length,
                       texts->plan.has_specials ? texts->plan.end : -1};
    cache_key_add(&key, facts, sizeof facts);
    cache_key_add(&key, &tables, sizeof tables);
    for (int64_t i = 0; i < files->count; i++) {
        const TextFile *file = &files->files[i];
        char *path = realpath(file->path, NULL);
        cache_key_add_text(&key, path ? path : file->path);
        cache_key_add_file(&key, file->path);
        cache_key_add(&key, &file->begin, sizeof file->begin);
        cache_key_add(&key, &file->end, sizeof file->end);
        free(path);
    }
    return key;
}

static bool text_need_tokens(Texts *texts, const TextFiles *files) {
    uint64_t key = text_key(texts, files);
    if (token_store_open(&texts->store, texts->cache, key)) return true;
    TokenWriter writer;
    if (!token_writer_begin(&writer, texts->path, texts->cache, key, text_extra(texts->plan.kind),
                            text_width(&texts->plan)))
        return false;
    if (text_tokenise(&texts->plan, texts->unit, files, &writer)) return token_writer_end(&writer, &texts->store);
    token_writer_abandon(&writer);
    return false;
}

/* --- a source --- */

static bool text_count(SelfcSource *source, Texts *texts) {
    const TokenHead *head = texts->store.head;
    int64_t body = text_body(&texts->plan), tokens = head->units / head->width;
    source->count = texts->unit != UNIT_stream ? head->records
                    : tokens < body            ? 0
                                               : (tokens - body) / texts->stride + 1;
    if (source->count || source->split == SELFC_TEST) return true;
    if (texts->unit == UNIT_stream)
        selfc_fail("%s: the training text has %lld tokens, too few for one sample, whose \"length\" is %lld%s",
                   texts->path, (long long)tokens, (long long)texts->plan.length,
                   texts->plan.has_specials ? " with [CLS] and [SEP]" : "");
    else if (head->lost)
        selfc_fail("%s: the answer to each question stands behind the first %lld tokens, which is the \"length\" of a "
                   "sample: it must be larger",
                   texts->path, (long long)texts->plan.length);
    else
        selfc_fail("%s: holds no text that has tokens", texts->path);
    return false;
}

static void text_tell_cut(SelfcSource *source) {
    static const char *const name[] = {[UNIT_stream] = "", [UNIT_document] = "documents", [UNIT_line] = "lines"};
    Texts *texts = source->own;
    const TokenHead *head = texts->store.head;
    char left_out[128] = "";
    if (!head || !head->cut) return;
    if (head->lost)
        snprintf(left_out, sizeof left_out, ", of which %lld %s left out: the answer stands behind the cut",
                 (long long)head->lost, head->lost == 1 ? "is" : "are");
    if (asprintf(&texts->cut, "%s: %lld of %lld %s of the %s data %s cut at %lld tokens%s", texts->path,
                 (long long)head->cut, (long long)(head->records + head->lost),
                 texts->plan.kind == TEXT_question ? "questions" : name[texts->unit],
                 source->split == SELFC_TRAIN ? "training" : "test", head->cut == 1 ? "is" : "are",
                 (long long)texts->plan.length, left_out) < 0)
        abort();
    source->cut = texts->cut;
}

static void text_add_field(SelfcSource *source, TextField field, bool is_of_tokens, int64_t below) {
    Texts *texts = source->own;
    SelfcTensor sample = {.dtype = SELFC_i32, .rank = is_of_tokens, .dim = {is_of_tokens ? texts->plan.length : 0}};
    texts->field[source->field_count] = field;
    source->below[source->field_count] = below;
    source_add_field(source, text_field_name[field], sample, NULL);
}

static void text_add_fields(SelfcSource *source) {
    const Texts *texts = source->own;
    int64_t length = texts->plan.length, below = texts->store.head ? texts->store.head->below : 0;
    text_add_field(source, FIELD_text, true, texts->vocabulary);
    text_add_field(source, FIELD_word, true, 0);
    text_add_field(source, FIELD_segment, true, 2);
    text_add_field(source, FIELD_count, false, length + 1);
    source->no_labels = "lines of text begin with labels if it is asked for them";
    if (texts->plan.kind == TEXT_labelled) text_add_field(source, FIELD_label, false, below), source->no_labels = NULL;
    if (texts->plan.kind != TEXT_question) return;
    text_add_field(source, FIELD_start, false, length);
    text_add_field(source, FIELD_end, false, length);
}

/* Classes are called as they are numbered. */
static bool text_name_classes(SelfcSource *source) {
    Texts *texts = source->own;
    if (texts->plan.kind != TEXT_labelled || !texts->store.head) return true;
    int64_t count = texts->store.head->below;
    texts->classes = calloc((size_t)count + 1, sizeof *texts->classes);
    if (!texts->classes) return selfc_fail("%s: no memory for its classes", texts->path), false;
    for (; texts->class_count < count; texts->class_count++)
        if (asprintf(&texts->classes[texts->class_count], "%lld", (long long)texts->class_count) < 0) abort();
    source->classes = (const char *const *)texts->classes;
    source->class_count = count;
    return true;
}

bool source_is_text(const char *path) { return text_files_are_at(path); }

bool source_open_text(SelfcSource *source, const SelfcSourceOptions *options) {
    Texts *texts = calloc(1, sizeof *texts);
    if (!texts) return selfc_fail("no memory for a data set"), false;
    source->own = texts;
    source->load = text_load;
    source->gather = text_gather;
    source->close = text_close;
    texts->path = strdup(options->path);
    texts->cache = options->cache ? strdup(options->cache) : NULL;
    if (!options->tokenizer)
        return selfc_fail("%s: is text, which needs a tokenizer: the description's data input says which by "
                          "\"tokenizer\", and its \"length\"",
                          texts->path),
               false;
    TextFiles files = {0};
    bool is_fine = text_set_plan(texts, options) && text_set_unit(texts, options) &&
                   text_files_find(&files, options->path, options->split, texts->unit, options->whole) &&
                   (!files.is_json || text_set_questions(texts, options)) && text_learn_tokens(texts);
    texts->stride = options->stride && options->split == SELFC_TRAIN ? options->stride : text_body(&texts->plan);
    bool has_text = is_fine && text_files_bytes(&files) > 0;
    if (has_text) is_fine = text_need_tokens(texts, &files) && text_count(source, texts);
    text_files_free(&files);
    if (is_fine) text_add_fields(source);
    if (is_fine) text_tell_cut(source);
    return is_fine && text_name_classes(source);
}
