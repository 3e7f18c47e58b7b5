/* include/selfc.h, the part that shows what the compiler makes, stage by stage, and runs passes over IR text. */
#include "frontend/api.h"

#include "runtime/data/data.h"

#include <stdlib.h>
#include <string.h>

typedef enum { FORMAT_text, FORMAT_dot, FORMAT_html } ShowFormat;

/* What users call a stage, and the pass after which it can be seen. Passes are stages under their own names, too. */
static const struct {
    const char *stage, *pass;
} show_stages[] = {{"gradient", "dce"}, {"fused", "fuse"}, {"program", NULL},
                   {"plan", NULL},      {"llvm", NULL},    {"asm", NULL}};

static bool show_find_stage(const char *stage, const char **pass) {
    for (size_t i = 0; i < sizeof show_stages / sizeof *show_stages; i++)
        if (!strcmp(stage, show_stages[i].stage)) return *pass = show_stages[i].pass, true;
    const Pass *found = pass_find(stage);
    if (found) *pass = found->name;
    return found != NULL;
}

static int show_no_stage(const char *stage) {
    const char *names[64] = {"graph"};
    size_t count = 1;
    for (size_t i = 0; i < sizeof show_stages / sizeof *show_stages; i++) names[count++] = show_stages[i].stage;
    for (size_t i = 0; i < pass_count && count < 64; i++) names[count++] = pass_list[i].name;
    const char *nearest = diag_nearest(stage, names, count);
    return api_fail("there is no stage \"%s\"%s%s%s; stages are graph, gradient, fused, program, plan, llvm, asm and "
                    "the passes",
                    stage, nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

static void show_graph(const Graph *graph, const char *title, ShowFormat format, FILE *out) {
    if (format == FORMAT_dot)
        picture_graph_dot(graph, out);
    else if (format == FORMAT_html)
        picture_graph_html(graph, title, out);
    else
        graph_print(graph, out);
}

static void show_program(const Program *program, const char *title, ShowFormat format, FILE *out) {
    if (format == FORMAT_dot)
        picture_program_dot(program, out);
    else if (format == FORMAT_html)
        picture_program_html(program, title, out);
    else
        program_print(program, out);
}

static int show_lowered(SelfcModel *model, const char *stage, ShowFormat format, const Program *program,
                        const char *title, FILE *out) {
    bool is_asm = !strcmp(stage, "asm");
    if (!strcmp(stage, "plan") && format == FORMAT_text) return program_print_plan(program, out), 0;
    if (!is_asm && strcmp(stage, "llvm")) return show_program(program, title, format, out), 0;
    if (format != FORMAT_text) return api_fail("stage \"%s\" is text: it has no other --format", stage);
    Diag diag;
    diag_init(&diag);
    if (!show_code(program, &model->target, is_asm, out, &diag)) return api_fail_with(&diag);
    diag_free(&diag);
    return 0;
}

static int show_stage(SelfcModel *model, const char *stage, ShowFormat format, const Graph *graph, FILE *out) {
    Arena *arena = arena_new();
    const char *title = arena_printf(arena, "%s: %s, %s", model_name(model->description), graph->name, stage);
    Graph *stopped = NULL;
    Program *program = NULL;
    int failed = 0;
    if (!strcmp(stage, "graph")) {
        show_graph(graph, title, format, out);
    } else {
        PipelineOptions options = api_pipeline_options(model);
        show_find_stage(stage, &options.stop_after);
        Diag diag;
        diag_init(&diag);
        failed = !api_memory_run(model, graph, &options, &diag, &stopped, &program);
        if (failed) api_fail_with(&diag);
        else diag_free(&diag);
        if (stopped) show_graph(stopped, title, format, out);
        if (program) failed = show_lowered(model, stage, format, program, title, out);
    }
    graph_free(stopped);
    program_free(program);
    arena_free(arena);
    return failed;
}

int selfc_show(SelfcModel *model, const char *stage, const char *format, const char *function, FILE *out) {
    static const char *const formats[] = {"text", "dot", "html"};
    ShowFormat chosen = FORMAT_text;
    while (chosen <= FORMAT_html && format && strcmp(format, formats[chosen])) chosen++;
    if (chosen > FORMAT_html) return api_fail("there is no format \"%s\": text, dot or html", format);
    const char *pass;
    if (strcmp(stage, "graph") && !show_find_stage(stage, &pass)) return show_no_stage(stage);
    const char *name = api_function(model, function);
    if (!name || api_need_target(model)) return 1;
    bool is_training = !strcmp(name, "train") || !strcmp(name, "evaluate");
    if (is_training && api_need_shapes(model)) return 1;
    Diag diag;
    diag_init(&diag);
    Graph *graph = api_lower(model, name, &diag);
    if (!graph || diag.errors || !autodiff_check(graph, &diag)) return graph_free(graph), api_fail_with(&diag);
    diag_free(&diag);
    int failed = show_stage(model, stage, chosen, graph, out);
    graph_free(graph);
    return failed;
}

/* --- passes over IR text --- */

static int passes_target(const SelfcOptions *options, Arena *arena, Machine *machine, Diag *diag) {
    *machine = machine_generic();
    machine->memory = options ? options->memory : 0;
    if (!options || (!options->cpu && !options->triple)) return 0;
    Target target;
    if (!target_make(options->triple, options->cpu, arena, &target, diag)) return 1;
    *machine = target.machine;
    machine->memory = options->memory;
    return 0;
}

static int passes_run(const char *path, const char *text, const char *passes, const char *stop_after,
                      const SelfcOptions *given, FILE *out) {
    SelfcOptions options = {0};
    if (given) memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    PipelineOptions pipeline = {
        .dump = options.dump, .stop_after = stop_after, .check_meaning = options.check_meaning, .times = options.times};
    Arena *arena = arena_new();
    Diag diag;
    diag_init(&diag);
    Graph *stopped = NULL;
    Program *program = NULL;
    Graph *graph = graph_parse(text, path, &diag);
    bool good = graph && !passes_target(&options, arena, &pipeline.machine, &diag) &&
                pipeline_run_named(graph, passes, &pipeline, &diag, &stopped, &program);
    if (good && stopped) graph_print(stopped, out);
    if (good && program) program_print(program, out);
    graph_free(graph);
    graph_free(stopped);
    program_free(program);
    arena_free(arena);
    if (!good) return api_fail_with(&diag);
    diag_free(&diag);
    return 0;
}

int selfc_passes(const char *path, const char *passes, const char *stop_after, const SelfcOptions *options, FILE *out) {
    void *bytes;
    size_t size;
    SelfcOptions given = {0};
    if (options) memcpy(&given, options, options->size < sizeof given ? options->size : sizeof given);
    if (api_check_dump(given.dump)) return 1;
    if (selfc_file_read(path, &bytes, &size)) return api_fail("%s", selfc_failure());
    char *text = malloc(size + 1);
    if (!text) die("no memory");
    memcpy(text, bytes, size);
    text[size] = 0;
    free(bytes);
    int failed = strlen(text) == size ? passes_run(path, text, passes, stop_after, options, out)
                                      : api_fail("%s: a zero byte stands in the text", path);
    free(text);
    return failed;
}
