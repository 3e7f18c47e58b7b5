/* selfc: compile descriptions of self-supervised learning to native code.
 *
 * Every function that can fail returns NULL or a code other than 0 and leaves a text, as long as it needs to be,
 * in selfc_error() (of the calling thread, valid until its next call). Objects are not thread-safe; different ones are
 * independent. Strings are UTF-8; shapes are in elements, row-major. */
#ifndef SELFC_H
#define SELFC_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct SelfcModel SelfcModel;

typedef struct {
    size_t size;             /* sizeof(SelfcOptions): lets the structure grow */
    const char *file;        /* name of the description for messages; may be NULL */
    const char *const *sets; /* "training.batch=64", … */
    size_t set_count;
    const char *data;   /* replaces the data sources' paths: their shape is part of the model */
    const char *cpu;    /* NULL: this one; "x86-64-v3", … */
    const char *triple; /* NULL: this machine. Another one can be built for, not run */
    const char *cache;  /* folder for machine code; NULL: $XDG_CACHE_HOME/selfc; "": none */
    int threads;        /* 0: all that this process may use */
    uint64_t seed;
    int has_seed;      /* 0: the description's */
    int times;         /* print how long each stage took to stderr */
    int check_meaning; /* evaluate before and after each pass on random inputs; slow */
    const char *dump;  /* print what this pass made to stderr; "all": every pass; may be NULL */
    int notes;        /* print to stderr what is no error but worth knowing: that weights are untrained, … */
    int untuned;      /* do without what selfc_tune has measured */
    int64_t memory;   /* bytes that a training step may take, work done again if need be; 0: as many as it likes */
} SelfcOptions;

const char *selfc_version(void);
const char *selfc_error(void);
int selfc_cpus(void); /* what this process may use: affinity and limits counted */

/* Reads and checks a description; compiles nothing yet. `text` is JSON of `length` bytes. options may be NULL. */
SelfcModel *selfc_open(const char *text, size_t length, const SelfcOptions *options);
SelfcModel *selfc_open_file(const char *path, const SelfcOptions *options); /* or a RUN folder: with its weights */
void selfc_close(SelfcModel *model);                                        /* NULL is fine */

/* Prints what `selfc check` shows: shapes, parameters, FLOP, memory. 0 or 1. */
int selfc_check(SelfcModel *model, FILE *out);
/* stage: graph, gradient, fused, program, plan, llvm, asm, or the name of a pass; format: text, dot, html;
 * function: NULL is the training step, or the first function of a description without training. */
int selfc_show(SelfcModel *model, const char *stage, const char *format, const char *function, FILE *out);
/* Runs the training step or a function for about `seconds` and prints where the time went, kernel by kernel.
 * format: text, json, html; NULL is text. n: the batch of a function; 0 is 128. */
int selfc_profile(SelfcModel *model, const char *function, const char *format, int64_t n, double seconds, FILE *out);
/* Writes a PNG of `rows` samples (0: 8) from everywhere in the data, a row each: the picture, then each view that the
 * training's layers make of it with parameters out of play, as it would be seen in the first step. Prints what the columns
 * are. */
int selfc_preview(SelfcModel *model, const char *out, int64_t rows, FILE *titles);
/* Times schedules of every product and convolution on this machine, on scratch data, and remembers the best in the cache:
 * models that are opened later use them. Prints a line for each. seconds: after which no other is begun; 0: no limit. */
int selfc_tune(SelfcModel *model, double seconds, FILE *out);

/* A tensor of the model (parameter or state) or of a function's interface. dtype: "f32", "u8", …
 * dim[i] < 0 stands for -dim[i] times the batch n. Names live as long as the model. */
typedef struct {
    const char *name, *dtype;
    int rank;
    int64_t dim[6];
    size_t bytes;     /* 0 where the size depends on n */
    int is_parameter; /* 1: trained; 0: other state, inputs and outputs */
} SelfcTensorInfo;
size_t selfc_tensor_count(SelfcModel *model); /* compiles if need be; 0 after an error, too */
int selfc_tensor_info(SelfcModel *model, size_t index, SelfcTensorInfo *info);
int selfc_tensor_read(SelfcModel *model, const char *name, void *out, size_t bytes);
int selfc_tensor_write(SelfcModel *model, const char *name, const void *data, size_t bytes);
int selfc_weights_load(SelfcModel *model, const char *path); /* safetensors, matched by name */
int selfc_weights_save(SelfcModel *model, const char *path);

/* One training step on data that the caller owns: inputs[i] belongs to the i-th input in the order of
 * selfc_function_info(model, "train", …). sample[batch]: numbers of the samples, for random operations.
 * reports[report_count] receives the loss first, then what the description reports. */
int selfc_train_step(SelfcModel *model, const void *const *inputs, const int32_t *sample, int64_t step, float *reports,
                     size_t report_count);

/* The whole training loop as `selfc train` runs it; see `selfc help train`. Returns the exit code. What was learnt is
 * in the RUN folder. */
typedef struct {
    size_t size;           /* sizeof(SelfcTrainRun) */
    const char *out;       /* RUN folder; NULL: runs/NAME-1, -2, … the first that is free */
    int64_t epochs, steps; /* 0: as described */
    double minutes;        /* 0: no limit */
    int resume;            /* go on from the checkpoint in `out`, or in the RUN that was opened */
    int quiet;
} SelfcTrainRun;
int selfc_train_run(SelfcModel *model, const SelfcTrainRun *run);

/* Functions of the description (and "train", "evaluate"); inputs and outputs in order: *inputs + *outputs tensors, of
 * which at most `most` are written to infos. Random numbers' seeds are not among the inputs. */
int selfc_function_info(SelfcModel *model, const char *function, SelfcTensorInfo *infos, size_t most, size_t *inputs,
                        size_t *outputs);
/* n: the batch. Outputs are written by the call. */
int selfc_run(SelfcModel *model, const char *function, int64_t n, const void *const *inputs, void *const *outputs);
/* The same with .npy files: inputs and outputs are "NAME=FILE". An output that is not named goes to NAME.npy. */
int selfc_run_files(SelfcModel *model, const char *function, const char *const *inputs, size_t input_count,
                    const char *const *outputs, size_t output_count);

/* Runs a function over all samples of a data set and writes its first result, a row for each sample, as .npy; beside it,
 * in NAME.labels.npy, their labels if they have any. Prints to `report` what was written. */
typedef struct {
    size_t size;          /* sizeof(SelfcEmbed) */
    const char *function; /* NULL: "encode", or the only one that takes such data */
    const char *split;    /* "train" or "test"; NULL: "train" */
    const char *out;      /* NULL: "embeddings.npy" */
    int labelled;         /* 1: lines of text begin with labels, whether the training reads them or not */
} SelfcEmbed;
int selfc_embed(SelfcModel *model, const SelfcEmbed *embed, FILE *report);

/* Judges a function's features by the labels of the data: how many of the test samples get their own, after some or all
 * of the training samples' labels have been seen. Prints a line to `report`; the result is a JSON object. */
typedef struct {
    size_t size;          /* sizeof(SelfcEval) */
    const char *protocol; /* "knn", "linear", "finetune" */
    const char *function; /* as in SelfcEmbed */
    double labels;        /* share of the training labels, of each class the same; 0: all */
    int64_t k;            /* knn; 0: a fiftieth of the labels that are used, 5 to 200 */
    double temperature;   /* knn; 0: 0.07 */
    int64_t epochs;       /* linear and finetune; 0: by the number of samples */
    int64_t batch;        /* finetune; 0: 64 */
    const char *out;      /* NULL: RUN/result-PROTOCOL[-LABELS][-seedSEED].json, or `report` where no RUN was opened */
} SelfcEval;
int selfc_eval(SelfcModel *model, const SelfcEval *eval, FILE *report);

/* What functions on text make of texts, which are UTF-8. The tokenizer is tokenizer.json beside the description, as a RUN
 * has it. A text goes to the copy of the function for the smallest length that holds it (docs/language.md, "lengths"), filled
 * up with [PAD]; texts of one length run together. NULL after a failure; else a result for each text, in their order. It
 * lives until the next of these calls on the model, or until the model is closed. */
typedef struct {
    const char *word; /* as the vocabulary has it: "##ing" goes on with the word before it */
    int32_t id;
    double probability;
} SelfcWord;
typedef struct {
    size_t from, to; /* bytes of the text: where "[MASK]" stands */
    size_t word_count;
    const SelfcWord *words; /* the best first */
} SelfcMask;
typedef struct {
    const char *filled; /* the text with the best word in the place of each mask */
    size_t mask_count;
    const SelfcMask *masks; /* in the order of the text */
} SelfcFilled;
typedef struct {
    size_t size;          /* sizeof(SelfcFillMask) */
    const char *function; /* NULL: "fill_mask" */
    int64_t k;            /* words for each mask; 0: 5 */
} SelfcFillMask;
const SelfcFilled *selfc_fill_mask(SelfcModel *model, const SelfcFillMask *settings, const char *const *texts,
                                   size_t count);

typedef struct {
    int64_t best;     /* class, from 0 */
    const char *name; /* its name, if classes have any in the RUN; else NULL */
    int64_t class_count;
    const float *probabilities; /* of each class */
    const char *const *names;   /* of each; NULL: they have none */
    int takes_any; /* each class is there or not by itself, at a probability from 0.5; else the text is of the best alone */
} SelfcClassified;
/* function: NULL is "classify". */
const SelfcClassified *selfc_classify(SelfcModel *model, const char *function, const char *const *texts, size_t count);

typedef struct {
    const char *text; /* what stands in the context; NULL: the context does not answer it */
    size_t from, to;  /* there, in bytes */
    double start, end; /* log-probabilities that it begins and ends there; without a text: those of [CLS] */
} SelfcAnswer;
/* The best answer to a question that is a part of the context, at most 30 tokens long, or none, if [CLS] is more probable.
 * function: NULL is "answer". A context that is too long for the function is read in windows, each at most half of one behind
 * the one before; start and end are then those of the window with the best answer, or that is least sure of having none. */
const SelfcAnswer *selfc_answer(SelfcModel *model, const char *function, const char *question, const char *context);

/* A folder as the Python package `transformers` writes it, of a model of the BERT family, becomes a RUN with functions
 * `encode` and, by its head, `fill_mask` or `classify`; as: "masked-lm", "encoder", "classifier", or NULL: what its
 * config.json says. Prints to `report` what it is. */
int selfc_import(const char *folder, const char *out, const char *as, FILE *report);
/* Writes such a folder of a model that is made of the library's `bert`. as: NULL: what it has a head for. */
int selfc_export(SelfcModel *model, const char *folder, const char *as, FILE *report);

/* kind by the ending of `out`: .o .a .so .ll .s, or a program. functions: NULL means all. */
int selfc_build(SelfcModel *model, const char *out, const char *const *functions, size_t function_count,
                int embed_weights);

/* Text to tokens and back, line by line, as `selfc tokenize` does it: the tokens of a line, or their numbers (ids),
 * stand in a line, with spaces between them; decode: from numbers to text. 0 or 1. */
typedef struct {
    size_t size;              /* sizeof(SelfcTokenize) */
    const char *vocabulary;   /* vocab.txt, tokenizer.json, or a folder with one of them, as a RUN */
    const char *const *files; /* "-": stdin */
    size_t file_count;        /* 0: stdin alone */
    int ids, decode;
} SelfcTokenize;
int selfc_tokenize_files(const SelfcTokenize *tokenize, FILE *out);
/* Trains a WordPiece vocabulary of `tokens` tokens on text files and folders of them, whose training split counts (of
 * JSON lines questions and contexts), and writes it as vocab.txt, or as tokenizer.json where the name ends in .json. Says to `report` what it is. */
int selfc_tokenize_train(const char *const *files, size_t file_count, int64_t tokens, int is_cased, const char *out,
                         FILE *report);

/* What selfc knows: "schema" (JSON Schema of descriptions), "ops", "passes", "language" (reference in Markdown). */
int selfc_describe(const char *what, FILE *out);
/* The nearest of `names` to `name`, for "did you mean …?"; NULL if none is near. */
const char *selfc_nearest(const char *name, const char *const *names, size_t count);
/* Runs the passes in "simplify,dce" over a file of IR text and prints the result. stop_after may be NULL. */
int selfc_passes(const char *path, const char *passes, const char *stop_after, const SelfcOptions *options, FILE *out);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
