/* Winograd's minimal filtering F(2x2, 3x3): a 3x3 convolution by tiles of 2x2 places, which takes 16 products for each
 * pair of channels where the definition takes 36 (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks",
 * CVPR 2016, section 4.1).
 *
 * With d the 4x4 pixels that a tile sees, g the filter and y the tile,
 *   y = A' [(G g G') . (B' d B)] A          and for the filter's gradient   dg = G' [(B' d B) . (A dy A')] G
 *   B' = 1  0 -1  0    G = 1    0    0      A' = 1  1  1  0
 *        0  1  1  0        1/2  1/2  1/2         0  1 -1  1
 *        0 -1  1  0        1/2 -1/2  1/2
 *        0 -1  0  1        0    0    1
 * where products are summed over channels (or over tiles) for each of the 16 elements, that is by 16 matrix products.
 * The last row of B' and column of A' have the opposite sign of the paper's, which spares a negation of dy.
 *
 * Sums have fewer terms than those of the definition, and transformed values are at most four times as large: errors
 * are no larger (docs/design.md). */
#ifndef SELFC_IR_WINOGRAD_H
#define SELFC_IR_WINOGRAD_H
#include "ir/patch.h"
#include "ir/program.h"

enum { WINOGRAD_SIDE = 4, WINOGRAD_ELEMENTS = 16, WINOGRAD_TAPS = 9 };

typedef struct {
    Patch patch;          /* the left operand */
    int64_t images;
    int64_t across, down; /* tiles in a line, lines of tiles in an image; the last may reach beyond the places */
    int64_t filters;      /* columns of the product */
} Winograd;

/* Can the kernel's product be done so? It is a 3x3 convolution with stride 1 over a batch of fixed size, forward, by
 * data (which is one, too) or by weights; by weights also for each image by itself. */
bool winograd_of(const Kernel *kernel, Winograd *winograd);
/* Of the products that the definition has, how many are made: 16/36, and more where tiles reach beyond the places; 1 if
 * the kernel is not done so. */
double winograd_share(const Kernel *kernel);
/* Rows of the product that pieces consist of: whole lines of tiles, or of whole images where their last line is half
 * a one. By weights all taps of one channel: a piece of 9·k rows stands for k channels of each tap. */
int64_t winograd_row_unit(const Winograd *winograd);
#endif
