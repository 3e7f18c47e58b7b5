/* Reads the embedded library. It is small, so it is read anew for each description. */
#include "frontend/library.h"

const Json **library_parse(Arena *arena) {
    const Json **library = arena_array(arena, const Json *, library_file_count);
    Diag diag;
    diag_init(&diag);
    for (uint32_t i = 0; i < library_file_count; i++) {
        library[i] = json_parse(library_files[i].text, library_files[i].name, arena, &diag);
        if (!library[i]) BUG("the library is broken: %s", diag.text);
    }
    diag_free(&diag);
    return library;
}

const Json **library_items(const char *section, uint32_t *count, Arena *arena) {
    const Json **library = library_parse(arena), **items = NULL;
    uint32_t capacity = 0;
    *count = 0;
    for (uint32_t i = 0; i < library_file_count; i++) {
        const Json *all = json_get(library[i], section);
        for (const Json *item = all ? all->child : NULL; item; item = item->next) {
            items = arena_grow(arena, items, *count, &capacity, sizeof *items);
            items[(*count)++] = item;
        }
    }
    return items;
}
