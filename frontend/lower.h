/* Model → Graph, private to frontend/. One Lower is one graph on its way.
 *
 * A mistake gives a message and an unknown value. Whatever is made of an unknown value is unknown without a word, so
 * everything that can be wrong is reported in one go and nothing twice. */
#ifndef SELFC_FRONTEND_LOWER_H
#define SELFC_FRONTEND_LOWER_H
#include "frontend/model.h"
#include "ir/build.h"

typedef enum { VALUE_unknown, VALUE_number, VALUE_tensor, VALUE_list, VALUE_text } ValueKind;

typedef struct Value Value;
struct Value {
    ValueKind kind;
    double number, per_n; /* number + per_n * n: a batch that is open keeps its letter */
    NodeId node;
    const Value *items; /* of a list */
    uint32_t count;
    const char *text;
};

/* Where a message points. */
typedef struct {
    const Json *json;
    size_t at;
} Spot;

/* A name in sight. */
typedef struct Binding Binding;
struct Binding {
    const char *name;
    Value value;
    bool is_implicit; /* the name of a module's output, not given by the caller: may be bound again */
    Binding *next;
};

typedef struct Scope Scope;
struct Scope {
    const Scope *outer;
    Binding *bindings;
};

/* A parameter or state of the graph. */
typedef struct {
    const char *name;
    NodeId input;   /* the graph's input */
    NodeId value;   /* its newest value; differs from input once something has set it */
    uint32_t index; /* in graph->inputs */
    Type type;
    InputKind kind;
    Spot spot;
} Weight;

/* Which copy of which module is being lowered: names and limits. */
typedef struct Frame Frame;
struct Frame {
    const Frame *outer;
    const Module *module; /* NULL: training or a function */
    const char *path;     /* what its weights' names begin with: "", "encode." */
    const Json *call;
    uint32_t depth;
};

typedef struct {
    const Model *model;
    Graph *g;
    Diag *diag;
    Arena *arena;
    bool is_training; /* dropout drops, batch norm uses the batch */
    Dim n;            /* the batch, or -1 */
    uint32_t streams; /* random calls so far */
    Weight *weights;
    uint32_t weight_count, weight_capacity;
    const Scope *root; /* the description's let */
    const Frame *frame;
    uint32_t layers; /* so far; descriptions that unroll without end are stopped */
    bool had_error;
} Lower;

static inline Value value_unknown(void) { return (Value){.kind = VALUE_unknown}; }
static inline Value value_number(double number) { return (Value){.kind = VALUE_number, .number = number}; }
static inline Value value_tensor(NodeId node) { return (Value){.kind = VALUE_tensor, .node = node}; }
static inline Spot spot_json(const Json *json) { return (Spot){json, 0}; }
static inline Spot spot_expr(const Expr *expr) { return (Spot){expr->json, expr->at}; }

/* values.c: what values are made of and how they meet. */
__attribute__((format(printf, 3, 4))) Value lower_fail(Lower *l, Spot spot, const char *format, ...);
Type value_type(const Lower *l, NodeId node);
const char *type_text(const Lower *l, Type type);      /* "f32[n,784]" in l's arena */
NodeId number_node(Lower *l, Value number, Type type); /* a constant; or n as a tensor broadcast to type */
bool to_tensor(Lower *l, Spot spot, Value *value);     /* numbers become f32[]; false if unknown or no tensor */
bool to_float(Lower *l, Spot spot, Value *value);      /* and of type f32 */
bool to_pair(Lower *l, Spot spot, const char *what, Value *a, Value *b); /* one type, one shape */
bool to_number(Lower *l, Spot spot, Value value, double *number);        /* a plain number without n */
bool to_dim(Lower *l, Spot spot, const char *what, Value value, Dim *dim);
bool to_type(Lower *l, Spot spot, Value list, DType dtype, Type *type);
bool to_axis(Lower *l, Spot spot, Type type, Value value, uint32_t *axis);
bool to_axes(Lower *l, Spot spot, Type type, Value value, uint32_t *axes);

/* formula.c: what a formula is worth. */
Value formula_value(Lower *l, const Scope *scope, const Expr *expr);
Value formula_operator(Lower *l, Spot spot, Operator op, Value a, Value b);
const Value *scope_find(const Scope *scope, const char *name);
/* false after a message if the name is taken in this scope. */
bool scope_bind(Lower *l, Scope *scope, const char *name, Value value, Spot spot);
void scope_bind_implicit(Lower *l, Scope *scope, const char *name, Value value);
void scope_bind_constants(Lower *l, Scope *scope, const Constants *constants); /* each may use the ones before */
void scope_set(Lower *l, Scope *scope, const char *name, Value value);         /* whatever was there */

/* functions.c */
typedef enum {
    ARGUMENT_tensor,
    ARGUMENT_optional,
    ARGUMENT_number,
    ARGUMENT_count,
    ARGUMENT_axis,
    ARGUMENT_axes,
    ARGUMENT_flag,
    ARGUMENT_shape,
    ARGUMENT_list,
    ARGUMENT_text
} ArgumentKind;
enum { MAX_FUNCTION_ARGUMENTS = 4 };

typedef struct {
    ArgumentKind kind;
    const char *name;
    double value; /* if left out */
} ArgumentInfo;

typedef struct {
    Spot spot;
    const char *name;
    Value argument[MAX_FUNCTION_ARGUMENTS];
    bool given[MAX_FUNCTION_ARGUMENTS];
    Spot spots[MAX_FUNCTION_ARGUMENTS];
} Call;

typedef struct {
    const char *name, *meaning;
    bool is_layer;
    Value (*build)(Lower *l, Call *call);
    double (*number)(double x); /* elementwise: on plain numbers */
    OpKind op;                  /* elementwise */
    ArgumentInfo argument[MAX_FUNCTION_ARGUMENTS];
} FunctionInfo;
enum {
#define ELEMENTWISE(name, ...) FUNCTION_##name,
#define FUNCTION(name, ...) FUNCTION_##name,
#include "frontend/functions.def"
    FUNCTION_COUNT
};
extern const FunctionInfo function_info[FUNCTION_COUNT];
const FunctionInfo *function_find(const char *name);
bool argument_required(ArgumentKind kind);
uint32_t function_arguments(const FunctionInfo *info);
bool function_is_activation(const FunctionInfo *info);
Value function_apply(Lower *l, const FunctionInfo *info, Call *call); /* arguments not given take their defaults */
Value function_unary(Lower *l, const FunctionInfo *info, Spot spot, Value x);

/* random.c */
NodeId random_key(Lower *l);                /* the graph's "$key" */
NodeId random_step(Lower *l);               /* f32[]: 1 in the first step */
NodeId random_sample(Lower *l);             /* the graph's "$sample" */
/* Numbers of the samples along the first axis of `type`, or i32[1] if it is not made of samples. */
NodeId random_samples(Lower *l, Type type);
NodeId random_uniform(Lower *l, Type like); /* f32 in [0, 1) */
NodeId random_normal(Lower *l, Type like);
NodeId random_mask(Lower *l, Type like, double rate); /* bool: true with probability `rate` */

/* layers.c */
typedef struct {
    const char *name;
    const char *value; /* as in keys.def */
    bool required;
    double standard;
    const char *meaning;
} OptionInfo;

typedef struct {
    Lower *l;
    const Layer *layer;
    const Scope *scope;
    const char *path; /* "encode.h.": what its weights' names begin with */
    Spot spot;
    Value *inputs;
    uint32_t input_count;
} LayerCall;

struct LayerInfo {
    const char *name, *meaning;
    Value (*build)(LayerCall *call); /* NULL: `function` is the layer */
    const FunctionInfo *function;
};
extern const LayerInfo layer_info[]; /* the built-in ones, then all functions */
extern const uint32_t layer_count;
bool layer_exists(const LayerInfo *info);
const char *layer_meaning(const LayerInfo *info);
const char *layer_inputs_meaning(const LayerInfo *info); /* of a layer that may take several; else NULL */
const LayerInfo *layer_find(const char *name);
uint32_t layer_options(const LayerInfo *info, OptionInfo option[MAX_OPTIONS]);
Value layer_apply(LayerCall *call);

/* lower.c */
enum { MAX_VALUES = 64 };

/* What a layer gives, or what the next one is applied to. */
typedef struct {
    Value item[MAX_VALUES];
    const char *name[MAX_VALUES];
    uint32_t count;
} Values;

NodeId lower_weight(Lower *l, Spot spot, const char *name, Type type, InputKind kind,
                    Init init); /* NO_NODE after a message */
void lower_set_weight(Lower *l, const char *name, NodeId value);
const Weight *lower_find_weight(const Lower *l, const char *name); /* NULL: no layer has asked for it so far */
typedef enum { TRAINING_step, TRAINING_evaluation, TRAINING_health } TrainingPart;
Graph *lower_training(const Model *model, const DataShape *shapes, size_t count, Dim n, TrainingPart part,
                      bool is_trial, Diag *diag);
/* Everything is lowered once as a trial, so that shapes are checked with all the rest. */
void lower_trial(const Model *model, Diag *diag);

/* blocks.c: layers in order. `values` comes in as the inputs and goes out as the results. */
void lower_block(Lower *l, const Block *block, Scope *scope, Values *values);
/* A value for each input, bound to its name; shapes that are given are checked. */
void bind_inputs(Lower *l, const Block *block, Scope *scope, Values *values, Spot spot, const Layer *call,
                 const char *what); /* call: NULL, or where the values come from */
const Scope *module_surroundings(const Lower *l, const Module *module);
/* The params and let of the module that `call` calls, for its own scope. */
void bind_module_numbers(Lower *l, Scope *scope, const Layer *call, const Scope *caller);
/* An input of the graph for each input of a block: how a function begins. */
bool function_inputs(Lower *l, const Scope *scope, const Block *block, Spot spot, Values *values);

/* updates.c: outputs of the training step for every update of the model. */
void lower_updates(Lower *l, const Scope *scope);
/* Instead of these: how long the gradients of each update are. */
void lower_gradient_norms(Lower *l, const Scope *scope);
#endif
