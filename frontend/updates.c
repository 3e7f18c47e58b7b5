/* What a training step changes: parameters follow their gradients by the formulas of an optimiser, and states that
 * layers keep (running averages) take their newest value.
 *
 * All updates of a step see the same old values of the parameters, whatever their order. Numbers of an optimiser
 * (learning rate, bias corrections) are computed once for all parameters; what remains for each element is the
 * formula of the weight.
 *
 * Parameters that are frozen have no part in any update, so no gradient of theirs is made.
 *
 * Batches that are accumulated are steps of their own to everything else: each adds its share to a state with the sum
 * of the gradients. New values of weights and of the optimiser's states are made every time, but taken only in the last
 * step of each group, which empties the sum. `step` counts the groups. */
#include "frontend/functions.h"

#include <fnmatch.h>
#include <string.h>

/* A pattern also means everything below the names that it fits. */
static bool matches(Lower *l, const char *pattern, const char *name) {
    return !fnmatch(pattern, name, 0) || !fnmatch(arena_printf(l->arena, "%s.*", pattern), name, 0);
}

/* Nodes through which a gradient may come from `loss`. */
static bool *find_reached(Lower *l, NodeId loss) {
    bool *reached = arena_array(l->arena, bool, l->g->count);
    reached[loss] = true;
    for (NodeId id = loss + 1; id--;) {
        const Node *node = &l->g->nodes[id];
        bool ends =
            node->op == OP_stop_gradient || node->op == OP_less || node->op == OP_equal || node->op == OP_random;
        for (uint32_t i = 0; reached[id] && !ends && i < op_info[node->op].inputs; i++) reached[node->in[i]] = true;
    }
    return reached;
}

typedef struct {
    Lower *l;
    const Update *update;
    const Optimizer *optimizer;
    NodeId loss;
    Scope *given;      /* what formulas of the description see: its let, step and lengths */
    Scope numbers;     /* step, params and let of the optimiser */
    NodeId is_last;    /* bool[]: the step ends a group of accumulated ones; NO_NODE: every step does */
    Weight *weights;   /* those that the update is for */
    NodeId *gradients; /* of each */
    uint32_t count;
} Updating;

static const Constant *find_constant(const Constants *constants, const char *name) {
    for (uint32_t i = 0; i < constants->count; i++)
        if (!strcmp(constants->items[i].name, name)) return &constants->items[i];
    return NULL;
}

/* floor((step + shift) / accumulate): the half in `shift` keeps quotients away from whole numbers. */
static NodeId groups_before(Lower *l, double shift) {
    double share = 1 / (double)l->model->training.accumulate;
    return node_unary(l, OP_floor, node_scale(l, node_shift(l, random_step(l), shift), share));
}

/* Which step of the optimiser this is, from 1, and whether it is taken now. */
static NodeId optimizer_step(Updating *u) {
    Lower *l = u->l;
    u->is_last = NO_NODE;
    if (l->model->training.accumulate == 1) return random_step(l);
    NodeId before = groups_before(l, -0.5);
    u->is_last = build_binary(l->g, OP_less, before, groups_before(l, 0.5));
    return node_shift(l, before, 1);
}

/* How long the run is, for schedules; names that stand in let mean that. Before the data is opened, and if it is too
 * little for one batch, an epoch is unknown without a word. */
static void bind_lengths(Lower *l, Scope *given) {
    const Training *training = &l->model->training;
    double epoch = (double)(training->samples / training->batch) / (double)training->accumulate;
    const char *const names[] = {"steps_per_epoch", "steps"};
    const double numbers[] = {epoch, epoch * (double)training->epochs};
    for (uint32_t i = 0; i < 2; i++)
        if (!scope_find(given, names[i]))
            scope_set(l, given, names[i], epoch > 0 ? value_number(numbers[i]) : value_unknown());
}

/* Formulas of the description see its let, step and how long the run is; those of the optimiser see its params. */
static void bind_numbers(Updating *u) {
    Lower *l = u->l;
    Scope *given = u->given = arena_array(l->arena, Scope, 1);
    Value step = value_tensor(optimizer_step(u));
    *given = (Scope){.outer = l->root};
    scope_set(l, given, "step", step);
    bind_lengths(l, given);
    scope_set(l, &u->numbers, "step", step);
    for (uint32_t i = 0; i < u->optimizer->params.count; i++) {
        const Constant *param = &u->optimizer->params.items[i],
                       *own = find_constant(&u->update->optimizer.params, param->name);
        const Expr *value = own ? own->value : param->value;
        if (!own && !param->value)
            lower_fail(l, spot_json(u->update->optimizer.json), "\"%s\" needs the number \"%s\"", u->optimizer->name,
                       param->name);
        scope_set(l, &u->numbers, param->name,
                  value ? formula_value(l, own ? given : &u->numbers, value) : value_unknown());
    }
    scope_bind_constants(l, &u->numbers, &u->optimizer->let);
}

static bool state_exists(Updating *u, const Constant *state) {
    double number = 1;
    return !state->value ||
           (to_number(u->l, spot_expr(state->value), formula_value(u->l, &u->numbers, state->value), &number) &&
            number != 0);
}

static const char *state_name(const Updating *u, const Weight *weight, const char *state) {
    return arena_printf(u->l->arena, "%s.%s.%s", u->optimizer->name, weight->name, state);
}

/* `value` takes the place of `old` when the step is one of the optimiser. */
static void set_value(Updating *u, const char *name, NodeId old, NodeId value) {
    Graph *g = u->l->g;
    if (u->is_last != NO_NODE)
        value = build_select(g, build_broadcast(g, u->is_last, value_type(u->l, value)), value, old);
    lower_set_weight(u->l, name, value);
}

/* One formula of the optimiser; gives the new value of w, of a state, or something for the formulas below. */
static void update_one(Updating *u, Scope *scope, const Weight *weight, const Constant *formula) {
    Lower *l = u->l;
    Value value = formula_value(l, scope, formula->value);
    bool is_weight = !strcmp(formula->name, "w");
    bool is_state = find_constant(&u->optimizer->state, formula->name) != NULL;
    if (!is_weight && !is_state) {
        scope_set(l, scope, formula->name, value);
        return;
    }
    if (!to_float(l, spot_json(formula->json), &value)) return;
    Value old = *scope_find(scope, formula->name);
    bool fits = value_type(l, value.node).rank <= weight->type.rank;
    if (fits) value.node = build_broadcast(l->g, value.node, weight->type);
    if (!fits || !type_equal(value_type(l, value.node), weight->type)) {
        lower_fail(l, spot_json(formula->json), "the new value is %s, but must be %s",
                   type_text(l, value_type(l, value.node)), type_text(l, weight->type));
        return;
    }
    scope_set(l, scope, formula->name, value);
    set_value(u, is_weight ? weight->name : state_name(u, weight, formula->name), old.node, value.node);
}

static bool fits_one(Lower *l, const Names *patterns, const char *name, bool *used) {
    bool fits = false;
    for (uint32_t i = 0; i < patterns->count; i++)
        if (matches(l, patterns->items[i].name, name)) fits = used[i] = true;
    return fits;
}

static bool is_excluded(Updating *u, const Weight *weight, bool *pattern_used) {
    const OptimizerUse *use = &u->update->optimizer;
    return use->has_exclude ? fits_one(u->l, &use->exclude, weight->name, pattern_used) : weight->type.rank < 2;
}

static void update_weight(Updating *u, const Weight *weight, NodeId gradient, bool excluded) {
    Lower *l = u->l;
    const Optimizer *optimizer = u->optimizer;
    Scope scope = {.outer = &u->numbers};
    scope_set(l, &scope, "w", value_tensor(weight->input));
    scope_set(l, &scope, "g", value_tensor(gradient));
    scope_set(l, &scope, "excluded", value_number(excluded));
    for (uint32_t i = 0; i < optimizer->state.count; i++) {
        const Constant *state = &optimizer->state.items[i];
        if (!state_exists(u, state)) continue;
        NodeId node =
            lower_weight(l, weight->spot, state_name(u, weight, state->name), weight->type, INPUT_state, (Init){0});
        scope_set(l, &scope, state->name, value_tensor(node));
    }
    for (uint32_t i = 0; i < optimizer->update.count; i++) {
        const Constant *formula = &optimizer->update.items[i];
        bool is_missing_state = find_constant(&optimizer->state, formula->name) && !scope_find(&scope, formula->name);
        if (!is_missing_state && formula->value) update_one(u, &scope, weight, formula);
    }
}

/* The mean over a group of accumulated steps; what the sum holds before the last one is of no use yet. */
static NodeId accumulated(Updating *u, const Weight *weight, NodeId gradient) {
    Lower *l = u->l;
    const char *name = arena_printf(l->arena, "accumulate.%s", weight->name);
    if (u->is_last == NO_NODE) return gradient;
    NodeId sum = lower_weight(l, weight->spot, name, weight->type, INPUT_state, (Init){0});
    NodeId mean = node_add(l, sum, node_scale(l, gradient, 1 / (double)l->model->training.accumulate));
    NodeId is_last = build_broadcast(l->g, u->is_last, weight->type);
    lower_set_weight(l, name, build_select(l->g, is_last, build_like(l->g, mean, 0), mean));
    return mean;
}

/* Of all gradients together, as one vector. */
static NodeId gradient_length(Updating *u) {
    Lower *l = u->l;
    NodeId sum = build_constant(l->g, type_scalar(DTYPE_f32), 0);
    for (uint32_t i = 0; i < u->count; i++) {
        NodeId g = u->gradients[i];
        uint32_t axes = all_axes(value_type(l, g));
        sum = node_add(l, sum, build_drop_axes(l->g, build_sum(l->g, node_mul(l, g, g), axes), axes));
    }
    return node_unary(l, OP_sqrt, sum);
}

static bool is_in_metrics(const Lower *l, const char *name) {
    const Training *training = &l->model->training;
    bool is_there = false;
    for (uint32_t i = 0; i < training->update_count; i++) is_there |= !strcmp(training->updates[i].loss.name, name);
    for (uint32_t i = 0; i < training->reports.count; i++) is_there |= !strcmp(training->reports.items[i].name, name);
    for (uint32_t i = 0; i < l->g->output_count; i++)
        is_there |= l->g->outputs[i].name[0] == '$' && !strcmp(l->g->outputs[i].name + 1, name);
    return is_there;
}

/* A number of this update for the metrics; of several updates, each has the name of its loss in it. What the
 * description itself reports under this name goes first. */
static void add_measure(Updating *u, const char *name, Value value) {
    Lower *l = u->l;
    const Training *training = &l->model->training;
    if (training->update_count > 1) name = arena_printf(l->arena, "%s_%s", name, u->update->loss.name);
    if (is_in_metrics(l, name)) return;
    if (!to_float(l, spot_json(u->update->loss.json), &value) || value_type(l, value.node).rank) return;
    graph_add_output(l->g, arena_printf(l->arena, "$%s", name), value.node, -1);
}

/* As PyTorch's clip_grad_norm_: times min(1, most / (length + 1e-6)). */
static void clip_gradients(Updating *u) {
    Lower *l = u->l;
    const Expr *formula = u->update->optimizer.clip_norm;
    Value most = formula ? formula_value(l, u->given, formula) : value_unknown();
    if (!formula || !to_float(l, spot_expr(formula), &most)) return;
    if (value_type(l, most.node).rank) {
        lower_fail(l, spot_expr(formula), "'clip_norm' is %s, but must be one number",
                   type_text(l, value_type(l, most.node)));
        return;
    }
    NodeId length = node_shift(l, gradient_length(u), 1e-6);
    NodeId factor = build_binary(l->g, OP_min, node_div(l, most.node, length), build_like(l->g, length, 1));
    for (uint32_t i = 0; i < u->count; i++)
        u->gradients[i] = node_mul(l, u->gradients[i], node_spread(l, factor, u->gradients[i]));
}

/* Patterns that fit no parameter; true if there are any. */
static bool report_unused(Lower *l, const Names *patterns, const bool *used) {
    bool found = false;
    const char **names = arena_array(l->arena, const char *, l->weight_count + 1);
    for (uint32_t i = 0; i < l->weight_count; i++) names[i] = l->weights[i].name;
    for (uint32_t i = 0; i < patterns->count; i++) {
        if (used[i]) continue;
        const char *nearest = diag_nearest(patterns->items[i].name, names, l->weight_count);
        lower_fail(l, spot_json(patterns->items[i].json),
                   nearest ? "no parameter is called \"%s\"; did you mean \"%s\"?" : "no parameter is called \"%s\"",
                   patterns->items[i].name, nearest);
        found = true;
    }
    return found;
}

/* The parameters that the update is for, and their gradients. */
static void choose_weights(Updating *u) {
    Lower *l = u->l;
    const Names *over = &u->update->over;
    const bool *reached = find_reached(l, u->loss);
    const Names *freeze = &l->model->training.freeze;
    bool *used = arena_array(l->arena, bool, over->count + 1), *frozen = arena_array(l->arena, bool, freeze->count + 1);
    uint32_t count = l->weight_count;
    u->weights = arena_array(l->arena, Weight, count + 1);
    u->gradients = arena_array(l->arena, NodeId, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        Weight weight = l->weights[i];
        if (weight.kind != INPUT_parameter || (over->count && !fits_one(l, over, weight.name, used))) continue;
        if (!reached[weight.input] || fits_one(l, freeze, weight.name, frozen)) continue;
        if (weight.value != weight.input) {
            lower_fail(l, spot_json(u->update->loss.json),
                       "two updates change \"%s\"; \"over\" says which parameters an update is for", weight.name);
            continue;
        }
        u->weights[u->count] = weight;
        u->gradients[u->count++] = accumulated(u, &weight, build_gradient(l->g, u->loss, weight.input));
    }
    if (!l->had_error && !report_unused(l, over, used) && !u->count)
        lower_fail(l, spot_json(u->update->loss.json), "\"%s\" does not depend on any parameter that it could change%s",
                   u->update->loss.name, freeze->count ? "; those in \"freeze\" stay as they are" : "");
}

static bool loss_node(Lower *l, const Scope *scope, const Update *update, NodeId *node) {
    Spot spot = spot_json(update->loss.json);
    Value loss = formula_value(l, scope, expr_name(update->loss.json, update->loss.name, l->arena));
    if (!to_float(l, spot, &loss)) return false;
    Type type = value_type(l, loss.node);
    if (type_elements(type) != 1)
        return lower_fail(l, spot, "\"%s\" is %s, but what is minimised must be a single number, like mean(%s)",
                          update->loss.name, type_text(l, type), update->loss.name),
               false;
    *node = build_reshape(l->g, loss.node, 0, NULL);
    return true;
}

/* false: the loss is not known, so there may be layers that have not shown their weights. */
static bool lower_update(Lower *l, const Scope *scope, const Update *update) {
    Updating u = {.l = l, .update = update, .optimizer = update->optimizer.optimizer};
    u.numbers.outer = NULL;
    if (!loss_node(l, scope, update, &u.loss) || !u.optimizer) return false;
    bind_numbers(&u);
    choose_weights(&u);
    const Value *rate = scope_find(&u.numbers, "learning_rate");
    if (rate && !l->had_error) add_measure(&u, "learning_rate", *rate);
    clip_gradients(&u);
    bool *used = arena_array(l->arena, bool, u.update->optimizer.exclude.count + 1);
    for (uint32_t i = 0; i < u.count; i++)
        update_weight(&u, &u.weights[i], u.gradients[i], is_excluded(&u, &u.weights[i], used));
    if (!l->had_error) report_unused(l, &update->optimizer.exclude, used);
    return true;
}

/* A pattern that fits nothing would freeze nothing without a word. */
static void check_freeze(Lower *l) {
    const Names *freeze = &l->model->training.freeze;
    bool *used = arena_array(l->arena, bool, freeze->count + 1);
    for (uint32_t i = 0; i < l->weight_count; i++)
        if (l->weights[i].kind == INPUT_parameter) fits_one(l, freeze, l->weights[i].name, used);
    if (!l->had_error) report_unused(l, freeze, used);
}

void lower_updates(Lower *l, const Scope *scope) {
    l->g->origin = "training.optimizer";
    bool is_known = true;
    for (uint32_t i = 0; i < l->model->training.update_count; i++)
        is_known &= lower_update(l, scope, &l->model->training.updates[i]);
    if (is_known) check_freeze(l);
    for (uint32_t i = 0; i < l->weight_count; i++) {
        const Weight *weight = &l->weights[i];
        if (weight->value != weight->input) graph_add_output(l->g, weight->name, weight->value, (int32_t)weight->index);
    }
}

/* Of this batch alone, also where batches are accumulated; before any clipping. */
void lower_gradient_norms(Lower *l, const Scope *scope) {
    l->g->origin = "training.optimizer";
    for (uint32_t i = 0; i < l->model->training.update_count; i++) {
        Updating u = {.l = l, .update = &l->model->training.updates[i], .is_last = NO_NODE};
        if (!loss_node(l, scope, u.update, &u.loss)) continue;
        choose_weights(&u);
        if (!l->had_error) add_measure(&u, "gradient_norm", value_tensor(gradient_length(&u)));
    }
}
