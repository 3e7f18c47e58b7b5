/* Orders the calls of a program and groups them into phases.
 *
 * The calls arrive in an order that is right when they run one after another. What must be kept of it: a call stays
 * behind the writer of what it reads, and a writer behind everybody who touched the buffer before it (so an update
 * in place stays behind the last reader of the old value). Calls without such a tie may share a phase.
 *
 * Between phases stands a barrier, so there are as few as the longest chain of ties has links. A call that is not
 * part of a longest chain has a choice:
 *   1. a call that makes more temporary memory than it is the last to need runs as late as it can,
 *   2. one that gives memory back or may keep some alive, as updates do, as early as it can,
 *   3. one that has to do with little memory where it fills up the phase that has the least work.
 * Deciding 1 before 2 matters: a gradient and its update follow one another at once only if the gradient is allowed
 * to be late exactly as far as its update is early. Hence the walk from the last call to the first.
 *
 * Where a description does large work block by block, so that one block at a time is in memory, few phases would do
 * all blocks side by side. So there is a second, narrow order: calls as they arrive, those that follow one another
 * in one phase if nothing ties them. It is taken where it needs far less memory. */
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

enum { LITTLE = 4096 }; /* bytes of temporaries that are not worth a thought */

/* Ties between calls: for each call, the earlier ones it must stay behind. */
typedef struct {
    uint32_t *before, count, capacity;
} Ties;

typedef struct {
    Program *program;
    Arena *arena;
    Ties *ties;
    uint32_t *earliest, *latest, *phase;
    uint32_t phase_count;
    uint32_t prepare_phases; /* the first, of the part that depends on states alone */
} Order;

static void tie(Order *order, uint32_t before, uint32_t after) {
    Ties *ties = &order->ties[after];
    for (uint32_t i = 0; i < ties->count; i++)
        if (ties->before[i] == before) return;
    ties->before = arena_grow(order->arena, ties->before, ties->count, &ties->capacity, sizeof before);
    ties->before[ties->count++] = before;
}

/* Who touched a buffer since it was last written. */
typedef struct {
    uint32_t writer; /* UINT32_MAX: nobody yet */
    uint32_t *readers, count, capacity;
} History;

static void add_reader(History *history, uint32_t call, Arena *arena) {
    history->readers = arena_grow(arena, history->readers, history->count, &history->capacity, sizeof call);
    history->readers[history->count++] = call;
}

static const Kernel *kernel_of(const Program *program, uint32_t call) {
    return &program->kernels[program->calls[call].kernel];
}

static void find_ties(Order *order) {
    const Program *program = order->program;
    History *histories = arena_array(order->arena, History, program->buffer_count + 1);
    for (uint32_t b = 0; b < program->buffer_count; b++) histories[b].writer = UINT32_MAX;
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        uint32_t inputs = kernel_of(program, c)->body->input_count, count = kernel_arg_count(kernel_of(program, c));
        for (uint32_t i = 0; i < count; i++)
            if (histories[call->args[i]].writer != UINT32_MAX) tie(order, histories[call->args[i]].writer, c);
        for (uint32_t i = inputs; i < count; i++)
            for (uint32_t r = 0; r < histories[call->args[i]].count; r++)
                tie(order, histories[call->args[i]].readers[r], c);
        for (uint32_t i = 0; i < inputs; i++) add_reader(&histories[call->args[i]], c, order->arena);
        for (uint32_t i = inputs; i < count; i++)
            histories[call->args[i]].writer = c, histories[call->args[i]].count = 0;
    }
}

static void find_earliest(Order *order) {
    for (uint32_t c = 0; c < order->program->call_count; c++) {
        bool prepares = c < order->program->prepare_calls;
        if (!prepares) order->earliest[c] = order->prepare_phases;
        for (uint32_t i = 0; i < order->ties[c].count; i++) {
            uint32_t after = order->earliest[order->ties[c].before[i]] + 1;
            if (after > order->earliest[c]) order->earliest[c] = after;
        }
        if (order->earliest[c] >= order->phase_count) order->phase_count = order->earliest[c] + 1;
        if (prepares) order->prepare_phases = order->phase_count;
    }
}

/* Bytes of temporaries. */
typedef struct {
    int64_t made;    /* those it writes, less those that no later call reads */
    int64_t touched; /* those it reads or writes */
} Traffic;

static Traffic traffic_of(const Order *order, uint32_t c, const uint32_t *last_user) {
    const Program *program = order->program;
    const Call *call = &program->calls[c];
    uint32_t inputs = kernel_of(program, c)->body->input_count, count = kernel_arg_count(kernel_of(program, c));
    Traffic traffic = {0};
    for (uint32_t i = 0; i < count; i++) {
        const Buffer *buffer = &program->buffers[call->args[i]];
        if (buffer->kind != BUFFER_temporary) continue;
        int64_t bytes = (int64_t)type_bytes_at(buffer->type, 1);
        traffic.touched += bytes;
        if (i >= inputs)
            traffic.made += bytes;
        else if (last_user[call->args[i]] == c)
            traffic.made -= bytes;
    }
    return traffic;
}

static uint32_t *find_last_users(const Order *order) {
    const Program *program = order->program;
    uint32_t *last_user = arena_array(order->arena, uint32_t, program->buffer_count + 1);
    for (uint32_t c = 0; c < program->call_count; c++) {
        uint32_t inputs = kernel_of(program, c)->body->input_count;
        for (uint32_t i = 0; i < inputs; i++) last_user[program->calls[c].args[i]] = c;
    }
    return last_user;
}

/* Walks back: when a call is decided, everything behind it is, and latest[] says how far it may go. */
static void decide_phases(Order *order, bool *is_free) {
    const Program *program = order->program;
    const uint32_t *last_user = find_last_users(order);
    for (uint32_t c = 0; c < program->call_count; c++)
        order->latest[c] = (c < program->prepare_calls ? order->prepare_phases : order->phase_count) - 1;
    for (uint32_t c = program->call_count; c--;) {
        Traffic traffic = traffic_of(order, c, last_user);
        order->phase[c] = traffic.made > 0 ? order->latest[c] : order->earliest[c];
        is_free[c] = traffic.touched <= LITTLE;
        for (uint32_t i = 0; i < order->ties[c].count; i++) {
            uint32_t *latest = &order->latest[order->ties[c].before[i]];
            if (order->phase[c] - 1 < *latest) *latest = order->phase[c] - 1;
        }
    }
}

double order_work(const Kernel *kernel) {
    double compute = kernel->flop / 50, memory = kernel->bytes / 10;
    return compute > memory ? compute : memory;
}

/* Moves calls that matter little for memory to the thinnest phase from where they are to where they may be latest;
 * latest[] still holds, since a call only ever moves back. */
static void balance(Order *order, const bool *is_free) {
    const Program *program = order->program;
    double *work = arena_array(order->arena, double, order->phase_count + 1);
    for (uint32_t c = 0; c < program->call_count; c++) work[order->phase[c]] += order_work(kernel_of(program, c));
    for (uint32_t c = program->call_count; c--;) {
        uint32_t best = order->phase[c];
        if (!is_free[c]) continue;
        work[best] -= order_work(kernel_of(program, c));
        for (uint32_t p = order->phase[c]; p <= order->latest[c]; p++)
            if (work[p] < work[best]) best = p;
        order->phase[c] = best;
        work[best] += order_work(kernel_of(program, c));
    }
}

/* Calls as they came; a call that is tied to one of the phase begins the next, and so does the first behind the prepare
 * part, whose phases are its own. */
static uint32_t decide_narrow(const Order *order, uint32_t *phase) {
    uint32_t last = 0;
    for (uint32_t c = 0; c < order->program->call_count; c++) {
        if (c && c == order->program->prepare_calls) last++;
        for (uint32_t i = 0; i < order->ties[c].count; i++)
            if (phase[order->ties[c].before[i]] == last) {
                last++;
                break;
            }
        phase[c] = last;
    }
    return last + 1;
}

/* The most bytes of temporaries that are alive in one phase. */
static int64_t most_alive(const Order *order, const uint32_t *phase, uint32_t phase_count) {
    const Program *program = order->program;
    int64_t *change = arena_array(order->arena, int64_t, phase_count + 1), alive = 0, most = 0;
    uint32_t *first = arena_array(order->arena, uint32_t, program->buffer_count + 1),
             *last = arena_array(order->arena, uint32_t, program->buffer_count + 1);
    for (uint32_t b = 0; b < program->buffer_count; b++) first[b] = UINT32_MAX;
    for (uint32_t c = 0; c < program->call_count; c++)
        for (uint32_t i = 0; i < kernel_arg_count(kernel_of(program, c)); i++) {
            uint32_t b = program->calls[c].args[i];
            if (first[b] == UINT32_MAX || phase[c] < first[b]) first[b] = phase[c];
            if (phase[c] > last[b]) last[b] = phase[c];
        }
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        if (program->buffers[b].kind != BUFFER_temporary || first[b] == UINT32_MAX) continue;
        int64_t bytes = (int64_t)type_bytes_at(program->buffers[b].type, 1);
        change[first[b]] += bytes;
        change[last[b] + 1] -= bytes;
    }
    for (uint32_t p = 0; p < phase_count; p++) {
        alive += change[p];
        if (alive > most) most = alive;
    }
    return most;
}

/* Barriers are cheap beside 32 MB that leave the caches. */
static void narrow_if_worth(Order *order) {
    enum { WORTH = 32 << 20 };
    uint32_t *narrow = arena_array(order->arena, uint32_t, order->program->call_count + 1);
    uint32_t count = decide_narrow(order, narrow);
    int64_t wide_bytes = most_alive(order, order->phase, order->phase_count),
            narrow_bytes = most_alive(order, narrow, count);
    if (wide_bytes - narrow_bytes < WORTH || narrow_bytes * 4 > wide_bytes * 3) return;
    order->phase = narrow;
    order->phase_count = count;
}

typedef struct {
    uint32_t call, phase;
} Placed;

static int by_phase(const void *x, const void *y) {
    const Placed *a = x, *b = y;
    if (a->phase != b->phase) return a->phase < b->phase ? -1 : 1;
    return a->call < b->call ? -1 : a->call > b->call;
}

static void apply(const Order *order) {
    Program *program = order->program;
    Placed *placed = arena_array(order->arena, Placed, program->call_count + 1);
    Call *calls = arena_array(order->arena, Call, program->call_count + 1);
    for (uint32_t c = 0; c < program->call_count; c++) placed[c] = (Placed){c, order->phase[c]};
    qsort(placed, program->call_count, sizeof *placed, by_phase);
    for (uint32_t c = 0; c < program->call_count; c++) {
        calls[c] = program->calls[placed[c].call];
        calls[c].phase = placed[c].phase;
    }
    if (program->call_count) memcpy(program->calls, calls, program->call_count * sizeof *calls);
    program->phase_count = order->phase_count;
}

ProgramPass pass_order;

void pass_order(Program *program, const Machine *machine) {
    Arena *arena = arena_new();
    uint32_t count = program->call_count + 1;
    Order order = {.program = program,
                   .arena = arena,
                   .ties = arena_array(arena, Ties, count),
                   .earliest = arena_array(arena, uint32_t, count),
                   .latest = arena_array(arena, uint32_t, count),
                   .phase = arena_array(arena, uint32_t, count)};
    bool *is_free = arena_array(arena, bool, count);
    (void)machine;
    find_ties(&order);
    find_earliest(&order);
    decide_phases(&order, is_free);
    balance(&order, is_free);
    narrow_if_worth(&order);
    apply(&order);
    arena_free(arena);
}
