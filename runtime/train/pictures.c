/* Pictures of what was learned, from the functions that the description has. Nothing here knows a model by name:
 *
 *   a picture     is what the first data input is made of: u8 or f32 of [height,width] or [height,width,1 or 3]
 *   a decoder     takes one f32[n,L] and gives f32 with as many values as a picture:      samples.png, and for L = 2
 *                 plane.png, the plane of codes at the quantiles of the normal distribution
 *   an encoder    takes a picture and gives (first of all) f32[n,L], L the decoder's
 *   a mapper      takes a picture and gives one: with it, or with encoder and decoder:    reconstructions.png
 *
 * Of several, the one called "generate", "encode" or "reconstruct" is taken, else the first. Functions of numbers see
 * data as the training does, times its scale; values from 0 to what it makes of white are black to white. */
#include "runtime/data/file.h"
#include "runtime/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURES_SAMPLES = 10, PICTURES_PLANE = 20, PICTURES_PAIRS = 10, PICTURES_PAIR_ROWS = 3, PICTURES_GAP = 2 };

typedef struct {
    int32_t height, width, channels;
    int64_t values;
    bool is_byte;
    float scale, white; /* of the data: what it is multiplied with, and what the brightest becomes */
} Format;

typedef struct {
    Format format;
    const SelfcProgram *decoder, *encoder, *mapper;
    int64_t code; /* L */
} Album;

/* A page of pictures in rows and columns with a gap between them. */
typedef struct {
    const Format *format;
    int columns, rows, width, height;
    uint8_t *pixels;
} Page;

static bool pictures_format(const Trainer *trainer, Format *format) {
    const Feed *feed = &trainer->feed;
    const SelfcField *fields;
    if (!feed->input_count) return false;
    selfc_source_fields(feed->inputs[0].source[SELFC_TRAIN], &fields);
    const SelfcTensor *sample = &fields[feed->inputs[0].field].sample;
    if (sample->dtype != SELFC_u8 && sample->dtype != SELFC_f32) return false;
    if (sample->rank != 2 && !(sample->rank == 3 && (sample->dim[2] == 1 || sample->dim[2] == 3))) return false;
    if (sample->dim[0] < 2 || sample->dim[1] < 2 || sample->dim[0] > 4096 || sample->dim[1] > 4096) return false;
    *format = (Format){.height = (int32_t)sample->dim[0],
                       .width = (int32_t)sample->dim[1],
                       .is_byte = sample->dtype == SELFC_u8,
                       .channels = sample->rank == 3 ? (int32_t)sample->dim[2] : 1};
    format->values = selfc_tensor_elements(sample, 0);
    format->scale = (float)trainer->module->training.data[0].scale;
    format->white = (format->is_byte ? 255 : 1) * format->scale;
    if (!(format->white > 0)) format->white = 1;
    return true;
}

/* The only input that is data, if the function has an open batch. */
static const SelfcTensor *pictures_input(const SelfcProgram *program) {
    const SelfcTensor *only = NULL;
    for (uint32_t i = 0; i < program->input_count; i++) {
        if (!binding_is_data_input(&program->io[i])) continue;
        if (only) return NULL;
        only = &program->io[i];
    }
    return program->batch == 0 && program->output_count && only && only->rank >= 1 && only->dim[0] == -1 ? only : NULL;
}

static const SelfcTensor *pictures_output(const SelfcProgram *program) { return &program->io[program->input_count]; }

static bool pictures_is_picture(const Format *format, const SelfcTensor *tensor, bool may_be_byte) {
    bool is_value = tensor->dtype == SELFC_f32 || (may_be_byte && tensor->dtype == SELFC_u8 && format->is_byte);
    return is_value && tensor->rank >= 2 && tensor->dim[0] == -1 && selfc_tensor_elements(tensor, 1) == format->values;
}

static bool pictures_is_code(const SelfcTensor *tensor) {
    return tensor->dtype == SELFC_f32 && tensor->rank == 2 && tensor->dim[0] == -1 && tensor->dim[1] > 0;
}

static void pictures_prefer(const SelfcProgram **chosen, const SelfcProgram *program, const char *name) {
    if (!*chosen || !strcmp(program->name, name)) *chosen = program;
}

static bool pictures_is_function(const SelfcModule *module, uint32_t i) {
    return (int32_t)i != module->training.train && (int32_t)i != module->training.evaluate &&
           pictures_input(&module->programs[i]);
}

static Album pictures_find(const SelfcModule *module, const Format *format) {
    Album album = {.format = *format};
    for (uint32_t i = 0; i < module->program_count; i++) {
        const SelfcProgram *program = &module->programs[i];
        if (!pictures_is_function(module, i) || !pictures_is_picture(format, pictures_output(program), false)) continue;
        if (pictures_is_picture(format, pictures_input(program), true))
            pictures_prefer(&album.mapper, program, "reconstruct");
        else if (pictures_is_code(pictures_input(program)))
            pictures_prefer(&album.decoder, program, "generate");
    }
    if (!album.decoder) return album;
    album.code = pictures_input(album.decoder)->dim[1];
    for (uint32_t i = 0; i < module->program_count; i++) {
        const SelfcProgram *program = &module->programs[i];
        if (!pictures_is_function(module, i) || !pictures_is_picture(format, pictures_input(program), true)) continue;
        if (pictures_is_code(pictures_output(program)) && pictures_output(program)->dim[1] == album.code)
            pictures_prefer(&album.encoder, program, "encode");
    }
    return album;
}

static bool page_make(Page *page, const Format *format, int columns, int rows) {
    *page = (Page){.format = format, .columns = columns, .rows = rows};
    page->width = columns * (format->width + PICTURES_GAP) + PICTURES_GAP;
    page->height = rows * (format->height + PICTURES_GAP) + PICTURES_GAP;
    size_t bytes = (size_t)page->width * (size_t)page->height * (size_t)format->channels;
    page->pixels = malloc(bytes);
    if (page->pixels)
        memset(page->pixels, 48, bytes);
    else
        selfc_fail("no memory for pictures");
    return page->pixels != NULL;
}

static void page_put(Page *page, int column, int row, const float *values) {
    const Format *format = page->format;
    size_t line = (size_t)format->width * (size_t)format->channels;
    for (int y = 0; y < format->height; y++) {
        size_t top = (size_t)(row * (format->height + PICTURES_GAP) + PICTURES_GAP + y) * (size_t)page->width;
        uint8_t *to = page->pixels + (top + (size_t)(column * (format->width + PICTURES_GAP) + PICTURES_GAP)) *
                                         (size_t)format->channels;
        for (size_t i = 0; i < line; i++) {
            float value = values[(size_t)y * line + i] / format->white;
            to[i] = value > 0 ? (uint8_t)(value < 1 ? value * 255 + 0.5f : 255) : 0;
        }
    }
}

static bool page_write(Page *page, const char *folder, const char *name) {
    char *path = file_join(folder, name);
    bool is_fine = !selfc_png_write(path, page->pixels, page->width, page->height, page->format->channels);
    free(path);
    free(page->pixels);
    return is_fine;
}

/* Runs a function on n inputs and copies its first output, `size` values a sample. */
static bool pictures_run(Trainer *trainer, const SelfcProgram *program, int64_t n, const void *input, float *out,
                         int64_t size) {
    Binding binding;
    if (!binding_make(&binding, trainer->session, program, n)) return false;
    const SelfcTensor *tensor = pictures_input(program);
    memcpy(binding.io[tensor - program->io], input, selfc_tensor_bytes(tensor, n));
    binding_set_key(&binding, trainer->seed, trainer->step);
    for (int64_t i = 0; binding.sample && i < n; i++) binding.sample[i] = (int32_t)i;
    selfc_execute(trainer->session, program, binding.io, n);
    memcpy(out, binding.io[program->input_count], (size_t)(n * size) * sizeof *out);
    binding_free(&binding);
    return true;
}

/* Decodes columns * rows codes into a picture file. */
static bool pictures_write_codes(Trainer *trainer, const Album *album, const float *codes, int columns, int rows,
                                 const char *name) {
    int64_t n = columns * rows;
    Page page;
    float *values = malloc((size_t)(n * album->format.values) * sizeof *values);
    if (!values) return selfc_fail("no memory for pictures"), false;
    bool is_fine = pictures_run(trainer, album->decoder, n, codes, values, album->format.values) &&
                   page_make(&page, &album->format, columns, rows);
    for (int64_t i = 0; is_fine && i < n; i++)
        page_put(&page, (int)(i % columns), (int)(i / columns), values + i * album->format.values);
    free(values);
    return is_fine && page_write(&page, trainer->folder, name);
}

static bool pictures_write_samples(Trainer *trainer, const Album *album) {
    int64_t n = PICTURES_SAMPLES * PICTURES_SAMPLES * album->code;
    float *codes = malloc((size_t)n * sizeof *codes);
    if (!codes) return selfc_fail("no memory for pictures"), false;
    uint32_t key[2] = {0x73616D70, 0x6C657321}, bits[4];
    for (int64_t i = 0; i < n; i++) {
        uint32_t counter[4] = {(uint32_t)i, (uint32_t)(i >> 32), 0, 0};
        selfc_philox(counter, key, bits);
        codes[i] = (float)(sqrt(-2 * log((bits[0] + 1.0) * 0x1p-32)) * cos(bits[1] * (6.283185307179586 * 0x1p-32)));
    }
    bool is_fine = pictures_write_codes(trainer, album, codes, PICTURES_SAMPLES, PICTURES_SAMPLES, "samples.png");
    free(codes);
    return is_fine;
}

/* The x below which a normal number falls with probability p, by halving: there are few to find. */
static float pictures_quantile(double p) {
    double low = -8, high = 8;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (0.5 * erfc(-middle / 1.4142135623730951) < p)
            low = middle;
        else
            high = middle;
    }
    return (float)low;
}

static bool pictures_write_plane(Trainer *trainer, const Album *album) {
    float codes[PICTURES_PLANE * PICTURES_PLANE][2];
    for (int i = 0; i < PICTURES_PLANE * PICTURES_PLANE; i++) {
        codes[i][0] = pictures_quantile((i % PICTURES_PLANE + 0.5) / PICTURES_PLANE);
        codes[i][1] = pictures_quantile((PICTURES_PLANE - i / PICTURES_PLANE - 0.5) / PICTURES_PLANE);
    }
    return pictures_write_codes(trainer, album, codes[0], PICTURES_PLANE, PICTURES_PLANE, "plane.png");
}

/* The first n pictures of the test data (or of the training data), as bytes if they are, and as the training's values.
 */
static void pictures_gather(const Feed *feed, const Format *format, int64_t n, uint8_t *bytes, float *values) {
    SelfcSplit split = feed->count[SELFC_TEST] >= n ? SELFC_TEST : SELFC_TRAIN;
    int32_t index[PICTURES_PAIRS * PICTURES_PAIR_ROWS];
    for (int64_t i = 0; i < n; i++) index[i] = (int32_t)i;
    const FeedInput *input = &feed->inputs[0];
    selfc_source_gather(input->source[split], input->field, index, n, format->is_byte ? (void *)bytes : values);
    for (int64_t i = 0; i < n * format->values; i++)
        values[i] = (format->is_byte ? (float)bytes[i] : values[i]) * format->scale;
}

static bool pictures_reconstruct(Trainer *trainer, const Album *album, int64_t n, const uint8_t *bytes,
                                 const float *values, float *out) {
    const SelfcProgram *first = album->mapper ? album->mapper : album->encoder;
    const void *input = pictures_input(first)->dtype == SELFC_u8 ? (const void *)bytes : values;
    if (album->mapper) return pictures_run(trainer, first, n, input, out, album->format.values);
    float *codes = malloc((size_t)(n * album->code) * sizeof *codes);
    if (!codes) return selfc_fail("no memory for pictures"), false;
    bool is_fine = pictures_run(trainer, first, n, input, codes, album->code) &&
                   pictures_run(trainer, album->decoder, n, codes, out, album->format.values);
    free(codes);
    return is_fine;
}

/* Rows in pairs: what went in, and below it what came back. */
static bool pictures_write_reconstructions(Trainer *trainer, const Album *album) {
    int64_t n = PICTURES_PAIRS * PICTURES_PAIR_ROWS, size = album->format.values;
    if (trainer->feed.count[SELFC_TRAIN] < n) n = PICTURES_PAIRS;
    if (trainer->feed.count[SELFC_TRAIN] < n) return true;
    Page page;
    uint8_t *bytes = malloc((size_t)(n * size));
    float *values = malloc((size_t)(2 * n * size) * sizeof *values), *out = values + n * size;
    bool is_fine = bytes && values;
    if (is_fine)
        pictures_gather(&trainer->feed, &album->format, n, bytes, values);
    else
        selfc_fail("no memory for pictures");
    is_fine = is_fine && pictures_reconstruct(trainer, album, n, bytes, values, out) &&
              page_make(&page, &album->format, PICTURES_PAIRS, (int)(2 * n / PICTURES_PAIRS));
    for (int64_t i = 0; is_fine && i < n; i++) {
        int column = (int)(i % PICTURES_PAIRS), row = (int)(2 * (i / PICTURES_PAIRS));
        page_put(&page, column, row, values + i * size);
        page_put(&page, column, row + 1, out + i * size);
    }
    free(bytes);
    free(values);
    return is_fine && page_write(&page, trainer->folder, "reconstructions.png");
}

bool pictures_write(Trainer *trainer) {
    Format format;
    if (!pictures_format(trainer, &format)) return true;
    Album album = pictures_find(trainer->module, &format);
    if (album.decoder && !pictures_write_samples(trainer, &album)) return false;
    if (album.decoder && album.code == 2 && !pictures_write_plane(trainer, &album)) return false;
    if ((album.decoder && album.encoder) || album.mapper) return pictures_write_reconstructions(trainer, &album);
    return true;
}
