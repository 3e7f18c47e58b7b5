/* Dead code elimination.
 *
 * Inputs come before their users, so one walk back from the outputs marks
 * everything that is needed and one walk forward copies it. The list of the
 * graph's inputs stays as it is, used or not: it is the interface. */
#include "passes/passes.h"

GraphPass pass_dce;

void pass_dce(const Graph *from, Graph *to, Arena *scratch) {
    bool *needed = arena_array(scratch, bool, from->count);
    NodeId *new_id = arena_array(scratch, NodeId, from->count);

    for (uint32_t i = 0; i < from->output_count; i++) needed[from->outputs[i].node] = true;
    for (NodeId id = from->count; id--;) {
        const Node *node = &from->nodes[id];
        for (uint32_t i = 0; needed[id] && i < op_info[node->op].inputs; i++) needed[node->in[i]] = true;
    }
    graph_copy_inputs(to, from);
    for (NodeId id = 0; id < from->count; id++)
        if (needed[id]) new_id[id] = graph_copy_node(to, &from->nodes[id], new_id);
    graph_copy_outputs(to, from, new_id);
}
