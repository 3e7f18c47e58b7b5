/* BERT's rules for text, one code point at a time, from utf8proc's properties and what unicode.def knows better:
 * clean-up, ideographs apart, accents taken away (canonical decomposition without nonspacing marks), lower case, and
 * which of the characters that come out are space or punctuation (tokenization.py of Devlin and others 2019; the order
 * of the steps is that of BertNormalizer in the package `tokenizers`). */
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <utf8proc.h>

/* What utf8proc says of a code point, corrected. */
enum {
    FACT_visible = 1,
    FACT_kept = 2,
    FACT_mark = 4,
    FACT_letter = 8,
    FACT_alone = 16,
    FACT_whole = 32,
    FACT_unordered = 64
};

typedef struct {
    uint32_t first, last;
    int32_t value;
} UnicodeRange;

static const UnicodeRange unicode_facts[] = {
#define RANGE(kind, first, last) {first, last, FACT_##kind},
#define LOWER(...)
#include "runtime/text/unicode.def"
};
static const UnicodeRange unicode_lowers[] = {
#define RANGE(...)
#define LOWER(first, last, difference) {first, last, difference},
#include "runtime/text/unicode.def"
};

struct UnicodeTable {
    uint8_t fact[UNICODE_CODES];
};

UnicodeTable *unicode_table_new(void) {
    UnicodeTable *table = calloc(1, sizeof *table);
    for (size_t i = 0; table && i < sizeof unicode_facts / sizeof *unicode_facts; i++)
        for (uint32_t code = unicode_facts[i].first; code <= unicode_facts[i].last; code++)
            table->fact[code] |= (uint8_t)unicode_facts[i].value;
    return table;
}

uint32_t unicode_unit(uint32_t class, uint32_t combining, uint32_t code) {
    return class << 29 | combining << 21 | (code & 0x1FFFFF);
}

static bool unicode_is_space(uint32_t code) { /* White_Space */
    return (code >= 9 && code <= 13) || code == 32 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
           code == 0x3000;
}

static bool unicode_is_control(const UnicodeTable *table, uint32_t code, utf8proc_category_t category) {
    if (code == '\t' || code == '\n' || code == '\r' || table->fact[code] & FACT_visible) return false;
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

static bool unicode_is_mark(const UnicodeTable *table, uint32_t code) {
    if (table->fact[code] & (FACT_kept | FACT_mark)) return table->fact[code] & FACT_mark;
    return utf8proc_category((int32_t)code) == UTF8PROC_CATEGORY_MN;
}

static bool unicode_is_punctuation(const UnicodeTable *table, uint32_t code) {
    if (code < 128)
        return code > 32 && code < 127 && !((code | 32) >= 'a' && (code | 32) <= 'z') && !(code >= '0' && code <= '9');
    if (table->fact[code] & (FACT_letter | FACT_alone)) return table->fact[code] & FACT_alone;
    utf8proc_category_t category = utf8proc_category((int32_t)code);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

static bool unicode_is_ideograph(uint32_t code) { /* those that BERT's authors list */
    static const uint32_t range[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                        {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (code >= range[i][0] && code <= range[i][1]) return true;
    return false;
}

static uint32_t unicode_combining(const UnicodeTable *table, uint32_t code) {
    if (table->fact[code] & FACT_unordered) return 0;
    return (uint32_t)utf8proc_get_property((int32_t)code)->combining_class;
}

/* The lower case, of one letter two. */
static uint32_t unicode_lower(uint32_t code, uint32_t *second) {
    *second = 0;
    if (code == 0x130) return *second = 0x307, 'i';
    for (size_t i = 0; i < sizeof unicode_lowers / sizeof *unicode_lowers; i++)
        if (code >= unicode_lowers[i].first && code <= unicode_lowers[i].last)
            return code + (uint32_t)unicode_lowers[i].value;
    return (uint32_t)utf8proc_tolower((int32_t)code);
}

static uint32_t unicode_class(const UnicodeTable *table, uint32_t code) {
    if (unicode_is_space(code)) return CLASS_space;
    return unicode_is_punctuation(table, code) ? CLASS_alone : CLASS_word;
}

static void unicode_add(const UnicodeTable *table, UnicodeMeaning *meaning, uint32_t class, uint32_t combining,
                        uint32_t code) {
    if (meaning->count == UNICODE_MOST_UNITS) return; /* no decomposition is as long */
    if (class == CLASS_other) class = unicode_class(table, code);
    meaning->unit[meaning->count++] = unicode_unit(class, combining, code);
}

/* The canonical decomposition of a code point. */
static uint32_t unicode_decompose(const UnicodeTable *table, uint32_t code, int32_t parts[UNICODE_MOST_UNITS]) {
    int last_class = 0;
    utf8proc_ssize_t count = 1;
    if (!(table->fact[code] & FACT_whole))
        count = utf8proc_decompose_char((int32_t)code, parts, UNICODE_MOST_UNITS, UTF8PROC_DECOMPOSE, &last_class);
    if (count > 1 && count <= UNICODE_MOST_UNITS) return (uint32_t)count;
    if (count != 1 || table->fact[code] & FACT_whole) parts[0] = (int32_t)code;
    return 1;
}

bool unicode_is_capital(uint32_t code) {
    uint32_t second;
    return unicode_lower(code, &second) != code;
}

bool unicode_has_accent(const UnicodeTable *table, uint32_t code) {
    int32_t parts[UNICODE_MOST_UNITS] = {0};
    uint32_t count = unicode_decompose(table, code, parts);
    for (uint32_t i = 0; i < count; i++)
        if (unicode_is_mark(table, (uint32_t)parts[i])) return true;
    return false;
}

/* Behind the ideographs of plane 3 there are but the tags and variants at U+E0000; the last two of a plane are none. */
bool unicode_is_uniform(uint32_t first) {
    return first >= 0x34000 && (first < 0xE0000 || first >= 0xE1000) && (first & 0xFFC0) != 0xFFC0;
}

UnicodeMeaning unicode_meaning(const UnicodeTable *table, const TextRules *rules, uint32_t code) {
    UnicodeMeaning meaning = {.class = CLASS_many};
    if (rules->is_characters) {
        unicode_add(table, &meaning, CLASS_alone, 0, code);
        return meaning;
    }
    utf8proc_category_t category = utf8proc_category((int32_t)code);
    bool is_removed = code == 0 || code == 0xFFFD || unicode_is_control(table, code, category);
    if (rules->cleans && is_removed) return (UnicodeMeaning){.class = CLASS_drop};
    if (rules->strips_accents && code >= 0xAC00 && code < 0xAC00 + 11172)
        return (UnicodeMeaning){.class = CLASS_hangul};

    uint32_t class = CLASS_other; /* as the character is */
    if (rules->splits_ideographs && unicode_is_ideograph(code)) class = CLASS_alone;
    if (rules->cleans && unicode_is_space(code)) code = ' ';
    int32_t parts[UNICODE_MOST_UNITS] = {(int32_t)code};
    uint32_t count = rules->strips_accents ? unicode_decompose(table, code, parts) : 1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t part = (uint32_t)parts[i], second = 0;
        uint32_t combining = rules->strips_accents ? unicode_combining(table, part) : 0;
        if (i == 0) meaning.combining = combining;
        if (rules->strips_accents && unicode_is_mark(table, part)) continue;
        if (rules->lowers) part = unicode_lower(part, &second);
        unicode_add(table, &meaning, class, combining, part);
        if (second) unicode_add(table, &meaning, class, 0, second);
    }
    if (!meaning.count) meaning.class = CLASS_mark;
    return meaning;
}
