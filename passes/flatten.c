/* Flattening: elementwise work and reductions are done in the shape of the product (or reduction) they follow.
 *
 * A convolution is a product with one row for each pixel, [N·H·W, C], seen as [N,H,W,C] by the layers behind it. What
 * they do element by element means the same on the rows, and there it fits the product's epilogue, and sums over
 * pixels are sums over one axis. So a reshape that parts axes is moved behind the work: op(reshape(a), b) becomes
 * reshape(op(a, b')), where b' is b in a's shape, if that costs nothing: another flat value, a constant, memory,
 * or a broadcast that repeats whole axes of a. So is what is made of sums, one for each row, that rows are used with: a
 * layer norm is one kernel only if its means have the rows of what they are means of.
 *
 * A window over few channels is packed in runs of as few elements. Where its taps and channels are joined anyway, the
 * columns and channels of the picture can be one axis: a tap of KW columns of C channels is one of KW·C elements. */
#include "ir/build.h"
#include "passes/passes.h"

static uint32_t rank_without_ones(const Type *type) {
    uint32_t rank = 0;
    for (uint32_t i = 0; i < type->rank; i++) rank += type->dim[i] != 1;
    return rank;
}

static int64_t size_of(Dim dim) { return dim < 0 ? -dim : dim; }

/* group[i] is the axis of `flat` that axis i of `wide` is part of; axes of size 1 go with their neighbour in front. */
static bool find_groups(const Type *wide, const Type *flat, uint32_t group[MAX_RANK]) {
    uint32_t axis = 0;
    for (uint32_t to = 0; to < flat->rank; to++) {
        Dim product = 1;
        bool none = true;
        while (axis < wide->rank && (none || product != flat->dim[to] || wide->dim[axis] == 1)) {
            if (product < 0 && wide->dim[axis] < 0) return false;
            product = dim_mul(product, wide->dim[axis]);
            if (size_of(product) > size_of(flat->dim[to])) return false;
            group[axis++] = to;
            none = false;
        }
        if (product != flat->dim[to]) return false;
    }
    return axis == wide->rank;
}

/* A value that something computes, seen with more axes than it has. */
static bool is_parted(const Graph *g, NodeId id) {
    const Node *node = &g->nodes[id];
    if (node->op != OP_reshape) return false;
    const Node *from = &g->nodes[node->in[0]];
    OpClass class = op_info[from->op].class;
    bool computed = class == CLASS_contract || class == CLASS_reduce || op_is_elementwise(from->op);
    uint32_t group[MAX_RANK];
    return computed && rank_without_ones(&from->type) < rank_without_ones(&node->type) &&
           find_groups(&node->type, &from->type, group);
}

static NodeId reshaped(Graph *g, NodeId id, Type flat) {
    while (g->nodes[id].op == OP_reshape) id = g->nodes[id].in[0];
    return shape_equal(g->nodes[id].type, flat) ? id : build_reshape(g, id, flat.rank, flat.dim);
}

/* A broadcast in the flat shape: each flat axis is repeated as a whole or not at all. */
static NodeId flat_broadcast(Graph *g, NodeId id, Type flat) {
    const Type wide = g->nodes[id].type, from = g->nodes[g->nodes[id].in[0]].type;
    uint32_t group[MAX_RANK];
    Type small = flat;
    bool repeats[MAX_RANK] = {false}, keeps[MAX_RANK] = {false};
    if (!find_groups(&wide, &flat, group)) return NO_NODE;
    for (uint32_t i = 0; i < wide.rank; i++) {
        if (wide.dim[i] == 1) continue;
        if (from.dim[i] == 1)
            repeats[group[i]] = true;
        else
            keeps[group[i]] = true;
    }
    for (uint32_t i = 0; i < flat.rank; i++) {
        if (repeats[i] && keeps[i]) return NO_NODE;
        if (repeats[i]) small.dim[i] = 1;
    }
    small.dtype = from.dtype;
    return build_broadcast(g, reshaped(g, g->nodes[id].in[0], small), type_with_dtype(flat, from.dtype));
}

/* The operand in the flat shape, or NO_NODE if that is not free. A value that others read, too, will be in memory,
 * where it may be seen in any shape. */
static NodeId flat_operand(Graph *g, NodeId id, Type flat, bool is_shared) {
    const Node *node = &g->nodes[id];
    if (node->op == OP_constant) return build_constant(g, type_with_dtype(flat, node->type.dtype), node->attr.value);
    if (node->op == OP_broadcast) return flat_broadcast(g, id, flat);
    NodeId under = id;
    while (g->nodes[under].op == OP_reshape) under = g->nodes[under].in[0];
    bool in_memory = g->nodes[under].op == OP_input || (is_shared && op_is_elementwise(g->nodes[under].op));
    return in_memory || shape_equal(g->nodes[under].type, flat) ? reshaped(g, id, flat) : NO_NODE;
}

/* is_shared[i]: operand i has other users. */
static NodeId flatten_elementwise(Graph *g, const Node *node, const bool *is_shared) {
    for (uint32_t k = 0; k < op_info[node->op].inputs; k++) {
        if (!is_parted(g, node->in[k])) continue;
        Type flat = g->nodes[g->nodes[node->in[k]].in[0]].type;
        Node copy = *node;
        bool fits = true;
        for (uint32_t i = 0; fits && i < op_info[node->op].inputs; i++) {
            copy.in[i] = flat_operand(g, node->in[i], flat, is_shared[i]);
            fits = copy.in[i] != NO_NODE;
        }
        if (!fits) continue;
        copy.type = type_with_dtype(flat, node->type.dtype);
        return build_reshape(g, graph_add(g, copy), node->type.rank, node->type.dim);
    }
    return NO_NODE;
}

static NodeId flatten_reduction(Graph *g, const Node *node) {
    if (!is_parted(g, node->in[0])) return NO_NODE;
    NodeId from = g->nodes[node->in[0]].in[0];
    const Type wide = g->nodes[node->in[0]].type, flat = g->nodes[from].type;
    uint32_t group[MAX_RANK], axes = 0, kept = 0;
    if (!find_groups(&wide, &flat, group)) return NO_NODE;
    for (uint32_t i = 0; i < wide.rank; i++) {
        if (wide.dim[i] == 1) continue;
        if (node->attr.axes >> i & 1)
            axes |= 1u << group[i];
        else
            kept |= 1u << group[i];
    }
    if (!axes || axes & kept) return NO_NODE;
    NodeId result = graph_add(g, (Node){.op = node->op, .in = {from}, .attr.axes = axes});
    return build_reshape(g, result, node->type.rank, node->type.dim);
}

enum { THIN = 16 /* channels: fewer do not fill a vector */ };

/* reshape(window) that joins taps and channels, over few channels: the same with [H, W·C] pictures of one channel. */
static NodeId flatten_thin_window(Graph *g, const Node *node) {
    const Node window = g->nodes[node->in[0]];
    if (node->op != OP_reshape || window.op != OP_window) return NO_NODE;
    Type to = window.type, from = g->nodes[window.in[0]].type;
    int64_t taps = to.dim[3] * to.dim[4] * to.dim[5], channels = to.dim[5];
    bool joins = node->type.rank && node->type.dim[node->type.rank - 1] == taps;
    bool one_operand = from.dim[3] == 1 && from.dim[4] == 1; /* else its taps lie between columns and channels */
    if (!joins || !one_operand || channels == 1 || channels >= THIN || window.attr.window.dilation[1] != 1)
        return NO_NODE;
    Attr attr = window.attr;
    attr.window.stride[1] *= channels;
    attr.window.before[1] *= channels;
    from.dim[2] *= channels;
    to.dim[4] *= channels;
    from.dim[5] = to.dim[5] = 1;
    NodeId picture = reshaped(g, window.in[0], from);
    const char *why; /* a stride may be too far for C times as much */
    NodeId wide = graph_try_add(g, (Node){.op = OP_window, .type = to, .in = {picture}, .attr = attr}, &why);
    return wide == NO_NODE ? NO_NODE : build_reshape(g, wide, node->type.rank, node->type.dim);
}

GraphPass pass_flatten;

void pass_flatten(const Graph *from, Graph *to, Arena *scratch) {
    NodeId *new_id = arena_array(scratch, NodeId, from->count);
    const uint32_t *users = graph_count_users(from, scratch);
    graph_copy_inputs(to, from);
    for (NodeId id = 0; id < from->count; id++) {
        Node node = from->nodes[id];
        NodeId flat = NO_NODE;
        bool is_shared[MAX_INPUTS];
        for (uint32_t i = 0; i < op_info[node.op].inputs; i++) {
            is_shared[i] = users[node.in[i]] > 1;
            node.in[i] = new_id[node.in[i]];
        }
        to->origin = node.origin;
        OpClass class = op_info[node.op].class;
        if (op_is_elementwise(node.op)) flat = flatten_elementwise(to, &node, is_shared);
        if (class == CLASS_reduce) flat = flatten_reduction(to, &node);
        if (class == CLASS_index) flat = flatten_thin_window(to, &node);
        if (flat == NO_NODE && node.op == OP_reshape) flat = reshaped(to, node.in[0], node.type);
        to->origin = NULL;
        new_id[id] = flat != NO_NODE ? flat : graph_copy_node(to, &from->nodes[id], new_id);
    }
    graph_copy_outputs(to, from, new_id);
}
