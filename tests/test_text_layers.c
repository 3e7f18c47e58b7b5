/* Layers of texts: embedding and attention against what is written out here in loops, and mask_tokens against its
 * meaning with sorting, number for number, as statistics see it, and as machine code computes it. */
#include "runtime/core/core.h"
#include "tests/compiled.h"
#include "tests/frontend_fixture.h"

#include <math.h>
#include <stdlib.h>

/* JSON is written with ' for " here. */
static Graph *graph_of(Fixture *fixture, const char *inputs, const char *layers) {
    char text[2048];
    snprintf(text, sizeof text, "{'name': 'm', 'functions': {'f': {'inputs': {%s}, 'layers': [%s]}}}", inputs, layers);
    for (char *c = text; *c; c++)
        if (*c == '\'') *c = '"';
    *fixture = fixture_open(text, NULL, 0);
    Graph *graph = fixture->model ? lower_function(fixture->model, "f", &fixture->diag) : NULL;
    EXPECT(graph != NULL, "%s: %s", layers, fixture->diag.text ? fixture->diag.text : "");
    return graph;
}

static uint64_t state = 1;

static int64_t whole_below(int64_t end) { return (int64_t)((compiled_random(&state) + 1) / 2 * (double)end); }

static double *random_numbers(Arena *arena, int64_t count) {
    double *numbers = arena_array(arena, double, count);
    for (int64_t i = 0; i < count; i++) numbers[i] = (double)(float)compiled_random(&state);
    return numbers;
}

/* ---- embedding ---- */

static void check_embedding(void) {
    Fixture fixture;
    Graph *graph = graph_of(&fixture, "'x': {'shape': ['n', 2, 3], 'type': 'i32'}",
                            "{'layer': 'embedding', 'size': 5, 'units': 4, 'name': 'word'}");
    if (graph) {
        const double numbers[] = {0, 4, 2, 2, 1, 3, 4, 4, 0, -7, 9, 1}, *table = random_numbers(fixture.arena, 20);
        const double *inputs[] = {numbers, table};
        int x = fixture_input(graph, "x"), weight = fixture_input(graph, "word.weight");
        EXPECT(x == 0 && weight == 1 && graph->inputs[x].below == 5, "inputs");
        EXPECT(graph->inputs[weight].init.kind == INIT_normal && graph->inputs[weight].init.b == 0.02, "init");
        double **values = graph_eval(graph, 2, inputs, fixture.arena);
        for (int64_t i = 0; i < 12; i++)
            for (int64_t u = 0; u < 4; u++) {
                int64_t row = numbers[i] < 0 ? 0 : numbers[i] > 4 ? 4 : (int64_t)numbers[i];
                double got = values[graph->outputs[0].node][i * 4 + u];
                EXPECT(got == table[row * 4 + u], "row %d, unit %d", (int)i, (int)u);
            }
    }
    graph_free(graph);
    fixture_close(&fixture);
}

/* ---- attention ---- */

typedef struct {
    int64_t n, S, T, heads, share;
    bool has_count, is_causal;
} AttentionCase;

/* Vaswani et al. 2017, equation 1, for one query of one head. */
static void attend(const AttentionCase *c, const double *q, const double *k, const double *v, int64_t seen,
                   double *out) {
    int64_t width = c->heads * c->share;
    double weight[64], sum = 0;
    for (int64_t t = 0; t < seen; t++) {
        double dot = 0;
        for (int64_t d = 0; d < c->share; d++) dot += q[d] * k[t * width + d];
        sum += weight[t] = exp(dot / sqrt((double)c->share));
    }
    for (int64_t d = 0; d < c->share; d++) {
        out[d] = 0;
        for (int64_t t = 0; t < seen; t++) out[d] += weight[t] / sum * v[t * width + d];
    }
}

static void check_attention(const AttentionCase *c) {
    Fixture fixture;
    char inputs[512], layer[256];
    int64_t width = c->heads * c->share;
    snprintf(inputs, sizeof inputs,
             "'q': ['n', %d, %d], 'k': ['n', %d, %d], 'v': ['n', %d, %d], 'count': {'shape': ['n'], 'type': 'i32'}",
             (int)c->S, (int)width, (int)c->T, (int)width, (int)c->T, (int)width);
    snprintf(layer, sizeof layer,
             "{'layer': 'attention', 'input': ['q', 'k', 'v'%s], 'heads': %d, 'causal': %s, 'dropout': 0.5}",
             c->has_count ? ", 'count'" : "", (int)c->heads, c->is_causal ? "true" : "false");
    Graph *graph = graph_of(&fixture, inputs, layer);
    if (graph) {
        double *q = random_numbers(fixture.arena, c->n * c->S * width), out[64];
        double *k = random_numbers(fixture.arena, c->n * c->T * width);
        double *v = random_numbers(fixture.arena, c->n * c->T * width), *count = random_numbers(fixture.arena, c->n);
        for (int64_t i = 0; i < c->n; i++) count[i] = (double)(i % (c->T + 1));
        double **values = graph_eval(graph, c->n, (const double *[]){q, k, v, count}, fixture.arena);
        const double *got = values[graph->outputs[0].node];
        double worst = 0;
        for (int64_t i = 0; i < c->n; i++)
            for (int64_t s = 0; s < c->S; s++)
                for (int64_t h = 0; h < c->heads; h++) {
                    int64_t seen = c->has_count ? (int64_t)count[i] : c->T;
                    if (c->is_causal && s + 1 < seen) seen = s + 1;
                    int64_t at = (i * c->S + s) * width + h * c->share, keys = i * c->T * width + h * c->share;
                    attend(c, q + at, k + keys, v + keys, seen, out);
                    for (int64_t d = 0; d < c->share; d++) worst = fmax(worst, fabs(out[d] - got[at + d]));
                }
        EXPECT(worst < 1e-9, "%s: off by %g", layer, worst);
    }
    graph_free(graph);
    fixture_close(&fixture);
}

/* ---- mask_tokens ---- */

typedef struct {
    int64_t n, S, size, most;
    double share, masked, random;
    bool whole_words;
} MaskCase;

typedef struct {
    double *changed, *places, *labels, *weights;
} Masked;

typedef struct {
    uint32_t number;
    int64_t place;
} Draw;

static int by_number(const void *a, const void *b) {
    const Draw *x = a, *y = b;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

static const double key[] = {7, -5, 3}; /* two words of seed, and the step */

/* 24 bits, as design.md tells of random numbers. */
static uint32_t bits_at(int64_t element, double sample, uint32_t stream) {
    uint32_t counter[4] = {(uint32_t)element, (uint32_t)(int32_t)sample, (uint32_t)(int32_t)key[2], stream}, bits[4];
    selfc_philox(counter, (uint32_t[2]){(uint32_t)(int32_t)key[0], (uint32_t)(int32_t)key[1]}, bits);
    return bits[0] >> 8;
}

/* How many of the sorted tokens are taken. */
static int64_t taken_count(const MaskCase *c, const Draw *draws, int64_t known) {
    int64_t wanted = (int64_t)floor(c->share * (double)known + 0.5), taken = 0;
    if (wanted < 1) wanted = 1;
    if (wanted > c->most) wanted = c->most;
    if (!c->whole_words) return wanted < known ? wanted : known;
    while (taken < known) {
        int64_t end = taken;
        while (end < known && draws[end].number == draws[taken].number) end++;
        if (end > wanted && (taken > 0 || end > c->most)) break;
        taken = end;
    }
    return taken;
}

static void mask_sample(const MaskCase *c, const double *text, const double *word, double sample, Masked out) {
    Draw draws[512];
    int64_t known = 0;
    for (int64_t i = 0; i < c->S; i++)
        if (word[i] >= 0) draws[known++] = (Draw){bits_at(c->whole_words ? (int64_t)word[i] : i, sample, 0), i};
    qsort(draws, (size_t)known, sizeof *draws, by_number);
    int64_t taken = taken_count(c, draws, known);
    for (int64_t i = 0; i < c->S; i++) out.changed[i] = text[i];
    for (int64_t p = 0; p < c->most; p++) {
        int64_t at = p < taken ? draws[p].place : 0;
        out.places[p] = (double)at;
        out.labels[p] = p < taken ? text[at] : 0;
        out.weights[p] = p < taken;
        if (p >= taken) continue;
        double fate = bits_at(at, sample, 1) * 0x1p-24;
        if (fate < c->masked)
            out.changed[at] = 4;
        else if (fate < c->masked + c->random)
            out.changed[at] = floor((double)bits_at(at, sample, 2) * 0x1p-24 * (double)c->size);
    }
}

/* Words of 1 to 4 tokens between a token that must stay at the beginning and padding. */
static void draw_text(const MaskCase *c, double *text, double *word) {
    int64_t number = 0, left = 1 + whole_below(4), count = whole_below(c->S + 1);
    for (int64_t i = 0; i < c->S; i++) {
        bool stays = i == 0 || i >= count;
        text[i] = (double)whole_below(c->size);
        word[i] = stays ? -1 : (double)number;
        if (!stays && !--left) number++, left = 1 + whole_below(4);
    }
}

static Graph *mask_graph(Fixture *fixture, const MaskCase *c) {
    char inputs[256], layer[512];
    snprintf(inputs, sizeof inputs,
             "'text': {'shape': ['n', %d], 'type': 'i32'}, 'word': {'shape': ['n', %d], 'type': 'i32'}", (int)c->S,
             (int)c->S);
    snprintf(layer, sizeof layer,
             "{'layer': 'mask_tokens', 'input': ['text', 'word'], 'size': %d, 'mask': 4, 'share': %g, 'most': %d, "
             "'masked': %g, 'random': %g, 'whole_words': %s, 'name': ['changed', 'places', 'labels', 'weights']}",
             (int)c->size, c->share, (int)c->most, c->masked, c->random, c->whole_words ? "true" : "false");
    return graph_of(fixture, inputs, layer);
}

static bool rows_equal(const double *a, const double *b, int64_t count) {
    return !memcmp(a, b, (size_t)count * sizeof *a);
}

static void check_mask(const MaskCase *c) {
    Fixture fixture;
    Graph *graph = mask_graph(&fixture, c);
    if (!graph) return;
    Arena *arena = fixture.arena;
    double *text = arena_array(arena, double, c->n * c->S), *word = arena_array(arena, double, c->n * c->S);
    double *sample = arena_array(arena, double, c->n);
    for (int64_t i = 0; i < c->n; i++) {
        draw_text(c, text + i * c->S, word + i * c->S);
        sample[i] = (double)(i * 1000 + 17);
    }
    const double *inputs[4];
    const char *names[] = {"text", "word", "$sample", "$key"};
    const double *given[] = {text, word, sample, key};
    for (int i = 0; i < 4; i++) inputs[fixture_input(graph, names[i])] = given[i];
    double **values = graph_eval(graph, c->n, inputs, arena);
    Masked want = {arena_array(arena, double, c->S), arena_array(arena, double, c->most),
                   arena_array(arena, double, c->most), arena_array(arena, double, c->most)};
    const double *got[4];
    for (int i = 0; i < 4; i++) got[i] = values[graph->outputs[i].node];
    for (int64_t i = 0; i < c->n; i++) {
        mask_sample(c, text + i * c->S, word + i * c->S, sample[i], want);
        bool same = rows_equal(got[0] + i * c->S, want.changed, c->S) &&
                    rows_equal(got[1] + i * c->most, want.places, c->most) &&
                    rows_equal(got[2] + i * c->most, want.labels, c->most) &&
                    rows_equal(got[3] + i * c->most, want.weights, c->most);
        EXPECT(same, "share %g, %s: sample %d of %d tokens is masked in another way", c->share,
               c->whole_words ? "whole words" : "tokens", (int)i, (int)c->S);
    }
    Target target;
    for (int threads = 1; threads <= 3 && target_make(NULL, NULL, arena, &target, &fixture.diag); threads += 2) {
        int wrong = compiled_compare(graph, &target, c->n, inputs, threads, 0);
        EXPECT(!wrong, "%d numbers differ in machine code", wrong);
    }
    graph_free(graph);
    fixture_close(&fixture);
}

/* Each of 64 words in 4,096 samples: chosen 15 times in 100, and of these 80 become the mask, 10 any other. A share
 * that is off by 5 deviations is no chance. */
static bool is_about(double count, double all, double p) { return fabs(count - all * p) < 5 * sqrt(all * p * (1 - p)); }

static void check_statistics(void) {
    const MaskCase c = {.n = 4096, .S = 64, .size = 1000, .most = 10, .share = 0.15, .masked = 0.8, .random = 0.1};
    Fixture fixture;
    Graph *graph = mask_graph(&fixture, &c);
    if (!graph) return;
    double *text = arena_array(fixture.arena, double, c.n *c.S), *word = arena_array(fixture.arena, double, c.n *c.S);
    double *sample = arena_array(fixture.arena, double, c.n), chosen[64] = {0}, masks = 0, kept = 0, all = 0, twice = 0;
    for (int64_t i = 0; i < c.n * c.S; i++) text[i] = 1000 + (double)(i % c.S), word[i] = (double)(i % c.S);
    for (int64_t i = 0; i < c.n; i++) sample[i] = (double)i;
    const double *inputs[4];
    inputs[fixture_input(graph, "text")] = text, inputs[fixture_input(graph, "word")] = word;
    inputs[fixture_input(graph, "$sample")] = sample, inputs[fixture_input(graph, "$key")] = key;
    double **values = graph_eval(graph, c.n, inputs, fixture.arena);
    const double *changed = values[graph->outputs[0].node], *places = values[graph->outputs[1].node];
    for (int64_t i = 0; i < c.n; i++)
        for (int64_t p = 0; p < c.most; p++) {
            int64_t at = (int64_t)places[i * c.most + p];
            double now = changed[i * c.S + at];
            chosen[at]++, all++;
            masks += now == 4, kept += now == text[i * c.S + at];
            for (int64_t other = 0; other < p; other++) twice += places[i * c.most + other] == (double)at;
        }
    EXPECT(twice == 0, "%g tokens were chosen twice", twice);
    EXPECT(is_about(masks, all, 0.8 + 0.1 / 1000) && is_about(kept, all, 0.1), "%g of %g masked, %g kept", masks, all,
           kept);
    for (int64_t at = 0; at < c.S; at++)
        EXPECT(is_about(chosen[at], (double)c.n, 10.0 / 64), "token %d was chosen %g times", (int)at, chosen[at]);
    graph_free(graph);
    fixture_close(&fixture);
}

int main(void) {
    check_embedding();
    const AttentionCase attentions[] = {
        {.n = 2, .S = 5, .T = 5, .heads = 1, .share = 4},
        {.n = 9, .S = 3, .T = 7, .heads = 3, .share = 5, .has_count = true},
        {.n = 2, .S = 6, .T = 6, .heads = 2, .share = 3, .is_causal = true},
        {.n = 8, .S = 6, .T = 6, .heads = 2, .share = 3, .is_causal = true, .has_count = true},
    };
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++) check_attention(&attentions[i]);
    const MaskCase masks[] = {
        {.n = 12, .S = 32, .size = 100, .most = 5, .share = 0.15, .masked = 0.8, .random = 0.1},
        {.n = 12, .S = 37, .size = 30522, .most = 6, .share = 0.15, .masked = 0.8, .random = 0.1, .whole_words = true},
        {.n = 40, .S = 9, .size = 50, .most = 3, .share = 0.15, .masked = 0.8, .random = 0.1, .whole_words = true},
        {.n = 6, .S = 20, .size = 50, .most = 20, .share = 1, .masked = 0.9, .random = 0.1},
        {.n = 6, .S = 20, .size = 50, .most = 4, .share = 0.5, .masked = 0.8, .random = 0.2, .whole_words = true},
        {.n = 3, .S = 130, .size = 50, .most = 8, .share = 0.15, .masked = 0.8, .random = 0.1},
    };
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) check_mask(&masks[i]);
    check_statistics();
    return expect_failures();
}
