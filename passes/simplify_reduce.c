/* Rules for reductions and products: repeated elements are counted, not added; signs, factors and views go outwards, to
 * where what is left of them is smaller. */
#include "passes/simplify.h"

/* Axes of size 1 need no reduction. */
NodeId simplify_reduce_ones(Graph *g, const Node *node) {
    Type from = type_of(g, node->in[0]);
    uint32_t axes = node->attr.axes;
    for (uint32_t i = 0; i < from.rank; i++)
        if (from.dim[i] == 1) axes &= ~(1u << i);
    return axes == node->attr.axes ? NO_MATCH : simple_reduce(g, node->op, node->in[0], axes);
}

/* How many elements go into one of the result; 0 if that depends on the batch or a constant cannot say it. */
static int64_t reduced_count(Type from, uint32_t axes) {
    Dim count = 1;
    for (uint32_t i = 0; i < from.rank; i++)
        if (axes >> i & 1) count = from.dim[i] < 0 || count == 0 ? 0 : count * from.dim[i];
    return dtype_info[from.dtype].is_float || count <= INT32_MAX ? count : 0;
}

/* The sum of `count` equal elements a. */
static NodeId times_count(Graph *g, NodeId a, int64_t count) {
    return simple_binary(g, OP_mul, a, build_like(g, a, (double)count));
}

/* Equal elements: their maximum is one of them, their sum a multiple. */
NodeId simplify_reduce_constant(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    if (!is_constant(g, a)) return NO_MATCH;
    NodeId one = build_constant(g, node->type, value_of(g, a));
    int64_t count = reduced_count(type_of(g, a), node->attr.axes);
    if (node->op == OP_reduce_max) return one;
    return count ? times_count(g, one, count) : NO_MATCH;
}

NodeId simplify_reduce_reduce(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    if (op_of(g, a) != node->op) return NO_MATCH;
    return simple_reduce(g, node->op, in(g, a, 0), node->attr.axes | g->nodes[a].attr.axes);
}

/* Reduces before repeating: repeated elements are counted, not added. */
NodeId simplify_reduce_broadcast(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_broadcast) return NO_MATCH;
    NodeId a = in(g, node->in[0], 0);
    Type from = type_of(g, a), repeated_type = type_of(g, node->in[0]);
    uint32_t repeated = 0;
    for (uint32_t i = 0; i < from.rank; i++)
        if (from.dim[i] != repeated_type.dim[i]) repeated |= 1u << i;
    int64_t count = reduced_count(repeated_type, node->attr.axes & repeated);
    if (node->op == OP_sum && !count) return NO_MATCH;
    a = simple_reduce(g, node->op, a, node->attr.axes & ~repeated);
    if (node->op == OP_sum) a = times_count(g, a, count);
    return simple_broadcast(g, a, node->type);
}

/* reduce(transpose a) = transpose(reduce a): what is left to move is smaller. */
NodeId simplify_reduce_transpose(Graph *g, const Node *node) {
    NodeId a = node->in[0];
    if (op_of(g, a) != OP_transpose) return NO_MATCH;
    uint32_t axes = 0, permutation[MAX_RANK];
    for (uint32_t i = 0; i < node->type.rank; i++) {
        permutation[i] = g->nodes[a].attr.permutation[i];
        if (node->attr.axes >> i & 1) axes |= 1u << permutation[i];
    }
    return simple_transpose(g, simple_reduce(g, node->op, in(g, a, 0), axes), permutation);
}

/* sum(-a) = -sum(a) */
NodeId simplify_sum_neg(Graph *g, const Node *node) {
    if (op_of(g, node->in[0]) != OP_neg) return NO_MATCH;
    return simple_unary(g, OP_neg, simple_reduce(g, OP_sum, in(g, node->in[0], 0), node->attr.axes));
}

/* The one value that `a` has along the axes, in the shape of the sum; NO_NODE if it has several. */
static NodeId along(Graph *g, NodeId a, uint32_t axes, Type to) {
    if (is_constant(g, a)) return build_constant(g, to, value_of(g, a));
    if (op_of(g, a) != OP_broadcast) return NO_NODE;
    Type from = type_of(g, in(g, a, 0));
    for (uint32_t i = 0; i < from.rank; i++)
        if (axes >> i & 1 && from.dim[i] != 1) return NO_NODE;
    return simple_broadcast(g, in(g, a, 0), to);
}

/* sum(a * s) = sum(a) * s, sum(a / s) = sum(a) / s, where s is the same for all that is added. */
NodeId simplify_sum_scaled(Graph *g, const Node *node) {
    NodeId product = node->in[0];
    OpKind op = op_of(g, product);
    if (op != OP_mul && op != OP_div) return NO_MATCH;
    for (int i = 1; i >= (op == OP_mul ? 0 : 1); i--) {
        NodeId scale = along(g, in(g, product, i), node->attr.axes, node->type);
        if (scale == NO_NODE) continue;
        return simple_binary(g, op, simple_reduce(g, OP_sum, in(g, product, 1 - i), node->attr.axes), scale);
    }
    return NO_MATCH;
}

/* (a * c) b = (a b) * c, for the product of matrices */
NodeId simplify_matmul_scaled(Graph *g, const Node *node) {
    for (int i = 0; i < 2; i++) {
        NodeId a = node->in[i], operands[2] = {node->in[0], node->in[1]};
        if (op_of(g, a) != OP_mul || !is_constant(g, in(g, a, 1))) continue;
        double factor = value_of(g, in(g, a, 1));
        operands[i] = in(g, a, 0);
        NodeId product = simple_binary(g, OP_matmul, operands[0], operands[1]);
        return simple_binary(g, OP_mul, product, build_constant(g, node->type, factor));
    }
    return NO_MATCH;
}
