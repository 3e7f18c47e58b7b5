/* Reading archives by libarchive, which knows only a way forward. So an archive is read through twice: once for names
 * and sizes when it is opened, and once for the bytes of the members that are wanted, which are kept in memory (or in
 * an unnamed file, if they are too many) and decoded from there by any thread in any order.
 *
 * The splits of a data set are opened one by one and stand in one archive, which they share. */
#include "runtime/data/packed.h"
#include "runtime/core/core.h"
#include "runtime/data/picture.h"
#include "runtime/data/region.h"

#include <archive.h>
#include <archive_entry.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PACKED_BLOCK = 1 << 18, PACKED_MOST = 1 << 25, PACKED_LONGEST_NAME = 4096 };

struct PackedBytes {
    Packed packed; /* first: what others see */
    Region region;
    bool is_loaded;
    int users;
    struct PackedBytes *next;
};

static struct PackedBytes *packed_all;
static pthread_mutex_t packed_mutex = PTHREAD_MUTEX_INITIALIZER;

static bool packed_fail(const Packed *packed, struct archive *in) {
    const char *text = archive_error_string(in);
    selfc_fail("%s: the archive cannot be read to its end: %s", packed->path, text ? text : "unknown reason");
    return false;
}

/* Only what is read by the library itself, without calling other programs. */
static struct archive *packed_begin(const char *path, int *status) {
    struct archive *in = archive_read_new();
    if (!in) return NULL;
    archive_read_support_format_tar(in);
    archive_read_support_format_zip_seekable(in); /* the other way takes half a file for a whole one */
    archive_read_support_filter_gzip(in);
    archive_read_support_filter_bzip2(in);
    archive_read_support_filter_compress(in);
    archive_read_support_filter_xz(in);
    archive_read_support_filter_lzma(in);
    archive_read_support_filter_zstd(in);
    archive_read_support_filter_lz4(in);
    *status = archive_read_open_filename(in, path, PACKED_BLOCK);
    return in;
}

bool packed_is_archive(const char *path) {
    struct archive_entry *entry;
    int status = ARCHIVE_FATAL;
    struct archive *in = packed_begin(path, &status);
    if (status >= ARCHIVE_WARN) status = archive_read_next_header(in, &entry);
    bool is_archive = status == ARCHIVE_OK || status == ARCHIVE_WARN;
    archive_read_free(in);
    return is_archive;
}

static bool packed_is_file(struct archive_entry *entry) {
    return archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry);
}

/* The next entry; 1: there it is, 0: the end, -1 after selfc_fail. */
static int packed_next(const Packed *packed, struct archive *in, struct archive_entry **entry) {
    for (;;) {
        int status = archive_read_next_header(in, entry);
        if (status == ARCHIVE_EOF) return 0;
        if (status == ARCHIVE_RETRY) continue;
        if (status < ARCHIVE_WARN) return packed_fail(packed, in), -1;
        return 1;
    }
}

static const char *packed_without_dot(const char *name) {
    while (name && name[0] == '.' && name[1] == '/') name += 2;
    return name;
}

/* Names in another encoding than the process's may have no plain form. */
static const char *packed_name(struct archive_entry *entry) {
    const char *name = archive_entry_pathname(entry);
    return packed_without_dot(name ? name : archive_entry_pathname_utf8(entry));
}

static PackedMember *packed_add(Packed *packed, int64_t *capacity) {
    if (packed->count == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 1024;
        PackedMember *larger = realloc(packed->members, (size_t)*capacity * sizeof *larger);
        if (!larger) return NULL;
        packed->members = larger;
    }
    PackedMember *member = &packed->members[packed->count++];
    *member = (PackedMember){0};
    return member;
}

static bool packed_index_member(Packed *packed, struct archive *in, struct archive_entry *entry, int64_t *capacity) {
    const char *name = packed_name(entry);
    if (packed->count == PACKED_MOST)
        return selfc_fail("%s: has more than %d members", packed->path, PACKED_MOST), false;
    if (name && strlen(name) > PACKED_LONGEST_NAME)
        return selfc_fail("%s: has a member whose name is longer than %d bytes", packed->path, PACKED_LONGEST_NAME),
               false;
    PackedMember *member = packed_add(packed, capacity);
    if (member && name) member->name = strdup(name);
    if (member && !name && asprintf(&member->name, "member-%lld", (long long)packed->count) < 0) member->name = NULL;
    if (!member || !member->name) return selfc_fail("%s: no memory for its list of members", packed->path), false;
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0) {
        member->failure = strdup("the archive does not say how large it is");
        return true;
    }
    member->size = archive_entry_size(entry);
    ssize_t got = archive_read_data(in, member->start, PACKED_START);
    if (got == ARCHIVE_FATAL) return packed_fail(packed, in);
    return true;
}

/* Where a symbolic link leads, "a/b/../c" being "a/c"; NULL: out of the archive, or no memory. free(). */
static char *packed_follow(const char *link, const char *target) {
    const char *slash = strrchr(link, '/');
    size_t used = slash ? (size_t)(slash - link) : 0;
    char *path = *target == '/' ? NULL : malloc(used + strlen(target) + 2);
    if (!path) return NULL;
    memcpy(path, link, used);
    for (const char *part = target; *part;) {
        size_t length = strcspn(part, "/");
        bool is_up = length == 2 && !memcmp(part, "..", 2), is_here = !length || (length == 1 && *part == '.');
        if (is_up && !used) return free(path), NULL;
        if (is_up)
            while (used && path[--used] != '/') continue;
        if (!is_up && !is_here) {
            if (used) path[used++] = '/';
            memcpy(path + used, part, length);
            used += length;
        }
        part += length + (part[length] == '/');
    }
    path[used] = 0;
    return path;
}

/* Links that cannot be followed are no files, as in a folder. */
static bool packed_index_link(Packed *packed, struct archive_entry *entry, int64_t *capacity) {
    const char *name = packed_name(entry), *hard = packed_without_dot(archive_entry_hardlink(entry));
    const char *soft = archive_entry_filetype(entry) == AE_IFLNK ? archive_entry_symlink(entry) : NULL;
    const char *target = hard ? hard : soft;
    if (!name || !target || strlen(name) > PACKED_LONGEST_NAME || strlen(target) > PACKED_LONGEST_NAME) return true;
    if (packed->link_count == PACKED_MOST)
        return selfc_fail("%s: has more than %d links", packed->path, PACKED_MOST), false;
    if (packed->link_count == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 64;
        PackedLink *larger = realloc(packed->links, (size_t)*capacity * sizeof *larger);
        if (!larger) return selfc_fail("%s: no memory for its list of links", packed->path), false;
        packed->links = larger;
    }
    PackedLink link = {.name = strdup(name), .target = hard ? strdup(hard) : packed_follow(name, soft)};
    if (link.name && link.target) {
        packed->links[packed->link_count++] = link;
        return true;
    }
    free(link.name);
    free(link.target);
    return true;
}

static int packed_compare_members(const void *a, const void *b) {
    return strcmp((*(PackedMember *const *)a)->name, (*(PackedMember *const *)b)->name);
}

static int packed_compare_links(const void *a, const void *b) {
    return strcmp((*(PackedLink *const *)a)->name, (*(PackedLink *const *)b)->name);
}

/* Members and links by their names. */
typedef struct {
    PackedMember **members;
    PackedLink **links;
    size_t member_count, link_count;
} PackedNames;

/* What a name leads to; a link may lead to another. NULL: nothing, or too long a way. */
static PackedMember *packed_find(const PackedNames *names, char *target) {
    enum { PACKED_LONGEST_CHAIN = 8 };
    for (int turn = 0; turn < PACKED_LONGEST_CHAIN; turn++) {
        PackedMember member = {.name = target}, *wanted = &member, **found;
        PackedLink link = {.name = target}, *next = &link, **found_link;
        found = bsearch(&wanted, names->members, names->member_count, sizeof wanted, packed_compare_members);
        if (found) return *found;
        found_link = bsearch(&next, names->links, names->link_count, sizeof next, packed_compare_links);
        if (!found_link) return NULL;
        target = (*found_link)->target;
    }
    return NULL;
}

static bool packed_resolve(Packed *packed) {
    PackedNames names = {.member_count = (size_t)packed->count, .link_count = (size_t)packed->link_count};
    if (!names.link_count) return true;
    names.members = malloc((names.member_count + 1) * sizeof *names.members);
    names.links = malloc(names.link_count * sizeof *names.links);
    bool is_fine = names.members && names.links;
    if (is_fine) {
        for (size_t i = 0; i < names.member_count; i++) names.members[i] = &packed->members[i];
        for (size_t i = 0; i < names.link_count; i++) names.links[i] = &packed->links[i];
        qsort(names.members, names.member_count, sizeof *names.members, packed_compare_members);
        qsort(names.links, names.link_count, sizeof *names.links, packed_compare_links);
        for (size_t i = 0; i < names.link_count; i++)
            packed->links[i].member = packed_find(&names, packed->links[i].target);
    } else {
        selfc_fail("%s: no memory for its list of links", packed->path);
    }
    free(names.members);
    free(names.links);
    return is_fine;
}

static bool packed_index(Packed *packed) {
    struct archive_entry *entry;
    int64_t capacity = 0, link_capacity = 0;
    int status = ARCHIVE_FATAL, found;
    struct archive *in = packed_begin(packed->path, &status);
    if (!in) return selfc_fail("%s: no memory to read the archive", packed->path), false;
    bool is_fine = status >= ARCHIVE_WARN || packed_fail(packed, in);
    while (is_fine && (found = packed_next(packed, in, &entry)) != 0)
        is_fine = found > 0 && (packed_is_file(entry) ? packed_index_member(packed, in, entry, &capacity)
                                                      : packed_index_link(packed, entry, &link_capacity));
    archive_read_free(in);
    return is_fine && packed_resolve(packed);
}

static void packed_destroy(struct PackedBytes *bytes) {
    for (int64_t i = 0; i < bytes->packed.count; i++) {
        free(bytes->packed.members[i].name);
        free(bytes->packed.members[i].failure);
    }
    for (int64_t i = 0; i < bytes->packed.link_count; i++) {
        free(bytes->packed.links[i].name);
        free(bytes->packed.links[i].target);
    }
    free(bytes->packed.members);
    free(bytes->packed.links);
    free(bytes->packed.path);
    region_free(&bytes->region);
    free(bytes);
}

static struct PackedBytes *packed_make(const char *path) {
    struct PackedBytes *bytes = calloc(1, sizeof *bytes);
    if (!bytes) return selfc_fail("%s: no memory to read the archive", path), NULL;
    bytes->packed.path = strdup(path);
    bytes->packed.kept = bytes;
    if (bytes->packed.path && packed_index(&bytes->packed)) return bytes;
    packed_destroy(bytes);
    return NULL;
}

Packed *packed_open(const char *path) {
    pthread_mutex_lock(&packed_mutex);
    struct PackedBytes *bytes = packed_all;
    while (bytes && strcmp(bytes->packed.path, path)) bytes = bytes->next;
    if (!bytes && (bytes = packed_make(path))) {
        bytes->next = packed_all;
        packed_all = bytes;
    }
    if (bytes) bytes->users++;
    pthread_mutex_unlock(&packed_mutex);
    return bytes ? &bytes->packed : NULL;
}

void packed_close(Packed *packed) {
    if (!packed) return;
    pthread_mutex_lock(&packed_mutex);
    struct PackedBytes **link = &packed_all;
    while (*link != packed->kept) link = &(*link)->next;
    if (!--packed->kept->users) {
        *link = packed->kept->next;
        packed_destroy(packed->kept);
    }
    pthread_mutex_unlock(&packed_mutex);
}

/* Reads a member's bytes; false after selfc_fail, when the archive itself is broken. */
static bool packed_read_member(const Packed *packed, struct archive *in, PackedMember *member) {
    uint8_t *to = packed->kept->region.bytes + member->offset;
    for (int64_t used = 0; used < member->size;) {
        ssize_t got = archive_read_data(in, to + used, (size_t)(member->size - used));
        if (got == ARCHIVE_RETRY) continue;
        if (got == ARCHIVE_FATAL) return packed_fail(packed, in);
        if (got > 0) used += got;
        if (got > 0) continue;
        const char *text = got ? archive_error_string(in) : "it is shorter than the archive says";
        member->failure = strdup(text ? text : "unknown reason");
        return true;
    }
    return true;
}

static bool packed_read_members(Packed *packed, struct archive *in) {
    struct archive_entry *entry;
    for (int64_t i = 0; i < packed->count; i++) {
        PackedMember *member = &packed->members[i];
        int found;
        while ((found = packed_next(packed, in, &entry)) > 0 && !packed_is_file(entry)) continue;
        if (found < 0) return false;
        const char *name = found ? packed_name(entry) : NULL;
        bool is_same = found && (!name || !strcmp(name, member->name)) &&
                       (member->failure || archive_entry_size(entry) == member->size);
        if (!is_same) return selfc_fail("%s: has changed since it was opened", packed->path), false;
        if (member->is_wanted && !member->failure && !packed_read_member(packed, in, member)) return false;
    }
    return true;
}

/* Places the members one behind the other; those that are too large for a picture are not unpacked. */
static size_t packed_place(Packed *packed) {
    size_t total = 0;
    for (int64_t i = 0; i < packed->count; i++) {
        PackedMember *member = &packed->members[i];
        if (!member->is_wanted || member->failure) continue;
        if (member->size > PICTURE_LARGEST_FILE) member->failure = strdup("larger than any picture should be: 256 MB");
        member->offset = (int64_t)total;
        if (!member->failure) total += (size_t)member->size;
    }
    return total;
}

static bool packed_load_now(Packed *packed, const char *folder) {
    int status = ARCHIVE_FATAL;
    region_free(&packed->kept->region); /* of a time that failed */
    if (!region_make(&packed->kept->region, packed_place(packed), folder, packed->path)) return false;
    struct archive *in = packed_begin(packed->path, &status);
    if (!in) return selfc_fail("%s: no memory to read the archive", packed->path), false;
    bool is_fine = (status >= ARCHIVE_WARN || packed_fail(packed, in)) && packed_read_members(packed, in);
    archive_read_free(in);
    return is_fine;
}

bool packed_load(Packed *packed, const char *folder) {
    pthread_mutex_lock(&packed_mutex);
    bool is_fine = packed->kept->is_loaded || packed_load_now(packed, folder);
    packed->kept->is_loaded = is_fine;
    pthread_mutex_unlock(&packed_mutex);
    return is_fine;
}

const uint8_t *packed_bytes(const Packed *packed, const PackedMember *member) {
    return packed->kept->region.bytes + member->offset;
}
