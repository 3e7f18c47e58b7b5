/* Files that appear whole or not at all: written beside the final name, then renamed to it. */
#include "backend/code.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

static bool output_write_all(int file, const char *bytes, size_t size) {
    while (size) {
        ssize_t written = write(file, bytes, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return false;
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

char *output_temporary(const char *path, Arena *arena) {
    static atomic_uint count;
    return arena_printf(arena, "%s.%ld-%u.tmp", path, (long)getpid(), atomic_fetch_add(&count, 1));
}

bool output_write(const char *path, const void *bytes, size_t size) {
    Arena *arena = arena_new();
    char *temporary = output_temporary(path, arena);
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = file >= 0 && output_write_all(file, bytes, size);
    if (file >= 0 && close(file) != 0) good = false;
    if (good && rename(temporary, path) != 0) good = false;
    int why = errno;
    if (!good && file >= 0) unlink(temporary);
    arena_free(arena);
    errno = why;
    return good;
}
