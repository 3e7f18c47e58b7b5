/* Candidates: schedules of a contraction that are worth timing.
 *
 * All that could be chosen would be tens of thousands. The cost model knows well what is hopeless and badly what is
 * best, so it names for each width of tile the heights that it likes most; each is scheduled as if it had been the
 * model's own choice. Around the fastest of these, blocks are then halved and doubled one at a time. */
#include "passes/choice.h"

enum { TILES_A_WIDTH = 3, MOST_WIDTH = 4, MOST_HEIGHT = 30 };
static const double hopeless = 1.6; /* times the cost of the best tile */

static int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

static void add(const Kernel *kernel, const Machine *machine, const Choice *choice, Choice *list, uint32_t *count) {
    if (*count == MOST_CANDIDATES || !choice_fits(choice, kernel, machine)) return;
    if (kernel_sum_rows(kernel) && choice->tile_rows != list[0].tile_rows) return; /* sums of rows go tile by tile */
    for (uint32_t i = 0; i < *count; i++)
        if (choice_equal(choice, &list[i])) return;
    list[(*count)++] = *choice;
}

static Choice scheduled(const Kernel *kernel, const Machine *machine, const Choice *wish) {
    Kernel copy = *kernel;
    schedule_contract(&copy, machine, wish);
    return choice_of(&copy);
}

/* The height that costs least for this width and costs more than `above`, or 0. */
static uint32_t next_height(const Kernel *kernel, const Machine *machine, uint32_t vectors, double *above) {
    uint32_t best = 0;
    double least = 0;
    for (uint32_t rows = 1; rows <= MOST_HEIGHT; rows++) {
        double cost = schedule_tile_cost(kernel, machine, rows, vectors);
        if (cost <= *above || (best && cost >= least)) continue;
        best = rows;
        least = cost;
    }
    *above = least;
    return best;
}

uint32_t candidates_tiles(const Kernel *kernel, const Machine *machine, Choice list[MOST_CANDIDATES]) {
    uint32_t count = 0;
    Choice own = scheduled(kernel, machine, NULL);
    list[count++] = own;
    for (uint32_t i = 1; i < 4; i++) {
        Choice wish = own;
        wish.pack_a ^= i & 1;
        wish.pack_b ^= i >> 1 & 1;
        wish = scheduled(kernel, machine, &wish);
        add(kernel, machine, &wish, list, &count);
    }
    double most = hopeless * schedule_tile_cost(kernel, machine, own.tile_rows, own.tile_vectors);
    for (uint32_t vectors = 1; vectors <= MOST_WIDTH; vectors++) {
        double cost = 0;
        for (uint32_t i = 0; i < TILES_A_WIDTH; i++) {
            uint32_t rows = next_height(kernel, machine, vectors, &cost);
            if (!rows || (most > 0 && cost > most)) break;
            Choice wish = own;
            wish.tile_rows = rows;
            wish.tile_vectors = vectors;
            wish = scheduled(kernel, machine, &wish);
            add(kernel, machine, &wish, list, &count);
        }
    }
    return count;
}

/* What is varied, and the units in which. */
typedef struct {
    const Kernel *kernel;
    const Machine *machine;
    int64_t row_unit, column_unit, depth_unit;
    Choice *list;
    uint32_t *count;
} Around;

typedef enum { LESS = -1, SAME, MORE } Change;

static int64_t changed(int64_t block, int64_t unit, Change change) {
    if (change == SAME || !block) return block;
    return round_up(change == LESS ? block / 2 : 2 * block, unit);
}

static void vary_piece(const Around *around, Choice choice, Change rows, Change columns) {
    int64_t *block = &choice.block[choice.rank - 2];
    block[0] = changed(block[0], around->row_unit, rows);
    block[1] = changed(block[1], around->column_unit, columns);
    add(around->kernel, around->machine, &choice, around->list, around->count);
}

static void vary_row_block(const Around *around, Choice choice, int64_t block) {
    choice.row_block = block;
    add(around->kernel, around->machine, &choice, around->list, around->count);
}

static void vary_depth_block(const Around *around, Choice choice, int64_t block) {
    choice.depth_block = block;
    add(around->kernel, around->machine, &choice, around->list, around->count);
}

uint32_t candidates_blocks(const Kernel *kernel, const Machine *machine, const Choice *choice,
                           Choice list[MOST_CANDIDATES]) {
    static const Change changes[][2] = {{LESS, SAME}, {MORE, SAME}, {SAME, LESS}, {SAME, MORE},
                                        {LESS, MORE}, {MORE, LESS}, {LESS, LESS}};
    const Node *product = &kernel->body->nodes[kernel->product];
    const Type *left = &kernel->body->nodes[product->in[0]].type;
    Patch found, *patch = patch_of(kernel->body, product->in[0], &found) ? &found : NULL;
    int64_t depth = dim_at(left->dim[left->rank - 1], 1), rows = choice->block[choice->rank - 2];
    uint32_t count = 1;
    Around around = {kernel,
                     machine,
                     choice_row_unit(choice, patch),
                     choice->tile_vectors * (machine->vector_bytes / 4),
                     choice_depth_unit(choice, patch),
                     list,
                     &count};
    list[0] = *choice;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        vary_piece(&around, *choice, changes[i][0], changes[i][1]);
    vary_row_block(&around, *choice, changed(choice->row_block ? choice->row_block : rows, around.row_unit, LESS));
    vary_row_block(&around, *choice, changed(choice->row_block, around.row_unit, MORE));
    vary_row_block(&around, *choice, 0);
    vary_depth_block(&around, *choice,
                     changed(choice->depth_block ? choice->depth_block : depth, around.depth_unit, LESS));
    vary_depth_block(&around, *choice, changed(choice->depth_block, around.depth_unit, MORE));
    vary_depth_block(&around, *choice, 0);
    return count;
}
