/* Products of attention: their right operands in panels, and tiles of the micro-kernel over what is in scratch.
 *
 * Panels are the outer loop and rows the inner one, so that a panel stays in L1 while rows pass by. A causal mask lets
 * tiles out that lie above the diagonal, and cuts the depth of those on it where all that follows is zero. */
#include "backend/attention.h"

#include <string.h>

static LLVMValueRef number(Attention *a, int64_t value) { return attention_number(a, value); }
static LLVMValueRef add(Attention *a, LLVMValueRef x, LLVMValueRef y) { return pull_add(a->p, x, y); }
static LLVMValueRef mul(Attention *a, LLVMValueRef x, LLVMValueRef y) { return pull_mul(a->p, x, y); }
static LLVMValueRef divide(Attention *a, LLVMValueRef x, int64_t by) {
    return by == 1 ? x : LLVMBuildUDiv(attention_builder(a), x, number(a, by), "");
}

/* ---- panels */

static int64_t wide_width(const Attention *a) { return (int64_t)a->kernel->wide_vectors * a->lanes; }
static int64_t columns_width(const Attention *a) { return (int64_t)a->kernel->tile_vectors * a->lanes; }

int64_t attention_wide_panels(const Attention *a) { return (a->shape.D + wide_width(a) - 1) / wide_width(a); }
int64_t attention_wide_panel(const Attention *a, int64_t capacity) { return wide_width(a) * capacity; }
int64_t attention_columns_panel(const Attention *a) {
    return columns_width(a) * attention_round_up(a->shape.D, a->lanes);
}

/* `vectors` vectors of a row, from `column` on, to its place in their panel; only what a head's last vector has. */
static void pack_vectors(Attention *a, LLVMValueRef from, LLVMValueRef column, uint32_t vectors, bool is_last,
                         LLVMValueRef to) {
    for (uint32_t v = 0; v < vectors; v++) {
        LLVMValueRef offset = number(a, v * a->lanes), at = add(a, column, offset), mask = NULL;
        if (is_last && v == vectors - 1 && a->shape.D % a->lanes)
            mask = attention_mask_below(a, at, number(a, a->shape.D));
        LLVMValueRef value = attention_load(a, attention_element(a, from, at), mask);
        pull_store_to(a->p, value, attention_element(a, to, offset), a->lanes * 4, NULL);
    }
}

void attention_pack_rows(Attention *a, Rows rows, LLVMValueRef first, LLVMValueRef count, LLVMValueRef panels,
                         int64_t capacity) {
    uint32_t vectors = (uint32_t)((a->shape.D + a->lanes - 1) / a->lanes), in_panel = a->kernel->wide_vectors;
    int64_t width = wide_width(a), whole = (vectors - 1) / in_panel * width; /* all panels but the last */
    Loop row = loop_begin(a->p, number(a, 0), count, number(a, 1));
    LLVMValueRef from = attention_element(a, rows.base, mul(a, add(a, first, row.index), rows.stride));
    LLVMValueRef to = attention_element(a, panels, mul(a, row.index, number(a, width)));
    Loop columns = loop_begin(a->p, number(a, 0), number(a, whole), number(a, width));
    LLVMValueRef panel = attention_element(a, to, mul(a, columns.index, number(a, capacity)));
    pack_vectors(a, from, columns.index, in_panel, false, panel);
    loop_end(a->p, &columns);
    panel = attention_element(a, to, number(a, whole * capacity));
    pack_vectors(a, from, number(a, whole), (vectors - 1) % in_panel + 1, true, panel);
    loop_end(a->p, &row);
}

/* lanes rows from `row` on, elements [depth, depth + lanes) of each, to where they are the columns. */
static void pack_square(Attention *a, Rows rows, LLVMValueRef row, int64_t last, LLVMValueRef depth, LLVMValueRef to) {
    LLVMValueRef square[64];
    LLVMValueRef mask = a->shape.D % a->lanes ? attention_mask_below(a, depth, number(a, a->shape.D)) : NULL;
    for (uint32_t i = 0; i < a->lanes; i++) {
        LLVMValueRef at = pull_min(a->p, add(a, row, number(a, i)), number(a, last));
        square[i] = attention_load(a, attention_element(a, rows.base, add(a, mul(a, at, rows.stride), depth)), mask);
    }
    micro_transpose(a->p, square, a->lanes);
    for (uint32_t i = 0; i < a->lanes; i++) {
        LLVMValueRef offset = mul(a, add(a, depth, number(a, i)), number(a, columns_width(a)));
        pull_store_to(a->p, square[i], attention_element(a, to, offset), a->lanes * 4, NULL);
    }
}

void attention_pack_columns(Attention *a, Rows rows, LLVMValueRef first, LLVMValueRef count, int64_t last,
                            LLVMValueRef panels) {
    int64_t depth_room = attention_round_up(a->shape.D, a->lanes);
    Loop columns = loop_begin(a->p, number(a, 0), count, number(a, columns_width(a)));
    LLVMValueRef panel = attention_element(a, panels, mul(a, columns.index, number(a, depth_room)));
    Loop depth = loop_begin(a->p, number(a, 0), number(a, a->shape.D), number(a, a->lanes));
    for (uint32_t v = 0; v < a->kernel->tile_vectors; v++) {
        LLVMValueRef row = add(a, add(a, first, columns.index), number(a, v * a->lanes));
        pack_square(a, rows, row, last, depth.index, attention_element(a, panel, number(a, v * a->lanes)));
    }
    loop_end(a->p, &depth);
    loop_end(a->p, &columns);
}

/* ---- tiles */

typedef struct {
    uint32_t rows, vectors;
    LLVMValueRef row, column; /* the first, from the start of the block */
} Tile;

static LLVMValueRef place_of(Attention *a, const AttentionProduct *x, const Tile *tile, uint32_t i) {
    LLVMValueRef row = add(a, tile->row, number(a, i / tile->vectors));
    LLVMValueRef column = add(a, tile->column, number(a, i % tile->vectors * a->lanes));
    return attention_element(a, x->to.base, add(a, mul(a, row, x->to.stride), column));
}

/* Of the last vector, where a head's width is no multiple of the vectors'. */
static LLVMValueRef mask_of(Attention *a, const AttentionProduct *x, const Tile *tile, uint32_t i) {
    if (x->columns || a->shape.D % a->lanes == 0 || i % tile->vectors != tile->vectors - 1) return NULL;
    LLVMValueRef column = add(a, tile->column, number(a, (tile->vectors - 1) * a->lanes));
    return attention_mask_below(a, column, number(a, a->shape.D));
}

static LLVMValueRef scaled(Attention *a, LLVMValueRef value, LLVMValueRef factors, const Tile *tile, uint32_t i) {
    if (!factors) return value;
    LLVMValueRef factor = attention_load_one(a, factors, add(a, tile->row, number(a, i / tile->vectors)));
    return LLVMBuildFMul(attention_builder(a), value, pull_splat(a->p, factor, a->lanes), "");
}

/* Steps of the depth that the tile needs. */
static void depth_of(Attention *a, const AttentionProduct *x, const Tile *tile, LLVMValueRef *from, LLVMValueRef *end) {
    *from = number(a, 0);
    *end = x->depth;
    if (x->diagonal == DIAGONAL_depth_is_keys) {
        LLVMValueRef behind = add(a, tile->row, number(a, tile->rows));
        *end = pull_min(a->p, x->depth, attention_sub(a, behind, x->ahead));
    }
    if (x->diagonal == DIAGONAL_rows_are_keys) *from = pull_max(a->p, *from, add(a, tile->row, x->ahead));
}

/* Steps [from, end) of the depth, `unroll` of them in a round. */
static void some_steps(Attention *a, const AttentionProduct *x, const Micro *micro, LLVMValueRef rows,
                       LLVMValueRef panel, LLVMValueRef from, LLVMValueRef end, uint32_t unroll, bool may_be_empty,
                       LLVMValueRef *sum) {
    LLVMValueRef width = number(a, (int64_t)x->tile_vectors * a->lanes), before[MOST_ROWS * MOST_VECTORS];
    size_t bytes = (size_t)micro->rows * micro->vectors * sizeof *sum;
    Round round = micro_round_begin(a->p, from, end, sum, micro->rows * micro->vectors, may_be_empty);
    LLVMValueRef at_a = attention_element(a, rows, mul(a, round.index, x->a_depth));
    LLVMValueRef at_b = attention_element(a, panel, mul(a, round.index, width));
    round.step = unroll;
    memcpy(sum, round.phi, bytes);
    for (uint32_t u = 0; u < unroll; u++) {
        memcpy(before, sum, bytes);
        micro_step(micro, attention_element(a, at_a, mul(a, number(a, u), x->a_depth)),
                   attention_element(a, at_b, mul(a, number(a, u), width)), before, sum);
    }
    micro_round_end(a->p, &round, sum);
}

/* A head's width is a short depth, and a number that is known: its steps are written out further. */
static void steps(Attention *a, const AttentionProduct *x, const Micro *micro, LLVMValueRef rows, LLVMValueRef panel,
                  LLVMValueRef from, LLVMValueRef end, LLVMValueRef *sum) {
    enum { SHORT = 8 };
    bool is_known = x->diagonal != DIAGONAL_depth_is_keys && x->diagonal != DIAGONAL_rows_are_keys &&
                    LLVMIsAConstantInt(end) && LLVMConstIntGetSExtValue(end) > 0;
    uint32_t unroll = micro_unroll(micro->rows * micro->vectors, a->lanes);
    if (unroll > 1 && is_known && LLVMConstIntGetSExtValue(end) % SHORT == 0) {
        some_steps(a, x, micro, rows, panel, from, end, SHORT, false, sum);
        return;
    }
    if (unroll > 1) {
        LLVMValueRef rounds = divide(a, pull_max(a->p, attention_sub(a, end, from), number(a, 0)), unroll);
        LLVMValueRef stop = add(a, from, mul(a, rounds, number(a, unroll)));
        some_steps(a, x, micro, rows, panel, from, stop, unroll, true, sum);
        from = stop;
    }
    some_steps(a, x, micro, rows, panel, from, end, 1, unroll > 1 || !is_known, sum);
}

static void one_tile(Attention *a, const AttentionProduct *x, const Tile *tile, LLVMValueRef panel) {
    uint32_t count = tile->rows * tile->vectors;
    LLVMValueRef sum[MOST_ROWS * MOST_VECTORS], from, end;
    Micro micro = {a->p, tile->rows, tile->vectors, a->lanes, .align = a->lanes * 4};
    for (uint32_t r = 0; r < tile->rows; r++) micro.row[r] = mul(a, number(a, r), x->a_row);
    for (uint32_t i = 0; i < count; i++) {
        sum[i] = LLVMConstNull(a->vector);
        if (!x->adds) continue;
        LLVMValueRef before = attention_load(a, place_of(a, x, tile, i), mask_of(a, x, tile, i));
        sum[i] = scaled(a, before, x->before, tile, i);
    }
    LLVMValueRef rows = attention_element(a, x->a, mul(a, tile->row, x->a_row));
    depth_of(a, x, tile, &from, &end);
    steps(a, x, &micro, rows, panel, from, end, sum);
    for (uint32_t i = 0; i < count; i++)
        pull_store_to(a->p, scaled(a, sum[i], x->after, tile, i), place_of(a, x, tile, i), 4, mask_of(a, x, tile, i));
}

/* Tiles of `rows` rows from *row on, as long as a whole one fits. */
static void tiles_of_rows(Attention *a, const AttentionProduct *x, Tile tile, LLVMValueRef panel, LLVMValueRef *row) {
    LLVMValueRef count = divide(a, attention_sub(a, x->rows, *row), tile.rows);
    LLVMValueRef stop = add(a, *row, mul(a, count, number(a, tile.rows)));
    Loop loop = loop_begin(a->p, *row, stop, number(a, tile.rows));
    tile.row = loop.index;
    one_tile(a, x, &tile, panel);
    loop_end(a->p, &loop);
    *row = stop;
}

/* Whole tiles, then the rest: of one of two heights that are known, or by halves. */
static void tiles_down(Attention *a, const AttentionProduct *x, uint32_t vectors, LLVMValueRef column,
                       LLVMValueRef panel) {
    Tile tile = {x->tile_rows, vectors, NULL, column};
    LLVMValueRef row = number(a, 0);
    if (x->diagonal == DIAGONAL_columns_are_keys) { /* the first row that sees the column */
        LLVMValueRef sees = pull_max(a->p, row, add(a, column, x->ahead));
        row = mul(a, divide(a, pull_min(a->p, sees, x->rows), tile.rows), number(a, tile.rows));
    }
    tiles_of_rows(a, x, tile, panel, &row);
    if (!x->block_rows) {
        for (tile.rows = 16; tile.rows; tile.rows /= 2)
            if (tile.rows < x->tile_rows) tiles_of_rows(a, x, tile, panel, &row);
        return;
    }
    uint32_t rest = (uint32_t)(x->block_rows % x->tile_rows);
    uint32_t last = (uint32_t)(x->all_rows % x->block_rows % x->tile_rows);
    if (x->all_rows < x->block_rows) rest = 0;
    for (tile.rows = x->tile_rows - 1; tile.rows; tile.rows--)
        if (tile.rows == rest || tile.rows == last) tiles_of_rows(a, x, tile, panel, &row);
}

void attention_product(Attention *a, const AttentionProduct *x) {
    int64_t width = (int64_t)x->tile_vectors * a->lanes, vectors = (a->shape.D + a->lanes - 1) / a->lanes;
    int64_t whole = vectors / x->tile_vectors * width;
    Loop loop = loop_begin(a->p, number(a, 0), x->columns ? x->columns : number(a, whole), number(a, width));
    LLVMValueRef offset = mul(a, divide(a, loop.index, width), number(a, x->panel));
    tiles_down(a, x, x->tile_vectors, loop.index, attention_element(a, x->panels, offset));
    loop_end(a->p, &loop);
    uint32_t rest = (uint32_t)(vectors % x->tile_vectors);
    if (x->columns || !rest) return;
    tiles_down(a, x, rest, number(a, whole), attention_element(a, x->panels, number(a, whole / width * x->panel)));
}
