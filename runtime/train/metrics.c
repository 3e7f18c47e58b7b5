/* metrics.jsonl: one JSON object a line, whole or not at all. A line that does not fit on the disk is taken back. When
 * a run goes on from a checkpoint, lines from beyond it are dropped: those steps will be done again. */
#include "runtime/train/trainer.h"
#include "runtime/data/file.h"
#include "runtime/data/json_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *metrics_name(const Metrics *metrics, uint32_t report) {
    return report == 0 ? "loss" : metrics->names[report];
}

int metrics_extra(const Metrics *metrics, const char *name) {
    for (uint32_t i = 0; i < metrics->extra_count; i++)
        if (!strcmp(metrics->extras[i], name)) return (int)i;
    return -1;
}

/* Extras are kept as f32, as they stand in the file, so that a run that goes on has the same. */
static bool metrics_add(Metrics *metrics, const Record *record) {
    if (metrics->count == metrics->capacity) {
        size_t capacity = metrics->capacity ? 2 * metrics->capacity : 256;
        Record *larger = realloc(metrics->records, capacity * sizeof *larger);
        if (!larger) return selfc_fail("no memory for the metrics"), false;
        metrics->records = larger;
        metrics->capacity = capacity;
    }
    size_t bytes = metrics->name_count * sizeof(double), extra_bytes = metrics->extra_count * sizeof(double);
    double *values = malloc(2 * bytes + extra_bytes + 1);
    if (!values) return selfc_fail("no memory for the metrics"), false;
    Record *copy = &metrics->records[metrics->count++];
    *copy = *record;
    copy->values = memcpy(values, record->values, bytes);
    copy->extras = memcpy(values + 2 * metrics->name_count, record->extras, extra_bytes);
    for (uint32_t i = 0; i < metrics->extra_count; i++) copy->extras[i] = (float)copy->extras[i];
    copy->test = record->test ? memcpy(values + metrics->name_count, record->test, bytes) : NULL;
    return true;
}

static void metrics_put_number(FILE *out, double number) {
    if (isfinite(number))
        fprintf(out, "%.9g", number);
    else
        fputs("null", out);
}

/* As few digits, from 7 on, as give the same f32 back. */
static void metrics_put_extra(FILE *out, float number) {
    char text[32];
    for (int digits = 7; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)number);
        if (strtof(text, NULL) == number) break;
    }
    fputs(isfinite(number) ? text : "null", out);
}

static void metrics_put_values(FILE *out, const Metrics *metrics, const char *prefix, const double *values) {
    for (uint32_t i = 0; i < metrics->name_count; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s", prefix, metrics_name(metrics, i));
        fputs(", ", out);
        json_put_string(out, name);
        fputs(": ", out);
        metrics_put_number(out, values[i]);
    }
}

static void metrics_put_line(FILE *out, const Metrics *metrics, const Record *record) {
    fprintf(out, "{\"step\": %lld, \"epoch\": %.6g", (long long)record->step, record->epoch);
    metrics_put_values(out, metrics, "", record->values);
    if (record->test) metrics_put_values(out, metrics, "test_", record->test);
    for (uint32_t i = 0; i < metrics->extra_count; i++) {
        if (isnan(record->extras[i])) continue;
        fprintf(out, ", \"%s\": ", metrics->extras[i]);
        metrics_put_extra(out, (float)record->extras[i]);
    }
    if (record->has_collapsed) fputs(", \"alarm\": \"collapse\"", out);
    fprintf(out, ", \"seconds\": %.6f, \"samples_per_second\": %.6g, \"data_wait\": %.4g}\n", record->seconds,
            record->samples_per_second, record->data_wait);
}

static bool metrics_fail_write(const Metrics *metrics) {
    selfc_fail("cannot write %s: %s", metrics->path, strerror(errno));
    return false;
}

static bool metrics_write_line(Metrics *metrics, const char *line, size_t length) {
    off_t start = lseek(metrics->file, 0, SEEK_END);
    for (size_t used = 0; used < length;) {
        ssize_t wrote = write(metrics->file, line + used, length - used);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) {
            metrics_fail_write(metrics);
            if (start >= 0 && ftruncate(metrics->file, start)) return false;
            return false;
        }
        used += (size_t)wrote;
    }
    return true;
}

bool metrics_append(Metrics *metrics, const Record *record) {
    char *line = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&line, &length);
    if (!out) return selfc_fail("no memory for the metrics"), false;
    metrics_put_line(out, metrics, record);
    bool is_fine = !fclose(out) && metrics_write_line(metrics, line, length) && metrics_add(metrics, record);
    free(line);
    return is_fine;
}

/* Puts a number where its key says; unknown keys are passed over. */
static void metrics_set(const Metrics *metrics, Record *record, const char *key, double number, bool *has_test) {
    if (!strcmp(key, "step"))
        record->step = number >= 0 && number < 9e15 ? (int64_t)number : -1;
    else if (!strcmp(key, "epoch"))
        record->epoch = number;
    else if (!strcmp(key, "seconds"))
        record->seconds = number;
    else if (!strcmp(key, "samples_per_second"))
        record->samples_per_second = number;
    else if (!strcmp(key, "data_wait"))
        record->data_wait = number;
    int extra = metrics_extra(metrics, key);
    if (extra >= 0)
        record->extras[extra] = isnan(number) ? INFINITY : number; /* null: those not measured have no key */
    for (uint32_t i = 0; i < metrics->name_count; i++) {
        const char *name = metrics_name(metrics, i);
        if (!strcmp(key, name)) record->values[i] = number;
        if (strncmp(key, "test_", 5) || strcmp(key + 5, name)) continue;
        record->test[i] = number;
        *has_test = true;
    }
}

static bool metrics_parse_line(const Metrics *metrics, const char *line, size_t length, Record *record,
                               bool *has_test) {
    JsonScan scan = json_begin(line, length);
    record->step = -1;
    *has_test = false;
    if (!json_take(&scan, '{')) return false;
    for (bool is_first = true; !json_take(&scan, '}'); is_first = false) {
        char key[256], alarm[32];
        double number;
        if (!is_first && !json_take(&scan, ',')) return false;
        if (!json_string_into(&scan, key, sizeof key) || !json_take(&scan, ':')) return false;
        if (!strcmp(key, "alarm")) {
            if (!json_string_into(&scan, alarm, sizeof alarm)) return false;
            record->has_collapsed = !strcmp(alarm, "collapse");
            continue;
        }
        if (!json_number(&scan, &number)) return false;
        metrics_set(metrics, record, key, number, has_test);
    }
    return record->step >= 0;
}

/* Reads the lines up to `step` into records. */
static bool metrics_read(Metrics *metrics, int64_t step) {
    void *bytes;
    size_t size;
    if (!file_exists(metrics->path)) return true;
    if (selfc_file_read(metrics->path, &bytes, &size)) return false;
    double *numbers = calloc(2 * metrics->name_count + metrics->extra_count + 1, sizeof *numbers);
    bool is_fine = numbers != NULL;
    for (char *line = bytes, *end = line + size, *next; is_fine && line < end; line = next) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        next = newline ? newline + 1 : end;
        Record record = {
            .values = numbers, .test = numbers + metrics->name_count, .extras = numbers + 2 * metrics->name_count};
        for (uint32_t i = 0; i < metrics->extra_count; i++) record.extras[i] = NAN;
        bool has_test;
        if (!newline || !metrics_parse_line(metrics, line, (size_t)(newline - line), &record, &has_test)) continue;
        if (record.step > step) continue;
        if (!has_test) record.test = NULL;
        is_fine = metrics_add(metrics, &record);
    }
    free(numbers);
    free(bytes);
    return is_fine;
}

/* "$gradient_norm" is called "gradient_norm" in the metrics. */
static bool metrics_add_extra(Metrics *metrics, const char *name) {
    char *copy = strdup(name + (name[0] == '$'));
    if (!copy) return false;
    metrics->extras[metrics->extra_count++] = copy;
    return true;
}

/* In the order in which a line's extras stand: what the step gives, what health.c measures, what judges. */
static bool metrics_name_extras(Metrics *metrics, const SelfcModule *module) {
    static const char *const measured[] = {"feature_std", "effective_rank", "alignment", "uniformity"};
    const SelfcTraining *training = &module->training;
    const SelfcProgram *health = training->feature_count ? &module->programs[training->health] : NULL;
    metrics->extras =
        calloc(training->measure_count + (health ? health->output_count : 0) + 8, sizeof *metrics->extras);
    bool is_fine = metrics->extras != NULL;
    for (uint32_t i = 0; is_fine && i < training->measure_count; i++)
        is_fine = metrics_add_extra(metrics, training->measures[i]);
    for (uint32_t i = 0; is_fine && health && i < 2 * training->feature_count; i++)
        is_fine = metrics_add_extra(metrics, measured[i]);
    for (uint32_t i = training->feature_count; is_fine && health && i < health->output_count; i++)
        is_fine = metrics_add_extra(metrics, health->io[health->input_count + i].name);
    if (is_fine && training->knn.every) is_fine = metrics_add_extra(metrics, "knn_accuracy");
    if (!is_fine) selfc_fail("no memory for the metrics");
    return is_fine;
}

bool metrics_open(Metrics *metrics, const char *folder, const SelfcModule *module, int64_t step) {
    const SelfcTraining *training = &module->training;
    *metrics = (Metrics){.path = file_join(folder, "metrics.jsonl"),
                         .file = -1,
                         .names = training->reports,
                         .name_count = training->report_count};
    if (!metrics_name_extras(metrics, module)) return false;
    if (step >= 0 && !metrics_read(metrics, step)) return false;
    FileWriter writer;
    if (!file_begin(&writer, metrics->path)) return false;
    for (size_t i = 0; i < metrics->count; i++) metrics_put_line(writer.out, metrics, &metrics->records[i]);
    if (file_commit(&writer)) return false;
    metrics->file = open(metrics->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return metrics->file >= 0 || metrics_fail_write(metrics);
}

void metrics_close(Metrics *metrics) {
    for (size_t i = 0; i < metrics->count; i++) free(metrics->records[i].values);
    for (uint32_t i = 0; i < metrics->extra_count; i++) free(metrics->extras[i]);
    free(metrics->extras);
    free(metrics->records);
    free(metrics->path);
    if (metrics->file > 0) close(metrics->file);
    *metrics = (Metrics){.file = -1};
}
