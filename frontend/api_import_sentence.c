/* What sentence-transformers writes beside a model of the BERT family: modules.json, the steps from a text to its
 * embedding, each with a folder of its own, and sentence_bert_config.json, the number of tokens that a text may have.
 *
 * The function `encode` of an import gives the mean of the rows, or the first row, of length 1. Whatever would make
 * another embedding is an error, for it would be missed by nobody until the results are bad. */
#include "frontend/api_import.h"

#include <math.h>
#include <string.h>

typedef struct {
    const char *folder;
    Bert *bert;
    Arena *arena;
    Diag *diag;
} Sentence;

static const Json *sentence_open(const Sentence *s, const char *file) {
    return bert_open_json(arena_printf(s->arena, "%s/%s", s->folder, file), s->arena, s->diag);
}

/* --- pooling --- */

static void sentence_mode(const Sentence *s, const Json *item, const char *mode, const Json **chosen) {
    bool is_first = !strcmp(mode, "cls") || !strcmp(mode, "cls_token");
    if (!is_first && strcmp(mode, "mean") && strcmp(mode, "mean_tokens"))
        diag_error(s->diag, json_key_place(item),
                   "\"%s\": selfc imports embeddings that are the mean of all rows or the first row; without this "
                   "file they are the mean",
                   item->key);
    else if (*chosen)
        diag_error(
            s->diag, json_key_place(item),
            "\"%s\" as well as \"%s\" makes embeddings of both, one behind the other, but selfc imports those of "
            "one: the mean of all rows or the first row",
            item->key, (*chosen)->key);
    s->bert->takes_first = is_first;
    *chosen = item;
}

/* "pooling_mode": "mean", or a switch for each: "pooling_mode_mean_tokens": true. */
static void sentence_pooling(const Sentence *s, const char *path) {
    static const char prefix[] = "pooling_mode_";
    const Json *json = sentence_open(s, arena_printf(s->arena, "%s/config.json", path)), *chosen = NULL;
    for (const Json *item = json && json->kind == JSON_object ? json->child : NULL; item; item = item->next) {
        bool is_switch = !strncmp(item->key, prefix, strlen(prefix)) && item->kind == JSON_boolean && item->number != 0;
        if (is_switch) sentence_mode(s, item, item->key + strlen(prefix), &chosen);
        if (!strcmp(item->key, "pooling_mode") && item->kind == JSON_text) sentence_mode(s, item, item->text, &chosen);
    }
}

/* --- steps --- */

/* "sentence_transformers.models.Pooling" is a Pooling. */
static const char *sentence_type(const Json *module) {
    const Json *type = json_get(module, "type");
    const char *name = type && type->kind == JSON_text ? type->text : "";
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static void sentence_module(const Sentence *s, const Json *module) {
    const char *type = sentence_type(module);
    const Json *path = json_get(module, "path");
    if (!strcmp(type, "Pooling"))
        sentence_pooling(s, path && path->kind == JSON_text ? path->text : "1_Pooling");
    else if (strcmp(type, "Transformer") && strcmp(type, "Normalize"))
        diag_error(s->diag, json_place(json_get(module, "type") ? json_get(module, "type") : module),
                   "\"%s\" is a step that selfc does not import, so embeddings would be others: it imports "
                   "Transformer, Pooling and Normalize. Without modules.json in the folder the BERT alone is imported",
                   type);
}

/* Where texts are cut off; null: where positions end. */
static void sentence_longest(const Sentence *s) {
    const Json *json = json_get(sentence_open(s, "sentence_bert_config.json"), "max_seq_length");
    double number = json && json->kind == JSON_number ? json->number : NAN;
    if (!json || json->kind == JSON_null) return;
    if (number >= 1 && number == floor(number))
        s->bert->longest = number < 1 << 20 ? (int64_t)number : 1 << 20;
    else
        diag_error(s->diag, json_place(json), "\"max_seq_length\" must be a whole number from 1, of tokens");
}

void bert_read_sentence(const char *folder, Bert *bert, Arena *arena, Diag *diag) {
    Sentence s = {folder, bert, arena, diag};
    const Json *modules = sentence_open(&s, "modules.json");
    bool is_list = modules && modules->kind == JSON_list;
    for (const Json *module = is_list ? modules->child : NULL; module; module = module->next)
        sentence_module(&s, module);
    if (!is_list) sentence_pooling(&s, "1_Pooling");
    sentence_longest(&s);
}

/* --- writing --- */

static int sentence_write(const char *folder, const char *file, const char *text, Arena *arena) {
    const char *path = arena_printf(arena, "%s/%s", folder, file);
    return selfc_file_replace(path, text, strlen(text)) ? api_fail("%s", selfc_failure()) : 0;
}

/* Versions differ in what other modes they know; those that are not named are off. */
static const char *sentence_print_pooling(const Bert *bert, Arena *arena) {
    return arena_printf(arena,
                        "{\n  \"word_embedding_dimension\": %lld,\n  \"pooling_mode_cls_token\": %s,\n"
                        "  \"pooling_mode_mean_tokens\": %s\n}\n",
                        (long long)bert->units, bert->takes_first ? "true" : "false",
                        bert->takes_first ? "false" : "true");
}

/* Each step with its folder; the first is the BERT itself. */
static const char *sentence_print_modules(Arena *arena) {
    static const struct {
        const char *type, *folder;
    } step[] = {{"Transformer", ""}, {"Pooling", "1_Pooling"}, {"Normalize", "2_Normalize"}};
    const char *text = "[";
    for (int i = 0; i < 3; i++)
        text = arena_printf(arena,
                            "%s%s\n  {\"idx\": %d, \"name\": \"%d\", \"path\": \"%s\", "
                            "\"type\": \"sentence_transformers.models.%s\"}",
                            text, i ? "," : "", i, i, step[i].folder, step[i].type);
    return arena_printf(arena, "%s\n]\n", text);
}

int bert_write_sentence(const char *folder, const Bert *bert, Arena *arena) {
    if (!bert->has_embedding) return 0;
    int64_t longest = bert->longest ? bert->longest : bert->positions;
    const char *pooling = arena_printf(arena, "%s/1_Pooling", folder);
    const char *text =
        arena_printf(arena, "{\n  \"max_seq_length\": %lld,\n  \"do_lower_case\": false\n}\n", (long long)longest);
    if (selfc_make_folders(pooling)) return api_fail("%s", selfc_failure());
    return sentence_write(pooling, "config.json", sentence_print_pooling(bert, arena), arena) ||
           sentence_write(folder, "sentence_bert_config.json", text, arena) ||
           sentence_write(folder, "modules.json", sentence_print_modules(arena), arena);
}
