/* Buffers for a program's inputs and outputs, made once for the largest batch. */
#include "runtime/train/trainer.h"

#include <stdlib.h>
#include <string.h>

bool binding_is_data_input(const SelfcTensor *tensor) { return tensor->name[0] != '$'; }

static bool binding_fail(Binding *binding, int64_t capacity) {
    const char *name = binding->program->name;
    binding_free(binding);
    selfc_fail("no memory for %s on %lld samples at once", name, (long long)capacity);
    return false;
}

bool binding_make(Binding *binding, SelfcSession *session, const SelfcProgram *program, int64_t capacity) {
    uint32_t count = program->input_count + program->output_count;
    *binding = (Binding){.program = program, .capacity = capacity, .io = calloc(count + 1, sizeof *binding->io)};
    if (!binding->io) return binding_fail(binding, capacity);
    for (uint32_t i = 0; i < count; i++) {
        const SelfcTensor *tensor = &program->io[i];
        size_t bytes = (selfc_tensor_bytes(tensor, capacity) + 127) / 64 * 64;
        binding->io[i] = aligned_alloc(64, bytes);
        if (!binding->io[i]) return binding_fail(binding, capacity);
        memset(binding->io[i], 0, bytes);
        if (i < program->input_count && !strcmp(tensor->name, "$key")) binding->key = binding->io[i];
        if (i < program->input_count && !strcmp(tensor->name, "$sample")) binding->sample = binding->io[i];
    }
    if (!selfc_session_reserve(session, program, capacity)) return true;
    binding_free(binding);
    return false;
}

void binding_free(Binding *binding) {
    uint32_t count = binding->io ? binding->program->input_count + binding->program->output_count : 0;
    for (uint32_t i = 0; i < count; i++) free(binding->io[i]);
    free(binding->io);
    *binding = (Binding){0};
}

void binding_set_key(Binding *binding, uint64_t seed, int64_t step) {
    if (!binding->key) return;
    binding->key[0] = (int32_t)(uint32_t)seed;
    binding->key[1] = (int32_t)(uint32_t)(seed >> 32);
    binding->key[2] = (int32_t)(uint32_t)step;
}

int binding_find_output(const SelfcProgram *program, const char *name) {
    for (uint32_t i = 0; i < program->output_count; i++)
        if (!strcmp(program->io[program->input_count + i].name, name)) return (int)(program->input_count + i);
    return -1;
}
