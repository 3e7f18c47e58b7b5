/* Compiles each kernel of a program's text for this machine, as it is scheduled there, and compares what it computes
 * with what its body means: selfc_kernels FILE [BATCH] */
#include "tests/compiled.h"

#include <stdlib.h>
#include <string.h>

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) die("cannot read '%s'", path);
    size_t size = (size_t)ftell(file);
    char *text = calloc(size + 1, 1);
    rewind(file);
    if (!text || fread(text, 1, size, file) != size) die("cannot read '%s'", path);
    fclose(file);
    return text;
}

int main(int argc, char **argv) {
    if (argc < 2) return fprintf(stderr, "usage: selfc_kernels FILE [BATCH]\n"), 2;
    int64_t n = argc > 2 ? atoll(argv[2]) : 3;
    Arena *arena = arena_new();
    Diag diag;
    Target target;
    diag_init(&diag);
    char *text = read_text(argv[1]);
    Program *program = program_parse(text, argv[1], &diag);
    if (!program || !target_make(NULL, NULL, arena, &target, &diag)) return fputs(diag.text, stderr), 1;
    int failed = 0;
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        if (!compiled_compare_kernel(&program->kernels[i], &target, n, i + 1, 2, 2e-4)) continue;
        printf("FAIL kernel %u \"%s\"\n", i, program->kernels[i].name);
        failed++;
    }
    printf("%u kernels, %d wrong\n", program->kernel_count, failed);
    program_free(program);
    diag_free(&diag);
    free(text);
    arena_free(arena);
    return failed > 0;
}
