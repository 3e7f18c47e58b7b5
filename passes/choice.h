/* The part of a contraction's schedule that can be chosen freely, as plain data: what `selfc tune` times, remembers,
 * and hands to the schedule in Machine.measured. No choice changes a bit of the result: each element is the sum over
 * k in order, whatever the tile, piece or block of the depth. Where a kernel also sums up its rows, tile by tile, the
 * height of the tile is not for choice. */
#ifndef SELFC_PASSES_CHOICE_H
#define SELFC_PASSES_CHOICE_H
#include "ir/patch.h"
#include "ir/program.h"

typedef struct {
    uint64_t kernel; /* choice_key of the kernel that it is for */
    uint32_t tile_rows, tile_vectors;
    bool pack_a, pack_b;
    int64_t depth_block, row_block;
    uint32_t rank;
    int64_t block[MAX_RANK]; /* of the grid's axes */
    const char *about;       /* for people; may be NULL */
} Choice;

typedef struct Choices {
    Choice *choice;
    uint32_t count, capacity;
} Choices;

/* choice.c. What identifies a contraction before it is scheduled: its body and the extents of its grid. */
uint64_t choice_key(const Kernel *kernel);
const Choice *choice_find(const Choices *choices, uint64_t key); /* NULL: there is none */
Choice choice_of(const Kernel *kernel);                          /* of a kernel that is scheduled */
bool choice_equal(const Choice *a, const Choice *b);             /* but for what they are for */
enum { MOST_TILE_ROWS = 30, MOST_TILE_VECTORS = 4 };
bool choice_tile_fits(int64_t rows, int64_t vectors, const Machine *machine); /* into the registers */
/* Does code for the kernel exist with this choice? Whatever stands in it, the answer is safe. */
bool choice_fits(const Choice *choice, const Kernel *kernel, const Machine *machine);
/* Blocks of rows and of the depth are multiples of these: whole tiles, lines, images or runs of taps. patch: of the left
 * operand; NULL: it is none. */
int64_t choice_row_unit(const Choice *choice, const Patch *patch);
int64_t choice_depth_unit(const Choice *choice, const Patch *patch);
void choice_take(const Choice *choice, Kernel *kernel);
void choice_take_tile(const Choice *choice, Kernel *kernel); /* tile and packing alone */
/* Schedules the kernel as was measured. false: nothing that fits is known. */
bool choice_recall(Kernel *kernel, const Machine *machine);

/* winograd.c. By tiles of 2x2 places; false: that does not pay, or cannot be. */
bool schedule_winograd(Kernel *kernel, const Machine *machine);

/* schedule.c. The cost model's schedule; with a wish, around its tile and packing. */
void schedule_contract(Kernel *kernel, const Machine *machine, const Choice *wish);
/* Cycles for a step along k over the whole product, for comparison; 0: the tile does not fit. */
double schedule_tile_cost(const Kernel *kernel, const Machine *machine, uint32_t rows, uint32_t vectors);

/* candidates.c. What is worth timing, in `list`, different from one another and all fitting; the first is given: the
 * cost model's own choice, or the one around which blocks are varied. Returns how many. */
enum { MOST_CANDIDATES = 24 };
uint32_t candidates_tiles(const Kernel *kernel, const Machine *machine, Choice list[MOST_CANDIDATES]);
uint32_t candidates_blocks(const Kernel *kernel, const Machine *machine, const Choice *around, Choice list[MOST_CANDIDATES]);
#endif
