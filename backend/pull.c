/* See pull.h. A position names, for each axis of a node, where the lanes stand: mostly a scalar base and a constant
 * step, so that loads of neighbouring elements are recognised for what they are; a vector of indices only where
 * nothing simpler is true (a reshape that mixes axes). Equal (node, position) pairs are computed once. */
#include "backend/pull.h"

#include "ir/strided.h"

#include <string.h>

static LLVMBuilderRef builder(Pull *p) { return p->e->builder; }
static LLVMTypeRef i64_type(Pull *p) { return LLVMInt64TypeInContext(p->e->context); }
static const Graph *body(Pull *p) { return p->e->kernel->body; }

static LLVMTypeRef lanes_of(LLVMTypeRef element, uint32_t lanes) {
    return lanes == 1 ? element : LLVMVectorType(element, lanes);
}

static bool is_vector(LLVMValueRef value) { return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind; }

LLVMTypeRef pull_type(Pull *p, DType dtype, uint32_t lanes) {
    LLVMContextRef c = p->e->context;
    LLVMTypeRef element = NULL;
    switch (dtype) {
    case DTYPE_f32: element = LLVMFloatTypeInContext(c); break;
    case DTYPE_bf16:
    case DTYPE_f16: element = LLVMInt16TypeInContext(c); break;
    case DTYPE_i8:
    case DTYPE_u8: element = LLVMInt8TypeInContext(c); break;
    case DTYPE_i32: element = LLVMInt32TypeInContext(c); break;
    case DTYPE_i64: element = LLVMInt64TypeInContext(c); break;
    case DTYPE_bool: element = LLVMInt1TypeInContext(c); break;
    }
    return lanes_of(element, lanes);
}

LLVMTypeRef pull_memory_type(Pull *p, DType dtype, uint32_t lanes) {
    return dtype == DTYPE_bool ? lanes_of(LLVMInt8TypeInContext(p->e->context), lanes) : pull_type(p, dtype, lanes);
}

LLVMValueRef pull_i64(Pull *p, int64_t value) { return LLVMConstInt(i64_type(p), (unsigned long long)value, true); }

static bool is_const(LLVMValueRef value, int64_t number) {
    return LLVMIsAConstantInt(value) && LLVMConstIntGetSExtValue(value) == number;
}

LLVMValueRef pull_add(Pull *p, LLVMValueRef a, LLVMValueRef b) {
    return is_const(a, 0) ? b : is_const(b, 0) ? a : LLVMBuildNSWAdd(builder(p), a, b, "");
}

LLVMValueRef pull_mul(Pull *p, LLVMValueRef a, LLVMValueRef b) {
    if (is_const(a, 1) || is_const(b, 0)) return b;
    if (is_const(b, 1) || is_const(a, 0)) return a;
    return LLVMBuildNSWMul(builder(p), a, b, "");
}

LLVMValueRef pull_min(Pull *p, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(builder(p), LLVMBuildICmp(builder(p), LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef pull_max(Pull *p, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(builder(p), LLVMBuildICmp(builder(p), LLVMIntSGT, a, b, ""), a, b, "");
}

LLVMValueRef pull_extent(Pull *p, Extent extent) {
    return pull_add(p, pull_i64(p, extent.fixed), pull_mul(p, pull_i64(p, extent.per_n), p->n));
}

LLVMValueRef pull_dim(Pull *p, Dim dim) { return pull_extent(p, dim_extent(dim)); }

LLVMValueRef pull_splat(Pull *p, LLVMValueRef value, uint32_t lanes) {
    if (lanes == 1 || is_vector(value)) return value;
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(value), lanes);
    LLVMValueRef one = LLVMBuildInsertElement(builder(p), LLVMGetPoison(type), value, pull_i64(p, 0), "");
    LLVMValueRef zeros = LLVMConstNull(LLVMVectorType(LLVMInt32TypeInContext(p->e->context), lanes));
    return LLVMBuildShuffleVector(builder(p), one, LLVMGetPoison(type), zeros, "");
}

LLVMValueRef pull_mask(Pull *p, LLVMValueRef remaining, uint32_t lanes) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(p->e->context);
    LLVMValueRef most = pull_min(p, remaining, pull_i64(p, lanes));
    LLVMValueRef narrow = LLVMBuildTrunc(builder(p), most, i32, ""), numbers[64];
    for (uint32_t i = 0; i < lanes; i++) numbers[i] = LLVMConstInt(i32, i, false);
    return LLVMBuildICmp(builder(p), LLVMIntSGT, pull_splat(p, narrow, lanes), LLVMConstVector(numbers, lanes), "");
}

LLVMValueRef pull_address(Pull *p, LLVMValueRef base, LLVMTypeRef element, LLVMValueRef offset) {
    return is_const(offset, 0) ? base : LLVMBuildInBoundsGEP2(builder(p), element, base, &offset, 1, "");
}

/* Where a mask says which elements there are: the first may lie before all that there is, or behind. */
static LLVMValueRef masked_address(Pull *p, LLVMValueRef base, LLVMTypeRef element, LLVMValueRef offset,
                                   LLVMValueRef mask) {
    return mask ? LLVMBuildGEP2(builder(p), element, base, &offset, 1, "") : pull_address(p, base, element, offset);
}

LLVMValueRef pull_intrinsic(Pull *p, const char *name, LLVMTypeRef *types, uint32_t type_count, LLVMValueRef *args,
                            uint32_t arg_count) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    CHECK(id);
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(p->e->module, id, types, type_count);
    LLVMTypeRef type = LLVMIntrinsicGetType(p->e->context, id, types, type_count);
    return LLVMBuildCall2(builder(p), type, function, args, arg_count, "");
}

/* The address must not claim to be inside. */
void pull_fetch(Pull *p, LLVMValueRef base, LLVMTypeRef type, LLVMValueRef offset, Purpose purpose) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(p->e->context), pointer = LLVMTypeOf(base);
    LLVMValueRef near = LLVMConstInt(i32, purpose == TO_WRITE ? 3 : 2, false), data = LLVMConstInt(i32, 1, false);
    LLVMValueRef at = LLVMBuildGEP2(builder(p), type, base, &offset, 1, "");
    LLVMValueRef args[] = {at, LLVMConstInt(i32, purpose == TO_WRITE, false), near, data};
    pull_intrinsic(p, "llvm.prefetch", &pointer, 1, args, 4);
}

void pull_set_alignment(Pull *p, LLVMValueRef call, unsigned parameter, uint32_t align) {
    unsigned kind = LLVMGetEnumAttributeKindForName("align", 5);
    LLVMAddCallSiteAttribute(call, parameter + 1, LLVMCreateEnumAttribute(p->e->context, kind, align));
}

static void mark_constant(Pull *p, LLVMValueRef load) {
    unsigned kind = LLVMGetMDKindIDInContext(p->e->context, "invariant.load", 14);
    LLVMValueRef empty = LLVMMetadataAsValue(p->e->context, LLVMMDNodeInContext2(p->e->context, NULL, 0));
    LLVMSetMetadata(load, kind, empty);
}

LLVMValueRef pull_load(Pull *p, LLVMTypeRef type, LLVMValueRef pointer, uint32_t align, LLVMValueRef mask,
                       bool is_constant) {
    if (mask) {
        LLVMTypeRef types[] = {type, LLVMTypeOf(pointer)};
        LLVMValueRef args[] = {pointer, mask, LLVMConstNull(type)};
        LLVMValueRef call = pull_intrinsic(p, "llvm.masked.load", types, 2, args, 3);
        pull_set_alignment(p, call, 0, align);
        return call;
    }
    LLVMValueRef load = LLVMBuildLoad2(builder(p), type, pointer, "");
    LLVMSetAlignment(load, align);
    if (is_constant) mark_constant(p, load);
    return load;
}

/* LLVM 22 joins a narrowing conversion and a masked store whose mask it knows to be "the first lane alone" to a store
 * of 4 bytes: for elements of 1 or 2 bytes the mask must not be known. n >= 1 holds always, but only we know. */
static LLVMValueRef opaque_mask(Pull *p, LLVMValueRef mask, LLVMTypeRef vector) {
    LLVMTypeRef element = LLVMGetElementType(vector);
    if (LLVMGetTypeKind(element) != LLVMIntegerTypeKind || LLVMGetIntTypeWidth(element) >= 32) return mask;
    LLVMValueRef is_batch = LLVMBuildICmp(builder(p), LLVMIntSGE, p->n, pull_i64(p, 1), "");
    return LLVMBuildAnd(builder(p), mask, pull_splat(p, is_batch, LLVMGetVectorSize(vector)), "");
}

void pull_store_to(Pull *p, LLVMValueRef value, LLVMValueRef pointer, uint32_t align, LLVMValueRef mask) {
    if (mask) {
        mask = opaque_mask(p, mask, LLVMTypeOf(value));
        LLVMTypeRef types[] = {LLVMTypeOf(value), LLVMTypeOf(pointer)};
        LLVMValueRef args[] = {value, pointer, mask};
        pull_set_alignment(p, pull_intrinsic(p, "llvm.masked.store", types, 2, args, 3), 1, align);
        return;
    }
    LLVMSetAlignment(LLVMBuildStore(builder(p), value, pointer), align);
}

uint32_t pull_mark(const Pull *p) { return p->known_count; }
void pull_forget(Pull *p, uint32_t mark) { p->known_count = mark; }

/* ---- positions ---- */

static LLVMValueRef index_vector(Pull *p, const Index *index, uint32_t lanes) {
    if (index->vector) return index->vector;
    LLVMValueRef steps[64];
    for (uint32_t i = 0; i < lanes; i++) steps[i] = pull_i64(p, index->step * (int64_t)i);
    return LLVMBuildAdd(builder(p), pull_splat(p, index->base, lanes), LLVMConstVector(steps, lanes), "");
}

static bool index_is_uniform(const Index *index) { return !index->vector && index->step == 0; }

/* Σ index·stride: what is the same for all lanes, or grows evenly, and in *vectors the rest; NULL: none. */
static Index flat_parts(Pull *p, const Position *at, const Extent *stride, uint32_t rank, LLVMValueRef *vectors) {
    Index flat = {pull_i64(p, 0), 0, NULL};
    *vectors = NULL;
    for (uint32_t i = 0; i < rank; i++) {
        const Index *index = &at->axis[i];
        LLVMValueRef size = pull_extent(p, stride[i]);
        if (index->vector || (index->step && !LLVMIsAConstantInt(size))) {
            LLVMValueRef part = index_vector(p, index, at->lanes);
            if (!is_const(size, 1)) part = LLVMBuildMul(builder(p), part, pull_splat(p, size, at->lanes), "");
            *vectors = *vectors ? LLVMBuildAdd(builder(p), *vectors, part, "") : part;
            continue;
        }
        flat.base = pull_add(p, flat.base, pull_mul(p, index->base, size));
        if (index->step) flat.step += index->step * LLVMConstIntGetSExtValue(size);
    }
    return flat;
}

/* The same as one index into the flat tensor. */
static Index flat_index(Pull *p, const Position *at, const Extent *stride, uint32_t rank) {
    LLVMValueRef vectors;
    Index flat = flat_parts(p, at, stride, rank, &vectors);
    if (vectors) flat.vector = LLVMBuildAdd(builder(p), index_vector(p, &flat, at->lanes), vectors, "");
    return flat;
}

/* The index into axes [first, end), taken as one. */
static Index group_index(Pull *p, const Position *at, const Type *type, uint32_t first, uint32_t end) {
    Type part = {.dtype = type->dtype, .rank = end - first};
    Position inner = {.rank = end - first, .lanes = at->lanes, .mask = at->mask};
    Extent dense[MAX_RANK];
    for (uint32_t k = first; k < end; k++) {
        part.dim[k - first] = type->dim[k];
        inner.axis[k - first] = at->axis[k];
    }
    strided_dense(&part, dense);
    return flat_index(p, &inner, dense, part.rank);
}

/* Deals an index out to axes [first, end): the only one of a size other than 1 takes it whole. */
static void deal_index(Pull *p, Index flat, const Type *from, uint32_t first, uint32_t end, Position *result) {
    uint32_t slowest = first;
    while (slowest + 1 < end && from->dim[slowest] == 1) slowest++;
    for (uint32_t i = end; i-- > first;) {
        LLVMValueRef size = pull_dim(p, from->dim[i]);
        if (i < slowest || from->dim[i] == 1) {
            result->axis[i] = (Index){pull_i64(p, 0), 0, NULL};
        } else if (i == slowest) {
            result->axis[i] = flat;
        } else if (index_is_uniform(&flat)) {
            result->axis[i] = (Index){LLVMBuildURem(builder(p), flat.base, size, ""), 0, NULL};
            flat.base = LLVMBuildUDiv(builder(p), flat.base, size, "");
        } else {
            LLVMValueRef vector = index_vector(p, &flat, result->lanes), sizes = pull_splat(p, size, result->lanes);
            result->axis[i] = (Index){pull_i64(p, 0), 0, LLVMBuildURem(builder(p), vector, sizes, "")};
            flat = (Index){pull_i64(p, 0), 0, LLVMBuildUDiv(builder(p), vector, sizes, "")};
        }
    }
}

/* The position of the operand of a reshape: axes of size 1 come and go; axes that are joined are counted together, and
 * only where one is parted is there a division. */
static Position reshaped(Pull *p, const Position *at, const Type *type, const Type *from) {
    Position result = {.rank = from->rank, .lanes = at->lanes, .mask = at->mask};
    uint32_t next = 0;
    bool same = true;
    for (uint32_t i = 0; i < from->rank && same; i++) {
        result.axis[i] = (Index){pull_i64(p, 0), 0, NULL};
        if (from->dim[i] == 1) continue;
        while (next < type->rank && type->dim[next] == 1) next++;
        same = next < type->rank && type->dim[next] == from->dim[i];
        if (same) result.axis[i] = at->axis[next++];
    }
    if (same) return result;
    for (uint32_t i = 0, j = 0; i < from->rank;) {
        uint32_t first = i, first_of_type = j;
        strided_next_group(from, type, &i, &j);
        Index flat = group_index(p, at, type, first_of_type, j);
        deal_index(p, flat, from, first, i, &result);
    }
    return result;
}

static Position sliced(Pull *p, const Position *at, const Node *node) {
    Position result = *at;
    for (uint32_t i = 0; i < at->rank; i++) {
        Index *index = &result.axis[i];
        LLVMValueRef start = pull_i64(p, node->attr.slice.start[i]), step = pull_i64(p, node->attr.slice.step[i]);
        index->base = pull_add(p, start, pull_mul(p, index->base, step));
        index->step *= node->attr.slice.step[i];
        if (index->vector)
            index->vector =
                LLVMBuildAdd(builder(p), pull_splat(p, start, at->lanes),
                             LLVMBuildMul(builder(p), index->vector, pull_splat(p, step, at->lanes), ""), "");
    }
    return result;
}

/* Keeps an index inside [0, size): the condition that it was, and a position that is safe to load from. */
static LLVMValueRef keep_inside(Pull *p, Position *at, uint32_t axis, Dim size) {
    Index *index = &at->axis[axis];
    LLVMValueRef limit = pull_dim(p, size);
    if (index_is_uniform(index)) {
        LLVMValueRef inside = LLVMBuildICmp(builder(p), LLVMIntULT, index->base, limit, "");
        index->base = LLVMBuildSelect(builder(p), inside, index->base, pull_i64(p, 0), "");
        return inside;
    }
    LLVMValueRef inside =
        LLVMBuildICmp(builder(p), LLVMIntULT, index_vector(p, index, at->lanes), pull_splat(p, limit, at->lanes), "");
    at->mask = at->mask ? LLVMBuildAnd(builder(p), at->mask, inside, "") : inside;
    return inside;
}

static void shift_index(Pull *p, Position *at, uint32_t axis, int64_t by) {
    Index *index = &at->axis[axis];
    if (!by) return;
    index->base = pull_add(p, index->base, pull_i64(p, by));
    if (index->vector)
        index->vector = LLVMBuildAdd(builder(p), index->vector, pull_splat(p, pull_i64(p, by), at->lanes), "");
}

static LLVMValueRef both(Pull *p, LLVMValueRef a, LLVMValueRef b, uint32_t lanes) {
    if (!a || !b) return a ? a : b;
    if (is_vector(a) || is_vector(b)) a = pull_splat(p, a, lanes), b = pull_splat(p, b, lanes);
    return LLVMBuildAnd(builder(p), a, b, "");
}

static LLVMValueRef choose(Pull *p, LLVMValueRef condition, LLVMValueRef yes, LLVMValueRef no, uint32_t lanes) {
    if (is_vector(condition) || is_vector(yes) || is_vector(no))
        yes = pull_splat(p, yes, lanes), no = pull_splat(p, no, lanes);
    return LLVMBuildSelect(builder(p), condition, yes, no, "");
}

static LLVMValueRef constant_of(Pull *p, DType dtype, double value) {
    LLVMTypeRef type = pull_type(p, dtype, 1);
    if (dtype == DTYPE_f32) return LLVMConstReal(type, (double)(float)value);
    if (dtype == DTYPE_bf16 || dtype == DTYPE_f16)
        return math_cast(p->e, LLVMConstReal(pull_type(p, DTYPE_f32, 1), value), DTYPE_f32, dtype);
    if (dtype == DTYPE_bool) return LLVMConstInt(type, value != 0, false);
    return LLVMConstInt(type, (unsigned long long)(int64_t)value, true);
}

static LLVMValueRef pull_pad(Pull *p, const Node *node, const Position *at) {
    Position inner = *at;
    LLVMValueRef inside = NULL;
    const Type *from = &body(p)->nodes[node->in[0]].type;
    for (uint32_t i = 0; i < at->rank; i++) {
        if (from->dim[i] == node->type.dim[i]) continue;
        shift_index(p, &inner, i, -node->attr.pad.before[i]);
        inside = both(p, inside, keep_inside(p, &inner, i, from->dim[i]), at->lanes);
    }
    LLVMValueRef value = pull_value(p, node->in[0], &inner);
    return inside ? choose(p, inside, value, constant_of(p, node->type.dtype, node->attr.pad.value), at->lanes) : value;
}

/* One block of code for each operand, where all lanes stand in the same one. */
static LLVMValueRef pull_one_of(Pull *p, const Node *node, const Position *at, LLVMValueRef in_first) {
    LLVMBuilderRef b = builder(p);
    Dim first = body(p)->nodes[node->in[0]].type.dim[node->attr.axis];
    LLVMBasicBlockRef block[2], end[2], after = LLVMAppendBasicBlockInContext(p->e->context, p->e->function, "either");
    LLVMValueRef value[2];
    for (int i = 0; i < 2; i++)
        block[i] = LLVMAppendBasicBlockInContext(p->e->context, p->e->function, i ? "second" : "first");
    LLVMBuildCondBr(b, in_first, block[0], block[1]);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t mark = pull_mark(p);
        Position inner = *at;
        LLVMPositionBuilderAtEnd(b, block[i]);
        if (i)
            inner.axis[node->attr.axis].base = LLVMBuildSub(b, at->axis[node->attr.axis].base, pull_dim(p, first), "");
        value[i] = pull_splat(p, pull_value(p, node->in[i], &inner), at->lanes);
        pull_forget(p, mark);
        end[i] = LLVMGetInsertBlock(b);
        LLVMBuildBr(b, after);
    }
    LLVMPositionBuilderAtEnd(b, after);
    LLVMValueRef result = LLVMBuildPhi(b, LLVMTypeOf(value[0]), "");
    LLVMAddIncoming(result, value, end, 2);
    return result;
}

static LLVMValueRef pull_concat(Pull *p, const Node *node, const Position *at) {
    uint32_t axis = node->attr.axis;
    if (index_is_uniform(&at->axis[axis]) && LLVMIsAConstantInt(at->axis[axis].base)) {
        int64_t place = LLVMConstIntGetSExtValue(at->axis[axis].base);
        Dim first = body(p)->nodes[node->in[0]].type.dim[axis];
        Position inner = *at;
        if (first > 0 && place >= first) inner.axis[axis].base = pull_i64(p, place - first);
        if (first > 0) return pull_value(p, node->in[place >= first], &inner);
    }
    if (index_is_uniform(&at->axis[axis])) {
        LLVMValueRef limit = pull_dim(p, body(p)->nodes[node->in[0]].type.dim[axis]);
        return pull_one_of(p, node, at, LLVMBuildICmp(builder(p), LLVMIntSLT, at->axis[axis].base, limit, ""));
    }
    Dim first = body(p)->nodes[node->in[0]].type.dim[axis], second = body(p)->nodes[node->in[1]].type.dim[axis];
    Position a = *at, b = *at;
    LLVMValueRef in_first = keep_inside(p, &a, axis, first);
    b.axis[axis].base = LLVMBuildSub(builder(p), at->axis[axis].base, pull_dim(p, first), "");
    if (b.axis[axis].vector)
        b.axis[axis].vector =
            LLVMBuildSub(builder(p), at->axis[axis].vector, pull_splat(p, pull_dim(p, first), at->lanes), "");
    keep_inside(p, &b, axis, second);
    LLVMValueRef left = pull_value(p, node->in[0], &a), right = pull_value(p, node->in[1], &b);
    return choose(p, in_first, left, right, at->lanes);
}

/* factor·index + addend, and the sum of two indices. */
static Index scaled(Pull *p, const Index *index, int64_t factor, int64_t addend, uint32_t lanes) {
    Index result = {pull_add(p, pull_mul(p, index->base, pull_i64(p, factor)), pull_i64(p, addend)),
                    index->step * factor, NULL};
    if (index->vector) {
        LLVMValueRef factors = pull_splat(p, pull_i64(p, factor), lanes),
                     addends = pull_splat(p, pull_i64(p, addend), lanes);
        result.vector = LLVMBuildAdd(builder(p), LLVMBuildMul(builder(p), index->vector, factors, ""), addends, "");
    }
    return result;
}

static Index index_sum(Pull *p, const Index *a, const Index *b, uint32_t lanes) {
    Index result = {pull_add(p, a->base, b->base), a->step + b->step, NULL};
    if (a->vector || b->vector)
        result.vector = LLVMBuildAdd(builder(p), index_vector(p, a, lanes), index_vector(p, b, lanes), "");
    return result;
}

/* Axes of a window [N,OH,OW,KH,KW,C] and of what it looks at [N,H,W,KH or 1,KW or 1,C]. */
enum { WINDOW_PLACE = 1, WINDOW_TAP = 3 };

static LLVMValueRef pull_window(Pull *p, const Node *node, const Position *at) {
    const Type *from = &body(p)->nodes[node->in[0]].type;
    Position inner = *at;
    LLVMValueRef inside = NULL;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t place = WINDOW_PLACE + i, tap = WINDOW_TAP + i;
        int64_t stride = node->attr.window.stride[i], dilation = node->attr.window.dilation[i],
                before = node->attr.window.before[i];
        Index a = scaled(p, &at->axis[place], stride, -before, at->lanes),
              b = scaled(p, &at->axis[tap], dilation, 0, at->lanes);
        inner.axis[place] = index_sum(p, &a, &b, at->lanes);
        if (from->dim[tap] == 1) inner.axis[tap] = (Index){pull_i64(p, 0), 0, NULL};
        int64_t last = (node->type.dim[place] - 1) * stride + (node->type.dim[tap] - 1) * dilation - before;
        if (before > 0 || last >= from->dim[place])
            inside = both(p, inside, keep_inside(p, &inner, place, from->dim[place]), at->lanes);
    }
    LLVMValueRef value = pull_value(p, node->in[0], &inner);
    return inside ? choose(p, inside, value, constant_of(p, node->type.dtype, node->attr.window.value), at->lanes)
                  : value;
}

/* index / divisor where that is exact: *exact holds where it is, the rest is kept from being used. */
static Index divided(Pull *p, const Index *index, int64_t divisor, uint32_t lanes, LLVMValueRef *exact) {
    LLVMBuilderRef b = builder(p);
    *exact = NULL;
    if (divisor == 1) return *index;
    if (index_is_uniform(index)) {
        LLVMValueRef by = pull_i64(p, divisor), quotient = LLVMBuildSDiv(b, index->base, by, "");
        *exact = LLVMBuildICmp(b, LLVMIntEQ, LLVMBuildMul(b, quotient, by, ""), index->base, "");
        return (Index){quotient, 0, NULL};
    }
    LLVMValueRef by = pull_splat(p, pull_i64(p, divisor), lanes), vector = index_vector(p, index, lanes);
    LLVMValueRef quotient = LLVMBuildSDiv(b, vector, by, "");
    *exact = LLVMBuildICmp(b, LLVMIntEQ, LLVMBuildMul(b, quotient, by, ""), vector, "");
    return (Index){pull_i64(p, 0), 0, quotient};
}

static LLVMValueRef pull_unwindow(Pull *p, const Node *node, const Position *at) {
    const Type *from = &body(p)->nodes[node->in[0]].type;
    Position inner = *at;
    LLVMValueRef inside = NULL;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t place = WINDOW_PLACE + i, tap = WINDOW_TAP + i;
        Index a = scaled(p, &at->axis[place], 1, node->attr.window.before[i], at->lanes);
        Index b = scaled(p, &at->axis[tap], -node->attr.window.dilation[i], 0, at->lanes);
        Index sum = index_sum(p, &a, &b, at->lanes);
        LLVMValueRef exact;
        inner.axis[place] = divided(p, &sum, node->attr.window.stride[i], at->lanes, &exact);
        inside = both(p, inside, exact, at->lanes);
        inside = both(p, inside, keep_inside(p, &inner, place, from->dim[place]), at->lanes);
        if (exact && is_vector(exact)) inner.mask = both(p, inner.mask, exact, at->lanes);
    }
    LLVMValueRef value = pull_value(p, node->in[0], &inner);
    return choose(p, inside, value, constant_of(p, node->type.dtype, 0), at->lanes);
}

/* Where the index says, moved inside. */
static LLVMValueRef pull_gather(Pull *p, const Node *node, const Position *at) {
    LLVMBuilderRef b = builder(p);
    uint32_t axis = node->attr.axis;
    LLVMValueRef place = pull_value(p, node->in[1], at);
    bool wide = is_vector(place);
    LLVMTypeRef type = LLVMTypeOf(place), i64 = lanes_of(i64_type(p), wide ? at->lanes : 1);
    Dim last = body(p)->nodes[node->in[0]].type.dim[axis] - 1;
    LLVMValueRef most =
        LLVMConstInt(pull_type(p, DTYPE_i32, 1), (unsigned long long)(last < INT32_MAX ? last : INT32_MAX), false);
    place = pull_max(p, place, LLVMConstNull(type));
    place = pull_min(p, place, wide ? pull_splat(p, most, at->lanes) : most);
    place = LLVMBuildSExt(b, place, i64, "");
    Position inner = *at;
    inner.axis[axis] = wide ? (Index){pull_i64(p, 0), 0, place} : (Index){place, 0, NULL};
    return pull_value(p, node->in[0], &inner);
}

/* ---- leaves ---- */

static LLVMValueRef from_memory(Pull *p, DType dtype, LLVMValueRef value) {
    if (dtype != DTYPE_bool) return value;
    return LLVMBuildICmp(builder(p), LLVMIntNE, value, LLVMConstNull(LLVMTypeOf(value)), "");
}

/* The lanes the other way round. */
static LLVMValueRef reversed(Pull *p, LLVMValueRef value, uint32_t lanes) {
    LLVMValueRef order[64];
    for (uint32_t i = 0; i < lanes; i++)
        order[i] = LLVMConstInt(LLVMInt32TypeInContext(p->e->context), lanes - 1 - i, false);
    return LLVMBuildShuffleVector(builder(p), value, value, LLVMConstVector(order, lanes), "");
}

enum { LONGEST_STEP = 4 };

/* Elements `step` apart: all that lies between the first and the last is loaded, and shuffled. */
static LLVMValueRef strided_load(Pull *p, LLVMTypeRef element, LLVMValueRef start, int64_t step, uint32_t lanes,
                                 uint32_t bytes, bool is_constant) {
    int64_t last = (int64_t)(lanes - 1) * (step - 1); /* where the last load begins */
    LLVMValueRef result = NULL;
    for (int64_t k = 0; k < step; k++) {
        int64_t from = k * lanes < last ? k * lanes : last;
        LLVMValueRef order[64], pointer = pull_address(p, start, element, pull_i64(p, from));
        LLVMValueRef part = pull_load(p, LLVMVectorType(element, lanes), pointer, bytes, NULL, is_constant);
        for (uint32_t i = 0; i < lanes; i++) {
            int64_t inside = (int64_t)i * step - from;
            bool is_here = inside >= 0 && inside < lanes;
            order[i] =
                LLVMConstInt(LLVMInt32TypeInContext(p->e->context), is_here ? lanes + (uint64_t)inside : i, false);
        }
        result = LLVMBuildShuffleVector(builder(p), result ? result : part, part, LLVMConstVector(order, lanes), "");
    }
    return result;
}

static LLVMValueRef pull_input(Pull *p, const Node *node, const Position *at) {
    Extent dense[MAX_RANK];
    LLVMValueRef vectors;
    strided_dense(&node->type, dense);
    Index flat = flat_parts(p, at, dense, node->type.rank, &vectors);
    DType dtype = node->type.dtype;
    uint32_t bytes = dtype_info[dtype].bytes;
    LLVMTypeRef element = pull_memory_type(p, dtype, 1), vector = pull_memory_type(p, dtype, at->lanes);
    LLVMValueRef base = p->args[node->attr.index], value;
    bool is_constant = p->is_constant[node->attr.index];
    if (!vectors && (at->lanes == 1 || flat.step == 0)) {
        value = pull_load(p, element, pull_address(p, base, element, flat.base), bytes, NULL, is_constant);
    } else if (!vectors && flat.step == 1) {
        value =
            pull_load(p, vector, masked_address(p, base, element, flat.base, at->mask), bytes, at->mask, is_constant);
    } else if (!vectors && flat.step == -1) {
        LLVMValueRef last = pull_add(p, flat.base, pull_i64(p, 1 - (int64_t)at->lanes));
        LLVMValueRef mask = at->mask ? reversed(p, at->mask, at->lanes) : NULL;
        value = pull_load(p, vector, masked_address(p, base, element, last, mask), bytes, mask, is_constant);
        value = reversed(p, value, at->lanes);
    } else if (!vectors && flat.step > 0 && flat.step <= LONGEST_STEP && !at->mask) {
        value = strided_load(p, element, pull_address(p, base, element, flat.base), flat.step, at->lanes, bytes,
                             is_constant);
    } else {
        /* what all lanes share goes into the pointer, so that 32 bits of offset may be seen to be enough */
        LLVMValueRef start = vectors ? pull_address(p, base, element, flat.base) : base, offsets = vectors;
        Index even = {vectors ? pull_i64(p, 0) : flat.base, flat.step, NULL};
        if (!offsets)
            offsets = index_vector(p, &even, at->lanes);
        else if (flat.step)
            offsets = LLVMBuildAdd(builder(p), offsets, index_vector(p, &even, at->lanes), "");
        LLVMValueRef pointers = LLVMBuildGEP2(builder(p), element, start, &offsets, 1, "");
        LLVMValueRef mask = at->mask ? at->mask : LLVMConstAllOnes(pull_type(p, DTYPE_bool, at->lanes));
        LLVMTypeRef types[] = {vector, LLVMTypeOf(pointers)};
        LLVMValueRef args[] = {pointers, mask, LLVMConstNull(vector)};
        value = pull_intrinsic(p, "llvm.masked.gather", types, 2, args, 3);
        pull_set_alignment(p, value, 0, bytes);
    }
    return from_memory(p, dtype, value);
}

static LLVMValueRef index_value(Pull *p, const Index *index, uint32_t lanes) {
    return index_is_uniform(index) ? index->base : index_vector(p, index, lanes);
}

static LLVMValueRef pull_iota(Pull *p, const Node *node, const Position *at) {
    LLVMValueRef value = index_value(p, &at->axis[node->attr.axis], at->lanes);
    return math_cast(p->e, value, DTYPE_i64, node->type.dtype);
}

static LLVMValueRef to_i32(Pull *p, LLVMValueRef value, uint32_t lanes) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(p->e->context);
    return LLVMBuildTrunc(builder(p), value, is_vector(value) ? LLVMVectorType(i32, lanes) : i32, "");
}

static LLVMValueRef pull_random(Pull *p, const Node *node, const Position *at) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(p->e->context);
    LLVMValueRef key[3];
    for (int i = 0; i < 3; i++) {
        Position one = {.rank = 1, .lanes = 1, .axis = {{pull_i64(p, i), 0, NULL}}};
        key[i] = pull_value(p, node->in[0], &one);
    }
    const Type *samples = &body(p)->nodes[node->in[1]].type;
    bool per_sample = node->type.rank && samples->dim[0] != 1;
    Position sample_at = {.rank = 1, .lanes = at->lanes, .mask = at->mask, .axis = {{pull_i64(p, 0), 0, NULL}}};
    if (per_sample) sample_at.axis[0] = at->axis[0];
    LLVMValueRef sample = pull_value(p, node->in[1], &sample_at);
    Extent dense[MAX_RANK];
    strided_dense(&node->type, dense);
    if (per_sample) dense[0] = (Extent){0};
    Index flat = flat_index(p, at, dense, node->type.rank);
    LLVMValueRef element = to_i32(p, index_value(p, &flat, at->lanes), at->lanes);
    bool wide = is_vector(sample) || is_vector(element);
    LLVMValueRef counter[4] = {element, sample, key[2], LLVMConstInt(i32, node->attr.random.stream, false)};
    if (wide)
        for (int i = 0; i < 4; i++) counter[i] = pull_splat(p, counter[i], at->lanes);
    return math_philox(p->e, counter, key, node->attr.random.word);
}

/* ---- all together ---- */

/* A reduction that was not given has only axes of size 1 to reduce: the one element, or its position. */
static LLVMValueRef pull_trivial_reduction(Pull *p, const Node *node, const Position *at) {
    const Type *from = &body(p)->nodes[node->in[0]].type;
    for (uint32_t i = 0; i < from->rank; i++) CHECK(!(node->attr.axes >> i & 1) || from->dim[i] == 1);
    if (node->op == OP_argmax) return LLVMConstNull(pull_type(p, node->type.dtype, 1));
    return pull_value(p, node->in[0], at);
}

static Position transposed(const Position *at, const Node *node) {
    Position result = *at;
    for (uint32_t i = 0; i < at->rank; i++) result.axis[node->attr.permutation[i]] = at->axis[i];
    return result;
}

static Position broadcast_from(Pull *p, const Position *at, const Type *from) {
    Position result = *at;
    for (uint32_t i = 0; i < at->rank; i++)
        if (from->dim[i] == 1) result.axis[i] = (Index){pull_i64(p, 0), 0, NULL};
    return result;
}

static LLVMValueRef compute(Pull *p, NodeId id, const Position *at) {
    const Node *node = &body(p)->nodes[id];
    const Type *from = &body(p)->nodes[node->in[0]].type;
    Position inner;
    switch (op_info[node->op].class) {
    case CLASS_unary:
    case CLASS_function:
    case CLASS_binary:
    case CLASS_ternary: return pull_elementwise(p, node, at);
    case CLASS_reduce: return pull_trivial_reduction(p, node, at);
    case CLASS_leaf:
    case CLASS_index:
    case CLASS_scatter:
    case CLASS_contract:
    case CLASS_attention:
    case CLASS_meta: break;
    }
    switch ((int)node->op) {
    case OP_input: return pull_input(p, node, at);
    case OP_constant: return constant_of(p, node->type.dtype, node->attr.value);
    case OP_iota: return pull_iota(p, node, at);
    case OP_random: return pull_random(p, node, at);
    case OP_pad: return pull_pad(p, node, at);
    case OP_concat: return pull_concat(p, node, at);
    case OP_window: return pull_window(p, node, at);
    case OP_unwindow: return pull_unwindow(p, node, at);
    case OP_gather: return pull_gather(p, node, at);
    case OP_broadcast: inner = broadcast_from(p, at, from); break;
    case OP_reshape: inner = reshaped(p, at, &node->type, from); break;
    case OP_transpose: inner = transposed(at, node); break;
    case OP_slice: inner = sliced(p, at, node); break;
    default: BUG("%s cannot be pulled", op_info[node->op].name);
    }
    return pull_value(p, node->in[0], &inner);
}

static bool same_position(const Position *a, const Position *b) {
    if (a->rank != b->rank || a->lanes != b->lanes || a->mask != b->mask) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->axis[i].base != b->axis[i].base || a->axis[i].step != b->axis[i].step ||
            a->axis[i].vector != b->axis[i].vector)
            return false;
    return true;
}

static void remember(Pull *p, NodeId id, const Position *at, LLVMValueRef value) {
    if (p->known_count == p->known_capacity) {
        uint32_t capacity = p->known_capacity ? p->known_capacity * 2 : 256;
        Known *known = arena_array(p->e->arena, Known, capacity);
        if (p->known_count) memcpy(known, p->known, p->known_count * sizeof *known);
        p->known = known;
        p->known_capacity = capacity;
    }
    p->known[p->known_count++] = (Known){id, *at, value};
}

LLVMValueRef pull_value(Pull *p, NodeId id, const Position *at) {
    if (p->given[id]) return p->given[id];
    if (p->taken[id] && at->axis[0].base == p->sample && index_is_uniform(&at->axis[0]))
        return pull_value(p, body(p)->nodes[id].in[p->taken[id]], at);
    for (uint32_t i = p->known_count; i--;)
        if (p->known[i].node == id && same_position(&p->known[i].at, at)) return p->known[i].value;
    LLVMValueRef value = compute(p, id, at);
    remember(p, id, at, value);
    return value;
}

enum {
    LEAST_STREAMED = 32, /* half a line of the cache: lines must be written whole, the other half at once after it */
    LINE = 64            /* which buffers begin with */
};

static void stream_to(Pull *p, LLVMValueRef value, LLVMValueRef pointer, uint32_t bytes) {
    LLVMContextRef c = p->e->context;
    LLVMValueRef store = LLVMBuildStore(builder(p), value, pointer);
    LLVMMetadataRef one = LLVMValueAsMetadata(LLVMConstInt(LLVMInt32TypeInContext(c), 1, false));
    LLVMSetAlignment(store, bytes < LINE ? bytes : LINE);
    LLVMSetMetadata(store, LLVMGetMDKindIDInContext(c, "nontemporal", 11),
                    LLVMMetadataAsValue(c, LLVMMDNodeInContext2(c, &one, 1)));
}

void pull_end(Pull *p) {
    if (p->streams) pull_intrinsic(p, "llvm.x86.sse.sfence", NULL, 0, NULL, 0);
}

void pull_store(Pull *p, uint32_t output, const Position *at, LLVMValueRef value) {
    const Type *type = &body(p)->nodes[body(p)->outputs[output].node].type;
    Extent dense[MAX_RANK];
    strided_dense(type, dense);
    Index flat = flat_index(p, at, dense, type->rank);
    uint32_t lanes = index_is_uniform(&flat) ? 1 : at->lanes;
    CHECK(lanes == 1 || (!flat.vector && flat.step == 1));
    LLVMTypeRef element = pull_memory_type(p, type->dtype, 1);
    value = lanes == 1 && is_vector(value) ? LLVMBuildExtractElement(builder(p), value, pull_i64(p, 0), "")
                                           : pull_splat(p, value, lanes);
    if (type->dtype == DTYPE_bool) value = LLVMBuildZExt(builder(p), value, lanes_of(element, lanes), "");
    LLVMValueRef pointer = pull_address(p, p->args[body(p)->input_count + output], element, flat.base);
    uint32_t bytes = lanes * dtype_info[type->dtype].bytes;
    if (p->streams && bytes >= LEAST_STREAMED && !at->mask) {
        stream_to(p, value, pointer, bytes);
        return;
    }
    pull_store_to(p, value, pointer, dtype_info[type->dtype].bytes, lanes == 1 ? NULL : at->mask);
}

/* Vector `part` of what comes out when `count` vectors are dealt out element by element. */
static LLVMValueRef interleaved(Pull *p, const LLVMValueRef *values, uint32_t count, uint32_t lanes, uint32_t part) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(p->e->context);
    LLVMValueRef result = values[0];
    for (uint32_t k = 0; k < count; k++) {
        LLVMValueRef order[64];
        for (uint32_t i = 0; i < lanes; i++) {
            uint32_t element = part * lanes + i, from = element % count;
            order[i] = LLVMConstInt(i32, from == k ? lanes + element / count : k ? i : 0, false);
        }
        result = LLVMBuildShuffleVector(builder(p), result, values[k], LLVMConstVector(order, lanes), "");
    }
    return result;
}

void pull_store_interleaved(Pull *p, uint32_t output, const Position *at, const LLVMValueRef *values, uint32_t count) {
    const Type *type = &body(p)->nodes[body(p)->outputs[output].node].type;
    LLVMTypeRef element = pull_memory_type(p, type->dtype, 1);
    uint32_t bytes = dtype_info[type->dtype].bytes, lanes = at->lanes;
    LLVMValueRef base = p->args[body(p)->input_count + output], all[64];
    Extent dense[MAX_RANK];
    strided_dense(type, dense);
    Index flat = flat_index(p, at, dense, type->rank);
    CHECK(!flat.vector && (lanes == 1 || flat.step == (int64_t)count));
    for (uint32_t k = 0; k < count; k++) {
        all[k] = pull_splat(p, values[k], lanes);
        if (type->dtype == DTYPE_bool) all[k] = LLVMBuildZExt(builder(p), all[k], lanes_of(element, lanes), "");
    }
    for (uint32_t part = 0; part < count; part++) {
        LLVMValueRef offset = pull_add(p, flat.base, pull_i64(p, (int64_t)(part * lanes)));
        LLVMValueRef pointer = pull_address(p, base, element, offset), masks[64], mask = NULL;
        for (uint32_t k = 0; k < count; k++) masks[k] = at->mask;
        if (lanes > 1 && at->mask) mask = interleaved(p, masks, count, lanes, part);
        LLVMValueRef value = lanes == 1 ? all[part] : interleaved(p, all, count, lanes, part);
        pull_store_to(p, value, pointer, bytes, mask);
    }
}

Pull *pull_begin(Emitter *e) {
    Pull *p = arena_alloc(e->arena, sizeof *p);
    const Graph *graph = e->kernel->body;
    uint32_t count = graph->input_count + graph->output_count;
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->context, 0);
    p->e = e;
    p->n = LLVMGetParam(e->function, 1);
    p->streams = e->kernel->streams;
    p->given = arena_array(e->arena, LLVMValueRef, graph->count + 1);
    p->taken = arena_array(e->arena, uint8_t, e->kernel->body->count + 1);
    p->args = arena_array(e->arena, LLVMValueRef, count + 1);
    p->is_constant = arena_array(e->arena, bool, graph->input_count + 1);
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef slot = pull_address(p, LLVMGetParam(e->function, 0), pointer, pull_i64(p, i));
        p->args[i] = pull_load(p, pointer, slot, 8, NULL, true);
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        p->is_constant[i] = true;
        for (uint32_t k = 0; k < graph->output_count; k++)
            if (kernel_may_update(e->kernel, i, k)) p->is_constant[i] = false;
    }
    return p;
}
