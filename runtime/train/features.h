/* Features of samples by a function of the description, and what they are drawn with. Private to runtime/train. */
#ifndef SELFC_RUNTIME_FEATURES_H
#define SELFC_RUNTIME_FEATURES_H
#include "runtime/train/trainer.h"

/* The function that gives features: takes a sample of the first data input (bytes as stored, or numbers as the training has them), gives
 * first of all f32[n,d]. The one called `name`; if that is NULL "encode", or the only one. NULL: there is none. */
const SelfcProgram *features_function(const Trainer *trainer, const char *name);
int64_t features_width(const SelfcProgram *function);
/* Which sample is number i of n that stand for all of a split. They are spread evenly, since data often come sorted by
 * class. */
int32_t features_place(const Trainer *trainer, SelfcSplit split, int64_t i, int64_t n);
/* The features of n samples of a split; rows[n * width]. False after selfc_fail. */
bool features_run(Trainer *trainer, const SelfcProgram *function, SelfcSplit split, int64_t n, float *rows);
/* Their labels, where the source has a field of this name; else NULL. free(). */
int32_t *features_labels(const Trainer *trainer, SelfcSplit split, int64_t n);
/* The name of a label's class in the words of the source, or its number. */
const char *features_class(const Trainer *trainer, int32_t label, char text[32]);

/* tsne.c: places in the plane that keep neighbours together (van der Maaten and Hinton, Visualizing Data using t-SNE,
 * 2008, exact). places[2 * n] come in as a first guess. The same for any number of threads. False: no memory. */
bool tsne_run(const double *rows, int64_t n, int64_t d, double *places, SelfcPool *pool);
#endif
