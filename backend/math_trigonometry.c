/* sin and cos for every float.
 *
 * |x| = q pi/2 + r with |r| <= pi/4: q says which of the two polynomials, and with which sign. Up to a limit q is
 * exact and pi/2 is taken away in parts whose products with q are exact. Beyond, a vector that holds such a lane takes
 * a branch: the bits of 2/pi that matter for the lane's exponent are multiplied by its 24-bit mantissa in integers
 * (Payne and Hanek); higher bits would only add whole turns. 64 bits of the product leave at least 32 right ones in r,
 * however close to a multiple of pi/2 a float can be. */
#include "backend/math_internal.h"

#define TWO_OVER_PI 0x1.45f306p-1

/* pi/2 in parts, and the largest |x| that they serve. Without FMA the products must be exact by themselves. */
static const float fused_parts[] = {0x1.921fb6p0f, -0x1.777a5cp-25f, -0x1.ee59dap-50f};
static const float plain_parts[] = {0x1.921ep0f, 0x1.b544p-16f, 0x1.0b46p-34f, 0x1.1a6264p-54f};
#define FUSED_LIMIT 1e5
#define PLAIN_LIMIT 400.0

/* sin(r) = r + r^3 p(r^2) on |r| < 0.7933, error 2^-27.8 */
static const float sin_terms[] = {-0x1.991c26p-13f, 0x1.1106c6p-7f, -0x1.555544p-3f};
/* cos(r) = 1 + r^2 p(r^2), error 2^-32.7 */
static const float cos_terms[] = {0x1.99de6ap-16f, -0x1.6c0c14p-10f, 0x1.55554ap-5f, -0.5f};

typedef struct {
    LLVMValueRef r, quadrant; /* f32; i32 of which two bits count */
} Turn;

/* size - quarters * pi/2. The first difference is exact and the second rounds; the third is so small that it rounds
 * noticeably only where cancellation has made the second exact. */
static LLVMValueRef turn_take_fused(Emitter *e, LLVMValueRef size, LLVMValueRef quarters) {
    LLVMValueRef r = size;
    for (int i = 0; i < 3; i++) r = math_fma_const(e, quarters, -fused_parts[i], r);
    return r;
}

/* What the second difference loses is added to the parts that are left: all in all one rounding. */
static LLVMValueRef turn_take_plain(Emitter *e, LLVMValueRef size, LLVMValueRef quarters) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef first = math_fma_const(e, quarters, -plain_parts[0], size);
    LLVMValueRef product = LLVMBuildFMul(b, quarters, math_f32(e, size, plain_parts[1]), "");
    LLVMValueRef large = LLVMBuildFSub(b, first, product, "");
    LLVMValueRef small = LLVMBuildFSub(b, LLVMBuildFSub(b, first, large, ""), product, "");
    small = math_fma_const(e, quarters, -plain_parts[2], small);
    small = math_fma_const(e, quarters, -plain_parts[3], small);
    return LLVMBuildFAdd(b, large, small, "");
}

static Turn turn_near(Emitter *e, LLVMValueRef size) {
    LLVMValueRef round = math_f32(e, size, MATH_ROUND);
    LLVMValueRef sum = math_fma_const(e, size, TWO_OVER_PI, round);
    LLVMValueRef quarters = LLVMBuildFSub(e->builder, sum, round, "");
    bool fused = e->target->machine.has_fma;
    LLVMValueRef r = fused ? turn_take_fused(e, size, quarters) : turn_take_plain(e, size, quarters);
    return (Turn){r, math_bits(e, sum)};
}

/* 32 zeros, then the bits of 2/pi. */
static const uint32_t two_over_pi[] = {0x00000000, 0xa2f9836e, 0x4e441529, 0xfc2757d1,
                                       0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab};
enum { WINDOW_FIRST = 5 }; /* a window of four words begins at word 0 .. 4 */

static LLVMValueRef turn_table_word(Emitter *e, LLVMValueRef first, uint32_t offset) {
    LLVMValueRef word = math_i32(e, first, two_over_pi[offset]);
    for (uint32_t i = 1; i < WINDOW_FIRST; i++) {
        LLVMValueRef here = LLVMBuildICmp(e->builder, LLVMIntEQ, first, math_i32(e, first, i), "");
        word = LLVMBuildSelect(e->builder, here, math_i32(e, first, two_over_pi[offset + i]), word, "");
    }
    return math_to_i64(e, word);
}

/* Word `offset` of the window that begins at bit 32 * first + shift of the table, as i64. */
static LLVMValueRef turn_window_word(Emitter *e, LLVMValueRef first, LLVMValueRef shift, uint32_t offset) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef high = turn_table_word(e, first, offset), low = turn_table_word(e, first, offset + 1);
    LLVMValueRef half = math_i64(e, first, 32);
    LLVMValueRef pair = LLVMBuildOr(b, LLVMBuildShl(b, high, half, ""), low, "");
    return LLVMBuildLShr(b, LLVMBuildShl(b, pair, shift, ""), half, "");
}

/* |x| * 2/pi modulo 4 as a 64-bit fraction of 4, for 2^-7 * 2^23 <= |x|. The window's first bit is the one that the
 * lowest bit of the mantissa meets with weight 2. */
static LLVMValueRef turn_product(Emitter *e, LLVMValueRef bits) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef exponent = LLVMBuildLShr(b, bits, math_i32(e, bits, 23), "");
    LLVMValueRef mantissa = LLVMBuildAnd(b, bits, math_i32(e, bits, 0x7fffff), "");
    mantissa = math_to_i64(e, LLVMBuildOr(b, mantissa, math_i32(e, bits, 0x800000), ""));
    LLVMValueRef start = LLVMBuildSub(b, exponent, math_i32(e, bits, 120), "");
    LLVMValueRef first = LLVMBuildLShr(b, start, math_i32(e, bits, 5), "");
    LLVMValueRef shift = math_to_i64(e, LLVMBuildAnd(b, start, math_i32(e, bits, 31), ""));

    LLVMValueRef part[3], half = math_i64(e, bits, 32);
    for (uint32_t i = 0; i < 3; i++) part[i] = LLVMBuildMul(b, mantissa, turn_window_word(e, first, shift, i), "");
    LLVMValueRef sum = LLVMBuildAdd(b, LLVMBuildShl(b, part[0], half, ""), part[1], "");
    return LLVMBuildAdd(b, sum, LLVMBuildLShr(b, part[2], half, ""), "");
}

/* A fraction of 2^64, at least -1/2 and below 1/2, of pi/2. In f64, so that it is rounded once. */
static LLVMValueRef turn_radians(Emitter *e, LLVMValueRef fraction) {
    LLVMBuilderRef b = e->builder;
    LLVMTypeRef f32 = math_shape(LLVMFloatTypeInContext(e->context), fraction);
    LLVMTypeRef f64 = math_shape(LLVMDoubleTypeInContext(e->context), fraction);
    LLVMTypeRef i32 = math_shape(LLVMInt32TypeInContext(e->context), fraction);
    LLVMValueRef half = math_i64(e, fraction, 32);
    LLVMValueRef high = LLVMBuildSIToFP(b, math_to_i32(e, LLVMBuildLShr(b, fraction, half, "")), f64, "");
    LLVMValueRef low = LLVMBuildUIToFP(b, LLVMBuildTrunc(b, fraction, i32, ""), f64, "");
    high = LLVMBuildFMul(b, high, math_f64(e, fraction, 0x1.921fb54442d18p0 * 0x1p-32), "");
    low = LLVMBuildFMul(b, low, math_f64(e, fraction, 0x1.921fb54442d18p0 * 0x1p-64), "");
    return LLVMBuildFPTrunc(b, LLVMBuildFAdd(b, high, low, ""), f32, "");
}

static Turn turn_far(Emitter *e, LLVMValueRef size) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef product = turn_product(e, math_bits(e, size));
    LLVMValueRef half = LLVMBuildAdd(b, product, math_i64(e, product, 1ull << 61), "");
    LLVMValueRef quadrant = math_to_i32(e, LLVMBuildLShr(b, half, math_i64(e, product, 62), ""));
    LLVMValueRef r = turn_radians(e, LLVMBuildShl(b, product, math_i64(e, product, 2), ""));
    LLVMValueRef nothing = LLVMBuildFSub(b, size, size, ""); /* 0, but NaN for infinity and NaN */
    return (Turn){LLVMBuildFAdd(b, r, nothing, ""), quadrant};
}

static LLVMValueRef turn_any(Emitter *e, LLVMValueRef mask) {
    uint32_t lanes = math_lanes(mask);
    if (lanes == 1) return mask;
    LLVMTypeRef type = LLVMIntTypeInContext(e->context, lanes);
    LLVMValueRef bits = LLVMBuildBitCast(e->builder, mask, type, "");
    return LLVMBuildICmp(e->builder, LLVMIntNE, bits, LLVMConstNull(type), "");
}

/* Tells the code generator to keep the branch out of the way. */
static void turn_mark_rare(Emitter *e, LLVMValueRef branch) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(e->context);
    LLVMMetadataRef parts[] = {LLVMMDStringInContext2(e->context, "branch_weights", 14),
                               LLVMValueAsMetadata(LLVMConstInt(i32, 1, false)),
                               LLVMValueAsMetadata(LLVMConstInt(i32, 100000, false))};
    LLVMValueRef weights = LLVMMetadataAsValue(e->context, LLVMMDNodeInContext2(e->context, parts, 3));
    LLVMSetMetadata(branch, LLVMGetMDKindIDInContext(e->context, "prof", 4), weights);
}

static LLVMValueRef turn_merge(Emitter *e, LLVMValueRef usual, LLVMBasicBlockRef from, LLVMValueRef rare,
                               LLVMBasicBlockRef rare_from) {
    LLVMValueRef phi = LLVMBuildPhi(e->builder, LLVMTypeOf(usual), "");
    LLVMAddIncoming(phi, (LLVMValueRef[]){usual, rare}, (LLVMBasicBlockRef[]){from, rare_from}, 2);
    return phi;
}

/* Leaves the builder in a new block. */
static Turn turn_reduce(Emitter *e, LLVMValueRef size) {
    LLVMBuilderRef b = e->builder;
    Turn near = turn_near(e, size);
    LLVMValueRef limit = math_f32(e, size, e->target->machine.has_fma ? FUSED_LIMIT : PLAIN_LIMIT);
    LLVMValueRef is_far = LLVMBuildFCmp(b, LLVMRealUGT, size, limit, "");

    LLVMBasicBlockRef start = LLVMGetInsertBlock(b);
    LLVMValueRef function = LLVMGetBasicBlockParent(start);
    LLVMBasicBlockRef rare = LLVMAppendBasicBlockInContext(e->context, function, "far");
    LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(e->context, function, "turned");
    turn_mark_rare(e, LLVMBuildCondBr(b, turn_any(e, is_far), rare, next));

    LLVMPositionBuilderAtEnd(b, rare);
    Turn far = turn_far(e, size);
    far.r = LLVMBuildSelect(b, is_far, far.r, near.r, "");
    far.quadrant = LLVMBuildSelect(b, is_far, far.quadrant, near.quadrant, "");
    LLVMBuildBr(b, next);

    LLVMPositionBuilderAtEnd(b, next);
    LLVMValueRef r = turn_merge(e, near.r, start, far.r, rare);
    return (Turn){r, turn_merge(e, near.quadrant, start, far.quadrant, rare)};
}

/* sin(r + quadrant * pi/2) with its sign turned where `sign` has the highest bit. */
static LLVMValueRef turn_sine(Emitter *e, Turn turn, LLVMValueRef sign) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef square = LLVMBuildFMul(b, turn.r, turn.r, "");
    LLVMValueRef cube = LLVMBuildFMul(b, square, turn.r, "");
    LLVMValueRef sine = math_fma(e, cube, MATH_POLYNOMIAL(e, square, sin_terms), turn.r);
    LLVMValueRef cosine = math_fma(e, square, MATH_POLYNOMIAL(e, square, cos_terms), math_f32(e, square, 1));

    LLVMValueRef one = math_i32(e, sign, 1), two = math_i32(e, sign, 2);
    LLVMValueRef is_odd =
        LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, turn.quadrant, one, ""), LLVMConstNull(LLVMTypeOf(one)), "");
    LLVMValueRef y = math_bits(e, LLVMBuildSelect(b, is_odd, cosine, sine, ""));
    LLVMValueRef turned = LLVMBuildShl(b, LLVMBuildAnd(b, turn.quadrant, two, ""), math_i32(e, sign, 30), "");
    return math_from_bits(e, LLVMBuildXor(b, y, LLVMBuildXor(b, sign, turned, ""), ""));
}

LLVMValueRef math_sin(Emitter *e, LLVMValueRef x) {
    Turn turn = turn_reduce(e, math_abs(e, x));
    LLVMValueRef bits = math_bits(e, x);
    return turn_sine(e, turn, LLVMBuildAnd(e->builder, bits, math_i32(e, bits, 0x80000000), ""));
}

LLVMValueRef math_cos(Emitter *e, LLVMValueRef x) {
    Turn turn = turn_reduce(e, math_abs(e, x));
    turn.quadrant = LLVMBuildAdd(e->builder, turn.quadrant, math_i32(e, turn.quadrant, 1), "");
    return turn_sine(e, turn, math_i32(e, turn.quadrant, 0));
}
