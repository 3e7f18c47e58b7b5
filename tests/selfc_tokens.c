/* Tokens of a whole file, one a line: id, word, and the bytes of the text that it stands for. Pieces as long as the
 * last argument says are encoded one by one; otherwise all at once.
 *
 *     selfc_tokens VOCABULARY FILE special|text [PIECE]
 *     selfc_tokens --characters FILE OUT.json       a vocabulary of the characters that are in FILE
 *     selfc_tokens --save VOCABULARY OUT.json */
#include "runtime/data/data.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static int fail(void) {
    fprintf(stderr, "selfc_tokens: %s\n", selfc_failure());
    return 1;
}

static int save(SelfcTokenizer *tokenizer, const char *out) {
    int failed = !tokenizer || selfc_tokenizer_save(tokenizer, out);
    selfc_tokenizer_close(tokenizer);
    return failed ? fail() : 0;
}

/* The text from `at` on, and no more than a piece of it, unless it cannot be cut. */
static int64_t next_piece(const SelfcTokenizer *tokenizer, const char *text, int64_t left, int64_t piece) {
    for (int64_t length = piece; length < left; length *= 2) {
        int64_t cut = selfc_tokenizer_cut(tokenizer, text, length);
        if (cut) return cut;
    }
    return left;
}

static int print_tokens(const SelfcTokenizer *tokenizer, const char *text, int64_t size, bool specials, int64_t piece) {
    SelfcToken *tokens = malloc((size_t)(size + 1) * sizeof *tokens);
    int32_t word = 0;
    for (int64_t at = 0; at < size;) {
        int64_t length = next_piece(tokenizer, text + at, size - at, piece);
        int64_t count = selfc_tokenizer_encode(tokenizer, text + at, length, specials, tokens, length);
        for (int64_t i = 0; i < count; i++)
            printf("%d %d %lld %lld\n", tokens[i].id, tokens[i].word + word, (long long)(tokens[i].from + at),
                   (long long)(tokens[i].to + at));
        if (count) word += tokens[count - 1].word + 1;
        at += length;
    }
    free(tokens);
    return 0;
}

int main(int argc, char **argv) {
    void *text;
    size_t size;
    if (argc < 4) return fprintf(stderr, "usage: selfc_tokens VOCABULARY FILE special|text [PIECE]\n"), 2;
    if (!strcmp(argv[1], "--save")) return save(selfc_tokenizer_open(argv[2]), argv[3]);
    if (selfc_file_read(argv[2], &text, &size)) return fail();
    int failed;
    if (!strcmp(argv[1], "--characters")) {
        failed = save(selfc_tokenizer_of_characters(text, (int64_t)size), argv[3]);
    } else {
        SelfcTokenizer *tokenizer = selfc_tokenizer_open(argv[1]);
        int64_t piece = argc > 4 ? atoll(argv[4]) : (int64_t)size + 1;
        failed = tokenizer ? print_tokens(tokenizer, text, (int64_t)size, !strcmp(argv[3], "special"), piece) : fail();
        selfc_tokenizer_close(tokenizer);
    }
    free(text);
    return failed;
}
