/* What the operations of a random graph are built from. */
#ifndef SELFC_TESTS_RANDOM_OPERANDS_H
#define SELFC_TESTS_RANDOM_OPERANDS_H
#include "tests/random_facts.h"

/* Types and leaves. */
bool random_fits(const Maker *m, Type type); /* is the tensor valid and small enough? */
Type random_shape(Maker *m, DType dtype);
DType random_dtype(Maker *m);
NodeId random_input(Maker *m, Type type);
NodeId random_leaf(Maker *m, Type type);
/* A value that every element type holds exactly, in quarters for floats. */
double random_constant(Maker *m, DType dtype);
static inline bool is_number(DType dtype) { return dtype == DTYPE_f32 || dtype == DTYPE_i32 || dtype == DTYPE_i64; }

typedef struct {
    uint32_t dtypes; /* a bit for each that will do */
    uint32_t least_rank;
    bool exact, untrained;
} Want;

enum {
    FLOATS = 1u << DTYPE_f32,
    INTEGERS = 1u << DTYPE_i32 | 1u << DTYPE_i64,
    LOGIC = INTEGERS | 1u << DTYPE_bool,
    NUMBERS = INTEGERS | FLOATS,
    ANY = (1u << DTYPE_COUNT) - 1
};

uint32_t random_dtypes(OpKind op); /* of the operands */

/* A node that is there, rather a late one, or a new leaf. */
NodeId random_operand(Maker *m, Want want);
/* An operand of this very type: one that is there, one that can be repeated to it, or a new leaf. */
NodeId random_operand_like(Maker *m, Type type, Want want);

/* Scaled so that products and sums stay small: floats by a power of two, integers that would leave 2^53 by a narrow
 * cast. */
NodeId random_tamed(Maker *m, NodeId a);
NodeId random_positive(Maker *m, NodeId a, double least); /* |a| + least */
#endif
