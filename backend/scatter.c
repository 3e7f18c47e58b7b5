/* Scatter kernels: rows, or single elements, added where positions say.
 *
 *   for each piece, a part of the result
 *     unless the result is the base's own buffer: the base's elements, stored in order
 *     for each index of the axes before the scattered one
 *       for each update, in order
 *         where it falls into the piece: for each index of the axes behind, lanes over the last: load, add, store
 *
 * Each element of the result gets its updates in order, whatever pieces there are. So threads own parts of the result:
 * ranges of columns, where the base stands there already and only what is touched costs anything; ranges of rows, where
 * most of the work is to write the base. Then each piece looks at all positions, one for each row.
 *
 * Where positions differ within a row, lanes still stand in columns of their own, so no two of them meet; the elements
 * are then taken and put back one by one. Along a scattered last axis they could meet: there one lane walks. */
#include "backend/pull.h"

#include "ir/strided.h"

enum { UNROLL = 4 };

typedef struct {
    Pull *p;
    const Graph *body;
    const Node *node; /* the scatter_add */
    uint32_t rank, axis;
    bool rows; /* a position is the same for all that stands behind the axis */
    uint32_t width;
    LLVMValueRef from[MAX_RANK], to[MAX_RANK], index[MAX_RANK];
    LLVMValueRef place;      /* of the row, or NULL */
    Extent stride[MAX_RANK]; /* of the result */
    void (*emit)(void *scatter, LLVMValueRef index, Lanes lanes);
} Scatter;

/* Where the loops stand, the vector `u` of those at once. */
static Position position_at(const Scatter *s, uint32_t u, Lanes lanes) {
    Position at = {.rank = s->rank, .lanes = lanes.width, .mask = lanes.mask};
    for (uint32_t i = 0; i < s->rank; i++) at.axis[i] = (Index){s->index[i], 0, NULL};
    Index *last = &at.axis[s->rank - 1];
    last->base = pull_add(s->p, last->base, pull_i64(s->p, (int64_t)(u * lanes.width)));
    last->step = lanes.width > 1;
    return at;
}

/* ---- the base */

static void store_base(void *context, LLVMValueRef index, Lanes lanes) {
    Scatter *s = context;
    s->index[s->rank - 1] = index;
    for (uint32_t u = 0; u < lanes.unroll; u++) {
        Position at = position_at(s, u, lanes);
        pull_store(s->p, 0, &at, pull_value(s->p, s->node->in[0], &at));
    }
}

/* Loops over the piece's part of the axes from `axis` on, lanes over the last. */
static void walk(Scatter *s, uint32_t axis) {
    if (axis + 1 >= s->rank) {
        LLVMValueRef from = axis < s->rank ? s->from[axis] : pull_i64(s->p, 0);
        LLVMValueRef to = axis < s->rank ? s->to[axis] : pull_i64(s->p, 1);
        loop_lanes(s->p, from, to, (Lanes){s->width, s->width > 1 ? UNROLL : 1, NULL}, s->emit, s);
        return;
    }
    Loop loop = loop_begin(s->p, s->from[axis], s->to[axis], pull_i64(s->p, 1));
    s->index[axis] = loop.index;
    walk(s, axis + 1);
    loop_end(s->p, &loop);
}

/* A block of code for where the condition holds; the builder stands in it until end_if. */
static LLVMBasicBlockRef begin_if(Pull *p, LLVMValueRef condition) {
    LLVMBasicBlockRef then = LLVMAppendBasicBlockInContext(p->e->context, p->e->function, "then");
    LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(p->e->context, p->e->function, "after");
    LLVMBuildCondBr(p->e->builder, condition, then, after);
    LLVMPositionBuilderAtEnd(p->e->builder, then);
    return after;
}

static void end_if(Pull *p, LLVMBasicBlockRef after, uint32_t mark) {
    LLVMBuildBr(p->e->builder, after);
    LLVMPositionBuilderAtEnd(p->e->builder, after);
    pull_forget(p, mark);
}

static void fill(Scatter *s) {
    Pull *p = s->p;
    const Node *base = &s->body->nodes[s->node->in[0]];
    uint32_t mark = pull_mark(p);
    LLVMBasicBlockRef after = NULL;
    if (base->op == OP_input && kernel_may_update(p->e->kernel, base->attr.index, 0)) {
        LLVMValueRef there = p->args[base->attr.index], here = p->args[s->body->input_count];
        after = begin_if(p, LLVMBuildICmp(p->e->builder, LLVMIntNE, there, here, ""));
    }
    s->emit = store_base;
    walk(s, 0);
    if (after) end_if(p, after, mark);
}

/* ---- the updates */

static LLVMValueRef inside(Scatter *s, LLVMValueRef place) {
    Pull *p = s->p;
    LLVMTypeRef type = LLVMTypeOf(place);
    bool wide = LLVMGetTypeKind(type) == LLVMVectorTypeKind;
    Dim last = s->node->type.dim[s->axis] - 1;
    LLVMValueRef most =
        LLVMConstInt(pull_type(p, DTYPE_i32, 1), (uint64_t)(last < INT32_MAX ? last : INT32_MAX), false);
    place = pull_min(p, pull_max(p, place, LLVMConstNull(type)), wide ? pull_splat(p, most, s->width) : most);
    LLVMTypeRef i64 = LLVMInt64TypeInContext(p->e->context);
    return LLVMBuildSExt(p->e->builder, place, wide ? LLVMVectorType(i64, s->width) : i64, "");
}

static LLVMValueRef sum(Scatter *s, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef builder = s->p->e->builder;
    return s->node->type.dtype == DTYPE_f32 ? LLVMBuildFAdd(builder, a, b, "") : LLVMBuildAdd(builder, a, b, "");
}

/* The result's element at the position, but for its place on the scattered axis. */
static LLVMValueRef offset_of(Scatter *s, const Position *at) {
    LLVMValueRef offset = pull_i64(s->p, 0);
    for (uint32_t i = 0; i < s->rank; i++)
        if (i != s->axis)
            offset = pull_add(s->p, offset, pull_mul(s->p, at->axis[i].base, pull_extent(s->p, s->stride[i])));
    return offset;
}

static void add_row(Scatter *s, const Position *at, LLVMValueRef place, LLVMValueRef value) {
    Pull *p = s->p;
    DType dtype = s->node->type.dtype;
    LLVMTypeRef element = pull_type(p, dtype, 1), vector = pull_type(p, dtype, s->width);
    LLVMValueRef row = pull_mul(p, place, pull_extent(p, s->stride[s->axis]));
    LLVMValueRef pointer = pull_address(p, p->args[s->body->input_count], element, pull_add(p, row, offset_of(s, at)));
    LLVMValueRef before = pull_load(p, vector, pointer, dtype_info[dtype].bytes, at->mask, false);
    pull_store_to(p, sum(s, before, value), pointer, dtype_info[dtype].bytes, at->mask);
}

static void add_elements(Scatter *s, const Position *at, LLVMValueRef place, LLVMValueRef value) {
    Pull *p = s->p;
    LLVMBuilderRef b = p->e->builder;
    DType dtype = s->node->type.dtype;
    uint32_t bytes = dtype_info[dtype].bytes;
    LLVMTypeRef element = pull_type(p, dtype, 1), vector = pull_type(p, dtype, s->width);
    LLVMValueRef steps[64];
    for (uint32_t i = 0; i < s->width; i++) steps[i] = pull_i64(p, i);
    LLVMValueRef offsets = LLVMBuildMul(b, place, pull_splat(p, pull_extent(p, s->stride[s->axis]), s->width), "");
    offsets = LLVMBuildAdd(b, offsets, LLVMConstVector(steps, s->width), "");
    LLVMValueRef start = pull_address(p, p->args[s->body->input_count], element, offset_of(s, at));
    LLVMValueRef pointers = LLVMBuildGEP2(b, element, start, &offsets, 1, "");
    LLVMValueRef mask = at->mask ? at->mask : LLVMConstAllOnes(pull_type(p, DTYPE_bool, s->width));
    LLVMTypeRef types[] = {vector, LLVMTypeOf(pointers)};
    LLVMValueRef load[] = {pointers, mask, LLVMConstNull(vector)};
    LLVMValueRef before = pull_intrinsic(p, "llvm.masked.gather", types, 2, load, 3);
    pull_set_alignment(p, before, 0, bytes);
    LLVMValueRef store[] = {sum(s, before, value), pointers, mask};
    pull_set_alignment(p, pull_intrinsic(p, "llvm.masked.scatter", types, 2, store, 3), 1, bytes);
}

static void add_update(void *context, LLVMValueRef index, Lanes lanes) {
    Scatter *s = context;
    if (s->axis + 1 < s->rank) s->index[s->rank - 1] = index;
    for (uint32_t u = 0; u < lanes.unroll; u++) {
        Position at = position_at(s, u, lanes);
        LLVMValueRef value = pull_splat(s->p, pull_value(s->p, s->node->in[2], &at), lanes.width);
        LLVMValueRef place = s->rows ? s->place : inside(s, pull_value(s->p, s->node->in[1], &at));
        if (s->rows || lanes.width == 1)
            add_row(s, &at, place, value);
        else
            add_elements(s, &at, pull_splat(s->p, place, lanes.width), value);
    }
}

/* One index of the scattered axis: a row, if it falls into the piece. */
static void add_at(Scatter *s) {
    Pull *p = s->p;
    LLVMBasicBlockRef after = NULL;
    uint32_t mark = pull_mark(p);
    if (s->rows) {
        Position first = {.rank = s->rank, .lanes = 1};
        for (uint32_t i = 0; i < s->rank; i++) first.axis[i] = (Index){i > s->axis ? s->from[i] : s->index[i], 0, NULL};
        s->place = inside(s, pull_value(p, s->node->in[1], &first));
    }
    if (s->rows && p->e->kernel->grid.axis[s->axis].block) {
        LLVMBuilderRef b = p->e->builder;
        LLVMValueRef above = LLVMBuildICmp(b, LLVMIntSGE, s->place, s->from[s->axis], "");
        after = begin_if(p, LLVMBuildAnd(b, above, LLVMBuildICmp(b, LLVMIntSLT, s->place, s->to[s->axis], ""), ""));
    }
    s->emit = add_update;
    walk(s, s->axis + 1);
    if (after) end_if(p, after, mark);
}

static void add_updates(Scatter *s, uint32_t axis) {
    bool here = axis == s->axis;
    LLVMValueRef to = here ? pull_dim(s->p, s->body->nodes[s->node->in[1]].type.dim[axis]) : s->to[axis];
    Loop loop = loop_begin(s->p, here ? pull_i64(s->p, 0) : s->from[axis], to, pull_i64(s->p, 1));
    s->index[axis] = loop.index;
    if (here)
        add_at(s);
    else
        add_updates(s, axis + 1);
    loop_end(s->p, &loop);
}

void scatter_emit(Pull *p) {
    const Kernel *kernel = p->e->kernel;
    const Node *node = &kernel->body->nodes[kernel_scatter(kernel)];
    Scatter s = {.p = p, .body = kernel->body, .node = node, .rank = node->type.rank, .axis = node->attr.axis};
    s.rows = kernel_scatters_rows(kernel);
    strided_dense(&node->type, s.stride);
    Loop pieces = loop_begin(p, LLVMGetParam(p->e->function, 2), LLVMGetParam(p->e->function, 3), pull_i64(p, 1));
    loop_piece(p, pieces.index, s.from, s.to);
    s.width = p->e->target->machine.vector_bytes / 4;
    Dim last = node->type.dim[s.rank - 1];
    while (last > 0 && s.width > 1 && (int64_t)s.width / 2 >= last) s.width /= 2;
    fill(&s);
    if (s.axis + 1 == s.rank) s.width = 1;
    add_updates(&s, 0);
    loop_end(p, &pieces);
}
