/* The rate of fused multiply-adds that this machine reaches in registers: `peak THREADS` prints GFLOP/s.
 *
 * Built with -O2 -march=native -ffp-contract=fast. Twelve vectors of the widest kind hide the latency of the
 * multiply-add; every thread works alone, so the sum is what all cores together can do at most. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined __AVX512F__
enum { VECTOR = 64 };
#elif defined __AVX__
enum { VECTOR = 32 };
#else
enum { VECTOR = 16 };
#endif
typedef float Vector __attribute__((vector_size(VECTOR)));

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double multiply_add(int64_t rounds, float *sink) {
    Vector f = {0}, t = {0};
    f += *sink, t += *sink + 1;
    Vector a = t, b = a + 1, c = b + 1, d = c + 1, e = d + 1, g = e + 1, h = g + 1, i = h + 1, j = i + 1;
    Vector k = j + 1, l = k + 1, m = l + 1;
    for (int64_t round = 0; round < rounds; round++) {
        a = a * f + t, b = b * f + t, c = c * f + t, d = d * f + t, e = e * f + t, g = g * f + t;
        h = h * f + t, i = i * f + t, j = j * f + t, k = k * f + t, l = l * f + t, m = m * f + t;
    }
    a += b + c + d + e + g + h + i + j + k + l + m;
    *sink = a[0];
    return 2.0 * 12 * (VECTOR / sizeof(float)) * (double)rounds;
}

/* FLOP/s of this thread over about a fifth of a second. */
static void *measure(void *result) {
    float sink = 0;
    multiply_add(1000000, &sink);
    double flop = 0, start = seconds_now(), seconds;
    do flop += multiply_add(1000000, &sink);
    while ((seconds = seconds_now() - start) < 0.2);
    *(double *)result = flop / seconds;
    return NULL;
}

int main(int argc, char **argv) {
    enum { MOST = 256 };
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > MOST) return fprintf(stderr, "usage: peak THREADS\n"), 2;
    pthread_t thread[MOST];
    double rate[MOST], sum = 0;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, measure, &rate[i])) return perror("peak"), 1;
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        sum += rate[i];
    }
    printf("%.2f\n", sum / 1e9);
    return 0;
}
