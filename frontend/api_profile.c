/* include/selfc.h, selfc_profile: where the time of a step goes, kernel by kernel, against what the machine can do.
 *
 * Calls that run the same machine code are one line. A kernel is measured against the nearer of two limits: its FLOP at
 * the measured peak, its bytes at the measured memory rate. What is left beyond the limit is the gap, and its likely
 * reason stands beside it. */
#include "frontend/api.h"

#include "runtime/data/data.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    SelfcKernel *run;
    const char *name;
    const char *origins[4];
    uint32_t origin_count, calls;
    double seconds, flop, bytes; /* of one run of the program */
} Row;

static void profile_add_origin(Row *row, const char *origin) {
    for (uint32_t i = 0; i < row->origin_count && i < 4; i++)
        if (!strcmp(row->origins[i], origin)) return;
    if (row->origin_count < 4) row->origins[row->origin_count] = origin;
    row->origin_count++;
}

static uint32_t profile_rows(const SelfcProgram *program, const double *seconds, double runs, int64_t n, Row *rows) {
    uint32_t count = 0;
    double scale = program->batch ? 1 : (double)n;
    for (uint32_t c = 0; c < program->call_count; c++) {
        const SelfcCall *call = &program->calls[c];
        uint32_t r = 0;
        while (r < count && rows[r].run != call->run) r++;
        if (r == count) rows[count++] = (Row){.run = call->run, .name = call->name};
        if (call->origin) profile_add_origin(&rows[r], call->origin);
        rows[r].calls++;
        rows[r].seconds += seconds[c] / runs;
        rows[r].flop += call->flop * scale;
        rows[r].bytes += call->bytes * scale;
    }
    return count;
}

static int profile_slower(const void *a, const void *b) {
    double x = ((const Row *)a)->seconds, y = ((const Row *)b)->seconds;
    return (x < y) - (x > y);
}

/* Faster than memory means that the bytes came from the caches, where no single limit holds. */
static const char *profile_reason(const Row *row, double flops, double bytes) {
    double compute = row->flop / flops, memory = row->bytes / bytes;
    if (row->seconds / row->calls < 3e-6) return "short: starting it and waiting cost as much";
    if (compute > 0.7 * row->seconds) return "near the limit of arithmetic";
    if (memory > row->seconds) return "works from the caches, faster than memory";
    if (memory > 0.7 * row->seconds) return "near the limit of memory";
    if (compute > memory) return "arithmetic waits: tails, packing or loads";
    return "elementary functions, reductions or cache misses";
}

static void profile_print_row(const Row *row, double total, double flops, double bytes, FILE *out) {
    double compute = row->flop / flops, memory = row->bytes / bytes;
    fprintf(out, "%9.1f %5.1f%% %5u %10.2f %9.3f %6.1f%% %6.1f%%  %-44s %s\n", row->seconds * 1e6,
            100 * row->seconds / total, row->calls, row->flop / 1e6, row->bytes / 1e6, 100 * compute / row->seconds,
            100 * memory / row->seconds, row->name, profile_reason(row, flops, bytes));
    for (uint32_t i = 0; i < row->origin_count && i < 4; i++) fprintf(out, "%63s%s\n", "", row->origins[i]);
    if (row->origin_count > 4) fprintf(out, "%63sand %u more\n", "", row->origin_count - 4);
}

static void profile_print(const SelfcProgram *program, const double *seconds, double runs, double wall, int64_t n,
                          int threads, FILE *out) {
    Row *rows = calloc(program->call_count + 1, sizeof *rows);
    if (!rows) die("no memory");
    uint32_t count = profile_rows(program, seconds, runs, n, rows);
    qsort(rows, count, sizeof *rows, profile_slower);
    double flops = api_peak_flops(threads), bytes = api_peak_bytes(threads), flop = 0, busy = 0;
    for (uint32_t i = 0; i < count; i++) flop += rows[i].flop, busy += rows[i].seconds;
    fprintf(out, "%s, batch %lld, %d thread%s: %.3f ms a run, %.1f GFLOP/s, %.1f%% of the measured peak\n",
            program->name, (long long)n, threads, threads == 1 ? "" : "s", 1e3 * wall / runs, flop * runs / wall / 1e9,
            100 * flop * runs / wall / flops);
    fprintf(
        out,
        "measured limits: %.0f GFLOP/s, %.0f GB/s from memory (what caches hold is faster: above 100%%); kernels %.3f "
        "ms, the rest is starting and waiting\n\n",
        flops / 1e9, bytes / 1e9, 1e3 * busy);
    fprintf(out, "%9s %6s %5s %10s %9s %7s %7s  %-44s %s\n", "us", "share", "calls", "MFLOP", "MB", "FLOP", "memory",
            "kernel and its layers", "what holds it");
    for (uint32_t i = 0; i < count; i++) profile_print_row(&rows[i], busy > 0 ? busy : 1, flops, bytes, out);
    free(rows);
}

/* --- data to run on --- */

/* The first batch of the field that the training input reads. */
static int profile_fill_from_source(SelfcModel *model, const SelfcDataSpec *spec, int64_t n, void *out) {
    const char *data = model->options.data;
    SelfcSource *source = selfc_source_open(data ? NULL : spec->source, data ? data : spec->path, SELFC_TRAIN);
    if (!source || selfc_source_load(source)) return selfc_source_close(source), api_fail("%s", selfc_failure());
    int64_t count = selfc_source_count(source);
    int32_t *index = calloc((size_t)n, sizeof *index);
    if (!index) die("no memory");
    for (int64_t i = 0; i < n && count; i++) index[i] = (int32_t)(i % count);
    int field = selfc_source_field(source, spec->field);
    if (count && field >= 0) selfc_source_gather(source, (uint32_t)field, index, n, out);
    free(index);
    selfc_source_close(source);
    return 0;
}

/* Numbers of an ordinary size; integers stay 0 or 1, so that they are valid positions and labels. */
static void profile_fill(const SelfcTensor *tensor, int64_t n, void *out) {
    int64_t elements = selfc_tensor_elements(tensor, n);
    for (int64_t i = 0; i < elements && tensor->dtype == SELFC_f32; i++)
        ((float *)out)[i] = (float)(i * 7919 % 2003) / 1001.5f - 1;
    for (int64_t i = 0; i < elements && tensor->dtype == SELFC_u8; i++) ((uint8_t *)out)[i] = (uint8_t)(i * 37 % 256);
}

static int profile_io(SelfcModel *model, const SelfcProgram *program, int64_t n, void **io) {
    const SelfcTraining *training = &model->compiled.module->training;
    for (uint32_t i = 0; i < program->input_count + program->output_count; i++) {
        const SelfcTensor *tensor = &program->io[i];
        size_t bytes = selfc_tensor_bytes(tensor, n);
        io[i] = aligned_alloc(64, (bytes + 127) / 64 * 64);
        if (!io[i]) return api_fail("no memory for %s", tensor->name);
        memset(io[i], 0, (bytes + 127) / 64 * 64);
        if (i >= program->input_count || tensor->name[0] == '$') continue;
        const SelfcDataSpec *spec = NULL;
        for (uint32_t d = 0; d < training->data_count; d++)
            if (!strcmp(training->data[d].input, tensor->name)) spec = &training->data[d];
        bool is_training = !strcmp(program->name, "train") || !strcmp(program->name, "evaluate");
        if (!spec || !is_training)
            profile_fill(tensor, n, io[i]);
        else if (profile_fill_from_source(model, spec, n, io[i]))
            return 1;
    }
    return 0;
}

/* Runs for about so many seconds; the time of each call is added up in call_seconds. */
static double profile_measure(SelfcSession *session, const SelfcProgram *program, void **io, int64_t n, double seconds,
                              double *call_seconds, double *runs) {
    for (int i = 0; i < 20; i++) selfc_execute(session, program, io, n);
    double start = api_seconds(), wall;
    *runs = 0;
    do {
        for (int i = 0; i < 10; i++) selfc_execute(session, program, io, n);
        *runs += 10;
    } while ((wall = api_seconds() - start) < seconds);
    double plain_runs = *runs, profiled = 0;
    session->call_seconds = call_seconds;
    start = api_seconds();
    do {
        for (int i = 0; i < 10; i++) selfc_execute(session, program, io, n);
        profiled += 10;
    } while (api_seconds() - start < seconds);
    session->call_seconds = NULL;
    for (uint32_t c = 0; c < program->call_count; c++) call_seconds[c] *= plain_runs / profiled;
    return wall;
}

int selfc_profile(SelfcModel *model, const char *function, int64_t n, double seconds, FILE *out) {
    const char *name = api_function(model, function);
    if (!name) return 1;
    if (api_need_session(model, !strcmp(name, "train") || !strcmp(name, "evaluate"))) return 1;
    SelfcSession *session = model->compiled.session;
    const SelfcProgram *program = selfc_find_program(model->compiled.module, name);
    if (program->batch && n > 0 && n != program->batch)
        return api_fail("the batch of \"%s\" is %lld, as described: --set training.batch=%lld changes it",
                        program->name, (long long)program->batch, (long long)n);
    if (program->batch) n = program->batch;
    if (n < 1) n = 128;
    if (selfc_session_reserve(session, program, n)) return api_fail("%s", selfc_failure());
    uint32_t count = program->input_count + program->output_count;
    void **io = calloc(count + 1, sizeof *io);
    double *call_seconds = calloc(program->call_count + 1, sizeof *call_seconds), runs;
    if (!io || !call_seconds) die("no memory");
    int failed = profile_io(model, program, n, io);
    if (!failed) {
        double wall = profile_measure(session, program, io, n, (seconds > 0 ? seconds : 2) / 2, call_seconds, &runs);
        profile_print(program, call_seconds, runs, wall, n, selfc_pool_threads(session->pool), out);
    }
    for (uint32_t i = 0; i < count; i++) free(io[i]);
    free(io);
    free(call_seconds);
    return failed;
}
