/* JSON → Model. Everything that can be said without shapes is said here; lowering says the rest. */
#include "frontend/read.h"

#include <string.h>

/* Names of modules come first, since layers may call modules that are described further down. */
static void list_modules(Reader *r, const Json *json, bool is_library) {
    Model *model = r->model;
    uint32_t count = json && json->kind == JSON_object ? json->count : 0;
    Module *all = arena_array(r->arena, Module, model->module_count + count + 1);
    if (model->module_count) memcpy(all, model->modules, model->module_count * sizeof *all);
    model->modules = all;
    for (const Json *item = count ? json->child : NULL; item; item = item->next)
        all[model->module_count++] = (Module){.name = item->key, .json = item, .is_library = is_library};
}

static void read_params(Reader *r, Module *module) {
    const Json *json = module->json;
    if (json->kind != JSON_object) return;
    module->params = read_constants(r, read_key(json, OBJECT_module, "params"));
    module->let = read_constants(r, read_key(json, OBJECT_module, "let"));
}

static void read_module(Reader *r, Module *module) {
    const Json *json = module->json;
    if (!read_is_name(module->name))
        diag_error(r->diag, json_key_place(json),
                   "\"%s\" cannot be a module's name: that is a letter or _, then letters, digits or _", module->name);
    if (!read_check(r, json, OBJECT_module)) return;
    read_inputs(r, read_key(json, OBJECT_module, "inputs"), &module->block);
    read_layers(r, read_key(json, OBJECT_module, "layers"), module->name, &module->block);
    module->block.outputs = read_names(r, read_key(json, OBJECT_module, "outputs"), true);
}

static void read_modules(Reader *r) {
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < r->model->module_count; i++) {
            r->is_library = r->model->modules[i].is_library;
            if (pass)
                read_module(r, &r->model->modules[i]);
            else
                read_params(r, &r->model->modules[i]);
        }
    r->is_library = false;
}

/* {"module": "encode"}: a block that is one call. */
static void read_function_call(Reader *r, const Json *json, Function *function) {
    Layer *layer = arena_array(r->arena, Layer, 1);
    function->is_call = true;
    layer->json = json;
    layer->origin = arena_printf(r->arena, "functions.%s", function->name);
    layer->index = "i";
    read_module_call(r, json, layer);
    function->block.layers = layer;
    function->block.layer_count = 1;
    static const char *const others[] = {"inputs", "layers", "outputs"};
    for (int i = 0; i < 3; i++)
        if (json_get(json, others[i]))
            read_error(r, json_get(json, others[i]), "a function is either a \"module\" or has \"%s\" of its own",
                       others[i]);
}

static void read_function(Reader *r, const Json *json, Function *function) {
    *function = (Function){.name = json->key, .json = json};
    if (!read_is_name(json->key))
        diag_error(r->diag, json_key_place(json),
                   "\"%s\" cannot be a function's name: that is a letter or _, then letters, digits or _", json->key);
    if (!strcmp(json->key, "train") || !strcmp(json->key, "evaluate"))
        diag_error(r->diag, json_key_place(json),
                   "\"%s\" is what selfc calls a part of the training; give the function another name", json->key);
    if (!read_check(r, json, OBJECT_function)) return;
    if (json_get(json, "module")) {
        read_function_call(r, json, function);
        return;
    }
    const Json *inputs = read_key(json, OBJECT_function, "inputs"), *layers = read_key(json, OBJECT_function, "layers");
    if (!json_get(json, "inputs"))
        read_error(r, json, "a function needs a \"module\", or \"inputs\" and \"layers\" of its own");
    else if (!json_get(json, "layers"))
        read_error(r, json, "a function with \"inputs\" needs \"layers\"");
    read_inputs(r, inputs, &function->block);
    read_layers(r, layers, arena_printf(r->arena, "functions.%s", function->name), &function->block);
    function->block.outputs = read_names(r, read_key(json, OBJECT_function, "outputs"), true);
}

enum { MOST_LENGTHS = 16 };

/* Copies of a function that was read, one for each of its lengths; all: the functions of the description. */
static void add_lengths(Reader *r, const Json *all, const Json *lengths, const Function *function) {
    Model *model = r->model;
    int64_t before = 0;
    if (function->is_call)
        read_error(r, lengths,
                   "a function with \"lengths\" has \"inputs\" and \"layers\" of its own, whose shapes say "
                   "where the length stands");
    if (lengths->count < 1 || lengths->count > MOST_LENGTHS)
        read_error(r, lengths, "these are %u lengths, but there must be 1 to %d", lengths->count, MOST_LENGTHS);
    for (const Json *item = lengths->child; item && model->function_count < model->function_capacity;
         item = item->next) {
        int64_t length = item->kind == JSON_number ? (int64_t)read_number(r, item, 0, 1, 1 << 20) : 0;
        if (length <= before || (double)length != item->number) {
            read_error(r, item, "lengths are positive whole numbers, each larger than the one before");
            return;
        }
        Function *copy = &model->functions[model->function_count++];
        *copy = *function;
        copy->name = arena_printf(r->arena, "%s_%lld", function->name, (long long)length);
        if (json_get(all, copy->name))
            read_error(r, item, "the copy of \"%s\" for this length is \"%s\", but so is another function",
                       function->name, copy->name);
        copy->family = function->name;
        copy->length = before = length;
    }
}

static uint32_t count_functions(const Json *json) {
    uint32_t count = 0;
    for (const Json *item = json->child; item; item = item->next) {
        const Json *lengths = item->kind == JSON_object ? json_get(item, "lengths") : NULL;
        count += lengths && lengths->kind == JSON_list ? lengths->count : 1;
    }
    return count;
}

static void read_functions(Reader *r, const Json *json) {
    Model *model = r->model;
    if (!json) return;
    model->function_capacity = count_functions(json);
    model->functions = arena_array(r->arena, Function, model->function_capacity + 1);
    for (const Json *item = json->child; item; item = item->next) {
        Function function;
        read_function(r, item, &function);
        const Json *lengths = item->kind == JSON_object ? read_key(item, OBJECT_function, "lengths") : NULL;
        if (lengths)
            add_lengths(r, json, lengths, &function);
        else if (model->function_count < model->function_capacity)
            model->functions[model->function_count++] = function;
    }
}

static void mark_module(Module *module);

static void mark_used(const Block *block) {
    for (uint32_t i = 0; i < block->layer_count; i++)
        if (block->layers[i].module) mark_module(block->layers[i].module);
}

static void mark_module(Module *module) {
    if (module->used) return;
    module->used = true;
    mark_used(&module->block);
}

void model_check_unused(const Model *model, Diag *diag) {
    mark_used(&model->training.block);
    for (uint32_t i = 0; i < model->function_count; i++) mark_used(&model->functions[i].block);
    for (uint32_t i = 0; i < model->module_count; i++)
        if (model->modules[i].suggested) mark_module(&model->modules[i]);
    for (uint32_t i = 0; i < model->module_count; i++) {
        const Module *module = &model->modules[i];
        if (module->used || module->is_library) continue;
        diag_error(diag, json_key_place(module->json), "module \"%s\" is not used by the training or a function",
                   module->name);
    }
    for (uint32_t i = 0; i < model->let.count; i++)
        if (!model->let.items[i].used)
            diag_error(diag, json_key_place(model->let.items[i].json), "nothing uses \"%s\"", model->let.items[i].name);
}

void model_mention(const Model *model, const char *name) {
    for (uint32_t i = 0; i < model->let.count; i++)
        if (!strcmp(model->let.items[i].name, name)) model->let.items[i].used = true;
}

/* Lists that the compiler asks for. */
static void list_results(Reader *r) {
    Model *model = r->model;
    Training *training = &model->training;
    model->report_names = arena_array(r->arena, const char *, training->update_count + training->reports.count + 1);
    for (uint32_t i = 0; i < training->update_count; i++)
        model->report_names[model->report_count++] = training->updates[i].loss.name;
    for (uint32_t i = 0; i < training->reports.count; i++)
        model->report_names[model->report_count++] = training->reports.items[i].name;
    model->function_names = arena_array(r->arena, const char *, model->function_count + 1);
    for (uint32_t i = 0; i < model->function_count; i++) model->function_names[i] = model->functions[i].name;
    model->data_specs = arena_array(r->arena, DataSpec, training->data_count + 1);
    for (uint32_t i = 0; i < training->data_count; i++) {
        const Data *data = &training->data[i];
        model->data_specs[i] = (DataSpec){.input = data->name,
                                          .source = data->source,
                                          .path = data->path,
                                          .field = data->field,
                                          .height = data->height,
                                          .width = data->width,
                                          .channels = data->channels,
                                          .length = data->length,
                                          .stride = data->stride,
                                          .unit = data->unit,
                                          .tokenizer = data->tokenizer,
                                          .has_labels = data->is_text && read_text_has_labels(training),
                                          .vocabulary = data->vocabulary,
                                          .mask = data->mask,
                                          .labels = data->labels ? json_print(data->labels, r->arena) : NULL};
    }
}

/* It begins the names of C functions and of RUN folders. */
static void check_model_name(Reader *r, const Json *name) {
    static const char *const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    size_t good = strspn(name->text, letters);
    if (good) good += strspn(name->text + good, "0123456789.-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_");
    if (!*name->text)
        read_error(r, name, "'name' is empty");
    else if (name->text[good])
        read_error(r, name, "'name' is \"%s\", but must be a letter or _, then letters, digits, _, - or .", name->text);
    else if (good > 100)
        read_error(r, name, "'name' has %zu letters, but at most 100 are possible", good);
}

bool read_model(Model *model, const Json *json, const Json *const *library, uint32_t library_count, Diag *diag) {
    Reader r = {.model = model, .arena = model->arena, .diag = diag};
    int errors = diag->errors;
    if (!read_check(&r, json, OBJECT_model)) return false;
    const Json *name = read_key(json, OBJECT_model, "name"), *training = read_key(json, OBJECT_model, "training");
    model->json = json;
    model->name = name ? name->text : "model";
    if (name) check_model_name(&r, name);
    model->let = read_constants(&r, read_key(json, OBJECT_model, "let"));
    list_modules(&r, read_key(json, OBJECT_model, "modules"), false);
    read_optimizers(&r, read_key(json, OBJECT_model, "optimizers"), false);
    for (uint32_t i = 0; i < library_count; i++) {
        list_modules(&r, json_get(library[i], "modules"), true);
        read_optimizers(&r, json_get(library[i], "optimizers"), true);
    }
    read_modules(&r);
    if (training && read_check(&r, training, OBJECT_training)) read_training(&r, training);
    read_functions(&r, read_key(json, OBJECT_model, "functions"));
    if (!json_get(json, "training") && !json_get(json, "functions"))
        read_error(&r, json, "a description needs \"training\" or \"functions\"");
    for (uint32_t i = 0; i < r.mentioned_count; i++) model_mention(model, r.mentioned[i]);
    read_mention_unread(&r);
    list_results(&r);
    read_knn_function(&r);
    return diag->errors == errors;
}
