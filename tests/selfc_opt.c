/* Runs passes on a text of the graph, for golden tests: selfc-opt FILE [--memory=BYTES] [PASS…]
 *
 * Prints the graph or program that comes out. A text that is a program, and not a graph, may go through the passes
 * that work on programs. Exit code 1 after a message; the text alone is parsed and printed without any PASS. */
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    size_t size = 0, got;
    char *text = malloc(1);
    if (!file) die("cannot open '%s'", path);
    do {
        text = realloc(text, size + 65537);
        if (!text) die("out of memory");
        size += got = fread(text + size, 1, 65536, file);
    } while (got);
    fclose(file);
    text[size] = 0;
    return text;
}

/* The first line that is not a comment tells programs and graphs apart. */
static bool is_program(const char *text) {
    while (*text == ';' || *text == '\n') text = strchr(text, '\n') ? strchr(text, '\n') + 1 : "";
    return !strncmp(text, "program", 7);
}

static int64_t memory; /* what temporaries may take */

static Machine machine_for_tests(void) {
    Machine machine = machine_generic();
    machine.memory = memory;
    return machine;
}

static bool run_on_program(const char *text, const char *path, char *names, Diag *diag) {
    Program *program = program_parse(text, path, diag);
    for (char *name; program && (name = strtok_r(names, ",", &names));) {
        const Pass *pass = pass_find(name);
        Machine machine = machine_for_tests();
        if (!pass || !pass->program)
            diag_error(diag, (Place){0}, "pass '%s' does not work on a program", name);
        else
            pass->program(program, &machine);
        if (!program_verify(program, stderr)) BUG("pass '%s' broke the program", name);
    }
    if (program && !diag->errors) program_print(program, stdout);
    program_free(program);
    return !diag->errors;
}

static bool run_on_graph(const char *text, const char *path, const char *names, Diag *diag) {
    PipelineOptions options = {.check_meaning = true, .machine = machine_for_tests()};
    Graph *graph = graph_parse(text, path, diag), *result = NULL;
    Program *program = NULL;
    bool fits = graph && autodiff_check(graph, diag);
    if (fits && graph_verify(graph, stderr)) pipeline_run_named(graph, names, &options, diag, &result, &program);
    if (program) program_print(program, stdout);
    if (result) graph_print(result, stdout);
    graph_free(result);
    graph_free(graph);
    program_free(program);
    return !diag->errors;
}

int main(int count, char **arguments) {
    if (count < 2) die("usage: selfc-opt FILE [PASS…]");
    char *text = read_text(arguments[1]), names[1024] = "";
    Diag diag;
    diag_init(&diag);
    for (int i = 2; i < count && strlen(names) + strlen(arguments[i]) + 2 < sizeof names; i++) {
        if (!strncmp(arguments[i], "--memory=", 9)) {
            memory = atoll(arguments[i] + 9);
            continue;
        }
        if (names[0]) strcat(names, ",");
        strcat(names, arguments[i]);
    }
    bool fits = is_program(text) ? run_on_program(text, arguments[1], names, &diag)
                                 : run_on_graph(text, arguments[1], names, &diag);
    if (diag.text) fputs(diag.text, stderr);
    diag_free(&diag);
    free(text);
    return fits ? 0 : 1;
}
