/* Cuts long reductions into pieces, so that threads can share them.
 *
 *     sum of f32[4096,64] over axis 0
 *  =  sum over axis 0 of the f32[32,1,64] that is the sum of f32[32,128,64] over axis 1
 *
 * Into how many pieces is decided by the shape alone, never by the number of threads: the additions are always
 * grouped in the same way, so the result has the same bits on any machine and with any number of threads.
 *
 * A reduction stays whole when what it keeps is work enough for everybody, when it is short, or when its length
 * depends on the batch.
 *
 * A product is a reduction, too. Where it is deep and small, as the gradient of a convolution's weights is (as many
 * steps as the batch has pixels), every piece of its rows would read all of the other operand from memory. It is
 * cut along its depth: a product for each image, then a sum over images. */
#include "ir/build.h"
#include "ir/digits.h"
#include "ir/patch.h"
#include "passes/passes.h"

#include <math.h>
#include <stdlib.h>

enum {
    LEAST_WORK = 16384, /* elements in a piece: some microseconds, against about one for handing it out */
    MOST_PIECES = 32,
    ENOUGH_PIECES = 16, /* already there: leave the reduction alone */
    COLUMNS = 64,       /* of the last axis that one piece walks together */
    LEVELS = 8,         /* of cheap operations that are done on the pieces */
    LEAST_DEPTH = 8192, /* of a product that is cut along it */
    DEPTH_PIECES = 16,
    MOST_DEPTH_PIECES = 1024,
    ROW_PIECES = 16,
    LEAST_ROWS = 96, /* in a piece of a product that makes sums of its rows */
};

static bool is_reduced(const Node *node, uint32_t axis) { return node->attr.axes >> axis & 1; }

/* How many pieces of work there are without a cut: the rows that are kept, or, when the last axis is kept,
 * groups of its columns. A kept axis that depends on the batch is counted as enough. */
static int64_t kept_pieces(const Node *node, Type from) {
    int64_t pieces = 1;
    for (uint32_t axis = 0; axis < from.rank; axis++) {
        if (is_reduced(node, axis)) continue;
        if (from.dim[axis] < 0) return ENOUGH_PIECES;
        pieces *= axis + 1 == from.rank ? (from.dim[axis] + COLUMNS - 1) / COLUMNS : from.dim[axis];
    }
    return pieces;
}

/* The number of pieces to aim for: 1 leaves the reduction whole. */
static int64_t wanted_pieces(const Node *node, Type from) {
    Dim elements = type_elements(from);
    if (elements < 0) return 1;
    int64_t kept = kept_pieces(node, from), pieces = elements / LEAST_WORK;
    if (pieces > MOST_PIECES) pieces = MOST_PIECES;
    if (kept >= ENOUGH_PIECES || kept >= pieces) return 1;
    return pieces / kept;
}

/* The outermost reduced axis that is long enough, or else the longest: outer pieces are contiguous in memory. */
static uint32_t axis_to_cut(const Node *node, Type from, int64_t pieces) {
    uint32_t longest = MAX_RANK;
    for (uint32_t axis = 0; axis < from.rank; axis++) {
        if (!is_reduced(node, axis)) continue;
        if (from.dim[axis] >= pieces) return axis;
        if (longest == MAX_RANK || from.dim[axis] > from.dim[longest]) longest = axis;
    }
    return longest;
}

/* The divisor of `length` nearest to `pieces`, between half and twice as many; 0 if there is none. */
static int64_t near_divisor(int64_t length, int64_t pieces) {
    for (int64_t distance = 0; distance <= pieces; distance++) {
        int64_t fewer = pieces - distance, more = pieces + distance;
        if (fewer >= 2 && fewer * 2 >= pieces && length % fewer == 0) return fewer;
        if (more <= length && length % more == 0) return more;
    }
    return 0;
}

static NodeId reduce(Graph *g, OpKind op, NodeId a, uint32_t axes) {
    return graph_add(g, (Node){.op = op, .in = {a}, .attr.axes = axes});
}

/* What changes no sum, or no maximum. */
static double neutral(OpKind op, DType dtype) {
    if (op == OP_sum) return 0;
    return dtype == DTYPE_f32 ? -INFINITY : INT32_MIN;
}

/* Axes below `axis` stay, those above move up by one for the axis that is inserted before `axis`. */
static uint32_t moved_axes(uint32_t axes, uint32_t axis) {
    uint32_t low = axes & ((1u << axis) - 1);
    return low | (axes & ~low) << 1;
}

/* [.., length, ..] → [.., pieces, length / pieces, ..] */
static Type cut_type(Type from, uint32_t axis, int64_t pieces) {
    Type to = from;
    to.rank++;
    for (uint32_t i = from.rank; i > axis; i--) to.dim[i] = from.dim[i - 1];
    to.dim[axis] = from.dim[axis] == 1 ? 1 : pieces;
    to.dim[axis + 1] = from.dim[axis] == 1 ? 1 : from.dim[axis] / pieces;
    return to;
}

static bool is_cheap(OpKind op) { return op_is_elementwise(op) && !op_is_function(op); }

/* The operand with its axis cut. What is cheap is done on the pieces, again if need be: a reshape between it and the
 * reduction would make it a value in memory. */
static NodeId cut_operand(Graph *g, NodeId a, uint32_t axis, int64_t pieces, int levels) {
    Node node = g->nodes[a];
    Type to = cut_type(node.type, axis, pieces);
    if (node.op == OP_constant) return build_constant(g, to, node.attr.value);
    if (node.op == OP_broadcast && levels)
        return build_broadcast(g, cut_operand(g, node.in[0], axis, pieces, levels - 1), to);
    if (!is_cheap(node.op) || !levels) {
        while (g->nodes[a].op == OP_reshape) a = g->nodes[a].in[0];
        return build_reshape(g, a, to.rank, to.dim);
    }
    for (uint32_t i = 0; i < op_info[node.op].inputs; i++)
        node.in[i] = cut_operand(g, node.in[i], axis, pieces, levels - 1);
    node.type = to;
    return graph_add(g, node);
}

/* Reduced within the pieces, then over them. */
static NodeId cut(Graph *g, const Node *node, NodeId a, uint32_t axis, int64_t pieces, int levels) {
    a = cut_operand(g, a, axis, pieces, levels);
    a = reduce(g, node->op, a, moved_axes(node->attr.axes, axis));
    a = reduce(g, node->op, a, 1u << axis);
    return build_reshape(g, a, node->type.rank, node->type.dim);
}

/* Each element of the axis is a piece: the other axes first, then this one. */
static NodeId cut_apart(Graph *g, const Node *node, NodeId a, uint32_t axis) {
    uint32_t others = node->attr.axes & ~(1u << axis);
    return others ? reduce(g, node->op, reduce(g, node->op, a, others), 1u << axis) : NO_NODE;
}

/* The operand with all of its axes joined and then cut, as cut_operand does; NO_NODE where it repeats rows or columns,
 * which would have to be looked for with divisions. */
static NodeId flat_operand(Graph *g, NodeId a, Type to, int levels) {
    Node node = g->nodes[a];
    to.dtype = node.type.dtype;
    if (node.op == OP_constant) return build_constant(g, to, node.attr.value);
    if (node.op == OP_broadcast) {
        if (type_elements(g->nodes[node.in[0]].type) != 1) return NO_NODE;
        return build_broadcast(g, build_reshape(g, node.in[0], 2, (Dim[]){1, 1}), to);
    }
    if (!is_cheap(node.op) || !levels) {
        while (g->nodes[a].op == OP_reshape) a = g->nodes[a].in[0];
        return build_reshape(g, a, to.rank, to.dim);
    }
    for (uint32_t i = 0; i < op_info[node.op].inputs; i++) {
        node.in[i] = flat_operand(g, node.in[i], to, levels - 1);
        if (node.in[i] == NO_NODE) return NO_NODE;
    }
    node.type = to;
    return graph_add(g, node);
}

/* Everything to one number: no matter where the pieces begin. A table of 30522 rows needs no pads then. */
static NodeId cut_flat(Graph *g, const Node *node, NodeId a, int64_t pieces, int levels) {
    Type from = g->nodes[a].type;
    Dim elements = type_elements(from);
    int64_t divisor = type_elements(node->type) == 1 ? near_divisor(elements, pieces) : 0;
    if (!divisor || divisor == elements) return NO_NODE;
    a = flat_operand(g, a, type_make(from.dtype, 2, (Dim[]){divisor, elements / divisor}), levels);
    if (a == NO_NODE) return NO_NODE;
    a = reduce(g, node->op, reduce(g, node->op, a, 1u << 1), 1u << 0);
    return build_reshape(g, a, node->type.rank, node->type.dim);
}

/* Pads the axis to a multiple of `pieces` with what changes nothing: only where the length has no fitting divisor. */
static NodeId padded(Graph *g, OpKind op, NodeId a, uint32_t axis, int64_t pieces) {
    int64_t before[MAX_RANK] = {0};
    Type to = g->nodes[a].type;
    to.dim[axis] = (to.dim[axis] + pieces - 1) / pieces * pieces;
    return build_pad(g, a, to, before, neutral(op, to.dtype));
}

/* Pieces of a product's rows for sums that are made with its tiles: some 16, of whole pictures if the rows are a
 * convolution's places, and of enough rows that the columns' panels are worth their packing. 0: the rows do not part
 * so. */
static int64_t row_pieces(const Graph *g, NodeId product) {
    Patch patch;
    int64_t rows = g->nodes[product].type.dim[0], unit = 1, best = 0;
    if (patch_of(g, g->nodes[product].in[0], &patch) && patch.rows_are_places) unit = patch.OH * patch.OW;
    for (int64_t pieces = 2; pieces <= MOST_PIECES; pieces++) {
        if (rows % pieces || rows / pieces % unit || rows / pieces < LEAST_ROWS) continue;
        if (!best || llabs(pieces - ROW_PIECES) < llabs(best - ROW_PIECES)) best = pieces;
    }
    return best;
}

/* A sum over the rows of a product: the reshape stands behind the work, which stays in the product's shape, so that
 * fusion can make the first sum where the tiles are. */
static NodeId split_row_sum(Graph *g, const Node *node, NodeId a) {
    Type from = g->nodes[a].type;
    if (node->op != OP_sum || from.rank != 2 || from.dim[0] <= 0 || from.dim[1] <= 1 || node->attr.axes != 1)
        return NO_NODE;
    NodeId product = fuse_product_under(g, a);
    int64_t pieces = product == NO_NODE ? 0 : row_pieces(g, product);
    if (!pieces) return NO_NODE;
    NodeId parts = build_reshape(g, a, 3, (Dim[]){pieces, from.dim[0] / pieces, from.dim[1]});
    NodeId sum = reduce(g, OP_sum, reduce(g, OP_sum, parts, 1u << 1), 1u << 0);
    return build_reshape(g, sum, node->type.rank, node->type.dim);
}

/* Is an operand in memory anyway, since others need it together with what is made of the reduction? So it is in the
 * gradient of batch norm. From there it is read in any shape: to do the work on it again, in pieces, would cost more.
 */
static bool is_kept(const Graph *g, NodeId reduction, Arena *scratch) {
    NodeId a = g->nodes[reduction].in[0];
    while (g->nodes[a].op == OP_reshape) a = g->nodes[a].in[0];
    if (!op_is_elementwise(g->nodes[a].op)) return false;
    bool *with = arena_array(scratch, bool, g->count), *after = arena_array(scratch, bool, g->count);
    with[a] = after[reduction] = true;
    for (NodeId id = a + 1; id < g->count; id++) {
        const Node *node = &g->nodes[id];
        bool passes_on = op_is_elementwise(node->op) || node->op == OP_reshape;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
            with[id] |= passes_on && with[node->in[i]];
            after[id] |= after[node->in[i]];
        }
        if (with[id] && after[id]) return true;
    }
    return false;
}

static NodeId split(Graph *g, const Node *node, NodeId a, int levels) {
    Type from = g->nodes[a].type;
    int64_t pieces = wanted_pieces(node, from);
    bool no_neutral = from.dtype == DTYPE_i64 && node->op == OP_reduce_max; /* the least i64 is no exact double */
    if (pieces < 2 || from.rank == MAX_RANK || no_neutral) return NO_NODE;
    uint32_t axis = axis_to_cut(node, from, pieces);
    if (from.dim[axis] < pieces) pieces = from.dim[axis];
    if (pieces < 2) return NO_NODE;
    int64_t divisor = near_divisor(from.dim[axis], pieces);
    if (divisor == from.dim[axis]) return cut_apart(g, node, a, axis);
    if (divisor) return cut(g, node, a, axis, divisor, levels);
    NodeId flat = cut_flat(g, node, a, pieces, levels);
    if (flat != NO_NODE) return flat;
    return cut(g, node, padded(g, node->op, a, axis, pieces), axis, pieces, levels);
}

/* Into how many pieces a product's depth is cut; 1: not at all. What the pieces add to memory's traffic, writing and
 * reading their results, must be little against reading the operands once. */
static int64_t wanted_depth_pieces(const Graph *g, const Node *node, NodeId a, NodeId b) {
    Type left = g->nodes[a].type, right = g->nodes[b].type;
    if (node->type.rank != 2 || left.dim[0] < 0 || right.dim[1] < 0 || left.dim[1] < LEAST_DEPTH) return 1;
    int64_t rows = left.dim[0], columns = right.dim[1], depth = left.dim[1];
    Digits digits = digits_of(g, a);
    bool is_joined = digits.count[1] > 1;
    int64_t pieces = is_joined ? g->nodes[digits.base].type.dim[digits.axis[1][0]] : near_divisor(depth, DEPTH_PIECES);
    if (pieces < 2 || pieces > MOST_DEPTH_PIECES || depth / pieces < LEAST_DEPTH / 32) return 1;
    return pieces * rows * columns <= depth * (rows + columns) / 4 ? pieces : 1;
}

static NodeId reshape_under(Graph *g, NodeId a, uint32_t rank, const Dim *dim) {
    while (g->nodes[a].op == OP_reshape) a = g->nodes[a].in[0];
    return build_reshape(g, a, rank, dim);
}

/* a[m,k] as [pieces, m, k / pieces], without looking through what lies in memory the other way round. */
static NodeId left_pieces(Graph *g, NodeId a, int64_t pieces) {
    Type type = g->nodes[a].type;
    int64_t m = type.dim[0], part = type.dim[1] / pieces;
    if (g->nodes[a].op == OP_transpose)
        return build_swap_last(g, reshape_under(g, g->nodes[a].in[0], 3, (Dim[]){pieces, part, m}));
    return build_transpose(g, reshape_under(g, a, 3, (Dim[]){m, pieces, part}), (uint32_t[]){1, 0, 2});
}

/* Packing the right operand pays for many rows: few rows and many columns change places, if what becomes the right
 * operand lies in memory that way. The result is small; to turn it costs nothing. */
static bool is_better_turned(const Graph *g, NodeId a, int64_t rows, int64_t columns) {
    if (g->nodes[a].op != OP_transpose || rows * 2 > columns) return false;
    NodeId under = g->nodes[a].in[0];
    while (g->nodes[under].op == OP_reshape) under = g->nodes[under].in[0];
    return op_info[g->nodes[under].op].class != CLASS_index;
}

static NodeId split_product(Graph *g, const Node *node, NodeId a, NodeId b) {
    int64_t pieces = wanted_depth_pieces(g, node, a, b);
    if (pieces < 2) return NO_NODE;
    int64_t rows = node->type.dim[0], columns = node->type.dim[1];
    NodeId left = left_pieces(g, a, pieces);
    NodeId right = reshape_under(g, b, 3, (Dim[]){pieces, g->nodes[b].type.dim[0] / pieces, columns});
    bool turned = is_better_turned(g, a, rows, columns);
    NodeId y =
        turned ? build_matmul(g, build_swap_last(g, right), build_swap_last(g, left)) : build_matmul(g, left, right);
    y = reduce(g, OP_sum, y, 1);
    return build_reshape(g, turned ? build_swap_last(g, y) : y, node->type.rank, node->type.dim);
}

GraphPass pass_split;

void pass_split(const Graph *from, Graph *to, Arena *scratch) {
    NodeId *new_id = arena_array(scratch, NodeId, from->count);
    graph_copy_inputs(to, from);
    for (NodeId id = 0; id < from->count; id++) {
        const Node *node = &from->nodes[id];
        bool is_reduction = node->op == OP_sum || node->op == OP_reduce_max;
        to->origin = node->origin;
        new_id[id] = is_reduction ? split_row_sum(to, node, new_id[node->in[0]]) : NO_NODE;
        if (is_reduction && new_id[id] == NO_NODE && wanted_pieces(node, to->nodes[new_id[node->in[0]]].type) > 1)
            new_id[id] = split(to, node, new_id[node->in[0]], is_kept(from, id, scratch) ? 0 : LEVELS);
        if (node->op == OP_matmul) new_id[id] = split_product(to, node, new_id[node->in[0]], new_id[node->in[1]]);
        if (new_id[id] == NO_NODE) new_id[id] = graph_copy_node(to, node, new_id);
    }
    to->origin = NULL;
    graph_copy_outputs(to, from, new_id);
}
