/* A tokenizer as the files that came before tokenizer.json: vocab.txt, a token a line, and tokenizer_config.json, which
 * says the rules. The Python package transformers still wants the second, and other programs read the first alone. */
#include "runtime/text/internal.h"

#include "runtime/data/file.h"
#include "runtime/data/json_scan.h"

#include <stdlib.h>
#include <string.h>

static const char *parts_bool(bool value) { return value ? "true" : "false"; }

static int parts_save_config(const SelfcTokenizer *tokenizer, const char *path, int64_t longest) {
    static const char *const specials[][2] = {{"unk_token", "[UNK]"},
                                              {"sep_token", "[SEP]"},
                                              {"pad_token", "[PAD]"},
                                              {"cls_token", "[CLS]"},
                                              {"mask_token", "[MASK]"}};
    const TextRules *rules = &tokenizer->rules;
    FileWriter writer;
    if (!file_begin(&writer, path)) return -1;
    file_print(&writer, "{\n  \"tokenizer_class\": \"BertTokenizer\",\n  \"do_lower_case\": %s,\n",
               parts_bool(rules->lowers));
    file_print(&writer, "  \"strip_accents\": %s,\n  \"tokenize_chinese_chars\": %s,\n",
               parts_bool(rules->strips_accents), parts_bool(rules->splits_ideographs));
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
        if (selfc_tokenizer_find(tokenizer, specials[i][1]) >= 0)
            file_print(&writer, "  \"%s\": \"%s\",\n", specials[i][0], specials[i][1]);
    file_print(&writer, "  \"model_max_length\": %lld\n}\n", (long long)longest);
    return file_commit(&writer);
}

static bool parts_fit_lines(const SelfcTokenizer *tokenizer) {
    for (int32_t id = 0; id < tokenizer->vocabulary.size; id++)
        if (tokenizer->vocabulary.token[id] && strpbrk(tokenizer->vocabulary.token[id], "\r\n")) return false;
    return true;
}

int selfc_tokenizer_save_parts(const SelfcTokenizer *tokenizer, const char *folder, int64_t longest) {
    char *vocabulary = file_join(folder, "vocab.txt"), *config = file_join(folder, "tokenizer_config.json");
    int failed = parts_save_config(tokenizer, config, longest);
    if (!failed && parts_fit_lines(tokenizer)) failed = selfc_tokenizer_save_lines(tokenizer, vocabulary);
    free(vocabulary);
    free(config);
    return failed;
}
