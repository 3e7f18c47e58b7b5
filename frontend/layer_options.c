/* Options of layers as values, and weights: what every builder of a layer begins with. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

/* Which option of the call's layer is called `key`. */
static uint32_t option_index(const LayerCall *call, const char *key, OptionInfo *info) {
    OptionInfo option[MAX_OPTIONS];
    uint32_t count = layer_options(call->layer->info, option);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(option[i].name, key)) return *info = option[i], i;
    BUG("layer %s has no option %s", call->layer->info->name, key);
}

Value option_value(const LayerCall *call, const char *key, Spot *spot) {
    OptionInfo info;
    uint32_t i = option_index(call, key, &info);
    const Json *json = call->layer->option[i].json;
    *spot = json ? spot_json(json) : call->spot;
    if (!json) return value_number(info.standard);
    if (json->kind == JSON_boolean) return value_number(json->number);
    return call->layer->option[i].expr ? formula_value(call->l, call->scope, call->layer->option[i].expr)
                                       : value_unknown();
}

const Json *option_json(const LayerCall *call, const char *key) {
    OptionInfo info;
    return call->layer->option[option_index(call, key, &info)].json;
}

bool option_number(const LayerCall *call, const char *key, double least, double most, double *number) {
    Spot spot;
    Value value = option_value(call, key, &spot);
    if (!to_number(call->l, spot, value, number)) return false;
    if (*number >= least && *number <= most) return true;
    return lower_fail(call->l, spot, "'%s' is %g, but must be from %g to %g", key, *number, least, most), false;
}

bool option_flag(const LayerCall *call, const char *key) {
    Spot spot;
    return option_value(call, key, &spot).number != 0;
}

bool option_dim(const LayerCall *call, const char *key, Dim *dim) {
    Spot spot;
    Value value = option_value(call, key, &spot);
    if (!to_dim(call->l, spot, arena_printf(call->l->arena, "'%s'", key), value, dim)) return false;
    if (*dim > 0) return true;
    return lower_fail(call->l, spot, "'%s' is the size of a weight, which cannot depend on the batch n", key), false;
}

static bool whole_number(const LayerCall *call, Spot spot, const char *key, Value value, int64_t least, int64_t most,
                         int64_t *whole) {
    double number;
    if (!to_number(call->l, spot, value, &number)) return false;
    *whole = number >= (double)least && number <= (double)most ? (int64_t)number : least - 1;
    if (*whole >= least && (double)*whole == number) return true;
    return lower_fail(call->l, spot, "'%s' is %.12g, but must be a whole number from %lld to %lld", key, number,
                      (long long)least, (long long)most),
           false;
}

/* A list of two, which `what` describes, or what stands for both. */
static bool pair_of(const LayerCall *call, const char *key, const char *what, Spot *spot, Value pair[2]) {
    Value value = option_value(call, key, spot);
    if (value.kind == VALUE_unknown) return false;
    if (value.kind == VALUE_list && value.count != 2)
        return lower_fail(call->l, *spot, "'%s' is a list of %u, but must be %s or one number for both", key,
                          value.count, what),
               false;
    for (uint32_t i = 0; i < 2; i++) pair[i] = value.kind == VALUE_list ? value.items[i] : value;
    return true;
}

bool option_pair(const LayerCall *call, const char *key, int64_t least, int64_t most, int64_t pair[2]) {
    Spot spot;
    Value value[2];
    if (!pair_of(call, key, "[height, width]", &spot, value)) return false;
    for (uint32_t i = 0; i < 2; i++)
        if (!whole_number(call, spot, key, value[i], least, most, &pair[i])) return false;
    return true;
}

static bool numbers_of(const LayerCall *call, Spot spot, const char *key, const Value *value, uint32_t count,
                       double least, double most, double *number) {
    for (uint32_t i = 0; i < count; i++) {
        if (!to_number(call->l, spot, value[i], &number[i])) return false;
        if (number[i] >= least && number[i] <= most) continue;
        return lower_fail(call->l, spot, "'%s' is %g, but must be from %g to %g", key, number[i], least, most), false;
    }
    return true;
}

bool option_factors(const LayerCall *call, const char *key, double least, double most, double pair[2]) {
    Spot spot;
    Value value[2];
    return pair_of(call, key, "[height, width]", &spot, value) &&
           numbers_of(call, spot, key, value, 2, least, most, pair);
}

bool option_range(const LayerCall *call, const char *key, double least, double most, double range[2], bool *is_list) {
    Spot spot;
    Value value[2];
    if (!pair_of(call, key, "[least, most]", &spot, value) ||
        !numbers_of(call, spot, key, value, 2, least, most, range))
        return false;
    *is_list = option_value(call, key, &spot).kind == VALUE_list;
    if (range[0] <= range[1]) return true;
    return lower_fail(call->l, spot, "'%s' is from %g to %g, but the least must come first", key, range[0], range[1]),
           false;
}

bool option_numbers(const LayerCall *call, const char *key, uint32_t count, double least, double most, double *number) {
    Spot spot;
    Value value = option_value(call, key, &spot);
    if (value.kind == VALUE_unknown) return false;
    if (value.kind == VALUE_list && value.count != count)
        return lower_fail(call->l, spot, "'%s' is a list of %u, but there %s %u channel%s", key, value.count,
                          count == 1 ? "is" : "are", count, count == 1 ? "" : "s"),
               false;
    Value *items = arena_array(call->l->arena, Value, count);
    for (uint32_t i = 0; i < count; i++) items[i] = value.kind == VALUE_list ? value.items[i] : value;
    return numbers_of(call, spot, key, items, count, least, most, number);
}

bool option_sides(const LayerCall *call, const char *key, int64_t least, int64_t most, int64_t before[2],
                  int64_t after[2]) {
    Spot spot;
    Value value = option_value(call, key, &spot);
    if (value.kind == VALUE_unknown) return false;
    if (value.kind == VALUE_list && value.count != 2 && value.count != 4)
        return lower_fail(call->l, spot,
                          "'%s' is a list of %u, but must be [height, width], [top, bottom, left, right] or one number "
                          "for all sides",
                          key, value.count),
               false;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t item = value.count == 4 ? i : i / 2;
        Value side = value.kind == VALUE_list ? value.items[item] : value;
        if (!whole_number(call, spot, key, side, least, most, (i % 2 ? after : before) + i / 2)) return false;
    }
    return true;
}

Init init_constant(double value) { return (Init){.kind = value == 0 ? INIT_zero : INIT_constant, .a = value}; }
Init init_uniform(double bound) { return (Init){.kind = INIT_uniform, .a = -bound, .b = bound}; }
Init init_normal(double deviation) { return (Init){.kind = INIT_normal, .a = 0, .b = deviation}; }

/* He et al. 2015 for layers before relu, Glorot and Bengio 2010 for others. */
static Init init_by_name(const char *name, double fan_in, double fan_out) {
    if (!strcmp(name, "zero")) return init_constant(0);
    if (!strcmp(name, "he_normal")) return init_normal(sqrt(2 / fan_in));
    if (!strcmp(name, "he_uniform")) return init_uniform(sqrt(6 / fan_in));
    if (!strcmp(name, "glorot_normal")) return init_normal(sqrt(2 / (fan_in + fan_out)));
    if (!strcmp(name, "glorot_uniform")) return init_uniform(sqrt(6 / (fan_in + fan_out)));
    return init_uniform(1 / sqrt(fan_in));
}

bool option_init(const LayerCall *call, const char *key, double fan_in, double fan_out, Init *init) {
    OptionInfo info;
    double number = 0;
    uint32_t i = option_index(call, key, &info);
    const Json *json = call->layer->option[i].json;
    const Expr *expr = call->layer->option[i].expr;
    bool has_name = !json || json->kind == JSON_text;
    *init = init_by_name(json && has_name ? json->text : "linear", fan_in, fan_out);
    if (has_name) return true;
    if (!expr || !to_number(call->l, spot_expr(expr), formula_value(call->l, call->scope, expr), &number)) return false;
    if (json->kind != JSON_object)
        *init = init_constant(number);
    else
        *init = !strcmp(json->child->key, "normal") ? init_normal(number) : init_uniform(number);
    return true;
}

Value layer_activated(LayerCall *call, Value x) {
    const Json *json = option_json(call, "activation");
    return json ? function_unary(call->l, function_find(json->text), spot_json(json), x) : x;
}

bool layer_input(LayerCall *call, uint32_t rank, NodeId *x, Type *type) {
    Value *value = &call->inputs[0];
    if (!to_float(call->l, call->spot, value)) return false;
    *x = value->node;
    *type = value_type(call->l, *x);
    if (type->rank >= rank) return true;
    return lower_fail(call->l, call->spot, "\"%s\" is applied to %s, but needs at least %s", call->layer->info->name,
                      type_text(call->l, *type), rank == 1 ? "one axis" : "two axes"),
           false;
}

NodeId layer_weight(LayerCall *call, const char *name, Type type, InputKind kind, Init init) {
    return lower_weight(call->l, call->spot, arena_printf(call->l->arena, "%s%s", call->path, name), type, kind, init);
}

Value layer_biased(LayerCall *call, Value x, Dim features, Init init) {
    if (!option_flag(call, "bias")) return x;
    Type row = type_make(DTYPE_f32, 1, &features);
    NodeId bias = layer_weight(call, "bias", row, INPUT_parameter, init);
    if (bias == NO_NODE) return value_unknown();
    return formula_operator(call->l, call->spot, OPERATOR_add, x, value_tensor(bias));
}
