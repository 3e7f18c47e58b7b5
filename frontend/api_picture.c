/* Graphs and programs for people: dot for Graphviz, and HTML pages that open from disk and need nothing else.
 *
 * The page of a graph is its listing with every %7 a link, and who uses a node beside it. The page of a program has the
 * calls by phase and a map of the arena: time to the right, addresses upwards, a box for each temporary. */
#include "frontend/api.h"

#include <string.h>

static const char *const picture_colour[] = {
    [CLASS_leaf] = "#e8e8e8",      [CLASS_unary] = "#d6eaff",   [CLASS_function] = "#d6eaff",
    [CLASS_binary] = "#d6eaff",    [CLASS_ternary] = "#d6eaff", [CLASS_index] = "#fff3c4",
    [CLASS_reduce] = "#d9f2d9",    [CLASS_scatter] = "#d9f2d9", [CLASS_contract] = "#ffd6cc",
    [CLASS_attention] = "#ffccec", [CLASS_meta] = "#ead6ff",
};

/* Quotes for dot and escapes for HTML at once: neither likes these. */
static void picture_text(const char *text, FILE *out) {
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else if (*text == '"')
            fputs("&quot;", out);
        else
            fputc(*text, out);
    }
}

/* --- dot --- */

void picture_graph_dot(const Graph *graph, FILE *out) {
    char type[128];
    fprintf(out, "digraph graph_ {\n  rankdir=TB;\n  node [shape=box, style=filled, fontname=\"sans-serif\"];\n");
    for (NodeId id = 0; id < graph->count; id++) {
        const Node *node = &graph->nodes[id];
        const OpInfo *info = &op_info[node->op];
        fprintf(out, "  n%u [fillcolor=\"%s\", label=\"%%%u %s", id, picture_colour[info->class], id, info->name);
        if (node->op == OP_input) fprintf(out, " "), picture_text(graph->inputs[node->attr.index].name, out);
        fprintf(out, "\\n%s\"];\n", type_print(node->type, type));
        for (uint32_t i = 0; i < info->inputs; i++) fprintf(out, "  n%u -> n%u;\n", node->in[i], id);
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        fprintf(out, "  o%u [shape=ellipse, fillcolor=white, label=\"", i);
        picture_text(graph->outputs[i].name, out);
        fprintf(out, "\"];\n  n%u -> o%u;\n", graph->outputs[i].node, i);
    }
    fprintf(out, "}\n");
}

static const char *const kernel_colour[] = {[KERNEL_map] = "#d6eaff",
                                            [KERNEL_contract] = "#ffd6cc",
                                            [KERNEL_attention] = "#ffccec",
                                            [KERNEL_scatter] = "#d9f2d9"};

void picture_program_dot(const Program *program, FILE *out) {
    char type[128];
    fprintf(out, "digraph program {\n  node [shape=box, style=filled, fontname=\"sans-serif\"];\n");
    for (uint32_t b = 0; b < program->buffer_count; b++)
        fprintf(out, "  b%u [shape=ellipse, fillcolor=white, label=\"b%u\\n%s\"];\n", b, b,
                type_print(program->buffers[b].type, type));
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        const Kernel *kernel = &program->kernels[call->kernel];
        fprintf(out, "  c%u [fillcolor=\"%s\", label=\"%u: ", c, kernel_colour[kernel->kind], call->phase);
        picture_text(kernel->name, out);
        fprintf(out, "\"];\n");
        for (uint32_t a = 0; a < kernel_arg_count(kernel); a++)
            if (a < kernel->body->input_count)
                fprintf(out, "  b%u -> c%u;\n", call->args[a], c);
            else
                fprintf(out, "  c%u -> b%u;\n", c, call->args[a]);
    }
    fprintf(out, "}\n");
}

/* --- pages --- */

static void picture_head(const char *title, FILE *out) {
    fprintf(out, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>");
    picture_text(title, out);
    fprintf(out, "</title><style>body{font:14px/1.4 sans-serif;margin:2em;color:#222}"
                 "table{border-collapse:collapse}td,th{padding:1px 8px;text-align:left;white-space:nowrap}"
                 "tr:target{outline:2px solid #c00}td{font-family:monospace}a{color:#036;text-decoration:none}"
                 "th{border-bottom:1px solid #999}td.o{color:#777}svg{border:1px solid #ccc;background:#fff}"
                 "rect:hover{stroke:#c00}</style><h1>");
    picture_text(title, out);
    fprintf(out, "</h1>\n");
}

static void picture_uses(const Graph *graph, NodeId id, FILE *out) {
    for (NodeId user = id + 1; user < graph->count; user++)
        for (uint32_t i = 0; i < op_info[graph->nodes[user].op].inputs; i++)
            if (graph->nodes[user].in[i] == id) {
                fprintf(out, "<a href=\"#n%u\">%%%u</a> ", user, user);
                break;
            }
    for (uint32_t i = 0; i < graph->output_count; i++)
        if (graph->outputs[i].node == id)
            fprintf(out, "<b>"), picture_text(graph->outputs[i].name, out), fprintf(out, "</b> ");
}

void picture_graph_html(const Graph *graph, const char *title, FILE *out) {
    char type[128];
    picture_head(title, out);
    fprintf(out,
            "<p>%u nodes, %u inputs, %u outputs.</p>\n<table><tr><th>node<th>operation<th>operands<th>type<th>used by"
            "<th>from\n",
            graph->count, graph->input_count, graph->output_count);
    for (NodeId id = 0; id < graph->count; id++) {
        const Node *node = &graph->nodes[id];
        const OpInfo *info = &op_info[node->op];
        fprintf(out, "<tr id=\"n%u\" style=\"background:%s\" title=\"", id, picture_colour[info->class]);
        picture_text(info->meaning, out);
        fprintf(out, "\"><td>%%%u<td>%s ", id, info->name);
        if (node->op == OP_input) picture_text(graph->inputs[node->attr.index].name, out);
        if (node->op == OP_constant) fprintf(out, "%.9g", node->attr.value);
        fprintf(out, "<td>");
        for (uint32_t i = 0; i < info->inputs; i++)
            fprintf(out, "<a href=\"#n%u\">%%%u</a> ", node->in[i], node->in[i]);
        fprintf(out, "<td>%s<td>", type_print(node->type, type));
        picture_uses(graph, id, out);
        fprintf(out, "<td class=o>");
        picture_text(node->origin ? node->origin : "", out);
        fprintf(out, "\n");
    }
    fprintf(out, "</table></html>\n");
}

/* First and last phase in which a buffer is touched; false: never. */
static bool picture_life(const Program *program, uint32_t buffer, uint32_t *first, uint32_t *last) {
    bool is_touched = false;
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        for (uint32_t a = 0; a < kernel_arg_count(&program->kernels[call->kernel]); a++) {
            if (call->args[a] != buffer) continue;
            if (!is_touched) *first = call->phase;
            *last = call->phase;
            is_touched = true;
        }
    }
    return is_touched;
}

static void picture_arena(const Program *program, FILE *out) {
    double size = (double)extent_at(program->arena_size, 1), width = 1000, height = 360;
    if (size <= 0 || !program->phase_count) return;
    char type[128];
    fprintf(out,
            "<h2>Arena</h2><p>%.0f bytes of temporaries; at least %.0f are alive at once. Phases run to the right; "
            "hover for the buffer.</p>\n<svg width=\"%.0f\" height=\"%.0f\">\n",
            size, (double)extent_at(program->most_live, 1), width, height);
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const Buffer *buffer = &program->buffers[b];
        uint32_t first = 0, last = 0;
        if (buffer->kind != BUFFER_temporary || !picture_life(program, b, &first, &last)) continue;
        double step = width / program->phase_count, bytes = (double)type_bytes_at(buffer->type, 1);
        double bottom = (double)extent_at(buffer->offset, 1) + bytes;
        fprintf(out,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"hsl(%u,60%%,75%%)\" stroke=\"#555\" "
                "stroke-width=\".5\"><title>b%u %s, phases %u to %u</title></rect>\n",
                first * step, height - bottom / size * height, (last - first + 1) * step, bytes / size * height,
                b * 47 % 360, b, type_print(buffer->type, type), first, last);
    }
    fprintf(out, "</svg>\n");
}

static void picture_calls(const Program *program, FILE *out) {
    fprintf(out,
            "<h2>Calls</h2><table><tr><th>phase<th>kernel<th>kind<th>tile<th>pieces<th>reads<th>writes<th>MFLOP<th>"
            "KB<th>from\n");
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        const Kernel *kernel = &program->kernels[call->kernel];
        bool is_product = kernel->kind == KERNEL_contract;
        fprintf(out, "<tr style=\"background:%s\"><td>%u<td>", kernel_colour[kernel->kind], call->phase);
        picture_text(kernel->name, out);
        fprintf(out, "<td>%s<td>", kernel_kind_name[kernel->kind]);
        if (is_product) fprintf(out, "%u rows × %u vectors", kernel->tile_rows, kernel->tile_vectors);
        fprintf(out, "<td>%lld<td>", (long long)dim_at(grid_pieces_at(&kernel->grid, 1), 1));
        for (uint32_t a = 0; a < kernel_arg_count(kernel); a++)
            fprintf(out, "%sb%u ", a == kernel->body->input_count ? "<td>" : "", call->args[a]);
        fprintf(out, "<td>%.3f<td>%.1f<td class=o>", kernel->flop / 1e6, kernel->bytes / 1e3);
        picture_text(call->origin ? call->origin : "", out);
        fprintf(out, "\n");
    }
    fprintf(out, "</table>\n");
}

void picture_program_html(const Program *program, const char *title, FILE *out) {
    picture_head(title, out);
    fprintf(out, "<p>%u kernels, %u calls, %u phases.</p>\n", program->kernel_count, program->call_count,
            program->phase_count);
    picture_arena(program, out);
    picture_calls(program, out);
    fprintf(out, "</html>\n");
}
