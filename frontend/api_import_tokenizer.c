/* The tokenizer of a model of the BERT family: tokenizer.json, or vocab.txt with tokenizer_config.json beside it. */
#include "frontend/api_import.h"

#include <unistd.h>

static bool tokenizer_has(const char *folder, const char *name, Arena *arena) {
    return !access(arena_printf(arena, "%s/%s", folder, name), F_OK);
}

static bool tokenizer_is_there(const char *folder, Arena *arena) {
    return tokenizer_has(folder, "tokenizer.json", arena) || tokenizer_has(folder, "vocab.txt", arena);
}

/* Ids must have an embedding. Embeddings that no token has are common: numbers of them are rounded up. */
static int tokenizer_check(const SelfcTokenizer *tokenizer, const char *folder, const Bert *bert) {
    long long tokens = selfc_tokenizer_size(tokenizer), words = bert->vocabulary;
    if (tokens <= words) return 0;
    return api_fail(
        "%s: error: its tokenizer has %lld tokens, but the model embeddings for %lld: it belongs to another "
        "model",
        folder, tokens, words);
}

static int tokenizer_save(const SelfcTokenizer *tokenizer, const char *out, Arena *arena) {
    int failed = selfc_tokenizer_save(tokenizer, arena_printf(arena, "%s/tokenizer.json", out));
    return failed ? api_fail("%s", selfc_failure()) : 0;
}

int bert_open_tokenizer(const char *folder, const Bert *bert, Arena *arena, SelfcTokenizer **tokenizer) {
    *tokenizer = NULL;
    if (!tokenizer_is_there(folder, arena)) return 0;
    *tokenizer = selfc_tokenizer_open(folder);
    if (!*tokenizer) return api_fail("%s", selfc_failure());
    return tokenizer_check(*tokenizer, folder, bert);
}

int bert_import_tokenizer(const SelfcTokenizer *tokenizer, const char *out, Arena *arena) {
    return tokenizer ? tokenizer_save(tokenizer, out, arena) : 0;
}

int bert_export_tokenizer(const SelfcTokenizer *tokenizer, const char *out, const Bert *bert, Arena *arena) {
    if (!tokenizer) return 0;
    if (tokenizer_save(tokenizer, out, arena)) return 1;
    bool is_words = !selfc_tokenizer_is_characters(tokenizer);
    return is_words && selfc_tokenizer_save_parts(tokenizer, out, bert->positions) ? api_fail("%s", selfc_failure())
                                                                                   : 0;
}
