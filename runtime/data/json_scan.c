/* Scanning and writing JSON pieces: strict (RFC 8259), valid UTF-8 only, no recursion, never past the end. */
#include "runtime/data/json_scan.h"
#include "runtime/data/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

JsonScan json_begin(const char *text, size_t size) { return (JsonScan){text, text, text + size}; }

void json_skip_space(JsonScan *scan) {
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
}

bool json_take(JsonScan *scan, char wanted) {
    json_skip_space(scan);
    if (scan->at == scan->end || *scan->at != wanted) return false;
    scan->at++;
    return true;
}

static int json_hex(char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
    return letter >= 'A' && letter <= 'F' ? letter - 'A' + 10 : -1;
}

static bool json_four_digits(JsonScan *scan, uint32_t *code) {
    *code = 0;
    if (scan->end - scan->at < 4) return false;
    for (int i = 0; i < 4; i++) {
        int digit = json_hex(*scan->at++);
        if (digit < 0) return false;
        *code = *code << 4 | (uint32_t)digit;
    }
    return true;
}

/* Behind "\u": writes the character, of a pair of surrogates both. 0: invalid. */
static size_t json_unicode_escape(JsonScan *scan, char *out) {
    uint32_t code, low;
    if (!json_four_digits(scan, &code) || code == 0 || (code >= 0xDC00 && code < 0xE000)) return 0;
    if (code >= 0xD800 && code < 0xDC00) {
        if (scan->end - scan->at < 6 || scan->at[0] != '\\' || scan->at[1] != 'u') return 0;
        scan->at += 2;
        if (!json_four_digits(scan, &low) || low < 0xDC00 || low >= 0xE000) return 0;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    return utf8_put(out, code);
}

static size_t json_escape(JsonScan *scan, char *out) {
    static const char letter[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    if (scan->at == scan->end) return 0;
    char kind = *scan->at++;
    if (kind == 'u') return json_unicode_escape(scan, out);
    const char *found = kind ? strchr(letter, kind) : NULL;
    if (!found) return 0;
    *out = meaning[found - letter];
    return 1;
}

/* Copies one UTF-8 character that is not ASCII. 0: invalid (overlong, a surrogate, too large, cut off). */
static size_t json_utf8(JsonScan *scan, char *out) {
    unsigned char first = (unsigned char)*scan->at;
    size_t length = first >= 0xF0 && first < 0xF5 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first >= 0xF5 || (size_t)(scan->end - scan->at) < length) return 0;
    uint32_t code = first & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        unsigned char next = (unsigned char)scan->at[i];
        if ((next & 0xC0) != 0x80) return 0;
        code = code << 6 | (next & 63);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return 0;
    memcpy(out, scan->at, length);
    scan->at += length;
    return length;
}

/* One character of a string to out (room for 4). 0: invalid. */
static size_t json_character(JsonScan *scan, char *out) {
    unsigned char byte = (unsigned char)*scan->at;
    if (byte >= 0x80) return json_utf8(scan, out);
    if (byte < 0x20) return 0;
    scan->at++;
    if (byte == '\\') return json_escape(scan, out);
    *out = (char)byte;
    return 1;
}

/* out may be NULL; keeps what fits, with a zero behind it. Returns the whole length, or -1. */
static ptrdiff_t json_read_string(JsonScan *scan, char *out, size_t size) {
    size_t length = 0;
    if (!json_take(scan, '"')) return -1;
    while (scan->at < scan->end && *scan->at != '"') {
        char character[4];
        size_t bytes = json_character(scan, character);
        if (!bytes) return -1;
        if (out && length + bytes < size) memcpy(out + length, character, bytes);
        length += bytes;
    }
    if (out && length < size) out[length] = 0;
    return json_take(scan, '"') ? (ptrdiff_t)length : -1;
}

bool json_skip_string(JsonScan *scan) { return json_read_string(scan, NULL, 0) >= 0; }

bool json_string_into(JsonScan *scan, char *out, size_t size) {
    ptrdiff_t length = json_read_string(scan, out, size);
    return length >= 0 && (size_t)length < size;
}

char *json_string(JsonScan *scan) {
    JsonScan ahead = *scan;
    ptrdiff_t length = json_read_string(&ahead, NULL, 0);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (!text) {
        *scan = ahead;
        return NULL;
    }
    json_read_string(scan, text, (size_t)length + 1);
    return text;
}

bool json_whole_number(JsonScan *scan, uint64_t *number) {
    json_skip_space(scan);
    const char *first = scan->at;
    for (*number = 0; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++)
        if (__builtin_mul_overflow(*number, 10u, number) ||
            __builtin_add_overflow(*number, (uint64_t)(*scan->at - '0'), number))
            return false;
    return scan->at > first && (*first != '0' || scan->at == first + 1);
}

bool json_number(JsonScan *scan, double *number) {
    char text[64];
    size_t length = 0;
    json_skip_space(scan);
    if (scan->end - scan->at >= 4 && !memcmp(scan->at, "null", 4)) {
        scan->at += 4;
        *number = NAN;
        return true;
    }
    while (scan->at < scan->end && *scan->at && strchr("+-.0123456789eE", *scan->at) && length + 1 < sizeof text)
        text[length++] = *scan->at++;
    text[length] = 0;
    char *end;
    *number = strtod(text, &end);
    return length && !*end;
}

bool json_word(JsonScan *scan, const char *word) {
    size_t length = strlen(word);
    json_skip_space(scan);
    if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length)) return false;
    scan->at += length;
    return true;
}

static bool json_skip_plain(JsonScan *scan) {
    double number;
    if (scan->at < scan->end && *scan->at == '"') return json_skip_string(scan);
    return json_word(scan, "true") || json_word(scan, "false") || json_number(scan, &number);
}

/* Brackets are counted, and not matched with one another: what is skipped matters to nobody, and nesting costs nothing.
 */
bool json_skip_value(JsonScan *scan) {
    size_t depth = 0;
    do {
        json_skip_space(scan);
        if (scan->at == scan->end) return false;
        char byte = *scan->at;
        if (byte == '{' || byte == '[') {
            depth++;
            scan->at++;
        } else if (depth && (byte == '}' || byte == ']')) {
            depth--;
            scan->at++;
        } else if (depth && (byte == ',' || byte == ':')) {
            scan->at++;
        } else if (!json_skip_plain(scan)) {
            return false;
        }
    } while (depth);
    return true;
}

void json_put_string(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte < 0x20)
            fprintf(out, "\\u%04x", byte);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}
