/* Layers of texts: rows for tokens, attention between them.
 *
 * Tokens are whole numbers [n, S]; what is made of them are rows [n, S, width]. */
#include "frontend/layers.h"

#include <math.h>

/* Whole numbers of any shape as i32; false after a message. */
static bool whole_input(LayerCall *call, uint32_t i, const char *what, NodeId *whole, Type *type) {
    Lower *l = call->l;
    Value *value = &call->inputs[i];
    if (!to_tensor(l, call->spot, value)) return false;
    *type = value_type(l, value->node);
    if (dtype_info[type->dtype].is_float || type->dtype == DTYPE_bool)
        return lower_fail(l, call->spot, "\"%s\": %s are whole numbers, but these are %s", call->layer->info->name,
                          what, type_text(l, *type)),
               false;
    *whole = build_cast(l->g, value->node, DTYPE_i32);
    return true;
}

/* How many numbers there are if they are 0, 1, 2 …; else 0. */
static Dim count_of_row(Lower *l, NodeId index) {
    const Node *node = &l->g->nodes[index];
    return node->op == OP_iota && node->type.rank == 1 ? node->type.dim[0] : 0;
}

/* Positions of a text are no data: that they reach too far is known here. */
static bool has_rows_for(LayerCall *call, NodeId index, Dim size) {
    Dim count = count_of_row(call->l, index);
    if (count <= size) return true;
    return lower_fail(call->l, call->spot, "there are %lld positions, but \"size\" has rows for %lld only",
                      (long long)count, (long long)size),
           false;
}

/* The rows of a table that `index`, i32 of any shape, names. Neighbours are a part of it, whose gradient needs no
 * search. */
static NodeId rows_at(Lower *l, NodeId table, NodeId index) {
    Type type = value_type(l, index), row = value_type(l, table), taken = row;
    taken.dim[0] = type_elements(type);
    if (count_of_row(l, index) > 0) return build_slice(l->g, table, taken, (int64_t[]){0, 0}, (int64_t[]){1, 1});
    taken.dtype = DTYPE_i32;
    NodeId column = build_reshape(l->g, index, 2, (Dim[]){taken.dim[0], 1});
    NodeId rows = build_gather(l->g, table, build_broadcast(l->g, column, taken), 0);
    type.dim[type.rank++] = row.dim[1];
    return build_reshape(l->g, rows, type.rank, type.dim);
}

Value layer_embedding(LayerCall *call) {
    Lower *l = call->l;
    NodeId index;
    Type type;
    Dim size, units;
    Init init = init_normal(0.02);
    bool has_size = option_dim(call, "size", &size), has_units = option_dim(call, "units", &units);
    if (!whole_input(call, 0, "the numbers of rows", &index, &type) || !has_size || !has_units) return value_unknown();
    if (type.rank == MAX_RANK) return lower_fail(l, call->spot, "%s has no room for another axis", type_text(l, type));
    if (option_json(call, "init") && !option_init(call, "init", (double)size, (double)units, &init))
        return value_unknown();
    NodeId table = layer_weight(call, "weight", type_make(DTYPE_f32, 2, (Dim[]){size, units}), INPUT_parameter, init);
    if (table == NO_NODE || !has_rows_for(call, index, size)) return value_unknown();
    limit_labels(l, call->inputs[0].node, size);
    return value_tensor(rows_at(l, table, index));
}
