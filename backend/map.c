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
    uint32_t now;                   /* stage that is being emitted */
    uint32_t colours;               /* size of a last axis that is interleaved, or 0 */
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

/* The value that changes nothing. */
static LLVMValueRef identity(Map *m, const Node *node, uint32_t lanes) {
    LLVMTypeRef type = pull_type(m->p, node->type.dtype, 1);
    LLVMValueRef value = LLVMConstNull(type);
    if (node->op == OP_reduce_max && node->type.dtype == DTYPE_f32) value = LLVMConstReal(type, -__builtin_inf());
    else if (node->op == OP_reduce_max) value = LLVMConstInt(type, 1ull << (dtype_info[node->type.dtype].bytes * 8 - 1), false);
    return pull_splat(m->p, value, lanes);
}

static uint32_t sum_lanes(const Map *m) { return has_lane_axis(m) ? (lanes_are_reduced(m) ? m->width : m->lanes) : 1; }
static uint32_t sum_count(const Map *m) { return lanes_are_reduced(m) ? m->most_unroll : m->unroll; }

static void clear_sums(Map *m) {
    for (NodeId id = 0; id < m->body->count; id++) {
        if (!reduces_now(m, id)) continue;
        const Node *node = &m->body->nodes[id];
        for (uint32_t u = 0; u < sum_count(m); u++) {
            LLVMValueRef *sum = &m->sums[id * MOST_UNROLL + u];
            *sum = new_variable(m, pull_type(m->p, node->type.dtype, sum_lanes(m)));
            LLVMBuildStore(m->p->e->builder, identity(m, node, sum_lanes(m)), *sum);
        }
    }
}

static void use_results(Map *m, uint32_t u) {
    for (NodeId id = 0; id < m->body->count; id++)
        if (is_reduction(m, id) && m->stage[id] < m->now) m->p->given[id] = m->results[id * MOST_UNROLL + (lanes_are_reduced(m) ? 0 : u)];
}

static void add_to_sum(Map *m, NodeId id, uint32_t u) {
    Pull *p = m->p;
    const Node *node = &m->body->nodes[id];
    Position at = position_of(m, node->in[0], u);
    LLVMValueRef value = pull_splat(p, pull_value(p, node->in[0], &at), sum_lanes(m));
    if (m->mask && lanes_are_reduced(m)) value = LLVMBuildSelect(p->e->builder, m->mask, value, identity(m, node, m->lanes), "");
    LLVMTypeRef type = pull_type(p, node->type.dtype, sum_lanes(m));
    LLVMValueRef *sum = &m->sums[id * MOST_UNROLL + u];
    LLVMValueRef before = LLVMBuildLoad2(p->e->builder, type, *sum, "");
    LLVMBuildStore(p->e->builder, pull_combine(p, node, before, value), *sum);
}

/* All of one stage at the current index: everything is computed before anything is stored, so that an update in
 * place cannot be seen by what is computed after it. */
static void emit_elements(Map *m) {
    LLVMValueRef *values = arena_array(m->p->e->arena, LLVMValueRef, m->body->output_count + 1);
    for (uint32_t u = 0; u < m->unroll; u++) {
        use_results(m, u);
        for (NodeId id = 0; id < m->body->count; id++)
            if (reduces_now(m, id)) add_to_sum(m, id, u);
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

/* Halves a vector until one element is left. */
static LLVMValueRef across_lanes(Map *m, const Node *node, LLVMValueRef value, uint32_t lanes) {
    LLVMContextRef c = m->p->e->context;
    LLVMBuilderRef b = m->p->e->builder;
    for (; lanes > 1; lanes /= 2) {
        LLVMValueRef low[64], high[64];
        for (uint32_t i = 0; i < lanes / 2; i++) {
            low[i] = LLVMConstInt(LLVMInt32TypeInContext(c), i, false);
            high[i] = LLVMConstInt(LLVMInt32TypeInContext(c), i + lanes / 2, false);
        }
        LLVMValueRef left = LLVMBuildShuffleVector(b, value, value, LLVMConstVector(low, lanes / 2), "");
        LLVMValueRef right = LLVMBuildShuffleVector(b, value, value, LLVMConstVector(high, lanes / 2), "");
        value = pull_combine(m->p, node, left, right);
    }
    LLVMTypeRef type = LLVMTypeOf(value);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMBuildExtractElement(b, value, pull_i64(m->p, 0), "") : value;
}

static void finish_sums(Map *m) {
    LLVMBuilderRef b = m->p->e->builder;
    for (NodeId id = 0; id < m->body->count; id++) {
        if (!reduces_now(m, id)) continue;
        const Node *node = &m->body->nodes[id];
        LLVMTypeRef type = pull_type(m->p, node->type.dtype, sum_lanes(m));
        LLVMValueRef *sums = &m->sums[id * MOST_UNROLL], *results = &m->results[id * MOST_UNROLL];
        for (uint32_t u = 0; u < sum_count(m); u++) results[u] = LLVMBuildLoad2(b, type, sums[u], "");
        if (!lanes_are_reduced(m)) continue;
        for (uint32_t step = 1; step < sum_count(m); step *= 2)
            for (uint32_t u = 0; u + step < sum_count(m); u += 2 * step) results[u] = pull_combine(m->p, node, results[u], results[u + step]);
        results[0] = across_lanes(m, node, results[0], sum_lanes(m));
    }
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
        bool heavy = node->op == OP_exp || node->op == OP_log || node->op == OP_tanh || node->op == OP_sigmoid || node->op == OP_erf ||
                     node->op == OP_sin || node->op == OP_cos || node->op == OP_random || node->op == OP_concat || node->op == OP_pad;
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
    for (NodeId id = 0; id < body->count; id++)
        if (m->stage[id] + 1 > m->stages) m->stages = m->stage[id] + 1;
    m->colours = kernel_interleaved(m->kernel);
    choose_lanes(m);
    Loop pieces = loop_begin(p, LLVMGetParam(p->e->function, 2), LLVMGetParam(p->e->function, 3), pull_i64(p, 1));
    loop_piece(p, pieces.index, m->from, m->to);
    walk_parallel(m, 0);
    loop_end(p, &pieces);
}
