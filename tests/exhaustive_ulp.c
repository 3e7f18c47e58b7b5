/* The error of every elementary function over all 2^32 floats, in units in the last place of the exact result.
 *
 * The reference is the C library's function in double precision: its own error is below 2^-28 of such a unit. NaN must
 * meet NaN, a zero must have the right sign, and an infinity counts as 2^128. Says the worst input of each function and
 * fails above the bound in the table.
 *
 *   exhaustive_ulp [--quick] [--stride N] [--function NAME] [--cpu CPU] [--lanes N] [--threads N]
 *
 * --stride N takes every N-th float and the neighbours of places where something begins or ends; --quick does so for
 * the processor at hand and for one without FMA. */
#include "backend/emit.h"
#include "ir/arena.h"
#include "tests/math_jit.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

typedef LLVMValueRef Function(Emitter *e, LLVMValueRef x);
static double reference_sigmoid(double x) { return 1 / (1 + exp(-x)); }

static const struct {
    const char *name;
    Function *emit;
    double (*reference)(double);
    double bound;
} functions[] = {
    {"exp", math_exp, exp, 1.0},    {"log", math_log, log, 1.0},
    {"tanh", math_tanh, tanh, 1.5}, {"sigmoid", math_sigmoid, reference_sigmoid, 2.0},
    {"erf", math_erf, erf, 1.5},    {"sin", math_sin, sin, 1.75},
    {"cos", math_cos, cos, 1.75},
};
enum { FUNCTION_COUNT = sizeof functions / sizeof functions[0], BLOCK = 1 << 14 };

/* Where functions change their formula, overflow, vanish or turn; and what every float may do. */
static const double places[] = {0,       0x1p-149,  0x1p-126, 0x1p-24, 0x1p-12,  0.25,   0.5,     0.625, 0.75,
                                0.8,     0.9277344, 1,        1.5,     1.5708,   2,      3.14159, 3.92,  4,
                                9.02,    17.33,     87.34,    88.37,   88.73,    103.98, 104,     400,   1e5,
                                8388608, 1e9,       0x1p64,   0x1p127, INFINITY, NAN};
enum { PLACE_COUNT = sizeof places / sizeof places[0], NEIGHBOURS = 1 << 13 };

typedef struct {
    uint32_t function;
    uint64_t stride; /* of the floats that are tried, as numbers */
    MathKernel *kernel;
    atomic_uint_fast64_t next;
    pthread_mutex_t lock;
    double worst;
    uint32_t worst_bits;
} Sweep;

static float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double sweep_error(float y, double exact) {
    if (isnan(exact) || isnan(y)) return isnan(exact) && isnan(y) ? 0 : INFINITY;
    if (y == 0 && !signbit(y) != !signbit(exact)) return INFINITY;
    double limit = 0x1p128;
    exact = exact > limit ? limit : exact < -limit ? -limit : exact;
    double got = y > FLT_MAX ? limit : y < -FLT_MAX ? -limit : (double)y;
    if (got == exact) return 0;

    uint64_t bits;
    memcpy(&bits, &exact, sizeof bits);
    uint64_t exponent = bits >> 52 & 0x7ff;
    exponent = exponent < 1023 - 126 ? 1023 - 126 : exponent > 1023 + 127 ? 1023 + 127 : exponent;
    bits = (2 * 1023 + 23 - exponent) << 52;
    double per_unit;
    memcpy(&per_unit, &bits, sizeof per_unit);
    return fabs(got - exact) * per_unit;
}

static void sweep_block(Sweep *sweep, uint64_t first, uint64_t step) {
    float x[BLOCK], y[BLOCK];
    double worst = 0;
    uint32_t at = 0;
    for (uint64_t i = 0; i < BLOCK; i++) x[i] = float_of((uint32_t)(first + i * step));
    const void *inputs[] = {x};
    sweep->kernel(inputs, y, BLOCK);
    for (uint32_t i = 0; i < BLOCK; i++) {
        double error = sweep_error(y[i], functions[sweep->function].reference(x[i]));
        if (error > worst) worst = error, at = i;
    }
    pthread_mutex_lock(&sweep->lock);
    if (worst > sweep->worst) {
        sweep->worst = worst;
        memcpy(&sweep->worst_bits, &x[at], sizeof(float));
    }
    pthread_mutex_unlock(&sweep->lock);
}

static void *sweep_thread(void *argument) {
    Sweep *sweep = argument;
    for (;;) {
        uint64_t first = atomic_fetch_add(&sweep->next, sweep->stride * BLOCK);
        if (first >> 32) return NULL;
        sweep_block(sweep, first, sweep->stride);
    }
}

static void sweep_places(Sweep *sweep) {
    for (int i = 0; i < PLACE_COUNT; i++) {
        uint32_t bits;
        memcpy(&bits, &(float){(float)places[i]}, sizeof bits);
        sweep_block(sweep, (uint64_t)bits - NEIGHBOURS, 1);
        sweep_block(sweep, (uint64_t)bits + 0x80000000 - NEIGHBOURS, 1);
    }
}

static LLVMValueRef sweep_body(Emitter *e, LLVMValueRef const *inputs, const void *data) {
    return functions[*(const uint32_t *)data].emit(e, inputs[0]);
}

static bool sweep_run(uint32_t function, const Target *target, uint32_t lanes, uint64_t stride, long threads) {
    MathShape shape = {.body = sweep_body,
                       .data = &function,
                       .lanes = lanes,
                       .input_count = 1,
                       .input = {DTYPE_f32},
                       .output = DTYPE_f32};
    MathCode code = math_jit_make(target, &shape, false);
    Sweep sweep = {.function = function, .stride = stride, .kernel = code.run};
    pthread_mutex_init(&sweep.lock, NULL);
    pthread_t thread[64];
    for (long i = 0; i < threads; i++) pthread_create(&thread[i], NULL, sweep_thread, &sweep);
    for (long i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    if (stride > 1) sweep_places(&sweep);

    bool good = sweep.worst <= functions[function].bound;
    float x = float_of(sweep.worst_bits), y[BLOCK];
    float all[BLOCK];
    for (int i = 0; i < BLOCK; i++) all[i] = x;
    code.run((const void *[]){all}, y, BLOCK);
    printf("%-8s %-12s lanes %-2u  worst %.4f ulp (bound %.2f) at %a: %a, exact %a%s\n", functions[function].name,
           target->cpu, lanes, sweep.worst, functions[function].bound, x, y[0], functions[function].reference(x),
           good ? "" : "  FAILED");
    fflush(stdout);
    math_jit_free(code);
    return good;
}

typedef struct {
    const char *function, *cpu;
    uint64_t stride;
    uint32_t lanes;
    long threads;
    bool quick;
} Options;

static bool sweep_all(const Options *options, const char *cpu) {
    bool good = true;
    Arena *arena = arena_new();
    Target target = math_jit_target(cpu, arena);
    uint32_t lanes = options->lanes ? options->lanes : target.machine.vector_bytes / (uint32_t)sizeof(float);
    if (!target.is_host) printf("this machine cannot run code for %s: skipped\n", target.cpu);
    for (uint32_t i = 0; i < FUNCTION_COUNT && target.is_host; i++)
        if (!options->function || strcmp(options->function, functions[i].name) == 0)
            good &= sweep_run(i, &target, lanes, options->stride, options->threads);
    arena_free(arena);
    return good;
}

static void parse(Options *options, int count, char **args) {
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? args[i + 1] : "";
        if (strcmp(args[i], "--quick") == 0)
            options->quick = true;
        else if (strcmp(args[i], "--stride") == 0)
            options->stride = strtoull(value, NULL, 10), i++;
        else if (strcmp(args[i], "--function") == 0)
            options->function = value, i++;
        else if (strcmp(args[i], "--cpu") == 0)
            options->cpu = value, i++;
        else if (strcmp(args[i], "--lanes") == 0)
            options->lanes = (uint32_t)atoi(value), i++;
        else if (strcmp(args[i], "--threads") == 0)
            options->threads = atol(value), i++;
        else
            math_jit_fail(args[i], "unknown option");
    }
}

int main(int count, char **args) {
    Options options = {.stride = 1, .threads = sysconf(_SC_NPROCESSORS_ONLN)};
    parse(&options, count, args);
    if (options.quick) options.stride = 4099;
    if (options.stride < 1) options.stride = 1;
    options.threads = options.threads < 1 ? 1 : options.threads > 64 ? 64 : options.threads;
    bool good = sweep_all(&options, options.cpu);
    if (options.quick && !options.cpu) good &= sweep_all(&options, "x86-64-v2");
    return good ? 0 : 1;
}
