/* Texts as rows of ids: which copy of a function takes them, windows of what is too long, and running it on rows of one
 * length at a time. */
#include "frontend/api_rows.h"

#include "runtime/data/wanted.h"

#include <stdlib.h>
#include <string.h>

const char *api_shorten(const char *text, Arena *arena) {
    enum { MOST = 60 };
    size_t length = strlen(text);
    if (length <= MOST) return text;
    length = MOST;
    while (length && ((unsigned char)text[length] & 0xC0) == 0x80) length--; /* within a character */
    return arena_printf(arena, "%.*s…", (int)length, text);
}

void *api_memory(size_t bytes) { return aligned_alloc(64, (bytes + 127) & ~(size_t)63); }

/* --- which function --- */

const SelfcTensor *lengths_text(const SelfcProgram *program) {
    for (uint32_t i = 0; i < program->input_count; i++)
        if (!strcmp(program->io[i].name, "text")) return &program->io[i];
    return NULL;
}

static bool lengths_add(Lengths *lengths, const char *function, const SelfcProgram *program) {
    const SelfcTensor *text = lengths_text(program);
    char has[128];
    if (!text) return api_fail("function \"%s\" takes no texts: it has no input \"text\"", function), false;
    if (text->dtype != SELFC_i32 || text->rank != 2 || text->dim[0] != -1 || text->dim[1] < 1)
        return api_fail("function \"%s\": its input \"text\" is %s, but rows of tokens are i32[n,length]", function,
                        selfc_tensor_print(text, has)),
               false;
    lengths->length[lengths->count] = text->dim[1];
    lengths->program[lengths->count++] = program;
    return true;
}

bool lengths_find(const SelfcModel *model, const char *function, Lengths *lengths) {
    const SelfcModule *module = model->compiled.module;
    const SelfcProgram *program = selfc_find_program(module, function);
    *lengths = (Lengths){0};
    if (program) return lengths_add(lengths, function, program);
    int64_t most = 0;
    for (const char *last = NULL, *name; lengths->count < ROWS_MOST_LENGTHS; last = name) {
        name = model_function_for(model->description, function, most + 1, &most);
        if (!name || name == last) break;
        if (!lengths_add(lengths, function, selfc_find_program(module, name))) return false;
    }
    return lengths->count > 0;
}

uint32_t lengths_for(const Lengths *lengths, int64_t count) {
    uint32_t i = 0;
    while (i + 1 < lengths->count && lengths->length[i] < count) i++;
    return i;
}

static const struct {
    const char *function, *needs; /* an input without which it makes no sense */
    uint32_t outputs;
    bool by_token;          /* outputs have a number for each token */
    const char *what, *who; /* for people: what it is about, and which models can do it */
} rows_kind[] = {
    [ROWS_fill_mask] = {"fill_mask", "positions", 1, false, "fill masks",
                        "RUNs of masked language models can: those of examples/bert/capitals.json, and what "
                        "`selfc import` makes of a BertForMaskedLM"},
    [ROWS_classify] = {"classify", "text", 1, false, "say of which class a text is",
                       "RUNs of classifiers of texts can: those of examples/bert/sst2.json, and what `selfc "
                       "import` makes of a BertForSequenceClassification"},
    [ROWS_answer] = {"answer", "segment", 2, true, "answer questions",
                     "RUNs that have learnt where answers stand can: those of examples/bert/qa.json"}};

/* What a row gives to inputs. */
static const char *const rows_input_name[] = {"text", "segment", "count", "positions"};
enum { INPUT_text, INPUT_segment, INPUT_count, INPUT_positions, ROWS_INPUTS };

static int rows_input(const SelfcTensor *tensor) {
    for (int i = 0; i < ROWS_INPUTS; i++)
        if (!strcmp(tensor->name, rows_input_name[i])) return i;
    return -1;
}

static bool rows_is_input(const SelfcTensor *tensor, int64_t length) {
    int input = rows_input(tensor);
    bool is_row = input == INPUT_text || input == INPUT_segment;
    return input >= 0 && tensor->dtype == SELFC_i32 && tensor->rank == (is_row ? 2 : 1) && tensor->dim[0] == -1 &&
           (!is_row || tensor->dim[1] == length);
}

static int rows_check_inputs(const Rows *rows, const SelfcProgram *program, int64_t length) {
    const char *needs = rows_kind[rows->kind].needs;
    bool has_needed = false;
    char has[128];
    for (uint32_t i = 0; i < program->input_count; i++) {
        const SelfcTensor *tensor = &program->io[i];
        has_needed |= !strcmp(tensor->name, needs);
        if (api_is_hidden(tensor) || rows_is_input(tensor, length)) continue;
        return api_fail(
            "function \"%s\": its input \"%s\", %s, is nothing that comes of a text: these are \"text\" and "
            "\"segment\", i32[n,%lld], \"count\" and \"positions\", i32[n]",
            rows->function, tensor->name, selfc_tensor_print(tensor, has), (long long)length);
    }
    if (has_needed) return 0;
    return api_fail("function \"%s\" has no input \"%s\", which this is about", rows->function, needs);
}

static int rows_check_outputs(const Rows *rows, const SelfcProgram *program, int64_t length) {
    uint32_t count = rows_kind[rows->kind].outputs;
    bool by_token = rows_kind[rows->kind].by_token;
    char has[128];
    if (program->output_count < count)
        return api_fail("function \"%s\" gives one result, but must give %u", rows->function, count);
    for (uint32_t i = 0; i < count; i++) {
        const SelfcTensor *output = &program->io[program->input_count + i];
        bool is_row = output->dtype == SELFC_f32 && output->rank == 2 && output->dim[0] == -1 && output->dim[1] > 0;
        if (!is_row || (by_token && output->dim[1] != length))
            return api_fail("function \"%s\" gives \"%s\", %s, but must give f32[n,%s] of texts i32[n,%lld]",
                            rows->function, output->name, selfc_tensor_print(output, has), by_token ? "length" : "…",
                            (long long)length);
    }
    return 0;
}

/* Embeddings may have a few rows more than the tokenizer has tokens, to be of a round size, but never less. In a RUN,
 * whose tokenizer is its own, there may be any number of spare ones. */
static int rows_check_vocabulary(const Rows *rows) {
    enum { ROUNDING = 128 };
    int64_t tokens = selfc_tokenizer_size(rows->tokenizer), known = 0;
    for (uint32_t i = 0; rows->model->compiled.programs[i]; i++) {
        const Program *program = rows->model->compiled.programs[i];
        if (strcmp(program->name, rows->lengths.program[0]->name)) continue;
        for (uint32_t k = 0; k < program->input_count; k++)
            if (!strcmp(program->inputs[k].name, "text")) known = program->inputs[k].below;
    }
    bool is_own = rows->model->folder != NULL;
    if (!known || (tokens <= known && (is_own || known < tokens + ROUNDING))) return 0;
    return api_fail("%s: the tokenizer has %lld tokens, but function \"%s\" has embeddings for %lld: it was made for "
                    "another vocabulary, whose tokenizer.json should stand beside the description",
                    rows->model->options.file, (long long)tokens, rows->function, (long long)known);
}

/* "encode, generate" */
static const char *rows_function_names(const SelfcModel *model) {
    const char *const *names, *text = "", *last = "";
    uint32_t count = model_functions(model->description, &names);
    for (uint32_t i = 0; i < count; i++) {
        const char *family = model_family(model->description, i);
        if (!strcmp(family, last)) continue;
        text = arena_printf(model->arena, "%s%s%s", text, *text ? ", " : "", family);
        last = family;
    }
    return text;
}

/* Where no function was asked for, the user may never have heard of its usual name. */
static int rows_check_usual(const SelfcModel *model, RowsKind kind) {
    const char *const *names;
    uint32_t count = model_functions(model->description, &names);
    for (uint32_t i = 0; i < count; i++) {
        bool is_family = !strcmp(model_family(model->description, i), rows_kind[kind].function);
        if (is_family || !strcmp(names[i], rows_kind[kind].function)) return 0;
    }
    return api_fail(
        "%s: error: this model cannot %s: it has no function \"%s\", %s%s\n%s; --function names one that is "
        "called something else",
        model->options.file, rows_kind[kind].what, rows_kind[kind].function, count ? "only " : "and no other",
        rows_function_names(model), rows_kind[kind].who);
}

int rows_open(Rows *rows, SelfcModel *model, RowsKind kind, const char *function) {
    if (!function && rows_check_usual(model, kind)) return 1;
    if (!function) function = rows_kind[kind].function;
    *rows = (Rows){.model = model, .kind = kind, .function = function};
    if (!api_function(model, function)) return 1;
    if (!strcmp(function, "train") || !strcmp(function, "evaluate"))
        return api_fail("\"%s\" is the training: name a function of the description", function);
    rows->tokenizer = api_tokenizer(model);
    if (!rows->tokenizer || api_need_session(model, false) || !lengths_find(model, function, &rows->lengths)) return 1;
    for (uint32_t i = 0; i < rows->lengths.count; i++)
        if (rows_check_inputs(rows, rows->lengths.program[i], rows->lengths.length[i]) ||
            rows_check_outputs(rows, rows->lengths.program[i], rows->lengths.length[i]))
            return 1;
    if (rows_check_vocabulary(rows)) return 1;
    if (!model->is_trained && !model->is_noted && api_reads_states(rows->lengths.program[0]))
        api_note(model, "\"%s\" runs with untrained weights, as the seed made them; name a RUN for trained ones",
                 function);
    model->is_noted = true;
    return 0;
}

/* --- from text to rows --- */

/* The whole row, however long; tokens: free(). */
static Row rows_encode(const Rows *rows, const char *text, const char *second, bool has_specials, SelfcToken **tokens) {
    int64_t bytes = (int64_t)strlen(text), second_bytes = second ? (int64_t)strlen(second) : 0;
    int64_t room = bytes + second_bytes + 3; /* a token has a byte at least */
    SelfcMarks marks = selfc_tokenizer_marks(rows->tokenizer);
    int32_t *ids = malloc(2 * (size_t)room * sizeof *ids), mask;
    size_t size;
    *tokens = malloc((size_t)room * sizeof **tokens);
    if (!ids || !*tokens) die("no memory for the tokens of %lld bytes", (long long)(bytes + second_bytes));
    Row row = {.count = selfc_text_row(selfc_tokenizer_tables(rows->tokenizer, &size), &marks, text, bytes, second,
                                       second_bytes, has_specials, room, *tokens, ids, ids + room, &mask)};
    while (row.second < row.count && !ids[room + row.second]) row.second++;
    free(ids);
    return row;
}

static SelfcToken *rows_keep(const SelfcToken *tokens, int64_t count, Arena *arena) {
    SelfcToken *kept = arena_array(arena, SelfcToken, count + 1);
    memcpy(kept, tokens, (size_t)count * sizeof *kept);
    return kept;
}

static int64_t rows_longest(const Rows *rows) { return rows->lengths.length[rows->lengths.count - 1]; }

int rows_make(const Rows *rows, const char *text, bool has_specials, Arena *arena, Row *row) {
    SelfcToken *tokens;
    *row = rows_encode(rows, text, NULL, has_specials, &tokens);
    bool fits = row->count <= rows_longest(rows);
    if (fits) row->tokens = rows_keep(tokens, row->count, arena);
    free(tokens);
    if (fits) return 0;
    return api_fail("\"%s\" is %lld tokens long, but function \"%s\" takes %lld at most", api_shorten(text, arena),
                    (long long)row->count, rows->function, (long long)rows_longest(rows));
}

/* --- windows --- */

/* A row that is too long, as parts: what stands before the context, the context, and [SEP] or nothing. */
typedef struct {
    const Row *row;
    int64_t end;    /* of the context, behind its last token */
    int64_t width;  /* tokens of the context in a window */
    int64_t stride; /* from a window's beginning to the next one's */
    int64_t count;
} Windows;

/* The last window ends where the context does, so that all are equally wide. */
static int64_t windows_begin(const Windows *windows, int64_t i) {
    int64_t begin = windows->row->second + i * windows->stride, last = windows->end - windows->width;
    return begin < last ? begin : last;
}

/* Where two windows overlap, a token belongs to the one that shows more of what is around it: the first token that
 * belongs to window i (_check_is_max_context in Devlin and others' run_squad.py). */
static int64_t windows_border(const Windows *windows, int64_t i) {
    if (!i) return windows->row->second;
    if (i == windows->count) return windows->end;
    return (windows_begin(windows, i - 1) + windows->width + windows_begin(windows, i) + 1) / 2;
}

static Row windows_row(const Windows *windows, int64_t i, Arena *arena) {
    const Row *row = windows->row;
    int64_t begin = windows_begin(windows, i), behind = row->count - windows->end, shift = begin - row->second;
    SelfcToken *tokens = arena_array(arena, SelfcToken, row->second + windows->width + behind);
    memcpy(tokens, row->tokens, (size_t)row->second * sizeof *tokens);
    memcpy(tokens + row->second, row->tokens + begin, (size_t)windows->width * sizeof *tokens);
    memcpy(tokens + row->second + windows->width, row->tokens + windows->end, (size_t)behind * sizeof *tokens);
    return (Row){.count = row->second + windows->width + behind,
                 .tokens = tokens,
                 .second = row->second,
                 .from = windows_border(windows, i) - shift,
                 .to = windows_border(windows, i + 1) - shift};
}

/* A window begins every half of one, so that each token has a quarter of one around it on either side, as long as the
 * text goes on there (Devlin and others 2019; doc_stride in their run_squad.py). */
static int64_t windows_split(const Row *row, int64_t longest, Arena *arena, Row **list) {
    Windows windows = {.row = row, .end = row->count};
    if (row->tokens[windows.end - 1].from < 0) windows.end--;
    windows.width = longest - row->second - (row->count - windows.end);
    windows.stride = windows.width / 2 > 0 ? windows.width / 2 : 1;
    windows.count = 1 + (windows.end - row->second - windows.width + windows.stride - 1) / windows.stride;
    *list = arena_array(arena, Row, windows.count);
    for (int64_t i = 0; i < windows.count; i++) (*list)[i] = windows_row(&windows, i, arena);
    return windows.count;
}

int rows_make_windows(const Rows *rows, const char *question, const char *context, Arena *arena, Row **list,
                      size_t *count) {
    int64_t longest = rows_longest(rows);
    SelfcToken *tokens;
    Row row = rows_encode(rows, question, context, false, &tokens);
    row.tokens = rows_keep(tokens, row.count, arena);
    row.from = row.second;
    row.to = row.count;
    free(tokens);
    *count = 1;
    *list = arena_array(arena, Row, 1);
    **list = row;
    if (row.count <= longest) return 0;
    if (row.second > longest / 2) /* a data set cuts such a question off */
        return api_fail("the question \"%s\" is %lld tokens long with its marks, but may take half of the %lld that "
                        "function \"%s\" takes at most, for the windows of its context, which is longer, need the rest",
                        api_shorten(question, arena), (long long)row.second, (long long)longest, rows->function);
    *count = (size_t)windows_split(&row, longest, arena, list);
    return 0;
}

/* --- running --- */

typedef struct {
    const Rows *rows;
    const Row *list;
    uint32_t copy;       /* which of the lengths */
    const size_t *index; /* n of the list's */
    int64_t n;
    void *inputs[ROWS_INPUTS], **outputs;
    RowsTake *take;
    void *context;
} RowsBatch;

static void rows_fill_text(const RowsBatch *batch, int32_t *to, int64_t length) {
    int32_t pad = selfc_tokenizer_find(batch->rows->tokenizer, "[PAD]");
    for (int64_t i = 0; i < batch->n; i++, to += length) {
        const Row *row = &batch->list[batch->index[i]];
        for (int64_t k = 0; k < length; k++) to[k] = k < row->count ? row->tokens[k].id : pad < 0 ? 0 : pad;
    }
}

static void rows_fill_segment(const RowsBatch *batch, int32_t *to, int64_t length) {
    for (int64_t i = 0; i < batch->n; i++, to += length) {
        const Row *row = &batch->list[batch->index[i]];
        for (int64_t k = 0; k < length; k++) to[k] = k >= row->second && k < row->count;
    }
}

static void rows_fill(const RowsBatch *batch, int input, int32_t *to, int64_t length) {
    switch (input) {
    case INPUT_text: rows_fill_text(batch, to, length); return;
    case INPUT_segment: rows_fill_segment(batch, to, length); return;
    case INPUT_count:
        for (int64_t i = 0; i < batch->n; i++) to[i] = (int32_t)batch->list[batch->index[i]].count;
        return;
    case INPUT_positions:
        for (int64_t i = 0; i < batch->n; i++) to[i] = batch->list[batch->index[i]].position;
        return;
    }
}

static int rows_run_batch(const RowsBatch *batch) {
    const Rows *rows = batch->rows;
    const SelfcProgram *program = rows->lengths.program[batch->copy];
    const void *inputs[ROWS_INPUTS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < program->input_count; i++) {
        if (api_is_hidden(&program->io[i])) continue;
        int input = rows_input(&program->io[i]);
        rows_fill(batch, input, batch->inputs[input], rows->lengths.length[batch->copy]);
        inputs[count++] = batch->inputs[input];
    }
    static const int32_t sample[WANTED_MOST_BATCH];
    if (api_execute(rows->model, program, batch->n, sample, inputs, batch->outputs)) return 1;
    for (int64_t i = 0; i < batch->n; i++) {
        const float *row[2];
        int64_t width = program->io[program->input_count].dim[1];
        for (uint32_t k = 0; k < rows_kind[rows->kind].outputs; k++)
            row[k] = (const float *)batch->outputs[k] + i * program->io[program->input_count + k].dim[1];
        batch->take(batch->context, batch->index[i], row, width);
    }
    return 0;
}

/* Runs the rows index[0..count) on one copy. */
static int rows_run_copy(RowsBatch *batch, const size_t *index, size_t count) {
    const SelfcProgram *program = batch->rows->lengths.program[batch->copy];
    int64_t most = wanted_batch(program), length = batch->rows->lengths.length[batch->copy];
    batch->outputs = calloc(program->output_count + 1, sizeof *batch->outputs);
    bool is_fine = batch->outputs != NULL;
    for (int i = 0; is_fine && i < ROWS_INPUTS; i++)
        is_fine = (batch->inputs[i] = api_memory((size_t)(most * length) * sizeof(int32_t)));
    for (uint32_t i = 0; is_fine && i < program->output_count; i++)
        is_fine = (batch->outputs[i] = api_memory(selfc_tensor_bytes(&program->io[program->input_count + i], most)));
    int failed = is_fine ? 0 : api_fail("no memory for %lld texts at once", (long long)most);
    for (size_t first = 0; first < count && !failed; first += (size_t)batch->n) {
        batch->index = index + first;
        batch->n = (int64_t)(count - first) < most ? (int64_t)(count - first) : most;
        failed = rows_run_batch(batch);
    }
    for (int i = 0; i < ROWS_INPUTS; i++) free(batch->inputs[i]);
    for (uint32_t i = 0; batch->outputs && i < program->output_count; i++) free(batch->outputs[i]);
    free(batch->outputs);
    memset(batch->inputs, 0, sizeof batch->inputs);
    return failed;
}

int rows_run(const Rows *rows, const Row *list, size_t count, RowsTake *take, void *context) {
    RowsBatch batch = {.rows = rows, .list = list, .take = take, .context = context};
    size_t *index = malloc((count + 1) * sizeof *index);
    int failed = index ? 0 : api_fail("no memory for %zu texts", count);
    for (batch.copy = 0; batch.copy < rows->lengths.count && !failed; batch.copy++) {
        size_t chosen = 0;
        for (size_t i = 0; i < count; i++)
            if (lengths_for(&rows->lengths, list[i].count) == batch.copy) index[chosen++] = i;
        if (chosen) failed = rows_run_copy(&batch, index, chosen);
    }
    free(index);
    return failed;
}
