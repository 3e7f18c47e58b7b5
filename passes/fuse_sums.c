/* Sums over the rows of a product, made while its tiles are in registers.
 *
 * pass_split writes such a sum in two steps: within pieces of the rows, sum(reshape(v) as [pieces, rows, columns]) over
 * axis 1, and over the pieces. v is a chain of elementwise work on the product, in the product's shape: the statistics
 * of a batch norm behind a convolution, or the sums that its gradient wants of what comes back. The first step, the
 * chain and the product become one group before all others: from the last node to the first, as groups are made, the
 * chain would have been claimed by its later users.
 *
 * Nothing else that the chain reads may depend on the product: it would have to be ready in the middle of the kernel. */
#include "passes/fuse.h"

#include <string.h>

typedef struct {
    Fusion *f;
    NodeId product;
    int8_t *state; /* per node: 0 not seen, 1 part of the chain, -1 does not depend on the product */
} Chain;

static bool is_elementwise(const Graph *g, NodeId id) {
    OpClass class = op_info[g->nodes[id].op].class;
    return class == CLASS_unary || class == CLASS_binary || class == CLASS_ternary;
}

/* The value whose rows are added up within pieces, or NO_NODE. */
static NodeId summed_value(const Graph *g, NodeId id) {
    const Node *sum = &g->nodes[id];
    if (sum->op != OP_sum || sum->type.rank != 3 || sum->attr.axes != 1u << 1 || sum->type.dtype != DTYPE_f32) return NO_NODE;
    const Node *pieces = &g->nodes[sum->in[0]];
    if (pieces->op != OP_reshape) return NO_NODE;
    const Type *cut = &pieces->type, *flat = &g->nodes[pieces->in[0]].type;
    bool fits = flat->rank == 2 && flat->dim[0] > 0 && flat->dim[1] == cut->dim[2] && flat->dim[0] == cut->dim[0] * cut->dim[1];
    return fits && cut->dim[0] > 1 && cut->dim[1] > 1 && cut->dim[2] > 1 ? pieces->in[0] : NO_NODE;
}

/* The only product that elementwise work in its shape leads to; NO_NODE: none, or several. */
static NodeId product_under(const Graph *g, NodeId id, Type type, int levels) {
    if (g->nodes[id].op == OP_matmul && shape_equal(g->nodes[id].type, type)) return id;
    NodeId found = NO_NODE;
    if (!is_elementwise(g, id) || !levels) return NO_NODE;
    for (uint32_t i = 0; i < op_info[g->nodes[id].op].inputs; i++) {
        NodeId product = product_under(g, g->nodes[id].in[i], type, levels - 1);
        if (product == NO_NODE || product == found) continue;
        if (found == NO_NODE || product > found) found = product;
    }
    return found;
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
    for (uint32_t i = 0; i < op_info[f->graph->nodes[id].op].inputs; i++) add_chain(c, group, f->graph->nodes[id].in[i]);
}

static void join_sum(Chain *c, NodeId sum, NodeId value) {
    Fusion *f = c->f;
    if (f->graph->nodes[value].op != OP_matmul && !is_chain(c, value)) return;
    Group *group = f->group_of[c->product];
    if (!group) {
        fuse_start_group(f, c->product);
        group = f->group_of[c->product];
    }
    fuse_add(f, group, sum);
    add_chain(c, group, value);
    fuse_sort(group);
}

void fuse_join_sums(Fusion *f) {
    const Graph *g = f->graph;
    Chain chain = {f, NO_NODE, arena_array(f->scratch, int8_t, g->count + 1)};
    for (NodeId id = 0; id < g->count; id++) {
        NodeId value = summed_value(g, id);
        if (value == NO_NODE || f->again[value]) continue;
        NodeId product = product_under(g, value, g->nodes[value].type, MOST_CHAIN);
        if (product == NO_NODE) continue;
        if (product != chain.product) memset(chain.state, 0, g->count);
        chain.product = product;
        join_sum(&chain, id, value);
    }
}
