/* The driver: one C function for a program, which runs its calls in order on the calling thread.
 *
 *     int vae_generate(const float *z, float *image, size_t n, void *workspace);
 *
 * It keeps nothing between calls and allocates nothing: temporaries and the kernels' scratch lie in the
 * workspace, which it aligns itself. A call of a kernel does all its pieces, in the order of their numbers; since
 * pieces depend on the shape alone, the results have the same bits as those of the threaded runtime. */
#include "backend/code.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { DRIVER_ALIGN = 64 };

/* Words that are no names in C or C++, and the names of the function's own parameters. */
static bool driver_is_taken(const char *name) {
    static const char *const taken[] = {
        "n",      "workspace", "weights",   "auto",      "bool",     "break",   "case",     "char",     "class",
        "const",  "continue",  "default",   "delete",    "do",       "double",  "else",     "enum",     "export",
        "extern", "false",     "float",     "for",       "friend",   "goto",    "if",       "inline",   "int",
        "long",   "mutable",   "namespace", "new",       "operator", "private", "public",   "register", "restrict",
        "return", "short",     "signed",    "sizeof",    "static",   "struct",  "switch",   "template", "this",
        "throw",  "true",      "try",       "typedef",   "typename", "union",   "unsigned", "using",    "virtual",
        "void",   "volatile",  "while",     "protected", "explicit", "catch",   "and",      "or",       "not",
        "xor",    "asm",       "typeof",    "linux",     "unix",     "nullptr", "constexpr", "alignas",  "alignof",
        "bitand", "bitor",     "compl",     "and_eq",    "or_eq",    "xor_eq",  "not_eq",   "decltype", "noexcept",
        "typeid", "concept",   "requires",  "co_await",  "co_yield", "co_return", "static_assert", "thread_local",
        "const_cast", "static_cast", "dynamic_cast", "reinterpret_cast"};
    size_t length = strlen(name);
    if (length > 2 && strcmp(name + length - 2, "_t") == 0) return true; /* size_t and its like */
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (strcmp(taken[i], name) == 0) return true;
    return false;
}

char *driver_identifier(const char *text, Arena *arena) {
    if (*text == '$') text++;
    char *name = arena_printf(arena, "%s%s", isdigit((unsigned char)*text) || !*text ? "_" : "", text);
    for (char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) || (unsigned char)*at >= 128) *at = '_';
    return name;
}

static bool driver_is_used(const Driver *driver, uint32_t count, const char *name) {
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(driver->parameters[i], name) == 0) return true;
    return false;
}

static void driver_name_parameters(Driver *driver, const SelfcProgram *program, Arena *arena) {
    uint32_t count = program->input_count + program->output_count;
    driver->parameters = arena_array(arena, const char *, count);
    for (uint32_t i = 0; i < count; i++) {
        const char *name = driver_identifier(program->io[i].name, arena);
        while (driver_is_taken(name) || driver_is_used(driver, i, name)) name = arena_printf(arena, "%s_", name);
        driver->parameters[i] = name;
    }
}

static bool driver_reads_weights(const SelfcProgram *program) {
    for (uint32_t i = 0; i < program->call_count; i++)
        for (uint32_t k = 0; k < program->calls[i].arg_count; k++) {
            uint32_t base = program->calls[i].args[k].base;
            if (base == 0 || base == SELFC_PREPARED) return true;
        }
    return false;
}

/* The workspace: the arena, rounded up, then the scratch, and room to align all of it. */
static void driver_plan_workspace(Driver *driver, const Manifest *manifest, uint32_t index) {
    const SelfcProgram *program = &manifest->module.programs[index];
    for (uint32_t i = 0; i < program->call_count; i++) {
        int64_t scratch = manifest->scratch[manifest->kernel_of[index][i]];
        if (scratch > driver->scratch) driver->scratch = scratch;
    }
    SelfcExtent arena = program->arena_bytes;
    bool none = !driver->scratch && !arena.fixed && !arena.per_n;
    if (!none) driver->workspace = (SelfcExtent){arena.fixed + driver->scratch + 2 * DRIVER_ALIGN, arena.per_n};
}

static int64_t driver_most_n(const SelfcProgram *program, SelfcExtent workspace) {
    int64_t most_bytes = workspace.per_n > 1 ? workspace.per_n : 1;
    for (uint32_t i = 0; i < program->input_count + program->output_count; i++) {
        int64_t bytes = dtype_info[program->io[i].dtype].bytes;
        for (int32_t k = 0; k < program->io[i].rank; k++) bytes *= llabs(program->io[i].dim[k]);
        if (bytes > most_bytes) most_bytes = bytes;
    }
    return ((int64_t)1 << 48) / most_bytes;
}

Driver driver_describe(const Manifest *manifest, uint32_t index, const Weights *weights, Arena *arena) {
    const SelfcProgram *program = &manifest->module.programs[index];
    bool reads = driver_reads_weights(program);
    Driver driver = {.wants_weights = reads && !weights->embedded, .embeds_weights = reads && weights->embedded};
    char *symbol = driver_identifier(arena_printf(arena, "%s_%s", manifest->module.name, program->name), arena);
    char *macro = arena_copy(arena, symbol);
    for (char *at = symbol; *at; at++) *at = (char)tolower((unsigned char)*at);
    for (char *at = macro; *at; at++) *at = (char)toupper((unsigned char)*at);
    driver.symbol = symbol;
    driver.macro = macro;
    driver_name_parameters(&driver, program, arena);
    driver_plan_workspace(&driver, manifest, index);
    driver.most_n = driver_most_n(program, driver.workspace);
    return driver;
}

typedef struct {
    const Driver *driver;
    const SelfcProgram *program;
    const Weights *weights;
    const SelfcModule *module;
    LLVMContextRef context;
    LLVMBuilderRef builder;
    LLVMValueRef function, blob;
    LLVMTypeRef i8, i32, i64, pointer;
    LLVMValueRef n, arena, scratch, weight_base; /* values in the function */
    LLVMValueRef args;                           /* array that is filled in for each call */
} Writer;

static LLVMValueRef driver_number(Writer *w, int64_t value) {
    return LLVMConstInt(w->i64, (unsigned long long)value, true);
}

static LLVMValueRef driver_extent(Writer *w, SelfcExtent extent) {
    LLVMValueRef fixed = driver_number(w, extent.fixed);
    if (!extent.per_n) return fixed;
    return LLVMBuildAdd(w->builder, LLVMBuildMul(w->builder, w->n, driver_number(w, extent.per_n), ""), fixed, "");
}

static LLVMValueRef driver_move(Writer *w, LLVMValueRef base, LLVMValueRef bytes) {
    return LLVMBuildGEP2(w->builder, w->i8, base, &bytes, 1, "");
}

static LLVMValueRef driver_round_up(Writer *w, LLVMValueRef bytes) {
    LLVMValueRef more = LLVMBuildAdd(w->builder, bytes, driver_number(w, DRIVER_ALIGN - 1), "");
    return LLVMBuildAnd(w->builder, more, driver_number(w, -DRIVER_ALIGN), "");
}

/* `if (condition) return code;` */
static void driver_return_if(Writer *w, LLVMValueRef condition, int code) {
    LLVMBasicBlockRef fail = LLVMAppendBasicBlockInContext(w->context, w->function, "refuse");
    LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(w->context, w->function, "go_on");
    LLVMBuildCondBr(w->builder, condition, fail, next);
    LLVMPositionBuilderAtEnd(w->builder, fail);
    LLVMBuildRet(w->builder, LLVMConstInt(w->i32, (unsigned)code, false));
    LLVMPositionBuilderAtEnd(w->builder, next);
}

/* Is the pointer NULL or not a multiple of `align`? */
static LLVMValueRef driver_is_bad(Writer *w, LLVMValueRef pointer, int64_t align) {
    LLVMValueRef bits = LLVMBuildPtrToInt(w->builder, pointer, w->i64, "");
    LLVMValueRef bad = LLVMBuildICmp(w->builder, LLVMIntEQ, bits, driver_number(w, 0), "");
    if (align == 1) return bad;
    LLVMValueRef rest = LLVMBuildAnd(w->builder, bits, driver_number(w, align - 1), "");
    return LLVMBuildOr(w->builder, bad, LLVMBuildICmp(w->builder, LLVMIntNE, rest, driver_number(w, 0), ""), "");
}

static void driver_check(Writer *w) {
    const SelfcProgram *program = w->program;
    LLVMBuilderRef b = w->builder;
    LLVMValueRef bad = LLVMBuildICmp(b, LLVMIntEQ, w->n, driver_number(w, 0), "");
    bad = LLVMBuildOr(b, bad, LLVMBuildICmp(b, LLVMIntUGT, w->n, driver_number(w, w->driver->most_n), ""), "");
    if (program->batch) bad = LLVMBuildICmp(b, LLVMIntNE, w->n, driver_number(w, program->batch), "");
    driver_return_if(w, bad, 1);

    uint32_t count = program->input_count + program->output_count;
    bad = LLVMConstInt(LLVMInt1TypeInContext(w->context), 0, false);
    for (uint32_t i = 0; i < count; i++)
        bad = LLVMBuildOr(b, bad,
                          driver_is_bad(w, LLVMGetParam(w->function, i), dtype_info[program->io[i].dtype].bytes), "");
    if (w->driver->wants_weights)
        bad = LLVMBuildOr(b, bad, driver_is_bad(w, LLVMGetParam(w->function, count), DRIVER_ALIGN), "");
    if (w->driver->workspace.fixed) bad = LLVMBuildOr(b, bad, driver_is_bad(w, LLVMGetLastParam(w->function), 1), "");
    driver_return_if(w, bad, 2);
}

static void driver_find_memory(Writer *w) {
    LLVMValueRef workspace = LLVMGetLastParam(w->function);
    if (w->driver->workspace.fixed) {
        LLVMValueRef start = driver_round_up(w, LLVMBuildPtrToInt(w->builder, workspace, w->i64, ""));
        w->arena = LLVMBuildIntToPtr(w->builder, start, w->pointer, "arena");
        w->scratch = driver_move(w, w->arena, driver_round_up(w, driver_extent(w, w->program->arena_bytes)));
    } else {
        w->arena = w->scratch = LLVMConstNull(w->pointer);
    }
    w->weight_base = w->driver->wants_weights
                         ? LLVMGetParam(w->function, w->program->input_count + w->program->output_count)
                         : w->blob;
}

static int64_t driver_weight_offset(Writer *w, int64_t offset) {
    for (uint32_t i = 0; i < w->module->state_count; i++)
        if (w->module->states[i].offset == offset) return w->weights->offset[i];
    BUG("no state at %lld", (long long)offset);
}

static int64_t driver_prepared_offset(Writer *w, int64_t offset) {
    const Prepared *prepared = &w->weights->prepared[w->program - w->module->programs];
    for (uint32_t i = 0; i < prepared->count; i++)
        if (prepared->parts[i].from == offset) return prepared->parts[i].to;
    BUG("nothing is prepared at %lld", (long long)offset);
}

static LLVMValueRef driver_argument(Writer *w, const SelfcArg *arg) {
    if (arg->base == 0)
        return driver_move(w, w->weight_base, driver_number(w, driver_weight_offset(w, arg->offset.fixed)));
    if (arg->base == SELFC_PREPARED)
        return driver_move(w, w->weight_base, driver_number(w, driver_prepared_offset(w, arg->offset.fixed)));
    if (arg->base == 1) return driver_move(w, w->arena, driver_extent(w, arg->offset));
    return LLVMGetParam(w->function, arg->base - 2);
}

/* The product over the cut axes of ceil(extent / block). */
static LLVMValueRef driver_pieces(Writer *w, const SelfcCall *call) {
    LLVMValueRef pieces = driver_number(w, 1);
    for (uint32_t i = 0; i < call->grid_rank; i++) {
        const SelfcGridAxis *axis = &call->grid[i];
        if (!axis->block) continue;
        SelfcExtent extent = axis->extent < 0 ? (SelfcExtent){axis->block - 1, -axis->extent}
                                              : (SelfcExtent){axis->extent + axis->block - 1, 0};
        LLVMValueRef blocks = LLVMBuildUDiv(w->builder, driver_extent(w, extent), driver_number(w, axis->block), "");
        pieces = LLVMBuildMul(w->builder, pieces, blocks, "");
    }
    return pieces;
}

static void driver_call(Writer *w, const SelfcCall *call, LLVMValueRef kernel) {
    for (uint32_t i = 0; i < call->arg_count; i++) {
        LLVMValueRef index = driver_number(w, i);
        LLVMValueRef place = LLVMBuildGEP2(w->builder, w->pointer, w->args, &index, 1, "");
        LLVMBuildStore(w->builder, driver_argument(w, &call->args[i]), place);
    }
    LLVMValueRef values[] = {w->args, w->n, driver_number(w, 0), driver_pieces(w, call), w->scratch};
    LLVMBuildCall2(w->builder, LLVMGlobalGetValueType(kernel), kernel, values, 5, "");
}

static void driver_open(Writer *w, LLVMModuleRef module) {
    Arena *arena = arena_new();
    uint32_t count = 0, io = w->program->input_count + w->program->output_count;
    LLVMTypeRef *parameters = arena_array(arena, LLVMTypeRef, io + 3);
    while (count < io) parameters[count++] = w->pointer;
    if (w->driver->wants_weights) parameters[count++] = w->pointer;
    parameters[count++] = w->i64;
    parameters[count++] = w->pointer;
    w->function = LLVMAddFunction(module, w->driver->symbol, LLVMFunctionType(w->i32, parameters, count, false));
    w->n = LLVMGetParam(w->function, count - 2);
    arena_free(arena);
    compile_mark(w->function);
    LLVMPositionBuilderAtEnd(w->builder, LLVMAppendBasicBlockInContext(w->context, w->function, "start"));
}

void driver_emit(const Driver *driver, const Manifest *manifest, uint32_t index, const Weights *weights,
                 LLVMValueRef blob, LLVMValueRef const *functions, LLVMModuleRef module) {
    LLVMContextRef context = LLVMGetModuleContext(module);
    Writer w = {
        .driver = driver,
        .program = &manifest->module.programs[index],
        .weights = weights,
        .module = &manifest->module,
        .context = context,
        .builder = LLVMCreateBuilderInContext(context),
        .blob = blob,
        .i8 = LLVMInt8TypeInContext(context),
        .i32 = LLVMInt32TypeInContext(context),
        .i64 = LLVMInt64TypeInContext(context),
        .pointer = LLVMPointerTypeInContext(context, 0),
    };
    driver_open(&w, module);
    uint32_t most_args = 1;
    for (uint32_t i = 0; i < w.program->call_count; i++)
        if (w.program->calls[i].arg_count > most_args) most_args = w.program->calls[i].arg_count;
    w.args = LLVMBuildAlloca(w.builder, LLVMArrayType2(w.pointer, most_args), "args");
    driver_check(&w);
    driver_find_memory(&w);
    for (uint32_t i = 0; i < w.program->call_count; i++)
        driver_call(&w, &w.program->calls[i], functions[manifest->kernel_of[index][i]]);
    LLVMBuildRet(w.builder, LLVMConstInt(w.i32, 0, false));
    LLVMDisposeBuilder(w.builder);
}
