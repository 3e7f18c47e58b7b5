/* selfc's side of a benchmark, through the public API: `worker MODEL FUNCTION[:BATCH] THREADS [FILE]…`.
 *
 * FUNCTION "train" runs training steps; each FILE holds the samples of a training input, as a .npy file or as raw
 * bytes, and every step takes the next batch of them where they lie. Another function runs on numbers between -1 and 1, or
 * on the beginnings of as many files as it has inputs.
 * Prints "ready" and the seconds from opening the description until the first run could begin. Then reads how many runs
 * to do, a number a line, and answers each with the seconds that they took; so whoever drives it can let rivals take
 * turns. SELFC_DATA replaces the description's data, as --data does. */
#include <selfc.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 16 };

typedef struct {
    SelfcModel *model;
    const char *function;
    size_t inputs, outputs;
    SelfcTensorInfo info[MOST];
    const char *data[MOST]; /* all samples of a training input, or the function's input */
    size_t batches;         /* whole batches in data */
    void *results[MOST];
    int32_t *sample;
    int64_t step, batch; /* batch: samples of a run */
} Worker;

static void fail(const char *what) {
    fprintf(stderr, "worker: %s\n", what);
    exit(1);
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void *numbers(size_t bytes) {
    float *data = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!data) fail("no memory");
    for (size_t i = 0; i < bytes / sizeof *data; i++) data[i] = (float)(i * 7919 % 2003) / 1001.5f - 1;
    return data;
}

/* Bytes before the samples: 0, or what a .npy file of version 1 begins with. */
static size_t header_bytes(const unsigned char *data, size_t bytes) {
    int is_npy = bytes > 10 && !memcmp(data, "\x93NUMPY\1", 7);
    return is_npy ? 10 + data[8] + 256 * (size_t)data[9] : 0;
}

static void map_samples(Worker *w, size_t input, const char *path) {
    int file = open(path, O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status)) fail(path);
    size_t bytes = (size_t)status.st_size;
    void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (data == MAP_FAILED) fail(path);
    close(file);
    size_t header = header_bytes(data, bytes), batches = (bytes - header) / w->info[input].bytes;
    if (!batches) fail("too few samples");
    w->data[input] = (const char *)data + header;
    if (!w->batches || batches < w->batches) w->batches = batches;
}

static void run_step(Worker *w) {
    const void *inputs[MOST];
    size_t at = (size_t)w->step % w->batches;
    for (size_t i = 0; i < w->inputs; i++) inputs[i] = w->data[i] + at * w->info[i].bytes;
    for (int64_t i = 0; i < w->batch; i++) w->sample[i] = (int32_t)((int64_t)at * w->batch + i);
    float loss;
    if (selfc_train_step(w->model, inputs, w->sample, w->step++, &loss, 1)) fail(selfc_error());
}

static void run_function(Worker *w) {
    const void *inputs[MOST];
    for (size_t i = 0; i < w->inputs; i++) inputs[i] = w->data[i];
    if (selfc_run(w->model, w->function, w->batch, inputs, w->results)) fail(selfc_error());
}

/* Of a function's tensor, whose size may depend on the batch; elements of four bytes are enough for benchmarks. */
static size_t tensor_bytes(const SelfcTensorInfo *info, int64_t batch) {
    size_t bytes = 4;
    if (info->dtype[1] != '3') fail("only f32 and i32 are known");
    for (int i = 0; i < info->rank; i++) bytes *= (size_t)(info->dim[i] < 0 ? -info->dim[i] * batch : info->dim[i]);
    return bytes;
}

/* Compiles, and for training makes the first values of all states, so that a step has nothing left to wait for. */
static void make_ready(Worker *w, int is_training) {
    if (selfc_function_info(w->model, w->function, w->info, MOST, &w->inputs, &w->outputs)) fail(selfc_error());
    if (!is_training) return;
    SelfcTensorInfo state;
    if (!selfc_tensor_count(w->model) || selfc_tensor_info(w->model, 0, &state)) fail(selfc_error());
    void *copy = malloc(state.bytes + 1);
    if (!copy || selfc_tensor_read(w->model, state.name, copy, state.bytes)) fail(selfc_error());
    free(copy);
}

/* "classify:16" is function "classify" on a batch of 16. */
static int64_t split_batch(char *function) {
    char *colon = strchr(function, ':');
    if (!colon) return 1;
    *colon = 0;
    return atoll(colon + 1);
}

int main(int argc, char **argv) {
    if (argc < 4) fail("usage: worker MODEL FUNCTION[:BATCH] THREADS [FILE]...");
    SelfcOptions options = {.size = sizeof options, .threads = atoi(argv[3]), .data = getenv("SELFC_DATA")};
    double begin = seconds_now();
    Worker w = {.batch = split_batch(argv[2]), .function = argv[2], .model = selfc_open_file(argv[1], &options)};
    int is_training = !strcmp(w.function, "train");
    if (!w.model) fail(selfc_error());
    make_ready(&w, is_training);
    double ready = seconds_now() - begin;
    if (w.inputs + w.outputs > MOST) fail("too many inputs and outputs");
    if (is_training && (size_t)argc - 4 != w.inputs) fail("a file for each training input is wanted");
    if (is_training) w.batch = w.info[0].dim[0];
    for (size_t i = 0; i < w.inputs; i++) {
        if (!is_training) w.info[i].bytes = tensor_bytes(&w.info[i], w.batch);
        if ((size_t)argc - 4 == w.inputs)
            map_samples(&w, i, argv[4 + i]);
        else
            w.data[i] = numbers(w.info[i].bytes);
    }
    for (size_t i = 0; i < w.outputs && !is_training; i++)
        w.results[i] = numbers(tensor_bytes(&w.info[w.inputs + i], w.batch) + 64);
    w.sample = calloc((size_t)w.batch + 1, sizeof *w.sample);
    printf("ready %.3f\n", ready);
    fflush(stdout);
    for (long runs; scanf("%ld", &runs) == 1;) {
        double start = seconds_now();
        for (long i = 0; i < runs; i++) is_training ? run_step(&w) : run_function(&w);
        printf("%.9f\n", seconds_now() - start);
        fflush(stdout);
    }
    selfc_close(w.model);
    return 0;
}
