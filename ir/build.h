/* One-line builders, so that layers, gradients and passes read like the mathematics. */
#ifndef SELFC_IR_BUILD_H
#define SELFC_IR_BUILD_H
#include "ir/graph.h"

NodeId build_input(Graph *g, const char *name, InputKind kind, Type type, Init init); /* adds the input, too */
NodeId build_constant(Graph *g, Type type, double value);
NodeId build_like(Graph *g, NodeId a, double value);      /* a constant of a's type */
NodeId build_iota(Graph *g, Type type, uint32_t axis);
/* 32 random bits an element, i32. key: i32[3] = seed low, seed high, step. sample: i32[1], or i32[d] with d = type's
 * first axis; the element number counts within a sample then, and within the whole tensor for i32[1]. */
NodeId build_random(Graph *g, Type type, NodeId key, NodeId sample, uint32_t stream, uint32_t word);
NodeId build_unary(Graph *g, OpKind op, NodeId a);
NodeId build_binary(Graph *g, OpKind op, NodeId a, NodeId b);  /* equal shapes; see build_broadcast_pair */
NodeId build_select(Graph *g, NodeId condition, NodeId yes, NodeId no);
NodeId build_cast(Graph *g, NodeId a, DType dtype);            /* a itself if it is of that type */
NodeId build_broadcast(Graph *g, NodeId a, Type to);           /* NumPy's rule: axes are matched from the right */
NodeId build_reshape(Graph *g, NodeId a, uint32_t rank, const Dim *dim);
NodeId build_transpose(Graph *g, NodeId a, const uint32_t *permutation);
NodeId build_swap_last(Graph *g, NodeId a);                    /* swaps the last two axes */
NodeId build_slice(Graph *g, NodeId a, Type to, const int64_t *start, const int64_t *step);
NodeId build_pad(Graph *g, NodeId a, Type to, const int64_t *before, double value);
/* stride, dilation, before: two numbers each, of height and width. `to` is the whole type of the result. */
NodeId build_window(Graph *g, NodeId a, Type to, const int64_t *stride, const int64_t *dilation, const int64_t *before,
                    double value);
NodeId build_unwindow(Graph *g, NodeId a, Type to, const int64_t *stride, const int64_t *dilation,
                      const int64_t *before);
NodeId build_concat(Graph *g, NodeId a, NodeId b, uint32_t axis);
NodeId build_gather(Graph *g, NodeId a, NodeId index, uint32_t axis); /* index: i32 */
NodeId build_scatter_add(Graph *g, NodeId base, NodeId index, NodeId updates, uint32_t axis);
NodeId build_sum(Graph *g, NodeId a, uint32_t axes);           /* axes stay with size 1; no axes: a itself */
NodeId build_reduce_max(Graph *g, NodeId a, uint32_t axes);
NodeId build_argmax(Graph *g, NodeId a, uint32_t axes);        /* u8; at least one axis, at most 256 places */
NodeId build_sum_to(Graph *g, NodeId a, Type to);              /* undoes build_broadcast: sums what it repeated */
NodeId build_drop_axes(Graph *g, NodeId a, uint32_t axes);     /* reshape: leaves out axes, each of size 1 */
NodeId build_matmul(Graph *g, NodeId a, NodeId b);
NodeId build_gradient(Graph *g, NodeId y, NodeId x);

/* Brings two operands to one shape by NumPy's rule; false with a reason if they do not fit. */
bool build_broadcast_pair(Graph *g, NodeId *a, NodeId *b, const char **why);
#endif
