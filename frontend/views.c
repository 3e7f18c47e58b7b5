/* Which named values of a training are views: pictures that are made of the data alone, whatever is learnt, and that
 * are what the part that learns looks at.
 *
 * Of a chain of such pictures the last one counts, before something depends on a parameter; or the last of all, if
 * nothing does. */
#include "frontend/views.h"

#include <string.h>

typedef struct {
    const Graph *graph;
    bool *of_data, *of_parameters; /* what a node depends on */
    bool *is_picture;              /* and has a name */
    bool *is_learnt_from;          /* read, not by way of another picture, by what depends on parameters */
    bool *is_looked_at;            /* read, one way or another, by another picture */
} Search;

static bool is_picture(Type type, Dim n) {
    bool has_shape = type.rank == 3 || (type.rank == 4 && (type.dim[3] == 1 || type.dim[3] == 3));
    bool is_large =
        has_shape && type.dim[1] > 1 && type.dim[2] > 1 && type.dim[1] <= LARGEST_SIDE && type.dim[2] <= LARGEST_SIDE;
    return type.dtype == DTYPE_f32 && is_large && type.dim[0] % n == 0 && type.dim[0] / n <= MOST_SHOWN;
}

static void mark_dependences(Search *s) {
    for (NodeId id = 0; id < s->graph->count; id++) {
        const Node *node = &s->graph->nodes[id];
        const GraphInput *input = node->op == OP_input ? &s->graph->inputs[node->attr.index] : NULL;
        s->of_data[id] = input && input->kind == INPUT_data && input->name[0] != '$';
        s->of_parameters[id] = input && input->kind != INPUT_data;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
            s->of_data[id] |= s->of_data[node->in[i]];
            s->of_parameters[id] |= s->of_parameters[node->in[i]];
        }
    }
}

static void mark_readers(Search *s) {
    for (NodeId id = s->graph->count; id--;) {
        const Node *node = &s->graph->nodes[id];
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) {
            NodeId in = node->in[i];
            s->is_learnt_from[in] |= s->of_parameters[id] || (!s->is_picture[id] && s->is_learnt_from[id]);
            s->is_looked_at[in] |= s->is_picture[id] || s->is_looked_at[id];
        }
    }
}

static bool is_data_name(const Lower *l, const char *name) {
    for (uint32_t i = 0; i < l->model->training.data_count; i++)
        if (!strcmp(l->model->training.data[i].name, name)) return true;
    return false;
}

static View *find_view(View *views, uint32_t count, NodeId node) {
    for (uint32_t i = 0; i < count; i++)
        if (views[i].node == node) return &views[i];
    return NULL;
}

/* In the order in which they are computed. */
static void sort_views(View *views, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t j = i; j && views[j - 1].node > views[j].node; j--) {
            View swap = views[j];
            views[j] = views[j - 1];
            views[j - 1] = swap;
        }
}

uint32_t views_find(const Lower *l, const Scope *scope, View views[MOST_SHOWN]) {
    uint32_t nodes = l->g->count + 1, count = 0;
    Search s = {l->g,
                arena_array(l->arena, bool, nodes),
                arena_array(l->arena, bool, nodes),
                arena_array(l->arena, bool, nodes),
                arena_array(l->arena, bool, nodes),
                arena_array(l->arena, bool, nodes)};
    mark_dependences(&s);
    for (const Binding *b = scope->bindings; b; b = b->next) {
        if (b->value.kind != VALUE_tensor || is_data_name(l, b->name)) continue;
        NodeId node = b->value.node;
        s.is_picture[node] = s.of_data[node] && !s.of_parameters[node] && is_picture(value_type(l, node), l->n);
    }
    mark_readers(&s);
    for (const Binding *b = scope->bindings; b; b = b->next) {
        NodeId node = b->value.node;
        if (b->value.kind != VALUE_tensor || !s.is_picture[node] || is_data_name(l, b->name)) continue;
        if (!strcmp(b->name, "it") || find_view(views, count, node) || count == MOST_SHOWN) continue;
        if (s.is_learnt_from[node] || !s.is_looked_at[node]) views[count++] = (View){b->name, node};
    }
    sort_views(views, count);
    return count;
}

bool views_original(const Lower *l, const Scope *scope, View *view) {
    for (uint32_t i = 0; i < l->model->training.data_count; i++) {
        const Value *value = scope_find(scope, l->model->training.data[i].name);
        if (!value || value->kind != VALUE_tensor || !is_picture(value_type(l, value->node), l->n)) continue;
        *view = (View){l->model->training.data[i].name, value->node};
        return true;
    }
    return false;
}

static bool *find_needed(const Graph *graph) {
    bool *needed = arena_array(graph->arena, bool, graph->count + 1);
    for (uint32_t i = 0; i < graph->output_count; i++) needed[graph->outputs[i].node] = true;
    for (NodeId id = graph->count; id--;)
        for (uint32_t i = 0; needed[id] && i < op_info[graph->nodes[id].op].inputs; i++)
            needed[graph->nodes[id].in[i]] = true;
    return needed;
}

Graph *views_alone(Graph *graph) {
    Graph *to = graph_new(graph->name);
    const bool *needed = find_needed(graph);
    NodeId *new_id = arena_array(graph->arena, NodeId, graph->count + 1);
    uint32_t *new_input = arena_array(graph->arena, uint32_t, graph->input_count + 1);
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i].kind == INPUT_data) new_input[i] = graph_add_input(to, graph->inputs[i]);
    for (NodeId id = 0; id < graph->count; id++) {
        Node node = graph->nodes[id];
        if (!needed[id]) continue;
        if (node.op == OP_input) node.attr.index = new_input[node.attr.index];
        new_id[id] = graph_copy_node(to, &node, new_id);
    }
    graph_copy_outputs(to, graph, new_id);
    graph_free(graph);
    return to;
}
