/* Axes that are made of axes. A reshape that joins [N,H,W] to one axis of N·H·W counts it like a number of three
 * digits: whoever walks the joined axis can walk the digits instead, without a division for each element. */
#ifndef SELFC_IR_DIGITS_H
#define SELFC_IR_DIGITS_H
#include "ir/graph.h"

/* Each axis i of the node is counted by the axes axis[i][0..count[i]) of `base`, slowest first. Axes of size 1 count
 * nothing. */
typedef struct {
    NodeId base;
    uint32_t count[MAX_RANK];
    uint8_t axis[MAX_RANK][MAX_RANK];
} Digits;

/* Looks through transposes and through reshapes that join or part whole axes; base is the node itself if there is
 * nothing to look through. */
Digits digits_of(const Graph *graph, NodeId node);
/* Does axis `axis` of the node count, last, the axis of the base whose elements lie side by side? */
bool digits_count_fastest(const Graph *graph, const Digits *digits, uint32_t axis);
#endif
