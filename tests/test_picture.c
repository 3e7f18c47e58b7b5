/* One picture: what the decoders make of every kind of PNG and JPEG, and how pictures are put into boxes, each compared
 * with a slow way that is obviously right. */
#include "runtime/data/picture.h"
#include "tests/expect.h"
#include "tests/picture_files.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

static uint32_t random_state = 1;
static uint32_t random_below(uint32_t end) {
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(random_state >> 8) * end >> 24);
}

static const PictureBox colour_box = {.height = 4096, .width = 4096, .channels = 3};
static const PictureBox grey_box = {.height = 4096, .width = 4096, .channels = 1};

static Picture decoded(FileBytes file, const PictureBox *box, const char *what) {
    char reason[PICTURE_REASON] = "";
    Picture picture;
    int64_t height, width;
    bool is_fine = picture_decode(file.bytes, file.size, box, &picture, reason);
    EXPECT(is_fine, "%s: %s", what, reason);
    EXPECT(picture_read_size(file.bytes, file.size, &height, &width, reason) && height == picture.full_height &&
               width == picture.full_width,
           "%s: its size is read otherwise than it is: %s", what, reason);
    free(file.bytes);
    return picture;
}

/* --- PNG --- */

static double png_value(const PngKind *kind, const uint16_t *sample, int channel) {
    if (kind->palette) return kind->palette[*sample][channel];
    bool is_grey = !(kind->type & PNG_COLOR_MASK_COLOR);
    int position = channel == 3 ? (is_grey ? 1 : 3) : is_grey ? 0 : channel;
    if (channel == 3 && !(kind->type & PNG_COLOR_MASK_ALPHA)) return 255;
    return floor(sample[position] * 255.0 / ((1 << kind->depth) - 1) + 0.5);
}

static void check_png(const PngKind *kind) {
    enum { HEIGHT = 11, WIDTH = 13 };
    uint16_t samples[HEIGHT * WIDTH * 4];
    int channels = kind->palette ? 1 : 1 + 2 * !!(kind->type & 2) + !!(kind->type & 4);
    for (int i = 0; i < HEIGHT * WIDTH * channels; i++) samples[i] = (uint16_t)random_below(1u << kind->depth);
    char what[64];
    snprintf(what, sizeof what, "PNG type %d depth %d%s", kind->type, kind->depth,
             kind->is_interlaced ? " interlaced" : "");
    Picture colour = decoded(png_bytes(kind, HEIGHT, WIDTH, samples), &colour_box, what);
    Picture grey = decoded(png_bytes(kind, HEIGHT, WIDTH, samples), &grey_box, what);
    EXPECT(colour.height == HEIGHT && colour.width == WIDTH && colour.channels == 3, "%s", what);
    int wrong = 0;
    for (int i = 0; i < HEIGHT * WIDTH; i++) {
        double alpha = png_value(kind, samples + i * channels, 3), rgb[3];
        for (int c = 0; c < 3; c++) {
            rgb[c] = floor((png_value(kind, samples + i * channels, c) * alpha + 255 * (255 - alpha)) / 255 + 0.5);
            wrong += colour.pixels[3 * i + c] != (uint8_t)rgb[c];
        }
        wrong += fabs(grey.pixels[i] - (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])) > 0.501;
    }
    EXPECT(!wrong, "%s: %d values are wrong", what, wrong);
    free(colour.pixels);
    free(grey.pixels);
}

static void test_png_kinds(void) {
    static const int types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_GRAY_ALPHA,
                                PNG_COLOR_TYPE_RGBA};
    uint8_t palette[256][4];
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 4; c++) palette[i][c] = (uint8_t)random_below(256);
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        for (int t = 0; t < 4; t++)
            for (int depth = types[t] == PNG_COLOR_TYPE_GRAY ? 1 : 8; depth <= 16; depth *= 2)
                check_png(&(PngKind){.type = types[t], .depth = depth, .is_interlaced = interlaced});
        for (int depth = 1; depth <= 8; depth *= 2)
            check_png(&(PngKind){.type = PNG_COLOR_TYPE_PALETTE,
                                 .depth = depth,
                                 .is_interlaced = interlaced,
                                 .palette = (const uint8_t (*)[4])palette});
    }
}

/* --- JPEG --- */

/* Smooth in all channels, so that little is lost. */
static void smooth_pixels(uint8_t *pixels, int height, int width, int channels) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                pixels[(y * width + x) * channels + c] =
                    (uint8_t)(128 + 100 * sin(0.09 * (c + 1) * y + 0.2) * cos(0.07 * (3 - c) * x + 0.5));
}

static void check_jpeg(const JpegKind *kind, const char *what) {
    enum { HEIGHT = 37, WIDTH = 50 };
    uint8_t pixels[HEIGHT * WIDTH * 4];
    int channels = kind->channels;
    smooth_pixels(pixels, HEIGHT, WIDTH, channels);
    Picture colour = decoded(jpeg_bytes(kind, HEIGHT, WIDTH, pixels), &colour_box, what);
    Picture grey = decoded(jpeg_bytes(kind, HEIGHT, WIDTH, pixels), &grey_box, what);
    double worst = 0;
    for (int i = 0; i < HEIGHT * WIDTH; i++) {
        double rgb[3];
        for (int c = 0; c < 3; c++) {
            rgb[c] = pixels[i * channels + (channels == 1 ? 0 : c)];
            int white = pixels[i * channels + 3];
            if (channels == 4 && kind->is_without_adobe) rgb[c] = 255 - rgb[c], white = 255 - white;
            if (channels == 4) rgb[c] = rgb[c] * white / 255;
            worst = fmax(worst, fabs(rgb[c] - colour.pixels[3 * i + c]));
        }
        worst = fmax(worst, fabs(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] - grey.pixels[i]));
    }
    EXPECT(colour.height == HEIGHT && colour.width == WIDTH && worst < 5, "%s: off by %g", what, worst);
    free(colour.pixels);
    free(grey.pixels);
}

static void test_jpeg_kinds(void) {
    check_jpeg(&(JpegKind){.channels = 1}, "grey JPEG");
    check_jpeg(&(JpegKind){.channels = 3}, "JPEG");
    check_jpeg(&(JpegKind){.channels = 1, .is_progressive = true}, "grey progressive JPEG");
    check_jpeg(&(JpegKind){.channels = 3, .is_progressive = true}, "progressive JPEG");
    check_jpeg(&(JpegKind){.channels = 4}, "CMYK JPEG of Adobe's");
    check_jpeg(&(JpegKind){.channels = 4, .is_without_adobe = true}, "CMYK JPEG");
    check_jpeg(&(JpegKind){.channels = 4, .is_progressive = true}, "progressive CMYK JPEG");
}

/* Exif says where the first row and the first column of the stored picture lie when one looks at it. */
static void test_orientations(void) {
    enum { HEIGHT = 24, WIDTH = 40 };
    static const struct {
        bool row_is_side, row_from_end, column_from_end;
    } held[9] = {[2] = {0, 0, 1}, [3] = {0, 1, 1}, [4] = {0, 1, 0}, [5] = {1, 0, 0},
                 [6] = {1, 1, 0}, [7] = {1, 1, 1}, [8] = {1, 0, 1}};
    uint8_t upright[HEIGHT][WIDTH][3], stored[HEIGHT * WIDTH][3];
    smooth_pixels(&upright[0][0][0], HEIGHT, WIDTH, 3);
    for (int o = 1; o <= 8; o++) {
        int rows = held[o].row_is_side ? WIDTH : HEIGHT, columns = held[o].row_is_side ? HEIGHT : WIDTH;
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++) {
                int row = held[o].row_from_end ? rows - 1 - r : r,
                    column = held[o].column_from_end ? columns - 1 - c : c;
                memcpy(stored[r * columns + c], held[o].row_is_side ? upright[column][row] : upright[row][column], 3);
            }
        char what[64];
        snprintf(what, sizeof what, "orientation %d", o);
        JpegKind kind = {.channels = 3, .orientation = o, .is_big_endian = o % 2};
        Picture picture = decoded(jpeg_bytes(&kind, rows, columns, stored[0]), &colour_box, what);
        int worst = 0;
        for (int i = 0; i < HEIGHT * WIDTH * 3 && picture.height == HEIGHT; i++) {
            int off = abs(picture.pixels[i] - (&upright[0][0][0])[i]);
            if (off > worst) worst = off;
        }
        EXPECT(picture.height == HEIGHT && picture.width == WIDTH && worst < 5, "%s: off by %d", what, worst);
        free(picture.pixels);
    }
}

/* A large JPEG comes smaller, but never smaller than twice what it becomes, and still with its true size. */
static void test_jpeg_shrinks(void) {
    enum { HEIGHT = 301, WIDTH = 450 };
    static uint8_t pixels[HEIGHT * WIDTH * 3];
    smooth_pixels(pixels, HEIGHT, WIDTH, 3);
    for (int side = 16; side <= 512; side *= 2) {
        PictureBox box = {.height = side, .width = side, .channels = 3};
        int64_t fitted[2];
        JpegKind kind = {.channels = 3, .orientation = 6};
        Picture picture = decoded(jpeg_bytes(&kind, HEIGHT, WIDTH, pixels), &box, "large JPEG");
        picture_fitted_size(&box, WIDTH, HEIGHT, fitted);
        EXPECT(picture.full_height == WIDTH && picture.full_width == HEIGHT, "its true size");
        EXPECT(picture.height == WIDTH || picture.height >= 2 * fitted[0], "%lld rows for %lld",
               (long long)picture.height, (long long)fitted[0]);
        EXPECT(side > 64 || picture.height < WIDTH, "box %d: not shrunk", side);
        free(picture.pixels);
    }
}

/* --- hostile files --- */

static bool is_read(const uint8_t *bytes, size_t size, char reason[PICTURE_REASON]) {
    Picture picture;
    *reason = 0;
    bool is_fine = picture_decode(bytes, size, &colour_box, &picture, reason);
    EXPECT(is_fine || (*reason && !picture.pixels), "a failure needs a reason");
    free(picture.pixels);
    return is_fine;
}

/* Cut off anywhere, and with any bit turned. The last bytes of a file may be missing without a loss. */
static void check_damage(FileBytes file, const char *what) {
    char reason[PICTURE_REASON];
    EXPECT(is_read(file.bytes, file.size, reason), "%s: %s", what, reason);
    for (size_t size = 0; size < file.size; size++) {
        uint8_t *cut = malloc(size + 1); /* its own memory, so that a byte too far is seen */
        memcpy(cut, file.bytes, size);
        bool was_read = is_read(cut, size, reason);
        EXPECT(!was_read || size + 16 >= file.size, "%s is read from %zu of its %zu bytes", what, size, file.size);
        free(cut);
    }
    for (size_t i = 0; i < file.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            file.bytes[i] ^= (uint8_t)(1 << bit);
            is_read(file.bytes, file.size, reason);
            file.bytes[i] ^= (uint8_t)(1 << bit);
        }
    free(file.bytes);
}

static void test_damage(void) {
    uint8_t pixels[16 * 16 * 4];
    uint16_t samples[9 * 9 * 4];
    smooth_pixels(pixels, 16, 16, 4);
    for (int i = 0; i < 9 * 9 * 4; i++) samples[i] = (uint16_t)random_below(256);
    check_damage(png_bytes(&(PngKind){.type = PNG_COLOR_TYPE_RGBA, .depth = 8, .is_interlaced = true}, 9, 9, samples),
                 "PNG");
    check_damage(jpeg_bytes(&(JpegKind){.channels = 3, .quality = 60, .orientation = 5}, 16, 16, pixels), "JPEG");
    check_damage(jpeg_bytes(&(JpegKind){.channels = 3, .quality = 60, .is_progressive = true}, 16, 16, pixels),
                 "progressive JPEG");
}

static void expect_refused(const uint8_t *bytes, size_t size, const char *why) {
    char reason[PICTURE_REASON];
    EXPECT(!is_read(bytes, size, reason) && strstr(reason, why), "%s instead of %s", reason, why);
}

/* Sizes that the bytes cannot hold, or that nobody can: refused before memory is taken. */
static void test_declared(void) {
    uint8_t pixels[16 * 16 * 3] = {0};
    FileBytes jpeg = jpeg_bytes(&(JpegKind){.channels = 3}, 16, 16, pixels);
    uint8_t *frame = memmem(jpeg.bytes, jpeg.size, "\xff\xc0", 2);
    memcpy(frame + 5, "\xff\x00\xff\x00", 4);
    expect_refused(jpeg.bytes, jpeg.size, "more than");
    memcpy(frame + 5, "\x20\x00\x20\x00", 4);
    expect_refused(jpeg.bytes, jpeg.size, "cannot hold the 8192 x 8192 pixels");
    memcpy(frame + 5, "\x00\x00\x00\x10", 4);
    expect_refused(jpeg.bytes, jpeg.size, "");
    free(jpeg.bytes);
    /* A head of 60000 x 60000 RGB, with its checksum, and nothing behind. */
    static const uint8_t head[] = {0x89, 'P', 'N', 'G',  13,   10, 26, 10,   0,    0, 0, 13, 'I', 'H', 'D',
                                   'R',  0,   0,   0xEA, 0x60, 0,  0,  0xEA, 0x60, 8, 2, 0,  0,   0};
    uint8_t png[128] = {0};
    memcpy(png, head, sizeof head);
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 12; i < sizeof head; i++)
        for (int bit = (crc ^= head[i], 0); bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    for (int i = 0; i < 4; i++) png[sizeof head + (size_t)i] = (uint8_t)(~crc >> (24 - 8 * i));
    static const uint8_t data[] = {0, 0, 0, 2, 'I', 'D', 'A', 'T', 0, 0};
    memcpy(png + sizeof head + 4, data, sizeof data);
    expect_refused(png, sizeof png, "more than");
    expect_refused(png, 0, "empty");
    expect_refused((const uint8_t *)"GIF89a..........", 16, "neither PNG nor JPEG");
}

/* --- boxes --- */

/* What output pixel i of an axis sees of input pixel p: each input pixel is `to` units long, each output `from`. */
static int64_t slow_weight(int64_t from, int64_t to, int64_t i, int64_t p) {
    int64_t shared = 0;
    for (int64_t unit = i * from; unit < (i + 1) * from; unit++) shared += unit / to == p;
    return shared;
}

static double slow_grow(int64_t from, int64_t to, int64_t i, int64_t p) {
    double place = fmin(fmax((i + 0.5) * (double)from / (double)to - 0.5, 0), (double)from - 1);
    return fmax(0, 1 - fabs(place - (double)p));
}

static double slow_value(const Picture *picture, const int64_t part[2], const int64_t start[2], const int64_t size[2],
                         int64_t y, int64_t x, int64_t c) {
    double sum = 0, total = 0;
    for (int64_t v = 0; v < part[0]; v++)
        for (int64_t u = 0; u < part[1]; u++) {
            double down =
                size[0] <= part[0] ? (double)slow_weight(part[0], size[0], y, v) : slow_grow(part[0], size[0], y, v);
            double across =
                size[1] <= part[1] ? (double)slow_weight(part[1], size[1], x, u) : slow_grow(part[1], size[1], x, u);
            int64_t place = ((start[0] + v) * picture->width + start[1] + u) * picture->channels + c;
            sum += down * across * picture->pixels[place];
            total += down * across;
        }
    return sum / total;
}

static void check_fit(const Picture *picture, const PictureBox *box, const int64_t part[2], const int64_t size[2]) {
    uint8_t out[16 * 16 * 3];
    int32_t got[2];
    int64_t start[2] = {(picture->height - part[0]) / 2, (picture->width - part[1]) / 2};
    memset(out, 77, sizeof out);
    EXPECT(picture_fit(picture, box, out, got), "memory");
    int wrong = got[0] != size[0] || got[1] != size[1];
    for (int64_t y = 0; y < box->height; y++)
        for (int64_t x = 0; x < box->width; x++)
            for (int64_t c = 0; c < box->channels; c++) {
                bool is_inside = y < size[0] && x < size[1];
                double expected = is_inside ? slow_value(picture, part, start, size, y, x, c) : 0;
                wrong += fabs(out[(y * box->width + x) * box->channels + c] - expected) > 0.5001;
            }
    EXPECT(!wrong, "%lld x %lld into %lld x %lld%s (size %d x %d): %d values are wrong", (long long)picture->height,
           (long long)picture->width, (long long)box->height, (long long)box->width, box->fill ? " filled" : "", got[0],
           got[1], wrong);
}

static int64_t rounded(double value) { return value < 1 ? 1 : (int64_t)floor(value + 0.5); }

static void test_fit(void) {
    for (int turn = 0; turn < 300; turn++) {
        uint8_t pixels[24 * 24 * 3];
        PictureBox box = {.height = 1 + random_below(16),
                          .width = 1 + random_below(16),
                          .channels = turn % 2 ? 3 : 1,
                          .fill = turn % 3 == 0};
        Picture picture = {
            .height = 1 + random_below(24), .width = 1 + random_below(24), .channels = box.channels, .pixels = pixels};
        picture.full_height = picture.height;
        picture.full_width = picture.width;
        for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)random_below(256);
        double height = (double)picture.height, width = (double)picture.width;
        double down = (double)box.height / height, across = (double)box.width / width;
        int64_t part[2] = {picture.height, picture.width}, size[2] = {box.height, box.width};
        if (box.fill) {
            double scale = fmax(down, across);
            part[0] = rounded((double)box.height / scale);
            part[1] = rounded((double)box.width / scale);
        } else {
            double scale = fmin(1, fmin(down, across));
            size[0] = rounded(height * scale);
            size[1] = rounded(width * scale);
        }
        check_fit(&picture, &box, part, size);
    }
}

/* A large picture, so that sums of many pixels are right, too. */
static void test_fit_large(void) {
    Picture picture = {.height = 3000, .width = 20000, .channels = 1, .full_height = 3000, .full_width = 20000};
    picture.pixels = malloc(3000 * 20000);
    memset(picture.pixels, 255, 3000 * 20000);
    PictureBox box = {.height = 8, .width = 8, .channels = 1};
    uint8_t out[64];
    int32_t size[2];
    EXPECT(picture_fit(&picture, &box, out, size) && size[0] == 1 && size[1] == 8, "%d x %d", size[0], size[1]);
    for (int i = 0; i < 8; i++) EXPECT(out[i] == 255 && out[8 + i] == 0, "%d %d", out[i], out[8 + i]);
    free(picture.pixels);
}

int main(void) {
    test_png_kinds();
    test_jpeg_kinds();
    test_orientations();
    test_jpeg_shrinks();
    test_damage();
    test_declared();
    test_fit();
    test_fit_large();
    return expect_failures();
}
