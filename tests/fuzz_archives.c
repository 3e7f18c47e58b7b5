/* libFuzzer: any bytes as an archive. Members that are there must be readable to their last byte. */
#include "runtime/core/core.h"
#include "runtime/data/data.h"
#include "runtime/data/packed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void fuzz_members(Packed *packed) {
    volatile uint8_t touched = 0;
    for (int64_t i = 0; i < packed->count; i++) packed->members[i].is_wanted = i % 3 != 0;
    if (!packed_load(packed, "")) {
        if (!*selfc_failure()) abort();
        return;
    }
    for (int64_t i = 0; i < packed->count; i++) {
        const PackedMember *member = &packed->members[i];
        touched ^= (uint8_t)strlen(member->name);
        for (int64_t b = 0; member->is_wanted && !member->failure && b < member->size; b++)
            touched ^= packed_bytes(packed, member)[b];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/selfc-fuzz-archive-%ld", (long)getpid());
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(bytes, 1, size, out) != size || fclose(out)) abort();
    Packed *packed = packed_is_archive(path) ? packed_open(path) : NULL;
    if (packed) fuzz_members(packed);
    packed_close(packed);
    unlink(path);
    return 0;
}
