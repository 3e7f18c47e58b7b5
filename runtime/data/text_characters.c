/* The vocabulary of a model of characters: what occurs in the training text. The text is walked through piece by piece
 * and a bit for each code point kept, so memory does not grow with it. */
#include "runtime/data/text_reader.h"
#include "runtime/data/utf8.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { CODE_POINTS = 0x110000 };

static int64_t characters_cut(const void *context, const char *text, int64_t length) {
    (void)context;
    while (length && ((unsigned char)text[length - 1] & 0xC0) == 0x80) length--;
    return length && (unsigned char)text[length - 1] >= 0xC0 ? length - 1 : length;
}

/* Of valid UTF-8. */
static void characters_note(const TextPiece *piece, uint8_t *seen) {
    const unsigned char *at = (const unsigned char *)piece->text, *end = at + piece->length;
    while (at < end) {
        uint32_t code = *at++;
        if (code >= 0xC0) {
            code &= code < 0xE0 ? 31 : code < 0xF0 ? 15 : 7;
            while (at < end && (*at & 0xC0) == 0x80) code = code << 6 | (*at++ & 63u);
        }
        if (code < CODE_POINTS) seen[code / 8] |= (uint8_t)(1u << code % 8);
    }
}

static bool characters_read(const TextFiles *files, uint8_t *seen) {
    TextReader reader;
    TextPiece piece = {0};
    char reason[256];
    int64_t offset;
    bool is_fine;
    text_reader_begin(&reader, files, characters_cut, NULL, "a character");
    while ((is_fine = text_reader_next(&reader, &piece)) && piece.length) {
        if (!text_check_utf8(&piece, &offset, reason)) {
            is_fine = text_fail_at(&files->files[piece.file], offset, reason);
            break;
        }
        characters_note(&piece, seen);
    }
    text_reader_end(&reader);
    free(piece.text);
    return is_fine;
}

SelfcTokenizer *selfc_text_characters(const char *path, const char *unit) {
    uint8_t *seen = calloc(CODE_POINTS / 8, 1);
    char *text = malloc(4 * CODE_POINTS);
    bool is_fine = seen && text;
    int64_t length = 0;
    TextUnit cut = UNIT_stream;
    TextFiles files = {0};
    if (!is_fine) selfc_fail("%s: no memory for its characters", path);
    if (unit) text_unit_find(unit, &cut);
    is_fine = is_fine && text_files_find(&files, path, SELFC_TRAIN, cut, false) && characters_read(&files, seen);
    for (uint32_t code = 0; is_fine && code < CODE_POINTS; code++)
        if (seen[code / 8] >> code % 8 & 1) length += (int64_t)utf8_put(text + length, code);
    SelfcTokenizer *tokenizer = is_fine ? selfc_tokenizer_of_characters(text, length) : NULL;
    text_files_free(&files);
    free(seen);
    free(text);
    return tokenizer;
}
