/* The files of frontend/library/, which stand in the binary; cmake/embed.cmake makes the C file. */
#ifndef SELFC_FRONTEND_LIBRARY_H
#define SELFC_FRONTEND_LIBRARY_H
#include <stdint.h>

typedef struct {
    const char *name, *text; /* "library/optimizers.json" */
} LibraryFile;
extern const LibraryFile library_files[];
extern const uint32_t library_file_count;
#endif
