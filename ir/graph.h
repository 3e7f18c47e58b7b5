/* The tensor graph: what to compute.
 *
 * Nodes stand in one array and are named by position; inputs of a node come
 * earlier, so every walk is a for loop and a cycle cannot be built. Nodes never
 * change once added, equal nodes are shared, no operation has an effect: a
 * training step returns new values of its states as `updates`. */
#ifndef SELFC_IR_GRAPH_H
#define SELFC_IR_GRAPH_H
#include "ir/arena.h"
#include "ir/diag.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { MAX_INPUTS = 9, MAX_RANK = 6 };

typedef enum {
#define DTYPE(name, ...) DTYPE_##name,
#include "ir/dtypes.def"
} DType;
enum {
    DTYPE_COUNT = 0
#define DTYPE(...) +1
#include "ir/dtypes.def"
};

typedef struct {
    const char *name, *safetensors, *meaning;
    uint32_t bytes;
    bool is_float;
} DTypeInfo;
extern const DTypeInfo dtype_info[DTYPE_COUNT];
bool dtype_find(const char *name, DType *dtype);

/* The size of an axis: d > 0 is d elements, d < 0 is -d times the batch `n`,
 * which a training step fixes and an inference function leaves open. Never 0. */
typedef int64_t Dim;

/* Printed as f32[128,784], f32[n,2], f32[] (one element), f32[4n,7]. */
typedef struct {
    DType dtype;
    uint32_t rank;
    Dim dim[MAX_RANK]; /* zero beyond rank, so that types compare with memcmp */
} Type;

/* A quantity that depends on the batch: fixed + per_n * n. */
typedef struct {
    int64_t fixed, per_n;
} Extent;

typedef enum {
#define OP(name, ...) OP_##name,
#include "ir/ops.def"
} OpKind;

/* Kept out of OpKind, so that a switch over it has no case that cannot happen. */
enum {
    OP_COUNT = 0
#define OP(...) +1
#include "ir/ops.def"
};

typedef enum {
    CLASS_leaf, CLASS_unary, CLASS_function, CLASS_binary, CLASS_ternary, CLASS_index, CLASS_reduce, CLASS_scatter,
    CLASS_contract, CLASS_attention, CLASS_meta
} OpClass;
typedef enum { DOMAIN_any, DOMAIN_number, DOMAIN_float, DOMAIN_integer, DOMAIN_logic, DOMAIN_special } OpDomain;
typedef enum {
    ATTR_none, ATTR_index, ATTR_value, ATTR_axis, ATTR_axes, ATTR_random,
    ATTR_dtype, ATTR_permutation, ATTR_slice, ATTR_pad, ATTR_window, ATTR_attention
} AttrKind;

typedef uint32_t NodeId;
#define NO_NODE UINT32_MAX

/* Unused bytes are zero, so that attributes compare with memcmp. */
typedef union {
    uint32_t index;                /* input: position in graph->inputs */
    double value;                  /* constant */
    uint32_t axis;                 /* iota, concat, gather, scatter_add */
    uint32_t axes;                 /* reductions: a bit for each axis */
    struct { uint32_t stream, word; } random;
    uint8_t permutation[MAX_RANK];
    struct { int64_t start[MAX_RANK], step[MAX_RANK]; } slice; /* the result's shape gives the counts */
    struct { int64_t before[MAX_RANK]; double value; } pad;    /* the result's shape gives the rest */
    struct { int64_t stride[2], dilation[2], before[2]; double value; } window; /* of height and width; value: window */
    struct { double scale, rate; uint32_t stream, causal; } attention; /* rate, stream: not of attention_norm */
} Attr;                            /* cast needs none: the node's type says it all */

typedef struct {
    OpKind op;
    Type type;
    NodeId in[MAX_INPUTS]; /* each smaller than the node's own id; unused ones are 0 */
    Attr attr;
    const char *origin;    /* as in ir/origin.h; may be NULL; not part of equality */
} Node;

typedef enum { INPUT_data, INPUT_parameter, INPUT_state } InputKind;
typedef enum { INIT_zero, INIT_constant, INIT_uniform, INIT_normal } InitKind;

/* How a parameter or state begins: constant `a`; uniform in [a, b); normal with mean a, deviation b. */
typedef struct {
    InitKind kind;
    double a, b;
} Init;

typedef struct {
    const char *name;
    InputKind kind; /* data is fed, parameters are trained, states are kept between steps */
    Type type;
    Init init;
    Dim below; /* data: whole numbers that are labels of so many classes, 0 to below - 1; 0: not known */
} GraphInput;

typedef struct {
    const char *name;
    NodeId node;
    int32_t updates; /* index of the parameter or state whose next value this is, or -1 */
} GraphOutput;

typedef struct {
    Arena *arena; /* owns everything below */
    const char *name;
    Node *nodes;
    uint32_t count, capacity;
    GraphInput *inputs;
    uint32_t input_count, input_capacity;
    GraphOutput *outputs;
    uint32_t output_count, output_capacity;
    uint32_t *table; /* hash of equal nodes; private to graph.c */
    uint32_t table_size;
    const char *origin; /* given to every node that is added while it is set */
} Graph;

typedef struct {
    const char *name, *meaning, *gradient;
    uint32_t inputs;
    OpClass class;
    OpDomain domain;
    AttrKind attr;
} OpInfo;
extern const OpInfo op_info[OP_COUNT];
bool op_find(const char *name, OpKind *op);
bool op_is_function(OpKind op);    /* elementwise, of many instructions */
bool op_is_elementwise(OpKind op); /* each element of the result from those at its place */

/* type.c */
Type type_make(DType dtype, uint32_t rank, const Dim *dim);
Type type_scalar(DType dtype); /* rank 0 */
bool type_equal(Type a, Type b);
bool shape_equal(Type a, Type b);                 /* all but the dtype */
Type type_with_dtype(Type type, DType dtype);
Extent dim_extent(Dim dim);
Dim dim_mul(Dim a, Dim b);                        /* BUG if both depend on n */
Dim type_elements(Type type);                     /* the product of the axes, as a Dim; 1 for rank 0 */
int64_t dim_at(Dim dim, int64_t n);               /* the number it stands for */
int64_t extent_at(Extent extent, int64_t n);
size_t type_bytes_at(Type type, int64_t n);
bool type_has_batch(Type type);                   /* some axis depends on n */
const char *type_problem(Type type);              /* why no tensor may have this type; NULL if it may */
/* Writes "f32[n,784]"; 128 bytes are always enough. Returns buffer. */
char *type_print(Type type, char buffer[128]);
bool type_parse(const char **text, Type *type);   /* moves *text behind what it read; false: no tensor's type */

/* graph.c */
Graph *graph_new(const char *name);               /* owns its arena */
void graph_free(Graph *graph);                    /* NULL is fine */
uint32_t graph_add_input(Graph *graph, GraphInput input); /* returns its position; copies the name */
uint32_t graph_add_output(Graph *graph, const char *name, NodeId node, int32_t updates);
/* Adds the node or returns the equal one that is there. Types of operations other than input, constant, iota,
 * random, cast, broadcast, reshape, slice, pad, window and unwindow (whose node.type says what is wanted) are inferred.
 * A node that breaks the rules is a BUG; graph_try_add gives NO_NODE and the reason instead. Adding may move
 * graph->nodes: write `id = build_x(…); graph->nodes[id]`, never graph->nodes[build_x(…)]. */
NodeId graph_add(Graph *graph, Node node);
NodeId graph_try_add(Graph *graph, Node node, const char **why);
/* Adds `node` of another graph, with its inputs renamed by new_id. */
NodeId graph_copy_node(Graph *to, const Node *node, const NodeId *new_id);
/* Copies name, inputs and (through new_id) outputs: how a pass begins and ends. */
void graph_copy_inputs(Graph *to, const Graph *from);
void graph_copy_outputs(Graph *to, const Graph *from, const NodeId *new_id);
Graph *graph_copy(const Graph *from); /* node for node */
/* users[id] is how many outputs read node id, and nodes that outputs need. */
uint32_t *graph_count_users(const Graph *graph, Arena *arena);

/* shape.c: the type that follows from the inputs, or false with a reason a person can act on. */
bool infer_type(const Graph *graph, const Node *node, Type *type, const char **why);

/* verify.c: what every pass may rely on. Writes what is wrong to report. */
bool graph_verify(const Graph *graph, FILE *report);
/* What is wrong with one input or output, or NULL. */
const char *graph_input_problem(const Graph *graph, uint32_t index);
const char *graph_output_problem(const Graph *graph, uint32_t index);

/* print.c, parse.c: inverse of each other. */
void graph_print(const Graph *graph, FILE *out);
char *graph_text(const Graph *graph, Arena *arena);
Graph *graph_parse(const char *text, const char *file, Diag *diag); /* NULL after an error */

/* eval.c: the slow, obviously right meaning, in double precision (integers exactly; an i64 beyond 2^53 is rounded).
 * inputs[i] and the results are arrays of doubles, row-major, one for each element; f32 results of
 * arithmetic are NOT rounded to f32; casts (from integers to f32, too) and integer arithmetic do round and wrap.
 * values[id] is allocated from the arena, for every node. CHECKs that no meta operation is left. */
double **graph_eval(const Graph *graph, int64_t n, const double *const *inputs, Arena *arena);
/* The same, but each result is rounded to its type: what overflows in f32 does so here, too. */
double **graph_eval_stored(const Graph *graph, int64_t n, const double *const *inputs, Arena *arena);
#endif
