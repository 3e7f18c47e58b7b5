/* Layers in order: each is applied to the one before unless it names its input.
 *
 * A module is lowered anew at every call. Whether two calls share their weights is decided by names alone: the path
 * of instances that leads to a layer is the beginning of its weights' names. So a copy of a module owns copies of all
 * the modules within. */
#include "frontend/lower.h"
#include "ir/origin.h"

#include <string.h>

enum { MAX_MODULE_DEPTH = 48, MAX_LAYERS = 20000 };

/* " (mean, log_var)"; the results of built-in layers have no names. */
static const char *join_names(Lower *l, const Values *values) {
    const char *text = "";
    for (uint32_t i = 0; i < values->count && values->name[i]; i++)
        text = arena_printf(l->arena, "%s%s%s", text, i ? ", " : " (", values->name[i]);
    return *text ? arena_printf(l->arena, "%s)", text) : text;
}

static void set_unknown(Values *values) {
    for (uint32_t i = 0; i < values->count; i++) values->item[i] = value_unknown();
}

/* `it` is the layer before, as long as that is one value. */
static void bind_it(Lower *l, Scope *scope, const Values *values) {
    scope_set(l, scope, "it", values->count == 1 ? values->item[0] : value_unknown());
}

static bool port_type(Lower *l, const Scope *scope, const Port *port, Type *type) {
    if (port->any_shape || !port->shape) return false;
    return to_type(l, spot_json(port->json), formula_value(l, scope, port->shape), port->dtype, type);
}

/* The value that is given for a port, converted as arithmetic would. Where there is none, or a wrong one, the module
 * is lowered with another of the right shape, to find what else is wrong. */
static Value bound_value(Lower *l, const Scope *scope, const Port *port, Value value, Spot spot, const char *what) {
    Type wanted;
    bool has_type = port_type(l, scope, port, &wanted);
    if (!to_tensor(l, spot, &value)) return has_type ? value_tensor(build_constant(l->g, wanted, 0)) : value_unknown();
    if (!has_type) return port->any_shape ? value : value_unknown();
    if (port->dtype == DTYPE_f32) to_float(l, spot, &value);
    Type given = value_type(l, value.node);
    if (type_equal(given, wanted)) return value;
    lower_fail(l, spot, "%s wants \"%s\" as %s, but is given %s", what, port->name, type_text(l, wanted),
               type_text(l, given));
    return value_tensor(build_constant(l->g, wanted, 0));
}

static bool begins_with_batch(const Port *port) {
    const Expr *shape = port->shape;
    return shape && shape->kind == EXPR_list && shape->count && shape->argument[0]->kind == EXPR_name &&
           !strcmp(shape->argument[0]->name, "n");
}

/* Inside of a module, n is the batch that it is called with: two views of each sample, one behind the other, are a
 * batch of 2 n. */
static void bind_batch(Lower *l, const Block *block, Scope *scope, const Values *values) {
    for (uint32_t i = 0; i < block->input_count && i < values->count; i++) {
        if (!begins_with_batch(&block->inputs[i]) || values->item[i].kind != VALUE_tensor) continue;
        Type given = value_type(l, values->item[i].node);
        Dim first = given.rank ? given.dim[0] : 0;
        if (!first || (first < 0) != (l->n < 0) || first % l->n) return;
        scope_set(l, scope, "n",
                  first < 0 ? (Value){.kind = VALUE_number, .per_n = (double)-first} : value_number((double)first));
        return;
    }
}

void bind_inputs(Lower *l, const Block *block, Scope *scope, Values *values, Spot spot, const Layer *call,
                 const char *what) {
    if (values->count != block->input_count) {
        lower_fail(l, spot, "%s takes %u input%s, but is given %u", what, block->input_count,
                   block->input_count == 1 ? "" : "s", values->count);
        *values = (Values){.count = block->input_count < MAX_VALUES ? block->input_count : MAX_VALUES};
        call = NULL;
    }
    bind_batch(l, block, scope, values);
    for (uint32_t i = 0; i < values->count; i++) {
        const Port *port = &block->inputs[i];
        Spot given = call && call->input_count ? spot_expr(call->inputs[i]) : spot;
        values->item[i] = bound_value(l, scope, port, values->item[i], given, what);
        values->name[i] = port->name;
        scope_bind(l, scope, port->name, values->item[i], spot_json(port->json));
    }
}

/* A module of the library does not see the description's let: its own names must never collide with those. */
const Scope *module_surroundings(const Lower *l, const Module *module) { return module->is_library ? NULL : l->root; }

bool function_inputs(Lower *l, const Scope *scope, const Block *block, Spot spot, Values *values) {
    values->count = block->input_count < MAX_VALUES ? block->input_count : MAX_VALUES;
    bool known = true;
    for (uint32_t i = 0; i < values->count; i++) {
        const Port *port = &block->inputs[i];
        Type type;
        if (port->any_shape)
            lower_fail(l, spot, "a function needs the shape of each input, but that of \"%s\" is not given",
                       port->name);
        bool has_type = port_type(l, scope, port, &type);
        known &= has_type;
        values->name[i] = port->name;
        values->item[i] =
            has_type ? value_tensor(build_input(l->g, port->name, INPUT_data, type, (Init){0})) : value_unknown();
    }
    return known;
}

/* Numbers that a call gives, else the module's defaults, which may use the params before them. */
static void bind_params(Lower *l, Scope *scope, const Module *module, const Layer *layer, const Scope *caller) {
    for (uint32_t i = 0; i < module->params.count; i++) {
        const Constant *param = &module->params.items[i], *given = NULL;
        for (uint32_t j = 0; j < layer->params.count; j++)
            if (!strcmp(layer->params.items[j].name, param->name)) given = &layer->params.items[j];
        Value value = given && given->value    ? formula_value(l, caller, given->value)
                      : param->value && !given ? formula_value(l, scope, param->value)
                                               : value_unknown();
        if (!given && !param->value)
            lower_fail(l, spot_json(layer->json), "module \"%s\" needs the param \"%s\"", module->name, param->name);
        scope_bind(l, scope, param->name, value, spot_json(param->json));
    }
}

void bind_module_numbers(Lower *l, Scope *scope, const Layer *call, const Scope *caller) {
    bind_params(l, scope, call->module, call, caller);
    scope_bind_constants(l, scope, &call->module->let);
}

static bool calls_itself(const Lower *l, const Module *module) {
    for (const Frame *frame = l->frame; frame; frame = frame->outer)
        if (frame->module == module) return true;
    return false;
}

/* As many unknown values as the module would give. */
static void unknown_results(const Module *module, Values *values) {
    values->count =
        module->block.outputs.count && module->block.outputs.count <= MAX_VALUES ? module->block.outputs.count : 1;
    for (uint32_t i = 0; i < values->count; i++)
        values->name[i] = module->block.outputs.count ? module->block.outputs.items[i].name : NULL;
    set_unknown(values);
}

static void call_module(Lower *l, const Layer *layer, const Scope *scope, const char *path, Values *values) {
    const Module *module = layer->module;
    Frame frame = {
        .outer = l->frame, .module = module, .path = path, .call = layer->json, .depth = l->frame->depth + 1};
    Spot spot = spot_json(layer->json);
    bool is_endless = calls_itself(l, module), is_deep = frame.depth > MAX_MODULE_DEPTH;
    if (is_endless)
        lower_fail(l, spot, "module \"%s\" calls itself, and so would never end", module->name);
    else if (is_deep)
        lower_fail(l, spot, "modules call one another more than %d deep", MAX_MODULE_DEPTH);
    if (is_endless || is_deep) {
        unknown_results(module, values);
        return;
    }
    Scope own = {.outer = module_surroundings(l, module)};
    bind_module_numbers(l, &own, layer, scope);
    bind_inputs(l, &module->block, &own, values, spot, layer, arena_printf(l->arena, "module \"%s\"", module->name));
    l->frame = &frame;
    lower_block(l, &module->block, &own, values);
    l->frame = frame.outer;
}

static void apply_builtin(Lower *l, const Layer *layer, const Scope *scope, const char *path, Values *values) {
    LayerCall call = {.l = l,
                      .layer = layer,
                      .scope = scope,
                      .path = path,
                      .spot = spot_json(layer->json),
                      .inputs = values->item,
                      .input_count = values->count};
    Value value = layer_apply(&call);
    bool is_list = value.kind == VALUE_list; /* a layer with several results */
    *values = (Values){.count = is_list ? value.count : 1};
    if (value.kind == VALUE_unknown && layer->names.count > 1 && layer->names.count <= MAX_VALUES)
        values->count = layer->names.count;
    for (uint32_t i = 0; i < values->count; i++) values->item[i] = is_list ? value.items[i] : value;
}

/* Where the weights of the layer begin: "encode.h.", "encode.block.3.". */
static const char *layer_path(Lower *l, const Layer *layer, int64_t repetition) {
    const char *name;
    if (layer->kind == LAYER_module)
        name = layer->instance ? layer->instance : layer->module->name;
    else if (layer->names.count)
        name = layer->names.items[0].name;
    else
        name = arena_printf(l->arena, "%s_%u", layer->info->name, layer->position);
    if (repetition < 0) return arena_printf(l->arena, "%s%s.", l->frame->path, name);
    return arena_printf(l->arena, "%s%s.%lld.", l->frame->path, name, (long long)repetition);
}

/* Nodes of a layer remember its name, "encode.h", beside its place in the description. */
static const char *layer_origin(Lower *l, const Layer *layer, const char *path) {
    size_t length = strlen(path);
    return origin_make(l->arena, arena_printf(l->arena, "%.*s", (int)(length ? length - 1 : 0), path), layer->origin);
}

/* Formulas own no weights and so have no path; what the description calls them is known all the same. */
static const char *formula_origin(Lower *l, const Layer *layer) {
    if (!layer->names.count) return layer->origin;
    return origin_make(l->arena, arena_printf(l->arena, "%s%s", l->frame->path, layer->names.items[0].name),
                       layer->origin);
}

static void apply_once(Lower *l, const Layer *layer, const Scope *scope, const char *path, Values *values) {
    const char *origin = layer_origin(l, layer, path);
    l->g->origin = origin;
    if (++l->layers > MAX_LAYERS) {
        if (l->layers == MAX_LAYERS + 1)
            lower_fail(l, spot_json(layer->json), "the description unrolls to more than %d layers", MAX_LAYERS);
        set_unknown(values);
    } else if (layer->kind == LAYER_module)
        call_module(l, layer, scope, path, values);
    else
        apply_builtin(l, layer, scope, path, values);
    l->g->origin = origin;
}

/* How many values the layer makes, whatever it is given. */
static uint32_t count_results(const Layer *layer) {
    const Names *outputs = layer->kind == LAYER_module ? &layer->module->block.outputs : NULL;
    return outputs && outputs->count && outputs->count <= MAX_VALUES ? outputs->count : 1;
}

static bool repeat_count(Lower *l, const Layer *layer, const Scope *scope, double *count) {
    Value repeat = formula_value(l, scope, layer->repeat);
    if (!to_number(l, spot_expr(layer->repeat), repeat, count)) return false;
    if (*count >= 0 && *count <= MAX_LAYERS && *count == (double)(int64_t)*count) return true;
    lower_fail(l, spot_expr(layer->repeat), "'repeat' is %g, but must be a whole number from 0 to %d", *count,
               MAX_LAYERS);
    return false;
}

/* Each repetition is applied to the results of the one before; inputs beyond those stay as they are. Without any, the
 * first inputs are the results. */
static void apply_repeated(Lower *l, const Layer *layer, const Scope *scope, Values *values) {
    double count;
    Values inputs = *values;
    bool is_known = repeat_count(l, layer, scope, &count);
    if (!is_known || count == 0)
        values->count = count_results(layer) < values->count ? count_results(layer) : values->count;
    if (!is_known) {
        set_unknown(values);
        return;
    }
    for (int64_t i = 0; i < (int64_t)count && l->layers <= MAX_LAYERS; i++) {
        Scope own = {.outer = scope};
        scope_bind(l, &own, layer->index, value_number((double)i), spot_json(layer->json));
        *values = inputs;
        apply_once(l, layer, &own, layer_path(l, layer, i), values);
        for (uint32_t j = 0; j < values->count && j < inputs.count; j++) inputs.item[j] = values->item[j];
    }
}

static bool layer_inputs(Lower *l, const Layer *layer, const Scope *scope, Values *values) {
    if (layer->input_count > MAX_VALUES)
        return lower_fail(l, spot_json(layer->json), "a layer has at most %d inputs", MAX_VALUES), false;
    if (layer->input_count) values->count = layer->input_count;
    for (uint32_t i = 0; i < layer->input_count; i++) values->item[i] = formula_value(l, scope, layer->inputs[i]);
    if (values->count) return true;
    return lower_fail(l, spot_json(layer->json), "there is nothing that this layer could be applied to"), false;
}

static void bind_results(Lower *l, const Layer *layer, Scope *scope, Values *values) {
    uint32_t given = layer->names.count;
    if (given && given != values->count) {
        const char *gives = values->count > 1
                                ? arena_printf(l->arena, "%u values%s", values->count, join_names(l, values))
                                : "one value";
        lower_fail(l, spot_json(layer->names.items[0].json), "this layer gives %s, but there %s %u name%s", gives,
                   given == 1 ? "is" : "are", given, given == 1 ? "" : "s");
        set_unknown(values);
        values->count = given < MAX_VALUES ? given : MAX_VALUES;
    }
    for (uint32_t i = 0; i < values->count; i++) {
        if (given)
            scope_bind(l, scope, layer->names.items[i].name, values->item[i], spot_json(layer->names.items[i].json));
        else if (values->name[i])
            scope_bind_implicit(l, scope, values->name[i], values->item[i]);
        if (given) values->name[i] = layer->names.items[i].name;
    }
    bind_it(l, scope, values);
}

/* A layer that could not be read is not applied; what its formulas say is looked at all the same. */
static void lower_broken(Lower *l, const Layer *layer, const Scope *scope, Values *values) {
    Scope own = {.outer = scope};
    if (layer->index) scope_bind(l, &own, layer->index, value_unknown(), spot_json(layer->json));
    if (layer->repeat) formula_value(l, scope, layer->repeat);
    for (uint32_t i = 0; i < layer->input_count; i++)
        if (layer->inputs[i]) formula_value(l, scope, layer->inputs[i]);
    for (uint32_t i = 0; i < MAX_OPTIONS; i++)
        if (layer->option[i].expr) formula_value(l, &own, layer->option[i].expr);
    for (uint32_t i = 0; i < layer->params.count; i++)
        if (layer->params.items[i].value) formula_value(l, &own, layer->params.items[i].value);
    *values = (Values){.count = layer->names.count ? layer->names.count : 1};
    if (values->count > MAX_VALUES) values->count = MAX_VALUES;
    set_unknown(values);
    if (layer->module && !layer->names.count) unknown_results(layer->module, values);
}

static void lower_layer(Lower *l, const Layer *layer, Scope *scope, Values *values) {
    l->g->origin = layer->origin;
    if (layer->kind == LAYER_broken) {
        lower_broken(l, layer, scope, values);
    } else if (layer->kind == LAYER_expr) {
        l->g->origin = formula_origin(l, layer);
        *values = (Values){.item = {formula_value(l, scope, layer->expr)}, .count = 1};
    } else if (!layer_inputs(l, layer, scope, values)) {
        set_unknown(values);
    } else if (layer->repeat) {
        apply_repeated(l, layer, scope, values);
    } else {
        apply_once(l, layer, scope, layer_path(l, layer, -1), values);
    }
    bind_results(l, layer, scope, values);
}

static Value output_value(Lower *l, const Scope *scope, const Name *name) {
    const Expr *expr = expr_name(name->json, name->name, l->arena);
    return formula_value(l, scope, expr);
}

void lower_block(Lower *l, const Block *block, Scope *scope, Values *values) {
    if (values->count == 1) bind_it(l, scope, values);
    for (uint32_t i = 0; i < block->layer_count; i++) lower_layer(l, &block->layers[i], scope, values);
    if (!block->outputs.count) return;
    values->count = block->outputs.count < MAX_VALUES ? block->outputs.count : MAX_VALUES;
    for (uint32_t i = 0; i < values->count; i++) {
        values->item[i] = output_value(l, scope, &block->outputs.items[i]);
        values->name[i] = block->outputs.items[i].name;
    }
}
