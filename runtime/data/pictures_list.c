/* Finds pictures and numbers their classes.
 *
 * All names are gathered first, of all splits, as they stand below the folder or in the archive. A folder around all
 * the rest, as archives like to have, is passed over. Then a first part "train" makes "train" and one of "test", "val",
 * "valid", "validation" the splits; and the next part, if it is not the last, is the class. So a folder, and an archive
 * of it, mean the same. What is left out, since it stands beside the splits or is of a format that cannot be read, is
 * counted, to be told.
 *
 * A list is a text: a path a line, which may have a tab and a class behind it. Beside a list called train.txt, one
 * called test.txt is the test split. */
#include "runtime/data/pictures.h"
#include "runtime/data/file.h"
#include "runtime/data/picture.h"
#include "runtime/data/source.h"
#include "runtime/data/walk.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { LIST_BLOCK = 1 << 16, LIST_LONGEST_NAME = 4096, LIST_TEXT = 64 + 32 * PICTURES_FOREIGN };

/* --- names --- */

struct TextBlock {
    TextBlock *next;
    size_t used, room;
    char text[];
};

static const char *list_text(PictureList *list, const char *text, size_t length) {
    TextBlock *block = list->texts;
    if (!block || block->room - block->used <= length) {
        size_t room = length < LIST_BLOCK ? LIST_BLOCK : length + 1;
        block = malloc(sizeof *block + room);
        if (!block) return NULL;
        *block = (TextBlock){.next = list->texts, .room = room};
        list->texts = block;
    }
    char *copy = memcpy(block->text + block->used, text, length);
    copy[length] = 0;
    block->used += length + 1;
    return copy;
}

static bool list_add(PictureList *list, PictureFile file) {
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 1024;
        PictureFile *larger = realloc(list->files, (size_t)capacity * sizeof *larger);
        if (!larger) return selfc_fail("%s: no memory for the names of its files", list->root), false;
        list->files = larger;
        list->capacity = capacity;
    }
    if (!file.name) return selfc_fail("%s: no memory for the names of its files", list->root), false;
    list->files[list->count++] = file;
    return true;
}

static bool list_ends_as(const char *name, const char *ending) {
    const char *dot = strrchr(name, '.');
    return dot && !strcasecmp(dot + 1, ending);
}

/* Whether a file of this name should be a picture that can be read; if it cannot, it is broken. */
static bool list_has_ending(const char *name) {
    static const char *const endings[] = {"jpg", "jpeg", "jpe", "jfif", "png"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (list_ends_as(name, endings[i])) return true;
    return false;
}

static const char *const list_foreign[PICTURES_FOREIGN] = {"heic", "heif", "avif", "webp", "gif", "bmp",
                                                           "tif",  "tiff", "jp2",  "pgm",  "ppm", "pnm"};

/* Which format that cannot be read a file of this name should have; -1: none. */
static int list_foreign_format(const char *name) {
    for (int i = 0; i < PICTURES_FOREIGN; i++)
        if (list_ends_as(name, list_foreign[i])) return i;
    return -1;
}

static void list_count_foreign(PictureList *list, const char *name) {
    int format = list_foreign_format(name);
    if (format >= 0) list->foreign[format]++;
}

static bool list_is_picture_file(const char *path) {
    uint8_t start[PACKED_START];
    FILE *in = fopen(path, "rbe");
    if (!in) return false;
    size_t got = fread(start, 1, sizeof start, in);
    fclose(in);
    return picture_is_known(start, got);
}

/* --- folders --- */

static bool list_add_file(void *context, const char *path, const char *name) {
    PictureList *list = context;
    if (list_has_ending(name) || list_is_picture_file(path))
        return list_add(list, (PictureFile){.name = list_text(list, name, strlen(name)), .label = -1});
    list_count_foreign(list, name);
    return true;
}

/* --- archives --- */

static bool list_has_hidden_part(const char *name) {
    for (const char *part = name; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
        if (*part == '.' || !strncmp(part, "__MACOSX/", 9)) return true;
    return false;
}

static bool list_add_member(PictureList *list, const char *name, PackedMember *member) {
    bool is_picture = list_has_ending(name) || picture_is_known(member->start, PACKED_START);
    if (list_has_hidden_part(name)) return true;
    if (!is_picture) return list_count_foreign(list, name), true;
    member->is_wanted = true;
    return list_add(list, (PictureFile){.name = list_text(list, name, strlen(name)), .member = member, .label = -1});
}

static bool list_members(PictureList *list, const char *path) {
    list->packed = packed_open(path);
    if (!list->packed) return false;
    for (int64_t i = 0; i < list->packed->count; i++)
        if (!list_add_member(list, list->packed->members[i].name, &list->packed->members[i])) return false;
    for (int64_t i = 0; i < list->packed->link_count; i++) {
        const PackedLink *link = &list->packed->links[i];
        if (link->member && !list_add_member(list, link->name, link->member)) return false;
    }
    return true;
}

/* --- splits and classes --- */

static const char *const list_test_name[] = {"test", "val", "valid", "validation"};
enum { LIST_TEST_NAMES = sizeof list_test_name / sizeof *list_test_name };

/* Whether the name's first part is this one. */
static bool list_is_below(const char *name, const char *folder) {
    size_t length = strlen(folder);
    return !strncmp(name, folder, length) && name[length] == '/';
}

static bool list_any_below(const PictureList *list, size_t skip, const char *folder) {
    for (int64_t i = 0; i < list->count; i++)
        if (list_is_below(list->files[i].name + skip, folder)) return true;
    return false;
}

/* How long the folders are that stand around everything: all names have them, and two more parts behind. */
static size_t list_around(const PictureList *list) {
    size_t skip = 0;
    for (;;) {
        const char *first = list->count ? list->files[0].name + skip : "", *slash = strchr(first, '/');
        if (!slash || list_is_below(first, "train")) return skip;
        size_t length = (size_t)(slash - first) + 1;
        for (int64_t i = 0; i < list->count; i++) {
            const char *name = list->files[i].name + skip;
            if (strncmp(name, first, length) || !strchr(name + length, '/')) return skip;
        }
        skip += length;
    }
}

/* The part of the name before its next slash, as a text; NULL: there is no slash. */
static const char *list_class_of(PictureList *list, const char *name) {
    const char *slash = strchr(name, '/');
    return slash ? list_text(list, name, (size_t)(slash - name)) : NULL;
}

static int list_compare_files(const void *a, const void *b) {
    return strcmp(((const PictureFile *)a)->name, ((const PictureFile *)b)->name);
}

/* The folder of the split, "" for all, or NULL: the split is not there. */
static const char *list_split_folder(const PictureList *list, size_t skip, SelfcSplit split) {
    bool has_splits = list_any_below(list, skip, "train");
    if (split == SELFC_TRAIN) return has_splits ? "train" : "";
    for (int i = 0; has_splits && i < LIST_TEST_NAMES; i++)
        if (list_any_below(list, skip, list_test_name[i])) return list_test_name[i];
    return NULL;
}

static int list_compare_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, each once. */
static bool list_classes(PictureList *list) {
    list->classes = malloc((size_t)(list->count + 1) * sizeof *list->classes);
    if (!list->classes) return selfc_fail("%s: no memory for its classes", list->root), false;
    const char *last = NULL;
    int64_t used = 0;
    for (int64_t i = 0; i < list->count; i++) { /* files of a class mostly stand together */
        const char *class_name = list->files[i].class_name;
        if (last && !strcmp(last, class_name)) continue;
        list->classes[used++] = last = class_name;
    }
    qsort(list->classes, (size_t)used, sizeof *list->classes, list_compare_text);
    for (int64_t i = 0; i < used; i++)
        if (!i || strcmp(list->classes[i], list->classes[list->class_count - 1]))
            list->classes[list->class_count++] = list->classes[i];
    return true;
}

static int32_t list_class_number(const PictureList *list, const char *class_name) {
    const char **found =
        bsearch(&class_name, list->classes, (size_t)list->class_count, sizeof *list->classes, list_compare_text);
    return found ? (int32_t)(found - list->classes) : -1;
}

/* What a set of pictures says when some have no class. */
typedef struct {
    const char *some, *none;
} NoLabels;
static const NoLabels list_no_folders = {
    "some of its pictures stand in folders, which would be their classes, and some do not",
    "its pictures stand in no folders that could be their classes"};
static const NoLabels list_no_column = {"some lines of the list have a tab and a label, and some have not",
                                        "the list has no labels: each would stand behind the path and a tab"};

/* Whether each of files [0, count) has a class; says why not. */
static bool list_has_labels(PictureList *list, const NoLabels *reasons) {
    int64_t labelled = 0;
    for (int64_t i = 0; i < list->count; i++) labelled += list->files[i].class_name != NULL;
    if (labelled < list->count) list->no_labels = labelled ? reasons->some : reasons->none;
    return labelled == list->count;
}

/* A class that nothing was learned of: the split has no labels then. */
static bool list_lacks_class(PictureList *list, const PictureFile *file) {
    char *reason;
    if (asprintf(&reason, "%s: the class \"%s\" is not among the %lld of the training data", file->name,
                 file->class_name, (long long)list->class_count) < 0)
        abort();
    list->no_labels = list_text(list, reason, strlen(reason));
    free(reason);
    return list->no_labels || (selfc_fail("%s: no memory for the names of its files", list->root), false);
}

/* The first `train` files are the training's, whose classes count; the others are the test's. Keeps those of the split,
 * with their labels. */
static bool list_keep(PictureList *list, int64_t train, SelfcSplit split, const NoLabels *reasons) {
    int64_t all = list->count, first = split == SELFC_TRAIN ? 0 : train;
    list->count = train;
    bool has_labels = list_has_labels(list, reasons);
    if (has_labels && !list_classes(list)) return false;
    list->count = (split == SELFC_TRAIN ? train : all) - first;
    if (list->count) memmove(list->files, list->files + first, (size_t)list->count * sizeof *list->files);
    if (!has_labels || !list_has_labels(list, reasons)) return true;
    for (int64_t i = 0; i < list->count; i++) {
        PictureFile *file = &list->files[i];
        file->label = list_class_number(list, file->class_name);
        if (file->label < 0) return list_lacks_class(list, file);
    }
    return true;
}

/* Puts the training files first and the test files behind, each in order, and keeps those of the split. */
static bool list_divide(PictureList *list, SelfcSplit split) {
    size_t skip = list_around(list);
    const char *folder[2] = {list_split_folder(list, skip, SELFC_TRAIN), list_split_folder(list, skip, SELFC_TEST)};
    PictureFile *all = list->files;
    int64_t count = list->count, train = 0;
    list->files = NULL;
    list->count = list->capacity = 0;
    if (count) qsort(all, (size_t)count, sizeof *all, list_compare_files);
    bool is_fine = true;
    for (int part = SELFC_TRAIN; part <= SELFC_TEST && is_fine; part++) {
        for (int64_t i = 0; i < count && folder[part] && is_fine; i++) {
            const char *name = all[i].name + skip;
            if (*folder[part] && !list_is_below(name, folder[part])) continue;
            all[i].class_name = list_class_of(list, name + (*folder[part] ? strlen(folder[part]) + 1 : 0));
            is_fine = list_add(list, all[i]);
        }
        if (part == SELFC_TRAIN) train = list->count;
    }
    list->beside = count - list->count;
    free(all);
    return is_fine && list_keep(list, train, split, &list_no_folders);
}

/* --- lists --- */

static char *list_path(const PictureList *list, const char *name) {
    return *name == '/' && !list->packed ? strdup(name) : file_join(list->root, name);
}

static bool list_is_listed_picture(const PictureList *list, const char *name) {
    char *path = list_path(list, name);
    bool is_picture = list_is_picture_file(path);
    free(path);
    return is_picture;
}

/* One line without its end; a class stands behind the last tab. */
static bool list_add_line(PictureList *list, const char *path, int64_t number, const char *line, size_t length) {
    if (length && line[length - 1] == '\r') length--;
    if (!length) return true;
    const char *tab = memrchr(line, '\t', length);
    size_t name = tab ? (size_t)(tab - line) : length, class_length = tab ? length - name - 1 : 0;
    if (!name || name > LIST_LONGEST_NAME || memchr(line, 0, length)) {
        selfc_fail("%s:%lld: a line is a path of at most %d bytes, or a path, a tab and a label", path,
                   (long long)number, LIST_LONGEST_NAME);
        return false;
    }
    PictureFile file = {.name = list_text(list, line, name), .label = -1};
    if (class_length) file.class_name = list_text(list, tab + 1, class_length);
    if (!file.name || list_foreign_format(file.name) < 0 || list_is_listed_picture(list, file.name))
        return list_add(list, file);
    list_count_foreign(list, file.name);
    return true;
}

static bool list_read_lines(PictureList *list, const char *path) {
    void *bytes;
    size_t size;
    int64_t number = 1;
    bool is_fine = true;
    if (selfc_file_read(path, &bytes, &size)) return false;
    for (const char *line = bytes, *end = line + size, *next; is_fine && line < end; line = next, number++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        next = newline ? newline + 1 : end;
        is_fine = list_add_line(list, path, number, line, (size_t)((newline ? newline : end) - line));
    }
    free(bytes);
    return is_fine;
}

/* "lists/test.txt" beside "lists/train.txt", or with one of the other names; NULL: none. free(). */
static char *list_test_list(const char *path) {
    for (int i = 0; i < LIST_TEST_NAMES; i++) {
        char *other = source_replace_in_name(path, "train", list_test_name[i]);
        if (other && file_exists(other)) return other;
        free(other);
    }
    return NULL;
}

static bool list_read(PictureList *list, const char *path, SelfcSplit split) {
    const char *slash = strrchr(path, '/');
    free(list->root);
    list->root = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    char *test = list_test_list(path);
    bool is_fine = list_read_lines(list, path);
    int64_t train = list->count;
    if (is_fine && test) is_fine = list_read_lines(list, test);
    free(test);
    return is_fine && list_keep(list, train, split, &list_no_column);
}

/* A list's first line names a file that is there. */
static bool list_is_list(const char *path) {
    char line[LIST_LONGEST_NAME + 256];
    FILE *in = fopen(path, "rbe");
    bool is_read = false;
    while (in && !is_read && fgets(line, sizeof line, in)) is_read = line[strspn(line, "\r\n")] != 0;
    if (in) fclose(in);
    if (!is_read) return false;
    line[strcspn(line, "\t\r\n")] = 0;
    const char *slash = strrchr(path, '/');
    char *file = NULL;
    if (*line == '/' || !slash)
        file = strdup(line);
    else if (asprintf(&file, "%.*s/%s", (int)(slash - path), path, line) < 0)
        file = NULL;
    struct stat status;
    bool is_there = file && *line && !stat(file, &status) && S_ISREG(status.st_mode);
    free(file);
    return is_there;
}

/* --- all of them --- */

static bool list_stop_at_picture(void *context, const char *path, const char *name) {
    bool *is_found = context;
    *is_found = list_has_ending(name) || list_foreign_format(name) >= 0 || list_is_picture_file(path);
    return !*is_found;
}

bool pictures_are_at(const char *path) {
    bool is_found = false;
    if (!file_is_folder(path)) return packed_is_archive(path) || list_is_list(path);
    walk_files(path, list_stop_at_picture, &is_found);
    return is_found;
}

static bool list_fill(PictureList *list, const char *path, SelfcSplit split) {
    if (!file_exists(path)) return selfc_fail("cannot read %s: %s", path, strerror(errno)), false;
    if (file_is_folder(path)) return walk_files(path, list_add_file, list) && list_divide(list, split);
    if (packed_is_archive(path)) return list_members(list, path) && list_divide(list, split);
    if (list_is_list(path)) return list_read(list, path, split);
    selfc_fail(
        "%s: neither a folder, nor an archive (tar, zip) that can be read, nor a list whose first line is the path "
        "of a file",
        path);
    return false;
}

/* "files that cannot be read: 312 .heic, 4 .webp; convert …"; false: there are none of them. */
static bool list_say_foreign(const PictureList *list, char text[LIST_TEXT]) {
    size_t used = 0;
    for (int i = 0; i < PICTURES_FOREIGN; i++)
        if (list->foreign[i])
            used += (size_t)snprintf(text + used, LIST_TEXT - used, "%s%lld .%s",
                                     used ? ", " : "files that cannot be read: ", (long long)list->foreign[i],
                                     list_foreign[i]);
    if (used) snprintf(text + used, LIST_TEXT - used, "; convert them to PNG or JPEG");
    return used > 0;
}

void pictures_tell(const PictureList *list, const char *path) {
    char text[LIST_TEXT];
    if (list_say_foreign(list, text)) fprintf(stderr, "note: %s: %s\n", path, text);
    if (list->beside)
        fprintf(stderr,
                "note: %s: its folder \"train\" is the training data, and pictures that stand neither there nor among "
                "the test data are left out: %lld; if \"train\" is a class, give it another name\n",
                path, (long long)list->beside);
}

bool pictures_find(PictureList *list, const char *path, SelfcSplit split) {
    char foreign[LIST_TEXT];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    *list = (PictureList){.root = strndup(path, length)};
    if (!list_fill(list, path, split)) return false;
    if (split == SELFC_TRAIN && !list->count) {
        bool has_foreign = list_say_foreign(list, foreign);
        selfc_fail("%s: there are no pictures (PNG or JPEG) in it%s%s", path, has_foreign ? ", but " : "",
                   has_foreign ? foreign : "");
        return false;
    }
    list->names = malloc((size_t)(list->count + 1) * sizeof *list->names);
    if (!list->names) return selfc_fail("%s: no memory for the names of its files", path), false;
    for (int64_t i = 0; i < list->count; i++) list->names[i] = list->files[i].name;
    return true;
}

void pictures_free(PictureList *list) {
    for (TextBlock *block = list->texts, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    packed_close(list->packed);
    free(list->root);
    free(list->files);
    free(list->names);
    free(list->classes);
    *list = (PictureList){0};
}

char *pictures_path(const PictureList *list, int64_t file) { return list_path(list, list->files[file].name); }
