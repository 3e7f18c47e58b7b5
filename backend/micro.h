/* The micro-kernel, which every product ends in, and what prepares its operands. Private to backend/.
 *
 * rows x vectors sums stay in registers while the depth goes by: for each step one broadcast of A for each row, a load
 * of B for each vector. */
#ifndef SELFC_BACKEND_MICRO_H
#define SELFC_BACKEND_MICRO_H
#include "backend/pull.h"

enum { MOST_ROWS = 32, MOST_VECTORS = 4 };

/* A loop whose values go round in phi nodes; it may be empty only where that is said. */
typedef struct {
    LLVMBasicBlockRef before, body, after;
    LLVMValueRef index, end, phi[MOST_ROWS * MOST_VECTORS], first[MOST_ROWS * MOST_VECTORS];
    uint32_t count;
    int64_t step; /* of the index, 1 where nobody sets it before the end */
    bool may_be_empty;
} Round;
Round micro_round_begin(Pull *p, LLVMValueRef from, LLVMValueRef end, LLVMValueRef const *values, uint32_t count,
                        bool may_be_empty);
/* values: at the end of the body; then those behind the loop. */
void micro_round_end(Pull *p, Round *round, LLVMValueRef *values);

typedef struct {
    Pull *p;
    uint32_t rows, vectors, lanes;
    uint32_t align;              /* of the vectors of B, in bytes */
    LLVMValueRef mask;           /* of the last vector of B; NULL: it is whole */
    LLVMValueRef row[MOST_ROWS]; /* where each row of A begins, in elements from the first */
} Micro;
/* One step along k: a and b stand at its element. Sum i is of row i / vectors, vector i % vectors. */
void micro_step(const Micro *m, LLVMValueRef a, LLVMValueRef b, LLVMValueRef const *before, LLVMValueRef *sum);

/* How many steps to write out in a round of a loop. Where a step has few products, what it counts would take as long as
 * they do. For vectors of 16 bytes LLVM moves the loads of all steps to the front, and sums leave their registers. */
uint32_t micro_unroll(uint32_t products, uint32_t lanes);

/* The lanes x lanes square of `rows`, transposed. */
void micro_transpose(Pull *p, LLVMValueRef *rows, uint32_t lanes);
#endif
