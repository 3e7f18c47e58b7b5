/* What the files of the simplify pass share: a rule, and how a rule builds what is simple already. */
#ifndef SELFC_PASSES_SIMPLIFY_H
#define SELFC_PASSES_SIMPLIFY_H
#include "ir/build.h"

/* Names a node that is equal to this one but cheaper, or NO_MATCH. The inputs are simple already; what the rule adds
 * must be, too: it goes through simplify_best. */
typedef NodeId Rule(Graph *g, const Node *node);
#define NO_MATCH NO_NODE

/* simplify.c: the end of the chain of equal nodes that the rules make of this one. */
NodeId simplify_best(Graph *g, NodeId id);

/* simplify_reduce.c */
Rule simplify_reduce_ones, simplify_reduce_constant, simplify_reduce_reduce, simplify_reduce_broadcast,
    simplify_reduce_transpose, simplify_sum_neg, simplify_sum_scaled, simplify_matmul_scaled;

/* simplify_window.c */
Rule simplify_window_plain, simplify_window_repeated, simplify_window_constant, simplify_unwindow_plain,
    simplify_unwindow_zero;
Rule simplify_sum_tiles, simplify_sum_product;

/* Builders whose results are simple. */
static inline NodeId simple_node(Graph *g, Node node) { return simplify_best(g, graph_add(g, node)); }
static inline NodeId simple_unary(Graph *g, OpKind op, NodeId a) { return simplify_best(g, build_unary(g, op, a)); }
static inline NodeId simple_binary(Graph *g, OpKind op, NodeId a, NodeId b) {
    return simplify_best(g, build_binary(g, op, a, b));
}
static inline NodeId simple_select(Graph *g, NodeId condition, NodeId yes, NodeId no) {
    return simplify_best(g, build_select(g, condition, yes, no));
}
static inline NodeId simple_cast(Graph *g, NodeId a, DType dtype) { return simplify_best(g, build_cast(g, a, dtype)); }
static inline NodeId simple_broadcast(Graph *g, NodeId a, Type to) {
    return simplify_best(g, build_broadcast(g, a, to));
}
static inline NodeId simple_reshape(Graph *g, NodeId a, Type to) {
    return simplify_best(g, build_reshape(g, a, to.rank, to.dim));
}
static inline NodeId simple_reduce(Graph *g, OpKind op, NodeId a, uint32_t axes) {
    return axes ? simple_node(g, (Node){.op = op, .in = {a}, .attr.axes = axes}) : a;
}
static inline NodeId simple_transpose(Graph *g, NodeId a, const uint32_t *permutation) {
    return simplify_best(g, build_transpose(g, a, permutation));
}

/* Looking at nodes. */
static inline OpKind op_of(const Graph *g, NodeId id) { return g->nodes[id].op; }
static inline Type type_of(const Graph *g, NodeId id) { return g->nodes[id].type; }
static inline NodeId in(const Graph *g, NodeId id, int i) { return g->nodes[id].in[i]; }
static inline bool is_float(const Graph *g, NodeId id) { return dtype_info[type_of(g, id).dtype].is_float; }
static inline bool is_constant(const Graph *g, NodeId id) { return op_of(g, id) == OP_constant; }
static inline double value_of(const Graph *g, NodeId id) { return g->nodes[id].attr.value; }
static inline bool is_value(const Graph *g, NodeId id, double value) {
    return is_constant(g, id) && value_of(g, id) == value;
}
#endif
