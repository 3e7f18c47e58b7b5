/* JSON → Model → Graph. cJSON is seen by this folder alone.
 *
 * A Model is the description as plain structs, every mistake already reported; lowering it gives one Graph for
 * the training step, one for its evaluation, and one for each function. */
#ifndef SELFC_FRONTEND_H
#define SELFC_FRONTEND_H
#include "ir/graph.h"

typedef struct Model Model; /* model.h shows its insides to the folder */

/* What the data turned out to be, from opening it: shape and type of one sample of a training input. */
typedef struct {
    const char *input; /* key in training.data */
    const char *field; /* "image", "label", "value" */
    Type sample;       /* u8[28,28] for a picture, i32[] for a label, f32[7] for a row */
} DataShape;

/* `sets` are "training.batch=64" overrides, applied to the JSON before it is read. NULL after errors in diag
 * (all of them, not just the first). The model lives as long as arena. */
Model *model_parse(const char *text, const char *file, const char *const *sets, size_t set_count, Arena *arena, Diag *diag);
/* The same for a description that was made from another: parts that nothing uses are no mistake. */
Model *model_parse_made(const char *text, const char *file, Arena *arena, Diag *diag);

/* training.knn. */
typedef struct {
    int64_t every, k, samples; /* every 0: not asked for; k 0: not said */
    double temperature;        /* 0: not said */
    const char *function; /* NULL: not said */
} KnnSpec;

/* training.init: weights that begin as a file has them. */
typedef struct {
    const char *from;         /* NULL: as their layers say */
    const char *const *names; /* here, there, here, there: what names begin with */
    uint32_t name_count;      /* of both together */
    const char *const *fresh; /* patterns of those that begin as their layers say all the same */
    uint32_t fresh_count;
} BeginSpec;

typedef struct {
    const char *input;   /* graph input it feeds */
    const char *source;  /* "glyphs", "idx", "npy" */
    const char *path, *field;
    int64_t height, width, channels; /* asked of pictures; 0: the source decides */
    int64_t length, stride;          /* asked of texts, as all below; 0: no text, the source decides */
    const char *unit, *tokenizer;    /* NULL: the source decides; no text */
    bool has_labels;                 /* some input reads labels: lines begin with them */
    int64_t vocabulary, mask;        /* as described; 0 and -1: as the tokenizer says */
    const char *labels;              /* names of classes, a list in JSON; NULL: they have none */
} DataSpec;

/* What the rest of the compiler asks of a model. */
const char *model_name(const Model *model);
const char *model_resolved(const Model *model, Arena *arena); /* JSON text after overrides, for the RUN folder */
bool model_has_training(const Model *model);
int64_t model_batch(const Model *model);
int64_t model_epochs(const Model *model);
/* In place of what the description says, also in model_resolved. */
void model_set_epochs(Model *model, int64_t epochs);
uint64_t model_seed(const Model *model);
/* Of the training split, from opening it: `steps` and `steps_per_epoch` of schedules follow. */
void model_set_samples(Model *model, int64_t samples);
/* Are there enough samples for one batch? false, with an error in diag. */
bool model_check_samples(const Model *model, Diag *diag);
uint32_t model_data(const Model *model, const DataSpec **specs);
/* The first input that reads texts; the tokenizer of all is its own. NULL: there is none. */
const DataSpec *model_text(const Model *model);
/* Formulas that need the vocabulary of the texts get this message from now on; until then they are worth nothing yet,
 * without a word. */
void model_set_vocabulary_failure(Model *model, const char *why);
/* What elements of a data input that are stored as `stored` are multiplied with on their way into the layers. */
double model_data_scale(const Model *model, uint32_t data, DType stored);
uint32_t model_reports(const Model *model, const char *const **names); /* the loss first */
uint32_t model_health(const Model *model); /* features whose health is asked for */
KnnSpec model_knn(const Model *model);
BeginSpec model_begin(const Model *model);
void model_begin_at(Model *model, const char *from); /* in place of what the description says, also in model_resolved */
void model_begin_error(const Model *model, Diag *diag, const char *message); /* at training.init */
/* The first call of a module by the training, a function, or a module that these call: what the names of its weights
 * begin with, "encode.bert.". NULL: there is none. */
const char *model_call_path(const Model *model, const char *module, Arena *arena);
/* What this call makes of one of the module's params; family: the first call by a function of this name, NULL: by any
 * of them. false: there is none, or no plain number. */
bool model_call_number(const Model *model, const char *family, const char *module, const char *param, double *number);
/* Are the last layers of a function calls of the library's modules `before` and then `module`, whose first input is
 * `value`? */
bool model_ends_in(const Model *model, const char *family, const char *before, const char *value, const char *module);
uint32_t model_functions(const Model *model, const char *const **names);
/* What the description calls function i of these: its copies for several lengths share a name. */
const char *model_family(const Model *model, uint32_t function);
/* The copy of a function with "lengths" for `length` elements or for as few more as there is; for the longest, if all are
 * shorter. *most: how long that is. NULL if the function has none. */
const char *model_function_for(const Model *model, const char *family, int64_t length, int64_t *most);

/* The training step: inputs are the data (in their stored type, batch fixed), "$key" and "$sample"; outputs are loss and
 * reports (f32[]), "$learning_rate", and an update for each parameter and state. Gradients are `gradient` nodes. */
Graph *lower_train(const Model *model, const DataShape *shapes, size_t count, Diag *diag);
/* The same layers without updates and in inference mode, batch open: loss and reports. */
Graph *lower_evaluate(const Model *model, const DataShape *shapes, size_t count, Diag *diag);
/* What the metrics say about a batch of the training beside its loss: the features of training.health and
 * "$gradient_norm". A graph of its own, so that looking does not change a bit of the step. NULL, with no error in diag, if
 * the description does not ask for it. */
Graph *lower_health(const Model *model, const DataShape *shapes, size_t count, Diag *diag);
/* What is shown of the training's pictures for `n` samples: the data first, if they are pictures, then each view, by
 * name. NULL, with an error in diag, if there is none. */
Graph *lower_preview(const Model *model, const DataShape *shapes, size_t count, Dim n, Diag *diag);
/* A function with its batch open, in inference mode. */
Graph *lower_function(const Model *model, const char *name, Diag *diag);

/* JSON Schema (2020-12) of the description, made from the tables of layers, sources, optimisers. */
void schema_print(FILE *out);
/* docs/language.md: the reference, made from the same tables. */
void reference_print(FILE *out);
#endif
