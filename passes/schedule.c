/* Schedules: how each kernel is cut into pieces and tiles. What is decided here follows from shapes and the machine
 * alone, never from the number of threads.
 *
 * Map kernels: pieces of at least PIECE_ELEMENTS elements, cut along the outermost parallel axes first, so that
 * a piece reads and writes long runs.
 *
 * Attention (see backend/attention.c for the loops): scores of a block of queries and keys stay in L2, and are many
 * enough to be worth the rows that are read for them.
 * Scatter kernels: parts of the result, for the threads to share.
 *
 * Contractions (see backend/contract.c for the loops): the register tile is the one that costs least over the whole
 * product, its ragged edge included; a tile of R rows and C vectors takes max(R·C/2, (R+C)/2, 4) cycles for each step
 * along k with two FMA and two load units and four cycles of latency, and a little for the loop around it. The depth
 * stays whole as long as a few tiles of A and a panel of B fit into L2, since registers are the best place for sums;
 * this is where we leave Low et al. ("Analytical Modeling Is Enough for High-Performance BLIS", TOMS 2016), who keep
 * the panel in L1: two vectors a step come from L2 as fast as they are used. Pieces are whole tiles, of whole lines
 * where A is a patch of a picture, and their number the one that balances 1, 2, 3 and 4 threads best, packing counted.
 */
#include "ir/attention.h"
#include "ir/digits.h"
#include "ir/patch.h"
#include "ir/program.h"
#include "ir/strided.h"
#include "ir/winograd.h"
#include "passes/choice.h"
#include "passes/passes.h"

#include <string.h>

enum { PIECE_ELEMENTS = 8192, MOST_PIECES = 64, OPEN_BATCH = 64 /* what an open batch is taken for */, MANY_ROWS = 28 };
enum { SMALL_PRODUCT = 60000 /* products that one thread does sooner than two */, MOST_TRIES = 16 };
enum { LEAST_ROWS = 64 /* of A that should fit into half of L2, or the depth is cut */ };
/* Below, sums between blocks of the depth wait in L3: pieces for which they fit into L2 would copy A too often. */
enum { SMALL_L2 = 1 << 20, LEAST_DEPTH = 192 /* of a block that is worth reading and writing its sums */ };
enum { FEW_COLUMNS = 128 /* for which rows that lie side by side are not worth a copy */ };
enum { LEAST_PLACES = 98 /* the same where a block is made of whole images */ };

static int64_t size_of(Dim dim) { return dim_at(dim, OPEN_BATCH); }
/* Rows of a product: where one sample has many, pieces are made for one, and a larger batch has more of them. */
static int64_t rows_of(Dim dim) { return dim <= -MANY_ROWS ? -dim : size_of(dim); }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

/* Near-equal blocks of at most `block`. */
static int64_t even_block(int64_t size, int64_t block) { return ceil_div(size, ceil_div(size, at_least(block, 1))); }

/* Bytes that the packed columns of B may take: they stream by, from L3 if need be. */
static int64_t panels_room(const Machine *machine) {
    return at_most(at_least(2 * machine->l2, 1 << 20), at_least(machine->l3 / 4, 1 << 19));
}

static void cut_map(Kernel *kernel, const Machine *machine) {
    Grid *grid = &kernel->grid;
    int64_t total = 1, inner = 1, lanes = machine->vector_bytes / 4;
    for (uint32_t i = 0; i < grid->rank; i++) {
        total *= size_of(grid->axis[i].extent);
        if (kernel->reduced >> i & 1) inner *= size_of(grid->axis[i].extent);
    }
    int64_t goal = at_least(PIECE_ELEMENTS, total / MOST_PIECES);
    bool cut = false;
    for (uint32_t i = grid->rank; i--;) {
        int64_t size = size_of(grid->axis[i].extent), block = ceil_div(goal, inner);
        grid->axis[i].block = 0;
        if (kernel->reduced >> i & 1) continue;
        if (cut) {
            grid->axis[i].block = 1;
        } else if (block < size) {
            block = grid->axis[i].extent > 0 ? even_block(size, block) : block;
            if (i == grid->rank - 1) block = ceil_div(block, 4 * lanes) * 4 * lanes;
            grid->axis[i].block = block;
            cut = true;
        } else if (grid->axis[i].extent < 0) {
            grid->axis[i].block = at_least(block, 1); /* the batch may be larger than we think */
            cut = true;
        }
        inner *= size;
    }
}

/* Cuts an axis into at most *pieces blocks of `least` elements or a multiple, and says how many are left to be made. */
static void cut_axis(Grid *grid, uint32_t axis, int64_t least, int64_t *pieces) {
    int64_t size = size_of(grid->axis[axis].extent), block = ceil_div(ceil_div(size, *pieces), least) * least;
    if (*pieces < 2 || block >= size) return;
    grid->axis[axis].block = block;
    *pieces = ceil_div(*pieces, ceil_div(size, block));
}

static const Node *scatter_node(const Kernel *kernel) { return &kernel->body->nodes[kernel_scatter(kernel)]; }

/* Must all of the result be written, or does the base stand there already? */
static bool fills(const Kernel *kernel) { return kernel->body->nodes[scatter_node(kernel)->in[0]].op != OP_input; }

/* Whatever stands before the scattered axis first. Then parts of it, where most of the work is to write the base: long
 * runs. Else parts of what stands behind it, of whole lines of the cache, where nobody looks at positions in vain. */
static void cut_scatter(Kernel *kernel) {
    enum { LINE = 16, LEAST_LINES = 4 };
    const Node *node = scatter_node(kernel);
    Type from = kernel->body->nodes[node->in[1]].type;
    uint32_t axis = node->attr.axis, last = node->type.rank - 1;
    int64_t work = 1, places = node->type.dim[axis], taken = size_of(from.dim[axis]);
    for (uint32_t i = 0; i <= last; i++) {
        kernel->grid.axis[i].block = 0;
        work *= i == axis ? taken + (fills(kernel) ? places : 0) : size_of(node->type.dim[i]);
    }
    int64_t pieces = at_most(ceil_div(work, PIECE_ELEMENTS), MOST_PIECES);
    for (uint32_t i = 0; i < axis; i++) cut_axis(&kernel->grid, i, 1, &pieces);
    if (fills(kernel) && places > taken && kernel_scatters_rows(kernel)) cut_axis(&kernel->grid, axis, 1, &pieces);
    for (uint32_t i = axis + 1; i <= last; i++) cut_axis(&kernel->grid, i, i == last ? LEAST_LINES * LINE : 1, &pieces);
}

typedef struct {
    int64_t rows, columns, depth, batches; /* m, n, k, product of the leading axes */
    bool open_rows, open_depth;
    bool has_patch;
    Patch patch;
    int64_t row_run;  /* rows that lie in A at one stride; 0: all */
    int64_t images;   /* of a patch that a block may take at once; 1: not even a whole one */
    int64_t row_unit; /* pieces are multiples of it; 0: of the tile */
} Product;

/* Cycles for each step along k, measured on small tiles; and for each load, which mostly hides behind the arithmetic.
 */
static const double TILE_OVERHEAD = 0.6, LOAD_COST = 0.12;

static double tile_cost(int64_t rows, int64_t vectors) {
    double fma = (double)(rows * vectors) / 2, loads = (double)(rows + vectors) / 2;
    double cost = fma > loads ? fma : loads;
    return (cost > 4 ? cost : 4) + TILE_OVERHEAD + LOAD_COST * (double)(rows + vectors);
}

/* Cycles for one step along k over `lines` runs of `run` rows. */
static double cover_cost(const Product *p, int64_t rows, int64_t vectors, int64_t lanes) {
    int64_t run = p->row_run ? p->row_run : p->rows, runs = ceil_div(p->rows, run);
    if (run < rows) { /* a tile takes several runs */
        run *= at_most(rows / run, runs);
        runs = ceil_div(p->rows, run);
    }
    int64_t all_vectors = ceil_div(p->columns, lanes);
    int64_t full_rows = run / rows, last_rows = run % rows;
    int64_t full_vectors = all_vectors / vectors, last_vectors = all_vectors % vectors;
    double cost = (double)(full_rows * full_vectors) * tile_cost(rows, vectors);
    if (last_rows) cost += (double)full_vectors * tile_cost(last_rows, vectors);
    if (last_vectors) cost += (double)full_rows * tile_cost(rows, last_vectors);
    if (last_rows && last_vectors) cost += tile_cost(last_rows, last_vectors);
    return cost * (double)runs;
}

/* More rows of A than this at strides that fall into few sets of the L1 cache push one another out. */
enum { ALIASED_ROWS = 9 };

static void choose_tile(Kernel *kernel, const Product *p, const Machine *machine, bool aliases) {
    int64_t lanes = machine->vector_bytes / 4;
    double best = 0;
    for (int64_t vectors = 1; vectors <= MOST_TILE_VECTORS; vectors++)
        for (int64_t rows = 1; choice_tile_fits(rows, vectors, machine); rows++) {
            if (p->open_rows && rows > 8 && vectors == 1) continue; /* thin tiles have long tails */
            if (aliases && rows > ALIASED_ROWS) continue;
            double cost = cover_cost(p, rows, vectors, lanes);
            if (best && cost >= best * 0.995) continue;
            best = cost;
            kernel->tile_rows = (uint32_t)rows;
            kernel->tile_vectors = (uint32_t)vectors;
        }
    if (p->row_run && p->row_run < kernel->tile_rows) kernel->tile_rows -= kernel->tile_rows % (uint32_t)p->row_run;
}

/* The busiest of `threads` threads, each with a run of pieces, in units of rows x columns. */
static int64_t busiest(const Product *p, int64_t row_block, int64_t column_block, int64_t threads) {
    int64_t row_pieces = ceil_div(p->rows, row_block), column_pieces = ceil_div(p->columns, column_block);
    int64_t pieces = p->batches * row_pieces * column_pieces, most = 0;
    if (pieces > 4096) return ceil_div(p->batches * p->rows * p->columns, threads);
    for (int64_t t = 0; t < threads; t++) {
        int64_t work = 0;
        for (int64_t i = pieces * t / threads; i < pieces * (t + 1) / threads; i++) {
            int64_t row = i % row_pieces, column = i / row_pieces % column_pieces;
            work += at_most(row_block, p->rows - row * row_block) *
                    at_most(column_block, p->columns - column * column_block);
        }
        most = at_least(most, work);
    }
    return most;
}

/* Cycles in which a vector is copied, or read from far, against one for two vectors of products: what a piece copies of
 * B for each of its rows' products, and reads of A for each of its columns'. */
static const double PACK_COST = 8, READ_COST = 4, PANEL_COST = 1, TURN_COST = 5e3 /* cycles to begin a piece */;
/* Of a piece that a thread waits for another at the end: threads are held up by other programs, and pieces are not cut.
 */
static const double WAITING = 0.3;

/* Taps of a piece that see the same copied element of a picture. */
static double taps_of(const Product *p, int64_t row_block) {
    if (!p->has_patch) return 1;
    int64_t all = p->patch.KH * p->patch.run / p->patch.C;
    return (double)(p->patch.rows_are_places ? all : at_least(at_most(row_block, p->rows) / p->patch.C, 1));
}

/* Time of 1 to 4 threads, in cycles, with what packing the operands adds for each piece. */
static double blocks_cost(const Kernel *kernel, const Product *p, int64_t row_block, int64_t column_block,
                          int64_t lanes) {
    double sharing = (double)at_least(row_block, p->rows / 4); /* rows that one thread does with the same columns */
    double copied_b = kernel->prepared_b ? 2 * PANEL_COST / (double)row_block
                      : kernel->pack_b   ? 2 * PACK_COST / (kernel->depth_block ? (double)row_block : sharing)
                                         : 0;
    double copied_a = 2 * (kernel->pack_a ? PACK_COST : READ_COST) / (double)column_block / taps_of(p, row_block);
    double step = (double)p->depth / (2 * (double)lanes), cost = 0;
    double piece = (double)row_block * (double)column_block;
    for (int64_t threads = 1; threads <= 4; threads++) {
        double waits = threads > 1 ? WAITING * piece : 0;
        cost += ((double)busiest(p, row_block, column_block, threads) + waits) * (double)threads *
                (threads == 2   ? 4
                 : threads == 3 ? 0.5
                                : 1);
    }
    double pieces = (double)(p->batches * ceil_div(p->rows, row_block) * ceil_div(p->columns, column_block));
    return cost * step * (1 + copied_a + copied_b) + 6.5 * TURN_COST * pieces;
}

/* The fewest pieces of `units` units of `bytes` bytes each that fit into `room`. */
static int64_t fewest_pieces(int64_t units, int64_t bytes, int64_t room) {
    return ceil_div(units, at_least(room / at_least(bytes, 1), 1));
}

/* Tries the numbers of pieces from the fewest on. */
static void choose_pieces(Kernel *kernel, const Product *p, const Machine *machine) {
    int64_t lanes = machine->vector_bytes / 4, tile_columns = kernel->tile_vectors * lanes;
    int64_t unit = p->row_unit ? p->row_unit : kernel->tile_rows;
    int64_t row_units = ceil_div(p->rows, unit), column_tiles = ceil_div(p->columns, tile_columns);
    int64_t depth = kernel->depth_block ? kernel->depth_block : p->depth, least_i = 1, least_j = 1;
    if (kernel->pack_b && !kernel->prepared_b)
        least_j = fewest_pieces(column_tiles, tile_columns * depth * 4, panels_room(machine));
    if (kernel->depth_block) { /* the sums wait in scratch */
        int64_t room = machine->l2 < SMALL_L2 ? SMALL_L2 : machine->l2 / 4, side = 1;
        while (side * side * 4 <= room) side++;
        least_j =
            at_least(least_j, fewest_pieces(column_tiles, tile_columns,
                                            at_least(at_most(side, p->columns), room / 4 / at_least(p->rows, 1))));
        int64_t columns = ceil_div(column_tiles, least_j) * tile_columns;
        least_i = fewest_pieces(row_units, unit, room / 4 / columns);
    }
    bool is_small = (double)p->rows * (double)p->columns * (double)p->depth < SMALL_PRODUCT;
    int64_t tries = is_small ? 1 : MOST_TRIES;
    Grid *grid = &kernel->grid;
    double best = 0;
    for (uint32_t i = 0; i + 2 < grid->rank; i++) grid->axis[i].block = 1;
    int64_t summed = kernel_sum_rows(kernel); /* says how the rows are cut */
    if (summed) {
        unit = summed;
        least_i = row_units = p->rows / summed;
    }
    for (int64_t i = least_i; i < least_i + tries && i <= row_units; i++)
        for (int64_t j = least_j; j < least_j + tries && j <= column_tiles; j++) {
            int64_t rows = ceil_div(row_units, i) * unit, columns = ceil_div(column_tiles, j) * tile_columns;
            double cost = blocks_cost(kernel, p, rows, columns, lanes);
            if (best && cost >= best) continue;
            best = cost;
            grid->axis[grid->rank - 2].block = rows;
            grid->axis[grid->rank - 1].block = columns;
        }
}

/* Row strides that are multiples of 2 KB fall into few sets of the L1 cache. */
static bool strides_alias(Extent stride) { return stride.per_n == 0 && stride.fixed && stride.fixed * 4 % 2048 == 0; }

/* Elements of the picture that a line of places adds to what those before it see. */
static int64_t seen_of_line(const Patch *patch) {
    return at_most(patch_width(patch), patch->OW * patch->run) * at_most(patch->stride[0], patch->KH);
}

/* What of A is made ready at once, with the panel of B that it meets, stays in L2; the depth is cut where less than a
 * few tiles of rows would. Where A's rows lie side by side, a step along k is far from the next: such a product is done
 * in thin slices, whose operands and sums fit together; in thinner ones if the sums stay in L2, so that the lines of A
 * which a tile shares with the next are still in L1 then. */
static void choose_depth(Kernel *kernel, const Product *p, const Machine *machine, bool by_rows) {
    int64_t most = at_least(machine->l2 / 2 / 4 / (by_rows ? LEAST_ROWS : 1024), LEAST_DEPTH);
    kernel->depth_block = 0;
    if (p->has_patch && !p->patch.rows_are_places) {
        int64_t places = p->patch.OH * p->patch.OW,
                panels = at_most(p->columns, 128) * p->patch.OW; /* of B, for a line */
        int64_t bytes = 4 * at_least(seen_of_line(&p->patch), panels), lines = at_least(machine->l2 / 4 / bytes, 1);
        if (lines * p->patch.OW < LEAST_DEPTH)
            lines = at_least(at_most(machine->l2 / 2 / bytes, ceil_div(LEAST_DEPTH, p->patch.OW)), 1);
        kernel->depth_block = even_block(p->patch.OH, at_most(lines, p->patch.OH)) * p->patch.OW;
        if (p->images > 1)
            kernel->depth_block =
                at_most(at_most(p->images, p->depth / places), at_least(2 * most / places, 1)) * places;
    } else if (!p->has_patch && (p->open_depth || p->depth > most)) {
        if (by_rows && kernel->pack_a) most = at_least(most / 4, LEAST_DEPTH); /* more rows of the copy at once */
        bool sums_stay = p->rows * p->columns * 4 <= machine->l2 / 2;
        if (!by_rows && sums_stay) most = at_least(most / 2, LEAST_DEPTH / 2);
        kernel->depth_block = ceil_div(even_block(p->depth, most), 16) * 16;
    }
}

static void choose_rows(Kernel *kernel, const Product *p, const Machine *machine) {
    int64_t piece = kernel->grid.axis[kernel->grid.rank - 2].block, room = machine->l2 / 2 / 4;
    int64_t depth = kernel->depth_block ? kernel->depth_block : p->depth, rows;
    kernel->row_block = 0;
    if (p->has_patch && !p->patch.rows_are_places) return;
    if (p->has_patch) {
        int64_t lines = 1, image = p->patch.OH;
        while (lines < image && patch_lines(&p->patch, lines + 1) * patch_width(&p->patch) <= room) lines++;
        kernel->row_block = even_block(image, lines) * p->patch.OW;
        if (p->images > 1)
            kernel->row_block = even_block(piece / (image * p->patch.OW), p->images) * image * p->patch.OW;
        return;
    }
    int64_t columns = kernel->grid.axis[kernel->grid.rank - 1].block; /* what they become stays there, too */
    rows = at_least(room / (depth + columns) / kernel->tile_rows, 1) * kernel->tile_rows;
    if (rows < piece) kernel->row_block = ceil_div(even_block(piece, rows), kernel->tile_rows) * kernel->tile_rows;
}

static void choose_packing(Kernel *kernel, const Product *p, bool *aliases, bool *by_rows) {
    const Node *product = &kernel->body->nodes[kernel->product];
    uint32_t rank = product->type.rank;
    Strided a = {0}, b = {0}, picture;
    bool a_strided = strided_of(kernel->body, product->in[0], &a),
         b_strided = strided_of(kernel->body, product->in[1], &b);
    bool is_open_row = p->open_rows && product->type.dim[rank - 2] > -MANY_ROWS;
    Extent a_row = a.stride[rank - 2], a_depth = a.stride[rank - 1], b_depth = b.stride[rank - 2];
    bool reused = p->columns > 32 && p->depth > 64;
    Digits digits = digits_of(kernel->body, product->in[0]);
    *by_rows = a_strided ? strided_is_one(a_depth) : !digits_count_fastest(kernel->body, &digits, rank - 2);
    /* With an open batch of rows B is read where it is: to pack it for a batch of one would double the work. */
    kernel->pack_b = kernel->prepared_b || !b_strided || !strided_is_one(b.stride[rank - 1]) ||
                     (!is_open_row && ((p->rows > MANY_ROWS && p->depth > 16) || strides_alias(b_depth)));
    kernel->pack_a = !a_strided || (reused && !*by_rows && p->columns > FEW_COLUMNS);
    /* Rows of A that fall into few sets of the L1 cache are copied, where that is worth it, to where they do not. */
    bool is_aliased = a_strided && *by_rows && strides_alias(a_row);
    kernel->pack_a |= is_aliased && reused;
    *aliases = is_aliased && !reused;
    if (p->has_patch) kernel->pack_a = p->patch.is_padded || !patch_is_in_memory(kernel->body, &p->patch, &picture);
}

/* As many as a block may take: their lines in a quarter of L2, or in more of it where their places would be so few that
 * sums are read and written all the time. */
static int64_t images_of(const Product *p, int64_t bytes, const Machine *machine) {
    int64_t places = p->patch.OH * p->patch.OW, images = machine->l2 / 4 / bytes;
    if (!p->patch.rows_are_places && images * places < LEAST_PLACES)
        images = at_most(3 * machine->l2 / 4 / bytes, ceil_div(LEAST_PLACES, places));
    return at_least(at_most(images, p->depth + p->rows), 1);
}

static Product product_of(const Kernel *kernel, const Machine *machine) {
    const Node *product = &kernel->body->nodes[kernel->product];
    const Type *a = &kernel->body->nodes[product->in[0]].type;
    uint32_t rank = product->type.rank;
    Product p = {.rows = rows_of(product->type.dim[rank - 2]),
                 .columns = size_of(product->type.dim[rank - 1]),
                 .depth = size_of(a->dim[rank - 1]),
                 .batches = 1,
                 .open_rows = product->type.dim[rank - 2] < 0,
                 .open_depth = a->dim[rank - 1] < 0};
    for (uint32_t i = 0; i + 2 < rank; i++) p.batches *= size_of(product->type.dim[i]);
    p.has_patch = patch_of(kernel->body, product->in[0], &p.patch);
    p.images = 1;
    p.row_run = kernel_sum_rows(kernel);
    if (!p.has_patch) return p;
    int64_t places = p.patch.OH * p.patch.OW, image = patch_lines(&p.patch, p.patch.OH) * patch_width(&p.patch);
    if (p.patch.image_axis == MAX_RANK) p.images = images_of(&p, 4 * image, machine);
    if (p.patch.rows_are_places) {
        p.row_run = p.patch.OW;
        p.row_unit = p.images > 1 ? places : p.patch.OW;
    } else if (p.patch.KH > 1) {
        p.row_run = p.row_unit = p.patch.run;
    }
    return p;
}

void schedule_contract(Kernel *kernel, const Machine *machine, const Choice *wish) {
    Product p = product_of(kernel, machine);
    bool aliases, by_rows;
    choose_packing(kernel, &p, &aliases, &by_rows);
    choose_tile(kernel, &p, machine, aliases);
    if (wish) choice_take_tile(wish, kernel);
    choose_depth(kernel, &p, machine, by_rows);
    choose_pieces(kernel, &p, machine);
    choose_rows(kernel, &p, machine);
}

double schedule_tile_cost(const Kernel *kernel, const Machine *machine, uint32_t rows, uint32_t vectors) {
    Product p = product_of(kernel, machine);
    if (p.open_rows && rows > 8 && vectors == 1) return 0;
    return choice_tile_fits(rows, vectors, machine) ? cover_cost(&p, rows, vectors, machine->vector_bytes / 4) : 0;
}

enum { QUERY_BLOCK = 128, KEY_BLOCK = 256, GRADIENT_BLOCK = 128 };

/* The tile that covers `rows` x `columns` soonest. */
static void choose_attention_tile(int64_t rows, int64_t columns, const Machine *machine, uint32_t *tile_rows,
                                  uint32_t *tile_vectors) {
    Product product = {.rows = rows, .columns = columns};
    double best = 0;
    for (int64_t v = 1; v <= MOST_TILE_VECTORS; v++)
        for (int64_t r = 1; choice_tile_fits(r, v, machine); r++) {
            double cost = cover_cost(&product, r, v, machine->vector_bytes / 4);
            if (best && cost >= best * 0.995) continue;
            best = cost;
            *tile_rows = (uint32_t)r;
            *tile_vectors = (uint32_t)v;
        }
}

/* Blocks of keys are whole vectors of scores, four numbers of each Philox and whole panels. */
static void schedule_attention(Kernel *kernel, const Machine *machine) {
    AttentionParts parts;
    CHECK(attention_parts(kernel->body, &parts));
    const Node *node = &kernel->body->nodes[parts.first];
    AttentionShape shape = attention_shape(kernel->body, node);
    bool is_gradient = attention_is_gradient(node->op);
    int64_t queries = even_block(shape.S, is_gradient ? GRADIENT_BLOCK : QUERY_BLOCK);
    int64_t keys = even_block(shape.T, is_gradient ? GRADIENT_BLOCK : KEY_BLOCK), lanes = machine->vector_bytes / 4;
    choose_attention_tile(queries, keys, machine, &kernel->tile_rows, &kernel->tile_vectors);
    choose_attention_tile(is_gradient ? at_least(queries, keys) : queries, shape.D, machine, &kernel->wide_rows,
                          &kernel->wide_vectors);
    int64_t panel = kernel->tile_vectors * lanes;
    kernel->row_block = queries;
    kernel->depth_block = ceil_div(keys, panel) * panel;
    kernel->grid.axis[0].block = kernel->grid.axis[1].block = 1;
    if (!is_gradient) kernel->grid.axis[2].block = kernel->row_block;
}

/* Products alone: two of the sums over queries, keys and width, or one for the norm alone; five for the gradients, of
 * which the weights' is shared. */
static double attention_flop(const Kernel *kernel) {
    AttentionParts parts;
    CHECK(attention_parts(kernel->body, &parts));
    const Node *node = &kernel->body->nodes[parts.first];
    AttentionShape shape = attention_shape(kernel->body, node);
    double pairs = (double)shape.S * (double)shape.T, products = 1 + (parts.y != NO_NODE);
    if (node->attr.attention.causal) { /* query s sees min(s + 1, T) keys */
        double short_rows = (double)at_most(shape.S, shape.T);
        pairs = short_rows * (short_rows + 1) / 2 + ((double)shape.S - short_rows) * (double)shape.T;
    }
    bool has_slopes = parts.dq != NO_NODE || parts.dk != NO_NODE;
    products += has_slopes + (parts.dq != NO_NODE) + (parts.dk != NO_NODE) + (parts.dv != NO_NODE);
    double samples = (double)dim_at(kernel->grid.axis[0].extent, 1);
    return 2 * products * pairs * samples * (double)shape.H * (double)shape.D;
}

static double bytes_of(const Graph *body, NodeId id) { return (double)type_bytes_at(body->nodes[id].type, 1); }

/* What is touched of the result is read and written; its base stands there already, or is written. */
static void estimate_scatter(Kernel *kernel) {
    const Graph *body = kernel->body;
    const Node *node = scatter_node(kernel);
    double updates = bytes_of(body, node->in[2]);
    kernel->flop = updates / dtype_info[node->type.dtype].bytes;
    kernel->bytes = 2 * updates + (fills(kernel) ? bytes_of(body, kernel_scatter(kernel)) : 0);
    for (uint32_t i = 0; i < body->input_count; i++) {
        bool is_base = body->nodes[node->in[0]].op == OP_input && body->nodes[node->in[0]].attr.index == i;
        if (!is_base) kernel->bytes += (double)type_bytes_at(body->inputs[i].type, 1);
    }
}

/* Of what is only taken from, no more is read than is taken. */
static double bytes_read(const Graph *body, uint32_t input) {
    double whole = (double)type_bytes_at(body->inputs[input].type, 1), taken = 0;
    for (NodeId id = 0; id < body->count; id++) {
        const Node *node = &body->nodes[id];
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
            const Node *operand = &body->nodes[node->in[i]];
            if (operand->op != OP_input || operand->attr.index != input) continue;
            taken += node->op == OP_gather && i == 0 ? bytes_of(body, id) : whole;
        }
    }
    return taken && taken < whole ? taken : whole;
}

static void estimate(Kernel *kernel) {
    const Graph *body = kernel->body;
    double elements = 1, nodes = 0;
    if (kernel->kind == KERNEL_scatter) {
        estimate_scatter(kernel);
        return;
    }
    kernel->flop = kernel->bytes = 0;
    for (uint32_t i = 0; i < kernel->grid.rank; i++) elements *= (double)dim_at(kernel->grid.axis[i].extent, 1);
    for (NodeId id = 0; id < body->count; id++) {
        OpKind op = body->nodes[id].op;
        nodes += op_is_elementwise(op) || op_info[op].class == CLASS_reduce;
    }
    kernel->flop = nodes * elements;
    if (kernel->kind == KERNEL_contract) {
        const Type *a = &body->nodes[body->nodes[kernel->product].in[0]].type;
        kernel->flop = 2 * elements * (double)dim_at(a->dim[a->rank - 1], 1) * winograd_share(kernel);
    }
    if (kernel->kind == KERNEL_attention) kernel->flop = attention_flop(kernel);
    for (uint32_t i = 0; i < body->input_count; i++) kernel->bytes += bytes_read(body, i);
    for (uint32_t i = 0; i < body->output_count; i++) kernel->bytes += bytes_of(body, body->outputs[i].node);
}

/* Results that are far larger than the caches go past them, if that can be done by whole lines: then memory need not be
 * read before it is written, and what is in the caches stays. Buffers of the caller may begin anywhere. */
static bool can_stream(const Program *program, uint32_t k, const Machine *machine) {
    const Kernel *kernel = &program->kernels[k];
    int64_t lanes = machine->vector_bytes / 4, largest = 0;
    for (uint32_t i = 0; i < kernel->body->output_count; i++) {
        const Type *type = &kernel->body->nodes[kernel->body->outputs[i].node].type;
        uint32_t last = type->rank;
        while (last && type->dim[last - 1] == 1) last--;
        if (!last || type_has_batch(*type) || type->dim[last - 1] % lanes) return false;
        largest = at_least(largest, (int64_t)type_bytes_at(*type, 1));
    }
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        for (uint32_t i = kernel->body->input_count; call->kernel == k && i < kernel_arg_count(kernel); i++)
            if (program->buffers[call->args[i]].kind == BUFFER_output) return false;
    }
    enum { MOST_L3 = 32 << 20 /* that one program has; more is shared with others, or not there */ };
    if (kernel->kind == KERNEL_scatter) /* a base that is written in long runs */
        return fills(kernel) && machine->vector_bytes >= 32 &&
               largest > at_least(4 * machine->l2, at_most(machine->l3, MOST_L3));
    return machine->vector_bytes == 64 && largest > 4 * machine->l2;
}

void schedule_map(Kernel *kernel, const Machine *machine) {
    cut_map(kernel, machine);
    estimate(kernel);
}

ProgramPass pass_schedule;

/* Tiles of 2x2 places are for programs that change states, whose filters are others in each run: so bits do not depend on
 * whether there is memory for a function's prepared weights. */
void pass_schedule(Program *program, const Machine *machine) {
    bool is_step = program_changes_states(program);
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        Kernel *kernel = &program->kernels[i];
        if (kernel->kind == KERNEL_map)
            cut_map(kernel, machine);
        else if (kernel->kind == KERNEL_attention)
            schedule_attention(kernel, machine);
        else if (kernel->kind == KERNEL_scatter)
            cut_scatter(kernel);
        else if (!(is_step && schedule_winograd(kernel, machine)) && !choice_recall(kernel, machine))
            schedule_contract(kernel, machine, NULL);
        kernel->streams = kernel->kind != KERNEL_attention && can_stream(program, i, machine);
        estimate(kernel);
    }
}
