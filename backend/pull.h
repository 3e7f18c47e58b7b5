/* Pulling values: the one way in which kernels compute elements. Private to backend/.
 *
 * To know an element of a node at some position, ask its operands at theirs: index operations only change the
 * position, elementwise operations combine, inputs load. What a kernel holds in registers (sums, the tile of a
 * product) it gives before it pulls. */
#ifndef SELFC_BACKEND_PULL_H
#define SELFC_BACKEND_PULL_H
#include "backend/emit.h"

/* Where along one axis: lane i stands at base + i·step, or, if vector is set, at vector[i]. */
typedef struct {
    LLVMValueRef base;   /* i64 */
    int64_t step;
    LLVMValueRef vector; /* <lanes x i64> or NULL */
} Index;

typedef struct {
    uint32_t rank, lanes;  /* lanes 1: a scalar */
    LLVMValueRef mask;     /* <lanes x i1>: lanes that exist; NULL: all */
    Index axis[MAX_RANK];
} Position;

typedef struct {
    NodeId node;
    Position at;
    LLVMValueRef value;
} Known;

typedef struct {
    Emitter *e;
    LLVMValueRef n;        /* the batch, i64 */
    LLVMValueRef *args;    /* pointers: inputs, then outputs */
    LLVMValueRef *given;   /* per node of the body: a value held in registers, or NULL */
    uint8_t *taken;        /* per node: the operand of a select that is known to be the answer; 0: not known */
    LLVMValueRef sample;   /* for which it is known: an index of the first axis */
    bool *is_constant;     /* per input: not written by this kernel, whatever the call's buffers */
    Known *known;          /* values of the current stretch of code */
    uint32_t known_count, known_capacity;
    bool streams;          /* whole vectors of results go past the caches */
} Pull;

/* The kernel's function with its arguments loaded; the builder stands at the end of the entry block. */
Pull *pull_begin(Emitter *e);

/* Behind the last store: what went past the caches is seen by all who come later. */
void pull_end(Pull *p);

/* The element(s) of the node at the position: a vector of `lanes`, or a scalar when all lanes are equal. */
LLVMValueRef pull_value(Pull *p, NodeId node, const Position *at);
LLVMValueRef pull_splat(Pull *p, LLVMValueRef value, uint32_t lanes); /* a scalar as a vector; vectors stay */

/* Values known so far stay known inside what follows, and are forgotten with pull_forget(p, mark). */
uint32_t pull_mark(const Pull *p);
void pull_forget(Pull *p, uint32_t mark);

/* Stores to output `output` of the body, whose lanes are contiguous. */
void pull_store(Pull *p, uint32_t output, const Position *at, LLVMValueRef value);

/* The same for `count` vectors that are one element each of a last axis of that size: `at` is that of the first, with
 * lanes along the axis before. */
void pull_store_interleaved(Pull *p, uint32_t output, const Position *at, const LLVMValueRef *values, uint32_t count);

/* Small things that every emitter needs. Integers are i64. */
LLVMTypeRef pull_type(Pull *p, DType dtype, uint32_t lanes);        /* of a value in registers */
LLVMTypeRef pull_memory_type(Pull *p, DType dtype, uint32_t lanes); /* of the same in memory */
LLVMValueRef pull_i64(Pull *p, int64_t value);
LLVMValueRef pull_dim(Pull *p, Dim dim);
LLVMValueRef pull_extent(Pull *p, Extent extent);
LLVMValueRef pull_add(Pull *p, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef pull_mul(Pull *p, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef pull_min(Pull *p, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef pull_max(Pull *p, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef pull_mask(Pull *p, LLVMValueRef remaining, uint32_t lanes); /* lane i exists if i < remaining */
LLVMValueRef pull_address(Pull *p, LLVMValueRef base, LLVMTypeRef element, LLVMValueRef offset);
LLVMValueRef pull_load(Pull *p, LLVMTypeRef type, LLVMValueRef pointer, uint32_t align, LLVMValueRef mask, bool is_constant);
typedef enum { TO_READ, TO_WRITE } Purpose;
/* Asks for a line of the cache, and goes on. It may lie behind all that there is. */
void pull_fetch(Pull *p, LLVMValueRef base, LLVMTypeRef type, LLVMValueRef offset, Purpose purpose);
/* The pointer operand of a masked operation carries its alignment as an attribute. */
void pull_set_alignment(Pull *p, LLVMValueRef call, unsigned parameter, uint32_t align);
void pull_store_to(Pull *p, LLVMValueRef value, LLVMValueRef pointer, uint32_t align, LLVMValueRef mask);
LLVMValueRef pull_intrinsic(Pull *p, const char *name, LLVMTypeRef *types, uint32_t type_count, LLVMValueRef *args, uint32_t arg_count);

/* pull_arithmetic.c */
LLVMValueRef pull_elementwise(Pull *p, const Node *node, const Position *at); /* pulls the operands, too */
LLVMValueRef pull_combine(Pull *p, const Node *reduction, LLVMValueRef a, LLVMValueRef b); /* one step of sum or reduce_max */

/* loop.c: for (index = from; index < to; index += step). Code between begin and end is the body. */
typedef struct {
    LLVMValueRef index;
    LLVMValueRef to, step;
    LLVMBasicBlockRef body, exit;
    uint32_t mark;
} Loop;
Loop loop_begin(Pull *p, LLVMValueRef from, LLVMValueRef to, LLVMValueRef step);
void loop_end(Pull *p, Loop *loop);

/* An axis walked by vectors: several at once, single ones, and what is left under a mask. */
typedef struct {
    uint32_t width, unroll; /* lanes of a vector; vectors at once */
    LLVMValueRef mask;      /* NULL: all lanes exist */
} Lanes;
typedef void LanesEmit(void *context, LLVMValueRef index, Lanes lanes);
void loop_lanes(Pull *p, LLVMValueRef from, LLVMValueRef to, Lanes full, LanesEmit *emit, void *context);

/* Decodes piece `piece` of the kernel's grid: the axis is to be walked from from[i] to to[i]. The last axis is the
 * fastest; of a contraction the rows are, so that neighbours share their columns. */
void loop_piece(Pull *p, LLVMValueRef piece, LLVMValueRef from[MAX_RANK], LLVMValueRef to[MAX_RANK]);

/* decide.c: the condition that whole samples decide and that spares a map kernel most, or NO_NODE (stage: of each node,
 * as kernel_stages says); what it is for one of them; and its answer, for all that is pulled of this sample from now on.
 */
NodeId decide_condition(const Kernel *kernel, const uint32_t *stage, Arena *arena);
LLVMValueRef decide_ask(Pull *p, NodeId condition, LLVMValueRef sample);
void decide_answer(Pull *p, NodeId condition, bool answer);

/* map.c, scatter.c, contract.c, attention.c */
void map_emit(Pull *p);
void scatter_emit(Pull *p);
void contract_emit(Pull *p);
void attention_emit(Pull *p);
int64_t attention_scratch_bytes(const Kernel *kernel, const Target *target);
int64_t contract_scratch_bytes(const Kernel *kernel, const Target *target);
#endif
