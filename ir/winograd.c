/* See winograd.h. */
#include "ir/winograd.h"

static bool fits(const Patch *patch, const Type *product) {
    bool is_small = patch->OH < 2 || patch->OW < 2;
    bool is_batch = product->rank == 3 && patch->image_axis == 0 && !patch->rows_are_places;
    return patch->KH == 3 && patch->run == 3 * patch->C && patch->stride[0] == 1 && patch->stride[1] == 1 &&
           patch->dilation == 1 && !is_small && (is_batch || (product->rank == 2 && patch->image_axis == MAX_RANK));
}

bool winograd_of(const Kernel *kernel, Winograd *winograd) {
    const Graph *body = kernel->body;
    if (kernel->kind != KERNEL_contract) return false;
    const Node *product = &body->nodes[kernel->product];
    Patch patch;
    if (!patch_of(body, product->in[0], &patch) || !fits(&patch, &product->type)) return false;
    Dim images = body->nodes[patch.picture].type.dim[0];
    uint32_t columns = product->type.rank - 1;
    if (images < 1) return false;
    for (uint32_t i = 0; i <= columns; i++)
        if (product->type.dim[i] < 1) return false;
    *winograd = (Winograd){patch, images, (patch.OW + 1) / 2, (patch.OH + 1) / 2, product->type.dim[columns]};
    return true;
}

int64_t winograd_row_unit(const Winograd *winograd) {
    const Patch *patch = &winograd->patch;
    if (!patch->rows_are_places) return WINOGRAD_TAPS;
    return patch->OH % 2 ? patch->OH * patch->OW : 2 * patch->OW;
}

double winograd_share(const Kernel *kernel) {
    Winograd w;
    if (!kernel->winograd || !winograd_of(kernel, &w)) return 1;
    double tiles = (double)(w.across * w.down), places = (double)(w.patch.OH * w.patch.OW);
    return WINOGRAD_ELEMENTS * tiles / (WINOGRAD_TAPS * places);
}
