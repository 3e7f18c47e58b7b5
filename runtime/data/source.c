/* Data sets: which kind stands at a path, and what all kinds do alike. Opening reads headers only, since the compiler
 * wants to know the shape of a sample long before anything is trained; the samples are read in one go when
 * training begins, so that a file that vanishes or changes later cannot hurt. Pictures alone come one by one. */
#include "runtime/data/source.h"
#include "runtime/data/file.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool (*open)(SelfcSource *source, const SelfcSourceOptions *options);
    bool (*is_it)(const char *path); /* NULL: never found at a path */
} source_kind[] = {
    {"glyphs", source_open_glyphs, NULL},       {"idx", source_open_idx, source_is_idx},
    {"npy", source_open_npy, source_is_npy},    {"pictures", source_open_pictures, source_is_pictures},
    {"text", source_open_text, source_is_text}, /* last: a list of pictures is text, too */
};
enum { SOURCE_KINDS = sizeof source_kind / sizeof *source_kind };

bool source_fail_empty(const char *path) {
    selfc_fail("%s: holds no samples", path);
    return false;
}

void source_add_field(SelfcSource *source, const char *name, SelfcTensor sample, char *path) {
    sample.name = name;
    source->path[source->field_count] = path;
    source->fields[source->field_count++] = (SelfcField){.name = name, .sample = sample};
}

char *source_replace_in_name(const char *path, const char *from, const char *to) {
    const char *slash = strrchr(path, '/'), *found = NULL;
    for (const char *at = slash ? slash : path; (at = strstr(at, from)); at++) found = at;
    if (!found) return NULL;
    char *text;
    if (asprintf(&text, "%.*s%s%s", (int)(found - path), path, to, found + strlen(from)) < 0) abort();
    return text;
}

char *source_find_in_folder(const char *folder, bool (*is_wanted)(const char *name)) {
    DIR *directory = opendir(folder);
    char *best = NULL;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (!is_wanted(entry->d_name) || (best && strcmp(entry->d_name, best) >= 0)) continue;
        free(best);
        best = strdup(entry->d_name);
    }
    if (directory) closedir(directory);
    char *path = best ? file_join(folder, best) : NULL;
    free(best);
    return path;
}

/* The position of the kind, or -1 after selfc_fail. */
static int source_recognise(const char *path) {
    if (!path) return selfc_fail("where is the data? The description names no source: use --data PATH"), -1;
    if (!file_exists(path)) return selfc_fail("cannot read %s: %s", path, strerror(errno)), -1;
    for (int i = 0; i < SOURCE_KINDS; i++)
        if (source_kind[i].is_it && source_kind[i].is_it(path)) return i;
    selfc_fail(
        "%s: neither IDX files (as MNIST's train-images-idx3-ubyte.gz) nor .npy files (train.npy) nor pictures: a "
        "folder or an archive (tar, zip) of PNG and JPEG files, or a list of their paths; nor UTF-8 text, or a folder "
        "of .txt files",
        path);
    return -1;
}

const char *selfc_source_kind_at(const char *path) {
    int kind = source_recognise(path);
    return kind < 0 ? NULL : source_kind[kind].name;
}

static int source_find_kind(const char *name) {
    for (int i = 0; i < SOURCE_KINDS; i++)
        if (!strcmp(source_kind[i].name, name)) return i;
    selfc_fail("no data source is called \"%s\"; there are glyphs, idx, npy, pictures and text", name);
    return -1;
}

/* Where text is expected, a file that looks like nothing is bad text, and its reader knows why. */
static int source_recognise_for(const SelfcSourceOptions *options) {
    int kind = source_recognise(options->path);
    return kind < 0 && options->tokenizer && options->path && file_exists(options->path) ? source_find_kind("text")
                                                                                         : kind;
}

/* Whether the samples are of the size and channels that were asked for, if any were. */
static bool source_check_size(const SelfcSource *source, const SelfcSourceOptions *options, const char *what) {
    if (source->field_count == 0 || (options->height == 0 && options->width == 0 && options->channels == 0))
        return true;
    const SelfcTensor *sample = &source->fields[0].sample;
    int64_t channels = sample->rank == 3 ? sample->dim[2] : 1;
    char shape[128];
    selfc_tensor_print(sample, shape);
    if (sample->rank != 2 && sample->rank != 3)
        selfc_fail("%s: a sample is %s and no picture, so it has neither \"size\" nor \"channels\"", what, shape);
    else if ((options->height && options->height != sample->dim[0]) ||
             (options->width && options->width != sample->dim[1]))
        selfc_fail("%s: a sample is %s, but \"size\" asks for [%lld, %lld], and this source does not resize", what,
                   shape, (long long)options->height, (long long)options->width);
    else if (options->channels && options->channels != channels)
        selfc_fail("%s: a sample is %s, but \"channels\" asks for %lld, and this source does not convert", what, shape,
                   (long long)options->channels);
    else
        return true;
    return false;
}

SelfcSource *selfc_source_open(const SelfcSourceOptions *options) {
    const char *path = options->path;
    int kind = options->source ? source_find_kind(options->source) : source_recognise_for(options);
    if (kind < 0) return NULL;
    if (!path && source_kind[kind].is_it) {
        selfc_fail("the source \"%s\" needs a path: give it in the description or as --data PATH", options->source);
        return NULL;
    }
    SelfcSource *source = calloc(1, sizeof *source);
    if (!source) return selfc_fail("no memory for a data set"), NULL;
    source->kind = source_kind[kind].name;
    source->split = options->split;
    pthread_mutex_init(&source->loading, NULL);
    bool is_fine = source_kind[kind].open(source, options) &&
                   source_check_size(source, options, path ? path : source_kind[kind].name);
    if (is_fine && source->count > INT32_MAX) {
        selfc_fail("%s: %lld samples are more than selfc can count", path, (long long)source->count);
        is_fine = false;
    }
    if (is_fine) return source;
    selfc_source_close(source);
    return NULL;
}

void selfc_source_close(SelfcSource *source) {
    if (!source) return;
    if (source->close) source->close(source);
    for (int i = 0; i < SOURCE_FIELDS; i++) {
        free(source->path[i]);
        free(source->data[i]);
    }
    pthread_mutex_destroy(&source->loading);
    free(source);
}

const char *selfc_source_kind(const SelfcSource *source) { return source->kind; }
int64_t selfc_source_count(const SelfcSource *source) { return source->count; }

uint32_t selfc_source_fields(const SelfcSource *source, const SelfcField **fields) {
    *fields = source->fields;
    return source->field_count;
}

int selfc_source_field(const SelfcSource *source, const char *name) {
    if (!name || !strcmp(name, "image") || !strcmp(name, "value")) return 0;
    for (uint32_t i = 0; i < source->field_count; i++)
        if (!strcmp(source->fields[i].name, name)) return (int)i;
    const char *why = source->no_labels ? source->no_labels : "no file with labels was found";
    bool is_answer = !strcmp(source->kind, "text") && (!strcmp(name, "start") || !strcmp(name, "end"));
    if (is_answer) why = "questions with answers stand in .jsonl files, a JSON object a line";
    bool has_reason = is_answer || !strcmp(name, "label");
    selfc_fail("the data set has no field \"%s\"%s%s", name, has_reason ? ": " : "", has_reason ? why : "");
    return -1;
}

int64_t selfc_source_stand_in(const SelfcSource *source, int64_t index) {
    if (index < 0 || index >= source->count) return -1;
    return source->stand_in && atomic_load(&source->is_loaded) ? source->stand_in(source, index) : index;
}

const char *selfc_source_name(const SelfcSource *source, int64_t index) {
    index = source->names ? selfc_source_stand_in(source, index) : -1;
    return index >= 0 ? source->names[index] : NULL;
}

const char *selfc_source_cut(const SelfcSource *source) { return source->cut; }
int64_t selfc_source_classes(const SelfcSource *source) { return source->class_count; }

const char *selfc_source_class(const SelfcSource *source, int64_t label) {
    return label >= 0 && label < source->class_count ? source->classes[label] : NULL;
}

static bool source_is_finite(const void *data, int32_t dtype, int64_t element) {
    if (dtype == SELFC_f32) return isfinite(((const float *)data)[element]);
    return (((const uint16_t *)data)[element] & 0x7C00) != 0x7C00;
}

static bool source_check_finite(const SelfcSource *source, uint32_t field) {
    const SelfcTensor *sample = &source->fields[field].sample;
    if (sample->dtype != SELFC_f32 && sample->dtype != SELFC_f16) return true;
    int64_t size = selfc_tensor_elements(sample, 0);
    for (int64_t i = 0; i < source->count * size; i++) {
        if (source_is_finite(source->data[field], sample->dtype, i)) continue;
        selfc_fail("%s: sample %lld has a value that is no finite number (NaN or infinity), at element %lld",
                   source->path[field], (long long)(i / size), (long long)(i % size));
        return false;
    }
    return true;
}

void selfc_source_ahead(const SelfcSource *source, const int32_t *index, int64_t n) {
    if (source->ahead && atomic_load(&source->is_loaded)) source->ahead(source, index, n);
}

int selfc_source_check(const SelfcSource *source) { return source->check && !source->check(source) ? -1 : 0; }

int selfc_source_load(SelfcSource *source) {
    if (atomic_load(&source->is_loaded) || source->count == 0) return 0;
    pthread_mutex_lock(&source->loading);
    bool is_fine = atomic_load(&source->is_loaded) || source->load(source);
    for (uint32_t i = 0; is_fine && i < source->field_count; i++) is_fine = source_check_finite(source, i);
    if (is_fine) atomic_store(&source->is_loaded, true);
    pthread_mutex_unlock(&source->loading);
    return is_fine ? 0 : -1;
}

/* The first of the elements that is no class. */
static bool source_check_classes(const SelfcSource *source, uint32_t field, int64_t first, const int32_t *labels,
                                 int64_t elements, int64_t classes) {
    int64_t size = selfc_tensor_elements(&source->fields[field].sample, 0);
    for (int64_t i = 0; i < elements; i++) {
        if (labels[i] >= 0 && labels[i] < classes) continue;
        const char *path = source->path[field];
        selfc_fail("%s%ssample %lld of the %s data has the label %d, but there are %lld classes: 0 to %lld",
                   path ? path : "", path ? ": " : "", (long long)(first + i / size),
                   source->split == SELFC_TRAIN ? "training" : "test", labels[i], (long long)classes,
                   (long long)classes - 1);
        return false;
    }
    return true;
}

/* The same for fields that are gathered, sample by sample. */
static bool source_check_gathered(const SelfcSource *source, uint32_t field, int64_t classes) {
    int64_t size = selfc_tensor_elements(&source->fields[field].sample, 0);
    int32_t *values = malloc((size_t)size * sizeof *values);
    bool is_fine = values != NULL;
    if (!values) selfc_fail("no memory for a sample");
    for (int32_t i = 0; is_fine && i < source->count; i++) {
        source->gather(source, field, &i, 1, values);
        is_fine = source_check_classes(source, field, i, values, size, classes);
    }
    free(values);
    return is_fine;
}

int selfc_source_check_labels(const SelfcSource *source, uint32_t field, int64_t classes) {
    const SelfcTensor *sample = &source->fields[field].sample;
    const int32_t *labels = source->data[field];
    int64_t below = source->below[field];
    if (sample->dtype != SELFC_i32 || source->count == 0 || (below && below <= classes)) return 0;
    if (!labels && below) return source_check_gathered(source, field, classes) ? 0 : -1;
    if (!labels) {
        selfc_fail("the data's field \"%s\" has no labels, but there should be classes: 0 to %lld",
                   source->fields[field].name, (long long)classes - 1);
        return -1;
    }
    int64_t elements = source->count * selfc_tensor_elements(sample, 0);
    return source_check_classes(source, field, 0, labels, elements, classes) ? 0 : -1;
}

/* From what is in memory. */
static void source_copy(const SelfcSource *source, uint32_t field, const int32_t *index, int64_t n, void *out) {
    enum { SOURCE_AHEAD = 4 }; /* samples stand anywhere in memory: ask for the next ones early */
    size_t bytes = selfc_tensor_bytes(&source->fields[field].sample, 0);
    const char *data = source->data[field];
    for (int64_t i = 0; i < n; i++) {
        char *to = (char *)out + (size_t)i * bytes;
        if (i + SOURCE_AHEAD < n)
            for (size_t line = 0; line < bytes && line < 1024; line += 64)
                __builtin_prefetch(data + (size_t)(uint32_t)index[i + SOURCE_AHEAD] * bytes + line);
        if (data && index[i] >= 0 && index[i] < source->count)
            memcpy(to, data + (size_t)index[i] * bytes, bytes);
        else
            memset(to, 0, bytes);
    }
}

void selfc_source_gather(const SelfcSource *source, uint32_t field, const int32_t *index, int64_t n, void *out) {
    if (!atomic_load(&source->is_loaded)) selfc_source_load((SelfcSource *)source);
    if (source->gather)
        source->gather(source, field, index, n, out);
    else
        source_copy(source, field, index, n, out);
}

void selfc_source_gather_listed(const SelfcSource *source, uint32_t field, const int32_t *index, int64_t n, void *out) {
    if (!atomic_load(&source->is_loaded)) selfc_source_load((SelfcSource *)source);
    if (source->data[field])
        source_copy(source, field, index, n, out);
    else
        selfc_source_gather(source, field, index, n, out);
}
