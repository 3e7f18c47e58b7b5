/* Mixing pictures of a batch, and their labels with them: mixup (Zhang and others 2018), a share of both, and cutmix
 * (Yun and others 2019), a part of the one in the other. Each picture's partner is the one before it in the batch, the
 * first one's the last, as in torchvision; how much is drawn for each picture anew, where torchvision draws once for
 * the batch. */
#include "frontend/augment.h"

#include <math.h>

/* Beta(alpha, alpha) by two uniform numbers u and v, for any alpha: t = cos(2 pi v) sqrt(2 alpha (u^(-1/alpha) - 1))
 * has Student's distribution of 2 alpha degrees (Bailey, "Polar generation of random variates with the t-distribution",
 * Mathematics of Computation 62, 1994), and (1 + t / sqrt(2 alpha + t^2)) / 2 is the variate (Devroye, "Random variate
 * generation in one line of code", 1996). With c = cos(2 pi v) and r = u^(1/alpha) the quotient is
 * c / sqrt(c^2 + r / (1 - r)), in which nothing overflows. */
static NodeId beta_drawn(Lower *l, Dim n, double alpha) {
    const double unit[2] = {0, 1};
    NodeId u = sample_uniform(l, n, unit), v = sample_uniform(l, n, unit);
    if (alpha == 1) return u;
    NodeId c = node_unary(l, OP_cos, node_scale(l, v, 2 * acos(-1)));
    NodeId r = node_unary(l, OP_exp, node_scale(l, node_unary(l, OP_log, u), 1 / alpha));
    NodeId rest = node_at_least(l, node_shift(l, node_unary(l, OP_neg, r), 1), 1e-30);
    NodeId square = node_add(l, node_mul(l, c, c), node_div(l, r, rest));
    NodeId t = node_div(l, c, node_unary(l, OP_sqrt, node_at_least(l, square, 1e-30)));
    return node_scale(l, node_shift(l, t, 1), 0.5);
}

/* The batch with the last sample first. */
static NodeId partners(Lower *l, NodeId x) {
    Type type = value_type(l, x), rows = {.dtype = DTYPE_i32, .rank = type.rank, .dim = {type.dim[0], 1, 1, 1, 1, 1}};
    for (uint32_t i = rows.rank; i < MAX_RANK; i++) rows.dim[i] = 0;
    NodeId place = build_iota(l->g, rows, 0), before = node_shift(l, place, -1);
    NodeId is_first = build_binary(l->g, OP_equal, place, build_like(l->g, place, 0));
    before = build_select(l->g, is_first, build_like(l->g, place, (double)(type.dim[0] - 1)), before);
    return build_gather(l->g, x, spread_to(l, before, type_with_dtype(type, DTYPE_i32)), 0);
}

/* share * a + (1 - share) * b; share: a number for each sample. */
static NodeId shared(Lower *l, NodeId a, NodeId b, NodeId share) {
    Type type = value_type(l, a);
    NodeId part =
        spread_to(l, build_reshape(l->g, share, type.rank, (Dim[MAX_RANK]){type.dim[0], 1, 1, 1, 1, 1}), type);
    return node_add(l, b, node_mul(l, node_sub(l, a, b), part));
}

/* Pictures and labels of a batch that is known. */
static bool mix_inputs(LayerCall *call, Planes *planes, NodeId *x, NodeId *labels, double *alpha) {
    Lower *l = call->l;
    if (!option_number(call, "alpha", 0.01, 1000, alpha) || !picture_of(call, planes, x) ||
        !to_float(l, call->spot, &call->inputs[1]))
        return false;
    *labels = call->inputs[1].node;
    Type type = value_type(l, *labels);
    if (type.rank != 2 || type.dim[0] != planes->n)
        return lower_fail(l, call->spot,
                          "\"%s\": the labels are %s, but must be probabilities [n, classes], such as one_hot gives",
                          call->layer->info->name, type_text(l, type)),
               false;
    if (planes->n > 0) return true;
    return lower_fail(l, call->spot,
                      "\"%s\" mixes the pictures of a batch: in a function, whose batch is open, it cannot "
                      "know which is the last",
                      call->layer->info->name),
           false;
}

static Value mix_result(LayerCall *call, const Planes *planes, NodeId pictures, NodeId labels) {
    Value *items = arena_array(call->l->arena, Value, 2);
    items[0] = picture_result(planes, pictures);
    items[1] = value_tensor(labels);
    return (Value){.kind = VALUE_list, .items = items, .count = 2};
}

Value layer_mixup(LayerCall *call) {
    Lower *l = call->l;
    Planes planes;
    NodeId x, labels;
    double alpha;
    if (!mix_inputs(call, &planes, &x, &labels, &alpha)) return value_unknown();
    NodeId share = beta_drawn(l, planes.n, alpha);
    return mix_result(call, &planes, shared(l, x, partners(l, x), share),
                      shared(l, labels, partners(l, labels), share));
}

/* One side of the part, around a random place: `half` on both sides of it, as far as the picture goes. */
static void side_drawn(Lower *l, Dim n, NodeId share, int64_t length, NodeId *first, NodeId *size) {
    const double range[2] = {0, (double)length};
    NodeId middle = node_floor(l, sample_uniform(l, n, range)),
           half = node_floor(l, node_scale(l, share, (double)length));
    *first = node_at_least(l, node_sub(l, middle, half), 0);
    *size = node_sub(l, node_at_most(l, node_add(l, middle, half), (double)length), *first);
}

Value layer_cutmix(LayerCall *call) {
    Lower *l = call->l;
    Planes planes;
    NodeId x, labels;
    double alpha;
    Part part;
    if (!mix_inputs(call, &planes, &x, &labels, &alpha)) return value_unknown();
    NodeId rest = node_shift(l, node_unary(l, OP_neg, beta_drawn(l, planes.n, alpha)), 1);
    NodeId half = node_scale(l, node_unary(l, OP_sqrt, node_at_least(l, rest, 0)), 0.5);
    side_drawn(l, planes.n, half, planes.width, &part.left, &part.width);
    side_drawn(l, planes.n, half, planes.height, &part.top, &part.height);
    NodeId area = node_scale(l, node_mul(l, part.width, part.height), 1 / (double)(planes.width * planes.height));
    NodeId pictures = node_where(l, part_holds(l, &planes, &part), partners(l, x), x);
    return mix_result(call, &planes, pictures, shared(l, partners(l, labels), labels, area));
}
