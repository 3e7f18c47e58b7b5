/* One rule for each value of the `type` column of ops.def: which types follow from the inputs, or a
 * reason that names the types as dumps do and says what would be right.
 *
 * Rules may be given anything: texts are parsed with their help. Every size is checked for all batches
 * n >= 1; a condition that is linear in n holds for all of them if it holds at 1 and its slope allows it. */
#include "ir/attention.h"
#include "ir/graph.h"

#include <math.h>

/* Positions that a window can name; far from where their arithmetic could overflow. */
#define FARTHEST ((int64_t)1 << 48)

typedef struct {
    const Graph *graph;
    const Node *node;
    const Node *in[MAX_INPUTS];
    const char *why;
} Rule;

typedef bool TypeRule(Rule *rule, Type *type);

#define refuse(rule, ...) ((rule)->why = arena_printf((rule)->graph->arena, __VA_ARGS__), false)

/* A type as text that lives as long as the graph. */
static const char *text_of(const Rule *rule, Type type) {
    char buffer[128];
    return arena_copy(rule->graph->arena, type_print(type, buffer));
}

static const char *dim_text(const Rule *rule, Dim dim) {
    if (dim == -1) return "n";
    return arena_printf(rule->graph->arena, dim < 0 ? "%lldn" : "%lld", (long long)(dim < 0 ? -dim : dim));
}

static bool valid(Rule *rule, Type type) {
    const char *problem = type_problem(type);
    return problem ? refuse(rule, "the result would be %s: %s", text_of(rule, type), problem) : true;
}

/* slope * n + fixed <= 0 for every n >= 1 */
static bool never_positive(int64_t slope, int64_t fixed) {
    int64_t at_one;
    return slope <= 0 && !__builtin_add_overflow(slope, fixed, &at_one) && at_one <= 0;
}

static bool whole_number_in(double value, double least, double most) {
    return value >= least && value <= most && value == floor(value);
}

/* Whether an element of this dtype can be exactly `value`; floats may round it. */
static bool can_hold(DType dtype, double value) {
    switch (dtype) {
    case DTYPE_f32:
    case DTYPE_bf16:
    case DTYPE_f16: return true;
    case DTYPE_i8: return whole_number_in(value, INT8_MIN, INT8_MAX);
    case DTYPE_u8: return whole_number_in(value, 0, UINT8_MAX);
    case DTYPE_i32: return whole_number_in(value, INT32_MIN, INT32_MAX);
    case DTYPE_i64: return whole_number_in(value, -9007199254740992.0, 9007199254740992.0);
    case DTYPE_bool: return whole_number_in(value, 0, 1);
    }
    return false;
}

static bool check_value(Rule *rule, DType dtype, double value) {
    if (can_hold(dtype, value)) return true;
    return refuse(rule, "an element of type %s cannot be %.17g", dtype_info[dtype].name, value);
}

static bool type_declared(Rule *rule, Type *type) {
    const Node *node = rule->node;
    *type = node->type;
    const char *problem = type_problem(*type);
    if (problem) return refuse(rule, "%s: %s", text_of(rule, *type), problem);
    if (node->op == OP_constant) return check_value(rule, type->dtype, node->attr.value);
    if (node->op == OP_iota) {
        if (node->attr.axis >= type->rank)
            return refuse(rule, "%s has no axis %u", text_of(rule, *type), node->attr.axis);
        bool is_number = type->dtype == DTYPE_f32 || type->dtype == DTYPE_i32 || type->dtype == DTYPE_i64;
        if (!is_number) return refuse(rule, "positions are f32, i32 or i64, not %s", dtype_info[type->dtype].name);
        return true;
    }
    if (node->attr.index >= rule->graph->input_count)
        return refuse(rule, "there is no input %u; the graph has %u", node->attr.index, rule->graph->input_count);
    Type fed = rule->graph->inputs[node->attr.index].type;
    if (type_equal(fed, *type)) return true;
    return refuse(rule, "input %u is %s, not %s", node->attr.index, text_of(rule, fed), text_of(rule, *type));
}

static bool type_random(Rule *rule, Type *type) {
    Type key = rule->in[0]->type, sample = rule->in[1]->type;
    *type = rule->node->type;
    const char *problem = type_problem(*type);
    if (problem) return refuse(rule, "%s: %s", text_of(rule, *type), problem);
    if (type->dtype != DTYPE_i32) return refuse(rule, "random bits are i32, not %s", dtype_info[type->dtype].name);
    if (key.dtype != DTYPE_i32 || key.rank != 1 || key.dim[0] != 3)
        return refuse(rule, "the key must be i32[3] (seed low, seed high, step), not %s", text_of(rule, key));
    bool for_each = type->rank && sample.dim[0] == type->dim[0];
    if (sample.dtype != DTYPE_i32 || sample.rank != 1 || (sample.dim[0] != 1 && !for_each))
        return refuse(rule, "the sample must be i32[1] or as long as the first axis of %s, not %s",
                      text_of(rule, *type), text_of(rule, sample));
    if (rule->node->attr.random.word > 3)
        return refuse(rule, "word is %u, but must be 0, 1, 2 or 3", rule->node->attr.random.word);
    return true;
}

static bool equal_types(Rule *rule) {
    for (uint32_t i = 1; i < op_info[rule->node->op].inputs; i++)
        if (!type_equal(rule->in[0]->type, rule->in[i]->type))
            return refuse(rule, "the inputs must have one type, but are %s and %s", text_of(rule, rule->in[0]->type),
                          text_of(rule, rule->in[i]->type));
    return true;
}

static bool type_same(Rule *rule, Type *type) {
    *type = rule->in[0]->type;
    return equal_types(rule);
}

static bool type_compare(Rule *rule, Type *type) {
    *type = type_with_dtype(rule->in[0]->type, DTYPE_bool);
    return equal_types(rule);
}

static bool type_cast(Rule *rule, Type *type) {
    if ((uint32_t)rule->node->type.dtype >= DTYPE_COUNT) return refuse(rule, "there is no such element type");
    *type = type_with_dtype(rule->in[0]->type, rule->node->type.dtype);
    return true;
}

static bool type_select(Rule *rule, Type *type) {
    Type condition = rule->in[0]->type;
    *type = rule->in[1]->type;
    if (condition.dtype != DTYPE_bool)
        return refuse(rule, "the condition must be bool, not %s", text_of(rule, condition));
    if (!type_equal(*type, rule->in[2]->type))
        return refuse(rule, "both choices must have one type, but are %s and %s", text_of(rule, *type),
                      text_of(rule, rule->in[2]->type));
    if (shape_equal(condition, *type)) return true;
    return refuse(rule, "the condition must have the shape of the choices, but they are %s and %s",
                  text_of(rule, condition), text_of(rule, *type));
}

/* The declared type, when it is one and its elements are those of the input. */
static bool declared_like_input(Rule *rule, Type *type) {
    *type = rule->node->type;
    const char *problem = type_problem(*type);
    if (problem) return refuse(rule, "%s: %s", text_of(rule, *type), problem);
    if (type->dtype == rule->in[0]->type.dtype) return true;
    return refuse(rule, "the result's elements are %s like the input's, not %s",
                  dtype_info[rule->in[0]->type.dtype].name, dtype_info[type->dtype].name);
}

static bool same_rank(Rule *rule, Type type) {
    Type from = rule->in[0]->type;
    if (from.rank == type.rank) return true;
    return refuse(rule, "input and result must have equally many axes, but are %s and %s", text_of(rule, from),
                  text_of(rule, type));
}

static bool type_broadcast(Rule *rule, Type *type) {
    Type from = rule->in[0]->type;
    if (!declared_like_input(rule, type) || !same_rank(rule, *type)) return false;
    for (uint32_t i = 0; i < type->rank; i++)
        if (from.dim[i] != 1 && from.dim[i] != type->dim[i])
            return refuse(rule, "only axes of size 1 can be repeated, but axis %u goes from %s to %s", i,
                          text_of(rule, from), text_of(rule, *type));
    return true;
}

static bool type_reshape(Rule *rule, Type *type) {
    if (!declared_like_input(rule, type)) return false;
    Dim before = type_elements(rule->in[0]->type), after = type_elements(*type);
    if (before == after) return true;
    return refuse(rule, "%s has %s elements, but %s has %s", text_of(rule, rule->in[0]->type), dim_text(rule, before),
                  text_of(rule, *type), dim_text(rule, after));
}

static bool type_transpose(Rule *rule, Type *type) {
    Type from = rule->in[0]->type;
    uint32_t seen = 0;
    *type = from;
    for (uint32_t i = 0; i < from.rank; i++) {
        uint8_t axis = rule->node->attr.permutation[i];
        if (axis >= from.rank || seen >> axis & 1)
            return refuse(rule, "the permutation must name each of the %u axes of %s once", from.rank,
                          text_of(rule, from));
        seen |= 1u << axis;
        type->dim[i] = from.dim[axis];
    }
    return true;
}

/* Whether start + i * step stays in [0, from) for every i in [0, to). */
static bool slice_fits(Dim from, Dim to, int64_t start, int64_t step) {
    Extent size = dim_extent(from), count = dim_extent(to);
    int64_t reach_n, reach, last_n, last; /* the last element is reach_n * n + reach */
    if (start < 0 || __builtin_mul_overflow(count.per_n, step, &reach_n) ||
        __builtin_mul_overflow(count.fixed - 1, step, &reach) || __builtin_add_overflow(reach, start, &reach) ||
        __builtin_sub_overflow(reach_n, size.per_n, &last_n) || __builtin_sub_overflow(reach, size.fixed - 1, &last))
        return false;
    if (reach_n == INT64_MIN || reach == INT64_MIN) return false;
    bool first_inside = never_positive(-size.per_n, start - (size.fixed - 1));
    return first_inside && never_positive(last_n, last) && never_positive(-reach_n, -reach);
}

static bool type_slice(Rule *rule, Type *type) {
    Type from = rule->in[0]->type;
    if (!declared_like_input(rule, type) || !same_rank(rule, *type)) return false;
    for (uint32_t i = 0; i < type->rank; i++) {
        int64_t start = rule->node->attr.slice.start[i], step = rule->node->attr.slice.step[i];
        if (!step) return refuse(rule, "the step of axis %u must not be 0", i);
        if (!slice_fits(from.dim[i], type->dim[i], start, step))
            return refuse(rule, "axis %u has %s elements: %s from %lld in steps of %lld do not lie inside", i,
                          dim_text(rule, from.dim[i]), dim_text(rule, type->dim[i]), (long long)start, (long long)step);
    }
    return true;
}

static bool type_pad(Rule *rule, Type *type) {
    Type from = rule->in[0]->type;
    if (!declared_like_input(rule, type) || !same_rank(rule, *type)) return false;
    for (uint32_t i = 0; i < type->rank; i++) {
        int64_t before = rule->node->attr.pad.before[i], least;
        Extent inner = dim_extent(from.dim[i]), outer = dim_extent(type->dim[i]);
        if (before < 0) return refuse(rule, "axis %u: before is %lld, but must not be negative", i, (long long)before);
        bool fits = !__builtin_add_overflow(inner.fixed - outer.fixed, before, &least) &&
                    never_positive(inner.per_n - outer.per_n, least);
        if (!fits)
            return refuse(rule, "axis %u: %lld and %s elements do not fit into %s", i, (long long)before,
                          dim_text(rule, from.dim[i]), dim_text(rule, type->dim[i]));
    }
    return check_value(rule, type->dtype, rule->node->attr.pad.value);
}

static bool type_concat(Rule *rule, Type *type) {
    Type a = rule->in[0]->type, b = rule->in[1]->type;
    uint32_t axis = rule->node->attr.axis;
    *type = a;
    if (a.dtype != b.dtype || a.rank != b.rank)
        return refuse(rule, "%s and %s must have one element type and equally many axes", text_of(rule, a),
                      text_of(rule, b));
    if (axis >= a.rank) return refuse(rule, "%s has no axis %u", text_of(rule, a), axis);
    for (uint32_t i = 0; i < a.rank; i++)
        if (i != axis && a.dim[i] != b.dim[i])
            return refuse(rule, "%s and %s may differ in axis %u only", text_of(rule, a), text_of(rule, b), axis);
    if ((a.dim[axis] < 0) != (b.dim[axis] < 0))
        return refuse(rule, "axis %u of %s and %s must depend on the batch n in both or in neither", axis,
                      text_of(rule, a), text_of(rule, b));
    type->dim[axis] = a.dim[axis] + b.dim[axis];
    return valid(rule, *type);
}

/* What window and unwindow have in common. `image` is [N,H,W,k,l,C], `patches` is [N,OH,OW,KH,KW,C]. */
static bool check_window(Rule *rule, Type image, Type patches) {
    static const char *const side[2] = {"height", "width"};
    if (image.rank != 6 || patches.rank != 6)
        return refuse(rule,
                      "input and result must have the axes [batch, height, width, taps, taps, channels], but are "
                      "%s and %s",
                      text_of(rule, rule->in[0]->type), text_of(rule, rule->node->type));
    for (uint32_t i = 1; i < 6; i++)
        if (image.dim[i] < 0 || patches.dim[i] < 0)
            return refuse(rule, "only the first axis may depend on the batch n, but input and result are %s and %s",
                          text_of(rule, rule->in[0]->type), text_of(rule, rule->node->type));
    if (image.dim[0] != patches.dim[0] || image.dim[5] != patches.dim[5])
        return refuse(rule, "the first and the last axis of %s and %s must be equal", text_of(rule, rule->in[0]->type),
                      text_of(rule, rule->node->type));
    for (int k = 0; k < 2; k++) {
        int64_t stride = rule->node->attr.window.stride[k], dilation = rule->node->attr.window.dilation[k];
        int64_t before = rule->node->attr.window.before[k], reach, last;
        if (stride < 1)
            return refuse(rule, "the stride of the %s is %lld, but must be positive", side[k], (long long)stride);
        if (dilation < 1)
            return refuse(rule, "the dilation of the %s is %lld, but must be positive", side[k], (long long)dilation);
        bool fits = !__builtin_mul_overflow(patches.dim[1 + k], stride, &reach) &&
                    !__builtin_mul_overflow(patches.dim[3 + k], dilation, &last) &&
                    !__builtin_add_overflow(reach, last, &reach) && reach <= FARTHEST && before <= FARTHEST &&
                    before >= -FARTHEST;
        if (!fits)
            return refuse(rule, "the %s is left too far behind: stride, dilation or before is too large", side[k]);
    }
    return true;
}

static bool type_window(Rule *rule, Type *type) {
    Type from = rule->in[0]->type;
    if (!declared_like_input(rule, type) || !check_window(rule, from, *type)) return false;
    for (uint32_t i = 3; i < 5; i++)
        if (from.dim[i] != 1 && from.dim[i] != type->dim[i])
            return refuse(rule, "axis %u of %s must have one element or as many as in %s", i, text_of(rule, from),
                          text_of(rule, *type));
    return check_value(rule, type->dtype, rule->node->attr.window.value);
}

static bool type_unwindow(Rule *rule, Type *type) {
    Type from = rule->in[0]->type;
    if (!declared_like_input(rule, type) || !check_window(rule, *type, from)) return false;
    for (uint32_t i = 3; i < 5; i++)
        if (from.dim[i] != type->dim[i])
            return refuse(rule, "axis %u of %s and %s must be equal", i, text_of(rule, from), text_of(rule, *type));
    if (rule->node->attr.window.value != 0)
        return refuse(rule, "the value must be 0: that is what stands between the elements");
    return true;
}

/* What gather and scatter_add have in common: `places` along `axis` of what is `whole`. */
static bool check_places(Rule *rule, Type whole, Type places) {
    uint32_t axis = rule->node->attr.axis;
    if (places.dtype != DTYPE_i32) return refuse(rule, "positions are i32, not %s", dtype_info[places.dtype].name);
    if (whole.rank != places.rank)
        return refuse(rule, "%s and its positions %s must have equally many axes", text_of(rule, whole),
                      text_of(rule, places));
    if (axis >= whole.rank) return refuse(rule, "%s has no axis %u", text_of(rule, whole), axis);
    if (whole.dim[axis] < 0)
        return refuse(rule, "axis %u of %s, where positions %s point to, must not depend on the batch n", axis,
                      text_of(rule, whole), text_of(rule, places));
    for (uint32_t i = 0; i < whole.rank; i++)
        if (i != axis && whole.dim[i] != places.dim[i])
            return refuse(rule, "%s and its positions %s may differ in axis %u only", text_of(rule, whole),
                          text_of(rule, places), axis);
    return true;
}

static bool type_gather(Rule *rule, Type *type) {
    Type from = rule->in[0]->type, index = rule->in[1]->type;
    *type = type_with_dtype(index, from.dtype);
    return check_places(rule, from, index);
}

static bool type_scatter(Rule *rule, Type *type) {
    Type base = rule->in[0]->type, index = rule->in[1]->type, updates = rule->in[2]->type;
    *type = base;
    if (!check_places(rule, base, index)) return false;
    if (type_equal(updates, type_with_dtype(index, base.dtype))) return true;
    return refuse(rule, "what is added must be %s, one for each position, not %s",
                  text_of(rule, type_with_dtype(index, base.dtype)), text_of(rule, updates));
}

static bool type_reduce(Rule *rule, Type *type) {
    uint32_t axes = rule->node->attr.axes;
    *type = rule->in[0]->type;
    if (!axes) return refuse(rule, "at least one axis must be named");
    if (axes >> type->rank) return refuse(rule, "%s has no axis %d", text_of(rule, *type), 31 - __builtin_clz(axes));
    for (uint32_t i = 0; i < type->rank; i++)
        if (axes >> i & 1) type->dim[i] = 1;
    return true;
}

static bool type_argmax(Rule *rule, Type *type) {
    Type from = rule->in[0]->type;
    Dim places = 1;
    if (!type_reduce(rule, type)) return false;
    for (uint32_t i = 0; i < from.rank; i++) {
        if (!(rule->node->attr.axes >> i & 1)) continue;
        if (from.dim[i] < 1 || from.dim[i] > UINT8_MAX + 1 || (places *= from.dim[i]) > UINT8_MAX + 1)
            return refuse(rule, "the axes of %s must have at most 256 places, so that a u8 can name each",
                          text_of(rule, from));
    }
    type->dtype = DTYPE_u8;
    return true;
}

static bool type_matmul(Rule *rule, Type *type) {
    Type a = rule->in[0]->type, b = rule->in[1]->type;
    *type = a;
    if (a.rank != b.rank || a.rank < 2)
        return refuse(rule, "%s and %s must have equally many axes, at least two", text_of(rule, a), text_of(rule, b));
    uint32_t row = a.rank - 2, column = a.rank - 1;
    for (uint32_t i = 0; i < row; i++)
        if (a.dim[i] != b.dim[i])
            return refuse(rule, "the leading axes of %s and %s must be equal", text_of(rule, a), text_of(rule, b));
    if (a.dim[column] != b.dim[row])
        return refuse(rule, "the columns of %s must be as many as the rows of %s", text_of(rule, a), text_of(rule, b));
    type->dim[column] = b.dim[column];
    return valid(rule, *type);
}

/* One number for all samples, or one for each. */
static bool check_per_sample(Rule *rule, const char *what, Type given, Dim samples) {
    bool fits = given.dtype == DTYPE_i32 && given.rank == 1 && (given.dim[0] == 1 || given.dim[0] == samples);
    return fits || refuse(rule, "the %s must be i32[1] or i32[%s], not %s", what, dim_text(rule, samples),
                          text_of(rule, given));
}

static bool check_operand(Rule *rule, const char *what, uint32_t index, Type wanted) {
    Type given = rule->in[index]->type;
    return type_equal(given, wanted) ||
           refuse(rule, "%s must be %s, not %s", what, text_of(rule, wanted), text_of(rule, given));
}

static bool check_queries_and_keys(Rule *rule) {
    Type q = rule->in[ATTENTION_q]->type, k = rule->in[ATTENTION_k]->type, like_q = q;
    if (q.dtype != DTYPE_f32 || q.rank != 4)
        return refuse(rule, "the queries must be f32 with the axes [sample, position, head, width], not %s",
                      text_of(rule, q));
    for (uint32_t i = 1; i < 4; i++)
        if (q.dim[i] < 0)
            return refuse(rule, "only the first axis may depend on the batch n, but the queries are %s",
                          text_of(rule, q));
    if (k.rank == 4) like_q.dim[1] = k.dim[1];
    if (!type_equal(k, like_q) || k.dim[1] < 0)
        return refuse(rule, "the keys must be %s but for the number of positions, not %s", text_of(rule, q),
                      text_of(rule, k));
    return true;
}

/* What a query has one of for each head. */
static Type type_of_norm(const Rule *rule) { return type_make(DTYPE_f32, 3, rule->in[ATTENTION_q]->type.dim); }

static bool check_attention(Rule *rule) {
    if (!check_queries_and_keys(rule)) return false;
    Type q = rule->in[ATTENTION_q]->type;
    double scale = rule->node->attr.attention.scale, rate = rule->node->attr.attention.rate;
    if (!isfinite(scale)) return refuse(rule, "scale is %g, but must be finite", scale);
    if (!check_per_sample(rule, "count", rule->in[attention_count(rule->node->op)]->type, q.dim[0])) return false;
    if (rule->node->op == OP_attention_norm) return true;
    Type key = rule->in[ATTENTION_key]->type;
    if (!(rate >= 0 && rate < 1)) return refuse(rule, "rate is %g, but must be at least 0 and below 1", rate);
    if (key.dtype != DTYPE_i32 || key.rank != 1 || key.dim[0] != 3)
        return refuse(rule, "the key must be i32[3] (seed low, seed high, step), not %s", text_of(rule, key));
    return check_per_sample(rule, "sample", rule->in[ATTENTION_sample]->type, q.dim[0]) &&
           check_operand(rule, "the values", ATTENTION_v, rule->in[ATTENTION_k]->type) &&
           check_operand(rule, "the norm", ATTENTION_norm, type_of_norm(rule));
}

static bool type_attention_norm(Rule *rule, Type *type) {
    *type = type_of_norm(rule);
    return check_attention(rule);
}

static bool type_attention(Rule *rule, Type *type) {
    *type = rule->in[ATTENTION_q]->type;
    return check_attention(rule);
}

static bool check_attention_gradient(Rule *rule) {
    return check_attention(rule) && check_operand(rule, "dy", ATTENTION_dy, rule->in[ATTENTION_q]->type) &&
           check_operand(rule, "delta", ATTENTION_delta, type_of_norm(rule));
}

static bool type_attention_dq(Rule *rule, Type *type) {
    *type = rule->in[ATTENTION_q]->type;
    return check_attention_gradient(rule);
}

/* Of keys, and of values. */
static bool type_attention_dk(Rule *rule, Type *type) {
    *type = rule->in[ATTENTION_k]->type;
    return check_attention_gradient(rule);
}

static bool type_gradient(Rule *rule, Type *type) {
    Type a = rule->in[0]->type;
    *type = rule->in[1]->type;
    if (type_elements(a) == 1) return true;
    return refuse(rule, "only the derivative of one element can be taken, not of %s", text_of(rule, a));
}

static TypeRule *const type_rule[OP_COUNT] = {
#define OP(name, inputs, class, domain, attr, type, ...) [OP_##name] = type_##type,
#include "ir/ops.def"
};

static const struct {
    uint32_t dtypes; /* a bit for each */
    const char *text;
} domain_info[] = {
    [DOMAIN_any] = {~0u, "of any type"},
    [DOMAIN_number] = {1u << DTYPE_f32 | 1u << DTYPE_i32 | 1u << DTYPE_i64, "f32, i32 or i64"},
    [DOMAIN_float] = {1u << DTYPE_f32, "f32"},
    [DOMAIN_integer] = {1u << DTYPE_i32 | 1u << DTYPE_i64, "i32 or i64"},
    [DOMAIN_logic] = {1u << DTYPE_bool | 1u << DTYPE_i32 | 1u << DTYPE_i64, "bool, i32 or i64"},
    [DOMAIN_special] = {~0u, "of any type"},
};

bool infer_type(const Graph *graph, const Node *node, Type *type, const char **why) {
    const OpInfo *info = &op_info[node->op];
    Rule rule = {.graph = graph, .node = node};
    for (uint32_t i = 0; i < info->inputs; i++) {
        rule.in[i] = &graph->nodes[node->in[i]];
        Type given = rule.in[i]->type;
        if (domain_info[info->domain].dtypes >> given.dtype & 1) continue;
        *why = arena_printf(graph->arena, "the inputs must be %s, but one is %s; cast it first",
                            domain_info[info->domain].text, text_of(&rule, given));
        return false;
    }
    bool fits = type_rule[node->op](&rule, type);
    if (fits) /* sizes beyond the rank are zero, whatever the caller left there */
        *type = type_make(type->dtype, type->rank, type->dim);
    else
        *why = rule.why;
    return fits;
}
