/* Training on labels for selfc_eval: the loop that the linear classifier and fine-tuning share, and the former.
 *
 * What is trained is a description that is made here, compiled like any other. Its samples are in memory or come from
 * a source, a share of them at that, so steps are made one by one rather than by the training loop, and no RUN is
 * written. */
#include "frontend/api_eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the loop --- */

int64_t eval_epochs(int64_t count, int64_t batch, int64_t least_steps, int64_t most_steps, int64_t usual_epochs) {
    int64_t epoch = count / batch, steps = usual_epochs * epoch;
    if (steps < least_steps) steps = least_steps;
    if (steps > most_steps) steps = most_steps;
    return (steps + epoch - 1) / epoch;
}

typedef struct {
    void *filled[WANTED_MOST + 1];       /* as fit->fill wants them */
    const void *inputs[WANTED_MOST + 1]; /* as the step does */
    int32_t *order;
} FitMemory;

static int fit_reserve(const Fit *fit, FitMemory *memory) {
    SelfcTensorInfo infos[WANTED_MOST + 2];
    size_t inputs, outputs;
    if (selfc_function_info(fit->made, "train", infos, WANTED_MOST + 2, &inputs, &outputs)) return 1;
    memory->order = malloc((size_t)fit->count * sizeof *memory->order);
    bool is_fine = memory->order && inputs == fit->input_count;
    for (uint32_t i = 0; is_fine && i < fit->input_count; i++)
        for (uint32_t j = 0; j < fit->input_count; j++) {
            if (strcmp(infos[j].name, fit->input[i])) continue;
            memory->filled[i] = aligned_alloc(64, (infos[j].bytes + 127) & ~(size_t)63);
            memory->inputs[j] = memory->filled[i];
            is_fine = is_fine && memory->filled[i];
        }
    return is_fine ? 0 : api_fail("no memory for %s", fit->what);
}

static int fit_steps(const Fit *fit, FitMemory *memory) {
    int64_t per_epoch = fit->count / fit->batch, steps = fit->epochs * per_epoch;
    ApiProgress progress = {.what = fit->what};
    if (fit->shown_for) progress = api_progress_begin(fit->shown_for, fit->what);
    for (int64_t step = 0; step < steps; step++) {
        if (step % per_epoch == 0) selfc_shuffle(memory->order, fit->count, fit->seed, step / per_epoch);
        const int32_t *index = memory->order + step % per_epoch * fit->batch;
        float loss = NAN;
        if (fit->fill(fit->context, index, fit->batch, memory->filled)) {
            api_progress(&progress, steps, steps);
            return 1;
        }
        if (selfc_train_step(fit->made, memory->inputs, index, step, &loss, 1)) return 1;
        if (!isfinite(loss)) {
            api_progress(&progress, steps, steps);
            return api_fail("%s: the loss is %g at step %lld", fit->what, (double)loss, (long long)step);
        }
        api_progress(&progress, step + 1, steps);
    }
    return 0;
}

int eval_fit(const Fit *fit) {
    FitMemory memory = {0};
    int failed = fit_reserve(fit, &memory) || fit_steps(fit, &memory);
    for (uint32_t i = 0; i < fit->input_count; i++) free(memory.filled[i]);
    free(memory.order);
    return failed;
}

/* --- the linear classifier --- */

enum { LINEAR_BATCH = 256, LINEAR_LEAST_STEPS = 1000, LINEAR_MOST_STEPS = 5000, LINEAR_EPOCHS = 100 };
static const double linear_rate = 0.01;
static const double linear_decays[] = {0, 0.0001, 0.001, 0.01, 0.1};
enum { LINEAR_DECAYS = sizeof linear_decays / sizeof *linear_decays, LINEAR_LEAST_HELD = 10, LINEAR_MANY = 5000 };

/* Rows to train on, or to hold out. */
typedef struct {
    const float *rows;
    const int32_t *label;
    int64_t features, count;
} Labelled;

static int linear_fill(void *context, const int32_t *index, int64_t n, void *const *inputs) {
    const Labelled *data = context;
    for (int64_t i = 0; i < n; i++) {
        memcpy((float *)inputs[0] + i * data->features, data->rows + index[i] * data->features,
               (size_t)data->features * sizeof(float));
        ((int32_t *)inputs[1])[i] = data->label[index[i]];
    }
    return 0;
}

/* The weight begins as zero, so nothing is random but the order of samples. Adam adds the decay to the gradient: where
 * it comes to rest is the minimum of the cross entropy plus decay / 2 times the squared length of the weight. */
static SelfcModel *linear_open(const Eval *eval, int64_t batch, int64_t steps, double decay) {
    static const char *const text =
        "{\"name\": \"linear\", \"training\": {\"data\": {"
        "\"x\": {\"source\": \"npy\", \"shape\": [%lld], \"type\": \"f32\"},"
        "\"label\": {\"source\": \"npy\", \"field\": \"label\"}}, \"layers\": ["
        "{\"layer\": \"dense\", \"input\": \"x\", \"units\": %lld, \"init\": \"zero\", \"name\": \"head\"},"
        "{\"expr\": \"mean(cross_entropy(head, label))\", \"name\": \"loss\"}], \"minimize\": \"loss\","
        "\"optimizer\": {\"name\": \"adam\", \"learning_rate\": \"%g * cosine_decay(step, %lld)\","
        "\"weight_decay\": %g}, \"batch\": %lld}, \"functions\": {\"classify\": {\"inputs\": {\"x\": [\"n\", %lld]},"
        "\"layers\": [{\"layer\": \"dense\", \"units\": %lld, \"init\": \"zero\", \"name\": \"head\"}]}}}";
    long long features = eval->embed.features, classes = eval->classes;
    return api_open_made(eval->model, arena_printf(eval->model->arena, text, features, classes, linear_rate,
                                                   (long long)steps, decay, (long long)batch, features, classes));
}

/* A classifier of these rows; NULL after api_fail. */
static SelfcModel *linear_train(const Eval *eval, const Labelled *data, int64_t epochs, double decay) {
    int64_t batch = data->count < LINEAR_BATCH ? data->count : LINEAR_BATCH;
    SelfcModel *made = linear_open(eval, batch, epochs * (data->count / batch), decay);
    Fit fit = {.made = made,
               .what = "linear classifier",
               .input = {"x", "label"},
               .input_count = 2,
               .count = data->count,
               .batch = batch,
               .epochs = epochs,
               .seed = eval->seed,
               .fill = linear_fill,
               .context = (void *)(uintptr_t)data};
    if (made && !eval_fit(&fit)) return made;
    selfc_close(made);
    return NULL;
}

/* predicted (or NULL) gets the classes of all rows; *loss (or NULL) their mean cross entropy. */
static int linear_classify(const Eval *eval, SelfcModel *made, const Labelled *data, int32_t *predicted, double *loss) {
    enum { ROWS = 1024 };
    float *logits = eval_rows(ROWS, eval->classes);
    int failed = !logits;
    double sum = 0;
    for (int64_t first = 0; first < data->count && !failed; first += ROWS) {
        int64_t n = data->count - first < ROWS ? data->count - first : ROWS;
        failed =
            selfc_run(made, "classify", n, (const void *[]){data->rows + first * data->features}, (void *[]){logits});
        for (int64_t i = 0; i < n && !failed; i++) {
            const float *row = logits + i * eval->classes;
            int32_t best = eval_best(row, eval->classes);
            double total = 0;
            for (int64_t c = 0; c < eval->classes; c++) total += exp((double)row[c] - row[best]);
            if (data->label) sum += log(total) + row[best] - row[data->label[first + i]];
            if (predicted) predicted[first + i] = best;
        }
    }
    free(logits);
    if (loss) *loss = sum / (double)data->count;
    return failed;
}

static void linear_rescale(float *rows, int64_t count, int64_t features, const double *mean, const double *factor) {
    for (int64_t i = 0; i < count; i++, rows += features)
        for (int64_t f = 0; f < features; f++) rows[f] = (float)((rows[f] - mean[f]) * factor[f]);
}

/* Each feature gets the mean 0 and the deviation 1 over the training rows; one that never changes becomes 0. */
static int linear_standardize(float *train, int64_t train_count, float *test, int64_t test_count, int64_t features) {
    double *mean = calloc(2 * (size_t)features, sizeof *mean), *factor = mean + features;
    if (!mean) return api_fail("no memory for %lld features", (long long)features);
    for (int64_t i = 0; i < train_count; i++)
        for (int64_t f = 0; f < features; f++) mean[f] += train[i * features + f] / (double)train_count;
    for (int64_t i = 0; i < train_count; i++)
        for (int64_t f = 0; f < features; f++) {
            double distance = train[i * features + f] - mean[f];
            factor[f] += distance * distance / (double)train_count;
        }
    for (int64_t f = 0; f < features; f++) factor[f] = sqrt(factor[f]) > 1e-6 * fabs(mean[f]) ? 1 / sqrt(factor[f]) : 0;
    linear_rescale(train, train_count, features, mean, factor);
    linear_rescale(test, test_count, features, mean, factor);
    free(mean);
    return 0;
}

/* Adds to losses[] the mean cross entropy on the first `held` rows after training on the others, for each decay. */
static int linear_compare(const Eval *eval, const Labelled *data, int64_t held, int64_t epochs, double *losses) {
    Labelled out = {data->rows, data->label, data->features, held};
    Labelled rest = {data->rows + held * data->features, data->label + held, data->features, data->count - held};
    int failed = 0;
    for (int i = 0; i < LINEAR_DECAYS && !failed; i++) {
        SelfcModel *made = linear_train(eval, &rest, epochs, linear_decays[i]);
        double loss = 0;
        failed = !made || linear_classify(eval, made, &out, NULL, &loss);
        losses[i] += loss;
        selfc_close(made);
    }
    return failed;
}

/* The decay with the least cross entropy on rows that are held out, drawn by the seed: a tenth of them; or, where that
 * is too few to say, each fifth in turn. Of equal ones the larger; the middle one if there are hardly any rows. */
static int linear_choose(const Eval *eval, const Labelled *data, int64_t epochs, double *decay) {
    static const int64_t draw = ((int64_t)1 << 40) + 1;
    int64_t count = data->count, folds = count < LINEAR_MANY ? 5 : 1, held = count / (folds == 1 ? 10 : folds);
    double losses[LINEAR_DECAYS] = {0}, least = INFINITY;
    *decay = linear_decays[LINEAR_DECAYS / 2];
    if (held < LINEAR_LEAST_HELD) return 0;
    int32_t *order = malloc(2 * (size_t)count * sizeof *order), *label = malloc((size_t)count * sizeof *label);
    float *rows = eval_rows(count, data->features);
    int failed = !order || !label || !rows ? api_fail("no memory to choose a weight decay") : 0;
    if (!failed) selfc_shuffle(order, count, eval->seed, draw);
    if (!failed) memcpy(order + count, order, (size_t)count * sizeof *order); /* so that any fold can stand first */
    Labelled turned = {rows, label, data->features, count};
    for (int64_t fold = 0; fold < folds && !failed; fold++) {
        linear_fill((void *)(uintptr_t)data, order + fold * held, count, (void *[]){rows, label});
        failed = linear_compare(eval, &turned, held, epochs, losses);
    }
    for (int i = 0; i < LINEAR_DECAYS; i++)
        if (losses[i] <= least) least = losses[i], *decay = linear_decays[i];
    free(order);
    free(label);
    free(rows);
    return failed;
}

static int linear_judge(Eval *eval, const Labelled *train, const Labelled *test) {
    int64_t batch = train->count < LINEAR_BATCH ? train->count : LINEAR_BATCH;
    int64_t epochs = eval->settings.epochs
                         ? eval->settings.epochs
                         : eval_epochs(train->count, batch, LINEAR_LEAST_STEPS, LINEAR_MOST_STEPS, LINEAR_EPOCHS);
    double decay;
    if (linear_choose(eval, train, epochs, &decay)) return 1;
    SelfcModel *made = linear_train(eval, train, epochs, decay);
    int failed = !made || linear_classify(eval, made, test, eval->predicted, NULL);
    selfc_close(made);
    cJSON_AddStringToObject(eval->result, "optimizer", "adam");
    cJSON_AddNumberToObject(eval->result, "learning_rate", linear_rate);
    cJSON_AddNumberToObject(eval->result, "weight_decay", decay);
    cJSON_AddNumberToObject(eval->result, "epochs", (double)epochs);
    cJSON_AddNumberToObject(eval->result, "batch", (double)batch);
    return failed;
}

int eval_linear(Eval *eval) {
    int64_t features = eval->embed.features;
    float *train = eval_features(eval, SELFC_TRAIN), *test = train ? eval_features(eval, SELFC_TEST) : NULL;
    int failed = !train || !test || linear_standardize(train, eval->train_count, test, eval->test_count, features) ||
                 linear_judge(eval, &(Labelled){train, eval->train_label, features, eval->train_count},
                              &(Labelled){test, NULL, features, eval->test_count});
    free(train);
    free(test);
    return failed;
}
