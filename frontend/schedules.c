/* Factors for learning rates as functions of `step`, which is 1 in the first step: products of them are schedules, like
 * 0.1 * warm_up(step, 500) * cosine_decay(step, 10000, start=500). They are as PyTorch's schedulers of these names
 * count, whose first step is 0. */
#include "frontend/functions.h"

#include <math.h>

static bool number_above_zero(Lower *l, Call *call, uint32_t at, double *number) {
    if (!to_number(l, call->spots[at], call->argument[at], number)) return false;
    if (*number > 0) return true;
    return lower_fail(l, call->spots[at], "'%s' of %s is %g, but must be above 0", at == 1 ? "steps" : "factor",
                      call->name, *number),
           false;
}

static NodeId clamped(Lower *l, NodeId x) {
    return build_binary(l->g, OP_min, node_relu(l, x), build_like(l->g, x, 1));
}

Value function_warm_up(Lower *l, Call *call) {
    double steps;
    if (!to_float(l, call->spots[0], &call->argument[0]) || !number_above_zero(l, call, 1, &steps))
        return value_unknown();
    return value_tensor(clamped(l, node_scale(l, call->argument[0].node, 1 / steps)));
}

/* How much of the decay is behind, 0..1; and where it ends. */
static bool decay_progress(Lower *l, Call *call, NodeId *progress, double *end) {
    double steps, start;
    if (!to_float(l, call->spots[0], &call->argument[0]) || !number_above_zero(l, call, 1, &steps) ||
        !to_number(l, call->spots[2], call->argument[2], &start) ||
        !to_number(l, call->spots[3], call->argument[3], end))
        return false;
    *progress = clamped(l, node_scale(l, node_shift(l, call->argument[0].node, -1 - start), 1 / steps));
    return true;
}

Value function_cosine_decay(Lower *l, Call *call) {
    NodeId progress;
    double end;
    if (!decay_progress(l, call, &progress, &end)) return value_unknown();
    NodeId wave = node_unary(l, OP_cos, node_scale(l, progress, 3.14159265358979323846));
    return value_tensor(node_shift(l, node_scale(l, node_shift(l, wave, 1), (1 - end) / 2), end));
}

Value function_linear_decay(Lower *l, Call *call) {
    NodeId progress;
    double end;
    if (!decay_progress(l, call, &progress, &end)) return value_unknown();
    return value_tensor(node_shift(l, node_scale(l, progress, end - 1), 1));
}

/* Half a step is added before rounding down, so that a quotient just below a whole number is not taken for less. */
Value function_step_decay(Lower *l, Call *call) {
    double steps, factor;
    if (!to_float(l, call->spots[0], &call->argument[0]) || !number_above_zero(l, call, 1, &steps) ||
        !number_above_zero(l, call, 2, &factor))
        return value_unknown();
    NodeId drops = node_unary(l, OP_floor, node_scale(l, node_shift(l, call->argument[0].node, -0.5), 1 / steps));
    return value_tensor(node_unary(l, OP_exp, node_scale(l, drops, log(factor))));
}
