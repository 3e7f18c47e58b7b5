/* Compiled code means what the evaluator says: random graphs over every operation and element type of the tables, with
 * awkward shapes, open batches and gradients, grouped by fusion as it likes. The first failure is printed as a text
 * that repeats it. */
#include "tests/compiled.h"
#include "tests/random_graph.h"

#include <stdlib.h>
#include <string.h>

static bool covered[OP_COUNT];

static void note_operations(const Graph *g) {
    for (NodeId id = 0; id < g->count; id++) covered[g->nodes[id].op] = true;
}

static int check(uint64_t seed, RandomOptions options, const Target *target) {
    Graph *g = random_graph(seed, options);
    Arena *arena = arena_new();
    int64_t n = options.batch ? 1 + (int64_t)(seed % 9) : 1;
    double **inputs = random_inputs(g, n, seed, arena);
    note_operations(g);
    int wrong = compiled_compare(g, target, n, (const double *const *)inputs, 1 + (int)(seed % 3), 1e-4);
    if (wrong) {
        printf("FAIL seed %llu, n = %lld, %s: %d elements differ in\n", (unsigned long long)seed, (long long)n, target->cpu, wrong);
        graph_print(g, stdout);
    }
    graph_free(g);
    arena_free(arena);
    return wrong != 0;
}

/* A test of all operations that missed one would say nothing. */
static int uncovered(void) {
    int missing = 0;
    for (int op = 0; op < OP_COUNT; op++) {
        if (covered[op] || op_info[op].class == CLASS_meta) continue;
        printf("FAIL no random graph had %s\n", op_info[op].name);
        missing++;
    }
    return missing;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 60, failed = 0;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const char *cpus[] = {NULL, "x86-64-v3", "x86-64-v2"};
    Arena *arena = arena_new();
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        Target target;
        Diag diag;
        diag_init(&diag);
        if (!target_make(NULL, cpus[i], arena, &target, &diag)) {
            printf("skipped %s: %s", cpus[i], diag.text);
            diag_free(&diag);
            continue;
        }
        diag_free(&diag);
        for (int k = 0; k < count && failed < 3; k++) {
            RandomOptions options = {.batch = k % 3 == 1, .elements = k % 5 ? 600 : 4000};
            failed += check(first + (uint64_t)k, options, &target);
        }
    }
    arena_free(arena);
    failed += count >= 60 ? uncovered() : 0;
    printf("%s\n", failed ? "FAILED" : "all graphs compile to what the evaluator computes");
    return failed != 0;
}
