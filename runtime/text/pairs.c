/* A hash table of pairs, and a heap of those that may be merged next. */
#include "runtime/text/pairs.h"

#include <stdlib.h>

void pairs_free(Pairs *pairs) {
    for (int32_t i = 0; i < pairs->count; i++) free(pairs->pairs[i].words);
    free(pairs->pairs);
    free(pairs->slots);
    free(pairs->fresh);
    *pairs = (Pairs){0};
}

static int32_t *pairs_slot(const Pairs *pairs, int32_t first, int32_t second) {
    uint64_t key = (uint64_t)(uint32_t)first << 32 | (uint32_t)second;
    uint64_t at = key * 0x9E3779B97F4A7C15u >> 20;
    for (;; at++) {
        int32_t *slot = &pairs->slots[at & ((uint64_t)pairs->slot_count - 1)];
        if (*slot < 0) return slot;
        const Pair *pair = &pairs->pairs[*slot];
        if (pair->first == first && pair->second == second) return slot;
    }
}

static bool pairs_grow(Pairs *pairs) {
    int32_t room = pairs->room ? 2 * pairs->room : 4096;
    Pair *larger = realloc(pairs->pairs, (size_t)room * sizeof *larger);
    if (!larger) return false;
    pairs->pairs = larger;
    int32_t *slots = malloc(2 * (size_t)room * sizeof *slots);
    if (!slots) return false;
    free(pairs->slots);
    pairs->room = room;
    pairs->slots = slots;
    pairs->slot_count = 2 * room;
    for (int32_t i = 0; i < pairs->slot_count; i++) slots[i] = -1;
    for (int32_t i = 0; i < pairs->count; i++) *pairs_slot(pairs, larger[i].first, larger[i].second) = i;
    return true;
}

Pair *pairs_at(Pairs *pairs, int32_t first, int32_t second) {
    if (pairs->count == pairs->room && !pairs_grow(pairs)) return pairs->is_short = true, NULL;
    int32_t *slot = pairs_slot(pairs, first, second);
    if (*slot < 0) {
        pairs->pairs[pairs->count] = (Pair){.first = first, .second = second};
        *slot = pairs->count++;
    }
    return &pairs->pairs[*slot];
}

/* Appends to an array that grows; false: no memory. */
static bool pairs_append(int32_t **items, int32_t *count, int32_t *room, int32_t item) {
    if (*count == *room) {
        int32_t more = *room ? 2 * *room : 4;
        int32_t *larger = realloc(*items, (size_t)more * sizeof *larger);
        if (!larger) return false;
        *items = larger;
        *room = more;
    }
    (*items)[(*count)++] = item;
    return true;
}

void pairs_change(Pairs *pairs, int32_t first, int32_t second, int64_t change, int32_t word) {
    Pair *pair = pairs_at(pairs, first, second);
    if (!pair) return;
    pair->count += change;
    if (change < 0 || (pair->word_count && pair->words[pair->word_count - 1] == word)) return;
    bool is_fresh = !pair->word_count;
    if (!pairs_append(&pair->words, &pair->word_count, &pair->word_room, word) ||
        (is_fresh &&
         !pairs_append(&pairs->fresh, &pairs->fresh_count, &pairs->fresh_room, (int32_t)(pair - pairs->pairs))))
        pairs->is_short = true;
}

/* --- heap --- */

void heap_free(Heap *heap) {
    for (size_t i = 0; i < heap->count; i++) free(heap->merges[i].words);
    free(heap->merges);
    *heap = (Heap){0};
}

static bool merge_before(const Merge *a, const Merge *b) {
    if (a->count != b->count) return a->count > b->count;
    if (a->first != b->first) return a->first < b->first;
    return a->second < b->second;
}

void heap_push(Heap *heap, Merge merge) {
    if (heap->count == heap->room) {
        size_t room = heap->room ? 2 * heap->room : 4096;
        Merge *merges = realloc(heap->merges, room * sizeof *merges);
        if (!merges) {
            free(merge.words);
            heap->is_short = true;
            return;
        }
        heap->merges = merges;
        heap->room = room;
    }
    size_t at = heap->count++;
    for (; at && merge_before(&merge, &heap->merges[(at - 1) / 2]); at = (at - 1) / 2)
        heap->merges[at] = heap->merges[(at - 1) / 2];
    heap->merges[at] = merge;
}

Merge heap_pop(Heap *heap) {
    Merge top = heap->merges[0], last = heap->merges[--heap->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && merge_before(&heap->merges[child + 1], &heap->merges[child])) child++;
        if (!merge_before(&heap->merges[child], &last)) break;
        heap->merges[at] = heap->merges[child];
    }
    if (heap->count) heap->merges[at] = last;
    return top;
}
