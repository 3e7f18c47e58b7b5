/* Fuzzes the reading of descriptions: fuzz_json -max_len=4000 tests/messages tests/messages/schema tests/models.
 *
 * A description is either lowered, to graphs that are sound and a text that reads back to itself, or there is a
 * message. A first line that begins with '=' is an override. */
#include "frontend/frontend.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef Graph *Lowering(const Model *model, const char *function, Diag *diag);
static Graph *lower_as_training(const Model *model, const char *function, Diag *diag) {
    (void)function;
    return lower_train(model, NULL, 0, diag);
}
static Graph *lower_as_evaluation(const Model *model, const char *function, Diag *diag) {
    (void)function;
    return lower_evaluate(model, NULL, 0, diag);
}

static void check_lowered(Lowering *lower, const Model *model, const char *function, Diag *diag) {
    int errors = diag->errors;
    Graph *graph = lower(model, function, diag);
    CHECK(!graph == (diag->errors > errors));
    if (graph) CHECK(graph_verify(graph, stderr));
    graph_free(graph);
}

static void lower_all(const Model *model, Diag *diag) {
    const char *const *functions;
    uint32_t count = model_functions(model, &functions);
    for (uint32_t i = 0; i < count; i++) check_lowered(lower_function, model, functions[i], diag);
    if (!model_has_training(model)) return;
    check_lowered(lower_as_training, model, NULL, diag);
    check_lowered(lower_as_evaluation, model, NULL, diag);
}

static void check_resolved(const Model *model, Arena *arena) {
    Diag diag;
    diag_init(&diag);
    const char *text = model_resolved(model, arena);
    Model *again = model_parse(text, "again", NULL, 0, arena, &diag);
    if (!again) BUG("%s\n%s", text, diag.text);
    CHECK(!strcmp(text, model_resolved(again, arena)));
    diag_free(&diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *arena = arena_new();
    char *text = arena_alloc(arena, size + 1), *end;
    if (size) memcpy(text, data, size);
    const char *set = NULL;
    if (*text == '=' && (end = strchr(text, '\n'))) {
        *end = '\0';
        set = text + 1;
        text = end + 1;
    }
    Diag diag;
    diag_init(&diag);
    Model *model = model_parse(text, "fuzz", &set, set != NULL, arena, &diag);
    CHECK(!model == (diag.errors > 0));
    if (model) lower_all(model, &diag);
    if (model) check_resolved(model, arena);
    diag_free(&diag);
    arena_free(arena);
    return 0;
}
