/* Normalising layers: batch, layer and group norm.
 *
 * The quotient 1 / sqrt(variance + epsilon) is taken once for each mean, not for each element; what remains for an
 * element is a difference, a product or two and a sum. */
#include "frontend/layers.h"

#include <string.h>

static NodeId inverse_deviation(Lower *l, NodeId variance, double epsilon) {
    NodeId deviation = node_unary(l, OP_sqrt, node_shift(l, variance, epsilon));
    return node_div(l, build_like(l->g, deviation, 1), deviation);
}

static NodeId centred(Lower *l, NodeId x, NodeId mean) { return node_sub(l, x, node_spread(l, mean, x)); }

static NodeId variance_around(Lower *l, NodeId x, NodeId mean, uint32_t axes) {
    NodeId distance = centred(l, x, mean);
    return node_mean(l, node_mul(l, distance, distance), axes);
}

/* Scale and offset along the last axis, if the layer wants them; false after a message. */
typedef struct {
    bool exists;
    NodeId scale, offset;
} Affine;

static bool affine_weights(LayerCall *call, Type type, double first, Affine *affine) {
    *affine = (Affine){.exists = option_flag(call, "affine")};
    if (!affine->exists) return true;
    Type row = type_make(DTYPE_f32, 1, (Dim[]){type.dim[type.rank - 1]});
    affine->scale = layer_weight(call, "weight", row, INPUT_parameter, init_constant(first));
    affine->offset = layer_weight(call, "bias", row, INPUT_parameter, init_constant(0));
    return affine->scale != NO_NODE && affine->offset != NO_NODE;
}

/* (x - mean) * rate * scale + offset. Where the rate belongs to a feature, as scale does, both are one factor. */
static NodeId normalized(Lower *l, NodeId x, NodeId mean, NodeId rate, const Affine *affine) {
    bool is_by_feature = value_type(l, rate).dim[value_type(l, rate).rank - 1] != 1;
    NodeId y = centred(l, x, mean), factor = rate;
    if (affine->exists && is_by_feature) factor = node_mul(l, rate, node_spread(l, affine->scale, rate));
    y = node_mul(l, y, node_spread(l, factor, y));
    if (!affine->exists) return y;
    if (!is_by_feature) y = node_mul(l, y, node_spread(l, affine->scale, y));
    return node_add(l, y, node_spread(l, affine->offset, y));
}

/* The last axis carries the features, so its size is a weight's. */
static bool has_features(LayerCall *call, Type type) {
    if (type.dim[type.rank - 1] > 0) return true;
    lower_fail(call->l, call->spot, "\"%s\" works along the last axis of %s, which cannot be the batch n",
               call->layer->info->name, type_text(call->l, type));
    return false;
}

static bool norm_input(LayerCall *call, uint32_t rank, NodeId *x, Type *type, double *epsilon) {
    return option_number(call, "epsilon", 0, 1, epsilon) && layer_input(call, rank, x, type) &&
           has_features(call, *type);
}

Value layer_layer_norm(LayerCall *call) {
    Lower *l = call->l;
    NodeId x;
    Type type;
    double epsilon;
    Affine affine;
    if (!norm_input(call, 1, &x, &type, &epsilon) || !affine_weights(call, type, 1, &affine)) return value_unknown();
    uint32_t last = 1u << (type.rank - 1);
    NodeId mean = node_mean(l, x, last);
    NodeId rate = inverse_deviation(l, variance_around(l, x, mean, last), epsilon);
    return value_tensor(normalized(l, x, mean, rate, &affine));
}

/* [n, …, features] as [n, places, groups, features of a group]: all of one group share their mean. */
static bool group_shape(LayerCall *call, Type type, Dim groups, Dim parts[4]) {
    Spot spot;
    Dim features = type.dim[type.rank - 1], places = 1;
    option_value(call, "groups", &spot);
    if (features % groups)
        return lower_fail(call->l, spot, "the %lld features of %s cannot be cut into %lld groups of one size",
                          (long long)features, type_text(call->l, type), (long long)groups),
               false;
    for (uint32_t i = 1; i + 1 < type.rank; i++) {
        if (type.dim[i] < 0) return lower_fail(call->l, call->spot, "only the first axis may be the batch n"), false;
        places *= type.dim[i];
    }
    memcpy(parts, (Dim[]){type.dim[0], places, groups, features / groups}, 4 * sizeof *parts);
    return true;
}

Value layer_group_norm(LayerCall *call) {
    Lower *l = call->l;
    NodeId x;
    Type type;
    double epsilon;
    Dim groups, parts[4];
    Affine affine;
    if (!option_dim(call, "groups", &groups) || !norm_input(call, 2, &x, &type, &epsilon) ||
        !group_shape(call, type, groups, parts) || !affine_weights(call, type, 1, &affine))
        return value_unknown();
    NodeId grouped = build_reshape(l->g, x, 4, parts);
    uint32_t axes = 1u << 1 | 1u << 3;
    NodeId mean = node_mean(l, grouped, axes);
    NodeId rate = inverse_deviation(l, variance_around(l, grouped, mean, axes), epsilon);
    NodeId even = normalized(l, grouped, mean, rate, &(Affine){0});
    NodeId y = build_reshape(l->g, even, type.rank, type.dim);
    if (!affine.exists) return value_tensor(y);
    y = node_mul(l, y, node_spread(l, affine.scale, y));
    return value_tensor(node_add(l, y, node_spread(l, affine.offset, y)));
}

/* Moves a running average towards the batch's value. */
static void follow(LayerCall *call, const char *name, NodeId old, NodeId now, double momentum) {
    Lower *l = call->l;
    NodeId kept = node_scale(l, old, 1 - momentum);
    NodeId next = node_add(l, kept, node_scale(l, node_unary(l, OP_stop_gradient, now), momentum));
    lower_set_weight(l, arena_printf(l->arena, "%s%s", call->path, name), next);
}

/* Mean and variance by feature, with rows [1, .., features] or [features]. */
typedef struct {
    NodeId mean, variance;
} Statistics;

/* The running averages follow the batch's. The running variance is that of the population the batch was drawn from:
 * count / (count - 1) times the batch's, as in PyTorch. */
static void follow_batch(LayerCall *call, Statistics running, Statistics batch, double count, double momentum) {
    Lower *l = call->l;
    Dim features = value_type(l, running.mean).dim[0];
    NodeId mean = build_reshape(l->g, batch.mean, 1, &features),
           variance = build_reshape(l->g, batch.variance, 1, &features);
    follow(call, "running_mean", running.mean, mean, momentum);
    follow(call, "running_var", running.variance, node_scale(l, variance, count / (count - 1)), momentum);
}

/* In training, both statistics come from one walk over x, so that it can be the walk that makes x: the sums of the
 * distances from a centre near the mean, and of their squares (Chan, Golub and LeVeque, "Algorithms for Computing the
 * Sample Variance", 1983: shifted data). The running mean is such a centre, and known before. What becomes of an
 * element is then distance · factor + shift, and its gradient needs no third sum. */
static NodeId batch_normalized(LayerCall *call, NodeId x, Type type, Statistics running, double epsilon,
                               double momentum, const Affine *affine) {
    Lower *l = call->l;
    uint32_t axes = all_axes(type) & ~(1u << (type.rank - 1));
    double count = (double)type_elements(type) / (double)type.dim[type.rank - 1];
    NodeId distance = centred(l, x, running.mean);
    NodeId mean = node_mean(l, distance, axes), square = node_mean(l, node_mul(l, distance, distance), axes);
    NodeId variance = node_sub(l, square, node_mul(l, mean, mean));
    variance = build_binary(l->g, OP_max, variance, build_like(l->g, variance, 0));
    Statistics batch = {node_add(l, mean, node_spread(l, running.mean, mean)), variance};
    follow_batch(call, running, batch, count, momentum);
    NodeId factor = inverse_deviation(l, variance, epsilon);
    if (affine->exists) factor = node_mul(l, factor, node_spread(l, affine->scale, factor));
    NodeId shift = node_unary(l, OP_neg, node_mul(l, mean, factor));
    if (affine->exists) shift = node_add(l, shift, node_spread(l, affine->offset, shift));
    return node_add(l, node_mul(l, distance, node_spread(l, factor, distance)), node_spread(l, shift, distance));
}

static Value batch_norm(LayerCall *call, NodeId x, Type type, double epsilon, double momentum, double first) {
    Lower *l = call->l;
    Type row = type_make(DTYPE_f32, 1, &type.dim[type.rank - 1]);
    Affine affine;
    Statistics running = {layer_weight(call, "running_mean", row, INPUT_state, init_constant(0)),
                          layer_weight(call, "running_var", row, INPUT_state, init_constant(1))};
    if (running.mean == NO_NODE || running.variance == NO_NODE || !affine_weights(call, type, first, &affine))
        return value_unknown();
    if (!l->is_training)
        return value_tensor(normalized(l, x, running.mean, inverse_deviation(l, running.variance, epsilon), &affine));
    if (type_elements(type) < 2 * row.dim[0])
        return lower_fail(l, call->spot, "\"batch_norm\" is applied to %s: there is only one value for each feature",
                          type_text(l, type));
    return value_tensor(batch_normalized(call, x, type, running, epsilon, momentum, &affine));
}

Value layer_batch_norm(LayerCall *call) {
    NodeId x;
    Type type;
    double epsilon, momentum, first;
    if (!option_number(call, "momentum", 0, 1, &momentum) || !option_number(call, "init", -1e9, 1e9, &first) ||
        !norm_input(call, 1, &x, &type, &epsilon))
        return value_unknown();
    return layer_activated(call, batch_norm(call, x, type, epsilon, momentum, first));
}
