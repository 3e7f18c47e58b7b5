/* See alone.h. */
#include "bench/alone.h"

#include <stdlib.h>
#include <time.h>

enum { MOST_RUNS = 1000 };

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Whole numbers, where they are asked for, are 0. */
static void *numbers(size_t bytes, bool is_float) {
    size_t rounded = (bytes + 63) / 64 * 64;
    float *data = aligned_alloc(64, rounded);
    if (!data) die("no memory");
    for (size_t i = 0; i < rounded / sizeof *data; i++) data[i] = is_float ? (float)(i * 7919 % 2003) / 1001.5f - 1 : 0;
    return data;
}

Alone alone_compile(Graph *graph, const Target *target, int threads) {
    Graph *stopped = NULL;
    Alone alone = {0};
    int64_t batch = 0;
    Diag diag;
    diag_init(&diag);
    pipeline_run(graph, &(PipelineOptions){.machine = target->machine}, &stopped, &alone.program);
    CompileInput what = {.name = "alone", .programs = &alone.program, .batches = &batch, .program_count = 1};
    alone.jit = jit_compile(&what, target, &(CompileOptions){.threads = (uint32_t)threads}, &diag);
    if (!alone.jit) die("%s", diag.text);
    const SelfcModule *module = jit_module(alone.jit);
    const SelfcProgram *program = &module->programs[0];
    alone.session = selfc_session_new(module, threads, 1);
    if (!alone.session || selfc_session_reserve(alone.session, program, 1)) die("%s", selfc_failure());
    uint32_t io_count = program->input_count + program->output_count;
    if (io_count > ALONE_MOST_IO) die("%u inputs and outputs", io_count);
    for (uint32_t i = 0; i < io_count; i++)
        alone.io[i] = numbers(selfc_tensor_bytes(&program->io[i], 1), program->io[i].dtype == SELFC_f32);
    diag_free(&diag);
    graph_free(graph);
    return alone;
}

void alone_release(Alone *alone) {
    for (int i = 0; i < ALONE_MOST_IO; i++) free(alone->io[i]);
    if (alone->session) selfc_session_free(alone->session);
    if (alone->jit) jit_free(alone->jit);
    if (alone->program) program_free(alone->program);
    *alone = (Alone){0};
}

static double run(const Alone *alone) {
    double start = seconds_now();
    selfc_execute(alone->session, &jit_module(alone->jit)->programs[0], (void **)alone->io, 1);
    return seconds_now() - start;
}

static int compare_seconds(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void alone_measure(const Alone *alone, const char *name, double seconds) {
    double times[MOST_RUNS], spent = 0;
    int runs = 0;
    run(alone);
    while (runs < MOST_RUNS && (runs < 3 || spent < seconds)) spent += times[runs++] = run(alone);
    qsort(times, (size_t)runs, sizeof *times, compare_seconds);
    printf("%s %.9f %d\n", name, times[runs / 2], runs);
    fflush(stdout);
}
