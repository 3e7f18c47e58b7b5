/* What the kinds of sources share. Opening fills fields, count and where things are; loading fills data, which is kept
 * as it was stored: a byte for a pixel. Private to the runtime. */
#ifndef SELFC_RUNTIME_SOURCE_H
#define SELFC_RUNTIME_SOURCE_H
#include "runtime/data/data.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { SOURCE_FIELDS = 6 };

struct SelfcSource {
    const char *kind;
    SelfcSplit split;
    int64_t count;
    uint32_t field_count;
    SelfcField fields[SOURCE_FIELDS];
    char *path[SOURCE_FIELDS];         /* the file of each field; NULL for glyphs */
    void *data[SOURCE_FIELDS];         /* count samples each, once loaded; NULL where the kind gathers itself */
    bool (*load)(SelfcSource *source); /* of the kind; false after selfc_fail */
    /* Of kinds whose samples come one by one; NULL: all are in `data`. */
    void (*gather)(const SelfcSource *source, uint32_t field, const int32_t *index, int64_t n, void *out);
    int64_t (*stand_in)(const SelfcSource *source, int64_t index); /* what it gathers for this one; < 0: nothing */
    void (*ahead)(const SelfcSource *source, const int32_t *index, int64_t n);
    bool (*check)(const SelfcSource *source); /* false after selfc_fail: the run cannot go on */
    void (*close)(SelfcSource *source);
    void *own;                    /* of the kind, for these */
    int64_t below[SOURCE_FIELDS]; /* values of this field are known to be from 0 to one less; 0: nothing is known */
    const char *cut;              /* what of the data is in no sample, a sentence; NULL: nothing is lost */
    const char *no_labels;        /* why there are none; NULL: no file with them was found */
    atomic_bool is_loaded;
    pthread_mutex_t loading;
    const char *const *names;   /* of the kind: of count files, or NULL */
    const char *const *classes; /* of the kind: class_count names */
    int64_t class_count;
};

/* source.c */
bool source_fail_empty(const char *path);
void source_add_field(SelfcSource *source, const char *name, SelfcTensor sample, char *path); /* takes the path */
/* "folder/a-train-b" with the last "train" of the file's name as "test"; NULL if it has none. free(). */
char *source_replace_in_name(const char *path, const char *from, const char *to);
/* The first file of the folder, by name, that `is_wanted`; NULL: none. free(). */
char *source_find_in_folder(const char *folder, bool (*is_wanted)(const char *name));

/* The kinds. Each opens the split that the options name; false after selfc_fail. A split that is not there has count 0.
 */
bool source_open_glyphs(SelfcSource *source, const SelfcSourceOptions *options);
bool source_open_idx(SelfcSource *source, const SelfcSourceOptions *options);
bool source_open_npy(SelfcSource *source, const SelfcSourceOptions *options);
bool source_open_pictures(SelfcSource *source, const SelfcSourceOptions *options);
bool source_open_text(SelfcSource *source, const SelfcSourceOptions *options);
/* Whether the path looks like one of theirs. */
bool source_is_idx(const char *path);
bool source_is_npy(const char *path);
bool source_is_pictures(const char *path);
bool source_is_text(const char *path);

/* npy.c: only the header. */
bool npy_read_shape(const char *path, SelfcTensor *tensor);
#endif
