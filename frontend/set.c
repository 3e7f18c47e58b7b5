/* --set PATH=VALUE: "training.batch=64", "training.layers[2].units=hidden".
 *
 * The value takes its place in the tree before anything is read, so that everything said about the description holds
 * for it too; its place in messages is the --set text itself. Steps in the middle of a path must exist. A last step
 * may be new, since the reader knows which keys it allows; only where any key is allowed must it exist already. */
#include "frontend/json.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const JsonSource *source; /* the --set text */
    const char *s, *end;      /* what is left of the path */
    Arena *arena;
    Diag *diag;
} Path;

static Place path_place(const Path *path, const char *at) {
    return (Place){path->source->file, path->source->text, 1, (int)(at - path->source->text) + 1};
}

/* Reads the next step: a key, or a position in *index. */
static const char *next_step(Path *path, const char **at, long *index) {
    if (path->s < path->end && *path->s == '.') path->s++;
    *at = path->s;
    *index = -1;
    if (path->s < path->end && *path->s == '[') {
        char *end;
        *index = strtol(path->s + 1, &end, 10);
        if (end == path->s + 1 || *end != ']' || *index < 0) return NULL;
        path->s = end + 1;
        return "";
    }
    size_t length = 0;
    while (path->s + length < path->end && path->s[length] != '.' && path->s[length] != '[') length++;
    path->s += length;
    return length ? arena_printf(path->arena, "%.*s", (int)length, *at) : NULL;
}

static bool report_missing(const Path *path, const char *at, const Json *json, const char *key) {
    const char **keys = arena_array(path->arena, const char *, json->count + 1);
    size_t count = 0;
    for (const Json *item = json->child; item; item = item->next)
        if (item->key) keys[count++] = item->key;
    const char *nearest = diag_nearest(key, keys, count);
    if (json->kind == JSON_object && nearest)
        diag_error(path->diag, path_place(path, at), "the description has no \"%s\" here; did you mean \"%s\"?", key,
                   nearest);
    else if (json->kind == JSON_object)
        diag_error(path->diag, path_place(path, at), "the description has no \"%s\" here", key);
    else if (json->kind == JSON_list)
        diag_error(path->diag, path_place(path, at), "there is a list of %u here: a place in it is written [0] to [%u]",
                   json->count, json->count ? json->count - 1 : 0);
    else
        diag_error(path->diag, path_place(path, at), "there is %s here, so nothing stands below it",
                   json_kind_name(json->kind));
    return false;
}

/* A new last key in `parent`, if the reader can judge it. */
static Json *add_key(Path *path, Json *parent, const char *key) {
    bool any_key = parent->key && (!strcmp(parent->key, "let") || !strcmp(parent->key, "modules") ||
                                   !strcmp(parent->key, "functions"));
    if (parent->kind != JSON_object || any_key) return NULL;
    Json **end = &parent->child;
    while (*end) end = &(*end)->next;
    *end = arena_array(path->arena, Json, 1);
    (*end)->key = key;
    parent->count++;
    return *end;
}

static Json *find_place(Path *path, Json *json) {
    while (path->s < path->end) {
        const char *at;
        long index;
        const char *key = next_step(path, &at, &index);
        if (!key)
            return diag_error(path->diag, path_place(path, at), "a key or a position like [2] should stand here"), NULL;
        Json *child = index < 0 ? (Json *)json_get(json, key) : json->kind == JSON_list ? json->child : NULL;
        for (long i = 0; child && i < index; i++) child = child->next;
        if (!child && index < 0 && path->s == path->end) child = add_key(path, json, key);
        if (!child) return report_missing(path, at, json, key), NULL;
        json = child;
    }
    return json;
}

/* Moves the places of a value that was read from a copy of the end of the --set text. */
static void move_places(Json *json, const JsonSource *source, const char *value) {
    json->at = value + (json->at - json->source->text);
    if (json->key_at) json->key_at = value + (json->key_at - json->source->text);
    json->source = source;
    for (Json *item = json->child; item; item = item->next) move_places(item, source, value);
}

static Json *parse_value(const JsonSource *source, const char *value, Arena *arena) {
    Diag quiet;
    diag_init(&quiet);
    Json *json = json_parse(value, source->file, arena, &quiet);
    diag_free(&quiet);
    if (json) return move_places(json, source, value), json;
    json = arena_array(arena, Json, 1);
    *json = (Json){.kind = JSON_text, .text = value, .source = source, .at = value};
    return json;
}

bool json_set(Json *root, const char *set, Arena *arena, Diag *diag) {
    JsonSource *source = arena_array(arena, JsonSource, 1);
    *source = (JsonSource){"--set", arena_copy(arena, set)};
    const char *equals = strchr(source->text, '=');
    Path path = {source, source->text, equals, arena, diag};
    if (!equals || equals == source->text)
        return diag_error(diag, path_place(&path, source->text), "an override looks like training.batch=64"), false;
    Json *place = find_place(&path, root);
    if (!place) return false;
    Json *value = parse_value(source, equals + 1, arena);
    value->key = place->key;
    value->key_at = source->text;
    value->next = place->next;
    *place = *value;
    return true;
}
