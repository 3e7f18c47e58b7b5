/* The program: kernels, their order, and planned memory.
 *
 * A kernel's meaning is a small Graph, its body: the body's inputs are the buffers it reads, the body's
 * outputs those it writes, in this order. So a program is evaluated, printed, parsed and compared with the
 * tools of the graph, and two layers that need the same code have equal bodies. What the body does not say,
 * the schedule does: which axes are cut into pieces, tiles, packing.
 *
 * A call is a kernel with buffers. Calls of one phase do not depend on one another; between phases stands a
 * barrier. Work is cut into pieces by shape alone, so the result does not depend on the number of threads.
 *
 * The first calls may be a part of their own, to be done once for each change of the states that they depend on:
 * what they leave to the others is in prepared buffers. */
#ifndef SELFC_IR_PROGRAM_H
#define SELFC_IR_PROGRAM_H
#include "ir/graph.h"
#include "ir/machine.h"

/* KERNEL_map: one pass over an index space, lanes over its last axis. Each piece walks its part of the
 *   parallel axes; inside, the reduced axes are walked once for each stage (a stage is a set of reductions
 *   whose operands need no later stage; the last stage stores what is not reduced).
 * KERNEL_contract: the one matmul of the body; operands are pulled (through index and elementwise nodes)
 *   into packed panels or read in place, the epilogue is applied to the tile in registers.
 * KERNEL_attention: the siblings of ir/attention.h that the body holds, and nothing else. Products, softmax and products
 *   again, block by block of queries and keys, all in scratch.
 * KERNEL_scatter: the one scatter_add of the body, its result; operands are pulled. Each piece is a part of the result:
 *   it gets its base, unless that stands there already, and then walks all positions in order and adds what falls into
 *   it, so the bits do not depend on the pieces. */
typedef enum { KERNEL_map, KERNEL_contract, KERNEL_attention, KERNEL_scatter } KernelKind;
extern const char *const kernel_kind_name[]; /* as in texts */

/* Pieces = the product over the axes of ceil(extent / block), numbered row-major. */
typedef struct {
    uint32_t rank;
    struct {
        Dim extent;
        int64_t block; /* elements of the axis in a piece; 0: all of them (the axis is not cut) */
    } axis[MAX_RANK];
} Grid;

typedef struct {
    KernelKind kind;
    const char *name;  /* for people: "dense_relu.3"; valid in an assembler symbol after sanitising */
    Graph *body;
    Grid grid;         /* map: one entry for each axis of the space; contract: the axes of the product [.., m, n];
                          attention: samples, heads and, but for gradients, queries;
                          scatter: those of the result */
    uint32_t reduced;  /* map: bit mask of axes that some stage reduces over; never cut */
    NodeId product;    /* contract: the matmul in body */
    uint32_t tile_rows, tile_vectors;  /* contract: register tile; rows x vectors of the machine's width; attention: of scores */
    uint32_t wide_rows, wide_vectors;  /* attention: tile of products as wide as a head */
    int64_t depth_block;               /* contract: how much of k is done before the next block; 0: all; attention: keys in a block */
    int64_t row_block;                 /* contract: rows of a piece whose left operand is made ready at once; 0: all;
                          attention: queries in a block */
    bool pack_a, pack_b;               /* contract: copy operands into panels, or read them where they are */
    int64_t winograd;                  /* contract: tiles of 2x2 places that are done at once (ir/winograd.h); then there are
                          no other blocks; 0: not by tiles */
    bool prepared_b;                   /* contract: b depends on states alone, in all calls: its panels are laid out once */
    bool streams;                      /* results are far larger than the caches: write them past these */
    double flop, bytes;                /* an estimate for n = 1 if the batch is open: for balance and profile */
} Kernel;

typedef enum { BUFFER_input, BUFFER_state, BUFFER_output, BUFFER_temporary, BUFFER_prepared } BufferKind;

typedef struct {
    BufferKind kind;
    Type type;         /* dense, row-major */
    uint32_t index;    /* input, state: position in inputs; output: position in outputs; else unused */
    Extent offset;     /* temporary: bytes from the start of the arena, a multiple of 64 for every n;
                          prepared: from the start of what is prepared */
} Buffer;

typedef struct {
    uint32_t kernel;
    uint32_t phase;    /* calls stand in order of phase */
    uint32_t *args;    /* buffers: the body's inputs, then its outputs; an output may name a buffer that is also
                          an input: it is updated in place (the body then reads it at the same place only) */
    const char *origin;
} Call;

typedef struct {
    Arena *arena;      /* owns everything below, except the bodies */
    const char *name;
    GraphInput *inputs;    uint32_t input_count;
    GraphOutput *outputs;  uint32_t output_count; /* .node is the buffer it is in, for updates the state's own */
    Buffer *buffers;       uint32_t buffer_count, buffer_capacity;
    Kernel *kernels;       uint32_t kernel_count, kernel_capacity;
    Call *calls;           uint32_t call_count, call_capacity;
    uint32_t phase_count;
    uint32_t prepare_calls; /* the first calls, which depend on states alone; their phases are theirs alone */
    int64_t prepared_size; /* bytes of prepared buffers */
    Extent arena_size;     /* bytes of temporaries */
    Extent most_live;      /* the lower bound: most bytes of temporaries alive in one phase */
} Program;

/* program.c */
Program *program_new(const char *name);
void program_free(Program *program); /* and the bodies */
uint32_t program_add_buffer(Program *program, Buffer buffer);
uint32_t program_add_kernel(Program *program, Kernel kernel); /* takes the body; an equal kernel is shared (and the body freed) */
void program_add_call(Program *program, uint32_t kernel, const uint32_t *args, const char *origin);
uint32_t kernel_arg_count(const Kernel *kernel);
bool program_changes_states(const Program *program); /* as a training step does */
/* The first phase behind the prepare part. */
uint32_t program_first_phase(const Program *program);
Dim grid_pieces_at(const Grid *grid, int64_t n);
bool kernel_equal(const Kernel *a, const Kernel *b);
/* Contractions: is the output a sum of the product's rows within its pieces, sum(reshape(v) as [pieces, rows, columns])
 * over axis 1? Then the grid cuts the rows so. kernel_sum_rows: the rows of a piece; 0 if there is no such output. */
enum { MOST_ROW_SUMS = 16 /* outputs of one kernel that are */ };
bool kernel_sums_rows(const Kernel *kernel, uint32_t output);
int64_t kernel_sum_rows(const Kernel *kernel);
/* The size of a map kernel's last axis, if it is so short that vectors run along the axis before it and are interleaved
 * as they are stored: the colours of a picture. 0: they run along the last axis. */
enum { MOST_INTERLEAVED = 4 };
uint32_t kernel_interleaved(const Kernel *kernel);
/* Whether a node is a reduction that takes a walk (not over axes of size 1 alone). Map kernels: in which walk each node
 * is complete: one later than the reductions that it needs; and in which one an output is stored, UINT32_MAX for those
 * without the reduced axes, which are stored behind the last. */
bool kernel_reduces(const Kernel *kernel, NodeId id);
uint32_t *kernel_stages(const Kernel *kernel, Arena *arena);
uint32_t kernel_store_stage(const Kernel *kernel, const uint32_t *stage, uint32_t output);
/* Scatter kernels: do all elements behind the scattered axis share a position? Then rows are added, and pieces may be
 * parts of the scattered axis. */
NodeId kernel_scatter(const Kernel *kernel); /* the scatter_add */
bool kernel_scatters_rows(const Kernel *kernel);
/* May output `output` of the body be written over input `input`? True when they have one type and all that is made of
 * the input reads it element by element at the place that is computed: outside of the product's operands, and in no
 * later stage than the one that stores the output. Code has to compute everything at a place before it stores. A scatter
 * may be written over its base, if that is the input itself. */
bool kernel_may_update(const Kernel *kernel, uint32_t input, uint32_t output);

/* program_verify.c: bodies, types of args, order, phases, and that live buffers do not overlap. */
bool program_verify(const Program *program, FILE *report);
/* The first and last phase that touches each buffer; first > last: none does. What is an output lives to the end.
 * False while there is no plan yet. */
bool program_lives(const Program *program, uint32_t *first, uint32_t *last);

/* program_print.c, program_parse.c: inverse of each other. */
void program_print(const Program *program, FILE *out);
Program *program_parse(const char *text, const char *file, Diag *diag);
/* Arena size against the bound, the buffers and who is alive at the peak, for people. */
void program_print_plan(const Program *program, FILE *out);

/* program_eval.c: runs the calls in order with the graph's evaluator. values[b] is the content of buffer b, one
 * double an element: inputs and states are given, states are updated, the others are filled in (from arena). */
void program_eval(const Program *program, int64_t n, double **values, Arena *arena);
#endif
