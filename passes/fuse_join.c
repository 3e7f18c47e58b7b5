/* When may a node join the kernel of its users?
 *
 * 1. Every path from the group to the node is aligned: a user at some place of the index space needs the node at
 *    that same place (full), or at that place with the reduced axes left out (row). Broadcasts and reshapes that
 *    only add or drop axes of size 1 keep a path aligned.
 * 2. A reduction makes its axes the group's reduced axes; if it has others, it does not fit. A group that
 *    was computing at rows alone grows by the axes of the first reduction that joins.
 * 3. A product joins a group that reduces nothing and has no product: the group becomes its epilogue.
 * 4. Attention is a kernel of its own, which its siblings alone join; and so is a scatter.
 * 5. No group in between: if the group needs a result of another user of the node, joining would make a circle.
 * 6., 7. and 8. stand below, where they are looked at. */
#include "ir/attention.h"
#include "passes/fuse.h"

#include <string.h>

enum { NO_AXIS = -1 };

/* For each axis of a node the axis of the space that it walks along; NO_AXIS for axes of size 1. */
typedef struct {
    int axis[MAX_RANK];
    bool aligned;
} AxisMap;

static bool is_cheap_of_positions(OpKind op) {
    return op == OP_equal || op == OP_less || op == OP_and || op == OP_or || op == OP_not || op == OP_add ||
           op == OP_sub || op == OP_cast || op == OP_select;
}

/* Little work on positions and constants alone, such as the mask of a diagonal: sooner computed than loaded. */
static bool is_made_of_positions(const Graph *graph, NodeId id, uint32_t depth) {
    const Node *node = &graph->nodes[id];
    if (node->op == OP_constant || node->op == OP_iota) return true;
    if (!depth || !(op_info[node->op].class == CLASS_index || is_cheap_of_positions(node->op))) return false;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (!is_made_of_positions(graph, node->in[i], depth - 1)) return false;
    return true;
}

static bool is_view(const Graph *graph, NodeId id) {
    enum { MOST_DEPTH = 4 };
    const Node *node = &graph->nodes[id];
    return op_info[node->op].class == CLASS_index || node->op == OP_constant || node->op == OP_iota ||
           (is_cheap_of_positions(node->op) && is_made_of_positions(graph, id, MOST_DEPTH));
}

bool fuse_is_view(const Fusion *f, NodeId id) { return f->view[id]; }
bool fuse_is_free(const Fusion *f, NodeId id) { return f->again[id] || f->view[id]; }

NodeId fuse_value(const Fusion *f, NodeId id) {
    const Graph *graph = f->graph;
    NodeId under = id;
    while (graph->nodes[under].op == OP_reshape) under = graph->nodes[under].in[0];
    return fuse_is_view(f, under) || graph->nodes[under].op == OP_input ? id : under;
}

Fusion *fuse_new(const Graph *graph, Arena *scratch) {
    Fusion *f = arena_alloc(scratch, sizeof *f);
    f->graph = graph;
    f->scratch = scratch;
    f->view = arena_array(scratch, bool, graph->count + 1);
    for (NodeId id = 0; id < graph->count; id++) f->view[id] = is_view(graph, id);
    f->stored = arena_array(scratch, bool, graph->count + 1);
    f->again = arena_array(scratch, bool, graph->count + 1);
    f->apart = arena_array(scratch, bool, graph->count + 1);
    f->group_of = arena_array(scratch, Group *, graph->count + 1);
    f->reads = arena_array(scratch, NodeList, graph->count + 1);
    f->users = arena_array(scratch, NodeList, graph->count + 1);
    f->groups = arena_array(scratch, Group *, graph->count + 1);
    f->waiting = arena_array(scratch, Group *, graph->count + 1);
    f->passed = arena_array(scratch, uint64_t, graph->count + 1);
    f->order = arena_array(scratch, Group *, graph->count + 1);
    f->copies = arena_array(scratch, Copy, graph->output_count + 1);
    f->buffer = arena_array(scratch, uint32_t, graph->count + 1);
    f->shares = arena_array(scratch, NodeId, graph->count + 1);
    memset(f->shares, 0xff, graph->count * sizeof *f->shares);
    f->state_buffer = arena_array(scratch, uint32_t, graph->input_count + 1);
    return f;
}

void fuse_add(Fusion *f, Group *group, NodeId id) {
    fuse_push(f->scratch, &group->nodes, &group->count, &group->capacity, id);
    f->group_of[id] = group;
}

/* Members stand latest first, so that a kernel's body is built from its results down. */
void fuse_sort(Group *group) {
    for (uint32_t i = 1; i < group->count; i++)
        for (uint32_t j = i; j && group->nodes[j - 1] < group->nodes[j]; j--) {
            NodeId swap = group->nodes[j];
            group->nodes[j] = group->nodes[j - 1];
            group->nodes[j - 1] = swap;
        }
}

static uint32_t sized_axes(const Type *type) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < type->rank; i++) count += type->dim[i] != 1;
    return count;
}

bool fuse_is_scatter(const Fusion *f, const Group *group) {
    return f->graph->nodes[group->nodes[0]].op == OP_scatter_add;
}

void fuse_start_group(Fusion *f, NodeId id) {
    Group *group = arena_alloc(f->scratch, sizeof *group);
    const Node *node = &f->graph->nodes[id];
    const Type *space = op_info[node->op].class == CLASS_reduce ? &f->graph->nodes[node->in[0]].type : &node->type;
    group->product = node->op == OP_matmul ? id : NO_NODE;
    group->is_attention = attention_is(node->op);
    for (uint32_t i = 0; i < space->rank; i++) {
        if (space->dim[i] == 1) continue;
        if (op_info[node->op].class == CLASS_reduce && node->attr.axes >> i & 1) group->reduced |= 1u << group->rank;
        group->dim[group->rank++] = space->dim[i];
    }
    f->groups[f->group_count++] = group;
    fuse_add(f, group, id);
}

/* Along which axes of its group's space does a member walk? */
static AxisMap member_map(const Fusion *f, NodeId id) {
    const Group *group = f->group_of[id];
    const Type *type = &f->graph->nodes[id].type;
    AxisMap map = {.aligned = true};
    bool full = sized_axes(type) == group->rank;
    int next = 0;
    for (uint32_t i = 0; i < type->rank; i++) {
        map.axis[i] = NO_AXIS;
        if (type->dim[i] == 1) continue;
        while (!full && group->reduced >> next & 1) next++;
        map.axis[i] = next++;
    }
    return map;
}

static AxisMap through_reshape(AxisMap map, const Type *from, const Type *to) {
    AxisMap result = {.aligned = map.aligned};
    uint32_t at = 0;
    for (uint32_t i = 0; i < to->rank; i++) {
        result.axis[i] = NO_AXIS;
        if (to->dim[i] == 1) continue;
        while (at < from->rank && from->dim[at] == 1) at++;
        if (at == from->rank || from->dim[at] != to->dim[i]) return (AxisMap){.aligned = false};
        result.axis[i] = map.axis[at++];
    }
    while (at < from->rank && from->dim[at] == 1) at++;
    if (at < from->rank) result.aligned = false;
    return result;
}

/* The map of a view's operand, from the view's own. */
static AxisMap through_view(const Fusion *f, NodeId view, uint32_t operand, AxisMap map) {
    const Graph *g = f->graph;
    const Node *node = &g->nodes[view];
    const Type *from = &g->nodes[node->in[0]].type;
    AxisMap result = map;
    if (!fuse_is_view(f, view)) return result;                /* computed again, element by element */
    if (node->op == OP_gather && operand == 1) return result; /* its positions are asked for where the result is */
    if (node->op == OP_broadcast) {
        for (uint32_t i = 0; i < from->rank; i++)
            if (from->dim[i] == 1) result.axis[i] = NO_AXIS;
    } else if (node->op == OP_reshape) {
        result = through_reshape(map, &node->type, from);
    } else if (node->op == OP_transpose) {
        for (uint32_t i = 0; i < from->rank; i++) result.axis[node->attr.permutation[i]] = map.axis[i];
    } else {
        result.aligned = false;
    }
    return result;
}

/* Is the space's axis set `wanted`, in order, what the map walks along? */
static bool map_is(AxisMap map, const Type *type, uint32_t rank, uint32_t wanted) {
    int next = 0;
    for (uint32_t i = 0; i < type->rank; i++) {
        if (map.axis[i] == NO_AXIS) continue;
        while (next < (int)rank && !(wanted >> next & 1)) next++;
        if (next >= (int)rank || map.axis[i] != next) return false;
        next++;
    }
    while (next < (int)rank && !(wanted >> next & 1)) next++;
    return next >= (int)rank;
}

static uint32_t all_axes(const Group *group) { return (1u << group->rank) - 1; }

/* How a reduction would change the group: its new space. */
typedef struct {
    uint32_t rank, reduced;
    Dim dim[MAX_RANK];
} Space;

/* A reduction fits if the axes it keeps are the group's, with its own between them: the operand's shape is the
 * group's space already, or will be. */
static bool reduction_fits(const Graph *g, const Group *group, NodeId id, AxisMap map, Space *space) {
    const Node *node = &g->nodes[id];
    const Type *from = &g->nodes[node->in[0]].type;
    uint32_t kept[MAX_RANK], kept_count = 0;
    *space = (Space){0};
    for (uint32_t i = 0; i < from->rank; i++) {
        if (from->dim[i] == 1) continue;
        if (node->attr.axes >> i & 1)
            space->reduced |= 1u << space->rank;
        else if (map.axis[i] == NO_AXIS)
            return false;
        else
            kept[kept_count++] = (uint32_t)map.axis[i];
        space->dim[space->rank++] = from->dim[i];
    }
    bool same_space = space->rank == group->rank && !memcmp(space->dim, group->dim, sizeof space->dim);
    if (same_space && (!group->reduced || group->reduced == space->reduced)) {
        uint32_t next = 0;
        for (uint32_t axis = 0; axis < space->rank; axis++)
            if (!(space->reduced >> axis & 1) && (next == kept_count || kept[next++] != axis)) return false;
        return next == kept_count;
    }
    if (group->reduced || kept_count != group->rank) return false;
    for (uint32_t i = 0; i < kept_count; i++)
        if (kept[i] != i) return false;
    return space->rank > group->rank;
}

static bool value_fits(const Fusion *f, const Group *group, NodeId id, AxisMap map, Space *space) {
    const Node *node = &f->graph->nodes[id];
    *space = (Space){group->rank, group->reduced, {0}};
    memcpy(space->dim, group->dim, sizeof space->dim);
    if (!map.aligned) return false;
    bool full = map_is(map, &node->type, group->rank, all_axes(group));
    if (node->op == OP_scatter_add) return false;
    if (node->op == OP_matmul) return full && !group->reduced && group->product == NO_NODE;
    if (op_info[node->op].class == CLASS_reduce)
        return group->product == NO_NODE && reduction_fits(f->graph, group, id, map, space);
    return full || (group->reduced && map_is(map, &node->type, group->rank, all_axes(group) & ~group->reduced));
}

/* Walks all paths from operand `at` down to `id`. */
static bool paths_fit(const Fusion *f, const Group *group, NodeId at, AxisMap map, NodeId id, Space *space) {
    if (at == id) return value_fits(f, group, id, map, space);
    if (!fuse_is_free(f, at) || f->stored[at]) return true;
    const Node *node = &f->graph->nodes[at];
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (!paths_fit(f, group, node->in[i], through_view(f, at, i, map), id, space)) return false;
    return true;
}

static bool user_fits(const Fusion *f, const Group *group, NodeId user, NodeId id, Space *space) {
    const Node *node = &f->graph->nodes[user];
    AxisMap map = member_map(f, user);
    bool is_alone = node->op == OP_matmul || node->op == OP_random || node->op == OP_scatter_add;
    if (is_alone || attention_is(node->op)) map.aligned = false;
    if (op_info[node->op].class == CLASS_reduce) {
        int next = 0;
        const Type *from = &f->graph->nodes[node->in[0]].type;
        for (uint32_t i = 0; i < from->rank; i++) map.axis[i] = from->dim[i] == 1 ? NO_AXIS : next++;
        if ((uint32_t)next != group->rank) map.aligned = false;
    }
    if (fuse_is_view(f, user)) { /* a stored view: the path begins with the view itself */
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
            if (!paths_fit(f, group, node->in[i], through_view(f, user, i, map), id, space)) return false;
        return true;
    }
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++)
        if (!paths_fit(f, group, node->in[i], map, id, space)) return false;
    return true;
}

static bool all_users_fit(const Fusion *f, const Group *group, NodeId id, Space *space) {
    const NodeList *uses = &f->users[id];
    for (uint32_t i = 0; i < uses->count; i++)
        if (f->group_of[uses->nodes[i]] == group && !user_fits(f, group, uses->nodes[i], id, space)) return false;
    return true;
}

/* No other user's group may stand between the node and the group. */
static bool makes_circle(Fusion *f, Group *group, NodeId id) {
    const NodeList *uses = &f->users[id];
    fuse_walk_begin(f);
    fuse_walk_to(f, group);
    for (uint32_t i = 0; i < uses->count; i++) {
        Group *other = f->group_of[uses->nodes[i]];
        if (other != group) fuse_walk_from(f, other);
    }
    return fuse_walk_arrives(f);
}

static bool can_merge(Fusion *f, Group *a, Group *b) {
    if (a->rank != b->rank || memcmp(a->dim, b->dim, sizeof a->dim)) return false;
    if (a->reduced && b->reduced && a->reduced != b->reduced) return false;
    if (a->product != NO_NODE || b->product != NO_NODE || a->is_attention || b->is_attention) return false;
    if (fuse_is_scatter(f, a) || fuse_is_scatter(f, b)) return false;
    return !fuse_needs(f, a, b) && !fuse_needs(f, b, a);
}

static void merge(Fusion *f, Group *into, Group *from) {
    into->reduced |= from->reduced;
    for (uint32_t i = 0; i < from->count; i++) fuse_add(f, into, from->nodes[i]);
    from->count = 0;
    fuse_sort(into);
}

/* Makes one group of all users' groups, if each pair can be merged. A node that fits each of them keeps its value in
 * registers then. */
static Group *merge_user_groups(Fusion *f, NodeId id) {
    const NodeList *uses = &f->users[id];
    Group *first = uses->count ? f->group_of[uses->nodes[0]] : NULL;
    for (uint32_t i = 0; i < uses->count; i++) {
        Group *group = f->group_of[uses->nodes[i]];
        Space space;
        if (!all_users_fit(f, group, id, &space)) return NULL;
        if (group != first && !can_merge(f, first, group)) return NULL;
    }
    for (uint32_t i = 0; i < uses->count; i++) {
        Group *group = f->group_of[uses->nodes[i]];
        if (group == first) continue;
        if (!can_merge(f, first, group)) return NULL; /* the merge before may have closed a way */
        merge(f, first, group);
    }
    return first;
}

/* 6. A value that must be in memory anyway stays out of a group that sums down columns: to read it once more costs less
 *    than to walk everything that leads to it column by column. */
static bool sums_columns_of_stored(const Fusion *f, const Group *group, NodeId id) {
    return f->stored[id] && group->reduced && !(group->reduced >> (group->rank - 1) & 1);
}

static bool join_group(Fusion *f, Group *group, NodeId id) {
    Space space = {0};
    if (group->is_attention || sums_columns_of_stored(f, group, id)) return false;
    if (!all_users_fit(f, group, id, &space) || makes_circle(f, group, id)) return false;
    group->rank = space.rank;
    group->reduced = space.reduced;
    memcpy(group->dim, space.dim, sizeof group->dim);
    if (f->graph->nodes[id].op == OP_matmul) group->product = id;
    fuse_add(f, group, id);
    return true;
}

/* A sibling's group, if nothing stands in between. */
static bool join_siblings(Fusion *f, NodeId id) {
    for (uint32_t i = 0; i < f->group_count; i++) {
        Group *group = f->groups[i];
        if (!group->is_attention || !attention_are_siblings(f->graph, group->nodes[0], id)) continue;
        if (makes_circle(f, group, id)) continue;
        fuse_add(f, group, id);
        const NodeList *uses = &f->users[id];
        for (uint32_t k = 0; k < uses->count; k++) f->stored[id] |= f->group_of[uses->nodes[k]] != group;
        return true;
    }
    return false;
}

static bool is_maximum(OpKind op) { return op == OP_reduce_max || op == OP_argmax; }

static bool are_twins(const Node *a, const Node *b) {
    return is_maximum(a->op) && is_maximum(b->op) && a->in[0] == b->in[0] && a->attr.axes == b->attr.axes;
}

static NodeId first_behind_views(const Graph *g, NodeId id) {
    while (op_info[g->nodes[id].op].class == CLASS_index) id = g->nodes[id].in[0];
    return id;
}

/* Do both take elements of parts of one value (or of what begins with one) from the same places? */
static bool take_alike(const Graph *g, const Node *a, const Node *b) {
    return a->op == OP_gather && b->op == OP_gather && a->in[1] == b->in[1] && a->attr.axis == b->attr.axis &&
           a->in[0] != b->in[0] && first_behind_views(g, a->in[0]) == first_behind_views(g, b->in[0]);
}

static bool reads_alike(const Graph *g, const Node *a, const Node *b) {
    for (uint32_t i = 0; i < op_info[a->op].inputs; i++)
        for (uint32_t k = 0; k < op_info[b->op].inputs; k++)
            if (take_alike(g, &g->nodes[a->in[i]], &g->nodes[b->in[k]])) return true;
    return false;
}

/* 7. Colours of a picture that are taken from the same places are taken in one walk: places are found once, and what
 *    one colour read is at hand for the next. */
static void join_takers(Fusion *f, NodeId id) {
    const Graph *g = f->graph;
    bool takes = false;
    for (uint32_t i = 0; i < op_info[g->nodes[id].op].inputs; i++)
        takes |= g->nodes[g->nodes[id].in[i]].op == OP_gather;
    for (NodeId other = id + 1; takes && other < g->count; other++) {
        Group *group = f->group_of[other], *own = f->group_of[id];
        if (!group || group == own || !reads_alike(g, &g->nodes[id], &g->nodes[other])) continue;
        if (group->reduced == own->reduced && can_merge(f, own, group)) merge(f, own, group);
    }
}

/* 8. The largest elements and where they stand come from one walk, whoever reads them. */
void fuse_join_alike(Fusion *f, NodeId id) {
    const Graph *g = f->graph;
    Group *own = f->group_of[id];
    if (own) join_takers(f, id);
    own = f->group_of[id];
    for (NodeId other = id + 1; own && is_maximum(g->nodes[id].op) && other < g->count; other++) {
        Group *group = f->group_of[other];
        if (!group || group == own || !are_twins(&g->nodes[id], &g->nodes[other])) continue;
        if (group->reduced != own->reduced || !can_merge(f, own, group)) continue;
        merge(f, own, group);
        return;
    }
}

bool fuse_join(Fusion *f, NodeId id) {
    if (attention_is(f->graph->nodes[id].op)) return join_siblings(f, id);
    const NodeList *uses = &f->users[id];
    Group *one = merge_user_groups(f, id);
    if (one && join_group(f, one, id)) return true;
    for (uint32_t i = 0; i < uses->count; i++)
        if (join_group(f, f->group_of[uses->nodes[i]], id))
            return f->stored[id] = true; /* the others read it from memory */
    return false;
}
