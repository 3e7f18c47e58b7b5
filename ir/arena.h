/* Memory that is given back all at once. The arena's name is the lifetime:
 * the graph's, a pass's scratch, the compilation's. */
#ifndef SELFC_IR_ARENA_H
#define SELFC_IR_ARENA_H
#include <stddef.h>
#include <stdint.h>

typedef struct Arena Arena;

Arena *arena_new(void);
void arena_free(Arena *arena); /* NULL is fine */

/* Zeroed memory, aligned to 16 bytes, that lives as long as the arena. Never returns NULL. */
void *arena_alloc(Arena *arena, size_t size);
char *arena_copy(Arena *arena, const char *text); /* NULL gives NULL */
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The array with room for one element more: itself, or a larger copy with *capacity brought up to date. */
void *arena_grow(Arena *arena, void *array, uint32_t count, uint32_t *capacity, size_t size);

#define arena_array(arena, Type, count) ((Type *)arena_alloc((arena), sizeof(Type) * (size_t)(count)))
#endif
