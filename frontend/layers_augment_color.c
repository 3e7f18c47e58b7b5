/* Layers that change colours at random, as torchvision (transforms.v2, for tensors) does: jitter, grey, solarising,
 * noise; and the fixed change of scale that most encoders want their pictures in. */
#include "frontend/augment.h"

#include <math.h>

/* clamp(a, 0, 1) */
static NodeId unit(Lower *l, NodeId a) { return node_at_most(l, node_at_least(l, a, 0), 1); }

/* factor * a + (1 - factor) * b, kept in 0..1. factor: a number for each sample. */
static NodeId blended(Lower *l, NodeId a, NodeId b, NodeId factor) {
    NodeId rest = node_shift(l, node_unary(l, OP_neg, factor), 1);
    NodeId other = node_binary(l, OP_mul, node_spread(l, b, a), rest);
    return unit(l, node_add(l, node_binary(l, OP_mul, a, factor), other));
}

static Planes brightened(const Planes *x, NodeId factor) {
    Planes y = planes_like(x, x->height, x->width);
    for (uint32_t c = 0; c < x->channels; c++) y.plane[c] = unit(x->l, node_binary(x->l, OP_mul, x->plane[c], factor));
    return y;
}

static Planes saturated(const Planes *x, NodeId factor) {
    Planes y = planes_like(x, x->height, x->width);
    NodeId gray = planes_gray(x);
    for (uint32_t c = 0; c < x->channels; c++) y.plane[c] = blended(x->l, x->plane[c], gray, factor);
    return y;
}

static Planes contrasted(const Planes *x, NodeId factor) {
    Planes y = planes_like(x, x->height, x->width);
    NodeId mean = node_mean(x->l, planes_gray(x), 1u << 1 | 1u << 2);
    for (uint32_t c = 0; c < x->channels; c++) y.plane[c] = blended(x->l, x->plane[c], mean, factor);
    return y;
}

static NodeId distance(Lower *l, NodeId a, double from) { return node_unary(l, OP_abs, node_shift(l, a, -from)); }

/* The hue in sixths of the circle (red 0, green 2, blue 4), from -1 to 5; 0 for grey. */
static NodeId hue_of(Lower *l, const NodeId rgb[3], NodeId most, NodeId range) {
    Graph *g = l->g;
    NodeId is_red = build_binary(g, OP_equal, rgb[0], most), is_green = build_binary(g, OP_equal, rgb[1], most);
    NodeId above = build_select(g, is_green, node_sub(l, rgb[2], rgb[0]), node_sub(l, rgb[0], rgb[1]));
    above = build_select(g, is_red, node_sub(l, rgb[1], rgb[2]), above);
    NodeId start = build_select(g, is_green, build_like(g, most, 2), build_like(g, most, 4));
    start = build_select(g, is_red, build_like(g, most, 0), start);
    NodeId is_gray = build_binary(g, OP_equal, range, build_like(g, range, 0));
    return node_add(l, node_div(l, above, build_select(g, is_gray, build_like(g, range, 1), range)), start);
}

/* Turns the hue by `turn` circles, within -1/2 and 1/2. What is brightest and darkest stays so, and each channel is
 * a trapeze over the circle (Smith, "Color gamut transform pairs", 1978): no need to go by way of HSV's sectors. */
static Planes hue_turned(const Planes *x, NodeId turn) {
    Lower *l = x->l;
    Graph *g = l->g;
    const NodeId *rgb = x->plane;
    NodeId most = build_binary(g, OP_max, build_binary(g, OP_max, rgb[0], rgb[1]), rgb[2]);
    NodeId least = build_binary(g, OP_min, build_binary(g, OP_min, rgb[0], rgb[1]), rgb[2]);
    NodeId range = node_sub(l, most, least);
    NodeId hue = node_binary(l, OP_add, hue_of(l, rgb, most, range), node_scale(l, turn, 6));
    hue = build_select(g, build_binary(g, OP_less, hue, build_like(g, hue, 0)), node_shift(l, hue, 6), hue);
    hue = build_select(g, build_binary(g, OP_less, hue, build_like(g, hue, 6)), hue, node_shift(l, hue, -6));
    NodeId share[3] = {unit(l, node_shift(l, distance(l, hue, 3), -1)),
                       unit(l, node_shift(l, node_unary(l, OP_neg, distance(l, hue, 2)), 2)),
                       unit(l, node_shift(l, node_unary(l, OP_neg, distance(l, hue, 4)), 2))};
    Planes y = planes_like(x, x->height, x->width);
    for (int c = 0; c < 3; c++) y.plane[c] = node_add(l, least, node_mul(l, range, share[c]));
    return y;
}

/* A jitter does four things in an order of chance, each at most once. NO_NODE: not wanted. Two of them are dear:
 * turning the hue, and contrast, which needs the mean of all pixels. So the order is seen as two dear things, one after
 * the other, with three gaps around them, in each of which brightness and saturation may be done, in either order. If
 * not both are wanted, there is no gap between them. */
typedef struct {
    Lower *l;
    Dim n;
    NodeId brightness, contrast, saturation, hue; /* numbers for each sample */
    NodeId key;                                   /* f32[n,4,1]: the one with the lower key comes first */
} Jitter;

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE };

static NodeId key_of(const Jitter *j, int64_t what) {
    return build_slice(j->l->g, j->key, sample_type(j->n), (int64_t[]){0, what, 0}, (int64_t[]){1, 1, 1});
}

static NodeId is_before(const Jitter *j, int64_t a, int64_t b) {
    return build_binary(j->l->g, OP_less, key_of(j, a), key_of(j, b));
}

static NodeId both(const Jitter *j, NodeId a, NodeId b) { return build_binary(j->l->g, OP_and, a, b); }
static NodeId negated(const Jitter *j, NodeId a) { return node_unary(j->l, OP_not, a); }

static bool has_both_dear(const Jitter *j) { return j->contrast != NO_NODE && j->hue != NO_NODE; }

/* Whether `what` stands in gap 0, 1 or 2. */
static NodeId is_in_gap(const Jitter *j, int64_t what, int gap) {
    if (!has_both_dear(j)) {
        NodeId is_first = is_before(j, what, j->hue != NO_NODE ? HUE : CONTRAST);
        return gap == 0 ? is_first : negated(j, is_first);
    }
    NodeId first = is_before(j, what, HUE), second = is_before(j, what, CONTRAST);
    if (gap == 0) return both(j, first, second);
    if (gap == 2) return both(j, negated(j, first), negated(j, second));
    return build_binary(j->l->g, OP_xor, first, second);
}

/* The factor where the condition holds, else 1, which changes nothing. */
static NodeId factor_if(const Jitter *j, NodeId condition, NodeId factor) {
    return build_select(j->l->g, condition, factor, build_like(j->l->g, factor, 1));
}

/* What is done in a gap; `condition` (NO_NODE: always) says for which samples. */
static Planes gap_filled(const Jitter *j, Planes x, int gap, NodeId condition) {
    NodeId bright = NO_NODE, dense = NO_NODE;
    if (j->brightness != NO_NODE) bright = is_in_gap(j, BRIGHTNESS, gap);
    if (j->saturation != NO_NODE) dense = is_in_gap(j, SATURATION, gap);
    if (condition != NO_NODE && bright != NO_NODE) bright = both(j, bright, condition);
    if (condition != NO_NODE && dense != NO_NODE) dense = both(j, dense, condition);
    if (dense == NO_NODE) return bright == NO_NODE ? x : brightened(&x, factor_if(j, bright, j->brightness));
    NodeId brighter_first = bright == NO_NODE ? NO_NODE : is_before(j, BRIGHTNESS, SATURATION);
    if (bright != NO_NODE) x = brightened(&x, factor_if(j, both(j, bright, brighter_first), j->brightness));
    x = saturated(&x, factor_if(j, dense, j->saturation));
    if (bright == NO_NODE) return x;
    return brightened(&x, factor_if(j, both(j, bright, negated(j, brighter_first)), j->brightness));
}

static Planes hue_where(const Jitter *j, Planes x, NodeId condition) {
    Planes turned = hue_turned(&x, j->hue);
    return planes_where(&turned, &x, condition);
}

static Planes before_contrast(const Jitter *j, Planes x) {
    x = gap_filled(j, x, 0, NO_NODE);
    if (!has_both_dear(j)) return j->hue == NO_NODE ? x : hue_turned(&x, j->hue);
    NodeId hue_first = is_before(j, HUE, CONTRAST);
    x = hue_where(j, x, hue_first);
    return gap_filled(j, x, 1, hue_first);
}

static Planes from_contrast(const Jitter *j, Planes x) {
    if (j->contrast != NO_NODE) x = contrasted(&x, j->contrast);
    if (has_both_dear(j)) {
        NodeId contrast_first = negated(j, is_before(j, HUE, CONTRAST));
        x = gap_filled(j, x, 1, contrast_first);
        x = hue_where(j, x, contrast_first);
    }
    return gap_filled(j, x, 2, NO_NODE);
}

/* Pictures that are not chosen stay as they are. Contrast, with its mean, parts two walks over the pixels: choosing in
 * both spares the second one a look at what the first one saw. */
static Planes jittered(const Jitter *j, const Planes *x, NodeId applies) {
    Planes start = before_contrast(j, *x);
    start = planes_where(&start, x, applies);
    Planes end = from_contrast(j, start);
    return planes_where(&end, &start, applies);
}

/* A strength s is the range [1 - s, 1 + s] of factors without what is below 0; of hues it is [-s, s]. */
static bool jitter_range(const LayerCall *call, const char *key, double centre, double least, double most,
                         double range[2], bool *is_wanted) {
    bool is_range;
    *is_wanted = option_json(call, key);
    if (!*is_wanted) return true;
    if (!option_range(call, key, centre ? 0 : least, centre ? 1e6 : most, range, &is_range)) return false;
    if (!is_range) {
        double strength = fabs(range[1]);
        range[0] = centre - strength < least ? least : centre - strength;
        range[1] = centre + strength;
    }
    *is_wanted = range[0] != centre || range[1] != centre;
    return true;
}

Value layer_color_jitter(LayerCall *call) {
    static const char *const name[4] = {"brightness", "contrast", "saturation", "hue"};
    Lower *l = call->l;
    Planes x;
    double range[4][2], p;
    bool is_wanted[4];
    for (int i = 0; i < 4; i++)
        if (!jitter_range(call, name[i], i < 3, i < 3 ? 0 : -0.5, 0.5, range[i], &is_wanted[i])) return value_unknown();
    if (!option_number(call, "p", 0, 1, &p) || !planes_of(call, &x)) return value_unknown();
    NodeId applies = sample_chance(l, x.n, p), value[4];
    Jitter jitter = {.l = l, .n = x.n};
    jitter.key = random_uniform(l, type_make(DTYPE_f32, 3, (Dim[]){x.n, 4, 1}));
    for (int i = 0; i < 4; i++) {
        bool is_colour = i == SATURATION || i == HUE;
        value[i] = is_wanted[i] ? sample_uniform(l, x.n, range[i]) : NO_NODE;
        if (is_colour && !planes_have_colour(&x)) value[i] = NO_NODE;
    }
    jitter.brightness = value[0], jitter.contrast = value[1], jitter.saturation = value[2], jitter.hue = value[3];
    Planes y = jittered(&jitter, &x, applies);
    return planes_joined(&y);
}

Value layer_random_gray(LayerCall *call) {
    Planes x;
    double p;
    if (!option_number(call, "p", 0, 1, &p) || !planes_of(call, &x)) return value_unknown();
    Planes gray = planes_like(&x, x.height, x.width), y;
    for (uint32_t c = 0; c < x.channels; c++) gray.plane[c] = planes_have_colour(&x) ? planes_gray(&x) : x.plane[c];
    y = planes_where(&gray, &x, sample_chance(x.l, x.n, p));
    return planes_joined(&y);
}

Value layer_solarize(LayerCall *call) {
    Lower *l = call->l;
    Planes planes;
    NodeId x;
    double threshold, p;
    if (!option_number(call, "threshold", 0, 1, &threshold) || !option_number(call, "p", 0, 1, &p) ||
        !picture_of(call, &planes, &x))
        return value_unknown();
    NodeId is_dark = build_binary(l->g, OP_less, x, build_like(l->g, x, threshold));
    NodeId negative = node_shift(l, node_unary(l, OP_neg, x), 1);
    NodeId turned = build_select(l->g, is_dark, x, negative);
    return picture_result(&planes, where_drawn(l, sample_chance(l, planes.n, p), turned, x));
}

Value layer_noise(LayerCall *call) {
    Lower *l = call->l;
    Planes planes;
    NodeId x;
    double deviation;
    if (!option_number(call, "deviation", 0, 1e6, &deviation) || !picture_of(call, &planes, &x)) return value_unknown();
    NodeId noisy = node_add(l, x, node_scale(l, random_normal(l, value_type(l, x)), deviation));
    return picture_result(&planes, option_flag(call, "clip") ? unit(l, noisy) : noisy);
}

/* A number for each channel, [1, 1, 1, channels]. */
static NodeId channel_numbers(Lower *l, const double *number, uint32_t channels) {
    NodeId all = NO_NODE;
    for (uint32_t c = 0; c < channels; c++) {
        NodeId one = build_constant(l->g, type_make(DTYPE_f32, 4, (Dim[]){1, 1, 1, 1}), number[c]);
        all = all == NO_NODE ? one : build_concat(l->g, all, one, 3);
    }
    return all;
}

Value layer_standardize(LayerCall *call) {
    Lower *l = call->l;
    Planes planes;
    NodeId x;
    double mean[MOST_CHANNELS], deviation[MOST_CHANNELS];
    if (!picture_of(call, &planes, &x) || !option_numbers(call, "mean", planes.channels, -1e6, 1e6, mean) ||
        !option_numbers(call, "deviation", planes.channels, 1e-6, 1e6, deviation))
        return value_unknown();
    for (uint32_t c = 0; c < planes.channels; c++) deviation[c] = 1 / deviation[c];
    NodeId centred = node_binary(l, OP_sub, x, channel_numbers(l, mean, planes.channels));
    return picture_result(&planes, node_binary(l, OP_mul, centred, channel_numbers(l, deviation, planes.channels)));
}
