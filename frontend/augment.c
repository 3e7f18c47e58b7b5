/* See augment.h. */
#include "frontend/augment.h"

#include <math.h>
#include <string.h>

bool picture_of(LayerCall *call, Planes *planes, NodeId *x) {
    Lower *l = call->l;
    Type type;
    if (!layer_input(call, 0, x, &type)) return false;
    bool is_picture = type.rank == 3 || type.rank == 4;
    for (uint32_t i = 1; i < type.rank; i++) is_picture &= type.dim[i] > 0 && type.dim[i] <= LARGEST_SIDE;
    if (!is_picture || (type.rank == 4 && type.dim[3] > MOST_CHANNELS))
        return lower_fail(l, call->spot,
                          "\"%s\" is applied to %s, but needs pictures [n, height, width, channels] of at most %d "
                          "channels, or [n, height, width] for one",
                          call->layer->info->name, type_text(l, type), MOST_CHANNELS),
               false;
    *planes = (Planes){.l = l,
                       .n = type.dim[0],
                       .height = type.dim[1],
                       .width = type.dim[2],
                       .channels = type.rank == 4 ? (uint32_t)type.dim[3] : 1,
                       .has_axis = type.rank == 4};
    planes->plane = arena_array(l->arena, NodeId, planes->channels);
    if (type.rank == 3) *x = build_reshape(l->g, *x, 4, (Dim[]){type.dim[0], type.dim[1], type.dim[2], 1});
    return true;
}

Value picture_result(const Planes *planes, NodeId x) {
    return value_tensor(planes->has_axis ? x : build_drop_axes(planes->l->g, x, 1u << 3));
}

bool planes_of(LayerCall *call, Planes *planes) {
    NodeId x;
    if (!picture_of(call, planes, &x)) return false;
    Graph *g = call->l->g;
    Type one = g->nodes[x].type;
    one.dim[3] = 1;
    for (int64_t c = 0; c < planes->channels; c++) {
        NodeId channel =
            planes->channels == 1 ? x : build_slice(g, x, one, (int64_t[]){0, 0, 0, c}, (int64_t[]){1, 1, 1, 1});
        planes->plane[c] = build_drop_axes(g, channel, 1u << 3);
    }
    return true;
}

Value planes_joined(const Planes *planes) {
    Graph *g = planes->l->g;
    NodeId all = NO_NODE;
    if (!planes->has_axis) return value_tensor(planes->plane[0]);
    for (uint32_t c = 0; c < planes->channels; c++) {
        NodeId channel = build_reshape(g, planes->plane[c], 4, (Dim[]){planes->n, planes->height, planes->width, 1});
        all = all == NO_NODE ? channel : build_concat(g, all, channel, 3);
    }
    return value_tensor(all);
}

Type planes_type(const Planes *planes) {
    return type_make(DTYPE_f32, 3, (Dim[]){planes->n, planes->height, planes->width});
}

Planes planes_like(const Planes *planes, int64_t height, int64_t width) {
    Planes result = *planes;
    result.height = height;
    result.width = width;
    result.plane = arena_array(planes->l->arena, NodeId, planes->channels);
    for (uint32_t c = 0; c < planes->channels; c++) result.plane[c] = NO_NODE;
    return result;
}

NodeId where_drawn(Lower *l, NodeId condition, NodeId yes, NodeId no) {
    if (condition == NO_NODE) return yes;
    Type type = value_type(l, yes);
    return node_where(l, build_reshape(l->g, condition, type.rank, (Dim[MAX_RANK]){type.dim[0], 1, 1, 1}), yes, no);
}

Planes planes_where(const Planes *yes, const Planes *no, NodeId condition) {
    Planes result = planes_like(yes, yes->height, yes->width);
    for (uint32_t c = 0; c < yes->channels; c++)
        result.plane[c] = where_drawn(yes->l, condition, yes->plane[c], no->plane[c]);
    return result;
}

/* The shares of ITU-R BT.601 as torchvision rounds them; where channels are no colours, their mean. */
NodeId planes_gray(const Planes *planes) {
    static const double colour[3] = {0.2989, 0.587, 0.114};
    Lower *l = planes->l;
    NodeId sum = NO_NODE;
    for (uint32_t c = 0; c < planes->channels; c++) {
        double share = planes_have_colour(planes) ? colour[c] : 1 / (double)planes->channels;
        NodeId part = share == 1 ? planes->plane[c] : node_scale(l, planes->plane[c], share);
        sum = sum == NO_NODE ? part : node_add(l, sum, part);
    }
    return sum;
}

Type sample_type(Dim n) { return type_make(DTYPE_f32, 3, (Dim[]){n, 1, 1}); }

NodeId sample_constant(Lower *l, Dim n, double value) { return build_constant(l->g, sample_type(n), value); }

/* low + (high - low) u */
static NodeId between(Lower *l, NodeId u, const double range[2]) {
    return node_shift(l, node_scale(l, u, range[1] - range[0]), range[0]);
}

NodeId sample_uniform(Lower *l, Dim n, const double range[2]) {
    return range[0] == range[1] ? sample_constant(l, n, range[0])
                                : between(l, random_uniform(l, sample_type(n)), range);
}

NodeId sample_chance(Lower *l, Dim n, double p) { return p == 1 ? NO_NODE : random_mask(l, sample_type(n), p); }

NodeId spread_to(Lower *l, NodeId a, Type type) { return build_broadcast(l->g, a, type); }

NodeId node_binary(Lower *l, OpKind op, NodeId a, NodeId b) { return build_binary(l->g, op, a, node_spread(l, b, a)); }

NodeId node_at_least(Lower *l, NodeId a, double least) {
    return build_binary(l->g, OP_max, a, build_like(l->g, a, least));
}
NodeId node_at_most(Lower *l, NodeId a, double most) {
    return build_binary(l->g, OP_min, a, build_like(l->g, a, most));
}

NodeId node_where(Lower *l, NodeId condition, NodeId yes, NodeId no) {
    return build_select(l->g, node_spread(l, condition, yes), yes, node_spread(l, no, yes));
}

NodeId node_floor(Lower *l, NodeId a) { return node_unary(l, OP_floor, a); }
NodeId node_round(Lower *l, NodeId a) { return node_floor(l, node_shift(l, a, 0.5)); }
NodeId node_whole(Lower *l, NodeId a) { return build_cast(l->g, a, DTYPE_i32); }

/* ---- parts of pictures ---- */

enum { TRIES = 10 };

/* For each sample, the value of the try that was chosen: the only one whose score is the best. */
static NodeId of_chosen(Lower *l, NodeId is_chosen, NodeId value) {
    return build_sum(l->g, build_select(l->g, is_chosen, value, build_like(l->g, value, 0)), 1u << 1);
}

/* Where a part of `size` may begin in `whole`: any whole number from 0 to their difference. */
static NodeId place_drawn(Lower *l, NodeId whole, NodeId size) {
    NodeId room = node_sub(l, whole, size), u = random_uniform(l, value_type(l, room));
    NodeId place = node_floor(l, node_mul(l, u, node_shift(l, room, 1)));
    return build_binary(l->g, OP_min, place, room);
}

Part part_drawn(Lower *l, Dim n, NodeId height, NodeId width, const PartRange *range, NodeId *found) {
    Graph *g = l->g;
    Type tries = type_make(DTYPE_f32, 3, (Dim[]){n, TRIES, 1});
    double log_ratio[2] = {log(range->ratio[0]), log(range->ratio[1])};
    NodeId all_height = spread_to(l, height, tries), all_width = spread_to(l, width, tries);
    NodeId area = node_mul(l, node_mul(l, all_height, all_width), between(l, random_uniform(l, tries), range->scale));
    NodeId ratio = node_unary(l, OP_exp, between(l, random_uniform(l, tries), log_ratio));
    NodeId longer = node_round(l, node_unary(l, OP_sqrt, node_mul(l, area, ratio)));
    NodeId shorter = node_round(l, node_unary(l, OP_sqrt, node_div(l, area, ratio)));
    NodeId h = range->turned ? longer : shorter, w = range->turned ? shorter : longer;
    double room = range->is_proper ? 0 : 1; /* h < height + 1 is h <= height */
    NodeId fits = build_binary(g, OP_and, build_binary(g, OP_less, h, node_shift(l, all_height, room)),
                               build_binary(g, OP_less, w, node_shift(l, all_width, room)));
    NodeId is_some = build_binary(g, OP_less, build_like(g, h, 0), build_binary(g, OP_min, h, w));
    fits = build_binary(g, OP_and, fits, is_some);

    NodeId score =
        build_binary(g, OP_sub, build_like(g, h, TRIES), build_iota(g, tries, 1)); /* of earlier ones higher */
    score = build_select(g, fits, score, build_like(g, score, 0));
    NodeId best = build_reduce_max(g, score, 1u << 1);
    NodeId is_chosen = build_binary(g, OP_and, fits, build_binary(g, OP_equal, score, spread_to(l, best, tries)));
    Part part = {.height = of_chosen(l, is_chosen, h), .width = of_chosen(l, is_chosen, w)};
    part.top = place_drawn(l, height, part.height);
    part.left = place_drawn(l, width, part.width);
    *found = build_binary(g, OP_less, build_like(g, best, 0), best);
    return part;
}

NodeId part_holds(Lower *l, const Planes *x, const Part *part) {
    Type type = type_make(DTYPE_f32, 4, (Dim[]){x->n, x->height, x->width, 1});
    const NodeId first[2] = {part->top, part->left}, size[2] = {part->height, part->width};
    NodeId inside = NO_NODE;
    for (uint32_t i = 0; i < 2; i++) {
        NodeId from = spread_to(l, build_reshape(l->g, first[i], 4, (Dim[]){x->n, 1, 1, 1}), type);
        NodeId past =
            spread_to(l, build_reshape(l->g, node_add(l, first[i], size[i]), 4, (Dim[]){x->n, 1, 1, 1}), type);
        NodeId place = build_iota(l->g, type, 1 + i);
        NodeId here = build_binary(l->g, OP_less, place, past);
        here = build_binary(l->g, OP_and, here, node_unary(l, OP_not, build_binary(l->g, OP_less, place, from)));
        inside = i ? build_binary(l->g, OP_and, inside, here) : here;
    }
    return inside;
}
