/* 8-bit PNG pictures through libpng, written atomically as every file. */
#include "runtime/data/file.h"

#include <png.h>
#include <stdlib.h>

static void png_write_bytes(png_structp png, png_bytep bytes, size_t size) {
    file_write(png_get_io_ptr(png), bytes, size);
}
static void png_flush_nothing(png_structp png) { (void)png; }
static void png_warn_nothing(png_structp png, png_const_charp text) { (void)png, (void)text; }

/* libpng reports by longjmp: nothing that changes after setjmp is used behind it. */
static bool png_encode(FileWriter *writer, const uint8_t *pixels, int width, int height, int channels) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, png_warn_nothing);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return false;
    }
    png_set_write_fn(png, writer, png_write_bytes, png_flush_nothing);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8,
                 channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < height; y++) png_write_row(png, pixels + (size_t)y * (size_t)width * (size_t)channels);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return true;
}

int selfc_png_write(const char *path, const uint8_t *pixels, int width, int height, int channels) {
    FileWriter writer;
    if (width < 1 || height < 1 || (channels != 1 && channels != 3)) {
        selfc_fail("cannot write %s: a picture of %d x %d with %d channels", path, width, height, channels);
        return -1;
    }
    if (!file_begin(&writer, path)) return -1;
    if (png_encode(&writer, pixels, width, height, channels)) return file_commit(&writer);
    file_abandon(&writer);
    selfc_fail("cannot write %s: libpng failed", path);
    return -1;
}

int selfc_png_encode(const uint8_t *pixels, int width, int height, int channels, void **bytes, size_t *size) {
    char *text = NULL;
    FileWriter writer = {.out = open_memstream(&text, size)};
    bool is_fine = writer.out && png_encode(&writer, pixels, width, height, channels) && !writer.error;
    if (writer.out) fclose(writer.out);
    *bytes = is_fine ? text : NULL;
    if (is_fine) return 0;
    free(text);
    selfc_fail("cannot make a picture of %d x %d: no memory, or libpng failed", width, height);
    return -1;
}
