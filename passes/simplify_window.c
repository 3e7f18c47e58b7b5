/* Rules for window and unwindow.
 *
 * The important one is simplify_sum_product. The data's gradient of a convolution, and a transposed convolution, arise
 * as sums of what a product gives to each tap: sum over (i, j) of unwindow(reshape(dy · Wᵀ)). As it stands the product
 * is KH·KW times as large as the result and goes through memory. The same sum is a product whose rows are what each
 * element of the result sees of dy through the mirrored kernel: a convolution again, and its rows are a view.
 *
 * With stride s an element sees only every s-th tap, and which ones depends on its position modulo s: there are s² such
 * phases, each a product of its own with stride 1, so that nothing is multiplied with zeros. They are put together by
 * concatenation along axes of size 1: [N, H/s, s, W/s, s, C].
 *
 * Where taps do not overlap there is nothing to add up, and the product is as small as the result: it stays. */
#include "passes/simplify.h"

#include "ir/build.h"

#include <math.h>
#include <string.h>

enum { TAPS = 1u << 3 | 1u << 4, MOST_PHASES = 16 };

static NodeId reshaped(Graph *g, NodeId a, uint32_t rank, const Dim *dim) {
    return simplify_best(g, build_reshape(g, a, rank, dim));
}
#define RESHAPED(g, a, ...) reshaped(g, a, sizeof((Dim[]){__VA_ARGS__}) / sizeof(Dim), (Dim[]){__VA_ARGS__})
static NodeId transposed(Graph *g, NodeId a, const uint32_t *permutation) {
    return simplify_best(g, build_transpose(g, a, permutation));
}
#define TRANSPOSED(g, a, ...) transposed(g, a, (uint32_t[]){__VA_ARGS__})

/* ---- windows that are something simpler */

/* One axis of [N,H,W,k,l,C] and [N,OH,OW,KH,KW,C]: 0 is height, 1 is width. */
typedef struct {
    int64_t size, places, taps, stride, dilation, before;
} Axis;

/* `picture` and `patches`: types of the operand and the result of a window, the other way round for unwindow. */
static Axis axis_of(const Node *node, Type picture, Type patches, int k) {
    return (Axis){picture.dim[1 + k],
                  patches.dim[1 + k],
                  patches.dim[3 + k],
                  node->attr.window.stride[k],
                  node->attr.window.dilation[k],
                  node->attr.window.before[k]};
}

/* The windows lie side by side, and each element is in one of them. */
static bool is_tiled(Axis a) {
    return a.before == 0 && a.size == a.places * a.taps && (a.taps == 1 || a.dilation == 1) &&
           (a.places == 1 || a.stride == a.taps);
}

static bool is_inside(Axis a) {
    return a.before <= 0 && (a.places - 1) * a.stride + (a.taps - 1) * a.dilation - a.before < a.size;
}

/* Windows side by side are a reshape where no axes change places: [N, OH·KH, OW·KW, 1, 1, C] is [N,OH,OW,KH,KW,C] in
 * the same order if KH or OW is 1. */
NodeId simplify_window_plain(Graph *g, const Node *node) {
    Type from = type_of(g, node->in[0]), to = node->type;
    Axis height = axis_of(node, from, to, 0), width = axis_of(node, from, to, 1);
    bool in_order = height.taps == 1 || width.places == 1, has_taps = from.dim[3] * from.dim[4] > 1;
    if (!is_tiled(height) || !is_tiled(width) || !in_order || has_taps) return NO_MATCH;
    return reshaped(g, node->in[0], to.rank, to.dim);
}

/* Every tap of the operand is the same: it is given once. What a sum over taps flows back to is of this kind. */
NodeId simplify_window_repeated(Graph *g, const Node *node) {
    Node from = g->nodes[node->in[0]];
    if (from.op != OP_broadcast) return NO_MATCH;
    Type once = from.type, small = type_of(g, from.in[0]);
    for (uint32_t axis = 3; axis < 5; axis++) once.dim[axis] = small.dim[axis];
    if (type_equal(once, from.type)) return NO_MATCH;
    NodeId operand = simplify_best(g, build_broadcast(g, from.in[0], once));
    const int64_t *stride = node->attr.window.stride, *dilation = node->attr.window.dilation;
    return simplify_best(
        g, build_window(g, operand, node->type, stride, dilation, node->attr.window.before, node->attr.window.value));
}

/* A constant that is seen alone, or padded with itself. */
NodeId simplify_window_constant(Graph *g, const Node *node) {
    Node from = g->nodes[node->in[0]];
    if (from.op != OP_constant) return NO_MATCH;
    bool inside =
        is_inside(axis_of(node, from.type, node->type, 0)) && is_inside(axis_of(node, from.type, node->type, 1));
    bool fits = inside || from.attr.value == node->attr.window.value;
    return fits ? build_constant(g, node->type, from.attr.value) : NO_MATCH;
}

/* Each element at its place, one tap. */
NodeId simplify_unwindow_plain(Graph *g, const Node *node) {
    Type from = type_of(g, node->in[0]), to = node->type;
    bool single = to.dim[3] == 1 && to.dim[4] == 1;
    bool plain = single && is_tiled(axis_of(node, to, from, 0)) && is_tiled(axis_of(node, to, from, 1));
    return plain ? node->in[0] : NO_MATCH;
}

NodeId simplify_unwindow_zero(Graph *g, const Node *node) {
    const Node *from = &g->nodes[node->in[0]];
    return from->op == OP_constant && from->attr.value == 0 ? build_constant(g, node->type, 0) : NO_MATCH;
}

/* ---- sums of what taps give back */

/* The unwindow whose taps the sum adds up, and nothing else; or NULL. */
static const Node *summed_taps(const Graph *g, const Node *sum) {
    const Node *unwindow = &g->nodes[sum->in[0]];
    if (unwindow->op != OP_unwindow || sum->attr.axes & ~(uint32_t)TAPS) return NULL;
    return sum->type.dim[3] == 1 && sum->type.dim[4] == 1 ? unwindow : NULL;
}

/* Windows side by side: each element comes from one tap, and nothing is added. */
NodeId simplify_sum_tiles(Graph *g, const Node *node) {
    const Node *unwindow = summed_taps(g, node);
    if (!unwindow) return NO_MATCH;
    Type patches = type_of(g, unwindow->in[0]);
    bool tiled = is_tiled(axis_of(unwindow, unwindow->type, patches, 0)) &&
                 is_tiled(axis_of(unwindow, unwindow->type, patches, 1));
    if (!tiled) return NO_MATCH;
    NodeId rows = TRANSPOSED(g, unwindow->in[0], 0, 1, 3, 2, 4, 5);
    return reshaped(g, rows, node->type.rank, node->type.dim);
}

/* sum(unwindow(taps of rows · weights)); with groups, rows are [groups, N·OH·OW, O/groups], weights [groups, O/groups,
 * KH·KW·C/groups]; without, they have two axes. O and C count the channels of one group. */
typedef struct {
    Axis axis[2];
    NodeId rows, weights;
    int64_t groups, O, C;
    Dim N;
    Type result; /* [N,H,W,1,1,C·groups] */
} Fold;

static bool is_permutation(const Node *node, const uint8_t *wanted) {
    return node->op == OP_transpose && !memcmp(node->attr.permutation, wanted, node->type.rank);
}

/* The product under a reshape, or, by group, under a reshape, a transpose and a reshape. */
static const Node *product_below(const Graph *g, NodeId id, Dim rows, int64_t taps, int64_t channels) {
    const Node *node = &g->nodes[id];
    if (node->op != OP_reshape) return NULL;
    node = &g->nodes[node->in[0]];
    if (node->op == OP_matmul) {
        bool fits = node->type.rank == 2 && node->type.dim[0] == rows && node->type.dim[1] == taps * channels;
        return fits ? node : NULL;
    }
    if (node->type.rank != 4 || !is_permutation(node, (uint8_t[]){1, 2, 0, 3})) return NULL;
    Type split = node->type; /* [rows, taps, groups, channels of one] */
    if (split.dim[0] != rows || split.dim[1] != taps) return NULL;
    node = &g->nodes[node->in[0]];
    if (node->op != OP_reshape) return NULL;
    node = &g->nodes[node->in[0]];
    bool fits =
        node->op == OP_matmul && node->type.rank == 3 && node->type.dim[0] == split.dim[2] && node->type.dim[1] == rows;
    return fits ? node : NULL;
}

/* Whether every tensor that the rewriting makes may be: texts are hostile. */
static bool is_reasonable(const Fold *f) {
    int64_t size[2];
    for (int k = 0; k < 2; k++) {
        const Axis *a = &f->axis[k];
        const int64_t far = (int64_t)1 << 40;
        size[k] = a->size + a->stride;
        if (a->before > far || a->before < -far || a->taps * a->dilation > far) return false;
    }
    int64_t taps[2] = {f->axis[0].taps, f->axis[1].taps}, channels[2] = {f->O * f->groups, f->C * f->groups};
    Type seen = type_make(DTYPE_f32, 6, (Dim[]){f->N, size[0], size[1], taps[0], taps[1], channels[0]});
    Type result = type_make(DTYPE_f32, 4, (Dim[]){f->N, size[0], size[1], channels[1]});
    return !type_problem(seen) && !type_problem(result);
}

static bool find_fold(const Graph *g, const Node *sum, Fold *fold) {
    const Node *unwindow = summed_taps(g, sum);
    if (!unwindow) return false;
    Type patches = type_of(g, unwindow->in[0]);
    for (int k = 0; k < 2; k++) fold->axis[k] = axis_of(unwindow, unwindow->type, patches, k);
    const Axis *height = &fold->axis[0], *width = &fold->axis[1];
    bool overlap = height->taps > height->stride || width->taps > width->stride;
    if (!overlap || height->stride > MOST_PHASES || height->stride * width->stride > MOST_PHASES) return false;
    Dim places = dim_mul(patches.dim[0], height->places * width->places);
    const Node *product = product_below(g, unwindow->in[0], places, height->taps * width->taps, patches.dim[5]);
    if (!product) return false;
    fold->rows = product->in[0];
    fold->weights = product->in[1];
    fold->groups = product->type.rank == 3 ? product->type.dim[0] : 1;
    fold->O = type_of(g, fold->rows).dim[product->type.rank - 1];
    fold->C = patches.dim[5] / fold->groups;
    fold->N = patches.dim[0];
    fold->result = sum->type;
    return fold->O > 0 && fold->groups > 0 && is_reasonable(fold);
}

/* What elements at the positions s·q + phase of the result see of one axis of dy: the taps first, first + step, …,
 * mirrored. Place q of the window then stands for that element. */
typedef struct {
    int64_t places, taps, first, step, dilation, before;
} Phase;

static Phase phase_of(Axis a, int64_t phase) {
    int64_t first = 0, step = 1, reach, most = a.taps < a.stride ? a.taps : a.stride;
    while (first < most && (phase + a.before - first * a.dilation) % a.stride != 0) first++;
    while (step * a.dilation % a.stride != 0) step++;
    if (first == most) return (Phase){0};
    Phase p = {.places = (a.size + a.stride - 1) / a.stride,
               .taps = (a.taps - 1 - first) / step + 1,
               .first = first,
               .step = step,
               .dilation = step * a.dilation / a.stride};
    reach = (phase + a.before - first * a.dilation) / a.stride; /* where q = 0 sees its first tap */
    p.before = (p.taps - 1) * p.dilation - reach;
    return p;
}

/* dy as a picture: [N,OH,OW,1,1,O·groups] */
static NodeId picture_of_rows(Graph *g, const Fold *f) {
    NodeId rows = f->groups > 1 ? TRANSPOSED(g, f->rows, 1, 0, 2) : f->rows;
    return RESHAPED(g, rows, f->N, f->axis[0].places, f->axis[1].places, 1, 1, f->O * f->groups);
}

/* [places, taps·O], or by group [groups, places, taps·O] */
static NodeId rows_of_window(Graph *g, const Fold *f, const Phase *p) {
    Dim places = dim_mul(f->N, p[0].places * p[1].places);
    int64_t taps = p[0].taps * p[1].taps, channels = f->O * f->groups;
    Type to = type_make(DTYPE_f32, 6, (Dim[]){f->N, p[0].places, p[1].places, p[0].taps, p[1].taps, channels});
    NodeId picture = picture_of_rows(g, f);
    NodeId seen = build_window(g, picture, to, (int64_t[]){1, 1}, (int64_t[]){p[0].dilation, p[1].dilation},
                               (int64_t[]){p[0].before, p[1].before}, 0);
    seen = simplify_best(g, seen);
    if (f->groups == 1) return RESHAPED(g, seen, places, taps * channels);
    NodeId split = TRANSPOSED(g, RESHAPED(g, seen, places, taps, f->groups, f->O), 2, 0, 1, 3);
    return RESHAPED(g, split, f->groups, places, taps * f->O);
}

/* The phase's taps of the weights, the last one first: [taps·O, C], or by group [groups, taps·O, C]. The axis of taps
 * and channels is split where the weights lie, below their transpose. */
static NodeId mirrored_weights(Graph *g, const Fold *f, const Phase *p) {
    const Node weights = g->nodes[f->weights];
    uint32_t rank = weights.type.rank, order[3] = {0, 1, 2}, at = 0, place[3];
    if (weights.op == OP_transpose)
        for (uint32_t i = 0; i < rank; i++) order[i] = weights.attr.permutation[i];
    NodeId under = weights.op == OP_transpose ? weights.in[0] : f->weights;
    uint32_t joined = order[rank - 1];
    Type from = type_of(g, under), split = {.dtype = from.dtype, .rank = rank + 2};
    for (uint32_t i = 0; i < rank; i++) {
        place[i] = at;
        if (i == joined) split.dim[at++] = f->axis[0].taps, split.dim[at++] = f->axis[1].taps;
        split.dim[at++] = i == joined ? f->C : from.dim[i];
    }
    NodeId taps = reshaped(g, under, split.rank, split.dim);
    int64_t start[MAX_RANK] = {0}, step[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    for (uint32_t k = 0; k < 2; k++) {
        start[place[joined] + k] = p[k].first + (p[k].taps - 1) * p[k].step;
        step[place[joined] + k] = -p[k].step;
        split.dim[place[joined] + k] = p[k].taps;
    }
    taps = simplify_best(g, build_slice(g, taps, split, start, step));
    uint32_t height = place[joined], inner = place[order[rank - 2]];
    int64_t rows = p[0].taps * p[1].taps * f->O;
    if (rank == 2) return RESHAPED(g, TRANSPOSED(g, taps, height, height + 1, inner, height + 2), rows, f->C);
    taps = TRANSPOSED(g, taps, place[order[0]], height, height + 1, inner, height + 2);
    return RESHAPED(g, taps, f->groups, rows, f->C);
}

/* The elements of one phase: [N, H/s, 1, W/s, 1, C·groups] */
static NodeId part_of_result(Graph *g, const Fold *f, int64_t phase_y, int64_t phase_x) {
    Phase p[2] = {phase_of(f->axis[0], phase_y), phase_of(f->axis[1], phase_x)};
    int64_t height = (f->axis[0].size + f->axis[0].stride - 1) / f->axis[0].stride;
    int64_t width = (f->axis[1].size + f->axis[1].stride - 1) / f->axis[1].stride;
    const Dim part[6] = {f->N, height, 1, width, 1, f->C * f->groups};
    if (!p[0].taps || !p[1].taps) return build_constant(g, type_make(DTYPE_f32, 6, part), 0);
    NodeId rows = rows_of_window(g, f, p), weights = mirrored_weights(g, f, p);
    NodeId product = simplify_best(g, build_matmul(g, rows, weights));
    if (f->groups > 1) product = TRANSPOSED(g, product, 1, 0, 2);
    return reshaped(g, product, 6, part);
}

static NodeId joined_parts(Graph *g, NodeId a, NodeId b, uint32_t axis) {
    return a == NO_NODE ? b : simplify_best(g, build_concat(g, a, b, axis));
}

NodeId simplify_sum_product(Graph *g, const Node *node) {
    Fold f;
    if (!find_fold(g, node, &f)) return NO_MATCH;
    NodeId all = NO_NODE;
    for (int64_t y = 0; y < f.axis[0].stride; y++) {
        NodeId line = NO_NODE;
        for (int64_t x = 0; x < f.axis[1].stride; x++) line = joined_parts(g, line, part_of_result(g, &f, y, x), 4);
        all = joined_parts(g, all, line, 2);
    }
    Type parts = type_of(g, all), whole = f.result;
    whole.dim[1] = parts.dim[1] * parts.dim[2];
    whole.dim[2] = parts.dim[3] * parts.dim[4];
    all = reshaped(g, all, whole.rank, whole.dim);
    if (type_equal(whole, f.result)) return all;
    return simplify_best(g, build_slice(g, all, f.result, (int64_t[MAX_RANK]){0}, (int64_t[]){1, 1, 1, 1, 1, 1}));
}
