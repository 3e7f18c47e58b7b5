/* Memory or a mapped file. Files get their room on the disk before they are written to: a full disk is then a message
 * and not a signal in the middle of a run. */
#include "runtime/data/region.h"
#include "runtime/data/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Promised to regions, whether their pages have been touched or not. */
static _Atomic size_t region_taken;

/* The number of kB that /proc/meminfo gives in the line `name`; 0: none. */
static size_t region_meminfo(const char *name) {
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *in = fopen("/proc/meminfo", "re");
    while (in && fgets(line, sizeof line, in))
        if (!strncmp(line, name, strlen(name))) sscanf(line + strlen(name), ": %llu", &kilobytes);
    if (in) fclose(in);
    return (size_t)kilobytes * 1024;
}

static size_t region_number_in(const char *path) {
    unsigned long long number = 0;
    FILE *in = fopen(path, "re");
    if (in && fscanf(in, "%llu", &number) != 1) number = 0; /* "max": no limit */
    if (in) fclose(in);
    return (size_t)number;
}

size_t region_memory(void) {
    const char *given = getenv("SELFC_DATA_MEMORY");
    if (given && *given) return (size_t)strtoull(given, NULL, 10);
    size_t available = region_meminfo("MemAvailable"), limit = region_number_in("/sys/fs/cgroup/memory.max");
    size_t used = region_number_in("/sys/fs/cgroup/memory.current");
    if (limit && limit < available + used) available = limit > used ? limit - used : 0;
    size_t half = available / 2, taken = atomic_load(&region_taken);
    return half > taken ? half - taken : 0;
}

static bool region_map_file(Region *region, size_t size, int file, int kind) {
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, kind, file, 0);
    if (bytes == MAP_FAILED) return false;
    *region = (Region){bytes, size, true};
    return true;
}

/* A file without a name goes with its process, however that ends. */
static bool region_open_new(Region *region, size_t size, const char *path, bool has_name, const char *what) {
    unlink(path); /* of a process that had the same number and was killed: numbers begin anew in each container */
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0 && !has_name) unlink(path);
    int error = file < 0 ? errno : posix_fallocate(file, 0, (off_t)size);
    if (!error && !region_map_file(region, size, file, MAP_SHARED)) error = errno;
    if (file >= 0) close(file);
    if (!error) return true;
    if (file >= 0 && has_name) unlink(path);
    selfc_fail("%s: %.1f MB do not fit into memory, and not into %s: %s", what, (double)size / 1e6, path,
               strerror(error));
    return false;
}

bool region_create(Region *region, size_t size, const char *path, const char *what) {
    return region_open_new(region, size, path, true, what);
}

/* No room is kept for pages that might be written to, so a file may be larger than the memory. */
bool region_map(Region *region, size_t size, const char *path) {
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    bool is_fine = !fstat(file, &status) && S_ISREG(status.st_mode) && (size_t)status.st_size == size &&
                   region_map_file(region, size, file, MAP_PRIVATE | MAP_NORESERVE);
    close(file);
    return is_fine;
}

bool region_map_open(Region *region, size_t size, int file) {
    return region_map_file(region, size, file, MAP_PRIVATE | MAP_NORESERVE);
}

static bool region_make_unnamed(Region *region, size_t size, const char *folder, const char *what) {
    char *path, *in = region_folder(folder && !*folder ? NULL : folder);
    static atomic_uint number;
    if (selfc_make_folders(in) ||
        asprintf(&path, "%s/unnamed.tmp-%ld-%u", in, (long)getpid(), atomic_fetch_add(&number, 1)) < 0)
        return free(in), false;
    bool is_fine = region_open_new(region, size, path, false, what);
    free(path);
    free(in);
    return is_fine;
}

bool region_make(Region *region, size_t size, const char *folder, const char *what) {
    if (size == 0) size = 1;
    if (size > region_memory()) return region_make_unnamed(region, size, folder, what);
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED) return region_make_unnamed(region, size, folder, what);
    *region = (Region){bytes, size, false};
    atomic_fetch_add(&region_taken, size);
    return true;
}

void region_free(Region *region) {
    if (!region->bytes) return;
    munmap(region->bytes, region->size);
    if (!region->is_file) atomic_fetch_sub(&region_taken, region->size);
    *region = (Region){0};
}

char *region_folder(const char *folder) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (folder) return strdup(folder);
    if (base && base[0] == '/') return file_join(base, "selfc");
    return home && home[0] ? file_join(home, ".cache/selfc") : strdup("/tmp");
}
