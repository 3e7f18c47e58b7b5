/* Choices: their keys, when they fit, and how they are taken.
 *
 * A choice may come from a file that somebody has edited, from another version, or for a kernel with the same key by
 * bad luck. So it is held against all that backend/contract*.c relies on: a tile that the registers hold, blocks of
 * whole tiles (or of whole lines of a picture, or whole runs of its taps), operands read in place only where they lie
 * in memory, a depth that is cut where it has to be. */
#include "passes/choice.h"

#include "ir/strided.h"

#include <string.h>

enum { OPEN_BATCH = 64 /* no block holds more samples */ };

/* ---- keys: FNV-1a, over names rather than numbers of operations, which change when the table grows */

static uint64_t key_bytes(uint64_t key, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) key = (key ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
    return key;
}

static uint64_t key_text(uint64_t key, const char *text) { return key_bytes(key, text, strlen(text) + 1); }
static uint64_t key_number(uint64_t key, int64_t number) { return key_bytes(key, &number, sizeof number); }

static uint64_t key_type(uint64_t key, Type type) {
    char text[128];
    return key_text(key, type_print(type, text));
}

uint64_t choice_key(const Kernel *kernel) {
    const Graph *body = kernel->body;
    uint64_t key = 0xcbf29ce484222325;
    for (NodeId id = 0; id < body->count; id++) {
        const Node *node = &body->nodes[id];
        key = key_type(key_text(key, op_info[node->op].name), node->type);
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) key = key_number(key, node->in[i]);
        key = key_bytes(key, &node->attr, sizeof node->attr);
    }
    for (uint32_t i = 0; i < body->input_count; i++) key = key_type(key, body->inputs[i].type);
    for (uint32_t i = 0; i < body->output_count; i++) key = key_number(key, body->outputs[i].node);
    for (uint32_t i = 0; i < kernel->grid.rank; i++) key = key_number(key, kernel->grid.axis[i].extent);
    key = key_number(key, kernel->product);
    return kernel->prepared_b ? key_text(key, "prepared b") : key;
}

const Choice *choice_find(const Choices *choices, uint64_t key) {
    for (uint32_t i = 0; choices && i < choices->count; i++)
        if (choices->choice[i].kernel == key) return &choices->choice[i];
    return NULL;
}

Choice choice_of(const Kernel *kernel) {
    Choice choice = {choice_key(kernel),
                     kernel->tile_rows,
                     kernel->tile_vectors,
                     kernel->pack_a,
                     kernel->pack_b,
                     kernel->depth_block,
                     kernel->row_block,
                     kernel->grid.rank,
                     {0},
                     NULL};
    for (uint32_t i = 0; i < kernel->grid.rank; i++) choice.block[i] = kernel->grid.axis[i].block;
    return choice;
}

bool choice_equal(const Choice *a, const Choice *b) {
    return a->tile_rows == b->tile_rows && a->tile_vectors == b->tile_vectors && a->pack_a == b->pack_a &&
           a->pack_b == b->pack_b && a->depth_block == b->depth_block && a->row_block == b->row_block &&
           a->rank == b->rank && !memcmp(a->block, b->block, a->rank * sizeof *a->block);
}

/* ---- what fits */

/* At least 1, whole units, and not longer than the axis needs. */
static bool is_block(int64_t block, int64_t unit, Dim extent) {
    int64_t size = dim_at(extent, OPEN_BATCH);
    return block > 0 && block % unit == 0 && block < size + unit;
}

bool choice_tile_fits(int64_t rows, int64_t vectors, const Machine *machine) {
    if (rows < 1 || rows > MOST_TILE_ROWS || vectors < 1 || vectors > MOST_TILE_VECTORS) return false;
    int64_t spare = machine->has_fma ? 1 : 2; /* the broadcast, and the product where there is no FMA */
    return rows * vectors + vectors + spare <= machine->registers;
}

/* What is not packed lies in memory; what is prepared lies in panels. */
static bool packing_fits(const Choice *c, const Kernel *kernel, const Patch *patch) {
    const Node *product = &kernel->body->nodes[kernel->product];
    Strided a, b;
    bool a_in_place = patch ? !patch->is_padded && patch_is_in_memory(kernel->body, patch, &a)
                            : strided_of(kernel->body, product->in[0], &a);
    bool b_in_place = strided_of(kernel->body, product->in[1], &b) && strided_is_one(b.stride[product->type.rank - 1]);
    return (c->pack_a || a_in_place) && (c->pack_b || (b_in_place && !kernel->prepared_b));
}

/* Does a block of so many places hold several images? Then it holds whole ones. */
static bool takes_images(const Patch *patch, int64_t block) {
    return patch->image_axis == MAX_RANK && block > patch->OH * patch->OW;
}

int64_t choice_depth_unit(const Choice *choice, const Patch *patch) {
    if (!patch) return 16;
    return takes_images(patch, choice->depth_block) ? patch->OH * patch->OW : patch->OW;
}

/* Of a patch whose depth counts places a block holds whole lines of one image, or whole images; taps are never cut. */
static bool depth_fits(const Choice *c, Dim depth, const Patch *patch) {
    int64_t block = c->depth_block;
    if (patch && patch->rows_are_places) return !block;
    if (!block) return depth > 0 && (!patch || depth == patch->OH * patch->OW);
    return is_block(block, choice_depth_unit(c, patch), depth);
}

int64_t choice_row_unit(const Choice *choice, const Patch *patch) {
    if (patch && patch->rows_are_places)
        return takes_images(patch, choice->row_block) ? patch->OH * patch->OW : patch->OW;
    return patch && patch->KH > 1 ? patch->run : choice->tile_rows;
}

static bool blocks_fit(const Choice *c, const Kernel *kernel, const Machine *machine, const Patch *patch) {
    const Grid *grid = &kernel->grid;
    int64_t lanes = machine->vector_bytes / 4, unit = choice_row_unit(c, patch);
    Dim rows = grid->axis[grid->rank - 2].extent, columns = grid->axis[grid->rank - 1].extent;
    for (uint32_t i = 0; i + 2 < grid->rank; i++)
        if (c->block[i] != 1) return false;
    int64_t piece = c->block[grid->rank - 2], summed = kernel_sum_rows(kernel);
    if (summed ? piece != summed || (patch && piece % unit) : !is_block(piece, unit, rows)) return false;
    if (!is_block(c->block[grid->rank - 1], c->tile_vectors * lanes, columns)) return false;
    bool cuts_rows = !patch || patch->rows_are_places;
    return !c->row_block || (cuts_rows && is_block(c->row_block, unit, rows));
}

bool choice_fits(const Choice *choice, const Kernel *kernel, const Machine *machine) {
    const Graph *body = kernel->body;
    if (kernel->kind != KERNEL_contract || choice->rank != kernel->grid.rank) return false;
    if (!choice_tile_fits(choice->tile_rows, choice->tile_vectors, machine)) return false;
    NodeId a = body->nodes[kernel->product].in[0];
    const Type *left = &body->nodes[a].type;
    Patch found, *patch = patch_of(body, a, &found) ? &found : NULL;
    return packing_fits(choice, kernel, patch) && depth_fits(choice, left->dim[left->rank - 1], patch) &&
           blocks_fit(choice, kernel, machine, patch);
}

/* ---- taking one */

void choice_take_tile(const Choice *choice, Kernel *kernel) {
    kernel->tile_rows = choice->tile_rows;
    kernel->tile_vectors = choice->tile_vectors;
    kernel->pack_a = choice->pack_a;
    kernel->pack_b = choice->pack_b;
}

void choice_take(const Choice *choice, Kernel *kernel) {
    choice_take_tile(choice, kernel);
    kernel->depth_block = choice->depth_block;
    kernel->row_block = choice->row_block;
    for (uint32_t i = 0; i < choice->rank; i++) kernel->grid.axis[i].block = choice->block[i];
}

bool choice_recall(Kernel *kernel, const Machine *machine) {
    if (!machine->measured || !machine->measured->count) return false;
    const Choice *choice = choice_find(machine->measured, choice_key(kernel));
    if (!choice || !choice_fits(choice, kernel, machine)) return false;
    choice_take(choice, kernel);
    return true;
}
