/* libFuzzer: any bytes as a safetensors file. What is accepted must be as it says: names that are found again, data
 * within the bytes, as many bytes as the shape takes. */
#include "runtime/data/data.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_check(const SelfcTensors *tensors) {
    const char *start = tensors->bytes;
    size_t total = 0;
    volatile unsigned char touched = 0;
    for (uint32_t i = 0; i < tensors->count; i++) {
        const SelfcEntry *entry = &tensors->entries[i];
        size_t bytes = selfc_tensor_bytes(&entry->tensor, 0);
        if (selfc_safetensors_find(tensors, entry->name) != entry) abort();
        if ((const char *)entry->data < start || (const char *)entry->data + bytes > start + tensors->size) abort();
        for (size_t b = 0; b < bytes; b++) touched ^= ((const unsigned char *)entry->data)[b];
        total += bytes;
    }
    if (total > tensors->size) abort();
    free(selfc_safetensors_metadata(tensors, "step"));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    SelfcTensors tensors;
    if (!selfc_safetensors_parse(bytes, size, "fuzz", &tensors)) {
        fuzz_check(&tensors);
        selfc_safetensors_free(&tensors);
    } else if (!*selfc_failure()) {
        abort();
    }
    return 0;
}
