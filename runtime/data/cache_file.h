/* Files of the cache folder: names, and what to trust. Private to the runtime. */
#ifndef SELFC_RUNTIME_CACHE_FILE_H
#define SELFC_RUNTIME_CACHE_FILE_H
#include <stddef.h>
#include <stdint.h>

/* "FOLDER/KIND-KEY", where FOLDER is region_folder's. The key changes with anything that decides what is in the file.
 * free(). */
char *cache_file_path(const char *folder, const char *kind, uint64_t key);
/* A name that no other process, and nobody else in this one, writes to: whole files are then renamed to `path`, so
 * several may make the same file at once. Removes what processes that were killed have left of files of this kind.
 * free(). */
char *cache_file_temporary(const char *path, const char *kind);
/* Fast, and changes with any byte. */
uint64_t cache_checksum(const void *bytes, size_t size);
/* For keys: begin with CACHE_KEY_BEGIN and hash one thing after another. */
#define CACHE_KEY_BEGIN 0xCBF29CE484222325u
void cache_key_add(uint64_t *key, const void *bytes, size_t size);
void cache_key_add_text(uint64_t *key, const char *text);
void cache_key_add_file(uint64_t *key, const char *path); /* its size and time */
#endif
