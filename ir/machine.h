/* What schedules need to know about the processor that code is made for. Filled in by
 * backend/target.c; machine_generic() serves tests and `show` without LLVM. */
#ifndef SELFC_IR_MACHINE_H
#define SELFC_IR_MACHINE_H
#include <stdbool.h>
#include <stdint.h>

struct Choices; /* passes/choice.h */

typedef struct {
    uint32_t vector_bytes; /* 64 AVX-512, 32 AVX2, 16 SSE and NEON */
    uint32_t registers;    /* vector registers: 32 or 16 */
    bool has_masks;        /* masked loads and stores cost nothing extra */
    bool has_fma;
    int64_t l1, l2, l3;    /* bytes of data cache that one core can use */
    int64_t memory;        /* bytes that the temporaries of a program may take; 0: as many as it likes */
    bool prepares_nothing; /* not worth it: states change before every run, or there is no memory for it */
    const struct Choices *measured; /* what was timed on it and is better than a guess; NULL: nothing */
} Machine;

Machine machine_generic(void); /* 16-byte vectors, 16 registers, 32 KB, 512 KB, 4 MB */
#endif
