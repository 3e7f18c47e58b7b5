/* The classes that weights tell apart. What they are goes with the weights, in the metadata of their file: their names,
 * a list in JSON under "labels", and under "problem_type", as transformers calls it, whether a text can be of several.
 */
#include "frontend/api.h"

#include "frontend/json.h"

#include <stdlib.h>
#include <string.h>

static const char *const *classes_names(const SelfcTensors *weights, Arena *arena, uint32_t *count) {
    char *text = selfc_safetensors_metadata(weights, "labels");
    Diag quiet;
    diag_init(&quiet);
    const Json *list = text ? json_parse(arena_copy(arena, text), "labels", arena, &quiet) : NULL;
    diag_free(&quiet);
    free(text);
    *count = 0;
    if (!list || list->kind != JSON_list) return NULL;
    const char **names = arena_array(arena, const char *, list->count + 1);
    for (const Json *item = list->child; item && item->kind == JSON_text; item = item->next)
        names[(*count)++] = item->text;
    if (*count == list->count) return names;
    *count = 0;
    return NULL;
}

ApiClasses api_weights_classes(const SelfcTensors *weights, Arena *arena) {
    ApiClasses classes = {0};
    char *problem = selfc_safetensors_metadata(weights, "problem_type");
    classes.names = classes_names(weights, arena, &classes.count);
    classes.takes_any = problem && !strcmp(problem, API_SEVERAL);
    free(problem);
    return classes;
}

static const char *classes_text(const SelfcTensors *weights, const char *key, Arena *arena) {
    char *text = selfc_safetensors_metadata(weights, key);
    const char *copy = text ? arena_copy(arena, text) : NULL;
    free(text);
    return copy;
}

/* A file that cannot be read has no classes; who needs its weights says what is wrong with it. */
static ApiClassTexts classes_of_file(const char *path, Arena *arena) {
    SelfcTensors tensors;
    if (!path || selfc_safetensors_read(path, &tensors)) return (ApiClassTexts){0};
    ApiClassTexts texts = {classes_text(&tensors, "labels", arena), classes_text(&tensors, "problem_type", arena)};
    selfc_safetensors_free(&tensors);
    return texts;
}

ApiClassTexts api_class_texts(const SelfcModel *model) {
    SelfcBegin begin = api_begin(model);
    const char *path = model->weights ? model->weights : begin.fresh_count ? NULL : begin.path;
    ApiClassTexts texts = classes_of_file(path, model->arena);
    const DataSpec *specs;
    uint32_t count = model_data(model->description, &specs);
    for (uint32_t i = count; i--;)
        if (specs[i].labels) texts.labels = specs[i].labels;
    return texts;
}
