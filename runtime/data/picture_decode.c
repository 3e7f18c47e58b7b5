/* From the bytes of a file to pixels, by libpng and libjpeg. Every file is hostile: what it declares is compared with
 * what so few bytes could hold before memory is taken for it, and both libraries report by longjmp to where they were
 * called. What changes between setjmp and a jump lives in a structure, not in local variables. */
#include "runtime/data/picture.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* These need what stands above. */
#include <jpeglib.h>

#include <jerror.h>

enum { DECODE_SCANS = 200 }; /* of a progressive JPEG; each walks over the whole picture */

typedef struct {
    const uint8_t *bytes;
    size_t size, used;
    const PictureBox *box; /* NULL: only the size is wanted */
    Picture *picture;
    char *reason;
    uint8_t *line; /* one row before it becomes the picture's */
    int orientation;
    bool is_whole; /* all of it came */
    jmp_buf jump;
} Decoder;

static bool decode_fail(const Decoder *decoder, const char *reason) {
    snprintf(decoder->reason, PICTURE_REASON, "%s", reason);
    return false;
}

bool picture_is_known(const uint8_t *bytes, size_t size) {
    return (size >= 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8)) || (size >= 3 && !memcmp(bytes, "\xff\xd8\xff", 3));
}

/* Jumps back out of the libraries; the reason is said already. */
_Noreturn static void decode_stop(Decoder *decoder) { longjmp(decoder->jump, 1); }

/* Whether so many bytes can hold the picture, at most so many pixels each. */
static bool decode_check_size(const Decoder *decoder, int64_t pixels_a_byte) {
    int64_t height = decoder->picture->full_height, width = decoder->picture->full_width;
    if (height < 1 || width < 1 || height > PICTURE_LARGEST_SIDE || width > PICTURE_LARGEST_SIDE ||
        height * width > PICTURE_LARGEST_PIXELS) {
        snprintf(decoder->reason, PICTURE_REASON,
                 "it is said to have %lld x %lld pixels, more than %d in all or %d a side", (long long)width,
                 (long long)height, PICTURE_LARGEST_PIXELS, PICTURE_LARGEST_SIDE);
        return false;
    }
    if (height * width / pixels_a_byte > (int64_t)decoder->size) {
        snprintf(decoder->reason, PICTURE_REASON,
                 "its %zu bytes cannot hold the %lld x %lld pixels that it is said to have", decoder->size,
                 (long long)width, (long long)height);
        return false;
    }
    return true;
}

static void decode_allocate(Decoder *decoder, int64_t height, int64_t width) {
    Picture *picture = decoder->picture;
    picture->height = height;
    picture->width = width;
    picture->channels = decoder->box->channels;
    picture->pixels = malloc((size_t)(height * width * picture->channels));
    if (picture->pixels) return;
    decode_fail(decoder, "no memory for its pixels");
    decode_stop(decoder);
}

/* Weights of ITU-R BT.601, as JPEG's own luma has them. */
static uint8_t decode_grey(const uint8_t rgb[3]) {
    return (uint8_t)((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
}

static void decode_put(Picture *picture, uint8_t *to, const uint8_t rgb[3]) {
    if (picture->channels == 1)
        *to = decode_grey(rgb);
    else
        memcpy(to, rgb, 3);
}

/* --- PNG --- */

static void decode_png_error(png_structp png, png_const_charp text) {
    Decoder *decoder = png_get_error_ptr(png);
    decode_fail(decoder, text);
    decode_stop(decoder);
}

static void decode_png_warning(png_structp png, png_const_charp text) { (void)png, (void)text; }

static void decode_png_read(png_structp png, png_bytep to, size_t count) {
    Decoder *decoder = png_get_io_ptr(png);
    if (count > decoder->size - decoder->used) png_error(png, "premature end");
    memcpy(to, decoder->bytes + decoder->used, count);
    decoder->used += count;
}

/* A row of 8-bit grey, grey and alpha, RGB, or RGB and alpha, laid over white. */
static void decode_png_row(Picture *picture, int64_t y, const uint8_t *row, int parts) {
    uint8_t *to = picture->pixels + y * picture->width * picture->channels;
    for (int64_t x = 0; x < picture->width; x++, row += parts, to += picture->channels) {
        int colours = parts < 3 ? 1 : 3, alpha = parts == 2 || parts == 4 ? row[colours] : 255;
        uint8_t rgb[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)((row[colours == 1 ? 0 : c] * alpha + 255 * (255 - alpha) + 127) / 255);
        if (colours == 1)
            memset(to, rgb[0], (size_t)picture->channels);
        else
            decode_put(picture, to, rgb);
    }
}

static void decode_png_pixels(Decoder *decoder, png_structp png, png_infop info) {
    Picture *picture = decoder->picture;
    png_set_expand(png);
    png_set_scale_16(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    int parts = png_get_channels(png, info);
    size_t row_bytes = png_get_rowbytes(png, info);
    size_t rows = passes > 1 ? (size_t)picture->height : 1; /* interlaced, all rows grow at once */
    decoder->line = malloc(rows * row_bytes);
    if (!decoder->line || row_bytes != (size_t)(picture->width * parts)) png_error(png, "no memory for its rows");
    for (int pass = 0; pass < passes; pass++)
        for (int64_t y = 0; y < picture->height; y++) {
            uint8_t *line = decoder->line + (passes > 1 ? (size_t)y * row_bytes : 0);
            png_read_row(png, line, NULL);
            if (pass == passes - 1) decode_png_row(picture, y, line, parts);
        }
    png_read_end(png, NULL);
}

/* Deflate packs at most about 1032 to 1, and a pixel may be a single bit. */
static void decode_png_all(Decoder *decoder, png_structp png, png_infop info) {
    enum { PNG_PIXELS_A_BYTE = 1032 * 8 };
    png_set_read_fn(png, decoder, decode_png_read);
    png_set_user_limits(png, PICTURE_LARGEST_SIDE, PICTURE_LARGEST_SIDE);
    png_set_chunk_malloc_max(png, 1 << 24);
    png_set_chunk_cache_max(png, 1); /* texts are left out: a small file may have many that unpack to much */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
    png_read_info(png, info);
    Picture *picture = decoder->picture;
    picture->full_height = png_get_image_height(png, info);
    picture->full_width = png_get_image_width(png, info);
    if (decoder->box) {
        int64_t pixels_a_byte = PNG_PIXELS_A_BYTE / (png_get_bit_depth(png, info) * png_get_channels(png, info));
        if (!decode_check_size(decoder, pixels_a_byte + 1)) decode_stop(decoder);
        decode_allocate(decoder, picture->full_height, picture->full_width);
        decode_png_pixels(decoder, png, info);
    }
    decoder->is_whole = true;
}

static bool decode_png(Decoder *decoder) {
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, decoder, decode_png_error, decode_png_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info)
        decode_fail(decoder, "no memory");
    else if (!setjmp(decoder->jump))
        decode_png_all(decoder, png, info);
    png_destroy_read_struct(&png, &info, NULL);
    return decoder->is_whole;
}

/* --- JPEG --- */

typedef struct {
    struct jpeg_error_mgr errors; /* first: what libjpeg knows of this structure */
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct jpeg;
    Decoder *decoder;
} JpegDecoder;

static void decode_jpeg_error(j_common_ptr common) {
    JpegDecoder *jpeg = (JpegDecoder *)common->err;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    decode_fail(jpeg->decoder, text);
    decode_stop(jpeg->decoder);
}

/* Some warnings are about what a decoder may well not care for; the others mean that pixels were made up. */
static bool decode_jpeg_is_harmless(int code) {
    return code == JWRN_ADOBE_XFORM || code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR ||
           code == JWRN_TOO_MUCH_DATA;
}

static void decode_jpeg_message(j_common_ptr common, int level) {
    if (level >= 0 || decode_jpeg_is_harmless(common->err->msg_code)) return;
    if (common->err->msg_code == JWRN_JPEG_EOF || common->err->msg_code == JWRN_HIT_MARKER) {
        JpegDecoder *jpeg = (JpegDecoder *)common->err;
        decode_fail(jpeg->decoder, "premature end");
        decode_stop(jpeg->decoder);
    }
    decode_jpeg_error(common);
}

static void decode_jpeg_progress(j_common_ptr common) {
    JpegDecoder *jpeg = (JpegDecoder *)common->err;
    if (jpeg->jpeg.input_scan_number <= DECODE_SCANS) return;
    decode_fail(jpeg->decoder, "more scans than a picture needs");
    decode_stop(jpeg->decoder);
}

static unsigned decode_tiff_number(const uint8_t *at, int bytes, bool is_little) {
    unsigned number = 0;
    for (int i = 0; i < bytes; i++) number = number << 8 | at[is_little ? bytes - 1 - i : i];
    return number;
}

/* Exif is a TIFF file in a marker; its first list of entries, each of 12 bytes, may say how the camera was held. */
static int decode_orientation(const uint8_t *exif, size_t size) {
    enum { EXIF_START = 6, EXIF_ORIENTATION = 0x0112, EXIF_SHORT = 3 };
    if (size < EXIF_START + 8 || memcmp(exif, "Exif\0\0", EXIF_START)) return 1;
    const uint8_t *tiff = exif + EXIF_START;
    size -= EXIF_START;
    bool is_little = tiff[0] == 'I';
    if (memcmp(tiff, is_little ? "II*\0" : "MM\0*", 4)) return 1;
    size_t at = decode_tiff_number(tiff + 4, 4, is_little);
    if (at > size - 2) return 1;
    unsigned entries = decode_tiff_number(tiff + at, 2, is_little);
    for (at += 2; entries-- && at + 12 <= size; at += 12) {
        if (decode_tiff_number(tiff + at, 2, is_little) != EXIF_ORIENTATION) continue;
        unsigned value = decode_tiff_number(tiff + at + 8, 2, is_little);
        bool is_short = decode_tiff_number(tiff + at + 2, 2, is_little) == EXIF_SHORT;
        return is_short && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

static int decode_jpeg_orientation(const struct jpeg_decompress_struct *jpeg) {
    for (jpeg_saved_marker_ptr marker = jpeg->marker_list; marker; marker = marker->next)
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length > 6 && !memcmp(marker->data, "Exif\0\0", 6))
            return decode_orientation(marker->data, marker->data_length);
    return 1;
}

/* Orientations from 5 lie on their side. */
static bool decode_is_turned(const Decoder *decoder) { return decoder->orientation >= 5; }

/* The largest power of two that leaves twice as many pixels a side as are wanted: the mean over areas does the rest. */
static unsigned decode_jpeg_shrink(const Decoder *decoder) {
    int64_t fitted[2], height = decoder->picture->full_height, width = decoder->picture->full_width;
    unsigned shrink = 1;
    picture_fitted_size(decoder->box, height, width, fitted);
    while (shrink < 8 && height / (2 * shrink) >= 2 * fitted[0] && width / (2 * shrink) >= 2 * fitted[1]) shrink *= 2;
    return shrink;
}

/* CMYK to RGB as screens show it; Adobe's programs write it inverted. */
static void decode_cmyk_row(Picture *picture, uint8_t *to, const uint8_t *row, bool is_inverted) {
    for (int64_t x = 0; x < picture->width; x++, row += 4, to += picture->channels) {
        uint8_t rgb[3];
        int white = is_inverted ? row[3] : 255 - row[3];
        for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(((is_inverted ? row[c] : 255 - row[c]) * white + 127) / 255);
        decode_put(picture, to, rgb);
    }
}

static void decode_jpeg_rows(Decoder *decoder, struct jpeg_decompress_struct *jpeg) {
    Picture *picture = decoder->picture;
    bool is_cmyk = jpeg->out_color_space == JCS_CMYK, is_direct = jpeg->output_components == picture->channels;
    if (!is_direct) decoder->line = malloc((size_t)jpeg->output_width * (size_t)jpeg->output_components);
    if (!is_direct && !decoder->line) {
        decode_fail(decoder, "no memory for its rows");
        decode_stop(decoder);
    }
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to = picture->pixels + (int64_t)jpeg->output_scanline * picture->width * picture->channels;
        JSAMPROW row = is_direct ? to : decoder->line;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (is_cmyk) decode_cmyk_row(picture, to, row, jpeg->saw_Adobe_marker);
        for (int64_t x = 0; !is_direct && !is_cmyk && x < picture->width; x++)
            decode_put(picture, to + x * picture->channels, row + 3 * x);
    }
}

/* A block of 64 pixels takes a bit at least. */
static void decode_jpeg_pixels(Decoder *decoder, struct jpeg_decompress_struct *jpeg) {
    enum { JPEG_PIXELS_A_BYTE = 64 * 8 };
    if (!decode_check_size(decoder, JPEG_PIXELS_A_BYTE)) decode_stop(decoder);
    bool has_luma = jpeg->jpeg_color_space == JCS_GRAYSCALE || jpeg->jpeg_color_space == JCS_YCbCr;
    bool has_black = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = has_black ? JCS_CMYK : has_luma && decoder->box->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg->scale_num = 1;
    jpeg->scale_denom = decode_jpeg_shrink(decoder);
    jpeg_calc_output_dimensions(jpeg);
    decode_allocate(decoder, jpeg->output_height, jpeg->output_width);
    jpeg_start_decompress(jpeg);
    decode_jpeg_rows(decoder, jpeg);
    jpeg_finish_decompress(jpeg);
}

static void decode_jpeg_all(Decoder *decoder, struct jpeg_decompress_struct *jpeg) {
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_mem_src(jpeg, decoder->bytes, decoder->size);
    jpeg_read_header(jpeg, TRUE);
    decoder->orientation = decode_jpeg_orientation(jpeg);
    bool is_turned = decode_is_turned(decoder);
    decoder->picture->full_height = is_turned ? jpeg->image_width : jpeg->image_height;
    decoder->picture->full_width = is_turned ? jpeg->image_height : jpeg->image_width;
    if (decoder->box) decode_jpeg_pixels(decoder, jpeg);
    decoder->is_whole = true;
}

static bool decode_jpeg(Decoder *decoder) {
    JpegDecoder jpeg = {.decoder = decoder};
    jpeg.jpeg.err = jpeg_std_error(&jpeg.errors);
    jpeg.errors.error_exit = decode_jpeg_error;
    jpeg.errors.emit_message = decode_jpeg_message;
    jpeg.progress.progress_monitor = decode_jpeg_progress;
    if (!setjmp(decoder->jump)) {
        jpeg_create_decompress(&jpeg.jpeg);
        jpeg.jpeg.progress = &jpeg.progress;
        decode_jpeg_all(decoder, &jpeg.jpeg);
    }
    jpeg_destroy_decompress(&jpeg.jpeg);
    return decoder->is_whole;
}

/* --- as it is to be looked at --- */

/* Exif's orientations: where the pixel at (y, x) of the upright picture is in the stored one of height and width. */
static int64_t decode_stored_place(int orientation, int64_t y, int64_t x, int64_t height, int64_t width) {
    static const bool is_turned[] = {0, 0, 0, 0, 0, 1, 1, 1, 1}, from_bottom[] = {0, 0, 0, 1, 1, 0, 1, 1, 0},
                      from_right[] = {0, 0, 1, 1, 0, 0, 0, 1, 1};
    int64_t row = is_turned[orientation] ? x : y, column = is_turned[orientation] ? y : x;
    if (from_bottom[orientation]) row = height - 1 - row;
    if (from_right[orientation]) column = width - 1 - column;
    return row * width + column;
}

static bool decode_turn(Decoder *decoder) {
    Picture *picture = decoder->picture;
    int64_t height = picture->height, width = picture->width, channels = picture->channels;
    if (decoder->orientation <= 1) return true;
    uint8_t *upright = malloc((size_t)(height * width * channels)), *to = upright;
    if (!upright) return decode_fail(decoder, "no memory to turn it");
    picture->height = decode_is_turned(decoder) ? width : height;
    picture->width = decode_is_turned(decoder) ? height : width;
    for (int64_t y = 0; y < picture->height; y++)
        for (int64_t x = 0; x < picture->width; x++, to += channels)
            memcpy(to, picture->pixels + channels * decode_stored_place(decoder->orientation, y, x, height, width),
                   (size_t)channels);
    free(picture->pixels);
    picture->pixels = upright;
    return true;
}

static bool decode_any(Decoder *decoder) {
    bool is_fine;
    *decoder->picture = (Picture){0};
    if (decoder->size > PICTURE_LARGEST_FILE) return decode_fail(decoder, "larger than any picture should be: 256 MB");
    if (decoder->size == 0) return decode_fail(decoder, "it is empty");
    if (!picture_is_known(decoder->bytes, decoder->size)) return decode_fail(decoder, "neither PNG nor JPEG");
    is_fine = decoder->bytes[0] == 0x89 ? decode_png(decoder) : decode_jpeg(decoder);
    free(decoder->line);
    if (is_fine && decoder->box) is_fine = decode_turn(decoder);
    if (is_fine) return true;
    free(decoder->picture->pixels);
    decoder->picture->pixels = NULL;
    return false;
}

bool picture_decode(const uint8_t *bytes, size_t size, const PictureBox *box, Picture *picture,
                    char reason[PICTURE_REASON]) {
    Decoder decoder = {
        .bytes = bytes, .size = size, .box = box, .picture = picture, .reason = reason, .orientation = 1};
    return decode_any(&decoder);
}

bool picture_read_size(const uint8_t *bytes, size_t size, int64_t *height, int64_t *width,
                       char reason[PICTURE_REASON]) {
    Picture picture;
    Decoder decoder = {.bytes = bytes, .size = size, .picture = &picture, .reason = reason, .orientation = 1};
    if (!decode_any(&decoder)) return false;
    *height = picture.full_height;
    *width = picture.full_width;
    return true;
}
