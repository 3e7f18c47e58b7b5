/* What the layers that change pictures share: pictures taken apart into planes, and numbers for each sample.
 *
 * A plane is one channel, f32[n, height, width]. Rows of planes fill vectors whatever the number of channels, and what
 * several layers do with a plane, element by element, is one walk over it: so these layers take pictures apart and put
 * them together again, and where one follows another both cancel out.
 *
 * A number for each sample is f32[n, 1, 1]. Each that is drawn has a stream of its own (random.c), in the order in which
 * the builders draw them. */
#ifndef SELFC_FRONTEND_AUGMENT_H
#define SELFC_FRONTEND_AUGMENT_H
#include "frontend/layers.h"

enum { MOST_CHANNELS = 64 };

typedef struct {
    Lower *l;
    Dim n;
    int64_t height, width;
    uint32_t channels;
    bool has_axis;  /* of channels */
    NodeId *plane;  /* of each channel */
} Planes;

/* Of the layer's first input; false after a message. */
bool planes_of(LayerCall *call, Planes *planes);
Value planes_joined(const Planes *planes);
Type planes_type(const Planes *planes);
/* The same planes with other nodes, all NO_NODE. */
Planes planes_like(const Planes *planes, int64_t height, int64_t width);
/* Three channels are taken for red, green and blue. */
static inline bool planes_have_colour(const Planes *planes) { return planes->channels == 3; }
NodeId planes_gray(const Planes *planes); /* how bright each pixel is */
/* yes[i] where the condition, bool[n,1,1] or NO_NODE for always, holds; the same of whole pictures. */
Planes planes_where(const Planes *yes, const Planes *no, NodeId condition);
NodeId where_drawn(Lower *l, NodeId condition, NodeId yes, NodeId no);

/* A batch of pictures before it is taken apart, f32[n, height, width, channels]; false after a message. */
bool picture_of(LayerCall *call, Planes *planes, NodeId *x);

Value picture_result(const Planes *planes, NodeId x); /* without the axis of channels if there was none */

Type sample_type(Dim n); /* f32[n,1,1] */
NodeId sample_constant(Lower *l, Dim n, double value);
NodeId sample_uniform(Lower *l, Dim n, const double range[2]);
/* bool[n,1,1], true with probability p; NO_NODE for 1: always. */
NodeId sample_chance(Lower *l, Dim n, double p);

/* Short forms; of two operands, the second is repeated to the shape of the first. */
NodeId spread_to(Lower *l, NodeId a, Type type);
NodeId node_binary(Lower *l, OpKind op, NodeId a, NodeId b);
NodeId node_at_least(Lower *l, NodeId a, double least);
NodeId node_at_most(Lower *l, NodeId a, double most);
NodeId node_where(Lower *l, NodeId condition, NodeId yes, NodeId no);
NodeId node_round(Lower *l, NodeId a); /* to the nearest whole number, halves up */
NodeId node_floor(Lower *l, NodeId a);
NodeId node_whole(Lower *l, NodeId a); /* as i32 */

/* A part of each picture: numbers for each sample, in pixels. */
typedef struct {
    NodeId top, left, height, width;
} Part;

/* How a random part is drawn: its share of the picture's area, its width over its height. */
typedef struct {
    double scale[2], ratio[2];
    bool turned;    /* ratio is height over width */
    bool is_proper; /* smaller than the picture in both directions */
} PartRange;

/* What torchvision does in up to ten tries, all drawn at once: the first part that fits, and in *found (bool) whether
 * there is one. height, width: of the pictures. */
Part part_drawn(Lower *l, Dim n, NodeId height, NodeId width, const PartRange *range, NodeId *found);
NodeId part_holds(Lower *l, const Planes *planes, const Part *part); /* bool[n,height,width,1]: is the pixel in it? */
#endif
