/* Features of a data set, shared by selfc_embed and the protocols of selfc_eval. */
#ifndef SELFC_FRONTEND_API_EMBED_H
#define SELFC_FRONTEND_API_EMBED_H
#include "frontend/api_rows.h"
#include "runtime/data/wanted.h"

/* A function and the data that it is run on. */
typedef struct {
    SelfcModel *model;
    const char *function;        /* as the description calls it */
    Lengths lengths;             /* of a function on texts; none of another */
    const SelfcProgram *program; /* the one that inputs and output below are of; of several lengths the longest */
    SelfcSource *source[2];      /* by split; loaded when first used */
    const char *data;            /* path or kind of the source */
    bool needs_labels;           /* lines of text begin with labels, whether the training reads them or not */
    bool takes_all;              /* texts without a test split of their own are not cut into splits */
    Wanted wanted;
    const SelfcTensor *output; /* the first: features of a sample */
    int64_t features;          /* how many */
    int64_t batch;             /* samples to run at once */
} Embed;

/* function: NULL is "encode", or the only one that takes such data. What else the data are for is set before, in
 * *embed. 0, or 1 after api_fail. */
int embed_open(Embed *embed, SelfcModel *model, const char *function);
void embed_close(Embed *embed);
int embed_load(Embed *embed, SelfcSplit split);
/* Notes what of the split's texts is too long for the function. */
void embed_tell_cut(const Embed *embed, SelfcSplit split);
int embed_label_field(const Embed *embed, SelfcSplit split); /* -1: no labels */
/* From now on texts are no longer than the smallest of the function's lengths that holds `share` of samples
 * index[0..count) of the training data, loaded ones, and what is longer is cut. 0, or 1 after api_fail. */
int embed_shorten(Embed *embed, const int32_t *index, int64_t count, double share);
/* Fills the function's inputs, each for n samples, as training would. 0, or 1 after api_fail. */
int embed_fill(const Embed *embed, SelfcSplit split, const int32_t *index, int64_t n, void *const *inputs);
/* Runs the function over samples index[0..count) (NULL: the first `count`) and hands over rows as they come; `take`
 * returns not 0 to end it. 0, or 1 after api_fail. */
typedef int EmbedTake(void *context, const float *rows, int64_t n);
int embed_run(Embed *embed, SelfcSplit split, const int32_t *index, int64_t count, EmbedTake *take, void *context);

/* A line that is drawn over itself on a terminal, and goes when `done` is `total`. */
typedef struct {
    const char *what;
    bool is_wanted;
    double shown_at;
} ApiProgress;
ApiProgress api_progress_begin(const SelfcModel *model, const char *what);
void api_progress(ApiProgress *progress, int64_t done, int64_t total);
#endif
