/* The description as plain structs, private to frontend/. What depends on a call (sizes, shapes) is still a formula
 * here: lowering evaluates it where the module's params are known. */
#ifndef SELFC_FRONTEND_MODEL_H
#define SELFC_FRONTEND_MODEL_H
#include "frontend/expr.h"
#include "frontend/frontend.h"

enum { MAX_OPTIONS = 12, LARGEST_SIDE = 4096 /* of a picture */ };

typedef struct Module Module;
typedef struct LayerInfo LayerInfo; /* a line of layers.def, see lower.h */

/* A number with a name: from let, params, or an optimiser's numbers. */
typedef struct {
    const char *name;
    const Expr *value; /* NULL: every call must give it */
    const Json *json;
    bool used; /* let: some formula mentions it, or should have */
} Constant;

typedef struct {
    Constant *items;
    uint32_t count;
} Constants;

typedef struct {
    const char *name;
    const Json *json;
} Name;

typedef struct {
    Name *items;
    uint32_t count;
} Names;

/* What a module or function takes. */
typedef struct {
    const char *name;
    const Json *json;
    bool any_shape;
    const Expr *shape; /* a list */
    DType dtype;
} Port;

typedef enum { LAYER_builtin, LAYER_module, LAYER_expr, LAYER_broken } LayerKind;

typedef struct {
    LayerKind kind;
    const Json *json;
    const char *origin; /* "encode.layers[0]" */
    uint32_t position;  /* in its list */
    Names names;
    const Expr **inputs; /* input_count of them; 0: the layer before */
    uint32_t input_count;
    const Expr *repeat; /* NULL: once */
    const char *index;
    const LayerInfo *info; /* builtin */
    struct {
        const Json *json;  /* NULL: not given */
        const Expr *expr;  /* numbers and counts */
    } option[MAX_OPTIONS]; /* in the order of layers.def */
    Module *module;        /* module */
    Constants params;
    const char *instance; /* NULL: the module's name */
    const Expr *expr;     /* expr */
} Layer;

typedef struct {
    Port *inputs;
    uint32_t input_count;
    Layer *layers;
    uint32_t layer_count;
    Names outputs; /* none: those of the last layer */
} Block;

struct Module {
    const char *name;
    const Json *json;
    bool is_library, used;
    bool suggested; /* what could not be read may name it */
    Constants params, let;
    Block block;
};

typedef struct {
    const char *name;
    const Json *json;
    bool is_call;       /* of one module: block.layers[0] is the call, and its ports are the module's */
    const char *family; /* of a function with "lengths": its name in the description, else NULL */
    int64_t length;     /* then: the one that this copy is for */
    Block block;
} Function;

typedef struct {
    const char *name;
    const Json *json;
    bool is_library; /* none of its numbers may be negative */
    Constants params, let, state /* value: NULL or a condition */, update;
} Optimizer;

/* An optimiser with the numbers that a description gives it. */
typedef struct {
    const Optimizer *optimizer;
    Constants params;
    bool has_exclude; /* else parameters with at most one axis are excluded */
    Names exclude;
    const Expr *clip_norm; /* NULL: gradients stay as long as they are */
    const Json *json;      /* may be NULL */
} OptimizerUse;

typedef struct {
    Name loss;
    Names over; /* none: all that the loss depends on */
    OptimizerUse optimizer;
} Update;

typedef struct {
    const char *name; /* of the input */
    const Json *json, *shape_json;
    const char *source, *path, *field;
    int64_t height, width, channels; /* 0: the source decides */
    bool is_text;
    int64_t length, stride; /* of texts, as all below; 0: not given, the source decides */
    const char *unit, *tokenizer;
    const Json *tokenizer_json;
    int64_t vocabulary, mask; /* 0 and -1: as the tokenizer says, once it is open */
    const Json *labels; /* names of classes; NULL: they have none */
    bool flatten;
    const Expr *scale; /* NULL: the default */
    const Expr *shape; /* NULL: not described */
    DType dtype;       /* of what is described */
    bool has_sample;   /* the source alone decides its shape */
    Type sample;
} Data;

typedef struct {
    const Json *json;
    Data *data;
    uint32_t data_count;
    Block block;
    Update *updates;
    uint32_t update_count;
    Names reports, health;
    KnnSpec knn;
    const Json *knn_function;
    BeginSpec begin;
    const Json *begin_json, *begin_from;
    Names freeze;
    int64_t batch, epochs, accumulate;
    int64_t samples; /* 0: the data has not been opened */
    uint64_t seed;
} Training;

/* Places that a message has been given for already: a module that is called twice is reported once. */
typedef struct Reported Reported;
struct Reported {
    const Json *json;
    size_t at;
    const Reported *next;
};

struct Model {
    Arena *arena;
    const Json *json;
    const char *name;
    Constants let;
    Module *modules; /* the description's, then the library's */
    uint32_t module_count;
    Optimizer *optimizers;
    uint32_t optimizer_count;
    Function *functions;
    uint32_t function_count, function_capacity;
    bool has_training;
    Training training;
    const Data *text;               /* the first input that reads texts; NULL: none does */
    const char *vocabulary_failure; /* why its tokenizer could not be opened; NULL: it was, or nobody has tried */
    const Reported **reported; /* shared by all lowerings of one diag */
    const char **report_names, **function_names;
    uint32_t report_count;
    DataSpec *data_specs;
};

/* read.c: everything that can be said without shapes. False after errors; the model then holds what could be read. */
bool read_model(Model *model, const Json *json, const Json *const *library, uint32_t library_count, Diag *diag);

/* Says that a formula means `name`, be it that it should have. */
void model_mention(const Model *model, const char *name);
/* What nothing uses. Last, since a misspelt name uses what it should have been. */
void model_check_unused(const Model *model, Diag *diag);

/* An error at a place, unless there was one at this place already. */
__attribute__((format(printf, 5, 6))) void model_error(const Model *model, Diag *diag, const Json *json, size_t at,
                                                       const char *format, ...);
#endif
