/* Tiles: the micro-kernel (backend/micro.h) along the depth, and what is done with its sums.
 *
 * A's depth may lie in runs (the lines of a patch): then there is a loop around the loop, and the sums stay where they
 * are, in registers.
 *
 * A short epilogue takes the sums from the registers. A long one, as an optimiser's update with dozens of instructions
 * an element, is a loop over vectors that takes them from scratch: straight-line code for each register would be long.
 * It takes two vectors at once, as one that is twice as wide: then instructions that wait for one another, as those of
 * exp do, stand farther apart than the processor looks ahead, and it has always some that need not wait.
 */
#include "backend/contract.h"

#include "ir/strided.h"

static LLVMValueRef number(Contract *c, int64_t value) { return contract_number(c, value); }
static LLVMValueRef add(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_add(c->p, a, b); }
static LLVMValueRef mul(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_mul(c->p, a, b); }

/* ---- the sums of a tile between two blocks of the depth, in scratch */

static LLVMValueRef tile_offset(Contract *c, const Tile *tile, LLVMValueRef row, uint32_t v) {
    LLVMValueRef offset = mul(c, row, number(c, c->tile_stride));
    if (c->cuts_depth) {
        LLVMValueRef in_piece = add(c, add(c, c->row_from, tile->row), row);
        offset = add(c, mul(c, in_piece, number(c, c->tile_stride)), tile->column);
    }
    return add(c, offset, number(c, v * c->lanes));
}

static void store_sums(Contract *c, const Tile *tile, LLVMValueRef const *sum) {
    for (uint32_t i = 0; i < tile->rows * tile->vectors; i++)
        contract_store(c, sum[i], c->tile, tile_offset(c, tile, number(c, i / tile->vectors), i % tile->vectors),
                       contract_vector_bytes(c));
}

/* ---- the micro-kernel */

/* Where row r of a tile begins, from its first row. */
static LLVMValueRef row_offset(Contract *c, uint32_t r) {
    const Operand *a = &c->a;
    if (!a->row_run || r < a->row_run) return mul(c, number(c, r), a->row);
    LLVMValueRef jump = mul(c, number(c, r / a->row_run), a->row_jump);
    return add(c, jump, mul(c, number(c, r % a->row_run), a->row));
}

/* How the tile's next step is done, for code that stands in the loop. */
static Micro micro_of(Contract *c, const Tile *tile) {
    bool aligned = c->kernel->pack_b;
    Micro micro = {c->p, tile->rows, tile->vectors, c->lanes, .align = aligned ? contract_vector_bytes(c) : 4};
    if (!aligned && c->ragged) {
        LLVMValueRef last = number(c, (tile->vectors - 1) * c->lanes);
        micro.mask = contract_mask_below(c, add(c, add(c, c->from[c->rank - 1], tile->column), last), c->columns);
    }
    for (uint32_t r = 0; r < tile->rows; r++) micro.row[r] = row_offset(c, r);
    return micro;
}

/* ---- what will be needed soon */

/* The rows of the next tile of A, where it is read in place: step k asks for a line of row k modulo 16. The lines of
 * one tile begin in as many pages, and the processor's own prefetching begins anew in each. A loop of several steps
 * asks for rows one after another from that of its first. */
static void fetch_next_rows(Contract *c, const Tile *tile, LLVMValueRef a, LLVMValueRef k, uint32_t step) {
    if (c->kernel->pack_a || !contract_is_one(c->a.depth)) return;
    LLVMBuilderRef b = contract_builder(c);
    LLVMValueRef low = LLVMBuildAnd(b, k, number(c, 15), ""), high = LLVMBuildAnd(b, k, number(c, -16), "");
    LLVMValueRef first = add(c, mul(c, low, c->a.row), high), rows = mul(c, number(c, tile->rows + step), c->a.row);
    pull_fetch(c->p, a, c->f32, add(c, first, rows), TO_READ);
}

/* Lines of the product's rows, of so many vectors from element `first` of the product on. */
static void fetch_lines(Contract *c, LLVMValueRef first, uint32_t vectors, LLVMValueRef base, DType dtype,
                        Purpose purpose) {
    LLVMTypeRef element = pull_memory_type(c->p, dtype, 1);
    uint32_t bytes = vectors * c->lanes * dtype_info[dtype].bytes;
    for (uint32_t at = 0; at < bytes; at += 64)
        pull_fetch(c->p, base, element, add(c, first, number(c, at / dtype_info[dtype].bytes)), purpose);
}

static bool has_shape_of_product(Contract *c, Type type) {
    return type_elements(type) == type_elements(c->product->type) && type.dtype != DTYPE_bool;
}

bool contract_has_results_to_ask(Contract *c) {
    const Graph *body = c->kernel->body;
    bool any = false;
    for (uint32_t i = 0; i < body->input_count; i++)
        any |= c->in_epilogue[i] && has_shape_of_product(c, body->inputs[i].type);
    for (uint32_t i = 0; i < body->output_count && !c->p->streams; i++)
        any |= has_shape_of_product(c, body->nodes[body->outputs[i].node].type);
    return any && !c->cuts_depth;
}

void contract_ask_results(Contract *c, LLVMValueRef row, LLVMValueRef column, uint32_t vectors) {
    const Graph *body = c->kernel->body;
    LLVMValueRef image = number(c, 0);
    for (uint32_t axis = 0; axis + 2 < c->rank; axis++)
        image = add(c, mul(c, image, pull_dim(c->p, c->product->type.dim[axis])), c->from[axis]);
    row = add(c, row, mul(c, image, pull_dim(c->p, c->product->type.dim[c->rank - 2])));
    LLVMValueRef first = add(c, mul(c, row, c->columns), column);
    for (uint32_t i = 0; i < body->input_count; i++)
        if (c->in_epilogue[i] && has_shape_of_product(c, body->inputs[i].type))
            fetch_lines(c, first, vectors, c->p->args[i], body->inputs[i].type.dtype, TO_READ);
    for (uint32_t i = 0; i < body->output_count && !c->p->streams; i++) {
        Type type = body->nodes[body->outputs[i].node].type;
        if (has_shape_of_product(c, type))
            fetch_lines(c, first, vectors, c->p->args[body->input_count + i], type.dtype, TO_WRITE);
    }
}

/* Step k asks for what the epilogue will read and write of row k: one after the other, since only so many lines can be
 * on their way. */
static void fetch_results(Contract *c, const Tile *tile, LLVMValueRef k) {
    LLVMValueRef row = add(c, add(c, c->from[c->rank - 2], c->row_from), add(c, tile->row, k));
    contract_ask_results(c, row, add(c, c->from[c->rank - 1], tile->column), tile->vectors);
}

/* Steps [from, end) along one run of A, `unroll` of them in a round. */
static void some_steps(Contract *c, const Tile *tile, LLVMValueRef a, LLVMValueRef b, LLVMValueRef from,
                       LLVMValueRef end, uint32_t unroll, bool asks, bool may_be_empty, LLVMValueRef *sum) {
    Round round = micro_round_begin(c->p, from, end, sum, tile->rows * tile->vectors, may_be_empty);
    LLVMValueRef at_a = contract_element(c, a, mul(c, round.index, c->a.depth));
    LLVMValueRef at_b = contract_element(c, b, mul(c, round.index, c->b.depth)), before[MOST_ROWS * MOST_VECTORS];
    round.step = unroll;
    for (uint32_t i = 0; i < round.count; i++) sum[i] = round.phi[i];
    for (uint32_t u = 0; u < unroll; u++) {
        fetch_next_rows(c, tile, a, round.index, u);
        if (asks) fetch_results(c, tile, round.index);
        Micro micro = micro_of(c, tile);
        for (uint32_t i = 0; i < round.count; i++) before[i] = sum[i];
        micro_step(&micro, contract_element(c, at_a, mul(c, number(c, u), c->a.depth)),
                   contract_element(c, at_b, mul(c, number(c, u), c->b.depth)), before, sum);
    }
    micro_round_end(c->p, &round, sum);
}

/* Steps [from, end): rounds of several, then those that are left. */
static void many_steps(Contract *c, const Tile *tile, LLVMValueRef a, LLVMValueRef b, LLVMValueRef from,
                       LLVMValueRef end, bool may_be_empty, LLVMValueRef *sum) {
    uint32_t unroll = micro_unroll(tile->rows * tile->vectors, c->lanes);
    if (unroll > 1) {
        LLVMValueRef rounds = contract_divide(c, contract_sub(c, end, from), unroll);
        LLVMValueRef stop = add(c, from, mul(c, rounds, number(c, unroll)));
        some_steps(c, tile, a, b, from, stop, unroll, false, true, sum);
        from = stop;
    }
    some_steps(c, tile, a, b, from, end, 1, false, may_be_empty || unroll > 1, sum);
}

/* `count` steps along one run of A; the first of them ask for what the epilogue needs. */
static void steps(Contract *c, const Tile *tile, LLVMValueRef a, LLVMValueRef b, LLVMValueRef count,
                  LLVMValueRef *sum) {
    LLVMValueRef zero = number(c, 0), first = pull_min(c->p, number(c, tile->rows), count);
    if (!contract_has_results_to_ask(c)) {
        many_steps(c, tile, a, b, zero, count, false, sum);
        return;
    }
    some_steps(c, tile, a, b, zero, first, 1, true, false, sum);
    many_steps(c, tile, a, b, first, count, true, sum);
}

/* A's depth in runs of `run` steps: `count` of them. */
static void steps_of_runs(Contract *c, const Tile *tile, LLVMValueRef a, LLVMValueRef b, LLVMValueRef count,
                          LLVMValueRef *sum) {
    int64_t run = c->a.depth_run;
    Round runs = micro_round_begin(c->p, number(c, 0), count, sum, tile->rows * tile->vectors, false);
    LLVMValueRef at = contract_element(c, a, mul(c, runs.index, c->a.depth_jump));
    for (uint32_t i = 0; i < runs.count; i++) sum[i] = runs.phi[i];
    contract_ask_ahead(c);
    steps(c, tile, at, contract_element(c, b, mul(c, runs.index, mul(c, number(c, run), c->b.depth))), number(c, run),
          sum);
    micro_round_end(c->p, &runs, sum);
}

/* C[rows x vectors] += A[rows x k] B[k x vectors] */
static void micro_kernel(Contract *c, const Tile *tile, LLVMValueRef b, LLVMValueRef *sum) {
    int64_t run = c->a.depth_run;
    CHECK(tile->rows <= MOST_ROWS && tile->vectors <= MOST_VECTORS);
    for (uint32_t i = 0; i < tile->rows * tile->vectors; i++) {
        LLVMValueRef offset =
            c->cuts_depth ? tile_offset(c, tile, number(c, i / tile->vectors), i % tile->vectors) : NULL;
        sum[i] = offset ? contract_load(c, c->tile, offset, contract_vector_bytes(c), NULL) : LLVMConstNull(c->vector);
    }
    if (!run) {
        contract_ask_ahead(c);
        steps(c, tile, tile->a, b, c->k_count, sum);
    } else if (c->takes_images && !c->patch.rows_are_places) {
        int64_t places = c->patch.OH * c->patch.OW;
        Round images = micro_round_begin(c->p, number(c, 0), contract_divide(c, c->k_count, places), sum,
                                         tile->rows * tile->vectors, false);
        LLVMValueRef a = contract_element(c, tile->a, mul(c, images.index, c->image_jump));
        LLVMValueRef from = contract_element(c, b, mul(c, images.index, mul(c, number(c, places), c->b.depth)));
        for (uint32_t i = 0; i < images.count; i++) sum[i] = images.phi[i];
        steps_of_runs(c, tile, a, from, number(c, c->patch.OH), sum);
        micro_round_end(c->p, &images, sum);
    } else {
        steps_of_runs(c, tile, tile->a, b, contract_divide(c, c->k_count, run), sum);
    }
}

/* Short runs of known length are written out further, since there are so many. */
void contract_multiply(Contract *c, const Tile *tile, LLVMValueRef b, LLVMValueRef count, LLVMValueRef *sum) {
    enum { UNROLL = 8 };
    bool is_wide = contract_vector_bytes(c) >= 32; /* see micro_unroll */
    if (is_wide && LLVMIsAConstantInt(count) && LLVMConstIntGetZExtValue(count) % UNROLL == 0)
        some_steps(c, tile, tile->a, b, number(c, 0), count, UNROLL, false, false, sum);
    else
        many_steps(c, tile, tile->a, b, number(c, 0), count, false, sum);
}

/* ---- the epilogue */

/* Where output or operand `id`, an elementwise node of the epilogue, stands: its axes of a size other than 1 are the
 * product's, in order. */
static Position epilogue_position(Contract *c, NodeId id, LLVMValueRef row, LLVMValueRef column, uint32_t lanes,
                                  LLVMValueRef mask) {
    const Type *type = &c->kernel->body->nodes[id].type, *space = &c->product->type;
    Position at = {.rank = type->rank, .lanes = lanes, .mask = mask};
    uint32_t axis = 0;
    for (uint32_t i = 0; i < type->rank; i++) {
        at.axis[i] = (Index){number(c, 0), 0, NULL};
        if (type->dim[i] == 1) continue;
        while (space->dim[axis] == 1) axis++;
        if (axis + 2 < c->rank)
            at.axis[i].base = c->from[axis];
        else if (axis + 2 == c->rank)
            at.axis[i].base = row;
        else
            at.axis[i] = (Index){column, 1, NULL};
        axis++;
    }
    return at;
}

/* ---- sums of rows
 *
 * A variance is the small difference of two such sums where values lie far from zero, so they are made with care: the
 * rows of a tile in pairs of pairs, and the tiles with what each addition rounded away kept beside the sum (Kahan,
 * "Further Remarks on Reducing Truncation Errors", 1965). */

enum { MOST_LEVELS = 6 /* of pairs: 2^5 rows are a tile's most */ };
_Static_assert(1 << (MOST_LEVELS - 1) >= MOST_ROWS, "the pairs of a tile's rows");

/* The sum of 2^i rows, where bit i of the number of rows so far is set. */
typedef struct {
    LLVMValueRef level[MOST_LEVELS];
} Pairs;

static void pairs_add(Contract *c, Pairs *pairs, LLVMValueRef value) {
    uint32_t i = 0;
    for (; pairs->level[i]; i++) {
        value = LLVMBuildFAdd(contract_builder(c), pairs->level[i], value, "");
        pairs->level[i] = NULL;
    }
    pairs->level[i] = value;
}

static LLVMValueRef pairs_total(Contract *c, Pairs *pairs) {
    LLVMValueRef total = NULL;
    for (uint32_t i = 0; i < MOST_LEVELS; i++) {
        LLVMValueRef level = pairs->level[i];
        if (level) total = total ? LLVMBuildFAdd(contract_builder(c), level, total, "") : level;
        pairs->level[i] = NULL;
    }
    return total;
}

static NodeId summed_value(const Graph *body, uint32_t output) {
    return body->nodes[body->nodes[body->outputs[output].node].in[0]].in[0]; /* under the reshape */
}

/* Each sum is followed by what it lost. */
static LLVMValueRef sum_place(Contract *c, uint32_t sum, bool lost, LLVMValueRef column) {
    return contract_element(c, c->sums, add(c, column, number(c, (2 * sum + lost) * c->sum_stride)));
}

void contract_begin_sums(Contract *c) {
    if (!c->sum_count) return;
    Loop loop = loop_begin(c->p, number(c, 0), number(c, 2 * c->sum_count * c->sum_stride), number(c, c->lanes));
    contract_store(c, LLVMConstNull(c->vector), c->sums, loop.index, contract_vector_bytes(c));
    loop_end(c->p, &loop);
}

void contract_end_sums(Contract *c) {
    const Graph *body = c->kernel->body;
    int64_t rows = kernel_sum_rows(c->kernel);
    for (uint32_t i = 0, sum = 0; i < body->output_count; i++) {
        if (!kernel_sums_rows(c->kernel, i)) continue;
        uint32_t axis = c->rank - 1;
        Loop loop = loop_begin(c->p, c->from[axis], c->to[axis], number(c, c->lanes));
        LLVMValueRef from = sum_place(c, sum++, false, contract_sub(c, loop.index, c->from[axis]));
        LLVMValueRef value = contract_load(c, from, number(c, 0), contract_vector_bytes(c), NULL);
        Position at = {
            .rank = 3, .lanes = c->lanes, .mask = c->ragged ? contract_mask_below(c, loop.index, c->columns) : NULL};
        at.axis[0].base = contract_divide(c, c->from[axis - 1], rows);
        at.axis[1].base = number(c, 0);
        at.axis[2] = (Index){loop.index, 1, NULL};
        pull_store(c->p, i, &at, value);
        loop_end(c->p, &loop);
    }
}

/* Adds what the rows of a tile came to at one vector of columns. */
static void add_to_sums(Contract *c, LLVMValueRef column, uint32_t v, Pairs *pairs) {
    LLVMBuilderRef b = contract_builder(c);
    LLVMValueRef at = add(c, column, number(c, v * c->lanes)), zero = number(c, 0);
    for (uint32_t s = 0; s < c->sum_count; s++) {
        LLVMValueRef sum = sum_place(c, s, false, at), lost = sum_place(c, s, true, at);
        LLVMValueRef before = contract_load(c, sum, zero, contract_vector_bytes(c), NULL);
        LLVMValueRef owed = contract_load(c, lost, zero, contract_vector_bytes(c), NULL);
        LLVMValueRef more = LLVMBuildFSub(b, pairs_total(c, &pairs[s]), owed, "");
        LLVMValueRef after = LLVMBuildFAdd(b, before, more, "");
        contract_store(c, after, sum, zero, contract_vector_bytes(c));
        contract_store(c, LLVMBuildFSub(b, LLVMBuildFSub(b, after, before, ""), more, ""), lost, zero,
                       contract_vector_bytes(c));
    }
}

/* ---- outputs */

/* All outputs at a row of the tile, from vector v on: at one, or at the several that `product` is of. What rows sum up
 * goes to pairs[]. */
static void finish_vector(Contract *c, const Tile *tile, LLVMValueRef row, uint32_t v, LLVMValueRef product,
                          Pairs *pairs) {
    Pull *p = c->p;
    const Graph *body = c->kernel->body;
    LLVMValueRef *values = arena_array(p->e->arena, LLVMValueRef, body->output_count + 1);
    LLVMValueRef at_row = add(c, add(c, c->from[c->rank - 2], c->row_from), add(c, tile->row, row));
    LLVMValueRef at_column = add(c, c->from[c->rank - 1], add(c, tile->column, number(c, v * c->lanes)));
    LLVMValueRef mask = c->ragged && v == tile->vectors - 1 ? contract_mask_below(c, at_column, c->columns) : NULL;
    uint32_t lanes = LLVMGetVectorSize(LLVMTypeOf(product));
    if (tile->is_there) mask = pull_splat(p, tile->is_there, lanes);
    uint32_t mark = pull_mark(p), sum = 0;
    p->given[c->kernel->product] = product;
    for (uint32_t i = 0; i < body->output_count; i++) {
        NodeId node = kernel_sums_rows(c->kernel, i) ? summed_value(body, i) : body->outputs[i].node;
        Position at = epilogue_position(c, node, at_row, at_column, lanes, mask);
        values[i] = pull_splat(p, pull_value(p, node, &at), lanes);
    }
    for (uint32_t i = 0; i < body->output_count; i++) {
        if (kernel_sums_rows(c->kernel, i)) {
            LLVMValueRef none = LLVMConstNull(c->vector);
            if (tile->is_there) values[i] = LLVMBuildSelect(contract_builder(c), mask, values[i], none, "");
            pairs_add(c, &pairs[sum++], values[i]);
            continue;
        }
        Position at = epilogue_position(c, body->outputs[i].node, at_row, at_column, lanes, mask);
        pull_store(p, i, &at, values[i]);
    }
    p->given[c->kernel->product] = NULL;
    pull_forget(p, mark);
}

/* Sums of rows are of single vectors; vectors of 64 bytes are as wide as instructions of math.c reach. */
static uint32_t vectors_at_once(const Contract *c, const Tile *tile, uint32_t v) {
    bool has_pair = v + 1 < tile->vectors && !c->sum_count && !c->ragged && contract_vector_bytes(c) < 64;
    return has_pair ? 2 : 1;
}

static void epilogue(Contract *c, const Tile *tile, LLVMValueRef const *products) {
    Pairs sums[MOST_VECTORS][MOST_ROW_SUMS] = {{{{0}}}};
    CHECK(c->sum_count <= MOST_ROW_SUMS);
    if (c->stores_registers) {
        for (uint32_t i = 0; i < tile->rows * tile->vectors; i++)
            finish_vector(c, tile, number(c, i / tile->vectors), i % tile->vectors, products[i],
                          sums[i % tile->vectors]);
        for (uint32_t v = 0; v < tile->vectors; v++) add_to_sums(c, tile->column, v, sums[v]);
        return;
    }
    Loop rows = loop_begin(c->p, number(c, 0), number(c, tile->rows), number(c, 1));
    for (uint32_t v = 0, count; v < tile->vectors; v += count) {
        count = vectors_at_once(c, tile, v);
        LLVMTypeRef type = LLVMVectorType(c->f32, count * c->lanes);
        LLVMValueRef from = contract_element(c, c->tile, tile_offset(c, tile, rows.index, v));
        LLVMValueRef product = pull_load(c->p, type, from, contract_vector_bytes(c), NULL, false);
        finish_vector(c, tile, rows.index, v, product, sums[v]);
        add_to_sums(c, tile->column, v, sums[v]);
    }
    loop_end(c->p, &rows);
}

void contract_finish(Contract *c, LLVMValueRef column, const Finished *places, uint32_t count) {
    Pairs sums[MOST_ROW_SUMS] = {{{0}}};
    for (uint32_t i = 0; i < count; i++) {
        Tile tile = {1, 1, contract_sub(c, places[i].row, c->row_from), column, .is_there = places[i].is_there};
        finish_vector(c, &tile, number(c, 0), 0, places[i].product, sums);
    }
    add_to_sums(c, column, 0, sums);
}

/* The epilogue after the last block of k only. */
static void epilogue_when_done(Contract *c, const Tile *tile, LLVMValueRef const *sum) {
    if (!c->cuts_depth) {
        epilogue(c, tile, sum);
        return;
    }
    LLVMValueRef end = add(c, c->k_from, c->k_count);
    LLVMValueRef is_last = LLVMBuildICmp(contract_builder(c), LLVMIntSGE, end, pull_dim(c->p, c->depth), "");
    LLVMValueRef times = LLVMBuildZExt(contract_builder(c), is_last, LLVMInt64TypeInContext(c->p->e->context), "");
    Loop once = loop_begin(c->p, number(c, 0), times, number(c, 1));
    epilogue(c, tile, sum);
    loop_end(c->p, &once);
}

enum { MOST_STRAIGHT = 8 /* operations an element of an epilogue that is written out for each register */ };

bool contract_stores_registers(const Kernel *kernel) {
    const Graph *body = kernel->body;
    uint32_t work = 0;
    for (NodeId id = kernel->product + 1; id < body->count; id++) {
        const Node *node = &body->nodes[id];
        bool is_long = op_is_function(node->op) || node->op == OP_random;
        work += is_long ? 2 * MOST_STRAIGHT : op_is_elementwise(node->op);
    }
    return work <= MOST_STRAIGHT;
}

void contract_tile(Contract *c, const Tile *tile) {
    LLVMValueRef sum[MOST_ROWS * MOST_VECTORS], b;
    if (c->kernel->pack_b) {
        int64_t width =
            c->vectors * c->lanes; /* panels stand one behind the other; a tile begins in the panel of its column */
        LLVMValueRef panel = mul(c, contract_divide(c, tile->column, width), number(c, c->panel));
        b = contract_element(c, c->panels, add(c, panel, contract_rest(c, tile->column, width)));
    } else {
        b = contract_element(c, c->b.base, tile->column);
    }
    micro_kernel(c, tile, b, sum);
    if (c->cuts_depth || !c->stores_registers) store_sums(c, tile, sum);
    epilogue_when_done(c, tile, sum);
}
