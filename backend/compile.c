/* Kernels to machine code, each on its own: a module in a context of its own, verified, optimised a little,
 * generated into memory. Threads take kernels from one queue, the largest first.
 *
 * The kernels are already written as the loops and vectors that we want, so LLVM is asked to tidy, not to find
 * anything: the unroller ruins micro-kernels, and default<O2> costs six times what these passes do and makes
 * nothing faster. The same
 * module passes through here for the JIT and for a file, so their code cannot differ. */
#include "backend/code.h"

#include <llvm-c/Transforms/PassBuilder.h>
#include <llvm-c/blake3.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Says what the code generator was when it made an object; the build defines it as a hash of its sources. */
#ifndef SELFC_CODE_VERSION
#  define SELFC_CODE_VERSION __DATE__ __TIME__
#endif

static const char compile_passes[] = "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm))";

static const int64_t cache_most_bytes = (int64_t)512 << 20;
enum { THREAD_STACK = 16 << 20, MAX_THREADS = 64 };

static double compile_seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double compile_clock(void) { return compile_seconds(CLOCK_MONOTONIC); }
static double compile_busy(void) { return compile_seconds(CLOCK_THREAD_CPUTIME_ID); }

/* The key: everything that kernel_emit and LLVM see, and nothing else. Names and origins are for people. */

static void key_text(llvm_blake3_hasher *hasher, const char *text) {
    llvm_blake3_hasher_update(hasher, text, strlen(text) + 1);
}

static void key_number(llvm_blake3_hasher *hasher, int64_t number) {
    llvm_blake3_hasher_update(hasher, &number, sizeof number);
}

static void key_type(llvm_blake3_hasher *hasher, Type type) {
    key_number(hasher, type.dtype);
    key_number(hasher, type.rank);
    llvm_blake3_hasher_update(hasher, type.dim, sizeof type.dim);
}

static void key_body(llvm_blake3_hasher *hasher, const Graph *body) {
    key_number(hasher, body->count);
    for (NodeId id = 0; id < body->count; id++) {
        const Node *node = &body->nodes[id];
        key_number(hasher, node->op);
        key_type(hasher, node->type);
        llvm_blake3_hasher_update(hasher, node->in, sizeof node->in);
        llvm_blake3_hasher_update(hasher, &node->attr, sizeof node->attr);
    }
    key_number(hasher, body->input_count);
    for (uint32_t i = 0; i < body->input_count; i++) key_type(hasher, body->inputs[i].type);
    key_number(hasher, body->output_count);
    for (uint32_t i = 0; i < body->output_count; i++) {
        key_number(hasher, body->outputs[i].node);
        key_number(hasher, body->outputs[i].updates);
    }
}

static void key_schedule(llvm_blake3_hasher *hasher, const Kernel *kernel) {
    key_number(hasher, kernel->kind);
    key_number(hasher, kernel->grid.rank);
    for (uint32_t i = 0; i < kernel->grid.rank; i++) {
        key_number(hasher, kernel->grid.axis[i].extent);
        key_number(hasher, kernel->grid.axis[i].block);
    }
    key_number(hasher, kernel->reduced);
    key_number(hasher, kernel->product);
    key_number(hasher, kernel->tile_rows);
    key_number(hasher, kernel->tile_vectors);
    key_number(hasher, kernel->wide_rows);
    key_number(hasher, kernel->wide_vectors);
    key_number(hasher, kernel->depth_block);
    key_number(hasher, kernel->row_block);
    key_number(hasher, kernel->streams);
    key_number(hasher, kernel->pack_a);
    key_number(hasher, kernel->pack_b);
    key_number(hasher, kernel->winograd);
    key_number(hasher, kernel->prepared_b);
}

static void key_target(llvm_blake3_hasher *hasher, const Target *target) {
    const Machine *machine = &target->machine;
    key_text(hasher, target->triple);
    key_text(hasher, target->cpu);
    key_text(hasher, target->features);
    key_number(hasher, machine->vector_bytes);
    key_number(hasher, machine->registers);
    key_number(hasher, machine->has_masks);
    key_number(hasher, machine->has_fma);
    key_number(hasher, machine->l1);
    key_number(hasher, machine->l2);
    key_number(hasher, machine->l3);
}

void compile_prepare(Code *code, const Kernel *kernel, const Target *target) {
    llvm_blake3_hasher hasher;
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    llvm_blake3_hasher_init(&hasher);
    key_text(&hasher, "selfc " SELFC_CODE_VERSION);
    key_text(&hasher, compile_passes);
    key_number(&hasher, major);
    key_number(&hasher, minor);
    key_number(&hasher, patch);
    key_target(&hasher, target);
    key_schedule(&hasher, kernel);
    key_body(&hasher, kernel->body);

    *code = (Code){.kernel = kernel};
    llvm_blake3_hasher_finalize(&hasher, code->key, CODE_KEY_BYTES);
    strcpy(code->symbol, "selfc_");
    for (int i = 0; i < 16; i++) snprintf(code->symbol + 6 + 2 * i, 3, "%02x", code->key[i]);
}

static void compile_heard(LLVMDiagnosticInfoRef info, void *context) {
    char **error = context;
    if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || *error) return;
    char *text = LLVMGetDiagInfoDescription(info);
    *error = strdup(text);
    LLVMDisposeMessage(text);
}

void compile_listen(LLVMContextRef context, char **error) {
    LLVMContextSetDiagnosticHandler(context, compile_heard, error);
}

void compile_set_target(LLVMModuleRef module, const Target *target, LLVMTargetMachineRef machine) {
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(module, layout);
    LLVMSetTarget(module, target->triple);
    LLVMDisposeTargetData(layout);
}

static void compile_add_attribute(LLVMValueRef function, const char *name, const char *value) {
    LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(function));
    LLVMAttributeRef attribute =
        LLVMCreateStringAttribute(context, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, attribute);
}

void compile_mark(LLVMValueRef function) {
    LLVMContextRef context = LLVMGetModuleContext(LLVMGetGlobalParent(function));
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context, nounwind, 0));
    compile_add_attribute(function, "no-builtins", "");
}

/* NULL: fine. Otherwise malloc'ed text. */
static char *compile_optimise(LLVMModuleRef module, LLVMTargetMachineRef machine) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMPassBuilderOptionsSetLoopUnrolling(options, false);
    LLVMPassBuilderOptionsSetLoopVectorization(options, false);
    LLVMPassBuilderOptionsSetLoopInterleaving(options, false);
    LLVMPassBuilderOptionsSetSLPVectorization(options, false);
    LLVMErrorRef failure = LLVMRunPasses(module, compile_passes, machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!failure) return NULL;
    char *text = LLVMGetErrorMessage(failure), *copy = strdup(text);
    LLVMDisposeErrorMessage(text);
    return copy;
}

LLVMModuleRef compile_module(const Kernel *kernel, const Target *target, LLVMTargetMachineRef machine,
                             LLVMContextRef context, const char *symbol, double seconds[2], char **error) {
    double start = compile_busy();
    Arena *arena = arena_new();
    LLVMModuleRef module = kernel_emit(kernel, target, context, symbol, arena);
    arena_free(arena);
    compile_set_target(module, target, machine);
    for (LLVMValueRef function = LLVMGetFirstFunction(module); function; function = LLVMGetNextFunction(function))
        if (!LLVMIsDeclaration(function)) compile_mark(function);
    double emitted = compile_busy();
    *error = compile_optimise(module, machine);
    seconds[0] = emitted - start;
    seconds[1] = compile_busy() - emitted;
    if (!*error) return module;
    LLVMDisposeModule(module);
    return NULL;
}

LLVMMemoryBufferRef compile_generate(LLVMModuleRef module, LLVMTargetMachineRef machine, LLVMCodeGenFileType type,
                                     char **error) {
    char *text = NULL, *heard = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    compile_listen(LLVMGetModuleContext(module), &heard);
    bool failed = LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &text, &buffer);
    LLVMContextSetDiagnosticHandler(LLVMGetModuleContext(module), NULL, NULL);
    if (!failed && !heard) return buffer;
    *error = heard ? heard : strdup(text ? text : "code generation failed");
    LLVMDisposeMessage(text);
    if (!failed) LLVMDisposeMemoryBuffer(buffer);
    return NULL;
}

static void compile_one(Code *code, const Target *target, LLVMTargetMachineRef machine) {
    LLVMContextRef context = LLVMContextCreate();
    double seconds[2] = {0, 0}, start;
    LLVMModuleRef module = compile_module(code->kernel, target, machine, context, code->symbol, seconds, &code->error);
    code->emit = seconds[0];
    code->optimise = seconds[1];
    start = compile_busy();
    if (module) {
        code->object = compile_generate(module, machine, LLVMObjectFile, &code->error);
        LLVMDisposeModule(module);
    }
    code->generate = compile_busy() - start;
    LLVMContextDispose(context);
}

typedef struct {
    Code **queue;
    uint32_t count;
    atomic_uint next;
    const Target *target;
    const char *cache;
} Work;

static void *compile_worker(void *argument) {
    Work *work = argument;
    char *error = NULL;
    LLVMTargetMachineRef machine = target_llvm(work->target, &error);
    for (uint32_t i; (i = atomic_fetch_add(&work->next, 1)) < work->count;) {
        Code *code = work->queue[i];
        if (machine)
            compile_one(code, work->target, machine);
        else
            code->error = strdup(error);
        if (code->object && work->cache)
            cache_store(work->cache, code->key, LLVMGetBufferStart(code->object), LLVMGetBufferSize(code->object));
    }
    if (machine)
        LLVMDisposeTargetMachine(machine);
    else
        LLVMDisposeMessage(error);
    return NULL;
}

/* The largest first, so that no thread starts a long one when the others are done. */
static int compile_larger(const void *a, const void *b) {
    const Code *first = *(Code *const *)a, *second = *(Code *const *)b;
    int64_t left = first->kernel->body->count + (first->kernel->kind != KERNEL_map ? 1000 : 0);
    int64_t right = second->kernel->body->count + (second->kernel->kind != KERNEL_map ? 1000 : 0);
    return (left < right) - (left > right);
}

static uint32_t compile_threads(uint32_t wanted, uint32_t jobs) {
    cpu_set_t cpus;
    uint32_t count = wanted ? wanted : sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
    if (count > jobs) count = jobs;
    return count > MAX_THREADS ? MAX_THREADS : count ? count : 1;
}

/* Runs the queue on this thread and up to `threads` - 1 more; with fewer if the system gives no more. */
static void compile_run(Work *work, uint32_t threads) {
    pthread_t others[MAX_THREADS];
    uint32_t started = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    while (started + 1 < threads && pthread_create(&others[started], &attributes, compile_worker, work) == 0) started++;
    pthread_attr_destroy(&attributes);
    compile_worker(work);
    for (uint32_t i = 0; i < started; i++) pthread_join(others[i], NULL);
}

static void compile_times(const Code *codes, uint32_t count, uint32_t compiled, uint32_t threads, double load,
                          double total) {
    double emit = 0, optimise = 0, generate = 0;
    for (uint32_t i = 0; i < count; i++) {
        emit += codes[i].emit;
        optimise += codes[i].optimise;
        generate += codes[i].generate;
    }
    fprintf(stderr, "%8.2f ms  reading %u of %u kernels from the cache\n", 1e3 * load, count - compiled, count);
    if (compiled)
        fprintf(stderr, "%8.2f ms  compiling %u kernels on %u threads (emit %.1f, optimise %.1f, generate %.1f ms)\n",
                1e3 * (total - load), compiled, threads, 1e3 * emit, 1e3 * optimise, 1e3 * generate);
}

static bool compile_report(const Code *codes, uint32_t count, Diag *diag) {
    bool good = true;
    for (uint32_t i = 0; i < count; i++)
        if (!codes[i].object) {
            good = false;
            diag_error(diag, (Place){0}, "kernel %s cannot be compiled: %s", codes[i].kernel->name, codes[i].error);
        }
    return good;
}

void compile_tell(CompileListener listener, uint32_t kernels) {
    if (listener.hear) listener.hear(listener.context, kernels);
}

bool compile_all(Code *codes, uint32_t count, const Target *target, const CompileOptions *options, Diag *diag) {
    Arena *arena = arena_new();
    double start = compile_clock();
    Work work = {.queue = arena_array(arena, Code *, count), .target = target, .cache = options->cache};
    for (uint32_t i = 0; i < count; i++) {
        if (options->cache) codes[i].object = cache_load(options->cache, codes[i].key);
        codes[i].cached = codes[i].object != NULL;
        if (!codes[i].cached) work.queue[work.count++] = &codes[i];
    }
    double loaded = compile_clock();
    uint32_t threads = compile_threads(options->threads, work.count);
    if (work.count) {
        qsort(work.queue, work.count, sizeof *work.queue, compile_larger);
        compile_tell(options->listener, work.count);
        compile_run(&work, threads);
        compile_tell(options->listener, 0);
        if (options->cache) cache_trim(options->cache, cache_most_bytes);
    }
    if (options->times) compile_times(codes, count, work.count, threads, loaded - start, compile_clock() - start);
    arena_free(arena);
    return compile_report(codes, count, diag);
}
