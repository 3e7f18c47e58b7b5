/* include/selfc.h, the part that holds and moves tensors: reading, writing, loading and saving states. */
#include "frontend/api.h"

#include "runtime/data/data.h"

#include <stdlib.h>
#include <string.h>

static void api_tensor_describe(const SelfcState *state, SelfcTensorInfo *info) {
    *info = (SelfcTensorInfo){.name = state->tensor.name,
                              .dtype = selfc_dtype_name(state->tensor.dtype),
                              .rank = state->tensor.rank,
                              .bytes = selfc_tensor_bytes(&state->tensor, 1),
                              .is_parameter = state->is_parameter};
    memcpy(info->dim, state->tensor.dim, sizeof info->dim);
}

size_t selfc_tensor_count(SelfcModel *model) {
    return api_need_code(model, true) ? 0 : model->compiled.module->state_count;
}

int selfc_tensor_info(SelfcModel *model, size_t index, SelfcTensorInfo *info) {
    if (api_need_code(model, true)) return 1;
    uint32_t count = model->compiled.module->state_count;
    if (index >= count) return api_fail("there is no tensor %zu: the model has %u", index, count);
    api_tensor_describe(&model->compiled.module->states[index], info);
    return 0;
}

static const SelfcState *api_state(SelfcModel *model, const char *name) {
    const SelfcModule *module = model->compiled.module;
    const SelfcState *state = selfc_find_state(module, name);
    if (state) return state;
    const char **names = malloc((module->state_count + 1) * sizeof *names);
    if (!names) die("no memory");
    for (uint32_t i = 0; i < module->state_count; i++) names[i] = module->states[i].tensor.name;
    const char *nearest = diag_nearest(name, names, module->state_count);
    free(names);
    if (nearest)
        api_fail("there is no tensor \"%s\"; did you mean \"%s\"?", name, nearest);
    else
        api_fail("there is no tensor \"%s\" among the model's %u", name, module->state_count);
    return NULL;
}

/* Where the tensor is, if it has as many bytes as the caller thinks. */
static void *api_state_data(SelfcModel *model, const char *name, size_t bytes) {
    if (api_need_session(model, true)) return NULL;
    const SelfcState *state = api_state(model, name);
    if (!state) return NULL;
    size_t has = selfc_tensor_bytes(&state->tensor, 1);
    char shape[128];
    if (has == bytes) return (char *)model->compiled.session->state + state->offset;
    api_fail("%s is %s, which takes %zu bytes, not %zu", name, selfc_tensor_print(&state->tensor, shape), has, bytes);
    return NULL;
}

int selfc_tensor_read(SelfcModel *model, const char *name, void *out, size_t bytes) {
    const void *data = api_state_data(model, name, bytes);
    if (!data) return 1;
    memcpy(out, data, bytes);
    return 0;
}

int selfc_tensor_write(SelfcModel *model, const char *name, const void *data, size_t bytes) {
    void *place = api_state_data(model, name, bytes);
    if (!place) return 1;
    memcpy(place, data, bytes);
    selfc_session_changed(model->compiled.session);
    model->is_trained = true;
    return 0;
}

static bool api_same_tensor(const SelfcTensor *a, const SelfcTensor *b) {
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int32_t i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

static const SelfcEntry *api_entry(const SelfcTensors *tensors, const char *name) {
    for (uint32_t i = 0; i < tensors->count; i++)
        if (!strcmp(tensors->entries[i].name, name)) return &tensors->entries[i];
    return NULL;
}

enum { API_LISTED = 8 };

/* Writes a line about a weight that the file lacks or has in another shape; counts. */
static void api_compare_entry(FILE *out, const SelfcState *state, const SelfcEntry *entry, uint32_t *differences) {
    char want[128], have[128];
    if (entry ? api_same_tensor(&state->tensor, &entry->tensor) : !state->is_weight) return;
    if ((*differences)++ >= API_LISTED) return;
    selfc_tensor_print(&state->tensor, want);
    if (entry)
        fprintf(out, "\n  %s is %s in it, but the description wants %s", state->tensor.name,
                selfc_tensor_print(&entry->tensor, have), want);
    else
        fprintf(out, "\n  %s, %s, is not in it", state->tensor.name, want);
}

/* Every weight must be in the file; other states are taken if they are there. */
static int api_check_entries(const char *path, const SelfcModule *module, const SelfcTensors *tensors) {
    char *list = NULL;
    size_t length;
    uint32_t differences = 0;
    FILE *out = open_memstream(&list, &length);
    if (!out) die("no memory");
    for (uint32_t i = 0; i < module->state_count; i++)
        api_compare_entry(out, &module->states[i], api_entry(tensors, module->states[i].tensor.name), &differences);
    if (differences > API_LISTED) fprintf(out, "\n  and %u more", differences - API_LISTED);
    fclose(out);
    if (differences) api_fail("%s: error: these are not the weights of the description:%s", path, list);
    free(list);
    return differences != 0;
}

int api_load(Compiled *compiled, const char *path) {
    SelfcTensors tensors;
    if (selfc_safetensors_read(path, &tensors)) return api_fail("%s", selfc_failure());
    const SelfcModule *module = compiled->module;
    int failed = api_check_entries(path, module, &tensors);
    for (uint32_t i = 0; i < module->state_count && !failed; i++) {
        const SelfcState *state = &module->states[i];
        const SelfcEntry *entry = api_entry(&tensors, state->tensor.name);
        void *place = (char *)compiled->session->state + state->offset;
        if (entry) memcpy(place, entry->data, selfc_tensor_bytes(&state->tensor, 1));
    }
    selfc_session_changed(compiled->session);
    selfc_safetensors_free(&tensors);
    return failed;
}

/* What is not compiled yet takes its weights from the file when it is. */
int selfc_weights_load(SelfcModel *model, const char *path) {
    if (api_need_session(model, false) || api_load(&model->compiled, path)) return 1;
    model->weights = arena_copy(model->arena, path);
    model->is_trained = true;
    return 0;
}

int selfc_weights_save(SelfcModel *model, const char *path) {
    if (api_need_session(model, true)) return 1;
    const SelfcModule *module = model->compiled.module;
    SelfcWrite *writes = calloc(module->state_count + 1, sizeof *writes);
    if (!writes) die("no memory");
    uint32_t count = 0;
    for (uint32_t i = 0; i < module->state_count; i++) {
        const SelfcState *state = &module->states[i];
        const void *data = (const char *)model->compiled.session->state + state->offset;
        if (state->is_weight) writes[count++] = (SelfcWrite){state->tensor.name, &state->tensor, data};
    }
    ApiClassTexts classes = api_class_texts(model);
    const char *metadata[9] = {"format", "pt", "model", module->name};
    int said = 4;
    if (classes.labels) metadata[said++] = "labels", metadata[said++] = classes.labels;
    if (classes.problem_type) metadata[said++] = "problem_type", metadata[said++] = classes.problem_type;
    int failed = selfc_safetensors_write(path, writes, count, metadata);
    free(writes);
    return failed ? api_fail("%s", selfc_failure()) : 0;
}
