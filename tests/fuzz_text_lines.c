/* libFuzzer: any bytes as a line of text, with a label, with a question, or alone, by the first of them. A record that
 * comes out fits its sample, and its tokens are in the vocabulary; only a question may be left out, as one that is cut.
 */
#include "runtime/data/text_lines.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const char vocabulary[] = "{\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", "
                                 "\"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 100, \"vocab\": "
                                 "{\"[PAD]\": 0, \"[UNK]\": 1, \"[CLS]\": 2, \"[SEP]\": 3, \"a\": 4, \"##a\": 5, "
                                 "\"b\": 6, \"##b\": 7}}, \"normalizer\": {\"type\": \"BertNormalizer\", "
                                 "\"clean_text\": true, \"handle_chinese_chars\": true, \"strip_accents\": null, "
                                 "\"lowercase\": true}, \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    enum { LENGTH = 12 };
    static SelfcTokenizer *tokenizer;
    if (!tokenizer) tokenizer = selfc_tokenizer_parse(vocabulary, sizeof vocabulary - 1, "fuzz");
    if (!tokenizer) abort();
    if (!size) return 0;
    TextPlan plan = {.tokenizer = tokenizer,
                     .kind = (TextKind)(bytes[0] % 3),
                     .length = LENGTH,
                     .has_specials = true,
                     .begin = 2,
                     .end = 3};
    SelfcToken tokens[LENGTH + 1];
    TextUnits out = {0};
    char reason[TEXT_REASON] = "";
    char *line = malloc(size > 1 ? size - 1 : 1); /* no byte more than it has */
    memcpy(line, bytes + 1, size - 1);
    bool is_fine = text_line_encode(&plan, line, (int64_t)size - 1, tokens, &out, reason);
    if (is_fine && out.lost) {
        if (*reason || out.count || !out.cut || plan.kind != TEXT_question) abort();
    } else if (is_fine) {
        int64_t extra = text_extra(plan.kind);
        if (*reason || out.count != 1 + extra + out.units[0] || out.units[0] > text_body(&plan)) abort();
        for (int64_t i = 1 + extra; i < out.count; i++)
            if (out.units[i] >= selfc_tokenizer_size(tokenizer)) abort();
        if (plan.kind == TEXT_question && (out.units[1] > out.units[2] || out.units[2] > out.units[0])) abort();
    } else if (!*reason || !memchr(reason, 0, sizeof reason)) {
        abort();
    }
    free(out.units);
    free(line);
    return 0;
}
