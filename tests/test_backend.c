/* The JIT against the evaluator on small programs; the cache of machine code against loss, damage and malice; and
 * which targets there are. */
#include "tests/backend_fixture.h"
#include "backend/code.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *const all_texts[] = {fixture_step, fixture_scale, fixture_dense, fixture_noise};

static double element(const void *data, int32_t dtype, int64_t index) {
    return dtype == SELFC_f32 ? (double)((const float *)data)[index] : (double)((const int32_t *)data)[index];
}

static double *widen(const void *data, const SelfcTensor *tensor, int64_t n, Arena *arena) {
    int64_t count = selfc_tensor_elements(tensor, n);
    double *values = arena_array(arena, double, count);
    for (int64_t i = 0; i < count; i++) values[i] = element(data, tensor->dtype, i);
    return values;
}

static void compare(const char *what, const void *got, const double *wanted, const SelfcTensor *tensor, int64_t n) {
    for (int64_t i = 0; i < selfc_tensor_elements(tensor, n); i++) {
        double value = element(got, tensor->dtype, i),
               allowed = tensor->dtype == SELFC_f32 ? 2e-6 * (1 + fabs(wanted[i])) : 0;
        EXPECT(fabs(value - wanted[i]) <= allowed, "%s, n=%lld, %s[%lld] is %.9g, not %.9g", what, (long long)n,
               tensor->name, (long long)i, value, wanted[i]);
    }
}

/* Where a program's buffer is for the evaluator: given inputs and states, room for the rest. */
static double **evaluate(const Program *program, const SelfcModule *module, const SelfcProgram *made, void *const *io,
                         const char *state, int64_t n, Arena *arena) {
    double **values = arena_array(arena, double *, program->buffer_count);
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const Buffer *buffer = &program->buffers[b];
        if (buffer->kind == BUFFER_state) {
            const SelfcState *kept = selfc_find_state(module, program->inputs[buffer->index].name);
            values[b] = widen(state + kept->offset, &kept->tensor, 1, arena);
        } else if (buffer->kind == BUFFER_input) {
            for (uint32_t i = 0; i < made->input_count; i++)
                if (strcmp(made->io[i].name, program->inputs[buffer->index].name) == 0)
                    values[b] = widen(io[i], &made->io[i], n, arena);
        } else {
            values[b] = arena_array(arena, double, dim_at(type_elements(buffer->type), n));
        }
    }
    program_eval(program, n, values, arena);
    return values;
}

static void check_program(const Program *program, const SelfcModule *module, SelfcSession *session, int64_t n) {
    Arena *arena = arena_new();
    const SelfcProgram *made = selfc_find_program(module, program->name);
    void **io = fixture_io(made, n, arena);
    double **values = evaluate(program, module, made, io, session->state, n, arena);
    fixture_run(module, session, program->name, io, n);
    uint32_t plain = 0;
    for (uint32_t i = 0; i < program->output_count; i++) {
        const GraphOutput *output = &program->outputs[i];
        if (output->updates < 0) {
            const SelfcTensor *tensor = &made->io[made->input_count + plain];
            EXPECT(strcmp(tensor->name, output->name) == 0, "output %u is %s, not %s", i, tensor->name, output->name);
            compare(program->name, io[made->input_count + plain++], values[output->node], tensor, n);
        } else {
            const SelfcState *kept = selfc_find_state(module, program->inputs[output->updates].name);
            compare(program->name, (char *)session->state + kept->offset, values[output->node], &kept->tensor, 1);
        }
    }
    arena_free(arena);
}

static void test_jit_against_evaluator(const Target *target) {
    Fixture fixture;
    Diag diag;
    diag_init(&diag);
    fixture_make(&fixture, target, all_texts, 4);
    Jit *jit = jit_compile(&fixture.input, target, &(CompileOptions){0}, &diag);
    EXPECT(jit, "%s", diag.text);
    if (jit) {
        const SelfcModule *module = jit_module(jit);
        EXPECT(module->state_count == 5, "w, count, w1, b1, w2 are %u states", module->state_count);
        SelfcSession *session = selfc_session_new(module, 2, 42);
        if (!session) die("%s", selfc_failure());
        static const int64_t sizes[] = {1, 2, 3, 16, 17, 100};
        for (int step = 0; step < 3; step++) check_program(fixture.programs[0], module, session, 5);
        for (int i = 0; i < 6; i++)
            for (int k = 1; k < 4; k++) check_program(fixture.programs[k], module, session, sizes[i]);
        selfc_session_free(session);
    }
    jit_free(jit);
    fixture_free(&fixture);
    diag_free(&diag);
}

typedef struct {
    char names[64][300];
    uint32_t count;
} Listing;

static Listing list_folder(const char *folder) {
    Listing listing = {.count = 0};
    DIR *handle = opendir(folder);
    for (struct dirent *item; handle && (item = readdir(handle)) && listing.count < 64;)
        if (item->d_name[0] != '.')
            snprintf(listing.names[listing.count++], sizeof listing.names[0], "/%s", item->d_name);
    if (handle) closedir(handle);
    return listing;
}

/* Compiles with the cache and runs; true if the result is right. */
static bool works_with_cache(Fixture *fixture, const Target *target, const char *cache) {
    Diag diag;
    diag_init(&diag);
    Jit *jit = jit_compile(&fixture->input, target, &(CompileOptions){.cache = cache, .threads = 2}, &diag);
    EXPECT(jit, "%s", diag.text);
    int before = failures;
    if (jit) {
        SelfcSession *session = selfc_session_new(jit_module(jit), 1, 1);
        check_program(fixture->programs[1], jit_module(jit), session, 7);
        selfc_session_free(session);
    }
    jit_free(jit);
    diag_free(&diag);
    return jit && failures == before;
}

typedef void Damage(const char *path);
static void damage_empty(const char *path) { EXPECT(truncate(path, 0) == 0, "%s", path); }
static void damage_cut(const char *path) { EXPECT(truncate(path, 200) == 0, "%s", path); }
static void damage_remove(const char *path) { unlink(path); }
static void damage_folder(const char *path) {
    unlink(path);
    mkdir(path, 0700);
}
static void damage_link(const char *path) {
    unlink(path);
    EXPECT(symlink("/dev/zero", path) == 0, "%s", path);
}
static void damage_pipe(const char *path) {
    unlink(path);
    mkfifo(path, 0600);
}
static void damage_bit(const char *path) {
    FILE *file = fopen(path, "r+b");
    if (!file) return;
    fseek(file, 70, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, 70, SEEK_SET);
    fputc(byte ^ 4, file);
    fclose(file);
}

static void test_cache(const Target *target) {
    Arena *arena = arena_new();
    Fixture fixture;
    fixture_make(&fixture, target, (const char *const[]){fixture_step, fixture_scale}, 2);
    const char *folder = fixture_folder(arena), *cache = arena_printf(arena, "%s/deep/cache", folder);
    EXPECT(works_with_cache(&fixture, target, cache), "cold");
    Listing cold = list_folder(cache);
    EXPECT(cold.count > 0, "nothing was stored");
    EXPECT(works_with_cache(&fixture, target, cache), "warm");
    EXPECT(list_folder(cache).count == cold.count, "a warm start stored something");

    static Damage *const damages[] = {damage_empty, damage_cut,    damage_bit,   damage_link,
                                      damage_pipe,  damage_remove, damage_folder};
    for (size_t d = 0; d < sizeof damages / sizeof damages[0]; d++) {
        for (uint32_t i = 0; i < cold.count; i++) damages[d](arena_printf(arena, "%s%s", cache, cold.names[i]));
        EXPECT(works_with_cache(&fixture, target, cache), "after damage %zu", d);
    }
    EXPECT(works_with_cache(&fixture, target, "/proc/no/such/place"), "a cache that cannot be written");
    fixture_remove(folder);
    fixture_free(&fixture);
    arena_free(arena);
}

/* Files that pass every check of the cache and are no objects, or have not the function that is expected. */
static void test_cache_lies(const Target *target) {
    Arena *arena = arena_new();
    Fixture fixture;
    fixture_make(&fixture, target, (const char *const[]){fixture_step, fixture_scale}, 2);
    const char *cache = fixture_folder(arena);
    for (int lie = 0; lie < 2; lie++) {
        LLVMMemoryBufferRef other = NULL;
        for (uint32_t i = 0; i < fixture.programs[1]->kernel_count; i++) {
            Code code, real;
            compile_prepare(&code, &fixture.programs[1]->kernels[i], target);
            compile_prepare(&real, &fixture.programs[0]->kernels[0], target);
            if (lie) other = cache_load(cache, real.key);
            EXPECT(!lie || other, "the step's kernel is in the cache");
            if (other)
                cache_store(cache, code.key, LLVMGetBufferStart(other), LLVMGetBufferSize(other));
            else
                cache_store(cache, code.key, "\177ELF no object at all, but long enough to look at", 50);
            if (other) LLVMDisposeMemoryBuffer(other);
        }
        EXPECT(works_with_cache(&fixture, target, cache), "lie %d", lie);
        EXPECT(works_with_cache(&fixture, target, cache), "after lie %d", lie);
    }
    fixture_remove(cache);
    fixture_free(&fixture);
    arena_free(arena);
}

static void test_cache_trim(void) {
    Arena *arena = arena_new();
    const char *cache = fixture_folder(arena);
    uint8_t key[CODE_KEY_BYTES] = {0};
    char bytes[1000] = {0};
    for (uint8_t i = 0; i < 10; i++) {
        key[0] = i;
        cache_store(cache, key, bytes, sizeof bytes);
    }
    FILE *foreign = fopen(arena_printf(arena, "%s/notes.txt", cache), "w");
    if (foreign) fclose(foreign);
    const char *old = arena_printf(arena, "%s/%064d.selfc.o.1-2.tmp", cache, 0);
    FILE *left = fopen(old, "w");
    if (left) fclose(left);
    utimensat(AT_FDCWD, old, (const struct timespec[]){{1000, 0}, {1000, 0}}, 0);
    cache_trim(cache, 5000);
    EXPECT(list_folder(cache).count == 5, "%u files are left of 4 that fit and a foreign one",
           list_folder(cache).count);
    key[0] = 77;
    EXPECT(!cache_load(cache, key), "what was never stored");
    fixture_remove(cache);
    arena_free(arena);
}

static void expect_no_target(const char *triple, const char *cpu, const char *word) {
    Arena *arena = arena_new();
    Diag diag;
    Target target;
    diag_init(&diag);
    EXPECT(!target_make(triple, cpu, arena, &target, &diag), "%s %s", triple ? triple : "", cpu ? cpu : "");
    EXPECT(diag.text && strstr(diag.text, word), "%s is not in: %s", word, diag.text ? diag.text : "");
    diag_free(&diag);
    arena_free(arena);
}

static void test_targets(const Target *host) {
    Arena *arena = arena_new();
    EXPECT(host->is_host && host->machine.vector_bytes >= 16 && host->machine.l1 >= 4096, "the host");
    static const struct {
        const char *triple, *cpu;
        uint32_t vector_bytes, registers;
    } known[] = {
        {"x86_64", NULL, 16, 16},        {"x86_64-linux-gnu", "x86-64-v2", 16, 16}, {"x86_64", "x86-64-v3", 32, 16},
        {"x86_64", "x86-64-v4", 64, 32}, {"aarch64-linux-gnu", NULL, 16, 32},       {"arm64", "neoverse-n1", 16, 32}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        Target target = fixture_target(arena, known[i].triple, known[i].cpu);
        EXPECT(target.machine.vector_bytes == known[i].vector_bytes && target.machine.registers == known[i].registers,
               "%s %s", known[i].triple, target.cpu);
        char *error = NULL;
        LLVMTargetMachineRef machine = target_llvm(&target, &error);
        EXPECT(machine, "%s", error);
        if (machine) LLVMDisposeTargetMachine(machine);
    }
    expect_no_target("x86_64", "x86-64-v5", "x86-64-v4");
    expect_no_target("aarch64-linux-gnu", "x86-64-v3", "neoverse");
    expect_no_target("x86_64-pc-windows-msvc", NULL, "ELF");
    expect_no_target("vax-dec-ultrix", NULL, "aarch64");
    expect_no_target("", NULL, "x86_64");
    expect_no_target(NULL, "", "x86");
    arena_free(arena);
}

/* Code that cannot run here is refused, not run. */
static void test_foreign_jit(void) {
    Arena *arena = arena_new();
    Target target = fixture_target(arena, "aarch64-linux-gnu", NULL);
    Fixture fixture;
    Diag diag;
    diag_init(&diag);
    fixture_make(&fixture, &target, (const char *const[]){fixture_scale}, 1);
#if defined(__x86_64__)
    EXPECT(!jit_compile(&fixture.input, &target, &(CompileOptions){0}, &diag) && diag.errors == 1, "aarch64 ran here");
#endif
    fixture_free(&fixture);
    diag_free(&diag);
    arena_free(arena);
}

static void test_states_must_agree(const Target *target) {
    static const char other[] = "graph \"other\"\n"
                                "%0 = input 0 \"w\" parameter uniform(-1,1) : f32[4]\n"
                                "%1 = neg %0 : f32[4]\n"
                                "output \"y\" %1\n";
    Fixture fixture;
    Diag diag;
    Arena *arena = arena_new();
    diag_init(&diag);
    fixture_make(&fixture, target, (const char *const[]){fixture_scale, other}, 2);
    EXPECT(!manifest_module(&fixture.input, target, arena, &diag) && strstr(diag.text, "'w'"), "two types of w");
    fixture_free(&fixture);
    diag_free(&diag);
    arena_free(arena);
}

/* What LLVM cannot select ends the process with a message and exit code 1, not with a core file. */
static void test_llvm_gives_up(void) {
    int ends[2];
    if (pipe(ends) != 0) die("no pipe");
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        Arena *arena = arena_new();
        Target target = fixture_target(arena, "x86_64", "x86-64");
        char *error = NULL;
        LLVMContextRef context = LLVMContextCreate();
        LLVMModuleRef module = LLVMModuleCreateWithNameInContext("impossible", context);
        LLVMTypeRef wide = LLVMVectorType(LLVMFloatTypeInContext(context), 16);
        LLVMTypeRef half = LLVMVectorType(LLVMBFloatTypeInContext(context), 16);
        LLVMValueRef function = LLVMAddFunction(module, "f", LLVMFunctionType(half, &wide, 1, false));
        LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
        LLVMPositionBuilderAtEnd(builder, LLVMAppendBasicBlockInContext(context, function, "entry"));
        LLVMValueRef x = LLVMGetParam(function, 0);
        const char *name = "llvm.x86.avx512bf16.cvtneps2bf16.512";
        LLVMValueRef intrinsic =
            LLVMGetIntrinsicDeclaration(module, LLVMLookupIntrinsicID(name, strlen(name)), NULL, 0);
        LLVMBuildRet(builder, LLVMBuildCall2(builder, LLVMGlobalGetValueType(intrinsic), intrinsic, &x, 1, ""));
        compile_generate(module, target_llvm(&target, &error), LLVMObjectFile, &error);
        _exit(77);
    }
    close(ends[1]);
    char said[4096] = "";
    for (size_t got = 0; got < sizeof said - 1;) {
        ssize_t more = read(ends[0], said + got, sizeof said - 1 - got);
        if (more <= 0) break;
        got += (size_t)more;
    }
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %x", (unsigned)status);
    EXPECT(strstr(said, "error: LLVM cannot make this code"), "it said: %s", said);
}

static void test_show(const Target *target) {
    for (int assembly = 0; assembly < 2; assembly++) {
        Program *program = fixture_program(fixture_dense, target);
        char *text = NULL;
        size_t size = 0;
        Diag diag;
        diag_init(&diag);
        FILE *out = open_memstream(&text, &size);
        EXPECT(show_code(program, target, assembly, out, &diag), "%s", diag.text);
        fclose(out);
        EXPECT(strstr(text, assembly ? "\tret" : "define "), "no code in %.200s", text);
        EXPECT(strstr(text, program->kernels[0].name), "no heading");
        free(text);
        diag_free(&diag);
        program_free(program);
    }
}

int main(void) {
    Arena *arena = arena_new();
    Target host = fixture_target(arena, NULL, NULL);
    static const char *const levels[] = {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"};
    test_jit_against_evaluator(&host);
    for (int i = 0; i < 4; i++) {
        Target level;
        Diag diag;
        diag_init(&diag);
        if (target_make("x86_64-linux-gnu", levels[i], arena, &level, &diag) && level.is_host)
            test_jit_against_evaluator(&level);
        diag_free(&diag);
    }
    test_cache(&host);
    test_cache_lies(&host);
    test_cache_trim();
    test_targets(&host);
    test_foreign_jit();
    test_states_must_agree(&host);
    test_llvm_gives_up();
    test_show(&host);
    arena_free(arena);
    return failures != 0;
}
