/* Machine code on disk: one file for each kernel, named by the hash of all that it was made from.
 *
 * A file is the ELF object followed by a trailer, so that objdump and nm read it as it is. Nothing in the folder is
 * trusted: a file counts only if it is ours, is as long as it says, names its own key and has the checksum it
 * states. Anything else is taken as absent and is overwritten. Files are written whole or not at all, so
 * several processes may share a folder. What was not used for the longest time goes first. */
#include "backend/code.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <llvm-c/blake3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAGIC_BYTES = 8, SECONDS_A_DAY = 24 * 60 * 60 };
static const char cache_magic[MAGIC_BYTES] = "selfcod";
static const char cache_ending[] = ".selfc.o";

typedef struct {
    uint8_t key[CODE_KEY_BYTES], checksum[CODE_KEY_BYTES];
    uint64_t size; /* of the object */
    char magic[MAGIC_BYTES];
} Trailer;

static char *cache_path(const char *folder, const uint8_t key[CODE_KEY_BYTES], Arena *arena) {
    char digits[2 * CODE_KEY_BYTES + 1];
    for (int i = 0; i < CODE_KEY_BYTES; i++) snprintf(digits + 2 * i, 3, "%02x", key[i]);
    return arena_printf(arena, "%s/%s%s", folder, digits, cache_ending);
}

static void cache_checksum(const void *bytes, size_t size, uint8_t sum[CODE_KEY_BYTES]) {
    llvm_blake3_hasher hasher;
    llvm_blake3_hasher_init(&hasher);
    llvm_blake3_hasher_update(&hasher, bytes, size);
    llvm_blake3_hasher_finalize(&hasher, sum, CODE_KEY_BYTES);
}

/* The content of a file that belongs to this user; NULL if it cannot be had. */
static char *cache_read(const char *path, size_t *size) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) return NULL;
    struct stat status;
    char *bytes = NULL;
    bool ours = fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
                !(status.st_mode & S_IWOTH);
    if (ours && status.st_size > (off_t)sizeof(Trailer)) bytes = malloc((size_t)status.st_size);
    if (bytes) {
        *size = (size_t)status.st_size;
        if (read(file, bytes, *size) != (ssize_t)*size) {
            free(bytes);
            bytes = NULL;
        }
    }
    if (bytes && time(NULL) - status.st_mtime > SECONDS_A_DAY) futimens(file, NULL);
    close(file);
    return bytes;
}

LLVMMemoryBufferRef cache_load(const char *folder, const uint8_t key[CODE_KEY_BYTES]) {
    Arena *arena = arena_new();
    size_t size;
    char *bytes = cache_read(cache_path(folder, key, arena), &size);
    arena_free(arena);
    if (!bytes) return NULL;

    Trailer trailer;
    uint8_t sum[CODE_KEY_BYTES];
    size -= sizeof trailer;
    memcpy(&trailer, bytes + size, sizeof trailer);
    cache_checksum(bytes, size, sum);
    bool good = memcmp(trailer.magic, cache_magic, MAGIC_BYTES) == 0 && trailer.size == size &&
                memcmp(trailer.key, key, CODE_KEY_BYTES) == 0 && memcmp(trailer.checksum, sum, CODE_KEY_BYTES) == 0;
    LLVMMemoryBufferRef object = good ? LLVMCreateMemoryBufferWithMemoryRangeCopy(bytes, size, "cached") : NULL;
    free(bytes);
    return object;
}

/* Makes the folder and those above it; whether that worked shows when a file is written. */
static void cache_make_folder(const char *folder, Arena *arena) {
    char *path = arena_copy(arena, folder);
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = 0;
            mkdir(path, 0777);
            *at = '/';
        }
    mkdir(path, 0700);
}

void cache_store(const char *folder, const uint8_t key[CODE_KEY_BYTES], const void *bytes, size_t size) {
    Arena *arena = arena_new();
    char *whole = malloc(size + sizeof(Trailer));
    if (whole) {
        Trailer trailer = {.size = size};
        memcpy(trailer.key, key, CODE_KEY_BYTES);
        memcpy(trailer.magic, cache_magic, MAGIC_BYTES);
        cache_checksum(bytes, size, trailer.checksum);
        memcpy(whole, bytes, size);
        memcpy(whole + size, &trailer, sizeof trailer);
        const char *path = cache_path(folder, key, arena);
        if (!output_write(path, whole, size + sizeof trailer) && errno == ENOENT) {
            cache_make_folder(folder, arena);
            output_write(path, whole, size + sizeof trailer);
        }
        free(whole);
    }
    arena_free(arena);
}

void cache_drop(const char *folder, const uint8_t key[CODE_KEY_BYTES]) {
    Arena *arena = arena_new();
    unlink(cache_path(folder, key, arena));
    arena_free(arena);
}

typedef struct {
    char *path;
    time_t used;
    int64_t bytes;
} Entry;

static int cache_older(const void *a, const void *b) {
    time_t first = ((const Entry *)a)->used, second = ((const Entry *)b)->used;
    return (first > second) - (first < second);
}

/* Does the name begin with a key and our ending? *rest: what follows; "" for a whole file. */
static bool cache_is_ours(const char *name, const char **rest) {
    size_t ending = sizeof cache_ending - 1;
    if (strlen(name) < 2 * CODE_KEY_BYTES + ending) return false;
    *rest = name + 2 * CODE_KEY_BYTES + ending;
    return strncmp(name + 2 * CODE_KEY_BYTES, cache_ending, ending) == 0;
}

/* What a process that was killed while it wrote has left. */
static bool cache_is_rubbish(const char *rest, time_t written) {
    size_t length = strlen(rest);
    return length > 4 && strcmp(rest + length - 4, ".tmp") == 0 && time(NULL) - written > SECONDS_A_DAY;
}

/* The folder's entries, in one array that grows; only files that this file has made. */
static Entry *cache_list(const char *folder, size_t *count, Arena *arena) {
    size_t capacity = 0;
    Entry *entries = NULL;
    *count = 0;
    DIR *listing = opendir(folder);
    for (struct dirent *item; listing && (item = readdir(listing));) {
        struct stat status;
        const char *rest;
        if (!cache_is_ours(item->d_name, &rest)) continue;
        char *path = arena_printf(arena, "%s/%s", folder, item->d_name);
        if (lstat(path, &status) != 0 || !S_ISREG(status.st_mode)) continue;
        if (cache_is_rubbish(rest, status.st_mtime)) unlink(path);
        if (*rest) continue;
        if (*count == capacity) {
            Entry *more = arena_array(arena, Entry, capacity = 2 * capacity + 64);
            if (entries) memcpy(more, entries, *count * sizeof *more);
            entries = more;
        }
        entries[(*count)++] = (Entry){path, status.st_mtime, status.st_size};
    }
    if (listing) closedir(listing);
    return entries;
}

void cache_trim(const char *folder, int64_t most_bytes) {
    Arena *arena = arena_new();
    size_t count;
    Entry *entries = cache_list(folder, &count, arena);
    int64_t total = 0;
    for (size_t i = 0; i < count; i++) total += entries[i].bytes;
    if (total > most_bytes) qsort(entries, count, sizeof *entries, cache_older);
    for (size_t i = 0; i < count && total > most_bytes; i++)
        if (unlink(entries[i].path) == 0) total -= entries[i].bytes;
    arena_free(arena);
}
