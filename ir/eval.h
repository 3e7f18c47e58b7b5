/* What eval.c and eval_attention.c share. Private to these. */
#ifndef SELFC_IR_EVAL_H
#define SELFC_IR_EVAL_H
#include "ir/graph.h"

/* Philox4x32-10: the counter becomes four random words. */
void eval_philox(uint32_t counter[4], uint32_t key0, uint32_t key1);

/* The node of the attention family, for the values of all nodes before it; `out` is filled with zeros. */
void eval_attention(const Graph *graph, const Node *node, int64_t n, double *const *values, double *out);
#endif
