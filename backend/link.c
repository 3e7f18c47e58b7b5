/* Linking, by the C compiler that is on the machine: selfc makes objects and archives on its own, and asks for a
 * linker only for shared libraries and programs. */
#include "backend/code.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#if defined(__SANITIZE_ADDRESS__)
#  define LINK_SANITIZERS "-fsanitize=address,undefined",
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define LINK_SANITIZERS "-fsanitize=address,undefined",
#  endif
#endif
#ifndef LINK_SANITIZERS
#  define LINK_SANITIZERS
#endif

/* The compiler for a target: $CC or cc at home, aarch64-linux-gnu-gcc and the like elsewhere. */
static const char *link_compiler(const Target *target, Arena *arena) {
    const char *given = getenv("CC");
    if (target->is_host) return given && given[0] ? given : "cc";
    return arena_printf(arena, "%.*s-linux-gnu-gcc", (int)strcspn(target->triple, "-"), target->triple);
}

static bool link_run(char *const *arguments, const char *out, Diag *diag) {
    pid_t child;
    int status = 0, failure = posix_spawnp(&child, arguments[0], NULL, NULL, arguments, environ);
    if (failure) {
        diag_error(diag, (Place){0}, "%s needs a linker, but '%s' cannot be run: %s; a .o or .a needs none", out,
                   arguments[0], strerror(failure));
        return false;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    diag_error(diag, (Place){0}, "%s was not written: '%s' could not link it (its own message stands above)", out,
               arguments[0]);
    return false;
}

/* Links to a temporary name first, so that `out` is whole or not there. */
static bool link_to(char **arguments, size_t out_position, const char *out, Arena *arena, Diag *diag) {
    char *temporary = output_temporary(out, arena);
    arguments[out_position] = temporary;
    if (!link_run(arguments, out, diag)) {
        unlink(temporary);
        return false;
    }
    if (rename(temporary, out) == 0) return true;
    diag_error(diag, (Place){0}, "%s: %s", out, strerror(errno));
    unlink(temporary);
    return false;
}

bool link_shared(const char *object, const char *out, const Target *target, Diag *diag) {
    Arena *arena = arena_new();
    char *arguments[] = {
        (char *)link_compiler(target, arena), "-shared", "-nostdlib", "-o", NULL, (char *)object, NULL};
    bool good = link_to(arguments, 4, out, arena, diag);
    arena_free(arena);
    return good;
}

/* The folder of the running program, or ".". */
static const char *link_own_folder(Arena *arena) {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0) return ".";
    path[length] = 0;
    char *slash = strrchr(path, '/');
    if (slash) *slash = 0;
    return arena_copy(arena, path);
}

#ifndef SELFC_LIBRARY_FOLDER
#  define SELFC_LIBRARY_FOLDER "lib"
#endif

/* The runtime library: where SELFC_RUNTIME_DIR says, beside the program that runs (the build folder), or where an
 * installation has it. NULL after an error. */
static const char *link_runtime(Arena *arena, Diag *diag) {
    static const char name[] = "libselfc_runtime.a";
    const char *given = getenv("SELFC_RUNTIME_DIR"), *own = link_own_folder(arena);
    const char *places[] = {
        given ? arena_printf(arena, "%s/%s", given, name) : NULL,
        arena_printf(arena, "%s/%s", own, name),
        arena_printf(arena, "%s/../%s", own, name),
        arena_printf(arena, "%s/../" SELFC_LIBRARY_FOLDER "/%s", own, name),
        arena_printf(arena, "%s/../lib/%s", own, name),
    };
    for (size_t i = given ? 0 : 1; i < (given ? 1 : sizeof places / sizeof places[0]); i++)
        if (access(places[i], R_OK) == 0) return places[i];
    if (given)
        diag_error(diag, (Place){0}, "SELFC_RUNTIME_DIR is '%s', but there is no %s in it", given, name);
    else
        diag_error(diag, (Place){0},
                   "a training program is linked with %s, which is neither in %s nor in %s/../%s; say where it is with "
                   "SELFC_RUNTIME_DIR",
                   name, own, own, SELFC_LIBRARY_FOLDER);
    return NULL;
}

bool link_program(const char *object, const char *out, const Target *target, Diag *diag) {
    if (!target->is_host) {
        diag_error(diag, (Place){0}, "a training program can be linked for this machine only, not for %s (%s)",
                   target->triple, target->cpu);
        return false;
    }
    Arena *arena = arena_new();
    const char *runtime = link_runtime(arena, diag);
    bool good = false;
    if (runtime) {
        char *arguments[] = {(char *)link_compiler(target, arena),
                             "-o",
                             NULL,
                             (char *)object,
                             (char *)runtime,
                             LINK_SANITIZERS "-lpng",
                             "-ljpeg",
                             "-larchive",
                             "-lutf8proc",
                             "-lz",
                             "-lpthread",
                             "-lm",
                             NULL};
        good = link_to(arguments, 2, out, arena, diag);
    }
    arena_free(arena);
    return good;
}
