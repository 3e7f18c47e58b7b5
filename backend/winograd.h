/* What the two forms of Winograd's convolutions share: pictures by tiles, and their scratch. Private to these.
 *
 * Of the picture four lines are held at a time, padded, in a ring: a line of tiles sees two lines of the one before.
 * Each tile's 4x4 pixels become 16 elements, and element e of all tiles of a block is a matrix: planes[e][tile][channel].
 */
#ifndef SELFC_BACKEND_WINOGRAD_H
#define SELFC_BACKEND_WINOGRAD_H
#include "backend/contract.h"
#include "ir/winograd.h"

/* Sizes in elements; the parts of scratch in bytes from the start of what contract.c gives. */
typedef struct {
    Winograd shape;
    int64_t tiles;              /* in a block, whole tiles of the micro-kernel */
    int64_t some;               /* of these, whose products are made at once, and joined */
    int64_t channels;           /* of the piece: all, or by weights a part */
    int64_t columns;            /* of a piece, at most */
    int64_t width;              /* columns of a panel */
    int64_t row;                /* of a plane: from tile to tile */
    int64_t pixel_row;          /* of the ring: from line to line */
    int64_t plane, other_plane, product_plane; /* from element to element */
    int64_t planes, ring, other, products, end; /* other: filters, or planes of the slopes */
} WinogradLayout;
WinogradLayout winograd_layout(const Kernel *kernel, const Target *target);

typedef struct {
    Contract *c;
    WinogradLayout at;
    LLVMValueRef planes, ring, other, products; /* scratch */
    LLVMValueRef first_channel;
} Windows;
Windows windows_begin(Contract *c);

/* Lines of tiles are counted through all images. */
typedef struct {
    LLVMValueRef image, line; /* of tiles, in its image */
    LLVMValueRef first;       /* the line's first tile in the block */
} TileLine;
TileLine windows_line(Windows *w, LLVMValueRef line, LLVMValueRef first_of_block);
/* The planes of one line of tiles; lines of a block come one after another. */
void windows_see(Windows *w, const TileLine *line, LLVMValueRef is_first_of_block);

/* base[index · stride] */
LLVMValueRef windows_part(Windows *w, LLVMValueRef base, LLVMValueRef index, int64_t stride);
/* Is place (y, x) of an image there, dy and dx behind the first of its tile? The last tiles reach beyond what is odd.
 * NULL: it is. */
LLVMValueRef windows_is_there(Windows *w, uint32_t dy, LLVMValueRef y, uint32_t dx, LLVMValueRef x);
/* One vector of the 16 elements at `from`, a plane of products from one to the next, by `join`, which makes `count` values
 * of four: down each column, then along each row. result[count · i + j] */
typedef void WindowsJoin(Windows *w, LLVMValueRef const *four, LLVMValueRef *joined);
void windows_join(Windows *w, LLVMValueRef from, WindowsJoin *join, uint32_t count, LLVMValueRef *result);
/* Sums and differences of vectors. */
LLVMValueRef windows_plus(Windows *w, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef windows_minus(Windows *w, LLVMValueRef a, LLVMValueRef b);
#endif
