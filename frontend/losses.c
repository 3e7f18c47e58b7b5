/* Losses and what is made of labels. All of them are composites of the operations in ir/ops.def. */
#include "frontend/functions.h"

#include <math.h>

Value function_binary_cross_entropy(Lower *l, Call *call) {
    Value *logits = &call->argument[0], *target = &call->argument[1];
    if (!to_pair(l, call->spot, call->name, logits, target)) return value_unknown();
    if (!to_float(l, call->spots[0], logits) || !to_float(l, call->spots[1], target)) return value_unknown();
    NodeId x = logits->node, t = target->node;
    NodeId e = node_unary(l, OP_exp, node_unary(l, OP_neg, node_unary(l, OP_abs, x)));
    NodeId positive = node_relu(l, x), linear = node_sub(l, positive, node_mul(l, x, t));
    return value_tensor(node_add(l, linear, node_unary(l, OP_log, node_shift(l, e, 1))));
}

Value function_mean_squared_error(Lower *l, Call *call) {
    Value *x = &call->argument[0], *target = &call->argument[1];
    if (!to_pair(l, call->spot, call->name, x, target)) return value_unknown();
    if (!to_float(l, call->spots[0], x) || !to_float(l, call->spots[1], target)) return value_unknown();
    NodeId distance = node_sub(l, x->node, target->node);
    uint32_t axes = all_axes(value_type(l, distance));
    return value_tensor(build_drop_axes(l->g, node_mean(l, node_mul(l, distance, distance), axes), axes));
}

static bool is_whole(DType dtype) { return !dtype_info[dtype].is_float; }

/* Labels that are data as they come must name one of these classes; the runtime looks at them before it trains. */
void limit_labels(Lower *l, NodeId labels, Dim classes) {
    const Node *node = &l->g->nodes[labels];
    while (node->op == OP_cast || node->op == OP_reshape) node = &l->g->nodes[node->in[0]];
    if (node->op != OP_input || classes < 1) return;
    GraphInput *input = &l->g->inputs[node->attr.index];
    bool is_data = input->kind == INPUT_data && is_whole(input->type.dtype);
    if (is_data && (!input->below || classes < input->below)) input->below = classes;
}

/* Labels of the shape of `like` without its last axis, as i32. */
static bool to_labels(Lower *l, Spot spot, Value *labels, Type like) {
    if (!to_tensor(l, spot, labels)) return false;
    Type type = value_type(l, labels->node), wanted = like;
    if (like.rank) wanted.dim[--wanted.rank] = 0;
    wanted.dtype = DTYPE_i32;
    if (like.rank && is_whole(type.dtype) && shape_equal(type, wanted)) {
        limit_labels(l, labels->node, like.dim[like.rank - 1]);
        return labels->node = build_cast(l->g, labels->node, DTYPE_i32), true;
    }
    lower_fail(l, spot, "this is %s, but labels for %s are whole numbers: %s", type_text(l, type), type_text(l, like),
               type_text(l, wanted));
    return false;
}

NodeId node_at_label(Lower *l, NodeId labels, Type type) {
    Type column = type, whole = type_with_dtype(type, DTYPE_i32);
    column.dim[type.rank - 1] = 1;
    NodeId spread = build_broadcast(l->g, build_reshape(l->g, labels, column.rank, column.dim), whole);
    return build_binary(l->g, OP_equal, build_iota(l->g, whole, type.rank - 1), spread);
}

/* logits at the labels; the last axis stays with size 1. */
static NodeId logit_at_label(Lower *l, NodeId logits, NodeId labels) {
    Type type = value_type(l, logits);
    NodeId zero = build_like(l->g, logits, 0);
    NodeId chosen = build_select(l->g, node_at_label(l, labels, type), logits, zero);
    return build_sum(l->g, chosen, 1u << (type.rank - 1));
}

static Value cross_entropy_probabilities(Lower *l, NodeId logits, NodeId target) {
    uint32_t last = 1u << (value_type(l, logits).rank - 1);
    NodeId sum = build_sum(l->g, node_mul(l, target, node_log_softmax(l, logits, last)), last);
    return value_tensor(build_drop_axes(l->g, node_unary(l, OP_neg, sum), last));
}

Value function_cross_entropy(Lower *l, Call *call) {
    Value *logits = &call->argument[0], *target = &call->argument[1];
    if (!to_float(l, call->spots[0], logits) || !to_tensor(l, call->spots[1], target)) return value_unknown();
    Type type = value_type(l, logits->node), given = value_type(l, target->node);
    if (type.rank && !is_whole(given.dtype) && shape_equal(type, given)) {
        to_float(l, call->spots[1], target);
        return cross_entropy_probabilities(l, logits->node, target->node);
    }
    if (!to_labels(l, call->spots[1], target, type)) return value_unknown();
    uint32_t last = 1u << (type.rank - 1);
    NodeId below = node_below_peak(l, logits->node, last);
    NodeId all = node_log_sum(l, below, last);
    NodeId loss = node_sub(l, all, logit_at_label(l, below, target->node));
    return value_tensor(build_drop_axes(l->g, loss, last));
}

Value function_accuracy(Lower *l, Call *call) {
    Value *logits = &call->argument[0], *labels = &call->argument[1];
    if (!to_float(l, call->spots[0], logits)) return value_unknown();
    Type type = value_type(l, logits->node);
    if (!to_labels(l, call->spots[1], labels, type)) return value_unknown();
    uint32_t last = 1u << (type.rank - 1);
    NodeId chosen = logit_at_label(l, logits->node, labels->node);
    NodeId is_right = build_binary(l->g, OP_equal, chosen, build_reduce_max(l->g, logits->node, last));
    return value_tensor(build_drop_axes(l->g, build_cast(l->g, is_right, DTYPE_f32), last));
}

Value function_one_hot(Lower *l, Call *call) {
    Value *labels = &call->argument[0];
    Dim size;
    if (!to_tensor(l, call->spots[0], labels) || !to_dim(l, call->spots[1], "the size", call->argument[1], &size))
        return value_unknown();
    Type type = value_type(l, labels->node);
    if (!is_whole(type.dtype))
        return lower_fail(l, call->spots[0], "this is %s, but labels are whole numbers", type_text(l, type));
    if (type.rank == MAX_RANK)
        return lower_fail(l, call->spots[0], "%s has no room for another axis", type_text(l, type));
    type.dim[type.rank++] = size;
    type.dtype = DTYPE_f32;
    const char *problem = type_problem(type);
    if (problem) return lower_fail(l, call->spot, "the result would be %s: %s", type_text(l, type), problem);
    limit_labels(l, labels->node, size);
    NodeId is_there = node_at_label(l, build_cast(l->g, labels->node, DTYPE_i32), type);
    return value_tensor(build_cast(l->g, is_there, DTYPE_f32));
}
