/* A kernel as one LLVM function of type SelfcKernel. */
#include "backend/pull.h"

#include <llvm-c/Analysis.h>
#include <stdlib.h>
#include <string.h>

static void set_attribute(LLVMContextRef context, LLVMValueRef function, const char *key, const char *value) {
    LLVMAttributeRef attribute = LLVMCreateStringAttribute(context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute);
}

static LLVMValueRef add_function(LLVMModuleRef module, LLVMContextRef context, const char *name) {
    LLVMTypeRef pointer = LLVMPointerTypeInContext(context, 0), i64 = LLVMInt64TypeInContext(context);
    LLVMTypeRef types[] = {pointer, i64, i64, i64, pointer};
    LLVMValueRef function = LLVMAddFunction(module, name, LLVMFunctionType(LLVMVoidTypeInContext(context), types, 5, false));
    set_attribute(context, function, "no-builtins", "");
    unsigned kind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context, kind, 0));
    return function;
}

/* A vector wider than 256 bits is used only where the function says that it wants it. */
static void prefer_width(const Target *target, LLVMContextRef context, LLVMValueRef function) {
    if (target->machine.vector_bytes == 64) set_attribute(context, function, "prefer-vector-width", "512");
}

LLVMModuleRef kernel_emit(const Kernel *kernel, const Target *target, LLVMContextRef context, const char *name, Arena *arena) {
    Emitter e = {.kernel = kernel, .target = target, .context = context, .arena = arena};
    e.module = LLVMModuleCreateWithNameInContext(name, context);
    LLVMSetTarget(e.module, target->triple);
    e.builder = LLVMCreateBuilderInContext(context);
    e.function = add_function(e.module, context, name);
    prefer_width(target, context, e.function);
    LLVMPositionBuilderAtEnd(e.builder, LLVMAppendBasicBlockInContext(context, e.function, "entry"));
    Pull *p = pull_begin(&e);
    switch (kernel->kind) {
    case KERNEL_map: map_emit(p); break;
    case KERNEL_contract: contract_emit(p); break;
    case KERNEL_attention: attention_emit(p); break;
    case KERNEL_scatter: scatter_emit(p); break;
    }
    pull_end(p);
    LLVMBuildRetVoid(e.builder);
    LLVMDisposeBuilder(e.builder);
    char *why = NULL;
    if (LLVMVerifyModule(e.module, LLVMReturnStatusAction, &why)) BUG("kernel %s is not valid LLVM: %s", name, why);
    LLVMDisposeMessage(why);
    return e.module;
}

int64_t kernel_scratch_bytes(const Kernel *kernel, const Target *target) {
    switch (kernel->kind) {
    case KERNEL_map:
    case KERNEL_scatter: return 0;
    case KERNEL_contract: return contract_scratch_bytes(kernel, target);
    case KERNEL_attention: return attention_scratch_bytes(kernel, target);
    }
    return 0;
}
