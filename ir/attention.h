/* Attention: what its operations share.
 *
 * q is f32[N,S,H,D], k and v are f32[N,T,H,D]; N alone may depend on the batch. Query s sees the keys below count[n],
 * with `causal` only those up to s. The logarithm of what the softmax divides by, attention_norm[N,S,H], is a node of
 * its own: the gradients start from it, and no S×T matrix is ever in memory (Dao, "FlashAttention-2", 2023). */
#ifndef SELFC_IR_ATTENTION_H
#define SELFC_IR_ATTENTION_H
#include "ir/graph.h"

/* Positions of the inputs of attention (the first seven) and of its gradients. attention_norm has q, k and count. */
enum {
    ATTENTION_q,
    ATTENTION_k,
    ATTENTION_v,
    ATTENTION_norm,
    ATTENTION_count,  /* i32[N], or i32[1] for all samples */
    ATTENTION_key,    /* of dropout, as `random` has it: i32[3] */
    ATTENTION_sample, /* of dropout: i32[N] or i32[1] */
    ATTENTION_dy,     /* like q */
    ATTENTION_delta,  /* f32[N,S,H]: the sum of dy * y over D */
    NORM_count = 2
};

typedef struct {
    int64_t S, T, H, D;
} AttentionShape;

bool attention_is(OpKind op);          /* one of the five */
bool attention_is_gradient(OpKind op); /* one of the last three */
uint32_t attention_count(OpKind op);   /* the position of count */
AttentionShape attention_shape(const Graph *graph, const Node *node);
/* A key is dropped where the upper 24 bits of its random word are below this. */
int64_t attention_threshold(double rate);

/* Is the norm that attention y was given that of its own softmax, and not some other number? */
bool attention_has_own_norm(const Graph *graph, NodeId y);

/* Do the two belong into one kernel? A result and its own norm; gradients of the same operands. */
bool attention_are_siblings(const Graph *graph, NodeId a, NodeId b);

/* The siblings in a kernel's body; NO_NODE where there is none. */
typedef struct {
    NodeId norm, y, dq, dk, dv;
    NodeId first; /* the one with the most inputs: all others' are among them */
} AttentionParts;
bool attention_parts(const Graph *body, AttentionParts *parts); /* false: there is none, or not all are siblings */

/* softmax(scale · q kᵀ) v for each head, f32[N,S,H,D]. count: NO_NODE if there is no padding. key, sample: NO_NODE if
 * rate is 0. The softmax is over the keys that the query sees; a query that sees none gets zeros. What is dropped is
 * dropped behind the softmax, and the rest divided by 1 - rate ("FlashAttention", Dao and others 2022, B.4). */
NodeId build_attention(Graph *g, NodeId q, NodeId k, NodeId v, NodeId count, double scale, bool causal, double rate,
                       NodeId key, NodeId sample, uint32_t stream);
#endif
