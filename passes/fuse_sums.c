/* Sums over the rows of a product, made while its tiles are in registers.
 *
 * pass_split writes such a sum in two steps: within pieces of the rows, sum(reshape(v) as [pieces, rows, columns]) over
 * axis 1, and over the pieces. v is a chain of elementwise work on the product, in the product's shape: the statistics
 * of a batch norm behind a convolution, or the sums that its gradient wants of what comes back. The first step, the
 * chain and the product become one group before all others: from the last node to the first, as groups are made, the
 * chain would have been claimed by its later users.
 *
 * Nothing else that the chain reads may depend on the product: it would have to be ready in the middle of the kernel.
 * Nor may two products with their sums need one another. All sums of a kernel are over the same pieces of the rows, and
 * these are whole pictures where the rows are a convolution's places. */
#include "passes/fuse.h"
#include "passes/passes.h"

#include "ir/patch.h"

#include <string.h>

typedef struct {
    Fusion *f;
    NodeId product;
    int8_t *state; /* per node: 0 not seen, 1 part of the chain, -1 does not depend on the product */
    bool *seen;    /* marks of a walk */
} Chain;

static bool is_elementwise(const Graph *g, NodeId id) { return op_is_elementwise(g->nodes[id].op); }

/* The value whose rows are added up within pieces, or NO_NODE. */
static NodeId summed_value(const Graph *g, NodeId id) {
    const Node *sum = &g->nodes[id];
    if (sum->op != OP_sum || sum->type.rank != 3 || sum->attr.axes != 1u << 1 || sum->type.dtype != DTYPE_f32)
        return NO_NODE;
    const Node *pieces = &g->nodes[sum->in[0]];
    if (pieces->op != OP_reshape) return NO_NODE;
    const Type *cut = &pieces->type, *flat = &g->nodes[pieces->in[0]].type;
    bool fits =
        flat->rank == 2 && flat->dim[0] > 0 && flat->dim[1] == cut->dim[2] && flat->dim[0] == cut->dim[0] * cut->dim[1];
    return fits && cut->dim[0] > 1 && cut->dim[1] > 1 && cut->dim[2] > 1 ? pieces->in[0] : NO_NODE;
}

static NodeId product_within(const Graph *g, NodeId id, Type type, int levels) {
    if (g->nodes[id].op == OP_matmul && shape_equal(g->nodes[id].type, type)) return id;
    NodeId found = NO_NODE;
    for (uint32_t i = 0; is_elementwise(g, id) && levels && i < op_info[g->nodes[id].op].inputs; i++) {
        NodeId product = product_within(g, g->nodes[id].in[i], type, levels - 1);
        if (product != NO_NODE && (found == NO_NODE || product > found)) found = product;
    }
    return found;
}

NodeId fuse_product_under(const Graph *graph, NodeId id) {
    return product_within(graph, id, graph->nodes[id].type, MOST_CHAIN);
}

static bool depends(Chain *c, NodeId id);

/* Does everything that depends on the product reach `id` by elementwise work in the product's shape? */
static bool is_chain(Chain *c, NodeId id) {
    const Graph *g = c->f->graph;
    if (id == c->product || c->state[id] == 1) return true;
    if (!is_elementwise(g, id) || c->f->again[id] || c->f->group_of[id]) return false;
    if (!shape_equal(g->nodes[id].type, g->nodes[c->product].type)) return false;
    for (uint32_t i = 0; i < op_info[g->nodes[id].op].inputs; i++) {
        NodeId in = g->nodes[id].in[i];
        if (depends(c, in) && !is_chain(c, in)) return false;
    }
    c->state[id] = 1;
    return true;
}

static bool depends(Chain *c, NodeId id) {
    if (id == c->product || c->state[id] == 1) return true;
    if (id < c->product || c->state[id] == -1) return false;
    const Node *node = &c->f->graph->nodes[id];
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (depends(c, node->in[i])) return true;
    c->state[id] = -1;
    return false;
}

/* Adds what of the chain under `id` is not in the group yet. */
static void add_chain(Chain *c, Group *group, NodeId id) {
    Fusion *f = c->f;
    if (c->state[id] != 1 || f->group_of[id]) return;
    fuse_add(f, group, id);
    for (uint32_t i = 0; i < op_info[f->graph->nodes[id].op].inputs; i++)
        add_chain(c, group, f->graph->nodes[id].in[i]);
}

static int64_t rows_of_piece(const Graph *g, NodeId sum) { return g->nodes[g->nodes[sum].in[0]].type.dim[1]; }

/* Can the product's kernel be cut as this sum wants it? */
static bool pieces_fit(const Chain *c, NodeId sum) {
    const Graph *g = c->f->graph;
    const Group *group = c->f->group_of[c->product];
    Patch patch;
    uint32_t sums = 0;
    int64_t rows = rows_of_piece(g, sum);
    if (patch_of(g, g->nodes[c->product].in[0], &patch) && patch.rows_are_places && rows % (patch.OH * patch.OW))
        return false;
    for (uint32_t i = 0; group && i < group->count; i++) {
        if (g->nodes[group->nodes[i]].op != OP_sum) continue;
        if (rows_of_piece(g, group->nodes[i]) != rows || ++sums == MOST_ROW_SUMS) return false;
    }
    return true;
}

static bool needs_group(Chain *c, NodeId id, const Group *group);

/* A sum within pieces reads what stands under its reshape, which belongs to no group. */
static NodeId read_by(const Graph *g, const Node *node, uint32_t i) {
    NodeId in = node->in[i];
    return node->op == OP_sum && g->nodes[in].op == OP_reshape ? g->nodes[in].in[0] : in;
}

/* Does what the members read from outside need the group itself? */
static bool members_need(Chain *c, const Group *members, const Group *group) {
    for (uint32_t k = 0; k < members->count; k++) {
        const Node *node = &c->f->graph->nodes[members->nodes[k]];
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
            NodeId in = read_by(c->f->graph, node, i);
            if (c->f->group_of[in] != members && needs_group(c, in, group)) return true;
        }
    }
    return false;
}

static bool needs_group(Chain *c, NodeId id, const Group *group) {
    const Group *own = c->f->group_of[id];
    const Node *node = &c->f->graph->nodes[id];
    if (own == group) return true;
    if (c->seen[id]) return false;
    c->seen[id] = true;
    if (own) return members_need(c, own, group);
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (needs_group(c, node->in[i], group)) return true;
    return false;
}

/* Takes the members out again that came behind the first `count`. */
static void take_back(Fusion *f, Group *group, uint32_t count) {
    while (group->count > count) f->group_of[group->nodes[--group->count]] = NULL;
    if (!count) f->group_count--;
}

static void join_sum(Chain *c, NodeId sum, NodeId value) {
    Fusion *f = c->f;
    if (!pieces_fit(c, sum) || (f->graph->nodes[value].op != OP_matmul && !is_chain(c, value))) return;
    Group *group = f->group_of[c->product];
    uint32_t count = group ? group->count : 0;
    if (!group) {
        fuse_start_group(f, c->product);
        group = f->group_of[c->product];
    }
    fuse_add(f, group, sum);
    add_chain(c, group, value);
    memset(c->seen, 0, f->graph->count);
    if (members_need(c, group, group))
        take_back(f, group, count);
    else
        fuse_sort(group);
}

void fuse_join_sums(Fusion *f) {
    const Graph *g = f->graph;
    Chain chain = {f, NO_NODE, arena_array(f->scratch, int8_t, g->count + 1),
                   arena_array(f->scratch, bool, g->count + 1)};
    for (NodeId id = 0; id < g->count; id++) {
        NodeId value = summed_value(g, id);
        if (value == NO_NODE || f->again[value]) continue;
        NodeId product = fuse_product_under(g, value);
        if (product == NO_NODE) continue;
        if (product != chain.product) memset(chain.state, 0, g->count);
        chain.product = product;
        join_sum(&chain, id, value);
    }
}
