/* Linear algebra of small symmetric matrices, for what is said about features. Private to runtime/train. */
#ifndef SELFC_RUNTIME_EIGEN_H
#define SELFC_RUNTIME_EIGEN_H
#include <stdbool.h>
#include <stdint.h>

/* Eigenvalues of a symmetric matrix n by n, which is used up; values[n], in no order. false: no memory. */
bool eigen_values(double *matrix, int64_t n, double *values);
/* products[n*n] = rows rows^T, of rows[n*d]. */
void eigen_gram(const double *rows, int64_t n, int64_t d, double *products);
/* The same of the columns: products[d*d] = rows^T rows. */
void eigen_scatter(const double *rows, int64_t n, int64_t d, double *products);
/* The `count` eigenvectors of largest eigenvalue of a positive matrix, by orthogonal iteration: vectors[count*n], each of
 * length 1; values[count]. The same every time. false: no memory. */
bool eigen_largest(const double *matrix, int64_t n, int count, double *vectors, double *values);
#endif
