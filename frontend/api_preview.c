/* include/selfc.h, selfc_preview: samples from everywhere in the data beside the views that a training makes of them,
 * as one picture: a row for each sample, a column for each view.
 *
 * Values from 0 to 1 are black to white. A view with others, as after "standardize", is stretched from its least to its
 * largest value. Pixels of small pictures are drawn as squares, so that there is something to see. */
#include "frontend/api.h"

#include "runtime/data/data.h"

#include <stdlib.h>
#include <string.h>

enum { PREVIEW_GAP = 4, PREVIEW_ROWS = 8, PREVIEW_MOST_PIXELS = 1 << 14, PREVIEW_SMALL = 64, PREVIEW_ENLARGED = 96 };

/* One column of the page. */
typedef struct {
    const char *name;
    int64_t height, width, channels;
    const float *values; /* of all rows */
    float least, most;   /* what is black and what is white */
    const int32_t *size; /* height and width of each row's picture at the top left; NULL: all of it */
} Column;

typedef struct {
    int64_t rows, columns, cell_height, cell_width, channels, width, height;
    int64_t factor; /* the side of the square that a pixel becomes; cells are so many times larger */
    uint8_t *pixels;
} PreviewPage;

/* --- running --- */

/* The graph of the views, compiled alone. 0, or 1 after api_fail. */
static int preview_compile(SelfcModel *model, int64_t rows, CompileInput *input, Jit **jit) {
    Diag diag;
    diag_init(&diag);
    Graph *graph = lower_preview(model->description, model->shapes, model->shape_count, rows, &diag), *stopped;
    if (!graph) return api_fail_with(&diag);
    Program *program = NULL;
    PipelineOptions options = api_pipeline_options(model);
    pipeline_run(graph, &options, &stopped, &program);
    graph_free(graph);
    *input = (CompileInput){.name = model_name(model->description),
                            .description = "",
                            .programs = arena_array(model->arena, Program *, 1),
                            .batches = arena_array(model->arena, int64_t, 1),
                            .program_count = 1,
                            .training = {.train = -1, .evaluate = -1}};
    input->programs[0] = program;
    input->batches[0] = rows;
    CompileOptions compile = {.threads = (uint32_t)model->options.threads,
                              .cache = model->options.cache,
                              .times = model->options.times,
                              .listener = api_listener(model)};
    *jit = jit_compile(input, &model->target, &compile, &diag);
    if (!*jit) return api_fail_with(&diag);
    return diag_free(&diag), 0;
}

static SelfcSource *preview_open(const SelfcModel *model, const DataSpec *spec, int64_t rows) {
    SelfcSourceOptions options = api_source_options(model, spec);
    options.most = rows;
    SelfcSource *source = selfc_source_open(&options);
    if (source && !selfc_source_load(source)) return source;
    selfc_source_close(source);
    return NULL;
}

/* Field `name` of samples that are spread evenly, since data often come sorted by class. -1 after selfc_fail. */
static int preview_gather(const SelfcSource *source, const char *name, int64_t rows, void *out) {
    int field = selfc_source_field(source, name);
    int64_t count = selfc_source_count(source);
    if (field < 0) return -1;
    if (!count) return selfc_fail("there is no training data"), -1;
    int32_t *index = calloc((size_t)rows, sizeof *index);
    if (!index) die("no memory");
    for (int64_t i = 0; i < rows; i++) index[i] = (int32_t)(i * count / rows);
    selfc_source_gather(source, (uint32_t)field, index, rows, out);
    free(index);
    return selfc_source_check(source);
}

static int preview_fill(SelfcModel *model, const SelfcTensor *tensor, int64_t rows, void *out) {
    const DataSpec *specs;
    uint32_t count = model_data(model->description, &specs);
    api_fill_hidden(model, tensor, rows, 1, out);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(specs[i].input, tensor->name)) continue;
        SelfcSource *source = preview_open(model, &specs[i], rows);
        int failed = !source || preview_gather(source, specs[i].field, rows, out);
        selfc_source_close(source);
        if (failed) return api_fail("%s", selfc_failure());
    }
    return 0;
}

/* Where pictures lie in boxes, the source knows their heights and widths: i32[rows, 2], or NULL. */
static int32_t *preview_sizes(SelfcModel *model, const char *input, int64_t rows) {
    const DataSpec *specs;
    uint32_t count = model_data(model->description, &specs);
    int32_t *sizes = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(specs[i].input, input)) continue;
        SelfcSource *source = preview_open(model, &specs[i], rows);
        const SelfcField *fields;
        uint32_t field_count = source ? selfc_source_fields(source, &fields) : 0;
        for (uint32_t f = 0; f < field_count; f++) {
            const SelfcTensor *sample = &fields[f].sample;
            bool is_size = !strcmp(fields[f].name, "size") && sample->dtype == SELFC_i32 && sample->rank == 1 &&
                           sample->dim[0] == 2;
            if (!is_size) continue;
            sizes = arena_array(model->arena, int32_t, 2 * rows);
            preview_gather(source, "size", rows, sizes);
        }
        selfc_source_close(source);
    }
    return sizes;
}

/* --- drawing --- */

/* Columns of an output: one for each batch of views that it holds. */
static uint32_t preview_columns(SelfcModel *model, const SelfcTensor *tensor, int64_t rows, const float *values,
                                Column *columns) {
    Arena *arena = model->arena;
    uint32_t views = (uint32_t)(tensor->dim[0] / rows);
    for (uint32_t k = 0; k < views; k++) {
        Column *column = &columns[k];
        *column = (Column){.name = views == 1 ? tensor->name : arena_printf(arena, "%s, part %u", tensor->name, k + 1),
                           .height = tensor->dim[1],
                           .width = tensor->dim[2],
                           .channels = tensor->rank == 4 ? tensor->dim[3] : 1,
                           .least = 0,
                           .most = 1};
        int64_t elements = rows * column->height * column->width * column->channels;
        column->values = values + k * elements;
        float least = 0, most = 1;
        for (int64_t i = 0; i < elements; i++) {
            if (column->values[i] < least) least = column->values[i];
            if (column->values[i] > most) most = column->values[i];
        }
        if (least < -1e-4f || most > 1.0001f) column->least = least, column->most = most;
    }
    return views;
}

static uint8_t preview_byte(const Column *column, float value) {
    float share = (value - column->least) / (column->most - column->least);
    return (uint8_t)(share > 0 ? share < 1 ? share * 255 + 0.5f : 255 : 0); /* NaN is black */
}

/* In the middle of its cell. */
static void preview_put(PreviewPage *page, const Column *column, int64_t at, int64_t row) {
    int64_t height = column->size ? column->size[2 * row] : column->height;
    int64_t width = column->size ? column->size[2 * row + 1] : column->width;
    if (height < 1 || height > column->height) height = column->height;
    if (width < 1 || width > column->width) width = column->width;
    int64_t factor = page->factor, cell_height = page->cell_height * factor, cell_width = page->cell_width * factor;
    int64_t top = PREVIEW_GAP + row * (cell_height + PREVIEW_GAP) + (cell_height - height * factor) / 2;
    int64_t left = PREVIEW_GAP + at * (cell_width + PREVIEW_GAP) + (cell_width - width * factor) / 2;
    for (int64_t y = 0; y < height * factor; y++)
        for (int64_t x = 0; x < width * factor; x++)
            for (int64_t c = 0; c < page->channels; c++) {
                int64_t channel = column->channels == 1 ? 0 : c;
                int64_t from =
                    ((row * column->height + y / factor) * column->width + x / factor) * column->channels + channel;
                page->pixels[((top + y) * page->width + left + x) * page->channels + c] =
                    preview_byte(column, column->values[from]);
            }
}

static void preview_set_size(PreviewPage *page, int64_t factor) {
    page->factor = factor;
    page->width = PREVIEW_GAP + page->columns * (page->cell_width * factor + PREVIEW_GAP);
    page->height = PREVIEW_GAP + page->rows * (page->cell_height * factor + PREVIEW_GAP);
}

static bool preview_is_too_large(const PreviewPage *page) {
    return page->width > PREVIEW_MOST_PIXELS || page->height > PREVIEW_MOST_PIXELS;
}

/* Small cells become about PREVIEW_ENLARGED pixels, less if the page would be too large. */
static void preview_enlarge(PreviewPage *page) {
    int64_t side = page->cell_height > page->cell_width ? page->cell_height : page->cell_width;
    int64_t factor = side < PREVIEW_SMALL ? (PREVIEW_ENLARGED + side / 2) / side : 1;
    for (preview_set_size(page, factor); factor > 1 && preview_is_too_large(page);) preview_set_size(page, --factor);
}

static int preview_draw(const Column *columns, uint32_t count, int64_t rows, const char *out) {
    PreviewPage page = {.rows = rows, .columns = count, .channels = 1};
    for (uint32_t i = 0; i < count; i++) {
        if (columns[i].height > page.cell_height) page.cell_height = columns[i].height;
        if (columns[i].width > page.cell_width) page.cell_width = columns[i].width;
        if (columns[i].channels == 3) page.channels = 3;
    }
    preview_enlarge(&page);
    if (preview_is_too_large(&page))
        return api_fail(
            "the page would be %lldx%lld pixels, but may have %d in each direction: --batch asks for fewer rows",
            (long long)page.height, (long long)page.width, PREVIEW_MOST_PIXELS);
    size_t bytes = (size_t)(page.width * page.height * page.channels);
    page.pixels = malloc(bytes);
    if (!page.pixels) die("no memory");
    memset(page.pixels, 255, bytes);
    for (uint32_t i = 0; i < count; i++)
        for (int64_t row = 0; row < rows; row++) preview_put(&page, &columns[i], i, row);
    int failed = selfc_png_write(out, page.pixels, (int)page.width, (int)page.height, (int)page.channels);
    free(page.pixels);
    return failed ? api_fail("%s", selfc_failure()) : 0;
}

/* --- all of it --- */

static int preview_run(SelfcModel *model, SelfcSession *session, const SelfcProgram *program, int64_t rows, void **io) {
    for (uint32_t i = 0; i < program->input_count + program->output_count; i++) {
        size_t bytes = selfc_tensor_bytes(&program->io[i], rows);
        io[i] = aligned_alloc(64, (bytes + 127) / 64 * 64);
        if (!io[i]) die("no memory");
        memset(io[i], 0, (bytes + 127) / 64 * 64);
        if (i < program->input_count && preview_fill(model, &program->io[i], rows, io[i])) return 1;
    }
    if (selfc_session_reserve(session, program, rows)) return api_fail("%s", selfc_failure());
    selfc_execute(session, program, io, rows);
    return 0;
}

static int preview_show(SelfcModel *model, const SelfcProgram *program, int64_t rows, void *const *io, const char *out,
                        FILE *titles) {
    uint32_t most = 0, count = 0;
    for (uint32_t i = 0; i < program->output_count; i++)
        most += (uint32_t)(program->io[program->input_count + i].dim[0] / rows);
    Column *columns = arena_array(model->arena, Column, most + 1);
    for (uint32_t i = 0; i < program->output_count; i++) {
        const SelfcTensor *tensor = &program->io[program->input_count + i];
        count += preview_columns(model, tensor, rows, io[program->input_count + i], &columns[count]);
    }
    columns[0].size = preview_sizes(model, columns[0].name, rows);
    if (preview_draw(columns, count, rows, out)) return 1;
    fprintf(titles, "%s: %lld samples, a row each\n", out, (long long)rows);
    for (uint32_t i = 0; i < count; i++) {
        bool is_stretched = columns[i].least != 0 || columns[i].most != 1;
        fprintf(titles, "column %u: %s, %lldx%lld", i + 1, columns[i].name, (long long)columns[i].height,
                (long long)columns[i].width);
        if (is_stretched)
            fprintf(titles, ", from %.3g (black) to %.3g (white)", (double)columns[i].least, (double)columns[i].most);
        fputc('\n', titles);
    }
    return 0;
}

int selfc_preview(SelfcModel *model, const char *out, int64_t rows, FILE *titles) {
    if (!model_has_training(model->description))
        return api_fail("%s: error: the description has no \"training\"", model->options.file);
    if (rows < 1) rows = PREVIEW_ROWS;
    if (api_need_target(model) || api_need_shapes(model)) return 1;
    if (!model->target.is_host) return api_fail("code for %s cannot be run here, only built", model->target.triple);
    CompileInput input = {0};
    Jit *jit = NULL;
    int failed = preview_compile(model, rows, &input, &jit);
    SelfcSession *session = NULL;
    if (!failed) {
        session = selfc_session_new(jit_module(jit), model->options.threads, api_seed(model));
        failed = session ? 0 : api_fail("%s", selfc_failure());
    }
    if (!failed) {
        const SelfcProgram *program = &jit_module(jit)->programs[0];
        uint32_t count = program->input_count + program->output_count;
        void **io = calloc(count + 1, sizeof *io);
        if (!io) die("no memory");
        failed = preview_run(model, session, program, rows, io) || preview_show(model, program, rows, io, out, titles);
        for (uint32_t i = 0; i < count; i++) free(io[i]);
        free(io);
    }
    selfc_session_free(session);
    jit_free(jit);
    api_input_free(&input);
    return failed;
}
