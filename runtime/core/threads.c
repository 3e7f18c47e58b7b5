/* A pool of threads for steps that take less than a millisecond. Waking a sleeping thread costs more than many
 * kernels, so who waits spins first, and sleeps when nothing came for SPIN_NANOSECONDS: a training loop never sleeps,
 * an idle process costs nothing. With more threads than CPUs everyone sleeps at once; and where other programs have
 * pushed two threads of the pool onto one CPU, who finds another's last place to be his own sleeps, too, since
 * spinning would keep that one from working. (Less patience after waits in vain would seem simpler, but feeds
 * itself: a thread that must be woken is late, so the next one goes to sleep.)
 *
 * Everything is built from one thing, a Gate: a number that only grows, and a way to wait until it is no longer what
 * it was. Sleepers announce themselves before they look at the number for the last time, and who opens the
 * gate looks for sleepers after changing it; with sequential consistency one of them sees the other. */
#include "runtime/core/core.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SPIN_NANOSECONDS = 50000, SPINS_BETWEEN_CLOCKS = 64, THREADS_MOST = 4096 };

typedef struct {
    _Alignas(64) atomic_uint number;
    atomic_uint sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t opened;
} Gate;

/* The CPU that a thread was last seen on; -1: none yet. A line of the cache for each. */
typedef struct {
    _Alignas(64) atomic_int cpu;
} Place;

struct SelfcPool {
    Gate start;   /* opened for each run, and to end */
    Gate barrier; /* opened by the last to arrive */
    _Alignas(64) atomic_int arrived;
    void (*work)(void *context, int thread, int threads); /* NULL: end */
    void *context;
    int threads, created;
    bool spins;    /* there are CPUs for all */
    Place *places; /* of each thread */
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
    int64_t until = 0;
    for (int i = 1;; i++) {
        if (atomic_load_explicit(&gate->number, memory_order_acquire) != seen) return true;
        gate_pause();
        if (i % SPINS_BETWEEN_CLOCKS) continue;
        int64_t now = gate_clock();
        if (!until) until = now + SPIN_NANOSECONDS;
        if (now > until) return false;
    }
}

/* Of this thread in its pool; 0 where it is the one that called. */
static _Thread_local int thread_number;

/* Whether it makes sense to wait awake: there are CPUs for all, and no other thread was last seen on this one. */
static bool threads_may_spin(SelfcPool *pool) {
    if (!pool->spins) return false;
    int cpu = sched_getcpu();
    bool is_shared = false;
    for (int i = 0; i < pool->threads; i++)
        is_shared |= i != thread_number && atomic_load_explicit(&pool->places[i].cpu, memory_order_relaxed) == cpu;
    if (atomic_load_explicit(&pool->places[thread_number].cpu, memory_order_relaxed) != cpu)
        atomic_store_explicit(&pool->places[thread_number].cpu, cpu, memory_order_relaxed);
    return !is_shared;
}

/* Returns when the number is no longer `seen`. */
static void threads_wait(SelfcPool *pool, Gate *gate, unsigned seen) {
    if (threads_may_spin(pool) && gate_spin(gate, seen)) return;
    gate_sleep(gate, seen);
}

void selfc_pool_barrier(SelfcPool *pool) {
    if (pool->threads == 1) return;
    unsigned seen = atomic_load_explicit(&pool->barrier.number, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&pool->arrived, 1, memory_order_acq_rel) + 1 == pool->threads) {
        atomic_store_explicit(&pool->arrived, 0, memory_order_relaxed);
        gate_open(&pool->barrier);
    } else {
        threads_wait(pool, &pool->barrier, seen);
    }
}

static void *threads_worker(void *argument) {
    struct Worker *worker = argument;
    SelfcPool *pool = worker->pool;
    thread_number = worker->number;
    for (unsigned run = 0;; run++) {
        threads_wait(pool, &pool->start, run);
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
    free(pool->places);
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
    Place *places = aligned_alloc(_Alignof(Place), (size_t)threads * sizeof *places);
    if (!pool || !workers || !places) {
        free(pool);
        free(workers);
        free(places);
        selfc_fail("no memory for %d threads", threads);
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    *pool = (SelfcPool){.threads = threads, .spins = threads <= cpus, .workers = workers, .places = places};
    for (int i = 0; i < threads; i++) atomic_init(&places[i].cpu, -1);
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
