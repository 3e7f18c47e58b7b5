/* Text to tokens on read-only tables: the part of the tokenizer that built objects can carry, too. It needs nothing: no
 * libc, no memory of its own but the stack, no set-up.
 *
 * The tables are one block without pointers: SelfcTables, then the parts that stand where its *_at say, in bytes from
 * the beginning of the block and at multiples of 8. docs/files.md has the layout of each part. Numbers are in the byte
 * order of the machine that made them. TOKENIZE_VERSION goes up whenever the layout or a meaning changes; a block is
 * used by the code of its own version alone. */
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
    uint64_t size;       /* of the whole block, in bytes */
    uint32_t bytes_at;   /* u8[256]: of each byte its class, and TOKENIZE_ADDED if an added token begins with it */
    uint32_t letters_at; /* u8[128]: what an ASCII character becomes */
    uint32_t blocks_at;  /* u16[0x110000 / 64]: of 64 code points, the number of their block */
    uint32_t kinds_at;   /* u16[][64]: blocks; of each code point, the number of its action */
    uint32_t actions_at; /* u32[] */
    uint32_t units_at;   /* u32[]: a count and so many units, again and again */
    uint32_t trie_at;    /* SelfcCell[] */
    uint32_t added_at;   /* u32[]: id, whether special, length, bytes; the longest first */
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
