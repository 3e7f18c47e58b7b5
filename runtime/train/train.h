/* The training loop: batches, steps, metrics, checkpoints, pictures, report. Drives a module whether the JIT made it
 * or a file holds it, so that a built training program and `selfc train` are the same code. */
#ifndef SELFC_RUNTIME_TRAIN_H
#define SELFC_RUNTIME_TRAIN_H
#include "runtime/core/core.h"

/* The operation in a call (its position in the program) that makes of finite values one that is not, in argument `arg`
 * of the call; args are the call's as it finds them. 0; 1: it cannot be told. */
typedef struct {
    char text[128];     /* "log(-0.5)" */
    const char *origin; /* its layer; NULL: that of the call */
} SelfcOperation;
typedef int SelfcFindOperation(void *context, const SelfcProgram *program, uint32_t call, int64_t n, void *const *args,
                               uint32_t arg, SelfcOperation *operation);

typedef struct {
    const char *data;        /* path that replaces every source's; may be NULL */
    const char *out;         /* RUN folder; NULL: runs/NAME-1, -2, … the first that is free */
    int64_t epochs, steps;   /* 0: as described; steps stops early */
    double minutes;          /* 0: no limit */
    uint64_t seed;
    int has_seed;            /* 0: as described */
    int threads;             /* 0: all that this process may use */
    const char *cache;       /* folder for decoded data; NULL: the user's cache, "": none that outlives the run */
    int resume;              /* go on from the checkpoint in `out` */
    int quiet;
    double pause;            /* seconds between checkpoints within an epoch, and between reports; 0: 30 */
    double prepare_seconds;  /* spent before (reading, compiling), for the first line */
    int (*progress)(void *context, int64_t step, double loss); /* may be NULL; not 0 stops the run with a checkpoint */
    void *progress_context;
    SelfcFindOperation *find_operation; /* asked when a run fails; NULL: kernels are named instead */
    void *find_context;
} SelfcTrainOptions;

/* Trains. Prints progress to stderr-or-terminal and the RUN folder as the last line of stdout. 0; 1 after a failure
 * (selfc_failure); 130 if interrupted (a checkpoint was written). */
int selfc_train(const SelfcModule *module, const SelfcTrainOptions *options);

/* The main() of a built training program. */
int selfc_trainer_main(const SelfcModule *module, int argc, char **argv);
#endif
