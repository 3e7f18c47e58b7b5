/* First values of parameters and other states: a function of (seed, name of the state, element) alone, so adding a
 * layer or changing the order of layers leaves the others' beginnings as they were. Computed in double, then
 * rounded once to the state's type. */
#include "runtime/core/core.h"

#include <math.h>
#include <string.h>

/* FNV-1a, then mixed: names that differ in one late character shall differ in all bits. */
static uint64_t init_hash(const char *name) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

static uint16_t init_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* Rounds to the nearest multiple of the half-precision unit at this magnitude; ldexp and nearbyint are exact. */
static uint16_t init_f16(double value) {
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double size = fabs(value);
    if (isnan(value)) return sign | 0x7E00;
    if (size >= 65520) return sign | 0x7C00;
    int exponent = size < 0x1p-14 ? -14 : ilogb(size);
    double units = nearbyint(ldexp(size, 10 - exponent)); /* 0..2048 */
    return (uint16_t)(sign | (uint16_t)((exponent + 14) * 1024 + (int)units));
}

static void init_store(void *out, int64_t index, int32_t dtype, double value) {
    switch ((SelfcDType)dtype) {
    case SELFC_f32: ((float *)out)[index] = (float)value; break;
    case SELFC_bf16: ((uint16_t *)out)[index] = init_bf16((float)value); break;
    case SELFC_f16: ((uint16_t *)out)[index] = init_f16(value); break;
    case SELFC_i8: ((int8_t *)out)[index] = (int8_t)value; break;
    case SELFC_u8: ((uint8_t *)out)[index] = (uint8_t)value; break;
    case SELFC_i32: ((int32_t *)out)[index] = (int32_t)value; break;
    case SELFC_i64: ((int64_t *)out)[index] = (int64_t)value; break;
    case SELFC_bool: ((uint8_t *)out)[index] = value != 0; break;
    }
}

/* In [0, 1), a multiple of 2^-24, so that rounding to f32 does not reach the upper end. */
static double init_uniform(uint32_t bits) { return (bits >> 8) * 0x1p-24; }

/* Box-Muller; two words make one value, in (0, 1] for the logarithm. */
static double init_normal(uint32_t a, uint32_t b) {
    const double two_pi = 6.283185307179586;
    return sqrt(-2 * log((a + 1.0) * 0x1p-32)) * cos(two_pi * (b * 0x1p-32));
}

/* One share in `shares` of a state's elements. */
static void init_state(const SelfcState *state, void *out, uint64_t seed, int64_t share, int64_t shares) {
    uint64_t hash = init_hash(state->tensor.name);
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    int64_t elements = selfc_tensor_elements(&state->tensor, 0);
    for (int64_t i = elements * share / shares; i < elements * (share + 1) / shares; i++) {
        uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), (uint32_t)hash, (uint32_t)(hash >> 32)}, bits[4];
        double value = 0;
        switch ((SelfcInitKind)state->init) {
        case SELFC_INIT_zero: break;
        case SELFC_INIT_constant: value = state->init_a; break;
        case SELFC_INIT_uniform:
            selfc_philox(counter, key, bits);
            value = state->init_a + (state->init_b - state->init_a) * init_uniform(bits[0]);
            break;
        case SELFC_INIT_normal:
            selfc_philox(counter, key, bits);
            value = state->init_a + state->init_b * init_normal(bits[0], bits[1]);
            break;
        }
        init_store(out, i, state->tensor.dtype, value);
    }
}

typedef struct {
    const SelfcModule *module;
    char *state;
    uint64_t seed;
} Init;

static void init_share(void *context, int thread, int threads) {
    const Init *init = context;
    for (uint32_t i = 0; i < init->module->state_count; i++) {
        const SelfcState *state = &init->module->states[i];
        init_state(state, init->state + state->offset, init->seed, thread, threads);
    }
}

void selfc_init_states(const SelfcModule *module, void *state, uint64_t seed, SelfcPool *pool) {
    Init init = {module, state, seed};
    if (pool) selfc_pool_run(pool, init_share, &init);
    else init_share(&init, 0, 1);
}
