/* Program → LLVM → machine code. The only folder that sees LLVM; this header shows none of it.
 *
 * Each kernel becomes one LLVM module and one object of its own, compiled on several threads and cached on
 * disk by the hash of what it was made from (kernel text, target, code generator version). The JIT links those
 * objects; a built file holds the same kernels together with a driver or a manifest. */
#ifndef SELFC_BACKEND_H
#define SELFC_BACKEND_H
#include "ir/program.h"
#include "runtime/abi.h"

/* target.c */
typedef struct {
    const char *triple, *cpu, *features; /* owned by the arena given to target_make */
    bool is_host;
    Machine machine;
} Target;
/* NULL triple: the host's. NULL cpu: the host's own, or the triple's baseline; "x86-64-v2", "-v3", "-v4" are known.
 * false, with an error in diag, for what this selfc cannot compile for. */
bool target_make(const char *triple, const char *cpu, Arena *arena, Target *target, Diag *diag);

/* One description's programs, ready to compile. `states` is the union by name of the programs' parameters and states. */
typedef struct {
    const char *name, *description;
    Program **programs;
    int64_t *batches;       /* the fixed batch of each program, or 0 */
    uint32_t program_count;
    SelfcTraining training; /* copied into the manifest */
} CompileInput;

/* Hears, before what may take seconds, how many kernels are to be compiled; 0: that is over. NULL: nobody does. */
typedef struct {
    void (*hear)(const void *context, uint32_t kernels);
    const void *context;
} CompileListener;
void compile_tell(CompileListener listener, uint32_t kernels);

typedef struct {
    uint32_t threads;       /* compiling threads; 0: one for each CPU */
    const char *cache;      /* folder for machine code; NULL: none */
    bool times;
    CompileListener listener;
} CompileOptions;

/* jit.c. NULL, with an error in diag, if LLVM could not. */
typedef struct Jit Jit;
Jit *jit_compile(const CompileInput *input, const Target *target, const CompileOptions *options, Diag *diag);
const SelfcModule *jit_module(const Jit *jit); /* lives as long as the jit */
void jit_free(Jit *jit);

/* inspect.c: what a kernel's code shows. A store or load is one of a vector register to or from the stack frame, a spill;
 * inner: in a loop that has no other loop within. */
typedef struct {
    uint64_t code_bytes; /* 0: the code could not be read */
    uint32_t instructions, stores, loads;
    uint32_t inner_instructions, inner_stores, inner_loads;
} Inspection;
Inspection jit_inspect(const Jit *jit, SelfcKernel *run, const Target *target); /* run: of a call of its module */

/* manifest.c: the module without code (`run` of every call is NULL): states and their layout, interfaces, arenas.
 * Lives as long as arena. NULL, with an error in diag, if the programs do not agree about a state. */
const SelfcModule *manifest_module(const CompileInput *input, const Target *target, Arena *arena, Diag *diag);

/* What functions on text need: the tokenizer's tables, and the ids of [CLS], [SEP], [PAD] and [MASK] (-1: none). */
typedef struct {
    const void *tables; /* NULL: there is no tokenizer, and so no function takes text */
    size_t size;
    int32_t marks[4];
    const char *const *words; /* of each id */
    uint32_t word_count;
} BuildText;

/* object.c. What a built file holds. */
typedef enum { BUILD_object, BUILD_archive, BUILD_shared, BUILD_llvm, BUILD_assembly, BUILD_program } BuildKind;
typedef struct {
    BuildKind kind;
    const char *out;              /* path; the header goes beside it as .h (not for a program) */
    const void *weights;          /* a state segment; those states that the functions use are embedded. NULL: passed at run time */
    const SelfcModule *layout;    /* where the states are in `weights`; NULL: as manifest_module says for this input */
    BuildText text;
    void (*note)(const void *context, const char *text); /* says what the file does not hold, though it might be missed; or NULL */
    const void *note_context;
    bool weights_beside;          /* write the weights to a file beside `out` (.weights); the caller passes its content */
    CompileListener listener;
} BuildOptions;
/* Inference functions: a C function each, `int NAME_FUNCTION(inputs…, outputs…, size_t n, void *workspace)`.
 * BUILD_program: the training program, linked with the runtime, without LLVM. */
bool build_write(const CompileInput *input, const Target *target, const BuildOptions *options, Diag *diag);

/* show.c: one kernel's or all kernels' LLVM text or assembly, for `selfc show`. */
bool show_code(const Program *program, const Target *target, bool assembly, FILE *out, Diag *diag);
#endif
