/* What a formula is worth, in a scope.
 *
 * Numbers are computed in double precision right here; whatever a tensor takes part in becomes nodes. The same walk
 * serves both, so "hidden / 2", "step < 100" and "mean + exp(0.5 * log_var)" are one language. */
#include "frontend/lower.h"

#include <math.h>
#include <string.h>

const Value *scope_find(const Scope *scope, const char *name) {
    for (; scope; scope = scope->outer)
        for (const Binding *binding = scope->bindings; binding; binding = binding->next)
            if (!strcmp(binding->name, name)) return &binding->value;
    return NULL;
}

static Binding *find_own(const Scope *scope, const char *name) {
    for (Binding *binding = scope->bindings; binding; binding = binding->next)
        if (!strcmp(binding->name, name)) return binding;
    return NULL;
}

static void add_binding(Lower *l, Scope *scope, const char *name, Value value, bool is_implicit) {
    Binding *binding = arena_array(l->arena, Binding, 1);
    *binding = (Binding){name, value, is_implicit, scope->bindings};
    scope->bindings = binding;
}

static const char *reserved_meaning(const char *name) {
    if (!strcmp(name, "n")) return "the batch";
    if (!strcmp(name, "it")) return "the layer before";
    if (!strcmp(name, "pi") || !strcmp(name, "true") || !strcmp(name, "false")) return "a number already";
    return NULL;
}

bool scope_bind(Lower *l, Scope *scope, const char *name, Value value, Spot spot) {
    Binding *binding = find_own(scope, name);
    const char *meaning = reserved_meaning(name);
    bool is_taken = binding ? !binding->is_implicit : scope_find(scope, name) != NULL;
    if (meaning) return lower_fail(l, spot, "\"%s\" is %s in formulas; choose another name", name, meaning), false;
    if (is_taken) return lower_fail(l, spot, "the name \"%s\" is taken already", name), false;
    if (binding)
        *binding = (Binding){name, value, false, binding->next};
    else
        add_binding(l, scope, name, value, false);
    return true;
}

void scope_bind_implicit(Lower *l, Scope *scope, const char *name, Value value) {
    Binding *binding = find_own(scope, name);
    if (binding && binding->is_implicit)
        binding->value = value;
    else if (!binding && !scope_find(scope, name))
        add_binding(l, scope, name, value, true);
}

void scope_bind_constants(Lower *l, Scope *scope, const Constants *constants) {
    for (uint32_t i = 0; i < constants->count; i++) {
        const Constant *constant = &constants->items[i];
        Value value = constant->value ? formula_value(l, scope, constant->value) : value_unknown();
        if (value.kind == VALUE_number && !isfinite(value.number)) {
            lower_fail(l, spot_json(constant->json), "'%s' is %s, but must be a number", constant->name,
                       isnan(value.number) ? "0 / 0 or the like" : "infinite");
            value = value_unknown();
        }
        scope_bind(l, scope, constant->name, value, spot_json(constant->json));
    }
}

void scope_set(Lower *l, Scope *scope, const char *name, Value value) {
    Binding *binding = find_own(scope, name);
    if (binding)
        binding->value = value;
    else
        add_binding(l, scope, name, value, false);
}

static Value unknown_name(Lower *l, const Scope *scope, const Expr *expr) {
    const char *names[256] = {"n"};
    size_t count = 1;
    for (; scope; scope = scope->outer)
        for (const Binding *binding = scope->bindings; binding && count < 256; binding = binding->next)
            names[count++] = binding->name;
    if (l->model->text && count < 255) names[count++] = "vocabulary", names[count++] = "mask";
    const char *nearest = diag_nearest(expr->name, names, count);
    if (nearest) model_mention(l->model, nearest);
    if (nearest)
        return lower_fail(l, spot_expr(expr), "there is no \"%s\" here; did you mean \"%s\"?", expr->name, nearest);
    if (function_find(expr->name))
        return lower_fail(l, spot_expr(expr), "\"%s\" is a function: it needs parentheses", expr->name);
    return lower_fail(l, spot_expr(expr), "there is no \"%s\" here", expr->name);
}

/* "word" of "word.weight" stands for a layer that went wrong: whatever is said about its weights says nothing new. */
static bool is_of_unknown(Lower *l, const Scope *scope, const char *name) {
    const char *first = arena_printf(l->arena, "%.*s", (int)strcspn(name, "."), name);
    const Value *value = scope_find(scope, first);
    return value && value->kind == VALUE_unknown;
}

/* Weights are named from the module that the formula stands in, after the instances that lead to their layer. */
static Value weight_value(Lower *l, const Scope *scope, const Expr *expr) {
    const char *path = l->frame ? l->frame->path : "";
    size_t length = strlen(path), count = 0;
    const Weight *weight = lower_find_weight(l, arena_printf(l->arena, "%s%s", path, expr->name));
    if (weight) return value_tensor(weight->value);
    if (is_of_unknown(l, scope, expr->name)) return value_unknown();
    const char **names = arena_array(l->arena, const char *, l->weight_count + 1);
    for (uint32_t i = 0; i < l->weight_count; i++)
        if (!strncmp(l->weights[i].name, path, length)) names[count++] = l->weights[i].name + length;
    const char *nearest = diag_nearest(expr->name, names, count);
    if (nearest)
        return lower_fail(l, spot_expr(expr), "no layer above has the weight \"%s\"; did you mean \"%s\"?", expr->name,
                          nearest);
    return lower_fail(l, spot_expr(expr),
                      "no layer above has the weight \"%s\"; one is called after its layer, like \"%s\"", expr->name,
                      count ? names[0] : "h.weight");
}

/* `vocabulary` and `mask`, which the tokenizer of the training's texts decides. Before the training has been read, and
 * before the tokenizer has been looked for, they are unknown without a word. */
static bool text_number(Lower *l, const Expr *expr, Value *value) {
    bool is_mask = !strcmp(expr->name, "mask");
    const Model *model = l->model;
    *value = value_unknown();
    if ((!is_mask && strcmp(expr->name, "vocabulary")) || (l->g && !model->text)) return false;
    if (!model->text) return true;
    int64_t number = is_mask ? model->text->mask : model->text->vocabulary;
    if (number > 0 || (is_mask && number == 0))
        *value = value_number((double)number);
    else if (is_mask && model->text->vocabulary)
        lower_fail(l, spot_expr(expr), "the tokenizer of the texts has no token [MASK], so there is no \"mask\"");
    else if (model->vocabulary_failure)
        lower_fail(l, spot_expr(expr), "the %s is not known: %s", is_mask ? "mask" : "vocabulary",
                   model->vocabulary_failure);
    return true;
}

static Value name_value(Lower *l, const Scope *scope, const Expr *expr) {
    const Value *value = scope_find(scope, expr->name);
    if (value) return *value;
    if (strchr(expr->name, '.')) return weight_value(l, scope, expr);
    if (!strcmp(expr->name, "n"))
        return l->n < 0 ? (Value){.kind = VALUE_number, .per_n = (double)-l->n} : value_number((double)l->n);
    if (!strcmp(expr->name, "true") || !strcmp(expr->name, "false")) return value_number(*expr->name == 't');
    if (!strcmp(expr->name, "pi")) return value_number(3.14159265358979323846);
    Value number;
    return text_number(l, expr, &number) ? number : unknown_name(l, scope, expr);
}

/* Numbers, which may depend on the batch linearly. */
static Value linear(double number, double per_n) {
    return (Value){.kind = VALUE_number, .number = number, .per_n = per_n};
}

static bool numbers_operator(Operator op, Value a, Value b, Value *result) {
    double x = a.number, y = b.number;
    bool open = a.per_n != 0 || b.per_n != 0;
    switch (op) {
    case OPERATOR_add: return *result = linear(x + y, a.per_n + b.per_n), true;
    case OPERATOR_sub: return *result = linear(x - y, a.per_n - b.per_n), true;
    case OPERATOR_negate: return *result = linear(-x, -a.per_n), true;
    case OPERATOR_mul:
        *result = linear(x * y, open ? x * b.per_n + y * a.per_n : 0);
        return a.per_n == 0 || b.per_n == 0;
    case OPERATOR_div: return *result = linear(x / y, open ? a.per_n / y : 0), b.per_n == 0;
    case OPERATOR_power: return *result = value_number(pow(x, y)), !open;
    case OPERATOR_less: return *result = value_number(x < y), !open;
    case OPERATOR_greater: return *result = value_number(x > y), !open;
    case OPERATOR_less_equal: return *result = value_number(x <= y), !open;
    case OPERATOR_greater_equal: return *result = value_number(x >= y), !open;
    case OPERATOR_equal: return *result = value_number(x == y), !open;
    case OPERATOR_not_equal: return *result = value_number(x != y), !open;
    case OPERATOR_and: return *result = value_number(x != 0 && y != 0), !open;
    case OPERATOR_or: return *result = value_number(x != 0 || y != 0), !open;
    case OPERATOR_not: return *result = value_number(x == 0), !open;
    case OPERATOR_matmul: return false;
    }
    return false;
}

static NodeId not_node(Lower *l, NodeId a) { return build_unary(l->g, OP_not, a); }

static NodeId whole_power(Lower *l, NodeId x, unsigned exponent) {
    NodeId result = NO_NODE;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1) result = result == NO_NODE ? x : build_binary(l->g, OP_mul, result, x);
        if (exponent > 1) x = build_binary(l->g, OP_mul, x, x);
    }
    return result;
}

/* x ^ y = exp(y log(x)), but products for whole y, which are exact for negative x, too. */
static Value power_value(Lower *l, Spot spot, Value a, Value b) {
    Graph *g = l->g;
    if (b.kind == VALUE_number && b.per_n == 0 && a.kind == VALUE_tensor) {
        double y = b.number;
        if (!to_float(l, spot, &a)) return value_unknown();
        if (y == 0) return value_tensor(build_like(g, a.node, 1));
        if (y == 0.5) return value_tensor(build_unary(g, OP_sqrt, a.node));
        if (y == -0.5) {
            NodeId one = build_like(g, a.node, 1);
            return value_tensor(build_binary(g, OP_div, one, build_unary(g, OP_sqrt, a.node)));
        }
        if (y == floor(y) && fabs(y) <= 64) {
            NodeId power = whole_power(l, a.node, (unsigned)fabs(y));
            return value_tensor(y > 0 ? power : build_binary(g, OP_div, build_like(g, power, 1), power));
        }
    }
    if (a.kind == VALUE_number && a.per_n == 0 && a.number > 0) {
        Value rate = value_number(log(a.number)); /* in double precision: 0.999^step must not drift */
        if (!to_float(l, spot, &b)) return value_unknown();
        return value_tensor(
            build_unary(g, OP_exp, build_binary(g, OP_mul, b.node, number_node(l, rate, value_type(l, b.node)))));
    }
    if (!to_pair(l, spot, "^", &a, &b) || !to_float(l, spot, &a) || !to_float(l, spot, &b)) return value_unknown();
    return value_tensor(build_unary(g, OP_exp, build_binary(g, OP_mul, b.node, build_unary(g, OP_log, a.node))));
}

static bool to_bool(Lower *l, Spot spot, Value *value) {
    if (!to_tensor(l, spot, value)) return false;
    value->node = build_cast(l->g, value->node, DTYPE_bool);
    return true;
}

static Value logic_value(Lower *l, Spot spot, OpKind op, Value a, Value b) {
    if (!to_bool(l, spot, &a) || !to_bool(l, spot, &b)) return value_unknown();
    const char *why = NULL;
    if (!build_broadcast_pair(l->g, &a.node, &b.node, &why)) return lower_fail(l, spot, "%s", why);
    return value_tensor(build_binary(l->g, op, a.node, b.node));
}

static NodeId or_equal(Lower *l, NodeId is_so, NodeId x, NodeId y) {
    return build_binary(l->g, OP_or, is_so, build_binary(l->g, OP_equal, x, y));
}

static Value matmul_value(Lower *l, Spot spot, Value a, Value b) {
    Call call = {.spot = spot, .name = "matmul", .argument = {a, b}, .given = {true, true}, .spots = {spot, spot}};
    return function_apply(l, function_find("matmul"), &call);
}

Value formula_operator(Lower *l, Spot spot, Operator op, Value a, Value b) {
    Value result;
    bool two = b.kind != VALUE_unknown || (op != OPERATOR_negate && op != OPERATOR_not);
    if (a.kind == VALUE_unknown || (two && b.kind == VALUE_unknown)) return value_unknown();
    if (a.kind == VALUE_number && (!two || b.kind == VALUE_number)) {
        if (numbers_operator(op, a, b, &result)) return result;
        if (!l->g) return lower_fail(l, spot, "'%s' cannot be done with these", operator_text(op));
    }
    if (op == OPERATOR_power) return power_value(l, spot, a, b);
    if (op == OPERATOR_matmul) return matmul_value(l, spot, a, b);
    if (op == OPERATOR_and || op == OPERATOR_or) return logic_value(l, spot, op == OPERATOR_and ? OP_and : OP_or, a, b);
    if (op == OPERATOR_not) return to_bool(l, spot, &a) ? value_tensor(not_node(l, a.node)) : value_unknown();
    if (op == OPERATOR_negate) b = value_number(0);
    if (!to_pair(l, spot, operator_text(op), &a, &b)) return value_unknown();
    if (op == OPERATOR_negate) return value_tensor(build_unary(l->g, OP_neg, a.node));
    if (op == OPERATOR_div) to_float(l, spot, &a), to_float(l, spot, &b);
    NodeId x = a.node, y = b.node;
    switch (op) {
    case OPERATOR_add: return value_tensor(build_binary(l->g, OP_add, x, y));
    case OPERATOR_sub: return value_tensor(build_binary(l->g, OP_sub, x, y));
    case OPERATOR_mul: return value_tensor(build_binary(l->g, OP_mul, x, y));
    case OPERATOR_div: return value_tensor(build_binary(l->g, OP_div, x, y));
    case OPERATOR_less: return value_tensor(build_binary(l->g, OP_less, x, y));
    case OPERATOR_greater: return value_tensor(build_binary(l->g, OP_less, y, x));
    case OPERATOR_less_equal: return value_tensor(or_equal(l, build_binary(l->g, OP_less, x, y), x, y));
    case OPERATOR_greater_equal: return value_tensor(or_equal(l, build_binary(l->g, OP_less, y, x), x, y));
    case OPERATOR_equal: return value_tensor(build_binary(l->g, OP_equal, x, y));
    case OPERATOR_not_equal: return value_tensor(not_node(l, build_binary(l->g, OP_equal, x, y)));
    case OPERATOR_power:
    case OPERATOR_matmul:
    case OPERATOR_and:
    case OPERATOR_or:
    case OPERATOR_not:
    case OPERATOR_negate: break;
    }
    BUG("operator %d is handled above", op);
}

/* Slices: which elements of one axis. */
typedef struct {
    int64_t start, step;
    Dim size;
    bool drop; /* a single position */
} Range;

static bool whole_part(Lower *l, const Scope *scope, const Expr *expr, double *number) {
    if (!to_number(l, spot_expr(expr), formula_value(l, scope, expr), number)) return false;
    if (*number == floor(*number) && fabs(*number) < 1e9) return true;
    return lower_fail(l, spot_expr(expr), "a position is a whole number, not %g", *number), false;
}

static bool position_range(Lower *l, const Scope *scope, const Expr *expr, Dim size, Range *range) {
    double number;
    if (!whole_part(l, scope, expr, &number)) return false;
    if (size < 0 && number < 0)
        return lower_fail(l, spot_expr(expr),
                          "positions cannot be counted from the end of an axis whose size is the open batch n"),
               false;
    double position = number < 0 ? number + (double)size : number, most = size < 0 ? 1 : (double)size;
    *range = (Range){(int64_t)position, 1, 1, true};
    if (position >= 0 && position < most) return true;
    return lower_fail(l, spot_expr(expr), "position %g is outside of an axis of size %s%lld", number,
                      size < 0 ? "n = " : "", (long long)most),
           false;
}

static bool axis_range(Lower *l, const Scope *scope, const Expr *expr, Dim size, Range *range) {
    if (expr->kind != EXPR_range) return position_range(l, scope, expr, size, range);
    double step = 1;
    if (expr->argument[2] && !whole_part(l, scope, expr->argument[2], &step)) return false;
    if (step == 0) return lower_fail(l, spot_expr(expr), "the step of a range must not be 0"), false;
    if (!expr->argument[0] && !expr->argument[1] && step == 1) return *range = (Range){0, 1, size, false}, true;
    if (size < 0) return lower_fail(l, spot_expr(expr), "an axis whose size is the open batch n cannot be cut"), false;
    double length = (double)size, start = step > 0 ? 0 : length - 1, end = step > 0 ? length : -1;
    if (expr->argument[0] && !whole_part(l, scope, expr->argument[0], &start)) return false;
    if (expr->argument[1] && !whole_part(l, scope, expr->argument[1], &end)) return false;
    if (expr->argument[0] && start < 0) start += length;
    if (expr->argument[1] && end < 0) end += length;
    double count = ceil((end - start) / step), last = start + (count - 1) * step;
    bool inside = count >= 1 && start >= 0 && start < length && last >= 0 && last < length;
    *range = (Range){(int64_t)start, (int64_t)step, (Dim)(inside ? count : 1), false};
    if (inside && end <= length) return true;
    return lower_fail(l, spot_expr(expr),
                      count < 1 ? "this range is empty" : "this range goes beyond an axis of size %lld",
                      (long long)size),
           false;
}

static Value index_value(Lower *l, const Scope *scope, const Expr *expr) {
    Value x = formula_value(l, scope, expr->argument[0]);
    if (!to_tensor(l, spot_expr(expr), &x)) return value_unknown();
    Type type = value_type(l, x.node), to = type;
    uint32_t given = expr->count - 1, rests = 0, drops = 0, axis = 0;
    for (uint32_t i = 1; i < expr->count; i++) rests += expr->argument[i]->kind == EXPR_rest;
    if (rests > 1) return lower_fail(l, spot_expr(expr), "'...' can stand for the other axes only once");
    if (given - rests > type.rank)
        return lower_fail(l, spot_expr(expr), "%s has %u axes, but %u are given", type_text(l, type), type.rank,
                          given - rests);
    int64_t start[MAX_RANK] = {0}, step[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    for (uint32_t i = 1; i < expr->count; i++) {
        if (expr->argument[i]->kind == EXPR_rest) {
            axis += type.rank - (given - 1);
            continue;
        }
        Range range;
        if (!axis_range(l, scope, expr->argument[i], type.dim[axis], &range)) return value_unknown();
        start[axis] = range.start, step[axis] = range.step, to.dim[axis] = range.size;
        drops |= (uint32_t)range.drop << axis++;
    }
    NodeId node = shape_equal(type, to) && !memcmp(step, (int64_t[]){1, 1, 1, 1, 1, 1}, sizeof step)
                      ? x.node
                      : build_slice(l->g, x.node, to, start, step);
    return value_tensor(drops ? build_drop_axes(l->g, node, drops) : node);
}

static Value list_value(Lower *l, const Scope *scope, const Expr *expr) {
    Value *items = arena_array(l->arena, Value, expr->count + 1);
    for (uint32_t i = 0; i < expr->count; i++) {
        items[i] = formula_value(l, scope, expr->argument[i]);
        if (items[i].kind == VALUE_unknown) return value_unknown();
    }
    return (Value){.kind = VALUE_list, .items = items, .count = expr->count};
}

static void call_mistake(Lower *l, Call *call, const FunctionInfo *info, const Expr *argument, const char *name) {
    const char *names[MAX_FUNCTION_ARGUMENTS];
    uint32_t count = function_arguments(info);
    for (uint32_t i = 0; i < count; i++) names[i] = info->argument[i].name;
    const char *nearest = name ? diag_nearest(name, names, count) : NULL;
    Spot spot = argument ? spot_expr(argument) : call->spot;
    if (!name)
        lower_fail(l, spot, "%s takes at most %u argument%s", info->name, count, count == 1 ? "" : "s");
    else if (nearest)
        lower_fail(l, spot, "%s has no argument '%s'; did you mean '%s'?", info->name, name, nearest);
    else
        lower_fail(l, spot, "%s has no argument '%s'", info->name, name);
}

/* Puts argument i of the call into its place; false after a message. */
static bool place_argument(Lower *l, const Scope *scope, const Expr *expr, uint32_t i, const FunctionInfo *info,
                           Call *call) {
    const char *name = expr->argument_name[i];
    uint32_t count = function_arguments(info), at = name ? 0 : i;
    while (name && at < count && strcmp(name, info->argument[at].name)) at++;
    if (at >= count) return call_mistake(l, call, info, expr->argument[i], name), false;
    if (call->given[at])
        return lower_fail(l, spot_expr(expr->argument[i]), "'%s' is given twice", info->argument[at].name), false;
    call->given[at] = true;
    call->spots[at] = spot_expr(expr->argument[i]);
    call->argument[at] = formula_value(l, scope, expr->argument[i]);
    return true;
}

static Value unknown_function(Lower *l, const Expr *expr) {
    const char *names[FUNCTION_COUNT];
    for (int i = 0; i < FUNCTION_COUNT; i++) names[i] = function_info[i].name;
    const char *nearest = diag_nearest(expr->name, names, FUNCTION_COUNT);
    if (nearest)
        return lower_fail(l, spot_expr(expr), "there is no function \"%s\"; did you mean \"%s\"?", expr->name, nearest);
    return lower_fail(l, spot_expr(expr), "there is no function \"%s\"", expr->name);
}

static bool is_decided(Value condition) { return condition.kind == VALUE_number && condition.per_n == 0; }

/* where(condition, yes, no): of a condition that is a number only the chosen branch is looked at. */
static Value where_value(Lower *l, const Scope *scope, const Expr *expr, Call *call) {
    const FunctionInfo *info = function_find("where");
    if (!place_argument(l, scope, expr, 0, info, call)) return value_unknown();
    if (is_decided(call->argument[0]))
        return formula_value(l, scope, expr->argument[call->argument[0].number != 0 ? 1 : 2]);
    for (uint32_t i = 1; i < expr->count; i++)
        if (!place_argument(l, scope, expr, i, info, call)) return value_unknown();
    return function_apply(l, info, call);
}

static Value call_value(Lower *l, const Scope *scope, const Expr *expr) {
    const FunctionInfo *info = function_find(expr->name);
    Call call = {.spot = spot_expr(expr), .name = expr->name};
    if (!strcmp(expr->name, "where") && expr->count == 3 && !expr->argument_name[0])
        return where_value(l, scope, expr, &call);
    bool placed = info != NULL;
    for (uint32_t i = 0; i < expr->count; i++) {
        if (info)
            placed &= place_argument(l, scope, expr, i, info, &call);
        else
            formula_value(l, scope, expr->argument[i]);
    }
    if (!info) return unknown_function(l, expr);
    return placed ? function_apply(l, info, &call) : value_unknown();
}

Value formula_value(Lower *l, const Scope *scope, const Expr *expr) {
    switch (expr->kind) {
    case EXPR_number: return value_number(expr->number);
    case EXPR_name: return name_value(l, scope, expr);
    case EXPR_text: return (Value){.kind = VALUE_text, .text = expr->name};
    case EXPR_operator: {
        Value a = formula_value(l, scope, expr->argument[0]);
        Value b = expr->count > 1 ? formula_value(l, scope, expr->argument[1]) : value_unknown();
        return formula_operator(l, spot_expr(expr), expr->op, a, b);
    }
    case EXPR_call: return call_value(l, scope, expr);
    case EXPR_index: return index_value(l, scope, expr);
    case EXPR_list: return list_value(l, scope, expr);
    case EXPR_range:
    case EXPR_rest:
        return lower_fail(l, spot_expr(expr), "a range can only stand in brackets behind a tensor, like x[:, 0:3]");
    }
    return value_unknown();
}
