/* From kernels to machine code and files: what the parts of the backend that do not emit kernels share.
 * Private to backend/; emit.h is the other half. */
#ifndef SELFC_BACKEND_CODE_H
#define SELFC_BACKEND_CODE_H
#include "backend/emit.h"

/* target.c: LLVM's view of a target; one for each thread. NULL with a message in *error (LLVMDisposeMessage). */
LLVMTargetMachineRef target_llvm(const Target *target, char **error);

/* manifest.c: what is known about a module before there is code. */
typedef struct {
    SelfcModule module;     /* complete but for `run` of the calls */
    const Kernel **kernels; /* the distinct ones of all programs */
    uint32_t kernel_count;
    int64_t *scratch;     /* bytes that each of them wants */
    uint32_t **kernel_of; /* [program][call]: position in kernels */
    uint32_t **prepare_kernel_of; /* the same of what a program has to prepare */
} Manifest;
bool manifest_make(const CompileInput *input, const Target *target, Arena *arena, Manifest *manifest, Diag *diag);
/* What debuggers call a kernel: the first layer that it serves, how many more there are, and what it does. */
const char *manifest_title(const Manifest *manifest, uint32_t kernel, Arena *arena);

/* compile.c: kernels → objects in memory. */
enum { CODE_KEY_BYTES = 32 };
typedef struct {
    const Kernel *kernel;
    uint8_t key[CODE_KEY_BYTES];     /* hash of all that the object is made from */
    char symbol[40];                 /* the function's name in the object, from the key: the same in every run */
    LLVMMemoryBufferRef object;      /* owned by whoever called; NULL after an error */
    char *error;                     /* malloc'ed; NULL: none */
    bool cached;                     /* came from the disk */
    double emit, optimise, generate; /* seconds of processor time */
} Code;
void compile_prepare(Code *code, const Kernel *kernel, const Target *target);
/* Fills in `object` of each: from the cache or compiled, on several threads. false after an error, reported. */
bool compile_all(Code *codes, uint32_t count, const Target *target, const CompileOptions *options, Diag *diag);
/* One kernel as a verified and optimised module of `context`. NULL: failed, with malloc'ed text in *error. */
LLVMModuleRef compile_module(const Kernel *kernel, const Target *target, LLVMTargetMachineRef machine,
                             LLVMContextRef context, const char *symbol, double seconds[2], char **error);
/* Object or assembly of a module; NULL and *error as above. */
LLVMMemoryBufferRef compile_generate(LLVMModuleRef module, LLVMTargetMachineRef machine, LLVMCodeGenFileType type,
                                     char **error);
/* Keeps LLVM's messages about a context: *error is set to a malloc'ed copy of the first error. */
void compile_listen(LLVMContextRef context, char **error);
/* Sets triple and layout: must come before any pass. */
void compile_set_target(LLVMModuleRef module, const Target *target, LLVMTargetMachineRef machine);
/* What every function that selfc makes has: calls nothing, throws nothing. */
void compile_mark(LLVMValueRef function);

/* elf.c: the code of a function in an object; NULL: there is none. */
const void *elf_function(const void *object, size_t size, const char *symbol, size_t *code_size);
/* A copy of the object in which the function is called `name`; NULL: there is none of that symbol. */
LLVMMemoryBufferRef elf_rename(LLVMMemoryBufferRef object, const char *symbol, const char *name);

/* inspect.c: see backend.h. */
Inspection inspect_code(const void *code, size_t size, const Target *target);
Inspection inspect_object(const void *object, size_t size, const char *symbol, const Target *target);

/* cache.c: objects on disk, by key. Failures of the disk are not errors: the cache then holds less. */
LLVMMemoryBufferRef cache_load(const char *folder, const uint8_t key[CODE_KEY_BYTES]); /* NULL: not there, or damaged */
void cache_store(const char *folder, const uint8_t key[CODE_KEY_BYTES], const void *bytes, size_t size);
void cache_drop(const char *folder, const uint8_t key[CODE_KEY_BYTES]);
void cache_trim(const char *folder, int64_t most_bytes); /* drops the oldest beyond it */

/* output.c */
bool output_write(const char *path, const void *bytes, size_t size); /* whole or not at all; errno says why not */
char *output_temporary(const char *path, Arena *arena); /* a name beside `path`, for a file to be renamed to it */

/* prepared.c: what the functions of a built file find prepared. */
typedef struct {
    uint32_t buffer;    /* of the program */
    int64_t from, to;   /* its place in what is prepared for the program, and among the weights */
    int64_t bytes;
    Type type;
    const char *states; /* what it is made of, for people: "a.weight, a.running_var" */
    bool is_shared;     /* with a program before, which has it at the same place */
} PreparedPart;
typedef struct {
    PreparedPart *parts;
    uint32_t count;
    void *values; /* of all, as the parts' `from` say; NULL: not computed */
} Prepared;
/* Parts of each program, to stand among the weights from byte `from` on; the byte behind them. */
int64_t prepared_place(const Manifest *manifest, const CompileInput *input, int64_t from, Prepared *prepared,
                       Arena *arena);
/* Their values; the segment as for weights_pack. false after an error, reported. */
bool prepared_compute(const CompileInput *input, const Target *target, const void *segment, const SelfcModule *layout,
                      Prepared *prepared, Arena *arena, Diag *diag);
void prepared_free(Prepared *prepared, uint32_t count);

/* weights.c: those states that calls use, packed, and what is prepared from others. */
typedef struct {
    int64_t *offset;    /* of each state of the module; -1: not used */
    Prepared *prepared; /* of each program */
    int64_t bytes;
    bool embedded; /* false: the caller passes their address */
} Weights;
Weights weights_make(const Manifest *manifest, const CompileInput *input, bool embedded, Arena *arena);
/* The packed bytes, taken by name from a segment that is laid out as `layout` says; what is prepared has been computed.
 * NULL after an error. */
char *weights_pack(const Weights *weights, const SelfcModule *module, const void *segment, const SelfcModule *layout,
                   Arena *arena, Diag *diag);
/* One state from such a segment. false after an error. */
bool weights_copy(const SelfcState *state, void *to, const void *segment, const SelfcModule *layout, Diag *diag);

/* driver.c: a C function for each program, running its calls in order on the calling thread. */
typedef struct {
    const char *symbol;      /* "vae_generate" */
    const char *macro;       /* "VAE_GENERATE" */
    const char **parameters; /* names in C of inputs and outputs */
    SelfcExtent workspace;   /* bytes that the caller provides; zero: none */
    int64_t scratch;         /* bytes of it that kernels use as their scratch */
    int64_t most_n;          /* beyond it, sizes would overflow */
    bool embeds_weights;     /* reads those that stand in the object */
    bool wants_weights;      /* takes `const void *weights` after the outputs */
} Driver;
Driver driver_describe(const Manifest *manifest, uint32_t program, const Weights *weights, Arena *arena);
/* functions[k]: kernel k of the manifest in `module`. blob: the embedded weights, or NULL. */
void driver_emit(const Driver *driver, const Manifest *manifest, uint32_t program, const Weights *weights,
                 LLVMValueRef blob, LLVMValueRef const *functions, LLVMModuleRef module);
/* A name in C made of any text: letters, digits and underscores, not starting with a digit. */
char *driver_identifier(const char *text, Arena *arena);

/* text.c: a function on text for each that reads rows of ids, whatever lengths it is compiled for. */
typedef enum { TEXT_ids, TEXT_count, TEXT_segment, TEXT_positions, TEXT_INPUTS } TextInput;
typedef struct {
    const char *name;          /* "encode" */
    const char *symbol;        /* "bert_encode_text" */
    const char *macro;         /* "BERT_ENCODE_TEXT" */
    uint32_t first;            /* of its programs */
    uint32_t *programs, program_count; /* from the shortest to the longest */
    int64_t room;              /* the longest */
    int64_t inner, workspace;  /* bytes: of the programs; of the function */
    bool has[TEXT_INPUTS];     /* inputs; segment: it takes a second text */
    bool is_split;             /* results depend on the length: there is no such function */
} TextFunction;
typedef struct {
    TextFunction *items;
    uint32_t count;
    const char **split; /* names of those that there would be, if their copies agreed */
    uint32_t split_count;
    const char *word; /* "bert_word": the function that says what an id is */
} TextFunctions;
TextFunctions text_functions(const Manifest *manifest, const Driver *drivers, Arena *arena);
bool text_fits(const Target *target); /* is there code that reads text for this machine? */
/* The drivers of the programs are in `module` already. */
void text_emit(const TextFunctions *functions, const Manifest *manifest, const Driver *drivers, const BuildText *text,
               LLVMModuleRef module);

/* header.c: the C header of a built object. */
void header_print(const SelfcModule *module, const Driver *drivers, const TextFunctions *texts, const Weights *weights,
                  FILE *out);

/* constants.c: the manifest as constant data; returns the SelfcModule. */
LLVMValueRef constants_emit(const Manifest *manifest, LLVMValueRef const *functions, LLVMModuleRef module);

/* archive.c: an ar archive of one object that defines `symbols`. Malloc'ed. */
void *archive_make(const char *member, const void *object, size_t size, const char *const *symbols, size_t count,
                   size_t *archive_size);

/* link.c: runs the C compiler as a linker. false after an error, reported. */
bool link_shared(const char *object, const char *out, const Target *target, Diag *diag);
bool link_program(const char *object, const char *out, const Target *target, Diag *diag);
#endif
