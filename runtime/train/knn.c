/* Weighted nearest neighbours: features are made vectors of length 1, the k training samples with the largest cosine
 * vote for their class with the weight exp(cosine / temperature) (Wu et al. 2018, "Unsupervised Feature Learning via
 * Non-Parametric Instance Discrimination", section 3.4). Of equal cosines the earlier sample is nearer, of equal votes
 * the lower class wins, so that the answer is one, whatever thread computes it.
 *
 * All the time goes into the products of test and training samples. Training samples stand in panels, two vectors wide
 * with a feature in each row, and meet test samples six by six: twelve sums in registers. A block of test samples
 * takes each panel from memory once. */
#include "runtime/train/knn.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { KNN_ROWS = 6, KNN_GROUPS = 16, KNN_BLOCK = KNN_ROWS * KNN_GROUPS, KNN_MOST_WIDTH = 32 };

/* Cosines of the test samples rows[features][KNN_ROWS] and the training samples panel[features][width]. */
typedef void KnnKernel(const float *rows, const float *panel, int64_t features, float *cosines);

#define KNN_KERNEL(name, bytes, attributes)                                                                      \
    attributes static void knn_##name(const float *rows, const float *panel, int64_t features, float *cosines) { \
        typedef float Vector __attribute__((vector_size(bytes), aligned(4), may_alias));                         \
        enum { LANES = bytes / sizeof(float) };                                                                  \
        Vector a0 = {0}, b0 = {0}, a1 = {0}, b1 = {0}, a2 = {0}, b2 = {0};                                       \
        Vector a3 = {0}, b3 = {0}, a4 = {0}, b4 = {0}, a5 = {0}, b5 = {0};                                       \
        for (int64_t f = 0; f < features; f++, rows += KNN_ROWS, panel += 2 * LANES) {                           \
            Vector a = *(const Vector *)panel, b = *(const Vector *)(panel + LANES);                             \
            a0 += rows[0] * a, b0 += rows[0] * b, a1 += rows[1] * a, b1 += rows[1] * b;                          \
            a2 += rows[2] * a, b2 += rows[2] * b, a3 += rows[3] * a, b3 += rows[3] * b;                          \
            a4 += rows[4] * a, b4 += rows[4] * b, a5 += rows[5] * a, b5 += rows[5] * b;                          \
        }                                                                                                        \
        Vector *to = (Vector *)cosines;                                                                          \
        to[0] = a0, to[1] = b0, to[2] = a1, to[3] = b1, to[4] = a2, to[5] = b2;                                  \
        to[6] = a3, to[7] = b3, to[8] = a4, to[9] = b4, to[10] = a5, to[11] = b5;                                \
    }

#if defined __x86_64__
KNN_KERNEL(512, 64, __attribute__((target("avx512f"))))
KNN_KERNEL(256, 32, __attribute__((target("avx2,fma"))))
#endif
KNN_KERNEL(128, 16, )

/* The widest that the processor has; *width: training samples in a panel. */
static KnnKernel *knn_kernel(int64_t *width) {
#if defined __x86_64__
    if (__builtin_cpu_supports("avx512f")) return *width = 32, knn_512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return *width = 16, knn_256;
#endif
    return *width = 8, knn_128;
}

typedef struct {
    float cosine;
    int32_t sample;
} Neighbour;

/* What a thread works with: one block of test samples, their neighbours so far, votes. */
typedef struct {
    float *rows;           /* KNN_GROUPS groups: [features][KNN_ROWS] */
    Neighbour *neighbours; /* k for each test sample: a heap whose first is the one to go next */
    int64_t found[KNN_BLOCK];
    double *votes; /* for each class */
} KnnDesk;

typedef struct {
    const SelfcKnn *knn;
    KnnKernel *kernel;
    int64_t k, width, panels, blocks;
    float *train; /* panels: [features][width] */
    int32_t *predicted;
    KnnDesk *desks;
    atomic_llong next_panel, next_block;
    atomic_llong bad_train, bad_test; /* 1 + a sample whose features are not finite; 0: none */
} KnnWork;

/* Copies one sample as a vector of length 1, its features `stride` apart; false if they are not finite. */
static bool knn_put(const float *features, int64_t count, float *to, int64_t stride) {
    double length = 0;
    for (int64_t f = 0; f < count; f++) length += (double)features[f] * features[f];
    double factor = length > 0 ? 1 / sqrt(length) : 0;
    for (int64_t f = 0; f < count; f++) to[f * stride] = (float)(features[f] * factor);
    return isfinite(length);
}

static void knn_fill_panel(KnnWork *work, int64_t panel) {
    const SelfcKnn *knn = work->knn;
    float *to = work->train + panel * work->width * knn->features;
    for (int64_t i = 0; i < work->width; i++) {
        int64_t sample = panel * work->width + i;
        if (sample >= knn->train_count) break; /* zeros stand there */
        if (!knn_put(knn->train + sample * knn->features, knn->features, to + i, work->width))
            atomic_store(&work->bad_train, sample + 1);
    }
}

static bool knn_is_nearer(Neighbour a, Neighbour b) {
    return a.cosine > b.cosine || (a.cosine == b.cosine && a.sample < b.sample);
}

/* The new one goes down from the first place as long as one below it is farther. */
static void knn_sift_down(Neighbour *heap, int64_t count, Neighbour new) {
    int64_t place = 0;
    for (int64_t below; (below = 2 * place + 1) < count; place = below) {
        if (below + 1 < count && knn_is_nearer(heap[below], heap[below + 1])) below++;
        if (!knn_is_nearer(new, heap[below])) break;
        heap[place] = heap[below];
    }
    heap[place] = new;
}

static void knn_sift_up(Neighbour *heap, int64_t place, Neighbour new) {
    for (int64_t above; place && knn_is_nearer(heap[above = (place - 1) / 2], new); place = above)
        heap[place] = heap[above];
    heap[place] = new;
}

/* Soon most panels hold nothing near: this is asked for all, eight at once. */
static bool knn_has_above(const float *cosines, int64_t width, float limit) {
    int above = 0;
    for (int64_t i = 0; i < width; i += 8)
        for (int64_t j = i; j < i + 8; j++) above |= cosines[j] > limit;
    return above;
}

/* Samples come in their order, so one that is just as near as the farthest of k is not taken. */
static void knn_offer(KnnWork *work, KnnDesk *desk, int64_t row, const float *cosines, int64_t panel) {
    Neighbour *heap = desk->neighbours + row * work->k;
    int64_t first = panel * work->width, left = work->knn->train_count - first;
    if (desk->found[row] == work->k && !knn_has_above(cosines, work->width, heap->cosine)) return;
    for (int64_t i = 0; i < work->width && i < left; i++) {
        Neighbour new = {cosines[i], (int32_t)(first + i)};
        if (desk->found[row] < work->k)
            knn_sift_up(heap, desk->found[row]++, new);
        else if (new.cosine > heap->cosine)
            knn_sift_down(heap, work->k, new);
    }
}

static int32_t knn_vote(KnnWork *work, KnnDesk *desk, int64_t row) {
    const SelfcKnn *knn = work->knn;
    const Neighbour *heap = desk->neighbours + row * work->k;
    float nearest = heap->cosine;
    for (int64_t i = 1; i < work->k; i++) nearest = heap[i].cosine > nearest ? heap[i].cosine : nearest;
    memset(desk->votes, 0, (size_t)knn->classes * sizeof *desk->votes);
    for (int64_t i = 0; i < work->k; i++)
        desk->votes[knn->train_label[heap[i].sample]] += exp(((double)heap[i].cosine - nearest) / knn->temperature);
    int32_t best = 0;
    for (int32_t class = 1; class < knn->classes; class++)
        if (desk->votes[class] > desk->votes[best]) best = class;
    return best;
}

static void knn_block(KnnWork *work, KnnDesk *desk, int64_t block) {
    const SelfcKnn *knn = work->knn;
    int64_t first = block * KNN_BLOCK, count = knn->test_count - first;
    if (count > KNN_BLOCK) count = KNN_BLOCK;
    memset(desk->found, 0, sizeof desk->found);
    for (int64_t i = 0; i < count; i++) {
        float *group = desk->rows + i / KNN_ROWS * KNN_ROWS * knn->features;
        if (!knn_put(knn->test + (first + i) * knn->features, knn->features, group + i % KNN_ROWS, KNN_ROWS))
            atomic_store(&work->bad_test, first + i + 1);
    }
    for (int64_t panel = 0; panel < work->panels; panel++)
        for (int64_t row = 0; row < count; row += KNN_ROWS) {
            float cosines[KNN_ROWS * KNN_MOST_WIDTH];
            work->kernel(desk->rows + row * knn->features, work->train + panel * work->width * knn->features,
                         knn->features, cosines);
            for (int64_t i = 0; i < KNN_ROWS && row + i < count; i++)
                knn_offer(work, desk, row + i, cosines + i * work->width, panel);
        }
    for (int64_t i = 0; i < count; i++) work->predicted[first + i] = knn_vote(work, desk, i);
}

static void knn_fill_share(void *context, int thread, int threads) {
    (void)thread, (void)threads;
    KnnWork *work = context;
    for (int64_t panel; (panel = atomic_fetch_add(&work->next_panel, 1)) < work->panels;) knn_fill_panel(work, panel);
}

static void knn_share(void *context, int thread, int threads) {
    (void)threads;
    KnnWork *work = context;
    for (int64_t block; (block = atomic_fetch_add(&work->next_block, 1)) < work->blocks;)
        knn_block(work, &work->desks[thread], block);
}

static bool knn_reserve(KnnWork *work, int threads) {
    const SelfcKnn *knn = work->knn;
    size_t features = (size_t)knn->features;
    work->train = calloc((size_t)(work->panels * work->width), features * sizeof *work->train);
    work->predicted = malloc(((size_t)knn->test_count + 1) * sizeof *work->predicted);
    work->desks = calloc((size_t)threads, sizeof *work->desks);
    bool is_fine = work->train && work->predicted && work->desks;
    for (int i = 0; is_fine && i < threads; i++) {
        KnnDesk *desk = &work->desks[i];
        desk->rows = calloc(KNN_BLOCK, features * sizeof *desk->rows);
        desk->neighbours = malloc((size_t)work->k * KNN_BLOCK * sizeof *desk->neighbours);
        desk->votes = malloc((size_t)knn->classes * sizeof *desk->votes);
        is_fine = desk->rows && desk->neighbours && desk->votes;
    }
    if (!is_fine)
        selfc_fail("no memory to compare %lld samples with their nearest of %lld", (long long)knn->test_count,
                   (long long)knn->train_count);
    return is_fine;
}

static void knn_release(KnnWork *work, int threads) {
    for (int i = 0; work->desks && i < threads; i++) {
        free(work->desks[i].rows);
        free(work->desks[i].neighbours);
        free(work->desks[i].votes);
    }
    free(work->desks);
    free(work->predicted);
    free(work->train);
}

static bool knn_check(const SelfcKnn *knn) {
    if (knn->train_count < 1 || knn->test_count < 1 || knn->features < 1 || knn->classes < 1)
        return selfc_fail("nearest neighbours need training and test samples, features and classes"), false;
    if (knn->train_count > INT32_MAX) return selfc_fail("more training samples than selfc can count"), false;
    if (knn->k < 1) return selfc_fail("k is %lld: there must be at least 1 neighbour", (long long)knn->k), false;
    if (knn->temperature > 0) return true;
    selfc_fail("the temperature is %g, but must be above 0", knn->temperature);
    return false;
}

static bool knn_is_finite(const KnnWork *work) {
    long long train = atomic_load(&work->bad_train), test = atomic_load(&work->bad_test);
    if (!train && !test) return true;
    selfc_fail("the features of %s sample %lld are no finite numbers (NaN or infinity)", train ? "training" : "test",
               (train ? train : test) - 1);
    return false;
}

/* The k and temperature of Wu and others 2018, which Caron and others 2021 (DINO) have, too, are for large sets: among
 * some hundred samples, 200 neighbours would be most of all classes. */
void selfc_knn_settle(SelfcKnn *knn) {
    enum { LEAST = 5, MOST = 200, SHARE = 50 };
    int64_t usual = knn->train_count / SHARE < MOST ? knn->train_count / SHARE : MOST;
    if (!knn->k) knn->k = usual > LEAST ? usual : LEAST;
    if (knn->k > knn->train_count) knn->k = knn->train_count;
    if (knn->temperature == 0) knn->temperature = 0.07;
}

int selfc_knn(const SelfcKnn *knn, SelfcPool *pool, double *accuracy, int32_t *predicted) {
    if (!knn_check(knn)) return -1;
    int threads = selfc_pool_threads(pool);
    KnnWork work = {.knn = knn, .k = knn->k < knn->train_count ? knn->k : knn->train_count};
    work.kernel = knn_kernel(&work.width);
    work.panels = (knn->train_count + work.width - 1) / work.width;
    work.blocks = (knn->test_count + KNN_BLOCK - 1) / KNN_BLOCK;
    bool is_fine = knn_reserve(&work, threads);
    if (is_fine) {
        selfc_pool_run(pool, knn_fill_share, &work);
        selfc_pool_run(pool, knn_share, &work);
        is_fine = knn_is_finite(&work);
    }
    int64_t right = 0;
    for (int64_t i = 0; is_fine && i < knn->test_count; i++) right += work.predicted[i] == knn->test_label[i];
    if (is_fine) *accuracy = (double)right / (double)knn->test_count;
    if (is_fine && predicted) memcpy(predicted, work.predicted, (size_t)knn->test_count * sizeof *predicted);
    knn_release(&work, threads);
    return is_fine ? 0 : -1;
}
