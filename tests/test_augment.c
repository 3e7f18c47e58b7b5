/* Layers that change pictures, with nothing left to chance: ranges of one number, probabilities of 0 and 1. What comes
 * out of the evaluator is compared with what was worked out by hand. tests/oracle_augment.py does the rest.
 *
 * And that they can be differentiated: the slope of a number that is made of the changed pictures, by each pixel of the
 * pictures, against finite differences, with what is drawn held fast. */
#include "ir/build.h"
#include "passes/passes.h"
#include "tests/frontend_fixture.h"

#include <math.h>

enum { MOST = 32 };

typedef struct {
    const char *layer; /* of the input x, or of x and turns */
    int64_t shape[3];  /* height, width, channels; 0 channels: no such axis */
    const char *type;  /* of the result */
    double x[MOST], out[MOST];
} Case;

#define RAMP {1, 2, 3, 4, 5, 6, 7, 8, 9}

static const Case cases[] = {
    {"'random_flip', 'p': 1", {2, 3, 0}, "f32[n,2,3]", RAMP, {3, 2, 1, 6, 5, 4}},
    {"'random_flip', 'p': 0", {2, 3, 0}, "f32[n,2,3]", RAMP, {1, 2, 3, 4, 5, 6}},
    {"'random_flip', 'p': 1, 'axis': 'vertical'", {2, 3, 0}, "f32[n,2,3]", RAMP, {4, 5, 6, 1, 2, 3}},
    {"'random_flip', 'p': 1", {1, 2, 3}, "f32[n,1,2,3]", RAMP, {4, 5, 6, 1, 2, 3}},
    /* the whole of a square, in its own size and between pixels */
    {"'random_resized_crop', 'size': 2, 'scale': [1, 1], 'ratio': [1, 1]", {2, 2, 0}, "f32[n,2,2]", RAMP, {1, 2, 3, 4}},
    {"'random_resized_crop', 'size': [1, 4], 'scale': [1, 1], 'ratio': [1, 1]",
     {2, 2, 1},
     "f32[n,1,4,1]",
     {0, 4, 8, 12},
     {4, 5, 7, 8}},
    /* half as large: a triangle over four pixels, the outer ones cut off and the rest made to sum up to 1 */
    {"'random_resized_crop', 'size': [4, 2], 'scale': [1, 1], 'ratio': [1, 1]",
     {4, 4, 0},
     "f32[n,4,2]",
     {7, 7, 14, 14, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
     {8, 13, 3, 1, 0, 0, 0, 0}},
    /* nothing fits: as much of the middle as the ratio allows */
    {"'random_resized_crop', 'size': [1, 2], 'scale': [1, 1], 'ratio': [0.5, 0.5]",
     {4, 4, 0},
     "f32[n,1,2]",
     {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3},
     {1, 2}},
    {"'color_jitter', 'brightness': [2, 2]", {1, 1, 3}, "f32[n,1,1,3]", {0.1, 0.3, 0.8}, {0.2, 0.6, 1}},
    {"'color_jitter', 'brightness': [2, 2], 'p': 0", {1, 1, 3}, "f32[n,1,1,3]", {0.1, 0.3, 0.8}, {0.1, 0.3, 0.8}},
    /* what is not chosen stays as it is, whatever its values */
    {"'color_jitter', 'brightness': [2, 2], 'contrast': 0.5, 'saturation': 0.5, 'hue': 0.5, 'p': 0",
     {1, 2, 3},
     "f32[n,1,2,3]",
     {-0.5, 0.3, 1.75, 0, 2, 0},
     {-0.5, 0.3, 1.75, 0, 2, 0}},
    {"'color_jitter', 'contrast': [0.5, 0.5]", {1, 3, 0}, "f32[n,1,3]", {0.1, 0.3, 0.8}, {0.25, 0.35, 0.6}},
    {"'color_jitter', 'saturation': [0, 0]", {1, 1, 3}, "f32[n,1,1,3]", {1, 0, 1}, {0.4129, 0.4129, 0.4129}},
    {"'color_jitter', 'hue': [0.5, 0.5]",
     {1, 3, 3},
     "f32[n,1,3,3]",
     {1, 0, 0, 0.5, 0.5, 0.5, 0.25, 0.5, 0.75},
     {0, 1, 1, 0.5, 0.5, 0.5, 0.75, 0.5, 0.25}},
    {"'color_jitter', 'hue': [-0.25, -0.25]", {1, 1, 3}, "f32[n,1,1,3]", {1, 0, 0}, {0.5, 0, 1}},
    {"'color_jitter', 'hue': 0.5, 'saturation': 1", {1, 2, 0}, "f32[n,1,2]", {0.25, 0.5}, {0.25, 0.5}},
    {"'random_gray', 'p': 1", {1, 1, 3}, "f32[n,1,1,3]", {1, 0, 1}, {0.4129, 0.4129, 0.4129}},
    {"'random_gray', 'p': 1", {1, 2, 1}, "f32[n,1,2,1]", {0.25, 0.5}, {0.25, 0.5}},
    {"'solarize', 'threshold': 0.5", {1, 3, 0}, "f32[n,1,3]", {0.25, 0.5, 1}, {0.25, 0.5, 0}},
    {"'noise', 'deviation': 0", {1, 3, 0}, "f32[n,1,3]", {-1, 0.5, 2}, {0, 0.5, 1}},
    {"'noise', 'deviation': 0, 'clip': false", {1, 3, 0}, "f32[n,1,3]", {-1, 0.5, 2}, {-1, 0.5, 2}},
    {"'standardize', 'mean': [1, 2], 'deviation': [2, 4]", {1, 2, 2}, "f32[n,1,2,2]", {1, 2, 3, 10}, {0, 0, 1, 2}},
    {"'standardize', 'mean': 1, 'deviation': 2", {1, 3, 0}, "f32[n,1,3]", {1, 2, 3}, {0, 0.5, 1}},
    /* weights e^-2, 1, e^-2 over their sum; 3 is mirrored to the left of 1 */
    {"'gaussian_blur', 'size': [1, 3], 'sigma': 0.5", {1, 2, 0}, "f32[n,1,2]", {0, 1}, {0.2130138781, 0.7869861219}},
    {"'gaussian_blur', 'size': 3, 'sigma': 1, 'p': 0", {2, 2, 0}, "f32[n,2,2]", RAMP, {1, 2, 3, 4}},
    {"'center_crop', 'size': [1, 2]", {3, 4, 0}, "f32[n,1,2]", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {6, 7}},
    {"'center_crop', 'size': [1, 4]", {1, 2, 1}, "f32[n,1,4,1]", {5, 6}, {0, 5, 6, 0}},
    {"'random_rotation', 'degrees': [90, 90]", {2, 2, 0}, "f32[n,2,2]", RAMP, {2, 4, 1, 3}},
    {"'random_rotation', 'degrees': [45, 45], 'fill': 5", {1, 1, 0}, "f32[n,1,1]", {7}, {7}},
    {"'random_rotation', 'degrees': [180, 180]", {1, 3, 0}, "f32[n,1,3]", RAMP, {3, 2, 1}},
    {"'cutout', 'p': 0", {2, 2, 0}, "f32[n,2,2]", RAMP, {1, 2, 3, 4}},
    {"'quarter_turns'", {2, 2, 0}, "f32[n,2,2]", RAMP, {2, 4, 1, 3}},
};

/* JSON is written with ' for " here. */
static void with_quotes(char *text) {
    for (; *text; text++)
        if (*text == '\'') *text = '"';
}

static const char model[] = "{'name': 'm', 'functions': {'f': {'inputs': {'x': %s, 'turns': {'shape': ['n'], 'type': "
                            "'i32'}}, 'layers': [{'layer': %s, 'input': %s}]}}}";

static void check(const Case *test) {
    char shape[64], text[1024], type[128];
    snprintf(shape, sizeof shape, test->shape[2] ? "['n', %d, %d, %d]" : "['n', %d, %d]", (int)test->shape[0],
             (int)test->shape[1], (int)test->shape[2]);
    bool has_turns = strstr(test->layer, "turns");
    snprintf(text, sizeof text, model, shape, test->layer, has_turns ? "['x', 'turns']" : "'x'");
    with_quotes(text);
    Fixture fixture = fixture_open(text, NULL, 0);
    Graph *graph = fixture.model ? lower_function(fixture.model, "f", &fixture.diag) : NULL;
    EXPECT(graph != NULL, "%s: %s", test->layer, fixture.diag.text ? fixture.diag.text : "");
    if (graph) {
        NodeId node = graph->outputs[0].node;
        type_print(graph->nodes[node].type, type);
        EXPECT(!strcmp(type, test->type), "%s: %s", test->layer, type);
        const double turns[] = {1}, key[] = {3, 0, 0}, sample[] = {0}, *inputs[4];
        for (uint32_t i = 0; i < graph->input_count && i < 4; i++) {
            const char *name = graph->inputs[i].name;
            inputs[i] = !strcmp(name, "x")       ? test->x
                        : !strcmp(name, "turns") ? turns
                        : !strcmp(name, "$key")  ? key
                                                 : sample;
        }
        double **values = graph_eval(graph, 1, inputs, fixture.arena);
        int64_t count = dim_at(type_elements(graph->nodes[node].type), 1);
        for (int64_t i = 0; i < count; i++)
            EXPECT(fabs(values[node][i] - test->out[i]) <= 1e-6, "%s [%d] is %.9g, not %.9g", test->layer, (int)i,
                   values[node][i], test->out[i]);
    }
    graph_free(graph);
    fixture_close(&fixture);
}

/* Mixing gives two results, and needs to know which picture is the last. */
static void check_mixing(const char *layer) {
    char text[1024];
    snprintf(
        text, sizeof text,
        "{'name': 'm', 'training': {'data': {'x': {'source': 'glyphs'}, 'y': {'source': 'glyphs', 'field': 'label'}}, "
        "'layers': [{'layer': '%s', 'input': ['x', 'one_hot(y, 10)'], 'alpha': 0.4, 'name': ['pictures', 'labels']}, "
        "{'layer': 'dense', 'input': 'flatten(pictures)', 'units': 10}, {'expr': 'mean(cross_entropy(it, labels))', "
        "'name': 'loss'}], 'minimize': 'loss', 'batch': 4}}",
        layer);
    with_quotes(text);
    Fixture fixture = fixture_open(text, NULL, 0);
    Graph *graph = fixture.model ? lower_train(fixture.model, NULL, 0, &fixture.diag) : NULL;
    EXPECT(graph != NULL, "%s: %s", layer, fixture.diag.text ? fixture.diag.text : "");
    graph_free(graph);
    fixture_close(&fixture);
}

enum { PICTURES = 3, SIDE = 5, PIXELS = PICTURES * SIDE * SIDE * 3, DRAWS = 3 };

/* A graph with the number, what it is worth for pictures, and its slope by them. */
typedef struct {
    const char *layer;
    Graph *graph;
    NodeId number, slope;
    double pictures[PIXELS], label[PICTURES], key[3], sample[PICTURES];
} Slope;

static double **slope_eval(const Slope *s, Arena *arena) {
    static const double parameters[PIXELS]; /* of what only makes it a training */
    const double *inputs[8] = {0};
    for (uint32_t i = 0; i < s->graph->input_count && i < 8; i++) {
        const char *name = s->graph->inputs[i].name;
        inputs[i] = !strcmp(name, "x")         ? s->pictures
                    : !strcmp(name, "y")       ? s->label
                    : !strcmp(name, "$key")    ? s->key
                    : !strcmp(name, "$sample") ? s->sample
                                               : parameters;
    }
    return graph_eval(s->graph, PICTURES, inputs, arena);
}

static double slope_number_at(Slope *s, int pixel, double value) {
    Arena *arena = arena_new();
    double kept = s->pictures[pixel];
    s->pictures[pixel] = value;
    double number = slope_eval(s, arena)[s->number][0];
    s->pictures[pixel] = kept;
    arena_free(arena);
    return number;
}

/* Pixels between 0.2 and 0.6 are far enough from where values are cut off, and these from one another: hue has kinks
 * where two colours of a pixel are equal. */
static void slope_draw(Slope *s, int draw) {
    uint64_t seed = (uint64_t)draw + 20;
    for (int i = 0; i < PIXELS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        s->pictures[i] = 0.2 + 0.4 * ((double)(seed >> 11) / 9007199254740992.0);
    }
    s->key[0] = 3, s->key[1] = 0, s->key[2] = draw;
    for (int i = 0; i < PICTURES; i++) s->label[i] = i, s->sample[i] = 10 * draw + i;
}

static void slope_compare(Slope *s) {
    Arena *arena = arena_new();
    const double step = 1e-5, *slope = slope_eval(s, arena)[s->slope];
    int flat = 0;
    for (int i = 0; i < PIXELS; i++) {
        double above = slope_number_at(s, i, s->pictures[i] + step),
               below = slope_number_at(s, i, s->pictures[i] - step);
        double expected = (above - below) / (2 * step);
        EXPECT(fabs(slope[i] - expected) <= 1e-6, "%s: by pixel %d the slope is %.9g, finite differences say %.9g",
               s->layer, i, slope[i], expected);
        flat += fabs(slope[i]) < 1e-9;
    }
    EXPECT(flat < PIXELS * 3 / 4, "%s: %d of %d pixels have no slope", s->layer, flat, PIXELS);
    arena_free(arena);
}

static void check_slope(const char *layer) {
    static const char slope_model[] =
        "{'name': 'm', 'training': {'data': {'x': {'source': 'npy', 'shape': [5, 5, 3], 'type': 'f32'}, "
        "'y': {'source': 'glyphs', 'field': 'label'}}, "
        "'layers': [{'layer': %s}, {'expr': 'mean(view ^ 2 + 0.1 * view)', 'name': 'number'}, "
        "{'layer': 'dense', 'input': 'flatten(view)', 'units': 1}, {'expr': 'mean(it)', 'name': 'loss'}], "
        "'minimize': 'loss', 'report': 'number', 'batch': 3}}";
    char text[1024];
    snprintf(text, sizeof text, slope_model, layer);
    with_quotes(text);
    Fixture fixture = fixture_open(text, NULL, 0);
    Slope s = {.layer = layer};
    s.graph = fixture.model ? lower_evaluate(fixture.model, NULL, 0, &fixture.diag) : NULL;
    EXPECT(s.graph != NULL, "%s: %s", layer, fixture.diag.text ? fixture.diag.text : "");
    if (s.graph) {
        NodeId x = 0;
        while (s.graph->nodes[x].op != OP_input || strcmp(s.graph->inputs[s.graph->nodes[x].attr.index].name, "x")) x++;
        s.number = fixture_output(s.graph, "number")->node;
        differentiate(s.graph, s.number, build_like(s.graph, s.number, 1), &x, 1, &s.slope, fixture.arena);
        EXPECT(s.slope != NO_NODE, "%s: no slope", layer);
        for (int draw = 0; draw < DRAWS && s.slope != NO_NODE; draw++) slope_draw(&s, draw), slope_compare(&s);
    }
    graph_free(s.graph);
    fixture_close(&fixture);
}

static const char *const slopes[] = {
    "'random_resized_crop', 'input': 'x', 'size': 4, 'scale': [0.3, 0.9], 'name': 'view'",
    "'random_resized_crop', 'input': 'x', 'size': [7, 2], 'scale': [0.7, 1], 'name': 'view'",
    "'color_jitter', 'input': 'x', 'brightness': 0.3, 'contrast': 0.3, 'saturation': 0.3, 'hue': 0.2, 'name': 'view'",
    "'color_jitter', 'input': 'x', 'hue': [0.3, 0.3], 'p': 0.5, 'name': 'view'",
    "'gaussian_blur', 'input': 'x', 'size': 3, 'p': 0.7, 'name': 'view'",
    "'random_rotation', 'input': 'x', 'degrees': 40, 'fill': 0.5, 'name': 'view'",
    "'random_gray', 'input': 'x', 'p': 0.5, 'name': 'view'",
    "'random_flip', 'input': 'x', 'name': 'view'",
    "'solarize', 'input': 'x', 'threshold': 0.4, 'p': 0.7, 'name': 'view'",
    "'noise', 'input': 'x', 'deviation': 0.02, 'name': 'view'",
    "'cutout', 'input': 'x', 'p': 0.7, 'name': 'view'",
    "'mixup', 'input': ['x', 'one_hot(y, 3)'], 'alpha': 0.4, 'name': ['view', 'labels']",
    "'cutmix', 'input': ['x', 'one_hot(y, 3)'], 'alpha': 0.4, 'name': ['view', 'labels']",
};

int main(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(&cases[i]);
    check_mixing("mixup");
    check_mixing("cutmix");
    for (size_t i = 0; i < sizeof slopes / sizeof *slopes; i++) check_slope(slopes[i]);
    return expect_failures();
}
