/* From times to kernels: calls that run the same machine code are one row, measured against the nearer of two
 * limits, its FLOP at the measured peak and its bytes at the measured memory rate. Bytes that came faster than memory
 * gives them came from the caches, and then arithmetic is the limit that is left. What is beyond the limit is the gap;
 * its likely reason is the largest of what can be counted: spills in the code, lanes beyond the end, uneven threads. */
#include "frontend/api_profile.h"
#include "ir/origin.h"

#include <stdlib.h>
#include <string.h>

/* A reason is named when it explains at least this much of the time, and this much of the gap. */
static const double profile_notable = 0.08, profile_much = 0.25;
static const double profile_near = 0.7;
enum { PROFILE_SHORT_DEPTH = 32 };

static void profile_add_word(ProfileWords *words, const char *word) {
    for (uint32_t i = 0; i < words->count; i++)
        if (!strcmp(words->items[i], word)) return;
    words->items[words->count++] = word;
}

static ProfileKernel *profile_kernel(Profile *profile, const ProfileSource *source, uint32_t call, Arena *arena) {
    SelfcKernel *run = source->calls->calls[call].run;
    for (uint32_t i = 0; i < profile->kernel_count; i++)
        if (profile->kernels[i].run == run) return &profile->kernels[i];
    uint32_t most = source->calls->call_count;
    ProfileKernel *row = &profile->kernels[profile->kernel_count++];
    *row = (ProfileKernel){
        .run = run,
        .kernel = &source->program->kernels[source->program->calls[source->program->prepare_calls + call].kernel],
        .layers.items = arena_array(arena, const char *, most),
        .parts.items = arena_array(arena, const char *, most),
        .phases = arena_array(arena, uint32_t, most)};
    return row;
}

static ProfileKind *profile_kind(Profile *profile, const char *part, bool is_product) {
    for (uint32_t i = 0; i < profile->kind_count; i++)
        if (!strcmp(profile->kinds[i].part, part) && profile->kinds[i].is_product == is_product)
            return &profile->kinds[i];
    profile->kinds[profile->kind_count] = (ProfileKind){.part = part, .is_product = is_product};
    return &profile->kinds[profile->kind_count++];
}

/* Of one phase: how long its threads wait for the last, as a share and in seconds. */
typedef struct {
    double seconds, imbalance, wait;
} PhaseTimes;

static PhaseTimes *profile_phases(const Profile *profile, const ProfileSource *source, Arena *arena) {
    uint32_t phases = source->calls->phase_count, threads = (uint32_t)profile->threads;
    PhaseTimes *times = arena_array(arena, PhaseTimes, phases + 1);
    double *busy = arena_array(arena, double, (phases + 1) * threads);
    for (uint32_t c = 0; c < source->calls->call_count; c++) {
        uint32_t phase = source->calls->calls[c].phase;
        times[phase].seconds += source->times->calls[c] / profile->runs;
        for (uint32_t t = 0; t < threads; t++) busy[phase * threads + t] += source->times->threads[c * threads + t];
    }
    for (uint32_t p = 0; p < phases; p++) {
        double most = 0, sum = 0;
        for (uint32_t t = 0; t < threads; t++) {
            if (busy[p * threads + t] > most) most = busy[p * threads + t];
            sum += busy[p * threads + t];
            times[p].wait += source->times->waits[p * threads + t] / profile->runs / threads;
        }
        times[p].imbalance = profile_share(most - sum / threads, most);
    }
    return times;
}

/* The last axis, or the one before it if that is interleaved, is walked in whole vectors, block by block. */
static double profile_tail_waste(const Kernel *kernel, const Machine *machine, int64_t n) {
    if (!kernel->grid.rank || kernel->kind == KERNEL_attention) return 0;
    uint32_t axis = kernel->grid.rank - (kernel_interleaved(kernel) ? 2 : 1);
    int64_t lanes = machine->vector_bytes / 4, size = dim_at(kernel->grid.axis[axis].extent, n);
    int64_t block = kernel->grid.axis[axis].block;
    if (block <= 0 || block > size) block = size;
    if (size <= 0) return 0;
    int64_t rest = size % block;
    int64_t computed = size / block * ((block + lanes - 1) / lanes) * lanes + (rest + lanes - 1) / lanes * lanes;
    return 1 - (double)size / (double)computed;
}

static int64_t profile_depth(const Kernel *kernel, int64_t n) {
    const Graph *body = kernel->body;
    const Type *left = &body->nodes[body->nodes[kernel->product].in[0]].type;
    return dim_at(left->dim[left->rank - 1], n);
}

/* What can be counted, the largest first. NULL: none of it explains much. */
static const char *profile_counted_reason(const ProfileKernel *row, int threads, Arena *arena) {
    double moved = row->code.inner_stores + row->code.inner_loads, all = row->code.inner_instructions;
    double spills = profile_share(moved, all), most = spills > row->tail_waste ? spills : row->tail_waste;
    if (row->imbalance > most) most = row->imbalance;
    double gap = 1 - profile_share(row->limit, row->seconds);
    if (most < profile_notable || most < profile_much * gap) return NULL;
    if (most == spills)
        return arena_printf(arena, "spills: %.0f of %.0f instructions in inner loops are to or from the stack", moved,
                            all);
    if (most == row->tail_waste)
        return arena_printf(arena, "tails: %.0f%% of the lanes computed are beyond the end", 100 * row->tail_waste);
    if (row->pieces < threads)
        return arena_printf(arena, "threads: a call is %lld piece%s, for %d threads", (long long)row->pieces,
                            row->pieces == 1 ? "" : "s", threads);
    return arena_printf(arena, "threads: uneven, %.0f%% of their time is waiting for the last", 100 * row->imbalance);
}

static const char *profile_reason(const ProfileKernel *row, const Profile *profile, Arena *arena) {
    double compute = row->flop / profile->peak_flop, memory = row->bytes / profile->peak_bytes;
    if (row->seconds / row->calls < 3e-6) return "short: starting it and waiting cost as much";
    if (compute > profile_near * row->seconds) return "near the limit of arithmetic";
    if (row->is_memory && memory > profile_near * row->seconds) return "near the limit of memory";
    const char *counted = profile_counted_reason(row, profile->threads, arena);
    if (counted) return counted;
    if (row->kernel->kind == KERNEL_scatter) return "rows are read and written where positions say";
    if (row->kernel->kind == KERNEL_map && memory > row->seconds) return "works from the caches, faster than memory";
    if (row->kernel->kind == KERNEL_map)
        return compute > memory ? "arithmetic waits: divisions, functions or loads"
                                : "elementary functions, reductions or cache misses";
    if (row->kernel->kind == KERNEL_attention) return "arithmetic waits: exponentials, packing and loads";
    if (row->kernel->winograd) return "arithmetic waits: transforming pixels, filters and results, and the epilogue";
    int64_t depth = profile_depth(row->kernel, profile->batch);
    if (depth <= PROFILE_SHORT_DEPTH)
        return arena_printf(arena, "short sums: %lld terms, and each has its result to store", (long long)depth);
    return row->kernel->pack_a || row->kernel->pack_b ? "arithmetic waits: packing operands, loads and the epilogue"
                                                      : "arithmetic waits: loads and the epilogue";
}

/* What the machine asks for at least; *is_memory: it is memory that asks. */
static double profile_limit(const Profile *profile, double flop, double bytes, double seconds, bool *is_memory) {
    double compute = flop / profile->peak_flop, memory = bytes / profile->peak_bytes;
    *is_memory = memory > compute && memory <= seconds;
    return *is_memory ? memory : compute;
}

static void profile_add_call(Profile *profile, const ProfileSource *source, uint32_t c, const PhaseTimes *phases,
                             Arena *arena) {
    const SelfcCall *call = &source->calls->calls[c];
    const PhaseTimes *phase = &phases[call->phase];
    const char *part = origin_part(call->origin);
    double scale = source->calls->batch ? 1 : (double)profile->batch, seconds = source->times->calls[c] / profile->runs;
    double flop = call->flop * scale, bytes = call->bytes * scale;
    ProfileKernel *row = profile_kernel(profile, source, c, arena);
    bool is_product = row->kernel->kind == KERNEL_contract || row->kernel->kind == KERNEL_attention;
    if (call->origin) profile_add_word(&row->layers, origin_name(arena, call->origin));
    profile_add_word(&row->parts, part);
    row->phases[row->calls++] = call->phase;
    row->seconds += seconds, row->flop += flop, row->bytes += bytes;
    row->wait += phase->wait * profile_share(seconds, phase->seconds);
    row->imbalance += phase->imbalance * seconds; /* divided by the row's seconds in the end */
    ProfileKind *kind = profile_kind(profile, part, is_product);
    bool is_memory;
    kind->calls++;
    kind->seconds += seconds, kind->flop += flop, kind->bytes += bytes;
    kind->limit += profile_limit(profile, flop, bytes, seconds, &is_memory);
    profile->seconds += seconds, profile->flop += flop, profile->bytes += bytes;
    if (is_product) profile->product_flop += flop;
}

static void profile_finish_kernel(ProfileKernel *row, const Profile *profile, const ProfileSource *source,
                                  Arena *arena) {
    row->limit = profile_limit(profile, row->flop, row->bytes, row->seconds, &row->is_memory);
    row->imbalance = profile_share(row->imbalance, row->seconds);
    row->tail_waste = profile_tail_waste(row->kernel, &source->target->machine, profile->batch);
    row->pieces = dim_at(grid_pieces_at(&row->kernel->grid, profile->batch), profile->batch);
    row->code = jit_inspect(source->jit, row->run, source->target);
    row->reason = profile_reason(row, profile, arena);
}

/* The origin of the first call stands for the row. */
static void profile_name(ProfileKernel *row, const ProfileSource *source, Arena *arena) {
    const SelfcProgram *calls = source->calls;
    uint32_t first = 0;
    while (calls->calls[first].run != row->run) first++;
    row->name = origin_title(arena, calls->calls[first].origin, row->layers.count ? row->layers.count - 1 : 0,
                             row->kernel->name);
}

static int profile_slower(const void *a, const void *b) {
    double x = ((const ProfileKernel *)a)->seconds, y = ((const ProfileKernel *)b)->seconds;
    return (x < y) - (x > y);
}

static int profile_kind_slower(const void *a, const void *b) {
    double x = ((const ProfileKind *)a)->seconds, y = ((const ProfileKind *)b)->seconds;
    return (x < y) - (x > y);
}

void profile_rows(Profile *profile, const ProfileSource *source, Arena *arena) {
    uint32_t count = source->calls->call_count;
    profile->kernels = arena_array(arena, ProfileKernel, count + 1);
    profile->kinds = arena_array(arena, ProfileKind, count + 1);
    const PhaseTimes *phases = profile_phases(profile, source, arena);
    for (uint32_t p = 0; p < source->calls->phase_count; p++) profile->wait += phases[p].wait;
    for (uint32_t c = 0; c < count; c++) profile_add_call(profile, source, c, phases, arena);
    for (uint32_t i = 0; i < profile->kernel_count; i++) {
        profile_name(&profile->kernels[i], source, arena);
        profile_finish_kernel(&profile->kernels[i], profile, source, arena);
    }
    qsort(profile->kernels, profile->kernel_count, sizeof *profile->kernels, profile_slower);
    qsort(profile->kinds, profile->kind_count, sizeof *profile->kinds, profile_kind_slower);
}
