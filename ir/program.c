/* Building programs and asking about kernels.
 *
 * A kernel whose code would be the same is kept once. What counts is the body's nodes and the schedule: names of
 * inputs, origins and the estimates of cost do not. Names of kernels are made unique, because texts, profiles and
 * symbols of machine code refer to them. */
#include "ir/program.h"

#include "ir/strided.h"

#include <string.h>

const char *const kernel_kind_name[] = {[KERNEL_map] = "map",
                                        [KERNEL_contract] = "contract",
                                        [KERNEL_attention] = "attention",
                                        [KERNEL_scatter] = "scatter"};

Program *program_new(const char *name) {
    Arena *arena = arena_new();
    Program *program = arena_alloc(arena, sizeof *program);
    program->arena = arena;
    program->name = arena_copy(arena, name);
    return program;
}

void program_free(Program *program) {
    if (!program) return;
    for (uint32_t i = 0; i < program->kernel_count; i++) graph_free(program->kernels[i].body);
    arena_free(program->arena);
}

uint32_t program_add_buffer(Program *program, Buffer buffer) {
    program->buffers =
        arena_grow(program->arena, program->buffers, program->buffer_count, &program->buffer_capacity, sizeof buffer);
    program->buffers[program->buffer_count] = buffer;
    return program->buffer_count++;
}

static bool name_is_taken(const Program *program, const char *name) {
    for (uint32_t i = 0; i < program->kernel_count; i++)
        if (!strcmp(program->kernels[i].name, name)) return true;
    return false;
}

static const char *unique_name(Program *program, const char *name) {
    if (!name || !*name) name = "kernel";
    const char *unique = name;
    for (uint32_t i = 1; name_is_taken(program, unique); i++) unique = arena_printf(program->arena, "%s.%u", name, i);
    return arena_copy(program->arena, unique);
}

uint32_t program_add_kernel(Program *program, Kernel kernel) {
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        if (!kernel_equal(&program->kernels[i], &kernel)) continue;
        if (program->kernels[i].body != kernel.body) graph_free(kernel.body);
        return i;
    }
    kernel.name = unique_name(program, kernel.name);
    program->kernels =
        arena_grow(program->arena, program->kernels, program->kernel_count, &program->kernel_capacity, sizeof kernel);
    program->kernels[program->kernel_count] = kernel;
    return program->kernel_count++;
}

void program_add_call(Program *program, uint32_t kernel, const uint32_t *args, const char *origin) {
    CHECK(kernel < program->kernel_count);
    uint32_t count = kernel_arg_count(&program->kernels[kernel]);
    Call call = {.kernel = kernel, .args = arena_array(program->arena, uint32_t, count)};
    if (count) memcpy(call.args, args, count * sizeof *args);
    call.origin = arena_copy(program->arena, origin);
    program->calls =
        arena_grow(program->arena, program->calls, program->call_count, &program->call_capacity, sizeof call);
    program->calls[program->call_count++] = call;
}

uint32_t program_first_phase(const Program *program) {
    uint32_t count = program->prepare_calls;
    return count && program->phase_count ? program->calls[count - 1].phase + 1 : 0;
}

uint32_t kernel_arg_count(const Kernel *kernel) { return kernel->body->input_count + kernel->body->output_count; }

Dim grid_pieces_at(const Grid *grid, int64_t n) {
    Dim pieces = 1;
    for (uint32_t i = 0; i < grid->rank; i++) {
        int64_t extent = dim_at(grid->axis[i].extent, n), block = grid->axis[i].block;
        if (block) pieces *= (extent + block - 1) / block;
    }
    return pieces;
}

static bool grid_equal(const Grid *a, const Grid *b) {
    if (a->rank != b->rank) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->axis[i].extent != b->axis[i].extent || a->axis[i].block != b->axis[i].block) return false;
    return true;
}

bool program_changes_states(const Program *program) {
    for (uint32_t i = 0; i < program->output_count; i++)
        if (program->outputs[i].updates >= 0) return true;
    return false;
}

static bool body_equal(const Graph *a, const Graph *b) {
    if (a->count != b->count || a->input_count != b->input_count || a->output_count != b->output_count) return false;
    for (uint32_t i = 0; i < a->input_count; i++)
        if (!type_equal(a->inputs[i].type, b->inputs[i].type)) return false;
    for (uint32_t i = 0; i < a->output_count; i++)
        if (a->outputs[i].node != b->outputs[i].node) return false;
    for (NodeId id = 0; id < a->count; id++) {
        const Node *x = &a->nodes[id], *y = &b->nodes[id];
        bool equal = x->op == y->op && type_equal(x->type, y->type) && !memcmp(x->in, y->in, sizeof x->in) &&
                     !memcmp(&x->attr, &y->attr, sizeof x->attr);
        if (!equal) return false;
    }
    return true;
}

bool kernel_equal(const Kernel *a, const Kernel *b) {
    return a->kind == b->kind && grid_equal(&a->grid, &b->grid) && a->reduced == b->reduced &&
           (a->kind != KERNEL_contract || a->product == b->product) && a->tile_rows == b->tile_rows &&
           a->tile_vectors == b->tile_vectors && a->wide_rows == b->wide_rows && a->wide_vectors == b->wide_vectors &&
           a->depth_block == b->depth_block && a->row_block == b->row_block && a->prepared_b == b->prepared_b &&
           a->winograd == b->winograd &&
           a->streams == b->streams && a->pack_a == b->pack_a && a->pack_b == b->pack_b && body_equal(a->body, b->body);
}

bool kernel_sums_rows(const Kernel *kernel, uint32_t output) {
    NodeId id = kernel->body->outputs[output].node;
    return kernel->kind == KERNEL_contract && kernel->body->nodes[id].op == OP_sum && kernel_reduces(kernel, id);
}

int64_t kernel_sum_rows(const Kernel *kernel) {
    const Graph *body = kernel->body;
    for (uint32_t i = 0; i < body->output_count; i++)
        if (kernel_sums_rows(kernel, i)) return body->nodes[body->nodes[body->outputs[i].node].in[0]].type.dim[1];
    return 0;
}

NodeId kernel_scatter(const Kernel *kernel) {
    CHECK(kernel->kind == KERNEL_scatter);
    return kernel->body->outputs[0].node;
}

bool kernel_scatters_rows(const Kernel *kernel) {
    const Node *scatter = &kernel->body->nodes[kernel_scatter(kernel)];
    return strided_same_along(kernel->body, scatter->in[1], ~0u << (scatter->attr.axis + 1));
}

static uint32_t sized_axes(Type type) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < type.rank; i++) count += type.dim[i] != 1;
    return count;
}

bool kernel_reduces(const Kernel *kernel, NodeId id) {
    const Node *node = &kernel->body->nodes[id];
    if (op_info[node->op].class != CLASS_reduce) return false;
    return sized_axes(node->type) != sized_axes(kernel->body->nodes[node->in[0]].type);
}

uint32_t kernel_interleaved(const Kernel *kernel) {
    const Grid *grid = &kernel->grid;
    if (kernel->kind != KERNEL_map || kernel->reduced || grid->rank < 2 || grid->axis[grid->rank - 1].block) return 0;
    Dim last = grid->axis[grid->rank - 1].extent;
    return last > 1 && last <= MOST_INTERLEAVED ? (uint32_t)last : 0;
}

uint32_t *kernel_stages(const Kernel *kernel, Arena *arena) {
    const Graph *body = kernel->body;
    uint32_t *stage = arena_array(arena, uint32_t, body->count);
    for (NodeId id = 0; id < body->count; id++) {
        const Node *node = &body->nodes[id];
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
            uint32_t ready = stage[node->in[i]] + kernel_reduces(kernel, node->in[i]);
            if (ready > stage[id]) stage[id] = ready;
        }
    }
    return stage;
}

uint32_t kernel_store_stage(const Kernel *kernel, const uint32_t *stage, uint32_t output) {
    NodeId id = kernel->body->outputs[output].node;
    bool stored_while_walking =
        sized_axes(kernel->body->nodes[id].type) == kernel->grid.rank && !kernel_reduces(kernel, id);
    return stored_while_walking ? stage[id] : UINT32_MAX;
}

/* depends[id]: the element of node id is made of the input's element at the same place. False if the input is read
 * at another place too, or by a reduction of a later stage than `last`. */
static bool read_in_place(const Kernel *kernel, uint32_t input, const uint32_t *stage, uint32_t last, bool *depends) {
    const Graph *body = kernel->body;
    for (NodeId id = 0; id < body->count; id++) {
        const Node *node = &body->nodes[id];
        bool reads = false;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) reads |= depends[node->in[i]];
        if (node->op == OP_input)
            depends[id] = node->attr.index == input;
        else if (reads && op_is_elementwise(node->op))
            depends[id] = true;
        else if (reads && !(kernel_reduces(kernel, id) && stage[id] <= last))
            return false;
    }
    return true;
}

static bool scatter_may_update(const Kernel *kernel, uint32_t input) {
    const Graph *body = kernel->body;
    const Node *scatter = &body->nodes[kernel_scatter(kernel)], *base = &body->nodes[scatter->in[0]];
    Arena *scratch = arena_new();
    bool *depends = arena_array(scratch, bool, body->count);
    for (NodeId id = 0; id < body->count; id++) {
        const Node *node = &body->nodes[id];
        depends[id] = node->op == OP_input && node->attr.index == input;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) depends[id] |= depends[node->in[i]];
    }
    bool may =
        base->op == OP_input && base->attr.index == input && !depends[scatter->in[1]] && !depends[scatter->in[2]];
    arena_free(scratch);
    return may;
}

/* Each stage reads its inputs anew, computes everything at a place, then stores. So whatever is made of the input has
 * to be read element by element, and no later than in the stage that overwrites it: also for other outputs. */
bool kernel_may_update(const Kernel *kernel, uint32_t input, uint32_t output) {
    const Graph *body = kernel->body;
    CHECK(input < body->input_count && output < body->output_count);
    NodeId result = body->outputs[output].node;
    if (!type_equal(body->inputs[input].type, body->nodes[result].type)) return false;
    if (kernel->kind == KERNEL_scatter) return scatter_may_update(kernel, input);

    Arena *scratch = arena_new();
    bool *depends = arena_array(scratch, bool, body->count);
    uint32_t *stage = kernel_stages(kernel, scratch);
    uint32_t last = kernel_store_stage(kernel, stage, output);
    bool may = read_in_place(kernel, input, stage, last, depends);
    for (uint32_t i = 0; i < body->output_count; i++)
        if (depends[body->outputs[i].node] && kernel_store_stage(kernel, stage, i) > last) may = false;
    arena_free(scratch);
    return may;
}
