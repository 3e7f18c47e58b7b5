/* How fast single convolutions run when they are compiled alone: forward, by data and by weights.
 *
 *     bench_conv THREADS < LAYERS
 *
 * A line of LAYERS is `batch side channels units size stride seconds`; pads are size / 2. The answer is a line for each
 * direction, `NAME MEDIAN RUNS`: the median seconds of one run, from runs that took about `seconds` together (three at
 * least). Equal lines one after another share the compiled code, so whoever drives this can let rivals take turns.
 *
 * Each direction is a graph of its own: the two gradients know the incoming gradient as an input, and nothing of the
 * forward convolution is left in them. All tensors are inputs, so weights come as they lie in memory. */
#include "bench/alone.h"
#include "ir/build.h"
#include "ir/build_conv.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t batch, side, channels, units, size, stride;
} Layer;

typedef enum { FORWARD, BY_DATA, BY_WEIGHTS } Direction;
enum { DIRECTIONS = 3 };
static const char *const direction_names[DIRECTIONS] = {"forward", "by-data", "by-weights"};

static NodeId input(Graph *g, const char *name, int64_t a, int64_t b, int64_t c, int64_t d) {
    Type type = type_make(DTYPE_f32, 4, (Dim[]){a, b, c, d});
    return build_input(g, name, INPUT_data, type, (Init){0});
}

static Graph *layer_graph(const Layer *l, Direction direction) {
    Graph *g = graph_new(direction_names[direction]);
    Arena *scratch = arena_new();
    int64_t pad = l->size / 2;
    Sliding sliding = {{l->stride, l->stride}, {1, 1}, {pad, pad}, {pad, pad}};
    NodeId x = input(g, "x", l->batch, l->side, l->side, l->channels);
    NodeId w = input(g, "w", l->size, l->size, l->channels, l->units);
    NodeId result = build_conv2d(g, x, w, &sliding, 1);
    if (direction != FORWARD) {
        int64_t places = build_conv_places(l->side, l->size, &sliding, 0);
        NodeId y = result, dy = input(g, "dy", l->batch, places, places, l->units);
        differentiate(g, y, dy, direction == BY_DATA ? &x : &w, 1, &result, scratch);
    }
    graph_add_output(g, "result", result, -1);
    arena_free(scratch);
    return g;
}

int main(int argc, char **argv) {
    int threads = argc == 2 ? atoi(argv[1]) : 0;
    if (threads < 1) return fprintf(stderr, "usage: bench_conv THREADS < LAYERS\n"), 2;
    Arena *arena = arena_new();
    Target target;
    Diag diag;
    diag_init(&diag);
    if (!target_make(NULL, NULL, arena, &target, &diag)) die("%s", diag.text);
    Alone compiled[DIRECTIONS] = {0};
    Layer layer, last = {0};
    double seconds;
    printf("ready 0\n");
    fflush(stdout);
    while (scanf("%ld %ld %ld %ld %ld %ld %lf", &layer.batch, &layer.side, &layer.channels, &layer.units, &layer.size,
                 &layer.stride, &seconds) == 7) {
        for (int d = 0; d < DIRECTIONS; d++) {
            if (memcmp(&layer, &last, sizeof layer)) {
                alone_release(&compiled[d]);
                compiled[d] = alone_compile(layer_graph(&layer, (Direction)d), &target, threads);
            }
            alone_measure(&compiled[d], direction_names[d], seconds);
        }
        last = layer;
    }
    for (int d = 0; d < DIRECTIONS; d++) alone_release(&compiled[d]);
    diag_free(&diag);
    arena_free(arena);
    return 0;
}
