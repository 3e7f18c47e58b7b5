/* Weights that begin as a file has them: training.init, and whatever else moves weights by name. */
#ifndef SELFC_RUNTIME_BEGIN_H
#define SELFC_RUNTIME_BEGIN_H
#include "runtime/data/data.h"

/* A weight, and where its value goes; place NULL: it is only looked whether all fits. */
typedef struct {
    const SelfcTensor *tensor;
    void *place;
} SelfcPlace;

/* Copies to each place what the tensors have under the weight's name, or under the name that `begin` gives it there.
 * `from` is what messages call the tensors. *spare: a text that lists tensors which no weight takes, to be freed; NULL
 * if there are none. -1 after selfc_fail, with nothing changed. */
int selfc_begin(const SelfcBegin *begin, const SelfcTensors *tensors, const char *from, const SelfcPlace *places,
                uint32_t count, char **spare);
/* The same for all weights of a module, from the file; state: as in a session, NULL: only a look. */
int selfc_begin_states(const SelfcBegin *begin, const SelfcModule *module, void *state, char **spare);
#endif
