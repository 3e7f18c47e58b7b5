/* Digits, from the base upwards: a transpose permutes the lists, a reshape deals the axes out again, in order, as long
 * as the products fit. Where an axis would have to be cut, the reshape itself is the base. */
#include "ir/digits.h"

static Digits whole(const Graph *graph, NodeId node) {
    Digits digits = {.base = node};
    const Type *type = &graph->nodes[node].type;
    for (uint32_t i = 0; i < type->rank; i++)
        if (type->dim[i] != 1) digits.axis[i][digits.count[i]++] = (uint8_t)i;
    return digits;
}

static Digits permuted(const Digits *below, const Node *node) {
    Digits digits = {.base = below->base};
    for (uint32_t i = 0; i < node->type.rank; i++) {
        uint32_t from = node->attr.permutation[i];
        digits.count[i] = below->count[from];
        for (uint32_t k = 0; k < digits.count[i]; k++) digits.axis[i][k] = below->axis[from][k];
    }
    return digits;
}

static int64_t size_of(Dim dim) { return dim < 0 ? -dim : dim; }

static bool dealt(const Graph *graph, const Digits *below, uint32_t rank, const Type *to, Digits *digits) {
    uint8_t list[MAX_RANK * MAX_RANK];
    uint32_t count = 0, next = 0;
    const Type *base = &graph->nodes[below->base].type;
    for (uint32_t i = 0; i < rank; i++)
        for (uint32_t k = 0; k < below->count[i]; k++) list[count++] = below->axis[i][k];
    *digits = (Digits){.base = below->base};
    for (uint32_t i = 0; i < to->rank; i++) {
        Dim product = 1;
        while (product != to->dim[i]) {
            if (next == count) return false;
            Dim dim = base->dim[list[next]];
            if (product < 0 && dim < 0) return false;
            product = dim_mul(product, dim);
            if (size_of(product) > size_of(to->dim[i])) return false;
            digits->axis[i][digits->count[i]++] = list[next++];
        }
    }
    return next == count;
}

Digits digits_of(const Graph *graph, NodeId id) {
    const Node *node = &graph->nodes[id];
    if (node->op != OP_transpose && node->op != OP_reshape) return whole(graph, id);
    Digits below = digits_of(graph, node->in[0]), digits;
    if (node->op == OP_transpose) return permuted(&below, node);
    return dealt(graph, &below, graph->nodes[node->in[0]].type.rank, &node->type, &digits) ? digits : whole(graph, id);
}

bool digits_count_fastest(const Graph *graph, const Digits *digits, uint32_t axis) {
    const Type *base = &graph->nodes[digits->base].type;
    uint32_t fastest = base->rank;
    while (fastest && base->dim[fastest - 1] == 1) fastest--;
    return fastest && digits->count[axis] && digits->axis[axis][digits->count[axis] - 1] == fastest - 1;
}
