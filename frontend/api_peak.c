/* What this machine can do at best: fused multiply-adds in registers, and bytes to and from memory.
 *
 * Measured in a few milliseconds, for estimates and for judging kernels. Vectors are written as such and the widest
 * that the processor has is chosen when it runs, so that a selfc built for any x86-64 still sees AVX-512. */
#include "frontend/api.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PEAK_MOST_THREADS = 256, PEAK_BYTES = 64 << 20 };

/* `rounds` times a multiply-add on each of twelve vectors, so many that no one waits for another. Gives the operations
 * done; *sink keeps the compiler from leaving them out. */
#define PEAK_KERNEL(name, bytes, attributes)                                                                  \
    attributes static double peak_##name(int64_t rounds, float *sink) {                                       \
        typedef float Vector __attribute__((vector_size(bytes)));                                             \
        Vector f = {0}, t = {0};                                                                              \
        f += *sink, t += *sink + 1;                                                                           \
        Vector a = t, b = a + 1, c = b + 1, d = c + 1, e = d + 1, g = e + 1, h = g + 1, i = h + 1, j = i + 1; \
        Vector k = j + 1, l = k + 1, m = l + 1;                                                               \
        for (int64_t round = 0; round < rounds; round++) {                                                    \
            a = a * f + t, b = b * f + t, c = c * f + t, d = d * f + t, e = e * f + t, g = g * f + t;         \
            h = h * f + t, i = i * f + t, j = j * f + t, k = k * f + t, l = l * f + t, m = m * f + t;         \
        }                                                                                                     \
        a += b + c + d + e + g + h + i + j + k + l + m;                                                       \
        *sink = a[0];                                                                                         \
        return 2.0 * 12 * (bytes / sizeof(float)) * (double)rounds;                                           \
    }

#if defined __x86_64__
PEAK_KERNEL(512, 64, __attribute__((target("avx512f"))))
PEAK_KERNEL(256, 32, __attribute__((target("avx2,fma"))))
#endif
PEAK_KERNEL(128, 16, )

typedef double PeakKernel(int64_t rounds, float *sink);

static PeakKernel *peak_kernel(void) {
#if defined __x86_64__
    if (__builtin_cpu_supports("avx512f")) return peak_512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return peak_256;
#endif
    return peak_128;
}

static double peak_measure_flops(void) {
    PeakKernel *kernel = peak_kernel();
    double best = 0;
    float sink = 0;
    for (int i = 0; i < 5; i++) {
        double start = api_seconds();
        double flop = kernel(20000, &sink), seconds = api_seconds() - start;
        if (seconds > 0 && flop / seconds > best) best = flop / seconds;
    }
    return best;
}

/* Copies more than a core's own caches hold; counts what is read and what is written. */
static double peak_measure_bytes(void) {
    char *from = malloc(PEAK_BYTES), *to = malloc(PEAK_BYTES);
    double best = 0;
    if (from && to) {
        memset(from, 1, PEAK_BYTES);
        memset(to, 1, PEAK_BYTES);
    }
    for (int i = 0; i < 2 && from && to; i++) {
        __asm__ volatile("" : : "r"(from), "r"(to) : "memory");
        double start = api_seconds();
        memcpy(to, from, PEAK_BYTES);
        __asm__ volatile("" : : "r"(from), "r"(to) : "memory");
        double rate = 2.0 * PEAK_BYTES / (api_seconds() - start);
        if (rate > best) best = rate;
    }
    free(from);
    free(to);
    return best > 0 ? best : 1e10;
}

typedef struct {
    pthread_t thread;
    bool has_thread;
    double (*measure)(void);
    double rate;
} PeakShare;

static void *peak_share(void *argument) {
    PeakShare *share = argument;
    share->rate = share->measure();
    return NULL;
}

/* The sum over threads that measure at the same time. */
static double peak_together(int threads, double (*measure)(void)) {
    PeakShare shares[PEAK_MOST_THREADS];
    if (threads > selfc_cpu_count()) threads = selfc_cpu_count();
    if (threads > PEAK_MOST_THREADS) threads = PEAK_MOST_THREADS;
    for (int i = 0; i < threads; i++) shares[i] = (PeakShare){.measure = measure};
    for (int i = 1; i < threads; i++)
        shares[i].has_thread = pthread_create(&shares[i].thread, NULL, peak_share, &shares[i]) == 0;
    peak_share(&shares[0]);
    for (int i = 1; i < threads; i++) {
        if (shares[i].has_thread) pthread_join(shares[i].thread, NULL);
        shares[0].rate += shares[i].rate;
    }
    return shares[0].rate;
}

double api_peak_flops(int threads) { return peak_together(threads, peak_measure_flops); }
double api_peak_bytes(int threads) { return peak_together(threads, peak_measure_bytes); }
