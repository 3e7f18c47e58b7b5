/* Grows a graph by one random operation after another.
 *
 * Operands are chosen or scaled down by what is known of their values (random_facts.c, random_operands.c). An operation
 * that is new in the table is asked for twice by the compiler: what it makes of its operands' facts, and here, how it
 * is built from random operands. */
#include "tests/random_operands.h"
#include "ir/attention.h"
#include "ir/build.h"

#include <math.h>

uint64_t random_bits(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint32_t random_below(uint64_t *state, uint32_t limit) { return (uint32_t)((random_bits(state) >> 32) * limit >> 32); }

/* ---- operations ---- */

static bool jumps(OpKind op) {
    return op == OP_floor || op == OP_sign || op == OP_less || op == OP_equal || op == OP_cast || op == OP_argmax;
}

static bool has_gradient(OpKind op) { return op_info[op].gradient[0] != 'n' || op_info[op].gradient[1] != 'o'; }

static Want want_of(const Maker *m, OpKind op) {
    uint32_t dtypes = random_dtypes(op);
    if (m->options.floats_only && dtypes & FLOATS) dtypes = FLOATS;
    return (Want){.dtypes = dtypes,
                  .exact = jumps(op),
                  .untrained = m->options.gradients && (!has_gradient(op) || op == OP_cast)};
}

static NodeId add_unary(Maker *m, OpKind op) {
    return build_unary(m->g, op, random_tamed(m, random_operand(m, want_of(m, op))));
}

static NodeId add_binary(Maker *m, OpKind op) {
    Want want = want_of(m, op);
    NodeId a = random_tamed(m, random_operand(m, want));
    want.dtypes = 1u << type_of(m, a).dtype;
    NodeId b = random_tamed(m, random_operand_like(m, type_of(m, a), want));
    return chance(m, 50) ? build_binary(m->g, op, a, b) : build_binary(m->g, op, b, a);
}

/* Inexact after all: random_tamed() may have scaled one operand into another range of exact values. */
static NodeId add_compare(Maker *m, OpKind op) {
    Want want = want_of(m, op);
    NodeId a = random_operand(m, want);
    want.dtypes = 1u << type_of(m, a).dtype;
    NodeId b = random_operand_like(m, type_of(m, a), want);
    return build_binary(m->g, op, a, b);
}

static NodeId add_shift(Maker *m, OpKind op) {
    NodeId a = random_tamed(m, random_operand(m, want_of(m, op)));
    Type type = type_of(m, a);
    if (op == OP_shift_right && type.dtype == DTYPE_i64) a = build_unary(m->g, OP_abs, a);
    NodeId by = random_operand_like(m, type, (Want){.dtypes = 1u << type.dtype});
    return build_binary(m->g, op, a, build_binary(m->g, OP_and, by, build_like(m->g, by, 7)));
}

static NodeId add_select(Maker *m) {
    Want want = want_of(m, OP_select);
    NodeId yes = random_operand(m, want);
    want.dtypes = 1u << type_of(m, yes).dtype;
    NodeId no = random_operand_like(m, type_of(m, yes), want);
    Want bools = {.dtypes = 1u << DTYPE_bool, .untrained = m->options.gradients};
    return build_select(m->g, random_operand_like(m, type_with_dtype(type_of(m, yes), DTYPE_bool), bools), yes, no);
}

static NodeId add_cast(Maker *m) {
    NodeId a = random_operand(m, want_of(m, OP_cast));
    DType to = random_dtype(m);
    if (to == type_of(m, a).dtype) to = to == DTYPE_f32 ? DTYPE_i32 : DTYPE_f32;
    if (m->options.floats_only) to = to == DTYPE_f32 ? to : DTYPE_bool;
    if (to == DTYPE_f16 && random_fact(m, a).bound > random_largest(to)) to = DTYPE_bf16;
    return build_cast(m->g, a, to);
}

static NodeId add_random(Maker *m) {
    Type type = random_shape(m, DTYPE_i32);
    NodeId key = build_input(m->g, arena_printf(m->g->arena, "key%u", m->g->input_count), INPUT_data,
                             type_make(DTYPE_i32, 1, (Dim[]){3}), (Init){0});
    Dim samples = type.rank && chance(m, 70) ? type.dim[0] : 1;
    NodeId sample = build_input(m->g, arena_printf(m->g->arena, "sample%u", m->g->input_count), INPUT_data,
                                type_make(DTYPE_i32, 1, &samples), (Init){0});
    NodeId bits = build_random(m->g, type, key, sample, below(m, 1000), below(m, 4));
    if (!m->options.floats_only && chance(m, 30)) return bits;
    NodeId high = build_binary(m->g, OP_shift_right, bits, build_like(m->g, bits, 8));
    NodeId number = build_cast(m->g, high, DTYPE_f32);
    return build_binary(m->g, OP_mul, number, build_like(m->g, number, 0x1p-24));
}

static NodeId add_broadcast(Maker *m) {
    NodeId a = random_operand(m, want_of(m, OP_broadcast));
    Type type = type_of(m, a);
    for (uint32_t i = 0; i < type.rank; i++) {
        Type wider = type;
        wider.dim[i] = 1 + below(m, 9);
        if (type.dim[i] == 1 && random_fits(m, wider)) type = wider;
    }
    if (type.rank < MAX_RANK && chance(m, 40)) {
        Type wider = {.dtype = type.dtype, .rank = type.rank + 1, .dim = {1 + below(m, 5)}};
        for (uint32_t i = 0; i < type.rank; i++) wider.dim[i + 1] = type.dim[i];
        if (random_fits(m, wider)) type = wider;
    }
    return build_broadcast(m->g, a, type);
}

/* Splits or joins axes: each prime factor of the size goes to a random axis of the new shape. */
static NodeId add_reshape(Maker *m) {
    NodeId a = random_operand(m, want_of(m, OP_reshape));
    Dim elements = type_elements(type_of(m, a)), dim[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    int64_t left = elements < 0 ? -elements : elements;
    uint32_t rank = left == 1 && elements > 0 ? below(m, 4) : 1 + below(m, MAX_RANK);
    for (int64_t factor = 2; left > 1; factor++)
        for (; left % factor == 0; left /= factor) dim[below(m, rank)] *= factor;
    if (elements < 0) dim[below(m, rank)] *= -1;
    return build_reshape(m->g, a, rank, dim);
}

static NodeId add_transpose(Maker *m) {
    NodeId a = random_operand(m, want_of(m, OP_transpose));
    uint32_t rank = type_of(m, a).rank, permutation[MAX_RANK];
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t other = below(m, i + 1);
        permutation[i] = i != other ? permutation[other] : i;
        permutation[other] = i;
    }
    return build_transpose(m->g, a, permutation);
}

static NodeId add_slice(Maker *m) {
    NodeId a = random_operand(m, want_of(m, OP_slice));
    Type to = type_of(m, a);
    int64_t start[MAX_RANK] = {0}, step[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    for (uint32_t i = 0; i < to.rank; i++) {
        int64_t size = to.dim[i];
        if (size < 0) continue;
        start[i] = below(m, (uint32_t)size);
        bool back = chance(m, 30);
        int64_t room = back ? start[i] : size - 1 - start[i], stride = 1 + below(m, 3);
        step[i] = back ? -stride : stride;
        to.dim[i] = 1 + below(m, (uint32_t)(room / stride) + 1);
    }
    return build_slice(m->g, a, to, start, step);
}

static NodeId add_pad(Maker *m) {
    NodeId a = random_operand(m, want_of(m, OP_pad));
    Type to = type_of(m, a);
    int64_t before[MAX_RANK] = {0};
    for (uint32_t i = 0; i < to.rank; i++) {
        Type wider = to;
        if (to.dim[i] < 0 || chance(m, 40)) continue;
        before[i] = below(m, 4);
        wider.dim[i] += before[i] + below(m, 4);
        if (random_fits(m, wider))
            to = wider;
        else
            before[i] = 0;
    }
    return build_pad(m->g, a, to, before, random_constant(m, to.dtype));
}

static NodeId add_concat(Maker *m) {
    Want want = want_of(m, OP_concat);
    want.least_rank = 1;
    NodeId a = random_operand(m, want);
    Type other = type_of(m, a), result = other;
    uint32_t axis = below(m, other.rank);
    if (other.dim[axis] > 0) other.dim[axis] = 1 + below(m, 9);
    result.dim[axis] += other.dim[axis];
    if (!random_fits(m, result)) return a;
    want.dtypes = 1u << other.dtype;
    return build_concat(m->g, a, random_operand_like(m, other, want), axis);
}

static NodeId add_reduction(Maker *m, OpKind op) {
    Want want = want_of(m, op);
    want.least_rank = 1;
    NodeId a = random_tamed(m, random_operand(m, want));
    uint32_t rank = type_of(m, a).rank, axes = chance(m, 50) ? 1u << below(m, rank) : 1 + below(m, (1u << rank) - 1);
    return op == OP_sum ? build_sum(m->g, a, axes) : build_reduce_max(m->g, a, axes);
}

/* Of one axis, which is cut down to what a position can name. */
static NodeId add_argmax(Maker *m) {
    Want want = want_of(m, OP_argmax);
    want.least_rank = 1;
    NodeId a = random_operand(m, want);
    Type type = type_of(m, a);
    uint32_t axis = below(m, type.rank);
    int64_t start[MAX_RANK] = {0}, step[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    if (type.dim[axis] < 0) return a;
    if (type.dim[axis] > 256) type.dim[axis] = 256;
    a = build_slice(m->g, a, type, start, step);
    if (chance(m, 50)) build_reduce_max(m->g, a, 1u << axis); /* for whoever wants both */
    return build_argmax(m->g, a, 1u << axis);
}

static NodeId add_matmul(Maker *m) {
    NodeId a = random_tamed(m, random_operand(m, (Want){.dtypes = FLOATS, .least_rank = 2}));
    Type from = type_of(m, a), other = from, result = from;
    uint32_t row = from.rank - 2, column = from.rank - 1;
    other.dim[row] = from.dim[column];
    other.dim[column] = 1 + below(m, chance(m, 50) ? 9 : 40);
    result.dim[column] = other.dim[column];
    if (!random_fits(m, other) || !random_fits(m, result)) return a;
    return build_matmul(m->g, a, random_tamed(m, random_operand_like(m, other, (Want){.dtypes = FLOATS})));
}

/* Any operand as [batch, position, head, width]: sizes are given to random axes. */
static NodeId as_heads(Maker *m, NodeId a) {
    Dim elements = type_elements(type_of(m, a)), dim[4] = {1, 1, 1, 1};
    int64_t left = elements < 0 ? -elements : elements;
    for (int64_t factor = 2; left > 1; factor++)
        for (; left % factor == 0; left /= factor) dim[below(m, 4)] *= factor;
    if (elements < 0) dim[0] *= -1;
    return build_reshape(m->g, a, 4, dim);
}

static NodeId number_per_sample(Maker *m, const char *name, Dim samples) {
    Dim dim = chance(m, 70) ? samples : 1;
    return build_input(m->g, arena_printf(m->g->arena, "%s%u", name, m->g->input_count), INPUT_data,
                       type_make(DTYPE_i32, 1, &dim), (Init){0});
}

static NodeId add_attention(Maker *m, OpKind op) {
    NodeId q = as_heads(m, random_tamed(m, random_operand(m, (Want){.dtypes = FLOATS})));
    Type type = type_of(m, q), keys = type, norms = type_make(DTYPE_f32, 3, type.dim);
    keys.dim[1] = 1 + below(m, chance(m, 50) ? 9 : 40);
    if (!random_fits(m, keys)) return q;
    NodeId k = random_tamed(m, random_operand_like(m, keys, (Want){.dtypes = FLOATS}));
    NodeId v = random_tamed(m, random_operand_like(m, keys, (Want){.dtypes = FLOATS}));
    NodeId count = chance(m, 60) ? number_per_sample(m, "count", type.dim[0]) : NO_NODE, key = NO_NODE, sample = key;
    double scale = chance(m, 50) ? 1 / sqrt((double)type.dim[3]) : 0.125, rate = chance(m, 50) ? 0.25 : 0;
    if (rate != 0) {
        key = build_input(m->g, arena_printf(m->g->arena, "key%u", m->g->input_count), INPUT_data,
                          type_make(DTYPE_i32, 1, (Dim[]){3}), (Init){0});
        sample = number_per_sample(m, "sample", type.dim[0]);
    }
    NodeId y = build_attention(m->g, q, k, v, count, scale, chance(m, 30), rate, key, sample, below(m, 1000));
    Node node = m->g->nodes[y];
    if (op == OP_attention_norm) return node.in[ATTENTION_norm];
    if (op == OP_attention) return y;
    node.op = op;
    node.in[ATTENTION_dy] = random_tamed(m, random_operand_like(m, type, (Want){.dtypes = FLOATS}));
    node.in[ATTENTION_delta] = random_tamed(m, random_operand_like(m, norms, (Want){.dtypes = FLOATS}));
    return graph_add(m->g, node);
}

/* Any operand as [batch, height, width, 1 or taps, 1 or taps, channels]: sizes are given to random axes. */
static NodeId as_picture(Maker *m, NodeId a, bool with_taps) {
    static const uint32_t axes[] = {0, 1, 1, 2, 2, 5, 3, 4};
    Dim elements = type_elements(type_of(m, a)), dim[6] = {1, 1, 1, 1, 1, 1};
    int64_t left = elements < 0 ? -elements : elements;
    for (int64_t factor = 2; left > 1; factor++)
        for (; left % factor == 0; left /= factor) dim[axes[below(m, with_taps ? 8 : 6)]] *= factor;
    if (elements < 0) dim[0] *= -1;
    return build_reshape(m->g, a, 6, dim);
}

/* Half of them joined to rows, as products want them. */
static NodeId add_window(Maker *m) {
    NodeId a = as_picture(m, random_operand(m, want_of(m, OP_window)), chance(m, 20));
    Type to = type_of(m, a);
    int64_t stride[2], dilation[2], before[2];
    for (int k = 0; k < 2; k++) {
        stride[k] = 1 + below(m, 3);
        dilation[k] = 1 + below(m, 2);
        before[k] = (int)below(m, 6) - 2;
        to.dim[1 + k] = 1 + below(m, (uint32_t)(to.dim[1 + k] < 20 ? to.dim[1 + k] + 3 : 20));
        if (to.dim[3 + k] == 1) to.dim[3 + k] = 1 + below(m, 4);
    }
    if (!random_fits(m, to)) return a;
    NodeId seen = build_window(m->g, a, to, stride, dilation, before, chance(m, 50) ? 0 : random_constant(m, to.dtype));
    Dim rows = dim_mul(to.dim[0], to.dim[1] * to.dim[2]);
    return chance(m, 50) ? seen : build_reshape(m->g, seen, 2, (Dim[]){rows, to.dim[3] * to.dim[4] * to.dim[5]});
}

/* Half of them with their taps added up, as gradients are. */
static NodeId add_unwindow(Maker *m) {
    NodeId a = as_picture(m, random_operand(m, want_of(m, OP_unwindow)), true);
    Type to = type_of(m, a);
    int64_t stride[2], dilation[2], before[2];
    for (int k = 0; k < 2; k++) {
        stride[k] = 1 + below(m, 3);
        dilation[k] = 1 + below(m, 2);
        before[k] = (int)below(m, 6) - 2;
        to.dim[1 + k] = 1 + below(m, (uint32_t)(to.dim[1 + k] < 20 ? to.dim[1 + k] * stride[k] + 3 : 20));
    }
    if (!random_fits(m, to)) return a;
    NodeId back = build_unwindow(m->g, a, to, stride, dilation, before);
    return chance(m, 50) || !is_number(to.dtype) ? back : build_sum(m->g, random_tamed(m, back), 1u << 3 | 1u << 4);
}

/* Positions of any kind in an axis of `size` elements, most of them inside: an axis is often walked backwards, in
 * steps, or without order. */
static NodeId random_places(Maker *m, Type type, uint32_t axis, int64_t size) {
    NodeId place = build_iota(m->g, type, axis);
    if (chance(m, 40)) place = build_binary(m->g, OP_mul, place, build_like(m->g, place, (int)below(m, 7) - 3));
    if (chance(m, 40)) place = build_binary(m->g, OP_add, place, build_like(m->g, place, (double)(size / 2)));
    if (chance(m, 60)) {
        Want whole = {.dtypes = 1u << DTYPE_i32, .untrained = true};
        NodeId any = random_operand_like(m, type, whole), mask = build_like(m->g, any, size < 64 ? 15 : 127);
        place = build_binary(m->g, OP_xor, place, build_binary(m->g, OP_and, any, mask));
    }
    return place;
}

/* As many positions along the axis as one likes, or as the batch says. */
static Type type_of_places(Maker *m, Type type, uint32_t axis) {
    type.dtype = DTYPE_i32;
    type.dim[axis] = 1;
    bool open = m->options.batch && !type_has_batch(type) && chance(m, 20);
    type.dim[axis] = open ? -1 - (Dim)below(m, 2) : 1 + below(m, chance(m, 50) ? 9 : 40);
    return type;
}

static NodeId add_gather(Maker *m) {
    Want want = want_of(m, OP_gather);
    want.least_rank = 1;
    NodeId a = random_operand(m, want);
    uint32_t axis = below(m, type_of(m, a).rank);
    int64_t size = type_of(m, a).dim[axis];
    if (size < 0) return a;
    Type type = type_of_places(m, type_of(m, a), axis);
    if (!random_fits(m, type)) return a;
    return build_gather(m->g, a, random_places(m, type, axis, size), axis);
}

/* Half of them by rows: one position for all that stands behind the axis. */
static NodeId add_scatter(Maker *m) {
    Want want = want_of(m, OP_scatter_add);
    want.least_rank = 1;
    NodeId base = random_tamed(m, random_operand(m, want));
    Type whole = type_of(m, base);
    uint32_t axis = below(m, whole.rank);
    int64_t size = whole.dim[axis];
    if (size < 0) return base;
    Type type = type_of_places(m, whole, axis), few = type;
    if (!random_fits(m, type)) return base;
    for (uint32_t i = axis + 1; i < type.rank && chance(m, 70); i++) few.dim[i] = 1;
    NodeId place = build_broadcast(m->g, random_places(m, few, axis, size), type);
    NodeId updates = random_tamed(m, random_operand_like(m, type_with_dtype(type, whole.dtype), want));
    if (chance(m, 50)) base = build_like(m->g, base, 0);
    return build_scatter_add(m->g, base, place, updates, axis);
}

/* Not every call adds its operation: a shape may be too large, a permutation may change nothing. */
static NodeId add_operation(Maker *m, OpKind op) {
    switch (op) {
    case OP_input: return random_input(m, random_shape(m, random_dtype(m)));
    case OP_constant:
    case OP_iota: return random_leaf(m, random_shape(m, random_dtype(m)));
    case OP_random: return add_random(m);
    case OP_neg:
    case OP_abs:
    case OP_exp:
    case OP_tanh:
    case OP_sigmoid:
    case OP_erf:
    case OP_sin:
    case OP_cos:
    case OP_not:
    case OP_stop_gradient: return add_unary(m, op);
    case OP_sign:
    case OP_floor: return build_unary(m->g, op, random_operand(m, want_of(m, op)));
    case OP_log:
    case OP_sqrt: return build_unary(m->g, op, random_positive(m, random_operand(m, want_of(m, op)), 0.5));
    case OP_div: {
        NodeId a = random_tamed(m, random_operand(m, want_of(m, op)));
        return build_binary(m->g, op, a,
                            random_positive(m, random_operand_like(m, type_of(m, a), want_of(m, op)), 0.5));
    }
    case OP_cast: return add_cast(m);
    case OP_add:
    case OP_sub:
    case OP_mul:
    case OP_max:
    case OP_min:
    case OP_and:
    case OP_or:
    case OP_xor: return add_binary(m, op);
    case OP_less:
    case OP_equal: return add_compare(m, op);
    case OP_shift_left:
    case OP_shift_right: return add_shift(m, op);
    case OP_select: return add_select(m);
    case OP_broadcast: return add_broadcast(m);
    case OP_reshape: return add_reshape(m);
    case OP_transpose: return add_transpose(m);
    case OP_slice: return add_slice(m);
    case OP_pad: return add_pad(m);
    case OP_concat: return add_concat(m);
    case OP_window: return add_window(m);
    case OP_unwindow: return add_unwindow(m);
    case OP_gather: return add_gather(m);
    case OP_scatter_add: return add_scatter(m);
    case OP_sum:
    case OP_reduce_max: return add_reduction(m, op);
    case OP_argmax: return add_argmax(m);
    case OP_matmul: return add_matmul(m);
    case OP_attention_norm:
    case OP_attention:
    case OP_attention_dq:
    case OP_attention_dk:
    case OP_attention_dv: return add_attention(m, op);
    case OP_gradient: return NO_NODE; /* see add_gradients */
    }
    return NO_NODE;
}

static bool is_integer_op(OpKind op) { return !(random_dtypes(op) & FLOATS) && op != OP_not && op != OP_and; }

/* ---- outputs ---- */

/* The mean of all f32 values that nothing uses, so that each has a share in the loss. */
static NodeId add_loss(Maker *m) {
    NodeId loss = build_constant(m->g, type_scalar(DTYPE_f32), 0);
    uint32_t *users = graph_count_users(m->g, m->g->arena), count = m->g->count;
    for (NodeId id = 0; id < count; id++) {
        Type type = type_of(m, id);
        if (users[id] || type.dtype != DTYPE_f32) continue;
        NodeId all = build_sum(m->g, random_tamed(m, id), (1u << type.rank) - 1);
        loss = build_binary(m->g, OP_add, loss, build_drop_axes(m->g, all, (1u << type.rank) - 1));
    }
    return loss;
}

static void add_gradients(Maker *m) {
    uint32_t count = m->g->count;
    NodeId loss = add_loss(m);
    graph_add_output(m->g, "loss", loss, -1);
    for (NodeId id = 0; id < count; id++) {
        const Node node = m->g->nodes[id];
        bool trained = node.op == OP_input && m->g->inputs[node.attr.index].kind == INPUT_parameter;
        if (!trained || !random_fact(m, loss).trained) continue;
        NodeId step = build_binary(m->g, OP_mul, build_gradient(m->g, loss, id), build_like(m->g, id, 0.125));
        NodeId next = build_binary(m->g, OP_sub, id, step);
        graph_add_output(m->g, m->g->inputs[node.attr.index].name, next, (int32_t)node.attr.index);
    }
}

/* A parameter or state that this value may become, and that is not updated yet; or -1. */
static int32_t find_updated(Maker *m, Type type) {
    for (uint32_t i = 0; i < m->g->input_count; i++) {
        bool taken = m->g->inputs[i].kind == INPUT_data || !type_equal(m->g->inputs[i].type, type);
        for (uint32_t o = 0; o < m->g->output_count; o++) taken |= m->g->outputs[o].updates == (int32_t)i;
        if (!taken) return (int32_t)i;
    }
    return -1;
}

static void add_outputs(Maker *m) {
    uint32_t *users = graph_count_users(m->g, m->g->arena);
    for (NodeId id = 0; id < m->g->count; id++) {
        bool is_leaf = op_info[m->g->nodes[id].op].class == CLASS_leaf;
        if ((users[id] || is_leaf) && !chance(m, 3)) continue;
        int32_t updates = m->options.gradients ? -1 : find_updated(m, type_of(m, id));
        const char *name =
            updates < 0 ? arena_printf(m->g->arena, "out%u", m->g->output_count) : m->g->inputs[updates].name;
        graph_add_output(m->g, name, id, updates);
    }
}

Graph *random_graph(uint64_t seed, RandomOptions options) {
    if (!options.operations) options.operations = 20;
    if (!options.elements) options.elements = 2000;
    Maker m = {.g = graph_new(NULL), .state = seed, .options = options};
    m.g->name = arena_printf(m.g->arena, "random.%llu", (unsigned long long)seed);
    for (uint32_t i = 0; i < options.operations; i++) {
        OpKind op = (OpKind)below(&m, OP_COUNT);
        if (options.floats_only && is_integer_op(op)) continue;
        if (options.gradients && attention_is_gradient(op)) continue; /* they have none themselves */
        m.g->origin = arena_printf(m.g->arena, "step[%u]", i);
        add_operation(&m, op);
    }
    m.g->origin = NULL;
    if (options.gradients) add_gradients(&m);
    add_outputs(&m);
    if (!m.g->output_count)
        graph_add_output(m.g, "out0", m.g->count ? m.g->count - 1 : random_input(&m, type_scalar(DTYPE_f32)), -1);
    return m.g;
}

static double random_value(uint64_t *state, DType dtype) {
    switch (dtype) {
    case DTYPE_f32:
    case DTYPE_f16: return ((int)random_below(state, 513) - 256) / 256.0;
    case DTYPE_bf16: return ((int)random_below(state, 257) - 128) / 128.0;
    case DTYPE_i8: return (int)random_below(state, 256) - 128;
    case DTYPE_u8: return random_below(state, 256);
    case DTYPE_i32:
    case DTYPE_i64: return (int)random_below(state, 201) - 100;
    case DTYPE_bool: return random_below(state, 2);
    }
    return 0;
}

double **random_inputs(const Graph *graph, int64_t n, uint64_t seed, Arena *arena) {
    double **values = arena_array(arena, double *, graph->input_count);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        Type type = graph->inputs[i].type;
        int64_t elements = dim_at(type_elements(type), n);
        values[i] = arena_array(arena, double, elements);
        for (int64_t e = 0; e < elements; e++) values[i][e] = random_value(&seed, type.dtype);
    }
    return values;
}
