/* What a tokenizer's rules make of a code point. Private to runtime/text. */
#ifndef SELFC_RUNTIME_UNICODE_H
#define SELFC_RUNTIME_UNICODE_H
#include "runtime/text/tokenize.h"

#include <stdbool.h>

typedef struct {
    bool is_characters;     /* every code point is a word and stays what it is; the rest does not count */
    bool cleans;            /* no control characters, every white space a space */
    bool splits_ideographs; /* each is a word */
    bool strips_accents;
    bool lowers;
} TextRules;

enum { UNICODE_MOST_UNITS = 16, UNICODE_CODES = 0x110000 };

typedef struct {
    uint32_t class;     /* CLASS_drop, CLASS_mark, CLASS_hangul: the units say no more than that */
    uint32_t combining; /* of the first character of the decomposition */
    uint32_t count;
    uint32_t unit[UNICODE_MOST_UNITS]; /* see unicode_unit */
} UnicodeMeaning;

uint32_t unicode_unit(uint32_t class, uint32_t combining, uint32_t code);

/* What differs from utf8proc: made once, then asked for every code point. free(). NULL: no memory. */
typedef struct UnicodeTable UnicodeTable;
UnicodeTable *unicode_table_new(void);
/* Whether the 64 code points from `first` on are all alike, and known to be: not assigned, or of private use. */
bool unicode_is_uniform(uint32_t first);
/* What `lowers` and `strips_accents` leave none of. */
bool unicode_is_capital(uint32_t code);
bool unicode_has_accent(const UnicodeTable *table, uint32_t code);
UnicodeMeaning unicode_meaning(const UnicodeTable *table, const TextRules *rules, uint32_t code);
#endif
