/* Reads JSON with cJSON and gives each value its place.
 *
 * cJSON has accepted the text before it is walked here, so the walk only needs to know where values end. It goes
 * through tree and text side by side; that also finds keys that are given twice, which cJSON lets pass and of which
 * it would silently use the first. */
#include "frontend/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_ITEMS = 10000 };

static Place place_at(const JsonSource *source, const char *at) {
    Place place = {.file = source->file, .text = source->text, .line = 1, .column = 1};
    for (const char *s = source->text; s < at && *s; s++) {
        place.column++;
        if (*s == '\n') place.line++, place.column = 1;
    }
    return place;
}

Place json_place(const Json *json) { return json ? place_at(json->source, json->at) : (Place){0}; }

Place json_key_place(const Json *json) {
    return json && json->key_at ? place_at(json->source, json->key_at) : json_place(json);
}

/* How many bytes of a string's value the escape at s stands for, and in *length how many it takes in the text. */
static size_t escape_bytes(const char *s, size_t *length) {
    *length = s[0] == '\\' ? 2 : 1;
    if (s[0] != '\\' || s[1] != 'u') return 1;
    *length = 6;
    unsigned code = (unsigned)strtoul((char[5]){s[2], s[3], s[4], s[5], 0}, NULL, 16);
    if (code >= 0xd800 && code < 0xdc00 && s[6] == '\\') return *length = 12, 4;
    return code < 0x80 ? 1 : code < 0x800 ? 2 : 3;
}

Place json_text_place(const Json *json, size_t offset) {
    const char *s = json->at;
    if (*s != '"') return place_at(json->source, s + (strlen(s) < offset ? strlen(s) : offset));
    for (s++; offset && *s && *s != '"';) {
        size_t length, bytes = escape_bytes(s, &length);
        offset -= bytes < offset ? bytes : offset;
        s += strnlen(s, length);
    }
    return place_at(json->source, s);
}

const Json *json_get(const Json *object, const char *key) {
    if (!object || object->kind != JSON_object) return NULL;
    for (const Json *item = object->child; item; item = item->next)
        if (!strcmp(item->key, key)) return item;
    return NULL;
}

const char *json_kind_name(JsonKind kind) {
    switch (kind) {
    case JSON_null: return "null";
    case JSON_boolean: return "true or false";
    case JSON_number: return "a number";
    case JSON_text: return "a string";
    case JSON_list: return "a list";
    case JSON_object: return "an object";
    }
    return "";
}

/* The text beside the tree. cJSON takes every byte up to 32 for white space. */
static const char *skip_space(const char *s) {
    while (*s && (unsigned char)*s <= 32) s++;
    return s;
}

static const char *skip_string(const char *s) {
    for (s++; *s && *s != '"'; s++)
        if (*s == '\\' && s[1]) s++;
    return *s ? s + 1 : s;
}

typedef struct {
    const JsonSource *source;
    const char *s; /* behind what was read */
    Arena *arena;
    Diag *diag;
} Walk;

static Json *walk_value(Walk *walk, const cJSON *from, int depth);

static void walk_children(Walk *walk, Json *json, const cJSON *from, int depth) {
    Json **end = &json->child;
    walk->s++;
    for (const cJSON *item = from->child; item; item = item->next) {
        const char *key_at = NULL;
        walk->s = skip_space(walk->s);
        if (*walk->s == ',') walk->s = skip_space(walk->s + 1);
        if (json->kind == JSON_object) {
            key_at = walk->s;
            walk->s = skip_space(skip_string(walk->s)) + 1;
        }
        Json *child = walk_value(walk, item, depth + 1);
        if (!child) return;
        if (key_at) {
            child->key = arena_copy(walk->arena, item->string ? item->string : "");
            child->key_at = key_at;
            if (json_get(json, child->key))
                diag_error(walk->diag, place_at(walk->source, key_at), "\"%s\" is given twice in one object",
                           child->key);
        }
        *end = child;
        end = &child->next;
        if (++json->count <= MAX_ITEMS) continue;
        diag_error(walk->diag, json_place(json), "this holds more than %d values", MAX_ITEMS);
        return;
    }
    walk->s = skip_space(walk->s) + 1;
}

static Json *walk_value(Walk *walk, const cJSON *from, int depth) {
    Json *json = arena_array(walk->arena, Json, 1);
    walk->s = skip_space(walk->s);
    json->source = walk->source;
    json->at = walk->s;
    if (depth > MAX_DEPTH) {
        diag_error(walk->diag, json_place(json), "values are nested more than %d deep", MAX_DEPTH);
        return NULL;
    }
    if (cJSON_IsObject(from) || cJSON_IsArray(from)) {
        json->kind = cJSON_IsObject(from) ? JSON_object : JSON_list;
        walk_children(walk, json, from, depth);
    } else if (cJSON_IsString(from)) {
        json->kind = JSON_text;
        json->text = arena_copy(walk->arena, from->valuestring);
        walk->s = skip_string(walk->s);
    } else {
        json->kind = cJSON_IsNumber(from) ? JSON_number : cJSON_IsBool(from) ? JSON_boolean : JSON_null;
        json->number = cJSON_IsNumber(from) ? from->valuedouble : cJSON_IsTrue(from);
        while (*walk->s && strchr("0123456789+-.eEtrufalsn", *walk->s)) walk->s++;
        if (!isfinite(json->number)) diag_error(walk->diag, json_place(json), "this number is too large");
    }
    return json;
}

/* The first byte that is not UTF-8, or NULL. */
static const char *find_bad_utf8(const char *text) {
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        unsigned length = *s < 0x80                 ? 1
                          : *s >= 0xc2 && *s < 0xe0 ? 2
                          : *s >= 0xe0 && *s < 0xf0 ? 3
                          : *s >= 0xf0 && *s < 0xf5 ? 4
                                                    : 0;
        for (unsigned i = 1; i < length; i++)
            if ((s[i] & 0xc0) != 0x80) length = 0;
        bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
        bool beyond = (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90);
        if (!length || overlong || beyond) return (const char *)s;
        s += length;
    }
    return NULL;
}

/* Where cJSON gave up. When it wanted a key it stands one byte behind the place. */
static const char *failure_place(const char *text, const char *at) {
    if (at == text) return at;
    const char *place = at - 1, *before = place;
    if (*place == '"' && *at != '"') return place;
    while (before > text && (unsigned char)before[-1] <= 32) before--;
    bool wants_key = before > text && (before[-1] == '{' || before[-1] == ',');
    bool begins_value = strchr("0123456789-\"[{tfn", *place) != NULL || (unsigned char)*place <= 32;
    return wants_key && !begins_value ? place : at;
}

/* What a person would want to hear about the place where cJSON gave up. */
static const char *explain(const char *text, const char *at) {
    const char *before = at;
    while (before > text && (unsigned char)before[-1] <= 32) before--;
    char last = before > text ? before[-1] : 0;
    if (!*skip_space(text)) return "the file is empty";
    if (!*skip_space(at)) return "the text ends here, but a value, '}' or ']' is still missing";
    if ((*at == '}' || *at == ']') && last == ',') return "there is a comma before this, but nothing follows it";
    if (*at == '\'') return "strings stand in double quotes";
    if (*at == '/' || *at == '#') return "JSON has no comments; \"about\" takes a text for readers";
    if (*at == '"' && !*skip_string(at)) return "this string has no end";
    if (*at == '"')
        return last && strchr("{[,:", last) ? "this string holds an escape that JSON does not know"
                                            : "a ',' or ':' is missing before this";
    if (last && strchr("{", last)) return "a key in double quotes should stand here";
    if (last && strchr("[,:", last))
        return "a value should stand here: a string in double quotes, a number, true, false, a list or an object";
    return before == text ? "a description begins with '{'" : "a ',', '}' or ']' should stand here";
}

static Json *parse_source(const JsonSource *source, Arena *arena, Diag *diag) {
    const char *text = source->text, *end = NULL, *bad = find_bad_utf8(text);
    int errors = diag->errors;
    if (bad) return diag_error(diag, place_at(source, bad), "this byte is not UTF-8 text"), NULL;
    if (!strncmp(text, "\xef\xbb\xbf", 3)) text += 3;
    cJSON *tree = cJSON_ParseWithOpts(text, &end, false);
    if (!tree || *skip_space(end)) {
        const char *at = tree ? skip_space(end) : failure_place(text, end ? end : text);
        diag_error(diag, place_at(source, at), "%s",
                   tree ? "the description ends before this, so nothing may follow" : explain(text, at));
        cJSON_Delete(tree);
        return NULL;
    }
    Walk walk = {source, text, arena, diag};
    Json *json = walk_value(&walk, tree, 0);
    cJSON_Delete(tree);
    return diag->errors == errors ? json : NULL;
}

Json *json_parse(const char *text, const char *file, Arena *arena, Diag *diag) {
    JsonSource *source = arena_array(arena, JsonSource, 1);
    *source = (JsonSource){arena_copy(arena, file ? file : "model"), arena_copy(arena, text)};
    return parse_source(source, arena, diag);
}

static cJSON *to_cjson(const Json *json) {
    cJSON *out = NULL;
    switch (json->kind) {
    case JSON_null: return cJSON_CreateNull();
    case JSON_boolean: return cJSON_CreateBool(json->number != 0);
    case JSON_number: return cJSON_CreateNumber(json->number);
    case JSON_text: return cJSON_CreateString(json->text);
    case JSON_list:
        out = cJSON_CreateArray();
        for (const Json *item = json->child; item; item = item->next) cJSON_AddItemToArray(out, to_cjson(item));
        return out;
    case JSON_object:
        out = cJSON_CreateObject();
        for (const Json *item = json->child; item; item = item->next)
            cJSON_AddItemToObject(out, item->key, to_cjson(item));
        return out;
    }
    return NULL;
}

/* cJSON prints tabs; in texts they are escaped. Two blanks deeper, one behind a colon. */
static char *json_without_tabs(const char *text, Arena *arena) {
    char *copy = arena_array(arena, char, 2 * strlen(text) + 1), *to = copy;
    for (const char *at = text; *at; at++) {
        *to++ = *at == '\t' ? ' ' : *at;
        if (*at == '\t' && at > text && at[-1] != ':') *to++ = ' ';
    }
    return copy;
}

char *json_print(const Json *json, Arena *arena) {
    cJSON *tree = to_cjson(json);
    char *text = cJSON_Print(tree);
    if (!text) die("out of memory");
    char *copy = json_without_tabs(text, arena);
    cJSON_free(text);
    cJSON_Delete(tree);
    return copy;
}
