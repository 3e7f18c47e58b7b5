/* Walks through folders. Links to files are files and links to folders folders; since a link may lead back to where it
 * stands, nothing is looked for very deep. Names that begin with a dot, and what macOS puts beside files, are nobody's
 * data. */
#include "runtime/data/walk.h"
#include "runtime/data/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { WALK_DEEPEST = 32 };

static bool walk_is_hidden(const char *name) { return name[0] == '.' || !strcmp(name, "__MACOSX"); }

/* Most file systems say what an entry is; a link is what it leads to. */
static unsigned char walk_entry_type(const struct dirent *entry, const char *path) {
    struct stat status;
    if (entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK) return entry->d_type;
    if (stat(path, &status)) return DT_UNKNOWN;
    return S_ISDIR(status.st_mode) ? DT_DIR : S_ISREG(status.st_mode) ? DT_REG : DT_UNKNOWN;
}

static bool walk_folder(const char *path, const char *name, int depth, WalkFile *on_file, void *context) {
    if (depth > WALK_DEEPEST)
        return selfc_fail("%s: folders lie more than %d deep; does a link lead back to where it is?", path,
                          WALK_DEEPEST),
               false;
    DIR *directory = opendir(path);
    if (!directory) return selfc_fail("cannot read %s: %s", path, strerror(errno)), false;
    bool is_fine = true;
    for (struct dirent *entry; is_fine && (entry = readdir(directory));) {
        if (walk_is_hidden(entry->d_name)) continue;
        char *inner_path = file_join(path, entry->d_name);
        char *inner_name = *name ? file_join(name, entry->d_name) : strdup(entry->d_name);
        unsigned char type = walk_entry_type(entry, inner_path);
        if (type == DT_DIR)
            is_fine = walk_folder(inner_path, inner_name, depth + 1, on_file, context);
        else if (type == DT_REG)
            is_fine = on_file(context, inner_path, inner_name);
        free(inner_path);
        free(inner_name);
    }
    closedir(directory);
    return is_fine;
}

bool walk_files(const char *folder, WalkFile *on_file, void *context) {
    return walk_folder(folder, "", 0, on_file, context);
}
