/* One picture: from the bytes of a PNG or JPEG file to a box of pixels. Private to the runtime. */
#ifndef SELFC_RUNTIME_PICTURE_H
#define SELFC_RUNTIME_PICTURE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PICTURE_REASON = 256,             /* bytes for a text that says what is wrong */
    PICTURE_LARGEST_SIDE = 65535,     /* of a picture in a file; JPEG knows no larger one */
    PICTURE_LARGEST_PIXELS = 1 << 27, /* height times width; a progressive JPEG takes 6 bytes for each, or 8 */
    PICTURE_LARGEST_FILE = 1 << 28    /* bytes */
};

/* What a picture is put into. */
typedef struct {
    int64_t height, width, channels; /* channels: 1 (grey) or 3 */
    bool fill;                       /* cropped to the box's aspect and resized to it; else shrunk until it fits */
} PictureBox;

typedef struct {
    int64_t height, width, channels;
    int64_t full_height, full_width; /* before a decoder made it smaller */
    uint8_t *pixels;                 /* height * width * channels; free() */
} Picture;

/* picture_decode.c. False with a reason: what is wrong with the bytes. */

/* Of a file that begins with these bytes, as it is to be looked at (JPEGs may say that they lie on their side). */
bool picture_read_size(const uint8_t *bytes, size_t size, int64_t *height, int64_t *width, char reason[PICTURE_REASON]);
/* Grey or colours as the box wants; alpha is laid over white. A JPEG that is much larger than what the box makes of it
 * may come smaller than it is, by a power of two. */
bool picture_decode(const uint8_t *bytes, size_t size, const PictureBox *box, Picture *picture,
                    char reason[PICTURE_REASON]);
/* Whether a file that begins so is PNG or JPEG. */
bool picture_is_known(const uint8_t *bytes, size_t size);

/* picture_fit.c */

/* The size that a picture has in the box. */
void picture_fitted_size(const PictureBox *box, int64_t height, int64_t width, int64_t fitted[2]);
/* Writes all of the box: height * width * channels bytes. The picture has the box's channels. False: no memory. */
bool picture_fit(const Picture *picture, const PictureBox *box, uint8_t *out, int32_t size[2]);
/* A picture at the top left of a box of this width: its lines come to stand one behind the other. */
void picture_close_up(const Picture *picture, int64_t box_width);
#endif
