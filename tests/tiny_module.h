/* A module made by hand, for tests of the runtime without a compiler: it learns the mean picture. Kernels in C stand
 * where compiled code would; pieces, phases and arguments are as the compiler would make them.
 *
 *   state  w f32[784], momentum f32[784]
 *   train  (x u8[16,28,28], $key, $sample) → loss f32[]: difference of w + noise from the samples; w follows them
 *   evaluate the same without an update, generate f32[n,2] → f32[n,784], encode f32[n,784] → f32[n,2] */
#ifndef SELFC_TESTS_TINY_MODULE_H
#define SELFC_TESTS_TINY_MODULE_H
#include "runtime/core/core.h"

#include <math.h>

enum { TINY_PIXELS = 784, TINY_BATCH = 16, TINY_BLOCK = 64 };

/* args: x, key, sample, w → partial loss f32[blocks], gradient f32[784]; a piece is a block of pixels. */
static void tiny_difference(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    const uint8_t *x = args[0];
    const int32_t *key = args[1], *sample = args[2];
    const float *w = args[3];
    float *loss = args[4], *gradient = args[5];
    (void)scratch;
    for (int64_t piece = first; piece < end; piece++) {
        loss[piece] = 0;
        for (int64_t p = piece * TINY_BLOCK; p < (piece + 1) * TINY_BLOCK && p < TINY_PIXELS; p++) {
            float sum = 0;
            for (int64_t i = 0; i < n; i++) {
                uint32_t counter[4] = {(uint32_t)p, (uint32_t)sample[i], (uint32_t)key[2], 7},
                         seed[2] = {(uint32_t)key[0], (uint32_t)key[1]}, bits[4];
                selfc_philox(counter, seed, bits);
                float noise = (float)(bits[0] >> 8) * 0x1p-24f - 0.5f;
                float difference = w[p] + 0.1f * noise - (float)x[i * TINY_PIXELS + p] / 255;
                sum += difference;
                loss[piece] += difference * difference / (float)n;
            }
            gradient[p] = sum / (float)n;
        }
    }
}

/* args: partial loss → loss. One piece. */
static void tiny_sum(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    const float *partial = args[0];
    float *loss = args[1];
    (void)n, (void)scratch;
    for (int64_t piece = first; piece < end; piece++) {
        *loss = 0;
        for (int i = 0; i < (TINY_PIXELS + TINY_BLOCK - 1) / TINY_BLOCK; i++) *loss += partial[i];
    }
}

/* args: gradient, w, momentum → w, momentum. */
static void tiny_update(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    const float *gradient = args[0];
    float *w = args[1], *momentum = args[2];
    (void)n, (void)scratch;
    for (int64_t p = first * TINY_BLOCK; p < end * TINY_BLOCK && p < TINY_PIXELS; p++) {
        momentum[p] = 0.9f * momentum[p] + gradient[p];
        w[p] -= 0.01f * momentum[p];
    }
}

/* args: z, w → image; a piece is a sample. */
static void tiny_generate(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    const float *z = args[0], *w = args[1];
    float *image = args[2];
    (void)n, (void)scratch;
    for (int64_t i = first; i < end; i++)
        for (int p = 0; p < TINY_PIXELS; p++)
            image[i * TINY_PIXELS + p] = w[p] + 0.2f * z[2 * i] * sinf((float)p / 100) + 0.2f * z[2 * i + 1];
}

static void tiny_encode(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    const float *x = args[0];
    float *z = args[1];
    (void)n, (void)scratch;
    for (int64_t i = first; i < end; i++)
        for (int c = 0; c < 2; c++) {
            z[2 * i + c] = 0;
            for (int p = c; p < TINY_PIXELS; p += 2) z[2 * i + c] += x[i * TINY_PIXELS + p] / 100 - 0.2f;
        }
}

enum { TINY_W = 0, TINY_MOMENTUM = 3136, TINY_PARTIAL = 0, TINY_GRADIENT = 64 };
#define TINY_READ(where, bytes, elements, dtype) {where, {bytes, 0}, elements, SELFC_##dtype, 0}
#define TINY_WRITE(where, bytes, elements) {where, {bytes, 0}, elements, SELFC_f32, 1}
enum { TINY_BLOCKS = (TINY_PIXELS + TINY_BLOCK - 1) / TINY_BLOCK };
static const SelfcArg tiny_difference_args[] = {TINY_READ(2, 0, -TINY_PIXELS, u8),
                                                TINY_READ(3, 0, 3, i32),
                                                TINY_READ(4, 0, -1, i32),
                                                TINY_READ(0, TINY_W, TINY_PIXELS, f32),
                                                TINY_WRITE(1, TINY_PARTIAL, TINY_BLOCKS),
                                                TINY_WRITE(1, TINY_GRADIENT, TINY_PIXELS)};
static const SelfcArg tiny_sum_args[] = {TINY_READ(1, TINY_PARTIAL, TINY_BLOCKS, f32), TINY_WRITE(5, 0, 1)};
static const SelfcArg tiny_update_args[] = {
    TINY_READ(1, TINY_GRADIENT, TINY_PIXELS, f32), TINY_READ(0, TINY_W, TINY_PIXELS, f32),
    TINY_READ(0, TINY_MOMENTUM, TINY_PIXELS, f32), TINY_WRITE(0, TINY_W, TINY_PIXELS),
    TINY_WRITE(0, TINY_MOMENTUM, TINY_PIXELS)};
static const SelfcArg tiny_generate_args[] = {TINY_READ(2, 0, -2, f32), TINY_READ(0, TINY_W, TINY_PIXELS, f32),
                                              TINY_WRITE(3, 0, -TINY_PIXELS)};
static const SelfcArg tiny_encode_args[] = {TINY_READ(2, 0, -TINY_PIXELS, f32), TINY_WRITE(3, 0, -2)};
#define TINY_CALL(kernel, phase, ...)                \
    {tiny_##kernel,                                  \
     #kernel,                                        \
     "tiny (layers[0])",                             \
     tiny_##kernel##_args,                           \
     sizeof tiny_##kernel##_args / sizeof(SelfcArg), \
     phase,                                          \
     1,                                              \
     {__VA_ARGS__},                                  \
     100000,                                         \
     100000}
static const SelfcCall tiny_train_calls[] = {
    TINY_CALL(difference, 0, {TINY_PIXELS, TINY_BLOCK}),
    TINY_CALL(sum, 1, {1, 1}),
    TINY_CALL(update, 1, {TINY_PIXELS, TINY_BLOCK}),
};
static const SelfcCall tiny_generate_calls[] = {TINY_CALL(generate, 0, {-1, 1})};
static const SelfcCall tiny_encode_calls[] = {TINY_CALL(encode, 0, {-1, 1})};

static const SelfcTensor tiny_train_io[] = {{"x", SELFC_u8, 3, {TINY_BATCH, 28, 28}},
                                            {"$key", SELFC_i32, 1, {3}},
                                            {"$sample", SELFC_i32, 1, {TINY_BATCH}},
                                            {"distance", SELFC_f32, 0, {0}}};
static const SelfcTensor tiny_evaluate_io[] = {{"x", SELFC_u8, 3, {-1, 28, 28}},
                                               {"$key", SELFC_i32, 1, {3}},
                                               {"$sample", SELFC_i32, 1, {-1}},
                                               {"distance", SELFC_f32, 0, {0}}};
static const SelfcTensor tiny_generate_io[] = {{"z", SELFC_f32, 2, {-1, 2}},
                                               {"image", SELFC_f32, 2, {-1, TINY_PIXELS}}};
static const SelfcTensor tiny_encode_io[] = {{"x", SELFC_f32, 2, {-1, TINY_PIXELS}}, {"mean", SELFC_f32, 2, {-1, 2}}};
static const SelfcProgram tiny_programs[] = {
    {"train", tiny_train_io, 3, 1, tiny_train_calls, 3, 2, {TINY_GRADIENT + 4 * TINY_PIXELS, 0}, TINY_BATCH},
    {"evaluate", tiny_evaluate_io, 3, 1, tiny_train_calls, 2, 2, {TINY_GRADIENT + 4 * TINY_PIXELS, 0}, 0},
    {"generate", tiny_generate_io, 1, 1, tiny_generate_calls, 1, 1, {0, 0}, 0},
    {"encode", tiny_encode_io, 1, 1, tiny_encode_calls, 1, 1, {0, 0}, 0},
};
static const SelfcState tiny_states[] = {
    {{"w", SELFC_f32, 1, {TINY_PIXELS}}, TINY_W, 1, 1, SELFC_INIT_uniform, -0.1, 0.1},
    {{"w.momentum", SELFC_f32, 1, {TINY_PIXELS}}, TINY_MOMENTUM, 0, 0, SELFC_INIT_zero, 0, 0},
};
static const SelfcDataSpec tiny_data[] = {{"x", "glyphs", NULL, "image", .scale = 1.0 / 255}};
static const char *const tiny_reports[] = {"distance"};
static const SelfcModule tiny_module = {
    .abi_version = SELFC_ABI_VERSION,
    .name = "tiny",
    .description =
        "{\"name\": \"tiny\", \"about\": \"A test <of> reports.\", \"training\": {\"optimizer\": \"plain\"}}\n",
    .states = tiny_states,
    .state_count = 2,
    .state_bytes = 6272,
    .scratch_bytes = 100,
    .programs = tiny_programs,
    .program_count = 4,
    .training = {.train = 0,
                 .evaluate = 1,
                 .data = tiny_data,
                 .data_count = 1,
                 .batch = TINY_BATCH,
                 .epochs = 2,
                 .seed = 5,
                 .reports = tiny_reports,
                 .report_count = 1},
};
#endif
