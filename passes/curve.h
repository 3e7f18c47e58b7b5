/* Curves: values that are a smooth function of one other value alone, element by element, as gelu of what it is given.
 */
#ifndef SELFC_PASSES_CURVE_H
#define SELFC_PASSES_CURVE_H
#include "ir/graph.h"

enum { MOST_CURVE = 48 /* nodes between a value and the one that it is a function of */ };

typedef struct {
    NodeId from;              /* what `nodes` are functions of */
    NodeId nodes[MOST_CURVE]; /* all between it and the value, constants left out; latest first, the value itself */
    uint32_t count;
} Curve;

/* False if the value is no curve, or if the result tells its own slope, as that of exp or tanh does: of a curve more
 * than one value is needed for that. `from` is the latest node of which all of it is a function. */
bool curve_find(const Graph *g, NodeId value, Curve *curve);
bool curve_has(const Curve *curve, NodeId id); /* among `nodes` */
#endif
