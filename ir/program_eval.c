/* What a program means: its calls one after the other, each body by the graph's evaluator.
 *
 * Buffers are kept apart here even if the plan lets them share memory; that sharing is sound is the
 * verifier's business. A call's results are copied when all are known, so updates in place are safe. */
#include "ir/program.h"

#include <string.h>

static size_t elements_at(Type type, int64_t n) { return (size_t)dim_at(type_elements(type), n); }

static void eval_call(const Program *program, const Call *call, int64_t n, double **values, Arena *arena) {
    const Graph *body = program->kernels[call->kernel].body;
    Arena *scratch = arena_new();
    const double **inputs = arena_array(scratch, const double *, body->input_count);
    for (uint32_t i = 0; i < body->input_count; i++) {
        inputs[i] = values[call->args[i]];
        CHECK(inputs[i]);
    }
    double **results = graph_eval(body, n, inputs, scratch);
    for (uint32_t i = 0; i < body->output_count; i++) {
        uint32_t buffer = call->args[body->input_count + i];
        size_t elements = elements_at(program->buffers[buffer].type, n);
        if (!values[buffer]) values[buffer] = arena_array(arena, double, elements);
        memcpy(values[buffer], results[body->outputs[i].node], elements * sizeof(double));
    }
    arena_free(scratch);
}

void program_eval(const Program *program, int64_t n, double **values, Arena *arena) {
    for (uint32_t i = 0; i < program->call_count; i++) eval_call(program, &program->calls[i], n, values, arena);
}
