/* Which fields of a data set a function wants, and filling its inputs with them.
 *
 * An input takes the field of its own name, as "count" does of a text; one input of any other name may take the sample
 * itself, which is the first field. Numbers come as they are stored or, where the function has f32, as the training has
 * them. Pictures that a training takes crops from, in boxes with their true sizes, become pictures of the function's
 * size, and without what is around them in the box.
 */
#ifndef SELFC_RUNTIME_WANTED_H
#define SELFC_RUNTIME_WANTED_H
#include "runtime/data/data.h"

#include <stdbool.h>

enum { WANTED_MOST = 8, WANTED_MOST_BATCH = 256 };

/* Of the inputs that wanted_tensor counts. */
typedef struct {
    uint32_t count;
    struct {
        uint32_t field;
        double scale; /* stored numbers that become f32 are multiplied with it */
        bool resizes; /* pictures of any size in a box: to the function's size, cropped in their middle */
    } input[WANTED_MOST];
} Wanted;

/* The function's input number `input`; "$key" and "$sample", which no data are for, do not count. NULL: there are no
 * more. */
const SelfcTensor *wanted_tensor(const SelfcProgram *program, uint32_t input);
/* The field of this name; else the first. */
uint32_t wanted_field(const SelfcSource *source, const char *name);
/* Height and width of a picture, which may take a part of its box, at the top left. Whether it may. */
bool wanted_true_size(const SelfcSource *source, const SelfcTensor *sample, int32_t number, int32_t size[2]);
int wanted_label(const SelfcSource *source); /* the field with labels; -1: there are none */
/* function: what messages call it. Scales are 1/255 for bytes, else 1. False after selfc_fail: it does not take samples
 * of such data. */
bool wanted_find(Wanted *wanted, const SelfcProgram *program, const char *function, const SelfcSource *source);
/* Fills inputs[count], each for the samples index[0..n). The program may be another copy of the function, for shorter
 * texts, which are then cut. False after selfc_fail: no memory. */
bool wanted_fill(const Wanted *wanted, const SelfcProgram *program, const SelfcSource *source, const int32_t *index,
                 int64_t n, void *const *inputs, SelfcPool *pool);
int64_t wanted_batch(const SelfcProgram *program); /* samples at once that keep temporaries small */
#endif
