/* The text of a program, which program_parse.c reads back; and the memory plan for people.
 *
 *   program "vae.train"
 *   input 0 "x" data : u8[128,784]
 *   buffer b0 input 0 : u8[128,784]
 *   buffer b1 temporary : f32[128,784] at 0+64n
 *   output "loss" b2
 *   arena 1024 most_live 960
 *   kernel 0 map "softmax.3"
 *     grid 128 by 8, 784
 *     reduced 1
 *     body {
 *       %0 = …
 *     }
 *   phase 0:
 *     call 0: "softmax.3"(b0 -> b1) @ "training.layers[0]"
 *
 * What loops come of a schedule is written behind it as comments: it follows from the rest. */
#include "ir/attention.h"
#include "ir/panels.h"
#include "ir/program.h"
#include "ir/text.h"

#include <string.h>

static void print_type(Type type, FILE *out) {
    char buffer[128];
    fputs(type_print(type, buffer), out);
}

static void print_dim(Dim dim, FILE *out) {
    if (dim == -1)
        fputs("n", out);
    else
        fprintf(out, dim < 0 ? "%lldn" : "%lld", (long long)(dim < 0 ? -dim : dim));
}

static void print_extent(Extent extent, FILE *out) {
    if (extent.fixed || !extent.per_n) fprintf(out, "%lld", (long long)extent.fixed);
    if (extent.per_n) fprintf(out, "%s%lldn", extent.fixed ? "+" : "", (long long)extent.per_n);
}

static void print_buffer(const Program *program, uint32_t index, FILE *out) {
    const Buffer *buffer = &program->buffers[index];
    fprintf(out, "buffer b%u ", index);
    switch (buffer->kind) {
    case BUFFER_input: fprintf(out, "input %u", buffer->index); break;
    case BUFFER_state: fprintf(out, "state %u", buffer->index); break;
    case BUFFER_output: fprintf(out, "output %u", buffer->index); break;
    case BUFFER_temporary: fputs("temporary", out); break;
    case BUFFER_prepared: fputs("prepared", out); break;
    }
    fputs(" : ", out);
    print_type(buffer->type, out);
    if (buffer->kind == BUFFER_temporary || buffer->kind == BUFFER_prepared) {
        fputs(" at ", out);
        print_extent(buffer->offset, out);
    }
    fputc('\n', out);
}

static void print_interface(const Program *program, FILE *out) {
    for (uint32_t i = 0; i < program->input_count; i++) {
        fprintf(out, "input %u ", i);
        text_put_string(program->inputs[i].name, out);
        fputc(' ', out);
        print_input_type(&program->inputs[i], out);
        fputc('\n', out);
    }
    for (uint32_t i = 0; i < program->buffer_count; i++) print_buffer(program, i, out);
    for (uint32_t i = 0; i < program->output_count; i++) {
        const GraphOutput *output = &program->outputs[i];
        fputs("output ", out);
        text_put_string(output->name, out);
        fprintf(out, " b%u", output->node);
        if (output->updates >= 0) fprintf(out, " updates %d", output->updates);
        fputc('\n', out);
    }
    fputs("arena ", out);
    print_extent(program->arena_size, out);
    fputs(" most_live ", out);
    print_extent(program->most_live, out);
    fputc('\n', out);
    if (program->prepare_calls)
        fprintf(out, "prepare %u calls, %lld bytes\n", program->prepare_calls, (long long)program->prepared_size);
}

static void print_pieces(const Grid *grid, FILE *out) {
    bool open = false;
    for (uint32_t i = 0; i < grid->rank; i++) open |= grid->axis[i].extent < 0 && grid->axis[i].block;
    long long pieces = (long long)grid_pieces_at(grid, 1);
    fprintf(out, "  ; threads share %s%lld piece%s of ", open ? "(n = 1) " : "", pieces, pieces == 1 ? "" : "s");
    for (uint32_t i = 0; i < grid->rank; i++) {
        if (i) fputs(" x ", out);
        print_dim(grid->axis[i].block ? grid->axis[i].block : grid->axis[i].extent, out);
    }
    fputs(grid->rank ? "\n" : "one element\n", out);
}

static bool in_stage(const Kernel *kernel, const uint32_t *stage, NodeId id, uint32_t now) {
    return stage[id] == now && kernel_reduces(kernel, id);
}

/* "; stage 1: %5 = sum, stores %7" */
static void print_stage(const Kernel *kernel, const uint32_t *stage, uint32_t now, FILE *out) {
    const Graph *body = kernel->body;
    bool any = false;
    for (NodeId id = 0; id < body->count; id++) {
        if (!in_stage(kernel, stage, id, now)) continue;
        if (!any) fprintf(out, "  ; stage %u:", now);
        fprintf(out, "%s %%%u = %s", any ? "," : "", id, op_info[body->nodes[id].op].name);
        any = true;
    }
    for (uint32_t i = 0; i < body->output_count; i++) {
        if (kernel_store_stage(kernel, stage, i) != now) continue;
        if (!any) fprintf(out, now == UINT32_MAX ? "  ; behind the last stage:" : "  ; stage %u:", now);
        fprintf(out, "%s stores %%%u", any ? "," : "", body->outputs[i].node);
        any = true;
    }
    if (any) fputc('\n', out);
}

static void print_map_loops(const Kernel *kernel, FILE *out) {
    Arena *scratch = arena_new();
    uint32_t *stage = kernel_stages(kernel, scratch), last = 0;
    for (NodeId id = 0; id < kernel->body->count; id++)
        if (stage[id] > last) last = stage[id];
    for (uint32_t now = 0; kernel->reduced && now <= last; now++) print_stage(kernel, stage, now, out);
    if (kernel->reduced) print_stage(kernel, stage, UINT32_MAX, out);
    arena_free(scratch);
}

static void print_scatter_loops(const Kernel *kernel, FILE *out) {
    const Graph *body = kernel->body;
    if (body->output_count != 1 || body->nodes[kernel_scatter(kernel)].op != OP_scatter_add) return;
    const Node *scatter = &body->nodes[kernel_scatter(kernel)];
    fputs("  ; each piece: ", out);
    print_dim(body->nodes[scatter->in[1]].type.dim[scatter->attr.axis], out);
    fprintf(out, " positions, for %s\n", kernel_scatters_rows(kernel) ? "whole rows" : "each element");
}

static void print_contract_loops(const Kernel *kernel, FILE *out) {
    const Graph *body = kernel->body;
    if (kernel->product >= body->count || body->nodes[kernel->product].op != OP_matmul) return;
    const Type a = body->nodes[body->nodes[kernel->product].in[0]].type;
    fputs("  ; each piece: ", out);
    print_dim(a.dim[a.rank - 1], out);
    fputs(" products an element", out);
    if (kernel->depth_block) fprintf(out, " in blocks of %lld", (long long)kernel->depth_block);
    Panels panels;
    bool has_panels = panels_of(body, body->nodes[kernel->product].in[1], &panels);
    if (kernel->winograd) fputs(", 16 in place of 36 for each tile of 2x2 places", out);
    fprintf(out, "; a is %s, b is %s\n", kernel->pack_a ? "packed" : "read in place",
            has_panels       ? "in panels"
            : kernel->pack_b ? "packed"
                             : "read in place");
    fputs("  ; on the tile in registers:", out);
    bool any = false;
    for (NodeId id = kernel->product + 1; id < body->count; id++) {
        bool works = op_is_elementwise(body->nodes[id].op);
        if (works) fprintf(out, " %s", op_info[body->nodes[id].op].name);
        any |= works;
    }
    fputs(any ? "\n" : " nothing more\n", out);
}

static void print_attention_loops(const Kernel *kernel, FILE *out) {
    AttentionParts parts;
    if (!attention_parts(kernel->body, &parts)) return;
    const Node *node = &kernel->body->nodes[parts.first];
    AttentionShape shape = attention_shape(kernel->body, node);
    bool is_gradient = attention_is_gradient(node->op);
    int64_t queries = is_gradient || !kernel->row_block ? shape.S : kernel->row_block;
    fprintf(out, "  ; each piece: %lld queries against %lld keys", (long long)queries, (long long)shape.T);
    if (kernel->row_block)
        fprintf(out, ", blocks of %lld by %lld", (long long)kernel->row_block, (long long)kernel->depth_block);
    fputs(node->attr.attention.causal ? ", none above the diagonal\n" : "\n", out);
}

static void print_schedule(const Kernel *kernel, FILE *out) {
    fputs("  grid", out);
    for (uint32_t i = 0; i < kernel->grid.rank; i++) {
        fputs(i ? ", " : " ", out);
        print_dim(kernel->grid.axis[i].extent, out);
        if (kernel->grid.axis[i].block) fprintf(out, " by %lld", (long long)kernel->grid.axis[i].block);
    }
    fputc('\n', out);
    if (kernel->reduced) {
        fputs("  reduced ", out);
        for (uint32_t i = 0, printed = 0; i < 32; i++)
            if (kernel->reduced >> i & 1) fprintf(out, printed++ ? ",%u" : "%u", i);
        fputc('\n', out);
    }
    if (kernel->kind == KERNEL_contract) fprintf(out, "  product %%%u\n", kernel->product);
    if (kernel->tile_rows || kernel->tile_vectors)
        fprintf(out, "  tile %u rows %u vectors\n", kernel->tile_rows, kernel->tile_vectors);
    if (kernel->wide_rows || kernel->wide_vectors)
        fprintf(out, "  wide %u rows %u vectors\n", kernel->wide_rows, kernel->wide_vectors);
    if (kernel->depth_block) fprintf(out, "  depth %lld\n", (long long)kernel->depth_block);
    if (kernel->streams) fputs("  streams\n", out);
    if (kernel->row_block) fprintf(out, "  rows %lld\n", (long long)kernel->row_block);
    if (kernel->pack_a || kernel->pack_b)
        fprintf(out, "  pack%s%s\n", kernel->pack_a ? " a" : "", kernel->pack_b ? " b" : "");
    if (kernel->winograd) fprintf(out, "  winograd %lld\n", (long long)kernel->winograd);
    if (kernel->prepared_b) fputs("  prepared b\n", out);
    if (kernel->flop != 0 || kernel->bytes != 0) {
        fputs("  cost flop=", out);
        text_put_number(kernel->flop, out);
        fputs(" bytes=", out);
        text_put_number(kernel->bytes, out);
        fputc('\n', out);
    }
}

static void print_kernel(const Program *program, uint32_t index, FILE *out) {
    const Kernel *kernel = &program->kernels[index];
    fprintf(out, "kernel %u %s ", index, kernel_kind_name[kernel->kind]);
    text_put_string(kernel->name, out);
    fputc('\n', out);
    print_schedule(kernel, out);
    print_pieces(&kernel->grid, out);
    switch (kernel->kind) {
    case KERNEL_map: print_map_loops(kernel, out); break;
    case KERNEL_contract: print_contract_loops(kernel, out); break;
    case KERNEL_attention: print_attention_loops(kernel, out); break;
    case KERNEL_scatter: print_scatter_loops(kernel, out); break;
    }
    fputs("  body {\n", out);
    print_lines(kernel->body, "    ", out);
    fputs("  }\n", out);
}

static void print_call(const Program *program, uint32_t index, FILE *out) {
    const Call *call = &program->calls[index];
    const Kernel *kernel = &program->kernels[call->kernel];
    uint32_t inputs = kernel->body->input_count, count = kernel_arg_count(kernel);
    fprintf(out, "  call %u: ", index);
    text_put_string(kernel->name, out);
    fputc('(', out);
    for (uint32_t i = 0; i < inputs; i++) fprintf(out, i ? ", b%u" : "b%u", call->args[i]);
    fputs(inputs ? " ->" : "->", out);
    for (uint32_t i = inputs; i < count; i++) fprintf(out, i > inputs ? ", b%u" : " b%u", call->args[i]);
    fputc(')', out);
    if (call->origin) {
        fputs(" @ ", out);
        text_put_string(call->origin, out);
    }
    fputc('\n', out);
}

void program_print(const Program *program, FILE *out) {
    fputs("program ", out);
    text_put_string(program->name, out);
    fputc('\n', out);
    print_interface(program, out);
    for (uint32_t i = 0; i < program->kernel_count; i++) print_kernel(program, i, out);
    for (uint32_t i = 0; i < program->call_count; i++) {
        uint32_t phase = program->calls[i].phase;
        bool begins = program->phase_count && (!i || program->calls[i - 1].phase != phase);
        if (i && i == program->prepare_calls)
            fputs("; so far once for each change of the states, from here in each run\n", out);
        if (begins) fprintf(out, "phase %u:\n", phase);
        print_call(program, i, out);
    }
}
