/* Writing a file so that its name never shows half of it: everything goes to a temporary name beside it, is flushed to
 * the disk, and takes the final name at the end. Private to the runtime. */
#ifndef SELFC_RUNTIME_FILE_H
#define SELFC_RUNTIME_FILE_H
#include "runtime/data/data.h"

#include <stdbool.h>

typedef struct {
    char *path, *temporary; /* temporary NULL: what stands at path is no regular file and is written to directly */
    FILE *out;
    int error;              /* errno of the first write that failed */
} FileWriter;

bool file_begin(FileWriter *writer, const char *path);                 /* false after selfc_fail */
void file_write(FileWriter *writer, const void *bytes, size_t size);   /* failures show in file_commit */
void file_print(FileWriter *writer, const char *format, ...) __attribute__((format(printf, 2, 3)));
int file_commit(FileWriter *writer);                                   /* 0, or -1 after selfc_fail: nothing changed */
void file_abandon(FileWriter *writer);
/* npy.c: begins a .npy file whose elements follow by file_write, row after row. */
bool npy_begin(FileWriter *writer, const char *path, const SelfcTensor *tensor, int64_t n);

char *file_join(const char *folder, const char *name); /* "folder/name"; free(). Aborts when memory is out. */
bool file_exists(const char *path);
bool file_is_folder(const char *path);
#endif
