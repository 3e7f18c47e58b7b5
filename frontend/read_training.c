/* Training: data, updates, optimisers. */
#include "frontend/read.h"

#include <string.h>

void read_dtype(Reader *r, const Json *json, DType *dtype) {
    const char *names[DTYPE_COUNT];
    for (int i = 0; i < DTYPE_COUNT; i++) names[i] = dtype_info[i].name;
    if (read_accepts(r, json, ACCEPT_dtype) && !dtype_find(json->text, dtype))
        read_unknown(r, json, "element type", json->text, names, DTYPE_COUNT);
}

/* The one that a misspelt name resembles, after a message. */
static const SourceInfo *read_source(Reader *r, const Json *json) {
    const char **names = arena_array(r->arena, const char *, source_count);
    for (uint32_t i = 0; i < source_count; i++) {
        names[i] = source_info[i].name;
        if (!strcmp(names[i], json->text)) return &source_info[i];
    }
    const char *nearest = read_unknown(r, json, "data source", json->text, names, source_count);
    for (uint32_t i = 0; nearest && i < source_count; i++)
        if (names[i] == nearest) return &source_info[i];
    return NULL;
}

/* What is known of pictures in files: their box, if its size is asked for. */
static bool set_picture_sample(Data *data) {
    if (!strcmp(data->field, "size")) {
        data->sample = (Type){.dtype = DTYPE_i32, .rank = 1, .dim = {2}};
    } else if (!strcmp(data->field, "image") && data->height) {
        data->sample = (Type){.dtype = DTYPE_u8, .rank = 2, .dim = {data->height, data->width}};
        if (data->channels != 1) data->sample.dim[data->sample.rank++] = 3;
    } else {
        return false;
    }
    return true;
}

/* What the source says about a sample before any data is opened. */
static void set_sample(Data *data, const SourceInfo *source) {
    const char *text = data->field && !strcmp(data->field, "label")                      ? "i32[]"
                       : source && source->sample && !strcmp(data->field, source->field) ? source->sample
                                                                                         : NULL;
    data->has_sample = text ? type_parse(&text, &data->sample)
                            : source && !strcmp(source->name, "pictures") && set_picture_sample(data);
    if (data->has_sample && data->sample.rank == 2 && data->channels == 3) data->sample.dim[data->sample.rank++] = 3;
}

static bool is_number_or_formula(Reader *r, const Json *json) {
    if (json->kind == JSON_number || json->kind == JSON_text) return true;
    read_error(r, json, "this is %s, but must be a number or a formula", json_kind_name(json->kind));
    return false;
}

/* What is asked of pictures. */
static void read_picture(Reader *r, const Json *json, Data *data) {
    const Json *size = read_key(json, OBJECT_data, "size"), *channels = read_key(json, OBJECT_data, "channels");
    const Json *height = size && size->kind == JSON_list ? size->child : size;
    const Json *width = size && size->kind == JSON_list && height ? height->next : size;
    if (size && size->kind == JSON_list && size->count != 2) {
        read_error(r, size, "'size' is a list of %u, but must be %s", size->count, accept_info[ACCEPT_pair].text);
    } else if (size && is_number_or_formula(r, height) && is_number_or_formula(r, width)) {
        data->height = (int64_t)read_number(r, height, 0, 1, LARGEST_SIDE);
        data->width = width == height ? data->height : (int64_t)read_number(r, width, 0, 1, LARGEST_SIDE);
    }
    if (channels) data->channels = (int64_t)read_number(r, channels, 1, 1, LARGEST_SIDE);
    if (channels && data->channels != 1 && data->channels != 3)
        read_error(r, channels, "'channels' is %lld, but must be 1 for grey or 3 for colour",
                   (long long)data->channels);
}

static void read_data(Reader *r, const Json *json, Data *data) {
    *data = (Data){.name = json->key, .json = json, .dtype = DTYPE_u8};
    if (!read_is_name(json->key))
        diag_error(r->diag, json_key_place(json),
                   "\"%s\" cannot be used in formulas: a name is a letter or _, then letters, digits or _", json->key);
    if (!read_check(r, json, OBJECT_data)) return;
    const Json *source = read_key(json, OBJECT_data, "source"), *path = read_key(json, OBJECT_data, "path");
    const Json *field = read_key(json, OBJECT_data, "field"), *flatten = read_key(json, OBJECT_data, "flatten");
    const Json *scale = read_key(json, OBJECT_data, "scale"), *type = read_key(json, OBJECT_data, "type");
    const SourceInfo *info = source ? read_source(r, source) : NULL;
    if (info && info->sample && path)
        read_error(r, path, "the source \"%s\" reads no file; \"path\" goes with another \"source\", or with none",
                   info->name);
    if (!json_get(json, "source") && !json_get(json, "path"))
        read_error(r, json, "a data input needs a \"source\" or a \"path\"");
    data->source = info ? info->name : NULL;
    data->path = path ? path->text : NULL;
    data->field = field ? field->text : info ? info->field : "image";
    /* A value that is none was meant to flatten, or shapes would be wrong as well. */
    data->flatten = flatten ? flatten->number != 0 : json_get(json, "flatten") != NULL;
    data->labels = read_key(json, OBJECT_data, "labels");
    if (scale) data->scale = read_expr(r, scale);
    if (type) read_dtype(r, type, &data->dtype);
    read_picture(r, json, data);
    read_text(r, json, info, data);
    data->shape_json = read_key(json, OBJECT_data, "shape");
    if (data->shape_json)
        data->shape = read_list(r, data->shape_json);
    else if (type)
        read_error(r, type, "\"type\" belongs to a \"shape\", but there is none");
    set_sample(data, info);
}

static void read_all_data(Reader *r, const Json *json, Training *training) {
    if (!json) return;
    training->data = arena_array(r->arena, Data, json->count + 1);
    for (const Json *item = json->child; item; item = item->next)
        read_data(r, item, &training->data[training->data_count++]);
    read_texts(r, training);
    if (!json->count) read_error(r, json, "there must be at least one data input");
    if (json->count > MAX_VALUES) read_error(r, json, "there can be at most %d data inputs", MAX_VALUES);
}

static void read_optimizer(Reader *r, const Json *json, Optimizer *optimizer) {
    optimizer->name = json->key;
    optimizer->is_library = r->is_library;
    optimizer->json = json;
    if (!read_check(r, json, OBJECT_optimizer)) return;
    const Json *state = read_key(json, OBJECT_optimizer, "state");
    optimizer->params = read_constants(r, read_key(json, OBJECT_optimizer, "params"));
    optimizer->let = read_constants(r, read_key(json, OBJECT_optimizer, "let"));
    optimizer->update = read_constants(r, read_key(json, OBJECT_optimizer, "update"));
    if (!state || state->kind == JSON_object) {
        optimizer->state = read_constants(r, state);
        return;
    }
    Names names = read_names(r, state, true);
    optimizer->state.items = arena_array(r->arena, Constant, names.count + 1);
    for (uint32_t i = 0; i < names.count; i++)
        optimizer->state.items[optimizer->state.count++] = (Constant){names.items[i].name, NULL, names.items[i].json};
}

void read_optimizers(Reader *r, const Json *json, bool is_library) {
    if (!json) return;
    Optimizer *all = arena_array(r->arena, Optimizer, r->model->optimizer_count + json->count + 1);
    if (r->model->optimizer_count) memcpy(all, r->model->optimizers, r->model->optimizer_count * sizeof *all);
    r->model->optimizers = all;
    r->is_library = is_library;
    for (const Json *item = json->child; item; item = item->next)
        read_optimizer(r, item, &all[r->model->optimizer_count++]);
    r->is_library = false;
}

/* The one that a misspelt name resembles, after a message. */
static const Optimizer *find_optimizer(Reader *r, const Json *at, const char *name) {
    const char **names = arena_array(r->arena, const char *, r->model->optimizer_count + 1);
    for (uint32_t i = 0; i < r->model->optimizer_count; i++) {
        names[i] = r->model->optimizers[i].name;
        if (!strcmp(names[i], name)) return &r->model->optimizers[i];
    }
    const char *nearest = read_unknown(r, at, "optimizer", name, names, r->model->optimizer_count);
    for (uint32_t i = 0; nearest && i < r->model->optimizer_count; i++)
        if (names[i] == nearest) return &r->model->optimizers[i];
    return NULL;
}

static bool unknown_number(Reader *r, const Optimizer *optimizer, const Json *json, const Json *item) {
    const char **names = arena_array(r->arena, const char *, optimizer->params.count + key_count);
    uint32_t count = 0;
    for (uint32_t i = 0; i < optimizer->params.count; i++) names[count++] = optimizer->params.items[i].name;
    for (uint32_t i = 0; i < key_count; i++)
        if (key_info[i].object == OBJECT_use) names[count++] = key_info[i].name;
    return read_unknown_key(r, json, item, arena_printf(r->arena, "optimizer \"%s\"", optimizer->name), names, count);
}

static bool has_param(const Optimizer *optimizer, const char *name) {
    for (uint32_t i = 0; i < optimizer->params.count; i++)
        if (!strcmp(optimizer->params.items[i].name, name)) return true;
    return false;
}

static bool is_use_key(const char *name) {
    for (uint32_t i = 0; i < key_count; i++)
        if (key_info[i].object == OBJECT_use && !strcmp(key_info[i].name, name)) return true;
    return false;
}

/* Keys that every optimiser has; false if the item is none of them. */
static bool read_use_key(Reader *r, const Json *item, OptimizerUse *use) {
    if (!strcmp(item->key, "name")) return true;
    if (!strcmp(item->key, "about")) return read_accepts(r, item, ACCEPT_text), true;
    if (!strcmp(item->key, "exclude")) {
        use->has_exclude = read_accepts(r, item, ACCEPT_exclude);
        if (use->has_exclude) use->exclude = read_names(r, item, false);
        return true;
    }
    if (strcmp(item->key, "clip_norm")) return false;
    if (read_accepts(r, item, ACCEPT_number)) use->clip_norm = read_expr(r, item);
    return true;
}

static OptimizerUse read_optimizer_use(Reader *r, const Json *json) {
    OptimizerUse use = {.json = json};
    const Json *name = json->kind == JSON_object ? json_get(json, "name") : json;
    if (!name) read_error(r, json, "an optimizer needs \"name\"");
    if (name && read_accepts(r, name, ACCEPT_name)) use.optimizer = find_optimizer(r, name, name->text);
    if (!use.optimizer) read_leave(r, json);
    if (!use.optimizer || json->kind != JSON_object) return use;
    use.params.items = arena_array(r->arena, Constant, json->count + 1);
    for (const Json *item = json->child; item; item = item->next) {
        if (!is_use_key(item->key) && !has_param(use.optimizer, item->key) &&
            !unknown_number(r, use.optimizer, json, item))
            continue;
        if (read_use_key(r, item, &use)) continue;
        bool is_number = item->kind == JSON_boolean || read_accepts(r, item, ACCEPT_number);
        if (use.optimizer->is_library && item->kind == JSON_number && item->number < 0)
            read_error(r, item, "'%s' is %.12g, but must be at least 0", item->key, item->number);
        use.params.items[use.params.count++] = (Constant){item->key, is_number ? read_expr(r, item) : NULL, item};
    }
    return use;
}

static void read_update(Reader *r, const Json *json, OptimizerUse standard, Update *update) {
    *update = (Update){.optimizer = standard};
    if (json->kind == JSON_text) {
        update->loss = (Name){json->text, json};
        return;
    }
    update->loss = (Name){"?", json};
    if (!read_check(r, json, OBJECT_update)) return;
    const Json *loss = read_key(json, OBJECT_update, "loss"), *optimizer = read_key(json, OBJECT_update, "optimizer");
    if (loss) update->loss = (Name){loss->text, loss};
    update->over = read_names(r, read_key(json, OBJECT_update, "over"), false);
    if (optimizer) update->optimizer = read_optimizer_use(r, optimizer);
}

static void read_updates(Reader *r, const Json *json, OptimizerUse standard, Training *training) {
    if (!json) return;
    uint32_t count = json->kind == JSON_list ? json->count : 1;
    const Json *item = json->kind == JSON_list ? json->child : json;
    training->updates = arena_array(r->arena, Update, count + 1);
    for (; item && training->update_count < count; item = item->next) {
        read_update(r, item, standard, &training->updates[training->update_count++]);
        if (json->kind != JSON_list) break;
    }
    if (!count) read_error(r, json, "there must be something to minimise");
}

static bool is_loss(const Training *training, const char *name) {
    for (uint32_t i = 0; i < training->update_count; i++)
        if (!strcmp(training->updates[i].loss.name, name)) return true;
    return false;
}

/* The losses are reported anyway. */
static void read_reports(Reader *r, const Json *json, Training *training) {
    Names all = read_names(r, json, true);
    training->reports.items = arena_array(r->arena, Name, all.count + 1);
    for (uint32_t i = 0; i < all.count; i++) {
        bool is_double = false, is_name = all.items[i].json->kind == JSON_text;
        for (uint32_t j = 0; j < i; j++) is_double |= !strcmp(all.items[i].name, all.items[j].name);
        if (is_name && is_double)
            read_error(r, all.items[i].json, "\"%s\" is reported twice", all.items[i].name);
        else if (is_name && !is_loss(training, all.items[i].name))
            training->reports.items[training->reports.count++] = all.items[i];
    }
}

/* Features to watch. More than two views would have more than one alignment. */
static void read_health(Reader *r, const Json *json, Training *training) {
    training->health = read_names(r, json, true);
    if (training->health.count <= 2) return;
    read_error(r, json, "these are %u names, but health is that of one feature, or of two views",
               training->health.count);
    training->health.count = 2;
}

static bool is_listed(const char *name, const char *const *names) {
    while (*names && strcmp(name, *names)) names++;
    return *names != NULL;
}

/* Losses and reports stand in the lines of the metrics under their names, beside what is always there, and what is
 * measured where the description asks for it. */
static void check_metric(Reader *r, const Training *training, const Name *name) {
    static const char *const always[] = {"step", "epoch", "seconds", "samples_per_second", "data_wait", "alarm", NULL};
    static const char *const health[] = {"feature_std", "effective_rank", "alignment", "uniformity", NULL};
    static const char *const knn[] = {"knn_accuracy", NULL};
    const char *by = is_listed(name->name, always) ? "every line of the metrics has" : NULL;
    if (training->health.count && is_listed(name->name, health)) by = "training.health measures";
    if (training->knn.every && is_listed(name->name, knn)) by = "training.knn measures";
    if (by) read_error(r, name->json, "%s a value called \"%s\"; this one needs another name", by, name->name);
}

static void check_metrics(Reader *r, const Training *training) {
    for (uint32_t i = 0; i < training->update_count; i++) check_metric(r, training, &training->updates[i].loss);
    for (uint32_t i = 0; i < training->reports.count; i++) check_metric(r, training, &training->reports.items[i]);
}

/* Whether there is such a function is known when they have been read. */
static void read_knn(Reader *r, const Json *json, Training *training) {
    if (!json || !read_check(r, json, OBJECT_knn)) return;
    const Json *function = training->knn_function = read_key(json, OBJECT_knn, "function");
    training->knn = (KnnSpec){
        .every = (int64_t)read_number(r, read_key(json, OBJECT_knn, "every"), 5, 1, 1 << 30),
        .k = (int64_t)read_number(r, read_key(json, OBJECT_knn, "k"), 0, 1, 1 << 20),
        .samples = (int64_t)read_number(r, read_key(json, OBJECT_knn, "samples"), 20000, 1, 1 << 30),
        .temperature = read_real(r, read_key(json, OBJECT_knn, "temperature"), 0),
        .function = function ? function->text : NULL,
    };
}

/* A function for several lengths is called as in the description; or as one of its copies. */
void read_knn_function(Reader *r) {
    const Json *json = r->model->training.knn_function;
    const char **names = arena_array(r->arena, const char *, r->model->function_count + 1);
    bool is_there = !json;
    for (uint32_t i = 0; json && i < r->model->function_count; i++) {
        names[i] = model_family(r->model, i);
        is_there |= !strcmp(names[i], json->text) || !strcmp(r->model->function_names[i], json->text);
    }
    if (!is_there) read_unknown(r, json, "function", json->text, names, r->model->function_count);
}

/* {"encode.bert": "bert"}: pairs. */
static void read_renames(Reader *r, const Json *json, BeginSpec *begin) {
    if (!json) return;
    const char **names = arena_array(r->arena, const char *, 2 * (size_t)json->count + 1);
    for (const Json *item = json->child; item; item = item->next) {
        if (item->kind != JSON_text) {
            read_error(r, item, "this is %s, but must be what names begin with there: a string",
                       json_kind_name(item->kind));
            continue;
        }
        names[begin->name_count++] = item->key;
        names[begin->name_count++] = item->text;
    }
    begin->names = names;
}

/* Whether the file is there, and fits, is known when it is opened. */
static void read_begin(Reader *r, const Json *json, Training *training) {
    BeginSpec *begin = &training->begin;
    const Json *from = json;
    training->begin_json = json;
    if (!json) return;
    if (json->kind == JSON_object) {
        if (!read_check(r, json, OBJECT_begin)) return;
        from = read_key(json, OBJECT_begin, "from");
        read_renames(r, read_key(json, OBJECT_begin, "names"), begin);
        Names fresh = read_names(r, read_key(json, OBJECT_begin, "new"), false);
        const char **patterns = arena_array(r->arena, const char *, fresh.count + 1);
        for (uint32_t i = 0; i < fresh.count; i++) patterns[begin->fresh_count++] = fresh.items[i].name;
        begin->fresh = patterns;
    }
    if (from && !from->text[0]) read_error(r, from, "this is empty, but must be %s", accept_info[ACCEPT_begin].text);
    training->begin_from = from;
    begin->from = from ? from->text : NULL;
}

void read_training(Reader *r, const Json *json) {
    Training *training = &r->model->training;
    const Json *optimizer = read_key(json, OBJECT_training, "optimizer");
    r->model->has_training = true;
    training->json = json;
    OptimizerUse standard = {.json = json};
    if (optimizer)
        standard = read_optimizer_use(r, optimizer);
    else
        standard.optimizer = find_optimizer(r, json, "adam");
    read_all_data(r, read_key(json, OBJECT_training, "data"), training);
    read_layers(r, read_key(json, OBJECT_training, "layers"), "training", &training->block);
    read_updates(r, read_key(json, OBJECT_training, "minimize"), standard, training);
    read_reports(r, read_key(json, OBJECT_training, "report"), training);
    read_knn(r, read_key(json, OBJECT_training, "knn"), training);
    read_health(r, read_key(json, OBJECT_training, "health"), training);
    read_begin(r, read_key(json, OBJECT_training, "init"), training);
    training->freeze = read_names(r, read_key(json, OBJECT_training, "freeze"), false);
    check_metrics(r, training);
    training->batch = (int64_t)read_number(r, read_key(json, OBJECT_training, "batch"), 128, 1, 1 << 24);
    training->accumulate = (int64_t)read_number(r, read_key(json, OBJECT_training, "accumulate"), 1, 1, 1 << 16);
    training->epochs = (int64_t)read_number(r, read_key(json, OBJECT_training, "epochs"), 10, 1, 1 << 30);
    training->seed = (uint64_t)read_number(r, read_key(json, OBJECT_training, "seed"), 0, 0, 9007199254740991.0);
}
