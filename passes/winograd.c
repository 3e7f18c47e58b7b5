/* Schedules of convolutions by tiles of 2x2 places (ir/winograd.h), where they pay.
 *
 * Such a convolution has 16/36 of the products, but transforms pixels, filters and results on the way, so it needs
 * channels enough on both sides. Costs are counted in cycles for one tile: products at the rates that the micro-kernel
 * reaches, and for each vector of channels what its transformation takes, measured.
 *
 * Blocks of tiles are small, so that planes are still at hand when they are multiplied, but large enough to read all
 * filters again, or all sums. Pieces: of rows like those of other products; by weights of channels and filters, whose
 * sums stay in half of L2. */
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

/* Into how many pieces the columns are cut, so that the transformed filters of one are not too much. */
static int64_t column_pieces(const Winograd *w, int64_t width) {
    int64_t panels = w->filters / width, panel_bytes = WINOGRAD_ELEMENTS * 4 * width * w->patch.C, pieces = 1;
    while (pieces < panels && (panels % pieces || panels / pieces * panel_bytes > MOST_FILTER_BYTES)) pieces++;
    return pieces;
}

static double places_cost(const Winograd *w, int64_t pieces, const Machine *machine) {
    double lanes = machine->vector_bytes / 4.0, channels = (double)w->patch.C, filters = (double)w->filters;
    double tiles = (double)(w->images * w->across * w->down);
    return tiled_products(channels, filters, machine) + (double)pieces * channels / lanes * SEE +
           filters / lanes * (PLACE + 2 * channels * FILTER / tiles);
}

static bool schedule_places(Kernel *kernel, const Winograd *w, const Machine *machine) {
    int64_t unit = winograd_row_unit(w), rows = kernel->grid.axis[0].extent, summed = kernel_sum_rows(kernel);
    int64_t pieces = column_pieces(w, kernel->tile_vectors * machine->vector_bytes / 4);
    if (summed % unit || places_cost(w, pieces, machine) > GAIN * direct_cost(w, machine)) return false;
    int64_t block = summed ? summed : ceil_div(rows / unit, ROW_PIECES) * unit;
    int64_t images = block / (w->patch.OH * w->patch.OW);
    kernel->grid.axis[0].block = block;
    kernel->grid.axis[1].block = w->filters / pieces;
    kernel->winograd = block_of(w, kernel->tile_rows, images ? images * w->down : block / (2 * w->patch.OW), machine);
    return true;
}

/* ---- by weights */

/* How much longer several threads take with so many pieces than if they could be parted evenly. */
static double waiting(double pieces) {
    static const double threads[] = {1, 2, 4, 8}, often[] = {1, 4, 1, 0.1};
    double sum = 0, all = 0;
    for (int i = 0; i < 4; i++) {
        int64_t busiest = ceil_div((int64_t)pieces, (int64_t)threads[i]);
        sum += often[i] * (double)busiest * threads[i] / pieces;
        all += often[i];
    }
    return sum / all;
}

/* Channels and filters of a piece; `batches`: images that are done each by itself. */
typedef struct {
    int64_t channels, filters;
} Part;

static double weights_cost(const Winograd *w, Part part, double batches, const Machine *machine) {
    double pieces = (double)(w->patch.C / part.channels * (w->filters / part.filters)),
           lanes = machine->vector_bytes / 4.0;
    double one = tiled_products((double)part.channels, (double)part.filters, machine) +
                 SEE * (double)part.channels / lanes + SLOPE * (double)part.filters / lanes;
    return one * pieces * waiting(pieces * batches);
}

static int64_t sum_bytes(Part part) { return WINOGRAD_ELEMENTS * 4 * part.channels * part.filters; }

/* The part that costs least; *cost: what it does. */
static Part choose_part(const Winograd *w, int64_t width, double batches, const Machine *machine, double *cost) {
    int64_t lanes = machine->vector_bytes / 4;
    Part best = {0};
    *cost = 0;
    for (int64_t channels = lanes; channels <= w->patch.C; channels += lanes)
        for (int64_t filters = width; filters <= w->filters; filters += width) {
            Part part = {channels, filters};
            if (w->patch.C % channels || w->filters % filters || sum_bytes(part) > machine->l2 / 2) continue;
            double one = weights_cost(w, part, batches, machine);
            if (*cost != 0 && one >= *cost) continue;
            *cost = one;
            best = part;
        }
    return best;
}

static bool schedule_weights(Kernel *kernel, const Winograd *w, const Machine *machine) {
    Grid *grid = &kernel->grid;
    int64_t images = grid->rank == 3 ? 1 : w->images; /* of a piece */
    double cost;
    Part part =
        choose_part(w, kernel->tile_vectors * machine->vector_bytes / 4, (double)(w->images / images), machine, &cost);
    if (kernel_sum_rows(kernel) || !part.channels || cost > GAIN * direct_cost(w, machine)) return false;
    grid->axis[0].block = 1; /* of images, or rows */
    grid->axis[grid->rank - 2].block = part.channels * WINOGRAD_TAPS;
    grid->axis[grid->rank - 1].block = part.filters;
    int64_t bytes = WINOGRAD_ELEMENTS * 4 * (part.channels + part.filters);
    int64_t lines = ceil_div(room_of(bytes, machine) / bytes, w->across);
    kernel->winograd = (lines < images * w->down ? lines : images * w->down) * w->across;
    return true;
}

bool schedule_winograd(Kernel *kernel, const Machine *machine) {
    Winograd w;
    kernel->winograd = 0;
    if (kernel->prepared_b || !machine->has_fma || !winograd_of(kernel, &w)) return false;
    if (!choose_tile(kernel, &w, machine)) return false;
    bool pays = w.patch.rows_are_places ? schedule_places(kernel, &w, machine) : schedule_weights(kernel, &w, machine);
    if (!pays) return false;
    kernel->pack_a = kernel->pack_b = true;
    kernel->row_block = kernel->depth_block = 0;
    return true;
}
