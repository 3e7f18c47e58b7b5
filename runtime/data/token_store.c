/* The token cache.
 *
 * A stream is one token after another, each a unit of 16 bits, or two of them where ids are larger. Samples that are
 * lines or documents are records of different lengths; where each begins would take more room than the two bytes a
 * token that all of this may have, so the index knows the place of every 64th, and the way from there goes from length
 * to length.
 *
 * What is written goes through a buffer to the file, so memory does not grow with the text; what is read is mapped, and
 * the system takes its pages back when it needs them. */
#include "runtime/data/token_store.h"
#include "runtime/data/cache_file.h"
#include "runtime/data/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKEN_INDEX_STEP = 64, TOKEN_STRETCH = 1 << 22 };
static const char token_magic[8] = "selfcT2";

static size_t token_index_offset(const TokenHead *head) {
    return (sizeof *head + (size_t)head->units * sizeof(uint16_t) + 7) / 8 * 8;
}

static int64_t token_index_count(const TokenHead *head) {
    return (head->records + TOKEN_INDEX_STEP - 1) / TOKEN_INDEX_STEP;
}

static size_t token_file_size(const TokenHead *head) {
    return token_index_offset(head) + (size_t)token_index_count(head) * sizeof(uint64_t);
}

/* Of the head, as it is before it has a checksum, and of all behind it. Pages are given back as soon as they have been
 * walked over. */
static uint64_t token_checksum(const Region *region, TokenHead head) {
    head.checksum = 0;
    uint64_t sums[2] = {cache_checksum(&head, sizeof head)};
    for (size_t at = 0; at < region->size; at += TOKEN_STRETCH) {
        size_t end = region->size - at < TOKEN_STRETCH ? region->size : at + TOKEN_STRETCH;
        size_t begin = at ? at : sizeof(TokenHead);
        sums[1] = cache_checksum(region->bytes + begin, end - begin);
        sums[0] = cache_checksum(sums, sizeof sums);
        madvise(region->bytes + at, end - at, MADV_DONTNEED);
    }
    return sums[0];
}

/* --- reading --- */

static bool token_store_is_whole(const Region *region, uint64_t key) {
    const TokenHead *head = (const TokenHead *)region->bytes;
    int64_t most = (int64_t)region->size;
    return !memcmp(head->magic, token_magic, sizeof head->magic) && head->key == key && head->units >= 0 &&
           head->units <= most && (head->width == 1 || head->width == 2) && head->records >= 0 &&
           head->records <= most && token_file_size(head) == region->size &&
           head->checksum == token_checksum(region, *head);
}

static void token_store_begin(TokenStore *store) {
    store->head = (const TokenHead *)store->region.bytes;
    store->units = (const uint16_t *)(store->head + 1);
}

bool token_store_open(TokenStore *store, const char *folder, uint64_t key) {
    struct stat status;
    *store = (TokenStore){0};
    if (folder && !*folder) return false;
    char *path = cache_file_path(folder, "tokens", key);
    bool is_fine = !stat(path, &status) && status.st_size >= (off_t)sizeof(TokenHead) &&
                   region_map(&store->region, (size_t)status.st_size, path);
    if (is_fine && !token_store_is_whole(&store->region, key)) {
        region_free(&store->region);
        is_fine = false;
    }
    if (is_fine) token_store_begin(store);
    free(path);
    return is_fine;
}

void token_store_close(TokenStore *store) {
    region_free(&store->region);
    *store = (TokenStore){0};
}

const uint16_t *token_store_record(const TokenStore *store, int64_t index) {
    const TokenHead *head = store->head;
    const uint64_t *places = (const uint64_t *)(store->region.bytes + token_index_offset(head));
    uint64_t units = (uint64_t)head->units, place = places[index / TOKEN_INDEX_STEP], fixed = 1 + (uint64_t)head->extra;
    uint64_t width = (uint64_t)head->width;
    for (int64_t left = index % TOKEN_INDEX_STEP; left > 0 && place < units; left--)
        place += fixed + width * store->units[place];
    return place < units && width * store->units[place] + fixed <= units - place ? &store->units[place] : NULL;
}

/* --- writing --- */

static void token_writer_free(TokenWriter *writer) {
    if (writer->out) fclose(writer->out);
    free(writer->path);
    free(writer->temporary);
    free(writer->index);
    *writer = (TokenWriter){0};
}

void token_writer_abandon(TokenWriter *writer) {
    if (writer->temporary) unlink(writer->temporary);
    token_writer_free(writer);
}

static bool token_writer_fail(TokenWriter *writer) {
    selfc_fail("%s: its tokens cannot be written to %s: %s", writer->what,
               writer->path ? writer->path : "a file that goes with this process", strerror(writer->error));
    token_writer_abandon(writer);
    return false;
}

/* In the user's cache, or where that cannot be written to, among the temporary files. */
static FILE *token_open_unnamed(void) {
    char *path = cache_file_path(NULL, "tokens", 0), *folder = region_folder(NULL);
    char *temporary = selfc_make_folders(folder) ? NULL : cache_file_temporary(path, "tokens");
    FILE *out = temporary ? fopen(temporary, "wb+xe") : NULL;
    if (out) unlink(temporary);
    free(temporary);
    free(folder);
    free(path);
    return out ? out : tmpfile();
}

bool token_writer_begin(TokenWriter *writer, const char *what, const char *folder, uint64_t key, int64_t extra,
                        int64_t width) {
    *writer = (TokenWriter){.what = what, .head = {.key = key, .extra = extra, .width = width}};
    if (!folder || *folder) {
        char *in = region_folder(folder);
        writer->path = cache_file_path(folder, "tokens", key);
        if (!selfc_make_folders(in)) writer->temporary = cache_file_temporary(writer->path, "tokens");
        free(in);
        if (writer->temporary) unlink(writer->temporary); /* of a process that had the same number and was killed */
        writer->out = writer->temporary ? fopen(writer->temporary, "wb+xe") : NULL;
    }
    if (!writer->out) {
        free(writer->path);
        free(writer->temporary);
        writer->path = writer->temporary = NULL;
        writer->out = token_open_unnamed();
    }
    if (!writer->out) writer->error = errno;
    if (!writer->out) return token_writer_fail(writer);
    TokenHead none = {0};
    if (fwrite(&none, sizeof none, 1, writer->out) != 1) writer->error = errno ? errno : EIO;
    return true;
}

void token_writer_put(TokenWriter *writer, const uint16_t *units, int64_t count) {
    size_t wanted = (size_t)count;
    if (!writer->error && fwrite(units, sizeof *units, wanted, writer->out) != wanted)
        writer->error = errno ? errno : EIO;
    writer->head.units += count;
}

void token_writer_put_record(TokenWriter *writer, const uint16_t *record) {
    int64_t entry = writer->head.records / TOKEN_INDEX_STEP;
    if (writer->head.records++ % TOKEN_INDEX_STEP == 0) {
        if (entry == writer->index_room) {
            writer->index_room = writer->index_room ? 2 * writer->index_room : 256;
            writer->index = realloc(writer->index, (size_t)writer->index_room * sizeof *writer->index);
            if (!writer->index) abort();
        }
        writer->index[entry] = (uint64_t)writer->head.units;
    }
    if (writer->head.extra && record[1] >= writer->head.below) writer->head.below = record[1] + 1;
    token_writer_put(writer, record, 1 + writer->head.extra + writer->head.width * record[0]);
}

static void token_write_rest(TokenWriter *writer) {
    static const char zeros[8];
    TokenHead *head = &writer->head;
    size_t pad = token_index_offset(head) - sizeof *head - (size_t)head->units * sizeof(uint16_t);
    size_t count = (size_t)token_index_count(head);
    bool is_fine = fwrite(zeros, 1, pad, writer->out) == pad &&
                   (!count || fwrite(writer->index, sizeof *writer->index, count, writer->out) == count) &&
                   !fflush(writer->out);
    if (!is_fine && !writer->error) writer->error = errno ? errno : EIO;
}

/* The head goes last: until then the file says that it is none. Where it cannot have its name (a process on another
 * machine that shares the folder took the temporary file for one that was left behind), it goes with this process. */
static bool token_write_head(TokenWriter *writer, TokenStore *store) {
    int file = fileno(writer->out);
    memcpy(writer->head.magic, token_magic, sizeof writer->head.magic);
    if (!region_map_open(&store->region, token_file_size(&writer->head), file)) return false;
    writer->head.checksum = token_checksum(&store->region, writer->head);
    if (pwrite(file, &writer->head, sizeof writer->head, 0) != (ssize_t)sizeof writer->head) return false;
    if (!writer->temporary) return true;
    if (fsync(file)) return false;
    if (rename(writer->temporary, writer->path)) unlink(writer->temporary);
    return true;
}

bool token_writer_end(TokenWriter *writer, TokenStore *store) {
    *store = (TokenStore){0};
    token_write_rest(writer);
    if (!writer->error && !token_write_head(writer, store)) writer->error = errno ? errno : EIO;
    if (writer->error) {
        token_store_close(store);
        return token_writer_fail(writer);
    }
    token_store_begin(store);
    token_writer_free(writer);
    return true;
}
