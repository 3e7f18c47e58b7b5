/* What selfc says when something is wrong. Three kinds, never mixed:
 * diag_error for the user's mistake (collected, go on and report more),
 * BUG for ours (says where, aborts), die for the world's (file, memory). */
#ifndef SELFC_IR_DIAG_H
#define SELFC_IR_DIAG_H
#include "ir/arena.h"

#include <stdbool.h>
#include <stdio.h>

typedef struct {
    char *text;      /* grows; every message ends in a newline */
    size_t size;
    int errors;      /* how many diag_error calls so far */
} Diag;

/* A place in a source text. `text` may be NULL: then only the message is printed.
 * `line` and `column` count from 1. */
typedef struct {
    const char *file, *text;
    int line, column;
} Place;

void diag_init(Diag *diag);
void diag_free(Diag *diag);

/* file:line:column: error: MESSAGE, the line itself, a caret. A zero Place prints "error: MESSAGE". */
void diag_error(Diag *diag, Place place, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diag_note(Diag *diag, Place place, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The nearest of `names` to `name` (edit distance at most a third of its length; what is
 * left out of an abbreviation counts as two letters), or NULL. */
const char *diag_nearest(const char *name, const char *const *names, size_t count);

_Noreturn void bug_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define BUG(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition) ((condition) ? (void)0 : BUG("%s does not hold", #condition))
#endif
