/* Memory that is given back all at once.
 *
 * Small requests share blocks, which double in size as the arena grows; a
 * request larger than a block gets one of its own that is put below the top,
 * so that what is left of the top is still used. A stress build
 * (SELFC_STRESS) makes blocks so small that every edge is met all the time. */
#include "ir/arena.h"
#include "ir/diag.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct Block {
    struct Block *previous;
    size_t used, size;
    _Alignas(16) char bytes[];
} Block;

struct Arena {
    Block *top;
    size_t block_size; /* of the next block */
};

#ifdef SELFC_STRESS
enum { FIRST_BLOCK = 16, LARGEST_BLOCK = 16, FIRST_CAPACITY = 1 };
#else
enum { FIRST_BLOCK = 16 * 1024, LARGEST_BLOCK = 1024 * 1024, FIRST_CAPACITY = 32 };
#endif

Arena *arena_new(void) {
    Arena *arena = calloc(1, sizeof *arena);
    if (!arena) die("out of memory");
    arena->block_size = FIRST_BLOCK;
    return arena;
}

void arena_free(Arena *arena) {
    if (!arena) return;
    for (Block *block = arena->top; block;) {
        Block *previous = block->previous;
        free(block);
        block = previous;
    }
    free(arena);
}

static Block *new_block(size_t size) {
    Block *block = size <= SIZE_MAX - sizeof *block ? calloc(1, sizeof *block + size) : NULL;
    if (!block) die("out of memory: %zu bytes could not be had", size);
    block->size = size;
    return block;
}

static void *alloc_large(Arena *arena, size_t size) {
    Block *block = new_block(size);
    block->used = size;
    if (arena->top) {
        block->previous = arena->top->previous;
        arena->top->previous = block;
    } else {
        arena->top = block;
    }
    return block->bytes;
}

void *arena_alloc(Arena *arena, size_t size) {
    if (size > SIZE_MAX - 16) die("out of memory: %zu bytes could not be had", size);
    size = size ? (size + 15) / 16 * 16 : 16;
    Block *top = arena->top;
    if (!top || top->size - top->used < size) {
        if (size > arena->block_size / 4 && size > FIRST_BLOCK / 4) return alloc_large(arena, size);
        top = new_block(arena->block_size);
        top->previous = arena->top;
        arena->top = top;
        if (arena->block_size < LARGEST_BLOCK) arena->block_size *= 2;
    }
    void *memory = top->bytes + top->used;
    top->used += size;
    return memory;
}

char *arena_copy(Arena *arena, const char *text) {
    if (!text) return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(arena_alloc(arena, size), text, size);
}

char *arena_printf(Arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) BUG("the format \"%s\" cannot be printed", format);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(args);
    va_end(again);
    return text;
}

void *arena_grow(Arena *arena, void *array, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity) return array;
    *capacity = *capacity ? *capacity * 2 : FIRST_CAPACITY;
    void *larger = arena_alloc(arena, *capacity * size);
    if (count) memcpy(larger, array, count * size);
    return larger;
}
