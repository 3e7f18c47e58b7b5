/* What a profile says, between the files that measure it and those that print it. Seconds, FLOP and bytes are of one
 * run of the program; shares go from 0 to 1. */
#ifndef SELFC_FRONTEND_API_PROFILE_H
#define SELFC_FRONTEND_API_PROFILE_H
#include "frontend/api.h"

typedef struct {
    const char **items;
    uint32_t count;
} ProfileWords;

/* All calls that run the same code. */
typedef struct {
    const char *name; /* "encode.h+3 forward matmul_add_max" */
    SelfcKernel *run;
    const Kernel *kernel;
    ProfileWords layers, parts; /* whom it serves, and "forward", "backward", …: each once, in the order of calls */
    uint32_t calls, *phases;    /* phases[calls] */
    double seconds, flop, bytes;
    double wait;       /* seconds that a thread waits, on average, at the barriers after it */
    double limit;      /* seconds that the nearer limit of the machine asks for */
    bool is_memory;    /* that limit is memory's */
    double tail_waste; /* share of the lanes computed that lie beyond the last axis */
    double imbalance;  /* (busiest thread - mean) / busiest, in its phases */
    int64_t pieces;
    Inspection code;
    const char *reason;
} ProfileKernel;

typedef struct {
    const char *part;
    bool is_product;
    uint32_t calls;
    double seconds, flop, bytes, limit;
} ProfileKind;

typedef struct {
    const char *model, *function, *cpu;
    uint32_t vector_bytes;
    int64_t batch;
    int threads;
    double runs, run_seconds;  /* how many were measured; one of them, without the clocks between kernels */
    double seconds, wait;      /* in kernels; waiting for other threads, on average */
    double flop, product_flop, bytes;
    double peak_flop, peak_bytes; /* a second, measured on this machine */
    ProfileKind *kinds;
    uint32_t kind_count;
    ProfileKernel *kernels; /* the one that takes longest first, as kinds */
    uint32_t kernel_count;
} Profile;

/* api_profile_rows.c: fills in kernels, kinds and sums from the times of `profile->runs` runs. */
typedef struct {
    const SelfcProgram *calls;
    const Program *program; /* the same calls */
    const Jit *jit;
    const Target *target;
    const SelfcTimes *times;
} ProfileSource;
void profile_rows(Profile *profile, const ProfileSource *source, Arena *arena);
static inline double profile_share(double part, double whole) { return whole > 0 ? part / whole : 0; }

/* api_profile_print.c, api_profile_html.c */
void profile_print_text(const Profile *profile, FILE *out);
void profile_print_json(const Profile *profile, FILE *out);
void profile_print_html(const Profile *profile, FILE *out);
#endif
