/* JSON with places: every value knows where it stands in its text.
 *
 * cJSON reads the text and keeps no positions, so its tree is copied once, walking the text beside it. Everything
 * behind json.c sees only this tree, which lives in an arena and never changes after the overrides. */
#ifndef SELFC_FRONTEND_JSON_H
#define SELFC_FRONTEND_JSON_H
#include "ir/diag.h"

#include <stdint.h>

typedef enum { JSON_null, JSON_boolean, JSON_number, JSON_text, JSON_list, JSON_object } JsonKind;

typedef struct {
    const char *file, *text;
} JsonSource;

typedef struct Json Json;
struct Json {
    JsonKind kind;
    double number;      /* booleans: 0 or 1 */
    const char *text;   /* of JSON_text */
    const char *key;    /* in the object that holds it; NULL in a list */
    Json *child, *next; /* first element; next one of the same list or object */
    uint32_t count;     /* elements of a list or object */
    const JsonSource *source;
    const char *at, *key_at; /* into source->text */
};

/* NULL after a message: bad syntax, bad UTF-8, nesting without end, a key given twice. */
Json *json_parse(const char *text, const char *file, Arena *arena, Diag *diag);
/* "training.batch=64": replaces or adds one value below root. The value is JSON, or else a string. */
bool json_set(Json *root, const char *set, Arena *arena, Diag *diag);
char *json_print(const Json *json, Arena *arena);

const Json *json_get(const Json *object, const char *key); /* NULL if it is not there, or no object */
const char *json_kind_name(JsonKind kind);                 /* "a string", … */

Place json_place(const Json *json);
Place json_key_place(const Json *json);                 /* of its key if it has one */
Place json_text_place(const Json *json, size_t offset); /* of the byte `offset` within a string's value */
#endif
