/* A double array from the vocabulary; see tokenize.h. Private to runtime/text. */
#ifndef SELFC_RUNTIME_TRIE_H
#define SELFC_RUNTIME_TRIE_H
#include "runtime/text/tokenize.h"

#include <stdbool.h>
#include <stddef.h>

/* length: no more than TOKENIZE_MOST_BYTES, at least 1, and no byte is 0. */
typedef struct {
    const char *text;
    uint32_t length, root; /* root: 0 or 1 */
    int32_t id;
} TrieKey;

/* Sorts the keys, which must be different. *count cells; free(). NULL: no memory. */
SelfcCell *trie_build(TrieKey *keys, size_t key_count, size_t *count);
#endif
