/* Ids back to text, as the decoder "WordPiece" of the package `tokenizers` does it: a piece is joined to what stands
 * before it, any other token has a space before it, and in each of these, spaces before punctuation and shortened words
 * go. */
#include "runtime/text/internal.h"

#include "runtime/core/core.h"

#include <stdlib.h>
#include <string.h>

static const char *const decode_cleanup[][2] = {
    {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
    {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

/* Replaces every `wanted` in the text, which does not grow. */
static void decode_replace(char *text, const char *wanted, const char *other) {
    size_t from = strlen(wanted), to = strlen(other);
    char *out = text;
    for (const char *at = text; *at;) {
        if (strncmp(at, wanted, from)) {
            *out++ = *at++;
            continue;
        }
        memcpy(out, other, to);
        out += to;
        at += from;
    }
    *out = 0;
}

/* Appends a token to the text at `out` and returns the new end. */
static char *decode_token(const SelfcTokenizer *tokenizer, const char *token, bool is_first, char *out) {
    char *begin = out;
    size_t prefix = strlen(tokenizer->prefix);
    if (!is_first && !tokenizer->rules.is_characters) {
        if (!strncmp(token, tokenizer->prefix, prefix))
            token += prefix;
        else
            *out++ = ' ';
    }
    strcpy(out, token);
    for (size_t i = 0; tokenizer->cleans_decoded && i < sizeof decode_cleanup / sizeof *decode_cleanup; i++)
        decode_replace(begin, decode_cleanup[i][0], decode_cleanup[i][1]);
    return begin + strlen(begin);
}

char *selfc_tokenizer_decode(const SelfcTokenizer *tokenizer, const int32_t *ids, int64_t count, bool has_specials) {
    size_t room = 1;
    for (int64_t i = 0; i < count; i++) {
        const char *token = selfc_tokenizer_token(tokenizer, ids[i]);
        if (token) room += strlen(token) + 1;
    }
    char *text = malloc(room), *out = text;
    if (!text) return selfc_fail("no memory to decode %lld tokens", (long long)count), NULL;
    *out = 0;
    bool is_first = true;
    for (int64_t i = 0; i < count; i++) {
        const char *token = selfc_tokenizer_token(tokenizer, ids[i]);
        if (!token || (!has_specials && selfc_tokenizer_is_special(tokenizer, ids[i]))) continue;
        out = decode_token(tokenizer, token, is_first, out);
        is_first = false;
    }
    return text;
}
