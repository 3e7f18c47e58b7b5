/* The tables behind keys.def and sources.def. */
#include "frontend/keys.h"

#include <string.h>

#define BOOLEAN (1u << JSON_boolean)
#define NUMBER (1u << JSON_number)
#define TEXT (1u << JSON_text)
#define LIST (1u << JSON_list)
#define OBJECTS (1u << JSON_object)

const AcceptInfo accept_info[ACCEPT_COUNT] = {
#define VALUE(name, kinds, text) [ACCEPT_##name] = {#name, kinds, text},
#define OBJECT(...)
#define KEY(...)
#include "frontend/keys.def"
};

const char *const object_name[OBJECT_COUNT] = {
#define VALUE(...)
#define OBJECT(name, text) [OBJECT_##name] = #name,
#define KEY(...)
#include "frontend/keys.def"
};

const char *const object_text[OBJECT_COUNT] = {
#define VALUE(...)
#define OBJECT(name, text) [OBJECT_##name] = text,
#define KEY(...)
#include "frontend/keys.def"
};

const KeyInfo key_info[] = {
#define VALUE(...)
#define OBJECT(...)
#define KEY(object, name, accept, required, meaning) {OBJECT_##object, name, ACCEPT_##accept, required, meaning},
#include "frontend/keys.def"
};
const uint32_t key_count = sizeof key_info / sizeof *key_info;

const SourceInfo source_info[] = {
#define SOURCE(name, field, sample, meaning) {#name, field, sample, meaning},
#include "frontend/sources.def"
};
const uint32_t source_count = sizeof source_info / sizeof *source_info;

const AcceptInfo *accept_find(const char *name) {
    for (int i = 0; i < ACCEPT_COUNT; i++)
        if (!strcmp(accept_info[i].name, name)) return &accept_info[i];
    BUG("there is no value called %s", name);
}
