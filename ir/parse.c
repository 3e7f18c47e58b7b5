/* Reads the text that print.c writes, or a person.
 *
 * Each line stands for itself: after an error the next line is read, so that a text shows all its
 * mistakes at once. A node that could not be read keeps its number, and lines that use it are passed
 * over silently instead of blaming them. Numbers in the text are not ids: equal nodes are shared. */
#include "ir/text.h"

#include <string.h>

enum { MOST_INPUTS = 1 << 16 };

typedef struct {
    Scanner *scanner;
    Graph *graph;
    Arena *scratch;
    NodeId *ids; /* number in the text -> node; NO_NODE: it could not be read */
    uint32_t known, capacity;
    bool *declared; /* for each of the graph's inputs */
    uint32_t declared_capacity;
    const char *op_at; /* where the operation of the line stands, for messages about its types */
    bool uses_failed;  /* the line names a node that could not be read */
} Parser;

static void add_number(Parser *parser, NodeId id) {
    parser->ids = arena_grow(parser->scratch, parser->ids, parser->known, &parser->capacity, sizeof id);
    parser->ids[parser->known++] = id;
}

static bool parse_reference(Parser *parser, NodeId *id) {
    Scanner *scanner = parser->scanner;
    int64_t number;
    if (!scan_need(scanner, "%")) return false;
    const char *number_at = scanner->at;
    if (!scan_integer(scanner, 0, UINT32_MAX, &number)) return false;
    if (number >= parser->known) {
        scanner->at = number_at;
        return scan_fail(scanner, "%%%lld is not defined above", (long long)number);
    }
    *id = parser->ids[number];
    parser->uses_failed |= *id == NO_NODE;
    return true;
}

static bool parse_init_values(Scanner *scanner, Init *init) {
    if (!scan_need(scanner, "(") || !scan_number(scanner, &init->a)) return false;
    if (init->kind != INIT_constant && (!scan_need(scanner, ",") || !scan_number(scanner, &init->b))) return false;
    return scan_need(scanner, ")");
}

static bool parse_init(Scanner *scanner, Init *init) {
    static const struct {
        const char *name;
        InitKind kind;
    } kinds[] = {{"constant", INIT_constant}, {"uniform", INIT_uniform}, {"normal", INIT_normal}};
    *init = (Init){0};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!scan_take(scanner, kinds[i].name)) continue;
        init->kind = kinds[i].kind;
        return parse_init_values(scanner, init);
    }
    return true;
}

static bool parse_below(Scanner *scanner, Dim *below) {
    return !scan_take(scanner, "below") ||
           (scan_need(scanner, "(") && scan_integer(scanner, 1, INT64_MAX, below) && scan_need(scanner, ")"));
}

bool parse_input_type(Scanner *scanner, GraphInput *input) {
    if (scan_take(scanner, "data"))
        input->kind = INPUT_data;
    else if (scan_take(scanner, "parameter"))
        input->kind = INPUT_parameter;
    else if (scan_take(scanner, "state"))
        input->kind = INPUT_state;
    else
        return scan_fail(scanner, "expected 'data', 'parameter' or 'state'");
    return parse_init(scanner, &input->init) && parse_below(scanner, &input->below) && scan_need(scanner, ":") &&
           scan_type(scanner, &input->type);
}

/* Makes room for input `index`; false if it was declared before. */
static bool declare(Parser *parser, uint32_t index) {
    Graph *graph = parser->graph;
    while (graph->input_count <= index) graph_add_input(graph, (GraphInput){0});
    if (index >= parser->declared_capacity) {
        uint32_t capacity = graph->input_capacity;
        bool *declared = arena_array(parser->scratch, bool, capacity);
        if (parser->declared_capacity) memcpy(declared, parser->declared, parser->declared_capacity);
        parser->declared = declared;
        parser->declared_capacity = capacity;
    }
    bool first = !parser->declared[index];
    parser->declared[index] = true;
    return first;
}

/* input 0 "x" data : u8[128,784] */
static bool parse_input(Parser *parser, uint32_t *index) {
    Scanner *scanner = parser->scanner;
    GraphInput input = {0};
    char *name;
    if (!scan_index(scanner, MOST_INPUTS, index)) return false;
    if (!declare(parser, *index)) return scan_fail(scanner, "input %u is already there", *index);
    if (!scan_string(scanner, parser->graph->arena, &name) || !parse_input_type(scanner, &input)) return false;
    input.name = name;
    parser->graph->inputs[*index] = input;
    const char *problem = graph_input_problem(parser->graph, *index);
    return problem ? scan_fail(scanner, "%s", problem) : true;
}

static bool parse_axes(Scanner *scanner, uint32_t *axes) {
    int64_t list[MAX_RANK];
    uint32_t count;
    if (!scan_integers(scanner, list, MAX_RANK, &count)) return false;
    *axes = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] < 0 || list[i] >= MAX_RANK)
            return scan_fail(scanner, "axes are numbered from 0 to %d", MAX_RANK - 1);
        *axes |= 1u << list[i];
    }
    return true;
}

/* "start=1,2": how many numbers are needed is only known when the type has been read. */
static bool parse_list(Scanner *scanner, const char *key, int64_t *list, uint32_t *count) {
    return scan_need(scanner, key) && scan_need(scanner, "=") && scan_integers(scanner, list, MAX_RANK, count);
}

static bool parse_permutation(Scanner *scanner, Node *node, uint32_t *count) {
    int64_t list[MAX_RANK];
    if (!parse_list(scanner, "permutation", list, count)) return false;
    for (uint32_t i = 0; i < *count; i++) {
        if (list[i] < 0 || list[i] >= MAX_RANK)
            return scan_fail(scanner, "axes are numbered from 0 to %d", MAX_RANK - 1);
        node->attr.permutation[i] = (uint8_t)list[i];
    }
    return true;
}

static bool parse_keyed_number(Scanner *scanner, const char *key, double *value) {
    return scan_need(scanner, key) && scan_need(scanner, "=") && scan_number(scanner, value);
}

static bool parse_keyed_integer(Scanner *scanner, const char *key, int64_t most, uint32_t *value) {
    int64_t number;
    if (!scan_need(scanner, key) || !scan_need(scanner, "=") || !scan_integer(scanner, 0, most, &number)) return false;
    *value = (uint32_t)number;
    return true;
}

static bool parse_word_and_stream(Scanner *scanner, Node *node) {
    return parse_keyed_integer(scanner, "stream", UINT32_MAX, &node->attr.random.stream) &&
           parse_keyed_integer(scanner, "word", 3, &node->attr.random.word);
}

static bool parse_value(Scanner *scanner, double *value) { return parse_keyed_number(scanner, "value", value); }

/* "stride=2,1": a number for the height, one for the width */
static bool parse_pair(Scanner *scanner, const char *key, int64_t pair[2]) {
    int64_t list[MAX_RANK];
    uint32_t count;
    if (!parse_list(scanner, key, list, &count)) return false;
    if (count != 2) return scan_fail(scanner, "%s needs two numbers, for height and width", key);
    memcpy(pair, list, 2 * sizeof *pair);
    return true;
}

static bool parse_window(Scanner *scanner, Node *node) {
    return parse_pair(scanner, "stride", node->attr.window.stride) &&
           parse_pair(scanner, "dilation", node->attr.window.dilation) &&
           parse_pair(scanner, "before", node->attr.window.before) && parse_value(scanner, &node->attr.window.value);
}

static bool parse_attention(Scanner *scanner, Node *node) {
    bool good = parse_keyed_number(scanner, "scale", &node->attr.attention.scale) &&
                parse_keyed_integer(scanner, "causal", 1, &node->attr.attention.causal);
    if (!good || node->op == OP_attention_norm) return good;
    return parse_keyed_number(scanner, "rate", &node->attr.attention.rate) &&
           parse_keyed_integer(scanner, "stream", UINT32_MAX, &node->attr.attention.stream);
}

/* counts: how many numbers stood in the lists, -1 if there is no such list */
static bool parse_attr(Scanner *scanner, Node *node, int64_t counts[2]) {
    uint32_t first = 0, second = 0;
    counts[0] = counts[1] = -1;
    switch (op_info[node->op].attr) {
    case ATTR_none:
    case ATTR_dtype:
    case ATTR_index: return true;
    case ATTR_value: return parse_value(scanner, &node->attr.value);
    case ATTR_axis:
        return scan_need(scanner, "axis") && scan_need(scanner, "=") && scan_index(scanner, MAX_RANK, &node->attr.axis);
    case ATTR_axes:
        return scan_need(scanner, "axes") && scan_need(scanner, "=") && parse_axes(scanner, &node->attr.axes);
    case ATTR_random: return parse_word_and_stream(scanner, node);
    case ATTR_permutation:
        if (!parse_permutation(scanner, node, &first)) return false;
        counts[0] = first;
        return true;
    case ATTR_slice:
        if (!parse_list(scanner, "start", node->attr.slice.start, &first) ||
            !parse_list(scanner, "step", node->attr.slice.step, &second))
            return false;
        counts[0] = first, counts[1] = second;
        return true;
    case ATTR_pad:
        if (!parse_list(scanner, "before", node->attr.pad.before, &first) ||
            !parse_value(scanner, &node->attr.pad.value))
            return false;
        counts[0] = first;
        return true;
    case ATTR_window: return parse_window(scanner, node);
    case ATTR_attention: return parse_attention(scanner, node);
    }
    return false;
}

static bool parse_op(Parser *parser, OpKind *op) {
    char name[32];
    Scanner *scanner = parser->scanner;
    scan_is_end(scanner);
    parser->op_at = scanner->at;
    if (!scan_name(scanner, name, sizeof name)) return false;
    if (op_find(name, op)) return true;
    const char *names[OP_COUNT];
    for (int i = 0; i < OP_COUNT; i++) names[i] = op_info[i].name;
    const char *nearest = diag_nearest(name, names, OP_COUNT);
    scanner->at = parser->op_at;
    if (nearest) return scan_fail(scanner, "there is no operation '%s'; did you mean '%s'?", name, nearest);
    return scan_fail(scanner, "there is no operation '%s'", name);
}

static bool parse_origin(Scanner *scanner, Arena *arena, const char **origin) {
    char *text;
    *origin = NULL;
    if (!scan_take(scanner, "@")) return true;
    if (!scan_string(scanner, arena, &text)) return false;
    *origin = text;
    return true;
}

/* " %1, %2, axes=0 : f32[1,2]" behind the name of the operation */
static bool parse_operation(Parser *parser, Node *node) {
    Scanner *scanner = parser->scanner;
    const OpInfo *info = &op_info[node->op];
    int64_t counts[2];
    for (uint32_t i = 0; i < info->inputs; i++)
        if ((i && !scan_need(scanner, ",")) || !parse_reference(parser, &node->in[i])) return false;
    bool has_attr = info->attr != ATTR_none && info->attr != ATTR_dtype;
    if (has_attr && info->inputs && !scan_need(scanner, ",")) return false;
    if (!parse_attr(scanner, node, counts)) return false;
    if (!scan_need(scanner, ":") || !scan_type(scanner, &node->type)) return false;
    for (int i = 0; i < 2; i++)
        if (counts[i] >= 0 && counts[i] != (int64_t)node->type.rank)
            return scan_fail(scanner, "each of the %u axes needs a number, but %lld stand there", node->type.rank,
                             (long long)counts[i]);
    return true;
}

static bool add_node(Parser *parser, const Node *node, NodeId *id) {
    const char *why;
    char buffer[128];
    Type type;
    if (parser->uses_failed) return false;
    parser->scanner->at = parser->op_at;
    if (!infer_type(parser->graph, node, &type, &why))
        return scan_fail(parser->scanner, "%s: %s", op_info[node->op].name, why);
    if (!type_equal(type, node->type))
        return scan_fail(parser->scanner, "%s: the type that follows from the inputs is %s", op_info[node->op].name,
                         type_print(type, buffer));
    *id = graph_add(parser->graph, *node);
    return true;
}

/* "= add %1, %2 : f32[2]" behind the number */
static bool parse_definition(Parser *parser, NodeId *id) {
    Scanner *scanner = parser->scanner;
    Node node = {0};
    if (!scan_need(scanner, "=") || !parse_op(parser, &node.op)) return false;
    if (node.op == OP_input) {
        if (!parse_input(parser, &node.attr.index)) return false;
        node.type = parser->graph->inputs[node.attr.index].type;
    } else if (!parse_operation(parser, &node)) {
        return false;
    }
    if (!parse_origin(scanner, parser->scratch, &node.origin) || !scan_need_end(scanner)) return false;
    return add_node(parser, &node, id);
}

static bool parse_node(Parser *parser) {
    int64_t number;
    NodeId id = NO_NODE;
    if (!scan_integer(parser->scanner, 0, UINT32_MAX, &number)) return false;
    if (number != parser->known)
        return scan_fail(parser->scanner, "nodes are numbered in order; this one must be %%%u", parser->known);
    bool good = parse_definition(parser, &id);
    add_number(parser, good ? id : NO_NODE);
    return good;
}

static bool add_output(Parser *parser, const char *name, NodeId node, int32_t updates) {
    if (parser->uses_failed) return false;
    uint32_t index = graph_add_output(parser->graph, name, node, updates);
    const char *problem = graph_output_problem(parser->graph, index);
    if (!problem) return true;
    parser->graph->output_count--;
    return scan_fail(parser->scanner, "%s", problem);
}

static bool parse_output(Parser *parser) {
    NodeId node;
    char *name;
    return scan_string(parser->scanner, parser->scratch, &name) && parse_reference(parser, &node) &&
           scan_need_end(parser->scanner) && add_output(parser, name, node, -1);
}

static bool find_updated(Parser *parser, const char *name, int32_t *index) {
    const Graph *graph = parser->graph;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const GraphInput *input = &graph->inputs[i];
        *index = (int32_t)i;
        if (input->kind != INPUT_data && input->name && !strcmp(input->name, name)) return true;
    }
    return scan_fail(parser->scanner, "there is no parameter or state \"%s\" above", name);
}

/* update "w" %9, or with a name of its own: update "w" %9 as "w.next" */
static bool parse_update(Parser *parser) {
    NodeId node;
    char *updated, *name;
    int32_t index = -1;
    if (!scan_string(parser->scanner, parser->scratch, &updated)) return false;
    if (!find_updated(parser, updated, &index) || !parse_reference(parser, &node)) return false;
    name = updated;
    if (scan_take(parser->scanner, "as") && !scan_string(parser->scanner, parser->scratch, &name)) return false;
    return scan_need_end(parser->scanner) && add_output(parser, name, node, index);
}

static bool parse_line(Parser *parser) {
    uint32_t index;
    parser->uses_failed = false;
    if (scan_take(parser->scanner, "%")) return parse_node(parser);
    if (scan_take(parser->scanner, "input")) return parse_input(parser, &index) && scan_need_end(parser->scanner);
    if (scan_take(parser->scanner, "output")) return parse_output(parser);
    if (scan_take(parser->scanner, "update")) return parse_update(parser);
    return scan_fail(parser->scanner,
                     "expected a node like '%%3 = add %%1, %%2 : f32[2]', 'input', 'output' or 'update'");
}

void parse_lines(Scanner *scanner, Graph *graph, bool in_braces) {
    Parser parser = {.scanner = scanner, .graph = graph, .scratch = arena_new()};
    bool closed = false;
    while (!closed && scan_line(scanner)) {
        closed = in_braces && scan_take(scanner, "}");
        if (!closed) parse_line(&parser);
    }
    if (in_braces && !closed) scan_fail(scanner, "the closing '}' is missing");
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (!parser.declared[i]) {
            scanner->line_failed = false;
            scan_fail(scanner, "input %u is missing, though a later one is there", i);
            break;
        }
    arena_free(parser.scratch);
}

Graph *graph_parse(const char *text, const char *file, Diag *diag) {
    Scanner scanner;
    scan_begin(&scanner, text, file, diag);
    Graph *graph = graph_new(NULL);
    char *name;
    Scanner start = scanner;
    if (scan_line(&scanner) && scan_take(&scanner, "graph")) {
        if (scan_string(&scanner, graph->arena, &name) && scan_need_end(&scanner)) graph->name = name;
    } else {
        scanner = start;
    }
    parse_lines(&scanner, graph, false);
    if (!scanner.failures) return graph;
    graph_free(graph);
    return NULL;
}
