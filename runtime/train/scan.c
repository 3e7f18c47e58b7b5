/* Values in memory that are not finite: whether there are any, asked often and so quickly; which and how many, asked
 * once. In each of the float types a value is infinite or NaN where all bits of its exponent are set. */
#include "runtime/train/trainer.h"

#include <math.h>

/* Half words and words: no early end, so that the compiler can use its vectors. */
static bool scan_halves(const uint16_t *values, int64_t count, uint16_t exponent) {
    uint16_t bad = 0;
    for (int64_t i = 0; i < count; i++) bad |= (values[i] & exponent) == exponent;
    return !bad;
}

static bool scan_words(const uint32_t *values, int64_t count) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i++) bad |= (values[i] & 0x7F800000u) == 0x7F800000u;
    return !bad;
}

bool scan_is_finite(const void *values, int32_t dtype, int64_t elements) {
    switch ((SelfcDType)dtype) {
    case SELFC_f32: return scan_words(values, elements);
    case SELFC_bf16: return scan_halves(values, elements, 0x7F80);
    case SELFC_f16: return scan_halves(values, elements, 0x7C00);
    case SELFC_i8:
    case SELFC_u8:
    case SELFC_i32:
    case SELFC_i64:
    case SELFC_bool: return true;
    }
    return true;
}

Scan scan_values(const void *values, int32_t dtype, int64_t elements) {
    Scan scan = {.first = -1};
    if (dtype != SELFC_f32 && dtype != SELFC_bf16 && dtype != SELFC_f16) return scan;
    for (int64_t i = 0; i < elements; i++) {
        double value = selfc_value(values, dtype, i);
        if (isfinite(value)) {
            scan.largest = fmax(scan.largest, fabs(value));
            continue;
        }
        if (!scan.count++) scan.first = i, scan.value = value;
    }
    return scan;
}
