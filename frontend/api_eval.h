/* One judgement of a function's features: what all protocols know, and what each adds to the result. */
#ifndef SELFC_FRONTEND_API_EVAL_H
#define SELFC_FRONTEND_API_EVAL_H
#include "frontend/api_embed.h"

#include <cjson/cJSON.h>

typedef struct {
    SelfcModel *model;
    SelfcEval settings; /* defaults filled in */
    Embed embed;
    uint64_t seed;
    int64_t classes;
    int32_t *chosen, *train_label; /* of the training split: the samples whose labels are used, in order */
    int64_t train_count;
    int32_t *test_label, *predicted;
    int64_t test_count;
    cJSON *result;
} Eval;

/* The protocols: fill eval->predicted and add to eval->result how they came to it. 0, or 1 after api_fail. */
int eval_knn(Eval *eval);
int eval_linear(Eval *eval);
int eval_finetune(Eval *eval);

/* Features of the chosen training samples or of all test samples; free(). NULL after api_fail. */
float *eval_features(Eval *eval, SelfcSplit split);
float *eval_rows(int64_t count, int64_t features);       /* memory for so many; NULL after api_fail */
int32_t eval_best(const float *scores, int64_t classes); /* position of the largest, the first of equal ones */

/* api_eval_fit.c: training of a made description, whose inputs are `input_count` ones by these names, the last of them
 * the label. Samples are drawn without replacement, anew in each epoch. */
typedef struct {
    SelfcModel *made;
    const char *what;
    const char *input[WANTED_MOST + 1];
    uint32_t input_count;
    int64_t count, batch, epochs;
    uint64_t seed;
    const SelfcModel *shown_for; /* whose options say whether progress is shown; NULL: it is not */
    /* Fills inputs[], in the order of the names, with samples index[0..n) of `count`. 0, or 1 after api_fail. */
    int (*fill)(void *context, const int32_t *index, int64_t n, void *const *inputs);
    void *context;
} Fit;
int eval_fit(const Fit *fit);
/* Epochs that make about so many steps of them. */
int64_t eval_epochs(int64_t count, int64_t batch, int64_t least_steps, int64_t most_steps, int64_t usual_epochs);
#endif
