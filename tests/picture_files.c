/* Through libpng and libjpeg, in memory. */
#include "tests/picture_files.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Needs what stands above. */
#include <jpeglib.h>

static void png_append(png_structp png, png_bytep bytes, size_t size) {
    FileBytes *file = png_get_io_ptr(png);
    file->bytes = realloc(file->bytes, file->size + size);
    memcpy(file->bytes + file->size, bytes, size);
    file->size += size;
}

static void png_flush_nothing(png_structp png) { (void)png; }

static int png_channels_of(int type) {
    return type == PNG_COLOR_TYPE_RGB ? 3 : type == PNG_COLOR_TYPE_RGBA ? 4 : type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2 : 1;
}

static void png_put_palette(png_structp png, png_infop info, const PngKind *kind) {
    png_color colours[256];
    uint8_t alpha[256];
    for (int i = 0; i < 1 << kind->depth; i++) {
        colours[i] = (png_color){kind->palette[i][0], kind->palette[i][1], kind->palette[i][2]};
        alpha[i] = kind->palette[i][3];
    }
    png_set_PLTE(png, info, colours, 1 << kind->depth);
    png_set_tRNS(png, info, alpha, 1 << kind->depth, NULL);
}

FileBytes png_bytes(const PngKind *kind, int height, int width, const uint16_t *samples) {
    FileBytes file = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png))) abort();
    png_set_write_fn(png, &file, png_append, png_flush_nothing);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, kind->depth, kind->type,
                 kind->is_interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (kind->palette) png_put_palette(png, info, kind);
    png_write_info(png, info);
    if (kind->depth < 8) png_set_packing(png);
    int row_values = width * png_channels_of(kind->type), passes = png_set_interlace_handling(png);
    uint8_t *row = malloc((size_t)row_values * 2);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < height; y++) {
            for (int i = 0; i < row_values; i++) {
                uint16_t value = samples[y * row_values + i];
                if (kind->depth == 16)
                    row[2 * i] = (uint8_t)(value >> 8), row[2 * i + 1] = (uint8_t)value;
                else
                    row[i] = (uint8_t)value;
            }
            png_write_row(png, row);
        }
    png_write_end(png, NULL);
    free(row);
    png_destroy_write_struct(&png, &info);
    return file;
}

/* A TIFF with two entries, of which the second is the orientation. */
static void jpeg_put_exif(struct jpeg_compress_struct *jpeg, const JpegKind *kind) {
    uint8_t little[] = {'E', 'x', 'i', 'f', 0, 0, 'I',  'I', 42, 0, 8, 0, 0, 0, 2, 0, 0x10, 1, 2, 0, 0, 0,
                        0,   0,   0,   0,   0, 0, 0x12, 1,   3,  0, 1, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0, 0};
    uint8_t big[] = {'E', 'x', 'i', 'f', 0, 0, 'M', 'M',  0, 42, 0, 0, 0, 8, 0, 2, 1, 0x10, 0, 2, 0, 0,
                     0,   0,   0,   0,   0, 0, 1,   0x12, 0, 3,  0, 0, 0, 1, 0, 0, 0, 0,    0, 0, 0, 0};
    little[36] = big[37] = (uint8_t)kind->orientation;
    jpeg_write_marker(jpeg, JPEG_APP0 + 1, kind->is_big_endian ? big : little, sizeof little);
}

FileBytes jpeg_bytes(const JpegKind *kind, int height, int width, const uint8_t *pixels) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, &size);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = kind->channels;
    jpeg.in_color_space = kind->channels == 1 ? JCS_GRAYSCALE : kind->channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, kind->quality ? kind->quality : 100, TRUE);
    for (int i = 0; !kind->quality && i < kind->channels; i++)
        jpeg.comp_info[i].h_samp_factor = jpeg.comp_info[i].v_samp_factor = 1;
    if (kind->is_progressive) jpeg_simple_progression(&jpeg);
    if (kind->is_without_adobe) jpeg.write_Adobe_marker = FALSE;
    jpeg_start_compress(&jpeg, TRUE);
    if (kind->orientation) jpeg_put_exif(&jpeg, kind);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row = (JSAMPROW)pixels + (size_t)jpeg.next_scanline * (size_t)(width * kind->channels);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return (FileBytes){bytes, size};
}

void file_put(const char *path, FileBytes file) {
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(file.bytes, 1, file.size, out) != file.size || fclose(out)) {
        fprintf(stderr, "cannot write %s\n", path);
        abort();
    }
    free(file.bytes);
}
