/* Attention: that what its operations mean is what softmax and products say, that its kernels compute that, forward and
 * backward, over random shapes with awkward edges, for each vector width, and with the same bits for any number of
 * threads. */
#include "ir/attention.h"
#include "ir/build.h"
#include "tests/compiled.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;

static int64_t pick(int64_t least, int64_t most) {
    return least + (int64_t)((compiled_random(&state) + 1) / 2 * (double)(most - least + 1));
}

/* How the operands lie: as they are named; as parts of one joint projection; heads before positions; q alone, which is
 * its own keys and values; as what other operations made. */
typedef enum { LIES_apart, LIES_joint, LIES_turned, LIES_same, LIES_computed, LAYOUTS } Layout;

typedef struct {
    int64_t N, S, T, H, D;
    Layout layout;
    bool is_open, is_causal, has_count, is_known;
    int64_t count; /* of all samples, where it is known: a constant */
    double scale, rate;
} Shape;

typedef struct {
    Graph *g;
    NodeId q, k, v, count, key, sample, y;
} Built;

static NodeId data(Graph *g, const char *name, DType dtype, uint32_t rank, const Dim *dim) {
    return build_input(g, name, INPUT_data, type_make(dtype, rank, dim), (Init){0});
}

static NodeId heads(Graph *g, const char *name, const Shape *s, Dim n, int64_t positions) {
    NodeId x;
    switch (s->layout) {
    case LIES_turned:
        x = data(g, name, DTYPE_f32, 4, (Dim[]){n, s->H, positions, s->D});
        return build_transpose(g, x, (uint32_t[]){0, 2, 1, 3});
    case LIES_computed:
        x = data(g, name, DTYPE_f32, 3, (Dim[]){n, positions, s->H * s->D});
        return build_reshape(g, build_unary(g, OP_tanh, x), 4, (Dim[]){n, positions, s->H, s->D});
    case LIES_apart:
    case LIES_joint:
    case LIES_same:
    case LAYOUTS: break;
    }
    x = data(g, name, DTYPE_f32, 3, (Dim[]){n, positions, s->H * s->D});
    return build_reshape(g, x, 4, (Dim[]){n, positions, s->H, s->D});
}

/* A third of a joint projection [n,S,3 H D]. */
static NodeId part(Graph *g, NodeId joint, const Shape *s, Dim n, int64_t i) {
    Type type = type_make(DTYPE_f32, 3, (Dim[]){n, s->S, s->H * s->D});
    NodeId x = build_slice(g, joint, type, (int64_t[]){0, 0, i * s->H * s->D}, (int64_t[]){1, 1, 1});
    return build_reshape(g, x, 4, (Dim[]){n, s->S, s->H, s->D});
}

static Built build(const Shape *s) {
    Graph *g = graph_new("attention");
    Dim n = s->is_open ? -1 : s->N;
    Built b = {.g = g, .count = NO_NODE, .key = NO_NODE, .sample = NO_NODE};
    if (s->layout == LIES_joint) {
        NodeId joint = data(g, "joint", DTYPE_f32, 3, (Dim[]){n, s->S, 3 * s->H * s->D});
        b.q = part(g, joint, s, n, 0), b.k = part(g, joint, s, n, 1), b.v = part(g, joint, s, n, 2);
    } else {
        b.q = heads(g, "q", s, n, s->S);
        b.k = s->layout == LIES_same ? b.q : heads(g, "k", s, n, s->T);
        b.v = s->layout == LIES_same ? b.q : heads(g, "v", s, n, s->T);
    }
    if (s->has_count)
        b.count = s->is_known ? build_constant(g, type_make(DTYPE_i32, 1, (Dim[]){1}), (double)s->count)
                              : data(g, "count", DTYPE_i32, 1, (Dim[]){n});
    if (s->rate != 0) {
        b.key = data(g, "key", DTYPE_i32, 1, (Dim[]){3});
        b.sample = data(g, "sample", DTYPE_i32, 1, (Dim[]){n});
    }
    b.y = build_attention(g, b.q, b.k, b.v, b.count, s->scale, s->is_causal, s->rate, b.key, b.sample, 3);
    return b;
}

static void add_gradients(Built *b) {
    Graph *g = b->g;
    NodeId wanted[3] = {b->q, b->k, b->v}, result[3];
    Arena *scratch = arena_new();
    NodeId dy = build_input(g, "dy", INPUT_data, g->nodes[b->y].type, (Init){0});
    differentiate(g, b->y, dy, wanted, 3, result, scratch);
    for (int i = 0; i < 3; i++) graph_add_output(g, (const char *[]){"dq", "dk", "dv"}[i], result[i], -1);
    arena_free(scratch);
}

/* From below 0 to beyond T, often 0. */
static int64_t random_count(const Shape *s) {
    int64_t kind = pick(0, 5);
    return kind == 0 ? 0 : kind == 1 ? pick(-1, s->T + 1) : pick(1, s->T);
}

static const double **draw(const Built *b, const Shape *s, Arena *arena) {
    const double **inputs = compiled_draw(b->g, s->N, (uint64_t)pick(1, 1 << 20), arena);
    if (!s->has_count || s->is_known) return inputs;
    double *counts = arena_array(arena, double, s->N);
    for (int64_t i = 0; i < s->N; i++) counts[i] = (double)random_count(s);
    inputs[b->g->nodes[b->count].attr.index] = counts;
    return inputs;
}

static Shape random_shape(void) {
    static const int64_t widths[] = {1, 3, 8, 16, 20, 24, 32, 33, 64, 80};
    bool is_long = pick(0, 5) == 0;
    Shape s = {.N = pick(1, 3), .H = pick(1, 3), .D = widths[pick(0, 9)], .layout = (Layout)pick(0, LAYOUTS - 1)};
    s.S = pick(1, is_long ? 300 : 70);
    s.T = s.layout == LIES_joint || s.layout == LIES_same || pick(0, 1) ? s.S : pick(1, is_long ? 600 : 70);
    s.is_open = pick(0, 1), s.is_causal = pick(0, 2) == 0, s.has_count = pick(0, 1);
    s.is_known = s.has_count && pick(0, 2) == 0, s.count = random_count(&s);
    s.scale = pick(0, 9) ? 1 / sqrt((double)s.D) : -0.25;
    s.rate = pick(0, 2) == 0 ? 0.25 : 0;
    return s;
}

static int fail(const Shape *s, const Target *target, const char *what) {
    printf("FAIL %s: n = %lld, %lld queries, %lld keys, %lld heads, width %lld, layout %d%s%s%s, rate %g, %s\n", what,
           (long long)s->N, (long long)s->S, (long long)s->T, (long long)s->H, (long long)s->D, s->layout,
           s->is_open ? ", open" : "", s->is_causal ? ", causal" : "",
           s->is_known    ? ", a known count"
           : s->has_count ? ", counts"
                          : "",
           s->rate, target ? target->cpu : "evaluated");
    return 1;
}

/* ---- what it means */

/* bool [N,H,S,T]: the query sees the key. */
static NodeId seen(Built *b, const Shape *s, Type type) {
    Graph *g = b->g;
    Type places = type_with_dtype(type, DTYPE_i32);
    NodeId t = build_iota(g, places, 3), all = build_constant(g, places, (double)s->T);
    if (b->count != NO_NODE) {
        NodeId count = build_reshape(g, b->count, 4, (Dim[]){g->nodes[b->count].type.dim[0], 1, 1, 1});
        all = build_broadcast(g, count, places);
    }
    NodeId is_seen = build_binary(g, OP_less, t, all);
    if (!s->is_causal) return is_seen;
    NodeId ahead = build_binary(g, OP_less, build_iota(g, places, 2), t);
    return build_binary(g, OP_and, is_seen, build_unary(g, OP_not, ahead));
}

/* f32 [N,H,S,T]: 0 or 1 / (1 - rate), from four words of each element of `random`. */
static NodeId kept(Built *b, const Shape *s, Type type) {
    Graph *g = b->g;
    Dim fours = (s->T + 3) / 4, n = type.dim[0];
    Type blocks = type_make(DTYPE_i32, 4, (Dim[]){n, s->H, s->S, fours});
    NodeId words = NO_NODE;
    for (uint32_t word = 0; word < 4; word++) {
        NodeId bits = build_random(g, blocks, b->key, b->sample, 3, word);
        bits = build_reshape(g, bits, 5, (Dim[]){n, s->H, s->S, fours, 1});
        words = words == NO_NODE ? bits : build_concat(g, words, bits, 4);
    }
    words = build_reshape(g, words, 4, (Dim[]){n, s->H, s->S, 4 * fours});
    words = build_slice(g, words, type_with_dtype(type, DTYPE_i32), (int64_t[]){0, 0, 0, 0}, (int64_t[]){1, 1, 1, 1});
    NodeId number = build_cast(g, build_binary(g, OP_shift_right, words, build_like(g, words, 8)), DTYPE_f32);
    NodeId is_dropped = build_binary(g, OP_less, number, build_like(g, number, s->rate * 0x1p24));
    return build_select(g, is_dropped, build_constant(g, type, 0), build_constant(g, type, 1 / (1 - s->rate)));
}

/* softmax(scale q kᵀ) v of operations that everybody knows. */
static NodeId expanded(Built *b, const Shape *s) {
    static const uint32_t turn[] = {0, 2, 1, 3};
    Graph *g = b->g;
    NodeId q = build_transpose(g, b->q, turn), k = build_transpose(g, b->k, turn), v = build_transpose(g, b->v, turn);
    NodeId scores = build_matmul(g, q, build_swap_last(g, k));
    Type type = g->nodes[scores].type;
    scores = build_binary(g, OP_mul, scores, build_like(g, scores, s->scale));
    NodeId is_seen = seen(b, s, type), far = build_like(g, scores, -1e9);
    scores = build_select(g, is_seen, scores, far);
    NodeId most = build_broadcast(g, build_reduce_max(g, scores, 1u << 3), type);
    NodeId weights = build_unary(g, OP_exp, build_binary(g, OP_sub, scores, most));
    weights = build_select(g, is_seen, weights, build_like(g, weights, 0));
    NodeId total = build_sum(g, weights, 1u << 3);
    total = build_binary(g, OP_max, total, build_like(g, total, 1e-30));
    weights = build_binary(g, OP_div, weights, build_broadcast(g, total, type));
    if (s->rate != 0) weights = build_binary(g, OP_mul, weights, kept(b, s, type));
    return build_transpose(g, build_matmul(g, weights, v), turn);
}

/* Results and gradients of both, evaluated. */
static int meanings(int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Shape s = random_shape();
        s.S = s.S % 20 + 1, s.T = s.layout == LIES_joint || s.layout == LIES_same ? s.S : s.T % 20 + 1;
        Built b = build(&s);
        Arena *arena = arena_new();
        NodeId other = expanded(&b, &s), wanted[3] = {b.q, b.k, b.v}, first[3], second[3];
        NodeId dy = build_input(b.g, "dy", INPUT_data, b.g->nodes[b.y].type, (Init){0});
        differentiate(b.g, b.y, dy, wanted, 3, first, arena);
        differentiate(b.g, other, dy, wanted, 3, second, arena);
        const double **inputs = draw(&b, &s, arena);
        double **values = graph_eval(b.g, s.N, inputs, arena);
        NodeId pairs[4][2] = {{b.y, other}, {first[0], second[0]}, {first[1], second[1]}, {first[2], second[2]}};
        bool equal = true;
        for (int p = 0; p < 4; p++)
            for (int64_t e = 0; e < dim_at(type_elements(b.g->nodes[pairs[p][0]].type), s.N); e++)
                equal &= fabs(values[pairs[p][0]][e] - values[pairs[p][1]][e]) < 1e-9;
        if (!equal) failed += fail(&s, NULL, "meaning");
        graph_free(b.g);
        arena_free(arena);
    }
    return failed;
}

/* ---- what is computed */

static uint32_t count_attention(const Program *program) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < program->call_count; i++)
        count += program->kernels[program->calls[i].kernel].kind == KERNEL_attention;
    return count;
}

/* One kernel forward and one backward, and no copies of operands that lie in memory. */
static bool has_few_calls(const Built *b, const Shape *s, const Target *target, bool with_gradients) {
    Program *program = NULL;
    Graph *stopped = NULL;
    pipeline_run(b->g, &(PipelineOptions){.machine = target->machine}, &stopped, &program);
    uint32_t others = s->layout == LIES_computed ? 3 : 0;         /* what computes the operands, and delta */
    if (with_gradients) others += s->layout == LIES_same ? 4 : 1; /* the sum of three, and its copies */
    bool good = count_attention(program) == 1u + with_gradients && program->call_count <= 1 + with_gradients + others;
    if (!good) program_print(program, stdout);
    program_free(program);
    return good;
}

static int check_kernels(const Shape *s, const Target *target, bool with_gradients) {
    Built b = build(s);
    Arena *arena = arena_new();
    int failed = 0;
    graph_add_output(b.g, "y", b.y, -1);
    if (pick(0, 3) == 0) graph_add_output(b.g, "norm", b.g->nodes[b.y].in[ATTENTION_norm], -1);
    if (with_gradients) add_gradients(&b);
    const double **inputs = draw(&b, s, arena);
    if (compiled_compare(b.g, target, s->N, inputs, (int)pick(1, 3), 2e-5)) failed += fail(s, target, "kernel");
    if (compiled_same_bits(b.g, target, s->N, inputs, 1, (int)pick(2, 3)))
        failed += fail(s, target, "bits depend on threads");
    if (!has_few_calls(&b, s, target, with_gradients)) failed += fail(s, target, "calls");
    graph_free(b.g);
    arena_free(arena);
    return failed;
}

static int kernels(const Target *target, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        Shape s = random_shape();
        failed += check_kernels(&s, target, pick(0, 2));
    }
    Shape none = {.N = 2, .S = 5, .T = 7, .H = 2, .D = 20, .has_count = true, .is_known = true, .scale = 0.25};
    return failed + check_kernels(&none, target, true);
}

/* Whatever stands behind the count, results are the same: padding is not read, or weighs nothing. */
static int padding(const Target *target) {
    Shape s = {.N = 2, .S = 37, .T = 37, .H = 2, .D = 20, .has_count = true, .scale = 0.25};
    Built b = build(&s);
    Arena *arena = arena_new();
    graph_add_output(b.g, "y", b.y, -1);
    const double **inputs = draw(&b, &s, arena);
    double *counts = arena_array(arena, double, s.N);
    counts[0] = 19, counts[1] = 32;
    inputs[b.g->nodes[b.count].attr.index] = counts;
    const void *before = compiled_run(b.g, target, s.N, inputs, 2, arena);
    for (uint32_t i = 1; i < 3; i++) { /* k, v */
        int64_t row = s.H * s.D;
        double *changed = arena_array(arena, double, s.N *s.T *row);
        for (int64_t e = 0; e < s.N * s.T * row; e++)
            changed[e] = (double)(e / row % s.T) < counts[e / row / s.T] ? inputs[i][e] : 1e30;
        inputs[i] = changed;
    }
    const void *after = compiled_run(b.g, target, s.N, inputs, 2, arena);
    int failed = memcmp(before, after, compiled_bytes(b.g, s.N)) ? fail(&s, target, "padding is seen") : 0;
    graph_free(b.g);
    arena_free(arena);
    return failed;
}

int main(int argc, char **argv) {
    int scale = argc > 1 ? atoi(argv[1]) : 1, failed = 0;
    if (argc > 2) state = strtoull(argv[2], NULL, 10);
    const char *cpus[] = {NULL, "x86-64-v4", "x86-64-v3", "x86-64-v2"};
    Arena *arena = arena_new();
    failed += meanings(40 * scale);
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        Target target;
        Diag diag;
        diag_init(&diag);
        bool is_known = target_make(NULL, cpus[i], arena, &target, &diag);
        if (is_known && target.is_host) {
            failed += kernels(&target, 12 * scale) + padding(&target);
            printf("%s: %d failed so far\n", target.cpu, failed);
        } else {
            printf("skipped %s: %s\n", cpus[i], is_known ? "this machine cannot run it" : diag.text);
        }
        diag_free(&diag);
    }
    arena_free(arena);
    printf("%s\n", failed ? "FAILED" : "attention computes what softmax and products do");
    return failed != 0;
}
