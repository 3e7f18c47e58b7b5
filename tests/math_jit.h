/* Array kernels around the back end's elementary functions, for their tests: a body over vectors of some lanes becomes
 * machine code that walks arrays, for any of the processors that the machine at hand can run. The object bytes are
 * made as for real kernels and then linked into the process. */
#ifndef SELFC_TESTS_MATH_JIT_H
#define SELFC_TESTS_MATH_JIT_H
#include "backend/code.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdlib.h>
#include <string.h>

enum { MATH_JIT_INPUTS = 6 };
typedef LLVMValueRef MathBody(Emitter *e, LLVMValueRef const *inputs, const void *data);
typedef void MathKernel(const void *const *inputs, void *output, int64_t count); /* count: a multiple of lanes */

typedef struct {
    MathBody *body;
    const void *data;
    uint32_t lanes, input_count;
    DType input[MATH_JIT_INPUTS], output;
    uint32_t copies; /* how many vectors a turn of the loop does, for measurements; 0 is 1 */
} MathShape;

typedef struct {
    MathKernel *run;
    LLVMOrcLLJITRef jit;
    LLVMMemoryBufferRef assembly; /* if asked for */
} MathCode;

static inline void math_jit_fail(const char *what, const char *message) {
    fprintf(stderr, "%s: %s\n", what, message ? message : "failed");
    exit(2);
}

static inline void math_jit_check(LLVMErrorRef error, const char *what) {
    if (error) math_jit_fail(what, LLVMGetErrorMessage(error));
}

static inline LLVMTypeRef math_jit_type(LLVMContextRef c, DType dtype, uint32_t lanes, bool in_memory) {
    LLVMTypeRef type = dtype == DTYPE_f32                  ? LLVMFloatTypeInContext(c)
                       : dtype == DTYPE_bool && !in_memory ? LLVMInt1TypeInContext(c)
                                                           : LLVMIntTypeInContext(c, dtype_info[dtype].bytes * 8);
    return lanes == 1 ? type : LLVMVectorType(type, lanes);
}

static inline LLVMValueRef math_jit_address(Emitter *e, LLVMValueRef base, DType dtype, LLVMValueRef at) {
    return LLVMBuildGEP2(e->builder, math_jit_type(e->context, dtype, 1, true), base, &at, 1, "");
}

static inline LLVMValueRef math_jit_load(Emitter *e, const MathShape *shape, uint32_t input, LLVMValueRef at) {
    DType dtype = shape->input[input];
    LLVMTypeRef pointer = LLVMPointerTypeInContext(e->context, 0);
    LLVMValueRef index = LLVMConstInt(LLVMInt64TypeInContext(e->context), input, false);
    LLVMValueRef slot = LLVMBuildGEP2(e->builder, pointer, LLVMGetParam(e->function, 0), &index, 1, "");
    LLVMValueRef base = LLVMBuildLoad2(e->builder, pointer, slot, "");
    LLVMTypeRef type = math_jit_type(e->context, dtype, shape->lanes, true);
    LLVMValueRef value = LLVMBuildLoad2(e->builder, type, math_jit_address(e, base, dtype, at), "");
    LLVMSetAlignment(value, 1);
    return dtype == DTYPE_bool ? LLVMBuildICmp(e->builder, LLVMIntNE, value, LLVMConstNull(type), "") : value;
}

static inline void math_jit_step(Emitter *e, const MathShape *shape, LLVMValueRef at) {
    LLVMValueRef inputs[MATH_JIT_INPUTS];
    for (uint32_t i = 0; i < shape->input_count; i++) inputs[i] = math_jit_load(e, shape, i, at);
    LLVMValueRef y = shape->body(e, inputs, shape->data);
    if (shape->output == DTYPE_bool)
        y = LLVMBuildZExt(e->builder, y, math_jit_type(e->context, DTYPE_bool, shape->lanes, true), "");
    LLVMValueRef store =
        LLVMBuildStore(e->builder, y, math_jit_address(e, LLVMGetParam(e->function, 1), shape->output, at));
    LLVMSetAlignment(store, 1);
}

static inline void math_jit_loop(Emitter *e, const MathShape *shape) {
    LLVMTypeRef i64 = LLVMInt64TypeInContext(e->context);
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(e->context, e->function, "entry");
    LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(e->context, e->function, "loop");
    LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(e->context, e->function, "done");
    LLVMPositionBuilderAtEnd(e->builder, entry);
    LLVMBuildBr(e->builder, loop);
    LLVMPositionBuilderAtEnd(e->builder, loop);
    LLVMValueRef at = LLVMBuildPhi(e->builder, i64, "at");
    LLVMValueRef next = at;
    for (uint32_t i = 0; i < (shape->copies ? shape->copies : 1); i++) {
        math_jit_step(e, shape, next);
        next = LLVMBuildAdd(e->builder, next, LLVMConstInt(i64, shape->lanes, false), "");
    }
    LLVMAddIncoming(at, (LLVMValueRef[]){LLVMConstNull(i64), next},
                    (LLVMBasicBlockRef[]){entry, LLVMGetInsertBlock(e->builder)}, 2);
    LLVMBuildCondBr(e->builder, LLVMBuildICmp(e->builder, LLVMIntSLT, next, LLVMGetParam(e->function, 2), ""), loop,
                    done);
    LLVMPositionBuilderAtEnd(e->builder, done);
    LLVMBuildRetVoid(e->builder);
}

static inline LLVMModuleRef math_jit_module(LLVMContextRef context, const Target *target, const MathShape *shape) {
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("math", context);
    LLVMTypeRef pointer = LLVMPointerTypeInContext(context, 0);
    LLVMTypeRef params[] = {pointer, pointer, LLVMInt64TypeInContext(context)};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), params, 3, false);
    LLVMValueRef function = LLVMAddFunction(module, "kernel", type);
    LLVMAddAttributeAtIndex(function, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateStringAttribute(context, "no-builtins", 11, "", 0));
    Emitter e = {.target = target,
                 .context = context,
                 .module = module,
                 .function = function,
                 .builder = LLVMCreateBuilderInContext(context)};
    math_jit_loop(&e, shape);
    LLVMDisposeBuilder(e.builder);
    return module;
}

static inline LLVMMemoryBufferRef math_jit_emit(LLVMTargetMachineRef machine, LLVMModuleRef module,
                                                LLVMCodeGenFileType type) {
    LLVMMemoryBufferRef buffer;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &message, &buffer)) math_jit_fail("emit", message);
    return buffer;
}

static inline void math_jit_link(MathCode *code, LLVMMemoryBufferRef object) {
    LLVMOrcExecutorAddress address;
    math_jit_check(LLVMOrcCreateLLJIT(&code->jit, NULL), "jit");
    math_jit_check(LLVMOrcLLJITAddObjectFile(code->jit, LLVMOrcLLJITGetMainJITDylib(code->jit), object), "object");
    math_jit_check(LLVMOrcLLJITLookup(code->jit, &address, "kernel"), "lookup"); /* fails if a symbol is undefined */
    code->run = (MathKernel *)(uintptr_t)address;
}

/* Linked only if this machine can run it; assembly only if wanted. */
static inline MathCode math_jit_make(const Target *target, const MathShape *shape, bool wants_assembly) {
    MathCode code = {0};
    char *message = NULL;
    LLVMTargetMachineRef machine = target_llvm(target, &message);
    if (!machine) math_jit_fail("target", message);
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = math_jit_module(context, target, shape);
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) math_jit_fail("verify", message);
    LLVMDisposeMessage(message);

    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(module, layout);
    LLVMSetTarget(module, target->triple);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    math_jit_check(LLVMRunPasses(module, "function(early-cse,instcombine)", machine, options), "passes");
    LLVMDisposePassBuilderOptions(options);

    if (wants_assembly) code.assembly = math_jit_emit(machine, module, LLVMAssemblyFile);
    if (target->is_host) math_jit_link(&code, math_jit_emit(machine, module, LLVMObjectFile));
    LLVMDisposeTargetData(layout);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    LLVMDisposeTargetMachine(machine);
    return code;
}

static inline void math_jit_free(MathCode code) {
    if (code.assembly) LLVMDisposeMemoryBuffer(code.assembly);
    if (code.jit) math_jit_check(LLVMOrcDisposeLLJIT(code.jit), "dispose");
}

static inline Target math_jit_target(const char *cpu, Arena *arena) {
    Target target;
    Diag diag;
    diag_init(&diag);
    if (!target_make(NULL, cpu, arena, &target, &diag)) math_jit_fail("target", diag.text);
    diag_free(&diag);
    return target;
}
#endif
