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

static bool run_folder_has(const char *folder, const char *name) {
    char *path = file_join(folder, name);
    bool has = file_exists(path);
    free(path);
    return has;
}

bool run_folder_has_checkpoint(const char *folder) { return run_folder_has(folder, "checkpoint.safetensors"); }

/* Whether a run was begun here. Weights without a checkpoint were imported: to begin again would be to lose them. */
static bool run_folder_has_run(const char *folder) {
    return run_folder_has_checkpoint(folder) ||
           (run_folder_has(folder, "model.json") && !run_folder_has(folder, "weights.safetensors"));
}

/* The newest run of this model. */
static char *run_folder_latest(const char *name) {
    char *latest = NULL;
    for (int number = 1;; number++) {
        char *path = run_folder_numbered(name, number);
        if (!file_exists(path)) {
            free(path);
            break;
        }
        char *other = path;
        if (run_folder_has_run(path)) other = latest, latest = path;
        free(other);
    }
    if (!latest) selfc_fail("there is no run of \"%s\" in runs/ to resume; name its folder with --out", name);
    return latest;
}

static bool run_folder_check_new(const char *folder) {
    if (!run_folder_has_checkpoint(folder)) return true;
    selfc_fail("%s: holds a run already; use --resume to go on with it, or another --out", folder);
    return false;
}

static char *run_folder_writable(const char *folder) {
    if (!access(folder, W_OK)) return strdup(folder);
    selfc_fail("cannot write into the folder %s: %s", folder, strerror(errno));
    return NULL;
}

char *run_folder_make(const SelfcModule *module, const SelfcTrainOptions *options) {
    if (!options->out) return run_folder_new(module->name);
    if (!run_folder_check_new(options->out) || selfc_make_folders(options->out)) return NULL;
    return run_folder_writable(options->out);
}

char *run_folder_find(const SelfcModule *module, const SelfcTrainOptions *options) {
    if (!options->out) return run_folder_latest(module->name);
    if (run_folder_has_run(options->out)) return run_folder_writable(options->out);
    selfc_fail("%s: holds no run to resume: neither checkpoint.safetensors, nor a model.json without weights, as a run "
               "has it that ended before its first checkpoint",
               options->out);
    return NULL;
}

/* The lock is on the folder itself, so nothing is left behind and a killed run holds none. A file system without locks
 * is trained on without one. */
int run_folder_lock(const char *folder, bool has_checkpoint) {
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) return selfc_fail("cannot read the folder %s: %s", folder, strerror(errno)), -1;
    bool is_taken = flock(lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
    if (is_taken) selfc_fail("%s: another process is training here; wait for it, or name another --out", folder);
    /* Whoever had it until now may have left a run. */
    if (!is_taken && (has_checkpoint || run_folder_check_new(folder))) return lock;
    close(lock);
    return -1;
}

/* What a token's number means is as much of a run as its weights. */
static bool run_folder_same_tokenizer(const char *path, const SelfcTokenizer *tokenizer) {
    SelfcTokenizer *kept = selfc_tokenizer_open(path);
    if (!kept) return false;
    bool is_same = selfc_tokenizer_same(kept, tokenizer);
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

/* The line at a place without the space before it. */
static int run_folder_line(const char **text) {
    *text += strspn(*text, " ");
    return (int)strcspn(*text, "\n");
}

/* Another learning rate, or other paths, are a good reason to go on; other layers that fit by chance are none. */
static void run_folder_tell_change(const char *path, const char *before, const char *now) {
    size_t line = 0;
    for (size_t i = 0; before[i] && before[i] == now[i]; i++)
        if (before[i] == '\n') line = i + 1;
    before += line, now += line;
    if (!strcmp(before, now)) return;
    int before_length = run_folder_line(&before), now_length = run_folder_line(&now);
    fprintf(stderr,
            "note: %s: the run goes on with another description; the first difference:\n  then %.*s\n  now  %.*s\n",
            path, before_length, before, now_length, now);
}

bool run_folder_keep_description(const char *folder, const SelfcModule *module, bool is_told) {
    const char *text = module->description ? module->description : "{}\n";
    char *path = file_join(folder, "model.json");
    void *bytes;
    size_t size;
    if (is_told && file_exists(path) && !selfc_file_read(path, &bytes, &size)) {
        char *before = strndup(bytes, size);
        if (before) run_folder_tell_change(path, before, text);
        free(before);
        free(bytes);
    }
    bool is_fine = !selfc_file_replace(path, text, strlen(text));
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
