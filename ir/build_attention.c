/* Attention as two nodes: the norm of each query's softmax, and what it takes from the values. What is not asked for,
 * padding or dropout, is a constant that the kernel does not read. */
#include "ir/attention.h"
#include "ir/build.h"

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
