/* exp, log, tanh, sigmoid and erf as polynomials.
 *
 * Each function reduces its argument to a short interval where a polynomial of least greatest error does the
 * work. A comment beside the coefficients tells the interval and the polynomial's own greatest error relative to
 * the function, in exact arithmetic with the coefficients as they stand here; 2^-24 is half a unit in the last place.
 *
 * For one target a function's bits do not depend on the number of lanes: instructions that only wide
 * vectors have are used where they give what the general way gives. Selections are written so that NaN takes
 * the side that hands it on. */
#include "backend/math_internal.h"

#include <stdio.h>

/* Whether AVX-512 has its operations on exponents for the width of x. */
static bool wide_exists(const Emitter *e, LLVMValueRef x) {
    uint32_t lanes = math_lanes(x);
    return lanes == 16 ? math_has(e, "+avx512f") : (lanes == 8 || lanes == 4) && math_has(e, "+avx512vl");
}

/* AVX-512's operation `name` on args[0 .. count): all lanes, usual rounding. */
static LLVMValueRef wide_call(Emitter *e, const char *name, LLVMValueRef *args, uint32_t count) {
    enum { MOST = 5 };
    uint32_t lanes = math_lanes(args[0]);
    LLVMTypeRef mask = lanes == 16 ? LLVMInt16TypeInContext(e->context) : LLVMInt8TypeInContext(e->context);
    LLVMValueRef all[MOST];
    char text[64];
    snprintf(text, sizeof text, "llvm.x86.avx512.mask.%s.ps.%u", name, lanes * 32);
    for (uint32_t i = 0; i < count; i++) all[i] = args[i];
    all[count++] = args[0];
    all[count++] = LLVMConstAllOnes(mask);
    if (lanes == 16) all[count++] = LLVMConstInt(LLVMInt32TypeInContext(e->context), 4, false);
    return math_machine(e, text, all, count);
}

#define LOG2_E 0x1.715476p0
/* ln 2 in two parts; the first has 9 bits, so that its product with a float's exponent is exact. */
#define LN2_HIGH 0x1.63p-1
#define LN2_LOW (-0x1.bd0106p-13)

/* e^r = 1 + r + r^2 p(r) on |r| < 0.3468, error 2^-27.7 */
static const float exp_terms[] = {0x1.6feed6p-10f, 0x1.1257f4p-7f, 0x1.5552fep-5f, 0x1.555466p-3f, 0.5f};

static LLVMValueRef exp_polynomial(Emitter *e, LLVMValueRef r) {
    LLVMValueRef one = math_f32(e, r, 1), sum = MATH_POLYNOMIAL(e, r, exp_terms);
    if (e->target->machine.has_fma) return math_fma(e, math_fma(e, sum, r, one), r, one);
    LLVMValueRef square = LLVMBuildFMul(e->builder, r, r, ""); /* the products that are rounded shall be small */
    return LLVMBuildFAdd(e->builder, math_fma(e, sum, square, r), one, "");
}

/* x = exponent * ln 2 + r, e^r = value; `whole` is the exponent plus the bias in the lowest bits of an i32. */
typedef struct {
    LLVMValueRef value, exponent, whole;
} Reduced;

static Reduced exp_reduce(Emitter *e, LLVMValueRef x, double bias) {
    LLVMValueRef round = math_f32(e, x, MATH_ROUND + bias);
    LLVMValueRef sum = math_fma_const(e, x, LOG2_E, round);
    LLVMValueRef exponent = LLVMBuildFSub(e->builder, sum, round, "");
    LLVMValueRef r = math_fma_const(e, exponent, -LN2_HIGH, x);
    r = math_fma_const(e, exponent, -LN2_LOW, r);
    return (Reduced){exp_polynomial(e, r), exponent, math_bits(e, sum)};
}

/* e^x where neither x is NaN nor the result subnormal or infinite: -87 < x < 88. */
static LLVMValueRef exp_inside(Emitter *e, LLVMValueRef x) {
    Reduced reduced = exp_reduce(e, x, 0);
    LLVMValueRef shifted = LLVMBuildShl(e->builder, reduced.whole, math_i32(e, reduced.whole, 23), "");
    return math_from_bits(e, LLVMBuildAdd(e->builder, math_bits(e, reduced.value), shifted, ""));
}

/* value * 2^(exponent / 2) * 2^(the rest): only the second product rounds, when the result is subnormal or infinite. */
static LLVMValueRef exp_scale_halves(Emitter *e, Reduced reduced) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef half = LLVMBuildLShr(b, reduced.whole, math_i32(e, reduced.whole, 1), "");
    LLVMValueRef rest = LLVMBuildSub(b, reduced.whole, half, "");
    LLVMValueRef to_exponent = math_i32(e, half, 23);
    half = math_from_bits(e, LLVMBuildShl(b, half, to_exponent, ""));
    rest = math_from_bits(e, LLVMBuildShl(b, rest, to_exponent, ""));
    return LLVMBuildFMul(b, LLVMBuildFMul(b, reduced.value, half, ""), rest, "");
}

/* e^x for x from -104 to 89 and NaN; subnormal and infinite results too. */
static LLVMValueRef exp_whole(Emitter *e, LLVMValueRef x) {
    if (!wide_exists(e, x))
        return exp_scale_halves(e, exp_reduce(e, x, 254)); /* twice the exponent's bias: 127 for each half */
    Reduced reduced = exp_reduce(e, x, 0);
    return wide_call(e, "scalef", (LLVMValueRef[]){reduced.value, reduced.exponent}, 2);
}

LLVMValueRef math_exp(Emitter *e, LLVMValueRef x) {
    return exp_whole(e, math_at_most(e, math_at_least(e, x, -104), 89));
}

/* 2^f on |f| < 0.5002: the polynomial of e^r with r = f ln 2, and its error */
static const float weight_terms[] = {
    0x1.467232p-13f, 0x1.5f2a6ap-10f, 0x1.3b288ep-7f, 0x1.c6af4ep-5f, 0x1.ebfbep-3f, 0x1.62e43p-1f, 1};

/* In pairs of terms: there is little else to do while one waits for the next, and four wait less than seven. */
static LLVMValueRef weight_polynomial(Emitter *e, LLVMValueRef r) {
    LLVMValueRef square = LLVMBuildFMul(e->builder, r, r, ""), sum = math_f32(e, r, weight_terms[0]);
    for (int i = 1; i < 7; i += 2) {
        LLVMValueRef pair = math_fma(e, r, math_f32(e, r, weight_terms[i]), math_f32(e, r, weight_terms[i + 1]));
        sum = math_fma(e, sum, square, pair);
    }
    return sum;
}

/* With the bias of a float, so that the lowest bits are those of 2^whole; a product hands NaN on. */
LLVMValueRef math_exp2_weight(Emitter *e, LLVMValueRef x) {
    x = math_at_most(e, math_at_least(e, x, -126), 127);
    LLVMValueRef round = math_f32(e, x, MATH_ROUND + 127), sum = LLVMBuildFAdd(e->builder, x, round, "");
    LLVMValueRef rest = LLVMBuildFSub(e->builder, x, LLVMBuildFSub(e->builder, sum, round, ""), "");
    LLVMValueRef whole = math_bits(e, sum), power = LLVMBuildShl(e->builder, whole, math_i32(e, whole, 23), "");
    return LLVMBuildFMul(e->builder, weight_polynomial(e, rest), math_from_bits(e, power), "");
}

/* log(1 + r) = r + r^2 q(r) on -0.25 <= r < 0.5, error 2^-27.1 */
static const float log_terms[] = {-0x1.6fe586p-5f, 0x1.abf628p-4f,  -0x1.0d8fe4p-3f, 0x1.2897b6p-3f, -0x1.54f242p-3f,
                                  0x1.99685cp-3f,  -0x1.000026p-2f, 0x1.5555a6p-2f,  -0.5f};

/* x = mantissa * 2^exponent with 0.75 <= mantissa < 1.5, for finite x > 0; subnormal ones are first made 2^23 times
 * larger. */
static void log_split(Emitter *e, LLVMValueRef x, LLVMValueRef *mantissa, LLVMValueRef *exponent) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef is_small = LLVMBuildFCmp(b, LLVMRealOLT, x, math_f32(e, x, 0x1p-126), "");
    x = LLVMBuildSelect(b, is_small, LLVMBuildFMul(b, x, math_f32(e, x, 0x1p23), ""), x, "");
    LLVMValueRef correction = LLVMBuildSelect(b, is_small, math_f32(e, x, -23), math_f32(e, x, 0), "");

    LLVMValueRef three_quarters = math_bits(e, math_f32(e, x, 0.75));
    LLVMValueRef above = LLVMBuildSub(b, math_bits(e, x), three_quarters, "");
    LLVMValueRef whole = LLVMBuildAShr(b, above, math_i32(e, above, 23), "");
    LLVMValueRef fraction = LLVMBuildAnd(b, above, math_i32(e, above, 0x7fffff), "");
    *mantissa = math_from_bits(e, LLVMBuildAdd(b, fraction, three_quarters, ""));
    *exponent = LLVMBuildFAdd(b, LLVMBuildSIToFP(b, whole, LLVMTypeOf(x), ""), correction, "");
}

/* exponent * ln 2 + log(mantissa) = large + small. Large is rounded, and what that lost goes into small. */
typedef struct {
    LLVMValueRef large, small;
} Sum;

static Sum log_join(Emitter *e, LLVMValueRef mantissa, LLVMValueRef exponent) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef r = LLVMBuildFSub(b, mantissa, math_f32(e, mantissa, 1), "");
    LLVMValueRef large = math_fma_const(e, exponent, LN2_HIGH, r);
    LLVMValueRef lost = LLVMBuildFAdd(b, math_fma_const(e, exponent, LN2_HIGH, LLVMBuildFNeg(b, large, "")), r, "");
    LLVMValueRef small = math_fma_const(e, exponent, LN2_LOW, lost);
    small = math_fma(e, LLVMBuildFMul(b, r, r, ""), MATH_POLYNOMIAL(e, r, log_terms), small);
    return (Sum){large, small};
}

/* AVX-512 splits every float, and so that `large` is right where the logarithm is infinite or NaN: there `small` is
 * NaN. */
static LLVMValueRef log_wide(Emitter *e, LLVMValueRef x) {
    enum { FROM_THREE_QUARTERS = 3, NEGATIVE_IS_NAN = 2 << 2 };
    LLVMBuilderRef b = e->builder;
    LLVMValueRef how = LLVMConstInt(LLVMInt32TypeInContext(e->context), FROM_THREE_QUARTERS | NEGATIVE_IS_NAN, false);
    LLVMValueRef mantissa = wide_call(e, "getmant", (LLVMValueRef[]){x, how}, 2);
    LLVMValueRef exponent = LLVMBuildFSub(b, wide_call(e, "getexp", &x, 1), wide_call(e, "getexp", &mantissa, 1), "");
    Sum sum = log_join(e, mantissa, exponent);
    LLVMValueRef is_special = LLVMBuildFCmp(b, LLVMRealUNO, sum.small, sum.small, "");
    return LLVMBuildSelect(b, is_special, sum.large, LLVMBuildFAdd(b, sum.large, sum.small, ""), "");
}

LLVMValueRef math_log(Emitter *e, LLVMValueRef x) {
    if (wide_exists(e, x)) return log_wide(e, x);
    LLVMBuilderRef b = e->builder;
    LLVMValueRef mantissa, exponent;
    LLVMValueRef zero = math_f32(e, x, 0), infinity = math_f32(e, x, __builtin_inf());
    log_split(e, x, &mantissa, &exponent);
    Sum sum = log_join(e, mantissa, exponent);
    LLVMValueRef y = LLVMBuildFAdd(b, sum.large, sum.small, "");
    y = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOEQ, x, infinity, ""), x, y, "");
    LLVMValueRef pole = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOEQ, x, zero, ""), LLVMBuildFNeg(b, infinity, ""),
                                        math_f32(e, x, __builtin_nan("")), "");
    return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, x, zero, ""), y, pole, "");
}

/* Between a polynomial near zero and a formula elsewhere, both of |x|, with the sign of x. */
static LLVMValueRef odd_join(Emitter *e, LLVMValueRef x, LLVMValueRef size, double border, LLVMValueRef near_zero,
                             LLVMValueRef elsewhere) {
    LLVMValueRef is_far = LLVMBuildFCmp(e->builder, LLVMRealOGE, size, math_f32(e, x, border), "");
    return math_copysign(e, LLVMBuildSelect(e->builder, is_far, elsewhere, near_zero, ""), x);
}

/* tanh(x) = x + x^3 p(x^2) on |x| < 0.625, error 2^-27.7 */
static const float tanh_terms[] = {-0x1.750ce2p-8f, 0x1.51f8cep-6f, -0x1.b835a4p-5f, 0x1.1106f6p-3f, -0x1.555532p-2f};

/* Elsewhere 1 - 2 / (e^2x + 1), which is 1 from 9.02 on. */
LLVMValueRef math_tanh(Emitter *e, LLVMValueRef x) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef one = math_f32(e, x, 1), most = math_f32(e, x, 10);
    LLVMValueRef size = math_abs(e, x), square = LLVMBuildFMul(b, x, x, "");
    LLVMValueRef cube = LLVMBuildFMul(b, square, size, "");
    LLVMValueRef near_zero = math_fma(e, cube, MATH_POLYNOMIAL(e, square, tanh_terms), size);

    LLVMValueRef bounded = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, size, most, ""), size, most, "");
    LLVMValueRef power = exp_inside(e, LLVMBuildFAdd(b, bounded, bounded, ""));
    LLVMValueRef part = LLVMBuildFDiv(b, math_f32(e, x, 2), LLVMBuildFAdd(b, power, one, ""), "");
    return odd_join(e, x, size, 0.625, near_zero, LLVMBuildFSub(b, one, part, ""));
}

/* With t = e^-|x|, which cannot overflow, and q = t / (1 + t): 1 - q, or for negative x t - t q. The error of q counts
 * less than in t / (1 + t), since q is at most half of what it is taken from. */
LLVMValueRef math_sigmoid(Emitter *e, LLVMValueRef x) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef one = math_f32(e, x, 1);
    LLVMValueRef power = exp_whole(e, math_at_least(e, LLVMBuildFNeg(b, math_abs(e, x), ""), -104));
    LLVMValueRef part = LLVMBuildFDiv(b, power, LLVMBuildFAdd(b, power, one, ""), "");
    LLVMValueRef is_negative = LLVMBuildFCmp(b, LLVMRealOLT, x, math_f32(e, x, 0), "");
    LLVMValueRef whole = LLVMBuildSelect(b, is_negative, power, one, "");
    return math_fma(e, LLVMBuildFNeg(b, whole, ""), part, whole);
}

/* erf(x) = x + x p(x^2) on |x| < 475/512, error 2^-25.8 */
static const float erf_terms[] = {-0x1.38fef8p-11f, 0x1.46fbaep-8f,  -0x1.b681aep-6f,
                                  0x1.ce19e6p-4f,   -0x1.8126e4p-2f, 0x1.06eba6p-3f};
/* erf(x) = 1 - e^p(x) on 475/512 <= x < 3.92, from where on it is 1; error 2^-29.1 */
static const float erf_far_terms[] = {0x1.99024cp-13f, -0x1.8db756p-9f, 0x1.6b960ap-6f, -0x1.a9673cp-4f,
                                      -0x1.4647b6p-1f, -0x1.20ac18p0f,  -0x1.b39b9p-13f};

LLVMValueRef math_erf(Emitter *e, LLVMValueRef x) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef most = math_f32(e, x, 3.92);
    LLVMValueRef size = math_abs(e, x), square = LLVMBuildFMul(b, x, x, "");
    LLVMValueRef near_zero = math_fma(e, MATH_POLYNOMIAL(e, square, erf_terms), size, size);

    LLVMValueRef bounded = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, size, most, ""), size, most, "");
    LLVMValueRef power = exp_inside(e, MATH_POLYNOMIAL(e, bounded, erf_far_terms));
    return odd_join(e, x, size, 0.927734375, near_zero, LLVMBuildFSub(b, math_f32(e, x, 1), power, ""));
}
