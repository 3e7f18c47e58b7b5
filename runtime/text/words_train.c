/* A vocabulary of pieces from counted words, as the trainer of the package `tokenizers` makes it: words begin as
 * characters, all but the first with "##", and the two neighbours that occur most often become one piece, again and
 * again (byte pair encoding: Sennrich and others 2016). Ties go by the ids of the two, and ids of characters by code
 * point, so that a text gives one vocabulary.
 *
 * Counts are kept up to date pair by pair. The heap is not: an entry whose count is no longer right goes back with the
 * right one when its turn comes. */
#include "runtime/text/pairs.h"
#include "runtime/text/words.h"

#include "runtime/core/core.h"
#include "runtime/data/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { TRAIN_ALPHABET = 1000, TRAIN_LEAST = 2 };

typedef struct {
    int32_t begin, length; /* in `symbols` */
    int64_t count;
} Word;

typedef struct {
    SelfcTokenizer *tokenizer;
    const SelfcWords *counted;
    Word *words;
    int32_t *symbols;
    Pairs pairs;
    Heap heap;
    int64_t size;
} Trainer;

/* The id of a token, which gets the next one if it has none. -1: no memory. */
static int32_t trainer_id(Trainer *trainer, const char *token, size_t length) {
    Vocabulary *vocabulary = &trainer->tokenizer->vocabulary;
    int32_t id = vocabulary_find(vocabulary, token, length);
    if (id >= 0) return id;
    return vocabulary_put(vocabulary, vocabulary->size, token, length) ? vocabulary->size - 1 : -1;
}

/* --- the alphabet --- */

typedef struct {
    uint32_t code;
    int64_t count;
    bool continues; /* occurs behind another in a word */
} Letter;

static int letter_by_count(const void *a, const void *b) {
    const Letter *first = a, *second = b;
    if (first->count != second->count) return first->count > second->count ? -1 : 1;
    return (first->code > second->code) - (first->code < second->code);
}

static int letter_by_code(const void *a, const void *b) {
    const Letter *first = a, *second = b;
    return (first->code > second->code) - (first->code < second->code);
}

/* Every code point; free(). NULL: no memory. */
static Letter *count_letters(const SelfcWords *words) {
    Letter *letters = calloc(UNICODE_CODES, sizeof *letters);
    for (uint32_t code = 0; letters && code < UNICODE_CODES; code++) letters[code].code = code;
    for (int32_t w = 0; letters && w < words->words.size; w++) {
        const char *word = words->words.token[w];
        size_t length;
        for (const char *at = word; *at; at += length) {
            Letter *letter = &letters[utf8_get(at, &length)];
            letter->count += words->count[w];
            letter->continues |= at > word;
        }
    }
    return letters;
}

static bool put_letter(Trainer *trainer, const char *prefix, uint32_t code) {
    char token[16];
    size_t length = strlen(prefix);
    memcpy(token, prefix, length);
    length += utf8_put(token + length, code);
    return trainer_id(trainer, token, length) >= 0;
}

/* Special tokens, characters, and characters that continue a word. */
static bool trainer_begin(Trainer *trainer) {
    static const char *const usual[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    Letter *letters = count_letters(trainer->counted);
    bool good = letters;
    for (size_t i = 0; good && i < sizeof usual / sizeof *usual; i++)
        good = trainer_id(trainer, usual[i], strlen(usual[i])) >= 0;
    size_t count = 0;
    if (letters) {
        qsort(letters, UNICODE_CODES, sizeof *letters, letter_by_count);
        while (count < TRAIN_ALPHABET && letters[count].count) count++;
        qsort(letters, count, sizeof *letters, letter_by_code);
    }
    for (size_t i = 0; good && i < count; i++) good = put_letter(trainer, "", letters[i].code);
    for (size_t i = 0; good && i < count; i++)
        if (letters[i].continues) good = put_letter(trainer, trainer->tokenizer->prefix, letters[i].code);
    free(letters);
    return good;
}

/* --- words as symbols --- */

/* Characters that are not of the alphabet are left out. */
static int32_t split_word(Trainer *trainer, const char *word, int32_t *symbols) {
    const Vocabulary *vocabulary = &trainer->tokenizer->vocabulary;
    char token[16];
    size_t prefix = strlen(trainer->tokenizer->prefix), length;
    int32_t count = 0;
    memcpy(token, trainer->tokenizer->prefix, prefix);
    for (const char *at = word; *at; at += length) {
        utf8_get(at, &length);
        memcpy(token + prefix, at, length);
        int32_t id = vocabulary_find(vocabulary, at, length);
        if (id >= 0 && at > word) id = vocabulary_find(vocabulary, token, prefix + length);
        if (id >= 0) symbols[count++] = id;
    }
    return count;
}

static bool trainer_split(Trainer *trainer) {
    const SelfcWords *counted = trainer->counted;
    size_t bytes = 0, at = 0;
    for (int32_t w = 0; w < counted->words.size; w++) bytes += strlen(counted->words.token[w]);
    trainer->words = calloc((size_t)counted->words.size + 1, sizeof *trainer->words);
    trainer->symbols = malloc((bytes + 1) * sizeof *trainer->symbols);
    if (!trainer->words || !trainer->symbols || bytes > INT32_MAX) return false;
    for (int32_t w = 0; w < counted->words.size; w++) {
        Word *word = &trainer->words[w];
        *word = (Word){.begin = (int32_t)at, .count = counted->count[w]};
        word->length = split_word(trainer, counted->words.token[w], trainer->symbols + at);
        for (int32_t i = 0; i + 1 < word->length; i++)
            pairs_change(&trainer->pairs, trainer->symbols[at + i], trainer->symbols[at + i + 1], word->count, w);
        at += (size_t)word->length;
    }
    return !trainer->pairs.is_short;
}

/* --- merging --- */

/* Pairs that came up may be merged from now on. */
static bool trainer_push(Trainer *trainer) {
    Pairs *pairs = &trainer->pairs;
    for (int32_t i = 0; i < pairs->fresh_count; i++) {
        Pair *pair = &pairs->pairs[pairs->fresh[i]];
        if (pair->count > 0)
            heap_push(&trainer->heap, (Merge){pair->count, pair->first, pair->second, pair->words, pair->word_count});
        else
            free(pair->words);
        pair->words = NULL;
        pair->word_count = pair->word_room = 0;
    }
    pairs->fresh_count = 0;
    return !pairs->is_short && !trainer->heap.is_short;
}

/* Puts `merged` for the two in a word, from the left, and counts what its neighbours become. */
static void merge_in_word(Trainer *trainer, int32_t w, const Merge *merge, int32_t merged) {
    Word *word = &trainer->words[w];
    int32_t *symbols = trainer->symbols + word->begin, count = 0;
    for (int32_t i = 0; i < word->length; i++) {
        bool is_pair = i + 1 < word->length && symbols[i] == merge->first && symbols[i + 1] == merge->second;
        if (!is_pair) {
            symbols[count++] = symbols[i];
            continue;
        }
        if (count) {
            pairs_change(&trainer->pairs, symbols[count - 1], merge->first, -word->count, w);
            pairs_change(&trainer->pairs, symbols[count - 1], merged, word->count, w);
        }
        i++;
        symbols[count++] = merged;
        if (i + 1 == word->length) continue;
        pairs_change(&trainer->pairs, merge->second, symbols[i + 1], -word->count, w);
        pairs_change(&trainer->pairs, merged, symbols[i + 1], word->count, w);
    }
    word->length = count;
}

/* The token of two, the second without its "##". */
static int32_t merge_token(Trainer *trainer, const Merge *merge) {
    const char *first = selfc_tokenizer_token(trainer->tokenizer, merge->first);
    const char *second = selfc_tokenizer_token(trainer->tokenizer, merge->second);
    size_t prefix = strlen(trainer->tokenizer->prefix), length = strlen(first);
    if (!strncmp(second, trainer->tokenizer->prefix, prefix)) second += prefix;
    size_t more = strlen(second);
    char *token = malloc(length + more + 1);
    if (!token) return -1;
    memcpy(token, first, length);
    memcpy(token + length, second, more);
    int32_t id = trainer_id(trainer, token, length + more);
    free(token);
    return id;
}

static bool trainer_merge(Trainer *trainer) {
    Heap *heap = &trainer->heap;
    while (trainer->tokenizer->vocabulary.size < trainer->size && heap->count) {
        Merge merge = heap_pop(heap);
        Pair *pair = pairs_at(&trainer->pairs, merge.first, merge.second);
        if (!pair || merge.count != pair->count) {
            merge.count = pair ? pair->count : 0;
            heap_push(heap, merge);
            if (!pair || heap->is_short) return false;
            continue;
        }
        int32_t merged = merge.count < TRAIN_LEAST ? -1 : merge_token(trainer, &merge);
        for (int32_t i = 0; merged >= 0 && i < merge.word_count; i++)
            merge_in_word(trainer, merge.words[i], &merge, merged);
        free(merge.words);
        if (merge.count < TRAIN_LEAST) return true;
        if (merged < 0 || !trainer_push(trainer)) return false;
    }
    return true;
}

static bool trainer_run(Trainer *trainer) {
    if (!trainer_begin(trainer)) return false;
    if (trainer->tokenizer->vocabulary.size > trainer->size) {
        selfc_fail(
            "a vocabulary of %lld tokens is too small: the characters of this text alone, with five special tokens, "
            "make %d",
            (long long)trainer->size, trainer->tokenizer->vocabulary.size);
        return false;
    }
    bool good = trainer_split(trainer) && trainer_push(trainer) && trainer_merge(trainer);
    if (!good) selfc_fail("no memory for training a vocabulary of %lld tokens", (long long)trainer->size);
    return good;
}

SelfcTokenizer *selfc_words_train(const SelfcWords *words, int64_t size) {
    if (!words->words.size) return selfc_fail("there are no words in the text to train a vocabulary on"), NULL;
    if (size > 1 << 22)
        return selfc_fail("a vocabulary of %lld tokens is too large; 4194304 is the most", (long long)size), NULL;
    Trainer trainer = {.tokenizer = tokenizer_new(), .counted = words, .size = size};
    if (!trainer.tokenizer) return NULL;
    trainer.tokenizer->rules = words->reader->rules;
    bool good = trainer_run(&trainer) && tokenizer_add_usual(trainer.tokenizer) &&
                tokenizer_finish(trainer.tokenizer, "the trained vocabulary");
    pairs_free(&trainer.pairs);
    heap_free(&trainer.heap);
    free(trainer.words);
    free(trainer.symbols);
    if (good) return trainer.tokenizer;
    selfc_tokenizer_close(trainer.tokenizer);
    return NULL;
}
