/* Where a run is written: the folder that was asked for, or the first of runs/NAME-1, -2, … that is free. One process
 * at a time writes it. */
#include "runtime/data/file.h"
#include "runtime/text/tokenizer.h"
#include "runtime/train/trainer.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char *run_folder_numbered(const char *name, int number) {
    char *path;
    if (asprintf(&path, "runs/%s-%d", *name ? name : "model", number) < 0) abort();
    for (char *at = path + strlen("runs/"); *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("-_.", *at)) *at = '_';
    return path;
}

static char *run_folder_new(const char *name) {
    if (selfc_make_folders("runs")) return NULL;
    for (int number = 1;; number++) {
        char *path = run_folder_numbered(name, number);
        if (!mkdir(path, 0777)) return path;
        if (errno != EEXIST) {
            selfc_fail("cannot make the folder %s: %s", path, strerror(errno));
            free(path);
            return NULL;
        }
        free(path);
    }
}

static bool run_folder_has_checkpoint(const char *folder) {
    char *path = file_join(folder, "checkpoint.safetensors");
    bool has = file_exists(path);
    free(path);
    return has;
}

/* The newest run of this model that has a checkpoint. */
static char *run_folder_latest(const char *name) {
    char *latest = NULL;
    for (int number = 1;; number++) {
        char *path = run_folder_numbered(name, number);
        if (!file_exists(path)) {
            free(path);
            break;
        }
        char *other = path;
        if (run_folder_has_checkpoint(path)) other = latest, latest = path;
        free(other);
    }
    if (!latest) selfc_fail("there is no run of \"%s\" in runs/ to resume; name its folder with --out", name);
    return latest;
}

static bool run_folder_check(const char *folder, bool resume) {
    bool has_checkpoint = run_folder_has_checkpoint(folder);
    if (resume && !has_checkpoint) selfc_fail("%s: holds no checkpoint.safetensors to resume from", folder);
    if (!resume && has_checkpoint)
        selfc_fail("%s: holds a run already; use --resume to go on with it, or another --out", folder);
    return resume == has_checkpoint;
}

char *run_folder_make(const SelfcModule *module, const SelfcTrainOptions *options) {
    if (!options->out) return options->resume ? run_folder_latest(module->name) : run_folder_new(module->name);
    if (!run_folder_check(options->out, options->resume)) return NULL;
    if (selfc_make_folders(options->out)) return NULL;
    if (access(options->out, W_OK)) {
        selfc_fail("cannot write into the folder %s: %s", options->out, strerror(errno));
        return NULL;
    }
    return strdup(options->out);
}

/* The lock is on the folder itself, so nothing is left behind and a killed run holds none. A file system without locks
 * is trained on without one. */
int run_folder_lock(const char *folder, bool resume) {
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) return selfc_fail("cannot read the folder %s: %s", folder, strerror(errno)), -1;
    bool is_taken = flock(lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
    if (is_taken) selfc_fail("%s: another process is training here; wait for it, or name another --out", folder);
    /* Whoever had it until now may have left a run. */
    if (!is_taken && run_folder_check(folder, resume)) return lock;
    close(lock);
    return -1;
}

/* What a token's number means is as much of a run as its weights. */
static bool run_folder_same_tokenizer(const char *path, const SelfcTokenizer *tokenizer) {
    SelfcTokenizer *kept = selfc_tokenizer_open(path);
    if (!kept) return false;
    size_t size, kept_size;
    const void *tables = selfc_tokenizer_tables(tokenizer, &size),
               *kept_tables = selfc_tokenizer_tables(kept, &kept_size);
    bool is_same = size == kept_size && !memcmp(tables, kept_tables, size);
    if (!is_same)
        selfc_fail("%s has %lld tokens, but the tokenizer of the description is another, with %lld: a run goes on with "
                   "the one that it began with; as a description the RUN folder itself names that",
                   path, (long long)selfc_tokenizer_size(kept), (long long)selfc_tokenizer_size(tokenizer));
    selfc_tokenizer_close(kept);
    return is_same;
}

bool run_folder_keep_tokenizer(const char *folder, const SelfcModule *module, const SelfcTokenizer *tokenizer) {
    const char *text = module->training.tokenizer;
    if (!tokenizer) return true;
    char *path = file_join(folder, "tokenizer.json");
    bool is_fine = run_folder_has_checkpoint(folder) && file_exists(path)
                       ? run_folder_same_tokenizer(path, tokenizer)
                       : !selfc_file_replace(path, text, strlen(text));
    free(path);
    return is_fine;
}

void run_folder_clean(const char *folder) {
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (!strstr(entry->d_name, ".tmp-")) continue;
        char *path = file_join(folder, entry->d_name);
        unlink(path);
        free(path);
    }
    if (directory) closedir(directory);
}
