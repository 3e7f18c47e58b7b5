/* Samples that are made by threads in the background, each once, ahead of whoever asks for them. Private to the
 * runtime. */
#ifndef SELFC_RUNTIME_PICTURE_STORE_H
#define SELFC_RUNTIME_PICTURE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_REASON = 256 };

typedef struct {
    const char *what; /* the data set, for messages */
    const char
        *folder; /* for decoded data that do not fit into memory; NULL: the user's cache, "": unnamed files only */
    int64_t count;
    size_t slot_bytes;
    int32_t largest[2]; /* that a sample's size can be; the least is 1 */
    void *context;
    /* Writes sample `index` to its slot, and its size; false with a reason if it is broken. Called by any thread. */
    bool (*make)(void *context, int64_t index, uint8_t *slot, int32_t size[2], char reason[STORE_REASON]);
    char *(*name)(void *context, int64_t index); /* of its file; free() */
    /* A number that changes with anything that decides the samples. Asked for only when they go to a file. */
    uint64_t (*key)(void *context);
} StoreOptions;

typedef struct PictureStore PictureStore;
PictureStore *store_open(const StoreOptions *options); /* NULL after selfc_fail */
void store_close(PictureStore *store);
/* These are made next, in this order; then all others. */
void store_ahead(PictureStore *store, const int32_t *index, int64_t n);
/* Waits until it is known which sample stands for `index`: itself, or if it is broken the next whole one, from the
 * front again behind the last. -1: there is none. */
int64_t store_need(PictureStore *store, int64_t index);
const uint8_t *store_slot(const PictureStore *store, int64_t index); /* of a sample that store_need gave */
const int32_t *store_size(const PictureStore *store, int64_t index);
/* Why the run should stop: too many samples are broken. NULL: it should not. */
const char *store_failure(PictureStore *store);
/* Whether all samples are there without one having been made: they came from a file of an earlier run. */
bool store_is_reused(const PictureStore *store);
#endif
