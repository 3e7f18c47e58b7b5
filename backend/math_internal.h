/* What the files of math share: constants and small operations in the shape of a given value.
 *
 * Every helper takes a value whose shape (scalar, or vector of so many lanes) the result has, so that the
 * functions above them read like scalar code and work for any number of lanes. */
#ifndef SELFC_BACKEND_MATH_INTERNAL_H
#define SELFC_BACKEND_MATH_INTERNAL_H
#include "backend/emit.h"

/* 1.5 * 2^23: a float to which |x| < 2^22 is added has x, rounded to a whole number, in its lowest bits. */
#define MATH_ROUND 0x1.8p23

uint32_t math_lanes(LLVMValueRef like);                         /* 1 for a scalar */
LLVMTypeRef math_shape(LLVMTypeRef element, LLVMValueRef like); /* element, or a vector of as many as `like` has */
LLVMValueRef math_f32(Emitter *e, LLVMValueRef like, double value);
LLVMValueRef math_f64(Emitter *e, LLVMValueRef like, double value);
LLVMValueRef math_i32(Emitter *e, LLVMValueRef like, uint32_t value);
LLVMValueRef math_i64(Emitter *e, LLVMValueRef like, uint64_t value);
LLVMValueRef math_bits(Emitter *e, LLVMValueRef x); /* f32 → its bits as i32 */
LLVMValueRef math_from_bits(Emitter *e, LLVMValueRef bits);
LLVMValueRef math_to_i64(Emitter *e, LLVMValueRef x); /* i32 → i64, zeros above */
LLVMValueRef math_to_i32(Emitter *e, LLVMValueRef x); /* i64 → its lower half */

/* An intrinsic overloaded on the type of its first argument alone. */
LLVMValueRef math_intrinsic(Emitter *e, const char *name, LLVMValueRef *args, uint32_t count);
/* An intrinsic of one processor family, without overloads. */
LLVMValueRef math_machine(Emitter *e, const char *name, LLVMValueRef *args, uint32_t count);
bool math_has(const Emitter *e, const char *feature); /* "+f16c" */

LLVMValueRef math_abs(Emitter *e, LLVMValueRef x);
LLVMValueRef math_copysign(Emitter *e, LLVMValueRef size, LLVMValueRef sign);
/* a * b + c: rounded once where the target has FMA, else twice. */
LLVMValueRef math_fma(Emitter *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);
LLVMValueRef math_fma_const(Emitter *e, LLVMValueRef a, double b, LLVMValueRef c);
/* The smaller, larger of x and a constant; NaN if x is. */
LLVMValueRef math_at_most(Emitter *e, LLVMValueRef x, double limit);
LLVMValueRef math_at_least(Emitter *e, LLVMValueRef x, double limit);
/* (…(c[0] x + c[1]) x + …) x + c[count - 1] */
LLVMValueRef math_polynomial(Emitter *e, LLVMValueRef x, const float *c, uint32_t count);
#define MATH_POLYNOMIAL(e, x, c) math_polynomial((e), (x), (c), sizeof(c) / sizeof((c)[0]))
#endif
