/* What the files of the training loop share: one Trainer is one run. Private to runtime/train. */
#ifndef SELFC_RUNTIME_TRAINER_H
#define SELFC_RUNTIME_TRAINER_H
#include "runtime/data/data.h"
#include "runtime/train/train.h"

#include <stdbool.h>

/* binding.c: a program with a buffer for each input and output. */
typedef struct {
    const SelfcProgram *program; /* NULL: nothing is bound */
    void **io;                   /* inputs, then outputs; owned, 64-byte aligned, for up to `capacity` samples */
    int64_t capacity;
    int32_t *key, *sample;       /* among io; NULL where the program has none */
} Binding;
/* false after selfc_fail */
bool binding_make(Binding *binding, SelfcSession *session, const SelfcProgram *program, int64_t capacity);
void binding_free(Binding *binding);
void binding_set_key(Binding *binding, uint64_t seed, int64_t step);
bool binding_is_data_input(const SelfcTensor *tensor); /* not $key or $sample */
int binding_find_output(const SelfcProgram *program, const char *name); /* in io; -1: none */

/* feed.c: from data sets to the inputs of programs. */
typedef struct {
    const char *input;           /* its name in the programs */
    SelfcSource *source[2];      /* by split; inputs may share them */
    uint32_t field;
} FeedInput;
typedef struct {
    FeedInput *inputs;
    uint32_t input_count;
    int64_t count[2];            /* samples of each split */
    SelfcTokenizer *tokenizer;   /* of texts; NULL: there are none */
} Feed;
/* data: path that replaces the description's, or NULL; cache: see SelfcSourceOptions. False after selfc_fail. */
bool feed_open(Feed *feed, const SelfcModule *module, const char *data, const char *cache);
void feed_close(Feed *feed);
bool feed_is_first_with(const Feed *feed, uint32_t input); /* its source is that of no input before it */
/* Says in which order the samples will be wanted: what is made in the background is made in this order. */
void feed_ahead(const Feed *feed, SelfcSplit split, const int32_t *index, int64_t n);
/* Copies the samples index[0..n) into the binding's inputs, and their numbers to $sample. False after selfc_fail: too
 * many are broken. */
bool feed_fill(const Feed *feed, SelfcSplit split, Binding *binding, const int32_t *index, int64_t n, SelfcPool *pool);
/* Of the training data: their number, and some samples from the first to the last. False after selfc_fail. */
bool feed_fingerprint(const Feed *feed, uint64_t *print);

/* metrics.c: what was measured, in memory and as lines of metrics.jsonl. values and test: one for each report; extras: one
 * for each other thing that is measured now and then. */
typedef struct {
    int64_t step;
    double epoch, seconds, samples_per_second;
    double data_wait;            /* share of the time in which steps waited for their data */
    double *values, *test;       /* test NULL: not at the end of an epoch, or no test data */
    double *extras;              /* NaN: not measured for this line */
    bool has_collapsed;
} Record;
typedef struct {
    char *path;
    int file;
    const char *const *names;    /* of the reports; the first is written as "loss" */
    uint32_t name_count;
    char **extras;               /* names: "learning_rate", "feature_std" */
    uint32_t extra_count;
    Record *records;
    size_t count, capacity;
} Metrics;
/* Begins the file anew, or keeps what it has up to `step` if that is not negative. */
bool metrics_open(Metrics *metrics, const char *folder, const SelfcModule *module, int64_t step);
bool metrics_append(Metrics *metrics, const Record *record); /* copies it; false after selfc_fail, nothing written */
void metrics_close(Metrics *metrics);
const char *metrics_name(const Metrics *metrics, uint32_t report);
int metrics_extra(const Metrics *metrics, const char *name); /* -1: not measured */

typedef struct {
    const SelfcModule *module;
    const SelfcTrainOptions *options;
    SelfcSession *session;
    Feed feed;
    Binding train, evaluate, health;
    Metrics metrics;
    char *folder;                /* the RUN folder */
    bool goes_on;                /* from a checkpoint */
    uint64_t data_print;         /* feed_fingerprint */
    bool has_other_data;         /* than the checkpoint was made with */
    int lock;                    /* on the folder; -1: none */
    uint64_t seed;
    int32_t *order;              /* of the epoch `order_epoch` */
    int32_t *test_index; /* of one batch of test data */
    int64_t order_epoch;
    int64_t step, step_limit;    /* done; to do in all, or INT64_MAX */
    int64_t epoch_steps, epoch_limit, line_steps;
    double health_steps;         /* for each look at the health */
    double *window, *epoch_sum;  /* sums of reports since the last line of metrics; since the epoch began */
    double *extras;              /* of the line that is being written */
    int64_t window_steps, epoch_sum_steps;
    double seconds, window_seconds; /* spent training */
    double window_waited;        /* of window_seconds: until the data were there */
    double data_wait;            /* of the last line of metrics */
    SelfcTimes times;            /* of some steps */
    int64_t timed_steps;
    int64_t saved_step;          /* of the checkpoint on disk, or -1 */
} Trainer;

/* run_folder.c: makes the RUN folder, or finds the one to resume. NULL after selfc_fail. free(). */
char *run_folder_make(const SelfcModule *module, const SelfcTrainOptions *options);
char *run_folder_find(const SelfcModule *module, const SelfcTrainOptions *options);
bool run_folder_has_checkpoint(const char *folder);
/* Until it is closed, no other process trains in the folder, which has a checkpoint or has none. -1 after selfc_fail. */
int run_folder_lock(const char *folder, bool has_checkpoint);
/* is_told: how it differs from the one that is there goes to stderr. False after selfc_fail. */
bool run_folder_keep_description(const char *folder, const SelfcModule *module, bool is_told);
/* A run of texts keeps their tokenizer. False after selfc_fail: a run that goes on has another one. */
bool run_folder_keep_tokenizer(const char *folder, const SelfcModule *module, const SelfcTokenizer *tokenizer);
void run_folder_clean(const char *folder); /* removes temporary files that a killed run left behind */

/* checkpoint.c: false after selfc_fail; what was there before is then still there. */
bool checkpoint_write(Trainer *trainer);
bool checkpoint_read(Trainer *trainer);
bool checkpoint_write_weights(const Trainer *trainer);
/* The name of a state that holds a value which is not finite; NULL: there is none. */
const char *checkpoint_bad_state(const Trainer *trainer);

/* train.c: weights of training.init take their values, where there are any. is_told: what is left over goes to stderr. */
bool train_begin(Trainer *trainer, bool is_told); /* false after selfc_fail */
/* The inputs of the step that comes next. */
bool train_fill(Trainer *trainer); /* false after selfc_fail */

/* nonfinite.c: which layer made the first value that is not finite on the way to where the run stands; added to the
 * failure's text. Ends the run: states and step are no longer its own. */
void nonfinite_explain(Trainer *trainer);

/* health.c: do the features tell samples apart? All but health_open do nothing where the description does not ask. */
typedef struct {
    double spread, rank, alignment, uniformity;
} Health;
bool health_open(Trainer *trainer); /* false after selfc_fail */
bool health_is_due(const Trainer *trainer);
/* Fills in what stands after the measures of the step in a line's extras, from spread and rank on. */
void health_measure(Trainer *trainer, double *values);
bool health_has_collapsed(const Trainer *trainer, const double *values);
void health_warn(const Trainer *trainer, const double *values);

/* nearest.c: do the features of the training data judge those of the test data rightly? Where training.knn asks. */
bool nearest_open(Trainer *trainer); /* false after selfc_fail */
bool nearest_is_due(const Trainer *trainer);
double nearest_measure(Trainer *trainer); /* accuracy; NaN, after a warning: it cannot be judged */

/* scan.c: numbers in memory that are not finite. */
typedef struct {
    int64_t count, first; /* of elements that are not finite; the first of them, or -1 */
    double value;         /* of the first */
    double largest;       /* magnitude of those that are finite */
} Scan;
bool scan_is_finite(const void *values, int32_t dtype, int64_t elements); /* fast */
Scan scan_values(const void *values, int32_t dtype, int64_t elements);

/* progress.c: for people, on stderr. */
typedef struct {
    bool is_quiet, is_terminal, is_bar_shown;
    double shown_at;
} Progress;
void progress_begin(Progress *progress, const Trainer *trainer);
void progress_step(Progress *progress, const Trainer *trainer, double loss, double samples_per_second);
void progress_epoch(Progress *progress, const Trainer *trainer, const Record *record);
void progress_end(Progress *progress);
int64_t progress_parameters(const SelfcModule *module); /* numbers that are trained */
double progress_clock(void);     /* seconds, monotonic */

/* pictures.c, report.c */
bool pictures_write(Trainer *trainer); /* samples.png, plane.png, reconstructions.png: those that the functions allow */
bool report_write(Trainer *trainer);
#endif
