/* What code generation and the runtime rely on: sound bodies and schedules, arguments that fit, calls of one phase
 * that do not disturb one another, and temporaries that share memory only when their lives do not meet.
 *
 * A program is completed step by step, so what is not there yet is not asked for: phases count once there are
 * any (phase_count), offsets once there is an arena (arena_size). Sizes that depend on the batch are compared
 * for a few batches; offsets are linear in n, so what fits for a small, an odd and a large one fits. */
#include "ir/attention.h"
#include "ir/program.h"
#include "ir/strided.h"
#include "ir/winograd.h"

#include <stdarg.h>
#include <string.h>

typedef struct {
    const Program *program;
    FILE *report;
    Arena *scratch;
    bool good;
} Verifier;

static const int64_t batches[] = {1, 7, 129};

__attribute__((format(printf, 2, 3))) static void complain(Verifier *verifier, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("verify: ", verifier->report);
    vfprintf(verifier->report, format, args);
    fputc('\n', verifier->report);
    va_end(args);
    verifier->good = false;
}

static const char *input_buffer_problem(const Program *program, const Buffer *buffer) {
    if (buffer->index >= program->input_count) return "there is no such input";
    const GraphInput *input = &program->inputs[buffer->index];
    if ((input->kind == INPUT_data) != (buffer->kind == BUFFER_input))
        return "data must be an input buffer; a parameter or state must be a state buffer";
    return type_equal(input->type, buffer->type) ? NULL : "the type is not the input's";
}

static bool is_aligned(int64_t bytes) { return bytes >= 0 && bytes % 64 == 0; }

static const char *buffer_problem(const Program *program, const Buffer *buffer) {
    const char *problem = type_problem(buffer->type);
    if (problem) return problem;
    switch (buffer->kind) {
    case BUFFER_input:
    case BUFFER_state: return input_buffer_problem(program, buffer);
    case BUFFER_output: return buffer->index < program->output_count ? NULL : "there is no such output";
    case BUFFER_temporary:
        if (is_aligned(buffer->offset.fixed) && is_aligned(buffer->offset.per_n)) return NULL;
        return "the offset must be a multiple of 64 for every n, and not negative";
    case BUFFER_prepared:
        if (type_has_batch(buffer->type)) return "what is prepared cannot depend on the batch";
        return is_aligned(buffer->offset.fixed) && !buffer->offset.per_n
                   ? NULL
                   : "the offset must be a multiple of 64, and not negative";
    }
    return "there is no such kind of buffer";
}

static const char *output_problem(const Program *program, const GraphOutput *output) {
    if (output->node >= program->buffer_count) return "there is no such buffer";
    if (output->updates < 0) return NULL;
    const Buffer *buffer = &program->buffers[output->node];
    if ((uint32_t)output->updates >= program->input_count) return "there is no input that it could update";
    bool own = buffer->kind == BUFFER_state && buffer->index == (uint32_t)output->updates;
    return own ? NULL : "an update must end in the buffer of its own state";
}

static uint32_t count_products(const Graph *body) {
    uint32_t products = 0;
    for (NodeId id = 0; id < body->count; id++) products += op_info[body->nodes[id].op].class == CLASS_contract;
    return products;
}

static uint32_t count_scatters(const Graph *body) {
    uint32_t scatters = 0;
    for (NodeId id = 0; id < body->count; id++) scatters += op_info[body->nodes[id].op].class == CLASS_scatter;
    return scatters;
}

static bool has_meta(const Graph *body) {
    for (NodeId id = 0; id < body->count; id++)
        if (op_info[body->nodes[id].op].class == CLASS_meta) return true;
    return false;
}

static const char *grid_problem(const Kernel *kernel) {
    const Grid *grid = &kernel->grid;
    Type space = {.rank = grid->rank};
    if (grid->rank > MAX_RANK) return "the grid has too many axes";
    for (uint32_t i = 0; i < grid->rank; i++) {
        space.dim[i] = grid->axis[i].extent;
        if (grid->axis[i].block < 0) return "a block must not be negative";
        if (kernel->reduced >> i & 1 && grid->axis[i].block) return "a reduced axis must not be cut";
    }
    if (kernel->reduced >> grid->rank) return "a reduced axis is not in the grid";
    return type_problem(space);
}

/* Sums of rows are made piece by piece of the product: each wants the same pieces. */
static bool sums_its_rows(const Kernel *kernel, uint32_t output) {
    const Graph *body = kernel->body;
    const Node *sum = &body->nodes[body->outputs[output].node], *parts = &body->nodes[sum->in[0]];
    const Type *product = &body->nodes[kernel->product].type;
    if (parts->op != OP_reshape || parts->type.rank != 3 || sum->attr.axes != 1u << 1 || product->rank != 2)
        return false;
    return shape_equal(body->nodes[parts->in[0]].type, *product) && parts->type.dim[2] == product->dim[1] &&
           parts->type.dim[1] == kernel_sum_rows(kernel);
}

/* A part of an axis of so many elements: 0 is all. */
static bool parts_axis(const Grid *grid, uint32_t axis, int64_t unit) {
    int64_t block = grid->axis[axis].block, extent = grid->axis[axis].extent;
    return !block || (block % unit == 0 && extent % block == 0);
}

static const char *winograd_problem(const Kernel *kernel) {
    Winograd w;
    const Grid *grid = &kernel->grid;
    if (!winograd_of(kernel, &w)) return "only a 3x3 convolution with stride 1 is done by tiles of 2x2 places";
    bool forward = w.patch.rows_are_places;
    if (forward ? grid->axis[0].block % winograd_row_unit(&w) : !parts_axis(grid, grid->rank - 2, WINOGRAD_TAPS))
        return "a piece has whole lines of tiles, or all taps of some channels";
    if (!parts_axis(grid, grid->rank - 1, 1)) return "pieces have equal columns";
    if (!forward && kernel_sum_rows(kernel)) return "rows that are taps are not summed up";
    if (grid->rank == 3 && grid->axis[0].block != 1) return "a piece has one image";
    if (kernel->winograd < 1 || kernel->winograd % w.across) return "a block has whole lines of tiles";
    if (kernel->row_block || kernel->depth_block) return "tiles are the only blocks";
    if (kernel->prepared_b) return "filters that are transformed are in no panels";
    return kernel->pack_a && kernel->pack_b && kernel->tile_rows ? NULL : "transformed operands are copies, in tiles";
}

static const char *contract_problem(const Kernel *kernel) {
    const Graph *body = kernel->body;
    if (count_products(body) != 1) return "a contraction has one product";
    if (count_scatters(body)) return "a contraction cannot hold a scatter";
    if (kernel->product >= body->count || op_info[body->nodes[kernel->product].op].class != CLASS_contract)
        return "the product must be named";
    Type space = {.rank = kernel->grid.rank};
    for (uint32_t i = 0; i < kernel->grid.rank; i++) space.dim[i] = kernel->grid.axis[i].extent;
    if (!shape_equal(space, body->nodes[kernel->product].type)) return "the grid must have the axes of the product";
    if (kernel->reduced) return "a contraction reduces nothing but the product's own axis";
    for (uint32_t i = 0; i < body->output_count; i++)
        if (kernel_sums_rows(kernel, i) && !sums_its_rows(kernel, i))
            return "a contraction sums up rows within equal pieces of its product alone";
    if (!kernel->tile_rows != !kernel->tile_vectors) return "a tile has both rows and vectors";
    if (kernel->depth_block < 0 || kernel->row_block < 0) return "the size of a block must not be negative";
    return kernel->winograd ? winograd_problem(kernel) : NULL;
}

/* Rows are read where they lie. */
static bool has_attention_rows(const Graph *body, const Node *node) {
    static const uint32_t rows[] = {ATTENTION_q, ATTENTION_k, ATTENTION_v, ATTENTION_dy};
    uint32_t count = node->op == OP_attention_norm ? 2 : attention_is_gradient(node->op) ? 4 : 3;
    Strided view;
    for (uint32_t i = 0; i < count; i++)
        if (!strided_of(body, node->in[rows[i]], &view) ||
            (body->nodes[node->in[rows[i]]].type.dim[3] != 1 && !strided_is_one(view.stride[3])))
            return false;
    return true;
}

static bool is_output(const Graph *body, NodeId id) {
    for (uint32_t i = 0; i < body->output_count; i++)
        if (body->outputs[i].node == id) return true;
    return false;
}

/* Blocks of queries are the pieces'; gradients do them one after the other. */
static const char *attention_problem(const Kernel *kernel) {
    const Grid *grid = &kernel->grid;
    AttentionParts parts;
    if (!attention_parts(kernel->body, &parts))
        return "attention is one result with its norm, or gradients of the same";
    for (uint32_t i = 0; i < kernel->body->output_count; i++)
        if (!attention_is(kernel->body->nodes[kernel->body->outputs[i].node].op)) return "attention has no epilogue";
    const NodeId results[] = {parts.y, parts.dq, parts.dk, parts.dv};
    for (uint32_t i = 0; i < 4; i++)
        if (results[i] != NO_NODE && !is_output(kernel->body, results[i]))
            return "what attention computes is its output";
    const Node *node = &kernel->body->nodes[parts.first];
    const Type *q = &kernel->body->nodes[node->in[ATTENTION_q]].type;
    if (!has_attention_rows(kernel->body, node))
        return "attention reads rows of its inputs, whose elements lie side by side";
    bool is_gradient = attention_is_gradient(node->op);
    if (grid->rank != (is_gradient ? 2 : 3) || grid->axis[0].extent != q->dim[0] || grid->axis[1].extent != q->dim[2] ||
        (!is_gradient && grid->axis[2].extent != q->dim[1]))
        return "the grid of attention is samples, heads and, but for gradients, queries";
    if (kernel->reduced) return "attention has no reduced axes";
    if (!kernel->tile_rows != !kernel->tile_vectors || !kernel->wide_rows != !kernel->wide_vectors)
        return "a tile has both rows and vectors";
    return kernel->depth_block < 0 || kernel->row_block < 0 ? "the size of a block must not be negative" : NULL;
}

static bool has_attention(const Graph *body) {
    for (NodeId id = 0; id < body->count; id++)
        if (attention_is(body->nodes[id].op)) return true;
    return false;
}

static const char *scatter_problem(const Kernel *kernel) {
    const Graph *body = kernel->body;
    if (count_scatters(body) != 1 || body->output_count != 1 ||
        op_info[body->nodes[body->outputs[0].node].op].class != CLASS_scatter)
        return "a scatter kernel has one scatter, which is its only output";
    if (count_products(body)) return "a scatter kernel cannot hold a product";
    for (NodeId id = 0; id < body->count; id++)
        if (kernel_reduces(kernel, id)) return "a scatter kernel reduces nothing";
    const Node *scatter = &body->nodes[kernel_scatter(kernel)];
    Type space = {.rank = kernel->grid.rank};
    for (uint32_t i = 0; i < kernel->grid.rank; i++) space.dim[i] = kernel->grid.axis[i].extent;
    if (!shape_equal(space, scatter->type)) return "the grid must have the axes of the result";
    if (kernel->reduced) return "a scatter kernel reduces nothing";
    if (kernel->grid.axis[scatter->attr.axis].block && !kernel_scatters_rows(kernel))
        return "the scattered axis can be cut only where whole rows share a position";
    return NULL;
}

static const char *kernel_problem(const Program *program, uint32_t index) {
    const Kernel *kernel = &program->kernels[index];
    const char *problem = grid_problem(kernel);
    if (problem) return problem;
    if (has_meta(kernel->body)) return "an operation without code is left in the body";
    for (uint32_t i = 0; i < index; i++)
        if (!strcmp(program->kernels[i].name, kernel->name)) return "another kernel has this name";
    if (kernel->kind == KERNEL_attention) return attention_problem(kernel);
    if (has_attention(kernel->body)) return "attention needs a kernel of its own kind";
    if (kernel->kind == KERNEL_contract) return contract_problem(kernel);
    if (kernel->winograd) return "only a contraction is a convolution";
    if (kernel->prepared_b) return "only a contraction has a b to prepare";
    if (kernel->kind == KERNEL_scatter) return scatter_problem(kernel);
    if (count_scatters(kernel->body)) return "a map kernel cannot hold a scatter";
    return count_products(kernel->body) ? "a map kernel cannot hold a product" : NULL;
}

static void verify_kernels(Verifier *verifier) {
    for (uint32_t i = 0; i < verifier->program->kernel_count; i++) {
        const Kernel *kernel = &verifier->program->kernels[i];
        if (!kernel->name || !kernel->body) {
            complain(verifier, "kernel %u has no %s", i, kernel->name ? "body" : "name");
            continue;
        }
        bool sound = graph_verify(kernel->body, verifier->report);
        const char *problem = sound ? kernel_problem(verifier->program, i) : "its body is not sound";
        if (problem) complain(verifier, "kernel %u \"%s\": %s", i, kernel->name, problem);
    }
}

static Type arg_type(const Graph *body, uint32_t arg) {
    if (arg < body->input_count) return body->inputs[arg].type;
    return body->nodes[body->outputs[arg - body->input_count].node].type;
}

/* A body may read a buffer under another shape: buffers are dense, so that a reshape is no work. */
static bool same_bytes(Type a, Type b) { return a.dtype == b.dtype && type_elements(a) == type_elements(b); }

static void verify_args(Verifier *verifier, uint32_t index) {
    const Program *program = verifier->program;
    const Call *call = &program->calls[index];
    const Graph *body = program->kernels[call->kernel].body;
    char wanted[128], given[128];
    for (uint32_t i = 0; i < kernel_arg_count(&program->kernels[call->kernel]); i++) {
        if (call->args[i] >= program->buffer_count) {
            complain(verifier, "call %u: there is no buffer b%u", index, call->args[i]);
            continue;
        }
        const Buffer *buffer = &program->buffers[call->args[i]];
        if (!same_bytes(arg_type(body, i), buffer->type))
            complain(verifier, "call %u: argument %u must be %s, but b%u is %s", index, i,
                     type_print(arg_type(body, i), wanted), call->args[i], type_print(buffer->type, given));
        if (i >= body->input_count && buffer->kind == BUFFER_input)
            complain(verifier, "call %u: writes b%u, which is an input", index, call->args[i]);
    }
}

/* A buffer may be read and written by one call when the kernel can update in place, and be written once. */
static void verify_updates(Verifier *verifier, uint32_t index) {
    const Call *call = &verifier->program->calls[index];
    const Kernel *kernel = &verifier->program->kernels[call->kernel];
    uint32_t inputs = kernel->body->input_count;
    for (uint32_t o = 0; o < kernel->body->output_count; o++) {
        uint32_t written = call->args[inputs + o];
        for (uint32_t i = 0; i < inputs; i++)
            if (call->args[i] == written && !kernel_may_update(kernel, i, o))
                complain(verifier, "call %u: output %u cannot be written over input %u (b%u)", index, o, i, written);
        for (uint32_t other = 0; other < o; other++)
            if (call->args[inputs + other] == written) complain(verifier, "call %u: writes b%u twice", index, written);
    }
}

static void verify_calls(Verifier *verifier) {
    const Program *program = verifier->program;
    for (uint32_t i = 0; i < program->call_count; i++) {
        if (program->calls[i].kernel >= program->kernel_count) {
            complain(verifier, "call %u: there is no kernel %u", i, program->calls[i].kernel);
            continue;
        }
        verify_args(verifier, i);
        if (verifier->good) verify_updates(verifier, i);
    }
}

/* Everything is written before it is read, and what the program promises is written. */
static void verify_order(Verifier *verifier) {
    const Program *program = verifier->program;
    bool *written = arena_array(verifier->scratch, bool, program->buffer_count);
    for (uint32_t b = 0; b < program->buffer_count; b++)
        written[b] = program->buffers[b].kind == BUFFER_input || program->buffers[b].kind == BUFFER_state;
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        const Kernel *kernel = &program->kernels[call->kernel];
        for (uint32_t i = 0; i < kernel_arg_count(kernel); i++) {
            uint32_t buffer = call->args[i];
            if (i < kernel->body->input_count && !written[buffer])
                complain(verifier, "call %u: reads b%u before it is written", c, buffer);
            if (i >= kernel->body->input_count) written[buffer] = true;
        }
    }
    for (uint32_t i = 0; i < program->output_count; i++)
        if (!written[program->outputs[i].node])
            complain(verifier, "output %u: b%u is never written", i, program->outputs[i].node);
}

/* Calls of one phase run at the same time: what one writes, no other may touch. writer and reader hold the last
 * call + 1 that did so, which is of this phase if it comes after its first call. */
static void verify_phases(Verifier *verifier) {
    const Program *program = verifier->program;
    uint32_t *writer = arena_array(verifier->scratch, uint32_t, program->buffer_count);
    uint32_t *reader = arena_array(verifier->scratch, uint32_t, program->buffer_count);
    uint32_t first = 0, phase = 0;
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        const Kernel *kernel = &program->kernels[call->kernel];
        if (call->phase < phase || call->phase >= program->phase_count)
            complain(verifier, "call %u: phase %u is out of order or not below %u", c, call->phase,
                     program->phase_count);
        if (c && c == program->prepare_calls && call->phase == phase)
            complain(verifier, "call %u: shares phase %u with the prepare part", c, phase);
        if (call->phase != phase) first = c;
        phase = call->phase;
        for (uint32_t i = 0; i < kernel_arg_count(kernel); i++) {
            uint32_t buffer = call->args[i];
            bool writes = i >= kernel->body->input_count;
            uint32_t other = writer[buffer] > first && writer[buffer] != c + 1 ? writer[buffer] : 0;
            if (writes && !other && reader[buffer] > first && reader[buffer] != c + 1) other = reader[buffer];
            if (other) complain(verifier, "calls %u and %u of phase %u share b%u", other - 1, c, phase, buffer);
        }
        for (uint32_t i = 0; i < kernel_arg_count(kernel); i++)
            *(i < kernel->body->input_count ? &reader[call->args[i]] : &writer[call->args[i]]) = c + 1;
    }
}

/* The prepare part reads states and what it made itself, and leaves nothing to the others but prepared buffers, which
 * they only read; then the states stay as they are. */
static void verify_prepare(Verifier *verifier) {
    const Program *program = verifier->program;
    bool *prepares = arena_array(verifier->scratch, bool, program->buffer_count);
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        bool is_first = c < program->prepare_calls;
        uint32_t inputs = program->kernels[call->kernel].body->input_count;
        for (uint32_t i = 0; i < kernel_arg_count(&program->kernels[call->kernel]); i++) {
            uint32_t b = call->args[i];
            BufferKind kind = program->buffers[b].kind;
            bool is_kept = kind == BUFFER_prepared, writes = i >= inputs;
            if (is_first && writes) prepares[b] = true;
            if (is_first && (writes ? !is_kept && kind != BUFFER_temporary : kind != BUFFER_state && !prepares[b]))
                complain(verifier, "call %u: is to prepare, but %s b%u", c, writes ? "writes" : "reads", b);
            if (!is_first && ((is_kept && writes) || (prepares[b] && !is_kept)))
                complain(verifier, "call %u: b%u belongs to the prepare part", c, b);
            if (program->prepare_calls && kind == BUFFER_state && writes)
                complain(verifier, "call %u: changes b%u, on which prepared values depend", c, b);
        }
    }
}

static void verify_prepared_places(Verifier *verifier) {
    const Program *program = verifier->program;
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const Buffer *buffer = &program->buffers[b];
        if (buffer->kind != BUFFER_prepared) continue;
        int64_t begin = buffer->offset.fixed, end = begin + (int64_t)type_bytes_at(buffer->type, 1);
        if (end > program->prepared_size)
            complain(verifier, "b%u ends at byte %lld of %lld that are prepared", b, (long long)end,
                     (long long)program->prepared_size);
        for (uint32_t o = 0; o < b; o++) {
            const Buffer *other = &program->buffers[o];
            int64_t other_begin = other->offset.fixed, other_end = other_begin + (int64_t)type_bytes_at(other->type, 1);
            if (other->kind == BUFFER_prepared && begin < other_end && other_begin < end)
                complain(verifier, "b%u and b%u are prepared and overlap", o, b);
        }
    }
}

bool program_lives(const Program *program, uint32_t *first, uint32_t *last) {
    for (uint32_t b = 0; b < program->buffer_count; b++) first[b] = UINT32_MAX, last[b] = 0;
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Call *call = &program->calls[c];
        for (uint32_t i = 0; i < kernel_arg_count(&program->kernels[call->kernel]); i++) {
            uint32_t b = call->args[i];
            if (call->phase < first[b]) first[b] = call->phase;
            if (call->phase > last[b]) last[b] = call->phase;
        }
    }
    for (uint32_t i = 0; i < program->output_count; i++) {
        uint32_t b = program->outputs[i].node;
        if (program->phase_count) last[b] = program->phase_count - 1;
    }
    return program->phase_count && (program->arena_size.fixed || program->arena_size.per_n);
}

static bool lives_meet(const uint32_t *first, const uint32_t *last, uint32_t a, uint32_t b) {
    return first[a] <= last[b] && first[b] <= last[a];
}

static void verify_place(Verifier *verifier, const uint32_t *first, const uint32_t *last, uint32_t b, int64_t n) {
    const Program *program = verifier->program;
    const Buffer *buffer = &program->buffers[b];
    int64_t begin = extent_at(buffer->offset, n), end = begin + (int64_t)type_bytes_at(buffer->type, n);
    if (end > extent_at(program->arena_size, n))
        complain(verifier, "b%u ends at byte %lld of an arena of %lld (n = %lld)", b, (long long)end,
                 (long long)extent_at(program->arena_size, n), (long long)n);
    for (uint32_t o = 0; o < b; o++) {
        const Buffer *other = &program->buffers[o];
        if (other->kind != BUFFER_temporary || !lives_meet(first, last, o, b)) continue;
        int64_t other_begin = extent_at(other->offset, n),
                other_end = other_begin + (int64_t)type_bytes_at(other->type, n);
        if (begin < other_end && other_begin < end)
            complain(verifier, "b%u and b%u live in one phase and overlap (n = %lld)", o, b, (long long)n);
    }
}

static void verify_plan(Verifier *verifier) {
    const Program *program = verifier->program;
    uint32_t *first = arena_array(verifier->scratch, uint32_t, program->buffer_count);
    uint32_t *last = arena_array(verifier->scratch, uint32_t, program->buffer_count);
    if (!program_lives(program, first, last)) return;
    for (size_t i = 0; verifier->good && i < sizeof batches / sizeof *batches; i++)
        for (uint32_t b = 0; b < program->buffer_count; b++)
            if (program->buffers[b].kind == BUFFER_temporary && first[b] <= last[b])
                verify_place(verifier, first, last, b, batches[i]);
}

bool program_verify(const Program *program, FILE *report) {
    Verifier verifier = {.program = program, .report = report, .scratch = arena_new(), .good = true};
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        const char *problem = buffer_problem(program, &program->buffers[b]);
        if (problem) complain(&verifier, "b%u: %s", b, problem);
    }
    for (uint32_t i = 0; i < program->output_count; i++) {
        const char *problem = output_problem(program, &program->outputs[i]);
        if (problem) complain(&verifier, "output %u: %s", i, problem);
    }
    verify_kernels(&verifier);
    if (verifier.good) verify_calls(&verifier);
    if (verifier.good) verify_order(&verifier);
    if (verifier.good && program->prepare_calls > program->call_count)
        complain(&verifier, "there are fewer than %u calls to prepare with", program->prepare_calls);
    if (verifier.good) verify_prepare(&verifier);
    if (verifier.good && program->prepared_size) verify_prepared_places(&verifier);
    if (verifier.good && program->phase_count) verify_phases(&verifier);
    if (verifier.good) verify_plan(&verifier);
    arena_free(verifier.scratch);
    return verifier.good;
}
