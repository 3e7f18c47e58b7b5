/* Text to tokens on the tables alone; see tokenize.h for their layout.
 *
 * The text is read once. Plain ASCII words are looked up from a buffer where each byte stands for one of the text; as
 * soon as anything else comes, characters are decoded, become what the tables say (clean-up, accents, case, ideographs,
 * punctuation), and are gathered to a word with the place that each byte came from. A word is cut greedily: the longest
 * piece of the vocabulary that it begins with, then the longest that continues it, and so on; if nothing fits, the
 * whole word is unknown (WordPiece as in BERT, Devlin and others 2019).
 *
 * This file is also compiled for built objects: no libc, no static data, nothing that a compiler would call memcpy for.
 */
#include "runtime/text/tokenize.h"

enum { TOKENIZE_CODES = 1 << 21 };

typedef struct {
    const SelfcTables *tables;
    const uint8_t *classes;
    const uint8_t *text;
    int64_t length, at;
    int64_t starter; /* the last character that marks may belong to; marks after it can change places */
    int32_t has_specials;

    SelfcToken *tokens; /* NULL: words are taken */
    int64_t room, count;
    int32_t word_number;
    SelfcTakeWord *take;
    void *context;
    int32_t is_ended; /* `take` wants no more */

    /* The word that is being gathered. The places are those of characters: `from` counts at the first byte of one, `to`
     * at its last. */
    int32_t bytes;
    int64_t characters, word_from, word_to; /* also those that found no room */
    uint8_t word[TOKENIZE_MOST_BYTES];
    int64_t from[TOKENIZE_MOST_BYTES], to[TOKENIZE_MOST_BYTES];
} Reader;

/* A unit, or an action with a difference in the place of the code point. */
static uint32_t unit_class(uint32_t unit) { return unit >> 29; }
static uint32_t unit_combining(uint32_t unit) { return unit >> 21 & 255; }
static uint32_t unit_code(uint32_t unit) { return unit & (TOKENIZE_CODES - 1); }

static const uint8_t *tables_part(const SelfcTables *tables, uint32_t at) { return (const uint8_t *)tables + at; }

static uint32_t reader_action(const Reader *reader, uint32_t code) {
    const SelfcTables *tables = reader->tables;
    const uint16_t *blocks = (const void *)tables_part(tables, tables->blocks_at);
    const uint16_t *kinds = (const void *)tables_part(tables, tables->kinds_at);
    const uint32_t *actions = (const void *)tables_part(tables, tables->actions_at);
    return actions[kinds[blocks[code / 64] * 64 + code % 64]];
}

/* --- characters --- */

/* Decodes the character at `at` and returns where it ends. */
static int64_t decode(const uint8_t *text, int64_t length, int64_t at, uint32_t *code) {
    uint32_t first = text[at++];
    *code = first;
    if (first < 0x80) return at;
    int follow = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    *code = 0xFFFD;
    if (first < 0xC2 || first > 0xF4) return at;
    uint32_t value = first & (0x3Fu >> follow);
    /* The first byte that follows is limited: nothing overlong, no surrogates, nothing above U+10FFFF. */
    uint32_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint32_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    for (; follow; follow--, at++) {
        if (at == length || text[at] < least || text[at] > most) return at;
        value = value << 6 | (text[at] & 63u);
        least = 0x80;
        most = 0xBF;
    }
    *code = value;
    return at;
}

/* --- words --- */

static void word_byte(Reader *reader, uint32_t byte, int64_t from, int64_t to) {
    reader->word[reader->bytes] = (uint8_t)byte;
    reader->from[reader->bytes] = from;
    reader->to[reader->bytes++] = to;
}

static void word_put(Reader *reader, uint32_t code, int64_t from, int64_t to) {
    if (!reader->characters++) reader->word_from = from;
    reader->word_to = to;
    if (reader->characters > TOKENIZE_MOST_CHARACTERS) return;
    if (code < 0x80) return word_byte(reader, code ? code : 0xFF, from, to); /* a zero is in no token */
    int follow = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    uint32_t mark = follow == 1 ? 0xC0 : follow == 2 ? 0xE0 : 0xF0;
    word_byte(reader, mark | code >> 6 * follow, from, to);
    while (follow--) word_byte(reader, 0x80 | (code >> 6 * follow & 63), from, to);
}

static void reader_emit(Reader *reader, int32_t id, int64_t from, int64_t to) {
    if (reader->count < reader->room)
        reader->tokens[reader->count] = (SelfcToken){.id = id, .word = reader->word_number, .from = from, .to = to};
    reader->count++;
}

/* The longest piece that stands at word[at] by the trie's `root`: where it ends; `at` if there is none. */
static int32_t longest_piece(const Reader *reader, uint32_t root, int32_t at, int32_t *id) {
    const SelfcCell *cells = (const void *)tables_part(reader->tables, reader->tables->trie_at);
    uint32_t cell = root, found = 0;
    int32_t end = at;
    for (int32_t i = at; i < reader->bytes; i++) {
        uint32_t next = (cells[cell].base & ~TOKENIZE_ENDS) + reader->word[i];
        if (cells[next].check != cell) break;
        cell = next;
        if (cells[cell].base & TOKENIZE_ENDS) {
            found = cell;
            end = i + 1;
        }
    }
    if (end > at) *id = (int32_t)cells[cells[found].base & ~TOKENIZE_ENDS].base;
    return end;
}

/* Cuts the word. Of a plain one, byte i is the text's byte word_from + i. */
static void word_cut(Reader *reader, int32_t is_plain) {
    int64_t before = reader->count;
    int32_t at = 0, id = 0;
    if (reader->characters > reader->tables->most_characters) goto unknown;
    while (at < reader->bytes) {
        int32_t end = longest_piece(reader, at > 0, at, &id);
        if (end == at) goto unknown;
        if (is_plain)
            reader_emit(reader, id, reader->word_from + at, reader->word_from + end);
        else
            reader_emit(reader, id, reader->from[at], reader->to[end - 1]);
        at = end;
    }
    reader->word_number++;
    return;
unknown:
    reader->count = before;
    if (reader->tables->unknown < 0) return;
    reader_emit(reader, reader->tables->unknown, reader->word_from, reader->word_to);
    reader->word_number++;
}

static void word_take(Reader *reader) {
    if (reader->characters > reader->tables->most_characters || reader->is_ended) return;
    reader->is_ended = reader->take(reader->context, (const char *)reader->word, reader->bytes) != 0;
}

static void word_end(Reader *reader, int32_t is_plain) {
    if (reader->characters && reader->take)
        word_take(reader);
    else if (reader->characters)
        word_cut(reader, is_plain);
    reader->characters = 0;
    reader->bytes = 0;
}

/* --- what becomes of characters --- */

static void put_unit(Reader *reader, uint32_t class, uint32_t code, int64_t from, int64_t to) {
    if (class == CLASS_space || class == CLASS_alone) word_end(reader, 0);
    if (class == CLASS_word || class == CLASS_alone) word_put(reader, code, from, to);
    if (class == CLASS_alone) word_end(reader, 0);
}

/* A syllable's two or three letters (The Unicode Standard, 3.12). */
static void put_hangul(Reader *reader, uint32_t code, int64_t from, int64_t to) {
    uint32_t syllable = code - 0xAC00;
    word_put(reader, 0x1100 + syllable / 588, from, to);
    word_put(reader, 0x1161 + syllable % 588 / 28, from, to);
    if (syllable % 28) word_put(reader, 0x11A7 + syllable % 28, from, to);
}

/* Units of what an action makes of a code point; *alone has room for one that stands in no list. */
static const uint32_t *action_units(const Reader *reader, uint32_t action, uint32_t code, uint32_t *alone,
                                    uint32_t *count) {
    const uint32_t *units = (const void *)tables_part(reader->tables, reader->tables->units_at);
    if (unit_class(action) == CLASS_many) {
        units += unit_code(action);
        *count = *units;
        return units + 1;
    }
    *alone = (action & ~(uint32_t)(TOKENIZE_CODES - 1)) | unit_code(action + code);
    *count = 1;
    return alone;
}

/* --- marks that stay and change places ---
 *
 * Taking accents away decomposes the text canonically, which sorts the marks behind a character by their combining
 * class (The Unicode Standard, 3.11, D109). Nearly all marks are taken away then, so that this does not show; but a few
 * stay. They are found, class by class, by going over the marks again and again: no memory is needed. A mark has the
 * place of the character whose turn it is, as in the package `tokenizers`. */

typedef struct {
    int64_t at, from, end; /* of the next character; of this one */
    const uint32_t *units; /* of this character */
    uint32_t count, next, alone;
    int32_t is_first; /* unit of its character */
} Marks;

/* The next unit with a combining class above 0 behind `starter`; 0 at the end. Leading units without one are passed. */
static uint32_t marks_next(const Reader *reader, Marks *marks) {
    for (;;) {
        while (marks->next < marks->count) {
            uint32_t unit = marks->units[marks->next++];
            marks->is_first = marks->next == 1;
            if (unit_combining(unit)) return unit;
            if (marks->from != reader->starter) return 0;
        }
        uint32_t code;
        if (marks->at >= reader->length) return 0;
        marks->from = marks->at;
        marks->at = marks->end = decode(reader->text, reader->length, marks->at, &code);
        uint32_t action = reader_action(reader, code);
        marks->units = action_units(reader, action, code, &marks->alone, &marks->count);
        marks->next = unit_class(action) == CLASS_drop ? marks->count : 0;
    }
}

static Marks marks_begin(const Reader *reader) { return (Marks){.at = reader->starter}; }

/* The smallest combining class above `class`; 256: none. */
static uint32_t marks_class_above(const Reader *reader, uint32_t class) {
    uint32_t least = 256;
    Marks marks = marks_begin(reader);
    for (uint32_t unit; (unit = marks_next(reader, &marks));) {
        uint32_t other = unit_combining(unit);
        if (other > class && other < least) least = other;
    }
    return least;
}

/* The next character that is not dropped. */
static void marks_turn(const Reader *reader, Marks *turn) {
    uint32_t code = 0;
    do {
        turn->from = turn->at;
        turn->at = turn->end = decode(reader->text, reader->length, turn->at, &code);
    } while (unit_class(reader_action(reader, code)) == CLASS_drop);
}

static int32_t marks_belong_to_starter(const Reader *reader) {
    uint32_t code, alone, count;
    decode(reader->text, reader->length, reader->starter, &code);
    uint32_t action = reader_action(reader, code);
    return unit_class(action) != CLASS_drop && !unit_combining(*action_units(reader, action, code, &alone, &count));
}

/* Puts all marks behind the starter in order, and goes on after them. */
static void put_marks(Reader *reader) {
    Marks turn = marks_begin(reader), end = turn;
    if (marks_belong_to_starter(reader)) marks_turn(reader, &turn);
    for (uint32_t class = 0; (class = marks_class_above(reader, class)) < 256;) {
        Marks marks = marks_begin(reader);
        for (uint32_t unit; (unit = marks_next(reader, &marks));) {
            if (unit_combining(unit) != class) continue;
            if (marks.is_first) marks_turn(reader, &turn);
            put_unit(reader, unit_class(unit), unit_code(unit), turn.from, turn.end);
        }
    }
    while (marks_next(reader, &end)) reader->at = end.end;
}

/* --- reading --- */

/* The added token that stands here, or NULL; its bytes follow behind three numbers. */
static const uint32_t *added_here(const Reader *reader) {
    const uint32_t *added = (const void *)tables_part(reader->tables, reader->tables->added_at);
    for (uint32_t i = 0; i < reader->tables->added_count; i++, added += 3 + (added[2] + 3) / 4) {
        const uint8_t *bytes = (const uint8_t *)(added + 3);
        int64_t length = added[2], same = 0;
        if (length > reader->length - reader->at || (added[1] && !reader->has_specials)) continue;
        while (same < length && bytes[same] == reader->text[reader->at + same]) same++;
        if (same == length) return added;
    }
    return 0;
}

static int32_t read_added(Reader *reader) {
    const uint32_t *added = added_here(reader);
    if (!added) return 0;
    word_end(reader, 0);
    if (!reader->take) {
        reader_emit(reader, (int32_t)added[0], reader->at, reader->at + added[2]);
        reader->word_number++;
    }
    reader->at += added[2];
    reader->starter = reader->at;
    return 1;
}

static void read_character(Reader *reader) {
    uint32_t code, alone, count;
    int64_t from = reader->at;
    reader->at = decode(reader->text, reader->length, from, &code);
    uint32_t action = reader_action(reader, code), class = unit_class(action);
    if (class == CLASS_drop) return;
    if (class == CLASS_mark) {
        if (!unit_combining(action)) reader->starter = from;
        return;
    }
    const uint32_t *units = action_units(reader, action, code, &alone, &count);
    if (!unit_combining(*units)) reader->starter = from;
    if (class == CLASS_hangul) return put_hangul(reader, code, from, reader->at);
    for (uint32_t i = 0; i < count && !unit_combining(units[i]); i++)
        put_unit(reader, unit_class(units[i]), unit_code(units[i]), from, reader->at);
    if (unit_combining(action)) put_marks(reader);
}

/* ASCII letters from here on. If the word ends with them it is looked up at once. */
static void read_plain(Reader *reader) {
    const uint8_t *letters = tables_part(reader->tables, reader->tables->letters_at);
    int64_t from = reader->at, at = from;
    while (at < reader->length && reader->classes[reader->text[at]] == CLASS_word) {
        if (at - from < TOKENIZE_MOST_BYTES) reader->word[at - from] = letters[reader->text[at]];
        at++;
    }
    uint32_t after = at < reader->length ? reader->classes[reader->text[at]] : CLASS_space;
    if (after == CLASS_space || after == CLASS_alone) {
        int64_t length = at - from;
        reader->word_from = from;
        reader->word_to = at;
        reader->characters = length;
        reader->bytes = length < TOKENIZE_MOST_BYTES ? (int32_t)length : TOKENIZE_MOST_BYTES;
        word_end(reader, 1);
    } else {
        for (int64_t i = from; i < at; i++) word_put(reader, letters[reader->text[i]], i, i + 1);
    }
    reader->at = at;
    reader->starter = at - 1;
}

static void read_text(Reader *reader) {
    while (reader->at < reader->length && reader->count < reader->room && !reader->is_ended) {
        uint32_t class = reader->classes[reader->text[reader->at]];
        if (class == CLASS_word && !reader->characters)
            read_plain(reader);
        else if (!(class & TOKENIZE_ADDED) || !read_added(reader))
            read_character(reader);
    }
    if (reader->count < reader->room) word_end(reader, 0);
}

static void reader_open(Reader *reader, const SelfcTables *tables, const char *text, int64_t length) {
    reader->tables = tables;
    reader->classes = tables_part(tables, tables->bytes_at);
    reader->text = (const uint8_t *)text;
    reader->length = length;
    reader->at = reader->starter = 0;
    reader->tokens = 0;
    reader->room = 1;
    reader->count = 0;
    reader->word_number = 0;
    reader->has_specials = 1;
    reader->take = 0;
    reader->is_ended = 0;
    reader->bytes = 0;
    reader->characters = 0;
}

int64_t selfc_tokenize(const SelfcTables *tables, const char *text, int64_t length, int32_t has_specials,
                       SelfcToken *tokens, int64_t room) {
    Reader reader;
    reader_open(&reader, tables, text, length);
    reader.has_specials = has_specials;
    reader.tokens = tokens;
    reader.room = room;
    read_text(&reader);
    return reader.count < room ? reader.count : room;
}

void selfc_tokenize_words(const SelfcTables *tables, const char *text, int64_t length, SelfcTakeWord *take,
                          void *context) {
    Reader reader;
    reader_open(&reader, tables, text, length);
    reader.take = take;
    reader.context = context;
    read_text(&reader);
}
