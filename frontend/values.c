/* What values are made of and how they meet: numbers become tensors, small types become f32, shapes are brought
 * together by NumPy's rule. Every conversion that cannot be done is reported here, with the shapes as dumps show them.
 */
#include "frontend/lower.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { LARGEST_WHOLE = 1 << 30, MOST_NOTES = 3 };

Value lower_fail(Lower *l, Spot spot, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    l->had_error = true;
    int before = l->diag->errors, notes = 0;
    model_error(l->model, l->diag, spot.json, spot.at, "%s", text);
    if (l->diag->errors > before)
        for (const Frame *frame = l->frame; frame && frame->module && notes < MOST_NOTES; frame = frame->outer, notes++)
            diag_note(l->diag, json_place(frame->call), "in module \"%s\", called here", frame->module->name);
    return value_unknown();
}

Type value_type(const Lower *l, NodeId node) { return l->g->nodes[node].type; }

const char *type_text(const Lower *l, Type type) {
    char buffer[128];
    return arena_copy(l->arena, type_print(type, buffer));
}

/* n as an f32[]: the sum of n ones. */
static NodeId batch_size_node(Lower *l) {
    NodeId ones = build_constant(l->g, type_make(DTYPE_f32, 1, (Dim[]){l->n}), 1);
    return build_drop_axes(l->g, build_sum(l->g, ones, 1), 1);
}

static NodeId plain_number_node(Lower *l, double number, Type type) {
    if (type.dtype == DTYPE_i32 || type.dtype == DTYPE_i64) number = trunc(number);
    return build_constant(l->g, type, number);
}

NodeId number_node(Lower *l, Value number, Type type) {
    if (number.per_n == 0) return plain_number_node(l, number.number, type);
    Type scalar = type_scalar(DTYPE_f32);
    NodeId node = build_binary(l->g, OP_mul, batch_size_node(l), build_constant(l->g, scalar, number.per_n));
    if (number.number != 0) node = build_binary(l->g, OP_add, node, build_constant(l->g, scalar, number.number));
    return build_broadcast(l->g, build_cast(l->g, node, type.dtype), type);
}

static const char *kind_text(ValueKind kind) {
    switch (kind) {
    case VALUE_unknown: return "unknown";
    case VALUE_number: return "a number";
    case VALUE_tensor: return "a tensor";
    case VALUE_list: return "a list";
    case VALUE_text: return "a text";
    }
    return "";
}

bool to_tensor(Lower *l, Spot spot, Value *value) {
    if (value->kind == VALUE_tensor) return true;
    if (value->kind == VALUE_number && l->g) {
        *value = value_tensor(number_node(l, *value, type_scalar(DTYPE_f32)));
        return true;
    }
    if (value->kind != VALUE_unknown)
        lower_fail(l, spot, "this is %s, but a tensor should stand here", kind_text(value->kind));
    *value = value_unknown();
    return false;
}

bool to_float(Lower *l, Spot spot, Value *value) {
    if (!to_tensor(l, spot, value)) return false;
    value->node = build_cast(l->g, value->node, DTYPE_f32);
    return true;
}

/* Narrow types are for storage: arithmetic happens in f32, i32 or i64. */
static DType arithmetic_dtype(DType dtype) {
    switch (dtype) {
    case DTYPE_i32:
    case DTYPE_i64: return dtype;
    case DTYPE_f32:
    case DTYPE_bf16:
    case DTYPE_f16:
    case DTYPE_i8:
    case DTYPE_u8:
    case DTYPE_bool: return DTYPE_f32;
    }
    return DTYPE_f32;
}

/* The type of what comes of a and b. A number adapts to the tensor, but a fraction makes whole numbers f32. */
static DType common_dtype(const Lower *l, Value a, Value b) {
    if (a.kind == VALUE_number) return common_dtype(l, b, a);
    DType dtype = arithmetic_dtype(value_type(l, a.node).dtype);
    if (b.kind == VALUE_number) {
        bool whole = b.per_n == 0 && b.number == floor(b.number) && fabs(b.number) < 0x1p31;
        return whole ? dtype : DTYPE_f32;
    }
    DType other = arithmetic_dtype(value_type(l, b.node).dtype);
    if (dtype == other) return dtype;
    return dtype == DTYPE_f32 || other == DTYPE_f32 ? DTYPE_f32 : DTYPE_i64;
}

static NodeId to_dtype(Lower *l, Value value, DType dtype, Type shape) {
    if (value.kind == VALUE_number) return number_node(l, value, type_with_dtype(shape, dtype));
    return build_cast(l->g, value.node, dtype);
}

bool to_pair(Lower *l, Spot spot, const char *what, Value *a, Value *b) {
    if (a->kind == VALUE_unknown || b->kind == VALUE_unknown) return false;
    if (a->kind != VALUE_number && !to_tensor(l, spot, a)) return false;
    if (b->kind != VALUE_number && !to_tensor(l, spot, b)) return false;
    if (a->kind == VALUE_number && b->kind == VALUE_number) return to_tensor(l, spot, a) && to_tensor(l, spot, b);
    DType dtype = common_dtype(l, *a, *b);
    Type shape = value_type(l, a->kind == VALUE_tensor ? a->node : b->node);
    NodeId x = to_dtype(l, *a, dtype, shape), y = to_dtype(l, *b, dtype, shape);
    const char *why = NULL;
    if (!build_broadcast_pair(l->g, &x, &y, &why)) return lower_fail(l, spot, "%s: %s", what, why), false;
    *a = value_tensor(x), *b = value_tensor(y);
    return true;
}

bool to_number(Lower *l, Spot spot, Value value, double *number) {
    *number = value.number;
    if (value.kind == VALUE_number && value.per_n == 0 && isfinite(value.number)) return true;
    if (value.kind == VALUE_unknown) return false;
    if (value.kind == VALUE_number && value.per_n == 0)
        return lower_fail(l, spot,
                          isnan(value.number) ? "this is 0 / 0 or the like, and so no number"
                                              : "this is infinite, but must be a number"),
               false;
    if (value.kind == VALUE_number)
        return lower_fail(l, spot, "this depends on the batch n, but must be known before"), false;
    const char *what = value.kind == VALUE_tensor ? type_text(l, value_type(l, value.node)) : kind_text(value.kind);
    return lower_fail(l, spot, "this is %s, but must be a number that is known before anything runs", what), false;
}

bool to_dim(Lower *l, Spot spot, const char *what, Value value, Dim *dim) {
    double number;
    if (value.kind == VALUE_number && value.per_n != 0) {
        bool whole =
            value.number == 0 && value.per_n >= 1 && value.per_n <= LARGEST_WHOLE && value.per_n == floor(value.per_n);
        *dim = whole ? -(Dim)value.per_n : 0;
        return whole ||
               (lower_fail(l, spot, "%s may be n or a whole multiple of it, but not n with something added", what),
                false);
    }
    if (!to_number(l, spot, value, &number)) return false;
    *dim = number >= 1 && number <= LARGEST_WHOLE ? (Dim)number : 0;
    if (*dim && number == floor(number)) return true;
    return lower_fail(l, spot, "%s is %.12g, but must be a positive whole number%s", what, number,
                      number > LARGEST_WHOLE ? " up to 2^30" : ""),
           false;
}

bool to_type(Lower *l, Spot spot, Value list, DType dtype, Type *type) {
    Dim dim[MAX_RANK];
    if (list.kind == VALUE_unknown) return false;
    if (list.kind != VALUE_list)
        return lower_fail(l, spot, "a shape like [n, 784] should stand here, not %s", kind_text(list.kind)), false;
    if (list.count > MAX_RANK)
        return lower_fail(l, spot, "a shape has at most %d axes, not %u", MAX_RANK, list.count), false;
    for (uint32_t i = 0; i < list.count; i++)
        if (!to_dim(l, spot, "the size of an axis", list.items[i], &dim[i])) return false;
    *type = type_make(dtype, list.count, dim);
    const char *problem = type_problem(*type);
    return problem ? lower_fail(l, spot, "the shape is %s: %s", type_text(l, *type), problem), false : true;
}

bool to_axis(Lower *l, Spot spot, Type type, Value value, uint32_t *axis) {
    double number;
    if (!to_number(l, spot, value, &number)) return false;
    double position = number < 0 ? number + type.rank : number;
    if (position >= 0 && position < type.rank && position == floor(position)) return *axis = (uint32_t)position, true;
    if (!type.rank)
        return lower_fail(l, spot, "%s has no axes, so there is no axis %g", type_text(l, type), number), false;
    return lower_fail(l, spot, "%s has no axis %g; its axes are 0 to %u, or -1 to -%u from the end", type_text(l, type),
                      number, type.rank - 1, type.rank),
           false;
}

bool to_axes(Lower *l, Spot spot, Type type, Value value, uint32_t *axes) {
    uint32_t axis, count = value.kind == VALUE_list ? value.count : 1;
    *axes = 0;
    if (value.kind == VALUE_unknown) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!to_axis(l, spot, type, value.kind == VALUE_list ? value.items[i] : value, &axis)) return false;
        if (*axes >> axis & 1) return lower_fail(l, spot, "axis %u is named twice", axis), false;
        *axes |= 1u << axis;
    }
    return true;
}
