/* What every operation means: one plain loop each, in double precision, slow and obviously right.
 *
 * Elements are doubles whatever their type. Integer arithmetic goes through uint64_t and wraps at its width, so i32 is
 * exact; an i64 beyond 2^53 loses low bits between operations, because a double cannot hold it. f32 arithmetic is not
 * rounded, so that finite differences work; conversions into a type that holds less than its source are. */
#include "ir/eval.h"

#include <math.h>
#include <string.h>

typedef struct {
    int64_t size[MAX_RANK];
    uint32_t rank;
    int64_t elements;
} Shape;

static Shape shape_at(Type type, int64_t n) {
    Shape shape = {.rank = type.rank, .elements = 1};
    for (uint32_t i = 0; i < type.rank; i++) {
        shape.size[i] = dim_at(type.dim[i], n);
        shape.elements *= shape.size[i];
    }
    return shape;
}

static void position_of(const Shape *shape, int64_t element, int64_t at[MAX_RANK]) {
    for (uint32_t i = shape->rank; i--; element /= shape->size[i]) at[i] = element % shape->size[i];
}

/* Row-major; axes of size 1 stay at 0, whatever `at` says. */
static int64_t element_at(const Shape *shape, const int64_t at[MAX_RANK]) {
    int64_t element = 0;
    for (uint32_t i = 0; i < shape->rank; i++) element = element * shape->size[i] + (shape->size[i] == 1 ? 0 : at[i]);
    return element;
}

/* Towards zero; what does not fit becomes the nearest that does; NaN becomes 0. */
static int64_t whole(double value) {
    if (isnan(value)) return 0;
    if (value >= 0x1p63) return INT64_MAX;
    if (value < -0x1p63) return INT64_MIN;
    return (int64_t)value;
}

static uint64_t bits_of(double value) { return (uint64_t)whole(value); }

static double wrap(DType dtype, uint64_t bits) {
    if (dtype == DTYPE_i64) return (double)(int64_t)bits;
    if (dtype == DTYPE_bool) return (double)(bits & 1);
    return (double)(int32_t)(uint32_t)bits;
}

static int width(DType dtype) { return dtype == DTYPE_i64 ? 64 : 32; }

static double shift_left(DType dtype, double a, double b) {
    return wrap(dtype, bits_of(a) << (bits_of(b) % (uint64_t)width(dtype)));
}

static double shift_right(DType dtype, double a, double b) {
    uint64_t bits = dtype == DTYPE_i64 ? bits_of(a) : (uint32_t)bits_of(a);
    return wrap(dtype, bits >> (bits_of(b) % (uint64_t)width(dtype)));
}

static double larger(double a, double b) { return isnan(a) || a > b ? a : b; }
static double smaller(double a, double b) { return isnan(a) || a < b ? a : b; }

/* To the nearest number with `digits` binary digits behind the first one, to even in the middle. */
static double round_float(double value, int digits, int least_exponent, double largest) {
    if (!isfinite(value) || value == 0) return value;
    int exponent = ilogb(value);
    int unit = (exponent < least_exponent ? least_exponent : exponent) - digits;
    double rounded = ldexp(nearbyint(ldexp(value, -unit)), unit);
    return fabs(rounded) > largest ? copysign(INFINITY, value) : rounded;
}

static double clamp(double value, double least, double most) {
    double cut = (double)whole(value);
    return cut < least ? least : cut > most ? most : cut;
}

/* value as an element of `dtype` */
static double stored_as(DType dtype, double value) {
    switch (dtype) {
    case DTYPE_f32: return (double)(float)value;
    case DTYPE_bf16: return round_float((double)(float)value, 7, -126, 0x1.FEp127);
    case DTYPE_f16: return round_float((double)(float)value, 10, -14, 65504);
    case DTYPE_i8: return clamp(value, INT8_MIN, INT8_MAX);
    case DTYPE_u8: return clamp(value, 0, UINT8_MAX);
    case DTYPE_i32: return clamp(value, INT32_MIN, INT32_MAX);
    case DTYPE_i64: return (double)whole(value);
    case DTYPE_bool: return value != 0;
    }
    return value;
}

static double cast(DType from, DType to, double value) {
    return from == DTYPE_f32 && to == DTYPE_f32 ? value : stored_as(to, value);
}

/* A constant of a narrow type is rounded to it; f32 is not, like all f32 values here. */
static double constant(DType dtype, double value) { return cast(DTYPE_f32, dtype, value); }

/* Philox4x32-10 (Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011). */
void eval_philox(uint32_t counter[4], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)counter[0] * 0xD2511F53u, b = (uint64_t)counter[2] * 0xCD9E8D57u;
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ counter[1] ^ key0, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ counter[3] ^ key1, (uint32_t)a};
        memcpy(counter, next, sizeof next);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

/* One sample number: elements are counted in the whole tensor; else within each sample. */
static void eval_random(const Node *node, const Shape *shape, const Shape *samples, const double *key,
                        const double *sample, double *out) {
    int64_t in_sample = shape->elements / samples->elements;
    for (int64_t i = 0; i < shape->elements; i++) {
        uint32_t counter[4] = {(uint32_t)(i % in_sample), (uint32_t)bits_of(sample[i / in_sample]),
                               (uint32_t)bits_of(key[2]), node->attr.random.stream};
        eval_philox(counter, (uint32_t)bits_of(key[0]), (uint32_t)bits_of(key[1]));
        out[i] = (double)(int32_t)counter[node->attr.random.word];
    }
}

static void eval_transpose(const Node *node, const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK], source[MAX_RANK];
    for (int64_t i = 0; i < shape->elements; i++) {
        position_of(shape, i, at);
        for (uint32_t k = 0; k < shape->rank; k++) source[node->attr.permutation[k]] = at[k];
        out[i] = a[element_at(from, source)];
    }
}

static void eval_broadcast(const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK];
    for (int64_t i = 0; i < shape->elements; i++) {
        position_of(shape, i, at);
        out[i] = a[element_at(from, at)];
    }
}

static void eval_slice(const Node *node, const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK];
    for (int64_t i = 0; i < shape->elements; i++) {
        position_of(shape, i, at);
        for (uint32_t k = 0; k < shape->rank; k++) at[k] = node->attr.slice.start[k] + at[k] * node->attr.slice.step[k];
        out[i] = a[element_at(from, at)];
    }
}

static void eval_pad(const Node *node, const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK];
    double fill = constant(node->type.dtype, node->attr.pad.value);
    for (int64_t i = 0; i < shape->elements; i++) {
        bool inside = true;
        position_of(shape, i, at);
        for (uint32_t k = 0; k < shape->rank; k++) {
            at[k] -= node->attr.pad.before[k];
            inside &= at[k] >= 0 && at[k] < from->size[k];
        }
        out[i] = inside ? a[element_at(from, at)] : fill;
    }
}

static void eval_window(const Node *node, const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK];
    double fill = constant(node->type.dtype, node->attr.window.value);
    for (int64_t e = 0; e < shape->elements; e++) {
        bool inside = true;
        position_of(shape, e, at);
        for (int k = 0; k < 2; k++) {
            int64_t *place = &at[1 + k], tap = at[3 + k];
            *place = *place * node->attr.window.stride[k] + tap * node->attr.window.dilation[k];
            *place -= node->attr.window.before[k];
            inside &= *place >= 0 && *place < from->size[1 + k];
        }
        out[e] = inside ? a[element_at(from, at)] : fill;
    }
}

static void eval_unwindow(const Node *node, const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK];
    for (int64_t e = 0; e < shape->elements; e++) {
        bool inside = true;
        position_of(shape, e, at);
        for (int k = 0; k < 2; k++) {
            int64_t *place = &at[1 + k], tap = at[3 + k], stride = node->attr.window.stride[k];
            int64_t distance = *place + node->attr.window.before[k] - tap * node->attr.window.dilation[k];
            *place = distance / stride;
            inside &= distance >= 0 && distance % stride == 0 && *place < from->size[1 + k];
        }
        out[e] = inside ? a[element_at(from, at)] : 0;
    }
}

static void eval_concat(const Node *node, const Shape *shape, const Shape *from_a, const Shape *from_b, const double *a,
                        const double *b, double *out) {
    int64_t at[MAX_RANK];
    uint32_t axis = node->attr.axis;
    for (int64_t i = 0; i < shape->elements; i++) {
        position_of(shape, i, at);
        bool first = at[axis] < from_a->size[axis];
        if (!first) at[axis] -= from_a->size[axis];
        out[i] = first ? a[element_at(from_a, at)] : b[element_at(from_b, at)];
    }
}

static void eval_gather(const Node *node, const Shape *shape, const Shape *from, const double *a, const double *index,
                        double *out) {
    int64_t at[MAX_RANK], last = from->size[node->attr.axis] - 1;
    for (int64_t i = 0; i < shape->elements; i++) {
        position_of(shape, i, at);
        int64_t place = (int64_t)index[i];
        at[node->attr.axis] = place < 0 ? 0 : place > last ? last : place;
        out[i] = a[element_at(from, at)];
    }
}

static void eval_scatter_add(const Node *node, const Shape *shape, const Shape *from, const double *base,
                             const double *index, const double *updates, double *out) {
    int64_t at[MAX_RANK], last = shape->size[node->attr.axis] - 1;
    memcpy(out, base, (size_t)shape->elements * sizeof *out);
    for (int64_t i = 0; i < from->elements; i++) {
        position_of(from, i, at);
        int64_t place = (int64_t)index[i];
        at[node->attr.axis] = place < 0 ? 0 : place > last ? last : place;
        double *sum = &out[element_at(shape, at)];
        *sum = node->type.dtype == DTYPE_f32 ? *sum + updates[i]
                                             : wrap(node->type.dtype, bits_of(*sum) + bits_of(updates[i]));
    }
}

static void eval_sum(DType dtype, const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK];
    for (int64_t i = 0; i < from->elements; i++) {
        position_of(from, i, at);
        double *sum = &out[element_at(shape, at)];
        *sum = dtype == DTYPE_f32 ? *sum + a[i] : wrap(dtype, bits_of(*sum) + bits_of(a[i]));
    }
}

static void eval_reduce_max(const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK];
    for (int64_t i = 0; i < shape->elements; i++) out[i] = -INFINITY;
    for (int64_t i = 0; i < from->elements; i++) {
        position_of(from, i, at);
        double *most = &out[element_at(shape, at)];
        *most = larger(a[i], *most);
    }
}

static void eval_argmax(uint32_t axes, const Shape *shape, const Shape *from, const double *a, double *out) {
    int64_t at[MAX_RANK], places = from->elements / shape->elements;
    for (int64_t i = 0; i < shape->elements; i++) {
        double most = -INFINITY;
        position_of(shape, i, at);
        for (int64_t place = 0; place < places; place++) {
            int64_t rest = place;
            for (uint32_t axis = from->rank; axis-- > 0;) {
                if (!(axes >> axis & 1)) continue;
                at[axis] = rest % from->size[axis];
                rest /= from->size[axis];
            }
            double value = a[element_at(from, at)];
            if (value > most || isnan(value)) most = value, out[i] = (double)place;
        }
    }
}

static void eval_matmul(const Shape *shape, const Shape *from, const double *a, const double *b, double *out) {
    int64_t m = shape->size[shape->rank - 2], n = shape->size[shape->rank - 1], k = from->size[from->rank - 1];
    for (int64_t row = 0; row < shape->elements / n; row++) {
        const double *panel = b + row / m * k * n;
        for (int64_t j = 0; j < k; j++)
            for (int64_t i = 0; i < n; i++) out[row * n + i] += a[row * k + j] * panel[j * n + i];
    }
}

/* Every element of the result from `expression` in a[i], b[i], c[i]; the second form for types that wrap. */
#define EACH(expression)                                                    \
    do {                                                                    \
        for (int64_t i = 0; i < shape.elements; i++) out[i] = (expression); \
    } while (0)
#define EACH_WRAPPED(float_expression, bits) \
    do {                                     \
        if (dtype == DTYPE_f32)              \
            EACH(float_expression);          \
        else                                 \
            EACH(wrap(dtype, bits));         \
    } while (0)
#define A bits_of(a[i])
#define B bits_of(b[i])

static void eval_node(const Graph *graph, NodeId id, int64_t n, const double *const *inputs, double **values) {
    const Node *node = &graph->nodes[id];
    const uint32_t input_count = op_info[node->op].inputs;
    const double *a = input_count > 0 ? values[node->in[0]] : NULL;
    const double *b = input_count > 1 ? values[node->in[1]] : NULL;
    const double *c = input_count > 2 ? values[node->in[2]] : NULL;
    const Shape shape = shape_at(node->type, n);
    const Shape from_a = shape_at(graph->nodes[node->in[0]].type, n),
                from_b = shape_at(graph->nodes[node->in[1]].type, n);
    const DType dtype = input_count ? graph->nodes[node->in[0]].type.dtype : node->type.dtype;
    double *out = values[id];

    switch (node->op) {
    case OP_input: memcpy(out, inputs[node->attr.index], (size_t)shape.elements * sizeof *out); break;
    case OP_constant: EACH(constant(dtype, node->attr.value)); break;
    case OP_iota:
        for (int64_t i = 0; i < shape.elements; i++) {
            int64_t at[MAX_RANK];
            position_of(&shape, i, at);
            out[i] = (double)at[node->attr.axis];
        }
        break;
    case OP_random: eval_random(node, &shape, &from_b, a, b, out); break;
    case OP_neg: EACH_WRAPPED(-a[i], 0 - A); break;
    case OP_abs: EACH_WRAPPED(fabs(a[i]), a[i] < 0 ? 0 - A : A); break;
    case OP_sign: EACH(isnan(a[i]) ? a[i] : (a[i] > 0) - (a[i] < 0)); break;
    case OP_floor: EACH(floor(a[i])); break;
    case OP_exp: EACH(exp(a[i])); break;
    case OP_log: EACH(log(a[i])); break;
    case OP_sqrt: EACH(sqrt(a[i])); break;
    case OP_tanh: EACH(tanh(a[i])); break;
    case OP_sigmoid: EACH(1 / (1 + exp(-a[i]))); break;
    case OP_erf: EACH(erf(a[i])); break;
    case OP_sin: EACH(sin(a[i])); break;
    case OP_cos: EACH(cos(a[i])); break;
    case OP_not: EACH(wrap(dtype, ~A)); break;
    case OP_cast: EACH(cast(dtype, node->type.dtype, a[i])); break;
    case OP_stop_gradient: EACH(a[i]); break;
    case OP_add: EACH_WRAPPED(a[i] + b[i], A + B); break;
    case OP_sub: EACH_WRAPPED(a[i] - b[i], A - B); break;
    case OP_mul: EACH_WRAPPED(a[i] * b[i], A * B); break;
    case OP_div: EACH(a[i] / b[i]); break;
    case OP_max: EACH(larger(a[i], b[i])); break;
    case OP_min: EACH(smaller(a[i], b[i])); break;
    case OP_less: EACH(a[i] < b[i]); break;
    case OP_equal: EACH(a[i] == b[i]); break;
    case OP_and: EACH(wrap(dtype, A & B)); break;
    case OP_or: EACH(wrap(dtype, A | B)); break;
    case OP_xor: EACH(wrap(dtype, A ^ B)); break;
    case OP_shift_left: EACH(shift_left(dtype, a[i], b[i])); break;
    case OP_shift_right: EACH(shift_right(dtype, a[i], b[i])); break;
    case OP_select: EACH(a[i] != 0 ? b[i] : c[i]); break;
    case OP_broadcast: eval_broadcast(&shape, &from_a, a, out); break;
    case OP_reshape: EACH(a[i]); break;
    case OP_transpose: eval_transpose(node, &shape, &from_a, a, out); break;
    case OP_slice: eval_slice(node, &shape, &from_a, a, out); break;
    case OP_pad: eval_pad(node, &shape, &from_a, a, out); break;
    case OP_concat: eval_concat(node, &shape, &from_a, &from_b, a, b, out); break;
    case OP_window: eval_window(node, &shape, &from_a, a, out); break;
    case OP_unwindow: eval_unwindow(node, &shape, &from_a, a, out); break;
    case OP_gather: eval_gather(node, &shape, &from_a, a, b, out); break;
    case OP_scatter_add: eval_scatter_add(node, &shape, &from_b, a, b, c, out); break;
    case OP_sum: eval_sum(dtype, &shape, &from_a, a, out); break;
    case OP_reduce_max: eval_reduce_max(&shape, &from_a, a, out); break;
    case OP_argmax: eval_argmax(node->attr.axes, &shape, &from_a, a, out); break;
    case OP_matmul: eval_matmul(&shape, &from_a, a, b, out); break;
    case OP_attention_norm:
    case OP_attention:
    case OP_attention_dq:
    case OP_attention_dk:
    case OP_attention_dv: eval_attention(graph, node, n, values, out); break;
    case OP_gradient: BUG("%%%u: a gradient has no value before the autodiff pass", id);
    }
}

static double **eval_graph(const Graph *graph, int64_t n, const double *const *inputs, bool is_stored, Arena *arena) {
    CHECK(n >= 1);
    double **values = arena_array(arena, double *, graph->count);
    for (NodeId id = 0; id < graph->count; id++) {
        Type type = graph->nodes[id].type;
        int64_t elements = shape_at(type, n).elements;
        values[id] = arena_array(arena, double, elements);
        eval_node(graph, id, n, inputs, values);
        for (int64_t i = 0; is_stored && i < elements; i++) values[id][i] = stored_as(type.dtype, values[id][i]);
    }
    return values;
}

double **graph_eval(const Graph *graph, int64_t n, const double *const *inputs, Arena *arena) {
    return eval_graph(graph, n, inputs, false, arena);
}

double **graph_eval_stored(const Graph *graph, int64_t n, const double *const *inputs, Arena *arena) {
    return eval_graph(graph, n, inputs, true, arena);
}
