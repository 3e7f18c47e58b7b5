/* Runs passes: the list of passes.def from the start, or those that are named.
 *
 * After each pass the result is verified. With check_meaning it is also evaluated on random inputs and compared
 * with what stood there before. When a pass was wrong, the text before it and the command that repeats it are
 * printed: no pass has to do anything for that. */
#include "passes/passes.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define GRAPH_PASS(name, summary) GraphPass pass_##name;
#define PREPARED_PASS(name, summary) GraphPass pass_##name;
#define LOWER_PASS(name, summary) Program *pass_##name(const Graph *from, const Machine *machine);
#define PROGRAM_PASS(name, summary) ProgramPass pass_##name;
#include "passes/passes.def"

const Pass pass_list[] = {
#define GRAPH_PASS(name_, summary_) {.name = #name_, .summary = summary_, .graph = pass_##name_},
#define PREPARED_PASS(name_, summary_) \
    {.name = #name_, .summary = summary_, .graph = pass_##name_, .wants_preparing = true},
#define LOWER_PASS(name_, summary_) {.name = #name_, .summary = summary_, .lower = pass_##name_},
#define PROGRAM_PASS(name_, summary_) {.name = #name_, .summary = summary_, .program = pass_##name_},
#include "passes/passes.def"
};
const size_t pass_count = sizeof pass_list / sizeof *pass_list;

const Pass *pass_find(const char *name) {
    for (size_t i = 0; i < pass_count; i++)
        if (!strcmp(pass_list[i].name, name)) return &pass_list[i];
    return NULL;
}

/* What is being compiled: a graph at first, a program from the lowering on. The graph that the caller gave is
 * only read; those made on the way are ours. */
typedef struct {
    const Graph *graph;
    Graph *owned;
    Program *program;
    const PipelineOptions *options;
} State;

enum { CHECKED_BATCH = 3 }; /* the n of check_meaning: small, and no power of two */

/* A program pass works in place: what it was given is gone, what it left is shown. */
static _Noreturn void pass_failed(const State *before, const Pass *pass, const char *what) {
    const char *kind = before->graph ? "the graph before" : "the program as left by";
    fprintf(stderr, "; ---- %s '%s'; repeat with: selfc --passes=%s FILE.ir\n", kind, pass->name, pass->name);
    if (before->graph)
        graph_print(before->graph, stderr);
    else
        program_print(before->program, stderr);
    BUG("pass '%s' %s", pass->name, what);
}

/* A small generator of its own: the values need no quality, but must be the same everywhere. */
static double random_value(uint64_t *seed, DType dtype) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    double unit = (double)(*seed >> 40) / 16777216.0;
    if (dtype == DTYPE_bool) return unit < 0.5 ? 0 : 1;
    if (!dtype_info[dtype].is_float) return floor(unit * 10);
    double value = (unit * 2 - 1) * 256;
    return floor(value) / 256; /* exact in every float type */
}

static double **random_inputs(const GraphInput *inputs, uint32_t count, Arena *arena) {
    double **values = arena_array(arena, double *, count ? count : 1);
    uint64_t seed = 1;
    for (uint32_t i = 0; i < count; i++) {
        int64_t elements = dim_at(type_elements(inputs[i].type), CHECKED_BATCH);
        values[i] = arena_array(arena, double, elements);
        for (int64_t e = 0; e < elements; e++) values[i][e] = random_value(&seed, inputs[i].type.dtype);
    }
    return values;
}

static bool has_meta(const Graph *graph) {
    for (NodeId id = 0; id < graph->count; id++)
        if (op_info[graph->nodes[id].op].class == CLASS_meta) return true;
    return false;
}

/* outputs[i] is the content of output i. */
static double **evaluate_graph(const Graph *graph, Arena *arena) {
    double **inputs = random_inputs(graph->inputs, graph->input_count, arena);
    double **values = graph_eval(graph, CHECKED_BATCH, (const double *const *)inputs, arena);
    double **outputs = arena_array(arena, double *, graph->output_count + 1);
    for (uint32_t i = 0; i < graph->output_count; i++) outputs[i] = values[graph->outputs[i].node];
    return outputs;
}

static double **evaluate_program(const Program *program, Arena *arena) {
    double **inputs = random_inputs(program->inputs, program->input_count, arena);
    double **values = arena_array(arena, double *, program->buffer_count + 1);
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const Buffer *buffer = &program->buffers[b];
        if (buffer->kind == BUFFER_input || buffer->kind == BUFFER_state) values[b] = inputs[buffer->index];
    }
    program_eval(program, CHECKED_BATCH, values, arena);
    double **outputs = arena_array(arena, double *, program->output_count + 1);
    for (uint32_t i = 0; i < program->output_count; i++) outputs[i] = values[program->outputs[i].node];
    return outputs;
}

/* The outputs, or NULL where they cannot be computed yet or nobody asked. */
static double **evaluate(const State *state, Arena *arena) {
    if (!state->options->check_meaning) return NULL;
    if (state->program) return evaluate_program(state->program, arena);
    return has_meta(state->graph) ? NULL : evaluate_graph(state->graph, arena);
}

static bool is_close(const double *a, const double *b, int64_t count) {
    double largest = 1;
    for (int64_t e = 0; e < count; e++)
        if (isfinite(a[e])) largest = fmax(largest, fabs(a[e]));
    for (int64_t e = 0; e < count; e++) {
        bool same = a[e] == b[e] || (isnan(a[e]) && isnan(b[e]));
        if (!same && !(fabs(a[e] - b[e]) <= 1e-4 * largest)) return false;
    }
    return true;
}

/* The type of output i; a pass keeps outputs and their order. */
static Type output_type(const State *state, uint32_t i) {
    if (state->program) return state->program->buffers[state->program->outputs[i].node].type;
    return state->graph->nodes[state->graph->outputs[i].node].type;
}

static void compare(double **expected, double **got, const State *before, const State *after, const Pass *pass) {
    uint32_t count = after->program ? after->program->output_count : after->graph->output_count;
    for (uint32_t i = 0; expected && got && i < count; i++) {
        int64_t elements = dim_at(type_elements(output_type(after, i)), CHECKED_BATCH);
        if (is_close(expected[i], got[i], elements)) continue;
        fprintf(stderr, "; output %u has changed\n", i);
        pass_failed(before, pass, "changed the meaning");
    }
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static void apply(State *state, const Pass *pass) {
    if (pass->program) {
        pass->program(state->program, &state->options->machine);
        return;
    }
    const Graph *from = state->graph;
    if (pass->lower) {
        state->program = pass->lower(from, &state->options->machine);
        state->graph = state->owned = NULL;
        return;
    }
    Arena *scratch = arena_new();
    Graph *to = graph_new(from->name);
    pass->graph(from, to, scratch);
    arena_free(scratch);
    state->graph = state->owned = to;
}

static void dump(const State *state, const Pass *pass) {
    const char *wanted = state->options->dump;
    if (!wanted || (strcmp(wanted, "all") && strcmp(wanted, pass->name))) return;
    fprintf(stderr, "; after %s\n", pass->name);
    if (state->program)
        program_print(state->program, stderr);
    else
        graph_print(state->graph, stderr);
}

static void run_pass(State *state, const Pass *pass) {
    State before = *state;
    Arena *arena = arena_new();
    double **expected = evaluate(&before, arena), start = milliseconds();
    apply(state, pass);
    if (state->options->times) fprintf(stderr, "%8.3f ms  %s\n", milliseconds() - start, pass->name);
    bool holds = state->program ? program_verify(state->program, stderr) : graph_verify(state->graph, stderr);
    if (!holds) pass_failed(&before, pass, "built something that breaks the rules");
    dump(state, pass);
    compare(expected, evaluate(state, arena), &before, state, pass);
    if (before.owned != state->owned) graph_free(before.owned);
    arena_free(arena);
}

static void finish(State *state, Graph **graph_out, Program **program_out) {
    *program_out = state->program;
    *graph_out = NULL;
    if (!state->program) *graph_out = state->owned ? state->owned : graph_copy(state->graph);
}

void pipeline_run(const Graph *graph, const PipelineOptions *options, Graph **graph_out, Program **program_out) {
    State state = {.graph = graph, .options = options};
    bool prepares = !options->machine.memory && !options->machine.prepares_nothing;
    for (size_t i = 0; i < pass_count; i++) {
        if (prepares || !pass_list[i].wants_preparing) run_pass(&state, &pass_list[i]);
        if (options->stop_after && !strcmp(options->stop_after, pass_list[i].name)) break;
    }
    finish(&state, graph_out, program_out);
}

void pipeline_go_on(Program *program, const char *behind, const PipelineOptions *options) {
    State state = {.program = program, .options = options};
    const char *last = options->stop_after ? options->stop_after : "";
    for (const Pass *pass = pass_find(behind) + 1; pass < pass_list + pass_count; pass++) {
        run_pass(&state, pass);
        if (!strcmp(pass->name, last)) break;
    }
}

/* What keeps the pass from running now, or NULL. */
static const char *out_of_order(const State *state, const Pass *pass) {
    if (pass->program) return state->program ? NULL : "needs a program: name 'fuse' before it";
    return state->program ? "needs a graph, but stands behind the lowering to a program" : NULL;
}

static void report_unknown(const char *name, Diag *diag) {
    const char *names[sizeof pass_list / sizeof *pass_list];
    for (size_t i = 0; i < pass_count; i++) names[i] = pass_list[i].name;
    const char *nearest = diag_nearest(name, names, pass_count);
    if (nearest)
        diag_error(diag, (Place){0}, "there is no pass '%s'; did you mean '%s'?", name, nearest);
    else
        diag_error(diag, (Place){0}, "there is no pass '%s'", name);
}

/* Checks all names before anything runs. */
static bool find_passes(const char *names, Arena *arena, const Pass **passes, size_t *count, Diag *diag) {
    int errors = diag->errors;
    char *rest = arena_copy(arena, names), *name;
    *count = 0;
    while ((name = strtok_r(rest, ", ", &rest))) {
        const Pass *pass = pass_find(name);
        if (pass)
            passes[(*count)++] = pass;
        else
            report_unknown(name, diag);
    }
    return diag->errors == errors;
}

bool pipeline_run_named(const Graph *graph, const char *names, const PipelineOptions *options, Diag *diag,
                        Graph **graph_out, Program **program_out) {
    Arena *arena = arena_new();
    const Pass **passes = arena_array(arena, const Pass *, strlen(names) + 1);
    State state = {.graph = graph, .options = options};
    size_t count;
    bool fits = find_passes(names, arena, passes, &count, diag);
    for (size_t i = 0; fits && i < count; i++) {
        const char *problem = out_of_order(&state, passes[i]);
        if (problem)
            diag_error(diag, (Place){0}, "pass '%s' %s", passes[i]->name, problem);
        else
            run_pass(&state, passes[i]);
        fits = !problem;
    }
    if (fits)
        finish(&state, graph_out, program_out);
    else
        graph_free(state.owned), program_free(state.program);
    arena_free(arena);
    return fits;
}
