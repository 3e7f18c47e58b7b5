/* What the files of the simplify pass share: a rule, and how a rule builds what is simple already. */
#ifndef SELFC_PASSES_SIMPLIFY_H
#define SELFC_PASSES_SIMPLIFY_H
#include "ir/graph.h"

/* Names a node that is equal to this one but cheaper, or NO_MATCH. The inputs are simple already; what the rule adds
 * must be, too: it goes through simplify_best. */
typedef NodeId Rule(Graph *g, const Node *node);
#define NO_MATCH NO_NODE

/* simplify.c: the end of the chain of equal nodes that the rules make of this one. */
NodeId simplify_best(Graph *g, NodeId id);

/* simplify_window.c */
Rule simplify_window_plain, simplify_window_repeated, simplify_window_constant, simplify_unwindow_plain,
    simplify_unwindow_zero;
Rule simplify_sum_tiles, simplify_sum_product;
#endif
