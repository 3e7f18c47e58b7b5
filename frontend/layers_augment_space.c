/* Layers that choose other pixels at random: crops in another size, flips, turns, cutting out. What is drawn, and from
 * what, is as in torchvision (transforms.v2, for tensors). */
#include "frontend/augment.h"

#include <math.h>
#include <string.h>

/* ---- crops ---- */

enum { MOST_TAPS = 128 /* pixels along an axis that one pixel of the result is made of */ };

/* Along one axis, for each sample and each place of the result: which pixels it is made of, and how much of each. */
typedef struct {
    int64_t count, size;
    NodeId index, weight; /* i32 and f32[n, count, size] */
} Taps;

/* A triangle around each place, twice as wide as a pixel of the result, or of the picture if that is wider, and cut
 * off at the part's border (torchvision's bilinear resizing with antialias; Keys's kernel family of order 1). */
static Taps taps_of(Lower *l, Dim n, NodeId start, NodeId extent, int64_t size, int64_t count) {
    Graph *g = l->g;
    Type type = type_make(DTYPE_f32, 3, (Dim[]){n, count, size});
    NodeId scale = node_scale(l, extent, 1 / (double)size), reach = node_at_least(l, scale, 1);
    NodeId middle = node_binary(l, OP_mul, node_shift(l, build_iota(g, type, 2), 0.5), scale);
    NodeId first = node_floor(l, node_shift(l, node_binary(l, OP_sub, middle, reach), 0.5));
    NodeId pixel = node_add(l, first, build_iota(g, type, 1));
    NodeId away = node_unary(l, OP_abs, node_sub(l, node_shift(l, pixel, 0.5), middle));
    NodeId height = node_shift(l, node_unary(l, OP_neg, node_binary(l, OP_div, away, reach)), 1);
    NodeId last = node_shift(l, extent, -1),
           inside = build_binary(g, OP_min, node_at_least(l, pixel, 0), spread_to(l, last, type));
    NodeId is_inside = build_binary(g, OP_equal, inside, pixel);
    NodeId weight = build_select(g, is_inside, node_at_least(l, height, 0), build_like(g, height, 0));
    weight = node_binary(l, OP_div, weight, build_sum(g, weight, 1u << 1));
    return (Taps){count, size, node_whole(l, node_binary(l, OP_add, inside, start)), weight};
}

/* The most pixels that a triangle may see when `whole` become `size`. */
static int64_t taps_needed(int64_t whole, int64_t size) {
    return whole <= size ? 2 : (int64_t)ceil(2 * (double)whole / (double)size);
}

/* Tap t of a table as [n, size, 1] or [n, 1, size]. */
static NodeId tap(Lower *l, NodeId table, int64_t t, bool as_rows) {
    Type type = value_type(l, table), one = type;
    one.dim[1] = 1;
    NodeId row = build_slice(l->g, table, one, (int64_t[]){0, t, 0}, (int64_t[]){1, 1, 1});
    return as_rows ? build_reshape(l->g, row, 3, (Dim[]){type.dim[0], type.dim[2], 1}) : row;
}

/* x[n, a, b] with axis 1 or 2 resampled. */
static NodeId resampled(Lower *l, NodeId x, const Taps *taps, uint32_t axis) {
    Type type = value_type(l, x);
    NodeId sum = NO_NODE;
    type.dim[axis] = taps->size;
    for (int64_t t = 0; t < taps->count; t++) {
        NodeId index = spread_to(l, tap(l, taps->index, t, axis == 1), type_with_dtype(type, DTYPE_i32));
        NodeId part = node_binary(l, OP_mul, build_gather(l->g, x, index, axis), tap(l, taps->weight, t, axis == 1));
        sum = sum == NO_NODE ? part : node_add(l, sum, part);
    }
    return sum;
}

/* First rows are mixed, where the channels of a row still lie side by side; then columns, plane by plane. */
static Planes part_resized(const Planes *planes, NodeId x, const Part *part, const int64_t size[2]) {
    Lower *l = planes->l;
    Dim n = planes->n;
    int64_t channels = planes->channels;
    Taps rows = taps_of(l, n, part->top, part->height, size[0], taps_needed(planes->height, size[0]));
    Taps columns = taps_of(l, n, part->left, part->width, size[1], taps_needed(planes->width, size[1]));
    x = build_reshape(l->g, x, 3, (Dim[]){n, planes->height, planes->width * channels});
    x = build_reshape(l->g, resampled(l, x, &rows, 1), 4, (Dim[]){n, size[0], planes->width, channels});
    Planes y = planes_like(planes, size[0], size[1]);
    Type one = type_make(DTYPE_f32, 4, (Dim[]){n, size[0], planes->width, 1});
    for (int64_t c = 0; c < channels; c++) {
        NodeId plane = channels == 1 ? x : build_slice(l->g, x, one, (int64_t[]){0, 0, 0, c}, (int64_t[]){1, 1, 1, 1});
        y.plane[c] = resampled(l, build_drop_axes(l->g, plane, 1u << 3), &columns, 2);
    }
    return y;
}

/* Height and width of the picture in its box, at the top left: of the whole box without a second input. */
static bool true_sizes(LayerCall *call, const Planes *planes, NodeId size[2]) {
    Lower *l = call->l;
    double whole[2] = {(double)planes->height, (double)planes->width};
    for (int i = 0; i < 2; i++) size[i] = sample_constant(l, planes->n, whole[i]);
    if (call->input_count < 2) return true;
    if (!to_float(l, call->spot, &call->inputs[1])) return false;
    NodeId given = call->inputs[1].node;
    Type type = value_type(l, given), one = type_make(DTYPE_f32, 2, (Dim[]){planes->n, 1});
    if (type.rank != 2 || type.dim[0] != planes->n || type.dim[1] != 2)
        return lower_fail(l, call->spot,
                          "\"%s\": the sizes of the pictures are %s, but must be [n, 2]: height and width",
                          call->layer->info->name, type_text(l, type)),
               false;
    for (int64_t i = 0; i < 2; i++) {
        NodeId side = build_slice(l->g, given, one, (int64_t[]){0, i}, (int64_t[]){1, 1});
        side = build_reshape(l->g, side, 3, (Dim[]){planes->n, 1, 1});
        size[i] = node_at_most(l, node_at_least(l, side, 1), whole[i]);
    }
    return true;
}

/* Where nothing fits in ten tries: as much of the middle as the ratios allow. */
static Part middle_part(Lower *l, NodeId height, NodeId width, const double ratio[2]) {
    Part part;
    NodeId widest = node_round(l, node_scale(l, height, ratio[1])),
           highest = node_round(l, node_scale(l, width, 1 / ratio[0]));
    part.width = build_binary(l->g, OP_min, width, node_at_least(l, widest, 1));
    part.height = build_binary(l->g, OP_min, height, node_at_least(l, highest, 1));
    part.top = node_floor(l, node_scale(l, node_sub(l, height, part.height), 0.5));
    part.left = node_floor(l, node_scale(l, node_sub(l, width, part.width), 0.5));
    return part;
}

static Part part_where(Lower *l, NodeId condition, Part yes, Part no) {
    return (Part){node_where(l, condition, yes.top, no.top), node_where(l, condition, yes.left, no.left),
                  node_where(l, condition, yes.height, no.height), node_where(l, condition, yes.width, no.width)};
}

/* A range of numbers above 0, in order. */
static bool option_part(const LayerCall *call, const char *key, double least, double most, const double standard[2],
                        double range[2]) {
    bool is_range;
    range[0] = standard[0], range[1] = standard[1];
    return !option_json(call, key) || option_range(call, key, least, most, range, &is_range);
}

Value layer_random_resized_crop(LayerCall *call) {
    Lower *l = call->l;
    Planes planes;
    PartRange range = {0};
    int64_t size[2];
    NodeId x, whole[2], found;
    if (!option_pair(call, "size", 1, LARGEST_SIDE, size) ||
        !option_part(call, "scale", 1e-4, 1, (double[]){0.08, 1}, range.scale) ||
        !option_part(call, "ratio", 1e-3, 1e3, (double[]){3.0 / 4, 4.0 / 3}, range.ratio) ||
        !picture_of(call, &planes, &x) || !true_sizes(call, &planes, whole))
        return value_unknown();
    if (taps_needed(planes.height, size[0]) > MOST_TAPS || taps_needed(planes.width, size[1]) > MOST_TAPS)
        return lower_fail(l, call->spot,
                          "\"%s\": pictures may shrink to a %dth at most, but %lldx%lld become %lldx%lld",
                          call->layer->info->name, MOST_TAPS / 2, (long long)planes.height, (long long)planes.width,
                          (long long)size[0], (long long)size[1]);
    Part part = part_drawn(l, planes.n, whole[0], whole[1], &range, &found);
    part = part_where(l, found, part, middle_part(l, whole[0], whole[1], range.ratio));
    Planes y = part_resized(&planes, x, &part, size);
    return planes_joined(&y);
}

/* ---- flips ---- */

static bool is_vertical(const LayerCall *call) {
    const Json *axis = option_json(call, "axis");
    return axis && !strcmp(axis->text, "vertical");
}

Value layer_random_flip(LayerCall *call) {
    Planes x;
    double p;
    if (!option_number(call, "p", 0, 1, &p) || !planes_of(call, &x)) return value_unknown();
    Planes flipped = planes_like(&x, x.height, x.width), y;
    int64_t start[3] = {0}, step[3] = {1, 1, 1};
    uint32_t axis = is_vertical(call) ? 1 : 2;
    start[axis] = planes_type(&x).dim[axis] - 1;
    step[axis] = -1;
    for (uint32_t c = 0; c < x.channels; c++)
        flipped.plane[c] = build_slice(x.l->g, x.plane[c], planes_type(&x), start, step);
    y = planes_where(&flipped, &x, sample_chance(x.l, x.n, p));
    return planes_joined(&y);
}

/* The middle of pictures: where they are smaller than that, zeros stand around them. As torchvision, which rounds the
 * half of an odd difference to even. */
Value layer_center_crop(LayerCall *call) {
    Lower *l = call->l;
    Planes planes;
    NodeId x;
    int64_t size[2], start[4] = {0}, before[4] = {0};
    if (!option_pair(call, "size", 1, LARGEST_SIDE, size) || !picture_of(call, &planes, &x)) return value_unknown();
    Type type = value_type(l, x), wide = type;
    for (int i = 0; i < 2; i++) {
        int64_t side = type.dim[1 + i], missing = size[i] > side ? size[i] - side : 0;
        before[1 + i] = missing / 2;
        wide.dim[1 + i] += missing;
        start[1 + i] = (int64_t)rint((double)(wide.dim[1 + i] - size[i]) / 2);
        type.dim[1 + i] = size[i];
    }
    x = build_pad(l->g, x, wide, before, 0);
    return picture_result(&planes, build_slice(l->g, x, type, start, (int64_t[]){1, 1, 1, 1}));
}

/* ---- turns ---- */

/* Pixels of a plane one after the other, [n, height * width], taken at row * width + column. */
static NodeId taken(Lower *l, NodeId plane, NodeId row, NodeId column) {
    Type type = value_type(l, plane);
    Dim flat[2] = {type.dim[0], type.dim[1] * type.dim[2]};
    NodeId place = node_add(l, node_scale(l, row, (double)type.dim[2]), column);
    NodeId index = build_reshape(l->g, node_whole(l, place), 2, flat);
    NodeId pixels = build_gather(l->g, build_reshape(l->g, plane, 2, flat), index, 1);
    return build_reshape(l->g, pixels, 3, type.dim);
}

/* A pixel of the turned picture: where it comes from, and how much of it the neighbour in each direction has. */
typedef struct {
    NodeId row, column, part_row, part_column; /* row and column: whole numbers */
} Source;

/* The plane at whole places, `fill` outside. */
static NodeId taken_inside(Lower *l, NodeId plane, NodeId row, NodeId column, double fill) {
    Graph *g = l->g;
    Type type = value_type(l, plane);
    NodeId inside[2], at[2] = {row, column}, kept[2];
    for (int i = 0; i < 2; i++) {
        kept[i] = node_at_most(l, node_at_least(l, at[i], 0), (double)(type.dim[1 + i] - 1));
        inside[i] = build_binary(g, OP_equal, kept[i], at[i]);
    }
    NodeId pixel = taken(l, plane, kept[0], kept[1]);
    return build_select(g, build_binary(g, OP_and, inside[0], inside[1]), pixel, build_like(g, pixel, fill));
}

static NodeId mixed(Lower *l, NodeId a, NodeId b, NodeId share) {
    return node_add(l, a, node_mul(l, node_sub(l, b, a), share));
}

static NodeId sampled(Lower *l, NodeId plane, const Source *at, double fill) {
    NodeId below = node_shift(l, at->row, 1), right = node_shift(l, at->column, 1);
    NodeId upper = mixed(l, taken_inside(l, plane, at->row, at->column, fill),
                         taken_inside(l, plane, at->row, right, fill), at->part_column);
    NodeId lower = mixed(l, taken_inside(l, plane, below, at->column, fill), taken_inside(l, plane, below, right, fill),
                         at->part_column);
    return mixed(l, upper, lower, at->part_row);
}

/* Around the middle, against the clock by `angle` radians: each place of the result is turned back. */
static Source turned_back(Lower *l, const Planes *x, NodeId angle) {
    Type type = planes_type(x);
    double middle[2] = {(double)(x->height - 1) / 2, (double)(x->width - 1) / 2};
    NodeId y = node_shift(l, build_iota(l->g, type, 1), -middle[0]),
           right = node_shift(l, build_iota(l->g, type, 2), -middle[1]);
    NodeId cosine = spread_to(l, node_unary(l, OP_cos, angle), type),
           sine = spread_to(l, node_unary(l, OP_sin, angle), type);
    NodeId row = node_add(l, node_mul(l, right, sine), node_mul(l, y, cosine));
    NodeId column = node_sub(l, node_mul(l, right, cosine), node_mul(l, y, sine));
    row = node_shift(l, row, middle[0]);
    column = node_shift(l, column, middle[1]);
    Source at = {.row = node_floor(l, row), .column = node_floor(l, column)};
    at.part_row = node_sub(l, row, at.row);
    at.part_column = node_sub(l, column, at.column);
    return at;
}

Value layer_random_rotation(LayerCall *call) {
    Lower *l = call->l;
    Planes x;
    double range[2], fill;
    bool is_list;
    if (!option_range(call, "degrees", -3600, 3600, range, &is_list) ||
        !option_number(call, "fill", -1e6, 1e6, &fill) || !planes_of(call, &x))
        return value_unknown();
    if (!is_list) range[1] = fabs(range[1]), range[0] = -range[1];
    NodeId angle = node_scale(l, sample_uniform(l, x.n, range), acos(-1) / 180);
    Source at = turned_back(l, &x, angle);
    Planes y = planes_like(&x, x.height, x.width);
    for (uint32_t c = 0; c < x.channels; c++) y.plane[c] = sampled(l, x.plane[c], &at, fill);
    return planes_joined(&y);
}

/* One number for each sample: f32[n,1,1], from the layer's second input. */
static bool turns_given(LayerCall *call, const Planes *x, NodeId *turns) {
    Lower *l = call->l;
    Value *given = &call->inputs[1];
    if (!to_tensor(l, call->spot, given)) return false;
    Type type = value_type(l, given->node);
    bool is_whole = type.dtype == DTYPE_i32 || type.dtype == DTYPE_i64 || type.dtype == DTYPE_u8;
    if (!is_whole || type.rank != 1 || type.dim[0] != x->n)
        return lower_fail(l, call->spot, "\"%s\": the turns are %s, but must be whole numbers, one for each picture",
                          call->layer->info->name, type_text(l, type)),
               false;
    NodeId whole = build_cast(l->g, given->node, DTYPE_i32);
    whole = build_binary(l->g, OP_and, whole, build_like(l->g, whole, 3)); /* modulo 4, of negative ones, too */
    *turns = build_reshape(l->g, build_cast(l->g, whole, DTYPE_f32), 3, (Dim[]){x->n, 1, 1});
    return true;
}

Value layer_quarter_turns(LayerCall *call) {
    Lower *l = call->l;
    Graph *g = l->g;
    Planes x;
    NodeId turns;
    if (!planes_of(call, &x) || !turns_given(call, &x, &turns)) return value_unknown();
    if (x.height != x.width)
        return lower_fail(l, call->spot, "\"%s\": pictures must be square to fit again after a turn, but are %lldx%lld",
                          call->layer->info->name, (long long)x.height, (long long)x.width);
    Type type = planes_type(&x);
    NodeId count = spread_to(l, turns, type), y = build_iota(g, type, 1), right = build_iota(g, type, 2);
    NodeId up = node_shift(l, node_unary(l, OP_neg, y), (double)(x.height - 1));
    NodeId left = node_shift(l, node_unary(l, OP_neg, right), (double)(x.width - 1));
    const NodeId from_row[4] = {y, right, up, left}, from_column[4] = {right, up, left, y};
    NodeId row = from_row[3], column = from_column[3];
    for (int k = 2; k >= 0; k--) {
        NodeId is_here = build_binary(g, OP_equal, count, build_like(g, count, k));
        row = build_select(g, is_here, from_row[k], row);
        column = build_select(g, is_here, from_column[k], column);
    }
    Planes result = planes_like(&x, x.height, x.width);
    for (uint32_t c = 0; c < x.channels; c++) result.plane[c] = taken(l, x.plane[c], row, column);
    return planes_joined(&result);
}

/* ---- cutting out ---- */

Value layer_cutout(LayerCall *call) {
    Lower *l = call->l;
    Planes planes;
    PartRange range = {.turned = true, .is_proper = true};
    NodeId x, found;
    double p, value;
    if (!option_number(call, "p", 0, 1, &p) || !option_number(call, "value", -1e6, 1e6, &value) ||
        !option_part(call, "scale", 1e-4, 1, (double[]){0.02, 0.33}, range.scale) ||
        !option_part(call, "ratio", 1e-3, 1e3, (double[]){0.3, 3.3}, range.ratio) || !picture_of(call, &planes, &x))
        return value_unknown();
    NodeId applies = sample_chance(l, planes.n, p);
    Part part = part_drawn(l, planes.n, sample_constant(l, planes.n, (double)planes.height),
                           sample_constant(l, planes.n, (double)planes.width), &range, &found);
    if (applies != NO_NODE) found = build_binary(l->g, OP_and, found, applies);
    NodeId is_cut = part_holds(l, &planes, &part);
    found = build_reshape(l->g, found, 4, (Dim[]){planes.n, 1, 1, 1});
    is_cut = build_binary(l->g, OP_and, is_cut, node_spread(l, found, is_cut));
    return picture_result(&planes, node_where(l, is_cut, build_like(l->g, x, value), x));
}
