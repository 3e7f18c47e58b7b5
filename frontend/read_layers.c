/* Layers, and the inputs of modules and functions. */
#include "frontend/read.h"

#include <string.h>

static void read_port_shape(Reader *r, const Json *json, Port *port) {
    const Json *shape = json;
    if (json->kind == JSON_object) {
        const Json *type = json_get(json, "type");
        shape = json_get(json, "shape");
        for (const Json *item = json->child; item; item = item->next)
            if (strcmp(item->key, "shape") && strcmp(item->key, "type"))
                diag_error(r->diag, json_key_place(item), "an input has no key \"%s\", only \"shape\" and \"type\"",
                           item->key);
        if (type) read_dtype(r, type, &port->dtype);
        if (!shape) {
            read_error(r, json, "an input needs \"shape\"");
            return;
        }
    }
    if (read_accepts(r, shape, ACCEPT_shape)) port->shape = read_list(r, shape);
}

void read_inputs(Reader *r, const Json *json, Block *block) {
    if (!json) return;
    block->inputs = arena_array(r->arena, Port, json->count + 1);
    for (const Json *item = json->child; item; item = item->next) {
        Port port = {.json = item, .dtype = DTYPE_f32, .any_shape = json->kind == JSON_list, .name = item->key};
        if (port.any_shape && item->kind != JSON_text) {
            read_error(r, item, "this is %s, but must be the name of an input", json_kind_name(item->kind));
            continue;
        }
        if (port.any_shape) port.name = item->text;
        if (!read_is_name(port.name))
            diag_error(r->diag, json_key_place(item),
                       "\"%s\" cannot be used in formulas: a name is a letter or _, then letters, digits or _",
                       port.name);
        if (!port.any_shape) read_port_shape(r, item, &port);
        block->inputs[block->input_count++] = port;
    }
    if (block->input_count > MAX_VALUES) {
        read_error(r, json, "there are %u inputs, but at most %d are possible", block->input_count, MAX_VALUES);
        block->input_count = MAX_VALUES;
    }
    if (!block->input_count) read_error(r, json, "there must be at least one input");
}

/* The one that a misspelt name resembles, after a message: it is then the module of a call that is not lowered. */
static Module *find_module(Reader *r, const Json *json, bool *is_there) {
    const char **names = arena_array(r->arena, const char *, r->model->module_count + 1);
    for (uint32_t i = 0; i < r->model->module_count; i++) {
        Module *module = &r->model->modules[i];
        names[i] = module->name;
        bool in_sight = module->is_library || !r->is_library;
        if (in_sight && !strcmp(module->name, json->text)) return *is_there = true, module;
    }
    *is_there = false;
    const char *nearest = read_unknown(r, json, "module", json->text, names, r->model->module_count);
    for (uint32_t i = 0; nearest && i < r->model->module_count; i++)
        if (names[i] == nearest) return &r->model->modules[i];
    return NULL;
}

static void check_params(Reader *r, const Json *params, const Module *module, const Constants *given) {
    const char **names = arena_array(r->arena, const char *, module->params.count + 1);
    for (uint32_t i = 0; i < module->params.count; i++) names[i] = module->params.items[i].name;
    for (uint32_t i = 0; i < given->count; i++) {
        bool known = false;
        for (uint32_t j = 0; j < module->params.count; j++) known |= !strcmp(names[j], given->items[i].name);
        if (known) continue;
        const Json *item = given->items[i].json;
        if (read_unknown_key(r, params, item, arena_printf(r->arena, "module \"%s\"", module->name), names,
                             module->params.count))
            given->items[i].name = item->key;
    }
}

void read_module_call(Reader *r, const Json *json, Layer *layer) {
    const Json *name = read_key(json, OBJECT_call, "module"), *instance = read_key(json, OBJECT_call, "instance");
    const Json *params = read_key(json, OBJECT_call, "params");
    layer->kind = LAYER_broken;
    layer->params = read_constants(r, params);
    if (instance) layer->instance = instance->text;
    bool is_there;
    if (!name || !(layer->module = find_module(r, name, &is_there))) return;
    if (is_there) layer->kind = LAYER_module;
    check_params(r, params, layer->module, &layer->params);
}

static bool option_is(const OptionInfo *option, Accept accept) {
    return accept_find(option->value) == &accept_info[accept];
}

static void read_activation(Reader *r, const Json *json) {
    const char *names[FUNCTION_COUNT];
    size_t count = 0;
    for (int i = 0; i < FUNCTION_COUNT; i++)
        if (function_is_activation(&function_info[i])) names[count++] = function_info[i].name;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(names[i], json->text)) return;
    read_unknown(r, json, "activation", json->text, names, count);
}

static void read_one_of_two(Reader *r, const Json *json, const char *what, const char *const names[2]) {
    for (size_t i = 0; i < 2; i++)
        if (!strcmp(names[i], json->text)) return;
    read_unknown(r, json, what, json->text, names, 2);
}

static bool is_one_of(const char *text, const char *const *names) {
    while (*names && strcmp(*names, text)) names++;
    return *names != NULL;
}

/* A name of layer_options.c, a number, {"uniform": bound}, {"normal": deviation}: the formula is that of the number. */
static const Expr *read_init(Reader *r, const Json *json, bool *fits) {
    *fits = true;
    if (json->kind == JSON_number) return read_expr(r, json);
    static const char *const names[] = {"linear",        "zero",           "he_normal", "he_uniform",
                                        "glorot_normal", "glorot_uniform", NULL};
    if (json->kind == JSON_text && is_one_of(json->text, names)) return NULL;
    bool is_range = json->kind == JSON_object && json->count == 1 &&
                    (!strcmp(json->child->key, "uniform") || !strcmp(json->child->key, "normal"));
    const Expr *expr = is_range && read_accepts(r, json->child, ACCEPT_number) ? read_expr(r, json->child) : NULL;
    if (!is_range) read_error(r, json, "'init' must be %s", accept_info[ACCEPT_init].text);
    *fits = expr != NULL;
    return expr;
}

/* False if the layer cannot be lowered with it. */
static bool read_option(Reader *r, const Json *json, const OptionInfo *option, Layer *layer, uint32_t index) {
    bool fits = true;
    if (!read_accepts(r, json, (Accept)(accept_find(option->value) - accept_info))) return false;
    layer->option[index].json = json;
    if (option_is(option, ACCEPT_boolean) || option_is(option, ACCEPT_text)) return true;
    int errors = r->diag->errors;
    if (option_is(option, ACCEPT_activation))
        read_activation(r, json);
    else if (option_is(option, ACCEPT_init))
        layer->option[index].expr = read_init(r, json, &fits);
    else if (option_is(option, ACCEPT_method))
        read_one_of_two(r, json, "method", (const char *const[]){"nearest", "bilinear"});
    else if (option_is(option, ACCEPT_direction))
        read_one_of_two(r, json, "direction", (const char *const[]){"horizontal", "vertical"});
    else if (option_is(option, ACCEPT_padding) && json->kind == JSON_text &&
             is_one_of(json->text, (const char *const[]){"same", "valid", NULL}))
        return true;
    else if (option_is(option, ACCEPT_shape) || json->kind == JSON_list)
        layer->option[index].expr = read_list(r, json);
    else
        layer->option[index].expr = read_expr(r, json);
    fits &= r->diag->errors == errors;
    if (!fits) read_leave(r, json);
    return fits;
}

/* Keys that go neither with this form of layer nor with its options. */
static void check_keys(Reader *r, const Json *json, ObjectKind form, const char *text, const OptionInfo *option,
                       uint32_t options) {
    const char *names[32 + MAX_OPTIONS];
    size_t count = 0;
    for (uint32_t i = 0; i < key_count; i++)
        if (key_info[i].object == form) names[count++] = key_info[i].name;
    for (uint32_t i = 0; i < options; i++) names[count++] = option[i].name;
    for (const Json *item = json->child; item; item = item->next) {
        bool known = false;
        for (size_t i = 0; i < count; i++) known |= !strcmp(names[i], item->key);
        if (!known) read_unknown_key(r, json, item, text, names, count);
    }
}

/* A misspelt layer is read as the one that it resembles, so that what is wrong inside of it is told, too. */
static const LayerInfo *unknown_layer(Reader *r, const Json *json, const Json *kind) {
    const char **names = arena_array(r->arena, const char *, layer_count);
    size_t count = 0;
    for (uint32_t i = 0; i < layer_count; i++)
        if (layer_exists(&layer_info[i])) names[count++] = layer_info[i].name;
    const char *nearest = read_unknown(r, kind, "layer", kind->text, names, count);
    if (!nearest) read_leave(r, json);
    return nearest ? layer_find(nearest) : NULL;
}

static void read_builtin(Reader *r, const Json *json, Layer *layer) {
    const Json *kind = json_get(json, "layer");
    OptionInfo option[MAX_OPTIONS];
    layer->info = layer_find(kind->text);
    if (layer->info)
        layer->kind = LAYER_builtin;
    else if (!(layer->info = unknown_layer(r, json, kind)))
        return;
    uint32_t options = layer_options(layer->info, option);
    check_keys(r, json, OBJECT_layer, arena_printf(r->arena, "layer \"%s\"", layer->info->name), option, options);
    for (uint32_t i = 0; i < options; i++) {
        const Json *value = json_get(json, option[i].name);
        bool is_read = value && read_option(r, value, &option[i], layer, i);
        if (!is_read) layer->option[i].json = NULL;
        if (is_read || !option[i].required) continue;
        layer->kind = LAYER_broken;
        if (value) continue;
        read_error(r, json, "layer \"%s\" needs \"%s\": %s", layer->info->name, option[i].name, option[i].meaning);
    }
}

static void read_repeat(Reader *r, const Json *json, Layer *layer) {
    const Json *repeat = json_get(json, "repeat"), *index = json_get(json, "index");
    layer->index = index && read_accepts(r, index, ACCEPT_name) ? index->text : "i";
    if (index && !repeat)
        read_error(r, index, "\"index\" names the number of the repetition, but there is no \"repeat\"");
    if (!repeat) return;
    layer->repeat = read_accepts(r, repeat, ACCEPT_whole) ? read_expr(r, repeat) : NULL;
    if (!layer->repeat) layer->kind = LAYER_broken;
}

static void read_layer_inputs(Reader *r, const Json *json, Layer *layer) {
    const Json *input = json_get(json, "input");
    if (!input || !read_accepts(r, input, ACCEPT_formulas)) return;
    uint32_t count = input->kind == JSON_list ? input->count : 1;
    const Json *item = input->kind == JSON_list ? input->child : input;
    layer->inputs = arena_array(r->arena, const Expr *, count + 1);
    for (; item && layer->input_count < count; item = item->next) {
        const Expr *expr = read_expr(r, item);
        layer->inputs[layer->input_count++] = expr;
        if (!expr) layer->kind = LAYER_broken;
        if (input->kind != JSON_list) break;
    }
}

/* Which of the three forms the layer has; NULL after a message. */
static const Json *layer_form(Reader *r, const Json *json) {
    const Json *form = NULL;
    static const char *const forms[] = {"layer", "module", "expr"};
    for (int i = 0; i < 3; i++) {
        const Json *item = json_get(json, forms[i]);
        if (item && form)
            return read_error(r, item,
                              "a layer has one of \"layer\", \"module\" and \"expr\", but this has \"%s\" and \"%s\"",
                              form->key, item->key),
                   NULL;
        if (item) form = item;
    }
    for (const Json *item = json->child; !form && item; item = item->next)
        if (diag_nearest(item->key, forms, 3) && read_unknown_key(r, json, item, "a layer", forms, 3)) form = item;
    if (!form)
        return read_error(r, json, "a layer needs \"layer\" (a built-in), \"module\" or \"expr\" (a formula)"), NULL;
    Accept accept = !strcmp(form->key, "expr") ? ACCEPT_formula : ACCEPT_name;
    return read_accepts(r, form, accept) ? form : NULL;
}

/* Checks the keys first: what is misspelt among them is read as what it was meant to be. */
static void read_form(Reader *r, const Json *json, const Json *form, Layer *layer) {
    if (!strcmp(form->key, "expr")) {
        check_keys(r, json, OBJECT_expr, object_text[OBJECT_expr], NULL, 0);
        if ((layer->expr = read_expr(r, form))) layer->kind = LAYER_expr;
        return;
    }
    if (!strcmp(form->key, "module")) {
        check_keys(r, json, OBJECT_call, object_text[OBJECT_call], NULL, 0);
        const Json *params = json_get(json, "params"), *instance = json_get(json, "instance");
        if (params) read_accepts(r, params, ACCEPT_params);
        if (instance) read_accepts(r, instance, ACCEPT_name);
        read_module_call(r, json, layer);
    } else
        read_builtin(r, json, layer);
    read_repeat(r, json, layer);
    read_layer_inputs(r, json, layer);
}

static void read_layer(Reader *r, const Json *json, Layer *layer) {
    layer->kind = LAYER_broken;
    if (json->kind != JSON_object) {
        read_error(r, json, "a layer is an object, but this is %s", json_kind_name(json->kind));
        return;
    }
    const Json *form = layer_form(r, json);
    if (form)
        read_form(r, json, form, layer);
    else
        read_leave(r, json);
    const Json *name = json_get(json, "name"), *about = json_get(json, "about");
    if (about) read_accepts(r, about, ACCEPT_text);
    if (name && read_accepts(r, name, ACCEPT_names)) layer->names = read_names(r, name, true);
}

void read_layers(Reader *r, const Json *json, const char *owner, Block *block) {
    if (!json) return;
    block->layers = arena_array(r->arena, Layer, json->count + 1);
    for (const Json *item = json->child; item; item = item->next) {
        Layer *layer = &block->layers[block->layer_count];
        layer->json = item;
        layer->position = block->layer_count++;
        layer->origin = arena_printf(r->arena, "%s.layers[%u]", owner, layer->position);
        read_layer(r, item, layer);
    }
    if (!block->layer_count) read_error(r, json, "there must be at least one layer");
}
