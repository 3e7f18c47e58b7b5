/* The code of a program's kernels as text, for people: LLVM after optimisation, or assembly. */
#include "backend/code.h"

#include <stdlib.h>
#include <string.h>

static bool show_assembly(LLVMModuleRef module, LLVMTargetMachineRef machine, FILE *out, char **error) {
    LLVMMemoryBufferRef text = compile_generate(module, machine, LLVMAssemblyFile, error);
    if (!text) return false;
    fwrite(LLVMGetBufferStart(text), 1, LLVMGetBufferSize(text), out);
    LLVMDisposeMemoryBuffer(text);
    return true;
}

static bool show_llvm(LLVMModuleRef module, FILE *out) {
    char *text = LLVMPrintModuleToString(module);
    fputs(text, out);
    LLVMDisposeMessage(text);
    return true;
}

static bool show_kernel(const Kernel *kernel, const Target *target, LLVMTargetMachineRef machine, bool assembly,
                        FILE *out, Diag *diag) {
    Arena *arena = arena_new();
    LLVMContextRef context = LLVMContextCreate();
    char *error = NULL;
    double seconds[2];
    fprintf(out, "%s %s\n", assembly ? "#" : ";", kernel->name);
    LLVMModuleRef module =
        compile_module(kernel, target, machine, context, driver_identifier(kernel->name, arena), seconds, &error);
    bool good = module && (assembly ? show_assembly(module, machine, out, &error) : show_llvm(module, out));
    if (!good) diag_error(diag, (Place){0}, "kernel %s cannot be compiled: %s", kernel->name, error);
    free(error);
    fputc('\n', out);
    if (module) LLVMDisposeModule(module);
    LLVMContextDispose(context);
    arena_free(arena);
    return good;
}

bool show_code(const Program *program, const Target *target, bool assembly, FILE *out, Diag *diag) {
    char *message = NULL;
    LLVMTargetMachineRef machine = target_llvm(target, &message);
    if (!machine) {
        diag_error(diag, (Place){0}, "LLVM knows no %s: %s", target->triple, message);
        LLVMDisposeMessage(message);
        return false;
    }
    bool good = true;
    for (uint32_t i = 0; good && i < program->kernel_count; i++)
        good = show_kernel(&program->kernels[i], target, machine, assembly, out, diag);
    LLVMDisposeTargetMachine(machine);
    return good;
}
