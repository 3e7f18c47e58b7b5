/* One run of a program: one fork of the pool; in each phase every thread does its share of the pieces of the phase's
 * calls, then all meet at a barrier.
 *
 * The shares are planned once for a program and batch size. The pieces of a phase stand in one row, as long as their
 * work, and each thread takes a stretch of it: neighbours in memory stay with one thread from phase to phase,
 * and nobody asks for each piece. In long phases a thread takes half of what is left of its stretch at a time, and who
 * is done takes from the end of the others' stretches: a thread that another program holds up, or that the memory
 * serves badly, is not waited for longer than a piece lasts. Phases that are too small to be worth a second thread stay
 * with the first, and between phases of one and the same thread there is no barrier. Which thread does a piece never
 * changes what it computes: pieces are cut by the shape alone. */
#include "runtime/core/execute.h"

#include <time.h>

/* Work is counted in nanoseconds on one thread, roughly: at 100 GFLOP/s and 20 GB/s. */
static const double execute_nanoseconds_per_flop = 0.01, execute_nanoseconds_per_byte = 0.05;
/* A phase shorter than this is not worth the barriers around a second thread. */
static const double execute_smallest_share = 500;
/* In a phase shorter than this, helping costs as much as waiting. */
static const double execute_smallest_help = 20000;

static int64_t execute_pieces(const SelfcCall *call, int64_t n) {
    int64_t pieces = 1;
    for (uint32_t i = 0; i < call->grid_rank; i++) {
        int64_t extent = call->grid[i].extent, block = call->grid[i].block;
        if (extent < 0) extent = -extent * n;
        if (extent == 0) return 0;
        if (block > 0) pieces *= (extent + block - 1) / block;
    }
    return pieces;
}

static double execute_call_work(const SelfcCall *call, const SelfcProgram *program, int64_t n) {
    double flop = call->flop * execute_nanoseconds_per_flop, bytes = call->bytes * execute_nanoseconds_per_byte;
    double work = flop > bytes ? flop : bytes;
    if (program->batch == 0 && n > 1) work *= (double)n;
    return work > 1 ? work : 1;
}

/* The piece of a call at which the row of work is at `position`; the same for both neighbours of a bound. */
static int64_t execute_piece_at(double position, double before, double work, int64_t pieces) {
    double piece = (position - before) / work * (double)pieces + 0.4999; /* halves go down, as schedules assume */
    if (piece <= 0) return 0;
    return piece >= (double)pieces ? pieces : (int64_t)piece;
}

static void execute_plan_phase(Plan *plan, Phase *phase, int threads) {
    const SelfcProgram *program = plan->program;
    double total = 0;
    for (uint32_t c = phase->first_call; c < phase->end_call; c++)
        total += execute_call_work(&program->calls[c], program, plan->n);
    int sharing = total < 2 * execute_smallest_share ? 1 : threads;
    phase->is_shared = threads > 1 && total >= execute_smallest_help;
    double before = 0;
    for (uint32_t c = phase->first_call; c < phase->end_call; c++) {
        int64_t pieces = execute_pieces(&program->calls[c], plan->n);
        double work = execute_call_work(&program->calls[c], program, plan->n);
        int64_t *bounds = &plan->bounds[(size_t)c * ((size_t)threads + 1)];
        bounds[0] = 0;
        for (int t = 1; t < threads; t++)
            bounds[t] = t >= sharing ? pieces : execute_piece_at(total * t / sharing, before, work, pieces);
        bounds[threads] = pieces;
        phase->is_shared &= pieces < UINT32_MAX;
        before += work;
    }
}

/* The only thread that has work in the phase; -1 if there are several; -2 if there is none. */
static int execute_only_thread(const Plan *plan, const Phase *phase, int threads) {
    int only = -2;
    for (uint32_t c = phase->first_call; c < phase->end_call; c++) {
        const int64_t *bounds = &plan->bounds[(size_t)c * ((size_t)threads + 1)];
        for (int t = 0; t < threads; t++) {
            if (bounds[t] == bounds[t + 1] || only == t) continue;
            if (only != -2) return -1;
            only = t;
        }
    }
    return only;
}

/* After the last phase stands the barrier that ends the fork. */
static void execute_plan_barriers(Plan *plan, int threads) {
    uint32_t count = plan->program->phase_count;
    int current = -2;
    for (uint32_t p = 0; p < count; p++) {
        int only = execute_only_thread(plan, &plan->phases[p], threads);
        if (only != -1) plan->phases[p].is_shared = false; /* who helped would not have waited for the phase before */
        if (p > 0)
            plan->phases[p - 1].barrier_after =
                threads > 1 && only != -2 && current != -2 && (only == -1 || only != current);
        if (only != -2) current = only;
        plan->phases[p].barrier_after = false;
    }
}

static void execute_plan(Plan *plan, const SelfcProgram *program, int64_t n, int threads) {
    plan->program = program;
    plan->n = n;
    uint32_t call = 0;
    for (uint32_t p = 0; p < program->phase_count; p++) {
        Phase *phase = &plan->phases[p];
        phase->first_call = call;
        while (call < program->call_count && program->calls[call].phase == p) call++;
        phase->end_call = call;
        execute_plan_phase(plan, phase, threads);
    }
    execute_plan_barriers(plan, threads);
}

static void execute_bind(Execution *execution, const SelfcProgram *program, void *prepared, void *const *io,
                         int64_t n) {
    void **pointer = execution->plan.pointers;
    char *base[2] = {execution->session.state, execution->session.arena};
    for (uint32_t c = 0; c < program->call_count; c++) {
        const SelfcCall *call = &program->calls[c];
        execution->plan.args[c] = pointer;
        for (uint32_t a = 0; a < call->arg_count; a++) {
            const SelfcArg *arg = &call->args[a];
            char *start = arg->base == SELFC_PREPARED ? prepared : arg->base < 2 ? base[arg->base] : io[arg->base - 2];
            *pointer++ = start + arg->offset.fixed + arg->offset.per_n * n;
        }
    }
}

static double execute_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

typedef enum { FROM_FRONT, FROM_END } Side;

/* Takes half of what is left, rounded up: how many pieces, the first of them in *first. */
static int64_t execute_take(atomic_uint_fast64_t *left, Side side, int64_t *first) {
    uint_fast64_t before = atomic_load_explicit(left, memory_order_relaxed), after;
    int64_t begin, end, count;
    do {
        begin = (int64_t)(before & UINT32_MAX), end = (int64_t)(before >> 32);
        if (begin >= end) return 0;
        count = (end - begin + 1) / 2;
        *first = side == FROM_FRONT ? begin : end - count;
        if (side == FROM_FRONT)
            begin += count;
        else
            end -= count;
        after = (uint_fast64_t)begin | (uint_fast64_t)end << 32;
    } while (!atomic_compare_exchange_weak_explicit(left, &before, after, memory_order_relaxed, memory_order_relaxed));
    return count;
}

static void execute_fill(const Plan *plan, size_t threads) {
    for (uint32_t c = 0; c < plan->program->call_count; c++)
        for (size_t t = 0; t < threads; t++) {
            const int64_t *bounds = &plan->bounds[c * (threads + 1) + t];
            uint_fast64_t range = (uint_fast64_t)bounds[0] | (uint_fast64_t)bounds[1] << 32;
            atomic_store_explicit(&plan->left[c * threads + t], range, memory_order_relaxed);
        }
}

/* What one thread knows of its run. */
typedef struct {
    const Execution *execution;
    size_t thread, threads;
    void *scratch;
} Worker;

static void execute_pieces_of(const Worker *w, uint32_t c, int64_t first, int64_t end) {
    const Plan *plan = &w->execution->plan;
    const bool is_timed = w->execution->session.times != NULL;
    double start = is_timed ? execute_clock() : 0;
    plan->program->calls[c].run(plan->args[c], plan->n, first, end, w->scratch);
    if (is_timed) plan->seconds[c * w->threads + w->thread] += execute_clock() - start;
}

static void execute_stretch(const Worker *w, uint32_t c, size_t of, Side side) {
    int64_t first, count;
    while ((count = execute_take(&w->execution->plan.left[c * w->threads + of], side, &first)))
        execute_pieces_of(w, c, first, first + count);
}

static void execute_phase(const Worker *w, const Phase *phase) {
    for (uint32_t c = phase->first_call; c < phase->end_call; c++) {
        const int64_t *bounds = &w->execution->plan.bounds[c * (w->threads + 1) + w->thread];
        if (bounds[0] == bounds[1]) continue;
        if (phase->is_shared)
            execute_stretch(w, c, w->thread, FROM_FRONT);
        else
            execute_pieces_of(w, c, bounds[0], bounds[1]);
    }
    for (size_t step = 1; phase->is_shared && step < w->threads; step++)
        for (uint32_t c = phase->end_call; c-- > phase->first_call;)
            execute_stretch(w, c, (w->thread + step) % w->threads, FROM_END);
}

static void execute_share(void *context, int thread, int threads) {
    Execution *execution = context;
    const Plan *plan = &execution->plan;
    const SelfcProgram *program = plan->program;
    SelfcTimes *times = execution->session.times;
    size_t own = (size_t)thread, stride = (size_t)threads;
    Worker worker = {execution, own, stride, (char *)execution->session.scratch + thread * execution->scratch_stride};
    for (uint32_t p = 0; p < program->phase_count; p++) {
        const Phase *phase = &plan->phases[p];
        execute_phase(&worker, phase);
        if (!phase->barrier_after) continue;
        double start = times ? execute_clock() : 0;
        selfc_pool_barrier(execution->session.pool);
        if (times) times->waits[p * stride + own] += execute_clock() - start;
    }
    if (times) plan->ends[own] = execute_clock();
}

/* A phase lasts as long as its slowest thread; its calls divide that time by what each of them took on all threads. */
static void execute_add_phase_times(Execution *execution, const Phase *phase, size_t threads) {
    const SelfcTimes *times = execution->session.times;
    double *seconds = execution->plan.seconds, slowest = 0, sum = 0;
    for (size_t t = 0; t < threads; t++) {
        double busy = 0;
        for (uint32_t c = phase->first_call; c < phase->end_call; c++) busy += seconds[c * threads + t];
        slowest = busy > slowest ? busy : slowest;
        sum += busy;
    }
    for (uint32_t c = phase->first_call; c < phase->end_call; c++) {
        for (size_t t = 0; t < threads; t++) {
            double *spent = &seconds[c * threads + t];
            if (sum > 0) times->calls[c] += *spent * slowest / sum;
            times->threads[c * threads + t] += *spent;
            *spent = 0;
        }
    }
}

static void execute_add_times(Execution *execution, size_t threads) {
    const Plan *plan = &execution->plan;
    uint32_t phases = plan->program->phase_count;
    double now = execute_clock();
    for (uint32_t p = 0; p < phases; p++) execute_add_phase_times(execution, &plan->phases[p], threads);
    for (size_t t = 0; phases && t < threads; t++)
        execution->session.times->waits[(phases - 1) * threads + t] += now - plan->ends[t];
}

static void execute_run(Execution *execution, const SelfcProgram *program, void *prepared, void *const *io, int64_t n) {
    SelfcSession *session = &execution->session;
    int threads = selfc_pool_threads(session->pool);
    if (execution->plan.program != program || execution->plan.n != n)
        execute_plan(&execution->plan, program, n, threads);
    execute_bind(execution, program, prepared, io, n);
    execute_fill(&execution->plan, (size_t)threads);
    selfc_pool_run(session->pool, execute_share, execution);
    if (session->times) execute_add_times(execution, (size_t)threads);
}

void selfc_session_changed(SelfcSession *session) { ((Execution *)session)->version++; }

static Prepared *execute_prepared(const SelfcSession *session, const SelfcProgram *program) {
    return &((const Execution *)session)->prepared[program - session->module->programs];
}

const void *selfc_prepared(const SelfcSession *session, const SelfcProgram *program) {
    return execute_prepared(session, program)->memory;
}

/* Its time is nobody's: it is no part of a run. */
void selfc_prepare(SelfcSession *session, const SelfcProgram *program) {
    Execution *execution = (Execution *)session;
    Prepared *prepared = execute_prepared(session, program);
    if (!program->prepare || prepared->version == execution->version) return;
    SelfcTimes *times = session->times;
    session->times = NULL;
    execute_run(execution, program->prepare, prepared->memory, NULL, 1);
    session->times = times;
    prepared->version = execution->version;
}

void selfc_execute(SelfcSession *session, const SelfcProgram *program, void *const *io, int64_t n) {
    selfc_prepare(session, program);
    execute_run((Execution *)session, program, execute_prepared(session, program)->memory, io, n);
    if (program->changes_states) selfc_session_changed(session);
}

/* Calls stand in order of phase, and those of one phase do not depend on one another. */
void selfc_execute_watched(SelfcSession *session, const SelfcProgram *program, void *const *io, int64_t n,
                           SelfcWatch *watch, void *context) {
    Execution *execution = (Execution *)session;
    selfc_prepare(session, program);
    if (program->changes_states) selfc_session_changed(session);
    execute_bind(execution, program, execute_prepared(session, program)->memory, io, n);
    for (uint32_t c = 0; c < program->call_count; c++) {
        const SelfcCall *call = &program->calls[c];
        void *const *args = execution->plan.args[c];
        if (!watch(context, call, args, 0)) return;
        call->run(args, n, 0, execute_pieces(call, n), session->scratch);
        if (!watch(context, call, args, 1)) return;
    }
}
