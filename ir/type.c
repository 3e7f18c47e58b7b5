/* Types of tensors and sizes that may depend on the batch n.
 *
 * A Dim is one number: d or -d times n. A sum of both kinds is an Extent. Sizes are limited to
 * LARGEST_SIZE elements (times n), so that products and byte counts of checked types never overflow. */
#include "ir/graph.h"

#include <string.h>

const DTypeInfo dtype_info[DTYPE_COUNT] = {
#define DTYPE(name_, bytes_, is_float_, safetensors_, meaning_) \
    [DTYPE_##name_] = {                                         \
        .name = #name_, .safetensors = safetensors_, .meaning = meaning_, .bytes = bytes_, .is_float = is_float_},
#include "ir/dtypes.def"
};

#define LARGEST_SIZE ((int64_t)1 << 48)

bool dtype_find(const char *name, DType *dtype) {
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (!strcmp(dtype_info[i].name, name)) return *dtype = (DType)i, true;
    return false;
}

Type type_make(DType dtype, uint32_t rank, const Dim *dim) {
    CHECK(rank <= MAX_RANK);
    Type type = {.dtype = dtype, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) type.dim[i] = dim[i];
    return type;
}

Type type_scalar(DType dtype) { return (Type){.dtype = dtype}; }

bool shape_equal(Type a, Type b) {
    if (a.rank != b.rank) return false;
    for (uint32_t i = 0; i < a.rank && i < MAX_RANK; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

bool type_equal(Type a, Type b) { return a.dtype == b.dtype && shape_equal(a, b); }

Type type_with_dtype(Type type, DType dtype) {
    type.dtype = dtype;
    return type;
}

Extent dim_extent(Dim dim) { return dim < 0 ? (Extent){.per_n = -dim} : (Extent){.fixed = dim}; }

Dim dim_mul(Dim a, Dim b) {
    if (a < 0 && b < 0) BUG("a size would depend on the square of the batch");
    return a * b;
}

Dim type_elements(Type type) {
    Dim elements = 1;
    for (uint32_t i = 0; i < type.rank; i++) elements = dim_mul(elements, type.dim[i]);
    return elements;
}

int64_t dim_at(Dim dim, int64_t n) { return dim < 0 ? -dim * n : dim; }

int64_t extent_at(Extent extent, int64_t n) { return extent.fixed + extent.per_n * n; }

size_t type_bytes_at(Type type, int64_t n) {
    return (size_t)dim_at(type_elements(type), n) * dtype_info[type.dtype].bytes;
}

bool type_has_batch(Type type) {
    for (uint32_t i = 0; i < type.rank; i++)
        if (type.dim[i] < 0) return true;
    return false;
}

const char *type_problem(Type type) {
    if ((uint32_t)type.dtype >= DTYPE_COUNT) return "there is no such element type";
    if (type.rank > MAX_RANK) return "a tensor has at most 6 axes";
    Dim elements = 1;
    for (uint32_t i = 0; i < type.rank; i++) {
        Dim dim = type.dim[i];
        if (!dim) return "every axis needs at least one element";
        if (dim < 0 && elements < 0) return "only one axis may depend on the batch n";
        if (dim > LARGEST_SIZE || dim < -LARGEST_SIZE) return "an axis is too long";
        if (__builtin_mul_overflow(elements, dim, &elements) || elements > LARGEST_SIZE || elements < -LARGEST_SIZE)
            return "the tensor has too many elements";
    }
    return NULL;
}

char *type_print(Type type, char buffer[128]) {
    const char *name = (uint32_t)type.dtype < DTYPE_COUNT ? dtype_info[type.dtype].name : "?";
    int used = snprintf(buffer, 128, "%s[", name);
    for (uint32_t i = 0; i < type.rank && i < MAX_RANK && used < 120; i++) {
        Dim dim = type.dim[i];
        size_t room = 128 - (size_t)used;
        if (i) buffer[used++] = ',', room--;
        if (dim == -1)
            used += snprintf(buffer + used, room, "n");
        else if (dim < 0)
            used += snprintf(buffer + used, room, "%lldn", -(long long)dim);
        else
            used += snprintf(buffer + used, room, "%lld", (long long)dim);
    }
    if (used > 126) used = 126;
    memcpy(buffer + used, "]", 2);
    return buffer;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* "784", "n" or "4n" */
static bool parse_dim(const char **text, Dim *dim) {
    const char *s = *text;
    int64_t number = is_digit(*s) ? 0 : 1;
    bool has_digits = is_digit(*s);
    for (; is_digit(*s); s++) {
        number = number * 10 + (*s - '0');
        if (number > LARGEST_SIZE) return false;
    }
    bool has_batch = *s == 'n';
    if (has_batch) s++;
    *dim = has_batch ? -number : number;
    *text = s;
    return (has_digits || has_batch) && number > 0;
}

static bool parse_dtype(const char **text, DType *dtype) {
    for (int i = 0; i < DTYPE_COUNT; i++) {
        size_t length = strlen(dtype_info[i].name);
        if (strncmp(*text, dtype_info[i].name, length) || (*text)[length] != '[') continue;
        *text += length;
        return *dtype = (DType)i, true;
    }
    return false;
}

bool type_parse(const char **text, Type *type) {
    const char *s = *text;
    *type = (Type){0};
    if (!parse_dtype(&s, &type->dtype)) return false;
    s++;
    while (*s != ']') {
        if (type->rank == MAX_RANK) return false;
        if (type->rank && *s++ != ',') return false;
        if (!parse_dim(&s, &type->dim[type->rank])) return false;
        type->rank++;
    }
    if (type_problem(*type)) return false;
    *text = s + 1;
    return true;
}
