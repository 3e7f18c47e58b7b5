/* libFuzzer: any bytes as a PNG or JPEG file, put into boxes that their first byte chooses. A picture that is accepted
 * must be of the size that it says, and what is put into the box must not be larger than it. */
#include "runtime/data/picture.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_box(const uint8_t *bytes, size_t size, const PictureBox *box) {
    char reason[PICTURE_REASON] = "";
    Picture picture;
    int32_t fitted[2];
    int64_t height, width;
    if (!picture_decode(bytes, size, box, &picture, reason)) {
        if (!*reason || picture.pixels) abort();
        return;
    }
    if (!picture_read_size(bytes, size, &height, &width, reason)) abort();
    if (height != picture.full_height || width != picture.full_width || picture.channels != box->channels) abort();
    volatile uint8_t touched = 0;
    for (int64_t i = 0; i < picture.height * picture.width * picture.channels; i++) touched ^= picture.pixels[i];
    uint8_t *out = malloc((size_t)(box->height * box->width * box->channels));
    if (!picture_fit(&picture, box, out, fitted)) abort();
    if (fitted[0] < 1 || fitted[1] < 1 || fitted[0] > box->height || fitted[1] > box->width) abort();
    free(out);
    free(picture.pixels);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size < 2) return 0;
    PictureBox box = {.height = 1 + bytes[0] % 8 * 9,
                      .width = 1 + bytes[0] / 8 % 8 * 9,
                      .channels = bytes[0] & 64 ? 3 : 1,
                      .fill = bytes[0] & 128};
    fuzz_box(bytes + 1, size - 1, &box);
    return 0;
}
