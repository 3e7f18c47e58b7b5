/* Charts of report.html as inline SVG: a value over epochs, for training and test data. The drawing grows and shrinks
 * with the page; style in report.c keeps its letters readable on a phone. */
#include "runtime/data/file.h"
#include "runtime/train/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    double x, y;
} Point;
typedef struct {
    Point *points;
    size_t count;
} Curve;

/* The points of one curve over epochs. Lines that end an epoch carry means of the epoch beside the test values: they
 * are left out of the training curve, which has the finer lines already. */
static Curve report_curve(const Metrics *metrics, ReportKind kind, uint32_t report) {
    Curve curve = {.points = calloc(metrics->count + 1, sizeof(Point))};
    for (size_t i = 0; curve.points && i < metrics->count; i++) {
        const Record *record = &metrics->records[i];
        bool is_repeated = i > 0 && record->step == metrics->records[i - 1].step;
        if (kind == REPORT_test ? !record->test : is_repeated && kind != REPORT_extra) continue;
        double y = kind == REPORT_extra   ? record->extras[report]
                   : kind == REPORT_speed ? record->samples_per_second
                   : kind == REPORT_test  ? record->test[report]
                                          : record->values[report];
        if (isfinite(y)) curve.points[curve.count++] = (Point){record->epoch, y};
    }
    return curve;
}

typedef struct {
    double x0, x1, y0, y1; /* of the values */
} Range;
enum { CHART_WIDTH = 480, CHART_HEIGHT = 200, CHART_LEFT = 52, CHART_RIGHT = 10, CHART_TOP = 8, CHART_BOTTOM = 40 };

/* Far outside, a coordinate is as good as any other there. */
static double report_inside(double at) { return fmin(fmax(at, -10 * CHART_HEIGHT), 10 * CHART_HEIGHT); }

static double report_x(const Range *range, double x) {
    return CHART_LEFT + (x - range->x0) / (range->x1 - range->x0) * (CHART_WIDTH - CHART_LEFT - CHART_RIGHT);
}
static double report_y(const Range *range, double y) {
    double share = (range->y1 - y) / (range->y1 - range->y0);
    return report_inside(CHART_TOP + share * (CHART_HEIGHT - CHART_TOP - CHART_BOTTOM));
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

/* "250", "0.05", "12.5k", "1.2M": as many places as ticks of this distance need. */
static void report_tick_text(char text[64], double value, double step) {
    static const struct {
        double least, unit;
        const char *letter;
    } units[] = {{1e9, 1e9, "G"}, {1e6, 1e6, "M"}, {1e4, 1e3, "k"}};
    double unit = 1;
    const char *letter = "";
    for (int i = 2; i >= 0; i--)
        if (fabs(value) >= units[i].least) unit = units[i].unit, letter = units[i].letter;
    int places = (int)fmax(0, ceil(-log10(step / unit) - 1e-6));
    if (fabs(value) < step / 1e6) value = 0;
    if (places > 6 || fabs(value) >= 1e13)
        snprintf(text, 64, "%.4g", value);
    else
        snprintf(text, 64, "%.*f%s", value == 0 ? 0 : places, value / unit, letter);
}

static void report_axes(FileWriter *out, const Range *range) {
    char text[64];
    double step = report_tick(range->y1 - range->y0, 4);
    for (double y = ceil(range->y0 / step) * step; y <= range->y1; y += step) {
        double at = report_y(range, y);
        report_tick_text(text, y, step);
        file_print(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", CHART_LEFT,
                   CHART_WIDTH - CHART_RIGHT, at, at);
        file_print(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", CHART_LEFT - 6, at + 3, text);
    }
    step = report_tick(range->x1 - range->x0, 6);
    for (double x = 0; x <= range->x1 * 1.0001; x += step) {
        report_tick_text(text, x, step);
        bool is_at_edge = report_x(range, x) > CHART_WIDTH - CHART_RIGHT - 10;
        file_print(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>\n",
                   is_at_edge ? CHART_WIDTH - 1 : report_x(range, x), CHART_HEIGHT - CHART_BOTTOM + 16,
                   is_at_edge ? "end" : "middle", text);
    }
    file_print(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">epochs</text>\n",
               (CHART_LEFT + CHART_WIDTH - CHART_RIGHT) / 2, CHART_HEIGHT - 5);
}

static void report_line(FileWriter *out, const Range *range, const Curve *curve, const char *class) {
    enum { REPORT_POINTS = 800, REPORT_DOTS = 60 };
    size_t every = curve->count / REPORT_POINTS + 1;
    file_print(out, "<polyline class=\"%s\" points=\"", class);
    for (size_t i = 0; i < curve->count; i++)
        if (i % every == 0 || i + 1 == curve->count)
            file_print(out, "%.1f,%.1f ", report_x(range, curve->points[i].x), report_y(range, curve->points[i].y));
    file_print(out, "\"/>\n");
    for (size_t i = 0; !strcmp(class, "test") && i < curve->count && curve->count < REPORT_DOTS; i++)
        file_print(
            out, "<circle class=\"test\" r=\"2.2\" cx=\"%.1f\" cy=\"%.1f\"><title>epoch %.4g: %.6g</title></circle>\n",
            report_x(range, curve->points[i].x), report_y(range, curve->points[i].y), curve->points[i].x,
            curve->points[i].y);
}

static bool report_is_outside(const Range *range, Point point) { return point.y > range->y1 || point.y < range->y0; }

/* A curve that leaves the chart says how far it goes, where it comes back. */
static void report_outside(FileWriter *out, const Range *range, const Curve *curve) {
    size_t most = curve->count;
    for (size_t i = 0; i < curve->count; i++)
        if (report_is_outside(range, curve->points[i]) &&
            (most == curve->count || fabs(curve->points[i].y) > fabs(curve->points[most].y)))
            most = i;
    if (most == curve->count) return;
    size_t back = most;
    while (back + 1 < curve->count && report_is_outside(range, curve->points[back])) back++;
    Point point = curve->points[most];
    bool is_above = point.y > range->y1;
    file_print(out, "<text class=\"outside\" x=\"%.1f\" y=\"%d\">%s %.4g at epoch %.2g</text>\n",
               fmin(report_x(range, curve->points[back].x) + 8, CHART_WIDTH - 160),
               is_above ? CHART_TOP + 12 : CHART_HEIGHT - CHART_BOTTOM - 6, is_above ? "↑" : "↓", point.y, point.x);
}

static void report_drawing(FileWriter *out, const char *name, const Curve curves[2]) {
    Range range = report_range(curves, 2);
    int width = CHART_WIDTH - CHART_LEFT - CHART_RIGHT, height = CHART_HEIGHT - CHART_TOP - CHART_BOTTOM;
    file_print(out, "<svg class=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", CHART_WIDTH, CHART_HEIGHT);
    report_text(out, name);
    file_print(out, " over epochs\">\n");
    report_axes(out, &range);
    /* A drawing in the drawing cuts off what leaves it; a little is left around for lines along its edge. */
    file_print(out, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" viewBox=\"%d %d %d %d\">\n", CHART_LEFT,
               CHART_TOP, width + 4, height, CHART_LEFT, CHART_TOP, width + 4, height);
    report_line(out, &range, &curves[0], "train");
    if (curves[1].count) report_line(out, &range, &curves[1], "test");
    file_print(out, "</svg>\n");
    report_outside(out, &range, &curves[0]);
    file_print(out, "</svg>\n");
}

/* A learning rate that stays the same is no curve. */
static bool report_varies(const Curve *curve) {
    for (size_t i = 1; i < curve->count; i++)
        if (curve->points[i].y != curve->points[0].y) return true;
    return false;
}

void report_chart(FileWriter *out, const Metrics *metrics, const char *name, ReportKind kind, uint32_t report) {
    Curve curves[2] = {report_curve(metrics, kind, report), {0}};
    if (kind == REPORT_train) curves[1] = report_curve(metrics, REPORT_test, report);
    if (curves[0].points && curves[0].count > 1 && (kind != REPORT_extra || report_varies(&curves[0]))) {
        file_print(out, "<h2>");
        report_text(out, name);
        if (curves[1].count) file_print(out, " <span class=\"train\">training</span> <span class=\"test\">test</span>");
        file_print(out, "</h2>\n");
        report_drawing(out, name, curves);
    }
    free(curves[0].points);
    free(curves[1].points);
}
