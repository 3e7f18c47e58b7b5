/* Pictures by tiles: lines into the ring, and tiles out of it. See winograd.h. */
#include "backend/winograd.h"

static LLVMBuilderRef builder(Windows *w) { return contract_builder(w->c); }
static LLVMValueRef number(Windows *w, int64_t value) { return contract_number(w->c, value); }
static LLVMValueRef add(Windows *w, LLVMValueRef a, LLVMValueRef b) { return pull_add(w->c->p, a, b); }
static LLVMValueRef mul(Windows *w, LLVMValueRef a, LLVMValueRef b) { return pull_mul(w->c->p, a, b); }

LLVMValueRef windows_plus(Windows *w, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFAdd(builder(w), a, b, ""); }
LLVMValueRef windows_minus(Windows *w, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildFSub(builder(w), a, b, ""); }

/* ---- scratch */

static int64_t place_bytes(int64_t *end, int64_t elements) {
    int64_t at = *end;
    *end = contract_round_up(at + elements * 4, 64);
    return at;
}

/* What is touched together and stood 1 KB apart, or a multiple, would fall into few sets of the L1 cache. */
static int64_t spread(int64_t stride) { return stride % 256 ? stride : stride + 16; }
/* 16 planes are written at once. */
static int64_t spread_planes(int64_t stride) { return contract_round_up(stride, 128) + 16; }

/* Whole tiles of the micro-kernel whose products take half of the L1 cache at most, but at least one. */
static int64_t some_tiles(uint32_t rows, int64_t width) {
    enum { MOST_BYTES = 16 << 10 };
    int64_t count = MOST_BYTES / (WINOGRAD_ELEMENTS * 4 * width) / rows;
    return (count ? count : 1) * rows;
}

WinogradLayout winograd_layout(const Kernel *kernel, const Target *target) {
    WinogradLayout at = {.width = (int64_t)kernel->tile_vectors * target->machine.vector_bytes / 4};
    Block block = contract_block(kernel, target);
    CHECK(winograd_of(kernel, &at.shape));
    const Patch *patch = &at.shape.patch;
    int64_t lanes = target->machine.vector_bytes / 4;
    at.columns = block.columns;
    at.channels = patch->rows_are_places ? patch->C : block.rows / WINOGRAD_TAPS;
    at.tiles = patch->rows_are_places ? contract_round_up(kernel->winograd, kernel->tile_rows) : kernel->winograd;
    at.row = spread(at.channels);
    at.pixel_row = (2 * at.shape.across + 2) * at.channels;
    int64_t own = kernel->grid.axis[kernel->grid.rank - 1].block;
    CHECK(at.channels % lanes == 0 && (own ? own : at.shape.filters) == at.columns);
    CHECK(kernel->tile_rows <= MOST_ROWS && kernel->tile_vectors <= MOST_VECTORS);
    at.plane = spread_planes(at.tiles * at.row);
    at.planes = place_bytes(&at.end, WINOGRAD_ELEMENTS * at.plane);
    at.ring = place_bytes(&at.end, WINOGRAD_SIDE * at.pixel_row + lanes);
    if (patch->rows_are_places) {
        at.some = some_tiles(kernel->tile_rows, at.width);
        at.other_plane = spread_planes(patch->C * at.width);
        at.other = place_bytes(&at.end, at.columns / at.width * WINOGRAD_ELEMENTS * at.other_plane);
        at.product_plane = spread_planes(at.some * at.width);
    } else {
        at.other_plane = spread_planes(at.tiles * at.columns);
        at.other = place_bytes(&at.end, WINOGRAD_ELEMENTS * at.other_plane);
        at.product_plane = spread_planes(at.channels * at.columns);
    }
    at.products = place_bytes(&at.end, WINOGRAD_ELEMENTS * at.product_plane);
    return at;
}

int64_t winograd_scratch_bytes(const Kernel *kernel, const Target *target) {
    return kernel->winograd ? winograd_layout(kernel, target).end : 0;
}

Windows windows_begin(Contract *c) {
    Windows w = {.c = c, .at = winograd_layout(c->kernel, c->p->e->target), .first_channel = contract_number(c, 0)};
    LLVMTypeRef byte = LLVMInt8TypeInContext(c->p->e->context);
    w.planes = pull_address(c->p, c->winograd, byte, number(&w, w.at.planes));
    w.ring = pull_address(c->p, c->winograd, byte, number(&w, w.at.ring));
    w.other = pull_address(c->p, c->winograd, byte, number(&w, w.at.other));
    w.products = pull_address(c->p, c->winograd, byte, number(&w, w.at.products));
    return w;
}

LLVMValueRef windows_part(Windows *w, LLVMValueRef base, LLVMValueRef index, int64_t stride) {
    return contract_element(w->c, base, mul(w, index, number(w, stride)));
}

TileLine windows_line(Windows *w, LLVMValueRef line, LLVMValueRef first_of_block) {
    const Winograd *shape = &w->at.shape;
    LLVMValueRef in_block = contract_sub(w->c, line, first_of_block);
    return (TileLine){contract_divide(w->c, line, shape->down), contract_rest(w->c, line, shape->down),
                      mul(w, in_block, number(w, shape->across))};
}

static LLVMValueRef is_below(Windows *w, LLVMValueRef at, int64_t end) {
    return LLVMBuildICmp(builder(w), LLVMIntSLT, at, number(w, end), "");
}

LLVMValueRef windows_is_there(Windows *w, uint32_t dy, LLVMValueRef y, uint32_t dx, LLVMValueRef x) {
    const Patch *patch = &w->at.shape.patch;
    LLVMValueRef in_y = dy && patch->OH % 2 ? is_below(w, y, patch->OH) : NULL,
                 in_x = dx && patch->OW % 2 ? is_below(w, x, patch->OW) : NULL;
    return in_y && in_x ? LLVMBuildAnd(builder(w), in_y, in_x, "") : in_y ? in_y : in_x;
}

/* ---- lines into the ring */

static LLVMValueRef ring_line(Windows *w, LLVMValueRef y) {
    LLVMValueRef slot = LLVMBuildAnd(builder(w), y, number(w, WINOGRAD_SIDE - 1), "");
    return contract_element(w->c, w->ring, mul(w, slot, number(w, w->at.pixel_row)));
}

static void put_zeros(Windows *w, LLVMValueRef line, int64_t from, int64_t to) {
    Loop loop =
        loop_begin(w->c->p, number(w, from * w->at.channels), number(w, to * w->at.channels), number(w, w->c->lanes));
    contract_store(w->c, LLVMConstNull(w->c->vector), line, loop.index, 4);
    loop_end(w->c->p, &loop);
}

/* Asks for what the next line of tiles will see at this place, two lines below, in all that the picture is made of. */
static void ask_below(Windows *w, const Position *at, int64_t elements) {
    Contract *c = w->c;
    const Graph *body = c->kernel->body;
    const Type *picture = &body->nodes[w->at.shape.patch.picture].type;
    LLVMValueRef line = add(w, mul(w, at->axis[0].base, number(w, picture->dim[1])), at->axis[1].base);
    LLVMValueRef pixel = add(w, mul(w, add(w, line, number(w, 2)), number(w, picture->dim[2])), at->axis[2].base);
    LLVMValueRef first = add(w, mul(w, pixel, number(w, picture->dim[5])), at->axis[5].base);
    for (uint32_t i = 0; i < body->input_count; i++) {
        if (body->inputs[i].type.dtype != DTYPE_f32 || c->in_epilogue[i]) continue;
        if (type_elements(body->inputs[i].type) != type_elements(*picture)) continue;
        for (int64_t k = 0; k < elements; k += 16)
            pull_fetch(c->p, c->p->args[i], c->f32, add(w, first, number(w, k)), TO_READ);
    }
}

/* Pixels [from, to) of the line, of which number `before` is the picture's first. */
static void put_pixels(Windows *w, const TileLine *line, LLVMValueRef h, LLVMValueRef to_line, int64_t from,
                       int64_t to) {
    Contract *c = w->c;
    int64_t vectors = w->at.channels / c->lanes, unroll = vectors % 4 == 0 ? 4 : vectors % 2 == 0 ? 2 : 1;
    Position at = {.rank = 6, .lanes = c->lanes};
    for (uint32_t i = 0; i < 6; i++) at.axis[i] = (Index){number(w, 0), 0, NULL};
    Loop pixels = loop_begin(c->p, number(w, from), number(w, to), number(w, 1));
    Loop channels = loop_begin(c->p, number(w, 0), number(w, w->at.channels), number(w, unroll * c->lanes));
    at.axis[0].base = line->image;
    at.axis[1].base = h;
    at.axis[2].base = add(w, pixels.index, number(w, -w->at.shape.patch.before[1]));
    for (int64_t u = 0; u < unroll; u++) {
        LLVMValueRef channel = add(w, channels.index, number(w, u * c->lanes));
        at.axis[5] = (Index){add(w, w->first_channel, channel), 1, NULL};
        LLVMValueRef value = pull_splat(c->p, pull_value(c->p, w->at.shape.patch.picture, &at), c->lanes);
        contract_store(c, value, to_line, add(w, mul(w, pixels.index, number(w, w->at.channels)), channel), 4);
        if (u == 0) ask_below(w, &at, unroll * c->lanes);
    }
    loop_end(c->p, &channels);
    loop_end(c->p, &pixels);
}

static int64_t clamp(int64_t value, int64_t most) { return value < 0 ? 0 : value < most ? value : most; }

static void put_line(Windows *w, const TileLine *line, LLVMValueRef y) {
    Contract *c = w->c;
    const Patch *patch = &w->at.shape.patch;
    int64_t seen = 2 * w->at.shape.across + 2, from = clamp(patch->before[1], seen),
            to = clamp(patch->W + patch->before[1], seen);
    LLVMValueRef h = add(w, y, number(w, -patch->before[0])), ring = ring_line(w, y);
    LLVMValueRef is_in = LLVMBuildICmp(builder(w), LLVMIntULT, h, number(w, patch->H), "");
    LLVMValueRef inside = LLVMBuildZExt(builder(w), is_in, LLVMInt64TypeInContext(c->p->e->context), "");
    Loop if_inside = loop_begin(c->p, number(w, 0), inside, number(w, 1));
    if (from) put_zeros(w, ring, 0, from);
    put_pixels(w, line, h, ring, from, to);
    if (to < seen) put_zeros(w, ring, to, seen);
    loop_end(c->p, &if_inside);
    Loop if_outside = loop_begin(c->p, inside, number(w, 1), number(w, 1));
    put_zeros(w, ring, 0, seen);
    loop_end(c->p, &if_outside);
}

/* ---- tiles out of it: B' d B */

/* One column of pixels, by B': the four rows of the lines at `offset`. */
static void see_column(Windows *w, LLVMValueRef const *lines, LLVMValueRef offset, LLVMValueRef *column) {
    LLVMValueRef d[WINOGRAD_SIDE];
    for (uint32_t i = 0; i < WINOGRAD_SIDE; i++) d[i] = contract_load(w->c, lines[i], offset, 4, NULL);
    column[0] = windows_minus(w, d[0], d[2]);
    column[1] = windows_plus(w, d[1], d[2]);
    column[2] = windows_minus(w, d[2], d[1]);
    column[3] = windows_minus(w, d[3], d[1]);
}

/* Row i of the tile's elements, from that of four columns. */
static void put_row(Windows *w, uint32_t i, LLVMValueRef const *t, LLVMValueRef plane, LLVMValueRef offset) {
    LLVMValueRef element[] = {windows_minus(w, t[0], t[2]), windows_plus(w, t[1], t[2]), windows_minus(w, t[2], t[1]),
                              windows_minus(w, t[3], t[1])};
    for (uint32_t j = 0; j < WINOGRAD_SIDE; j++) {
        int64_t before = (int64_t)(WINOGRAD_SIDE * i + j) * w->at.plane;
        contract_store(w->c, element[j], plane, add(w, offset, number(w, before)), 4);
    }
}

/* Neighbours share two columns, which go round in registers. */
static void see_tiles(Windows *w, const TileLine *line, LLVMValueRef const *lines, LLVMValueRef channel) {
    Contract *c = w->c;
    enum { SHARED = 2 * WINOGRAD_SIDE };
    int64_t pixel = w->at.channels;
    LLVMValueRef shared[SHARED], next[SHARED];
    for (uint32_t j = 0; j < 2; j++)
        see_column(w, lines, add(w, channel, number(w, j * pixel)), shared + j * WINOGRAD_SIDE);
    Round tiles = micro_round_begin(c->p, number(w, 0), number(w, w->at.shape.across), shared, SHARED, false);
    LLVMValueRef from = add(w, channel, mul(w, tiles.index, number(w, 2 * pixel)));
    for (uint32_t j = 0; j < 2; j++)
        see_column(w, lines, add(w, from, number(w, (2 + j) * pixel)), next + j * WINOGRAD_SIDE);
    LLVMValueRef tile = add(w, line->first, tiles.index), to = add(w, mul(w, tile, number(w, w->at.row)), channel);
    for (uint32_t i = 0; i < WINOGRAD_SIDE; i++) {
        LLVMValueRef row[] = {tiles.phi[i], tiles.phi[WINOGRAD_SIDE + i], next[i], next[WINOGRAD_SIDE + i]};
        put_row(w, i, row, w->planes, to);
    }
    micro_round_end(c->p, &tiles, next);
}

void windows_see(Windows *w, const TileLine *line, LLVMValueRef is_first_of_block) {
    Contract *c = w->c;
    LLVMValueRef y = mul(w, line->line, number(w, 2)), lines[WINOGRAD_SIDE];
    LLVMValueRef is_top = LLVMBuildICmp(builder(w), LLVMIntEQ, line->line, number(w, 0), "");
    LLVMValueRef is_first = LLVMBuildOr(builder(w), is_top, is_first_of_block, "");
    LLVMValueRef known = LLVMBuildSelect(builder(w), is_first, number(w, 0), number(w, 2), "");
    Loop news = loop_begin(c->p, known, number(w, WINOGRAD_SIDE), number(w, 1));
    put_line(w, line, add(w, y, news.index));
    loop_end(c->p, &news);
    for (uint32_t i = 0; i < WINOGRAD_SIDE; i++) lines[i] = ring_line(w, add(w, y, number(w, i)));
    Loop channels = loop_begin(c->p, number(w, 0), number(w, w->at.channels), number(w, c->lanes));
    see_tiles(w, line, lines, channels.index);
    loop_end(c->p, &channels);
}

/* ---- 16 elements to fewer values */

void windows_join(Windows *w, LLVMValueRef from, WindowsJoin *join, uint32_t count, LLVMValueRef *result) {
    LLVMValueRef columns[WINOGRAD_SIDE][WINOGRAD_SIDE];
    for (uint32_t j = 0; j < WINOGRAD_SIDE; j++) {
        LLVMValueRef four[WINOGRAD_SIDE];
        for (uint32_t i = 0; i < WINOGRAD_SIDE; i++)
            four[i] = contract_load(w->c, from, number(w, (WINOGRAD_SIDE * i + j) * w->at.product_plane),
                                    contract_vector_bytes(w->c), NULL);
        join(w, four, columns[j]);
    }
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef row[] = {columns[0][i], columns[1][i], columns[2][i], columns[3][i]};
        join(w, row, result + count * i);
    }
}
