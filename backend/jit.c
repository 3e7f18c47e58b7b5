/* The JIT: objects in memory, linked by LLVM's JITLink into this process.
 *
 * What is linked are the bytes that compile.c generates and the cache holds, so a start from the cache is a few file
 * reads and a link. If cached code does not link, it is compiled afresh once: a cache can cost time, never
 * the run.
 *
 * With SELFC_PERF set, kernels have the names of the layers that they serve where `perf` and `gdb` look: in a map of
 * the code, /tmp/perf-PID.map, and in objects that the debugger is told about. Both leave traces or take time at every
 * start, so it is asked for. */
#include "backend/code.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/LLJITUtils.h>
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
    size_t *sizes;       /* of the functions in bytes */
    const char **titles; /* of the kernels, for perf and gdb; NULL: nobody asked for them */
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
    return !jit->titles || !jit_failed(jit, LLVMOrcLLJITEnableDebugSupport(jit->engine));
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

/* Names of functions in one library must differ: the second of a title ends in #2. */
static void jit_make_titles(Jit *jit) {
    uint32_t count = jit->manifest.kernel_count;
    const char **plain = arena_array(jit->arena, const char *, count);
    jit->titles = arena_array(jit->arena, const char *, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t same = 1;
        plain[i] = manifest_title(&jit->manifest, i, jit->arena);
        for (uint32_t k = 0; k < i; k++) same += strcmp(plain[k], plain[i]) == 0;
        jit->titles[i] = same > 1 ? arena_printf(jit->arena, "%s #%u", plain[i], same) : plain[i];
    }
}

/* The object under the name that debuggers are to show. */
static void jit_rename(Jit *jit, uint32_t kernel) {
    Code *code = &jit->codes[kernel];
    LLVMMemoryBufferRef renamed = elf_rename(code->object, code->symbol, jit->titles[kernel]);
    if (!renamed) return;
    LLVMDisposeMemoryBuffer(code->object);
    code->object = renamed;
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
        elf_function(LLVMGetBufferStart(code->object), LLVMGetBufferSize(code->object), code->symbol, &jit->sizes[i]);
        if (jit->titles) jit_rename(jit, i);
        LLVMMemoryBufferRef object = code->object;
        code->object = NULL;
        if (jit_failed(jit, LLVMOrcLLJITAddObjectFile(jit->engine, library, object))) return false;
    }
    for (uint32_t i = 0; i < jit->manifest.kernel_count; i++)
        if (!jit_look_up(jit, jit->titles ? jit->titles[i] : jit->codes[i].symbol, &jit->functions[i])) return false;
    return true;
}

static void jit_fill_in(Jit *jit) {
    for (uint32_t i = 0; i < jit->manifest.module.program_count; i++) {
        const SelfcProgram *program = &jit->manifest.module.programs[i];
        SelfcCall *calls = (SelfcCall *)program->calls; /* manifest_make's own array, const for readers */
        for (uint32_t k = 0; k < program->call_count; k++) calls[k].run = jit->functions[jit->manifest.kernel_of[i][k]];
        if (!program->prepare) continue;
        calls = (SelfcCall *)program->prepare->calls;
        for (uint32_t k = 0; k < program->prepare->call_count; k++)
            calls[k].run = jit->functions[jit->manifest.prepare_kernel_of[i][k]];
    }
}

static void jit_write_map(const Jit *jit) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
    FILE *map = fopen(path, "a");
    if (!map) return;
    for (uint32_t i = 0; i < jit->manifest.kernel_count; i++)
        fprintf(map, "%llx %llx %s\n", (unsigned long long)(uintptr_t)jit->functions[i],
                (unsigned long long)jit->sizes[i], jit->titles[i]);
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
    jit->sizes = arena_array(arena, size_t, jit->manifest.kernel_count);
    if (getenv("SELFC_PERF")) jit_make_titles(jit);
    if (!jit_build(jit, target, options, diag)) {
        jit_free(jit);
        return NULL;
    }
    jit_fill_in(jit);
    if (jit->titles) jit_write_map(jit);
    return jit;
}

Inspection jit_inspect(const Jit *jit, SelfcKernel *run, const Target *target) {
    for (uint32_t i = 0; i < jit->manifest.kernel_count; i++)
        if (jit->functions[i] == run) return inspect_code((const void *)(uintptr_t)run, jit->sizes[i], target);
    return (Inspection){0};
}

const SelfcModule *jit_module(const Jit *jit) { return &jit->manifest.module; }

void jit_free(Jit *jit) {
    if (!jit) return;
    jit_stop(jit);
    arena_free(jit->arena);
}
