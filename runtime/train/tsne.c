/* t-SNE: each sample gives its neighbours probabilities by their distance, wide enough that some 30 of them count;
 * places in the plane are moved until neighbours there, weighed by Student's distribution, have the same (van der
 * Maaten and Hinton, 2008). All pairs are looked at, which is quick for some hundred samples. Rows of the work are
 * shared by the threads; sums over all pairs are made row by row and then in order, so the places do not depend on the
 * threads. */
#include "runtime/train/features.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tsne_perplexity = 30, tsne_exaggeration = 12;
enum { TSNE_STEPS = 350, TSNE_EARLY = 100 };

typedef struct {
    const double *rows; /* n of d */
    int64_t n, d;
    double *wanted;                           /* n * n: probabilities */
    double *places, *velocity, *gain, *force; /* 2 n */
    double *sums;                             /* of weights, for each row */
    double factor;                            /* on `wanted` */
} Tsne;

/* Shannon's entropy of the probabilities exp(-precision distance), which are left in `out`. */
static double tsne_entropy(const double *squares, int64_t n, int64_t own, double precision, double least, double *out) {
    double sum = DBL_MIN, mean = 0;
    for (int64_t j = 0; j < n; j++) {
        out[j] = j == own ? 0 : exp(-precision * (squares[j] - least));
        sum += out[j];
        mean += out[j] * (squares[j] - least);
    }
    for (int64_t j = 0; j < n; j++) out[j] /= sum;
    return log(sum) + precision * mean / sum;
}

/* The precision that gives the perplexity, by halving on a scale of powers. */
static void tsne_probabilities(Tsne *t, int64_t i, double *squares) {
    double *out = t->wanted + i * t->n, least = DBL_MAX, mean = 0, low = -60, high = 60;
    for (int64_t j = 0; j < t->n; j++) {
        squares[j] = 0;
        for (int64_t k = 0; k < t->d; k++) {
            double difference = t->rows[i * t->d + k] - t->rows[j * t->d + k];
            squares[j] += difference * difference;
        }
        if (j != i) least = fmin(least, squares[j]);
        mean += squares[j] / (double)t->n;
    }
    double target = log(fmin(tsne_perplexity, (double)(t->n - 1) / 3)), scale = 1 / (mean + DBL_MIN);
    for (int step = 0; step < 60; step++) {
        double middle = (low + high) / 2;
        if (tsne_entropy(squares, t->n, i, exp2(middle) * scale, least, out) > target)
            low = middle;
        else
            high = middle;
    }
}

static void tsne_prepare(void *context, int thread, int threads) {
    Tsne *t = context;
    double *squares = t->sums + t->n * (thread + 1);
    for (int64_t i = t->n * thread / threads; i < t->n * (thread + 1) / threads; i++) tsne_probabilities(t, i, squares);
}

static double tsne_weight(const Tsne *t, int64_t i, int64_t j) {
    double x = t->places[2 * i] - t->places[2 * j], y = t->places[2 * i + 1] - t->places[2 * j + 1];
    return 1 / (1 + x * x + y * y);
}

static void tsne_sum(void *context, int thread, int threads) {
    Tsne *t = context;
    for (int64_t i = t->n * thread / threads; i < t->n * (thread + 1) / threads; i++) {
        t->sums[i] = -1; /* its own weight */
        for (int64_t j = 0; j < t->n; j++) t->sums[i] += tsne_weight(t, i, j);
    }
}

/* 4 sum over j of (p - q) weight (y_i - y_j). */
static void tsne_forces(void *context, int thread, int threads) {
    Tsne *t = context;
    double all = DBL_MIN;
    for (int64_t i = 0; i < t->n; i++) all += t->sums[i];
    for (int64_t i = t->n * thread / threads; i < t->n * (thread + 1) / threads; i++) {
        double x = 0, y = 0;
        for (int64_t j = 0; j < t->n; j++) {
            double weight = tsne_weight(t, i, j);
            double pull = 4 * (t->factor * t->wanted[i * t->n + j] - weight / all) * weight;
            x += pull * (t->places[2 * i] - t->places[2 * j]);
            y += pull * (t->places[2 * i + 1] - t->places[2 * j + 1]);
        }
        t->force[2 * i] = x;
        t->force[2 * i + 1] = y;
    }
}

/* Steps grow where they go on in the same direction, and shrink where they turn back, as in the authors' code. */
static void tsne_move(Tsne *t, double momentum, double rate) {
    for (int64_t i = 0; i < 2 * t->n; i++) {
        bool turns = (t->force[i] > 0) == (t->velocity[i] > 0);
        t->gain[i] = turns ? fmax(0.8 * t->gain[i], 0.01) : t->gain[i] + 0.2;
        t->velocity[i] = momentum * t->velocity[i] - rate * t->gain[i] * t->force[i];
        t->places[i] += t->velocity[i];
    }
}

static void tsne_symmetric(Tsne *t) {
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j < i; j++) {
            double both = (t->wanted[i * t->n + j] + t->wanted[j * t->n + i]) / (2 * (double)t->n);
            t->wanted[i * t->n + j] = t->wanted[j * t->n + i] = both;
        }
}

/* A first guess of deviation 1e-4, in which nobody is far from anybody. */
static void tsne_shrink(Tsne *t) {
    double square = 0;
    for (int64_t i = 0; i < 2 * t->n; i++) square += t->places[i] * t->places[i];
    double factor = square > 0 ? 1e-4 / sqrt(square / (double)(2 * t->n)) : 0;
    for (int64_t i = 0; i < 2 * t->n; i++) {
        t->places[i] *= factor;
        t->gain[i] = 1;
        t->velocity[i] = 0;
    }
}

bool tsne_run(const double *rows, int64_t n, int64_t d, double *places, SelfcPool *pool) {
    int threads = selfc_pool_threads(pool);
    double *room = malloc((size_t)(n * n + 6 * n + n * (threads + 1)) * sizeof *room);
    if (!room) return false;
    Tsne t = {.rows = rows, .n = n, .d = d, .wanted = room, .places = places, .factor = 1};
    t.velocity = room + n * n;
    t.gain = t.velocity + 2 * n;
    t.force = t.gain + 2 * n;
    t.sums = t.force + 2 * n;
    selfc_pool_run(pool, tsne_prepare, &t);
    tsne_symmetric(&t);
    tsne_shrink(&t);
    double rate = fmax((double)n / tsne_exaggeration, 50);
    for (int step = 0; step < TSNE_STEPS; step++) {
        bool is_early = step < TSNE_EARLY;
        t.factor = is_early ? tsne_exaggeration : 1;
        selfc_pool_run(pool, tsne_sum, &t);
        selfc_pool_run(pool, tsne_forces, &t);
        tsne_move(&t, is_early ? 0.5 : 0.8, rate);
    }
    free(room);
    return true;
}
