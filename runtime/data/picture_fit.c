/* Putting a picture into a box. Shrinking takes the exact mean over the area that an output pixel covers, growing
 * interpolates between the two nearest pixels; per axis, as each is a list of whole weights for each output pixel. All
 * is whole numbers, so every machine makes the same bytes.
 *
 * An output pixel of an axis that goes from n to m <= n pixels covers n/m of them: with a pixel cut into m units it
 * covers n units, and what it shares with a pixel is a whole number of units. The sum of both axes' weighted values is
 * at most 255 * 65535^2, far below 2^64. */
#include "runtime/data/picture.h"

#include <stdlib.h>
#include <string.h>

/* Output pixel i is the sum over w of weights[i * most + w] * input[first[i] + w], divided by total. */
typedef struct {
    int64_t count, most, total;
    int64_t *first, *used;
    uint32_t *weights;
} Axis;

static bool axis_make(Axis *axis, int64_t from, int64_t to) {
    *axis = (Axis){.count = to, .most = to <= from ? from / to + 2 : 2, .total = to <= from ? from : 2 * to};
    axis->first = malloc((size_t)to * sizeof *axis->first);
    axis->used = malloc((size_t)to * sizeof *axis->used);
    axis->weights = malloc((size_t)(to * axis->most) * sizeof *axis->weights);
    return axis->first && axis->used && axis->weights;
}

static void axis_free(Axis *axis) {
    free(axis->first);
    free(axis->used);
    free(axis->weights);
}

static void axis_shrink(Axis *axis, int64_t from) {
    int64_t to = axis->count;
    for (int64_t i = 0; i < to; i++) {
        int64_t start = i * from, end = start + from, pixel = start / to, used = 0;
        axis->first[i] = pixel;
        for (; pixel * to < end; pixel++) {
            int64_t left = pixel * to > start ? pixel * to : start;
            int64_t right = (pixel + 1) * to < end ? (pixel + 1) * to : end;
            axis->weights[i * axis->most + used++] = (uint32_t)(right - left);
        }
        axis->used[i] = used;
    }
}

/* Middles of pixels lie on middles: output pixel i looks at (i + 1/2) from/to - 1/2. */
static void axis_grow(Axis *axis, int64_t from) {
    int64_t to = axis->count;
    for (int64_t i = 0; i < to; i++) {
        int64_t place = (2 * i + 1) * from - to, pixel = place < 0 ? 0 : place / (2 * to);
        int64_t behind = place < 0 ? 0 : place % (2 * to);
        bool has_next = pixel + 1 < from;
        axis->first[i] = pixel;
        axis->used[i] = has_next ? 2 : 1;
        axis->weights[i * axis->most] = (uint32_t)(has_next ? 2 * to - behind : 2 * to);
        axis->weights[i * axis->most + 1] = (uint32_t)behind;
    }
}

static bool axis_of(Axis *axis, int64_t from, int64_t to) {
    if (!axis_make(axis, from, to)) return false;
    if (to <= from)
        axis_shrink(axis, from);
    else
        axis_grow(axis, from);
    return true;
}

/* One input row to the output's width, not yet divided. */
static void fit_row(const Axis *axis, const uint8_t *row, int64_t channels, uint32_t *out) {
    for (int64_t i = 0; i < axis->count; i++) {
        const uint32_t *weights = axis->weights + i * axis->most;
        const uint8_t *from = row + axis->first[i] * channels;
        for (int64_t c = 0; c < channels; c++) {
            uint32_t sum = 0;
            for (int64_t w = 0; w < axis->used[i]; w++) sum += weights[w] * from[w * channels + c];
            out[i * channels + c] = sum;
        }
    }
}

/* Resizes the part of the picture that begins at `from` into out, whose rows are `stride` bytes apart. */
static void fit_rows(const uint8_t *from, int64_t from_stride, int64_t channels, const Axis *down, const Axis *across,
                     uint32_t *row, uint64_t *sums, uint8_t *out, int64_t stride) {
    int64_t values = across->count * channels;
    uint64_t total = (uint64_t)(down->total * across->total);
    int64_t have = -1; /* the input row that `row` is made of */
    for (int64_t y = 0; y < down->count; y++) {
        memset(sums, 0, (size_t)values * sizeof *sums);
        for (int64_t w = 0; w < down->used[y]; w++) {
            int64_t wanted = down->first[y] + w;
            uint64_t weight = down->weights[y * down->most + w];
            if (wanted != have) fit_row(across, from + wanted * from_stride, channels, row);
            have = wanted;
            for (int64_t i = 0; i < values; i++) sums[i] += weight * row[i];
        }
        for (int64_t i = 0; i < values; i++) out[y * stride + i] = (uint8_t)((sums[i] + total / 2) / total);
    }
}

static bool fit_resize(const uint8_t *from, int64_t from_stride, const int64_t from_size[2], int64_t channels,
                       const int64_t size[2], uint8_t *out, int64_t stride) {
    Axis down = {0}, across = {0};
    bool is_fine = axis_of(&down, from_size[0], size[0]) && axis_of(&across, from_size[1], size[1]);
    uint32_t *row = malloc((size_t)(size[1] * channels) * sizeof *row);
    uint64_t *sums = malloc((size_t)(size[1] * channels) * sizeof *sums);
    is_fine = is_fine && row && sums;
    if (is_fine) fit_rows(from, from_stride, channels, &down, &across, row, sums, out, stride);
    free(row);
    free(sums);
    axis_free(&down);
    axis_free(&across);
    return is_fine;
}

static int64_t fit_divide(int64_t a, int64_t b) { return (2 * a + b) / (2 * b) > 0 ? (2 * a + b) / (2 * b) : 1; }

void picture_fitted_size(const PictureBox *box, int64_t height, int64_t width, int64_t fitted[2]) {
    fitted[0] = box->fill ? box->height : height;
    fitted[1] = box->fill ? box->width : width;
    if (box->fill || (height <= box->height && width <= box->width)) return;
    bool is_tall = height * box->width > width * box->height;
    fitted[0] = is_tall ? box->height : fit_divide(height * box->width, width);
    fitted[1] = is_tall ? fit_divide(width * box->height, height) : box->width;
}

/* The largest middle part with the box's aspect. */
static void fit_crop(const PictureBox *box, int64_t height, int64_t width, int64_t part[2]) {
    part[0] = height;
    part[1] = width;
    if (!box->fill) return;
    if (width * box->height > height * box->width)
        part[1] = fit_divide(height * box->width, box->height);
    else
        part[0] = fit_divide(width * box->height, box->width);
}

bool picture_fit(const Picture *picture, const PictureBox *box, uint8_t *out, int32_t size[2]) {
    int64_t fitted[2], part[2], channels = box->channels, stride = box->width * channels;
    picture_fitted_size(box, picture->full_height, picture->full_width, fitted);
    fit_crop(box, picture->height, picture->width, part);
    int64_t top = (picture->height - part[0]) / 2, left = (picture->width - part[1]) / 2;
    int64_t from_stride = picture->width * channels;
    const uint8_t *from = picture->pixels + top * from_stride + left * channels;
    size[0] = (int32_t)fitted[0];
    size[1] = (int32_t)fitted[1];
    if (fitted[0] < box->height || fitted[1] < box->width) memset(out, 0, (size_t)(box->height * stride));
    if (fitted[0] != part[0] || fitted[1] != part[1])
        return fit_resize(from, from_stride, part, channels, fitted, out, stride);
    for (int64_t y = 0; y < part[0]; y++)
        memcpy(out + y * stride, from + y * from_stride, (size_t)(part[1] * channels));
    return true;
}

void picture_close_up(const Picture *picture, int64_t box_width) {
    size_t line = (size_t)(box_width * picture->channels), kept = (size_t)(picture->width * picture->channels);
    for (int64_t y = 1; y < picture->height; y++)
        memmove(picture->pixels + (size_t)y * kept, picture->pixels + (size_t)y * line, kept);
}
