/* How often two symbols are neighbours, and which two are so most often. Private to runtime/text. */
#ifndef SELFC_RUNTIME_PAIRS_H
#define SELFC_RUNTIME_PAIRS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int32_t first, second;
    int64_t count;  /* in all words */
    int32_t *words; /* where it has come up since it was put into the heap, each once; owned */
    int32_t word_count, word_room;
} Pair;

typedef struct {
    Pair *pairs;
    int32_t count, room;
    int32_t *slots; /* hash table of pairs; -1: free */
    int32_t slot_count;
    int32_t *fresh; /* pairs with words */
    int32_t fresh_count, fresh_room;
    bool is_short; /* of memory */
} Pairs;

/* A pair in the heap, with the words that it came up in when it was put there. */
typedef struct {
    int64_t count;
    int32_t first, second;
    int32_t *words, word_count;
} Merge;

typedef struct {
    Merge *merges;
    size_t count, room;
    bool is_short;
} Heap;

void pairs_free(Pairs *pairs);
/* The pair, made if need be; NULL: no memory. Valid until the next call. */
Pair *pairs_at(Pairs *pairs, int32_t first, int32_t second);
/* Counts `change` more of the pair in a word; one that is more is remembered. */
void pairs_change(Pairs *pairs, int32_t first, int32_t second, int64_t change, int32_t word);

void heap_free(Heap *heap);
void heap_push(Heap *heap, Merge merge); /* takes its words */
Merge heap_pop(Heap *heap);              /* the one with the highest count; of equal ones the first by its symbols */
#endif
