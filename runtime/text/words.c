/* Counting words: the tokenizer's own reader finds them, as they would be looked up. */
#include "runtime/text/words.h"

#include "runtime/core/core.h"

#include <stdlib.h>

SelfcWords *selfc_words_new(bool is_cased) {
    SelfcWords *words = calloc(1, sizeof *words);
    if (words) words->reader = tokenizer_new();
    if (words && words->reader) {
        if (is_cased) words->reader->rules.lowers = words->reader->rules.strips_accents = false;
        words->reader->most_characters = TOKENIZE_MOST_CHARACTERS;
        if (tables_build(words->reader)) return words;
    }
    selfc_fail("no memory for counting words");
    selfc_words_free(words);
    return NULL;
}

void selfc_words_free(SelfcWords *words) {
    if (!words) return;
    selfc_tokenizer_close(words->reader);
    vocabulary_free(&words->words);
    free(words->count);
    free(words);
}

static int32_t words_take(void *context, const char *word, int32_t bytes) {
    SelfcWords *words = context;
    int32_t id = vocabulary_find(&words->words, word, (size_t)bytes);
    if (id < 0) {
        id = words->words.size;
        if (id >= words->room) {
            int32_t room = words->room ? 2 * words->room : 1024;
            int64_t *count = realloc(words->count, (size_t)room * sizeof *count);
            if (!count) return words->is_short = true;
            words->count = count;
            words->room = room;
        }
        if (!vocabulary_put(&words->words, id, word, (size_t)bytes)) return words->is_short = true;
        words->count[id] = 0;
    }
    words->count[id]++;
    return 0;
}

int selfc_words_add(SelfcWords *words, const char *text, int64_t length) {
    selfc_tokenize_words(words->reader->tables, text, length, words_take, words);
    if (!words->is_short) return 0;
    selfc_fail("no memory for the %d different words that were counted", words->words.size);
    return -1;
}

int64_t selfc_words_cut(const SelfcWords *words, const char *text, int64_t length) {
    return selfc_tokenizer_cut(words->reader, text, length);
}
