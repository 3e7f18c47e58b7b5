/* The public C API as its users meet it: descriptions from memory, functions, tensors, training steps, files, and the
 * texts of errors. Includes nothing but selfc.h. */
#include "tests/api_expect.h"
#include "include/selfc.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* y = 2x + w, trained to bring the mean square of y to 0 on drawn digits. */
static const char description[] =
    "{ \"name\": \"tiny\",\n"
    "  \"modules\": { \"body\": { \"inputs\": { \"x\": [\"n\", 784] },\n"
    "    \"layers\": [ { \"layer\": \"dense\", \"units\": 3, \"name\": \"y\" } ], \"outputs\": [\"y\"] } },\n"
    "  \"training\": { \"data\": { \"x\": { \"source\": \"glyphs\", \"flatten\": true } },\n"
    "    \"layers\": [ { \"module\": \"body\", \"input\": \"x\", \"name\": \"y\" },\n"
    "      { \"expr\": \"mean((y - 1)^2)\", \"name\": \"loss\" }, { \"expr\": \"mean(y)\", \"name\": \"level\" } ],\n"
    "    \"minimize\": \"loss\", \"report\": [\"level\"],\n"
    "    \"optimizer\": { \"name\": \"adam\", \"learning_rate\": 0.01 }, \"batch\": 8, \"epochs\": 1 },\n"
    "  \"functions\": {\n"
    "    \"body\": { \"module\": \"body\" },\n"
    "    \"double\": { \"inputs\": { \"a\": [\"n\", 2] }, \"layers\": [ { \"expr\": \"2 * a + 1\", \"name\": \"b\" } ] "
    "} } }\n";

static SelfcModel *open_tiny(const char *const *sets, size_t count) {
    SelfcOptions options = {.size = sizeof options, .file = "tiny.json", .sets = sets, .set_count = count, .cache = ""};
    SelfcModel *model = selfc_open(description, strlen(description), &options);
    EXPECT(model);
    return model;
}

static void test_functions(void) {
    SelfcModel *model = open_tiny(NULL, 0);
    SelfcTensorInfo info[4];
    size_t inputs = 9, outputs = 9;
    EXPECT(selfc_function_info(model, "double", info, 4, &inputs, &outputs) == 0);
    EXPECT(inputs == 1 && outputs == 1);
    EXPECT(!strcmp(info[0].name, "a") && !strcmp(info[0].dtype, "f32") && info[0].rank == 2);
    EXPECT(info[0].dim[0] == -1 && info[0].dim[1] == 2 && info[0].bytes == 0);
    EXPECT(!strcmp(info[1].name, "b"));
    for (int64_t n = 1; n < 40; n += 7) {
        float a[80], b[80];
        for (int i = 0; i < 80; i++) a[i] = (float)i, b[i] = -1;
        const void *in[] = {a};
        void *out[] = {b};
        EXPECT(selfc_run(model, "double", n, in, out) == 0);
        for (int i = 0; i < 80; i++) EXPECT(b[i] == (i < 2 * n ? 2 * (float)i + 1 : -1));
    }
    EXPECT(selfc_run(model, "double", 0, NULL, NULL) == 1 && has_error("at least 1"));
    EXPECT(selfc_run(model, "doubel", 1, NULL, NULL) == 1 && has_error("did you mean \"double\""));
    selfc_close(model);
}

static void test_tensors(void) {
    SelfcModel *model = open_tiny(NULL, 0);
    size_t count = selfc_tensor_count(model);
    EXPECT(count >= 2);
    const char *weight = NULL, *bias = NULL;
    for (size_t i = 0; i < count; i++) {
        SelfcTensorInfo info;
        EXPECT(selfc_tensor_info(model, i, &info) == 0);
        if (info.is_parameter && info.bytes == 784 * 3 * sizeof(float)) weight = info.name;
        if (info.is_parameter && info.bytes == 3 * sizeof(float)) bias = info.name;
    }
    SelfcTensorInfo info;
    EXPECT(selfc_tensor_info(model, count, &info) == 1);
    EXPECT(weight && bias);
    static float w[784 * 3], x[2 * 784];
    float b[3] = {1, 2, 3}, y[6];
    for (int i = 0; i < 784 * 3; i++) w[i] = (float)(i % 3);
    for (int i = 0; i < 2 * 784; i++) x[i] = i < 784 ? 1 : 2;
    EXPECT(selfc_tensor_write(model, weight, w, sizeof w) == 0);
    EXPECT(selfc_tensor_write(model, bias, b, sizeof b) == 0);
    EXPECT(selfc_tensor_write(model, bias, b, sizeof b - 1) == 1 && has_error("12 bytes, not 11"));
    EXPECT(selfc_tensor_write(model, "none.such", b, sizeof b) == 1 && has_error("none.such"));
    const void *in[] = {x};
    void *out[] = {y};
    EXPECT(selfc_run(model, "body", 2, in, out) == 0);
    for (int i = 0; i < 6; i++) EXPECT(y[i] == (float)(i % 3) * 784 * (float)(i / 3 + 1) + (float)(i % 3 + 1));
    float plain[6];
    memcpy(plain, y, sizeof y);
    for (int i = 0; i < 784 * 3; i++) w[i] = 2;
    EXPECT(selfc_tensor_write(model, weight, w, sizeof w) == 0 && selfc_run(model, "body", 2, in, out) == 0);
    for (int i = 0; i < 6; i++) EXPECT(y[i] == 2 * 784 * (float)(i / 3 + 1) + (float)(i % 3 + 1));
    for (int i = 0; i < 784 * 3; i++) w[i] = (float)(i % 3);
    EXPECT(selfc_tensor_write(model, weight, w, sizeof w) == 0 && selfc_run(model, "body", 2, in, out) == 0);
    EXPECT(!memcmp(plain, y, sizeof y));

    char path[] = "/tmp/selfc-test-XXXXXX";
    int file = mkstemp(path);
    EXPECT(file >= 0 && close(file) == 0);
    EXPECT(selfc_weights_save(model, path) == 0);
    SelfcModel *other = open_tiny(NULL, 0);
    EXPECT(selfc_run(other, "body", 2, in, out) == 0 && memcmp(plain, y, sizeof y));
    EXPECT(selfc_weights_load(other, path) == 0);
    memset(b, 0, sizeof b);
    EXPECT(selfc_tensor_read(other, bias, b, sizeof b) == 0);
    EXPECT(b[0] == 1 && b[1] == 2 && b[2] == 3);
    EXPECT(selfc_run(other, "body", 2, in, out) == 0 && !memcmp(plain, y, sizeof y));
    EXPECT(truncate(path, 100) == 0);
    EXPECT(selfc_weights_load(other, path) == 1 && has_error(path));
    unlink(path);
    EXPECT(selfc_weights_load(other, path) == 1 && has_error(path));
    EXPECT(selfc_tensor_read(other, bias, b, sizeof b) == 0 && b[2] == 3);
    selfc_close(other);
    selfc_close(model);
}

/* The loss falls; the same steps give the same bits, whatever was done with functions in between. */
static void test_training(void) {
    SelfcModel *models[2] = {open_tiny(NULL, 0), open_tiny(NULL, 0)};
    static uint8_t images[8 * 28 * 28];
    for (int i = 0; i < 8 * 784; i++) images[i] = (uint8_t)(i * 31);
    const void *inputs[] = {images};
    const int32_t sample[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    float first[2] = {0}, last[2][2];
    for (int m = 0; m < 2; m++) {
        for (int64_t step = 0; step < 60; step++) {
            EXPECT(selfc_train_step(models[m], inputs, sample, step, last[m], 2) == 0);
            if (!step) memcpy(first, last[m], sizeof first);
            static float x[784], y[3];
            const void *in[] = {x};
            void *out[] = {y};
            if (m) EXPECT(selfc_run(models[m], "body", 1, in, out) == 0);
        }
        EXPECT(isfinite(last[m][0]) && last[m][0] < first[0] / 2);
        EXPECT(fabsf(last[m][1] - 1) < fabsf(first[1] - 1));
    }
    EXPECT(!memcmp(last[0], last[1], sizeof last[0]));
    selfc_close(models[0]);
    selfc_close(models[1]);
}

/* What was learnt stays when the model is first compiled for a function alone, then for training. */
static void test_function_before_training(void) {
    const char *const sets[] = {"training.batch=2", "training.optimizer.learning_rate=0.5"};
    SelfcModel *model = open_tiny(sets, 2);
    static float x[784], before[3], after[3];
    for (int i = 0; i < 784; i++) x[i] = 0.01f;
    const void *in[] = {x};
    void *out[] = {before};
    EXPECT(selfc_run(model, "body", 1, in, out) == 0);
    out[0] = after;
    EXPECT(selfc_tensor_count(model) > 0); /* compiles for training */
    EXPECT(selfc_run(model, "body", 1, in, out) == 0);
    EXPECT(!memcmp(before, after, sizeof before));
    static uint8_t images[2][784];
    memset(images, 200, sizeof images);
    const void *inputs[] = {images};
    const int32_t sample[2] = {0, 1};
    float loss;
    EXPECT(selfc_train_step(model, inputs, sample, 0, &loss, 1) == 0);
    EXPECT(selfc_run(model, "body", 1, in, out) == 0);
    EXPECT(memcmp(before, after, sizeof before));
    selfc_close(model);
}

static void test_errors(void) {
    EXPECT(!selfc_open("{", 1, NULL) && has_error(":1:"));
    EXPECT(!selfc_open("{}\0{}", 5, NULL) && has_error("zero byte"));
    EXPECT(!selfc_open("", 0, NULL));
    EXPECT(!selfc_open_file("no/such/model.json", NULL) && has_error("no/such/model.json"));
    const char *const sets[] = {"training.batch=-3"};
    SelfcOptions options = {.size = sizeof options, .file = "tiny.json", .sets = sets, .set_count = 1};
    EXPECT(!selfc_open(description, strlen(description), &options) && has_error("batch"));
    SelfcModel *model = open_tiny(NULL, 0);
    EXPECT(selfc_show(model, "porgram", "text", NULL, stdout) == 1 && has_error("did you mean \"program\""));
    EXPECT(selfc_show(model, "graph", "png", NULL, stdout) == 1 && has_error("text, dot or html"));
    const char *const functions[] = {"bodi"};
    EXPECT(selfc_build(model, "/tmp/selfc-not-written.o", functions, 1, 1) == 1 && has_error("did you mean \"body\""));
    EXPECT(selfc_build(model, "/no/such/folder/x.o", NULL, 0, 1) == 1 && has_error("/no/such/folder/x.o"));
    EXPECT(selfc_describe("everything", stdout) == 1 && has_error("everything"));
    EXPECT(selfc_passes("no/such.ir", "dce", NULL, NULL, stdout) == 1 && has_error("no/such.ir"));
    selfc_close(model);
    selfc_close(NULL);
}

/* A RUN is a folder with model.json and weights.safetensors. */
static void test_run_folder(void) {
    char folder[] = "/tmp/selfc-run-XXXXXX", path[2][64];
    EXPECT(mkdtemp(folder));
    snprintf(path[0], sizeof path[0], "%s/model.json", folder);
    snprintf(path[1], sizeof path[1], "%s/weights.safetensors", folder);
    FILE *file = fopen(path[0], "w");
    EXPECT(file && fwrite(description, strlen(description), 1, file) == 1 && fclose(file) == 0);
    const char *const sets[] = {"training.batch=2"};
    SelfcModel *model = open_tiny(sets, 1);
    EXPECT(selfc_weights_save(model, path[1]) == 0);
    SelfcOptions options = {.size = sizeof options, .seed = 77, .has_seed = 1, .cache = ""};
    SelfcModel *run = selfc_open_file(folder, &options);
    EXPECT(run);
    static float x[784], y[2][3];
    for (int i = 0; i < 784; i++) x[i] = (float)i / 784;
    const void *in[] = {x};
    void *out[2][1] = {{y[0]}, {y[1]}};
    EXPECT(run && selfc_run(run, "body", 1, in, out[0]) == 0);
    EXPECT(selfc_run(model, "body", 1, in, out[1]) == 0);
    EXPECT(!memcmp(y[0], y[1], sizeof y[0]));
    selfc_close(run);
    selfc_close(model);
    unlink(path[1]);
    run = selfc_open_file(folder, &options);
    EXPECT(!run || (selfc_run(run, "body", 1, in, out[0]) == 1 && has_error("weights.safetensors")));
    selfc_close(run);
    unlink(path[0]);
    rmdir(folder);
}

static void *run_alone(void *result) {
    SelfcModel *model = open_tiny(NULL, 0);
    float a[] = {1, 2, 3, 4}, b[4];
    const void *in[] = {a};
    void *out[] = {b};
    *(bool *)result = selfc_run(model, "double", 2, in, out) == 0 && b[3] == 9;
    *(bool *)result &= selfc_run(model, "nothing", 2, in, out) == 1 && has_error("nothing");
    selfc_close(model);
    return NULL;
}

/* Different models do not meet, not even in the text of errors. */
static void test_threads(void) {
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    bool good[THREADS];
    for (int i = 0; i < THREADS; i++) EXPECT(!pthread_create(&thread[i], NULL, run_alone, &good[i]));
    for (int i = 0; i < THREADS; i++) EXPECT(!pthread_join(thread[i], NULL) && good[i]);
}

static char *judge(SelfcModel *model, const SelfcEval *eval) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    int failed = selfc_eval(model, eval, out);
    fclose(out);
    EXPECT(!failed == (length > 0));
    return text;
}

/* The function that takes such data is found; what it is worth follows its weights, and leaves them as they are. */
static void test_judging(void) {
    SelfcModel *model = open_tiny(NULL, 0);
    SelfcEval eval = {.size = sizeof eval, .protocol = "knn", .labels = 0.01, .k = 3};
    char *drawn = judge(model, &eval), *again = judge(model, &eval);
    EXPECT(strstr(drawn, "\"function\":\t\"body\"") && strstr(drawn, "\"features\":\t3"));
    EXPECT(!strcmp(drawn, again));
    eval.protocol = "finetune", eval.k = 0, eval.epochs = 1;
    free(judge(model, &eval));
    eval.protocol = "knn", eval.k = 3, eval.epochs = 0;
    free(again);
    again = judge(model, &eval);
    EXPECT(!strcmp(drawn, again));
    static float w[784 * 3];
    EXPECT(selfc_tensor_write(model, "body.y.weight", w, sizeof w) == 0);
    char *blank = judge(model, &eval);
    EXPECT(strcmp(drawn, blank) && strstr(blank, "\"trained\""));
    free(drawn), free(again), free(blank);
    EXPECT(selfc_eval(model, NULL, stdout) == 1 && has_error("knn, linear or finetune"));
    eval.labels = -1;
    EXPECT(selfc_eval(model, &eval, stdout) == 1 && has_error("above 0, up to 1"));
    SelfcEmbed embed = {.size = sizeof embed, .function = "double", .out = "/nowhere/features.npy"};
    EXPECT(selfc_embed(model, &embed, stdout) == 1 && has_error("takes a f32[n,2]"));
    embed.function = NULL;
    EXPECT(selfc_embed(model, &embed, stdout) == 1 && has_error("/nowhere/features.npy"));
    selfc_close(model);
}

int main(void) {
    EXPECT(strlen(selfc_version()) > 0 && selfc_cpus() >= 1);
    test_functions();
    test_tensors();
    test_training();
    test_function_before_training();
    test_errors();
    test_run_folder();
    test_threads();
    test_judging();
    if (!failures) printf("all of the public API behaves\n");
    return failures != 0;
}
