/* The processor that nothing is known about: what tests and `show` schedule for where no target was
 * asked. Small vectors and caches, so that tails and blocks appear with small shapes. */
#include "ir/machine.h"

Machine machine_generic(void) {
    return (Machine){
        .vector_bytes = 16,
        .registers = 16,
        .has_masks = false,
        .has_fma = false,
        .l1 = 32 * 1024,
        .l2 = 512 * 1024,
        .l3 = 4 * 1024 * 1024,
    };
}
