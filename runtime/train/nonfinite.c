/* When a loss or a state is no finite number: which layer made the first such value.
 *
 * A loss that is no number says nothing about its cause, and looking at every value of every step would slow all of
 * them down. But a run is a function of (seed, step): from the last checkpoint, or from the beginning, the steps are
 * done again, in memory, to the same bits, until one ends badly. That one is done a third time, call by call on one
 * thread, and what each call reads and writes is looked through. Where whoever trains knows what a call consists of, it
 * is done once more up to the call that is to blame, which is then asked for the operation. No file is touched.
 *
 * Some programs work with infinities on purpose (the logarithm of zero as a mask): a call that writes them in the first
 * repeated step, when that one ends well, is not blamed. */
#include "runtime/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Longer than this nobody is kept waiting for an answer. The run is over anyway, and the large ones, whose steps take
 * long, are those that are dear to begin again without knowing why. */
static const double nonfinite_most_seconds = 600;

typedef struct {
    Trainer *trainer;
    const SelfcProgram *program;
    char *before;             /* the states as the step that is being done found them */
    bool *is_usual;           /* calls that write infinities when all is well */
    bool is_learning;         /* this step says which calls these are */
    double largest;           /* magnitude of what the call reads */
    const SelfcCall *bad;     /* the first that wrote what is not finite */
    const SelfcArg *arg;      /* where it did */
    Scan scan;                /* of what it wrote there */
    SelfcOperation operation; /* in the call */
    bool has_operation;       /* it is known */
} Search;

static int64_t nonfinite_elements(const Search *search, const SelfcArg *arg) {
    return arg->elements < 0 ? -arg->elements * search->trainer->train.capacity : arg->elements;
}

static int nonfinite_watch(void *context, const SelfcCall *call, void *const *args, int is_done) {
    Search *search = context;
    bool *is_usual = &search->is_usual[call - search->program->calls];
    if (!is_done) search->largest = 0;
    for (uint32_t i = 0; i < call->arg_count; i++) {
        const SelfcArg *arg = &call->args[i];
        int64_t elements = nonfinite_elements(search, arg);
        if (is_done != arg->is_written) continue;
        if (!is_done && !search->is_learning)
            search->largest = fmax(search->largest, scan_values(args[i], arg->dtype, elements).largest);
        if (!is_done || scan_is_finite(args[i], arg->dtype, elements)) continue;
        if (search->is_learning) *is_usual = true;
        if (*is_usual) continue;
        search->bad = call;
        search->arg = arg;
        search->scan = scan_values(args[i], arg->dtype, elements);
        return 0;
    }
    return 1;
}

/* Ends the run before the call that is to blame, and asks what it does. */
static int nonfinite_ask(void *context, const SelfcCall *call, void *const *args, int is_done) {
    Search *search = context;
    const SelfcTrainOptions *options = search->trainer->options;
    (void)is_done;
    if (call != search->bad) return 1;
    uint32_t position = (uint32_t)(call - search->program->calls), arg = (uint32_t)(search->arg - call->args);
    search->has_operation = !options->find_operation(options->find_context, search->program, position,
                                                     search->trainer->train.capacity, args, arg, &search->operation);
    return 0;
}

/* The states of the checkpoint on disk, or the first ones. */
static bool nonfinite_restore(Trainer *trainer) {
    const SelfcModule *module = trainer->module;
    if (trainer->saved_step >= 0) return checkpoint_read(trainer);
    memset(trainer->session->state, 0, (size_t)module->state_bytes);
    selfc_init_states(module, trainer->session->state, trainer->seed, trainer->session->pool);
    selfc_session_changed(trainer->session);
    trainer->step = 0;
    return train_begin(trainer, false);
}

static bool nonfinite_is_fine(const Trainer *trainer) {
    const SelfcTraining *training = &trainer->module->training;
    int loss = binding_find_output(trainer->train.program, training->reports[0]);
    return isfinite(*(const float *)trainer->train.io[loss]) && !checkpoint_bad_state(trainer);
}

/* Repeats steps until one ends badly, which leaves its inputs in place and the states that it found in `before`. */
static bool nonfinite_find_step(Search *search, int64_t end) {
    Trainer *trainer = search->trainer;
    search->is_learning = end - trainer->step > 1;
    while (trainer->step < end) {
        memcpy(search->before, trainer->session->state, (size_t)trainer->module->state_bytes);
        if (!train_fill(trainer)) return false;
        if (search->is_learning)
            selfc_execute_watched(trainer->session, search->program, trainer->train.io, trainer->train.capacity,
                                  nonfinite_watch, search);
        else
            selfc_execute(trainer->session, search->program, trainer->train.io, trainer->train.capacity);
        bool is_fine = nonfinite_is_fine(trainer);
        if (!is_fine && search->is_learning) /* what it wrote was not usual */
            memset(search->is_usual, 0, search->program->call_count * sizeof *search->is_usual);
        search->is_learning = false;
        if (!is_fine) return true;
        trainer->step++;
    }
    return false;
}

/* A sample whose values were not finite before anything was done with them. */
static bool nonfinite_in_data(const Search *search, FILE *out) {
    const Trainer *trainer = search->trainer;
    for (uint32_t i = 0; i < search->program->input_count; i++) {
        const SelfcTensor *tensor = &search->program->io[i];
        int64_t elements = selfc_tensor_elements(tensor, trainer->train.capacity);
        Scan scan = scan_values(trainer->train.io[i], tensor->dtype, elements);
        if (!scan.count) continue;
        int64_t row = scan.first / (elements / trainer->train.capacity);
        fprintf(out, "the data were not finite: %g in \"%s\"", scan.value, tensor->name);
        if (trainer->train.sample) fprintf(out, ", sample %d", (int)trainer->train.sample[row]);
        return true;
    }
    return false;
}

/* A kernel serves the layer that it is named after, and cheap work of the layers behind that it does in passing; the
 * kernel's name lists its operations. "encode.h (encode.layers[0]) backward" as: layer "encode.h" (encode.layers[0]),
 * backward */
static void nonfinite_put_origin(FILE *out, const char *origin) {
    const char *place = origin ? strstr(origin, " (") : NULL, *end = place ? strchr(place, ')') : NULL;
    if (!origin)
        fprintf(out, "a part of no layer");
    else if (!end)
        fprintf(out, "\"%s\"", origin);
    else
        fprintf(out, "layer \"%.*s\"%.*s%s%s", (int)(place - origin), origin, (int)(end + 1 - place), place,
                end[1] ? "," : "", end + 1);
}

static const char *nonfinite_state_name(const SelfcModule *module, const SelfcArg *arg) {
    for (uint32_t i = 0; arg->base == 0 && i < module->state_count; i++)
        if (module->states[i].offset == arg->offset.fixed) return module->states[i].tensor.name;
    return NULL;
}

static void nonfinite_put_call(const Search *search, FILE *out) {
    const char *state = nonfinite_state_name(search->trainer->module, search->arg);
    bool is_told = search->has_operation && search->operation.origin;
    nonfinite_put_origin(out, is_told ? search->operation.origin : search->bad->origin);
    if (search->has_operation) fprintf(out, ", operation %s", search->operation.text);
    fprintf(out, " in the kernel %s made the first value that is not finite: %s, ", search->bad->name,
            isnan(search->scan.value) ? "nan"
            : search->scan.value > 0  ? "inf"
                                      : "-inf");
    if (state) fprintf(out, "in \"%s\", ", state);
    fprintf(out, "%lld of %lld values; what it read was finite, the largest %.3g", (long long)search->scan.count,
            (long long)nonfinite_elements(search, search->arg), search->largest);
}

/* The step that ended badly, once more. */
static void nonfinite_repeat(Search *search, SelfcWatch *watch) {
    Trainer *trainer = search->trainer;
    memcpy(trainer->session->state, search->before, (size_t)trainer->module->state_bytes);
    selfc_session_changed(trainer->session);
    selfc_execute_watched(trainer->session, search->program, trainer->train.io, trainer->train.capacity, watch, search);
}

/* Says what was found about the step that ended badly. */
static void nonfinite_describe(Search *search, FILE *out) {
    fprintf(out, "step %lld: ", (long long)search->trainer->step + 1);
    if (nonfinite_in_data(search, out)) return;
    nonfinite_repeat(search, nonfinite_watch);
    if (search->bad && search->trainer->options->find_operation) nonfinite_repeat(search, nonfinite_ask);
    if (search->bad)
        nonfinite_put_call(search, out);
    else
        fprintf(out, "no call of it made the value");
}

static double nonfinite_seconds(const Trainer *trainer) {
    int64_t from = trainer->saved_step < 0 ? 0 : trainer->saved_step;
    double step_seconds = trainer->seconds / (double)(trainer->step ? trainer->step : 1);
    int runs = trainer->options->find_operation ? 3 : 2; /* on one thread each */
    double watched = runs * (1 + selfc_pool_threads(trainer->session->pool));
    return step_seconds * ((double)(trainer->step - from) + watched);
}

/* NULL: nothing is known. free(). */
static char *nonfinite_search(Trainer *trainer) {
    const SelfcProgram *program = trainer->train.program;
    int64_t end = trainer->step;
    Search search = {.trainer = trainer,
                     .program = program,
                     .before = malloc((size_t)trainer->module->state_bytes + 1),
                     .is_usual = calloc(program->call_count + 1, sizeof *search.is_usual)};
    char *text = NULL;
    size_t length;
    FILE *out = search.before && search.is_usual ? open_memstream(&text, &length) : NULL;
    if (out && nonfinite_restore(trainer) && nonfinite_find_step(&search, end)) nonfinite_describe(&search, out);
    if (out) fclose(out);
    free(search.before);
    free(search.is_usual);
    return text;
}

void nonfinite_explain(Trainer *trainer) {
    double seconds = nonfinite_seconds(trainer);
    if (seconds > nonfinite_most_seconds) {
        selfc_fail(
            "%s; to repeat the steps since the last checkpoint and see which layer it was would take %.0f minutes",
            selfc_failure(), seconds / 60);
        return;
    }
    if (!trainer->options->quiet)
        fprintf(stderr, "note: a value is not finite; which layer made it takes some %.0f s to find\n", ceil(seconds));
    char *failure = strdup(selfc_failure()), *found = nonfinite_search(trainer);
    selfc_fail("%s%s%s", failure ? failure : "", found && *found ? "\n  " : "", found ? found : "");
    free(failure);
    free(found);
}
