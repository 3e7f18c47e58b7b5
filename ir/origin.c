/* Text of origins. Names of layers hold neither spaces nor brackets of this kind, so " (" ends the name. */
#include "ir/origin.h"

#include <string.h>

static const char origin_word[] = " backward", origin_once_more[] = " again";

/* Work that belongs to no layer. */
static const struct {
    const char *origin, *part;
} origin_parts[] = {
    {"training.optimizer", "update"}, {"training.data", "data"}, {"training.report", "report"}, {"copy", "copy"}};

const char *origin_make(Arena *arena, const char *name, const char *place) {
    return name && *name ? arena_printf(arena, "%s (%s)", name, place) : place;
}

static bool origin_ends(const char *origin, const char *ending) {
    size_t length = origin ? strlen(origin) : 0, word = strlen(ending);
    return length > word && !strcmp(origin + length - word, ending);
}

bool origin_is_backward(const char *origin) { return origin_ends(origin, origin_word); }
bool origin_is_again(const char *origin) { return origin_ends(origin, origin_once_more); }

const char *origin_backward(Arena *arena, const char *origin) {
    return !origin || origin_is_backward(origin) ? origin : arena_printf(arena, "%s%s", origin, origin_word);
}

const char *origin_again(Arena *arena, const char *origin) {
    return arena_printf(arena, "%s%s", origin ? origin : "other", origin_once_more);
}

const char *origin_name(Arena *arena, const char *origin) {
    if (!origin) return NULL;
    const char *end = strstr(origin, " (");
    if (end) return arena_printf(arena, "%.*s", (int)(end - origin), origin);
    char *name = arena_copy(arena, origin);
    if (origin_is_again(name)) name[strlen(name) - strlen(origin_once_more)] = 0;
    if (origin_is_backward(name)) name[strlen(name) - strlen(origin_word)] = 0;
    return name;
}

const char *origin_part(const char *origin) {
    if (!origin) return "other";
    if (origin_is_again(origin)) return "again";
    if (origin_is_backward(origin)) return "backward";
    for (size_t i = 0; i < sizeof origin_parts / sizeof *origin_parts; i++)
        if (!strcmp(origin, origin_parts[i].origin)) return origin_parts[i].part;
    return "forward";
}

const char *origin_title(Arena *arena, const char *origin, unsigned others, const char *operations) {
    if (!origin) return arena_copy(arena, operations);
    const char *part = origin_part(origin), *more = others ? arena_printf(arena, "+%u", others) : "";
    bool is_layer = !strcmp(part, "forward") || !strcmp(part, "backward") || !strcmp(part, "again");
    return arena_printf(arena, "%s%s %s%s%s", origin_name(arena, origin), more, is_layer ? part : "",
                        is_layer ? " " : "", operations);
}
