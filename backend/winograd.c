/* Convolutions forward and by data, by tiles of 2x2 places (ir/winograd.h).
 *
 *   for each block of tiles of the piece
 *     their pixels into planes                                  (winograd_windows.c)
 *     for each panel of columns, for some tiles, whose products stay in the L1 cache
 *       for each of the 16 elements: products[tile] = plane[tile] · filters, by the micro-kernel
 *       for each tile: its four places, and the epilogue
 *
 * The filters are transformed once for all pieces that a thread has with the same columns. */
#include "backend/winograd.h"

static LLVMBuilderRef builder(Windows *w) { return contract_builder(w->c); }
static LLVMValueRef number(Windows *w, int64_t value) { return contract_number(w->c, value); }
static LLVMValueRef add(Windows *w, LLVMValueRef a, LLVMValueRef b) { return pull_add(w->c->p, a, b); }
static LLVMValueRef mul(Windows *w, LLVMValueRef a, LLVMValueRef b) { return pull_mul(w->c->p, a, b); }

/* ---- filters: G g G' */

/* Three values by G: four. */
static void spread_three(Windows *w, LLVMValueRef const *g, LLVMValueRef *u) {
    LLVMValueRef half = pull_splat(w->c->p, LLVMConstReal(w->c->f32, 0.5), w->c->lanes);
    LLVMValueRef ends = LLVMBuildFMul(builder(w), windows_plus(w, g[0], g[2]), half, ""),
                 middle = LLVMBuildFMul(builder(w), g[1], half, "");
    u[0] = g[0];
    u[1] = windows_plus(w, ends, middle);
    u[2] = windows_minus(w, ends, middle);
    u[3] = g[2];
}

/* One vector of filters of one channel: nine taps at `from`, `tap` elements apart; 16 elements to `to`. */
static void put_filter(Windows *w, LLVMValueRef from, int64_t tap, LLVMValueRef to, int64_t element) {
    LLVMValueRef columns[3][WINOGRAD_SIDE];
    for (uint32_t x = 0; x < 3; x++) {
        LLVMValueRef g[3];
        for (uint32_t y = 0; y < 3; y++)
            g[y] = contract_load(w->c, from, number(w, (3 * y + x) * tap), contract_vector_bytes(w->c), NULL);
        spread_three(w, g, columns[x]);
    }
    for (uint32_t i = 0; i < WINOGRAD_SIDE; i++) {
        LLVMValueRef row[] = {columns[0][i], columns[1][i], columns[2][i]}, u[WINOGRAD_SIDE];
        spread_three(w, row, u);
        for (uint32_t j = 0; j < WINOGRAD_SIDE; j++)
            contract_store(w->c, u[j], to, number(w, (WINOGRAD_SIDE * i + j) * element), contract_vector_bytes(w->c));
    }
}

void winograd_filters(Contract *c) {
    Windows w = windows_begin(c);
    int64_t C = w.at.shape.patch.C, width = w.at.width;
    LLVMValueRef columns = contract_sub(c, c->to[c->rank - 1], c->from[c->rank - 1]);
    Loop panels = loop_begin(c->p, number(&w, 0), contract_divide(c, columns, width), number(&w, 1));
    LLVMValueRef panel = contract_element(c, c->panels, mul(&w, panels.index, number(&w, c->panel)));
    LLVMValueRef filters = windows_part(&w, w.other, panels.index, WINOGRAD_ELEMENTS * w.at.other_plane);
    Loop channels = loop_begin(c->p, number(&w, 0), number(&w, C), number(&w, 1));
    for (uint32_t v = 0; v < c->vectors; v++) {
        LLVMValueRef at = add(&w, mul(&w, channels.index, number(&w, width)), number(&w, v * c->lanes));
        put_filter(&w, contract_element(c, panel, at), C * width, contract_element(c, filters, at), w.at.other_plane);
    }
    loop_end(c->p, &channels);
    loop_end(c->p, &panels);
}

/* ---- products */

/* The micro-kernel of element `element` asks for some of what will be read and written of its tiles: two places of a
 * tile each, as long as there are any. */
static void ask_places(Windows *w, LLVMValueRef line_from, LLVMValueRef tile, LLVMValueRef element,
                       LLVMValueRef column) {
    Contract *c = w->c;
    const Patch *patch = &w->at.shape.patch;
    int64_t pairs = 2 * c->rows, each = (pairs + WINOGRAD_ELEMENTS - 1) / WINOGRAD_ELEMENTS;
    for (int64_t i = 0; i < each; i++) {
        LLVMValueRef pair = pull_min(c->p, add(w, mul(w, element, number(w, each)), number(w, i)), number(w, pairs));
        LLVMValueRef at = add(w, tile, contract_divide(c, pair, 2));
        TileLine line = windows_line(w, add(w, line_from, contract_divide(c, at, w->at.shape.across)), line_from);
        LLVMValueRef y = add(w, mul(w, line.line, number(w, 2)), contract_rest(c, pair, 2)),
                     x = mul(w, contract_rest(c, at, w->at.shape.across), number(w, 2));
        LLVMValueRef place_line = add(w, mul(w, line.image, number(w, patch->OH)), y);
        LLVMValueRef place = add(w, mul(w, place_line, number(w, patch->OW)), x);
        for (uint32_t dx = 0; dx < 2; dx++) contract_ask_results(c, add(w, place, number(w, dx)), column, c->vectors);
    }
}

/* Tiles number `first` of the block, which begins with line `line_from`, and those behind. */
typedef struct {
    LLVMValueRef line_from, first, count;
    LLVMValueRef column; /* of the piece: where the panel begins */
} Some;

/* Their products, and of a few more if the last tile of the micro-kernel says so. */
static void put_products(Windows *w, LLVMValueRef filters, const Some *some) {
    Contract *c = w->c;
    int64_t width = w->at.width;
    LLVMValueRef column = add(w, c->from[c->rank - 1], some->column);
    Loop elements = loop_begin(c->p, number(w, 0), number(w, WINOGRAD_ELEMENTS), number(w, 1));
    LLVMValueRef plane = windows_part(w, w->planes, elements.index, w->at.plane);
    LLVMValueRef b = windows_part(w, filters, elements.index, w->at.other_plane);
    LLVMValueRef to = windows_part(w, w->products, elements.index, w->at.product_plane);
    Loop rows = loop_begin(c->p, number(w, 0), some->count, number(w, c->rows));
    LLVMValueRef sum[MOST_ROWS * MOST_VECTORS], first = add(w, some->first, rows.index);
    Tile tile = {.rows = c->rows, .vectors = c->vectors};
    tile.a = contract_element(c, plane, mul(w, first, number(w, w->at.row)));
    if (contract_has_results_to_ask(c)) ask_places(w, some->line_from, first, elements.index, column);
    for (uint32_t i = 0; i < c->rows * c->vectors; i++) sum[i] = LLVMConstNull(c->vector);
    contract_multiply(c, &tile, b, number(w, w->at.channels), sum);
    LLVMValueRef at = mul(w, rows.index, number(w, width));
    for (uint32_t i = 0; i < c->rows * c->vectors; i++)
        contract_store(c, sum[i], to, add(w, at, number(w, i * c->lanes)), contract_vector_bytes(c));
    loop_end(c->p, &rows);
    loop_end(c->p, &elements);
}

/* ---- places: A' m A */

/* Four values by A': two. */
static void join_four(Windows *w, LLVMValueRef const *m, LLVMValueRef *y) {
    y[0] = windows_plus(w, windows_plus(w, m[0], m[1]), m[2]);
    y[1] = windows_plus(w, windows_minus(w, m[1], m[2]), m[3]);
}

/* The epilogue of `count` neighbouring tiles of a line: number `across` of it and those behind, of which the first has
 * products number `index`. */
static void finish_tiles(Windows *w, const TileLine *line, LLVMValueRef across, uint32_t count, LLVMValueRef index,
                         LLVMValueRef column) {
    Contract *c = w->c;
    const Patch *patch = &w->at.shape.patch;
    LLVMValueRef first_line = mul(w, line->image, number(w, patch->OH));
    for (uint32_t v = 0; v < c->vectors; v++) {
        Finished places[MOST_FINISHED];
        for (uint32_t i = 0; i < 4 * count; i++) {
            uint32_t dy = i / 2 % 2, dx = i % 2;
            LLVMValueRef tile = add(w, across, number(w, i / 4)), y[4];
            LLVMValueRef row = add(w, mul(w, line->line, number(w, 2)), number(w, dy)),
                         x = add(w, mul(w, tile, number(w, 2)), number(w, dx));
            if (i % 4 == 0) {
                LLVMValueRef at = mul(w, add(w, index, number(w, i / 4)), number(w, w->at.width));
                windows_join(w, contract_element(c, w->products, add(w, at, number(w, v * c->lanes))), join_four, 2, y);
                for (uint32_t k = 0; k < 4; k++) places[i + k].product = y[k];
            }
            LLVMValueRef place = add(w, mul(w, add(w, first_line, row), number(w, patch->OW)), x);
            places[i].row = contract_sub(c, place, c->from[c->rank - 2]);
            places[i].is_there = windows_is_there(w, dy, row, dx, x);
            if (places[i].is_there) /* else something may be read for it, but not stored: that of the tile's first */
                places[i].row =
                    LLVMBuildSelect(builder(w), places[i].is_there, places[i].row, places[i / 4 * 4].row, "");
        }
        contract_finish(c, add(w, column, number(w, v * c->lanes)), places, 4 * count);
    }
}

/* Tiles are finished two by two where lines have even counts: sums of rows are fetched and put back for each. */
static void finish_some(Windows *w, const Some *some) {
    uint32_t step = w->at.shape.across % 2 || w->at.some % 2 ? 1 : 2;
    Loop tiles = loop_begin(w->c->p, number(w, 0), some->count, number(w, step));
    LLVMValueRef tile = add(w, some->first, tiles.index);
    LLVMValueRef line_at = add(w, some->line_from, contract_divide(w->c, tile, w->at.shape.across));
    TileLine line = windows_line(w, line_at, some->line_from);
    finish_tiles(w, &line, contract_rest(w->c, tile, w->at.shape.across), step, tiles.index, some->column);
    loop_end(w->c->p, &tiles);
}

/* ---- blocks */

/* The line of tiles that begins with this row of the product. */
static LLVMValueRef line_of_row(Windows *w, LLVMValueRef row) {
    const Patch *patch = &w->at.shape.patch;
    int64_t image = patch->OH * patch->OW;
    LLVMValueRef in_image = contract_divide(w->c, contract_rest(w->c, row, image), 2 * patch->OW);
    return add(w, mul(w, contract_divide(w->c, row, image), number(w, w->at.shape.down)), in_image);
}

/* Lines [from, end) of tiles, which a block takes at once. */
static void one_block(Windows *w, LLVMValueRef from, LLVMValueRef end) {
    Contract *c = w->c;
    Loop seen = loop_begin(c->p, from, end, number(w, 1));
    TileLine line = windows_line(w, seen.index, from);
    windows_see(w, &line, LLVMBuildICmp(builder(w), LLVMIntEQ, seen.index, from, ""));
    loop_end(c->p, &seen);
    LLVMValueRef tiles = mul(w, contract_sub(c, end, from), number(w, w->at.shape.across));
    LLVMValueRef columns = contract_sub(c, c->to[c->rank - 1], c->from[c->rank - 1]);
    Loop panels = loop_begin(c->p, number(w, 0), columns, number(w, w->at.width));
    LLVMValueRef filters = contract_divide(c, panels.index, w->at.width);
    filters = windows_part(w, w->other, filters, WINOGRAD_ELEMENTS * w->at.other_plane);
    Loop parts = loop_begin(c->p, number(w, 0), tiles, number(w, w->at.some));
    LLVMValueRef count = pull_min(c->p, contract_sub(c, tiles, parts.index), number(w, w->at.some));
    Some some = {from, parts.index, count, panels.index};
    put_products(w, filters, &some);
    finish_some(w, &some);
    loop_end(c->p, &parts);
    loop_end(c->p, &panels);
}

void winograd_places(Contract *c) {
    Windows w = windows_begin(c);
    uint32_t axis = c->rank - 2;
    int64_t lines = c->kernel->winograd / w.at.shape.across;
    c->a = (Operand){.row = number(&w, w.at.row), .depth = number(&w, 1)};
    c->b = (Operand){.row = number(&w, 1), .depth = number(&w, w.at.width)};
    c->row_from = number(&w, 0);
    LLVMValueRef end = line_of_row(&w, c->to[axis]);
    Loop blocks = loop_begin(c->p, line_of_row(&w, c->from[axis]), end, number(&w, lines));
    one_block(&w, blocks.index, pull_min(c->p, add(&w, blocks.index, number(&w, lines)), end));
    loop_end(c->p, &blocks);
}
