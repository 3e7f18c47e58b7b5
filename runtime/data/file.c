/* Whole files in, whole files out. Readers refuse what is no regular file size-wise; writers replace atomically: write
 * to a temporary name, fsync, rename, fsync the folder. On any failure (a full disk, most of all) the
 * temporary file is removed and what stood under the name stays. */
#include "runtime/data/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_exists(const char *path) {
    struct stat status;
    return !stat(path, &status);
}

bool file_is_folder(const char *path) {
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode);
}

static char *file_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text;
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) abort();
    return text;
}

char *file_join(const char *folder, const char *name) { return file_format("%s/%s", folder, name); }

/* Reads until the end; `room` is the first guess of the size. NULL with errno set. */
static char *file_read_all(int in, size_t room, size_t *size) {
    char *data = malloc(room);
    size_t used = 0;
    while (data) {
        ssize_t got = read(in, data + used, room - used);
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            int error = errno;
            free(data);
            errno = error;
            return NULL;
        }
        used += (size_t)got;
        if (used < room) continue;
        room *= 2;
        char *larger = realloc(data, room);
        if (!larger) free(data);
        data = larger;
    }
    *size = used;
    return data;
}

int selfc_file_read(const char *path, void **bytes, size_t *size) {
    struct stat status;
    int in = open(path, O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat(in, &status)) {
        selfc_fail("cannot read %s: %s", path, strerror(errno));
        if (in >= 0) close(in);
        return -1;
    }
    size_t room = S_ISREG(status.st_mode) ? (size_t)status.st_size + 1 : 65536; /* 1 more, to meet the end */
    *bytes = file_read_all(in, room, size);
    if (!*bytes) selfc_fail("cannot read %s: %s", path, strerror(errno));
    close(in);
    return *bytes ? 0 : -1;
}

bool file_begin(FileWriter *writer, const char *path) {
    struct stat status;
    bool is_special = !stat(path, &status) && !S_ISREG(status.st_mode);
    *writer = (FileWriter){.path = file_format("%s", path)};
    if (!is_special) writer->temporary = file_format("%s.tmp-%ld", path, (long)getpid());
    writer->out = fopen(is_special ? path : writer->temporary, "wbe");
    if (writer->out) return true;
    selfc_fail("cannot write %s: %s", path, strerror(errno));
    free(writer->path);
    free(writer->temporary);
    return false;
}

void file_write(FileWriter *writer, const void *bytes, size_t size) {
    if (size && !writer->error && fwrite(bytes, 1, size, writer->out) != size) writer->error = errno ? errno : EIO;
}

void file_print(FileWriter *writer, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (!writer->error && vfprintf(writer->out, format, arguments) < 0) writer->error = errno ? errno : EIO;
    va_end(arguments);
}

static void file_end(FileWriter *writer) {
    if (writer->out) fclose(writer->out);
    free(writer->path);
    free(writer->temporary);
    *writer = (FileWriter){0};
}

void file_abandon(FileWriter *writer) {
    if (writer->temporary) unlink(writer->temporary);
    file_end(writer);
}

/* The new name is on the disk only when the folder is. Not every file system can; those that cannot say so. */
static void file_sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? file_format("%.*s", slash == path ? 1 : (int)(slash - path), path) : file_format(".");
    int handle = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle >= 0) {
        fsync(handle);
        close(handle);
    }
    free(folder);
}

int file_commit(FileWriter *writer) {
    if (!writer->error && fflush(writer->out)) writer->error = errno;
    if (!writer->error && writer->temporary && fsync(fileno(writer->out))) writer->error = errno;
    int closed = fclose(writer->out);
    writer->out = NULL;
    if (!writer->error && closed) writer->error = errno;
    if (!writer->error && writer->temporary && rename(writer->temporary, writer->path)) writer->error = errno;
    if (writer->error) {
        selfc_fail("cannot write %s: %s", writer->path, strerror(writer->error));
        file_abandon(writer);
        return -1;
    }
    if (writer->temporary) file_sync_folder(writer->path);
    file_end(writer);
    return 0;
}

int selfc_file_replace(const char *path, const void *bytes, size_t size) {
    FileWriter writer;
    if (!file_begin(&writer, path)) return -1;
    file_write(&writer, bytes, size);
    return file_commit(&writer);
}

int selfc_make_folders(const char *path) {
    char *part = file_format("%s", path);
    int failed = 0;
    for (char *end = part + 1; *part && !failed; end++) {
        if (*end && *end != '/') continue;
        char kept = *end;
        *end = 0;
        failed = mkdir(part, 0777) && errno != EEXIST;
        *end = kept;
        if (!kept) break;
    }
    if (failed)
        selfc_fail("cannot make the folder %s: %s", path, strerror(errno));
    else if (!file_is_folder(path))
        failed = 1, selfc_fail("cannot make the folder %s: a file has this name", path);
    free(part);
    return failed ? -1 : 0;
}
