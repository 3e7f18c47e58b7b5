/* Fuzzes formulas: the input is one formula, over tensors, numbers and labels. Whatever it is, there is a sound graph
 * or a message. */
#include "frontend/frontend.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char before[] =
    "{\"name\": \"m\", \"let\": {\"k\": 3}, \"functions\": {\"f\": {\"inputs\": {\"x\": [\"n\", 3, 4], "
    "\"y\": [4], \"l\": {\"shape\": [\"n\"], \"type\": \"i32\"}}, \"layers\": [{\"expr\": \"sum(x + k, axis=2)\", "
    "\"name\": \"s\"}, {\"expr\": \"";
static const char after[] = "\"}]}}}";

/* The bytes as the inside of a JSON string; bytes that are no text become letters. */
static char *description(const uint8_t *data, size_t size, Arena *arena) {
    char *text = arena_alloc(arena, sizeof before + sizeof after + 2 * size), *end = text + sizeof before - 1;
    memcpy(text, before, sizeof before);
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '"' || data[i] == '\\') *end++ = '\\';
        *end++ = data[i] >= 32 && data[i] < 127 ? (char)data[i] : 'x';
    }
    memcpy(end, after, sizeof after);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *arena = arena_new();
    Diag diag;
    diag_init(&diag);
    Model *model = model_parse(description(data, size, arena), "fuzz", NULL, 0, arena, &diag);
    CHECK(!model == (diag.errors > 0));
    Graph *graph = model ? lower_function(model, "f", &diag) : NULL;
    CHECK(!graph == (diag.errors > 0));
    if (graph) CHECK(graph_verify(graph, stderr));
    graph_free(graph);
    diag_free(&diag);
    arena_free(arena);
    return 0;
}
