/* Schedules that `selfc tune` may choose: every candidate of random contractions, and random choices that are said to
 * fit, compile and give the bits of the cost model's schedule, which computes what the evaluator does. */
#include "ir/build.h"
#include "passes/choice.h"
#include "tests/compiled.h"

#include <stdlib.h>
#include <string.h>

static uint64_t state = 7;
static int tried, failed;
static bool tries_all;

static int64_t pick(int64_t least, int64_t most) {
    return least + (int64_t)((compiled_random(&state) + 1) / 2 * (double)(most - least + 1));
}

static NodeId data(Graph *g, const char *name, Type type) { return build_input(g, name, INPUT_data, type, (Init){0}); }
static NodeId matrix(Graph *g, const char *name, Dim a, Dim b) {
    return data(g, name, type_make(DTYPE_f32, 2, (Dim[]){a, b}));
}

/* Transposed or not, with values that are computed on the way in, updates and functions on the way out. */
static Graph *product(int64_t m, int64_t n, int64_t k) {
    Graph *g = graph_new("product");
    bool a_turned = pick(0, 1), b_turned = pick(0, 1);
    NodeId a = a_turned ? build_swap_last(g, matrix(g, "a", k, m)) : matrix(g, "a", m, k);
    NodeId b = b_turned ? build_swap_last(g, matrix(g, "b", n, k)) : matrix(g, "b", k, n);
    if (pick(0, 3) == 0) a = build_unary(g, OP_neg, a);
    if (pick(0, 3) == 0) b = build_unary(g, OP_neg, b);
    NodeId c = build_matmul(g, a, b);
    int end = (int)pick(0, 2);
    if (end == 1) c = build_unary(g, OP_tanh, c);
    if (end == 2 && m > 0) {
        NodeId w = build_input(g, "w", INPUT_state, g->nodes[c].type, (Init){0});
        graph_add_output(g, "w", build_binary(g, OP_sub, w, build_binary(g, OP_mul, c, build_like(g, c, 0.25))),
                         (int32_t)g->nodes[w].attr.index);
    } else {
        graph_add_output(g, "c", c, -1);
    }
    return g;
}

static Graph *batched(void) {
    Graph *g = graph_new("batched");
    int64_t b = pick(1, 4), m = pick(1, 40), n = pick(1, 50), k = pick(1, 60);
    NodeId x = data(g, "x", type_make(DTYPE_f32, 3, (Dim[]){b, m, k})),
           y = data(g, "y", type_make(DTYPE_f32, 3, (Dim[]){b, n, k}));
    graph_add_output(g, "c", build_matmul(g, x, build_swap_last(g, y)), -1);
    return g;
}

/* A convolution and the gradient of its weights, whole or image by image. */
static Graph *convolution(bool open, int64_t n) {
    Graph *g = graph_new("convolution");
    int64_t h = pick(3, 14), w = pick(3, 14), c = pick(1, 20), o = pick(1, 40), kh = pick(1, 3), kw = pick(1, 3),
            pad = pick(0, 1);
    int64_t stride[] = {pick(1, 2), pick(1, 2)}, dilation[] = {pick(1, 2), 1}, before[] = {pad, pad};
    int64_t oh = (h + 2 * pad - (kh - 1) * dilation[0] - 1) / stride[0] + 1, ow = (w + 2 * pad - kw) / stride[1] + 1;
    if (oh < 1 || ow < 1) oh = ow = kh = kw = 1;
    Dim batch = open ? -1 : n;
    NodeId x = data(g, "x", type_make(DTYPE_f32, 6, (Dim[]){batch, h, w, 1, 1, c}));
    if (pick(0, 2) == 0) x = build_unary(g, OP_neg, x);
    NodeId seen =
        build_window(g, x, type_make(DTYPE_f32, 6, (Dim[]){batch, oh, ow, kh, kw, c}), stride, dilation, before, 0);
    NodeId left = build_reshape(g, seen, 2, (Dim[]){batch * oh * ow, kh * kw * c});
    graph_add_output(g, "y", build_matmul(g, left, matrix(g, "w", kh * kw * c, o)), -1);
    if (open) return g;
    graph_add_output(g, "dw", build_matmul(g, build_swap_last(g, left), matrix(g, "dy", n * oh * ow, o)), -1);
    NodeId each = build_swap_last(g, build_reshape(g, seen, 3, (Dim[]){n, oh * ow, kh * kw * c}));
    graph_add_output(g, "dws", build_matmul(g, each, data(g, "dys", type_make(DTYPE_f32, 3, (Dim[]){n, oh * ow, o}))),
                     -1);
    return g;
}

/* ---- */

static Program *lowered(const Graph *g, const Machine *machine) {
    PipelineOptions options = {.machine = *machine};
    Graph *stopped = NULL;
    Program *program = NULL;
    pipeline_run(g, &options, &stopped, &program);
    return program;
}

static const Kernel *with_key(const Program *program, uint64_t key) {
    for (uint32_t i = 0; i < program->kernel_count; i++)
        if (program->kernels[i].kind == KERNEL_contract && choice_key(&program->kernels[i]) == key)
            return &program->kernels[i];
    return NULL;
}

static void fail(const char *what, const Graph *g, const Choice *c, const Target *target) {
    printf("FAIL %s, %u-byte vectors: tile %ux%u pack %d%d depth %lld rows %lld blocks", what,
           target->machine.vector_bytes, c->tile_rows, c->tile_vectors, c->pack_a, c->pack_b, (long long)c->depth_block,
           (long long)c->row_block);
    for (uint32_t i = 0; i < c->rank; i++) printf(" %lld", (long long)c->block[i]);
    printf("\n");
    graph_print(g, stdout);
    failed++;
}

/* A graph, and what it computes as the cost model schedules it. */
typedef struct {
    const Graph *graph;
    const Target *target;
    int64_t n;
    const double *const *inputs;
    const void *bits;
} Case;

/* The choice is what the pipeline takes, and changes no bit. */
static void try_choice(const Case *t, Choice choice) {
    Choices measured = {&choice, 1, 1};
    Target tuned = *t->target;
    Arena *arena = arena_new();
    tuned.machine.measured = &measured;
    Program *program = lowered(t->graph, &tuned.machine);
    const Kernel *kernel = with_key(program, choice.kernel);
    Choice taken = kernel ? choice_of(kernel) : (Choice){0};
    if (!kernel || !choice_equal(&taken, &choice)) fail("the choice was not taken", t->graph, &choice, t->target);
    program_free(program);
    const void *bits = compiled_run(t->graph, &tuned, t->n, t->inputs, (int)pick(1, 3), arena);
    if (memcmp(bits, t->bits, compiled_bytes(t->graph, t->n))) fail("other bits", t->graph, &choice, t->target);
    tried++;
    arena_free(arena);
}

/* One of three, or all. */
static void try_list(const Case *t, const Choice *list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < i; k++)
            if (choice_equal(&list[k], &list[i])) fail("named twice", t->graph, &list[i], t->target);
        if (tries_all || pick(0, 2) == 0) try_choice(t, list[i]);
    }
}

/* Numbers as they may stand in a file that was edited: nonsense must not fit, and what fits must work. */
static void try_nonsense(const Case *t, const Kernel *kernel, Choice choice) {
    int64_t *number[] = {&choice.depth_block, &choice.row_block, &choice.block[choice.rank - 2],
                         &choice.block[choice.rank - 1]};
    static const int64_t odd[] = {0, -1, 1, 7, 16, 32, 48, INT64_MAX, INT64_MIN, 1 << 20};
    for (uint32_t i = 0, changes = (uint32_t)pick(1, 3); i < changes; i++) {
        int what = (int)pick(0, 7);
        if (what < 4)
            *number[what] = pick(0, 1) ? odd[pick(0, 9)] : (int64_t)((uint64_t)*number[what] + (uint64_t)pick(-20, 20));
        if (what == 4) choice.pack_a = !choice.pack_a;
        if (what == 5) choice.pack_b = !choice.pack_b;
        if (what == 6) choice.tile_rows = (uint32_t)pick(0, 40);
        if (what == 7) choice.tile_vectors = (uint32_t)pick(0, 6);
    }
    if (choice_fits(&choice, kernel, &t->target->machine)) try_choice(t, choice);
}

static void check(Graph *g, const Target *target, int64_t n) {
    Arena *arena = arena_new();
    const double *const *inputs = compiled_draw(g, n, (uint64_t)pick(1, 1 << 20), arena);
    if (compiled_compare(g, target, n, inputs, 2, 2e-5))
        fail("the cost model's own schedule is wrong", g, &(Choice){0}, target);
    Case t = {g, target, n, inputs, compiled_run(g, target, n, inputs, 1, arena)};
    Program *program = lowered(g, &target->machine);
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        const Kernel *kernel = &program->kernels[i];
        if (kernel->kind != KERNEL_contract) continue;
        Choice list[MOST_CANDIDATES], own = choice_of(kernel);
        if (!choice_fits(&own, kernel, &target->machine)) fail("the cost model's choice does not fit", g, &own, target);
        uint32_t count = candidates_tiles(kernel, &target->machine, list);
        if (!choice_equal(&list[0], &own)) fail("the first is not the cost model's", g, &list[0], target);
        try_list(&t, list, count);
        Choice around = list[pick(0, count - 1)];
        count = candidates_blocks(kernel, &target->machine, &around, list);
        try_list(&t, list, count);
        for (int k = 0; k < 12; k++) try_nonsense(&t, kernel, around);
    }
    program_free(program);
    graph_free(g);
    arena_free(arena);
}

static void check_target(const Target *target, int scale) {
    for (int i = 0; i < 2 * scale; i++) {
        check(product(pick(1, 90), pick(1, 90), pick(1, 100)), target, 1);
        check(product(-1, pick(1, 90), pick(1, 60)), target, pick(1, 30));
    }
    check(product(pick(40, 150), pick(40, 200), pick(300, 1200)), target, 1);
    for (int i = 0; i < scale; i++) check(batched(), target, 1);
    for (int i = 0; i < 2 * scale; i++) {
        int64_t n = pick(1, 3);
        check(convolution(pick(0, 2) == 0, n), target, n);
    }
}

int main(int argc, char **argv) {
    tries_all = argc > 1;
    const char *cpus[] = {NULL, "x86-64-v3", "x86-64-v2"};
    Arena *arena = arena_new();
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        Target target;
        Diag diag;
        diag_init(&diag);
        bool known = target_make(NULL, cpus[i], arena, &target, &diag);
        if (known)
            check_target(&target, argc > 1 ? atoi(argv[1]) : 1);
        else
            printf("skipped %s: %s", cpus[i], diag.text);
        diag_free(&diag);
    }
    arena_free(arena);
    printf("%d choices tried, %d failed\n", tried, failed);
    return failed != 0 || tried < 50;
}
