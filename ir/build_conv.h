/* Convolutions, pooling and resizing, channels last, made of window, matmul, sum and reduce_max: so their gradients are
 * there without a rule of their own. x is f32[N,H,W,C]; N alone may depend on the batch. */
#ifndef SELFC_IR_BUILD_CONV_H
#define SELFC_IR_BUILD_CONV_H
#include "ir/graph.h"

/* How a kernel moves over a picture; two numbers each, of height and width. Pads may be negative: they crop. */
typedef struct {
    int64_t stride[2], dilation[2], before[2], after[2];
} Sliding;

/* Along one axis: how many places the kernel has. Below 1: it does not fit, and no builder may be asked. */
int64_t build_conv_places(int64_t size, int64_t kernel, const Sliding *sliding, int axis);
/* Along one axis: how many elements a transposed convolution makes of `size`. */
int64_t build_conv_spread(int64_t size, int64_t kernel, const Sliding *sliding, int axis);
/* Sets the pads of one axis so that ceil(size / stride) places result; the odd element goes behind. */
void build_conv_same(int64_t size, int64_t kernel, Sliding *sliding, int axis);

/* w[KH,KW,C/groups,O] → f32[N,OH,OW,O]; output o belongs to group o / (O/groups), as in PyTorch. */
NodeId build_conv2d(Graph *g, NodeId x, NodeId w, const Sliding *sliding, int64_t groups);
/* What data gets back from a convolution with w[KH,KW,O/groups,C], which goes from O to C channels: f32[N,H',W',O].
 * PyTorch's output_padding is a smaller `after`. */
NodeId build_conv2d_transposed(Graph *g, NodeId x, NodeId w, const Sliding *sliding, int64_t groups);
/* The largest of each window; pads never are. Equal elements share the gradient. */
NodeId build_max_pool(Graph *g, NodeId x, const int64_t kernel[2], const Sliding *sliding);
/* The mean of each window; pads count as zeros, or not at all. */
NodeId build_average_pool(Graph *g, NodeId x, const int64_t kernel[2], const Sliding *sliding, bool count_pads);
/* The mean over height and width: f32[N,C]. */
NodeId build_global_pool(Graph *g, NodeId x);

/* build_resize.c: f32[N,H,W,C] → f32[N,size,C]. The nearest element of those before, or between the two nearest along
 * each axis, where pixels are areas: PyTorch's interpolate with "nearest", or "bilinear" without aligned corners. */
NodeId build_resize(Graph *g, NodeId x, const int64_t size[2], bool smooth);
#endif
