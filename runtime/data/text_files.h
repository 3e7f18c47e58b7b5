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

/* What makes a sample. */
typedef enum { UNIT_stream, UNIT_document, UNIT_line } TextUnit;
extern const char *const text_unit_name[3];
bool text_unit_find(const char *name, TextUnit *unit);

/* whole: without a test split of its own, all text is for training. Splits do not cut units in two. False after
 * selfc_fail. Files may have no part in a split that is not there. */
bool text_files_find(TextFiles *files, const char *path, SelfcSplit split, TextUnit unit, bool whole);
void text_files_free(TextFiles *files);
int64_t text_files_bytes(const TextFiles *files);
bool text_files_are_at(const char *path);
#endif
