/* Grows a graph by one random operation after another.
 *
 * What is known of each node's values (a bound, and whether they are multiples of a power of two that single
 * precision holds exactly) follows from its operands' facts; operands are scaled down or chosen by it. An operation
 * that is new in the table is asked for twice by the compiler: what it makes of its operands' facts, and how it is
 * built from random operands. */
#include "tests/random_graph.h"
#include "ir/attention.h"
#include "ir/build.h"

#include <math.h>

enum { INEXACT = -1, LARGEST_BATCH = 129 };

typedef struct {
    double bound; /* of the absolute value */
    int fraction; /* every value is a multiple of 2^-fraction, and computed without rounding; or INEXACT */
    bool trained; /* depends on a parameter */
} Fact;

typedef struct {
    Graph *g;
    Fact *facts; /* for each node */
    uint32_t fact_count, fact_capacity;
    uint64_t state;
    RandomOptions options;
} Maker;

uint64_t random_bits(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint32_t random_below(uint64_t *state, uint32_t limit) { return (uint32_t)((random_bits(state) >> 32) * limit >> 32); }

static uint32_t below(Maker *m, uint32_t limit) { return random_below(&m->state, limit); }
static bool chance(Maker *m, uint32_t percent) { return below(m, 100) < percent; }
static Type type_of(const Maker *m, NodeId id) { return m->g->nodes[id].type; }

/* ---- facts ---- */

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

static double largest_of(DType dtype) {
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

/* a and b: facts of the operands; of those that the operation does not have, zero. */
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
    case OP_cast: return (Fact){fmin(a.bound, largest_of(node->type.dtype)), a.fraction, trained};
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
        if (!dtype_info[dtype].is_float) fact = (Fact){fmin(fact.bound, largest_of(dtype)), 0, fact.trained};
        m->facts = arena_grow(m->g->arena, m->facts, m->fact_count, &m->fact_capacity, sizeof fact);
        m->facts[m->fact_count++] = fact;
    }
}

static Fact fact(Maker *m, NodeId id) {
    learn(m);
    return m->facts[id];
}

/* ---- types and leaves ---- */

static bool small_enough(const Maker *m, Type type) {
    if (type_problem(type)) return false;
    return dim_at(type_elements(type), 9) <= m->options.elements;
}

static Type random_shape(Maker *m, DType dtype) {
    static const int64_t sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 64, 65};
    static const uint32_t ranks[] = {0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 6};
    Type type = {.dtype = dtype};
    do {
        type.rank = ranks[below(m, sizeof ranks / sizeof *ranks)];
        for (uint32_t i = 0; i < MAX_RANK; i++)
            type.dim[i] = i < type.rank ? sizes[below(m, sizeof sizes / sizeof *sizes)] : 0;
        if (m->options.batch && type.rank && chance(m, 50))
            type.dim[below(m, 3) ? 0 : below(m, type.rank)] = chance(m, 80) ? -1 : -2;
    } while (!small_enough(m, type));
    return type;
}

static DType random_dtype(Maker *m) {
    if (m->options.floats_only || chance(m, 60)) return DTYPE_f32;
    return (DType)below(m, DTYPE_COUNT);
}

static NodeId new_input(Maker *m, Type type) {
    InputKind kind = type_has_batch(type) || chance(m, 50) ? INPUT_data : chance(m, 70) ? INPUT_parameter : INPUT_state;
    bool is_float = type.dtype == DTYPE_f32;
    Init init = kind == INPUT_data || !is_float ? (Init){0} : (Init){INIT_uniform, -1, 1};
    char *name = arena_printf(m->g->arena, "in%u", m->g->input_count);
    return build_input(m->g, name, is_float ? kind : INPUT_data, type, init);
}

/* A value that every element type holds exactly, in quarters for floats. */
static double random_constant(Maker *m, DType dtype) {
    if (dtype == DTYPE_bool) return below(m, 2);
    if (dtype == DTYPE_u8) return below(m, 256);
    return dtype_info[dtype].is_float ? ((int)below(m, 17) - 8) / 4.0 : (int)below(m, 17) - 8;
}

static bool is_number(DType dtype) { return dtype == DTYPE_f32 || dtype == DTYPE_i32 || dtype == DTYPE_i64; }

static NodeId new_leaf(Maker *m, Type type) {
    if (chance(m, 25)) return build_constant(m->g, type, random_constant(m, type.dtype));
    if (chance(m, 20) && type.rank && is_number(type.dtype)) return build_iota(m->g, type, below(m, type.rank));
    return new_input(m, type);
}

/* ---- operands ---- */

typedef struct {
    uint32_t dtypes; /* a bit for each that will do */
    uint32_t least_rank;
    bool exact, untrained;
} Want;

enum {
    FLOATS = 1u << DTYPE_f32,
    INTEGERS = 1u << DTYPE_i32 | 1u << DTYPE_i64,
    LOGIC = INTEGERS | 1u << DTYPE_bool,
    NUMBERS = INTEGERS | FLOATS,
    ANY = (1u << DTYPE_COUNT) - 1
};

static uint32_t dtypes_of(OpKind op) {
    switch (op_info[op].domain) {
    case DOMAIN_any:
    case DOMAIN_special: return ANY;
    case DOMAIN_number: return NUMBERS;
    case DOMAIN_float: return FLOATS;
    case DOMAIN_integer: return INTEGERS;
    case DOMAIN_logic: return LOGIC;
    }
    return ANY;
}

static bool will_do(Maker *m, NodeId id, Want want) {
    Fact known = fact(m, id);
    Type type = type_of(m, id);
    bool tame = type.dtype == DTYPE_f32 ? isfinite(known.bound) : true;
    return tame && want.dtypes >> type.dtype & 1 && type.rank >= want.least_rank &&
           (!want.exact || known.fraction != INEXACT) && (!want.untrained || !known.trained);
}

static DType one_of(Maker *m, uint32_t dtypes) {
    if (dtypes >> DTYPE_f32 & 1 && chance(m, 60)) return DTYPE_f32;
    DType dtype;
    do dtype = (DType)below(m, DTYPE_COUNT);
    while (!(dtypes >> dtype & 1));
    return dtype;
}

static NodeId new_operand(Maker *m, Want want) {
    Type type;
    do type = random_shape(m, one_of(m, want.dtypes));
    while (type.rank < want.least_rank);
    if (!want.untrained) return new_leaf(m, type);
    return build_constant(m->g, type, random_constant(m, type.dtype));
}

/* A node that is there, rather a late one, or a new leaf. */
static NodeId pick(Maker *m, Want want) {
    for (int i = 0; i < 12 && m->g->count; i++) {
        uint32_t back = below(m, m->g->count), nearer = below(m, m->g->count);
        NodeId id = m->g->count - 1 - (back < nearer ? back : nearer);
        if (will_do(m, id, want)) return id;
    }
    return new_operand(m, want);
}

static bool can_repeat(Type from, Type to) {
    if (from.dtype != to.dtype || from.rank > to.rank) return false;
    for (uint32_t i = 1; i <= from.rank; i++) {
        Dim have = from.dim[from.rank - i];
        if (have != 1 && have != to.dim[to.rank - i]) return false;
    }
    return true;
}

/* An operand of this very type: one that is there, one that can be repeated to it, or a new leaf. */
static NodeId pick_like(Maker *m, Type type, Want want) {
    NodeId repeated = NO_NODE;
    uint32_t start = m->g->count ? below(m, m->g->count) : 0;
    for (uint32_t i = 0; i < m->g->count && chance(m, 97); i++) {
        NodeId id = (start + i) % m->g->count;
        if (!will_do(m, id, want)) continue;
        if (type_equal(type_of(m, id), type)) return id;
        if (can_repeat(type_of(m, id), type)) repeated = id;
    }
    if (repeated != NO_NODE && chance(m, 70)) return build_broadcast(m->g, repeated, type);
    if (want.untrained) return build_constant(m->g, type, random_constant(m, type.dtype));
    return new_leaf(m, type);
}

/* Scaled so that products and sums stay small: floats by a power of two, integers that would leave 2^53 by a narrow
 * cast. */
static NodeId tame(Maker *m, NodeId a) {
    Fact known = fact(m, a);
    DType dtype = type_of(m, a).dtype;
    if (dtype == DTYPE_f32 && known.bound > 8)
        return build_binary(m->g, OP_mul, a, build_like(m->g, a, ldexp(1, -ilogb(known.bound))));
    if (dtype == DTYPE_i64 && known.bound > 0x1p20) return build_cast(m->g, build_cast(m->g, a, DTYPE_i8), DTYPE_i64);
    return a;
}

/* |a| + least */
static NodeId positive(Maker *m, NodeId a, double least) {
    NodeId size = build_unary(m->g, OP_abs, tame(m, a));
    return build_binary(m->g, OP_add, size, build_like(m->g, size, least));
}

/* ---- operations ---- */

static bool jumps(OpKind op) {
    return op == OP_floor || op == OP_sign || op == OP_less || op == OP_equal || op == OP_cast;
}

static bool has_gradient(OpKind op) { return op_info[op].gradient[0] != 'n' || op_info[op].gradient[1] != 'o'; }

static Want want_of(const Maker *m, OpKind op) {
    uint32_t dtypes = dtypes_of(op);
    if (m->options.floats_only && dtypes & FLOATS) dtypes = FLOATS;
    return (Want){.dtypes = dtypes,
                  .exact = jumps(op),
                  .untrained = m->options.gradients && (!has_gradient(op) || op == OP_cast)};
}

static NodeId add_unary(Maker *m, OpKind op) { return build_unary(m->g, op, tame(m, pick(m, want_of(m, op)))); }

static NodeId add_binary(Maker *m, OpKind op) {
    Want want = want_of(m, op);
    NodeId a = tame(m, pick(m, want));
    want.dtypes = 1u << type_of(m, a).dtype;
    NodeId b = tame(m, pick_like(m, type_of(m, a), want));
    return chance(m, 50) ? build_binary(m->g, op, a, b) : build_binary(m->g, op, b, a);
}

/* Inexact after all: tame() may have scaled one operand into another range of exact values. */
static NodeId add_compare(Maker *m, OpKind op) {
    Want want = want_of(m, op);
    NodeId a = pick(m, want);
    want.dtypes = 1u << type_of(m, a).dtype;
    NodeId b = pick_like(m, type_of(m, a), want);
    return build_binary(m->g, op, a, b);
}

static NodeId add_shift(Maker *m, OpKind op) {
    NodeId a = tame(m, pick(m, want_of(m, op)));
    Type type = type_of(m, a);
    if (op == OP_shift_right && type.dtype == DTYPE_i64) a = build_unary(m->g, OP_abs, a);
    NodeId by = pick_like(m, type, (Want){.dtypes = 1u << type.dtype});
    return build_binary(m->g, op, a, build_binary(m->g, OP_and, by, build_like(m->g, by, 7)));
}

static NodeId add_select(Maker *m) {
    Want want = want_of(m, OP_select);
    NodeId yes = pick(m, want);
    want.dtypes = 1u << type_of(m, yes).dtype;
    NodeId no = pick_like(m, type_of(m, yes), want);
    Want bools = {.dtypes = 1u << DTYPE_bool, .untrained = m->options.gradients};
    return build_select(m->g, pick_like(m, type_with_dtype(type_of(m, yes), DTYPE_bool), bools), yes, no);
}

static NodeId add_cast(Maker *m) {
    NodeId a = pick(m, want_of(m, OP_cast));
    DType to = random_dtype(m);
    if (to == type_of(m, a).dtype) to = to == DTYPE_f32 ? DTYPE_i32 : DTYPE_f32;
    if (m->options.floats_only) to = to == DTYPE_f32 ? to : DTYPE_bool;
    if (to == DTYPE_f16 && fact(m, a).bound > largest_of(to)) to = DTYPE_bf16;
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
    NodeId a = pick(m, want_of(m, OP_broadcast));
    Type type = type_of(m, a);
    for (uint32_t i = 0; i < type.rank; i++) {
        Type wider = type;
        wider.dim[i] = 1 + below(m, 9);
        if (type.dim[i] == 1 && small_enough(m, wider)) type = wider;
    }
    if (type.rank < MAX_RANK && chance(m, 40)) {
        Type wider = {.dtype = type.dtype, .rank = type.rank + 1, .dim = {1 + below(m, 5)}};
        for (uint32_t i = 0; i < type.rank; i++) wider.dim[i + 1] = type.dim[i];
        if (small_enough(m, wider)) type = wider;
    }
    return build_broadcast(m->g, a, type);
}

/* Splits or joins axes: each prime factor of the size goes to a random axis of the new shape. */
static NodeId add_reshape(Maker *m) {
    NodeId a = pick(m, want_of(m, OP_reshape));
    Dim elements = type_elements(type_of(m, a)), dim[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    int64_t left = elements < 0 ? -elements : elements;
    uint32_t rank = left == 1 && elements > 0 ? below(m, 4) : 1 + below(m, MAX_RANK);
    for (int64_t factor = 2; left > 1; factor++)
        for (; left % factor == 0; left /= factor) dim[below(m, rank)] *= factor;
    if (elements < 0) dim[below(m, rank)] *= -1;
    return build_reshape(m->g, a, rank, dim);
}

static NodeId add_transpose(Maker *m) {
    NodeId a = pick(m, want_of(m, OP_transpose));
    uint32_t rank = type_of(m, a).rank, permutation[MAX_RANK];
    for (uint32_t i = 0; i < rank; i++) {
        uint32_t other = below(m, i + 1);
        permutation[i] = i != other ? permutation[other] : i;
        permutation[other] = i;
    }
    return build_transpose(m->g, a, permutation);
}

static NodeId add_slice(Maker *m) {
    NodeId a = pick(m, want_of(m, OP_slice));
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
    NodeId a = pick(m, want_of(m, OP_pad));
    Type to = type_of(m, a);
    int64_t before[MAX_RANK] = {0};
    for (uint32_t i = 0; i < to.rank; i++) {
        Type wider = to;
        if (to.dim[i] < 0 || chance(m, 40)) continue;
        before[i] = below(m, 4);
        wider.dim[i] += before[i] + below(m, 4);
        if (small_enough(m, wider))
            to = wider;
        else
            before[i] = 0;
    }
    return build_pad(m->g, a, to, before, random_constant(m, to.dtype));
}

static NodeId add_concat(Maker *m) {
    Want want = want_of(m, OP_concat);
    want.least_rank = 1;
    NodeId a = pick(m, want);
    Type other = type_of(m, a), result = other;
    uint32_t axis = below(m, other.rank);
    if (other.dim[axis] > 0) other.dim[axis] = 1 + below(m, 9);
    result.dim[axis] += other.dim[axis];
    if (!small_enough(m, result)) return a;
    want.dtypes = 1u << other.dtype;
    return build_concat(m->g, a, pick_like(m, other, want), axis);
}

static NodeId add_reduction(Maker *m, OpKind op) {
    Want want = want_of(m, op);
    want.least_rank = 1;
    NodeId a = tame(m, pick(m, want));
    uint32_t rank = type_of(m, a).rank, axes = chance(m, 50) ? 1u << below(m, rank) : 1 + below(m, (1u << rank) - 1);
    return op == OP_sum ? build_sum(m->g, a, axes) : build_reduce_max(m->g, a, axes);
}

static NodeId add_matmul(Maker *m) {
    NodeId a = tame(m, pick(m, (Want){.dtypes = FLOATS, .least_rank = 2}));
    Type from = type_of(m, a), other = from, result = from;
    uint32_t row = from.rank - 2, column = from.rank - 1;
    other.dim[row] = from.dim[column];
    other.dim[column] = 1 + below(m, chance(m, 50) ? 9 : 40);
    result.dim[column] = other.dim[column];
    if (!small_enough(m, other) || !small_enough(m, result)) return a;
    return build_matmul(m->g, a, tame(m, pick_like(m, other, (Want){.dtypes = FLOATS})));
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
    NodeId q = as_heads(m, tame(m, pick(m, (Want){.dtypes = FLOATS})));
    Type type = type_of(m, q), keys = type, norms = type_make(DTYPE_f32, 3, type.dim);
    keys.dim[1] = 1 + below(m, chance(m, 50) ? 9 : 40);
    if (!small_enough(m, keys)) return q;
    NodeId k = tame(m, pick_like(m, keys, (Want){.dtypes = FLOATS}));
    NodeId v = tame(m, pick_like(m, keys, (Want){.dtypes = FLOATS}));
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
    node.in[ATTENTION_dy] = tame(m, pick_like(m, type, (Want){.dtypes = FLOATS}));
    node.in[ATTENTION_delta] = tame(m, pick_like(m, norms, (Want){.dtypes = FLOATS}));
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
    NodeId a = as_picture(m, pick(m, want_of(m, OP_window)), chance(m, 20));
    Type to = type_of(m, a);
    int64_t stride[2], dilation[2], before[2];
    for (int k = 0; k < 2; k++) {
        stride[k] = 1 + below(m, 3);
        dilation[k] = 1 + below(m, 2);
        before[k] = (int)below(m, 6) - 2;
        to.dim[1 + k] = 1 + below(m, (uint32_t)(to.dim[1 + k] < 20 ? to.dim[1 + k] + 3 : 20));
        if (to.dim[3 + k] == 1) to.dim[3 + k] = 1 + below(m, 4);
    }
    if (!small_enough(m, to)) return a;
    NodeId seen = build_window(m->g, a, to, stride, dilation, before, chance(m, 50) ? 0 : random_constant(m, to.dtype));
    Dim rows = dim_mul(to.dim[0], to.dim[1] * to.dim[2]);
    return chance(m, 50) ? seen : build_reshape(m->g, seen, 2, (Dim[]){rows, to.dim[3] * to.dim[4] * to.dim[5]});
}

/* Half of them with their taps added up, as gradients are. */
static NodeId add_unwindow(Maker *m) {
    NodeId a = as_picture(m, pick(m, want_of(m, OP_unwindow)), true);
    Type to = type_of(m, a);
    int64_t stride[2], dilation[2], before[2];
    for (int k = 0; k < 2; k++) {
        stride[k] = 1 + below(m, 3);
        dilation[k] = 1 + below(m, 2);
        before[k] = (int)below(m, 6) - 2;
        to.dim[1 + k] = 1 + below(m, (uint32_t)(to.dim[1 + k] < 20 ? to.dim[1 + k] * stride[k] + 3 : 20));
    }
    if (!small_enough(m, to)) return a;
    NodeId back = build_unwindow(m->g, a, to, stride, dilation, before);
    return chance(m, 50) || !is_number(to.dtype) ? back : build_sum(m->g, tame(m, back), 1u << 3 | 1u << 4);
}

/* Positions of any kind in an axis of `size` elements, most of them inside: an axis is often walked backwards, in
 * steps, or without order. */
static NodeId random_places(Maker *m, Type type, uint32_t axis, int64_t size) {
    NodeId place = build_iota(m->g, type, axis);
    if (chance(m, 40)) place = build_binary(m->g, OP_mul, place, build_like(m->g, place, (int)below(m, 7) - 3));
    if (chance(m, 40)) place = build_binary(m->g, OP_add, place, build_like(m->g, place, (double)(size / 2)));
    if (chance(m, 60)) {
        Want whole = {.dtypes = 1u << DTYPE_i32, .untrained = true};
        NodeId any = pick_like(m, type, whole), mask = build_like(m->g, any, size < 64 ? 15 : 127);
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
    NodeId a = pick(m, want);
    uint32_t axis = below(m, type_of(m, a).rank);
    int64_t size = type_of(m, a).dim[axis];
    if (size < 0) return a;
    Type type = type_of_places(m, type_of(m, a), axis);
    if (!small_enough(m, type)) return a;
    return build_gather(m->g, a, random_places(m, type, axis, size), axis);
}

/* Half of them by rows: one position for all that stands behind the axis. */
static NodeId add_scatter(Maker *m) {
    Want want = want_of(m, OP_scatter_add);
    want.least_rank = 1;
    NodeId base = tame(m, pick(m, want));
    Type whole = type_of(m, base);
    uint32_t axis = below(m, whole.rank);
    int64_t size = whole.dim[axis];
    if (size < 0) return base;
    Type type = type_of_places(m, whole, axis), few = type;
    if (!small_enough(m, type)) return base;
    for (uint32_t i = axis + 1; i < type.rank && chance(m, 70); i++) few.dim[i] = 1;
    NodeId place = build_broadcast(m->g, random_places(m, few, axis, size), type);
    NodeId updates = tame(m, pick_like(m, type_with_dtype(type, whole.dtype), want));
    if (chance(m, 50)) base = build_like(m->g, base, 0);
    return build_scatter_add(m->g, base, place, updates, axis);
}

/* Not every call adds its operation: a shape may be too large, a permutation may change nothing. */
static NodeId add_operation(Maker *m, OpKind op) {
    switch (op) {
    case OP_input: return new_input(m, random_shape(m, random_dtype(m)));
    case OP_constant:
    case OP_iota: return new_leaf(m, random_shape(m, random_dtype(m)));
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
    case OP_floor: return build_unary(m->g, op, pick(m, want_of(m, op)));
    case OP_log:
    case OP_sqrt: return build_unary(m->g, op, positive(m, pick(m, want_of(m, op)), 0.5));
    case OP_div: {
        NodeId a = tame(m, pick(m, want_of(m, op)));
        return build_binary(m->g, op, a, positive(m, pick_like(m, type_of(m, a), want_of(m, op)), 0.5));
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

static bool is_integer_op(OpKind op) { return !(dtypes_of(op) & FLOATS) && op != OP_not && op != OP_and; }

/* ---- outputs ---- */

/* The mean of all f32 values that nothing uses, so that each has a share in the loss. */
static NodeId add_loss(Maker *m) {
    NodeId loss = build_constant(m->g, type_scalar(DTYPE_f32), 0);
    uint32_t *users = graph_count_users(m->g, m->g->arena), count = m->g->count;
    for (NodeId id = 0; id < count; id++) {
        Type type = type_of(m, id);
        if (users[id] || type.dtype != DTYPE_f32) continue;
        NodeId all = build_sum(m->g, tame(m, id), (1u << type.rank) - 1);
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
        if (!trained || !fact(m, loss).trained) continue;
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
        graph_add_output(m.g, "out0", m.g->count ? m.g->count - 1 : new_input(&m, type_scalar(DTYPE_f32)), -1);
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
