/* Building graphs: nodes in one growing array, equal nodes shared through an open-addressing table.
 *
 * A node is brought into one canonical form first (unused inputs, axes and attribute bytes are zero,
 * one NaN), so that equality is a memcmp. What a node came from (origin) takes no part in it: a shared
 * node keeps the first origin. */
#include "ir/graph.h"

#include <math.h>
#include <string.h>

const OpInfo op_info[OP_COUNT] = {
#define OP(name_, inputs_, class_, domain_, attr_, type_, gradient_, meaning_) \
    [OP_##name_] = {.name = #name_,                                            \
                    .meaning = meaning_,                                       \
                    .gradient = #gradient_,                                    \
                    .inputs = inputs_,                                         \
                    .class = CLASS_##class_,                                   \
                    .domain = DOMAIN_##domain_,                                \
                    .attr = ATTR_##attr_},
#include "ir/ops.def"
};

#ifdef SELFC_STRESS
enum { FIRST_TABLE = 2 };
#else
enum { FIRST_TABLE = 64 };
#endif

bool op_is_function(OpKind op) { return op_info[op].class == CLASS_function; }

bool op_is_elementwise(OpKind op) {
    OpClass class = op_info[op].class;
    return class == CLASS_unary || class == CLASS_function || class == CLASS_binary || class == CLASS_ternary;
}

bool op_find(const char *name, OpKind *op) {
    for (int i = 0; i < OP_COUNT; i++)
        if (!strcmp(op_info[i].name, name)) return *op = (OpKind)i, true;
    return false;
}

Graph *graph_new(const char *name) {
    Arena *arena = arena_new();
    Graph *graph = arena_alloc(arena, sizeof *graph);
    graph->arena = arena;
    graph->name = arena_copy(arena, name);
    return graph;
}

void graph_free(Graph *graph) {
    if (graph) arena_free(graph->arena);
}

uint32_t graph_add_input(Graph *graph, GraphInput input) {
    graph->inputs = arena_grow(graph->arena, graph->inputs, graph->input_count, &graph->input_capacity, sizeof input);
    input.name = arena_copy(graph->arena, input.name);
    graph->inputs[graph->input_count] = input;
    return graph->input_count++;
}

uint32_t graph_add_output(Graph *graph, const char *name, NodeId node, int32_t updates) {
    CHECK(node < graph->count);
    CHECK(updates < (int32_t)graph->input_count);
    GraphOutput output = {.name = arena_copy(graph->arena, name), .node = node, .updates = updates};
    graph->outputs =
        arena_grow(graph->arena, graph->outputs, graph->output_count, &graph->output_capacity, sizeof output);
    graph->outputs[graph->output_count] = output;
    return graph->output_count++;
}

static double canonical_value(double value) { return isnan(value) ? (double)NAN : value; }

/* Only the member that the operation uses, and only for the axes that it has. */
static Attr canonical_attr(const Node *node, uint32_t rank) {
    Attr attr;
    memset(&attr, 0, sizeof attr);
    if (rank > MAX_RANK) rank = MAX_RANK;
    switch (op_info[node->op].attr) {
    case ATTR_none:
    case ATTR_dtype: break;
    case ATTR_index: attr.index = node->attr.index; break;
    case ATTR_value: attr.value = canonical_value(node->attr.value); break;
    case ATTR_axis: attr.axis = node->attr.axis; break;
    case ATTR_axes: attr.axes = node->attr.axes; break;
    case ATTR_random:
        attr.random.stream = node->attr.random.stream;
        attr.random.word = node->attr.random.word;
        break;
    case ATTR_permutation: memcpy(attr.permutation, node->attr.permutation, rank); break;
    case ATTR_slice:
        memcpy(attr.slice.start, node->attr.slice.start, rank * sizeof(int64_t));
        memcpy(attr.slice.step, node->attr.slice.step, rank * sizeof(int64_t));
        break;
    case ATTR_pad:
        memcpy(attr.pad.before, node->attr.pad.before, rank * sizeof(int64_t));
        attr.pad.value = canonical_value(node->attr.pad.value);
        break;
    case ATTR_window:
        attr.window = node->attr.window;
        attr.window.value = canonical_value(node->attr.window.value);
        break;
    case ATTR_attention:
        attr.attention.scale = canonical_value(node->attr.attention.scale);
        attr.attention.causal = node->attr.attention.causal != 0;
        if (node->op == OP_attention_norm) break;
        attr.attention.rate = canonical_value(node->attr.attention.rate);
        attr.attention.stream = node->attr.attention.stream;
        break;
    }
    return attr;
}

static bool node_equal(const Node *a, const Node *b) {
    return a->op == b->op && !memcmp(&a->type, &b->type, sizeof a->type) && !memcmp(a->in, b->in, sizeof a->in) &&
           !memcmp(&a->attr, &b->attr, sizeof a->attr);
}

/* FNV-1a over 32-bit words, mixed once more at the end for the low bits. */
static uint64_t hash_words(uint64_t hash, const void *data, size_t size) {
    const char *bytes = data;
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, 4);
        hash = (hash ^ word) * 0x100000001B3u;
    }
    return hash;
}

static uint32_t node_hash(const Node *node) {
    uint64_t hash = 0xCBF29CE484222325u ^ (uint64_t)node->op;
    hash = hash_words(hash, &node->type, sizeof node->type);
    hash = hash_words(hash, node->in, sizeof node->in);
    hash = hash_words(hash, &node->attr, sizeof node->attr);
    hash ^= hash >> 32;
    return (uint32_t)((hash * 0x9E3779B97F4A7C15u) >> 32);
}
_Static_assert(sizeof(Type) % 4 == 0 && sizeof(Attr) % 4 == 0, "hash_words reads whole words");

/* The slot that holds an equal node, or the empty one where it belongs. Slots hold id + 1; 0 is empty. */
static uint32_t *find_slot(const Graph *graph, const Node *node) {
    uint32_t mask = graph->table_size - 1;
    for (uint32_t at = node_hash(node) & mask;; at = (at + 1) & mask) {
        uint32_t *slot = &graph->table[at];
        if (!*slot || node_equal(&graph->nodes[*slot - 1], node)) return slot;
    }
}

/* At most half of the slots are taken. */
static void grow_table(Graph *graph) {
    if (graph->count * 2 < graph->table_size) return;
    graph->table_size = graph->table_size ? graph->table_size * 2 : FIRST_TABLE;
    graph->table = arena_array(graph->arena, uint32_t, graph->table_size);
    for (NodeId id = 0; id < graph->count; id++) *find_slot(graph, &graph->nodes[id]) = id + 1;
}

/* Nodes that follow one another mostly have one origin, and then share the text. */
static const char *keep_origin(Graph *graph, const char *origin) {
    const char *last = graph->count ? graph->nodes[graph->count - 1].origin : NULL;
    if (!origin || (last && !strcmp(last, origin))) return origin ? last : NULL;
    return arena_copy(graph->arena, origin);
}

NodeId graph_try_add(Graph *graph, Node node, const char **why) {
    Node clean = {.op = node.op};
    *why = "there is no such operation";
    if ((uint32_t)node.op >= OP_COUNT) return NO_NODE;
    *why = "an input does not come earlier";
    for (uint32_t i = 0; i < op_info[node.op].inputs; i++) {
        if (node.in[i] >= graph->count) return NO_NODE;
        clean.in[i] = node.in[i];
    }
    if (!infer_type(graph, &node, &clean.type, why)) return NO_NODE;
    clean.attr = canonical_attr(&node, clean.type.rank);

    grow_table(graph);
    uint32_t *slot = find_slot(graph, &clean);
    if (*slot) return *slot - 1;
    clean.origin = keep_origin(graph, node.origin ? node.origin : graph->origin);
    graph->nodes = arena_grow(graph->arena, graph->nodes, graph->count, &graph->capacity, sizeof clean);
    graph->nodes[graph->count++] = clean;
    *slot = graph->count;
    return graph->count - 1;
}

NodeId graph_add(Graph *graph, Node node) {
    const char *why;
    NodeId id = graph_try_add(graph, node, &why);
    if (id == NO_NODE) {
        const char *name = (uint32_t)node.op < OP_COUNT ? op_info[node.op].name : "?";
        BUG("graph \"%s\": %s: %s", graph->name ? graph->name : "", name, why);
    }
    return id;
}

NodeId graph_copy_node(Graph *to, const Node *node, const NodeId *new_id) {
    Node copy = *node;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) copy.in[i] = new_id[node->in[i]];
    return graph_add(to, copy);
}

void graph_copy_inputs(Graph *to, const Graph *from) {
    to->name = arena_copy(to->arena, from->name);
    for (uint32_t i = 0; i < from->input_count; i++) graph_add_input(to, from->inputs[i]);
}

void graph_copy_outputs(Graph *to, const Graph *from, const NodeId *new_id) {
    for (uint32_t i = 0; i < from->output_count; i++) {
        const GraphOutput *output = &from->outputs[i];
        graph_add_output(to, output->name, new_id[output->node], output->updates);
    }
}

Graph *graph_copy(const Graph *from) {
    Graph *to = graph_new(from->name);
    Arena *scratch = arena_new();
    NodeId *new_id = arena_array(scratch, NodeId, from->count);
    graph_copy_inputs(to, from);
    for (NodeId id = 0; id < from->count; id++) new_id[id] = graph_copy_node(to, &from->nodes[id], new_id);
    graph_copy_outputs(to, from, new_id);
    arena_free(scratch);
    return to;
}

uint32_t *graph_count_users(const Graph *graph, Arena *arena) {
    uint32_t *users = arena_array(arena, uint32_t, graph->count);
    for (uint32_t i = 0; i < graph->output_count; i++) users[graph->outputs[i].node]++;
    for (NodeId id = graph->count; id--;) {
        const Node *node = &graph->nodes[id];
        for (uint32_t i = 0; users[id] && i < op_info[node->op].inputs; i++) users[node->in[i]]++;
    }
    return users;
}
