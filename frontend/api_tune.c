/* include/selfc.h, selfc_tune: schedules of every contraction, timed on this machine.
 *
 * Each distinct kernel of the training step and the functions becomes small programs, one for each candidate, that call
 * it on scratch buffers with ordinary numbers; all are compiled at once and run in turns, so that a machine that slows
 * down slows all of them. First tiles and packing compete, then blocks around the winner. What is clearly slower is
 * dropped after few turns. The smallest time counts, since noise only adds. A program calls the kernel several times, a
 * phase for each, on buffers of their own: as in a step, a barrier is paid only where threads share the work, and
 * operands come from beyond L2. */
#include "frontend/api.h"

#include "runtime/core/core.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TUNE_OPEN_BATCH = 64, TUNE_MOST_SETS = 16, TUNE_HUGE_PAGE = 2 << 20, TUNE_MOST_TURNS = 60 };
static const double tune_turn = 2e-4 /* seconds that a candidate runs at a time */, tune_budget = 0.15 /* for a list */;
static const double tune_slow = 5e-3; /* a run of it is nearly free of noise: few are enough */
static const double tune_least_gain = 1.03; /* less may be noise: the cost model's choice stays */

/* A kernel to time, and how often a step calls it. */
typedef struct {
    const Kernel *kernel;
    uint64_t key;
    int64_t n, batch;    /* batch: fixed, or 0 */
    uint32_t calls;      /* in the training step; or in all functions, if there is none */
    double work;         /* of all its calls, in FLOP */
    double before, after; /* seconds of a call */
} Job;

typedef struct {
    Choice choice;
    const SelfcProgram *program;
    double least;
    bool is_dropped;
} Runner;

typedef struct {
    void *memory;
    void **io;     /* the inputs of each set, then the outputs of each set */
    uint32_t sets; /* and calls of a program */
} Buffers;

typedef struct {
    const SelfcModel *model;
    Arena *arena;
    FILE *out;
    Job *jobs;
    uint32_t count, capacity;
    Choices found, known;
    double started, seconds;
    bool is_terminal;
} Tune;

/* ---- which kernels */

static Job *tune_job(Tune *tune, uint64_t key) {
    for (uint32_t i = 0; i < tune->count; i++)
        if (tune->jobs[i].key == key) return &tune->jobs[i];
    return NULL;
}

static void tune_add_program(Tune *tune, const Program *program, int64_t batch, bool counts) {
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Kernel *kernel = &program->kernels[program->calls[c].kernel];
        if (kernel->kind != KERNEL_contract || kernel->winograd) continue; /* that has no choice */
        uint64_t key = choice_key(kernel);
        Job *job = tune_job(tune, key);
        if (!job) {
            tune->jobs = arena_grow(tune->arena, tune->jobs, tune->count, &tune->capacity, sizeof *job);
            job = &tune->jobs[tune->count++];
            *job = (Job){.kernel = kernel, .key = key, .n = batch ? batch : TUNE_OPEN_BATCH, .batch = batch};
        }
        job->calls += counts;
        job->work += kernel->flop * (batch ? 1 : TUNE_OPEN_BATCH);
    }
}

/* The training step first, and the most work first, so that a limit of time costs little. */
static int tune_more_important(const void *a, const void *b) {
    const Job *x = a, *y = b;
    if (!x->calls != !y->calls) return x->calls ? -1 : 1;
    return (x->work < y->work) - (x->work > y->work);
}

/* ---- scratch data */

static Type tune_output_type(const Graph *body, uint32_t output) { return body->nodes[body->outputs[output].node].type; }

/* A vector may be read where a tensor ends. */
static size_t tune_bytes(Type type, int64_t n) { return (type_bytes_at(type, n) + 127) / 64 * 64; }

static void tune_mark(const Graph *body, NodeId id, bool *marked) {
    const Node *node = &body->nodes[id];
    if (node->op == OP_input) marked[node->attr.index] = true;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) tune_mark(body, node->in[i], marked);
}

/* Of each input, that it is a weight whose panels are laid out once: a state of the programs that are timed. */
static bool *tune_weights(const Kernel *kernel, Arena *arena) {
    bool *marked = arena_array(arena, bool, kernel->body->input_count + 1);
    if (kernel->prepared_b) tune_mark(kernel->body, kernel->body->nodes[kernel->product].in[1], marked);
    return marked;
}

static size_t tune_set_bytes(const Graph *body, int64_t n) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < body->input_count; i++) bytes += tune_bytes(body->inputs[i].type, n);
    for (uint32_t i = 0; i < body->output_count; i++) bytes += tune_bytes(tune_output_type(body, i), n);
    return bytes;
}

/* Integers stay 0, so that they are valid positions. */
static void tune_fill(Type type, int64_t n, void *out) {
    int64_t elements = dim_at(type_elements(type), n);
    for (int64_t i = 0; i < elements && type.dtype == DTYPE_f32; i++) ((float *)out)[i] = (float)(i * 7919 % 2003) / 1001.5f - 1;
    for (int64_t i = 0; i < elements && type.dtype == DTYPE_u8; i++) ((uint8_t *)out)[i] = (uint8_t)(i * 37 % 256);
}

/* weights: inputs that need no buffer here. */
static bool tune_buffers(const Graph *body, const bool *weights, int64_t n, int64_t l2, Buffers *buffers) {
    size_t one = tune_set_bytes(body, n), sets = (size_t)(4 * l2) / one + 1;
    if (sets > TUNE_MOST_SETS) sets = TUNE_MOST_SETS;
    size_t size = (one * sets / TUNE_HUGE_PAGE + 1) * TUNE_HUGE_PAGE, inputs = sets * body->input_count, outputs = sets * body->output_count;
    *buffers = (Buffers){.memory = aligned_alloc(TUNE_HUGE_PAGE, size), .io = calloc(inputs + outputs, sizeof(void *)), .sets = (uint32_t)sets};
    if (!buffers->memory || !buffers->io) return free(buffers->memory), free(buffers->io), false;
    madvise(buffers->memory, size, MADV_HUGEPAGE);
    memset(buffers->memory, 0, size);
    char *at = buffers->memory;
    void **io = buffers->io;
    for (size_t i = 0; i < inputs + outputs; i++) {
        bool is_input = i < inputs;
        if (is_input && weights[i % body->input_count]) continue;
        Type type = is_input ? body->inputs[i % body->input_count].type : tune_output_type(body, (uint32_t)((i - inputs) % body->output_count));
        if (is_input) tune_fill(type, n, at);
        *io++ = at;
        at += tune_bytes(type, n);
    }
    return true;
}

static void tune_buffers_free(Buffers *buffers) {
    free(buffers->memory);
    free(buffers->io);
}

/* ---- calls as a program */

static uint32_t tune_add_input(Program *program, Type type, bool is_weight) {
    uint32_t index = program->input_count++;
    program->inputs[index] = (GraphInput){.name = arena_printf(program->arena, "i%u", index), .kind = is_weight ? INPUT_state : INPUT_data, .type = type,
                                          .init = {.kind = is_weight ? INIT_uniform : INIT_zero, .a = -1, .b = 1}};
    return program_add_buffer(program, (Buffer){.kind = is_weight ? BUFFER_state : BUFFER_input, .type = type, .index = index});
}

static uint32_t tune_add_output(Program *program, Type type) {
    uint32_t index = program->output_count++, buffer = program_add_buffer(program, (Buffer){.kind = BUFFER_output, .type = type, .index = index});
    program->outputs[index] = (GraphOutput){.name = arena_printf(program->arena, "o%u", index), .node = buffer, .updates = -1};
    return buffer;
}

/* `calls` calls, each on arguments of its own, and what they want prepared. */
static Program *tune_program(const Kernel *kernel, const bool *weights, const Choice *choice, uint32_t calls, const Machine *machine) {
    const Graph *body = kernel->body;
    Program *program = program_new("tune");
    program->inputs = arena_array(program->arena, GraphInput, calls * body->input_count + 1);
    program->outputs = arena_array(program->arena, GraphOutput, calls * body->output_count + 1);
    Kernel copy = *kernel;
    copy.body = graph_copy(body);
    choice_take(choice, &copy);
    uint32_t index = program_add_kernel(program, copy), *args = arena_array(program->arena, uint32_t, kernel_arg_count(kernel));
    for (uint32_t c = 0; c < calls; c++) {
        for (uint32_t i = 0; i < body->input_count; i++) args[i] = tune_add_input(program, body->inputs[i].type, weights[i]);
        for (uint32_t i = 0; i < body->output_count; i++) args[body->input_count + i] = tune_add_output(program, tune_output_type(body, i));
        program_add_call(program, index, args, NULL);
    }
    pass_find("panels")->program(program, machine);
    pass_find("plan")->program(program, machine);
    for (uint32_t c = 0; c < program->call_count; c++) program->calls[c].phase = program->phase_count = c;
    program->phase_count++;
    return program;
}

static Jit *tune_compile(Tune *tune, const Job *job, const Runner *runners, uint32_t count, uint32_t calls) {
    Program *programs[MOST_CANDIDATES + 2];
    int64_t batches[MOST_CANDIDATES + 2];
    const bool *weights = tune_weights(job->kernel, tune->arena);
    for (uint32_t i = 0; i < count; i++) {
        programs[i] = tune_program(job->kernel, weights, &runners[i].choice, calls, &tune->model->target.machine);
        batches[i] = job->batch;
    }
    CompileInput input = {.name = "tune", .programs = programs, .batches = batches, .program_count = count, .training = {.train = -1, .evaluate = -1}};
    CompileOptions options = {.threads = (uint32_t)tune->model->options.threads};
    Diag diag;
    diag_init(&diag);
    Jit *jit = jit_compile(&input, &tune->model->target, &options, &diag);
    for (uint32_t i = 0; i < count; i++) program_free(programs[i]);
    if (!jit) api_fail_with(&diag);
    else diag_free(&diag);
    return jit;
}

/* ---- timing */

typedef struct {
    SelfcSession *session;
    const Buffers *buffers;
    int64_t n;
} Bench;

/* Seconds of a call. */
static double tune_run(const Bench *bench, const Runner *runner, uint32_t times) {
    double start = api_seconds();
    for (uint32_t i = 0; i < times; i++) selfc_execute(bench->session, runner->program, bench->buffers->io, bench->n);
    return (api_seconds() - start) / times / bench->buffers->sets;
}

/* How much slower than the fastest a candidate may be after so many turns. */
static double tune_patience(uint32_t turns) { return turns < 2 ? 2 : turns < 4 ? 1.4 : turns < 8 ? 1.15 : turns < 16 ? 1.07 : 1.04; }

static double tune_least(const Runner *runners, uint32_t count) {
    double best = INFINITY;
    for (uint32_t i = 0; i < count; i++) best = runners[i].least < best ? runners[i].least : best;
    return best;
}

/* The first stays to the end: it is what the winner is compared with. Returns how many are left. */
static uint32_t tune_drop(Runner *runners, uint32_t count, uint32_t turns) {
    double most = tune_least(runners, count) * tune_patience(turns);
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        runners[i].is_dropped |= i && runners[i].least > most;
        left += !runners[i].is_dropped;
    }
    return left;
}

/* Each that is left runs for about tune_turn. */
static void tune_take_turns(const Bench *bench, Runner *runners, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (runners[i].is_dropped) continue;
        double times = tune_turn / runners[i].least / bench->buffers->sets;
        double seconds = tune_run(bench, &runners[i], times > 1 ? (uint32_t)times : 1);
        if (seconds < runners[i].least) runners[i].least = seconds;
    }
}

static void tune_race(const Bench *bench, Runner *runners, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) runners[i].least = tune_run(bench, &runners[i], 1);
    bool is_slow = tune_least(runners, count) > tune_slow;
    uint32_t head_start = is_slow ? 3 : 0, least_turns = is_slow ? 2 : 4;
    double start = api_seconds();
    for (uint32_t turn = 0; turn < TUNE_MOST_TURNS; turn++) {
        if (tune_drop(runners, count, turn + head_start) == 1) break;
        if (turn >= least_turns && api_seconds() - start > tune_budget) break;
        tune_take_turns(bench, runners, count);
    }
}

static uint32_t tune_fastest(const Runner *runners, uint32_t count) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (runners[i].least < runners[best].least) best = i;
    return runners[best].least * tune_least_gain < runners[0].least ? best : 0;
}

/* Compiles and times a list; *best: its fastest. 0, or 1 after api_fail. */
static int tune_list(Tune *tune, const Job *job, const Buffers *buffers, Runner *runners, uint32_t count, uint32_t *best) {
    Jit *jit = tune_compile(tune, job, runners, count, buffers->sets);
    if (!jit) return 1;
    const SelfcModule *module = jit_module(jit);
    for (uint32_t i = 0; i < count; i++) {
        runners[i].program = &module->programs[i];
        runners[i].is_dropped = false;
    }
    Bench bench = {.session = selfc_session_new(module, tune->model->options.threads, 0), .buffers = buffers, .n = job->n};
    int failed = bench.session ? 0 : -1;
    for (uint32_t i = 0; i < count && !failed; i++) failed = selfc_session_reserve(bench.session, &module->programs[i], job->n);
    if (failed) api_fail("%s", selfc_failure());
    if (!failed) tune_race(&bench, runners, count);
    if (!failed) *best = tune_fastest(runners, count);
    selfc_session_free(bench.session);
    jit_free(jit);
    return failed;
}

static uint32_t tune_append(Runner *runners, uint32_t count, const Choice *choices, uint32_t more) {
    for (uint32_t i = 0; i < more && count < MOST_CANDIDATES + 2; i++) {
        bool is_new = true;
        for (uint32_t k = 0; k < count; k++) is_new &= !choice_equal(&runners[k].choice, &choices[i]);
        if (is_new) runners[count++] = (Runner){.choice = choices[i]};
    }
    return count;
}

/* Tiles, with what is remembered; then blocks around the winner, against the cost model's choice again. */
static int tune_kernel(Tune *tune, Job *job, Choice *own, Choice *won) {
    const Machine *machine = &tune->model->target.machine;
    Choice list[MOST_CANDIDATES];
    Runner runners[MOST_CANDIDATES + 2];
    Buffers buffers;
    uint32_t best = 0, count = tune_append(runners, 0, list, candidates_tiles(job->kernel, machine, list));
    const Choice *known = choice_find(&tune->known, job->key);
    if (known && choice_fits(known, job->kernel, machine)) count = tune_append(runners, count, known, 1);
    const bool *weights = tune_weights(job->kernel, tune->arena);
    if (!tune_buffers(job->kernel->body, weights, job->n, machine->l2, &buffers)) return api_fail("no memory to time %s", job->kernel->name);
    int failed = tune_list(tune, job, &buffers, runners, count, &best);
    if (!failed) {
        Choice fastest = runners[best].choice;
        count = tune_append(runners, 1, list, candidates_blocks(job->kernel, machine, &fastest, list));
        failed = tune_list(tune, job, &buffers, runners, count, &best);
    }
    tune_buffers_free(&buffers);
    job->before = runners[0].least;
    job->after = runners[best].least;
    *own = runners[0].choice;
    *won = runners[best].choice;
    return failed;
}

/* ---- what is said */

static void tune_print_choice(const Choice *choice, char text[96]) {
    int length = snprintf(text, 96, "%ux%u%s%s%s in ", choice->tile_rows, choice->tile_vectors, choice->pack_a || choice->pack_b ? " pack " : "",
                          choice->pack_a ? "a" : "", choice->pack_b ? "b" : "");
    length += snprintf(text + length, 96 - (size_t)length, "%lldx%lld", (long long)choice->block[choice->rank - 2], (long long)choice->block[choice->rank - 1]);
    if (choice->row_block) length += snprintf(text + length, 96 - (size_t)length, " by %lld", (long long)choice->row_block);
    if (choice->depth_block) snprintf(text + length, 96 - (size_t)length, " deep %lld", (long long)choice->depth_block);
}

/* On a terminal: what is being done, to be overwritten. */
static void tune_say_now(const Tune *tune, uint32_t i) {
    if (!tune->is_terminal) return;
    fprintf(stderr, "\r\033[K\033[?7lkernel %u of %u, after %.0f s: %s\033[?7h", i + 1, tune->count, api_seconds() - tune->started, tune->jobs[i].kernel->name);
    fflush(stderr);
}

static void tune_clear(const Tune *tune) {
    if (tune->is_terminal) fputs("\r\033[K", stderr), fflush(stderr);
}

static void tune_say(Tune *tune, uint32_t i, const Choice *own, const Choice *won) {
    const Job *job = &tune->jobs[i];
    char before[96], after[96];
    tune_clear(tune);
    tune_print_choice(own, before);
    tune_print_choice(won, after);
    fprintf(tune->out, "kernel %u of %u  %-28s %9.1f us  %s", i + 1, tune->count, job->kernel->name, 1e6 * job->before, before);
    if (choice_equal(own, won)) fprintf(tune->out, ", as it was\n");
    else fprintf(tune->out, " → %s, %.2fx\n", after, job->before / job->after);
    fflush(tune->out);
}

static void tune_say_all(const Tune *tune, uint32_t done, bool has_training) {
    double before = 0, after = 0;
    uint32_t better = 0;
    Arena *arena = arena_new();
    for (uint32_t i = 0; i < done; i++) {
        before += tune->jobs[i].calls * tune->jobs[i].before;
        after += tune->jobs[i].calls * tune->jobs[i].after;
        better += tune->jobs[i].after < tune->jobs[i].before;
    }
    fprintf(tune->out, "%u of %u kernels have a faster schedule; products and convolutions of %s: %.3f ms → %.3f ms", better, done,
            has_training ? "a training step" : "all functions", 1e3 * before, 1e3 * after);
    if (after > 0) fprintf(tune->out, ", %.2fx", before / after);
    if (done < tune->count) fprintf(tune->out, "\nthe time is up: %u kernels were not timed, those that matter least", tune->count - done);
    fprintf(tune->out, "\nremembered in %s\n", api_choices_path(tune->model, arena));
    arena_free(arena);
}

/* ---- all of them */

/* What was measured is saved at once: to interrupt loses one kernel. */
static int tune_one(Tune *tune, uint32_t i) {
    Job *job = &tune->jobs[i];
    Choice own, won;
    tune_say_now(tune, i);
    if (tune_kernel(tune, job, &own, &won)) return tune_clear(tune), 1;
    tune_say(tune, i, &own, &won);
    won.about = arena_printf(tune->arena, "%s: %.1f us, was %.1f us", job->kernel->name, 1e6 * job->after, 1e6 * job->before);
    api_choices_put(&tune->found, &won, tune->arena);
    return api_choices_save(tune->model, &tune->found);
}

static int tune_all(Tune *tune, const CompileInput *input, bool has_training) {
    for (uint32_t i = 0; i < input->program_count; i++)
        tune_add_program(tune, input->programs[i], input->batches[i], !has_training || i == 0);
    if (!tune->count) return fprintf(tune->out, "there is no product or convolution to tune\n"), 0;
    qsort(tune->jobs, tune->count, sizeof *tune->jobs, tune_more_important);
    uint32_t done = 0;
    for (; done < tune->count; done++) {
        if (tune->seconds > 0 && done && api_seconds() - tune->started > tune->seconds) break;
        if (tune_one(tune, done)) return 1;
    }
    tune_say_all(tune, done, has_training);
    return 0;
}

int selfc_tune(SelfcModel *model, double seconds, FILE *out) {
    if (api_need_target(model)) return 1;
    if (!model->options.cache) return api_fail("there is no cache to remember schedules in");
    if (!model->target.is_host) return api_fail("code for %s cannot be timed here", model->target.triple);
    ApiWanted wanted = {.has_training = model_has_training(model->description), .stop_after = "schedule"};
    wanted.function_count = model_functions(model->description, &wanted.functions);
    CompileInput input;
    if (api_input(model, wanted, &input)) return 1;
    Tune tune = {.model = model, .arena = arena_new(), .out = out, .known = model->measured, .started = api_seconds(),
                 .seconds = seconds, .is_terminal = isatty(STDERR_FILENO)};
    int failed = tune_all(&tune, &input, wanted.has_training);
    api_input_free(&input);
    arena_free(tune.arena);
    return failed;
}
