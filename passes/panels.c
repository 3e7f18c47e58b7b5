/* Lays right operands that depend on states alone out as products read them (ir/panels.h), as wide as the tile that the
 * schedule chose.
 *
 * A kernel that is marked prepared_b gets a body that reads panels in place of b; for each of its calls another call
 * makes them, in the prepare part. Calls that share a matrix and a width share the panels. */
#include "passes/passes.h"

#include "ir/panels.h"

#include <string.h>

/* A body that is built of another's nodes. */
typedef struct {
    const Graph *from;
    Graph *to;
    NodeId *new_id;   /* NO_NODE: not copied */
    uint32_t *source; /* of each input: which one of `from` it was */
} Copy;

static Copy copy_begin(const Graph *from, Arena *scratch) {
    Copy copy = {from, graph_new("body"), arena_array(scratch, NodeId, from->count + 1),
                 arena_array(scratch, uint32_t, from->input_count + 2)};
    memset(copy.new_id, 0xff, from->count * sizeof *copy.new_id);
    return copy;
}

static NodeId copy_add_input(Copy *copy, Type type, uint32_t source) {
    uint32_t index = copy->to->input_count;
    copy->source[index] = source;
    graph_add_input(copy->to, (GraphInput){.name = arena_printf(copy->to->arena, "in%u", index), .type = type});
    return graph_add(copy->to, (Node){.op = OP_input, .type = type, .attr.index = index});
}

/* Nodes in the order in which they stand; `panels` stand for the right operand of `product`. */
static void copy_nodes(Copy *copy, const bool *needed, NodeId product, const Type *panels) {
    for (NodeId id = 0; id < copy->from->count; id++) {
        const Node *node = &copy->from->nodes[id];
        if (!needed[id]) continue;
        if (node->op == OP_input) {
            copy->new_id[id] = copy_add_input(copy, node->type, node->attr.index);
        } else if (id == product) {
            Node matmul = *node;
            matmul.in[0] = copy->new_id[node->in[0]];
            matmul.in[1] =
                panels_read(copy->to, copy_add_input(copy, *panels, UINT32_MAX), copy->from->nodes[node->in[1]].type);
            copy->new_id[id] = graph_add(copy->to, matmul);
        } else {
            copy->new_id[id] = graph_copy_node(copy->to, node, copy->new_id);
        }
    }
}

/* What `id` is made of, and itself; not what the product `but_for` has on its right. */
static void need(const Graph *graph, NodeId id, NodeId but_for, bool *needed) {
    const Node *node = &graph->nodes[id];
    if (needed[id]) return;
    needed[id] = true;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (id != but_for || i == 0) need(graph, node->in[i], but_for, needed);
}

/* A kernel that reads panels, and the one that makes them; where their inputs come from. */
typedef struct {
    uint32_t maker, reader;
    uint32_t maker_inputs, reader_inputs;
    uint32_t *maker_source, *reader_source; /* input of the kernel before; UINT32_MAX: the panels */
    Type type;
    bool is_used;
} Layout;

static uint32_t add_maker(Program *program, Graph *body, const Machine *machine) {
    Kernel kernel = {.kind = KERNEL_map, .name = "panels", .body = body};
    Type type = body->nodes[body->outputs[0].node].type;
    for (uint32_t i = 0; i < type.rank; i++)
        if (type.dim[i] != 1) kernel.grid.axis[kernel.grid.rank++].extent = type.dim[i];
    schedule_map(&kernel, machine);
    return program_add_kernel(program, kernel);
}

static Layout lay_out(Program *program, const Kernel *kernel, const Machine *machine, Arena *scratch) {
    const Graph *body = kernel->body;
    NodeId b = body->nodes[kernel->product].in[1];
    bool *below = arena_array(scratch, bool, body->count), *needed = arena_array(scratch, bool, body->count);
    Copy maker = copy_begin(body, scratch), reader = copy_begin(body, scratch);
    need(body, b, NO_NODE, below);
    copy_nodes(&maker, below, NO_NODE, NULL);
    NodeId panels = panels_make(maker.to, maker.new_id[b], kernel->tile_vectors * (machine->vector_bytes / 4));
    graph_add_output(maker.to, "out0", panels, -1);
    Layout layout = {.type = maker.to->nodes[panels].type, .is_used = true};

    for (uint32_t i = 0; i < body->output_count; i++) need(body, body->outputs[i].node, kernel->product, needed);
    copy_nodes(&reader, needed, kernel->product, &layout.type);
    graph_copy_outputs(reader.to, body, reader.new_id);
    Kernel reads = *kernel;
    reads.product = reader.new_id[kernel->product];
    reads.body = reader.to;
    layout.maker_inputs = maker.to->input_count;
    layout.reader_inputs = reader.to->input_count;
    layout.maker_source = maker.source;
    layout.reader_source = reader.source;
    layout.reader = program_add_kernel(program, reads);
    layout.maker = add_maker(program, maker.to, machine);
    return layout;
}

typedef struct {
    Program *program;
    Arena *scratch;
    Layout *layouts; /* of each kernel before; not used: it stayed */
    uint32_t *new_kernel;
    Call *made; /* calls that make panels */
    uint32_t made_count;
} Panelling;

/* The buffer of the panels that this call wants: made by a call of its own, or there already. */
static uint32_t panels_for(Panelling *p, const Layout *layout, const Call *call) {
    uint32_t count = layout->maker_inputs, *args = arena_array(p->program->arena, uint32_t, count + 1);
    for (uint32_t i = 0; i < count; i++) args[i] = call->args[layout->maker_source[i]];
    for (uint32_t i = 0; i < p->made_count; i++)
        if (p->made[i].kernel == layout->maker && !memcmp(p->made[i].args, args, count * sizeof *args))
            return p->made[i].args[count];
    args[count] = program_add_buffer(p->program, (Buffer){.kind = BUFFER_prepared, .type = layout->type});
    p->made[p->made_count++] = (Call){.kernel = layout->maker, .args = args, .origin = call->origin};
    return args[count];
}

static void read_panels(Panelling *p, const Layout *layout, Call *call, uint32_t inputs, uint32_t outputs) {
    uint32_t *args = arena_array(p->program->arena, uint32_t, layout->reader_inputs + outputs);
    for (uint32_t i = 0; i < layout->reader_inputs; i++) {
        uint32_t source = layout->reader_source[i];
        args[i] = source == UINT32_MAX ? panels_for(p, layout, call) : call->args[source];
    }
    memcpy(args + layout->reader_inputs, call->args + inputs, outputs * sizeof *args);
    call->args = args;
}

/* Kernels are numbered anew, since two that differed in their right operands alone may now be one. */
static void renew_kernels(Panelling *p, const Kernel *before, uint32_t count, const Machine *machine) {
    p->program->kernel_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (before[i].prepared_b)
            p->layouts[i] = lay_out(p->program, &before[i], machine, p->scratch);
        else
            p->new_kernel[i] = program_add_kernel(p->program, before[i]);
}

static void renew_calls(Panelling *p, const Kernel *before) {
    Program *program = p->program;
    uint32_t count = program->call_count, first = program->prepare_calls;
    Call *calls = arena_array(program->arena, Call, 2 * count + 1);
    p->made = calls + first;
    for (uint32_t c = 0; c < count; c++) {
        Call *call = &program->calls[c];
        const Layout *layout = &p->layouts[call->kernel];
        const Graph *body = before[call->kernel].body;
        if (layout->is_used) read_panels(p, layout, call, body->input_count, body->output_count);
        call->kernel = layout->is_used ? layout->reader : p->new_kernel[call->kernel];
    }
    memcpy(calls, program->calls, first * sizeof *calls);
    memcpy(calls + first + p->made_count, program->calls + first, (count - first) * sizeof *calls);
    program->calls = calls;
    program->call_capacity = 2 * count + 1;
    program->call_count += p->made_count;
    program->prepare_calls += p->made_count;
}

ProgramPass pass_panels;

void pass_panels(Program *program, const Machine *machine) {
    uint32_t count = program->kernel_count, prepared = 0;
    for (uint32_t i = 0; i < count; i++) prepared += program->kernels[i].prepared_b;
    if (!prepared) return;
    Arena *scratch = arena_new();
    Panelling p = {.program = program,
                   .scratch = scratch,
                   .layouts = arena_array(scratch, Layout, count),
                   .new_kernel = arena_array(scratch, uint32_t, count)};
    Kernel *before = arena_array(scratch, Kernel, count);
    memcpy(before, program->kernels, count * sizeof *before);
    renew_kernels(&p, before, count, machine);
    renew_calls(&p, before);
    prepare_keep(program); /* whom panels replace needs no place any more */
    for (uint32_t i = 0; i < count; i++)
        if (before[i].prepared_b) graph_free(before[i].body);
    arena_free(scratch);
}
