/* What is known of the values of a random graph that grows: a bound, and whether they are multiples of a power of two
 * that single precision holds exactly. Shared by random_graph.c, random_facts.c and random_operands.c. */
#ifndef SELFC_TESTS_RANDOM_FACTS_H
#define SELFC_TESTS_RANDOM_FACTS_H
#include "tests/random_graph.h"

enum { INEXACT = -1 };

typedef struct {
    double bound; /* of the absolute value */
    int fraction; /* every value is a multiple of 2^-fraction, and computed without rounding; or INEXACT */
    bool trained; /* depends on a parameter */
} Fact;

typedef struct {
    Graph *g;
    Fact *facts; /* for each node that has been asked about, and all before it */
    uint32_t fact_count, fact_capacity;
    uint64_t state;
    RandomOptions options;
} Maker;

Fact random_fact(Maker *m, NodeId id);
double random_largest(DType dtype); /* the largest value that it holds */

static inline uint32_t below(Maker *m, uint32_t limit) { return random_below(&m->state, limit); }
static inline bool chance(Maker *m, uint32_t percent) { return below(m, 100) < percent; }
static inline Type type_of(const Maker *m, NodeId id) { return m->g->nodes[id].type; }
#endif
