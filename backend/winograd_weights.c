/* Gradients of a convolution's filters, by tiles of 2x2 places (ir/winograd.h).
 *
 *   for each block of tiles of all images
 *     their pixels, and the slopes of their places, into planes          (winograd_windows.c; A dy A')
 *     for each of the 16 elements: products += planes of pixels' · planes of slopes, by the micro-kernel
 *   for each channel: its nine taps, and the epilogue                    (G' . G)
 *
 * A piece has some channels, with all their taps, and some columns; its sums stay in scratch between blocks. */
#include "backend/winograd.h"

static LLVMBuilderRef builder(Windows *w) { return contract_builder(w->c); }
static LLVMValueRef number(Windows *w, int64_t value) { return contract_number(w->c, value); }
static LLVMValueRef add(Windows *w, LLVMValueRef a, LLVMValueRef b) { return pull_add(w->c->p, a, b); }
static LLVMValueRef mul(Windows *w, LLVMValueRef a, LLVMValueRef b) { return pull_mul(w->c->p, a, b); }

static int64_t panels_of_piece(const Windows *w) { return w->at.columns / w->at.width; }

static int64_t lines_of_piece(const Windows *w) {
    return w->c->rank == 3 ? w->at.shape.down : w->at.shape.down * w->at.shape.images;
}

/* Then sums begin and end in registers. */
static bool is_one_block(const Windows *w) { return w->c->kernel->winograd >= lines_of_piece(w) * w->at.shape.across; }

/* ---- slopes: A dy A' */

/* Two values by A: four. */
static void spread_two(Windows *w, LLVMValueRef const *d, LLVMValueRef *z) {
    z[0] = d[0];
    z[1] = windows_plus(w, d[0], d[1]);
    z[2] = windows_minus(w, d[0], d[1]);
    z[3] = d[1];
}

/* The slope dy and dx behind the first place of a tile, which is place (y, x) of its image; zeros where it is not
 * there. */
static LLVMValueRef slope_at(Windows *w, const TileLine *line, LLVMValueRef across, uint32_t dy, uint32_t dx,
                             LLVMValueRef column) {
    Contract *c = w->c;
    const Patch *patch = &w->at.shape.patch;
    LLVMValueRef first_y = mul(w, line->line, number(w, 2)), first_x = mul(w, across, number(w, 2));
    LLVMValueRef y = add(w, first_y, number(w, dy)), x = add(w, first_x, number(w, dx));
    LLVMValueRef inside = windows_is_there(w, dy, y, dx, x);
    if (inside)
        y = LLVMBuildSelect(builder(w), inside, y, first_y, ""),
        x = LLVMBuildSelect(builder(w), inside, x, first_x, "");
    LLVMValueRef in_image = c->rank == 2 ? add(w, mul(w, line->image, number(w, patch->OH)), y) : y;
    Position at = {.rank = c->rank, .lanes = c->lanes};
    at.axis[0] = (Index){line->image, 0, NULL};
    at.axis[c->rank - 2] = (Index){add(w, mul(w, in_image, number(w, patch->OW)), x), 0, NULL};
    at.axis[c->rank - 1] = (Index){column, 1, NULL};
    LLVMValueRef value = pull_splat(c->p, pull_value(c->p, c->product->in[1], &at), c->lanes);
    return inside ? LLVMBuildSelect(builder(w), inside, value, LLVMConstNull(c->vector), "") : value;
}

static void put_slopes_of_tile(Windows *w, const TileLine *line, LLVMValueRef across, LLVMValueRef column,
                               LLVMValueRef to) {
    LLVMValueRef columns[2][WINOGRAD_SIDE];
    uint32_t mark = pull_mark(w->c->p);
    for (uint32_t dx = 0; dx < 2; dx++) {
        LLVMValueRef d[2];
        for (uint32_t dy = 0; dy < 2; dy++) d[dy] = slope_at(w, line, across, dy, dx, column);
        spread_two(w, d, columns[dx]);
    }
    for (uint32_t i = 0; i < WINOGRAD_SIDE; i++) {
        LLVMValueRef row[] = {columns[0][i], columns[1][i]}, z[WINOGRAD_SIDE];
        spread_two(w, row, z);
        for (uint32_t j = 0; j < WINOGRAD_SIDE; j++)
            contract_store(w->c, z[j], to, number(w, (WINOGRAD_SIDE * i + j) * w->at.other_plane),
                           contract_vector_bytes(w->c));
    }
    pull_forget(w->c->p, mark);
}

/* Element e of a block's slopes: [panels, tiles, width]. */
static void put_slopes(Windows *w, const TileLine *line) {
    Contract *c = w->c;
    Loop tiles = loop_begin(c->p, number(w, 0), number(w, w->at.shape.across), number(w, 1));
    Loop panels = loop_begin(c->p, number(w, 0), number(w, panels_of_piece(w)), number(w, 1));
    LLVMValueRef tile = add(w, mul(w, panels.index, number(w, w->at.tiles)), add(w, line->first, tiles.index));
    LLVMValueRef to = contract_element(c, w->other, mul(w, tile, number(w, w->at.width)));
    LLVMValueRef column = add(w, c->from[c->rank - 1], mul(w, panels.index, number(w, w->at.width)));
    for (uint32_t v = 0; v < c->vectors; v++)
        put_slopes_of_tile(w, line, tiles.index, add(w, column, number(w, v * c->lanes)),
                           contract_element(c, to, number(w, v * c->lanes)));
    loop_end(c->p, &panels);
    loop_end(c->p, &tiles);
}

/* ---- products */

/* Element e of the sums: [panels, channels, width]. */
static LLVMValueRef sums_of(Windows *w, LLVMValueRef element, LLVMValueRef panel, LLVMValueRef channel) {
    LLVMValueRef at = add(w, mul(w, panel, number(w, w->at.channels)), channel);
    LLVMValueRef first = windows_part(w, w->products, element, w->at.product_plane);
    return contract_element(w->c, first, mul(w, at, number(w, w->at.width)));
}

static void clear_sums(Windows *w) {
    LLVMValueRef size = number(w, WINOGRAD_ELEMENTS * w->at.product_plane);
    Loop loop = loop_begin(w->c->p, number(w, 0), size, number(w, w->c->lanes));
    contract_store(w->c, LLVMConstNull(w->c->vector), w->products, loop.index, contract_vector_bytes(w->c));
    loop_end(w->c->p, &loop);
}

/* Tiles of `rows` channels from *channel on, as long as a whole one fits. */
static void add_products(Windows *w, uint32_t rows, LLVMValueRef plane, LLVMValueRef b, LLVMValueRef sums,
                         int64_t *channel, LLVMValueRef tiles) {
    Contract *c = w->c;
    int64_t stop = *channel + (w->at.channels - *channel) / rows * rows;
    Loop loop = loop_begin(c->p, number(w, *channel), number(w, stop), number(w, rows));
    LLVMValueRef sum[MOST_ROWS * MOST_VECTORS];
    Tile tile = {.rows = rows, .vectors = c->vectors, .a = contract_element(c, plane, loop.index)};
    LLVMValueRef to = contract_element(c, sums, mul(w, loop.index, number(w, w->at.width)));
    for (uint32_t i = 0; i < rows * c->vectors; i++)
        sum[i] = is_one_block(w) ? LLVMConstNull(c->vector)
                                 : contract_load(c, to, number(w, i * c->lanes), contract_vector_bytes(c), NULL);
    contract_multiply(c, &tile, b, tiles, sum);
    for (uint32_t i = 0; i < rows * c->vectors; i++)
        contract_store(c, sum[i], to, number(w, i * c->lanes), contract_vector_bytes(c));
    loop_end(c->p, &loop);
    *channel = stop;
}

static void add_block(Windows *w, LLVMValueRef tiles) {
    Contract *c = w->c;
    int64_t channel = 0;
    Loop elements = loop_begin(c->p, number(w, 0), number(w, WINOGRAD_ELEMENTS), number(w, 1));
    LLVMValueRef plane = windows_part(w, w->planes, elements.index, w->at.plane);
    LLVMValueRef slopes = windows_part(w, w->other, elements.index, w->at.other_plane);
    Loop panels = loop_begin(c->p, number(w, 0), number(w, panels_of_piece(w)), number(w, 1));
    LLVMValueRef b = windows_part(w, slopes, panels.index, w->at.tiles * w->at.width);
    LLVMValueRef sums = sums_of(w, elements.index, panels.index, number(w, 0));
    add_products(w, c->rows, plane, b, sums, &channel, tiles);
    if (channel < w->at.channels)
        add_products(w, (uint32_t)(w->at.channels - channel), plane, b, sums, &channel, tiles);
    loop_end(c->p, &panels);
    loop_end(c->p, &elements);
}

/* ---- taps: G' s G */

/* Four values by G': three. */
static void join_taps(Windows *w, LLVMValueRef const *s, LLVMValueRef *g) {
    LLVMValueRef half = pull_splat(w->c->p, LLVMConstReal(w->c->f32, 0.5), w->c->lanes);
    LLVMValueRef both = LLVMBuildFMul(builder(w), windows_plus(w, s[1], s[2]), half, "");
    g[0] = windows_plus(w, s[0], both);
    g[1] = LLVMBuildFMul(builder(w), windows_minus(w, s[1], s[2]), half, "");
    g[2] = windows_plus(w, both, s[3]);
}

/* Rows of the product are taps of channels; c->from is 0 in what follows, since a piece's rows do not stand together.
 */
static void finish(Windows *w) {
    Contract *c = w->c;
    LLVMValueRef piece = c->from[c->rank - 2];
    c->from[c->rank - 2] = number(w, 0);
    Loop panels = loop_begin(c->p, number(w, 0), number(w, panels_of_piece(w)), number(w, 1));
    Loop channels = loop_begin(c->p, number(w, 0), number(w, w->at.channels), number(w, 1));
    LLVMValueRef from = sums_of(w, number(w, 0), panels.index, channels.index);
    LLVMValueRef channel = add(w, w->first_channel, channels.index);
    for (uint32_t v = 0; v < c->vectors; v++) {
        LLVMValueRef taps[WINOGRAD_TAPS];
        Finished places[WINOGRAD_TAPS];
        windows_join(w, contract_element(c, from, number(w, v * c->lanes)), join_taps, 3, taps);
        for (uint32_t tap = 0; tap < WINOGRAD_TAPS; tap++)
            places[tap] =
                (Finished){.row = add(w, number(w, tap * w->at.shape.patch.C), channel), .product = taps[tap]};
        LLVMValueRef column = add(w, mul(w, panels.index, number(w, w->at.width)), number(w, v * c->lanes));
        contract_finish(c, column, places, WINOGRAD_TAPS);
    }
    loop_end(c->p, &channels);
    loop_end(c->p, &panels);
    c->from[c->rank - 2] = piece;
}

void winograd_weights(Contract *c) {
    Windows w = windows_begin(c);
    int64_t lines = c->kernel->winograd / w.at.shape.across;
    LLVMValueRef from = c->rank == 3 ? mul(&w, c->from[0], number(&w, lines_of_piece(&w))) : number(&w, 0),
                 end = add(&w, from, number(&w, lines_of_piece(&w)));
    w.first_channel = contract_divide(c, c->from[c->rank - 2], WINOGRAD_TAPS);
    c->a = (Operand){.row = number(&w, 1), .depth = number(&w, w.at.row)};
    c->b = (Operand){.row = number(&w, 1), .depth = number(&w, w.at.width)};
    c->row_from = number(&w, 0);
    if (!is_one_block(&w)) clear_sums(&w);
    Loop blocks = loop_begin(c->p, from, end, number(&w, lines));
    LLVMValueRef stop = pull_min(c->p, add(&w, blocks.index, number(&w, lines)), end);
    Loop seen = loop_begin(c->p, blocks.index, stop, number(&w, 1));
    TileLine line = windows_line(&w, seen.index, blocks.index);
    windows_see(&w, &line, LLVMBuildICmp(builder(&w), LLVMIntEQ, seen.index, blocks.index, ""));
    put_slopes(&w, &line);
    loop_end(c->p, &seen);
    add_block(&w, mul(&w, contract_sub(c, stop, blocks.index), number(&w, w.at.shape.across)));
    loop_end(c->p, &blocks);
    finish(&w);
}
