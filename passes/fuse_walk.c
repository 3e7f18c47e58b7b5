/* Who reads what, and which group needs which.
 *
 * Between a value (what is computed, or stored) and who reads it stand views and what is computed again, which are in
 * no group. So what a node reads is found once, behind these, and a group needs another where a walk from values to
 * readers, group by group, leads from the one to the other. That a group must run before another, which overwrites what
 * the first reads, is a step of such walks, too. */
#include "passes/fuse.h"

#include <string.h>

void fuse_push(Arena *arena, NodeId **list, uint32_t *count, uint32_t *capacity, NodeId id) {
    if (*count == *capacity) {
        uint32_t more = *capacity ? *capacity * 2 : 4;
        NodeId *copy = arena_array(arena, NodeId, more);
        if (*count) memcpy(copy, *list, *count * sizeof **list);
        *list = copy;
        *capacity = more;
    }
    (*list)[(*count)++] = id;
}

static void add(Arena *arena, NodeList *list, NodeId id) {
    fuse_push(arena, &list->nodes, &list->count, &list->capacity, id);
}

static bool holds(const NodeList *list, NodeId id) {
    for (uint32_t i = 0; i < list->count; i++)
        if (list->nodes[i] == id) return true;
    return false;
}

static void add_behind(const Fusion *f, NodeList *found, NodeId id) {
    const Node *node = &f->graph->nodes[id];
    if (!fuse_is_free(f, id) || f->stored[id]) {
        if (!holds(found, id)) add(f->scratch, found, id);
        return;
    }
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) add_behind(f, found, node->in[i]);
}

bool fuse_is_behind(const Fusion *f, NodeId value, NodeId id) {
    NodeList found = {0};
    add_behind(f, &found, id);
    return holds(&found, value);
}

bool fuse_wants_group(const Fusion *f, NodeId id) {
    return f->graph->nodes[id].op != OP_input && (f->stored[id] || (!fuse_is_free(f, id) && f->users[id].count));
}

void fuse_find_reads(Fusion *f) {
    for (NodeId id = f->graph->count; id--;) {
        const Node *node = &f->graph->nodes[id];
        if (!f->group_of[id] && !fuse_wants_group(f, id)) continue;
        for (uint32_t i = 0; i < op_info[node->op].inputs; i++) add_behind(f, &f->reads[id], node->in[i]);
        for (uint32_t i = 0; i < f->reads[id].count; i++) add(f->scratch, &f->users[f->reads[id].nodes[i]], id);
    }
}

void fuse_promise(Fusion *f, Group *before, Group *after) {
    Promise *promise = arena_alloc(f->scratch, sizeof *promise);
    *promise = (Promise){before, after, before->later, after->earlier};
    before->later = after->earlier = promise;
}

/* ---- walks ---- */

void fuse_walk_begin(Fusion *f) { f->walk++, f->waiting_count = 0; }
void fuse_walk_to(Fusion *f, Group *group) { group->wanted = f->walk; }

void fuse_walk_from(Fusion *f, Group *group) {
    if (group->seen == f->walk) return;
    group->seen = f->walk;
    f->waiting[f->waiting_count++] = group;
}

/* A step to a group; whether it is one that is wanted. */
static bool step(Fusion *f, Group *group) {
    fuse_walk_from(f, group);
    return group->wanted == f->walk;
}

/* Steps to who reads the value; what has no group yet is walked through, once. */
static bool steps_to_readers(Fusion *f, NodeId value) {
    const NodeList *users = &f->users[value];
    if (f->passed[value] == f->walk) return false;
    f->passed[value] = f->walk;
    for (uint32_t i = 0; i < users->count; i++) {
        NodeId reader = users->nodes[i];
        if (f->group_of[reader] ? step(f, f->group_of[reader]) : steps_to_readers(f, reader)) return true;
    }
    return false;
}

static bool steps_from(Fusion *f, const Group *group) {
    for (uint32_t i = 0; i < group->count; i++)
        if (steps_to_readers(f, group->nodes[i])) return true;
    for (const Promise *promise = group->later; promise; promise = promise->next_later)
        if (step(f, promise->after)) return true;
    return false;
}

bool fuse_walk_arrives(Fusion *f) {
    while (f->waiting_count)
        if (steps_from(f, f->waiting[--f->waiting_count])) return true;
    return false;
}

bool fuse_needs(Fusion *f, Group *group, Group *other) {
    fuse_walk_begin(f);
    fuse_walk_from(f, other);
    fuse_walk_to(f, group);
    return fuse_walk_arrives(f);
}
