/* Contractions: what contract.c (blocks and tiles), contract_pack.c (operands) and contract_tile.c (tiles
 * and what is done with its tile) share. Private to these. */
#ifndef SELFC_BACKEND_CONTRACT_H
#define SELFC_BACKEND_CONTRACT_H
#include "backend/micro.h"
#include "ir/panels.h"
#include "ir/patch.h"

/* Element (row, depth) of the left operand stands at
 *   base + row / row_run · row_jump + row % row_run · row  +  depth / depth_run · depth_jump + depth % depth_run ·
 * depth; a run of 0 means one run without end. Of the right operand, columns stand side by side. */
typedef struct {
    LLVMValueRef base;
    LLVMValueRef row, row_jump, depth, depth_jump; /* strides in elements, i64 */
    int64_t row_run, depth_run;
} Operand;

/* Lines that will be needed: line i begins with element first + i / lines · row + i % lines · 16. */
typedef struct {
    LLVMValueRef at; /* memory: how many were asked for so far */
    LLVMValueRef base, first, row, lines, total, portion;
} Ahead;
enum { MOST_AHEAD = 6 };

typedef struct {
    Pull *p;
    const Kernel *kernel;
    const Node *product;
    uint32_t rank, lanes, rows, vectors; /* rank of the product; the register tile */
    Dim depth;
    int64_t depth_block; /* steps along k in one block: whole depth if it is not cut */
    bool cuts_depth;
    bool ragged, partial; /* the last vector, the last panel may be partly outside */
    bool has_panels;      /* the right operand lies in panels as wide as the tile */
    bool has_patch;       /* the left operand is one */
    Patch patch;
    bool takes_images;                         /* a block holds several whole images; else at most one */
    LLVMValueRef image_jump;                   /* from image to image in A, in elements */
    bool stores_registers;                     /* the epilogue takes the tile from registers; else from scratch */
    bool *in_epilogue;                         /* per input of the body: read there, not by the operands alone */
    LLVMValueRef from[MAX_RANK], to[MAX_RANK]; /* of the piece */
    LLVMValueRef k_from, k_count;              /* the block of the depth */
    LLVMValueRef row_from, row_count;          /* the block of rows, from the start of the piece */
    LLVMValueRef columns;                      /* n */
    LLVMValueRef panels_id, packed_id;         /* which columns the piece has; memory: of which B was packed last */
    LLVMValueRef tile, packed_a, packed_b;     /* scratch */
    LLVMValueRef winograd;                     /* scratch, of backend/winograd.h */
    LLVMValueRef panels;                       /* of B, from the piece's first on, at the block's first step */
    int64_t panel;                             /* elements from one to the next */
    LLVMValueRef sums;                         /* scratch: of the piece's columns, for each output that sums rows */
    uint32_t sum_count;
    int64_t sum_stride;  /* elements from one to the next */
    int64_t tile_stride; /* elements from row to row of `tile` */
    Operand a, b;
    LLVMTypeRef f32, vector;
    Ahead ahead[MOST_AHEAD]; /* of B first */
    uint32_t ahead_count, ahead_b_count;
} Contract;

typedef struct {
    uint32_t rows, vectors;
    LLVMValueRef row, column; /* of its first element, from the start of the block of rows and of the piece */
    LLVMValueRef a;           /* its first element of the left operand */
    LLVMValueRef is_there;    /* i1: else nothing is stored; NULL: it is */
} Tile;

/* One row of a result at some vector of columns: the row is counted from the start of the piece. */
typedef struct {
    LLVMValueRef row, product, is_there;
} Finished;

/* The largest block of a piece; depth rounded up to whole vectors for packing by squares. */
typedef struct {
    int64_t rows, columns, depth;
} Block;
Block contract_block(const Kernel *kernel, const Target *target);
int64_t contract_round_up(int64_t value, int64_t unit);

/* contract_pack.c. Base and strides of an operand that is read where it is; false if it is more than strides. */
bool contract_in_place(Contract *c, NodeId operand, LLVMValueRef *base, LLVMValueRef *first, LLVMValueRef *second);
void contract_ready_b(Contract *c); /* the piece's columns of the block of the depth */
void contract_ready_a(Contract *c); /* the block of rows */
bool contract_has_panels(const Kernel *kernel, const Target *target);  /* then nothing is packed for B */
int64_t contract_packed_a(const Kernel *kernel, const Target *target); /* elements of scratch */

/* contract_ahead.c: what the next block of each operand will read, and to ask for some of it before a run of steps. */
void contract_ahead_b(Contract *c);
void contract_ahead_a(Contract *c);
void contract_ask_ahead(Contract *c);

/* contract_tile.c: sums of rows begin and end with their piece. */
void contract_begin_sums(Contract *c);
void contract_end_sums(Contract *c);
void contract_tile(Contract *c, const Tile *tile);
bool contract_stores_registers(const Kernel *kernel);
/* Asks for what the epilogue will read and write at `vectors` vectors of a row, if there is anything. */
bool contract_has_results_to_ask(Contract *c);
void contract_ask_results(Contract *c, LLVMValueRef row, LLVMValueRef column, uint32_t vectors);
/* sum[] += the tile's rows of A times B over `count` steps, from registers to registers. */
void contract_multiply(Contract *c, const Tile *tile, LLVMValueRef b, LLVMValueRef count, LLVMValueRef *sum);
/* The epilogue of so many rows at the vector of columns that begins with `column` of the piece. */
enum { MOST_FINISHED = 9 };
void contract_finish(Contract *c, LLVMValueRef column, const Finished *places, uint32_t count);

/* winograd.c, winograd_weights.c: the piece by tiles of 2x2 places. */
void winograd_places(Contract *c);
void winograd_weights(Contract *c);
/* Lays the transformed filters out, behind their panels. */
void winograd_filters(Contract *c);
int64_t winograd_scratch_bytes(const Kernel *kernel, const Target *target);

/* Small things. */
static inline LLVMBuilderRef contract_builder(Contract *c) { return c->p->e->builder; }
static inline LLVMValueRef contract_number(Contract *c, int64_t value) { return pull_i64(c->p, value); }
static inline LLVMValueRef contract_sub(Contract *c, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildNSWSub(c->p->e->builder, a, b, "");
}
static inline LLVMValueRef contract_divide(Contract *c, LLVMValueRef a, int64_t by) {
    return by == 1 ? a : LLVMBuildUDiv(c->p->e->builder, a, contract_number(c, by), "");
}
static inline LLVMValueRef contract_rest(Contract *c, LLVMValueRef a, int64_t by) {
    return by == 1 ? contract_number(c, 0) : LLVMBuildURem(c->p->e->builder, a, contract_number(c, by), "");
}
static inline LLVMValueRef contract_element(Contract *c, LLVMValueRef base, LLVMValueRef offset) {
    return pull_address(c->p, base, c->f32, offset);
}
static inline uint32_t contract_vector_bytes(const Contract *c) { return c->lanes * 4; }
static inline LLVMValueRef contract_load(Contract *c, LLVMValueRef base, LLVMValueRef offset, uint32_t align,
                                         LLVMValueRef mask) {
    return pull_load(c->p, c->vector, contract_element(c, base, offset), align, mask, false);
}
static inline void contract_store(Contract *c, LLVMValueRef value, LLVMValueRef base, LLVMValueRef offset,
                                  uint32_t align) {
    pull_store_to(c->p, value, contract_element(c, base, offset), align, NULL);
}
static inline LLVMValueRef contract_mask_below(Contract *c, LLVMValueRef at, LLVMValueRef end) {
    return pull_mask(c->p, contract_sub(c, end, at), c->lanes);
}
static inline bool contract_is_one(LLVMValueRef stride) {
    return LLVMIsAConstantInt(stride) && LLVMConstIntGetSExtValue(stride) == 1;
}
#endif
