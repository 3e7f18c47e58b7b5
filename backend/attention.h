/* Attention kernels: what attention.c (pieces, forward and backward), attention_product.c (operands in panels, products
 * on scratch) and attention_softmax.c (what is done with scores) share. Private to these. */
#ifndef SELFC_BACKEND_ATTENTION_H
#define SELFC_BACKEND_ATTENTION_H
#include "backend/micro.h"
#include "ir/attention.h"

/* Rows in memory, whose elements lie side by side. */
typedef struct {
    LLVMValueRef base, stride; /* the first; elements from one to the next, i64 */
} Rows;

/* A place for numbers in scratch, all of them in bytes. */
typedef struct {
    int64_t keys, values;               /* panels of kᵀ and vᵀ, or of v itself in the forward kernel */
    int64_t wide_k, wide_q, wide_dy;    /* panels of rows, backward */
    int64_t scores, slopes;             /* a block of queries by keys each; backward: weights, then slopes */
    int64_t sums;                       /* forward: a block of results, where keys come in several blocks */
    int64_t most, total, shrink, share; /* forward, for each query: see attention_softmax.c */
    int64_t across;                     /* forward, a vector for each query */
    int64_t end;
} AttentionLayout;

typedef struct {
    Pull *p;
    const Kernel *kernel;
    const Node *node; /* the sibling with the most inputs */
    AttentionParts parts;
    AttentionShape shape;
    AttentionLayout layout;
    double scale, rate;
    bool is_causal, has_blocks; /* has_blocks: keys come in several blocks */
    uint32_t lanes;
    int64_t score_stride; /* elements from row to row of scores */
    LLVMTypeRef f32, vector;
    LLVMValueRef sample, head; /* of the piece, i64 */
    LLVMValueRef keys;         /* that the sample has for any of its queries, i64 */
    LLVMValueRef random_key[2], random_step, random_sample;
    Rows q, k, v, dy; /* of the piece's sample and head */
    Rows ahead[4];    /* what the next piece reads, where each has a head of its own */
    uint32_t ahead_count;
} Attention;

/* A block of queries and keys. */
typedef struct {
    LLVMValueRef query, queries; /* the first; how many */
    LLVMValueRef key, keys;
} AttentionBlock;

/* ---- attention_product.c */

/* C[rows x columns] = A[rows x depth] B[depth x columns], B in panels as wide as the tile. */
typedef enum { DIAGONAL_none, DIAGONAL_columns_are_keys, DIAGONAL_depth_is_keys, DIAGONAL_rows_are_keys } Diagonal;
typedef struct {
    uint32_t tile_rows, tile_vectors;
    LLVMValueRef a, a_row, a_depth; /* the first element, strides */
    LLVMValueRef panels;
    int64_t panel; /* elements from one to the next */
    LLVMValueRef rows, depth;
    int64_t block_rows, all_rows; /* `rows` is block_rows or, in the last block, what is left of all_rows; 0: any */
    LLVMValueRef columns;         /* whole panels are done; NULL: as many as a head is wide, and no more */
    Rows to;
    bool adds;                  /* to what stands there */
    LLVMValueRef before, after; /* a factor for each row: of what stands there, of the result; or NULL */
    Diagonal diagonal;          /* what of it the causal mask leaves out */
    LLVMValueRef ahead;         /* the block's first key less its first query */
} AttentionProduct;
void attention_product(Attention *a, const AttentionProduct *product);

/* Panels of rows [first, first + count), as B whose depth they are; `capacity` rows fit. */
void attention_pack_rows(Attention *a, Rows rows, LLVMValueRef first, LLVMValueRef count, LLVMValueRef panels,
                         int64_t capacity);
/* The same of the transposed rows, as B whose columns they are; none beyond row `last` is read. */
void attention_pack_columns(Attention *a, Rows rows, LLVMValueRef first, LLVMValueRef count, int64_t last,
                            LLVMValueRef panels);
int64_t attention_wide_panel(const Attention *a, int64_t capacity); /* elements of a panel of rows */
int64_t attention_wide_panels(const Attention *a);                  /* how many there are */
int64_t attention_columns_panel(const Attention *a);                /* elements of a panel of columns */

/* ---- attention_softmax.c. Scores in scratch are what the product made of them, unscaled. */
void attention_clear_totals(Attention *a, LLVMValueRef queries);
void attention_softmax(Attention *a, const AttentionBlock *block); /* scores → weights, not yet divided by the total */
void attention_finish_totals(Attention *a, LLVMValueRef query,
                             LLVMValueRef queries);                           /* shares, and the norm's output */
void attention_finish_sums(Attention *a, LLVMValueRef queries, Rows to);      /* times their shares */
void attention_weights_and_slopes(Attention *a, const AttentionBlock *block); /* backward */

/* ---- small things */
static inline LLVMBuilderRef attention_builder(Attention *a) { return a->p->e->builder; }
static inline LLVMValueRef attention_number(Attention *a, int64_t value) { return pull_i64(a->p, value); }
static inline LLVMValueRef attention_sub(Attention *a, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildNSWSub(a->p->e->builder, x, y, "");
}
static inline LLVMValueRef attention_element(Attention *a, LLVMValueRef base, LLVMValueRef offset) {
    return pull_address(a->p, base, a->f32, offset);
}
static inline LLVMValueRef attention_load(Attention *a, LLVMValueRef at, LLVMValueRef mask) {
    return pull_load(a->p, a->vector, at, 4, mask, false);
}
static inline LLVMValueRef attention_load_one(Attention *a, LLVMValueRef base, LLVMValueRef index) {
    return pull_load(a->p, a->f32, attention_element(a, base, index), 4, NULL, false);
}
static inline LLVMValueRef attention_scratch(Attention *a, int64_t bytes) {
    return pull_address(a->p, LLVMGetParam(a->p->e->function, 4), LLVMInt8TypeInContext(a->p->e->context),
                        attention_number(a, bytes));
}
/* Which of the lanes from element `at` on are below `end`. */
static inline LLVMValueRef attention_mask_below(Attention *a, LLVMValueRef at, LLVMValueRef end) {
    return pull_mask(a->p, attention_sub(a, end, at), a->lanes);
}
static inline int64_t attention_round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }
#endif
