/* An ar archive of one object, in the format of System V that GNU and LLVM linkers read: a symbol table, the
 * object, no dates and no owners, so that the same input gives the same bytes. */
#include "backend/code.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 60, NAME_BYTES = 16 };
static const char archive_magic[] = "!<arch>\n";

/* Members begin at even positions. */
static size_t archive_even(size_t size) { return size + size % 2; }

static char *archive_header(char *at, const char *name, size_t size) {
    char text[HEADER_BYTES + 1];
    snprintf(text, sizeof text, "%-16s%-12d%-6d%-6d%-8s%-10zu`\n", name, 0, 0, 0, "644", size);
    memcpy(at, text, HEADER_BYTES);
    return at + HEADER_BYTES;
}

static char *archive_big_endian(char *at, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) *at++ = (char)(value >> shift);
    return at;
}

void *archive_make(const char *member, const void *object, size_t size, const char *const *symbols, size_t count,
                   size_t *archive_size) {
    size_t table = 4 + 4 * count;
    for (size_t i = 0; i < count; i++) table += strlen(symbols[i]) + 1;
    size_t start = sizeof archive_magic - 1 + HEADER_BYTES + archive_even(table);
    *archive_size = start + HEADER_BYTES + archive_even(size);
    char *bytes = calloc(1, *archive_size), *at = bytes;
    if (!bytes) die("no memory for an archive of %zu bytes", *archive_size);

    memcpy(at, archive_magic, sizeof archive_magic - 1);
    at = archive_header(at + sizeof archive_magic - 1, "/", table);
    at = archive_big_endian(at, (uint32_t)count);
    for (size_t i = 0; i < count; i++) at = archive_big_endian(at, (uint32_t)start);
    for (size_t i = 0; i < count; i++) {
        memcpy(at, symbols[i], strlen(symbols[i]) + 1);
        at += strlen(symbols[i]) + 1;
    }
    char name[NAME_BYTES + 1];
    snprintf(name, sizeof name, "%.13s.o/", member);
    at = archive_header(bytes + start, name, size);
    memcpy(at, object, size);
    if (size % 2) at[size] = '\n';
    return bytes;
}
