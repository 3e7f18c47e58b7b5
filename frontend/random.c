/* Random numbers. Every call site that is lowered takes the next stream, so the numbers are a function of
 * (seed, step, stream, sample, element) and of nothing else.
 *
 * What is drawn for a batch is counted within each sample, whose number in the data set is an input: a sample gets
 * its numbers wherever it stands in a batch. Tensors without the batch as first axis are counted as a whole. Several
 * views of a batch, one after the other along the first axis, are samples of their own: their numbers are moved apart.
 */
#include "frontend/functions.h"

#include <string.h>

/* The view is in the upper four bits of a sample's number, so numbers below 2^28 stay apart. */
enum { KEY_SIZE = 3, MOST_VIEWS = 16, VIEW_SHIFT = 28 };

static NodeId data_input(Lower *l, const char *name, Dim size) {
    for (uint32_t i = 0; i < l->g->input_count; i++)
        if (!strcmp(l->g->inputs[i].name, name))
            return graph_add(l->g, (Node){.op = OP_input, .type = l->g->inputs[i].type, .attr.index = i});
    return build_input(l->g, name, INPUT_data, type_make(DTYPE_i32, 1, (Dim[]){size}), (Init){0});
}

NodeId random_key(Lower *l) { return data_input(l, "$key", KEY_SIZE); }
NodeId random_sample(Lower *l) { return data_input(l, "$sample", l->n); }

NodeId random_step(Lower *l) {
    Type one = type_make(DTYPE_i32, 1, (Dim[]){1});
    NodeId step = build_slice(l->g, random_key(l), one, (int64_t[]){2}, (int64_t[]){1});
    return node_shift(l, build_cast(l->g, build_drop_axes(l->g, step, 1), DTYPE_f32), 1);
}

NodeId random_samples(Lower *l, Type type) {
    Dim first = type.rank ? type.dim[0] : 1;
    bool is_batch = (first < 0) == (l->n < 0) && first % l->n == 0 && first / l->n <= MOST_VIEWS;
    if (!is_batch || !type.rank) return build_constant(l->g, type_make(DTYPE_i32, 1, (Dim[]){1}), 0);
    NodeId sample = random_sample(l), all = sample;
    for (int64_t view = 1; view < first / l->n; view++) {
        NodeId moved = build_binary(l->g, OP_xor, sample,
                                    build_like(l->g, sample, (double)(int32_t)((uint32_t)view << VIEW_SHIFT)));
        all = build_concat(l->g, all, moved, 0);
    }
    return all;
}

/* 24 random bits an element: as many as f32 can tell apart. */
static NodeId random_bits(Lower *l, Type like, uint32_t stream, uint32_t word) {
    NodeId bits = build_random(l->g, like, random_key(l), random_samples(l, like), stream, word);
    return build_binary(l->g, OP_shift_right, bits, build_like(l->g, bits, 8));
}

NodeId random_uniform(Lower *l, Type like) {
    return node_scale(l, build_cast(l->g, random_bits(l, like, l->streams++, 0), DTYPE_f32), 0x1p-24);
}

/* Box and Muller's transform. The first uniform number is in (0, 1], so its logarithm is finite. */
NodeId random_normal(Lower *l, Type like) {
    uint32_t stream = l->streams++;
    NodeId first = build_cast(l->g, random_bits(l, like, stream, 0), DTYPE_f32);
    NodeId second = build_cast(l->g, random_bits(l, like, stream, 1), DTYPE_f32);
    NodeId radius = node_unary(
        l, OP_sqrt, node_scale(l, node_unary(l, OP_log, node_scale(l, node_shift(l, first, 1), 0x1p-24)), -2));
    return node_mul(l, radius, node_unary(l, OP_cos, node_scale(l, second, 0x1p-24 * 2 * 3.14159265358979323846)));
}

NodeId random_mask(Lower *l, Type like, double rate) {
    NodeId bits = random_bits(l, like, l->streams++, 0);
    return build_binary(l->g, OP_less, bits, build_like(l->g, bits, (double)(int64_t)(rate * 0x1p24 + 0.5)));
}

/* a + b * x, without the parts that change nothing. */
static Value moved(Lower *l, NodeId x, double a, double b) {
    if (b != 1) x = node_scale(l, x, b);
    return value_tensor(a != 0 ? node_shift(l, x, a) : x);
}

Value function_normal(Lower *l, Call *call) {
    double mean, deviation;
    if (!to_tensor(l, call->spots[0], &call->argument[0]) || !to_number(l, call->spots[1], call->argument[1], &mean) ||
        !to_number(l, call->spots[2], call->argument[2], &deviation))
        return value_unknown();
    return moved(l, random_normal(l, value_type(l, call->argument[0].node)), mean, deviation);
}

Value function_uniform(Lower *l, Call *call) {
    double low, high;
    if (!to_tensor(l, call->spots[0], &call->argument[0]) || !to_number(l, call->spots[1], call->argument[1], &low) ||
        !to_number(l, call->spots[2], call->argument[2], &high))
        return value_unknown();
    return moved(l, random_uniform(l, value_type(l, call->argument[0].node)), low, high - low);
}

/* 24 bits are shared out evenly enough: each number's probability is off by 2^-24 at most. */
Value function_random_int(Lower *l, Call *call) {
    Dim size;
    if (!to_tensor(l, call->spots[0], &call->argument[0]) ||
        !to_dim(l, call->spots[1], "'size'", call->argument[1], &size))
        return value_unknown();
    if (size < 0 || size > 1 << 24)
        return lower_fail(l, call->spots[1], "random_int: 'size' must be known before anything runs, and at most 2^24");
    Type like = type_with_dtype(value_type(l, call->argument[0].node), DTYPE_f32);
    NodeId number = node_scale(l, random_uniform(l, like), (double)size);
    number = build_binary(l->g, OP_min, number, build_like(l->g, number, (double)(size - 1)));
    return value_tensor(build_cast(l->g, number, DTYPE_i32));
}
