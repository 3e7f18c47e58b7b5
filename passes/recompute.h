/* What recompute.c (replaying a choice, the search), recompute_cut.c (segments) and recompute_defer.c (updates that
 * wait) share. */
#ifndef SELFC_PASSES_RECOMPUTE_H
#define SELFC_PASSES_RECOMPUTE_H
#include "passes/passes.h"

#define NO_CALL UINT32_MAX

typedef struct {
    const Program *program;  /* ordered */
    Arena *arena;
    uint32_t turn;           /* the last phase of the forward part */
    uint32_t *first, *last;  /* of each buffer: its phases */
    uint32_t *writer;        /* of each buffer: the call that makes it, or NO_CALL */
    uint32_t *until;         /* of each call: it can be done again up to this phase */
    int64_t little;          /* bytes that are not worth a thought */
    int64_t *bytes;          /* of each temporary; 0 for other buffers */
    bool *may;               /* of each buffer: is it worth being made again, and can it be? */
} Recompute;

/* recompute.c */
const Kernel *recompute_kernel(const Recompute *r, uint32_t call);
bool recompute_is_candidate(const Recompute *r, uint32_t buffer); /* of the forward part, and may be made again */

/* recompute_defer.c. Moves updates of states that keep forward work from being done again to the last phase of
 * `program`, which is r->program. false: there were none. */
bool recompute_defer(const Recompute *r, Program *program);

/* recompute_cut.c */
int64_t recompute_total(const Recompute *r); /* bytes of candidates that are read behind the turn */
/* Marks what is made again if the forward part is cut into segments of at most `size` such bytes where the fewest
 * bytes cross, and what crosses is kept. */
void recompute_cut(const Recompute *r, int64_t size, bool *again);
#endif
