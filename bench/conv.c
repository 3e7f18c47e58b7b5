/* How fast single convolutions run when they are compiled alone: forward, by data and by weights.
 *
 *     bench_conv THREADS < LAYERS
 *
 * A line of LAYERS is `batch side channels units size stride seconds`; pads are size / 2. The answer is a line for each
 * direction, `NAME MEDIAN RUNS`: the median seconds of one run, from runs that took about `seconds` together (three at
 * least). Equal lines one after another share the compiled code, so whoever drives this can let rivals take turns.
 *
 * Each direction is a graph of its own: the two gradients know the incoming gradient as an input, and nothing of the
 * forward convolution is left in them. All tensors are inputs, so weights come as they lie in memory. */
#include "backend/backend.h"
#include "ir/build.h"
#include "ir/build_conv.h"
#include "passes/passes.h"
#include "runtime/core/core.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    int64_t batch, side, channels, units, size, stride;
} Layer;

typedef enum { FORWARD, BY_DATA, BY_WEIGHTS } Direction;
enum { DIRECTIONS = 3, MOST_RUNS = 1000, MOST_IO = 4 };
static const char *const direction_names[DIRECTIONS] = {"forward", "by-data", "by-weights"};

typedef struct {
    Program *program;
    Jit *jit;
    SelfcSession *session;
    void *io[MOST_IO]; /* x, w, for a gradient dy; then the output */
} Compiled;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static NodeId input(Graph *g, const char *name, int64_t a, int64_t b, int64_t c, int64_t d) {
    Type type = type_make(DTYPE_f32, 4, (Dim[]){a, b, c, d});
    return build_input(g, name, INPUT_data, type, (Init){0});
}

static Graph *layer_graph(const Layer *l, Direction direction) {
    Graph *g = graph_new(direction_names[direction]);
    Arena *scratch = arena_new();
    int64_t pad = l->size / 2;
    Sliding sliding = {{l->stride, l->stride}, {1, 1}, {pad, pad}, {pad, pad}};
    NodeId x = input(g, "x", l->batch, l->side, l->side, l->channels);
    NodeId w = input(g, "w", l->size, l->size, l->channels, l->units);
    NodeId result = build_conv2d(g, x, w, &sliding, 1);
    if (direction != FORWARD) {
        int64_t places = build_conv_places(l->side, l->size, &sliding, 0);
        NodeId y = result, dy = input(g, "dy", l->batch, places, places, l->units);
        differentiate(g, y, dy, direction == BY_DATA ? &x : &w, 1, &result, scratch);
    }
    graph_add_output(g, "result", result, -1);
    arena_free(scratch);
    return g;
}

/* Numbers between -1 and 1. */
static void *numbers(size_t bytes) {
    size_t rounded = (bytes + 63) / 64 * 64;
    float *data = aligned_alloc(64, rounded);
    if (!data) die("no memory");
    for (size_t i = 0; i < rounded / sizeof *data; i++) data[i] = (float)(i * 7919 % 2003) / 1001.5f - 1;
    return data;
}

static Compiled compile(const Layer *l, Direction direction, const Target *target, int threads) {
    Graph *graph = layer_graph(l, direction), *stopped = NULL;
    Compiled c = {0};
    int64_t batch = 0;
    Diag diag;
    diag_init(&diag);
    pipeline_run(graph, &(PipelineOptions){.machine = target->machine}, &stopped, &c.program);
    CompileInput what = {.name = "conv", .programs = &c.program, .batches = &batch, .program_count = 1};
    c.jit = jit_compile(&what, target, &(CompileOptions){.threads = (uint32_t)threads}, &diag);
    if (!c.jit) die("%s", diag.text);
    const SelfcModule *module = jit_module(c.jit);
    const SelfcProgram *program = &module->programs[0];
    c.session = selfc_session_new(module, threads, 1);
    if (!c.session || selfc_session_reserve(c.session, program, 1)) die("%s", selfc_failure());
    uint32_t io_count = program->input_count + program->output_count;
    if (io_count > MOST_IO) die("%u inputs and outputs", io_count);
    for (uint32_t i = 0; i < io_count; i++)
        c.io[i] = numbers(selfc_tensor_bytes(&program->io[i], 1));
    diag_free(&diag);
    graph_free(graph);
    return c;
}

static void release(Compiled *c) {
    for (int i = 0; i < MOST_IO; i++) free(c->io[i]);
    if (c->session) selfc_session_free(c->session);
    if (c->jit) jit_free(c->jit);
    if (c->program) program_free(c->program);
    *c = (Compiled){0};
}

static double run(const Compiled *c) {
    double start = seconds_now();
    selfc_execute(c->session, &jit_module(c->jit)->programs[0], c->io, 1);
    return seconds_now() - start;
}

static int compare_seconds(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const Compiled *c, Direction direction, double seconds) {
    double times[MOST_RUNS], spent = 0;
    int runs = 0;
    run(c);
    while (runs < MOST_RUNS && (runs < 3 || spent < seconds)) spent += times[runs++] = run(c);
    qsort(times, (size_t)runs, sizeof *times, compare_seconds);
    printf("%s %.9f %d\n", direction_names[direction], times[runs / 2], runs);
    fflush(stdout);
}

int main(int argc, char **argv) {
    int threads = argc == 2 ? atoi(argv[1]) : 0;
    if (threads < 1) return fprintf(stderr, "usage: bench_conv THREADS < LAYERS\n"), 2;
    Arena *arena = arena_new();
    Target target;
    Diag diag;
    diag_init(&diag);
    if (!target_make(NULL, NULL, arena, &target, &diag)) die("%s", diag.text);
    Compiled compiled[DIRECTIONS] = {0};
    Layer layer, last = {0};
    double seconds;
    printf("ready 0\n");
    fflush(stdout);
    while (scanf("%ld %ld %ld %ld %ld %ld %lf", &layer.batch, &layer.side, &layer.channels, &layer.units, &layer.size,
                 &layer.stride, &seconds) == 7) {
        for (int d = 0; d < DIRECTIONS; d++) {
            if (memcmp(&layer, &last, sizeof layer)) {
                release(&compiled[d]);
                compiled[d] = compile(&layer, (Direction)d, &target, threads);
            }
            measure(&compiled[d], (Direction)d, seconds);
        }
        last = layer;
    }
    for (int d = 0; d < DIRECTIONS; d++) release(&compiled[d]);
    diag_free(&diag);
    arena_free(arena);
    return 0;
}
