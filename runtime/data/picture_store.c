/* A slot for each sample, in memory or in a file of the cache, and threads that fill them.
 *
 * A sample is made by the first who takes it: a thread in the background, or the one that needs it now and finds nobody
 * at it. What it contains depends on its file alone, so neither order nor threads are seen in the data. The decoders
 * are shared by all stores of the process, as many as it has CPUs; they serve the store that was opened first, and in
 * it first what was asked for.
 *
 * A file of the cache is written under a temporary name and takes its own when all samples are in it. Its head says
 * what it was made from, and has a checksum over itself and one for each slot, which is looked at when the sample is
 * first needed: what does not fit is made again. */
#include "runtime/data/picture_store.h"
#include "runtime/core/core.h"
#include "runtime/data/cache_file.h"
#include "runtime/data/file.h"
#include "runtime/data/region.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef enum {
    SAMPLE_open,   /* nobody has begun */
    SAMPLE_cached, /* from a file of the cache, not yet looked at */
    SAMPLE_taken,  /* somebody is at it */
    SAMPLE_whole,
    SAMPLE_broken
} SampleState;

/* The beginning of a file: then one Entry a sample, then the slots. */
typedef struct {
    char magic[8];
    uint64_t key, count, slot_bytes;
    uint64_t checksum; /* of the entries */
} StoreHead;

typedef struct {
    int32_t size[2];
    uint64_t checksum; /* of the slot */
    uint32_t is_whole, zero;
} StoreEntry;

struct PictureStore {
    StoreOptions options;
    char *what;
    Region region;
    StoreEntry *entries; /* into the region, as are the slots */
    uint8_t *slots;
    _Atomic uint8_t *state;
    char *path, *temporary; /* of the file; temporary NULL: there is none, or it has its name already */
    bool is_reused;
    int64_t tried, broken; /* guarded by decoders.mutex, as all below */
    char *failure;
    int32_t *asked;
    int64_t asked_count, asked_next, rest_next;
    int working;      /* decoders at a sample of this store, or at its file */
    bool is_complete; /* its file has been seen to */
    PictureStore *next;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t has_work, is_done;
    PictureStore *stores;
    pthread_t *threads;
    int count;
    uintptr_t generation; /* threads of an earlier one end */
} decoders = {
    .mutex = PTHREAD_MUTEX_INITIALIZER, .has_work = PTHREAD_COND_INITIALIZER, .is_done = PTHREAD_COND_INITIALIZER};

static const char store_magic[8] = "selfcP1";

/* --- one sample --- */

static uint8_t *store_slot_of(const PictureStore *store, int64_t index) {
    return store->slots + (size_t)index * store->options.slot_bytes;
}

/* Names and what libraries say of bytes may hold anything; a terminal is shown letters alone. */
static const char *store_plain(char *text) {
    for (char *at = text; at && *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7F) *at = '?';
    return text ? text : "?";
}

/* A broken sample is said once. The run stops when more than 1 % of all are broken, and 10 at least, or more than half:
 * of all, since how many have been tried by then depends on the clock. */
static void store_report(PictureStore *store, int64_t index, char *reason) {
    enum { STORE_BROKEN_LEAST = 10, STORE_BROKEN_SHARE = 100 };
    char *name = store->options.name(store->options.context, index);
    fprintf(stderr, "selfc: %s: not a picture that can be read (%s); skipped\n", store_plain(name),
            store_plain(reason));
    free(name);
    store->broken++;
    bool is_most = store->broken * 2 > store->options.count;
    bool is_much = store->broken >= STORE_BROKEN_LEAST && store->broken * STORE_BROKEN_SHARE > store->options.count;
    if ((is_much || is_most) && !store->failure &&
        asprintf(&store->failure,
                 "%s: %lld of its %lld pictures, or more, cannot be read, more than %s: their names and what is wrong "
                 "with them stand above",
                 store->what, (long long)store->broken, (long long)store->options.count,
                 is_much ? "1 in 100" : "half") < 0)
        abort();
}

/* Makes a sample that the caller has taken. */
static void store_make(PictureStore *store, int64_t index, SampleState before) {
    StoreEntry *entry = &store->entries[index];
    uint8_t *slot = store_slot_of(store, index);
    char reason[STORE_REASON] = "";
    bool is_whole = before == SAMPLE_cached && cache_checksum(slot, store->options.slot_bytes) == entry->checksum;
    if (!is_whole) {
        if (before == SAMPLE_cached) unlink(store->path); /* the next run makes a better one */
        is_whole = store->options.make(store->options.context, index, slot, entry->size, reason);
        if (!is_whole) memset(slot, 0, store->options.slot_bytes);
        if (is_whole && store->temporary) entry->checksum = cache_checksum(slot, store->options.slot_bytes);
        entry->is_whole = is_whole;
    }
    pthread_mutex_lock(&decoders.mutex);
    store->tried++;
    if (!is_whole) store_report(store, index, reason);
    atomic_store_explicit(&store->state[index], is_whole ? SAMPLE_whole : SAMPLE_broken, memory_order_release);
    pthread_cond_broadcast(&decoders.is_done);
    pthread_mutex_unlock(&decoders.mutex);
}

/* Whether the caller is now the one who makes it. */
static bool store_take(PictureStore *store, int64_t index, SampleState *before) {
    uint8_t state = atomic_load(&store->state[index]);
    *before = state;
    return (state == SAMPLE_open || state == SAMPLE_cached) &&
           atomic_compare_exchange_strong(&store->state[index], &state, SAMPLE_taken);
}

static bool store_is_known(const PictureStore *store, int64_t index) {
    return atomic_load_explicit(&store->state[index], memory_order_acquire) >= SAMPLE_whole;
}

/* Makes sample `index`, or waits for who does. */
static SampleState store_wait(PictureStore *store, int64_t index) {
    SampleState before;
    if (!store_is_known(store, index) && store_take(store, index, &before)) store_make(store, index, before);
    if (!store_is_known(store, index)) {
        pthread_mutex_lock(&decoders.mutex);
        while (!store_is_known(store, index)) pthread_cond_wait(&decoders.is_done, &decoders.mutex);
        pthread_mutex_unlock(&decoders.mutex);
    }
    return atomic_load_explicit(&store->state[index], memory_order_acquire);
}

int64_t store_need(PictureStore *store, int64_t index) {
    for (int64_t i = 0; i < store->options.count; i++) {
        if (store_wait(store, index) == SAMPLE_whole) return index;
        if (store_failure(store)) return -1;
        if (++index == store->options.count) index = 0;
    }
    pthread_mutex_lock(&decoders.mutex);
    if (!store->failure && asprintf(&store->failure, "%s: none of its %lld pictures can be read", store->what,
                                    (long long)store->options.count) < 0)
        abort();
    pthread_mutex_unlock(&decoders.mutex);
    return -1;
}

const uint8_t *store_slot(const PictureStore *store, int64_t index) { return store_slot_of(store, index); }
const int32_t *store_size(const PictureStore *store, int64_t index) { return store->entries[index].size; }
bool store_is_reused(const PictureStore *store) { return store->is_reused; }

const char *store_failure(PictureStore *store) {
    pthread_mutex_lock(&decoders.mutex);
    const char *failure = store->failure;
    pthread_mutex_unlock(&decoders.mutex);
    return failure;
}

/* --- the decoders --- */

/* The next sample of a store to make, taken; -1: all are taken. Needs the mutex. */
static int64_t store_next(PictureStore *store, SampleState *before) {
    if (store->failure) return -1;
    while (store->asked_next < store->asked_count) {
        int64_t index = store->asked[store->asked_next++];
        if (store_take(store, index, before)) return index;
    }
    while (store->rest_next < store->options.count) {
        int64_t index = store->rest_next++;
        if (store_take(store, index, before)) return index;
    }
    return -1;
}

/* The file gets its name when the last sample is in it. */
static void store_complete(PictureStore *store) {
    int64_t count = store->options.count;
    StoreHead *head = (StoreHead *)store->region.bytes;
    *head = (StoreHead){.key = head->key, .count = (uint64_t)count, .slot_bytes = store->options.slot_bytes};
    head->checksum = cache_checksum(store->entries, (size_t)count * sizeof *store->entries);
    memcpy(head->magic, store_magic, sizeof head->magic);
    if (!msync(store->region.bytes, store->region.size, MS_SYNC) && !rename(store->temporary, store->path)) {
        free(store->temporary);
        store->temporary = NULL;
    }
}

/* Whether the caller is to see to the file now. Needs the mutex. Who sees to it changes `temporary` without the mutex,
 * so it is read only if nobody does. */
static bool store_take_file(PictureStore *store) {
    if (store->is_complete || !store->temporary || store->failure || store->tried < store->options.count) return false;
    store->is_complete = true;
    return true;
}

static void *decoder_run(void *generation) {
    pthread_mutex_lock(&decoders.mutex);
    while (decoders.generation == (uintptr_t)generation) {
        int64_t index = -1;
        SampleState before = SAMPLE_open;
        PictureStore *store = decoders.stores;
        for (; store; store = store->next)
            if ((index = store_next(store, &before)) >= 0 || store_take_file(store)) break;
        if (!store) {
            pthread_cond_wait(&decoders.has_work, &decoders.mutex);
            continue;
        }
        store->working++;
        pthread_mutex_unlock(&decoders.mutex);
        if (index >= 0)
            store_make(store, index, before);
        else
            store_complete(store);
        pthread_mutex_lock(&decoders.mutex);
        if (!--store->working) pthread_cond_broadcast(&decoders.is_done);
    }
    pthread_mutex_unlock(&decoders.mutex);
    return NULL;
}

/* Signals are the main thread's. Fewer threads than wanted, or none, are no failure: who needs a sample can make it. */
static void decoders_start(void) {
    int wanted = selfc_cpu_count();
    sigset_t all, kept;
    decoders.threads = calloc((size_t)wanted, sizeof *decoders.threads);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    for (decoders.count = 0; decoders.threads && decoders.count < wanted; decoders.count++)
        if (pthread_create(&decoders.threads[decoders.count], NULL, decoder_run, (void *)decoders.generation)) break;
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
}

static void decoders_stop(pthread_t *threads, int count) {
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    free(threads);
}

static void store_join(PictureStore *store) {
    pthread_mutex_lock(&decoders.mutex);
    PictureStore **link = &decoders.stores;
    while (*link) link = &(*link)->next;
    *link = store;
    if (!decoders.threads) decoders_start();
    pthread_cond_broadcast(&decoders.has_work);
    pthread_mutex_unlock(&decoders.mutex);
}

static void store_leave(PictureStore *store) {
    pthread_t *threads = NULL;
    int count = 0;
    pthread_mutex_lock(&decoders.mutex);
    PictureStore **link = &decoders.stores;
    while (*link && *link != store) link = &(*link)->next;
    if (*link) *link = store->next;
    while (store->working) pthread_cond_wait(&decoders.is_done, &decoders.mutex);
    if (!decoders.stores) {
        threads = decoders.threads;
        count = decoders.count;
        decoders.threads = NULL;
        decoders.count = 0; /* another store that is closed just now finds none to wait for */
        decoders.generation++;
        pthread_cond_broadcast(&decoders.has_work);
    }
    pthread_mutex_unlock(&decoders.mutex);
    decoders_stop(threads, count);
}

void store_ahead(PictureStore *store, const int32_t *index, int64_t n) {
    int32_t *asked = malloc((size_t)(n + 1) * sizeof *asked);
    if (!asked) return; /* they are made in another order then */
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        if (index[i] >= 0 && index[i] < store->options.count && !store_is_known(store, index[i]))
            asked[count++] = index[i];
    pthread_mutex_lock(&decoders.mutex);
    free(store->asked);
    store->asked = asked;
    store->asked_count = count;
    store->asked_next = 0;
    pthread_cond_broadcast(&decoders.has_work);
    pthread_mutex_unlock(&decoders.mutex);
}

/* --- the file --- */

static size_t store_slots_offset(int64_t count) {
    return (sizeof(StoreHead) + (size_t)count * sizeof(StoreEntry) + 4095) / 4096 * 4096;
}

static bool store_is_size(const PictureStore *store, const int32_t size[2]) {
    const int32_t *largest = store->options.largest;
    return size[0] >= 1 && size[1] >= 1 && size[0] <= largest[0] && size[1] <= largest[1];
}

/* Whether a file that has been mapped is what it should be; its samples are then there to be looked at. */
static bool store_check_file(PictureStore *store, uint64_t key) {
    const StoreHead *head = (const StoreHead *)store->region.bytes;
    int64_t count = store->options.count;
    if (memcmp(head->magic, store_magic, sizeof head->magic) || head->key != key || head->count != (uint64_t)count ||
        head->slot_bytes != store->options.slot_bytes ||
        head->checksum != cache_checksum(head + 1, (size_t)count * sizeof(StoreEntry)))
        return false;
    const StoreEntry *entries = (const StoreEntry *)(head + 1);
    for (int64_t i = 0; i < count; i++)
        if (entries[i].is_whole && store_is_size(store, entries[i].size)) store->state[i] = SAMPLE_cached;
    return true;
}

static bool store_open_file(PictureStore *store, size_t size) {
    const StoreOptions *options = &store->options;
    uint64_t key = options->key(options->context);
    char *folder = region_folder(options->folder);
    store->path = cache_file_path(options->folder, "pictures", key);
    if (region_map(&store->region, size, store->path) && store_check_file(store, key)) {
        store->is_reused = true;
        free(folder);
        return true;
    }
    region_free(&store->region);
    store->temporary = cache_file_temporary(store->path, "pictures");
    bool is_fine = !selfc_make_folders(folder) && region_create(&store->region, size, store->temporary, store->what);
    if (is_fine) ((StoreHead *)store->region.bytes)->key = key;
    if (!is_fine) {
        free(store->temporary);
        store->temporary = NULL;
    }
    free(folder);
    return is_fine;
}

static bool store_open_region(PictureStore *store) {
    const StoreOptions *options = &store->options;
    size_t offset = store_slots_offset(options->count), slots;
    if (__builtin_mul_overflow((size_t)options->count, options->slot_bytes, &slots) || slots > SIZE_MAX / 4)
        return selfc_fail("%s: its pictures are more than a computer can hold", store->what), false;
    bool has_name = !options->folder || *options->folder;
    bool is_fine = has_name && offset + slots > region_memory()
                       ? store_open_file(store, offset + slots)
                       : region_make(&store->region, offset + slots, options->folder, store->what);
    if (!is_fine) return false;
    store->entries = (StoreEntry *)(store->region.bytes + sizeof(StoreHead));
    store->slots = store->region.bytes + offset;
    return true;
}

PictureStore *store_open(const StoreOptions *options) {
    PictureStore *store = calloc(1, sizeof *store);
    if (!store) return selfc_fail("%s: no memory for its samples", options->what), NULL;
    store->options = *options;
    store->what = strdup(options->what);
    store->state = calloc((size_t)options->count + 1, sizeof *store->state);
    bool is_fine = store->what && store->state && store_open_region(store);
    if (is_fine) {
        store_join(store);
        return store;
    }
    if (!store->what || !store->state) selfc_fail("%s: no memory for its samples", options->what);
    store_close(store);
    return NULL;
}

void store_close(PictureStore *store) {
    if (!store) return;
    if (store->slots) store_leave(store);
    if (store->slots && store_take_file(store)) store_complete(store);
    if (store->temporary) unlink(store->temporary);
    region_free(&store->region);
    free(store->temporary);
    free(store->path);
    free(store->failure);
    free(store->asked);
    free((void *)store->state);
    free(store->what);
    free(store);
}
