/* The training loop, driven with a module made by hand: a run that is killed or interrupted at any moment and resumed
 * ends with the same bits, so does one with other threads; a full disk, damaged checkpoints, changed descriptions and
 * data that cannot be used end with a message, and leave the last checkpoint as it was. */
#include "runtime/data/data.h"
#include "runtime/data/file.h"
#include "runtime/train/train.h"
#include "tests/expect.h"
#include "tests/tiny_module.h"

#include <fcntl.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SMALL_TRAIN = 330, SMALL_TEST = 50, SMALL_STEPS = 20 /* an epoch */, SMALL_EPOCHS = 30 };

/* data/train.npy and test.npy: few samples, so that epochs and their checkpoints come often. */
static void make_small_data(void) {
    static uint8_t pixels[SMALL_TRAIN * TINY_PIXELS];
    SelfcTensor tensor = {.dtype = SELFC_u8, .rank = 3, .dim = {SMALL_TRAIN, 28, 28}};
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 13 + i / 784 * 5);
    mkdir("data", 0777);
    if (selfc_npy_write("data/train.npy", &tensor, pixels, 0)) abort();
    tensor.dim[0] = SMALL_TEST;
    if (selfc_npy_write("data/test.npy", &tensor, pixels, 0)) abort();
}

static SelfcTrainOptions small_options(const char *out) {
    return (SelfcTrainOptions){.data = "data", .out = out, .epochs = SMALL_EPOCHS, .threads = 1, .quiet = 1};
}

/* Trains in a process of its own, which `limit` bytes a file may stop (0: none). The process. */
static pid_t start(const SelfcModule *module, const SelfcTrainOptions *options, rlim_t limit) {
    pid_t child = fork();
    if (child) return child;
    struct rlimit size = {limit, limit};
    signal(SIGXFSZ, SIG_IGN);
    if (limit) setrlimit(RLIMIT_FSIZE, &size);
    int code = selfc_train(module, options), message = open("message", O_CREAT | O_TRUNC | O_WRONLY, 0666);
    if (code == 1 && !limit && write(message, selfc_failure(), strlen(selfc_failure())) < 0) _exit(99);
    _exit(code);
}

/* Its exit code, or minus the signal that ended it. */
static int finish(pid_t child) {
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void sleep_milliseconds(int milliseconds) {
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000L}, NULL);
}

static void expect_same_file(const char *a, const char *b) {
    void *a_bytes, *b_bytes;
    size_t a_size, b_size;
    if (selfc_file_read(a, &a_bytes, &a_size) || selfc_file_read(b, &b_bytes, &b_size)) {
        EXPECT(false, "%s", selfc_failure());
        return;
    }
    EXPECT(a_size == b_size && !memcmp(a_bytes, b_bytes, a_size), "%s and %s", a, b);
    free(a_bytes);
    free(b_bytes);
}

/* States of two checkpoints; their metadata has times, which differ. */
static void expect_same_states(const char *a, const char *b) {
    SelfcTensors x, y;
    if (selfc_safetensors_read(a, &x) || selfc_safetensors_read(b, &y)) {
        EXPECT(false, "%s", selfc_failure());
        return;
    }
    EXPECT(x.count == 2 && y.count == 2, "%u and %u states", x.count, y.count);
    for (uint32_t i = 0; i < x.count; i++) {
        const SelfcEntry *other = selfc_safetensors_find(&y, x.entries[i].name);
        EXPECT(other && !memcmp(x.entries[i].data, other->data, selfc_tensor_bytes(&other->tensor, 0)),
               "%s of %s and %s", x.entries[i].name, a, b);
    }
    char *x_sums = selfc_safetensors_metadata(&x, "epoch_sums"), *y_sums = selfc_safetensors_metadata(&y, "epoch_sums");
    EXPECT(x_sums && y_sums && !strcmp(x_sums, y_sums), "%s and %s", x_sums, y_sums);
    free(x_sums);
    free(y_sums);
    selfc_safetensors_free(&x);
    selfc_safetensors_free(&y);
}

static char *read_text(const char *path) {
    void *bytes;
    size_t size;
    if (selfc_file_read(path, &bytes, &size)) return strdup("");
    char *text = strndup(bytes, size);
    free(bytes);
    return text;
}

/* The value of a key in a line of metrics, or NaN. */
static double metric(const char *line, const char *key) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"%s\": ", key);
    const char *found = strstr(line, wanted);
    return found ? strtod(found + strlen(wanted), NULL) : NAN;
}

/* Whole lines, steps that never go back, test values once an epoch; the epochs seen. */
static int check_metrics(const char *path) {
    char *text = read_text(path);
    double last_step = 0;
    int epochs = 0;
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        EXPECT(end && end[-1] == '}', "%s: a line is cut off: %s", path, line);
        if (!end) break;
        *end = 0;
        double step = metric(line, "step"), epoch = metric(line, "epoch");
        EXPECT(step >= last_step && fabs(epoch - step / SMALL_STEPS) < 1e-3, "%s: after step %g: %s", path, last_step,
               line);
        EXPECT(isfinite(metric(line, "loss")) && metric(line, "seconds") > 0 && metric(line, "samples_per_second") > 0,
               "%s", line);
        bool has_test = isfinite(metric(line, "test_loss"));
        EXPECT(has_test == (step == last_step), "%s: the line at an epoch's end has test values: %s", path, line);
        epochs += has_test;
        last_step = step;
    }
    free(text);
    return epochs;
}

/* The lines that end an epoch must not show that a run was resumed: its means go over the whole epoch. */
static void expect_same_epochs(const char *a, const char *b) {
    double losses[2][SMALL_EPOCHS][2] = {0};
    for (int run = 0; run < 2; run++) {
        char *text = read_text(run ? b : a), *rest = text;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
            int epoch = (int)metric(line, "epoch") - 1;
            if (isnan(metric(line, "test_loss")) || epoch < 0 || epoch >= SMALL_EPOCHS) continue;
            losses[run][epoch][0] = metric(line, "loss");
            losses[run][epoch][1] = metric(line, "test_loss");
        }
        free(text);
    }
    for (int i = 0; i < SMALL_EPOCHS; i++)
        for (int k = 0; k < 2; k++)
            EXPECT(losses[0][i][k] == losses[1][i][k], "epoch %d of %s and %s: %g and %g", i + 1, a, b, losses[0][i][k],
                   losses[1][i][k]);
}

static void test_straight_run(void) {
    SelfcTrainOptions options = small_options("straight");
    EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    EXPECT(check_metrics("straight/metrics.jsonl") == SMALL_EPOCHS, "epochs");
    static const char *const files[] = {"model.json",  "weights.safetensors", "checkpoint.safetensors",
                                        "samples.png", "plane.png",           "reconstructions.png",
                                        "report.html"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64];
        snprintf(path, sizeof path, "straight/%s", files[i]);
        EXPECT(file_exists(path), "%s is missing", path);
    }
    char *report = read_text("straight/report.html");
    EXPECT(strstr(report, "<svg") && strstr(report, "data:image/png;base64,") && strstr(report, "test_") == NULL,
           "report");
    EXPECT(!strstr(report, "http"), "the report wants a network");
    static const char *const facts[] = {
        "<p>A test &lt;of> reports.</p>", "<td>784</td>",  "<td>data</td>", "<td>plain</td>", "<td>selfc ",
        "polyline.train{stroke",          ">epochs</text>"};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        EXPECT(strstr(report, facts[i]), "the report lacks %s", facts[i]);
    free(report);
    SelfcTensors weights;
    EXPECT(!selfc_safetensors_read("straight/weights.safetensors", &weights) && weights.count == 1 &&
               !strcmp(weights.entries[0].name, "w"),
           "weights");
    selfc_safetensors_free(&weights);
}

static void test_threads(void) {
    static const int counts[] = {2, 3, 7};
    for (int i = 0; i < 3; i++) {
        char out[32], path[64];
        snprintf(out, sizeof out, "threads-%d", counts[i]);
        snprintf(path, sizeof path, "%s/checkpoint.safetensors", out);
        SelfcTrainOptions options = small_options(out);
        options.threads = counts[i];
        EXPECT(finish(start(&tiny_module, &options, 0)) == 0, "%d threads", counts[i]);
        expect_same_states("straight/checkpoint.safetensors", path);
    }
}

/* The step of a checkpoint, or -1: there is none. */
static int64_t saved_step(const char *path) {
    SelfcTensors tensors;
    if (!file_exists(path) || selfc_safetensors_read(path, &tensors)) return -1;
    char *text = selfc_safetensors_metadata(&tensors, "step");
    int64_t step = text ? strtoll(text, NULL, 10) : -1;
    free(text);
    selfc_safetensors_free(&tensors);
    return step;
}

/* Of the last whole line of metrics; 0: there is none. */
static int64_t written_step(const char *path) {
    char *text = read_text(path), *end = strrchr(text, '\n');
    if (end) *end = 0;
    char *line = end ? strrchr(text, '\n') : NULL;
    int64_t step = end ? (int64_t)metric(line ? line : text, "step") : 0;
    free(text);
    return step;
}

/* Waits until `steps` more than there are in the checkpoint are in the metrics. */
static void wait_for_steps(pid_t child, int64_t steps) {
    for (int i = 0; i < 5000 && !waitid(P_PID, (id_t)child, &(siginfo_t){0}, WEXITED | WNOHANG | WNOWAIT); i++) {
        if (written_step("killed/metrics.jsonl") >= saved_step("killed/checkpoint.safetensors") + steps) return;
        sleep_milliseconds(1);
    }
}

/* Slow enough to be caught between two checkpoints. */
static int slow_down(void *context, int64_t step, double loss) {
    (void)context, (void)step, (void)loss;
    sleep_milliseconds(1);
    return 0;
}

/* Killed without warning, again and again, until it is done: before the first checkpoint, between checkpoints,
 * whenever. */
static void test_kill(void) {
    SelfcTrainOptions options = small_options("killed");
    int kills = 0, early = 0, between = 0, code = -1;
    options.progress = slow_down;
    srand(1);
    for (int run = 0; run < 400 && code != 0; run++) {
        options.resume = file_exists("killed/model.json");
        pid_t child = start(&tiny_module, &options, 0);
        if (run < 6)
            wait_for_steps(child, 2 + rand() % 12);
        else
            sleep_milliseconds(10 + rand() % 60 + run);
        kill(child, SIGKILL);
        code = finish(child);
        EXPECT(code == 0 || code == -SIGKILL, "exit code %d", code);
        kills += code == -SIGKILL;
        int64_t saved = saved_step("killed/checkpoint.safetensors"), written = written_step("killed/metrics.jsonl");
        early += code != 0 && saved < 0 && written > 0;
        between += code != 0 && saved > 0 && written > saved;
    }
    EXPECT(code == 0 && kills > 0, "after %d kills: %d", kills, code);
    EXPECT(early >= 1 && between >= 2, "%d kills before the first checkpoint, %d between two", early, between);
    expect_same_states("straight/checkpoint.safetensors", "killed/checkpoint.safetensors");
    expect_same_file("straight/weights.safetensors", "killed/weights.safetensors");
    EXPECT(check_metrics("killed/metrics.jsonl") == SMALL_EPOCHS, "epochs");
    expect_same_epochs("straight/metrics.jsonl", "killed/metrics.jsonl");
    DIR *directory = opendir("killed");
    for (struct dirent *entry; (entry = readdir(directory));)
        EXPECT(!strstr(entry->d_name, ".tmp-"), "%s is left", entry->d_name);
    closedir(directory);
}

/* At the second step of an epoch of 1250. */
static int look(void *context, int64_t step, double loss) {
    (void)loss;
    if (step < 2) return 0;
    SelfcTensors weights, states;
    bool is_read = !selfc_safetensors_read("refreshed/weights.safetensors", &weights);
    EXPECT(is_read, "%s", selfc_failure());
    if (!is_read) return 1;
    is_read = !selfc_safetensors_read("refreshed/checkpoint.safetensors", &states);
    const SelfcEntry *w = is_read ? selfc_safetensors_find(&states, "w") : NULL;
    EXPECT(w && !memcmp(w->data, weights.entries[0].data, TINY_PIXELS * sizeof(float)), "the weights are older");
    char *report = read_text("refreshed/report.html");
    EXPECT(strstr(report, "Map of features") && strstr(report, "data:image/png"), "no map in %zu bytes",
           strlen(report));
    free(report);
    selfc_safetensors_free(&weights);
    selfc_safetensors_free(&states);
    *(bool *)context = true;
    return 1;
}

/* Long before the first epoch ends there are weights, those of the checkpoint, and a whole report. */
static void test_refreshed(void) {
    bool has_looked = false;
    SelfcTrainOptions options = small_options("refreshed");
    options.data = NULL;
    options.pause = 1e-9;
    options.progress = look;
    options.progress_context = &has_looked;
    EXPECT(selfc_train(&tiny_module, &options) == 130 && has_looked, "%s", selfc_failure());
}

/* Stops at a step in the middle of an epoch. */
static int stop_at(void *context, int64_t step, double loss) {
    (void)loss;
    return step == *(int64_t *)context;
}

static void test_stop(void) {
    int64_t at = 47;
    SelfcTrainOptions options = small_options("stopped");
    options.progress = stop_at;
    options.progress_context = &at;
    EXPECT(selfc_train(&tiny_module, &options) == 130, "%s", selfc_failure());
    SelfcTensors tensors;
    EXPECT(!selfc_safetensors_read("stopped/checkpoint.safetensors", &tensors), "%s", selfc_failure());
    char *step = selfc_safetensors_metadata(&tensors, "step"),
         *position = selfc_safetensors_metadata(&tensors, "position");
    EXPECT(step && !strcmp(step, "47") && position && !strcmp(position, "7"), "at step %s, position %s", step,
           position);
    free(step);
    free(position);
    selfc_safetensors_free(&tensors);
    options = small_options("stopped");
    EXPECT(selfc_train(&tiny_module, &options) == 1 && strstr(selfc_failure(), "holds a run already"), "%s",
           selfc_failure());
    options.resume = 1;
    EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    expect_same_states("straight/checkpoint.safetensors", "stopped/checkpoint.safetensors");
    EXPECT(check_metrics("stopped/metrics.jsonl") == SMALL_EPOCHS, "epochs");
    expect_same_epochs("straight/metrics.jsonl", "stopped/metrics.jsonl");
}

/* At step 1, before there is a checkpoint, and after the first epoch: another process wants the same folder. */
static int disturb(void *context, int64_t step, double loss) {
    (void)loss;
    (void)context;
    if (step != 1 && step != SMALL_STEPS + 1) return 0;
    SelfcTrainOptions options = small_options("shared");
    options.resume = step > 1;
    int code = finish(start(&tiny_module, &options, 0));
    void *message;
    size_t size;
    EXPECT(code == 1, "exit code %d at step %d", code, (int)step);
    bool is_read = !selfc_file_read("message", &message, &size);
    EXPECT(is_read && memmem(message, size, "shared: another process is training here", 40), "step %d", (int)step);
    if (is_read) free(message);
    return 0;
}

static void test_two_processes(void) {
    SelfcTrainOptions options = small_options("shared");
    options.progress = disturb;
    EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    expect_same_states("straight/checkpoint.safetensors", "shared/checkpoint.safetensors");
    options.progress = NULL;
    options.resume = 1;
    EXPECT(selfc_train(&tiny_module, &options) == 0, "the folder is free again: %s", selfc_failure());
}

static void test_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        char out[32], path[64];
        snprintf(out, sizeof out, "signal-%d", i);
        snprintf(path, sizeof path, "%s/checkpoint.safetensors", out);
        SelfcTrainOptions options = small_options(out);
        options.epochs = 100000;
        pid_t child = start(&tiny_module, &options, 0);
        for (int wait = 0; wait < 2000 && !file_exists(path); wait++) sleep_milliseconds(5);
        kill(child, signals[i]);
        int code = finish(child);
        EXPECT(code == 130, "exit code %d", code);
        SelfcTensors tensors;
        EXPECT(!selfc_safetensors_read(path, &tensors), "%s", selfc_failure());
        selfc_safetensors_free(&tensors);
    }
}

static void test_steps_and_more_epochs(void) {
    SelfcTrainOptions options = small_options("longer");
    options.epochs = 0;
    options.steps = 33;
    EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    options = small_options("longer");
    options.resume = 1;
    EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    expect_same_file("straight/weights.safetensors", "longer/weights.safetensors");
    EXPECT(selfc_train(&tiny_module, &options) == 0, "a run that is done resumes to nothing: %s", selfc_failure());
    expect_same_file("straight/weights.safetensors", "longer/weights.safetensors");
}

/* A disk that fills up while a run goes on: first for the checkpoint, then for the metrics. */
static void test_full_disk(void) {
    SelfcTrainOptions options = small_options("full");
    options.epochs = 3;
    EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    char *before = read_text("full/checkpoint.safetensors");
    free(before);
    if (system("cp full/checkpoint.safetensors kept.safetensors")) abort();
    struct stat metrics;
    stat("full/metrics.jsonl", &metrics);
    const rlim_t limits[] = {6000, (rlim_t)metrics.st_size + 50};
    options.epochs = SMALL_EPOCHS;
    options.resume = 1;
    for (int i = 0; i < 2; i++) {
        EXPECT(finish(start(&tiny_module, &options, limits[i])) == 1, "a full disk is no success");
        expect_same_file("kept.safetensors", "full/checkpoint.safetensors");
        DIR *directory = opendir("full");
        for (struct dirent *entry; (entry = readdir(directory));)
            EXPECT(!strstr(entry->d_name, ".tmp-"), "%s is left", entry->d_name);
        closedir(directory);
        check_metrics("full/metrics.jsonl");
    }
    EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    expect_same_states("straight/checkpoint.safetensors", "full/checkpoint.safetensors");
}

/* args as tiny_sum, and the key: the loss of step 50 is no number. */
static void sum_with_nan(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    tiny_sum(args, n, first, end, scratch);
    if (((const int32_t *)args[2])[2] == 50) *(float *)args[1] = NAN;
}

static void test_nan_loss(void) {
    static const SelfcArg args[] = {TINY_READ(1, TINY_PARTIAL, TINY_BLOCKS, f32), TINY_WRITE(5, 0, 1),
                                    TINY_READ(3, 0, 3, i32)};
    SelfcCall calls[3];
    SelfcProgram programs[4];
    SelfcModule module = tiny_module;
    memcpy(calls, tiny_train_calls, sizeof calls);
    memcpy(programs, tiny_programs, sizeof programs);
    calls[1].run = sum_with_nan, calls[1].args = args, calls[1].arg_count = 3;
    programs[0].calls = calls;
    module.programs = programs;
    SelfcTrainOptions options = small_options("nan");
    EXPECT(selfc_train(&module, &options) == 1 && strstr(selfc_failure(), "the loss is nan at step 51") &&
               strstr(selfc_failure(),
                      "step 51: layer \"tiny\" (layers[0]) in the kernel sum made the first value that "
                      "is not finite: nan, 1 of 1 values; what it read was finite, the largest ") &&
               strstr(selfc_failure(), "the checkpoint of step 40 is kept, --resume --out nan goes on from it"),
           "%s", selfc_failure());
    SelfcTensors tensors;
    EXPECT(!selfc_safetensors_read("nan/checkpoint.safetensors", &tensors), "%s", selfc_failure());
    char *step = selfc_safetensors_metadata(&tensors, "step");
    EXPECT(step && !strcmp(step, "40"), "the checkpoint is that of step %s", step);
    free(step);
    selfc_safetensors_free(&tensors);
}

/* args as tiny_update, and the key: a parameter blows up in the last step of an epoch, when the loss is known already.
 */
static void update_with_nan(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    tiny_update(args, n, first, end, scratch);
    if (((const int32_t *)args[5])[2] == 59 && first == 0) *(float *)args[1] = INFINITY;
}

static void test_nan_parameter(void) {
    SelfcArg args[6];
    SelfcCall calls[3];
    SelfcProgram programs[4];
    SelfcModule module = tiny_module;
    memcpy(args, tiny_update_args, sizeof tiny_update_args);
    memcpy(calls, tiny_train_calls, sizeof calls);
    memcpy(programs, tiny_programs, sizeof programs);
    args[5] = tiny_difference_args[1];
    calls[2].run = update_with_nan, calls[2].args = args, calls[2].arg_count = 6;
    programs[0].calls = calls;
    module.programs = programs;
    module.training.evaluate = -1;
    SelfcTrainOptions options = small_options("infinite");
    EXPECT(selfc_train(&module, &options) == 1 && strstr(selfc_failure(), "after step 60 \"w\" holds values") &&
               strstr(selfc_failure(),
                      "step 60: layer \"tiny\" (layers[0]) in the kernel update made the first value that "
                      "is not finite: inf, in \"w\", 1 of 784 values; what it read was finite") &&
               strstr(selfc_failure(), "the checkpoint of step 40 is kept"),
           "%s", selfc_failure());
}

static void expect_refused(const SelfcModule *module, const SelfcTrainOptions *options, const char *message) {
    EXPECT(selfc_train(module, options) == 1 && strstr(selfc_failure(), message), "wanted '%s', got '%s'", message,
           selfc_failure());
}

static void test_changed_description(void) {
    SelfcTrainOptions options = small_options("straight");
    options.resume = 1;
    SelfcState states[2];
    SelfcModule module = tiny_module;
    memcpy(states, tiny_states, sizeof states);
    module.states = states;
    states[1].tensor.name = "w.velocity";
    expect_refused(&module, &options,
                   "\n  w.velocity: only in the model, f32[784]\n  w.momentum: only in the checkpoint, f32[784]");
    states[1] = tiny_states[1];
    states[0].tensor = (SelfcTensor){"w", SELFC_f32, 2, {28, 28}};
    expect_refused(&module, &options, "w: f32[28,28] in the model, f32[784] in the checkpoint");
    module = tiny_module;
    options.seed = 6, options.has_seed = 1;
    expect_refused(&module, &options, "seed 5, now it is 6");
    options.has_seed = 0;
    options.data = NULL; /* the 20000 of the description */
    expect_refused(&module, &options, "samples counting 330, now it is 20000");
}

/* Every length and many damages of a checkpoint: a message, or (for damage within the numbers) a run. */
static void test_damaged_checkpoint(void) {
    void *bytes;
    size_t size;
    SelfcTrainOptions options = small_options("damaged");
    options.resume = 1;
    mkdir("damaged", 0777);
    selfc_file_read("straight/checkpoint.safetensors", &bytes, &size);
    for (size_t length = 0; length < size; length += length < 500 || length + 40 > size ? 1 : 97) {
        FILE *out = fopen("damaged/checkpoint.safetensors", "wb");
        if (fwrite(bytes, 1, length, out) != length || fclose(out)) abort();
        EXPECT(selfc_train(&tiny_module, &options) == 1 && strstr(selfc_failure(), "damaged/checkpoint.safetensors"),
               "cut to %zu: %s", length, selfc_failure());
    }
    free(bytes);
    SelfcTensor tensor = {.dtype = SELFC_f32, .rank = 1, .dim = {TINY_PIXELS}};
    static float zeros[TINY_PIXELS];
    SelfcWrite entries[] = {{"w", &tensor, zeros}, {"w.momentum", &tensor, zeros}};
    static const char *const metadata[][9] = {{NULL},
                                              {"step", "x", NULL},
                                              {"step", "-5", "seed", "5", "batch", "16", "samples", "330", NULL},
                                              {"step", "5", "seed", "5", "batch", "17", "samples", "330", NULL}};
    static const char *const message[] = {"no number for \"step\"", "no number for \"step\"", "step -5",
                                          "a batch of 17, now it is 16"};
    for (int i = 0; i < 4; i++) {
        EXPECT(!selfc_safetensors_write("damaged/checkpoint.safetensors", entries, 2, metadata[i]), "%s",
               selfc_failure());
        expect_refused(&tiny_module, &options, message[i]);
    }
}

static void test_refused(void) {
    SelfcModule module = tiny_module;
    SelfcTrainOptions options = small_options("refused");
    module.training.batch = 0;
    expect_refused(&module, &options, "training.batch must be at least 1");
    module = tiny_module;
    module.training.report_count = 0;
    expect_refused(&module, &options, "has no \"training\"");
    static const char *const unknown[] = {"distance", "other"};
    module.training.reports = unknown, module.training.report_count = 2;
    expect_refused(&module, &options, "does not report \"other\"");
    module = tiny_module;
    module.training.epochs = 0;
    options.epochs = 0;
    expect_refused(&module, &options, "for how long?");
    options = small_options("refused");
    options.resume = 1;
    expect_refused(&tiny_module, &options, "refused: holds no run to resume");
    mkdir("imported", 0777);
    if (selfc_file_replace("imported/model.json", "{}", 2) || selfc_file_replace("imported/weights.safetensors", "", 0))
        abort();
    options.out = "imported";
    expect_refused(&tiny_module, &options, "imported: holds no run to resume");
    options.out = "refused";
    options = small_options("data/train.npy");
    expect_refused(&tiny_module, &options, "a file has this name");
    options = small_options("data/train.npy/run");
    expect_refused(&tiny_module, &options, "cannot make the folder");
    options = small_options("refused");
    options.data = "nowhere";
    expect_refused(&tiny_module, &options, "nowhere: No such file");
    options.threads = 1000000, options.data = "data";
    expect_refused(&tiny_module, &options, "1000000 threads");
    EXPECT(!file_exists("refused"), "a refused run has left a folder");
}

static void test_unusable_data(void) {
    static uint8_t pixels[15 * TINY_PIXELS];
    static float values[20 * TINY_PIXELS];
    SelfcTensor few = {.dtype = SELFC_u8, .rank = 3, .dim = {15, 28, 28}},
                other = {.dtype = SELFC_u8, .rank = 3, .dim = {15, 28, 27}},
                real = {.dtype = SELFC_f32, .rank = 3, .dim = {20, 28, 28}};
    SelfcTrainOptions options = small_options("unusable");
    options.data = "few.npy";
    selfc_npy_write("few.npy", &few, pixels, 0);
    expect_refused(
        &tiny_module, &options,
        "15 samples, fewer than one batch of 16: compile the description with --set training.batch=15, or less");
    selfc_npy_write("few.npy", &other, pixels, 0);
    expect_refused(&tiny_module, &options, "is u8[28,27] a sample, but the model was compiled for u8[16,28,28]");
    selfc_npy_write("few.npy", &real, values, 0);
    expect_refused(&tiny_module, &options, "is f32[28,28] a sample");
    values[3 * TINY_PIXELS + 9] = INFINITY;
    selfc_npy_write("few.npy", &real, values, 0);
    expect_refused(&tiny_module, &options, "sample 3 has a value that is no finite number");
    EXPECT(!file_exists("unusable"), "a refused run has left a folder");
}

static void test_numbered_folders(void) {
    SelfcTrainOptions options = small_options(NULL);
    options.epochs = 1;
    for (int i = 0; i < 2; i++) EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    EXPECT(file_exists("runs/tiny-1/weights.safetensors") && file_exists("runs/tiny-2/weights.safetensors"),
           "numbered folders");
    options.resume = 1;
    options.epochs = 2;
    EXPECT(selfc_train(&tiny_module, &options) == 0, "%s", selfc_failure());
    struct stat first, second;
    stat("runs/tiny-1/metrics.jsonl", &first);
    stat("runs/tiny-2/metrics.jsonl", &second);
    EXPECT(second.st_size > first.st_size, "the newest run was resumed");
}

static int run_main(const char *a, const char *b, const char *c) {
    const char *arguments[] = {"trainer", "--quiet", "--data=data", a, b, c, NULL};
    int count = 3 + !!a + (a && b) + (a && b && c);
    return selfc_trainer_main(&tiny_module, count, (char **)arguments);
}

static void test_arguments(void) {
    EXPECT(run_main("--help", NULL, NULL) == 0, "help");
    EXPECT(run_main("--steps", "5", "--out=main-run") == 0 && file_exists("main-run/weights.safetensors"), "%s",
           selfc_failure());
    static const char *const bad[][2] = {{"--steps", NULL},    {"--steps", "x"},      {"--steps", "-1"},
                                         {"--steps", "0"},     {"--steps=1e3", NULL}, {"--seed", "-1"},
                                         {"--minutes", "nan"}, {"--minutes", "soon"}, {"--threads", "99999999999"},
                                         {"--quiet=1", NULL},  {"--step", "1"},       {"model.json", NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EXPECT(run_main(bad[i][0], bad[i][1], NULL) == 1, "%s %s", bad[i][0], bad[i][1] ? bad[i][1] : "");
}

int main(void) {
    char folder[] = "/tmp/selfc-train-XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) || !freopen("stdout", "w", stdout)) return 1;
    make_small_data();
    test_straight_run();
    test_threads();
    test_kill();
    test_refreshed();
    test_stop();
    test_two_processes();
    test_signals();
    test_steps_and_more_epochs();
    test_full_disk();
    test_nan_loss();
    test_nan_parameter();
    test_changed_description();
    test_damaged_checkpoint();
    test_refused();
    test_unusable_data();
    test_numbered_folders();
    test_arguments();
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (!expect_failed && (chdir("/") || system(command))) return 1;
    return expect_failures();
}
