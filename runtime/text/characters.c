/* One token for each character: the vocabulary is what occurs. */
#include "runtime/text/internal.h"

#include "runtime/core/core.h"
#include "runtime/data/utf8.h"

#include <stdlib.h>

typedef struct {
    uint8_t seen[UNICODE_CODES / 8];
} Seen;

static int32_t characters_take(void *context, const char *word, int32_t bytes) {
    uint8_t *seen = ((Seen *)context)->seen;
    uint32_t code = (uint8_t)word[0];
    if (bytes > 1) code &= 0x7Fu >> bytes;
    for (int32_t i = 1; i < bytes; i++) code = code << 6 | ((uint8_t)word[i] & 63);
    if (bytes > 1 || code < 0x80) seen[code / 8] |= (uint8_t)(1 << code % 8); /* else a zero byte */
    return 0;
}

void tokenizer_set_characters(SelfcTokenizer *tokenizer) {
    tokenizer->rules = (TextRules){.is_characters = true};
    free(tokenizer->unknown_token);
    tokenizer->unknown_token = NULL;
    tokenizer->prefix[0] = 0;
    tokenizer->cleans_decoded = false;
}

static bool characters_fill(SelfcTokenizer *tokenizer, const char *text, int64_t length) {
    Seen *seen = calloc(1, sizeof *seen);
    int32_t id = 0;
    bool good = seen && tables_build(tokenizer);
    if (good) selfc_tokenize_words(tokenizer->tables, text, length, characters_take, seen);
    for (uint32_t code = 1; good && code < UNICODE_CODES; code++) {
        char token[4];
        if (!(seen->seen[code / 8] >> code % 8 & 1)) continue;
        good = vocabulary_put(&tokenizer->vocabulary, id++, token, utf8_put(token, code));
    }
    free(seen);
    if (!good) selfc_fail("no memory for a vocabulary of characters");
    return good;
}

SelfcTokenizer *selfc_tokenizer_of_characters(const char *text, int64_t length) {
    SelfcTokenizer *tokenizer = tokenizer_new();
    if (!tokenizer) return NULL;
    tokenizer_set_characters(tokenizer);
    if (characters_fill(tokenizer, text, length) && tokenizer_finish(tokenizer, "a vocabulary of characters"))
        return tokenizer;
    selfc_tokenizer_close(tokenizer);
    return NULL;
}
