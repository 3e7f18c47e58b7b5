/* What all files of the cache share. A file is written under a temporary name, which has the number of its process, and
 * takes its own when it is whole; there are no locks, for whoever comes second replaces a file by an equal one. */
#include "runtime/data/cache_file.h"
#include "runtime/data/file.h"
#include "runtime/data/region.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *cache_file_path(const char *folder, const char *kind, uint64_t key) {
    char *path, *in = region_folder(folder);
    if (asprintf(&path, "%s/%s-%016llx", in, kind, (unsigned long long)key) < 0) abort();
    free(in);
    return path;
}

/* Files of processes that were killed while they wrote. */
static void cache_clean(const char *folder, const char *kind) {
    DIR *directory = opendir(folder);
    size_t length = strlen(kind);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        const char *ending = strstr(entry->d_name, ".tmp-");
        if (strncmp(entry->d_name, kind, length) || entry->d_name[length] != '-' || !ending) continue;
        long process = strtol(ending + 5, NULL, 10);
        if (process <= 0 || !kill((pid_t)process, 0) || errno != ESRCH) continue;
        char *path = file_join(folder, entry->d_name);
        unlink(path);
        free(path);
    }
    if (directory) closedir(directory);
}

char *cache_file_temporary(const char *path, const char *kind) {
    static atomic_uint number;
    const char *slash = strrchr(path, '/');
    char *temporary, *folder = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    if (!folder || asprintf(&temporary, "%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&number, 1)) < 0)
        abort();
    cache_clean(folder, kind);
    free(folder);
    return temporary;
}

uint64_t cache_checksum(const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    uint64_t hash = 0x9E3779B97F4A7C15u ^ size, word;
    for (; size >= 8; at += 8, size -= 8) {
        memcpy(&word, at, 8);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, at, size);
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    return hash ^ hash >> 29;
}

void cache_key_add(uint64_t *key, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) *key = (*key ^ ((const uint8_t *)bytes)[i]) * 0x100000001B3u;
}

void cache_key_add_text(uint64_t *key, const char *text) { cache_key_add(key, text, strlen(text) + 1); }

void cache_key_add_file(uint64_t *key, const char *path) {
    struct stat status;
    int64_t facts[3] = {-1};
    if (!stat(path, &status)) {
        facts[0] = status.st_size;
        facts[1] = status.st_mtim.tv_sec;
        facts[2] = status.st_mtim.tv_nsec;
    }
    cache_key_add(key, facts, sizeof facts);
}
