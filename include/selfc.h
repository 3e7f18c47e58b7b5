/* selfc: compile descriptions of self-supervised learning to native code.
 *
 * Every function that can fail returns NULL or a code other than 0 and leaves a text, as long as it needs to be,
 * in selfc_error() (of the calling thread, valid until its next call). Objects are not thread-safe; different ones are
 * independent. Strings are UTF-8; shapes are in elements, row-major. */
#ifndef SELFC_H
#define SELFC_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct SelfcModel SelfcModel;

typedef struct {
    size_t size;              /* sizeof(SelfcOptions): lets the structure grow */
    const char *file;         /* name of the description for messages; may be NULL */
    const char *const *sets;  /* "training.batch=64", … */
    size_t set_count;
    const char *data;         /* replaces the data sources' paths: their shape is part of the model */
    const char *cpu;          /* NULL: this one; "x86-64-v3", … */
    const char *triple;       /* NULL: this machine. Another one can be built for, not run */
    const char *cache;        /* folder for machine code; NULL: $XDG_CACHE_HOME/selfc; "": none */
    int threads;              /* 0: all that this process may use */
    uint64_t seed;
    int has_seed;             /* 0: the description's */
    int times;                /* print how long each stage took to stderr */
} SelfcOptions;

const char *selfc_version(void);
const char *selfc_error(void);

/* Reads and checks a description; compiles nothing yet. `text` is JSON of `length` bytes. */
SelfcModel *selfc_open(const char *text, size_t length, const SelfcOptions *options);
SelfcModel *selfc_open_file(const char *path, const SelfcOptions *options); /* or a RUN folder: with its weights */
void selfc_close(SelfcModel *model);

/* Prints what `selfc check` shows: shapes, parameters, FLOP, memory. 0 or 1. */
int selfc_check(SelfcModel *model, void *file /* FILE * */);
/* stage: graph, gradient, fused, program, plan, llvm, asm; format: text, dot, html; function: NULL is the training step. */
int selfc_show(SelfcModel *model, const char *stage, const char *format, const char *function, void *file /* FILE * */);

/* A tensor of the model (parameter or state) or of a function's interface. dtype: "f32", "u8", …
 * dim[i] < 0 stands for -dim[i] times the batch n. */
typedef struct {
    const char *name, *dtype;
    int rank;
    int64_t dim[6];
    size_t bytes;             /* of states; 0 for those that depend on n */
} SelfcTensorInfo;
size_t selfc_tensor_count(SelfcModel *model);                       /* compiles if need be; 0 after an error, too */
int selfc_tensor_info(SelfcModel *model, size_t index, SelfcTensorInfo *info);
int selfc_tensor_read(SelfcModel *model, const char *name, void *out, size_t bytes);
int selfc_tensor_write(SelfcModel *model, const char *name, const void *data, size_t bytes);
int selfc_weights_load(SelfcModel *model, const char *path);        /* safetensors, matched by name */
int selfc_weights_save(SelfcModel *model, const char *path);

/* One training step on data that the caller owns: inputs[i] belongs to the i-th data input in the order of
 * selfc_function_info(model, "train", …). sample[batch]: numbers of the samples. reports[report_count] receives loss first. */
int selfc_train_step(SelfcModel *model, const void *const *inputs, const int32_t *sample, int64_t step, float *reports, size_t report_count);

/* The whole training loop as `selfc train` runs it; see selfc help train. Returns the exit code. */
typedef struct {
    size_t size;
    const char *out;
    int64_t epochs, steps;
    double minutes;
    int resume, quiet;
} SelfcTraining_;
int selfc_train_run(SelfcModel *model, const SelfcTraining_ *options);

/* Functions of the description; inputs and outputs in order. n: the batch. Outputs are written by the call. */
int selfc_function_info(SelfcModel *model, const char *function, SelfcTensorInfo *infos, size_t most, size_t *inputs, size_t *outputs);
int selfc_run(SelfcModel *model, const char *function, int64_t n, const void *const *inputs, void *const *outputs);

/* kind by the ending of `out`: .o .a .so .ll .s, or a program. functions: NULL means all. */
int selfc_build(SelfcModel *model, const char *out, const char *const *functions, size_t function_count, int embed_weights);

#ifdef __cplusplus
}
#endif
#endif
