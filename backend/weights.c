/* Weights for a built object: only those states that its functions read, packed one behind the other. */
#include "backend/code.h"

#include <string.h>

enum { WEIGHT_ALIGN = 64 };

static int64_t weights_size(const SelfcTensor *tensor) {
    int64_t bytes = dtype_info[tensor->dtype].bytes;
    for (int32_t i = 0; i < tensor->rank; i++) bytes *= tensor->dim[i];
    return bytes;
}

/* Marks with 0 each state that some call reads. */
static void weights_mark(const SelfcModule *module, const SelfcProgram *program, int64_t *offset) {
    for (uint32_t i = 0; i < program->call_count; i++)
        for (uint32_t k = 0; k < program->calls[i].arg_count; k++) {
            const SelfcArg *arg = &program->calls[i].args[k];
            for (uint32_t s = 0; arg->base == 0 && s < module->state_count; s++)
                if (module->states[s].offset == arg->offset.fixed) offset[s] = 0;
        }
}

Weights weights_make(const SelfcModule *module, bool embedded, Arena *arena) {
    Weights weights = {.offset = arena_array(arena, int64_t, module->state_count), .embedded = embedded};
    for (uint32_t i = 0; i < module->state_count; i++) weights.offset[i] = -1;
    for (uint32_t i = 0; i < module->program_count; i++) weights_mark(module, &module->programs[i], weights.offset);
    for (uint32_t i = 0; i < module->state_count; i++) {
        if (weights.offset[i] < 0) continue;
        weights.offset[i] = weights.bytes;
        weights.bytes += (weights_size(&module->states[i].tensor) + WEIGHT_ALIGN - 1) / WEIGHT_ALIGN * WEIGHT_ALIGN;
    }
    return weights;
}

static const SelfcState *weights_find(const SelfcModule *layout, const SelfcTensor *tensor) {
    for (uint32_t i = 0; i < layout->state_count; i++) {
        const SelfcTensor *there = &layout->states[i].tensor;
        if (strcmp(there->name, tensor->name) == 0 && there->dtype == tensor->dtype && there->rank == tensor->rank &&
            memcmp(there->dim, tensor->dim, sizeof there->dim) == 0)
            return &layout->states[i];
    }
    return NULL;
}

char *weights_pack(const Weights *weights, const SelfcModule *module, const void *segment, const SelfcModule *layout,
                   Arena *arena, Diag *diag) {
    char *packed = arena_alloc(arena, (size_t)weights->bytes);
    for (uint32_t i = 0; i < module->state_count; i++) {
        if (weights->offset[i] < 0) continue;
        const SelfcTensor *tensor = &module->states[i].tensor;
        const SelfcState *from = weights_find(layout, tensor);
        if (!from) {
            diag_error(diag, (Place){0}, "the weights hold no '%s' of the type that the functions need", tensor->name);
            return NULL;
        }
        memcpy(packed + weights->offset[i], (const char *)segment + from->offset, (size_t)weights_size(tensor));
    }
    return packed;
}
