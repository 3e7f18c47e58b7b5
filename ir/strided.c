/* Strides of views, from the input upwards: each view changes the strides of what it looks at. A reshape parts
 * axes, and joins those that follow one another without a gap. */
#include "ir/strided.h"

static Extent scaled(Extent extent, int64_t factor) { return (Extent){extent.fixed * factor, extent.per_n * factor}; }

void strided_dense(const Type *type, Extent stride[MAX_RANK]) {
    Dim run = 1;
    for (uint32_t i = type->rank; i--;) {
        stride[i] = dim_extent(run);
        if (i) run = dim_mul(run, type->dim[i]);
    }
}

bool strided_is_one(Extent stride) { return stride.fixed == 1 && stride.per_n == 0; }

void strided_next_group(const Type *from, const Type *type, uint32_t *i, uint32_t *j) {
    Dim a = from->dim[(*i)++], b = *j < type->rank ? type->dim[(*j)++] : 1;
    while (a != b && (*i < from->rank || *j < type->rank)) {
        bool a_is_less = (a < 0) != (b < 0) ? a > 0 : (a < 0 ? -a : a) < (b < 0 ? -b : b);
        if (*j == type->rank || (a_is_less && *i < from->rank))
            a = dim_mul(a, from->dim[(*i)++]);
        else
            b = dim_mul(b, type->dim[(*j)++]);
    }
}

/* The stride of an axis of which `dim` follow one another at `stride`; false: it would grow with the square of n. */
static bool outer_stride(Extent stride, Dim dim, Extent *outer) {
    *outer = dim > 0 ? scaled(stride, dim) : (Extent){0, stride.fixed * -dim};
    return dim > 0 || stride.per_n == 0;
}

/* Axes [first, end) taken as one: its stride, if there is one. */
static bool join_axes(const Type *type, const Extent *stride, uint32_t first, uint32_t end, Extent *joined) {
    Extent next = {0};
    bool any = false;
    *joined = (Extent){0};
    for (uint32_t i = end; i-- > first;) {
        if (type->dim[i] == 1) continue;
        if (!any) *joined = next = stride[i];
        if (stride[i].fixed != next.fixed || stride[i].per_n != next.per_n) return false;
        if (!outer_stride(stride[i], type->dim[i], &next)) return false;
        any = true;
    }
    return true;
}

/* Axes are joined where one goes on where the other ends, and parted always. */
static bool through_reshape(const Type *from, const Type *to, Strided *view) {
    Extent result[MAX_RANK] = {{0}}, stride;
    for (uint32_t i = 0, j = 0; i < from->rank;) {
        uint32_t first = i, first_of_to = j;
        strided_next_group(from, to, &i, &j);
        if (!join_axes(from, view->stride, first, i, &stride)) return false;
        for (uint32_t k = j; k-- > first_of_to;) {
            result[k] = stride;
            if (k > first_of_to && !outer_stride(stride, to->dim[k], &stride)) return false;
        }
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

bool strided_above(const Graph *graph, NodeId id, NodeId memory, Strided *view) {
    const Node *node = &graph->nodes[id];
    if (id == memory || node->op == OP_input) {
        *view = (Strided){.input = id};
        strided_dense(&node->type, view->stride);
        return true;
    }
    if (node->op != OP_transpose && node->op != OP_broadcast && node->op != OP_slice && node->op != OP_reshape)
        return false;
    if (!strided_above(graph, node->in[0], memory, view)) return false;
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

bool strided_of(const Graph *graph, NodeId id, Strided *view) { return strided_above(graph, id, NO_NODE, view); }

/* What has been seen is the same along them, or nobody asks any more. */
static bool same_along(const Graph *graph, NodeId id, uint32_t axes, bool *seen) {
    const Node *node = &graph->nodes[id];
    if (seen[id]) return true;
    seen[id] = true;
    axes &= (1u << node->type.rank) - 1;
    for (uint32_t i = 0; i < node->type.rank; i++)
        if (node->type.dim[i] == 1) axes &= ~(1u << i);
    if (!axes || node->op == OP_constant) return true;
    if (node->op == OP_iota) return !(axes >> node->attr.axis & 1);
    if (node->op != OP_broadcast && !op_is_elementwise(node->op)) return false;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (!same_along(graph, node->in[i], axes, seen)) return false;
    return true;
}

bool strided_same_along(const Graph *graph, NodeId id, uint32_t axes) {
    Arena *scratch = arena_new();
    bool same = same_along(graph, id, axes, arena_array(scratch, bool, id + 1));
    arena_free(scratch);
    return same;
}
