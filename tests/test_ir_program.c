/* Programs: which kernels are one, which outputs may be written over inputs, what the verifier finds, what the
 * text and the plan say, and that running the calls means what the bodies mean. */
#include "ir/program.h"
#include "tests/test_ir_expect.h"

#include <stdlib.h>
#include <string.h>

/* Two layers, a phase each; the words in {braces} are replaced by tests that break something. */
static const char sound[] = "program \"p\"\n"
                            "input 0 \"x\" data : f32[n,4]\n"
                            "input 1 \"w\" parameter : f32[4,8]\n"
                            "buffer b0 input 0 : f32[n,4]\n"
                            "buffer b1 state 1 : f32[4,8]\n"
                            "buffer b2 temporary : f32[n,8] at 0\n"
                            "buffer b3 temporary : f32[n,8] at 64n\n"
                            "buffer b4 output 0 : f32[n,8]\n"
                            "output \"y\" b4\n"
                            "output \"w\" b1 updates 1\n"
                            "arena 512+128n most_live 64n\n"
                            "kernel 0 contract \"dense\"\n"
                            "  grid n by 8, 8\n"
                            "  product %2\n"
                            "  body {\n"
                            "    %0 = input 0 \"\" data : f32[n,4]\n"
                            "    %1 = input 1 \"\" data : f32[4,8]\n"
                            "    %2 = matmul %0, %1 : f32[n,8]\n"
                            "    output \"\" %2\n"
                            "  }\n"
                            "kernel 1 map \"tanh\"\n"
                            "  grid n, 8\n"
                            "  body {\n"
                            "    %0 = input 0 \"\" data : f32[n,8]\n"
                            "    %1 = tanh %0 : f32[n,8]\n"
                            "    output \"\" %1\n"
                            "  }\n"
                            "kernel 2 map \"half\"\n"
                            "  grid 4, 8\n"
                            "  body {\n"
                            "    %0 = input 0 \"\" data : f32[4,8]\n"
                            "    %1 = constant value=0.5 : f32[4,8]\n"
                            "    %2 = mul %0, %1 : f32[4,8]\n"
                            "    output \"\" %2\n"
                            "  }\n"
                            "kernel 3 map \"sum_rows\"\n"
                            "  grid n, 8\n"
                            "  reduced 1\n"
                            "  body {\n"
                            "    %0 = input 0 \"\" data : f32[n,8]\n"
                            "    %1 = sum %0, axes=1 : f32[n,1]\n"
                            "    %2 = broadcast %1 : f32[n,8]\n"
                            "    %3 = sub %0, %2 : f32[n,8]\n"
                            "    output \"\" %3\n"
                            "  }\n"
                            "phase 0:\n"
                            "  call 0: \"dense\"(b0, b1 -> b2) @ \"layers[0]\"\n"
                            "phase 1:\n"
                            "  call 1: \"half\"(b1 -> b1)\n"
                            "  call 2: \"tanh\"(b2 -> b3)\n"
                            "phase 2:\n"
                            "  call 3: \"sum_rows\"(b3 -> b4)\n";

static Program *parse(const char *text) {
    Diag diag;
    diag_init(&diag);
    Program *program = program_parse(text, "text", &diag);
    EXPECT_THAT(program, "%s", diag.text);
    diag_free(&diag);
    return program;
}

/* Kernels of the other kinds. */
static const char kinds[] = "program \"kinds\"\n"
                            "input 0 \"x\" data : f32[n,4,2,8]\n"
                            "input 1 \"count\" data : i32[n]\n"
                            "input 2 \"table\" state : f32[6,8]\n"
                            "input 3 \"place\" data : i32[3,1]\n"
                            "input 4 \"rows\" data : f32[3,8]\n"
                            "buffer b0 input 0 : f32[n,4,2,8]\n"
                            "buffer b1 input 1 : i32[n]\n"
                            "buffer b2 state 2 : f32[6,8]\n"
                            "buffer b3 input 3 : i32[3,1]\n"
                            "buffer b4 input 4 : f32[3,8]\n"
                            "buffer b5 output 0 : f32[n,4,2,8]\n"
                            "output \"y\" b5\n"
                            "output \"table\" b2 updates 2\n"
                            "kernel 0 attention \"mix\"\n"
                            "  grid n by 1, 2 by 1, 4 by 4\n"
                            "  body {\n"
                            "    %0 = input 0 \"\" data : f32[n,4,2,8]\n"
                            "    %1 = input 1 \"\" data : i32[n]\n"
                            "    %2 = constant value=0 : i32[3]\n"
                            "    %3 = constant value=0 : i32[1]\n"
                            "    %4 = slice %0, start=0,3,0,0 step=1,-1,1,1 : f32[n,4,2,8]\n"
                            "    %5 = attention_norm %4, %0, %1, scale=0.5 causal=0 : f32[n,4,2]\n"
                            "    %6 = attention %4, %0, %0, %5, %1, %2, %3, scale=0.5 causal=0 rate=0 stream=0 : "
                            "f32[n,4,2,8]\n"
                            "    output \"\" %6\n"
                            "  }\n"
                            "kernel 1 scatter \"add\"\n"
                            "  grid 6 by 2, 8\n"
                            "  body {\n"
                            "    %0 = input 0 \"\" data : f32[6,8]\n"
                            "    %1 = input 1 \"\" data : i32[3,1]\n"
                            "    %2 = input 2 \"\" data : f32[3,8]\n"
                            "    %3 = broadcast %1 : i32[3,8]\n"
                            "    %4 = scatter_add %0, %3, %2, axis=0 : f32[6,8]\n"
                            "    output \"\" %4\n"
                            "  }\n"
                            "call 0: \"mix\"(b0, b1 -> b5)\n"
                            "call 1: \"add\"(b2, b3, b4 -> b2)\n";

/* A convolution by Winograd's tiles. */
static const char tiled[] = "program \"p\"\n"
                            "input 0 \"x\" data : f32[2,8,6,1,1,16]\n"
                            "input 1 \"w\" data : f32[144,32]\n"
                            "buffer b0 input 0 : f32[2,8,6,1,1,16]\n"
                            "buffer b1 input 1 : f32[144,32]\n"
                            "buffer b2 output 0 : f32[96,32]\n"
                            "output \"y\" b2\n"
                            "kernel 0 contract \"conv\"\n"
                            "  grid 96 by 24, 32 by 32\n"
                            "  product %4\n"
                            "  tile 6 rows 2 vectors\n"
                            "  pack a b\n"
                            "  winograd 6\n"
                            "  body {\n"
                            "    %0 = input 0 \"\" data : f32[2,8,6,1,1,16]\n"
                            "    %1 = window %0, stride=1,1 dilation=1,1 before=1,1 value=0 : f32[2,8,6,3,3,16]\n"
                            "    %2 = reshape %1 : f32[96,144]\n"
                            "    %3 = input 1 \"\" data : f32[144,32]\n"
                            "    %4 = matmul %2, %3 : f32[96,32]\n"
                            "    output \"\" %4\n"
                            "  }\n"
                            "call 0: \"conv\"(b0, b1 -> b2)\n";

/* Its filters' gradient. */
static const char by_weights[] = "program \"p\"\n"
                                 "input 0 \"x\" data : f32[2,8,6,1,1,16]\n"
                                 "input 1 \"dy\" data : f32[96,32]\n"
                                 "buffer b0 input 0 : f32[2,8,6,1,1,16]\n"
                                 "buffer b1 input 1 : f32[96,32]\n"
                                 "buffer b2 output 0 : f32[144,32]\n"
                                 "output \"dw\" b2\n"
                                 "kernel 0 contract \"conv\"\n"
                                 "  grid 144 by 72, 32 by 16\n"
                                 "  product %5\n"
                                 "  tile 6 rows 2 vectors\n"
                                 "  pack a b\n"
                                 "  winograd 12\n"
                                 "  body {\n"
                                 "    %0 = input 0 \"\" data : f32[2,8,6,1,1,16]\n"
                                 "    %1 = window %0, stride=1,1 dilation=1,1 before=1,1 value=0 : f32[2,8,6,3,3,16]\n"
                                 "    %2 = reshape %1 : f32[96,144]\n"
                                 "    %3 = transpose %2, permutation=1,0 : f32[144,96]\n"
                                 "    %4 = input 1 \"\" data : f32[96,32]\n"
                                 "    %5 = matmul %3, %4 : f32[144,32]\n"
                                 "    output \"\" %5\n"
                                 "  }\n"
                                 "call 0: \"conv\"(b0, b1 -> b2)\n";

/* The text with the first `old` replaced by `new`. */
static char *changed(const char *text, const char *old, const char *new, Arena *arena) {
    const char *at = strstr(text, old);
    if (!EXPECT_THAT(at, "the text has no '%s'", old)) return arena_copy(arena, text);
    return arena_printf(arena, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
}

static char *printed(const Program *program, void (*print)(const Program *, FILE *), Arena *arena) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    print(program, out);
    fclose(out);
    char *copy = arena_copy(arena, text);
    free(text);
    return copy;
}

typedef struct {
    const char *old, *new, *report; /* report NULL: sound */
} Break;

static const Break breaks[] = {
    {"x", "x", NULL},
    {"b0 input 0 : f32[n,4]", "b0 input 1 : f32[4,8]", "b0: data must be an input buffer"},
    {"b1 state 1 : f32[4,8]", "b1 state 1 : f32[8,4]", "b1: the type is not the input's"},
    {"b1 state 1", "b1 state 9", "b1: there is no such input"},
    {"b4 output 0", "b4 output 5", "b4: there is no such output"},
    {"at 64n", "at 32n", "b3: the offset must be a multiple of 64"},
    {"at 64n", "at 0", "b2 and b3 live in one phase and overlap (n = 1)"},
    {"at 64n", "at 1024", "b3 ends at byte"},
    {"arena 512+128n", "arena 2048+96n", NULL},
    {"at 64n", "at 128", "live in one phase and overlap (n = 7)"},
    {"arena 512+128n", "arena 64n", "b3 ends at byte 96 of an arena of 64 (n = 1)"},
    {"b1 updates 1", "b4 updates 1", "an update must end in the buffer of its own state"},
    {"grid n by 8, 8", "grid n by 8, 4", "kernel 0 \"dense\": the grid must have the axes of the product"},
    {"product %2", "product %1", "the product must be named"},
    {"product %2", "product %2\n  tile 6 rows 0 vectors", "a tile has both rows and vectors"},
    {"output \"\" %2\n  }\nkernel 1", "%3 = sum %2, axes=1 : f32[n,1]\n    output \"\" %3\n  }\nkernel 1",
     "a contraction sums up rows within equal pieces of its product alone"},
    {"contract \"dense\"", "map \"dense\"", "kernel 0 \"dense\": a map kernel cannot hold a product"},
    {"map \"tanh\"", "contract \"tanh\"", "kernel 1 \"tanh\": a contraction has one product"},
    {"grid n, 8\n  reduced 1", "grid n, 8 by 4\n  reduced 1", "a reduced axis must not be cut"},
    {"reduced 1", "reduced 3", "a reduced axis is not in the grid"},
    {"(b0, b1 -> b2)", "(b0, b2 -> b2)", "call 0: argument 1 must be f32[4,8], but b2 is f32[n,8]"},
    {"(b1 -> b1)", "(b1 -> b0)", "argument 1 must be f32[4,8], but b0 is"},
    {"(b3 -> b4)", "(b3 -> b3)", "output 0: b4 is never written"},
    {"(b2 -> b3)", "(b2 -> b2)", "call 3: reads b3 before it is written"},
    {"(b3 -> b4)", "(b3 -> b2)", "output 0: b4 is never written"},
    {"constant value=0.5 : f32[4,8]", "slice %0, start=3,7 step=-1,-1 : f32[4,8]",
     "call 1: output 0 cannot be written over input 0 (b1)"},
    {"phase 1:\n", "", "calls 0 and 1 of phase 0 share b1"},
    {"phase 2:\n", "", "calls 2 and 3 of phase 1 share b3"},
};

static const Break breaks_of_kinds[] = {
    {"attention \"mix\"", "map \"mix\"", "kernel 0 \"mix\": attention needs a kernel of its own kind"},
    {"output \"\" %6", "output \"\" %5", "what attention computes is its output"},
    {"output \"\" %6", "%7 = neg %6 : f32[n,4,2,8]\n    output \"\" %7", "attention has no epilogue"},
    {"%6 = attention %4, %0", "%6 = attention %0, %4", "attention is one result with its norm"},
    {"start=0,3,0,0 step=1,-1,1,1", "start=0,0,1,0 step=1,1,-1,1", NULL},
    {"start=0,3,0,0 step=1,-1,1,1", "start=0,0,0,7 step=1,1,1,-1", "elements lie side by side"},
    {"2 by 1, 4 by 4", "2 by 1", "the grid of attention is samples, heads and"},
    {"4 by 4", "4 by 4\n  wide 6 rows 0 vectors", "a tile has both rows and vectors"},
    {"b1 -> b5", "b1 -> b0", "writes b0, which is an input"},
    {"scatter \"add\"", "map \"add\"", "kernel 1 \"add\": a map kernel cannot hold a scatter"},
    {"scatter \"add\"", "contract \"add\"", "a contraction has one product"},
    {"output \"\" %4", "%5 = neg %4 : f32[6,8]\n    output \"\" %5", "which is its only output"},
    {"grid 6 by 2, 8", "grid 6 by 2, 4", "the grid must have the axes of the result"},
    {"grid 6 by 2, 8", "grid 6, 8 by 4", NULL},
    {"%3 = broadcast %1 : i32[3,8]", "%3 = iota axis=1 : i32[3,8]", "can be cut only where whole rows"},
    {"%3 = broadcast %1 : i32[3,8]\n    %4 = scatter_add %0, %3, %2, axis=0 : f32[6,8]\n    output \"\" %4",
     "%3 = broadcast %1 : i32[3,8]\n    %4 = slice %0, start=0,0 step=1,1 : f32[3,8]\n    %5 = scatter_add %0, %3, %4, "
     "axis=0 : f32[6,8]\n    output \"\" %5",
     "call 1: output 0 cannot be written over input 0 (b2)"},
};

static const Break breaks_of_tiles[] = {
    {"x", "x", NULL},
    {"dilation=1,1", "dilation=2,1", "only a 3x3 convolution with stride 1"},
    {"contract \"conv\"", "map \"conv\"", "only a contraction is a convolution"},
    {"96 by 24", "96 by 18", "a piece has whole lines of tiles, or all taps"},
    {"96 by 24", "96", NULL},
    {"32 by 32", "32 by 24", "pieces have equal columns"},
    {"winograd 6\n", "winograd 4\n", "a block has whole lines of tiles"},
    {"winograd 6\n", "winograd 6\n  rows 6\n", "tiles are the only blocks"},
    {"winograd 6\n", "winograd 6\n  depth 6\n", "tiles are the only blocks"},
    {"winograd 6\n", "winograd 6\n  prepared b\n", "filters that are transformed are in no panels"},
    {"pack a b", "pack a", "transformed operands are copies, in tiles"},
};

static const Break breaks_of_weights[] = {
    {"x", "x", NULL},
    {"144 by 72", "144 by 24", "a piece has whole lines of tiles, or all taps of some channels"},
    {"144 by 72", "144 by 54", "a piece has whole lines of tiles, or all taps of some channels"},
    {"32 by 16", "32 by 12", "pieces have equal columns"},
};

static void test_breaks(const char *text, const Break *list, size_t count) {
    for (const Break *b = list; b < list + count; b++) {
        Arena *arena = arena_new();
        Program *program = parse(changed(text, b->old, b->new, arena));
        char *report = NULL;
        size_t size;
        FILE *out = open_memstream(&report, &size);
        bool good = program && program_verify(program, out);
        fclose(out);
        if (b->report)
            EXPECT_THAT(!good && strstr(report, b->report), "'%s': wants: %s\nsays: %s", b->new, b->report, report);
        else
            EXPECT_THAT(good, "'%s' says: %s", b->new, report);
        free(report);
        program_free(program);
        arena_free(arena);
    }
}

static void test_verify(void) {
    test_breaks(sound, breaks, sizeof breaks / sizeof *breaks);
    test_breaks(kinds, breaks_of_kinds, sizeof breaks_of_kinds / sizeof *breaks_of_kinds);
    test_breaks(tiled, breaks_of_tiles, sizeof breaks_of_tiles / sizeof *breaks_of_tiles);
    test_breaks(by_weights, breaks_of_weights, sizeof breaks_of_weights / sizeof *breaks_of_weights);
}

static void test_text(void) {
    Arena *arena = arena_new();
    Program *program = parse(sound);
    char *text = printed(program, program_print, arena);
    Program *again = parse(text);
    EXPECT(!strcmp(text, printed(again, program_print, arena)));
    char *plan = printed(program, program_print_plan, arena);
    EXPECT(strstr(plan, "4 calls in 3 phases") && strstr(plan, "arena          512 + 128 n bytes"));
    EXPECT(strstr(plan, "peak           phase 1, 64 bytes alive:\n  b2 "));
    EXPECT(strstr(plan, "dense  layers[0]"));
    program_free(again);
    program_free(program);
    program = parse(tiled);
    text = printed(program, program_print, arena);
    EXPECT(strstr(text, "\n  winograd 6\n") && strstr(text, "16 in place of 36"));
    again = parse(text);
    EXPECT(!strcmp(text, printed(again, program_print, arena)));
    program_free(again);
    program_free(program);
    program_free(NULL);
    arena_free(arena);
}

static Graph *body_of(const char *text) {
    Diag diag;
    diag_init(&diag);
    Graph *graph = graph_parse(text, "body", &diag);
    EXPECT_THAT(graph, "%s", diag.text);
    diag_free(&diag);
    return graph;
}

static Kernel map_kernel(const char *name, const char *text) {
    return (Kernel){.kind = KERNEL_map, .name = name, .body = body_of(text), .grid = {1, {{4, 0}}}};
}

static void test_equal(void) {
    Program *program = program_new("equal");
    static const char exp_x[] = "%0 = input 0 \"x\" data : f32[4]\n%1 = exp %0 : f32[4] @ \"a\"\noutput \"y\" %1\n";
    static const char exp_z[] = "%0 = input 0 \"z\" state : f32[4]\n%1 = exp %0 : f32[4] @ \"b\"\noutput \"q\" %1\n";
    static const char log_x[] = "%0 = input 0 \"x\" data : f32[4]\n%1 = log %0 : f32[4]\noutput \"y\" %1\n";
    Kernel cut = map_kernel("same", exp_x);
    cut.grid.axis[0].block = 2;
    EXPECT(program_add_kernel(program, map_kernel("same", exp_x)) == 0);
    EXPECT(program_add_kernel(program, map_kernel("other", exp_z)) == 0);
    EXPECT(program_add_kernel(program, map_kernel("same", log_x)) == 1);
    EXPECT(program_add_kernel(program, cut) == 2);
    EXPECT(program->kernel_count == 3 && !strcmp(program->kernels[1].name, "same.1"));
    EXPECT(!strcmp(program->kernels[2].name, "same.2"));
    EXPECT(kernel_arg_count(&program->kernels[0]) == 2);
    program_free(program);
}

static void expect_update(const char *text, uint32_t input, uint32_t output, bool may) {
    Kernel kernel = map_kernel("k", text);
    EXPECT_THAT(kernel_may_update(&kernel, input, output) == may, "input %u, output %u of\n%s", input, output, text);
    graph_free(kernel.body);
}

static void test_may_update(void) {
    static const char two[] = "%0 = input 0 \"a\" data : f32[4,4]\n"
                              "%1 = input 1 \"b\" data : f32[4,4]\n"
                              "%2 = add %0, %1 : f32[4,4]\n"
                              "%3 = exp %2 : f32[4,4]\n"
                              "output \"\" %3\n";
    expect_update(two, 0, 0, true);
    expect_update(two, 1, 0, true);
    static const char turned[] = "%0 = input 0 \"a\" data : f32[4,4]\n"
                                 "%1 = transpose %0, permutation=1,0 : f32[4,4]\n"
                                 "%2 = add %0, %1 : f32[4,4]\n"
                                 "%3 = neg %0 : f32[4,4]\n"
                                 "output \"\" %2\n"
                                 "output \"\" %3\n";
    expect_update(turned, 0, 0, false);
    expect_update(turned, 0, 1, false); /* the other output reads it turned */
    static const char product[] = "%0 = input 0 \"a\" data : f32[4,4]\n"
                                  "%1 = input 1 \"b\" data : f32[4,4]\n"
                                  "%2 = input 2 \"c\" data : f32[4,4]\n"
                                  "%3 = matmul %0, %1 : f32[4,4]\n"
                                  "%4 = sub %2, %3 : f32[4,4]\n"
                                  "output \"\" %4\n";
    expect_update(product, 0, 0, false);
    expect_update(product, 1, 0, false);
    expect_update(product, 2, 0, true);
    static const char apart[] = "%0 = input 0 \"a\" data : f32[4]\n"
                                "%1 = input 1 \"b\" data : f32[4]\n"
                                "%2 = input 2 \"c\" data : i32[4]\n"
                                "%3 = neg %0 : f32[4]\n"
                                "%4 = neg %1 : f32[4]\n"
                                "%5 = cast %2 : f32[4]\n"
                                "output \"\" %3\n"
                                "output \"\" %4\n"
                                "output \"\" %5\n";
    expect_update(apart, 0, 0, true);
    expect_update(apart, 0, 1, true);  /* all is computed at a place before anything is stored */
    expect_update(apart, 2, 2, false); /* not the same type */
}

/* y = x - sum(x), and x + 1: the sum is complete before y is stored, but x is read for y after x + 1 is. */
static void test_may_update_stages(void) {
    Kernel kernel = map_kernel("k", "%0 = input 0 \"x\" data : f32[3,4]\n"
                                    "%1 = constant value=1 : f32[3,4]\n"
                                    "%2 = add %0, %1 : f32[3,4]\n"
                                    "%3 = sum %0, axes=1 : f32[3,1]\n"
                                    "%4 = broadcast %3 : f32[3,4]\n"
                                    "%5 = sub %0, %4 : f32[3,4]\n"
                                    "%6 = input 1 \"row\" data : f32[3,1]\n"
                                    "%7 = add %3, %6 : f32[3,1]\n"
                                    "output \"\" %5\n"
                                    "output \"\" %2\n"
                                    "output \"\" %7\n");
    kernel.grid = (Grid){2, {{3, 1}, {4, 0}}};
    kernel.reduced = 2;
    EXPECT(kernel_may_update(&kernel, 0, 0));
    EXPECT(!kernel_may_update(&kernel, 0, 1));
    EXPECT(kernel_may_update(&kernel, 1, 2));
    Arena *arena = arena_new();
    uint32_t *stage = kernel_stages(&kernel, arena);
    EXPECT(stage[3] == 0 && stage[5] == 1 && kernel_reduces(&kernel, 3) && !kernel_reduces(&kernel, 4));
    EXPECT(kernel_store_stage(&kernel, stage, 0) == 1 && kernel_store_stage(&kernel, stage, 1) == 0);
    EXPECT(kernel_store_stage(&kernel, stage, 2) == UINT32_MAX);
    arena_free(arena);
    graph_free(kernel.body);
}

static void test_eval(void) {
    Arena *arena = arena_new();
    Program *program = parse("program \"p\"\n"
                             "input 0 \"x\" data : f32[n]\n"
                             "input 1 \"w\" state : f32[2]\n"
                             "buffer b0 input 0 : f32[n]\n"
                             "buffer b1 state 1 : f32[2]\n"
                             "buffer b2 output 0 : f32[n]\n"
                             "output \"y\" b2\n"
                             "arena 0 most_live 0\n"
                             "kernel 0 map \"double\"\n"
                             "  grid n\n"
                             "  body {\n"
                             "    %0 = input 0 \"\" data : f32[n]\n"
                             "    %1 = add %0, %0 : f32[n]\n"
                             "    output \"\" %1\n"
                             "  }\n"
                             "kernel 1 map \"swap\"\n"
                             "  grid 2\n"
                             "  body {\n"
                             "    %0 = input 0 \"\" data : f32[2]\n"
                             "    %1 = slice %0, start=1 step=-1 : f32[2]\n"
                             "    output \"\" %1\n"
                             "  }\n"
                             "call 0: \"double\"(b0 -> b2)\n"
                             "call 1: \"swap\"(b1 -> b1)\n"
                             "call 2: \"double\"(b2 -> b2)\n");
    double x[] = {1, 2, 3}, w[] = {7, 8}, *values[] = {x, w, NULL};
    if (program) program_eval(program, 3, values, arena);
    EXPECT(x[0] == 1 && x[2] == 3);
    EXPECT(w[0] == 8 && w[1] == 7);
    EXPECT(values[2] && values[2][0] == 4 && values[2][1] == 8 && values[2][2] == 12);
    program_free(program);
    arena_free(arena);
}

static void test_grid(void) {
    Grid grid = {.rank = 3, .axis = {{-1, 4}, {10, 3}, {7, 0}}};
    EXPECT(grid_pieces_at(&grid, 1) == 4 && grid_pieces_at(&grid, 9) == 12);
    Machine machine = machine_generic();
    EXPECT(machine.vector_bytes == 16 && machine.registers == 16);
}

int main(void) {
    test_verify();
    test_text();
    test_equal();
    test_may_update();
    test_may_update_stages();
    test_eval();
    test_grid();
    return check_result("program");
}
