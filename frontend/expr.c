/* Reads formulas by precedence climbing over the table of operators.
 *
 * The depth of the tree is limited, so whoever walks it later may recurse. That counts long sums, too: a + b + c is
 * a tree that leans to the left. */
#include "frontend/expr.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXPR_DEPTH = 200, MAX_ARGUMENTS = 64 };

typedef struct {
    const char *text;
    uint32_t operands, strength;
} OperatorInfo;

static const OperatorInfo operator_info[] = {
#define OPERATOR(name, text, operands, strength, ...) [OPERATOR_##name] = {text, operands, strength},
#include "frontend/operators.def"
};
enum { OPERATOR_COUNT = sizeof operator_info / sizeof *operator_info };

const char *operator_text(Operator op) { return operator_info[op].text; }

typedef struct {
    const Json *json;
    const char *text, *s;
    uint32_t depth; /* of open parentheses and the like */
    bool failed;
    Arena *arena;
    Diag *diag;
} Parser;

static void skip_space(Parser *p) {
    while (isspace((unsigned char)*p->s)) p->s++;
}

/* Only the first mistake of a formula is worth reading. */
static const Expr *complain(Parser *p, const char *text) {
    if (!p->failed) diag_error(p->diag, json_text_place(p->json, (size_t)(p->s - p->text)), "%s", text);
    p->failed = true;
    return NULL;
}

static const Expr *fail(Parser *p, const char *expected) {
    if (!*p->s) return complain(p, arena_printf(p->arena, "the formula ends too early; %s", expected));
    int length = 1;
    while (((unsigned char)p->s[length] & 0xc0) == 0x80) length++;
    return complain(p, arena_printf(p->arena, "'%.*s' cannot stand here in a formula; %s", length, p->s, expected));
}

static bool accept(Parser *p, const char *text) {
    skip_space(p);
    size_t length = strlen(text);
    if (strncmp(p->s, text, length)) return false;
    p->s += length;
    return true;
}

static Expr *new_expr(Parser *p, ExprKind kind, const char *at) {
    Expr *expr = arena_array(p->arena, Expr, 1);
    *expr = (Expr){.kind = kind, .json = p->json, .at = (size_t)(at - p->text), .depth = 1};
    return expr;
}

static const Expr *with_arguments(Parser *p, Expr *expr, uint32_t count, const Expr *const *arguments,
                                  const char *const *names) {
    expr->argument = arena_array(p->arena, const Expr *, count + 1);
    expr->argument_name = arena_array(p->arena, const char *, count + 1);
    expr->count = count;
    for (uint32_t i = 0; i < count; i++) {
        expr->argument[i] = arguments[i];
        if (names) expr->argument_name[i] = names[i];
        if (arguments[i] && arguments[i]->depth >= expr->depth) expr->depth = arguments[i]->depth + 1;
    }
    return expr->depth > MAX_EXPR_DEPTH
               ? complain(p, "the formula has too many parts; give some of them a name in a layer of their own")
               : expr;
}

static const Expr *parse_strength(Parser *p, uint32_t strength);
static const Expr *parse_whole(Parser *p) { return parse_strength(p, 0); }

static size_t name_length(const char *s) {
    size_t length = 0;
    while (isalnum((unsigned char)s[length]) || s[length] == '_') length++;
    return length;
}

/* A name, or a weight's: names joined by dots, of which all but the first may be numbers. */
static size_t path_length(const char *s) {
    size_t length = name_length(s);
    while (length && s[length] == '.' && name_length(s + length + 1)) length += 1 + name_length(s + length + 1);
    return length;
}

/* name= before an argument, but not name==. */
static const char *accept_argument_name(Parser *p) {
    skip_space(p);
    size_t length = isdigit((unsigned char)*p->s) ? 0 : name_length(p->s);
    const char *after = p->s + length + strspn(p->s + length, " ");
    if (!length || after[0] != '=' || after[1] == '=') return NULL;
    const char *name = arena_printf(p->arena, "%.*s", (int)length, p->s);
    p->s = after + 1;
    return name;
}

/* A range of an index: 3, 1:, :, ::2, or what stands for all axes not mentioned. */
static const Expr *parse_range(Parser *p) {
    skip_space(p);
    const char *at = p->s;
    if (accept(p, "...")) return new_expr(p, EXPR_rest, at);
    const Expr *part[3] = {0};
    uint32_t colons = 0;
    for (;; colons++) {
        skip_space(p);
        if (*p->s != ':' && *p->s != ',' && *p->s != ']' && !(part[colons] = parse_whole(p))) return NULL;
        if (colons == 2 || !accept(p, ":")) break;
    }
    if (!colons) return part[0] ? part[0] : fail(p, "a position or a range like 0:3 should stand here");
    return with_arguments(p, new_expr(p, EXPR_range, at), 3, part, NULL);
}

/* What stands between parentheses or brackets, separated by commas. */
static const Expr *parse_arguments(Parser *p, Expr *expr, const Expr *first, const char *close) {
    const Expr *arguments[MAX_ARGUMENTS] = {first};
    const char *names[MAX_ARGUMENTS] = {0};
    uint32_t count = first != NULL;
    if (accept(p, close))
        return count ? fail(p, "a position should stand in the brackets") : with_arguments(p, expr, 0, NULL, NULL);
    do {
        if (count == MAX_ARGUMENTS) return complain(p, "there are too many arguments");
        if (expr->kind == EXPR_call) names[count] = accept_argument_name(p);
        arguments[count] = expr->kind == EXPR_index ? parse_range(p) : parse_whole(p);
        if (!arguments[count++]) return NULL;
    } while (accept(p, ","));
    if (!accept(p, close)) return fail(p, *close == ')' ? "a ',' or ')' is missing" : "a ',' or ']' is missing");
    return with_arguments(p, expr, count, arguments, names);
}

static const Expr *parse_text(Parser *p) {
    size_t length = strcspn(p->s + 1, "'");
    if (p->s[length + 1] != '\'') return complain(p, "this text has no end");
    Expr *expr = new_expr(p, EXPR_text, p->s);
    expr->name = arena_printf(p->arena, "%.*s", (int)length, p->s + 1);
    p->s += length + 2;
    return expr;
}

static const Expr *parse_number(Parser *p) {
    char *end;
    Expr *expr = new_expr(p, EXPR_number, p->s);
    expr->number = strtod(p->s, &end);
    if (p->s[0] == '0' && (p->s[1] == 'x' || p->s[1] == 'X')) return complain(p, "numbers in formulas are decimal");
    if (expr->number > 1e300) return complain(p, "this number is too large");
    p->s = end;
    return expr;
}

static const Expr *parse_atom(Parser *p) {
    skip_space(p);
    const char *at = p->s;
    if (isdigit((unsigned char)*at) || (*at == '.' && isdigit((unsigned char)at[1]))) return parse_number(p);
    if (*at == '\'') return parse_text(p);
    if (accept(p, "(")) {
        const Expr *inner = parse_whole(p);
        if (inner && !accept(p, ")")) return fail(p, "a ')' is missing");
        return inner;
    }
    if (accept(p, "[")) return parse_arguments(p, new_expr(p, EXPR_list, at), NULL, "]");
    size_t length = path_length(at);
    if (!length) return fail(p, "a number, a name or a '(' should stand here");
    const char *name = arena_printf(p->arena, "%.*s", (int)length, at);
    p->s += length;
    Expr *expr = new_expr(p, accept(p, "(") ? EXPR_call : EXPR_name, at);
    expr->name = name;
    return expr->kind == EXPR_call ? parse_arguments(p, expr, NULL, ")") : expr;
}

static const Expr *parse_postfix(Parser *p) {
    const Expr *expr = parse_atom(p);
    while (expr && accept(p, "[")) expr = parse_arguments(p, new_expr(p, EXPR_index, p->text + expr->at), expr, "]");
    return expr;
}

/* The operator with `operands` operands that stands here, or OPERATOR_COUNT. Words must not go on. */
static int peek_operator(Parser *p, uint32_t operands) {
    skip_space(p);
    for (int op = 0; op < OPERATOR_COUNT; op++) {
        size_t length = strlen(operator_info[op].text);
        if (operator_info[op].operands != operands || strncmp(p->s, operator_info[op].text, length)) continue;
        if (!isalpha((unsigned char)*p->s) || name_length(p->s) == length) return op;
    }
    return OPERATOR_COUNT;
}

static const Expr *make_operator(Parser *p, Operator op, const char *at, const Expr *a, const Expr *b) {
    Expr *expr = new_expr(p, EXPR_operator, at);
    expr->op = op;
    return with_arguments(p, expr, b ? 2 : 1, (const Expr *[]){a, b}, NULL);
}

static const Expr *parse_prefix(Parser *p) {
    int op = peek_operator(p, 1);
    if (op == OPERATOR_COUNT) return parse_postfix(p);
    const char *at = p->s;
    p->s += strlen(operator_info[op].text);
    const Expr *a = parse_strength(p, operator_info[op].strength);
    return a ? make_operator(p, (Operator)op, at, a, NULL) : NULL;
}

static const Expr *parse_strength(Parser *p, uint32_t strength) {
    if (++p->depth > MAX_EXPR_DEPTH) return complain(p, "the formula is nested too deeply");
    const Expr *a = parse_prefix(p);
    bool compared = false;
    for (int op; a && (op = peek_operator(p, 2)) != OPERATOR_COUNT && operator_info[op].strength >= strength;) {
        const char *at = p->s;
        bool compares = operator_info[op].strength == operator_info[OPERATOR_less].strength;
        if (compares && compared) return complain(p, "comparisons do not chain; write a < b and b < c");
        compared = compares;
        p->s += strlen(operator_info[op].text);
        const Expr *b = parse_strength(p, operator_info[op].strength + (op != OPERATOR_power));
        a = b ? make_operator(p, (Operator)op, at, a, b) : NULL;
    }
    p->depth--;
    return a;
}

const Expr *expr_parse(const Json *json, Arena *arena, Diag *diag) {
    Parser p = {.json = json, .text = json->text, .s = json->text, .arena = arena, .diag = diag};
    if (json->kind == JSON_number || json->kind == JSON_boolean) {
        p.text = "";
        Expr *number = new_expr(&p, EXPR_number, p.text);
        number->number = json->number;
        return number;
    }
    const Expr *expr = parse_whole(&p);
    skip_space(&p);
    if (expr && *p.s) expr = fail(&p, "an operator or the end should stand here");
    return expr;
}

const Expr *expr_name(const Json *json, const char *name, Arena *arena) {
    Parser p = {.json = json, .text = "", .s = "", .arena = arena};
    Expr *expr = new_expr(&p, EXPR_name, p.text);
    expr->name = name;
    return expr;
}

const Expr *expr_list(const Json *json, const Expr *const *items, uint32_t count, Arena *arena) {
    Parser p = {.json = json, .text = "", .s = "", .arena = arena};
    return with_arguments(&p, new_expr(&p, EXPR_list, p.text), count, items, NULL);
}
