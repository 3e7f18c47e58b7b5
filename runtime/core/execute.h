/* What session.c allocates and execute.c uses. Private to runtime/core. */
#ifndef SELFC_RUNTIME_EXECUTE_H
#define SELFC_RUNTIME_EXECUTE_H
#include "runtime/core/core.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef struct {
    uint32_t first_call, end_call;
    bool barrier_after; /* false where no thread waits for another */
    bool is_shared;     /* long enough that who is done first helps the others */
} Phase;

/* Who does what in a program at a batch size, and where the arguments are; the first is kept between runs. */
typedef struct {
    const SelfcProgram *program; /* NULL: nothing planned yet */
    int64_t n;
    int64_t *bounds; /* call c, thread t: pieces bounds[c * (threads + 1) + t] up to the next */
    atomic_uint_fast64_t *left; /* of these, while a run goes on: the first in the lower half, the end in the upper */
    Phase *phases;
    void ***args; /* of each call, into pointers */
    void **pointers;
    double *seconds; /* of one run, while profiling; call c, thread t: c * threads + t */
    double *ends;    /* when each thread was done, while profiling */
} Plan;

/* What is kept for a program from run to run. */
typedef struct {
    void *memory;     /* NULL: not reserved yet */
    uint64_t version; /* of the states that it was made from; 0: not made yet */
} Prepared;

/* What a SelfcSession is the beginning of. */
typedef struct {
    SelfcSession session;
    Plan plan;
    int64_t scratch_stride;
    Prepared *prepared; /* for each program of the module */
    uint64_t version;   /* of the states, from 1 on */
} Execution;
#endif
