/* What every pass may rely on: inputs come earlier, types follow from the rules, outputs exist, updates
 * fit the states they replace. A failure is a bug in selfc, or a text that was written by hand. */
#include "ir/graph.h"

#include <stdlib.h>
#include <string.h>

static bool node_verify(const Graph *graph, NodeId id, const char **why) {
    const Node *node = &graph->nodes[id];
    Type type;
    *why = "there is no such operation";
    if ((uint32_t)node->op >= OP_COUNT) return false;
    *why = "an input does not come earlier";
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (node->in[i] >= id) return false;
    *why = "an input that the operation does not have is not 0";
    for (uint32_t i = op_info[node->op].inputs; i < MAX_INPUTS; i++)
        if (node->in[i]) return false;
    if (!infer_type(graph, node, &type, why)) return false;
    *why = "the recorded type is not the one that follows from the inputs";
    return !memcmp(&type, &node->type, sizeof type);
}

static bool is_named(const GraphInput *input) { return input->name && *input->name; }

static const char *input_problem(const GraphInput *input) {
    const char *problem = type_problem(input->type);
    if (problem || input->kind == INPUT_data) return problem;
    return type_has_batch(input->type) ? "a parameter or state may not depend on the batch n" : NULL;
}

static bool is_state(const GraphInput *input) { return input->kind != INPUT_data && is_named(input); }

static const char *const same_name = "there is another parameter or state of this name";

const char *graph_input_problem(const Graph *graph, uint32_t index) {
    const GraphInput *input = &graph->inputs[index];
    const char *problem = input_problem(input);
    for (uint32_t i = 0; !problem && is_state(input) && i < graph->input_count; i++)
        if (i != index && is_state(&graph->inputs[i]) && !strcmp(graph->inputs[i].name, input->name)) return same_name;
    return problem;
}

const char *graph_output_problem(const Graph *graph, uint32_t index) {
    const GraphOutput *output = &graph->outputs[index];
    if (output->node >= graph->count) return "there is no such node";
    if (output->updates < 0) return output->updates == -1 ? NULL : "updates must be an input or -1";
    if ((uint32_t)output->updates >= graph->input_count) return "there is no input that it could update";
    const GraphInput *input = &graph->inputs[output->updates];
    if (input->kind == INPUT_data) return "data cannot be updated, only parameters and states";
    if (!is_named(input)) return "what is updated needs a name";
    if (!type_equal(input->type, graph->nodes[output->node].type))
        return "the new value does not have the type of what it updates";
    for (uint32_t i = 0; i < graph->output_count; i++)
        if (i != index && graph->outputs[i].updates == output->updates)
            return "this parameter or state is updated twice";
    return NULL;
}

static void report_input(const Graph *graph, uint32_t index, const char *why, FILE *report) {
    const char *name = graph->inputs[index].name;
    fprintf(report, "verify: input %u \"%s\": %s\n", index, name ? name : "", why);
}

static int compare_names(const void *a, const void *b) {
    const GraphInput *const *x = a, *const *y = b;
    int order = strcmp((*x)->name, (*y)->name);
    return order ? order : (*x > *y) - (*x < *y);
}

/* Sorted: a large model has thousands of states, and this is done behind every pass. */
static bool names_verify(const Graph *graph, FILE *report) {
    Arena *scratch = arena_new();
    const GraphInput **states = arena_array(scratch, const GraphInput *, graph->input_count + 1);
    uint32_t count = 0;
    bool good = true;
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (is_state(&graph->inputs[i])) states[count++] = &graph->inputs[i];
    qsort(states, count, sizeof *states, compare_names);
    for (uint32_t i = 1; i < count; i++) {
        if (strcmp(states[i - 1]->name, states[i]->name)) continue;
        report_input(graph, (uint32_t)(states[i] - graph->inputs), same_name, report);
        good = false;
    }
    arena_free(scratch);
    return good;
}

bool graph_verify(const Graph *graph, FILE *report) {
    bool good = true;
    const char *why = "";
    for (uint32_t i = 0; i < graph->input_count; i++) {
        why = input_problem(&graph->inputs[i]);
        if (!why) continue;
        report_input(graph, i, why, report);
        good = false;
    }
    good = names_verify(graph, report) && good;
    for (NodeId id = 0; good && id < graph->count; id++) {
        if (node_verify(graph, id, &why)) continue;
        const OpKind op = graph->nodes[id].op;
        fprintf(report, "verify: %%%u: %s: %s\n", id, (uint32_t)op < OP_COUNT ? op_info[op].name : "?", why);
        good = false;
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        why = graph_output_problem(graph, i);
        if (!why) continue;
        const char *name = graph->outputs[i].name;
        fprintf(report, "verify: output %u \"%s\": %s\n", i, name ? name : "", why);
        good = false;
    }
    return good;
}
