/* Tokens of a text, two bytes each, or four, in a file that is mapped and not read. Private to the runtime. */
#ifndef SELFC_RUNTIME_TOKEN_STORE_H
#define SELFC_RUNTIME_TOKEN_STORE_H
#include "runtime/data/region.h"

#include <stdio.h>

/* The beginning of a file; units, u16 each, follow, and from a multiple of 8 bytes on the index. */
typedef struct {
    char magic[8];
    uint64_t key;
    int64_t units, records;
    int64_t extra;     /* units of a record between its length and its tokens */
    int64_t width;     /* units of a token */
    int64_t below;     /* values of the first extra unit are below this */
    int64_t cut, lost; /* records whose text was too long; those of them that were left out */
    uint64_t checksum; /* of all else in the file */
} TokenHead;

typedef struct {
    Region region;
    const TokenHead *head;
    const uint16_t *units;
} TokenStore;

/* A file of the cache that is there and whole. */
bool token_store_open(TokenStore *store, const char *folder, uint64_t key);
void token_store_close(TokenStore *store);
/* A record: how many tokens, the extra units, the tokens. NULL: there is none, or the file was changed. */
const uint16_t *token_store_record(const TokenStore *store, int64_t index);

/* A file that is being made. */
typedef struct {
    const char *what; /* the data set, for messages */
    FILE *out;
    char *path, *temporary; /* NULL: a file without a name, which goes with the process */
    TokenHead head;
    uint64_t *index;
    int64_t index_room;
    int error; /* errno of the first write that failed */
} TokenWriter;
/* folder: as region_folder has it; "": a file without a name. False after selfc_fail. */
bool token_writer_begin(TokenWriter *writer, const char *what, const char *folder, uint64_t key, int64_t extra,
                        int64_t width);
void token_writer_put(TokenWriter *writer, const uint16_t *units, int64_t count);
void token_writer_put_record(TokenWriter *writer, const uint16_t *record); /* its length says how long it is */
bool token_writer_end(TokenWriter *writer, TokenStore *store); /* false after selfc_fail, as if it had never begun */
void token_writer_abandon(TokenWriter *writer);
#endif
