/* Fusion: Graph → Program. Groups operations into kernels, so that values pass through registers, not memory.
 *
 * Nodes are visited from the last to the first, so when a node is visited all of its users have a group. It joins
 * the group of its users when the kernel can still be one walk over one index space (fuse_join.c says when); otherwise
 * it starts a group of its own, and its value goes through memory. Views (index operations and constants) belong
 * to no group: each kernel that reads through a view takes a copy of it.
 *
 * Why not from the first to the last? A producer does not know yet whether its users can be one kernel: greedy
 * forward fusion glues the first user it meets and then has to store for the second. Backwards, all are known. */
#include "passes/fuse.h"

#include "ir/attention.h"
#include "ir/build.h"
#include "ir/digits.h"
#include "ir/strided.h"

#include <string.h>

static bool is_operand_of_product(const Fusion *f, NodeId user) { return f->graph->nodes[user].op == OP_matmul; }

/* Is there nothing but memory under this reshape? */
static bool reshapes_memory(const Fusion *f, NodeId id) {
    NodeId from = f->graph->nodes[id].in[0];
    return f->graph->nodes[id].op == OP_reshape && (!fuse_is_view(f, from) || f->graph->nodes[from].op == OP_input);
}

enum { WIDEST_SQUARE = 16 /* lanes; shorter ones divide it */ };

/* A right operand whose depth lies in memory in runs of whole squares, which are transposed as they are packed: the
 * mirrored weights of a convolution by data. */
static bool is_packed_by_squares(const Fusion *f, NodeId id, const Digits *digits) {
    const Graph *g = f->graph;
    uint32_t rank = g->nodes[id].type.rank, runs = digits->count[rank - 2];
    Strided view;
    if (digits->count[rank - 1] != 1 || runs < 2 || !strided_of(g, digits->base, &view)) return false;
    uint32_t fastest = digits->axis[rank - 2][runs - 1];
    return strided_is_one(view.stride[fastest]) && g->nodes[digits->base].type.dim[fastest] % WIDEST_SQUARE == 0;
}

/* A product reads its operands through strides: transposes, broadcasts, slices. The left one may also be a window whose
 * taps and channels were joined to one axis (ir/patch.h), the right one a depth of runs. Everything else in between
 * (padding, joining, reshapes of what is not in memory) is stored first. */
static void mark_product_operand(Fusion *f, NodeId id, bool is_left) {
    Digits digits = digits_of(f->graph, id);
    NodeId base = digits.base;
    if (!is_left && is_packed_by_squares(f, id, &digits)) id = base;
    if (is_left && (f->graph->nodes[base].op == OP_window || f->graph->nodes[base].op == OP_unwindow))
        id = f->graph->nodes[base].in[0];
    while (fuse_is_view(f, id)) {
        const Node *node = &f->graph->nodes[id];
        bool strided = node->op == OP_transpose || node->op == OP_broadcast || node->op == OP_slice;
        if (!strided && !reshapes_memory(f, id)) break;
        id = node->in[0];
    }
    f->stored[id] |= f->graph->nodes[id].op != OP_input && !f->again[id];
}

/* Attention reads rows of queries, keys and values where they are, if their elements lie side by side. */
static void mark_attention_operand(Fusion *f, NodeId id) {
    const Graph *g = f->graph;
    NodeId at = id;
    Strided view;
    for (OpKind op = g->nodes[at].op; op == OP_transpose || op == OP_slice || op == OP_broadcast || op == OP_reshape;
         op = g->nodes[at].op)
        at = g->nodes[at].in[0];
    bool is_row = strided_above(g, id, at, &view) && (g->nodes[id].type.dim[3] == 1 || strided_is_one(view.stride[3]));
    if (!is_row) at = id;
    f->stored[at] |= g->nodes[at].op != OP_input;
}

static void mark_attention_operands(Fusion *f, const Node *node) {
    static const uint32_t rows[] = {ATTENTION_q, ATTENTION_k, ATTENTION_v, ATTENTION_dy};
    for (uint32_t i = 0; i < 4; i++)
        if (rows[i] < op_info[node->op].inputs && f->graph->nodes[node->in[rows[i]]].type.rank == 4)
            mark_attention_operand(f, node->in[rows[i]]);
}

enum { MOST_PATHS = 16, MOST_TAKEN = 3 };

/* Views of views of shared views have more paths down than nodes: a view that has many is stored, so that what reads
 * through it stays small. */
static void mark_many_paths(Fusion *f) {
    const Graph *g = f->graph;
    uint32_t *paths = arena_array(f->scratch, uint32_t, g->count + 1);
    for (NodeId id = 0; id < g->count; id++) {
        paths[id] = 0;
        for (uint32_t i = 0; fuse_is_free(f, id) && i < op_info[g->nodes[id].op].inputs; i++)
            paths[id] += paths[g->nodes[id].in[i]];
        if (paths[id] > MOST_PATHS) f->stored[id] = true;
        if (f->stored[id] || !paths[id]) paths[id] = 1;
    }
}

/* What is taken from memory more than a few times is stored once, in the order in which it is read. */
static void mark_many_readers(Fusion *f) {
    const uint32_t *users = graph_count_users(f->graph, f->scratch);
    for (NodeId id = 0; id < f->graph->count; id++)
        if (f->graph->nodes[id].op == OP_gather && users[id] > MOST_TAKEN) f->stored[id] = true;
}

static void mark_stored(Fusion *f) {
    const Graph *g = f->graph;
    for (uint32_t i = 0; i < g->output_count; i++) f->stored[fuse_value(f, g->outputs[i].node)] = true;
    for (NodeId id = 0; id < g->count; id++)
        if (is_operand_of_product(f, id))
            for (uint32_t i = 0; i < 2; i++) mark_product_operand(f, g->nodes[id].in[i], i == 0);
    for (NodeId id = 0; id < g->count; id++)
        if (attention_is(g->nodes[id].op)) mark_attention_operands(f, &g->nodes[id]);
    mark_many_readers(f);
    mark_many_paths(f);
}

static bool is_input(const Graph *g, NodeId id) { return g->nodes[id].op == OP_input; }

/* Does another group read it? */
static bool is_read_elsewhere(const Fusion *f, NodeId id) {
    for (uint32_t i = 0; i < f->users[id].count; i++)
        if (f->group_of[f->users[id].nodes[i]] != f->group_of[id]) return true;
    return false;
}

/* Every node that computes, and every view whose value must be in memory, gets a group. */
static void group_nodes(Fusion *f) {
    for (NodeId id = f->graph->count; id--;) {
        if (is_input(f->graph, id)) continue;
        if (f->group_of[id]) {
            f->stored[id] |= is_read_elsewhere(f, id);
        } else if (fuse_is_free(f, id)) {
            if (f->stored[id]) fuse_start_group(f, id);
        } else if (fuse_wants_group(f, id)) {
            if (f->apart[id] || !fuse_join(f, id)) {
                f->stored[id] = true;
                fuse_start_group(f, id);
            }
            fuse_join_alike(f, id);
        }
    }
}

/* The body of a group's kernel: its nodes, the views they read through, and an input for each value in memory. The
 * arrays serve one group after the other. */
typedef struct {
    Fusion *f;
    const Group *group;
    Graph *body;
    const Group **copied; /* per node of the graph: the group that was the last to copy it */
    NodeId *new_id;       /* per node of the graph: the copy */
    NodeId *source;       /* per input of the body: the node whose value it is */
    uint32_t sources;
} BodyBuilder;

static BodyBuilder body_builder(Fusion *f) {
    uint32_t count = f->graph->count + 1;
    return (BodyBuilder){.f = f,
                         .copied = arena_array(f->scratch, const Group *, count),
                         .new_id = arena_array(f->scratch, NodeId, count),
                         .source = arena_array(f->scratch, NodeId, count)};
}

static NodeId body_input(BodyBuilder *b, NodeId value, Type type) {
    for (uint32_t i = 0; i < b->sources; i++)
        if (b->source[i] == value && type_equal(b->body->inputs[i].type, type))
            return graph_add(b->body, (Node){.op = OP_input, .type = type, .attr.index = i});
    b->source[b->sources++] = value;
    uint32_t index = graph_add_input(
        b->body, (GraphInput){.name = arena_printf(b->body->arena, "in%u", b->sources - 1), .type = type});
    return graph_add(b->body, (Node){.op = OP_input, .type = type, .attr.index = index});
}

static bool in_memory(const BodyBuilder *b, NodeId id) {
    return is_input(b->f->graph, id) || (b->f->stored[id] && b->f->group_of[id] != b->group);
}

static NodeId body_copy(BodyBuilder *b, NodeId id) {
    if (b->copied[id] == b->group) return b->new_id[id];
    const Node *node = &b->f->graph->nodes[id];
    NodeId result;
    if (in_memory(b, id)) {
        result = body_input(b, id, node->type);
    } else if (node->op == OP_reshape && in_memory(b, node->in[0])) {
        result = body_input(b, node->in[0], node->type); /* the same bytes under another shape */
    } else {
        Node copy = *node;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) copy.in[i] = body_copy(b, node->in[i]);
        result = graph_add(b->body, copy);
    }
    b->copied[id] = b->group;
    return b->new_id[id] = result;
}

static bool name_has(const char *name, const char *op) {
    size_t length = strlen(op);
    for (const char *at = strstr(name, op); at; at = strstr(at + 1, op))
        if ((at == name || at[-1] == '_') && (!at[length] || at[length] == '_')) return true;
    return false;
}

/* The operations in it, each once, the product first: "matmul_add_max". */
static const char *kernel_name(Fusion *f, const Group *group) {
    char name[64] = "";
    if (group->is_attention)
        return attention_is_gradient(f->graph->nodes[group->nodes[0]].op) ? "attention_gradient" : "attention";
    if (group->product != NO_NODE) strcpy(name, "matmul");
    for (uint32_t i = group->count; i-- && strlen(name) < 24;) {
        const char *op = op_info[f->graph->nodes[group->nodes[i]].op].name;
        if (name_has(name, op)) continue;
        if (name[0]) strcat(name, "_");
        strncat(name, op, 16);
    }
    return arena_copy(f->program->arena, name);
}

/* Where the group's work comes from: its product; else its latest node that came from a layer, or from anywhere. */
static const char *group_origin(Fusion *f, const Group *group) {
    NodeId latest_layer = NO_NODE, latest = NO_NODE;
    for (uint32_t i = 0; i < group->count; i++) {
        NodeId id = group->nodes[i];
        const char *origin = f->graph->nodes[id].origin;
        if (!origin) continue;
        if (f->graph->nodes[id].op == OP_matmul) return arena_copy(f->program->arena, origin);
        if (latest == NO_NODE || id > latest) latest = id;
        if (strstr(origin, "layers[") && (latest_layer == NO_NODE || id > latest_layer)) latest_layer = id;
    }
    NodeId chosen = latest_layer != NO_NODE ? latest_layer : latest;
    return chosen == NO_NODE ? NULL : arena_copy(f->program->arena, f->graph->nodes[chosen].origin);
}

static void set_attention_space(Kernel *kernel, const Graph *body) {
    AttentionParts parts;
    CHECK(attention_parts(body, &parts));
    const Node *node = &body->nodes[parts.first];
    const Type *q = &body->nodes[node->in[ATTENTION_q]].type;
    kernel->kind = KERNEL_attention;
    kernel->grid = (Grid){.rank = attention_is_gradient(node->op) ? 2 : 3};
    kernel->grid.axis[0].extent = q->dim[0];
    kernel->grid.axis[1].extent = q->dim[2];
    if (kernel->grid.rank == 3) kernel->grid.axis[2].extent = q->dim[1];
}

static void set_space(const Fusion *f, Kernel *kernel, const Group *group, const Graph *body) {
    if (group->is_attention) {
        set_attention_space(kernel, body);
        return;
    }
    kernel->kind = group->product != NO_NODE   ? KERNEL_contract
                   : fuse_is_scatter(f, group) ? KERNEL_scatter
                                               : KERNEL_map;
    kernel->reduced = group->reduced;
    kernel->grid.rank = group->rank;
    for (uint32_t i = 0; i < group->rank; i++) kernel->grid.axis[i].extent = group->dim[i];
    if (kernel->kind == KERNEL_map) return;
    for (NodeId id = 0; id < body->count; id++)
        if (body->nodes[id].op == OP_matmul) kernel->product = id;
    Type type = body->nodes[kernel->kind == KERNEL_scatter ? kernel_scatter(kernel) : kernel->product].type;
    kernel->grid.rank = type.rank;
    for (uint32_t i = 0; i < type.rank; i++) kernel->grid.axis[i].extent = type.dim[i];
}

/* The buffer that holds a node's value; made when it is first asked for. */
static uint32_t buffer_of(Fusion *f, NodeId id) {
    if (f->buffer[id] == UINT32_MAX && f->shares[id] != NO_NODE) f->buffer[id] = buffer_of(f, f->shares[id]);
    if (f->buffer[id] != UINT32_MAX) return f->buffer[id];
    const Node *node = &f->graph->nodes[id];
    Buffer buffer = {.kind = BUFFER_temporary, .type = node->type};
    if (node->op == OP_input) {
        buffer.index = node->attr.index;
        buffer.kind = f->graph->inputs[buffer.index].kind == INPUT_data ? BUFFER_input : BUFFER_state;
    }
    return f->buffer[id] = program_add_buffer(f->program, buffer);
}

static bool is_stored_here(const Fusion *f, const Group *group, NodeId id) {
    return f->stored[id] && f->group_of[id] == group;
}

/* Where an output of the graph lives: an output buffer of its own, or the state that it updates. */
static uint32_t final_buffer(Fusion *f, uint32_t output) {
    const GraphOutput *out = &f->graph->outputs[output];
    if (out->updates >= 0) return f->state_buffer[out->updates];
    return program_add_buffer(
        f->program, (Buffer){.kind = BUFFER_output, .type = f->graph->nodes[out->node].type, .index = output});
}

/* An output that would overwrite what its kernel still reads elsewhere goes through a temporary. */
static void keep_inputs_whole(Fusion *f, const Kernel *kernel, const uint32_t *sources, NodeId value, uint32_t output) {
    uint32_t home = f->buffer[value];
    for (uint32_t i = 0; home != UINT32_MAX && i < kernel->body->input_count; i++) {
        if (buffer_of(f, sources[i]) != home || kernel_may_update(kernel, i, output)) continue;
        f->buffer[value] = UINT32_MAX;
        f->copies[f->copy_count++] = (Copy){value, home};
        return;
    }
}

static void emit_group(BodyBuilder *b, const Group *group) {
    Fusion *f = b->f;
    Graph *body = b->body = graph_new("body");
    b->group = group;
    b->sources = 0;
    uint32_t *outputs = arena_array(f->scratch, uint32_t, group->count), count = 0;
    for (uint32_t i = group->count; i--;) {
        if (!is_stored_here(f, group, group->nodes[i])) continue;
        NodeId id = body_copy(b, group->nodes[i]);
        graph_add_output(body, arena_printf(body->arena, "out%u", count), id, -1);
        outputs[count++] = group->nodes[i];
    }
    Kernel kernel = {.name = kernel_name(f, group), .body = body};
    set_space(f, &kernel, group, body);
    const char *origin = group_origin(f, group);
    uint32_t *args = arena_array(f->scratch, uint32_t, b->sources + count);
    for (uint32_t i = 0; i < count; i++) keep_inputs_whole(f, &kernel, b->source, outputs[i], i);
    for (uint32_t i = 0; i < b->sources; i++) args[i] = buffer_of(f, b->source[i]);
    for (uint32_t i = 0; i < count; i++) args[b->sources + i] = buffer_of(f, outputs[i]);
    program_add_call(f->program, program_add_kernel(f->program, kernel), args, origin);
}

/* A kernel that only copies: for outputs that are inputs, that stand twice, or that cannot be updated in place. */
static void emit_copy(Fusion *f, uint32_t from, uint32_t to) {
    Graph *body = graph_new("body");
    Type type = f->program->buffers[to].type;
    NodeId in = build_input(body, "in0", INPUT_data, type, (Init){0});
    graph_add_output(body, "out0", in, -1);
    Kernel kernel = {.kind = KERNEL_map, .name = "copy", .body = body};
    for (uint32_t i = 0; i < type.rank; i++)
        if (type.dim[i] != 1) kernel.grid.axis[kernel.grid.rank++].extent = type.dim[i];
    uint32_t args[] = {from, to};
    program_add_call(f->program, program_add_kernel(f->program, kernel), args, "copy");
}

static bool is_state(const Fusion *f, uint32_t buffer) { return f->program->buffers[buffer].kind == BUFFER_state; }

/* Outputs first, then states: an output may be a state's old value. A state that becomes another's old value takes it
 * from a temporary, since the two may change places. */
static void emit_copies(Fusion *f) {
    for (uint32_t i = 0; i < f->copy_count; i++) {
        Copy *copy = &f->copies[i];
        uint32_t from = buffer_of(f, copy->from);
        if (!is_state(f, copy->to)) emit_copy(f, from, copy->to);
        if (!is_state(f, copy->to) || !is_state(f, from)) continue;
        Buffer between = {.kind = BUFFER_temporary, .type = f->graph->nodes[copy->from].type};
        f->buffer[copy->from] = program_add_buffer(f->program, between);
        emit_copy(f, from, f->buffer[copy->from]);
    }
    for (uint32_t i = 0; i < f->copy_count; i++)
        if (is_state(f, f->copies[i].to)) emit_copy(f, buffer_of(f, f->copies[i].from), f->copies[i].to);
}

static void describe_interface(Fusion *f) {
    Program *p = f->program;
    const Graph *g = f->graph;
    p->input_count = g->input_count;
    p->output_count = g->output_count;
    p->inputs = arena_array(p->arena, GraphInput, g->input_count + 1);
    p->outputs = arena_array(p->arena, GraphOutput, g->output_count + 1);
    for (uint32_t i = 0; i < g->input_count; i++) {
        p->inputs[i] = g->inputs[i];
        p->inputs[i].name = arena_copy(p->arena, g->inputs[i].name);
        BufferKind kind = g->inputs[i].kind == INPUT_data ? BUFFER_input : BUFFER_state;
        f->state_buffer[i] = program_add_buffer(p, (Buffer){.kind = kind, .type = g->inputs[i].type, .index = i});
    }
    for (NodeId id = 0; id < g->count; id++)
        f->buffer[id] = g->nodes[id].op == OP_input ? f->state_buffer[g->nodes[id].attr.index] : UINT32_MAX;
}

Program *pass_fuse(const Graph *from, const Machine *machine);

Program *pass_fuse(const Graph *from, const Machine *machine) {
    (void)machine;
    Arena *scratch = arena_new();
    Fusion *f = fuse_new(from, scratch);
    fuse_mark_again(f);
    fuse_mark_slopes(f);
    fuse_join_sums(f);
    mark_stored(f);
    fuse_find_reads(f);
    group_nodes(f);
    f->program = program_new(from->name);
    describe_interface(f);
    fuse_place_outputs(f, final_buffer);
    BodyBuilder builder = body_builder(f);
    for (uint32_t i = 0; i < f->order_count; i++) emit_group(&builder, f->order[i]);
    emit_copies(f);
    Program *program = f->program;
    arena_free(scratch);
    return program;
}
