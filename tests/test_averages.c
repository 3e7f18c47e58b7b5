/* Running averages are part of a trained model: what a RUN's function gives, by selfc_run and from a built library, is
 * what batch normalisation gives with the averages of the checkpoint. Weights without them are refused. */
#include "include/selfc.h"
#include "runtime/data/data.h"
#include "tests/expect.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 784, SAMPLES = 3 };

static const char description[] =
    "{ \"name\": \"averages\",\n"
    "  \"modules\": { \"body\": { \"inputs\": { \"x\": [\"n\", 784] },\n"
    "    \"layers\": [ { \"layer\": \"batch_norm\", \"epsilon\": 0.01, \"momentum\": 0.2, \"name\": \"norm\" } ] } },\n"
    "  \"training\": { \"data\": { \"x\": { \"source\": \"glyphs\", \"flatten\": true } },\n"
    "    \"layers\": [ { \"module\": \"body\", \"input\": \"x\", \"name\": \"y\" },\n"
    "      { \"expr\": \"mean((y - 1)^2)\", \"name\": \"loss\" } ],\n"
    "    \"minimize\": \"loss\",\n"
    "    \"optimizer\": { \"name\": \"adam\", \"learning_rate\": 0.01 }, \"batch\": 16, \"epochs\": 1 },\n"
    "  \"functions\": { \"body\": { \"module\": \"body\" } } }\n";

static char folder[] = "/tmp/selfc-averages-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[4][64];
    static int next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

static const float *checkpoint_row(const SelfcTensors *checkpoint, const char *name) {
    static const float none[FEATURES];
    const SelfcEntry *entry = selfc_safetensors_find(checkpoint, name);
    EXPECT(entry && entry->tensor.rank == 1 && entry->tensor.dim[0] == FEATURES, "no %s in the checkpoint", name);
    return entry ? entry->data : none;
}

static void compute(float (*x)[FEATURES], float (*y)[FEATURES]) {
    SelfcTensors checkpoint;
    if (selfc_safetensors_read(in_folder("run/checkpoint.safetensors"), &checkpoint)) abort();
    const float *mean = checkpoint_row(&checkpoint, "body.norm.running_mean"),
                *variance = checkpoint_row(&checkpoint, "body.norm.running_var"),
                *weight = checkpoint_row(&checkpoint, "body.norm.weight"),
                *bias = checkpoint_row(&checkpoint, "body.norm.bias");
    double moved = 0;
    for (int f = 0; f < FEATURES; f++) {
        moved += fabs(mean[f]) + fabs(variance[f] - 1);
        for (int i = 0; i < SAMPLES; i++)
            y[i][f] = (x[i][f] - mean[f]) / sqrtf(variance[f] + 0.01f) * weight[f] + bias[f];
    }
    EXPECT(moved > 100, "the averages have hardly moved: %g", moved);
    selfc_safetensors_free(&checkpoint);
}

static void compare(const char *what, float (*want)[FEATURES], float (*got)[FEATURES]) {
    for (int i = 0; i < SAMPLES * FEATURES; i++) {
        float a = want[i / FEATURES][i % FEATURES], b = got[i / FEATURES][i % FEATURES];
        EXPECT(fabsf(a - b) <= 1e-4f * (1 + fabsf(a)), "%s: element %d is %g, not %g", what, i, (double)b, (double)a);
        if (fabsf(a - b) > 1e-4f * (1 + fabsf(a))) return;
    }
}

static void train(void) {
    SelfcOptions options = {.size = sizeof options, .file = "averages.json", .cache = ""};
    SelfcModel *model = selfc_open(description, strlen(description), &options);
    SelfcTrainRun run = {.size = sizeof run, .out = in_folder("run"), .steps = 20, .quiet = 1};
    EXPECT(model && selfc_train_run(model, &run) == 0, "%s", selfc_error());
    selfc_close(model);
}

static void compare_library(SelfcModel *model, float (*want)[FEATURES], float (*x)[FEATURES]) {
    static float y[SAMPLES][FEATURES];
    int (*body)(const float *, float *, size_t, void *);
    EXPECT(selfc_build(model, in_folder("body.so"), NULL, 0, 1) == 0, "%s", selfc_error());
    void *library = dlopen(in_folder("body.so"), RTLD_NOW | RTLD_LOCAL);
    EXPECT(library != NULL, "%s", dlerror());
    if (!library) return;
    void *function = dlsym(library, "averages_body");
    memcpy(&body, &function, sizeof body);
    void *workspace = aligned_alloc(64, 1 << 20);
    EXPECT(body && body(x[0], y[0], SAMPLES, workspace) == 0, "averages_body fails");
    compare("the built library", want, y);
    free(workspace);
    dlclose(library);
}

/* Weights as a version without averages would have written them. */
static void test_missing(SelfcModel *model) {
    static const float row[FEATURES];
    SelfcTensor tensor = {.name = "row", .dtype = SELFC_f32, .rank = 1, .dim = {FEATURES}};
    SelfcWrite writes[] = {{"body.norm.weight", &tensor, row}, {"body.norm.bias", &tensor, row}};
    EXPECT(!selfc_safetensors_write(in_folder("old.safetensors"), writes, 2, NULL), "%s", selfc_failure());
    EXPECT(selfc_weights_load(model, in_folder("old.safetensors")) == 1, "weights without averages are loaded");
    EXPECT(strstr(selfc_error(), "body.norm.running_mean") && strstr(selfc_error(), "body.norm.running_var"),
           "not all that is missing is named: %s", selfc_error());
}

int main(void) {
    static float x[SAMPLES][FEATURES], want[SAMPLES][FEATURES], got[SAMPLES][FEATURES];
    if (!mkdtemp(folder)) return 1;
    for (int i = 0; i < SAMPLES; i++)
        for (int f = 0; f < FEATURES; f++) x[i][f] = (float)((i * FEATURES + f) * 7919 % 1009) / 1009;
    train();
    compute(x, want);
    SelfcOptions options = {.size = sizeof options, .cache = ""};
    SelfcModel *model = selfc_open_file(in_folder("run"), &options);
    EXPECT(model && selfc_run(model, "body", SAMPLES, (const void *[]){x}, (void *[]){got}) == 0, "%s", selfc_error());
    compare("selfc_run", want, got);
    if (model) compare_library(model, want, x), test_missing(model);
    selfc_close(model);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (!expect_failed && system(command)) return 1;
    return expect_failures();
}
