/* Reverse-mode differentiation.
 *
 * Walks back from y with grad[id] = d y / d node, and lets the rule of each operation, named in the `gradient`
 * column of ir/ops.def, say what flows into its operands. Only nodes that depend on something wanted take part.
 *
 * Rules prefer the result y to the operand a where both would do (exp, tanh, max with a constant): y is needed by
 * the next layer anyway, so the operand need not be stored until the backward pass.
 *
 * A curve (passes/curve.h) is one operation, whose rule is made of its parts' rules: its slope, of what is known
 * forward already, times what flows in. Part by part, dy would stand in the midst of it, and all that the rules read
 * would be kept for the backward pass, where one value does.
 *
 * Gradients are f32 whatever the type of their node: narrow floats are for storage, and sums of them lose bits. */
#include "ir/attention.h"
#include "ir/build.h"
#include "ir/origin.h"
#include "ir/strided.h"
#include "passes/curve.h"
#include "passes/passes.h"

#include <math.h>
#include <string.h>

typedef struct {
    Graph *g;
    NodeId *grad;        /* NO_NODE while nothing has flowed into the node */
    const bool *depends; /* on something wanted: nothing needs to flow elsewhere */
} Tape;

static Type type_of(const Tape *t, NodeId id) { return t->g->nodes[id].type; }
static Type grad_type(const Tape *t, NodeId id) { return type_with_dtype(type_of(t, id), DTYPE_f32); }
static NodeId unary(Tape *t, OpKind op, NodeId a) { return build_unary(t->g, op, a); }
static NodeId binary(Tape *t, OpKind op, NodeId a, NodeId b) { return build_binary(t->g, op, a, b); }
static NodeId scaled(Tape *t, NodeId a, double factor) {
    return build_binary(t->g, OP_mul, a, build_like(t->g, a, factor));
}

static void flow(Tape *t, NodeId to, NodeId grad) {
    if (!t->depends[to]) return;
    t->grad[to] = t->grad[to] == NO_NODE ? grad : binary(t, OP_add, t->grad[to], grad);
}

/* dy where the bool holds, else 0. A select, not a product with 0 or 1: it keeps an infinite dy out of the rest. */
static NodeId masked(Tape *t, NodeId holds, NodeId dy) {
    return build_select(t->g, holds, dy, build_like(t->g, dy, 0));
}

static bool is_constant(const Graph *g, NodeId id) {
    OpKind op = g->nodes[id].op;
    while (op == OP_broadcast || op == OP_reshape || op == OP_transpose) {
        id = g->nodes[id].in[0];
        op = g->nodes[id].op;
    }
    return op == OP_constant;
}

/* A rule receives y = op(in[0], in[1], …) and dy. Nodes move when one is added: no pointer to one is kept. */
typedef void GradientRule(Tape *t, NodeId y, const NodeId *in, NodeId dy);

static void gradient_none(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)in, (void)dy;
    BUG("operation '%s' has no gradient; autodiff_check should have said so", op_info[t->g->nodes[y].op].name);
}
static void gradient_zero(Tape *t, NodeId y, const NodeId *in, NodeId dy) { (void)t, (void)y, (void)in, (void)dy; }

static void gradient_neg(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], unary(t, OP_neg, dy));
}
static void gradient_abs(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], binary(t, OP_mul, dy, unary(t, OP_sign, in[0])));
}
static void gradient_exp(Tape *t, NodeId y, const NodeId *in, NodeId dy) { flow(t, in[0], binary(t, OP_mul, dy, y)); }
static void gradient_log(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], binary(t, OP_div, dy, in[0]));
}
/* 1 / (2 y) */
static void gradient_sqrt(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    flow(t, in[0], binary(t, OP_div, scaled(t, dy, 0.5), y));
}
/* 1 - y² */
static void gradient_tanh(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    NodeId one = build_like(t->g, y, 1);
    NodeId slope = binary(t, OP_sub, one, binary(t, OP_mul, y, y));
    flow(t, in[0], binary(t, OP_mul, dy, slope));
}
/* y (1 - y) */
static void gradient_sigmoid(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    NodeId slope = binary(t, OP_mul, y, binary(t, OP_sub, build_like(t->g, y, 1), y));
    flow(t, in[0], binary(t, OP_mul, dy, slope));
}
/* 2/√π exp(-a²) */
static void gradient_erf(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    NodeId bell = unary(t, OP_exp, unary(t, OP_neg, binary(t, OP_mul, in[0], in[0])));
    flow(t, in[0], binary(t, OP_mul, dy, scaled(t, bell, 2 / sqrt(acos(-1)))));
}
static void gradient_sin(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], binary(t, OP_mul, dy, unary(t, OP_cos, in[0])));
}
static void gradient_cos(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], unary(t, OP_neg, binary(t, OP_mul, dy, unary(t, OP_sin, in[0]))));
}
/* From a whole number to a float nothing flows: `depends` holds for floats only. */
static void gradient_cast(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], dy);
}
static void gradient_add(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], dy);
    flow(t, in[1], dy);
}
static void gradient_sub(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], dy);
    if (t->depends[in[1]]) flow(t, in[1], unary(t, OP_neg, dy));
}
static void gradient_mul(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    if (t->depends[in[0]]) flow(t, in[0], binary(t, OP_mul, dy, in[1]));
    if (t->depends[in[1]]) flow(t, in[1], binary(t, OP_mul, dy, in[0]));
}
/* da = dy / b, db = -y dy / b */
static void gradient_div(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    NodeId da = binary(t, OP_div, dy, in[1]);
    flow(t, in[0], da);
    if (t->depends[in[1]]) flow(t, in[1], unary(t, OP_neg, binary(t, OP_mul, da, y)));
}

/* The larger takes all, equals share, as in torch.maximum. `a_wins` holds where the result is in[0] alone. */
static void flow_to_winner(Tape *t, const NodeId *in, NodeId a_wins, NodeId b_wins, NodeId dy) {
    NodeId tie = binary(t, OP_equal, in[0], in[1]), half = scaled(t, dy, 0.5);
    flow(t, in[0], build_select(t->g, tie, half, masked(t, a_wins, dy)));
    flow(t, in[1], build_select(t->g, tie, half, masked(t, b_wins, dy)));
}
/* Against a constant c only y is asked, so that relu stores no operand; at y = c the gradient is 0, as in torch.relu.
 */
static void gradient_max(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    for (int i = 0; i < 2; i++)
        if (is_constant(t->g, in[i])) {
            flow(t, in[1 - i], masked(t, binary(t, OP_less, in[i], y), dy));
            return;
        }
    NodeId a_wins = binary(t, OP_less, in[1], in[0]);
    flow_to_winner(t, in, a_wins, binary(t, OP_less, in[0], in[1]), dy);
}
static void gradient_min(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    for (int i = 0; i < 2; i++)
        if (is_constant(t->g, in[i])) {
            flow(t, in[1 - i], masked(t, binary(t, OP_less, y, in[i]), dy));
            return;
        }
    NodeId a_wins = binary(t, OP_less, in[0], in[1]);
    flow_to_winner(t, in, a_wins, binary(t, OP_less, in[1], in[0]), dy);
}
static void gradient_select(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    NodeId zero = build_like(t->g, dy, 0);
    flow(t, in[1], build_select(t->g, in[0], dy, zero));
    flow(t, in[2], build_select(t->g, in[0], zero, dy));
}

static void gradient_broadcast(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], build_sum_to(t->g, dy, grad_type(t, in[0])));
}
static void gradient_reshape(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    Type to = grad_type(t, in[0]);
    flow(t, in[0], build_reshape(t->g, dy, to.rank, to.dim));
}
static void gradient_transpose(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    Node node = t->g->nodes[y];
    uint32_t inverse[MAX_RANK] = {0};
    for (uint32_t axis = 0; axis < node.type.rank; axis++) inverse[node.attr.permutation[axis]] = axis;
    flow(t, in[0], build_transpose(t->g, dy, inverse));
}

/* a reshaped to [outer, size of the axis, inner]. */
static Type three_axes(Type type, uint32_t axis) {
    Dim dim[3] = {1, type.dim[axis], 1};
    for (uint32_t i = 0; i < type.rank; i++)
        if (i != axis) dim[i < axis ? 0 : 2] = dim_mul(dim[i < axis ? 0 : 2], type.dim[i]);
    return type_make(type.dtype, 3, dim);
}

static NodeId reversed(Tape *t, NodeId a, uint32_t axis) {
    Type type = type_of(t, a);
    int64_t start[MAX_RANK] = {0}, step[MAX_RANK];
    for (uint32_t i = 0; i < MAX_RANK; i++) step[i] = 1;
    CHECK(type.dim[axis] > 0);
    start[axis] = type.dim[axis] - 1;
    step[axis] = -1;
    return build_slice(t->g, a, type, start, step);
}

/* Elements come to stand `step` apart along an axis, each the first but `first` of its gap, zeros between.
 * A gap is a new axis of size 1, padded to `step`. */
static NodeId spread(Tape *t, NodeId a, uint32_t axis, int64_t step, int64_t first) {
    Type type = type_of(t, a), three = three_axes(type, axis);
    int64_t before[MAX_RANK] = {0, first};
    Dim apart[3] = {dim_mul(three.dim[0], three.dim[1]), 1, three.dim[2]};
    a = build_reshape(t->g, a, 3, apart);
    apart[1] = step;
    a = build_pad(t->g, a, type_make(type.dtype, 3, apart), before, 0);
    type.dim[axis] *= step;
    return build_reshape(t->g, a, type.rank, type.dim);
}

/* The least size of an axis that holds `before` and then `inner` elements, and is no less than `size`. */
static Dim room_for(Dim size, int64_t before, Dim inner) {
    if (size > 0) return before + inner > size ? before + inner : size;
    int64_t missing = before - inner + size; /* at n = 1; not more at any other, as the slope is not positive */
    return missing > 0 ? size - missing : size;
}

/* Puts each dy[i] back where y[i] = a[start + i * step] came from, zeros elsewhere. The last gap of a spread axis
 * may reach beyond the end: it is cut off again. */
static void gradient_slice(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    Node node = t->g->nodes[y];
    Type to = grad_type(t, in[0]), room = to;
    int64_t before[MAX_RANK] = {0}, zeros[MAX_RANK] = {0}, ones[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    for (uint32_t axis = 0; axis < to.rank; axis++) {
        int64_t step = node.attr.slice.step[axis];
        before[axis] = node.attr.slice.start[axis];
        if (node.type.dim[axis] == 1) continue; /* a step that is never taken */
        if (step < 0) {
            dy = reversed(t, dy, axis);
            before[axis] += (node.type.dim[axis] - 1) * step;
            step = -step;
        }
        if (step == 1) continue;
        dy = spread(t, dy, axis, step, before[axis] % step);
        before[axis] -= before[axis] % step;
        room.dim[axis] = room_for(to.dim[axis], before[axis], node.type.dim[axis] * step);
    }
    dy = build_pad(t->g, dy, room, before, 0);
    if (!shape_equal(room, to)) dy = build_slice(t->g, dy, to, zeros, ones);
    flow(t, in[0], dy);
}
static void gradient_pad(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    Node node = t->g->nodes[y];
    int64_t ones[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    flow(t, in[0], build_slice(t->g, dy, grad_type(t, in[0]), node.attr.pad.before, ones));
}

/* No element is read twice by one tap (i, j): unwindow brings each back, and taps that read the same element add up. */
static void gradient_window(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    Node node = t->g->nodes[y];
    Type to = grad_type(t, in[0]), taps = to;
    taps.dim[3] = node.type.dim[3];
    taps.dim[4] = node.type.dim[4];
    dy = build_unwindow(t->g, dy, taps, node.attr.window.stride, node.attr.window.dilation, node.attr.window.before);
    flow(t, in[0], build_sum_to(t->g, dy, to));
}
static void gradient_unwindow(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    Node node = t->g->nodes[y];
    flow(t, in[0],
         build_window(t->g, dy, grad_type(t, in[0]), node.attr.window.stride, node.attr.window.dilation,
                      node.attr.window.before, 0));
}

/* Elements start, start + 1, … of an axis of dy, as many as `to` has there. A slice starts at a number, never at a
 * multiple of the batch: an axis of 5n elements is split into [5, n] first and sliced there. */
static NodeId part_of_axis(Tape *t, NodeId dy, uint32_t axis, Dim start, Type to) {
    int64_t first[MAX_RANK] = {0}, ones[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    if (start >= 0) {
        first[axis] = start;
        return build_slice(t->g, dy, to, first, ones);
    }
    Type whole = three_axes(type_of(t, dy), axis);
    Dim split[3] = {whole.dim[0], -whole.dim[1], dim_mul(-1, whole.dim[2])};
    dy = build_reshape(t->g, dy, 3, split);
    split[1] = -to.dim[axis];
    first[1] = -start;
    dy = build_slice(t->g, dy, type_make(DTYPE_f32, 3, split), first, ones);
    return build_reshape(t->g, dy, to.rank, to.dim);
}
static void gradient_concat(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    uint32_t axis = t->g->nodes[y].attr.axis;
    if (t->depends[in[0]]) flow(t, in[0], part_of_axis(t, dy, axis, 0, grad_type(t, in[0])));
    if (t->depends[in[1]]) flow(t, in[1], part_of_axis(t, dy, axis, type_of(t, in[0]).dim[axis], grad_type(t, in[1])));
}

/* All pairs (j, i) are compared: dy[i] counts for place j where index[i] is j. */
static NodeId taken_by_comparing(Tape *t, const NodeId *in, NodeId dy, uint32_t axis) {
    Type to = grad_type(t, in[0]), taken = three_axes(type_of(t, in[1]), axis);
    Dim one[4] = {taken.dim[0], 1, taken.dim[1], taken.dim[2]};
    Type pairs = type_make(DTYPE_i32, 4, (Dim[]){taken.dim[0], to.dim[axis], taken.dim[1], taken.dim[2]});
    NodeId least = binary(t, OP_max, in[1], build_like(t->g, in[1], 0));
    NodeId place = binary(t, OP_min, least, build_like(t->g, in[1], (double)(to.dim[axis] - 1)));
    place = build_broadcast(t->g, build_reshape(t->g, place, 4, one), pairs);
    NodeId is_here = binary(t, OP_equal, place, build_iota(t->g, pairs, 1));
    dy = build_broadcast(t->g, build_reshape(t->g, dy, 4, one), pairs);
    NodeId all = build_sum(t->g, masked(t, is_here, dy), 1u << 2);
    return build_reshape(t->g, all, to.rank, to.dim);
}

/* To compare takes places · taken choices and additions, but keeps sums in registers and fuses with what makes dy; to
 * scatter, a store for each place, then a load, an addition and a store for each that was taken: of whole vectors where
 * rows share a position, of single elements, or, along the last axis, of one that may wait for the one before. Costs
 * are against a comparison, measured on 1024 rows of 768. */
static bool is_sooner_compared(const Tape *t, NodeId index, uint32_t axis, Dim places) {
    enum { OPEN_BATCH = 64, ROWS = 2, ELEMENTS = 6, ONE_BY_ONE = 20 };
    Type type = type_of(t, index);
    int64_t taken = dim_at(type.dim[axis], OPEN_BATCH);
    int64_t cost = axis + 1 == type.rank                                ? ONE_BY_ONE
                   : strided_same_along(t->g, index, ~0u << (axis + 1)) ? ROWS
                                                                        : ELEMENTS;
    return places * taken <= places + cost * taken;
}

/* Place j gets the sum of what was taken from it. */
static void gradient_gather(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    uint32_t axis = t->g->nodes[y].attr.axis;
    Type to = grad_type(t, in[0]);
    if (is_sooner_compared(t, in[1], axis, to.dim[axis]))
        flow(t, in[0], taken_by_comparing(t, in, dy, axis));
    else
        flow(t, in[0], build_scatter_add(t->g, build_constant(t->g, to, 0), in[1], dy, axis));
}
static void gradient_scatter_add(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    flow(t, in[0], dy);
    if (t->depends[in[2]]) flow(t, in[2], build_gather(t->g, dy, in[1], t->g->nodes[y].attr.axis));
}

static void gradient_sum(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    flow(t, in[0], build_broadcast(t->g, dy, type_of(t, in[0])));
}

/* ---- max pooling: the maximum of a window over its taps */

enum { TAPS = 1u << 3 | 1u << 4, MOST_POSITIONS = UINT8_MAX + 1 };

static bool is_pool(const Tape *t, NodeId y) {
    const Node *node = &t->g->nodes[y], *window = &t->g->nodes[node->in[0]];
    if (window->op != OP_window || node->attr.axes != TAPS) return false;
    Type picture = type_of(t, window->in[0]);
    const Dim *taps = window->type.dim + 3;
    return picture.dim[3] == 1 && picture.dim[4] == 1 && taps[0] <= MOST_POSITIONS &&
           taps[1] <= MOST_POSITIONS / taps[0];
}

/* What the elements of a picture [N,H,W,1,1,C] see through the taps of the windows that hold them. */
typedef struct {
    Node window;
    Type seen; /* [N,H,W,KH,KW,C]; [N,H,W,1,1,C] if windows lie side by side, as each element is in one alone */
    bool is_tiled;
} Unpool;

static Unpool unpool_of(const Tape *t, NodeId window) {
    Unpool u = {.window = t->g->nodes[window], .is_tiled = true};
    u.seen = grad_type(t, u.window.in[0]);
    for (int k = 0; k < 2; k++) {
        Dim size = u.seen.dim[1 + k], places = u.window.type.dim[1 + k], taps = u.window.type.dim[3 + k];
        bool is_dense = u.window.attr.window.dilation[k] == 1 && u.window.attr.window.before[k] == 0;
        u.is_tiled &= is_dense && u.window.attr.window.stride[k] == taps && size == places * taps;
    }
    for (int k = 0; k < 2 && !u.is_tiled; k++) u.seen.dim[3 + k] = u.window.type.dim[3 + k];
    return u;
}

/* a[1 or N, 1 or OH, KH or 1, 1 or OW, KW or 1, 1 or C] for each element of tiles. */
static NodeId tiled(Tape *t, const Unpool *u, NodeId a) {
    const Dim *dim = u->window.type.dim;
    Type from = type_of(t, a), to = type_make(from.dtype, 6, (Dim[]){dim[0], dim[1], dim[3], dim[2], dim[4], dim[5]});
    return build_reshape(t->g, build_broadcast(t->g, a, to), u->seen.rank, u->seen.dim);
}

/* a[N,OH,OW,1,1,C], a value for each window; 0 where a tap belongs to none. */
static NodeId of_windows(Tape *t, const Unpool *u, NodeId a) {
    const Attr *attr = &u->window.attr;
    const Dim *dim = u->window.type.dim;
    DType dtype = type_of(t, a).dtype;
    if (u->is_tiled) return tiled(t, u, build_reshape(t->g, a, 6, (Dim[]){dim[0], dim[1], 1, dim[2], 1, dim[5]}));
    a = build_broadcast(t->g, a, type_with_dtype(u->window.type, dtype));
    return build_unwindow(t->g, a, type_with_dtype(u->seen, dtype), attr->window.stride, attr->window.dilation,
                          attr->window.before);
}

/* The tap before, along height or width, sees nothing in front of the picture, or there is none. */
static NodeId is_first_inside(Tape *t, Type type, uint32_t k, int64_t dilation) {
    NodeId place = build_iota(t->g, type, 1 + k), tap = build_iota(t->g, type, 3 + k);
    NodeId is_near = binary(t, OP_less, place, build_constant(t->g, type, (double)dilation));
    return binary(t, OP_or, is_near, binary(t, OP_equal, tap, build_constant(t->g, type, 0)));
}

/* The position of each element in the window, i32. */
static NodeId own_position(Tape *t, const Unpool *u) {
    int64_t KH = u->window.type.dim[3], KW = u->window.type.dim[4];
    NodeId tap = build_iota(t->g, type_make(DTYPE_i32, 6, (Dim[]){1, 1, 1, KH * KW, 1, 1}), 3);
    if (u->is_tiled) return tiled(t, u, build_reshape(t->g, tap, 6, (Dim[]){1, 1, KH, 1, KW, 1}));
    tap = build_reshape(t->g, tap, 6, (Dim[]){1, 1, 1, KH, KW, 1});
    return build_broadcast(t->g, tap, type_with_dtype(u->seen, DTYPE_i32));
}

/* Where nothing is above -∞, a window's first position is its largest, even if that is a pad. As in PyTorch its first
 * element stands in for pads then: what stands before that one are pads alone. */
static NodeId inside(Tape *t, const Unpool *u, NodeId position, NodeId own) {
    const Attr *attr = &u->window.attr;
    Type type = type_of(t, own);
    if (attr->window.before[0] <= 0 && attr->window.before[1] <= 0) return position;
    NodeId is_first = binary(t, OP_and, is_first_inside(t, type, 0, attr->window.dilation[0]),
                             is_first_inside(t, type, 1, attr->window.dilation[1]));
    return binary(t, OP_max, position, build_select(t->g, is_first, own, build_like(t->g, own, 0)));
}

/* The first of the largest of a window takes all, as in torch.max_pool2d. Where it stands is found beside the maximum
 * and kept, a byte, so that the picture need not be. */
static void flow_to_largest(Tape *t, NodeId window, NodeId dy) {
    Unpool u = unpool_of(t, window);
    NodeId position = build_cast(t->g, of_windows(t, &u, build_argmax(t->g, window, TAPS)), DTYPE_i32);
    NodeId own = own_position(t, &u), is_here = binary(t, OP_equal, inside(t, &u, position, own), own);
    NodeId taken = masked(t, is_here, of_windows(t, &u, dy));
    flow(t, u.window.in[0], u.is_tiled ? taken : build_sum(t->g, taken, TAPS));
}

/* Every element that equals the maximum gets the same share, as in torch.amax. */
static void gradient_reduce_max(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    if (is_pool(t, y)) {
        flow_to_largest(t, in[0], dy);
        return;
    }
    uint32_t axes = t->g->nodes[y].attr.axes;
    Type type = type_of(t, in[0]);
    NodeId is_largest = binary(t, OP_equal, in[0], build_broadcast(t->g, y, type));
    NodeId count = build_sum(t->g, build_cast(t->g, is_largest, DTYPE_f32), axes);
    flow(t, in[0], masked(t, is_largest, build_broadcast(t->g, binary(t, OP_div, dy, count), type)));
}
/* da = dy bᵀ, db = aᵀ dy */
static void gradient_matmul(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    (void)y;
    if (t->depends[in[0]]) flow(t, in[0], build_matmul(t->g, dy, build_swap_last(t->g, in[1])));
    if (t->depends[in[1]]) flow(t, in[1], build_matmul(t->g, build_swap_last(t->g, in[0]), dy));
}

/* What flows to queries, keys and values; operand[] are the gradients' nine. */
static void flow_attention(Tape *t, const NodeId *operand, Attr attr, bool with_values) {
    static const OpKind op[] = {OP_attention_dq, OP_attention_dk, OP_attention_dv};
    for (uint32_t i = 0; i < (with_values ? 3 : 2); i++) {
        if (!t->depends[operand[i]]) continue;
        Node node = {.op = op[i], .attr = attr};
        memcpy(node.in, operand, sizeof node.in);
        flow(t, operand[i], graph_add(t->g, node));
    }
}

/* Through the norm flows -delta for each query: with its own norm that is part of dq and dk ("FlashAttention-2",
 * section 3.1.2), so nothing is left to flow there. */
static void gradient_attention(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    NodeId operand[MAX_INPUTS];
    Attr attr = t->g->nodes[y].attr;
    Type norm = type_of(t, in[ATTENTION_norm]);
    NodeId delta = build_sum(t->g, binary(t, OP_mul, dy, y), 1u << 3);
    delta = build_reshape(t->g, delta, norm.rank, norm.dim);
    memcpy(operand, in, sizeof operand);
    operand[ATTENTION_dy] = dy;
    operand[ATTENTION_delta] = delta;
    if (!attention_has_own_norm(t->g, y)) {
        if (t->depends[in[ATTENTION_norm]]) flow(t, in[ATTENTION_norm], unary(t, OP_neg, delta));
        operand[ATTENTION_delta] = build_like(t->g, delta, 0);
    }
    flow_attention(t, operand, attr, true);
}

/* A softmax for each query: what attention's gradients make of dy = 0 and delta = -dnorm. */
static void gradient_attention_norm(Tape *t, NodeId y, const NodeId *in, NodeId dy) {
    Attr attr = t->g->nodes[y].attr;
    NodeId key = build_constant(t->g, type_make(DTYPE_i32, 1, (Dim[]){3}), 0);
    NodeId sample = build_constant(t->g, type_make(DTYPE_i32, 1, (Dim[]){1}), 0);
    NodeId none = build_constant(t->g, type_of(t, in[ATTENTION_q]), 0);
    NodeId operand[MAX_INPUTS] = {
        in[ATTENTION_q], in[ATTENTION_k], in[ATTENTION_k], y, in[NORM_count], key, sample, none, unary(t, OP_neg, dy)};
    flow_attention(t, operand, attr, false);
}

static GradientRule *const gradient_rule[OP_COUNT] = {
#define OP(name, inputs, class, domain, attr, type, gradient, ...) [OP_##name] = gradient_##gradient,
#include "ir/ops.def"
};

static bool column_is(OpKind op, const char *gradient) { return !strcmp(op_info[op].gradient, gradient); }

/* depends[id]: a gradient that reaches the node must flow on, to something wanted. */
static bool *mark_dependent(const Graph *g, NodeId last, const NodeId *wanted, uint32_t count, Arena *scratch) {
    bool *depends = arena_array(scratch, bool, g->count);
    for (uint32_t i = 0; i < count; i++) depends[wanted[i]] = true;
    for (NodeId id = 0; id <= last; id++) {
        const Node *node = &g->nodes[id];
        if (!dtype_info[node->type.dtype].is_float || column_is(node->op, "zero")) continue;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) depends[id] |= depends[node->in[i]];
    }
    return depends;
}

/* A curve that ends here and flows to `from` alone: nobody asks for a gradient on the way. */
static bool find_curve(const Tape *t, NodeId y, const NodeId *wanted, uint32_t count, Curve *curve) {
    if (!curve_find(t->g, y, curve)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (curve_has(curve, wanted[i])) return false;
    return t->depends[curve->from];
}

/* Walks back from the end of the curve, where 1 flows in; `count` nodes are older than the walk. */
static void gradient_of_curve(Tape *t, const Curve *curve, NodeId y, NodeId dy, NodeId count, Arena *scratch) {
    bool *depends = arena_array(scratch, bool, count);
    Tape inner = {t->g, arena_array(scratch, NodeId, count), depends};
    for (NodeId id = 0; id < count; id++) inner.grad[id] = NO_NODE;
    for (uint32_t i = 0; i < curve->count; i++) depends[curve->nodes[i]] = true;
    depends[curve->from] = true;
    inner.grad[y] = build_like(t->g, y, 1);
    for (uint32_t i = 0; i < curve->count; i++) {
        Node node = t->g->nodes[curve->nodes[i]];
        gradient_rule[node.op](&inner, curve->nodes[i], node.in, inner.grad[curve->nodes[i]]);
    }
    flow(t, curve->from, binary(t, OP_mul, dy, inner.grad[curve->from]));
}

void differentiate(Graph *g, NodeId y, NodeId dy, const NodeId *wanted, uint32_t count, NodeId *result,
                   Arena *scratch) {
    const char *origin = g->origin;
    NodeId before = g->count, *grad = arena_array(scratch, NodeId, before);
    for (NodeId id = 0; id < before; id++) grad[id] = NO_NODE;
    Tape tape = {g, grad, mark_dependent(g, y, wanted, count, scratch)};
    Curve curve;

    if (tape.depends[y]) grad[y] = build_cast(g, dy, DTYPE_f32);
    for (NodeId id = y + 1; id--;) {
        Node node = g->nodes[id];
        bool flows_on = false;
        for (uint32_t i = 0; i < op_info[node.op].inputs; i++) flows_on |= tape.depends[node.in[i]];
        if (grad[id] == NO_NODE || !flows_on) continue;
        g->origin = origin_backward(scratch, node.origin);
        if (find_curve(&tape, id, wanted, count, &curve))
            gradient_of_curve(&tape, &curve, id, grad[id], before, scratch);
        else
            gradient_rule[node.op](&tape, id, node.in, grad[id]);
    }
    g->origin = origin;
    for (uint32_t i = 0; i < count; i++) {
        result[i] = grad[wanted[i]];
        if (result[i] != NO_NODE) result[i] = build_cast(g, result[i], g->nodes[wanted[i]].type.dtype);
    }
}

/* The gradients in `from` of the same y as node `first`, none of which stands before it. */
typedef struct {
    NodeId *asking, *wanted,
        *result; /* the gradient nodes in `from`; the nodes they want, and what they get, in `to` */
    uint32_t count;
} Request;

static Request collect(const Graph *from, NodeId first, const NodeId *new_id, Arena *scratch) {
    NodeId y = from->nodes[first].in[0];
    Request request = {arena_array(scratch, NodeId, from->count - first),
                       arena_array(scratch, NodeId, from->count - first),
                       arena_array(scratch, NodeId, from->count - first), 0};
    for (NodeId id = first; id < from->count; id++) {
        const Node *node = &from->nodes[id];
        if (node->op != OP_gradient || node->in[0] != y || node->in[1] > y) continue;
        request.asking[request.count] = id;
        request.wanted[request.count++] = new_id[node->in[1]];
    }
    return request;
}

/* All gradients of one y share one walk. An x that y does not depend on has the gradient 0. */
static void resolve(const Graph *from, Graph *to, NodeId first, NodeId *new_id, Arena *scratch) {
    Request request = collect(from, first, new_id, scratch);
    NodeId y = new_id[from->nodes[first].in[0]];
    differentiate(to, y, build_like(to, y, 1), request.wanted, request.count, request.result, scratch);
    for (uint32_t i = 0; i < request.count; i++) new_id[request.asking[i]] = request.result[i];
    for (uint32_t i = 0; i < request.count; i++)
        if (request.result[i] == NO_NODE) new_id[request.asking[i]] = build_like(to, request.wanted[i], 0);
}

GraphPass pass_autodiff;

/* Gradients are resolved in order, so the y of a later one may be made from the result of an earlier one. */
void pass_autodiff(const Graph *from, Graph *to, Arena *scratch) {
    NodeId *new_id = arena_array(scratch, NodeId, from->count);
    for (NodeId id = 0; id < from->count; id++) new_id[id] = NO_NODE;
    graph_copy_inputs(to, from);
    for (NodeId id = 0; id < from->count; id++) {
        const Node *node = &from->nodes[id];
        if (new_id[id] != NO_NODE) continue;
        if (node->op != OP_gradient)
            new_id[id] = graph_copy_node(to, node, new_id);
        else if (node->in[1] > node->in[0])
            new_id[id] = build_like(to, new_id[node->in[1]], 0);
        else
            resolve(from, to, id, new_id, scratch);
    }
    graph_copy_outputs(to, from, new_id);
}

/* What autodiff_check finds out about the paths from everything wanted of one y. */
typedef struct {
    bool *depends; /* a gradient can flow from here to something wanted */
    bool *needed;  /* y depends on it */
} Paths;

static void mark_wanted(const Graph *g, NodeId y, bool *wanted) {
    for (NodeId id = y; id < g->count; id++)
        if (g->nodes[id].op == OP_gradient && g->nodes[id].in[0] == y) wanted[g->nodes[id].in[1]] = true;
}

static Paths find_paths(const Graph *g, NodeId y, Arena *scratch) {
    Paths paths = {arena_array(scratch, bool, g->count), arena_array(scratch, bool, g->count)};
    mark_wanted(g, y, paths.depends);
    for (NodeId id = 0; id <= y; id++) {
        const Node *node = &g->nodes[id];
        bool flows = dtype_info[node->type.dtype].is_float && !column_is(node->op, "zero");
        for (uint32_t i = 0; flows && i < op_info[node->op].inputs; i++)
            paths.depends[id] |= paths.depends[node->in[i]];
    }
    paths.needed[y] = true;
    for (NodeId id = y + 1; id--;)
        for (uint32_t i = 0; paths.needed[id] && i < op_info[g->nodes[id].op].inputs; i++)
            paths.needed[g->nodes[id].in[i]] = true;
    return paths;
}

static const char *place_of(const Node *node) { return node->origin ? node->origin : "the model"; }

/* A gradient whose own gradient is asked for: what it is made of must have one, too. */
static void check_second(const Graph *g, NodeId gradient, Arena *scratch, Diag *diag) {
    NodeId y = g->nodes[gradient].in[0];
    Paths paths = find_paths(g, y, scratch);
    NodeId id = 0;
    while (id <= y && !(attention_is(g->nodes[id].op) && paths.depends[id] && paths.needed[id])) id++;
    if (id <= y)
        diag_error(diag, (Place){0},
                   "%s: attention has no second derivative, but what is minimized depends on its first",
                   place_of(&g->nodes[id]));
}

static void check_operations(const Graph *g, NodeId y, const Paths *paths, Arena *scratch, Diag *diag) {
    for (NodeId id = 0; id <= y; id++) {
        const Node *node = &g->nodes[id];
        bool flows_in = false;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) flows_in |= paths->depends[node->in[i]];
        if (!paths->depends[id] || !paths->needed[id] || !flows_in) continue;
        if (node->op == OP_gradient)
            check_second(g, id, scratch, diag);
        else if (column_is(node->op, "none"))
            diag_error(diag, (Place){0},
                       "%s: operation '%s' has no gradient, but stands between a parameter and what is minimized",
                       place_of(node), op_info[node->op].name);
    }
}

/* Nothing flows at all: says where the paths end. */
static void report_no_path(const Graph *g, NodeId y, const Paths *paths, Diag *diag) {
    diag_error(diag, (Place){0},
               "%s: nothing that is trained can change what is minimized: its gradient is zero everywhere",
               place_of(&g->nodes[y]));
    for (NodeId id = 0; id <= y; id++) {
        const Node *node = &g->nodes[id];
        bool ends_here = false;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) ends_here |= paths->depends[node->in[i]];
        if (ends_here && paths->needed[id] && !paths->depends[id])
            diag_note(diag, (Place){0}, "%s: no gradient flows through '%s'", place_of(node), op_info[node->op].name);
    }
}

bool autodiff_check(const Graph *graph, Diag *diag) {
    Arena *scratch = arena_new();
    int errors = diag->errors;
    bool *done = arena_array(scratch, bool, graph->count);
    for (NodeId id = 0; id < graph->count; id++) {
        NodeId y = graph->nodes[id].in[0];
        if (graph->nodes[id].op != OP_gradient || done[y]) continue;
        done[y] = true;
        Paths paths = find_paths(graph, y, scratch);
        if (paths.depends[y])
            check_operations(graph, y, &paths, scratch, diag);
        else
            report_no_path(graph, y, &paths, diag);
    }
    arena_free(scratch);
    return diag->errors == errors;
}
