/* Convolutions, pooling and resizing: each builder and its gradients against loops that are written out, before and
 * after simplification; what simplification must make of them; and small numbers from PyTorch, which fix how channels
 * belong to groups and what pads count. */
#include "ir/build.h"
#include "ir/build_conv.h"
#include "passes/passes.h"
#include "tests/random_graph.h"
#include "tests/test_ir_expect.h"

#include <math.h>
#include <string.h>

typedef enum { CONV, TRANSPOSED, MAX_POOL, AVERAGE_POOL, GLOBAL_POOL } Kind;
enum { KINDS = 5, BATCH = 2 };

typedef struct {
    Kind kind;
    Dim N;
    int64_t picture[2], places[2], C, O; /* of the convolution; a transposed one goes from places, O to picture, C */
    int64_t kernel[2], groups;
    Sliding sliding;
    bool count_pads;
} Layer;

/* ---- written out */

/* What a convolution and its gradients add up. Each is given x, w and dy, and fills y, dx and dw. */
typedef struct {
    double *x, *w, *dy, *y, *dx, *dw;
} Values;

static int64_t batch_of(const Layer *l) { return dim_at(l->N, BATCH); }

/* The element of the picture that tap (i, j) of place (y, x) sees, without its channel; -1 outside. */
static int64_t seen_at(const Layer *l, int64_t n, const int64_t place[2], const int64_t tap[2]) {
    int64_t element = n;
    for (int k = 0; k < 2; k++) {
        int64_t at = place[k] * l->sliding.stride[k] + tap[k] * l->sliding.dilation[k] - l->sliding.before[k];
        if (at < 0 || at >= l->picture[k]) return -1;
        element = element * l->picture[k] + at;
    }
    return element;
}

typedef void Visit(const Layer *l, const Values *v, int64_t seen, int64_t place, int64_t tap);

/* All (place, tap) that see something. */
static void each_tap(const Layer *l, const Values *v, Visit *visit) {
    int64_t at[2], tap[2], place = 0;
    for (int64_t n = 0; n < batch_of(l); n++)
        for (at[0] = 0; at[0] < l->places[0]; at[0]++)
            for (at[1] = 0; at[1] < l->places[1]; at[1]++, place++)
                for (tap[0] = 0; tap[0] < l->kernel[0]; tap[0]++)
                    for (tap[1] = 0; tap[1] < l->kernel[1]; tap[1]++) {
                        int64_t seen = seen_at(l, n, at, tap);
                        if (seen >= 0) visit(l, v, seen, place, tap[0] * l->kernel[1] + tap[1]);
                    }
}

static void visit_conv(const Layer *l, const Values *v, int64_t seen, int64_t place, int64_t tap) {
    int64_t channels = l->C / l->groups;
    for (int64_t o = 0; o < l->O; o++)
        for (int64_t c = 0; c < channels; c++) {
            int64_t x = seen * l->C + o / (l->O / l->groups) * channels + c, y = place * l->O + o;
            int64_t w = (tap * channels + c) * l->O + o;
            v->y[y] += v->x[x] * v->w[w];
            v->dx[x] += v->dy[y] * v->w[w];
            v->dw[w] += v->dy[y] * v->x[x];
        }
}

/* First y holds the maxima, then dx what belongs to them. */
static void visit_max(const Layer *l, const Values *v, int64_t seen, int64_t place, int64_t tap) {
    (void)tap;
    for (int64_t c = 0; c < l->C; c++) v->y[place * l->C + c] = fmax(v->y[place * l->C + c], v->x[seen * l->C + c]);
}
/* The first: dw remembers who has one. */
static void visit_largest(const Layer *l, const Values *v, int64_t seen, int64_t place, int64_t tap) {
    (void)tap;
    for (int64_t c = 0; c < l->C; c++) {
        int64_t y = place * l->C + c, x = seen * l->C + c;
        if (v->dw[y] || v->x[x] != v->y[y]) continue;
        v->dx[x] += v->dy[y];
        v->dw[y] = 1;
    }
}

/* dw counts what each place sees. */
static void visit_count(const Layer *l, const Values *v, int64_t seen, int64_t place, int64_t tap) {
    (void)l, (void)seen, (void)tap;
    v->dw[place]++;
}
static void visit_average(const Layer *l, const Values *v, int64_t seen, int64_t place, int64_t tap) {
    (void)tap;
    double count = l->count_pads ? (double)(l->kernel[0] * l->kernel[1]) : v->dw[place];
    for (int64_t c = 0; c < l->C; c++) {
        v->y[place * l->C + c] += v->x[seen * l->C + c] / count;
        v->dx[seen * l->C + c] += v->dy[place * l->C + c] / count;
    }
}

static void reference(const Layer *l, const Values *v, int64_t results) {
    switch (l->kind) {
    case CONV:
    case TRANSPOSED: each_tap(l, v, visit_conv); break;
    case MAX_POOL:
        for (int64_t i = 0; i < results; i++) v->y[i] = -(double)INFINITY;
        each_tap(l, v, visit_max);
        each_tap(l, v, visit_largest);
        break;
    case AVERAGE_POOL:
    case GLOBAL_POOL:
        each_tap(l, v, visit_count);
        each_tap(l, v, visit_average);
        break;
    }
}

/* ---- as graphs */

enum { X, W, DY, Y = 0, DX, DW };

static Type picture_type(const Layer *l) {
    return type_make(DTYPE_f32, 4, (Dim[]){l->N, l->picture[0], l->picture[1], l->C});
}
static Type places_type(const Layer *l) {
    return type_make(DTYPE_f32, 4, (Dim[]){l->N, l->places[0], l->places[1], l->O});
}
static Type weights_type(const Layer *l) {
    return type_make(DTYPE_f32, 4, (Dim[]){l->kernel[0], l->kernel[1], l->C / l->groups, l->O});
}

static NodeId build_layer(Graph *g, const Layer *l, NodeId x, NodeId w) {
    switch (l->kind) {
    case CONV: return build_conv2d(g, x, w, &l->sliding, l->groups);
    case TRANSPOSED: return build_conv2d_transposed(g, x, w, &l->sliding, l->groups);
    case MAX_POOL: return build_max_pool(g, x, l->kernel, &l->sliding);
    case AVERAGE_POOL: return build_average_pool(g, x, l->kernel, &l->sliding, l->count_pads);
    case GLOBAL_POOL: return build_global_pool(g, x);
    }
    return NO_NODE;
}

static NodeId data(Graph *g, const char *name, Type type) { return build_input(g, name, INPUT_data, type, (Init){0}); }

/* Inputs x, w, dy; outputs y, dx, dw. Pooling has a w that nobody reads. */
static Graph *layer_graph(const Layer *l) {
    Graph *g = graph_new("layer");
    Arena *scratch = arena_new();
    NodeId x = data(g, "x", l->kind == TRANSPOSED ? places_type(l) : picture_type(l));
    NodeId w = data(g, "w", weights_type(l)), y = build_layer(g, l, x, w), result[2];
    NodeId dy = data(g, "dy", g->nodes[y].type), wanted[2] = {x, w};
    differentiate(g, y, dy, wanted, 2, result, scratch);
    graph_add_output(g, "y", y, -1);
    graph_add_output(g, "dx", result[0], -1);
    if (result[1] != NO_NODE) graph_add_output(g, "dw", result[1], -1);
    arena_free(scratch);
    return g;
}

static Graph *simplified(const Graph *from) {
    Graph *middle = graph_new(from->name), *to = graph_new(from->name);
    Arena *scratch = arena_new();
    pass_find("simplify")->graph(from, middle, scratch);
    pass_find("dce")->graph(middle, to, scratch);
    arena_free(scratch);
    graph_free(middle);
    return to;
}

static bool uses(const Graph *g, OpKind op) {
    for (NodeId id = 0; id < g->count; id++)
        if (g->nodes[id].op == op) return true;
    return false;
}

static int64_t elements(Type type) { return dim_at(type_elements(type), BATCH); }

static void compare(const Layer *l, const Graph *g, const char *what, double **in, double **want) {
    Arena *arena = arena_new();
    double **values = graph_eval(g, BATCH, (const double *const *)in, arena);
    bool verified = EXPECT_THAT(graph_verify(g, stdout), "%s", what);
    for (uint32_t i = 0; verified && i < g->output_count; i++) {
        NodeId id = g->outputs[i].node;
        double worst = 0;
        for (int64_t e = 0; e < elements(g->nodes[id].type); e++)
            if (values[id][e] != want[i][e]) {
                double off = fabs(values[id][e] - want[i][e]);
                worst = isnan(off) ? INFINITY : fmax(worst, off);
            }
        EXPECT_THAT(worst < 1e-6,
                    "%s of kind %d, %s: %g off; picture %d×%d×%d, kernel %d×%d, to %d, stride %d,%d dilation %d,%d "
                    "before %d,%d after %d,%d groups %d",
                    g->outputs[i].name, l->kind, what, worst, (int)l->picture[0], (int)l->picture[1], (int)l->C,
                    (int)l->kernel[0], (int)l->kernel[1], (int)l->O, (int)l->sliding.stride[0],
                    (int)l->sliding.stride[1], (int)l->sliding.dilation[0], (int)l->sliding.dilation[1],
                    (int)l->sliding.before[0], (int)l->sliding.before[1], (int)l->sliding.after[0],
                    (int)l->sliding.after[1], (int)l->groups);
    }
    arena_free(arena);
}

/* A convolution of several channels keeps no taps of a product in memory, unless they do not overlap. */
static void check_folded(const Layer *l, const Graph *g) {
    bool product = l->kind == CONV || l->kind == TRANSPOSED, overlap = false;
    for (int k = 0; k < 2; k++) overlap |= l->kernel[k] > l->sliding.stride[k];
    bool channels_alone = l->groups > 1 && l->groups == l->C && (l->kind == CONV || l->groups == l->O);
    if (product && overlap && !channels_alone)
        EXPECT_THAT(!uses(g, OP_unwindow), "kind %d with groups %d keeps an unwindow", l->kind, (int)l->groups);
}

static void check_layer(const Layer *l, uint64_t seed) {
    Graph *g = layer_graph(l), *better = simplified(g);
    Arena *arena = arena_new();
    double **in = random_inputs(g, BATCH, seed, arena);
    int64_t count[3];
    for (int i = 0; i < 3; i++) count[i] = elements(g->inputs[i].type);
    for (int64_t e = 0; l->kind == MAX_POOL && e < count[X]; e++)
        if (seed & 64) in[X][e] = in[X][e] > 0 ? 1 : -(double)INFINITY; /* equals, and windows of nothing else */
    if (l->kind == MAX_POOL) count[W] = count[DY];
    double *y = arena_array(arena, double, count[DY]), *dx = arena_array(arena, double, count[X]);
    double *dw = arena_array(arena, double, count[W] > count[DY] ? count[W] : count[DY]);
    Values values = {.x = in[X], .w = in[W], .dy = in[DY], .y = y, .dx = dx, .dw = dw};
    if (l->kind == TRANSPOSED) values = (Values){.x = in[DY], .w = in[W], .dy = in[X], .y = dx, .dx = y, .dw = dw};
    reference(l, &values, count[DY]);
    double *want[3] = {y, dx, dw};
    compare(l, g, "as it was built", in, want);
    compare(l, better, "simplified", in, want);
    check_folded(l, better);
    arena_free(arena);
    graph_free(better);
    graph_free(g);
}

/* ---- random layers */

static int64_t pick(uint64_t *seed, int64_t least, int64_t most) {
    return least + random_below(seed, (uint32_t)(most - least + 1));
}

static bool random_layer(uint64_t number, Layer *l) {
    uint64_t seed = number;
    *l = (Layer){.kind = (Kind)(number % KINDS), .N = pick(&seed, -1, 2), .groups = 1, .count_pads = number & 32};
    if (l->N == 0) l->N = 3;
    l->C = pick(&seed, 1, 3);
    l->O = pick(&seed, 1, 3);
    bool is_pool = l->kind != CONV && l->kind != TRANSPOSED, grouped = !is_pool && pick(&seed, 0, 1);
    if (grouped) l->groups = pick(&seed, 1, 3), l->C *= l->groups, l->O *= l->groups;
    if (is_pool) l->O = l->C;
    for (int k = 0; k < 2; k++) {
        int64_t size = pick(&seed, 1, 9), kernel = pick(&seed, 1, 4);
        l->kernel[k] = kernel;
        l->sliding.stride[k] = pick(&seed, 1, 4);
        l->sliding.dilation[k] = is_pool ? 1 : pick(&seed, 1, 3);
        int64_t least = is_pool ? 0 : -1, most = is_pool ? kernel / 2 : 3;
        l->sliding.before[k] = pick(&seed, least, most);
        l->sliding.after[k] = pick(&seed, least, most);
        if (l->kind == GLOBAL_POOL)
            l->kernel[k] = size, l->sliding.stride[k] = 1, l->sliding.before[k] = l->sliding.after[k] = 0;
        l->picture[k] = l->kind == TRANSPOSED ? build_conv_spread(size, kernel, &l->sliding, k) : size;
        l->places[k] = l->kind == TRANSPOSED ? size : build_conv_places(size, l->kernel[k], &l->sliding, k);
        if (l->picture[k] < 1 || l->places[k] < 1) return false;
    }
    return true;
}

static void test_random(void) {
    int tried = 0;
    for (uint64_t number = 0; number < 2000; number++) {
        Layer layer;
        if (!random_layer(number, &layer)) continue;
        check_layer(&layer, number);
        tried++;
    }
    EXPECT(tried > 1000);
}

/* ---- resizing */

/* Weight of element j of an axis for element i of the result. */
static double share_of(int64_t i, int64_t j, int64_t in, int64_t out, bool smooth) {
    if (!smooth) return i * in / out == j;
    double at = fmin(fmax(((double)i + 0.5) * (double)in / (double)out - 0.5, 0), (double)(in - 1));
    return fmax(0, 1 - fabs(at - (double)j));
}

/* y and dx by loops over all pairs. */
static void resize_reference(const Dim from[4], const int64_t size[2], bool smooth, const Values *v) {
    for (int64_t n = 0; n < from[0]; n++)
        for (int64_t h = 0; h < size[0] * from[1]; h++)
            for (int64_t w = 0; w < size[1] * from[2]; w++) {
                int64_t row = h / from[1], column = w / from[2], i = h % from[1], j = w % from[2];
                double share = share_of(row, i, from[1], size[0], smooth);
                share *= share_of(column, j, from[2], size[1], smooth);
                for (int64_t c = 0; share != 0 && c < from[3]; c++) {
                    int64_t to = ((n * size[0] + row) * size[1] + column) * from[3] + c;
                    int64_t at = ((n * from[1] + i) * from[2] + j) * from[3] + c;
                    v->y[to] += share * v->x[at];
                    v->dx[at] += share * v->dy[to];
                }
            }
}

static void check_resize(uint64_t number) {
    uint64_t seed = number;
    Graph *g = graph_new("resize");
    Arena *arena = arena_new();
    bool open = pick(&seed, 0, 1), smooth = number & 1, whole = pick(&seed, 0, 1);
    Dim from[4] = {open ? -1 : 2, pick(&seed, 1, 20), pick(&seed, 1, 20), pick(&seed, 0, 3) ? 2 : 17};
    int64_t size[2];
    for (int k = 0; k < 2; k++) size[k] = whole ? from[1 + k] * pick(&seed, 1, 3) : pick(&seed, 1, 25);
    for (int k = 0; k < 2; k++)
        if (whole && pick(&seed, 0, 1)) from[1 + k] = size[k] * pick(&seed, 1, 3);
    NodeId x = data(g, "x", type_make(DTYPE_f32, 4, from)), y = build_resize(g, x, size, smooth), dx;
    NodeId dy = data(g, "dy", g->nodes[y].type);
    differentiate(g, y, dy, &x, 1, &dx, arena);
    graph_add_output(g, "y", y, -1);
    graph_add_output(g, "dx", dx, -1);
    from[0] = BATCH;
    double **in = random_inputs(g, BATCH, number, arena);
    double *want[2];
    for (int i = 0; i < 2; i++) want[i] = arena_array(arena, double, elements(g->inputs[!i].type));
    resize_reference(from, size, smooth, &(Values){.x = in[0], .dy = in[1], .y = want[0], .dx = want[1]});
    Graph *better = simplified(g);
    Layer about = {.picture = {from[1], from[2]}, .kernel = {size[0], size[1]}, .C = from[3]};
    compare(&about, g, smooth ? "resize, smooth" : "resize, nearest", in, want);
    compare(&about, better, "resize, simplified", in, want);
    arena_free(arena);
    graph_free(better);
    graph_free(g);
}

/* Whole multiples of the nearest are moves alone. */
static void test_resize_moves(void) {
    for (int larger = 0; larger < 2; larger++) {
        Graph *g = graph_new("moves");
        NodeId x = data(g, "x", type_make(DTYPE_f32, 4, (Dim[]){-1, 6, 9, 2}));
        build_resize(g, x, larger ? (int64_t[]){12, 27} : (int64_t[]){2, 3}, false);
        EXPECT(!uses(g, OP_mul) && !uses(g, OP_sum) && !uses(g, OP_matmul));
        graph_free(g);
    }
}

/* ---- rules for the two operations by themselves */

/* One axis of a window: mostly side by side or plain, or nearly so. */
static void random_axis(uint64_t *seed, int k, Dim *picture, Dim *patches, Sliding *sliding) {
    int64_t taps = pick(seed, 1, 3), places = pick(seed, 1, 3);
    bool odd = pick(seed, 0, 3) == 0;
    picture[1 + k] = odd ? pick(seed, 1, 7) : taps * places;
    patches[1 + k] = places;
    patches[3 + k] = taps;
    picture[3 + k] = pick(seed, 0, 3) ? 1 : taps;
    sliding->stride[k] = pick(seed, 0, 2) ? taps : pick(seed, 1, 3);
    sliding->dilation[k] = pick(seed, 0, 2) ? 1 : 2;
    sliding->before[k] = pick(seed, 0, 3) ? 0 : pick(seed, -1, 1);
}

/* An input, or something that rules look at: a negated, scaled or repeated one, a constant. */
static NodeId random_operand(Graph *g, uint64_t *seed, const Dim *dim) {
    Type type = type_make(DTYPE_f32, 6, dim);
    NodeId x = data(g, "x", type);
    switch (pick(seed, 0, 6)) {
    case 0: return build_unary(g, OP_neg, x);
    case 1: return build_binary(g, OP_mul, x, build_like(g, x, pick(seed, 0, 1) ? 3 : (double)INFINITY));
    case 2: { /* one for all taps; or for all columns */
        Type once = type;
        once.dim[3] = once.dim[4] = 1;
        if (pick(seed, 0, 1)) once.dim[2] = 1;
        return build_broadcast(g, data(g, "x", once), type);
    }
    case 3: return build_constant(g, type, (double)pick(seed, 0, 2));
    default: return x;
    }
}

static void check_rules(uint64_t number) {
    uint64_t seed = number;
    Graph *g = graph_new("rules");
    Arena *arena = arena_new();
    Dim picture[6] = {pick(&seed, 0, 1) ? -1 : 2, 0, 0, 1, 1, pick(&seed, 1, 2)}, patches[6];
    Sliding s;
    memcpy(patches, picture, sizeof patches);
    for (int k = 0; k < 2; k++) random_axis(&seed, k, picture, patches, &s);
    NodeId result;
    if (pick(&seed, 0, 1)) {
        NodeId a = random_operand(g, &seed, picture);
        Type to = type_make(DTYPE_f32, 6, patches);
        result = build_window(g, a, to, s.stride, s.dilation, s.before, (double)pick(&seed, 0, 1));
    } else {
        NodeId a = random_operand(g, &seed, patches);
        memcpy(picture + 3, patches + 3, 2 * sizeof *picture);
        result = build_unwindow(g, a, type_make(DTYPE_f32, 6, picture), s.stride, s.dilation, s.before);
    }
    graph_add_output(g, "result", result, -1);
    graph_add_output(g, "sum", build_sum(g, result, (uint32_t)pick(&seed, 0, 3) << 3), -1);
    Graph *better = simplified(g);
    const double *const *in = (const double *const *)random_inputs(g, BATCH, number, arena);
    double **a = graph_eval(g, BATCH, in, arena), **b = graph_eval(better, BATCH, in, arena);
    bool same = EXPECT(graph_verify(better, stdout));
    for (uint32_t o = 0; o < 2; o++)
        for (int64_t e = 0; same && e < elements(g->nodes[g->outputs[o].node].type); e++) {
            double x = a[g->outputs[o].node][e], y = b[better->outputs[o].node][e];
            same = x == y || fabs(x - y) < 1e-6 || (!isfinite(x) && !isfinite(y)); /* sums of infinities */
        }
    if (!EXPECT_THAT(same, "rules change the meaning of number %llu", (unsigned long long)number))
        graph_print(g, stdout), graph_print(better, stdout);
    arena_free(arena);
    graph_free(better);
    graph_free(g);
}

/* ---- numbers from PyTorch 2.13, channels last: element e of every operand is (e * step) mod size, around 0 */

static void fill(double *values, int64_t count, int step, int size) {
    for (int64_t e = 0; e < count; e++) values[e] = (double)(e * step % size - size / 2);
}

static void check_numbers(Layer l, const double *x, double **want) {
    Graph *g = layer_graph(&l);
    Arena *arena = arena_new();
    double *in[3];
    for (int i = 0; i < 3; i++) in[i] = arena_array(arena, double, elements(g->inputs[i].type));
    fill(in[X], elements(g->inputs[X].type), 7, 5);
    fill(in[W], elements(g->inputs[W].type), 3, 7);
    fill(in[DY], elements(g->inputs[DY].type), 5, 9);
    if (x) memcpy(in[X], x, sizeof *x * (size_t)elements(g->inputs[X].type));
    compare(&l, g, "numbers from PyTorch", in, want);
    arena_free(arena);
    graph_free(g);
}

static void test_grouped_numbers(void) {
    double y[] = {-2, -5, 6, 0, -4, 10, 1, -4, 7, -4, 2, 2};
    double dx[] = {3, 7, 0, 0, 9, 9, 6, -7, 0, 0, -10, -13, 9, 9, 0, 0, 7, 3, 0, 6, 0, 0, 8, 10};
    double dw[] = {0, 4, -1, 5, 4, -14, -1, 3, 4, 4, 1, -4, -4, 1, 4, 4};
    Layer l = {CONV, 1, {4, 3}, {3, 1}, 2, 4, {2, 2}, 2, {{2, 1}, {1, 2}, {1, 0}, {1, 0}}, false};
    check_numbers(l, NULL, (double *[]){y, dx, dw});
}

/* output_padding is 1 for the height */
static void test_transposed_numbers(void) {
    double y[] = {5, 6, -10, 2, -18, -6, 2, 5, 3, 3, 5, 2};
    double dx[] = {-13, -8, 10, 8, -4, -14, 13, 6, -11, 10, 26, -14};
    double dw[] = {2, 2, -4, 2, -3, -1, -14, 1, 3, 7, -8, 11, 4, -2, 0, -11, 13, -4};
    Layer l = {TRANSPOSED, 1, {4, 3}, {2, 3}, 1, 2, {3, 3}, 1, {{2, 1}, {1, 1}, {1, 1}, {0, 1}}, false};
    check_numbers(l, NULL, (double *[]){y, dx, dw});
}

static void test_pool_numbers(void) {
    const double x[] = {3, 1, 4, 1.5, 5, 9, 2, 6, 5.5};
    double largest[] = {3, 3, 4, 4, 2, 6, 9, 9}, of_largest[] = {-3, 0, -1, 0, 0, 3, -2, 3, 0};
    double with_pads[] = {0.75, 1, 1.25, 1, 0.875, 3.625, 6.375, 3.625};
    double of_with_pads[] = {-0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 0.25, 0.5, 0.75};
    double without[] = {3, 2, 2.5, 4, 1.75, 3.625, 6.375, 7.25};
    double of_without[] = {-3.5, -1, 0.5, -0.25, 0.5, 1.75, -0.25, 0.5, 1.75};
    Layer l = {MAX_POOL, 1, {3, 3}, {2, 4}, 1, 1, {2, 2}, 1, {{2, 1}, {1, 1}, {1, 1}, {1, 1}}, false};
    check_numbers(l, x, (double *[]){largest, of_largest});
    l.kind = AVERAGE_POOL;
    check_numbers(l, x, (double *[]){without, of_without});
    l.count_pads = true;
    check_numbers(l, x, (double *[]){with_pads, of_with_pads});
}

/* ---- what comes out */

/* A kernel of one tap that moves by one is a product of what is there. */
static void test_plain(void) {
    Layer l = {CONV, -1, {5, 7}, {5, 7}, 3, 4, {1, 1}, 1, {{1, 1}, {1, 1}, {0, 0}, {0, 0}}, false};
    Graph *g = layer_graph(&l);
    EXPECT(!uses(g, OP_window) && !uses(g, OP_unwindow) && !uses(g, OP_sum));
    graph_free(g);
}

/* Patches side by side: gradients are moved, not added. */
static void test_tiles(void) {
    Layer l = {CONV, -1, {8, 6}, {2, 2}, 3, 5, {4, 3}, 1, {{4, 3}, {1, 1}, {0, 0}, {0, 0}}, false};
    Graph *g = layer_graph(&l), *better = simplified(g);
    EXPECT(!uses(better, OP_unwindow) && !uses(better, OP_sum) && !uses(better, OP_concat));
    check_layer(&l, 1);
    graph_free(better);
    graph_free(g);
}

static void test_same(void) {
    for (int64_t size = 1; size < 12; size++)
        for (int64_t kernel = 1; kernel < 6; kernel++)
            for (int64_t stride = 1; stride < 5; stride++) {
                Sliding sliding = {{stride, 1}, {2, 1}, {0, 0}, {0, 0}};
                build_conv_same(size, kernel, &sliding, 0);
                int64_t odd = sliding.after[0] - sliding.before[0];
                EXPECT(build_conv_places(size, kernel, &sliding, 0) == (size + stride - 1) / stride);
                EXPECT(sliding.before[0] >= 0 && (odd == 0 || odd == 1));
            }
    Sliding large = {{1, 1}, {1, 1}, {0, 0}, {0, 0}};
    EXPECT(build_conv_places(2, 3, &large, 0) == 0 && build_conv_places(3, 3, &large, 0) == 1);
}

int main(void) {
    test_random();
    for (uint64_t number = 0; number < 5000; number++) check_rules(number);
    for (uint64_t number = 0; number < 400; number++) check_resize(number);
    test_resize_moves();
    test_grouped_numbers();
    test_transposed_numbers();
    test_pool_numbers();
    test_plain();
    test_tiles();
    test_same();
    return check_result("convolutions");
}
