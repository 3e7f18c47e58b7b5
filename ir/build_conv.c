/* Convolutions and pooling from primitives.
 *
 * A convolution is a product of matrices: each place of the kernel is a row that holds what it sees, the weights are
 * the columns. The rows are a view (window) that is never stored: code generation reads them in place. The transposed
 * convolution puts each row back where it came from (unwindow) and adds up. One input channel for each group is no
 * product, but elementwise work and a sum over the taps. */
#include "ir/build_conv.h"
#include "ir/build.h"

#include <math.h>

enum { TAPS = 1u << 3 | 1u << 4 }; /* the axes KH and KW of [N,OH,OW,KH,KW,C] */

int64_t build_conv_places(int64_t size, int64_t kernel, const Sliding *sliding, int axis) {
    int64_t room = size + sliding->before[axis] + sliding->after[axis] - (kernel - 1) * sliding->dilation[axis] - 1;
    return room < 0 ? 0 : room / sliding->stride[axis] + 1;
}

int64_t build_conv_spread(int64_t size, int64_t kernel, const Sliding *sliding, int axis) {
    return (size - 1) * sliding->stride[axis] + (kernel - 1) * sliding->dilation[axis] + 1 - sliding->before[axis] -
           sliding->after[axis];
}

void build_conv_same(int64_t size, int64_t kernel, Sliding *sliding, int axis) {
    int64_t places = (size + sliding->stride[axis] - 1) / sliding->stride[axis];
    int64_t pads = (places - 1) * sliding->stride[axis] + (kernel - 1) * sliding->dilation[axis] + 1 - size;
    if (pads < 0) pads = 0;
    sliding->before[axis] = pads / 2;
    sliding->after[axis] = pads - pads / 2;
}

static NodeId reshape(Graph *g, NodeId a, uint32_t rank, const Dim *dim) { return build_reshape(g, a, rank, dim); }
#define RESHAPE(g, a, ...) reshape(g, a, sizeof((Dim[]){__VA_ARGS__}) / sizeof(Dim), (Dim[]){__VA_ARGS__})
#define TRANSPOSE(g, a, ...) build_transpose(g, a, (uint32_t[]){__VA_ARGS__})

/* Sizes of a convolution: of its picture side (N, H, W, C), its places (OH, OW, O) and its kernel. */
typedef struct {
    Dim N;
    int64_t H, W, C, OH, OW, O, KH, KW, groups;
} Sizes;

static Dim places(const Sizes *s) { return dim_mul(s->N, s->OH * s->OW); }

/* A kernel of one tap that goes over every element: nothing needs to be moved. */
static bool is_plain(const Sizes *s, const Sliding *sliding) {
    bool plain = s->KH == 1 && s->KW == 1 && s->H == s->OH && s->W == s->OW;
    for (int axis = 0; axis < 2; axis++) plain &= sliding->stride[axis] == 1 && sliding->before[axis] == 0;
    return plain;
}

/* x[N,H,W,C] → [N,OH,OW,KH,KW,C] */
static NodeId seen(Graph *g, NodeId x, const Sizes *s, const Sliding *sliding, double pad) {
    NodeId picture = RESHAPE(g, x, s->N, s->H, s->W, 1, 1, s->C);
    if (is_plain(s, sliding)) return picture;
    Type to = type_make(DTYPE_f32, 6, (Dim[]){s->N, s->OH, s->OW, s->KH, s->KW, s->C});
    return build_window(g, picture, to, sliding->stride, sliding->dilation, sliding->before, pad);
}

/* The inverse: what came from one place of the picture is added up. [N,OH,OW,KH,KW,C] → [N,H,W,C] */
static NodeId put_back(Graph *g, NodeId taps, const Sizes *s, const Sliding *sliding) {
    if (is_plain(s, sliding)) return RESHAPE(g, taps, s->N, s->H, s->W, s->C);
    Type to = type_make(DTYPE_f32, 6, (Dim[]){s->N, s->H, s->W, s->KH, s->KW, s->C});
    NodeId back = build_unwindow(g, taps, to, sliding->stride, sliding->dilation, sliding->before);
    return RESHAPE(g, build_sum(g, back, TAPS), s->N, s->H, s->W, s->C);
}

/* w[KH,KW,C/groups,O], and the sizes of its convolution from [N,H,W,C] to [N,OH,OW,O] but for the places. */
static Sizes sizes_of(const Graph *g, NodeId w, int64_t groups) {
    Type kernel = g->nodes[w].type;
    CHECK(kernel.rank == 4 && groups >= 1 && kernel.dim[3] % groups == 0);
    return (Sizes){
        .C = kernel.dim[2] * groups, .O = kernel.dim[3], .KH = kernel.dim[0], .KW = kernel.dim[1], .groups = groups};
}

/* w[KH,KW,C/groups,O] → [groups, KH·KW·C/groups, O/groups] */
static NodeId weights_by_group(Graph *g, NodeId w, const Sizes *s) {
    NodeId split = RESHAPE(g, w, s->KH * s->KW * (s->C / s->groups), s->groups, s->O / s->groups);
    return TRANSPOSE(g, split, 1, 0, 2);
}

/* [N·OH·OW, KH·KW, C] → [groups, N·OH·OW, KH·KW·C/groups] */
static NodeId rows_by_group(Graph *g, NodeId taps, const Sizes *s) {
    int64_t count = s->KH * s->KW, channels = s->C / s->groups;
    NodeId split = RESHAPE(g, taps, places(s), count, s->groups, channels);
    return RESHAPE(g, TRANSPOSE(g, split, 2, 0, 1, 3), s->groups, places(s), count * channels);
}

static NodeId grouped(Graph *g, NodeId x, NodeId w, const Sizes *s, const Sliding *sliding) {
    NodeId product = build_matmul(g, rows_by_group(g, seen(g, x, s, sliding, 0), s), weights_by_group(g, w, s));
    return RESHAPE(g, TRANSPOSE(g, product, 1, 0, 2), s->N, s->OH, s->OW, s->O);
}

/* One input channel for each group: channel o of the result is channel o / (O/C) of x, seen through kernel o. */
static NodeId depthwise(Graph *g, NodeId x, NodeId w, Sizes s, const Sliding *sliding) {
    Type repeated = type_make(DTYPE_f32, 5, (Dim[]){s.N, s.H, s.W, s.C, s.O / s.C});
    x = build_broadcast(g, RESHAPE(g, x, s.N, s.H, s.W, s.C, 1), repeated);
    s.C = s.O;
    NodeId taps = seen(g, x, &s, sliding, 0);
    NodeId kernel = build_broadcast(g, RESHAPE(g, w, 1, 1, 1, s.KH, s.KW, s.O), g->nodes[taps].type);
    NodeId sum = build_sum(g, build_binary(g, OP_mul, taps, kernel), TAPS);
    return RESHAPE(g, sum, s.N, s.OH, s.OW, s.O);
}

NodeId build_conv2d(Graph *g, NodeId x, NodeId w, const Sliding *sliding, int64_t groups) {
    Type from = g->nodes[x].type;
    Sizes s = sizes_of(g, w, groups);
    CHECK(from.rank == 4 && from.dim[3] == s.C);
    s.N = from.dim[0], s.H = from.dim[1], s.W = from.dim[2];
    s.OH = build_conv_places(s.H, s.KH, sliding, 0), s.OW = build_conv_places(s.W, s.KW, sliding, 1);
    if (groups > 1) return groups == s.C ? depthwise(g, x, w, s, sliding) : grouped(g, x, w, &s, sliding);
    int64_t row = s.KH * s.KW * s.C;
    NodeId taps = is_plain(&s, sliding) ? x : seen(g, x, &s, sliding, 0);
    NodeId product = build_matmul(g, RESHAPE(g, taps, places(&s), row), RESHAPE(g, w, row, s.O));
    return RESHAPE(g, product, s.N, s.OH, s.OW, s.O);
}

/* [N,OH,OW,KH,KW,C] of x[N,OH,OW,O]: what each place gives to each tap. */
static NodeId taps_of_groups(Graph *g, NodeId x, NodeId w, const Sizes *s) {
    int64_t count = s->KH * s->KW, channels = s->C / s->groups;
    NodeId rows = TRANSPOSE(g, RESHAPE(g, x, places(s), s->groups, s->O / s->groups), 1, 0, 2);
    NodeId product = build_matmul(g, rows, build_swap_last(g, weights_by_group(g, w, s)));
    NodeId split = RESHAPE(g, product, s->groups, places(s), count, channels);
    return RESHAPE(g, TRANSPOSE(g, split, 1, 2, 0, 3), s->N, s->OH, s->OW, s->KH, s->KW, s->C);
}

static NodeId taps_of_product(Graph *g, NodeId x, NodeId w, const Sizes *s) {
    NodeId weights = build_swap_last(g, RESHAPE(g, w, s->KH * s->KW * s->C, s->O));
    NodeId product = build_matmul(g, RESHAPE(g, x, places(s), s->O), weights);
    return RESHAPE(g, product, s->N, s->OH, s->OW, s->KH, s->KW, s->C);
}

static NodeId taps_of_channels(Graph *g, NodeId x, NodeId w, const Sizes *s) {
    Type to = type_make(DTYPE_f32, 6, (Dim[]){s->N, s->OH, s->OW, s->KH, s->KW, s->C});
    NodeId values = build_broadcast(g, RESHAPE(g, x, s->N, s->OH, s->OW, 1, 1, s->C), to);
    return build_binary(g, OP_mul, values, build_broadcast(g, RESHAPE(g, w, 1, 1, 1, s->KH, s->KW, s->C), to));
}

NodeId build_conv2d_transposed(Graph *g, NodeId x, NodeId w, const Sliding *sliding, int64_t groups) {
    Type from = g->nodes[x].type;
    Sizes s = sizes_of(g, w, groups);
    CHECK(from.rank == 4 && from.dim[3] == s.O);
    s.N = from.dim[0], s.OH = from.dim[1], s.OW = from.dim[2];
    s.H = build_conv_spread(s.OH, s.KH, sliding, 0), s.W = build_conv_spread(s.OW, s.KW, sliding, 1);
    bool each_alone = groups > 1 && groups == s.C && groups == s.O;
    NodeId taps = each_alone   ? taps_of_channels(g, x, w, &s)
                  : groups > 1 ? taps_of_groups(g, x, w, &s)
                               : taps_of_product(g, x, w, &s);
    return put_back(g, taps, &s, sliding);
}

static Sizes pool_sizes(const Graph *g, NodeId x, const int64_t kernel[2], const Sliding *sliding) {
    Type from = g->nodes[x].type;
    CHECK(from.rank == 4);
    return (Sizes){.N = from.dim[0],
                   .H = from.dim[1],
                   .W = from.dim[2],
                   .C = from.dim[3],
                   .OH = build_conv_places(from.dim[1], kernel[0], sliding, 0),
                   .OW = build_conv_places(from.dim[2], kernel[1], sliding, 1),
                   .KH = kernel[0],
                   .KW = kernel[1]};
}

NodeId build_max_pool(Graph *g, NodeId x, const int64_t kernel[2], const Sliding *sliding) {
    Sizes s = pool_sizes(g, x, kernel, sliding);
    if (is_plain(&s, sliding)) return x;
    NodeId largest = build_reduce_max(g, seen(g, x, &s, sliding, -(double)INFINITY), TAPS);
    return RESHAPE(g, largest, s.N, s.OH, s.OW, s.C);
}

/* How many elements of the picture each window holds, as [1,OH,OW,1]. */
static NodeId counted(Graph *g, Sizes s, const Sliding *sliding) {
    s.N = s.C = 1;
    NodeId ones = build_constant(g, type_make(DTYPE_f32, 4, (Dim[]){1, s.H, s.W, 1}), 1);
    return RESHAPE(g, build_sum(g, seen(g, ones, &s, sliding, 0), TAPS), 1, s.OH, s.OW, 1);
}

NodeId build_average_pool(Graph *g, NodeId x, const int64_t kernel[2], const Sliding *sliding, bool count_pads) {
    Sizes s = pool_sizes(g, x, kernel, sliding);
    NodeId sum = build_sum(g, seen(g, x, &s, sliding, 0), TAPS);
    NodeId result = RESHAPE(g, sum, s.N, s.OH, s.OW, s.C);
    bool has_pads = false;
    for (int axis = 0; axis < 2; axis++) has_pads |= sliding->before[axis] > 0 || sliding->after[axis] > 0;
    if (count_pads || !has_pads)
        return build_binary(g, OP_mul, result, build_like(g, result, 1 / (double)(s.KH * s.KW)));
    NodeId count = counted(g, s, sliding);
    NodeId share = build_binary(g, OP_div, build_like(g, count, 1), count);
    return build_binary(g, OP_mul, result, build_broadcast(g, share, g->nodes[result].type));
}

NodeId build_global_pool(Graph *g, NodeId x) {
    Type from = g->nodes[x].type;
    CHECK(from.rank == 4);
    NodeId sum = build_drop_axes(g, build_sum(g, x, 1u << 1 | 1u << 2), 1u << 1 | 1u << 2);
    return build_binary(g, OP_mul, sum, build_like(g, sum, 1 / (double)(from.dim[1] * from.dim[2])));
}
