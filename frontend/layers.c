/* The built-in layers: the table, and their builders. A layer is a function of its input that may own weights.
 *
 * A function that is marked as a layer is one, too; its arguments beyond the first are then options by their names. */
#include "frontend/functions.h"

#include <math.h>
#include <string.h>

#define LAYER(name, ...) static Value layer_##name(LayerCall *call);
#define OPTION(...)
#include "frontend/layers.def"

const LayerInfo layer_info[] = {
#define LAYER(name_, meaning_) {.name = #name_, .meaning = meaning_, .build = layer_##name_},
#define OPTION(...)
#include "frontend/layers.def"
#define ELEMENTWISE(name_, ...) {.name = #name_, .function = &function_info[FUNCTION_##name_]},
#define FUNCTION(name_, ...) {.name = #name_, .function = &function_info[FUNCTION_##name_]},
#include "frontend/functions.def"
};
const uint32_t layer_count = sizeof layer_info / sizeof *layer_info;

static const struct {
    const char *layer;
    OptionInfo option;
} option_lines[] = {
#define LAYER(...)
#define OPTION(layer, key, value, required, standard, meaning) {#layer, {#key, #value, required, standard, meaning}},
#include "frontend/layers.def"
};
enum { OPTION_LINES = sizeof option_lines / sizeof *option_lines };

bool layer_exists(const LayerInfo *info) { return info->build || info->function->is_layer; }

const char *layer_meaning(const LayerInfo *info) { return info->function ? info->function->meaning : info->meaning; }

const LayerInfo *layer_find(const char *name) {
    for (uint32_t i = 0; i < layer_count; i++)
        if (layer_exists(&layer_info[i]) && !strcmp(layer_info[i].name, name)) return &layer_info[i];
    return NULL;
}

static const char *option_value_of(ArgumentKind kind) {
    switch (kind) {
    case ARGUMENT_axis: return "axis";
    case ARGUMENT_axes:
    case ARGUMENT_list: return "axes";
    case ARGUMENT_shape: return "shape";
    case ARGUMENT_flag: return "boolean";
    case ARGUMENT_count: return "count";
    case ARGUMENT_text: return "text";
    case ARGUMENT_tensor:
    case ARGUMENT_optional:
    case ARGUMENT_number: return "number";
    }
    return "number";
}

uint32_t layer_options(const LayerInfo *info, OptionInfo option[MAX_OPTIONS]) {
    uint32_t count = 0;
    for (uint32_t i = 1; info->function && i < function_arguments(info->function); i++) {
        const ArgumentInfo *argument = &info->function->argument[i];
        option[count++] = (OptionInfo){argument->name, option_value_of(argument->kind),
                                       argument_required(argument->kind), argument->value, "argument of the function"};
    }
    for (int i = 0; !info->function && i < OPTION_LINES; i++)
        if (!strcmp(option_lines[i].layer, info->name)) option[count++] = option_lines[i].option;
    return count;
}

/* Which option of the call's layer is called `key`. */
static uint32_t option_index(const LayerCall *call, const char *key, OptionInfo *info) {
    OptionInfo option[MAX_OPTIONS];
    uint32_t count = layer_options(call->layer->info, option);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(option[i].name, key)) return *info = option[i], i;
    BUG("layer %s has no option %s", call->layer->info->name, key);
}

/* The value of a number option, with the place to complain about it. */
static Value option_value(const LayerCall *call, const char *key, Spot *spot) {
    OptionInfo info;
    uint32_t i = option_index(call, key, &info);
    const Json *json = call->layer->option[i].json;
    *spot = json ? spot_json(json) : call->spot;
    if (!json) return value_number(info.standard);
    if (json->kind == JSON_boolean) return value_number(json->number);
    return call->layer->option[i].expr ? formula_value(call->l, call->scope, call->layer->option[i].expr)
                                       : value_unknown();
}

static bool option_number(const LayerCall *call, const char *key, double least, double most, double *number) {
    Spot spot;
    Value value = option_value(call, key, &spot);
    if (!to_number(call->l, spot, value, number)) return false;
    if (*number >= least && *number <= most) return true;
    return lower_fail(call->l, spot, "'%s' is %g, but must be from %g to %g", key, *number, least, most), false;
}

static bool option_flag(const LayerCall *call, const char *key) {
    Spot spot;
    return option_value(call, key, &spot).number != 0;
}

static bool option_dim(const LayerCall *call, const char *key, Dim *dim) {
    Spot spot;
    Value value = option_value(call, key, &spot);
    if (!to_dim(call->l, spot, arena_printf(call->l->arena, "'%s'", key), value, dim)) return false;
    if (*dim > 0) return true;
    return lower_fail(call->l, spot, "'%s' is the size of a weight, which cannot depend on the batch n", key), false;
}

static Value activated(LayerCall *call, Value x) {
    OptionInfo info;
    const Json *json = call->layer->option[option_index(call, "activation", &info)].json;
    return json ? function_unary(call->l, function_find(json->text), spot_json(json), x) : x;
}

/* The only input, as f32 with at least one axis. */
static bool one_input(LayerCall *call, NodeId *x, Type *type) {
    Value *value = &call->inputs[0];
    if (!to_float(call->l, call->spot, value)) return false;
    *x = value->node;
    *type = value_type(call->l, *x);
    if (type->rank) return true;
    return lower_fail(call->l, call->spot, "\"%s\" is applied to %s, but needs at least one axis",
                      call->layer->info->name, type_text(call->l, *type)),
           false;
}

static NodeId weight(LayerCall *call, const char *name, Type type, InputKind kind, Init init) {
    return lower_weight(call->l, call->spot, arena_printf(call->l->arena, "%s%s", call->path, name), type, kind, init);
}

static Init constant_init(double value) { return (Init){.kind = value == 0 ? INIT_zero : INIT_constant, .a = value}; }
static Init uniform_init(double bound) { return (Init){.kind = INIT_uniform, .a = -bound, .b = bound}; }

static bool option_init(LayerCall *call, double bound, Init *init) {
    OptionInfo info;
    double number = 0;
    uint32_t i = option_index(call, "init", &info);
    const Json *json = call->layer->option[i].json;
    const Expr *expr = call->layer->option[i].expr;
    *init = uniform_init(bound);
    if (!json || (json->kind == JSON_text && !strcmp(json->text, "linear"))) return true;
    if (expr && !to_number(call->l, spot_expr(expr), formula_value(call->l, call->scope, expr), &number)) return false;
    bool is_normal = json->kind == JSON_object && !strcmp(json->child->key, "normal");
    if (json->kind != JSON_object)
        *init = constant_init(number);
    else
        *init = is_normal ? (Init){INIT_normal, 0, number} : uniform_init(number);
    return true;
}

static Value layer_dense(LayerCall *call) {
    Lower *l = call->l;
    NodeId x;
    Type type;
    Dim units;
    Init init;
    bool has_units = option_dim(call, "units", &units);
    if (!one_input(call, &x, &type) || !has_units) return value_unknown();
    Dim in = type.dim[type.rank - 1];
    if (in < 0 || units < 0)
        return lower_fail(l, call->spot, "\"dense\" is applied to %s, but its weight cannot depend on the batch n",
                          type_text(l, type));
    double bound = 1 / sqrt((double)in);
    if (!option_init(call, bound, &init)) return value_unknown();
    NodeId w = weight(call, "weight", type_make(DTYPE_f32, 2, (Dim[]){in, units}), INPUT_parameter, init);
    if (w == NO_NODE) return value_unknown();
    Type row = type_make(DTYPE_f32, 1, (Dim[]){units});
    bool is_vector = type.rank == 1;
    Value left = value_tensor(is_vector ? build_reshape(l->g, x, 2, (Dim[]){1, in}) : x);
    Value y = formula_operator(l, call->spot, OPERATOR_matmul, left, value_tensor(w));
    if (is_vector && y.kind == VALUE_tensor) y.node = build_drop_axes(l->g, y.node, 1);
    if (option_flag(call, "bias")) {
        NodeId bias = weight(call, "bias", row, INPUT_parameter, uniform_init(bound));
        y = bias == NO_NODE ? value_unknown() : formula_operator(l, call->spot, OPERATOR_add, y, value_tensor(bias));
    }
    return activated(call, y);
}

static Value layer_activation(LayerCall *call) { return activated(call, call->inputs[0]); }

/* y * weight + bias along the last axis, if the layer wants that. */
static Value affine(LayerCall *call, NodeId y) {
    Lower *l = call->l;
    Type type = value_type(l, y);
    if (!option_flag(call, "affine")) return value_tensor(y);
    Type row = type_make(DTYPE_f32, 1, (Dim[]){type.dim[type.rank - 1]});
    NodeId scale = weight(call, "weight", row, INPUT_parameter, constant_init(1));
    NodeId offset = weight(call, "bias", row, INPUT_parameter, constant_init(0));
    if (scale == NO_NODE || offset == NO_NODE) return value_unknown();
    NodeId scaled = node_mul(l, y, node_spread(l, scale, y));
    return value_tensor(node_add(l, scaled, node_spread(l, offset, y)));
}

/* (x - mean) / sqrt(variance + epsilon); mean and variance are repeated to the shape of x. */
static NodeId standardized(Lower *l, NodeId x, NodeId mean, NodeId variance, double epsilon) {
    NodeId deviation = node_unary(l, OP_sqrt, node_shift(l, variance, epsilon));
    NodeId centred = node_sub(l, x, node_spread(l, mean, x));
    return node_div(l, centred, node_spread(l, deviation, x));
}

static NodeId variance_around(Lower *l, NodeId x, NodeId mean, uint32_t axes) {
    NodeId distance = node_sub(l, x, node_spread(l, mean, x));
    return node_mean(l, node_mul(l, distance, distance), axes);
}

/* The last axis carries the features, so its size is a weight's. */
static bool has_features(LayerCall *call, Type type) {
    if (type.dim[type.rank - 1] > 0) return true;
    lower_fail(call->l, call->spot, "\"%s\" works along the last axis of %s, which cannot be the batch n",
               call->layer->info->name, type_text(call->l, type));
    return false;
}

static Value layer_layer_norm(LayerCall *call) {
    Lower *l = call->l;
    NodeId x;
    Type type;
    double epsilon;
    if (!option_number(call, "epsilon", 0, 1, &epsilon) || !one_input(call, &x, &type) || !has_features(call, type))
        return value_unknown();
    uint32_t last = 1u << (type.rank - 1);
    NodeId mean = node_mean(l, x, last);
    return affine(call, standardized(l, x, mean, variance_around(l, x, mean, last), epsilon));
}

/* Moves a running average towards the batch's value. */
static void follow(LayerCall *call, const char *name, NodeId old, NodeId now, double momentum) {
    Lower *l = call->l;
    NodeId kept = node_scale(l, old, 1 - momentum);
    NodeId next = node_add(l, kept, node_scale(l, node_unary(l, OP_stop_gradient, now), momentum));
    lower_set_weight(l, arena_printf(l->arena, "%s%s", call->path, name), next);
}

static Value layer_batch_norm(LayerCall *call) {
    Lower *l = call->l;
    NodeId x;
    Type type;
    double epsilon, momentum;
    if (!option_number(call, "epsilon", 0, 1, &epsilon) || !option_number(call, "momentum", 0, 1, &momentum) ||
        !one_input(call, &x, &type) || !has_features(call, type))
        return value_unknown();
    Dim features = type.dim[type.rank - 1];
    Type row = type_make(DTYPE_f32, 1, &features);
    NodeId mean = weight(call, "running_mean", row, INPUT_state, constant_init(0));
    NodeId variance = weight(call, "running_var", row, INPUT_state, constant_init(1));
    if (mean == NO_NODE || variance == NO_NODE) return value_unknown();
    if (!l->is_training) return affine(call, standardized(l, x, mean, variance, epsilon));

    uint32_t axes = all_axes(type) & ~(1u << (type.rank - 1));
    double count = (double)type_elements(type) / (double)features;
    if (count < 2)
        return lower_fail(l, call->spot, "\"batch_norm\" is applied to %s: there is only one value for each feature",
                          type_text(l, type));
    NodeId batch_mean = node_mean(l, x, axes), batch_variance = variance_around(l, x, batch_mean, axes);
    follow(call, "running_mean", mean, build_reshape(l->g, batch_mean, 1, &features), momentum);
    follow(call, "running_var", variance,
           node_scale(l, build_reshape(l->g, batch_variance, 1, &features), count / (count - 1)), momentum);
    return affine(call, standardized(l, x, batch_mean, batch_variance, epsilon));
}

static Value layer_dropout(LayerCall *call) {
    Lower *l = call->l;
    double rate;
    Value x = call->inputs[0];
    if (!option_number(call, "rate", 0, 0.999, &rate) || !to_float(l, call->spot, &x)) return value_unknown();
    if (!l->is_training || rate == 0) return x;
    NodeId dropped = random_mask(l, value_type(l, x.node), rate);
    NodeId zero = build_like(l->g, x.node, 0);
    return value_tensor(build_select(l->g, dropped, zero, node_scale(l, x.node, 1 / (1 - rate))));
}

static Value layer_flatten(LayerCall *call) {
    return function_unary(call->l, function_find("flatten"), call->spot, call->inputs[0]);
}

static Value layer_reshape(LayerCall *call) {
    Spot spot;
    Value shape = option_value(call, "shape", &spot);
    Call reshape = {.spot = call->spot,
                    .name = "reshape",
                    .argument = {call->inputs[0], shape},
                    .given = {true, true},
                    .spots = {call->spot, spot}};
    return function_apply(call->l, function_find("reshape"), &reshape);
}

static Value layer_concat(LayerCall *call) {
    Spot spot;
    Value all = call->inputs[0], axis = option_value(call, "axis", &spot);
    for (uint32_t i = 1; i < call->input_count; i++) {
        Call two = {.spot = call->spot,
                    .name = "concat",
                    .argument = {all, call->inputs[i], axis},
                    .given = {true, true, true},
                    .spots = {call->spot, call->spot, spot}};
        all = function_apply(call->l, function_find("concat"), &two);
    }
    return all;
}

/* A layer that is a function: options become its arguments. */
static Value function_layer(LayerCall *call) {
    const FunctionInfo *info = call->layer->info->function;
    Call apply = {
        .spot = call->spot, .name = info->name, .argument = {call->inputs[0]}, .given = {true}, .spots = {call->spot}};
    for (uint32_t i = 1; i < function_arguments(info); i++) {
        apply.given[i] = call->layer->option[i - 1].json != NULL;
        if (apply.given[i]) apply.argument[i] = option_value(call, info->argument[i].name, &apply.spots[i]);
    }
    return function_apply(call->l, info, &apply);
}

Value layer_apply(LayerCall *call) {
    const LayerInfo *info = call->layer->info;
    if (call->input_count != 1 && info->build != layer_concat)
        return lower_fail(call->l, call->spot, "\"%s\" takes one input, but there are %u; say with \"input\" which one",
                          info->name, call->input_count);
    return info->build ? info->build(call) : function_layer(call);
}
