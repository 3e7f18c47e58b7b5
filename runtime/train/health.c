/* The health of a training: whether the features still tell samples apart.
 *
 * Contrastive and other training without labels can fail while its loss looks well: all samples get the same features
 * (collapse), or features in few directions. So a program of its own gives features and the length of the gradients for
 * a batch of the training now and then. It stands beside the step and changes no state: looking changes no bit of what
 * is learned.
 *
 * When it runs follows from counts alone, so metrics are the same for any number of threads and in any mood of the
 * machine. Nearly a hundredth of the work of all steps that the run is going to have may go into looking; that makes a
 * number of looks, from the first line to the last; look i of them is at the share (i / last)^2 of the run: what goes
 * wrong mostly goes wrong early. A run that only a clock ends has them evenly. */
#include "runtime/train/health.h"
#include "runtime/train/eigen.h"
#include "runtime/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the training's work, and of how many rows. */
static const double health_share = 0.0095;
enum { HEALTH_ROWS = 256 };
/* Collapse: below these, in a row for a twentieth of the run or so many steps, the first look left out, or at its end.
 * A spread of 0.05 is a mean cosine of 0.9975 between features of different samples; networks that are only initialised
 * stand at 0.1 and more. In eight and more dimensions an effective rank of 1.5 means that one direction has nearly all.
 */
static const double health_least_spread = 0.05, health_least_rank = 1.5;
enum { HEALTH_LASTING = 20, HEALTH_LASTING_STEPS = 400, HEALTH_RANKED = 8 };

void health_normalise(const float *rows, int64_t n, int64_t d, double *out) {
    for (int64_t i = 0; i < n; i++) {
        double square = 0;
        for (int64_t k = 0; k < d; k++) square += (double)rows[i * d + k] * rows[i * d + k];
        double factor = square > 0 ? 1 / sqrt(square) : 0;
        for (int64_t k = 0; k < d; k++) out[i * d + k] = rows[i * d + k] * factor;
    }
}

static double health_mean(const double *rows, int64_t n, int64_t d, int64_t k) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += rows[i * d + k];
    return sum / (double)n;
}

double health_spread(const double *rows, int64_t n, int64_t d) {
    double spread = 0;
    for (int64_t k = 0; k < d; k++) {
        double mean = health_mean(rows, n, d, k), square = 0;
        for (int64_t i = 0; i < n; i++) square += (rows[i * d + k] - mean) * (rows[i * d + k] - mean);
        spread += sqrt(square / (double)n);
    }
    return spread / (double)d * sqrt((double)d);
}

/* The eigenvalues of the products are the squares of the singular values. What is less than rounding leaves of rows of
 * length 1 in f32 is none. */
static double health_entropy(const double *eigenvalues, int64_t count, int64_t n) {
    double least = 1e-10 * (double)n, sum = 0, entropy = 0;
    for (int64_t i = 0; i < count; i++) sum += eigenvalues[i] > least ? sqrt(eigenvalues[i]) : 0;
    for (int64_t i = 0; i < count; i++) {
        if (eigenvalues[i] <= least) continue;
        double share = sqrt(eigenvalues[i]) / sum;
        entropy -= share * log(share);
    }
    return entropy;
}

double health_rank(const double *rows, int64_t n, int64_t d) {
    int64_t size = n < d ? n : d;
    double *centred = malloc((size_t)(n * d) * sizeof *centred),
           *products = malloc((size_t)(size * size) * sizeof *products),
           *values = malloc((size_t)size * sizeof *values), rank = NAN;
    if (centred && products && values) {
        for (int64_t k = 0; k < d; k++) {
            double mean = health_mean(rows, n, d, k);
            for (int64_t i = 0; i < n; i++) centred[i * d + k] = rows[i * d + k] - mean;
        }
        if (n < d)
            eigen_gram(centred, n, d, products);
        else
            eigen_scatter(centred, n, d, products);
        if (eigen_values(products, size, values)) rank = exp(health_entropy(values, size, n));
    }
    free(centred);
    free(products);
    free(values);
    return rank;
}

double health_alignment(const double *a, const double *b, int64_t n, int64_t d) {
    double sum = 0;
    for (int64_t i = 0; i < n * d; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum / (double)n;
}

double health_uniformity(const double *rows, int64_t n, int64_t d) {
    double *products = malloc((size_t)(n * n) * sizeof *products), sum = 0;
    if (!products) return NAN;
    eigen_gram(rows, n, d, products);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) {
            double square = products[i * n + i] + products[j * n + j] - 2 * products[i * n + j];
            sum += exp(-2 * fmax(square, 0));
        }
    free(products);
    return n > 1 ? log(sum / ((double)n * (double)(n - 1) / 2)) : NAN;
}

/* --- when --- */

/* As execute.c counts work, on one thread. */
static double health_nanoseconds(const SelfcProgram *program) {
    double sum = 0;
    for (uint32_t c = 0; c < program->call_count; c++)
        sum += fmax(program->calls[c].flop * 0.01, program->calls[c].bytes * 0.05);
    return sum;
}

/* A nanosecond for each multiplication of the Gram matrices, and a few for each number of an eigenvalue problem. */
static double health_measure_nanoseconds(const SelfcTraining *training, int64_t n, int64_t d) {
    double rows = (double)n, columns = (double)d, size = fmin(rows, columns);
    double spread = 12 * rows * columns, rank = rows * columns * size + 3 * size * size * size;
    double pairs = training->feature_count > 1 ? rows * rows * (columns / 2 + 10) : 0;
    return training->feature_count * (spread + rank + pairs);
}

static const SelfcTensor *health_feature(const SelfcProgram *program) { return &program->io[program->input_count]; }

static int64_t health_rows(const SelfcProgram *program) {
    return program->batch < HEALTH_ROWS ? program->batch : HEALTH_ROWS;
}

bool health_open(Trainer *trainer) {
    const SelfcTraining *training = &trainer->module->training;
    if (!training->feature_count) return true;
    const SelfcProgram *program = &trainer->module->programs[training->health];
    if (!binding_make(&trainer->health, trainer->session, program, program->batch)) return false;
    double step = fmax(health_nanoseconds(trainer->train.program), 1), once = health_nanoseconds(program);
    once += health_measure_nanoseconds(training, health_rows(program), health_feature(program)->dim[1]);
    trainer->health_steps = fmax(once / (health_share * step), 1);
    return true;
}

/* 0: nobody knows. */
static int64_t health_run_steps(const Trainer *trainer) {
    return trainer->step_limit < INT32_MAX ? trainer->step_limit : 0;
}

/* The number of the look that is due when so many steps are done, as one that grows evenly in between. There is one at
 * the beginning and one at the end, however short the run. */
static double health_look(const Trainer *trainer, int64_t done) {
    double steps = (double)health_run_steps(trainer), last = fmax(floor(steps / trainer->health_steps) - 1, 1);
    return steps > 0 ? last * sqrt((double)done / steps) : (double)done / trainer->health_steps;
}

bool health_is_due(const Trainer *trainer) {
    if (!trainer->health.program) return false;
    int64_t last = trainer->step - 1, line = last - last % trainer->epoch_steps % trainer->line_steps;
    return line == 0 || floor(health_look(trainer, trainer->step)) > floor(health_look(trainer, line));
}

/* --- what --- */

static void health_run(Trainer *trainer) {
    const SelfcProgram *program = trainer->health.program, *train = trainer->train.program;
    for (uint32_t i = 0; i < program->input_count; i++)
        for (uint32_t k = 0; k < train->input_count; k++)
            if (!strcmp(program->io[i].name, train->io[k].name))
                memcpy(trainer->health.io[i], trainer->train.io[k], selfc_tensor_bytes(&train->io[k], program->batch));
    selfc_execute(trainer->session, program, trainer->health.io, program->batch);
}

static void health_of_features(const Trainer *trainer, Health *health) {
    const SelfcProgram *program = trainer->health.program;
    uint32_t views = trainer->module->training.feature_count;
    int64_t n = health_rows(program), d = health_feature(program)->dim[1];
    double *rows = malloc((size_t)(views * n * d) * sizeof *rows), spread = 0, rank = 0, uniformity = 0;
    for (uint32_t view = 0; rows && view < views; view++) {
        double *own = rows + view * n * d;
        health_normalise(trainer->health.io[program->input_count + view], n, d, own);
        spread += health_spread(own, n, d) / views;
        rank += health_rank(own, n, d) / views;
        if (views == 2) uniformity += health_uniformity(own, n, d) / views;
    }
    *health = (Health){NAN, NAN, NAN, NAN};
    if (rows) *health = (Health){spread, rank, NAN, NAN};
    if (rows && views == 2)
        health->alignment = health_alignment(rows, rows + n * d, n, d), health->uniformity = uniformity;
    free(rows);
}

void health_measure(Trainer *trainer, double *values) {
    const SelfcProgram *program = trainer->health.program;
    uint32_t views = trainer->module->training.feature_count;
    Health health;
    health_run(trainer);
    health_of_features(trainer, &health);
    *values++ = health.spread;
    *values++ = health.rank;
    if (views == 2) *values++ = health.alignment, *values++ = health.uniformity;
    for (uint32_t i = views; i < program->output_count; i++)
        *values++ = *(const float *)trainer->health.io[program->input_count + i];
}

/* --- alarm --- */

static bool health_is_bad(const double *values, int64_t d) {
    return values[0] < health_least_spread || (d >= HEALTH_RANKED && values[1] < health_least_rank);
}

/* From the lines so far and the one that is about to be written, so that a run that goes on knows what it knew. */
bool health_has_collapsed(const Trainer *trainer, const double *values) {
    const Metrics *metrics = &trainer->metrics;
    int64_t d = health_feature(trainer->health.program)->dim[1], lasting = health_run_steps(trainer) / HEALTH_LASTING,
            since = trainer->step, next = trainer->step;
    uint32_t at = trainer->module->training.measure_count;
    if (!lasting || lasting > HEALTH_LASTING_STEPS) lasting = HEALTH_LASTING_STEPS;
    if (!health_is_bad(values, d)) return false;
    for (size_t i = metrics->count; i--;) {
        const double *before = metrics->records[i].extras + at;
        if (isnan(before[0])) continue;
        since = next; /* there is one before it, so it is not the first look */
        next = metrics->records[i].step;
        if (!health_is_bad(before, d)) break;
    }
    bool is_first = next == trainer->step, is_end = trainer->step == trainer->step_limit;
    return trainer->step - since >= lasting || (is_end && !is_first);
}

/* Once a run. */
void health_warn(const Trainer *trainer, const double *values) {
    for (size_t i = 0; i < trainer->metrics.count; i++)
        if (trainer->metrics.records[i].has_collapsed) return;
    fprintf(stderr,
            "warning: step %lld: the features have collapsed: those of all samples are nearly the same (spread %.3g, "
            "effective rank %.3g), so the encoder tells nothing apart. A smaller learning rate, stronger augmentation, "
            "a larger batch, batch norm in the projector, or a loss with negatives or a variance term may help\n",
            (long long)trainer->step, values[0], values[1]);
}
