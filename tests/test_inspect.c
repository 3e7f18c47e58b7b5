/* What is read from machine code: spills against the compiler's own notes in the assembly, for each kind of vector;
 * a kernel that has more sums than there are registers spills in its loop, and micro-kernels of products do not. And
 * names of functions in objects. */
#include "backend/code.h"
#include "ir/build.h"
#include "tests/backend_fixture.h"

#include <llvm-c/TargetMachine.h>

static uint64_t state = 5;

static int64_t pick(int64_t least, int64_t most) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return least + (int64_t)((state >> 33) % (uint64_t)(most - least + 1));
}

static Program *lower(Graph *graph, const Target *target) {
    PipelineOptions options = {.machine = target->machine};
    Graph *stopped = NULL;
    Program *program = NULL;
    pipeline_run(graph, &options, &stopped, &program);
    graph_free(graph);
    return program;
}

static NodeId data(Graph *g, const char *name, int64_t a, int64_t b) {
    return build_input(g, name, INPUT_data, type_make(DTYPE_f32, 2, (Dim[]){a, b}), (Init){0});
}

/* For each row the sums of max(x, i) for 40 numbers i, all in one walk: that many sums fit no processor's registers. */
static Graph *many_sums(void) {
    Graph *g = graph_new("many_sums");
    NodeId x = data(g, "x", pick(20, 40), pick(300, 700)), total = NO_NODE;
    for (int i = 0; i < 40; i++) {
        NodeId sum = build_sum(g, build_binary(g, OP_max, x, build_like(g, x, i * 0.01)), 2);
        NodeId log = build_unary(g, OP_abs, sum);
        total = total == NO_NODE ? log : build_binary(g, OP_mul, total, log);
    }
    graph_add_output(g, "y", total, -1);
    return g;
}

static Graph *product(void) {
    Graph *g = graph_new("product");
    int64_t m = pick(1, 90), n = pick(1, 150), k = pick(1, 300);
    NodeId a = pick(0, 1) ? build_swap_last(g, data(g, "a", k, m)) : data(g, "a", m, k);
    NodeId b = pick(0, 1) ? build_swap_last(g, data(g, "b", n, k)) : data(g, "b", k, n);
    graph_add_output(g, "c", build_matmul(g, a, b), -1);
    return g;
}

static bool has_vector(const char *line, const Target *target) {
    if (!strncmp(target->triple, "aarch64", 7)) return strstr(line, "\tq") != NULL;
    return strstr(line, "%xmm") || strstr(line, "%ymm") || strstr(line, "%zmm");
}

/* Lines of the assembly that LLVM itself calls a spill or a reload of a vector; a pair of registers counts twice. */
static uint32_t noted_spills(const Kernel *kernel, const Target *target) {
    char *error = NULL;
    double seconds[2];
    LLVMTargetMachineRef machine = target_llvm(target, &error);
    LLVMSetTargetMachineAsmVerbosity(machine, true);
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = compile_module(kernel, target, machine, context, "kernel", seconds, &error);
    if (!module) die("%s", error);
    LLVMMemoryBufferRef text = compile_generate(module, machine, LLVMAssemblyFile, &error);
    if (!text) die("%s", error);
    char *copy = strndup(LLVMGetBufferStart(text), LLVMGetBufferSize(text)), *rest = copy;
    uint32_t count = 0;
    for (char *line; (line = strsep(&rest, "\n"));)
        if ((strstr(line, "Spill") || strstr(line, "Reload")) && has_vector(line, target))
            count += strstr(line, "stp\tq") || strstr(line, "ldp\tq") ? 2 : 1;
    free(copy);
    LLVMDisposeMemoryBuffer(text);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    LLVMDisposeTargetMachine(machine);
    return count;
}

static Inspection inspect_kernel(const Kernel *kernel, const Target *target) {
    Code code;
    Diag diag;
    diag_init(&diag);
    compile_prepare(&code, kernel, target);
    if (!compile_all(&code, 1, target, &(CompileOptions){.threads = 1}, &diag)) die("%s", diag.text);
    diag_free(&diag);
    Inspection seen =
        inspect_object(LLVMGetBufferStart(code.object), LLVMGetBufferSize(code.object), code.symbol, target);
    LLVMDisposeMemoryBuffer(code.object);
    return seen;
}

static Inspection check_kernel(const Kernel *kernel, const Target *target) {
    Inspection seen = inspect_kernel(kernel, target);
    EXPECT(seen.instructions > 20 && seen.inner_instructions > 0 && seen.inner_instructions < seen.instructions,
           "%s for %s: %u instructions, %u in inner loops", kernel->name, target->cpu, seen.instructions,
           seen.inner_instructions);
    EXPECT(seen.inner_stores <= seen.stores && seen.inner_loads <= seen.loads && seen.code_bytes >= seen.instructions,
           "%s for %s: the parts are more than the whole", kernel->name, target->cpu);
    return seen;
}

/* Sums that stay in the frame are no spills to LLVM, but cost as much: at least what it notes must be seen. */
static void check_many_sums(const Target *target) {
    Program *program = lower(many_sums(), target);
    EXPECT(program->kernel_count == 1, "%u kernels", program->kernel_count);
    Inspection seen = check_kernel(&program->kernels[0], target);
    uint32_t noted = noted_spills(&program->kernels[0], target);
    EXPECT(seen.stores + seen.loads >= noted && noted > 20,
           "%s: %u stores and %u loads seen, LLVM notes %u",
           target->cpu, seen.stores, seen.loads, noted);
    EXPECT(seen.inner_stores > 2 && seen.inner_loads > 2, "%s: %u stores and %u loads in inner loops", target->cpu,
           seen.inner_stores, seen.inner_loads);
    program_free(program);
}

/* Micro-kernels of products keep their tile in registers. Where the right operand is not packed, LLVM makes the mask of
 * the last vector anew in each step, which takes a register or two; and on AArch64 it moves a few of the accumulators
 * around. Little, and not more than that. */
static void check_product(const Kernel *kernel, const Target *target) {
    Inspection seen = check_kernel(kernel, target);
    uint32_t noted = noted_spills(kernel, target), inner = seen.inner_stores + seen.inner_loads;
    uint32_t allowed = kernel->pack_b ? (target->machine.has_masks ? 0 : 2) : 4;
    if (!strncmp(target->triple, "aarch64", 7)) allowed = 8;
    EXPECT(seen.stores + seen.loads == noted, "%s for %s: %u stores and %u loads seen, LLVM notes %u", kernel->name,
           target->cpu, seen.stores, seen.loads, noted);
    EXPECT(inner <= allowed, "%s for %s, %lld x %lld: %u stores and %u loads in inner loops", kernel->name, target->cpu,
           (long long)kernel->grid.axis[0].extent, (long long)kernel->grid.axis[1].extent, seen.inner_stores,
           seen.inner_loads);
}

static void check_spills(const Target *target) {
    check_many_sums(target);
    for (int i = 0; i < 15; i++) {
        Program *program = lower(product(), target);
        for (uint32_t k = 0; k < program->kernel_count; k++)
            if (program->kernels[k].kind == KERNEL_contract) check_product(&program->kernels[k], target);
        program_free(program);
    }
}

static void check_names(const Target *target) {
    static const char name[] = "stage1.0.narrow.conv+3 forward matmul_add_max";
    Code code;
    Diag diag;
    diag_init(&diag);
    Program *program = lower(many_sums(), target);
    compile_prepare(&code, &program->kernels[0], target);
    if (!compile_all(&code, 1, target, &(CompileOptions){.threads = 1}, &diag)) die("%s", diag.text);
    size_t size, new_size;
    const char *bytes = LLVMGetBufferStart(code.object);
    const void *function = elf_function(bytes, LLVMGetBufferSize(code.object), code.symbol, &size);
    EXPECT(function && size > 100, "the function's code is not found in the object");
    EXPECT(!elf_rename(code.object, "nobody", name), "what is not there was renamed");
    LLVMMemoryBufferRef renamed = elf_rename(code.object, code.symbol, name);
    EXPECT(renamed, "the function cannot be renamed");
    if (renamed) {
        const char *copy = LLVMGetBufferStart(renamed);
        const void *found = elf_function(copy, LLVMGetBufferSize(renamed), name, &new_size);
        EXPECT(found && new_size == size && !memcmp(found, function, size), "the renamed function is another one");
        EXPECT(!elf_function(copy, LLVMGetBufferSize(renamed), code.symbol, &new_size) && !new_size,
               "the old name is still there");
        LLVMDisposeMemoryBuffer(renamed);
    }
    /* A file that was cut off anywhere is read without reading beyond it. */
    for (size_t cut = 0; cut < LLVMGetBufferSize(code.object); cut += (size_t)pick(1, 40)) {
        char *part = malloc(cut ? cut : 1);
        memcpy(part, bytes, cut);
        elf_function(part, cut, code.symbol, &new_size);
        EXPECT(new_size == 0 || new_size == size, "cut at %zu: a function of %zu bytes", cut, new_size);
        free(part);
    }
    LLVMDisposeMemoryBuffer(code.object);
    program_free(program);
    diag_free(&diag);
}

int main(void) {
    static const char *const targets[][2] = {{"x86_64", "x86-64-v4"}, {"x86_64", "x86-64-v3"}, {"aarch64", NULL}};
    Arena *arena = arena_new();
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        Target target = fixture_target(arena, targets[i][0], targets[i][1]);
        check_spills(&target);
        check_names(&target);
    }
    arena_free(arena);
    if (!failures) puts("test_inspect: everything as it should be");
    return failures != 0;
}
