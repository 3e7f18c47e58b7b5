/* An array from ids to tokens, and a hash table with open addressing back. */
#include "runtime/text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

void vocabulary_free(Vocabulary *vocabulary) {
    for (int32_t id = 0; id < vocabulary->size; id++) free(vocabulary->token[id]);
    free(vocabulary->token);
    free(vocabulary->slots);
    *vocabulary = (Vocabulary){0};
}

static uint32_t vocabulary_hash(const char *token, size_t length) { /* FNV-1a */
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)token[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* The slot of the token, or the free one where it belongs. */
static int32_t *vocabulary_slot(const Vocabulary *vocabulary, const char *token, size_t length) {
    uint32_t mask = (uint32_t)vocabulary->slot_count - 1;
    for (uint32_t at = vocabulary_hash(token, length);; at++) {
        int32_t *slot = &vocabulary->slots[at & mask];
        if (*slot < 0) return slot;
        const char *other = vocabulary->token[*slot];
        if (!strncmp(other, token, length) && !other[length]) return slot;
    }
}

static bool vocabulary_grow_slots(Vocabulary *vocabulary) {
    int32_t count = vocabulary->slot_count ? vocabulary->slot_count * 2 : 1024;
    int32_t *slots = malloc((size_t)count * sizeof *slots), *old = vocabulary->slots;
    if (!slots) return false;
    memset(slots, -1, (size_t)count * sizeof *slots);
    int32_t old_count = vocabulary->slot_count;
    vocabulary->slots = slots;
    vocabulary->slot_count = count;
    for (int32_t i = 0; i < old_count; i++) {
        if (old[i] < 0) continue;
        const char *token = vocabulary->token[old[i]];
        *vocabulary_slot(vocabulary, token, strlen(token)) = old[i];
    }
    free(old);
    return true;
}

static bool vocabulary_grow(Vocabulary *vocabulary, int32_t size) {
    if (size > vocabulary->room) {
        int32_t room = size > 1024 ? size + size / 2 : 1024;
        char **token = realloc(vocabulary->token, (size_t)room * sizeof *token);
        if (!token) return false;
        vocabulary->token = token;
        vocabulary->room = room;
    }
    while (vocabulary->size < size) vocabulary->token[vocabulary->size++] = NULL;
    while (vocabulary->slot_count < 2 * vocabulary->size)
        if (!vocabulary_grow_slots(vocabulary)) return false;
    return true;
}

bool vocabulary_put(Vocabulary *vocabulary, int32_t id, const char *token, size_t length) {
    if (id < 0 || id >= VOCABULARY_MOST) return false;
    if (id >= vocabulary->size && !vocabulary_grow(vocabulary, id + 1)) return false;
    if (vocabulary->token[id]) return !strncmp(vocabulary->token[id], token, length) && !vocabulary->token[id][length];
    char *copy = malloc(length + 1);
    if (!copy) return false;
    memcpy(copy, token, length);
    copy[length] = 0;
    int32_t *slot = vocabulary_slot(vocabulary, token, length);
    vocabulary->token[id] = copy;
    *slot = id;
    return true;
}

int32_t vocabulary_find(const Vocabulary *vocabulary, const char *token, size_t length) {
    return vocabulary->slot_count ? *vocabulary_slot(vocabulary, token, length) : -1;
}
