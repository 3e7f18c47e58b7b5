/* Fuzzes the graph passes: libFuzzer with the golden files as its corpus, e.g. fuzz_passes -max_len=4000 tests/passes.
 *
 * Whatever can be read and passes autodiff_check goes through autodiff, simplify, dce and split, one after the other;
 * each must build a sound graph with the interface that it was given. */
#include "passes/passes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Gradients need room: a spread or padded axis is larger than its origin. Nobody has tensors near the limit. */
static bool is_moderate(const Graph *graph) {
    for (NodeId id = 0; id < graph->count; id++)
        if (llabs(type_elements(graph->nodes[id].type)) > (int64_t)1 << 32) return false;
    return true;
}

static Graph *run(const char *pass, Graph *from) {
    Arena *scratch = arena_new();
    Graph *to = graph_new(from->name);
    pass_find(pass)->graph(from, to, scratch);
    arena_free(scratch);
    if (!graph_verify(to, stderr)) BUG("pass '%s' built a bad graph", pass);
    CHECK(to->input_count == from->input_count && to->output_count == from->output_count);
    graph_free(from);
    return to;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = calloc(size + 1, 1);
    Diag diag;
    if (!text) die("out of memory");
    if (size) memcpy(text, data, size);
    diag_init(&diag);
    Graph *graph = graph_parse(text, "fuzz", &diag);
    if (graph && is_moderate(graph) && autodiff_check(graph, &diag))
        graph = run("split", run("dce", run("fold", run("flatten", run("simplify", run("autodiff", graph))))));
    graph_free(graph);
    diag_free(&diag);
    free(text);
    return 0;
}
