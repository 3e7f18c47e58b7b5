/* Operands of random graphs: shapes with awkward sizes, new leaves, and nodes that are there already, chosen or scaled
 * down by what is known of them. */
#include "tests/random_operands.h"
#include "ir/build.h"

#include <math.h>

/* ---- types and leaves ---- */

bool random_fits(const Maker *m, Type type) {
    if (type_problem(type)) return false;
    return dim_at(type_elements(type), 9) <= m->options.elements;
}

Type random_shape(Maker *m, DType dtype) {
    static const int64_t sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 64, 65};
    static const uint32_t ranks[] = {0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 6};
    Type type = {.dtype = dtype};
    do {
        type.rank = ranks[below(m, sizeof ranks / sizeof *ranks)];
        for (uint32_t i = 0; i < MAX_RANK; i++)
            type.dim[i] = i < type.rank ? sizes[below(m, sizeof sizes / sizeof *sizes)] : 0;
        if (m->options.batch && type.rank && chance(m, 50))
            type.dim[below(m, 3) ? 0 : below(m, type.rank)] = chance(m, 80) ? -1 : -2;
    } while (!random_fits(m, type));
    return type;
}

DType random_dtype(Maker *m) {
    if (m->options.floats_only || chance(m, 60)) return DTYPE_f32;
    return (DType)below(m, DTYPE_COUNT);
}

NodeId random_input(Maker *m, Type type) {
    InputKind kind = type_has_batch(type) || chance(m, 50) ? INPUT_data : chance(m, 70) ? INPUT_parameter : INPUT_state;
    bool is_float = type.dtype == DTYPE_f32;
    Init init = kind == INPUT_data || !is_float ? (Init){0} : (Init){INIT_uniform, -1, 1};
    char *name = arena_printf(m->g->arena, "in%u", m->g->input_count);
    return build_input(m->g, name, is_float ? kind : INPUT_data, type, init);
}

double random_constant(Maker *m, DType dtype) {
    if (dtype == DTYPE_bool) return below(m, 2);
    if (dtype == DTYPE_u8) return below(m, 256);
    return dtype_info[dtype].is_float ? ((int)below(m, 17) - 8) / 4.0 : (int)below(m, 17) - 8;
}

NodeId random_leaf(Maker *m, Type type) {
    if (chance(m, 25)) return build_constant(m->g, type, random_constant(m, type.dtype));
    if (chance(m, 20) && type.rank && is_number(type.dtype)) return build_iota(m->g, type, below(m, type.rank));
    return random_input(m, type);
}

/* ---- operands ---- */

uint32_t random_dtypes(OpKind op) {
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
    Fact known = random_fact(m, id);
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
    if (!want.untrained) return random_leaf(m, type);
    return build_constant(m->g, type, random_constant(m, type.dtype));
}

NodeId random_operand(Maker *m, Want want) {
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

NodeId random_operand_like(Maker *m, Type type, Want want) {
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
    return random_leaf(m, type);
}

NodeId random_tamed(Maker *m, NodeId a) {
    Fact known = random_fact(m, a);
    DType dtype = type_of(m, a).dtype;
    if (dtype == DTYPE_f32 && known.bound > 8)
        return build_binary(m->g, OP_mul, a, build_like(m->g, a, ldexp(1, -ilogb(known.bound))));
    if (dtype == DTYPE_i64 && known.bound > 0x1p20) return build_cast(m->g, build_cast(m->g, a, DTYPE_i8), DTYPE_i64);
    return a;
}

NodeId random_positive(Maker *m, NodeId a, double least) {
    NodeId size = build_unary(m->g, OP_abs, random_tamed(m, a));
    return build_binary(m->g, OP_add, size, build_like(m->g, size, least));
}
