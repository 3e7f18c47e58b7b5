/* The text of a graph, which parse.c reads back:
 *
 *   graph "vae.train"
 *   %0 = input 0 "x" data : u8[128,784]
 *   %1 = cast %0 : f32[128,784]
 *   %2 = sum %1, axes=0,1 : f32[1,1] @ "training.layers[0]"
 *   output "loss" %2
 *
 * An input whose node is gone keeps a line without a number, so that positions stay. */
#include "ir/text.h"

#include <stdlib.h>
#include <string.h>

static void print_type(Type type, FILE *out) {
    char buffer[128];
    fputs(type_print(type, buffer), out);
}

static void print_init(Init init, FILE *out) {
    switch (init.kind) {
    case INIT_zero: return;
    case INIT_constant: fputs(" constant(", out); break;
    case INIT_uniform: fputs(" uniform(", out); break;
    case INIT_normal: fputs(" normal(", out); break;
    }
    text_put_number(init.a, out);
    if (init.kind != INIT_constant) fputc(',', out), text_put_number(init.b, out);
    fputc(')', out);
}

void print_input_type(const GraphInput *input, FILE *out) {
    switch (input->kind) {
    case INPUT_data: fputs("data", out); break;
    case INPUT_parameter: fputs("parameter", out); break;
    case INPUT_state: fputs("state", out); break;
    }
    print_init(input->init, out);
    if (input->below) fprintf(out, " below(%lld)", (long long)input->below);
    fputs(" : ", out);
    print_type(input->type, out);
}

static void print_input(const Graph *graph, uint32_t index, FILE *out) {
    fprintf(out, "input %u ", index);
    text_put_string(graph->inputs[index].name, out);
    fputc(' ', out);
    print_input_type(&graph->inputs[index], out);
}

static void print_axes(uint32_t axes, FILE *out) {
    for (uint32_t i = 0, printed = 0; i < MAX_RANK; i++)
        if (axes >> i & 1) fprintf(out, printed++ ? ",%u" : "%u", i);
}

static void print_attr(const Node *node, FILE *out) {
    const Attr *attr = &node->attr;
    const uint32_t rank = node->type.rank;
    switch (op_info[node->op].attr) {
    case ATTR_none:
    case ATTR_dtype:
    case ATTR_index: break;
    case ATTR_value:
        fputs("value=", out);
        text_put_number(attr->value, out);
        break;
    case ATTR_axis: fprintf(out, "axis=%u", attr->axis); break;
    case ATTR_axes:
        fputs("axes=", out);
        print_axes(attr->axes, out);
        break;
    case ATTR_random: fprintf(out, "stream=%u word=%u", attr->random.stream, attr->random.word); break;
    case ATTR_permutation:
        fputs("permutation=", out);
        for (uint32_t i = 0; i < rank; i++) fprintf(out, i ? ",%u" : "%u", attr->permutation[i]);
        break;
    case ATTR_slice:
        fputs("start=", out);
        text_put_integers(attr->slice.start, rank, out);
        fputs(" step=", out);
        text_put_integers(attr->slice.step, rank, out);
        break;
    case ATTR_pad:
        fputs("before=", out);
        text_put_integers(attr->pad.before, rank, out);
        fputs(" value=", out);
        text_put_number(attr->pad.value, out);
        break;
    case ATTR_window:
        fputs("stride=", out);
        text_put_integers(attr->window.stride, 2, out);
        fputs(" dilation=", out);
        text_put_integers(attr->window.dilation, 2, out);
        fputs(" before=", out);
        text_put_integers(attr->window.before, 2, out);
        fputs(" value=", out);
        text_put_number(attr->window.value, out);
        break;
    case ATTR_attention:
        fputs("scale=", out);
        text_put_number(attr->attention.scale, out);
        fprintf(out, " causal=%u", attr->attention.causal);
        if (node->op == OP_attention_norm) break;
        fputs(" rate=", out);
        text_put_number(attr->attention.rate, out);
        fprintf(out, " stream=%u", attr->attention.stream);
        break;
    }
}

static bool prints_attr(AttrKind attr) { return attr != ATTR_none && attr != ATTR_dtype; }

static void print_node(const Graph *graph, NodeId id, FILE *out) {
    const Node *node = &graph->nodes[id];
    const OpInfo *info = &op_info[node->op];
    fprintf(out, "%%%u = ", id);
    if (node->op == OP_input) {
        print_input(graph, node->attr.index, out);
    } else {
        fputs(info->name, out);
        for (uint32_t i = 0; i < info->inputs; i++) fprintf(out, i ? ", %%%u" : " %%%u", node->in[i]);
        if (prints_attr(info->attr)) fputs(info->inputs ? ", " : " ", out);
        print_attr(node, out);
        fputs(" : ", out);
        print_type(node->type, out);
    }
    if (node->origin) {
        fputs(" @ ", out);
        text_put_string(node->origin, out);
    }
    fputc('\n', out);
}

static bool has_node(const Graph *graph, uint32_t input) {
    for (NodeId id = 0; id < graph->count; id++)
        if (graph->nodes[id].op == OP_input && graph->nodes[id].attr.index == input) return true;
    return false;
}

static void print_output(const Graph *graph, const GraphOutput *output, FILE *out) {
    const char *name = output->name ? output->name : "";
    if (output->updates < 0) {
        fputs("output ", out);
        text_put_string(name, out);
        fprintf(out, " %%%u\n", output->node);
        return;
    }
    const char *updated = graph->inputs[output->updates].name;
    fputs("update ", out);
    text_put_string(updated, out);
    fprintf(out, " %%%u", output->node);
    if (!updated || strcmp(updated, name)) {
        fputs(" as ", out);
        text_put_string(name, out);
    }
    fputc('\n', out);
}

void print_lines(const Graph *graph, const char *indent, FILE *out) {
    for (NodeId id = 0; id < graph->count; id++) {
        fputs(indent, out);
        print_node(graph, id, out);
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (has_node(graph, i)) continue;
        fputs(indent, out);
        print_input(graph, i, out);
        fputc('\n', out);
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        fputs(indent, out);
        print_output(graph, &graph->outputs[i], out);
    }
}

void graph_print(const Graph *graph, FILE *out) {
    if (graph->name) {
        fputs("graph ", out);
        text_put_string(graph->name, out);
        fputc('\n', out);
    }
    print_lines(graph, "", out);
}

char *graph_text(const Graph *graph, Arena *arena) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) die("out of memory");
    graph_print(graph, out);
    if (fclose(out)) die("out of memory");
    char *copy = arena_copy(arena, text);
    free(text);
    return copy;
}
