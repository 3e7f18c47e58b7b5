/* Pictures made larger or smaller.
 *
 * Width and height are resized one after the other; each element of the result is a weighted sum of elements along one
 * axis. With sizes p·m out of q·m, p and q without a common factor, each run of p results sees one stretch of the
 * source, and the next run the same stretch q further on: a window, its weights, and a sum over its taps. Weights come
 * from whole numbers that say where things are, so pads get none and the edges need no care. Where a stretch is long,
 * because p and q are large, this would read everything many times: then it is a product with a matrix. */
#include "ir/build.h"
#include "ir/build_conv.h"

enum { MOST_TAPS = 12, FEW_COLUMNS = 16 };

#define RESHAPE(g, a, ...) build_reshape(g, a, sizeof((Dim[]){__VA_ARGS__}) / sizeof(Dim), (Dim[]){__VA_ARGS__})

/* One axis on its way from `in` to `out` elements. Result p·k + r sees the source from q·k + first on. */
typedef struct {
    int64_t in, out, p, q, first, taps;
    bool smooth; /* between the two nearest elements */
} Resize;

static int64_t common_factor(int64_t a, int64_t b) { return b ? common_factor(b, a % b) : a; }

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* Result i is at (i + 1/2) in / out - 1/2 of the source, or there rounded down for the nearest, i in / out. */
static Resize resize_make(int64_t in, int64_t out, bool smooth) {
    int64_t factor = common_factor(in, out);
    Resize s = {.in = in, .out = out, .p = out / factor, .q = in / factor, .smooth = smooth};
    int64_t last = smooth ? floor_div((2 * s.p - 1) * s.q - s.p, 2 * s.p) + 1 : (s.p - 1) * s.q / s.p;
    s.first = smooth ? floor_div(s.q - s.p, 2 * s.p) : 0;
    s.taps = last - s.first + 1;
    return s;
}

/* factor · index + summand, along one axis of i32 `type` */
static NodeId counted(Graph *g, Type type, uint32_t axis, int64_t factor, int64_t summand) {
    NodeId i = build_iota(g, type, axis);
    NodeId scaled = build_binary(g, OP_mul, i, build_like(g, i, (double)factor));
    return build_binary(g, OP_add, scaled, build_like(g, i, (double)summand));
}

static NodeId limited(Graph *g, NodeId a, int64_t least, int64_t most) {
    NodeId above = build_binary(g, OP_max, a, build_like(g, a, (double)least));
    return build_binary(g, OP_min, above, build_like(g, a, (double)most));
}

/* Weights of source j for result i, both i32: 1 - |at - j| where that is above 0, with `at` kept inside. All distances
 * are counted in parts of 2p, so that they are whole. */
static NodeId smooth_weights(Graph *g, NodeId i, NodeId j, const Resize *s) {
    NodeId at = build_binary(g, OP_mul, i, build_like(g, i, 2 * (double)s->q));
    at = build_binary(g, OP_add, at, build_like(g, i, (double)(s->q - s->p)));
    at = limited(g, at, 0, 2 * s->p * (s->in - 1));
    NodeId there = build_binary(g, OP_mul, j, build_like(g, j, 2 * (double)s->p));
    NodeId distance = build_unary(g, OP_abs, build_binary(g, OP_sub, at, there));
    NodeId near = build_cast(g, limited(g, distance, 0, 2 * s->p), DTYPE_f32);
    NodeId share = build_binary(g, OP_mul, near, build_like(g, near, 1 / (2 * (double)s->p)));
    return build_binary(g, OP_sub, build_like(g, share, 1), share);
}

/* Weight 1 where j is i in / out rounded down: p j <= i q < p j + p. */
static NodeId nearest_weights(Graph *g, NodeId i, NodeId j, const Resize *s) {
    NodeId at = build_binary(g, OP_mul, i, build_like(g, i, (double)s->q));
    NodeId from = build_binary(g, OP_mul, j, build_like(g, j, (double)s->p));
    NodeId before = build_unary(g, OP_not, build_binary(g, OP_less, at, from));
    NodeId to = build_binary(g, OP_add, from, build_like(g, from, (double)s->p));
    return build_cast(g, build_binary(g, OP_and, before, build_binary(g, OP_less, at, to)), DTYPE_f32);
}

static NodeId weights(Graph *g, NodeId i, NodeId j, const Resize *s) {
    return s->smooth ? smooth_weights(g, i, j, s) : nearest_weights(g, i, j, s);
}

/* [N,in,C] → [N,m,p,taps,C], each with its weight, and the sum */
static NodeId by_windows(Graph *g, NodeId x, Dim N, int64_t C, const Resize *s) {
    int64_t runs = s->out / s->p;
    Type seen = type_make(DTYPE_f32, 6, (Dim[]){N, runs, 1, s->taps, 1, C});
    NodeId taps = build_window(g, RESHAPE(g, x, N, s->in, 1, 1, 1, C), seen, (int64_t[]){s->q, 1}, (int64_t[]){1, 1},
                               (int64_t[]){-s->first, 0}, 0);
    Type all = type_make(DTYPE_f32, 5, (Dim[]){N, runs, s->p, s->taps, C});
    taps = build_broadcast(g, RESHAPE(g, taps, N, runs, 1, s->taps, C), all);
    Type table = type_make(DTYPE_i32, 5, (Dim[]){1, runs, s->p, s->taps, 1});
    NodeId i = build_binary(g, OP_add, counted(g, table, 1, s->p, 0), build_iota(g, table, 2));
    NodeId j = build_binary(g, OP_add, counted(g, table, 1, s->q, s->first), build_iota(g, table, 3));
    NodeId share = build_broadcast(g, weights(g, i, j, s), all);
    return RESHAPE(g, build_sum(g, build_binary(g, OP_mul, taps, share), 1u << 3), N, s->out, C);
}

/* [out, in] times each [in, C]; few columns are better laid out as rows, [N C, in] times [in, out]. */
static NodeId by_product(Graph *g, NodeId x, Dim N, int64_t C, const Resize *s) {
    bool is_narrow = C < FEW_COLUMNS;
    Type table = type_make(DTYPE_i32, 2, (Dim[]){is_narrow ? s->in : s->out, is_narrow ? s->out : s->in});
    NodeId share = weights(g, build_iota(g, table, is_narrow), build_iota(g, table, !is_narrow), s);
    if (!is_narrow)
        return build_matmul(g, build_broadcast(g, share, type_make(DTYPE_f32, 3, (Dim[]){N, s->out, s->in})), x);
    NodeId rows = RESHAPE(g, build_swap_last(g, x), dim_mul(N, C), s->in);
    return build_swap_last(g, RESHAPE(g, build_matmul(g, rows, share), N, C, s->out));
}

/* The nearest of whole multiples, larger or smaller, only moves elements. */
static NodeId by_moves(Graph *g, NodeId x, Dim N, int64_t C, const Resize *s) {
    if (s->p == 1) {
        Type some = type_make(DTYPE_f32, 3, (Dim[]){N, s->out, C});
        return build_slice(g, x, some, (int64_t[]){0, 0, 0}, (int64_t[]){1, s->q, 1});
    }
    Type all = type_make(DTYPE_f32, 4, (Dim[]){N, s->in, s->p, C});
    return RESHAPE(g, build_broadcast(g, RESHAPE(g, x, N, s->in, 1, C), all), N, s->out, C);
}

/* x[N,in,C] → [N,out,C] */
static NodeId resize_axis(Graph *g, NodeId x, Dim N, int64_t C, const Resize *s) {
    if (s->in == s->out) return x;
    if (!s->smooth && (s->p == 1 || s->q == 1)) return by_moves(g, x, N, C, s);
    return s->taps <= MOST_TAPS ? by_windows(g, x, N, C, s) : by_product(g, x, N, C, s);
}

NodeId build_resize(Graph *g, NodeId x, const int64_t size[2], bool smooth) {
    Type from = g->nodes[x].type;
    CHECK(from.rank == 4);
    Dim N = from.dim[0];
    int64_t H = from.dim[1], W = from.dim[2], C = from.dim[3];
    Resize high = resize_make(H, size[0], smooth), wide = resize_make(W, size[1], smooth);
    Dim rows = dim_mul(N, H);
    NodeId y = resize_axis(g, RESHAPE(g, x, rows, W, C), rows, C, &wide);
    y = resize_axis(g, RESHAPE(g, y, N, H, size[1] * C), N, size[1] * C, &high);
    return RESHAPE(g, y, N, size[0], size[1], C);
}
