/* Reads texts piece by piece. Where a piece ends is decided by the text alone, so whoever works on pieces gets the same
 * from any number of threads. A mark of the byte order, which some programs put before UTF-8, is passed over. */
#include "runtime/data/text_reader.h"
#include "runtime/data/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_PIECE = 1 << 18, TEXT_LARGEST_PIECE = 1 << 26 };

void text_reader_begin(TextReader *reader, const TextFiles *files, TextCut *cut, const void *context,
                       const char *ends_at) {
    *reader = (TextReader){.files = files, .cut = cut, .context = context, .ends_at = ends_at, .handle = -1};
    if (files->count) reader->at = files->files[0].begin;
}

static void text_reader_close(TextReader *reader) {
    if (reader->handle >= 0) close(reader->handle);
    reader->handle = -1;
}

void text_reader_end(TextReader *reader) {
    text_reader_close(reader);
    free(reader->rest);
    reader->rest = NULL;
}

static bool text_reader_open(TextReader *reader) {
    const TextFile *file = &reader->files->files[reader->file];
    if (reader->handle >= 0) return true;
    reader->handle = open(file->path, O_RDONLY | O_CLOEXEC);
    if (reader->handle >= 0) return true;
    selfc_fail("cannot read %s: %s", file->path, strerror(errno));
    return false;
}

static void text_reserve(TextPiece *piece, int64_t room) {
    if (piece->room >= room) return;
    piece->text = realloc(piece->text, (size_t)room);
    if (!piece->text) abort();
    piece->room = room;
}

/* Reads until the piece has `wanted` bytes, or the file's part is at its end. */
static bool text_fill(TextReader *reader, TextPiece *piece, int64_t wanted) {
    const TextFile *file = &reader->files->files[reader->file];
    if (!text_reader_open(reader)) return false;
    text_reserve(piece, wanted);
    while (piece->length < wanted && reader->at < file->end) {
        int64_t more = wanted - piece->length, left = file->end - reader->at;
        ssize_t got =
            pread(reader->handle, piece->text + piece->length, (size_t)(more < left ? more : left), (off_t)reader->at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return selfc_fail("cannot read %s: %s", file->path, strerror(errno)), false;
        if (got == 0) return selfc_fail("%s: has become shorter while it was read", file->path), false;
        piece->length += got;
        reader->at += got;
    }
    return true;
}

static void text_next_file(TextReader *reader) {
    text_reader_close(reader);
    reader->file++;
    if (reader->file < reader->files->count) reader->at = reader->files->files[reader->file].begin;
}

/* Leaves what stands behind the cut for the next piece. */
static void text_keep_rest(TextReader *reader, TextPiece *piece, int64_t cut) {
    reader->rest_length = piece->length - cut;
    reader->rest = realloc(reader->rest, (size_t)reader->rest_length + 1);
    if (!reader->rest) abort();
    memcpy(reader->rest, piece->text + cut, (size_t)reader->rest_length);
    piece->length = cut;
}

static void text_pass_mark(TextPiece *piece) {
    if (piece->offset || piece->length < 3 || memcmp(piece->text, "\xEF\xBB\xBF", 3)) return;
    piece->length -= 3;
    piece->offset = 3;
    memmove(piece->text, piece->text + 3, (size_t)piece->length);
}

/* A piece, or nothing where the rest of a file is its mark alone. */
static bool text_reader_take(TextReader *reader, TextPiece *piece) {
    while (reader->file < reader->files->count && !reader->rest_length &&
           reader->at >= reader->files->files[reader->file].end)
        text_next_file(reader);
    if (reader->file >= reader->files->count) return true;
    const TextFile *file = &reader->files->files[reader->file];
    int64_t wanted = reader->rest_length > TEXT_PIECE / 2 ? 2 * reader->rest_length : TEXT_PIECE;
    text_reserve(piece, wanted);
    if (reader->rest_length) memcpy(piece->text, reader->rest, (size_t)reader->rest_length);
    piece->length = reader->rest_length;
    piece->file = reader->file;
    piece->offset = reader->at - reader->rest_length;
    reader->rest_length = 0;
    for (int64_t cut = 0; !cut; wanted *= 2) {
        if (!text_fill(reader, piece, wanted)) return false;
        piece->ends_file = reader->at >= file->end;
        cut = piece->ends_file ? piece->length : reader->cut(reader->context, piece->text, piece->length);
        if (!cut && wanted >= TEXT_LARGEST_PIECE)
            return selfc_fail("%s: %d MB from byte %lld on without %s; this is no text that could be divided",
                              file->path, TEXT_LARGEST_PIECE >> 20, (long long)piece->offset, reader->ends_at),
                   false;
        if (cut) text_keep_rest(reader, piece, cut);
    }
    text_pass_mark(piece);
    if (piece->ends_file) text_next_file(reader);
    return true;
}

bool text_reader_next(TextReader *reader, TextPiece *piece) {
    piece->length = 0;
    while (!piece->length && reader->file < reader->files->count)
        if (!text_reader_take(reader, piece)) return false;
    return true;
}

/* --- lines --- */

int64_t text_cut_lines(const void *context, const char *text, int64_t length) {
    (void)context;
    while (length && text[length - 1] != '\n') length--;
    return length;
}

static bool text_is_blank(const char *line, int64_t length) {
    for (int64_t i = 0; i < length; i++)
        if (!strchr(" \t\r\f\v", line[i]) || !line[i]) return false;
    return true;
}

bool text_next_line(const TextPiece *piece, int64_t *at, const char **line, int64_t *length) {
    while (*at < piece->length) {
        const char *stop = memchr(piece->text + *at, '\n', (size_t)(piece->length - *at));
        *line = piece->text + *at;
        *length = stop ? stop - *line : piece->length - *at;
        *at += *length + (stop != NULL);
        if (*length && (*line)[*length - 1] == '\r') --*length;
        if (!text_is_blank(*line, *length)) return true;
    }
    return false;
}

/* --- what is wrong with texts --- */

bool text_fail_at(const TextFile *file, int64_t offset, const char *reason) {
    int64_t line = 1;
    FILE *in = fopen(file->path, "rbe");
    for (int byte; in && offset-- > 0 && (byte = getc_unlocked(in)) != EOF;) line += byte == '\n';
    if (in) fclose(in);
    selfc_fail("%s:%lld: %s", file->path, (long long)line, reason);
    return false;
}

bool text_check_utf8(const TextPiece *piece, int64_t *offset, char *reason) {
    int64_t valid = utf8_valid(piece->text, piece->length);
    if (valid == piece->length) return true;
    const unsigned char *at = (const unsigned char *)piece->text;
    bool is_utf16 = !piece->offset && piece->length >= 2 && at[0] + at[1] == 0xFF + 0xFE;
    *offset = piece->offset + valid;
    snprintf(reason, 256, "byte %lld of the file, 0x%02X, is no UTF-8%s; `iconv -f %s -t UTF-8 FILE` makes it so",
             (long long)*offset, at[valid], is_utf16 ? " but the beginning of UTF-16" : "",
             is_utf16 ? "UTF-16" : "LATIN1");
    return false;
}
