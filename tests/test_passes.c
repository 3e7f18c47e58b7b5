/* Properties of the graph passes: each keeps the meaning of random graphs, simplify reaches a fixpoint, dce keeps the
 * interface, split cuts by shape alone, gradients of whole graphs agree with finite differences. */
#include "ir/build.h"
#include "passes/passes.h"
#include "tests/random_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int failures;

enum { GRAPHS = 400 };

static void fail(const char *what, uint64_t seed, const Graph *graph) {
    failures++;
    fprintf(stderr, "FAIL %s, random graph %llu:\n", what, (unsigned long long)seed);
    graph_print(graph, stderr);
}

static Graph *run(const char *pass, const Graph *from) {
    Arena *scratch = arena_new();
    Graph *to = graph_new(from->name);
    pass_find(pass)->graph(from, to, scratch);
    arena_free(scratch);
    return to;
}

static bool is_close(double a, double b, double scale) {
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-5 * scale;
}

/* Outputs of both graphs on the same inputs; the tolerance is relative to the largest element. */
static bool same_meaning(const Graph *a, const Graph *b, int64_t n, uint64_t seed) {
    Arena *arena = arena_new();
    const double *const *inputs = (const double *const *)random_inputs(a, n, seed, arena);
    double **values_a = graph_eval(a, n, inputs, arena), **values_b = graph_eval(b, n, inputs, arena);
    bool same = a->output_count == b->output_count && a->input_count == b->input_count;
    for (uint32_t i = 0; same && i < a->output_count; i++) {
        const double *x = values_a[a->outputs[i].node], *y = values_b[b->outputs[i].node];
        Type type = a->nodes[a->outputs[i].node].type;
        int64_t count = dim_at(type_elements(type), n);
        double scale = 1;
        same = type_equal(type, b->nodes[b->outputs[i].node].type) && !strcmp(a->outputs[i].name, b->outputs[i].name);
        for (int64_t e = 0; e < count; e++)
            if (isfinite(x[e])) scale = fmax(scale, fabs(x[e]));
        for (int64_t e = 0; same && e < count; e++) same = is_close(x[e], y[e], scale);
    }
    arena_free(arena);
    return same;
}

static void check_pass(const char *pass, const Graph *from, uint64_t seed) {
    Graph *to = run(pass, from);
    if (!graph_verify(to, stderr)) fail("the pass built a bad graph", seed, from);
    for (int64_t n = 1; n <= 3; n += 2)
        if (!same_meaning(from, to, n, seed)) fail(pass, seed, from);
    graph_free(to);
}

/* Simplified twice is simplified once. */
static void check_fixpoint(const Graph *from, uint64_t seed) {
    Arena *arena = arena_new();
    Graph *once = run("simplify", from), *clean = run("dce", once);
    Graph *again = run("simplify", clean), *still = run("dce", again);
    if (strcmp(graph_text(clean, arena), graph_text(still, arena))) {
        fail("simplify is not at its fixpoint", seed, clean);
        fprintf(stderr, "then:\n");
        graph_print(still, stderr);
    }
    graph_free(once), graph_free(clean), graph_free(again), graph_free(still);
    arena_free(arena);
}

/* Nothing is left that no output needs. */
static void check_dce(const Graph *from, uint64_t seed) {
    Arena *arena = arena_new();
    Graph *to = run("dce", from);
    uint32_t *users = graph_count_users(to, arena);
    for (NodeId id = 0; id < to->count; id++)
        if (!users[id]) fail("dce left a node that nobody uses", seed, from);
    graph_free(to);
    arena_free(arena);
}

static void test_random_graphs(void) {
    for (uint64_t seed = 0; seed < GRAPHS; seed++) {
        RandomOptions options = {.operations = 10 + (uint32_t)(seed % 40), .elements = 200, .batch = seed & 1};
        Graph *graph = random_graph(seed, options);
        check_pass("simplify", graph, seed);
        check_pass("dce", graph, seed);
        check_pass("split", graph, seed);
        check_fixpoint(graph, seed);
        check_dce(graph, seed);
        graph_free(graph);
    }
}

/* What backward passes are made of goes through the other passes, too. */
static void test_random_gradients(void) {
    for (uint64_t seed = 0; seed < GRAPHS; seed++) {
        RandomOptions options = {.operations = 10 + (uint32_t)(seed % 20), .elements = 100, .gradients = true};
        Graph *graph = random_graph(seed, options), *resolved = run("autodiff", graph);
        if (!graph_verify(resolved, stderr)) fail("autodiff built a bad graph", seed, graph);
        check_pass("simplify", resolved, seed);
        check_fixpoint(resolved, seed);
        graph_free(resolved);
        graph_free(graph);
    }
}

/* All passes in a row, each checked against what stood before it: a failure names the pass and aborts. */
static void test_pipeline(void) {
    for (uint64_t seed = 0; seed < GRAPHS; seed++) {
        RandomOptions kind = {.operations = 5 + (uint32_t)(seed % 40),
                              .elements = seed % 7 ? 100 : 3000,
                              .batch = seed & 1,
                              .gradients = seed & 2};
        PipelineOptions options = {.check_meaning = true, .machine = machine_generic()};
        Graph *graph = random_graph(seed, kind), *none;
        Program *program;
        pipeline_run(graph, &options, &none, &program);
        program_free(program);
        graph_free(graph);
    }
}

/* The loss as a function of t, the parameters being x + t * direction. */
typedef struct {
    Graph *graph;
    NodeId loss;
    double **inputs, **direction;
    Arena *arena;
} Line;

static double loss_at(const Line *line, double t) {
    Arena *arena = arena_new();
    double **inputs = arena_array(arena, double *, line->graph->input_count);
    for (uint32_t i = 0; i < line->graph->input_count; i++) {
        int64_t count = dim_at(type_elements(line->graph->inputs[i].type), 1);
        inputs[i] = arena_array(arena, double, count);
        for (int64_t e = 0; e < count; e++) inputs[i][e] = line->inputs[i][e] + t * line->direction[i][e];
    }
    double loss = graph_eval(line->graph, 1, (const double *const *)inputs, arena)[line->loss][0];
    arena_free(arena);
    return loss;
}

/* The slope, or NaN where the loss jumps or bends nearby. */
static double slope(const Line *line) {
    double h = 1e-5, middle = loss_at(line, 0);
    double after = (loss_at(line, h) - middle) / h, before = (middle - loss_at(line, -h)) / h;
    bool smooth = fabs(after - before) <= 1e-3 * fmax(1, fabs(after)) && fabs(after) < 1e4;
    return smooth ? (after + before) / 2 : NAN;
}

/* The loss of the graph's gradients. Rounding to a narrow float has a gradient, but no slope: then there is none. */
static bool find_loss(const Graph *graph, NodeId *loss) {
    for (NodeId id = 0; id < graph->count; id++) {
        const Node *node = &graph->nodes[id];
        if (node->op == OP_cast && (node->type.dtype == DTYPE_bf16 || node->type.dtype == DTYPE_f16)) return false;
        if (node->op == OP_gradient) return *loss = node->in[0], true;
    }
    return false;
}

/* What differentiate says about the slope along the line. */
static double predicted(const Line *line) {
    Graph *g = line->graph;
    NodeId wanted[64], result[64];
    uint32_t count = 0;
    double sum = 0;
    for (NodeId id = 0; id <= line->loss && count < 64; id++)
        if (g->nodes[id].op == OP_input && g->inputs[g->nodes[id].attr.index].type.dtype == DTYPE_f32)
            wanted[count++] = id;
    differentiate(g, line->loss, build_like(g, line->loss, 1), wanted, count, result, line->arena);
    double **values = graph_eval(g, 1, (const double *const *)line->inputs, line->arena);
    for (uint32_t i = 0; i < count; i++) {
        int64_t elements = dim_at(type_elements(g->nodes[wanted[i]].type), 1);
        for (int64_t e = 0; result[i] != NO_NODE && e < elements; e++)
            sum += values[result[i]][e] * line->direction[g->nodes[wanted[i]].attr.index][e];
    }
    return sum;
}

/* The graph up to the loss, without what is made of its gradient. Gradients are not stopped: a difference cannot be. */
static Graph *until(const Graph *from, NodeId last) {
    Graph *to = graph_new(from->name);
    Arena *scratch = arena_new();
    NodeId *new_id = arena_array(scratch, NodeId, from->count);
    graph_copy_inputs(to, from);
    for (NodeId id = 0; id <= last; id++) {
        const Node *node = &from->nodes[id];
        new_id[id] = node->op == OP_stop_gradient ? new_id[node->in[0]] : graph_copy_node(to, node, new_id);
    }
    graph_add_output(to, "loss", new_id[last], -1);
    arena_free(scratch);
    return to;
}

static bool check_slope(uint64_t seed) {
    Graph *graph = random_graph(seed, (RandomOptions){.elements = 60, .gradients = true});
    Line line = {.arena = arena_new()};
    bool checked = false;
    if (find_loss(graph, &line.loss)) {
        line.graph = until(graph, line.loss);
        line.loss = line.graph->outputs[0].node;
        line.inputs = random_inputs(line.graph, 1, seed, line.arena);
        line.direction = random_inputs(line.graph, 1, seed + 1, line.arena);
        for (uint32_t i = 0; i < line.graph->input_count; i++)
            if (line.graph->inputs[i].type.dtype != DTYPE_f32)
                memset(line.direction[i], 0,
                       sizeof(double) * (size_t)dim_at(type_elements(line.graph->inputs[i].type), 1));
        double expected = slope(&line), got = isnan(expected) ? 0 : predicted(&line);
        checked = !isnan(expected);
        if (checked && fabs(got - expected) > 2e-3 * fmax(1, fabs(expected))) {
            fprintf(stderr, "slope %g, by the gradient %g\n", expected, got);
            fail("the gradient is wrong", seed, graph);
        }
        graph_free(line.graph);
    }
    arena_free(line.arena);
    graph_free(graph);
    return checked;
}

static void test_slopes(void) {
    int checked = 0;
    for (uint64_t seed = 0; seed < GRAPHS; seed++) checked += check_slope(seed);
    printf("%d of %d random losses are smooth where they were looked at\n", checked, GRAPHS);
    if (checked < GRAPHS / 4) failures++, fprintf(stderr, "FAIL: hardly any gradient was checked\n");
}

/* How many reductions over how many elements there are after split. */
static uint32_t count_op(const Graph *graph, OpKind op) {
    uint32_t count = 0;
    for (NodeId id = 0; id < graph->count; id++) count += graph->nodes[id].op == op;
    return count;
}

static void check_split(OpKind op, Type from, uint32_t axes, bool cut) {
    Graph *graph = graph_new("split");
    NodeId x = build_input(graph, "x", INPUT_data, from, (Init){0});
    graph_add_output(graph, "y", graph_add(graph, (Node){.op = op, .in = {x}, .attr.axes = axes}), -1);
    Graph *to = run("split", graph);
    if ((count_op(to, op) == 2) != cut) fail(cut ? "split should cut" : "split should not cut", 0, to);
    if (!graph_verify(to, stderr) || !same_meaning(graph, to, 2, 7)) fail("split changed the meaning", 0, graph);
    graph_free(to);
    graph_free(graph);
}

static void test_split(void) {
    const OpKind ops[] = {OP_sum, OP_reduce_max};
    for (int i = 0; i < 2; i++) {
        OpKind op = ops[i];
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){4096, 64}), 1, true);
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){1021, 100}), 1, true); /* a prime: padded */
        check_split(op, type_make(DTYPE_f32, 1, (Dim[]){65536}), 1, true);
        check_split(op, type_make(DTYPE_f32, 1, (Dim[]){65537}), 1, true);
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){2, 40000}), 3, true);
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){8, 16384}), 3, true);
        check_split(op, type_make(DTYPE_f32, 3, (Dim[]){3, 20011, 2}), 3, true);
        check_split(op, type_make(DTYPE_i32, 1, (Dim[]){40000}), 1, true);
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){100, 128}), 3, false);  /* short */
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){16, 8192}), 2, false);  /* 16 rows */
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){128, 1024}), 1, false); /* 16 groups of columns */
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){-1, 40000}), 3, false); /* depends on the batch */
        check_split(op, type_make(DTYPE_f32, 2, (Dim[]){40000, -1}), 1, false);
    }
}

/* A graph that still asks for gradients is not touched: see the fourth requirement of simplify. */
static void test_simplify_waits(void) {
    Graph *graph = graph_new("waits");
    NodeId x = build_input(graph, "x", INPUT_parameter, type_scalar(DTYPE_f32), (Init){0});
    NodeId same = build_binary(graph, OP_mul, x, build_like(graph, x, 1));
    graph_add_output(graph, "dx", build_gradient(graph, build_binary(graph, OP_mul, x, same), same), -1);
    Graph *to = run("simplify", graph);
    if (to->count != graph->count) fail("simplify touched a graph with gradients", 0, graph);
    graph_free(to);
    graph_free(graph);
}

/* Messages of pipeline_run_named. */
static void test_names(void) {
    const char *const wrong[] = {"simplfy", "dce,,nothing", "order", "fuse,dce"};
    PipelineOptions options = {.machine = machine_generic()};
    Graph *graph = random_graph(1, (RandomOptions){0}), *result = NULL;
    Program *program = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        Diag diag;
        diag_init(&diag);
        if (pipeline_run_named(graph, wrong[i], &options, &diag, &result, &program) || !diag.errors)
            fail(wrong[i], 1, graph);
        diag_free(&diag);
    }
    graph_free(graph);
}

int main(void) {
    test_random_graphs();
    test_random_gradients();
    test_pipeline();
    test_slopes();
    test_split();
    test_simplify_waits();
    test_names();
    printf("%d failures\n", failures);
    return failures ? 1 : 0;
}
