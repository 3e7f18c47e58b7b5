/* The table of report.html: what was trained, on which data, where, and how it ended. Purpose and optimiser are
 * read from the description, which is the JSON that the compiler wrote. */
#include "runtime/data/json_scan.h"
#include "runtime/train/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Passes over any value: a text, something in brackets, or what goes on to the next comma or bracket. */
static bool report_skip_value(JsonScan *scan) {
    int depth = 0;
    do {
        json_skip_space(scan);
        if (scan->at == scan->end) return false;
        char letter = *scan->at;
        bool opens = letter == '{' || letter == '[', closes = letter == '}' || letter == ']';
        depth += opens - closes;
        if (letter == '"' && !json_skip_string(scan)) return false;
        if (letter != '"') scan->at++;
        bool is_word = letter != '"' && !opens && !closes;
        while (is_word && scan->at < scan->end && !strchr(",:{}[]\" \t\r\n", *scan->at)) scan->at++;
    } while (depth > 0);
    return true;
}

/* Goes to the value of `key` in the object that stands next. */
static bool report_find(JsonScan *scan, const char *key) {
    char name[64];
    if (!json_take(scan, '{')) return false;
    do {
        JsonScan ahead = *scan;
        bool is_short = json_string_into(&ahead, name, sizeof name);
        if (!json_skip_string(scan) || !json_take(scan, ':')) return false;
        if (is_short && !strcmp(name, key)) return true;
    } while (report_skip_value(scan) && json_take(scan, ','));
    return false;
}

/* The text at the end of a path of up to three keys; NULL: there is none. free(). */
static char *report_described(const Trainer *trainer, const char *const path[3]) {
    const char *text = trainer->module->description ? trainer->module->description : "";
    JsonScan scan = json_begin(text, strlen(text));
    for (int i = 0; i < 3 && path[i]; i++)
        if (!report_find(&scan, path[i])) return NULL;
    return json_string(&scan);
}

void report_about(FileWriter *out, const Trainer *trainer) {
    char *about = report_described(trainer, (const char *const[3]){"about"});
    if (about) file_print(out, "<p>"), report_text(out, about), file_print(out, "</p>\n");
    free(about);
}

static void report_row(FileWriter *out, const char *name, const char *text) {
    file_print(out, "<tr><th>");
    report_text(out, name);
    file_print(out, "</th><td>");
    report_text(out, text);
    file_print(out, "</td></tr>\n");
}

static void report_number(FileWriter *out, const char *name, const char *format, double value) {
    char text[64];
    snprintf(text, sizeof text, format, value);
    report_row(out, name, text);
}

/* "404,244" */
static void report_count(FileWriter *out, const char *name, int64_t value) {
    char digits[32], text[48];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)value), used = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) text[used++] = ',';
        text[used++] = digits[i];
    }
    text[used] = 0;
    report_row(out, name, text);
}

static void report_date(FileWriter *out) {
    char text[64];
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local) && strftime(text, sizeof text, "%Y-%m-%d %H:%M %z", &local))
        report_row(out, "date", text);
}

/* "model name : …" of /proc/cpuinfo; some systems do not say. */
static void report_processor(FileWriter *out) {
    char line[256];
    FILE *in = fopen("/proc/cpuinfo", "re");
    while (in && fgets(line, sizeof line, in)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon) continue;
        line[strcspn(line, "\n")] = 0;
        report_row(out, "processor", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (in) fclose(in);
}

/* Each source once. */
static void report_data(FileWriter *out, const Trainer *trainer) {
    const SelfcTraining *training = &trainer->module->training;
    const char *data = trainer->options->data, *before = NULL;
    for (uint32_t i = 0; i < (data ? 1 : training->data_count); i++) {
        const SelfcDataSpec *spec = &training->data[i];
        const char *name = data ? data : spec->path ? spec->path : spec->source;
        if (name && (!before || strcmp(before, name))) report_row(out, "data", name);
        before = name;
    }
}

static void report_training(FileWriter *out, const Trainer *trainer) {
    char seed[32], *optimizer = report_described(trainer, (const char *const[3]){"training", "optimizer", "name"});
    if (!optimizer) optimizer = report_described(trainer, (const char *const[3]){"training", "optimizer"});
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)trainer->seed);
    report_data(out, trainer);
    report_count(out, "training samples", trainer->feed.count[SELFC_TRAIN]);
    report_count(out, "parameters", progress_parameters(trainer->module));
    if (optimizer) report_row(out, "optimiser", optimizer);
    report_count(out, "batch", trainer->train.capacity);
    report_count(out, "steps", trainer->step);
    report_number(out, "epochs", "%.4g", (double)trainer->step / (double)trainer->epoch_steps);
    report_row(out, "seed", seed);
    report_count(out, "threads", selfc_pool_threads(trainer->session->pool));
    report_number(out, "seconds of training", "%.2f", trainer->seconds);
    if (trainer->seconds > 0)
        report_count(out, "samples per second",
                     (int64_t)((double)(trainer->step * trainer->train.capacity) / trainer->seconds));
    free(optimizer);
}

static void report_results(FileWriter *out, const Metrics *metrics) {
    const Record *last = metrics->count ? &metrics->records[metrics->count - 1] : NULL, *test = NULL;
    for (size_t i = 0; i < metrics->count; i++)
        if (metrics->records[i].test) test = &metrics->records[i];
    for (uint32_t i = 0; last && i < metrics->name_count; i++)
        report_number(out, metrics_name(metrics, i), "%.6g", last->values[i]);
    for (uint32_t i = 0; test && i < metrics->name_count; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s on test data", metrics_name(metrics, i));
        report_number(out, name, "%.6g", test->test[i]);
    }
}

/* What was measured now and then, as it was last. */
static void report_extras(FileWriter *out, const Metrics *metrics) {
    for (uint32_t extra = 0; extra < metrics->extra_count; extra++)
        for (size_t i = metrics->count; i--;) {
            double value = metrics->records[i].extras[extra];
            if (isnan(value)) continue;
            char name[256];
            long long step = (long long)metrics->records[i].step;
            snprintf(name, sizeof name, i + 1 < metrics->count ? "%s, at step %lld" : "%s",
                     report_extra_title(metrics->extras[extra]), step);
            report_number(out, name, "%.4g", value);
            break;
        }
}

void report_facts(FileWriter *out, const Trainer *trainer) {
    file_print(out, "<table>\n");
    report_results(out, &trainer->metrics);
    report_extras(out, &trainer->metrics);
    report_training(out, trainer);
    report_processor(out);
    report_date(out);
    report_row(out, "made by", "selfc " SELFC_VERSION);
    file_print(out, "</table>\n");
}
