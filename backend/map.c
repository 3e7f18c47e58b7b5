/* Map kernels: one walk over an index space.
 *
 *   for each piece
 *     for each index of the parallel axes            (lanes over the last axis, if it is parallel)
 *       for each stage
 *         for each index of the reduced axes         (lanes over the last axis, if it is reduced)
 *           sum up the stage's reductions, store what needs no later stage
 *       store the values that have no reduced axes
 *
 * A stage holds the reductions whose operands need only earlier stages: softmax is max | sum of exp | quotient.
 * An argmax runs with a value and its position; where the maximum of the same elements is wanted, too, they share it.
 * Elementwise work is done again in each stage rather than stored: it is in registers or L1 anyway. Sums are kept in
 * `unroll` vectors, so that the order of additions follows from shape and machine alone.
 *
 * A last axis of 2 to 4 elements, as of colours, would fill no vector. Where nothing is reduced, lanes run along the
 * axis before it instead: the vectors of all colours are computed one after the other, then interleaved and stored. */
#include "backend/pull.h"

enum { MOST_UNROLL = 4 };

typedef struct {
    Pull *p;
    const Kernel *kernel;
    const Graph *body;
    const uint32_t *stage;          /* per node: the stage in which its value is complete */
    uint32_t stages;
    LLVMValueRef index[MAX_RANK];   /* where the loops stand */
    LLVMValueRef from[MAX_RANK], to[MAX_RANK];
    uint32_t width;                 /* lanes of full vectors */
    uint32_t most_unroll;
    uint32_t lanes, unroll;         /* of the code that is being emitted */
    LLVMValueRef mask;
    LLVMValueRef *sums;             /* [node * MOST_UNROLL + u]: memory of the running value */
    LLVMValueRef *results;          /* the same, finished */
    LLVMValueRef *largest;          /* the same of an argmax: memory of the element whose position the sum is */
    uint32_t now;                   /* stage that is being emitted */
    uint32_t colours;               /* size of a last axis that is interleaved, or 0 */
    NodeId condition;               /* what whole samples decide (decide.c), or NO_NODE */
} Map;

static bool has_lane_axis(const Map *m) { return m->kernel->grid.rank > 0; }
static uint32_t lane_axis(const Map *m) { return m->kernel->grid.rank - (m->colours ? 2 : 1); }
static bool is_reduced(const Map *m, uint32_t axis) { return m->kernel->reduced >> axis & 1; }
static bool lanes_are_reduced(const Map *m) { return has_lane_axis(m) && is_reduced(m, lane_axis(m)); }

static uint32_t sized_axes(const Type *type) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < type->rank; i++) count += type->dim[i] != 1;
    return count;
}

static bool is_full(const Map *m, NodeId id) { return sized_axes(&m->body->nodes[id].type) == m->kernel->grid.rank; }

/* Where a node of the group stands: its axes of a size other than 1 are the space's, in order. */
static Position position_of(const Map *m, NodeId id, uint32_t u) {
    const Type *type = &m->body->nodes[id].type;
    Position at = {.rank = type->rank, .lanes = 1};
    bool full = is_full(m, id);
    uint32_t axis = 0;
    for (uint32_t i = 0; i < type->rank; i++) {
        at.axis[i] = (Index){pull_i64(m->p, 0), 0, NULL};
        if (type->dim[i] == 1) continue;
        while (!full && is_reduced(m, axis)) axis++;
        at.axis[i].base = m->index[axis];
        if (axis == lane_axis(m) && m->lanes > 1) {
            at.lanes = m->lanes;
            at.mask = m->mask;
            at.axis[i].step = 1;
            at.axis[i].base = pull_add(m->p, m->index[axis], pull_i64(m->p, (int64_t)(u * m->lanes)));
        }
        axis++;
    }
    return at;
}

/* Reducing axes of size 1 is no work: such a node is pulled like a view. */
static bool is_reduction(const Map *m, NodeId id) { return kernel_reduces(m->kernel, id); }

static bool reduces_now(const Map *m, NodeId id) { return is_reduction(m, id) && m->stage[id] == m->now; }

static bool stores_now(const Map *m, uint32_t output) {
    NodeId id = m->body->outputs[output].node;
    return is_full(m, id) && m->stage[id] == m->now && !is_reduction(m, id);
}

static LLVMValueRef new_variable(Map *m, LLVMTypeRef type) {
    LLVMBuilderRef b = LLVMCreateBuilderInContext(m->p->e->context);
    LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(m->p->e->function);
    LLVMPositionBuilderBefore(b, LLVMGetFirstInstruction(entry));
    LLVMValueRef variable = LLVMBuildAlloca(b, type, "sum");
    LLVMDisposeBuilder(b);
    return variable;
}

/* What no element is below. */
static LLVMValueRef least(Map *m, DType dtype, uint32_t lanes) {
    LLVMTypeRef type = pull_type(m->p, dtype, 1);
    LLVMValueRef value = dtype == DTYPE_f32 ? LLVMConstReal(type, -__builtin_inf())
                                            : LLVMConstInt(type, 1ull << (dtype_info[dtype].bytes * 8 - 1), false);
    return pull_splat(m->p, value, lanes);
}

/* Positions are counted in whole lanes, and narrow only when they are known. */
static DType running_dtype(const Node *node) { return node->op == OP_argmax ? DTYPE_i32 : node->type.dtype; }

/* The value that changes nothing. */
static LLVMValueRef identity(Map *m, const Node *node, uint32_t lanes) {
    if (node->op == OP_reduce_max) return least(m, node->type.dtype, lanes);
    return LLVMConstNull(pull_type(m->p, running_dtype(node), lanes));
}

static uint32_t sum_lanes(const Map *m) { return has_lane_axis(m) ? (lanes_are_reduced(m) ? m->width : m->lanes) : 1; }
static uint32_t sum_count(const Map *m) { return lanes_are_reduced(m) ? m->most_unroll : m->unroll; }

static LLVMValueRef new_running(Map *m, LLVMValueRef value) {
    LLVMValueRef variable = new_variable(m, LLVMTypeOf(value));
    LLVMBuildStore(m->p->e->builder, value, variable);
    return variable;
}

/* The maximum of the elements whose positions `id` compares, if the kernel makes it, or NO_NODE. */
static NodeId maximum_beside(const Map *m, NodeId id) {
    const Node *argmax = &m->body->nodes[id];
    for (NodeId other = 0; other < m->body->count; other++) {
        const Node *node = &m->body->nodes[other];
        if (node->op == OP_reduce_max && node->in[0] == argmax->in[0] && node->attr.axes == argmax->attr.axes) return other;
    }
    return NO_NODE;
}

static bool is_argmax(const Map *m, NodeId id) { return m->body->nodes[id].op == OP_argmax; }

static void clear_sums(Map *m) {
    for (NodeId id = 0; id < m->body->count; id++)
        for (uint32_t u = 0; reduces_now(m, id) && u < sum_count(m); u++)
            m->sums[id * MOST_UNROLL + u] = new_running(m, identity(m, &m->body->nodes[id], sum_lanes(m)));
    for (NodeId id = 0; id < m->body->count; id++) {
        if (!reduces_now(m, id) || !is_argmax(m, id)) continue;
        NodeId beside = maximum_beside(m, id);
        DType dtype = m->body->nodes[m->body->nodes[id].in[0]].type.dtype;
        for (uint32_t u = 0; u < sum_count(m); u++)
            m->largest[id * MOST_UNROLL + u] = beside != NO_NODE ? m->sums[beside * MOST_UNROLL + u] : new_running(m, least(m, dtype, sum_lanes(m)));
    }
}

static void use_results(Map *m, uint32_t u) {
    for (NodeId id = 0; id < m->body->count; id++)
        if (is_reduction(m, id) && m->stage[id] < m->now) m->p->given[id] = m->results[id * MOST_UNROLL + (lanes_are_reduced(m) ? 0 : u)];
}

/* The operand's elements; where there is none, `none`. */
static LLVMValueRef elements_of(Map *m, NodeId operand, const Position *at, LLVMValueRef none) {
    LLVMValueRef value = pull_splat(m->p, pull_value(m->p, operand, at), sum_lanes(m));
    return m->mask && lanes_are_reduced(m) ? LLVMBuildSelect(m->p->e->builder, m->mask, value, none, "") : value;
}

static void add_to_sum(Map *m, NodeId id, uint32_t u) {
    Pull *p = m->p;
    const Node *node = &m->body->nodes[id];
    Position at = position_of(m, node->in[0], u);
    LLVMValueRef value = elements_of(m, node->in[0], &at, identity(m, node, sum_lanes(m)));
    LLVMValueRef *sum = &m->sums[id * MOST_UNROLL + u];
    LLVMValueRef before = LLVMBuildLoad2(p->e->builder, LLVMTypeOf(value), *sum, "");
    LLVMBuildStore(p->e->builder, pull_combine(p, node, before, value), *sum);
}

/* Which of its elements an argmax sees at a position: i32, for all lanes. */
static LLVMValueRef place_of(Map *m, const Node *argmax, const Position *at) {
    LLVMBuilderRef b = m->p->e->builder;
    const Type *from = &m->body->nodes[argmax->in[0]].type;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(m->p->e->context);
    LLVMValueRef place = pull_i64(m->p, 0), steps[64];
    int64_t step = 0;
    for (uint32_t i = 0; i < from->rank; i++) {
        if (!(argmax->attr.axes >> i & 1)) continue;
        place = pull_add(m->p, pull_mul(m->p, place, pull_dim(m->p, from->dim[i])), at->axis[i].base);
        step = step * from->dim[i] + at->axis[i].step;
    }
    uint32_t lanes = sum_lanes(m);
    place = pull_splat(m->p, LLVMBuildTrunc(b, place, i32, ""), lanes);
    for (uint32_t i = 0; i < lanes; i++) steps[i] = LLVMConstInt(i32, i * (uint64_t)step, false);
    return step && lanes > 1 ? LLVMBuildAdd(b, place, LLVMConstVector(steps, lanes), "") : place;
}

static LLVMValueRef is_nan(Map *m, LLVMValueRef value) { return LLVMBuildFCmp(m->p->e->builder, LLVMRealUNO, value, value, ""); }

/* Whether an argmax's next element takes the place of the one before: as pull_combine() of its maximum does. */
static LLVMValueRef overtakes(Map *m, bool is_float, LLVMValueRef value, LLVMValueRef before) {
    LLVMBuilderRef b = m->p->e->builder;
    if (!is_float) return LLVMBuildICmp(b, LLVMIntSGT, value, before, "");
    return LLVMBuildOr(b, LLVMBuildFCmp(b, LLVMRealOGT, value, before, ""), is_nan(m, value), "");
}

/* Before the maximum beside it is brought up to date. */
static void add_to_position(Map *m, NodeId id, uint32_t u) {
    LLVMBuilderRef b = m->p->e->builder;
    const Node *argmax = &m->body->nodes[id];
    DType dtype = m->body->nodes[argmax->in[0]].type.dtype;
    Position at = position_of(m, argmax->in[0], u);
    LLVMValueRef value = elements_of(m, argmax->in[0], &at, least(m, dtype, sum_lanes(m)));
    LLVMValueRef place = m->sums[id * MOST_UNROLL + u], largest = m->largest[id * MOST_UNROLL + u];
    LLVMValueRef before = LLVMBuildLoad2(b, LLVMTypeOf(value), largest, "");
    LLVMValueRef best = LLVMBuildLoad2(b, pull_type(m->p, DTYPE_i32, sum_lanes(m)), place, "");
    LLVMValueRef better = overtakes(m, dtype == DTYPE_f32, value, before);
    LLVMBuildStore(b, LLVMBuildSelect(b, better, place_of(m, argmax, &at), best, ""), place);
    if (maximum_beside(m, id) == NO_NODE) LLVMBuildStore(b, LLVMBuildSelect(b, better, value, before, ""), largest);
}

/* All of one stage at the current index: everything is computed before anything is stored, so that an update in
 * place cannot be seen by what is computed after it. */
static void emit_elements(Map *m) {
    LLVMValueRef *values = arena_array(m->p->e->arena, LLVMValueRef, m->body->output_count + 1);
    for (uint32_t u = 0; u < m->unroll; u++) {
        use_results(m, u);
        for (NodeId id = 0; id < m->body->count; id++)
            if (reduces_now(m, id) && is_argmax(m, id)) add_to_position(m, id, u);
        for (NodeId id = 0; id < m->body->count; id++)
            if (reduces_now(m, id) && !is_argmax(m, id)) add_to_sum(m, id, u);
        for (uint32_t i = 0; i < m->body->output_count; i++) {
            if (!stores_now(m, i)) continue;
            Position at = position_of(m, m->body->outputs[i].node, u);
            values[i] = pull_value(m->p, m->body->outputs[i].node, &at);
        }
        for (uint32_t i = 0; i < m->body->output_count; i++) {
            if (!stores_now(m, i)) continue;
            Position at = position_of(m, m->body->outputs[i].node, u);
            pull_store(m->p, i, &at, values[i]);
        }
    }
}

typedef struct {
    Map *m;
    void (*emit)(Map *m);
} Walk;

static void walk_here(void *context, LLVMValueRef index, Lanes lanes) {
    Walk *walk = context;
    walk->m->index[lane_axis(walk->m)] = index;
    walk->m->lanes = lanes.width;
    walk->m->unroll = lanes.unroll;
    walk->m->mask = lanes.mask;
    walk->emit(walk->m);
}

/* Code for the lane axis from `from` to `to`. */
static void walk_lanes(Map *m, LLVMValueRef from, LLVMValueRef to, void (*emit)(Map *)) {
    loop_lanes(m->p, from, to, (Lanes){m->width, m->most_unroll, NULL}, walk_here, &(Walk){m, emit});
    m->mask = NULL;
}

/* The same where a short last axis is interleaved. */
static void emit_colours(Map *m) {
    uint32_t outputs = m->body->output_count;
    LLVMValueRef *values = arena_array(m->p->e->arena, LLVMValueRef, outputs * MOST_INTERLEAVED + 1);
    for (uint32_t colour = 0; colour < m->colours; colour++) {
        m->index[lane_axis(m) + 1] = pull_i64(m->p, colour);
        for (uint32_t i = 0; i < outputs; i++) {
            Position at = position_of(m, m->body->outputs[i].node, 0);
            values[i * MOST_INTERLEAVED + colour] = pull_value(m->p, m->body->outputs[i].node, &at);
        }
    }
    m->index[lane_axis(m) + 1] = pull_i64(m->p, 0);
    for (uint32_t i = 0; i < outputs; i++) {
        Position at = position_of(m, m->body->outputs[i].node, 0);
        pull_store_interleaved(m->p, i, &at, &values[i * MOST_INTERLEAVED], m->colours);
    }
}

static void walk_reduced(Map *m, uint32_t axis) {
    if (axis == m->kernel->grid.rank) {
        emit_elements(m);
    } else if (!is_reduced(m, axis)) {
        walk_reduced(m, axis + 1);
    } else if (axis == lane_axis(m)) {
        walk_lanes(m, pull_i64(m->p, 0), pull_dim(m->p, m->kernel->grid.axis[axis].extent), emit_elements);
    } else {
        LLVMValueRef extent = pull_dim(m->p, m->kernel->grid.axis[axis].extent);
        Loop loop = loop_begin(m->p, pull_i64(m->p, 0), extent, pull_i64(m->p, 1));
        m->index[axis] = loop.index;
        walk_reduced(m, axis + 1);
        loop_end(m->p, &loop);
    }
}

/* `count` lanes from the first on. */
static LLVMValueRef some_lanes(Map *m, LLVMValueRef value, uint32_t first, uint32_t count) {
    LLVMValueRef order[64];
    for (uint32_t i = 0; i < count; i++) order[i] = LLVMConstInt(LLVMInt32TypeInContext(m->p->e->context), first + i, false);
    return LLVMBuildShuffleVector(m->p->e->builder, value, value, LLVMConstVector(order, count), "");
}

static LLVMValueRef only_lane(Map *m, LLVMValueRef value) {
    bool is_vector = LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
    return is_vector ? LLVMBuildExtractElement(m->p->e->builder, value, pull_i64(m->p, 0), "") : value;
}

/* Halves a vector until one element is left. */
static LLVMValueRef across_lanes(Map *m, const Node *node, LLVMValueRef value, uint32_t lanes) {
    for (; lanes > 1; lanes /= 2)
        value = pull_combine(m->p, node, some_lanes(m, value, 0, lanes / 2), some_lanes(m, value, lanes / 2, lanes / 2));
    return only_lane(m, value);
}

/* An element and its position. */
typedef struct {
    LLVMValueRef value, place;
} Placed;

/* The one of two that an argmax would have kept: the larger, the first of equals, the last NaN. */
static Placed better_of(Map *m, bool is_float, Placed a, Placed b) {
    LLVMBuilderRef build = m->p->e->builder;
    LLVMValueRef is_earlier = LLVMBuildICmp(build, LLVMIntSLT, b.place, a.place, "");
    LLVMValueRef is_equal = is_float ? LLVMBuildFCmp(build, LLVMRealOEQ, b.value, a.value, "") : LLVMBuildICmp(build, LLVMIntEQ, b.value, a.value, "");
    LLVMValueRef is_larger = is_float ? LLVMBuildFCmp(build, LLVMRealOGT, b.value, a.value, "") : LLVMBuildICmp(build, LLVMIntSGT, b.value, a.value, "");
    LLVMValueRef takes_b = LLVMBuildOr(build, is_larger, LLVMBuildAnd(build, is_equal, is_earlier, ""), "");
    if (is_float) {
        LLVMValueRef earlier_nan = LLVMBuildAnd(build, is_nan(m, a.value), is_earlier, "");
        LLVMValueRef last_nan = LLVMBuildAnd(build, is_nan(m, b.value), LLVMBuildNot(build, earlier_nan, ""), "");
        takes_b = LLVMBuildOr(build, takes_b, last_nan, "");
    }
    return (Placed){LLVMBuildSelect(build, takes_b, b.value, a.value, ""), LLVMBuildSelect(build, takes_b, b.place, a.place, "")};
}

/* The position among those that were found by each vector, and then by each lane. */
static LLVMValueRef best_place(Map *m, const Node *argmax, Placed *found) {
    bool is_float = m->body->nodes[argmax->in[0]].type.dtype == DTYPE_f32;
    for (uint32_t u = 1; u < sum_count(m); u++) found[0] = better_of(m, is_float, found[0], found[u]);
    for (uint32_t half = sum_lanes(m) / 2; half; half /= 2) {
        Placed low = {some_lanes(m, found[0].value, 0, half), some_lanes(m, found[0].place, 0, half)};
        Placed high = {some_lanes(m, found[0].value, half, half), some_lanes(m, found[0].place, half, half)};
        found[0] = better_of(m, is_float, low, high);
    }
    return only_lane(m, found[0].place);
}

static void finish_argmax(Map *m, NodeId id) {
    LLVMBuilderRef b = m->p->e->builder;
    const Node *argmax = &m->body->nodes[id];
    LLVMTypeRef value = pull_type(m->p, m->body->nodes[argmax->in[0]].type.dtype, sum_lanes(m));
    LLVMTypeRef place = pull_type(m->p, DTYPE_i32, sum_lanes(m)), narrow = pull_type(m->p, DTYPE_u8, lanes_are_reduced(m) ? 1 : sum_lanes(m));
    Placed found[MOST_UNROLL];
    LLVMValueRef *results = &m->results[id * MOST_UNROLL];
    for (uint32_t u = 0; u < sum_count(m); u++) {
        found[u].value = LLVMBuildLoad2(b, value, m->largest[id * MOST_UNROLL + u], "");
        found[u].place = LLVMBuildLoad2(b, place, m->sums[id * MOST_UNROLL + u], "");
        results[u] = found[u].place;
    }
    if (lanes_are_reduced(m)) results[0] = best_place(m, argmax, found);
    for (uint32_t u = 0; u < (lanes_are_reduced(m) ? 1 : sum_count(m)); u++) results[u] = LLVMBuildTrunc(b, results[u], narrow, "");
}

static void finish_sum(Map *m, NodeId id) {
    const Node *node = &m->body->nodes[id];
    LLVMTypeRef type = pull_type(m->p, node->type.dtype, sum_lanes(m));
    LLVMValueRef *sums = &m->sums[id * MOST_UNROLL], *results = &m->results[id * MOST_UNROLL];
    for (uint32_t u = 0; u < sum_count(m); u++) results[u] = LLVMBuildLoad2(m->p->e->builder, type, sums[u], "");
    if (!lanes_are_reduced(m)) return;
    for (uint32_t step = 1; step < sum_count(m); step *= 2)
        for (uint32_t u = 0; u + step < sum_count(m); u += 2 * step) results[u] = pull_combine(m->p, node, results[u], results[u + step]);
    results[0] = across_lanes(m, node, results[0], sum_lanes(m));
}

static void finish_sums(Map *m) {
    for (NodeId id = 0; id < m->body->count; id++)
        if (reduces_now(m, id)) (is_argmax(m, id) ? finish_argmax : finish_sum)(m, id);
}

static void store_rows(Map *m) {
    m->now = m->stages;
    LLVMValueRef *values = arena_array(m->p->e->arena, LLVMValueRef, m->body->output_count + 1);
    for (uint32_t u = 0; u < m->unroll; u++) {
        use_results(m, u);
        for (int store = 0; store < 2; store++)
            for (uint32_t i = 0; i < m->body->output_count; i++) {
                NodeId id = m->body->outputs[i].node;
                if (is_full(m, id) && !is_reduction(m, id)) continue;
                Position at = position_of(m, id, u);
                if (store) pull_store(m->p, i, &at, values[i]);
                else values[i] = pull_value(m->p, id, &at);
            }
    }
}

/* Everything at one index of the parallel axes (or at `unroll` vectors of them). */
static void emit_index(Map *m) {
    for (NodeId id = 0; id < m->body->count; id++) m->p->given[id] = NULL;
    LLVMValueRef mask = m->mask;
    uint32_t unroll = m->unroll, lanes = m->lanes, mark = pull_mark(m->p);
    if (!m->kernel->reduced) {
        m->now = 0;
        (m->colours ? emit_colours : emit_elements)(m);
        return;
    }
    for (uint32_t stage = 0; stage < m->stages; stage++) {
        m->now = stage;
        bool any = false;
        for (NodeId id = 0; id < m->body->count; id++) any |= reduces_now(m, id);
        for (uint32_t i = 0; i < m->body->output_count; i++) any |= stores_now(m, i);
        if (!any) continue;
        clear_sums(m);
        walk_reduced(m, 0);
        m->mask = mask, m->unroll = unroll, m->lanes = lanes;
        finish_sums(m);
        pull_forget(m->p, mark);
    }
    store_rows(m);
}

static void walk_parallel(Map *m, uint32_t axis);

/* One sample, whose condition is known where it is walked. */
static void walk_sample(Map *m) {
    LLVMBuilderRef b = m->p->e->builder;
    LLVMValueRef zero = pull_i64(m->p, 0), one = pull_i64(m->p, 1);
    LLVMValueRef is_true = LLVMBuildZExt(b, decide_ask(m->p, m->condition, m->index[0]), LLVMTypeOf(zero), "");
    for (int answer = 1; answer >= 0; answer--) {
        Loop if_so = answer ? loop_begin(m->p, zero, is_true, one) : loop_begin(m->p, is_true, one, one);
        decide_answer(m->p, m->condition, answer);
        walk_parallel(m, 1);
        loop_end(m->p, &if_so);
    }
}

static void walk_parallel(Map *m, uint32_t axis) {
    if (axis == m->kernel->grid.rank) {
        m->lanes = m->unroll = 1;
        m->mask = NULL;
        emit_index(m);
    } else if (is_reduced(m, axis)) {
        walk_parallel(m, axis + 1);
    } else if (axis == lane_axis(m)) {
        walk_lanes(m, m->from[axis], m->to[axis], emit_index);
    } else {
        Loop loop = loop_begin(m->p, m->from[axis], m->to[axis], pull_i64(m->p, 1));
        m->index[axis] = loop.index;
        if (axis == 0 && m->condition != NO_NODE)
            walk_sample(m);
        else
            walk_parallel(m, axis + 1);
        loop_end(m->p, &loop);
    }
}

/* Short axes get short vectors; bodies with much in them are not repeated. */
static void choose_lanes(Map *m) {
    const Machine *machine = &m->p->e->target->machine;
    m->width = machine->vector_bytes / 4;
    uint32_t work = 0;
    for (NodeId id = 0; id < m->body->count; id++) {
        const Node *node = &m->body->nodes[id];
        bool heavy = op_is_function(node->op) || node->op == OP_random || node->op == OP_concat || node->op == OP_pad;
        work += heavy ? 8 : op_info[node->op].class != CLASS_leaf;
    }
    m->most_unroll = m->colours ? 1 : work <= 8 ? 4 : work <= 24 ? 2 : 1;
    if (!has_lane_axis(m)) {
        m->width = 1;
        return;
    }
    Dim extent = m->kernel->grid.axis[lane_axis(m)].extent;
    while (extent > 0 && m->width > 1 && (int64_t)m->width / 2 >= extent) m->width /= 2;
    while (extent > 0 && m->most_unroll > 1 && (int64_t)(m->most_unroll * m->width) > extent) m->most_unroll /= 2;
}

void map_emit(Pull *p) {
    const Graph *body = p->e->kernel->body;
    Map *m = arena_alloc(p->e->arena, sizeof *m);
    *m = (Map){.p = p, .kernel = p->e->kernel, .body = body};
    m->stage = kernel_stages(m->kernel, p->e->arena);
    m->sums = arena_array(p->e->arena, LLVMValueRef, (size_t)body->count * MOST_UNROLL + 1);
    m->results = arena_array(p->e->arena, LLVMValueRef, (size_t)body->count * MOST_UNROLL + 1);
    m->largest = arena_array(p->e->arena, LLVMValueRef, (size_t)body->count * MOST_UNROLL + 1);
    for (NodeId id = 0; id < body->count; id++)
        if (m->stage[id] + 1 > m->stages) m->stages = m->stage[id] + 1;
    m->colours = kernel_interleaved(m->kernel);
    m->condition = decide_condition(m->kernel, m->stage, p->e->arena);
    choose_lanes(m);
    Loop pieces = loop_begin(p, LLVMGetParam(p->e->function, 2), LLVMGetParam(p->e->function, 3), pull_i64(p, 1));
    loop_piece(p, pieces.index, m->from, m->to);
    walk_parallel(m, 0);
    loop_end(p, &pieces);
}
