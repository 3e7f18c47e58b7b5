/* A patch is recognised by its digits: which axes of the window [N,OH,OW,KH,KW,C] count the operand's axes. */
#include "ir/patch.h"
#include "ir/digits.h"

#include <string.h>

enum { IMAGE, PLACE_Y, PLACE_X, TAP_Y, TAP_X, CHANNEL };

/* The operand's axis that counts axis `wanted` of the window; MAX_RANK: none, it has size 1. */
static uint32_t axis_that_counts(const Digits *digits, uint32_t rank, uint32_t wanted) {
    for (uint32_t i = 0; i < rank; i++)
        for (uint32_t k = 0; k < digits->count[i]; k++)
            if (digits->axis[i][k] == wanted) return i;
    return MAX_RANK;
}

static bool is_in_order(const Digits *digits, uint32_t axis) {
    for (uint32_t k = 1; k < digits->count[axis]; k++)
        if (digits->axis[axis][k] < digits->axis[axis][k - 1]) return false;
    return true;
}

/* Do places and taps stand on one axis each, and which? */
static bool find_sides(const Digits *digits, uint32_t rank, Patch *patch) {
    uint32_t places = MAX_RANK, taps = MAX_RANK;
    for (uint32_t digit = PLACE_Y; digit <= CHANNEL; digit++) {
        uint32_t axis = axis_that_counts(digits, rank, digit), *side = digit < TAP_Y ? &places : &taps;
        if (axis == MAX_RANK) continue;
        if (axis + 2 < rank || (*side != MAX_RANK && *side != axis)) return false;
        *side = axis;
    }
    if (places == MAX_RANK || taps == MAX_RANK || places == taps) return false;
    patch->rows_are_places = places == rank - 2;
    patch->image_axis = axis_that_counts(digits, rank, IMAGE);
    if (patch->image_axis == places) patch->image_axis = MAX_RANK;
    return patch->image_axis != taps && is_in_order(digits, rank - 2) && is_in_order(digits, rank - 1);
}

/* The leading axes count images, one of them, or nothing. */
static bool leads_with_images(const Digits *digits, uint32_t rank) {
    for (uint32_t i = 0; i + 2 < rank; i++)
        if (digits->count[i] > 1 || (digits->count[i] == 1 && digits->axis[i][0] != IMAGE)) return false;
    return true;
}

/* One tap that sees every other pixel is no patch: nothing is seen twice, and rows so far apart fall into few sets of the
 * L1 cache. They are better copied one by one, like others that do not lie in memory as they are. */
bool patch_of(const Graph *graph, NodeId operand, Patch *patch) {
    Digits digits = digits_of(graph, operand);
    const Node *window = &graph->nodes[digits.base];
    uint32_t rank = graph->nodes[operand].type.rank;
    if (window->op != OP_window || window->attr.window.value != 0) return false;
    const Type *from = &graph->nodes[window->in[0]].type, *to = &window->type;
    *patch = (Patch){.picture = window->in[0],
                     .H = from->dim[1],
                     .W = from->dim[2],
                     .C = to->dim[5],
                     .OH = to->dim[1],
                     .OW = to->dim[2],
                     .KH = to->dim[3],
                     .run = to->dim[4] * to->dim[5]};
    bool one_tap = from->dim[3] == 1 && from->dim[4] == 1;
    bool is_apart = to->dim[3] * to->dim[4] == 1 && window->attr.window.stride[1] > 1;
    if (!one_tap || is_apart || (to->dim[4] > 1 && window->attr.window.dilation[1] != 1)) return false;
    if (!leads_with_images(&digits, rank) || !find_sides(&digits, rank, patch)) return false;
    patch->dilation = window->attr.window.dilation[0];
    for (uint32_t i = 0; i < 2; i++) {
        int64_t stride = window->attr.window.stride[i], before = window->attr.window.before[i];
        int64_t reach = (to->dim[1 + i] - 1) * stride + (to->dim[3 + i] - 1) * window->attr.window.dilation[i] - before;
        patch->stride[i] = stride;
        patch->before[i] = before;
        patch->is_padded |= before > 0 || reach >= from->dim[1 + i];
    }
    return true;
}

bool patch_is_in_memory(const Graph *graph, const Patch *patch, Strided *view) {
    const Type *type = &graph->nodes[patch->picture].type;
    Extent dense[MAX_RANK];
    if (!strided_of(graph, patch->picture, view)) return false;
    strided_dense(type, dense);
    for (uint32_t i = 0; i < type->rank; i++)
        if (type->dim[i] != 1 && (view->stride[i].fixed != dense[i].fixed || view->stride[i].per_n)) return false;
    return true;
}

int64_t patch_lines(const Patch *patch, int64_t lines) {
    return (lines - 1) * patch->stride[0] + (patch->KH - 1) * patch->dilation + 1;
}

int64_t patch_width(const Patch *patch) { return (patch->OW - 1) * patch->stride[1] * patch->C + patch->run; }
