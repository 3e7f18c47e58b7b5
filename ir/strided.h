/* Views that are nothing but strides: what transposes, broadcasts, slices and reshapes of dense inputs amount to. */
#ifndef SELFC_IR_STRIDED_H
#define SELFC_IR_STRIDED_H
#include "ir/graph.h"

/* Element (i0, i1, …) of the view is element offset + Σ i·stride of the input. */
typedef struct {
    NodeId input;
    Extent offset;
    Extent stride[MAX_RANK];
} Strided;

/* Row-major strides of a dense tensor. */
void strided_dense(const Type *type, Extent stride[MAX_RANK]);
/* false if `id` is not a strided view of an input. */
bool strided_of(const Graph *graph, NodeId id, Strided *view);
/* The same where `memory` is in memory, as inputs are. */
bool strided_above(const Graph *graph, NodeId id, NodeId memory, Strided *view);
bool strided_is_one(Extent stride);

/* The fewest axes of both that have as many elements, from *i and *j on; what is left at the end has size 1. Products
 * are those of sizes and, apart, of the batch. */
void strided_next_group(const Type *from, const Type *type, uint32_t *i, uint32_t *j);
/* Is the value the same along all of the axes, a bit each? Said of views that repeat, and of work on such. */
bool strided_same_along(const Graph *graph, NodeId id, uint32_t axes);
#endif
