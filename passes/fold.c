/* Factors of a product's columns become part of its right operand, where states alone decide both.
 *
 *     (a · b + bias - centre) · factor + shift  =  a · (b · factor) + ((bias - centre) · factor + shift)
 *
 * So a batch norm in inference is a bias of the convolution before it: pass_prepare computes weights and bias once for
 * each change of the states, and one addition is left for each element. Where nothing is prepared, this would be work
 * for each run, and nothing is done: in a program that changes its states, as a training step does, or has none, for a
 * right operand as large as the batch, and where memory is limited (a PREPARED_PASS). */
#include "ir/build.h"
#include "passes/passes.h"

typedef struct {
    const Graph *from;
    Graph *to;
    NodeId *new_id;
    const uint32_t *users;
    bool *is_known; /* depends on states and numbers alone */
} Fold;

enum { MOST_TERMS = 4 };

/* (product ± term ± term …) · factor; ids of `from`, the last term first. */
typedef struct {
    NodeId product, factor, term[MOST_TERMS];
    bool is_subtracted[MOST_TERMS];
    uint32_t terms;
} Scaled;

/* Is what depends on states alone prepared? See prepare.c. */
static bool has_fixed_states(const Graph *g) {
    bool has_states = false;
    for (uint32_t i = 0; i < g->input_count; i++) has_states |= g->inputs[i].kind != INPUT_data;
    for (uint32_t i = 0; i < g->output_count; i++)
        if (g->outputs[i].updates >= 0) return false;
    return has_states;
}

static bool is_known(const Fold *f, const Node *node) {
    if (node->op == OP_input) return f->from->inputs[node->attr.index].kind != INPUT_data;
    if (node->op == OP_constant) return true;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (!f->is_known[node->in[i]]) return false;
    return op_info[node->op].inputs > 0;
}

/* What `id` repeats for each row of `type`, if it is that and known; else NO_NODE. */
static NodeId known_columns(const Fold *f, NodeId id, const Type *type) {
    const Node *node = &f->from->nodes[id];
    if (node->op != OP_broadcast || !f->is_known[id]) return NO_NODE;
    const Type *from = &f->from->nodes[node->in[0]].type;
    bool fits = from->rank == type->rank && from->dim[type->rank - 2] == 1;
    return fits ? node->in[0] : NO_NODE;
}

/* A product with a known right operand, which nobody else reads, and no rows of which are repeated. */
static bool is_product(const Fold *f, NodeId id) {
    const Node *node = &f->from->nodes[id];
    if (node->op != OP_matmul || f->users[id] != 1) return false;
    bool is_prepared = f->is_known[node->in[1]] && !type_has_batch(f->from->nodes[node->in[1]].type);
    return is_prepared && !f->is_known[id];
}

static bool find_terms(const Fold *f, NodeId id, Scaled *s) {
    for (s->terms = 0; !is_product(f, id); s->terms++) {
        const Node *node = &f->from->nodes[id];
        if ((node->op != OP_sub && node->op != OP_add) || f->users[id] != 1 || s->terms == MOST_TERMS) return false;
        NodeId term = known_columns(f, node->in[1], &node->type);
        if (term == NO_NODE) return false;
        s->term[s->terms] = term;
        s->is_subtracted[s->terms] = node->op == OP_sub;
        id = node->in[0];
    }
    s->product = id;
    return true;
}

static bool find_scaled(const Fold *f, NodeId id, Scaled *s) {
    const Node *node = &f->from->nodes[id];
    for (uint32_t i = 0; node->op == OP_mul && node->type.rank >= 2 && i < 2; i++) {
        s->factor = known_columns(f, node->in[i], &node->type);
        if (s->factor != NO_NODE && find_terms(f, node->in[1 - i], s)) return true;
    }
    return false;
}

static NodeId scaled_product(Fold *f, const Scaled *s) {
    const Node *product = &f->from->nodes[s->product];
    NodeId b = f->new_id[product->in[1]];
    Type type = f->to->nodes[b].type;
    NodeId factor = build_broadcast(f->to, f->new_id[s->factor], type), scaled = build_binary(f->to, OP_mul, b, factor);
    const char *origin = f->to->origin;
    f->to->origin = product->origin;
    NodeId result = build_matmul(f->to, f->new_id[product->in[0]], scaled);
    f->to->origin = origin;
    return result;
}

/* of `to` */
static NodeId combined(Fold *f, OpKind op, NodeId a, NodeId b) {
    const char *why;
    CHECK(build_broadcast_pair(f->to, &a, &b, &why));
    return build_binary(f->to, op, a, b);
}

/* The terms, summed up and scaled; NO_NODE if there are none. */
static NodeId scaled_terms(Fold *f, const Scaled *s) {
    NodeId sum = NO_NODE;
    for (uint32_t i = s->terms; i--;) {
        NodeId term = f->new_id[s->term[i]];
        if (sum != NO_NODE)
            sum = combined(f, s->is_subtracted[i] ? OP_sub : OP_add, sum, term);
        else
            sum = s->is_subtracted[i] ? build_unary(f->to, OP_neg, term) : term;
    }
    return sum == NO_NODE ? NO_NODE : combined(f, OP_mul, sum, f->new_id[s->factor]);
}

static NodeId with_offset(Fold *f, const Scaled *s, NodeId offset, Type type) {
    NodeId product = scaled_product(f, s);
    if (offset == NO_NODE) return product;
    return build_binary(f->to, OP_add, product, build_broadcast(f->to, offset, type));
}

static NodeId fold_factor(Fold *f, NodeId id) {
    Scaled s;
    return find_scaled(f, id, &s) ? with_offset(f, &s, scaled_terms(f, &s), f->from->nodes[id].type) : NO_NODE;
}

static NodeId fold_shift(Fold *f, NodeId id) {
    const Node *node = &f->from->nodes[id];
    for (uint32_t i = 0; node->op == OP_add && node->type.rank >= 2 && i < 2; i++) {
        NodeId shift = known_columns(f, node->in[i], &node->type);
        Scaled s;
        if (shift == NO_NODE || f->users[node->in[1 - i]] != 1 || !find_scaled(f, node->in[1 - i], &s)) continue;
        NodeId terms = scaled_terms(f, &s), offset = f->new_id[shift];
        if (terms != NO_NODE) offset = combined(f, OP_add, offset, terms);
        return with_offset(f, &s, offset, node->type);
    }
    return NO_NODE;
}

GraphPass pass_fold;

void pass_fold(const Graph *from, Graph *to, Arena *scratch) {
    Fold f = {from, to, arena_array(scratch, NodeId, from->count), graph_count_users(from, scratch),
              arena_array(scratch, bool, from->count + 1)};
    bool is_fixed = has_fixed_states(from);
    graph_copy_inputs(to, from);
    for (NodeId id = 0; id < from->count; id++) {
        const Node *node = &from->nodes[id];
        NodeId folded = NO_NODE;
        f.is_known[id] = is_known(&f, node);
        to->origin = node->origin;
        if (is_fixed) folded = fold_shift(&f, id);
        if (is_fixed && folded == NO_NODE) folded = fold_factor(&f, id);
        to->origin = NULL;
        f.new_id[id] = folded != NO_NODE ? folded : graph_copy_node(to, node, f.new_id);
    }
    graph_copy_outputs(to, from, f.new_id);
}
