/* Schedules of convolutions by tiles of 2x2 places (ir/winograd.h), where they pay.
 *
 * Such a convolution has 16/36 of the products, but transforms pixels, filters and results on the way, so it needs
 * channels enough on both sides. Costs are counted in cycles for one tile: products at the rates that the micro-kernel
 * reaches, and for each vector of channels what its transformation takes, measured.
 *
 * Blocks of tiles: their planes in half of L2, and few rows of the micro-kernel's last tile in vain. */
#include "ir/winograd.h"

#include "passes/choice.h"
#include "passes/passes.h"

static const double DIRECT_RATE = 0.92, TILED_RATE = 0.87;         /* of what the units for FMA could do */
static const double SEE = 26, FILTER = 24, PLACE = 40, SLOPE = 22; /* cycles for a vector of channels */
static const double GAIN = 0.93;                                   /* of the cost, that is worth it */
enum { MOST_FILTER_BYTES = 4 << 20, ROW_PIECES = 16 };

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The widest tile whose panels divide the columns, as high as the registers allow. */
static bool choose_tile(Kernel *kernel, const Winograd *w, const Machine *machine) {
    int64_t lanes = machine->vector_bytes / 4, vectors = w->filters % (2 * lanes) ? 1 : 2, rows = 1;
    if (w->filters % lanes || w->patch.C % lanes) return false;
    while (choice_tile_fits(rows + 1, vectors, machine)) rows++;
    if (rows > 12) rows = 12 + (rows - 12) / 2 * 2;
    kernel->tile_rows = (uint32_t)rows;
    kernel->tile_vectors = (uint32_t)vectors;
    return true;
}

static double direct_cost(const Winograd *w, const Machine *machine) {
    double tiles = (double)(w->across * w->down), places = (double)(w->patch.OH * w->patch.OW) / tiles;
    return WINOGRAD_TAPS * places * (double)(w->patch.C * w->filters) / (machine->vector_bytes / 2.0) / DIRECT_RATE;
}

static double tiled_products(double channels, double filters, const Machine *machine) {
    return WINOGRAD_ELEMENTS * channels * filters / (machine->vector_bytes / 2.0) / TILED_RATE;
}

/* ---- forward and by data */

/* Bytes for the planes of a block: an eighth of L2, or as many as make it worth reading all filters, or sums, again. */
static int64_t room_of(int64_t tile_bytes, const Machine *machine) {
    enum { LEAST_TILES = 24 };
    int64_t share = machine->l2 / 8, least = LEAST_TILES * tile_bytes;
    return share > least ? share : least;
}

/* Lines of tiles in a block: little of the last rows in vain, and not more tiles than pay. */
static int64_t block_of(const Winograd *w, int64_t rows, int64_t lines, const Machine *machine) {
    enum { MANY_TILES = 48 };
    int64_t bytes = WINOGRAD_ELEMENTS * 4 * w->patch.C, most = room_of(bytes, machine) / bytes;
    if (most < MANY_TILES && MANY_TILES * bytes <= machine->l2 * 3 / 8) most = MANY_TILES;
    int64_t best = 1;
    double least = 0;
    for (int64_t i = 1; i <= lines && (i == 1 || i * w->across <= most); i++) {
        double tiles = (double)(i * w->across);
        double cost = (double)(ceil_div(i * w->across, rows) * rows) / tiles * (1 + 4 / tiles);
        if (least != 0 && cost >= least) continue;
        least = cost;
        best = i;
    }
    return best * w->across;
}

static bool schedule_places(Kernel *kernel, const Winograd *w, const Machine *machine) {
    int64_t lanes = machine->vector_bytes / 4, C = w->patch.C, unit = winograd_row_unit(w);
    int64_t width = kernel->tile_vectors * lanes, panels = w->filters / width, columns = 1;
    while (columns < panels &&
           (panels % columns || panels / columns * width * C * WINOGRAD_ELEMENTS * 4 > MOST_FILTER_BYTES))
        columns++;
    int64_t rows = kernel->grid.axis[0].extent, summed = kernel_sum_rows(kernel);
    if (summed % unit) return false;
    double tiles = (double)(w->images * w->across * w->down), cv = (double)C / (double)lanes,
           fv = (double)w->filters / (double)lanes;
    double cost = tiled_products((double)C, (double)w->filters, machine) + (double)columns * cv * SEE + fv * PLACE +
                  (double)C * fv * FILTER / tiles * 2;
    if (cost > GAIN * direct_cost(w, machine)) return false;
    int64_t block = summed ? summed : ceil_div(rows / unit, ROW_PIECES) * unit;
    kernel->grid.axis[0].block = block;
    kernel->grid.axis[1].block = panels / columns * width;
    int64_t lines = block / (w->patch.OH * w->patch.OW) * w->down;
    if (!lines) lines = block / (2 * w->patch.OW);
    kernel->row_block = block_of(w, kernel->tile_rows, lines, machine);
    kernel->depth_block = 0;
    return true;
}

/* ---- by weights */

static double weights_cost(const Winograd *w, int64_t channels, int64_t columns, int64_t lanes, double batches,
                           const Machine *machine) {
    double pieces = (double)(w->patch.C / channels * (w->filters / columns)) * batches;
    double one = tiled_products((double)channels, (double)columns, machine) + SEE * (double)channels / (double)lanes +
                 SLOPE * (double)columns / (double)lanes;
    double threads = pieces == 1 ? 2 : (double)((int64_t)(pieces + 1) / 2) * 2 / pieces; /* what two wait for */
    return one * pieces / batches * threads;
}

static bool schedule_weights(Kernel *kernel, const Winograd *w, const Machine *machine) {
    int64_t lanes = machine->vector_bytes / 4, width = kernel->tile_vectors * lanes, best_rows = 0, best_columns = 0;
    int64_t images = kernel->grid.rank == 3 ? 1 : w->images; /* of a piece */
    double least = 0, batches = (double)(w->images / images);
    if (kernel_sum_rows(kernel)) return false;
    for (int64_t channels = lanes; channels <= w->patch.C; channels += lanes)
        for (int64_t columns = width; columns <= w->filters; columns += width) {
            if (w->patch.C % channels || w->filters % columns) continue;
            if (WINOGRAD_ELEMENTS * 4 * channels * columns > machine->l2 / 2) continue;
            double cost = weights_cost(w, channels, columns, lanes, batches, machine);
            if (least != 0 && cost >= least) continue;
            least = cost;
            best_rows = channels;
            best_columns = columns;
        }
    if (!best_rows || least > GAIN * direct_cost(w, machine)) return false;
    Grid *grid = &kernel->grid;
    grid->axis[0].block = 1; /* of images, or rows */
    grid->axis[grid->rank - 2].block = best_rows * WINOGRAD_TAPS;
    grid->axis[grid->rank - 1].block = best_columns;
    int64_t bytes = WINOGRAD_ELEMENTS * 4 * (best_rows + best_columns);
    int64_t lines = ceil_div(room_of(bytes, machine) / bytes, w->across);
    if (lines < 1) lines = 1;
    if (lines > images * w->down) lines = images * w->down;
    kernel->depth_block = lines * w->across;
    kernel->row_block = 0;
    return true;
}

bool schedule_winograd(Kernel *kernel, const Machine *machine) {
    Winograd w;
    kernel->winograd = false;
    if (kernel->prepared_b || !machine->has_fma || !winograd_of(kernel, &w)) return false;
    if (!choose_tile(kernel, &w, machine)) return false;
    kernel->winograd =
        w.patch.rows_are_places ? schedule_places(kernel, &w, machine) : schedule_weights(kernel, &w, machine);
    kernel->pack_a |= kernel->winograd;
    kernel->pack_b |= kernel->winograd;
    return kernel->winograd;
}
