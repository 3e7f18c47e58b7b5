/* The description of an imported model: functions over the library's modules `bert`, `text_features`, `bert_pooler`
 * and `masked_language_model`, each for some lengths of texts. Inputs are called what the data source `text` calls its
 * fields. */
#include "frontend/api_import.h"

#include <stdlib.h>
#include <string.h>

static void model_number(FILE *out, const char *name, double number) {
    char text[BERT_NUMBER];
    fprintf(out, ", \"%s\": %s", name, bert_number(number, text));
}

/* Lengths of texts, in tokens, that functions are made for. */
enum { MODEL_SHORTEST = 32, MODEL_LONGEST = 512 };

static void model_activation(FILE *out, const Bert *bert) {
    if (bert->activation == ACTIVATION_tanh) fprintf(out, ", \"tanh\": true");
    if (bert->activation == ACTIVATION_relu) fprintf(out, ", \"relu\": true");
}

/* Powers of two, and the longest that there are positions for; `longest`, if it is one, is less. */
static void model_lengths(FILE *out, const Bert *bert, int64_t longest) {
    int64_t most = bert->positions < MODEL_LONGEST ? bert->positions : MODEL_LONGEST;
    if (longest && longest < most) most = longest;
    for (int64_t length = MODEL_SHORTEST; length < most; length *= 2) fprintf(out, "%lld, ", (long long)length);
    fprintf(out, "%lld", (long long)most);
}

/* The beginning of a function: its inputs and the encoder. */
static void model_begin_function(FILE *out, const Bert *bert, const char *name, const char *about, const char *extra) {
    fprintf(out, "    \"%s\": {\n      \"about\": \"%s\",\n      \"lengths\": [", name, about);
    model_lengths(out, bert, strcmp(name, "encode") ? 0 : bert->longest);
    fprintf(out,
            "],\n      \"inputs\": {\n"
            "        \"text\": { \"shape\": [\"n\", \"length\"], \"type\": \"i32\" },\n"
            "        \"count\": { \"shape\": [\"n\"], \"type\": \"i32\" },\n%s"
            "        \"segment\": { \"shape\": [\"n\", \"length\"], \"type\": \"i32\" }\n"
            "      },\n      \"layers\": [\n"
            "        { \"module\": \"bert\", \"input\": [\"text\", \"segment\", \"count\"], \"params\": { ",
            extra);
    const char *comma = "";
#define SIZE(field, ...) fprintf(out, "%s\"%s\": %lld", comma, #field, (long long)bert->field), comma = ", ";
#include "frontend/bert.def"
    model_number(out, "dropout", bert->dropout);
    model_number(out, "attention_dropout", bert->attention_dropout);
    model_number(out, "epsilon", bert->epsilon);
    model_activation(out, bert);
    fprintf(out, " } }");
}

static void model_layer(FILE *out, const char *layer) { fprintf(out, ",\n        %s", layer); }

static void model_end_function(FILE *out, const char *outputs, bool is_last) {
    fprintf(out, "\n      ],\n      \"outputs\": %s\n    }%s\n", outputs, is_last ? "" : ",");
}

static void model_encode(FILE *out, const Bert *bert) {
    const char *about = bert->takes_first
                            ? "An embedding of each text: its first row, of length 1."
                            : "An embedding of each text: the mean of its rows, padding aside, of length 1.";
    model_begin_function(out, bert, "encode", about, "");
    model_layer(out, "{ \"module\": \"text_features\", \"input\": [\"hidden\", \"count\"], ");
    fprintf(out, "%s\"name\": \"sentence\" }", bert->takes_first ? "\"params\": { \"first\": true }, " : "");
    model_end_function(out, "\"sentence\"", false);
}

static void model_hidden(FILE *out, const Bert *bert) {
    bool has_pooler = bert->kind == BERT_encoder && bert->has_pooler, is_last = bert->kind == BERT_encoder;
    model_begin_function(out, bert, "hidden", "A row for each token of a text.", "");
    if (has_pooler) model_layer(out, "{ \"module\": \"bert_pooler\", \"input\": \"hidden\", \"name\": \"pooled\" }");
    model_end_function(out, has_pooler ? "[\"hidden\", \"pooled\"]" : "\"hidden\"", is_last);
}

/* One of several classes, or of a single one whether it is there. */
static void model_classify(FILE *out, const Bert *bert) {
    model_begin_function(out, bert, "classify", "Probabilities of the classes of a text.", "");
    model_layer(out, "{ \"module\": \"bert_pooler\", \"input\": \"hidden\", \"name\": \"pooled\" }");
    fprintf(out, ",\n        { \"layer\": \"dense\", \"units\": %lld, \"name\": \"classifier\" }",
            (long long)bert->labels);
    fprintf(out, ",\n        { \"expr\": \"%s(classifier)\", \"name\": \"probability\" }",
            bert->is_exclusive ? "softmax" : "sigmoid");
    model_end_function(out, "\"probability\"", true);
}

/* Where the product is by a table of its own, an embedding is what has such a table; its rows are not used. */
static void model_fill_mask(FILE *out, const Bert *bert) {
    char text[BERT_NUMBER];
    model_begin_function(out, bert, "fill_mask", "Probabilities of all words at one place of each text.",
                         "        \"positions\": { \"shape\": [\"n\"], \"type\": \"i32\" },\n");
    if (!bert->is_tied)
        fprintf(out,
                ",\n        { \"layer\": \"embedding\", \"input\": \"positions\", \"size\": %lld, \"units\": %lld, "
                "\"name\": \"output\" }",
                (long long)bert->vocabulary, (long long)bert->units);
    fprintf(out,
            ",\n        { \"module\": \"masked_language_model\", \"input\": [\"hidden\", \"%s\", "
            "\"reshape(positions, [n, 1])\"], \"params\": { \"epsilon\": %s",
            bert->is_tied ? "words" : "output.weight", bert_number(bert->epsilon, text));
    model_activation(out, bert);
    fprintf(out, " }, \"name\": \"logits\" }");
    model_layer(out, "{ \"expr\": \"softmax(logits[:, 0])\", \"name\": \"probability\" }");
    model_end_function(out, "\"probability\"", true);
}

const char *bert_description(const Bert *bert, const char *name, Arena *arena) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) die("no memory");
    fprintf(out, "{\n  \"name\": %s,\n  \"about\": \"Imported: a %s.\",\n", api_quote(name, arena), bert->architecture);
    fprintf(out, "  \"functions\": {\n");
    model_encode(out, bert);
    model_hidden(out, bert);
    if (bert->kind == BERT_masked_lm) model_fill_mask(out, bert);
    if (bert->kind == BERT_classifier) model_classify(out, bert);
    fprintf(out, "  }\n}\n");
    fclose(out);
    const char *copy = arena_copy(arena, text);
    free(text);
    return copy;
}
