/* Conversions between all element types.
 *
 * Where a target has no instruction for a narrow float, its bits are made with integers; LLVM would call a support
 * routine. To a narrower float rounds to nearest even and keeps NaN, made quiet; a float or an integer to an
 * integer rounds towards zero and saturates, NaN gives 0; to bool means not zero. */
#include "backend/math_internal.h"

static LLVMTypeRef cast_type(Emitter *e, DType dtype, LLVMValueRef like) {
    LLVMContextRef c = e->context;
    LLVMTypeRef const element[DTYPE_COUNT] = {
        [DTYPE_f32] = LLVMFloatTypeInContext(c), [DTYPE_bf16] = LLVMInt16TypeInContext(c),
        [DTYPE_f16] = LLVMInt16TypeInContext(c), [DTYPE_i8] = LLVMInt8TypeInContext(c),
        [DTYPE_u8] = LLVMInt8TypeInContext(c),   [DTYPE_i32] = LLVMInt32TypeInContext(c),
        [DTYPE_i64] = LLVMInt64TypeInContext(c), [DTYPE_bool] = LLVMInt1TypeInContext(c),
    };
    return math_shape(element[dtype], like);
}

static bool cast_is_narrow_float(DType dtype) { return dtype == DTYPE_bf16 || dtype == DTYPE_f16; }
static bool cast_is_signed(DType dtype) { return dtype != DTYPE_u8 && dtype != DTYPE_bool; }

/* Whether f16 ↔ f32 is an instruction. */
static bool cast_has_half(const Emitter *e) { return math_has(e, "+f16c") || math_has(e, "+neon"); }

static LLVMValueRef cast_bits_16(Emitter *e, LLVMValueRef x) {
    return LLVMBuildTrunc(e->builder, x, cast_type(e, DTYPE_bf16, x), "");
}
static LLVMValueRef cast_bits_32(Emitter *e, LLVMValueRef x) {
    return LLVMBuildZExt(e->builder, x, cast_type(e, DTYPE_i32, x), "");
}

static LLVMValueRef cast_shift_down(Emitter *e, LLVMValueRef x, uint32_t bits) {
    return LLVMBuildLShr(e->builder, x, math_i32(e, x, bits), "");
}

/* The upper part of `bits`, without its lowest `drop` bits, rounded to nearest even. */
static LLVMValueRef cast_round_bits(Emitter *e, LLVMValueRef bits, uint32_t drop) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef odd = LLVMBuildAnd(b, cast_shift_down(e, bits, drop), math_i32(e, bits, 1), "");
    LLVMValueRef half = LLVMBuildAdd(b, odd, math_i32(e, bits, (1u << (drop - 1)) - 1), "");
    return cast_shift_down(e, LLVMBuildAdd(b, bits, half, ""), drop);
}

static LLVMValueRef cast_to_bf16(Emitter *e, LLVMValueRef x) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef bits = math_bits(e, x), is_nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");
    LLVMValueRef quiet = LLVMBuildOr(b, cast_shift_down(e, bits, 16), math_i32(e, bits, 0x40), "");
    return cast_bits_16(e, LLVMBuildSelect(b, is_nan, quiet, cast_round_bits(e, bits, 16), ""));
}

static LLVMValueRef cast_from_bf16(Emitter *e, LLVMValueRef x) {
    LLVMValueRef bits = cast_bits_32(e, x);
    return math_from_bits(e, LLVMBuildShl(e->builder, bits, math_i32(e, bits, 16), ""));
}

/* f32 → f16 by integers. Adding 0.5 rounds to multiples of 2^-24, which is what subnormal halves are. */
static LLVMValueRef cast_to_half_bits(Emitter *e, LLVMValueRef x) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef size = math_abs(e, x), bits = math_bits(e, size);
    LLVMValueRef rebased = LLVMBuildSub(b, bits, math_i32(e, bits, 112u << 23), "");
    LLVMValueRef normal = cast_round_bits(e, rebased, 13);
    LLVMValueRef half = math_f32(e, x, 0.5);
    LLVMValueRef subnormal = LLVMBuildSub(b, math_bits(e, LLVMBuildFAdd(b, size, half, "")), math_bits(e, half), "");
    LLVMValueRef payload = LLVMBuildAnd(b, cast_shift_down(e, bits, 13), math_i32(e, bits, 0x3ff), "");
    LLVMValueRef nan = LLVMBuildOr(b, payload, math_i32(e, bits, 0x7e00), "");

    LLVMValueRef is_small = LLVMBuildFCmp(b, LLVMRealOLT, size, math_f32(e, x, 0x1p-14), "");
    LLVMValueRef is_large = LLVMBuildFCmp(b, LLVMRealOGE, size, math_f32(e, x, 65536), "");
    LLVMValueRef is_nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");
    LLVMValueRef y = LLVMBuildSelect(b, is_small, subnormal, normal, "");
    y = LLVMBuildSelect(b, is_large, math_i32(e, bits, 0x7c00), y, "");
    y = LLVMBuildSelect(b, is_nan, nan, y, "");
    LLVMValueRef sign = LLVMBuildAnd(b, cast_shift_down(e, math_bits(e, x), 16), math_i32(e, bits, 0x8000), "");
    return cast_bits_16(e, LLVMBuildOr(b, y, sign, ""));
}

/* f16 → f32 by integers: the bits moved to their places in an f32 are 2^112 too small, subnormal ones too. */
static LLVMValueRef cast_from_half_bits(Emitter *e, LLVMValueRef x) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef bits = cast_bits_32(e, x);
    LLVMValueRef size = LLVMBuildAnd(b, bits, math_i32(e, bits, 0x7fff), "");
    LLVMValueRef moved = LLVMBuildShl(b, size, math_i32(e, bits, 13), "");
    LLVMValueRef finite = math_bits(e, LLVMBuildFMul(b, math_from_bits(e, moved), math_f32(e, bits, 0x1p112), ""));
    LLVMValueRef infinite = LLVMBuildOr(b, moved, math_i32(e, bits, 0x7f800000), "");
    LLVMValueRef nan = LLVMBuildOr(b, infinite, math_i32(e, bits, 0x400000), "");

    LLVMValueRef is_infinite = LLVMBuildICmp(b, LLVMIntEQ, size, math_i32(e, bits, 0x7c00), "");
    LLVMValueRef is_nan = LLVMBuildICmp(b, LLVMIntSGT, size, math_i32(e, bits, 0x7c00), "");
    LLVMValueRef y = LLVMBuildSelect(b, is_infinite, infinite, finite, "");
    y = LLVMBuildSelect(b, is_nan, nan, y, "");
    LLVMValueRef sign = LLVMBuildAnd(b, bits, math_i32(e, bits, 0x8000), "");
    return math_from_bits(e, LLVMBuildOr(b, y, LLVMBuildShl(b, sign, math_i32(e, bits, 16), ""), ""));
}

static LLVMValueRef cast_to_f16(Emitter *e, LLVMValueRef x) {
    if (!cast_has_half(e)) return cast_to_half_bits(e, x);
    LLVMValueRef half = LLVMBuildFPTrunc(e->builder, x, math_shape(LLVMHalfTypeInContext(e->context), x), "");
    return LLVMBuildBitCast(e->builder, half, cast_type(e, DTYPE_f16, x), "");
}

static LLVMValueRef cast_from_f16(Emitter *e, LLVMValueRef x) {
    if (!cast_has_half(e)) return cast_from_half_bits(e, x);
    LLVMValueRef half = LLVMBuildBitCast(e->builder, x, math_shape(LLVMHalfTypeInContext(e->context), x), "");
    return LLVMBuildFPExt(e->builder, half, cast_type(e, DTYPE_f32, x), "");
}

/* x without its lowest `drop` bits, but odd if they were not all zero: rounding the result to nearest at a higher bit
 * gives what rounding x would. */
static LLVMValueRef cast_drop_odd(Emitter *e, LLVMValueRef x, uint32_t drop) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef mask = math_i64(e, x, (1ull << drop) - 1), zero = math_i64(e, x, 0);
    LLVMValueRef is_exact = LLVMBuildICmp(b, LLVMIntEQ, LLVMBuildAnd(b, x, mask, ""), zero, "");
    LLVMValueRef odd = LLVMBuildSelect(b, is_exact, zero, math_i64(e, x, 1ull << drop), "");
    return LLVMBuildOr(b, LLVMBuildAnd(b, x, LLVMBuildNot(b, mask, ""), ""), odd, "");
}

/* Whether |x| < 2^bits. */
static LLVMValueRef cast_fits(Emitter *e, LLVMValueRef x, uint32_t bits) {
    LLVMValueRef moved = LLVMBuildAdd(e->builder, x, math_i64(e, x, 1ull << bits), "");
    return LLVMBuildICmp(e->builder, LLVMIntULT, moved, math_i64(e, x, 2ull << bits), "");
}

/* An i64 as an f32 that is exact, or odd in its last bit: by way of f64, which holds 53 bits. */
static LLVMValueRef cast_i64_to_odd_f32(Emitter *e, LLVMValueRef x) {
    LLVMBuilderRef b = e->builder;
    LLVMTypeRef f64 = math_shape(LLVMDoubleTypeInContext(e->context), x);
    x = LLVMBuildSelect(b, cast_fits(e, x, 53), x, cast_drop_odd(e, x, 11), "");
    LLVMValueRef wide = LLVMBuildBitCast(b, LLVMBuildSIToFP(b, x, f64, ""), LLVMTypeOf(x), "");
    wide = LLVMBuildBitCast(b, cast_drop_odd(e, wide, 29), f64, "");
    return LLVMBuildFPTrunc(b, wide, cast_type(e, DTYPE_f32, x), "");
}

/* To f32; when `to` is bf16, such an f32 that rounding it once more does no harm. Half precision needs no such care:
 * from 65520 on it is infinite, and below f32 is exact. */
static LLVMValueRef cast_to_f32(Emitter *e, LLVMValueRef x, DType from, DType to) {
    LLVMBuilderRef b = e->builder;
    LLVMTypeRef f32 = cast_type(e, DTYPE_f32, x);
    switch (from) {
    case DTYPE_f32: return x;
    case DTYPE_bf16: return cast_from_bf16(e, x);
    case DTYPE_f16: return cast_from_f16(e, x);
    case DTYPE_bool:
    case DTYPE_u8: return LLVMBuildUIToFP(b, x, f32, "");
    case DTYPE_i8: return LLVMBuildSIToFP(b, x, f32, "");
    case DTYPE_i32:
    case DTYPE_i64:
        if (to != DTYPE_bf16) return LLVMBuildSIToFP(b, x, f32, "");
        return cast_i64_to_odd_f32(e, LLVMBuildSExt(b, x, cast_type(e, DTYPE_i64, x), ""));
    }
    return x;
}

static LLVMValueRef cast_to_bool(Emitter *e, LLVMValueRef x, DType from) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x));
    if (from == DTYPE_f32) return LLVMBuildFCmp(b, LLVMRealUNE, x, zero, "");
    if (cast_is_narrow_float(from)) x = LLVMBuildAdd(b, x, x, ""); /* drops the sign */
    return LLVMBuildICmp(b, LLVMIntNE, x, zero, "");
}

/* Saturates x, signed, to from least to most and makes it of type `to`. */
static LLVMValueRef cast_clamp(Emitter *e, LLVMValueRef x, int64_t least, int64_t most, DType to) {
    LLVMTypeRef element = LLVMTypeOf(x);
    if (LLVMGetTypeKind(element) == LLVMVectorTypeKind) element = LLVMGetElementType(element);
    bool is_wide = LLVMGetIntTypeWidth(element) == 64;
    LLVMValueRef low = is_wide ? math_i64(e, x, (uint64_t)least) : math_i32(e, x, (uint32_t)least);
    LLVMValueRef high = is_wide ? math_i64(e, x, (uint64_t)most) : math_i32(e, x, (uint32_t)most);
    x = math_intrinsic(e, "llvm.smax", (LLVMValueRef[]){x, low}, 2);
    x = math_intrinsic(e, "llvm.smin", (LLVMValueRef[]){x, high}, 2);
    return LLVMBuildTrunc(e->builder, x, cast_type(e, to, x), "");
}

/* From an i32 or i64 to an integer at most as wide. */
static LLVMValueRef cast_narrow(Emitter *e, LLVMValueRef x, DType to) {
    if (to == DTYPE_u8) return cast_clamp(e, x, 0, UINT8_MAX, to);
    if (to == DTYPE_i8) return cast_clamp(e, x, INT8_MIN, INT8_MAX, to);
    return cast_clamp(e, x, INT32_MIN, INT32_MAX, to);
}

static LLVMValueRef cast_float_to_integer(Emitter *e, LLVMValueRef x, DType to) {
    LLVMTypeRef type = cast_type(e, to == DTYPE_i64 ? to : DTYPE_i32, x);
    LLVMTypeRef types[] = {type, LLVMTypeOf(x)};
    unsigned id = LLVMLookupIntrinsicID("llvm.fptosi.sat", 15);
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(e->module, id, types, 2);
    x = LLVMBuildCall2(e->builder, LLVMIntrinsicGetType(e->context, id, types, 2), function, &x, 1, "");
    return to == DTYPE_i8 || to == DTYPE_u8 ? cast_narrow(e, x, to) : x;
}

static LLVMValueRef cast_integer(Emitter *e, LLVMValueRef x, DType from, DType to) {
    DType wide = from == DTYPE_i64 || to == DTYPE_i64 ? DTYPE_i64 : DTYPE_i32;
    x = LLVMBuildIntCast2(e->builder, x, cast_type(e, wide, x), cast_is_signed(from), "");
    return to == wide ? x : cast_narrow(e, x, to);
}

LLVMValueRef math_cast(Emitter *e, LLVMValueRef x, DType from, DType to) {
    bool is_float = from == DTYPE_f32 || cast_is_narrow_float(from);
    if (from == to) return x;
    switch (to) {
    case DTYPE_f32: return cast_to_f32(e, x, from, to);
    case DTYPE_bf16: return cast_to_bf16(e, cast_to_f32(e, x, from, to));
    case DTYPE_f16: return cast_to_f16(e, cast_to_f32(e, x, from, to));
    case DTYPE_bool: return cast_to_bool(e, x, from);
    case DTYPE_i8:
    case DTYPE_u8:
    case DTYPE_i32:
    case DTYPE_i64:
        if (is_float) return cast_float_to_integer(e, cast_to_f32(e, x, from, DTYPE_f32), to);
        return cast_integer(e, x, from, to);
    }
    return x;
}
