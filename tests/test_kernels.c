/* Kernels against the evaluator: products and reductions over random shapes with awkward edges, in every form that
 * fusion makes of them, for each vector width, and with the same bits for any number of threads. */
#include "backend/pull.h"
#include "ir/build.h"
#include "ir/build_conv.h"
#include "passes/passes.h"
#include "tests/compiled.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;

static int64_t pick(int64_t least, int64_t most) { return least + (int64_t)((compiled_random(&state) + 1) / 2 * (double)(most - least + 1)); }

static NodeId data(Graph *g, const char *name, int64_t a, int64_t b) {
    return build_input(g, name, INPUT_data, type_make(DTYPE_f32, 2, (Dim[]){a, b}), (Init){0});
}

/* C = epilogue(op(A) op(B)), transposed or not */
static Graph *product(int64_t m, int64_t n, int64_t k, bool a_turned, bool b_turned, int epilogue) {
    Graph *g = graph_new("product");
    Dim open = m < 0 ? -1 : m;
    NodeId a = a_turned ? build_swap_last(g, data(g, "a", k, open)) : data(g, "a", open, k);
    NodeId b = b_turned ? build_swap_last(g, data(g, "b", n, k)) : data(g, "b", k, n);
    NodeId c = build_matmul(g, a, b);
    if (epilogue & 1) {
        NodeId bias = build_input(g, "bias", INPUT_parameter, type_make(DTYPE_f32, 1, (Dim[]){n}), (Init){0});
        c = build_binary(g, OP_add, c, build_broadcast(g, bias, g->nodes[c].type));
    }
    if (epilogue & 2) c = build_binary(g, OP_max, c, build_like(g, c, 0));
    if (epilogue & 4) {
        NodeId before = build_input(g, "w", INPUT_state, g->nodes[c].type, (Init){0});
        if (m > 0) {
            c = build_binary(g, OP_sub, before, build_binary(g, OP_mul, c, build_like(g, c, 0.25)));
            graph_add_output(g, "w", c, (int32_t)g->nodes[before].attr.index);
            return g;
        }
    }
    graph_add_output(g, "c", c, -1);
    return g;
}

/* Frees the graph. */
static int check_with(Graph *g, const Target *target, int64_t n, const double **inputs, const char *what) {
    int wrong = compiled_compare(g, target, n, inputs, (int)pick(1, 3), 2e-5);
    if (wrong) {
        printf("FAIL %s, n = %lld, %u-byte vectors: %d elements differ in\n", what, (long long)n, target->machine.vector_bytes, wrong);
        graph_print(g, stdout);
    }
    graph_free(g);
    return wrong != 0;
}

static int check(Graph *g, const Target *target, int64_t n, const char *what) {
    Arena *arena = arena_new();
    int failed = check_with(g, target, n, compiled_draw(g, n, (uint64_t)pick(1, 1 << 20), arena), what);
    arena_free(arena);
    return failed;
}

static int products(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        bool open = pick(0, 3) == 0, big = pick(0, 9) == 0;
        int64_t m = pick(1, big ? 300 : 60), n = pick(1, big ? 300 : 70), k = pick(1, big ? 900 : 80);
        bool a_turned = pick(0, 1), b_turned = pick(0, 1);
        int epilogue = (int)pick(0, open ? 3 : 7);
        failed += check(product(open ? -1 : m, n, k, a_turned, b_turned, epilogue), target, m, "product");
    }
    return failed;
}

static int batched_products(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("batched");
        int64_t b = pick(1, 5), m = pick(1, 20), n = pick(1, 40), k = pick(1, 30);
        NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 3, (Dim[]){b, m, k}), (Init){0});
        NodeId y = build_input(g, "y", INPUT_data, type_make(DTYPE_f32, 3, (Dim[]){b, n, k}), (Init){0});
        graph_add_output(g, "c", build_unary(g, OP_tanh, build_matmul(g, x, build_swap_last(g, y))), -1);
        failed += check(g, target, 1, "batched product");
    }
    return failed;
}

static NodeId softmax(Graph *g, NodeId x, uint32_t axes) {
    Type type = g->nodes[x].type;
    NodeId top = build_broadcast(g, build_reduce_max(g, x, axes), type);
    NodeId e = build_unary(g, OP_exp, build_binary(g, OP_sub, x, top));
    return build_binary(g, OP_div, e, build_broadcast(g, build_sum(g, e, axes), type));
}

/* Whether a byte can name every place of the axes; the batch is none of them. */
static bool can_be_named(Type type, uint32_t axes) {
    Dim places = 1;
    for (uint32_t i = 0; i < type.rank; i++) places *= axes >> i & 1 ? type.dim[i] : 1;
    return places > 0 && places <= 256;
}

/* Softmax and mean over every set of axes, of three axes with awkward sizes. */
static int reductions(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("reductions");
        int64_t a = pick(1, 30), b = pick(1, 40), c = pick(1, 90);
        bool open = pick(0, 2) == 0;
        NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 3, (Dim[]){open ? -1 : a, b, c}), (Init){0});
        uint32_t axes = (uint32_t)pick(open ? 1 : 1, 7);
        if (pick(0, 1)) graph_add_output(g, "softmax", softmax(g, x, axes), -1);
        graph_add_output(g, "sum", build_sum(g, build_binary(g, OP_mul, x, x), axes), -1);
        if (pick(0, 2)) graph_add_output(g, "most", build_drop_axes(g, build_reduce_max(g, x, axes), axes), -1);
        if (can_be_named(g->nodes[x].type, axes)) graph_add_output(g, "where", build_argmax(g, x, axes), -1);
        failed += check(g, target, a, "reduction");
    }
    return failed;
}

/* Views on views: what positions must get right. */
static int views(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("views");
        int64_t a = pick(1, 9), b = pick(2, 20), c = pick(2, 40);
        NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 3, (Dim[]){a, b, c}), (Init){0});
        NodeId turned = build_transpose(g, x, (uint32_t[]){2, 0, 1});
        NodeId flat = build_reshape(g, turned, 2, (Dim[]){c * a, b});
        NodeId padded = build_pad(g, flat, type_make(DTYPE_f32, 2, (Dim[]){c * a + 3, b + 5}), (int64_t[]){1, 2}, 0.5);
        NodeId back = build_slice(g, padded, type_make(DTYPE_f32, 2, (Dim[]){(c * a + 3 + 1) / 2, b + 5}), (int64_t[]){0, b + 4}, (int64_t[]){2, -1});
        NodeId both = build_concat(g, back, build_unary(g, OP_neg, back), (uint32_t)pick(0, 1));
        NodeId place = build_iota(g, type_with_dtype(g->nodes[both].type, DTYPE_i32), 1);
        NodeId mixed = build_binary(g, OP_add, both, build_cast(g, place, DTYPE_f32));
        graph_add_output(g, "views", mixed, -1);
        graph_add_output(g, "sums", build_sum(g, mixed, (uint32_t)pick(1, 3)), -1);
        failed += check(g, target, 1, "views");
    }
    return failed;
}

/* Elements taken from memory of every type: along the lanes, across them, by rows and backwards, with positions outside. */
static int gathers(const Target *target, int count) {
    const DType dtypes[] = {DTYPE_f32, DTYPE_u8, DTYPE_f32, DTYPE_i32, DTYPE_u8, DTYPE_i8, DTYPE_i64, DTYPE_bool};
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("gathers");
        Dim size[] = {pick(1, 5), pick(1, 20), pick(1, 50)}, taken[] = {size[0], size[1], size[2]};
        uint32_t axis = (uint32_t)pick(0, 2);
        taken[axis] = pick(1, 60);
        NodeId x = build_input(g, "x", INPUT_data, type_make(dtypes[i % 8], 3, size), (Init){0});
        Type type = type_make(DTYPE_i32, 3, taken), few = type;
        for (uint32_t k = 0; k < 3; k++)
            if (k != axis && pick(0, 1)) few.dim[k] = 1;
        NodeId place = build_cast(g, build_input(g, "place", INPUT_data, type_with_dtype(few, DTYPE_f32), (Init){0}), DTYPE_i32);
        if (pick(0, 1)) place = build_binary(g, OP_add, place, build_iota(g, few, axis));
        NodeId y = build_gather(g, x, build_broadcast(g, place, type), axis);
        int64_t start[] = {0, 0, taken[2] - 1}, step[] = {1, 1, -1};
        if (pick(0, 1)) y = build_slice(g, y, g->nodes[y].type, start, step);
        graph_add_output(g, "y", build_cast(g, y, DTYPE_f32), -1);
        NodeId back = build_slice(g, x, g->nodes[x].type, (int64_t[]){0, 0, size[2] - 1}, step);
        graph_add_output(g, "back", build_cast(g, back, DTYPE_f32), -1);
        failed += check(g, target, 1, "gather");
    }
    return failed;
}

/* Rows and elements added: along any axis, in place or not, with positions outside, in pieces of either kind. */
static int scatters(const Target *target, int count) {
    const DType dtypes[] = {DTYPE_f32, DTYPE_f32, DTYPE_i32, DTYPE_i64};
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("scatters");
        bool large = pick(0, 4) == 0;
        Dim size[] = {pick(1, 4), pick(1, large ? 900 : 40), pick(1, large ? 300 : 70)}, added[] = {size[0], size[1], size[2]};
        uint32_t axis = (uint32_t)pick(0, 2);
        bool open = pick(0, 3) == 0;
        added[axis] = open ? -1 : pick(1, 60);
        DType dtype = dtypes[i % 4];
        Type type = type_make(DTYPE_i32, 3, added), few = type;
        for (uint32_t k = axis + 1; k < 3; k++)
            if (pick(0, 3)) few.dim[k] = 1;
        NodeId base = build_input(g, "x", pick(0, 1) ? INPUT_state : INPUT_data, type_make(dtype, 3, size), (Init){0});
        NodeId place = build_cast(g, build_input(g, "place", INPUT_data, type_with_dtype(few, DTYPE_f32), (Init){0}), DTYPE_i32);
        place = build_binary(g, OP_add, place, build_iota(g, few, axis));
        NodeId updates = build_input(g, "updates", INPUT_data, type_with_dtype(type, dtype), (Init){0});
        bool is_state = g->inputs[0].kind == INPUT_state;
        if (pick(0, 1)) base = pick(0, 1) ? build_like(g, base, 0) : build_unary(g, OP_neg, base);
        NodeId y = build_scatter_add(g, base, build_broadcast(g, place, type), updates, axis);
        graph_add_output(g, "y", y, is_state && pick(0, 1) ? 0 : -1);
        if (pick(0, 2) == 0) graph_add_output(g, "again", build_scatter_add(g, y, build_broadcast(g, place, type), build_unary(g, OP_abs, updates), axis), -1);
        if (pick(0, 2) == 0) graph_add_output(g, "base", build_unary(g, OP_abs, base), -1);
        failed += check(g, target, pick(1, 40), "scatter");
    }
    return failed;
}

/* Pictures with few channels, together and taken apart: what is interleaved as it is stored, of every width. */
static int colours(const Target *target, int count) {
    const DType stored[] = {DTYPE_f32, DTYPE_u8, DTYPE_bool, DTYPE_i32};
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("colours");
        bool open = pick(0, 2) == 0;
        int64_t n = pick(1, 3), h = pick(1, 6), w = pick(1, 70), c = pick(2, 4);
        Dim batch = open ? -1 : n;
        Type type = type_make(DTYPE_f32, 4, (Dim[]){batch, h, w, c});
        NodeId x = build_input(g, "x", INPUT_data, type_with_dtype(type, pick(0, 1) ? DTYPE_u8 : DTYPE_f32), (Init){0});
        NodeId planes = build_input(g, "planes", INPUT_data, type_make(DTYPE_f32, 4, (Dim[]){batch, c, h, w}), (Init){0});
        NodeId y = build_binary(g, OP_mul, build_cast(g, x, DTYPE_f32), build_transpose(g, planes, (uint32_t[]){0, 2, 3, 1}));
        Type one = type;
        one.dim[3] = 1;
        NodeId last = build_slice(g, y, one, (int64_t[]){0, 0, 0, c - 1}, (int64_t[]){1, 1, 1, 1}), all = last;
        for (int64_t k = 1; k < c; k++)
            all = build_concat(g, build_unary(g, k % 2 ? OP_abs : OP_neg, last), all, 3);
        graph_add_output(g, "y", y, -1);
        graph_add_output(g, "all", build_cast(g, build_binary(g, OP_add, all, y), stored[i % 4]), -1);
        failed += check(g, target, n, "colours");
    }
    return failed;
}

/* Work that whole samples need or do not: behind one or two conditions, of pictures with colours or without, summed or not. */
static int decisions(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("decisions");
        bool open = pick(0, 2) == 0;
        int64_t n = pick(2, 9);
        Dim batch = open ? -1 : n, size[] = {batch, pick(2, 6), pick(1, 70), pick(0, 1) ? pick(2, 4) : 1}, one[] = {batch, 1, 1, 1};
        uint32_t rank = size[3] == 1 ? 3 : 4;
        NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, rank, size), (Init){0}), y = x;
        Type type = g->nodes[x].type;
        for (int k = 0; k < 2; k++) {
            NodeId chance = build_input(g, "chance", INPUT_data, type_make(DTYPE_f32, rank, one), (Init){0});
            if (pick(0, 3) == 0) chance = build_sum(g, x, (1u << rank) - 2); /* that the kernel makes itself */
            NodeId condition = build_broadcast(g, build_binary(g, OP_less, chance, build_like(g, chance, 0)), type_with_dtype(type, DTYPE_bool));
            NodeId work = y, other = pick(0, 1) ? build_like(g, y, 0) : y;
            for (int step = (int)pick(2, 14); step; step--) work = build_binary(g, step % 2 ? OP_add : OP_mul, build_unary(g, OP_abs, work), build_like(g, x, 0.9));
            y = pick(0, 1) ? build_select(g, condition, work, other) : build_select(g, condition, other, work);
        }
        if (n > 1 && !open && pick(0, 2) == 0) y = build_slice(g, y, type, (int64_t[]){n - 1, 0, 0, 0}, (int64_t[]){-1, 1, 1, 1});
        if (pick(0, 2) == 0) y = build_sum(g, y, 1u << (rank - 1 - (uint32_t)pick(0, 1)));
        graph_add_output(g, "y", y, -1);
        failed += check(g, target, n, "decision");
    }
    return failed;
}

/* The condition is seen: what it spares is not done, which no result tells. */
static int one_decision(void) {
    Graph *g = graph_new("decision");
    NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 3, (Dim[]){4, 5, 30}), (Init){0}), y = x;
    NodeId chance = build_input(g, "chance", INPUT_data, type_make(DTYPE_bool, 3, (Dim[]){4, 1, 1}), (Init){0});
    for (int step = 0; step < 20; step++) y = build_unary(g, step % 2 ? OP_neg : OP_abs, y);
    NodeId spread = build_broadcast(g, chance, type_with_dtype(g->nodes[x].type, DTYPE_bool));
    graph_add_output(g, "y", build_select(g, spread, y, x), -1);
    Kernel kernel = {.kind = KERNEL_map, .body = g, .grid = {.rank = 3, .axis = {{4, 1}, {5, 0}, {30, 0}}}};
    Arena *arena = arena_new();
    bool is_seen = decide_condition(&kernel, kernel_stages(&kernel, arena), arena) == chance;
    if (!is_seen) printf("FAIL what whole samples decide is not seen\n");
    arena_free(arena);
    graph_free(g);
    return !is_seen;
}

/* Colours of a picture from the same places: one kernel. */
static int takers(const Target *target) {
    Graph *g = graph_new("takers"), *stopped = NULL;
    Dim size[] = {3, 7, 50, 3}, plane[] = {3, 7, 40};
    NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 4, size), (Init){0});
    NodeId place = build_cast(g, build_input(g, "place", INPUT_data, type_make(DTYPE_f32, 3, (Dim[]){3, 1, 40}), (Init){0}), DTYPE_i32);
    NodeId where = build_broadcast(g, build_binary(g, OP_add, place, build_iota(g, g->nodes[place].type, 2)), type_make(DTYPE_i32, 3, plane));
    for (int64_t c = 0; c < 3; c++) {
        NodeId part = build_slice(g, x, type_make(DTYPE_f32, 4, (Dim[]){3, 7, 50, 1}), (int64_t[]){0, 0, 0, c}, (int64_t[]){1, 1, 1, 1});
        NodeId taken = build_gather(g, build_reshape(g, part, 3, size), where, 2);
        graph_add_output(g, "y", build_binary(g, OP_mul, taken, build_like(g, taken, 2)), -1);
    }
    NodeId all = build_input(g, "all", INPUT_data, type_make(DTYPE_f32, 3, (Dim[]){3, 7, 40}), (Init){0});
    NodeId first = build_reshape(g, build_slice(g, x, type_make(DTYPE_f32, 4, (Dim[]){3, 7, 50, 1}), (int64_t[]){0, 0, 0, 0}, (int64_t[]){1, 1, 1, 1}), 3, size);
    graph_add_output(g, "added", build_scatter_add(g, all, where, build_gather(g, first, where, 2), 2), -1); /* stays by itself */
    Program *program = NULL;
    pipeline_run(g, &(PipelineOptions){.machine = target->machine}, &stopped, &program);
    uint32_t kernels = 0;
    for (uint32_t k = 0; k < program->kernel_count; k++) kernels += program->kernels[k].body->output_count == 3;
    program_free(program);
    if (kernels != 1) printf("FAIL takers: %u kernels make three colours\n", kernels);
    return check(g, target, 1, "takers") + (kernels != 1);
}

/* A convolution as the graph has it: a window, its taps and channels joined, and a product; and the sums that arise in
 * pooling and gradients. */
static int windows(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("windows");
        bool open = pick(0, 3) == 0;
        int64_t n = pick(1, 3), h = pick(3, 12), w = pick(3, 12), c = pick(1, 40), o = pick(1, 40), kh = pick(1, 3), kw = pick(1, 3);
        int64_t stride[] = {pick(1, 2), pick(1, 2)}, dilation[] = {pick(1, 2), pick(1, 2)}, before[] = {pick(0, 2), pick(0, 2)};
        int64_t oh = (h + 2 * before[0] - (kh - 1) * dilation[0] - 1) / stride[0] + 1, ow = (w + 2 * before[1] - (kw - 1) * dilation[1] - 1) / stride[1] + 1;
        if (oh < 1 || ow < 1) oh = ow = 1;
        Dim batch = open ? -1 : n;
        NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 6, (Dim[]){batch, h, w, 1, 1, c}), (Init){0});
        NodeId seen = build_window(g, x, type_make(DTYPE_f32, 6, (Dim[]){batch, oh, ow, kh, kw, c}), stride, dilation, before, 0);
        NodeId left = build_reshape(g, seen, 2, (Dim[]){batch * oh * ow, kh * kw * c});
        NodeId y = build_matmul(g, left, data(g, "w", kh * kw * c, o));
        graph_add_output(g, "y", build_unary(g, OP_tanh, y), -1);
        if (pick(0, 1)) graph_add_output(g, "pool", build_reduce_max(g, seen, 1u << 3 | 1u << 4), -1);
        if (pick(0, 1)) graph_add_output(g, "where", build_argmax(g, seen, 1u << 3 | 1u << 4), -1);
        if (pick(0, 1)) {
            Type wide = type_make(DTYPE_f32, 6, (Dim[]){batch, h, w, kh, kw, c});
            NodeId back = build_unwindow(g, build_unary(g, OP_exp, seen), wide, stride, dilation, before);
            graph_add_output(g, "back", build_sum(g, back, 1u << 3 | 1u << 4), -1);
        }
        if (!open) graph_add_output(g, "dw", build_matmul(g, build_swap_last(g, left), data(g, "dy", batch * oh * ow, o)), -1);
        failed += check(g, target, n, "window");
    }
    return failed;
}

/* Few different numbers for the graph's first input: equals, nothing but -inf, and NaN among others. */
static int check_few(Graph *g, const Target *target, int64_t n, const char *what) {
    static const double sets[][4] = {{0, 1, 0, 1}, {-INFINITY, -INFINITY, -INFINITY, -1}, {NAN, 1, -INFINITY, 2}, {3, -2, 0, 2}};
    Arena *arena = arena_new();
    const double **inputs = compiled_draw(g, n, (uint64_t)pick(1, 1 << 20), arena), *set = sets[pick(0, 3)];
    int64_t elements = dim_at(type_elements(g->inputs[0].type), n);
    double *few = arena_array(arena, double, elements);
    bool whole = g->inputs[0].type.dtype == DTYPE_i32;
    for (int64_t i = 0; i < elements; i++) few[i] = whole ? (double)pick(-2, 2) : set[pick(0, 3)];
    inputs[0] = few;
    int failed = check_with(g, target, n, inputs, what);
    arena_free(arena);
    return failed;
}

/* Where the largest stand, beside the maximum and alone. */
static int positions(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("positions");
        int64_t a = pick(1, 9), b = pick(1, 9), c = pick(0, 1) ? pick(1, 3) : pick(1, 90);
        DType dtype = pick(0, 2) ? DTYPE_f32 : DTYPE_i32;
        NodeId x = build_input(g, "x", INPUT_data, type_make(dtype, 3, (Dim[]){a, b, c}), (Init){0});
        uint32_t axes = (uint32_t)pick(1, 7);
        if (!can_be_named(g->nodes[x].type, axes)) axes = 2;
        graph_add_output(g, "where", build_argmax(g, x, axes), -1);
        if (pick(0, 1)) graph_add_output(g, "most", build_reduce_max(g, x, axes), -1);
        failed += check_few(g, target, 1, "positions");
    }
    return failed;
}

/* Maxima of windows, and what flows back through them. */
static int pools(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Graph *g = graph_new("pools");
        Arena *arena = arena_new();
        int64_t n = pick(1, 3), kernel[] = {pick(1, 3), pick(1, 3)}, places[] = {pick(1, 7), pick(1, 7)}, size[2];
        Dim batch = pick(0, 1) ? -1 : n, channels = pick(0, 1) ? pick(1, 4) : pick(1, 80);
        Sliding s = {{kernel[0], kernel[1]}, {1, 1}, {0, 0}, {0, 0}};
        bool tiles = pick(0, 2) == 0;
        for (int k = 0; k < 2; k++) {
            if (!tiles) s.stride[k] = pick(1, 3), s.before[k] = pick(0, kernel[k] / 2), s.after[k] = pick(0, kernel[k] / 2);
            size[k] = (places[k] - 1) * s.stride[k] + kernel[k] - s.before[k] - s.after[k];
            if (size[k] < 1) size[k] += s.before[k] + s.after[k], s.before[k] = s.after[k] = 0;
        }
        NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 4, (Dim[]){batch, size[0], size[1], channels}), (Init){0}), dx;
        NodeId y = build_max_pool(g, x, kernel, &s);
        NodeId dy = build_input(g, "dy", INPUT_data, g->nodes[y].type, (Init){0});
        differentiate(g, y, dy, &x, 1, &dx, arena);
        graph_add_output(g, "y", y, -1);
        graph_add_output(g, "dx", dx, -1);
        arena_free(arena);
        failed += check_few(g, target, n, "pools");
    }
    return failed;
}

/* Narrow results of every length around a vector: what is stored must end with the tensor. */
static int narrow_tails(const Target *target) {
    int failed = 0;
    const DType dtypes[] = {DTYPE_bf16, DTYPE_f16, DTYPE_i8, DTYPE_u8, DTYPE_bool};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        Graph *g = graph_new("tails");
        for (int64_t size = 1; size <= 20; size++) {
            NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 1, (Dim[]){size}), (Init){0});
            graph_add_output(g, "y", build_cast(g, build_unary(g, OP_floor, x), dtypes[i]), -1);
        }
        failed += check(g, target, 1, "narrow tails");
    }
    return failed;
}

static int same_bits(const Target *target) {
    int failed = 0;
    for (int i = 0; i < 4; i++) {
        Graph *g = product(pick(50, 300), pick(50, 300), pick(50, 500), pick(0, 1), pick(0, 1), 7);
        Arena *arena = arena_new();
        const double **inputs = compiled_draw(g, 1, 5, arena);
        for (int threads = 2; threads <= 7; threads += threads == 3 ? 4 : 1)
            if (compiled_same_bits(g, target, 1, inputs, 1, threads)) {
                printf("FAIL bits differ between 1 and %d threads\n", threads);
                failed++;
            }
        arena_free(arena);
        graph_free(g);
    }
    return failed;
}

/* Kernels of one long piece, each of which needs the one before: no thread may help with one too early. */
static int chains(const Target *target) {
    Graph *g = graph_new("chain");
    NodeId last = build_constant(g, type_make(DTYPE_f32, 2, (Dim[]){1, 1}), 1);
    for (int i = 0; i < 6; i++) {
        NodeId x = build_input(g, "x", INPUT_data, type_make(DTYPE_f32, 2, (Dim[]){-1, 500 - i}), (Init){0});
        NodeId y = build_binary(g, OP_add, x, build_broadcast(g, last, g->nodes[x].type));
        last = build_reduce_max(g, y, 3);
    }
    graph_add_output(g, "last", last, -1);
    Arena *arena = arena_new();
    const double **inputs = compiled_draw(g, 1000, 7, arena);
    int wrong = 0;
    for (int threads = 2; threads <= 4; threads++) wrong += compiled_compare(g, target, 1000, inputs, threads, 1e-5);
    if (wrong) printf("FAIL a chain of long pieces\n");
    arena_free(arena);
    graph_free(g);
    return wrong != 0;
}

int main(int argc, char **argv) {
    int scale = argc > 1 ? atoi(argv[1]) : 1, failed = 0;
    const char *cpus[] = {NULL, "x86-64-v3", "x86-64-v2"};
    Arena *arena = arena_new();
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        Target target;
        Diag diag;
        diag_init(&diag);
        if (!target_make(NULL, cpus[i], arena, &target, &diag)) {
            printf("skipped %s: %s", cpus[i], diag.text);
            diag_free(&diag);
            continue;
        }
        diag_free(&diag);
        failed += products(&target, 24 * scale) + batched_products(&target, 4 * scale) + reductions(&target, 16 * scale) + views(&target, 8 * scale);
        failed += windows(&target, 12 * scale) + gathers(&target, 16 * scale) + scatters(&target, 24 * scale) + colours(&target, 16 * scale) + narrow_tails(&target);
        failed += decisions(&target, 24 * scale) + one_decision() + takers(&target);
        failed += positions(&target, 24 * scale) + pools(&target, 12 * scale);
        failed += same_bits(&target) + chains(&target);
        printf("%s: %d failed so far\n", target.cpu, failed);
    }
    arena_free(arena);
    printf("%s\n", failed ? "FAILED" : "all kernels compute what the evaluator does");
    return failed != 0;
}
