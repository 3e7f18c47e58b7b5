/* Progress for people, on stderr: on a terminal a bar that is drawn over itself, in a pipe a plain line for each
 * epoch (and every ten seconds, if epochs are long). */
#include "runtime/train/trainer.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double progress_bar_pause = 0.1, progress_line_pause = 10;

double progress_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void progress_clear(Progress *progress) {
    if (progress->is_bar_shown) fputs("\r\033[K", stderr);
    progress->is_bar_shown = false;
}

int64_t progress_parameters(const SelfcModule *module) {
    int64_t count = 0;
    for (uint32_t i = 0; i < module->state_count; i++)
        if (module->states[i].is_parameter) count += selfc_tensor_elements(&module->states[i].tensor, 0);
    return count;
}

/* What of the data is not trained on, once for each source. */
static void progress_tell_cut(const Feed *feed) {
    for (int split = SELFC_TRAIN; split <= SELFC_TEST; split++)
        for (uint32_t i = 0; i < feed->input_count; i++) {
            const char *cut = selfc_source_cut(feed->inputs[i].source[split]);
            if (cut && feed_is_first_with(feed, i)) fprintf(stderr, "note: %s; a larger \"length\" keeps more\n", cut);
        }
}

void progress_begin(Progress *progress, const Trainer *trainer) {
    *progress = (Progress){
        .is_quiet = trainer->options->quiet, .is_terminal = isatty(STDERR_FILENO), .shown_at = progress_clock()};
    if (progress->is_quiet) return;
    int threads = selfc_pool_threads(trainer->session->pool);
    fprintf(stderr, "%s: %lld parameters, %lld samples (%lld to test), batch %lld, %d thread%s, seed %llu",
            trainer->module->name, (long long)progress_parameters(trainer->module),
            (long long)trainer->feed.count[SELFC_TRAIN], (long long)trainer->feed.count[SELFC_TEST],
            (long long)trainer->train.capacity, threads, threads == 1 ? "" : "s", (unsigned long long)trainer->seed);
    if (trainer->options->prepare_seconds > 0)
        fprintf(stderr, ", ready after %.2f s", trainer->options->prepare_seconds);
    if (trainer->step > 0) fprintf(stderr, ", goes on after step %lld", (long long)trainer->step);
    fprintf(stderr, "\n");
    if (trainer->step > 0 && trainer->step >= trainer->step_limit)
        fprintf(stderr, "note: it has made the steps that were asked for; --epochs N trains it further\n");
    progress_tell_cut(&trainer->feed);
}

static void progress_put_duration(double seconds) {
    if (seconds < 60)
        fprintf(stderr, "%.0f s", seconds);
    else if (seconds < 3600)
        fprintf(stderr, "%d min %02d s", (int)(seconds / 60), (int)seconds % 60);
    else
        fprintf(stderr, "%d h %02d min", (int)(seconds / 3600), (int)(seconds / 60) % 60);
}

/* "940", "89.9k", "1.25M". */
static void progress_put_rate(double samples_per_second) {
    if (samples_per_second < 1e4)
        fprintf(stderr, "  %.0f samples/s", samples_per_second);
    else if (samples_per_second < 1e6)
        fprintf(stderr, "  %.1fk samples/s", samples_per_second / 1e3);
    else
        fprintf(stderr, "  %.2fM samples/s", samples_per_second / 1e6);
}

/* The share of the run that is done, by the limit that will end it; and the seconds left, or NaN. */
static double progress_share(const Trainer *trainer, double samples_per_second, double *left) {
    double total = trainer->step_limit == INT64_MAX ? 0 : (double)trainer->step_limit, share = 0;
    *left = NAN;
    if (total > 0) {
        share = (double)trainer->step / total;
        *left = (total - (double)trainer->step) * (double)trainer->train.capacity / samples_per_second;
    }
    double minutes = trainer->options->minutes;
    if (minutes <= 0) return share;
    double used = trainer->seconds / (minutes * 60);
    if (used <= share) return share;
    *left = minutes * 60 - trainer->seconds;
    return used < 1 ? used : 1;
}

static int progress_columns(void) {
    enum { USUAL = 80 };
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? USUAL : size.ws_col;
}

/* The words behind the bar take up to 68 columns; the bar has what is left of the terminal's. */
static int progress_cells(void) {
    enum { WORDS = 68, LEAST = 4, MOST = 24 };
    int cells = progress_columns() - WORDS;
    return cells < LEAST ? LEAST : cells > MOST ? MOST : cells;
}

/* \033[?7l: what does not fit is cut off, not wrapped; a wrapped line could not be overwritten. */
static void progress_bar(const Trainer *trainer, double loss, double samples_per_second) {
    double left, share = progress_share(trainer, samples_per_second, &left);
    int cells = progress_cells(), filled = (int)(share * cells);
    fputs("\r\033[K\033[?7l", stderr);
    for (int i = 0; i < cells; i++) fputs(i < filled ? "█" : "░", stderr);
    fprintf(stderr, " %3.0f%%  epoch %.2f  loss %.5g", 100 * share,
            (double)trainer->step / (double)trainer->epoch_steps, loss);
    progress_put_rate(samples_per_second);
    if (isfinite(left)) fputs("  ", stderr), progress_put_duration(left), fputs(" left", stderr);
    fputs("\033[?7h", stderr);
    fflush(stderr);
}

void progress_step(Progress *progress, const Trainer *trainer, double loss, double samples_per_second) {
    if (progress->is_quiet) return;
    double now = progress_clock();
    if (now - progress->shown_at < (progress->is_terminal ? progress_bar_pause : progress_line_pause)) return;
    progress->shown_at = now;
    if (progress->is_terminal) {
        progress_bar(trainer, loss, samples_per_second);
        progress->is_bar_shown = true;
    } else {
        fprintf(stderr, "step %lld  epoch %.3f  loss %.6g", (long long)trainer->step,
                (double)trainer->step / (double)trainer->epoch_steps, loss);
        progress_put_rate(samples_per_second);
        fputs("\n", stderr);
    }
}

/* "  kl 12.3", if there is room for it and for a sign that something was left out. */
static bool progress_put_value(const char *prefix, const char *name, double value, int *room) {
    char text[256];
    int length = snprintf(text, sizeof text, "  %s%s %.6g", prefix, name, value);
    bool fits = length + 2 <= *room;
    if (fits) fputs(text, stderr), *room -= length;
    return fits;
}

/* As many values as fit into one line of the terminal, or all; metrics.jsonl has them in any case. */
void progress_epoch(Progress *progress, const Trainer *trainer, const Record *record) {
    enum { RATE_AND_SECONDS = 30 };
    if (progress->is_quiet) return;
    progress_clear(progress);
    int used = fprintf(stderr, "epoch %.6g", record->epoch);
    if (trainer->epoch_limit) used += fprintf(stderr, " of %lld", (long long)trainer->epoch_limit);
    int room = progress->is_terminal ? progress_columns() - RATE_AND_SECONDS - used : INT_MAX;
    bool fits = true;
    for (uint32_t i = 0; i < trainer->metrics.name_count && fits; i++) {
        const char *name = metrics_name(&trainer->metrics, i);
        fits = progress_put_value("", name, record->values[i], &room) &&
               (!record->test || progress_put_value("test_", name, record->test[i], &room));
    }
    int knn = metrics_extra(&trainer->metrics, "knn_accuracy");
    if (fits && knn >= 0 && !isnan(record->extras[knn]))
        fits = progress_put_value("", "knn_accuracy", record->extras[knn], &room);
    if (!fits) fputs(" …", stderr);
    progress_put_rate(record->samples_per_second);
    fprintf(stderr, "  %.2f s\n", record->seconds);
    progress->shown_at = progress_clock();
}

void progress_end(Progress *progress) { progress_clear(progress); }
