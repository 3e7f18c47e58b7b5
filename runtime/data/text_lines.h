/* A line, or the beginning of a document, as the record of a sample. Private to the runtime. */
#ifndef SELFC_RUNTIME_TEXT_LINES_H
#define SELFC_RUNTIME_TEXT_LINES_H
#include "runtime/text/tokenizer.h"

enum { TEXT_REASON = 512, TEXT_LONGEST = 1 << 15, TEXT_NARROW_TOKENS = 1 << 16 };

/* What stands between the length of a record and its tokens. */
typedef enum {
    TEXT_plain,    /* nothing */
    TEXT_labelled, /* the label */
    TEXT_question  /* start and end of the answer, as places in the sample; 0 and 0: it is not there */
} TextKind;
int64_t text_extra(TextKind kind); /* units */

/* What samples are made of. */
typedef struct {
    const SelfcTokenizer *tokenizer;
    TextKind kind;
    int64_t length;    /* tokens of a sample, special ones included */
    bool is_wide;      /* ids take two units each, the low 16 bits first: they may be TEXT_NARROW_TOKENS or more */
    bool has_specials; /* [CLS] before and [SEP] behind */
    int32_t begin, end, padding; /* their ids; padding is 0 where there is no [PAD] */
} TextPlan;
int64_t text_body(const TextPlan *plan); /* tokens of the text in a sample */
/* selfc_tokenizer_encode's tokens but for the special ones; *is_cut: there are more than `most`. tokens: room for one
 * more, too. */
int64_t text_encode(const TextPlan *plan, const char *text, int64_t length, SelfcToken *tokens, int64_t most,
                    bool *is_cut);

/* Units that grow, and how many records of them are not whole. */
typedef struct {
    uint16_t *units;
    int64_t count, room;
    int64_t cut, lost; /* texts that were too long; those of them that are no record, for their answer was cut off */
} TextUnits;
uint16_t *text_units_add(TextUnits *units, int64_t count); /* room for so many; aborts when memory is out */

/* A JSON object with a question. */
typedef struct {
    char *question, *context, *answer; /* answer NULL: the context has none */
    double start;                      /* < 0: not given */
} QuestionLine;
/* Into *line, which is empty and to be freed in any case. False with a reason. */
bool text_read_question(const char *text, int64_t length, QuestionLine *line, char reason[TEXT_REASON]);
void question_free(QuestionLine *line);

/* Adds the tokens' ids, which take text_width units each. */
int64_t text_width(const TextPlan *plan);
void text_put_ids(const TextPlan *plan, TextUnits *out, const SelfcToken *tokens, int64_t count);

/* Adds the record of a line, which is UTF-8 and has no end of line, or counts it as lost. tokens: room for
 * plan->length + 1. False with a reason. */
bool text_line_encode(const TextPlan *plan, const char *line, int64_t length, SelfcToken *tokens, TextUnits *out,
                      char reason[TEXT_REASON]);
#endif
