/* report.html: one file that opens from disk without a network: the numbers at the end, curves as inline SVG, the
 * pictures embedded, the description. Colours follow the reader's light or dark setting; it fits a phone. */
#include "runtime/data/file.h"
#include "runtime/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char report_style[] =
    ":root{color-scheme:light "
    "dark;--page:#fff;--text:#1c1c1e;--faint:#6b6b70;--line:#dcdce0;--train:#2563c9;--test:#d2691e}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#151517;--text:#ececf0;--faint:#9a9aa2;--line:#36363c;--train:#"
    "6ea8ff;--test:#ffa45c}}\n"
    "body{background:var(--page);color:var(--text);font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:0 "
    "auto;padding:1rem}\n"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}svg{width:100%;height:auto;display:block}\n"
    "svg text{fill:var(--faint);font:11px system-ui,sans-serif}.axis{stroke:var(--line)}\n"
    ".train,.test{fill:none;stroke-width:1.6;stroke-linejoin:round}.train{stroke:var(--train)}.test{stroke:var(--test)}"
    "\n"
    "circle.test{fill:var(--test);stroke:none}svg text.train{fill:var(--train)}svg text.test{fill:var(--test)}\n"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .5rem .25rem 0;border-bottom:1px "
    "solid var(--line);font-variant-numeric:tabular-nums}\n"
    "img{width:100%;image-rendering:pixelated;border-radius:4px}figure{margin:1rem "
    "0}figcaption{color:var(--faint);font-size:.9rem}\n"
    "pre{overflow-x:auto;font-size:.8rem;background:color-mix(in srgb,var(--line) "
    "35%,transparent);padding:.75rem;border-radius:4px}\n";

static const struct {
    const char *file, *caption;
} report_picture[] = {
    {"samples.png", "Samples: codes drawn from the normal distribution, decoded."},
    {"plane.png", "The plane of codes: each axis goes through the quantiles of the normal distribution."},
    {"reconstructions.png", "Reconstructions: what went in, and below it what came back."},
};
enum { REPORT_PICTURES = sizeof report_picture / sizeof *report_picture };

static void report_text(FileWriter *out, const char *text) {
    for (; *text; text++) {
        if (*text == '<')
            file_print(out, "&lt;");
        else if (*text == '&')
            file_print(out, "&amp;");
        else
            file_write(out, text, 1);
    }
}

typedef struct {
    double x, y;
} Point;
typedef struct {
    Point *points;
    size_t count;
} Curve;

typedef enum { REPORT_train, REPORT_test, REPORT_speed } CurveKind;

/* The points of one curve over epochs. Lines that end an epoch carry means of the epoch beside the test values: they
 * are left out of the training curve, which has the finer lines already. */
static Curve report_curve(const Metrics *metrics, CurveKind kind, uint32_t report) {
    Curve curve = {.points = calloc(metrics->count + 1, sizeof(Point))};
    for (size_t i = 0; curve.points && i < metrics->count; i++) {
        const Record *record = &metrics->records[i];
        bool is_repeated = i > 0 && record->step == metrics->records[i - 1].step;
        if (kind == REPORT_test ? !record->test : is_repeated) continue;
        double y = kind == REPORT_speed  ? record->samples_per_second
                   : kind == REPORT_test ? record->test[report]
                                         : record->values[report];
        if (isfinite(y)) curve.points[curve.count++] = (Point){record->epoch, y};
    }
    return curve;
}

typedef struct {
    double x0, x1, y0, y1; /* of the values */
} Range;
enum { CHART_WIDTH = 640, CHART_HEIGHT = 240, CHART_LEFT = 56, CHART_RIGHT = 12, CHART_TOP = 12, CHART_BOTTOM = 28 };

static double report_x(const Range *range, double x) {
    return CHART_LEFT + (x - range->x0) / (range->x1 - range->x0) * (CHART_WIDTH - CHART_LEFT - CHART_RIGHT);
}
static double report_y(const Range *range, double y) {
    return CHART_TOP + (range->y1 - y) / (range->y1 - range->y0) * (CHART_HEIGHT - CHART_TOP - CHART_BOTTOM);
}

/* Covers all of both curves, but for the first hundredth of the training, which would press the rest flat. */
static Range report_range(const Curve *curves, int count) {
    Range range = {0, 1e-9, INFINITY, -INFINITY};
    for (int c = 0; c < count; c++)
        for (size_t i = 0; i < curves[c].count; i++) {
            Point point = curves[c].points[i];
            range.x1 = fmax(range.x1, point.x);
            if (i < curves[c].count / 50 + (curves[c].count > 8)) continue;
            range.y0 = fmin(range.y0, point.y);
            range.y1 = fmax(range.y1, point.y);
        }
    if (range.y0 > range.y1) range.y0 = 0, range.y1 = 1;
    double margin = (range.y1 - range.y0) * 0.06 + fabs(range.y1) * 1e-6 + 1e-12;
    range.y0 -= margin;
    range.y1 += margin;
    return range;
}

/* 1, 2 or 5 times a power of ten, so that about `count` fit into the span. */
static double report_tick(double span, int count) {
    double power = pow(10, floor(log10(span / count))), rest = span / count / power;
    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

static void report_axes(FileWriter *out, const Range *range) {
    double step = report_tick(range->y1 - range->y0, 4);
    for (double y = ceil(range->y0 / step) * step; y <= range->y1; y += step) {
        double at = report_y(range, y);
        file_print(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", CHART_LEFT,
                   CHART_WIDTH - CHART_RIGHT, at, at);
        file_print(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", CHART_LEFT - 6, at + 4,
                   fabs(y) < step / 1e6 ? 0 : y);
    }
    step = report_tick(range->x1 - range->x0, 8);
    for (double x = 0; x <= range->x1 * 1.0001; x += step)
        file_print(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n", report_x(range, x),
                   CHART_HEIGHT - 10, x);
}

static void report_line(FileWriter *out, const Range *range, const Curve *curve, const char *class) {
    enum { REPORT_POINTS = 800 };
    size_t every = curve->count / REPORT_POINTS + 1;
    file_print(out, "<polyline class=\"%s\" points=\"", class);
    for (size_t i = 0; i < curve->count; i++) {
        if (i % every && i + 1 != curve->count) continue;
        double y = fmin(fmax(curve->points[i].y, range->y0), range->y1);
        file_print(out, "%.1f,%.1f ", report_x(range, curve->points[i].x), report_y(range, y));
    }
    file_print(out, "\"/>\n");
    for (size_t i = 0; !strcmp(class, "test") && i < curve->count && curve->count < 60; i++)
        file_print(
            out, "<circle class=\"test\" r=\"2.6\" cx=\"%.1f\" cy=\"%.1f\"><title>epoch %.4g: %.6g</title></circle>\n",
            report_x(range, curve->points[i].x), report_y(range, fmin(fmax(curve->points[i].y, range->y0), range->y1)),
            curve->points[i].x, curve->points[i].y);
}

static void report_chart(FileWriter *out, const Metrics *metrics, const char *name, CurveKind kind, uint32_t report) {
    Curve curves[2] = {report_curve(metrics, kind, report), {0}};
    if (kind == REPORT_train) curves[1] = report_curve(metrics, REPORT_test, report);
    if (curves[0].points && curves[0].count > 1) {
        Range range = report_range(curves, 2);
        file_print(out, "<h2>");
        report_text(out, name);
        file_print(out, "</h2>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", CHART_WIDTH, CHART_HEIGHT);
        report_text(out, name);
        file_print(out, " over epochs\">\n");
        report_axes(out, &range);
        report_line(out, &range, &curves[0], "train");
        if (curves[1].count) {
            report_line(out, &range, &curves[1], "test");
            file_print(out, "<text class=\"train\" x=\"%d\" y=\"22\" text-anchor=\"end\">training</text>",
                       CHART_WIDTH - 60);
            file_print(out, "<text class=\"test\" x=\"%d\" y=\"22\" text-anchor=\"end\">test</text>", CHART_WIDTH - 24);
        }
        file_print(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">epochs</text>\n</svg>\n",
                   CHART_WIDTH - CHART_RIGHT, CHART_HEIGHT - 30);
    }
    free(curves[0].points);
    free(curves[1].points);
}

static void report_row(FileWriter *out, const char *name, const char *format, double value) {
    file_print(out, "<tr><th>");
    report_text(out, name);
    char text[64];
    snprintf(text, sizeof text, format, value);
    file_print(out, "</th><td>%s</td></tr>\n", text);
}

static void report_table(FileWriter *out, const Trainer *trainer) {
    const Metrics *metrics = &trainer->metrics;
    const Record *last = metrics->count ? &metrics->records[metrics->count - 1] : NULL, *test = NULL;
    for (size_t i = 0; i < metrics->count; i++)
        if (metrics->records[i].test) test = &metrics->records[i];
    file_print(out, "<table>\n");
    report_row(out, "steps", "%.0f", (double)trainer->step);
    report_row(out, "epochs", "%.4g", (double)trainer->step / (double)trainer->epoch_steps);
    report_row(out, "batch", "%.0f", (double)trainer->train.capacity);
    report_row(out, "training samples", "%.0f", (double)trainer->feed.count[SELFC_TRAIN]);
    report_row(out, "seed", "%.0f", (double)trainer->seed);
    report_row(out, "threads", "%.0f", selfc_pool_threads(trainer->session->pool));
    report_row(out, "seconds of training", "%.2f", trainer->seconds);
    if (trainer->seconds > 0)
        report_row(out, "samples per second", "%.0f",
                   (double)(trainer->step * trainer->train.capacity) / trainer->seconds);
    for (uint32_t i = 0; last && i < metrics->name_count; i++)
        report_row(out, metrics_name(metrics, i), "%.6g", last->values[i]);
    for (uint32_t i = 0; test && i < metrics->name_count; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s on test data", metrics_name(metrics, i));
        report_row(out, name, "%.6g", test->test[i]);
    }
    file_print(out, "</table>\n");
}

static void report_base64(FileWriter *out, const unsigned char *bytes, size_t size) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits =
            (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        char group[4] = {letters[bits >> 18], letters[bits >> 12 & 63], left > 1 ? letters[bits >> 6 & 63] : '=',
                         left > 2 ? letters[bits & 63] : '='};
        file_write(out, group, sizeof group);
    }
}

static bool report_embed(FileWriter *out, const char *folder, int picture) {
    void *bytes;
    size_t size;
    char *path = file_join(folder, report_picture[picture].file);
    bool is_fine = true;
    if (file_exists(path)) {
        is_fine = !selfc_file_read(path, &bytes, &size);
        if (is_fine) {
            file_print(out, "<figure><img alt=\"%s\" src=\"data:image/png;base64,", report_picture[picture].caption);
            report_base64(out, bytes, size);
            file_print(out, "\"><figcaption>%s</figcaption></figure>\n", report_picture[picture].caption);
            free(bytes);
        }
    }
    free(path);
    return is_fine;
}

bool report_write(const Trainer *trainer) {
    FileWriter out;
    const Metrics *metrics = &trainer->metrics;
    char *path = file_join(trainer->folder, "report.html");
    bool is_fine = file_begin(&out, path);
    free(path);
    if (!is_fine) return false;
    file_print(&out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                     "content=\"width=device-width,initial-scale=1\">\n<title>");
    report_text(&out, trainer->module->name);
    file_print(&out, "</title>\n<style>\n%s</style></head><body>\n<h1>", report_style);
    report_text(&out, trainer->module->name);
    file_print(&out, "</h1>\n");
    report_table(&out, trainer);
    for (uint32_t i = 0; i < metrics->name_count; i++)
        report_chart(&out, metrics, metrics_name(metrics, i), REPORT_train, i);
    report_chart(&out, metrics, "samples per second", REPORT_speed, 0);
    for (int i = 0; i < REPORT_PICTURES && is_fine; i++) is_fine = report_embed(&out, trainer->folder, i);
    if (!is_fine) return file_abandon(&out), false;
    file_print(&out, "<h2>Description</h2>\n<details><summary>the model as it was trained</summary><pre>");
    report_text(&out, trainer->module->description ? trainer->module->description : "");
    file_print(&out, "</pre></details>\n</body></html>\n");
    return !file_commit(&out);
}
