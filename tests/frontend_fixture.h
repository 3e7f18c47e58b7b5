/* Descriptions in tests: from text to a graph, and what the graph is worth for given inputs. */
#ifndef SELFC_TESTS_FRONTEND_FIXTURE_H
#define SELFC_TESTS_FRONTEND_FIXTURE_H
#include "frontend/frontend.h"
#include "tests/expect.h"

#include <string.h>

typedef struct {
    Arena *arena;
    Diag diag;
    Model *model;
} Fixture;

/* The caller looks at fixture.model, NULL after errors. */
static inline Fixture fixture_open(const char *text, const char *const *sets, size_t set_count) {
    Fixture fixture = {.arena = arena_new()};
    diag_init(&fixture.diag);
    fixture.model = model_parse(text, "test.json", sets, set_count, fixture.arena, &fixture.diag);
    return fixture;
}

static inline void fixture_close(Fixture *fixture) {
    diag_free(&fixture->diag);
    arena_free(fixture->arena);
}

static inline const GraphOutput *fixture_output(const Graph *graph, const char *name) {
    for (uint32_t i = 0; i < graph->output_count; i++)
        if (!strcmp(graph->outputs[i].name, name)) return &graph->outputs[i];
    return NULL;
}

static inline int fixture_input(const Graph *graph, const char *name) {
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (!strcmp(graph->inputs[i].name, name)) return (int)i;
    return -1;
}
#endif
