/* training.init: where it is, whether it fits, and a session that begins with it.
 *
 * A relative path begins in the description's folder, wherever selfc was called, so that a description and what it
 * begins with can be moved together. What is opened as a RUN has weights of its own and does not look here, unless
 * it is trained anew. */
#include "frontend/api.h"

#include "runtime/text/tokenizer.h"
#include "runtime/train/begin.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder that a file is in, without links; NULL if there is none. free() */
static char *begin_folder(const char *file, Arena *arena) {
    const char *slash = strrchr(file, '/');
    return realpath(slash ? arena_printf(arena, "%.*s/", (int)(slash - file), file) : ".", NULL);
}

void api_begin_resolve(SelfcModel *model) {
    BeginSpec spec = model_begin(model->description);
    char *folder = spec.from && spec.from[0] != '/' ? begin_folder(model->options.file, model->arena) : NULL;
    if (folder) model_begin_at(model->description, arena_printf(model->arena, "%s/%s", folder, spec.from));
    free(folder);
}

SelfcBegin api_begin(const SelfcModel *model) {
    BeginSpec spec = model_begin(model->description);
    struct stat status;
    SelfcBegin begin = {spec.from, spec.names, spec.name_count, spec.fresh, spec.fresh_count};
    if (spec.from && stat(spec.from, &status) == 0 && S_ISDIR(status.st_mode))
        begin.path = arena_printf(model->arena, "%s/weights.safetensors", spec.from);
    return begin;
}

const char *api_begin_tokenizer(const SelfcModel *model) {
    SelfcBegin begin = api_begin(model);
    bool is_run = begin.path && begin.path != model_begin(model->description).from;
    const char *path =
        is_run ? arena_printf(model->arena, "%s/tokenizer.json", model_begin(model->description).from) : NULL;
    return path && !access(path, R_OK) ? path : NULL;
}

/* Rows of an embedding mean the tokens of the vocabulary that they were learnt with. */
int api_begin_check_tokenizer(const SelfcModel *model) {
    const char *path = model->tokenizer && !model->weights ? api_begin_tokenizer(model) : NULL;
    SelfcTokenizer *kept = path ? selfc_tokenizer_open(path) : NULL;
    if (!kept) return path ? api_fail("%s", selfc_failure()) : 0;
    long long tokens = selfc_tokenizer_size(model->tokenizer), kept_tokens = selfc_tokenizer_size(kept);
    bool is_same = selfc_tokenizer_same(model->tokenizer, kept);
    selfc_tokenizer_close(kept);
    if (is_same) return 0;
    Diag diag;
    diag_init(&diag);
    model_begin_error(
        model->description, &diag,
        arena_printf(model->arena,
                     "the weights there were learnt with the %lld tokens of %s, but the description's tokenizer is "
                     "another, with %lld: let \"tokenizer\" name that file; weights that have nothing to do with "
                     "tokens are named as weights.safetensors of the RUN",
                     kept_tokens, path, tokens));
    return api_fail_with(&diag);
}

/* Why the file cannot be read, as far as training.init has to do with it. */
static const char *begin_missing(const SelfcModel *model) {
    const char *from = model_begin(model->description).from;
    if (!access(arena_printf(model->arena, "%s/config.json", from), F_OK))
        return arena_printf(model->arena, "%s is no RUN, but `selfc import %s -o RUN` makes one of it", from, from);
    return arena_printf(model->arena,
                        "%s is not there, or no RUN with weights.safetensors: \"init\" names a RUN, which may be an "
                        "import, or a safetensors file; a relative path begins in the folder of the description",
                        from);
}

static int begin_fail(const SelfcModel *model, const SelfcBegin *begin) {
    Diag diag;
    diag_init(&diag);
    model_begin_error(model->description, &diag, access(begin->path, F_OK) ? begin_missing(model) : selfc_failure());
    return api_fail_with(&diag);
}

static void begin_note(const SelfcModel *model, const SelfcBegin *begin, char *spare) {
    if (spare) api_note(model, "nothing takes these of %s:%s", begin->path, spare);
    free(spare);
}

/* --- a look, before anything is compiled --- */

static bool begin_is_seen(const SelfcPlace *places, uint32_t count, const char *name) {
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(places[i].tensor->name, name)) return true;
    return false;
}

static const SelfcTensor *begin_tensor(const GraphInput *input, Arena *arena) {
    SelfcTensor *tensor = arena_array(arena, SelfcTensor, 1);
    *tensor =
        (SelfcTensor){.name = input->name, .dtype = (int32_t)input->type.dtype, .rank = (int32_t)input->type.rank};
    for (uint32_t i = 0; i < input->type.rank; i++) tensor->dim[i] = input->type.dim[i];
    return tensor;
}

/* What is saved as weights: all parameters, and states that other programs than the first, the training step, read. */
static uint32_t begin_places(Graph *const *graphs, uint32_t count, SelfcPlace *places, Arena *arena) {
    uint32_t found = 0;
    for (uint32_t g = 0; g < count; g++)
        for (uint32_t i = 0; i < graphs[g]->input_count; i++) {
            const GraphInput *input = &graphs[g]->inputs[i];
            bool is_weight = input->kind == INPUT_parameter || (input->kind == INPUT_state && g > 0);
            if (is_weight && !begin_is_seen(places, found, input->name))
                places[found++] = (SelfcPlace){begin_tensor(input, arena), NULL};
        }
    return found;
}

int api_begin_check(const SelfcModel *model, Graph *const *graphs, uint32_t count) {
    SelfcBegin begin = api_begin(model);
    if (!begin.path || model->weights) return 0;
    SelfcTensors tensors;
    char *spare = NULL;
    uint32_t most = 1;
    for (uint32_t g = 0; g < count; g++) most += graphs[g]->input_count;
    SelfcPlace *places = arena_array(model->arena, SelfcPlace, most);
    uint32_t found = begin_places(graphs, count, places, model->arena);
    if (selfc_safetensors_read(begin.path, &tensors)) return begin_fail(model, &begin);
    int failed = selfc_begin(&begin, &tensors, begin.path, places, found, &spare);
    selfc_safetensors_free(&tensors);
    begin_note(model, &begin, spare);
    return failed ? begin_fail(model, &begin) : 0;
}

/* --- a session --- */

int api_begin_states(const SelfcModel *model, Compiled *compiled) {
    SelfcBegin begin = api_begin(model);
    char *spare = NULL;
    if (!begin.path) return 0;
    if (api_begin_check_tokenizer(model)) return 1;
    int failed = selfc_begin_states(&begin, compiled->module, compiled->session->state, &spare);
    selfc_session_changed(compiled->session);
    if (compiled->has_training)
        begin_note(model, &begin, spare);
    else
        free(spare);
    return failed ? begin_fail(model, &begin) : 0;
}
