/* What fuse.c (grouping, emission), fuse_again.c (what is computed again), fuse_slopes.c (what is computed early),
 * fuse_sums.c (products with sums of their rows), fuse_join.c (when a node may join a group), fuse_walk.c (which group
 * needs which) and fuse_place.c (in-place updates and the order of groups) share. */
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
    bool placed;         /* in the final order */
    uint64_t seen, wanted; /* the last walk that came here; that wanted to */
    struct Promise *later, *earlier; /* with groups that must run after it; before it */
} Group;

/* `before` reads what `after` overwrites. */
typedef struct Promise {
    Group *before, *after;
    struct Promise *next_later, *next_earlier;
} Promise;

typedef struct {
    NodeId *nodes;
    uint32_t count, capacity;
} NodeList;

typedef struct {
    NodeId from;         /* the value */
    uint32_t to;         /* the buffer that wants it */
} Copy;

typedef struct {
    const Graph *graph;
    Arena *scratch;
    bool *view;          /* the node costs nothing to compute again */
    bool *stored;        /* the node's value must be in memory */
    bool *again;         /* the node is computed again by whoever reads it (fuse_again.c) */
    bool *apart;         /* the node joins no user's group (fuse_slopes.c) */
    Group **group_of;    /* NULL for inputs and for views that are not stored */
    NodeList *reads;     /* of members of groups: the values, through views or not */
    NodeList *users;     /* the members that read a value, latest first */
    Group **groups;      /* all that were started; merged ones have count 0 */
    uint32_t group_count;
    uint64_t walk;          /* how many there were */
    uint64_t *passed;       /* per node: the last walk that went on to its readers */
    Group **waiting;        /* where the walk goes on */
    uint32_t waiting_count;

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
bool fuse_is_view(const Fusion *f, NodeId id);
bool fuse_is_free(const Fusion *f, NodeId id);   /* a view, or computed again: in no group of its own */
NodeId fuse_value(const Fusion *f, NodeId id);   /* the computed node whose bytes a reshape shows; else id */
bool fuse_is_scatter(const Fusion *f, const Group *group);
void fuse_start_group(Fusion *f, NodeId id);
void fuse_add(Fusion *f, Group *group, NodeId id); /* as the group's earliest member: else fuse_sort */
void fuse_sort(Group *group);
bool fuse_join(Fusion *f, NodeId id);             /* all users of id have their group */
void fuse_join_alike(Fusion *f, NodeId id);        /* id has its group: may those of its twins be the same? */

/* fuse_walk.c */
void fuse_push(Arena *arena, NodeId **list, uint32_t *count, uint32_t *capacity, NodeId id);
void fuse_find_reads(Fusion *f);                               /* and users, once it is known what is stored */
bool fuse_wants_group(const Fusion *f, NodeId id);             /* something reads it in memory, or as a member */
bool fuse_is_behind(const Fusion *f, NodeId value, NodeId id); /* does `value` stand behind id, or is it the same? */
void fuse_promise(Fusion *f, Group *before, Group *after);
/* Does one of the groups walked to need, directly or not, what one of those walked from computes? */
void fuse_walk_begin(Fusion *f);
void fuse_walk_from(Fusion *f, Group *group);
void fuse_walk_to(Fusion *f, Group *group);
bool fuse_walk_arrives(Fusion *f);
bool fuse_needs(Fusion *f, Group *group, Group *other);

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
