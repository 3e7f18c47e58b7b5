/* What elementwise operations and steps of reductions compute, on scalars or on vectors; pull.c says where their
 * operands come from. Whatever a processor would call a library for is made of instructions that all of them have. */
#include "backend/pull.h"

static LLVMBuilderRef builder(Pull *p) { return p->e->builder; }
static const Graph *body(Pull *p) { return p->e->kernel->body; }
static bool is_vector(LLVMValueRef value) { return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind; }

/* Products may fuse with sums: one rounding less. */
static LLVMValueRef contracted(LLVMValueRef value) {
    if (LLVMCanValueUseFastMathFlags(value)) LLVMSetFastMathFlags(value, LLVMFastMathAllowContract);
    return value;
}

static LLVMValueRef intrinsic_1(Pull *p, const char *name, LLVMValueRef a) {
    LLVMTypeRef type = LLVMTypeOf(a);
    return pull_intrinsic(p, name, &type, 1, &a, 1);
}

static LLVMValueRef sign_of(Pull *p, bool is_float, LLVMValueRef a) {
    LLVMBuilderRef b = builder(p);
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMValueRef zero = LLVMConstNull(type);
    LLVMValueRef above =
        is_float ? LLVMBuildFCmp(b, LLVMRealOGT, a, zero, "") : LLVMBuildICmp(b, LLVMIntSGT, a, zero, "");
    LLVMValueRef below =
        is_float ? LLVMBuildFCmp(b, LLVMRealOLT, a, zero, "") : LLVMBuildICmp(b, LLVMIntSLT, a, zero, "");
    if (!is_float) return LLVMBuildSub(b, LLVMBuildZExt(b, above, type, ""), LLVMBuildZExt(b, below, type, ""), "");
    LLVMTypeRef element = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
    uint32_t lanes = element == type ? 1 : LLVMGetVectorSize(type);
    LLVMValueRef one = pull_splat(p, LLVMConstReal(element, 1), lanes),
                 minus = pull_splat(p, LLVMConstReal(element, -1), lanes);
    return LLVMBuildSelect(b, above, one, LLVMBuildSelect(b, below, minus, a, ""), ""); /* zeros and NaN stay */
}

/* By way of whole numbers, since a processor without SSE4.1 would call a library: beyond 2^23 every float is whole, and
 * NaN stays what it is. */
static LLVMValueRef floor_of(Pull *p, LLVMValueRef a) {
    LLVMBuilderRef b = builder(p);
    LLVMTypeRef type = LLVMTypeOf(a);
    uint32_t lanes = is_vector(a) ? LLVMGetVectorSize(type) : 1;
    LLVMTypeRef f32 = pull_type(p, DTYPE_f32, 1);
    LLVMValueRef limit = pull_splat(p, LLVMConstReal(f32, 8388608), lanes),
                 one = pull_splat(p, LLVMConstReal(f32, 1), lanes);
    LLVMValueRef is_small = LLVMBuildFCmp(b, LLVMRealOLT, intrinsic_1(p, "llvm.fabs", a), limit, "");
    LLVMValueRef safe = LLVMBuildSelect(b, is_small, a, LLVMConstNull(type), "");
    LLVMValueRef whole = LLVMBuildSIToFP(b, LLVMBuildFPToSI(b, safe, pull_type(p, DTYPE_i32, lanes), ""), type, "");
    LLVMValueRef below = LLVMBuildFSub(b, whole, one, "");
    LLVMValueRef is_above = LLVMBuildFCmp(b, LLVMRealOGT, whole, safe, "");
    return LLVMBuildSelect(b, is_small, LLVMBuildSelect(b, is_above, below, whole, ""), a, "");
}

static LLVMValueRef unary(Pull *p, const Node *node, LLVMValueRef a) {
    LLVMBuilderRef b = builder(p);
    bool is_float = node->type.dtype == DTYPE_f32;
    switch ((int)node->op) {
    case OP_neg: return is_float ? LLVMBuildFNeg(b, a, "") : LLVMBuildNeg(b, a, "");
    case OP_abs:
        if (is_float) return intrinsic_1(p, "llvm.fabs", a);
        return LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, a, LLVMConstNull(LLVMTypeOf(a)), ""),
                               LLVMBuildNeg(b, a, ""), a, "");
    case OP_sign: return sign_of(p, is_float, a);
    case OP_floor: return floor_of(p, a);
    case OP_exp: return math_exp(p->e, a);
    case OP_log: return math_log(p->e, a);
    case OP_sqrt: return intrinsic_1(p, "llvm.sqrt", a);
    case OP_tanh: return math_tanh(p->e, a);
    case OP_sigmoid: return math_sigmoid(p->e, a);
    case OP_erf: return math_erf(p->e, a);
    case OP_sin: return math_sin(p->e, a);
    case OP_cos: return math_cos(p->e, a);
    case OP_not: return LLVMBuildNot(b, a, "");
    case OP_cast: return math_cast(p->e, a, body(p)->nodes[node->in[0]].type.dtype, node->type.dtype);
    case OP_stop_gradient: return a;
    }
    BUG("%s is not unary", op_info[node->op].name);
}

/* The larger (or smaller) of two floats; NaN if either is. A comparison is false for NaN, so the operand that may be
 * NaN must be what a false comparison picks. */
static LLVMValueRef float_extreme(Pull *p, LLVMValueRef a, LLVMValueRef b, LLVMRealPredicate worse, bool b_is_number) {
    LLVMValueRef result = LLVMBuildSelect(builder(p), LLVMBuildFCmp(builder(p), worse, a, b, ""), b, a, "");
    if (b_is_number) return result;
    LLVMValueRef is_nan = LLVMBuildFCmp(builder(p), LLVMRealUNO, b, b, "");
    return LLVMBuildSelect(builder(p), is_nan, b, result, "");
}

static LLVMValueRef shift_amount(Pull *p, LLVMValueRef amount, DType dtype, uint32_t lanes) {
    LLVMValueRef width = LLVMConstInt(pull_type(p, dtype, 1), dtype_info[dtype].bytes * 8 - 1, false);
    return LLVMBuildAnd(builder(p), amount, is_vector(amount) ? pull_splat(p, width, lanes) : width, "");
}

static LLVMValueRef binary(Pull *p, const Node *node, LLVMValueRef x, LLVMValueRef y, uint32_t lanes) {
    LLVMBuilderRef b = builder(p);
    DType dtype = body(p)->nodes[node->in[0]].type.dtype;
    bool is_float = dtype == DTYPE_f32;
    const Node *right = &body(p)->nodes[node->in[1]];
    bool y_is_number = right->op == OP_constant && right->attr.value == right->attr.value; /* no NaN */
    switch ((int)node->op) {
    case OP_add: return is_float ? contracted(LLVMBuildFAdd(b, x, y, "")) : LLVMBuildAdd(b, x, y, "");
    case OP_sub: return is_float ? contracted(LLVMBuildFSub(b, x, y, "")) : LLVMBuildSub(b, x, y, "");
    case OP_mul: return is_float ? contracted(LLVMBuildFMul(b, x, y, "")) : LLVMBuildMul(b, x, y, "");
    case OP_div: return LLVMBuildFDiv(b, x, y, "");
    case OP_max: return is_float ? float_extreme(p, x, y, LLVMRealOLT, y_is_number) : pull_max(p, x, y);
    case OP_min: return is_float ? float_extreme(p, x, y, LLVMRealOGT, y_is_number) : pull_min(p, x, y);
    case OP_less: return is_float ? LLVMBuildFCmp(b, LLVMRealOLT, x, y, "") : LLVMBuildICmp(b, LLVMIntSLT, x, y, "");
    case OP_equal: return is_float ? LLVMBuildFCmp(b, LLVMRealOEQ, x, y, "") : LLVMBuildICmp(b, LLVMIntEQ, x, y, "");
    case OP_and: return LLVMBuildAnd(b, x, y, "");
    case OP_or: return LLVMBuildOr(b, x, y, "");
    case OP_xor: return LLVMBuildXor(b, x, y, "");
    case OP_shift_left: return LLVMBuildShl(b, x, shift_amount(p, y, dtype, lanes), "");
    case OP_shift_right: return LLVMBuildLShr(b, x, shift_amount(p, y, dtype, lanes), "");
    }
    BUG("%s is not binary", op_info[node->op].name);
}

LLVMValueRef pull_elementwise(Pull *p, const Node *node, const Position *at) {
    LLVMValueRef in[MAX_INPUTS];
    bool wide = false;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
        in[i] = pull_value(p, node->in[i], at);
        wide |= is_vector(in[i]);
    }
    for (uint32_t i = 0; wide && i < op_info[node->op].inputs; i++) in[i] = pull_splat(p, in[i], at->lanes);
    switch (op_info[node->op].inputs) {
    case 1: return unary(p, node, in[0]);
    case 2: return binary(p, node, in[0], in[1], at->lanes);
    default: return LLVMBuildSelect(builder(p), in[0], in[1], in[2], "");
    }
}

LLVMValueRef pull_combine(Pull *p, const Node *reduction, LLVMValueRef a, LLVMValueRef b) {
    bool is_float = reduction->type.dtype == DTYPE_f32;
    if (reduction->op == OP_sum)
        return is_float ? contracted(LLVMBuildFAdd(builder(p), a, b, "")) : LLVMBuildAdd(builder(p), a, b, "");
    return is_float ? float_extreme(p, a, b, LLVMRealOLT, false) : pull_max(p, a, b);
}
