/* Text to tokens on read-only tables: the part of the tokenizer that built objects can carry, too. It needs nothing: no
 * libc, no memory of its own but the stack, no set-up.
 *
 * The tables are one block, without pointers: SelfcTables, then what its *_at say, in bytes from the beginning of the
 * block, each part at a multiple of 8 bytes. Numbers are in the byte order of the machine that made them.
 * TOKENIZE_VERSION goes up whenever the layout changes; a block is used by the code of its own version alone.
 *
 *   bytes    u8[256]    of each byte of text: its class, for ASCII; CLASS_other for what needs decoding; and
 * TOKENIZE_ADDED where an added token begins with it letters  u8[128]    what an ASCII character becomes blocks   u16[]
 * code point / 64: the number of its block, for 0x110000 / 64 of them kinds    u16[][64]  of each code point of a
 * block: the number of its action actions  u32[]      what becomes of a code point: class (3 bits), combining class
 * (8), and a difference to add to the code point, modulo 2^21; for CLASS_many the place in `units` units    u32[] a
 * count, then so many units: class, combining class and a code point itself; and so on trie     SelfcCell[] a double
 * array over bytes with two roots: cell 0 for what begins a word, cell 1 for what continues it. The cell of `cell`
 * behind a byte is base + byte, if its `check` is `cell`. Where a token ends, base has TOKENIZE_ENDS, and the cell
 * behind byte 0 has the id as its base added    u32[]      of each added token: id, whether it is special, length, then
 * its bytes, padded with zeros to a multiple of 4; the longest first */
#ifndef SELFC_RUNTIME_TOKENIZE_H
#define SELFC_RUNTIME_TOKENIZE_H
#include <stdint.h>

enum {
    TOKENIZE_MAGIC = 0x4B4F5453, /* "STOK" */
    TOKENIZE_VERSION = 1,
    TOKENIZE_ADDED = 0x80,
    TOKENIZE_MOST_CHARACTERS = 256, /* of a word that is looked up */
    TOKENIZE_MOST_BYTES = 4 * TOKENIZE_MOST_CHARACTERS,
};
#define TOKENIZE_ENDS 0x80000000u

/* What becomes of a code point. */
enum {
    CLASS_word,   /* part of a word */
    CLASS_alone,  /* a word of its own: punctuation, ideographs */
    CLASS_space,  /* ends a word */
    CLASS_drop,   /* as if it were not there: control characters */
    CLASS_mark,   /* an accent that is taken away */
    CLASS_many,   /* becomes several */
    CLASS_hangul, /* a syllable that becomes its letters */
    CLASS_other,  /* of bytes: no ASCII */
};

typedef struct {
    uint32_t base, check;
} SelfcCell;

typedef struct {
    uint32_t magic, version;
    uint64_t size; /* of the whole block, in bytes */
    uint32_t bytes_at, letters_at, blocks_at, kinds_at, actions_at, units_at, trie_at, added_at;
    uint32_t added_count;
    uint32_t most_characters; /* a longer word is unknown; at most TOKENIZE_MOST_CHARACTERS */
    int32_t unknown;          /* id of what is not in the vocabulary; -1: it is left out */
    int32_t vocabulary;       /* ids are below it */
    uint32_t is_characters;   /* every code point is a token */
    uint32_t reserved;
} SelfcTables;

/* word: of the text's words (ideographs, punctuation and added tokens are each one), from 0 without gaps; the pieces of
 * a word share it. from, to: bytes of the original text. */
typedef struct {
    int32_t id, word;
    int64_t from, to;
} SelfcToken;

/* The first `room` tokens of the text; returns how many. There are never more than bytes. has_specials: special tokens
 * that are written in the text, as "[MASK]", are recognised; else they are text. What is no valid UTF-8 reads as
 * U+FFFD, once for each longest beginning of a character, as Python's errors="replace" has it. */
int64_t selfc_tokenize(const SelfcTables *tables, const char *text, int64_t length, int32_t has_specials,
                       SelfcToken *tokens, int64_t room);

/* The words alone, as they are looked up, for counting: `take` is called with each (UTF-8, not terminated) until it
 * returns something else than 0. Words that are too long to be looked up are left out. */
typedef int32_t SelfcTakeWord(void *context, const char *word, int32_t bytes);
void selfc_tokenize_words(const SelfcTables *tables, const char *text, int64_t length, SelfcTakeWord *take,
                          void *context);
#endif
