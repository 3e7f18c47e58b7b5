/* Which operation of a call makes a value that is not finite of finite ones. A kernel is several operations in one; its
 * body, evaluated by the book on what the call was about to read, tells them apart. */
#include "frontend/api.h"

#include <math.h>
#include <stdio.h>

/* Beyond this the slow evaluator would keep people waiting, or take the memory of a run that has to be ended well. */
static const double operation_most_flop = 1e9;
static const double operation_most_elements = 2e7; /* of all values of the body together, doubles */

static bool operation_is_small(const Kernel *kernel, int64_t n) {
    const Graph *body = kernel->body;
    double elements = 0;
    for (NodeId id = 0; id < body->count; id++)
        elements += (double)dim_at(type_elements(body->nodes[id].type), n) * (1 + (body->nodes[id].op == OP_input));
    return elements <= operation_most_elements && kernel->flop <= operation_most_flop;
}

/* Values of a node, and which of them are asked about: those that are not finite, of NaN alone if there is one. */
typedef struct {
    NodeId id;
    const double *values;
    int64_t elements;
    bool has_any, has_nan;
} Bad;

static bool operation_is_bad(double value, bool is_nan) { return is_nan ? isnan(value) : !isfinite(value); }

static Bad operation_look(const Graph *body, NodeId id, int64_t n, double *const *values) {
    Bad bad = {.id = id, .values = values[id], .elements = dim_at(type_elements(body->nodes[id].type), n)};
    for (int64_t i = 0; i < bad.elements; i++) {
        bad.has_any |= !isfinite(bad.values[i]);
        bad.has_nan |= isnan(bad.values[i]) != 0;
    }
    return bad;
}

/* Is a value of the operand bad, one from which a bad one of the result may come? */
static bool operation_comes_from(const Graph *body, const Bad *bad, const Bad *operand, bool is_nan) {
    bool same_places = op_is_elementwise(body->nodes[bad->id].op);
    for (int64_t i = 0; i < operand->elements; i++)
        if (operation_is_bad(operand->values[i], is_nan) &&
            (!same_places || operation_is_bad(bad->values[i], bad->has_nan)))
            return true;
    return false;
}

/* The operand that a bad value comes from: one with NaN, if that is what it is, else one that is infinite. Infinite
 * constants are meant so. NO_NODE: there is none. */
static NodeId operation_cause(const Graph *body, const Bad *bad, int64_t n, double *const *values) {
    const Node *node = &body->nodes[bad->id];
    for (int is_nan = bad->has_nan; is_nan >= 0; is_nan--)
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
            Bad operand = operation_look(body, node->in[i], n, values);
            bool is_made = op_info[body->nodes[operand.id].op].inputs > 0;
            if (is_made && operation_comes_from(body, bad, &operand, is_nan)) return operand.id;
        }
    return NO_NODE;
}

static double **operation_values(const Graph *body, int64_t n, const SelfcCall *call, void *const *args, Arena *arena) {
    double **inputs = arena_array(arena, double *, body->input_count);
    for (uint32_t i = 0; i < body->input_count; i++) {
        int64_t elements = dim_at(type_elements(body->inputs[i].type), n);
        inputs[i] = arena_array(arena, double, elements);
        for (int64_t j = 0; j < elements; j++) inputs[i][j] = selfc_value(args[i], call->args[i].dtype, j);
    }
    return graph_eval_stored(body, n, (const double *const *)inputs, arena);
}

/* "log(-0.5)": with what made the first bad value, where one element comes of one of each operand. */
static void operation_print(const Graph *body, const Bad *bad, double *const *values, char *text, size_t size) {
    const Node *node = &body->nodes[bad->id];
    int used = snprintf(text, size, "%s", op_info[node->op].name);
    if (!op_is_elementwise(node->op)) return;
    int64_t at = 0;
    while (!operation_is_bad(bad->values[at], bad->has_nan)) at++;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        used += snprintf(text + used, size - (size_t)used, "%s%.3g", i ? ", " : "(", values[node->in[i]][at]);
    snprintf(text + used, size - (size_t)used, ")");
}

static int operation_find(const Graph *body, NodeId output, int64_t n, double *const *values, SelfcOperation *found) {
    Bad bad = operation_look(body, output, n, values);
    if (!bad.has_any) return 1; /* by the book it is finite */
    for (NodeId cause; (cause = operation_cause(body, &bad, n, values)) != NO_NODE;)
        bad = operation_look(body, cause, n, values);
    operation_print(body, &bad, values, found->text, sizeof found->text);
    found->origin = body->nodes[bad.id].origin;
    return 0;
}

/* Layers that need the same code share it, with the names of the first. */
static bool operation_is_shared(const Program *program, uint32_t kernel) {
    uint32_t calls = 0;
    for (uint32_t i = 0; i < program->call_count; i++) calls += program->calls[i].kernel == kernel;
    return calls > 1;
}

int api_find_operation(void *context, const SelfcProgram *program, uint32_t call, int64_t n, void *const *args,
                       uint32_t arg, SelfcOperation *operation) {
    const Compiled *compiled = &((const SelfcModel *)context)->compiled;
    const Program *source = compiled->programs[program - compiled->module->programs];
    uint32_t number = source->calls[source->prepare_calls + call].kernel;
    const Kernel *kernel = &source->kernels[number];
    const Graph *body = kernel->body;
    if (!operation_is_small(kernel, n)) return 1;
    Arena *arena = arena_new();
    double **values = operation_values(body, n, &program->calls[call], args, arena);
    int failed = operation_find(body, body->outputs[arg - body->input_count].node, n, values, operation);
    if (operation_is_shared(source, number)) operation->origin = NULL;
    arena_free(arena);
    return failed;
}
