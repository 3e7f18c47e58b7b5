/* The manifest as constant data, for a program that carries its own: the structures of runtime/abi.h, field by field.
 *
 * LLVM lays out a struct of these types as C does on a 64-bit machine; that it does is checked for each struct
 * against offsetof, so a change of abi.h that is forgotten here stops the first build, not a user's run. */
#include "backend/code.h"

#include <llvm-c/Target.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMTargetDataRef layout;
    LLVMTypeRef i32, i64, f64, pointer;
    LLVMTypeRef tensor, extent, state, arg, axis, call, program, spec, judge, begin, training;
    Arena *arena;
} Constants;

#define STRUCT(c, ...)                                                  \
    LLVMStructTypeInContext((c)->context, (LLVMTypeRef[]){__VA_ARGS__}, \
                            sizeof((LLVMTypeRef[]){__VA_ARGS__}) / sizeof(LLVMTypeRef), false)
#define VALUE(c, ...)                                                     \
    LLVMConstStructInContext((c)->context, (LLVMValueRef[]){__VA_ARGS__}, \
                             sizeof((LLVMValueRef[]){__VA_ARGS__}) / sizeof(LLVMValueRef), false)

static void constants_check(const Constants *c, LLVMTypeRef type, size_t size, const size_t *offsets, unsigned count) {
    CHECK(LLVMCountStructElementTypes(type) == count && LLVMABISizeOfType(c->layout, type) == size);
    for (unsigned i = 0; i < count; i++) CHECK(LLVMOffsetOfElement(c->layout, type, i) == offsets[i]);
}

#define SAME_LAYOUT(c, type, Struct, ...)                                       \
    constants_check((c), (type), sizeof(Struct), (const size_t[]){__VA_ARGS__}, \
                    sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))
#define AT(Struct, field) offsetof(Struct, field)

static void constants_small_types(Constants *c) {
    LLVMTypeRef dims = LLVMArrayType2(c->i64, SELFC_MAX_RANK);
    c->extent = STRUCT(c, c->i64, c->i64);
    SAME_LAYOUT(c, c->extent, SelfcExtent, AT(SelfcExtent, fixed), AT(SelfcExtent, per_n));
    c->tensor = STRUCT(c, c->pointer, c->i32, c->i32, dims);
    SAME_LAYOUT(c, c->tensor, SelfcTensor, AT(SelfcTensor, name), AT(SelfcTensor, dtype), AT(SelfcTensor, rank),
                AT(SelfcTensor, dim));
    c->state = STRUCT(c, c->tensor, c->i64, c->i32, c->i32, c->i32, c->f64, c->f64);
    SAME_LAYOUT(c, c->state, SelfcState, AT(SelfcState, tensor), AT(SelfcState, offset), AT(SelfcState, is_parameter),
                AT(SelfcState, is_weight), AT(SelfcState, init), AT(SelfcState, init_a), AT(SelfcState, init_b));
    c->arg = STRUCT(c, c->i32, c->extent, c->i64, c->i32, c->i32);
    SAME_LAYOUT(c, c->arg, SelfcArg, AT(SelfcArg, base), AT(SelfcArg, offset), AT(SelfcArg, elements),
                AT(SelfcArg, dtype), AT(SelfcArg, is_written));
    c->axis = STRUCT(c, c->i64, c->i64);
    SAME_LAYOUT(c, c->axis, SelfcGridAxis, AT(SelfcGridAxis, extent), AT(SelfcGridAxis, block));
    c->spec = STRUCT(c, c->pointer, c->pointer, c->pointer, c->pointer, c->i64, c->i64, c->i64, c->i64, c->f64, c->i64,
                     c->i64, c->pointer, c->i32);
    SAME_LAYOUT(c, c->spec, SelfcDataSpec, AT(SelfcDataSpec, input), AT(SelfcDataSpec, source), AT(SelfcDataSpec, path),
                AT(SelfcDataSpec, field), AT(SelfcDataSpec, classes), AT(SelfcDataSpec, height),
                AT(SelfcDataSpec, width), AT(SelfcDataSpec, channels), AT(SelfcDataSpec, scale),
                AT(SelfcDataSpec, length), AT(SelfcDataSpec, stride), AT(SelfcDataSpec, unit),
                AT(SelfcDataSpec, has_labels));
}

static void constants_large_types(Constants *c) {
    c->call = STRUCT(c, c->pointer, c->pointer, c->pointer, c->pointer, c->i32, c->i32, c->i32,
                     LLVMArrayType2(c->axis, SELFC_MAX_RANK), c->f64, c->f64);
    SAME_LAYOUT(c, c->call, SelfcCall, AT(SelfcCall, run), AT(SelfcCall, name), AT(SelfcCall, origin),
                AT(SelfcCall, args), AT(SelfcCall, arg_count), AT(SelfcCall, phase), AT(SelfcCall, grid_rank),
                AT(SelfcCall, grid), AT(SelfcCall, flop), AT(SelfcCall, bytes));
    c->program = STRUCT(c, c->pointer, c->pointer, c->i32, c->i32, c->pointer, c->i32, c->i32, c->extent, c->i64,
                        c->pointer, c->i64, c->i32);
    SAME_LAYOUT(c, c->program, SelfcProgram, AT(SelfcProgram, name), AT(SelfcProgram, io),
                AT(SelfcProgram, input_count), AT(SelfcProgram, output_count), AT(SelfcProgram, calls),
                AT(SelfcProgram, call_count), AT(SelfcProgram, phase_count), AT(SelfcProgram, arena_bytes),
                AT(SelfcProgram, batch), AT(SelfcProgram, prepare), AT(SelfcProgram, prepared_bytes),
                AT(SelfcProgram, changes_states));
    c->judge = STRUCT(c, c->i64, c->i64, c->i64, c->f64, c->pointer);
    SAME_LAYOUT(c, c->judge, SelfcJudge, AT(SelfcJudge, every), AT(SelfcJudge, k), AT(SelfcJudge, samples),
                AT(SelfcJudge, temperature), AT(SelfcJudge, function));
    c->begin = STRUCT(c, c->pointer, c->pointer, c->i32, c->pointer, c->i32);
    SAME_LAYOUT(c, c->begin, SelfcBegin, AT(SelfcBegin, path), AT(SelfcBegin, names), AT(SelfcBegin, name_count),
                AT(SelfcBegin, fresh), AT(SelfcBegin, fresh_count));
    c->training = STRUCT(c, c->i32, c->i32, c->i32, c->i32, c->pointer, c->i32, c->i64, c->i64, c->i64, c->pointer,
                         c->i32, c->pointer, c->i32, c->judge, c->pointer, c->pointer, c->pointer, c->begin);
    SAME_LAYOUT(c, c->training, SelfcTraining, AT(SelfcTraining, train), AT(SelfcTraining, evaluate),
                AT(SelfcTraining, health), AT(SelfcTraining, feature_count), AT(SelfcTraining, data),
                AT(SelfcTraining, data_count), AT(SelfcTraining, batch), AT(SelfcTraining, epochs),
                AT(SelfcTraining, seed), AT(SelfcTraining, reports), AT(SelfcTraining, report_count),
                AT(SelfcTraining, measures), AT(SelfcTraining, measure_count), AT(SelfcTraining, knn),
                AT(SelfcTraining, tokenizer), AT(SelfcTraining, labels), AT(SelfcTraining, problem_type),
                AT(SelfcTraining, begin));
}

static LLVMValueRef constants_i32(Constants *c, int64_t value) {
    return LLVMConstInt(c->i32, (unsigned long long)value, true);
}
static LLVMValueRef constants_i64(Constants *c, int64_t value) {
    return LLVMConstInt(c->i64, (unsigned long long)value, true);
}

static LLVMValueRef constants_global(Constants *c, const char *name, LLVMTypeRef type, LLVMValueRef value) {
    LLVMValueRef global = LLVMAddGlobal(c->module, type, name);
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, true);
    LLVMSetLinkage(global, LLVMInternalLinkage);
    return global;
}

static LLVMValueRef constants_text(Constants *c, const char *text) {
    if (!text) return LLVMConstNull(c->pointer);
    LLVMValueRef bytes = LLVMConstStringInContext2(c->context, text, strlen(text), false);
    LLVMValueRef global = constants_global(c, "text", LLVMTypeOf(bytes), bytes);
    LLVMSetUnnamedAddress(global, LLVMGlobalUnnamedAddr);
    return global;
}

static LLVMValueRef constants_array(Constants *c, const char *name, LLVMTypeRef type, LLVMValueRef *values,
                                    uint32_t count) {
    if (!count) return LLVMConstNull(c->pointer);
    return constants_global(c, name, LLVMArrayType2(type, count), LLVMConstArray2(type, values, count));
}

static LLVMValueRef constants_extent(Constants *c, SelfcExtent extent) {
    return VALUE(c, constants_i64(c, extent.fixed), constants_i64(c, extent.per_n));
}

static LLVMValueRef constants_tensor(Constants *c, const SelfcTensor *tensor) {
    LLVMValueRef dims[SELFC_MAX_RANK];
    for (int i = 0; i < SELFC_MAX_RANK; i++) dims[i] = constants_i64(c, tensor->dim[i]);
    return VALUE(c, constants_text(c, tensor->name), constants_i32(c, tensor->dtype), constants_i32(c, tensor->rank),
                 LLVMConstArray2(c->i64, dims, SELFC_MAX_RANK));
}

static LLVMValueRef constants_state(Constants *c, const SelfcState *state) {
    return VALUE(c, constants_tensor(c, &state->tensor), constants_i64(c, state->offset),
                 constants_i32(c, state->is_parameter), constants_i32(c, state->is_weight),
                 constants_i32(c, state->init), LLVMConstReal(c->f64, state->init_a),
                 LLVMConstReal(c->f64, state->init_b));
}

static LLVMValueRef constants_arg(Constants *c, const SelfcArg *arg) {
    return VALUE(c, constants_i32(c, arg->base), constants_extent(c, arg->offset), constants_i64(c, arg->elements),
                 constants_i32(c, arg->dtype), constants_i32(c, arg->is_written));
}

static LLVMValueRef constants_call(Constants *c, const SelfcCall *call, LLVMValueRef function) {
    LLVMValueRef axes[SELFC_MAX_RANK], *args = arena_array(c->arena, LLVMValueRef, call->arg_count);
    for (int i = 0; i < SELFC_MAX_RANK; i++)
        axes[i] = VALUE(c, constants_i64(c, call->grid[i].extent), constants_i64(c, call->grid[i].block));
    for (uint32_t i = 0; i < call->arg_count; i++) args[i] = constants_arg(c, &call->args[i]);
    return VALUE(c, function, constants_text(c, call->name), constants_text(c, call->origin),
                 constants_array(c, "args", c->arg, args, call->arg_count), constants_i32(c, call->arg_count),
                 constants_i32(c, call->phase), constants_i32(c, call->grid_rank),
                 LLVMConstArray2(c->axis, axes, SELFC_MAX_RANK), LLVMConstReal(c->f64, call->flop),
                 LLVMConstReal(c->f64, call->bytes));
}

/* prepare: a pointer to what it has to prepare. */
static LLVMValueRef constants_program(Constants *c, const SelfcProgram *program, LLVMValueRef prepare,
                                      const uint32_t *kernel_of, LLVMValueRef const *functions) {
    uint32_t io_count = program->input_count + program->output_count;
    LLVMValueRef *io = arena_array(c->arena, LLVMValueRef, io_count);
    LLVMValueRef *calls = arena_array(c->arena, LLVMValueRef, program->call_count);
    for (uint32_t i = 0; i < io_count; i++) io[i] = constants_tensor(c, &program->io[i]);
    for (uint32_t i = 0; i < program->call_count; i++)
        calls[i] = constants_call(c, &program->calls[i], functions[kernel_of[i]]);
    return VALUE(c, constants_text(c, program->name), constants_array(c, "io", c->tensor, io, io_count),
                 constants_i32(c, program->input_count), constants_i32(c, program->output_count),
                 constants_array(c, "calls", c->call, calls, program->call_count),
                 constants_i32(c, program->call_count), constants_i32(c, program->phase_count),
                 constants_extent(c, program->arena_bytes), constants_i64(c, program->batch), prepare,
                 constants_i64(c, program->prepared_bytes), constants_i32(c, program->changes_states));
}

static LLVMValueRef constants_whole_program(Constants *c, const Manifest *manifest, uint32_t index,
                                            LLVMValueRef const *functions) {
    const SelfcProgram *program = &manifest->module.programs[index];
    LLVMValueRef nothing = LLVMConstNull(c->pointer), prepare = nothing;
    if (program->prepare)
        prepare = constants_global(
            c, "prepare", c->program,
            constants_program(c, program->prepare, nothing, manifest->prepare_kernel_of[index], functions));
    return constants_program(c, program, prepare, manifest->kernel_of[index], functions);
}

static LLVMValueRef constants_names(Constants *c, const char *what, const char *const *names, uint32_t count) {
    LLVMValueRef *texts = arena_array(c->arena, LLVMValueRef, count);
    for (uint32_t i = 0; i < count; i++) texts[i] = constants_text(c, names[i]);
    return constants_array(c, what, c->pointer, texts, count);
}

static LLVMValueRef constants_judge(Constants *c, const SelfcJudge *judge) {
    return VALUE(c, constants_i64(c, judge->every), constants_i64(c, judge->k), constants_i64(c, judge->samples),
                 LLVMConstReal(c->f64, judge->temperature), constants_text(c, judge->function));
}

static LLVMValueRef constants_begin(Constants *c, const SelfcBegin *begin) {
    return VALUE(c, constants_text(c, begin->path), constants_names(c, "names", begin->names, begin->name_count),
                 constants_i32(c, begin->name_count), constants_names(c, "fresh", begin->fresh, begin->fresh_count),
                 constants_i32(c, begin->fresh_count));
}

static LLVMValueRef constants_training(Constants *c, const SelfcTraining *training) {
    LLVMValueRef *specs = arena_array(c->arena, LLVMValueRef, training->data_count);
    for (uint32_t i = 0; i < training->data_count; i++)
        specs[i] = VALUE(c, constants_text(c, training->data[i].input), constants_text(c, training->data[i].source),
                         constants_text(c, training->data[i].path), constants_text(c, training->data[i].field),
                         constants_i64(c, training->data[i].classes), constants_i64(c, training->data[i].height),
                         constants_i64(c, training->data[i].width), constants_i64(c, training->data[i].channels),
                         LLVMConstReal(c->f64, training->data[i].scale), constants_i64(c, training->data[i].length),
                         constants_i64(c, training->data[i].stride), constants_text(c, training->data[i].unit),
                         constants_i32(c, training->data[i].has_labels));
    return VALUE(c, constants_i32(c, training->train), constants_i32(c, training->evaluate),
                 constants_i32(c, training->health), constants_i32(c, training->feature_count),
                 constants_array(c, "data", c->spec, specs, training->data_count),
                 constants_i32(c, training->data_count), constants_i64(c, training->batch),
                 constants_i64(c, training->epochs), constants_i64(c, (int64_t)training->seed),
                 constants_names(c, "reports", training->reports, training->report_count),
                 constants_i32(c, training->report_count),
                 constants_names(c, "measures", training->measures, training->measure_count),
                 constants_i32(c, training->measure_count), constants_judge(c, &training->knn),
                 constants_text(c, training->tokenizer), constants_text(c, training->labels),
                 constants_text(c, training->problem_type), constants_begin(c, &training->begin));
}

static LLVMValueRef constants_module(Constants *c, const Manifest *manifest, LLVMValueRef const *functions) {
    const SelfcModule *module = &manifest->module;
    LLVMValueRef *states = arena_array(c->arena, LLVMValueRef, module->state_count);
    LLVMValueRef *programs = arena_array(c->arena, LLVMValueRef, module->program_count);
    for (uint32_t i = 0; i < module->state_count; i++) states[i] = constants_state(c, &module->states[i]);
    for (uint32_t i = 0; i < module->program_count; i++)
        programs[i] = constants_whole_program(c, manifest, i, functions);
    return VALUE(c, constants_i32(c, module->abi_version), constants_text(c, module->name),
                 constants_text(c, module->description),
                 constants_array(c, "states", c->state, states, module->state_count),
                 constants_i32(c, module->state_count), constants_i64(c, module->state_bytes),
                 constants_i64(c, module->scratch_bytes),
                 constants_array(c, "programs", c->program, programs, module->program_count),
                 constants_i32(c, module->program_count), constants_training(c, &module->training));
}

LLVMValueRef constants_emit(const Manifest *manifest, LLVMValueRef const *functions, LLVMModuleRef module) {
    LLVMContextRef context = LLVMGetModuleContext(module);
    Constants c = {
        .context = context,
        .module = module,
        .layout = LLVMGetModuleDataLayout(module),
        .i32 = LLVMInt32TypeInContext(context),
        .i64 = LLVMInt64TypeInContext(context),
        .f64 = LLVMDoubleTypeInContext(context),
        .pointer = LLVMPointerTypeInContext(context, 0),
        .arena = arena_new(),
    };
    constants_small_types(&c);
    constants_large_types(&c);
    LLVMValueRef value = constants_module(&c, manifest, functions);
    SAME_LAYOUT(&c, LLVMTypeOf(value), SelfcModule, AT(SelfcModule, abi_version), AT(SelfcModule, name),
                AT(SelfcModule, description), AT(SelfcModule, states), AT(SelfcModule, state_count),
                AT(SelfcModule, state_bytes), AT(SelfcModule, scratch_bytes), AT(SelfcModule, programs),
                AT(SelfcModule, program_count), AT(SelfcModule, training));
    LLVMValueRef global = constants_global(&c, "selfc_module", LLVMTypeOf(value), value);
    arena_free(c.arena);
    return global;
}
