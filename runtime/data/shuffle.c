/* The order of samples in an epoch: Fisher and Yates' shuffle, with numbers that depend on (seed, epoch) alone, so that
 * a run that goes on from a checkpoint finds its place. A 32-bit number scaled to the range is off an even
 * choice by less than one part in 2^32 / count. */
#include "runtime/data/data.h"

void selfc_shuffle(int32_t *order, int64_t count, uint64_t seed, int64_t epoch) {
    static const uint32_t stream = 0x53485546; /* apart from initial values, which use the same key */
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, bits[4] = {0};
    for (int64_t i = 0; i < count; i++) order[i] = (int32_t)i;
    for (int64_t i = count - 1, drawn = 0; i > 0; i--, drawn++) {
        uint32_t counter[4] = {(uint32_t)(drawn / 4), stream, (uint32_t)epoch, (uint32_t)(epoch >> 32)};
        if (drawn % 4 == 0) selfc_philox(counter, key, bits);
        int64_t other = (int64_t)(((uint64_t)bits[drawn % 4] * (uint64_t)(i + 1)) >> 32);
        int32_t kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}
