/* Emission of kernels: what map.c, contract.c and math.c share. Private to backend/.
 *
 * An Emitter is one kernel on its way into one LLVM function. Values are vectors of `lanes` elements of the
 * type they have in the body (f32: <lanes x float>); bool is <lanes x i1>, bf16 and f16 are their bits as
 * <lanes x i16>. Lanes == 1 is a scalar, not <1 x>. */
#ifndef SELFC_BACKEND_EMIT_H
#define SELFC_BACKEND_EMIT_H
#include "backend/backend.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

typedef struct {
    const Kernel *kernel;
    const Target *target;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMValueRef function;
    Arena *arena;
} Emitter;

/* math.c: elementary functions over f32 or vectors of f32 of any width, without a call to any library.
 * Errors are bounded over all 2^32 inputs by tests/exhaustive_ulp.c; NaN, infinities, zeros and subnormals
 * behave as C's Annex F says. FMA is used where the target has it. */
LLVMValueRef math_exp(Emitter *e, LLVMValueRef x);
/* 2^x for weights: below -126 it is 2^-126, above 127 it is 2^127, and it takes half of exp's time. Relative error below
 * 2^-22. */
LLVMValueRef math_exp2_weight(Emitter *e, LLVMValueRef x);
LLVMValueRef math_log(Emitter *e, LLVMValueRef x);
LLVMValueRef math_tanh(Emitter *e, LLVMValueRef x);
LLVMValueRef math_sigmoid(Emitter *e, LLVMValueRef x);
LLVMValueRef math_erf(Emitter *e, LLVMValueRef x);
/* sin and cos leave the builder in a new block: ask for the current one before adding to a phi. */
LLVMValueRef math_sin(Emitter *e, LLVMValueRef x);
LLVMValueRef math_cos(Emitter *e, LLVMValueRef x);
/* Philox4x32-10 (Salmon et al., SC'11): counter and key are (vectors of) i32, or scalars that are splatted; the
 * result is word `word` (0..3) of the block, in the shape of counter[0]. */
LLVMValueRef math_philox(Emitter *e, const LLVMValueRef counter[4], const LLVMValueRef key[2], uint32_t word);
void math_philox_block(Emitter *e, const LLVMValueRef counter[4], const LLVMValueRef key[2], LLVMValueRef word[4]); /* all */

/* Conversions between storage and arithmetic types, with the rules of `cast` in ir/ops.def, by integer arithmetic where
 * the target has no instruction (bf16, f16). */
LLVMValueRef math_cast(Emitter *e, LLVMValueRef x, DType from, DType to);

/* kernel.c: the whole kernel as a function `name` of type SelfcKernel in a fresh module of `context`. Verified, not
 * yet optimised. */
LLVMModuleRef kernel_emit(const Kernel *kernel, const Target *target, LLVMContextRef context, const char *name, Arena *arena);
/* Bytes of scratch that the emitted kernel wants. */
int64_t kernel_scratch_bytes(const Kernel *kernel, const Target *target);
#endif
