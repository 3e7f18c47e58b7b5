/* What the backend's tests share: small graphs as text, compiled through all passes, with data to feed them; and
 * one run of a program by the runtime. */
#ifndef SELFC_TESTS_BACKEND_FIXTURE_H
#define SELFC_TESTS_BACKEND_FIXTURE_H
#include "backend/backend.h"
#include "passes/passes.h"
#include "runtime/core/core.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failures;

#define EXPECT(condition, ...)                                                        \
    do {                                                                              \
        if (condition) break;                                                         \
        failures++;                                                                   \
        fprintf(stderr, "%s:%d: %s does not hold: ", __FILE__, __LINE__, #condition); \
        fprintf(stderr, __VA_ARGS__);                                                 \
        fputc('\n', stderr);                                                          \
    } while (0)

/* A training step, fixed batch: states are read and replaced. */
static const char fixture_step[] = "graph \"train\"\n"
                                   "%0 = input 0 \"x\" data : f32[5,3]\n"
                                   "%1 = input 1 \"w\" parameter uniform(-1,1) : f32[3]\n"
                                   "%2 = input 2 \"count\" state : f32[]\n"
                                   "%3 = sum %0, axes=0 : f32[1,3]\n"
                                   "%4 = reshape %3 : f32[3]\n"
                                   "%5 = constant value=0.125 : f32[3]\n"
                                   "%6 = mul %4, %5 : f32[3]\n"
                                   "%7 = sub %1, %6 : f32[3]\n"
                                   "%8 = constant value=1 : f32[]\n"
                                   "%9 = add %2, %8 : f32[]\n"
                                   "%10 = mul %0, %0 : f32[5,3]\n"
                                   "%11 = sum %10, axes=0,1 : f32[1,1]\n"
                                   "%12 = reshape %11 : f32[]\n"
                                   "output \"loss\" %12\n"
                                   "update \"w\" %7\n"
                                   "update \"count\" %9\n";

/* An inference function over the same "w", any batch. */
static const char fixture_scale[] = "graph \"scale\"\n"
                                    "%0 = input 0 \"x\" data : f32[n,3]\n"
                                    "%1 = input 1 \"w\" parameter uniform(-1,1) : f32[3]\n"
                                    "%2 = reshape %1 : f32[1,3]\n"
                                    "%3 = broadcast %2 : f32[n,3]\n"
                                    "%4 = mul %0, %3 : f32[n,3]\n"
                                    "%5 = exp %4 : f32[n,3]\n"
                                    "%6 = sum %5, axes=1 : f32[n,1]\n"
                                    "%7 = broadcast %6 : f32[n,3]\n"
                                    "%8 = div %5, %7 : f32[n,3]\n"
                                    "output \"share\" %8\n"
                                    "output \"total\" %6\n";

/* Two products with a temporary between them, and weights of its own. */
static const char fixture_dense[] = "graph \"dense\"\n"
                                    "%0 = input 0 \"x\" data : f32[n,7]\n"
                                    "%1 = input 1 \"w1\" parameter normal(0,0.5) : f32[7,40]\n"
                                    "%2 = input 2 \"b1\" parameter uniform(-1,1) : f32[40]\n"
                                    "%3 = input 3 \"w2\" parameter normal(0,0.5) : f32[40,9]\n"
                                    "%4 = matmul %0, %1 : f32[n,40]\n"
                                    "%5 = reshape %2 : f32[1,40]\n"
                                    "%6 = broadcast %5 : f32[n,40]\n"
                                    "%7 = add %4, %6 : f32[n,40]\n"
                                    "%8 = tanh %7 : f32[n,40]\n"
                                    "%9 = matmul %8, %3 : f32[n,9]\n"
                                    "output \"y\" %9\n";

/* Random numbers, fed by key and sample. */
static const char fixture_noise[] = "graph \"noise\"\n"
                                    "%0 = input 0 \"int\" data : i32[n,6]\n"
                                    "%1 = input 1 \"$key\" data : i32[3]\n"
                                    "%2 = input 2 \"$sample\" data : i32[n]\n"
                                    "%3 = random %1, %2, stream=7 word=1 : i32[n,6]\n"
                                    "%4 = xor %0, %3 : i32[n,6]\n"
                                    "output \"bits\" %4\n";

static inline Target fixture_target(Arena *arena, const char *triple, const char *cpu) {
    Target target;
    Diag diag;
    diag_init(&diag);
    if (!target_make(triple, cpu, arena, &target, &diag)) die("%s", diag.text);
    diag_free(&diag);
    return target;
}

static inline Program *fixture_program(const char *text, const Target *target) {
    Diag diag;
    diag_init(&diag);
    Graph *graph = graph_parse(text, "fixture", &diag), *stopped = NULL;
    if (!graph) die("%s", diag.text);
    PipelineOptions options = {.machine = target->machine};
    Program *program = NULL;
    pipeline_run(graph, &options, &stopped, &program);
    graph_free(graph);
    diag_free(&diag);
    if (!program) die("the pipeline made no program");
    return program;
}

typedef struct {
    Program *programs[4];
    int64_t batches[4];
    CompileInput input;
} Fixture;

static inline void fixture_make(Fixture *fixture, const Target *target, const char *const *texts, uint32_t count) {
    *fixture = (Fixture){.input = {.name = "Small-Model",
                                   .description = "{\"name\": \"small\"}",
                                   .program_count = count,
                                   .training = {.train = -1, .evaluate = -1}}};
    fixture->input.programs = fixture->programs;
    fixture->input.batches = fixture->batches;
    for (uint32_t i = 0; i < count; i++) fixture->programs[i] = fixture_program(texts[i], target);
}

static inline void fixture_free(Fixture *fixture) {
    for (uint32_t i = 0; i < fixture->input.program_count; i++) program_free(fixture->programs[i]);
}

/* Data that looks random and is the same in every run; small whole numbers for integers. */
static inline void fixture_fill(void *data, const SelfcTensor *tensor, int64_t n, uint32_t seed) {
    int64_t count = selfc_tensor_elements(tensor, n);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (tensor->dtype == SELFC_f32)
            ((float *)data)[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
        else if (tensor->dtype == SELFC_i32)
            ((int32_t *)data)[i] = (int32_t)(seed >> 20);
        else
            memset((char *)data + i * (int64_t)selfc_dtype_bytes(tensor->dtype), 0, selfc_dtype_bytes(tensor->dtype));
    }
}

/* Buffers for inputs, filled, and outputs; each at an address that is a multiple of its element only. */
static inline void **fixture_io(const SelfcProgram *program, int64_t n, Arena *arena) {
    uint32_t count = program->input_count + program->output_count;
    void **io = arena_array(arena, void *, count);
    for (uint32_t i = 0; i < count; i++) {
        char *memory = arena_alloc(arena, selfc_tensor_bytes(&program->io[i], n) + 64);
        memory += (64 - (uintptr_t)memory % 64) % 64 % 48;
        io[i] = memory + selfc_dtype_bytes(program->io[i].dtype);
        if (i < program->input_count) fixture_fill(io[i], &program->io[i], n, i + 1);
    }
    return io;
}

static inline void fixture_run(const SelfcModule *module, SelfcSession *session, const char *name, void *const *io,
                               int64_t n) {
    const SelfcProgram *program = selfc_find_program(module, name);
    if (!program) die("no program %s", name);
    if (selfc_session_reserve(session, program, n)) die("%s", selfc_failure());
    selfc_execute(session, program, io, n);
}

static inline char *fixture_folder(Arena *arena) {
    char *folder = arena_printf(arena, "%s/selfc-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(folder)) die("cannot make %s", folder);
    return folder;
}

static inline int fixture_remove_one(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static inline void fixture_remove(const char *folder) { nftw(folder, fixture_remove_one, 8, FTW_DEPTH | FTW_PHYS); }

/* The content of a file, with a NUL behind it; NULL if there is none. */
static inline char *fixture_read(const char *path, size_t *size, Arena *arena) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *text = arena_alloc(arena, *size + 1);
    if (fread(text, 1, *size, file) != *size) die("cannot read %s", path);
    fclose(file);
    return text;
}
#endif
