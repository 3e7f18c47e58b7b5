/* Words of the text forms, written and read.
 *
 * A number is written with as few digits as read back exactly. A name is written in quotes with C's
 * escapes, so that any bytes survive. The scanner remembers where its line began: places in messages
 * cost nothing until a message is made. */
#include "ir/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FAILURES = 20 };

void text_put_string(const char *string, FILE *out) {
    fputc('"', out);
    for (const char *c = string ? string : ""; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c == '\n')
            fputs("\\n", out);
        else if ((unsigned char)*c < 32 || *c == 127)
            fprintf(out, "\\x%02x", (unsigned char)*c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

void text_put_number(double value, FILE *out) {
    char digits[40];
    if (isnan(value)) {
        fputs("nan", out);
        return;
    }
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value) break;
    }
    fputs(digits, out);
}

void text_put_integers(const int64_t *values, uint32_t count, FILE *out) {
    for (uint32_t i = 0; i < count; i++) fprintf(out, i ? ",%lld" : "%lld", (long long)values[i]);
}

void scan_begin(Scanner *scanner, const char *text, const char *file, Diag *diag) {
    *scanner = (Scanner){.file = file, .text = text, .at = text, .line_start = text, .diag = diag};
}

static void skip_blanks(Scanner *scanner) {
    while (*scanner->at == ' ' || *scanner->at == '\t' || *scanner->at == '\r') scanner->at++;
}

static bool is_line_end(char c) { return !c || c == '\n' || c == ';'; }

bool scan_is_end(Scanner *scanner) {
    skip_blanks(scanner);
    return is_line_end(*scanner->at);
}

bool scan_line(Scanner *scanner) {
    while (scanner->failures < MOST_FAILURES) {
        if (scanner->line) scanner->at += strcspn(scanner->at, "\n");
        if (scanner->line && !*scanner->at) return false;
        if (scanner->line) scanner->at++;
        scanner->line++;
        scanner->line_start = scanner->at;
        scanner->line_failed = false;
        if (!scan_is_end(scanner)) return true;
    }
    return false;
}

Place scan_place(const Scanner *scanner) {
    int column = (int)(scanner->at - scanner->line_start) + 1;
    return (Place){.file = scanner->file, .text = scanner->text, .line = scanner->line, .column = column};
}

bool scan_fail(Scanner *scanner, const char *format, ...) {
    if (scanner->line_failed || scanner->failures == MOST_FAILURES) return false;
    va_list args;
    va_start(args, format);
    char message[1024];
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    diag_error(scanner->diag, scan_place(scanner), "%s", message);
    scanner->line_failed = true;
    if (++scanner->failures == MOST_FAILURES)
        diag_note(scanner->diag, (Place){.file = scanner->file}, "too many errors; the rest is not read");
    return false;
}

static bool is_name(char c) { return isalnum((unsigned char)c) || c == '_'; }

bool scan_take(Scanner *scanner, const char *word) {
    skip_blanks(scanner);
    size_t length = strlen(word);
    if (strncmp(scanner->at, word, length)) return false;
    if (is_name(word[length - 1]) && is_name(scanner->at[length])) return false;
    scanner->at += length;
    return true;
}

bool scan_need(Scanner *scanner, const char *word) {
    return scan_take(scanner, word) || scan_fail(scanner, "expected '%s'", word);
}

bool scan_need_end(Scanner *scanner) {
    return scan_is_end(scanner) || scan_fail(scanner, "expected the end of the line");
}

bool scan_name(Scanner *scanner, char *name, size_t size) {
    skip_blanks(scanner);
    size_t length = 0;
    while (is_name(scanner->at[length])) length++;
    if (!length || length >= size) return scan_fail(scanner, "expected a name");
    memcpy(name, scanner->at, length);
    name[length] = '\0';
    scanner->at += length;
    return true;
}

bool scan_integer(Scanner *scanner, int64_t least, int64_t most, int64_t *value) {
    skip_blanks(scanner);
    char *end;
    bool starts_well = isdigit((unsigned char)scanner->at[*scanner->at == '-']);
    errno = 0;
    *value = starts_well ? strtoll(scanner->at, &end, 10) : 0;
    if (!starts_well || errno || *value < least || *value > most)
        return scan_fail(scanner, "expected a whole number from %lld to %lld", (long long)least, (long long)most);
    scanner->at = end;
    return true;
}

bool scan_index(Scanner *scanner, uint32_t limit, uint32_t *value) {
    int64_t number;
    *value = 0;
    if (!limit) return scan_fail(scanner, "there is nothing yet that a number could refer to");
    if (!scan_integer(scanner, 0, (int64_t)limit - 1, &number)) return false;
    *value = (uint32_t)number;
    return true;
}

bool scan_integers(Scanner *scanner, int64_t *values, uint32_t most, uint32_t *count) {
    *count = 0;
    skip_blanks(scanner);
    if (*scanner->at != '-' && !isdigit((unsigned char)*scanner->at)) return true;
    do {
        if (*count == most) return scan_fail(scanner, "at most %u numbers can stand here", most);
        if (!scan_integer(scanner, INT64_MIN, INT64_MAX, &values[(*count)++])) return false;
    } while (scan_take(scanner, ","));
    return true;
}

bool scan_number(Scanner *scanner, double *value) {
    skip_blanks(scanner);
    char *end = NULL;
    *value = 0;
    if (isgraph((unsigned char)*scanner->at) && !is_line_end(*scanner->at)) *value = strtod(scanner->at, &end);
    if (!end || end == scanner->at) return scan_fail(scanner, "expected a number");
    scanner->at = end;
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* What follows a backslash; moves *at behind it. -1: no such escape. */
static int scan_escape(const char **at) {
    char c = *(*at)++;
    if (c == '"' || c == '\\') return c;
    if (c == 'n') return '\n';
    if (c != 'x' || hex_digit((*at)[0]) < 0 || hex_digit((*at)[1]) < 0) return -1;
    int code = hex_digit((*at)[0]) * 16 + hex_digit((*at)[1]);
    *at += 2;
    return code ? code : -1;
}

bool scan_string(Scanner *scanner, Arena *arena, char **string) {
    skip_blanks(scanner);
    if (*scanner->at != '"') return scan_fail(scanner, "expected a name in double quotes");
    const char *from = scanner->at + 1;
    size_t most = strcspn(from, "\n");
    char *to = *string = arena_alloc(arena, most + 1);
    while (*from != '"') {
        if (!*from || *from == '\n') return scan_fail(scanner, "the closing double quote is missing");
        int c = *from == '\\' ? (from++, scan_escape(&from)) : (unsigned char)*from++;
        if (c < 0) return scan_fail(scanner, "a backslash must be followed by \", \\, n or x and two digits");
        *to++ = (char)c;
    }
    *to = '\0';
    scanner->at = from + 1;
    return true;
}

bool scan_type(Scanner *scanner, Type *type) {
    skip_blanks(scanner);
    if (type_parse(&scanner->at, type)) return true;
    const char *problem = type->rank ? type_problem(*type) : NULL;
    if (problem) return scan_fail(scanner, "%s", problem);
    return scan_fail(scanner, "expected a type like f32[128,784] or u8[n,4]");
}
