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

static bool input_verify(const Graph *graph, uint32_t index, const char **why) {
    const GraphInput *input = &graph->inputs[index];
    *why = type_problem(input->type);
    if (*why) return false;
    if (input->kind == INPUT_data) return true;
    *why = "a parameter or state may not depend on the batch n";
    if (type_has_batch(input->type)) return false;
    *why = "a parameter or state of this name is already there";
    for (uint32_t i = 0; i < index; i++) {
        const GraphInput *other = &graph->inputs[i];
        bool named = other->kind != INPUT_data && input->name && *input->name && other->name;
        if (named && !strcmp(other->name, input->name)) return false;
    }
    return true;
}

static bool output_verify(const Graph *graph, uint32_t index, const char **why) {
    const GraphOutput *output = &graph->outputs[index];
    *why = "there is no such node";
    if (output->node >= graph->count) return false;
    if (output->updates < 0) return *why = "updates must be an input or -1", output->updates == -1;
    *why = "there is no input that it could update";
    if ((uint32_t)output->updates >= graph->input_count) return false;
    const GraphInput *input = &graph->inputs[output->updates];
    *why = "data cannot be updated, only parameters and states";
    if (input->kind == INPUT_data) return false;
    *why = "what is updated needs a name";
    if (!input->name || !*input->name) return false;
    *why = "the new value does not have the type of what it updates";
    if (!type_equal(input->type, graph->nodes[output->node].type)) return false;
    *why = "the same parameter or state is updated twice";
    for (uint32_t i = 0; i < index; i++)
        if (graph->outputs[i].updates == output->updates) return false;
    return true;
}

bool graph_verify(const Graph *graph, FILE *report) {
    bool good = true;
    const char *why = "";
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (input_verify(graph, i, &why)) continue;
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
        if (output_verify(graph, i, &why)) continue;
        const char *name = graph->outputs[i].name;
        fprintf(report, "verify: output %u \"%s\": %s\n", i, name ? name : "", why);
        good = false;
    }
    return good;
}
