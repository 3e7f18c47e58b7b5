/* Model → Graph: the training step, its evaluation, the look at its health, what layers make of pictures, and
 * functions.
 *
 * All of them lower the same layers; what differs is whether the batch is open, whether dropout drops, and what comes
 * out. Weights are added to a graph when a layer first asks for them, so each graph holds what it uses. */
#include "frontend/views.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static Weight *find_weight(const Lower *l, const char *name) {
    for (uint32_t i = 0; i < l->weight_count; i++)
        if (!strcmp(l->weights[i].name, name)) return &l->weights[i];
    return NULL;
}

const Weight *lower_find_weight(const Lower *l, const char *name) { return find_weight(l, name); }

static Weight *add_weight(Lower *l, Weight weight) {
    if (l->weight_count == l->weight_capacity) {
        uint32_t capacity = l->weight_capacity ? 2 * l->weight_capacity : 16;
        Weight *weights = arena_array(l->arena, Weight, capacity);
        if (l->weight_count) memcpy(weights, l->weights, l->weight_count * sizeof *weights);
        l->weights = weights;
        l->weight_capacity = capacity;
    }
    l->weights[l->weight_count] = weight;
    return &l->weights[l->weight_count++];
}

NodeId lower_weight(Lower *l, Spot spot, const char *name, Type type, InputKind kind, Init init) {
    Weight *weight = find_weight(l, name);
    const char *problem = type_problem(type);
    if (problem)
        return lower_fail(l, spot, "the weight \"%s\" would be %s: %s", name, type_text(l, type), problem), NO_NODE;
    if (weight && type_equal(weight->type, type) && weight->kind == kind) return weight->value;
    if (weight) {
        lower_fail(l, spot,
                   "the weight \"%s\" is %s here, but %s where it was used before; give one of the layers another "
                   "name, or the module an \"instance\"",
                   name, type_text(l, type), type_text(l, weight->type));
        return NO_NODE;
    }
    NodeId node = build_input(l->g, name, kind, type, init);
    add_weight(l, (Weight){.name = name,
                           .input = node,
                           .value = node,
                           .index = l->g->nodes[node].attr.index,
                           .type = type,
                           .kind = kind,
                           .spot = spot});
    return node;
}

void lower_set_weight(Lower *l, const char *name, NodeId value) {
    Weight *weight = find_weight(l, name);
    CHECK(weight != NULL);
    weight->value = value;
}

/* The caller owns the graph; what belongs to lowering lives as long. */
static Lower lower_begin(const Model *model, const char *name, Dim n, bool is_training, Diag *diag) {
    static const Frame outside = {.path = ""};
    Graph *g = graph_new(name);
    Scope *root = arena_array(g->arena, Scope, 1);
    Lower l = {.model = model,
               .g = g,
               .diag = diag,
               .arena = g->arena,
               .is_training = is_training,
               .n = n,
               .root = root,
               .frame = &outside};
    scope_bind_constants(&l, root, &model->let);
    return l;
}

static Graph *lower_end(Lower *l) {
    l->g->origin = NULL;
    if (!l->had_error) return l->g;
    graph_free(l->g);
    return NULL;
}

static const DataShape *find_shape(const DataShape *shapes, size_t count, const char *input) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(shapes[i].input, input)) return &shapes[i];
    return NULL;
}

/* What one sample looks like: as opened, as described, or as the source always has it. */
static bool sample_type(Lower *l, const Data *data, const DataShape *shapes, size_t count, bool is_trial,
                        Type *sample) {
    const DataShape *opened = find_shape(shapes, count, data->name);
    Type described;
    bool has_described = data->shape && to_type(l, spot_json(data->shape_json), formula_value(l, l->root, data->shape),
                                                data->dtype, &described);
    if (data->shape && !has_described) return false;
    if (opened && has_described && !type_equal(opened->sample, described)) {
        lower_fail(l, spot_json(data->shape_json), "a sample of \"%s\" is described as %s, but the data has %s",
                   data->name, type_text(l, described), type_text(l, opened->sample));
        return false;
    }
    *sample = opened ? opened->sample : has_described ? described : data->sample;
    if (opened || has_described || data->has_sample) return true;
    if (!is_trial)
        lower_fail(l, spot_json(data->json),
                   "the shape of \"%s\" is not known: give the data with --data or \"path\", or its \"shape\" here",
                   data->name);
    return false;
}

static bool data_scale(Lower *l, const Data *data, DType stored, double *scale) {
    *scale = stored == DTYPE_u8 ? 1.0 / 255 : 1;
    return !data->scale || to_number(l, spot_expr(data->scale), formula_value(l, l->root, data->scale), scale);
}

double model_data_scale(const Model *model, uint32_t data, DType stored) {
    Diag quiet;
    diag_init(&quiet);
    Lower l = lower_begin(model, "scale", -1, false, &quiet);
    double scale;
    data_scale(&l, &model->training.data[data], stored, &scale);
    graph_free(l.g);
    diag_free(&quiet);
    return scale;
}

/* The input in its stored type, made ready for layers: pictures as f32 in 0..1, whole numbers as they are. */
static Value data_value(Lower *l, const Data *data, Type sample) {
    Type type = {.dtype = sample.dtype, .rank = sample.rank + 1, .dim = {l->n}};
    if (sample.rank == MAX_RANK)
        return lower_fail(l, spot_json(data->json), "a sample of \"%s\" is %s, which leaves no axis for the batch",
                          data->name, type_text(l, sample));
    memcpy(type.dim + 1, sample.dim, sizeof(Dim) * sample.rank);
    Value x = value_tensor(build_input(l->g, data->name, INPUT_data, type, (Init){0}));
    double scale;
    bool is_whole = sample.dtype == DTYPE_i32 || sample.dtype == DTYPE_i64;
    if (!data_scale(l, data, sample.dtype, &scale)) return value_unknown();
    if (!is_whole || data->scale) to_float(l, spot_json(data->json), &x);
    if (data->flatten) x = function_unary(l, function_find("flatten"), spot_json(data->json), x);
    if (scale == 1 || x.kind != VALUE_tensor) return x;
    return value_tensor(build_binary(l->g, OP_mul, x.node, build_like(l->g, x.node, scale)));
}

static void bind_data(Lower *l, Scope *scope, const DataShape *shapes, size_t count, bool is_trial, Values *values) {
    const Training *training = &l->model->training;
    l->g->origin = "training.data";
    for (uint32_t i = 0; i < training->data_count && i < MAX_VALUES; i++) {
        const Data *data = &training->data[i];
        Type sample;
        Value value =
            sample_type(l, data, shapes, count, is_trial, &sample) ? data_value(l, data, sample) : value_unknown();
        scope_bind(l, scope, data->name, value, spot_json(data->json));
        values->item[values->count] = value;
        values->name[values->count++] = data->name;
    }
}

/* The mean of a value over all its elements, as f32[]. */
static bool report_value(Lower *l, const Scope *scope, const Name *name, NodeId *node) {
    Value value = formula_value(l, scope, expr_name(name->json, name->name, l->arena));
    if (!to_float(l, spot_json(name->json), &value)) return false;
    Call call = {.spot = spot_json(name->json),
                 .name = "mean",
                 .argument = {value},
                 .given = {true},
                 .spots = {spot_json(name->json)}};
    value = function_apply(l, function_find("mean"), &call);
    *node = value.node;
    return value.kind == VALUE_tensor;
}

static void add_reports(Lower *l, const Scope *scope) {
    const Training *training = &l->model->training;
    l->g->origin = "training.report";
    NodeId node;
    for (uint32_t i = 0; i < training->update_count; i++)
        if (report_value(l, scope, &training->updates[i].loss, &node))
            graph_add_output(l->g, training->updates[i].loss.name, node, -1);
    for (uint32_t i = 0; i < training->reports.count; i++)
        if (report_value(l, scope, &training->reports.items[i], &node))
            graph_add_output(l->g, training->reports.items[i].name, node, -1);
}

/* Rows of features, which the runtime measures. */
static void add_features(Lower *l, const Scope *scope) {
    const Names *health = &l->model->training.health;
    Type first = type_scalar(DTYPE_f32);
    for (uint32_t i = 0; i < health->count; i++) {
        const Name *name = &health->items[i];
        Spot spot = spot_json(name->json);
        Value value = formula_value(l, scope, expr_name(name->json, name->name, l->arena));
        if (!to_float(l, spot, &value)) continue;
        Type type = value_type(l, value.node);
        if (type.rank != 2 || type.dim[0] != l->n)
            lower_fail(l, spot,
                       "\"%s\" is %s, but features are f32[%lld,d]: a row of d numbers for each sample of a batch",
                       name->name, type_text(l, type), (long long)l->n);
        else if (i && first.rank && !type_equal(type, first))
            lower_fail(l, spot, "\"%s\" is %s, but the other view is %s", name->name, type_text(l, type),
                       type_text(l, first));
        else
            graph_add_output(l->g, name->name, value.node, -1);
        first = type;
    }
}

/* A class has one name. How many there are is known from what compares the labels with their scores. */
static void check_labels(Lower *l) {
    for (uint32_t i = 0; i < l->model->training.data_count; i++) {
        const Data *data = &l->model->training.data[i];
        for (uint32_t k = 0; data->labels && k < l->g->input_count; k++) {
            const GraphInput *input = &l->g->inputs[k];
            if (input->kind != INPUT_data || strcmp(input->name, data->name)) continue;
            if (input->below && input->below != data->labels->count)
                lower_fail(l, spot_json(data->labels), "these are names of %u classes, but \"%s\" tells %lld apart",
                           data->labels->count, data->name, (long long)input->below);
        }
    }
}

Graph *lower_training(const Model *model, const DataShape *shapes, size_t count, Dim n, TrainingPart part,
                      bool is_trial, Diag *diag) {
    static const char *const names[] = {
        [TRAINING_step] = "train", [TRAINING_evaluation] = "evaluate", [TRAINING_health] = "$health"};
    bool is_training = part != TRAINING_evaluation;
    Lower l = lower_begin(model, names[part], n, is_training, diag);
    Scope scope = {.outer = l.root};
    Values values = {0};
    bind_data(&l, &scope, shapes, count, is_trial, &values);
    if (is_training) random_key(&l), random_sample(&l);
    lower_block(&l, &model->training.block, &scope, &values);
    check_labels(&l);
    if (part == TRAINING_health)
        add_features(&l, &scope), lower_gradient_norms(&l, &scope);
    else
        add_reports(&l, &scope);
    if (part == TRAINING_step) lower_updates(&l, &scope);
    return lower_end(&l);
}

Graph *lower_train(const Model *model, const DataShape *shapes, size_t count, Diag *diag) {
    *model->reported = NULL;
    return lower_training(model, shapes, count, model->training.batch, TRAINING_step, false, diag);
}

Graph *lower_health(const Model *model, const DataShape *shapes, size_t count, Diag *diag) {
    *model->reported = NULL;
    if (!model->training.health.count) return NULL;
    return lower_training(model, shapes, count, model->training.batch, TRAINING_health, false, diag);
}

/* A loss that compares every sample with every other one has axes of n times n, which an open batch cannot have: its
 * evaluation is made for the batch of the training. */
Graph *lower_evaluate(const Model *model, const DataShape *shapes, size_t count, Diag *diag) {
    Diag quiet;
    diag_init(&quiet);
    *model->reported = NULL;
    Graph *graph = lower_training(model, shapes, count, -1, TRAINING_evaluation, false, &quiet);
    diag_free(&quiet);
    *model->reported = NULL;
    return graph ? graph
                 : lower_training(model, shapes, count, model->training.batch, TRAINING_evaluation, false, diag);
}

Graph *lower_preview(const Model *model, const DataShape *shapes, size_t count, Dim n, Diag *diag) {
    *model->reported = NULL;
    Lower l = lower_begin(model, "$views", n, true, diag);
    Scope scope = {.outer = l.root};
    Values values = {0};
    View view, views[MOST_SHOWN];
    bind_data(&l, &scope, shapes, count, false, &values);
    random_key(&l), random_sample(&l);
    lower_block(&l, &model->training.block, &scope, &values);
    bool has_original = !l.had_error && views_original(&l, &scope, &view);
    uint32_t found = l.had_error ? 0 : views_find(&l, &scope, views);
    if (has_original) graph_add_output(l.g, view.name, view.node, -1);
    for (uint32_t i = 0; i < found; i++) graph_add_output(l.g, views[i].name, views[i].node, -1);
    if (!l.had_error && !found)
        lower_fail(&l, spot_json(model->training.json),
                   "there is nothing to preview: no named value of the training's layers is a picture, [n, height, "
                   "width] or [n, height, width, 1 or 3], made of the data and of no parameter");
    Graph *graph = lower_end(&l);
    return graph ? views_alone(graph) : NULL;
}

/* A call that is looked for, in the training, the functions and the modules that they call. */
typedef struct {
    Lower l;
    const char *module, *param;
    const char *family; /* functions of this name alone; NULL: all of them, and the training */
    const char *path;   /* of what is found: "encode.bert." */
    bool is_number;     /* what it makes of the param */
    double number;
} Search;

/* Looks `depth` modules below the block. What is repeated has weights of its own each time and is no single call. */
static bool search_calls(Search *search, const Block *block, const Scope *scope, const char *path, uint32_t depth) {
    for (uint32_t i = 0; i < block->layer_count; i++) {
        const Layer *call = &block->layers[i];
        if (call->kind != LAYER_module || call->repeat) continue;
        Scope own = {.outer = module_surroundings(&search->l, call->module)};
        const char *name = call->instance ? call->instance : call->module->name;
        const char *inside = arena_printf(search->l.arena, "%s%s.", path, name);
        bind_module_numbers(&search->l, &own, call, scope);
        if (depth && search_calls(search, &call->module->block, &own, inside, depth - 1)) return true;
        if (depth || strcmp(call->module->name, search->module)) continue;
        const Value *value = search->param ? scope_find(&own, search->param) : NULL;
        search->is_number = value && to_number(&search->l, spot_json(call->json), *value, &search->number);
        search->path = inside;
        return true;
    }
    return false;
}

static bool is_of_family(const Function *function, const char *family) {
    return !strcmp(function->family ? function->family : function->name, family);
}

/* The outermost call comes first. Values that depend on tensors stay unknown without a word. */
static void search_model(Search *search, const Model *model) {
    enum { MOST_INSIDE = 8 };
    Diag quiet;
    diag_init(&quiet);
    search->l = lower_begin(model, "call", -1, false, &quiet);
    for (uint32_t depth = 0; depth < MOST_INSIDE && !search->path; depth++)
        for (uint32_t i = search->family ? 1 : 0; i <= model->function_count && !search->path; i++) {
            const Function *function = i ? &model->functions[i - 1] : NULL;
            if (search->family && !is_of_family(function, search->family)) continue;
            search_calls(search, function ? &function->block : &model->training.block, search->l.root, "", depth);
        }
    diag_free(&quiet);
}

const char *model_call_path(const Model *model, const char *module, Arena *arena) {
    Search search = {.module = module};
    search_model(&search, model);
    const char *path = search.path ? arena_copy(arena, search.path) : NULL;
    graph_free(search.l.g);
    return path;
}

bool model_call_number(const Model *model, const char *family, const char *module, const char *param, double *number) {
    Search search = {.family = family, .module = module, .param = param};
    search_model(&search, model);
    graph_free(search.l.g);
    if (search.is_number) *number = search.number;
    return search.is_number;
}

/* Does the layer call the library's module of this name? */
static bool calls_library(const Layer *layer, const char *module) {
    return layer->kind == LAYER_module && layer->module->is_library && !strcmp(layer->module->name, module);
}

static bool takes_first(const Layer *call, const char *value) {
    const Json *input = json_get(call->json, "input");
    if (input && input->kind == JSON_list) input = input->child;
    return input && input->kind == JSON_text && !strcmp(input->text, value);
}

bool model_ends_in(const Model *model, const char *family, const char *before, const char *value, const char *module) {
    for (uint32_t i = 0; i < model->function_count; i++) {
        const Function *function = &model->functions[i];
        const Layer *last = function->block.layers + function->block.layer_count;
        if (!is_of_family(function, family)) continue;
        return function->block.layer_count >= 2 && calls_library(&last[-2], before) &&
               calls_library(&last[-1], module) && takes_first(&last[-1], value);
    }
    return false;
}

static const Function *find_function(const Model *model, const char *name) {
    for (uint32_t i = 0; i < model->function_count; i++)
        if (!strcmp(model->functions[i].name, name)) return &model->functions[i];
    return NULL;
}

/* The ports of a module that is called with params, in their scope. */
static bool module_inputs(Lower *l, const Function *function, Values *values) {
    const Layer *call = &function->block.layers[0];
    if (call->kind != LAYER_module) return false;
    Scope own = {.outer = module_surroundings(l, call->module)};
    bind_module_numbers(l, &own, call, l->root);
    return function_inputs(l, &own, &call->module->block, spot_json(function->json), values);
}

/* Inputs and outputs of a function become arguments of a function in C and files, so each needs a name of its own. */
static void add_function_output(Lower *l, const Function *function, const char *name, Value value) {
    Spot spot = spot_json(function->json);
    bool is_taken = false;
    if (!to_tensor(l, spot, &value)) return;
    for (uint32_t i = 0; i < l->g->input_count; i++)
        is_taken |= l->g->inputs[i].kind == INPUT_data && !strcmp(l->g->inputs[i].name, name);
    for (uint32_t i = 0; i < l->g->output_count; i++) is_taken |= !strcmp(l->g->outputs[i].name, name);
    if (is_taken)
        lower_fail(l, spot, "function \"%s\" has two inputs or outputs that are called \"%s\"", function->name, name);
    graph_add_output(l->g, name, value.node, -1);
}

static bool lower_function_body(Lower *l, const Function *function) {
    Scope scope = {.outer = l->root};
    Values values = {0};
    if (function->family)
        scope_bind(l, &scope, "length", value_number((double)function->length), spot_json(function->json));
    bool known = function->is_call ? module_inputs(l, function, &values)
                                   : function_inputs(l, &scope, &function->block, spot_json(function->json), &values);
    if (!known || !function->block.layer_count) return false;
    if (!function->is_call)
        bind_inputs(l, &function->block, &scope, &values, spot_json(function->json), NULL,
                    arena_printf(l->arena, "function \"%s\"", function->name));
    lower_block(l, &function->block, &scope, &values);
    for (uint32_t i = 0; i < values.count; i++)
        add_function_output(l, function, values.name[i] ? values.name[i] : "output", values.item[i]);
    return true;
}

static Graph *lower_one_function(const Model *model, const Function *function, Diag *diag) {
    Lower l = lower_begin(model, function->name, -1, false, diag);
    l.had_error |= !lower_function_body(&l, function);
    return lower_end(&l);
}

Graph *lower_function(const Model *model, const char *name, Diag *diag) {
    const Function *function = find_function(model, name);
    *model->reported = NULL;
    if (function) return lower_one_function(model, function, diag);
    const char *nearest = diag_nearest(name, model->function_names, model->function_count);
    if (nearest)
        diag_error(diag, (Place){0}, "the description has no function \"%s\"; did you mean \"%s\"?", name, nearest);
    else
        diag_error(diag, (Place){0}, "the description has no function \"%s\"", name);
    return NULL;
}

/* A weight that only a function has would stay as random as it began. */
static void check_trained(const Model *model, const Function *function, const Graph *train, const Graph *graph,
                          Diag *diag) {
    for (uint32_t i = 0; i < graph->input_count; i++) {
        bool known = graph->inputs[i].kind == INPUT_data;
        for (uint32_t j = 0; j < train->input_count; j++)
            known |= !strcmp(train->inputs[j].name, graph->inputs[i].name);
        if (known) continue;
        model_error(model, diag, function->json, 0,
                    "function \"%s\" uses the weight \"%s\", which the training does not have", function->name,
                    graph->inputs[i].name);
    }
}

/* Shapes of data and the size of a vocabulary may have to wait until the data is opened; layers that do not know their
 * inputs have no weights before. */
static bool knows_inputs(const Model *model) {
    const Training *training = &model->training;
    bool known = !model->text || model->text->vocabulary > 0;
    for (uint32_t i = 0; i < training->data_count; i++)
        known &= training->data[i].has_sample || training->data[i].shape;
    return known;
}

void lower_trial(const Model *model, Diag *diag) {
    Graph *train = NULL, *evaluate = NULL, *health = NULL;
    if (model->has_training) {
        train = lower_training(model, NULL, 0, model->training.batch, TRAINING_step, true, diag);
        evaluate = lower_training(model, NULL, 0, model->training.batch, TRAINING_evaluation, true, diag);
        if (model->training.health.count)
            health = lower_training(model, NULL, 0, model->training.batch, TRAINING_health, true, diag);
    }
    for (uint32_t i = 0; i < model->function_count; i++) {
        Graph *graph = lower_one_function(model, &model->functions[i], diag);
        if (train && graph && knows_inputs(model)) check_trained(model, &model->functions[i], train, graph, diag);
        graph_free(graph);
    }
    graph_free(train);
    graph_free(evaluate);
    graph_free(health);
}
