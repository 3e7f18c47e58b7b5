/* Convolutions as networks have them, against the evaluator: batch norm, relu, residual sums and gradients behind them,
 * over shapes with awkward edges, for each vector width; and shapes that schedules and fusion must not take for what
 * they look like. */
#include "ir/build.h"
#include "ir/build_conv.h"
#include "passes/choice.h"
#include "passes/passes.h"
#include "tests/compiled.h"

#include <stdlib.h>
#include <string.h>

static uint64_t state = 11;

static int64_t pick(int64_t least, int64_t most) {
    return least + (int64_t)((compiled_random(&state) + 1) / 2 * (double)(most - least + 1));
}

static NodeId input(Graph *g, const char *name, InputKind kind, uint32_t rank, const Dim *dim) {
    return build_input(g, name, kind, type_make(DTYPE_f32, rank, dim), (Init){0});
}

static NodeId data(Graph *g, const char *name, uint32_t rank, const Dim *dim) {
    return input(g, name, INPUT_data, rank, dim);
}

static NodeId binary(Graph *g, OpKind op, NodeId a, NodeId b) {
    const char *why;
    if (!build_broadcast_pair(g, &a, &b, &why)) die("%s", why);
    return build_binary(g, op, a, b);
}

static NodeId scaled(Graph *g, NodeId a, double factor) { return binary(g, OP_mul, a, build_like(g, a, factor)); }
static NodeId sum(Graph *g, NodeId a) { return build_sum(g, a, (1u << g->nodes[a].type.rank) - 1); }

static int check(Graph *g, const Target *target, int64_t n, double tolerance, const char *what) {
    Arena *arena = arena_new();
    const double **inputs = compiled_draw(g, n, (uint64_t)pick(1, 1 << 20), arena);
    int wrong = compiled_compare(g, target, n, inputs, (int)pick(1, 3), tolerance);
    arena_free(arena);
    if (wrong) {
        printf("FAIL %s, n = %lld, %u-byte vectors: %d elements differ in\n", what, (long long)n,
               target->machine.vector_bytes, wrong);
        graph_print(g, stdout);
    }
    graph_free(g);
    return wrong != 0;
}

/* ---- blocks of networks */

typedef struct {
    Dim N;
    int64_t size[2], C, O, kernel[2], groups;
    Sliding sliding;
} Layer;

static Layer draw_layer(bool is_open) {
    Layer l = {.N = is_open ? -1 : pick(1, 4), .groups = 1};
    bool is_large = pick(0, 4) == 0; /* enough elements that fusion computes batch norm again, and sums rows by tile */
    do {
        for (int i = 0; i < 2; i++) {
            l.size[i] = is_large ? pick(12, 20) : pick(1, 11);
            l.kernel[i] = pick(1, 3);
            l.sliding.stride[i] = is_large ? 1 : pick(1, 4);
            l.sliding.dilation[i] = pick(0, 3) ? 1 : 2;
            l.sliding.before[i] = pick(-1, 2);
            l.sliding.after[i] = pick(-1, 2);
        }
    } while (build_conv_places(l.size[0], l.kernel[0], &l.sliding, 0) < 1 ||
             build_conv_places(l.size[1], l.kernel[1], &l.sliding, 1) < 1);
    if (is_large && !is_open) l.N = 4;
    if (pick(0, 3) == 0) l.groups = pick(2, 3);
    l.C = l.groups * (pick(0, 3) ? pick(1, 12) : 1);
    l.O = l.groups * (is_large ? pick(10, 20) : pick(0, 3) ? pick(1, 24) : 1);
    return l;
}

static NodeId batch_norm(Graph *g, NodeId x) {
    Type type = g->nodes[x].type;
    Dim features = type.dim[3];
    double each = 1 / ((double)type_elements(type) / (double)features);
    NodeId centre = input(g, "centre", INPUT_state, 1, &features),
           scale = input(g, "scale", INPUT_parameter, 1, &features);
    NodeId distance = binary(g, OP_sub, x, centre);
    NodeId mean = scaled(g, build_sum(g, distance, 7), each),
           square = scaled(g, build_sum(g, binary(g, OP_mul, distance, distance), 7), each);
    NodeId variance = binary(g, OP_sub, square, binary(g, OP_mul, mean, mean));
    NodeId deviation = build_unary(g, OP_sqrt, binary(g, OP_add, variance, build_like(g, variance, 0.1)));
    NodeId factor = binary(g, OP_div, scale, deviation),
           shift = build_unary(g, OP_neg, binary(g, OP_mul, mean, factor));
    NodeId next = build_reshape(g, binary(g, OP_add, scaled(g, mean, 0.1), centre), 1, &features);
    graph_add_output(g, "centre", next, (int32_t)g->nodes[centre].attr.index);
    return binary(g, OP_add, binary(g, OP_mul, distance, factor), shift);
}

/* What comes back is continuous where relu begins, so that roundings decide nothing. */
static Graph *block(const Layer *l, bool learns) {
    Graph *g = graph_new("block");
    NodeId x = data(g, "x", 4, (Dim[]){l->N, l->size[0], l->size[1], l->C});
    NodeId w = input(g, "w", INPUT_parameter, 4, (Dim[]){l->kernel[0], l->kernel[1], l->C / l->groups, l->O});
    NodeId y = build_conv2d(g, x, w, &l->sliding, l->groups);
    if (l->N > 0 && pick(0, 3)) y = batch_norm(g, y);
    if (pick(0, 1)) y = binary(g, OP_add, y, data(g, "residual", 4, g->nodes[y].type.dim));
    if (pick(0, 1)) y = binary(g, OP_max, y, build_like(g, y, 0));
    if (pick(0, 1)) graph_add_output(g, "y", y, -1);
    NodeId loss = sum(g, binary(g, OP_mul, binary(g, OP_mul, y, y), data(g, "weights", 4, g->nodes[y].type.dim)));
    graph_add_output(g, "loss", build_reshape(g, loss, 0, NULL), -1);
    if (!learns) return g;
    if (pick(0, 1)) graph_add_output(g, "dx", build_gradient(g, loss, x), -1);
    NodeId dw = build_gradient(g, loss, w);
    if (pick(0, 1))
        graph_add_output(g, "w", binary(g, OP_sub, w, scaled(g, dw, 0.01)), (int32_t)g->nodes[w].attr.index);
    else
        graph_add_output(g, "dw", dw, -1);
    return g;
}

/* The evaluator wants gradients written out. */
static Graph *differentiated(Graph *from) {
    Diag diag;
    Graph *g = NULL;
    Program *program = NULL;
    diag_init(&diag);
    if (!pipeline_run_named(from, "autodiff", &(PipelineOptions){0}, &diag, &g, &program)) die("%s", diag.text);
    diag_free(&diag);
    graph_free(from);
    return g;
}

static int blocks(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        bool is_open = pick(0, 3) == 0;
        Layer l = draw_layer(is_open);
        failed += check(differentiated(block(&l, pick(0, 3) > 0)), target, is_open ? pick(1, 5) : 1, 1e-4, "block");
    }
    return failed;
}

/* ---- what looks like something else */

static NodeId rows_of(Graph *g, NodeId x, int64_t kernel, const Dim *places, const int64_t *stride,
                      const int64_t *before) {
    Type type = g->nodes[x].type;
    int64_t C = type.dim[type.rank - 1];
    NodeId picture =
        type.rank == 6 ? x : build_reshape(g, x, 6, (Dim[]){type.dim[0], type.dim[1], type.dim[2], 1, 1, C});
    Type seen = type_make(DTYPE_f32, 6, (Dim[]){type.dim[0], places[0], places[1], kernel, kernel, C});
    NodeId window = build_window(g, picture, seen, stride, (int64_t[]){1, 1}, before, 0);
    return build_reshape(g, window, 2, (Dim[]){type.dim[0] * places[0] * places[1], kernel * kernel * C});
}

static const int64_t ones[2] = {1, 1}, zeros[2] = {0, 0};

/* A part of a picture, or one whose axes were exchanged, is in memory but not line by line. */
static int parts_of_pictures(const Target *target) {
    int failed = 0;
    for (int i = 0; i < 4; i++) {
        Graph *g = graph_new("part");
        int64_t N = pick(1, 3), H = pick(5, 9), W = pick(5, 9), C = pick(1, 20), O = pick(1, 20);
        NodeId x = data(g, "x", 6, (Dim[]){N, i & 1 ? W : H, i & 1 ? H : W, 1, 1, C});
        if (i & 1)
            x = build_transpose(g, x, (uint32_t[]){0, 2, 1, 3, 4, 5});
        else
            x = build_slice(g, x, type_make(DTYPE_f32, 6, (Dim[]){N, H - 1, W - 1, 1, 1, C}),
                            (int64_t[]){0, 1, 1, 0, 0, 0}, (int64_t[]){1, 1, 1, 1, 1, 1});
        Type seen = g->nodes[x].type;
        NodeId rows = rows_of(g, x, 3, (Dim[]){seen.dim[1] - 2, seen.dim[2] - 2}, ones, zeros);
        graph_add_output(g, "y", build_matmul(g, rows, data(g, "w", 2, (Dim[]){9 * C, O})), -1);
        failed += check(g, target, 1, 2e-5, "part of a picture");
    }
    return failed;
}

/* Windows that see nothing but pads. */
static int beside_the_picture(const Target *target) {
    Graph *g = graph_new("beside");
    int64_t C = 300;
    NodeId x = data(g, "x", 4, (Dim[]){2, 1, 1, C});
    NodeId rows = rows_of(g, x, 3, (Dim[]){2, 1}, (int64_t[]){1, 50}, (int64_t[]){3, 8});
    graph_add_output(g, "y", build_matmul(g, rows, data(g, "w", 2, (Dim[]){9 * C, 20})), -1);
    return check(g, target, 1, 2e-5, "window beside the picture");
}

static NodeId sums_of_rows(Graph *g, NodeId rows, int64_t pieces) {
    Type type = g->nodes[rows].type;
    return build_sum(g, build_reshape(g, rows, 3, (Dim[]){pieces, type.dim[0] / pieces, type.dim[1]}), 1u << 1);
}

/* Sums over parts of a product's rows that end within lines, or that are cut in several ways. */
static int sums_of_parts(const Target *target) {
    int failed = 0;
    for (int i = 0; i < 3; i++) {
        Graph *g = graph_new("parts");
        int64_t C = pick(2, 20), O = pick(2, 40);
        NodeId x = data(g, "x", 4, (Dim[]){4, 8, 8, C});
        NodeId y = build_matmul(g, rows_of(g, x, 3, (Dim[]){6, 6}, ones, zeros), data(g, "w", 2, (Dim[]){9 * C, O}));
        static const int64_t pieces[][2] = {{16, 0}, {4, 2}, {48, 3}};
        graph_add_output(g, "sums", sums_of_rows(g, y, pieces[i][0]), -1);
        if (pieces[i][1]) graph_add_output(g, "others", sums_of_rows(g, build_unary(g, OP_abs, y), pieces[i][1]), -1);
        if (i == 2) graph_add_output(g, "y", y, -1);
        failed += check(g, target, 1, 2e-5, "sums of parts");
    }
    return failed;
}

/* Each product's sums need what the other's kernel would make. */
static int crossed_sums(const Target *target) {
    Graph *g = graph_new("crossed");
    NodeId p = build_matmul(g, data(g, "a", 2, (Dim[]){512, 20}), data(g, "b", 2, (Dim[]){20, 24}));
    NodeId q = build_matmul(g, data(g, "c", 2, (Dim[]){512, 20}), data(g, "d", 2, (Dim[]){20, 24}));
    NodeId small = build_sum(g, build_unary(g, OP_exp, q), 1u << 1);
    graph_add_output(g, "with_q", sums_of_rows(g, binary(g, OP_add, p, q), 2), -1);
    graph_add_output(g, "with_small", sums_of_rows(g, binary(g, OP_add, p, small), 2), -1);
    return check(g, target, 1, 2e-5, "crossed sums");
}

/* More sums of one product's rows than one kernel makes. */
static int many_sums(const Target *target) {
    Graph *g = graph_new("many");
    NodeId y = build_matmul(g, data(g, "a", 2, (Dim[]){64, 20}), data(g, "b", 2, (Dim[]){20, 24}));
    for (int i = 0; i < 20; i++)
        graph_add_output(g, "s", sums_of_rows(g, binary(g, OP_add, y, build_like(g, y, i)), 2), -1);
    return check(g, target, 1, 2e-5, "many sums");
}

static int check_kernel(Graph *body, NodeId product, const Target *target, const char *what) {
    Kernel kernel = {.kind = KERNEL_contract, .name = "kernel", .body = body, .product = product};
    Type type = body->nodes[product].type;
    kernel.grid.rank = type.rank;
    for (uint32_t i = 0; i < type.rank; i++) kernel.grid.axis[i].extent = type.dim[i];
    schedule_contract(&kernel, &target->machine, NULL);
    int wrong = compiled_compare_kernel(&kernel, target, 1, (uint64_t)pick(1, 1 << 20), 2, 2e-5);
    if (wrong) printf("FAIL %s, %u-byte vectors: %d elements\n", what, target->machine.vector_bytes, wrong);
    graph_free(body);
    return wrong != 0;
}

/* The kernel by tiles of 2x2 places, where they pay: *count says how often they did. */
static int check_tiled(Graph *body, NodeId product, const Target *target, int *count, const char *what) {
    Kernel kernel = {.kind = KERNEL_contract, .name = "kernel", .body = body, .product = product};
    Type type = body->nodes[product].type;
    kernel.grid.rank = type.rank;
    for (uint32_t i = 0; i < type.rank; i++) kernel.grid.axis[i].extent = type.dim[i];
    bool is_tiled = schedule_winograd(&kernel, &target->machine);
    int wrong = is_tiled ? compiled_compare_kernel(&kernel, target, 1, (uint64_t)pick(1, 1 << 20), 2, 5e-5) : 0;
    *count += is_tiled;
    if (wrong) {
        printf("FAIL %s, %u-byte vectors: %d elements\n", what, target->machine.vector_bytes, wrong);
        graph_print(body, stdout);
    }
    graph_free(body);
    return wrong != 0;
}

/* A sum that adds up nothing is no sum of rows. */
static int sum_of_one(const Target *target) {
    Graph *g = graph_new("one");
    NodeId product = build_matmul(g, data(g, "a", 3, (Dim[]){3, 1, 20}), data(g, "b", 3, (Dim[]){3, 20, 30}));
    graph_add_output(g, "s", build_sum(g, build_unary(g, OP_neg, product), 1u << 1), -1);
    return check_kernel(g, product, target, "sum of one");
}

/* Both statistics of a batch norm are made with the tiles of the convolution before it, which stores its result once.
 */
static int statistics_with_tiles(const Target *target) {
    Graph *g = graph_new("statistics"), *stopped = NULL;
    Layer layer = {.N = 16, .size = {32, 32}, .C = 8, .O = 16, .kernel = {3, 3}, .groups = 1};
    layer.sliding = (Sliding){.stride = {1, 1}, .dilation = {1, 1}, .before = {1, 1}, .after = {1, 1}};
    NodeId x = data(g, "x", 4, (Dim[]){layer.N, 32, 32, layer.C}),
           w = input(g, "w", INPUT_parameter, 4, (Dim[]){3, 3, layer.C, layer.O});
    graph_add_output(g, "y", batch_norm(g, build_conv2d(g, x, w, &layer.sliding, 1)), -1);
    Program *program = NULL;
    pipeline_run(g, &(PipelineOptions){.machine = target->machine}, &stopped, &program);
    uint32_t sums = 0, others = 0;
    for (uint32_t k = 0; k < program->kernel_count; k++) {
        const Kernel *kernel = &program->kernels[k];
        for (uint32_t i = 0; i < kernel->body->output_count && kernel->kind == KERNEL_contract; i++)
            *(kernel_sums_rows(kernel, i) ? &sums : &others) += 1;
    }
    bool good = sums == 2 && others == 1;
    if (!good) printf("FAIL statistics with tiles: %u sums and %u other results of the product\n", sums, others);
    program_free(program);
    graph_free(g);
    return !good;
}

/* Depth that lies contiguous in runs of its own, while its blocks end with images whose places no vector divides. */
static int turned_runs(const Target *target) {
    Graph *g = graph_new("turned");
    int64_t C = 400, O = 2;
    NodeId x = data(g, "x", 6, (Dim[]){16, 8, 8, 1, 1, C});
    NodeId left = build_swap_last(g, rows_of(g, x, 2, (Dim[]){7, 7}, ones, zeros));
    NodeId dy = build_transpose(g, data(g, "dy", 3, (Dim[]){49, O, 16}), (uint32_t[]){0, 2, 1});
    NodeId product = build_matmul(g, left, build_reshape(g, dy, 2, (Dim[]){49 * 16, O}));
    graph_add_output(g, "dw", product, -1);
    return check_kernel(g, product, target, "turned runs");
}

/* A 3x3 convolution with stride 1 of many channels: pads on some sides, places of odd and even counts, and behind it
 * sums of rows, or an update by its weights. */
typedef struct {
    int64_t N, C, O, size[2], before[2], after[2];
    bool turns_weights; /* by data */
    bool has_sums;
} Tiled;

static Tiled draw_tiled(const Target *target) {
    int64_t lanes = target->machine.vector_bytes / 4;
    Tiled t = {.N = pick(1, 5), .turns_weights = pick(0, 1), .has_sums = pick(0, 1)};
    t.C = lanes * pick(16 / lanes, 48 / lanes), t.O = lanes * pick(16 / lanes, 64 / lanes);
    for (int i = 0; i < 2; i++) {
        t.size[i] = pick(5, 13);
        t.before[i] = pick(-1, 2);
        t.after[i] = pick(-1, 2);
    }
    return t;
}

static NodeId tiled_places(Graph *g, const Tiled *t) {
    NodeId x = data(g, "x", 4, (Dim[]){t->N, t->size[0], t->size[1], t->C});
    if (pick(0, 1)) x = binary(g, OP_max, x, build_like(g, x, 0));
    Dim places[] = {t->size[0] + t->before[0] + t->after[0] - 2, t->size[1] + t->before[1] + t->after[1] - 2};
    return rows_of(g, x, 3, places, ones, t->before);
}

static int tiled_forward(const Target *target, int *count) {
    Graph *g = graph_new("tiled");
    Tiled t = draw_tiled(target);
    NodeId rows = tiled_places(g, &t), w;
    if (t.turns_weights) {
        w = build_slice(g, data(g, "w", 4, (Dim[]){3, 3, t.O, t.C}), type_make(DTYPE_f32, 4, (Dim[]){3, 3, t.O, t.C}),
                        (int64_t[]){2, 2, 0, 0}, (int64_t[]){-1, -1, 1, 1});
        w = build_reshape(g, build_swap_last(g, w), 2, (Dim[]){9 * t.C, t.O});
    } else {
        w = data(g, "w", 2, (Dim[]){9 * t.C, t.O});
    }
    NodeId product = build_matmul(g, rows, w);
    NodeId y = binary(g, OP_add, product, data(g, "bias", 2, (Dim[]){1, t.O}));
    if (pick(0, 1)) y = binary(g, OP_mul, y, data(g, "of_rows", 2, (Dim[]){g->nodes[y].type.dim[0], 1}));
    graph_add_output(g, "y", y, -1);
    if (t.has_sums) graph_add_output(g, "sums", sums_of_rows(g, y, t.N), -1);
    return check_tiled(g, product, target, count, "forward by tiles");
}

static int tiled_weights(const Target *target, int *count) {
    Graph *g = graph_new("tiled");
    Tiled t = draw_tiled(target);
    NodeId rows = tiled_places(g, &t);
    int64_t places = g->nodes[rows].type.dim[0];
    NodeId slopes = data(g, "dy", 2, (Dim[]){places, t.O});
    if (pick(0, 1)) slopes = binary(g, OP_mul, slopes, data(g, "factor", 2, (Dim[]){1, t.O}));
    if (pick(0, 1)) slopes = binary(g, OP_mul, slopes, data(g, "of_rows", 2, (Dim[]){places, 1}));
    if (pick(0, 1)) { /* for each image by itself */
        rows = build_reshape(g, rows, 3, (Dim[]){t.N, places / t.N, 9 * t.C});
        slopes = build_reshape(g, slopes, 3, (Dim[]){t.N, places / t.N, t.O});
    }
    NodeId product = build_matmul(g, build_swap_last(g, rows), slopes);
    graph_add_output(g, "dw", pick(0, 1) ? build_unary(g, OP_neg, product) : product, -1);
    return check_tiled(g, product, target, count, "by weights by tiles");
}

static int tiled(const Target *target, int count) {
    int failed = 0, forward = 0, weights = 0;
    for (int i = 0; i < count; i++) failed += tiled_forward(target, &forward) + tiled_weights(target, &weights);
    if (forward * 2 >= count && weights * 2 >= count) return failed;
    printf("FAIL by tiles: %d forward and %d by weights of %d\n", forward, weights, count);
    return failed + 1;
}

/* With vectors that this machine makes of two, or has half of: schedules are those of other machines. */
static int otherwise(Target target, int count) {
    if (target.machine.vector_bytes != 32) return 0;
    target.machine.vector_bytes = 16;
    int failed = tiled(&target, count);
    target.machine.vector_bytes = 64;
    target.machine.registers = 32;
    target.machine.has_masks = true;
    return failed + tiled(&target, count) + blocks(&target, count) + turned_runs(&target) +
           statistics_with_tiles(&target);
}

/* What is computed again by each reader comes from a state that one of them overwrites. */
static int updated_source(const Target *target) {
    Graph *g = graph_new("updated");
    Dim shape[] = {150, 130};
    NodeId w = input(g, "w", INPUT_parameter, 2, shape), x = data(g, "x", 2, (Dim[]){40, 150});
    NodeId mean = scaled(g, build_sum(g, w, 1), 1.0 / 150);
    NodeId centred = binary(g, OP_sub, w, mean);
    NodeId square = build_sum(g, binary(g, OP_mul, centred, centred), 1);
    NodeId even = binary(g, OP_mul, centred, binary(g, OP_div, build_like(g, square, 1), square));
    NodeId y = build_matmul(g, x, even);
    NodeId next = binary(g, OP_sub, w, scaled(g, build_matmul(g, build_swap_last(g, x), y), 0.01));
    graph_add_output(g, "y", y, -1);
    graph_add_output(g, "w", next, (int32_t)g->nodes[w].attr.index);
    graph_add_output(g, "late",
                     build_sum(g, binary(g, OP_mul, even, binary(g, OP_add, even, build_sum(g, next, 3))), 3), -1);
    return check(g, target, 1, 1e-4, "updated source");
}

int main(int argc, char **argv) {
    int scale = argc > 1 ? atoi(argv[1]) : 1, failed = 0;
    if (argc > 2) state = strtoull(argv[2], NULL, 10);
    const char *cpus[] = {"x86-64-v4", "x86-64-v3", "x86-64-v2"};
    Arena *arena = arena_new();
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        Target target;
        Diag diag;
        diag_init(&diag);
        bool is_known = target_make(NULL, cpus[i], arena, &target, &diag);
        if (is_known && target.is_host) {
            failed += parts_of_pictures(&target) + beside_the_picture(&target) + turned_runs(&target) +
                      blocks(&target, 16 * scale);
            if (target.machine.has_fma) failed += tiled(&target, 6 * scale) + otherwise(target, 4 * scale);
            failed += sum_of_one(&target) + updated_source(&target) + sums_of_parts(&target) + crossed_sums(&target) +
                      many_sums(&target) + statistics_with_tiles(&target);
            printf("%s: %d failed so far\n", target.cpu, failed);
        } else {
            printf("skipped %s: %s\n", cpus[i], is_known ? "this machine cannot run it" : diag.text);
        }
        diag_free(&diag);
    }
    arena_free(arena);
    printf("%s\n", failed ? "FAILED" : "all convolutions compute what the evaluator does");
    return failed != 0;
}
