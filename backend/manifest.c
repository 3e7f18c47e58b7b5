/* The manifest: what a module is, before there is code for it.
 *
 * States of the same name in several programs are one state; they stand in the order in which the programs
 * name them, each at a multiple of 64 bytes. Equal kernels of all programs are one kernel. Arguments
 * of calls become (base, offset) pairs, so that running a call needs no look-up. The JIT adds the functions'
 * addresses; a file carries the same structure as constant data (constants.c). */
#include "backend/code.h"
#include "ir/origin.h"

#include <string.h>

enum { STATE_ALIGN = 64 };

typedef struct {
    const CompileInput *input;
    Arena *arena;
    Manifest *manifest;
    SelfcState *states;
    Diag *diag;
} Maker;

_Static_assert((int)SELFC_f32 == (int)DTYPE_f32 && (int)SELFC_bf16 == (int)DTYPE_bf16 &&
                   (int)SELFC_f16 == (int)DTYPE_f16 && (int)SELFC_i8 == (int)DTYPE_i8 &&
                   (int)SELFC_u8 == (int)DTYPE_u8 && (int)SELFC_i32 == (int)DTYPE_i32 &&
                   (int)SELFC_i64 == (int)DTYPE_i64 && (int)SELFC_bool == (int)DTYPE_bool,
               "abi.h numbers element types as dtypes.def does");
_Static_assert((int)SELFC_INIT_zero == (int)INIT_zero && (int)SELFC_INIT_constant == (int)INIT_constant &&
                   (int)SELFC_INIT_uniform == (int)INIT_uniform && (int)SELFC_INIT_normal == (int)INIT_normal,
               "abi.h numbers initial values as graph.h does");
_Static_assert((int)SELFC_MAX_RANK == (int)MAX_RANK, "one largest rank");

static SelfcTensor manifest_tensor(const char *name, Type type, Arena *arena) {
    SelfcTensor tensor = {.name = arena_copy(arena, name), .dtype = (int32_t)type.dtype, .rank = (int32_t)type.rank};
    for (uint32_t i = 0; i < type.rank; i++) tensor.dim[i] = type.dim[i];
    return tensor;
}

static SelfcState *manifest_find_state(Maker *maker, const char *name) {
    for (uint32_t i = 0; i < maker->manifest->module.state_count; i++)
        if (strcmp(maker->states[i].tensor.name, name) == 0) return &maker->states[i];
    return NULL;
}

static void manifest_add_state(Maker *maker, const GraphInput *input) {
    SelfcModule *module = &maker->manifest->module;
    maker->states[module->state_count++] = (SelfcState){
        .tensor = manifest_tensor(input->name, input->type, maker->arena),
        .offset = module->state_bytes,
        .is_parameter = input->kind == INPUT_parameter,
        .init = (int32_t)input->init.kind,
        .init_a = input->init.a,
        .init_b = input->init.b,
    };
    int64_t bytes = (int64_t)type_bytes_at(input->type, 1);
    module->state_bytes += (bytes + STATE_ALIGN - 1) / STATE_ALIGN * STATE_ALIGN;
}

/* A state that an earlier program has named, too, must be the same there. */
static bool manifest_same_state(Maker *maker, const SelfcState *state, const GraphInput *input,
                                const Program *program) {
    SelfcTensor tensor = manifest_tensor(input->name, input->type, maker->arena);
    bool same = tensor.dtype == state->tensor.dtype && tensor.rank == state->tensor.rank &&
                memcmp(tensor.dim, state->tensor.dim, sizeof tensor.dim) == 0 &&
                state->init == (int32_t)input->init.kind && state->init_a == input->init.a &&
                state->init_b == input->init.b;
    if (!same)
        diag_error(maker->diag, (Place){0},
                   "%s: '%s' has another type or another first value than in the programs before", program->name,
                   input->name);
    return same;
}

/* A program that changes states may keep some for itself; what others read belongs to the trained model, unless they
 * look at the training itself: "$health", "$views". */
static bool manifest_states(Maker *maker) {
    uint32_t most = 0;
    for (uint32_t i = 0; i < maker->input->program_count; i++) most += maker->input->programs[i]->input_count;
    maker->states = arena_array(maker->arena, SelfcState, most);
    maker->manifest->module.states = maker->states;
    bool good = true;
    for (uint32_t i = 0; i < maker->input->program_count; i++) {
        const Program *program = maker->input->programs[i];
        for (uint32_t k = 0; k < program->input_count; k++) {
            const GraphInput *input = &program->inputs[k];
            if (input->kind == INPUT_data) continue;
            SelfcState *known = manifest_find_state(maker, input->name);
            bool is_weight =
                input->kind == INPUT_parameter || (!program_changes_states(program) && program->name[0] != '$');
            if (!known)
                manifest_add_state(maker, input);
            else if (!manifest_same_state(maker, known, input, program))
                good = false;
            else if (input->kind == INPUT_parameter)
                known->is_parameter = 1;
            if (is_weight) manifest_find_state(maker, input->name)->is_weight = 1;
        }
    }
    return good;
}

/* Position in `io` of the data input or plain output that is `index` in the program's list. */
static uint32_t manifest_io_position(const Program *program, bool output, uint32_t index) {
    uint32_t position = 0;
    for (uint32_t i = 0; i < program->input_count; i++) {
        if (!output && i == index) return position;
        position += program->inputs[i].kind == INPUT_data;
    }
    for (uint32_t i = 0; i < index; i++) position += program->outputs[i].updates < 0;
    return position;
}

static SelfcArg manifest_place(Maker *maker, const Program *program, const Buffer *buffer) {
    switch (buffer->kind) {
    case BUFFER_input: return (SelfcArg){.base = 2 + manifest_io_position(program, false, buffer->index)};
    case BUFFER_output: return (SelfcArg){.base = 2 + manifest_io_position(program, true, buffer->index)};
    case BUFFER_prepared: return (SelfcArg){.base = SELFC_PREPARED, .offset = {buffer->offset.fixed, 0}};
    case BUFFER_temporary: return (SelfcArg){.base = 1, .offset = {buffer->offset.fixed, buffer->offset.per_n}};
    case BUFFER_state: {
        const SelfcState *state = manifest_find_state(maker, program->inputs[buffer->index].name);
        return (SelfcArg){.base = 0, .offset = {state->offset, 0}};
    }
    }
    BUG("a buffer of kind %d", (int)buffer->kind);
}

static uint32_t manifest_kernel(Manifest *manifest, const Kernel *kernel) {
    for (uint32_t i = 0; i < manifest->kernel_count; i++)
        if (kernel_equal(manifest->kernels[i], kernel)) return i;
    manifest->kernels[manifest->kernel_count] = kernel;
    return manifest->kernel_count++;
}

static SelfcArg manifest_arg(const Program *program, uint32_t buffer, SelfcArg place, bool is_written) {
    place.elements = type_elements(program->buffers[buffer].type);
    place.dtype = (int32_t)program->buffers[buffer].type.dtype;
    place.is_written = is_written;
    return place;
}

/* places: where each buffer of the program is. */
static SelfcCall manifest_call(Maker *maker, const Program *program, const Call *call, const SelfcArg *places) {
    const Kernel *kernel = &program->kernels[call->kernel];
    uint32_t arg_count = kernel_arg_count(kernel);
    SelfcArg *args = arena_array(maker->arena, SelfcArg, arg_count);
    for (uint32_t i = 0; i < arg_count; i++)
        args[i] = manifest_arg(program, call->args[i], places[call->args[i]], i >= kernel->body->input_count);
    SelfcCall made = {
        .name = arena_copy(maker->arena, kernel->name),
        .origin = arena_copy(maker->arena, call->origin),
        .args = args,
        .arg_count = arg_count,
        .phase = call->phase,
        .grid_rank = kernel->grid.rank,
        .flop = kernel->flop,
        .bytes = kernel->bytes,
    };
    for (uint32_t i = 0; i < kernel->grid.rank; i++)
        made.grid[i] = (SelfcGridAxis){kernel->grid.axis[i].extent, kernel->grid.axis[i].block};
    return made;
}

static void manifest_calls(Maker *maker, uint32_t index, SelfcProgram *made) {
    const Program *program = maker->input->programs[index];
    SelfcCall *calls = arena_array(maker->arena, SelfcCall, program->call_count);
    uint32_t *kernel_of = arena_array(maker->arena, uint32_t, program->call_count);
    SelfcArg *places = arena_array(maker->arena, SelfcArg, program->buffer_count);
    for (uint32_t i = 0; i < program->buffer_count; i++)
        places[i] = manifest_place(maker, program, &program->buffers[i]);
    uint32_t *position =
        arena_array(maker->arena, uint32_t, program->kernel_count); /* one more; 0: not yet looked up */
    for (uint32_t i = 0; i < program->call_count; i++) {
        uint32_t kernel = program->calls[i].kernel;
        if (!position[kernel]) position[kernel] = 1 + manifest_kernel(maker->manifest, &program->kernels[kernel]);
        kernel_of[i] = position[kernel] - 1;
        calls[i] = manifest_call(maker, program, &program->calls[i], places);
    }
    uint32_t prepare = program->prepare_calls, first_phase = program_first_phase(program);
    maker->manifest->prepare_kernel_of[index] = kernel_of;
    maker->manifest->kernel_of[index] = kernel_of + prepare;
    for (uint32_t i = prepare; i < program->call_count; i++) calls[i].phase -= first_phase;
    made->calls = calls + prepare;
    made->call_count = program->call_count - prepare;
    made->phase_count = program->phase_count - first_phase;
    made->prepared_bytes = program->prepared_size;
    if (!prepare) return;
    SelfcProgram *first = arena_array(maker->arena, SelfcProgram, 1);
    *first = (SelfcProgram){.name = made->name,
                            .calls = calls,
                            .call_count = prepare,
                            .phase_count = first_phase,
                            .arena_bytes = made->arena_bytes};
    made->prepare = first;
}

static void manifest_io(Maker *maker, const Program *program, SelfcProgram *made) {
    SelfcTensor *io = arena_array(maker->arena, SelfcTensor, program->input_count + program->output_count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < program->input_count; i++)
        if (program->inputs[i].kind == INPUT_data)
            io[count++] = manifest_tensor(program->inputs[i].name, program->inputs[i].type, maker->arena);
    made->input_count = count;
    for (uint32_t i = 0; i < program->output_count; i++)
        if (program->outputs[i].updates < 0)
            io[count++] = manifest_tensor(program->outputs[i].name, program->buffers[program->outputs[i].node].type,
                                          maker->arena);
    made->output_count = count - made->input_count;
    made->io = io;
}

static SelfcProgram manifest_program(Maker *maker, uint32_t index) {
    const Program *program = maker->input->programs[index];
    SelfcProgram made = {
        .name = arena_copy(maker->arena, program->name),
        .arena_bytes = {program->arena_size.fixed, program->arena_size.per_n},
        .batch = maker->input->batches ? maker->input->batches[index] : 0,
        .changes_states = program_changes_states(program),
    };
    manifest_io(maker, program, &made);
    manifest_calls(maker, index, &made);
    return made;
}

static const char *const *manifest_names(const char *const *from, uint32_t count, Arena *arena) {
    const char **names = arena_array(arena, const char *, count);
    for (uint32_t i = 0; i < count; i++) names[i] = arena_copy(arena, from[i]);
    return names;
}

/* The caller's texts need not live as long as the module. */
static SelfcTraining manifest_training(const SelfcTraining *from, Arena *arena) {
    SelfcTraining training = *from;
    SelfcDataSpec *data = arena_array(arena, SelfcDataSpec, from->data_count);
    for (uint32_t i = 0; i < from->data_count; i++)
        data[i] = (SelfcDataSpec){arena_copy(arena, from->data[i].input),
                                  arena_copy(arena, from->data[i].source),
                                  arena_copy(arena, from->data[i].path),
                                  arena_copy(arena, from->data[i].field),
                                  from->data[i].classes,
                                  from->data[i].height,
                                  from->data[i].width,
                                  from->data[i].channels,
                                  from->data[i].scale,
                                  from->data[i].length,
                                  from->data[i].stride,
                                  arena_copy(arena, from->data[i].unit),
                                  from->data[i].has_labels};
    training.data = data;
    training.reports = manifest_names(from->reports, from->report_count, arena);
    training.knn.function = from->knn.function ? arena_copy(arena, from->knn.function) : NULL;
    training.tokenizer = arena_copy(arena, from->tokenizer);
    training.labels = arena_copy(arena, from->labels);
    training.problem_type = arena_copy(arena, from->problem_type);
    training.measures = manifest_names(from->measures, from->measure_count, arena);
    training.begin.path = arena_copy(arena, from->begin.path);
    training.begin.names = manifest_names(from->begin.names, from->begin.name_count, arena);
    training.begin.fresh = manifest_names(from->begin.fresh, from->begin.fresh_count, arena);
    return training;
}

static void manifest_scratch(Manifest *manifest, const Target *target, Arena *arena) {
    int64_t most = 0;
    manifest->scratch = arena_array(arena, int64_t, manifest->kernel_count);
    for (uint32_t i = 0; i < manifest->kernel_count; i++) {
        manifest->scratch[i] = kernel_scratch_bytes(manifest->kernels[i], target);
        if (manifest->scratch[i] > most) most = manifest->scratch[i];
    }
    manifest->module.scratch_bytes = (most + STATE_ALIGN - 1) / STATE_ALIGN * STATE_ALIGN;
}

bool manifest_make(const CompileInput *input, const Target *target, Arena *arena, Manifest *manifest, Diag *diag) {
    Maker maker = {.input = input, .arena = arena, .manifest = manifest, .diag = diag};
    *manifest = (Manifest){.module = {
                               .abi_version = SELFC_ABI_VERSION,
                               .name = arena_copy(arena, input->name),
                               .description = arena_copy(arena, input->description),
                               .training = manifest_training(&input->training, arena),
                           }};
    if (!manifest_states(&maker)) return false;

    uint32_t most_kernels = 0;
    for (uint32_t i = 0; i < input->program_count; i++) most_kernels += input->programs[i]->kernel_count;
    manifest->kernels = arena_array(arena, const Kernel *, most_kernels);
    manifest->kernel_of = arena_array(arena, uint32_t *, input->program_count);
    manifest->prepare_kernel_of = arena_array(arena, uint32_t *, input->program_count);
    SelfcProgram *programs = arena_array(arena, SelfcProgram, input->program_count);
    for (uint32_t i = 0; i < input->program_count; i++) programs[i] = manifest_program(&maker, i);
    manifest->module.programs = programs;
    manifest->module.program_count = input->program_count;
    manifest_scratch(manifest, target, arena);
    return true;
}

const SelfcModule *manifest_module(const CompileInput *input, const Target *target, Arena *arena, Diag *diag) {
    Manifest *manifest = arena_array(arena, Manifest, 1);
    return manifest_make(input, target, arena, manifest, diag) ? &manifest->module : NULL;
}

const char *manifest_title(const Manifest *manifest, uint32_t kernel, Arena *arena) {
    const char *first = NULL;
    uint32_t others = 0;
    for (uint32_t p = 0; p < manifest->module.program_count; p++) {
        const SelfcProgram *program = &manifest->module.programs[p], *prepare = program->prepare;
        uint32_t count = program->call_count + (prepare ? prepare->call_count : 0);
        const SelfcCall *calls = prepare ? prepare->calls : program->calls; /* the others stand behind them */
        for (uint32_t c = 0; c < count; c++) {
            if (manifest->prepare_kernel_of[p][c] != kernel) continue;
            others += first && calls[c].origin && strcmp(first, calls[c].origin) != 0;
            if (!first) first = calls[c].origin;
        }
    }
    return origin_title(arena, first, others, manifest->kernels[kernel]->name);
}
