/* A pool of threads for steps that take less than a millisecond. Waking a sleeping thread costs more than many
 * kernels, so who waits spins first, and sleeps when nothing came for a while: a training loop never sleeps, an idle
 * process costs nothing. Where other programs want the CPUs too, two threads of the pool may have to share one, and who
 * spins keeps from working the one that he waits for: so patience halves whenever it was in vain, and
 * doubles when it was not. With more threads than CPUs everyone sleeps at once.
 *
 * Everything is built from one thing, a Gate: a number that only grows, and a way to wait until it is no longer what
 * it was. Sleepers announce themselves before they look at the number for the last time, and who opens the
 * gate looks for sleepers after changing it; with sequential consistency one of them sees the other. */
#include "runtime/core/core.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SPIN_MOST = 50000, SPIN_LEAST = 1500 /* nanoseconds */, SPINS_BETWEEN_CLOCKS = 16, THREADS_MOST = 4096 };

/* How long this thread spins before it sleeps, in nanoseconds. */
static _Thread_local int64_t spin_patience = SPIN_MOST;

typedef struct {
    _Alignas(64) atomic_uint number;
    atomic_uint sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t opened;
} Gate;

struct SelfcPool {
    Gate start;   /* opened for each run, and to end */
    Gate barrier; /* opened by the last to arrive */
    _Alignas(64) atomic_int arrived;
    void (*work)(void *context, int thread, int threads); /* NULL: end */
    void *context;
    int threads, created, spins;
    struct Worker {
        SelfcPool *pool;
        pthread_t thread;
        int number;
    } *workers;
};

static inline void gate_pause(void) {
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb");
#endif
}

static int64_t gate_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void gate_init(Gate *gate) {
    atomic_init(&gate->number, 0);
    atomic_init(&gate->sleepers, 0);
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->opened, NULL);
}

static void gate_destroy(Gate *gate) {
    pthread_mutex_destroy(&gate->mutex);
    pthread_cond_destroy(&gate->opened);
}

static void gate_open(Gate *gate) {
    atomic_fetch_add(&gate->number, 1);
    if (atomic_load(&gate->sleepers) == 0) return;
    pthread_mutex_lock(&gate->mutex);
    pthread_cond_broadcast(&gate->opened);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_sleep(Gate *gate, unsigned seen) {
    pthread_mutex_lock(&gate->mutex);
    atomic_fetch_add(&gate->sleepers, 1);
    while (atomic_load(&gate->number) == seen) pthread_cond_wait(&gate->opened, &gate->mutex);
    atomic_fetch_sub(&gate->sleepers, 1);
    pthread_mutex_unlock(&gate->mutex);
}

/* Whether the number changed before patience ran out. */
static bool gate_spin(Gate *gate, unsigned seen) {
    int64_t until = 0, patience = spin_patience;
    for (int i = 1;; i++) {
        if (atomic_load_explicit(&gate->number, memory_order_acquire) != seen) break;
        gate_pause();
        if (i % SPINS_BETWEEN_CLOCKS) continue;
        int64_t now = gate_clock();
        if (!until) until = now + patience;
        if (now <= until) continue;
        spin_patience = patience / 2 > SPIN_LEAST ? patience / 2 : SPIN_LEAST;
        return false;
    }
    spin_patience = 2 * patience < SPIN_MOST ? 2 * patience : SPIN_MOST;
    return true;
}

/* Returns when the number is no longer `seen`. */
static void gate_wait(Gate *gate, unsigned seen, int spins) {
    if (spins && gate_spin(gate, seen)) return;
    gate_sleep(gate, seen);
}

void selfc_pool_barrier(SelfcPool *pool) {
    if (pool->threads == 1) return;
    unsigned seen = atomic_load_explicit(&pool->barrier.number, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 == pool->threads) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        gate_open(&pool->barrier);
    } else {
        gate_wait(&pool->barrier, seen, pool->spins);
    }
}

static void *threads_worker(void *argument) {
    struct Worker *worker = argument;
    SelfcPool *pool = worker->pool;
    for (unsigned run = 0;; run++) {
        gate_wait(&pool->start, run, pool->spins);
        if (!pool->work) return NULL;
        pool->work(pool->context, worker->number, pool->threads);
        selfc_pool_barrier(pool);
    }
}

void selfc_pool_run(SelfcPool *pool, void (*work)(void *context, int thread, int threads), void *context) {
    if (pool->threads == 1) {
        work(context, 0, 1);
        return;
    }
    pool->work = work;
    pool->context = context;
    gate_open(&pool->start);
    work(context, 0, pool->threads);
    selfc_pool_barrier(pool);
}

int selfc_pool_threads(const SelfcPool *pool) { return pool->threads; }

void selfc_pool_free(SelfcPool *pool) {
    if (!pool) return;
    pool->work = NULL;
    gate_open(&pool->start);
    for (int i = 0; i < pool->created; i++) pthread_join(pool->workers[i].thread, NULL);
    gate_destroy(&pool->start);
    gate_destroy(&pool->barrier);
    free(pool->workers);
    free(pool);
}

SelfcPool *selfc_pool_new(int threads) {
    int cpus = selfc_cpu_count();
    if (threads == 0) threads = cpus;
    if (threads < 1 || threads > THREADS_MOST) {
        selfc_fail("%d threads: must be between 1 and %d", threads, THREADS_MOST);
        return NULL;
    }
    SelfcPool *pool = aligned_alloc(_Alignof(SelfcPool), sizeof *pool);
    struct Worker *workers = calloc((size_t)threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        selfc_fail("no memory for %d threads", threads);
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    *pool = (SelfcPool){.threads = threads, .spins = threads <= cpus, .workers = workers};
    gate_init(&pool->start);
    gate_init(&pool->barrier);
    for (int i = 0; i < threads - 1; i++) {
        workers[i] = (struct Worker){.pool = pool, .number = i + 1};
        int error = pthread_create(&workers[i].thread, NULL, threads_worker, &workers[i]);
        if (error) {
            selfc_pool_free(pool);
            selfc_fail("cannot start thread %d of %d: %s", i + 2, threads, strerror(error));
            return NULL;
        }
        pool->created++;
    }
    return pool;
}
