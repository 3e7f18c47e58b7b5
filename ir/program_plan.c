/* The memory plan for people: how large the arena is against what must live at once, what is alive at the peak,
 * and where every temporary stands. Where the batch is open, bytes are shown for n = 1. */
#include "ir/program.h"

typedef struct {
    const Program *program;
    uint32_t *first, *last;
    int64_t *live; /* bytes alive in each phase */
    uint32_t peak;
} Plan;

static bool is_alive(const Plan *plan, uint32_t buffer, uint32_t phase) {
    return plan->program->buffers[buffer].kind == BUFFER_temporary && plan->first[buffer] <= phase &&
           phase <= plan->last[buffer];
}

static int64_t bytes_of(const Plan *plan, uint32_t buffer) {
    return (int64_t)type_bytes_at(plan->program->buffers[buffer].type, 1);
}

static Plan make_plan(const Program *program, Arena *arena) {
    Plan plan = {.program = program};
    plan.first = arena_array(arena, uint32_t, program->buffer_count);
    plan.last = arena_array(arena, uint32_t, program->buffer_count);
    plan.live = arena_array(arena, int64_t, program->phase_count);
    program_lives(program, plan.first, plan.last);
    for (uint32_t phase = 0; phase < program->phase_count; phase++) {
        for (uint32_t b = 0; b < program->buffer_count; b++)
            if (is_alive(&plan, b, phase)) plan.live[phase] += bytes_of(&plan, b);
        if (plan.live[phase] > plan.live[plan.peak]) plan.peak = phase;
    }
    return plan;
}

static void print_size(Extent extent, FILE *out) {
    if (extent.fixed || !extent.per_n) fprintf(out, "%lld", (long long)extent.fixed);
    if (extent.per_n) fprintf(out, "%s%lld n", extent.fixed ? " + " : "", (long long)extent.per_n);
    fputs(" bytes", out);
}

/* The call that writes the buffer first. */
static const Call *writer_of(const Program *program, uint32_t buffer) {
    for (uint32_t c = 0; c < program->call_count; c++) {
        const Kernel *kernel = &program->kernels[program->calls[c].kernel];
        for (uint32_t i = kernel->body->input_count; i < kernel_arg_count(kernel); i++)
            if (program->calls[c].args[i] == buffer) return &program->calls[c];
    }
    return NULL;
}

static void print_buffer(const Plan *plan, uint32_t b, FILE *out) {
    const Buffer *buffer = &plan->program->buffers[b];
    char type[128], name[16];
    snprintf(name, sizeof name, "b%u", b);
    const Call *writer = writer_of(plan->program, b);
    fprintf(out, "  %-6s %12lld  %-20s phases %4u to %4u  at %lld", name, (long long)bytes_of(plan, b),
            type_print(buffer->type, type), plan->first[b], plan->last[b], (long long)buffer->offset.fixed);
    if (buffer->offset.per_n) fprintf(out, " + %lld n", (long long)buffer->offset.per_n);
    if (writer) fprintf(out, "  %s", plan->program->kernels[writer->kernel].name);
    if (writer && writer->origin) fprintf(out, "  %s", writer->origin);
    fputc('\n', out);
}

/* Indices of the temporaries that are used, in the order of their places. */
static uint32_t sorted_temporaries(const Plan *plan, uint32_t *order) {
    const Program *program = plan->program;
    uint32_t count = 0;
    for (uint32_t b = 0; b < program->buffer_count; b++) {
        if (program->buffers[b].kind != BUFFER_temporary || plan->first[b] > plan->last[b]) continue;
        int64_t place = extent_at(program->buffers[b].offset, 1);
        uint32_t at = count++;
        for (; at && extent_at(program->buffers[order[at - 1]].offset, 1) > place; at--) order[at] = order[at - 1];
        order[at] = b;
    }
    return count;
}

static int64_t state_bytes(const Program *program) {
    int64_t bytes = 0;
    for (uint32_t b = 0; b < program->buffer_count; b++)
        if (program->buffers[b].kind == BUFFER_state) bytes += (int64_t)type_bytes_at(program->buffers[b].type, 1);
    return bytes;
}

void program_print_plan(const Program *program, FILE *out) {
    Arena *arena = arena_new();
    Plan plan = make_plan(program, arena);
    uint32_t *order = arena_array(arena, uint32_t, program->buffer_count);
    uint32_t count = sorted_temporaries(&plan, order);
    int64_t size = extent_at(program->arena_size, 1), bound = extent_at(program->most_live, 1);

    fprintf(out, "plan of \"%s\": %u calls in %u phases\n", program->name ? program->name : "", program->call_count,
            program->phase_count);
    fputs("arena          ", out);
    print_size(program->arena_size, out);
    fputs("\nlower bound    ", out);
    print_size(program->most_live, out);
    if (bound) fprintf(out, " (the arena is %.1f %% larger)", 100.0 * (double)(size - bound) / (double)bound);
    fprintf(out, "\nstates         %lld bytes, updated in place\n", (long long)state_bytes(program));
    if (program->prepare_calls)
        fprintf(out, "prepared       %lld bytes, by %u calls once for each change of the states\n",
                (long long)program->prepared_size, program->prepare_calls);
    if (program->phase_count) {
        fprintf(out, "peak           phase %u, %lld bytes alive:\n", plan.peak, (long long)plan.live[plan.peak]);
        for (uint32_t i = 0; i < count; i++)
            if (is_alive(&plan, order[i], plan.peak)) print_buffer(&plan, order[i], out);
    }
    fprintf(out, "all %u temporaries, by place:\n", count);
    for (uint32_t i = 0; i < count; i++) print_buffer(&plan, order[i], out);
    arena_free(arena);
}
