/* What is computed again by each kernel that reads it, instead of being stored.
 *
 * Batch norm's result is distance · factor + shift, where factor and shift, a number for each channel, are only known
 * when all distances are. So the distances must be in memory, and whoever reads them needs a product and a sum to know
 * the result: to store that, too, costs a write and as many reads as there are readers, for nothing. In training it
 * would also be kept until the backward pass.
 *
 * So a node is computed again if it is cheap, all of it comes from one large value in memory, its source, and
 *   1. something small that it needs depends on the source, or the source is an input: else the work fits where the
 *      source is made, and it is the source that needs no memory,
 *   2. nobody looks at it through windows that overlap much, which would compute it once for each; products do not
 *      count, they copy what they see once,
 *   3. it is no result of the program,
 *   4. few products read it: each makes a copy on the way, where it would else read it as it lies. So what comes before
 *      queries, keys and values is stored: six products read it in training.
 *
 * A comparison of what a product reads with a constant, such as relu's gradient asks for, is computed again, too: the
 * product's operand is kept for another product's sake, and says by itself where relu let through. */
#include "passes/fuse.h"

#include "ir/digits.h"

enum {
    LEAST_ELEMENTS = 1 << 14 /* below, kernels are too short for more of them */,
    MOST_COST = 8,
    MOST_OVERLAP = 3,
    MOST_PRODUCTS = 2,
    SMALL = 16
};

typedef struct {
    NodeId source;  /* the large value that it comes from; NO_NODE: none, or several */
    uint32_t cost;  /* operations from the source on */
    bool is_behind; /* something small on the way depends on the source */
} Origin;

typedef struct {
    const Fusion *f;
    Origin *origin;
    uint32_t *mark, round; /* which walk came past a node last */
} Again;

static int64_t elements(const Graph *g, NodeId id) { return dim_at(type_elements(g->nodes[id].type), 1); }

static bool is_cheap(OpKind op) {
    switch ((int)op) {
    case OP_neg:
    case OP_abs:
    case OP_sign:
    case OP_not:
    case OP_cast:
    case OP_stop_gradient:
    case OP_add:
    case OP_sub:
    case OP_mul:
    case OP_max:
    case OP_min:
    case OP_less:
    case OP_equal:
    case OP_and:
    case OP_or:
    case OP_xor:
    case OP_select: return true;
    default: return false;
    }
}

/* Does `id` depend on `source`? Nodes before the source cannot. */
static bool depends(Again *a, NodeId id, NodeId source) {
    if (id == source) return true;
    if (id < source || a->mark[id] == a->round) return false;
    a->mark[id] = a->round;
    const Node *node = &a->f->graph->nodes[id];
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (depends(a, node->in[i], source)) return true;
    return false;
}

/* The value behind views that only rename axes or repeat it. */
static NodeId behind_views(const Graph *g, NodeId id) {
    while (g->nodes[id].op == OP_reshape || g->nodes[id].op == OP_broadcast) id = g->nodes[id].in[0];
    return id;
}

static bool is_small(const Graph *g, NodeId id, int64_t size) {
    return g->nodes[id].op == OP_constant || elements(g, id) * SMALL <= size;
}

/* Where the node comes from, if that is one large value. */
static Origin origin_of(Again *a, NodeId id) {
    const Graph *g = a->f->graph;
    const Node *node = &g->nodes[id];
    Origin origin = {.source = NO_NODE, .cost = 1};
    int64_t size = elements(g, id);
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
        NodeId value = behind_views(g, node->in[i]);
        if (is_small(g, value, size)) continue;
        bool is_again = a->f->again[value];
        NodeId source = is_again ? a->origin[value].source : value;
        if (elements(g, source) != size || (origin.source != NO_NODE && origin.source != source))
            return (Origin){.source = NO_NODE};
        origin.source = source;
        if (is_again) origin.cost += a->origin[value].cost, origin.is_behind |= a->origin[value].is_behind;
    }
    a->round++;
    for (uint32_t i = 0; i < op_info[node->op].inputs && origin.source != NO_NODE; i++) {
        NodeId value = behind_views(g, node->in[i]);
        if (is_small(g, value, size)) origin.is_behind |= depends(a, value, origin.source);
    }
    return origin;
}

/* How many windows see an element; how often a gather takes one, on average: as often as one likes if the batch says
 * how many are taken. */
static int64_t overlap(const Graph *g, const Node *node) {
    Dim taken = node->op == OP_gather ? node->type.dim[node->attr.axis] : 0;
    if (taken > 0) return taken / g->nodes[node->in[0]].type.dim[node->attr.axis];
    if (node->op != OP_window) return INT64_MAX;
    return node->type.dim[3] * node->type.dim[4] / node->attr.window.stride[0] / node->attr.window.stride[1];
}

/* How many products read a value, through views or not. */
static uint32_t *count_products(const Fusion *f) {
    const Graph *g = f->graph;
    uint32_t *products = arena_array(f->scratch, uint32_t, g->count + 1);
    for (NodeId id = 0; id < g->count; id++)
        for (uint32_t i = 0; g->nodes[id].op == OP_matmul && i < 2; i++)
            products[behind_views(g, digits_of(g, g->nodes[id].in[i]).base)]++;
    return products;
}

/* Left operands of products, or the windows that they are. */
static bool *find_operands(const Fusion *f) {
    const Graph *g = f->graph;
    bool *of_product = arena_array(f->scratch, bool, g->count + 1);
    for (NodeId id = 0; id < g->count; id++)
        if (g->nodes[id].op == OP_matmul) of_product[digits_of(g, g->nodes[id].in[0]).base] = true;
    return of_product;
}

/* Nodes that must be stored for 2, 3 and 4. */
static bool *find_kept(const Fusion *f, const bool *of_product) {
    const Graph *g = f->graph;
    const uint32_t *products = count_products(f);
    bool *kept = arena_array(f->scratch, bool, g->count + 1);
    for (NodeId id = 0; id < g->count; id++) {
        const Node *node = &g->nodes[id];
        if (products[id] > MOST_PRODUCTS) kept[id] = true;
        bool looks = node->op == OP_window || node->op == OP_unwindow || node->op == OP_concat || node->op == OP_pad ||
                     node->op == OP_gather;
        if (looks && overlap(g, node) <= MOST_OVERLAP) continue;
        for (uint32_t i = 0; looks && !of_product[id] && i < op_info[node->op].inputs; i++)
            kept[behind_views(g, node->in[i])] = true;
    }
    for (uint32_t i = 0; i < g->output_count; i++) kept[behind_views(g, g->outputs[i].node)] = true;
    return kept;
}

/* Compares an operand of a product, which is in memory, with a constant. */
static bool is_told_by_operand(const Graph *g, NodeId id, NodeId source, const bool *of_product) {
    const Node *node = &g->nodes[id];
    bool compares = node->op == OP_less || node->op == OP_equal;
    bool with_constant = compares && (g->nodes[behind_views(g, node->in[0])].op == OP_constant ||
                                      g->nodes[behind_views(g, node->in[1])].op == OP_constant);
    return with_constant && of_product[source];
}

void fuse_mark_again(Fusion *f) {
    const Graph *g = f->graph;
    Again a = {f, arena_array(f->scratch, Origin, g->count + 1), arena_array(f->scratch, uint32_t, g->count + 1), 0};
    const bool *of_product = find_operands(f), *kept = find_kept(f, of_product);
    for (NodeId id = 0; id < g->count; id++) {
        if (kept[id] || !is_cheap(g->nodes[id].op) || elements(g, id) < LEAST_ELEMENTS) continue;
        a.origin[id] = origin_of(&a, id);
        NodeId source = a.origin[id].source;
        f->again[id] = source != NO_NODE && a.origin[id].cost <= MOST_COST &&
                       (a.origin[id].is_behind || g->nodes[source].op == OP_input ||
                        is_told_by_operand(g, id, source, of_product));
    }
}
