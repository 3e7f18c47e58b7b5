/* A row of what models of text read: [CLS] text [SEP], or [CLS] text [SEP] pair [SEP], filled up with [PAD]. Like the
 * tokenizer's core it needs nothing, so built objects carry the same code (text_code.c). */
#ifndef SELFC_RUNTIME_ROW_H
#define SELFC_RUNTIME_ROW_H
#include "runtime/text/tokenize.h"

/* Ids of the special tokens; -1: the vocabulary has none. */
typedef struct {
    int32_t begin, end, padding, mask; /* [CLS], [SEP], [PAD], [MASK] */
} SelfcMarks;

/* Writes `room` ids to `ids` and 0 for the text and padding, 1 for the pair and its [SEP], to `segments`. Returns how
 * many of them are not padding; as many `tokens`, which have room for `room`, say where in its own text each stands, -1
 * for [CLS] and [SEP]. pair NULL: there is none. has_specials: as selfc_tokenize has it. What is too long is cut: the
 * longer of the two first. *mask: where the first [MASK] stands, or -1. */
int64_t selfc_text_row(const SelfcTables *tables, const SelfcMarks *marks, const char *text, int64_t length,
                       const char *pair, int64_t pair_length, int32_t has_specials, int64_t room, SelfcToken *tokens,
                       int32_t *ids, int32_t *segments, int32_t *mask);
/* Does the token stand anywhere in the text, be it behind what fits into a row? `tokens`, with room for `room`, are
 * written over. text NULL: there is none. */
int32_t selfc_text_has(const SelfcTables *tables, int32_t id, const char *text, int64_t length, SelfcToken *tokens,
                       int64_t room);
#endif
