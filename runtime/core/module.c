/* What a manifest says: lookups by name, sizes of types and tensors, and what their bytes mean. */
#include "runtime/core/core.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} module_dtype[] = {
    [SELFC_f32] = {"f32", 4}, [SELFC_bf16] = {"bf16", 2}, [SELFC_f16] = {"f16", 2}, [SELFC_i8] = {"i8", 1},
    [SELFC_u8] = {"u8", 1},   [SELFC_i32] = {"i32", 4},   [SELFC_i64] = {"i64", 8}, [SELFC_bool] = {"bool", 1},
};

size_t selfc_dtype_bytes(int32_t dtype) { return module_dtype[dtype].bytes; }
const char *selfc_dtype_name(int32_t dtype) { return module_dtype[dtype].name; }

static double module_half(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                  : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                 : ldexp(fraction, -24);
    return bits >> 15 ? -size : size;
}

static double module_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double selfc_value(const void *values, int32_t dtype, int64_t index) {
#define LOAD(Type, value) \
    Type value;           \
    memcpy(&value, (const char *)values + (size_t)index * sizeof value, sizeof value)
    LOAD(uint8_t, byte);
    if (dtype == SELFC_u8 || dtype == SELFC_bool) return byte;
    if (dtype == SELFC_i8) return (int8_t)byte;
    LOAD(uint16_t, half);
    if (dtype == SELFC_f16) return module_half(half);
    if (dtype == SELFC_bf16) return module_float((uint32_t)half << 16);
    LOAD(uint32_t, word);
    if (dtype == SELFC_f32) return module_float(word);
    if (dtype == SELFC_i32) return (int32_t)word;
    LOAD(int64_t, whole);
    return (double)whole;
#undef LOAD
}

int64_t selfc_tensor_elements(const SelfcTensor *tensor, int64_t n) {
    int64_t elements = 1;
    for (int32_t i = 0; i < tensor->rank; i++) elements *= tensor->dim[i] < 0 ? -tensor->dim[i] * n : tensor->dim[i];
    return elements;
}

size_t selfc_tensor_bytes(const SelfcTensor *tensor, int64_t n) {
    return (size_t)selfc_tensor_elements(tensor, n) * selfc_dtype_bytes(tensor->dtype);
}

char *selfc_tensor_print(const SelfcTensor *tensor, char buffer[128]) {
    int used = snprintf(buffer, 128, "%s[", selfc_dtype_name(tensor->dtype));
    for (int32_t i = 0; i < tensor->rank && used < 120; i++) {
        const char *comma = i ? "," : "";
        int64_t dim = tensor->dim[i];
        if (dim == -1)
            used += snprintf(buffer + used, (size_t)(128 - used), "%sn", comma);
        else if (dim < 0)
            used += snprintf(buffer + used, (size_t)(128 - used), "%s%lldn", comma, -(long long)dim);
        else
            used += snprintf(buffer + used, (size_t)(128 - used), "%s%lld", comma, (long long)dim);
    }
    if (used < 127) snprintf(buffer + used, (size_t)(128 - used), "]");
    return buffer;
}

const SelfcProgram *selfc_find_program(const SelfcModule *module, const char *name) {
    for (uint32_t i = 0; i < module->program_count; i++)
        if (!strcmp(module->programs[i].name, name)) return &module->programs[i];
    return NULL;
}

const SelfcState *selfc_find_state(const SelfcModule *module, const char *name) {
    for (uint32_t i = 0; i < module->state_count; i++)
        if (!strcmp(module->states[i].tensor.name, name)) return &module->states[i];
    return NULL;
}
