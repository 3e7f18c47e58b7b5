/* Contractions: every product is loops around one micro-kernel.
 *
 *   for each piece (rows m0..m1, columns n0..n1)
 *     for each block of the depth k
 *       pack B into panels of tile_vectors vectors, pack A (each if the schedule says so)
 *       for each tile of columns, for each tile of rows
 *         micro-kernel: tile_rows x tile_vectors accumulators in registers, one broadcast of A and
 *                       tile_vectors loads of B for each row and step along k
 *         the tile goes to scratch; after the last block of k, the epilogue is pulled over it
 *
 * Each element is the sum over k in order, whatever the tile it falls into: bits do not depend on pieces.
 * The tile passes through scratch (L1) so that the epilogue is a loop over vectors of one code, not straight-line
 * code for each register: an optimiser's update has dozens of instructions an element. */
#include "backend/pull.h"

#include "ir/digits.h"
#include "ir/strided.h"

enum { MOST_ROWS = 32, MOST_VECTORS = 4, ROW_PAD = 16 };

typedef struct {
    LLVMValueRef base;             /* of element (0, 0) of what is read now */
    LLVMValueRef row, depth;       /* strides in elements, i64; B: row is the stride of a column and always 1 */
} Operand;

typedef struct {
    Pull *p;
    const Kernel *kernel;
    const Node *product;
    uint32_t rank, lanes, rows, vectors; /* rank of the product; the register tile */
    Dim depth;
    int64_t depth_block;           /* steps along k in one block: whole depth if it is not cut */
    bool cuts_depth;
    bool ragged, partial;          /* the last vector, the last panel may be partly outside */
    LLVMValueRef from[MAX_RANK], to[MAX_RANK];
    LLVMValueRef k_from, k_count;  /* the block of the depth */
    LLVMValueRef columns;          /* n */
    LLVMValueRef tile, packed_a, packed_b; /* scratch */
    int64_t tile_stride;           /* elements from row to row of `tile` */
    Operand a, b;
    LLVMTypeRef f32, vector;
} Contract;

/* ---- layout of scratch ---- */

typedef struct {
    int64_t b, a, tile, end; /* offsets in bytes */
} Layout;

static int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

typedef struct {
    int64_t rows, columns, depth;
} Block;

/* The largest block of a piece; depth rounded up to whole vectors for packing by squares. */
static Block block_of(const Kernel *kernel, const Target *target) {
    const Grid *grid = &kernel->grid;
    const Node *product = &kernel->body->nodes[kernel->product];
    const Type *a = &kernel->body->nodes[product->in[0]].type;
    int64_t lanes = target->machine.vector_bytes / 4;
    Block block = {grid->axis[grid->rank - 2].block, grid->axis[grid->rank - 1].block, kernel->depth_block};
    if (!block.rows) block.rows = grid->axis[grid->rank - 2].extent;
    if (!block.columns) block.columns = grid->axis[grid->rank - 1].extent;
    if (!block.depth) block.depth = a->dim[a->rank - 1];
    CHECK(block.rows > 0 && block.columns > 0 && block.depth > 0); /* open axes must be cut */
    block.columns = round_up(block.columns, kernel->tile_vectors * lanes);
    block.depth = round_up(block.depth, lanes);
    return block;
}

static bool depth_is_cut(const Kernel *kernel) {
    const Node *product = &kernel->body->nodes[kernel->product];
    const Type *a = &kernel->body->nodes[product->in[0]].type;
    return kernel->depth_block && kernel->depth_block != a->dim[a->rank - 1];
}

static Layout layout_of(const Kernel *kernel, const Target *target) {
    Block block = block_of(kernel, target);
    int64_t lanes = target->machine.vector_bytes / 4;
    int64_t tile = (int64_t)kernel->tile_rows * kernel->tile_vectors * lanes;
    int64_t by_rows = (round_up(block.rows, lanes) + lanes) * (block.depth + ROW_PAD);
    int64_t by_depth = (block.depth + lanes) * (round_up(block.rows, lanes) + ROW_PAD), a = by_rows > by_depth ? by_rows : by_depth;
    Layout layout = {0};
    layout.a = kernel->pack_b ? round_up(block.columns * block.depth * 4, 64) : 0;
    layout.tile = layout.a + (kernel->pack_a ? round_up(a * 4, 64) : 0);
    layout.end = layout.tile + round_up((depth_is_cut(kernel) ? block.rows * block.columns : tile) * 4, 64);
    return layout;
}

int64_t contract_scratch_bytes(const Kernel *kernel, const Target *target) { return layout_of(kernel, target).end; }

/* ---- small helpers ---- */

static LLVMBuilderRef builder(Contract *c) { return c->p->e->builder; }
static LLVMValueRef number(Contract *c, int64_t value) { return pull_i64(c->p, value); }
static LLVMValueRef add(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_add(c->p, a, b); }
static LLVMValueRef mul(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_mul(c->p, a, b); }
static LLVMValueRef sub(Contract *c, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildNSWSub(builder(c), a, b, ""); }
static LLVMValueRef divide(Contract *c, LLVMValueRef a, int64_t by) { return LLVMBuildUDiv(builder(c), a, number(c, by), ""); }
static LLVMValueRef element(Contract *c, LLVMValueRef base, LLVMValueRef offset) { return pull_address(c->p, base, c->f32, offset); }

static LLVMValueRef vector_at(Contract *c, LLVMValueRef base, LLVMValueRef offset, uint32_t align, LLVMValueRef mask) {
    return pull_load(c->p, c->vector, element(c, base, offset), align, mask, false);
}

static void put_vector(Contract *c, LLVMValueRef value, LLVMValueRef base, LLVMValueRef offset, uint32_t align) {
    pull_store_to(c->p, value, element(c, base, offset), align, NULL);
}

static uint32_t vector_bytes(const Contract *c) { return c->lanes * 4; }
static LLVMValueRef mask_below(Contract *c, LLVMValueRef at, LLVMValueRef end) { return pull_mask(c->p, sub(c, end, at), c->lanes); }

/* The position of element (depth, column) of B, lanes along columns. */
static Position b_position(Contract *c, LLVMValueRef k, LLVMValueRef column, LLVMValueRef mask) {
    Position at = {.rank = c->rank, .lanes = c->lanes, .mask = mask};
    for (uint32_t i = 0; i + 2 < c->rank; i++) at.axis[i] = (Index){c->from[i], 0, NULL};
    at.axis[c->rank - 2] = (Index){k, 0, NULL};
    at.axis[c->rank - 1] = (Index){column, 1, NULL};
    return at;
}

/* Base and strides of an operand that is read where it is; false if it is more than strides. */
static bool operand_in_place(Contract *c, NodeId operand, LLVMValueRef *base, LLVMValueRef *first, LLVMValueRef *second) {
    Strided view;
    if (!strided_of(c->kernel->body, operand, &view)) return false;
    LLVMValueRef offset = pull_extent(c->p, view.offset);
    for (uint32_t i = 0; i + 2 < c->rank; i++) offset = add(c, offset, mul(c, c->from[i], pull_extent(c->p, view.stride[i])));
    uint32_t input = c->kernel->body->nodes[view.input].attr.index;
    *base = element(c, c->p->args[input], offset);
    *first = pull_extent(c->p, view.stride[c->rank - 2]);
    *second = pull_extent(c->p, view.stride[c->rank - 1]);
    return true;
}

static bool is_one(LLVMValueRef stride) { return LLVMIsAConstantInt(stride) && LLVMConstIntGetSExtValue(stride) == 1; }

/* ---- packing ---- */

/* The lanes x lanes square of `rows`, transposed: log2(lanes) rounds, each exchanging blocks of half the size. */
static void transpose_square(Contract *c, LLVMValueRef *rows) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(c->p->e->context);
    for (uint32_t step = 1; step < c->lanes; step *= 2)
        for (uint32_t i = 0; i < c->lanes; i++) {
            if (i & step) continue;
            LLVMValueRef low[64], high[64], a = rows[i], b = rows[i + step];
            for (uint32_t lane = 0; lane < c->lanes; lane++) {
                low[lane] = LLVMConstInt(i32, lane & step ? lane - step + c->lanes : lane, false);
                high[lane] = LLVMConstInt(i32, lane & step ? lane + c->lanes : lane + step, false);
            }
            rows[i] = LLVMBuildShuffleVector(builder(c), a, b, LLVMConstVector(low, c->lanes), "");
            rows[i + step] = LLVMBuildShuffleVector(builder(c), a, b, LLVMConstVector(high, c->lanes), "");
        }
}

/* One step along k of one panel: `vectors` vectors of B from column `column` on, zeros beyond the last. */
static void pack_b_row(Contract *c, NodeId operand, LLVMValueRef column, LLVMValueRef k, LLVMValueRef panel) {
    for (uint32_t v = 0; v < c->vectors; v++) {
        LLVMValueRef at = add(c, column, number(c, v * c->lanes));
        LLVMValueRef mask = c->partial ? mask_below(c, at, c->columns) : NULL;
        Position position = b_position(c, add(c, c->k_from, k), at, mask);
        LLVMValueRef value = pull_splat(c->p, pull_value(c->p, operand, &position), c->lanes);
        if (mask) value = LLVMBuildSelect(builder(c), mask, value, LLVMConstNull(c->vector), "");
        LLVMValueRef offset = add(c, mul(c, k, number(c, c->vectors * c->lanes)), number(c, v * c->lanes));
        put_vector(c, value, panel, offset, vector_bytes(c));
    }
}

/* B whose k is contiguous in memory: squares of lanes x lanes, transposed on the way. */
static void pack_b_square(Contract *c, LLVMValueRef base, LLVMValueRef stride, LLVMValueRef column, LLVMValueRef k, LLVMValueRef panel) {
    LLVMValueRef rows[64], mask = mask_below(c, k, c->k_count);
    for (uint32_t i = 0; i < c->lanes; i++) {
        LLVMValueRef at = add(c, column, number(c, i));
        LLVMValueRef last = sub(c, c->columns, number(c, 1)); /* beyond the last column: any values, never stored */
        LLVMValueRef offset = add(c, mul(c, pull_min(c->p, at, last), stride), add(c, c->k_from, k));
        rows[i] = vector_at(c, base, offset, 4, mask);
    }
    transpose_square(c, rows);
    for (uint32_t i = 0; i < c->lanes; i++)
        put_vector(c, rows[i], panel, mul(c, add(c, k, number(c, i)), number(c, c->vectors * c->lanes)), vector_bytes(c));
}

static void pack_b(Contract *c) {
    NodeId operand = c->product->in[1];
    uint32_t axis = c->rank - 1;
    int64_t width = c->vectors * c->lanes;
    LLVMValueRef base, depth_stride, column_stride;
    bool squares = operand_in_place(c, operand, &base, &depth_stride, &column_stride) && is_one(depth_stride) && !is_one(column_stride);
    Loop columns = loop_begin(c->p, c->from[axis], c->to[axis], number(c, width));
    LLVMValueRef first = sub(c, columns.index, c->from[axis]);
    LLVMValueRef panel = element(c, c->packed_b, mul(c, first, number(c, round_up(c->depth_block, c->lanes))));
    Loop depth = loop_begin(c->p, number(c, 0), c->k_count, number(c, squares ? c->lanes : 1));
    if (squares)
        for (uint32_t v = 0; v < c->vectors; v++) {
            LLVMValueRef column = add(c, columns.index, number(c, v * c->lanes));
            pack_b_square(c, base, column_stride, column, depth.index, element(c, panel, number(c, v * c->lanes)));
        }
    else
        pack_b_row(c, operand, columns.index, depth.index, panel);
    loop_end(c->p, &depth);
    loop_end(c->p, &columns);
}

/* A is copied in the order in which it lies in memory: rows along k if k is contiguous, else rows along m. An axis that
 * a reshape joined from others (the taps and channels under a window) is walked digit by digit: `run` is its fastest
 * digit, contiguous in memory, and only the others are found by division, once for each run. */
typedef struct {
    Digits digits;
    uint32_t outer, inner;        /* axes of A: one element of `outer` is a row of the copy */
    LLVMValueRef outer_from, inner_from, inner_to;
    LLVMValueRef row;             /* of the copy: where inner_from goes */
    Position at;
} PackA;

static LLVMValueRef digit_size(Contract *c, const Digits *digits, uint32_t axis, uint32_t digit) {
    return pull_dim(c->p, c->kernel->body->nodes[digits->base].type.dim[digits->axis[axis][digit]]);
}

/* Sets the first `count` digits of an axis to what `value` is in their number system. */
static void set_digits(Contract *c, const Digits *digits, uint32_t axis, uint32_t count, LLVMValueRef value, Position *at) {
    for (uint32_t i = count; i--;) {
        LLVMValueRef size = digit_size(c, digits, axis, i);
        at->axis[digits->axis[axis][i]].base = i ? LLVMBuildURem(builder(c), value, size, "") : value;
        if (i) value = LLVMBuildUDiv(builder(c), value, size, "");
    }
}

/* Copies elements [low, high) of the inner axis, whose slower digits are set; `start` is where its fastest is 0. */
static void pack_a_run(Contract *c, PackA *pack, LLVMValueRef low, LLVMValueRef high, LLVMValueRef start) {
    Loop loop = loop_begin(c->p, low, high, number(c, c->lanes));
    Position at = pack->at;
    uint32_t count = pack->digits.count[pack->inner];
    at.mask = mask_below(c, loop.index, high);
    if (count) at.axis[pack->digits.axis[pack->inner][count - 1]] = (Index){sub(c, loop.index, start), 1, NULL};
    LLVMValueRef value = pull_splat(c->p, pull_value(c->p, pack->digits.base, &at), c->lanes);
    put_vector(c, value, pack->row, sub(c, loop.index, pack->inner_from), 4);
    loop_end(c->p, &loop);
}

static void pack_a_row(Contract *c, PackA *pack) {
    uint32_t count = pack->digits.count[pack->inner];
    if (count <= 1) {
        pack_a_run(c, pack, pack->inner_from, pack->inner_to, number(c, 0));
        return;
    }
    LLVMValueRef size = digit_size(c, &pack->digits, pack->inner, count - 1);
    LLVMValueRef first = LLVMBuildUDiv(builder(c), pack->inner_from, size, "");
    LLVMValueRef last = LLVMBuildUDiv(builder(c), sub(c, pack->inner_to, number(c, 1)), size, "");
    Loop runs = loop_begin(c->p, first, add(c, last, number(c, 1)), number(c, 1));
    LLVMValueRef start = mul(c, runs.index, size), end = add(c, start, size);
    LLVMValueRef is_before = LLVMBuildICmp(builder(c), LLVMIntSLT, start, pack->inner_from, "");
    LLVMValueRef low = LLVMBuildSelect(builder(c), is_before, pack->inner_from, start, "");
    set_digits(c, &pack->digits, pack->inner, count - 1, runs.index, &pack->at);
    pack_a_run(c, pack, low, pull_min(c->p, end, pack->inner_to), start);
    loop_end(c->p, &runs);
}

/* Is the fastest axis in memory one that counts rows? */
static bool rows_are_contiguous(Contract *c, const Digits *digits) {
    const Type *base = &c->kernel->body->nodes[digits->base].type;
    uint32_t fastest = base->rank, rows = c->rank - 2;
    while (fastest && base->dim[fastest - 1] == 1) fastest--;
    return fastest && digits->count[rows] && digits->axis[rows][digits->count[rows] - 1] == fastest - 1;
}

static void pack_a(Contract *c) {
    PackA pack = {.digits = digits_of(c->kernel->body, c->product->in[0])};
    uint32_t rows = c->rank - 2, depth = c->rank - 1;
    bool along_rows = rows_are_contiguous(c, &pack.digits);
    Block block = block_of(c->kernel, c->p->e->target);
    int64_t stride = (along_rows ? round_up(block.rows, c->lanes) : block.depth) + ROW_PAD;
    LLVMValueRef k_to = add(c, c->k_from, c->k_count);
    pack.outer = along_rows ? depth : rows;
    pack.inner = along_rows ? rows : depth;
    pack.outer_from = along_rows ? c->k_from : c->from[rows];
    pack.inner_from = along_rows ? c->from[rows] : c->k_from;
    pack.inner_to = along_rows ? c->to[rows] : k_to;
    pack.at = (Position){.rank = c->kernel->body->nodes[pack.digits.base].type.rank, .lanes = c->lanes};
    for (uint32_t i = 0; i < pack.at.rank; i++) pack.at.axis[i] = (Index){number(c, 0), 0, NULL};
    for (uint32_t i = 0; i + 2 < c->rank; i++) set_digits(c, &pack.digits, i, pack.digits.count[i], c->from[i], &pack.at);
    Loop loop = loop_begin(c->p, pack.outer_from, along_rows ? k_to : c->to[rows], number(c, 1));
    set_digits(c, &pack.digits, pack.outer, pack.digits.count[pack.outer], loop.index, &pack.at);
    pack.row = element(c, c->packed_a, mul(c, sub(c, loop.index, pack.outer_from), number(c, stride)));
    pack_a_row(c, &pack);
    loop_end(c->p, &loop);
    c->a = (Operand){c->packed_a, along_rows ? number(c, 1) : number(c, stride), along_rows ? number(c, stride) : number(c, 1)};
}

/* ---- the micro-kernel ---- */

typedef struct {
    uint32_t rows, vectors;
    LLVMValueRef row, column;  /* of the tile's first element, from the start of the piece */
} Tile;

static LLVMValueRef multiply_add(Contract *c, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum) {
    if (!c->p->e->target->machine.has_fma) return LLVMBuildFAdd(builder(c), sum, LLVMBuildFMul(builder(c), a, b, ""), "");
    LLVMValueRef args[] = {a, b, sum};
    return pull_intrinsic(c->p, "llvm.fma", &c->vector, 1, args, 3);
}

static LLVMValueRef tile_offset(Contract *c, const Tile *tile, LLVMValueRef row, uint32_t v) {
    LLVMValueRef offset = mul(c, row, number(c, c->tile_stride));
    if (c->cuts_depth) {
        offset = add(c, mul(c, add(c, tile->row, row), number(c, c->tile_stride)), tile->column);
    }
    return add(c, offset, number(c, v * c->lanes));
}

/* C[rows x vectors] += A[rows x k] B[k x vectors], kept in registers, begun from and ended in scratch. */
static void micro_kernel(Contract *c, const Tile *tile, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef build = builder(c);
    LLVMContextRef context = c->p->e->context;
    LLVMValueRef sum[MOST_ROWS * MOST_VECTORS], phi[MOST_ROWS * MOST_VECTORS], vectors[MOST_VECTORS];
    uint32_t count = tile->rows * tile->vectors;
    CHECK(tile->rows <= MOST_ROWS && tile->vectors <= MOST_VECTORS);
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef offset = tile_offset(c, tile, number(c, i / tile->vectors), i % tile->vectors);
        sum[i] = c->cuts_depth ? vector_at(c, c->tile, offset, vector_bytes(c), NULL) : LLVMConstNull(c->vector);
    }
    LLVMBasicBlockRef before = LLVMGetInsertBlock(build);
    LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(context, c->p->e->function, "micro");
    LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(context, c->p->e->function, "tile");
    LLVMBuildBr(build, body);
    LLVMPositionBuilderAtEnd(build, body);
    LLVMValueRef k = LLVMBuildPhi(build, LLVMInt64TypeInContext(context), "k"), zero = number(c, 0);
    LLVMAddIncoming(k, &zero, &before, 1);
    for (uint32_t i = 0; i < count; i++) {
        phi[i] = LLVMBuildPhi(build, c->vector, "c");
        LLVMAddIncoming(phi[i], &sum[i], &before, 1);
    }
    LLVMValueRef b_row = mul(c, k, c->b.depth), a_column = element(c, a, mul(c, k, c->a.depth));
    for (uint32_t v = 0; v < tile->vectors; v++) {
        bool aligned = c->kernel->pack_b;
        LLVMValueRef offset = add(c, b_row, number(c, v * c->lanes));
        LLVMValueRef mask = NULL;
        if (!aligned && c->ragged && v == tile->vectors - 1)
            mask = mask_below(c, add(c, add(c, c->from[c->rank - 1], tile->column), number(c, v * c->lanes)), c->columns);
        vectors[v] = vector_at(c, b, offset, aligned ? vector_bytes(c) : 4, mask);
    }
    for (uint32_t r = 0; r < tile->rows; r++) {
        LLVMValueRef x = pull_load(c->p, c->f32, element(c, a_column, mul(c, number(c, r), c->a.row)), 4, NULL, false);
        LLVMValueRef wide = pull_splat(c->p, x, c->lanes);
        for (uint32_t v = 0; v < tile->vectors; v++) {
            uint32_t i = r * tile->vectors + v;
            sum[i] = multiply_add(c, wide, vectors[v], phi[i]);
        }
    }
    LLVMValueRef next = add(c, k, number(c, 1));
    LLVMAddIncoming(k, &next, &body, 1);
    for (uint32_t i = 0; i < count; i++) LLVMAddIncoming(phi[i], &sum[i], &body, 1);
    LLVMBuildCondBr(build, LLVMBuildICmp(build, LLVMIntSLT, next, c->k_count, ""), body, after);
    LLVMPositionBuilderAtEnd(build, after);
    for (uint32_t i = 0; i < count; i++)
        put_vector(c, sum[i], c->tile, tile_offset(c, tile, number(c, i / tile->vectors), i % tile->vectors), vector_bytes(c));
}

/* ---- the epilogue ---- */

/* Where output or operand `id`, an elementwise node of the epilogue, stands: its axes of a size other than 1 are the
 * product's, in order. */
static Position epilogue_position(Contract *c, NodeId id, LLVMValueRef row, LLVMValueRef column, LLVMValueRef mask) {
    const Type *type = &c->kernel->body->nodes[id].type, *space = &c->product->type;
    Position at = {.rank = type->rank, .lanes = c->lanes, .mask = mask};
    uint32_t axis = 0;
    for (uint32_t i = 0; i < type->rank; i++) {
        at.axis[i] = (Index){number(c, 0), 0, NULL};
        if (type->dim[i] == 1) continue;
        while (space->dim[axis] == 1) axis++;
        if (axis + 2 < c->rank) at.axis[i].base = c->from[axis];
        else if (axis + 2 == c->rank) at.axis[i].base = row;
        else at.axis[i] = (Index){column, 1, NULL};
        axis++;
    }
    return at;
}

static void finish_vector(Contract *c, const Tile *tile, LLVMValueRef row, uint32_t v, LLVMValueRef *values) {
    Pull *p = c->p;
    const Graph *body = c->kernel->body;
    LLVMValueRef at_row = add(c, c->from[c->rank - 2], add(c, tile->row, row));
    LLVMValueRef at_column = add(c, c->from[c->rank - 1], add(c, tile->column, number(c, v * c->lanes)));
    LLVMValueRef mask = c->ragged && v == tile->vectors - 1 ? mask_below(c, at_column, c->columns) : NULL;
    uint32_t mark = pull_mark(p);
    p->given[c->kernel->product] = vector_at(c, c->tile, tile_offset(c, tile, row, v), vector_bytes(c), NULL);
    for (uint32_t i = 0; i < body->output_count; i++) {
        Position at = epilogue_position(c, body->outputs[i].node, at_row, at_column, mask);
        values[i] = pull_splat(p, pull_value(p, body->outputs[i].node, &at), c->lanes);
    }
    for (uint32_t i = 0; i < body->output_count; i++) {
        Position at = epilogue_position(c, body->outputs[i].node, at_row, at_column, mask);
        pull_store(p, i, &at, values[i]);
    }
    p->given[c->kernel->product] = NULL;
    pull_forget(p, mark);
}

static void epilogue(Contract *c, const Tile *tile) {
    LLVMValueRef *values = arena_array(c->p->e->arena, LLVMValueRef, c->kernel->body->output_count + 1);
    Loop rows = loop_begin(c->p, number(c, 0), number(c, tile->rows), number(c, 1));
    for (uint32_t v = 0; v < tile->vectors; v++) finish_vector(c, tile, rows.index, v, values);
    loop_end(c->p, &rows);
}

/* The epilogue after the last block of k only. */
static void epilogue_when_done(Contract *c, const Tile *tile) {
    if (!c->cuts_depth) {
        epilogue(c, tile);
        return;
    }
    LLVMValueRef end = add(c, c->k_from, c->k_count);
    LLVMValueRef is_last = LLVMBuildICmp(builder(c), LLVMIntSGE, end, pull_dim(c->p, c->depth), "");
    LLVMValueRef times = LLVMBuildZExt(builder(c), is_last, LLVMInt64TypeInContext(c->p->e->context), "");
    Loop once = loop_begin(c->p, number(c, 0), times, number(c, 1));
    epilogue(c, tile);
    loop_end(c->p, &once);
}

/* ---- tiles ---- */

static void one_tile(Contract *c, const Tile *tile) {
    LLVMValueRef a = element(c, c->a.base, mul(c, tile->row, c->a.row));
    LLVMValueRef b;
    if (c->kernel->pack_b) {
        int64_t width = c->vectors * c->lanes; /* panels stand one behind the other; a tile begins in the panel of its column */
        LLVMValueRef panel = mul(c, divide(c, tile->column, width), number(c, width * round_up(c->depth_block, c->lanes)));
        LLVMValueRef inside = LLVMBuildURem(builder(c), tile->column, number(c, width), "");
        b = element(c, c->packed_b, add(c, panel, inside));
    } else {
        b = element(c, c->b.base, tile->column);
    }
    micro_kernel(c, tile, a, b);
    epilogue_when_done(c, tile);
}

/* Tiles of `rows` rows from *row on, as long as a whole one fits before `end`. */
static void tiles_of_rows(Contract *c, uint32_t rows, uint32_t vectors, LLVMValueRef column, LLVMValueRef *row, LLVMValueRef end) {
    LLVMValueRef count = LLVMBuildUDiv(builder(c), sub(c, end, *row), number(c, rows), "");
    LLVMValueRef stop = add(c, *row, mul(c, count, number(c, rows)));
    Loop loop = loop_begin(c->p, *row, stop, number(c, rows));
    Tile tile = {rows, vectors, loop.index, column};
    one_tile(c, &tile);
    loop_end(c->p, &loop);
    *row = stop;
}

/* Whole tiles, then what is left: of a known height if the extent is known, else by halves. */
static void tiles_down(Contract *c, uint32_t vectors, LLVMValueRef column) {
    uint32_t axis = c->rank - 2;
    Dim extent = c->kernel->grid.axis[axis].extent;
    LLVMValueRef row = number(c, 0), end = sub(c, c->to[axis], c->from[axis]);
    tiles_of_rows(c, c->rows, vectors, column, &row, end);
    if (extent > 0 && extent % c->rows == 0) return;
    if (extent > 0) {
        tiles_of_rows(c, (uint32_t)(extent % c->rows), vectors, column, &row, end);
        return;
    }
    for (uint32_t rows = 16; rows; rows /= 2)
        if (rows < c->rows) tiles_of_rows(c, rows, vectors, column, &row, end);
}

static void tiles_across(Contract *c, uint32_t vectors, LLVMValueRef *column, LLVMValueRef count) {
    LLVMValueRef width = number(c, vectors * c->lanes);
    LLVMValueRef stop = add(c, *column, mul(c, count, width));
    Loop loop = loop_begin(c->p, *column, stop, width);
    tiles_down(c, vectors, loop.index);
    loop_end(c->p, &loop);
    *column = stop;
}

static void all_tiles(Contract *c) {
    uint32_t axis = c->rank - 1;
    Dim extent = c->kernel->grid.axis[axis].extent;
    LLVMValueRef column = number(c, 0), columns = sub(c, c->to[axis], c->from[axis]);
    LLVMValueRef vectors = divide(c, add(c, columns, number(c, c->lanes - 1)), c->lanes);
    LLVMValueRef whole = divide(c, vectors, c->vectors);
    tiles_across(c, c->vectors, &column, whole);
    LLVMValueRef left = sub(c, vectors, mul(c, whole, number(c, c->vectors)));
    uint32_t known = extent > 0 ? (uint32_t)((extent + c->lanes - 1) / c->lanes % c->vectors) : 0;
    if (known) tiles_across(c, known, &column, divide(c, left, known));
    else if (extent < 0 && c->vectors > 1) tiles_across(c, 1, &column, left);
}

/* A block of the depth adds to the tile in scratch: the first begins from zero. */
static void clear_tile(Contract *c) {
    uint32_t axis = c->rank - 2;
    LLVMValueRef rows = sub(c, c->to[axis], c->from[axis]);
    Loop loop = loop_begin(c->p, number(c, 0), mul(c, rows, number(c, c->tile_stride)), number(c, c->lanes));
    put_vector(c, LLVMConstNull(c->vector), c->tile, loop.index, vector_bytes(c));
    loop_end(c->p, &loop);
}

static void one_piece(Contract *c) {
    LLVMValueRef depth = pull_dim(c->p, c->depth);
    if (c->cuts_depth) clear_tile(c);
    Loop blocks = loop_begin(c->p, number(c, 0), depth, number(c, c->depth_block));
    c->k_from = blocks.index;
    c->k_count = c->cuts_depth ? pull_min(c->p, number(c, c->depth_block), sub(c, depth, blocks.index)) : depth;
    if (c->kernel->pack_b) {
        pack_b(c);
        c->b = (Operand){c->packed_b, number(c, 1), number(c, c->vectors * c->lanes)};
    } else {
        CHECK(operand_in_place(c, c->product->in[1], &c->b.base, &c->b.depth, &c->b.row) && is_one(c->b.row));
        c->b.base = element(c, c->b.base, add(c, mul(c, c->k_from, c->b.depth), c->from[c->rank - 1]));
    }
    if (c->kernel->pack_a) {
        pack_a(c);
    } else {
        CHECK(operand_in_place(c, c->product->in[0], &c->a.base, &c->a.row, &c->a.depth));
        c->a.base = element(c, c->a.base, add(c, mul(c, c->from[c->rank - 2], c->a.row), mul(c, c->k_from, c->a.depth)));
    }
    all_tiles(c);
    loop_end(c->p, &blocks);
}

void contract_emit(Pull *p) {
    const Kernel *kernel = p->e->kernel;
    Contract *c = arena_alloc(p->e->arena, sizeof *c);
    *c = (Contract){.p = p, .kernel = kernel, .product = &kernel->body->nodes[kernel->product]};
    const Type *a = &kernel->body->nodes[c->product->in[0]].type;
    Block block = block_of(kernel, p->e->target);
    Layout layout = layout_of(kernel, p->e->target);
    LLVMTypeRef byte = LLVMInt8TypeInContext(p->e->context);
    LLVMValueRef scratch = LLVMGetParam(p->e->function, 4);
    c->rank = c->product->type.rank;
    c->lanes = p->e->target->machine.vector_bytes / 4;
    c->rows = kernel->tile_rows;
    c->vectors = kernel->tile_vectors;
    c->depth = a->dim[a->rank - 1];
    c->depth_block = kernel->depth_block ? kernel->depth_block : c->depth;
    c->cuts_depth = depth_is_cut(kernel);
    c->tile_stride = c->cuts_depth ? block.columns : (int64_t)c->vectors * c->lanes;
    c->columns = pull_dim(p, kernel->grid.axis[c->rank - 1].extent);
    c->ragged = kernel->grid.axis[c->rank - 1].extent < 0 || kernel->grid.axis[c->rank - 1].extent % c->lanes;
    c->partial = c->ragged || kernel->grid.axis[c->rank - 1].extent % (c->vectors * c->lanes);
    c->f32 = pull_type(p, DTYPE_f32, 1);
    c->vector = pull_type(p, DTYPE_f32, c->lanes);
    c->packed_b = scratch;
    c->packed_a = pull_address(p, scratch, byte, number(c, layout.a));
    c->tile = pull_address(p, scratch, byte, number(c, layout.tile));
    Loop pieces = loop_begin(p, LLVMGetParam(p->e->function, 2), LLVMGetParam(p->e->function, 3), number(c, 1));
    loop_piece(p, pieces.index, c->from, c->to);
    one_piece(c);
    loop_end(p, &pieces);
}
