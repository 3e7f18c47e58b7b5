/* Built files: that objects need nothing, that what they compute has the JIT's bits, that headers compile, that a
 * program's constants say what the JIT's manifest says, and that nothing half-written is left behind.
 * Needs a C compiler and nm, as a user of the files does. */
#include "tests/backend_fixture.h"
#include "tests/module_dump.h"

#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

typedef struct {
    Arena *arena;
    Target target;
    Fixture fixture;
    Jit *jit;
    SelfcSession *session;
    const char *folder;
} World;

static const char *const texts[] = {fixture_scale, fixture_dense, fixture_noise};
enum { FUNCTIONS = 3 };

static int run(const char *command) {
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *path_of(const World *world, const char *name) {
    return arena_printf(world->arena, "%s/%s", world->folder, name);
}

static void world_open(World *world) {
    Diag diag;
    diag_init(&diag);
    world->arena = arena_new();
    world->target = fixture_target(world->arena, NULL, NULL);
    fixture_make(&world->fixture, &world->target, texts, FUNCTIONS);
    world->jit = jit_compile(&world->fixture.input, &world->target, &(CompileOptions){0}, &diag);
    if (!world->jit) die("%s", diag.text);
    world->session = selfc_session_new(jit_module(world->jit), 1, 3);
    world->folder = fixture_folder(world->arena);
    diag_free(&diag);
}

static void world_close(World *world) {
    fixture_remove(world->folder);
    selfc_session_free(world->session);
    jit_free(world->jit);
    fixture_free(&world->fixture);
    arena_free(world->arena);
}

typedef enum { WEIGHTS_embedded, WEIGHTS_beside, WEIGHTS_later } WhereWeights;

static void build_for(World *world, const Target *target, BuildKind kind, const char *name, WhereWeights where) {
    Diag diag;
    diag_init(&diag);
    BuildOptions options = {
        .kind = kind,
        .out = path_of(world, name),
        .weights = where == WEIGHTS_later ? NULL : world->session->state,
        .layout = jit_module(world->jit),
        .weights_beside = where == WEIGHTS_beside,
    };
    EXPECT(build_write(&world->fixture.input, target, &options, &diag), "%s: %s", name, diag.text ? diag.text : "");
    diag_free(&diag);
}

static void build(World *world, BuildKind kind, const char *name, WhereWeights where) {
    build_for(world, &world->target, kind, name, where);
}

/* The functions as their headers declare them; `weights` is passed where it is not embedded. */
static int call(void *library, const char *name, void *const *io, const void *weights, size_t n, void *workspace) {
    char symbol[64];
    snprintf(symbol, sizeof symbol, "small_model_%s", name);
    void *address = dlsym(library, symbol);
    EXPECT(address, "%s", symbol);
    if (!address) return -1;
    if (strcmp(name, "noise") == 0)
        return ((int (*)(void *, void *, void *, void *, size_t, void *))address)(io[0], io[1], io[2], io[3], n,
                                                                                  workspace);
    if (strcmp(name, "scale") == 0 && weights)
        return ((int (*)(void *, void *, void *, const void *, size_t, void *))address)(io[0], io[1], io[2], weights, n,
                                                                                        workspace);
    if (strcmp(name, "scale") == 0)
        return ((int (*)(void *, void *, void *, size_t, void *))address)(io[0], io[1], io[2], n, workspace);
    if (weights)
        return ((int (*)(void *, void *, const void *, size_t, void *))address)(io[0], io[1], weights, n, workspace);
    return ((int (*)(void *, void *, size_t, void *))address)(io[0], io[1], n, workspace);
}

/* One function, one batch: the JIT and the library on equal inputs, with a workspace of exactly the bytes that the
 * header's macro asks for, at an odd address. */
static void compare_with_jit(World *world, void *library, uint32_t index, const void *weights, int64_t n,
                             size_t workspace_bytes) {
    Arena *arena = arena_new();
    const SelfcModule *module = jit_module(world->jit);
    const SelfcProgram *program = &module->programs[index];
    void **wanted = fixture_io(program, n, arena), **got = fixture_io(program, n, arena);
    char *workspace = malloc(workspace_bytes + 1);
    fixture_run(module, world->session, program->name, wanted, n);
    int code = call(library, program->name, got, weights, (size_t)n, workspace + 1);
    EXPECT(code == 0, "%s returns %d", program->name, code);
    for (uint32_t i = program->input_count; i < program->input_count + program->output_count; i++)
        EXPECT(memcmp(wanted[i], got[i], selfc_tensor_bytes(&program->io[i], n)) == 0,
               "%s differs from the JIT at n=%lld in %s", program->name, (long long)n, program->io[i].name);
    free(workspace);
    arena_free(arena);
}

/* Bytes that MACRO(n) stands for, asked of the C compiler, which also checks the header. */
static size_t workspace_of(World *world, const char *header, const char *name, int64_t n) {
    char macro[64];
    snprintf(macro, sizeof macro, "SMALL_MODEL_%s_WORKSPACE", name);
    for (char *at = macro; *at; at++)
        if (*at >= 'a' && *at <= 'z') *at = (char)(*at - 32);
    const char *source = path_of(world, "ask.c"), *program = path_of(world, "ask"), *answer = path_of(world, "answer");
    FILE *out = fopen(source, "w");
    if (!out) die("cannot write %s", source);
    fprintf(out, "#include \"%s\"\n#include <stdio.h>\nint main(void) { printf(\"%%zu\\n\", %s(%lld)); return 0; }\n",
            header, macro, (long long)n);
    fclose(out);
    EXPECT(run(arena_printf(world->arena, "cc -std=c99 -Wall -Wextra -Werror -o %s %s && %s > %s", program, source,
                            program, answer)) == 0,
           "%s", header);
    size_t size;
    char *text = fixture_read(answer, &size, world->arena);
    return text ? (size_t)strtoull(text, NULL, 10) : 0;
}

static void compare_library(World *world, void *library, const char *header, const void *weights) {
    static const int64_t sizes[] = {1, 5, 37};
    for (uint32_t f = 0; f < FUNCTIONS; f++)
        for (int i = 0; i < 3; i++) {
            const char *name = jit_module(world->jit)->programs[f].name;
            compare_with_jit(world, library, f, weights, sizes[i], workspace_of(world, header, name, sizes[i]));
        }
}

static void *open_library(World *world, const char *name) {
    void *library = dlopen(path_of(world, name), RTLD_NOW | RTLD_LOCAL);
    if (!library) die("%s", dlerror());
    return library;
}

static void test_shared_embedded(World *world) {
    build(world, BUILD_shared, "lib.so", WEIGHTS_embedded);
    void *library = open_library(world, "lib.so");
    compare_library(world, library, "lib.h", NULL);

    const SelfcProgram *scale = &jit_module(world->jit)->programs[0];
    void **io = fixture_io(scale, 5, world->arena), *none[3] = {io[0], NULL, io[2]},
         *odd[3] = {io[0], (char *)io[1] + 1, io[2]};
    char workspace[4096];
    EXPECT(call(library, "scale", io, NULL, 0, workspace) == 1, "n = 0");
    EXPECT(call(library, "scale", io, NULL, SIZE_MAX, workspace) == 1, "a huge n");
    EXPECT(call(library, "scale", none, NULL, 5, workspace) == 2, "NULL as an output");
    EXPECT(call(library, "scale", odd, NULL, 5, workspace) == 2, "an output at an odd address");
    const SelfcProgram *dense = &jit_module(world->jit)->programs[1];
    EXPECT(call(library, "dense", fixture_io(dense, 5, world->arena), NULL, 5, NULL) == 2, "NULL as workspace");
    dlclose(library);
}

static void test_weights_beside(World *world) {
    build(world, BUILD_shared, "beside.so", WEIGHTS_beside);
    size_t size;
    char *bytes = fixture_read(path_of(world, "beside.weights"), &size, world->arena);
    size_t plain = 64 + 1152 + 192 + 1472; /* and a little where panels are wider than what is in them */
    EXPECT(bytes && size >= plain && size < 2 * plain, "the weights are %zu bytes", size);
    void *aligned = aligned_alloc(64, size);
    memcpy(aligned, bytes, size);
    void *library = open_library(world, "beside.so");
    compare_library(world, library, "beside.h", aligned);
    const SelfcProgram *scale = &jit_module(world->jit)->programs[0];
    EXPECT(call(library, "scale", fixture_io(scale, 5, world->arena), (char *)aligned + 4, 5, NULL) == 2,
           "weights at an odd address");
    dlclose(library);
    free(aligned);
}

/* An object linked by a C compiler, called from C++ as well, and an archive likewise. */
static void test_object_and_archive(World *world) {
    build(world, BUILD_object, "model.o", WEIGHTS_embedded);
    build(world, BUILD_archive, "libmodel.a", WEIGHTS_embedded);
    const char *folder = world->folder;
    EXPECT(run(arena_printf(world->arena, "cd %s && test -z \"$(nm -u model.o)\"", folder)) == 0,
           "the object has undefined symbols");
    EXPECT(run(arena_printf(world->arena, "cd %s && test \"$(nm -g --defined-only model.o | wc -l)\" = %d", folder,
                            FUNCTIONS)) == 0,
           "the object shows more than its functions");
    EXPECT(run(arena_printf(world->arena, "cd %s && test \"$(ar t libmodel.a)\" = Small_Model.o", folder)) == 0,
           "ar t");
    EXPECT(run(arena_printf(world->arena, "cd %s && ar p libmodel.a Small_Model.o | cmp - model.o", folder)) == 0,
           "the archive's object");
    EXPECT(run(arena_printf(world->arena,
                            "cd %s && test \"$(nm -s libmodel.a | grep -c 'small_model_.* in Small_Model.o')\" = 3",
                            folder)) == 0,
           "the archive's table");
    EXPECT(run(arena_printf(world->arena, "cd %s && ! readelf -lW model.o 2>&1 | grep -q RWE", folder)) == 0,
           "writable code");
    const char *out = path_of(world, "use.cc");
    FILE *file = fopen(out, "w");
    if (!file) die("cannot write %s", out);
    fprintf(file,
            "#include \"libmodel.h\"\n#include \"libmodel.h\"\n"
            "int main() { float x[3] = {1, 2, 3}, share[3], total[1];\n"
            "  return small_model_scale(x, share, total, 1, 0) || !(share[0] + share[1] + share[2] > 0.999f); }\n");
    fclose(file);
    EXPECT(
        run(arena_printf(world->arena,
                         "cd %s && cc -x c++ -fsyntax-only use.cc && cc -x c use.cc -x none libmodel.a -o use && ./use",
                         folder)) == 0,
        "a program with the archive");
    EXPECT(run(arena_printf(world->arena, "cd %s && cc -x c use.cc -x none model.o -o use2 && ./use2", folder)) == 0,
           "a program with the object");
    struct stat status;
    EXPECT(stat(path_of(world, "model.o"), &status) == 0 && status.st_size < 64 + 1152 + 192 + 1472 + 32768,
           "%lld bytes", (long long)status.st_size);
}

static void test_texts(World *world) {
    size_t size;
    build(world, BUILD_llvm, "model.ll", WEIGHTS_embedded);
    char *text = fixture_read(path_of(world, "model.ll"), &size, world->arena);
    EXPECT(text && strstr(text, "define i32 @small_model_dense"), "LLVM text");
    EXPECT(text && strstr(text, "\"target-cpu\"=") && strstr(text, "\"target-features\"="),
           "LLVM text for no processor");
    EXPECT(run(arena_printf(world->arena, "cd %s && rm -f model.h", world->folder)) == 0, "the header");
    build(world, BUILD_assembly, "model.s", WEIGHTS_embedded);
    EXPECT(run(arena_printf(world->arena,
                            "cd %s && cc -x c use.cc -x assembler model.s -o use3 && ./use3 && test -s model.h",
                            world->folder)) == 0,
           "a program with the assembly");
    if (run("command -v llc-22 >/dev/null") == 0)
        EXPECT(run(arena_printf(world->arena,
                                "cd %s && llc-22 -relocation-model=pic -o again.s model.ll && "
                                "cc -x c use.cc -x assembler again.s -o use4 && ./use4",
                                world->folder)) == 0,
               "a program with the LLVM text");
}

/* Every processor that can be named: an object without undefined symbols. */
static void test_cross(World *world) {
    static const char *const targets[][2] = {{"x86_64", NULL},
                                             {"x86_64", "x86-64-v2"},
                                             {"x86_64", "x86-64-v3"},
                                             {"x86_64", "x86-64-v4"},
                                             {"x86_64", "sapphirerapids"},
                                             {"aarch64-linux-gnu", NULL},
                                             {"aarch64-none-elf", "cortex-a53"},
                                             {"aarch64-linux-gnu", "neoverse-v1"}};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        World there = *world;
        there.target = fixture_target(world->arena, targets[i][0], targets[i][1]);
        fixture_make(&there.fixture, &there.target, texts, FUNCTIONS);
        build(&there, BUILD_object, "cross.o", WEIGHTS_embedded);
        EXPECT(run(arena_printf(world->arena,
                                "cd %s && nm cross.o > cross.txt && grep -q ' T small_model_dense' cross.txt && ! grep "
                                "-q ' U ' cross.txt",
                                world->folder)) == 0,
               "%s %s", there.target.triple, there.target.cpu);
        fixture_free(&there.fixture);
    }
}

/* What a program prepares, by the evaluator, from the world's weights. */
static double **evaluate_prepared(const World *world, const Program *program) {
    const SelfcModule *module = jit_module(world->jit);
    Program part = *program;
    part.call_count = program->prepare_calls;
    double **values = arena_array(world->arena, double *, program->buffer_count);
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const Buffer *buffer = &program->buffers[b];
        if (buffer->kind != BUFFER_state) continue;
        const SelfcState *state = selfc_find_state(module, program->inputs[buffer->index].name);
        const float *from = (const float *)((const char *)world->session->state + state->offset);
        int64_t elements = type_elements(buffer->type);
        values[b] = arena_array(world->arena, double, elements);
        for (int64_t i = 0; i < elements; i++) values[b][i] = from[i];
    }
    program_eval(&part, 1, values, world->arena);
    return values;
}

/* Panels in a file for a processor that is not here are as that processor's code reads them, and the weights that they
 * are made of do not stand beside them. */
static void test_foreign_panels(World *world) {
    World there = *world;
    there.target = fixture_target(world->arena, "aarch64-linux-gnu", NULL);
    fixture_make(&there.fixture, &there.target, texts, FUNCTIONS);
    build(&there, BUILD_object, "foreign.o", WEIGHTS_beside);
    size_t size;
    char *file = fixture_read(path_of(world, "foreign.weights"), &size, world->arena);
    uint32_t found = 0;
    for (uint32_t p = 0; p < FUNCTIONS; p++) {
        const Program *program = there.fixture.input.programs[p];
        double **values = evaluate_prepared(&there, program);
        for (uint32_t b = 0; b < program->buffer_count; b++) {
            if (program->buffers[b].kind != BUFFER_prepared) continue;
            int64_t elements = type_elements(program->buffers[b].type);
            float *wanted = arena_array(world->arena, float, elements);
            for (int64_t i = 0; i < elements; i++) wanted[i] = (float)values[b][i];
            EXPECT(file && memmem(file, size, wanted, (size_t)elements * sizeof *wanted), "%s: b%u is not in the file",
                   program->name, b);
            found++;
        }
    }
    EXPECT(found, "nothing is prepared");
    const SelfcState *weight = selfc_find_state(jit_module(world->jit), "w1");
    char *text = fixture_read(path_of(world, "foreign.h"), &size, world->arena);
    EXPECT(weight && text && strstr(text, " from w1\n") && !strstr(text, " w1 f32"), "%s", text);
    fixture_free(&there.fixture);
}

static void expect_refused(World *world, const CompileInput *input, BuildKind kind, const char *name,
                           const Target *target, const char *word) {
    Diag diag;
    diag_init(&diag);
    BuildOptions options = {
        .kind = kind, .out = name, .weights = world->session->state, .layout = jit_module(world->jit)};
    EXPECT(!build_write(input, target, &options, &diag), "%s was built", name);
    EXPECT(diag.text && strstr(diag.text, word), "'%s' is not in: %s", word, diag.text ? diag.text : "");
    diag_free(&diag);
}

static void test_refusals(World *world) {
    Fixture step, other;
    fixture_make(&step, &world->target, (const char *const[]){fixture_step}, 1);
    static const char unknown[] =
        "graph \"other\"\n%0 = input 0 \"v\" parameter : f32[4]\n%1 = neg %0 : f32[4]\noutput \"y\" %1\n";
    fixture_make(&other, &world->target, (const char *const[]){unknown}, 1);
    Target arm = fixture_target(world->arena, "aarch64-linux-gnu", NULL);
    const CompileInput *input = &world->fixture.input;

    expect_refused(world, &step.input, BUILD_object, path_of(world, "step.o"), &world->target, "changes its weights");
    expect_refused(world, &other.input, BUILD_object, path_of(world, "other.o"), &world->target, "'v'");
    expect_refused(world, input, BUILD_program, path_of(world, "trainer"), &world->target, "training");
    expect_refused(world, input, BUILD_object, path_of(world, "no/such/folder.o"), &world->target, "No such file");
    const char *path = getenv("PATH");
    char *kept = arena_copy(world->arena, path);
    setenv("PATH", "/nowhere", 1);
    unsetenv("CC");
    expect_refused(world, input, BUILD_shared, path_of(world, "refused.so"), &world->target, "needs a linker");
    expect_refused(world, input, BUILD_shared, path_of(world, "refused.so"), &arm, "aarch64-linux-gnu-gcc");
    setenv("PATH", kept, 1);
    EXPECT(access(path_of(world, "refused.so"), F_OK) != 0 && access(path_of(world, "step.o"), F_OK) != 0,
           "files of refused builds");
    fixture_free(&step);
    fixture_free(&other);
}

/* The same input gives the same bytes. */
static void test_reproducible(World *world) {
    build(world, BUILD_archive, "again.a", WEIGHTS_embedded);
    EXPECT(run(arena_printf(world->arena, "cd %s && cmp again.a libmodel.a && cmp again.h libmodel.h",
                            world->folder)) == 0,
           "two builds differ");
}

/* A disk that is full, as far as a process can see one: no file may grow beyond 1000 bytes. */
static void test_full_disk(World *world) {
    struct rlimit before, little;
    getrlimit(RLIMIT_FSIZE, &before);
    little = (struct rlimit){1000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &little);
    expect_refused(world, &world->fixture.input, BUILD_object, path_of(world, "full.o"), &world->target,
                   "cannot be written");
    expect_refused(world, &world->fixture.input, BUILD_shared, path_of(world, "full.so"), &world->target,
                   "cannot be written");
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    EXPECT(access(path_of(world, "full.o"), F_OK) != 0 && access(path_of(world, "full.h"), F_OK) != 0,
           "half of a build");
}

/* No temporary file may survive, whether a build went well or not. */
static void test_nothing_left(World *world) {
    DIR *folder = opendir(world->folder);
    for (struct dirent *item; folder && (item = readdir(folder));)
        EXPECT(!strstr(item->d_name, ".tmp"), "%s was left", item->d_name);
    if (folder) closedir(folder);
}

/* A training program against a runtime that only prints the manifest it was given. */
static void test_program_constants(World *world) {
    static const SelfcDataSpec data[] = {{"x", "idx", NULL, "image"}};
    static const char *const reports[] = {"loss", "kl"};
    Fixture fixture;
    Diag diag;
    diag_init(&diag);
    fixture_make(&fixture, &world->target, (const char *const[]){fixture_step, fixture_scale}, 2);
    fixture.batches[0] = 5;
    fixture.input.training = (SelfcTraining){.train = 0,
                                             .evaluate = -1,
                                             .data = data,
                                             .data_count = 1,
                                             .batch = 5,
                                             .epochs = 9,
                                             .seed = 0xfedcba9876543210u,
                                             .reports = reports,
                                             .report_count = 2};
    const char *source = path_of(world, "runtime.c"), *folder = world->folder;
    FILE *out = fopen(source, "w");
    if (!out) die("cannot write %s", source);
    fprintf(
        out,
        "#include \"tests/module_dump.h\"\nint selfc_trainer_main(const SelfcModule *module, int argc, char **argv);\n"
        "int selfc_trainer_main(const SelfcModule *module, int argc, char **argv) {\n"
        "  (void)argv; dump_module(module, stdout); return argc; }\n");
    fclose(out);
    EXPECT(run(arena_printf(world->arena, "cd %s && cc -I%s -c runtime.c && ar rcs libselfc_runtime.a runtime.o",
                            folder, SELFC_SOURCE_DIR)) == 0,
           "runtime");
    setenv("SELFC_RUNTIME_DIR", folder, 1);
    BuildOptions options = {.kind = BUILD_program, .out = path_of(world, "trainer")};
    EXPECT(build_write(&fixture.input, &world->target, &options, &diag), "%s", diag.text);
    EXPECT(run(arena_printf(world->arena, "cd %s && ./trainer a b > printed.txt", folder)) == 3, "argc");
    size_t size;
    char *printed = fixture_read(path_of(world, "printed.txt"), &size, world->arena), *wanted = NULL;
    Jit *jit = jit_compile(&fixture.input, &world->target, &(CompileOptions){0}, &diag);
    out = open_memstream(&wanted, &size);
    if (!jit || !out) die("%s", diag.text);
    dump_module(jit_module(jit), out);
    fclose(out);
    EXPECT(printed && strcmp(printed, wanted) == 0, "printed:\n%s\nwanted:\n%s", printed, wanted);
    setenv("SELFC_RUNTIME_DIR", path_of(world, "no-runtime"), 1);
    EXPECT(!build_write(&fixture.input, &world->target, &options, &diag) && strstr(diag.text, "SELFC_RUNTIME_DIR"),
           "no runtime");
    unsetenv("SELFC_RUNTIME_DIR");
    free(wanted);
    jit_free(jit);
    fixture_free(&fixture);
    diag_free(&diag);
}

int main(void) {
    if (run("command -v cc >/dev/null && command -v nm >/dev/null && command -v ar >/dev/null") != 0) {
        fprintf(stderr, "skipped: there is no cc, nm or ar\n");
        return 77;
    }
    World world = {0};
    world_open(&world);
    test_shared_embedded(&world);
    test_weights_beside(&world);
    test_object_and_archive(&world);
    test_texts(&world);
    test_cross(&world);
    test_foreign_panels(&world);
    test_reproducible(&world);
    test_refusals(&world);
    test_full_disk(&world);
    test_program_constants(&world);
    test_nothing_left(&world);
    world_close(&world);
    return failures != 0;
}
