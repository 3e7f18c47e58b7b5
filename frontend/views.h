/* The pictures that `selfc preview` shows. */
#ifndef SELFC_FRONTEND_VIEWS_H
#define SELFC_FRONTEND_VIEWS_H
#include "frontend/lower.h"

enum { MOST_SHOWN = 32 };

typedef struct {
    const char *name;
    NodeId node; /* f32[k·n, height, width], perhaps with 1 or 3 channels behind: k views, one batch after the other */
} View;

/* Views among what is bound in the scope of a training, whose layers have been lowered; how many. */
uint32_t views_find(const Lower *l, const Scope *scope, View views[MOST_SHOWN]);
/* The first data input that is a picture, as layers see it; false: none is. */
bool views_original(const Lower *l, const Scope *scope, View *view);
/* What the outputs need, without parameters and states, on which views do not depend. Frees the graph that it is
 * given. */
Graph *views_alone(Graph *graph);
#endif
