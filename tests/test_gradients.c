/* Every gradient rule against central finite differences, with a random incoming gradient, so that each rule is
 * judged alone. Loops over the operation table: a new operation is tested before anyone mentions it.
 *
 * The evaluator works in double, so a step of 1e-5 leaves errors near 1e-10. Where the function has a kink, random
 * operands are far enough from it; what happens right at a tie has tests of its own. */
#include "ir/attention.h"
#include "ir/build.h"
#include "passes/passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int failures, checks;

enum { BATCH = 3, MOST_ARGUMENTS = 4 };

/* A function under test: y of the operands, with dy as the input behind them. */
typedef struct {
    Graph *g;
    Arena *arena;
    NodeId operand[MOST_ARGUMENTS], y;
    double *values[MOST_ARGUMENTS + 1]; /* of the operands, then of dy */
    uint32_t operands;
    char label[200];
} Case;

static double random_unit(void) {
    static uint64_t seed = 42;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) / 9007199254740992.0;
}

static int64_t elements_of(const Case *c, NodeId id) { return dim_at(type_elements(c->g->nodes[id].type), BATCH); }

static double *random_values(Case *c, NodeId id, double from, double to) {
    int64_t count = elements_of(c, id);
    double *values = arena_array(c->arena, double, count);
    for (int64_t i = 0; i < count; i++) values[i] = from + (to - from) * random_unit();
    return values;
}

static Case new_case(const char *what) {
    Case c = {.g = graph_new("case"), .arena = arena_new()};
    snprintf(c.label, sizeof c.label, "%s", what);
    return c;
}

static void free_case(Case *c) {
    graph_free(c->g);
    arena_free(c->arena);
}

static Type f32_type(uint32_t rank, const Dim *dim) { return type_make(DTYPE_f32, rank, dim); }
#define F32(...) f32_type(sizeof((Dim[]){__VA_ARGS__}) / sizeof(Dim), (Dim[]){__VA_ARGS__})

/* An operand with random values in [from, to). */
static NodeId add_operand(Case *c, Type type, double from, double to) {
    const char *names[MOST_ARGUMENTS] = {"a", "b", "c", "d"};
    NodeId id = build_input(c->g, names[c->operands], INPUT_data, type, (Init){0});
    c->values[c->operands] = random_values(c, id, from, to);
    c->operand[c->operands++] = id;
    return id;
}

static void fail(const Case *c, const char *format, double a, double b) {
    failures++;
    fprintf(stderr, "FAIL %s: ", c->label);
    fprintf(stderr, format, a, b);
    fputc('\n', stderr);
}

/* The sum of y * dy, at the operands as they are. */
static double weighted(const Case *c) {
    Arena *arena = arena_new();
    const double *y = graph_eval(c->g, BATCH, (const double *const *)c->values, arena)[c->y],
                 *dy = c->values[c->operands];
    double sum = 0;
    for (int64_t i = 0; i < elements_of(c, c->y); i++) sum += y[i] * dy[i];
    arena_free(arena);
    return sum;
}

static double slope_at(const Case *c, uint32_t operand, int64_t element) {
    double *x = &c->values[operand][element], middle = *x, step = 1e-5;
    *x = middle + step;
    double above = weighted(c);
    *x = middle - step;
    double below = weighted(c);
    *x = middle;
    return (above - below) / (2 * step);
}

static void compare_operand(const Case *c, uint32_t operand, const double *gradient) {
    for (int64_t e = 0; e < elements_of(c, c->operand[operand]); e++) {
        double expected = slope_at(c, operand, e), got = gradient ? gradient[e] : 0;
        checks++;
        if (fabs(got - expected) <= 1e-6 * fmax(1, fabs(expected))) continue;
        fail(c, "gradient is %.9g, finite differences say %.9g", got, expected);
        graph_print(c->g, stderr);
        return;
    }
}

/* Adds dy, differentiates with respect to every operand, compares; frees the case. */
static void check_case(Case c) {
    NodeId dy = build_input(c.g, "dy", INPUT_data, type_with_dtype(c.g->nodes[c.y].type, DTYPE_f32), (Init){0});
    NodeId result[MOST_ARGUMENTS];
    c.values[c.operands] = random_values(&c, dy, -1, 1);
    differentiate(c.g, c.y, dy, c.operand, c.operands, result, c.arena);
    double **values = graph_eval(c.g, BATCH, (const double *const *)c.values, c.arena);
    for (uint32_t i = 0; i < c.operands; i++)
        if (dtype_info[c.g->nodes[c.operand[i]].type.dtype].is_float)
            compare_operand(&c, i, result[i] == NO_NODE ? NULL : values[result[i]]);
    if (!graph_verify(c.g, stderr)) fail(&c, "bad graph", 0, 0);
    free_case(&c);
}

static Type shapes(int i) {
    switch (i) {
    case 0: return type_scalar(DTYPE_f32);
    case 1: return F32(1);
    case 2: return F32(7);
    case 3: return F32(3, 5);
    case 4: return F32(2, 1, 3);
    default: return F32(-1, 2);
    }
}
enum { SHAPES = 6 };

static void test_elementwise(OpKind op) {
    for (int i = 0; i < SHAPES; i++) {
        Case c = new_case(op_info[op].name);
        bool positive = op == OP_log || op == OP_sqrt || op == OP_div;
        Node node = {.op = op};
        for (uint32_t k = 0; k < op_info[op].inputs; k++) {
            if (op == OP_select && k == 0) {
                NodeId at = add_operand(&c, shapes(i), -1, 1);
                node.in[0] = build_binary(c.g, OP_less, at, build_like(c.g, at, 0));
            } else
                node.in[k] = add_operand(&c, shapes(i), positive ? 0.5 : -2, 2);
        }
        node.type = shapes(i);
        c.y = graph_add(c.g, node);
        check_case(c);
    }
}

/* op(a, constant), op(constant, a): some rules treat constants by themselves. */
static void test_with_constant(OpKind op) {
    for (int side = 0; side < 2; side++) {
        Case c = new_case(op_info[op].name);
        NodeId a = add_operand(&c, F32(11), 0.5, 2);
        NodeId constant = build_broadcast(c.g, build_constant(c.g, type_scalar(DTYPE_f32), 1.25), F32(11));
        c.y = build_binary(c.g, op, side ? constant : a, side ? a : constant);
        check_case(c);
    }
}

/* op(a, a): both flows meet. */
static void test_twice(OpKind op) {
    Case c = new_case(op_info[op].name);
    NodeId a = add_operand(&c, F32(5), 0.5, 2);
    c.y = build_binary(c.g, op, a, a);
    check_case(c);
}

/* Rounding has no useful finite differences: what comes back must be dy itself. */
static void test_cast(void) {
    for (int to = 0; to < DTYPE_COUNT; to++) {
        Case c = new_case("cast");
        NodeId x = add_operand(&c, F32(5), 0.5, 2), dx;
        NodeId y = build_cast(c.g, build_cast(c.g, x, (DType)to), DTYPE_f32);
        NodeId dy = build_input(c.g, "dy", INPUT_data, F32(5), (Init){0});
        differentiate(c.g, y, dy, &x, 1, &dx, c.arena);
        checks++;
        if (dx != (dtype_info[to].is_float ? dy : NO_NODE)) fail(&c, "to dtype %g: wrong gradient", to, 0);
        free_case(&c);
    }
}

static void test_broadcast(void) {
    const Type pairs[][2] = {
        {F32(1), F32(5)},       {F32(1, 3), F32(4, 3)},  {F32(4, 1), F32(4, 3)},   {F32(1, 2, 1), F32(3, 2, 2)},
        {F32(1, 1), F32(2, 3)}, {F32(1, 2), F32(-1, 2)}, {F32(-1, 1), F32(-1, 4)}, {F32(3, 2), F32(3, 2)}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        Case c = new_case("broadcast");
        c.y = build_broadcast(c.g, add_operand(&c, pairs[i][0], -1, 1), pairs[i][1]);
        check_case(c);
    }
}

static void test_reshape(void) {
    const Type pairs[][2] = {{F32(6), F32(2, 3)},      {F32(2, 3), F32(3, 2)},  {F32(1), type_scalar(DTYPE_f32)},
                             {F32(-1, 4), F32(-2, 2)}, {F32(2, 3, 4), F32(24)}, {F32(2, 6), F32(1, 2, 2, 3, 1)}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        Case c = new_case("reshape");
        c.y = build_reshape(c.g, add_operand(&c, pairs[i][0], -1, 1), pairs[i][1].rank, pairs[i][1].dim);
        check_case(c);
    }
}

/* All orders of `rank` axes: the number of the order, digit by digit. */
static void test_transpose(uint32_t rank) {
    const Dim sizes[] = {2, 3, 1, 4};
    for (uint32_t number = 0; number < 256; number++) {
        uint32_t permutation[MAX_RANK] = {0}, seen = 0;
        for (uint32_t i = 0; i < rank; i++) {
            permutation[i] = (number >> (2 * i)) % 4;
            seen |= 1u << permutation[i];
        }
        if (seen != (1u << rank) - 1 || number >> (2 * rank)) continue;
        Case c = new_case("transpose");
        c.y = build_transpose(c.g, add_operand(&c, f32_type(rank, sizes), -1, 1), permutation);
        check_case(c);
    }
}

/* Every slice of 7 elements with a step up to 3, on each axis of a matrix. */
static void test_slice_of(Type from, uint32_t axis, int64_t start, int64_t step, int64_t count) {
    int64_t starts[MAX_RANK] = {0}, steps[MAX_RANK] = {1, 1, 1, 1, 1, 1};
    Type to = from;
    to.dim[axis] = count;
    starts[axis] = start;
    steps[axis] = step;
    Case c = new_case("slice");
    snprintf(c.label, sizeof c.label, "slice axis=%u start=%d step=%d count=%d", axis, (int)start, (int)step,
             (int)count);
    c.y = build_slice(c.g, add_operand(&c, from, -1, 1), to, starts, steps);
    check_case(c);
}
static void test_slice(void) {
    const Type types[] = {F32(7, 2), F32(2, 7), F32(7), F32(2, 7, 3)};
    const uint32_t axes[] = {0, 1, 0, 1};
    for (int t = 0; t < 4; t++)
        for (int64_t start = 0; start < 7; start++)
            for (int64_t step = -3; step <= 3; step++)
                for (int64_t count = 1; step && count <= 7; count++) {
                    int64_t last = start + (count - 1) * step;
                    if (last >= 0 && last < 7) test_slice_of(types[t], axes[t], start, step, count);
                }
    const int64_t of_batch[][4] = {{-2, 0, 1, -1}, {-2, 1, 2, -1}, {-4, 2, 2, -1},
                                   {-3, 1, 3, -1}, {-3, 2, 2, -1}, {-1, 0, 1, -1}};
    for (size_t i = 0; i < sizeof of_batch / sizeof *of_batch; i++)
        test_slice_of(F32(of_batch[i][0], 2), 0, of_batch[i][1], of_batch[i][2], of_batch[i][3]);
    Case c = new_case("slice of two axes");
    c.y = build_slice(c.g, add_operand(&c, F32(6, 5), -1, 1), F32(2, 3), (int64_t[]){5, 0}, (int64_t[]){-3, 2});
    check_case(c);
}

static void test_pad(void) {
    const struct {
        Type from, to;
        int64_t before[3];
    } pads[] = {{F32(3), F32(3), {0}},
                {F32(3), F32(8), {2}},
                {F32(2, 3), F32(4, 3), {2, 0}},
                {F32(2, 3), F32(2, 5), {0, 1}},
                {F32(-1, 2), F32(-1, 4), {0, 1}},
                {F32(-1), F32(-3), {2}},
                {F32(1, 1, 1), F32(2, 3, 4), {1, 2, 3}}};
    for (size_t i = 0; i < sizeof pads / sizeof *pads; i++) {
        Case c = new_case("pad");
        c.y = build_pad(c.g, add_operand(&c, pads[i].from, -1, 1), pads[i].to, pads[i].before, 0.5);
        check_case(c);
    }
}

static void test_concat(void) {
    const struct {
        Type a, b;
        uint32_t axis;
    } parts[] = {{F32(2), F32(3), 0},         {F32(2, 3), F32(1, 3), 0},
                 {F32(2, 3), F32(2, 4), 1},   {F32(2, 1, 3), F32(2, 2, 3), 1},
                 {F32(-1, 2), F32(-2, 2), 0}, {F32(3, -1, 2), F32(3, -1, 2), 1},
                 {F32(-1, 2), F32(-1, 1), 1}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        Case c = new_case("concat");
        NodeId a = add_operand(&c, parts[i].a, -1, 1), b = add_operand(&c, parts[i].b, -1, 1);
        c.y = build_concat(c.g, a, b, parts[i].axis);
        check_case(c);
    }
}

static int64_t random_below(int64_t limit) { return (int64_t)(random_unit() * (double)limit); }

/* Random sizes, strides, dilations, with more or less room than there is; one operand for all taps or one for each. */
static void test_window(OpKind op) {
    for (int number = 0; number < 200; number++) {
        Dim picture[6] = {number % 2 ? -1 : 2, 0, 0, 1, 1, 1 + random_below(3)}, patches[6];
        int64_t stride[2], dilation[2], before[2];
        memcpy(patches, picture, sizeof patches);
        for (int k = 0; k < 2; k++) {
            picture[1 + k] = 1 + random_below(6);
            patches[1 + k] = 1 + random_below(5);
            patches[3 + k] = 1 + random_below(3);
            if (op == OP_unwindow || random_below(4) == 0) picture[3 + k] = patches[3 + k];
            stride[k] = 1 + random_below(3);
            dilation[k] = 1 + random_below(3);
            before[k] = random_below(7) - 2;
        }
        Case c = new_case(op_info[op].name);
        NodeId a = add_operand(&c, op == OP_window ? f32_type(6, picture) : f32_type(6, patches), -1, 1);
        if (op == OP_window)
            c.y = build_window(c.g, a, f32_type(6, patches), stride, dilation, before, -0.75);
        else
            c.y = build_unwindow(c.g, a, f32_type(6, picture), stride, dilation, before);
        check_case(c);
    }
}

/* Fewer and more positions than places, some of them outside: a place may be taken often or never. */
static void test_gather(void) {
    const struct {
        Type a;
        uint32_t axis;
        Dim size;
    } takes[] = {{F32(4), 0, 6},        {F32(2, 3), 1, 5},  {F32(5, 3), 0, 2},     {F32(2, 3, 4), 1, 7},
                 {F32(-1, 5), 1, 3},    {F32(1, 3), 0, 4},  {F32(3, -1, 2), 0, 5}, {F32(2, 1, 2, 3, 1, 2), 3, 4},
                 {F32(-2, 3, 2), 2, 3}, {F32(40, 3), 0, 9}, {F32(30), 0, 30},      {F32(2, 20, 3), 1, 8},
                 {F32(9, 2), 0, -3}};
    for (size_t i = 0; i < sizeof takes / sizeof *takes; i++) {
        Case c = new_case("gather");
        Type type = takes[i].a;
        NodeId a = add_operand(&c, type, -1, 1);
        type.dim[takes[i].axis] = takes[i].size;
        NodeId place = build_cast(c.g, add_operand(&c, type, -2, 6), DTYPE_i32);
        c.y = build_gather(c.g, a, place, takes[i].axis);
        check_case(c);
    }
}

/* Places that get nothing, something, or much; with and without a gradient of their own. */
static void test_scatter(void) {
    const struct {
        Type base;
        uint32_t axis;
        Dim size;
    } adds[] = {{F32(4), 0, 6},       {F32(2, 3), 1, 5},  {F32(5, 3), 0, 2},
                {F32(2, 3, 4), 1, 7}, {F32(5, 3), 0, -1}, {F32(-1, 3), 1, 4}};
    for (size_t i = 0; i < sizeof adds / sizeof *adds; i++) {
        Case c = new_case("scatter_add");
        Type type = adds[i].base;
        NodeId base = add_operand(&c, type, -1, 1);
        type.dim[adds[i].axis] = adds[i].size;
        NodeId place = build_cast(c.g, add_operand(&c, type, -2, 6), DTYPE_i32);
        c.y = build_scatter_add(c.g, base, place, add_operand(&c, type, -1, 1), adds[i].axis);
        check_case(c);
    }
}

/* Every set of axes. */
static void test_reduce(OpKind op) {
    const Type types[] = {F32(5), F32(3, 4), F32(2, 3, 4), F32(2, 1, 3), F32(-1, 3)};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (uint32_t axes = 1; axes < 1u << types[t].rank; axes++) {
            Case c = new_case(op_info[op].name);
            c.y = graph_add(c.g, (Node){.op = op, .in = {add_operand(&c, types[t], -1, 1)}, .attr.axes = axes});
            check_case(c);
        }
}

static void test_matmul(void) {
    const Type pairs[][2] = {{F32(3, 4), F32(4, 2)},  {F32(1, 1), F32(1, 1)},       {F32(5, 1), F32(1, 3)},
                             {F32(1, 5), F32(5, 1)},  {F32(2, 3, 4), F32(2, 4, 1)}, {F32(2, 1, 2, 3), F32(2, 1, 3, 2)},
                             {F32(-1, 3), F32(3, 2)}, {F32(3, -1), F32(-1, 2)}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        Case c = new_case("matmul");
        NodeId a = add_operand(&c, pairs[i][0], -1, 1), b = add_operand(&c, pairs[i][1], -1, 1);
        c.y = build_matmul(c.g, a, b);
        check_case(c);
    }
}

static NodeId numbers(Graph *g, Dim count, double value) {
    return build_constant(g, type_make(DTYPE_i32, 1, &count), value);
}

/* With the norm as an operand of its own, as any other number. */
static void test_attention_alone(OpKind op, bool causal, double count, double rate) {
    Case c = new_case(op_info[op].name);
    NodeId q = add_operand(&c, F32(-1, 4, 2, 3), -1, 1), k = add_operand(&c, F32(-1, 5, 2, 3), -1, 1);
    Attr attr = {.attention = {.scale = 0.75, .rate = rate, .stream = 7, .causal = causal}};
    Node node = {.op = op, .attr = attr, .in = {q, k, numbers(c.g, 1, count)}};
    if (op == OP_attention) {
        node.in[ATTENTION_v] = add_operand(&c, F32(-1, 5, 2, 3), -1, 1);
        node.in[ATTENTION_norm] = add_operand(&c, F32(-1, 4, 2), 0, 1);
        node.in[ATTENTION_count] = numbers(c.g, -1, count);
        node.in[ATTENTION_key] = numbers(c.g, 3, 5);
        node.in[ATTENTION_sample] = numbers(c.g, -1, 9);
    }
    c.y = graph_add(c.g, node);
    check_case(c);
}

/* With its own norm, which changes with the operands. */
static void test_attention_whole(bool causal, double count, double rate) {
    Case c = new_case("attention with its norm");
    NodeId q = add_operand(&c, F32(-1, 4, 2, 3), -1, 1), k = add_operand(&c, F32(-1, 5, 2, 3), -1, 1);
    NodeId v = add_operand(&c, F32(-1, 5, 2, 3), -1, 1), key = numbers(c.g, 3, 5), sample = numbers(c.g, -1, 9);
    c.y = build_attention(c.g, q, k, v, numbers(c.g, 1, count), 0.75, causal, rate, key, sample, 7);
    check_case(c);
}

static void test_attention(OpKind op) {
    for (int i = 0; i < 8; i++) {
        double count = i & 2 ? 5 : 2 - (i & 4) / 2, rate = i & 4 ? 0.3 : 0;
        test_attention_alone(op, i & 1, count, rate);
        if (op == OP_attention) test_attention_whole(i & 1, count, rate);
    }
}

static void test_index(OpKind op) {
    if (op == OP_broadcast)
        test_broadcast();
    else if (op == OP_reshape)
        test_reshape();
    else if (op == OP_transpose)
        test_transpose(1), test_transpose(2), test_transpose(3), test_transpose(4);
    else if (op == OP_slice)
        test_slice();
    else if (op == OP_pad)
        test_pad();
    else if (op == OP_concat)
        test_concat();
    else if (op == OP_window || op == OP_unwindow)
        test_window(op);
    else if (op == OP_gather)
        test_gather();
    else
        BUG("the index operation '%s' has no gradient test", op_info[op].name);
}

static void test_rule(OpKind op) {
    switch (op_info[op].class) {
    case CLASS_leaf:
    case CLASS_meta: break;
    case CLASS_unary:
    case CLASS_function:
        if (op == OP_cast)
            test_cast();
        else
            test_elementwise(op);
        break;
    case CLASS_binary: test_twice(op), test_with_constant(op); /* fall through */
    case CLASS_ternary: test_elementwise(op); break;
    case CLASS_index: test_index(op); break;
    case CLASS_reduce: test_reduce(op); break;
    case CLASS_scatter: test_scatter(); break;
    case CLASS_contract: test_matmul(); break;
    case CLASS_attention: test_attention(op); break;
    }
}

/* Through operations that are flat, or that stop gradients, nothing flows. */
static void test_zero(OpKind op) {
    Case c = new_case(op_info[op].name);
    NodeId x = add_operand(&c, F32(4), -2, 2), dx;
    NodeId y = build_unary(c.g, op, x);
    differentiate(c.g, y, build_like(c.g, y, 1), &x, 1, &dx, c.arena);
    checks++;
    if (dx != NO_NODE) fail(&c, "something flowed through", 0, 0);
    free_case(&c);
}

static bool is_column(int op, const char *gradient) { return !strcmp(op_info[op].gradient, gradient); }

/* d y / d x of one formula at given values, dy = 1. */
static void expect_at(Case c, NodeId x, const double *at, const double *expected) {
    NodeId dx;
    const double *inputs[] = {at};
    differentiate(c.g, c.y, build_like(c.g, c.y, 1), &x, 1, &dx, c.arena);
    double **values = graph_eval(c.g, BATCH, inputs, c.arena);
    for (int64_t i = 0; i < elements_of(&c, x); i++, checks++)
        if (values[dx][i] != expected[i]) fail(&c, "at a tie: %g, expected %g", values[dx][i], expected[i]);
    free_case(&c);
}

/* As in PyTorch: relu gives 0 at 0, maximum shares between equal operands, amax among equal elements. */
static void test_ties(void) {
    Case c = new_case("max with a constant");
    NodeId x = build_input(c.g, "x", INPUT_parameter, F32(3), (Init){0});
    c.y = build_binary(c.g, OP_max, x, build_like(c.g, x, 0));
    expect_at(c, x, (double[]){-1, 0, 1}, (double[]){0, 0, 1});

    c = new_case("min with a constant");
    x = build_input(c.g, "x", INPUT_parameter, F32(3), (Init){0});
    c.y = build_binary(c.g, OP_min, build_like(c.g, x, 0), x);
    expect_at(c, x, (double[]){-1, 0, 1}, (double[]){1, 0, 0});

    c = new_case("max of equals");
    x = build_input(c.g, "x", INPUT_parameter, F32(2), (Init){0});
    NodeId flipped = build_slice(c.g, x, F32(2), (int64_t[]){1}, (int64_t[]){-1});
    c.y = build_slice(c.g, build_binary(c.g, OP_max, x, flipped), F32(1), (int64_t[]){0}, (int64_t[]){1});
    expect_at(c, x, (double[]){2, 2}, (double[]){0.5, 0.5});

    c = new_case("reduce_max of equals");
    x = build_input(c.g, "x", INPUT_parameter, F32(4), (Init){0});
    c.y = build_reduce_max(c.g, x, 1);
    expect_at(c, x, (double[]){3, 1, 3, 0}, (double[]){0.5, 0, 0.5, 0});
}

/* relu's gradient must need y alone: the operand is a product that should not have to be kept. */
static void test_relu_needs_no_operand(void) {
    Case c = new_case("relu keeps its operand alive");
    NodeId x = build_input(c.g, "x", INPUT_parameter, F32(3), (Init){0}), dx;
    NodeId dy = build_input(c.g, "dy", INPUT_data, F32(3), (Init){0});
    NodeId a = build_unary(c.g, OP_neg, x);
    NodeId zero = build_broadcast(c.g, build_constant(c.g, F32(1), 0), F32(3));
    NodeId y = build_binary(c.g, OP_max, a, zero), before = c.g->count;
    differentiate(c.g, y, dy, &x, 1, &dx, c.arena);
    for (NodeId id = before; id < c.g->count; id++)
        for (uint32_t i = 0; i < op_info[c.g->nodes[id].op].inputs; i++, checks++)
            if (c.g->nodes[id].in[i] == a) fail(&c, "node %g reads it", id, 0);
    free_case(&c);
}

/* Formulas for second derivatives: y of x, elementwise or not. */
static NodeId second_order_formula(Graph *g, NodeId x, int number) {
    switch (number) {
    case 0: return build_unary(g, OP_exp, x);
    case 1: return build_unary(g, OP_tanh, x);
    case 2: return build_unary(g, OP_sigmoid, x);
    case 3: return build_binary(g, OP_mul, build_unary(g, OP_sin, x), x);
    case 4: return build_unary(g, OP_log, x);
    case 5: return build_binary(g, OP_div, build_unary(g, OP_cos, x), x);
    case 6: return build_matmul(g, x, build_matmul(g, x, x));
    case 7: return build_unary(g, OP_sqrt, build_sum(g, build_binary(g, OP_mul, x, x), 2));
    case 8: return build_unary(g, OP_erf, x);
    case 9: { /* each of 3 × 3 numbers times its neighbours */
        Type picture = F32(1, 3, 3, 1, 1, 1), patches = F32(1, 2, 2, 3, 2, 1);
        int64_t stride[2] = {2, 1}, dilation[2] = {1, 1}, before[2] = {1, 0};
        NodeId a = build_reshape(g, x, 6, picture.dim);
        NodeId taps = build_window(g, a, patches, stride, dilation, before, 0.5);
        NodeId middle =
            build_slice(g, taps, F32(1, 2, 2, 1, 2, 1), (int64_t[]){0, 0, 0, 1, 0, 0}, (int64_t[]){1, 1, 1, 1, 1, 1});
        NodeId products = build_binary(g, OP_mul, taps, build_broadcast(g, middle, patches));
        picture.dim[3] = 3, picture.dim[4] = 2;
        NodeId back = build_unwindow(g, products, picture, stride, dilation, before);
        return build_reshape(g, build_sum(g, build_binary(g, OP_mul, back, back), 1u << 3 | 1u << 4), 2, (Dim[]){3, 3});
    }
    default: return build_binary(g, OP_mul, x, build_broadcast(g, build_reduce_max(g, x, 1), F32(3, 3)));
    }
}
enum { FORMULAS = 11 };

static NodeId dot(Graph *g, NodeId a, NodeId b) { return build_sum(g, build_binary(g, OP_mul, a, b), 3); }

/* y = the gradient of sum(f(x) * f(x)), from a gradient node that the pass replaces; then as any other case. */
static void test_second_order(int number) {
    Case c = new_case("second order");
    snprintf(c.label, sizeof c.label, "second order of formula %d", number);
    Graph *first = graph_new("first");
    NodeId x = build_input(first, "x", INPUT_parameter, F32(3, 3), (Init){0}),
           f = second_order_formula(first, x, number);
    NodeId gradient = build_gradient(first, dot(first, f, f), x);
    graph_add_output(first, "gradient", gradient, -1);
    graph_add_output(first, "x", x, -1);
    pass_find("autodiff")->graph(first, c.g, c.arena);
    c.y = c.g->outputs[0].node;
    c.operand[0] = c.g->outputs[1].node;
    c.operands = 1;
    c.values[0] = random_values(&c, c.operand[0], 0.5, 1.5);
    graph_free(first);
    check_case(c);
}

/* The pass resolves gradients of gradients in order: the third derivative of x⁴ is 24 x. */
static void test_nested_pass(void) {
    Case c = new_case("third derivative");
    Graph *from = graph_new("nested");
    NodeId x = build_input(from, "x", INPUT_parameter, F32(1), (Init){0}), y = build_binary(from, OP_mul, x, x);
    const double *inputs[] = {(double[]){1.5}};
    y = build_binary(from, OP_mul, y, y);
    for (int i = 0; i < 3; i++) y = build_gradient(from, y, x);
    graph_add_output(from, "third", y, -1);
    pass_find("autodiff")->graph(from, c.g, c.arena);
    double got = graph_eval(c.g, 1, inputs, c.arena)[c.g->outputs[0].node][0];
    checks++;
    if (got != 36) fail(&c, "%g, expected %g", got, 36);
    graph_free(from);
    free_case(&c);
}

/* Several gradients of one y, one of a node that y does not depend on, one of a node that comes behind y. */
static void test_several_wanted(void) {
    Case c = new_case("several wanted");
    Graph *from = graph_new("several");
    NodeId a = build_input(from, "a", INPUT_parameter, F32(1), (Init){0});
    NodeId b = build_input(from, "b", INPUT_parameter, F32(1), (Init){0});
    NodeId y = build_binary(from, OP_mul, a, build_unary(from, OP_exp, a)), late = build_unary(from, OP_sin, b);
    const NodeId wanted[] = {a, b, late, y};
    const double expected[] = {2 * exp(1), 0, 0, 1}, *inputs[] = {(double[]){1}, (double[]){1}};
    for (int i = 0; i < 4; i++) graph_add_output(from, "g", build_gradient(from, y, wanted[i]), -1);
    pass_find("autodiff")->graph(from, c.g, c.arena);
    double **values = graph_eval(c.g, 1, inputs, c.arena);
    for (int i = 0; i < 4; i++, checks++) {
        double got = values[c.g->outputs[i].node][0];
        if (fabs(got - expected[i]) > 1e-9) fail(&c, "%g, expected %g", got, expected[i]);
    }
    graph_free(from);
    free_case(&c);
}

/* What the user is told when nothing can be trained. */
static void test_check(void) {
    Case c = new_case("autodiff_check");
    Diag diag;
    diag_init(&diag);
    NodeId x = build_input(c.g, "x", INPUT_parameter, F32(4), (Init){0});
    c.g->origin = "training.layers[2]";
    NodeId hard = build_binary(c.g, OP_less, x, build_like(c.g, x, 0));
    c.g->origin = "training.minimize";
    NodeId loss = build_sum(c.g, build_cast(c.g, hard, DTYPE_f32), 1);
    build_gradient(c.g, loss, x);
    checks++;
    bool told = !autodiff_check(c.g, &diag) && strstr(diag.text, "training.minimize") &&
                strstr(diag.text, "training.layers[2]: no gradient flows through 'less'");
    if (!told) fail(&c, "no or a wrong message", 0, 0), fputs(diag.text ? diag.text : "", stderr);
    diag_free(&diag);
    free_case(&c);
}

int main(void) {
    for (int op = 0; op < OP_COUNT; op++) {
        if (is_column(op, "none")) continue;
        if (is_column(op, "zero"))
            test_zero((OpKind)op);
        else
            test_rule((OpKind)op);
    }
    test_ties();
    test_relu_needs_no_operand();
    for (int i = 0; i < FORMULAS; i++) test_second_order(i);
    test_nested_pass();
    test_several_wanted();
    test_check();
    printf("%d checks, %d failures\n", checks, failures);
    return failures ? 1 : 0;
}
