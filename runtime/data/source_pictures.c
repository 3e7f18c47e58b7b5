/* Pictures as a data set: u8 boxes of one size, with the true size of what is in each, so that a crop can be taken
 * later without distortion, and the number of the class.
 *
 * Opening finds the files and numbers their classes, and reads the head of one picture where no size is asked for.
 * Loading takes memory and lets decoders begin; samples are then made one by one, see picture_store.c. */
#include "runtime/data/cache_file.h"
#include "runtime/data/file.h"
#include "runtime/data/picture.h"
#include "runtime/data/picture_store.h"
#include "runtime/data/pictures.h"
#include "runtime/data/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum { PICTURES_image, PICTURES_size, PICTURES_label } PicturesField;
/* No side of a box is longer, unless it is asked for. */
enum { PICTURES_SIDE = 256 };

typedef struct {
    PictureList list;
    PictureBox box;
    PictureStore *store;
    SelfcSplit split;
    bool is_part; /* of the split: some samples to look at */
    char *path, *cache;
} Pictures;

/* --- the bytes of a file --- */

typedef struct {
    const uint8_t *bytes;
    uint8_t *owned; /* free(); NULL: they belong to an archive */
    size_t size;
} PictureBytes;

static bool pictures_read_open(int file, PictureBytes *bytes, char *reason) {
    struct stat status;
    if (fstat(file, &status)) return snprintf(reason, PICTURE_REASON, "%s", strerror(errno)), false;
    if (!S_ISREG(status.st_mode)) return snprintf(reason, PICTURE_REASON, "it is no file"), false;
    if (status.st_size > PICTURE_LARGEST_FILE)
        return snprintf(reason, PICTURE_REASON, "larger than any picture should be: 256 MB"), false;
    size_t size = (size_t)status.st_size;
    bytes->bytes = bytes->owned = malloc(size + 1);
    if (!bytes->owned) return snprintf(reason, PICTURE_REASON, "no memory for it"), false;
    while (bytes->size < size) {
        ssize_t got = read(file, bytes->owned + bytes->size, size - bytes->size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return snprintf(reason, PICTURE_REASON, "%s", strerror(errno)), false;
        if (got == 0) break;
        bytes->size += (size_t)got;
    }
    return true;
}

static bool pictures_read(const Pictures *pictures, int64_t index, PictureBytes *bytes, char *reason) {
    const PackedMember *member = pictures->list.files[index].member;
    *bytes = (PictureBytes){0};
    if (member && member->failure)
        return snprintf(reason, PICTURE_REASON, "cannot be unpacked: %s", member->failure), false;
    if (member) {
        *bytes = (PictureBytes){.bytes = packed_bytes(pictures->list.packed, member), .size = (size_t)member->size};
        return true;
    }
    char *path = pictures_path(&pictures->list, index);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    free(path);
    if (file < 0) return snprintf(reason, PICTURE_REASON, "%s", strerror(errno)), false;
    bool is_fine = pictures_read_open(file, bytes, reason);
    close(file);
    return is_fine;
}

/* --- what the store asks for --- */

static bool pictures_make(void *context, int64_t index, uint8_t *slot, int32_t size[2], char reason[STORE_REASON]) {
    const Pictures *pictures = context;
    Picture picture = {0};
    PictureBytes bytes;
    bool is_fine = pictures_read(pictures, index, &bytes, reason) &&
                   picture_decode(bytes.bytes, bytes.size, &pictures->box, &picture, reason);
    if (is_fine && !picture_fit(&picture, &pictures->box, slot, size)) {
        snprintf(reason, STORE_REASON, "no memory to resize it");
        is_fine = false;
    }
    free(picture.pixels);
    free(bytes.owned);
    return is_fine;
}

static char *pictures_name(void *context, int64_t index) {
    return pictures_path(&((const Pictures *)context)->list, index);
}

/* Files by name, size and time; members of an archive by name, size and the archive's size and time. */
static uint64_t pictures_key(void *context) {
    const Pictures *pictures = context;
    uint64_t hash = CACHE_KEY_BEGIN;
    enum { PICTURES_VERSION = 1 }; /* changes when the same files give other samples */
    int64_t facts[] = {PICTURES_VERSION,       pictures->box.height, pictures->box.width,
                       pictures->box.channels, pictures->box.fill,   pictures->split};
    char *root = realpath(pictures->path, NULL);
    cache_key_add(&hash, facts, sizeof facts);
    if (root) cache_key_add_text(&hash, root);
    free(root);
    if (pictures->list.packed) cache_key_add_file(&hash, pictures->list.packed->path);
    for (int64_t i = 0; i < pictures->list.count; i++) {
        const PictureFile *file = &pictures->list.files[i];
        cache_key_add_text(&hash, file->name);
        if (file->member) {
            cache_key_add(&hash, &file->member->size, sizeof file->member->size);
            continue;
        }
        char *path = pictures_path(&pictures->list, i);
        cache_key_add_file(&hash, path);
        free(path);
    }
    return hash;
}

/* --- a source --- */

static bool pictures_load(SelfcSource *source) {
    Pictures *pictures = source->own;
    if (pictures->list.packed && !packed_load(pictures->list.packed, pictures->cache)) return false;
    StoreOptions options = {.what = pictures->path,
                            .folder = pictures->cache,
                            .count = source->count,
                            .slot_bytes = selfc_tensor_bytes(&source->fields[PICTURES_image].sample, 0),
                            .largest = {(int32_t)pictures->box.height, (int32_t)pictures->box.width},
                            .context = pictures,
                            .make = pictures_make,
                            .name = pictures_name,
                            .key = pictures_key};
    int32_t *labels = source->no_labels ? NULL : malloc((size_t)source->count * sizeof *labels);
    if (!labels && !source->no_labels) return selfc_fail("%s: no memory for its labels", pictures->path), false;
    for (int64_t i = 0; labels && i < source->count; i++) labels[i] = pictures->list.files[i].label;
    source->data[PICTURES_label] = labels;
    if (pictures->split == SELFC_TRAIN && !pictures->is_part) pictures_tell(&pictures->list, pictures->path);
    pictures->store = store_open(&options);
    return pictures->store != NULL;
}

static int64_t pictures_stand_in(const SelfcSource *source, int64_t index) {
    const Pictures *pictures = source->own;
    return pictures->store ? store_need(pictures->store, index) : -1;
}

static void pictures_gather(const SelfcSource *source, uint32_t field, const int32_t *index, int64_t n, void *out) {
    const Pictures *pictures = source->own;
    size_t bytes = selfc_tensor_bytes(&source->fields[field].sample, 0);
    for (int64_t i = 0; i < n; i++) {
        char *to = (char *)out + (size_t)i * bytes;
        bool is_inside = index[i] >= 0 && index[i] < source->count;
        int64_t whole = is_inside ? pictures_stand_in(source, index[i]) : -1;
        if (whole < 0)
            memset(to, 0, bytes);
        else if (field == PICTURES_image)
            memcpy(to, store_slot(pictures->store, whole), bytes);
        else if (field == PICTURES_size)
            memcpy(to, store_size(pictures->store, whole), bytes);
        else
            memcpy(to, (int32_t *)source->data[PICTURES_label] + whole, bytes);
    }
}

static void pictures_ahead(const SelfcSource *source, const int32_t *index, int64_t n) {
    const Pictures *pictures = source->own;
    store_ahead(pictures->store, index, n);
}

static bool pictures_check(const SelfcSource *source) {
    const Pictures *pictures = source->own;
    const char *failure = pictures->store ? store_failure(pictures->store) : NULL;
    if (failure) selfc_fail("%s", failure);
    return !failure;
}

static void pictures_close(SelfcSource *source) {
    Pictures *pictures = source->own;
    store_close(pictures->store);
    pictures_free(&pictures->list);
    free(pictures->path);
    free(pictures->cache);
    free(pictures);
}

/* The size of the first picture that can be read, shrunk so that no side is longer than PICTURES_SIDE. */
static bool pictures_first_size(Pictures *pictures) {
    PictureBox most = {.height = PICTURES_SIDE, .width = PICTURES_SIDE};
    if (pictures->list.packed && !packed_load(pictures->list.packed, pictures->cache)) return false;
    char reason[PICTURE_REASON] = "";
    for (int64_t i = 0; i < pictures->list.count; i++) {
        int64_t height, width, fitted[2];
        PictureBytes bytes;
        bool is_fine = pictures_read(pictures, i, &bytes, reason) &&
                       picture_read_size(bytes.bytes, bytes.size, &height, &width, reason);
        free(bytes.owned);
        if (!is_fine) continue;
        picture_fitted_size(&most, height, width, fitted);
        pictures->box.height = fitted[0];
        pictures->box.width = fitted[1];
        return true;
    }
    char *path = pictures_path(&pictures->list, 0);
    selfc_fail("%s: none of its %lld pictures can be read; %s: %s", pictures->path, (long long)pictures->list.count,
               path, reason);
    free(path);
    return false;
}

static bool pictures_set_box(Pictures *pictures, const SelfcSourceOptions *options) {
    if ((options->height == 0) != (options->width == 0) || options->height < 0 || options->width < 0 ||
        options->height > PICTURE_LARGEST_SIDE || options->width > PICTURE_LARGEST_SIDE)
        return selfc_fail("pictures of size [%lld, %lld]: both sides must be from 1 to %d, or not given at all",
                          (long long)options->height, (long long)options->width, PICTURE_LARGEST_SIDE),
               false;
    if (options->channels != 0 && options->channels != 1 && options->channels != 3)
        return selfc_fail("pictures of %lld channels: there are 1 (grey) and 3 (colour)", (long long)options->channels),
               false;
    pictures->box = (PictureBox){.height = options->height,
                                 .width = options->width,
                                 .channels = options->channels ? options->channels : 3,
                                 .fill = options->fill};
    if (options->height) return true;
    if (options->split == SELFC_TRAIN) return pictures_first_size(pictures);
    Pictures train = {.path = pictures->path, .cache = pictures->cache};
    bool is_fine = pictures_find(&train.list, pictures->path, SELFC_TRAIN) && pictures_first_size(&train);
    pictures->box.height = train.box.height;
    pictures->box.width = train.box.width;
    pictures_free(&train.list);
    return is_fine;
}

static void pictures_add_fields(SelfcSource *source, const Pictures *pictures) {
    const PictureBox *box = &pictures->box;
    SelfcTensor image = {.dtype = SELFC_u8, .rank = box->channels == 1 ? 2 : 3, .dim = {box->height, box->width}};
    if (image.rank == 3) image.dim[2] = box->channels;
    source_add_field(source, "image", image, NULL);
    source_add_field(source, "size", (SelfcTensor){.dtype = SELFC_i32, .rank = 1, .dim = {2}}, NULL);
    source->no_labels = pictures->list.no_labels;
    source->names = pictures->list.names;
    if (source->no_labels) return;
    source_add_field(source, "label", (SelfcTensor){.dtype = SELFC_i32}, NULL);
    source->classes = pictures->list.classes;
    source->class_count = pictures->list.class_count;
}

/* Leaves so many, from everywhere among them. */
static void pictures_thin(Pictures *pictures, int64_t most) {
    PictureList *list = &pictures->list;
    pictures->is_part = true;
    for (int64_t i = 0; i < most && list->count > most; i++) {
        list->files[i] = list->files[i * list->count / most];
        list->names[i] = list->files[i].name;
    }
    if (list->count > most) list->count = most;
}

bool source_is_pictures(const char *path) { return pictures_are_at(path); }

bool source_open_pictures(SelfcSource *source, const SelfcSourceOptions *options) {
    Pictures *pictures = calloc(1, sizeof *pictures);
    if (!pictures) return selfc_fail("no memory for a data set"), false;
    source->own = pictures;
    source->load = pictures_load;
    source->gather = pictures_gather;
    source->stand_in = pictures_stand_in;
    source->ahead = pictures_ahead;
    source->check = pictures_check;
    source->close = pictures_close;
    pictures->path = strdup(options->path);
    pictures->cache = options->cache ? strdup(options->cache) : NULL;
    pictures->split = options->split;
    if (!pictures_find(&pictures->list, options->path, options->split)) return false;
    source->count = pictures->list.count;
    if (!source->count) return true;
    if (!pictures_set_box(pictures, options)) return false;
    if (options->most) pictures_thin(pictures, options->most);
    source->count = pictures->list.count;
    pictures_add_fields(source, pictures);
    return true;
}
