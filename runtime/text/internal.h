/* The inside of a tokenizer, shared by the files of runtime/text that make and use it. */
#ifndef SELFC_RUNTIME_TEXT_INTERNAL_H
#define SELFC_RUNTIME_TEXT_INTERNAL_H
#include "runtime/text/tokenizer.h"
#include "runtime/text/unicode.h"
#include "runtime/text/vocabulary.h"

/* A token that is recognised in the text before anything else. Special ones only where the caller wants it. */
typedef struct {
    int32_t id;
    bool is_special;
} AddedToken;

struct SelfcTokenizer {
    TextRules rules;
    Vocabulary vocabulary;
    AddedToken *added;
    uint32_t added_count;
    char *unknown_token;     /* "[UNK]"; NULL for characters */
    char *prefix;            /* "##" */
    int64_t most_characters; /* of a word */
    bool cleans_decoded;
    SelfcTables *tables;
    size_t tables_size;
};

/* tokenizer.c */
SelfcTokenizer *tokenizer_new(void); /* BERT's uncased rules and no vocabulary; NULL after selfc_fail */
bool tokenizer_add(SelfcTokenizer *tokenizer, int32_t id, bool is_special);
/* Those of [PAD], [UNK], [CLS], [SEP] and [MASK] that are in the vocabulary, as special tokens. */
bool tokenizer_add_usual(SelfcTokenizer *tokenizer);
/* Checks what has been filled in and makes the tables. `name` is for messages. false after selfc_fail. */
bool tokenizer_finish(SelfcTokenizer *tokenizer, const char *name);

/* characters.c: the rules of a tokenizer of characters. */
void tokenizer_set_characters(SelfcTokenizer *tokenizer);

/* tables.c: false: no memory. */
bool tables_build(SelfcTokenizer *tokenizer);

/* tokenizer_json.c. false after selfc_fail. */
bool tokenizer_read_json(SelfcTokenizer *tokenizer, const char *text, size_t size, const char *name);
/* tokenizer_config.json beside a vocabulary: what it says of the rules; *says_case: whether of the case. What cannot be
 * followed is refused. */
bool tokenizer_read_config(SelfcTokenizer *tokenizer, const char *text, size_t size, const char *name, bool *says_case);
/* added_tokens.json beside it: only what is added already may stand in it. */
bool tokenizer_read_added(SelfcTokenizer *tokenizer, const char *text, size_t size, const char *name);
/* vocab.txt: a token a line. */
bool tokenizer_read_lines(SelfcTokenizer *tokenizer, const char *text, size_t size, const char *name);
#endif
