/* The map of features in report.html: samples as points in the plane, by principal components (PCA) and by t-SNE, and
 * the nearest neighbours of a dozen. Which of the two is shown is a radio button and a line of style, so it works
 * without scripts; a small script shows the picture of the point that is touched. All pictures stand in one PNG, of
 * which each place shows its part. Texts stand as words: what the tokenizer makes of a sample's tokens. */
#include "runtime/data/picture.h"
#include "runtime/train/eigen.h"
#include "runtime/train/features.h"
#include "runtime/train/health.h"
#include "runtime/train/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAP_POINTS = 500,
    MAP_LEAST = 12, /* no fewer than queries */
    MAP_SIDE = 64,
    MAP_COLUMNS = 25,
    MAP_QUERIES = 12,
    MAP_NEIGHBOURS = 7,
    MAP_COLOURS = 10,
    MAP_SIZE = 480,
    MAP_EDGE = 12
};

typedef struct {
    Trainer *trainer;
    Features features;
    SelfcSplit split;
    int64_t n, d;
    float *rows;
    double *unit;                 /* rows of length 1 */
    double *places[2];            /* PCA, t-SNE; x and y of each */
    int32_t *labels;              /* NULL: there are none */
    int side_x, side_y, channels; /* of a small picture; 0: samples are no pictures */
    bool has_own_pixels;          /* they are the samples' own, one for one */
    unsigned char *picture;       /* all of them, as PNG */
    size_t picture_size;
} Map;

static const SelfcTensor *map_sample(const Map *map, const FeedInput **input) {
    const SelfcField *fields;
    *input = &map->trainer->feed.inputs[0];
    selfc_source_fields((*input)->source[map->split], &fields);
    return &fields[(*input)->field].sample;
}

static int32_t map_number(const Map *map, int64_t i) { return features_place(map->trainer, map->split, i, map->n); }

/* --- places --- */

/* Columns of the centred rows' products with the two directions in which they spread most. */
static bool map_components(Map *map) {
    int64_t n = map->n, d = map->d;
    double *centred = malloc((size_t)(n * d) * sizeof *centred), *products = malloc((size_t)(n * n) * sizeof *products);
    double *vectors = malloc((size_t)(2 * n) * sizeof *vectors), values[2];
    bool is_fine = centred && products && vectors;
    for (int64_t k = 0; is_fine && k < d; k++) {
        double mean = 0;
        for (int64_t i = 0; i < n; i++) mean += map->unit[i * d + k] / (double)n;
        for (int64_t i = 0; i < n; i++) centred[i * d + k] = map->unit[i * d + k] - mean;
    }
    if (is_fine) eigen_gram(centred, n, d, products);
    is_fine = is_fine && eigen_largest(products, n, 2, vectors, values);
    for (int64_t i = 0; is_fine && i < 2 * n; i++) map->places[0][i] = vectors[i % 2 * n + i / 2] * sqrt(values[i % 2]);
    free(centred);
    free(products);
    free(vectors);
    return is_fine;
}

static bool map_place(Map *map) {
    if (!map_components(map)) return false;
    memcpy(map->places[1], map->places[0], (size_t)(2 * map->n) * sizeof *map->places[1]);
    return tsne_run(map->unit, map->n, map->d, map->places[1], map->trainer->session->pool);
}

/* --- pictures --- */

/* Pixels of 0 to 1 become bytes, in their place. */
static void map_to_bytes(void *pixels, int64_t count) {
    const float *values = pixels;
    for (int64_t i = 0; i < count; i++) ((uint8_t *)pixels)[i] = (uint8_t)(fmin(fmax(values[i], 0), 1) * 255 + 0.5);
}

/* A sample's picture, without what is around it in its box, as a small one. `one` holds a sample. False: no memory. */
static bool map_shrink(Map *map, int32_t number, void *one, uint8_t *out) {
    const FeedInput *input;
    const SelfcTensor *sample = map_sample(map, &input);
    const SelfcSource *source = input->source[map->split];
    int32_t size[2], fitted[2];
    selfc_source_gather(source, input->field, &number, 1, one);
    if (sample->dtype == SELFC_f32) map_to_bytes(one, selfc_tensor_elements(sample, 0));
    map->has_own_pixels &= !wanted_true_size(source, sample, number, size);
    Picture picture = {size[0], size[1], map->channels, size[0], size[1], one};
    picture_close_up(&picture, sample->dim[1]);
    return picture_fit(&picture, &(PictureBox){map->side_y, map->side_x, map->channels, .fill = true}, out, fitted);
}

static bool map_is_picture(const SelfcTensor *sample) {
    bool is_flat = sample->rank == 2, has_channels = sample->rank == 3 && (sample->dim[2] == 1 || sample->dim[2] == 3);
    return (sample->dtype == SELFC_u8 || sample->dtype == SELFC_f32) && (is_flat || has_channels) &&
           sample->dim[0] > 1 && sample->dim[1] > 1 && sample->dim[0] <= 4096 && sample->dim[1] <= 4096;
}

/* All samples as small pictures side by side. */
static bool map_draw(Map *map) {
    const FeedInput *input;
    const SelfcTensor *sample = map_sample(map, &input);
    if (!map_is_picture(sample)) return true;
    double most = (double)(sample->dim[0] > sample->dim[1] ? sample->dim[0] : sample->dim[1]);
    double factor = most > MAP_SIDE ? MAP_SIDE / most : 1;
    map->side_x = (int)fmax(1, round((double)sample->dim[1] * factor));
    map->side_y = (int)fmax(1, round((double)sample->dim[0] * factor));
    map->channels = sample->rank == 3 ? (int)sample->dim[2] : 1;
    map->has_own_pixels = most <= MAP_SIDE;
    int64_t rows = (map->n + MAP_COLUMNS - 1) / MAP_COLUMNS;
    size_t line = (size_t)(map->side_x * map->channels), page_line = MAP_COLUMNS * line;
    uint8_t *page = calloc(page_line * (size_t)(map->side_y * rows), 1), *small = malloc(line * (size_t)map->side_y);
    void *one = malloc(selfc_tensor_bytes(sample, 0));
    bool is_fine = page && small && one;
    for (int64_t i = 0; is_fine && i < map->n; i++) {
        is_fine = map_shrink(map, map_number(map, i), one, small);
        uint8_t *to = page + (size_t)(i / MAP_COLUMNS * map->side_y) * page_line + (size_t)(i % MAP_COLUMNS) * line;
        for (int y = 0; is_fine && y < map->side_y; y++)
            memcpy(to + (size_t)y * page_line, small + (size_t)y * line, line);
    }
    is_fine = is_fine && !selfc_png_encode(page, map->side_x * MAP_COLUMNS, (int)(map->side_y * rows), map->channels,
                                           (void **)&map->picture, &map->picture_size);
    free(page);
    free(small);
    free(one);
    return is_fine;
}

/* --- the page --- */

/* The part of the picture that shows sample i, for an element of this width. */
static void map_put_position(FileWriter *out, int64_t i, double width, double height) {
    file_print(out, "background-position:%.1fpx %.1fpx", -(double)(i % MAP_COLUMNS) * width,
               -(double)(i / MAP_COLUMNS) * height);
}

/* Small pictures stand 40 units wide; the one of the point that is touched is larger. */
static void map_put_style(FileWriter *out, const Map *map) {
    if (!map->picture) return;
    double height = 40.0 * map->side_y / map->side_x;
    file_print(out,
               "<style>.thumb{display:inline-block;width:40px;height:%.1fpx;background-size:%dpx auto;"
               "%sbackground-image:url(data:image/png;base64,",
               height, 40 * MAP_COLUMNS, map->has_own_pixels ? "image-rendering:pixelated;" : "");
    report_base64(out, map->picture, map->picture_size);
    file_print(out, ")}</style>\n");
}

/* "7: cat" of a picture, "7: cat: cat/a.jpg" of one that has a file of its own, "7: 1: It was a film to remember." of a
 * text; without a class where there are none. */
static void map_put_name(FileWriter *out, const Map *map, int64_t i) {
    int32_t number = map_number(map, i);
    char label[32], text[FEATURES_MOST_TEXT];
    const char *name = selfc_source_name(map->trainer->feed.inputs[0].source[map->split], number);
    file_print(out, "%d", (int)number);
    if (map->labels) file_print(out, ": "), report_text(out, features_class(map->trainer, map->labels[i], label));
    if (name) file_print(out, ": "), report_text(out, name);
    if (features_text(map->trainer, map->split, number, text)) file_print(out, ": "), report_text(out, text);
}

static void map_put_points(FileWriter *out, const Map *map, int kind) {
    const double *places = map->places[kind];
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (int64_t i = 0; i < 2 * map->n; i++) {
        low[i % 2] = fmin(low[i % 2], places[i]);
        high[i % 2] = fmax(high[i % 2], places[i]);
    }
    file_print(out, "<g class=\"%s\">\n", kind ? "tsne" : "pca");
    for (int64_t i = 0; i < map->n; i++) {
        double at[2];
        for (int k = 0; k < 2; k++) {
            double span = high[k] - low[k];
            at[k] = MAP_EDGE + (MAP_SIZE - 2 * MAP_EDGE) * (span > 0 ? (places[2 * i + k] - low[k]) / span : 0.5);
        }
        int colour = map->labels ? (int)((uint32_t)map->labels[i] % MAP_COLOURS) : 0;
        file_print(out, "<circle class=\"k%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\" data-i=\"%d\"><title>", colour, at[0],
                   MAP_SIZE - at[1], (int)i);
        file_print(out, "%s ", map->split == SELFC_TEST ? "test sample" : "sample");
        map_put_name(out, map, i);
        file_print(out, "</title></circle>\n");
    }
    file_print(out, "</g>\n");
}

static void map_put_legend(FileWriter *out, const Map *map) {
    bool is_there[MAP_COLOURS] = {false};
    char text[32];
    int32_t most = 0;
    for (int64_t i = 0; map->labels && i < map->n; i++) most = map->labels[i] > most ? map->labels[i] : most;
    if (!map->labels || most >= MAP_COLOURS) return; /* colours would stand for several classes */
    for (int64_t i = 0; i < map->n; i++) is_there[map->labels[i] < 0 ? 0 : map->labels[i]] = true;
    file_print(out, "<p class=\"legend\">");
    for (int32_t k = 0; k < MAP_COLOURS; k++) {
        if (!is_there[k]) continue;
        file_print(out, "<span><svg viewBox=\"0 0 10 10\"><circle class=\"k%d\" cx=\"5\" cy=\"5\" r=\"5\"/></svg>",
                   (int)k);
        report_text(out, features_class(map->trainer, k, text));
        file_print(out, "</span> ");
    }
    file_print(out, "</p>\n");
}

static const char map_script[] =
    "<script>(function(){var m=document.getElementById('map'),l=document.getElementById('look');"
    "function show(e){var c=e.target;if(c.tagName!='circle')return;var i=+c.dataset.i,t=l.firstChild;"
    "if(t.className=='thumb large')t.style.backgroundPosition=-(i%%%d)*%d+'px '+-Math.floor(i/%d)*%.1f+'px';"
    "l.lastChild.textContent=c.firstChild.textContent}"
    "m.addEventListener('pointerover',show);m.addEventListener('click',show)})()</script>\n";

static void map_put_map(FileWriter *out, const Map *map) {
    enum { LARGE = 112 };
    double height = map->side_x ? (double)LARGE * map->side_y / map->side_x : 0;
    file_print(out, "<h2>Map of features</h2>\n<p>%d %s by the function ", (int)map->n,
               map->split == SELFC_TEST ? "test samples" : "training samples");
    report_text(out, map->features.name);
    file_print(out,
               ", %d numbers each. Touch a point to see what it is.</p>\n<div id=\"map\">"
               "<input type=\"radio\" name=\"map\" id=\"show-tsne\" checked><label for=\"show-tsne\">t-SNE</label>"
               "<input type=\"radio\" name=\"map\" id=\"show-pca\"><label for=\"show-pca\">PCA</label>\n"
               "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"samples by their features\">\n",
               (int)map->d, MAP_SIZE, MAP_SIZE);
    map_put_points(out, map, 1);
    map_put_points(out, map, 0);
    file_print(out, "</svg>\n<div id=\"look\">");
    if (map->picture)
        file_print(out,
                   "<div class=\"thumb large\" style=\"width:%dpx;height:%.1fpx;background-size:%dpx auto\"></div>",
                   LARGE, height, LARGE * MAP_COLUMNS);
    file_print(out, "<div></div></div></div>\n");
    map_put_legend(out, map);
    file_print(out, map_script, MAP_COLUMNS, LARGE, MAP_COLUMNS, height);
}

static double map_likeness(const Map *map, int64_t a, int64_t b) {
    double sum = 0;
    for (int64_t k = 0; k < map->d; k++) sum += map->unit[a * map->d + k] * map->unit[b * map->d + k];
    return sum;
}

/* The most alike first; of equals, the first. */
static void map_find_neighbours(const Map *map, int64_t query, int64_t *found) {
    double likeness[MAP_NEIGHBOURS];
    int count = 0;
    for (int64_t i = 0; i < map->n; i++) {
        if (i == query) continue;
        double own = map_likeness(map, query, i);
        int at = count;
        while (at > 0 && likeness[at - 1] < own) at--;
        if (at == MAP_NEIGHBOURS) continue;
        count += count < MAP_NEIGHBOURS;
        for (int k = count - 1; k > at; k--) likeness[k] = likeness[k - 1], found[k] = found[k - 1];
        likeness[at] = own;
        found[at] = i;
    }
}

static void map_put_picture(FileWriter *out, const Map *map, int64_t i, bool is_other) {
    file_print(out, "<span class=\"thumb%s\" style=\"", is_other ? " other" : "");
    map_put_position(out, i, 40, 40.0 * map->side_y / map->side_x);
    file_print(out, "\" title=\"");
    map_put_name(out, map, i);
    file_print(out, "\"></span>");
}

/* A text as a line of the table. */
static void map_put_text(FileWriter *out, const Map *map, int64_t i, bool is_other) {
    file_print(out, "<div%s>", is_other ? " class=\"other\"" : "");
    map_put_name(out, map, i);
    file_print(out, "</div>");
}

static void map_put_neighbours(FileWriter *out, const Map *map) {
    char text[FEATURES_MOST_TEXT];
    bool is_text = features_text(map->trainer, map->split, 0, text);
    const char *begin = is_text ? "<tr><th>" : "<div>", *between = is_text ? "</th><td>" : "<b></b>",
               *end = is_text ? "</td></tr>\n" : "</div>\n";
    void (*put)(FileWriter *, const Map *, int64_t, bool) = is_text ? map_put_text : map_put_picture;
    if (!is_text && !map->picture) return;
    file_print(
        out,
        "<h2>Nearest neighbours</h2>\n<p>Left a sample, then those of the others on the map whose features have the "
        "smallest angle to its own%s.</p>\n<%s class=\"neighbours\">\n",
        !map->labels ? ""
        : is_text    ? "; those of another class are coloured"
                     : "; those of another class are framed",
        is_text ? "table" : "div");
    for (int64_t i = 0; i < MAP_QUERIES; i++) {
        int64_t found[MAP_NEIGHBOURS], query = i * map->n / MAP_QUERIES;
        map_find_neighbours(map, query, found);
        file_print(out, "%s", begin);
        put(out, map, query, false);
        file_print(out, "%s", between);
        for (int k = 0; k < MAP_NEIGHBOURS; k++)
            put(out, map, found[k], map->labels && map->labels[found[k]] != map->labels[query]);
        file_print(out, "%s", end);
    }
    file_print(out, is_text ? "</table>\n" : "</div>\n");
}

static bool map_make(Map *map) {
    size_t numbers = (size_t)(map->n * map->d);
    map->rows = malloc(numbers * sizeof *map->rows);
    map->unit = malloc(numbers * sizeof *map->unit);
    for (int k = 0; k < 2; k++) map->places[k] = malloc((size_t)(2 * map->n) * sizeof *map->places[k]);
    if (!map->rows || !map->unit || !map->places[0] || !map->places[1])
        return selfc_fail("no memory for the map of features"), false;
    if (!features_run(map->trainer, &map->features, map->split, map->n, map->rows)) return false;
    health_normalise(map->rows, map->n, map->d, map->unit);
    map->labels = features_labels(map->trainer, map->split, map->n);
    if (map_place(map) && map_draw(map)) return true;
    return selfc_fail("no memory for the map of features"), false;
}

bool report_map(FileWriter *out, Trainer *trainer) {
    Map map = {.trainer = trainer};
    if (!features_find(trainer, trainer->module->training.knn.function, &map.features)) return true;
    map.split = trainer->feed.count[SELFC_TEST] >= MAP_LEAST ? SELFC_TEST : SELFC_TRAIN;
    map.n = trainer->feed.count[map.split] < MAP_POINTS ? trainer->feed.count[map.split] : MAP_POINTS;
    map.d = map.features.width;
    if (map.n < MAP_LEAST) return true;
    bool is_fine = map_make(&map);
    if (is_fine) {
        map_put_style(out, &map);
        map_put_map(out, &map);
        map_put_neighbours(out, &map);
    }
    free(map.rows);
    free(map.unit);
    free(map.places[0]);
    free(map.places[1]);
    free(map.labels);
    free(map.picture);
    return is_fine;
}
