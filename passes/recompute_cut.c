/* Cuts the forward part of a program into segments for recompute.c.
 *
 * A cut stands behind a phase; the values that cross it, made before and read by a later phase of the forward part,
 * are enough to do everything behind it again, so they are kept. Between residual blocks that is one value. A
 * segment is alive as a whole when its backward part runs: its saved bytes must not exceed the size. Among all ways
 * to cut, the one whose cuts are crossed by the fewest bytes is found from left to right: the best way to end with a
 * cut behind phase p is the best way to a cut q before it, near enough, and p. */
#include "passes/recompute.h"

#include <string.h>

static bool is_saved(const Recompute *r, uint32_t b) { return recompute_is_candidate(r, b) && r->last[b] > r->turn; }

int64_t recompute_total(const Recompute *r) {
    int64_t total = 0;
    for (uint32_t b = 0; b < r->program->buffer_count; b++)
        if (is_saved(r, b)) total += r->bytes[b];
    return total;
}

/* The last phase of the forward part that reads the buffer; 0: none does. */
static uint32_t *find_last_forward(const Recompute *r) {
    uint32_t *last = arena_array(r->arena, uint32_t, r->program->buffer_count + 1);
    for (uint32_t c = 0; c < r->program->call_count && r->program->calls[c].phase <= r->turn; c++)
        for (uint32_t i = 0; i < recompute_kernel(r, c)->body->input_count; i++)
            last[r->program->calls[c].args[i]] = r->program->calls[c].phase;
    return last;
}

typedef struct {
    int64_t *crossing; /* of each phase up to the turn: bytes that cross a cut behind it */
    int64_t *saved;    /* bytes of saved values that the phases before it make */
    const uint32_t *last_forward;
} Cuts;

static Cuts measure(const Recompute *r) {
    uint32_t phases = r->turn + 2;
    Cuts cuts = {arena_array(r->arena, int64_t, phases), arena_array(r->arena, int64_t, phases), find_last_forward(r)};
    for (uint32_t b = 0; b < r->program->buffer_count; b++) {
        if (!recompute_is_candidate(r, b)) continue;
        if (is_saved(r, b)) cuts.saved[r->first[b] + 1] += r->bytes[b];
        for (uint32_t phase = r->first[b]; phase < cuts.last_forward[b]; phase++) cuts.crossing[phase] += r->bytes[b];
    }
    for (uint32_t phase = 0; phase <= r->turn; phase++) cuts.saved[phase + 1] += cuts.saved[phase];
    return cuts;
}

void recompute_cut(const Recompute *r, int64_t size, bool *again) {
    Cuts cuts = measure(r);
    uint32_t count = r->turn + 2; /* place p is a cut before phase p; 0 is the beginning, turn + 1 the end */
    int64_t *cost = arena_array(r->arena, int64_t, count);
    uint32_t *from = arena_array(r->arena, uint32_t, count);
    for (uint32_t p = 1; p < count; p++) {
        cost[p] = INT64_MAX;
        for (uint32_t q = p; q-- && (q == p - 1 || cuts.saved[p] - cuts.saved[q] <= size);)
            if (cost[q] < cost[p]) cost[p] = cost[q], from[p] = q;
        if (p <= r->turn) cost[p] += cuts.crossing[p - 1];
    }
    for (uint32_t b = 0; b < r->program->buffer_count; b++) again[b] = recompute_is_candidate(r, b);
    for (uint32_t p = from[r->turn + 1]; p; p = from[p])
        for (uint32_t b = 0; b < r->program->buffer_count; b++)
            if (r->first[b] < p && p <= cuts.last_forward[b]) again[b] = false;
}
