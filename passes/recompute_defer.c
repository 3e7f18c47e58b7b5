/* Lets updates of states wait for the end of the step, so that what read the old value can be done again until then.
 *
 * Batch norm in training adds up distances from the running mean, for the sake of rounding, and the mean is updated
 * as soon as the batch's own is known, in the forward part. An update can wait if
 *   1. it writes states or outputs alone, which nobody reads or writes later: so it needs no phase of its own in the
 *      end,
 *   2. what it reads is still the same then, and too little to matter if it lives so long. */
#include "passes/recompute.h"

#include <string.h>

typedef struct {
    const Recompute *r;
    uint32_t *last_read, *last_written; /* of each buffer: a phase */
    bool *is_wanted;                    /* of each buffer: forward work that is worth being done again reads it */
} Defer;

static void note_call(Defer *d, uint32_t c) {
    const Call *call = &d->r->program->calls[c];
    const Kernel *kernel = recompute_kernel(d->r, c);
    uint32_t inputs = kernel->body->input_count, count = kernel_arg_count(kernel);
    bool is_forward = false;
    for (uint32_t i = inputs; i < count; i++) {
        d->last_written[call->args[i]] = call->phase;
        is_forward |= recompute_is_candidate(d->r, call->args[i]);
    }
    for (uint32_t i = 0; i < inputs; i++) {
        d->last_read[call->args[i]] = call->phase;
        d->is_wanted[call->args[i]] |= is_forward;
    }
}

static bool can_wait(const Defer *d, uint32_t c) {
    const Recompute *r = d->r;
    const Call *call = &r->program->calls[c];
    const Kernel *kernel = recompute_kernel(r, c);
    uint32_t inputs = kernel->body->input_count, count = kernel_arg_count(kernel);
    bool is_in_the_way = false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t b = call->args[i];
        bool is_temporary = r->program->buffers[b].kind == BUFFER_temporary, writes = i >= inputs;
        if (writes && (is_temporary || d->last_read[b] > call->phase)) return false;
        if (d->last_written[b] > call->phase) return false;
        if (r->bytes[b] > r->little) return false;
        is_in_the_way |= writes && d->is_wanted[b];
    }
    return is_in_the_way && call->phase <= r->turn;
}

bool recompute_defer(const Recompute *r, Program *program) {
    Arena *a = r->arena;
    uint32_t buffers = program->buffer_count + 1, kept = 0, waiting = 0;
    Defer d = {r, arena_array(a, uint32_t, buffers), arena_array(a, uint32_t, buffers), arena_array(a, bool, buffers)};
    Call *calls = arena_array(a, Call, program->call_count + 1), *late = arena_array(a, Call, program->call_count + 1);
    for (uint32_t c = 0; c < program->call_count; c++) note_call(&d, c);
    for (uint32_t c = 0; c < program->call_count; c++) {
        if (can_wait(&d, c)) late[waiting++] = program->calls[c];
        else calls[kept++] = program->calls[c];
    }
    for (uint32_t i = 0; i < waiting; i++) {
        calls[kept + i] = late[i];
        calls[kept + i].phase = program->phase_count - 1;
    }
    program->calls = calls;
    return waiting != 0;
}
