/* Archives (tar, zip; compressed, too) as lists of members whose bytes are kept. Private to the runtime. */
#ifndef SELFC_RUNTIME_PACKED_H
#define SELFC_RUNTIME_PACKED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACKED_START = 8 };

typedef struct {
    char *name;
    int64_t size;
    uint8_t start[PACKED_START]; /* the first bytes, zeros behind the end */
    bool is_wanted;              /* set by whoever looks through the members: its bytes are kept */
    int64_t offset;              /* among the bytes kept */
    char *failure;               /* why it could not be unpacked; NULL: it could */
} PackedMember;

/* Another name of a member. */
typedef struct {
    char *name, *target;  /* what it leads to, as a name within the archive */
    PackedMember *member; /* NULL: no file of the archive */
} PackedLink;

typedef struct Packed {
    char *path;
    PackedMember *members; /* the regular files, in the archive's order */
    int64_t count;
    PackedLink *links; /* hard and symbolic ones */
    int64_t link_count;
    struct PackedBytes *kept;
} Packed;

bool packed_is_archive(const char *path);
/* Reads through the archive once. Whoever opens a path that is open gets the same archive. NULL after selfc_fail. */
Packed *packed_open(const char *path);
void packed_close(Packed *packed);
/* Reads through it again and keeps the bytes of the wanted members, if that has not been done. False after selfc_fail.
 */
bool packed_load(Packed *packed, const char *folder);
const uint8_t *packed_bytes(const Packed *packed, const PackedMember *member); /* of a wanted member, once loaded */
#endif
