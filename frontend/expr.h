/* Formulas as trees: "mean + exp(0.5 * log_var) * normal(mean)".
 *
 *   or   and   not   == != < <= > >=   + -   * / @   - (sign)   ^   x[..]  f(..)      loosest to tightest
 *
 * 2^3^2 is 2^(3^2), -x^2 is -(x^2), and comparisons do not chain. A name with dots, "word.weight", is a weight's. */
#ifndef SELFC_FRONTEND_EXPR_H
#define SELFC_FRONTEND_EXPR_H
#include "frontend/json.h"

typedef enum {
    EXPR_number,
    EXPR_name,
    EXPR_text,
    EXPR_operator, /* argument[0..count): one or two */
    EXPR_call,     /* name(argument, …) */
    EXPR_index,    /* argument[0] [argument[1], …] */
    EXPR_list,     /* [argument, …] */
    EXPR_range,    /* a:b:c inside an index; what is left out is NULL */
    EXPR_rest      /* ... inside an index */
} ExprKind;

typedef enum {
#define OPERATOR(name, ...) OPERATOR_##name,
#include "frontend/operators.def"
} Operator;

typedef struct Expr Expr;
struct Expr {
    ExprKind kind;
    Operator op;
    double number;
    const char *name; /* of names and calls; a text's value */
    const Expr **argument;
    const char **argument_name; /* NULL where an argument has none */
    uint32_t count, depth;
    const Json *json; /* the value that holds the formula */
    size_t at;        /* bytes into its text */
};

/* The string or number in json; NULL after a message. */
const Expr *expr_parse(const Json *json, Arena *arena, Diag *diag);
const Expr *expr_name(const Json *json, const char *name, Arena *arena); /* a formula that is one name */
const Expr *expr_list(const Json *json, const Expr *const *items, uint32_t count, Arena *arena);
const char *operator_text(Operator op);
#endif
