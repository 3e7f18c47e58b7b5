/* Operands: read where they are, or copied into panels.
 *
 * B goes into panels of tile_vectors vectors, one step along k behind the other, if it does not lie in such already. A
 * is copied row by row, in the order in which it lies in memory; a patch of a picture line by line, with zeros around
 * it where it is padded: each element once, whatever the number of taps that see it. Everything that is not in memory
 * is pulled on the way (backend/pull.h). */
#include "backend/contract.h"

#include "ir/digits.h"
#include "ir/strided.h"

enum { ROW_PAD = 16 /* elements between rows of the copy of A, so that they fall into different sets of the cache */ };

static LLVMBuilderRef builder(Contract *c) { return contract_builder(c); }
static LLVMValueRef number(Contract *c, int64_t value) { return contract_number(c, value); }
static LLVMValueRef add(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_add(c->p, a, b); }
static LLVMValueRef mul(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_mul(c->p, a, b); }
static LLVMValueRef sub(Contract *c, LLVMValueRef a, LLVMValueRef b) { return contract_sub(c, a, b); }
static LLVMValueRef element(Contract *c, LLVMValueRef base, LLVMValueRef offset) {
    return contract_element(c, base, offset);
}

/* The position of element (depth, column) of B, lanes along columns. */
static Position b_position(Contract *c, LLVMValueRef k, LLVMValueRef column, LLVMValueRef mask) {
    Position at = {.rank = c->rank, .lanes = c->lanes, .mask = mask};
    for (uint32_t i = 0; i + 2 < c->rank; i++) at.axis[i] = (Index){c->from[i], 0, NULL};
    at.axis[c->rank - 2] = (Index){k, 0, NULL};
    at.axis[c->rank - 1] = (Index){column, 1, NULL};
    return at;
}

/* Base and strides of an operand that is read where it is; false if it is more than strides. */
bool contract_in_place(Contract *c, NodeId operand, LLVMValueRef *base, LLVMValueRef *first, LLVMValueRef *second) {
    Strided view;
    if (!strided_of(c->kernel->body, operand, &view)) return false;
    LLVMValueRef offset = pull_extent(c->p, view.offset);
    for (uint32_t i = 0; i + 2 < c->rank; i++)
        offset = add(c, offset, mul(c, c->from[i], pull_extent(c->p, view.stride[i])));
    uint32_t input = c->kernel->body->nodes[view.input].attr.index;
    *base = element(c, c->p->args[input], offset);
    *first = pull_extent(c->p, view.stride[c->rank - 2]);
    *second = pull_extent(c->p, view.stride[c->rank - 1]);
    return true;
}

/* ---- B */

/* One step along k of one panel: `vectors` vectors of B from column `column` on, zeros beyond the last. */
static void pack_b_row(Contract *c, NodeId operand, LLVMValueRef column, LLVMValueRef k, LLVMValueRef panel) {
    for (uint32_t v = 0; v < c->vectors; v++) {
        LLVMValueRef at = add(c, column, number(c, v * c->lanes));
        LLVMValueRef mask = c->partial ? contract_mask_below(c, at, c->columns) : NULL;
        Position position = b_position(c, add(c, c->k_from, k), at, mask);
        LLVMValueRef value = pull_splat(c->p, pull_value(c->p, operand, &position), c->lanes);
        if (mask) value = LLVMBuildSelect(builder(c), mask, value, LLVMConstNull(c->vector), "");
        LLVMValueRef offset = add(c, mul(c, k, number(c, c->vectors * c->lanes)), number(c, v * c->lanes));
        contract_store(c, value, panel, offset, contract_vector_bytes(c));
    }
}

/* B whose k is contiguous in memory, at least in runs: squares of lanes x lanes are transposed on the way. */
typedef struct {
    Digits digits;
    Strided view;              /* of digits.base */
    LLVMValueRef base, column; /* of the piece's batch; stride from column to column */
} Squares;

static LLVMValueRef digit_size(Contract *c, const Digits *digits, uint32_t axis, uint32_t digit) {
    return pull_dim(c->p, c->kernel->body->nodes[digits->base].type.dim[digits->axis[axis][digit]]);
}

/* How far in memory element `at` of an axis is from its first. */
static LLVMValueRef square_offset(Contract *c, const Squares *s, uint32_t axis, LLVMValueRef at) {
    LLVMValueRef offset = number(c, 0);
    for (uint32_t i = s->digits.count[axis]; i--;) {
        LLVMValueRef size = digit_size(c, &s->digits, axis, i),
                     digit = i ? LLVMBuildURem(builder(c), at, size, "") : at;
        offset = add(c, offset, mul(c, digit, pull_extent(c->p, s->view.stride[s->digits.axis[axis][i]])));
        if (i) at = LLVMBuildUDiv(builder(c), at, size, "");
    }
    return offset;
}

static bool find_squares(Contract *c, Squares *s) {
    const Graph *body = c->kernel->body;
    uint32_t depth = c->rank - 2, column = c->rank - 1;
    s->digits = digits_of(body, c->product->in[1]);
    uint32_t runs = s->digits.count[depth];
    if (!strided_of(body, s->digits.base, &s->view) || !runs || s->digits.count[column] != 1) return false;
    uint32_t fastest = s->digits.axis[depth][runs - 1];
    Extent across = s->view.stride[s->digits.axis[column][0]];
    bool ends_with_image =
        c->has_patch && !c->patch.rows_are_places && !c->takes_images; /* so do blocks of the depth */
    int64_t image = ends_with_image ? c->patch.OH * c->patch.OW : 0;
    bool whole = runs == 1 || (body->nodes[s->digits.base].type.dim[fastest] % c->lanes == 0 &&
                               c->depth_block % c->lanes == 0 && image % c->lanes == 0);
    if (!strided_is_one(s->view.stride[fastest]) || strided_is_one(across) || !whole) return false;
    LLVMValueRef offset = pull_extent(c->p, s->view.offset);
    for (uint32_t i = 0; i + 2 < c->rank; i++) offset = add(c, offset, square_offset(c, s, i, c->from[i]));
    s->base = element(c, c->p->args[body->nodes[s->view.input].attr.index], offset);
    s->column = pull_extent(c->p, across);
    return true;
}

static void pack_b_square(Contract *c, LLVMValueRef base, LLVMValueRef stride, LLVMValueRef column, LLVMValueRef k,
                          LLVMValueRef panel) {
    LLVMValueRef rows[64], mask = contract_mask_below(c, k, c->k_count);
    LLVMValueRef last = sub(c, c->columns, number(c, 1)); /* beyond the last column: any values, never stored */
    for (uint32_t i = 0; i < c->lanes; i++) {
        LLVMValueRef at = pull_min(c->p, add(c, column, number(c, i)), last);
        rows[i] = contract_load(c, base, mul(c, at, stride), 4, mask);
    }
    micro_transpose(c->p, rows, c->lanes);
    for (uint32_t i = 0; i < c->lanes; i++)
        contract_store(c, rows[i], panel, mul(c, add(c, k, number(c, i)), number(c, c->vectors * c->lanes)),
                       contract_vector_bytes(c));
}

static LLVMValueRef panel_of(Contract *c, LLVMValueRef column) {
    LLVMValueRef first = sub(c, column, c->from[c->rank - 1]);
    return element(c, c->packed_b, mul(c, first, number(c, contract_round_up(c->depth_block, c->lanes))));
}

static void pack_b_squares(Contract *c, const Squares *s) {
    uint32_t axis = c->rank - 1;
    Loop columns = loop_begin(c->p, c->from[axis], c->to[axis], number(c, c->vectors * c->lanes));
    LLVMValueRef panel = panel_of(c, columns.index);
    Loop depth = loop_begin(c->p, number(c, 0), c->k_count, number(c, c->lanes));
    LLVMValueRef base = element(c, s->base, square_offset(c, s, axis - 1, add(c, c->k_from, depth.index)));
    for (uint32_t v = 0; v < c->vectors; v++) {
        LLVMValueRef column = add(c, columns.index, number(c, v * c->lanes));
        pack_b_square(c, base, s->column, column, depth.index, element(c, panel, number(c, v * c->lanes)));
    }
    loop_end(c->p, &depth);
    loop_end(c->p, &columns);
}

enum { ROWS_AHEAD = 16 /* of B, that are asked for while one is packed: each may begin a page */ };

/* Step by step along k, since a row of columns is what lies together. */
static void pack_b_rows(Contract *c) {
    uint32_t axis = c->rank - 1;
    LLVMValueRef base, stride, side;
    bool in_place = contract_in_place(c, c->product->in[1], &base, &stride, &side) && contract_is_one(side);
    Loop depth = loop_begin(c->p, number(c, 0), c->k_count, number(c, 1));
    Loop columns = loop_begin(c->p, c->from[axis], c->to[axis], number(c, c->vectors * c->lanes));
    if (in_place) {
        LLVMValueRef ahead = mul(c, add(c, add(c, c->k_from, depth.index), number(c, ROWS_AHEAD)), stride);
        for (uint32_t v = 0; v < c->vectors; v++)
            pull_fetch(c->p, base, c->f32, add(c, ahead, add(c, columns.index, number(c, v * c->lanes))), TO_READ);
    }
    pack_b_row(c, c->product->in[1], columns.index, depth.index, panel_of(c, columns.index));
    loop_end(c->p, &columns);
    loop_end(c->p, &depth);
}

/* Does the piece have the columns of the one before it, which this thread did last? */
static LLVMValueRef has_new_columns(Contract *c) {
    LLVMBuilderRef b = contract_builder(c);
    LLVMTypeRef i64 = LLVMInt64TypeInContext(c->p->e->context);
    LLVMValueRef is_new = LLVMBuildICmp(b, LLVMIntNE, c->panels_id, LLVMBuildLoad2(b, i64, c->packed_id, ""), "");
    LLVMBuildStore(b, c->panels_id, c->packed_id);
    return LLVMBuildZExt(b, is_new, i64, "");
}

bool contract_has_panels(const Kernel *kernel, const Target *target) {
    Panels panels;
    int64_t width = kernel->tile_vectors * (target->machine.vector_bytes / 4);
    return kernel->prepared_b && panels_of(kernel->body, kernel->body->nodes[kernel->product].in[1], &panels) &&
           panels.width == width;
}

/* The piece's first panel, at the block's first step. */
static void find_panels(Contract *c) {
    Panels panels;
    CHECK(panels_of(c->kernel->body, c->product->in[1], &panels));
    LLVMValueRef column = mul(c, c->from[c->rank - 1], number(c, panels.depth));
    c->panels = element(c, c->p->args[panels.input], add(c, column, mul(c, c->k_from, number(c, panels.width))));
    c->panel = panels.width * panels.depth;
}

static void pack_b(Contract *c) {
    Squares squares;
    Loop if_new = loop_begin(c->p, number(c, 0), c->cuts_depth ? number(c, 1) : has_new_columns(c), number(c, 1));
    if (find_squares(c, &squares))
        pack_b_squares(c, &squares);
    else
        pack_b_rows(c);
    c->panels = c->packed_b;
    c->panel = c->vectors * c->lanes * contract_round_up(c->depth_block, c->lanes);
    if (c->kernel->winograd) winograd_filters(c);
    loop_end(c->p, &if_new);
}

void contract_ready_b(Contract *c) {
    if (!c->kernel->pack_b) {
        CHECK(contract_in_place(c, c->product->in[1], &c->b.base, &c->b.depth, &c->b.row) && contract_is_one(c->b.row));
        c->b.base = element(c, c->b.base, add(c, mul(c, c->k_from, c->b.depth), c->from[c->rank - 1]));
        return;
    }
    if (c->has_panels)
        find_panels(c);
    else
        pack_b(c);
    c->b = (Operand){.base = c->panels, .row = number(c, 1), .depth = number(c, c->vectors * c->lanes)};
}

/* ---- A, row by row */

/* A is copied in the order in which it lies in memory: rows along k if k is contiguous, else rows along m. An axis that
 * a reshape joined from others (the taps and channels under a window) is walked digit by digit: `run` is its fastest
 * digit, contiguous in memory, and only the others are found by division, once for each run. */
typedef struct {
    Digits digits;
    uint32_t outer, inner; /* axes of A: one element of `outer` is a row of the copy */
    LLVMValueRef outer_from, inner_from, inner_to;
    LLVMValueRef row; /* of the copy: where inner_from goes */
    Position at;
} PackA;

/* Sets the first `count` digits of an axis to what `value` is in their number system. */
static void set_digits(Contract *c, const Digits *digits, uint32_t axis, uint32_t count, LLVMValueRef value,
                       Position *at) {
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
    at.mask = contract_mask_below(c, loop.index, high);
    if (count) at.axis[pack->digits.axis[pack->inner][count - 1]] = (Index){sub(c, loop.index, start), 1, NULL};
    LLVMValueRef value = pull_splat(c->p, pull_value(c->p, pack->digits.base, &at), c->lanes);
    contract_store(c, value, pack->row, sub(c, loop.index, pack->inner_from), 4);
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

static int64_t copied_row(const Block *block, uint32_t lanes, bool along_rows) {
    return (along_rows ? contract_round_up(block->rows, lanes) : block->depth) + ROW_PAD;
}

static void copy_rows(Contract *c) {
    PackA pack = {.digits = digits_of(c->kernel->body, c->product->in[0])};
    uint32_t rows = c->rank - 2, depth = c->rank - 1;
    bool along_rows = digits_count_fastest(c->kernel->body, &pack.digits, rows);
    Block block = contract_block(c->kernel, c->p->e->target);
    int64_t stride = copied_row(&block, c->lanes, along_rows);
    LLVMValueRef k_to = add(c, c->k_from, c->k_count), row_from = add(c, c->from[rows], c->row_from),
                 row_to = add(c, row_from, c->row_count);
    pack.outer = along_rows ? depth : rows;
    pack.inner = along_rows ? rows : depth;
    pack.outer_from = along_rows ? c->k_from : row_from;
    pack.inner_from = along_rows ? row_from : c->k_from;
    pack.inner_to = along_rows ? row_to : k_to;
    pack.at = (Position){.rank = c->kernel->body->nodes[pack.digits.base].type.rank, .lanes = c->lanes};
    for (uint32_t i = 0; i < pack.at.rank; i++) pack.at.axis[i] = (Index){number(c, 0), 0, NULL};
    for (uint32_t i = 0; i + 2 < c->rank; i++)
        set_digits(c, &pack.digits, i, pack.digits.count[i], c->from[i], &pack.at);
    Loop loop = loop_begin(c->p, pack.outer_from, along_rows ? k_to : row_to, number(c, 1));
    set_digits(c, &pack.digits, pack.outer, pack.digits.count[pack.outer], loop.index, &pack.at);
    pack.row = element(c, c->packed_a, mul(c, sub(c, loop.index, pack.outer_from), number(c, stride)));
    pack_a_row(c, &pack);
    loop_end(c->p, &loop);
    LLVMValueRef one = number(c, 1), far = number(c, stride);
    c->a = (Operand){.base = c->packed_a, .row = along_rows ? one : far, .depth = along_rows ? far : one};
}

/* ---- A, as a patch */

/* The lines of places that the block counts: `lines` of them from line y of image n on. */
typedef struct {
    LLVMValueRef n, y, lines;
} Lines;

static Lines lines_of(Contract *c) {
    const Patch *patch = &c->patch;
    LLVMValueRef from = patch->rows_are_places ? add(c, c->from[c->rank - 2], c->row_from) : c->k_from;
    LLVMValueRef count = patch->rows_are_places ? c->row_count : c->k_count;
    LLVMValueRef line = contract_divide(c, from, patch->OW);
    Lines lines = {.y = line, .n = number(c, 0), .lines = contract_divide(c, count, patch->OW)};
    if (patch->image_axis < MAX_RANK) {
        lines.n = c->from[patch->image_axis];
    } else {
        lines.n = contract_divide(c, line, patch->OH);
        lines.y = contract_rest(c, line, patch->OH);
    }
    return lines;
}

/* Zeros from element `at` on; a vector may reach beyond, into what is written later. */
static void put_zeros(Contract *c, LLVMValueRef line, int64_t at, int64_t count) {
    Loop loop = loop_begin(c->p, number(c, at), number(c, at + count), number(c, c->lanes));
    contract_store(c, LLVMConstNull(c->vector), line, loop.index, 4);
    loop_end(c->p, &loop);
}

/* `count` elements of the picture that lie side by side in memory. */
static void copy_run(Contract *c, LLVMValueRef from, LLVMValueRef to, int64_t count) {
    int64_t whole = count / c->lanes * c->lanes;
    Loop loop = loop_begin(c->p, number(c, 0), number(c, whole), number(c, c->lanes));
    contract_store(c, contract_load(c, from, loop.index, 4, NULL), to, loop.index, 4);
    loop_end(c->p, &loop);
    if (whole == count) return;
    LLVMValueRef mask = pull_mask(c->p, number(c, count - whole), c->lanes);
    contract_store(c, contract_load(c, from, number(c, whole), 4, mask), to, number(c, whole), 4);
}

/* Pixels [first, end) of line h, pulled: lanes along the channels, or along the pixels where there is one channel. */
static void pull_pixels(Contract *c, LLVMValueRef n, LLVMValueRef h, LLVMValueRef to, int64_t first, int64_t end) {
    const Patch *patch = &c->patch;
    bool one_channel = patch->C == 1;
    Position at = {.rank = 6, .lanes = c->lanes};
    for (uint32_t i = 0; i < 6; i++) at.axis[i] = (Index){number(c, 0), 0, NULL};
    at.axis[0].base = n;
    at.axis[1].base = h;
    Loop pixels = loop_begin(c->p, number(c, first), number(c, end), number(c, one_channel ? c->lanes : 1));
    Loop channels = loop_begin(c->p, number(c, 0), number(c, patch->C), number(c, c->lanes));
    at.axis[2] = (Index){pixels.index, one_channel, NULL};
    at.axis[5] = (Index){channels.index, !one_channel, NULL};
    if (one_channel)
        at.mask = contract_mask_below(c, pixels.index, number(c, end));
    else if (patch->C % c->lanes)
        at.mask = contract_mask_below(c, channels.index, number(c, patch->C));
    LLVMValueRef value = pull_splat(c->p, pull_value(c->p, patch->picture, &at), c->lanes);
    LLVMValueRef offset = mul(c, sub(c, pixels.index, number(c, first)), number(c, patch->C));
    contract_store(c, value, to, add(c, offset, channels.index), 4);
    loop_end(c->p, &channels);
    loop_end(c->p, &pixels);
}

/* The picture's own elements, if its lines lie in memory as they are. */
static bool picture_in_memory(Contract *c, LLVMValueRef *base) {
    const Graph *body = c->kernel->body;
    Strided view;
    if (!patch_is_in_memory(body, &c->patch, &view)) return false;
    *base = element(c, c->p->args[body->nodes[view.input].attr.index], pull_extent(c->p, view.offset));
    return true;
}

static LLVMValueRef picture_line(Contract *c, LLVMValueRef base, LLVMValueRef n, LLVMValueRef h, int64_t pixel) {
    const Patch *patch = &c->patch;
    LLVMValueRef line = add(c, mul(c, n, number(c, patch->H)), h);
    return element(c, base, add(c, mul(c, line, number(c, patch->W * patch->C)), number(c, pixel * patch->C)));
}

static void copy_line(Contract *c, LLVMValueRef n, LLVMValueRef h, LLVMValueRef to) {
    const Patch *patch = &c->patch;
    int64_t width = patch_width(patch), C = patch->C, before = patch->before[1];
    int64_t most = width / C, first = before < 0 ? -before : 0,
            front = before > 0 ? before : 0; /* of the picture; pads, in pixels */
    int64_t end = patch->W < most - before ? patch->W : most - before;
    if (front > most) front = most; /* nothing is seen of the picture */
    if (end < first) end = first;
    LLVMValueRef base, start = element(c, to, number(c, front * C));
    if (front) put_zeros(c, to, 0, front * C);
    if (picture_in_memory(c, &base))
        copy_run(c, picture_line(c, base, n, h, first), start, (end - first) * C);
    else
        pull_pixels(c, n, h, start, first, end);
    int64_t filled = (front + end - first) * C;
    if (filled < width) put_zeros(c, to, filled, width - filled);
}

/* Lines above and below the picture are zeros. */
static void copy_patch(Contract *c, const Lines *lines, LLVMValueRef start) {
    const Patch *patch = &c->patch;
    int64_t width = patch_width(patch), more = patch_lines(patch, 1) - patch->stride[0];
    LLVMValueRef count = add(c, mul(c, lines->lines, number(c, patch->stride[0])), number(c, more));
    LLVMValueRef top = add(c, mul(c, lines->y, number(c, patch->stride[0])), number(c, -patch->before[0]));
    LLVMTypeRef i64 = LLVMInt64TypeInContext(c->p->e->context);
    Loop loop = loop_begin(c->p, number(c, 0), count, number(c, 1));
    LLVMValueRef h = add(c, top, loop.index), to = element(c, start, mul(c, loop.index, number(c, width)));
    LLVMValueRef inside =
        LLVMBuildZExt(builder(c), LLVMBuildICmp(builder(c), LLVMIntULT, h, number(c, patch->H), ""), i64, "");
    Loop if_inside = loop_begin(c->p, number(c, 0), inside, number(c, 1));
    copy_line(c, lines->n, h, to);
    loop_end(c->p, &if_inside);
    Loop if_outside = loop_begin(c->p, inside, number(c, 1), number(c, 1));
    put_zeros(c, to, 0, width);
    loop_end(c->p, &if_outside);
    loop_end(c->p, &loop);
}

/* Elements of a whole image's copy. */
static int64_t copied_image(const Patch *patch) {
    return contract_round_up(patch_lines(patch, patch->OH) * patch_width(patch), ROW_PAD) + ROW_PAD;
}

static void ready_patch(Contract *c) {
    const Patch *patch = &c->patch;
    Lines lines = lines_of(c);
    bool copies = c->kernel->pack_a;
    LLVMValueRef base = c->packed_a, line = number(c, copies ? patch_width(patch) : patch->W * patch->C);
    int64_t image = copies ? copied_image(patch) : patch->H * patch->W * patch->C;
    c->image_jump = number(c, image);
    if (copies && c->takes_images) {
        Loop images = loop_begin(c->p, number(c, 0), contract_divide(c, lines.lines, patch->OH), number(c, 1));
        Lines one = {.n = add(c, lines.n, images.index), .y = number(c, 0), .lines = number(c, patch->OH)};
        copy_patch(c, &one, element(c, c->packed_a, mul(c, images.index, c->image_jump)));
        loop_end(c->p, &images);
    } else if (copies) {
        copy_patch(c, &lines, c->packed_a);
    } else {
        CHECK(picture_in_memory(c, &base) && !patch->is_padded);
        LLVMValueRef h = add(c, mul(c, lines.y, number(c, patch->stride[0])), number(c, -patch->before[0]));
        base = picture_line(c, base, lines.n, h, -patch->before[1]);
    }
    LLVMValueRef one = number(c, 1), place = number(c, patch->stride[1] * patch->C);
    LLVMValueRef place_line = mul(c, line, number(c, patch->stride[0])),
                 tap_line = mul(c, line, number(c, patch->dilation));
    int64_t taps_run = patch->KH > 1 ? patch->run : 0;
    if (patch->rows_are_places) {
        c->a = (Operand){base, place, place_line, one, tap_line, patch->OW, taps_run};
        return;
    }
    c->a = (Operand){base, one, tap_line, place, place_line, taps_run, patch->OW};
    LLVMValueRef from = c->from[c->rank - 2]; /* taps before the piece */
    LLVMValueRef tap = taps_run ? mul(c, contract_divide(c, from, patch->run), tap_line) : from;
    c->a.base = element(c, base, tap);
}

void contract_ready_a(Contract *c) {
    if (c->has_patch) {
        ready_patch(c);
    } else if (c->kernel->pack_a) {
        copy_rows(c);
    } else {
        LLVMValueRef base, row, depth;
        CHECK(contract_in_place(c, c->product->in[0], &base, &row, &depth));
        LLVMValueRef from = add(c, c->from[c->rank - 2], c->row_from);
        c->a = (Operand){
            .base = element(c, base, add(c, mul(c, from, row), mul(c, c->k_from, depth))), .row = row, .depth = depth};
    }
}

int64_t contract_packed_a(const Kernel *kernel, const Target *target) {
    if (!kernel->pack_a || kernel->winograd) return 0;
    Patch patch;
    Block block = contract_block(kernel, target);
    uint32_t lanes = target->machine.vector_bytes / 4;
    if (patch_of(kernel->body, kernel->body->nodes[kernel->product].in[0], &patch)) {
        int64_t lines = (patch.rows_are_places ? block.rows : block.depth) / patch.OW;
        if (lines <= patch.OH) return patch_lines(&patch, lines) * patch_width(&patch) + lanes;
        return (lines + patch.OH - 1) / patch.OH * copied_image(&patch) + lanes;
    }
    int64_t by_rows = (block.rows + lanes) * copied_row(&block, lanes, false);
    int64_t by_depth = (block.depth + lanes) * copied_row(&block, lanes, true);
    return by_rows > by_depth ? by_rows : by_depth;
}
