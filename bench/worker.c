/* selfc's side of a benchmark, through the public API: `worker MODEL FUNCTION THREADS [FILE]…`.
 *
 * FUNCTION "train" runs training steps; each FILE holds the samples of a training input as raw bytes, and every step
 * takes the next batch of them where they lie. Another function runs on numbers between -1 and 1. Reads how many runs
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
    int64_t step, batch;
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

static void map_samples(Worker *w, size_t input, const char *path) {
    int file = open(path, O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status)) fail(path);
    size_t bytes = (size_t)status.st_size;
    void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (data == MAP_FAILED || bytes < w->info[input].bytes) fail("too few samples");
    close(file);
    w->data[input] = data;
    size_t batches = bytes / w->info[input].bytes;
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
    if (selfc_run(w->model, w->function, 1, inputs, w->results)) fail(selfc_error());
}

int main(int argc, char **argv) {
    if (argc < 4) fail("usage: worker MODEL FUNCTION THREADS [FILE]...");
    SelfcOptions options = {.size = sizeof options, .threads = atoi(argv[3]), .data = getenv("SELFC_DATA")};
    Worker w = {.function = argv[2], .model = selfc_open_file(argv[1], &options)};
    if (!w.model || selfc_function_info(w.model, w.function, w.info, MOST, &w.inputs, &w.outputs)) fail(selfc_error());
    int is_training = !strcmp(w.function, "train");
    if (w.inputs + w.outputs > MOST) fail("too many inputs and outputs");
    if (is_training && (size_t)argc - 4 != w.inputs) fail("a file for each training input is wanted");
    for (size_t i = 0; i < w.inputs; i++)
        if (is_training)
            map_samples(&w, i, argv[4 + i]);
        else
            w.data[i] = numbers(w.info[i].bytes);
    for (size_t i = 0; i < w.outputs; i++) w.results[i] = numbers(w.info[w.inputs + i].bytes + 64);
    if (is_training) w.batch = w.info[0].dim[0];
    w.sample = calloc((size_t)w.batch + 1, sizeof *w.sample);
    printf("ready\n");
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
