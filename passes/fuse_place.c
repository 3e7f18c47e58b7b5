/* Where results live, and in which order groups run.
 *
 * A new value of a state overwrites the old one where it stands, if every other reader can run before (and its own
 * kernel reads the old value only at the place that it writes: fuse.c looks when it has the kernel). Each such promise
 * adds an edge "reader before writer"; an edge that would close a circle makes the update go through a temporary
 * and a copy at the end. A scatter and its base are placed likewise. */
#include "passes/fuse.h"

#include <string.h>

/* The node of each input; NO_NODE if nobody reads it. */
static const NodeId *input_nodes(const Fusion *f) {
    NodeId *nodes = arena_array(f->scratch, NodeId, f->graph->input_count + 1);
    memset(nodes, 0xff, f->graph->input_count * sizeof *nodes);
    for (NodeId id = f->graph->count; id--;)
        if (f->graph->nodes[id].op == OP_input) nodes[f->graph->nodes[id].attr.index] = id;
    return nodes;
}

static bool is_output(const Fusion *f, NodeId id) {
    for (uint32_t i = 0; i < f->graph->output_count; i++)
        if (f->graph->outputs[i].node == id) return true;
    return false;
}

/* Promises that all other readers of the value run before the writer, if they can. */
static bool readers_run_first(Fusion *f, NodeId value, Group *writer) {
    const NodeList *users = &f->users[value];
    fuse_walk_begin(f);
    fuse_walk_from(f, writer);
    for (uint32_t i = 0; i < users->count; i++) {
        Group *reader = f->group_of[users->nodes[i]];
        if (reader != writer) fuse_walk_to(f, reader);
    }
    if (fuse_walk_arrives(f)) return false;
    for (uint32_t i = 0; i < users->count; i++) {
        Group *reader = f->group_of[users->nodes[i]];
        if (reader != writer && (!writer->earlier || writer->earlier->before != reader))
            fuse_promise(f, reader, writer);
    }
    return true;
}

static bool update_in_place(Fusion *f, NodeId state, NodeId update) {
    Group *writer = f->group_of[update];
    if (!writer || f->buffer[update] != UINT32_MAX) return false;
    if (state == NO_NODE) return true; /* nobody reads the old value */
    return !is_output(f, state) && readers_run_first(f, state, writer);
}

static void place_group(Fusion *f, Group *group) {
    if (group->placed) return;
    group->placed = true;
    for (uint32_t i = group->count; i--;) {
        const NodeList *reads = &f->reads[group->nodes[i]];
        for (uint32_t k = 0; k < reads->count; k++)
            if (f->group_of[reads->nodes[k]]) place_group(f, f->group_of[reads->nodes[k]]);
    }
    for (const Promise *promise = group->earlier; promise; promise = promise->next_earlier)
        place_group(f, promise->before);
    f->order[f->order_count++] = group;
}

static bool is_placed(const Fusion *f, NodeId value) {
    for (uint32_t i = 0; i < f->graph->output_count; i++)
        if (fuse_value(f, f->graph->outputs[i].node) == value) return true;
    return false;
}

/* A scatter adds to its base where it stands, if that is a value that dies there: both get one buffer. */
static void scatter_in_place(Fusion *f, Group *group) {
    const Graph *g = f->graph;
    NodeId scatter = group->nodes[0], operand = g->nodes[scatter].in[0], base = fuse_value(f, operand);
    uint32_t home = f->buffer[scatter];
    bool is_read_elsewhere = false;
    for (uint32_t i = 1; i < 3; i++) is_read_elsewhere |= fuse_is_behind(f, base, g->nodes[scatter].in[i]);
    if (operand != base && g->nodes[operand].in[0] != base) return; /* not as the base lies in memory */
    if (is_read_elsewhere || !f->group_of[base] || is_placed(f, base)) return;
    if (home != UINT32_MAX && f->program->buffers[home].kind == BUFFER_state) return;
    if (!readers_run_first(f, base, group)) return;
    f->shares[scatter] = base;
    f->buffer[base] = home;
}

void fuse_place_outputs(Fusion *f, uint32_t (*final_buffer)(Fusion *f, uint32_t output)) {
    const Graph *g = f->graph;
    const NodeId *state = input_nodes(f);
    for (uint32_t i = 0; i < g->output_count; i++) {
        const GraphOutput *out = &g->outputs[i];
        uint32_t home = final_buffer(f, i);
        NodeId value = fuse_value(f, out->node);
        f->program->outputs[i] = (GraphOutput){arena_copy(f->program->arena, out->name), home, out->updates};
        bool direct = out->updates >= 0 ? update_in_place(f, state[out->updates], value)
                                        : f->group_of[value] && f->buffer[value] == UINT32_MAX;
        if (direct)
            f->buffer[value] = home;
        else
            f->copies[f->copy_count++] = (Copy){value, home};
    }
    for (uint32_t i = 0; i < f->group_count; i++)
        if (f->groups[i]->count && fuse_is_scatter(f, f->groups[i])) scatter_in_place(f, f->groups[i]);
    for (uint32_t i = f->group_count; i--;)
        if (f->groups[i]->count) place_group(f, f->groups[i]);
}
