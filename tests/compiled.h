/* Runs a graph as compiled code and as the evaluator sees it, and compares. */
#ifndef SELFC_TESTS_COMPILED_H
#define SELFC_TESTS_COMPILED_H
#include "backend/backend.h"
#include "passes/passes.h"

/* Values for every input of the graph, exact in the input's type. */
const double **compiled_draw(const Graph *graph, int64_t n, uint64_t seed, Arena *arena);

/* Compiles the graph for `target`, runs it with `threads` threads on the inputs with batch n, and compares
 * every output and update with graph_eval. Returns the number of elements that differ by more than `tolerance`
 * relative to 1 + the largest magnitude of that output (exactly, for integers); prints the first of each output. */
int compiled_compare(const Graph *graph, const Target *target, int64_t n, const double *const *inputs, int threads, double tolerance);

/* The same of one kernel as it is scheduled, called alone, against its body. */
int compiled_compare_kernel(const Kernel *kernel, const Target *target, int64_t n, uint64_t seed, int threads, double tolerance);

/* As compiled_compare, but compares the bits that `threads_a` and `threads_b` threads give. */
int compiled_same_bits(const Graph *graph, const Target *target, int64_t n, const double *const *inputs, int threads_a, int threads_b);

/* All outputs and updates one behind the other, as many bytes as compiled_bytes says. Belongs to the arena. */
const void *compiled_run(const Graph *graph, const Target *target, int64_t n, const double *const *inputs, int threads, Arena *arena);
size_t compiled_bytes(const Graph *graph, int64_t n);

double compiled_random(uint64_t *state); /* in [-1, 1) */
#endif
