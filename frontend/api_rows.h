/* Texts as the rows of ids that functions on text take: [CLS] text [SEP], or [CLS] text [SEP] second text [SEP].
 *
 * A function is compiled for one length or for several; a row goes to the smallest that holds it, filled up with [PAD],
 * and rows of one length run together. Inputs are bound by name: `text` and `segment` i32[n,length], `count` (tokens
 * that are no padding) and `positions` (of what the row asks about) i32[n]. */
#ifndef SELFC_FRONTEND_API_ROWS_H
#define SELFC_FRONTEND_API_ROWS_H
#include "frontend/api.h"
#include "runtime/text/tokenizer.h"

typedef struct {
    int64_t count;            /* tokens, special ones among them */
    const SelfcToken *tokens; /* from, to: bytes of their own text; special ones that no text has: -1 */
    int64_t second;           /* the first token of the second text; count: there is none */
    int32_t position;
    int64_t from, to; /* of a window: an answer begins at one of these tokens */
} Row;

/* A function, and what it is compiled for. */
enum { ROWS_MOST_LENGTHS = 16 };
typedef struct {
    uint32_t count;
    int64_t length[ROWS_MOST_LENGTHS]; /* each larger than the one before */
    const SelfcProgram *program[ROWS_MOST_LENGTHS];
} Lengths;

/* What is asked of a function on texts. */
typedef enum { ROWS_fill_mask, ROWS_classify, ROWS_answer } RowsKind;

typedef struct {
    SelfcModel *model;
    RowsKind kind;
    const SelfcTokenizer *tokenizer;
    const char *function; /* as the description calls it */
    Lengths lengths;
} Rows;

const SelfcTensor *lengths_text(const SelfcProgram *program); /* its input "text"; NULL: it takes no texts */
/* The copies of a compiled function on texts, which may be one; false after api_fail: it takes no texts. */
bool lengths_find(const SelfcModel *model, const char *function, Lengths *lengths);
/* The position of the smallest that holds `count` tokens; of the longest, if none does. */
uint32_t lengths_for(const Lengths *lengths, int64_t count);

/* Finds and compiles the function (NULL: the one of the kind's name) and checks that it takes texts and gives what is
 * asked of it. 0, or 1 after api_fail. */
int rows_open(Rows *rows, SelfcModel *model, RowsKind kind, const char *function);
/* has_specials: special tokens written in the text, as "[MASK]", are such tokens. 1 after api_fail: it is longer than
 * the longest length. */
int rows_make(const Rows *rows, const char *text, bool has_specials, Arena *arena, Row *row);
/* A question before its context: one row if both fit, else one for each window of the context. 1 after api_fail: the
 * question is too long. */
int rows_make_windows(const Rows *rows, const char *question, const char *context, Arena *arena, Row **list,
                      size_t *count);
/* Runs all rows, in any order, and hands over what came out for each: a row of each output, the first of `width`
 * numbers.
 */
typedef void RowsTake(void *context, size_t row, const float *const *outputs, int64_t width);
int rows_run(const Rows *rows, const Row *list, size_t count, RowsTake *take, void *context);

/* Aligned for compiled code; free(). NULL: there is none. */
void *api_memory(size_t bytes);
/* The beginning of a text, for messages. */
const char *api_shorten(const char *text, Arena *arena);
#endif
