/* How fast attention runs when it is compiled alone: the result, and the result with the gradients.
 *
 *     bench_attention THREADS < SHAPES
 *
 * A line of SHAPES is `batch queries keys heads width causal rate seconds`; queries, keys and values lie as a dense
 * layer leaves them, [batch, positions, heads * width]. The answer is a line for each direction, as alone.h prints it.
 * Equal lines one after another share the compiled code, so whoever drives this can let rivals take turns. */
#include "bench/alone.h"
#include "ir/attention.h"
#include "ir/build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t batch, queries, keys, heads, width, causal;
    double rate;
} Shape;

enum { DIRECTIONS = 2 };
static const char *const direction_names[DIRECTIONS] = {"forward", "both"};

static NodeId operand(Graph *g, const char *name, const Shape *s, int64_t positions) {
    Type type = type_make(DTYPE_f32, 3, (Dim[]){s->batch, positions, s->heads * s->width});
    NodeId x = build_input(g, name, INPUT_data, type, (Init){0});
    return build_reshape(g, x, 4, (Dim[]){s->batch, positions, s->heads, s->width});
}

static NodeId numbers(Graph *g, const char *name, Dim count) {
    return build_input(g, name, INPUT_data, type_make(DTYPE_i32, 1, &count), (Init){0});
}

static Graph *shape_graph(const Shape *s, bool with_gradients) {
    Graph *g = graph_new("attention");
    Arena *scratch = arena_new();
    NodeId operands[3] = {operand(g, "q", s, s->queries), operand(g, "k", s, s->keys), operand(g, "v", s, s->keys)};
    NodeId key = s->rate != 0 ? numbers(g, "key", 3) : NO_NODE;
    NodeId sample = s->rate != 0 ? numbers(g, "sample", s->batch) : NO_NODE, result[3];
    NodeId y = build_attention(g, operands[0], operands[1], operands[2], NO_NODE, 1 / sqrt((double)s->width), s->causal,
                               s->rate, key, sample, 0);
    graph_add_output(g, "y", y, -1);
    if (with_gradients) {
        differentiate(g, y, operand(g, "dy", s, s->queries), operands, 3, result, scratch);
        for (int i = 0; i < 3; i++) graph_add_output(g, (const char *[]){"dq", "dk", "dv"}[i], result[i], -1);
    }
    arena_free(scratch);
    return g;
}

int main(int argc, char **argv) {
    int threads = argc == 2 ? atoi(argv[1]) : 0;
    if (threads < 1) return fprintf(stderr, "usage: bench_attention THREADS < SHAPES\n"), 2;
    Arena *arena = arena_new();
    Target target;
    Diag diag;
    diag_init(&diag);
    if (!target_make(NULL, NULL, arena, &target, &diag)) die("%s", diag.text);
    Alone compiled[DIRECTIONS] = {0};
    Shape shape, last = {0};
    double seconds;
    printf("ready 0\n");
    fflush(stdout);
    while (scanf("%ld %ld %ld %ld %ld %ld %lf %lf", &shape.batch, &shape.queries, &shape.keys, &shape.heads,
                 &shape.width, &shape.causal, &shape.rate, &seconds) == 8) {
        for (int d = 0; d < DIRECTIONS; d++) {
            if (memcmp(&shape, &last, sizeof shape)) {
                alone_release(&compiled[d]);
                compiled[d] = alone_compile(shape_graph(&shape, d), &target, threads);
            }
            alone_measure(&compiled[d], direction_names[d], seconds);
        }
        last = shape;
    }
    for (int d = 0; d < DIRECTIONS; d++) alone_release(&compiled[d]);
    diag_free(&diag);
    arena_free(arena);
    return 0;
}
