/* Eigenvalues of symmetric matrices: Householder reflections make the matrix tridiagonal (Golub and Van Loan, Matrix
 * Computations, 4th edition, 8.3.1), then QR steps with Wilkinson's shift make what is beside the diagonal vanish
 * (8.3.2). Where only the largest few eigenvectors are wanted, repeated multiplication finds them. */
#include "runtime/train/eigen.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Four sums side by side: one addition does not wait for the one before. */
static double eigen_dot(const double *a, const double *b, int64_t n) {
    double sum[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) sum[k] += a[i + k] * b[i + k];
    for (; i < n; i++) sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void eigen_add(double *to, const double *from, double factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] += factor * from[i];
}

void eigen_gram(const double *rows, int64_t n, int64_t d, double *products) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++)
            products[i * n + j] = products[j * n + i] = eigen_dot(rows + i * d, rows + j * d, d);
}

void eigen_scatter(const double *rows, int64_t n, int64_t d, double *products) {
    memset(products, 0, (size_t)(d * d) * sizeof *products);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < d; k++) eigen_add(products + k * d, rows + i * d, rows[i * d + k], d);
}

/* H = 1 - beta v v^T takes the part of column k below the diagonal to its first element. v and w have room for n. */
static void eigen_reflect(double *a, int64_t n, int64_t k, double *v, double *w, double *beside) {
    int64_t size = n - k - 1;
    for (int64_t i = 0; i < size; i++) v[i] = a[(k + 1 + i) * n + k];
    double length = sqrt(eigen_dot(v, v, size));
    beside[k] = v[0] > 0 ? -length : length;
    v[0] -= beside[k];
    double square = eigen_dot(v, v, size);
    if (square == 0) return;
    double beta = 2 / square;
    for (int64_t i = 0; i < size; i++) w[i] = beta * eigen_dot(a + (k + 1 + i) * n + k + 1, v, size);
    eigen_add(w, v, -beta / 2 * eigen_dot(v, w, size), size);
    for (int64_t i = 0; i < size; i++) {
        double *row = a + (k + 1 + i) * n + k + 1;
        eigen_add(row, w, -v[i], size);
        eigen_add(row, v, -w[i], size);
    }
}

/* One QR step on the block from `low` to `high`. */
static void eigen_step(double *diagonal, double *beside, int64_t low, int64_t high) {
    double half = (diagonal[high - 1] - diagonal[high]) / 2, last = beside[high - 1];
    double root = hypot(half, last);
    double shift = diagonal[high] - last * (last / (half + (half < 0 ? -root : root)));
    double x = diagonal[low] - shift, z = beside[low];
    for (int64_t k = low; k < high; k++) {
        double r = hypot(x, z), c = r > 0 ? x / r : 1, s = r > 0 ? z / r : 0;
        double a = diagonal[k], b = diagonal[k + 1], e = beside[k];
        if (k > low) beside[k - 1] = r;
        diagonal[k] = c * c * a + 2 * c * s * e + s * s * b;
        diagonal[k + 1] = s * s * a - 2 * c * s * e + c * c * b;
        beside[k] = c * s * (b - a) + (c * c - s * s) * e;
        if (k + 1 == high) break;
        x = beside[k];
        z = s * beside[k + 1];
        beside[k + 1] *= c;
    }
}

static void eigen_of_tridiagonal(double *diagonal, double *beside, int64_t n) {
    enum { STEPS_EACH = 60 }; /* two or three are usual */
    int64_t high = n - 1;
    for (int64_t steps = STEPS_EACH * n; high > 0 && steps > 0; steps--) {
        int64_t low = high;
        while (low > 0 &&
               fabs(beside[low - 1]) > DBL_EPSILON * (fabs(diagonal[low - 1]) + fabs(diagonal[low])) + DBL_MIN)
            low--;
        if (low == high)
            high--;
        else
            eigen_step(diagonal, beside, low, high);
    }
}

bool eigen_values(double *matrix, int64_t n, double *values) {
    double *room = malloc((size_t)(3 * n + 1) * sizeof *room);
    if (!room) return false;
    double *beside = room + 2 * n;
    for (int64_t k = 0; k + 2 < n; k++) eigen_reflect(matrix, n, k, room, room + n, beside);
    if (n > 1) beside[n - 2] = matrix[(n - 1) * n + n - 2];
    for (int64_t i = 0; i < n; i++) values[i] = matrix[i * n + i];
    eigen_of_tridiagonal(values, beside, n);
    free(room);
    return true;
}

/* Makes the vector orthogonal to those before it and of length 1; its length until then. */
static double eigen_orthogonal(double *vectors, int64_t n, int count) {
    double *own = vectors + count * n;
    for (int k = 0; k < count; k++) eigen_add(own, vectors + k * n, -eigen_dot(own, vectors + k * n, n), n);
    double length = sqrt(eigen_dot(own, own, n));
    for (int64_t i = 0; i < n && length > 0; i++) own[i] /= length;
    return length;
}

bool eigen_largest(const double *matrix, int64_t n, int count, double *vectors, double *values) {
    enum { ITERATIONS = 300 };
    double *product = malloc((size_t)(n + 1) * sizeof *product);
    if (!product) return false;
    for (int k = 0; k < count; k++) {
        for (int64_t i = 0; i < n; i++) vectors[k * n + i] = sin((double)(i + 1) * (k + 1));
        eigen_orthogonal(vectors, n, k);
    }
    double change = 1;
    for (int iteration = 0; iteration < ITERATIONS && change > 1e-9; iteration++) {
        change = 0;
        for (int k = 0; k < count; k++) {
            for (int64_t i = 0; i < n; i++) product[i] = eigen_dot(matrix + i * n, vectors + k * n, n);
            double before = iteration ? values[k] : 0;
            memcpy(vectors + k * n, product, (size_t)n * sizeof *product);
            values[k] = eigen_orthogonal(vectors, n, k);
            change = fmax(change, fabs(values[k] - before) / (fabs(values[0]) + DBL_MIN));
        }
    }
    free(product);
    return true;
}
