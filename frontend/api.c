/* include/selfc.h, the part that opens and closes: options, descriptions from memory, files and RUN folders, the
 * error text. The other api_*.c files hold what can be done with an open model.
 *
 * A failure is one text of any length for each thread. Everything that a model needs until it is closed lives in its
 * arena; what is compiled is owned by `Compiled`. */
#include "frontend/api.h"

#include "runtime/text/tokenizer.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The text belongs to its thread and goes with it. */
static pthread_key_t api_text;
static pthread_once_t api_text_made = PTHREAD_ONCE_INIT;

static void api_make_text(void) {
    if (pthread_key_create(&api_text, free)) die("no memory");
}

const char *selfc_version(void) { return SELFC_VERSION; }

const char *selfc_error(void) {
    pthread_once(&api_text_made, api_make_text);
    const char *text = pthread_getspecific(api_text);
    return text ? text : "";
}

int selfc_cpus(void) { return selfc_cpu_count(); }

const char *selfc_nearest(const char *name, const char *const *names, size_t count) {
    return diag_nearest(name, names, count);
}

int api_fail(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) text = NULL;
    va_end(args);
    pthread_once(&api_text_made, api_make_text);
    free(pthread_getspecific(api_text));
    pthread_setspecific(api_text, text);
    return 1;
}

int api_fail_with(Diag *diag) {
    size_t length = strlen(diag->text ? diag->text : "");
    while (length && diag->text[length - 1] == '\n') length--;
    api_fail("%.*s", (int)length, diag->text ? diag->text : "");
    diag_free(diag);
    return 1;
}

void api_note(const SelfcModel *model, const char *format, ...) {
    if (!model->options.notes) return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "selfc: note: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static bool api_has_watcher(const SelfcModel *model) { return model->options.notes && isatty(STDERR_FILENO); }

/* \033[?7l: what does not fit is cut off, not wrapped; a wrapped line could not be cleared. */
void api_status(const SelfcModel *model, const char *format, ...) {
    if (!api_has_watcher(model)) return;
    va_list args;
    va_start(args, format);
    fputs("\r\033[K\033[?7l", stderr);
    vfprintf(stderr, format, args);
    fputs("\033[?7h", stderr);
    fflush(stderr);
    va_end(args);
}

void api_status_clear(const SelfcModel *model) {
    if (api_has_watcher(model)) fputs("\r\033[K", stderr), fflush(stderr);
}

static void api_hear(const void *model, uint32_t kernels) {
    if (kernels)
        api_status(model, "compiling %u kernel%s …", kernels, kernels == 1 ? "" : "s");
    else
        api_status_clear(model);
}

CompileListener api_listener(const SelfcModel *model) { return (CompileListener){api_hear, model}; }

double api_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t api_seed(const SelfcModel *model) {
    return model->options.has_seed ? model->options.seed : model_seed(model->description);
}

/* NULL: none can be had. */
static const char *api_default_cache(Arena *arena) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (base && base[0] == '/') return arena_printf(arena, "%s/selfc", base);
    return home && home[0] ? arena_printf(arena, "%s/.cache/selfc", home) : NULL;
}

static void api_copy_options(SelfcModel *model, const SelfcOptions *given) {
    SelfcOptions *options = &model->options;
    if (given) memcpy(options, given, given->size < sizeof *options ? given->size : sizeof *options);
    const char **sets = arena_array(model->arena, const char *, options->set_count + 1);
    for (size_t i = 0; i < options->set_count; i++) sets[i] = arena_copy(model->arena, options->sets[i]);
    options->sets = sets;
    options->file = arena_copy(model->arena, options->file ? options->file : "description");
    options->data = arena_copy(model->arena, options->data);
    options->cpu = arena_copy(model->arena, options->cpu);
    options->triple = arena_copy(model->arena, options->triple);
    options->dump = arena_copy(model->arena, options->dump);
    options->cache = options->cache ? arena_copy(model->arena, options->cache) : api_default_cache(model->arena);
    if (options->cache && !options->cache[0]) options->cache = NULL;
}

/* "a\"b" as JSON says it. */
const char *api_quote(const char *text, Arena *arena) {
    char *quoted = arena_array(arena, char, 6 * strlen(text) + 3), *to = quoted;
    *to++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') *to++ = '\\';
        if ((unsigned char)*text < ' ')
            to += sprintf(to, "\\u%04x", *text);
        else
            *to++ = *text;
    }
    *to = '"';
    return quoted;
}

/* --data as overrides of the description, so that a RUN says which data it was trained on. */
static void api_set_data(SelfcModel *model) {
    Arena *arena = model->arena;
    const DataSpec *specs;
    uint32_t count = model_data(model->description, &specs);
    const char *kind = count ? selfc_source_kind_at(model->options.data) : NULL;
    char *absolute = kind ? realpath(model->options.data, NULL) : NULL;
    if (!absolute) return; /* whoever wants the data will say what is wrong */
    const char **sets = arena_array(arena, const char *, model->options.set_count + 2 * count + 1);
    size_t set_count = model->options.set_count;
    memcpy(sets, model->options.sets, set_count * sizeof *sets);
    for (uint32_t i = 0; i < count; i++) {
        sets[set_count++] = arena_printf(arena, "training.data.%s.source=%s", specs[i].input, kind);
        sets[set_count++] = arena_printf(arena, "training.data.%s.path=%s", specs[i].input, api_quote(absolute, arena));
    }
    free(absolute);
    model->options.sets = sets;
    model->options.set_count = set_count;
}

int api_check_dump(const char *dump) {
    if (!dump || !strcmp(dump, "all") || pass_find(dump)) return 0;
    char names[512] = "all";
    for (size_t i = 0; i < pass_count; i++) {
        size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, ", %s", pass_list[i].name);
    }
    return api_fail("there is no pass \"%s\" to dump, but %s", dump, names);
}

int api_make_folders(const char *folder, Arena *arena) {
    char *path = arena_copy(arena, folder);
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = 0;
            mkdir(path, 0777);
            *at = '/';
        }
    return mkdir(path, 0700) && errno != EEXIST ? errno : 0;
}

/* A folder that was asked for must be there and writable, or be made. */
static int api_check_cache(const SelfcModel *model, const SelfcOptions *given) {
    const char *folder = model->options.cache;
    SelfcOptions copy = {0};
    if (given) memcpy(&copy, given, given->size < sizeof copy ? given->size : sizeof copy);
    if (!copy.cache || !folder) return 0;
    int error = api_make_folders(folder, model->arena);
    if (error) return api_fail("the cache %s: %s", folder, strerror(error));
    struct stat status;
    if (stat(folder, &status) == 0 && !S_ISDIR(status.st_mode)) return api_fail("the cache %s is no folder", folder);
    return access(folder, W_OK | X_OK) ? api_fail("the cache %s: %s", folder, strerror(errno)) : 0;
}

static void api_parse(SelfcModel *model, const char *text, Diag *diag) {
    const SelfcOptions *options = &model->options;
    model->description = model_parse(text, options->file, options->sets, options->set_count, model->arena, diag);
}

SelfcModel *selfc_open(const char *text, size_t length, const SelfcOptions *options) {
    Arena *arena = arena_new();
    SelfcModel *model = arena_array(arena, SelfcModel, 1);
    model->arena = arena;
    api_copy_options(model, options);
    model->opened = api_seconds();
    if (api_check_dump(model->options.dump) || api_check_cache(model, options)) {
        selfc_close(model);
        return NULL;
    }
    Diag diag;
    diag_init(&diag);
    if (memchr(text, 0, length)) {
        diag_error(&diag, (Place){0}, "%s: a zero byte stands in the text, which JSON cannot hold",
                   model->options.file);
    } else {
        char *copy = arena_array(arena, char, length + 1);
        memcpy(copy, text, length);
        api_parse(model, copy, &diag);
        size_t sets = model->options.set_count;
        if (model->description && model->options.data) api_set_data(model);
        if (model->options.set_count > sets) api_parse(model, copy, &diag);
        sets = model->options.set_count;
        if (model->description) api_begin_resolve(model);
        if (model->description && api_set_tokenizer(model)) return diag_free(&diag), selfc_close(model), NULL;
        if (model->options.set_count > sets) api_parse(model, copy, &diag);
        if (model->description) model_set_vocabulary_failure(model->description, model->tokenizer_failure);
        if (model->description) api_begin_resolve(model);
    }
    if (model->options.times)
        fprintf(stderr, "%8.2f ms  reading the description\n", 1e3 * (api_seconds() - model->opened));
    if (diag.errors || !model->description) {
        api_fail_with(&diag);
        selfc_close(model);
        return NULL;
    }
    diag_free(&diag);
    model->is_trained = api_begin(model).path != NULL;
    return model;
}

SelfcModel *api_open_made(const SelfcModel *parent, const char *text) {
    SelfcOptions options = {.size = sizeof options,
                            .cpu = parent->options.cpu,
                            .cache = parent->options.cache ? parent->options.cache : "",
                            .threads = parent->options.threads,
                            .seed = api_seed(parent),
                            .has_seed = 1,
                            .untuned = parent->options.untuned};
    Arena *arena = arena_new();
    SelfcModel *model = arena_array(arena, SelfcModel, 1);
    model->arena = arena;
    api_copy_options(model, &options);
    model->opened = api_seconds();
    Diag diag;
    diag_init(&diag);
    model->description = model_parse_made(arena_copy(arena, text), parent->options.file, arena, &diag);
    if (!model->description) {
        api_fail_with(&diag);
        selfc_close(model);
        return NULL;
    }
    diag_free(&diag);
    model->has_shapes = true;
    return model;
}

static bool api_is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Bytes of a folder's path without slashes at its end. */
static size_t api_folder_length(const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    return length;
}

/* The description, and (a RUN folder) where its weights are. */
static SelfcModel *api_open_at(const char *path, const char *weights, const SelfcOptions *options) {
    void *bytes;
    size_t size;
    if (selfc_file_read(path, &bytes, &size)) {
        api_fail("%s", selfc_failure());
        return NULL;
    }
    SelfcOptions named = {.size = sizeof named};
    if (options) memcpy(&named, options, options->size < sizeof named ? options->size : sizeof named);
    named.size = sizeof named;
    named.file = path;
    SelfcModel *model = selfc_open(bytes, size, &named);
    free(bytes);
    if (model) model->weights = arena_copy(model->arena, weights);
    if (model) model->is_trained |= weights != NULL;
    return model;
}

SelfcModel *selfc_open_file(const char *path, const SelfcOptions *options) {
    if (!api_is_folder(path)) return api_open_at(path, NULL, options);
    Arena *arena = arena_new();
    path = arena_printf(arena, "%.*s", (int)api_folder_length(path), path);
    SelfcModel *model = api_open_at(arena_printf(arena, "%s/model.json", path),
                                    arena_printf(arena, "%s/weights.safetensors", path), options);
    if (model) model->folder = arena_copy(model->arena, path);
    arena_free(arena);
    return model;
}

void selfc_close(SelfcModel *model) {
    if (!model) return;
    api_compiled_free(&model->compiled);
    selfc_tokenizer_close(model->tokenizer);
    arena_free(model->answers);
    arena_free(model->arena);
}

static const char *api_attribute(AttrKind attr) {
    switch (attr) {
    case ATTR_none: return "";
    case ATTR_index: return "index";
    case ATTR_value: return "value";
    case ATTR_axis: return "axis";
    case ATTR_axes: return "axes";
    case ATTR_random: return "stream, word";
    case ATTR_dtype: return "dtype";
    case ATTR_permutation: return "permutation";
    case ATTR_slice: return "start, step";
    case ATTR_pad: return "before, value";
    case ATTR_window: return "stride, dilation, before, value";
    case ATTR_attention: return "scale, causal, rate, stream";
    }
    return "";
}

static void api_describe_ops(FILE *out) {
    fprintf(out, "| operation | operands | attribute | meaning |\n|---|---|---|---|\n");
    for (int op = 0; op < OP_COUNT; op++)
        fprintf(out, "| `%s` | %u | %s | %s |\n", op_info[op].name, op_info[op].inputs, api_attribute(op_info[op].attr),
                op_info[op].meaning);
}

static void api_describe_passes(FILE *out) {
    fprintf(out, "| pass | what it does |\n|---|---|\n");
    for (size_t i = 0; i < pass_count; i++) fprintf(out, "| `%s` | %s |\n", pass_list[i].name, pass_list[i].summary);
}

int selfc_describe(const char *what, FILE *out) {
    static const struct {
        const char *name;
        void (*print)(FILE *out);
    } topics[] = {{"schema", schema_print},
                  {"ops", api_describe_ops},
                  {"passes", api_describe_passes},
                  {"language", reference_print}};
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (!strcmp(what, topics[i].name)) return topics[i].print(out), 0;
    return api_fail("there is no description of \"%s\": schema, ops, passes or language", what);
}
