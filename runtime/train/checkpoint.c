/* Checkpoints: every state of the module, and in the metadata where the run stands. Batches, noise and order of samples
 * are functions of (seed, step), so this is all that going on with the same bits takes. Sums of the line of
 * metrics that is not yet written are kept, too.
 *
 * A checkpoint of another description is refused as a whole, with a list of what differs: parameters that are half
 * old and half fresh train without a complaint and mean nothing. */
#include "runtime/data/file.h"
#include "runtime/train/trainer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKPOINT_LISTED = 8 };

static char *checkpoint_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *checkpoint_text(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text;
    if (vasprintf(&text, format, arguments) < 0) abort();
    va_end(arguments);
    return text;
}

const char *checkpoint_bad_state(const Trainer *trainer) {
    for (uint32_t i = 0; i < trainer->module->state_count; i++) {
        const SelfcState *state = &trainer->module->states[i];
        const void *values = (const char *)trainer->session->state + state->offset;
        if (!scan_is_finite(values, state->tensor.dtype, selfc_tensor_elements(&state->tensor, 0)))
            return state->tensor.name;
    }
    return NULL;
}

static bool checkpoint_write_states(const Trainer *trainer, const char *name, bool only_weights,
                                    const char *const *metadata) {
    const SelfcModule *module = trainer->module;
    SelfcWrite *entries = calloc(module->state_count + 1, sizeof *entries);
    if (!entries) return selfc_fail("no memory for a checkpoint"), false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < module->state_count; i++) {
        const SelfcState *state = &module->states[i];
        if (only_weights && !state->is_weight) continue;
        entries[count++] =
            (SelfcWrite){state->tensor.name, &state->tensor, (const char *)trainer->session->state + state->offset};
    }
    char *path = file_join(trainer->folder, name);
    bool is_fine = !selfc_safetensors_write(path, entries, count, metadata);
    free(path);
    free(entries);
    return is_fine;
}

bool checkpoint_write_weights(const Trainer *trainer) {
    const SelfcTraining *training = &trainer->module->training;
    const char *metadata[9] = {"format", "selfc weights", "model", trainer->module->name};
    int count = 4;
    if (training->labels) metadata[count++] = "labels", metadata[count++] = training->labels;
    if (training->problem_type) metadata[count++] = "problem_type", metadata[count++] = training->problem_type;
    return checkpoint_write_states(trainer, "weights.safetensors", true, metadata);
}

/* "12 0x1.8p+3 0x1p+0": how many steps, and the sums of their reports. */
static char *checkpoint_sums(int64_t steps, const double *sums, uint32_t count) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (!out) abort();
    fprintf(out, "%lld", (long long)steps);
    for (uint32_t i = 0; i < count; i++) fprintf(out, " %a", sums[i]);
    fclose(out);
    return text;
}

/* A checkpoint without this key leaves the sums empty. */
static void checkpoint_set_sums(const SelfcTensors *tensors, const char *key, int64_t *steps, double *sums,
                                uint32_t count) {
    char *text = selfc_safetensors_metadata(tensors, key), *end;
    if (!text) return;
    *steps = strtoll(text, &end, 10);
    for (uint32_t i = 0; i < count; i++) sums[i] = strtod(end, &end);
    free(text);
}

bool checkpoint_write(Trainer *trainer) {
    if (trainer->saved_step == trainer->step) return true;
    int64_t epoch = trainer->step / trainer->epoch_steps, position = trainer->step % trainer->epoch_steps;
    uint32_t reports = trainer->module->training.report_count;
    char *numbers[] = {
        checkpoint_text("%lld", (long long)trainer->step),
        checkpoint_text("%lld", (long long)epoch),
        checkpoint_text("%lld", (long long)position),
        checkpoint_text("%llu", (unsigned long long)trainer->seed),
        checkpoint_text("%lld", (long long)trainer->train.capacity),
        checkpoint_text("%lld", (long long)trainer->feed.count[SELFC_TRAIN]),
        checkpoint_text("%a", trainer->seconds),
        checkpoint_sums(trainer->epoch_sum_steps, trainer->epoch_sum, reports),
        checkpoint_sums(trainer->window_steps, trainer->window, reports),
        checkpoint_text("%a", trainer->window_seconds),
        checkpoint_text("%016llx", (unsigned long long)trainer->data_print),
    };
    const char *metadata[] = {
        "format",    "selfc checkpoint 1", "model",        trainer->module->name,
        "step",      numbers[0],           "epoch",        numbers[1],
        "position",  numbers[2],           "seed",         numbers[3],
        "batch",     numbers[4],           "samples",      numbers[5],
        "seconds",   numbers[6],           "epoch_sums",   numbers[7],
        "line_sums", numbers[8],           "line_seconds", numbers[9],
        "data",      numbers[10],          NULL,
    };
    bool is_fine = checkpoint_write_states(trainer, "checkpoint.safetensors", false, metadata);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) free(numbers[i]);
    if (is_fine) trainer->saved_step = trainer->step;
    return is_fine;
}

/* Writes a line about state and entry (one may be NULL) where they differ; counts. */
static void checkpoint_compare(FILE *out, const SelfcState *state, const SelfcEntry *entry, int *differences) {
    char a[128], b[128];
    const char *name = state ? state->tensor.name : entry->name;
    bool is_same =
        state && entry && state->tensor.dtype == entry->tensor.dtype && state->tensor.rank == entry->tensor.rank &&
        !memcmp(state->tensor.dim, entry->tensor.dim, (size_t)state->tensor.rank * sizeof *state->tensor.dim);
    if (is_same || (*differences)++ >= CHECKPOINT_LISTED) return;
    if (!state)
        fprintf(out, "\n  %s: only in the checkpoint, %s", name, selfc_tensor_print(&entry->tensor, b));
    else if (!entry)
        fprintf(out, "\n  %s: only in the model, %s", name, selfc_tensor_print(&state->tensor, a));
    else
        fprintf(out, "\n  %s: %s in the model, %s in the checkpoint", name, selfc_tensor_print(&state->tensor, a),
                selfc_tensor_print(&entry->tensor, b));
}

static bool checkpoint_check_states(const SelfcModule *module, const SelfcTensors *tensors, const char *path) {
    char *list = NULL;
    size_t length;
    int differences = 0;
    FILE *out = open_memstream(&list, &length);
    if (!out) return selfc_fail("no memory to compare %s", path), false;
    for (uint32_t i = 0; i < module->state_count; i++)
        checkpoint_compare(out, &module->states[i], selfc_safetensors_find(tensors, module->states[i].tensor.name),
                           &differences);
    for (uint32_t i = 0; i < tensors->count; i++)
        if (!selfc_find_state(module, tensors->entries[i].name))
            checkpoint_compare(out, NULL, &tensors->entries[i], &differences);
    if (differences > CHECKPOINT_LISTED) fprintf(out, "\n  and %d more", differences - CHECKPOINT_LISTED);
    fclose(out);
    if (differences) selfc_fail("%s: was made from a different description:%s", path, list);
    free(list);
    return differences == 0;
}

static bool checkpoint_number(const SelfcTensors *tensors, const char *path, const char *key, int64_t *number) {
    char *text = selfc_safetensors_metadata(tensors, key), *end = text;
    if (text) *number = (int64_t)strtoull(text, &end, 10);
    bool is_fine = text && end > text && !*end;
    free(text);
    if (!is_fine) selfc_fail("%s: not a checkpoint of selfc: its metadata has no number for \"%s\"", path, key);
    return is_fine;
}

static bool checkpoint_same(const char *path, const char *what, int64_t now, int64_t then) {
    if (now == then) return true;
    selfc_fail("%s: was made with %s %lld, now it is %lld; the same run cannot go on", path, what, (long long)then,
               (long long)now);
    return false;
}

/* Where the run stood; the seed is the checkpoint's. */
static bool checkpoint_read_place(Trainer *trainer, const SelfcTensors *tensors, const char *path) {
    int64_t step, seed, batch, samples;
    if (!checkpoint_number(tensors, path, "step", &step) || !checkpoint_number(tensors, path, "seed", &seed) ||
        !checkpoint_number(tensors, path, "batch", &batch) || !checkpoint_number(tensors, path, "samples", &samples))
        return false;
    if (step < 0) return selfc_fail("%s: not a checkpoint of selfc: step %lld", path, (long long)step), false;
    if (trainer->options->has_seed && !checkpoint_same(path, "seed", (int64_t)trainer->options->seed, seed))
        return false;
    if (!checkpoint_same(path, "a batch of", trainer->train.capacity, batch)) return false;
    if (!checkpoint_same(path, "samples counting", trainer->feed.count[SELFC_TRAIN], samples)) return false;
    char *data = selfc_safetensors_metadata(tensors, "data"), *seconds = selfc_safetensors_metadata(tensors, "seconds"),
         *line_seconds = selfc_safetensors_metadata(tensors, "line_seconds");
    uint32_t reports = trainer->module->training.report_count;
    trainer->step = trainer->saved_step = step;
    trainer->seed = (uint64_t)seed;
    trainer->has_other_data = data && strtoull(data, NULL, 16) != trainer->data_print;
    trainer->seconds = seconds ? strtod(seconds, NULL) : 0;
    trainer->window_seconds = line_seconds ? strtod(line_seconds, NULL) : 0;
    checkpoint_set_sums(tensors, "epoch_sums", &trainer->epoch_sum_steps, trainer->epoch_sum, reports);
    checkpoint_set_sums(tensors, "line_sums", &trainer->window_steps, trainer->window, reports);
    free(data);
    free(seconds);
    free(line_seconds);
    return true;
}

bool checkpoint_read(Trainer *trainer) {
    SelfcTensors tensors;
    char *path = file_join(trainer->folder, "checkpoint.safetensors");
    bool is_fine = !selfc_safetensors_read(path, &tensors);
    if (is_fine) {
        is_fine =
            checkpoint_check_states(trainer->module, &tensors, path) && checkpoint_read_place(trainer, &tensors, path);
        for (uint32_t i = 0; is_fine && i < trainer->module->state_count; i++) {
            const SelfcState *state = &trainer->module->states[i];
            memcpy((char *)trainer->session->state + state->offset,
                   selfc_safetensors_find(&tensors, state->tensor.name)->data, selfc_tensor_bytes(&state->tensor, 0));
        }
        selfc_session_changed(trainer->session);
        selfc_safetensors_free(&tensors);
    }
    free(path);
    return is_fine;
}
