/* Opening, asking and closing tokenizers; what encodes is tokenize.c on the tables that tables.c makes. */
#include "runtime/text/internal.h"

#include "runtime/data/file.h"
#include "runtime/data/utf8.h"

#include <stdlib.h>
#include <string.h>

/* --- making one --- */

SelfcTokenizer *tokenizer_new(void) {
    SelfcTokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer) {
        tokenizer->rules =
            (TextRules){.cleans = true, .splits_ideographs = true, .strips_accents = true, .lowers = true};
        tokenizer->unknown_token = strdup("[UNK]");
        tokenizer->prefix = strdup("##");
        tokenizer->most_characters = 100;
        tokenizer->cleans_decoded = true;
        if (tokenizer->unknown_token && tokenizer->prefix) return tokenizer;
    }
    selfc_fail("no memory for a tokenizer");
    selfc_tokenizer_close(tokenizer);
    return NULL;
}

void selfc_tokenizer_close(SelfcTokenizer *tokenizer) {
    if (!tokenizer) return;
    vocabulary_free(&tokenizer->vocabulary);
    free(tokenizer->added);
    free(tokenizer->unknown_token);
    free(tokenizer->prefix);
    free(tokenizer->tables);
    free(tokenizer);
}

bool tokenizer_add(SelfcTokenizer *tokenizer, int32_t id, bool is_special) {
    for (uint32_t i = 0; i < tokenizer->added_count; i++)
        if (tokenizer->added[i].id == id) return true;
    uint32_t count = tokenizer->added_count;
    if (!(count & (count - 1))) {
        AddedToken *added = realloc(tokenizer->added, (count ? 2 * (size_t)count : 1) * sizeof *added);
        if (!added) return selfc_fail("no memory for added tokens"), false;
        tokenizer->added = added;
    }
    tokenizer->added[tokenizer->added_count++] = (AddedToken){id, is_special};
    return true;
}

bool tokenizer_add_usual(SelfcTokenizer *tokenizer) {
    static const char *const usual[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        int32_t id = selfc_tokenizer_find(tokenizer, usual[i]);
        if (id >= 0 && !tokenizer_add(tokenizer, id, true)) return false;
    }
    return true;
}

bool tokenizer_finish(SelfcTokenizer *tokenizer, const char *name) {
    const char *unknown = tokenizer->unknown_token;
    if (!tokenizer->vocabulary.size) return selfc_fail("%s: there is no token in it", name), false;
    if (unknown && selfc_tokenizer_find(tokenizer, unknown) < 0) {
        selfc_fail("%s: the token for what is unknown, \"%s\", is not in the vocabulary of %d tokens", name, unknown,
                   tokenizer->vocabulary.size);
        return false;
    }
    if (tokenizer->rules.is_characters && tokenizer->added_count) {
        selfc_fail("%s: \"%s\" is an added token, which a vocabulary of characters cannot have", name,
                   selfc_tokenizer_token(tokenizer, tokenizer->added[0].id));
        return false;
    }
    if (tokenizer->most_characters > TOKENIZE_MOST_CHARACTERS) {
        selfc_fail("%s: words of up to %lld characters are looked up, but this works for up to %d", name,
                   (long long)tokenizer->most_characters, TOKENIZE_MOST_CHARACTERS);
        return false;
    }
    if (tables_build(tokenizer)) return true;
    selfc_fail("%s: no memory for a tokenizer of %d tokens", name, tokenizer->vocabulary.size);
    return false;
}

/* --- opening --- */

/* Of a vocabulary that nothing else is known of: rules that would take away what stands in its tokens are not its own.
 * A cased one keeps accents, too, whether it has some or not. */
static void tokenizer_see_case(TextRules *rules, const UnicodeTable *table, const char *token) {
    const char *end = token + utf8_valid(token, (int64_t)strlen(token));
    for (size_t length; token < end && *token != '['; token += length) {
        uint32_t code = utf8_get(token, &length);
        if (unicode_is_capital(code)) rules->lowers = rules->strips_accents = false;
        if (unicode_has_accent(table, code)) rules->strips_accents = false;
    }
}

static bool tokenizer_set_case(SelfcTokenizer *tokenizer) {
    UnicodeTable *table = unicode_table_new();
    if (!table) return selfc_fail("no memory for the properties of characters"), false;
    for (int32_t id = 0; id < tokenizer->vocabulary.size; id++)
        if (tokenizer->vocabulary.token[id])
            tokenizer_see_case(&tokenizer->rules, table, tokenizer->vocabulary.token[id]);
    free(table);
    return true;
}

/* A file that stands beside the vocabulary, if it does; *bytes: free(). */
static bool tokenizer_bytes_beside(const char *path, const char *name, char **beside, void **bytes, size_t *size) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path + 1)) : strdup(".");
    *beside = folder ? file_join(folder, name) : NULL;
    *bytes = NULL;
    free(folder);
    return !*beside || !file_exists(*beside) || !selfc_file_read(*beside, bytes, size);
}

static bool tokenizer_read_beside(SelfcTokenizer *tokenizer, const char *path, bool *says_case) {
    void *bytes;
    char *beside;
    size_t size;
    bool good = tokenizer_bytes_beside(path, "tokenizer_config.json", &beside, &bytes, &size);
    if (good && bytes) good = tokenizer_read_config(tokenizer, bytes, size, beside, says_case);
    free(bytes);
    free(beside);
    if (!good) return false;
    good = tokenizer_bytes_beside(path, "added_tokens.json", &beside, &bytes, &size);
    if (good && bytes) good = tokenizer_read_added(tokenizer, bytes, size, beside);
    free(bytes);
    free(beside);
    return good;
}

/* By its ending, or where that says nothing, by its first letter. */
static bool tokenizer_is_json(const char *path, const char *text, size_t size) {
    const char *ending = strrchr(path, '.');
    if (ending && (!strcmp(ending, ".json") || !strcmp(ending, ".txt"))) return ending[1] == 'j';
    size_t at = 0;
    while (at < size && strchr(" \t\r\n", text[at]) && text[at]) at++;
    return at < size && text[at] == '{';
}

static bool tokenizer_read(SelfcTokenizer *tokenizer, const char *path, const char *text, size_t size) {
    if (tokenizer_is_json(path, text, size))
        return tokenizer_read_json(tokenizer, text, size, path) && tokenizer_finish(tokenizer, path);
    bool says_case = false;
    if (!tokenizer_read_lines(tokenizer, text, size, path) || !tokenizer_add_usual(tokenizer)) return false;
    if (!tokenizer_read_beside(tokenizer, path, &says_case)) return false;
    if (!says_case && !tokenizer_set_case(tokenizer)) return false;
    return tokenizer_finish(tokenizer, path);
}

/* In a folder, the file that says most. NULL after selfc_fail. */
static char *tokenizer_file(const char *path) {
    static const char *const names[] = {"tokenizer.json", "vocab.txt"};
    if (!file_is_folder(path)) return strdup(path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *file = file_join(path, names[i]);
        if (file_exists(file)) return file;
        free(file);
    }
    selfc_fail("%s: there is neither a tokenizer.json nor a vocab.txt in this folder", path);
    return NULL;
}

SelfcTokenizer *selfc_tokenizer_open(const char *path) {
    void *bytes = NULL;
    size_t size;
    char *file = tokenizer_file(path);
    SelfcTokenizer *tokenizer = NULL;
    if (file && !selfc_file_read(file, &bytes, &size)) {
        tokenizer = tokenizer_new();
        if (tokenizer && !tokenizer_read(tokenizer, file, bytes, size)) {
            selfc_tokenizer_close(tokenizer);
            tokenizer = NULL;
        }
        free(bytes);
    }
    free(file);
    return tokenizer;
}

SelfcTokenizer *selfc_tokenizer_parse(const char *json, size_t size, const char *name) {
    SelfcTokenizer *tokenizer = tokenizer_new();
    if (tokenizer && tokenizer_read_json(tokenizer, json, size, name) && tokenizer_finish(tokenizer, name))
        return tokenizer;
    selfc_tokenizer_close(tokenizer);
    return NULL;
}

/* --- asking --- */

int64_t selfc_tokenizer_size(const SelfcTokenizer *tokenizer) { return tokenizer->vocabulary.size; }

const char *selfc_tokenizer_token(const SelfcTokenizer *tokenizer, int32_t id) {
    return id < 0 || id >= tokenizer->vocabulary.size ? NULL : tokenizer->vocabulary.token[id];
}

int32_t selfc_tokenizer_find(const SelfcTokenizer *tokenizer, const char *token) {
    return vocabulary_find(&tokenizer->vocabulary, token, strlen(token));
}

bool selfc_tokenizer_is_special(const SelfcTokenizer *tokenizer, int32_t id) {
    for (uint32_t i = 0; i < tokenizer->added_count; i++)
        if (tokenizer->added[i].id == id) return tokenizer->added[i].is_special;
    return false;
}

bool selfc_tokenizer_continues(const SelfcTokenizer *tokenizer, int32_t id) {
    const char *token = selfc_tokenizer_token(tokenizer, id);
    size_t prefix = strlen(tokenizer->prefix);
    return token && prefix && !strncmp(token, tokenizer->prefix, prefix) && token[prefix];
}

bool selfc_tokenizer_is_characters(const SelfcTokenizer *tokenizer) { return tokenizer->rules.is_characters; }

SelfcMarks selfc_tokenizer_marks(const SelfcTokenizer *tokenizer) {
    SelfcMarks marks = {-1, -1, -1, -1};
    if (tokenizer->rules.is_characters) return marks;
    marks.padding = selfc_tokenizer_find(tokenizer, "[PAD]");
    marks.mask = selfc_tokenizer_find(tokenizer, "[MASK]");
    int32_t begin = selfc_tokenizer_find(tokenizer, "[CLS]"), end = selfc_tokenizer_find(tokenizer, "[SEP]");
    if (begin >= 0 && end >= 0) marks.begin = begin, marks.end = end;
    return marks;
}

const SelfcTables *selfc_tokenizer_tables(const SelfcTokenizer *tokenizer, size_t *size) {
    *size = tokenizer->tables_size;
    return tokenizer->tables;
}

bool selfc_tokenizer_same(const SelfcTokenizer *a, const SelfcTokenizer *b) {
    size_t a_size, b_size;
    const void *a_tables = selfc_tokenizer_tables(a, &a_size), *b_tables = selfc_tokenizer_tables(b, &b_size);
    return a_size == b_size && !memcmp(a_tables, b_tables, a_size);
}

int64_t selfc_tokenizer_encode(const SelfcTokenizer *tokenizer, const char *text, int64_t length, bool has_specials,
                               SelfcToken *tokens, int64_t room) {
    return selfc_tokenize(tokenizer->tables, text, length, has_specials, tokens, room);
}

/* Words end at spaces. Characters end before whatever does not continue one, and where more bytes than one can have
 * continue it. */
int64_t selfc_tokenizer_cut(const SelfcTokenizer *tokenizer, const char *text, int64_t length) {
    const uint8_t *byte = (const uint8_t *)text,
                  *class = (const uint8_t *)tokenizer->tables + tokenizer->tables->bytes_at;
    for (int64_t at = length; at > 0; at--) {
        if (!tokenizer->rules.is_characters) {
            if (class[byte[at - 1]] == CLASS_space) return at;
            continue;
        }
        if (at < length && (byte[at] & 0xC0) != 0x80) return at;
        if (byte[at - 1] < 0x80) return at;
        if (at > 3 && (byte[at - 1] & 0xC0) == 0x80 && (byte[at - 2] & 0xC0) == 0x80 && (byte[at - 3] & 0xC0) == 0x80)
            return at;
    }
    return 0;
}
