/* The functions of formulas: the table, and builders for all but losses and random numbers.
 *
 * A builder gets its arguments as values and gives a value. It converts them itself, since only it knows whether
 * whole numbers may stay whole. */
#include "frontend/functions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double c_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double c_sign(double x) { return (x > 0) - (x < 0); }

#define LAYER true
#define PLAIN false
#define TENSOR(name) {ARGUMENT_tensor, #name, 0}
#define OPTIONAL(name) {ARGUMENT_optional, #name, 0}
#define NUMBER(name, value) {ARGUMENT_number, #name, value}
#define COUNT(name) {ARGUMENT_count, #name, 0}
#define AXIS(name, value) {ARGUMENT_axis, #name, value}
#define AXES(name) {ARGUMENT_axes, #name, 0}
#define FLAG(name) {ARGUMENT_flag, #name, 0}
#define SHAPE(name) {ARGUMENT_shape, #name, 0}
#define LIST(name) {ARGUMENT_list, #name, 0}
#define TEXT(name) {ARGUMENT_text, #name, 0}

const FunctionInfo function_info[FUNCTION_COUNT] = {
#define ELEMENTWISE(name_, layer_, number_, meaning_) \
    {.name = #name_,                                  \
     .meaning = meaning_,                             \
     .is_layer = layer_,                              \
     .number = number_,                               \
     .op = OP_##name_,                                \
     .argument = {TENSOR(x)}},
#define FUNCTION(name_, layer_, meaning_, ...) \
    {.name = #name_, .meaning = meaning_, .is_layer = layer_, .build = function_##name_, .argument = {__VA_ARGS__}},
#include "frontend/functions.def"
};

const FunctionInfo *function_find(const char *name) {
    for (int i = 0; i < FUNCTION_COUNT; i++)
        if (!strcmp(function_info[i].name, name)) return &function_info[i];
    return NULL;
}

uint32_t function_arguments(const FunctionInfo *info) {
    uint32_t count = 0;
    while (count < MAX_FUNCTION_ARGUMENTS && info->argument[count].name) count++;
    return count;
}

bool argument_required(ArgumentKind kind) {
    return kind == ARGUMENT_tensor || kind == ARGUMENT_count || kind == ARGUMENT_shape || kind == ARGUMENT_text;
}

bool function_is_activation(const FunctionInfo *info) {
    for (uint32_t i = 1; i < function_arguments(info); i++)
        if (argument_required(info->argument[i].kind)) return false;
    return info->is_layer;
}

Value function_unary(Lower *l, const FunctionInfo *info, Spot spot, Value x) {
    Call call = {.spot = spot, .name = info->name, .argument = {x}, .given = {true}, .spots = {spot}};
    return function_apply(l, info, &call);
}

static Value apply_elementwise(Lower *l, const FunctionInfo *info, Call *call) {
    Value x = call->argument[0];
    if (x.kind == VALUE_number && x.per_n == 0) return value_number(info->number(x.number));
    if (!to_tensor(l, call->spots[0], &x)) return value_unknown();
    bool keeps_whole = info->op == OP_abs || info->op == OP_sign;
    if (!keeps_whole || value_type(l, x.node).dtype != DTYPE_i32) to_float(l, call->spots[0], &x);
    return value_tensor(build_unary(l->g, info->op, x.node));
}

Value function_apply(Lower *l, const FunctionInfo *info, Call *call) {
    for (uint32_t i = 0; i < function_arguments(info); i++) {
        const ArgumentInfo *argument = &info->argument[i];
        if (!call->given[i] && argument_required(argument->kind))
            return lower_fail(l, call->spot, "%s needs '%s'", info->name, argument->name);
        if (!call->given[i]) call->spots[i] = call->spot, call->argument[i] = value_number(argument->value);
        if (call->argument[i].kind == VALUE_unknown) return value_unknown();
    }
    return info->build ? info->build(l, call) : apply_elementwise(l, info, call);
}

NodeId node_add(Lower *l, NodeId a, NodeId b) { return build_binary(l->g, OP_add, a, b); }
NodeId node_sub(Lower *l, NodeId a, NodeId b) { return build_binary(l->g, OP_sub, a, b); }
NodeId node_mul(Lower *l, NodeId a, NodeId b) { return build_binary(l->g, OP_mul, a, b); }
NodeId node_div(Lower *l, NodeId a, NodeId b) { return build_binary(l->g, OP_div, a, b); }
NodeId node_scale(Lower *l, NodeId a, double factor) { return node_mul(l, a, build_like(l->g, a, factor)); }
NodeId node_shift(Lower *l, NodeId a, double summand) { return node_add(l, a, build_like(l->g, a, summand)); }
NodeId node_unary(Lower *l, OpKind op, NodeId a) { return build_unary(l->g, op, a); }
NodeId node_relu(Lower *l, NodeId x) { return build_binary(l->g, OP_max, x, build_like(l->g, x, 0)); }
NodeId node_spread(Lower *l, NodeId a, NodeId like) { return build_broadcast(l->g, a, value_type(l, like)); }

uint32_t all_axes(Type type) { return (1u << type.rank) - 1; }

/* max(x, 0) + log(1 + exp(-|x|)): the exponential never overflows. */
NodeId node_softplus(Lower *l, NodeId x) {
    NodeId e = node_unary(l, OP_exp, node_unary(l, OP_neg, node_unary(l, OP_abs, x)));
    NodeId positive = node_relu(l, x);
    return node_add(l, positive, node_unary(l, OP_log, node_shift(l, e, 1)));
}

/* How many elements of x become one, as a number that may depend on n. */
static Value reduced_count(Lower *l, NodeId x, uint32_t axes) {
    Type type = value_type(l, x);
    Dim count = 1;
    for (uint32_t i = 0; i < type.rank; i++)
        if (axes >> i & 1) count = dim_mul(count, type.dim[i]);
    return count < 0 ? (Value){.kind = VALUE_number, .per_n = (double)-count} : value_number((double)count);
}

NodeId node_mean(Lower *l, NodeId x, uint32_t axes) {
    Value count = reduced_count(l, x, axes);
    NodeId sum = build_sum(l->g, x, axes);
    if (count.per_n == 0 && count.number == 1) return sum;
    if (count.per_n == 0) return node_scale(l, sum, 1 / count.number);
    return node_div(l, sum, number_node(l, count, value_type(l, sum)));
}

/* The largest element leaves the exponent, so nothing overflows; as its part of the gradient cancels, none is taken. */
static NodeId stable_peak(Lower *l, NodeId x, uint32_t axes) {
    return node_unary(l, OP_stop_gradient, build_reduce_max(l->g, x, axes));
}

NodeId node_below_peak(Lower *l, NodeId x, uint32_t axes) {
    return node_sub(l, x, node_spread(l, stable_peak(l, x, axes), x));
}

NodeId node_log_sum(Lower *l, NodeId x, uint32_t axes) {
    return node_unary(l, OP_log, build_sum(l->g, node_unary(l, OP_exp, x), axes));
}

/* What is below the peak is small where it counts, so less is rounded away than by taking the whole log_sum_exp. */
NodeId node_log_softmax(Lower *l, NodeId x, uint32_t axes) {
    NodeId below = node_below_peak(l, x, axes);
    return node_sub(l, below, node_spread(l, node_log_sum(l, below, axes), x));
}

Value function_expm1(Lower *l, Call *call) {
    Value x = call->argument[0];
    if (x.kind == VALUE_number && x.per_n == 0) return value_number(expm1(x.number));
    if (!to_float(l, call->spots[0], &x)) return value_unknown();
    /* 2t / (1 - t) with t = tanh(x / 2); above 1 the plain difference is exact enough and cannot divide by 0 */
    NodeId near = build_binary(l->g, OP_min, x.node, build_like(l->g, x.node, 1));
    NodeId t = node_unary(l, OP_tanh, node_scale(l, near, 0.5));
    NodeId below = node_shift(l, node_unary(l, OP_neg, t), 1), quotient = node_div(l, node_scale(l, t, 2), below);
    NodeId is_far = build_binary(l->g, OP_less, build_like(l->g, x.node, 1), x.node);
    return value_tensor(build_select(l->g, is_far, node_shift(l, node_unary(l, OP_exp, x.node), -1), quotient));
}

Value function_relu(Lower *l, Call *call) {
    if (!to_float(l, call->spots[0], &call->argument[0])) return value_unknown();
    return value_tensor(node_relu(l, call->argument[0].node));
}

Value function_leaky_relu(Lower *l, Call *call) {
    double slope;
    if (!to_float(l, call->spots[0], &call->argument[0]) || !to_number(l, call->spots[1], call->argument[1], &slope))
        return value_unknown();
    NodeId x = call->argument[0].node, is_below = build_binary(l->g, OP_less, x, build_like(l->g, x, 0));
    return value_tensor(build_select(l->g, is_below, node_scale(l, x, slope), x));
}

/* x * (1 + erf(x / sqrt(2))) / 2, with s = x / sqrt(2) for both, so that the way back needs s and 1 + erf(s) alone. */
Value function_gelu(Lower *l, Call *call) {
    if (!to_float(l, call->spots[0], &call->argument[0])) return value_unknown();
    NodeId s = node_scale(l, call->argument[0].node, sqrt(0.5));
    NodeId twice = node_mul(l, s, node_shift(l, node_unary(l, OP_erf, s), 1));
    return value_tensor(node_scale(l, twice, sqrt(0.5)));
}

/* Hendrycks and Gimpel 2016, section 2: what GPT-2 takes, and PyTorch's approximate='tanh'. As (1 + tanh(z)) / 2 is
 * sigmoid(2 z), it is x * sigmoid(x * (a + b * x^2)), of which the way back needs less. */
Value function_gelu_tanh(Lower *l, Call *call) {
    const double a = 2 * sqrt(2 / acos(-1));
    if (!to_float(l, call->spots[0], &call->argument[0])) return value_unknown();
    NodeId x = call->argument[0].node;
    NodeId slope = node_shift(l, node_scale(l, node_mul(l, x, x), a * 0.044715), a);
    return value_tensor(node_mul(l, x, node_unary(l, OP_sigmoid, node_mul(l, x, slope))));
}

Value function_silu(Lower *l, Call *call) {
    if (!to_float(l, call->spots[0], &call->argument[0])) return value_unknown();
    NodeId x = call->argument[0].node;
    return value_tensor(node_mul(l, x, node_unary(l, OP_sigmoid, x)));
}

Value function_softplus(Lower *l, Call *call) {
    if (!to_float(l, call->spots[0], &call->argument[0])) return value_unknown();
    return value_tensor(node_softplus(l, call->argument[0].node));
}

/* x as f32 and one axis as a bit. */
static bool float_and_axis(Lower *l, Call *call, NodeId *x, uint32_t *axes) {
    uint32_t axis;
    if (!to_float(l, call->spots[0], &call->argument[0])) return false;
    *x = call->argument[0].node;
    if (!to_axis(l, call->spots[1], value_type(l, *x), call->argument[1], &axis)) return false;
    return *axes = 1u << axis, true;
}

Value function_softmax(Lower *l, Call *call) {
    NodeId x;
    uint32_t axes;
    if (!float_and_axis(l, call, &x, &axes)) return value_unknown();
    NodeId e = node_unary(l, OP_exp, node_below_peak(l, x, axes));
    return value_tensor(node_div(l, e, node_spread(l, build_sum(l->g, e, axes), x)));
}

Value function_log_softmax(Lower *l, Call *call) {
    NodeId x;
    uint32_t axes;
    if (!float_and_axis(l, call, &x, &axes)) return value_unknown();
    return value_tensor(node_log_softmax(l, x, axes));
}

Value function_normalize(Lower *l, Call *call) {
    NodeId x;
    uint32_t axes;
    double epsilon;
    if (!float_and_axis(l, call, &x, &axes) || !to_number(l, call->spots[2], call->argument[2], &epsilon))
        return value_unknown();
    NodeId length = node_unary(l, OP_sqrt, node_shift(l, build_sum(l->g, node_mul(l, x, x), axes), epsilon));
    return value_tensor(node_div(l, x, node_spread(l, length, x)));
}

/* What every reduction is asked: x, `axis` at position `at`, `keep` behind it. */
typedef struct {
    NodeId x;
    uint32_t axes;
    bool keep;
} Reduction;

static bool reduction(Lower *l, Call *call, uint32_t at, bool keeps_whole, Reduction *r) {
    Value *x = &call->argument[0];
    if (!to_tensor(l, call->spots[0], x)) return false;
    DType dtype = value_type(l, x->node).dtype;
    if (!keeps_whole || (dtype != DTYPE_i32 && dtype != DTYPE_i64)) to_float(l, call->spots[0], x);
    Type type = value_type(l, x->node);
    *r = (Reduction){x->node, all_axes(type), call->argument[at + 1].number != 0};
    return !call->given[at] || to_axes(l, call->spots[at], type, call->argument[at], &r->axes);
}

static Value reduced(Lower *l, const Reduction *r, NodeId node) {
    return value_tensor(r->keep ? node : build_drop_axes(l->g, node, r->axes));
}

Value function_sum(Lower *l, Call *call) {
    Reduction r;
    return reduction(l, call, 1, true, &r) ? reduced(l, &r, build_sum(l->g, r.x, r.axes)) : value_unknown();
}

Value function_mean(Lower *l, Call *call) {
    Reduction r;
    return reduction(l, call, 1, false, &r) ? reduced(l, &r, node_mean(l, r.x, r.axes)) : value_unknown();
}

Value function_var(Lower *l, Call *call) {
    Reduction r;
    if (!reduction(l, call, 1, false, &r)) return value_unknown();
    NodeId distance = node_sub(l, r.x, node_spread(l, node_mean(l, r.x, r.axes), r.x));
    return reduced(l, &r, node_mean(l, node_mul(l, distance, distance), r.axes));
}

Value function_log_sum_exp(Lower *l, Call *call) {
    Reduction r;
    if (!reduction(l, call, 1, false, &r)) return value_unknown();
    NodeId log_sum = node_log_sum(l, node_below_peak(l, r.x, r.axes), r.axes);
    return reduced(l, &r, node_add(l, log_sum, stable_peak(l, r.x, r.axes)));
}

static bool two_numbers(const Call *call) {
    const Value *a = &call->argument[0], *b = &call->argument[1];
    return call->given[1] && a->kind == VALUE_number && b->kind == VALUE_number && a->per_n == 0 && b->per_n == 0;
}

static Value larger_or_smaller(Lower *l, Call *call, OpKind op) {
    if (call->given[2])
        return lower_fail(l, call->spots[2], "%s is either of two values or over axes, not both", call->name);
    if (!to_pair(l, call->spot, call->name, &call->argument[0], &call->argument[1])) return value_unknown();
    return value_tensor(build_binary(l->g, op, call->argument[0].node, call->argument[1].node));
}

Value function_max(Lower *l, Call *call) {
    Reduction r;
    if (two_numbers(call)) return value_number(fmax(call->argument[0].number, call->argument[1].number));
    if (call->given[1]) return larger_or_smaller(l, call, OP_max);
    return reduction(l, call, 2, true, &r) ? reduced(l, &r, build_reduce_max(l->g, r.x, r.axes)) : value_unknown();
}

Value function_min(Lower *l, Call *call) {
    Reduction r;
    if (two_numbers(call)) return value_number(fmin(call->argument[0].number, call->argument[1].number));
    if (call->given[1]) return larger_or_smaller(l, call, OP_min);
    if (!reduction(l, call, 2, true, &r)) return value_unknown();
    return reduced(l, &r, node_unary(l, OP_neg, build_reduce_max(l->g, node_unary(l, OP_neg, r.x), r.axes)));
}

Value function_stop_gradient(Lower *l, Call *call) {
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    return value_tensor(node_unary(l, OP_stop_gradient, call->argument[0].node));
}

Value function_gradient(Lower *l, Call *call) {
    if (!to_float(l, call->spots[0], &call->argument[0]) || !to_tensor(l, call->spots[1], &call->argument[1]))
        return value_unknown();
    Type y = value_type(l, call->argument[0].node), x = value_type(l, call->argument[1].node);
    if (type_elements(y) != 1)
        return lower_fail(l, call->spots[0], "this is %s, but only the derivative of a single number can be taken",
                          type_text(l, y));
    if (x.dtype != DTYPE_f32)
        return lower_fail(l, call->spots[1], "this is %s, but there are derivatives only with respect to f32",
                          type_text(l, x));
    return value_tensor(build_gradient(l->g, call->argument[0].node, call->argument[1].node));
}

Value function_where(Lower *l, Call *call) {
    Value *condition = &call->argument[0], *yes = &call->argument[1], *no = &call->argument[2];
    if (!to_tensor(l, call->spots[0], condition) || !to_pair(l, call->spot, "where", yes, no)) return value_unknown();
    NodeId c = build_cast(l->g, condition->node, DTYPE_bool);
    const char *why = NULL;
    if (!build_broadcast_pair(l->g, &c, &yes->node, &why)) return lower_fail(l, call->spot, "where: %s", why);
    return value_tensor(build_select(l->g, c, yes->node, node_spread(l, no->node, yes->node)));
}

static Value filled_like(Lower *l, Call *call, double value) {
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    return value_tensor(build_like(l->g, call->argument[0].node, value));
}

Value function_zeros_like(Lower *l, Call *call) { return filled_like(l, call, 0); }
Value function_ones_like(Lower *l, Call *call) { return filled_like(l, call, 1); }

Value function_position(Lower *l, Call *call) {
    uint32_t axis;
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    Type type = type_with_dtype(value_type(l, call->argument[0].node), DTYPE_i32);
    if (!to_axis(l, call->spots[1], type, call->argument[1], &axis)) return value_unknown();
    return value_tensor(build_iota(l->g, type, axis));
}

/* Nodes whose rules say best why inputs do not fit. */
static Value try_node(Lower *l, Spot spot, const char *what, Node node) {
    const char *why = NULL;
    NodeId id = graph_try_add(l->g, node, &why);
    return id == NO_NODE ? lower_fail(l, spot, "%s: %s", what, why) : value_tensor(id);
}

Value function_concat(Lower *l, Call *call) {
    Value *a = &call->argument[0], *b = &call->argument[1];
    uint32_t axis;
    if (!to_tensor(l, call->spots[0], a) || !to_tensor(l, call->spots[1], b)) return value_unknown();
    if (value_type(l, a->node).dtype != value_type(l, b->node).dtype)
        to_float(l, call->spots[0], a), to_float(l, call->spots[1], b);
    if (!to_axis(l, call->spots[2], value_type(l, a->node), call->argument[2], &axis)) return value_unknown();
    return try_node(l, call->spot, "concat", (Node){.op = OP_concat, .in = {a->node, b->node}, .attr.axis = axis});
}

/* Positions are repeated along the other axes of x, as operands of operators are. */
Value function_gather(Lower *l, Call *call) {
    Value *x = &call->argument[0], *at = &call->argument[1];
    uint32_t axis;
    if (!to_tensor(l, call->spots[0], x) || !to_tensor(l, call->spots[1], at)) return value_unknown();
    Type from = value_type(l, x->node), places = value_type(l, at->node), to = from;
    if (!to_axis(l, call->spots[2], from, call->argument[2], &axis)) return value_unknown();
    if (places.dtype != DTYPE_i32)
        return lower_fail(l, call->spots[1], "gather: positions are whole numbers (i32), not %s; cast them first",
                          type_text(l, places));
    uint32_t missing = from.rank - places.rank;
    bool fits = places.rank <= from.rank;
    if (fits) to.dim[axis] = axis < missing ? 1 : places.dim[axis - missing];
    for (uint32_t i = missing; fits && i < from.rank; i++)
        fits = i == axis || places.dim[i - missing] == 1 || places.dim[i - missing] == from.dim[i];
    if (!fits)
        return lower_fail(l, call->spot, "gather: positions %s do not fit %s: all axes but %u must be equal or 1",
                          type_text(l, places), type_text(l, from), axis);
    if (from.dim[axis] < 0)
        return lower_fail(l, call->spot, "gather: axis %u of %s must not depend on the batch n", axis,
                          type_text(l, from));
    if (type_problem(to))
        return lower_fail(l, call->spot, "gather: the result would be %s: %s", type_text(l, to), type_problem(to));
    to.dtype = DTYPE_i32;
    NodeId index = build_broadcast(l->g, at->node, to);
    return try_node(l, call->spot, "gather", (Node){.op = OP_gather, .in = {x->node, index}, .attr.axis = axis});
}

/* A shape in which one -1 stands for what is left over. */
static bool fill_rest(Lower *l, Spot spot, Type from, Value *list) {
    Dim others = 1, all = type_elements(from);
    uint32_t rest = MAX_RANK;
    if (list->kind != VALUE_list || list->count > MAX_RANK) return true;
    Value *items = arena_array(l->arena, Value, list->count + 1);
    for (uint32_t i = 0; i < list->count; i++) {
        Dim dim;
        items[i] = list->items[i];
        bool is_rest =
            items[i].kind == VALUE_number && items[i].per_n == 0 && items[i].number == -1 && rest == MAX_RANK;
        if (is_rest) {
            rest = i;
            continue;
        }
        if (!to_dim(l, spot, "the size of an axis", items[i], &dim)) return false;
        if ((dim < 0 && others < 0) || llabs(others) > ((int64_t)1 << 48) / llabs(dim))
            return lower_fail(l, spot, "this shape has too many elements"), false;
        others *= dim;
    }
    if (rest == MAX_RANK) return true;
    if (all % others || (others < 0 && all > 0))
        return lower_fail(l, spot, "the elements of %s cannot be spread over this shape evenly", type_text(l, from)),
               false;
    Dim dim = others < 0 || all > 0 ? all / others : -(-all / others);
    items[rest] = dim < 0 ? (Value){.kind = VALUE_number, .per_n = (double)-dim} : value_number((double)dim);
    list->items = items;
    return true;
}

Value function_reshape(Lower *l, Call *call) {
    Type to, from;
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    from = value_type(l, call->argument[0].node);
    if (!fill_rest(l, call->spots[1], from, &call->argument[1]) ||
        !to_type(l, call->spots[1], call->argument[1], from.dtype, &to))
        return value_unknown();
    if (shape_equal(from, to)) return call->argument[0];
    return try_node(l, call->spots[1], "reshape", (Node){.op = OP_reshape, .type = to, .in = {call->argument[0].node}});
}

Value function_flatten(Lower *l, Call *call) {
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    Type type = value_type(l, call->argument[0].node);
    if (!type.rank) return lower_fail(l, call->spots[0], "%s has no axes to flatten", type_text(l, type));
    Dim dim[2] = {type.dim[0], 1};
    for (uint32_t i = 1; i < type.rank; i++) {
        if (dim[1] < 0 && type.dim[i] < 0) return value_unknown();
        dim[1] *= type.dim[i];
    }
    return value_tensor(build_reshape(l->g, call->argument[0].node, 2, dim));
}

Value function_transpose(Lower *l, Call *call) {
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    NodeId x = call->argument[0].node;
    Type type = value_type(l, x);
    uint32_t permutation[MAX_RANK], seen;
    const Value *list = &call->argument[1];
    if (!call->given[1])
        return type.rank >= 2
                   ? value_tensor(build_swap_last(l->g, x))
                   : lower_fail(l, call->spots[0], "%s has no two axes to change places", type_text(l, type));
    if (!to_axes(l, call->spots[1], type, *list, &seen)) return value_unknown();
    if (list->kind != VALUE_list || seen != all_axes(type))
        return lower_fail(l, call->spots[1], "a list should name each of the %u axes of %s once", type.rank,
                          type_text(l, type));
    for (uint32_t i = 0; i < type.rank; i++) to_axis(l, call->spots[1], type, list->items[i], &permutation[i]);
    return value_tensor(build_transpose(l->g, x, permutation));
}

/* Leading axes of a belong to the rows when b is a plain matrix. */
Value function_matmul(Lower *l, Call *call) {
    if (!to_float(l, call->spots[0], &call->argument[0]) || !to_float(l, call->spots[1], &call->argument[1]))
        return value_unknown();
    NodeId a = call->argument[0].node, b = call->argument[1].node;
    Type left = value_type(l, a), right = value_type(l, b);
    if (left.rank <= 2 || right.rank != 2)
        return try_node(l, call->spot, "matrix product", (Node){.op = OP_matmul, .in = {a, b}});
    Dim rows = 1;
    for (uint32_t i = 0; i + 1 < left.rank; i++) rows = dim_mul(rows, left.dim[i]);
    Value product = value_tensor(build_reshape(l->g, a, 2, (Dim[]){rows, left.dim[left.rank - 1]}));
    product = try_node(l, call->spot, "matrix product", (Node){.op = OP_matmul, .in = {product.node, b}});
    if (product.kind == VALUE_unknown) return product;
    left.dim[left.rank - 1] = right.dim[1];
    return value_tensor(build_reshape(l->g, product.node, left.rank, left.dim));
}

Value function_broadcast(Lower *l, Call *call) {
    Type to, from;
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    from = value_type(l, call->argument[0].node);
    if (!to_type(l, call->spots[1], call->argument[1], from.dtype, &to)) return value_unknown();
    NodeId x = call->argument[0].node, target = build_constant(l->g, to, 0);
    const char *why = NULL;
    if (!build_broadcast_pair(l->g, &x, &target, &why)) return lower_fail(l, call->spot, "broadcast: %s", why);
    if (!shape_equal(value_type(l, x), to))
        return lower_fail(l, call->spot, "broadcast: %s cannot be repeated to %s", type_text(l, from),
                          type_text(l, to));
    return value_tensor(x);
}

Value function_size(Lower *l, Call *call) {
    uint32_t axis;
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    Type type = value_type(l, call->argument[0].node);
    if (!to_axis(l, call->spots[1], type, call->argument[1], &axis)) return value_unknown();
    Dim dim = type.dim[axis];
    return dim < 0 ? (Value){.kind = VALUE_number, .per_n = (double)-dim} : value_number((double)dim);
}

Value function_cast(Lower *l, Call *call) {
    DType dtype;
    if (!to_tensor(l, call->spots[0], &call->argument[0])) return value_unknown();
    if (call->argument[1].kind != VALUE_text)
        return lower_fail(l, call->spots[1], "an element type in single quotes should stand here, like 'f32'");
    if (!dtype_find(call->argument[1].text, &dtype))
        return lower_fail(l, call->spots[1], "there is no element type '%s'", call->argument[1].text);
    return value_tensor(build_cast(l->g, call->argument[0].node, dtype));
}
