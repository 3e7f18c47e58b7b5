/* Tokens and their ids. Private to runtime/text. */
#ifndef SELFC_RUNTIME_VOCABULARY_H
#define SELFC_RUNTIME_VOCABULARY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VOCABULARY_MOST = 1 << 29 }; /* tokens */

typedef struct {
    char **token; /* of each id; NULL: there is none. Owned */
    int32_t size, room;
    int32_t *slots;     /* hash table of ids; -1: free */
    int32_t slot_count; /* a power of two */
} Vocabulary;

void vocabulary_free(Vocabulary *vocabulary);
/* Copies `length` bytes, which hold no zero. A token that is there twice is found under its last id. false: no memory,
 * or the id is not below VOCABULARY_MOST. */
bool vocabulary_put(Vocabulary *vocabulary, int32_t id, const char *token, size_t length);
int32_t vocabulary_find(const Vocabulary *vocabulary, const char *token, size_t length); /* -1: none */
#endif
