/* docs/language.md: the reference of the description language, made from the same tables as the reader.
 *
 * Tables give the lists; what joins them (scopes, sharing of weights, shapes) is prose and stands here. */
#include "frontend/keys.h"
#include "frontend/library.h"
#include "frontend/lower.h"

#include <string.h>

typedef struct {
    const char *text;
    uint32_t operands, strength;
    const char *meaning;
} OperatorLine;

static const OperatorLine operator_lines[] = {
#define OPERATOR(name, text, operands, strength, meaning) {text, operands, strength, meaning},
#include "frontend/operators.def"
};
enum { OPERATOR_LINES = sizeof operator_lines / sizeof *operator_lines };

static const char introduction[] =
    "# The description language\n"
    "\n"
    "This page is printed by `selfc help language` from the tables that the compiler reads. A description is one JSON\n"
    "file. `selfc check` says everything that is wrong with it; `selfc schema` prints a JSON Schema for editors.\n"
    "\n"
    "## How it works\n"
    "\n"
    "**Layers** are applied in order, each to the one before unless it names its `input`. A layer is a built-in\n"
    "(`layer`), a call of a module (`module`), or a formula (`expr`). Its `name` is what later formulas call its\n"
    "result; `it` is the layer before. A module that is called without a `name` brings its own output names into\n"
    "sight, as long as no name that was given explicitly is in the way. A name is given once.\n"
    "\n"
    "**Numbers** may be formulas wherever they stand: over `let`, over the `params` and `let` of the module, and over\n"
    "the `index` of a repetition. `n` is the batch, which a training step fixes and a function leaves open.\n"
    "\n"
    "**Weights** are named after the path of instances that leads to their layer: `encode.h.weight` is the weight of\n"
    "the layer `h` in the module `encode`; a layer without a name is called after its kind and place, `dense_0`. "
    "Equal\n"
    "names are the same weight. So calling a module twice from one place shares its weights, and `instance` gives a\n"
    "copy weights of its own. Modules called within a module belong to it: a copy owns copies of them. `repeat` makes\n"
    "the repetitions `block.0`, `block.1`, …, each with weights of its own; results of one are the inputs of the "
    "next,\n"
    "and inputs beyond those stay as they are.\n"
    "\n"
    "A formula may name a weight of a layer above it, from where it stands: `word.weight` in the module of the layer "
    "`word`,\n"
    "`encode.h.weight` where `encode` is called. So a table of words makes logits, too: `matmul(h, "
    "transpose(word.weight))`;\n"
    "the gradients of all uses of a weight are added.\n"
    "\n"
    "Normalisations scale by a `weight` and move by a `bias`; batch_norm also keeps `running_mean` and "
    "`running_var`,\n"
    "which functions read and which are saved with the weights.\n"
    "\n"
    "**Shapes** are checked where a module says them: `{\"x\": [\"n\", \"pixels\"]}`. A list of names, `[\"x\", "
    "\"y\"]`,\n"
    "takes any shapes. `{\"x\": {\"shape\": [\"n\"], \"type\": \"i32\"}}` says the element type, which is f32 "
    "otherwise.\n"
    "In a module `n` is the batch that it is called with: two views of each sample, joined by `concat(a, b, axis=0)`,\n"
    "are a batch twice as long.\n\n"
    "**Random** numbers are drawn by `normal`, `uniform`, `random_int`, `dropout` and the layers that change pictures "
    "at\n"
    "random. Each place in the description has its own stream, and each sample its own numbers, given by (seed, step,\n"
    "stream, sample, element): not by threads or by the place in a batch. Rows [k * n, …] are taken for k views of "
    "the\n"
    "batch, one after the other (row r is of sample r % n), as `concat(…, axis=0)`, `quarter_turned` and `jigsaw` "
    "make\n"
    "them; each view is a sample of its own. This holds for up to 16 views and sample numbers below 2^28; numbers of\n"
    "more views depend on the place in the batch.\n"
    "\n"
    "**Augmentation** is layers like any others: `random_resized_crop`, `random_flip`, `color_jitter` and so on, or "
    "modules\n"
    "of them like `simclr_augment`. They take pictures with values in 0..1 and act wherever they are called, in "
    "functions, too:\n"
    "they belong into `training.layers`, not into the module that functions share. Each picture gets parameters of its "
    "own.\n"
    "`selfc preview MODEL -o views.png` shows what they do, small pictures enlarged.\n"
    "\n"
    "**Training** minimises one value with one optimiser (`\"minimize\": \"loss\"`), or several, each over parameters "
    "of\n"
    "its own: `\"minimize\": [{\"loss\": \"a\", \"over\": \"encode\"}, …]`. All updates of a step start from the same\n"
    "parameters. Numbers of an optimiser may depend on `step`, which is 1 in the first one, on `steps_per_epoch`, "
    "which "
    "follows\n"
    "from the data, and on `steps`, those of all `epochs`, also as `--epochs` says: `\"learning_rate\": \"0.1 * "
    "warm_up(step,\n"
    "0.1 * steps) * cosine_decay(step, 0.9 * steps, start=0.1 * steps)\"`. (`--steps` and `--minutes` only stop "
    "early.) "
    "Weight\n"
    "decay leaves alone what `exclude` names: biases, scales and offsets if it is absent. `clip_norm` bounds the "
    "length of all gradients together. With\n"
    "`\"accumulate\": 4` the optimiser takes one step for every four batches, with the mean of their gradients; `step` "
    "counts\n"
    "those steps, and memory stays that of one batch. Batch norm still sees one batch at a time.\n"
    "\n"
    "`\"init\": \"RUN\"` begins with the weights of a RUN, which may be an import, by their names. All must be there "
    "but\n"
    "those that `new` names; `names` says what is called otherwise there: `{\"from\": \"minilm\", \"names\":\n"
    "{\"encode.bert\": \"bert\"}, \"new\": \"head\"}`. What does not fit is listed by `selfc check`. Parameters that "
    "`freeze`\n"
    "names stay as they begin, and no gradient of theirs is computed.\n"
    "\n"
    "The training step is called `train`, its loss and reports on a batch without updates `evaluate`: `selfc show` "
    "and\n"
    "`selfc profile` take both as `--function`, `selfc run` takes `evaluate`.\n"
    "\n"
    "**Overrides**: `--set training.batch=64` or `--set modules.encode.layers[0].units=512` replaces a value before\n"
    "anything is read.\n";

static void print_keys(FILE *out) {
    fprintf(out, "\n## Keys\n");
    for (int object = 0; object < OBJECT_COUNT; object++) {
        fprintf(out, "\n### %c%s\n\n| key | value | meaning |\n|---|---|---|\n", object_text[object][0] - 'a' + 'A',
                object_text[object] + 1);
        for (uint32_t i = 0; i < key_count; i++)
            if (key_info[i].object == (ObjectKind)object)
                fprintf(out, "| `%s`%s | %s | %s |\n", key_info[i].name, key_info[i].required ? " (required)" : "",
                        accept_info[key_info[i].accept].text, key_info[i].meaning);
    }
}

static void print_layers(FILE *out) {
    fprintf(out, "\n## Layers\n\nThe functions marked as layers below are layers, too: `{\"layer\": \"relu\"}`.\n");
    for (uint32_t i = 0; i < layer_count && !layer_info[i].function; i++) {
        OptionInfo option[MAX_OPTIONS];
        uint32_t count = layer_options(&layer_info[i], option);
        fprintf(out, "\n### %s\n\n%s\n", layer_info[i].name, layer_info[i].meaning);
        const char *inputs = layer_inputs_meaning(&layer_info[i]);
        if (inputs) fprintf(out, "\nInputs: %s.\n", inputs);
        if (count) fprintf(out, "\n| option | value | meaning |\n|---|---|---|\n");
        for (uint32_t j = 0; j < count; j++)
            fprintf(out, "| `%s`%s | %s | %s |\n", option[j].name, option[j].required ? " (required)" : "",
                    accept_find(option[j].value)->text, option[j].meaning);
    }
}

static void print_argument(FILE *out, const ArgumentInfo *argument, const char *comma) {
    fprintf(out, "%s%s", comma, argument->name);
    if (argument->kind == ARGUMENT_axes)
        fprintf(out, "=all");
    else if (argument->kind == ARGUMENT_flag)
        fprintf(out, "=false");
    else if (argument->kind == ARGUMENT_optional || argument->kind == ARGUMENT_list)
        fprintf(out, "=…");
    else if (!argument_required(argument->kind))
        fprintf(out, "=%g", argument->value);
}

static void print_formulas(FILE *out) {
    fprintf(out,
            "\n## Formulas\n\nNames, numbers, parentheses, calls with arguments by place or by name (`axis=1`), lists\n"
            "(`[n, 28, 28]`), positions and ranges (`x[:, 0:3]`, `x[..., -1]`, `x[:, ::2]`). Shapes meet by NumPy's\n"
            "rule: from the last axis, equal or 1. `true` is 1, `false` 0, `pi` 3.14159….\n\n"
            "Operators, loosest first:\n\n| operator | meaning |\n|---|---|\n");
    for (int i = 0; i < OPERATOR_LINES; i++)
        fprintf(out, "| `%s%s b` | %s |\n", operator_lines[i].operands == 1 ? "" : "a ", operator_lines[i].text,
                operator_lines[i].meaning);
    fprintf(out, "\n### Functions\n\n| function | layer | meaning |\n|---|---|---|\n");
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        const FunctionInfo *info = &function_info[i];
        fprintf(out, "| `%s(", info->name);
        for (uint32_t j = 0; j < function_arguments(info); j++) print_argument(out, &info->argument[j], j ? ", " : "");
        fprintf(out, ")` | %s | %s |\n", info->is_layer ? "yes" : "", info->meaning);
    }
}

static void print_tables(FILE *out) {
    fprintf(out, "\n## Data sources\n\n| source | field | meaning |\n|---|---|---|\n");
    for (uint32_t i = 0; i < source_count; i++)
        fprintf(out, "| `%s` | %s | %s |\n", source_info[i].name, source_info[i].field, source_info[i].meaning);
    fprintf(out, "\n## Element types\n\n| type | meaning |\n|---|---|\n");
    for (int i = 0; i < DTYPE_COUNT; i++) fprintf(out, "| `%s` | %s |\n", dtype_info[i].name, dtype_info[i].meaning);
}

/* What a call of a library's module may say: `mlp(x; hidden=256, depth=1, units)`. */
static void print_module(FILE *out, const Json *module, Arena *arena) {
    const Json *inputs = json_get(module, "inputs"), *params = json_get(module, "params");
    const Json *about = json_get(module, "about");
    fprintf(out, "| `%s` | ", module->key);
    for (const Json *input = inputs->child; input; input = input->next)
        fprintf(out, "%s`%s`", input == inputs->child ? "" : ", ", input->key ? input->key : input->text);
    fprintf(out, " | ");
    for (const Json *param = params ? params->child : NULL; param; param = param->next) {
        fprintf(out, "%s`%s", param == params->child ? "" : ", ", param->key);
        if (param->kind != JSON_null) fprintf(out, "=%s", json_print(param, arena));
        fprintf(out, "`%s", param->kind == JSON_null ? " (required)" : "");
    }
    fprintf(out, " | %s |\n", about ? about->text : "");
}

static void print_modules(FILE *out, Arena *arena) {
    uint32_t count;
    const Json **modules = library_items("modules", &count, arena);
    fprintf(out, "\n## Modules\n\nThe library's, to be called as a description's own, which may take their names: "
                 "`{\"module\": \"mlp\",\n\"params\": {\"units\": 64}}`.\n\n"
                 "| module | inputs | params | meaning |\n|---|---|---|---|\n");
    for (uint32_t i = 0; i < count; i++) print_module(out, modules[i], arena);
}

static void print_optimizers(FILE *out, Arena *arena) {
    uint32_t count;
    const Json **optimizers = library_items("optimizers", &count, arena);
    fprintf(out, "\n## Optimisers\n\nThey are descriptions themselves; `optimizers` in a description holds more.\n");
    for (uint32_t i = 0; i < count; i++) {
        const Json *item = optimizers[i];
        fprintf(out, "\n### %s\n\n%s\n\n", item->key, json_get(item, "about") ? json_get(item, "about")->text : "");
        for (const Json *param = json_get(item, "params")->child; param; param = param->next)
            fprintf(out, "* `%s`: %s\n", param->key, json_print(param, arena));
        fprintf(out, "\n```\n");
        for (const Json *line = json_get(item, "let") ? json_get(item, "let")->child : NULL; line; line = line->next)
            fprintf(out, "%s = %s\n", line->key, line->text);
        for (const Json *line = json_get(item, "update")->child; line; line = line->next)
            fprintf(out, "%s ← %s\n", line->key, line->text);
        fprintf(out, "```\n");
    }
}

void reference_print(FILE *out) {
    Arena *arena = arena_new();
    fputs(introduction, out);
    print_keys(out);
    print_layers(out);
    print_formulas(out);
    print_tables(out);
    print_modules(out, arena);
    print_optimizers(out, arena);
    arena_free(arena);
}
