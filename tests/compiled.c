/* See compiled.h. Values travel as doubles, as the evaluator wants them, and are converted at the border. */
#include "tests/compiled.h"

#include "runtime/core/core.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double compiled_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)*state / 9223372036854775808.0;
}

static double draw(DType dtype, uint64_t *state) {
    double x = compiled_random(state);
    switch (dtype) {
    case DTYPE_f32: return (double)(float)x;
    case DTYPE_bf16:
    case DTYPE_f16: return round(x * 64) / 64;
    case DTYPE_i8: return floor(x * 128);
    case DTYPE_u8: return floor((x + 1) * 128);
    case DTYPE_i32:
    case DTYPE_i64: return floor(x * 1000);
    case DTYPE_bool: return x > 0;
    }
    return 0;
}

static void store(DType dtype, double value, void *out, size_t i) {
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    switch (dtype) {
    case DTYPE_f32: ((float *)out)[i] = f; break;
    case DTYPE_bf16: ((uint16_t *)out)[i] = (uint16_t)(bits >> 16); break;
    case DTYPE_f16: {
        _Float16 half = (_Float16)f;
        memcpy((uint16_t *)out + i, &half, 2);
        break;
    }
    case DTYPE_i8: ((int8_t *)out)[i] = (int8_t)value; break;
    case DTYPE_u8:
    case DTYPE_bool: ((uint8_t *)out)[i] = (uint8_t)value; break;
    case DTYPE_i32: ((int32_t *)out)[i] = (int32_t)value; break;
    case DTYPE_i64: ((int64_t *)out)[i] = (int64_t)value; break;
    }
}

static double load(DType dtype, const void *in, size_t i) {
    uint32_t bits;
    float f;
    switch (dtype) {
    case DTYPE_f32: return (double)((const float *)in)[i];
    case DTYPE_bf16:
        bits = (uint32_t)((const uint16_t *)in)[i] << 16;
        memcpy(&f, &bits, 4);
        return (double)f;
    case DTYPE_f16: {
        _Float16 half;
        memcpy(&half, (const uint16_t *)in + i, 2);
        return (double)half;
    }
    case DTYPE_i8: return ((const int8_t *)in)[i];
    case DTYPE_u8:
    case DTYPE_bool: return ((const uint8_t *)in)[i];
    case DTYPE_i32: return ((const int32_t *)in)[i];
    case DTYPE_i64: return (double)((const int64_t *)in)[i];
    }
    return 0;
}

typedef struct {
    Jit *jit;
    SelfcSession *session;
    SelfcModule module; /* the jit's, with more scratch */
    void **io;          /* inputs of kind data, then outputs */
    uint32_t io_count;
} Run;

enum { GUARD = 64, SCRATCH_GUARD = 4096, GUARD_BYTE = 0xff /* floats of it are NaN: what was never written shows */ };

/* Memory that begins where a vector may and is followed by bytes that must not change. */
static void *guarded(size_t bytes) {
    size_t size = (bytes + 63) / 64 * 64 + GUARD;
    void *memory = aligned_alloc(64, size);
    memset(memory, GUARD_BYTE, size);
    return memory;
}

static void check_guard(const void *memory, size_t bytes) {
    for (size_t i = bytes; i < bytes + GUARD; i++)
        if (((const unsigned char *)memory)[i] != GUARD_BYTE)
            die("byte %zu behind an output of %zu bytes was written", i - bytes, bytes);
}

/* So is each thread's scratch. */
static void guard_scratch(const Run *run) {
    memset(run->session->scratch, GUARD_BYTE,
           (size_t)(run->module.scratch_bytes * selfc_pool_threads(run->session->pool)));
}

static void check_scratch(const Run *run) {
    const unsigned char *scratch = run->session->scratch;
    int64_t size = run->module.scratch_bytes, threads = selfc_pool_threads(run->session->pool);
    for (int64_t at = 0; at < size * threads; at++)
        if (at % size >= size - SCRATCH_GUARD && scratch[at] != GUARD_BYTE)
            die("byte %lld behind %lld bytes of scratch was written", (long long)(at % size - size + SCRATCH_GUARD),
                (long long)(size - SCRATCH_GUARD));
}

/* The program is freed. */
static Jit *compile_program(Program *program, const Target *target) {
    Diag diag;
    diag_init(&diag);
    int64_t batch = 0;
    CompileInput input = {.name = "test", .programs = &program, .batches = &batch, .program_count = 1};
    Jit *jit = jit_compile(&input, target, &(CompileOptions){.threads = 1}, &diag);
    if (!jit) die("%s", diag.text);
    diag_free(&diag);
    program_free(program);
    return jit;
}

static Jit *compile_graph(const Graph *graph, const Target *target) {
    PipelineOptions options = {.machine = target->machine};
    Graph *stopped = NULL;
    Program *program = NULL;
    pipeline_run(graph, &options, &stopped, &program);
    return compile_program(program, target);
}

/* `graph` says what the code takes and gives. */
static Run begin_run(const Graph *graph, Jit *jit, int64_t n, const double *const *inputs, int threads) {
    Run run = {.jit = jit};
    const SelfcModule *module = jit_module(run.jit);
    run.module = *module;
    run.module.scratch_bytes = (module->scratch_bytes + 63) / 64 * 64 + SCRATCH_GUARD;
    run.session = selfc_session_new(&run.module, threads, 1);
    if (!run.session || selfc_session_reserve(run.session, &module->programs[0], n)) die("%s", selfc_failure());
    run.io = calloc(graph->input_count + graph->output_count, sizeof *run.io);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        Type type = graph->inputs[i].type;
        size_t elements = (size_t)dim_at(type_elements(type), n);
        void *data;
        if (graph->inputs[i].kind == INPUT_data) {
            data = guarded(type_bytes_at(type, n));
            run.io[run.io_count++] = data;
        } else {
            const SelfcState *state = selfc_find_state(module, graph->inputs[i].name);
            CHECK(state);
            data = (char *)run.session->state + state->offset;
        }
        for (size_t k = 0; k < elements; k++) store(type.dtype, inputs[i][k], data, k);
    }
    for (uint32_t i = 0; i < graph->output_count; i++)
        if (graph->outputs[i].updates < 0)
            run.io[run.io_count++] = guarded(type_bytes_at(graph->nodes[graph->outputs[i].node].type, n));
    guard_scratch(&run);
    selfc_execute(run.session, &module->programs[0], run.io, n);
    check_scratch(&run);
    run.session->module = module; /* it does not move with the result */
    uint32_t at = run.io_count;
    for (uint32_t i = graph->output_count; i--;)
        if (graph->outputs[i].updates < 0)
            check_guard(run.io[--at], type_bytes_at(graph->nodes[graph->outputs[i].node].type, n));
    return run;
}

/* A program of one call, whose inputs and outputs are the kernel's. */
static Program *program_of_kernel(const Kernel *kernel) {
    const Graph *body = kernel->body;
    Program *program = program_new("kernel");
    uint32_t *args = arena_array(program->arena, uint32_t, kernel_arg_count(kernel) + 1);
    program->inputs = arena_array(program->arena, GraphInput, body->input_count + 1);
    program->outputs = arena_array(program->arena, GraphOutput, body->output_count + 1);
    program->input_count = body->input_count, program->output_count = body->output_count;
    for (uint32_t i = 0; i < body->input_count; i++) {
        program->inputs[i] = body->inputs[i];
        args[i] = program_add_buffer(program, (Buffer){.kind = BUFFER_input, .type = body->inputs[i].type, .index = i});
    }
    for (uint32_t i = 0; i < body->output_count; i++) {
        Buffer buffer = {.kind = BUFFER_output, .type = body->nodes[body->outputs[i].node].type, .index = i};
        args[body->input_count + i] = program_add_buffer(program, buffer);
        program->outputs[i] = (GraphOutput){body->outputs[i].name, args[body->input_count + i], -1};
    }
    Kernel copy = *kernel;
    NodeId *new_id = arena_array(program->arena, NodeId, body->count + 1);
    copy.body = graph_new("body");
    graph_copy_inputs(copy.body, body);
    for (NodeId id = 0; id < body->count; id++) new_id[id] = graph_copy_node(copy.body, &body->nodes[id], new_id);
    graph_copy_outputs(copy.body, body, new_id);
    if (copy.kind == KERNEL_contract) copy.product = new_id[kernel->product];
    program_add_call(program, program_add_kernel(program, copy), args, "kernel");
    program->phase_count = 1;
    return program;
}

static void end_run(Run *run) {
    for (uint32_t i = 0; i < run->io_count; i++) free(run->io[i]);
    free(run->io);
    selfc_session_free(run->session);
}

/* Where output `output` of the graph is after the run. */
static const void *output_data(const Graph *graph, const Run *run, uint32_t output) {
    const GraphOutput *out = &graph->outputs[output];
    if (out->updates >= 0) {
        const SelfcState *state = selfc_find_state(jit_module(run->jit), graph->inputs[out->updates].name);
        return (const char *)run->session->state + state->offset;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < graph->input_count; i++) at += graph->inputs[i].kind == INPUT_data;
    for (uint32_t i = 0; i < output; i++) at += graph->outputs[i].updates < 0;
    return run->io[at];
}

const double **compiled_draw(const Graph *graph, int64_t n, uint64_t seed, Arena *arena) {
    const double **inputs = arena_array(arena, const double *, graph->input_count + 1);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        size_t elements = (size_t)dim_at(type_elements(graph->inputs[i].type), n);
        double *values = arena_array(arena, double, elements);
        for (size_t k = 0; k < elements; k++) values[k] = draw(graph->inputs[i].type.dtype, &seed);
        inputs[i] = values;
    }
    return inputs;
}

static int compare_output(const Graph *graph, uint32_t output, const double *want, const void *got, int64_t n,
                          double tolerance) {
    Type type = graph->nodes[graph->outputs[output].node].type;
    size_t elements = (size_t)dim_at(type_elements(type), n);
    bool is_float = dtype_info[type.dtype].is_float;
    double largest = 0;
    int wrong = 0;
    for (size_t k = 0; k < elements; k++)
        if (isfinite(want[k])) largest = fmax(largest, fabs(want[k]));
    for (size_t k = 0; k < elements; k++) {
        double value = load(type.dtype, got, k), error = fabs(value - want[k]);
        bool good =
            isnan(want[k]) ? isnan(value) : value == want[k] || (is_float && error <= tolerance * (1 + largest));
        if (good) continue;
        if (!wrong) {
            char text[128];
            printf("output %u %s, element %zu: compiled %.9g, evaluated %.9g\n", output, type_print(type, text), k,
                   value, want[k]);
        }
        wrong++;
    }
    return wrong;
}

int compiled_compare(const Graph *graph, const Target *target, int64_t n, const double *const *inputs, int threads,
                     double tolerance) {
    Arena *arena = arena_new();
    double **values = graph_eval(graph, n, inputs, arena);
    Jit *jit = compile_graph(graph, target);
    Run run = begin_run(graph, jit, n, inputs, threads);
    int wrong = 0;
    for (uint32_t i = 0; i < graph->output_count; i++)
        wrong += compare_output(graph, i, values[graph->outputs[i].node], output_data(graph, &run, i), n, tolerance);
    end_run(&run);
    jit_free(jit);
    arena_free(arena);
    return wrong;
}

int compiled_compare_kernel(const Kernel *kernel, const Target *target, int64_t n, uint64_t seed, int threads,
                            double tolerance) {
    Arena *arena = arena_new();
    const double **inputs = compiled_draw(kernel->body, n, seed, arena);
    double **values = graph_eval(kernel->body, n, inputs, arena);
    Jit *jit = compile_program(program_of_kernel(kernel), target);
    Run run = begin_run(kernel->body, jit, n, inputs, threads);
    int wrong = 0;
    for (uint32_t i = 0; i < kernel->body->output_count; i++)
        wrong += compare_output(kernel->body, i, values[kernel->body->outputs[i].node],
                                output_data(kernel->body, &run, i), n, tolerance);
    end_run(&run);
    jit_free(jit);
    arena_free(arena);
    return wrong;
}

int compiled_same_bits(const Graph *graph, const Target *target, int64_t n, const double *const *inputs, int threads_a,
                       int threads_b) {
    Jit *jit = compile_graph(graph, target);
    Run a = begin_run(graph, jit, n, inputs, threads_a), b = begin_run(graph, jit, n, inputs, threads_b);
    int wrong = 0;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        size_t bytes = type_bytes_at(graph->nodes[graph->outputs[i].node].type, n);
        wrong += memcmp(output_data(graph, &a, i), output_data(graph, &b, i), bytes) != 0;
    }
    end_run(&a);
    end_run(&b);
    jit_free(jit);
    return wrong;
}

size_t compiled_bytes(const Graph *graph, int64_t n) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < graph->output_count; i++)
        bytes += type_bytes_at(graph->nodes[graph->outputs[i].node].type, n);
    return bytes;
}

const void *compiled_run(const Graph *graph, const Target *target, int64_t n, const double *const *inputs, int threads,
                         Arena *arena) {
    Jit *jit = compile_graph(graph, target);
    Run run = begin_run(graph, jit, n, inputs, threads);
    char *all = arena_array(arena, char, compiled_bytes(graph, n)), *at = all;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        size_t bytes = type_bytes_at(graph->nodes[graph->outputs[i].node].type, n);
        memcpy(at, output_data(graph, &run, i), bytes);
        at += bytes;
    }
    end_run(&run);
    jit_free(jit);
    return all;
}
