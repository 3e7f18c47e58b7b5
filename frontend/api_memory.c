/* --memory: the passes over a training step that must not take more than so many bytes.
 *
 * What counts is what a step works on: parameters and other state, inputs and outputs, temporaries, and the scratch
 * of each thread. Evaluation and the look at health share states and arena with it, and must fit, too: they prepare
 * nothing. (Health never does: it runs once between two steps.) The temporaries alone can be traded for work
 * (passes/recompute.c). What the others leave to them is known when the kernels are scheduled: there the pipeline
 * stops, and goes on with the limit; health gets the same. The data set itself, which may lie in a mapped file, and the
 * program's own few megabytes do not count. */
#include "frontend/api.h"

#include "ir/origin.h"

#include <math.h>
#include <string.h>

static const char memory_stop[] = "order"; /* the last pass before the limit matters */

static int64_t memory_io(const Program *program, int64_t batch) {
    int64_t bytes = 0;
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const Buffer *buffer = &program->buffers[b];
        if (buffer->kind == BUFFER_input || buffer->kind == BUFFER_output)
            bytes += (int64_t)type_bytes_at(buffer->type, batch);
    }
    return bytes;
}

/* What a step takes besides its temporaries. */
static ApiMemory memory_besides(SelfcModel *model, Program *program, Diag *diag) {
    ApiMemory memory = {0};
    Arena *arena = arena_new();
    int64_t batch = model_batch(model->description);
    CompileInput input = {.name = "", .description = "", .programs = &program, .batches = &batch, .program_count = 1};
    input.training = (SelfcTraining){.train = -1, .evaluate = -1};
    const SelfcModule *module = manifest_module(&input, &model->target, arena, diag);
    int threads = model->options.threads ? model->options.threads : selfc_cpu_count();
    if (module) memory = (ApiMemory){.states = module->state_bytes, .scratch = threads * module->scratch_bytes};
    memory.io = memory_io(program, batch);
    arena_free(arena);
    return memory;
}

ApiMemory api_memory_of(SelfcModel *model, Program *program, Diag *diag) {
    ApiMemory memory = memory_besides(model, program, diag);
    memory.temporaries = extent_at(program->arena_size, model_batch(model->description));
    memory.all = memory.states + memory.io + memory.scratch + memory.temporaries;
    for (uint32_t c = 0; c < program->call_count; c++) {
        double flop = program->kernels[program->calls[c].kernel].flop;
        bool is_again = origin_is_again(program->calls[c].origin);
        memory.calls_again += is_again;
        *(is_again ? &memory.flop_again : &memory.flop) += flop;
    }
    return memory;
}

/* Rounded up, so that a limit of what is printed is enough; as --memory reads it. */
static const char *memory_size(int64_t bytes, char text[32]) {
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double size = (double)bytes;
    int unit = 0;
    for (; size >= 1000 && unit < 4; unit++) size /= 1000;
    double step = size >= 100 ? 1 : size >= 10 ? 0.1 : 0.01;
    if (unit) size = ceil(size / step - 1e-9) * step;
    snprintf(text, 32, "%.*f %s", !unit || size >= 100 ? 0 : size >= 10 ? 1 : 2, size, units[unit]);
    return text;
}

static void memory_refuse(SelfcModel *model, const ApiMemory *memory, Diag *diag) {
    char given[32], all[32], states[32], temporaries[32], others[32];
    diag_error(diag, (Place){0},
               "--memory: %s are too little: with all the recomputation that helps, training needs %s, %s of "
               "parameters and other state, %s of temporaries, %s of inputs and threads' scratch; a smaller "
               "training.batch needs less",
               memory_size(model->options.memory, given), memory_size(memory->all, all),
               memory_size(memory->states, states), memory_size(memory->temporaries, temporaries),
               memory_size(memory->io + memory->scratch, others));
}

/* Of what runs beside the steps. `limit`: bytes that its temporaries may take; 0: any. Whoever compiles it says what is
 * wrong with it. */
static ApiMemory memory_of(SelfcModel *model, const char *name, int64_t limit) {
    PipelineOptions options = {.machine = api_pipeline_options(model).machine};
    ApiMemory memory = {0};
    Program *program = NULL;
    Diag unheard;
    options.machine.memory = limit;
    options.machine.prepares_nothing = true;
    diag_init(&unheard);
    Graph *graph = api_lower(model, name, &unheard), *stopped;
    if (graph && !unheard.errors) pipeline_run(graph, &options, &stopped, &program);
    if (program) {
        memory = memory_besides(model, program, &unheard);
        memory.temporaries = extent_at(program->arena_size, model_batch(model->description));
    }
    diag_free(&unheard);
    graph_free(graph);
    program_free(program);
    return memory;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Finishes the ordered program with what the limit leaves for temporaries; false: it cannot be kept. */
static bool memory_keep(SelfcModel *model, Program *program, PipelineOptions *options, Diag *diag) {
    ApiMemory memory = memory_besides(model, program, diag), evaluation = memory_of(model, "evaluate", 0), health = {0};
    if (model_health(model->description)) health = memory_of(model, "$health", 0);
    memory.io += evaluation.io + health.io;
    memory.scratch = larger(memory.scratch, larger(evaluation.scratch, health.scratch));
    int64_t left = model->options.memory - memory.states - memory.io - memory.scratch;
    options->machine.memory = model->temporaries_left = larger(left, 1);
    if (health.temporaries > left) health = memory_of(model, "$health", model->temporaries_left);
    pipeline_go_on(program, memory_stop, options);
    memory.temporaries = extent_at(program->arena_size, model_batch(model->description));
    memory.temporaries = larger(memory.temporaries, larger(evaluation.temporaries, health.temporaries));
    memory.all = memory.states + memory.io + memory.scratch + memory.temporaries;
    if (memory.temporaries > left) memory_refuse(model, &memory, diag);
    return memory.temporaries <= left;
}

bool api_memory_run(SelfcModel *model, const Graph *graph, PipelineOptions *options, Diag *diag, Graph **stopped,
                    Program **program) {
    const Pass *last = options->stop_after ? pass_find(options->stop_after) : NULL;
    bool goes_on = !last || last > pass_find(memory_stop), has_limit = model->options.memory != 0;
    bool is_limited = has_limit && !strcmp(graph->name, "train") && goes_on,
         is_health = !strcmp(graph->name, "$health");
    PipelineOptions first = *options;
    if (is_limited) first.stop_after = memory_stop;
    if (is_health && has_limit) first.machine.memory = model->temporaries_left;
    if (is_health || (has_limit && !strcmp(graph->name, "evaluate"))) first.machine.prepares_nothing = true;
    pipeline_run(graph, &first, stopped, program);
    if (!is_limited || memory_keep(model, *program, options, diag)) return true;
    program_free(*program);
    *program = NULL;
    return false;
}
