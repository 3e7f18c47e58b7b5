/* Models of the BERT family as the `transformers` package keeps them, shared by selfc_import and selfc_export: what
 * config.json says, and which tensors a model of this kind has. Both come from frontend/bert.def. */
#ifndef SELFC_FRONTEND_API_IMPORT_H
#define SELFC_FRONTEND_API_IMPORT_H
#include "frontend/api.h"
#include "frontend/json.h"
#include "runtime/data/data.h"
#include "runtime/text/tokenizer.h"

typedef enum { BERT_masked_lm, BERT_encoder, BERT_classifier } BertKind;
enum { BERT_KINDS = 3 };
typedef enum { ACTIVATION_gelu, ACTIVATION_tanh, ACTIVATION_relu } BertActivation;
extern const char *const bert_kind_name[BERT_KINDS]; /* as --as says it: "masked-lm" */

typedef struct {
    BertKind kind;
    const char *architecture;       /* "BertForMaskedLM" */
    int64_t labels;                 /* classes of a classifier; 0 otherwise */
    const char *const *label_names; /* of each; NULL: they have none */
    bool is_exclusive;              /* a text is of one class; else of any number of them */
#define SIZE(field, ...) int64_t field;
#include "frontend/bert.def"
    int64_t none; /* 0: the axis that a vector does not have */
    double epsilon, dropout, attention_dropout;
    BertActivation activation;
    bool is_tied; /* the product with the vocabulary is by the word embeddings themselves */
    bool has_pooler;
    bool has_embedding; /* exported: there is a function that makes one of a text */
    bool takes_first;   /* it is the first row, not the mean */
    int64_t longest;    /* tokens of a text that has one; 0: as many as there are positions */
} Bert;

/* api_import_config.c. 0, or 1 after api_fail. `as` is a name of a kind, or NULL: what the file says. */
int bert_read_config(const char *folder, const char *as, Arena *arena, Bert *bert);
int bert_write_config(const char *folder, const Bert *bert, Arena *arena);
enum { BERT_NUMBER = 32 };
char *bert_number(double number, char text[BERT_NUMBER]); /* with as many digits as it takes to read the same */
/* What the file of weights says of itself, the classes of a classifier among it (see api_weights_classes): keys and
 * values. */
enum { BERT_METADATA = 7 };
void bert_metadata(const Bert *bert, const char *metadata[BERT_METADATA], Arena *arena);
int bert_kind_find(const char *name, BertKind *kind);
/* NULL after a message, or a selfc_fail alone where the file cannot be read. */
const Json *bert_open_json(const char *path, Arena *arena, Diag *diag);

/* api_import_sentence.c: how sentence-transformers makes an embedding of the rows, where the folder says so; and to say
 * so in a folder, where there is an embedding (0, or 1 after api_fail). */
void bert_read_sentence(const char *folder, Bert *bert, Arena *arena, Diag *diag);
int bert_write_sentence(const char *folder, const Bert *bert, Arena *arena);

/* api_import_model.c: a description of the model. */
const char *bert_description(const Bert *bert, const char *name, Arena *arena);

/* api_import_tensors.c: one tensor of one model: a line of bert.def for one layer. */
typedef struct {
    const char *there, *here; /* names; `there` as the architecture's own */
    bool is_dense;            /* [out, in] there */
    SelfcTensor tensor;       /* f32, with the axes that it has here */
} BertTensor;
typedef struct {
    BertTensor *items;
    uint32_t count;
} BertTensors;
BertTensors bert_tensors(const Bert *bert, Arena *arena);
bool bert_is_left_out(const char *there);
/* The tensor as the other side has it: axes swapped where it is dense. */
SelfcTensor bert_shape_there(const BertTensor *tensor);
void bert_turn(float *to, const float *from, int64_t rows, int64_t columns); /* to[columns, rows] */

/* The tensors of a folder: model.safetensors, or the shards that model.safetensors.index.json names. */
typedef struct {
    const char *path; /* for messages */
    SelfcTensors *files;
    uint32_t file_count;
    const SelfcEntry **entries; /* of all files */
    bool *used;
    uint32_t count;
} BertFile;
int bert_open(const char *folder, Arena *arena, BertFile *file);
void bert_close(BertFile *file);
/* api_import_tokenizer.c: what the folder has becomes tokenizer.json of a RUN, and the other way round. NULL, which is
 * fine for all of them: there is none. 0, or 1 after api_fail. */
int bert_open_tokenizer(const char *folder, const Bert *bert, Arena *arena, SelfcTokenizer **tokenizer);
int bert_import_tokenizer(const SelfcTokenizer *tokenizer, const char *out, Arena *arena);
int bert_export_tokenizer(const SelfcTokenizer *tokenizer, const char *out, const Bert *bert, Arena *arena);

#endif
