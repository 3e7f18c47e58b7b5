/* Which fields of a data set a function wants: see wanted.h. */
#include "runtime/data/wanted.h"

#include "runtime/data/picture.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const SelfcTensor *wanted_tensor(const SelfcProgram *program, uint32_t input) {
    for (uint32_t i = 0; i < program->input_count; i++)
        if (program->io[i].name[0] != '$' && !input--) return &program->io[i];
    return NULL;
}

uint32_t wanted_field(const SelfcSource *source, const char *name) {
    const SelfcField *fields;
    uint32_t count = selfc_source_fields(source, &fields);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(fields[i].name, name)) return i;
    return 0;
}

int wanted_label(const SelfcSource *source) {
    const SelfcField *fields;
    selfc_source_fields(source, &fields);
    uint32_t field = wanted_field(source, "label");
    const SelfcTensor *sample = &fields[field].sample;
    return field && sample->dtype == SELFC_i32 && !sample->rank ? (int)field : -1;
}

bool wanted_true_size(const SelfcSource *source, const SelfcTensor *sample, int32_t number, int32_t size[2]) {
    uint32_t field = wanted_field(source, "size");
    size[0] = (int32_t)sample->dim[0];
    size[1] = (int32_t)sample->dim[1];
    if (field) selfc_source_gather(source, field, &number, 1, size);
    return field > 0;
}

static bool wanted_takes(const SelfcTensor *tensor, const SelfcTensor *sample) {
    if (tensor->rank < 1 || tensor->dim[0] != -1) return false;
    for (int32_t i = 1; i < tensor->rank; i++)
        if (tensor->dim[i] < 0) return false;
    bool is_number = sample->dtype == SELFC_u8 || sample->dtype == SELFC_i8 || sample->dtype == SELFC_i32;
    return (tensor->dtype == sample->dtype || (tensor->dtype == SELFC_f32 && is_number)) &&
           selfc_tensor_elements(tensor, 1) == selfc_tensor_elements(sample, 0);
}

/* Of pictures; grey ones stand without theirs. */
static int64_t wanted_channels(const SelfcTensor *sample) { return sample->rank == 3 ? sample->dim[2] : 1; }

/* Boxes of pictures, as the source tells their true sizes, and a function of pictures: of any size, or grey ones of the
 * box's size without a channel. */
static bool wanted_resizes(const SelfcTensor *tensor, const SelfcTensor *sample, const SelfcSource *source) {
    bool are_pictures = sample->dtype == SELFC_u8 && wanted_field(source, "size") > 0;
    bool takes_numbers = (tensor->dtype == SELFC_u8 || tensor->dtype == SELFC_f32) && tensor->dim[0] == -1;
    bool takes_pictures =
        tensor->rank == 4 && tensor->dim[1] > 0 && tensor->dim[2] > 0 && tensor->dim[3] == wanted_channels(sample);
    bool takes_grey =
        tensor->rank == 3 && sample->rank == 2 && tensor->dim[1] == sample->dim[0] && tensor->dim[2] == sample->dim[1];
    return are_pictures && takes_numbers && (takes_pictures || takes_grey);
}

bool wanted_find(Wanted *wanted, const SelfcProgram *program, const char *function, const SelfcSource *source) {
    const SelfcTensor *tensor;
    const SelfcField *fields;
    char want[128], have[128];
    bool has_sample = false;
    selfc_source_fields(source, &fields);
    *wanted = (Wanted){0};
    for (; (tensor = wanted_tensor(program, wanted->count)); wanted->count++) {
        uint32_t field = wanted_field(source, tensor->name);
        const SelfcTensor *sample = &fields[field].sample;
        if (wanted->count == WANTED_MOST)
            return selfc_fail("function \"%s\" has more than %d inputs", function, WANTED_MOST), false;
        if (field == 0 && has_sample)
            return selfc_fail("function \"%s\": its input \"%s\" is none of the data's fields", function, tensor->name),
                   false;
        bool resizes = field == 0 && wanted_resizes(tensor, sample, source);
        if (!resizes && !wanted_takes(tensor, sample))
            return selfc_fail("function \"%s\" takes %s %s, but the data's \"%s\" is %s a sample", function,
                              tensor->name, selfc_tensor_print(tensor, want), fields[field].name,
                              selfc_tensor_print(sample, have)),
                   false;
        has_sample |= field == 0;
        wanted->input[wanted->count].field = field;
        wanted->input[wanted->count].resizes = resizes;
        wanted->input[wanted->count].scale = sample->dtype == SELFC_u8 ? 1.0 / 255 : 1;
    }
    if (!has_sample) selfc_fail("function \"%s\" takes no samples of the data", function);
    return has_sample;
}

/* Stored numbers, which stand where the last quarter or all of the f32 ones will, become those. */
static void wanted_widen(const void *stored, int32_t dtype, int64_t count, float scale, float *to) {
    for (int64_t i = 0; i < count; i++) {
        float number = 0;
        switch (dtype) {
        case SELFC_u8: number = ((const uint8_t *)stored)[i]; break;
        case SELFC_i8: number = ((const int8_t *)stored)[i]; break;
        case SELFC_i32: number = (float)((const int32_t *)stored)[i]; break;
        case SELFC_f32: number = ((const float *)stored)[i]; break;
        }
        to[i] = number * scale;
    }
}

typedef struct {
    const Wanted *wanted;
    const SelfcProgram *program;
    const SelfcSource *source;
    const int32_t *index;
    int64_t n;
    void *const *inputs;
    atomic_bool lacks_memory;
} Fill;

/* The picture of a box, its lines side by side, becomes one of the function's size at `to`. False: no memory. */
static bool fill_resized(const Fill *fill, int32_t number, const SelfcTensor *sample, const SelfcTensor *tensor,
                         uint8_t *box, uint8_t *to) {
    int32_t size[2], fitted[2];
    int64_t channels = wanted_channels(sample);
    selfc_source_gather(fill->source, 0, &number, 1, box);
    wanted_true_size(fill->source, sample, number, size);
    Picture picture = {size[0], size[1], channels, size[0], size[1], box};
    picture_close_up(&picture, sample->dim[1]);
    return picture_fit(&picture, &(PictureBox){tensor->dim[1], tensor->dim[2], channels, .fill = true}, to, fitted);
}

static void fill_pictures(Fill *fill, uint32_t input, int64_t first, int64_t end) {
    const SelfcField *fields;
    selfc_source_fields(fill->source, &fields);
    const SelfcTensor *sample = &fields[0].sample, *tensor = wanted_tensor(fill->program, input);
    size_t out_bytes = selfc_tensor_bytes(tensor, 1), pixels = (size_t)selfc_tensor_elements(tensor, 1);
    uint8_t *box = malloc(selfc_tensor_bytes(sample, 0));
    for (int64_t i = first; i < end && !fill->lacks_memory; i++) {
        char *to = (char *)fill->inputs[input] + (size_t)i * out_bytes;
        uint8_t *stored = (uint8_t *)to + out_bytes - pixels;
        if (!box || !fill_resized(fill, fill->index[i], sample, tensor, box, stored)) {
            fill->lacks_memory = true;
            break;
        }
        float scale = (float)fill->wanted->input[input].scale;
        if (tensor->dtype == SELFC_f32) wanted_widen(stored, SELFC_u8, (int64_t)pixels, scale, (float *)to);
    }
    free(box);
}

static void fill_input(const Fill *fill, uint32_t input, int64_t first, int64_t end) {
    const SelfcField *fields;
    selfc_source_fields(fill->source, &fields);
    uint32_t field = fill->wanted->input[input].field;
    float scale = (float)fill->wanted->input[input].scale;
    const SelfcTensor *sample = &fields[field].sample, *tensor = wanted_tensor(fill->program, input);
    int64_t elements = selfc_tensor_elements(tensor, 1);
    size_t bytes = selfc_tensor_bytes(sample, 0), out_bytes = selfc_tensor_bytes(tensor, 1);
    for (int64_t i = first; i < end; i++) {
        char *to = (char *)fill->inputs[input] + (size_t)i * out_bytes, *stored = to + out_bytes - bytes;
        if (out_bytes < bytes) { /* a text that is filled up to a smaller length */
            int32_t whole[bytes / sizeof(int32_t)];
            selfc_source_gather(fill->source, field, fill->index + i, 1, whole);
            stored = memcpy(to, whole, out_bytes);
        } else {
            selfc_source_gather(fill->source, field, fill->index + i, 1, stored);
        }
        if (tensor->dtype == SELFC_f32) wanted_widen(stored, sample->dtype, elements, scale, (float *)to);
    }
}

static void fill_share(void *context, int thread, int threads) {
    Fill *fill = context;
    for (uint32_t i = 0; i < fill->wanted->count; i++) {
        int64_t first = fill->n * thread / threads, end = fill->n * (thread + 1) / threads;
        if (fill->wanted->input[i].resizes)
            fill_pictures(fill, i, first, end);
        else
            fill_input(fill, i, first, end);
    }
}

bool wanted_fill(const Wanted *wanted, const SelfcProgram *program, const SelfcSource *source, const int32_t *index,
                 int64_t n, void *const *inputs, SelfcPool *pool) {
    Fill fill = {wanted, program, source, index, n, inputs, false};
    selfc_pool_run(pool, fill_share, &fill);
    if (fill.lacks_memory) selfc_fail("no memory to bring pictures to the size that %s takes", program->name);
    return !fill.lacks_memory;
}

int64_t wanted_batch(const SelfcProgram *program) {
    enum { WANTED_BYTES = 256 << 20 };
    int64_t per_sample = program->arena_bytes.per_n > 0 ? program->arena_bytes.per_n : 1,
            most = WANTED_BYTES / per_sample;
    return most < 1 ? 1 : most < WANTED_MOST_BATCH ? most : WANTED_MOST_BATCH;
}
