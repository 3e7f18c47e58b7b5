/* The little that running a compiled module needs: threads, execution, random numbers, state. */
#ifndef SELFC_RUNTIME_CORE_H
#define SELFC_RUNTIME_CORE_H
#include "runtime/abi.h"

#include <stddef.h>
#include <stdio.h>

/* cpus.c: what this process may use: affinity and cgroup limits. */
int selfc_cpu_count(void);

/* threads.c: a pool whose workers spin a little before they sleep. */
typedef struct SelfcPool SelfcPool;
SelfcPool *selfc_pool_new(int threads); /* 0: selfc_cpu_count(). NULL if threads cannot be had. */
void selfc_pool_free(SelfcPool *pool);
int selfc_pool_threads(const SelfcPool *pool);
/* Runs work(context, thread, threads) on every thread of the pool, this one included; returns when all are done. */
void selfc_pool_run(SelfcPool *pool, void (*work)(void *context, int thread, int threads), void *context);
void selfc_pool_barrier(SelfcPool *pool); /* inside work: waits for all */

/* execute.c: one run of a program. io[i]: the inputs, then the outputs. arena and scratch (scratch_bytes a thread) are
 * 64-byte aligned and owned by the SelfcSession. Allocates nothing. */
/* Where the time of a program's runs goes, in seconds, added up. */
typedef struct {
    double *calls;   /* call_count: a phase's time, shared out among its calls by what they took */
    double *threads; /* call c on thread t: c * threads + t. Of the pool's threads */
    double *waits;   /* after phase p on thread t, until all had come: p * threads + t */
} SelfcTimes;

typedef struct {
    const SelfcModule *module;
    SelfcPool *pool;
    void *state; /* module->state_bytes */
    void *arena; /* grown by selfc_session_reserve */
    int64_t arena_bytes;
    void *scratch;        /* threads * module->scratch_bytes */
    SelfcTimes *times;    /* NULL, or where times are added (profile) */
} SelfcSession;
/* NULL when memory is short. States are initialised from the seed (see init.c). */
SelfcSession *selfc_session_new(const SelfcModule *module, int threads, uint64_t seed);
void selfc_session_free(SelfcSession *session);
int selfc_session_reserve(SelfcSession *session, const SelfcProgram *program, int64_t n); /* 0, or -1: no memory */
/* Whoever writes to `state` says so: what was prepared from it is then prepared again. Programs that write states do. */
void selfc_session_changed(SelfcSession *session);
/* Does what is to be done once for each change of the states, if they have changed. selfc_execute begins with it. */
void selfc_prepare(SelfcSession *session, const SelfcProgram *program);
/* What that left, prepared_bytes long. */
const void *selfc_prepared(const SelfcSession *session, const SelfcProgram *program);
void selfc_execute(SelfcSession *session, const SelfcProgram *program, void *const *io, int64_t n);
/* The same run, to the same bits, call by call on this thread. `watch` sees each call before and after it is done;
 * false ends the run there. */
typedef int SelfcWatch(void *context, const SelfcCall *call, void *const *args, int is_done);
void selfc_execute_watched(SelfcSession *session, const SelfcProgram *program, void *const *io, int64_t n,
                           SelfcWatch *watch, void *context);

const SelfcProgram *selfc_find_program(const SelfcModule *module, const char *name); /* NULL: none */
const SelfcState *selfc_find_state(const SelfcModule *module, const char *name);
size_t selfc_dtype_bytes(int32_t dtype);
const char *selfc_dtype_name(int32_t dtype);
/* Element `index` of an array of `dtype`, which needs no alignment. */
double selfc_value(const void *values, int32_t dtype, int64_t index);
int64_t selfc_tensor_elements(const SelfcTensor *tensor, int64_t n);
size_t selfc_tensor_bytes(const SelfcTensor *tensor, int64_t n);
/* Writes "f32[n,784]"; returns buffer. */
char *selfc_tensor_print(const SelfcTensor *tensor, char buffer[128]);

/* philox.c: Philox4x32-10 (Salmon et al., SC'11). The same numbers as compiled code draws. */
void selfc_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* init.c: first values of states; a function of (seed, name of the state, element) alone, shared by the threads of a pool. */
void selfc_init_states(const SelfcModule *module, void *state, uint64_t seed, SelfcPool *pool); /* pool: or NULL */

/* error.c: text of the last failure on this thread, for functions that return NULL, -1 or false. */
void selfc_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *selfc_failure(void);
#endif
