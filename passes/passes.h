/* Graph → Graph → Program. A graph pass reads one graph and builds another; a program pass completes a
 * program in place. Only pipeline.c runs them: it verifies after each, dumps, times, and names the pass
 * that broke something together with the command that repeats it. */
#ifndef SELFC_PASSES_H
#define SELFC_PASSES_H
#include "ir/graph.h"
#include "ir/program.h"

typedef void GraphPass(const Graph *from, Graph *to, Arena *scratch);
typedef void ProgramPass(Program *program, const Machine *machine);

typedef struct {
    const char *name, *summary;
    GraphPass *graph;     /* one of the three is set */
    Program *(*lower)(const Graph *from, const Machine *machine);
    ProgramPass *program;
    bool wants_preparing; /* skipped where nothing is prepared */
} Pass;
extern const Pass pass_list[];
extern const size_t pass_count;
const Pass *pass_find(const char *name);

typedef struct {
    const char *dump;       /* print what this pass made to stderr; "all" for every pass; may be NULL */
    const char *stop_after; /* return when this pass has run; may be NULL */
    bool check_meaning;     /* evaluate before and after each pass on random inputs; BUG names the pass */
    bool times;             /* print milliseconds of each pass to stderr */
    Machine machine;
} PipelineOptions;

/* The user-facing check before differentiation: every gradient that is asked for can be computed. Messages name
 * the layer (origin) and operation. */
bool autodiff_check(const Graph *graph, Diag *diag);

/* The list in passes.def, in order. Exactly one of *graph_out (stopped before lowering) and *program_out is set.
 * `graph` is only read. */
void pipeline_run(const Graph *graph, const PipelineOptions *options, Graph **graph_out, Program **program_out);
/* The passes over programs that stand behind the pass `behind`: goes on where a stop_after has stopped. */
void pipeline_go_on(Program *program, const char *behind, const PipelineOptions *options);
/* The passes named in "simplify,dce"; for `selfc --passes`. An unknown name is a diag error and false. */
bool pipeline_run_named(const Graph *graph, const char *names, const PipelineOptions *options, Diag *diag,
                        Graph **graph_out, Program **program_out);

/* order.c: an estimate of a call's time in nanoseconds on one core: 50 operations or 10 bytes each. */
double order_work(const Kernel *kernel);

/* prepare.c: of what the prepare part writes, what the others read is kept, and the rest is temporary. */
void prepare_keep(Program *program);

/* schedule.c: pieces of a map kernel, and an estimate of its work. */
void schedule_map(Kernel *kernel, const Machine *machine);

/* fuse_sums.c: the latest product that elementwise work in its shape leads to from `id`; NO_NODE: none. */
NodeId fuse_product_under(const Graph *graph, NodeId id);

/* autodiff.c: the gradient of node y with respect to nodes wanted[count], given dy (same shape as y): the tool of
 * the pass and of the gradient tests. Adds to g; result[i] is NO_NODE where y does not depend on wanted[i]. */
void differentiate(Graph *g, NodeId y, NodeId dy, const NodeId *wanted, uint32_t count, NodeId *result, Arena *scratch);
#endif
