/* Panels are made by pad, reshape and transpose, and read through transpose, reshape and slice. */
#include "ir/panels.h"
#include "ir/build.h"

static const uint32_t swap_first[] = {1, 0, 2}; /* its own inverse */

NodeId panels_make(Graph *graph, NodeId matrix, int64_t width) {
    Type type = graph->nodes[matrix].type, padded = type;
    CHECK(type.rank == 2 && type.dim[0] > 0 && type.dim[1] > 0 && width > 0);
    int64_t before[2] = {0, 0}, count = (type.dim[1] + width - 1) / width;
    padded.dim[1] = count * width;
    Dim parted[] = {type.dim[0], count, width};
    NodeId wide = build_pad(graph, matrix, padded, before, 0);
    return build_transpose(graph, build_reshape(graph, wide, 3, parted), swap_first);
}

NodeId panels_read(Graph *graph, NodeId panels, Type matrix) {
    Type type = graph->nodes[panels].type;
    CHECK(type.rank == 3 && matrix.rank == 2 && type.dim[1] == matrix.dim[0]);
    Dim joined[] = {type.dim[1], type.dim[0] * type.dim[2]};
    int64_t start[2] = {0, 0}, step[2] = {1, 1};
    NodeId wide = build_reshape(graph, build_transpose(graph, panels, swap_first), 2, joined);
    return joined[1] == matrix.dim[1] ? wide : build_slice(graph, wide, matrix, start, step);
}

/* A slice that leaves out columns at the end. */
static bool drops_columns(const Node *slice, const Type *from) {
    const int64_t *start = slice->attr.slice.start, *step = slice->attr.slice.step;
    return !start[0] && !start[1] && step[0] == 1 && step[1] == 1 && slice->type.dim[0] == from->dim[0];
}

bool panels_of(const Graph *graph, NodeId operand, Panels *panels) {
    const Node *node = &graph->nodes[operand], *nodes = graph->nodes;
    if (node->type.rank != 2) return false;
    Dim columns = node->type.dim[1];
    if (node->op == OP_slice) {
        if (!drops_columns(node, &nodes[node->in[0]].type)) return false;
        node = &nodes[node->in[0]];
    }
    if (node->op != OP_reshape || nodes[node->in[0]].op != OP_transpose) return false;
    const Node *swapped = &nodes[node->in[0]], *source = &nodes[swapped->in[0]];
    for (uint32_t i = 0; i < 3; i++)
        if (swapped->attr.permutation[i] != swap_first[i]) return false;
    const Type *type = &source->type;
    if (source->op != OP_input || type->rank != 3 || type_has_batch(*type)) return false;
    *panels = (Panels){source->attr.index, type->dim[2], type->dim[1]};
    return node->type.rank == 2 && node->type.dim[0] == type->dim[1] &&
           (columns + type->dim[2] - 1) / type->dim[2] == type->dim[0];
}
