/* Which files of text, and which parts of them, a split consists of. Private to the runtime. */
#ifndef SELFC_RUNTIME_TEXT_FILES_H
#define SELFC_RUNTIME_TEXT_FILES_H
#include "runtime/data/data.h"

#include <stdbool.h>

typedef struct {
    char *path;
    int64_t begin, end; /* the bytes that belong to the split */
} TextFile;

typedef struct {
    TextFile *files; /* by name */
    int64_t count, capacity;
    bool is_json; /* a JSON object a line */
} TextFiles;

/* What the test split is made of, where no file has its name. */
typedef enum {
    DIVIDE_lines, /* the last lines of the text */
    DIVIDE_files, /* the last files */
    DIVIDE_not    /* nothing */
} TextDivision;
/* False after selfc_fail; a split that is not there has no bytes. */
bool text_files_find(TextFiles *files, const char *path, SelfcSplit split, TextDivision division);
void text_files_free(TextFiles *files);
int64_t text_files_bytes(const TextFiles *files);
bool text_files_are_at(const char *path);
#endif
