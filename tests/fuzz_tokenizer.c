/* libFuzzer: any bytes as a tokenizer.json, a vocab.txt, and its configuration. What is accepted must encode and
 * decode, and be the same after it was saved. */
#include "runtime/core/core.h"
#include "runtime/data/data.h"
#include "runtime/text/internal.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_use(const SelfcTokenizer *tokenizer, const uint8_t *bytes, size_t size) {
    SelfcToken *tokens = malloc((size + 1) * sizeof *tokens);
    int32_t *ids = malloc((size + 1) * sizeof *ids);
    int64_t count = selfc_tokenizer_encode(tokenizer, (const char *)bytes, (int64_t)size, true, tokens, (int64_t)size);
    for (int64_t i = 0; i < count; i++) {
        ids[i] = tokens[i].id;
        if (!selfc_tokenizer_token(tokenizer, ids[i])) abort();
    }
    free(selfc_tokenizer_decode(tokenizer, ids, count, true));
    free(tokens);
    free(ids);
}

static void fuzz_save(const SelfcTokenizer *tokenizer) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/selfc-fuzz-%ld.json", (long)getpid());
    if (selfc_tokenizer_save(tokenizer, path)) abort();
    SelfcTokenizer *again = selfc_tokenizer_open(path);
    unlink(path);
    /* A vocab.txt is no JSON: what is no UTF-8 in it cannot be said there. */
    if (again && selfc_tokenizer_size(again) > selfc_tokenizer_size(tokenizer)) abort();
    if (!again && !*selfc_failure()) abort();
    selfc_tokenizer_close(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    bool says_case = false;
    for (int kind = 0; kind < 3; kind++) {
        SelfcTokenizer *tokenizer = tokenizer_new();
        const char *text = (const char *)bytes;
        bool good = kind == 0   ? tokenizer_read_json(tokenizer, text, size, "fuzz")
                    : kind == 1 ? tokenizer_read_lines(tokenizer, text, size, "fuzz") && tokenizer_add_usual(tokenizer)
                                : tokenizer_read_config(tokenizer, text, size, "fuzz", &says_case);
        if (good) good = tokenizer_finish(tokenizer, "fuzz");
        if (good) {
            fuzz_use(tokenizer, bytes, size);
            fuzz_save(tokenizer);
        } else if (!*selfc_failure()) {
            abort();
        }
        selfc_tokenizer_close(tokenizer);
    }
    return 0;
}
