/* Writes PNG and JPEG files of every kind, for tests of what reads them. */
#ifndef SELFC_TESTS_PICTURE_FILES_H
#define SELFC_TESTS_PICTURE_FILES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *bytes; /* free() */
    size_t size;
} FileBytes;

typedef struct {
    int type, depth; /* as libpng counts them */
    bool is_interlaced;
    const uint8_t (*palette)[4]; /* 1 << depth colours with alpha; NULL: none */
} PngKind;

/* samples: height * width * channels whole numbers of `depth` bits. */
FileBytes png_bytes(const PngKind *kind, int height, int width, const uint16_t *samples);

typedef struct {
    int channels; /* 1, 3, 4 (CMYK) */
    bool is_progressive, is_without_adobe;
    int orientation; /* Exif's; 0: no Exif */
    bool is_big_endian;
    int quality; /* 0: 100, with full colour */
} JpegKind;

FileBytes jpeg_bytes(const JpegKind *kind, int height, int width, const uint8_t *pixels);
void file_put(const char *path, FileBytes file); /* and frees it */
#endif
