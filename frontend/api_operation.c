/* Which operation of a call makes a value that is not finite of finite ones. A kernel is several operations in one; its
 * body, evaluated by the book on what the call was about to read, tells them apart. */
#include "frontend/api.h"

#include <math.h>

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

static const char *operation_of(const Kernel *kernel, int64_t n, const SelfcCall *call, void *const *args,
                                uint32_t output, Arena *arena) {
    const Graph *body = kernel->body;
    double **inputs = arena_array(arena, double *, body->input_count);
    for (uint32_t i = 0; i < body->input_count; i++) {
        int64_t elements = dim_at(type_elements(body->inputs[i].type), n);
        inputs[i] = arena_array(arena, double, elements);
        for (int64_t j = 0; j < elements; j++) inputs[i][j] = selfc_value(args[i], call->args[i].dtype, j);
    }
    double **values = graph_eval_stored(body, n, (const double *const *)inputs, arena);
    Bad bad = operation_look(body, body->outputs[output].node, n, values);
    if (!bad.has_any) return NULL; /* by the book it is finite */
    for (NodeId cause; (cause = operation_cause(body, &bad, n, values)) != NO_NODE;)
        bad = operation_look(body, cause, n, values);
    return op_info[body->nodes[bad.id].op].name;
}

const char *api_find_operation(void *context, const SelfcProgram *program, uint32_t call, int64_t n, void *const *args,
                               uint32_t arg) {
    const Compiled *compiled = &((const SelfcModel *)context)->compiled;
    const Program *source = compiled->programs[program - compiled->module->programs];
    const Kernel *kernel = &source->kernels[source->calls[source->prepare_calls + call].kernel];
    if (!operation_is_small(kernel, n)) return NULL;
    Arena *arena = arena_new();
    const char *name = operation_of(kernel, n, &program->calls[call], args, arg - kernel->body->input_count, arena);
    arena_free(arena);
    return name;
}
