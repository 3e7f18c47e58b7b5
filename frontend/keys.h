/* keys.def and sources.def as tables: what the reader checks and what schema and reference print. */
#ifndef SELFC_FRONTEND_KEYS_H
#define SELFC_FRONTEND_KEYS_H
#include "frontend/json.h"

typedef enum {
#define VALUE(name, ...) ACCEPT_##name,
#define OBJECT(...)
#define KEY(...)
#include "frontend/keys.def"
    ACCEPT_COUNT
} Accept;

typedef enum {
#define VALUE(...)
#define OBJECT(name, ...) OBJECT_##name,
#define KEY(...)
#include "frontend/keys.def"
    OBJECT_COUNT
} ObjectKind;

typedef struct {
    const char *name;
    uint32_t kinds; /* a bit for each JsonKind */
    const char *text;
} AcceptInfo;

typedef struct {
    ObjectKind object;
    const char *name;
    Accept accept;
    bool required;
    const char *meaning;
} KeyInfo;

typedef struct {
    const char *name, *field, *sample, *meaning; /* sample: "u8[28,28]" or NULL */
} SourceInfo;

extern const AcceptInfo accept_info[ACCEPT_COUNT];
extern const char *const object_name[OBJECT_COUNT];
extern const char *const object_text[OBJECT_COUNT];
extern const KeyInfo key_info[];
extern const uint32_t key_count;
extern const SourceInfo source_info[];
extern const uint32_t source_count;
const AcceptInfo *accept_find(const char *name); /* "count": as options name it */
#endif
