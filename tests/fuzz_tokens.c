/* libFuzzer: any bytes as text, by several rules. Tokens lie within the text, in order and no more than bytes; fewer
 * are the first of them; and a text may be cut where it is said that it may. */
#include "runtime/text/internal.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { KINDS = 4 };

static SelfcTokenizer *fuzz_tokenizer(int kind) {
    static const char *const pieces[] = {"[UNK]",  "[MASK]", "a",  "##a", "##b", "ab",  "the", "##\u302e",
                                         "\u302f", "中",     "ᄒ", "##ᅡ", "é",   "##ß", ".",   "👍"};
    SelfcTokenizer *tokenizer = tokenizer_new();
    if (kind == KINDS - 1) tokenizer_set_characters(tokenizer);
    for (int32_t i = 0; i < (int32_t)(sizeof pieces / sizeof *pieces); i++)
        vocabulary_put(&tokenizer->vocabulary, i, pieces[i], strlen(pieces[i]));
    if (kind == 1) tokenizer->rules.lowers = tokenizer->rules.strips_accents = false;
    if (kind == 2) tokenizer->rules.cleans = tokenizer->rules.splits_ideographs = false;
    if (kind < KINDS - 1 && !tokenizer_add_usual(tokenizer)) abort();
    if (!tokenizer_finish(tokenizer, "fuzz")) abort();
    return tokenizer;
}

static void fuzz_text(const SelfcTokenizer *t, const char *text, int64_t size, SelfcToken *whole, SelfcToken *part) {
    int64_t count = selfc_tokenizer_encode(t, text, size, true, whole, size);
    for (int64_t i = 0; i < count; i++) {
        if (whole[i].from < 0 || whole[i].to > size || whole[i].from >= whole[i].to) abort();
        if (i && (whole[i].from < whole[i - 1].from || whole[i].word < whole[i - 1].word)) abort();
    }
    int64_t some = selfc_tokenizer_encode(t, text, size, true, part, size / 3);
    if (some != (count < size / 3 ? count : size / 3) || (some && memcmp(part, whole, (size_t)some * sizeof *part)))
        abort();
    int64_t cut = selfc_tokenizer_cut(t, text, size / 2);
    int64_t first = selfc_tokenizer_encode(t, text, cut, true, part, cut);
    int64_t rest = selfc_tokenizer_encode(t, text + cut, size - cut, true, part + first, size - cut);
    if (first + rest != count) abort();
    for (int64_t i = 0; i < count; i++)
        if (part[i].id != whole[i].id || part[i].to + (i < first ? 0 : cut) != whole[i].to) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static SelfcTokenizer *tokenizers[KINDS];
    SelfcToken *whole = malloc((size + 1) * sizeof *whole), *part = malloc((size + 1) * sizeof *part);
    for (int kind = 0; kind < KINDS; kind++) {
        if (!tokenizers[kind]) tokenizers[kind] = fuzz_tokenizer(kind);
        fuzz_text(tokenizers[kind], (const char *)bytes, (int64_t)size, whole, part);
    }
    free(whole);
    free(part);
    return 0;
}
