/* Algebraic simplification.
 *
 * Each rule looks at one node whose inputs are already simple and names an equal but cheaper node, or says that it
 * does not fit. Rules build through simple_…(), so what they make is simple, too, and one walk reaches the fixpoint.
 *
 * What a rule must hold:
 *   1. The value is the same up to rounding in f32. a * 2 * 3 may become a * 6; a + 1e8 - 1e8 may not become a.
 *   2. What is NaN or infinite does not vanish: a * 0 = 0 and a - a = 0 only where a cannot be either. Near the ends
 *      of the range a result may overflow a little earlier or later; the sign of zero may change.
 *   3. No rule undoes another. The directions: constants go to the right operand; signs and constant factors go
 *      outwards, through views and products, to where sums and other factors absorb them; arithmetic goes to the
 *      smaller tensor, in front of a broadcast and behind a reduction.
 *   4. Gradients are gone: equal values are not equal where one asks for a derivative with respect to a node. A graph
 *      that still holds some is copied as it is. */
#include "passes/passes.h"
#include "passes/simplify.h"

#include <math.h>

/* True for what comes from whole numbers: neither NaN nor infinite. */
static bool is_finite(const Graph *g, NodeId id) {
    if (op_of(g, id) == OP_cast) return !is_float(g, in(g, id, 0)) || !is_float(g, id);
    return !is_float(g, id) || op_of(g, id) == OP_iota;
}

/* ---- constants */

/* The value as it will be computed with: false if a constant of the type cannot stand for it. */
static bool settle(double *value, DType dtype) {
    if (dtype == DTYPE_f32) *value = (double)(float)*value;
    return dtype != DTYPE_bf16 && dtype != DTYPE_f16 && (dtype != DTYPE_i64 || fabs(*value) <= 9007199254740992.0);
}

/* An operation on constants is a constant. The evaluator says which, given one element of each. */
static NodeId fold(Graph *g, const Node *node) {
    double value;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (!is_constant(g, node->in[i])) return NO_MATCH;

    Graph *one = graph_new(NULL);
    Node scalar = {.op = node->op, .type = type_scalar(node->type.dtype), .attr = node->attr};
    bool settled = true;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
        DType dtype = type_of(g, node->in[i]).dtype;
        value = value_of(g, node->in[i]);
        settled &= settle(&value, dtype);
        scalar.in[i] = build_constant(one, type_scalar(dtype), value);
    }
    NodeId result = graph_add(one, scalar);
    value = graph_eval(one, 1, NULL, one->arena)[result][0];
    settled &= settle(&value, node->type.dtype);
    graph_free(one);
    return settled ? build_constant(g, node->type, value) : NO_MATCH;
}

/* Constants stand right. */
static NodeId constant_right(Graph *g, const Node *node) {
    if (!is_constant(g, node->in[0]) || is_constant(g, node->in[1])) return NO_MATCH;
    return simple_binary(g, node->op, node->in[1], node->in[0]);
}

/* The product of two factors as a constant that is neither infinite nor so small that it has lost digits. */
static NodeId constant_product(Graph *g, Type type, double a, double b) {
    double product = a * b;
    bool exact = dtype_info[type.dtype].is_float ? isnormal((float)product) : fabs(product) <= INT32_MAX;
    return exact ? build_constant(g, type, product) : NO_MATCH;
}

static NodeId times_constant(Graph *g, NodeId a, double b, double c) {
    NodeId factor = constant_product(g, type_of(g, a), b, c);
    return factor == NO_NODE ? NO_MATCH : simple_binary(g, OP_mul, a, factor);
}

/* (a * c) * d = a * (c * d) */
static NodeId mul_mul_constant(Graph *g, const Node *node) {
    NodeId a = node->in[0], d = node->in[1];
    if (!is_constant(g, d) || op_of(g, a) != OP_mul || !is_constant(g, in(g, a, 1))) return NO_MATCH;
    return times_constant(g, in(g, a, 0), value_of(g, in(g, a, 1)), value_of(g, d));
}

/* (c / a) * d = (c * d) / a */
static NodeId mul_div_constant(Graph *g, const Node *node) {
    NodeId a = node->in[0], d = node->in[1];
    if (!is_constant(g, d) || op_of(g, a) != OP_div || !is_constant(g, in(g, a, 0))) return NO_MATCH;
    NodeId factor = constant_product(g, node->type, value_of(g, in(g, a, 0)), value_of(g, d));
    return factor == NO_NODE ? NO_MATCH : simple_binary(g, OP_div, factor, in(g, a, 1));
}

/* (a * c) / d = a * (c / d) */
static NodeId div_mul_constant(Graph *g, const Node *node) {
    NodeId a = node->in[0], d = node->in[1];
    if (!is_constant(g, d) || op_of(g, a) != OP_mul || !is_constant(g, in(g, a, 1))) return NO_MATCH;
    return times_constant(g, in(g, a, 0), value_of(g, in(g, a, 1)), 1 / value_of(g, d));
}

/* a / c = a * (1 / c) where 1 / c is exact: c is a power of two */
static NodeId div_power_of_two(Graph *g, const Node *node) {
    int exponent;
    if (!is_constant(g, node->in[1]) || fabs(frexp(value_of(g, node->in[1]), &exponent)) != 0.5) return NO_MATCH;
    return times_constant(g, node->in[0], 1, 1 / value_of(g, node->in[1]));
}

/* a + a = a * 2 */
static NodeId add_itself(Graph *g, const Node *node) {
    if (node->in[0] != node->in[1]) return NO_MATCH;
    return simple_binary(g, OP_mul, node->in[0], build_constant(g, node->type, 2));
}

/* (a + c) + d = a + (c + d), of whole numbers */
static NodeId add_add_constant(Graph *g, const Node *node) {
    NodeId a = node->in[0], d = node->in[1];
    if (is_float(g, a) || !is_constant(g, d) || op_of(g, a) != OP_add || !is_constant(g, in(g, a, 1))) return NO_MATCH;
    return simple_binary(g, OP_add, in(g, a, 0), simple_binary(g, OP_add, in(g, a, 1), d));
}

/* ---- arithmetic */

/* a + 0 = a, a - 0 = a; of bits: a or 0 = a, a xor 0 = a, a moved by 0 = a */
static NodeId with_zero(Graph *g, const Node *node) { return is_value(g, node->in[1], 0) ? node->in[0] : NO_MATCH; }

/* a * 1 = a, a / 1 = a */
static NodeId with_one(Graph *g, const Node *node) { return is_value(g, node->in[1], 1) ? node->in[0] : NO_MATCH; }

/* a * -1 = -a */
static NodeId mul_minus_one(Graph *g, const Node *node) {
    return is_value(g, node->in[1], -1) ? simple_unary(g, OP_neg, node->in[0]) : NO_MATCH;
}

/* a * 0 = 0, a and 0 = 0; where a cannot be NaN or infinite */
static NodeId absorbed_by_zero(Graph *g, const Node *node) {
    return is_value(g, node->in[1], 0) && is_finite(g, node->in[0]) ? node->in[1] : NO_MATCH;
}

/* a - a = 0, a xor a = 0; where a cannot be NaN or infinite */
static NodeId with_itself_zero(Graph *g, const Node *node) {
    bool fits = node->in[0] == node->in[1] && is_finite(g, node->in[0]);
    return fits ? build_constant(g, node->type, 0) : NO_MATCH;
}

/* max(a, a) = a; so min, and, or */
static NodeId with_itself(Graph *g, const Node *node) {
    (void)g;
    return node->in[0] == node->in[1] ? node->in[0] : NO_MATCH;
}

/* a < a never holds */
static NodeId less_itself(Graph *g, const Node *node) {
    return node->in[0] == node->in[1] ? build_constant(g, node->type, 0) : NO_MATCH;
}

/* a == a, where a cannot be NaN */
static NodeId equal_itself(Graph *g, const Node *node) {
    bool holds = node->in[0] == node->in[1] && is_finite(g, node->in[0]);
    return holds ? build_constant(g, node->type, 1) : NO_MATCH;
}

/* 0 - a = -a */
static NodeId zero_sub(Graph *g, const Node *node) {
    return is_value(g, node->in[0], 0) ? simple_unary(g, OP_neg, node->in[1]) : NO_MATCH;
}

/* a - c = a + -c */
static NodeId sub_constant(Graph *g, const Node *node) {
    if (!is_constant(g, node->in[1])) return NO_MATCH;
    return simple_binary(g, OP_add, node->in[0], simple_unary(g, OP_neg, node->in[1]));
}

/* a + -b = a - b, -a + b = b - a */
static NodeId add_neg(Graph *g, const Node *node) {
    NodeId a = node->in[0], b = node->in[1];
    if (op_of(g, b) == OP_neg) return simple_binary(g, OP_sub, a, in(g, b, 0));
    if (op_of(g, a) == OP_neg) return simple_binary(g, OP_sub, b, in(g, a, 0));
    return NO_MATCH;
}

/* a - -b = a + b, -a - b = -(a + b) */
static NodeId sub_neg(Graph *g, const Node *node) {
    NodeId a = node->in[0], b = node->in[1];
    if (op_of(g, b) == OP_neg) return simple_binary(g, OP_add, a, in(g, b, 0));
    if (op_of(g, a) == OP_neg) return simple_unary(g, OP_neg, simple_binary(g, OP_add, in(g, a, 0), b));
    return NO_MATCH;
}

/* -(-a) = a */
static NodeId neg_neg(Graph *g, const Node *node) {
    return op_of(g, node->in[0]) == OP_neg ? in(g, node->in[0], 0) : NO_MATCH;
}

/* -(a - b) = b - a */
static NodeId neg_sub(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    return op_of(g, a) == OP_sub ? simple_binary(g, OP_sub, in(g, a, 1), in(g, a, 0)) : NO_MATCH;
}

/* -(a * c) = a * -c */
static NodeId neg_mul_constant(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    if (op_of(g, a) != OP_mul || !is_constant(g, in(g, a, 1))) return NO_MATCH;
    return simple_binary(g, OP_mul, in(g, a, 0), simple_unary(g, OP_neg, in(g, a, 1)));
}

/* -(a + c) = -c - a */
static NodeId neg_add_constant(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    if (op_of(g, a) != OP_add || !is_constant(g, in(g, a, 1))) return NO_MATCH;
    return simple_binary(g, OP_sub, simple_unary(g, OP_neg, in(g, a, 1)), in(g, a, 0));
}

/* -(c / a) = -c / a */
static NodeId neg_div_constant(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    if (op_of(g, a) != OP_div || !is_constant(g, in(g, a, 0))) return NO_MATCH;
    return simple_binary(g, OP_div, simple_unary(g, OP_neg, in(g, a, 0)), in(g, a, 1));
}

/* -a * b = -(a * b), -a * c = a * -c; so div and matmul */
static NodeId factor_neg(Graph *g, const Node *node) {
    for (int i = 0; i < 2; i++) {
        NodeId other = node->in[1 - i];
        if (op_of(g, node->in[i]) != OP_neg) continue;
        NodeId operand = in(g, node->in[i], 0), in_order[2] = {i ? other : operand, i ? operand : other};
        if (!is_constant(g, other) || node->op == OP_matmul)
            return simple_unary(g, OP_neg, simple_binary(g, node->op, in_order[0], in_order[1]));
        in_order[1 - i] = simple_unary(g, OP_neg, other);
        return simple_binary(g, node->op, in_order[0], in_order[1]);
    }
    return NO_MATCH;
}

/* |-a| = |a|, ||a|| = |a| */
static NodeId abs_sign(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    return op_of(g, a) == OP_neg || op_of(g, a) == OP_abs ? simple_unary(g, OP_abs, in(g, a, 0)) : NO_MATCH;
}

/* Gradients have been taken: nothing is left to stop. */
static NodeId stop_nothing(Graph *g, const Node *node) {
    (void)g;
    return node->in[0];
}

static bool scatters_on_zeros(const Graph *g, NodeId id) {
    while (op_of(g, id) == OP_scatter_add) id = in(g, id, 0);
    return is_value(g, id, 0);
}

/* Is it in memory, or does it come from a product or a sum, a few steps away? */
static bool has_memory_of_its_own(const Graph *g, NodeId id, int levels) {
    OpClass class = op_info[op_of(g, id)].class;
    if (class == CLASS_reduce || class == CLASS_contract || class == CLASS_scatter) return true;
    if (levels && (op_is_elementwise(op_of(g, id)) || class == CLASS_index))
        for (uint32_t i = 0; i < op_info[op_of(g, id)].inputs; i++)
            if (op_of(g, in(g, id, (int)i)) != OP_input && has_memory_of_its_own(g, in(g, id, (int)i), levels - 1))
                return true;
    return op_of(g, id) == OP_input;
}

/* a + (0 with some added) = a with some added: few places of a large table are touched then, in place. Not where a
 * would be computed together with the sum. */
static NodeId add_scattered(Graph *g, const Node *node) {
    enum { LEVELS = 4 };
    for (int i = 0; i < 2; i++) {
        NodeId scattered = node->in[i];
        if (op_of(g, scattered) != OP_scatter_add || !scatters_on_zeros(g, scattered)) continue;
        if (!has_memory_of_its_own(g, node->in[1 - i], LEVELS)) continue;
        Node scatter = g->nodes[scattered];
        scatter.in[0] = simple_binary(g, OP_add, scatter.in[0], node->in[1 - i]);
        return simple_node(g, scatter);
    }
    return NO_MATCH;
}

/* ---- logic, choice, casts */

static bool is_true(const Graph *g, NodeId id) { return type_of(g, id).dtype == DTYPE_bool && is_value(g, id, 1); }

/* not not a = a */
static NodeId not_not(Graph *g, const Node *node) {
    return op_of(g, node->in[0]) == OP_not ? in(g, node->in[0], 0) : NO_MATCH;
}
/* a and true = a */
static NodeId and_true(Graph *g, const Node *node) { return is_true(g, node->in[1]) ? node->in[0] : NO_MATCH; }
/* a or true = true */
static NodeId or_true(Graph *g, const Node *node) { return is_true(g, node->in[1]) ? node->in[1] : NO_MATCH; }
/* a xor true = not a */
static NodeId xor_true(Graph *g, const Node *node) {
    return is_true(g, node->in[1]) ? simple_unary(g, OP_not, node->in[0]) : NO_MATCH;
}

/* A choice whose condition is known, or between equals. */
static NodeId select_decided(Graph *g, const Node *node) {
    NodeId condition = node->in[0], yes = node->in[1], no = node->in[2];
    if (yes == no) return yes;
    if (is_constant(g, condition)) return value_of(g, condition) != 0 ? yes : no;
    return NO_MATCH;
}

/* select(not a, b, c) = select(a, c, b) */
static NodeId select_not(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_not) return NO_MATCH;
    return simple_select(g, in(g, node->in[0], 0), node->in[2], node->in[1]);
}

/* A cast to the type that is there. */
static NodeId cast_same(Graph *g, const Node *node) {
    return type_equal(node->type, type_of(g, node->in[0])) ? node->in[0] : NO_MATCH;
}

/* Whether every value of `from` is also one of `to`. */
static bool holds_all(DType to, DType from) {
    static const struct {
        int digits, exponent;
    } range[DTYPE_COUNT] = {
        [DTYPE_f32] = {24, 128}, [DTYPE_bf16] = {8, 128}, [DTYPE_f16] = {11, 16}, [DTYPE_i8] = {7, 7},
        [DTYPE_u8] = {8, 8},     [DTYPE_i32] = {31, 31},  [DTYPE_i64] = {63, 63}, [DTYPE_bool] = {1, 1},
    };
    if (dtype_info[from].is_float && !dtype_info[to].is_float) return false;
    bool sign_fits = from == DTYPE_bool || from == DTYPE_u8 || (to != DTYPE_u8 && to != DTYPE_bool) || to == from;
    return sign_fits && range[from].digits <= range[to].digits && range[from].exponent <= range[to].exponent;
}

/* A cast of a cast whose middle type holds everything. From whole numbers over floats to whole numbers stays: the
 * last step saturates, where a direct one might wrap around. */
static NodeId cast_cast(Graph *g, const Node *node) {
    NodeId middle = node->in[0];
    if (op_of(g, middle) != OP_cast) return NO_MATCH;
    DType to = node->type.dtype, over = type_of(g, middle).dtype, from = type_of(g, in(g, middle, 0)).dtype;
    bool both_whole = !dtype_info[from].is_float && !dtype_info[to].is_float;
    if (!holds_all(over, from) || (both_whole && dtype_info[over].is_float && !holds_all(to, from))) return NO_MATCH;
    return simple_cast(g, in(g, middle, 0), to);
}

/* ---- where elements come from */

/* An index operation that changes nothing. */
static NodeId same_shape(Graph *g, const Node *node) {
    return type_equal(node->type, type_of(g, node->in[0])) ? node->in[0] : NO_MATCH;
}

/* Elements of a constant are a constant. */
static NodeId index_constant(Graph *g, const Node *node) {
    return is_constant(g, node->in[0]) ? build_constant(g, node->type, value_of(g, node->in[0])) : NO_MATCH;
}

static NodeId broadcast_broadcast(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_broadcast) return NO_MATCH;
    return simple_broadcast(g, in(g, node->in[0], 0), node->type);
}

static NodeId reshape_reshape(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_reshape) return NO_MATCH;
    return simple_reshape(g, in(g, node->in[0], 0), node->type);
}

static NodeId transpose_transpose(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    if (op_of(g, a) != OP_transpose) return NO_MATCH;
    uint32_t both[MAX_RANK];
    for (uint32_t i = 0; i < node->type.rank; i++) both[i] = g->nodes[a].attr.permutation[node->attr.permutation[i]];
    return simple_transpose(g, in(g, a, 0), both);
}

/* A transpose that moves axes of size 1 only keeps the elements in order. */
static NodeId transpose_of_ones(Graph *g, const Node *node) {
    int last = -1;
    for (uint32_t i = 0; i < node->type.rank; i++) {
        if (node->type.dim[i] == 1) continue;
        if (node->attr.permutation[i] < last) return NO_MATCH;
        last = node->attr.permutation[i];
    }
    return simple_reshape(g, node->in[0], node->type);
}

static NodeId transpose_broadcast(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    if (op_of(g, a) != OP_broadcast) return NO_MATCH;
    uint32_t permutation[MAX_RANK];
    for (uint32_t i = 0; i < node->type.rank; i++) permutation[i] = node->attr.permutation[i];
    return simple_broadcast(g, simple_transpose(g, in(g, a, 0), permutation), node->type);
}

static NodeId simple_slice(Graph *g, NodeId a, Type to, const int64_t *start, const int64_t *step) {
    return simplify_best(g, build_slice(g, a, to, start, step));
}

/* All of it, forwards. */
static NodeId slice_whole(Graph *g, const Node *node) {
    if (!type_equal(node->type, type_of(g, node->in[0]))) return NO_MATCH;
    for (uint32_t i = 0; i < node->type.rank; i++)
        if (node->type.dim[i] != 1 && (node->attr.slice.start[i] || node->attr.slice.step[i] != 1)) return NO_MATCH;
    return node->in[0];
}

static NodeId slice_slice(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_slice) return NO_MATCH;
    Node inner = g->nodes[node->in[0]];
    int64_t start[MAX_RANK], step[MAX_RANK];
    for (uint32_t i = 0; i < node->type.rank; i++) {
        start[i] = inner.attr.slice.start[i] + node->attr.slice.start[i] * inner.attr.slice.step[i];
        step[i] = node->type.dim[i] == 1 ? 1 : inner.attr.slice.step[i] * node->attr.slice.step[i];
    }
    return simple_slice(g, inner.in[0], node->type, start, step);
}

static NodeId slice_broadcast(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_broadcast) return NO_MATCH;
    NodeId a = in(g, node->in[0], 0);
    Type from = type_of(g, a), to = node->type;
    int64_t start[MAX_RANK], step[MAX_RANK];
    for (uint32_t i = 0; i < to.rank; i++) {
        bool repeated = from.dim[i] == 1;
        start[i] = repeated ? 0 : node->attr.slice.start[i];
        step[i] = repeated ? 1 : node->attr.slice.step[i];
        if (repeated) to.dim[i] = 1;
    }
    return simple_broadcast(g, simple_slice(g, a, to, start, step), node->type);
}

/* The least and the largest position that a slice reads on an axis; false if that depends on the batch. */
static bool slice_reach(const Node *node, uint32_t axis, int64_t *least, int64_t *most) {
    if (node->type.dim[axis] < 0) return false;
    int64_t first = node->attr.slice.start[axis];
    int64_t last = first + (node->type.dim[axis] - 1) * node->attr.slice.step[axis];
    *least = first < last ? first : last;
    *most = first < last ? last : first;
    return true;
}

/* A slice of what was padded, without any of the padding. */
static NodeId slice_pad(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_pad) return NO_MATCH;
    Node pad = g->nodes[node->in[0]];
    Type from = type_of(g, pad.in[0]);
    int64_t start[MAX_RANK], least, most;
    for (uint32_t i = 0; i < node->type.rank; i++) {
        start[i] = node->attr.slice.start[i] - pad.attr.pad.before[i];
        if (from.dim[i] == pad.type.dim[i]) continue; /* not padded: any slice fits */
        if (from.dim[i] < 0 || !slice_reach(node, i, &least, &most)) return NO_MATCH;
        if (least < pad.attr.pad.before[i] || most >= pad.attr.pad.before[i] + from.dim[i]) return NO_MATCH;
    }
    return simple_slice(g, pad.in[0], node->type, start, node->attr.slice.step);
}

/* A slice of one of two parts. */
static NodeId slice_concat(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_concat) return NO_MATCH;
    Node concat = g->nodes[node->in[0]];
    uint32_t axis = concat.attr.axis;
    Dim border = type_of(g, concat.in[0]).dim[axis];
    int64_t start[MAX_RANK], least, most;
    if (border < 0 || !slice_reach(node, axis, &least, &most) || (least < border && most >= border)) return NO_MATCH;
    for (uint32_t i = 0; i < node->type.rank; i++) start[i] = node->attr.slice.start[i];
    if (least >= border) start[axis] -= border;
    return simple_slice(g, concat.in[least >= border], node->type, start, node->attr.slice.step);
}

/* A constant padded with itself. */
static NodeId pad_constant(Graph *g, const Node *node) {
    bool fits = is_value(g, node->in[0], node->attr.pad.value);
    return fits ? build_constant(g, node->type, node->attr.pad.value) : NO_MATCH;
}

static NodeId pad_pad(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_pad) return NO_MATCH;
    Node inner = g->nodes[node->in[0]];
    int64_t before[MAX_RANK];
    if (inner.attr.pad.value != node->attr.pad.value) return NO_MATCH;
    for (uint32_t i = 0; i < node->type.rank; i++) before[i] = inner.attr.pad.before[i] + node->attr.pad.before[i];
    return simplify_best(g, build_pad(g, inner.in[0], node->type, before, node->attr.pad.value));
}

static NodeId concat_constants(Graph *g, const Node *node) {
    bool fits = is_constant(g, node->in[0]) && is_value(g, node->in[1], value_of(g, node->in[0]));
    return fits ? build_constant(g, node->type, value_of(g, node->in[0])) : NO_MATCH;
}

/* transpose(a * c) = transpose(a) * c, transpose(-a) = -transpose(a); so reshape and slice. Products of matrices read
 * their operands through views, and let signs and factors out. */
static NodeId view_scaled(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    bool is_scaled = op_of(g, a) == OP_mul && is_constant(g, in(g, a, 1));
    if (!is_scaled && op_of(g, a) != OP_neg) return NO_MATCH;
    Node view = *node;
    view.in[0] = in(g, a, 0);
    NodeId moved = simple_node(g, view);
    if (!is_scaled) return simple_unary(g, OP_neg, moved);
    return simple_binary(g, OP_mul, moved, build_constant(g, node->type, value_of(g, in(g, a, 1))));
}

/* A window, too, if its pads are zeros: a finite factor keeps them. */
static NodeId window_scaled(Graph *g, const Node *node) {
    NodeId a = node->in[0], factor = op_of(g, a) == OP_mul ? in(g, a, 1) : NO_NODE;
    bool keeps_zero = factor == NO_NODE || (is_constant(g, factor) && isfinite(value_of(g, factor)));
    return node->attr.window.value == 0 && keeps_zero ? view_scaled(g, node) : NO_MATCH;
}

/* op(broadcast a, broadcast b, constant) = broadcast op(a, b, constant): the work is done before the repeating, in
 * the least shape that holds all operands. */
static NodeId work_before_broadcast(Graph *g, const Node *node) {
    Type least = node->type;
    uint32_t inputs = op_info[node->op].inputs;
    for (uint32_t axis = 0; axis < least.rank; axis++) least.dim[axis] = 1;
    for (uint32_t i = 0; i < inputs; i++) {
        if (is_constant(g, node->in[i])) continue;
        if (op_of(g, node->in[i]) != OP_broadcast) return NO_MATCH;
        Type from = type_of(g, in(g, node->in[i], 0));
        for (uint32_t axis = 0; axis < least.rank; axis++)
            if (from.dim[axis] != 1) least.dim[axis] = from.dim[axis];
    }
    if (shape_equal(least, node->type)) return NO_MATCH;
    Node small = *node;
    small.type = least;
    for (uint32_t i = 0; i < inputs; i++) {
        Type to = type_with_dtype(least, type_of(g, node->in[i]).dtype);
        small.in[i] = is_constant(g, node->in[i]) ? build_constant(g, to, value_of(g, node->in[i]))
                                                  : simple_broadcast(g, in(g, node->in[i], 0), to);
    }
    return simple_broadcast(g, simple_node(g, small), node->type);
}

/* (a * broadcast s) * c = a * broadcast(s * c); c constant or repeated like s. The smaller factors are multiplied
 * first. */
static NodeId scale_the_scale(Graph *g, const Node *node) {
    NodeId a = node->in[0], c = node->in[1];
    if (op_of(g, a) != OP_mul || (!is_constant(g, c) && op_of(g, c) != OP_broadcast)) return NO_MATCH;
    for (int i = 0; i < 2; i++) {
        NodeId s = in(g, a, i), rest = in(g, a, 1 - i);
        if (op_of(g, s) != OP_broadcast || op_of(g, rest) == OP_broadcast) continue;
        if (!is_constant(g, c) && !type_equal(type_of(g, in(g, s, 0)), type_of(g, in(g, c, 0)))) continue;
        return simple_binary(g, OP_mul, rest, simple_binary(g, OP_mul, s, c));
    }
    return NO_MATCH;
}

/* ---- the rules, in the order in which they are tried */

static Rule *const elementwise_rules[] = {fold, work_before_broadcast};

static const struct {
    OpKind op;
    Rule *apply;
} rules[] = {
    {OP_add, constant_right},
    {OP_mul, constant_right},
    {OP_max, constant_right},
    {OP_min, constant_right},
    {OP_equal, constant_right},
    {OP_and, constant_right},
    {OP_or, constant_right},
    {OP_xor, constant_right},
    {OP_neg, neg_neg},
    {OP_neg, neg_sub},
    {OP_neg, neg_mul_constant},
    {OP_neg, neg_add_constant},
    {OP_neg, neg_div_constant},
    {OP_abs, abs_sign},
    {OP_not, not_not},
    {OP_cast, cast_same},
    {OP_cast, cast_cast},
    {OP_stop_gradient, stop_nothing},
    {OP_add, with_zero},
    {OP_add, add_neg},
    {OP_add, add_scattered},
    {OP_add, add_itself},
    {OP_add, add_add_constant},
    {OP_sub, with_itself_zero},
    {OP_sub, sub_constant},
    {OP_sub, zero_sub},
    {OP_sub, sub_neg},
    {OP_mul, with_one},
    {OP_mul, mul_minus_one},
    {OP_mul, absorbed_by_zero},
    {OP_mul, mul_mul_constant},
    {OP_mul, mul_div_constant},
    {OP_mul, factor_neg},
    {OP_mul, scale_the_scale},
    {OP_div, with_one},
    {OP_div, div_mul_constant},
    {OP_div, div_power_of_two},
    {OP_div, factor_neg},
    {OP_max, with_itself},
    {OP_min, with_itself},
    {OP_less, less_itself},
    {OP_equal, equal_itself},
    {OP_and, with_itself},
    {OP_and, absorbed_by_zero},
    {OP_and, and_true},
    {OP_or, with_itself},
    {OP_or, with_zero},
    {OP_or, or_true},
    {OP_xor, with_itself_zero},
    {OP_xor, with_zero},
    {OP_xor, xor_true},
    {OP_shift_left, with_zero},
    {OP_shift_right, with_zero},
    {OP_select, select_decided},
    {OP_select, select_not},
    {OP_broadcast, same_shape},
    {OP_broadcast, index_constant},
    {OP_broadcast, broadcast_broadcast},
    {OP_reshape, same_shape},
    {OP_reshape, index_constant},
    {OP_reshape, reshape_reshape},
    {OP_reshape, view_scaled},
    {OP_transpose, index_constant},
    {OP_transpose, transpose_of_ones},
    {OP_transpose, transpose_transpose},
    {OP_transpose, transpose_broadcast},
    {OP_transpose, view_scaled},
    {OP_slice, slice_whole},
    {OP_slice, index_constant},
    {OP_slice, view_scaled},
    {OP_slice, slice_slice},
    {OP_slice, slice_broadcast},
    {OP_slice, slice_pad},
    {OP_slice, slice_concat},
    {OP_pad, same_shape},
    {OP_pad, pad_constant},
    {OP_pad, pad_pad},
    {OP_concat, concat_constants},
    {OP_gather, index_constant},
    {OP_window, simplify_window_plain},
    {OP_window, simplify_window_repeated},
    {OP_window, simplify_window_constant},
    {OP_window, window_scaled},
    {OP_unwindow, simplify_unwindow_plain},
    {OP_unwindow, simplify_unwindow_zero},
    {OP_unwindow, window_scaled},
    {OP_sum, simplify_reduce_ones},
    {OP_sum, simplify_reduce_constant},
    {OP_sum, simplify_reduce_reduce},
    {OP_sum, simplify_reduce_broadcast},
    {OP_sum, simplify_reduce_transpose},
    {OP_sum, simplify_sum_neg},
    {OP_sum, simplify_sum_scaled},
    {OP_sum, simplify_sum_tiles},
    {OP_sum, simplify_sum_product},
    {OP_reduce_max, simplify_reduce_ones},
    {OP_reduce_max, simplify_reduce_constant},
    {OP_reduce_max, simplify_reduce_reduce},
    {OP_reduce_max, simplify_reduce_broadcast},
    {OP_reduce_max, simplify_reduce_transpose},
    {OP_matmul, factor_neg},
    {OP_matmul, simplify_matmul_scaled},
};

/* needs: inputs that are simple already. */
NodeId simplify_best(Graph *g, NodeId id) {
    Node node = g->nodes[id];
    const char *outer = g->origin;
    NodeId better = NO_MATCH;
    g->origin = node.origin;
    if (op_is_elementwise(node.op))
        for (size_t i = 0; better == NO_MATCH && i < sizeof elementwise_rules / sizeof *elementwise_rules; i++)
            better = elementwise_rules[i](g, &node);
    for (size_t i = 0; better == NO_MATCH && i < sizeof rules / sizeof *rules; i++)
        if (rules[i].op == node.op) better = rules[i].apply(g, &node);
    g->origin = outer;
    return better == NO_MATCH ? id : better;
}

/* (a b)ᵀ = bᵀ aᵀ, where nobody else wants a b: the product is written the way it is wanted. Not a rule like the
 * others, since it takes a look at who uses the product. */
static bool is_lone_transposed_product(const Graph *from, const Node *node, const uint32_t *users) {
    uint32_t rank = node->type.rank;
    if (node->op != OP_transpose || from->nodes[node->in[0]].op != OP_matmul || users[node->in[0]] != 1) return false;
    for (uint32_t i = 0; i + 2 < rank; i++)
        if (node->attr.permutation[i] != i) return false;
    return node->attr.permutation[rank - 1] == rank - 2;
}

static NodeId transposed_product(Graph *to, const Node *product, const NodeId *new_id) {
    const char *outer = to->origin;
    to->origin = product->origin;
    NodeId a = simplify_best(to, build_swap_last(to, new_id[product->in[0]]));
    NodeId b = simplify_best(to, build_swap_last(to, new_id[product->in[1]]));
    NodeId turned = simple_binary(to, OP_matmul, b, a);
    to->origin = outer;
    return turned;
}

static bool has_gradients(const Graph *graph) {
    for (NodeId id = 0; id < graph->count; id++)
        if (graph->nodes[id].op == OP_gradient) return true;
    return false;
}

GraphPass pass_simplify;

void pass_simplify(const Graph *from, Graph *to, Arena *scratch) {
    NodeId *new_id = arena_array(scratch, NodeId, from->count);
    uint32_t *users = graph_count_users(from, scratch);
    bool as_it_is = has_gradients(from);
    graph_copy_inputs(to, from);
    for (NodeId id = 0; id < from->count; id++) {
        const Node *node = &from->nodes[id];
        if (as_it_is)
            new_id[id] = graph_copy_node(to, node, new_id);
        else if (is_lone_transposed_product(from, node, users))
            new_id[id] = transposed_product(to, &from->nodes[node->in[0]], new_id);
        else
            new_id[id] = simplify_best(to, graph_copy_node(to, node, new_id));
    }
    graph_copy_outputs(to, from, new_id);
}
