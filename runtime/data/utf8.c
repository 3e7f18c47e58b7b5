/* Checks UTF-8 (RFC 3629): what a second byte may be depends on the first, and that alone keeps out overlong forms,
 * surrogates and what lies above U+10FFFF. Most text is ASCII, and passes eight bytes at a time. */
#include "runtime/data/utf8.h"

#include <string.h>

/* Bytes of the character at `at`; 0: it is none. */
static int utf8_character(const unsigned char *at, int64_t length) {
    unsigned char first = at[0], least = 0x80, most = 0xBF;
    int bytes = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (bytes < 2) return bytes;
    if (first == 0xE0) least = 0xA0;
    if (first == 0xED) most = 0x9F;
    if (first == 0xF0) least = 0x90;
    if (first == 0xF4) most = 0x8F;
    if (length < bytes || at[1] < least || at[1] > most) return 0;
    for (int i = 2; i < bytes; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    return bytes;
}

int64_t utf8_valid(const char *text, int64_t length) {
    const unsigned char *at = (const unsigned char *)text;
    int64_t place = 0;
    while (place < length) {
        uint64_t eight;
        if (length - place >= 8 && (memcpy(&eight, at + place, 8), !(eight & 0x8080808080808080u))) {
            place += 8;
            continue;
        }
        int bytes = utf8_character(at + place, length - place);
        if (!bytes) return place;
        place += bytes;
    }
    return place;
}

uint32_t utf8_get(const char *text, size_t *length) {
    uint32_t code = (uint8_t)text[0];
    *length = code < 0x80 ? 1 : code < 0xE0 ? 2 : code < 0xF0 ? 3 : 4;
    if (*length > 1) code &= 0x7Fu >> *length;
    for (size_t i = 1; i < *length; i++) code = code << 6 | ((uint8_t)text[i] & 63);
    return code;
}

size_t utf8_put(char *out, uint32_t code) {
    if (code < 0x80) return out[0] = (char)code, 1;
    size_t follow = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    out[0] = (char)((follow == 1 ? 0xC0 : follow == 2 ? 0xE0 : 0xF0) | code >> 6 * follow);
    for (size_t i = 1; i <= follow; i++) out[i] = (char)(0x80 | (code >> 6 * (follow - i) & 63));
    return follow + 1;
}
