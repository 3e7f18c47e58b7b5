/* Weights for a built object: only those states that its functions read, packed one behind the other, then what they
 * find prepared. */
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

Weights weights_make(const Manifest *manifest, const CompileInput *input, bool embedded, Arena *arena) {
    const SelfcModule *module = &manifest->module;
    Weights weights = {.offset = arena_array(arena, int64_t, module->state_count), .embedded = embedded};
    for (uint32_t i = 0; i < module->state_count; i++) weights.offset[i] = -1;
    for (uint32_t i = 0; i < module->program_count; i++) weights_mark(module, &module->programs[i], weights.offset);
    for (uint32_t i = 0; i < module->state_count; i++) {
        if (weights.offset[i] < 0) continue;
        weights.offset[i] = weights.bytes;
        weights.bytes += (weights_size(&module->states[i].tensor) + WEIGHT_ALIGN - 1) / WEIGHT_ALIGN * WEIGHT_ALIGN;
    }
    weights.prepared = arena_array(arena, Prepared, module->program_count + 1);
    weights.bytes = prepared_place(manifest, input, weights.bytes, weights.prepared, arena);
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

bool weights_copy(const SelfcState *state, void *to, const void *segment, const SelfcModule *layout, Diag *diag) {
    const SelfcState *from = weights_find(layout, &state->tensor);
    if (from)
        memcpy(to, (const char *)segment + from->offset, (size_t)weights_size(&state->tensor));
    else
        diag_error(diag, (Place){0}, "the weights hold no '%s' of the type that the functions need",
                   state->tensor.name);
    return from != NULL;
}

char *weights_pack(const Weights *weights, const SelfcModule *module, const void *segment, const SelfcModule *layout,
                   Arena *arena, Diag *diag) {
    char *packed = arena_alloc(arena, (size_t)weights->bytes);
    for (uint32_t i = 0; i < module->state_count; i++) {
        int64_t to = weights->offset[i];
        if (to >= 0 && !weights_copy(&module->states[i], packed + to, segment, layout, diag)) return NULL;
    }
    for (uint32_t p = 0; p < module->program_count; p++)
        for (uint32_t i = 0; i < weights->prepared[p].count; i++) {
            const PreparedPart *part = &weights->prepared[p].parts[i];
            if (part->is_shared) continue;
            memcpy(packed + part->to, (const char *)weights->prepared[p].values + part->from, (size_t)part->bytes);
        }
    return packed;
}
