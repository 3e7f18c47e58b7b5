/* Targets: which processor code is made for, and what schedules must know about it.
 *
 * The host is asked for its features and caches; other processors stand in cpus.def. Only the LLVM back end of
 * the architecture in question is initialised, and only when it is first needed: a start from the cache
 * never needs more than the host's name. LLVM aborts the process when it meets something that it cannot
 * do, so what selfc compiles for is decided here, from our own tables, before LLVM is called. */
#include "backend/code.h"

#include <llvm-c/ErrorHandling.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

typedef enum { ARCH_x86_64, ARCH_aarch64 } Architecture;
enum { ARCH_COUNT = 2 };

#define X86_V1 "+sse2"
#define X86_V2 X86_V1 ",+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt"
#define X86_V3 X86_V2 ",+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe"
#define X86_V4 X86_V3 ",+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"
#define ARM_V8 "+neon"

typedef struct {
    Architecture arch;
    const char *name, *features;
    Machine machine;
} Cpu;

static const Cpu cpu_list[] = {
#define CPU(arch, name, vector_bytes, registers, masks, fma, l1, l2, l3, features) \
    {ARCH_##arch, name, features, {vector_bytes, registers, masks, fma, l1 * 1024, l2 * 1024, l3 * 1024}},
#include "backend/cpus.def"
};
enum { CPU_COUNT = sizeof cpu_list / sizeof cpu_list[0] };

/* The first part of a triple, other spellings of it, and the processor that every machine of the kind covers. */
static const struct {
    const char *name, *other, *baseline, *triple;
} arch_list[ARCH_COUNT] = {
    [ARCH_x86_64] = {"x86_64", "amd64", "x86-64", "x86_64-unknown-linux-gnu"},
    [ARCH_aarch64] = {"aarch64", "arm64", "generic", "aarch64-unknown-linux-gnu"},
};

/* Is `part` the text of `triple` up to its first dash? */
static bool target_starts(const char *triple, const char *part) {
    size_t length = strlen(part);
    return strncmp(triple, part, length) == 0 && (triple[length] == '-' || !triple[length]);
}

static bool target_architecture(const char *triple, Architecture *arch) {
    for (int i = 0; i < ARCH_COUNT; i++)
        if (target_starts(triple, arch_list[i].name) || target_starts(triple, arch_list[i].other)) {
            *arch = (Architecture)i;
            return true;
        }
    return false;
}

/* Objects are ELF: Linux and other systems of that kind, and bare machines. */
static bool target_is_elf(const char *triple) {
    static const char *const foreign[] = {"windows", "win32", "mingw",  "cygwin", "darwin", "macos",
                                          "apple",   "ios",   "wasm",   "uefi",   "macho",  "coff",
                                          "gnux32",  "ilp32", "cygnus", "xros",   "zos"};
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (strstr(triple, foreign[i])) return false;
    return true;
}

/* Does the list "+a,+b" hold +feature? */
static bool target_has(const char *features, const char *feature, size_t length) {
    for (const char *at = features; *at; at += strcspn(at, ","), at += *at == ',')
        if (at[0] == '+' && strcspn(at + 1, ",") == length && strncmp(at + 1, feature, length) == 0) return true;
    return false;
}

static bool target_has_all(const char *features, const char *wanted) {
    for (const char *at = wanted; *at; at += strcspn(at, ","), at += *at == ',')
        if (!target_has(features, at + 1, strcspn(at + 1, ","))) return false;
    return true;
}

static int64_t target_cache(int name, int64_t otherwise) {
    long bytes = sysconf(name);
    return bytes > 0 ? bytes : otherwise;
}

static Machine target_host_machine(Architecture arch, const char *features) {
    Machine machine = {
        .vector_bytes = 16, .registers = arch == ARCH_aarch64 ? 32 : 16, .has_fma = arch == ARCH_aarch64};
    if (target_has(features, "fma", 3)) machine.has_fma = true;
    if (target_has(features, "avx", 3)) machine.vector_bytes = 32;
    if (target_has_all(features, "+avx512f,+avx512bw,+avx512dq,+avx512vl")) {
        machine.vector_bytes = 64;
        machine.registers = 32;
        machine.has_masks = true;
    }
    machine.l1 = target_cache(_SC_LEVEL1_DCACHE_SIZE, 32 * 1024);
    machine.l2 = target_cache(_SC_LEVEL2_CACHE_SIZE, 512 * 1024);
    machine.l3 = target_cache(_SC_LEVEL3_CACHE_SIZE, 4096 * 1024);
    return machine;
}

/* "x86-64, x86-64-v2, …": the processors of an architecture, for a message. */
static const char *target_cpu_names(Architecture arch, Arena *arena) {
    const char *names = "";
    for (int i = 0; i < CPU_COUNT; i++)
        if (cpu_list[i].arch == arch)
            names = arena_printf(arena, "%s%s%s", names, *names ? ", " : "", cpu_list[i].name);
    return names;
}

static const Cpu *target_find_cpu(Architecture arch, const char *name) {
    for (int i = 0; i < CPU_COUNT; i++)
        if (cpu_list[i].arch == arch && strcmp(cpu_list[i].name, name) == 0) return &cpu_list[i];
    return NULL;
}

static void target_unknown_cpu(Architecture arch, const char *name, Arena *arena, Diag *diag) {
    const char *names[CPU_COUNT];
    size_t count = 0;
    for (int i = 0; i < CPU_COUNT; i++)
        if (cpu_list[i].arch == arch) names[count++] = cpu_list[i].name;
    const char *nearest = diag_nearest(name, names, count);
    diag_error(diag, (Place){0}, "'%s' is no processor that selfc knows for %s%s%s%s; it knows %s", name,
               arch_list[arch].name, nearest ? ": did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "",
               target_cpu_names(arch, arena));
}

static char *target_keep(char *llvm_text, Arena *arena) {
    char *text = arena_copy(arena, llvm_text);
    LLVMDisposeMessage(llvm_text);
    return text;
}

/* The triple that is meant, in full; NULL after an error. */
static const char *target_triple(const char *triple, Architecture *arch, Arena *arena, Diag *diag) {
    if (!triple) {
        triple = target_keep(LLVMGetDefaultTargetTriple(), arena);
        if (target_architecture(triple, arch)) return triple;
        diag_error(diag, (Place){0}, "this machine is a %s; selfc makes code for x86_64 and aarch64", triple);
        return NULL;
    }
    if (!target_architecture(triple, arch) || !target_is_elf(triple)) {
        diag_error(diag, (Place){0},
                   "selfc cannot make code for the target '%s'; it can for x86_64 and aarch64 with ELF objects, such "
                   "as %s or %s",
                   triple, arch_list[ARCH_x86_64].triple, arch_list[ARCH_aarch64].triple);
        return NULL;
    }
    if (!strchr(triple, '-')) return arch_list[*arch].triple;
    return target_keep(LLVMNormalizeTargetTriple(triple), arena);
}

bool target_make(const char *triple, const char *cpu, Arena *arena, Target *target, Diag *diag) {
    Architecture arch, host_arch;
    const char *whole = target_triple(triple, &arch, arena, diag);
    if (!whole) return false;

    const char *host_triple = target_keep(LLVMGetDefaultTargetTriple(), arena);
    bool same_kind = target_architecture(host_triple, &host_arch) && host_arch == arch && strstr(whole, "linux");
    const char *host_cpu = target_keep(LLVMGetHostCPUName(), arena);
    const char *host_features = target_keep(LLVMGetHostCPUFeatures(), arena);
    bool is_native = cpu && (strcmp(cpu, "native") == 0 || strcmp(cpu, "host") == 0);

    if (same_kind && ((!triple && !cpu) || is_native || (cpu && strcmp(cpu, host_cpu) == 0))) {
        *target = (Target){whole, host_cpu, host_features, true, target_host_machine(arch, host_features)};
        return true;
    }
    const Cpu *known = target_find_cpu(arch, cpu ? cpu : arch_list[arch].baseline);
    if (!known) {
        target_unknown_cpu(arch, cpu, arena, diag);
        return false;
    }
    *target = (Target){whole, known->name, known->features, same_kind && target_has_all(host_features, known->features),
                       known->machine};
    return true;
}

static void target_start_x86(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser(); /* for code that joins objects as text */
}

static void target_start_aarch64(void) {
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    LLVMInitializeAArch64AsmParser();
}

/* LLVM ends the process after this returns; so end it here, with a message and without a core file. */
static void target_fatal(const char *reason) {
    fflush(stdout);
    fprintf(stderr, "error: LLVM cannot make this code: %s\n", reason);
    _exit(1);
}

/* Loop strength reduction takes half of all time that code generation takes, in loops that are already written with
 * the addresses they need, and makes none of them faster. */
static void target_start_llvm(void) {
    LLVMInstallFatalErrorHandler(target_fatal);
    LLVMParseCommandLineOptions(2, (const char *const[]){"selfc", "-disable-lsr"}, NULL);
}

LLVMTargetMachineRef target_llvm(const Target *target, char **error) {
    static pthread_once_t llvm = PTHREAD_ONCE_INIT, once[ARCH_COUNT] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};
    static void (*const start[ARCH_COUNT])(void) = {target_start_x86, target_start_aarch64};
    Architecture arch;
    CHECK(target_architecture(target->triple, &arch));
    pthread_once(&llvm, target_start_llvm);
    pthread_once(&once[arch], start[arch]);

    LLVMTargetRef kind;
    if (LLVMGetTargetFromTriple(target->triple, &kind, error)) return NULL;
    LLVMTargetMachineRef machine = LLVMCreateTargetMachine(kind, target->triple, target->cpu, target->features,
                                                           LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelDefault);
    if (!machine) *error = LLVMCreateMessage("no target machine for this triple and processor");
    return machine;
}
