/* include/selfc.h, the part that runs: functions on memory and on .npy files, training steps, the training loop.
 *
 * Compiled programs take their inputs in one list with the seeds of random operations ("$key", "$sample") among
 * them; callers never see those two. */
#include "frontend/api.h"

#include "runtime/data/data.h"

#include <stdlib.h>
#include <string.h>

bool api_is_hidden(const SelfcTensor *tensor) { return tensor->name[0] == '$'; }

static void api_io_describe(const SelfcTensor *tensor, SelfcTensorInfo *info) {
    *info = (SelfcTensorInfo){.name = tensor->name, .dtype = selfc_dtype_name(tensor->dtype), .rank = tensor->rank};
    memcpy(info->dim, tensor->dim, sizeof info->dim);
    bool has_batch = false;
    for (int32_t i = 0; i < tensor->rank; i++) has_batch |= tensor->dim[i] < 0;
    if (!has_batch) info->bytes = selfc_tensor_bytes(tensor, 1);
}

const SelfcProgram *api_compiled_program(SelfcModel *model, const char *function) {
    const char *name = api_function(model, function);
    if (!name || api_need_code(model, !strcmp(name, "train") || !strcmp(name, "evaluate"))) return NULL;
    return selfc_find_program(model->compiled.module, name);
}

int selfc_function_info(SelfcModel *model, const char *function, SelfcTensorInfo *infos, size_t most, size_t *inputs,
                        size_t *outputs) {
    const SelfcProgram *program = api_compiled_program(model, function);
    if (!program) return 1;
    size_t count = 0;
    *inputs = 0;
    for (uint32_t i = 0; i < program->input_count + program->output_count; i++) {
        if (i < program->input_count && api_is_hidden(&program->io[i])) continue;
        if (count < most) api_io_describe(&program->io[i], &infos[count]);
        if (i < program->input_count) ++*inputs;
        count++;
    }
    *outputs = count - *inputs;
    return 0;
}

static void api_set_key(int32_t key[3], uint64_t seed, int64_t step) {
    key[0] = (int32_t)(uint32_t)seed;
    key[1] = (int32_t)(uint32_t)(seed >> 32);
    key[2] = (int32_t)step;
}

void api_fill_hidden(SelfcModel *model, const SelfcTensor *tensor, int64_t n, int64_t step, void *out) {
    if (!strcmp(tensor->name, "$key")) api_set_key(out, api_seed(model), step);
    for (int64_t i = 0; !strcmp(tensor->name, "$sample") && i < n; i++) ((int32_t *)out)[i] = (int32_t)i;
}

/* Fills io's inputs: the caller's in order, and the hidden two. */
static void api_bind_inputs(Compiled *compiled, const SelfcProgram *program, const void *const *inputs,
                            const int32_t *sample, void **io) {
    for (uint32_t i = 0; i < program->input_count; i++) {
        const char *name = program->io[i].name;
        if (!strcmp(name, "$key"))
            io[i] = compiled->key;
        else if (!strcmp(name, "$sample"))
            io[i] = (void *)(uintptr_t)sample;
        else
            io[i] = (void *)(uintptr_t)*inputs++;
    }
}

int api_execute(SelfcModel *model, const SelfcProgram *program, int64_t n, const int32_t *sample,
                const void *const *inputs, void *const *outputs) {
    if (api_need_session(model, model->compiled.has_training)) return 1;
    Compiled *compiled = &model->compiled;
    if (selfc_session_reserve(compiled->session, program, n)) return api_fail("%s", selfc_failure());
    void **io = calloc(program->input_count + program->output_count + 1, sizeof *io);
    if (!io) return api_fail("no memory to run %s", program->name);
    api_set_key(compiled->key, api_seed(model), 0);
    api_bind_inputs(compiled, program, inputs, sample, io);
    for (uint32_t i = 0; i < program->output_count; i++) io[program->input_count + i] = outputs[i];
    selfc_execute(compiled->session, program, io, n);
    free(io);
    return 0;
}

int selfc_run(SelfcModel *model, const char *function, int64_t n, const void *const *inputs, void *const *outputs) {
    const SelfcProgram *program = api_compiled_program(model, function);
    if (!program) return 1;
    if (!strcmp(program->name, "train")) return api_fail("\"train\" is run by selfc_train_step");
    if (n < 1) return api_fail("%s: the batch is %lld, but must be at least 1", program->name, (long long)n);
    int32_t *sample = calloc((size_t)n, sizeof *sample);
    if (!sample) return api_fail("no memory for %lld samples", (long long)n);
    for (int64_t i = 0; i < n; i++) sample[i] = (int32_t)i;
    int failed = api_execute(model, program, n, sample, inputs, outputs);
    free(sample);
    return failed;
}

/* --- the training step --- */

/* Memory for the outputs of the training step (scalars), and the list of its interface. */
static int api_prepare_step(Compiled *compiled, const SelfcProgram *program) {
    if (compiled->io) return 0;
    if (selfc_session_reserve(compiled->session, program, program->batch)) return api_fail("%s", selfc_failure());
    compiled->io = calloc(program->input_count + program->output_count + 1, sizeof *compiled->io);
    compiled->results = calloc((size_t)program->output_count * 16 + 1, sizeof *compiled->results);
    if (!compiled->io || !compiled->results) die("no memory");
    for (uint32_t i = 0; i < program->output_count; i++)
        compiled->io[program->input_count + i] = &compiled->results[i * 16];
    return 0;
}

int selfc_train_step(SelfcModel *model, const void *const *inputs, const int32_t *sample, int64_t step, float *reports,
                     size_t report_count) {
    if (!model_has_training(model->description))
        return api_fail("%s: error: the description has no \"training\"", model->options.file);
    if (api_need_session(model, true)) return 1;
    Compiled *compiled = &model->compiled;
    const SelfcTraining *training = &compiled->module->training;
    const SelfcProgram *program = &compiled->module->programs[training->train];
    if (api_prepare_step(compiled, program)) return 1;
    api_set_key(compiled->key, api_seed(model), step);
    api_bind_inputs(compiled, program, inputs, sample, compiled->io);
    selfc_execute(compiled->session, program, compiled->io, program->batch);
    model->is_trained = true;
    for (size_t i = 0; i < report_count && i < training->report_count; i++)
        for (uint32_t j = 0; j < program->output_count; j++)
            if (!strcmp(program->io[program->input_count + j].name, training->reports[i]))
                reports[i] = compiled->results[j * 16];
    return 0;
}

/* As many epochs as were asked for, in the RUN's description and in schedules, too, be it that the step is compiled
 * already. */
static void run_set_epochs(SelfcModel *model, int64_t epochs) {
    if (!epochs || epochs == model_epochs(model->description)) return;
    model_set_epochs(model->description, epochs);
    model->compiled.has_training = false;
}

int selfc_train_run(SelfcModel *model, const SelfcTrainRun *run) {
    if (!model_has_training(model->description))
        return api_fail("%s: error: the description has no \"training\"", model->options.file);
    SelfcTrainRun settings = {.size = sizeof settings};
    if (run) memcpy(&settings, run, run->size < sizeof settings ? run->size : sizeof settings);
    if (settings.resume && !settings.out) settings.out = model->folder;
    Diag diag;
    diag_init(&diag);
    if (api_need_shapes(model)) return 1;
    if (!settings.resume && !model_check_samples(model->description, &diag)) return api_fail_with(&diag);
    run_set_epochs(model, settings.epochs);
    if (api_need_code(model, true)) return 1;
    SelfcTrainOptions options = {.data = model->options.data,
                                 .out = settings.out,
                                 .steps = settings.steps,
                                 .minutes = settings.minutes,
                                 .seed = model->options.seed,
                                 .has_seed = model->options.has_seed,
                                 .threads = model->options.threads,
                                 .cache = model->options.cache ? model->options.cache : "",
                                 .resume = settings.resume,
                                 .quiet = settings.quiet,
                                 .prepare_seconds = api_seconds() - model->opened,
                                 .find_operation = api_find_operation,
                                 .find_context = model};
    int code = selfc_train(model->compiled.module, &options);
    if (code == 1) api_fail("%s", selfc_failure());
    return code;
}

/* --- .npy files --- */

/* The file of "NAME=FILE" for this tensor, or NULL. A function's only input or output needs no name. */
static const char *api_file_for(const char *name, bool is_only, const char *const *pairs, size_t count) {
    size_t length = strlen(name);
    for (size_t i = 0; i < count; i++) {
        if (!strncmp(pairs[i], name, length) && pairs[i][length] == '=') return pairs[i] + length + 1;
        if (is_only && !strchr(pairs[i], '=')) return pairs[i];
    }
    return NULL;
}

static uint32_t api_visible_inputs(const SelfcProgram *program) {
    uint32_t visible = 0;
    for (uint32_t i = 0; i < program->input_count; i++) visible += !api_is_hidden(&program->io[i]);
    return visible;
}

/* Every pair must be NAME=FILE with the name of one of the tensors. */
static int api_check_pairs(const char *function, const char *what, const SelfcTensor *tensors, uint32_t count,
                           bool is_only, const char *const *pairs, size_t pair_count) {
    for (size_t p = 0; p < pair_count; p++) {
        bool known = false;
        for (uint32_t i = 0; i < count; i++)
            known |= !api_is_hidden(&tensors[i]) && api_file_for(tensors[i].name, is_only, &pairs[p], 1);
        if (known) continue;
        const char *names[64];
        uint32_t most = count < 64 ? count : 64;
        for (uint32_t i = 0; i < most; i++) names[i] = tensors[i].name;
        const char *equals = strchr(pairs[p], '=');
        if (!equals) return api_fail("--%s %s: NAME=FILE is wanted", what, pairs[p]);
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(equals - pairs[p]), pairs[p]);
        const char *nearest = diag_nearest(name, names, most);
        return api_fail("--%s %s: function \"%s\" has no %s \"%s\"; %s \"%s\"", what, pairs[p], function, what, name,
                        nearest ? "did you mean" : "its first is",
                        nearest ? nearest
                        : count ? names[0]
                                : "");
    }
    return 0;
}

/* The batch that makes `tensor` of the array's shape; -1 if none does; 0: any. */
static int64_t api_batch_of(const SelfcTensor *tensor, const SelfcTensor *array) {
    if (tensor->rank != array->rank || tensor->dtype != array->dtype) return -1;
    int64_t n = 0;
    for (int32_t i = 0; i < tensor->rank; i++) {
        int64_t want = tensor->dim[i], have = array->dim[i];
        if (want >= 0 && want != have) return -1;
        if (want >= 0) continue;
        if (have < 1 || have % -want || (n && n != have / -want)) return -1;
        n = have / -want;
    }
    return n;
}

/* Reads the input files; *n is the batch that they agree on. */
static int api_read_inputs(const SelfcProgram *program, const char *const *pairs, size_t count, SelfcArray *arrays,
                           int64_t *n) {
    *n = 0;
    bool is_only = api_visible_inputs(program) == 1;
    for (uint32_t i = 0, a = 0; i < program->input_count; i++) {
        const SelfcTensor *tensor = &program->io[i];
        if (api_is_hidden(tensor)) continue;
        char want[128], have[128];
        const char *file = api_file_for(tensor->name, is_only, pairs, count);
        if (!file)
            return api_fail("function \"%s\" wants --input %s=FILE.npy with %s", program->name, tensor->name,
                            selfc_tensor_print(tensor, want));
        if (selfc_npy_read(file, &arrays[a])) return api_fail("%s", selfc_failure());
        int64_t batch = api_batch_of(tensor, &arrays[a].tensor);
        if (batch < 0)
            return api_fail("%s: error: it holds %s, but \"%s\" of \"%s\" is %s", file,
                            selfc_tensor_print(&arrays[a].tensor, have), tensor->name, program->name,
                            selfc_tensor_print(tensor, want));
        if (batch && *n && batch != *n)
            return api_fail("%s: error: it holds %lld samples, but the inputs before it %lld", file, (long long)batch,
                            (long long)*n);
        if (batch) *n = batch;
        a++;
    }
    if (!*n) *n = 1;
    return 0;
}

static int api_write_outputs(const SelfcProgram *program, const char *const *pairs, size_t count, int64_t n,
                             void *const *outputs) {
    for (uint32_t i = 0; i < program->output_count; i++) {
        const SelfcTensor *tensor = &program->io[program->input_count + i];
        const char *file = api_file_for(tensor->name, program->output_count == 1, pairs, count);
        char own[256];
        snprintf(own, sizeof own, "%s.npy", tensor->name);
        if (selfc_npy_write(file ? file : own, tensor, outputs[i], n)) return api_fail("%s", selfc_failure());
    }
    return 0;
}

/* Runs with the arrays read; outputs has room for output_count pointers, which the caller frees. */
static int api_run_arrays(SelfcModel *model, const SelfcProgram *program, const SelfcArray *arrays, int64_t n,
                          void **outputs) {
    const void *inputs[64];
    for (uint32_t i = 0; i < 64 && i < program->input_count; i++) inputs[i] = arrays[i].data;
    for (uint32_t i = 0; i < program->output_count; i++) {
        size_t bytes = selfc_tensor_bytes(&program->io[program->input_count + i], n);
        outputs[i] = aligned_alloc(64, (bytes + 127) / 64 * 64);
        if (!outputs[i]) return api_fail("no memory for the output \"%s\"", program->io[program->input_count + i].name);
    }
    return selfc_run(model, program->name, n, inputs, outputs);
}

bool api_reads_states(const SelfcProgram *program) {
    for (; program; program = program->prepare)
        for (uint32_t i = 0; i < program->call_count; i++)
            for (uint32_t k = 0; k < program->calls[i].arg_count; k++)
                if (program->calls[i].args[k].base == 0) return true;
    return false;
}

int selfc_run_files(SelfcModel *model, const char *function, const char *const *inputs, size_t input_count,
                    const char *const *outputs, size_t output_count) {
    const SelfcProgram *program = api_compiled_program(model, function);
    if (!program) return 1;
    if (program->input_count > 64) return api_fail("%s has more than 64 inputs", program->name);
    if (api_check_pairs(program->name, "input", program->io, program->input_count, api_visible_inputs(program) == 1,
                        inputs, input_count) ||
        api_check_pairs(program->name, "output", program->io + program->input_count, program->output_count,
                        program->output_count == 1, outputs, output_count))
        return 1;
    if (!model->is_trained && api_reads_states(program))
        api_note(model, "\"%s\" runs with untrained weights, as the seed made them; name a RUN for trained ones",
                 program->name);
    SelfcArray *arrays = calloc(program->input_count + 1, sizeof *arrays);
    void **results = calloc(program->output_count + 1, sizeof *results);
    if (!arrays || !results) die("no memory");
    int64_t n;
    int failed = api_read_inputs(program, inputs, input_count, arrays, &n) ||
                 api_run_arrays(model, program, arrays, n, results) ||
                 api_write_outputs(program, outputs, output_count, n, results);
    for (uint32_t i = 0; i < program->input_count; i++) free(arrays[i].data);
    for (uint32_t i = 0; i < program->output_count; i++) free(results[i]);
    free(arrays);
    free(results);
    return failed;
}
