/* Training: what data inputs say about texts.
 *
 * Inputs that read different fields of the same texts would have to say everything twice. So what the first one says
 * holds for those behind it, and there is one tokenizer: "vocabulary" and "mask" in formulas mean its own. */
#include "frontend/read.h"

#include <string.h>

enum { LONGEST_TEXT = 1 << 15 };

static const char *read_unit(Reader *r, const Json *json) {
    static const char *const units[] = {"stream", "document", "line"};
    for (uint32_t i = 0; i < 3; i++)
        if (!strcmp(json->text, units[i])) return units[i];
    read_error(r, json, "'unit' is \"%s\", but must be %s", json->text, accept_info[ACCEPT_unit].text);
    return NULL;
}

/* Shapes are known before any text is opened. */
static void set_text_sample(Data *data) {
    static const char *const of_tokens[] = {"text", "word", "segment"};
    static const char *const of_samples[] = {"count", "label", "start", "end"};
    data->has_sample = false;
    for (uint32_t i = 0; i < 3; i++)
        if (!strcmp(data->field, of_tokens[i]) && data->length) {
            data->sample = (Type){.dtype = DTYPE_i32, .rank = 1, .dim = {data->length}};
            data->has_sample = true;
        }
    for (uint32_t i = 0; i < 4; i++)
        if (!strcmp(data->field, of_samples[i])) {
            data->sample = (Type){.dtype = DTYPE_i32};
            data->has_sample = true;
        }
}

void read_text(Reader *r, const Json *json, const SourceInfo *source, Data *data) {
    static const char *const keys[] = {"length", "tokenizer", "unit", "stride", "vocabulary", "mask"};
    const Json *given = NULL;
    data->mask = -1;
    for (uint32_t i = 0; i < sizeof keys / sizeof *keys && !given; i++) given = read_key(json, OBJECT_data, keys[i]);
    data->is_text = (source && !strcmp(source->name, "text")) || given;
    if (given && source && strcmp(source->name, "text") && strcmp(source->name, "npy"))
        read_error(r, given, "'%s' belongs to texts, or to numbers of tokens in a .npy file, but the source is \"%s\"",
                   given->key, source->name);
    const Json *length = read_key(json, OBJECT_data, "length"), *stride = read_key(json, OBJECT_data, "stride");
    const Json *unit = read_key(json, OBJECT_data, "unit"), *tokenizer = read_key(json, OBJECT_data, "tokenizer");
    const Json *vocabulary = read_key(json, OBJECT_data, "vocabulary"), *mask = read_key(json, OBJECT_data, "mask");
    data->length = (int64_t)read_number(r, length, 0, 1, LONGEST_TEXT);
    data->stride = (int64_t)read_number(r, stride, 0, 1, 1 << 30);
    data->vocabulary = (int64_t)read_number(r, vocabulary, 0, 1, 1 << 30);
    data->mask = (int64_t)read_number(r, mask, -1, 0, 1 << 30);
    if (unit) data->unit = read_unit(r, unit);
    if (tokenizer) data->tokenizer = tokenizer->text;
    data->tokenizer_json = tokenizer;
}

/* What `data` does not say itself. */
static void text_follow(Reader *r, Data *data, const Data *first) {
    if (!data->path && !json_get(data->json, "path")) data->path = first->path;
    if (!data->length) data->length = first->length;
    if (!data->stride) data->stride = first->stride;
    if (!data->unit) data->unit = first->unit;
    if (data->tokenizer && first->tokenizer && strcmp(data->tokenizer, first->tokenizer))
        read_error(r, data->tokenizer_json, "the tokenizer is \"%s\" here, but \"%s\" for \"%s\": one serves all texts",
                   data->tokenizer, first->tokenizer, first->name);
    data->tokenizer = first->tokenizer;
    data->vocabulary = first->vocabulary;
    data->mask = first->mask;
}

/* Where neighbours judge they have to, too. */
bool read_text_has_labels(const Training *training) {
    if (training->knn.every) return true;
    for (uint32_t i = 0; i < training->data_count; i++)
        if (training->data[i].is_text && !strcmp(training->data[i].field, "label")) return true;
    return false;
}

/* What only the first says. */
static void text_check(Reader *r, const Data *data) {
    const char *who = data->path ? arena_printf(r->arena, "%s is text, which", data->path) : "a text";
    if (!data->length && !json_get(data->json, "length"))
        read_error(r, data->json, "%s needs a \"length\": the tokens of a sample", who);
    if (!data->tokenizer && !json_get(data->json, "tokenizer"))
        read_error(r, data->json, "%s needs a \"tokenizer\": a vocab.txt, a tokenizer.json, or \"characters\"", who);
}

/* A source that is recognised from its path may turn out to be no text, and then has shapes of its own. */
void read_texts(Reader *r, Training *training) {
    for (uint32_t i = 0; i < training->data_count; i++) {
        Data *data = &training->data[i];
        if (!data->is_text) continue;
        bool is_sure = data->source && !strcmp(data->source, "text"), is_first = !r->model->text;
        if (is_first)
            r->model->text = data;
        else
            text_follow(r, data, r->model->text);
        if (is_first && is_sure) text_check(r, data);
        if (is_sure) set_text_sample(data);
    }
}
