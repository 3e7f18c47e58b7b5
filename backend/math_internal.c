/* The small operations that elementary functions, conversions and random numbers are made of.
 *
 * Constants are splatted to the shape of a value at hand. What LLVM could turn into a call of libm or of the
 * compiler's support routines is not used: of the intrinsics only those that every target does in line. */
#include "backend/math_internal.h"

#include <string.h>

uint32_t math_lanes(LLVMValueRef like) {
    LLVMTypeRef type = LLVMTypeOf(like);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetVectorSize(type) : 1;
}

LLVMTypeRef math_shape(LLVMTypeRef element, LLVMValueRef like) {
    LLVMTypeRef type = LLVMTypeOf(like);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMVectorType(element, LLVMGetVectorSize(type)) : element;
}

enum { MATH_MOST_LANES = 64 };

static LLVMValueRef math_splat(LLVMValueRef value, LLVMValueRef like) {
    LLVMValueRef all[MATH_MOST_LANES];
    if (LLVMGetTypeKind(LLVMTypeOf(like)) != LLVMVectorTypeKind) return value;
    uint32_t lanes = math_lanes(like);
    for (uint32_t i = 0; i < lanes && i < MATH_MOST_LANES; i++) all[i] = value;
    return LLVMConstVector(all, lanes);
}

LLVMValueRef math_f32(Emitter *e, LLVMValueRef like, double value) {
    return math_splat(LLVMConstReal(LLVMFloatTypeInContext(e->context), value), like);
}

LLVMValueRef math_f64(Emitter *e, LLVMValueRef like, double value) {
    return math_splat(LLVMConstReal(LLVMDoubleTypeInContext(e->context), value), like);
}

LLVMValueRef math_i32(Emitter *e, LLVMValueRef like, uint32_t value) {
    return math_splat(LLVMConstInt(LLVMInt32TypeInContext(e->context), value, false), like);
}

LLVMValueRef math_i64(Emitter *e, LLVMValueRef like, uint64_t value) {
    return math_splat(LLVMConstInt(LLVMInt64TypeInContext(e->context), value, false), like);
}

LLVMValueRef math_bits(Emitter *e, LLVMValueRef x) {
    return LLVMBuildBitCast(e->builder, x, math_shape(LLVMInt32TypeInContext(e->context), x), "");
}

LLVMValueRef math_from_bits(Emitter *e, LLVMValueRef bits) {
    return LLVMBuildBitCast(e->builder, bits, math_shape(LLVMFloatTypeInContext(e->context), bits), "");
}

LLVMValueRef math_to_i64(Emitter *e, LLVMValueRef x) {
    return LLVMBuildZExt(e->builder, x, math_shape(LLVMInt64TypeInContext(e->context), x), "");
}

LLVMValueRef math_to_i32(Emitter *e, LLVMValueRef x) {
    return LLVMBuildTrunc(e->builder, x, math_shape(LLVMInt32TypeInContext(e->context), x), "");
}

static LLVMValueRef math_call(Emitter *e, const char *name, LLVMTypeRef *overload, size_t overloads, LLVMValueRef *args,
                              uint32_t count) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->module, id, overload, overloads);
    LLVMTypeRef type = LLVMIntrinsicGetType(e->context, id, overload, overloads);
    return LLVMBuildCall2(e->builder, type, function, args, count, "");
}

LLVMValueRef math_intrinsic(Emitter *e, const char *name, LLVMValueRef *args, uint32_t count) {
    LLVMTypeRef type = LLVMTypeOf(args[0]);
    return math_call(e, name, &type, 1, args, count);
}

LLVMValueRef math_machine(Emitter *e, const char *name, LLVMValueRef *args, uint32_t count) {
    return math_call(e, name, NULL, 0, args, count);
}

bool math_has(const Emitter *e, const char *feature) {
    size_t length = strlen(feature);
    for (const char *at = e->target->features; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == length && strncmp(at, feature, length) == 0) return true;
    return false;
}

LLVMValueRef math_abs(Emitter *e, LLVMValueRef x) { return math_intrinsic(e, "llvm.fabs", &x, 1); }

LLVMValueRef math_copysign(Emitter *e, LLVMValueRef size, LLVMValueRef sign) {
    return math_intrinsic(e, "llvm.copysign", (LLVMValueRef[]){size, sign}, 2);
}

LLVMValueRef math_fma(Emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    if (e->target->machine.has_fma) return math_intrinsic(e, "llvm.fma", (LLVMValueRef[]){a, b, c}, 3);
    return LLVMBuildFAdd(e->builder, LLVMBuildFMul(e->builder, a, b, ""), c, "");
}

LLVMValueRef math_fma_const(Emitter *e, LLVMValueRef a, double b, LLVMValueRef c) {
    return math_fma(e, a, math_f32(e, a, b), c);
}

/* Not llvm.minnum, which costs more to be right about NaN: this comparison and selection are one instruction on x86. */
LLVMValueRef math_at_most(Emitter *e, LLVMValueRef x, double limit) {
    LLVMValueRef most = math_f32(e, x, limit);
    return LLVMBuildSelect(e->builder, LLVMBuildFCmp(e->builder, LLVMRealOLT, most, x, ""), most, x, "");
}

LLVMValueRef math_at_least(Emitter *e, LLVMValueRef x, double limit) {
    LLVMValueRef least = math_f32(e, x, limit);
    return LLVMBuildSelect(e->builder, LLVMBuildFCmp(e->builder, LLVMRealOGT, least, x, ""), least, x, "");
}

LLVMValueRef math_polynomial(Emitter *e, LLVMValueRef x, const float *c, uint32_t count) {
    LLVMValueRef sum = math_f32(e, x, c[0]);
    for (uint32_t i = 1; i < count; i++) sum = math_fma(e, sum, x, math_f32(e, x, c[i]));
    return sum;
}
