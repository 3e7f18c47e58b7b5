/* The words that the text forms of Graph and Program are made of: how they are written, and a scanner that
 * reads them. Texts are line based; a ';' outside of quotes begins a comment. Texts may be hostile: every
 * function checks, an error is collected once and the line is given up. */
#ifndef SELFC_IR_TEXT_H
#define SELFC_IR_TEXT_H
#include "ir/graph.h"

/* text.c, writing */
void text_put_string(const char *string, FILE *out); /* in quotes; NULL is written as "" */
void text_put_number(double value, FILE *out);       /* the shortest decimal that reads back as the same number */
void text_put_integers(const int64_t *values, uint32_t count, FILE *out); /* 1,2,3 */

/* text.c, reading */
typedef struct {
    const char *file, *text, *at;
    const char *line_start;
    int line;
    bool line_failed; /* an error was reported for this line */
    int failures;
    Diag *diag;
} Scanner;

void scan_begin(Scanner *scanner, const char *text, const char *file, Diag *diag);
/* Moves to the next line that has something in it; false at the end of the text or after too many errors. */
bool scan_line(Scanner *scanner);
/* Reports at the current place, unless the line has failed already. Always false. */
bool scan_fail(Scanner *scanner, const char *format, ...) __attribute__((format(printf, 2, 3)));
Place scan_place(const Scanner *scanner);

/* These skip blanks first. The first two only look and take; the others report what is missing. */
bool scan_is_end(Scanner *scanner);                 /* of the line or of what is not comment in it */
bool scan_take(Scanner *scanner, const char *word); /* a word is not taken from the middle of a longer one */
bool scan_need(Scanner *scanner, const char *word);
bool scan_need_end(Scanner *scanner);
bool scan_name(Scanner *scanner, char *name, size_t size); /* letters, digits, '_' */
bool scan_integer(Scanner *scanner, int64_t least, int64_t most, int64_t *value);
bool scan_index(Scanner *scanner, uint32_t limit, uint32_t *value);                    /* 0 to limit - 1 */
bool scan_integers(Scanner *scanner, int64_t *values, uint32_t most, uint32_t *count); /* "1,2,3"; may be none */
bool scan_number(Scanner *scanner, double *value);
bool scan_string(Scanner *scanner, Arena *arena, char **string);
bool scan_type(Scanner *scanner, Type *type);

/* print.c: the lines of a graph after its name, each behind `indent`. */
void print_lines(const Graph *graph, const char *indent, FILE *out);
/* parse.c: their inverse. Reads up to the end of the text, or up to a line "}" if in_braces. */
void parse_lines(Scanner *scanner, Graph *graph, bool in_braces);
/* `input` without its place and name: "parameter uniform(-1,1) : f32[2]" */
void print_input_type(const GraphInput *input, FILE *out);
bool parse_input_type(Scanner *scanner, GraphInput *input);
#endif
