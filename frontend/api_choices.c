/* What `selfc tune` remembers: a text file in the cache for each target, a line for each kernel.
 *
 *   selfc schedules 1 for x86_64-pc-linux-gnu znver5, 64-byte vectors
 *   2f0c81d5a9b3e764 tile 14x2 pack -b depth 0 rows 0 blocks 1,112,96 ; conv.3: 41.2 us, was 50.1 us
 *
 * The number is the kernel's key (passes/choice.h); what stands behind `;` is for people. Nothing in the file is trusted:
 * a line that cannot be read is left out, and a choice that does not fit its kernel is not taken. The number of threads
 * is no part of it: a choice changes no bit of what is computed. */
#include "frontend/api.h"

#include "runtime/data/data.h"
#include "runtime/data/file.h"

#include <stdlib.h>
#include <string.h>

static const char choices_title[] = "selfc schedules 1 ";

static uint64_t choices_hash(uint64_t hash, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
    return hash;
}

static uint64_t choices_target(const Target *target) {
    const Machine *machine = &target->machine;
    const int64_t numbers[] = {machine->vector_bytes, machine->registers, machine->has_masks, machine->has_fma, machine->l1, machine->l2, machine->l3};
    uint64_t hash = 0xcbf29ce484222325;
    hash = choices_hash(hash, target->triple, strlen(target->triple) + 1);
    hash = choices_hash(hash, target->cpu, strlen(target->cpu) + 1);
    hash = choices_hash(hash, target->features, strlen(target->features) + 1);
    return choices_hash(hash, numbers, sizeof numbers);
}

const char *api_choices_path(const SelfcModel *model, Arena *arena) {
    if (!model->options.cache) return NULL;
    return arena_printf(arena, "%s/tuned-%016llx.txt", model->options.cache, (unsigned long long)choices_target(&model->target));
}

void api_choices_put(Choices *choices, const Choice *choice, Arena *arena) {
    for (uint32_t i = 0; i < choices->count; i++)
        if (choices->choice[i].kernel == choice->kernel) {
            choices->choice[i] = *choice;
            return;
        }
    choices->choice = arena_grow(arena, choices->choice, choices->count, &choices->capacity, sizeof *choice);
    choices->choice[choices->count++] = *choice;
}

/* "1,112,96" up to the end or a space. */
static bool choices_parse_blocks(const char *text, Choice *choice, const char **rest) {
    for (choice->rank = 0; choice->rank < MAX_RANK;) {
        char *end;
        choice->block[choice->rank++] = strtoll(text, &end, 10);
        if (end == text) return false;
        *rest = end;
        if (*end != ',') return choice->rank >= 2;
        text = end + 1;
    }
    return false;
}

static bool choices_parse_line(const char *line, Choice *choice, Arena *arena) {
    unsigned long long key;
    long long depth, rows;
    char pack[3], *about;
    const char *rest;
    int blocks = 0;
    *choice = (Choice){0};
    if (sscanf(line, "%16llx tile %4ux%4u pack %2[ab-] depth %18lld rows %18lld blocks %n", &key, &choice->tile_rows, &choice->tile_vectors,
               pack, &depth, &rows, &blocks) != 6 || !blocks) return false;
    choice->kernel = key;
    choice->pack_a = pack[0] == 'a';
    choice->pack_b = pack[0] && pack[1] == 'b';
    choice->depth_block = depth;
    choice->row_block = rows;
    if (!choices_parse_blocks(line + blocks, choice, &rest)) return false;
    about = arena_copy(arena, rest + strspn(rest, " "));
    if (*about && *about != ';') return false;
    choice->about = *about ? about + 1 + strspn(about + 1, " ") : NULL;
    return true;
}

/* Lines that cannot be read are counted. */
static uint32_t choices_parse(char *text, Choices *choices, Arena *arena) {
    uint32_t damaged = 0;
    char *rest = text, *line;
    while ((line = strtok_r(rest, "\n", &rest))) {
        Choice choice;
        if (choices_parse_line(line, &choice, arena)) api_choices_put(choices, &choice, arena);
        else damaged++;
    }
    return damaged;
}

void api_choices_load(const SelfcModel *model, Choices *choices, Arena *arena) {
    const char *path = api_choices_path(model, arena);
    void *bytes;
    size_t size;
    if (!path || !file_exists(path) || selfc_file_read(path, &bytes, &size)) return;
    char *text = arena_array(arena, char, size + 1), *first;
    memcpy(text, bytes, size);
    free(bytes);
    bool is_whole = !strncmp(text, choices_title, sizeof choices_title - 1) && strlen(text) == size && (first = strchr(text, '\n'));
    uint32_t damaged = is_whole ? choices_parse(first + 1, choices, arena) : 0;
    if (!is_whole) api_note(model, "%s holds no schedules that this selfc can read: they are ignored; `selfc tune` writes it anew", path);
    if (damaged) api_note(model, "%s: %u line%s cannot be read: ignored", path, damaged, damaged == 1 ? "" : "s");
}

static void choices_write(FileWriter *writer, const Choice *choice) {
    file_print(writer, "%016llx tile %ux%u pack %c%c depth %lld rows %lld blocks ", (unsigned long long)choice->kernel, choice->tile_rows,
               choice->tile_vectors, choice->pack_a ? 'a' : '-', choice->pack_b ? 'b' : '-', (long long)choice->depth_block,
               (long long)choice->row_block);
    for (uint32_t i = 0; i < choice->rank; i++) file_print(writer, i ? ",%lld" : "%lld", (long long)choice->block[i]);
    file_print(writer, choice->about ? " ; %s\n" : "\n", choice->about);
}

int api_choices_save(const SelfcModel *model, const Choices *choices) {
    Arena *arena = arena_new();
    Choices all = {0};
    SelfcModel quiet = *model;
    quiet.options.notes = false;
    api_choices_load(&quiet, &all, arena);
    for (uint32_t i = 0; i < choices->count; i++) api_choices_put(&all, &choices->choice[i], arena);
    const char *path = api_choices_path(model, arena);
    api_make_folders(model->options.cache, arena);
    FileWriter writer;
    int failed = !file_begin(&writer, path);
    if (!failed) {
        file_print(&writer, "%sfor %s %s, %u-byte vectors\n", choices_title, model->target.triple, model->target.cpu, model->target.machine.vector_bytes);
        for (uint32_t i = 0; i < all.count; i++) choices_write(&writer, &all.choice[i]);
        failed = file_commit(&writer);
    }
    arena_free(arena);
    return failed ? api_fail("%s", selfc_failure()) : 0;
}
