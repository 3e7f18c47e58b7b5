/* include/selfc.h, selfc_export: a RUN becomes a folder that the `transformers` package loads, and where texts have
 * embeddings, sentence-transformers, too.
 *
 * Sizes are those of the weights; what weights do not show (heads, dropout, the activation) is what the description
 * gives the module `bert`. So anything that was trained with it can be exported, not only what was imported. Where a
 * module of the description calls it, names begin with that module's ("encode.bert.word.weight"): they are looked up
 * without it. */
#include "frontend/api_import.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    SelfcModel *model;
    const char *path, *out; /* of the weights; the folder to write */
    Arena *arena;
    SelfcTensors weights;
    const char *inside; /* what names of weights of `bert` begin with: "bert.", "encode.bert." */
    const char **names; /* of each of the weights, as in bert.def; NULL: it has no place there */
    Bert bert;
    BertTensors tensors;
    SelfcTokenizer *tokenizer; /* NULL: there is none */
    const SelfcEntry **found;
} Export;

/* --- names --- */

/* Beside `bert` stands what is called by the same module: "encode.bert_pooler.dense.weight". */
static const char *export_name(const Export *export, const char *name) {
    size_t inside = strlen(export->inside), beside = inside - 1;
    while (beside && export->inside[beside - 1] != '.') beside--;
    if (!strncmp(name, export->inside, inside)) return arena_printf(export->arena, "bert.%s", name + inside);
    if (!strncmp(name, "bert.", 5)) return NULL; /* of another call */
    return strncmp(name, export->inside, beside) ? name : name + beside;
}

static void export_names(Export *export) {
    export->names = arena_array(export->arena, const char *, export->weights.count + 1);
    for (uint32_t i = 0; i < export->weights.count; i++)
        export->names[i] = export_name(export, export->weights.entries[i].name);
}

static const SelfcEntry *export_find(const Export *export, const char *name) {
    for (uint32_t i = 0; i < export->weights.count; i++)
        if (export->names[i] && !strcmp(export->names[i], name)) return &export->weights.entries[i];
    return NULL;
}

/* --- what it is --- */

static int64_t export_axis(const Export *export, const char *name, int axis) {
    const SelfcEntry *entry = export_find(export, name);
    return entry && axis < entry->tensor.rank ? entry->tensor.dim[axis] : 0;
}

static bool export_has(const Export *export, const char *name) { return export_find(export, name) != NULL; }

/* 0 where the call has no such number. */
static double export_number(const Export *export, const char *param) {
    double number = 0;
    model_call_number(export->model->description, NULL, "bert", param, &number);
    return number;
}

/* Without these config.json would tell of another model. A module "bert" of the description's own may have them under
 * other names, or under none. */
static int export_check_numbers(const Export *export) {
    static const char *const needed[] = {"heads", "epsilon"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (export_number(export, needed[i]) <= 0)
            return api_fail("%s: error: its module \"bert\" knows no positive number called \"%s\", which config.json "
                            "has to tell: give it that name in the module's \"params\" or in \"let\"",
                            export->model->options.file, needed[i]);
    return 0;
}

static void export_sizes(Export *export) {
    Bert *bert = &export->bert;
    bert->vocabulary = export_axis(export, "bert.word.weight", 0);
    bert->units = export_axis(export, "bert.word.weight", 1);
    bert->positions = export_axis(export, "bert.position.weight", 0);
    bert->kinds = export_axis(export, "bert.segment.weight", 0);
    bert->inner = export_axis(export, "bert.layer.0.widened.weight", 1);
    bert->labels = export_axis(export, "classifier.weight", 1);
    while (export_has(export, arena_printf(export->arena, "bert.layer.%lld.query.weight", (long long)bert->layers)))
        bert->layers++;
    bert->heads = (int64_t)export_number(export, "heads");
    bert->epsilon = export_number(export, "epsilon");
    bert->dropout = export_number(export, "dropout");
    bert->attention_dropout = export_number(export, "attention_dropout");
    bert->activation = export_number(export, "relu") != 0   ? ACTIVATION_relu
                       : export_number(export, "tanh") != 0 ? ACTIVATION_tanh
                                                            : ACTIVATION_gelu;
    ApiClasses classes = api_weights_classes(&export->weights, export->arena);
    if (classes.count == bert->labels) bert->label_names = classes.names;
    bert->is_exclusive = !classes.takes_any;
    bert->is_tied = !export_has(export, "output.weight");
    bert->has_pooler = export_has(export, "bert_pooler.dense.weight");
}

/* An embedding of a text is what the function `encode` makes of bert's rows, if it is as an import's. */
static void export_embedding(Export *export) {
    const Model *description = export->model->description;
    double takes_first = 0;
    export->bert.has_embedding = model_ends_in(description, "encode", "bert", "hidden", "text_features");
    model_call_number(description, "encode", "text_features", "first", &takes_first);
    export->bert.takes_first = takes_first != 0;
    model_function_for(description, "encode", INT64_MAX, &export->bert.longest);
}

static int export_kind(Export *export, const char *as) {
    static const char *const architecture[] = {[BERT_masked_lm] = "BertForMaskedLM",
                                               [BERT_encoder] = "BertModel",
                                               [BERT_classifier] = "BertForSequenceClassification"};
    Bert *bert = &export->bert;
    bert->kind = export_has(export, "masked_language_model.transform.weight") ? BERT_masked_lm
                 : export_has(export, "classifier.weight")                    ? BERT_classifier
                                                                              : BERT_encoder;
    if (as && bert_kind_find(as, &bert->kind)) return 1;
    if (bert->kind == BERT_classifier && !bert->labels)
        return api_fail(
            "%s: error: there is no dense layer called \"classifier\", which transformers' classifiers have "
            "behind a \"bert_pooler\"; --as encoder exports what stands before the head",
            export->path);
    bert->architecture = architecture[bert->kind];
    return 0;
}

static int export_describe(Export *export, const char *as) {
    export->inside = model_call_path(export->model->description, "bert", export->arena);
    if (!export->inside)
        return api_fail("%s: error: neither its training, nor a function, nor a module that they call, calls the "
                        "library's module \"bert\" (without \"repeat\"), and only models made of it can be exported",
                        export->model->options.file);
    if (export_check_numbers(export)) return 1;
    export_names(export);
    export_sizes(export);
    export_embedding(export);
    if (export->bert.layers && export->bert.units && export->bert.inner) return export_kind(export, as);
    return api_fail("%s: error: there are no weights called %sword.weight, %slayer.0.query.weight and so on, as the "
                    "description's call of the module \"bert\" has them",
                    export->path, export->inside, export->inside);
}

/* --- tensors --- */

enum { EXPORT_LISTED = 8 };

static bool export_same(const SelfcTensor *a, const SelfcTensor *b) {
    bool is_same = a->dtype == b->dtype && a->rank == b->rank;
    for (int32_t i = 0; is_same && i < a->rank; i++) is_same = a->dim[i] == b->dim[i];
    return is_same;
}

static bool export_is_wanted(const Export *export, const char *name) {
    for (uint32_t i = 0; i < export->tensors.count; i++)
        if (!strcmp(export->tensors.items[i].here, name)) return true;
    return false;
}

/* Lines about what is not there, has another shape, or (unless the kind was asked for) would be lost. */
static uint32_t export_compare(Export *export, bool may_lose, FILE *out) {
    uint32_t count = 0;
    char want[128], has[128];
    for (uint32_t i = 0; i < export->tensors.count; i++) {
        const BertTensor *tensor = &export->tensors.items[i];
        const SelfcEntry *entry = export->found[i] = export_find(export, tensor->here);
        if (entry && export_same(&entry->tensor, &tensor->tensor)) continue;
        if (count++ >= EXPORT_LISTED) continue;
        fprintf(out, "\n  %s is %s, but must be %s", entry ? entry->name : tensor->here,
                entry ? selfc_tensor_print(&entry->tensor, has) : "not there",
                selfc_tensor_print(&tensor->tensor, want));
    }
    for (uint32_t i = 0; i < export->weights.count && !may_lose; i++) {
        const SelfcEntry *entry = &export->weights.entries[i];
        bool is_wanted = export->names[i] && export_is_wanted(export, export->names[i]);
        if (is_wanted || count++ >= EXPORT_LISTED) continue;
        fprintf(out, "\n  %s, %s, has no place there", entry->name, selfc_tensor_print(&entry->tensor, has));
    }
    if (count > EXPORT_LISTED) fprintf(out, "\n  and %u more", count - EXPORT_LISTED);
    return count;
}

static int export_match(Export *export, bool may_lose) {
    char *list = NULL;
    size_t length;
    FILE *out = open_memstream(&list, &length);
    if (!out) die("no memory");
    export->tensors = bert_tensors(&export->bert, export->arena);
    export->found = arena_array(export->arena, const SelfcEntry *, export->tensors.count + 1);
    uint32_t count = export_compare(export, may_lose, out);
    fclose(out);
    if (count)
        api_fail("%s: error: these weights make no %s:%s\n--as says what it is to be: masked-lm, encoder, or "
                 "classifier, whose head is a dense layer called \"classifier\"; weights beyond it are then left out",
                 export->path, export->bert.architecture, list);
    free(list);
    return count != 0;
}

/* Owned by the caller: free(). */
static float *export_values(const BertTensor *tensor, const SelfcEntry *entry) {
    size_t bytes = selfc_tensor_bytes(&tensor->tensor, 0);
    float *values = malloc(bytes), *turned = malloc(bytes);
    if (!values || !turned) die("no memory for %s", tensor->here);
    memcpy(values, entry->data, bytes);
    if (!tensor->is_dense) return free(turned), values;
    bert_turn(turned, values, tensor->tensor.dim[0], tensor->tensor.dim[1]);
    free(values);
    return turned;
}

static int export_write_weights(Export *export) {
    uint32_t count = export->tensors.count, written = 0;
    SelfcWrite *writes = arena_array(export->arena, SelfcWrite, count + 2);
    SelfcTensor *there = arena_array(export->arena, SelfcTensor, count + 1);
    float **values = arena_array(export->arena, float *, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        const BertTensor *tensor = &export->tensors.items[i];
        there[i] = bert_shape_there(tensor);
        values[i] = export_values(tensor, export->found[i]);
        writes[written++] = (SelfcWrite){tensor->there, &there[i], values[i]};
        /* A decoder that is not tied has a bias of its own; transformers keeps a second one that nothing reads. */
        if (!strcmp(tensor->there, "cls.predictions.decoder.bias"))
            writes[written++] = (SelfcWrite){"cls.predictions.bias", &there[i], values[i]};
    }
    const char *const metadata[] = {"format", "pt", NULL};
    int failed = selfc_safetensors_write(arena_printf(export->arena, "%s/model.safetensors", export->out), writes,
                                         written, metadata);
    for (uint32_t i = 0; i < count; i++) free(values[i]);
    return failed ? api_fail("%s", selfc_failure()) : 0;
}

/* --- the folder --- */

static int export_check_out(const Export *export) {
    void *bytes;
    size_t size;
    const char *path = arena_printf(export->arena, "%s/config.json", export->out);
    if (!selfc_file_read(path, &bytes, &size))
        return free(bytes), api_fail("%s holds a model already; name another folder with -o", export->out);
    return selfc_make_folders(export->out) ? api_fail("%s", selfc_failure()) : 0;
}

/* config.json comes last: without it the folder is no model. */
static int export_all(Export *export, const char *as, FILE *report) {
    if (selfc_safetensors_read(export->path, &export->weights)) return api_fail("%s", selfc_failure());
    if (export_describe(export, as) || export_match(export, as != NULL) ||
        bert_open_tokenizer(export->model->folder, &export->bert, export->arena, &export->tokenizer) ||
        export_check_out(export) || export_write_weights(export) ||
        bert_export_tokenizer(export->tokenizer, export->out, &export->bert, export->arena) ||
        bert_write_sentence(export->out, &export->bert, export->arena) ||
        bert_write_config(export->out, &export->bert, export->arena))
        return 1;
    fprintf(report, "%s: a %s, %lld layers of %lld, %lld words\n", export->out, export->bert.architecture,
            (long long)export->bert.layers, (long long)export->bert.units, (long long)export->bert.vocabulary);
    return 0;
}

int selfc_export(SelfcModel *model, const char *folder, const char *as, FILE *report) {
    if (!model->folder)
        return api_fail("%s: error: a description has no trained weights to export; name a RUN", model->options.file);
    Export export = {.model = model, .path = model->weights, .out = folder, .arena = arena_new()};
    int failed = export_all(&export, as, report);
    selfc_safetensors_free(&export.weights);
    selfc_tokenizer_close(export.tokenizer);
    arena_free(export.arena);
    return failed;
}
