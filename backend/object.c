/* Built files: all kernels of some programs in one LLVM module, with a driver for each program or, for a training
 * program, with the manifest and a main().
 *
 * Kernels come out of compile_module as they do for the JIT and keep to themselves: they are joined after they are
 * optimised, stay functions of their own, and so have the JIT's bits. Only the drivers are visible from outside. */
#include "backend/code.h"

#include <errno.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Target.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WEIGHT_ALIGN = 64 };
static const int64_t most_embedded = (int64_t)256 << 20;

typedef struct {
    const Target *target;
    const BuildOptions *options;
    Arena *arena;
    Diag *diag;
    Manifest manifest;
    Weights weights;
    Driver *drivers;
    TextFunctions texts;
    LLVMTargetMachineRef machine;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMValueRef *functions; /* of the manifest's kernels, in module */
} Build;

static bool build_fail(Build *build, char *malloced) {
    diag_error(build->diag, (Place){0}, "%s: LLVM cannot make this code: %s", build->options->out, malloced);
    free(malloced);
    return false;
}

static bool build_open(Build *build) {
    char *message = NULL;
    build->machine = target_llvm(build->target, &message);
    if (!build->machine) {
        char *copy = strdup(message);
        LLVMDisposeMessage(message);
        return build_fail(build, copy);
    }
    build->context = LLVMContextCreate();
    build->module = LLVMModuleCreateWithNameInContext(build->manifest.module.name, build->context);
    compile_set_target(build->module, build->target, build->machine);
    return true;
}

static void build_close(Build *build) {
    if (build->weights.prepared) prepared_free(build->weights.prepared, build->manifest.module.program_count);
    if (build->module) LLVMDisposeModule(build->module);
    if (build->context) LLVMContextDispose(build->context);
    if (build->machine) LLVMDisposeTargetMachine(build->machine);
    arena_free(build->arena);
}

/* Joins kernel `index` to the module, visible to nobody else. */
static bool build_add_kernel(Build *build, uint32_t index) {
    const Kernel *kernel = build->manifest.kernels[index];
    const char *title = manifest_title(&build->manifest, index, build->arena);
    const char *symbol = arena_printf(build->arena, "kernel%u_%s", index, driver_identifier(title, build->arena));
    char *error = NULL;
    double seconds[2];
    LLVMModuleRef part = compile_module(kernel, build->target, build->machine, build->context, symbol, seconds, &error);
    if (!part) return build_fail(build, error);
    for (LLVMValueRef global = LLVMGetFirstGlobal(part); global; global = LLVMGetNextGlobal(global))
        if (!LLVMIsDeclaration(global)) LLVMSetLinkage(global, LLVMInternalLinkage);
    if (LLVMLinkModules2(build->module, part)) BUG("kernel %s does not join the module", kernel->name);
    build->functions[index] = LLVMGetNamedFunction(build->module, symbol);
    CHECK(build->functions[index]);
    LLVMSetLinkage(build->functions[index], LLVMInternalLinkage);
    return true;
}

/* Those that programs call; what functions prepare is done already. */
static bool *build_wanted_kernels(const Build *build) {
    const Manifest *manifest = &build->manifest;
    bool *wanted = arena_array(build->arena, bool, manifest->kernel_count + 1);
    for (uint32_t p = 0; p < manifest->module.program_count; p++) {
        const SelfcProgram *program = &manifest->module.programs[p];
        for (uint32_t c = 0; c < program->call_count; c++) wanted[manifest->kernel_of[p][c]] = true;
        bool prepares = program->prepare && build->options->kind == BUILD_program;
        for (uint32_t c = 0; prepares && c < program->prepare->call_count; c++)
            wanted[manifest->prepare_kernel_of[p][c]] = true;
    }
    return wanted;
}

static bool build_add_kernels(Build *build) {
    bool *wanted = build_wanted_kernels(build);
    uint32_t count = 0;
    for (uint32_t i = 0; i < build->manifest.kernel_count; i++) count += wanted[i];
    compile_tell(build->options->listener, count);
    build->functions = arena_array(build->arena, LLVMValueRef, build->manifest.kernel_count + 1);
    for (uint32_t i = 0; i < build->manifest.kernel_count; i++)
        if (wanted[i] && !build_add_kernel(build, i)) return false;
    return true;
}

/* The weights as one constant; a string, since LLVM takes seconds and half a gigabyte for an array of numbers. */
static LLVMValueRef build_blob(Build *build, const char *bytes) {
    LLVMValueRef content = LLVMConstStringInContext2(build->context, bytes, (size_t)build->weights.bytes, true);
    LLVMValueRef blob = LLVMAddGlobal(build->module, LLVMTypeOf(content), "weights");
    LLVMSetInitializer(blob, content);
    LLVMSetGlobalConstant(blob, true);
    LLVMSetLinkage(blob, LLVMInternalLinkage);
    LLVMSetAlignment(blob, WEIGHT_ALIGN);
    return blob;
}

static void build_add_drivers(Build *build, const char *weights) {
    LLVMValueRef blob = build->weights.embedded && build->weights.bytes ? build_blob(build, weights) : NULL;
    for (uint32_t i = 0; i < build->manifest.module.program_count; i++)
        driver_emit(&build->drivers[i], &build->manifest, i, &build->weights, blob, build->functions, build->module);
    text_emit(&build->texts, &build->manifest, build->drivers, &build->options->text, build->module);
}

/* int main(int argc, char **argv) { return selfc_trainer_main(&module, argc, argv); } */
static void build_add_main(Build *build) {
    LLVMValueRef constant = constants_emit(&build->manifest, build->functions, build->module);
    LLVMTypeRef i32 = LLVMInt32TypeInContext(build->context), pointer = LLVMPointerTypeInContext(build->context, 0);
    LLVMTypeRef trainer_type = LLVMFunctionType(i32, (LLVMTypeRef[]){pointer, i32, pointer}, 3, false);
    LLVMTypeRef main_type = LLVMFunctionType(i32, (LLVMTypeRef[]){i32, pointer}, 2, false);
    LLVMValueRef trainer = LLVMAddFunction(build->module, "selfc_trainer_main", trainer_type);
    LLVMValueRef start = LLVMAddFunction(build->module, "main", main_type);
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(build->context);
    LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(build->context, start, "start"));
    LLVMValueRef arguments[] = {constant, LLVMGetParam(start, 0), LLVMGetParam(start, 1)};
    LLVMBuildRet(builder, LLVMBuildCall2(builder, trainer_type, trainer, arguments, 3, ""));
    LLVMDisposeBuilder(builder);
}

/* `out` with its ending replaced. */
static const char *build_beside(const Build *build, const char *ending) {
    const char *out = build->options->out, *slash = strrchr(out, '/'), *dot = strrchr(out, '.');
    int length = dot && (!slash || dot > slash + 1) && dot != out ? (int)(dot - out) : (int)strlen(out);
    return arena_printf(build->arena, "%.*s%s", length, out, ending);
}

static bool build_save(Build *build, const char *path, const void *bytes, size_t size) {
    if (output_write(path, bytes, size)) return true;
    diag_error(build->diag, (Place){0}, "%s cannot be written: %s", path, strerror(errno));
    return false;
}

static bool build_save_header(Build *build) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) die("no memory for a header");
    header_print(&build->manifest.module, build->drivers, &build->texts, &build->weights, out);
    fclose(out);
    bool good = build_save(build, build_beside(build, ".h"), text, size);
    free(text);
    return good;
}

/* A kernel's text says for which processor it is: code for another one could not pass its vectors. */
static bool build_save_text(Build *build) {
    for (LLVMValueRef f = LLVMGetFirstFunction(build->module); f; f = LLVMGetNextFunction(f)) {
        if (LLVMIsDeclaration(f)) continue;
        LLVMAddTargetDependentFunctionAttr(f, "target-cpu", build->target->cpu);
        LLVMAddTargetDependentFunctionAttr(f, "target-features", build->target->features);
    }
    char *text = LLVMPrintModuleToString(build->module);
    bool good = build_save(build, build->options->out, text, strlen(text));
    LLVMDisposeMessage(text);
    return good;
}

static bool build_save_archive(Build *build, LLVMMemoryBufferRef object) {
    uint32_t programs = build->manifest.module.program_count, texts = build->texts.count;
    const char **symbols = arena_array(build->arena, const char *, programs + texts + 1);
    for (uint32_t i = 0; i < programs; i++) symbols[i] = build->drivers[i].symbol;
    for (uint32_t i = 0; i < texts; i++) symbols[programs + i] = build->texts.items[i].symbol;
    if (texts) symbols[programs + texts] = build->texts.word;
    size_t size;
    void *archive =
        archive_make(driver_identifier(build->manifest.module.name, build->arena), LLVMGetBufferStart(object),
                     LLVMGetBufferSize(object), symbols, programs + texts + (texts > 0), &size);
    bool good = build_save(build, build->options->out, archive, size);
    free(archive);
    return good;
}

/* Writes the object to a temporary file and links it to `out`. */
static bool build_link(Build *build, LLVMMemoryBufferRef object) {
    const char *path = arena_printf(build->arena, "%s.o", output_temporary(build->options->out, build->arena));
    if (!build_save(build, path, LLVMGetBufferStart(object), LLVMGetBufferSize(object))) return false;
    bool good = build->options->kind == BUILD_shared
                    ? link_shared(path, build->options->out, build->target, build->diag)
                    : link_program(path, build->options->out, build->target, build->diag);
    unlink(path);
    return good;
}

static bool build_save_code(Build *build) {
    bool assembly = build->options->kind == BUILD_assembly;
    char *error = NULL;
    LLVMMemoryBufferRef code =
        compile_generate(build->module, build->machine, assembly ? LLVMAssemblyFile : LLVMObjectFile, &error);
    if (!code) return build_fail(build, error);
    bool good = false;
    switch (build->options->kind) {
    case BUILD_object:
    case BUILD_assembly:
        good = build_save(build, build->options->out, LLVMGetBufferStart(code), LLVMGetBufferSize(code));
        break;
    case BUILD_archive: good = build_save_archive(build, code); break;
    case BUILD_shared:
    case BUILD_program: good = build_link(build, code); break;
    case BUILD_llvm: break;
    }
    LLVMDisposeMemoryBuffer(code);
    return good;
}

static bool build_check_inference(Build *build, const CompileInput *input) {
    for (uint32_t i = 0; i < input->program_count; i++)
        for (uint32_t k = 0; k < input->programs[i]->output_count; k++)
            if (input->programs[i]->outputs[k].updates >= 0) {
                diag_error(build->diag, (Place){0},
                           "'%s' changes its weights, so it can be built into a training program only",
                           input->programs[i]->name);
                return false;
            }
    for (uint32_t i = 0; i < input->program_count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(build->drivers[i].symbol, build->drivers[k].symbol) == 0) {
                diag_error(build->diag, (Place){0}, "'%s' and '%s' would both be the C function %s",
                           input->programs[k]->name, input->programs[i]->name, build->drivers[i].symbol);
                return false;
            }
    for (uint32_t i = 0; i < input->program_count; i++)
        for (uint32_t k = 0; k <= build->texts.count && build->texts.count; k++) {
            const char *taken = k < build->texts.count ? build->texts.items[k].symbol : build->texts.word;
            if (strcmp(build->drivers[i].symbol, taken)) continue;
            diag_error(build->diag, (Place){0},
                       "function '%s' would be the C function %s, which the object has for texts; give it another name",
                       input->programs[i]->name, taken);
            return false;
        }
    if (build->weights.embedded && build->weights.bytes > most_embedded) {
        diag_error(build->diag, (Place){0},
                   "%lld MB of weights are too many to embed (at most %lld MB): keep them in a file",
                   (long long)(build->weights.bytes >> 20), (long long)(most_embedded >> 20));
        return false;
    }
    return true;
}

__attribute__((format(printf, 2, 3))) static void build_note(const Build *build, const char *format, ...) {
    if (!build->options->note) return;
    char *text;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0) die("no memory");
    va_end(arguments);
    build->options->note(build->options->note_context, text);
    free(text);
}

/* Functions that take a text stand over those that take rows of ids, and are missed where these have none. */
static void build_plan_texts(Build *build) {
    TextFunctions texts = text_functions(&build->manifest, build->drivers, build->arena);
    for (uint32_t i = 0; i < texts.split_count; i++)
        build_note(build,
                   "\"%s\" takes rows of ids alone, no text: its copies for several lengths differ in what they take "
                   "or in the shapes of results, which then depend on the text; a copy built alone takes text",
                   texts.split[i]);
    if (text_fits(build->target))
        build->texts = texts;
    else if (texts.count)
        build_note(build,
                   "functions take rows of ids alone, no text: the code that reads text is for this machine's "
                   "architecture, not for %s",
                   build->target->triple);
}

static void build_plan_inference(Build *build, const CompileInput *input) {
    const BuildOptions *options = build->options;
    const SelfcModule *module = &build->manifest.module;
    build->weights = weights_make(&build->manifest, input, options->weights && !options->weights_beside, build->arena);
    build->drivers = arena_array(build->arena, Driver, module->program_count);
    for (uint32_t i = 0; i < module->program_count; i++)
        build->drivers[i] = driver_describe(&build->manifest, i, &build->weights, build->arena);
    if (options->text.tables) build_plan_texts(build);
}

/* Code first, since it is what can fail; then what lies beside it. */
static bool build_inference(Build *build, const CompileInput *input) {
    const BuildOptions *options = build->options;
    const SelfcModule *module = &build->manifest.module;
    build_plan_inference(build, input);
    if (!build_check_inference(build, input)) return false;
    const char *bytes = NULL;
    if (options->weights) {
        if (!prepared_compute(input, build->target, options->weights, options->layout, build->weights.prepared,
                              build->arena, build->diag))
            return false;
        bytes = weights_pack(&build->weights, module, options->weights, options->layout ? options->layout : module,
                             build->arena, build->diag);
        if (!bytes) return false;
    }
    if (!build_open(build) || !build_add_kernels(build)) return false;
    build_add_drivers(build, bytes);
    if (LLVMVerifyModule(build->module, LLVMPrintMessageAction, NULL)) BUG("the built module is invalid");
    if (!(options->kind == BUILD_llvm ? build_save_text(build) : build_save_code(build))) return false;
    if (bytes && options->weights_beside &&
        !build_save(build, build_beside(build, ".weights"), bytes, (size_t)build->weights.bytes))
        return false;
    return build_save_header(build);
}

static bool build_trainer(Build *build) {
    if (build->manifest.module.training.train < 0 || !build->manifest.module.program_count) {
        diag_error(build->diag, (Place){0}, "%s: a training program needs a description with \"training\"",
                   build->options->out);
        return false;
    }
    if (!build_open(build) || !build_add_kernels(build)) return false;
    build_add_main(build);
    if (LLVMVerifyModule(build->module, LLVMPrintMessageAction, NULL)) BUG("the built module is invalid");
    return build_save_code(build);
}

bool build_write(const CompileInput *input, const Target *target, const BuildOptions *options, Diag *diag) {
    Build build = {.target = target, .options = options, .arena = arena_new(), .diag = diag};
    bool good = manifest_make(input, target, build.arena, &build.manifest, diag) &&
                (options->kind == BUILD_program ? build_trainer(&build) : build_inference(&build, input));
    compile_tell(options->listener, 0);
    build_close(&build);
    return good;
}
