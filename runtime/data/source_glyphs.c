/* Handwritten-looking digits, drawn by the program, so that nothing must be downloaded to train a first model: 28x28
 * pixels, 20000 to train and 2000 to test, with labels.
 *
 * A digit is a few strokes through control points. Each sample moves the points a little, leans, turns, stretches and
 * shifts the whole, takes a pen of its own width, and is painted by distance to the stroke; in colour, with ink and
 * paper of its own. Coordinates are whole
 * numbers (1/256 pixel) and what is done in floating point is single divisions and roots, which IEEE arithmetic rounds
 * alike everywhere: every machine draws the same bytes. */
#include "runtime/data/source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    GLYPH_SIDE = 28,
    GLYPH_PIXELS = GLYPH_SIDE * GLYPH_SIDE,
    GLYPH_UNIT = 256, /* of a pixel */
    GLYPH_TRAIN = 20000,
    GLYPH_TEST = 2000,
    GLYPH_POINTS = 12,
    GLYPH_STROKES = 3,
    GLYPH_STEPS = 6,
    GLYPH_STYLES = 3
};

typedef struct {
    int32_t x, y;
} Point;

/* Points in a box 100 high; x 50 is the middle. */
typedef struct {
    enum { STROKE_none, STROKE_line, STROKE_curve, STROKE_loop } kind;
    int count;
    Point point[GLYPH_POINTS];
} Stroke;

typedef struct {
    Stroke stroke[GLYPH_STROKES];
} Glyph;

/* The ways to write a digit; a style that is empty stands for the first. */
static const Glyph glyph_table[10][GLYPH_STYLES] = {
    {{{{STROKE_loop, 8, {{50, 0}, {74, 12}, {82, 50}, {75, 86}, {50, 100}, {26, 88}, {18, 50}, {25, 14}}}}},
     {{{STROKE_loop, 7, {{58, 0}, {78, 20}, {74, 62}, {50, 98}, {28, 92}, {20, 58}, {32, 18}}}}}},
    {{{{STROKE_line, 2, {{52, 0}, {48, 100}}}}},
     {{{STROKE_line, 3, {{32, 22}, {54, 0}, {52, 100}}}}},
     {{{STROKE_line, 3, {{34, 20}, {54, 0}, {52, 98}}}, {STROKE_line, 2, {{30, 99}, {74, 98}}}}}},
    {{{{STROKE_curve, 8, {{20, 26}, {30, 7}, {52, 0}, {74, 10}, {77, 30}, {64, 55}, {40, 79}, {18, 98}}},
       {STROKE_line, 2, {{18, 98}, {84, 96}}}}},
     {{{STROKE_curve,
        11,
        {{22, 20},
         {48, 0},
         {74, 14},
         {70, 42},
         {48, 74},
         {26, 96},
         {16, 88},
         {26, 80},
         {46, 90},
         {66, 100},
         {86, 92}}}}}},
    {{{{STROKE_curve, 6, {{22, 12}, {46, 0}, {72, 10}, {74, 30}, {58, 45}, {40, 48}}},
       {STROKE_curve, 6, {{40, 48}, {66, 52}, {80, 71}, {71, 92}, {45, 100}, {19, 88}}}}},
     {{{STROKE_line, 3, {{22, 2}, {74, 2}, {46, 40}}},
       {STROKE_curve, 6, {{46, 40}, {68, 46}, {80, 68}, {70, 92}, {44, 100}, {20, 88}}}}}},
    {{{{STROKE_line, 3, {{56, 0}, {16, 64}, {86, 62}}}, {STROKE_line, 2, {{65, 32}, {62, 100}}}}},
     {{{STROKE_curve, 4, {{26, 4}, {20, 36}, {26, 54}, {72, 50}}}, {STROKE_line, 2, {{76, 2}, {68, 100}}}}},
     {{{STROKE_line, 4, {{62, 100}, {64, 0}, {16, 68}, {86, 68}}}}}},
    {{{{STROKE_line, 3, {{78, 2}, {32, 2}, {26, 44}}},
       {STROKE_curve, 7, {{26, 44}, {50, 35}, {74, 45}, {81, 68}, {68, 92}, {42, 100}, {18, 90}}}}},
     {{{STROKE_curve, 7, {{30, 4}, {27, 42}, {52, 38}, {76, 50}, {76, 80}, {50, 100}, {20, 92}}},
       {STROKE_line, 2, {{30, 4}, {76, 0}}}}}},
    {{{{STROKE_curve,
        10,
        {{66, 2}, {42, 18}, {25, 46}, {20, 74}, {34, 97}, {58, 98}, {75, 80}, {66, 59}, {44, 56}, {24, 72}}}}},
     {{{STROKE_curve, 9, {{50, 0}, {30, 34}, {22, 70}, {36, 98}, {60, 98}, {74, 80}, {64, 62}, {42, 62}, {26, 80}}}}}},
    {{{{STROKE_line, 3, {{18, 4}, {80, 4}, {44, 100}}}}},
     {{{STROKE_line, 3, {{18, 6}, {80, 3}, {42, 100}}}, {STROKE_line, 2, {{34, 50}, {74, 48}}}}},
     {{{STROKE_line, 2, {{20, 16}, {20, 4}}}, {STROKE_curve, 5, {{20, 4}, {50, 6}, {80, 2}, {58, 46}, {48, 100}}}}}},
    {{{{STROKE_loop,
        12,
        {{50, 47},
         {27, 32},
         {28, 9},
         {50, 0},
         {72, 9},
         {73, 32},
         {50, 47},
         {25, 66},
         {23, 90},
         {50, 100},
         {77, 90},
         {75, 66}}}}},
     {{{STROKE_curve,
        11,
        {{76, 8},
         {48, 0},
         {26, 16},
         {40, 40},
         {70, 62},
         {70, 92},
         {46, 100},
         {24, 88},
         {34, 60},
         {62, 36},
         {78, 10}}}}}},
    {{{{STROKE_curve,
        10,
        {{75, 26}, {60, 47}, {36, 46}, {24, 26}, {36, 4}, {60, 1}, {75, 18}, {76, 44}, {69, 74}, {54, 100}}}}},
     {{{STROKE_loop, 6, {{72, 22}, {56, 44}, {32, 42}, {24, 22}, {42, 2}, {64, 4}}},
       {STROKE_line, 2, {{74, 14}, {64, 100}}}}}},
};

/* Draws from Philox, one word after the other. */
typedef struct {
    uint32_t counter[4], key[2], bits[4];
    int used;
} Dice;

/* A whole number from low to high, both included. */
static int32_t dice_between(Dice *dice, int32_t low, int32_t high) {
    if (dice->used == 4) {
        selfc_philox(dice->counter, dice->key, dice->bits);
        dice->counter[0]++;
        dice->used = 0;
    }
    uint64_t range = (uint64_t)(high - low + 1);
    return low + (int32_t)(dice->bits[dice->used++] * range >> 32);
}

/* How a sample is written. Matrix in 1/1024 pixel units for a unit of the box; the middle of the box goes to `middle`.
 */
typedef struct {
    int32_t xx, xy, yx, yy, radius, ink;
    Point middle;
} Hand;

static Hand glyph_hand(Dice *dice) {
    /* 100 units are 20 pixels: 51 = 1024 * 0.2 * 256 / 1024 of a 1/256 pixel for a unit, with 10 more bits */
    const int32_t unit = 52429;
    int32_t wide = dice_between(dice, 760, 1060), high = dice_between(dice, 860, 1040);
    int32_t lean = dice_between(dice, -180, 330), turn = dice_between(dice, -130, 130);
    Hand hand = {
        .xx = (int32_t)((int64_t)unit * wide / 1024),
        .xy = (int32_t)((int64_t)unit * high / 1024 * -(lean + turn) / 1024),
        .yx = (int32_t)((int64_t)unit * wide / 1024 * turn / 1024),
        .yy = (int32_t)((int64_t)unit * high / 1024),
        .radius = dice_between(dice, 210, 410),
        .ink = dice_between(dice, 225, 255),
    };
    hand.middle.x = 14 * GLYPH_UNIT + dice_between(dice, -300, 300);
    hand.middle.y = 14 * GLYPH_UNIT + dice_between(dice, -300, 300);
    return hand;
}

static Point glyph_place(const Hand *hand, Point point, Dice *dice) {
    int32_t x = (point.x - 50) * 16 + dice_between(dice, -56, 56),
            y = (point.y - 50) * 16 + dice_between(dice, -56, 56);
    return (Point){
        hand->middle.x + (int32_t)(((int64_t)hand->xx * x + (int64_t)hand->xy * y) / (16 * 1024)),
        hand->middle.y + (int32_t)(((int64_t)hand->yx * x + (int64_t)hand->yy * y) / (16 * 1024)),
    };
}

static int32_t glyph_larger(int32_t a, int32_t b) { return a > b ? a : b; }
static int32_t glyph_smaller(int32_t a, int32_t b) { return a < b ? a : b; }

/* The square of the distance from p to the line from a to b, in 1/65536 square pixels. */
static double glyph_distance(Point a, Point b, int32_t x, int32_t y) {
    int32_t dx = b.x - a.x, dy = b.y - a.y, px = x - a.x, py = y - a.y;
    int32_t along = dx * px + dy * py, length = dx * dx + dy * dy;
    if (along <= 0) return px * px + py * py;
    if (along >= length) return (x - b.x) * (x - b.x) + (y - b.y) * (y - b.y);
    double across = dx * py - dy * px;
    return across * across / length;
}

/* Lowers the distances of the pixels that a pen of this radius could touch. */
static void glyph_line(double *distance, int32_t radius, Point a, Point b) {
    int32_t reach = radius + GLYPH_UNIT;
    int32_t left = glyph_larger((glyph_smaller(a.x, b.x) - reach) / GLYPH_UNIT, 0);
    int32_t right = glyph_smaller((glyph_larger(a.x, b.x) + reach) / GLYPH_UNIT, GLYPH_SIDE - 1);
    int32_t top = glyph_larger((glyph_smaller(a.y, b.y) - reach) / GLYPH_UNIT, 0);
    int32_t bottom = glyph_smaller((glyph_larger(a.y, b.y) + reach) / GLYPH_UNIT, GLYPH_SIDE - 1);
    for (int32_t y = top; y <= bottom; y++)
        for (int32_t x = left; x <= right; x++) {
            double squared = glyph_distance(a, b, x * GLYPH_UNIT + GLYPH_UNIT / 2, y * GLYPH_UNIT + GLYPH_UNIT / 2);
            if (squared < distance[y * GLYPH_SIDE + x]) distance[y * GLYPH_SIDE + x] = squared;
        }
}

/* Catmull-Rom's curve from b to c, `step` of GLYPH_STEPS on the way. */
static int32_t glyph_curve(int32_t a, int32_t b, int32_t c, int32_t d, int32_t step) {
    int64_t n = GLYPH_STEPS, t = step;
    int64_t sum = 2 * n * n * n * b + (c - a) * t * n * n + (2 * a - 5 * (int64_t)b + 4 * (int64_t)c - d) * t * t * n +
                  (3 * (int64_t)b - a - 3 * (int64_t)c + d) * t * t * t;
    return (int32_t)(sum / (2 * n * n * n));
}

static void glyph_stroke(double *distance, const Hand *hand, const Stroke *stroke, Dice *dice) {
    Point p[GLYPH_POINTS];
    int count = stroke->count, ends = stroke->kind == STROKE_loop ? count : count - 1;
    for (int i = 0; i < count; i++) p[i] = glyph_place(hand, stroke->point[i], dice);
    for (int i = 0; i < ends; i++) {
        Point b = p[i], c = p[(i + 1) % count];
        Point a = stroke->kind == STROKE_loop ? p[(i + count - 1) % count] : p[i ? i - 1 : 0];
        Point d = stroke->kind == STROKE_loop ? p[(i + 2) % count] : p[i + 2 < count ? i + 2 : count - 1];
        int steps = stroke->kind == STROKE_line ? 1 : GLYPH_STEPS;
        Point from = b;
        for (int step = 1; step <= steps; step++) {
            Point to = {glyph_curve(a.x, b.x, c.x, d.x, step), glyph_curve(a.y, b.y, c.y, d.y, step)};
            if (step == steps) to = c;
            glyph_line(distance, hand->radius, from, to);
            from = to;
        }
    }
}

static void glyph_paint(const double *distance, const Hand *hand, uint8_t *pixels) {
    for (int i = 0; i < GLYPH_PIXELS; i++) {
        int32_t covered = hand->radius + GLYPH_UNIT / 2 - (int32_t)sqrt(distance[i]);
        covered = glyph_larger(0, glyph_smaller(covered, GLYPH_UNIT));
        pixels[i] = (uint8_t)(covered * hand->ink / GLYPH_UNIT);
    }
}

static Dice glyph_dice(SelfcSplit split, int64_t sample, uint32_t purpose) {
    return (Dice){
        .counter = {0, purpose, (uint32_t)sample, split == SELFC_TEST}, .key = {0x676C7970, 0x68730001}, .used = 4};
}

static void glyph_draw(SelfcSplit split, int64_t sample, uint8_t *pixels, int32_t *label) {
    Dice dice = glyph_dice(split, sample, 0);
    double distance[GLYPH_PIXELS];
    for (int i = 0; i < GLYPH_PIXELS; i++) distance[i] = 1e9;
    *label = dice_between(&dice, 0, 9);
    const Glyph *glyph = &glyph_table[*label][dice_between(&dice, 0, GLYPH_STYLES - 1)];
    if (glyph->stroke[0].kind == STROKE_none) glyph = &glyph_table[*label][0];
    Hand hand = glyph_hand(&dice);
    for (int i = 0; i < GLYPH_STROKES; i++)
        if (glyph->stroke[i].kind != STROKE_none) glyph_stroke(distance, &hand, &glyph->stroke[i], &dice);
    glyph_paint(distance, &hand, pixels);
}

/* The same digit with ink and paper of colours that can be told apart. */
static void glyph_colour(SelfcSplit split, int64_t sample, const uint8_t *grey, uint8_t *pixels) {
    enum { GLYPH_CONTRAST = 192 }; /* of 765 */
    Dice dice = glyph_dice(split, sample, 1);
    int32_t ink[3], paper[3], contrast;
    do {
        contrast = 0;
        for (int c = 0; c < 3; c++) {
            ink[c] = dice_between(&dice, 0, 255);
            paper[c] = dice_between(&dice, 0, 255);
            contrast += abs(ink[c] - paper[c]);
        }
    } while (contrast < GLYPH_CONTRAST);
    for (int i = 0; i < 3 * GLYPH_PIXELS; i++) {
        int32_t covered = grey[i / 3];
        pixels[i] = (uint8_t)((ink[i % 3] * covered + paper[i % 3] * (255 - covered) + 127) / 255);
    }
}

static void glyph_draw_share(void *context, int thread, int threads) {
    SelfcSource *source = context;
    int64_t end = source->count * (thread + 1) / threads;
    bool is_colour = source->fields[0].sample.rank == 3;
    for (int64_t i = source->count * thread / threads; i < end; i++) {
        uint8_t grey[GLYPH_PIXELS], *pixels = (uint8_t *)source->data[0] + i * GLYPH_PIXELS * (is_colour ? 3 : 1);
        glyph_draw(source->split, i, is_colour ? grey : pixels, (int32_t *)source->data[1] + i);
        if (is_colour) glyph_colour(source->split, i, grey, pixels);
    }
}

static bool glyph_load(SelfcSource *source) {
    source->data[0] = malloc((size_t)source->count * selfc_tensor_bytes(&source->fields[0].sample, 0));
    source->data[1] = malloc((size_t)source->count * sizeof(int32_t));
    SelfcPool *pool = selfc_pool_new(0);
    if (!source->data[0] || !source->data[1] || !pool) {
        selfc_pool_free(pool);
        selfc_fail("no memory to draw the glyphs");
        return false;
    }
    selfc_pool_run(pool, glyph_draw_share, source);
    selfc_pool_free(pool);
    return true;
}

bool source_open_glyphs(SelfcSource *source, const SelfcSourceOptions *options) {
    static const char *const classes[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    SelfcTensor image = {.dtype = SELFC_u8, .rank = options->channels == 3 ? 3 : 2, .dim = {GLYPH_SIDE, GLYPH_SIDE}};
    if (image.rank == 3) image.dim[2] = 3;
    source->load = glyph_load;
    source->count = source->split == SELFC_TRAIN ? GLYPH_TRAIN : GLYPH_TEST;
    source_add_field(source, "image", image, NULL);
    source_add_field(source, "label", (SelfcTensor){.dtype = SELFC_i32}, NULL);
    source->classes = classes;
    source->class_count = 10;
    return true;
}
