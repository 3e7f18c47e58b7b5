/* A table of embeddings alone: rows taken forward, and the dense gradient of the table backward.
 *
 *     bench_embedding THREADS ROWS WIDTH TAKEN
 *
 * Speaks as worker.c does: "ready SECONDS", then seconds for each count of runs. The gradient is a state, as PyTorch's
 * `.grad` is memory that stays; table and gradient begin at lines of the cache as everything in a session does. */
#include "backend/backend.h"
#include "ir/build.h"
#include "passes/passes.h"
#include "runtime/core/core.h"

#include <stdlib.h>
#include <time.h>

typedef struct {
    int64_t rows, width, taken;
} Table;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static Type matrix(DType dtype, int64_t rows, int64_t columns) { return type_make(dtype, 2, (Dim[]){rows, columns}); }

static Graph *table_graph(const Table *t) {
    Graph *g = graph_new("embedding");
    Arena *scratch = arena_new();
    Type whole = matrix(DTYPE_f32, t->rows, t->width), part = matrix(DTYPE_f32, t->taken, t->width);
    NodeId table = build_input(g, "table", INPUT_parameter, whole, (Init){.kind = INIT_normal, .b = 0.02});
    NodeId before = build_input(g, "gradient", INPUT_state, whole, (Init){0});
    NodeId text = build_input(g, "text", INPUT_data, matrix(DTYPE_i32, t->taken, 1), (Init){0});
    NodeId dy = build_input(g, "dy", INPUT_data, part, (Init){0}), gradient;
    NodeId y = build_gather(g, table, build_broadcast(g, text, type_with_dtype(part, DTYPE_i32)), 0);
    differentiate(g, y, dy, &table, 1, &gradient, scratch);
    graph_add_output(g, "y", y, -1);
    graph_add_output(g, "gradient", gradient, (int32_t)g->nodes[before].attr.index);
    arena_free(scratch);
    return g;
}

static void *memory(int64_t count) {
    void *data = aligned_alloc(64, ((size_t)count * 4 + 63) / 64 * 64);
    if (!data) die("no memory");
    return data;
}

static void fill(const Table *t, int32_t *text, float *dy) {
    for (int64_t i = 0; i < t->taken; i++) text[i] = (int32_t)((uint64_t)i * 2654435761u % (uint64_t)t->rows);
    for (int64_t i = 0; i < t->taken * t->width; i++) dy[i] = (float)(i * 7919 % 2003) / 1001.5f - 1;
}

int main(int argc, char **argv) {
    Table table = {argc == 5 ? atol(argv[2]) : 0, argc == 5 ? atol(argv[3]) : 0, argc == 5 ? atol(argv[4]) : 0};
    int threads = argc == 5 ? atoi(argv[1]) : 0;
    if (threads < 1 || table.rows < 1 || table.width < 1 || table.taken < 1)
        return fprintf(stderr, "usage: bench_embedding THREADS ROWS WIDTH TAKEN\n"), 2;
    double start = seconds_now();
    Arena *arena = arena_new();
    Target target;
    Diag diag;
    diag_init(&diag);
    if (!target_make(NULL, NULL, arena, &target, &diag)) die("%s", diag.text);
    Graph *stopped = NULL;
    Program *program = NULL;
    pipeline_run(table_graph(&table), &(PipelineOptions){.machine = target.machine}, &stopped, &program);
    int64_t batch = 0;
    CompileInput what = {.name = "embedding", .programs = &program, .batches = &batch, .program_count = 1};
    Jit *jit = jit_compile(&what, &target, &(CompileOptions){.threads = (uint32_t)threads}, &diag);
    if (!jit) die("%s", diag.text);
    const SelfcModule *module = jit_module(jit);
    SelfcSession *session = selfc_session_new(module, threads, 1);
    if (!session || selfc_session_reserve(session, &module->programs[0], 1)) die("%s", selfc_failure());
    void *io[] = {memory(table.taken), memory(table.taken * table.width), memory(table.taken * table.width), NULL};
    fill(&table, io[0], io[1]);
    selfc_execute(session, &module->programs[0], io, 1);
    printf("ready %.6f\n", seconds_now() - start);
    fflush(stdout);
    for (int count; scanf("%d", &count) == 1; fflush(stdout)) {
        start = seconds_now();
        for (int i = 0; i < count; i++) selfc_execute(session, &module->programs[0], io, 1);
        printf("%.9f\n", seconds_now() - start);
    }
}
