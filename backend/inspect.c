/* What a kernel's machine code shows without running it: vector registers that go to the stack frame and come back.
 *
 * A kernel that needs more values at once than there are registers spills them. Around a loop that costs nothing; in
 * an innermost one it is loads and stores for every element. A loop is the stretch between a jump backwards and where
 * it goes, if one can get from its beginning to its end without leaving it; an innermost one has no other within. (Not
 * every jump backwards makes one: blocks of an outer loop may stand before an inner loop that jumps back to them when
 * it is done.)
 *
 * LLVM's disassembler gives text, which is all that its C interface has. Only addresses that are the stack pointer (or
 * the frame pointer, where the function has one) and a constant count: an indexed one is an array, not a spill. */
#include "backend/code.h"

#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Flags of a byte of code: an instruction begins here; it never goes on to the next; an innermost loop is around. */
enum { INSPECT_instruction = 1, INSPECT_leaves = 2, INSPECT_inner = 4 };

typedef struct {
    size_t first, last; /* offsets of its first instruction and of the jump back */
} Loop;

typedef struct {
    bool is_arm, has_frame;
    size_t size;
    uint8_t *flags, *stores, *loads; /* of each byte; what an instruction does stands where it begins */
    size_t *target;                  /* where the jump goes that begins here; SIZE_MAX: none does */
    Loop *loops;
    size_t loop_count;
} Listing;

static void inspect_start(void) {
    LLVMInitializeX86TargetInfo(), LLVMInitializeX86TargetMC(), LLVMInitializeX86Disassembler();
    LLVMInitializeAArch64TargetInfo(), LLVMInitializeAArch64TargetMC(), LLVMInitializeAArch64Disassembler();
}

/* Where the operand begins that is base and constant: "64(%rsp)". NULL: there is none. */
static const char *inspect_x86_place(const Listing *listing, const char *text) {
    const char *place = strstr(text, "(%rsp)");
    return place || !listing->has_frame ? place : strstr(text, "(%rbp)");
}

/* AT&T syntax: the destination stands last. */
static void inspect_x86(Listing *listing, size_t at, const char *text) {
    if (strstr(text, "%rsp, %rbp")) listing->has_frame = true;
    const char *place = inspect_x86_place(listing, text), *vector = NULL;
    for (const char *next = text; (next = strchr(next, '%')); next++)
        if (strchr("xyz", next[1]) && next[2] == 'm' && next[3] == 'm') vector = next;
    if (!place || !vector) return;
    *(place > vector ? &listing->stores[at] : &listing->loads[at]) = 1;
}

/* "str q0, [sp, #16]", "ldp q0, q1, [sp]". */
static void inspect_arm(Listing *listing, size_t at, const char *text) {
    if (!strncmp(text, "mov\tx29, sp", 11) || !strncmp(text, "add\tx29, sp", 11)) listing->has_frame = true;
    const char *place = strstr(text, "[sp"), *operand = strchr(text, '\t');
    if (!place && listing->has_frame) place = strstr(text, "[x29");
    if (!place || !operand || operand[1] != 'q') return;
    const char *rest = place + (place[1] == 's' ? 3 : 4);
    if (*rest != ']' && strncmp(rest, ", #", 3)) return;
    uint8_t count = text[2] == 'p' ? 2 : 1;
    if (!strncmp(text, "st", 2)) listing->stores[at] = count;
    if (!strncmp(text, "ld", 2)) listing->loads[at] = count;
}

/* How far a jump goes, counted from its own first byte; false for what is no jump. */
static bool inspect_jump(const Listing *listing, const char *text, size_t length, int64_t *distance) {
    const char *last = strrchr(text, listing->is_arm ? '#' : '\t');
    bool jumps = listing->is_arm ? !strncmp(text, "b\t", 2) || !strncmp(text, "b.", 2) || !strncmp(text, "cb", 2) ||
                                       !strncmp(text, "tb", 2)
                                 : text[0] == 'j';
    if (!jumps || !last) return false;
    char *end;
    *distance = strtoll(last + 1, &end, 0) + (listing->is_arm ? 0 : (int64_t)length);
    return end != last + 1;
}

static void inspect_add_jump(Listing *listing, size_t at, int64_t distance, const char *text) {
    int64_t target = (int64_t)at + distance;
    if (!strncmp(text, "jmp", 3) || !strncmp(text, "b\t", 2)) listing->flags[at] |= INSPECT_leaves;
    if (target < 0 || target >= (int64_t)listing->size) return;
    listing->target[at] = (size_t)target;
    if (distance > 0) return;
    for (size_t i = 0; i < listing->loop_count; i++)
        if (listing->loops[i].first == (size_t)target) {
            listing->loops[i].last = at; /* jumps come in order */
            return;
        }
    listing->loops[listing->loop_count++] = (Loop){(size_t)target, at};
}

/* Whether one gets from the beginning to the end without leaving the stretch, forwards. */
static bool inspect_is_loop(const Listing *listing, const Loop *loop, bool *is_reached) {
    memset(is_reached + loop->first, 0, loop->last - loop->first + 1);
    bool arrives = true;
    for (size_t at = loop->first; at <= loop->last; at++) {
        if (!(listing->flags[at] & INSPECT_instruction)) continue;
        arrives |= is_reached[at];
        size_t target = listing->target[at];
        if (!arrives || at == loop->last) continue;
        if (target > at && target <= loop->last) is_reached[target] = true;
        if (listing->flags[at] & INSPECT_leaves) arrives = false;
    }
    return arrives;
}

static void inspect_keep_loops(Listing *listing, Arena *arena) {
    bool *is_reached = arena_array(arena, bool, listing->size);
    size_t kept = 0;
    for (size_t i = 0; i < listing->loop_count; i++)
        if (inspect_is_loop(listing, &listing->loops[i], is_reached)) listing->loops[kept++] = listing->loops[i];
    listing->loop_count = kept;
}

static void inspect_read(Listing *listing, LLVMDisasmContextRef disassembler, const void *code) {
    char buffer[256];
    size_t length, step = listing->is_arm ? 4 : 1;
    for (size_t at = 0; at < listing->size; at += length ? length : step) {
        uint8_t *bytes = (uint8_t *)code + at; /* only read; LLVM's interface does not say so */
        length = LLVMDisasmInstruction(disassembler, bytes, listing->size - at, at, buffer, sizeof buffer);
        if (!length) continue;
        const char *text = buffer + strspn(buffer, " \t");
        listing->flags[at] |= INSPECT_instruction;
        listing->target[at] = SIZE_MAX;
        int64_t distance;
        if (!strncmp(text, "ret", 3)) {
            listing->flags[at] |= INSPECT_leaves;
        } else if (inspect_jump(listing, text, length, &distance)) {
            inspect_add_jump(listing, at, distance, text);
        } else if (listing->is_arm) {
            inspect_arm(listing, at, text);
        } else {
            inspect_x86(listing, at, text);
        }
    }
}

static void inspect_mark_inner(Listing *listing) {
    for (size_t i = 0; i < listing->loop_count; i++) {
        const Loop *loop = &listing->loops[i];
        bool is_inner = true;
        for (size_t k = 0; k < listing->loop_count; k++)
            is_inner &= k == i || listing->loops[k].first < loop->first || listing->loops[k].last > loop->last;
        for (size_t at = loop->first; is_inner && at <= loop->last; at++) listing->flags[at] |= INSPECT_inner;
    }
}

static Inspection inspect_sum(const Listing *listing) {
    Inspection sum = {.code_bytes = listing->size};
    for (size_t at = 0; at < listing->size; at++) {
        if (!(listing->flags[at] & INSPECT_instruction)) continue;
        sum.instructions++;
        sum.stores += listing->stores[at];
        sum.loads += listing->loads[at];
        if (!(listing->flags[at] & INSPECT_inner)) continue;
        sum.inner_instructions++;
        sum.inner_stores += listing->stores[at];
        sum.inner_loads += listing->loads[at];
    }
    return sum;
}

Inspection inspect_code(const void *code, size_t size, const Target *target) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, inspect_start);
    LLVMDisasmContextRef disassembler =
        LLVMCreateDisasmCPUFeatures(target->triple, target->cpu, target->features, NULL, 0, NULL, NULL);
    if (!disassembler || !size) return (Inspection){0};
    Arena *arena = arena_new();
    Listing listing = {.is_arm = !strncmp(target->triple, "aarch64", 7),
                       .size = size,
                       .flags = arena_array(arena, uint8_t, size),
                       .stores = arena_array(arena, uint8_t, size),
                       .loads = arena_array(arena, uint8_t, size),
                       .target = arena_array(arena, size_t, size),
                       .loops = arena_array(arena, Loop, size / 2 + 1)}; /* a jump has two bytes or more */
    inspect_read(&listing, disassembler, code);
    inspect_keep_loops(&listing, arena);
    inspect_mark_inner(&listing);
    Inspection sum = inspect_sum(&listing);
    LLVMDisasmDispose(disassembler);
    arena_free(arena);
    return sum;
}

Inspection inspect_object(const void *object, size_t size, const char *symbol, const Target *target) {
    size_t code_size;
    const void *code = elf_function(object, size, symbol, &code_size);
    return code ? inspect_code(code, code_size, target) : (Inspection){0};
}
