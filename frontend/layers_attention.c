/* Attention between the positions of a text (Vaswani et al. 2017, section 3.2), from products and softmax. */
#include "frontend/layers.h"

#include <math.h>

typedef struct {
    LayerCall *call;
    NodeId q, k, v;
    NodeId count; /* i32[n], or NO_NODE: all keys count */
    Dim n, width, S, T, heads;
    bool is_causal;
    double dropout;
} Attention;

static bool wrong_input(LayerCall *call, const char *name, Type type, const char *wanted) {
    lower_fail(call->l, call->spot, "\"attention\": %s is %s, but must be %s", name, type_text(call->l, type), wanted);
    return false;
}

/* f32[n,positions,width], all of them alike but for the positions. */
static bool rows_input(Attention *a, uint32_t i, const char *name, NodeId *x, Dim *positions) {
    Lower *l = a->call->l;
    Value *value = &a->call->inputs[i];
    if (!to_float(l, a->call->spot, value)) return false;
    Type type = value_type(l, *x = value->node);
    if (type.rank != 3 || type.dim[1] < 0 || type.dim[2] < 0)
        return wrong_input(a->call, name, type, "[n, positions, width]");
    if (!i) a->n = type.dim[0], a->width = type.dim[2];
    if (i < 2) *positions = type.dim[1];
    Type wanted = type_make(DTYPE_f32, 3, (Dim[]){a->n, *positions, a->width});
    return type_equal(type, wanted) || wrong_input(a->call, name, type, type_text(l, wanted));
}

static bool count_input(Attention *a) {
    Lower *l = a->call->l;
    a->count = NO_NODE;
    if (a->call->input_count < 4) return true;
    Value *value = &a->call->inputs[3];
    if (!to_tensor(l, a->call->spot, value)) return false;
    Type type = value_type(l, value->node), wanted = type_make(DTYPE_i32, 1, &a->n);
    if (dtype_info[type.dtype].is_float || !shape_equal(type, wanted))
        return wrong_input(a->call, "count", type, type_text(l, wanted));
    a->count = build_cast(l->g, value->node, DTYPE_i32);
    return true;
}

static bool attention_options(Attention *a) {
    Spot spot;
    a->is_causal = option_flag(a->call, "causal");
    if (!option_dim(a->call, "heads", &a->heads) || !option_number(a->call, "dropout", 0, 0.999, &a->dropout))
        return false;
    if (a->width % a->heads == 0) return true;
    option_value(a->call, "heads", &spot);
    lower_fail(a->call->l, spot, "the width %lld cannot be cut into %lld heads of one size", (long long)a->width,
               (long long)a->heads);
    return false;
}

/* [n,positions,width] as [n,heads,positions,share] */
static NodeId by_head(Attention *a, NodeId x, Dim positions) {
    Graph *g = a->call->l->g;
    NodeId split = build_reshape(g, x, 4, (Dim[]){a->n, positions, a->heads, a->width / a->heads});
    return build_transpose(g, split, (uint32_t[]){0, 2, 1, 3});
}

/* bool[n,heads,S,T]: whether the query sees the key; NO_NODE: each sees all. */
static NodeId seen(Attention *a) {
    Graph *g = a->call->l->g;
    Type whole = type_make(DTYPE_i32, 4, (Dim[]){a->n, a->heads, a->S, a->T});
    NodeId key = build_iota(g, whole, 3), is_seen = NO_NODE;
    if (a->is_causal) is_seen = build_unary(g, OP_not, build_binary(g, OP_less, build_iota(g, whole, 2), key));
    if (a->count == NO_NODE) return is_seen;
    NodeId count = build_broadcast(g, build_reshape(g, a->count, 4, (Dim[]){a->n, 1, 1, 1}), whole);
    NodeId counts = build_binary(g, OP_less, key, count);
    return is_seen == NO_NODE ? counts : build_binary(g, OP_and, is_seen, counts);
}

/* exp(score) / sum(exp(score)) over the keys that are seen, and zeros where there are none: the sum is at least 1
 * otherwise, for the largest score leaves the exponent. */
static NodeId probabilities(Attention *a, NodeId score) {
    Lower *l = a->call->l;
    const uint32_t keys = 1u << 3;
    NodeId is_seen = seen(a);
    if (is_seen != NO_NODE) score = build_select(l->g, is_seen, score, build_like(l->g, score, -1e30));
    NodeId e = node_unary(l, OP_exp, node_below_peak(l, score, keys));
    if (is_seen != NO_NODE) e = build_select(l->g, is_seen, e, build_like(l->g, e, 0));
    NodeId sum = build_sum(l->g, e, keys);
    if (is_seen != NO_NODE) sum = build_binary(l->g, OP_max, sum, build_like(l->g, sum, 1e-30));
    return node_div(l, e, node_spread(l, sum, e));
}

/* What is kept is scaled, so that sums stay what they are on average. */
static NodeId dropped(Attention *a, NodeId p) {
    Lower *l = a->call->l;
    if (!l->is_training || a->dropout == 0) return p;
    NodeId mask = random_mask(l, value_type(l, p), a->dropout);
    return build_select(l->g, mask, build_like(l->g, p, 0), node_scale(l, p, 1 / (1 - a->dropout)));
}

Value layer_attention(LayerCall *call) {
    Lower *l = call->l;
    Attention a = {.call = call};
    if (!rows_input(&a, 0, "q", &a.q, &a.S) || !rows_input(&a, 1, "k", &a.k, &a.T) ||
        !rows_input(&a, 2, "v", &a.v, &a.T) || !count_input(&a) || !attention_options(&a))
        return value_unknown();
    if (a.is_causal && a.S != a.T)
        return lower_fail(l, call->spot, "\"attention\" is causal, but q has %lld positions and k %lld", (long long)a.S,
                          (long long)a.T);
    double scale = 1 / sqrt((double)(a.width / a.heads));
    NodeId k = build_swap_last(l->g, by_head(&a, a.k, a.T));
    NodeId score = node_scale(l, build_matmul(l->g, by_head(&a, a.q, a.S), k), scale);
    NodeId p = dropped(&a, probabilities(&a, score));
    NodeId mixed = build_matmul(l->g, p, by_head(&a, a.v, a.T));
    mixed = build_transpose(l->g, mixed, (uint32_t[]){0, 2, 1, 3});
    return value_tensor(build_reshape(l->g, mixed, 3, (Dim[]){a.n, a.S, a.width}));
}
