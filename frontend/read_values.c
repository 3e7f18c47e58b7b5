/* Small readers: keys that an object may have, numbers, formulas, names. */
#include "frontend/read.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

void model_error(const Model *model, Diag *diag, const Json *json, size_t at, const char *format, ...) {
    char text[1024];
    for (const Reported *old = *model->reported; old; old = old->next)
        if (old->json == json && old->at == at) return;
    Reported *reported = arena_array(model->arena, Reported, 1);
    *reported = (Reported){json, at, *model->reported};
    *model->reported = reported;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool is_text = json && json->kind == JSON_text;
    diag_error(diag, is_text ? json_text_place(json, at) : json_place(json), "%s", text);
}

void read_error(Reader *r, const Json *json, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    diag_error(r->diag, json_place(json), "%s", text);
}

const char *read_unknown(Reader *r, const Json *json, const char *what, const char *name, const char *const *names,
                         size_t count) {
    const char *nearest = diag_nearest(name, names, count);
    if (nearest)
        read_error(r, json, "there is no %s \"%s\"; did you mean \"%s\"?", what, name, nearest);
    else
        read_error(r, json, "there is no %s \"%s\"", what, name);
    return nearest;
}

bool read_is_name(const char *text) {
    if (!isalpha((unsigned char)*text) && *text != '_') return false;
    while (isalnum((unsigned char)*text) || *text == '_') text++;
    return !*text;
}

/* Lists of strings are checked here, too, so that readers can take them as they are. */
static bool accepts_items(Reader *r, const Json *json, Accept accept) {
    bool wants_texts = accept == ACCEPT_names || accept == ACCEPT_formulas || accept == ACCEPT_patterns ||
                       accept == ACCEPT_exclude || accept == ACCEPT_labels;
    bool fits = true;
    for (const Json *item = json->child; wants_texts && item; item = item->next) {
        if (item->kind == JSON_text) continue;
        read_error(r, item, "this is %s, but must be a string: the list is %s", json_kind_name(item->kind),
                   accept_info[accept].text);
        fits = false;
    }
    if (wants_texts && json->kind == JSON_list && !json->count && accept != ACCEPT_exclude)
        read_error(r, json, "this list is empty, but must be %s", accept_info[accept].text), fits = false;
    return fits;
}

bool read_accepts(Reader *r, const Json *json, Accept accept) {
    bool is_kind = accept_info[accept].kinds >> json->kind & 1;
    if (is_kind && accept == ACCEPT_name && !read_is_name(json->text)) is_kind = false;
    if (is_kind) return accepts_items(r, json, accept);
    const char *found =
        json->kind == JSON_text ? arena_printf(r->arena, "\"%s\"", json->text) : json_kind_name(json->kind);
    if (json->kind == JSON_boolean) found = json->number != 0 ? "true" : "false";
    if (json->kind == JSON_number) found = arena_printf(r->arena, "%.12g", json->number);
    read_leave(r, json);
    read_error(r, json, "%s%s%sis %s, but must be %s", json->key ? "'" : "", json->key ? json->key : "this ",
               json->key ? "' " : "", found, accept_info[accept].text);
    return false;
}

static const KeyInfo *find_key(ObjectKind object, const char *name) {
    for (uint32_t i = 0; i < key_count; i++)
        if (key_info[i].object == object && !strcmp(key_info[i].name, name)) return &key_info[i];
    return NULL;
}

/* "batch, data and epochs" */
static const char *names_text(Reader *r, const char *const *names, size_t count) {
    const char *text = count ? names[0] : "nothing";
    for (size_t i = 1; i < count; i++)
        text = arena_printf(r->arena, "%s%s%s", text, i + 1 == count ? " and " : ", ", names[i]);
    return text;
}

bool read_unknown_key(Reader *r, const Json *object, const Json *item, const char *owner, const char *const *names,
                      size_t count) {
    const char *nearest = diag_nearest(item->key, names, count);
    Place place = json_key_place(item);
    if (nearest)
        diag_error(r->diag, place, "%s has no \"%s\"; did you mean \"%s\"?", owner, item->key, nearest);
    else
        diag_error(r->diag, place, "%s has no \"%s\"; it has %s", owner, item->key, names_text(r, names, count));
    if (!nearest || json_get(object, nearest)) return read_leave(r, item), false;
    ((Json *)(uintptr_t)item)->key = nearest; /* the tree is this model's alone */
    return true;
}

static const KeyInfo *unknown_key(Reader *r, const Json *json, const Json *item, ObjectKind object) {
    const char *names[64] = {NULL};
    size_t count = 0;
    for (uint32_t i = 0; i < key_count; i++)
        if (key_info[i].object == object && count < 64) names[count++] = key_info[i].name;
    return read_unknown_key(r, json, item, object_text[object], names, count) ? find_key(object, item->key) : NULL;
}

bool read_check(Reader *r, const Json *json, ObjectKind object) {
    if (json->kind != JSON_object)
        return read_leave(r, json),
               read_error(r, json, "this is %s, but must be an object: %s", json_kind_name(json->kind),
                          object_text[object]),
               false;
    for (const Json *item = json->child; item; item = item->next) {
        const KeyInfo *key = find_key(object, item->key);
        if (key || (key = unknown_key(r, json, item, object))) read_accepts(r, item, key->accept);
    }
    for (uint32_t i = 0; i < key_count; i++)
        if (key_info[i].object == object && key_info[i].required && !json_get(json, key_info[i].name))
            read_error(r, json, "%s needs \"%s\": %s", object_text[object], key_info[i].name, key_info[i].meaning);
    return true;
}

const Json *read_key(const Json *object, ObjectKind kind, const char *key) {
    const Json *json = json_get(object, key);
    const KeyInfo *info = find_key(kind, key);
    CHECK(info != NULL);
    bool fits = json && accept_info[info->accept].kinds >> json->kind & 1;
    return fits && (info->accept != ACCEPT_name || read_is_name(json->text)) ? json : NULL;
}

void read_mention(Reader *r, const char *name) {
    for (uint32_t i = 0; i < r->mentioned_count; i++)
        if (!strcmp(r->mentioned[i], name)) return;
    if (r->mentioned_count == r->mentioned_capacity) {
        uint32_t capacity = r->mentioned_capacity ? 2 * r->mentioned_capacity : 64;
        const char **larger = arena_array(r->arena, const char *, capacity);
        if (r->mentioned_count) memcpy(larger, r->mentioned, r->mentioned_count * sizeof *larger);
        r->mentioned = larger;
        r->mentioned_capacity = capacity;
    }
    r->mentioned[r->mentioned_count++] = name;
}

void read_leave(Reader *r, const Json *json) {
    Unread *unread = arena_array(r->arena, Unread, 1);
    *unread = (Unread){json, r->unread};
    r->unread = unread;
}

static void mention_word(Model *model, const char *word) {
    model_mention(model, word);
    for (uint32_t i = 0; i < model->module_count; i++)
        if (!strcmp(model->modules[i].name, word)) model->modules[i].suggested = true;
}

/* Whatever looks like a name, since the text may be no formula, or none that can be parsed. */
static void mention_words(Reader *r, const char *text) {
    while (*text) {
        size_t length = 0;
        while (isalnum((unsigned char)text[length]) || text[length] == '_') length++;
        if (length) mention_word(r->model, arena_printf(r->arena, "%.*s", (int)length, text));
        text += length ? length : 1;
    }
}

static void mention_texts(Reader *r, const Json *json) {
    if (json->kind == JSON_text) mention_words(r, json->text);
    for (const Json *item = json->child; item; item = item->next) mention_texts(r, item);
}

void read_mention_unread(Reader *r) {
    for (const Unread *unread = r->unread; unread; unread = unread->next) mention_texts(r, unread->json);
}

static void mention_all(Reader *r, const Expr *expr) {
    if (!expr) return;
    if (expr->kind == EXPR_name) read_mention(r, expr->name);
    for (uint32_t i = 0; i < expr->count; i++) mention_all(r, expr->argument[i]);
}

const Expr *read_expr(Reader *r, const Json *json) {
    const Expr *expr = expr_parse(json, r->arena, r->diag);
    if (!expr) read_leave(r, json);
    if (!r->is_library) mention_all(r, expr);
    return expr;
}

const Expr *read_list(Reader *r, const Json *json) {
    const Json *first = json->kind == JSON_list ? json->child : json;
    uint32_t count = json->kind == JSON_list ? json->count : 1;
    const Expr **items = arena_array(r->arena, const Expr *, count + 1);
    bool complete = true;
    uint32_t i = 0;
    for (const Json *item = first; item && i < count; item = item->next, i++) {
        bool is_size = item->kind == JSON_number || item->kind == JSON_text;
        if (!is_size) read_error(r, item, "this is %s, but must be a number or a formula", json_kind_name(item->kind));
        items[i] = is_size ? read_expr(r, item) : NULL;
        complete &= items[i] != NULL;
    }
    return complete ? expr_list(json, items, count, r->arena) : NULL;
}

Names read_names(Reader *r, const Json *json, bool identifiers) {
    Names names = {0};
    if (!json) return names;
    const Json *first = json->kind == JSON_list ? json->child : json;
    uint32_t count = json->kind == JSON_list ? json->count : 1;
    names.items = arena_array(r->arena, Name, count + 1);
    if (identifiers && count > MAX_VALUES)
        read_error(r, json, "these are %u names, but at most %d are possible", count, MAX_VALUES);
    for (const Json *item = first; item && names.count < count; item = item->next) {
        bool fits = item->kind == JSON_text && (!identifiers || read_is_name(item->text));
        if (item->kind == JSON_text && !fits) read_accepts(r, item, ACCEPT_name);
        names.items[names.count++] = (Name){fits ? item->text : "?", item};
        if (json->kind != JSON_list) break;
    }
    return names;
}

Constants read_constants(Reader *r, const Json *json) {
    Constants constants = {0};
    if (!json || json->kind != JSON_object) return constants;
    constants.items = arena_array(r->arena, Constant, json->count + 1);
    for (const Json *item = json->child; item; item = item->next) {
        Constant constant = {.name = item->key, .json = item};
        bool is_number = item->kind == JSON_number || item->kind == JSON_text || item->kind == JSON_boolean;
        if (!read_is_name(item->key))
            diag_error(r->diag, json_key_place(item),
                       "\"%s\" cannot be used in formulas: a name is a letter or _, then letters, digits or _",
                       item->key);
        if (is_number)
            constant.value = read_expr(r, item);
        else if (item->kind != JSON_null)
            read_error(r, item, "'%s' is %s, but must be a number or a formula", item->key, json_kind_name(item->kind));
        constants.items[constants.count++] = constant;
    }
    return constants;
}

/* A word where a number is wanted is most likely no misspelt name: both are said. */
static bool number_names(Reader *r, const Json *json, const char *title, const Expr *expr) {
    if (expr->kind != EXPR_name || !strcmp(expr->name, "pi")) return true;
    for (uint32_t i = 0; i < r->model->let.count; i++)
        if (!strcmp(r->model->let.items[i].name, expr->name)) return true;
    read_error(r, json, "%s is \"%s\", but must be a number, or a formula over \"let\", which has no \"%s\"", title,
               expr->name, expr->name);
    return false;
}

/* A number of the description itself, over its let alone; false if there is none, after a message. */
static bool read_plain_number(Reader *r, const Json *json, const char *title, double *number) {
    Arena *scratch = arena_new();
    Scope root = {0};
    Lower l = {.model = r->model, .diag = r->diag, .arena = scratch, .n = -1, .root = &root};
    const Expr *expr = read_expr(r, json);
    if (expr) scope_bind_constants(&l, &root, &r->model->let);
    bool known = expr && number_names(r, json, title, expr) &&
                 to_number(&l, spot_json(json), formula_value(&l, &root, expr), number);
    arena_free(scratch);
    if (expr && !known && !r->diag->errors)
        read_error(r, json, "%s depends on what the tokenizer of a text says, which is known too late for it", title);
    return known;
}

static const char *read_title(Reader *r, const Json *json) {
    return json->key ? arena_printf(r->arena, "'%s'", json->key) : "this";
}

double read_number(Reader *r, const Json *json, double standard, double least, double most) {
    double number;
    if (!json || !read_plain_number(r, json, read_title(r, json), &number)) return standard;
    if (number >= least && number <= most && number == floor(number)) return number;
    read_error(r, json, "%s is %.12g, but must be a whole number from %.0f to %.0f", read_title(r, json), number, least,
               most);
    return standard;
}

double read_real(Reader *r, const Json *json, double standard) {
    double number;
    if (!json || !read_plain_number(r, json, read_title(r, json), &number)) return standard;
    if (number > 0 && isfinite(number)) return number;
    read_error(r, json, "%s is %.12g, but must be above 0", read_title(r, json), number);
    return standard;
}
