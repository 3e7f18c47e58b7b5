/* Rematerialisation: with a limit for temporaries, forward work is done again in the backward pass instead of being
 * kept.
 *
 * The program is ordered already, so who is alive when is known to the byte, and what is computed again is a call
 * that stands twice: the same kernel on the same inputs gives the same bits, and no code is added. (On the graph,
 * fusion would have to be kept from sharing the copies, and might round them otherwise.)
 *
 * The turn is the phase behind which most bytes wait for later calls. A value of a phase up to the turn is either
 * kept or made again just before the first call behind the turn that wants it; what it is made of is kept or made
 * again, too, and then stays for its own users, so that nothing is made a third time. Which values to keep is found
 * in two steps:
 *   1. Checkpoints (Chen and others, "Training deep nets with sublinear memory cost", 2016): the forward part is cut
 *      into segments of at most so many bytes where the fewest bytes cross, and only what crosses is kept.
 *      (recompute_cut)
 *   2. While the peak allows it, what is dearest to compute for its bytes is kept after all.
 * Many sizes of segments are tried, each is replayed exactly, and the one with the least work that fits is taken; if
 * none fits, the one that needs the least memory, and whoever gave the limit says so.
 *
 * What must hold for a call to be done again: its inputs are as they were. Weights are, since updates in place come
 * behind the gradients. Averages that the forward part keeps, like those of batch norm, are written when the step
 * ends, if forward work reads them (recompute_defer.c). A call that would still come too late keeps its values. */
#include "passes/recompute.h"

#include "ir/origin.h"

#include <stdlib.h>
#include <string.h>

enum { SIZES = 32 /* of segments that are tried, each a fifth smaller than the last */, MOST_PLANS = 4 };

static int64_t bytes_of(const Program *program, uint32_t b) {
    return ((int64_t)type_bytes_at(program->buffers[b].type, 1) + 63) / 64 * 64;
}

const Kernel *recompute_kernel(const Recompute *r, uint32_t call) {
    return &r->program->kernels[r->program->calls[call].kernel];
}

bool recompute_is_candidate(const Recompute *r, uint32_t b) { return r->may[b] && r->first[b] <= r->turn; }

/* ---- what is known about the program */

static void find_lives(Recompute *r) {
    const Program *p = r->program;
    r->first = arena_array(r->arena, uint32_t, p->buffer_count + 1);
    r->last = arena_array(r->arena, uint32_t, p->buffer_count + 1);
    r->writer = arena_array(r->arena, uint32_t, p->buffer_count + 1);
    r->bytes = arena_array(r->arena, int64_t, p->buffer_count + 1);
    r->may = arena_array(r->arena, bool, p->buffer_count + 1);
    program_lives(p, r->first, r->last);
    for (uint32_t b = 0; b < p->buffer_count; b++) {
        r->may[b] = p->buffers[b].kind == BUFFER_temporary;
        r->writer[b] = NO_CALL;
        if (r->may[b]) r->bytes[b] = bytes_of(p, b);
    }
    for (uint32_t c = 0; c < p->call_count; c++) {
        const Kernel *kernel = recompute_kernel(r, c);
        for (uint32_t i = kernel->body->input_count; i < kernel_arg_count(kernel); i++) {
            uint32_t b = p->calls[c].args[i];
            if (r->writer[b] != NO_CALL) r->may[b] = false; /* updated in place */
            r->writer[b] = c;
        }
    }
}

/* From which phase on an input of the call is no longer what it read. */
static void find_until(Recompute *r) {
    const Program *p = r->program;
    uint32_t *next = arena_array(r->arena, uint32_t, p->buffer_count + 1); /* the next phase that writes the buffer */
    r->until = arena_array(r->arena, uint32_t, p->call_count + 1);
    memset(next, 0xff, (p->buffer_count + 1) * sizeof *next);
    for (uint32_t c = p->call_count; c--;) {
        const Call *call = &p->calls[c];
        uint32_t inputs = recompute_kernel(r, c)->body->input_count, count = kernel_arg_count(recompute_kernel(r, c));
        for (uint32_t i = inputs; i < count; i++) next[call->args[i]] = call->phase;
        r->until[c] = UINT32_MAX;
        for (uint32_t i = 0; i < inputs; i++)
            if (next[call->args[i]] < r->until[c]) r->until[c] = next[call->args[i]];
    }
}

/* The phase behind which most bytes wait; values that are little against them are always kept. */
static void find_turn(Recompute *r) {
    const Program *p = r->program;
    int64_t *waiting = arena_array(r->arena, int64_t, p->phase_count + 2), now = 0, most = -1;
    for (uint32_t b = 0; b < p->buffer_count; b++) {
        if (r->first[b] >= r->last[b]) continue;
        waiting[r->first[b]] += r->bytes[b];
        waiting[r->last[b]] -= r->bytes[b];
    }
    for (uint32_t phase = 0; phase < p->phase_count; phase++) {
        now += waiting[phase];
        if (now > most) most = now, r->turn = phase;
    }
    r->little = most / 1000;
    for (uint32_t b = 0; b < p->buffer_count; b++) r->may[b] &= r->bytes[b] > r->little;
}

static void learn(Recompute *r) {
    find_lives(r);
    find_until(r);
    find_turn(r);
}

/* ---- a selection, replayed */

typedef struct {
    uint32_t call, phase, *args;
    bool is_again;
} Step;

typedef struct {
    Step *steps;
    uint32_t count, phase_count;
    uint32_t *source; /* of each buffer: itself, or the one that it is made in place of */
    uint32_t buffer_count;
    int64_t peak;
    double work;                 /* of what is done again */
    uint32_t too_late;           /* a value that can no longer be made where it is wanted; NO_CALL: none */
    uint32_t *copy, *args, used; /* of each old buffer, where it is now; memory for the steps' arguments */
    uint32_t *first, *last;
    int64_t *live;
} Replay;

static Replay *replay_new(const Recompute *r) {
    const Program *p = r->program;
    Arena *a = r->arena;
    uint32_t args = 0;
    for (uint32_t c = 0; c < p->call_count; c++) args += kernel_arg_count(recompute_kernel(r, c));
    size_t buffers = (size_t)p->buffer_count + args + 1;
    Replay *replay = arena_array(a, Replay, 1);
    replay->steps = arena_array(a, Step, 2 * (size_t)p->call_count + 1);
    replay->args = arena_array(a, uint32_t, 2 * (size_t)args + 1);
    replay->copy = arena_array(a, uint32_t, p->buffer_count + 1);
    replay->source = arena_array(a, uint32_t, buffers);
    replay->first = arena_array(a, uint32_t, buffers);
    replay->last = arena_array(a, uint32_t, buffers);
    replay->live = arena_array(a, int64_t, (size_t)p->phase_count + p->call_count + 2);
    for (uint32_t b = 0; b < p->buffer_count; b++) replay->source[b] = b;
    return replay;
}

static void touch(Replay *replay, uint32_t b) {
    if (replay->phase_count < replay->first[b]) replay->first[b] = replay->phase_count;
    if (replay->phase_count > replay->last[b]) replay->last[b] = replay->phase_count;
}

static uint32_t place_again(Replay *replay, uint32_t b, bool is_again) {
    uint32_t made = replay->buffer_count++;
    replay->source[made] = b;
    replay->first[made] = UINT32_MAX;
    replay->last[made] = 0;
    if (is_again) replay->copy[b] = made;
    return made;
}

/* The call in the phase that is being filled. Done again, it leaves what it has written before alone. */
static void put_step(const Recompute *r, const bool *again, Replay *replay, uint32_t call, bool is_again) {
    uint32_t inputs = recompute_kernel(r, call)->body->input_count, count = kernel_arg_count(recompute_kernel(r, call));
    Step *step = &replay->steps[replay->count++];
    *step = (Step){call, replay->phase_count, replay->args + replay->used, is_again};
    replay->used += count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t b = r->program->calls[call].args[i];
        if (is_again && i >= inputs)
            b = place_again(replay, b, again[b]);
        else if (i < inputs && replay->copy[b] != NO_CALL)
            b = replay->copy[b];
        step->args[i] = b;
        touch(replay, b);
    }
}

/* Makes value b again, and before it what it is made of. phase: of the first call that wants it. */
static void make(const Recompute *r, const bool *again, Replay *replay, uint32_t b, uint32_t phase) {
    if (!again[b] || replay->copy[b] != NO_CALL || replay->too_late != NO_CALL) return;
    uint32_t call = r->writer[b];
    if (r->until[call] < phase) {
        replay->too_late = b;
        return;
    }
    for (uint32_t i = 0; i < recompute_kernel(r, call)->body->input_count; i++)
        make(r, again, replay, r->program->calls[call].args[i], phase);
    if (replay->too_late != NO_CALL || replay->copy[b] != NO_CALL) return;
    put_step(r, again, replay, call, true);
    replay->phase_count++;
    replay->work += order_work(recompute_kernel(r, call));
}

static void find_peak(const Recompute *r, Replay *replay) {
    int64_t now = 0;
    memset(replay->live, 0, (replay->phase_count + 2) * sizeof *replay->live);
    for (uint32_t b = 0; b < replay->buffer_count; b++) {
        uint32_t source = replay->source[b];
        int64_t bytes = r->bytes[source];
        if (b != source && !bytes) bytes = bytes_of(r->program, source); /* takes what an output got before */
        if (replay->first[b] > replay->last[b]) continue;
        replay->live[replay->first[b]] += bytes;
        replay->live[replay->last[b] + 1] -= bytes;
    }
    replay->peak = 0;
    for (uint32_t phase = 0; phase < replay->phase_count; phase++) {
        now += replay->live[phase];
        if (now > replay->peak) replay->peak = now;
    }
}

static void replay_once(const Recompute *r, const bool *again, Replay *replay) {
    const Program *p = r->program;
    replay->count = replay->phase_count = replay->used = 0;
    replay->buffer_count = p->buffer_count;
    replay->work = 0;
    replay->too_late = NO_CALL;
    for (uint32_t b = 0; b < p->buffer_count; b++)
        replay->copy[b] = NO_CALL, replay->first[b] = UINT32_MAX, replay->last[b] = 0;
    for (uint32_t c = 0, end; c < p->call_count && replay->too_late == NO_CALL; c = end) {
        uint32_t phase = p->calls[c].phase;
        for (end = c; end < p->call_count && p->calls[end].phase == phase; end++)
            for (uint32_t i = 0; phase > r->turn && i < recompute_kernel(r, end)->body->input_count; i++)
                make(r, again, replay, p->calls[end].args[i], phase);
        for (uint32_t k = c; k < end; k++) put_step(r, again, replay, k, false);
        replay->phase_count++;
    }
    if (replay->too_late == NO_CALL) find_peak(r, replay);
}

/* Plays the program with what is marked made again; marks that cannot be are taken back. */
static void replay_run(const Recompute *r, bool *again, Replay *replay) {
    while (replay_once(r, again, replay), replay->too_late != NO_CALL) {
        uint32_t call = r->writer[replay->too_late];
        for (uint32_t b = 0; b < r->program->buffer_count; b++)
            if (r->writer[b] == call) again[b] = r->may[b] = false;
    }
}

/* ---- the search */

typedef struct {
    double worth; /* time saved for a byte kept */
    uint32_t call;
} Keep;

static int by_worth(const void *x, const void *y) {
    const Keep *a = x, *b = y;
    if (a->worth != b->worth) return a->worth > b->worth ? -1 : 1;
    return a->call < b->call ? -1 : a->call > b->call;
}

/* Calls of which something is made again, the dearest for its bytes first. */
static uint32_t list_keeps(const Recompute *r, const bool *again, Keep *keeps) {
    uint32_t count = 0;
    for (uint32_t c = 0; c < r->program->call_count; c++) {
        int64_t bytes = 0;
        const Kernel *kernel = recompute_kernel(r, c);
        for (uint32_t i = kernel->body->input_count; i < kernel_arg_count(kernel); i++) {
            uint32_t b = r->program->calls[c].args[i];
            if (again[b]) bytes += r->bytes[b];
        }
        if (bytes) keeps[count++] = (Keep){order_work(kernel) / (double)bytes, c};
    }
    qsort(keeps, count, sizeof *keeps, by_worth);
    return count;
}

static void mark_outputs(const Recompute *r, uint32_t call, bool *again, bool value) {
    const Kernel *kernel = recompute_kernel(r, call);
    for (uint32_t i = kernel->body->input_count; i < kernel_arg_count(kernel); i++) {
        uint32_t b = r->program->calls[call].args[i];
        again[b] = value && recompute_is_candidate(r, b);
    }
}

/* Keeps what is dear while the peak stays below the limit, or at least grows no further. */
static void keep_dear(const Recompute *r, bool *again, Replay *replay, Keep *keeps, int64_t limit) {
    uint32_t count = list_keeps(r, again, keeps);
    bool *before = arena_array(r->arena, bool, r->program->buffer_count + 1);
    for (uint32_t i = 0; i < count; i++) {
        int64_t peak = replay->peak;
        double work = replay->work;
        memcpy(before, again, r->program->buffer_count * sizeof *before);
        mark_outputs(r, keeps[i].call, again, false);
        replay_run(r, again, replay);
        if (replay->work < work && replay->peak <= (peak > limit ? peak : limit)) continue;
        memcpy(again, before, r->program->buffer_count * sizeof *before);
        replay->peak = peak;
        replay->work = work;
    }
    replay_run(r, again, replay);
}

static bool is_better(const Replay *replay, int64_t peak, double work, int64_t limit) {
    bool fits = replay->peak <= limit, fitted = peak <= limit;
    if (fits != fitted) return fits;
    if (fits ? replay->work != work : replay->peak == peak) return replay->work < work;
    return replay->peak < peak;
}

/* The best selection for a limit of the bytes alive at once, in best[], replayed. Nothing done again is one, too. */
static void search(const Recompute *r, int64_t limit, bool *best, Replay *replay) {
    uint32_t buffers = r->program->buffer_count;
    bool *again = arena_array(r->arena, bool, buffers + 1), *cut = arena_array(r->arena, bool, buffers + 1);
    Keep *keeps = arena_array(r->arena, Keep, r->program->call_count + 1);
    memset(best, 0, buffers * sizeof *best);
    replay_run(r, best, replay);
    int64_t peak = replay->peak;
    double size = (double)recompute_total(r), work = 0;
    for (int i = 0; i < SIZES; i++, size *= 0.8) {
        recompute_cut(r, (int64_t)size, again);
        if (!memcmp(cut, again, buffers * sizeof *cut)) continue;
        memcpy(cut, again, buffers * sizeof *cut);
        replay_run(r, again, replay);
        keep_dear(r, again, replay, keeps, limit);
        if (!is_better(replay, peak, work, limit)) continue;
        peak = replay->peak;
        work = replay->work;
        memcpy(best, again, buffers * sizeof *best);
    }
    replay_run(r, best, replay);
}

/* ---- the program that comes out */

/* Buffers, calls and phases as they were replayed; kernels are shared. */
static void apply(const Recompute *r, const Replay *replay, Program *program) {
    const Program *from = r->program;
    Arena *arena = program->arena;
    Buffer *buffers = arena_array(arena, Buffer, replay->buffer_count + 1);
    Call *calls = arena_array(arena, Call, replay->count + 1);
    for (uint32_t b = 0; b < replay->buffer_count; b++) {
        buffers[b] = from->buffers[replay->source[b]];
        if (b >= from->buffer_count) buffers[b] = (Buffer){.kind = BUFFER_temporary, .type = buffers[b].type};
    }
    for (uint32_t s = 0; s < replay->count; s++) {
        const Step *step = &replay->steps[s];
        uint32_t count = kernel_arg_count(recompute_kernel(r, step->call));
        calls[s] = from->calls[step->call];
        calls[s].phase = step->phase;
        calls[s].args = arena_array(arena, uint32_t, count + 1);
        memcpy(calls[s].args, step->args, count * sizeof *step->args);
        if (step->is_again) calls[s].origin = origin_again(arena, calls[s].origin);
    }
    program->buffers = buffers;
    program->buffer_count = program->buffer_capacity = replay->buffer_count;
    program->calls = calls;
    program->call_count = program->call_capacity = replay->count;
    program->phase_count = replay->phase_count;
}

ProgramPass pass_recompute, pass_plan;

/* Bytes of the arena when the program is planned. */
static int64_t planned(const Program *program, const Machine *machine, Arena *arena) {
    Program trial = *program;
    trial.buffers = arena_array(arena, Buffer, program->buffer_count + 1);
    if (program->buffer_count) memcpy(trial.buffers, program->buffers, program->buffer_count * sizeof *trial.buffers);
    pass_plan(&trial, machine);
    return extent_at(trial.arena_size, 1);
}

static int64_t planned_replay(const Recompute *r, const Replay *replay, const Machine *machine) {
    Program trial = *r->program;
    trial.arena = r->arena;
    apply(r, replay, &trial);
    return planned(&trial, machine, r->arena);
}

/* A plan may be a little larger than what is alive at once: then less must be. */
static void find_fitting(const Recompute *r, Replay *replay, const Machine *machine) {
    bool *again = arena_array(r->arena, bool, r->program->buffer_count + 1);
    int64_t target = machine->memory, arena = 0;
    for (int i = 0; i < MOST_PLANS && target > 0; i++, target -= arena - machine->memory) {
        search(r, target, again, replay);
        if (replay->peak > target) break;
        arena = planned_replay(r, replay, machine);
        if (arena <= machine->memory) return;
    }
    search(r, 0, again, replay);
}

void pass_recompute(Program *program, const Machine *machine) {
    if (!machine->memory || !program->phase_count) return;
    if (program->prepare_calls) return; /* made without a limit in mind: no step, and nothing of it may move */
    Arena *arena = arena_new();
    if (planned(program, machine, arena) > machine->memory) {
        Program before = *program;
        Recompute r = {.program = &before, .arena = arena};
        learn(&r);
        if (recompute_defer(&r, &before)) learn(&r);
        Replay *replay = replay_new(&r);
        find_fitting(&r, replay, machine);
        apply(&r, replay, program);
    }
    arena_free(arena);
}
