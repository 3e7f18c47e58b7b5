/* What functions prepare from their states: that it is what the evaluator computes, for each vector width, that nothing
 * is prepared which should not be, and that it is prepared anew exactly when states have changed. */
#include "ir/build.h"
#include "ir/build_conv.h"
#include "ir/panels.h"
#include "runtime/core/core.h"
#include "tests/compiled.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 5;
static int failed;

static int64_t pick(int64_t least, int64_t most) {
    return least + (int64_t)((compiled_random(&state) + 1) / 2 * (double)(most - least + 1));
}

static void fail(const char *what) {
    printf("FAIL %s\n", what);
    failed++;
}

static NodeId input(Graph *g, const char *name, InputKind kind, uint32_t rank, const Dim *dim) {
    return build_input(g, name, kind, type_make(DTYPE_f32, rank, dim), (Init){.kind = INIT_uniform, .a = -1, .b = 1});
}

static NodeId binary(Graph *g, OpKind op, NodeId a, NodeId b) {
    const char *why;
    if (!build_broadcast_pair(g, &a, &b, &why)) die("%s", why);
    return build_binary(g, op, a, b);
}

/* Batch norm's factor and shift, from running statistics. */
static NodeId normed(Graph *g, NodeId x, int64_t features) {
    NodeId mean = input(g, "mean", INPUT_state, 1, &features),
           deviation = input(g, "deviation", INPUT_state, 1, &features);
    NodeId squared = binary(g, OP_mul, deviation, deviation);
    NodeId factor = build_unary(g, OP_sqrt, binary(g, OP_add, squared, build_like(g, squared, 0.01)));
    return binary(g, OP_div, binary(g, OP_sub, x, mean), factor);
}

/* A weight [k, m] as a function may have it: as it is, turned, computed, a part of another. */
static NodeId weight(Graph *g, int64_t k, int64_t m) {
    switch (pick(0, 5)) {
    case 0: return build_swap_last(g, input(g, "turned", INPUT_parameter, 2, (Dim[]){m, k}));
    case 1: return build_unary(g, OP_tanh, input(g, "rough", INPUT_parameter, 2, (Dim[]){k, m}));
    case 2: {
        NodeId larger = input(g, "larger", INPUT_parameter, 2, (Dim[]){k + 3, m + 2});
        return build_slice(g, larger, type_make(DTYPE_f32, 2, (Dim[]){k, m}), (int64_t[]){2, 1}, (int64_t[]){1, 1});
    }
    case 3: {
        NodeId a = input(g, "a", INPUT_parameter, 2, (Dim[]){k, 5}),
               b = input(g, "b", INPUT_parameter, 2, (Dim[]){5, m});
        return build_matmul(g, a, b);
    }
    default: return input(g, "w", INPUT_parameter, 2, (Dim[]){k, m});
    }
}

/* A product, sometimes two with one weight, one behind the other. */
static Graph *dense(Dim rows) {
    Graph *g = graph_new("dense");
    bool twice = pick(0, 3) == 0;
    int64_t k = pick(0, 4) ? pick(1, 90) : pick(500, 1500), m = twice ? k : pick(1, 120);
    NodeId x = input(g, "x", INPUT_data, 2, (Dim[]){rows, k}), w = weight(g, k, m), y = build_matmul(g, x, w);
    if (twice) y = build_matmul(g, build_unary(g, OP_tanh, y), w);
    if (pick(0, 1)) y = normed(g, y, m);
    if (pick(0, 1)) y = binary(g, OP_max, y, build_like(g, y, 0));
    graph_add_output(g, "y", y, -1);
    if (pick(0, 3) == 0) graph_add_output(g, "w", w, -1); /* an output that depends on states alone */
    return g;
}

static Graph *convolution(Dim images) {
    Graph *g = graph_new("convolution");
    int64_t size = pick(3, 9), channels = pick(1, 20), features = pick(1, 70);
    Sliding sliding = {.stride = {1, pick(1, 2)}, .dilation = {1, 1}, .before = {1, 1}, .after = {1, 1}};
    NodeId x = input(g, "x", INPUT_data, 4, (Dim[]){images, size, size, channels});
    NodeId w = input(g, "w", INPUT_parameter, 4, (Dim[]){pick(1, 3), 3, channels, features});
    NodeId y = normed(g, build_conv2d(g, x, w, &sliding, 1), features);
    graph_add_output(g, "y", binary(g, OP_max, y, build_like(g, y, 0)), -1);
    return g;
}

static void check(Graph *g, const Target *target, int64_t n) {
    Arena *arena = arena_new();
    const double **inputs = compiled_draw(g, n, (uint64_t)pick(1, 1 << 20), arena);
    int wrong =
        compiled_compare(g, target, n, inputs, (int)pick(1, 3), 1e-4) + compiled_same_bits(g, target, n, inputs, 1, 3);
    if (wrong) {
        fail(g->name);
        printf("n = %lld, %u-byte vectors: %d elements differ in\n", (long long)n, target->machine.vector_bytes, wrong);
        graph_print(g, stdout);
    }
    arena_free(arena);
    graph_free(g);
}

static void random_functions(const Target *target, int count) {
    for (int i = 0; i < count; i++) {
        int64_t n = pick(1, 40);
        check(dense(pick(0, 1) ? -1 : n), target, n);
        check(convolution(pick(0, 1) ? -pick(1, 3) : n % 5 + 1), target, n % 4 + 1);
    }
}

/* ---- what is prepared */

static Program *compiled(const Graph *g, const Machine *machine) {
    Graph *stopped = NULL;
    Program *program = NULL;
    pipeline_run(g, &(PipelineOptions){.machine = *machine}, &stopped, &program);
    return program;
}

static uint32_t count_panels(const Program *program) {
    uint32_t count = 0;
    for (uint32_t c = program->prepare_calls; c < program->call_count; c++) {
        const Kernel *kernel = &program->kernels[program->calls[c].kernel];
        Panels panels;
        count += kernel->kind == KERNEL_contract &&
                 panels_of(kernel->body, kernel->body->nodes[kernel->product].in[1], &panels);
    }
    return count;
}

static void expect_parts(Graph *g, const Machine *machine, uint32_t prepare, uint32_t run, uint32_t panels,
                         const char *what) {
    Program *program = compiled(g, machine);
    uint32_t others = program->call_count - program->prepare_calls;
    if (program->prepare_calls != prepare || others != run || count_panels(program) != panels) {
        fail(what);
        program_print(program, stdout);
    }
    program_free(program);
    graph_free(g);
}

static Graph *product_of(InputKind left, InputKind right, bool updates) {
    Graph *g = graph_new("product");
    NodeId a = input(g, "a", left, 2, (Dim[]){40, 40}), b = input(g, "b", right, 2, (Dim[]){40, 40});
    NodeId y = build_matmul(g, a, b);
    graph_add_output(g, "y", y, -1);
    if (updates) graph_add_output(g, "b", build_unary(g, OP_tanh, b), (int32_t)g->nodes[b].attr.index);
    return g;
}

/* x·w, twice with the same w. */
static Graph *shared_weight(void) {
    Graph *g = graph_new("shared");
    NodeId x = input(g, "x", INPUT_data, 2, (Dim[]){-1, 40}), w = input(g, "w", INPUT_parameter, 2, (Dim[]){40, 40});
    graph_add_output(g, "y", build_matmul(g, build_unary(g, OP_tanh, build_matmul(g, x, w)), w), -1);
    return g;
}

/* One kernel that multiplies by a state once and by data once. */
static Graph *mixed(void) {
    Graph *g = graph_new("mixed");
    NodeId x = input(g, "x", INPUT_data, 2, (Dim[]){40, 40}), w = input(g, "w", INPUT_parameter, 2, (Dim[]){40, 40});
    graph_add_output(g, "y", build_matmul(g, x, w), -1);
    graph_add_output(g, "z", build_matmul(g, x, input(g, "v", INPUT_data, 2, (Dim[]){40, 40})), -1);
    return g;
}

static Graph *batch_of_states(void) {
    Graph *g = graph_new("batch");
    NodeId w = input(g, "w", INPUT_parameter, 2, (Dim[]){1, 40}), x = input(g, "x", INPUT_data, 2, (Dim[]){-1, 40});
    NodeId many = build_broadcast(g, build_unary(g, OP_tanh, w), g->nodes[x].type);
    graph_add_output(g, "y", build_binary(g, OP_mul, many, x), -1);
    return g;
}

/* x·q, where q is computed of numbers alone; and perhaps x·w. */
static Graph *numbers(bool has_state) {
    Graph *g = graph_new("numbers");
    Type square = type_make(DTYPE_i32, 2, (Dim[]){40, 40});
    NodeId x = input(g, "x", INPUT_data, 2, (Dim[]){-1, 40});
    NodeId row = build_unary(g, OP_cos, build_cast(g, build_iota(g, square, 0), DTYPE_f32));
    NodeId q = build_matmul(g, row, build_swap_last(g, row));
    graph_add_output(g, "y", build_matmul(g, x, q), -1);
    if (has_state) graph_add_output(g, "z", build_matmul(g, x, input(g, "w", INPUT_parameter, 2, (Dim[]){40, 40})), -1);
    return g;
}

static void parts(const Machine *machine) {
    expect_parts(product_of(INPUT_data, INPUT_parameter, false), machine, 1, 1, 1, "a weight is laid out once");
    expect_parts(product_of(INPUT_parameter, INPUT_data, false), machine, 0, 1, 0, "the left operand stays");
    expect_parts(product_of(INPUT_data, INPUT_parameter, true), machine, 0, 2, 0, "a step prepares nothing");
    expect_parts(shared_weight(), machine, 1, 2, 2, "calls share panels");
    expect_parts(mixed(), machine, 0, 2, 0, "a kernel that multiplies by data, too");
    expect_parts(batch_of_states(), machine, 1, 1, 0, "a row of states");
    expect_parts(numbers(false), machine, 0, 3, 0, "numbers alone want no weights");
    expect_parts(numbers(true), machine, 4, 2, 2, "numbers are prepared with weights");
}

/* ---- when it is prepared */

enum { SIDE = 24 };

/* y = x·tanh(w); step: w + 1. */
static Program *function_program(const Machine *machine) {
    Graph *g = graph_new("function");
    NodeId x = input(g, "x", INPUT_data, 2, (Dim[]){-1, SIDE}),
           w = input(g, "w", INPUT_parameter, 2, (Dim[]){SIDE, SIDE});
    graph_add_output(g, "y", build_matmul(g, x, build_unary(g, OP_tanh, w)), -1);
    Program *program = compiled(g, machine);
    graph_free(g);
    return program;
}

static Program *step_program(const Machine *machine) {
    Graph *g = graph_new("step");
    NodeId w = input(g, "w", INPUT_parameter, 2, (Dim[]){SIDE, SIDE});
    graph_add_output(g, "w", build_binary(g, OP_add, w, build_like(g, w, 1)), 0);
    Program *program = compiled(g, machine);
    graph_free(g);
    return program;
}

/* Does the function give what the weights that are there now say? */
static bool gives_fresh(SelfcSession *session, int64_t n) {
    const SelfcProgram *program = &session->module->programs[0];
    float *x = calloc((size_t)(n * SIDE), sizeof *x), *y = calloc((size_t)(n * SIDE), sizeof *y);
    const float *w = session->state;
    bool fresh = selfc_session_reserve(session, program, n) == 0;
    for (int64_t i = 0; i < n * SIDE; i++) x[i] = (float)(i % 7) - 3;
    selfc_execute(session, program, (void *[]){x, y}, n);
    for (int64_t i = 0; i < n * SIDE; i++) {
        double want = 0;
        for (int64_t k = 0; k < SIDE; k++) want += x[i / SIDE * SIDE + k] * tanh(w[k * SIDE + i % SIDE]);
        fresh &= fabs(y[i] - want) < 1e-3;
    }
    free(x);
    free(y);
    return fresh;
}

static void changes(const Target *target) {
    Program *programs[] = {function_program(&target->machine), step_program(&target->machine)};
    CompileInput input = {
        .name = "changes", .programs = programs, .program_count = 2, .training = {.train = -1, .evaluate = -1}};
    Diag diag;
    diag_init(&diag);
    Jit *jit = jit_compile(&input, target, &(CompileOptions){0}, &diag);
    if (!jit) die("%s", diag.text);
    SelfcSession *session = selfc_session_new(jit_module(jit), 2, 1);
    if (!session) die("%s", selfc_failure());
    if (!gives_fresh(session, 3) || !gives_fresh(session, 90)) fail("the first run");
    const float *prepared = selfc_prepared(session, &session->module->programs[0]), kept = prepared[0];
    memset((float *)(uintptr_t)prepared, 0, sizeof kept);
    if (gives_fresh(session, 3)) fail("what has not changed is prepared anew");
    selfc_execute(session, &session->module->programs[1], NULL, 1);
    if (!gives_fresh(session, 3)) fail("a step is not seen");
    for (int64_t i = 0; i < SIDE * SIDE; i++) ((float *)session->state)[i] = (float)(i % 5) - 2;
    if (gives_fresh(session, 3)) fail("what was not announced is seen");
    selfc_session_changed(session);
    if (!gives_fresh(session, 3)) fail("weights that were written are not seen");
    selfc_session_free(session);
    jit_free(jit);
    for (int i = 0; i < 2; i++) program_free(programs[i]);
    diag_free(&diag);
}

int main(int argc, char **argv) {
    int scale = argc > 1 ? atoi(argv[1]) : 1;
    const char *cpus[] = {NULL, "x86-64-v4", "x86-64-v3", "x86-64-v2"};
    Arena *arena = arena_new();
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        Target target;
        Diag diag;
        diag_init(&diag);
        bool is_known = target_make(NULL, cpus[i], arena, &target, &diag);
        if (is_known) parts(&target.machine);
        if (is_known && target.is_host) {
            random_functions(&target, 5 * scale);
            changes(&target);
            printf("%s: %d failed so far\n", target.cpu, failed);
        } else {
            printf("not run for %s: %s\n", cpus[i], is_known ? "this machine cannot" : diag.text);
        }
        diag_free(&diag);
    }
    arena_free(arena);
    printf("%s\n", failed ? "FAILED" : "what is prepared is what the evaluator computes");
    return failed != 0;
}
