/* What a training step changes: parameters follow their gradients by the formulas of an optimiser, and states that
 * layers keep (running averages) take their newest value.
 *
 * All updates of a step see the same old values of the parameters, whatever their order. Numbers of an optimiser
 * (learning rate, bias corrections) are computed once for all parameters; what remains for each element is the
 * formula of the weight. */
#include "frontend/lower.h"

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
    Scope numbers; /* step, params and let of the optimiser */
} Updating;

static const Constant *find_constant(const Constants *constants, const char *name) {
    for (uint32_t i = 0; i < constants->count; i++)
        if (!strcmp(constants->items[i].name, name)) return &constants->items[i];
    return NULL;
}

/* Formulas of the description see its let and step; those of the optimiser see its params. */
static void bind_numbers(Updating *u) {
    Lower *l = u->l;
    Scope *given = arena_array(l->arena, Scope, 1);
    *given = (Scope){.outer = l->root};
    scope_set(l, given, "step", value_tensor(random_step(l)));
    scope_set(l, &u->numbers, "step", value_tensor(random_step(l)));
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

/* One formula of the optimiser; gives the new value of w or of a state. */
static void update_one(Updating *u, Scope *scope, const Weight *weight, const Constant *formula) {
    Lower *l = u->l;
    Value value = formula_value(l, scope, formula->value);
    if (!to_float(l, spot_json(formula->json), &value)) return;
    value.node = build_broadcast(l->g, value.node, weight->type);
    if (!type_equal(value_type(l, value.node), weight->type)) {
        lower_fail(l, spot_json(formula->json), "the new value is %s, but must be %s",
                   type_text(l, value_type(l, value.node)), type_text(l, weight->type));
        return;
    }
    scope_set(l, scope, formula->name, value);
    if (!strcmp(formula->name, "w"))
        lower_set_weight(l, weight->name, value.node);
    else if (find_constant(&u->optimizer->state, formula->name))
        lower_set_weight(l, state_name(u, weight, formula->name), value.node);
}

static void update_weight(Updating *u, const Weight *weight) {
    Lower *l = u->l;
    const Optimizer *optimizer = u->optimizer;
    Scope scope = {.outer = &u->numbers};
    scope_set(l, &scope, "w", value_tensor(weight->input));
    scope_set(l, &scope, "g", value_tensor(build_gradient(l->g, u->loss, weight->input)));
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

/* Whether the update is for the weight. pattern_used[i]: pattern i has fitted some weight. */
static bool is_chosen(Lower *l, const Update *update, const Weight *weight, const bool *reached, bool *pattern_used) {
    bool chosen = !update->over.count;
    if (weight->kind != INPUT_parameter) return false;
    for (uint32_t i = 0; i < update->over.count; i++)
        if (matches(l, update->over.items[i].name, weight->name)) chosen = pattern_used[i] = true;
    return chosen && reached[weight->input];
}

static void report_useless(Lower *l, const Update *update, const bool *pattern_used, uint32_t updated) {
    const char **names = arena_array(l->arena, const char *, l->weight_count + 1);
    for (uint32_t i = 0; i < l->weight_count; i++) names[i] = l->weights[i].name;
    for (uint32_t i = 0; i < update->over.count; i++) {
        if (pattern_used[i]) continue;
        const char *nearest = diag_nearest(update->over.items[i].name, names, l->weight_count);
        lower_fail(l, spot_json(update->over.items[i].json),
                   nearest ? "no parameter is called \"%s\"; did you mean \"%s\"?" : "no parameter is called \"%s\"",
                   update->over.items[i].name, nearest);
        updated++;
    }
    if (!updated)
        lower_fail(l, spot_json(update->loss.json), "\"%s\" does not depend on any parameter that it could change",
                   update->loss.name);
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

static void lower_update(Lower *l, const Scope *scope, const Update *update) {
    Updating u = {.l = l, .update = update, .optimizer = update->optimizer.optimizer};
    u.numbers.outer = NULL;
    if (!loss_node(l, scope, update, &u.loss) || !u.optimizer) return;
    bind_numbers(&u);
    const bool *reached = find_reached(l, u.loss);
    bool *pattern_used = arena_array(l->arena, bool, update->over.count + 1);
    uint32_t updated = 0, count = l->weight_count;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_chosen(l, update, &l->weights[i], reached, pattern_used)) continue;
        Weight weight = l->weights[i];
        if (weight.value != weight.input) {
            lower_fail(l, spot_json(update->loss.json),
                       "two updates change \"%s\"; \"over\" says which parameters an update is for", weight.name);
            continue;
        }
        update_weight(&u, &weight);
        updated++;
    }
    if (!l->had_error) report_useless(l, update, pattern_used, updated);
}

void lower_updates(Lower *l, const Scope *scope) {
    l->g->origin = "training.optimizer";
    for (uint32_t i = 0; i < l->model->training.update_count; i++)
        lower_update(l, scope, &l->model->training.updates[i]);
    for (uint32_t i = 0; i < l->weight_count; i++) {
        const Weight *weight = &l->weights[i];
        if (weight->value != weight->input) graph_add_output(l->g, weight->name, weight->value, (int32_t)weight->index);
    }
}
