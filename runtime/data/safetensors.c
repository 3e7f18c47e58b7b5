/* Reading and writing safetensors: eight bytes of length, a JSON header, the tensors' bytes.
 *
 * Files come from anywhere, so nothing in the header is believed: it is scanned as strict JSON; every tensor must have
 * a type and a shape that we know, as many bytes as they say, and the tensors together must cover the data without
 * a gap or an overlap (the format's own rule, which keeps one from hiding anything in a file). */
#include "runtime/data/file.h"
#include "runtime/data/json_scan.h"

#include <stdlib.h>
#include <string.h>

enum { SAFETENSORS_HEADER_MOST = 100000000 };

static const char *const safetensors_dtype[] = {"F32", "BF16", "F16", "I8", "U8", "I32", "I64", "BOOL"};
enum { SAFETENSORS_DTYPES = sizeof safetensors_dtype / sizeof *safetensors_dtype };

typedef struct {
    const char *name; /* of the file */
    JsonScan scan;
    SelfcTensors *tensors;
    uint64_t data_size; /* bytes behind the header */
    const char *data;
} SafetensorsReader;

static bool safetensors_fail(const SafetensorsReader *reader, const char *what) {
    selfc_fail("%s: not a valid safetensors file: byte %zu of the header: %s", reader->name,
               (size_t)(reader->scan.at - reader->scan.start), what);
    return false;
}

static bool safetensors_shape(SafetensorsReader *reader, SelfcTensor *tensor) {
    JsonScan *scan = &reader->scan;
    if (!json_take(scan, '[')) return safetensors_fail(reader, "a shape must be a list");
    for (tensor->rank = 0; !json_take(scan, ']'); tensor->rank++) {
        if (tensor->rank && !json_take(scan, ',')) return safetensors_fail(reader, "a comma is missing in a shape");
        if (tensor->rank == SELFC_MAX_RANK) return safetensors_fail(reader, "more than 6 axes");
        uint64_t dim;
        if (!json_whole_number(scan, &dim) || dim > INT64_MAX)
            return safetensors_fail(reader, "an axis must be a whole number");
        tensor->dim[tensor->rank] = (int64_t)dim;
    }
    return true;
}

static bool safetensors_offsets(SafetensorsReader *reader, uint64_t *begin, uint64_t *end) {
    JsonScan *scan = &reader->scan;
    if (!json_take(scan, '[') || !json_whole_number(scan, begin) || !json_take(scan, ',') ||
        !json_whole_number(scan, end) || !json_take(scan, ']'))
        return safetensors_fail(reader, "data_offsets must be two whole numbers");
    return true;
}

static bool safetensors_dtype_named(SafetensorsReader *reader, SelfcTensor *tensor) {
    char name[16];
    if (!json_string_into(&reader->scan, name, sizeof name))
        return safetensors_fail(reader, "a dtype must be a string");
    for (int i = 0; i < SAFETENSORS_DTYPES; i++) {
        if (strcmp(name, safetensors_dtype[i])) continue;
        tensor->dtype = i;
        return true;
    }
    selfc_fail("%s: a tensor of type \"%s\"; selfc reads F32, BF16, F16, I8, U8, I32, I64 and BOOL", reader->name,
               name);
    return false;
}

/* The bytes that a tensor takes; false if they do not fit into 63 bits. */
static bool safetensors_bytes(const SelfcTensor *tensor, uint64_t *bytes) {
    int64_t elements = 1, total;
    bool is_empty = false;
    for (int32_t i = 0; i < tensor->rank; i++) {
        is_empty |= tensor->dim[i] == 0;
        if (__builtin_mul_overflow(elements, tensor->dim[i] ? tensor->dim[i] : 1, &elements)) return false;
    }
    if (__builtin_mul_overflow(elements, (int64_t)selfc_dtype_bytes(tensor->dtype), &total)) return false;
    *bytes = is_empty ? 0 : (uint64_t)total;
    return true;
}

static bool safetensors_check_entry(SafetensorsReader *reader, SelfcEntry *entry, uint64_t begin, uint64_t end) {
    char shape[128];
    uint64_t bytes;
    if (begin > end || end > reader->data_size) {
        selfc_fail("%s: tensor \"%s\" is said to be at bytes %llu to %llu, but there are %llu bytes of data (is the "
                   "file cut off?)",
                   reader->name, entry->name, (unsigned long long)begin, (unsigned long long)end,
                   (unsigned long long)reader->data_size);
        return false;
    }
    if (!safetensors_bytes(&entry->tensor, &bytes) || bytes != end - begin) {
        selfc_fail("%s: tensor \"%s\" is %s, but has %llu bytes", reader->name, entry->name,
                   selfc_tensor_print(&entry->tensor, shape), (unsigned long long)(end - begin));
        return false;
    }
    entry->data = reader->data + begin;
    return true;
}

/* The value of one tensor's key: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}. */
static bool safetensors_entry(SafetensorsReader *reader, SelfcEntry *entry) {
    JsonScan *scan = &reader->scan;
    bool has_dtype = false, has_shape = false, has_offsets = false;
    uint64_t begin = 0, end = 0;
    if (!json_take(scan, '{')) return safetensors_fail(reader, "a tensor must be an object");
    for (bool is_first = true; !json_take(scan, '}'); is_first = false) {
        char key[32];
        if (!is_first && !json_take(scan, ',')) return safetensors_fail(reader, "a comma is missing");
        if (!json_string_into(scan, key, sizeof key) || !json_take(scan, ':'))
            return safetensors_fail(reader, "a key and a colon must stand here");
        bool *seen = !strcmp(key, "dtype")          ? &has_dtype
                     : !strcmp(key, "shape")        ? &has_shape
                     : !strcmp(key, "data_offsets") ? &has_offsets
                                                    : NULL;
        if (!seen) return safetensors_fail(reader, "a tensor has only the keys dtype, shape and data_offsets");
        if (*seen) return safetensors_fail(reader, "a key stands twice in a tensor");
        *seen = true;
        if (seen == &has_dtype && !safetensors_dtype_named(reader, &entry->tensor)) return false;
        if (seen == &has_shape && !safetensors_shape(reader, &entry->tensor)) return false;
        if (seen == &has_offsets && !safetensors_offsets(reader, &begin, &end)) return false;
    }
    if (!has_dtype || !has_shape || !has_offsets)
        return safetensors_fail(reader, "a tensor lacks dtype, shape or data_offsets");
    return safetensors_check_entry(reader, entry, begin, end);
}

static bool safetensors_read_metadata(SafetensorsReader *reader) {
    JsonScan *scan = &reader->scan;
    if (reader->tensors->metadata_json) return safetensors_fail(reader, "__metadata__ stands twice");
    json_skip_space(scan);
    const char *start = scan->at;
    if (!json_take(scan, '{')) return safetensors_fail(reader, "__metadata__ must be an object");
    for (bool is_first = true; !json_take(scan, '}'); is_first = false) {
        if (!is_first && !json_take(scan, ',')) return safetensors_fail(reader, "a comma is missing in __metadata__");
        if (!json_skip_string(scan) || !json_take(scan, ':') || !json_skip_string(scan))
            return safetensors_fail(reader, "__metadata__ maps strings to strings");
    }
    reader->tensors->metadata_json = strndup(start, (size_t)(scan->at - start));
    return true;
}

static bool safetensors_add(SafetensorsReader *reader, char *name, uint32_t *capacity) {
    SelfcTensors *tensors = reader->tensors;
    if (tensors->count == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 16;
        SelfcEntry *larger = realloc(tensors->entries, *capacity * sizeof *larger);
        if (!larger) {
            free(name);
            return safetensors_fail(reader, "no memory for so many tensors");
        }
        tensors->entries = larger;
    }
    SelfcEntry *entry = &tensors->entries[tensors->count++];
    *entry = (SelfcEntry){.name = name, .tensor.name = name};
    return safetensors_entry(reader, entry);
}

static bool safetensors_header(SafetensorsReader *reader) {
    JsonScan *scan = &reader->scan;
    uint32_t capacity = 0;
    if (!json_take(scan, '{')) return safetensors_fail(reader, "the header must be an object");
    for (bool is_first = true; !json_take(scan, '}'); is_first = false) {
        if (!is_first && !json_take(scan, ',')) return safetensors_fail(reader, "a comma is missing");
        char *name = json_string(scan);
        if (!name || !json_take(scan, ':')) {
            free(name);
            return safetensors_fail(reader, "a name and a colon must stand here");
        }
        if (strcmp(name, "__metadata__")) {
            if (!safetensors_add(reader, name, &capacity)) return false;
        } else {
            free(name);
            if (!safetensors_read_metadata(reader)) return false;
        }
    }
    json_skip_space(scan);
    return scan->at == scan->end || safetensors_fail(reader, "something stands behind the header's object");
}

static int safetensors_by_place(const void *a, const void *b) {
    const SelfcEntry *x = *(SelfcEntry *const *)a, *y = *(SelfcEntry *const *)b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    size_t x_bytes = selfc_tensor_bytes(&x->tensor, 0), y_bytes = selfc_tensor_bytes(&y->tensor, 0);
    return (x_bytes > y_bytes) - (x_bytes < y_bytes); /* empty ones first */
}

static int safetensors_by_name(const void *a, const void *b) {
    return strcmp((*(SelfcEntry *const *)a)->name, (*(SelfcEntry *const *)b)->name);
}

static bool safetensors_check_names(SafetensorsReader *reader, SelfcEntry **sorted) {
    uint32_t count = reader->tensors->count;
    qsort(sorted, count, sizeof *sorted, safetensors_by_name);
    for (uint32_t i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name)) continue;
        selfc_fail("%s: two tensors are called \"%s\"", reader->name, sorted[i]->name);
        return false;
    }
    return true;
}

static bool safetensors_check_cover(SafetensorsReader *reader, SelfcEntry **sorted) {
    uint32_t count = reader->tensors->count;
    qsort(sorted, count, sizeof *sorted, safetensors_by_place);
    const char *next = reader->data;
    for (uint32_t i = 0; i < count; i++) {
        const char *start = sorted[i]->data;
        if (start != next) {
            selfc_fail("%s: tensor \"%s\" begins at byte %zu of the data, which %s", reader->name, sorted[i]->name,
                       (size_t)(start - reader->data),
                       start < next ? "belongs to another tensor" : "leaves a gap before it");
            return false;
        }
        next = start + selfc_tensor_bytes(&sorted[i]->tensor, 0);
    }
    if (next == reader->data + reader->data_size) return true;
    selfc_fail("%s: %zu bytes at the end belong to no tensor", reader->name,
               (size_t)(reader->data + reader->data_size - next));
    return false;
}

static bool safetensors_check_all(SafetensorsReader *reader) {
    SelfcTensors *tensors = reader->tensors;
    SelfcEntry **sorted = malloc((tensors->count + 1) * sizeof *sorted);
    if (!sorted) return safetensors_fail(reader, "no memory for so many tensors");
    for (uint32_t i = 0; i < tensors->count; i++) sorted[i] = &tensors->entries[i];
    bool is_fine = safetensors_check_names(reader, sorted) && safetensors_check_cover(reader, sorted);
    free(sorted);
    return is_fine;
}

/* Takes over tensors->bytes. */
static bool safetensors_open(const char *name, SelfcTensors *tensors) {
    const unsigned char *bytes = tensors->bytes;
    uint64_t length = 0;
    if (tensors->size < 8) {
        selfc_fail("%s: not a valid safetensors file: %zu bytes are too few", name, tensors->size);
        return false;
    }
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > SAFETENSORS_HEADER_MOST || length > tensors->size - 8) {
        selfc_fail("%s: not a valid safetensors file: its header is said to have %llu bytes, the file has %zu", name,
                   (unsigned long long)length, tensors->size);
        return false;
    }
    SafetensorsReader reader = {.name = name, .tensors = tensors};
    reader.scan = json_begin((const char *)bytes + 8, (size_t)length);
    reader.data = (const char *)bytes + 8 + length;
    reader.data_size = tensors->size - 8 - length;
    return safetensors_header(&reader) && safetensors_check_all(&reader);
}

void selfc_safetensors_free(SelfcTensors *tensors) {
    for (uint32_t i = 0; i < tensors->count; i++) free(tensors->entries[i].name);
    free(tensors->entries);
    free(tensors->metadata_json);
    free(tensors->bytes);
    *tensors = (SelfcTensors){0};
}

int selfc_safetensors_parse(const void *bytes, size_t size, const char *name, SelfcTensors *tensors) {
    *tensors = (SelfcTensors){.bytes = malloc(size + 1), .size = size};
    if (!tensors->bytes) {
        selfc_fail("%s: no memory for %zu bytes", name, size);
        return -1;
    }
    if (size) memcpy(tensors->bytes, bytes, size);
    if (safetensors_open(name, tensors)) return 0;
    selfc_safetensors_free(tensors);
    return -1;
}

int selfc_safetensors_read(const char *path, SelfcTensors *tensors) {
    *tensors = (SelfcTensors){0};
    if (selfc_file_read(path, &tensors->bytes, &tensors->size)) return -1;
    if (safetensors_open(path, tensors)) return 0;
    selfc_safetensors_free(tensors);
    return -1;
}

const SelfcEntry *selfc_safetensors_find(const SelfcTensors *tensors, const char *name) {
    for (uint32_t i = 0; i < tensors->count; i++)
        if (!strcmp(tensors->entries[i].name, name)) return &tensors->entries[i];
    return NULL;
}

char *selfc_safetensors_metadata(const SelfcTensors *tensors, const char *key) {
    if (!tensors->metadata_json) return NULL;
    JsonScan scan = json_begin(tensors->metadata_json, strlen(tensors->metadata_json));
    json_take(&scan, '{');
    for (bool is_first = true; is_first || json_take(&scan, ','); is_first = false) {
        char *found = json_string(&scan);
        if (!found) return NULL;
        bool is_wanted = !strcmp(found, key);
        free(found);
        json_take(&scan, ':');
        if (is_wanted) return json_string(&scan);
        json_skip_string(&scan);
    }
    return NULL;
}

static void safetensors_put_entry(FILE *out, const SelfcWrite *entry, const char *comma, uint64_t offset) {
    fputs(comma, out);
    json_put_string(out, entry->name);
    fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[", safetensors_dtype[entry->tensor->dtype]);
    for (int32_t i = 0; i < entry->tensor->rank; i++)
        fprintf(out, "%s%lld", i ? "," : "", (long long)entry->tensor->dim[i]);
    fprintf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
            (unsigned long long)(offset + selfc_tensor_bytes(entry->tensor, 0)));
}

/* The header, padded with spaces so that the data is aligned for reading in place. NULL: no memory. */
static char *safetensors_make_header(const SelfcWrite *entries, uint32_t count, const char *const *metadata,
                                     size_t *length) {
    char *header = NULL;
    FILE *out = open_memstream(&header, length);
    if (!out) return NULL;
    const char *comma = "";
    fputc('{', out);
    if (metadata) {
        fputs("\"__metadata__\":{", out);
        for (; metadata[0]; metadata += 2, comma = ",") {
            fputs(comma, out);
            json_put_string(out, metadata[0]);
            fputc(':', out);
            json_put_string(out, metadata[1]);
        }
        fputc('}', out);
        comma = ",";
    }
    uint64_t offset = 0;
    for (uint32_t i = 0; i < count; i++, comma = ",") {
        safetensors_put_entry(out, &entries[i], comma, offset);
        offset += selfc_tensor_bytes(entries[i].tensor, 0);
    }
    fputc('}', out);
    fflush(out);
    for (size_t used = *length; (8 + used) % 64; used++) fputc(' ', out);
    if (!fclose(out)) return header;
    free(header);
    return NULL;
}

int selfc_safetensors_write(const char *path, const SelfcWrite *entries, uint32_t count, const char *const *metadata) {
    size_t length;
    char *header = safetensors_make_header(entries, count, metadata, &length);
    if (!header) {
        selfc_fail("cannot write %s: no memory for its header", path);
        return -1;
    }
    FileWriter writer;
    if (!file_begin(&writer, path)) {
        free(header);
        return -1;
    }
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)length >> 8 * i);
    file_write(&writer, size, sizeof size);
    file_write(&writer, header, length);
    for (uint32_t i = 0; i < count; i++) file_write(&writer, entries[i].data, selfc_tensor_bytes(entries[i].tensor, 0));
    free(header);
    return file_commit(&writer);
}
