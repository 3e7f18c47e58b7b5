/* Judging features without training anything: each test sample is given the class of the training samples that are most
 * like it. */
#ifndef SELFC_RUNTIME_KNN_H
#define SELFC_RUNTIME_KNN_H
#include "runtime/core/core.h"

typedef struct {
    const float *train, *test;               /* features of the samples, row after row, of any length */
    const int32_t *train_label, *test_label; /* 0 to classes - 1 */
    int64_t train_count, test_count, features, classes;
    int64_t k;          /* neighbours; more than there are samples means all */
    double temperature; /* smaller: the nearest count for more */
} SelfcKnn;

/* What is not asked for, 0, becomes what is usual for so many training samples; k becomes at most all of them. */
void selfc_knn_settle(SelfcKnn *knn);

/* The share of test samples that get their own label; predicted[test_count], unless it is NULL, what each of them gets.
 * A function of the features alone, not of the threads. 0, or -1 after selfc_fail: features that are not finite, or no
 * memory (a copy of the training features is made). */
int selfc_knn(const SelfcKnn *knn, SelfcPool *pool, double *accuracy, int32_t *predicted);
#endif
