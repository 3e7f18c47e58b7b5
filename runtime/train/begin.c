/* Weights that begin as a file has them, matched by name.
 *
 * A weight that is not found would begin as if it had been asked to, and train without a complaint; so each must be
 * there, or be named as one that is new. What the file has beyond them is said, but no mistake: an encoder is often
 * taken without the head that it was trained with. */
#include "runtime/train/begin.h"

#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BEGIN_LISTED = 8 };

/* A list of things that do not fit, of which the first few are told. */
typedef struct {
    char *text;
    size_t length;
    FILE *out;
    uint32_t count;
} List;

static void list_begin(List *list) {
    *list = (List){0};
    list->out = open_memstream(&list->text, &list->length);
    if (!list->out) abort();
}

static bool list_add(List *list) { return list->count++ < BEGIN_LISTED; }

/* free() */
static char *list_end(List *list) {
    if (list->count > BEGIN_LISTED) fprintf(list->out, "\n  and %u more", list->count - BEGIN_LISTED);
    fclose(list->out);
    return list->text;
}

/* A pattern also means everything below the names that it fits, as in a description's "over". */
static bool begin_is_new(const SelfcBegin *begin, const char *name) {
    for (uint32_t i = 0; i < begin->fresh_count; i++) {
        const char *pattern = begin->fresh[i];
        char *below = NULL;
        if (asprintf(&below, "%s.*", pattern) < 0) abort();
        bool fits = !fnmatch(pattern, name, 0) || !fnmatch(below, name, 0);
        free(below);
        if (fits) return true;
    }
    return false;
}

/* What follows `prefix` and a dot in a name, or the whole name behind an empty prefix; NULL: it begins otherwise. */
static const char *begin_rest(const char *name, const char *prefix) {
    size_t length = strlen(prefix);
    if (!length) return name;
    if (strncmp(name, prefix, length) || (name[length] && name[length] != '.')) return NULL;
    return name[length] ? name + length + 1 : "";
}

/* The weight's name there, by the first beginning that fits. free() */
static char *begin_name_there(const SelfcBegin *begin, const char *name) {
    char *there = NULL;
    for (uint32_t i = 0; i + 1 < begin->name_count; i += 2) {
        const char *rest = begin_rest(name, begin->names[i]), *first = begin->names[i + 1];
        if (!rest) continue;
        if (asprintf(&there, "%s%s%s", first, *first && *rest ? "." : "", rest) < 0) abort();
        return there;
    }
    there = strdup(name);
    if (!there) abort();
    return there;
}

static bool begin_same(const SelfcTensor *a, const SelfcTensor *b) {
    bool is_same = a->dtype == b->dtype && a->rank == b->rank;
    for (int32_t i = 0; is_same && i < a->rank; i++) is_same = a->dim[i] == b->dim[i];
    return is_same;
}

/* The place's tensor in the file; NULL if it is new, or after a line about what is wrong. What has its name is `taken`
 * in any case. */
static const SelfcEntry *begin_find(const SelfcBegin *begin, const SelfcTensors *tensors, const SelfcTensor *tensor,
                                    bool *taken, List *wrong) {
    char *there = begin_name_there(begin, tensor->name), want[128], has[128];
    const SelfcEntry *entry = selfc_safetensors_find(tensors, there);
    const char *brackets = strcmp(there, tensor->name) ? ", there " : "", *other = *brackets ? there : "";
    bool is_new = begin_is_new(begin, tensor->name), is_fine = entry && begin_same(&entry->tensor, tensor);
    if (!is_new && !is_fine && list_add(wrong)) {
        fprintf(wrong->out, "\n  %s%s%s, %s, is ", tensor->name, brackets, other, selfc_tensor_print(tensor, want));
        fprintf(wrong->out, entry ? "%s there" : "not there", entry ? selfc_tensor_print(&entry->tensor, has) : "");
    }
    if (entry) taken[entry - tensors->entries] = true;
    free(there);
    return is_new || !is_fine ? NULL : entry;
}

/* Tensors that no weight takes; NULL: none. */
static char *begin_spare(const SelfcTensors *tensors, const bool *taken) {
    List spare;
    list_begin(&spare);
    for (uint32_t i = 0; i < tensors->count; i++) {
        char has[128];
        if (taken[i] || !list_add(&spare)) continue;
        fprintf(spare.out, "\n  %s, %s", tensors->entries[i].name,
                selfc_tensor_print(&tensors->entries[i].tensor, has));
    }
    char *text = list_end(&spare);
    if (spare.count) return text;
    free(text);
    return NULL;
}

static void begin_fail(const char *from, const char *wrong, const char *spare) {
    selfc_fail(
        "weights that should begin as %s has them do not fit:%s%s%s\nWhat is to begin as its layer says is named "
        "in training.init as \"new\": [\"head*\"]; what has another name there, as \"names\": {\"here\": "
        "\"there\"}",
        from, wrong, spare ? "\nNothing takes these, which are there:" : "", spare ? spare : "");
}

int selfc_begin(const SelfcBegin *begin, const SelfcTensors *tensors, const char *from, const SelfcPlace *places,
                uint32_t count, char **spare) {
    const SelfcEntry **found = calloc(count + 1, sizeof *found);
    bool *taken = calloc(tensors->count + 1, sizeof *taken);
    if (!found || !taken) abort();
    List wrong;
    list_begin(&wrong);
    for (uint32_t i = 0; i < count; i++) found[i] = begin_find(begin, tensors, places[i].tensor, taken, &wrong);
    char *text = list_end(&wrong);
    *spare = begin_spare(tensors, taken);
    for (uint32_t i = 0; i < count && !wrong.count; i++)
        if (found[i] && places[i].place)
            memcpy(places[i].place, found[i]->data, selfc_tensor_bytes(places[i].tensor, 1));
    if (wrong.count) {
        begin_fail(from, text, *spare);
        free(*spare);
        *spare = NULL;
    }
    free(text);
    free(found);
    free(taken);
    return wrong.count ? -1 : 0;
}

int selfc_begin_states(const SelfcBegin *begin, const SelfcModule *module, void *state, char **spare) {
    SelfcTensors tensors;
    *spare = NULL;
    if (selfc_safetensors_read(begin->path, &tensors)) return -1;
    SelfcPlace *places = calloc(module->state_count + 1, sizeof *places);
    if (!places) abort();
    uint32_t count = 0;
    for (uint32_t i = 0; i < module->state_count; i++)
        if (module->states[i].is_weight)
            places[count++] =
                (SelfcPlace){&module->states[i].tensor, state ? (char *)state + module->states[i].offset : NULL};
    int failed = selfc_begin(begin, &tensors, begin->path, places, count, spare);
    free(places);
    selfc_safetensors_free(&tensors);
    return failed;
}
