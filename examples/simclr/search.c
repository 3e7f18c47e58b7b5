/* Finds the pictures in a folder that are most like one: `search PICTURE FOLDER [PAGE.html]`.
 *
 * The encoder is an object that selfc built, linked in: encoder.o and encoder.h, with the weights inside. This program
 * brings pictures to the size that it wants (the middle of each, shrunk or stretched), asks for their features, and
 * compares those by the cosine of their angle. PICTURE itself, and copies of it, are left out. See README.md beside
 * this file. */
#include "encoder.h"

#include <dirent.h>
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <jpeglib.h>
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
} JpegError;

static void jpeg_give_up(j_common_ptr info) { longjmp(((JpegError *)info->err)->jump, 1); }
static void jpeg_say_nothing(j_common_ptr info) { (void)info; }

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
            if (tiff_number(tiff + at, 2, tiff[0] == 'I') == 0x0112 && value >= 1 && value <= 8) return (int)value;
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

static int read_jpeg(FILE *file, Picture *picture) {
    struct jpeg_decompress_struct info;
    JpegError error;
    info.err = jpeg_std_error(&error.manager);
    error.manager.error_exit = jpeg_give_up;
    error.manager.output_message = jpeg_say_nothing;
    if (setjmp(error.jump)) {
        jpeg_destroy_decompress(&info);
        free(picture->pixels);
        picture->pixels = NULL;
        return 0;
    }
    jpeg_create_decompress(&info);
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_stdio_src(&info, file);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB;
    while (info.scale_denom < 8 && (int)info.image_height / (int)info.scale_denom >= 4 * HEIGHT &&
           (int)info.image_width / (int)info.scale_denom >= 4 * WIDTH)
        info.scale_denom *= 2;
    jpeg_start_decompress(&info);
    picture->width = (int)info.output_width, picture->height = (int)info.output_height;
    picture->pixels = must(malloc((size_t)picture->width * (size_t)picture->height * 3));
    while (info.output_scanline < info.output_height) {
        JSAMPROW row = picture->pixels + (size_t)info.output_scanline * (size_t)picture->width * 3;
        jpeg_read_scanlines(&info, &row, 1);
    }
    turn_upright(picture, read_orientation(&info));
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    return 1;
}

static int read_png(FILE *file, Picture *picture) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    png_color white = {255, 255, 255};
    if (!png_image_begin_read_from_stdio(&image, file)) return 0;
    image.format = PNG_FORMAT_RGB;
    picture->width = (int)image.width, picture->height = (int)image.height;
    picture->pixels = must(malloc(PNG_IMAGE_SIZE(image)));
    if (png_image_finish_read(&image, &white, picture->pixels, 0, NULL)) return 1;
    free(picture->pixels);
    picture->pixels = NULL;
    return 0;
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

/* The middle of the picture, as wide for its height as the encoder's pictures are: each pixel is the mean of the
 * pixels under it. */
static void fit(const Picture *from, unsigned char *to) {
    double scale = fmin((double)from->width / WIDTH, (double)from->height / HEIGHT);
    double left = (from->width - scale * WIDTH) / 2, top = (from->height - scale * HEIGHT) / 2;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            int x0 = (int)(left + x * scale), x1 = (int)ceil(left + (x + 1) * scale), y0 = (int)(top + y * scale),
                y1 = (int)ceil(top + (y + 1) * scale);
            double sum[3] = {0}, area = 0;
            for (int v = y0; v < y1 && v < from->height; v++)
                for (int u = x0; u < x1 && u < from->width; u++) {
                    double wide = fmin(u + 1, left + (x + 1) * scale) - fmax(u, left + x * scale);
                    double high = fmin(v + 1, top + (y + 1) * scale) - fmax(v, top + y * scale);
                    const unsigned char *pixel = from->pixels + ((size_t)v * (size_t)from->width + (size_t)u) * 3;
                    for (int c = 0; c < 3; c++) sum[c] += wide * high * pixel[c];
                    area += wide * high;
                }
            for (int c = 0; c < 3; c++) to[(y * WIDTH + x) * 3 + c] = (unsigned char)(sum[c] / area + 0.5);
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
    find_pictures(&album, arguments[2]);
    leave_out(&album, arguments[1]);
    encode_all(&album);
    if (!wanted.count) return 1;
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
