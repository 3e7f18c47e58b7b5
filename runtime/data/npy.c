/* NumPy's .npy files, versions 1 to 3: a header that is a Python dictionary, then the elements. Other byte orders are
 * turned, f64 becomes f32 (a tensor has no f64) and bf16 is written as f32 (NumPy has no bf16). The header is matched
 * against what NumPy writes; a dictionary with other expressions in it is refused, not evaluated. */
#include "runtime/data/file.h"
#include "runtime/data/source.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name; /* in the file, without the byte order */
    int32_t dtype;    /* what it becomes */
    size_t bytes;     /* in the file */
} NpyType;

static const NpyType npy_type[] = {
    {"f4", SELFC_f32, 4}, {"f8", SELFC_f32, 8}, {"f2", SELFC_f16, 2}, {"i1", SELFC_i8, 1},
    {"u1", SELFC_u8, 1},  {"i4", SELFC_i32, 4}, {"i8", SELFC_i64, 8}, {"b1", SELFC_bool, 1},
};
enum { NPY_TYPES = sizeof npy_type / sizeof *npy_type };

typedef struct {
    const char *path;
    const char *text, *end; /* what is left of the header */
} NpyHeader;

static bool npy_fail(const NpyHeader *header, const char *what) {
    selfc_fail("%s: not a valid .npy file: %s", header->path, what);
    return false;
}

static void npy_skip_space(NpyHeader *header) {
    while (header->text < header->end && isspace((unsigned char)*header->text)) header->text++;
}

static bool npy_take(NpyHeader *header, char wanted) {
    npy_skip_space(header);
    if (header->text == header->end || *header->text != wanted) return false;
    header->text++;
    return true;
}

static bool npy_string(NpyHeader *header, char *out, size_t room) {
    npy_skip_space(header);
    if (header->text == header->end || (*header->text != '\'' && *header->text != '"')) return false;
    char quote = *header->text++;
    size_t length = 0;
    while (header->text < header->end && *header->text != quote) {
        if (length + 1 >= room) return false;
        out[length++] = *header->text++;
    }
    out[length] = 0;
    return npy_take(header, quote);
}

static bool npy_number(NpyHeader *header, int64_t *number) {
    npy_skip_space(header);
    if (header->text == header->end || !isdigit((unsigned char)*header->text)) return false;
    for (*number = 0; header->text < header->end && isdigit((unsigned char)*header->text); header->text++)
        if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, *header->text - '0', number))
            return false;
    return true;
}

static bool npy_word(NpyHeader *header, const char *word) {
    npy_skip_space(header);
    size_t length = strlen(word);
    if ((size_t)(header->end - header->text) < length || memcmp(header->text, word, length)) return false;
    header->text += length;
    return true;
}

static bool npy_shape(NpyHeader *header, SelfcTensor *tensor) {
    if (!npy_take(header, '(')) return npy_fail(header, "'shape' is not a tuple");
    tensor->rank = 0;
    while (!npy_take(header, ')')) {
        if (tensor->rank == SELFC_MAX_RANK) return npy_fail(header, "more than 6 axes");
        if (!npy_number(header, &tensor->dim[tensor->rank++]))
            return npy_fail(header, "'shape' has an axis that is no number");
        if (npy_take(header, ')')) break;
        if (!npy_take(header, ',')) return npy_fail(header, "'shape' is not a tuple");
    }
    return true;
}

static bool npy_descr(NpyHeader *header, const NpyType **type, bool *is_swapped) {
    char name[32];
    if (!npy_string(header, name, sizeof name)) return npy_fail(header, "'descr' is not the name of a plain type");
    for (int i = 0; i < NPY_TYPES; i++) {
        if (!strchr("<>|=", name[0]) || strcmp(name + 1, npy_type[i].name)) continue;
        *type = &npy_type[i];
        *is_swapped = name[0] == '>';
        return true;
    }
    selfc_fail("%s: elements of type '%s'; selfc reads f4, f8, f2, i1, u1, i4, i8 and b1", header->path, name);
    return false;
}

static bool npy_parse_header(NpyHeader *header, SelfcTensor *tensor, const NpyType **type, bool *is_swapped) {
    bool has_shape = false, has_order = false;
    if (!npy_take(header, '{')) return npy_fail(header, "its header is no dictionary");
    while (!npy_take(header, '}')) {
        char key[32];
        if (!npy_string(header, key, sizeof key) || !npy_take(header, ':'))
            return npy_fail(header, "its header is no dictionary");
        if (!strcmp(key, "descr")) {
            if (!npy_descr(header, type, is_swapped)) return false;
        } else if (!strcmp(key, "shape")) {
            if (!npy_shape(header, tensor)) return false;
            has_shape = true;
        } else if (!strcmp(key, "fortran_order")) {
            if (npy_word(header, "True")) {
                selfc_fail("%s: stored column by column; save it with numpy.ascontiguousarray", header->path);
                return false;
            }
            if (!npy_word(header, "False")) return npy_fail(header, "'fortran_order' is neither True nor False");
            has_order = true;
        } else {
            return npy_fail(header, "its header has a key that is not descr, fortran_order or shape");
        }
        if (!npy_take(header, ',') && (header->text == header->end || *header->text != '}'))
            return npy_fail(header, "its header is no dictionary");
    }
    if (!*type || !has_shape || !has_order) return npy_fail(header, "its header lacks descr, fortran_order or shape");
    return true;
}

/* Finds the header's text; returns where the elements begin, or 0. */
static size_t npy_find_header(NpyHeader *header, const unsigned char *bytes, size_t size) {
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6)) return npy_fail(header, "it does not begin with \\x93NUMPY");
    if (bytes[6] < 1 || bytes[6] > 3) return npy_fail(header, "its version is not 1, 2 or 3");
    size_t start = bytes[6] == 1 ? 10 : 12;
    if (size < start) return npy_fail(header, "it ends within the header");
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (start == 12) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (length > size - start) return npy_fail(header, "it ends within the header");
    header->text = (const char *)bytes + start;
    header->end = header->text + length;
    return start + length;
}

static void npy_swap(unsigned char *data, size_t element, size_t count) {
    for (size_t i = 0; i < count; i++, data += element)
        for (size_t low = 0, high = element - 1; low < high; low++, high--) {
            unsigned char kept = data[low];
            data[low] = data[high];
            data[high] = kept;
        }
}

static void npy_doubles_to_floats(void *data, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, (char *)data + i * sizeof value, sizeof value);
        float narrow = (float)value;
        memcpy((char *)data + i * sizeof narrow, &narrow, sizeof narrow);
    }
}

static void npy_clean_bools(uint8_t *data, size_t count) {
    for (size_t i = 0; i < count; i++) data[i] = data[i] != 0;
}

static bool npy_count(NpyHeader *header, const SelfcTensor *tensor, const NpyType *type, size_t available,
                      size_t *count) {
    int64_t elements = 1, bytes;
    bool is_empty = false, is_large = false;
    for (int32_t i = 0; i < tensor->rank; i++) {
        is_empty |= tensor->dim[i] == 0;
        is_large |= __builtin_mul_overflow(elements, tensor->dim[i] ? tensor->dim[i] : 1, &elements);
    }
    if (is_large || __builtin_mul_overflow(elements, (int64_t)type->bytes, &bytes))
        return npy_fail(header, "its shape is larger than memory");
    if (is_empty) bytes = 0;
    if ((uint64_t)bytes != available) {
        char shape[128];
        selfc_fail("%s: %s takes %lld bytes, the file has %zu", header->path, selfc_tensor_print(tensor, shape),
                   (long long)bytes, available);
        return false;
    }
    *count = is_empty ? 0 : (size_t)elements;
    return true;
}

/* What the header says; its tensor gets the type that the elements become. Returns where they begin, or 0. */
static size_t npy_open(NpyHeader *header, const void *bytes, size_t size, SelfcTensor *tensor, const NpyType **type,
                       bool *is_swapped) {
    *type = NULL;
    *tensor = (SelfcTensor){.name = ""};
    size_t start = npy_find_header(header, bytes, size);
    if (!start || !npy_parse_header(header, tensor, type, is_swapped)) return 0;
    tensor->dtype = (*type)->dtype;
    return start;
}

int selfc_npy_read(const char *path, SelfcArray *array) {
    void *bytes;
    size_t size, count = 0;
    if (selfc_file_read(path, &bytes, &size)) return -1;
    const NpyType *type;
    bool is_swapped = false;
    NpyHeader header = {.path = path};
    size_t start = npy_open(&header, bytes, size, &array->tensor, &type, &is_swapped);
    if (!start || !npy_count(&header, &array->tensor, type, size - start, &count)) {
        free(bytes);
        return -1;
    }
    memmove(bytes, (char *)bytes + start, size - start);
    if (is_swapped) npy_swap(bytes, type->bytes, count);
    if (type->bytes == 8 && type->dtype == SELFC_f32) npy_doubles_to_floats(bytes, count);
    if (type->dtype == SELFC_bool) npy_clean_bools(bytes, count);
    size_t kept = count * selfc_dtype_bytes(type->dtype);
    void *smaller = realloc(bytes, kept ? kept : 1);
    array->data = smaller ? smaller : bytes;
    return 0;
}

bool npy_read_shape(const char *path, SelfcTensor *tensor) {
    enum { NPY_LONGEST_HEADER = 65536 };
    FILE *in = fopen(path, "rbe");
    char *start = malloc(NPY_LONGEST_HEADER);
    bool is_fine = in && start;
    if (!is_fine) selfc_fail("cannot read %s: %s", path, strerror(errno));
    if (is_fine) {
        const NpyType *type;
        bool is_swapped = false;
        NpyHeader header = {.path = path};
        is_fine = npy_open(&header, start, fread(start, 1, NPY_LONGEST_HEADER, in), tensor, &type, &is_swapped) != 0;
    }
    if (in) fclose(in);
    free(start);
    return is_fine;
}

static const char *npy_name_of(int32_t dtype) {
    switch ((SelfcDType)dtype) {
    case SELFC_f32:
    case SELFC_bf16: return "<f4";
    case SELFC_f16: return "<f2";
    case SELFC_i8: return "|i1";
    case SELFC_u8: return "|u1";
    case SELFC_i32: return "<i4";
    case SELFC_i64: return "<i8";
    case SELFC_bool: return "|b1";
    }
    return "";
}

static void npy_write_widened(FileWriter *writer, const uint16_t *data, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)data[i] << 16;
        file_write(writer, &bits, sizeof bits);
    }
}

/* The elements begin at a multiple of 64, as NumPy's own do. */
bool npy_begin(FileWriter *writer, const char *path, const SelfcTensor *tensor, int64_t n) {
    char text[512];
    int used =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", npy_name_of(tensor->dtype));
    for (int32_t i = 0; i < tensor->rank; i++) {
        int64_t dim = tensor->dim[i] < 0 ? -tensor->dim[i] * n : tensor->dim[i];
        used += snprintf(text + used, sizeof text - (size_t)used, "%lld,%s", (long long)dim,
                         i + 1 < tensor->rank ? " " : "");
    }
    used += snprintf(text + used, sizeof text - (size_t)used, "), }");
    while ((10 + used + 1) % 64) text[used++] = ' ';
    text[used++] = '\n';
    unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)used, (unsigned char)(used >> 8)};
    if (!file_begin(writer, path)) return false;
    file_write(writer, start, sizeof start);
    file_write(writer, text, (size_t)used);
    return true;
}

int selfc_npy_write(const char *path, const SelfcTensor *tensor, const void *data, int64_t n) {
    FileWriter writer;
    if (!npy_begin(&writer, path, tensor, n)) return -1;
    if (tensor->dtype == SELFC_bf16)
        npy_write_widened(&writer, data, (size_t)selfc_tensor_elements(tensor, n));
    else
        file_write(&writer, data, selfc_tensor_bytes(tensor, n));
    return file_commit(&writer);
}
