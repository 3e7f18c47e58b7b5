/* Right operands laid out for the micro-kernel: panels [panels, depth, width], each a stretch of `width` columns whose
 * steps along the depth lie one behind the other, with zeros beyond the last column.
 *
 * The layout is a view like any other, so a body that reads panels still says what it means to the evaluator, and the
 * code generator finds them in it: a product whose tile is as wide as the panels reads them where they are. */
#ifndef SELFC_IR_PANELS_H
#define SELFC_IR_PANELS_H
#include "ir/graph.h"

typedef struct {
    uint32_t input; /* of the graph: the panels */
    int64_t width, depth;
} Panels;

/* A matrix [depth, columns] of fixed size as panels. */
NodeId panels_make(Graph *graph, NodeId matrix, int64_t width);
/* The matrix of this type that panels show. */
NodeId panels_read(Graph *graph, NodeId panels, Type matrix);
/* false: the operand is something else. */
bool panels_of(const Graph *graph, NodeId operand, Panels *panels);
#endif
