/* What the files that read JSON into a Model share. A mistake is reported at its place and reading goes on; what
 * could not be read stays empty, which lowering understands. */
#ifndef SELFC_FRONTEND_READ_H
#define SELFC_FRONTEND_READ_H
#include "frontend/keys.h"
#include "frontend/lower.h"

/* A value that a mistake keeps from being read: what it names may be in use for all that is known. */
typedef struct Unread Unread;
struct Unread {
    const Json *json;
    const Unread *next;
};

typedef struct {
    Model *model;
    Arena *arena;
    Diag *diag;
    const char **mentioned; /* every name in a formula so far: what nothing mentions is unused */
    uint32_t mentioned_count, mentioned_capacity;
    const Unread *unread;
    bool is_library;
} Reader;

/* read_values.c */
__attribute__((format(printf, 3, 4))) void read_error(Reader *r, const Json *json, const char *format, ...);
/* "there is no X "abc"; did you mean "abd"?" at json. Gives "abd", or NULL. */
const char *read_unknown(Reader *r, const Json *json, const char *what, const char *name, const char *const *names,
                         size_t count);
/* "OWNER has no "abc"; did you mean "abd"?" at the key of an item of object. true: the item has that key from now on,
 * so that mistakes in it are told, too, and none that merely follow. */
bool read_unknown_key(Reader *r, const Json *object, const Json *item, const char *owner, const char *const *names,
                      size_t count);
bool read_accepts(Reader *r, const Json *json, Accept accept); /* else a message */
/* An object with the keys of its kind only, each of the right type; missing ones are reported. */
bool read_check(Reader *r, const Json *json, ObjectKind object);
const Json *read_key(const Json *object, ObjectKind kind, const char *key); /* NULL if absent or of a wrong type */
bool read_is_name(const char *text);
const Expr *read_expr(Reader *r, const Json *json); /* NULL after a message */
const Expr *read_list(Reader *r, const Json *json); /* a JSON list (or one value) as a list formula */
Names read_names(Reader *r, const Json *json, bool identifiers);
Constants read_constants(Reader *r, const Json *json);
void read_dtype(Reader *r, const Json *json, DType *dtype);
void read_mention(Reader *r, const char *name);
void read_leave(Reader *r, const Json *json);                   /* after a mistake: json stays unread */
void read_mention_unread(Reader *r);                            /* last, once everything has been read */
double read_real(Reader *r, const Json *json, double standard); /* above 0 */
double read_number(Reader *r, const Json *json, double standard, double least, double most);

/* read_layers.c */
void read_layers(Reader *r, const Json *json, const char *owner, Block *block);
void read_inputs(Reader *r, const Json *json, Block *block);
void read_module_call(Reader *r, const Json *json, Layer *layer); /* module, params, instance */

/* read_training.c */
void read_optimizers(Reader *r, const Json *json, bool is_library);
void read_training(Reader *r, const Json *json);
void read_knn_function(Reader *r); /* once the functions have been read */

/* read_text.c */
void read_text(Reader *r, const Json *json, const SourceInfo *source, Data *data); /* what is asked of texts */
void read_texts(Reader *r, Training *training); /* what one input says for the others, once all have been read */
bool read_text_has_labels(const Training *training);
#endif
