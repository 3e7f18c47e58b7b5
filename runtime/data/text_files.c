/* Finds texts and divides them.
 *
 * In a folder, files called *.txt or *.jsonl count, at any depth. A folder "train", or a "train" between the dots of a
 * file's name (sst2.train.txt), says what is trained on; one of "dev", "val", "valid", "validation", "test" what the
 * training is judged by, the first of these that is there: who has both keeps "test" for the end. Where some file is
 * called so and none "train", those with none of these names are trained on. Beside a single file with "train" in its
 * name the same names are looked for.
 *
 * Where nothing is called so, the last tenth of the text, in the order of the files' names, is the test split, unless
 * the whole is wanted. It begins behind the end of a line, so that no word is cut; with whole files, at the first that
 * begins in that tenth. */
#include "runtime/data/text_files.h"
#include "runtime/data/file.h"
#include "runtime/data/source.h"
#include "runtime/data/utf8.h"
#include "runtime/data/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { TEXT_TEST_SHARE = 10 };

const char *const text_unit_name[3] = {[UNIT_stream] = "stream", [UNIT_document] = "document", [UNIT_line] = "line"};

bool text_unit_find(const char *name, TextUnit *unit) {
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, text_unit_name[i])) return *unit = (TextUnit)i, true;
    return false;
}

static const char *const text_test_name[] = {"dev", "val", "valid", "validation", "test"};
enum { TEXT_TEST_NAMES = sizeof text_test_name / sizeof *text_test_name };
enum { ROLE_none = -2, ROLE_train = -1 }; /* from 0 on: a test name */

/* A file that was found, with what its name says. */
typedef struct {
    char *path, *name;
    int role;
} FoundFile;

typedef struct {
    FoundFile *files;
    int64_t count, capacity;
} FoundFiles;

static bool text_has_ending(const char *name, const char *ending) {
    const char *dot = strrchr(name, '.');
    return dot && !strcasecmp(dot + 1, ending);
}

static bool text_has_any_ending(const char *name) {
    return text_has_ending(name, "txt") || text_has_ending(name, "jsonl");
}

static int text_role_of(const char *part, size_t length) {
    if (length == 5 && !strncasecmp(part, "train", 5)) return ROLE_train;
    for (int i = 0; i < TEXT_TEST_NAMES; i++)
        if (strlen(text_test_name[i]) == length && !strncasecmp(part, text_test_name[i], length)) return i;
    return ROLE_none;
}

/* Of "train/a.txt" its first folder, of "a.train.txt" what stands between the dots. */
static int text_role(const char *name) {
    const char *slash = strchr(name, '/'), *last = strrchr(name, '/');
    int role = slash ? text_role_of(name, (size_t)(slash - name)) : ROLE_none;
    for (const char *part = last ? last + 1 : name; role == ROLE_none && *part;) {
        size_t length = strcspn(part, ".");
        role = text_role_of(part, length);
        part += length;
        part += *part == '.';
    }
    return role;
}

static bool text_found(void *context, const char *path, const char *name) {
    FoundFiles *found = context;
    if (!text_has_any_ending(name)) return true;
    if (found->count == found->capacity) {
        found->capacity = found->capacity ? 2 * found->capacity : 256;
        FoundFile *larger = realloc(found->files, (size_t)found->capacity * sizeof *larger);
        if (!larger) return selfc_fail("%s: no memory for the names of files", path), false;
        found->files = larger;
    }
    FoundFile file = {strdup(path), strdup(name), text_role(name)};
    if (!file.path || !file.name) abort();
    found->files[found->count++] = file;
    return true;
}

static int text_compare(const void *a, const void *b) {
    return strcmp(((const FoundFile *)a)->name, ((const FoundFile *)b)->name);
}

static void text_found_free(FoundFiles *found) {
    for (int64_t i = 0; i < found->count; i++) {
        free(found->files[i].path);
        free(found->files[i].name);
    }
    free(found->files);
}

/* All of a file; false after selfc_fail. */
static bool text_add(TextFiles *files, const char *path) {
    struct stat status;
    if (stat(path, &status)) return selfc_fail("cannot read %s: %s", path, strerror(errno)), false;
    if (files->count == files->capacity) {
        files->capacity = files->capacity ? 2 * files->capacity : 16;
        TextFile *larger = realloc(files->files, (size_t)files->capacity * sizeof *larger);
        if (!larger) return selfc_fail("%s: no memory for the names of files", path), false;
        files->files = larger;
    }
    bool is_json = text_has_ending(path, "jsonl");
    if (files->count && is_json != files->is_json)
        return selfc_fail("%s is %s, but %s is not: text and JSON lines make no data set together", path,
                          is_json ? "JSON lines" : "text", files->files[0].path),
               false;
    files->is_json = is_json;
    files->files[files->count++] = (TextFile){.path = strdup(path), .end = status.st_size};
    return true;
}

/* --- the last tenth --- */

/* The first place from `at` on, in a file, that stands behind the end of a line; of a stream, if that is the end of the
 * file, behind a space or else at the beginning of a character. */
static int64_t text_cut_after(const TextFile *file, int64_t at, TextUnit unit) {
    FILE *in = fopen(file->path, "rbe");
    int64_t space = 0, character = 0, line = 0;
    if (!in) return at;
    fseeko(in, at - 1, SEEK_SET);
    for (int64_t place = at; !line && place < file->end; place++) {
        int byte = getc_unlocked(in);
        if (byte == EOF) break;
        if (byte == '\n') line = place;
        if (byte == ' ' && !space) space = place;
        if ((byte & 0xC0) != 0x80 && place > at && !character) character = place - 1;
    }
    fclose(in);
    if (line || unit == UNIT_line) return line ? line : file->end;
    return space ? space : character ? character : file->end;
}

/* Keeps what of all the text belongs to the split. */
static void text_divide(TextFiles *files, SelfcSplit split, TextUnit unit, bool whole) {
    int64_t bytes = text_files_bytes(files), cut = bytes - (whole ? 0 : bytes / TEXT_TEST_SHARE), before = 0;
    for (int64_t i = 0; i < files->count; i++) {
        TextFile *file = &files->files[i];
        int64_t size = file->end, inside = cut - before;
        before += size;
        bool is_cut = inside > 0 && inside < size && unit != UNIT_document;
        inside = is_cut ? text_cut_after(file, inside, files->is_json ? UNIT_line : unit) : inside > 0 ? size : 0;
        if (split == SELFC_TRAIN)
            file->end = inside;
        else
            file->begin = inside;
    }
}

/* --- files and folders --- */

static bool text_find_file(TextFiles *files, const char *path, SelfcSplit split, TextUnit unit, bool whole) {
    char *test = NULL;
    for (int i = 0; i < TEXT_TEST_NAMES && !test; i++) {
        test = source_replace_in_name(path, "train", text_test_name[i]);
        if (test && !file_exists(test)) free(test), test = NULL;
    }
    bool is_fine = text_add(files, test && split == SELFC_TEST ? test : path);
    if (is_fine && !test) text_divide(files, split, unit, whole);
    free(test);
    return is_fine;
}

static bool text_has_role(const FoundFiles *found, int role) {
    for (int64_t i = 0; i < found->count; i++)
        if (found->files[i].role == role) return true;
    return false;
}

/* The test name that is there and comes first; ROLE_none: none is. */
static int text_test_role(const FoundFiles *found) {
    for (int role = 0; role < TEXT_TEST_NAMES; role++)
        if (text_has_role(found, role)) return role;
    return ROLE_none;
}

static bool text_find_in_folder(TextFiles *files, const char *path, SelfcSplit split, TextUnit unit, bool whole) {
    FoundFiles found = {0};
    bool is_fine = walk_files(path, text_found, &found);
    if (found.count) qsort(found.files, (size_t)found.count, sizeof *found.files, text_compare);
    int train = text_has_role(&found, ROLE_train) ? ROLE_train : ROLE_none, test = text_test_role(&found);
    bool has_train = text_has_role(&found, train);
    if (whole && !has_train) test = ROLE_none; /* all of it, whatever it is called */
    if (is_fine && found.count && !has_train && test >= 0) {
        selfc_fail("%s: there is nothing to train on in this folder: each text in it is called \"%s\" or the like",
                   path, text_test_name[test]);
        is_fine = false;
    }
    int wanted = split == SELFC_TEST && test >= 0 ? test : train;
    for (int64_t i = 0; is_fine && i < found.count; i++)
        if (!has_train || found.files[i].role == wanted) is_fine = text_add(files, found.files[i].path);
    if (is_fine && !found.count) {
        selfc_fail("%s: there is no text in this folder: no file is called *.txt, or *.jsonl", path);
        is_fine = false;
    }
    if (is_fine && test < 0) text_divide(files, split, unit, whole);
    text_found_free(&found);
    return is_fine;
}

bool text_files_find(TextFiles *files, const char *path, SelfcSplit split, TextUnit unit, bool whole) {
    *files = (TextFiles){0};
    if (!file_exists(path)) return selfc_fail("cannot read %s: %s", path, strerror(errno)), false;
    bool is_fine = file_is_folder(path) ? text_find_in_folder(files, path, split, unit, whole)
                                        : text_find_file(files, path, split, unit, whole);
    if (is_fine && split == SELFC_TRAIN && !text_files_bytes(files)) {
        selfc_fail("%s: holds no text", path);
        is_fine = false;
    }
    return is_fine;
}

void text_files_free(TextFiles *files) {
    for (int64_t i = 0; i < files->count; i++) free(files->files[i].path);
    free(files->files);
    *files = (TextFiles){0};
}

int64_t text_files_bytes(const TextFiles *files) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < files->count; i++) bytes += files->files[i].end - files->files[i].begin;
    return bytes;
}

/* --- recognising --- */

/* The beginning of a file is text if it is UTF-8 without control characters, but for those that stand in texts. */
static bool text_looks_like_text(const char *path) {
    char start[4096];
    FILE *in = fopen(path, "rbe");
    size_t got = in ? fread(start, 1, sizeof start, in) : 0;
    if (in) fclose(in);
    for (size_t i = 0; i < got; i++)
        if ((unsigned char)start[i] < ' ' && (!start[i] || !strchr("\t\n\r\f", start[i]))) return false;
    return got && utf8_valid(start, (int64_t)got) >= (int64_t)got - (got == sizeof start ? 3 : 0);
}

static bool text_stop_at_text(void *context, const char *path, const char *name) {
    (void)path;
    bool *is_found = context;
    *is_found = text_has_any_ending(name);
    return !*is_found;
}

bool text_files_are_at(const char *path) {
    bool is_found = false;
    if (!file_is_folder(path)) return text_looks_like_text(path);
    walk_files(path, text_stop_at_text, &is_found);
    return is_found;
}
