/* The training loop. A run is a function of (module, data, seed): the order of samples comes from (seed, epoch), noise
 * from (seed, step, sample), so a run that is stopped and resumed, at any step, ends with the same bits.
 *
 * What can go wrong with the world (data, folder, disk) is tried before the first step where possible; after that a
 * failure ends the run and leaves the last checkpoint as it was. */
#include "runtime/data/file.h"
#include "runtime/train/begin.h"
#include "runtime/train/trainer.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Seconds between checkpoints within an epoch, and between refreshed reports, at least; and at least so many times as
 * long as the last one took: a large model on a slow disk does not spend its time being written. */
static const double train_pause = 30, train_pause_times = 50;
/* Noise of evaluation is that of a step which training never reaches: equal for every evaluation. */
static const int64_t train_evaluation_step = (int64_t)1 << 31;

/* What a line may have beside the values of the step and of health.c. */
enum { TRAIN_EXTRAS = 4 };

typedef enum { TRAIN_failed, TRAIN_finished, TRAIN_interrupted } TrainEnd;

static volatile sig_atomic_t train_signal;
static void train_on_signal(int number) { train_signal = number; }

/* The second signal of a kind finds the default again, and kills. */
static void train_catch_signals(struct sigaction kept[2]) {
    struct sigaction action = {.sa_handler = train_on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    train_signal = 0;
    sigaction(SIGINT, &action, &kept[0]);
    sigaction(SIGTERM, &action, &kept[1]);
}

static void train_release_signals(const struct sigaction kept[2]) {
    sigaction(SIGINT, &kept[0], NULL);
    sigaction(SIGTERM, &kept[1], NULL);
}

static const float *train_report(const Trainer *trainer, const Binding *binding, uint32_t report) {
    int output = binding_find_output(binding->program, trainer->module->training.reports[report]);
    return binding->io[output];
}

static bool train_check_module(const SelfcModule *module) {
    const SelfcTraining *training = &module->training;
    int32_t programs = (int32_t)module->program_count;
    if (!training->reports || training->report_count == 0 || training->train < 0 || training->train >= programs) {
        selfc_fail("%s: the description has no \"training\"", module->name);
        return false;
    }
    if (training->batch <= 0) {
        selfc_fail("%s: a batch of %lld samples; training.batch must be at least 1", module->name,
                   (long long)training->batch);
        return false;
    }
    for (uint32_t i = 0; i < training->report_count; i++) {
        bool is_there = binding_find_output(&module->programs[training->train], training->reports[i]) >= 0 &&
                        (training->evaluate < 0 ||
                         binding_find_output(&module->programs[training->evaluate], training->reports[i]) >= 0);
        if (is_there) continue;
        selfc_fail("%s: the compiled training step does not report \"%s\"", module->name, training->reports[i]);
        return false;
    }
    return true;
}

static bool train_check_options(const SelfcTrainOptions *options) {
    const char *wrong = options->epochs < 0 ? "epochs" : options->steps < 0 ? "steps" : NULL;
    if (options->minutes < 0 || !isfinite(options->minutes)) wrong = "minutes";
    if (options->threads < 0) wrong = "threads";
    if (wrong) selfc_fail("--%s must be a positive number", wrong);
    return !wrong;
}

static int64_t train_smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* --epochs, --steps and --minutes each replace the epochs of the description; of several, the first to be met ends. */
static bool train_set_limits(Trainer *trainer) {
    const SelfcTrainOptions *options = trainer->options;
    int64_t samples = trainer->feed.count[SELFC_TRAIN], batch = trainer->train.capacity;
    trainer->epoch_steps = samples / batch;
    if (trainer->epoch_steps == 0) {
        selfc_fail("the data set has %lld samples, fewer than one batch of %lld: compile the description with --set "
                   "training.batch=%lld, or less",
                   (long long)samples, (long long)batch, (long long)samples);
        return false;
    }
    trainer->line_steps = trainer->epoch_steps < 10 ? 1 : train_smaller(trainer->epoch_steps / 10, 50);
    bool is_limited = options->steps > 0 || options->minutes > 0;
    trainer->epoch_limit = options->epochs > 0 ? options->epochs : is_limited ? 0 : trainer->module->training.epochs;
    trainer->step_limit = options->steps > 0 ? options->steps : INT64_MAX;
    int64_t epochs_steps;
    if (trainer->epoch_limit > 0 && !__builtin_mul_overflow(trainer->epoch_limit, trainer->epoch_steps, &epochs_steps))
        trainer->step_limit = train_smaller(trainer->step_limit, epochs_steps);
    trainer->step_limit = train_smaller(trainer->step_limit, INT32_MAX); /* the key's step is an i32 */
    if (trainer->epoch_limit > 0 || is_limited) return true;
    selfc_fail("for how long? The description names no training.epochs: use --epochs, --steps or --minutes");
    return false;
}

bool train_begin(Trainer *trainer, bool is_told) {
    const SelfcBegin *begin = &trainer->module->training.begin;
    char *spare = NULL;
    if (!begin->path) return true;
    bool is_fine = !selfc_begin_states(begin, trainer->module, trainer->session->state, &spare);
    if (spare && is_told) fprintf(stderr, "note: nothing takes these of %s:%s\n", begin->path, spare);
    free(spare);
    selfc_session_changed(trainer->session);
    return is_fine;
}

/* A run that was ended before its first checkpoint has nothing to go on from: it begins again. */
static bool train_find_run(Trainer *trainer) {
    trainer->folder = run_folder_find(trainer->module, trainer->options);
    if (!trainer->folder) return false;
    trainer->goes_on = run_folder_has_checkpoint(trainer->folder);
    if (!trainer->goes_on && !trainer->options->quiet)
        fprintf(stderr, "note: %s ended before its first checkpoint; it begins again with the first step\n",
                trainer->folder);
    return true;
}

static bool train_open(Trainer *trainer) {
    const SelfcModule *module = trainer->module;
    const SelfcTraining *training = &module->training;
    const SelfcTrainOptions *options = trainer->options;
    if (!train_check_module(module) || !train_check_options(options)) return false;
    if (options->resume && !train_find_run(trainer)) return false;
    if (!feed_open(&trainer->feed, module, options->data, options->cache) ||
        !feed_fingerprint(&trainer->feed, &trainer->data_print))
        return false;
    trainer->seed = options->has_seed ? options->seed : training->seed;
    trainer->session = selfc_session_new(module, options->threads, trainer->seed);
    if (!trainer->session || (!trainer->goes_on && !train_begin(trainer, !options->quiet))) return false;
    if (!binding_make(&trainer->train, trainer->session, &module->programs[training->train], training->batch))
        return false;
    if (training->evaluate >= 0 && trainer->feed.count[SELFC_TEST] > 0) {
        const SelfcProgram *evaluate = &module->programs[training->evaluate];
        bool has_batch = trainer->feed.count[SELFC_TEST] >= evaluate->batch; /* else there is nothing to measure */
        if (has_batch && !binding_make(&trainer->evaluate, trainer->session, evaluate,
                                       evaluate->batch ? evaluate->batch : training->batch))
            return false;
    }
    const SelfcProgram *step = trainer->train.program;
    size_t threads = (size_t)selfc_pool_threads(trainer->session->pool);
    trainer->times.calls = calloc(step->call_count + 1, sizeof *trainer->times.calls);
    trainer->times.threads = calloc((step->call_count + 1) * threads, sizeof *trainer->times.threads);
    trainer->times.waits = calloc((step->phase_count + 1) * threads, sizeof *trainer->times.waits);
    trainer->order = malloc((size_t)trainer->feed.count[SELFC_TRAIN] * sizeof *trainer->order);
    trainer->window = calloc(training->report_count, sizeof *trainer->window);
    trainer->epoch_sum = calloc(training->report_count, sizeof *trainer->epoch_sum);
    trainer->extras = calloc(training->measure_count + TRAIN_EXTRAS + 2 * training->feature_count +
                                 (training->feature_count ? module->programs[training->health].output_count : 0),
                             sizeof *trainer->extras);
    trainer->test_index = malloc((size_t)(trainer->evaluate.capacity + 1) * sizeof *trainer->test_index);
    bool has_times = trainer->times.calls && trainer->times.threads && trainer->times.waits;
    if (has_times && trainer->order && trainer->window && trainer->epoch_sum && trainer->extras && trainer->test_index)
        return train_set_limits(trainer) && health_open(trainer) && nearest_open(trainer);
    selfc_fail("no memory to train %s", module->name);
    return false;
}

static bool train_open_folder(Trainer *trainer) {
    if (!trainer->folder) trainer->folder = run_folder_make(trainer->module, trainer->options);
    if (!trainer->folder) return false;
    trainer->lock = run_folder_lock(trainer->folder, trainer->goes_on);
    if (trainer->lock < 0) return false;
    run_folder_clean(trainer->folder);
    trainer->saved_step = -1;
    if (!run_folder_keep_tokenizer(trainer->folder, trainer->module, trainer->feed.tokenizer)) return false;
    if (trainer->goes_on && !checkpoint_read(trainer)) return false;
    if (trainer->has_other_data)
        fprintf(stderr,
                "warning: %s began with other training data, as many as these: what it ends with is no longer a "
                "function of either\n",
                trainer->folder);
    bool is_told = trainer->goes_on && !trainer->options->quiet;
    return run_folder_keep_description(trainer->folder, trainer->module, is_told) &&
           metrics_open(&trainer->metrics, trainer->folder, trainer->module, trainer->goes_on ? trainer->step : -1);
}

static void train_close(Trainer *trainer) {
    metrics_close(&trainer->metrics);
    binding_free(&trainer->train);
    binding_free(&trainer->evaluate);
    binding_free(&trainer->health);
    selfc_session_free(trainer->session);
    feed_close(&trainer->feed);
    free(trainer->times.calls);
    free(trainer->times.threads);
    free(trainer->times.waits);
    free(trainer->order);
    free(trainer->test_index);
    free(trainer->window);
    free(trainer->extras);
    free(trainer->epoch_sum);
    if (trainer->lock >= 0) close(trainer->lock);
    free(trainer->folder);
}

/* Mean of the reports over the test data, false after selfc_fail; the last batch may be smaller, and counts by its
 * size. */
static bool train_evaluate(Trainer *trainer, double *means) {
    Binding *binding = &trainer->evaluate;
    int64_t count = trainer->feed.count[SELFC_TEST], done = 0;
    uint32_t reports = trainer->module->training.report_count;
    int32_t *index = trainer->test_index;
    memset(means, 0, reports * sizeof *means);
    binding_set_key(binding, trainer->seed, train_evaluation_step);
    while (done < count) {
        int64_t n = train_smaller(binding->capacity, count - done);
        if (n < binding->capacity && binding->program->batch) break;
        for (int64_t i = 0; i < n; i++) index[i] = (int32_t)(done + i);
        if (!feed_fill(&trainer->feed, SELFC_TEST, binding, index, n, trainer->session->pool)) return false;
        selfc_execute(trainer->session, binding->program, binding->io, n);
        for (uint32_t i = 0; i < reports; i++) means[i] += *train_report(trainer, binding, i) * (double)n;
        done += n;
    }
    for (uint32_t i = 0; i < reports; i++) means[i] = done ? means[i] / (double)done : NAN;
    return true;
}

static double train_samples_per_second(const Trainer *trainer) {
    double samples = (double)(trainer->window_steps * trainer->train.capacity);
    return trainer->window_seconds > 0 ? samples / trainer->window_seconds : 0;
}

/* What the step itself says beside its loss; the rest is not measured yet. */
static void train_read_extras(Trainer *trainer) {
    const SelfcTraining *training = &trainer->module->training;
    for (uint32_t i = 0; i < trainer->metrics.extra_count; i++) trainer->extras[i] = NAN;
    for (uint32_t i = 0; i < training->measure_count; i++) {
        int output = binding_find_output(trainer->train.program, training->measures[i]);
        if (output >= 0) trainer->extras[i] = *(const float *)trainer->train.io[output];
    }
}

/* Whether the features have collapsed. */
static bool train_look_at_health(Trainer *trainer) {
    double *values = trainer->extras + trainer->module->training.measure_count;
    if (!health_is_due(trainer)) return false;
    health_measure(trainer, values);
    if (!health_has_collapsed(trainer, values)) return false;
    health_warn(trainer, values);
    return true;
}

/* Writes the means since the last line. */
static bool train_write_window(Trainer *trainer, double *last_rate) {
    uint32_t reports = trainer->module->training.report_count;
    if (trainer->window_steps == 0) return true;
    for (uint32_t i = 0; i < reports; i++) trainer->window[i] /= (double)trainer->window_steps;
    Record record = {.step = trainer->step,
                     .epoch = (double)trainer->step / (double)trainer->epoch_steps,
                     .seconds = trainer->seconds,
                     .samples_per_second = train_samples_per_second(trainer),
                     .data_wait = trainer->window_seconds > 0 ? trainer->window_waited / trainer->window_seconds : 0,
                     .values = trainer->window,
                     .extras = trainer->extras};
    train_read_extras(trainer);
    record.has_collapsed = train_look_at_health(trainer);
    bool is_fine = metrics_append(&trainer->metrics, &record);
    *last_rate = record.samples_per_second;
    trainer->data_wait = record.data_wait;
    memset(trainer->window, 0, reports * sizeof *trainer->window);
    trainer->window_steps = 0;
    trainer->window_seconds = 0;
    trainer->window_waited = 0;
    return is_fine;
}

/* The line that ends an epoch (or the run): means over the epoch, and over the test data. */
static bool train_write_epoch(Trainer *trainer, Progress *progress, double rate) {
    uint32_t reports = trainer->module->training.report_count;
    double *test = malloc(reports * sizeof *test);
    if (!test) return selfc_fail("no memory to evaluate"), false;
    bool has_test = trainer->evaluate.program != NULL;
    if (has_test && !train_evaluate(trainer, test)) return free(test), false;
    for (uint32_t i = 0; i < reports; i++) trainer->epoch_sum[i] /= (double)trainer->epoch_sum_steps;
    train_read_extras(trainer);
    if (nearest_is_due(trainer))
        trainer->extras[metrics_extra(&trainer->metrics, "knn_accuracy")] = nearest_measure(trainer);
    Record record = {.step = trainer->step,
                     .epoch = (double)trainer->step / (double)trainer->epoch_steps,
                     .seconds = trainer->seconds,
                     .samples_per_second = rate,
                     .data_wait = trainer->data_wait,
                     .values = trainer->epoch_sum,
                     .extras = trainer->extras,
                     .test = has_test ? test : NULL};
    bool is_fine = metrics_append(&trainer->metrics, &record);
    progress_epoch(progress, trainer, &record);
    memset(trainer->epoch_sum, 0, reports * sizeof *trainer->epoch_sum);
    trainer->epoch_sum_steps = 0;
    free(test);
    return is_fine;
}

bool train_fill(Trainer *trainer) {
    double start = progress_clock();
    int64_t epoch = trainer->step / trainer->epoch_steps, position = trainer->step % trainer->epoch_steps,
            batch = trainer->train.capacity;
    if (trainer->order_epoch != epoch) {
        selfc_shuffle(trainer->order, trainer->feed.count[SELFC_TRAIN], trainer->seed, epoch);
        trainer->order_epoch = epoch;
        feed_ahead(&trainer->feed, SELFC_TRAIN, trainer->order + position * batch,
                   (trainer->epoch_steps - position) * batch);
    }
    if (!feed_fill(&trainer->feed, SELFC_TRAIN, &trainer->train, trainer->order + position * batch, batch,
                   trainer->session->pool))
        return false;
    trainer->window_waited += progress_clock() - start;
    binding_set_key(&trainer->train, trainer->seed, trainer->step);
    return true;
}

/* One step for each line of the metrics is timed call by call, for the profile in the report. */
static void train_execute(Trainer *trainer) {
    bool is_timed = trainer->step % trainer->line_steps == trainer->line_steps / 2;
    trainer->session->times = is_timed ? &trainer->times : NULL;
    selfc_execute(trainer->session, trainer->train.program, trainer->train.io, trainer->train.capacity);
    trainer->session->times = NULL;
    trainer->timed_steps += is_timed;
}

/* One step on the next batch, with its loss; false after selfc_fail. */
static bool train_step(Trainer *trainer, double *loss) {
    double start = progress_clock();
    if (!train_fill(trainer)) return false;
    train_execute(trainer);
    for (uint32_t i = 0; i < trainer->module->training.report_count; i++) {
        double value = *train_report(trainer, &trainer->train, i);
        trainer->window[i] += value;
        trainer->epoch_sum[i] += value;
    }
    trainer->step++;
    trainer->window_steps++;
    trainer->epoch_sum_steps++;
    double seconds = progress_clock() - start;
    trainer->seconds += seconds;
    trainer->window_seconds += seconds;
    *loss = *train_report(trainer, &trainer->train, 0);
    return true;
}

static TrainEnd train_fail_loss(Trainer *trainer, double loss) {
    selfc_fail("%s: the loss is %g at step %lld (epoch %.2f)%s", trainer->folder, isnan(loss) ? (double)NAN : loss,
               (long long)trainer->step, (double)trainer->step / (double)trainer->epoch_steps,
               trainer->step > 1 ? "; a smaller learning rate may help" : "");
    nonfinite_explain(trainer);
    return TRAIN_failed;
}

/* The checkpoint, then the weights of the same step. The loss may be fine while a parameter that it hardly depends on
 * has blown up; such states are never saved. */
static bool train_save(Trainer *trainer) {
    const char *bad = checkpoint_bad_state(trainer);
    if (!bad) return checkpoint_write(trainer) && checkpoint_write_weights(trainer);
    selfc_fail("%s: after step %lld \"%s\" holds values that are no finite numbers; a smaller learning rate may help",
               trainer->folder, (long long)trainer->step, bad);
    nonfinite_explain(trainer);
    return false;
}

/* What a run is for: pictures and the report; weights stand beside each checkpoint. */
static bool train_write_results(Trainer *trainer) { return pictures_write(trainer) && report_write(trainer); }

/* What the failure leaves. */
static void train_fail_kept(const Trainer *trainer) {
    if (trainer->saved_step < 0) return;
    selfc_fail("%s; the checkpoint of step %lld is kept, --resume --out %s goes on from it", selfc_failure(),
               (long long)trainer->saved_step, trainer->folder);
}

static bool train_is_asked_to_stop(const Trainer *trainer, double loss) {
    const SelfcTrainOptions *options = trainer->options;
    return train_signal || (options->progress && options->progress(options->progress_context, trainer->step, loss));
}

/* What is written again and again. */
typedef struct {
    double done_at, took; /* took: the last time; 0: not yet */
} Habit;

static bool train_is_due(const Trainer *trainer, const Habit *habit, double now) {
    double least = trainer->options->pause > 0 ? trainer->options->pause : train_pause;
    return now - habit->done_at > fmax(least, train_pause_times * habit->took);
}

static bool train_keep_up(Trainer *trainer, Habit *habit, bool (*write)(Trainer *trainer)) {
    double start = progress_clock();
    if (!write(trainer)) return false;
    habit->done_at = progress_clock();
    habit->took = habit->done_at - start;
    return true;
}

static TrainEnd train_loop(Trainer *trainer, Progress *progress) {
    double began = progress_clock(), rate = 0;
    Habit checkpoint = {began}, report = {began};
    bool is_last = trainer->step >= trainer->step_limit;
    while (!is_last) {
        double loss;
        if (!train_step(trainer, &loss)) return TRAIN_failed;
        if (!isfinite(loss)) return train_fail_loss(trainer, loss);
        double now = progress_clock();
        bool is_interrupted = train_is_asked_to_stop(trainer, loss);
        is_last = trainer->step >= trainer->step_limit ||
                  (trainer->options->minutes > 0 && now - began >= trainer->options->minutes * 60);
        bool is_epoch = trainer->step % trainer->epoch_steps == 0,
             is_saved = is_epoch || is_last || is_interrupted || train_is_due(trainer, &checkpoint, now);
        bool is_line = is_epoch || is_last || trainer->step % trainer->epoch_steps % trainer->line_steps == 0;
        if (is_line && !train_write_window(trainer, &rate)) return TRAIN_failed;
        progress_step(progress, trainer, loss, rate > 0 ? rate : train_samples_per_second(trainer));
        if ((is_epoch || (is_last && !is_interrupted)) && !train_write_epoch(trainer, progress, rate))
            return TRAIN_failed;
        if (is_saved && !train_keep_up(trainer, &checkpoint, train_save)) return TRAIN_failed;
        if (is_interrupted) return TRAIN_interrupted;
        if (is_saved && !is_last && train_is_due(trainer, &report, now) &&
            !train_keep_up(trainer, &report, train_write_results))
            return TRAIN_failed;
    }
    return TRAIN_finished;
}

static TrainEnd train_run(Trainer *trainer) {
    if (!train_open(trainer) || !train_open_folder(trainer)) return TRAIN_failed;
    Progress progress;
    struct sigaction kept[2];
    trainer->order_epoch = -1;
    progress_begin(&progress, trainer);
    train_catch_signals(kept);
    TrainEnd end = train_loop(trainer, &progress);
    progress_end(&progress);
    if (end != TRAIN_failed && !(train_save(trainer) && train_write_results(trainer))) end = TRAIN_failed;
    train_release_signals(kept);
    if (end == TRAIN_failed) train_fail_kept(trainer);
    if (end == TRAIN_interrupted && !trainer->options->quiet)
        fprintf(stderr, "stopped after step %lld; go on with --resume --out %s\n", (long long)trainer->step,
                trainer->folder);
    if (end != TRAIN_failed) printf("%s\n", trainer->folder);
    fflush(stdout);
    return end;
}

int selfc_train(const SelfcModule *module, const SelfcTrainOptions *options) {
    static const int exit_code[] = {[TRAIN_failed] = 1, [TRAIN_finished] = 0, [TRAIN_interrupted] = 130};
    Trainer trainer = {.module = module, .options = options, .metrics.file = -1, .lock = -1};
    TrainEnd end = train_run(&trainer);
    train_close(&trainer);
    return exit_code[end];
}
