/* IDX files, as MNIST and its relatives come: two zero bytes, a type, a rank, the axes (big-endian), the elements;
 * gzipped or not, which zlib finds out. A folder holds up to four: images and labels of train and test (or t10k). The
 * names of the other three follow from the training images' name. */
#include "runtime/data/source.h"
#include "runtime/data/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

typedef struct {
    int code;
    size_t bytes;  /* in the file */
    int32_t dtype; /* what it becomes */
} IdxType;

static const IdxType idx_type[] = {
    {0x08, 1, SELFC_u8},  {0x09, 1, SELFC_i8},  {0x0B, 2, SELFC_i32},
    {0x0C, 4, SELFC_i32}, {0x0D, 4, SELFC_f32}, {0x0E, 8, SELFC_f32},
};
enum { IDX_TYPES = sizeof idx_type / sizeof *idx_type };

static bool idx_is_images_name(const char *name) {
    return strstr(name, "images") && strstr(name, "idx") && strstr(name, "train");
}

bool source_is_idx(const char *path) {
    if (file_is_folder(path)) {
        char *found = source_find_in_folder(path, idx_is_images_name);
        free(found);
        return found != NULL;
    }
    unsigned char magic[4];
    gzFile in = gzopen(path, "rbe");
    if (!in) return false;
    bool is_idx =
        gzread(in, magic, 4) == 4 && magic[0] == 0 && magic[1] == 0 && magic[2] >= 0x08 && magic[2] <= 0x0E && magic[3];
    gzclose(in);
    return is_idx;
}

static bool idx_fail_read(gzFile in, const char *path) {
    int code;
    const char *text = gzerror(in, &code);
    if (code == Z_OK || code == Z_BUF_ERROR)
        selfc_fail("%s: the file is cut off", path);
    else
        selfc_fail("%s: cannot be unpacked: %s", path, code == Z_ERRNO ? strerror(errno) : text);
    return false;
}

/* Leaves `in` at the first element. */
static bool idx_header(gzFile in, const char *path, SelfcTensor *tensor, const IdxType **type) {
    unsigned char start[4], axis[4];
    if (gzread(in, start, 4) != 4) return idx_fail_read(in, path);
    *type = NULL;
    for (int i = 0; i < IDX_TYPES; i++)
        if (start[2] == idx_type[i].code) *type = &idx_type[i];
    if (start[0] || start[1] || !*type || start[3] < 1 || start[3] > SELFC_MAX_RANK) {
        selfc_fail("%s: not an IDX file: it begins with %02x %02x %02x %02x, not with 00 00, a type (08 to 0e) and a "
                   "rank (1 to 6)",
                   path, start[0], start[1], start[2], start[3]);
        return false;
    }
    *tensor = (SelfcTensor){.name = "", .dtype = (*type)->dtype, .rank = start[3]};
    for (int i = 0; i < tensor->rank; i++) {
        if (gzread(in, axis, 4) != 4) return idx_fail_read(in, path);
        tensor->dim[i] = (int64_t)axis[0] << 24 | axis[1] << 16 | axis[2] << 8 | axis[3];
        if (tensor->dim[i]) continue;
        selfc_fail("%s: axis %d has no elements", path, i);
        return false;
    }
    return true;
}

/* Whether a file of this size can hold so much: deflate packs at most about 1032 to 1. */
static bool idx_check_size(const char *path, const SelfcTensor *tensor, const IdxType *type, size_t *elements) {
    struct stat status;
    uint64_t bytes = type->bytes;
    bool is_large = stat(path, &status) != 0;
    for (int i = 0; i < tensor->rank; i++) is_large |= __builtin_mul_overflow(bytes, (uint64_t)tensor->dim[i], &bytes);
    if (!is_large && bytes / 1100 <= (uint64_t)status.st_size) {
        *elements = bytes / type->bytes;
        return true;
    }
    char shape[128];
    selfc_fail("%s: is said to hold %s, which is more than fits into the file", path,
               selfc_tensor_print(tensor, shape));
    return false;
}

static bool idx_open_header(const char *path, SelfcTensor *tensor) {
    const IdxType *type;
    size_t elements;
    gzFile in = gzopen(path, "rbe");
    if (!in) return selfc_fail("cannot read %s: %s", path, strerror(errno)), false;
    bool is_fine = idx_header(in, path, tensor, &type) && idx_check_size(path, tensor, type, &elements);
    gzclose(in);
    return is_fine;
}

static void *idx_allocate(const char *path, size_t bytes) {
    void *data = malloc(bytes);
    if (!data) selfc_fail("%s: no memory for %.1f MB", path, (double)bytes / 1e6);
    return data;
}

/* From big-endian to what it becomes, from the front: nothing grows but i16, which has room behind it. */
static void idx_convert(unsigned char *data, const IdxType *type, size_t elements) {
    if (type->bytes == 1) return;
    const unsigned char *from = type->bytes == 2 ? data + 2 * elements : data;
    for (size_t i = 0; i < elements; i++, from += type->bytes) {
        uint64_t bits = 0;
        for (size_t b = 0; b < type->bytes; b++) bits = bits << 8 | from[b];
        uint32_t word = (uint32_t)bits;
        if (type->bytes == 2) word = (uint32_t)(int16_t)bits;
        if (type->bytes == 8) {
            double value;
            memcpy(&value, &bits, sizeof value);
            float narrow = (float)value;
            memcpy(&word, &narrow, sizeof word);
        }
        memcpy(data + 4 * i, &word, sizeof word);
    }
}

static bool idx_read_elements(gzFile in, const char *path, unsigned char *data, size_t bytes) {
    enum { IDX_CHUNK = 1 << 24 };
    for (size_t used = 0; used < bytes;) {
        unsigned wanted = bytes - used < IDX_CHUNK ? (unsigned)(bytes - used) : IDX_CHUNK;
        int got = gzread(in, data + used, wanted);
        if (got <= 0) return idx_fail_read(in, path);
        used += (size_t)got;
    }
    unsigned char more;
    int got = gzread(in, &more, 1), code; /* also makes zlib compare the checksum */
    gzerror(in, &code);
    if (got < 0 || (got == 0 && code != Z_OK && code != Z_STREAM_END)) return idx_fail_read(in, path);
    if (got == 0) return true;
    selfc_fail("%s: the file goes on behind its last element", path);
    return false;
}

/* All elements of the file, which must still be of the shape that it had when it was opened. NULL after selfc_fail. */
static void *idx_read(const char *path, const SelfcTensor *expected, size_t *elements) {
    const IdxType *type;
    SelfcTensor tensor;
    unsigned char *data = NULL;
    gzFile in = gzopen(path, "rbe");
    if (!in) return selfc_fail("cannot read %s: %s", path, strerror(errno)), NULL;
    gzbuffer(in, 1 << 18);
    if (idx_header(in, path, &tensor, &type) && idx_check_size(path, &tensor, type, elements)) {
        size_t bytes = *elements * type->bytes, room = type->bytes == 2 ? 2 * bytes : bytes;
        bool is_same = tensor.rank == expected->rank && tensor.dtype == expected->dtype &&
                       !memcmp(tensor.dim, expected->dim, sizeof tensor.dim);
        if (!is_same)
            selfc_fail("%s: has changed since it was opened", path);
        else
            data = idx_allocate(path, room);
        if (data && !idx_read_elements(in, path, data + room - bytes, bytes)) {
            free(data);
            data = NULL;
        }
        if (data) idx_convert(data, type, *elements);
    }
    gzclose(in);
    return data;
}

static SelfcTensor idx_with_count(const SelfcTensor *sample, int64_t count) {
    SelfcTensor tensor = *sample;
    tensor.rank++;
    memmove(tensor.dim + 1, tensor.dim, sizeof tensor.dim - sizeof *tensor.dim);
    tensor.dim[0] = count;
    return tensor;
}

/* Labels are i32 whatever they were stored as. */
static bool idx_load_labels(SelfcSource *source) {
    SelfcTensor stored;
    size_t elements;
    if (!idx_open_header(source->path[1], &stored)) return false;
    void *data = idx_read(source->path[1], &stored, &elements);
    if (!data) return false;
    if ((int64_t)elements != source->count) {
        selfc_fail("%s: has %zu labels for %lld images", source->path[1], elements, (long long)source->count);
        free(data);
        return false;
    }
    if (stored.dtype == SELFC_i32) return source->data[1] = data, true;
    int32_t *labels = idx_allocate(source->path[1], elements * sizeof *labels);
    for (size_t i = 0; labels && i < elements; i++)
        labels[i] = stored.dtype == SELFC_u8 ? ((uint8_t *)data)[i] : ((int8_t *)data)[i];
    free(data);
    return (source->data[1] = labels) != NULL;
}

static bool idx_load(SelfcSource *source) {
    size_t elements;
    SelfcTensor stored = idx_with_count(&source->fields[0].sample, source->count);
    source->data[0] = idx_read(source->path[0], &stored, &elements);
    return source->data[0] && (source->field_count == 1 || idx_load_labels(source));
}

/* The path itself, or with .gz added or taken away, if such a file exists; frees or returns it. */
static char *idx_existing(char *path) {
    if (!path || file_exists(path)) return path;
    size_t length = strlen(path);
    char *other = NULL;
    if (length > 3 && !strcmp(path + length - 3, ".gz"))
        other = strndup(path, length - 3);
    else if (asprintf(&other, "%s.gz", path) < 0)
        abort();
    free(path);
    if (other && file_exists(other)) return other;
    free(other);
    return NULL;
}

static char *idx_labels_of(const char *images) {
    char *labels = source_replace_in_name(images, "images", "labels");
    char *of_rank = labels ? source_replace_in_name(labels, "idx3", "idx1") : NULL;
    if (!of_rank) return idx_existing(labels);
    free(labels);
    return idx_existing(of_rank);
}

/* The images of the split, from those of the training split (or the one file that was given); NULL: there are none. */
static char *idx_images_of(const char *train, SelfcSplit split) {
    if (split == SELFC_TRAIN) return strdup(train);
    char *images = idx_existing(source_replace_in_name(train, "train", "t10k"));
    return images ? images : idx_existing(source_replace_in_name(train, "train", "test"));
}

static bool idx_open_labels(SelfcSource *source, char *path) {
    SelfcTensor stored;
    if (!path) return true;
    source_add_field(source, "label", (SelfcTensor){.dtype = SELFC_i32}, path);
    if (!idx_open_header(path, &stored)) return false;
    if (stored.rank != 1 || stored.dtype == SELFC_f32) {
        char shape[128];
        selfc_fail("%s: labels must be one whole number each, this file has %s", path,
                   selfc_tensor_print(&stored, shape));
        return false;
    }
    if (stored.dim[0] == source->count) return true;
    selfc_fail("%s: has %lld labels for %lld images", path, (long long)stored.dim[0], (long long)source->count);
    return false;
}

bool source_open_idx(SelfcSource *source, const SelfcSourceOptions *options) {
    const char *path = options->path;
    char *train = file_is_folder(path) ? source_find_in_folder(path, idx_is_images_name) : strdup(path);
    if (!train) return selfc_fail("%s: no file here is called like train-images-idx3-ubyte", path), false;
    char *images = idx_images_of(train, source->split);
    free(train);
    source->load = idx_load;
    if (!images) return true;
    SelfcTensor tensor;
    if (!idx_open_header(images, &tensor)) return free(images), false;
    source->count = tensor.dim[0];
    tensor.rank--;
    memmove(tensor.dim, tensor.dim + 1, sizeof tensor.dim - sizeof *tensor.dim);
    tensor.dim[SELFC_MAX_RANK - 1] = 0;
    source_add_field(source, "image", tensor, images);
    return idx_open_labels(source, idx_labels_of(images));
}
