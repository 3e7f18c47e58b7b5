/* What the builders of built-in layers share: their options as values, their weights, and how those begin. */
#ifndef SELFC_FRONTEND_LAYERS_H
#define SELFC_FRONTEND_LAYERS_H
#include "frontend/functions.h"

/* Every LAYER of layers.def. */
#define LAYER(name, ...) Value layer_##name(LayerCall *call);
#define OPTION(...)
#include "frontend/layers.def"

/* layer_options.c. Those that give a bool say nothing more after false: there was a message. */
Value option_value(const LayerCall *call, const char *key, Spot *spot); /* and the place to complain about it */
const Json *option_json(const LayerCall *call, const char *key);        /* NULL: not given */
bool option_number(const LayerCall *call, const char *key, double least, double most, double *number);
bool option_flag(const LayerCall *call, const char *key);
bool option_dim(const LayerCall *call, const char *key, Dim *dim); /* of a weight: without n */
/* Height and width: one whole number for both or a list of two. */
bool option_pair(const LayerCall *call, const char *key, int64_t least, int64_t most, int64_t pair[2]);
/* The same of numbers that need not be whole. */
bool option_factors(const LayerCall *call, const char *key, double least, double most, double pair[2]);
/* Pads: one whole number for all sides, or a list: [height, width] or [top, bottom, left, right]. */
bool option_sides(const LayerCall *call, const char *key, int64_t least, int64_t most, int64_t before[2],
                  int64_t after[2]);
/* From where to where: one number for both or a list of two, in order. */
bool option_range(const LayerCall *call, const char *key, double least, double most, double range[2], bool *is_list);
/* One number for all, or a list of `count`. */
bool option_numbers(const LayerCall *call, const char *key, uint32_t count, double least, double most, double *number);
bool option_init(const LayerCall *call, const char *key, double fan_in, double fan_out, Init *init);
Init init_constant(double value);
Init init_uniform(double bound); /* in [-bound, bound) */
Init init_normal(double deviation);

Value layer_activated(LayerCall *call, Value x); /* option "activation" */
/* The only input as f32; rank is the least it may have. */
bool layer_input(LayerCall *call, uint32_t rank, NodeId *x, Type *type);
NodeId layer_weight(LayerCall *call, const char *name, Type type, InputKind kind, Init init);
/* x + bias[features], if option "bias" says so. */
Value layer_biased(LayerCall *call, Value x, Dim features, Init init);
#endif
