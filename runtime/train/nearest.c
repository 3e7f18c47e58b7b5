/* Nearest neighbours while a training goes on: every few epochs the features of the training data judge those of the
 * test data. Labels are used for this alone. What would be wrong with them is wrong from the first step on and is said
 * then; a judgement that fails later is a line without it, and the training goes on. */
#include "runtime/train/features.h"
#include "runtime/train/knn.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    float *rows;
    int32_t *labels;
    int64_t count;
} Side;

enum { NEAREST_MOST_CLASSES = 1 << 20 };

static bool nearest_check_labels(const Trainer *trainer, SelfcSplit split) {
    const SelfcSource *source = trainer->feed.inputs[0].source[split];
    int field = wanted_label(source);
    const char *name = trainer->module->name;
    if (field < 0)
        selfc_fail("%s: training.knn needs labels, but the %s data have none", name,
                   split == SELFC_TRAIN ? "training" : "test");
    else if (!selfc_source_check_labels(source, (uint32_t)field, NEAREST_MOST_CLASSES))
        return true;
    else
        selfc_fail("%s: training.knn: %s", name, selfc_failure());
    return false;
}

bool nearest_open(Trainer *trainer) {
    const SelfcJudge *judge = &trainer->module->training.knn;
    const char *name = trainer->module->name;
    Features features;
    if (!judge->every) return true;
    if (!features_find(trainer, judge->function, &features))
        return selfc_fail("%s: training.knn: %s", name, selfc_failure()), false;
    if (trainer->feed.count[SELFC_TEST] == 0) return selfc_fail("%s: training.knn needs test data", name), false;
    return nearest_check_labels(trainer, SELFC_TRAIN) && nearest_check_labels(trainer, SELFC_TEST);
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

/* One more than the largest label, or than `classes`. */
static int64_t nearest_classes(const Side *side, int64_t classes) {
    for (int64_t i = 0; i < side->count; i++)
        if (side->labels[i] >= classes) classes = side->labels[i] + 1;
    return classes;
}

static bool nearest_judge(Trainer *trainer, double *accuracy) {
    const SelfcJudge *judge = &trainer->module->training.knn;
    Features features = {0};
    int64_t count = trainer->feed.count[SELFC_TRAIN];
    Side train = {0}, test = {0};
    bool is_fine =
        features_find(trainer, judge->function, &features) &&
        nearest_side(trainer, &features, SELFC_TRAIN, count < judge->samples ? count : judge->samples, &train) &&
        nearest_side(trainer, &features, SELFC_TEST, trainer->feed.count[SELFC_TEST], &test);
    SelfcKnn knn = {.train = train.rows,
                    .test = test.rows,
                    .train_label = train.labels,
                    .test_label = test.labels,
                    .train_count = train.count,
                    .test_count = test.count,
                    .features = features.width,
                    .classes = is_fine ? nearest_classes(&test, nearest_classes(&train, 1)) : 0,
                    .k = judge->k,
                    .temperature = judge->temperature};
    selfc_knn_settle(&knn);
    is_fine = is_fine && !selfc_knn(&knn, trainer->session->pool, accuracy, NULL);
    free(train.rows);
    free(train.labels);
    free(test.rows);
    free(test.labels);
    return is_fine;
}

double nearest_measure(Trainer *trainer) {
    double accuracy;
    if (nearest_judge(trainer, &accuracy)) return accuracy;
    fprintf(stderr, "warning: step %lld: neighbours cannot judge: %s\n", (long long)trainer->step, selfc_failure());
    return NAN;
}
