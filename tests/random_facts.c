/* What each operation makes of its operands' facts. The compiler asks for what is new in the table. */
#include "tests/random_facts.h"
#include "ir/attention.h"

#include <math.h>

enum { LARGEST_BATCH = 129 };

static Fact input_fact(const GraphInput *input) {
    static const double bounds[DTYPE_COUNT] = {[DTYPE_f32] = 1,   [DTYPE_bf16] = 1, [DTYPE_f16] = 1,
                                               [DTYPE_i8] = 128,  [DTYPE_u8] = 255, [DTYPE_i32] = 100,
                                               [DTYPE_i64] = 100, [DTYPE_bool] = 1};
    DType dtype = input->type.dtype;
    return (Fact){bounds[dtype], dtype_info[dtype].is_float ? 8 : 0, input->kind == INPUT_parameter};
}

static int fraction_of(double value) {
    for (int fraction = 0; fraction < 40; fraction++)
        if (ldexp(value, fraction) == floor(ldexp(value, fraction))) return fraction;
    return INEXACT;
}

static double reduced_count(const Node *node, Type from) {
    double count = 1;
    for (uint32_t i = 0; i < from.rank; i++)
        if (node->attr.axes >> i & 1) count *= (double)dim_at(from.dim[i], LARGEST_BATCH);
    return count;
}

double random_largest(DType dtype) {
    switch (dtype) {
    case DTYPE_f32:
    case DTYPE_bf16: return INFINITY;
    case DTYPE_f16: return 65504;
    case DTYPE_i8: return 128;
    case DTYPE_u8: return 255;
    case DTYPE_i32: return 0x1p31;
    case DTYPE_i64: return 0x1p52;
    case DTYPE_bool: return 1;
    }
    return 0;
}

/* Weights are at most 1, where the norm is attention's own. */
static double attention_bound(const Maker *m, const Node *node) {
    double bound[MAX_INPUTS], rate = node->attr.attention.rate, scale = fabs(node->attr.attention.scale);
    AttentionShape shape = attention_shape(m->g, node);
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) bound[i] = m->facts[node->in[i]].bound;
    double wide = (double)shape.D, keys = (double)shape.T, queries = (double)shape.S;
    if (node->op == OP_attention_norm) return scale * wide * bound[ATTENTION_q] * bound[ATTENTION_k] + log(keys);
    if (node->op == OP_attention) return bound[ATTENTION_v] / (1 - rate);
    if (node->op == OP_attention_dv) return queries * bound[ATTENTION_dy] / (1 - rate);
    double slope = scale * (wide * bound[ATTENTION_dy] * bound[ATTENTION_v] / (1 - rate) + bound[ATTENTION_delta]);
    return slope * (node->op == OP_attention_dq ? keys * bound[ATTENTION_k] : queries * bound[ATTENTION_q]);
}

/* a, b and c: facts of the operands; of those that the operation does not have, zero. */
static Fact fact_of(const Maker *m, const Node *node, Fact a, Fact b, Fact c) {
    const Type from = m->g->nodes[node->in[0]].type;
    int coarser = a.fraction < 0 || b.fraction < 0 ? INEXACT : a.fraction > b.fraction ? a.fraction : b.fraction;
    int product = a.fraction < 0 || b.fraction < 0 ? INEXACT : a.fraction + b.fraction;
    bool trained = a.trained || b.trained || c.trained;
    double wider = fmax(a.bound, b.bound);
    switch (node->op) {
    case OP_input: return input_fact(&m->g->inputs[node->attr.index]);
    case OP_constant: return (Fact){fabs(node->attr.value), fraction_of(node->attr.value), false};
    case OP_iota: return (Fact){(double)dim_at(node->type.dim[node->attr.axis], LARGEST_BATCH), 0, false};
    case OP_random: return (Fact){0x1p31, 0, false};
    case OP_neg:
    case OP_abs:
    case OP_stop_gradient:
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_reduce_max: return a;
    case OP_not: return (Fact){a.bound + 1, 0, trained};
    case OP_sign: return (Fact){1, 0, trained};
    case OP_floor: return (Fact){a.bound + 1, 0, trained};
    case OP_exp: return (Fact){exp(a.bound), INEXACT, trained};
    case OP_log: return (Fact){fmax(1, log(a.bound)), INEXACT, trained};
    case OP_sqrt: return (Fact){fmax(1, sqrt(a.bound)), INEXACT, trained};
    case OP_tanh:
    case OP_sigmoid:
    case OP_erf:
    case OP_sin:
    case OP_cos: return (Fact){1, INEXACT, trained};
    case OP_cast: return (Fact){fmin(a.bound, random_largest(node->type.dtype)), a.fraction, trained};
    case OP_add:
    case OP_sub: return (Fact){a.bound + b.bound, coarser, trained};
    case OP_mul: return (Fact){a.bound * b.bound, product, trained};
    case OP_div: return (Fact){a.bound * 2, INEXACT, trained}; /* only built with |b| >= 0.5 */
    case OP_max:
    case OP_min:
    case OP_concat: return (Fact){wider, coarser, trained};
    case OP_less:
    case OP_equal: return (Fact){1, 0, trained};
    case OP_and:
    case OP_or:
    case OP_xor: return (Fact){2 * wider + 1, 0, trained};
    case OP_shift_left: return (Fact){a.bound * 128, 0, trained}; /* only built with b < 8 */
    case OP_shift_right: return (Fact){from.dtype == DTYPE_i64 ? a.bound : 0x1p31, 0, trained};
    case OP_select:
        return (Fact){fmax(b.bound, c.bound),
                      b.fraction < 0 || c.fraction < 0 ? INEXACT
                      : b.fraction > c.fraction        ? b.fraction
                                                       : c.fraction,
                      trained};
    case OP_pad: { /* pads with quarters */
        int fraction = a.fraction < 0 ? INEXACT : a.fraction < 2 ? 2 : a.fraction;
        return (Fact){fmax(a.bound, fabs(node->attr.pad.value)), fraction, trained};
    }
    case OP_window: { /* quarters, too */
        int fraction = a.fraction < 0 ? INEXACT : a.fraction < 2 ? 2 : a.fraction;
        return (Fact){fmax(a.bound, fabs(node->attr.window.value)), fraction, trained};
    }
    case OP_unwindow: return a;
    case OP_gather: return a;
    case OP_scatter_add: /* all may meet at one place */
        return (Fact){a.bound +
                          c.bound * (double)dim_at(m->g->nodes[node->in[2]].type.dim[node->attr.axis], LARGEST_BATCH),
                      a.fraction < 0 || c.fraction < 0 ? INEXACT
                      : a.fraction > c.fraction        ? a.fraction
                                                       : c.fraction,
                      trained};
    case OP_sum: return (Fact){a.bound * reduced_count(node, from), a.fraction, trained};
    case OP_argmax: return (Fact){255, 0, false};
    case OP_matmul:
        return (Fact){a.bound * b.bound * (double)dim_at(from.dim[from.rank - 1], LARGEST_BATCH), product, trained};
    case OP_attention_norm:
    case OP_attention:
    case OP_attention_dq:
    case OP_attention_dk:
    case OP_attention_dv: return (Fact){attention_bound(m, node), INEXACT, trained};
    case OP_gradient: return (Fact){INFINITY, INEXACT, true};
    }
    return (Fact){0};
}

static void learn(Maker *m) {
    while (m->fact_count < m->g->count) {
        const Node *node = &m->g->nodes[m->fact_count];
        Fact in[MAX_INPUTS] = {0};
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) in[i] = m->facts[node->in[i]];
        Fact fact = fact_of(m, node, in[0], in[1], in[2]);
        DType dtype = node->type.dtype;
        if (dtype_info[dtype].is_float && fact.bound * ldexp(1, fact.fraction) > 0x1p24) fact.fraction = INEXACT;
        if (!dtype_info[dtype].is_float) fact = (Fact){fmin(fact.bound, random_largest(dtype)), 0, fact.trained};
        m->facts = arena_grow(m->g->arena, m->facts, m->fact_count, &m->fact_capacity, sizeof fact);
        m->facts[m->fact_count++] = fact;
    }
}

Fact random_fact(Maker *m, NodeId id) {
    learn(m);
    return m->facts[id];
}
