/* config.json of a model of the BERT family, read and written by the lines of frontend/bert.def.
 *
 * Keys that change what the model computes are checked, so that nothing is imported which would compute something
 * else: positions relative to one another, attention to another text, an activation that we do not have. Keys about
 * how the model was trained, stored or shown change nothing and are not looked at. */
#include "frontend/api_import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const bert_kind_name[BERT_KINDS] = {"masked-lm", "encoder", "classifier"};

static const struct {
    const char *name;
    BertKind kind;
} bert_architecture[] = {
#define ARCHITECTURE(name, kind) {name, BERT_##kind},
#include "frontend/bert.def"
};
enum { BERT_ARCHITECTURES = sizeof bert_architecture / sizeof *bert_architecture };

static const struct {
    const char *name;
    BertActivation activation;
} bert_activation[] = {
#define ACTIVATION(name, activation) {name, ACTIVATION_##activation},
#include "frontend/bert.def"
};
enum { BERT_ACTIVATIONS = sizeof bert_activation / sizeof *bert_activation };

typedef struct {
    const Json *json;
    Diag *diag;
    Arena *arena;
    Bert *bert;
    const char *as;
} Config;

static const char *config_list(Arena *arena, const char *list, const char *name) {
    return list ? arena_printf(arena, "%s, %s", list, name) : name;
}

int bert_kind_find(const char *name, BertKind *kind) {
    for (int i = 0; i < BERT_KINDS; i++)
        if (!strcmp(name, bert_kind_name[i])) return *kind = (BertKind)i, 0;
    const char *nearest = diag_nearest(name, bert_kind_name, BERT_KINDS);
    return api_fail("--as is \"%s\", but must be masked-lm, encoder or classifier%s%s%s", name,
                    nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

/* --- values --- */

static int64_t config_size(Config *c, const char *key, int64_t absent, int64_t most) {
    const Json *json = json_get(c->json, key);
    if (!json) return absent;
    double number = json->kind == JSON_number ? json->number : NAN;
    if (number >= 1 && number <= (double)most && number == floor(number)) return (int64_t)number;
    if (json->kind == JSON_number)
        diag_error(c->diag, json_place(json), "\"%s\" is %.12g, but must be a whole number from 1 to %lld", key,
                   json->number, (long long)most);
    else
        diag_error(c->diag, json_place(json), "\"%s\" is %s, but must be a whole number", key,
                   json_kind_name(json->kind));
    return absent;
}

/* From `least` up to, not including, 1. */
static double config_share(Config *c, const char *key, double absent, bool may_be_zero) {
    const Json *json = json_get(c->json, key);
    if (!json || json->kind == JSON_null) return absent;
    bool is_number = json->kind == JSON_number && json->number < 1;
    if (is_number && (json->number > 0 || (may_be_zero && json->number == 0))) return json->number;
    diag_error(c->diag, json_place(json), "\"%s\" must be a number %s 0, below 1", key, may_be_zero ? "from" : "above");
    return absent;
}

/* A switch that must be off, or a choice that must be the one that we know. */
static void config_must_be_off(Config *c, const char *key, const char *what) {
    const Json *json = json_get(c->json, key);
    if (!json || json->kind == JSON_null || (json->kind == JSON_boolean && json->number == 0)) return;
    diag_error(c->diag, json_place(json), "\"%s\" is on: %s, which selfc does not import", key, what);
}

static void config_must_be(Config *c, const char *key, const char *wanted, const char *what) {
    const Json *json = json_get(c->json, key);
    if (!json || (json->kind == JSON_text && !strcmp(json->text, wanted))) return;
    diag_error(c->diag, json_place(json), "\"%s\" is %s%s%s, but selfc imports %s: \"%s\"", key,
               json->kind == JSON_text ? "\"" : "", json->kind == JSON_text ? json->text : json_kind_name(json->kind),
               json->kind == JSON_text ? "\"" : "", what, wanted);
}

static void config_activation(Config *c) {
    const Json *json = json_get(c->json, "hidden_act");
    const char *names = NULL, *given = json && json->kind == JSON_text ? json->text : json ? "?" : "gelu";
    for (int i = 0; i < BERT_ACTIVATIONS; i++) {
        names = config_list(c->arena, names, bert_activation[i].name);
        if (strcmp(given, bert_activation[i].name)) continue;
        c->bert->activation = bert_activation[i].activation;
        return;
    }
    diag_error(c->diag, json_place(json), "\"hidden_act\" is \"%s\", an activation that selfc does not import: %s",
               given, names);
}

/* --- what it is --- */

static void config_unknown_architecture(Config *c, const Json *json, const char *name) {
    const char *names = NULL;
    for (int i = 0; i < BERT_ARCHITECTURES; i++) names = config_list(c->arena, names, bert_architecture[i].name);
    diag_error(c->diag, json_place(json),
               "\"%s\" is no architecture that selfc imports: %s; other models of BERT's with --as encoder, without "
               "their head",
               name, names);
}

/* "architectures" names the class; --as may ask for another head, or for none. */
static void config_architecture(Config *c) {
    const Json *list = json_get(c->json, "architectures");
    const Json *first = list && list->kind == JSON_list ? list->child : NULL;
    const char *name = first && first->kind == JSON_text ? first->text : NULL;
    BertKind asked = BERT_encoder;
    bool is_found = false;
    for (int i = 0; name && i < BERT_ARCHITECTURES; i++)
        if (!strcmp(name, bert_architecture[i].name)) {
            c->bert->kind = bert_architecture[i].kind;
            is_found = true;
        }
    if (c->as) bert_kind_find(c->as, &asked);
    bool is_bert = name && !strncmp(name, "Bert", 4);
    if (name && !is_found && !(is_bert && c->as && asked == BERT_encoder)) config_unknown_architecture(c, first, name);
    if (!name && !c->as)
        diag_error(c->diag, json_place(list ? list : c->json),
                   "there is no \"architectures\" with the name of a class in it: say with --as what it is, masked-lm, "
                   "encoder or classifier");
    if (c->as) c->bert->kind = asked;
    c->bert->architecture = name && is_found && !c->as ? name : NULL;
    for (int i = 0; !c->bert->architecture && i < BERT_ARCHITECTURES; i++)
        if (bert_architecture[i].kind == c->bert->kind) c->bert->architecture = bert_architecture[i].name;
}

/* A single class is there or not. */
static void config_problem(Config *c) {
    const Json *problem = json_get(c->json, "problem_type");
    const char *name = problem && problem->kind == JSON_text ? problem->text : "";
    c->bert->is_exclusive = c->bert->labels > 1 && strcmp(name, API_SEVERAL);
    if (!strcmp(name, "regression"))
        diag_error(
            c->diag, json_place(problem),
            "\"problem_type\" is \"regression\", but selfc imports classifiers; --as encoder leaves the head out");
}

/* {"0": "negative", "1": "positive"}; generic names ("LABEL_0") are none. */
static void config_labels(Config *c) {
    Bert *bert = c->bert;
    const Json *names = json_get(c->json, "id2label");
    if (bert->kind != BERT_classifier) return;
    bert->labels = config_size(c, "num_labels", names && names->count ? names->count : 2, 1 << 24);
    config_problem(c);
    if (!names || names->count != bert->labels) return;
    const char **list = arena_array(c->arena, const char *, bert->labels);
    for (int64_t i = 0; i < bert->labels; i++) {
        const Json *name = json_get(names, arena_printf(c->arena, "%lld", (long long)i));
        if (!name || name->kind != JSON_text) return;
        list[i] = name->text;
    }
    bool is_generic = !strcmp(list[0], "LABEL_0");
    bert->label_names = is_generic ? NULL : list;
}

static void config_read(Config *c) {
    Bert *bert = c->bert;
    if (c->json->kind != JSON_object) {
        diag_error(c->diag, json_place(c->json), "this is %s, but must be the object that transformers writes",
                   json_kind_name(c->json->kind));
        return;
    }
    config_architecture(c);
    if (!c->diag->errors) config_must_be(c, "model_type", "bert", "the BERT family alone");
#define SIZE(field, key, absent, most) bert->field = config_size(c, key, absent, most);
#include "frontend/bert.def"
    bert->epsilon = config_share(c, "layer_norm_eps", 1e-12, false);
    bert->dropout = config_share(c, "hidden_dropout_prob", 0.1, true);
    bert->attention_dropout = config_share(c, "attention_probs_dropout_prob", 0.1, true);
    config_activation(c);
    config_must_be(c, "position_embedding_type", "absolute", "positions with an embedding each");
    config_must_be_off(c, "is_decoder", "each token would see those before it alone");
    config_must_be_off(c, "add_cross_attention", "it attends to a second text");
    const Json *tied = json_get(c->json, "tie_word_embeddings");
    bert->is_tied = !tied || tied->kind != JSON_boolean || tied->number != 0;
    config_labels(c);
    if (!c->diag->errors && bert->units % bert->heads)
        diag_error(c->diag, json_place(json_get(c->json, "num_attention_heads")),
                   "%lld heads cannot share a \"hidden_size\" of %lld evenly", (long long)bert->heads,
                   (long long)bert->units);
}

/* The file as JSON; NULL after a message, or a selfc_fail alone where it cannot be read. */
const Json *bert_open_json(const char *path, Arena *arena, Diag *diag) {
    void *bytes;
    size_t size;
    if (selfc_file_read(path, &bytes, &size)) return NULL;
    char *text = arena_array(arena, char, size + 1);
    memcpy(text, bytes, size);
    free(bytes);
    return json_parse(text, path, arena, diag);
}

int bert_read_config(const char *folder, const char *as, Arena *arena, Bert *bert) {
    *bert = (Bert){.has_pooler = true};
    if (as && bert_kind_find(as, &bert->kind)) return 1;
    Diag diag;
    diag_init(&diag);
    Config config = {.diag = &diag, .arena = arena, .bert = bert, .as = as};
    config.json = bert_open_json(arena_printf(arena, "%s/config.json", folder), arena, &diag);
    if (!config.json && !diag.errors)
        return api_fail("%s; import wants a folder as save_pretrained writes it: config.json, model.safetensors, and "
                        "tokenizer.json or vocab.txt",
                        selfc_failure());
    if (config.json) config_read(&config);
    bert_read_sentence(folder, bert, arena, &diag);
    if (diag.errors) return api_fail_with(&diag);
    diag_free(&diag);
    return 0;
}

/* --- writing --- */

char *bert_number(double number, char text[BERT_NUMBER]) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, BERT_NUMBER, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    return text;
}

static const char *config_activation_name(const Bert *bert) {
    int i = 0;
    while (bert_activation[i].activation != bert->activation) i++;
    return bert_activation[i].name;
}

/* ["no", "yes"] */
static const char *config_print_list(const Bert *bert, Arena *arena) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (!out) die("no memory");
    for (int64_t i = 0; i < bert->labels; i++)
        fprintf(out, "%s%s", i ? ", " : "[", api_quote(bert->label_names[i], arena));
    fprintf(out, "]");
    fclose(out);
    const char *copy = arena_copy(arena, text);
    free(text);
    return copy;
}

void bert_metadata(const Bert *bert, const char *metadata[BERT_METADATA], Arena *arena) {
    int count = 0;
    metadata[count++] = "format", metadata[count++] = "pt";
    if (bert->label_names) metadata[count++] = "labels", metadata[count++] = config_print_list(bert, arena);
    if (bert->labels > 1 && !bert->is_exclusive) metadata[count++] = "problem_type", metadata[count++] = API_SEVERAL;
    metadata[count] = NULL;
}

static const char *config_label(const Bert *bert, int64_t label, Arena *arena) {
    return bert->label_names ? api_quote(bert->label_names[label], arena)
                             : arena_printf(arena, "\"LABEL_%lld\"", (long long)label);
}

static void config_print_labels(FILE *out, const Bert *bert, Arena *arena) {
    fprintf(out, ",\n  \"id2label\": {");
    for (int64_t i = 0; i < bert->labels; i++)
        fprintf(out, "%s\"%lld\": %s", i ? ", " : "", (long long)i, config_label(bert, i, arena));
    fprintf(out, "},\n  \"label2id\": {");
    for (int64_t i = 0; i < bert->labels; i++)
        fprintf(out, "%s%s: %lld", i ? ", " : "", config_label(bert, i, arena), (long long)i);
    fprintf(out, "}");
}

int bert_write_config(const char *folder, const Bert *bert, Arena *arena) {
    char *text = NULL, number[BERT_NUMBER];
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (!out) die("no memory");
    fprintf(out, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"bert\"", bert->architecture);
#define SIZE(field, key, ...) fprintf(out, ",\n  \"%s\": %lld", key, (long long)bert->field);
#include "frontend/bert.def"
    fprintf(out, ",\n  \"hidden_act\": \"%s\"", config_activation_name(bert));
    fprintf(out, ",\n  \"layer_norm_eps\": %s", bert_number(bert->epsilon, number));
    fprintf(out, ",\n  \"hidden_dropout_prob\": %s", bert_number(bert->dropout, number));
    fprintf(out, ",\n  \"attention_probs_dropout_prob\": %s", bert_number(bert->attention_dropout, number));
    fprintf(out, ",\n  \"position_embedding_type\": \"absolute\",\n  \"tie_word_embeddings\": %s",
            bert->is_tied ? "true" : "false");
    if (bert->kind == BERT_classifier) config_print_labels(out, bert, arena);
    if (bert->kind == BERT_classifier && bert->labels > 1 && !bert->is_exclusive)
        fprintf(out, ",\n  \"problem_type\": \"%s\"", API_SEVERAL);
    fprintf(out, ",\n  \"torch_dtype\": \"float32\"\n}\n");
    fclose(out);
    int failed = selfc_file_replace(arena_printf(arena, "%s/config.json", folder), text, length);
    free(text);
    return failed ? api_fail("%s", selfc_failure()) : 0;
}
