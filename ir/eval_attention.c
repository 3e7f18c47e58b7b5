/* What the operations of attention mean: for each sample, head, query and key that the query sees, what the pair adds
 * to the result. */
#include "ir/attention.h"
#include "ir/eval.h"

#include <math.h>

typedef struct {
    const Node *node;
    AttentionShape shape;
    int64_t N, counts, samples;
    const double *q, *k, *v, *norm, *count, *key, *sample, *dy, *delta; /* those that the node has */
} Attention;

typedef struct {
    int64_t n, s, t, h;
} Pair;

/* Which element of norm and delta is the query's; where its row begins in q and dy; the key's in k and v. */
static int64_t head(const Attention *a, const Pair *at) { return (at->n * a->shape.S + at->s) * a->shape.H + at->h; }
static int64_t query(const Attention *a, const Pair *at) { return head(a, at) * a->shape.D; }
static int64_t key(const Attention *a, const Pair *at) {
    return ((at->n * a->shape.T + at->t) * a->shape.H + at->h) * a->shape.D;
}

static double dot(const Attention *a, const double *x, const double *y) {
    double sum = 0;
    for (int64_t i = 0; i < a->shape.D; i++) sum += x[i] * y[i];
    return sum;
}

static double score(const Attention *a, const Pair *at) {
    return a->node->attr.attention.scale * dot(a, a->q + query(a, at), a->k + key(a, at));
}

static bool is_seen(const Attention *a, const Pair *at) {
    double count = a->count[a->counts == 1 ? 0 : at->n];
    return (double)at->t < count && (!a->node->attr.attention.causal || at->t <= at->s);
}

/* 0 where dropped, else 1 / (1 - rate). */
static double keep(const Attention *a, const Pair *at) {
    const AttentionShape *shape = &a->shape;
    double rate = a->node->attr.attention.rate;
    if (rate == 0) return 1;
    int64_t element = (at->h * shape->S + at->s) * ((shape->T + 3) / 4) + at->t / 4;
    uint32_t counter[4] = {(uint32_t)element, (uint32_t)(int32_t)a->sample[a->samples == 1 ? 0 : at->n],
                           (uint32_t)(int32_t)a->key[2], a->node->attr.attention.stream};
    eval_philox(counter, (uint32_t)(int32_t)a->key[0], (uint32_t)(int32_t)a->key[1]);
    return counter[at->t % 4] >> 8 < attention_threshold(rate) ? 0 : 1 / (1 - rate);
}

/* out[0..D) += factor * x[0..D) */
static void add_scaled(const Attention *a, double *out, const double *x, double factor) {
    for (int64_t i = 0; i < a->shape.D; i++) out[i] += factor * x[i];
}

static double weight(const Attention *a, const Pair *at) { return exp(score(a, at) - a->norm[head(a, at)]); }

/* What the score of the pair has as its gradient, times scale. */
static double slope(const Attention *a, const Pair *at) {
    double taken = keep(a, at) * dot(a, a->dy + query(a, at), a->v + key(a, at));
    return a->node->attr.attention.scale * weight(a, at) * (taken - a->delta[head(a, at)]);
}

static void add_pair(const Attention *a, const Pair *at, double *out) {
    switch ((int)a->node->op) {
    case OP_attention: add_scaled(a, out + query(a, at), a->v + key(a, at), keep(a, at) * weight(a, at)); break;
    case OP_attention_dq: add_scaled(a, out + query(a, at), a->k + key(a, at), slope(a, at)); break;
    case OP_attention_dk: add_scaled(a, out + key(a, at), a->q + query(a, at), slope(a, at)); break;
    case OP_attention_dv: add_scaled(a, out + key(a, at), a->dy + query(a, at), keep(a, at) * weight(a, at)); break;
    default: BUG("%s is no sum over pairs", op_info[a->node->op].name);
    }
}

/* log Σ exp(x) = m + log Σ exp(x - m), with m the largest x; 0 where there is none. */
static double norm_of(const Attention *a, Pair at) {
    double most = -INFINITY, sum = 0;
    for (at.t = 0; at.t < a->shape.T; at.t++)
        if (is_seen(a, &at)) most = fmax(most, score(a, &at));
    for (at.t = 0; at.t < a->shape.T; at.t++)
        if (is_seen(a, &at)) sum += exp(score(a, &at) - most);
    return sum > 0 ? most + log(sum) : 0;
}

static void eval_query(const Attention *a, Pair at, double *out) {
    if (a->node->op == OP_attention_norm) {
        out[head(a, &at)] = norm_of(a, at);
        return;
    }
    for (at.t = 0; at.t < a->shape.T; at.t++)
        if (is_seen(a, &at)) add_pair(a, &at, out);
}

void eval_attention(const Graph *graph, const Node *node, int64_t n, double *const *values, double *out) {
    const NodeId *in = node->in;
    uint32_t count = attention_count(node->op), inputs = op_info[node->op].inputs;
    Attention a = {.node = node, .shape = attention_shape(graph, node), .q = values[in[0]], .k = values[in[1]]};
    a.N = dim_at(graph->nodes[in[0]].type.dim[0], n);
    a.count = values[in[count]];
    a.counts = dim_at(graph->nodes[in[count]].type.dim[0], n);
    if (inputs > ATTENTION_sample) {
        a.v = values[in[ATTENTION_v]], a.norm = values[in[ATTENTION_norm]];
        a.key = values[in[ATTENTION_key]], a.sample = values[in[ATTENTION_sample]];
        a.samples = dim_at(graph->nodes[in[ATTENTION_sample]].type.dim[0], n);
    }
    if (inputs > ATTENTION_delta) a.dy = values[in[ATTENTION_dy]], a.delta = values[in[ATTENTION_delta]];
    Pair at;
    for (at = (Pair){0}; at.n < a.N; at.n++)
        for (at.s = 0; at.s < a.shape.S; at.s++)
            for (at.h = 0; at.h < a.shape.H; at.h++) eval_query(&a, at, out);
}
