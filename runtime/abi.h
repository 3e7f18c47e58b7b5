/* Where compiled code and the runtime meet: plain C structures that the JIT fills in memory and an object
 * file carries as data. Whoever changes this file changes SELFC_ABI_VERSION.
 *
 * A module holds the programs of one description (the training step, its evaluation, the functions) over one
 * state segment: parameters and optimiser state, shared by name. */
#ifndef SELFC_RUNTIME_ABI_H
#define SELFC_RUNTIME_ABI_H
#include <stdint.h>

enum { SELFC_ABI_VERSION = 8, SELFC_MAX_RANK = 6 };

/* The order of ir/dtypes.def. */
typedef enum { SELFC_f32, SELFC_bf16, SELFC_f16, SELFC_i8, SELFC_u8, SELFC_i32, SELFC_i64, SELFC_bool } SelfcDType;

typedef struct {
    int64_t fixed, per_n; /* fixed + per_n * n */
} SelfcExtent;

/* Does pieces [first, end) of a kernel. args: the buffers read, then those written. scratch: private to the
 * calling thread, 64-byte aligned, SelfcModule.scratch_bytes long. Calls nothing. */
typedef void SelfcKernel(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch);

typedef enum { SELFC_INIT_zero, SELFC_INIT_constant, SELFC_INIT_uniform, SELFC_INIT_normal } SelfcInitKind;

typedef struct {
    const char *name;
    int32_t dtype;        /* SelfcDType */
    int32_t rank;
    int64_t dim[SELFC_MAX_RANK]; /* < 0: -dim times n */
} SelfcTensor;

typedef struct {
    SelfcTensor tensor;   /* never depends on n */
    int64_t offset;       /* bytes from the start of the state segment, a multiple of 64 */
    int32_t is_parameter; /* 1: trained; 0: optimiser and other state */
    int32_t is_weight;    /* 1: saved as a weight: parameters, and states that other programs than the training step read */
    int32_t init;         /* SelfcInitKind */
    double init_a, init_b;
} SelfcState;

/* Where a kernel's argument is. base 0: the state segment; 1: the program's arena; 2 + i: input or output i;
 * SELFC_PREPARED: what is prepared for the program. */
enum { SELFC_PREPARED = INT32_MAX };
typedef struct {
    uint32_t base;
    SelfcExtent offset;   /* bytes */
    int64_t elements;     /* of the buffer; as a dim: < 0 is -elements times n */
    int32_t dtype;        /* SelfcDType */
    int32_t is_written;   /* 1: the kernel writes it; those that are read come first */
} SelfcArg;

typedef struct {
    int64_t extent;       /* as a dim: < 0 is -extent times n */
    int64_t block;        /* 0: not cut */
} SelfcGridAxis;

typedef struct {
    SelfcKernel *run;
    const char *name;     /* the kernel's name */
    const char *origin;   /* the layer it serves; may be NULL */
    const SelfcArg *args;
    uint32_t arg_count;
    uint32_t phase;       /* calls stand in order of phase; a barrier between phases */
    uint32_t grid_rank;
    SelfcGridAxis grid[SELFC_MAX_RANK]; /* pieces: product of ceil(extent / block) */
    double flop, bytes;   /* of one call (n = 1 where the batch is open) */
} SelfcCall;

typedef struct SelfcProgram {
    const char *name;         /* "train", "evaluate", or the function's name */
    const SelfcTensor *io;    /* inputs, then outputs. Inputs "$key" i32[3] (seed low, seed high, step) and
                                 "$sample" i32[n] (number of the sample in the data set) feed random operations. */
    uint32_t input_count, output_count;
    const SelfcCall *calls;
    uint32_t call_count, phase_count;
    SelfcExtent arena_bytes;
    int64_t batch;            /* the fixed batch, or 0: any n */
    const struct SelfcProgram *prepare; /* what is to be done once for each change of the states, in the same arena;
                                           without inputs, outputs, n. NULL: nothing */
    int64_t prepared_bytes;   /* that it leaves to this program, 64-byte aligned */
    int32_t changes_states;   /* 1: a run writes states */
} SelfcProgram;

typedef struct {
    const char *input;        /* a data input of the training program */
    const char *source;       /* "glyphs", "idx", "npy": as in the description; --data replaces it */
    const char *path;         /* may be NULL */
    const char *field;        /* "image" or "label" */
    int64_t classes;          /* labels: 0 to classes - 1; 0: anything */
    int64_t height, width, channels; /* asked of pictures; 0: the source decides */
    double scale;             /* what the training multiplies numbers with: 1/255 makes 0..1 of bytes */
    int64_t length, stride;   /* asked of texts, in tokens, as is all below; 0: no text, the source decides */
    const char *unit;         /* NULL: the source decides */
    int32_t has_labels;       /* 1: lines begin with labels */
} SelfcDataSpec;

/* Nearest neighbours while the training goes on. */
typedef struct {
    int64_t every;            /* epochs; 0: never */
    int64_t k, samples;       /* neighbours (0: as usual); of so many training samples at most */
    double temperature;       /* 0: as usual */
    const char *function;     /* what gives the features; NULL: "encode", or the only one that could */
} SelfcJudge;

/* Weights that begin as a file has them. */
typedef struct {
    const char *path;         /* of a safetensors file; NULL: they begin as their layers say */
    const char *const *names; /* here, there, here, there: what names begin with */
    uint32_t name_count;      /* of both together */
    const char *const *fresh; /* patterns of those that begin as their layers say all the same */
    uint32_t fresh_count;
} SelfcBegin;

/* How the runtime drives training; all zero for a description without it. */
typedef struct {
    int32_t train, evaluate;  /* positions in programs; -1: none */
    int32_t health;           /* takes what train takes and changes nothing: features f32[batch,d], then numbers f32[] */
    uint32_t feature_count;   /* two are views of the same samples */
    const SelfcDataSpec *data;
    uint32_t data_count;
    int64_t batch, epochs;
    uint64_t seed;
    const char *const *reports; /* outputs of both programs to put into the metrics; the first is the loss */
    uint32_t report_count;
    const char *const *measures; /* further outputs f32[] of the training program for the metrics: "$learning_rate" */
    uint32_t measure_count;
    SelfcJudge knn;
    const char *tokenizer;    /* of its texts: what is in a tokenizer.json, for the RUN folder; NULL: it reads none */
    const char *labels;       /* names of its classes, a list in JSON, for the metadata of weights; NULL: they have none */
    const char *problem_type; /* what kind of classes they are, for the same place; NULL: a sample is of one */
    SelfcBegin begin;
} SelfcTraining;

typedef struct {
    uint32_t abi_version;
    const char *name;         /* of the model */
    const char *description;  /* the resolved JSON text, for the RUN folder */
    const SelfcState *states;
    uint32_t state_count;
    int64_t state_bytes;
    int64_t scratch_bytes;    /* for each thread */
    const SelfcProgram *programs;
    uint32_t program_count;
    SelfcTraining training;
} SelfcModule;
#endif
