/* Nearest neighbours against a slow reference in double: counts around the sizes of blocks and panels, more neighbours
 * than samples, ties, one thread and several, and mistakes. */
#include "runtime/train/knn.h"
#include "tests/expect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *random_features(int64_t count, uint32_t seed) {
    float *features = malloc((size_t)(count + 4) * sizeof *features);
    uint32_t key[2] = {seed, 7}, bits[4];
    for (int64_t i = 0; i < count; i += 4) {
        selfc_philox((uint32_t[4]){(uint32_t)i}, key, bits);
        for (int64_t j = 0; j < 4; j++) features[i + j] = (float)bits[j] * 0x1p-31f - 1;
    }
    return features;
}

static int32_t *random_labels(int64_t count, int64_t classes, uint32_t seed) {
    int32_t *labels = malloc((size_t)(count + 4) * sizeof *labels);
    uint32_t key[2] = {seed, 11}, bits[4];
    for (int64_t i = 0; i < count; i++) {
        selfc_philox((uint32_t[4]){(uint32_t)i}, key, bits);
        labels[i] = (int32_t)(bits[0] % (uint32_t)classes);
    }
    return labels;
}

static double cosine(const float *a, const float *b, int64_t features) {
    double product = 0, first = 0, second = 0;
    for (int64_t f = 0; f < features; f++) {
        product += (double)a[f] * b[f];
        first += (double)a[f] * a[f];
        second += (double)b[f] * b[f];
    }
    return product / sqrt(first * second);
}

/* The nearest is looked for k times among all that are left. *margin: by how much the best vote wins, or how far apart
 * the last that counts and the first that does not are: below it, rounding decides. */
static int32_t slow_knn(const SelfcKnn *knn, int64_t test, double *margin) {
    int64_t k = knn->k < knn->train_count ? knn->k : knn->train_count;
    double *cosines = malloc((size_t)knn->train_count * sizeof *cosines), votes[16] = {0}, last = 2;
    for (int64_t i = 0; i < knn->train_count; i++)
        cosines[i] = cosine(knn->train + i * knn->features, knn->test + test * knn->features, knn->features);
    *margin = 1;
    for (int64_t round = 0; round <= k && round < knn->train_count; round++) {
        int64_t best = 0;
        for (int64_t i = 1; i < knn->train_count; i++)
            if (cosines[i] > cosines[best]) best = i;
        if (round < k)
            votes[knn->train_label[best]] += exp(cosines[best] / knn->temperature);
        else
            *margin = last - cosines[best];
        last = cosines[best];
        cosines[best] = -2;
    }
    free(cosines);
    int32_t winner = 0;
    double second = 0;
    for (int32_t class = 1; class < knn->classes; class++)
        if (votes[class] > votes[winner]) winner = class;
    for (int32_t class = 0; class < knn->classes; class++)
        if (class != winner && votes[class] > second) second = votes[class];
    double lead = (votes[winner] - second) / votes[winner];
    if (lead < *margin) *margin = lead;
    return winner;
}

static void test_against_slow(int64_t train, int64_t test, int64_t features, int64_t classes, int64_t k,
                              double temperature) {
    float *a = random_features(train * features, 1), *b = random_features(test * features, 2);
    int32_t *a_label = random_labels(train, classes, 3), *b_label = random_labels(test, classes, 4);
    SelfcKnn knn = {.train = a,
                    .test = b,
                    .train_label = a_label,
                    .test_label = b_label,
                    .train_count = train,
                    .test_count = test,
                    .features = features,
                    .classes = classes,
                    .k = k,
                    .temperature = temperature};
    int32_t *one = calloc((size_t)test, sizeof *one), *many = calloc((size_t)test, sizeof *many);
    double accuracy[2] = {-1, -1};
    static const int threads[2] = {1, 3};
    for (int i = 0; i < 2; i++) {
        SelfcPool *pool = selfc_pool_new(threads[i]);
        EXPECT(!selfc_knn(&knn, pool, &accuracy[i], i ? many : one), "%s", selfc_failure());
        selfc_pool_free(pool);
    }
    EXPECT(accuracy[0] == accuracy[1] && !memcmp(one, many, (size_t)test * sizeof *one), "threads change the result");
    int64_t right = 0, close = 0;
    for (int64_t i = 0; i < test; i++) {
        double margin;
        int32_t want = slow_knn(&knn, i, &margin);
        right += one[i] == b_label[i];
        if (margin < 1e-5) {
            close++;
            continue;
        }
        EXPECT(one[i] == want, "%lldx%lldx%lld k %lld: sample %lld is %d, not %d", (long long)train, (long long)test,
               (long long)features, (long long)k, (long long)i, one[i], want);
    }
    EXPECT(close * 10 <= test, "%lld of %lld samples are too close to judge", (long long)close, (long long)test);
    EXPECT(accuracy[0] == (double)right / (double)test, "the accuracy is %g", accuracy[0]);
    free(a), free(b), free(a_label), free(b_label), free(one), free(many);
}

/* Of equal votes the lower class wins; of equally near samples the earlier ones count. */
static void test_ties(SelfcPool *pool) {
    enum { COUNT = 40 };
    float train[COUNT * 2], test[2] = {3, 4};
    int32_t label[COUNT], own = 1, got;
    double accuracy;
    for (int i = 0; i < COUNT; i++) {
        train[2 * i] = 0.6f, train[2 * i + 1] = 0.8f;
        label[i] = i < 2 ? 2 : i < 4 ? 1 : 0;
    }
    SelfcKnn knn = {train, test, label, &own, COUNT, 1, 2, 3, 4, 0.1};
    EXPECT(!selfc_knn(&knn, pool, &accuracy, &got) && got == 1 && accuracy == 1, "two against two gives %d", got);
    knn.k = 3;
    EXPECT(!selfc_knn(&knn, pool, &accuracy, &got) && got == 2 && accuracy == 0, "the first three give %d", got);
    knn.k = 1000;
    EXPECT(!selfc_knn(&knn, pool, &accuracy, &got) && got == 0, "all give %d", got);
}

/* A small temperature makes the nearest decide, and must not overflow; a large one counts heads. */
static void test_temperature(SelfcPool *pool) {
    float train[] = {1, 0, 0.8f, 0.6f, 0.8f, -0.6f}, test[] = {2, 0};
    int32_t label[] = {0, 1, 1}, own = 0, got;
    double accuracy;
    SelfcKnn knn = {train, test, label, &own, 3, 1, 2, 2, 3, 0.0001};
    EXPECT(!selfc_knn(&knn, pool, &accuracy, &got) && got == 0, "%d", got);
    knn.temperature = 100;
    EXPECT(!selfc_knn(&knn, pool, &accuracy, &got) && got == 1, "%d", got);
}

static void test_mistakes(SelfcPool *pool) {
    float train[] = {1, 0, 0, 1}, test[] = {1, 1}, zero[] = {0, 0}, bad[] = {1, NAN, 1, 1};
    int32_t label[] = {0, 1}, own = 0;
    double accuracy = -1;
    SelfcKnn knn = {train, test, label, &own, 2, 1, 2, 2, 1, 0.1};
    SelfcKnn other = knn;
    other.k = 0;
    EXPECT(selfc_knn(&other, pool, &accuracy, NULL) == -1 && strstr(selfc_failure(), "k is 0"), "%s", selfc_failure());
    other = knn, other.temperature = 0;
    EXPECT(selfc_knn(&other, pool, &accuracy, NULL) == -1 && strstr(selfc_failure(), "temperature"), "%s",
           selfc_failure());
    other = knn, other.train = bad;
    EXPECT(selfc_knn(&other, pool, &accuracy, NULL) == -1 && strstr(selfc_failure(), "training sample 0"), "%s",
           selfc_failure());
    other = knn, other.test = bad;
    EXPECT(selfc_knn(&other, pool, &accuracy, NULL) == -1 && strstr(selfc_failure(), "test sample 0"), "%s",
           selfc_failure());
    EXPECT(accuracy == -1, "a failure gives an accuracy");
    other = knn, other.test = zero;
    EXPECT(!selfc_knn(&other, pool, &accuracy, NULL) && accuracy == 1, "features of zero: %g", accuracy);
}

/* Few samples have few neighbours; what is asked for stays, as far as there are so many. */
static void test_settle(void) {
    static const int64_t cases[][3] = {{3, 0, 3},       {100, 0, 5},       {300, 0, 6},   {9999, 0, 199},
                                       {10000, 0, 200}, {1000000, 0, 200}, {300, 20, 20}, {300, 1000, 300}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SelfcKnn knn = {.train_count = cases[i][0], .k = cases[i][1]};
        selfc_knn_settle(&knn);
        EXPECT(knn.k == cases[i][2] && knn.temperature == 0.07, "%lld samples, k %lld: %lld neighbours at %g",
               (long long)cases[i][0], (long long)cases[i][1], (long long)knn.k, knn.temperature);
    }
    SelfcKnn warm = {.train_count = 10, .temperature = 0.5};
    selfc_knn_settle(&warm);
    EXPECT(warm.temperature == 0.5, "%g", warm.temperature);
}

int main(void) {
    test_against_slow(50, 30, 5, 3, 7, 0.1);
    test_against_slow(1, 1, 1, 1, 1, 0.07);
    test_against_slow(33, 97, 16, 4, 200, 0.5);
    test_against_slow(300, 193, 37, 10, 20, 0.07);
    test_against_slow(128, 96, 64, 2, 1, 0.1);
    SelfcPool *pool = selfc_pool_new(2);
    test_ties(pool);
    test_temperature(pool);
    test_mistakes(pool);
    test_settle();
    selfc_pool_free(pool);
    return expect_failures();
}
