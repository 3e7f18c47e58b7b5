/* Nearest neighbours while a training goes on: every few epochs the features of the training data judge those of the
 * test data. Labels are used for this alone. */
#include "runtime/train/features.h"
#include "runtime/train/knn.h"

#include <stdlib.h>

typedef struct {
    float *rows;
    int32_t *labels;
    int64_t count;
} Side;

bool nearest_open(Trainer *trainer) {
    const SelfcJudge *judge = &trainer->module->training.knn;
    const char *name = trainer->module->name;
    Features features;
    if (!judge->every) return true;
    if (!features_find(trainer, judge->function, &features))
        return selfc_fail("%s: training.knn: %s", name, selfc_failure()), false;
    if (trainer->feed.count[SELFC_TEST] == 0) return selfc_fail("%s: training.knn needs test data", name), false;
    int32_t *labels = features_labels(trainer, SELFC_TEST, 1);
    bool has_labels = labels != NULL;
    free(labels);
    if (!has_labels) selfc_fail("%s: training.knn needs data with labels", name);
    return has_labels;
}

bool nearest_is_due(const Trainer *trainer) {
    int64_t every = trainer->module->training.knn.every;
    return every > 0 && trainer->step % trainer->epoch_steps == 0 && trainer->step / trainer->epoch_steps % every == 0;
}

static bool nearest_side(Trainer *trainer, const Features *features, SelfcSplit split, int64_t count, Side *side) {
    *side = (Side){.count = count, .labels = features_labels(trainer, split, count)};
    side->rows = malloc((size_t)(count * features->width) * sizeof *side->rows);
    if (side->rows && side->labels) return features_run(trainer, features, split, count, side->rows);
    return selfc_fail("no memory for the features of %lld samples", (long long)count), false;
}

/* One more than the largest label; 0 after selfc_fail. */
static int64_t nearest_classes(const Side *side, int64_t classes) {
    enum { NEAREST_MOST_CLASSES = 1 << 20 };
    for (int64_t i = 0; i < side->count; i++) {
        if (side->labels[i] < 0 || side->labels[i] >= NEAREST_MOST_CLASSES)
            return selfc_fail("training.knn needs labels from 0, below %d, but there is %d", NEAREST_MOST_CLASSES,
                              side->labels[i]),
                   0;
        if (side->labels[i] >= classes) classes = side->labels[i] + 1;
    }
    return classes;
}

bool nearest_measure(Trainer *trainer, double *accuracy) {
    const SelfcJudge *judge = &trainer->module->training.knn;
    Features features = {0};
    int64_t count = trainer->feed.count[SELFC_TRAIN];
    Side train = {0}, test = {0};
    bool is_fine =
        features_find(trainer, judge->function, &features) &&
        nearest_side(trainer, &features, SELFC_TRAIN, count < judge->samples ? count : judge->samples, &train) &&
        nearest_side(trainer, &features, SELFC_TEST, trainer->feed.count[SELFC_TEST], &test);
    int64_t classes = is_fine ? nearest_classes(&train, 1) : 0;
    classes = classes ? nearest_classes(&test, classes) : 0;
    SelfcKnn knn = {.train = train.rows,
                    .test = test.rows,
                    .train_label = train.labels,
                    .test_label = test.labels,
                    .train_count = train.count,
                    .test_count = test.count,
                    .features = features.width,
                    .classes = classes,
                    .k = judge->k,
                    .temperature = judge->temperature};
    selfc_knn_settle(&knn);
    is_fine = classes > 0 && !selfc_knn(&knn, trainer->session->pool, accuracy, NULL);
    free(train.rows);
    free(train.labels);
    free(test.rows);
    free(test.labels);
    return is_fine;
}
