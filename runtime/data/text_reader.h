/* Texts in pieces of a few hundred kilobytes, in order. Private to the runtime. */
#ifndef SELFC_RUNTIME_TEXT_READER_H
#define SELFC_RUNTIME_TEXT_READER_H
#include "runtime/data/text_files.h"

/* A piece of a file, whole characters, that belongs to whoever reads on with it. */
typedef struct {
    char *text;
    int64_t length, room;
    int64_t file;   /* its number */
    int64_t offset; /* of the first byte in the file */
    bool ends_file; /* it is the last one of its file */
} TextPiece;

/* The last place where a text may be cut; 0: nowhere, more is needed. */
typedef int64_t TextCut(const void *context, const char *text, int64_t length);
TextCut text_cut_lines; /* behind the end of a line */

typedef struct {
    const TextFiles *files;
    TextCut *cut;
    const void *context;
    const char *ends_at; /* what pieces are cut behind, for a message: "a space" */
    int64_t file, at;    /* the next byte to read */
    int handle;          /* of that file; -1: it is not open */
    char *rest;          /* read already, but behind the cut */
    int64_t rest_length;
} TextReader;

void text_reader_begin(TextReader *reader, const TextFiles *files, TextCut *cut, const void *context,
                       const char *ends_at);
void text_reader_end(TextReader *reader);
/* The next piece into `piece`, whose room is used again. At the end its length is 0. False after selfc_fail. */
bool text_reader_next(TextReader *reader, TextPiece *piece);

/* The next line of a piece that is not blank, from *at on, which goes behind it; without its end. False: no more. */
bool text_next_line(const TextPiece *piece, int64_t *at, const char **line, int64_t *length);

/* "FILE:LINE: reason" as the failure; false. */
bool text_fail_at(const TextFile *file, int64_t offset, const char *reason);
/* Whether all of a piece is UTF-8; else where it is not, with a reason of at least 256 bytes. */
bool text_check_utf8(const TextPiece *piece, int64_t *offset, char *reason);
#endif
