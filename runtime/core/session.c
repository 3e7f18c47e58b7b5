/* A session: one copy of a module's states, and the memory that its programs work in. All memory is had before the
 * first step; execute allocates nothing. */
#include "runtime/core/execute.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int64_t session_round(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

enum { SESSION_HUGE_PAGE = 2 << 20 };

/* What is large stands in large pages, where the system has them: fewer of them to look up, and neighbours in memory
 * stay neighbours in the cache. */
static void *session_allocate(int64_t bytes) {
    if (bytes < 64) bytes = 64;
    if (bytes < SESSION_HUGE_PAGE / 2) return aligned_alloc(64, (size_t)session_round(bytes, 64));
    size_t size = (size_t)session_round(bytes, SESSION_HUGE_PAGE);
    void *memory = aligned_alloc(SESSION_HUGE_PAGE, size);
    if (memory) madvise(memory, size, MADV_HUGEPAGE);
    return memory;
}

static int session_allocate_plan(Execution *execution, const SelfcModule *module, int threads) {
    uint32_t calls = 1, args = 1, phases = 1;
    for (uint32_t i = 0; i < module->program_count; i++)
        for (const SelfcProgram *program = &module->programs[i]; program; program = program->prepare) {
            uint32_t program_args = 0;
            for (uint32_t c = 0; c < program->call_count; c++) program_args += program->calls[c].arg_count;
            if (program->call_count > calls) calls = program->call_count;
            if (program_args > args) args = program_args;
            if (program->phase_count > phases) phases = program->phase_count;
        }
    Plan *plan = &execution->plan;
    plan->bounds = calloc((size_t)calls * ((size_t)threads + 1), sizeof *plan->bounds);
    plan->left = calloc((size_t)calls * (size_t)threads, sizeof *plan->left);
    plan->args = calloc(calls, sizeof *plan->args);
    plan->pointers = calloc(args, sizeof *plan->pointers);
    plan->phases = calloc(phases, sizeof *plan->phases);
    plan->seconds = calloc((size_t)calls * (size_t)threads, sizeof *plan->seconds);
    plan->ends = calloc((size_t)threads, sizeof *plan->ends);
    return plan->bounds && plan->left && plan->args && plan->pointers && plan->phases && plan->seconds && plan->ends;
}

void selfc_session_free(SelfcSession *session) {
    if (!session) return;
    Execution *execution = (Execution *)session;
    selfc_pool_free(session->pool);
    for (uint32_t i = 0; execution->prepared && i < session->module->program_count; i++)
        free(execution->prepared[i].memory);
    free(execution->prepared);
    free(session->state);
    free(session->arena);
    free(session->scratch);
    free(execution->plan.bounds);
    free(execution->plan.left);
    free(execution->plan.args);
    free(execution->plan.pointers);
    free(execution->plan.phases);
    free(execution->plan.seconds);
    free(execution->plan.ends);
    free(execution);
}

SelfcSession *selfc_session_new(const SelfcModule *module, int threads, uint64_t seed) {
    if (module->abi_version != SELFC_ABI_VERSION) {
        selfc_fail("compiled code of interface version %u, this runtime speaks version %d", module->abi_version,
                   SELFC_ABI_VERSION);
        return NULL;
    }
    SelfcPool *pool = selfc_pool_new(threads);
    if (!pool) return NULL;
    threads = selfc_pool_threads(pool);
    Execution *execution = calloc(1, sizeof *execution);
    if (!execution) {
        selfc_pool_free(pool);
        selfc_fail("no memory for a session");
        return NULL;
    }
    SelfcSession *session = &execution->session;
    session->module = module;
    session->pool = pool;
    execution->scratch_stride = session_round(module->scratch_bytes, 64);
    session->state = session_allocate(module->state_bytes);
    session->scratch = session_allocate(threads * execution->scratch_stride);
    execution->version = 1;
    execution->prepared = calloc(module->program_count + 1, sizeof *execution->prepared);
    if (!session->state || !session->scratch || !execution->prepared || !session_allocate_plan(execution, module, threads)) {
        selfc_session_free(session);
        selfc_fail("no memory for the model: its parameters and states take %.1f MB",
                   (double)module->state_bytes / 1e6);
        return NULL;
    }
    memset(session->state, 0, (size_t)module->state_bytes);
    selfc_init_states(module, session->state, seed, pool);
    return session;
}

static int session_fail(const SelfcProgram *program, int64_t n, int64_t bytes) {
    selfc_fail("no memory for %s on %lld samples at once: it takes %.1f MB", program->name, (long long)n,
               (double)bytes / 1e6);
    return -1;
}

int selfc_session_reserve(SelfcSession *session, const SelfcProgram *program, int64_t n) {
    int64_t per_n, bytes;
    if (n < 0 || __builtin_mul_overflow(program->arena_bytes.per_n, n, &per_n) ||
        __builtin_add_overflow(program->arena_bytes.fixed, per_n, &bytes) || bytes > INT64_MAX - 64) {
        selfc_fail("%s cannot work on %lld samples at once", program->name, (long long)n);
        return -1;
    }
    Prepared *prepared = &((Execution *)session)->prepared[program - session->module->programs];
    if (program->prepare && !prepared->memory) {
        prepared->memory = session_allocate(program->prepared_bytes);
        if (!prepared->memory) return session_fail(program, n, program->prepared_bytes);
    }
    if (session->arena && bytes <= session->arena_bytes) return 0;
    void *arena = session_allocate(bytes);
    if (!arena) return session_fail(program, n, bytes);
    free(session->arena);
    session->arena = arena;
    session->arena_bytes = bytes;
    return 0;
}
