/* What a built file keeps of what its functions prepare: the values stand among the weights, in place of the states
 * that they are made of, and nothing is prepared when a function is called.
 *
 * Functions that prepare the same from the same states share it. The values are computed when the file is built, by the
 * same kernels, compiled for this machine. If code for the target cannot run here, the kernels are compiled for the
 * processor that is here: layouts are the target's, as the kernels' bodies say. Then a contraction's columns are not
 * cut: their blocks would be made of the target's vectors. */
#include "backend/code.h"

#include <stdlib.h>
#include <string.h>

enum { PREPARED_ALIGN = 64 };

typedef struct {
    const Program *program;
    const uint32_t *kernel_of; /* of its prepare calls, in the manifest */
} Source;

/* The call of the prepare part that writes the buffer, and as which output. */
static const Call *prepared_writer(const Program *program, uint32_t buffer, uint32_t *output) {
    for (uint32_t c = 0; c < program->prepare_calls; c++) {
        const Graph *body = program->kernels[program->calls[c].kernel].body;
        for (*output = 0; *output < body->output_count; ++*output)
            if (program->calls[c].args[body->input_count + *output] == buffer) return &program->calls[c];
    }
    BUG("nobody prepares b%u", buffer);
}

static bool prepared_is_same(const Source *a, uint32_t buffer_a, const Source *b, uint32_t buffer_b) {
    const Buffer *x = &a->program->buffers[buffer_a], *y = &b->program->buffers[buffer_b];
    bool is_state = x->kind == BUFFER_state;
    if (is_state != (y->kind == BUFFER_state)) return false;
    if (is_state) return strcmp(a->program->inputs[x->index].name, b->program->inputs[y->index].name) == 0;
    uint32_t output_a, output_b;
    const Call *made_a = prepared_writer(a->program, buffer_a, &output_a),
               *made_b = prepared_writer(b->program, buffer_b, &output_b);
    if (a->kernel_of[made_a - a->program->calls] != b->kernel_of[made_b - b->program->calls] || output_a != output_b)
        return false;
    for (uint32_t i = 0; i < a->program->kernels[made_a->kernel].body->input_count; i++)
        if (!prepared_is_same(a, made_a->args[i], b, made_b->args[i])) return false;
    return true;
}

/* Adds the names of the states that the buffer is made of, each once: ", a, b". */
static const char *prepared_states(const Program *program, uint32_t buffer, const char *names, Arena *arena) {
    uint32_t output;
    if (program->buffers[buffer].kind == BUFFER_state) {
        const char *name = program->inputs[program->buffers[buffer].index].name;
        const char *more = arena_printf(arena, "%s, %s", names, name);
        size_t old = strlen(names), length = strlen(more) - old;
        for (const char *at = names; (at = strstr(at, more + old)); at += length)
            if (!at[length] || at[length] == ',') return names;
        return more;
    }
    const Call *call = prepared_writer(program, buffer, &output);
    for (uint32_t i = 0; i < program->kernels[call->kernel].body->input_count; i++)
        names = prepared_states(program, call->args[i], names, arena);
    return names;
}

static Source prepared_source(const Manifest *manifest, const CompileInput *input, uint32_t program) {
    return (Source){input->programs[program], manifest->prepare_kernel_of[program]};
}

/* The same value in an earlier program, or NULL. */
static const PreparedPart *prepared_find(const Manifest *manifest, const CompileInput *input, const Prepared *prepared,
                                         uint32_t program, uint32_t buffer) {
    Source own = prepared_source(manifest, input, program);
    for (uint32_t p = 0; p < program; p++) {
        Source other = prepared_source(manifest, input, p);
        for (uint32_t i = 0; i < prepared[p].count; i++)
            if (prepared_is_same(&own, buffer, &other, prepared[p].parts[i].buffer)) return &prepared[p].parts[i];
    }
    return NULL;
}

int64_t prepared_place(const Manifest *manifest, const CompileInput *input, int64_t from, Prepared *prepared,
                       Arena *arena) {
    for (uint32_t p = 0; p < input->program_count; p++) {
        const Program *program = input->programs[p];
        prepared[p].parts = arena_array(arena, PreparedPart, program->buffer_count + 1);
        for (uint32_t b = 0; b < program->buffer_count; b++) {
            const Buffer *buffer = &program->buffers[b];
            if (buffer->kind != BUFFER_prepared) continue;
            const PreparedPart *same = prepared_find(manifest, input, prepared, p, b);
            PreparedPart part = {
                .buffer = b, .from = buffer->offset.fixed, .to = same ? same->to : from, .is_shared = same != NULL};
            part.type = buffer->type;
            part.bytes = (int64_t)type_bytes_at(buffer->type, 1);
            const char *states = prepared_states(program, b, "", arena);
            part.states = *states ? states + 2 : "numbers alone";
            if (!same) from += (part.bytes + PREPARED_ALIGN - 1) / PREPARED_ALIGN * PREPARED_ALIGN;
            prepared[p].parts[prepared[p].count++] = part;
        }
    }
    return from;
}

/* ---- their values */

/* The prepare part as a program of its own. Bodies belong to the whole. */
static Program *prepared_program(const Program *whole, bool is_foreign, Arena *arena) {
    Program *part = arena_array(arena, Program, 1);
    *part = *whole;
    part->output_count = 0;
    part->phase_count = program_first_phase(whole);
    part->call_count = whole->prepare_calls;
    part->kernels = arena_array(arena, Kernel, whole->kernel_count + 1);
    for (uint32_t i = 0; i < whole->kernel_count; i++) {
        part->kernels[i] = whole->kernels[i];
        if (!is_foreign) continue;
        part->kernels[i].streams = false;
        if (whole->kernels[i].kind == KERNEL_contract)
            part->kernels[i].grid.axis[whole->kernels[i].grid.rank - 1].block = 0;
    }
    return part;
}

static void *prepared_memory(int64_t bytes) {
    void *memory = aligned_alloc(PREPARED_ALIGN, (size_t)(bytes / PREPARED_ALIGN + 1) * PREPARED_ALIGN);
    if (!memory) die("no memory for %lld bytes of prepared weights", (long long)bytes);
    return memory;
}

/* Where a program works, for one run on this thread. */
typedef struct {
    void *base[2]; /* states, arena */
    void *prepared, *scratch;
} Memory;

static void prepared_run(const SelfcProgram *program, const Memory *memory, Arena *arena) {
    for (uint32_t c = 0; c < program->call_count; c++) {
        const SelfcCall *call = &program->calls[c];
        void **args = arena_array(arena, void *, call->arg_count + 1);
        for (uint32_t i = 0; i < call->arg_count; i++) {
            const SelfcArg *arg = &call->args[i];
            CHECK(arg->base == SELFC_PREPARED || arg->base < 2);
            args[i] =
                (char *)(arg->base == SELFC_PREPARED ? memory->prepared : memory->base[arg->base]) + arg->offset.fixed;
        }
        int64_t pieces = 1;
        for (uint32_t i = 0; i < call->grid_rank; i++)
            if (call->grid[i].block) pieces *= (call->grid[i].extent + call->grid[i].block - 1) / call->grid[i].block;
        call->run(args, 1, 0, pieces, memory->scratch);
    }
}

/* One program's values, from a segment that is laid out as the module says. */
static void prepared_fill(const SelfcModule *module, const SelfcProgram *program, void *states, Prepared *prepared,
                          Arena *arena) {
    Memory memory = {.base = {states, prepared_memory(program->arena_bytes.fixed)},
                     .prepared = prepared_memory(program->prepared_bytes),
                     .scratch = prepared_memory(module->scratch_bytes)};
    if (program->prepare) prepared_run(program->prepare, &memory, arena);
    free(memory.base[1]);
    free(memory.scratch);
    prepared->values = memory.prepared;
}

static void *prepared_take_states(const SelfcModule *module, const void *segment, const SelfcModule *layout,
                                  Diag *diag) {
    char *states = prepared_memory(module->state_bytes);
    for (uint32_t i = 0; i < module->state_count; i++)
        if (!weights_copy(&module->states[i], states + module->states[i].offset, segment, layout, diag))
            return free(states), NULL;
    return states;
}

bool prepared_compute(const CompileInput *input, const Target *target, const void *segment, const SelfcModule *layout,
                      Prepared *prepared, Arena *arena, Diag *diag) {
    bool any = false;
    CompileInput parts = *input;
    parts.training = (SelfcTraining){.train = -1, .evaluate = -1};
    parts.programs = arena_array(arena, Program *, input->program_count + 1);
    for (uint32_t i = 0; i < input->program_count; i++) {
        parts.programs[i] = prepared_program(input->programs[i], !target->is_host, arena);
        any |= parts.programs[i]->call_count > 0;
    }
    if (!any) return true;
    Target here = *target;
    if (!target->is_host && !target_make(NULL, NULL, arena, &here, diag)) return false;
    Jit *jit = jit_compile(&parts, &here, &(CompileOptions){0}, diag);
    if (!jit) return false;
    const SelfcModule *module = jit_module(jit);
    void *states = prepared_take_states(module, segment, layout ? layout : module, diag);
    for (uint32_t i = 0; states && i < input->program_count; i++)
        prepared_fill(module, &module->programs[i], states, &prepared[i], arena);
    free(states);
    jit_free(jit);
    return states != NULL;
}

void prepared_free(Prepared *prepared, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) free(prepared[i].values);
}
