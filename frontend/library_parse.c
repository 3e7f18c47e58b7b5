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

const Json *library_find(const char *section, const Json *const *library) {
    for (uint32_t i = 0; i < library_file_count; i++)
        if (json_get(library[i], section)) return json_get(library[i], section);
    return NULL;
}
