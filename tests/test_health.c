/* What is said about features, against slow and obvious computations and where the answer is known: collapsed features,
 * features that point everywhere, matrices whose eigenvalues are formulas. */
#include "runtime/train/eigen.h"
#include "runtime/train/features.h"
#include "runtime/train/health.h"
#include "runtime/train/trainer.h"
#include "tests/expect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 200, WIDTH = 24 };
static const double pi = 3.14159265358979323846;

static double uniform(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) * 0x1p-24;
}

static double normal(uint32_t *state) {
    double radius = sqrt(-2 * log(1 - uniform(state)));
    return radius * cos(2 * pi * uniform(state));
}

/* Rows around `mean`, in the first `directions` dimensions only. */
static void fill(float *rows, int64_t n, int64_t d, int64_t directions, double mean, double deviation, uint32_t seed) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < d; k++)
            rows[i * d + k] = (float)(mean + (k < directions ? deviation * normal(&seed) : 0));
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void expect_near(double value, double wanted, double tolerance, const char *what) {
    EXPECT(fabs(value - wanted) <= tolerance, "%s is %.12g, not %.12g", what, value, wanted);
}

/* 2 on the diagonal, -1 beside it: eigenvalues 2 - 2 cos(k pi / (n + 1)). */
static void test_second_difference(void) {
    for (int64_t n = 1; n <= 40; n++) {
        double matrix[40 * 40] = {0}, values[40];
        for (int64_t i = 0; i < n; i++) {
            matrix[i * n + i] = 2;
            if (i + 1 < n) matrix[i * n + i + 1] = matrix[(i + 1) * n + i] = -1;
        }
        EXPECT(eigen_values(matrix, n, values), "no memory");
        qsort(values, (size_t)n, sizeof *values, compare);
        for (int64_t k = 1; k <= n; k++)
            expect_near(values[k - 1], 2 - 2 * cos((double)k * pi / ((double)n + 1)), 1e-12, "an eigenvalue");
    }
}

/* a on the diagonal, b everywhere else: a + (n - 1) b once, a - b otherwise. Full, so that reflections have work. */
static void test_equal_entries(void) {
    enum { N = 30 };
    double matrix[N * N], values[N];
    for (int i = 0; i < N * N; i++) matrix[i] = i % (N + 1) ? 0.25 : 3;
    EXPECT(eigen_values(matrix, N, values), "no memory");
    qsort(values, N, sizeof *values, compare);
    for (int i = 0; i + 1 < N; i++) expect_near(values[i], 2.75, 1e-12, "an eigenvalue");
    expect_near(values[N - 1], 3 + (N - 1) * 0.25, 1e-12, "the largest eigenvalue");
}

/* Sums of powers of the eigenvalues are traces of powers of the matrix. */
static void test_traces(void) {
    enum { N = 60 };
    static double matrix[N * N], copy[N * N], values[N];
    uint32_t seed = 3;
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++) matrix[i * N + j] = matrix[j * N + i] = normal(&seed);
    double traces[3] = {0}, sums[3] = {0};
    for (int i = 0; i < N; i++) {
        traces[0] += matrix[i * N + i];
        for (int j = 0; j < N; j++) {
            traces[1] += matrix[i * N + j] * matrix[i * N + j];
            for (int k = 0; k < N; k++) traces[2] += matrix[i * N + j] * matrix[j * N + k] * matrix[k * N + i];
        }
    }
    memcpy(copy, matrix, sizeof copy);
    EXPECT(eigen_values(copy, N, values), "no memory");
    for (int i = 0; i < N; i++) sums[0] += values[i], sums[1] += values[i] * values[i], sums[2] += pow(values[i], 3);
    for (int p = 0; p < 3; p++) expect_near(sums[p], traces[p], 1e-9 * (1 + fabs(traces[p])), "a trace");
}

/* Vectors v with A v = value v, orthogonal, the largest ones. */
static void test_largest(void) {
    enum { N = 50 };
    static double rows[N * N], products[N * N], copy[N * N], all[N], vectors[2 * N], values[2];
    uint32_t seed = 5;
    for (int i = 0; i < N * N; i++) rows[i] = normal(&seed) * (i % N == 0 ? 9 : i % N == 1 ? 5 : 1);
    eigen_gram(rows, N, N, products);
    memcpy(copy, products, sizeof copy);
    EXPECT(eigen_values(copy, N, all) && eigen_largest(products, N, 2, vectors, values), "no memory");
    qsort(all, N, sizeof *all, compare);
    for (int k = 0; k < 2; k++) {
        expect_near(values[k] / all[N - 1 - k], 1, 1e-6, "a large eigenvalue");
        for (int i = 0; i < N; i++) {
            double product = 0;
            for (int j = 0; j < N; j++) product += products[i * N + j] * vectors[k * N + j];
            expect_near(product / values[k], vectors[k * N + i], 1e-3, "an element of an eigenvector");
        }
    }
}

static void test_collapsed(void) {
    static float rows[ROWS * WIDTH];
    static double unit[ROWS * WIDTH];
    fill(rows, ROWS, WIDTH, 0, 0.7, 0, 1);
    health_normalise(rows, ROWS, WIDTH, unit);
    expect_near(health_spread(unit, ROWS, WIDTH), 0, 1e-6, "the spread of equal rows");
    expect_near(health_rank(unit, ROWS, WIDTH), 1, 1e-9, "the rank of equal rows");
    expect_near(health_uniformity(unit, ROWS, WIDTH), 0, 1e-6, "the uniformity of equal rows");
    memset(rows, 0, sizeof rows);
    health_normalise(rows, ROWS, WIDTH, unit);
    expect_near(health_spread(unit, ROWS, WIDTH), 0, 0, "the spread of zeros");
    expect_near(health_rank(unit, ROWS, WIDTH), 1, 0, "the rank of zeros");
}

static void test_isotropic(void) {
    static float rows[ROWS * WIDTH];
    static double unit[ROWS * WIDTH];
    fill(rows, ROWS, WIDTH, WIDTH, 0, 2, 7);
    health_normalise(rows, ROWS, WIDTH, unit);
    expect_near(health_spread(unit, ROWS, WIDTH), 1, 0.02, "the spread of rows everywhere");
    EXPECT(health_rank(unit, ROWS, WIDTH) > 0.95 * WIDTH && health_rank(unit, ROWS, WIDTH) <= WIDTH, "rank %g of %d",
           health_rank(unit, ROWS, WIDTH), WIDTH);
    EXPECT(health_uniformity(unit, ROWS, WIDTH) < -3.5, "uniformity %g", health_uniformity(unit, ROWS, WIDTH));
    /* In three directions, be there more rows or more columns. */
    for (int64_t n = 16; n <= ROWS; n += 184) {
        fill(rows, n, WIDTH, 3, 0, 1, 9);
        health_normalise(rows, n, WIDTH, unit);
        double rank = health_rank(unit, n, WIDTH);
        EXPECT(rank > 2.5 && rank < 3 + 1e-6, "rank %g of three directions, %d rows", rank, (int)n);
    }
    /* Singular values 2 and 1 exactly. */
    const double two[4 * 2] = {2, 0, -2, 0, 0, 1, 0, -1};
    expect_near(health_rank(two, 4, 2), exp(-2. / 3 * log(2. / 3) - 1. / 3 * log(1. / 3)), 1e-9, "the rank of 2 and 1");
}

static void test_views(void) {
    static float rows[ROWS * WIDTH];
    static double a[ROWS * WIDTH], b[ROWS * WIDTH];
    fill(rows, ROWS, WIDTH, WIDTH, 0.3, 1, 11);
    health_normalise(rows, ROWS, WIDTH, a);
    for (int i = 0; i < ROWS * WIDTH; i++) b[i] = -a[i];
    expect_near(health_alignment(a, a, ROWS, WIDTH), 0, 0, "the alignment of a view with itself");
    expect_near(health_alignment(a, b, ROWS, WIDTH), 4, 1e-9, "the alignment of opposites");
    double sum = 0;
    for (int i = 0; i < ROWS; i++)
        for (int j = i + 1; j < ROWS; j++) {
            double square = 0;
            for (int k = 0; k < WIDTH; k++) square += pow(a[i * WIDTH + k] - a[j * WIDTH + k], 2);
            sum += exp(-2 * square);
        }
    expect_near(health_uniformity(a, ROWS, WIDTH), log(sum / (ROWS * (ROWS - 1) / 2)), 1e-9, "the uniformity");
}

/* Three clusters far apart in many dimensions: in the plane everyone's nearest neighbour is of the own cluster, and it
 * is the same plane for any number of threads. */
static void test_tsne(void) {
    enum { POINTS = 90, CLUSTERS = 3 };
    static double rows[POINTS * WIDTH], places[3][2 * POINTS];
    uint32_t seed = 21;
    for (int i = 0; i < POINTS; i++)
        for (int k = 0; k < WIDTH; k++) rows[i * WIDTH + k] = 0.3 * normal(&seed) + 3 * (k % CLUSTERS == i % CLUSTERS);
    for (int run = 0; run < 3; run++) {
        SelfcPool *pool = selfc_pool_new(run + 1);
        for (int i = 0; i < 2 * POINTS; i++) places[run][i] = rows[i / 2 * WIDTH + i % 2];
        EXPECT(pool && tsne_run(rows, POINTS, WIDTH, places[run], pool), "no memory");
        selfc_pool_free(pool);
    }
    for (int run = 1; run < 3; run++)
        EXPECT(!memcmp(places[0], places[run], sizeof places[0]), "other places on %d threads", run + 1);
    for (int i = 0; i < POINTS; i++) {
        double least = INFINITY;
        int nearest = -1;
        for (int j = 0; j < POINTS; j++) {
            double distance = hypot(places[0][2 * i] - places[0][2 * j], places[0][2 * i + 1] - places[0][2 * j + 1]);
            if (j != i && distance < least) least = distance, nearest = j;
        }
        EXPECT(nearest >= 0 && nearest % CLUSTERS == i % CLUSTERS, "the nearest of %d is %d", i, nearest);
    }
}

static void test_scan(void) {
    float values[] = {1, -2e30f, 3, NAN, -INFINITY};
    uint16_t half[] = {0x3C00, 0xC500, 0x7BFF, 0xFC00}, brain[] = {0x3F80, 0xC0A0, 0x7F80, 0x7FC0};
    Scan scan = scan_values(values, SELFC_f32, 5);
    EXPECT(scan.count == 2 && scan.first == 3 && isnan(scan.value) && scan.largest == (double)2e30f, "f32");
    EXPECT(scan_is_finite(values, SELFC_f32, 3) && !scan_is_finite(values, SELFC_f32, 4), "f32, quickly");
    scan = scan_values(half, SELFC_f16, 4);
    EXPECT(scan.count == 1 && scan.first == 3 && scan.value == -INFINITY && scan.largest == 65504, "f16");
    EXPECT(scan_is_finite(half, SELFC_f16, 3) && !scan_is_finite(half, SELFC_f16, 4), "f16, quickly");
    scan = scan_values(brain, SELFC_bf16, 4);
    EXPECT(scan.count == 2 && scan.first == 2 && scan.value == INFINITY && scan.largest == 5, "bf16");
    EXPECT(scan_is_finite(brain, SELFC_bf16, 2) && !scan_is_finite(brain, SELFC_bf16, 3), "bf16, quickly");
    EXPECT(scan_is_finite(values, SELFC_i32, 5) && scan_values(values, SELFC_u8, 5).first < 0, "whole numbers");
}

int main(void) {
    test_second_difference();
    test_equal_entries();
    test_traces();
    test_largest();
    test_collapsed();
    test_isotropic();
    test_views();
    test_tsne();
    test_scan();
    return expect_failures();
}
