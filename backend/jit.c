/* The JIT: objects in memory, linked by LLVM's JITLink into this process.
 *
 * What is linked are the bytes that compile.c generates and the cache holds, so a start from the cache is a few file
 * reads and a link. If cached code does not link, it is compiled afresh once: a cache can cost time, never
 * the run. With SELFC_PERF set, a map of the code goes to /tmp/perf-PID.map, where `perf report` looks. */
#include "backend/code.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Object.h>
#include <llvm-c/OrcEE.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct Jit {
    Arena *arena;
    Manifest manifest;
    Code *codes; /* one for each kernel of the manifest */
    SelfcKernel **functions;
    uint64_t *sizes; /* of the functions in bytes, for perf */
    LLVMOrcLLJITRef engine;
    char *error; /* the first one LLVM reported, malloc'ed */
};

static double jit_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* True if there was an error: it is kept, unless there is one already. */
static bool jit_failed(Jit *jit, LLVMErrorRef failure) {
    if (!failure) return false;
    char *text = LLVMGetErrorMessage(failure);
    if (!jit->error) jit->error = strdup(text);
    LLVMDisposeErrorMessage(text);
    return true;
}

/* What the linker reports on its own, besides the failed look-up; without this it would be printed. */
static void jit_report(void *context, LLVMErrorRef failure) { jit_failed(context, failure); }

static LLVMOrcObjectLayerRef jit_layer(void *context, LLVMOrcExecutionSessionRef session, const char *triple) {
    (void)context, (void)triple;
    LLVMOrcObjectLayerRef layer = NULL;
    LLVMErrorRef failure = LLVMOrcCreateObjectLinkingLayerWithInProcessMemoryManager(&layer, session);
    if (failure) die("LLVM's linker does not start: %s", LLVMGetErrorMessage(failure));
    return layer;
}

static bool jit_start(Jit *jit, const Target *target) {
    char *message = NULL;
    LLVMTargetMachineRef machine = target_llvm(target, &message);
    if (!machine) {
        jit->error = strdup(message);
        LLVMDisposeMessage(message);
        return false;
    }
    LLVMDisposeTargetMachine(machine);
    LLVMOrcLLJITBuilderRef builder = LLVMOrcCreateLLJITBuilder();
    LLVMOrcLLJITBuilderSetObjectLinkingLayerCreator(builder, jit_layer, NULL);
    if (jit_failed(jit, LLVMOrcCreateLLJIT(&jit->engine, builder))) {
        jit->engine = NULL;
        return false;
    }
    LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(jit->engine), jit_report, jit);
    return true;
}

static void jit_stop(Jit *jit) {
    if (jit->engine) jit_failed(jit, LLVMOrcDisposeLLJIT(jit->engine));
    for (uint32_t i = 0; i < jit->manifest.kernel_count; i++) {
        if (jit->codes[i].object) LLVMDisposeMemoryBuffer(jit->codes[i].object);
        free(jit->codes[i].error);
    }
    free(jit->error);
    jit->engine = NULL;
    jit->error = NULL;
}

static uint64_t jit_symbol_size(LLVMMemoryBufferRef object, const char *name) {
    uint64_t size = 0;
    char *message = NULL;
    LLVMBinaryRef binary = LLVMCreateBinary(object, NULL, &message);
    if (!binary) {
        LLVMDisposeMessage(message);
        return 0;
    }
    LLVMSymbolIteratorRef symbol = LLVMObjectFileCopySymbolIterator(binary);
    for (; !LLVMObjectFileIsSymbolIteratorAtEnd(binary, symbol); LLVMMoveToNextSymbol(symbol))
        if (strcmp(LLVMGetSymbolName(symbol), name) == 0) size = LLVMGetSymbolSize(symbol);
    LLVMDisposeSymbolIterator(symbol);
    LLVMDisposeBinary(binary);
    return size;
}

static bool jit_look_up(Jit *jit, const char *symbol, SelfcKernel **function) {
    LLVMOrcExecutorAddress address = 0;
    if (jit_failed(jit, LLVMOrcLLJITLookup(jit->engine, &address, symbol))) return false;
    _Static_assert(sizeof *function == sizeof address, "code addresses are 64-bit");
    memcpy(function, &address, sizeof *function);
    return true;
}

/* Hands the objects over to the linker and asks where the functions are. */
static bool jit_link(Jit *jit) {
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit->engine);
    for (uint32_t i = 0; i < jit->manifest.kernel_count; i++) {
        Code *code = &jit->codes[i];
        if (jit->sizes) jit->sizes[i] = jit_symbol_size(code->object, code->symbol);
        LLVMMemoryBufferRef object = code->object;
        code->object = NULL;
        if (jit_failed(jit, LLVMOrcLLJITAddObjectFile(jit->engine, library, object))) return false;
    }
    for (uint32_t i = 0; i < jit->manifest.kernel_count; i++)
        if (!jit_look_up(jit, jit->codes[i].symbol, &jit->functions[i])) return false;
    return true;
}

static void jit_fill_in(Jit *jit) {
    for (uint32_t i = 0; i < jit->manifest.module.program_count; i++) {
        const SelfcProgram *program = &jit->manifest.module.programs[i];
        SelfcCall *calls = (SelfcCall *)program->calls; /* manifest_make's own array, const for readers */
        for (uint32_t k = 0; k < program->call_count; k++) calls[k].run = jit->functions[jit->manifest.kernel_of[i][k]];
    }
}

static void jit_write_map(const Jit *jit) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
    FILE *map = fopen(path, "a");
    if (!map) return;
    for (uint32_t i = 0; i < jit->manifest.kernel_count; i++)
        fprintf(map, "%llx %llx %s\n", (unsigned long long)(uintptr_t)jit->functions[i],
                (unsigned long long)jit->sizes[i], jit->codes[i].kernel->name);
    fclose(map);
}

/* false: the reason is in diag if LLVM could not compile, in jit->error if it could not link. */
static bool jit_try(Jit *jit, const Target *target, const CompileOptions *options, Diag *diag) {
    uint32_t count = jit->manifest.kernel_count;
    for (uint32_t i = 0; i < count; i++) compile_prepare(&jit->codes[i], jit->manifest.kernels[i], target);
    if (!compile_all(jit->codes, count, target, options, diag)) return false;
    double start = jit_clock();
    bool good = jit_start(jit, target) && jit_link(jit);
    if (options->times) fprintf(stderr, "%8.2f ms  linking %u kernels\n", 1e3 * (jit_clock() - start), count);
    return good;
}

/* Forgets all code that came from the disk. false: there was none. */
static bool jit_distrust_cache(Jit *jit, const char *folder) {
    bool any = false;
    for (uint32_t i = 0; i < jit->manifest.kernel_count; i++)
        if (jit->codes[i].cached) {
            cache_drop(folder, jit->codes[i].key);
            any = true;
        }
    return any;
}

static bool jit_build(Jit *jit, const Target *target, const CompileOptions *options, Diag *diag) {
    if (jit_try(jit, target, options, diag)) return true;
    if (jit->error && jit_distrust_cache(jit, options->cache)) {
        jit_stop(jit);
        if (jit_try(jit, target, options, diag)) return true;
    }
    if (jit->error) diag_error(diag, (Place){0}, "LLVM cannot link the compiled kernels: %s", jit->error);
    return false;
}

Jit *jit_compile(const CompileInput *input, const Target *target, const CompileOptions *options, Diag *diag) {
    if (!target->is_host) {
        diag_error(diag, (Place){0}, "code for %s (%s) cannot run on this machine; it can be built into a file",
                   target->triple, target->cpu);
        return NULL;
    }
    Arena *arena = arena_new();
    Jit *jit = arena_array(arena, Jit, 1);
    jit->arena = arena;
    if (!manifest_make(input, target, arena, &jit->manifest, diag)) {
        arena_free(arena);
        return NULL;
    }
    jit->codes = arena_array(arena, Code, jit->manifest.kernel_count);
    jit->functions = arena_array(arena, SelfcKernel *, jit->manifest.kernel_count);
    if (getenv("SELFC_PERF")) jit->sizes = arena_array(arena, uint64_t, jit->manifest.kernel_count);
    if (!jit_build(jit, target, options, diag)) {
        jit_free(jit);
        return NULL;
    }
    jit_fill_in(jit);
    if (jit->sizes) jit_write_map(jit);
    return jit;
}

const SelfcModule *jit_module(const Jit *jit) { return &jit->manifest.module; }

void jit_free(Jit *jit) {
    if (!jit) return;
    jit_stop(jit);
    arena_free(jit->arena);
}
