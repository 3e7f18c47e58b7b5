/* The files that tokenizers come in: tokenizer.json of the Python package `tokenizers`, as far as it is BERT's (or
 * ours, of characters), and the older vocab.txt with what stands beside it. What is not supported is refused by its
 * name, not passed over: a tokenizer that is nearly right is wrong. What stands around the text (post-processor,
 * truncation, padding) is not a tokenizer's business here, and is passed over. */
#include "runtime/text/internal.h"

#include "runtime/data/file.h"
#include "runtime/data/json_scan.h"

#include <stdlib.h>
#include <string.h>

enum { READING_MOST_TOKENS = 1 << 22 }; /* a file with one token cannot ask for more memory than this */

typedef struct {
    SelfcTokenizer *tokenizer;
    JsonScan scan;
    const char *name; /* of the file */
    bool has_model, splits_words, splits_characters;
    bool is_reported; /* selfc_fail has been called with more than the place */
} Reading;

/* --- small pieces --- */

static bool reading_bad(Reading *reading, const char *what) {
    if (!reading->is_reported)
        selfc_fail("%s: byte %zu: %s", reading->name, (size_t)(reading->scan.at - reading->scan.start), what);
    reading->is_reported = true;
    return false;
}

static bool reading_unsupported(Reading *reading, const char *what, const char *found, const char *wanted) {
    selfc_fail("%s: %s \"%s\" is not supported, only %s", reading->name, what, found, wanted);
    reading->is_reported = true;
    return false;
}

typedef bool ReadKey(Reading *reading, const char *key, void *context);

/* An object, whose values `read` takes. */
static bool read_object(Reading *reading, ReadKey *read, void *context) {
    JsonScan *scan = &reading->scan;
    char key[64];
    if (!json_take(scan, '{')) return reading_bad(reading, "an object {…} must stand here");
    if (json_take(scan, '}')) return true;
    do {
        if (!json_string_into(scan, key, sizeof key) || !json_take(scan, ':'))
            return reading_bad(reading, "a key must stand here, a short string, and a colon");
        if (!read(reading, key, context)) return reading_bad(reading, "this is no valid JSON");
    } while (json_take(scan, ','));
    return json_take(scan, '}') || reading_bad(reading, "',' or '}' must stand here");
}

static bool read_bool(Reading *reading, bool *value) {
    if (json_word(&reading->scan, "true")) return *value = true;
    *value = false;
    return json_word(&reading->scan, "false") || reading_bad(reading, "true or false must stand here");
}

/* null leaves *value as it is. */
static bool read_bool_or_null(Reading *reading, bool *value) {
    return json_word(&reading->scan, "null") || read_bool(reading, value);
}

static bool read_text(Reading *reading, char **text) {
    char *value = json_string(&reading->scan);
    if (!value) return reading_bad(reading, "a string must stand here");
    free(*text);
    *text = value;
    return true;
}

/* An id has one token and a token one id. */
static bool read_token(Reading *reading, int32_t id, const char *token) {
    SelfcTokenizer *tokenizer = reading->tokenizer;
    int32_t known = selfc_tokenizer_find(tokenizer, token);
    const char *other = selfc_tokenizer_token(tokenizer, id);
    if (known == id) return true;
    if (known < 0 && !other && vocabulary_put(&tokenizer->vocabulary, id, token, strlen(token))) return true;
    reading->is_reported = true;
    if (known >= 0)
        selfc_fail("%s: the token \"%s\" has two ids, %d and %d", reading->name, token, known, id);
    else if (other)
        selfc_fail("%s: the id %d of \"%s\" is that of \"%s\", too", reading->name, id, token, other);
    else
        selfc_fail("%s: no memory for token %d, \"%s\"", reading->name, id, token);
    return false;
}

static bool read_id(Reading *reading, int32_t *id) {
    uint64_t number;
    if (!json_whole_number(&reading->scan, &number) || number >= READING_MOST_TOKENS)
        return reading_bad(reading, "a token's id must stand here, a whole number below 4194304");
    *id = (int32_t)number;
    return true;
}

/* --- parts of tokenizer.json --- */

typedef struct {
    char *type;
    int clean, ideographs, strip, lower; /* -1: not said */
} Normalizer;

static bool read_choice(Reading *reading, int *choice) {
    bool value = false;
    if (json_word(&reading->scan, "null")) return true;
    if (!read_bool(reading, &value)) return false;
    *choice = value;
    return true;
}

static bool read_normalizer_key(Reading *reading, const char *key, void *context) {
    Normalizer *normalizer = context;
    if (!strcmp(key, "type")) return read_text(reading, &normalizer->type);
    if (!strcmp(key, "clean_text")) return read_choice(reading, &normalizer->clean);
    if (!strcmp(key, "handle_chinese_chars")) return read_choice(reading, &normalizer->ideographs);
    if (!strcmp(key, "strip_accents")) return read_choice(reading, &normalizer->strip);
    if (!strcmp(key, "lowercase")) return read_choice(reading, &normalizer->lower);
    return json_skip_value(&reading->scan);
}

static bool read_normalizer(Reading *reading) {
    Normalizer normalizer = {NULL, 1, 1, -1, 1};
    TextRules *rules = &reading->tokenizer->rules;
    if (json_word(&reading->scan, "null")) return true;
    bool good = read_object(reading, read_normalizer_key, &normalizer);
    if (good && (!normalizer.type || strcmp(normalizer.type, "BertNormalizer")))
        good = reading_unsupported(reading, "the normalizer", normalizer.type ? normalizer.type : "",
                                   "\"BertNormalizer\" or null");
    if (good) {
        rules->cleans = normalizer.clean;
        rules->splits_ideographs = normalizer.ideographs;
        rules->lowers = normalizer.lower;
        rules->strips_accents = normalizer.strip < 0 ? normalizer.lower : normalizer.strip;
    }
    free(normalizer.type);
    return good;
}

static bool read_type_key(Reading *reading, const char *key, void *context) {
    return strcmp(key, "type") ? json_skip_value(&reading->scan) : read_text(reading, context);
}

static bool read_pre_tokenizer(Reading *reading) {
    char *type = NULL;
    if (json_word(&reading->scan, "null")) return true;
    bool good = read_object(reading, read_type_key, &type);
    reading->splits_words = type && !strcmp(type, "BertPreTokenizer");
    reading->splits_characters = type && !strcmp(type, "Split");
    if (good && !reading->splits_words && !reading->splits_characters)
        good = reading_unsupported(reading, "the pre_tokenizer", type ? type : "", "\"BertPreTokenizer\"");
    free(type);
    return good;
}

typedef struct {
    char *type;
    char *prefix;
    bool cleanup;
} Decoder;

static bool read_decoder_key(Reading *reading, const char *key, void *context) {
    Decoder *decoder = context;
    if (!strcmp(key, "type")) return read_text(reading, &decoder->type);
    if (!strcmp(key, "prefix")) return read_text(reading, &decoder->prefix);
    if (!strcmp(key, "cleanup")) return read_bool(reading, &decoder->cleanup);
    return json_skip_value(&reading->scan);
}

static bool read_decoder(Reading *reading) {
    Decoder decoder = {.cleanup = true};
    if (json_word(&reading->scan, "null")) return true;
    bool good = read_object(reading, read_decoder_key, &decoder);
    if (good && (!decoder.type || (strcmp(decoder.type, "WordPiece") && strcmp(decoder.type, "Fuse"))))
        good = reading_unsupported(reading, "the decoder", decoder.type ? decoder.type : "", "\"WordPiece\"");
    if (good) reading->tokenizer->cleans_decoded = decoder.cleanup;
    free(decoder.type);
    free(decoder.prefix);
    return good;
}

typedef struct {
    int32_t id;
    char *content;
    bool is_special, is_normalized, is_single_word, strips;
} Added;

static bool read_added_key(Reading *reading, const char *key, void *context) {
    Added *added = context;
    bool strips = false;
    if (!strcmp(key, "id")) return read_id(reading, &added->id);
    if (!strcmp(key, "content")) return read_text(reading, &added->content);
    if (!strcmp(key, "special")) return read_bool(reading, &added->is_special);
    if (!strcmp(key, "normalized")) return read_bool(reading, &added->is_normalized);
    if (!strcmp(key, "single_word")) return read_bool(reading, &added->is_single_word);
    if (strcmp(key, "lstrip") && strcmp(key, "rstrip")) return json_skip_value(&reading->scan);
    if (!read_bool(reading, &strips)) return false;
    added->strips |= strips;
    return true;
}

static bool added_keep(Reading *reading, const Added *added) {
    const char *content = added->content ? added->content : "";
    if (added->id < 0 || !*content) return reading_bad(reading, "an added token needs \"id\" and \"content\"");
    const char *what = added->is_normalized          ? "\"normalized\": true"
                       : added->is_single_word       ? "\"single_word\": true"
                       : added->strips               ? "\"lstrip\" or \"rstrip\": true"
                       : strpbrk(content, " \t\r\n") ? "white space"
                                                     : NULL;
    if (what) {
        selfc_fail("%s: the added token \"%s\" has %s, which is not supported", reading->name, content, what);
        reading->is_reported = true;
        return false;
    }
    return read_token(reading, added->id, content) && tokenizer_add(reading->tokenizer, added->id, added->is_special);
}

static bool read_added_token(Reading *reading) {
    Added added = {.id = -1};
    bool good = read_object(reading, read_added_key, &added) && added_keep(reading, &added);
    free(added.content);
    return good;
}

static bool read_added_tokens(Reading *reading) {
    if (!json_take(&reading->scan, '[')) return reading_bad(reading, "a list […] must stand here");
    if (json_take(&reading->scan, ']')) return true;
    do
        if (!read_added_token(reading)) return false;
    while (json_take(&reading->scan, ','));
    return json_take(&reading->scan, ']') || reading_bad(reading, "',' or ']' must stand here");
}

/* --- the model --- */

typedef struct {
    char *type, *unknown;
    uint64_t most;
    bool has_merges, has_vocabulary;
} ModelRead;

static bool read_vocabulary(Reading *reading) {
    JsonScan *scan = &reading->scan;
    if (!json_take(scan, '{')) return reading_bad(reading, "the vocabulary must stand here, {\"token\": id, …}");
    if (json_take(scan, '}')) return true;
    do {
        int32_t id;
        char *token = json_string(scan);
        bool good = token && json_take(scan, ':') && read_id(reading, &id) && read_token(reading, id, token);
        free(token);
        if (!good) return reading_bad(reading, "a token, a colon and an id must stand here");
    } while (json_take(scan, ','));
    return json_take(scan, '}') || reading_bad(reading, "',' or '}' must stand here");
}

static bool read_merges(Reading *reading, bool *has_any) {
    JsonScan ahead = reading->scan;
    *has_any = !(json_take(&ahead, '[') && json_take(&ahead, ']'));
    return json_skip_value(&reading->scan);
}

static bool read_model_key(Reading *reading, const char *key, void *context) {
    ModelRead *model = context;
    JsonScan *scan = &reading->scan;
    if (!strcmp(key, "vocab")) {
        model->has_vocabulary = true;
        json_skip_space(scan);
        return scan->at < scan->end && *scan->at == '[' ? json_skip_value(scan) : read_vocabulary(reading);
    }
    if (!strcmp(key, "type")) return read_text(reading, &model->type);
    if (!strcmp(key, "merges")) return read_merges(reading, &model->has_merges);
    if (!strcmp(key, "max_input_chars_per_word"))
        return (json_whole_number(scan, &model->most) && model->most < 1 << 30) ||
               reading_bad(reading, "a count must stand here");
    if (!strcmp(key, "unk_token")) return json_word(scan, "null") || read_text(reading, &model->unknown);
    if (!strcmp(key, "continuing_subword_prefix"))
        return json_word(scan, "null") || read_text(reading, &reading->tokenizer->prefix);
    return json_skip_value(scan);
}

static bool read_model(Reading *reading) {
    ModelRead model = {.most = 100};
    bool good = read_object(reading, read_model_key, &model);
    bool is_pieces = model.type && !strcmp(model.type, "WordPiece");
    bool is_characters = model.type && !strcmp(model.type, "BPE") && !model.has_merges;
    if (good && model.type && !strcmp(model.type, "BPE") && model.has_merges)
        good =
            reading_unsupported(reading, "the model", "BPE", "\"WordPiece\" (and \"BPE\" without merges, characters)");
    else if (good && !is_pieces && !is_characters)
        good = reading_unsupported(reading, "the model", model.type ? model.type : "", "\"WordPiece\"");
    if (good && is_characters && model.unknown)
        good = reading_unsupported(reading, "for characters, the unk_token", model.unknown,
                                   "null: what is unknown is left out");
    if (good && !model.has_vocabulary) good = reading_bad(reading, "the model has no \"vocab\"");
    if (good && is_characters) tokenizer_set_characters(reading->tokenizer);
    if (good && is_pieces) {
        reading->tokenizer->most_characters = (int64_t)model.most;
        if (model.unknown) {
            free(reading->tokenizer->unknown_token);
            reading->tokenizer->unknown_token = model.unknown;
            model.unknown = NULL;
        }
    }
    reading->has_model = good;
    free(model.type);
    free(model.unknown);
    return good;
}

static bool read_top_key(Reading *reading, const char *key, void *context) {
    (void)context;
    if (!strcmp(key, "added_tokens")) return read_added_tokens(reading);
    if (!strcmp(key, "normalizer")) return read_normalizer(reading);
    if (!strcmp(key, "pre_tokenizer")) return read_pre_tokenizer(reading);
    if (!strcmp(key, "decoder")) return read_decoder(reading);
    if (!strcmp(key, "model")) return read_model(reading);
    return json_skip_value(&reading->scan);
}

static bool reading_all(Reading *reading, ReadKey *read, void *context) {
    if (!read_object(reading, read, context)) return false;
    json_skip_space(&reading->scan);
    return reading->scan.at == reading->scan.end || reading_bad(reading, "something follows the object");
}

bool tokenizer_read_json(SelfcTokenizer *tokenizer, const char *text, size_t size, const char *name) {
    Reading reading = {.tokenizer = tokenizer, .scan = json_begin(text, size), .name = name};
    tokenizer->rules = (TextRules){0};
    if (!reading_all(&reading, read_top_key, NULL)) return false;
    if (!reading.has_model) {
        selfc_fail("%s: there is no \"model\" in it, so it is no tokenizer.json", name);
        return false;
    }
    if (tokenizer->unknown_token ? reading.splits_words : reading.splits_characters) {
        if (!tokenizer->unknown_token) tokenizer_set_characters(tokenizer); /* whatever the order of the keys */
        return true;
    }
    return reading_unsupported(&reading, "the pre_tokenizer", reading.splits_characters ? "Split" : "null",
                               tokenizer->unknown_token ? "\"BertPreTokenizer\" before WordPiece"
                                                        : "\"Split\" at each character before BPE without merges");
}

/* --- tokenizer_config.json, beside a vocab.txt --- */

typedef struct {
    bool lower, ideographs, has_strip, strip, *says_case;
} Config;

/* Those of transformers' classes that are BERT's by another name, and its generic ones; each may end in "Fast". */
static const char *const config_classes[] = {"BertTokenizer",
                                             "DistilBertTokenizer",
                                             "ElectraTokenizer",
                                             "MobileBertTokenizer",
                                             "SqueezeBertTokenizer",
                                             "ConvBertTokenizer",
                                             "LayoutLMTokenizer",
                                             "LxmertTokenizer",
                                             "RetriBertTokenizer",
                                             "DPRContextEncoderTokenizer",
                                             "DPRQuestionEncoderTokenizer",
                                             "DPRReaderTokenizer",
                                             "PreTrainedTokenizer",
                                             "TokenizersBackend"};

/* Keys that may say this alone. */
static const struct {
    const char *key, *value;
} config_fixed[] = {{"unk_token", "[UNK]"},           {"sep_token", "[SEP]"},
                    {"pad_token", "[PAD]"},           {"cls_token", "[CLS]"},
                    {"mask_token", "[MASK]"},         {"wordpieces_prefix", "##"},
                    {"word_tokenizer_type", "basic"}, {"subword_tokenizer_type", "wordpiece"}};

/* Keys with lists of tokens, which may be those that are added anyway. */
static const char *const config_lists[] = {"never_split", "additional_special_tokens", "extra_special_tokens"};

static bool read_class(Reading *reading) {
    char *name = NULL;
    bool good = json_word(&reading->scan, "null") || read_text(reading, &name), is_known = !name;
    size_t length = name ? strlen(name) : 0;
    if (length > 4 && !strcmp(name + length - 4, "Fast")) length -= 4;
    for (size_t i = 0; name && i < sizeof config_classes / sizeof *config_classes; i++)
        is_known |= strlen(config_classes[i]) == length && !strncmp(config_classes[i], name, length);
    if (good && !is_known)
        good = reading_unsupported(reading, "the tokenizer_class", name,
                                   "\"BertTokenizer\" and those that are the same by another name");
    free(name);
    return good;
}

/* null, a string, or an object with the string as its "content"; free(*content). */
static bool read_content(Reading *reading, char **content) {
    JsonScan ahead = reading->scan;
    Added added = {.id = -1};
    *content = NULL;
    if (json_word(&reading->scan, "null")) return true;
    if (!json_take(&ahead, '{')) return read_text(reading, content);
    bool good = read_object(reading, read_added_key, &added);
    *content = added.content;
    return good;
}

static bool read_fixed(Reading *reading, const char *key, const char *value) {
    char *content, wanted[32];
    bool good = read_content(reading, &content);
    snprintf(wanted, sizeof wanted, "\"%s\"", value);
    if (good && content && strcmp(content, value)) good = reading_unsupported(reading, key, content, wanted);
    free(content);
    return good;
}

static bool read_listed(Reading *reading, const char *key) {
    const SelfcTokenizer *tokenizer = reading->tokenizer;
    char *content;
    bool good = read_content(reading, &content), is_added = !content;
    int32_t id = content ? selfc_tokenizer_find(tokenizer, content) : -1;
    for (uint32_t i = 0; i < tokenizer->added_count; i++) is_added |= tokenizer->added[i].id == id;
    if (good && !is_added)
        good = reading_unsupported(reading, key, content, "tokens of \"added_tokens_decoder\" and BERT's own");
    free(content);
    return good;
}

static bool read_list(Reading *reading, const char *key) {
    JsonScan *scan = &reading->scan, ahead = reading->scan;
    if (json_word(scan, "null")) return true;
    if (json_take(&ahead, '{') && json_take(&ahead, '}')) return *scan = ahead, true;
    if (!json_take(scan, '[')) return reading_bad(reading, "a list […] must stand here");
    if (json_take(scan, ']')) return true;
    do
        if (!read_listed(reading, key)) return false;
    while (json_take(scan, ','));
    return json_take(scan, ']') || reading_bad(reading, "',' or ']' must stand here");
}

/* "id": {"content": …} */
static bool read_added_by_id(Reading *reading, const char *key, void *context) {
    JsonScan number = json_begin(key, strlen(key));
    Added added = {.id = -1};
    uint64_t id;
    (void)context;
    if (!json_whole_number(&number, &id) || number.at != number.end || id >= READING_MOST_TOKENS)
        return reading_bad(reading, "an added token stands under its id, a whole number below 4194304");
    bool good = read_object(reading, read_added_key, &added);
    added.id = (int32_t)id;
    good = good && added_keep(reading, &added);
    free(added.content);
    return good;
}

static bool read_basic(Reading *reading) {
    bool is_basic = true;
    if (!read_bool_or_null(reading, &is_basic)) return false;
    return is_basic || reading_unsupported(reading, "do_basic_tokenize", "false", "true");
}

static bool read_config_key(Reading *reading, const char *key, void *context) {
    Config *config = context;
    for (size_t i = 0; i < sizeof config_fixed / sizeof *config_fixed; i++)
        if (!strcmp(key, config_fixed[i].key)) return read_fixed(reading, key, config_fixed[i].value);
    for (size_t i = 0; i < sizeof config_lists / sizeof *config_lists; i++)
        if (!strcmp(key, config_lists[i])) return read_list(reading, key);
    if (!strcmp(key, "tokenizer_class")) return read_class(reading);
    if (!strcmp(key, "added_tokens_decoder")) return read_object(reading, read_added_by_id, NULL);
    if (!strcmp(key, "do_basic_tokenize")) return read_basic(reading);
    if (!strcmp(key, "do_lower_case")) return *config->says_case = true, read_bool(reading, &config->lower);
    if (!strcmp(key, "tokenize_chinese_chars")) return read_bool_or_null(reading, &config->ideographs);
    if (strcmp(key, "strip_accents")) return json_skip_value(&reading->scan);
    if (json_word(&reading->scan, "null")) return true;
    return config->has_strip = true, read_bool(reading, &config->strip);
}

bool tokenizer_read_config(SelfcTokenizer *tokenizer, const char *text, size_t size, const char *name,
                           bool *says_case) {
    Reading reading = {.tokenizer = tokenizer, .scan = json_begin(text, size), .name = name};
    Config config = {.lower = true, .ideographs = true, .says_case = says_case};
    if (!reading_all(&reading, read_config_key, &config)) return false;
    tokenizer->rules.splits_ideographs = config.ideographs;
    tokenizer->rules.lowers = config.lower;
    tokenizer->rules.strips_accents = config.has_strip ? config.strip : config.lower;
    return true;
}

/* How one of them is found in a text, this file does not say: those that it may name are known already. */
static bool read_added_known(Reading *reading) {
    const SelfcTokenizer *tokenizer = reading->tokenizer;
    int32_t id = -1;
    char *token = json_string(&reading->scan);
    bool good = token && json_take(&reading->scan, ':') && read_id(reading, &id), is_added = false;
    for (uint32_t i = 0; good && i < tokenizer->added_count; i++)
        is_added |= tokenizer->added[i].id == id && selfc_tokenizer_find(tokenizer, token) == id;
    if (good && !is_added) {
        selfc_fail(
            "%s: the added token \"%s\" is not supported, for how it is found in a text is said neither here nor "
            "in \"added_tokens_decoder\" of a tokenizer_config.json; a tokenizer.json would say it",
            reading->name, token);
        reading->is_reported = true;
        good = false;
    }
    free(token);
    return good || reading_bad(reading, "a token, a colon and an id must stand here");
}

bool tokenizer_read_added(SelfcTokenizer *tokenizer, const char *text, size_t size, const char *name) {
    Reading reading = {.tokenizer = tokenizer, .scan = json_begin(text, size), .name = name};
    if (!json_take(&reading.scan, '{')) return reading_bad(&reading, "an object {…} must stand here");
    if (json_take(&reading.scan, '}')) return true;
    do
        if (!read_added_known(&reading)) return false;
    while (json_take(&reading.scan, ','));
    return json_take(&reading.scan, '}') || reading_bad(&reading, "',' or '}' must stand here");
}

/* --- vocab.txt --- */

bool tokenizer_read_lines(SelfcTokenizer *tokenizer, const char *text, size_t size, const char *name) {
    int32_t id = 0;
    for (size_t at = 0; at < size; id++) {
        const char *line = text + at, *feed = memchr(line, '\n', size - at);
        size_t length = feed ? (size_t)(feed - line) : size - at;
        at += length + 1;
        while (length && (line[length - 1] == '\r' || line[length - 1] == ' ' || line[length - 1] == '\t')) length--;
        if (memchr(line, 0, length)) {
            selfc_fail("%s: line %d holds a zero byte; a vocabulary is text, a token a line", name, id + 1);
            return false;
        }
        if (!vocabulary_put(&tokenizer->vocabulary, id, line, length)) {
            selfc_fail("%s: more than %d tokens, or no memory for them", name, id);
            return false;
        }
    }
    return true;
}
