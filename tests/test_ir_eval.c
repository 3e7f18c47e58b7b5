/* What each operation means, on numbers that were worked out by hand; and properties of the evaluator on random
 * graphs: the same values again after printing and parsing, and nothing that is not finite.
 *
 * An operation of the table that has no case fails the test. Random bits are compared with the published test
 * vector of Philox4x32-10 and with the runtime's own generator. */
#include "ir/graph.h"
#include "runtime/core/core.h"
#include "tests/random_graph.h"
#include "tests/test_ir_expect.h"

#include <math.h>
#include <string.h>

#define INF (double)INFINITY
#define NOT (double)NAN

enum { MOST = 12, BATCH = 2 };

typedef struct {
    const char *types[MAX_INPUTS], *operation, *result;
    double in[MAX_INPUTS][MOST], out[MOST];
} Case;

/* The text of a window of %0; of an unwindow with "un" before it. */
#define WINDOW(stride, dilation, before, value) \
    "window %0, stride=" stride " dilation=" dilation " before=" before " value=" value

/* One query of one head, two keys, width 1: q, k, v, norm, count, key, sample. */
#define LOG_2 0.6931471805599453
#define ATTENTION_TYPES "f32[1,1,1,1]", "f32[1,2,1,1]", "f32[1,2,1,1]", "f32[1,1,1]", "i32[1]", "i32[3]", "i32[1]"
#define ATTENTION(part, last) \
    "attention" part " %0, %1, %2, %3, %4, %5, %6" ATTENTION_MORE_##last ", scale=0.5 causal=0 rate=0 stream=0"
#define ATTENTION_MORE_6 ""
#define ATTENTION_MORE_8 ", %7, %8"

static const Case cases[] = {
    {{"f32[2]"}, "stop_gradient %0", "f32[2]", {{1, -2}}, {1, -2}},
    {{"f32[4]"}, "neg %0", "f32[4]", {{1, -2, 0, -INF}}, {-1, 2, 0, INF}},
    {{"i32[2]"}, "neg %0", "i32[2]", {{7, -2147483648.0}}, {-7, -2147483648.0}},
    {{"f32[3]"}, "abs %0", "f32[3]", {{1, -2.5, -INF}}, {1, 2.5, INF}},
    {{"i32[3]"}, "abs %0", "i32[3]", {{5, -5, -2147483648.0}}, {5, 5, -2147483648.0}},
    {{"f32[5]"}, "sign %0", "f32[5]", {{0.1, -3, 0, INF, NOT}}, {1, -1, 0, 1, NOT}},
    {{"i64[3]"}, "sign %0", "i64[3]", {{-9, 0, 9}}, {-1, 0, 1}},
    {{"f32[4]"}, "floor %0", "f32[4]", {{1.5, -1.5, 2, -0.25}}, {1, -2, 2, -1}},
    {{"f32[3]"}, "exp %0", "f32[3]", {{0, 1, -INF}}, {1, 2.718281828459045, 0}},
    {{"f32[4]"}, "log %0", "f32[4]", {{1, 2, 0, -1}}, {0, 0.6931471805599453, -INF, NOT}},
    {{"f32[3]"}, "sqrt %0", "f32[3]", {{4, 2, -1}}, {2, 1.4142135623730951, NOT}},
    {{"f32[3]"}, "tanh %0", "f32[3]", {{0, 1, -INF}}, {0, 0.7615941559557649, -1}},
    {{"f32[4]"}, "sigmoid %0", "f32[4]", {{0, 1, INF, -INF}}, {0.5, 0.7310585786300049, 1, 0}},
    {{"f32[3]"}, "erf %0", "f32[3]", {{0, 1, -INF}}, {0, 0.8427007929497149, -1}},
    {{"f32[2]"}, "sin %0", "f32[2]", {{0, 1}}, {0, 0.8414709848078965}},
    {{"f32[2]"}, "cos %0", "f32[2]", {{0, 1}}, {1, 0.5403023058681398}},
    {{"bool[2]"}, "not %0", "bool[2]", {{0, 1}}, {1, 0}}, {{"i32[3]"}, "not %0", "i32[3]", {{0, 5, -1}}, {-1, -6, 0}},
    /* cast: every direction that rounds, saturates or wraps */
    {{"f32[7]"}, "cast %0", "i8[7]", {{1.9, -1.9, 127.9, 128, -500, NOT, INF}}, {1, -1, 127, 127, -128, 0, 127}},
    {{"f32[5]"}, "cast %0", "u8[5]", {{254.5, -0.5, -3, 256, NOT}}, {254, 0, 0, 255, 0}},
    {{"f32[4]"}, "cast %0", "i32[4]", {{3e9, -3e9, -0.99, 16777217}}, {2147483647, -2147483648.0, 0, 16777217}},
    {{"f32[4]"}, "cast %0", "bool[4]", {{0, 0.001, -1, NOT}}, {0, 1, 1, 1}},
    {{"i32[3]"}, "cast %0", "i8[3]", {{300, -300, 5}}, {127, -128, 5}},
    {{"i64[3]"}, "cast %0", "i32[3]", {{4294967296.0, -4294967296.0, 7}}, {2147483647, -2147483648.0, 7}},
    {{"i32[3]"}, "cast %0", "f32[3]", {{16777217, 16777219, -5}}, {16777216, 16777220, -5}},
    {{"bool[2]"}, "cast %0", "f32[2]", {{0, 1}}, {0, 1}}, {{"u8[2]"}, "cast %0", "f32[2]", {{0, 255}}, {0, 255}},
    /* bf16 keeps 8 digits: 257 and 259 lie in the middle and go to even */
    {{"f32[6]"},
     "cast %0",
     "bf16[6]",
     {{256, 257, 259, 3.39e38, 3.4e38, -1.00390625}},
     {256, 256, 260, 0x1.FEp127, INF, -1}},
    {{"f32[7]"},
     "cast %0",
     "f16[7]",
     {{2049, 2051, 65519, 65520, 0x1p-24, 0x1p-25, 0x1.8p-24}},
     {2048, 2052, 65504, INF, 0x1p-24, 0, 0x1p-23}},
    {{"f32[2]", "f32[2]"}, "add %0, %1", "f32[2]", {{1, 0.5}, {2, -0.25}}, {3, 0.25}},
    {{"i32[2]", "i32[2]"}, "add %0, %1", "i32[2]", {{2147483647, 1}, {1, 2}}, {-2147483648.0, 3}},
    {{"i64[1]", "i64[1]"}, "add %0, %1", "i64[1]", {{2147483647}, {1}}, {2147483648.0}},
    {{"f32[2]", "f32[2]"}, "sub %0, %1", "f32[2]", {{1, 5}, {2, 3}}, {-1, 2}},
    {{"i32[1]", "i32[1]"}, "sub %0, %1", "i32[1]", {{-2147483648.0}, {1}}, {2147483647}},
    {{"f32[2]", "f32[2]"}, "mul %0, %1", "f32[2]", {{3, 0.5}, {2, 0.5}}, {6, 0.25}},
    {{"i32[2]", "i32[2]"}, "mul %0, %1", "i32[2]", {{65536, -3}, {65537, 7}}, {65536, -21}},
    {{"f32[3]", "f32[3]"}, "div %0, %1", "f32[3]", {{1, 1, 0}, {4, 0, 0}}, {0.25, INF, NOT}},
    {{"f32[4]", "f32[4]"}, "max %0, %1", "f32[4]", {{1, 5, NOT, 1}, {2, 3, 1, NOT}}, {2, 5, NOT, NOT}},
    {{"f32[4]", "f32[4]"}, "min %0, %1", "f32[4]", {{1, 5, NOT, 1}, {2, 3, 1, NOT}}, {1, 3, NOT, NOT}},
    {{"f32[4]", "f32[4]"}, "less %0, %1", "bool[4]", {{1, 2, 3, NOT}, {2, 2, 2, 1}}, {1, 0, 0, 0}},
    {{"f32[4]", "f32[4]"}, "equal %0, %1", "bool[4]", {{1, 2, NOT, 0}, {2, 2, NOT, 0}}, {0, 1, 0, 1}},
    {{"i32[2]", "i32[2]"}, "and %0, %1", "i32[2]", {{12, -1}, {10, 7}}, {8, 7}},
    {{"i32[2]", "i32[2]"}, "or %0, %1", "i32[2]", {{12, -8}, {10, 7}}, {14, -1}},
    {{"i32[2]", "i32[2]"}, "xor %0, %1", "i32[2]", {{12, -1}, {10, 7}}, {6, -8}},
    {{"bool[4]", "bool[4]"}, "xor %0, %1", "bool[4]", {{0, 0, 1, 1}, {0, 1, 0, 1}}, {0, 1, 1, 0}},
    {{"i32[4]", "i32[4]"},
     "shift_left %0, %1",
     "i32[4]",
     {{1, 1, 3, 1}, {4, 31, 31, 33}},
     {16, -2147483648.0, -2147483648.0, 2}},
    {{"i32[3]", "i32[3]"}, "shift_right %0, %1", "i32[3]", {{16, -1, -1}, {4, 28, 32}}, {1, 15, -1}},
    {{"i64[2]", "i64[2]"}, "shift_right %0, %1", "i64[2]", {{1099511627776.0, -1}, {40, 63}}, {1, 1}},
    {{"bool[3]", "f32[3]", "f32[3]"}, "select %0, %1, %2", "f32[3]", {{1, 0, 1}, {1, 2, NOT}, {4, 5, 6}}, {1, 5, NOT}},
    {{"f32[2,1]"}, "broadcast %0", "f32[2,3]", {{1, 2}}, {1, 1, 1, 2, 2, 2}},
    {{"f32[1,2]"}, "broadcast %0", "f32[n,2]", {{1, 2}}, {1, 2, 1, 2}},
    {{"f32[2,3]"}, "reshape %0", "f32[3,2]", {{1, 2, 3, 4, 5, 6}}, {1, 2, 3, 4, 5, 6}},
    {{"f32[2,3]"}, "transpose %0, permutation=1,0", "f32[3,2]", {{1, 2, 3, 4, 5, 6}}, {1, 4, 2, 5, 3, 6}},
    {{"f32[1,2,3]"}, "transpose %0, permutation=2,0,1", "f32[3,1,2]", {{1, 2, 3, 4, 5, 6}}, {1, 4, 2, 5, 3, 6}},
    {{"f32[2,3,2]"},
     "transpose %0, permutation=1,2,0",
     "f32[3,2,2]",
     {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
     {1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12}},
    {{"f32[7]"}, "slice %0, start=1 step=2", "f32[3]", {{0, 1, 2, 3, 4, 5, 6}}, {1, 3, 5}},
    {{"f32[2,3]"}, "slice %0, start=1,2 step=-1,-2", "f32[2,2]", {{1, 2, 3, 4, 5, 6}}, {6, 4, 3, 1}},
    {{"f32[2n]"}, "slice %0, start=1 step=2", "f32[n]", {{0, 1, 2, 3}}, {1, 3}},
    {{"f32[1,2]"}, "pad %0, before=1,0 value=9", "f32[3,3]", {{1, 2}}, {9, 9, 9, 1, 2, 9, 9, 9, 9}},
    {{"f32[2,1]", "f32[2,2]"}, "concat %0, %1, axis=1", "f32[2,3]", {{1, 2}, {3, 4, 5, 6}}, {1, 3, 4, 2, 5, 6}},
    {{"f32[4]", "i32[6]"}, "gather %0, %1, axis=0", "f32[6]", {{5, 6, 7, 8}, {2, -1, 0, 3, 4, 2}}, {7, 5, 5, 8, 8, 7}},
    {{"u8[2,3]", "i32[2,2]"}, "gather %0, %1, axis=1", "u8[2,2]", {{1, 2, 3, 4, 5, 6}, {2, 0, -9, 9}}, {3, 1, 4, 6}},
    {{"f32[2,2]", "i32[1,2]"}, "gather %0, %1, axis=0", "f32[1,2]", {{1, 2, 3, 4}, {1, 0}}, {3, 2}},
    {{"f32[3]", "i32[5]", "f32[5]"},
     "scatter_add %0, %1, %2, axis=0",
     "f32[3]",
     {{1, 2, 3}, {1, -4, 1, 9, 2}, {1, 2, 4, 8, 16}},
     {3, 7, 27}},
    {{"f32[2,3]", "i32[2,1]", "f32[2,1]"},
     "scatter_add %0, %1, %2, axis=1",
     "f32[2,3]",
     {{1, 2, 3, 4, 5, 6}, {2, 0}, {10, 20}},
     {1, 2, 13, 24, 5, 6}},
    {{"i32[1]", "i32[2]", "i32[2]"},
     "scatter_add %0, %1, %2, axis=0",
     "i32[1]",
     {{2147483647}, {0, 0}, {1, 1}},
     {-2147483647}},
    {{"f32[1,2]", "f32[2,2]"}, "concat %0, %1, axis=0", "f32[3,2]", {{1, 2}, {3, 4, 5, 6}}, {1, 2, 3, 4, 5, 6}},
    /* windows of width 2 and 3 on rows: padding on both sides, stride, dilation, one operand for each tap */
    {{"f32[1,1,3,1,1,1]"}, WINDOW("1,1", "1,1", "0,1", "9"), "f32[1,1,4,1,2,1]", {{1, 2, 3}}, {9, 1, 1, 2, 2, 3, 3, 9}},
    {{"f32[1,1,5,1,1,1]"}, WINDOW("1,3", "1,2", "0,0", "-inf"), "f32[1,1,2,1,2,1]", {{1, 2, 3, 4, 5}}, {1, 3, 4, -INF}},
    {{"f32[n,2,1,1,1,1]"}, WINDOW("1,1", "1,1", "-1,0", "0"), "f32[n,1,1,2,1,1]", {{1, 2, 3, 4}}, {2, 0, 4, 0}},
    {{"f32[1,1,2,1,2,1]"}, WINDOW("1,1", "1,1", "0,1", "0"), "f32[1,1,3,1,2,1]", {{1, 2, 3, 4}}, {0, 2, 1, 4, 3, 0}},
    {{"f32[1,2,2,1,1,2]"},
     WINDOW("2,2", "1,1", "1,0", "0"),
     "f32[1,1,1,2,2,2]",
     {{1, 2, 3, 4, 5, 6, 7, 8}},
     {0, 0, 0, 0, 1, 2, 3, 4}},
    /* the same elements back at their places */
    {{"f32[1,1,4,1,2,1]"},
     "un" WINDOW("1,1", "1,1", "0,1", "0"),
     "f32[1,1,3,1,2,1]",
     {{9, 1, 1, 2, 2, 3, 3, 9}},
     {1, 1, 2, 2, 3, 3}},
    {{"f32[1,1,2,1,2,1]"},
     "un" WINDOW("1,3", "1,2", "0,0", "0"),
     "f32[1,1,5,1,2,1]",
     {{1, 3, 4, 9}},
     {1, 0, 0, 0, 0, 3, 4, 0, 0, 0}},
    {{"f32[n,1,1,2,1,1]"},
     "un" WINDOW("1,1", "1,1", "-1,0", "0"),
     "f32[n,2,1,2,1,1]",
     {{2, 5, 4, 6}},
     {0, 0, 2, 0, 0, 0, 4, 0}},
    {{"f32[2,3]"}, "sum %0, axes=1", "f32[2,1]", {{1, 2, 3, 4, 5, 6}}, {6, 15}},
    {{"f32[2,3]"}, "sum %0, axes=0", "f32[1,3]", {{1, 2, 3, 4, 5, 6}}, {5, 7, 9}},
    {{"f32[2,3]"}, "sum %0, axes=0,1", "f32[1,1]", {{1, 2, 3, 4, 5, 6}}, {21}},
    {{"i32[2]"}, "sum %0, axes=0", "i32[1]", {{2147483647, 2}}, {-2147483647}},
    {{"f32[2,3]"}, "reduce_max %0, axes=1", "f32[2,1]", {{1, 3, 2, -INF, -INF, -INF}}, {3, -INF}},
    {{"f32[3]"}, "reduce_max %0, axes=0", "f32[1]", {{1, NOT, 2}}, {NOT}},
    {{"i32[2,2]"}, "reduce_max %0, axes=0", "i32[1,2]", {{-5, -7, -6, -2}}, {-5, -2}},
    {{"f32[2,3]"}, "argmax %0, axes=1", "u8[2,1]", {{1, 3, 3, -INF, -INF, -INF}}, {1, 0}},
    {{"f32[2,2,3]"}, "argmax %0, axes=0,2", "u8[1,2,1]", {{0, 1, 2, 7, 6, 5, 4, 3, 2, 7, 8, 8}}, {3, 4}},
    {{"f32[4]"}, "argmax %0, axes=0", "u8[1]", {{1, NOT, NOT, 9}}, {2}},
    {{"i32[2,2]"}, "argmax %0, axes=0", "u8[1,2]", {{-5, -7, -6, -2}}, {0, 1}},
    {{"f32[2,3]", "f32[3,2]"}, "matmul %0, %1", "f32[2,2]", {{1, 2, 3, 4, 5, 6}, {1, 0, 0, 1, 2, 2}}, {7, 8, 16, 17}},
    {{"f32[2,1,2]", "f32[2,2,1]"}, "matmul %0, %1", "f32[2,1,1]", {{1, 2, 3, 4}, {5, 6, 7, 8}}, {17, 53}},
    /* two keys with scores of 0: each has half of the weight */
    {{"f32[1,1,1,2]", "f32[1,2,1,2]", "i32[1]"},
     "attention_norm %0, %1, %2, scale=1 causal=0",
     "f32[1,1,1]",
     {{1, 2}, {0, 0, 0, 0}, {2}},
     {0.6931471805599453}},
    /* no key; one; the query at position 0 sees the first key alone */
    {{"f32[n,1,1,1]", "f32[n,2,1,1]", "i32[n]"},
     "attention_norm %0, %1, %2, scale=0.5 causal=0",
     "f32[n,1,1]",
     {{6, 6}, {1, 1, 1, 1}, {0, 1}},
     {0, 3}},
    {{"f32[1,1,1,1]", "f32[1,2,1,1]", "i32[1]"},
     "attention_norm %0, %1, %2, scale=1 causal=1",
     "f32[1,1,1]",
     {{6}, {1, 1}, {2}},
     {6}},
    {{ATTENTION_TYPES}, ATTENTION("", 6), "f32[1,1,1,1]", {{0}, {1, 3}, {3, 5}, {LOG_2}, {2}}, {4}},
    {{ATTENTION_TYPES, "f32[1,1,1,1]", "f32[1,1,1]"},
     ATTENTION("_dq", 8),
     "f32[1,1,1,1]",
     {{0}, {1, 3}, {3, 5}, {LOG_2}, {2}, {0}, {0}, {2}, {8}},
     {1}},
    {{ATTENTION_TYPES, "f32[1,1,1,1]", "f32[1,1,1]"},
     ATTENTION("_dk", 8),
     "f32[1,2,1,1]",
     {{2}, {0, 0}, {3, 5}, {LOG_2}, {2}, {0}, {0}, {2}, {8}},
     {-1, 1}},
    {{ATTENTION_TYPES, "f32[1,1,1,1]", "f32[1,1,1]"},
     ATTENTION("_dv", 8),
     "f32[1,2,1,1]",
     {{2}, {0, 0}, {3, 5}, {LOG_2}, {2}, {0}, {0}, {2}, {8}},
     {1, 1}},
    {{NULL}, "constant value=0.1", "f32[2]", {{0}}, {0.1, 0.1}},
    {{NULL}, "constant value=0.1", "bf16[]", {{0}}, {0.10009765625}},
    {{NULL}, "iota axis=1", "i32[2,3]", {{0}}, {0, 1, 2, 0, 1, 2}},
    {{NULL}, "iota axis=0", "f32[2n]", {{0}}, {0, 1, 2, 3}},
    {{"i32[3]", "i32[1]"}, "random %0, %1, stream=0 word=0", "i32[1]", {{0}, {0}}, {0x6627E8D5}},
    {{"i32[3]", "i32[1]"}, "random %0, %1, stream=0 word=3", "i32[]", {{0}, {0}}, {(int32_t)0x9B00DBD8u}},
    {{"f32[2]"}, "input 1 \"y\" data", "f32[2]", {{0}, {3, 4}}, {3, 4}},
};

static bool same(double a, double b) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= 1e-15 * fabs(b);
}

static char *case_text(const Case *test, Arena *arena) {
    char *text = arena_copy(arena, "");
    uint32_t count = 0;
    for (; count < MAX_INPUTS && test->types[count]; count++)
        text = arena_printf(arena, "%s%%%u = input %u \"in%u\" data : %s\n", text, count, count, count,
                            test->types[count]);
    return arena_printf(arena, "%s%%%u = %s : %s\n", text, count, test->operation, test->result);
}

static bool run_case(const Case *test, OpKind *op) {
    Arena *arena = arena_new();
    Diag diag;
    diag_init(&diag);
    const double *inputs[MAX_INPUTS];
    for (uint32_t i = 0; i < MAX_INPUTS; i++) inputs[i] = test->in[i];
    Graph *graph = graph_parse(case_text(test, arena), "case", &diag);
    bool good = EXPECT_THAT(graph, "%s: %s", test->operation, diag.text);
    if (good) {
        NodeId last = graph->count - 1;
        double **values = graph_eval(graph, BATCH, inputs, arena);
        int64_t elements = dim_at(type_elements(graph->nodes[last].type), BATCH);
        *op = graph->nodes[last].op;
        for (int64_t i = 0; i < elements; i++)
            EXPECT_THAT(same(values[last][i], test->out[i]), "%s : %s: element %d is %.17g, not %.17g", test->operation,
                        test->result, (int)i, values[last][i], test->out[i]);
    }
    graph_free(graph);
    diag_free(&diag);
    arena_free(arena);
    return good;
}

static void test_cases(void) {
    bool seen[OP_COUNT] = {0};
    OpKind op;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (run_case(&cases[i], &op)) seen[op] = true;
    for (int i = 0; i < OP_COUNT; i++)
        EXPECT_THAT(seen[i] || op_info[i].class == CLASS_meta, "%s: no case says what it computes", op_info[i].name);
}

/* The number is a function of seed, step, stream, sample and element within the sample, whatever the batch is. */
static void test_random(void) {
    static const char text[] = "%0 = input 0 \"key\" data : i32[3]\n"
                               "%1 = input 1 \"sample\" data : i32[n]\n"
                               "%2 = random %0, %1, stream=4000000000 word=2 : i32[n,5]\n";
    const double key[] = {-123456, 77, 1000}, sample[] = {5, 2, 2000000000, 0};
    const double *inputs[] = {key, sample};
    Arena *arena = arena_new();
    Diag diag;
    diag_init(&diag);
    Graph *graph = graph_parse(text, "random", &diag);
    double **values = graph_eval(graph, 4, inputs, arena);
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t counter[4] = {i % 5, (uint32_t)(int32_t)sample[i / 5], 1000, 4000000000u}, out[4];
        uint32_t seed[2] = {(uint32_t)-123456, 77};
        selfc_philox(counter, seed, out);
        EXPECT((uint32_t)(int32_t)values[2][i] == out[2]);
    }
    graph_free(graph);
    arena_free(arena);
}

static void test_random_graph(uint64_t seed) {
    RandomOptions options = {.operations = 5 + (uint32_t)(seed % 40), .batch = seed & 1, .floats_only = seed % 5 == 0};
    Arena *arena = arena_new();
    Diag diag;
    diag_init(&diag);
    Graph *graph = random_graph(seed, options);
    char *text = graph_text(graph, arena);
    Graph *again = graph_parse(text, "random", &diag);
    EXPECT_THAT(graph_verify(graph, stdout), "seed %llu", (unsigned long long)seed);
    if (EXPECT_THAT(again, "seed %llu: %s", (unsigned long long)seed, diag.text)) {
        EXPECT_THAT(!strcmp(text, graph_text(again, arena)), "seed %llu prints otherwise", (unsigned long long)seed);
        int64_t n = 1 + (int64_t)(seed % 7);
        const double *const *inputs = (const double *const *)random_inputs(graph, n, seed, arena);
        double **a = graph_eval(graph, n, inputs, arena), **b = graph_eval(again, n, inputs, arena);
        for (uint32_t i = 0; i < graph->output_count; i++) {
            NodeId id = graph->outputs[i].node;
            size_t elements = (size_t)dim_at(type_elements(graph->nodes[id].type), n);
            bool equal = !memcmp(a[id], b[again->outputs[i].node], elements * sizeof(double)), finite = true;
            for (size_t e = 0; e < elements; e++) finite &= isfinite(a[id][e]) != 0;
            EXPECT_THAT(equal && finite, "seed %llu: output %u", (unsigned long long)seed, i);
        }
    }
    graph_free(again);
    graph_free(graph);
    diag_free(&diag);
    arena_free(arena);
}

int main(void) {
    test_cases();
    test_random();
    for (uint64_t seed = 0; seed < 500; seed++) test_random_graph(seed);
    return check_result("evaluator");
}
