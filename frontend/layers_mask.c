/* mask_tokens: which words a model is to guess (Devlin et al. 2019, section 3.1), chosen anew in each step.
 *
 * Every token that may be masked draws a number; those with the smallest are chosen, so many that they are the share
 * asked for. No sorting is needed: the rank of a token is how many numbers are smaller than its own, and the token of
 * rank p is the p-th to be predicted. Where whole words are chosen, the tokens of a word have one number and so
 * neighbouring ranks, and words are taken in the order of their numbers as long as they fit.
 *
 * Three streams are drawn from: the numbers, what becomes of a chosen token, and what takes its place at random. */
#include "frontend/augment.h"

#include <math.h>

typedef struct {
    LayerCall *call;
    NodeId text, word;    /* i32[n,S] */
    NodeId number, known; /* f32[n,S], bool[n,S]: what a token drew, whether it may be masked */
    Dim n, S;
    int64_t most, size, mask;
    double share, masked, random;
    bool whole_words;
} Masking;

static NodeId less(Masking *m, NodeId a, NodeId b) { return build_binary(m->call->l->g, OP_less, a, b); }
static NodeId equal(Masking *m, NodeId a, NodeId b) { return build_binary(m->call->l->g, OP_equal, a, b); }
static NodeId both(Masking *m, NodeId a, NodeId b) { return build_binary(m->call->l->g, OP_and, a, b); }
static NodeId either(Masking *m, NodeId a, NodeId b) { return build_binary(m->call->l->g, OP_or, a, b); }
static NodeId none(Masking *m, NodeId a) { return build_unary(m->call->l->g, OP_not, a); }

/* How often it holds along the last axis, which is dropped. */
static NodeId counted(Masking *m, NodeId condition) {
    Graph *g = m->call->l->g;
    uint32_t last = value_type(m->call->l, condition).rank - 1;
    return build_drop_axes(g, build_sum(g, build_cast(g, condition, DTYPE_i32), 1u << last), 1u << last);
}

static bool whole_rows(Masking *m, uint32_t i, const char *name, NodeId *x) {
    Lower *l = m->call->l;
    Value *value = &m->call->inputs[i];
    if (!to_tensor(l, m->call->spot, value)) return false;
    Type type = value_type(l, value->node);
    if (!i && type.rank == 2) m->n = type.dim[0], m->S = type.dim[1];
    bool fits =
        !dtype_info[type.dtype].is_float && type.rank == 2 && m->S > 0 && type.dim[0] == m->n && type.dim[1] == m->S;
    *x = fits ? build_cast(l->g, value->node, DTYPE_i32) : NO_NODE;
    if (fits) return true;
    return lower_fail(l, m->call->spot, "\"mask_tokens\": %s is %s, but must be whole numbers, %s", name,
                      type_text(l, type),
                      i ? type_text(l, type_make(DTYPE_i32, 2, (Dim[]){m->n, m->S})) : "[n, tokens]"),
           false;
}

static bool whole_option(Masking *m, const char *key, int64_t least, int64_t most, int64_t *whole) {
    double number;
    Spot spot;
    if (!option_number(m->call, key, (double)least, (double)most, &number)) return false;
    *whole = (int64_t)number;
    if ((double)*whole == number) return true;
    option_value(m->call, key, &spot);
    return lower_fail(m->call->l, spot, "'%s' is %.12g, but must be a whole number", key, number), false;
}

static bool masking_options(Masking *m) {
    LayerCall *call = m->call;
    double left;
    m->whole_words = option_flag(call, "whole_words");
    if (!whole_option(m, "size", 1, 1 << 24, &m->size) || !whole_option(m, "mask", 0, m->size - 1, &m->mask) ||
        !option_number(call, "share", 0, 1, &m->share) || !option_number(call, "masked", 0, 1, &m->masked))
        return false;
    left = round((1 - m->masked) * 1e12) / 1e12; /* 1 - 0.9 is a little less than 0.1 */
    if (!option_number(call, "random", 0, left, &m->random)) return false;
    m->most = (int64_t)ceil(m->share * (double)m->S);
    if (m->most < 1) m->most = 1;
    return !option_json(call, "most") || whole_option(m, "most", 1, m->S, &m->most);
}

/* Tokens that must stay drew more than any other. */
static void draw_numbers(Masking *m) {
    Lower *l = m->call->l;
    Type row = type_make(DTYPE_f32, 2, (Dim[]){m->n, m->S});
    NodeId drawn = random_uniform(l, row), first = build_like(l->g, m->word, 0);
    if (m->whole_words) drawn = build_gather(l->g, drawn, build_binary(l->g, OP_max, m->word, first), 1);
    m->known = none(m, less(m, m->word, first));
    m->number = build_select(l->g, m->known, drawn, build_like(l->g, drawn, 2));
}

/* x[n,S] as [n,S,S]: of the token itself (axis 1), or of the other one (axis 2). */
static NodeId in_pairs(Masking *m, NodeId x, uint32_t axis) {
    Graph *g = m->call->l->g;
    Dim dim[3] = {m->n, axis == 1 ? m->S : 1, axis == 2 ? m->S : 1};
    Type pairs = type_make(value_type(m->call->l, x).dtype, 3, (Dim[]){m->n, m->S, m->S});
    return build_broadcast(g, build_reshape(g, x, 3, dim), pairs);
}

/* i32[n,S], for each token: how many drew less, how many the same, and of these how many stand before it. */
typedef struct {
    NodeId less, same, before;
} Ranks;

static Ranks rank_tokens(Masking *m) {
    Graph *g = m->call->l->g;
    NodeId own = in_pairs(m, m->number, 1), other = in_pairs(m, m->number, 2), is_same = equal(m, own, other);
    Type places = type_make(DTYPE_i32, 3, (Dim[]){m->n, m->S, m->S});
    NodeId stands_before = less(m, build_iota(g, places, 2), build_iota(g, places, 1));
    return (Ranks){counted(m, less(m, other, own)), counted(m, is_same), counted(m, both(m, is_same, stands_before))};
}

/* i32[n,S]: how many tokens of the sample are to be predicted, halves rounded up: the smallest summand keeps what is
 * just below a half in single precision from being taken for less. */
static NodeId wanted_count(Masking *m) {
    Lower *l = m->call->l;
    NodeId all = build_cast(l->g, counted(m, m->known), DTYPE_f32);
    NodeId share = node_floor(l, node_shift(l, node_scale(l, all, m->share), 0.5 + 0x1p-10));
    NodeId wanted = node_whole(l, node_at_most(l, node_at_least(l, share, 1), (double)m->most));
    return build_broadcast(l->g, build_reshape(l->g, wanted, 2, (Dim[]){m->n, 1}), value_type(l, m->text));
}

/* bool[n,S]. Of whole words the first is taken even if it alone is more than wanted. */
static NodeId choose_tokens(Masking *m, const Ranks *ranks, NodeId rank) {
    Lower *l = m->call->l;
    NodeId wanted = wanted_count(m);
    if (!m->whole_words) return both(m, m->known, less(m, rank, wanted));
    NodeId end = node_add(l, ranks->less, ranks->same);
    NodeId fits = none(m, less(m, wanted, end));
    NodeId is_first = both(m, equal(m, ranks->less, build_like(l->g, end, 0)),
                           none(m, less(m, build_like(l->g, end, (double)m->most), end)));
    return both(m, m->known, either(m, fits, is_first));
}

/* Mostly the mask, sometimes any token, sometimes itself. */
static NodeId changed_text(Masking *m, NodeId chosen) {
    Lower *l = m->call->l;
    Type row = type_make(DTYPE_f32, 2, (Dim[]){m->n, m->S});
    NodeId fate = random_uniform(l, row);
    NodeId any = node_at_most(l, node_scale(l, random_uniform(l, row), (double)m->size), (double)(m->size - 1));
    NodeId is_mask = less(m, fate, build_like(l->g, fate, m->masked));
    NodeId is_any = less(m, fate, build_like(l->g, fate, m->masked + m->random));
    NodeId mask = build_like(l->g, m->text, (double)m->mask);
    NodeId other = build_select(l->g, is_any, node_whole(l, any), m->text);
    return build_select(l->g, chosen, build_select(l->g, is_mask, mask, other), m->text);
}

/* i32[n,P]: where the tokens of ranks 0, 1, … stand; 0 behind the last that was chosen. */
static NodeId chosen_places(Masking *m, NodeId chosen, NodeId rank) {
    Graph *g = m->call->l->g;
    Type pairs = type_make(DTYPE_i32, 3, (Dim[]){m->n, m->most, m->S});
    Dim row[3] = {m->n, 1, m->S};
    NodeId own = build_broadcast(g, build_reshape(g, rank, 3, row), pairs);
    NodeId is_chosen = build_broadcast(g, build_reshape(g, chosen, 3, row), type_with_dtype(pairs, DTYPE_bool));
    NodeId is_here = both(m, is_chosen, equal(m, own, build_iota(g, pairs, 1)));
    NodeId place = build_select(g, is_here, build_iota(g, pairs, 2), build_constant(g, pairs, 0));
    return build_drop_axes(g, build_sum(g, place, 1u << 2), 1u << 2);
}

/* text, places, labels, weights */
static Value masked_results(Masking *m, NodeId chosen, NodeId rank) {
    Graph *g = m->call->l->g;
    Value *items = arena_array(m->call->l->arena, Value, 4);
    NodeId places = chosen_places(m, chosen, rank);
    Type slots = value_type(m->call->l, places);
    NodeId count = build_broadcast(g, build_reshape(g, counted(m, chosen), 2, (Dim[]){m->n, 1}), slots);
    NodeId is_used = less(m, build_iota(g, slots, 1), count);
    NodeId labels = build_select(g, is_used, build_gather(g, m->text, places, 1), build_like(g, places, 0));
    items[0] = value_tensor(changed_text(m, chosen));
    items[1] = value_tensor(places);
    items[2] = value_tensor(labels);
    items[3] = value_tensor(build_cast(g, is_used, DTYPE_f32));
    return (Value){.kind = VALUE_list, .items = items, .count = 4};
}

Value layer_mask_tokens(LayerCall *call) {
    Lower *l = call->l;
    Masking m = {.call = call};
    if (!whole_rows(&m, 0, "the text", &m.text) ||
        !whole_rows(&m, 1, "the second input, the numbers of words,", &m.word) || !masking_options(&m))
        return value_unknown();
    limit_labels(l, call->inputs[0].node, m.size);
    draw_numbers(&m);
    Ranks ranks = rank_tokens(&m);
    NodeId rank = node_add(l, ranks.less, ranks.before);
    return masked_results(&m, choose_tokens(&m, &ranks, rank), rank);
}
