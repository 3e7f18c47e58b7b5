/* Where the time of a step went, kernel by kernel: sums over a few steps of the training, which were timed on the way.
 */
#include "runtime/train/report.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const SelfcCall *call; /* the first of those with this layer and name */
    double seconds;
    uint32_t calls;
} Row;

static bool profile_is_same(const SelfcCall *a, const SelfcCall *b) {
    bool is_same_origin = a->origin == b->origin || (a->origin && b->origin && !strcmp(a->origin, b->origin));
    return is_same_origin && !strcmp(a->name, b->name);
}

static int profile_compare(const void *a, const void *b) {
    const Row *x = a, *y = b;
    if (x->seconds != y->seconds) return x->seconds < y->seconds ? 1 : -1;
    return x->call < y->call ? -1 : x->call > y->call;
}

/* Calls of one layer and name are one row; the longest first. */
static uint32_t profile_rows(const SelfcProgram *program, const SelfcTimes *times, Row *rows) {
    uint32_t count = 0;
    for (uint32_t c = 0; c < program->call_count; c++) {
        uint32_t r = 0;
        while (r < count && !profile_is_same(rows[r].call, &program->calls[c])) r++;
        if (r == count) rows[count++] = (Row){.call = &program->calls[c]};
        rows[r].seconds += times->calls[c];
        rows[r].calls++;
    }
    qsort(rows, count, sizeof *rows, profile_compare);
    return count;
}

static void profile_put_row(FileWriter *out, const Row *row, double all, double longest, double steps) {
    file_print(out, "<tr><td>");
    report_text(out, row->call->origin ? row->call->origin : "-");
    file_print(out, "<br><small>");
    report_text(out, row->call->name);
    if (row->calls > 1) file_print(out, ", %u calls", row->calls);
    file_print(out,
               "</small></td><td>%.3g ms<div class=\"bar\" style=\"width:%.1f%%\"></div></td><td>%.1f %%</td></tr>\n",
               row->seconds / steps * 1e3, 100 * row->seconds / longest, 100 * row->seconds / all);
}

static void profile_put_rest(FileWriter *out, const char *what, double seconds, double all, double steps) {
    file_print(out, "<tr><td>%s</td><td>%.3g ms</td><td>%.1f %%</td></tr>\n", what, seconds / steps * 1e3,
               100 * seconds / all);
}

void report_profile(FileWriter *out, const Trainer *trainer) {
    enum { PROFILE_ROWS = 20 };
    const SelfcProgram *program = trainer->train.program;
    double steps = (double)trainer->timed_steps, waits = 0, all = 0, rest = 0;
    int threads = selfc_pool_threads(trainer->session->pool);
    Row *rows = steps > 0 ? calloc(program->call_count + 1, sizeof *rows) : NULL;
    if (!rows) return;
    uint32_t count = profile_rows(program, &trainer->times, rows);
    for (uint32_t i = 0; i < count; i++) all += rows[i].seconds;
    for (uint32_t i = 0; i < program->phase_count * (uint32_t)threads; i++) waits += trainer->times.waits[i] / threads;
    if (all > 0) {
        file_print(
            out,
            "<h2>Where the time goes</h2>\n<p>Of a step, from %lld of them that were timed on the way; a thread waited "
            "%.3g ms of each for others.</p>\n<table class=\"profile\">\n<tr><th>layer<br><small>kernel"
            "</small></th><th>time</th><th>share</th></tr>\n",
            (long long)trainer->timed_steps, waits / steps * 1e3);
        for (uint32_t i = 0; i < count && i < PROFILE_ROWS; i++)
            profile_put_row(out, &rows[i], all, rows[0].seconds, steps);
        for (uint32_t i = PROFILE_ROWS; i < count; i++) rest += rows[i].seconds;
        if (rest > 0) profile_put_rest(out, "all others", rest, all, steps);
        profile_put_rest(out, "together", all, all, steps);
        file_print(out, "</table>\n");
    }
    free(rows);
}
