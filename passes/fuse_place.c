/* Where results live, and in which order groups run.
 *
 * A new value of a state overwrites the old one where it stands, if every other reader can run before (and its own
 * kernel reads the old value only at the place that it writes: fuse.c looks when it has the kernel). Each such promise
 * adds an edge "reader before writer"; an edge that would close a circle makes the update go through a temporary
 * and a copy at the end. A scatter and its base are placed likewise. */
#include "passes/fuse.h"

#include <string.h>

typedef struct {
    const Fusion *f;
    NodeId wanted;
    bool found;
} Find;

static void find_value(void *context, NodeId value) {
    Find *find = context;
    if (value == find->wanted) find->found = true;
}

static bool reads(const Fusion *f, NodeId member, NodeId value) {
    Find find = {f, value, false};
    fuse_each_read(f, member, find_value, &find);
    return find.found;
}

static bool group_reads(const Fusion *f, const Group *group, NodeId value) {
    for (uint32_t i = 0; i < group->count; i++)
        if (reads(f, group->nodes[i], value)) return true;
    return false;
}

static NodeId state_node(const Fusion *f, uint32_t input) {
    for (NodeId id = 0; id < f->graph->count; id++)
        if (f->graph->nodes[id].op == OP_input && f->graph->nodes[id].attr.index == input) return id;
    return NO_NODE;
}

static bool is_output(const Fusion *f, NodeId id) {
    for (uint32_t i = 0; i < f->graph->output_count; i++)
        if (f->graph->outputs[i].node == id) return true;
    return false;
}

static bool readers_can_run_before(Fusion *f, NodeId state, Group *writer) {
    for (uint32_t i = 0; i < f->group_count; i++) {
        Group *reader = f->groups[i];
        if (reader->count && reader != writer && group_reads(f, reader, state) && fuse_reaches(f, reader, writer))
            return false;
    }
    return true;
}

static void promise_readers_first(Fusion *f, NodeId state, Group *writer) {
    for (uint32_t i = 0; i < f->group_count; i++) {
        Group *reader = f->groups[i];
        if (reader->count && reader != writer && group_reads(f, reader, state))
            f->anti[f->anti_count++] = (AntiDependence){reader, writer};
    }
}

static bool update_in_place(Fusion *f, uint32_t input, NodeId update) {
    NodeId state = state_node(f, input);
    Group *writer = f->group_of[update];
    if (!writer || f->buffer[update] != UINT32_MAX) return false;
    if (state == NO_NODE) return true; /* nobody reads the old value */
    if (is_output(f, state) || !readers_can_run_before(f, state, writer)) return false;
    promise_readers_first(f, state, writer);
    return true;
}

static void place_group(Fusion *f, Group *group);

static void place_value(void *context, NodeId value) {
    Fusion *f = context;
    if (f->group_of[value]) place_group(f, f->group_of[value]);
}

static void place_group(Fusion *f, Group *group) {
    if (group->placed) return;
    group->placed = true;
    for (uint32_t i = group->count; i--;) fuse_each_read(f, group->nodes[i], place_value, f);
    for (uint32_t i = 0; i < f->anti_count; i++)
        if (f->anti[i].after == group) place_group(f, f->anti[i].before);
    f->order[f->order_count++] = group;
}

static bool is_placed(const Fusion *f, NodeId value) {
    for (uint32_t i = 0; i < f->graph->output_count; i++)
        if (fuse_value(f->graph, f->graph->outputs[i].node) == value) return true;
    return false;
}

/* A scatter adds to its base where it stands, if that is a value that dies there: both get one buffer. */
static void scatter_in_place(Fusion *f, Group *group) {
    const Graph *g = f->graph;
    NodeId scatter = group->nodes[0], operand = g->nodes[scatter].in[0], base = fuse_value(g, operand);
    uint32_t home = f->buffer[scatter];
    Find find = {f, base, false};
    for (uint32_t i = 1; i < 3; i++) fuse_each_behind(f, g->nodes[scatter].in[i], find_value, &find);
    if (operand != base && g->nodes[operand].in[0] != base) return; /* not as the base lies in memory */
    if (find.found || !f->group_of[base] || is_placed(f, base)) return;
    if (home != UINT32_MAX && f->program->buffers[home].kind == BUFFER_state) return;
    if (!readers_can_run_before(f, base, group)) return;
    promise_readers_first(f, base, group);
    f->shares[scatter] = base;
    f->buffer[base] = home;
}

void fuse_place_outputs(Fusion *f, uint32_t (*final_buffer)(Fusion *f, uint32_t output)) {
    const Graph *g = f->graph;
    uint32_t most = 0;
    for (uint32_t i = 0; i < g->output_count; i++) most += g->outputs[i].updates >= 0;
    for (uint32_t i = 0; i < f->group_count; i++) most += f->groups[i]->count && fuse_is_scatter(f, f->groups[i]);
    f->anti = arena_array(f->scratch, AntiDependence, (size_t)most * f->group_count + 1);
    for (uint32_t i = 0; i < g->output_count; i++) {
        const GraphOutput *out = &g->outputs[i];
        uint32_t home = final_buffer(f, i);
        NodeId value = fuse_value(g, out->node);
        f->program->outputs[i] = (GraphOutput){arena_copy(f->program->arena, out->name), home, out->updates};
        bool direct = out->updates >= 0 ? update_in_place(f, (uint32_t)out->updates, value)
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
