/* Finds the pictures in a folder that are most like one: `search PICTURE FOLDER [PAGE.html]`.
 *
 * The encoder is an object that selfc built, linked in: encoder.o and encoder.h, with the weights inside. This program
 * brings pictures to the size that it wants (the middle of each, shrunk or stretched), as training and `selfc embed`
 * do, so that features are the same, and compares those by the cosine of their angle. PICTURE itself, and copies of it,
 * are left out. See README.md beside this file. */
#include "encoder.h"

#include <dirent.h>
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum {
    HEIGHT = SIMCLR_ENCODE_PICTURE_DIM1,
    WIDTH = SIMCLR_ENCODE_PICTURE_DIM2,
    CHANNELS = SIMCLR_ENCODE_PICTURE_DIM3,
    FEATURES = SIMCLR_ENCODE_FEATURES_DIM1,
    BATCH = 16,
    SHOWN = 12
};
_Static_assert(CHANNELS == 3, "colour pictures");

typedef struct {
    int width, height;
    unsigned char *pixels; /* RGB, row after row; owned */
} Picture;

typedef struct {
    char *path;
    float similarity;
    float features[FEATURES];
} Entry;

typedef struct {
    Entry *entries;
    size_t count, capacity;
} Album;

static void *must(void *memory) {
    if (memory) return memory;
    fputs("search: no memory\n", stderr);
    exit(1);
}

/* ---- reading ---- */

typedef struct {
    struct jpeg_error_mgr manager;
    jmp_buf jump;
    unsigned char *row; /* of a picture in other colours; owned */
} JpegError;

static void jpeg_give_up(j_common_ptr info) { longjmp(((JpegError *)info->err)->jump, 1); }

/* Most warnings say that pixels were made up: the file is cut off, or spoilt. */
static void jpeg_warn(j_common_ptr info, int level) {
    int code = info->err->msg_code;
    int is_harmless = code == JWRN_ADOBE_XFORM || code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR ||
                      code == JWRN_TOO_MUCH_DATA;
    if (level < 0 && !is_harmless) jpeg_give_up(info);
}

static unsigned tiff_number(const unsigned char *at, int bytes, int is_little) {
    unsigned number = 0;
    for (int i = 0; i < bytes; i++) number = number << 8 | at[is_little ? bytes - 1 - i : i];
    return number;
}

/* How the camera was held: Exif, a TIFF file in a marker, may say it, 1 (upright) to 8. */
static int read_orientation(const struct jpeg_decompress_struct *info) {
    for (jpeg_saved_marker_ptr marker = info->marker_list; marker; marker = marker->next) {
        if (marker->data_length < 14 || memcmp(marker->data, "Exif\0\0", 6)) continue;
        const unsigned char *tiff = marker->data + 6;
        size_t size = marker->data_length - 6, at = tiff_number(tiff + 4, 4, tiff[0] == 'I');
        if (at > size - 2) continue;
        unsigned entries = tiff_number(tiff + at, 2, tiff[0] == 'I');
        for (at += 2; entries-- && at + 12 <= size; at += 12) {
            unsigned value = tiff_number(tiff + at + 8, 2, tiff[0] == 'I');
            int is_short = tiff_number(tiff + at + 2, 2, tiff[0] == 'I') == 3;
            if (tiff_number(tiff + at, 2, tiff[0] == 'I') != 0x0112) continue;
            return is_short && value >= 1 && value <= 8 ? (int)value : 1;
        }
    }
    return 1;
}

/* As it is to be looked at, and as training sees it. */
static void turn_upright(Picture *picture, int orientation) {
    int is_turned = orientation >= 5, from_bottom = strchr("3467", '0' + orientation) != NULL,
        from_right = strchr("2378", '0' + orientation) != NULL;
    Picture stored = *picture;
    if (orientation == 1) return;
    picture->width = is_turned ? stored.height : stored.width;
    picture->height = is_turned ? stored.width : stored.height;
    unsigned char *to = picture->pixels = must(malloc((size_t)stored.width * (size_t)stored.height * 3));
    for (int y = 0; y < picture->height; y++)
        for (int x = 0; x < picture->width; x++, to += 3) {
            int row = is_turned ? x : y, column = is_turned ? y : x;
            if (from_bottom) row = stored.height - 1 - row;
            if (from_right) column = stored.width - 1 - column;
            memcpy(to, stored.pixels + ((size_t)row * (size_t)stored.width + (size_t)column) * 3, 3);
        }
    free(stored.pixels);
}

/* Cyan, magenta, yellow and black as screens show them; Adobe's programs write them inverted. */
static void from_cmyk(const unsigned char *row, int width, int is_inverted, unsigned char *to) {
    for (int x = 0; x < width; x++, row += 4, to += 3)
        for (int c = 0; c < 3; c++) {
            int white = is_inverted ? row[3] : 255 - row[3], colour = is_inverted ? row[c] : 255 - row[c];
            to[c] = (unsigned char)((colour * white + 127) / 255);
        }
}

/* libjpeg shrinks by a power of two faster than anything; twice the pixels that are wanted are left for fit(). */
static void choose_scale(struct jpeg_decompress_struct *info, int is_turned) {
    unsigned height = is_turned ? info->image_width : info->image_height,
             width = is_turned ? info->image_height : info->image_width, shrink = 1;
    while (shrink < 8 && height / (2 * shrink) >= 2 * HEIGHT && width / (2 * shrink) >= 2 * WIDTH) shrink *= 2;
    info->scale_num = 1, info->scale_denom = shrink;
}

static void read_jpeg_pixels(struct jpeg_decompress_struct *info, JpegError *error, Picture *picture) {
    int orientation = read_orientation(info),
        is_cmyk = info->jpeg_color_space == JCS_CMYK || info->jpeg_color_space == JCS_YCCK;
    info->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    choose_scale(info, orientation >= 5);
    jpeg_start_decompress(info);
    picture->width = (int)info->output_width, picture->height = (int)info->output_height;
    picture->pixels = must(malloc((size_t)picture->width * (size_t)picture->height * 3));
    if (is_cmyk) error->row = must(malloc((size_t)picture->width * 4));
    while (info->output_scanline < info->output_height) {
        unsigned char *to = picture->pixels + (size_t)info->output_scanline * (size_t)picture->width * 3;
        JSAMPROW row = is_cmyk ? error->row : to;
        jpeg_read_scanlines(info, &row, 1);
        if (is_cmyk) from_cmyk(row, picture->width, info->saw_Adobe_marker, to);
    }
    jpeg_finish_decompress(info);
    turn_upright(picture, orientation);
}

static int read_jpeg(FILE *file, Picture *picture) {
    struct jpeg_decompress_struct info = {0};
    JpegError error = {.row = NULL};
    info.err = jpeg_std_error(&error.manager);
    error.manager.error_exit = jpeg_give_up;
    error.manager.emit_message = jpeg_warn;
    if (setjmp(error.jump)) {
        free(picture->pixels);
        picture->pixels = NULL;
    } else {
        jpeg_create_decompress(&info);
        jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
        jpeg_stdio_src(&info, file);
        jpeg_read_header(&info, TRUE);
        read_jpeg_pixels(&info, &error, picture);
    }
    jpeg_destroy_decompress(&info);
    free(error.row);
    return picture->pixels != NULL;
}

static int read_png(FILE *file, Picture *picture) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_stdio(&image, file)) return 0;
    image.format = PNG_FORMAT_RGBA, image.flags = PNG_IMAGE_FLAG_16BIT_sRGB;
    picture->width = (int)image.width, picture->height = (int)image.height;
    unsigned char *from = picture->pixels = must(malloc(PNG_IMAGE_SIZE(image))), *to = from;
    if (!png_image_finish_read(&image, NULL, from, 0, NULL)) {
        free(picture->pixels);
        picture->pixels = NULL;
        return 0;
    }
    for (size_t i = (size_t)image.width * image.height; i--; from += 4, to += 3) { /* over white */
        int alpha = from[3];
        for (int c = 0; c < 3; c++) to[c] = (unsigned char)((from[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
    return 1;
}

static int read_picture(const char *path, Picture *picture) {
    unsigned char start[8] = {0};
    FILE *file = fopen(path, "rb");
    *picture = (Picture){0};
    if (!file) return 0;
    size_t length = fread(start, 1, sizeof start, file);
    rewind(file);
    int is_fine = length == sizeof start && !png_sig_cmp(start, 0, sizeof start) ? read_png(file, picture)
                  : start[0] == 0xFF && start[1] == 0xD8                         ? read_jpeg(file, picture)
                                                                                 : 0;
    fclose(file);
    return is_fine;
}

/* ---- the size that the encoder wants ---- */

/* An axis of `from` pixels becomes one of `to`. Shrunk, new pixel i is the mean of those under it, each with the share
 * that it covers; stretched, it lies between two. All is counted in whole parts of a pixel, so every machine gets the
 * same. */
static long long part_of(int from, int to, int i, int pixel) {
    if (to <= from) {
        long long start = (long long)i * from, end = start + from, left = (long long)pixel * to, right = left + to;
        return (right < end ? right : end) - (left > start ? left : start);
    }
    long long place = (2LL * i + 1) * from - to, away = llabs((place > 0 ? place : 0) - 2LL * to * pixel);
    return pixel == from - 1 && place > 2LL * to * pixel ? 2LL * to : 2LL * to - away;
}

static int first_under(int from, int to, int i) {
    long long place = (2LL * i + 1) * from - to;
    return (int)(to <= from ? (long long)i * from / to : place > 0 ? place / (2LL * to) : 0);
}

static int end_under(int from, int to, int i) {
    int end = to <= from ? (int)(((long long)(i + 1) * from + to - 1) / to) : first_under(from, to, i) + 2;
    return end < from ? end : from;
}

static int divided(long long a, long long b) { return (2 * a + b) / (2 * b) > 0 ? (int)((2 * a + b) / (2 * b)) : 1; }

/* The middle of the picture, as wide for its height as the encoder's pictures are. */
static void fit(const Picture *from, unsigned char *to) {
    int height = from->height, width = from->width;
    if ((long long)width * HEIGHT > (long long)height * WIDTH)
        width = divided((long long)height * WIDTH, HEIGHT);
    else
        height = divided((long long)width * HEIGHT, WIDTH);
    int top = (from->height - height) / 2, left = (from->width - width) / 2;
    long long total = (HEIGHT <= height ? height : 2LL * HEIGHT) * (WIDTH <= width ? width : 2LL * WIDTH);
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++, to += 3) {
            long long sum[3] = {0};
            for (int v = first_under(height, HEIGHT, y); v < end_under(height, HEIGHT, y); v++)
                for (int u = first_under(width, WIDTH, x); u < end_under(width, WIDTH, x); u++) {
                    long long part = part_of(height, HEIGHT, y, v) * part_of(width, WIDTH, x, u);
                    size_t place = (size_t)(top + v) * (size_t)from->width + (size_t)(left + u);
                    for (int c = 0; c < 3; c++) sum[c] += part * from->pixels[3 * place + (size_t)c];
                }
            for (int c = 0; c < 3; c++) to[c] = (unsigned char)((sum[c] + total / 2) / total);
        }
}

/* ---- the album ---- */

static int is_picture_name(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

static void add_entry(Album *album, char *path) {
    if (album->count == album->capacity) {
        album->capacity = album->capacity ? 2 * album->capacity : 64;
        album->entries = must(realloc(album->entries, album->capacity * sizeof *album->entries));
    }
    album->entries[album->count++] = (Entry){.path = path};
}

static void find_pictures(Album *album, const char *folder) {
    DIR *directory = opendir(folder);
    if (!directory) fprintf(stderr, "search: cannot read the folder %s\n", folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct stat status;
        if (entry->d_name[0] == '.') continue;
        char *path = must(malloc(strlen(folder) + strlen(entry->d_name) + 2));
        sprintf(path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/", entry->d_name);
        int is_kept = !stat(path, &status) && S_ISREG(status.st_mode) && is_picture_name(path);
        if (is_kept)
            add_entry(album, path);
        else if (!lstat(path, &status) && S_ISDIR(status.st_mode)) /* a link may lead back to where it stands */
            find_pictures(album, path);
        if (!is_kept) free(path);
    }
    if (directory) closedir(directory);
}

/* The same file, be it by another path, or a copy of it. */
static int is_same(const char *a, const char *b) {
    struct stat one, other;
    if (stat(a, &one) || stat(b, &other)) return 0;
    if (one.st_dev == other.st_dev && one.st_ino == other.st_ino) return 1;
    FILE *first = one.st_size == other.st_size ? fopen(a, "rb") : NULL, *second = first ? fopen(b, "rb") : NULL;
    int byte = EOF, is_equal = first && second;
    do {
        if (is_equal) byte = getc(first), is_equal = byte == getc(second);
    } while (is_equal && byte != EOF);
    if (first) fclose(first);
    if (second) fclose(second);
    return is_equal;
}

/* Nobody who looks for pictures like one wants to see that one again. */
static void leave_out(Album *album, const char *path) {
    size_t kept = 0;
    for (size_t i = 0; i < album->count; i++)
        if (is_same(album->entries[i].path, path))
            free(album->entries[i].path);
        else
            album->entries[kept++] = album->entries[i];
    album->count = kept;
}

/* Features of length 1. */
static void encode(const unsigned char *pictures, size_t count, Entry *const *entries) {
    static float features[BATCH][FEATURES];
    static void *workspace;
    if (!workspace) workspace = must(malloc(SIMCLR_ENCODE_WORKSPACE(BATCH) + 1));
    if (simclr_encode(pictures, features[0], count, workspace)) {
        fputs("search: the encoder did not accept the pictures\n", stderr);
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        double square = 0;
        for (int k = 0; k < FEATURES; k++) square += (double)features[i][k] * features[i][k];
        for (int k = 0; k < FEATURES; k++)
            entries[i]->features[k] = (float)(features[i][k] / fmax(sqrt(square), 1e-20));
    }
}

/* Those that cannot be read are named and left out. */
static void encode_all(Album *album) {
    static unsigned char pictures[BATCH][HEIGHT * WIDTH * 3];
    Entry *waiting[BATCH];
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < album->count; i++) {
        Picture picture;
        Entry *entry = &album->entries[kept];
        *entry = album->entries[i];
        if (!read_picture(entry->path, &picture)) {
            fprintf(stderr, "search: %s is no picture that can be read\n", entry->path);
            free(entry->path);
            continue;
        }
        fit(&picture, pictures[count]);
        free(picture.pixels);
        waiting[count++] = entry;
        kept++;
        if (count < BATCH) continue;
        encode(pictures[0], count, waiting);
        count = 0;
    }
    if (count) encode(pictures[0], count, waiting);
    album->count = kept;
}

static int by_similarity(const void *x, const void *y) {
    const Entry *a = x, *b = y;
    if (a->similarity != b->similarity) return a->similarity < b->similarity ? 1 : -1;
    return strcmp(a->path, b->path);
}

/* ---- what was found ---- */

/* A path as part of an address. */
static void write_address(const char *path, FILE *out) {
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        int is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("/._-~", c);
        fprintf(out, is_plain ? "%c" : "%%%02X", c);
    }
}

static void write_page(const char *page, const char *wanted, const Album *album) {
    FILE *out = fopen(page, "w");
    if (!out) {
        perror(page);
        exit(1);
    }
    fputs("<!doctype html><meta charset=utf-8><meta name=viewport "
          "content=\"width=device-width\"><title>Neighbours</title>"
          "<style>body{font:16px sans-serif;margin:1em;color-scheme:light dark}figure{display:inline-block;margin:.5em}"
          "img{height:10em;image-rendering:auto}</style>",
          out);
    for (size_t i = 0; i <= album->count && i <= SHOWN; i++) {
        const char *path = i ? album->entries[i - 1].path : wanted;
        char *full = realpath(path, NULL);
        fputs("<figure><img alt=\"\" src=\"file://", out);
        write_address(full ? full : path, out);
        fputs("\"><figcaption>", out);
        if (i)
            fprintf(out, "%.3f", album->entries[i - 1].similarity);
        else
            fputs("like this:", out);
        fputs("</figcaption></figure>\n", out);
        free(full);
    }
    fclose(out);
    printf("%s\n", page);
}

int main(int count, char **arguments) {
    if (count < 3 || count > 4) {
        fputs("usage: search PICTURE FOLDER [PAGE.html]\n", stderr);
        return 2;
    }
    Album album = {0}, wanted = {0};
    add_entry(&wanted, must(strdup(arguments[1])));
    encode_all(&wanted);
    if (!wanted.count) return 1;
    find_pictures(&album, arguments[2]);
    leave_out(&album, arguments[1]);
    encode_all(&album);
    if (!album.count) return fprintf(stderr, "search: there are no other pictures in %s\n", arguments[2]), 1;
    for (size_t i = 0; i < album.count; i++)
        for (int k = 0; k < FEATURES; k++)
            album.entries[i].similarity += wanted.entries[0].features[k] * album.entries[i].features[k];
    qsort(album.entries, album.count, sizeof *album.entries, by_similarity);
    for (size_t i = 0; i < album.count && i < SHOWN; i++)
        printf("%.3f  %s\n", album.entries[i].similarity, album.entries[i].path);
    if (count == 4) write_page(arguments[3], arguments[1], &album);
    for (size_t i = 0; i < album.count; i++) free(album.entries[i].path);
    free(album.entries);
    free(wanted.entries[0].path);
    free(wanted.entries);
    return 0;
}
