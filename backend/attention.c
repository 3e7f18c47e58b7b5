/* Attention: products, softmax and products again, block by block, with nothing but blocks in scratch.
 *
 *   forward, a piece is a block of queries of one head of one sample
 *     kᵀ and v of the head into panels                   (or still there from the piece before)
 *     for each block of keys                             (one, if that is all)
 *       scores = q kᵀ, weights = 2^(scores - most), result = result · shrink + weights v
 *     result · share
 *
 *   backward, a piece is one head of one sample
 *     for each block of keys: kᵀ, vᵀ and k into panels
 *       for each block of queries: q and dy into panels
 *         scores = q kᵀ, taken = dy vᵀ; weights and slopes of these
 *         dv += weightsᵀ dy, dk += slopesᵀ q, dq += slopes k
 *
 * Forward as in Dao, "FlashAttention-2" (2023), algorithm 1; backward with the loops of its algorithm 2, where one
 * thread has all of a head, so that every sum has one order and bits do not depend on threads. Keys that no query of
 * the sample sees are left out by whole blocks and panels. */
#include "backend/attention.h"
#include "ir/strided.h"

static LLVMBuilderRef builder(Attention *a) { return attention_builder(a); }
static LLVMValueRef number(Attention *a, int64_t value) { return attention_number(a, value); }
static LLVMValueRef add(Attention *a, LLVMValueRef x, LLVMValueRef y) { return pull_add(a->p, x, y); }
static LLVMValueRef mul(Attention *a, LLVMValueRef x, LLVMValueRef y) { return pull_mul(a->p, x, y); }
static LLVMValueRef sub(Attention *a, LLVMValueRef x, LLVMValueRef y) { return attention_sub(a, x, y); }

/* ---- scratch */

enum { SCORE_PAD = 16 /* elements between rows, so that they fall into different sets of the cache */ };

/* Room for `floats` numbers: where they begin. */
static int64_t take(AttentionLayout *layout, int64_t floats) {
    int64_t at = layout->end;
    layout->end = attention_round_up(at + floats * 4, 64);
    return at;
}

static int64_t columns_room(const Attention *a, int64_t keys) {
    int64_t width = (int64_t)a->kernel->tile_vectors * a->lanes;
    return (keys + width - 1) / width * attention_columns_panel(a);
}

static int64_t wide_room(const Attention *a, int64_t rows) {
    return attention_wide_panels(a) * attention_wide_panel(a, rows);
}

static void lay_out_forward(Attention *a) {
    AttentionLayout *layout = &a->layout;
    int64_t queries = a->kernel->row_block;
    layout->keys = take(layout, columns_room(a, a->shape.T));
    layout->values = a->parts.y == NO_NODE ? 0 : take(layout, wide_room(a, a->shape.T));
    layout->scores = take(layout, queries * a->score_stride);
    layout->sums = a->has_blocks ? take(layout, wide_room(a, queries)) : 0;
    int64_t whole = attention_round_up(queries, a->lanes); /* they are done by vectors */
    layout->most = take(layout, whole);
    layout->total = take(layout, whole);
    layout->shrink = take(layout, whole);
    layout->share = take(layout, whole);
    layout->across = take(layout, whole * a->lanes);
}

static void lay_out_backward(Attention *a) {
    AttentionLayout *layout = &a->layout;
    int64_t queries = a->kernel->row_block, keys = a->kernel->depth_block;
    layout->keys = take(layout, columns_room(a, keys));
    layout->values = take(layout, columns_room(a, keys));
    layout->wide_k = take(layout, wide_room(a, keys));
    layout->wide_q = take(layout, wide_room(a, queries));
    layout->wide_dy = take(layout, wide_room(a, queries));
    layout->scores = take(layout, queries * a->score_stride);
    layout->slopes = take(layout, queries * a->score_stride);
}

static void describe(Attention *a, const Kernel *kernel, const Target *target) {
    CHECK(attention_parts(kernel->body, &a->parts));
    CHECK(kernel->tile_rows && kernel->wide_rows && kernel->row_block > 0 && kernel->depth_block > 0);
    CHECK(kernel->tile_rows <= MOST_ROWS && kernel->tile_vectors <= MOST_VECTORS);
    CHECK(kernel->wide_rows <= MOST_ROWS && kernel->wide_vectors <= MOST_VECTORS);
    a->kernel = kernel;
    a->node = &kernel->body->nodes[a->parts.first];
    a->shape = attention_shape(kernel->body, a->node);
    a->scale = a->node->attr.attention.scale;
    a->rate = a->node->attr.attention.rate;
    a->is_causal = a->node->attr.attention.causal;
    a->lanes = target->machine.vector_bytes / 4;
    CHECK(kernel->depth_block % (kernel->tile_vectors * a->lanes) == 0); /* a block of keys begins with a panel */
    a->has_blocks = a->shape.T > kernel->depth_block;
    a->score_stride = attention_round_up(kernel->depth_block, 2 * (int64_t)a->lanes) + SCORE_PAD;
    if (attention_is_gradient(a->node->op))
        lay_out_backward(a);
    else
        lay_out_forward(a);
}

int64_t attention_scratch_bytes(const Kernel *kernel, const Target *target) {
    Attention a = {0};
    describe(&a, kernel, target);
    return a.layout.end;
}

/* ---- what a piece reads and writes */

/* An operand [N,S,H,D], from row 0 of the piece's sample and head on. */
static Rows operand_rows(Attention *a, uint32_t operand) {
    Strided view;
    const Graph *body = a->kernel->body;
    CHECK(strided_of(body, a->node->in[operand], &view));
    CHECK(a->shape.D == 1 || strided_is_one(view.stride[3]));
    LLVMValueRef offset = pull_extent(a->p, view.offset);
    offset = add(a, offset, mul(a, a->sample, pull_extent(a->p, view.stride[0])));
    offset = add(a, offset, mul(a, a->head, pull_extent(a->p, view.stride[2])));
    LLVMValueRef base = a->p->args[body->nodes[view.input].attr.index];
    return (Rows){attention_element(a, base, offset), pull_extent(a->p, view.stride[1])};
}

static uint32_t output_of(Attention *a, NodeId node) {
    const Graph *body = a->kernel->body;
    uint32_t i = 0;
    while (i < body->output_count && body->outputs[i].node != node) i++;
    CHECK(i < body->output_count);
    return i;
}

/* The same of a result with `rows` rows. */
static Rows output_rows(Attention *a, NodeId node, int64_t rows) {
    LLVMValueRef base = a->p->args[a->kernel->body->input_count + output_of(a, node)];
    int64_t stride = a->shape.H * a->shape.D;
    LLVMValueRef offset = mul(a, a->sample, number(a, rows * stride));
    offset = add(a, offset, mul(a, a->head, number(a, a->shape.D)));
    return (Rows){attention_element(a, base, offset), number(a, stride)};
}

static Rows rows_from(Attention *a, Rows rows, LLVMValueRef first) {
    return (Rows){attention_element(a, rows.base, mul(a, first, rows.stride)), rows.stride};
}

/* A number for all samples, or for each. */
static LLVMValueRef number_of_sample(Attention *a, NodeId node) {
    bool for_all = a->kernel->body->nodes[node].type.dim[0] == 1;
    Position at = {.rank = 1, .lanes = 1, .axis = {{for_all ? number(a, 0) : a->sample, 0, NULL}}};
    return pull_value(a->p, node, &at);
}

static LLVMValueRef key_word(Attention *a, int64_t i) {
    Position at = {.rank = 1, .lanes = 1, .axis = {{number(a, i), 0, NULL}}};
    return pull_value(a->p, a->node->in[ATTENTION_key], &at);
}

static void find_operands(Attention *a) {
    LLVMValueRef count = number_of_sample(a, a->node->in[attention_count(a->node->op)]);
    int64_t most = a->is_causal && a->shape.S < a->shape.T ? a->shape.S : a->shape.T;
    count = LLVMBuildSExt(builder(a), count, LLVMInt64TypeInContext(a->p->e->context), "");
    a->keys = pull_min(a->p, pull_max(a->p, count, number(a, 0)), number(a, most));
    a->q = operand_rows(a, ATTENTION_q);
    a->k = operand_rows(a, ATTENTION_k);
    if (a->node->op == OP_attention_norm) return;
    a->v = operand_rows(a, ATTENTION_v);
    if (attention_is_gradient(a->node->op)) a->dy = operand_rows(a, ATTENTION_dy);
    if (a->rate == 0) return;
    a->random_key[0] = key_word(a, 0);
    a->random_key[1] = key_word(a, 1);
    a->random_step = key_word(a, 2);
    a->random_sample = number_of_sample(a, a->node->in[ATTENTION_sample]);
}

static bool has_query_blocks(const Attention *a) { return a->shape.S > a->kernel->row_block; }

/* The next head's rows are far apart, and processors do not guess where. The last piece asks for its own. */
static void find_ahead(Attention *a, LLVMValueRef piece) {
    bool is_gradient = attention_is_gradient(a->node->op), has_values = a->node->op != OP_attention_norm;
    if (has_query_blocks(a) || a->has_blocks) return;
    LLVMValueRef sample = a->sample, head = a->head, from[MAX_RANK], to[MAX_RANK];
    LLVMValueRef last = sub(a, LLVMGetParam(a->p->e->function, 3), number(a, 1));
    loop_piece(a->p, pull_min(a->p, add(a, piece, number(a, 1)), last), from, to);
    a->sample = from[0];
    a->head = from[1];
    a->ahead[0] = operand_rows(a, ATTENTION_q);
    a->ahead[1] = operand_rows(a, ATTENTION_k);
    if (has_values) a->ahead[2] = operand_rows(a, ATTENTION_v);
    if (is_gradient) a->ahead[3] = operand_rows(a, ATTENTION_dy);
    a->ahead_count = is_gradient ? 4 : has_values ? 3 : 2;
    a->sample = sample;
    a->head = head;
}

/* ---- products */

/* rows · columnsᵀ of a block, to scratch. */
static void scores_product(Attention *a, const AttentionBlock *block, Rows rows, LLVMValueRef panels, int64_t to) {
    AttentionProduct product = {
        .tile_rows = a->kernel->tile_rows,
        .tile_vectors = a->kernel->tile_vectors,
        .a = rows_from(a, rows, block->query).base,
        .a_row = rows.stride,
        .a_depth = number(a, 1),
        .panels = panels,
        .panel = attention_columns_panel(a),
        .rows = block->queries,
        .block_rows = a->kernel->row_block,
        .all_rows = a->shape.S,
        .depth = number(a, a->shape.D),
        .columns = block->keys,
        .to = {attention_scratch(a, to), number(a, a->score_stride)},
        .diagonal = a->is_causal ? DIAGONAL_columns_are_keys : DIAGONAL_none,
        .ahead = sub(a, block->key, block->query),
    };
    attention_product(a, &product);
}

/* What all products have in common whose columns are a head's width: of weights or slopes, and panels of rows. */
static AttentionProduct wide_product(Attention *a, const AttentionBlock *block, int64_t scores, LLVMValueRef panels,
                                     int64_t capacity) {
    return (AttentionProduct){
        .tile_rows = a->kernel->wide_rows,
        .tile_vectors = a->kernel->wide_vectors,
        .a = attention_scratch(a, scores),
        .panels = panels,
        .panel = attention_wide_panel(a, capacity),
        .ahead = sub(a, block->key, block->query),
    };
}

/* A row for each query, a sum over keys. */
static AttentionProduct query_product(Attention *a, const AttentionBlock *block, int64_t scores, LLVMValueRef panels,
                                      int64_t capacity) {
    AttentionProduct product = wide_product(a, block, scores, panels, capacity);
    product.a_row = number(a, a->score_stride);
    product.a_depth = number(a, 1);
    product.rows = block->queries;
    product.block_rows = a->kernel->row_block;
    product.all_rows = a->shape.S;
    product.depth = block->keys;
    product.diagonal = a->is_causal ? DIAGONAL_depth_is_keys : DIAGONAL_none;
    return product;
}

/* A row for each key, a sum over queries. */
static void key_product(Attention *a, const AttentionBlock *block, int64_t scores, int64_t panels, Rows to) {
    int64_t capacity = a->kernel->row_block;
    AttentionProduct product = wide_product(a, block, scores, attention_scratch(a, panels), capacity);
    product.a_row = number(a, 1);
    product.a_depth = number(a, a->score_stride);
    product.rows = block->keys;
    product.depth = block->queries;
    product.to = rows_from(a, to, block->key);
    product.adds = has_query_blocks(a);
    product.diagonal = a->is_causal ? DIAGONAL_rows_are_keys : DIAGONAL_none;
    if (LLVMIsAConstantInt(a->keys)) {
        product.block_rows = a->kernel->depth_block;
        product.all_rows = LLVMConstIntGetSExtValue(a->keys);
    }
    attention_product(a, &product);
}

/* ---- forward */

/* Panels of the head, unless this thread's last piece had the same. */
static void ready_panels(Attention *a, LLVMValueRef packed) {
    LLVMTypeRef i64 = LLVMInt64TypeInContext(a->p->e->context);
    LLVMValueRef id = add(a, mul(a, a->sample, number(a, a->shape.H)), a->head), zero = number(a, 0);
    LLVMValueRef is_new = LLVMBuildICmp(builder(a), LLVMIntNE, id, LLVMBuildLoad2(builder(a), i64, packed, ""), "");
    LLVMBuildStore(builder(a), id, packed);
    Loop if_new = loop_begin(a->p, zero, LLVMBuildZExt(builder(a), is_new, i64, ""), number(a, 1));
    attention_pack_columns(a, a->k, zero, a->keys, a->shape.T - 1, attention_scratch(a, a->layout.keys));
    if (a->parts.y != NO_NODE)
        attention_pack_rows(a, a->v, zero, a->keys, attention_scratch(a, a->layout.values), a->shape.T);
    loop_end(a->p, &if_new);
}

/* One block of keys: to the result itself, if there is no other. */
static void forward_block(Attention *a, const AttentionBlock *block, Rows y) {
    int64_t T = a->shape.T, room = attention_round_up(a->shape.D, a->lanes);
    LLVMValueRef keys = attention_scratch(a, a->layout.keys), values = attention_scratch(a, a->layout.values);
    scores_product(a, block, a->q, attention_element(a, keys, mul(a, block->key, number(a, room))), a->layout.scores);
    attention_softmax(a, block);
    if (a->parts.y == NO_NODE) return;
    values = attention_element(a, values, mul(a, block->key, number(a, attention_wide_panel(a, 1))));
    AttentionProduct product = query_product(a, block, a->layout.scores, values, T);
    if (a->has_blocks) {
        int64_t stride = wide_room(a, 1);
        product.to = (Rows){attention_scratch(a, a->layout.sums), number(a, stride)};
        product.adds = true;
        product.before = a->parts.norm == NO_NODE ? NULL : attention_scratch(a, a->layout.shrink);
    } else {
        attention_finish_totals(a, block->query, block->queries);
        product.to = y;
        product.after = attention_scratch(a, a->layout.share);
    }
    attention_product(a, &product);
}

static void clear_sums(Attention *a, LLVMValueRef queries) {
    LLVMValueRef end = mul(a, queries, number(a, wide_room(a, 1)));
    Loop loop = loop_begin(a->p, number(a, 0), end, number(a, a->lanes));
    LLVMValueRef at = attention_element(a, attention_scratch(a, a->layout.sums), loop.index);
    pull_store_to(a->p, LLVMConstNull(a->vector), at, 4, NULL);
    loop_end(a->p, &loop);
}

static void forward_piece(Attention *a, LLVMValueRef query, LLVMValueRef end, LLVMValueRef packed) {
    bool has_result = a->parts.y != NO_NODE;
    Rows y = {0};
    ready_panels(a, packed);
    if (has_result) y = rows_from(a, output_rows(a, a->parts.y, a->shape.S), query);
    LLVMValueRef keys = a->is_causal ? pull_min(a->p, a->keys, end) : a->keys;
    AttentionBlock block = {.query = query, .queries = sub(a, end, query), .key = number(a, 0), .keys = keys};
    attention_clear_totals(a, block.queries);
    if (!a->has_blocks) {
        forward_block(a, &block, y);
        if (!has_result) attention_finish_totals(a, query, block.queries);
        return;
    }
    if (has_result) clear_sums(a, block.queries);
    Loop loop = loop_begin(a->p, number(a, 0), keys, number(a, a->kernel->depth_block));
    block.key = loop.index;
    block.keys = pull_min(a->p, sub(a, keys, loop.index), number(a, a->kernel->depth_block));
    forward_block(a, &block, y);
    loop_end(a->p, &loop);
    attention_finish_totals(a, query, block.queries);
    if (has_result) attention_finish_sums(a, block.queries, y);
}

/* ---- backward */

static void clear_rows(Attention *a, Rows rows, LLVMValueRef from, LLVMValueRef end) {
    LLVMValueRef wide = number(a, a->shape.D);
    Loop row = loop_begin(a->p, from, end, number(a, 1));
    LLVMValueRef to = rows_from(a, rows, row.index).base;
    Loop columns = loop_begin(a->p, number(a, 0), wide, number(a, a->lanes));
    LLVMValueRef mask = a->shape.D % a->lanes ? attention_mask_below(a, columns.index, wide) : NULL;
    pull_store_to(a->p, LLVMConstNull(a->vector), attention_element(a, to, columns.index), 4, mask);
    loop_end(a->p, &columns);
    loop_end(a->p, &row);
}

typedef struct {
    Rows dq, dk, dv; /* of those that the kernel has */
} Gradients;

static void backward_block(Attention *a, const AttentionBlock *block, const Gradients *to) {
    const AttentionLayout *layout = &a->layout;
    const AttentionParts *parts = &a->parts;
    int64_t capacity = a->kernel->row_block;
    bool has_slopes = parts->dq != NO_NODE || parts->dk != NO_NODE;
    scores_product(a, block, a->q, attention_scratch(a, layout->keys), layout->scores);
    if (has_slopes) scores_product(a, block, a->dy, attention_scratch(a, layout->values), layout->slopes);
    attention_weights_and_slopes(a, block);
    if (parts->dv != NO_NODE) {
        attention_pack_rows(a, a->dy, block->query, block->queries, attention_scratch(a, layout->wide_dy), capacity);
        key_product(a, block, layout->scores, layout->wide_dy, to->dv);
    }
    if (parts->dk != NO_NODE) {
        attention_pack_rows(a, a->q, block->query, block->queries, attention_scratch(a, layout->wide_q), capacity);
        key_product(a, block, layout->slopes, layout->wide_q, to->dk);
    }
    if (parts->dq == NO_NODE) return;
    AttentionProduct product =
        query_product(a, block, layout->slopes, attention_scratch(a, layout->wide_k), a->kernel->depth_block);
    product.to = rows_from(a, to->dq, block->query);
    product.adds = a->has_blocks;
    attention_product(a, &product);
}

static void backward_keys(Attention *a, AttentionBlock *block, const Gradients *to) {
    int64_t last = a->shape.T - 1, queries = a->kernel->row_block;
    LLVMValueRef first = number(a, 0), all = number(a, a->shape.S), size = number(a, queries);
    attention_pack_columns(a, a->k, block->key, block->keys, last, attention_scratch(a, a->layout.keys));
    attention_pack_columns(a, a->v, block->key, block->keys, last, attention_scratch(a, a->layout.values));
    attention_pack_rows(a, a->k, block->key, block->keys, attention_scratch(a, a->layout.wide_k),
                        a->kernel->depth_block);
    if (a->is_causal) first = mul(a, LLVMBuildUDiv(builder(a), block->key, size, ""), size);
    Loop loop = loop_begin(a->p, first, all, size);
    block->query = loop.index;
    block->queries = pull_min(a->p, sub(a, all, loop.index), size);
    backward_block(a, block, to);
    loop_end(a->p, &loop);
}

/* Rows that blocks add to begin as zeros, and so do those that no block writes. */
static void backward_piece(Attention *a) {
    const AttentionParts *parts = &a->parts;
    Gradients to = {0};
    LLVMValueRef T = number(a, a->shape.T), S = number(a, a->shape.S), zero = number(a, 0);
    LLVMValueRef has_none = LLVMBuildICmp(builder(a), LLVMIntEQ, a->keys, zero, "");
    LLVMValueRef no_query = a->has_blocks ? S : LLVMBuildSelect(builder(a), has_none, S, zero, "");
    LLVMValueRef first_key = has_query_blocks(a) ? zero : a->keys;
    if (parts->dq != NO_NODE) clear_rows(a, to.dq = output_rows(a, parts->dq, a->shape.S), zero, no_query);
    if (parts->dk != NO_NODE) clear_rows(a, to.dk = output_rows(a, parts->dk, a->shape.T), first_key, T);
    if (parts->dv != NO_NODE) clear_rows(a, to.dv = output_rows(a, parts->dv, a->shape.T), first_key, T);
    LLVMValueRef size = number(a, a->kernel->depth_block);
    Loop loop = loop_begin(a->p, number(a, 0), a->keys, size);
    AttentionBlock block = {.key = loop.index, .keys = pull_min(a->p, sub(a, a->keys, loop.index), size)};
    backward_keys(a, &block, &to);
    loop_end(a->p, &loop);
}

void attention_emit(Pull *p) {
    Attention *a = arena_alloc(p->e->arena, sizeof *a);
    LLVMValueRef from[MAX_RANK], to[MAX_RANK];
    *a = (Attention){.p = p};
    describe(a, p->e->kernel, p->e->target);
    a->f32 = pull_type(p, DTYPE_f32, 1);
    a->vector = pull_type(p, DTYPE_f32, a->lanes);
    LLVMValueRef packed = LLVMBuildAlloca(builder(a), LLVMInt64TypeInContext(p->e->context), "packed");
    LLVMBuildStore(builder(a), number(a, -1), packed);
    Loop pieces = loop_begin(p, LLVMGetParam(p->e->function, 2), LLVMGetParam(p->e->function, 3), number(a, 1));
    loop_piece(p, pieces.index, from, to);
    a->sample = from[0];
    a->head = from[1];
    find_operands(a);
    find_ahead(a, pieces.index);
    if (attention_is_gradient(a->node->op))
        backward_piece(a);
    else
        forward_piece(a, from[2], to[2], packed);
    loop_end(p, &pieces);
}
