/* Strides of views, from the input upwards: each view changes the strides of what it looks at. A reshape keeps
 * strides when it only adds or drops axes of size 1, or when its operand is a whole dense input. */
#include "ir/strided.h"

static Extent scaled(Extent extent, int64_t factor) { return (Extent){extent.fixed * factor, extent.per_n * factor}; }

static bool is_dense(const Type *type, const Extent *stride) {
    Extent dense[MAX_RANK];
    strided_dense(type, dense);
    for (uint32_t i = 0; i < type->rank; i++)
        if (type->dim[i] != 1 && (stride[i].fixed != dense[i].fixed || stride[i].per_n != dense[i].per_n)) return false;
    return true;
}

void strided_dense(const Type *type, Extent stride[MAX_RANK]) {
    Dim run = 1;
    for (uint32_t i = type->rank; i--;) {
        stride[i] = dim_extent(run);
        if (i) run = dim_mul(run, type->dim[i]);
    }
}

bool strided_is_one(Extent stride) { return stride.fixed == 1 && stride.per_n == 0; }

/* Only axes of size 1 come or go. */
static bool reshape_same_axes(const Type *from, const Extent *stride, const Type *to, Extent *result) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < to->rank; i++) {
        result[i] = (Extent){0};
        if (to->dim[i] == 1) continue;
        while (at < from->rank && from->dim[at] == 1) at++;
        if (at == from->rank || from->dim[at] != to->dim[i]) return false;
        result[i] = stride[at++];
    }
    while (at < from->rank && from->dim[at] == 1) at++;
    return at == from->rank;
}

static bool through_reshape(const Type *from, const Type *to, Strided *view) {
    Extent result[MAX_RANK];
    if (!reshape_same_axes(from, view->stride, to, result)) {
        if (!is_dense(from, view->stride)) return false;
        strided_dense(to, result);
    }
    for (uint32_t i = 0; i < to->rank; i++) view->stride[i] = result[i];
    return true;
}

static void through_slice(const Node *node, Strided *view) {
    for (uint32_t i = 0; i < node->type.rank; i++) {
        Extent start = scaled(view->stride[i], node->attr.slice.start[i]);
        view->offset.fixed += start.fixed;
        view->offset.per_n += start.per_n;
        view->stride[i] = scaled(view->stride[i], node->attr.slice.step[i]);
    }
}

bool strided_of(const Graph *graph, NodeId id, Strided *view) {
    const Node *node = &graph->nodes[id];
    if (node->op == OP_input) {
        *view = (Strided){.input = id};
        strided_dense(&node->type, view->stride);
        return true;
    }
    if (node->op != OP_transpose && node->op != OP_broadcast && node->op != OP_slice && node->op != OP_reshape)
        return false;
    if (!strided_of(graph, node->in[0], view)) return false;
    const Type *from = &graph->nodes[node->in[0]].type;
    Strided below = *view;
    if (node->op == OP_transpose)
        for (uint32_t i = 0; i < from->rank; i++) view->stride[i] = below.stride[node->attr.permutation[i]];
    if (node->op == OP_broadcast)
        for (uint32_t i = 0; i < from->rank; i++)
            if (from->dim[i] == 1) view->stride[i] = (Extent){0};
    if (node->op == OP_slice) through_slice(node, view);
    return node->op != OP_reshape || through_reshape(from, &node->type, view);
}
