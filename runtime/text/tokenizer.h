/* Tokenizers: WordPiece as BERT uses it, and one token for each character. Text is bytes; what is no valid UTF-8 reads
 * as U+FFFD, which BERT's clean-up takes away.
 *
 * A tokenizer does not change once it is opened, and may be used by several threads at once. */
#ifndef SELFC_RUNTIME_TOKENIZER_H
#define SELFC_RUNTIME_TOKENIZER_H
#include "runtime/text/row.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct SelfcTokenizer SelfcTokenizer;

/* vocab.txt, tokenizer.json, or a folder with one of them (tokenizer.json first). Beside a vocab.txt,
 * tokenizer_config.json says do_lower_case, strip_accents and tokenize_chinese_chars; without it, a vocabulary with no
 * upper case in its tokens, of whatever script (those in [ ] do not count), is uncased, and one without accents strips
 * them. What stands there that cannot be followed is refused. NULL after selfc_fail. */
SelfcTokenizer *selfc_tokenizer_open(const char *path);
/* Every code point that occurs is a token, in their order; no special tokens. What is unknown later is left out. NULL
 * after selfc_fail: the text is empty. */
SelfcTokenizer *selfc_tokenizer_of_characters(const char *text, int64_t length);
/* Writes a tokenizer.json, which the Python package `tokenizers` reads, too: 0, or -1 after selfc_fail. */
int selfc_tokenizer_save(const SelfcTokenizer *tokenizer, const char *path);
/* The same as text; free(). NULL after selfc_fail. And back: `name` is for messages. */
char *selfc_tokenizer_json(const SelfcTokenizer *tokenizer);
SelfcTokenizer *selfc_tokenizer_parse(const char *json, size_t size, const char *name);
/* Writes vocab.txt, if every token fits on a line, and tokenizer_config.json; longest: tokens of a text at most. */
int selfc_tokenizer_save_parts(const SelfcTokenizer *tokenizer, const char *folder, int64_t longest);
void selfc_tokenizer_close(SelfcTokenizer *tokenizer); /* NULL is fine */

int64_t selfc_tokenizer_size(const SelfcTokenizer *tokenizer); /* of the vocabulary: ids are below it */
const char *selfc_tokenizer_token(const SelfcTokenizer *tokenizer, int32_t id);   /* NULL: there is none */
int32_t selfc_tokenizer_find(const SelfcTokenizer *tokenizer, const char *token); /* "[MASK]"; -1: there is none */
bool selfc_tokenizer_is_special(const SelfcTokenizer *tokenizer, int32_t id);     /* [PAD], [CLS], … */
/* Whether it goes on with the word before: "##ing". So ids alone say where words begin. */
bool selfc_tokenizer_continues(const SelfcTokenizer *tokenizer, int32_t id);
bool selfc_tokenizer_is_characters(const SelfcTokenizer *tokenizer);
/* What stands around the text in a row: both of [CLS] and [SEP], or none of them where the vocabulary has but one. */
SelfcMarks selfc_tokenizer_marks(const SelfcTokenizer *tokenizer);

/* The first `room` tokens of the text, without [CLS] and [SEP]; returns how many. There are never more than bytes.
 * has_specials: special tokens written in the text, as "[MASK]", are recognised; else they are text. */
int64_t selfc_tokenizer_encode(const SelfcTokenizer *tokenizer, const char *text, int64_t length, bool has_specials,
                               SelfcToken *tokens, int64_t room);
/* For texts that are encoded piece by piece: the last place where a text may be cut without a change of its tokens (but
 * for the beginning of word, from and to), whatever follows. 0: nowhere, a longer piece is needed. */
int64_t selfc_tokenizer_cut(const SelfcTokenizer *tokenizer, const char *text, int64_t length);
/* The text of ids, as the package's decoder makes it: pieces joined, spaces before punctuation taken away.
 * has_specials: special tokens are written, too. Ids outside of the vocabulary are left out. free(). */
char *selfc_tokenizer_decode(const SelfcTokenizer *tokenizer, const int32_t *ids, int64_t count, bool has_specials);

/* Training a vocabulary: words are counted, text by text, and then pieces are merged, always the two neighbours that
 * occur most often, until there are `size` tokens, or no two occur twice. [PAD], [UNK], [CLS], [SEP] and [MASK] come
 * first, then characters (the 1,000 most frequent), then what continues words, then pieces as they were merged. Words
 * of more than 256 characters do not count. */
typedef struct SelfcWords SelfcWords;
SelfcWords *selfc_words_new(bool is_cased); /* NULL after selfc_fail */
void selfc_words_free(SelfcWords *words);
/* 0, or -1 after selfc_fail. A text that comes in pieces is cut at spaces: selfc_words_cut says where. */
int selfc_words_add(SelfcWords *words, const char *text, int64_t length);
int64_t selfc_words_cut(const SelfcWords *words, const char *text, int64_t length);
SelfcTokenizer *selfc_words_train(const SelfcWords *words, int64_t size); /* NULL after selfc_fail */
/* A vocab.txt: 0, or -1 after selfc_fail. */
int selfc_tokenizer_save_lines(const SelfcTokenizer *tokenizer, const char *path);

/* What encodes: one block of `size` bytes (see tokenize.h), which may be written to a file or object and used by
 * selfc_tokenize alone. Lives as long as the tokenizer. */
const SelfcTables *selfc_tokenizer_tables(const SelfcTokenizer *tokenizer, size_t *size);
/* Whether both make the same numbers of any text. */
bool selfc_tokenizer_same(const SelfcTokenizer *a, const SelfcTokenizer *b);
#endif
