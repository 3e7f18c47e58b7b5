/* What every pass may rely on: inputs come earlier, types follow from the rules, outputs exist, updates
 * fit the states they replace. A failure is a bug in selfc, or a text that was written by hand. */
#include "ir/graph.h"

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

const char *graph_input_problem(const Graph *graph, uint32_t index) {
    const GraphInput *input = &graph->inputs[index];
    const char *problem = type_problem(input->type);
    if (problem || input->kind == INPUT_data) return problem;
    if (type_has_batch(input->type)) return "a parameter or state may not depend on the batch n";
    for (uint32_t i = 0; is_named(input) && i < graph->input_count; i++) {
        const GraphInput *other = &graph->inputs[i];
        bool both_named = i != index && other->kind != INPUT_data && is_named(other);
        if (both_named && !strcmp(other->name, input->name)) return "there is another parameter or state of this name";
    }
    return NULL;
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

bool graph_verify(const Graph *graph, FILE *report) {
    bool good = true;
    const char *why = "";
    for (uint32_t i = 0; i < graph->input_count; i++) {
        why = graph_input_problem(graph, i);
        if (!why) continue;
        const char *name = graph->inputs[i].name;
        fprintf(report, "verify: input %u \"%s\": %s\n", i, name ? name : "", why);
        good = false;
    }
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
