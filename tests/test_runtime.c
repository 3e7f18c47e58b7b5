/* The core of the runtime: the pool meets, every piece is done exactly once for any number of threads and the bits do
 * not depend on it, Philox gives the published numbers, initial values depend on name and seed alone. */
#include "runtime/core/core.h"
#include "tests/expect.h"
#include "tests/tiny_module.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const int thread_counts[] = {1, 2, 3, 7};
enum { THREAD_COUNTS = sizeof thread_counts / sizeof *thread_counts };

/* --- threads --- */

typedef struct {
    SelfcPool *pool;
    atomic_int arrived[64];
    atomic_int wrong;
} Meeting;

/* In every round all must have arrived before anyone goes on. */
static void meeting_work(void *context, int thread, int threads) {
    Meeting *meeting = context;
    (void)thread;
    for (int round = 0; round < 64; round++) {
        atomic_fetch_add(&meeting->arrived[round], 1);
        selfc_pool_barrier(meeting->pool);
        if (atomic_load(&meeting->arrived[round]) != threads) atomic_fetch_add(&meeting->wrong, 1);
    }
}

static void test_pool(int threads) {
    Meeting meeting = {.pool = selfc_pool_new(threads)};
    EXPECT(meeting.pool, "%s", selfc_failure());
    if (!meeting.pool) return;
    EXPECT(selfc_pool_threads(meeting.pool) == threads, "%d", selfc_pool_threads(meeting.pool));
    for (int run = 0; run < 20; run++) {
        memset(meeting.arrived, 0, sizeof meeting.arrived);
        selfc_pool_run(meeting.pool, meeting_work, &meeting);
        for (int round = 0; round < 64; round++) EXPECT(meeting.arrived[round] == threads, "round %d", round);
    }
    EXPECT(meeting.wrong == 0, "%d of %d threads went on too early", meeting.wrong, threads);
    selfc_pool_free(meeting.pool);
}

static void test_pool_limits(void) {
    EXPECT(selfc_cpu_count() >= 1, "%d", selfc_cpu_count());
    EXPECT(!selfc_pool_new(-1), "minus one thread");
    EXPECT(!selfc_pool_new(1000000), "a million threads");
    EXPECT(strstr(selfc_failure(), "1000000 threads"), "%s", selfc_failure());
    SelfcPool *pool = selfc_pool_new(0);
    EXPECT(pool && selfc_pool_threads(pool) == selfc_cpu_count(), "all CPUs");
    selfc_pool_free(pool);
}

/* --- execute --- */

/* args: input, output, counter; pieces along two axes of a grid [n, 40] cut at [3, 16]. Counts each piece. */
enum { COUNT_COLUMNS = 40, COUNT_ROW_BLOCK = 3, COUNT_COLUMN_BLOCK = 16, COUNT_ACROSS = 3 };
static void count_double(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    const float *input = args[0];
    float *output = args[1];
    atomic_int *counter = args[2];
    memset(scratch, 0xAB, 100);
    for (int64_t piece = first; piece < end; piece++) {
        atomic_fetch_add(&counter[piece], 1);
        int64_t row = piece / COUNT_ACROSS * COUNT_ROW_BLOCK, column = piece % COUNT_ACROSS * COUNT_COLUMN_BLOCK;
        for (int64_t r = row; r < row + COUNT_ROW_BLOCK && r < n; r++)
            for (int64_t c = column; c < column + COUNT_COLUMN_BLOCK && c < COUNT_COLUMNS; c++)
                output[r * COUNT_COLUMNS + c] += 2 * input[r * COUNT_COLUMNS + c];
    }
}

/* One piece; needs all of what the call before it wrote. */
static void count_total(void *const *args, int64_t n, int64_t first, int64_t end, void *scratch) {
    const float *input = args[0];
    float *total = args[1];
    (void)scratch, (void)first, (void)end;
    *total = 0;
    for (int64_t i = 0; i < n * COUNT_COLUMNS; i++) *total += input[i];
}

enum { COUNT_MOST = 50, COUNT_MOST_PIECES = 17 * COUNT_ACROSS };
#define COUNT_COST(flop) flop, flop
static const SelfcTensor count_io[] = {{"x", SELFC_f32, 2, {-1, COUNT_COLUMNS}},
                                       {"counters", SELFC_i32, 2, {3, COUNT_MOST_PIECES}},
                                       {"y", SELFC_f32, 2, {-1, COUNT_COLUMNS}},
                                       {"total", SELFC_f32, 0, {0}}};
/* Arena: [n,40] at 0 and [n,40] behind it: an offset that depends on n. */
static const SelfcArg count_args[3][3] = {
    {{2, {0, 0}}, {1, {0, 0}}, {3, {0, 0}}},
    {{1, {0, 0}}, {1, {64, 160}}, {3, {4 * COUNT_MOST_PIECES, 0}}},
    {{1, {64, 160}}, {4, {0, 0}}, {3, {8 * COUNT_MOST_PIECES, 0}}},
};
static const SelfcArg count_total_args[2] = {{4, {0, 0}}, {5, {0, 0}}};

static SelfcModule count_module(SelfcCall calls[4], SelfcProgram *program, double flop) {
    for (int i = 0; i < 3; i++)
        calls[i] = (SelfcCall){count_double,
                               "double",
                               NULL,
                               count_args[i],
                               3,
                               (uint32_t)i,
                               2,
                               {{-1, COUNT_ROW_BLOCK}, {COUNT_COLUMNS, COUNT_COLUMN_BLOCK}},
                               COUNT_COST(flop)};
    calls[3] = (SelfcCall){count_total, "total", NULL, count_total_args, 2, 3, 1, {{1, 0}}, COUNT_COST(flop)};
    *program = (SelfcProgram){"count", count_io, 2, 2, calls, 4, 4, {128, 320}, 0};
    return (SelfcModule){.abi_version = SELFC_ABI_VERSION,
                         .name = "count",
                         .scratch_bytes = 100,
                         .programs = program,
                         .program_count = 1,
                         .training = {-1, -1}};
}

static void test_execute(int threads, int64_t n, double flop) {
    SelfcCall calls[4];
    SelfcProgram program;
    SelfcModule module = count_module(calls, &program, flop);
    SelfcSession *session = selfc_session_new(&module, threads, 0);
    static float x[COUNT_MOST * COUNT_COLUMNS], y[COUNT_MOST * COUNT_COLUMNS];
    static int32_t counters[3 * COUNT_MOST_PIECES];
    float total = -1, expected = 0;
    void *io[] = {x, counters, y, &total};
    EXPECT(session && !selfc_session_reserve(session, &program, n), "%s", selfc_failure());
    if (!session) return;
    memset(session->arena, 0, (size_t)(128 + 320 * n));
    memset(counters, 0, sizeof counters);
    memset(y, 0, sizeof y);
    for (int i = 0; i < COUNT_MOST * COUNT_COLUMNS; i++) x[i] = (float)(i % 101);
    for (int64_t i = 0; i < n * COUNT_COLUMNS; i++) expected += 8 * x[i];
    selfc_execute(session, &program, io, n);
    int64_t pieces = (n + COUNT_ROW_BLOCK - 1) / COUNT_ROW_BLOCK * COUNT_ACROSS;
    for (int phase = 0; phase < 3; phase++)
        for (int64_t i = 0; i < COUNT_MOST_PIECES; i++)
            EXPECT(counters[phase * COUNT_MOST_PIECES + i] == (i < pieces),
                   "%d threads, n %lld: piece %lld of phase %d done %d times", threads, (long long)n, (long long)i,
                   phase, counters[phase * COUNT_MOST_PIECES + i]);
    EXPECT(total == expected, "%d threads, n %lld: total %g, not %g", threads, (long long)n, (double)total,
           (double)expected);
    selfc_session_free(session);
}

/* The same program at changing batches, with times on. */
static void test_execute_again(void) {
    SelfcCall calls[4];
    SelfcProgram program;
    SelfcModule module = count_module(calls, &program, 1e6);
    SelfcSession *session = selfc_session_new(&module, 3, 0);
    static float x[COUNT_MOST * COUNT_COLUMNS], y[COUNT_MOST * COUNT_COLUMNS];
    static int32_t counters[3 * COUNT_MOST_PIECES];
    float total;
    void *io[] = {x, counters, y, &total};
    double seconds[4] = {0}, shares[4 * 3] = {0}, waits[4 * 3] = {0};
    SelfcTimes times = {seconds, shares, waits};
    EXPECT(session && !selfc_session_reserve(session, &program, COUNT_MOST), "%s", selfc_failure());
    if (!session) return;
    for (int64_t n = 1; n <= COUNT_MOST; n++) {
        session->times = n > 40 ? &times : NULL;
        selfc_execute(session, &program, io, n);
    }
    EXPECT(counters[0] == COUNT_MOST, "the first piece was done %d times", counters[0]);
    for (int i = 0; i < 4; i++) EXPECT(seconds[i] > 0 && seconds[i] < 10, "call %d took %g s", i, seconds[i]);
    for (int i = 0; i < 4; i++) {
        double sum = shares[3 * i] + shares[3 * i + 1] + shares[3 * i + 2];
        EXPECT(sum > 0 && sum < 10, "call %d took %g s on all threads", i, sum);
    }
    double waited = 0;
    for (int i = 0; i < 12; i++) {
        waited += waits[i];
        EXPECT(waits[i] >= 0 && waits[i] < 10, "wait %d took %g s", i, waits[i]);
    }
    EXPECT(waited > 0, "three threads never waited for one another");
    selfc_session_free(session);
}

static void test_session_errors(void) {
    SelfcModule module = tiny_module;
    module.abi_version = 99;
    EXPECT(!selfc_session_new(&module, 1, 0) && strstr(selfc_failure(), "version 99"), "%s", selfc_failure());
    SelfcSession *session = selfc_session_new(&tiny_module, 1, 0);
    SelfcProgram large = *selfc_find_program(&tiny_module, "train");
    large.arena_bytes.per_n = INT64_MAX / 2;
    EXPECT(selfc_session_reserve(session, &large, 3) == -1, "an arena beyond 63 bits");
    EXPECT(selfc_session_reserve(session, &large, -1) == -1, "a negative batch");
    selfc_session_free(session);
    EXPECT(!selfc_find_program(&tiny_module, "trai") && selfc_find_state(&tiny_module, "w.momentum"), "lookups");
}

/* One training step of the tiny module with the given threads. */
static void run_tiny(int threads, void *state, float *loss) {
    SelfcSession *session = selfc_session_new(&tiny_module, threads, 42);
    uint8_t x[TINY_BATCH * TINY_PIXELS];
    int32_t key[3] = {1, 2, 3}, sample[TINY_BATCH];
    for (int i = 0; i < TINY_BATCH * TINY_PIXELS; i++) x[i] = (uint8_t)(i * 7);
    for (int i = 0; i < TINY_BATCH; i++) sample[i] = 3 * i;
    void *io[] = {x, key, sample, loss};
    EXPECT(!selfc_session_reserve(session, &tiny_programs[0], TINY_BATCH), "%s", selfc_failure());
    for (int step = 0; step < 5; step++) selfc_execute(session, &tiny_programs[0], io, TINY_BATCH);
    memcpy(state, session->state, (size_t)tiny_module.state_bytes);
    selfc_session_free(session);
}

static void test_same_bits(void) {
    static char first[6272], other[6272];
    float first_loss, other_loss;
    run_tiny(1, first, &first_loss);
    for (int i = 1; i < THREAD_COUNTS; i++) {
        run_tiny(thread_counts[i], other, &other_loss);
        EXPECT(!memcmp(first, other, sizeof first) && first_loss == other_loss, "%d threads give other bits",
               thread_counts[i]);
    }
}

/* --- random numbers and initial values --- */

/* Known answers of the authors' own test suite (kat_vectors, philox4x32 10). */
static void test_philox(void) {
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        selfc_philox(known[i], known[i] + 4, out);
        EXPECT(!memcmp(out, known[i] + 6, sizeof out), "vector %d: %08x %08x %08x %08x", i, out[0], out[1], out[2],
               out[3]);
    }
}

enum { INIT_COUNT = 100000 };
static SelfcState init_state_of(const char *name, int dtype, int init, double a, double b) {
    return (SelfcState){{name, dtype, 1, {INIT_COUNT}}, 0, 1, 1, init, a, b};
}

static void init_fill(SelfcState state, uint64_t seed, void *out) {
    SelfcModule module = {.states = &state, .state_count = 1};
    selfc_init_states(&module, out, seed, NULL);
}

static void test_init_distribution(void) {
    static float values[INIT_COUNT];
    double sum = 0, squares = 0, least = INFINITY, most = -INFINITY;
    init_fill(init_state_of("a", SELFC_f32, SELFC_INIT_normal, 3, 2), 1, values);
    for (int i = 0; i < INIT_COUNT; i++) sum += values[i], squares += values[i] * (double)values[i];
    double mean = sum / INIT_COUNT, deviation = sqrt(squares / INIT_COUNT - mean * mean);
    EXPECT(fabs(mean - 3) < 0.03 && fabs(deviation - 2) < 0.03, "normal: mean %g, deviation %g", mean, deviation);
    init_fill(init_state_of("a", SELFC_f32, SELFC_INIT_uniform, -0.5, 1.5), 1, values);
    for (int i = 0; i < INIT_COUNT; i++) least = fmin(least, values[i]), most = fmax(most, values[i]);
    EXPECT(least >= -0.5 && least < -0.499 && most < 1.5 && most > 1.499, "uniform: from %g to %g", least, most);
    init_fill(init_state_of("a", SELFC_f32, SELFC_INIT_constant, 0.25, 0), 1, values);
    EXPECT(values[0] == 0.25f && values[INIT_COUNT - 1] == 0.25f, "constant: %g", (double)values[0]);
}

static void test_init_keys(void) {
    static float a[INIT_COUNT], b[INIT_COUNT];
    init_fill(init_state_of("layer1.w", SELFC_f32, SELFC_INIT_uniform, 0, 1), 7, a);
    init_fill(init_state_of("layer1.w", SELFC_f32, SELFC_INIT_uniform, 0, 1), 7, b);
    EXPECT(!memcmp(a, b, sizeof a), "the same name and seed give other values");
    init_fill(init_state_of("layer2.w", SELFC_f32, SELFC_INIT_uniform, 0, 1), 7, b);
    EXPECT(memcmp(a, b, 64), "another name gives the same values");
    init_fill(init_state_of("layer1.w", SELFC_f32, SELFC_INIT_uniform, 0, 1), (uint64_t)7 << 32, b);
    EXPECT(memcmp(a, b, 64), "another seed gives the same values");
}

/* Narrow floats: exact values, ties to even, overflow. */
static void test_init_rounding(void) {
    static uint16_t values[INIT_COUNT];
    static const struct {
        double value;
        int dtype;
        uint16_t bits;
    } known[] = {
        {1, SELFC_bf16, 0x3F80},
        {-2.5, SELFC_bf16, 0xC020},
        {1.00390625, SELFC_bf16, 0x3F80},
        {1.01171875, SELFC_bf16, 0x3F82},
        {1, SELFC_f16, 0x3C00},
        {-2.5, SELFC_f16, 0xC100},
        {65504, SELFC_f16, 0x7BFF},
        {65520, SELFC_f16, 0x7C00},
        {0x1p-24, SELFC_f16, 0x0001},
        {0x1p-25, SELFC_f16, 0x0000},
        {2047.0 / 2048, SELFC_f16, 0x3BFF},
        {4095.0 / 4096, SELFC_f16, 0x3C00},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        init_fill(init_state_of("a", known[i].dtype, SELFC_INIT_constant, known[i].value, 0), 1, values);
        EXPECT(values[0] == known[i].bits, "%g as %s: %04x, not %04x", known[i].value, selfc_dtype_name(known[i].dtype),
               values[0], known[i].bits);
    }
}

int main(void) {
    test_pool_limits();
    for (int i = 0; i < THREAD_COUNTS; i++) test_pool(thread_counts[i]);
    static const double costs[] = {0, 100, 1e7};
    for (int i = 0; i < THREAD_COUNTS; i++)
        for (int64_t n = 0; n <= COUNT_MOST; n += n < 4 ? 1 : 23)
            for (int c = 0; c < 3; c++) test_execute(thread_counts[i], n, costs[c]);
    test_execute_again();
    test_session_errors();
    test_same_bits();
    test_philox();
    test_init_distribution();
    test_init_keys();
    test_init_rounding();
    return expect_failures();
}
