/* Fine-tuning for selfc_eval: the function with a linear classifier behind it, trained as one on the labelled samples.
 *
 * The description is made from the model's own: its modules and numbers stay, its function becomes the module
 * `selfc_features`, and training and functions are new. So the function's weight `encode.h.weight` is called
 * `selfc_features.encode.h.weight` there, and begins as the model has it: as learnt in a RUN, as the seed drew it
 * otherwise, which is training from scratch. */
#include "frontend/api_eval.h"
#include "runtime/train/begin.h"

#include <stdlib.h>
#include <string.h>

/* The second is for texts whose encoder has learnt something: a larger rate would make it forget. Of Devlin et al.
 * 2019, appendix A.3. */
static const struct {
    int64_t batch, least_steps, most_steps, epochs;
    double rate;
} finetune_recipe[] = {{64, 1000, 20000, 10, 0.001}, {32, 400, 20000, 3, 0.00005}};
static const double finetune_decay = 0.01, finetune_texts = 0.99; /* as many of them are not cut */

static bool is_careful(const Eval *eval) { return eval->embed.lengths.count && eval->model->is_trained; }

static const char *input_name(const Eval *eval, uint32_t input) {
    return arena_printf(eval->model->arena, "selfc_input%u", input);
}

/* --- the description --- */

/* What takes a function's place as a module: {"inputs", "layers", "outputs"}, its first result alone. Of a function for
 * several lengths, it is the copy in use. */
static cJSON *made_module(const Eval *eval, const cJSON *function) {
    const Embed *embed = &eval->embed;
    cJSON *module = cJSON_CreateObject();
    if (cJSON_GetObjectItemCaseSensitive(function, "module")) {
        cJSON *inputs = cJSON_AddArrayToObject(module, "inputs");
        for (uint32_t i = 0; i < embed->wanted.count; i++)
            cJSON_AddItemToArray(inputs, cJSON_CreateString(wanted_tensor(embed->program, i)->name));
        cJSON_AddItemToArray(cJSON_AddArrayToObject(module, "layers"), cJSON_Duplicate(function, true));
    } else {
        static const char *const kept[] = {"inputs", "layers", "outputs"};
        for (int i = 0; i < 3; i++) {
            const cJSON *item = cJSON_GetObjectItemCaseSensitive(function, kept[i]);
            if (item) cJSON_AddItemToObject(module, kept[i], cJSON_Duplicate(item, true));
        }
    }
    if (cJSON_GetObjectItemCaseSensitive(function, "lengths"))
        cJSON_AddNumberToObject(cJSON_AddObjectToObject(module, "let"), "length",
                                (double)lengths_text(embed->program)->dim[1]);
    if (embed->program->output_count == 1) return module;
    cJSON_DeleteItemFromObjectCaseSensitive(module, "outputs");
    cJSON_AddStringToObject(module, "outputs", embed->output->name);
    return module;
}

static cJSON *made_shape(const SelfcTensor *tensor, bool has_batch) {
    cJSON *shape = cJSON_CreateArray();
    if (has_batch) cJSON_AddItemToArray(shape, cJSON_CreateString("n"));
    for (int32_t i = 1; i < tensor->rank; i++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->dim[i]));
    return shape;
}

/* Adds {"shape", "type"} under the input's name. */
static cJSON *add_input(const Eval *eval, cJSON *inputs, uint32_t input, bool has_batch) {
    const SelfcTensor *tensor = wanted_tensor(eval->embed.program, input);
    cJSON *item = cJSON_AddObjectToObject(inputs, input_name(eval, input));
    cJSON_AddItemToObject(item, "shape", made_shape(tensor, has_batch));
    cJSON_AddStringToObject(item, "type", selfc_dtype_name(tensor->dtype));
    return item;
}

/* The function's inputs as it takes them. Training makes f32 numbers of u8 data; a function of bytes gets them back. */
static cJSON *made_arguments(const Eval *eval, bool is_training) {
    cJSON *arguments = cJSON_CreateArray();
    for (uint32_t i = 0; i < eval->embed.wanted.count; i++) {
        int32_t dtype = wanted_tensor(eval->embed.program, i)->dtype;
        const char *name = input_name(eval, i);
        if (is_training && dtype != SELFC_f32 && dtype != SELFC_i32 && dtype != SELFC_i64)
            name = arena_printf(eval->model->arena, "cast(%s, '%s')", name, selfc_dtype_name(dtype));
        cJSON_AddItemToArray(arguments, cJSON_CreateString(name));
    }
    return arguments;
}

static cJSON *add_layer(cJSON *layers, const char *kind, const char *what) {
    cJSON *layer = cJSON_CreateObject();
    cJSON_AddStringToObject(layer, kind, what);
    cJSON_AddItemToArray(layers, layer);
    return layer;
}

/* The features as rows, and the classifier. */
static cJSON *made_layers(const Eval *eval, bool is_training) {
    cJSON *layers = cJSON_CreateArray(), *layer = add_layer(layers, "module", "selfc_features"), *shape;
    cJSON_AddItemToObject(layer, "input", made_arguments(eval, is_training));
    layer = add_layer(layers, "layer", "reshape");
    shape = cJSON_AddArrayToObject(layer, "shape");
    cJSON_AddItemToArray(shape, cJSON_CreateString("n"));
    cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)eval->embed.features));
    if (is_careful(eval)) /* embeddings of length 1 become numbers of the size 1 */
        add_layer(layers, "expr",
                  arena_printf(eval->model->arena, "normalize(it) * sqrt(%lld)", (long long)eval->embed.features));
    layer = add_layer(layers, "layer", "dense");
    cJSON_AddNumberToObject(layer, "units", (double)eval->classes);
    cJSON_AddStringToObject(layer, "name", "selfc_head");
    if (!is_training) return layers;
    layer = add_layer(layers, "expr", "mean(cross_entropy(selfc_head, selfc_label))");
    cJSON_AddStringToObject(layer, "name", "selfc_loss");
    return layers;
}

static cJSON *made_training(const Eval *eval, int64_t batch, int64_t steps) {
    cJSON *training = cJSON_CreateObject(), *data = cJSON_AddObjectToObject(training, "data"), *item;
    for (uint32_t i = 0; i < eval->embed.wanted.count; i++) {
        item = add_input(eval, data, i, false);
        cJSON_AddStringToObject(item, "source", "npy");
        cJSON_AddNumberToObject(item, "scale", 1);
        int32_t dtype = wanted_tensor(eval->embed.program, i)->dtype;
        if (dtype == SELFC_i32 || dtype == SELFC_i64) cJSON_DeleteItemFromObjectCaseSensitive(item, "scale");
    }
    const DataSpec *text = model_text(eval->model->description);
    if (text && text->vocabulary) cJSON_AddNumberToObject(data->child, "vocabulary", (double)text->vocabulary);
    if (text && text->mask >= 0) cJSON_AddNumberToObject(data->child, "mask", (double)text->mask);
    item = cJSON_AddObjectToObject(data, "selfc_label");
    cJSON_AddStringToObject(item, "source", "npy");
    cJSON_AddStringToObject(item, "field", "label");
    cJSON_AddItemToObject(training, "layers", made_layers(eval, true));
    cJSON_AddStringToObject(training, "minimize", "selfc_loss");
    cJSON *optimizer = cJSON_AddObjectToObject(training, "optimizer");
    long long warm_up = (long long)(steps / 10);
    cJSON_AddStringToObject(optimizer, "name", "adamw");
    cJSON_AddStringToObject(optimizer, "learning_rate",
                            arena_printf(eval->model->arena,
                                         "%g * min(1, step / %lld) * cosine_decay(step, %lld, start=%lld)",
                                         finetune_recipe[is_careful(eval)].rate, warm_up > 0 ? warm_up : 1,
                                         (long long)steps - warm_up, warm_up));
    cJSON_AddNumberToObject(optimizer, "weight_decay", finetune_decay);
    cJSON_AddNumberToObject(training, "batch", (double)batch);
    return training;
}

static void replace(cJSON *object, const char *key, cJSON *item) {
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    cJSON_AddItemToObject(object, key, item);
}

/* NULL after api_fail. */
static SelfcModel *finetune_open(const Eval *eval, int64_t batch, int64_t steps) {
    SelfcModel *model = eval->model;
    cJSON *made = cJSON_Parse(model_resolved(model->description, model->arena));
    if (!made) die("the resolved description is no JSON");
    const cJSON *functions = cJSON_GetObjectItemCaseSensitive(made, "functions");
    cJSON *module = made_module(eval, cJSON_GetObjectItemCaseSensitive(functions, eval->embed.function));
    cJSON *modules = cJSON_GetObjectItemCaseSensitive(made, "modules");
    if (!modules) modules = cJSON_AddObjectToObject(made, "modules");
    cJSON_AddItemToObject(modules, "selfc_features", module);
    cJSON_DeleteItemFromObjectCaseSensitive(made, "optimizers"); /* they may take the names of the library's */
    replace(made, "training", made_training(eval, batch, steps));
    cJSON *classify = cJSON_CreateObject(), *inputs = cJSON_AddObjectToObject(classify, "inputs");
    for (uint32_t i = 0; i < eval->embed.wanted.count; i++) add_input(eval, inputs, i, true);
    cJSON_AddItemToObject(classify, "layers", made_layers(eval, false));
    replace(made, "functions", cJSON_CreateObject());
    cJSON_AddItemToObject(cJSON_GetObjectItemCaseSensitive(made, "functions"), "classify", classify);
    char *text = cJSON_Print(made);
    if (!text) die("no memory");
    SelfcModel *opened = api_open_made(model, text);
    free(text);
    cJSON_Delete(made);
    return opened;
}

/* --- weights --- */

/* A session's weights as a file would hold them; entries: free(). */
static SelfcTensors finetune_weights(const Compiled *from) {
    SelfcTensors tensors = {.entries = calloc(from->module->state_count + 1, sizeof *tensors.entries)};
    if (!tensors.entries) die("no memory");
    for (uint32_t i = 0; i < from->module->state_count; i++) {
        const SelfcState *state = &from->module->states[i];
        const void *data = (const char *)from->session->state + state->offset;
        tensors.entries[tensors.count++] = (SelfcEntry){(char *)(uintptr_t)state->tensor.name, state->tensor, data};
    }
    return tensors;
}

/* The function's weights begin as the model has them; the classifier is new. */
static int finetune_begin(Eval *eval, SelfcModel *made) {
    static const char *const names[] = {"selfc_features", ""}, *const fresh[] = {"selfc_head"};
    const SelfcBegin begin = {.names = names, .name_count = 2, .fresh = fresh, .fresh_count = 1};
    if (api_need_session(made, true)) return 1;
    const Compiled *to = &made->compiled;
    SelfcTensors tensors = finetune_weights(&eval->model->compiled);
    SelfcPlace *places = arena_array(made->arena, SelfcPlace, to->module->state_count + 1);
    uint32_t count = 0, is_new = 0;
    for (uint32_t i = 0; i < to->module->state_count; i++) {
        const SelfcState *state = &to->module->states[i];
        if (!state->is_weight) continue;
        is_new += !strncmp(state->tensor.name, "selfc_head.", strlen("selfc_head."));
        places[count++] = (SelfcPlace){&state->tensor, (char *)to->session->state + state->offset};
    }
    char *spare = NULL;
    int failed = selfc_begin(&begin, &tensors, eval->model->options.file, places, count, &spare);
    selfc_session_changed(to->session);
    free(tensors.entries);
    free(spare);
    cJSON_AddNumberToObject(eval->result, "weights_matched", failed ? 0 : count - is_new);
    cJSON_AddNumberToObject(eval->result, "weights_of_function", count - is_new);
    return failed ? api_fail("%s", selfc_failure()) : 0;
}

/* --- training and test --- */

static int finetune_fill(void *context, const int32_t *index, int64_t n, void *const *inputs) {
    const Eval *eval = context;
    int32_t *label = inputs[eval->embed.wanted.count];
    for (int64_t i = 0; i < n; i++) label[i] = eval->chosen[index[i]];
    if (embed_fill(&eval->embed, SELFC_TRAIN, label, n, inputs)) return 1;
    for (int64_t i = 0; i < n; i++) label[i] = eval->train_label[index[i]];
    return 0;
}

static int finetune_train(Eval *eval, SelfcModel *made, int64_t batch, int64_t epochs) {
    Fit fit = {.made = made,
               .what = "fine-tuning",
               .input_count = eval->embed.wanted.count + 1,
               .count = eval->train_count,
               .batch = batch,
               .epochs = epochs,
               .seed = eval->seed,
               .shown_for = eval->model,
               .fill = finetune_fill,
               .context = eval};
    for (uint32_t i = 0; i < eval->embed.wanted.count; i++) fit.input[i] = input_name(eval, i);
    fit.input[eval->embed.wanted.count] = "selfc_label";
    return eval_fit(&fit);
}

typedef struct {
    int32_t *next;
    int64_t classes;
} Classified;

static int finetune_take(void *context, const float *rows, int64_t n) {
    Classified *classified = context;
    for (int64_t i = 0; i < n; i++)
        *classified->next++ = eval_best(rows + i * classified->classes, classified->classes);
    return 0;
}

/* The made function takes the inputs that the model's own does, so the same samples fit. */
static int finetune_test(Eval *eval, SelfcModel *made) {
    Embed test = eval->embed;
    test.model = made;
    test.program = selfc_find_program(made->compiled.module, "classify");
    test.lengths = (Lengths){0};
    Classified classified = {eval->predicted, eval->classes};
    return embed_run(&test, SELFC_TEST, NULL, eval->test_count, finetune_take, &classified);
}

int eval_finetune(Eval *eval) {
    int recipe = is_careful(eval);
    int64_t batch = eval->settings.batch ? eval->settings.batch : finetune_recipe[recipe].batch;
    if (batch > eval->train_count) batch = eval->train_count;
    int64_t epochs = eval->settings.epochs;
    if (!epochs)
        epochs = eval_epochs(eval->train_count, batch, finetune_recipe[recipe].least_steps,
                             finetune_recipe[recipe].most_steps, finetune_recipe[recipe].epochs);
    if (embed_shorten(&eval->embed, eval->chosen, eval->train_count, finetune_texts)) return 1;
    SelfcModel *made = finetune_open(eval, batch, epochs * (eval->train_count / batch));
    int failed =
        !made || finetune_begin(eval, made) || finetune_train(eval, made, batch, epochs) || finetune_test(eval, made);
    selfc_close(made);
    cJSON_AddStringToObject(eval->result, "optimizer", "adamw");
    cJSON_AddNumberToObject(eval->result, "learning_rate", finetune_recipe[recipe].rate);
    cJSON_AddNumberToObject(eval->result, "weight_decay", finetune_decay);
    cJSON_AddNumberToObject(eval->result, "epochs", (double)epochs);
    cJSON_AddNumberToObject(eval->result, "batch", (double)batch);
    return failed;
}
