/* Schedules: how each kernel is cut into pieces and tiles. What is decided here follows from shapes and the machine
 * alone, never from the number of threads.
 *
 * Map kernels: pieces of at least PIECE_ELEMENTS elements, cut along the outermost parallel axes first, so that
 * a piece reads and writes long runs.
 *
 * Contractions (see backend/contract.c for the loops): the register tile is the one that costs least over the whole
 * product, its ragged edge included; a tile of R rows and C vectors takes max(R·C/2, (R+C)/2, 4) cycles for each step
 * along k with two FMA and two load units and four cycles of latency, and a little for the loop around it. Depth is cut so that a panel of B stays in L1
 * (Low et al., "Analytical Modeling Is Enough for High-Performance BLIS", TOMS 2016). Pieces are whole tiles, and
 * their number the one that balances 1, 2, 3 and 4 threads best, packing counted. */
#include "ir/program.h"
#include "ir/strided.h"

#include <string.h>

enum { PIECE_ELEMENTS = 8192, MOST_PIECES = 64, OPEN_BATCH = 64 /* what an open batch is taken for */ };
enum { SMALL_PRODUCT = 60000 /* products that one thread does sooner than two */, MOST_TRIES = 16 };

static int64_t size_of(Dim dim) { return dim_at(dim, OPEN_BATCH); }
static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

/* Near-equal blocks of at most `block`. */
static int64_t even_block(int64_t size, int64_t block) { return ceil_div(size, ceil_div(size, at_least(block, 1))); }

static void schedule_map(Kernel *kernel, const Machine *machine) {
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

typedef struct {
    int64_t rows, columns, depth, batches; /* m, n, k, product of the leading axes */
    bool open_rows;
} Product;

/* Cycles for each step along k, measured on small tiles; and for each load, which mostly hides behind the arithmetic. */
static const double TILE_OVERHEAD = 0.6, LOAD_COST = 0.12;

static double tile_cost(int64_t rows, int64_t vectors) {
    double fma = (double)(rows * vectors) / 2, loads = (double)(rows + vectors) / 2;
    double cost = fma > loads ? fma : loads;
    return (cost > 4 ? cost : 4) + TILE_OVERHEAD + LOAD_COST * (double)(rows + vectors);
}

static bool tile_fits(const Machine *machine, int64_t rows, int64_t vectors) {
    int64_t spare = machine->has_fma ? 1 : 2; /* the broadcast, and the product where there is no FMA */
    return rows * vectors + vectors + spare <= machine->registers;
}

/* Cycles for one step along k over the whole product. */
static double cover_cost(const Product *p, int64_t rows, int64_t vectors, int64_t lanes) {
    int64_t all_vectors = ceil_div(p->columns, lanes);
    int64_t full_rows = p->rows / rows, last_rows = p->rows % rows;
    int64_t full_vectors = all_vectors / vectors, last_vectors = all_vectors % vectors;
    double cost = (double)(full_rows * full_vectors) * tile_cost(rows, vectors);
    if (last_rows) cost += (double)full_vectors * tile_cost(last_rows, vectors);
    if (last_vectors) cost += (double)full_rows * tile_cost(rows, last_vectors);
    if (last_rows && last_vectors) cost += tile_cost(last_rows, last_vectors);
    return cost;
}

static void choose_tile(Kernel *kernel, const Product *p, const Machine *machine) {
    int64_t lanes = machine->vector_bytes / 4;
    double best = 0;
    for (int64_t vectors = 1; vectors <= 4; vectors++)
        for (int64_t rows = 1; rows <= 30 && tile_fits(machine, rows, vectors); rows++) {
            if (p->open_rows && rows > 8 && vectors == 1) continue; /* thin tiles have long tails */
            double cost = cover_cost(p, rows, vectors, lanes);
            if (best && cost >= best * 0.995) continue;
            best = cost;
            kernel->tile_rows = (uint32_t)rows;
            kernel->tile_vectors = (uint32_t)vectors;
        }
}

/* The busiest of `threads` threads, each with a run of pieces, in units of rows x columns. */
static int64_t busiest(const Product *p, int64_t row_block, int64_t column_block, int64_t threads) {
    int64_t row_pieces = ceil_div(p->rows, row_block), column_pieces = ceil_div(p->columns, column_block);
    int64_t pieces = p->batches * row_pieces * column_pieces, most = 0;
    if (pieces > 4096) return ceil_div(p->batches * p->rows * p->columns, threads);
    for (int64_t t = 0; t < threads; t++) {
        int64_t work = 0;
        for (int64_t i = pieces * t / threads; i < pieces * (t + 1) / threads; i++) {
            int64_t row = i / column_pieces % row_pieces, column = i % column_pieces;
            work += at_most(row_block, p->rows - row * row_block) * at_most(column_block, p->columns - column * column_block);
        }
        most = at_least(most, work);
    }
    return most;
}

/* Work of the busiest thread, with what packing the operands adds for each piece. */
static double blocks_cost(const Kernel *kernel, const Product *p, int64_t row_block, int64_t column_block) {
    double pack = (kernel->pack_b ? 2.5 / (double)row_block : 0) + (kernel->pack_a ? 2.5 / (double)column_block : 0) +
                  0.6 / (double)column_block;
    double cost = 0;
    for (int64_t threads = 1; threads <= 4; threads++)
        cost += (double)busiest(p, row_block, column_block, threads) * (double)threads * (threads == 2 ? 3 : 1);
    double pieces = (double)(p->batches * ceil_div(p->rows, row_block) * ceil_div(p->columns, column_block));
    double work = (double)(p->batches * p->rows * p->columns) * 6;
    return cost * (1 + pack * 16) + work * 1e-4 * pieces;
}

/* The fewest pieces of `tiles` tiles that keep a block of them, `depth` deep, in half of L2. */
static int64_t fewest_pieces(int64_t tiles, int64_t tile_size, int64_t depth, const Machine *machine) {
    int64_t most_tiles = at_least(machine->l2 / 2 / (4 * depth * tile_size), 1);
    return ceil_div(tiles, most_tiles);
}

/* Tries the numbers of pieces from the fewest on. */
static void choose_blocks(Kernel *kernel, const Product *p, const Machine *machine) {
    int64_t tile_columns = kernel->tile_vectors * machine->vector_bytes / 4;
    int64_t row_tiles = ceil_div(p->rows, kernel->tile_rows), column_tiles = ceil_div(p->columns, tile_columns);
    int64_t depth = kernel->depth_block ? kernel->depth_block : p->depth;
    int64_t least_i = fewest_pieces(row_tiles, kernel->tile_rows, depth, machine);
    int64_t least_j = fewest_pieces(column_tiles, tile_columns, depth, machine);
    bool is_small = (double)p->rows * (double)p->columns * (double)p->depth < SMALL_PRODUCT;
    int64_t tries = is_small ? 1 : MOST_TRIES;
    Grid *grid = &kernel->grid;
    double best = 0;
    for (uint32_t i = 0; i + 2 < grid->rank; i++) grid->axis[i].block = 1;
    for (int64_t i = least_i; i < least_i + tries && i <= row_tiles; i++)
        for (int64_t j = least_j; j < least_j + tries && j <= column_tiles; j++) {
            int64_t rows = ceil_div(row_tiles, i) * kernel->tile_rows;
            int64_t columns = ceil_div(column_tiles, j) * tile_columns;
            double cost = blocks_cost(kernel, p, rows, columns);
            if (best && cost >= best) continue;
            best = cost;
            grid->axis[grid->rank - 2].block = rows;
            grid->axis[grid->rank - 1].block = columns;
        }
}

/* Row strides that are multiples of 1 KB fall into few sets of the L1 cache. */
static bool strides_alias(Extent stride) { return stride.per_n == 0 && stride.fixed && stride.fixed * 4 % 1024 == 0; }

static void choose_packing(Kernel *kernel, const Product *p) {
    const Node *product = &kernel->body->nodes[kernel->product];
    uint32_t rank = product->type.rank;
    Strided a = {0}, b = {0};
    bool a_strided = strided_of(kernel->body, product->in[0], &a), b_strided = strided_of(kernel->body, product->in[1], &b);
    Extent a_row = a.stride[rank - 2], a_depth = a.stride[rank - 1], b_depth = b.stride[rank - 2];
    bool reused = p->columns > 2 * 64;
    /* With an open batch B is read where it is: to pack it for a batch of one would double the work. */
    kernel->pack_a = !a_strided || (reused && p->depth > 16 && (strided_is_one(a_depth) ? strides_alias(a_row) && p->rows > 16 : strides_alias(a_depth)));
    kernel->pack_b = !b_strided || !strided_is_one(b.stride[rank - 1]) || (!p->open_rows && ((p->rows > 28 && p->depth > 16) || strides_alias(b_depth)));
}

static void schedule_contract(Kernel *kernel, const Machine *machine) {
    const Node *product = &kernel->body->nodes[kernel->product];
    const Type *a = &kernel->body->nodes[product->in[0]].type;
    uint32_t rank = product->type.rank;
    Product p = {.rows = size_of(product->type.dim[rank - 2]), .columns = size_of(product->type.dim[rank - 1]),
                 .depth = size_of(a->dim[rank - 1]), .batches = 1, .open_rows = product->type.dim[rank - 2] < 0};
    for (uint32_t i = 0; i + 2 < rank; i++) p.batches *= size_of(product->type.dim[i]);
    choose_tile(kernel, &p, machine);
    int64_t panel = kernel->tile_vectors * machine->vector_bytes, most_depth = at_least(machine->l1 * 3 / 4 / panel, 64);
    kernel->depth_block = a->dim[rank - 1] < 0 || p.depth > most_depth * 3 / 2 ? even_block(p.depth, most_depth) : 0;
    choose_packing(kernel, &p);
    choose_blocks(kernel, &p, machine);
}

static void estimate(Kernel *kernel) {
    const Graph *body = kernel->body;
    double elements = 1, nodes = 0;
    kernel->flop = kernel->bytes = 0;
    for (uint32_t i = 0; i < kernel->grid.rank; i++) elements *= (double)dim_at(kernel->grid.axis[i].extent, 1);
    for (NodeId id = 0; id < body->count; id++) {
        OpClass class = op_info[body->nodes[id].op].class;
        nodes += class == CLASS_unary || class == CLASS_binary || class == CLASS_ternary || class == CLASS_reduce;
    }
    kernel->flop = nodes * elements;
    if (kernel->kind == KERNEL_contract) {
        const Type *a = &body->nodes[body->nodes[kernel->product].in[0]].type;
        kernel->flop = 2 * elements * (double)dim_at(a->dim[a->rank - 1], 1);
    }
    for (uint32_t i = 0; i < body->input_count; i++) kernel->bytes += (double)type_bytes_at(body->inputs[i].type, 1);
    for (uint32_t i = 0; i < body->output_count; i++)
        kernel->bytes += (double)type_bytes_at(body->nodes[body->outputs[i].node].type, 1);
}

void pass_schedule(Program *program, const Machine *machine);

void pass_schedule(Program *program, const Machine *machine) {
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        Kernel *kernel = &program->kernels[i];
        if (kernel->kind == KERNEL_map) schedule_map(kernel, machine);
        else schedule_contract(kernel, machine);
        estimate(kernel);
    }
}
