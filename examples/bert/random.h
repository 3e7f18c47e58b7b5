/* Random numbers that are the same everywhere: splitmix64 (Steele, Lea and Flood 2014). The seed is the first state. */
#include <stdint.h>

static uint64_t random_state;

static inline uint64_t random_next(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline int random_below(int limit) { return (int)(random_next() % (uint64_t)limit); }

/* From 0 up to, not including, 1. */
static inline double random_share(void) { return (double)(random_next() >> 11) * 0x1p-53; }
