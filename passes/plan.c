/* Gives every temporary its place in the arena.
 *
 * A temporary lives from the phase that writes it to the last that reads it, both included, since the calls of one
 * phase run at the same time. Two that live in a common phase must not overlap. That is strip packing with fixed
 * positions in time: the largest buffers first, each into the smallest gap that holds it, comes within a few percent
 * of the bound (most bytes alive in one phase). Where it does not, other orders are tried, and then the buffer that
 * ends last is placed earlier, again and again; the best result stays.
 *
 * Sizes that grow with the batch are planned by themselves, with n = 1, behind those that do not: then every offset
 * is fixed + per_n * n for the same plan, whatever n is. Both parts are multiples of 64 bytes.
 *
 * What is prepared stays from run to run: it stands apart, one behind the other. */
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, MOST_TRIES = 300, MOST_STEPS = 5000000 };

/* A buffer of one region: its life in phases, inclusive. */
typedef struct {
    uint32_t buffer, first, last;
    int64_t size, offset;
} Block;

typedef struct {
    Block *blocks;
    uint32_t count, phase_count;
    int64_t bound; /* most bytes alive in one phase */
    int64_t total; /* of the best plan */
} Region;

static int64_t aligned(int64_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static int64_t find_bound(const Region *region, Arena *arena) {
    int64_t *live = arena_array(arena, int64_t, region->phase_count + 1), most = 0;
    for (uint32_t i = 0; i < region->count; i++)
        for (uint32_t phase = region->blocks[i].first; phase <= region->blocks[i].last; phase++)
            live[phase] += region->blocks[i].size;
    for (uint32_t phase = 0; phase < region->phase_count; phase++)
        if (live[phase] > most) most = live[phase];
    return most;
}

/* The temporaries whose size depends on the batch, or those whose size does not. */
static Region make_region(const Program *program, bool grows, Arena *arena) {
    uint32_t *first = arena_array(arena, uint32_t, program->buffer_count + 1);
    uint32_t *last = arena_array(arena, uint32_t, program->buffer_count + 1);
    Region region = {arena_array(arena, Block, program->buffer_count + 1), .phase_count = program->phase_count};
    program_lives(program, first, last);
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const Buffer *buffer = &program->buffers[b];
        if (buffer->kind != BUFFER_temporary || type_has_batch(buffer->type) != grows || first[b] > last[b]) continue;
        int64_t size = aligned((int64_t)type_bytes_at(buffer->type, 1));
        region.blocks[region.count++] = (Block){b, first[b], last[b], size, 0};
    }
    region.bound = find_bound(&region, arena);
    region.total = INT64_MAX;
    return region;
}

static int64_t length_of(const Block *block) { return (int64_t)block->last - block->first + 1; }
static int descending(int64_t a, int64_t b) { return a > b ? -1 : a < b; }

typedef int Compare(const void *a, const void *b);

static int by_name(const Block *a, const Block *b) { return a->buffer < b->buffer ? -1 : 1; }
static int by_size(const void *x, const void *y) {
    const Block *a = x, *b = y;
    if (a->size != b->size) return descending(a->size, b->size);
    if (length_of(a) != length_of(b)) return descending(length_of(a), length_of(b));
    return by_name(a, b);
}
static int by_length(const void *x, const void *y) {
    const Block *a = x, *b = y;
    return length_of(a) != length_of(b) ? descending(length_of(a), length_of(b)) : by_size(x, y);
}
static int by_area(const void *x, const void *y) {
    const Block *a = x, *b = y;
    int64_t area_a = a->size * length_of(a), area_b = b->size * length_of(b);
    return area_a != area_b ? descending(area_a, area_b) : by_name(a, b);
}
static int by_start(const void *x, const void *y) {
    const Block *a = x, *b = y;
    return a->first != b->first ? descending(b->first, a->first) : by_size(x, y);
}
static Compare *const orders[] = {by_size, by_length, by_area, by_start};

static int by_offset(const void *x, const void *y) {
    const Block *const *a = x, *const *b = y;
    if ((*a)->offset != (*b)->offset) return descending((*b)->offset, (*a)->offset);
    return by_name(*a, *b);
}

/* The smallest gap that holds the block between the placed ones that live in a common phase, given by offset;
 * behind them all if there is none. */
static int64_t best_gap(const Block *block, Block *const *placed, uint32_t count) {
    int64_t end = 0, best = -1, best_size = INT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (placed[i]->first > block->last || placed[i]->last < block->first) continue;
        int64_t gap = placed[i]->offset - end, behind = placed[i]->offset + placed[i]->size;
        if (gap >= block->size && gap < best_size) best = end, best_size = gap;
        if (behind > end) end = behind;
    }
    return best >= 0 ? best : end;
}

static void insert_by_offset(Block **placed, uint32_t count, Block *block) {
    uint32_t at = count;
    for (; at && by_offset(&placed[at - 1], &block) > 0; at--) placed[at] = placed[at - 1];
    placed[at] = block;
}

/* Places the blocks in the order in which they stand; the bytes needed. */
static int64_t place_all(Region *region, Block **placed) {
    int64_t total = 0;
    for (uint32_t i = 0; i < region->count; i++) {
        Block *block = &region->blocks[i];
        block->offset = best_gap(block, placed, i);
        insert_by_offset(placed, i, block);
        if (block->offset + block->size > total) total = block->offset + block->size;
    }
    return total;
}

/* Moves the block that ends last to the front of the order, so that it gets the first choice. */
static void promote_highest(Region *region) {
    uint32_t highest = 0;
    for (uint32_t i = 1; i < region->count; i++) {
        const Block *block = &region->blocks[i], *top = &region->blocks[highest];
        if (block->offset + block->size > top->offset + top->size) highest = i;
    }
    Block block = region->blocks[highest];
    memmove(region->blocks + 1, region->blocks, highest * sizeof block);
    region->blocks[0] = block;
}

static void keep_if_better(Region *region, int64_t total, int64_t *best) {
    if (total >= region->total) return;
    region->total = total;
    for (uint32_t i = 0; i < region->count; i++) best[region->blocks[i].buffer] = region->blocks[i].offset;
}

/* Tries orders until the bound is reached or enough was tried. best[buffer] is the offset in the best plan. */
static void place_region(Region *region, int64_t *best, Arena *arena) {
    Block **placed = arena_array(arena, Block *, region->count + 1);
    int64_t steps = (int64_t)region->count * region->count + 1;
    int tries = MOST_STEPS / steps < MOST_TRIES ? (int)(MOST_STEPS / steps) : MOST_TRIES;
    for (size_t order = 0; order < sizeof orders / sizeof *orders && region->total > region->bound; order++) {
        qsort(region->blocks, region->count, sizeof *region->blocks, orders[order]);
        for (int i = 0; i <= tries && region->total > region->bound; i++) {
            keep_if_better(region, place_all(region, placed), best);
            promote_highest(region);
        }
    }
}

static void place_prepared(Program *program) {
    program->prepared_size = 0;
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        Buffer *buffer = &program->buffers[b];
        if (buffer->kind != BUFFER_prepared) continue;
        buffer->offset = (Extent){.fixed = program->prepared_size};
        program->prepared_size += aligned((int64_t)type_bytes_at(buffer->type, 1));
    }
}

ProgramPass pass_plan;

void pass_plan(Program *program, const Machine *machine) {
    Arena *arena = arena_new();
    int64_t *offset = arena_array(arena, int64_t, program->buffer_count + 1);
    Region fixed = make_region(program, false, arena), growing = make_region(program, true, arena);
    (void)machine;
    place_region(&fixed, offset, arena);
    place_region(&growing, offset, arena);
    for (uint32_t i = 0; i < fixed.count; i++) {
        uint32_t b = fixed.blocks[i].buffer;
        program->buffers[b].offset = (Extent){.fixed = offset[b]};
    }
    for (uint32_t i = 0; i < growing.count; i++) {
        uint32_t b = growing.blocks[i].buffer;
        program->buffers[b].offset = (Extent){.fixed = fixed.total, .per_n = offset[b]};
    }
    place_prepared(program);
    program->arena_size = (Extent){.fixed = fixed.total, .per_n = growing.total};
    program->most_live = (Extent){.fixed = fixed.bound, .per_n = growing.bound};
    arena_free(arena);
}
