/* The built-in layers: the table, and their builders. A layer is a function of its input that may own weights.
 *
 * A function that is marked as a layer is one, too; its arguments beyond the first are then options by their names. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

const LayerInfo layer_info[] = {
#define LAYER(name_, meaning_) {.name = #name_, .meaning = meaning_, .build = layer_##name_},
#define OPTION(...)
#include "frontend/layers.def"
#define ELEMENTWISE(name_, ...) {.name = #name_, .function = &function_info[FUNCTION_##name_]},
#define FUNCTION(name_, ...) {.name = #name_, .function = &function_info[FUNCTION_##name_]},
#include "frontend/functions.def"
};
const uint32_t layer_count = sizeof layer_info / sizeof *layer_info;

/* How many inputs the layers take that may have more than one. */
static const struct {
    const char *layer;
    uint32_t fewest, most;
    const char *meaning;
} input_lines[] = {
#define LAYER(...)
#define OPTION(...)
#define INPUTS(layer, fewest, most, meaning) {#layer, fewest, most, meaning},
#include "frontend/layers.def"
};
enum { INPUT_LINES = sizeof input_lines / sizeof *input_lines };

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

const char *layer_inputs_meaning(const LayerInfo *info) {
    for (int i = 0; i < INPUT_LINES; i++)
        if (!strcmp(input_lines[i].layer, info->name)) return input_lines[i].meaning;
    return NULL;
}

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

Value layer_dense(LayerCall *call) {
    Lower *l = call->l;
    NodeId x;
    Type type;
    Dim units;
    Init init, bias_init;
    bool has_units = option_dim(call, "units", &units);
    if (!layer_input(call, 1, &x, &type) || !has_units) return value_unknown();
    Dim in = type.dim[type.rank - 1];
    if (in < 0)
        return lower_fail(l, call->spot, "\"dense\" is applied to %s, but its weight cannot depend on the batch n",
                          type_text(l, type));
    if (!option_init(call, "init", (double)in, (double)units, &init) ||
        !option_init(call, "bias_init", (double)in, (double)units, &bias_init))
        return value_unknown();
    NodeId w = layer_weight(call, "weight", type_make(DTYPE_f32, 2, (Dim[]){in, units}), INPUT_parameter, init);
    if (w == NO_NODE) return value_unknown();
    bool is_vector = type.rank == 1;
    Value left = value_tensor(is_vector ? build_reshape(l->g, x, 2, (Dim[]){1, in}) : x);
    Value y = formula_operator(l, call->spot, OPERATOR_matmul, left, value_tensor(w));
    if (is_vector && y.kind == VALUE_tensor) y.node = build_drop_axes(l->g, y.node, 1);
    return layer_activated(call, layer_biased(call, y, units, bias_init));
}

Value layer_bias(LayerCall *call) {
    NodeId x;
    Type type;
    Init init = init_constant(0);
    if (!layer_input(call, 1, &x, &type)) return value_unknown();
    Dim features = type.dim[type.rank - 1];
    if (features < 0)
        return lower_fail(call->l, call->spot, "\"bias\" is applied to %s, but its weight cannot depend on the batch n",
                          type_text(call->l, type));
    if (option_json(call, "init") && !option_init(call, "init", (double)features, (double)features, &init))
        return value_unknown();
    NodeId bias = layer_weight(call, "bias", type_make(DTYPE_f32, 1, &features), INPUT_parameter, init);
    if (bias == NO_NODE) return value_unknown();
    return value_tensor(node_add(call->l, x, node_spread(call->l, bias, x)));
}

Value layer_activation(LayerCall *call) { return layer_activated(call, call->inputs[0]); }

Value layer_dropout(LayerCall *call) {
    Lower *l = call->l;
    double rate;
    Value x = call->inputs[0];
    if (!option_number(call, "rate", 0, 0.999, &rate) || !to_float(l, call->spot, &x)) return value_unknown();
    if (!l->is_training || rate == 0) return x;
    NodeId dropped = random_mask(l, value_type(l, x.node), rate);
    NodeId zero = build_like(l->g, x.node, 0);
    return value_tensor(build_select(l->g, dropped, zero, node_scale(l, x.node, 1 / (1 - rate))));
}

Value layer_flatten(LayerCall *call) {
    return function_unary(call->l, function_find("flatten"), call->spot, call->inputs[0]);
}

Value layer_reshape(LayerCall *call) {
    Spot spot;
    Value shape = option_value(call, "shape", &spot);
    Call reshape = {.spot = call->spot,
                    .name = "reshape",
                    .argument = {call->inputs[0], shape},
                    .given = {true, true},
                    .spots = {call->spot, spot}};
    return function_apply(call->l, function_find("reshape"), &reshape);
}

Value layer_concat(LayerCall *call) {
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
    uint32_t fewest = 1, most = 1;
    const char *meaning = NULL;
    for (int i = 0; i < INPUT_LINES; i++)
        if (!strcmp(input_lines[i].layer, info->name))
            fewest = input_lines[i].fewest, most = input_lines[i].most, meaning = input_lines[i].meaning;
    if (!meaning && call->input_count != 1)
        return lower_fail(call->l, call->spot, "\"%s\" takes one input, but there are %u; say with \"input\" which one",
                          info->name, call->input_count);
    if (call->input_count < fewest || call->input_count > most)
        return lower_fail(call->l, call->spot,
                          "\"%s\" takes %u%s inputs (%s), but there %s %u; say with \"input\" which", info->name,
                          fewest, fewest == most ? "" : arena_printf(call->l->arena, " to %u", most), meaning,
                          call->input_count == 1 ? "is" : "are", call->input_count);
    return info->build ? info->build(call) : function_layer(call);
}
