/* include/selfc.h, selfc_profile: where the time of a step goes, kernel by kernel, against what the machine can do.
 *
 * The program runs on real data, where it has some, for half of the time as it always does, which says how long a run
 * takes, and for the other half with the clock read around each call, which says how it divides. */
#include "frontend/api_profile.h"

#include "runtime/data/data.h"

#include <stdlib.h>
#include <string.h>

typedef enum { PROFILE_text, PROFILE_json, PROFILE_html, PROFILE_FORMATS } ProfileFormat;

static const struct {
    const char *name;
    void (*print)(const Profile *profile, FILE *out);
} profile_formats[PROFILE_FORMATS] = {
    [PROFILE_text] = {"text", profile_print_text},
    [PROFILE_json] = {"json", profile_print_json},
    [PROFILE_html] = {"html", profile_print_html},
};

/* --- data to run on --- */

/* A batch of the field that the training input reads. */
static int profile_fill_from_source(SelfcModel *model, const DataSpec *spec, int64_t n, void *out) {
    SelfcSourceOptions options = api_source_options(model, spec);
    options.most = n;
    SelfcSource *source = selfc_source_open(&options);
    if (!source || selfc_source_load(source)) return selfc_source_close(source), api_fail("%s", selfc_failure());
    int64_t count = selfc_source_count(source);
    int32_t *index = calloc((size_t)n, sizeof *index);
    if (!index) die("no memory");
    for (int64_t i = 0; i < n && count; i++) index[i] = (int32_t)(i % count);
    int field = selfc_source_field(source, spec->field);
    if (count && field >= 0) selfc_source_gather(source, (uint32_t)field, index, n, out);
    int failed = selfc_source_check(source) ? api_fail("%s", selfc_failure()) : 0;
    free(index);
    selfc_source_close(source);
    return failed;
}

/* Numbers of an ordinary size; integers stay 0 or 1, so that they are valid positions and labels. */
static void profile_fill(const SelfcTensor *tensor, int64_t n, void *out) {
    int64_t elements = selfc_tensor_elements(tensor, n);
    for (int64_t i = 0; i < elements && tensor->dtype == SELFC_f32; i++)
        ((float *)out)[i] = (float)(i * 7919 % 2003) / 1001.5f - 1;
    for (int64_t i = 0; i < elements && tensor->dtype == SELFC_u8; i++) ((uint8_t *)out)[i] = (uint8_t)(i * 37 % 256);
}

static int profile_io(SelfcModel *model, const SelfcProgram *program, int64_t n, void **io) {
    for (uint32_t i = 0; i < program->input_count + program->output_count; i++) {
        const SelfcTensor *tensor = &program->io[i];
        size_t bytes = selfc_tensor_bytes(tensor, n);
        io[i] = aligned_alloc(64, (bytes + 127) / 64 * 64);
        if (!io[i]) return api_fail("no memory for %s", tensor->name);
        memset(io[i], 0, (bytes + 127) / 64 * 64);
        if (i >= program->input_count) continue;
        api_fill_hidden(model, tensor, n, 1, io[i]);
        if (api_is_hidden(tensor)) continue;
        const DataSpec *specs, *spec = NULL;
        uint32_t count = model_data(model->description, &specs);
        for (uint32_t d = 0; d < count; d++)
            if (!strcmp(specs[d].input, tensor->name)) spec = &specs[d];
        bool is_training = !strcmp(program->name, "train") || !strcmp(program->name, "evaluate");
        if (!spec || !is_training)
            profile_fill(tensor, n, io[i]);
        else if (profile_fill_from_source(model, spec, n, io[i]))
            return 1;
    }
    return 0;
}

/* --- measuring --- */

static SelfcTimes profile_times(const SelfcProgram *program, int threads, Arena *arena) {
    size_t stride = (size_t)threads;
    return (SelfcTimes){arena_array(arena, double, program->call_count + 1),
                        arena_array(arena, double, (program->call_count + 1) * stride),
                        arena_array(arena, double, (program->phase_count + 1) * stride)};
}

/* Runs for about so many seconds; the seconds that passed. */
static double profile_run(SelfcSession *session, const SelfcProgram *program, void **io, int64_t n, double seconds,
                          double *runs) {
    double start = api_seconds(), wall;
    *runs = 0;
    do {
        selfc_execute(session, program, io, n);
        *runs += 1;
    } while ((wall = api_seconds() - start) < seconds);
    return wall;
}

enum { PROFILE_TURNS = 8 };

/* The first runs bring code and data into the caches and are not counted. With clocks and without takes turns, so that
 * what else the machine does meets both alike. */
static void profile_measure(Profile *profile, SelfcSession *session, const SelfcProgram *program, void **io,
                            double seconds, SelfcTimes *times) {
    double start = api_seconds(), turn = 0.9 * seconds / (2 * PROFILE_TURNS), wall = 0, runs = 0, more;
    profile_run(session, program, io, profile->batch, 0.1 * seconds, &more);
    for (int i = 0; i < PROFILE_TURNS && (!i || api_seconds() - start < seconds); i++) {
        wall += profile_run(session, program, io, profile->batch, turn, &more);
        runs += more;
        session->times = times;
        profile_run(session, program, io, profile->batch, turn, &more);
        profile->runs += more;
        session->times = NULL;
    }
    profile->run_seconds = wall / runs;
}

static const Program *profile_program(const SelfcModel *model, const SelfcProgram *program) {
    const Compiled *compiled = &model->compiled;
    return compiled->programs[program - compiled->module->programs];
}

static void profile_one(SelfcModel *model, const SelfcProgram *program, int64_t n, void **io, double seconds,
                        ProfileFormat format, FILE *out) {
    Arena *arena = arena_new();
    SelfcSession *session = model->compiled.session;
    int threads = selfc_pool_threads(session->pool);
    SelfcTimes times = profile_times(program, threads, arena);
    Profile profile = {.model = model_name(model->description),
                       .function = program->name,
                       .cpu = model->target.cpu,
                       .vector_bytes = model->target.machine.vector_bytes,
                       .batch = n,
                       .threads = threads,
                       .peak_flop = api_peak_flops(threads),
                       .peak_bytes = api_peak_bytes(threads)};
    profile_measure(&profile, session, program, io, seconds, &times);
    ProfileSource source = {program, profile_program(model, program), model->compiled.jit, &model->target, &times};
    profile_rows(&profile, &source, arena);
    profile_formats[format].print(&profile, out);
    arena_free(arena);
}

static int profile_batch(const SelfcProgram *program, int64_t *n) {
    if (program->batch && *n > 0 && *n != program->batch)
        return api_fail("the batch of \"%s\" is %lld, as described: --set training.batch=%lld changes it",
                        program->name, (long long)program->batch, (long long)*n);
    if (program->batch) *n = program->batch;
    if (*n < 1) *n = 128;
    return 0;
}

int selfc_profile(SelfcModel *model, const char *function, const char *format, int64_t n, double seconds, FILE *out) {
    ProfileFormat chosen = 0;
    while (chosen < PROFILE_FORMATS && format && strcmp(format, profile_formats[chosen].name)) chosen++;
    if (chosen == PROFILE_FORMATS) return api_fail("there is no format \"%s\": text, json or html", format);
    const char *name = api_function(model, function);
    if (!name) return 1;
    if (api_need_session(model, !strcmp(name, "train") || !strcmp(name, "evaluate"))) return 1;
    SelfcSession *session = model->compiled.session;
    const SelfcProgram *program = selfc_find_program(model->compiled.module, name);
    if (profile_batch(program, &n)) return 1;
    if (selfc_session_reserve(session, program, n)) return api_fail("%s", selfc_failure());
    uint32_t count = program->input_count + program->output_count;
    void **io = calloc(count + 1, sizeof *io);
    if (!io) die("no memory");
    int failed = profile_io(model, program, n, io);
    if (!failed) profile_one(model, program, n, io, seconds > 0 ? seconds : 2, chosen, out);
    for (uint32_t i = 0; i < count; i++) free(io[i]);
    free(io);
    return failed;
}
