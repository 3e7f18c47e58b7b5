/* Attention as two nodes: the norm of each query's softmax, and what it takes from the values. What is not asked for,
 * padding or dropout, is a constant that the kernel does not read. */
#include "ir/attention.h"
#include "ir/build.h"

#include <string.h>

bool attention_is(OpKind op) { return op_info[op].class == CLASS_attention; }

bool attention_is_gradient(OpKind op) {
    return op == OP_attention_dq || op == OP_attention_dk || op == OP_attention_dv;
}

uint32_t attention_count(OpKind op) { return op == OP_attention_norm ? NORM_count : ATTENTION_count; }

AttentionShape attention_shape(const Graph *graph, const Node *node) {
    const Type *q = &graph->nodes[node->in[ATTENTION_q]].type, *k = &graph->nodes[node->in[ATTENTION_k]].type;
    return (AttentionShape){.S = q->dim[1], .T = k->dim[1], .H = q->dim[2], .D = q->dim[3]};
}

int64_t attention_threshold(double rate) { return (int64_t)(rate * 0x1p24 + 0.5); }

bool attention_has_own_norm(const Graph *graph, NodeId y) {
    const Node *node = &graph->nodes[y], *norm = &graph->nodes[node->in[ATTENTION_norm]];
    return norm->op == OP_attention_norm && norm->in[ATTENTION_q] == node->in[ATTENTION_q] &&
           norm->in[ATTENTION_k] == node->in[ATTENTION_k] && norm->in[NORM_count] == node->in[ATTENTION_count] &&
           norm->attr.attention.scale == node->attr.attention.scale &&
           norm->attr.attention.causal == node->attr.attention.causal;
}

static bool is_norm_of(const Graph *graph, NodeId norm, NodeId y) {
    const Node *node = &graph->nodes[y];
    return node->op == OP_attention && node->in[ATTENTION_norm] == norm && attention_has_own_norm(graph, y);
}

bool attention_are_siblings(const Graph *graph, NodeId a, NodeId b) {
    const Node *x = &graph->nodes[a], *y = &graph->nodes[b];
    if (is_norm_of(graph, a, b) || is_norm_of(graph, b, a)) return true;
    return attention_is_gradient(x->op) && attention_is_gradient(y->op) && x->op != y->op &&
           !memcmp(x->in, y->in, sizeof x->in) && !memcmp(&x->attr, &y->attr, sizeof x->attr);
}

bool attention_parts(const Graph *body, AttentionParts *parts) {
    *parts = (AttentionParts){NO_NODE, NO_NODE, NO_NODE, NO_NODE, NO_NODE, NO_NODE};
    for (NodeId id = 0; id < body->count; id++) {
        OpKind op = body->nodes[id].op;
        if (!attention_is(op)) continue;
        NodeId *part = op == OP_attention_norm ? &parts->norm
                       : op == OP_attention    ? &parts->y
                       : op == OP_attention_dq ? &parts->dq
                       : op == OP_attention_dk ? &parts->dk
                                               : &parts->dv;
        if (*part != NO_NODE || (parts->first != NO_NODE && !attention_are_siblings(body, parts->first, id)))
            return false;
        *part = parts->first = id;
    }
    return parts->first != NO_NODE;
}

static NodeId same_for_all(Graph *g, Dim count, double value) {
    return build_constant(g, type_make(DTYPE_i32, 1, &count), value);
}

NodeId build_attention(Graph *g, NodeId q, NodeId k, NodeId v, NodeId count, double scale, bool causal, double rate,
                       NodeId key, NodeId sample, uint32_t stream) {
    if (count == NO_NODE) count = same_for_all(g, 1, (double)g->nodes[k].type.dim[1]);
    if (rate == 0) key = same_for_all(g, 3, 0), sample = same_for_all(g, 1, 0), stream = 0;
    Attr attr = {.attention = {.scale = scale, .rate = rate, .stream = stream, .causal = causal}};
    NodeId norm = graph_add(g, (Node){.op = OP_attention_norm, .in = {q, k, count}, .attr = attr});
    return graph_add(g, (Node){.op = OP_attention, .in = {q, k, v, norm, count, key, sample}, .attr = attr});
}
