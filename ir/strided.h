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
bool strided_is_one(Extent stride);
#endif
