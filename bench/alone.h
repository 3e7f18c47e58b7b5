/* A graph compiled alone and timed: what benchmarks of single operations share. */
#ifndef SELFC_BENCH_ALONE_H
#define SELFC_BENCH_ALONE_H
#include "backend/backend.h"
#include "passes/passes.h"
#include "runtime/core/core.h"

enum { ALONE_MOST_IO = 12 };

typedef struct {
    Program *program;
    Jit *jit;
    SelfcSession *session;
    void *io[ALONE_MOST_IO]; /* inputs, which are numbers between -1 and 1, then outputs */
} Alone;

Alone alone_compile(Graph *graph, const Target *target, int threads); /* frees the graph; dies of what goes wrong */
void alone_release(Alone *alone);
/* Prints `NAME MEDIAN RUNS`: the median seconds of one run, from runs that took about `seconds` together (three at
 * least). */
void alone_measure(const Alone *alone, const char *name, double seconds);
#endif
