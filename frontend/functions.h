/* What the builders of functions.c, losses.c and layers.c share. */
#ifndef SELFC_FRONTEND_FUNCTIONS_H
#define SELFC_FRONTEND_FUNCTIONS_H
#include "frontend/lower.h"

/* Every FUNCTION of functions.def. */
#define ELEMENTWISE(...)
#define FUNCTION(name, ...) Value function_##name(Lower *l, Call *call);
#include "frontend/functions.def"

/* Short forms for mathematics on nodes of one shape. */
NodeId node_add(Lower *l, NodeId a, NodeId b);
NodeId node_sub(Lower *l, NodeId a, NodeId b);
NodeId node_mul(Lower *l, NodeId a, NodeId b);
NodeId node_div(Lower *l, NodeId a, NodeId b);
NodeId node_scale(Lower *l, NodeId a, double factor);
NodeId node_shift(Lower *l, NodeId a, double summand);
NodeId node_unary(Lower *l, OpKind op, NodeId a);
NodeId node_relu(Lower *l, NodeId x);
NodeId node_softplus(Lower *l, NodeId x);
NodeId node_mean(Lower *l, NodeId x, uint32_t axes);       /* axes stay with size 1 */
NodeId node_below_peak(Lower *l, NodeId x, uint32_t axes); /* x minus its largest over the axes */
NodeId node_log_sum(Lower *l, NodeId x, uint32_t axes);    /* log(sum(exp(x))); axes stay with size 1 */
NodeId node_log_softmax(Lower *l, NodeId x, uint32_t axes);
NodeId node_spread(Lower *l, NodeId a, NodeId like);      /* a repeated to the shape of `like` */
NodeId node_at_label(Lower *l, NodeId labels, Type type); /* bool of `type`: where the last axis is at the label */
void limit_labels(Lower *l, NodeId labels, Dim classes);  /* data that must be from 0, below `classes` */
uint32_t all_axes(Type type);
#endif
