/* The emitted mathematics against plain C: special values, the same bits for any number of lanes, every conversion,
 * Philox against its published vectors, and no call in any of the code. The sizes of errors are tested by
 * exhaustive_ulp. */
#include "backend/emit.h"
#include "ir/arena.h"
#include "tests/math_jit.h"

#include <math.h>

enum {
    COUNT = 1 << 16,
    MOST_LANES = 16
}; /* the arrays' length: a multiple of all lanes but 3, which is tried on less */

static int failures, checks;
static void expect(bool holds, const char *what, const char *cpu, uint32_t lanes, uint64_t in, uint64_t got,
                   uint64_t wanted) {
    checks++;
    if (holds) return;
    if (failures++ < 40)
        printf("%s on %s, %u lanes: %#llx gives %#llx, not %#llx\n", what, cpu, lanes, (unsigned long long)in,
               (unsigned long long)got, (unsigned long long)wanted);
}

/* Processors and lanes that code is made for; it runs where this machine can. */
static const struct {
    const char *triple, *cpu;
    uint32_t lanes[3];
} machines[] = {
    {NULL, NULL, {16, 1, 3}},    {NULL, "x86-64-v4", {8, 4}}, {NULL, "x86-64-v3", {8, 1}},
    {NULL, "x86-64-v2", {4, 1}}, {NULL, "x86-64", {16}},      {"aarch64-unknown-linux-gnu", NULL, {4, 1}},
};
enum { MACHINE_COUNT = sizeof machines / sizeof machines[0] };

/* The code of `shape`; notes whether it calls anything. NULL in run: not for this machine. */
static MathCode build(const char *what, const Target *target, const MathShape *shape) {
    MathCode code = math_jit_make(target, shape, true);
    const char *text = LLVMGetBufferStart(code.assembly);
    checks++;
    if (strstr(text, "\tcall") || strstr(text, "@PLT") || strstr(text, "\tbl\t")) {
        printf("%s for %s, %u lanes: the code calls something\n", what, target->cpu, shape->lanes);
        failures++;
    }
    return code;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* --- functions --- */

typedef LLVMValueRef Function(Emitter *e, LLVMValueRef x);
static const struct {
    const char *name;
    Function *emit;
} functions[] = {{"exp", math_exp}, {"log", math_log}, {"tanh", math_tanh}, {"sigmoid", math_sigmoid},
                 {"erf", math_erf}, {"sin", math_sin}, {"cos", math_cos},   {"exp2_weight", math_exp2_weight}};
enum { FUNCTION_COUNT = sizeof functions / sizeof functions[0] };

/* What C's Annex F says, and results that are exact. A NaN stands for any quiet one. */
static const struct {
    const char *name;
    float x, y;
} special[] = {
    {"exp", 0, 1},
    {"exp", -0.0f, 1},
    {"exp", INFINITY, INFINITY},
    {"exp", -INFINITY, 0},
    {"exp", NAN, NAN},
    {"exp", 88.8f, INFINITY},
    {"exp", 1e38f, INFINITY},
    {"exp", -1e38f, 0},
    {"exp", -104, 0},
    {"exp", -103.2789f, 0x1p-149f},
    {"exp", 0x1p-149f, 1},
    {"exp", -0x1p-30f, 1},
    {"log", 1, 0},
    {"log", 0, -INFINITY},
    {"log", -0.0f, -INFINITY},
    {"log", INFINITY, INFINITY},
    {"log", NAN, NAN},
    {"log", -1, NAN},
    {"log", -INFINITY, NAN},
    {"log", -0x1p-149f, NAN},
    {"log", 0x1p-149f, -0x1.9d1dap6f},
    {"log", 0x1p-126f, -0x1.5d58ap6f},
    {"tanh", 0, 0},
    {"tanh", -0.0f, -0.0f},
    {"tanh", INFINITY, 1},
    {"tanh", -INFINITY, -1},
    {"tanh", NAN, NAN},
    {"tanh", 0x1p-149f, 0x1p-149f},
    {"tanh", -0x1p-140f, -0x1p-140f},
    {"tanh", 20, 1},
    {"sigmoid", 0, 0.5f},
    {"sigmoid", -0.0f, 0.5f},
    {"sigmoid", INFINITY, 1},
    {"sigmoid", -INFINITY, 0},
    {"sigmoid", NAN, NAN},
    {"sigmoid", 20, 1},
    {"sigmoid", -200, 0},
    {"sigmoid", -103.2789f, 0x1p-149f},
    {"erf", 0, 0},
    {"erf", -0.0f, -0.0f},
    {"erf", INFINITY, 1},
    {"erf", -INFINITY, -1},
    {"erf", NAN, NAN},
    {"erf", -0x1p-149f, -0x1p-149f},
    {"erf", 5, 1},
    {"sin", 0, 0},
    {"sin", -0.0f, -0.0f},
    {"sin", INFINITY, NAN},
    {"sin", -INFINITY, NAN},
    {"sin", NAN, NAN},
    {"sin", -0x1p-149f, -0x1p-149f},
    {"sin", 0x1p-120f, 0x1p-120f},
    {"cos", 0, 1},
    {"cos", -0.0f, 1},
    {"cos", INFINITY, NAN},
    {"cos", -INFINITY, NAN},
    {"cos", NAN, NAN},
    {"cos", 0x1p-149f, 1},
    {"cos", 0x1p-14f, 1},
    {"exp2_weight", 0, 1},
    {"exp2_weight", -3, 0.125f},
    {"exp2_weight", -300, 0x1p-126f},
    {"exp2_weight", -INFINITY, 0x1p-126f},
    {"exp2_weight", 300, 0x1p127f},
    {"exp2_weight", NAN, NAN},
};
enum { SPECIAL_COUNT = sizeof special / sizeof special[0] };

static LLVMValueRef function_body(Emitter *e, LLVMValueRef const *inputs, const void *data) {
    return functions[*(const uint32_t *)data].emit(e, inputs[0]);
}

static MathShape function_shape(const uint32_t *function, uint32_t lanes) {
    return (MathShape){.body = function_body,
                       .data = function,
                       .lanes = lanes,
                       .input_count = 1,
                       .input = {DTYPE_f32},
                       .output = DTYPE_f32};
}

static void test_special(const MathCode *code, uint32_t function, const char *cpu, uint32_t lanes) {
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        float x[MOST_LANES], y[MOST_LANES];
        if (strcmp(special[i].name, functions[function].name) != 0) continue;
        for (uint32_t lane = 0; lane < lanes; lane++) {
            for (uint32_t j = 0; j < lanes; j++) x[j] = j == lane ? special[i].x : 1.0f;
            code->run((const void *[]){x}, y, lanes);
            bool same = isnan(special[i].y) ? isnan(y[lane]) && (bits_of(y[lane]) & 0x400000)
                                            : bits_of(y[lane]) == bits_of(special[i].y);
            expect(same, special[i].name, cpu, lanes, bits_of(special[i].x), bits_of(y[lane]), bits_of(special[i].y));
        }
    }
}

/* For one processor the lanes, and the neighbours, of an element do not matter. NaNs may differ in what they carry. */
static void test_same_bits(const MathCode *code, uint32_t function, const char *cpu, uint32_t lanes, const float *x,
                           const float *wanted) {
    static float y[COUNT];
    int64_t count = COUNT / lanes * lanes;
    code->run((const void *[]){x}, y, count);
    for (int64_t i = 0; i < count; i++)
        expect(bits_of(y[i]) == bits_of(wanted[i]) || (isnan(y[i]) && isnan(wanted[i])), functions[function].name, cpu,
               lanes, bits_of(x[i]), bits_of(y[i]), bits_of(wanted[i]));
}

static void test_function(uint32_t function, int machine, const Target *target) {
    static float x[COUNT], wanted[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) x[i] = float_of(i * 65521u);
    MathShape scalar = function_shape(&function, 1);
    MathCode single = build(functions[function].name, target, &scalar);
    if (single.run) single.run((const void *[]){x}, wanted, COUNT);
    for (int i = 0; i < 3 && machines[machine].lanes[i]; i++) {
        uint32_t lanes = machines[machine].lanes[i];
        MathShape shape = function_shape(&function, lanes);
        MathCode code = build(functions[function].name, target, &shape);
        if (code.run) {
            test_special(&code, function, target->cpu, lanes);
            test_same_bits(&code, function, target->cpu, lanes, x, wanted);
        }
        math_jit_free(code);
    }
    math_jit_free(single);
}

/* The bound that emit.h gives, between the ends. */
static void test_weights(const Target *target) {
    static float x[COUNT], y[COUNT];
    const uint32_t function = FUNCTION_COUNT - 1;
    for (uint32_t i = 0; i < COUNT; i++) x[i] = -126 + 253 * (float)i / COUNT;
    MathShape shape = function_shape(&function, 1);
    MathCode code = build(functions[function].name, target, &shape);
    if (code.run) code.run((const void *[]){x}, y, COUNT);
    for (uint32_t i = 0; code.run && i < COUNT; i++) {
        double wanted = exp2((double)x[i]);
        expect(fabs((double)y[i] / wanted - 1) < 0x1p-22, "exp2_weight's bound", target->cpu, 1, bits_of(x[i]),
               bits_of(y[i]), bits_of((float)wanted));
    }
    math_jit_free(code);
}

/* --- conversions, by way of long double, which holds every value of every type --- */

typedef struct {
    int digits, least, most; /* bits of the mantissa with the hidden one; exponents of the normal numbers */
} Format;

static Format format_of(DType dtype) {
    return dtype == DTYPE_f32    ? (Format){24, -126, 127}
           : dtype == DTYPE_bf16 ? (Format){8, -126, 127}
                                 : (Format){11, -14, 15};
}

static uint32_t width_of(DType dtype) { return dtype_info[dtype].bytes * 8; }

static long double decode_float(Format f, uint64_t bits) {
    int width = f.digits - 1;
    uint64_t exponent_mask = (uint64_t)(f.most - f.least + 2);
    uint64_t fraction = bits & ((1ull << width) - 1), exponent = bits >> width & exponent_mask;
    bool negative = bits >> width > exponent_mask;
    long double size = exponent == exponent_mask ? (fraction ? (long double)NAN : (long double)INFINITY)
                       : exponent ? ldexpl((long double)(fraction | 1ull << width), (int)exponent - 1 + f.least - width)
                                  : ldexpl((long double)fraction, f.least - width);
    return negative ? -size : size;
}

static uint64_t encode_float(Format f, long double x, uint32_t total) {
    int exponent, width = f.digits - 1;
    uint64_t sign = signbit(x) ? 1ull << (total - 1) : 0, infinity = (uint64_t)(f.most - f.least + 2) << width;
    if (isinf(x)) return sign | infinity;
    if (x == 0) return sign;
    frexpl(x, &exponent);
    exponent = exponent - 1 < f.least ? f.least : exponent - 1;
    long double units = nearbyintl(ldexpl(fabsl(x), width - exponent)); /* the value in units of its last place */
    uint64_t bits = ((uint64_t)(exponent - f.least) << width) + (uint64_t)units;
    return sign | (bits > infinity ? infinity : bits);
}

static long double decode(DType dtype, uint64_t bits) {
    switch (dtype) {
    case DTYPE_f32:
    case DTYPE_bf16:
    case DTYPE_f16: return decode_float(format_of(dtype), bits);
    case DTYPE_i8: return (int8_t)bits;
    case DTYPE_i32: return (int32_t)bits;
    case DTYPE_i64: return (long double)(int64_t)bits;
    case DTYPE_u8:
    case DTYPE_bool: return (long double)bits;
    }
    return 0;
}

static uint64_t encode_integer(long double x, long double least, long double most, DType dtype) {
    if (isnan(x)) return 0;
    int64_t value = (int64_t)truncl(x < least ? least : x > most ? most : x);
    return (uint64_t)value & (dtype == DTYPE_i64 ? UINT64_MAX : (1ull << width_of(dtype)) - 1);
}

static uint64_t encode(DType dtype, long double x) {
    switch (dtype) {
    case DTYPE_f32:
    case DTYPE_bf16:
    case DTYPE_f16: return encode_float(format_of(dtype), x, width_of(dtype));
    case DTYPE_i8: return encode_integer(x, INT8_MIN, INT8_MAX, dtype);
    case DTYPE_u8: return encode_integer(x, 0, UINT8_MAX, dtype);
    case DTYPE_i32: return encode_integer(x, INT32_MIN, INT32_MAX, dtype);
    case DTYPE_i64: return encode_integer(x, (long double)INT64_MIN, (long double)INT64_MAX, dtype);
    case DTYPE_bool: return x != 0;
    }
    return 0;
}

/* NaN stays NaN, becomes quiet, keeps its sign and what fits of what it carries; f32 from bf16 is the bits alone. */
static uint64_t encode_nan(DType from, DType to, uint64_t bits) {
    int digits_from = format_of(from).digits, digits_to = format_of(to).digits;
    uint64_t sign = bits >> (width_of(from) - 1) << (width_of(to) - 1);
    uint64_t fraction = bits & ((1ull << (digits_from - 1)) - 1);
    fraction = digits_to > digits_from ? fraction << (digits_to - digits_from) : fraction >> (digits_from - digits_to);
    bool is_quieted = !(from == DTYPE_bf16 && to == DTYPE_f32);
    uint64_t infinity = encode_float(format_of(to), INFINITY, width_of(to));
    return sign | infinity | fraction | (is_quieted ? 1ull << (digits_to - 2) : 0);
}

static uint64_t convert(DType from, DType to, uint64_t bits) {
    long double x = decode(from, bits);
    if (from == to) return bits;
    return isnan(x) && dtype_info[to].is_float ? encode_nan(from, to, bits) : encode(to, x);
}

/* All values of a narrow type. Of a wide one scattered values, and the neighbours of powers of 2 with up to two more
 * bits set: where they are halves of a last place of some type, rounding has to decide. */
static uint64_t cast_source(DType dtype, uint32_t i) {
    static const uint8_t more[8][2] = {{64, 64}, {1, 64}, {8, 64}, {7, 8}, {11, 64}, {10, 11}, {24, 64}, {23, 24}};
    uint32_t width = width_of(dtype);
    if (dtype == DTYPE_bool) return i & 1;
    if (width <= 16) return i & ((1u << width) - 1);
    if (i < COUNT / 2) return i * 0x9e3779b97f4a7c15ull >> (64 - width);

    uint32_t power = i >> 9 & 63;
    uint64_t near = (1ull << power) + (uint64_t)((int64_t)(i >> 3 & 31) - 16);
    for (int k = 0; k < 2; k++)
        if (more[i & 7][k] <= power) near += 1ull << (power - more[i & 7][k]);
    bool other = i >> 8 & 1;
    if (dtype == DTYPE_f32) return bits_of((float)(int64_t)near * (other ? 0x1p-32f : 1.0f));
    return (other ? 0 - near : near) & (width == 64 ? UINT64_MAX : UINT32_MAX);
}

static uint64_t element(const void *array, DType dtype, uint32_t i) {
    uint64_t bits = 0;
    memcpy(&bits, (const char *)array + (size_t)i * dtype_info[dtype].bytes, dtype_info[dtype].bytes);
    return bits;
}

static LLVMValueRef cast_body(Emitter *e, LLVMValueRef const *inputs, const void *data) {
    const DType *types = data;
    return math_cast(e, inputs[0], types[0], types[1]);
}

static void test_cast(DType from, DType to, const Target *target, uint32_t lanes) {
    static uint64_t in[COUNT], out[COUNT];
    char what[64];
    DType types[] = {from, to};
    snprintf(what, sizeof what, "%s → %s", dtype_info[from].name, dtype_info[to].name);
    MathShape shape = {
        .body = cast_body, .data = types, .lanes = lanes, .input_count = 1, .input = {from}, .output = to};
    MathCode code = build(what, target, &shape);
    if (code.run) {
        for (uint32_t i = 0; i < COUNT; i++) {
            uint64_t bits = cast_source(from, i);
            memcpy((char *)in + (size_t)i * dtype_info[from].bytes, &bits, dtype_info[from].bytes);
        }
        uint32_t count = COUNT / lanes * lanes;
        code.run((const void *[]){in}, out, count);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t x = element(in, from, i), y = element(out, to, i), wanted = convert(from, to, x);
            expect(y == wanted, what, target->cpu, lanes, x, y, wanted);
        }
    }
    math_jit_free(code);
}

/* --- Philox: the known answers of its authors, in turn in the lanes --- */

static const struct {
    uint32_t counter[4], key[2], answer[4];
} known[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static LLVMValueRef philox_body(Emitter *e, LLVMValueRef const *inputs, const void *data) {
    return math_philox(e, inputs, inputs + 4, *(const uint32_t *)data);
}

/* All but the first word of the counter are scalars. */
static LLVMValueRef philox_scalar_body(Emitter *e, LLVMValueRef const *inputs, const void *data) {
    LLVMValueRef word[6] = {inputs[0]};
    for (int i = 1; i < 6; i++) {
        uint32_t value = i < 4 ? known[2].counter[i] : known[2].key[i - 4];
        word[i] = LLVMConstInt(LLVMInt32TypeInContext(e->context), value, false);
    }
    return math_philox(e, word, word + 4, *(const uint32_t *)data);
}

static void test_philox(const Target *target, uint32_t lanes, uint32_t word, bool scalars) {
    enum { LENGTH = MOST_LANES * 3 };
    uint32_t in[6][LENGTH], out[LENGTH];
    const void *inputs[6];
    for (int w = 0; w < 6; w++) {
        inputs[w] = in[w];
        for (int i = 0; i < LENGTH; i++) in[w][i] = w < 4 ? known[i % 3].counter[w] : known[i % 3].key[w - 4];
    }
    MathShape shape = {.body = scalars ? philox_scalar_body : philox_body,
                       .data = &word,
                       .lanes = lanes,
                       .input_count = scalars ? 1 : 6,
                       .output = DTYPE_i32};
    for (int w = 0; w < 6; w++) shape.input[w] = DTYPE_i32;
    MathCode code = build("philox", target, &shape);
    if (code.run) code.run(inputs, out, LENGTH);
    for (int i = scalars ? 2 : 0; i < LENGTH && code.run; i += scalars ? 3 : 1)
        expect(out[i] == known[i % 3].answer[word], "philox", target->cpu, lanes, in[0][i], out[i],
               known[i % 3].answer[word]);
    math_jit_free(code);
}

static bool make_target(int machine, Arena *arena, Target *target) {
    Diag diag;
    diag_init(&diag);
    bool good = target_make(machines[machine].triple, machines[machine].cpu, arena, target, &diag);
    diag_free(&diag);
    return good;
}

static void test_machine(int machine, const Target *target) {
    for (uint32_t i = 0; i < FUNCTION_COUNT; i++) test_function(i, machine, target);
    test_weights(target);
    for (int i = 0; i < 2 && machines[machine].lanes[i]; i++)
        for (int from = 0; from < DTYPE_COUNT; from++)
            for (int to = 0; to < DTYPE_COUNT; to++)
                test_cast((DType)from, (DType)to, target, machines[machine].lanes[i]);
    static const uint32_t philox_lanes[] = {1, 4, 8, 16};
    for (uint32_t word = 0; word < 4; word++)
        for (int i = 0; i < 4; i++) test_philox(target, philox_lanes[i], word, i & 1);
}

int main(void) {
    for (int i = 0; i < MACHINE_COUNT; i++) {
        Arena *arena = arena_new();
        Target target;
        if (make_target(i, arena, &target)) test_machine(i, &target); /* an x86 processor is unknown to other hosts */
        arena_free(arena);
    }
    printf("math: %d checks, %d failures\n", checks, failures);
    return failures ? 1 : 0;
}
