/* A double array (Aoe 1989) is built from sorted keys: the keys that share a beginning stand together, and the bytes
 * that follow it are the children of a cell. They are laid at the first place where all of them are free. Cells that
 * are taken are passed by a list of the free ones, which is tried from where free ones are not rare. */
#include "runtime/text/trie.h"

#include <stdlib.h>
#include <string.h>

#define TRIE_FREE UINT32_MAX

typedef struct {
    TrieKey *keys;
    SelfcCell *cells;
    size_t count, first; /* `first`: where to look for room from; before it, cells are mostly taken */
    bool is_short;       /* of memory */
} Trie;

static int trie_compare(const void *a, const void *b) {
    const TrieKey *first = a, *second = b;
    if (first->root != second->root) return first->root < second->root ? -1 : 1;
    uint32_t length = first->length < second->length ? first->length : second->length;
    int order = memcmp(first->text, second->text, length);
    return order ? order : (first->length > second->length) - (first->length < second->length);
}

/* Makes cells up to `wanted`. */
static bool trie_grow(Trie *trie, size_t wanted) {
    if (wanted <= trie->count) return true;
    size_t count = trie->count * 2 > wanted ? trie->count * 2 : wanted;
    SelfcCell *cells = realloc(trie->cells, count * sizeof *cells);
    if (!cells) return trie->is_short = true, false;
    for (size_t i = trie->count; i < count; i++) cells[i] = (SelfcCell){0, TRIE_FREE};
    trie->cells = cells;
    trie->count = count;
    return true;
}

/* A base where all of the children are free; bytes ascend. */
static uint32_t trie_room(Trie *trie, const uint8_t *bytes, uint32_t count) {
    size_t taken = 0, begin = trie->first > 2u + bytes[0] ? trie->first : 2u + bytes[0];
    for (size_t at = begin;; at++) { /* of the first child */
        if (!trie_grow(trie, at + 512)) return 0;
        if (trie->cells[at].check != TRIE_FREE) {
            taken++;
            continue;
        }
        uint32_t base = (uint32_t)(at - bytes[0]), i = 1;
        while (i < count && trie->cells[base + bytes[i]].check == TRIE_FREE) i++;
        if (i < count) continue;
        if (taken * 20 >= (at - begin + 1) * 19) trie->first = at;
        return base;
    }
}

/* Keys from..to share their first `depth` bytes, whose cell is `cell`. Depth is bounded by the length of keys. */
static void trie_place(Trie *trie, uint32_t cell, size_t from, size_t to, uint32_t depth) {
    uint8_t bytes[256];
    size_t begin[257];
    uint32_t count = 0;
    for (size_t i = from; i < to; i++) {
        const TrieKey *key = &trie->keys[i];
        uint8_t byte = key->length == depth ? 0 : (uint8_t)key->text[depth];
        if (count && bytes[count - 1] == byte) continue;
        bytes[count] = byte;
        begin[count++] = i;
    }
    if (!count) return;
    begin[count] = to;
    uint32_t base = trie_room(trie, bytes, count);
    if (trie->is_short) return;
    bool ends = bytes[0] == 0;
    trie->cells[cell].base = base | (ends ? TOKENIZE_ENDS : 0);
    for (uint32_t i = 0; i < count; i++) trie->cells[base + bytes[i]].check = cell;
    if (ends) trie->cells[base].base = (uint32_t)trie->keys[from].id;
    for (uint32_t i = ends; i < count && !trie->is_short; i++)
        trie_place(trie, base + bytes[i], begin[i], begin[i + 1], depth + 1);
}

SelfcCell *trie_build(TrieKey *keys, size_t key_count, size_t *count) {
    Trie trie = {.keys = keys};
    size_t roots = 0, last = 0;
    qsort(keys, key_count, sizeof *keys, trie_compare);
    while (roots < key_count && keys[roots].root == 0) roots++;
    if (trie_grow(&trie, 1024)) {
        trie.cells[0].check = trie.cells[1].check = UINT32_MAX - 1; /* taken, and nobody's child */
        trie_place(&trie, 0, 0, roots, 0);
        trie_place(&trie, 1, roots, key_count, 0);
    }
    if (trie.is_short) {
        free(trie.cells);
        return NULL;
    }
    for (size_t i = 0; i < trie.count; i++)
        if (trie.cells[i].check != TRIE_FREE) last = i;
    /* Whatever the base of a cell that is taken, base + 255 stands in the array: bases are below their first child. */
    *count = last + 257;
    if (!trie_grow(&trie, *count)) {
        free(trie.cells);
        return NULL;
    }
    return trie.cells;
}
