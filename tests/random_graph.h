/* Random graphs for property tests: valid, over every operation of the table, with awkward shapes, and numerically
 * tame. A test says what must hold for any graph and asks for a few hundred.
 *
 * Tame means: no infinity and no NaN, f32 values up to some thousands (integers that were cast to f32 may be larger),
 * and operations that jump (floor, sign, less, equal, casts to narrow types) only see values that single and double
 * precision compute exactly alike. So a compiled graph may be compared with the evaluator under a small tolerance
 * (relative to the largest value of the tensor: sums cancel), and integers exactly. */
#ifndef SELFC_TESTS_RANDOM_GRAPH_H
#define SELFC_TESTS_RANDOM_GRAPH_H
#include "ir/graph.h"

typedef struct {
    uint32_t operations; /* about how many; 0: 20 */
    int64_t elements;    /* most elements of a tensor, at n = 9; 0: 2000 */
    bool batch;          /* some axes depend on n */
    bool gradients;      /* a loss, and updates of parameters by its gradient: needs the autodiff pass. The derivatives
                            are finite, but not bounded as the values are */
    bool floats_only;    /* f32 everywhere but in conditions and random bits */
} RandomOptions;

/* The same graph for the same seed and options, everywhere. To be freed by graph_free. */
Graph *random_graph(uint64_t seed, RandomOptions options);

/* Values for every input of the graph, exact in the input's type; values[i] has the elements of input i at n. */
double **random_inputs(const Graph *graph, int64_t n, uint64_t seed, Arena *arena);

/* The generator below it all: 64 well-mixed bits (splitmix64); and a number from 0 to limit - 1. */
uint64_t random_bits(uint64_t *state);
uint32_t random_below(uint64_t *state, uint32_t limit);
#endif
