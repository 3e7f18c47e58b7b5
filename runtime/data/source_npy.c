/* A data set in .npy files: the first axis counts the samples. One file is a training set; beside it (or in a folder)
 * train.npy may have test.npy, train_labels.npy and test_labels.npy, or x_train.npy have x_test.npy, y_train.npy and
 * y_test.npy. Labels may be of any integer type. */
#include "runtime/data/source.h"
#include "runtime/data/file.h"

#include <stdlib.h>
#include <string.h>

static bool npy_has_ending(const char *name) {
    size_t length = strlen(name);
    return length > 4 && !strcmp(name + length - 4, ".npy");
}

static bool npy_is_train_name(const char *name) {
    return npy_has_ending(name) && strstr(name, "train") && !strstr(name, "label") && strncmp(name, "y_", 2);
}

bool source_is_npy(const char *path) {
    if (file_is_folder(path)) {
        char *found = source_find_in_folder(path, npy_is_train_name);
        free(found);
        return found != NULL;
    }
    char start[6];
    FILE *in = fopen(path, "rbe");
    if (!in) return false;
    bool is_npy = fread(start, 1, 6, in) == 6 && !memcmp(start, "\x93NUMPY", 6);
    fclose(in);
    return is_npy;
}

static char *npy_existing(char *path) {
    if (path && file_exists(path)) return path;
    free(path);
    return NULL;
}

static char *npy_labels_of(const char *values) {
    char *labels = npy_existing(source_replace_in_name(values, ".npy", "_labels.npy"));
    if (labels) return labels;
    const char *slash = strrchr(values, '/'), *name = slash ? slash + 1 : values;
    return strncmp(name, "x_", 2) ? NULL : npy_existing(source_replace_in_name(values, "x_", "y_"));
}

static bool npy_is_whole_number(int32_t dtype) {
    return dtype == SELFC_u8 || dtype == SELFC_i8 || dtype == SELFC_i32 || dtype == SELFC_i64;
}

static bool npy_read_labels(const char *path, const SelfcArray *array, int64_t count, int32_t *labels) {
    for (int64_t i = 0; i < count; i++) {
        int64_t label = 0;
        if (array->tensor.dtype == SELFC_u8) label = ((uint8_t *)array->data)[i];
        if (array->tensor.dtype == SELFC_i8) label = ((int8_t *)array->data)[i];
        if (array->tensor.dtype == SELFC_i32) label = ((int32_t *)array->data)[i];
        if (array->tensor.dtype == SELFC_i64) label = ((int64_t *)array->data)[i];
        labels[i] = (int32_t)label;
        if (labels[i] == label) continue;
        selfc_fail("%s: label %lld of sample %lld does not fit into 32 bits", path, (long long)label, (long long)i);
        return false;
    }
    return true;
}

static bool npy_is_shape(const SelfcTensor *tensor, const SelfcTensor *sample, int64_t count) {
    return tensor->dtype == sample->dtype && tensor->rank == sample->rank + 1 && tensor->dim[0] == count &&
           !memcmp(tensor->dim + 1, sample->dim, (size_t)sample->rank * sizeof *sample->dim);
}

static bool npy_load_labels(SelfcSource *source) {
    SelfcArray array;
    if (selfc_npy_read(source->path[1], &array)) return false;
    int32_t *labels = malloc((size_t)source->count * sizeof *labels);
    bool is_fine = labels && array.tensor.rank == 1 && array.tensor.dim[0] == source->count &&
                   npy_is_whole_number(array.tensor.dtype);
    if (!is_fine) selfc_fail("%s: has changed since it was opened", source->path[1]);
    is_fine = is_fine && npy_read_labels(source->path[1], &array, source->count, labels);
    free(array.data);
    source->data[1] = labels;
    return is_fine;
}

static bool npy_load(SelfcSource *source) {
    SelfcArray array;
    if (selfc_npy_read(source->path[0], &array)) return false;
    source->data[0] = array.data;
    if (!npy_is_shape(&array.tensor, &source->fields[0].sample, source->count)) {
        selfc_fail("%s: has changed since it was opened", source->path[0]);
        return false;
    }
    return source->field_count == 1 || npy_load_labels(source);
}

static bool npy_open_labels(SelfcSource *source, char *path) {
    SelfcTensor tensor;
    if (!path) return true;
    source_add_field(source, "label", (SelfcTensor){.dtype = SELFC_i32}, path);
    if (!npy_read_shape(path, &tensor)) return false;
    if (tensor.rank == 1 && tensor.dim[0] == source->count && npy_is_whole_number(tensor.dtype)) return true;
    char shape[128];
    selfc_fail("%s: %lld samples need as many whole numbers as labels, this file has %s", path,
               (long long)source->count, selfc_tensor_print(&tensor, shape));
    return false;
}

bool source_open_npy(SelfcSource *source, const SelfcSourceOptions *options) {
    const char *path = options->path;
    char *values = file_is_folder(path) ? source_find_in_folder(path, npy_is_train_name) : strdup(path);
    if (!values) return selfc_fail("%s: no file here is called train.npy or x_train.npy", path), false;
    if (source->split == SELFC_TEST) {
        char *test = npy_existing(source_replace_in_name(values, "train", "test"));
        free(values);
        values = test;
    }
    source->load = npy_load;
    if (!values) return true;
    SelfcTensor tensor, sample;
    if (!npy_read_shape(values, &tensor)) return free(values), false;
    if (tensor.rank == 0 || selfc_tensor_elements(&tensor, 0) == 0)
        return source_fail_empty(values), free(values), false;
    source->count = tensor.dim[0];
    sample = (SelfcTensor){.dtype = tensor.dtype, .rank = tensor.rank - 1};
    memcpy(sample.dim, tensor.dim + 1, (size_t)sample.rank * sizeof *sample.dim);
    bool is_picture = sample.dtype == SELFC_u8 && (sample.rank == 2 || sample.rank == 3);
    source_add_field(source, is_picture ? "image" : "value", sample, values);
    return npy_open_labels(source, npy_labels_of(values));
}
