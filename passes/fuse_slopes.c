/* Slopes that are made where their curve is (passes/curve.h).
 *
 * On the way back a gradient is multiplied by the slope of an activation, as gelu's. Made there, in the kernel that
 * multiplies, the slope needs what it has in common with the activation, such as x and sigmoid(x · …): each is stored
 * forward and kept. Made forward, beside the activation, all of that is in registers, and one value is kept: the slope.
 *
 * So a factor that is a curve stands apart from who multiplies by it if that would otherwise wait for two or more of
 * the values that it is made of: if they are read by something that has to be done first. */
#include "passes/curve.h"
#include "passes/fuse.h"

#include <string.h>

enum { LEAST_ELEMENTS = 1 << 14, LEAST_SHARED = 2 };

/* Marks what `id` depends on, back to node `first`. */
static void mark_behind(const Graph *g, NodeId id, NodeId first, bool *behind) {
    if (id < first || behind[id]) return;
    behind[id] = true;
    const Node *node = &g->nodes[id];
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) mark_behind(g, node->in[i], first, behind);
}

/* Is it read by something else that stands behind the product, outside of the curve? */
static bool is_shared(const Graph *g, const Curve *curve, NodeId value, NodeId product, const bool *behind) {
    for (NodeId id = value + 1; id < product; id++) {
        const Node *node = &g->nodes[id];
        if (!behind[id] || curve_has(curve, id)) continue;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
            if (node->in[i] == value) return true;
    }
    return false;
}

static bool stands_apart(const Fusion *f, NodeId slope, NodeId product, bool *behind) {
    const Graph *g = f->graph;
    Curve curve;
    if (f->again[slope] || dim_at(type_elements(g->nodes[slope].type), 1) < LEAST_ELEMENTS) return false;
    if (!curve_find(g, slope, &curve)) return false;
    memset(behind, 0, g->count * sizeof *behind);
    mark_behind(g, product, curve.from, behind);
    uint32_t shared = is_shared(g, &curve, curve.from, product, behind);
    for (uint32_t i = 1; i < curve.count; i++) shared += is_shared(g, &curve, curve.nodes[i], product, behind);
    return shared >= LEAST_SHARED;
}

void fuse_mark_slopes(Fusion *f) {
    const Graph *g = f->graph;
    bool *behind = arena_array(f->scratch, bool, g->count + 1);
    for (NodeId id = 0; id < g->count; id++) {
        const Node *node = &g->nodes[id];
        for (uint32_t i = 0; node->op == OP_mul && i < 2; i++)
            if (stands_apart(f, node->in[i], id, behind)) f->apart[node->in[i]] = true;
    }
}
