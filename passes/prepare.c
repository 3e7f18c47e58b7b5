/* Parts off what depends on states alone: batch norm's factors, a weight that is computed from others, and, with
 * passes/panels.c, the layout of weights.
 *
 * Such calls move to the front. Whoever runs the program does them once for each change of the states and keeps what
 * they leave in prepared buffers. A program that changes states itself (a training step) has no such part: it would
 * be done anew in every run. Nor is anything prepared whose size depends on the batch, or where memory is limited: what
 * is prepared stands beside the states; or for a program that runs but once between two changes, as the caller knows.
 *
 * What depends on numbers alone is prepared with the rest. Where a program reads no state at all, it is not: who calls
 * it would have to pass weights that it has none of.
 *
 * A kernel is marked prepared_b if b depends on states alone in every call of it: then the schedule need not count what
 * packing costs. A kernel that also multiplies by something else goes on packing. */
#include "passes/passes.h"

#include <string.h>

static bool reads_states(const Program *program) {
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        for (uint32_t i = 0; i < program->kernels[call->kernel].body->input_count; i++)
            if (program->buffers[call->args[i]].kind == BUFFER_state) return true;
    }
    return false;
}

static bool has_batch(const Kernel *kernel) {
    for (NodeId id = 0; id < kernel->body->count; id++)
        if (type_has_batch(kernel->body->nodes[id].type)) return true;
    return false;
}

/* How many calls write each buffer: more than one if a scatter adds to what it finds there. */
static uint32_t *count_writers(const Program *program, Arena *scratch) {
    uint32_t *writers = arena_array(scratch, uint32_t, program->buffer_count + 1);
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        const Kernel *kernel = &program->kernels[call->kernel];
        for (uint32_t i = kernel->body->input_count; i < kernel_arg_count(kernel); i++) writers[call->args[i]]++;
    }
    return writers;
}

/* known: of each buffer, that it depends on states alone. */
static bool can_prepare(const Program *program, const Call *call, const bool *known, const uint32_t *writers) {
    const Kernel *kernel = &program->kernels[call->kernel];
    uint32_t inputs = kernel->body->input_count;
    for (uint32_t i = 0; i < inputs; i++)
        if (!known[call->args[i]]) return false;
    for (uint32_t i = inputs; i < kernel_arg_count(kernel); i++)
        if (program->buffers[call->args[i]].kind != BUFFER_temporary || writers[call->args[i]] > 1) return false;
    return !has_batch(kernel);
}

static void move_to_front(Program *program, const bool *prepares, Arena *scratch) {
    Call *calls = arena_array(scratch, Call, program->call_count + 1);
    uint32_t count = 0;
    for (uint32_t part = 0; part < 2; part++)
        for (uint32_t c = 0; c < program->call_count; c++)
            if (prepares[c] == !part) calls[count++] = program->calls[c];
    if (count) memcpy(program->calls, calls, count * sizeof *calls);
}

static Buffer *arg_buffer(Program *program, uint32_t call, uint32_t arg) {
    return &program->buffers[program->calls[call].args[arg]];
}

void prepare_keep(Program *program) {
    Arena *scratch = arena_new();
    bool *is_read = arena_array(scratch, bool, program->buffer_count + 1);
    for (uint32_t c = program->prepare_calls; c < program->call_count; c++)
        for (uint32_t i = 0; i < program->kernels[program->calls[c].kernel].body->input_count; i++)
            is_read[arg_buffer(program, c, i) - program->buffers] = true;
    for (uint32_t c = 0; c < program->prepare_calls; c++) {
        const Kernel *kernel = &program->kernels[program->calls[c].kernel];
        for (uint32_t i = kernel->body->input_count; i < kernel_arg_count(kernel); i++) {
            Buffer *buffer = arg_buffer(program, c, i);
            buffer->kind = is_read[buffer - program->buffers] ? BUFFER_prepared : BUFFER_temporary;
        }
    }
    arena_free(scratch);
}

/* Does all that the operand reads depend on states? */
static bool is_known_below(const Program *program, const Call *call, NodeId id, const bool *known) {
    const Graph *body = program->kernels[call->kernel].body;
    const Node *node = &body->nodes[id];
    if (node->op == OP_input) return known[call->args[node->attr.index]];
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (!is_known_below(program, call, node->in[i], known)) return false;
    return true;
}

/* Panels are made of a matrix of fixed size. */
static bool may_have_panels(const Kernel *kernel) {
    if (kernel->kind != KERNEL_contract) return false;
    const Type *b = &kernel->body->nodes[kernel->body->nodes[kernel->product].in[1]].type;
    return b->rank == 2 && !type_has_batch(*b);
}

static void mark_kernels(Program *program, const bool *known) {
    for (uint32_t i = 0; i < program->kernel_count; i++)
        program->kernels[i].prepared_b = may_have_panels(&program->kernels[i]);
    for (uint32_t c = 0; c < program->call_count; c++) {
        Kernel *kernel = &program->kernels[program->calls[c].kernel];
        if (!kernel->prepared_b) continue;
        NodeId b = kernel->body->nodes[kernel->product].in[1];
        kernel->prepared_b = c >= program->prepare_calls && is_known_below(program, &program->calls[c], b, known);
    }
}

ProgramPass pass_prepare;

void pass_prepare(Program *program, const Machine *machine) {
    if (program_changes_states(program) || !reads_states(program) || machine->memory || machine->prepares_nothing) return;
    Arena *scratch = arena_new();
    bool *known = arena_array(scratch, bool, program->buffer_count + 1),
         *prepares = arena_array(scratch, bool, program->call_count + 1);
    const uint32_t *writers = count_writers(program, scratch);
    for (uint32_t b = 0; b < program->buffer_count; b++) known[b] = program->buffers[b].kind == BUFFER_state;
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        const Graph *body = program->kernels[call->kernel].body;
        prepares[c] = can_prepare(program, call, known, writers);
        program->prepare_calls += prepares[c];
        for (uint32_t i = 0; prepares[c] && i < body->output_count; i++)
            known[call->args[body->input_count + i]] = true;
    }
    move_to_front(program, prepares, scratch);
    prepare_keep(program);
    mark_kernels(program, known);
    arena_free(scratch);
}
