/* The library that stands in the binary: the files of frontend/library/, which cmake/embed.cmake makes a C file of.
 * They are descriptions with "modules" and "optimizers" that every other description may use. */
#ifndef SELFC_FRONTEND_LIBRARY_H
#define SELFC_FRONTEND_LIBRARY_H
#include "frontend/json.h"

typedef struct {
    const char *name, *text; /* "library/optimizers.json" */
} LibraryFile;
extern const LibraryFile library_files[];
extern const uint32_t library_file_count;

const Json **library_parse(Arena *arena); /* library_file_count of them */
/* What all files have in a section, "modules" or "optimizers". */
const Json **library_items(const char *section, uint32_t *count, Arena *arena);
#endif
