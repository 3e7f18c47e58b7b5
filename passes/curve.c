/* A walk back from the value over smooth elementwise work. The latest node that was reached is always the next to be
 * looked at, so where only one is left, all paths go through it: the value is a function of that one.
 *
 * What chooses (max, select) is not smooth: its gradient is masked, which keeps an infinite one out, where a product
 * with a slope of 0 would make NaN of it. Nor is what has a pole (log, sqrt, div). */
#include "passes/curve.h"

/* Does it take long enough that its result is sooner kept? */
static bool is_function(OpKind op) { return op_is_function(op) && op != OP_log; }

static bool is_smooth(OpKind op) {
    return is_function(op) || op == OP_neg || op == OP_add || op == OP_sub || op == OP_mul;
}

static bool is_constant(const Graph *g, NodeId id) {
    while (g->nodes[id].op == OP_broadcast || g->nodes[id].op == OP_reshape) id = g->nodes[id].in[0];
    return g->nodes[id].op == OP_constant;
}

bool curve_has(const Curve *curve, NodeId id) {
    for (uint32_t i = 0; i < curve->count; i++)
        if (curve->nodes[i] == id) return true;
    return false;
}

/* Nodes that were reached and not yet looked at, each once. */
typedef struct {
    NodeId nodes[MOST_CURVE];
    uint32_t count;
} Front;

static void reach(Front *front, NodeId id) {
    for (uint32_t i = 0; i < front->count; i++)
        if (front->nodes[i] == id) return;
    front->nodes[front->count++] = id;
}

static NodeId take_latest(Front *front) {
    uint32_t latest = 0;
    for (uint32_t i = 1; i < front->count; i++)
        if (front->nodes[i] > front->nodes[latest]) latest = i;
    NodeId id = front->nodes[latest];
    front->nodes[latest] = front->nodes[--front->count];
    return id;
}

bool curve_find(const Graph *g, NodeId value, Curve *curve) {
    bool has_function = false, has_product = false;
    Front front = {{value}, 1};
    curve->count = 0;
    while (front.count) {
        NodeId id = take_latest(&front);
        const Node *node = &g->nodes[id];
        if (!front.count && has_function && has_product) {
            curve->from = id;
            return true;
        }
        bool fits = is_smooth(node->op) && node->type.dtype == DTYPE_f32;
        if (!fits || curve->count == MOST_CURVE || front.count + 2 > MOST_CURVE) return false;
        curve->nodes[curve->count++] = id;
        uint32_t varying = 0;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
            if (is_constant(g, node->in[i])) continue;
            varying++;
            reach(&front, node->in[i]);
        }
        has_function |= is_function(node->op);
        has_product |= node->op == OP_mul && varying == 2;
    }
    return false;
}
