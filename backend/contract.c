/* Contractions: every product is loops around one micro-kernel.
 *
 *   for each piece (rows m0..m1, columns n0..n1)
 *     for each block of the depth k                      (mostly one: as long as it fits, the depth is not cut)
 *       the piece's columns of B into panels             (or in panels already, ir/panels.h; or read where they are; or
 *                                                         still there from the piece before)
 *       for each block of rows
 *         its rows of A into a copy                      (or read where they are; of a patch the lines that it sees)
 *         for each tile of columns, for each tile of rows
 *           micro-kernel, epilogue                       (contract_tile.c)
 *
 * A block of A stays in L2 while the panels of B stream by, a panel of B in L1 while the rows do. Each element is the
 * sum over k in order, whatever the tile it falls into: bits do not depend on pieces. Where the depth is cut, the
 * piece's sums wait in scratch between its blocks. */
#include "backend/contract.h"

#include "ir/winograd.h"

int64_t contract_round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

static LLVMValueRef number(Contract *c, int64_t value) { return contract_number(c, value); }
static LLVMValueRef add(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_add(c->p, a, b); }
static LLVMValueRef mul(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_mul(c->p, a, b); }
static LLVMValueRef sub(Contract *c, LLVMValueRef a, LLVMValueRef b) { return contract_sub(c, a, b); }

/* ---- layout of scratch ---- */

typedef struct {
    int64_t b, a, sums, tile, winograd, end; /* offsets in bytes */
} Layout;

static int64_t piece_rows(const Kernel *kernel) {
    const Grid *grid = &kernel->grid;
    int64_t rows = grid->axis[grid->rank - 2].block;
    return rows ? rows : grid->axis[grid->rank - 2].extent;
}

Block contract_block(const Kernel *kernel, const Target *target) {
    const Grid *grid = &kernel->grid;
    const Node *product = &kernel->body->nodes[kernel->product];
    const Type *a = &kernel->body->nodes[product->in[0]].type;
    int64_t lanes = target->machine.vector_bytes / 4;
    Block block = {piece_rows(kernel), grid->axis[grid->rank - 1].block, kernel->depth_block};
    if (kernel->row_block && (block.rows <= 0 || kernel->row_block < block.rows))
        block.rows = kernel->row_block;
    if (!block.columns) block.columns = grid->axis[grid->rank - 1].extent;
    if (!block.depth) block.depth = a->dim[a->rank - 1];
    CHECK(block.rows > 0 && block.columns > 0 && block.depth > 0); /* open axes must be cut */
    block.columns = contract_round_up(block.columns, kernel->tile_vectors * lanes);
    block.depth = contract_round_up(block.depth, lanes);
    return block;
}

static bool depth_is_cut(const Kernel *kernel) {
    const Node *product = &kernel->body->nodes[kernel->product];
    const Type *a = &kernel->body->nodes[product->in[0]].type;
    return kernel->depth_block && kernel->depth_block != a->dim[a->rank - 1];
}

static uint32_t count_sums(const Kernel *kernel) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < kernel->body->output_count; i++) count += kernel_sums_rows(kernel, i);
    return count;
}

/* Tiles of 2x2 places have B in panels forward, where it is filters; by weights it is slopes, and becomes planes. */
static bool packs_b(const Kernel *kernel, const Target *target) {
    Winograd w;
    if (kernel->winograd) return winograd_of(kernel, &w) && w.patch.rows_are_places;
    return kernel->pack_b && !contract_has_panels(kernel, target);
}

static Layout layout_of(const Kernel *kernel, const Target *target) {
    Block block = contract_block(kernel, target);
    int64_t lanes = target->machine.vector_bytes / 4;
    int64_t tile = (int64_t)kernel->tile_rows * kernel->tile_vectors * lanes;
    if (depth_is_cut(kernel)) {
        CHECK(piece_rows(kernel) > 0);
        tile = piece_rows(kernel) * block.columns;
    }
    Layout layout = {0};
    layout.a = packs_b(kernel, target) ? contract_round_up(block.columns * block.depth * 4, 64) : 0;
    layout.sums = layout.a + contract_round_up(contract_packed_a(kernel, target) * 4, 64);
    layout.tile = layout.sums + 2 * count_sums(kernel) * block.columns * 4;
    layout.winograd = layout.tile + contract_round_up(tile * 4, 64);
    layout.end = layout.winograd + winograd_scratch_bytes(kernel, target);
    return layout;
}

int64_t contract_scratch_bytes(const Kernel *kernel, const Target *target) { return layout_of(kernel, target).end; }

/* ---- tiles ---- */

/* Tiles of `rows` rows from *row on, as long as a whole one fits before `end`. */
static void tiles_of_rows(Contract *c, uint32_t rows, uint32_t vectors, LLVMValueRef column, LLVMValueRef *row,
                          LLVMValueRef end) {
    LLVMValueRef count = contract_divide(c, sub(c, end, *row), rows);
    LLVMValueRef stop = add(c, *row, mul(c, count, number(c, rows)));
    Loop loop = loop_begin(c->p, *row, stop, number(c, rows));
    Tile tile = {rows, vectors, loop.index, column, contract_element(c, c->a.base, mul(c, loop.index, c->a.row))};
    contract_tile(c, &tile);
    loop_end(c->p, &loop);
    *row = stop;
}

/* Whole tiles, then what is left: of a known height if the extent is known, else by halves. */
static void plain_tiles_down(Contract *c, uint32_t vectors, LLVMValueRef column) {
    Dim extent = c->sum_count ? kernel_sum_rows(c->kernel) : c->kernel->grid.axis[c->rank - 2].extent;
    LLVMValueRef row = number(c, 0), end = c->row_count;
    tiles_of_rows(c, c->rows, vectors, column, &row, end);
    if (extent > 0 && extent % c->rows == 0) return;
    if (extent > 0) {
        tiles_of_rows(c, (uint32_t)(extent % c->rows), vectors, column, &row, end);
        return;
    }
    for (uint32_t rows = 16; rows; rows /= 2)
        if (rows < c->rows) tiles_of_rows(c, rows, vectors, column, &row, end);
}

/* Runs of rows that are at least as long as a tile: tiles along each, and the rest of each. */
static void tiles_along_runs(Contract *c, uint32_t vectors, LLVMValueRef column) {
    int64_t run = c->a.row_run;
    Loop runs = loop_begin(c->p, number(c, 0), contract_divide(c, c->row_count, run), number(c, 1));
    LLVMValueRef first = mul(c, runs.index, number(c, run)),
                 base = contract_element(c, c->a.base, mul(c, runs.index, c->a.row_jump));
    for (int64_t at = 0; at < run;) {
        uint32_t rows = run - at >= c->rows ? c->rows : (uint32_t)(run - at);
        int64_t end = at + (run - at) / rows * rows;
        Loop loop = loop_begin(c->p, number(c, at), number(c, end), number(c, rows));
        Tile tile = {rows, vectors, add(c, first, loop.index), column,
                     contract_element(c, base, mul(c, loop.index, c->a.row))};
        contract_tile(c, &tile);
        loop_end(c->p, &loop);
        at = end;
    }
    loop_end(c->p, &runs);
}

/* Short runs: a tile takes several. */
static void tiles_of_runs(Contract *c, uint32_t vectors, LLVMValueRef column) {
    int64_t run = c->a.row_run;
    LLVMValueRef at = number(c, 0), count = contract_divide(c, c->row_count, run);
    for (int64_t some = c->rows / run; some; some = some > 2 ? some - some / 2 : some - 1) {
        LLVMValueRef stop = add(c, at, mul(c, contract_divide(c, sub(c, count, at), some), number(c, some)));
        Loop loop = loop_begin(c->p, at, stop, number(c, some));
        Tile tile = {(uint32_t)(some * run), vectors, mul(c, loop.index, number(c, run)), column,
                     contract_element(c, c->a.base, mul(c, loop.index, c->a.row_jump))};
        contract_tile(c, &tile);
        loop_end(c->p, &loop);
        at = stop;
    }
}

static void tiles_of_image(Contract *c, uint32_t vectors, LLVMValueRef column) {
    if (!c->a.row_run)
        plain_tiles_down(c, vectors, column);
    else if (c->a.row_run >= c->rows)
        tiles_along_runs(c, vectors, column);
    else
        tiles_of_runs(c, vectors, column);
}

static void tiles_down(Contract *c, uint32_t vectors, LLVMValueRef column) {
    if (!c->takes_images || !c->patch.rows_are_places) {
        tiles_of_image(c, vectors, column);
        return;
    }
    LLVMValueRef base = c->a.base, from = c->row_from, count = c->row_count,
                 places = number(c, c->patch.OH * c->patch.OW);
    Loop images = loop_begin(c->p, number(c, 0), contract_divide(c, count, c->patch.OH * c->patch.OW), number(c, 1));
    c->a.base = contract_element(c, base, mul(c, images.index, c->image_jump));
    c->row_from = add(c, from, mul(c, images.index, places));
    c->row_count = places;
    tiles_of_image(c, vectors, column);
    loop_end(c->p, &images);
    c->a.base = base, c->row_from = from, c->row_count = count;
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
    LLVMValueRef vectors = contract_divide(c, add(c, columns, number(c, c->lanes - 1)), c->lanes);
    LLVMValueRef whole = contract_divide(c, vectors, c->vectors);
    tiles_across(c, c->vectors, &column, whole);
    LLVMValueRef left = sub(c, vectors, mul(c, whole, number(c, c->vectors)));
    uint32_t known = extent > 0 ? (uint32_t)((extent + c->lanes - 1) / c->lanes % c->vectors) : 0;
    if (known)
        tiles_across(c, known, &column, contract_divide(c, left, known));
    else if (extent < 0 && c->vectors > 1)
        tiles_across(c, 1, &column, left);
}

/* ---- blocks ---- */

/* A block of the depth adds to the tile in scratch: the first begins from zero. */
static void clear_tile(Contract *c) {
    uint32_t axis = c->rank - 2;
    LLVMValueRef rows = sub(c, c->to[axis], c->from[axis]);
    Loop loop = loop_begin(c->p, number(c, 0), mul(c, rows, number(c, c->tile_stride)), number(c, c->lanes));
    contract_store(c, LLVMConstNull(c->vector), c->tile, loop.index, contract_vector_bytes(c));
    loop_end(c->p, &loop);
}

/* How far a block reaches: at most `block`; of places no further than their image, unless it is made of whole ones. */
static LLVMValueRef block_end(Contract *c, LLVMValueRef at, LLVMValueRef end, int64_t block, bool counts_places) {
    LLVMValueRef size = sub(c, end, at);
    if (block) size = pull_min(c->p, size, number(c, block));
    if (!counts_places || c->takes_images) return size;
    int64_t image = c->patch.OH * c->patch.OW;
    return pull_min(c->p, size, sub(c, number(c, image), contract_rest(c, at, image)));
}

static void row_blocks(Contract *c) {
    uint32_t axis = c->rank - 2;
    Loop loop = loop_begin(c->p, c->from[axis], c->to[axis], number(c, 1));
    c->row_count =
        block_end(c, loop.index, c->to[axis], c->kernel->row_block, c->has_patch && c->patch.rows_are_places);
    c->row_from = sub(c, loop.index, c->from[axis]);
    loop.step = c->row_count;
    contract_ready_a(c);
    contract_ahead_a(c);
    all_tiles(c);
    loop_end(c->p, &loop);
}

static void winograd_piece(Contract *c) {
    if (!c->patch.rows_are_places) {
        winograd_weights(c);
        return;
    }
    c->k_from = number(c, 0);
    c->k_count = pull_dim(c->p, c->depth);
    contract_begin_sums(c);
    contract_ready_b(c);
    winograd_places(c);
    contract_end_sums(c);
}

static void one_piece(Contract *c) {
    LLVMValueRef depth = pull_dim(c->p, c->depth);
    if (c->kernel->winograd) {
        winograd_piece(c);
        return;
    }
    if (c->cuts_depth) clear_tile(c);
    contract_begin_sums(c);
    Loop blocks = loop_begin(c->p, number(c, 0), depth, number(c, 1));
    c->k_from = blocks.index;
    c->k_count = depth;
    if (c->cuts_depth)
        c->k_count = block_end(c, blocks.index, depth, c->depth_block, c->has_patch && !c->patch.rows_are_places);
    blocks.step = c->k_count;
    contract_ready_b(c);
    contract_ahead_b(c);
    row_blocks(c);
    loop_end(c->p, &blocks);
    contract_end_sums(c);
}

/* Does a block hold several whole images? Then pieces have to, too. */
static bool takes_images(const Kernel *kernel, const Patch *patch) {
    int64_t places = patch->OH * patch->OW, block = patch->rows_are_places ? kernel->row_block : kernel->depth_block;
    if (patch->image_axis < MAX_RANK || block <= places) return false;
    CHECK(block % places == 0 && (!patch->rows_are_places || piece_rows(kernel) % places == 0));
    return true;
}

/* Pieces with the same columns of the same product stand one behind the other. */
static LLVMValueRef columns_of(Contract *c, LLVMValueRef piece) {
    const Grid *grid = &c->kernel->grid;
    int64_t block = grid->axis[grid->rank - 2].block;
    if (!block) return piece;
    LLVMValueRef rows = pull_dim(c->p, grid->axis[grid->rank - 2].extent);
    LLVMValueRef pieces = contract_divide(c, add(c, rows, number(c, block - 1)), block);
    return LLVMBuildUDiv(c->p->e->builder, piece, pieces, "");
}

static void mark_inputs(const Graph *body, NodeId id, bool *marked, bool *seen) {
    const Node *node = &body->nodes[id];
    if (seen[id]) return;
    seen[id] = true;
    if (node->op == OP_input) marked[node->attr.index] = true;
    for (uint32_t i = 0; node->op != OP_matmul && i < op_info[node->op].inputs; i++)
        mark_inputs(body, node->in[i], marked, seen);
}

/* What the outputs read, but for what the product does. */
static bool *epilogue_inputs(const Graph *body, Arena *arena) {
    bool *marked = arena_array(arena, bool, body->input_count + 1), *seen = arena_array(arena, bool, body->count + 1);
    for (uint32_t i = 0; i < body->output_count; i++) mark_inputs(body, body->outputs[i].node, marked, seen);
    return marked;
}

void contract_emit(Pull *p) {
    const Kernel *kernel = p->e->kernel;
    Contract *c = arena_alloc(p->e->arena, sizeof *c);
    *c = (Contract){.p = p, .kernel = kernel, .product = &kernel->body->nodes[kernel->product]};
    const Type *a = &kernel->body->nodes[c->product->in[0]].type;
    Block block = contract_block(kernel, p->e->target);
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
    c->has_panels = contract_has_panels(kernel, p->e->target);
    c->has_patch = patch_of(kernel->body, c->product->in[0], &c->patch);
    c->in_epilogue = epilogue_inputs(kernel->body, p->e->arena);
    c->takes_images = c->has_patch && takes_images(kernel, &c->patch);
    c->stores_registers = contract_stores_registers(kernel);
    c->tile_stride = c->cuts_depth ? block.columns : (int64_t)c->vectors * c->lanes;
    c->columns = pull_dim(p, kernel->grid.axis[c->rank - 1].extent);
    c->ragged = kernel->grid.axis[c->rank - 1].extent < 0 || kernel->grid.axis[c->rank - 1].extent % c->lanes;
    c->partial = c->ragged || kernel->grid.axis[c->rank - 1].extent % (c->vectors * c->lanes);
    c->f32 = pull_type(p, DTYPE_f32, 1);
    c->vector = pull_type(p, DTYPE_f32, c->lanes);
    c->packed_b = scratch;
    c->packed_a = pull_address(p, scratch, byte, number(c, layout.a));
    c->tile = pull_address(p, scratch, byte, number(c, layout.tile));
    c->sums = pull_address(p, scratch, byte, number(c, layout.sums));
    c->winograd = pull_address(p, scratch, byte, number(c, layout.winograd));
    c->sum_count = count_sums(kernel);
    c->sum_stride = block.columns;
    CHECK(!c->sum_count || kernel_sum_rows(kernel) == piece_rows(kernel));
    c->packed_id = LLVMBuildAlloca(p->e->builder, LLVMInt64TypeInContext(p->e->context), "packed");
    LLVMBuildStore(p->e->builder, number(c, -1), c->packed_id);
    Loop pieces = loop_begin(p, LLVMGetParam(p->e->function, 2), LLVMGetParam(p->e->function, 3), number(c, 1));
    loop_piece(p, pieces.index, c->from, c->to);
    c->panels_id = columns_of(c, pieces.index);
    one_piece(c);
    loop_end(p, &pieces);
}
