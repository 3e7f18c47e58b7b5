/* JSON Schema (2020-12) of the description, for editors and checkers: made from keys.def, layers.def, functions.def,
 * sources.def and the library.
 *
 * A schema sees one value at a time: it knows keys, types, lists of names and simple ranges. What depends on another
 * part of the description (names, shapes, what is used) is said by the reader alone.
 * Pieces of JSON are written here with ' for ". */
#include "frontend/keys.h"
#include "frontend/library.h"
#include "frontend/lower.h"

#include <string.h>

static void piece(FILE *out, const char *text) {
    for (; *text; text++) fputc(*text == '\'' ? '"' : *text, out);
}

static void string(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

#define NAME "'pattern': '^[A-Za-z_][A-Za-z0-9_]*$'"
#define FORMULA "{'type': 'string', 'minLength': 1}"

/* What the values of one kind look like, without the braces. */
static const char *accept_piece(Accept accept) {
    switch (accept) {
    case ACCEPT_text:
    case ACCEPT_dtype:
    case ACCEPT_source:
    case ACCEPT_activation: return "'type': 'string'";
    case ACCEPT_name: return "'type': 'string', " NAME;
    case ACCEPT_names:
        return "'anyOf': [{'$ref': '#/$defs/name'}, {'type': 'array', 'minItems': 1, 'items': {'$ref': "
               "'#/$defs/name'}}]";
    case ACCEPT_count: return "'anyOf': [{'type': 'integer', 'minimum': 1}, " FORMULA "]";
    case ACCEPT_whole: return "'anyOf': [{'type': 'integer', 'minimum': 0}, " FORMULA "]";
    case ACCEPT_lengths: return "'type': 'array', 'minItems': 1, 'items': {'type': 'integer', 'minimum': 1}";
    case ACCEPT_labels: return "'type': 'array', 'minItems': 1, 'items': {'type': 'string'}";
    case ACCEPT_number: return "'anyOf': [{'type': 'number'}, " FORMULA "]";
    case ACCEPT_boolean: return "'type': 'boolean'";
    case ACCEPT_formula: return "'type': 'string', 'minLength': 1";
    case ACCEPT_formulas:
    case ACCEPT_patterns: return "'anyOf': [" FORMULA ", {'type': 'array', 'minItems': 1, 'items': " FORMULA "}]";
    case ACCEPT_exclude: return "'anyOf': [" FORMULA ", {'type': 'array', 'items': " FORMULA "}]";
    case ACCEPT_axis: return "'type': 'integer', 'minimum': -6, 'maximum': 5";
    case ACCEPT_axes:
        return "'anyOf': [{'$ref': '#/$defs/axis'}, {'type': 'array', 'items': {'$ref': '#/$defs/axis'}}]";
    case ACCEPT_shape: return "'type': 'array', 'maxItems': 6, 'items': {'anyOf': [{'type': 'integer'}, " FORMULA "]}";
    case ACCEPT_pair:
        return "'anyOf': [{'type': 'integer', 'minimum': 0}, " FORMULA
               ", {'type': 'array', 'minItems': 2, 'maxItems': 2, 'items': {'anyOf': [{'type': 'integer', 'minimum': "
               "0}, " FORMULA "]}}]";
    case ACCEPT_factors:
    case ACCEPT_range:
        return "'anyOf': [{'$ref': '#/$defs/number'}, {'type': 'array', 'minItems': 2, 'maxItems': 2, 'items': "
               "{'$ref': '#/$defs/number'}}]";
    case ACCEPT_padding:
    case ACCEPT_sides:
        return "'anyOf': [{'type': 'integer'}, " FORMULA ", {'type': 'array', 'minItems': 2, 'maxItems': 4, 'items': "
               "{'anyOf': [{'type': 'integer'}, " FORMULA "]}}]";
    case ACCEPT_numbers:
        return "'anyOf': [{'$ref': '#/$defs/number'}, {'type': 'array', 'minItems': 1, 'items': {'$ref': "
               "'#/$defs/number'}}]";
    case ACCEPT_direction: return "'enum': ['horizontal', 'vertical']";
    case ACCEPT_unit: return "'enum': ['stream', 'document', 'line']";
    case ACCEPT_method: return "'enum': ['nearest', 'bilinear']";
    case ACCEPT_init:
        return "'anyOf': [{'enum': ['linear', 'zero', 'he_normal', 'he_uniform', 'glorot_normal', 'glorot_uniform']}, "
               "{'type': 'number'}, {'type': 'object', 'minProperties': 1, "
               "'maxProperties': 1, 'additionalProperties': false, 'properties': {'uniform': {'$ref': "
               "'#/$defs/number'}, 'normal': {'$ref': '#/$defs/number'}}}]";
    case ACCEPT_let:
    case ACCEPT_update:
        return "'type': 'object', 'propertyNames': {" NAME "}, 'additionalProperties': {'anyOf': [{'$ref': "
               "'#/$defs/number'}, {'type': 'boolean'}]}";
    case ACCEPT_params:
        return "'type': 'object', 'propertyNames': {" NAME "}, 'additionalProperties': {'anyOf': [{'$ref': "
               "'#/$defs/number'}, {'type': ['boolean', 'null']}]}";
    case ACCEPT_state:
        return "'anyOf': [{'type': 'array', 'items': {'$ref': '#/$defs/name'}}, {'$ref': '#/$defs/let'}]";
    case ACCEPT_inputs:
        return "'anyOf': [{'type': 'array', 'minItems': 1, 'items': {'$ref': '#/$defs/name'}}, {'type': 'object', "
               "'minProperties': 1, 'propertyNames': {" NAME "}, 'additionalProperties': {'anyOf': [{'$ref': "
               "'#/$defs/shape'}, {'type': 'object', 'required': ['shape'], 'additionalProperties': false, "
               "'properties': {'shape': {'$ref': '#/$defs/shape'}, 'type': {'$ref': '#/$defs/dtype'}}}]}}]";
    case ACCEPT_layers: return "'type': 'array', 'minItems': 1, 'items': {'$ref': '#/$defs/any_layer'}";
    case ACCEPT_modules:
        return "'type': 'object', 'propertyNames': {" NAME "}, 'additionalProperties': {'$ref': '#/$defs/a_module'}";
    case ACCEPT_functions:
        return "'type': 'object', 'propertyNames': {" NAME ", 'not': {'enum': ['train', 'evaluate']}}, "
               "'additionalProperties': {'$ref': '#/$defs/a_function', 'oneOf': [{'required': ['module']}, "
               "{'required': ['inputs', 'layers']}]}";
    case ACCEPT_optimizers: return "'type': 'object', 'additionalProperties': {'$ref': '#/$defs/a_optimizer'}";
    case ACCEPT_knn: return "'$ref': '#/$defs/a_knn'";
    case ACCEPT_training: return "'$ref': '#/$defs/a_training'";
    case ACCEPT_data:
        return "'type': 'object', 'minProperties': 1, 'propertyNames': {" NAME
               "}, 'additionalProperties': {'$ref': '#/$defs/a_data', 'anyOf': [{'required': ['source']}, {'required': "
               "['path']}]}";
    case ACCEPT_minimize:
        return "'anyOf': [{'$ref': '#/$defs/name'}, {'type': 'array', 'minItems': 1, 'items': {'$ref': "
               "'#/$defs/a_update'}}]";
    case ACCEPT_optimizer: return "'anyOf': [{'$ref': '#/$defs/name'}, {'$ref': '#/$defs/optimizer_numbers'}]";
    case ACCEPT_begin: return "'anyOf': [{'type': 'string', 'minLength': 1}, {'$ref': '#/$defs/a_begin'}]";
    case ACCEPT_renames: return "'type': 'object', 'additionalProperties': {'type': 'string'}";
    case ACCEPT_COUNT: break;
    }
    return "";
}

/* 'enum': [...] of whichever names belong to a kind of value. */
static void print_enum(FILE *out, Accept accept) {
    const char *comma = "";
    fprintf(out, ", \"enum\": [");
    for (int i = 0; accept == ACCEPT_dtype && i < DTYPE_COUNT; i++, comma = ", ")
        fprintf(out, "%s\"%s\"", comma, dtype_info[i].name);
    for (uint32_t i = 0; accept == ACCEPT_source && i < source_count; i++, comma = ", ")
        fprintf(out, "%s\"%s\"", comma, source_info[i].name);
    for (int i = 0; accept == ACCEPT_activation && i < FUNCTION_COUNT; i++) {
        if (!function_is_activation(&function_info[i])) continue;
        fprintf(out, "%s\"%s\"", comma, function_info[i].name);
        comma = ", ";
    }
    fprintf(out, "]");
}

static void print_accepts(FILE *out) {
    for (int i = 0; i < ACCEPT_COUNT; i++) {
        fprintf(out, "    \"%s\": {", accept_info[i].name);
        piece(out, accept_piece((Accept)i));
        if (i == ACCEPT_dtype || i == ACCEPT_source || i == ACCEPT_activation) print_enum(out, (Accept)i);
        fprintf(out, ", \"description\": ");
        string(out, accept_info[i].text);
        fprintf(out, "},\n");
    }
}

static void print_property(FILE *out, const char *comma, const char *name, const char *accept, const char *meaning) {
    fprintf(out, "%s\n        \"%s\": {\"$ref\": \"#/$defs/%s\", \"description\": ", comma, name, accept);
    string(out, meaning);
    fprintf(out, "}");
}

/* A call may name any module; those of the library, with their params, are what an editor can offer. */
static void print_callee(FILE *out, const char *comma, const char *meaning) {
    Arena *arena = arena_new();
    uint32_t count;
    const Json **modules = library_items("modules", &count, arena);
    const char *text = arena_printf(arena, "%s; the library has", meaning);
    fprintf(out, "%s\n        \"module\": {\"$ref\": \"#/$defs/name\", \"examples\": [", comma);
    for (uint32_t i = 0; i < count; i++) {
        const Json *params = json_get(modules[i], "params");
        fprintf(out, "%s\"%s\"", i ? ", " : "", modules[i]->key);
        text = arena_printf(arena, "%s%s %s(", text, i ? "," : "", modules[i]->key);
        for (const Json *param = params ? params->child : NULL; param; param = param->next)
            text = arena_printf(arena, "%s%s%s", text, param == params->child ? "" : ", ", param->key);
        text = arena_printf(arena, "%s)", text);
    }
    fprintf(out, "], \"description\": ");
    string(out, text);
    fprintf(out, "}");
    arena_free(arena);
}

static void print_properties(FILE *out, ObjectKind object) {
    const char *comma = "";
    for (uint32_t i = 0; i < key_count; i++) {
        if (key_info[i].object != object) continue;
        if (object == OBJECT_call && !strcmp(key_info[i].name, "module"))
            print_callee(out, comma, key_info[i].meaning);
        else
            print_property(out, comma, key_info[i].name, accept_info[key_info[i].accept].name, key_info[i].meaning);
        comma = ",";
    }
}

static void print_object(FILE *out, ObjectKind object) {
    const char *comma = "";
    fprintf(out, "    \"a_%s\": {\"type\": \"object\", \"additionalProperties\": false, \"properties\": {",
            object_name[object]);
    print_properties(out, object);
    fprintf(out, "},\n      \"required\": [");
    for (uint32_t i = 0; i < key_count; i++) {
        if (key_info[i].object != object || !key_info[i].required) continue;
        fprintf(out, "%s\"%s\"", comma, key_info[i].name);
        comma = ", ";
    }
    fprintf(out, "]");
    if (object == OBJECT_model) piece(out, ", 'anyOf': [{'required': ['training']}, {'required': ['functions']}]");
    fprintf(out, "},\n");
}

/* A built-in layer: the keys of all of them, and its options. */
static void print_builtin(FILE *out, const LayerInfo *info) {
    OptionInfo option[MAX_OPTIONS];
    uint32_t count = layer_options(info, option);
    fprintf(out, ",\n      {\"type\": \"object\", \"additionalProperties\": false, \"description\": ");
    string(out, layer_meaning(info));
    fprintf(out, ", \"properties\": {\"layer\": {\"const\": \"%s\"}", info->name);
    for (uint32_t i = 0; i < key_count; i++)
        if (key_info[i].object == OBJECT_layer && strcmp(key_info[i].name, "layer"))
            print_property(out, ",", key_info[i].name, accept_info[key_info[i].accept].name, key_info[i].meaning);
    for (uint32_t i = 0; i < count; i++) print_property(out, ",", option[i].name, option[i].value, option[i].meaning);
    fprintf(out, "},\n      \"required\": [\"layer\"");
    for (uint32_t i = 0; i < count; i++)
        if (option[i].required) fprintf(out, ", \"%s\"", option[i].name);
    fprintf(out, "]}");
}

static void print_layers(FILE *out) {
    piece(out, "    'any_layer': {'anyOf': [\n      {'$ref': '#/$defs/a_call'},\n      {'$ref': '#/$defs/a_expr'}");
    for (uint32_t i = 0; i < layer_count; i++)
        if (layer_exists(&layer_info[i])) print_builtin(out, &layer_info[i]);
    fprintf(out, "]},\n");
}

/* An optimiser of the library takes its own numbers only; one of the description's own may take any. */
static void print_optimizers(FILE *out, Arena *arena) {
    uint32_t count;
    const Json **optimizers = library_items("optimizers", &count, arena);
    fprintf(out, "    \"optimizer_numbers\": {\"anyOf\": [");
    for (uint32_t o = 0; o < count; o++) {
        const Json *params = json_get(optimizers[o], "params");
        fprintf(out,
                "\n      {\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"name\"], "
                "\"properties\": {\"name\": {\"const\": \"%s\"}",
                optimizers[o]->key);
        for (uint32_t i = 0; i < key_count; i++)
            if (key_info[i].object == OBJECT_use && strcmp(key_info[i].name, "name"))
                print_property(out, ",", key_info[i].name, accept_info[key_info[i].accept].name, key_info[i].meaning);
        for (const Json *param = params->child; param; param = param->next) {
            fprintf(out, ", \"%s\": ", param->key);
            piece(out, param->kind == JSON_boolean ? "{'type': 'boolean'}" : "{'$ref': '#/$defs/number'}");
        }
        fprintf(out, "}},");
    }
    piece(out, "\n      {'type': 'object', 'required': ['name'], 'properties': {'name': {'type': 'string', 'not': "
               "{'enum': [");
    for (uint32_t o = 0; o < count; o++) fprintf(out, "%s\"%s\"", o ? ", " : "", optimizers[o]->key);
    piece(out, "]}}}}]}\n");
}

void schema_print(FILE *out) {
    Arena *arena = arena_new();
    piece(out, "{\n  '$schema': 'https://json-schema.org/draft/2020-12/schema',\n  'title': 'selfc model "
               "description',\n  '$ref': '#/$defs/a_model',\n  '$defs': {\n");
    print_accepts(out);
    for (int object = 0; object < OBJECT_COUNT; object++)
        if (object != OBJECT_layer && object != OBJECT_use) print_object(out, (ObjectKind)object);
    print_layers(out);
    print_optimizers(out, arena);
    piece(out, "  }\n}\n");
    arena_free(arena);
}
