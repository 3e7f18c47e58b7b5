/* Messages: collected ones for the user's mistakes, and the two that end the program.
 *
 * An excerpt of the source is shown with a caret below the column. Sources may be hostile or one
 * line of a megabyte, so the excerpt is a window around the column and control characters are
 * replaced; a tab stays a tab in the caret's line, too, and the bytes of a UTF-8 character count once. */
#include "ir/diag.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { EXCERPT_BEFORE = 90, EXCERPT_BYTES = 140, MOST_ERRORS = 100 }; /* more errors are counted, not shown */

void diag_init(Diag *diag) { *diag = (Diag){0}; }

void diag_free(Diag *diag) {
    free(diag->text);
    diag_init(diag);
}

static void append(Diag *diag, const char *text, size_t length) {
    char *grown = realloc(diag->text, diag->size + length + 1);
    if (!grown) die("out of memory");
    memcpy(grown + diag->size, text, length);
    diag->text = grown;
    diag->size += length;
    diag->text[diag->size] = '\0';
}

static void append_format(Diag *diag, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) BUG("the format \"%s\" cannot be printed", format);
    char *text = malloc((size_t)length + 1);
    if (!text) die("out of memory");
    vsnprintf(text, (size_t)length + 1, format, args);
    append(diag, text, (size_t)length);
    free(text);
}

__attribute__((format(printf, 2, 3))) static void append_print(Diag *diag, const char *format, ...) {
    va_list args;
    va_start(args, format);
    append_format(diag, format, args);
    va_end(args);
}

/* The start of line `line`, or NULL if the text is shorter. */
static const char *find_line(const char *text, int line) {
    for (int i = 1; i < line; i++) {
        text = strchr(text, '\n');
        if (!text) return NULL;
        text++;
    }
    return text;
}

static bool continues_character(char c) { return ((unsigned char)c & 0xC0) == 0x80; }
static bool is_control(char c) { return (unsigned char)c < 32 || c == 127; }

static void append_excerpt(Diag *diag, Place place) {
    const char *line = place.text ? find_line(place.text, place.line) : NULL;
    size_t length = line ? strcspn(line, "\n") : 0;
    if (!length) return;
    size_t column = place.column > 0 ? (size_t)place.column - 1 : 0;
    if (column > length) column = length;
    size_t first = length > EXCERPT_BYTES && column > EXCERPT_BEFORE ? column - EXCERPT_BEFORE : 0;
    while (first && continues_character(line[first])) first--;
    size_t end = length - first > EXCERPT_BYTES ? first + EXCERPT_BYTES : length;

    append_print(diag, "    %s", first ? "..." : "");
    for (size_t i = first; i < end; i++) append(diag, is_control(line[i]) && line[i] != '\t' ? "?" : line + i, 1);
    append_print(diag, "%s\n    %s", end < length ? "..." : "", first ? "   " : "");
    for (size_t i = first; i < column; i++)
        if (!continues_character(line[i])) append(diag, line[i] == '\t' ? "\t" : " ", 1);
    append(diag, "^\n", 2);
}

static void message(Diag *diag, Place place, const char *kind, const char *format, va_list args) {
    if (diag->errors >= MOST_ERRORS) return;
    if (place.file) append_print(diag, "%s:", place.file);
    if (place.file && place.line > 0) append_print(diag, "%d:", place.line);
    if (place.file && place.line > 0 && place.column > 0) append_print(diag, "%d:", place.column);
    append_print(diag, "%s%s: ", place.file ? " " : "", kind);
    append_format(diag, format, args);
    append(diag, "\n", 1);
    if (place.line > 0) append_excerpt(diag, place);
}

void diag_error(Diag *diag, Place place, const char *format, ...) {
    va_list args;
    va_start(args, format);
    message(diag, place, "error", format, args);
    va_end(args);
    if (diag->errors++ == MOST_ERRORS) append_print(diag, "error: there are more errors, which are not shown\n");
}

void diag_note(Diag *diag, Place place, const char *format, ...) {
    va_list args;
    va_start(args, format);
    message(diag, place, "note", format, args);
    va_end(args);
}

enum { NAME_MOST = 64 }; /* longer names are not compared */

/* Letters to insert, delete, replace or swap with their neighbour; row i of the classic table is kept with two above.
 */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t rows[3][NAME_MOST + 1];
    for (size_t j = 0; j <= b_length; j++) rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *now = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && two_above[j - 2] + 1 < best) best = two_above[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[a_length % 3][b_length];
}

/* Whether `name` is `whole` with letters left out, but not the first: "avg_pool" for "average_pool". */
static bool is_abbreviation(const char *name, const char *whole) {
    if (strlen(name) < 5 || *name != *whole) return false;
    for (; *whole; whole++) name += *name == *whole;
    return !*name;
}

const char *diag_nearest(const char *name, const char *const *names, size_t count) {
    const char *nearest = NULL;
    size_t length = strlen(name), most = length < 3 ? 1 : (length + 1) / 3;
    if (length > NAME_MOST) return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t other = names[i] ? strlen(names[i]) : NAME_MOST + 1;
        if (other > NAME_MOST) continue;
        size_t distance = edit_distance(name, length, names[i], other);
        if (distance > 2 && other <= 2 * length && is_abbreviation(name, names[i])) distance = 2;
        if (distance > most || distance >= length) continue;
        nearest = names[i];
        if (!distance) break;
        most = distance - 1;
    }
    return nearest;
}

_Noreturn void bug_at(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "selfc: internal error at %s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

_Noreturn void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("selfc: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}
