/* Reads the text that program_print.c writes.
 *
 * The parser only builds what the text says and checks that every number refers to something; whether the
 * program makes sense is program_verify's question. Bodies are read by the graph's parser in place. */
#include "ir/program.h"
#include "ir/text.h"

#include <string.h>

typedef struct {
    Scanner scanner;
    Program *program;
    uint32_t input_capacity, output_capacity;
    uint32_t phase;
    bool has_phases;
} Parser;

static bool is_number(Scanner *scanner) { return !scan_is_end(scanner) && *scanner->at >= '0' && *scanner->at <= '9'; }

/* The number of the next entry: the text counts, so that people can refer to it. */
static bool parse_count(Scanner *scanner, uint32_t expected) {
    int64_t number;
    if (!scan_integer(scanner, 0, UINT32_MAX, &number)) return false;
    return number == expected || scan_fail(scanner, "entries are numbered in order; this one must be %u", expected);
}

/* "1024", "64n" or "1024+64n" */
static bool parse_extent(Scanner *scanner, Extent *extent) {
    int64_t number;
    *extent = (Extent){0};
    if (!scan_integer(scanner, 0, INT64_MAX >> 16, &number)) return false;
    if (scan_take(scanner, "n")) return extent->per_n = number, true;
    extent->fixed = number;
    if (!scan_take(scanner, "+")) return true;
    return scan_integer(scanner, 0, INT64_MAX >> 16, &extent->per_n) && scan_need(scanner, "n");
}

static bool parse_dim(Scanner *scanner, Dim *dim) {
    int64_t number = 1;
    bool digits = is_number(scanner);
    if (digits && !scan_integer(scanner, 1, (int64_t)1 << 48, &number)) return false;
    bool batch = scan_take(scanner, "n");
    *dim = batch ? -number : number;
    return batch || digits || scan_fail(scanner, "expected a size like 784, n or 4n");
}

/* The letter in front of a buffer's number */
static bool parse_letter_b(Scanner *scanner) {
    if (scan_is_end(scanner) || *scanner->at != 'b') return scan_fail(scanner, "expected a buffer like b3");
    scanner->at++;
    return true;
}

static bool parse_buffer_id(Parser *parser, uint32_t *buffer) {
    int64_t number;
    if (!parse_letter_b(&parser->scanner) || !scan_integer(&parser->scanner, 0, UINT32_MAX, &number)) return false;
    *buffer = (uint32_t)number;
    return number < parser->program->buffer_count ||
           scan_fail(&parser->scanner, "there is no buffer b%u above", *buffer);
}

static bool parse_input(Parser *parser) {
    Program *program = parser->program;
    GraphInput input = {0};
    char *name;
    if (!parse_count(&parser->scanner, program->input_count)) return false;
    if (!scan_string(&parser->scanner, program->arena, &name) || !parse_input_type(&parser->scanner, &input))
        return false;
    input.name = name;
    program->inputs =
        arena_grow(program->arena, program->inputs, program->input_count, &parser->input_capacity, sizeof input);
    program->inputs[program->input_count++] = input;
    return scan_need_end(&parser->scanner);
}

static bool parse_buffer_kind(Scanner *scanner, Buffer *buffer) {
    if (scan_take(scanner, "temporary")) return buffer->kind = BUFFER_temporary, true;
    if (scan_take(scanner, "prepared")) return buffer->kind = BUFFER_prepared, true;
    if (scan_take(scanner, "input"))
        buffer->kind = BUFFER_input;
    else if (scan_take(scanner, "state"))
        buffer->kind = BUFFER_state;
    else if (scan_take(scanner, "output"))
        buffer->kind = BUFFER_output;
    else
        return scan_fail(scanner, "expected 'input', 'state', 'output', 'temporary' or 'prepared'");
    return scan_index(scanner, INT32_MAX, &buffer->index);
}

static bool parse_buffer(Parser *parser) {
    Scanner *scanner = &parser->scanner;
    Buffer buffer = {0};
    if (!parse_letter_b(scanner) || !parse_count(scanner, parser->program->buffer_count)) return false;
    if (!parse_buffer_kind(scanner, &buffer) || !scan_need(scanner, ":") || !scan_type(scanner, &buffer.type))
        return false;
    if (scan_take(scanner, "at") && !parse_extent(scanner, &buffer.offset)) return false;
    if (!scan_need_end(scanner)) return false;
    program_add_buffer(parser->program, buffer);
    return true;
}

static bool parse_output(Parser *parser) {
    Program *program = parser->program;
    Scanner *scanner = &parser->scanner;
    GraphOutput output = {.updates = -1};
    uint32_t updated;
    char *name;
    if (!scan_string(scanner, program->arena, &name) || !parse_buffer_id(parser, &output.node)) return false;
    output.name = name;
    if (scan_take(scanner, "updates")) {
        if (!scan_index(scanner, program->input_count, &updated)) return false;
        output.updates = (int32_t)updated;
    }
    program->outputs =
        arena_grow(program->arena, program->outputs, program->output_count, &parser->output_capacity, sizeof output);
    program->outputs[program->output_count++] = output;
    return scan_need_end(scanner);
}

static bool parse_arena(Parser *parser) {
    Scanner *scanner = &parser->scanner;
    return parse_extent(scanner, &parser->program->arena_size) && scan_need(scanner, "most_live") &&
           parse_extent(scanner, &parser->program->most_live) && scan_need_end(scanner);
}

static bool parse_prepare(Parser *parser) {
    Scanner *scanner = &parser->scanner;
    return scan_index(scanner, INT32_MAX, &parser->program->prepare_calls) && scan_need(scanner, "calls") &&
           scan_need(scanner, ",") && scan_integer(scanner, 0, INT64_MAX >> 16, &parser->program->prepared_size) &&
           scan_need(scanner, "bytes") && scan_need_end(scanner);
}

static bool parse_grid(Scanner *scanner, Grid *grid) {
    *grid = (Grid){0};
    while (!scan_is_end(scanner)) {
        if (grid->rank && !scan_need(scanner, ",")) return false;
        if (grid->rank == MAX_RANK) return scan_fail(scanner, "a grid has at most %d axes", MAX_RANK);
        if (!parse_dim(scanner, &grid->axis[grid->rank].extent)) return false;
        if (scan_take(scanner, "by") && !scan_integer(scanner, 1, INT64_MAX >> 8, &grid->axis[grid->rank].block))
            return false;
        grid->rank++;
    }
    Type space = {.rank = grid->rank};
    for (uint32_t i = 0; i < grid->rank; i++) space.dim[i] = grid->axis[i].extent;
    const char *problem = type_problem(space);
    return problem ? scan_fail(scanner, "%s", problem) : true;
}

static bool parse_reduced(Scanner *scanner, uint32_t *reduced) {
    do {
        uint32_t axis;
        if (!scan_index(scanner, MAX_RANK, &axis)) return false;
        *reduced |= 1u << axis;
    } while (scan_take(scanner, ","));
    return true;
}

static bool parse_tile(Scanner *scanner, uint32_t *tile_rows, uint32_t *tile_vectors) {
    int64_t rows, vectors;
    if (!scan_integer(scanner, 0, 1 << 16, &rows) || !scan_need(scanner, "rows")) return false;
    if (!scan_integer(scanner, 0, 1 << 16, &vectors) || !scan_need(scanner, "vectors")) return false;
    *tile_rows = (uint32_t)rows;
    *tile_vectors = (uint32_t)vectors;
    return true;
}

static bool parse_product(Scanner *scanner, Kernel *kernel) {
    return scan_need(scanner, "%") && scan_index(scanner, INT32_MAX, &kernel->product);
}

static bool parse_cost(Scanner *scanner, Kernel *kernel) {
    return scan_need(scanner, "flop") && scan_need(scanner, "=") && scan_number(scanner, &kernel->flop) &&
           scan_need(scanner, "bytes") && scan_need(scanner, "=") && scan_number(scanner, &kernel->bytes);
}

static bool parse_schedule_line(Scanner *scanner, Kernel *kernel) {
    bool good;
    if (scan_take(scanner, "grid"))
        good = parse_grid(scanner, &kernel->grid);
    else if (scan_take(scanner, "reduced"))
        good = parse_reduced(scanner, &kernel->reduced);
    else if (scan_take(scanner, "product"))
        good = parse_product(scanner, kernel);
    else if (scan_take(scanner, "tile"))
        good = parse_tile(scanner, &kernel->tile_rows, &kernel->tile_vectors);
    else if (scan_take(scanner, "wide"))
        good = parse_tile(scanner, &kernel->wide_rows, &kernel->wide_vectors);
    else if (scan_take(scanner, "depth"))
        good = scan_integer(scanner, 0, INT64_MAX >> 8, &kernel->depth_block);
    else if (scan_take(scanner, "rows"))
        good = scan_integer(scanner, 0, INT64_MAX >> 8, &kernel->row_block);
    else if (scan_take(scanner, "streams"))
        good = kernel->streams = true;
    else if (scan_take(scanner, "winograd"))
        good = scan_integer(scanner, 0, INT64_MAX >> 8, &kernel->winograd);
    else if (scan_take(scanner, "cost"))
        good = parse_cost(scanner, kernel);
    else if (scan_take(scanner, "prepared"))
        good = kernel->prepared_b = scan_need(scanner, "b");
    else if (scan_take(scanner, "pack")) {
        kernel->pack_a = scan_take(scanner, "a");
        kernel->pack_b = scan_take(scanner, "b");
        good = true;
    } else {
        good = scan_fail(scanner, "expected 'grid', 'reduced', 'product', 'tile', 'wide', 'depth', 'rows', 'pack', "
                                  "'prepared', 'winograd', 'streams', 'cost' or 'body'");
    }
    return good && scan_need_end(scanner);
}

static bool parse_kernel_head(Parser *parser, Kernel *kernel) {
    Scanner *scanner = &parser->scanner;
    char *name;
    if (!parse_count(scanner, parser->program->kernel_count)) return false;
    if (scan_take(scanner, "contract"))
        kernel->kind = KERNEL_contract;
    else if (scan_take(scanner, "attention"))
        kernel->kind = KERNEL_attention;
    else if (scan_take(scanner, "scatter"))
        kernel->kind = KERNEL_scatter;
    else if (!scan_take(scanner, "map"))
        return scan_fail(scanner, "expected 'map', 'contract', 'attention' or 'scatter'");
    if (!scan_string(scanner, parser->program->arena, &name) || !scan_need_end(scanner)) return false;
    for (uint32_t i = 0; i < parser->program->kernel_count; i++)
        if (!strcmp(parser->program->kernels[i].name, name))
            return scan_fail(scanner, "there is another kernel \"%s\"", name);
    kernel->name = name;
    return *name ? true : scan_fail(scanner, "a kernel needs a name");
}

/* An equal kernel would be shared, and the numbers of the text would no longer be true. */
static bool add_kernel(Parser *parser, const Kernel *kernel) {
    Program *program = parser->program;
    uint32_t before = program->kernel_count;
    uint32_t index = program_add_kernel(program, *kernel);
    if (index == before) return true;
    return scan_fail(&parser->scanner, "this kernel equals kernel %u", index);
}

static bool parse_kernel(Parser *parser) {
    Scanner *scanner = &parser->scanner;
    Kernel kernel = {0};
    int failures = scanner->failures;
    bool has_body = false;
    parse_kernel_head(parser, &kernel);
    while (!has_body && scan_line(scanner)) {
        has_body = scan_take(scanner, "body");
        if (!has_body) parse_schedule_line(scanner, &kernel);
    }
    if (!has_body) return scan_fail(scanner, "the kernel's body is missing");
    if (!scan_need(scanner, "{") || !scan_need_end(scanner)) return false;
    kernel.body = graph_new(kernel.name);
    parse_lines(scanner, kernel.body, true);
    if (scanner->failures == failures) return add_kernel(parser, &kernel);
    graph_free(kernel.body);
    return false;
}

static bool find_kernel(Parser *parser, uint32_t *kernel) {
    const Program *program = parser->program;
    char *name;
    if (!scan_string(&parser->scanner, program->arena, &name)) return false;
    for (*kernel = 0; *kernel < program->kernel_count; ++*kernel)
        if (!strcmp(program->kernels[*kernel].name, name)) return true;
    return scan_fail(&parser->scanner, "there is no kernel \"%s\" above", name);
}

static bool parse_args(Parser *parser, uint32_t *args, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if ((i && !scan_need(&parser->scanner, ",")) || !parse_buffer_id(parser, &args[i])) return false;
    return true;
}

/* call 3: "dense_relu.3"(b0, b4 -> b7) @ "layers[2]" */
static bool parse_call(Parser *parser) {
    Scanner *scanner = &parser->scanner;
    Program *program = parser->program;
    uint32_t kernel;
    if (!parse_count(scanner, program->call_count) || !scan_need(scanner, ":") || !find_kernel(parser, &kernel))
        return false;
    const Graph *body = program->kernels[kernel].body;
    uint32_t *args = arena_array(program->arena, uint32_t, body->input_count + body->output_count);
    if (!scan_need(scanner, "(") || !parse_args(parser, args, body->input_count) || !scan_need(scanner, "->") ||
        !parse_args(parser, args + body->input_count, body->output_count) || !scan_need(scanner, ")"))
        return false;
    char *origin = NULL;
    if (scan_take(scanner, "@") && !scan_string(scanner, program->arena, &origin)) return false;
    if (!scan_need_end(scanner)) return false;
    program_add_call(program, kernel, args, origin);
    program->calls[program->call_count - 1].phase = parser->phase;
    return true;
}

static bool parse_phase(Parser *parser) {
    Scanner *scanner = &parser->scanner;
    uint32_t phase;
    if (!scan_index(scanner, INT32_MAX, &phase) || !scan_need(scanner, ":") || !scan_need_end(scanner)) return false;
    bool first = !parser->has_phases && !parser->program->call_count;
    if (!first && (!parser->has_phases || phase <= parser->phase))
        return scan_fail(scanner, "phases stand in order, and every call in one of them");
    parser->has_phases = true;
    parser->phase = phase;
    parser->program->phase_count = phase + 1;
    return true;
}

static bool parse_line(Parser *parser) {
    Scanner *scanner = &parser->scanner;
    if (scan_take(scanner, "input")) return parse_input(parser);
    if (scan_take(scanner, "buffer")) return parse_buffer(parser);
    if (scan_take(scanner, "output")) return parse_output(parser);
    if (scan_take(scanner, "arena")) return parse_arena(parser);
    if (scan_take(scanner, "prepare")) return parse_prepare(parser);
    if (scan_take(scanner, "kernel")) return parse_kernel(parser);
    if (scan_take(scanner, "phase")) return parse_phase(parser);
    if (scan_take(scanner, "call")) return parse_call(parser);
    return scan_fail(scanner, "expected 'input', 'buffer', 'output', 'arena', 'prepare', 'kernel', 'phase' or 'call'");
}

Program *program_parse(const char *text, const char *file, Diag *diag) {
    Parser parser = {.program = program_new(NULL)};
    Scanner *scanner = &parser.scanner;
    char *name = NULL;
    scan_begin(scanner, text, file, diag);
    bool named = scan_line(scanner) && scan_need(scanner, "program") &&
                 scan_string(scanner, parser.program->arena, &name) && scan_need_end(scanner);
    parser.program->name = name;
    while (named && scan_line(scanner)) parse_line(&parser);
    if (named && !scanner->failures) return parser.program;
    if (!scanner->failures) scan_fail(scanner, "the text is empty; a program begins with: program \"name\"");
    program_free(parser.program);
    return NULL;
}
