/* Measures of features: rows [n,d], in double. Private to runtime/train. */
#ifndef SELFC_RUNTIME_HEALTH_H
#define SELFC_RUNTIME_HEALTH_H
#include <stdint.h>

/* Each row divided by its length; a row of zeros stays one. */
void health_normalise(const float *rows, int64_t n, int64_t d, double *out);

/* All of these take rows of length 1. NaN: no memory.
 *
 * The standard deviation of each of the d numbers, averaged, times sqrt(d): 1 if the rows point everywhere, 0 if all are one
 * (Chen and He, Exploring Simple Siamese Representation Learning, 2021, section 4.1). */
double health_spread(const double *rows, int64_t n, int64_t d);
/* exp of the entropy of the singular values of the centred rows, divided by their sum: in how many directions they
 * spread (Roy and Vetterli, The Effective Rank, 2007). 1 where there is no spread at all. */
double health_rank(const double *rows, int64_t n, int64_t d);
/* Mean squared distance of row i of one view from row i of the other (Wang and Isola, Understanding Contrastive
 * Representation Learning through Alignment and Uniformity on the Hypersphere, 2020, with alpha = 2). */
double health_alignment(const double *a, const double *b, int64_t n, int64_t d);
/* log of the mean over pairs of exp(-2 distance^2) (the same, with t = 2): about -4 on a wide sphere, 0 if all are one. */
double health_uniformity(const double *rows, int64_t n, int64_t d);
#endif
