/* Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw (SC'11).
 *
 * The state's four words live in 64-bit lanes of which the lower half counts: the products of 32 by 32 bits that
 * the generator consists of then need no shuffling, and x86's multiplication of just these halves is used. What
 * the wanted word does not need, LLVM removes. */
#include "backend/math_internal.h"

enum { ROUNDS = 10 };
static const uint32_t multiplier[2] = {0xd2511f53, 0xcd9e8d57}, key_step[2] = {0x9e3779b9, 0xbb67ae85};

/* `word` as i64 in the shape of `like`. */
static LLVMValueRef random_widen(Emitter *e, LLVMValueRef word, LLVMValueRef like) {
    uint32_t lanes = math_lanes(like);
    word = math_to_i64(e, word);
    if (LLVMTypeOf(word) == math_shape(LLVMInt64TypeInContext(e->context), like)) return word;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(e->context);
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(word), lanes);
    LLVMValueRef one = LLVMBuildInsertElement(e->builder, LLVMGetPoison(type), word, LLVMConstInt(i32, 0, false), "");
    return LLVMBuildShuffleVector(e->builder, one, LLVMGetPoison(type), LLVMConstNull(LLVMVectorType(i32, lanes)), "");
}

void math_philox_block(Emitter *e, const LLVMValueRef counter[4], const LLVMValueRef key[2], LLVMValueRef word[4]) {
    LLVMBuilderRef b = e->builder;
    LLVMValueRef like = counter[0], low_half = math_i64(e, like, 0xffffffff), half = math_i64(e, like, 32);
    LLVMValueRef c[4], k[2], product[2];
    for (int i = 0; i < 4; i++) c[i] = random_widen(e, counter[i], like);
    for (int i = 0; i < 2; i++) k[i] = random_widen(e, key[i], like);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 2; i++) {
            LLVMValueRef operand = LLVMBuildAnd(b, c[2 * i], low_half, "");
            product[i] = LLVMBuildMul(b, operand, math_i64(e, like, multiplier[i]), "");
        }
        for (int i = 0; i < 2; i++) {
            LLVMValueRef high = LLVMBuildLShr(b, product[1 - i], half, "");
            c[2 * i] = LLVMBuildXor(b, LLVMBuildXor(b, high, c[2 * i + 1], ""), k[i], "");
        }
        for (int i = 0; i < 2; i++) {
            c[2 * i + 1] = product[1 - i];
            k[i] = LLVMBuildAdd(b, k[i], math_i64(e, like, key_step[i]), "");
        }
    }
    for (int i = 0; i < 4; i++) word[i] = math_to_i32(e, c[i]);
}

LLVMValueRef math_philox(Emitter *e, const LLVMValueRef counter[4], const LLVMValueRef key[2], uint32_t word) {
    LLVMValueRef words[4];
    math_philox_block(e, counter, key, words);
    return words[word];
}
