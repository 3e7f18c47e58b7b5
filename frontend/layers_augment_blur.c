/* Gaussian blur with a width of chance, as torchvision's: along rows, then along columns, with the picture mirrored at
 * its borders (the border itself is not repeated). */
#include "frontend/augment.h"

enum { MOST_BLUR = 127 };

/* exp(-(k / sigma)^2 / 2) for k from -size/2 to size/2, with a sum of 1: f32[n, size, 1]. */
static NodeId bell(Lower *l, Dim n, NodeId sigma, int64_t size) {
    Type type = type_make(DTYPE_f32, 3, (Dim[]){n, size, 1});
    NodeId place = node_shift(l, build_iota(l->g, type, 1), -(double)(size / 2));
    NodeId distance = node_binary(l, OP_div, place, sigma);
    NodeId weight = node_unary(l, OP_exp, node_scale(l, node_mul(l, distance, distance), -0.5));
    return node_binary(l, OP_div, weight, build_sum(l->g, weight, 1u << 1));
}

/* Which pixel stands at each place of an axis that is mirrored at both ends, from `before` places in front of it on. */
static NodeId mirrored(Lower *l, Type one, uint32_t axis, int64_t places, int64_t before, int64_t last) {
    Type type = type_with_dtype(one, DTYPE_i32);
    type.dim[axis] = places;
    NodeId place = node_unary(l, OP_abs, node_shift(l, build_iota(l->g, type, axis), -(double)before));
    NodeId back = node_shift(l, node_unary(l, OP_neg, place), 2 * (double)last);
    return build_binary(l->g, OP_min, place, back);
}

static NodeId weight_of(Lower *l, NodeId weights, int64_t k, uint32_t rank) {
    Dim n = value_type(l, weights).dim[0], dim[4] = {n, 1, 1, 1};
    NodeId weight = build_slice(l->g, weights, sample_type(n), (int64_t[]){0, k, 0}, (int64_t[]){1, 1, 1});
    return build_reshape(l->g, weight, rank, dim);
}

static NodeId with_part(Lower *l, NodeId sum, NodeId part, NodeId weight) {
    part = node_binary(l, OP_mul, part, weight);
    return sum == NO_NODE ? part : node_add(l, sum, part);
}

static NodeId if_applied(Lower *l, NodeId applies, NodeId x) {
    return where_drawn(l, applies, x, build_like(l->g, x, 0));
}

/* Rows of a plane: with their mirrored ends side by side, so that each tap is a run of pixels. Nothing is done for
 * pictures that stay sharp. */
static NodeId blurred_across(Lower *l, NodeId plane, NodeId applies, NodeId weights, int64_t size) {
    Type type = value_type(l, plane), one = type_make(DTYPE_i32, 3, (Dim[]){1, 1, 1}), wide = type;
    NodeId sum = NO_NODE;
    wide.dim[2] += size - 1;
    NodeId place = mirrored(l, one, 2, wide.dim[2], size / 2, type.dim[2] - 1);
    NodeId padded =
        if_applied(l, applies, build_gather(l->g, plane, spread_to(l, place, type_with_dtype(wide, DTYPE_i32)), 2));
    for (int64_t k = 0; k < size; k++) {
        NodeId part = build_slice(l->g, padded, type, (int64_t[]){0, 0, k}, (int64_t[]){1, 1, 1});
        sum = with_part(l, sum, part, weight_of(l, weights, k, 3));
    }
    return if_applied(l, applies, sum);
}

/* Columns of pictures [n, height, width, channels]: each tap takes whole rows from where they are. */
static NodeId blurred_down(Lower *l, NodeId x, NodeId weights, int64_t size) {
    Type type = value_type(l, x), one = type_make(DTYPE_i32, type.rank, (Dim[]){1, 1, 1, 1}), rows = one;
    NodeId sum = NO_NODE, place = mirrored(l, one, 1, type.dim[1] + size - 1, size / 2, type.dim[1] - 1);
    rows.dim[1] = type.dim[1];
    for (int64_t k = 0; k < size; k++) {
        NodeId row = build_slice(l->g, place, rows, (int64_t[]){0, k, 0, 0}, (int64_t[]){1, 1, 1, 1});
        NodeId part = build_gather(l->g, x, spread_to(l, row, type_with_dtype(type, DTYPE_i32)), 1);
        sum = with_part(l, sum, part, weight_of(l, weights, k, type.rank));
    }
    return sum;
}

Value layer_gaussian_blur(LayerCall *call) {
    Lower *l = call->l;
    Spot spot;
    Planes x;
    double range[2] = {0.1, 2}, p;
    int64_t size[2];
    bool is_range;
    option_value(call, "size", &spot);
    if (!option_pair(call, "size", 1, MOST_BLUR, size) || !option_number(call, "p", 0, 1, &p) ||
        (option_json(call, "sigma") && !option_range(call, "sigma", 1e-3, 1e3, range, &is_range)) ||
        !planes_of(call, &x))
        return value_unknown();
    int64_t side[2] = {x.height, x.width};
    for (int i = 0; i < 2; i++)
        if (size[i] % 2 == 0 || size[i] / 2 >= side[i])
            return lower_fail(l, spot,
                              "'size' is %lld, but must be odd and less than twice the %lld pixels of the picture",
                              (long long)size[i], (long long)side[i]);
    NodeId applies = sample_chance(l, x.n, p), sigma = sample_uniform(l, x.n, range);
    NodeId across = bell(l, x.n, sigma, size[1]), down = bell(l, x.n, sigma, size[0]);
    Planes rows = planes_like(&x, x.height, x.width);
    for (uint32_t c = 0; c < x.channels; c++) rows.plane[c] = blurred_across(l, x.plane[c], applies, across, size[1]);
    NodeId sharp = planes_joined(&x).node, soft = blurred_down(l, planes_joined(&rows).node, down, size[0]);
    return value_tensor(where_drawn(l, applies, soft, sharp));
}
