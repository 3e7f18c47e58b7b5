/* Selects that whole samples decide: a picture is blurred or it is not.
 *
 * Where the condition of a select depends on the first axis alone, and much of a map kernel's work stands behind one of
 * its arms, the walk over the other axes is written twice, once for each answer, and a sample goes one of two ways. One
 * condition is enough for what descriptions do; the one that spares most is taken. */
#include "backend/pull.h"

/* A boolean for each index of the first axis of the space, below the broadcast that spreads it. */
static NodeId condition_of(const Kernel *kernel, const Node *select) {
    const Graph *body = kernel->body;
    if (select->op != OP_select || body->nodes[select->in[0]].op != OP_broadcast) return NO_NODE;
    NodeId id = body->nodes[select->in[0]].in[0];
    const Type *type = &body->nodes[id].type;
    bool decides = type->rank == kernel->grid.rank && type->dim[0] == kernel->grid.axis[0].extent && type->dim[0] != 1;
    for (uint32_t i = 1; i < type->rank; i++) decides &= type->dim[i] == 1;
    return decides ? id : NO_NODE;
}

/* Nodes as large as the space that are needed for `id`, once the condition is known to be `answer`. What is
 * reduced is so whatever the answer, and counted by itself. */
static uint32_t work_of(const Kernel *kernel, NodeId id, NodeId condition, bool answer, bool *seen) {
    const Node *node = &kernel->body->nodes[id];
    if (seen[id]) return 0;
    seen[id] = true;
    if (kernel_reduces(kernel, id)) return 0;
    if (condition != NO_NODE && condition_of(kernel, node) == condition)
        return work_of(kernel, node->in[answer ? 1 : 2], condition, answer, seen);
    uint32_t rank = node->type.rank, work = op_is_elementwise(node->op) && rank > 1 && node->type.dim[1] != 1;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        work += work_of(kernel, node->in[i], condition, answer, seen);
    return work;
}

static uint32_t all_work(const Kernel *kernel, NodeId condition, bool answer, Arena *arena) {
    const Graph *body = kernel->body;
    bool *seen = arena_array(arena, bool, body->count + 1);
    uint32_t work = 0;
    for (uint32_t i = 0; i < body->output_count; i++)
        work += work_of(kernel, body->outputs[i].node, condition, answer, seen);
    for (NodeId id = 0; id < body->count; id++)
        if (kernel_reduces(kernel, id)) work += work_of(kernel, body->nodes[id].in[0], condition, answer, seen);
    return work;
}

NodeId decide_condition(const Kernel *kernel, const uint32_t *stage, Arena *arena) {
    enum { LEAST_SPARED = 8 };
    uint32_t rank = kernel->grid.rank, all = all_work(kernel, NO_NODE, false, arena), best = 2 * LEAST_SPARED - 1;
    NodeId found = NO_NODE;
    if (rank < 2 || kernel->reduced & 1) return NO_NODE;
    for (NodeId id = 0; id < kernel->body->count; id++) {
        NodeId condition = condition_of(kernel, &kernel->body->nodes[id]);
        if (condition == NO_NODE || condition == found || stage[condition] || kernel_reduces(kernel, condition))
            continue;
        uint32_t spared =
            2 * all - all_work(kernel, condition, true, arena) - all_work(kernel, condition, false, arena);
        if (spared <= best || spared * 5 < all) continue;
        best = spared;
        found = condition;
    }
    return found;
}

LLVMValueRef decide_ask(Pull *p, NodeId condition, LLVMValueRef sample) {
    const Type *type = &p->e->kernel->body->nodes[condition].type;
    Position at = {.rank = type->rank, .lanes = 1};
    for (uint32_t i = 0; i < type->rank; i++) at.axis[i] = (Index){pull_i64(p, 0), 0, NULL};
    at.axis[0].base = sample;
    p->sample = sample;
    return pull_value(p, condition, &at);
}

void decide_answer(Pull *p, NodeId condition, bool answer) {
    const Graph *body = p->e->kernel->body;
    for (NodeId id = 0; id < body->count; id++)
        if (condition_of(p->e->kernel, &body->nodes[id]) == condition) p->taken[id] = answer ? 1 : 2;
}
