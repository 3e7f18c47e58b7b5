/* Features of samples by a function of the description, and what they are drawn with. Private to runtime/train.
 *
 * Such a function takes what training has of a sample (runtime/data/wanted.h) and gives first of all f32[n,d]. On texts
 * it may have been compiled for several lengths, one of them the training's; each text goes to the shortest that holds
 * it. */
#ifndef SELFC_RUNTIME_FEATURES_H
#define SELFC_RUNTIME_FEATURES_H
#include "runtime/data/wanted.h"
#include "runtime/train/trainer.h"

enum { FEATURES_MOST_COPIES = 16, FEATURES_MOST_TEXT = 120 };

typedef struct {
    char name[128];                                 /* as the description calls it */
    int64_t width;                                  /* d */
    const SelfcProgram *copy[FEATURES_MOST_COPIES]; /* the shortest first, the training's length last */
    uint32_t copies;
    Wanted wanted;
} Features;

/* The function called `name`; if that is NULL "encode", or the only one that could. False after selfc_fail: there is
 * none. */
bool features_find(const Trainer *trainer, const char *name, Features *features);
/* Which sample is number i of n that stand for all of a split. They are spread evenly, since data often come sorted by
 * class. */
int32_t features_place(const Trainer *trainer, SelfcSplit split, int64_t i, int64_t n);
/* The features of n samples of a split; rows[n * width]. False after selfc_fail. */
bool features_run(Trainer *trainer, const Features *features, SelfcSplit split, int64_t n, float *rows);
/* Their labels, where the source has a field of this name; else NULL. free(). */
int32_t *features_labels(const Trainer *trainer, SelfcSplit split, int64_t n);
/* The name of a label's class in the words of the source, or its number. */
const char *features_class(const Trainer *trainer, int32_t label, char text[32]);
/* The beginning of a sample that is a text; false: it is none. */
bool features_text(const Trainer *trainer, SelfcSplit split, int32_t number, char text[FEATURES_MOST_TEXT]);

/* tsne.c: places in the plane that keep neighbours together (van der Maaten and Hinton, Visualizing Data using t-SNE,
 * 2008, exact). places[2 * n] come in as a first guess. The same for any number of threads. False: no memory. */
bool tsne_run(const double *rows, int64_t n, int64_t d, double *places, SelfcPool *pool);
#endif
