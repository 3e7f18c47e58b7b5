/* include/selfc.h, selfc_build: which programs go into a file, and with which weights.
 *
 * Weights to embed are the session's: those of the RUN, of selfc_weights_load, of training steps done; else the first
 * values from the seed. The session is compiled for this machine even if the file is for another. */
#include "frontend/api.h"

#include "runtime/data/data.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No ending: a training program. */
static int build_kind(const char *out, BuildKind *kind) {
    static const struct {
        const char *ending;
        BuildKind kind;
    } kinds[] = {{".o", BUILD_object}, {".a", BUILD_archive},  {".so", BUILD_shared},
                 {".ll", BUILD_llvm},  {".s", BUILD_assembly}, {".dylib", BUILD_shared}};
    const char *slash = strrchr(out, '/'), *name = slash ? slash + 1 : out, *dot = strrchr(name, '.');
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return api_fail("-o \"%s\": the name of a file should stand here", out);
    *kind = BUILD_program;
    for (size_t i = 0; dot && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(dot, kinds[i].ending)) return *kind = kinds[i].kind, 0;
    if (!dot || dot == name) return 0;
    return api_fail("%s: there is no kind of file with the ending %s: .o, .a, .so, .ll and .s hold functions, a name "
                    "without an ending is a training program",
                    out, dot);
}

/* A session on this machine, whatever the target: the states' values do not depend on it. */
static int build_need_weights(SelfcModel *model) {
    if (model->compiled.session) return 0;
    Target wanted = model->target;
    bool had = model->has_target;
    const char *triple = model->options.triple, *cpu = model->options.cpu;
    model->has_target = false;
    model->options.triple = model->options.cpu = NULL;
    int failed = api_need_session(model, false);
    model->has_target = had;
    model->target = wanted;
    model->options.triple = triple;
    model->options.cpu = cpu;
    return failed;
}

/* All copies of a function with "lengths". */
static uint32_t build_lengths(const SelfcModel *model, const char *family, const char **names) {
    uint32_t count = 0;
    int64_t most = 0;
    for (const char *last = NULL, *name;; last = name) {
        name = model_function_for(model->description, family, most + 1, &most);
        if (name == last) return count;
        names[count++] = name;
    }
}

/* Names must be functions of the description; "train" has a file kind of its own. */
static int build_wanted(SelfcModel *model, BuildKind kind, const char *const *functions, size_t count,
                        ApiWanted *wanted) {
    *wanted = (ApiWanted){.has_training = kind == BUILD_program};
    if (wanted->has_training && !model_has_training(model->description))
        return api_fail("%s: error: the description has no \"training\" for a program; end the name of the file in .o, "
                        ".a, .so, .ll or .s to build its functions",
                        model->options.file);
    if (wanted->has_training && count)
        return api_fail("a training program has all functions: --function %s belongs to a file whose name ends in .o, "
                        ".a, .so, .ll or .s",
                        functions[0]);
    if (wanted->has_training || !count) {
        wanted->function_count = model_functions(model->description, &wanted->functions);
        if (!wanted->has_training && !wanted->function_count)
            return api_fail("%s: error: the description has no functions to build", model->options.file);
        return 0;
    }
    uint32_t most = model_functions(model->description, &wanted->functions);
    const char **names = arena_array(model->arena, const char *, most + count);
    for (size_t i = 0; i < count; i++) {
        const char *name = api_function(model, functions[i]);
        if (!name) return 1;
        if (!strcmp(name, "train") || !strcmp(name, "evaluate"))
            return api_fail("\"%s\" is no function; build a program (no ending) to train elsewhere", name);
        if (!strcmp(name, functions[i]))
            names[wanted->function_count++] = name;
        else
            wanted->function_count += build_lengths(model, functions[i], names + wanted->function_count);
    }
    wanted->functions = names;
    return 0;
}

static void build_note(const SelfcModel *model, BuildKind kind, const CompileInput *input) {
    bool begins_with_them = !model->weights && api_begin(model).path;
    if (model->is_trained && !begins_with_them && kind == BUILD_program)
        api_note(model, "the program trains from the first step: the weights that are here do not go into it");
    if (model->is_trained || kind == BUILD_program) return;
    for (uint32_t i = 0; i < input->program_count; i++)
        for (uint32_t k = 0; k < input->programs[i]->input_count; k++)
            if (input->programs[i]->inputs[k].kind == INPUT_parameter) {
                api_note(model, "\"%s\" gets untrained weights, as the seed made them; name a RUN for trained ones",
                         input->programs[i]->name);
                return;
            }
}

static bool build_has(const SelfcModel *model, const char *file) {
    return model->folder && !access(arena_printf(model->arena, "%s/%s", model->folder, file), R_OK);
}

static void build_hear(const void *context, const char *text) { api_note(context, "%s", text); }

/* A RUN with a tokenizer: its functions on rows of ids can take text. NULL: there is none; *failed after api_fail. */
static SelfcTokenizer *build_tokenizer(const SelfcModel *model, BuildText *text, int *failed) {
    if (!build_has(model, "tokenizer.json") && !build_has(model, "vocab.txt")) return NULL;
    SelfcTokenizer *tokenizer = selfc_tokenizer_open(model->folder);
    if (!tokenizer) return *failed = api_fail("%s", selfc_failure()), NULL;
    text->tables = selfc_tokenizer_tables(tokenizer, &text->size);
    text->word_count = (uint32_t)selfc_tokenizer_size(tokenizer);
    const char **words = arena_array(model->arena, const char *, text->word_count + 1);
    for (uint32_t i = 0; i < text->word_count; i++) {
        const char *word = selfc_tokenizer_token(tokenizer, (int32_t)i);
        words[i] = word ? word : "";
    }
    text->words = words;
    SelfcMarks marks = selfc_tokenizer_marks(tokenizer);
    _Static_assert(sizeof marks == sizeof text->marks, "built code reads them as SelfcMarks");
    memcpy(text->marks, &marks, sizeof marks);
    return tokenizer;
}

int selfc_build(SelfcModel *model, const char *out, const char *const *functions, size_t function_count,
                int embed_weights) {
    BuildKind kind = BUILD_program;
    ApiWanted wanted;
    CompileInput input;
    if (build_kind(out, &kind) || build_wanted(model, kind, functions, function_count, &wanted) ||
        api_need_target(model))
        return 1;
    bool wants_weights = kind != BUILD_program;
    if (wants_weights && build_need_weights(model)) return 1;
    if (api_input(model, wanted, &input)) return 1;
    BuildOptions options = {
        .kind = kind, .out = out, .listener = api_listener(model), .note = build_hear, .note_context = model};
    if (wants_weights) {
        options.weights = model->compiled.session->state;
        options.layout = model->compiled.module;
        options.weights_beside = !embed_weights;
    }
    int failed = 0;
    SelfcTokenizer *tokenizer = wants_weights ? build_tokenizer(model, &options.text, &failed) : NULL;
    if (failed) return api_input_free(&input), 1;
    Diag diag;
    diag_init(&diag);
    bool good = build_write(&input, &model->target, &options, &diag);
    selfc_tokenizer_close(tokenizer);
    if (good) build_note(model, kind, &input);
    api_input_free(&input);
    if (!good) return api_fail_with(&diag);
    diag_free(&diag);
    return 0;
}
