/* include/selfc.h, selfc_eval: which labels are used, the nearest neighbours, and the result with all that it depends
 * on.
 *
 * Numbers of different protocols, shares of labels or settings must not be taken for one another, so each result says
 * them all; what the machine or the clock did to it is left out, so that equal judgements are equal files. */
#include "frontend/api_eval.h"

#include "runtime/train/knn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const struct {
    const char *name;
    int (*judge)(Eval *eval);
} eval_protocol[] = {{"knn", eval_knn}, {"linear", eval_linear}, {"finetune", eval_finetune}};
enum { EVAL_PROTOCOLS = sizeof eval_protocol / sizeof *eval_protocol };

/* --- labels --- */

/* Labels of samples, as they are gathered or as they are listed; free(). index: NULL are the first `count`. */
static int32_t *eval_labels(Eval *eval, SelfcSplit split, const int32_t *index, int64_t count, bool is_listed) {
    int32_t *numbers = malloc((size_t)count * sizeof *numbers), *labels = malloc((size_t)count * sizeof *labels);
    if (!numbers || !labels) {
        api_fail("no memory for %lld labels", (long long)count);
        free(labels), free(numbers);
        return NULL;
    }
    for (int64_t i = 0; i < count; i++) numbers[i] = index ? index[i] : (int32_t)i;
    (is_listed ? selfc_source_gather_listed : selfc_source_gather)(
        eval->embed.source[split], (uint32_t)embed_label_field(&eval->embed, split), numbers, count, labels);
    free(numbers);
    return labels;
}

/* Classes are 0 to the largest label. */
static int eval_count_classes(Eval *eval, const int32_t *labels, int64_t count) {
    enum { EVAL_MOST_CLASSES = 1 << 20 };
    for (int64_t i = 0; i < count; i++) {
        if (labels[i] < 0 || labels[i] >= EVAL_MOST_CLASSES)
            return api_fail("%s: sample %lld has the label %d, but labels are whole numbers from 0, below %d",
                            eval->embed.data, (long long)i, labels[i], EVAL_MOST_CLASSES);
        if (labels[i] >= eval->classes) eval->classes = labels[i] + 1;
    }
    return 0;
}

static int eval_compare(const void *a, const void *b) {
    int32_t first = *(const int32_t *)a, second = *(const int32_t *)b;
    return (first > second) - (first < second);
}

/* Of each class the same share, at least one, drawn by the seed; in the order of the data. */
static int eval_choose(Eval *eval, const int32_t *labels, int64_t count) {
    static const int64_t draw = (int64_t)1 << 40; /* apart from the order of any epoch */
    int64_t *wanted = calloc((size_t)eval->classes, sizeof *wanted);
    int32_t *order = malloc((size_t)count * sizeof *order);
    eval->chosen = malloc((size_t)count * sizeof *eval->chosen);
    bool is_fine = wanted && order && eval->chosen;
    if (is_fine) {
        for (int64_t i = 0; i < count; i++) wanted[labels[i]]++;
        for (int64_t c = 0; c < eval->classes; c++)
            if (wanted[c]) wanted[c] = (int64_t)fmax(1, round((double)wanted[c] * eval->settings.labels));
        selfc_shuffle(order, count, eval->seed, draw);
        for (int64_t i = 0; i < count; i++)
            if (wanted[labels[order[i]]]-- > 0) eval->chosen[eval->train_count++] = order[i];
        qsort(eval->chosen, (size_t)eval->train_count, sizeof *eval->chosen, eval_compare);
    }
    free(wanted);
    free(order);
    return is_fine ? 0 : api_fail("no memory for %lld labels", (long long)count);
}

/* Samples are chosen by labels as they are listed: no picture is decoded for the label of one that is not chosen. */
static int eval_choose_labelled(Eval *eval) {
    const SelfcSource *source = eval->embed.source[SELFC_TRAIN];
    int64_t count = selfc_source_count(source);
    int32_t *labels = eval_labels(eval, SELFC_TRAIN, NULL, count, true);
    int failed = !labels || eval_count_classes(eval, labels, count) || eval_choose(eval, labels, count);
    free(labels);
    if (failed) return 1;
    selfc_source_ahead(source, eval->chosen, eval->train_count);
    eval->train_label = eval_labels(eval, SELFC_TRAIN, eval->chosen, eval->train_count, false);
    return !eval->train_label;
}

static int eval_open_labels(Eval *eval) {
    Embed *embed = &eval->embed;
    if (embed_label_field(embed, SELFC_TRAIN) < 0)
        return api_fail("%s: the data has no labels, by which features could be judged", embed->data);
    if (embed_load(embed, SELFC_TRAIN) || embed_load(embed, SELFC_TEST)) return 1;
    if (embed_label_field(embed, SELFC_TEST) < 0) {
        bool has_field = selfc_source_field(embed->source[SELFC_TEST], "label") >= 0; /* if not, it says why */
        return api_fail("%s: the test data has no labels, by which features could be judged%s%s", embed->data,
                        has_field ? "" : ": ", has_field ? "" : selfc_failure());
    }
    if (eval_choose_labelled(eval)) return 1;
    eval->test_count = selfc_source_count(embed->source[SELFC_TEST]);
    eval->test_label = eval_labels(eval, SELFC_TEST, NULL, eval->test_count, false);
    eval->predicted = calloc((size_t)eval->test_count, sizeof *eval->predicted);
    if (selfc_source_check(embed->source[SELFC_TRAIN]) || selfc_source_check(embed->source[SELFC_TEST]))
        return api_fail("%s", selfc_failure());
    return !eval->test_label || !eval->predicted || eval_count_classes(eval, eval->test_label, eval->test_count);
}

/* --- features --- */

float *eval_rows(int64_t count, int64_t features) {
    int64_t numbers;
    float *rows = __builtin_mul_overflow(count, features, &numbers) ? NULL : calloc((size_t)numbers, sizeof *rows);
    if (!rows) api_fail("no memory for %lld features of %lld samples", (long long)features, (long long)count);
    return rows;
}

typedef struct {
    float *next;
    int64_t features;
} EvalRows;

static int eval_take_rows(void *context, const float *rows, int64_t n) {
    EvalRows *taken = context;
    memcpy(taken->next, rows, (size_t)(n * taken->features) * sizeof *rows);
    taken->next += n * taken->features;
    return 0;
}

float *eval_features(Eval *eval, SelfcSplit split) {
    bool is_train = split == SELFC_TRAIN;
    int64_t count = is_train ? eval->train_count : eval->test_count;
    float *rows = eval_rows(count, eval->embed.features);
    EvalRows taken = {rows, eval->embed.features};
    if (!rows || !embed_run(&eval->embed, split, is_train ? eval->chosen : NULL, count, eval_take_rows, &taken))
        return rows;
    free(rows);
    return NULL;
}

int32_t eval_best(const float *scores, int64_t classes) {
    int32_t best = 0;
    for (int32_t i = 1; i < classes; i++)
        if (scores[i] > scores[best]) best = i;
    return best;
}

int eval_knn(Eval *eval) {
    float *train = eval_features(eval, SELFC_TRAIN), *test = train ? eval_features(eval, SELFC_TEST) : NULL;
    int failed = !train || !test;
    double accuracy;
    SelfcKnn knn = {.train = train,
                    .test = test,
                    .train_label = eval->train_label,
                    .test_label = eval->test_label,
                    .train_count = eval->train_count,
                    .test_count = eval->test_count,
                    .features = eval->embed.features,
                    .classes = eval->classes,
                    .k = eval->settings.k,
                    .temperature = eval->settings.temperature};
    selfc_knn_settle(&knn);
    if (!failed && selfc_knn(&knn, eval->model->compiled.session->pool, &accuracy, eval->predicted))
        failed = api_fail("%s", selfc_failure());
    free(train);
    free(test);
    cJSON_AddNumberToObject(eval->result, "k", (double)knn.k);
    cJSON_AddNumberToObject(eval->result, "temperature", knn.temperature);
    return failed;
}

/* --- the result --- */

/* Over names and values of what the functions read. */
static uint32_t eval_weights_crc(const SelfcModel *model) {
    const SelfcModule *module = model->compiled.module;
    uLong crc = crc32(0, NULL, 0);
    for (uint32_t i = 0; i < module->state_count; i++) {
        const SelfcTensor *tensor = &module->states[i].tensor;
        const char *data = (const char *)model->compiled.session->state + module->states[i].offset;
        if (!module->states[i].is_weight) continue;
        crc = crc32_z(crc, (const Bytef *)tensor->name, strlen(tensor->name));
        crc = crc32_z(crc, (const Bytef *)data, selfc_tensor_bytes(tensor, 1));
    }
    return (uint32_t)crc;
}

static void eval_add_crc(cJSON *result, const char *key, uint32_t crc) {
    char text[16];
    snprintf(text, sizeof text, "%08x", crc);
    cJSON_AddStringToObject(result, key, text);
}

static void eval_describe(Eval *eval) {
    cJSON *result = eval->result;
    char *data = realpath(eval->embed.data, NULL);
    cJSON_AddStringToObject(result, "model", model_name(eval->model->description));
    cJSON_AddStringToObject(result, "function", eval->embed.function);
    cJSON_AddStringToObject(result, "weights", eval->model->is_trained ? "trained" : "untrained");
    eval_add_crc(result, "weights_crc32", eval_weights_crc(eval->model));
    cJSON_AddStringToObject(result, "data", data ? data : eval->embed.data);
    cJSON_AddStringToObject(result, "split", "test");
    cJSON_AddNumberToObject(result, "train_samples", (double)selfc_source_count(eval->embed.source[SELFC_TRAIN]));
    cJSON_AddNumberToObject(result, "test_samples", (double)eval->test_count);
    cJSON_AddNumberToObject(result, "classes", (double)eval->classes);
    cJSON_AddNumberToObject(result, "features", (double)eval->embed.features);
    cJSON_AddNumberToObject(result, "labels", eval->settings.labels);
    cJSON_AddNumberToObject(result, "labelled_samples", (double)eval->train_count);
    cJSON_AddRawToObject(result, "seed", arena_printf(eval->model->arena, "%llu", (unsigned long long)eval->seed));
    free(data);
}

/* Over the samples of a split whose labels are used, as the function gets them, and these labels: other data at the
 * same path have another sum. Then how many of them are broken, so that another one was taken in their place. */
static int eval_describe_samples(Eval *eval, SelfcSplit split) {
    bool is_train = split == SELFC_TRAIN;
    const SelfcSource *source = eval->embed.source[split];
    const SelfcField *fields;
    selfc_source_fields(source, &fields);
    size_t bytes = selfc_tensor_bytes(&fields[0].sample, 1);
    int64_t count = is_train ? eval->train_count : eval->test_count, broken = 0;
    const int32_t *labels = is_train ? eval->train_label : eval->test_label;
    Bytef *sample = malloc(bytes);
    if (!sample) return api_fail("no memory for a sample");
    uLong crc = crc32_z(0, (const Bytef *)labels, (size_t)count * sizeof *labels);
    for (int64_t i = 0; i < count; i++) {
        int32_t index = is_train ? eval->chosen[i] : (int32_t)i;
        selfc_source_gather(source, 0, &index, 1, sample);
        crc = crc32_z(crc, sample, bytes);
        broken += selfc_source_stand_in(source, index) != index;
    }
    free(sample);
    eval_add_crc(eval->result, is_train ? "labelled_crc32" : "test_crc32", (uint32_t)crc);
    cJSON_AddNumberToObject(eval->result, is_train ? "labelled_broken" : "test_broken", (double)broken);
    return 0;
}

/* What is left of a share after six places says nothing. */
static double eval_share(double hits, double all) { return round(hits / all * 1e6) / 1e6; }

/* Classes that no test sample has are null, and no part of the mean over classes. */
static void eval_score(Eval *eval, cJSON *accuracy, cJSON *macro, cJSON *list) {
    int64_t *right = calloc(2 * (size_t)eval->classes, sizeof *right), *all = right + eval->classes, hits = 0, seen = 0;
    if (!right) die("no memory");
    double sum = 0;
    for (int64_t i = 0; i < eval->test_count; i++) {
        all[eval->test_label[i]]++;
        if (eval->predicted[i] == eval->test_label[i]) right[eval->test_label[i]]++, hits++;
    }
    for (int64_t c = 0; c < eval->classes; c++) {
        cJSON_AddItemToArray(list, all[c] ? cJSON_CreateNumber(eval_share((double)right[c], (double)all[c]))
                                          : cJSON_CreateNull());
        if (all[c]) sum += (double)right[c] / (double)all[c];
        seen += all[c] > 0;
    }
    cJSON_SetNumberValue(accuracy, eval_share((double)hits, (double)eval->test_count));
    cJSON_SetNumberValue(macro, eval_share(sum, (double)seen));
    free(right);
}

static int eval_write(Eval *eval, const char *path, FILE *report) {
    char *text = cJSON_Print(eval->result), *lines = NULL;
    if (!text || asprintf(&lines, "%s\n", text) < 0) die("no memory");
    int failed = 0;
    if (!path)
        fputs(lines, report);
    else if (selfc_file_replace(path, lines, strlen(lines)))
        failed = api_fail("%s", selfc_failure());
    free(text);
    free(lines);
    return failed;
}

/* For people: on `report` if the result goes to a file, else a note. */
static void eval_say(const Eval *eval, double accuracy, const char *path, FILE *report) {
    if (!path && !eval->model->options.notes) return;
    fprintf(
        path ? report : stderr,
        "%s: %.2f %% of %lld test samples right, by \"%s\" of %s (%s weights), %lld of %lld labels, seed %llu%s%s\n",
        eval->settings.protocol, 100 * accuracy, (long long)eval->test_count, eval->embed.function,
        model_name(eval->model->description), eval->model->is_trained ? "trained" : "untrained",
        (long long)eval->train_count, (long long)selfc_source_count(eval->embed.source[SELFC_TRAIN]),
        (unsigned long long)eval->seed, path ? ": " : "", path ? path : "");
}

/* In the RUN: judgements by other shares of the labels, or by other ones, do not replace one another. */
static const char *eval_path(const Eval *eval) {
    SelfcModel *model = eval->model;
    bool has_share = eval->settings.labels < 1, has_seed = eval->seed != model_seed(model->description);
    const char *share = has_share ? arena_printf(model->arena, "-%g", eval->settings.labels) : "";
    const char *seed = has_seed ? arena_printf(model->arena, "-seed%llu", (unsigned long long)eval->seed) : "";
    return arena_printf(model->arena, "%s/result-%s%s%s.json", model->folder, eval->settings.protocol, share, seed);
}

static int eval_judge(Eval *eval, int (*judge)(Eval *eval), FILE *report) {
    SelfcModel *model = eval->model;
    const char *path = eval->settings.out;
    if (embed_open(&eval->embed, model, eval->settings.function) || eval_open_labels(eval)) return 1;
    if (!model->is_trained && api_reads_states(eval->embed.program))
        api_note(model, "\"%s\" is judged with untrained weights, as the seed made them; name a RUN for trained ones",
                 eval->embed.function);
    embed_tell_cut(&eval->embed, SELFC_TRAIN);
    embed_tell_cut(&eval->embed, SELFC_TEST);
    cJSON_AddStringToObject(eval->result, "protocol", eval->settings.protocol);
    cJSON *accuracy = cJSON_AddNumberToObject(eval->result, "accuracy", 0);
    cJSON *macro = cJSON_AddNumberToObject(eval->result, "macro_accuracy", 0);
    cJSON *list = cJSON_AddArrayToObject(eval->result, "class_accuracy");
    eval_describe(eval);
    if (judge(eval)) return 1;
    if (eval_describe_samples(eval, SELFC_TRAIN) || eval_describe_samples(eval, SELFC_TEST)) return 1;
    eval_score(eval, accuracy, macro, list);
    cJSON_AddStringToObject(eval->result, "selfc", selfc_version());
    if (!path && model->folder) path = eval_path(eval);
    if (eval_write(eval, path, report)) return 1;
    eval_say(eval, accuracy->valuedouble, path, report);
    return 0;
}

static int eval_check(SelfcEval *settings, int (**judge)(Eval *eval)) {
    const char *names[EVAL_PROTOCOLS], *protocol = settings->protocol ? settings->protocol : "";
    *judge = NULL;
    for (int i = 0; i < EVAL_PROTOCOLS; i++) {
        names[i] = eval_protocol[i].name;
        if (!strcmp(names[i], protocol)) *judge = eval_protocol[i].judge;
    }
    const char *nearest = diag_nearest(protocol, names, EVAL_PROTOCOLS);
    if (!*judge)
        return api_fail("there is no protocol \"%s\"%s%s%s: knn, linear or finetune", protocol,
                        nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    if (settings->labels == 0) settings->labels = 1;
    if (!(settings->labels > 0 && settings->labels <= 1))
        return api_fail("the share of labels is %g, but must be above 0, up to 1: --labels 0.01 is one in a hundred",
                        settings->labels);
    bool is_knn = *judge == eval_knn;
    if (!is_knn && (settings->k || settings->temperature != 0))
        return api_fail("the protocol \"%s\" has neither k nor temperature, which belong to knn", protocol);
    if (is_knn && settings->epochs) return api_fail("the protocol \"knn\" trains nothing, so it has no epochs");
    if (settings->batch && *judge != eval_finetune)
        return api_fail("the protocol \"%s\" has no batch to set, which belongs to finetune", protocol);
    return settings->k < 0 || settings->temperature < 0 || settings->epochs < 0 || settings->batch < 0
               ? api_fail("k, temperature, epochs and batch must be above 0")
               : 0;
}

int selfc_eval(SelfcModel *model, const SelfcEval *given, FILE *report) {
    Eval eval = {.model = model,
                 .embed = {.needs_labels = true},
                 .settings = {.size = sizeof eval.settings},
                 .seed = api_seed(model)};
    if (given) memcpy(&eval.settings, given, given->size < sizeof eval.settings ? given->size : sizeof eval.settings);
    int (*judge)(Eval *);
    if (eval_check(&eval.settings, &judge)) return 1;
    eval.result = cJSON_CreateObject();
    int failed = eval_judge(&eval, judge, report);
    cJSON_Delete(eval.result);
    embed_close(&eval.embed);
    free(eval.chosen);
    free(eval.train_label);
    free(eval.test_label);
    free(eval.predicted);
    return failed;
}
