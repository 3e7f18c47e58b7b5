/* Attention between the positions of a text (Vaswani et al. 2017, section 3.2): its inputs as ir/attention.h has them.
 */
#include "frontend/layers.h"
#include "ir/attention.h"

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

/* [n,positions,width] as [n,positions,heads,share] */
static NodeId by_head(Attention *a, NodeId x, Dim positions) {
    return build_reshape(a->call->l->g, x, 4, (Dim[]){a->n, positions, a->heads, a->width / a->heads});
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
    NodeId q = by_head(&a, a.q, a.S), k = by_head(&a, a.k, a.T), v = by_head(&a, a.v, a.T);
    double scale = 1 / sqrt((double)(a.width / a.heads)), rate = l->is_training ? a.dropout : 0;
    NodeId key = rate > 0 ? random_key(l) : NO_NODE, sample = rate > 0 ? random_samples(l, value_type(l, q)) : NO_NODE;
    uint32_t stream = rate > 0 ? l->streams++ : 0;
    NodeId mixed = build_attention(l->g, q, k, v, a.count, scale, a.is_causal, rate, key, sample, stream);
    return value_tensor(build_reshape(l->g, mixed, 3, (Dim[]){a.n, a.S, a.width}));
}
