/* What is done with scores: the softmax of the forward kernel, weights and slopes of the backward one.
 *
 * Powers are of 2: all scaled scores are multiplied by log2 e, which costs nothing.
 *
 * Forward, for each query, over the blocks of keys so far: `most`, the largest scaled score; `total`, the sum of
 * 2^(score - most); `shrink`, what a block that raises `most` does to sums of before; and in the end `share`, by
 * which sums are multiplied: 1 / total, and dropout's 1 / (1 - rate). Where the norm comes from memory it is `most`
 * from the beginning, and nothing is divided.
 *
 * Two vectors of a query's keys are done at a time: one Philox block for each of the lanes of a vector of halves has
 * numbers for both. What a query has one of is done for as many queries as there are lanes: each leaves a vector in
 * scratch (`across`), and a square of these, transposed, is combined for all of them at once. */
#include "backend/attention.h"

#include <float.h>

#define LOG2_E 0x1.71547652b82fep0
#define LN_2 0x1.62e42fefa39efp-1
enum { PAIR = 2 };

static LLVMBuilderRef builder(Attention *a) { return attention_builder(a); }
static LLVMValueRef number(Attention *a, int64_t value) { return attention_number(a, value); }
static LLVMValueRef add(Attention *a, LLVMValueRef x, LLVMValueRef y) { return pull_add(a->p, x, y); }
static LLVMValueRef mul(Attention *a, LLVMValueRef x, LLVMValueRef y) { return pull_mul(a->p, x, y); }
static LLVMValueRef one(Attention *a, double value) { return LLVMConstReal(a->f32, value); }
static LLVMValueRef all(Attention *a, LLVMValueRef value) { return pull_splat(a->p, value, a->lanes); }
static LLVMValueRef larger(Attention *a, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildSelect(builder(a), LLVMBuildFCmp(builder(a), LLVMRealOGT, x, y, ""), x, y, "");
}
static LLVMValueRef smaller(Attention *a, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildSelect(builder(a), LLVMBuildFCmp(builder(a), LLVMRealOLT, x, y, ""), x, y, "");
}
static LLVMValueRef scaled(Attention *a, LLVMValueRef x, double factor) {
    return LLVMBuildFMul(builder(a), x, LLVMConstReal(a->f32, factor), "");
}
static LLVMValueRef sum_of(Attention *a, LLVMValueRef x, LLVMValueRef y) { return LLVMBuildFAdd(builder(a), x, y, ""); }

static LLVMValueRef multiply_add(Attention *a, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
    LLVMTypeRef type = LLVMTypeOf(z);
    LLVMValueRef args[] = {x, y, z};
    if (a->p->e->target->machine.has_fma) return pull_intrinsic(a->p, "llvm.fma", &type, 1, args, 3);
    return LLVMBuildFAdd(builder(a), LLVMBuildFMul(builder(a), x, y, ""), z, "");
}

/* The better of two scores. */
static LLVMValueRef better(Attention *a, LLVMValueRef x, LLVMValueRef y) {
    return a->scale < 0 ? smaller(a, x, y) : larger(a, x, y);
}

static LLVMValueRef norm_of(Attention *a, NodeId node, LLVMValueRef query) {
    Position at = {.rank = 3, .lanes = 1, .axis = {{a->sample, 0, NULL}, {query, 0, NULL}, {a->head, 0, NULL}}};
    return pull_value(a->p, node, &at);
}

/* ---- a row of a block */

typedef struct {
    const AttentionBlock *block;
    LLVMValueRef query;          /* in the sample */
    LLVMValueRef scores, slopes; /* its first element of each */
    LLVMValueRef seen;           /* keys of the block that it sees; may be negative */
} Row;

static Row row_of(Attention *a, const AttentionBlock *block, LLVMValueRef index) {
    LLVMValueRef offset = mul(a, index, number(a, a->score_stride));
    Row row = {.block = block, .query = add(a, block->query, index), .seen = block->keys};
    row.scores = attention_element(a, attention_scratch(a, a->layout.scores), offset);
    row.slopes = attention_element(a, attention_scratch(a, a->layout.slopes), offset);
    if (a->is_causal) {
        LLVMValueRef up_to = attention_sub(a, add(a, row.query, number(a, 1)), block->key);
        row.seen = pull_min(a->p, block->keys, up_to);
    }
    return row;
}

/* Each row asks for one of each operand of the next head, beyond the last for that one again. */
static void ask_ahead(Attention *a, LLVMValueRef row) {
    for (uint32_t i = 0; i < a->ahead_count; i++) {
        bool is_of_queries = i == 0 || i == 3;
        LLVMValueRef last = number(a, (is_of_queries ? a->shape.S : a->shape.T) - 1);
        LLVMValueRef first = mul(a, pull_min(a->p, row, last), a->ahead[i].stride);
        for (int64_t at = 0; at < a->shape.D; at += 16)
            pull_fetch(a->p, a->ahead[i].base, a->f32, add(a, first, number(a, at)), TO_READ);
    }
}

/* A row's pairs of vectors in two stretches: those that are seen whole, and the rest up to `end` under masks. */
typedef struct {
    LLVMValueRef from, end;
    bool is_masked;
} Stretch;

static void stretches_of(Attention *a, const Row *row, LLVMValueRef end, Stretch stretch[2]) {
    LLVMValueRef size = number(a, (int64_t)PAIR * a->lanes), seen = pull_max(a->p, row->seen, number(a, 0));
    LLVMValueRef whole = LLVMBuildUDiv(builder(a), seen, size, "");
    LLVMValueRef last = add(a, pull_max(a->p, end, number(a, 0)), number(a, (int64_t)PAIR * a->lanes - 1));
    stretch[0] = (Stretch){number(a, 0), whole, false};
    stretch[1] = (Stretch){whole, LLVMBuildUDiv(builder(a), last, size, ""), true};
}

/* The value where the row sees the column, else `other`. */
static LLVMValueRef where_seen(Attention *a, const Row *row, const Stretch *stretch, LLVMValueRef column,
                               LLVMValueRef value, LLVMValueRef other) {
    if (!stretch->is_masked) return value;
    return LLVMBuildSelect(builder(a), attention_mask_below(a, column, row->seen), value, other, "");
}

static LLVMValueRef column_of(Attention *a, LLVMValueRef pair, uint32_t i) {
    return add(a, mul(a, pair, number(a, (int64_t)PAIR * a->lanes)), number(a, i * a->lanes));
}

/* ---- dropout */

/* Element i of two vectors is word i % 4 of counter i / 4. */
static void deal_words(Attention *a, LLVMValueRef const *word, LLVMValueRef *two) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(a->p->e->context);
    LLVMValueRef half[2], order[64];
    for (uint32_t i = 0; i < a->lanes; i++) order[i] = LLVMConstInt(i32, i / 2 + i % 2 * (a->lanes / 2), false);
    for (uint32_t i = 0; i < 2; i++)
        half[i] =
            LLVMBuildShuffleVector(builder(a), word[2 * i], word[2 * i + 1], LLVMConstVector(order, a->lanes), "");
    for (uint32_t v = 0; v < PAIR; v++) {
        for (uint32_t i = 0; i < a->lanes; i++) {
            uint32_t element = v * a->lanes + i, place = element / 4 * 2 + element % 2;
            order[i] = LLVMConstInt(i32, element % 4 / 2 ? a->lanes + place : place, false);
        }
        two[v] = LLVMBuildShuffleVector(builder(a), half[0], half[1], LLVMConstVector(order, a->lanes), "");
    }
}

/* Which keys of a pair of vectors are not dropped; the words are those of ir/ops.def. */
static void kept_of(Attention *a, const Row *row, LLVMValueRef pair, LLVMValueRef kept[PAIR]) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(a->p->e->context);
    LLVMValueRef line = add(a, mul(a, a->head, number(a, a->shape.S)), row->query), steps[64], word[4], two[PAIR];
    LLVMValueRef key = add(a, row->block->key, column_of(a, pair, 0));
    LLVMValueRef first =
        add(a, mul(a, line, number(a, (a->shape.T + 3) / 4)), LLVMBuildLShr(builder(a), key, number(a, 2), ""));
    uint32_t counters = a->lanes / 2;
    for (uint32_t i = 0; i < counters; i++) steps[i] = LLVMConstInt(i32, i, false);
    first = pull_splat(a->p, LLVMBuildTrunc(builder(a), first, i32, ""), counters);
    LLVMValueRef counter[4] = {LLVMBuildAdd(builder(a), first, LLVMConstVector(steps, counters), ""), a->random_sample,
                               a->random_step, LLVMConstInt(i32, a->node->attr.attention.stream, false)};
    math_philox_block(a->p->e, counter, a->random_key, word);
    deal_words(a, word, two);
    LLVMValueRef threshold = all(a, LLVMConstInt(i32, (uint64_t)attention_threshold(a->rate), false));
    for (uint32_t v = 0; v < PAIR; v++) {
        LLVMValueRef bits = LLVMBuildLShr(builder(a), two[v], all(a, LLVMConstInt(i32, 8, false)), "");
        kept[v] = LLVMBuildICmp(builder(a), LLVMIntSGE, bits, threshold, "");
    }
}

/* ---- forward */

/* A vector of them. With a negative scale they are the smallest. */
static LLVMValueRef largest_of(Attention *a, const Row *row) {
    LLVMValueRef most[PAIR], least = all(a, one(a, a->scale < 0 ? FLT_MAX : -FLT_MAX));
    Stretch stretch[2];
    stretches_of(a, row, row->seen, stretch);
    for (uint32_t v = 0; v < PAIR; v++) most[v] = least;
    for (uint32_t s = 0; s < 2; s++) {
        Round round = micro_round_begin(a->p, stretch[s].from, stretch[s].end, most, PAIR, true);
        for (uint32_t v = 0; v < PAIR; v++) {
            LLVMValueRef column = column_of(a, round.index, v);
            LLVMValueRef score = attention_load(a, attention_element(a, row->scores, column), NULL);
            most[v] = better(a, where_seen(a, row, &stretch[s], column, score, least), round.phi[v]);
        }
        micro_round_end(a->p, &round, most);
    }
    return better(a, most[0], most[1]);
}

/* Stores the weights that are seen, and returns a vector of totals, dropped ones included. */
static LLVMValueRef weigh(Attention *a, const Row *row, LLVMValueRef most) {
    LLVMValueRef total[PAIR], kept[PAIR], none = LLVMConstNull(a->vector), scale = all(a, one(a, a->scale * LOG2_E));
    LLVMValueRef down = all(a, LLVMBuildFNeg(builder(a), most, ""));
    Stretch stretch[2];
    stretches_of(a, row, row->seen, stretch);
    for (uint32_t v = 0; v < PAIR; v++) total[v] = none;
    for (uint32_t s = 0; s < 2; s++) {
        Round round = micro_round_begin(a->p, stretch[s].from, stretch[s].end, total, PAIR, true);
        if (a->rate != 0) kept_of(a, row, round.index, kept);
        for (uint32_t v = 0; v < PAIR; v++) {
            LLVMValueRef column = column_of(a, round.index, v), at = attention_element(a, row->scores, column);
            LLVMValueRef weight = math_exp2_weight(a->p->e, multiply_add(a, attention_load(a, at, NULL), scale, down));
            weight = where_seen(a, row, &stretch[s], column, weight, none);
            total[v] = sum_of(a, round.phi[v], weight);
            if (a->rate != 0) weight = LLVMBuildSelect(builder(a), kept[v], weight, none, "");
            pull_store_to(a->p, weight, at, 4, NULL);
        }
        micro_round_end(a->p, &round, total);
    }
    return sum_of(a, total[0], total[1]);
}

/* The tile that a row is part of reads on behind the diagonal, as far as its last row sees. */
static void clear_beyond(Attention *a, const Row *row) {
    Stretch stretch[2];
    stretches_of(a, row, row->seen, stretch);
    LLVMValueRef from = mul(a, stretch[1].end, number(a, (int64_t)PAIR * a->lanes));
    LLVMValueRef end = pull_min(a->p, row->block->keys, add(a, row->seen, number(a, MOST_ROWS)));
    Loop loop = loop_begin(a->p, from, end, number(a, a->lanes));
    pull_store_to(a->p, LLVMConstNull(a->vector), attention_element(a, row->scores, loop.index), 4, NULL);
    loop_end(a->p, &loop);
}

/* ---- what each query has one of */

static LLVMValueRef at_queries(Attention *a, int64_t numbers, LLVMValueRef query) {
    return attention_element(a, attention_scratch(a, numbers), query);
}
static LLVMValueRef load_queries(Attention *a, int64_t numbers, LLVMValueRef query) {
    return attention_load(a, at_queries(a, numbers, query), NULL);
}
static void store_queries(Attention *a, LLVMValueRef value, int64_t numbers, LLVMValueRef query) {
    pull_store_to(a->p, value, at_queries(a, numbers, query), 4, NULL);
}

/* For as many queries at a time as a vector holds; behind the last there is room. */
static Loop queries_begin(Attention *a, LLVMValueRef queries) {
    return loop_begin(a->p, number(a, 0), queries, number(a, a->lanes));
}

static LLVMValueRef across_of(Attention *a, LLVMValueRef query) {
    return attention_element(a, attention_scratch(a, a->layout.across), mul(a, query, number(a, a->lanes)));
}

/* What the vectors of queries from `query` on are when their elements are combined, halves first. */
static LLVMValueRef combined(Attention *a, LLVMValueRef query,
                             LLVMValueRef (*combine)(Attention *, LLVMValueRef, LLVMValueRef)) {
    LLVMValueRef square[64];
    for (uint32_t i = 0; i < a->lanes; i++)
        square[i] = attention_load(a, across_of(a, add(a, query, number(a, i))), NULL);
    micro_transpose(a->p, square, a->lanes);
    for (uint32_t half = a->lanes / 2; half; half /= 2)
        for (uint32_t i = 0; i < half; i++) square[i] = combine(a, square[i], square[i + half]);
    return square[0];
}

/* The largest so far, also where nothing was seen, and what that does to sums of before. */
static void raise_mosts(Attention *a, LLVMValueRef query) {
    LLVMValueRef found = combined(a, query, better), before = load_queries(a, a->layout.most, query);
    found = LLVMBuildFMul(builder(a), found, all(a, one(a, a->scale * LOG2_E)), "");
    LLVMValueRef most = larger(a, larger(a, found, all(a, one(a, -FLT_MAX))), before);
    store_queries(a, most, a->layout.most, query);
    LLVMValueRef shrink = math_exp2_weight(a->p->e, LLVMBuildFSub(builder(a), before, most, ""));
    store_queries(a, shrink, a->layout.shrink, query);
}

static void add_totals(Attention *a, LLVMValueRef query) {
    LLVMValueRef total = load_queries(a, a->layout.total, query), shrink = load_queries(a, a->layout.shrink, query);
    store_queries(a, multiply_add(a, total, shrink, combined(a, query, sum_of)), a->layout.total, query);
}

void attention_clear_totals(Attention *a, LLVMValueRef queries) {
    Loop loop = queries_begin(a, queries);
    store_queries(a, all(a, one(a, -FLT_MAX)), a->layout.most, loop.index);
    store_queries(a, all(a, one(a, 0)), a->layout.total, loop.index);
    store_queries(a, all(a, one(a, 1)), a->layout.shrink, loop.index);
    loop_end(a->p, &loop);
}

static void raise_all_mosts(Attention *a, const AttentionBlock *block) {
    Loop loop = loop_begin(a->p, number(a, 0), block->queries, number(a, 1));
    Row row = row_of(a, block, loop.index);
    pull_store_to(a->p, largest_of(a, &row), across_of(a, loop.index), 4, NULL);
    loop_end(a->p, &loop);
    Loop queries = queries_begin(a, block->queries);
    raise_mosts(a, queries.index);
    loop_end(a->p, &queries);
}

/* With the norm from memory there is no total to keep. */
void attention_softmax(Attention *a, const AttentionBlock *block) {
    bool has_norm = a->parts.norm == NO_NODE;
    if (!has_norm) raise_all_mosts(a, block);
    Loop loop = loop_begin(a->p, number(a, 0), block->queries, number(a, 1));
    Row row = row_of(a, block, loop.index);
    LLVMValueRef most = has_norm ? scaled(a, norm_of(a, a->node->in[ATTENTION_norm], row.query), LOG2_E)
                                 : attention_load_one(a, attention_scratch(a, a->layout.most), loop.index);
    ask_ahead(a, loop.index);
    LLVMValueRef total = weigh(a, &row, most);
    if (!has_norm) pull_store_to(a->p, total, across_of(a, loop.index), 4, NULL);
    if (a->is_causal) clear_beyond(a, &row);
    loop_end(a->p, &loop);
    if (has_norm) return;
    Loop queries = queries_begin(a, block->queries);
    add_totals(a, queries.index);
    loop_end(a->p, &queries);
}

static bool is_output(const Attention *a, NodeId node, uint32_t *output) {
    const Graph *body = a->kernel->body;
    for (*output = 0; *output < body->output_count; ++*output)
        if (body->outputs[*output].node == node) return true;
    return false;
}

static void store_norms(Attention *a, LLVMValueRef query, LLVMValueRef queries, int64_t norms) {
    uint32_t output;
    if (!is_output(a, a->parts.norm, &output)) return;
    Loop loop = loop_begin(a->p, number(a, 0), queries, number(a, 1));
    Position at = {.rank = 3,
                   .lanes = 1,
                   .axis = {{a->sample, 0, NULL}, {add(a, query, loop.index), 0, NULL}, {a->head, 0, NULL}}};
    pull_store(a->p, output, &at, attention_load_one(a, attention_scratch(a, norms), loop.index));
    loop_end(a->p, &loop);
}

/* A query that sees no key has a total of 0. Norms take the place of `shrink`, which nobody needs any more. */
void attention_finish_totals(Attention *a, LLVMValueRef query, LLVMValueRef queries) {
    bool has_total = a->parts.norm != NO_NODE;
    Loop loop = queries_begin(a, queries);
    LLVMValueRef share = all(a, one(a, 1 / (1 - a->rate)));
    if (has_total) {
        LLVMValueRef total = load_queries(a, a->layout.total, loop.index), zero = LLVMConstNull(a->vector);
        LLVMValueRef most = load_queries(a, a->layout.most, loop.index);
        LLVMValueRef sees_none = LLVMBuildFCmp(builder(a), LLVMRealOEQ, total, zero, "");
        total = LLVMBuildSelect(builder(a), sees_none, all(a, one(a, 1)), total, "");
        most = LLVMBuildSelect(builder(a), sees_none, zero, most, "");
        LLVMValueRef power = LLVMBuildFMul(builder(a), most, all(a, one(a, LN_2)), "");
        store_queries(a, sum_of(a, power, math_log(a->p->e, total)), a->layout.shrink, loop.index);
        share = LLVMBuildFDiv(builder(a), share, total, "");
    }
    store_queries(a, share, a->layout.share, loop.index);
    loop_end(a->p, &loop);
    if (has_total) store_norms(a, query, queries, a->layout.shrink);
}

void attention_finish_sums(Attention *a, LLVMValueRef queries, Rows to) {
    LLVMValueRef wide = number(a, a->shape.D), sums = attention_scratch(a, a->layout.sums);
    Loop rows = loop_begin(a->p, number(a, 0), queries, number(a, 1));
    LLVMValueRef share = all(a, attention_load_one(a, attention_scratch(a, a->layout.share), rows.index));
    LLVMValueRef stride = number(a, attention_wide_panels(a) * attention_wide_panel(a, 1));
    LLVMValueRef from = attention_element(a, sums, mul(a, rows.index, stride));
    LLVMValueRef out = attention_element(a, to.base, mul(a, rows.index, to.stride));
    Loop columns = loop_begin(a->p, number(a, 0), wide, number(a, a->lanes));
    LLVMValueRef mask = a->shape.D % a->lanes ? attention_mask_below(a, columns.index, wide) : NULL;
    LLVMValueRef value = attention_load(a, attention_element(a, from, columns.index), NULL);
    value = LLVMBuildFMul(builder(a), value, share, "");
    pull_store_to(a->p, value, attention_element(a, out, columns.index), 4, mask);
    loop_end(a->p, &columns);
    loop_end(a->p, &rows);
}

/* ---- backward */

/* weight = e^(score - norm); slope = scale (weight kept · taken - weight delta), and 0 for what is not seen, since
 * anything may stand there. */
static void weights_and_slopes(Attention *a, const Row *row) {
    LLVMValueRef none = LLVMConstNull(a->vector), scale = all(a, one(a, a->scale)), kept[PAIR];
    LLVMValueRef norm = scaled(a, norm_of(a, a->node->in[ATTENTION_norm], row->query), -LOG2_E), down = all(a, norm);
    LLVMValueRef delta = all(a, norm_of(a, a->node->in[ATTENTION_delta], row->query));
    LLVMValueRef power = all(a, one(a, a->scale * LOG2_E)), more = all(a, one(a, 1 / (1 - a->rate)));
    bool has_slopes = a->parts.dq != NO_NODE || a->parts.dk != NO_NODE;
    Stretch stretch[2];
    stretches_of(a, row, row->block->keys, stretch);
    for (uint32_t s = 0; s < 2; s++) {
        Loop loop = loop_begin(a->p, stretch[s].from, stretch[s].end, number(a, 1));
        if (a->rate != 0) kept_of(a, row, loop.index, kept);
        for (uint32_t v = 0; v < PAIR; v++) {
            LLVMValueRef column = column_of(a, loop.index, v), at = attention_element(a, row->scores, column);
            LLVMValueRef taken_at = attention_element(a, row->slopes, column);
            LLVMValueRef weight = math_exp2_weight(a->p->e, multiply_add(a, attention_load(a, at, NULL), power, down));
            weight = where_seen(a, row, &stretch[s], column, weight, none);
            LLVMValueRef taken = has_slopes ? attention_load(a, taken_at, NULL) : none, part = weight;
            if (a->rate != 0) {
                part = LLVMBuildSelect(builder(a), kept[v], LLVMBuildFMul(builder(a), weight, more, ""), none, "");
                taken = LLVMBuildSelect(builder(a), kept[v], LLVMBuildFMul(builder(a), taken, more, ""), none, "");
            }
            LLVMValueRef slope = LLVMBuildFMul(builder(a), LLVMBuildFSub(builder(a), taken, delta, ""), scale, "");
            slope = LLVMBuildFMul(builder(a), slope, weight, "");
            pull_store_to(a->p, part, at, 4, NULL);
            if (has_slopes)
                pull_store_to(a->p, where_seen(a, row, &stretch[s], column, slope, none), taken_at, 4, NULL);
        }
        loop_end(a->p, &loop);
    }
}

void attention_weights_and_slopes(Attention *a, const AttentionBlock *block) {
    Loop loop = loop_begin(a->p, number(a, 0), block->queries, number(a, 1));
    Row row = row_of(a, block, loop.index);
    ask_ahead(a, loop.index);
    weights_and_slopes(a, &row);
    loop_end(a->p, &loop);
}
