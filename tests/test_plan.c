/* Order, recomputation and plan over random programs: the order keeps what every call reads, phases are as few as can
 * be, recomputation changes no value and keeps the limits that it names, and the plan never lets two lives share bytes,
 * for several batches, in an arena close to the bound.
 *
 * Overlap is judged without any notion of lives: the program is acted out on an arena of cells that remember who
 * wrote them last. */
#include "ir/build.h"
#include "ir/origin.h"
#include "passes/passes.h"
#include "tests/random_graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int failures;

enum { PROGRAMS = 300, SIZES = 7 };

static void fail(const char *what, uint64_t seed, const Program *program) {
    failures++;
    fprintf(stderr, "FAIL %s, random program %llu:\n", what, (unsigned long long)seed);
    program_print(program, stderr);
}

static void run(const char *pass, Program *program) {
    Machine machine = machine_generic();
    pass_find(pass)->program(program, &machine);
}

/* ---- random programs: sums of buffers of one type, and updates of states in place */

static Type type_number(uint32_t i) {
    const Dim dims[SIZES] = {1, 50, 1000, 4096, -3, -64, -500};
    return type_make(DTYPE_f32, 1, &dims[i]);
}

static Kernel add_kernel(Type type) {
    Graph *body = graph_new("add");
    NodeId a = build_input(body, "a", INPUT_data, type, (Init){0}),
           b = build_input(body, "b", INPUT_data, type, (Init){0});
    graph_add_output(body, "y", build_binary(body, OP_add, a, b), -1);
    Grid grid = {.rank = 1};
    grid.axis[0].extent = type.dim[0];
    return (Kernel){.kind = KERNEL_map, .name = "add", .body = body, .grid = grid, .flop = 1, .bytes = 12};
}

typedef struct {
    Program *program;
    uint32_t kernel[SIZES];
    uint32_t known[SIZES][300], count[SIZES]; /* buffers that hold something */
    uint64_t state;
} Maker;

static void add_input(Maker *m, uint32_t size, bool is_state) {
    Program *program = m->program;
    uint32_t index = program->input_count++;
    program->inputs[index] = (GraphInput){
        arena_printf(program->arena, "in%u", index), is_state ? INPUT_state : INPUT_data, type_number(size), {0}};
    BufferKind kind = is_state ? BUFFER_state : BUFFER_input;
    uint32_t buffer = program_add_buffer(program, (Buffer){.kind = kind, .type = type_number(size), .index = index});
    m->known[size][m->count[size]++] = buffer;
}

static uint32_t pick(Maker *m, uint32_t size) {
    uint32_t count = m->count[size], recent = count < 6 ? count : 6;
    return m->known[size][random_below(&m->state, 3) ? count - 1 - random_below(&m->state, recent)
                                                     : random_below(&m->state, count)];
}

static void add_call(Maker *m) {
    uint32_t size = random_below(&m->state, SIZES), a = pick(m, size), b = pick(m, size), to = a;
    bool updates = m->program->buffers[a].kind == BUFFER_state && a != b && random_below(&m->state, 2);
    if (!updates) {
        to = program_add_buffer(m->program, (Buffer){.kind = BUFFER_temporary, .type = type_number(size)});
        m->known[size][m->count[size]++] = to;
    }
    uint32_t args[] = {a, b, to};
    program_add_call(m->program, m->kernel[size], args, NULL);
}

/* The last buffer of each size is what somebody wants to see. */
static void add_outputs(Maker *m) {
    Program *program = m->program;
    program->outputs = arena_array(program->arena, GraphOutput, SIZES);
    for (uint32_t size = 0; size < SIZES; size++) {
        uint32_t index = program->output_count++, a = pick(m, size), b = pick(m, size);
        uint32_t to =
            program_add_buffer(program, (Buffer){.kind = BUFFER_output, .type = type_number(size), .index = index});
        uint32_t args[] = {a, b, to};
        program_add_call(program, m->kernel[size], args, NULL);
        program->outputs[index] = (GraphOutput){arena_printf(program->arena, "out%u", index), to, -1};
    }
}

static Program *random_program(uint64_t seed) {
    Maker m = {.program = program_new("random"), .state = seed};
    m.program->inputs = arena_array(m.program->arena, GraphInput, 3 * SIZES);
    for (uint32_t size = 0; size < SIZES; size++) {
        m.kernel[size] = program_add_kernel(m.program, add_kernel(type_number(size)));
        add_input(&m, size, false);
        if (type_number(size).dim[0] > 0) add_input(&m, size, true), add_input(&m, size, true);
    }
    uint32_t calls = 5 + random_below(&m.state, 120);
    for (uint32_t i = 0; i < calls; i++) add_call(&m);
    add_outputs(&m);
    return m.program;
}

/* ---- what must hold */

static uint32_t inputs_of(const Program *program, const Call *call) {
    return program->kernels[call->kernel].body->input_count;
}
static uint32_t args_of(const Program *program, const Call *call) {
    return kernel_arg_count(&program->kernels[call->kernel]);
}

/* Every buffer after running the calls in order. */
static double **evaluate(const Program *program, int64_t n, Arena *arena) {
    double **values = arena_array(arena, double *, program->buffer_count);
    uint64_t state = 1;
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const Buffer *buffer = &program->buffers[b];
        if (buffer->kind != BUFFER_input && buffer->kind != BUFFER_state) continue;
        int64_t count = dim_at(type_elements(buffer->type), n);
        values[b] = arena_array(arena, double, count);
        for (int64_t e = 0; e < count; e++) values[b][e] = random_below(&state, 100);
    }
    program_eval(program, n, values, arena);
    return values;
}

static bool same_values(const Program *program, double **a, double **b, int64_t n) {
    for (uint32_t i = 0; i < program->buffer_count; i++) {
        size_t bytes = (size_t)dim_at(type_elements(program->buffers[i].type), n) * sizeof(double);
        if (!a[i] != !b[i] || (a[i] && memcmp(a[i], b[i], bytes))) return false;
    }
    return true;
}

/* The longest chain of calls that touch one buffer, one of them writing, in the order given; the prepare part's chain
 * stands before all others. */
static uint32_t fewest_phases(const Program *program) {
    uint32_t *depth = calloc(program->call_count, sizeof *depth), most = 0, prepare = 0;
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        if (c >= program->prepare_calls) depth[c] = prepare;
        for (uint32_t e = 0; e < c; e++) {
            const Call *earlier = &program->calls[e];
            bool tied = false;
            for (uint32_t i = 0; i < args_of(program, call); i++)
                for (uint32_t k = 0; k < args_of(program, earlier); k++)
                    if (i >= inputs_of(program, call) || k >= inputs_of(program, earlier))
                        tied |= call->args[i] == earlier->args[k];
            if (tied && depth[e] + 1 > depth[c]) depth[c] = depth[e] + 1;
        }
        if (depth[c] + 1 > most) most = depth[c] + 1;
        if (c < program->prepare_calls) prepare = most;
    }
    free(depth);
    return most;
}

static void check_order(Program *program, uint64_t seed) {
    Arena *arena = arena_new();
    uint32_t fewest = fewest_phases(program);
    double **before = evaluate(program, 2, arena);
    run("order", program);
    if (!program_verify(program, stderr)) fail("order broke the program", seed, program);
    if (!same_values(program, before, evaluate(program, 2, arena), 2)) fail("order changed a value", seed, program);
    if (program->phase_count != fewest) fail("order made too many phases", seed, program);
    arena_free(arena);
}

/* Acts the program out on an arena whose cells of 64 bytes know which buffer they hold (+ 1). */
static bool acts_out(const Program *program, int64_t n) {
    int64_t size = extent_at(program->arena_size, n);
    uint32_t *owner = calloc((size_t)size / 64 + 1, sizeof *owner);
    bool good = true;
    for (uint32_t c = 0; good && c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        uint32_t inputs = inputs_of(program, call), count = args_of(program, call);
        for (uint32_t i = 0; good && i < count; i++) {
            const Buffer *buffer = &program->buffers[call->args[i]];
            if (buffer->kind != BUFFER_temporary) continue;
            int64_t at = extent_at(buffer->offset, n), end = at + (int64_t)type_bytes_at(buffer->type, n);
            good = at % 64 == 0 && end <= size;
            for (int64_t cell = at / 64; good && cell < (end + 63) / 64; cell++) {
                if (i < inputs)
                    good = owner[cell] == call->args[i] + 1;
                else
                    owner[cell] = call->args[i] + 1;
            }
        }
    }
    free(owner);
    return good;
}

/* Within a phase nobody writes where another one reads or writes, whatever the order of calls. */
static bool phases_are_apart(const Program *program, int64_t n) {
    for (uint32_t a = 0; a < program->call_count; a++)
        for (uint32_t b = 0; b < a; b++) {
            const Call *x = &program->calls[a], *y = &program->calls[b];
            if (x->phase != y->phase) continue;
            for (uint32_t i = inputs_of(program, x); i < args_of(program, x); i++)
                for (uint32_t k = 0; k < args_of(program, y); k++) {
                    const Buffer *p = &program->buffers[x->args[i]], *q = &program->buffers[y->args[k]];
                    if (p->kind != BUFFER_temporary || q->kind != BUFFER_temporary) continue;
                    int64_t start_p = extent_at(p->offset, n), start_q = extent_at(q->offset, n);
                    if (start_p < start_q + (int64_t)type_bytes_at(q->type, n) &&
                        start_q < start_p + (int64_t)type_bytes_at(p->type, n))
                        return false;
                }
        }
    return true;
}

/* How much larger than the bound the arena is. */
static double check_plan(Program *program, uint64_t seed) {
    const int64_t batches[] = {1, 3, 128};
    run("plan", program);
    if (!program_verify(program, stderr)) fail("plan broke the program", seed, program);
    for (int i = 0; i < 3; i++)
        if (!acts_out(program, batches[i]) || !phases_are_apart(program, batches[i]))
            fail("two buffers share bytes", seed, program);
    double size = (double)extent_at(program->arena_size, 16), bound = (double)extent_at(program->most_live, 16);
    if (size < bound) fail("the arena is smaller than its bound", seed, program);
    return bound > 0 ? size / bound : 1;
}

/* ---- recomputation */

static bool is_again(const Call *call) { return origin_is_again(call->origin); }

static uint32_t count_again(const Program *program) {
    uint32_t count = 0;
    for (uint32_t c = 0; c < program->call_count; c++) count += is_again(&program->calls[c]);
    return count;
}

/* Plans the ordered program within so many bytes, if it can be; the bytes. Every value stays. */
static int64_t check_recompute(Program *program, int64_t memory, uint64_t seed) {
    Arena *arena = arena_new();
    Machine machine = machine_generic();
    machine.memory = memory;
    double **before = evaluate(program, 2, arena);
    Program old = *program;
    pass_find("recompute")->program(program, &machine);
    if (!program_verify(program, stderr)) fail("recompute broke the program", seed, program);
    if (!same_values(&old, before, evaluate(program, 2, arena), 2)) fail("recompute changed a value", seed, program);
    check_plan(program, seed);
    arena_free(arena);
    return extent_at(program->arena_size, 1);
}

static Program *ordered(Program *(*make)(uint64_t seed), uint64_t seed) {
    Program *program = make(seed);
    run("order", program);
    return program;
}

/* What a limit that is too small ends in is the smallest that works, and a larger one costs no more work. */
static void check_limits(Program *(*make)(uint64_t seed), uint64_t seed, double *saved) {
    Program *free_one = ordered(make, seed), *least = ordered(make, seed);
    Program *exact = ordered(make, seed), *half = ordered(make, seed);
    int64_t most = check_recompute(free_one, 0, seed), smallest = check_recompute(least, 1, seed);
    int64_t middle = (most + smallest) / 2;
    if (count_again(free_one)) fail("without a limit something is done again", seed, free_one);
    if (smallest > most) fail("recomputation makes the arena larger", seed, least);
    if (smallest && check_recompute(exact, smallest, seed) > smallest) fail("the least does not work", seed, exact);
    if (middle && check_recompute(half, middle, seed) > middle) fail("a limit between does not work", seed, half);
    if (most) *saved += 1 - (double)smallest / (double)most;
    program_free(free_one), program_free(least), program_free(exact), program_free(half);
}

static Program *lowered_program(uint64_t seed) {
    PipelineOptions options = {.machine = machine_generic(), .stop_after = "schedule"};
    Graph *graph = random_graph(seed, (RandomOptions){.gradients = true}), *none;
    Program *program;
    pipeline_run(graph, &options, &none, &program);
    graph_free(graph);
    return program;
}

static void test_recompute_random(void) {
    double saved = 0, saved_lowered = 0;
    for (uint64_t seed = 0; seed < PROGRAMS / 3; seed++) {
        check_limits(random_program, seed, &saved);
        check_limits(lowered_program, seed, &saved_lowered);
    }
    printf("least arena: %.1f %% smaller on average, %.1f %% for training steps\n", 300 * saved / PROGRAMS,
           300 * saved_lowered / PROGRAMS);
    if (saved <= 0 || saved_lowered <= 0) failures++, fprintf(stderr, "FAIL: recomputation saves nothing\n");
}

/* LAYERS layers: forward, x' = x + w, and every other one reads an average instead, which is updated by the input and
 * has to wait for the end; backward, g' = g + x, by which w is updated. */
enum { LAYERS = 64, CHAIN_SIZE = 2 };

static uint32_t add_temporary(Maker *m, uint32_t a, uint32_t b) {
    uint32_t to = program_add_buffer(m->program, (Buffer){.kind = BUFFER_temporary, .type = type_number(CHAIN_SIZE)});
    program_add_call(m->program, m->kernel[CHAIN_SIZE], (uint32_t[]){a, b, to}, NULL);
    return to;
}

static Program *chain_program(uint64_t layers) {
    Maker m = {.program = program_new("chain")};
    Program *program = m.program;
    uint32_t average = (uint32_t)layers + 1;
    program->inputs = arena_array(program->arena, GraphInput, layers + 2);
    m.kernel[CHAIN_SIZE] = program_add_kernel(program, add_kernel(type_number(CHAIN_SIZE)));
    for (uint32_t i = 0; i <= average; i++) add_input(&m, CHAIN_SIZE, i > 0);
    uint32_t x[LAYERS + 1] = {0}, gradient;
    for (uint32_t i = 0; i < layers; i++) x[i + 1] = add_temporary(&m, x[i], i & 1 ? average : i + 1);
    program_add_call(program, m.kernel[CHAIN_SIZE], (uint32_t[]){average, 0, average}, NULL);
    gradient = add_temporary(&m, x[layers], x[layers]);
    for (uint32_t i = (uint32_t)layers; i--;) {
        gradient = add_temporary(&m, gradient, x[i + 1]);
        program_add_call(program, m.kernel[CHAIN_SIZE], (uint32_t[]){i + 1, gradient, i + 1}, NULL);
    }
    return program;
}

/* Checkpoints: memory for some 2 sqrt(layers) values, and no value made more than twice. */
static void test_recompute_chain(void) {
    const int64_t bytes = 4032;
    Program *program = ordered(chain_program, LAYERS);
    int64_t arena = check_recompute(program, 1, LAYERS), most = (int64_t)(2 * sqrt(LAYERS) + 3) * bytes;
    printf("a chain of %d layers: %lld values at once, %u made again\n", LAYERS, (long long)(arena / bytes),
           count_again(program));
    if (arena > most) fail("a chain takes more than its checkpoints and a segment", LAYERS, program);
    if (count_again(program) >= LAYERS) fail("more is made again than there is", LAYERS, program);
    program_free(program);
    program = ordered(chain_program, LAYERS);
    check_recompute(program, LAYERS / 2 * bytes, LAYERS);
    if (program->arena_size.fixed > LAYERS / 2 * bytes) fail("half of the memory is not enough", LAYERS, program);
    if (count_again(program) > LAYERS / 2 + 4) fail("half of the memory needs more than half again", LAYERS, program);
    program_free(program);
}

static void test_random_programs(void) {
    double sum = 0, worst = 1;
    for (uint64_t seed = 0; seed < PROGRAMS; seed++) {
        Program *program = random_program(seed);
        check_order(program, seed);
        double ratio = check_plan(program, seed);
        sum += ratio;
        worst = fmax(worst, ratio);
        program_free(program);
    }
    printf("arena / bound: %.4f on average, %.4f at worst\n", sum / PROGRAMS, worst);
    if (sum / PROGRAMS > 1.02 || worst > 1.15) failures++, fprintf(stderr, "FAIL: arenas are too large\n");
}

/* Training steps from the front of the pipeline: the programs that fusion makes. */
static void test_lowered_graphs(void) {
    Machine machine = machine_generic();
    for (uint64_t seed = 0; seed < PROGRAMS; seed++) {
        PipelineOptions options = {.machine = machine, .stop_after = "schedule"};
        Graph *graph = random_graph(seed, (RandomOptions){.batch = seed & 1, .gradients = seed & 2}), *none;
        Program *program;
        pipeline_run(graph, &options, &none, &program);
        check_order(program, seed);
        check_plan(program, seed);
        program_free(program);
        graph_free(graph);
    }
}

/* An update runs right after its gradient exists, not at the end: four layers' gradients share one place. */
static void test_early_updates(void) {
    Maker m = {.program = program_new("early")};
    Program *program = m.program;
    program->inputs = arena_array(program->arena, GraphInput, 8);
    m.kernel[2] = program_add_kernel(program, add_kernel(type_number(2)));
    for (int i = 0; i < 5; i++) add_input(&m, 2, i > 0);
    uint32_t flow = 0, gradients[4];
    for (uint32_t i = 0; i < 4; i++) {
        gradients[i] = program_add_buffer(program, (Buffer){.kind = BUFFER_temporary, .type = type_number(2)});
        uint32_t next = program_add_buffer(program, (Buffer){.kind = BUFFER_temporary, .type = type_number(2)});
        program_add_call(program, m.kernel[2], (uint32_t[]){flow, flow, gradients[i]}, NULL);
        program_add_call(program, m.kernel[2], (uint32_t[]){flow, 4 - i, next}, NULL);
        flow = next;
    }
    for (uint32_t i = 0; i < 4; i++)
        program_add_call(program, m.kernel[2], (uint32_t[]){4 - i, gradients[i], 4 - i}, NULL);
    check_order(program, 0);
    check_plan(program, 0);
    if (program->arena_size.fixed > 4 * 4032) fail("gradients wait for their updates", 0, program);
    program_free(program);
}

/* Outputs of 8 MB, each by way of a temporary of its own, and a state prepared for the last: the narrow order is taken,
 * and the first temporary, which reads nothing prepared, stays out of the prepare part's phase. */
static void test_narrow_order(void) {
    enum { BLOCKS = 8 };
    Type large = type_make(DTYPE_f32, 1, (Dim[]){1 << 21});
    Program *program = program_new("narrow");
    program->inputs = arena_array(program->arena, GraphInput, 2);
    program->outputs = arena_array(program->arena, GraphOutput, BLOCKS);
    program->input_count = 2;
    program->inputs[0] = (GraphInput){"x", INPUT_data, large, {0}};
    program->inputs[1] = (GraphInput){"s", INPUT_state, large, {0}};
    uint32_t kernel = program_add_kernel(program, add_kernel(large)), from = 0;
    uint32_t x = program_add_buffer(program, (Buffer){.kind = BUFFER_input, .type = large, .index = 0});
    uint32_t s = program_add_buffer(program, (Buffer){.kind = BUFFER_state, .type = large, .index = 1});
    uint32_t prepared = program_add_buffer(program, (Buffer){.kind = BUFFER_prepared, .type = large});
    program_add_call(program, kernel, (uint32_t[]){s, s, prepared}, NULL);
    program->prepare_calls = 1;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        uint32_t index = program->output_count++;
        from = program_add_buffer(program, (Buffer){.kind = BUFFER_temporary, .type = large});
        uint32_t to = program_add_buffer(program, (Buffer){.kind = BUFFER_output, .type = large, .index = index});
        program_add_call(program, kernel, (uint32_t[]){x, x, from}, NULL);
        program_add_call(program, kernel, (uint32_t[]){from, i + 1 < BLOCKS ? x : prepared, to}, NULL);
        program->outputs[index] = (GraphOutput){arena_printf(program->arena, "out%u", index), to, -1};
    }
    uint32_t fewest = fewest_phases(program);
    run("order", program);
    if (program->phase_count <= fewest) fail("large blocks are done side by side", 0, program);
    if (program->calls[1].phase == program->calls[0].phase) fail("the prepare part shares its phase", 0, program);
    if (!program_verify(program, stderr)) fail("the narrow order broke the program", 0, program);
    check_plan(program, 0);
    program_free(program);
}

int main(void) {
    test_random_programs();
    test_lowered_graphs();
    test_early_updates();
    test_narrow_order();
    test_recompute_random();
    test_recompute_chain();
    printf("%d failures\n", failures);
    return failures ? 1 : 0;
}
