/* The tensors of a model of the BERT family: which there are by frontend/bert.def, and those that a folder holds. */
#include "frontend/api_import.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- what there must be --- */

typedef enum { PART_encoder, PART_pooler, PART_masked_lm, PART_tied, PART_untied, PART_classifier } BertPart;

static bool bert_has_part(const Bert *bert, BertPart part) {
    switch (part) {
    case PART_encoder: return true;
    case PART_pooler: return bert->kind == BERT_classifier || (bert->kind == BERT_encoder && bert->has_pooler);
    case PART_masked_lm: return bert->kind == BERT_masked_lm;
    case PART_tied: return bert->kind == BERT_masked_lm && bert->is_tied;
    case PART_untied: return bert->kind == BERT_masked_lm && !bert->is_tied;
    case PART_classifier: return bert->kind == BERT_classifier;
    }
    return false;
}

/* The name for one layer: `#` is its number. */
static const char *bert_layer_name(const char *name, int64_t layer, Arena *arena) {
    const char *mark = strchr(name, '#');
    return mark ? arena_printf(arena, "%.*s%lld%s", (int)(mark - name), name, (long long)layer, mark + 1) : name;
}

typedef struct {
    BertPart part;
    const char *there, *here;
    bool is_dense;
    int64_t rows, columns; /* here; columns 0: a vector */
} BertLine;

static void bert_add(BertTensors *tensors, const Bert *bert, const BertLine *line, int64_t layer, Arena *arena) {
    BertTensor *tensor = &tensors->items[tensors->count++];
    const char *there = bert_layer_name(line->there, layer, arena);
    bool has_prefix = bert->kind != BERT_encoder && (line->part == PART_encoder || line->part == PART_pooler);
    *tensor = (BertTensor){.there = has_prefix ? arena_printf(arena, "bert.%s", there) : there,
                           .here = bert_layer_name(line->here, layer, arena),
                           .is_dense = line->is_dense};
    tensor->tensor = (SelfcTensor){
        .name = tensor->here, .dtype = SELFC_f32, .rank = line->columns ? 2 : 1, .dim = {line->rows, line->columns}};
}

enum { LIES_plain, LIES_dense };

BertTensors bert_tensors(const Bert *bert, Arena *arena) {
    const BertLine lines[] = {
#define TENSOR(part, there, here, lies, rows, columns) \
    {PART_##part, there, here, LIES_##lies == LIES_dense, bert->rows, bert->columns},
#include "frontend/bert.def"
    };
    enum { LINES = sizeof lines / sizeof *lines };
    BertTensors tensors = {.items = arena_array(arena, BertTensor, LINES * (size_t)bert->layers)};
    for (size_t i = 0; i < LINES; i++) {
        int64_t layers = strchr(lines[i].there, '#') ? bert->layers : 1;
        for (int64_t layer = 0; layer < layers && bert_has_part(bert, lines[i].part); layer++)
            bert_add(&tensors, bert, &lines[i], layer, arena);
    }
    return tensors;
}

bool bert_is_left_out(const char *there) {
    static const char *const patterns[] = {
#define LEFT_OUT(pattern) pattern,
#include "frontend/bert.def"
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (!fnmatch(patterns[i], there, 0)) return true;
    return false;
}

SelfcTensor bert_shape_there(const BertTensor *tensor) {
    SelfcTensor there = tensor->tensor;
    if (tensor->is_dense) there.dim[0] = tensor->tensor.dim[1], there.dim[1] = tensor->tensor.dim[0];
    return there;
}

/* Square blocks, so that both sides stay in the cache. */
void bert_turn(float *to, const float *from, int64_t rows, int64_t columns) {
    enum { BLOCK = 32 };
    for (int64_t r = 0; r < rows; r += BLOCK)
        for (int64_t c = 0; c < columns; c += BLOCK)
            for (int64_t i = r; i < rows && i < r + BLOCK; i++)
                for (int64_t j = c; j < columns && j < c + BLOCK; j++) to[j * rows + i] = from[i * columns + j];
}

/* --- what there is --- */

static bool bert_exists(const char *folder, const char *name, Arena *arena) {
    return !access(arena_printf(arena, "%s/%s", folder, name), F_OK);
}

static int bert_add_file(BertFile *file, const char *path) {
    SelfcTensors *tensors = &file->files[file->file_count];
    if (selfc_safetensors_read(path, tensors)) return api_fail("%s", selfc_failure());
    file->file_count++;
    file->count += tensors->count;
    return 0;
}

static bool bert_is_read(const char *const *names, uint32_t count, const char *name) {
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

/* The files that "weight_map" names, each once. A name is that of a file in the folder itself. */
static int bert_read_shards(const char *folder, const Json *map, Arena *arena, BertFile *file) {
    const char **names = arena_array(arena, const char *, map->count + 1);
    file->files = arena_array(arena, SelfcTensors, map->count + 1);
    for (const Json *item = map->child; item; item = item->next) {
        if (item->kind != JSON_text || !item->text[0] || strchr(item->text, '/'))
            return api_fail("%s: error: \"%s\" must be in a file of this folder", file->path, item->key);
        if (bert_is_read(names, file->file_count, item->text)) continue;
        names[file->file_count] = item->text;
        if (bert_add_file(file, arena_printf(arena, "%s/%s", folder, item->text))) return 1;
    }
    return 0;
}

static int bert_open_index(const char *folder, Arena *arena, BertFile *file) {
    void *bytes;
    size_t size;
    file->path = arena_printf(arena, "%s/model.safetensors.index.json", folder);
    if (selfc_file_read(file->path, &bytes, &size)) return api_fail("%s", selfc_failure());
    char *text = arena_array(arena, char, size + 1);
    memcpy(text, bytes, size);
    free(bytes);
    Diag diag;
    diag_init(&diag);
    const Json *json = json_parse(text, file->path, arena, &diag), *map = json_get(json, "weight_map");
    if (!json) return api_fail_with(&diag);
    diag_free(&diag);
    if (!map || map->kind != JSON_object || !map->count)
        return api_fail("%s: error: there is no \"weight_map\" in it that says which tensor is in which file",
                        file->path);
    return bert_read_shards(folder, map, arena, file);
}

static int bert_open_files(const char *folder, Arena *arena, BertFile *file) {
    file->path = arena_printf(arena, "%s/model.safetensors", folder);
    if (bert_exists(folder, "model.safetensors", arena)) {
        file->files = arena_array(arena, SelfcTensors, 1);
        return bert_add_file(file, file->path);
    }
    if (bert_exists(folder, "model.safetensors.index.json", arena)) return bert_open_index(folder, arena, file);
    if (bert_exists(folder, "pytorch_model.bin", arena))
        return api_fail("%s/pytorch_model.bin is a pickle, which selfc does not read: load the model with transformers "
                        "and write it with save_pretrained, which makes model.safetensors",
                        folder);
    return api_fail("%s holds no weights: neither model.safetensors nor model.safetensors.index.json", folder);
}

int bert_open(const char *folder, Arena *arena, BertFile *file) {
    *file = (BertFile){0};
    if (bert_open_files(folder, arena, file)) return bert_close(file), 1;
    file->entries = arena_array(arena, const SelfcEntry *, file->count + 1);
    file->used = arena_array(arena, bool, file->count + 1);
    uint32_t count = 0;
    for (uint32_t i = 0; i < file->file_count; i++)
        for (uint32_t j = 0; j < file->files[i].count; j++) file->entries[count++] = &file->files[i].entries[j];
    return 0;
}

void bert_close(BertFile *file) {
    for (uint32_t i = 0; i < file->file_count; i++) selfc_safetensors_free(&file->files[i]);
    file->file_count = file->count = 0;
}
