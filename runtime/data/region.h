/* Large stretches of bytes: in memory where they fit, else in a file of the cache folder, mapped. Private to the
 * runtime. */
#ifndef SELFC_RUNTIME_REGION_H
#define SELFC_RUNTIME_REGION_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *bytes;
    size_t size;
    bool is_file;
} Region;

/* Half of the memory that is free for this process, less what other regions have taken; or what SELFC_DATA_MEMORY says,
 * in bytes. */
size_t region_memory(void);
/* Zeros. What does not fit into memory goes to a file without a name in the folder, which is made if it is not there.
 * False after selfc_fail, which says that it is `what` that has no place. */
bool region_make(Region *region, size_t size, const char *folder, const char *what);
/* A new file of zeros, with room for all of it on the disk, in place of one that is there. False after selfc_fail. */
bool region_create(Region *region, size_t size, const char *path, const char *what);
/* A file that is there, of exactly this size, its pages private to this process. False, without a word: there is none.
 */
bool region_map(Region *region, size_t size, const char *path);
/* The same of a file that is open. */
bool region_map_open(Region *region, size_t size, int file);
void region_free(Region *region);

/* Where decoded data go: `folder`, or the user's cache if it is NULL. "": nowhere under a name that lasts. free(). */
char *region_folder(const char *folder);
#endif
