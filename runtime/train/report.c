/* report.html: one file that opens from disk without a network: the numbers at the end, curves as inline SVG, the
 * pictures embedded, the description. Colours follow the reader's light or dark setting; it fits a phone. */
#include "runtime/train/report.h"

#include <stdlib.h>
#include <string.h>

static const char report_style[] =
    ":root{color-scheme:light dark;"
    "--page:#fff;--text:#1c1c1e;--faint:#6b6b70;--line:#dcdce0;--train:#2563c9;--test:#b85410}\n"
    "@media(prefers-color-scheme:dark){:root{"
    "--page:#151517;--text:#ececf0;--faint:#9a9aa2;--line:#36363c;--train:#6ea8ff;--test:#ffa45c}}\n"
    "body{background:var(--page);color:var(--text);font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;"
    "padding:1rem}\n"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}\n"
    "h2 span{font-size:.85rem;font-weight:400;margin-left:.75rem}h2 .train{color:var(--train)}h2 .test{"
    "color:var(--test)}\n"
    ".chart{width:100%;height:auto;display:block}.chart text{fill:var(--faint);font:8.5px system-ui,sans-serif}\n"
    "@media(max-width:600px){.chart text{font-size:15px}.chart line,.chart polyline{stroke-width:2}}\n"
    ".axis{stroke:var(--line)}polyline{fill:none;stroke-width:1.2;stroke-linejoin:round}\n"
    "polyline.train{stroke:var(--train)}polyline.test{stroke:var(--test)}circle.test{fill:var(--test)}\n"
    ".alarm{border:2px solid var(--test);border-radius:4px;padding:.5rem .75rem}\n"
    "#map svg{width:100%;height:auto;display:block;background:color-mix(in srgb,var(--line) "
    "25%,transparent);border-radius:4px}\n"
    "#map label{margin:0 1rem 0 .25rem}#map circle{opacity:.8;stroke:var(--page);stroke-width:.5}\n"
    "#show-tsne:checked~svg .pca,#show-pca:checked~svg .tsne{display:none}\n"
    "#look{display:flex;gap:1rem;align-items:center;min-height:7.5rem;color:var(--faint)}.legend "
    "span{margin-right:.75rem;"
    "white-space:nowrap}.legend svg{width:.75em;height:.75em;margin-right:.3em}\n"
    ".k0{fill:#4269d0}.k1{fill:#e08a00}.k2{fill:#e0453f}.k3{fill:#2aa198}.k4{fill:#3c9d3c}.k5{fill:#e0559a}.k6{fill:#"
    "9a5bd0}"
    ".k7{fill:#8a6a3f}.k8{fill:#7f8288}.k9{fill:#17b3e6}\n"
    ".neighbours{overflow-x:auto;white-space:nowrap}.neighbours .thumb{margin:1px 2px;outline:2px solid transparent}"
    ".neighbours .other{outline-color:var(--test)}.neighbours b{display:inline-block;width:10px}\n"
    "table.neighbours{white-space:normal;font-size:.9rem}.neighbours div.other{color:var(--test)}\n"
    ".bar{height:.35rem;background:var(--train);border-radius:2px}.profile th,.profile td{width:auto}"
    ".profile td:nth-child(2){width:30%}.profile "
    "td:nth-child(3){width:4rem;text-align:right;white-space:nowrap}small{color:var(--faint)}\n"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .5rem .25rem 0;"
    "border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums;overflow-wrap:anywhere}th{width:40%}\n"
    "img{width:100%;image-rendering:pixelated;border-radius:4px}figure{margin:1rem 0}\n"
    "figcaption{color:var(--faint);font-size:.9rem}\n"
    "pre{overflow-x:auto;font-size:.8rem;background:color-mix(in srgb,var(--line) 35%,transparent);padding:.75rem;"
    "border-radius:4px}\n";

static const struct {
    const char *file, *caption;
} report_picture[] = {
    {"samples.png", "Samples: codes drawn from the normal distribution, decoded."},
    {"plane.png", "The plane of codes: each axis goes through the quantiles of the normal distribution."},
    {"reconstructions.png", "Reconstructions: what went in, and below it what came back."},
};
enum { REPORT_PICTURES = sizeof report_picture / sizeof *report_picture };

void report_text(FileWriter *out, const char *text) {
    for (; *text; text++) {
        if (*text == '<')
            file_print(out, "&lt;");
        else if (*text == '"')
            file_print(out, "&quot;");
        else if (*text == '&')
            file_print(out, "&amp;");
        else
            file_write(out, text, 1);
    }
}

void report_base64(FileWriter *out, const unsigned char *bytes, size_t size) {
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

const char *report_extra_title(const char *name) {
    static const char *const titles[][2] = {
        {"feature_std", "spread of features (1: everywhere, 0: collapsed)"},
        {"effective_rank", "effective rank of features"},
        {"alignment", "alignment of two views (smaller is better)"},
        {"uniformity", "uniformity of features (smaller is better)"},
        {"gradient_norm", "length of the gradients"},
        {"learning_rate", "learning rate"},
        {"knn_accuracy", "accuracy of nearest neighbours on test data"},
    };
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (!strcmp(titles[i][0], name)) return titles[i][1];
    return name;
}

static void report_alarm(FileWriter *out, const Metrics *metrics) {
    for (size_t i = 0; i < metrics->count; i++) {
        if (!metrics->records[i].has_collapsed) continue;
        file_print(
            out,
            "<p class=\"alarm\">From epoch %.3g on (step %lld) the features had collapsed: those of all samples were "
            "nearly the same. What was learned tells nothing apart.</p>\n",
            metrics->records[i].epoch, (long long)metrics->records[i].step);
        return;
    }
}

static void report_charts(FileWriter *out, const Metrics *metrics) {
    for (uint32_t i = 0; i < metrics->name_count; i++)
        report_chart(out, metrics, metrics_name(metrics, i), REPORT_train, i);
    for (uint32_t i = 0; i < metrics->extra_count; i++)
        report_chart(out, metrics, report_extra_title(metrics->extras[i]), REPORT_extra, i);
    report_chart(out, metrics, "samples per second", REPORT_speed, 0);
}

bool report_write(Trainer *trainer) {
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
    report_about(&out, trainer);
    report_alarm(&out, metrics);
    report_facts(&out, trainer);
    report_charts(&out, metrics);
    if (!report_map(&out, trainer) || !report_views(&out, trainer)) return file_abandon(&out), false;
    for (int i = 0; i < REPORT_PICTURES && is_fine; i++) is_fine = report_embed(&out, trainer->folder, i);
    if (!is_fine) return file_abandon(&out), false;
    report_profile(&out, trainer);
    file_print(&out, "<h2>Description</h2>\n<details><summary>the model as it was trained</summary><pre>");
    report_text(&out, trainer->module->description ? trainer->module->description : "");
    file_print(&out, "</pre></details>\n</body></html>\n");
    return !file_commit(&out);
}
