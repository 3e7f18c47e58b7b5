/* What fuse.c (grouping, emission), fuse_again.c (what is computed again), fuse_slopes.c (what is computed early),
 * fuse_sums.c (products with sums of their rows), fuse_join.c (when a node may join a group) and fuse_place.c (in-place
 * updates and the order of groups) share. */
#ifndef SELFC_PASSES_FUSE_H
#define SELFC_PASSES_FUSE_H
#include "ir/program.h"

/* Operations that will be one kernel. The index space is written without axes of size 1. A node of the group is
 * full (its axes of a size other than 1 are all axes of the space, in order) or, where the space has reduced axes,
 * a row (they are the axes that are not reduced). */
typedef struct {
    NodeId *nodes;       /* latest first */
    uint32_t count, capacity;
    uint32_t rank;
    Dim dim[MAX_RANK];
    uint32_t reduced;    /* axes of the space that reductions run over */
    NodeId product;      /* the matmul, or NO_NODE; then nothing is reduced */
    bool is_attention;   /* siblings of ir/attention.h, which nothing else joins */
    bool seen, placed;   /* marks of a walk; of the final order */
} Group;

typedef struct {
    NodeId *nodes;       /* members of groups that read the node, through views or not */
    uint32_t count, capacity;
} Uses;

typedef struct {
    NodeId from;         /* the value */
    uint32_t to;         /* the buffer that wants it */
} Copy;

typedef struct {
    Group *before, *after;
} AntiDependence;        /* `before` reads a state's old value, `after` overwrites it */

typedef struct {
    const Graph *graph;
    Arena *scratch;
    bool *stored;        /* the node's value must be in memory */
    bool *again;         /* the node is computed again by whoever reads it (fuse_again.c) */
    bool *apart;         /* the node joins no user's group (fuse_slopes.c) */
    Group **group_of;    /* NULL for inputs and for views that are not stored */
    Uses *users;
    Group **groups;      /* all that were started; merged ones have count 0 */
    uint32_t group_count;
    AntiDependence *anti;
    uint32_t anti_count;

    Program *program;
    uint32_t *buffer;       /* per node; UINT32_MAX: none yet */
    NodeId *shares;         /* per node: whose buffer it gets, if it has none yet; NO_NODE: one of its own */
    uint32_t *state_buffer; /* per input of the graph */
    Group **order;
    uint32_t order_count;
    Copy *copies;           /* done at the end */
    uint32_t copy_count;
} Fusion;

/* fuse_join.c */
Fusion *fuse_new(const Graph *graph, Arena *scratch);
/* Costs nothing to compute again: index operations, constants, iota, and masks made of those. */
bool fuse_is_view(const Graph *graph, NodeId id);
bool fuse_is_free(const Fusion *f, NodeId id);    /* a view, or computed again: in no group of its own */
NodeId fuse_value(const Graph *graph, NodeId id); /* the computed node whose bytes a reshape shows; else id */
bool fuse_is_scatter(const Fusion *f, const Group *group);
void fuse_start_group(Fusion *f, NodeId id);
void fuse_add(Fusion *f, Group *group, NodeId id); /* as the group's earliest member: else fuse_sort */
void fuse_sort(Group *group);
bool fuse_join(Fusion *f, NodeId id);             /* all users of id have their group */
void fuse_join_alike(Fusion *f, NodeId id);        /* id has its group: may those of its twins be the same? */
void fuse_note_uses(Fusion *f, NodeId id);        /* id has its group: tell what it reads */
bool fuse_reaches(Fusion *f, Group *from, const Group *to); /* does `from` need, directly or not, what `to` computes? */
/* Calls visit(context, value) for each non-view (or stored view) that stands behind id, which may be one itself; that
 * member id reads. */
void fuse_each_behind(const Fusion *f, NodeId id, void (*visit)(void *context, NodeId value), void *context);
void fuse_each_read(const Fusion *f, NodeId id, void (*visit)(void *context, NodeId value), void *context);

/* fuse_again.c */
void fuse_mark_again(Fusion *f);

/* fuse_slopes.c */
void fuse_mark_slopes(Fusion *f);

/* fuse_sums.c: products whose rows are added up begin their groups. */
enum { MOST_CHAIN = 8 /* elementwise operations between a product and a sum of its rows */ };
void fuse_join_sums(Fusion *f);

/* fuse_place.c: gives each output of the graph its buffer, orders the groups, and lists the copies that remain. */
void fuse_place_outputs(Fusion *f, uint32_t (*final_buffer)(Fusion *f, uint32_t output));
#endif
