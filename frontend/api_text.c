/* The tokenizer of a description's texts.
 *
 * It is opened with the description, since the size of its vocabulary is a number like those of "let": embeddings and
 * products have that many rows. What it says (vocabulary, mask) becomes an override of the description, as --data does,
 * and so does its name: a RUN holds it as tokenizer.json beside the description, whatever it was opened from. */
#include "frontend/api.h"

#include "runtime/data/file.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* A path of the description is relative to its folder. A tokenizer that is not there may lie with the data: who trains
 * a vocabulary on a text has both in one place. Or it is that of the weights which training begins with. A RUN has its
 * own, and no other will do. */
static const char *text_path(const SelfcModel *model, const char *path, const char *data, Arena *arena) {
    const char *slash = strrchr(model->options.file, '/');
    if (path[0] == '/') return path;
    const char *beside =
        slash ? arena_printf(arena, "%.*s/%s", (int)(slash - model->options.file), model->options.file, path) : path;
    const char *with_data = data ? arena_printf(arena, "%s/%s", data, path) : NULL;
    int stem = slash ? (int)(slash - model->options.file) : 0;
    if (slash && file_exists(arena_printf(arena, "%.*s/weights.safetensors", stem, model->options.file))) return beside;
    if (file_exists(beside)) return beside;
    if (with_data && file_exists(with_data)) return with_data;
    const char *of_weights = api_begin_tokenizer(model);
    return of_weights ? of_weights : beside;
}

/* NULL after selfc_fail. */
static SelfcTokenizer *text_open(const SelfcModel *model, const DataSpec *text) {
    const char *data = model->options.data ? model->options.data : text->path;
    if (!text->tokenizer) return selfc_fail("the texts have no \"tokenizer\""), NULL;
    if (strcmp(text->tokenizer, "characters"))
        return selfc_tokenizer_open(text_path(model, text->tokenizer, data, model->arena));
    if (data) return selfc_text_characters(data, text->unit);
    selfc_fail("tokens are the characters of its text, but where is that? Give it with --data or \"path\"");
    return NULL;
}

static bool text_keep(SelfcModel *model) {
    char *text = selfc_tokenizer_json(model->tokenizer);
    if (!text) return false;
    model->tokenizer_text = arena_copy(model->arena, text);
    free(text);
    return true;
}

static void text_set(SelfcModel *model, const char *input) {
    Arena *arena = model->arena;
    SelfcOptions *options = &model->options;
    const char **sets = arena_array(arena, const char *, options->set_count + 3);
    if (options->set_count) memcpy(sets, options->sets, options->set_count * sizeof *sets);
    int32_t mask = selfc_tokenizer_find(model->tokenizer, "[MASK]");
    sets[options->set_count++] = arena_printf(arena, "training.data.%s.tokenizer=\"tokenizer.json\"", input);
    sets[options->set_count++] = arena_printf(arena, "training.data.%s.vocabulary=%lld", input,
                                              (long long)selfc_tokenizer_size(model->tokenizer));
    if (mask >= 0) sets[options->set_count++] = arena_printf(arena, "training.data.%s.mask=%d", input, mask);
    options->sets = sets;
}

/* What the description says of the tokenizer itself must be so. */
static int text_check(const SelfcModel *model, const DataSpec *text) {
    int64_t size = selfc_tokenizer_size(model->tokenizer);
    int32_t mask = selfc_tokenizer_find(model->tokenizer, "[MASK]");
    if (text->vocabulary && text->vocabulary != size)
        return api_fail(
            "%s: error: training input \"%s\": its vocabulary is described as %lld tokens, but the tokenizer "
            "(%s) has %lld",
            model->options.file, text->input, (long long)text->vocabulary, text->tokenizer, (long long)size);
    if (text->mask >= 0 && mask >= 0 && text->mask != mask)
        return api_fail("%s: error: training input \"%s\": [MASK] is described as the token %lld, but in the tokenizer "
                        "(%s) it is %d",
                        model->options.file, text->input, (long long)text->mask, text->tokenizer, mask);
    return 0;
}

int api_set_tokenizer(SelfcModel *model) {
    const DataSpec *text = model_text(model->description);
    if (!text) return 0;
    model->tokenizer = text_open(model, text);
    if (model->tokenizer && !text_keep(model)) {
        selfc_tokenizer_close(model->tokenizer);
        model->tokenizer = NULL;
    }
    if (!model->tokenizer) return model->tokenizer_failure = arena_copy(model->arena, selfc_failure()), 0;
    if (text_check(model, text)) return 1;
    text_set(model, text->input);
    return 0;
}

int api_need_tokenizer(const SelfcModel *model) {
    const DataSpec *text = model_text(model->description);
    bool is_needed = text && (!text->source || !strcmp(text->source, "text"));
    if (!is_needed || model->tokenizer) return 0;
    return api_fail(
        "%s: error: training input \"%s\": %s\n"
        "A tokenizer stands beside the description or in the folder of --data; `selfc tokenize --train TEXT "
        "--size 8000 -o vocab.txt` makes one",
        model->options.file, text->input, model->tokenizer_failure);
}

const SelfcTokenizer *api_tokenizer(SelfcModel *model) {
    if (api_need_tokenizer(model)) return NULL;
    if (model->tokenizer) return model->tokenizer;
    const char *file = model->options.file, *slash = strrchr(file, '/');
    model->tokenizer =
        selfc_tokenizer_open(slash ? arena_printf(model->arena, "%.*s", (int)(slash - file), file) : ".");
    if (model->tokenizer) return model->tokenizer;
    api_fail(
        "%s\nTexts are read by the model's tokenizer, which stands as tokenizer.json beside its description: name a "
        "RUN whose training reads texts, or one that was imported",
        selfc_failure());
    return NULL;
}
