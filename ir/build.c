/* Builders: each adds one node, or none where it would change nothing. */
#include "ir/build.h"

#include <string.h>

NodeId build_input(Graph *g, const char *name, InputKind kind, Type type, Init init) {
    uint32_t index = graph_add_input(g, (GraphInput){.name = name, .kind = kind, .type = type, .init = init});
    return graph_add(g, (Node){.op = OP_input, .type = type, .attr.index = index});
}

NodeId build_constant(Graph *g, Type type, double value) {
    return graph_add(g, (Node){.op = OP_constant, .type = type, .attr.value = value});
}

NodeId build_like(Graph *g, NodeId a, double value) { return build_constant(g, g->nodes[a].type, value); }

NodeId build_iota(Graph *g, Type type, uint32_t axis) {
    return graph_add(g, (Node){.op = OP_iota, .type = type, .attr.axis = axis});
}

NodeId build_random(Graph *g, Type type, NodeId key, NodeId sample, uint32_t stream, uint32_t word) {
    return graph_add(g, (Node){.op = OP_random,
                               .type = type_with_dtype(type, DTYPE_i32),
                               .in = {key, sample},
                               .attr.random = {.stream = stream, .word = word}});
}

NodeId build_unary(Graph *g, OpKind op, NodeId a) { return graph_add(g, (Node){.op = op, .in = {a}}); }

NodeId build_binary(Graph *g, OpKind op, NodeId a, NodeId b) { return graph_add(g, (Node){.op = op, .in = {a, b}}); }

NodeId build_select(Graph *g, NodeId condition, NodeId yes, NodeId no) {
    return graph_add(g, (Node){.op = OP_select, .in = {condition, yes, no}});
}

NodeId build_cast(Graph *g, NodeId a, DType dtype) {
    Type type = g->nodes[a].type;
    if (type.dtype == dtype) return a;
    return graph_add(g, (Node){.op = OP_cast, .type = type_with_dtype(type, dtype), .in = {a}});
}

NodeId build_broadcast(Graph *g, NodeId a, Type to) {
    Type from = g->nodes[a].type;
    CHECK(from.rank <= to.rank);
    to.dtype = from.dtype;
    if (from.rank < to.rank) {
        Dim dim[MAX_RANK];
        uint32_t missing = to.rank - from.rank;
        for (uint32_t i = 0; i < to.rank; i++) dim[i] = i < missing ? 1 : from.dim[i - missing];
        a = build_reshape(g, a, to.rank, dim);
    }
    if (shape_equal(g->nodes[a].type, to)) return a;
    return graph_add(g, (Node){.op = OP_broadcast, .type = to, .in = {a}});
}

NodeId build_reshape(Graph *g, NodeId a, uint32_t rank, const Dim *dim) {
    Type to = type_make(g->nodes[a].type.dtype, rank, dim);
    if (shape_equal(g->nodes[a].type, to)) return a;
    return graph_add(g, (Node){.op = OP_reshape, .type = to, .in = {a}});
}

NodeId build_transpose(Graph *g, NodeId a, const uint32_t *permutation) {
    Node node = {.op = OP_transpose, .in = {a}};
    bool changes = false;
    for (uint32_t i = 0; i < g->nodes[a].type.rank; i++) {
        CHECK(permutation[i] < MAX_RANK);
        node.attr.permutation[i] = (uint8_t)permutation[i];
        changes |= permutation[i] != i;
    }
    return changes ? graph_add(g, node) : a;
}

NodeId build_swap_last(Graph *g, NodeId a) {
    uint32_t rank = g->nodes[a].type.rank, permutation[MAX_RANK];
    CHECK(rank >= 2);
    for (uint32_t i = 0; i < rank; i++) permutation[i] = i;
    permutation[rank - 2] = rank - 1;
    permutation[rank - 1] = rank - 2;
    return build_transpose(g, a, permutation);
}

NodeId build_slice(Graph *g, NodeId a, Type to, const int64_t *start, const int64_t *step) {
    Node node = {.op = OP_slice, .type = type_with_dtype(to, g->nodes[a].type.dtype), .in = {a}};
    memcpy(node.attr.slice.start, start, to.rank * sizeof *start);
    memcpy(node.attr.slice.step, step, to.rank * sizeof *step);
    return graph_add(g, node);
}

NodeId build_pad(Graph *g, NodeId a, Type to, const int64_t *before, double value) {
    Node node = {.op = OP_pad, .type = type_with_dtype(to, g->nodes[a].type.dtype), .in = {a}};
    if (shape_equal(g->nodes[a].type, to)) return a;
    memcpy(node.attr.pad.before, before, to.rank * sizeof *before);
    node.attr.pad.value = value;
    return graph_add(g, node);
}

static Node window_node(Graph *g, OpKind op, NodeId a, Type to, const int64_t *stride, const int64_t *dilation,
                        const int64_t *before) {
    Node node = {.op = op, .type = type_with_dtype(to, g->nodes[a].type.dtype), .in = {a}};
    memcpy(node.attr.window.stride, stride, 2 * sizeof *stride);
    memcpy(node.attr.window.dilation, dilation, 2 * sizeof *dilation);
    memcpy(node.attr.window.before, before, 2 * sizeof *before);
    return node;
}

NodeId build_window(Graph *g, NodeId a, Type to, const int64_t *stride, const int64_t *dilation, const int64_t *before,
                    double value) {
    Node node = window_node(g, OP_window, a, to, stride, dilation, before);
    node.attr.window.value = value;
    return graph_add(g, node);
}

NodeId build_unwindow(Graph *g, NodeId a, Type to, const int64_t *stride, const int64_t *dilation,
                      const int64_t *before) {
    return graph_add(g, window_node(g, OP_unwindow, a, to, stride, dilation, before));
}

NodeId build_concat(Graph *g, NodeId a, NodeId b, uint32_t axis) {
    return graph_add(g, (Node){.op = OP_concat, .in = {a, b}, .attr.axis = axis});
}

NodeId build_gather(Graph *g, NodeId a, NodeId index, uint32_t axis) {
    return graph_add(g, (Node){.op = OP_gather, .in = {a, index}, .attr.axis = axis});
}

NodeId build_scatter_add(Graph *g, NodeId base, NodeId index, NodeId updates, uint32_t axis) {
    return graph_add(g, (Node){.op = OP_scatter_add, .in = {base, index, updates}, .attr.axis = axis});
}

NodeId build_sum(Graph *g, NodeId a, uint32_t axes) {
    return axes ? graph_add(g, (Node){.op = OP_sum, .in = {a}, .attr.axes = axes}) : a;
}

NodeId build_reduce_max(Graph *g, NodeId a, uint32_t axes) {
    return axes ? graph_add(g, (Node){.op = OP_reduce_max, .in = {a}, .attr.axes = axes}) : a;
}

NodeId build_argmax(Graph *g, NodeId a, uint32_t axes) {
    return graph_add(g, (Node){.op = OP_argmax, .in = {a}, .attr.axes = axes});
}

NodeId build_sum_to(Graph *g, NodeId a, Type to) {
    Type from = g->nodes[a].type;
    CHECK(from.rank >= to.rank);
    uint32_t added = from.rank - to.rank, axes = 0;
    for (uint32_t i = 0; i < from.rank; i++) {
        bool repeated = i < added ? from.dim[i] != 1 : to.dim[i - added] == 1 && from.dim[i] != 1;
        if (repeated) axes |= 1u << i;
    }
    return build_reshape(g, build_sum(g, a, axes), to.rank, to.dim);
}

NodeId build_drop_axes(Graph *g, NodeId a, uint32_t axes) {
    Type from = g->nodes[a].type;
    Dim dim[MAX_RANK];
    uint32_t rank = 0;
    for (uint32_t i = 0; i < from.rank; i++) {
        if (axes >> i & 1)
            CHECK(from.dim[i] == 1);
        else
            dim[rank++] = from.dim[i];
    }
    return build_reshape(g, a, rank, dim);
}

NodeId build_matmul(Graph *g, NodeId a, NodeId b) { return build_binary(g, OP_matmul, a, b); }

NodeId build_gradient(Graph *g, NodeId y, NodeId x) { return build_binary(g, OP_gradient, y, x); }

/* The shape both can be repeated to, matched from the right. */
static bool common_shape(Type a, Type b, Type *to) {
    *to = a.rank > b.rank ? a : b;
    for (uint32_t i = 1; i <= to->rank; i++) {
        Dim da = i <= a.rank ? a.dim[a.rank - i] : 1, db = i <= b.rank ? b.dim[b.rank - i] : 1;
        if (da != db && da != 1 && db != 1) return false;
        to->dim[to->rank - i] = da == 1 ? db : da;
    }
    return true;
}

bool build_broadcast_pair(Graph *g, NodeId *a, NodeId *b, const char **why) {
    Type type_a = g->nodes[*a].type, type_b = g->nodes[*b].type, to;
    char text_a[128], text_b[128];
    if (!common_shape(type_a, type_b, &to)) {
        *why = arena_printf(g->arena, "the shapes %s and %s do not fit together", type_print(type_a, text_a),
                            type_print(type_b, text_b));
        return false;
    }
    const char *problem = type_problem(to);
    if (problem) {
        *why = arena_printf(g->arena, "%s and %s together: %s", type_print(type_a, text_a), type_print(type_b, text_b),
                            problem);
        return false;
    }
    *a = build_broadcast(g, *a, to);
    *b = build_broadcast(g, *b, to);
    return true;
}
