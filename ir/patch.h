/* Left operands of products that are windows of pictures: what makes a product a convolution.
 *
 * The rows of such an operand count places (forward and by data) or taps (by weights), its depth counts the other. Taps
 * of one line of the kernel, with their channels, stand side by side in a line of the picture: a `run` of KW·C
 * elements. So the operand is a patch of the picture, padded, with two strides for its rows and two for its depth, and
 * needs no copy for each tap. */
#ifndef SELFC_IR_PATCH_H
#define SELFC_IR_PATCH_H
#include "ir/graph.h"
#include "ir/strided.h"

typedef struct {
    NodeId picture;        /* [N,H,W,1,1,C], what the window looks at */
    bool rows_are_places;  /* rows count (N,)OH,OW and depth KH,KW,C; else the other way round */
    uint32_t image_axis;   /* of the product: counts images; MAX_RANK: images are the slowest of the places */
    int64_t H, W, C, OH, OW, KH;
    int64_t run;           /* KW·C: elements that neighbouring taps have in a line */
    int64_t stride[2], dilation, before[2]; /* dilation of the height; that of the width is 1 */
    bool is_padded;        /* some window reaches beyond the picture */
} Patch;

/* false: the operand is something else, or its taps lie apart, or one tap sees every other pixel. */
bool patch_of(const Graph *graph, NodeId operand, Patch *patch);
/* Does the picture lie in memory line by line? Then *view says where. */
bool patch_is_in_memory(const Graph *graph, const Patch *patch, Strided *view);
int64_t patch_lines(const Patch *patch, int64_t lines); /* of the picture under so many lines of places */
int64_t patch_width(const Patch *patch);                /* elements of such a line, with its pads */
#endif
