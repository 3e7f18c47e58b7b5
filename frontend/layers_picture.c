/* Layers on pictures [n, height, width, channels]: convolutions, pooling, padding, resizing.
 *
 * A grey picture may come without the axis of channels, as [n, height, width]: it has one. "same" pads so that with
 * stride 1 nothing changes size; what a stride leaves over falls off behind, as with PyTorch's padding = kernel / 2. */
#include "frontend/layers.h"
#include "ir/build_conv.h"

#include <math.h>
#include <string.h>

enum { LARGEST_SIZE = 1 << 16, LARGEST_RESIZED = 1 << 14 };

/* A picture and how a kernel moves over it. */
typedef struct {
    NodeId x;
    Type type; /* f32[n, height, width, channels] */
    int64_t kernel[2];
    Sliding sliding;
} Picture;

static bool picture_input(LayerCall *call, Picture *picture) {
    Lower *l = call->l;
    if (!layer_input(call, 0, &picture->x, &picture->type)) return false;
    Type type = picture->type;
    bool is_picture = type.rank == 3 || type.rank == 4;
    for (uint32_t i = 1; i < type.rank; i++) is_picture &= type.dim[i] > 0;
    if (!is_picture)
        return lower_fail(l, call->spot,
                          "\"%s\" is applied to %s, but needs pictures [n, height, width, channels], or [n, height, "
                          "width] for one channel",
                          call->layer->info->name, type_text(l, type)),
               false;
    if (type.rank == 3)
        picture->x = build_reshape(l->g, picture->x, 4, (Dim[]){type.dim[0], type.dim[1], type.dim[2], 1});
    picture->type = value_type(l, picture->x);
    return true;
}

/* Pads of each side from "same", "valid" (none) or numbers. `same` says how much "same" is. */
static bool option_padding(const LayerCall *call, const char *standard, const int64_t same[2], Sliding *sliding) {
    const Json *json = option_json(call, "padding");
    const char *word = !json ? standard : json->kind == JSON_text ? json->text : "";
    if (!strcmp(word, "valid")) return true;
    for (int axis = 0; axis < 2; axis++) {
        sliding->before[axis] = (int64_t)floor((double)same[axis] / 2);
        sliding->after[axis] = same[axis] - sliding->before[axis];
    }
    if (!strcmp(word, "same")) return true;
    return option_sides(call, "padding", 0, LARGEST_SIZE, sliding->before, sliding->after);
}

static bool convolution_options(LayerCall *call, Picture *picture) {
    Sliding *sliding = &picture->sliding;
    return option_pair(call, "size", 1, LARGEST_SIZE, picture->kernel) &&
           option_pair(call, "stride", 1, LARGEST_SIZE, sliding->stride) &&
           option_pair(call, "dilation", 1, LARGEST_SIZE, sliding->dilation) && picture_input(call, picture);
}

static bool pooling_options(LayerCall *call, Picture *picture) {
    Sliding *sliding = &picture->sliding;
    if (!option_pair(call, "size", 1, LARGEST_SIZE, picture->kernel)) return false;
    memcpy(sliding->stride, picture->kernel, sizeof sliding->stride);
    memcpy(sliding->dilation, (int64_t[]){1, 1}, sizeof sliding->dilation);
    if (option_json(call, "stride") && !option_pair(call, "stride", 1, LARGEST_SIZE, sliding->stride)) return false;
    return picture_input(call, picture);
}

/* How far the kernel reaches beyond its first element. */
static int64_t reach(const Picture *picture, int axis) {
    return (picture->kernel[axis] - 1) * picture->sliding.dilation[axis];
}

/* The padding of what slides over a picture, and that the kernel then fits. */
static bool sliding_padding(LayerCall *call, Picture *picture, const char *standard) {
    Lower *l = call->l;
    Sliding *sliding = &picture->sliding;
    if (!option_padding(call, standard, (int64_t[]){reach(picture, 0), reach(picture, 1)}, sliding)) return false;
    for (int axis = 0; axis < 2; axis++) {
        if (build_conv_places(picture->type.dim[1 + axis], picture->kernel[axis], sliding, axis) > 0) continue;
        return lower_fail(l, call->spot, "\"%s\": the kernel is %lld %s, but the padded picture %s only %lld",
                          call->layer->info->name, (long long)(reach(picture, axis) + 1), axis ? "wide" : "high",
                          type_text(l, picture->type),
                          (long long)(picture->type.dim[1 + axis] + sliding->before[axis] + sliding->after[axis])),
               false;
    }
    return true;
}

/* Channels on both sides must be cut into groups of one size. */
static bool option_groups(LayerCall *call, Dim in, Dim out, int64_t *groups) {
    Spot spot;
    option_value(call, "groups", &spot);
    if (!option_dim(call, "groups", groups)) return false;
    if (in % *groups == 0 && out % *groups == 0) return true;
    return lower_fail(call->l, spot, "%lld channels in and %lld out cannot be cut into %lld groups of one size",
                      (long long)in, (long long)out, (long long)*groups),
           false;
}

Value layer_conv2d(LayerCall *call) {
    Lower *l = call->l;
    Picture picture = {0};
    Dim units;
    int64_t groups;
    Init init;
    if (!option_dim(call, "units", &units) || !convolution_options(call, &picture) ||
        !sliding_padding(call, &picture, "same") || !option_groups(call, picture.type.dim[3], units, &groups))
        return value_unknown();
    int64_t height = picture.kernel[0], width = picture.kernel[1], channels = picture.type.dim[3] / groups;
    double taps = (double)(height * width), fan_in = taps * (double)channels;
    if (!option_init(call, "init", fan_in, taps * (double)(units / groups), &init)) return value_unknown();
    Type kernel = type_make(DTYPE_f32, 4, (Dim[]){height, width, channels, units});
    NodeId w = layer_weight(call, "weight", kernel, INPUT_parameter, init);
    if (w == NO_NODE) return value_unknown();
    Value y = value_tensor(build_conv2d(l->g, picture.x, w, &picture.sliding, groups));
    return layer_activated(call, layer_biased(call, y, units, init_uniform(1 / sqrt(fan_in))));
}

/* "same" makes each side `stride` times as long: what the kernel reaches beyond that is cut off, the odd element in
 * front; a kernel smaller than the stride leaves zeros behind. */
static bool transposed_padding(LayerCall *call, Picture *picture) {
    Sliding *sliding = &picture->sliding;
    int64_t surplus[2];
    for (int axis = 0; axis < 2; axis++) surplus[axis] = reach(picture, axis) + 1 - sliding->stride[axis];
    const Json *json = option_json(call, "padding");
    bool is_same = !json || (json->kind == JSON_text && !strcmp(json->text, "same"));
    if (!option_padding(call, "same", surplus, sliding)) return false;
    for (int axis = 0; axis < 2; axis++) {
        if (is_same) sliding->before[axis] = surplus[axis] > 0 ? (surplus[axis] + 1) / 2 : 0;
        if (is_same) sliding->after[axis] = surplus[axis] - sliding->before[axis];
        if (build_conv_spread(picture->type.dim[1 + axis], picture->kernel[axis], sliding, axis) > 0) continue;
        return lower_fail(call->l, call->spot, "\"%s\": the padding leaves nothing of %s", call->layer->info->name,
                          type_text(call->l, picture->type)),
               false;
    }
    return true;
}

Value layer_conv2d_transposed(LayerCall *call) {
    Lower *l = call->l;
    Picture picture = {0};
    Dim units;
    int64_t groups;
    Init init;
    if (!option_dim(call, "units", &units) || !convolution_options(call, &picture) ||
        !transposed_padding(call, &picture) || !option_groups(call, picture.type.dim[3], units, &groups))
        return value_unknown();
    int64_t height = picture.kernel[0], width = picture.kernel[1], channels = picture.type.dim[3];
    double taps = (double)(height * width), fan_in = taps * (double)(units / groups);
    if (!option_init(call, "init", fan_in, taps * (double)(channels / groups), &init)) return value_unknown();
    Type kernel = type_make(DTYPE_f32, 4, (Dim[]){height, width, units / groups, channels});
    NodeId w = layer_weight(call, "weight", kernel, INPUT_parameter, init);
    if (w == NO_NODE) return value_unknown();
    Value y = value_tensor(build_conv2d_transposed(l->g, picture.x, w, &picture.sliding, groups));
    return layer_activated(call, layer_biased(call, y, units, init_uniform(1 / sqrt(fan_in))));
}

/* A window that lies in the padding altogether would have nothing to choose from. */
static bool pooling(LayerCall *call, Picture *picture) {
    if (!pooling_options(call, picture) || !sliding_padding(call, picture, "valid")) return false;
    for (int axis = 0; axis < 2; axis++)
        if (picture->sliding.before[axis] >= picture->kernel[axis] ||
            picture->sliding.after[axis] >= picture->kernel[axis])
            return lower_fail(call->l, call->spot, "\"%s\": 'padding' must be less than 'size', %lld",
                              call->layer->info->name, (long long)picture->kernel[axis]),
                   false;
    return true;
}

Value layer_max_pool(LayerCall *call) {
    Picture picture = {0};
    if (!pooling(call, &picture)) return value_unknown();
    return value_tensor(build_max_pool(call->l->g, picture.x, picture.kernel, &picture.sliding));
}

Value layer_average_pool(LayerCall *call) {
    Picture picture = {0};
    bool count_pads = option_flag(call, "count_pads");
    if (!pooling(call, &picture)) return value_unknown();
    return value_tensor(build_average_pool(call->l->g, picture.x, picture.kernel, &picture.sliding, count_pads));
}

Value layer_global_pool(LayerCall *call) {
    Picture picture = {0};
    return picture_input(call, &picture) ? value_tensor(build_global_pool(call->l->g, picture.x)) : value_unknown();
}

/* Without what negative pads cut off. */
static NodeId cropped(Graph *g, NodeId x, const int64_t before[2], const int64_t after[2]) {
    Type to = g->nodes[x].type;
    int64_t start[4] = {0}, step[4] = {1, 1, 1, 1};
    for (int axis = 0; axis < 2; axis++) {
        start[1 + axis] = before[axis] < 0 ? -before[axis] : 0;
        to.dim[1 + axis] -= start[1 + axis] + (after[axis] < 0 ? -after[axis] : 0);
    }
    return build_slice(g, x, to, start, step);
}

Value layer_pad(LayerCall *call) {
    Lower *l = call->l;
    Picture picture = {0};
    int64_t before[2], after[2], all[4] = {0};
    double value;
    if (!option_sides(call, "padding", -LARGEST_SIZE, LARGEST_SIZE, before, after) ||
        !option_number(call, "value", -1e30, 1e30, &value) || !picture_input(call, &picture))
        return value_unknown();
    Type to = picture.type;
    for (int axis = 0; axis < 2; axis++) {
        to.dim[1 + axis] += before[axis] + after[axis];
        all[1 + axis] = before[axis] > 0 ? before[axis] : 0;
        if (to.dim[1 + axis] <= 0 || -before[axis] >= picture.type.dim[1 + axis] ||
            -after[axis] >= picture.type.dim[1 + axis])
            return lower_fail(l, call->spot, "\"pad\": the padding leaves nothing of %s", type_text(l, picture.type));
    }
    NodeId x = cropped(l->g, picture.x, before, after);
    return value_tensor(build_pad(l->g, x, to, all, value));
}

/* The size wanted, from "size" or "scale"; false after a message. */
static bool resized(LayerCall *call, Type from, int64_t size[2]) {
    double factor[2];
    bool has_size = option_json(call, "size"), has_scale = option_json(call, "scale");
    if (has_size == has_scale)
        return lower_fail(call->l, call->spot, "\"resize\" takes either \"size\" or \"scale\""), false;
    if (has_size && !option_pair(call, "size", 1, LARGEST_RESIZED, size)) return false;
    if (has_scale && !option_factors(call, "scale", 1.0 / LARGEST_RESIZED, LARGEST_RESIZED, factor)) return false;
    for (int axis = 0; axis < 2; axis++) {
        /* a factor like 1/3 may round to a little less */
        if (has_scale) size[axis] = (int64_t)floor((double)from.dim[1 + axis] * factor[axis] * (1 + 1e-12));
        if (size[axis] >= 1 && size[axis] <= LARGEST_RESIZED && from.dim[1 + axis] <= LARGEST_RESIZED) continue;
        return lower_fail(call->l, call->spot,
                          "\"resize\": %s cannot be made %lld pixels %s; from 1 to %d are possible",
                          type_text(call->l, from), (long long)size[axis], axis ? "wide" : "high", LARGEST_RESIZED),
               false;
    }
    return true;
}

Value layer_resize(LayerCall *call) {
    Picture picture = {0};
    int64_t size[2];
    const Json *method = option_json(call, "method");
    if (!picture_input(call, &picture) || !resized(call, picture.type, size)) return value_unknown();
    return value_tensor(build_resize(call->l->g, picture.x, size, method && !strcmp(method->text, "bilinear")));
}
