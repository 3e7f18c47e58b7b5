/* Runs a graph's text as compiled code: selfc_graph FILE BATCH < INPUTS > OUTPUTS. Inputs, one behind the other, and
 * outputs are the bytes of f32 and i32 tensors. For tests in other languages. */
#include "tests/compiled.h"

#include <stdlib.h>

enum { MOST_TEXT = 1 << 20 };

static const double *read_input(Type type, int64_t n, Arena *arena) {
    size_t count = (size_t)dim_at(type_elements(type), n);
    double *values = arena_array(arena, double, count);
    for (size_t i = 0; i < count; i++) {
        union {
            float number;
            int32_t whole;
        } element;
        if (fread(&element, sizeof element, 1, stdin) != 1) die("the inputs end early");
        values[i] = type.dtype == DTYPE_f32 ? (double)element.number : element.whole;
    }
    return values;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: selfc_graph FILE BATCH < INPUTS > OUTPUTS\n"), 2;
    int64_t n = atoll(argv[2]);
    Arena *arena = arena_new();
    Diag diag;
    Target target;
    diag_init(&diag);
    FILE *file = fopen(argv[1], "rb");
    if (!file) die("cannot read '%s'", argv[1]);
    char *text = arena_array(arena, char, MOST_TEXT);
    fread(text, 1, MOST_TEXT - 1, file);
    fclose(file);
    Graph *graph = graph_parse(text, argv[1], &diag);
    if (!graph || !target_make(NULL, NULL, arena, &target, &diag)) return fputs(diag.text, stderr), 1;
    const double **inputs = arena_array(arena, const double *, graph->input_count + 1);
    for (uint32_t i = 0; i < graph->input_count; i++) inputs[i] = read_input(graph->inputs[i].type, n, arena);
    const void *results = compiled_run(graph, &target, n, inputs, 2, arena);
    fwrite(results, 1, compiled_bytes(graph, n), stdout);
    graph_free(graph);
    diag_free(&diag);
    arena_free(arena);
    return 0;
}
