/* The inside of SelfcModel, shared by the api*.c files, which tie frontend, passes, backend and runtime together. */
#ifndef SELFC_FRONTEND_API_H
#define SELFC_FRONTEND_API_H
#include "backend/backend.h"
#include "frontend/frontend.h"
#include "include/selfc.h"
#include "passes/choice.h"
#include "passes/passes.h"
#include "runtime/data/data.h"
#include "runtime/train/train.h"

/* What has been compiled. A model that was compiled for its functions alone is compiled again when it is to be trained.
 */
typedef struct {
    Jit *jit;
    const SelfcModule *module;
    SelfcSession *session;
    bool has_training;
    Program **programs; /* as in module->programs */
    void **io;          /* of the training step: inputs, then outputs */
    float *results;     /* the training step's outputs */
    int32_t key[3];
} Compiled;

/* The classes that weights tell apart, as the file's metadata has them (api_classes.c). */
#define API_SEVERAL "multi_label_classification" /* the "problem_type" that means: of any number of classes */
typedef struct {
    const char *const *names; /* a list under "labels"; NULL: they have none */
    uint32_t count;           /* of names */
    bool takes_any;           /* "problem_type": a text is of any number of classes, each by itself; else of one */
} ApiClasses;

struct SelfcModel {
    Arena *arena;         /* owns everything that is not freed in selfc_close */
    SelfcOptions options; /* strings copied */
    Model *description;
    Target target;
    bool has_target;
    Choices measured;    /* what `selfc tune` remembers for the target; owned by the arena */
    double opened;       /* when, in seconds of api_seconds */
    const char *folder;  /* of a RUN; NULL for a description */
    const char *weights; /* safetensors to begin with; NULL: drawn from the seed */
    bool is_trained;     /* the states are no longer what the seed made of them */
    DataShape *shapes;   /* of the training inputs, once the data have been opened */
    uint32_t shape_count;
    int64_t samples; /* in the training split */
    const char *cut; /* what selfc_source_cut says of it */
    bool has_shapes;
    SelfcTokenizer *tokenizer;     /* of the texts; NULL: there are none, or it cannot be opened */
    const char *tokenizer_text;    /* what its tokenizer.json holds */
    const char *tokenizer_failure; /* why it cannot be opened */
    bool is_noted;                 /* it has been said that its weights are untrained */
    bool has_classes;              /* whether they have been looked for */
    ApiClasses classes;            /* what "classify" tells apart */
    Arena *answers;                /* what the last selfc_fill_mask, _classify or _answer gave; NULL: none has */
    int64_t temporaries_left;      /* with --memory: bytes for temporaries, once the training step is compiled */
    Compiled compiled;
};

/* api.c: sets the error text; returns 1 for `return api_fail(…)`. */
int api_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int api_fail_with(Diag *diag);                          /* takes what diag holds, and frees it */
int api_check_dump(const char *dump);                   /* a pass, "all" or NULL */
int api_make_folders(const char *folder, Arena *arena); /* and those above it; errno, or 0 */
void api_note(const SelfcModel *model, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* On a terminal, what is being done while nothing else is to be seen; it goes with api_status_clear. */
void api_status(const SelfcModel *model, const char *format, ...) __attribute__((format(printf, 2, 3)));
void api_status_clear(const SelfcModel *model);
CompileListener api_listener(const SelfcModel *model); /* says so for the compiling of kernels */
double api_seconds(void);
const char *api_quote(const char *text, Arena *arena); /* as JSON says it */
uint64_t api_seed(const SelfcModel *model);
/* A description that was made for a purpose of our own, and may have parts that nothing uses. It runs as `parent` does,
 * with its seed, and is closed by selfc_close. Its data are given to selfc_train_step and never opened, so the shapes
 * of samples stand in it. NULL after api_fail. */
SelfcModel *api_open_made(const SelfcModel *parent, const char *text);

/* api_compile.c. 0, or 1 after api_fail. */
int api_need_target(SelfcModel *model);
int api_need_shapes(SelfcModel *model); /* opens the data */
/* What to open for the training split of a data input, or of what --data names in its place. */
SelfcSourceOptions api_source_options(const SelfcModel *model, const DataSpec *spec);
/* What `function` means: NULL is the training step, or the first function of a description without training. NULL after
 * api_fail if there is none of that name. */
const char *api_function(SelfcModel *model, const char *function);
/* name: "train", "evaluate" or a function. NULL with errors in diag. */
Graph *api_lower(SelfcModel *model, const char *name, Diag *diag);
Program *api_program(SelfcModel *model, const char *name, const char *stop_after, Diag *diag);
PipelineOptions api_pipeline_options(const SelfcModel *model);
/* functions: those to compile; training: with "train" and "evaluate", too. */
typedef struct {
    const char *const *functions;
    uint32_t function_count;
    bool has_training;
    const char *stop_after; /* the last pass over programs; NULL: all */
} ApiWanted;
/* The programs of what is wanted, for jit_compile or build_write; they are freed by api_input_free. */
int api_input(SelfcModel *model, ApiWanted wanted, CompileInput *input);
void api_input_free(CompileInput *input);
/* Compiled code; and with a session, whose states are initialised or loaded. */
int api_need_code(SelfcModel *model, bool training);
int api_need_session(SelfcModel *model, bool training);
/* api_text.c: opens the tokenizer, if the description has texts, and adds what it says to the overrides. What fails is
 * kept for whoever needs it. 1 after api_fail: the description contradicts it. */
int api_set_tokenizer(SelfcModel *model);
int api_need_tokenizer(const SelfcModel *model); /* 0, or 1 after api_fail: there are texts, but no tokenizer */
/* The same; where the description has no texts, tokenizer.json or vocab.txt beside it. NULL after api_fail. */
const SelfcTokenizer *api_tokenizer(SelfcModel *model);
/* api_run.c */
bool api_is_hidden(const SelfcTensor *tensor); /* "$key" and "$sample": no input that callers see */
/* The hidden inputs as a run of `step` on the samples 0 to n - 1 has them; other tensors stay as they are. */
void api_fill_hidden(SelfcModel *model, const SelfcTensor *tensor, int64_t n, int64_t step, void *out);
bool api_reads_states(const SelfcProgram *program);
/* api_operation.c: a SelfcFindOperation; context is the model. */
int api_find_operation(void *context, const SelfcProgram *program, uint32_t call, int64_t n, void *const *args,
                       uint32_t arg, SelfcOperation *operation);
const SelfcProgram *api_compiled_program(SelfcModel *model, const char *function); /* NULL after api_fail */
/* Runs a compiled program on n samples, whose numbers are sample[n]; inputs without the hidden ones. */
int api_execute(SelfcModel *model, const SelfcProgram *program, int64_t n, const int32_t *sample,
                const void *const *inputs, void *const *outputs);
/* api_tensor.c: states from a safetensors file. All parameters must be in it. */
int api_load(Compiled *compiled, const char *path);
void api_compiled_free(Compiled *compiled);
/* api_classes.c */
ApiClasses api_weights_classes(const SelfcTensors *weights, Arena *arena);

/* As the metadata have it; NULL: they have none. Classes get their names from the description; else they are those of the
 * RUN's weights, or of those that it begins with, if nothing is new and so classes are the same. */
typedef struct {
    const char *labels, *problem_type;
} ApiClassTexts;
ApiClassTexts api_class_texts(const SelfcModel *model);

/* api_begin.c: weights that training.init names. */
/* The path in the description is made absolute: a RUN then says where it began. */
void api_begin_resolve(SelfcModel *model);
SelfcBegin api_begin(const SelfcModel *model);            /* path NULL: there are none */
const char *api_begin_tokenizer(const SelfcModel *model); /* tokenizer.json of the RUN that it is; NULL: none */
/* 0, or 1 after api_fail: the description has another tokenizer than that. */
int api_begin_check_tokenizer(const SelfcModel *model);
/* What takes its weights from there: all that some graphs have, only looked at; or a module's in a session. */
int api_begin_check(const SelfcModel *model, Graph *const *graphs, uint32_t count);
int api_begin_states(const SelfcModel *model, Compiled *compiled);

/* api_choices.c: what `selfc tune` remembers, a text file in the cache for each target. */
const char *api_choices_path(const SelfcModel *model, Arena *arena); /* needs the target; NULL: there is no cache */
/* What does not make sense is left out, and said in a note. */
void api_choices_load(const SelfcModel *model, Choices *choices, Arena *arena);
/* Adds to what is there, in place of what was there for the same kernels. 0, or 1 after api_fail. */
int api_choices_save(const SelfcModel *model, const Choices *choices);
void api_choices_put(Choices *choices, const Choice *choice, Arena *arena); /* in place of that of the same kernel */

/* api_peak.c: what this machine can do in a second, all threads together. The first takes a millisecond, the second
 * a tenth of a second. */
double api_peak_flops(int threads);
double api_peak_bytes(int threads);

/* api_memory.c: bytes that a training step takes, and how much of its work is done again for that. */
typedef struct {
    int64_t all, states, io, scratch, temporaries;
    uint32_t calls_again;
    double flop, flop_again; /* once, and again */
} ApiMemory;
ApiMemory api_memory_of(SelfcModel *model, Program *program, Diag *diag);
/* pipeline_run, with the limit of --memory for the training step, its evaluation and its health; false, with an error
 * in diag, if it cannot be kept. */
bool api_memory_run(SelfcModel *model, const Graph *graph, PipelineOptions *options, Diag *diag, Graph **stopped,
                    Program **program);

/* api_picture.c: graphs and programs for people. */
void picture_graph_dot(const Graph *graph, FILE *out);
void picture_graph_html(const Graph *graph, const char *title, FILE *out);
void picture_program_dot(const Program *program, FILE *out);
void picture_program_html(const Program *program, const char *title, FILE *out);
#endif
