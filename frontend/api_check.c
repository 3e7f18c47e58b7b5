/* include/selfc.h, selfc_check: everything that is wrong, or a summary.
 *
 * The training step, its evaluation and every function are lowered, so that all mistakes are reported in one go.
 * Nothing is compiled to machine code; the time is an estimate from the work of the kernels and what this machine
 * measures within a few milliseconds. */
#include "frontend/api.h"

#include "ir/origin.h"

#include <string.h>
#include <unistd.h>

/* Kernels reach about this share of what the machine can do at best. */
static const double check_usual_share = 0.6;
/* Bytes a second that one thread moves on today's machines, caches included. */
static const double check_usual_bytes = 4e10;

typedef struct {
    Graph **graphs; /* as in names; NULL after an error */
    const char **names;
    uint32_t count;
} Lowered;

static int check_lower(SelfcModel *model, Arena *arena, Lowered *lowered) {
    const char *const *functions;
    uint32_t count = model_functions(model->description, &functions);
    bool has_training = model_has_training(model->description);
    if (has_training && api_need_shapes(model)) return 1;
    lowered->graphs = arena_array(arena, Graph *, count + 2);
    lowered->names = arena_array(arena, const char *, count + 2);
    if (has_training) lowered->names[lowered->count++] = "train";
    if (has_training) lowered->names[lowered->count++] = "evaluate";
    for (uint32_t i = 0; i < count; i++) lowered->names[lowered->count++] = functions[i];
    Diag diag;
    diag_init(&diag);
    if (has_training) model_check_samples(model->description, &diag);
    bool has_samples = !diag.errors;
    for (uint32_t i = 0; i < lowered->count; i++) {
        /* What the training step has reported is not said again about its evaluation. */
        if (i == 1 && has_training && diag.errors > !has_samples) continue;
        lowered->graphs[i] = api_lower(model, lowered->names[i], &diag);
        if (lowered->graphs[i]) autodiff_check(lowered->graphs[i], &diag);
    }
    if (diag.errors) return api_fail_with(&diag);
    diag_free(&diag);
    return api_begin_check(model, lowered->graphs, lowered->count);
}

/* --- numbers for people --- */

static const char *check_amount(double amount, const char *unit, char buffer[32]) {
    static const char *const prefix[] = {"", "k", "M", "G", "T", "P"};
    int i = 0;
    while (amount >= 1000 && i < 5) amount /= 1000, i++;
    snprintf(buffer, 32, "%.*f %s%s", i == 0 || amount >= 100 ? 0 : amount >= 10 ? 1 : 2, amount, prefix[i], unit);
    return buffer;
}

static const char *check_time(double seconds, char buffer[32]) {
    if (seconds < 1e-3)
        snprintf(buffer, 32, "%.0f us", seconds * 1e6);
    else if (seconds < 1)
        snprintf(buffer, 32, "%.1f ms", seconds * 1e3);
    else if (seconds < 120)
        snprintf(buffer, 32, "%.1f s", seconds);
    else if (seconds < 7200)
        snprintf(buffer, 32, "%.0f min", seconds / 60);
    else
        snprintf(buffer, 32, "%.1f h", seconds / 3600);
    return buffer;
}

/* --- the summary --- */

static bool check_is_seen(const Lowered *lowered, uint32_t graph, uint32_t input) {
    const char *name = lowered->graphs[graph]->inputs[input].name;
    for (uint32_t g = 0; g < graph; g++)
        for (uint32_t i = 0; i < lowered->graphs[g]->input_count; i++)
            if (!strcmp(lowered->graphs[g]->inputs[i].name, name)) return true;
    return false;
}

/* Names up to this long stand in one column. */
enum { CHECK_NAME = 44 };

/* Lists the parameters; *states is the bytes of everything that is kept. */
static void check_parameters(const Lowered *lowered, FILE *out, double *total, double *states) {
    char type[128];
    fprintf(out, "parameters\n");
    for (uint32_t g = 0; g < lowered->count; g++)
        for (uint32_t i = 0; i < lowered->graphs[g]->input_count; i++) {
            const GraphInput *input = &lowered->graphs[g]->inputs[i];
            if (input->kind == INPUT_data || check_is_seen(lowered, g, i)) continue;
            *states += (double)type_bytes_at(input->type, 1);
            if (input->kind != INPUT_parameter) continue;
            double elements = (double)dim_at(type_elements(input->type), 1);
            *total += elements;
            fprintf(out, "  %-*s %-20s %12.0f\n", CHECK_NAME, input->name, type_print(input->type, type), elements);
        }
    fprintf(out, "  %-*s %-20s %12.0f\n", CHECK_NAME, "all", "", *total);
}

/* The type that each layer gives: that of the last node which came from it. Nodes of losses, reports and the optimiser
 * come from no layer. */
static void check_layers(const Graph *graph, Arena *arena, FILE *out) {
    NodeId *last = arena_array(arena, NodeId, graph->count);
    uint32_t count = 0;
    char type[128];
    for (NodeId id = 0; id < graph->count; id++) {
        const char *origin = graph->nodes[id].origin;
        if (!origin || !strstr(origin, "layers[") || graph->nodes[id].op == OP_gradient) continue;
        uint32_t i = 0;
        while (i < count && strcmp(graph->nodes[last[i]].origin, origin)) i++;
        last[i] = id;
        if (i == count) count++;
    }
    if (count) fprintf(out, "layers\n");
    for (uint32_t i = 0; i < count; i++)
        fprintf(out, "  %-*s %s\n", CHECK_NAME, origin_name(arena, graph->nodes[last[i]].origin),
                type_print(graph->nodes[last[i]].type, type));
}

static void check_signature(const char *name, const Graph *graph, FILE *out) {
    char type[128];
    const char *separator = "";
    fprintf(out, "  %s: ", name);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const GraphInput *input = &graph->inputs[i];
        if (input->kind != INPUT_data || input->name[0] == '$') continue;
        fprintf(out, "%s%s %s", separator, input->name, type_print(input->type, type));
        separator = ", ";
    }
    separator = " → ";
    for (uint32_t i = 0; i < graph->output_count; i++) {
        if (graph->outputs[i].updates >= 0 || graph->outputs[i].name[0] == '$') continue;
        NodeId node = graph->outputs[i].node;
        fprintf(out, "%s%s %s", separator, graph->outputs[i].name, type_print(graph->nodes[node].type, type));
        separator = ", ";
    }
    fprintf(out, "\n");
}

static double check_step_seconds(const Program *program, int threads) {
    double flops = api_peak_flops(threads);
    double seconds = 0;
    for (uint32_t i = 0; i < program->call_count; i++) {
        const Kernel *kernel = &program->kernels[program->calls[i].kernel];
        double flop = kernel->flop / flops, bytes = kernel->bytes / (check_usual_bytes * threads);
        seconds += (flop > bytes ? flop : bytes) / check_usual_share;
    }
    return seconds + 2e-6 * program->phase_count;
}

/* What --memory has come to. */
static void check_memory(SelfcModel *model, Program *program, FILE *out) {
    Diag diag;
    char a[32], b[32];
    diag_init(&diag);
    ApiMemory memory = api_memory_of(model, program, &diag);
    diag_free(&diag);
    fprintf(out, "  within --memory: %s in all of %s, ", check_amount((double)memory.all, "B", a),
            check_amount((double)model->options.memory, "B", b));
    if (memory.calls_again)
        fprintf(out, "as %u call%s done again: %.1f %% more FLOP\n", memory.calls_again,
                memory.calls_again == 1 ? " is" : "s are",
                100 * memory.flop_again / (memory.flop ? memory.flop : 1));
    else
        fprintf(out, "without doing anything again\n");
}

static void check_training(SelfcModel *model, Program *program, double states, FILE *out) {
    double flop = 0, bytes = 0;
    for (uint32_t i = 0; i < program->call_count; i++) {
        flop += program->kernels[program->calls[i].kernel].flop;
        bytes += program->kernels[program->calls[i].kernel].bytes;
    }
    int threads = model->options.threads ? model->options.threads : selfc_cpu_count();
    double step = check_step_seconds(program, threads);
    int64_t batch = model_batch(model->description), epochs = model_epochs(model->description);
    double steps = batch ? (double)(model->samples / batch) : 0;
    char a[32], b[32], c[32];
    fprintf(out, "training: batch %lld, %lld epochs of %lld samples\n", (long long)batch, (long long)epochs,
            (long long)model->samples);
    fprintf(out, "  a step: %u kernels in %u calls and %u phases, %s, %s moved\n", program->kernel_count,
            program->call_count, program->phase_count, check_amount(flop, "FLOP", a), check_amount(bytes, "B", b));
    fprintf(out, "  memory: %s of parameters and other state, %s of temporaries\n", check_amount(states, "B", a),
            check_amount((double)extent_at(program->arena_size, batch), "B", b));
    if (model->options.memory) check_memory(model, program, out);
    double needed = states + (double)extent_at(program->arena_size, batch);
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (needed > memory)
        fprintf(out, "  this machine cannot train it: %s are needed, and it has %s; --memory may help\n",
                check_amount(needed, "B", a), check_amount(memory, "B", b));
    fprintf(out, "  time on %d thread%s: about %s a step, %s an epoch, %s in all\n", threads, threads == 1 ? "" : "s",
            check_time(step, a), check_time(step * steps, b), check_time(step * steps * (double)epochs, c));
}

/* program: the training step; NULL without training. */
static void check_print(SelfcModel *model, const Lowered *lowered, Program *program, Arena *arena, FILE *out) {
    bool has_training = model_has_training(model->description);
    double total = 0, states = 0;
    fprintf(out, "%s is right\n", model_name(model->description));
    if (has_training) check_layers(lowered->graphs[0], arena, out);
    check_parameters(lowered, out, &total, &states);
    uint32_t first = has_training ? 2 : 0;
    if (first < lowered->count) fprintf(out, "functions\n");
    for (uint32_t i = first; i < lowered->count; i++) check_signature(lowered->names[i], lowered->graphs[i], out);
    if (!has_training) return;
    fprintf(out, "data\n");
    check_signature("train", lowered->graphs[0], out);
    check_training(model, program, states, out);
}

static int check_compile(SelfcModel *model, const Graph *train, Program **program) {
    PipelineOptions options = api_pipeline_options(model);
    Graph *stopped;
    Diag diag;
    diag_init(&diag);
    if (!api_memory_run(model, train, &options, &diag, &stopped, program)) return api_fail_with(&diag);
    diag_free(&diag);
    return 0;
}

int selfc_check(SelfcModel *model, FILE *out) {
    if (api_need_target(model)) return 1;
    Arena *arena = arena_new();
    Lowered lowered = {0};
    Program *program = NULL;
    int failed = check_lower(model, arena, &lowered);
    if (!failed && model_has_training(model->description)) failed = check_compile(model, lowered.graphs[0], &program);
    if (!failed) check_print(model, &lowered, program, arena, out);
    if (!failed && model->cut) api_note(model, "%s; a larger \"length\" keeps more", model->cut);
    program_free(program);
    for (uint32_t i = 0; i < lowered.count; i++) graph_free(lowered.graphs[i]);
    arena_free(arena);
    return failed;
}
