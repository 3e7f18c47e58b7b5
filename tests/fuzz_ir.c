/* Fuzzes the readers of graphs and programs: libFuzzer with the golden files as its corpus, e.g.
 * fuzz_ir -max_len=4000 tests/ir tests/passes.
 *
 * Whatever is read must be sound (a graph passes the verifier), and its text must read back to the same text.
 * Whatever is not must have left a message. Small graphs are evaluated, too. */
#include "ir/program.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *program_text(const Program *program, Arena *arena) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) die("out of memory");
    program_print(program, out);
    fclose(out);
    char *copy = arena_copy(arena, text);
    free(text);
    return copy;
}

/* Inputs of ones; only where nothing is larger than a few thousand elements. */
static void evaluate(const Graph *graph, Arena *arena) {
    int64_t most = 1;
    for (NodeId id = 0; id < graph->count; id++) {
        const Node *node = &graph->nodes[id];
        if (op_info[node->op].class == CLASS_meta) return;
        int64_t elements = dim_at(type_elements(node->type), 2);
        if (op_info[node->op].class == CLASS_contract)
            elements *= dim_at(graph->nodes[node->in[0]].type.dim[node->type.rank - 1], 2);
        most = elements > most ? elements : most;
        if (most > 4096) return;
    }
    const double **inputs = arena_array(arena, const double *, graph->input_count);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        int64_t elements = dim_at(type_elements(graph->inputs[i].type), 2);
        if (elements > 4096) return;
        double *ones = arena_array(arena, double, elements);
        for (int64_t e = 0; e < elements; e++) ones[e] = 1;
        inputs[i] = ones;
    }
    graph_eval(graph, 2, inputs, arena);
}

static void try_graph(const char *text, Arena *arena) {
    Diag diag;
    diag_init(&diag);
    Graph *graph = graph_parse(text, "fuzz", &diag);
    CHECK(!graph == (diag.errors > 0));
    if (graph) {
        CHECK(graph_verify(graph, stderr));
        char *printed = graph_text(graph, arena);
        Graph *again = graph_parse(printed, "again", &diag);
        if (!again) BUG("%s\n%s", printed, diag.text);
        CHECK(!strcmp(printed, graph_text(again, arena)));
        evaluate(graph, arena);
        graph_free(again);
    }
    graph_free(graph);
    diag_free(&diag);
}

static void try_program(const char *text, FILE *nowhere, Arena *arena) {
    Diag diag;
    diag_init(&diag);
    Program *program = program_parse(text, "fuzz", &diag);
    CHECK(!program == (diag.errors > 0));
    if (program) {
        char *printed = program_text(program, arena);
        Program *again = program_parse(printed, "again", &diag);
        if (!again) BUG("%s\n%s", printed, diag.text);
        CHECK(!strcmp(printed, program_text(again, arena)));
        if (program_verify(program, nowhere)) program_print_plan(program, nowhere);
        program_free(again);
    }
    program_free(program);
    diag_free(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static FILE *nowhere;
    if (!nowhere && !(nowhere = fopen("/dev/null", "w"))) die("cannot open /dev/null");
    Arena *arena = arena_new();
    char *text = arena_alloc(arena, size + 1);
    if (size) memcpy(text, data, size);
    try_graph(text, arena);
    try_program(text, nowhere, arena);
    arena_free(arena);
    return 0;
}
