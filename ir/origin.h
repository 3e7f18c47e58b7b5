/* Where a node or a call came from, as one line of text that travels with it:
 *
 *     encode.h (encode.layers[0]) backward
 *
 * is the layer's name as its parameters' names begin, its place in the description, and the word that says that the
 * gradient needs it. A layer without a name has its place alone; so have "training.optimizer" and its like. */
#ifndef SELFC_IR_ORIGIN_H
#define SELFC_IR_ORIGIN_H
#include "ir/arena.h"

#include <stdbool.h>

/* name: NULL or "" where there is none. */
const char *origin_make(Arena *arena, const char *name, const char *place);
/* The same for the gradient; what already is of a gradient stays. NULL gives NULL. */
const char *origin_backward(Arena *arena, const char *origin);
bool origin_is_backward(const char *origin);
/* The same for work that is done once more in the backward pass: "… again". Never NULL. */
const char *origin_again(Arena *arena, const char *origin);
bool origin_is_again(const char *origin);
/* The name, or the place where there is none. NULL gives NULL. */
const char *origin_name(Arena *arena, const char *origin);
/* What work of this origin is a part of: "forward", "backward", "again", "update", "data", "report", "copy" or
 * "other". */
const char *origin_part(const char *origin);
/* What people call code: "encode.h forward matmul_add_max", and "encode.h+3 forward …" if it serves 3 more layers. */
const char *origin_title(Arena *arena, const char *origin, unsigned others, const char *operations);
#endif
