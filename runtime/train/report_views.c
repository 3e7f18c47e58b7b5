/* What the training sees: some samples beside the views that its layers make of them. The program "$views" gives them,
 * where the description makes pictures of its data before any parameter is used: the data first, then each view, of
 * f32[k*rows,height,width] or [...,channels]; k views of a sample are k columns. A value outside of 0 to 1 stretches
 * its column from its least to its largest. */
#include "runtime/train/features.h"
#include "runtime/train/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VIEWS_SIDE = 64, VIEWS_GAP = 2, VIEWS_MOST = 24 };

typedef struct {
    const float *values; /* of all rows */
    int height, width, channels;
    float least, most;   /* black and white */
    const int32_t *size; /* height and width of each row's picture at the top left; NULL: all of it */
} Column;

typedef struct {
    uint8_t *pixels;
    int side, channels, width, height;
} Sheet;

static uint32_t views_columns(const Binding *binding, uint32_t output, Column *columns, uint32_t most) {
    const SelfcProgram *program = binding->program;
    const SelfcTensor *tensor = &program->io[program->input_count + output];
    uint32_t views = (uint32_t)(tensor->dim[0] / program->batch);
    for (uint32_t k = 0; k < views && k < most; k++) {
        Column *column = &columns[k];
        *column = (Column){.height = (int)tensor->dim[1],
                           .width = (int)tensor->dim[2],
                           .channels = tensor->rank == 4 ? (int)tensor->dim[3] : 1,
                           .most = 1};
        int64_t elements = program->batch * column->height * column->width * column->channels;
        column->values = (const float *)binding->io[program->input_count + output] + k * elements;
        float least = 0, largest = 1;
        for (int64_t i = 0; i < elements; i++) {
            least = fminf(least, column->values[i]);
            largest = fmaxf(largest, column->values[i]);
        }
        if (least < -1e-4f || largest > 1.0001f) column->least = least, column->most = largest;
    }
    return views < most ? views : most;
}

/* One picture into its cell, nearest pixel by nearest pixel, in its own proportions. */
static void views_put(const Sheet *sheet, const Column *column, int at, int64_t row) {
    int height = column->size ? column->size[2 * row] : column->height;
    int width = column->size ? column->size[2 * row + 1] : column->width, larger = height > width ? height : width;
    const float *picture = column->values + row * column->height * column->width * column->channels;
    int top = VIEWS_GAP + (int)row * (sheet->side + VIEWS_GAP), left = VIEWS_GAP + at * (sheet->side + VIEWS_GAP);
    for (int y = 0; y < sheet->side; y++)
        for (int x = 0; x < sheet->side; x++)
            for (int c = 0; c < sheet->channels; c++) {
                int from_y = y * larger / sheet->side, from_x = x * larger / sheet->side;
                if (from_y >= height || from_x >= width) continue;
                int channel = c < column->channels ? c : 0;
                float value = picture[(from_y * column->width + from_x) * column->channels + channel];
                float share = (value - column->least) / (column->most - column->least);
                sheet->pixels[((top + y) * sheet->width + left + x) * sheet->channels + c] =
                    (uint8_t)(share > 0 ? share < 1 ? share * 255 + 0.5f : 255 : 0);
            }
}

static bool views_draw(FileWriter *out, const Binding *binding, const Column *columns, uint32_t count) {
    int64_t rows = binding->program->batch;
    Sheet sheet = {.side = 1, .channels = 1};
    bool has_own_pixels = true;
    for (uint32_t i = 0; i < count; i++) {
        int larger = columns[i].height > columns[i].width ? columns[i].height : columns[i].width;
        if (larger > sheet.side) sheet.side = larger < VIEWS_SIDE ? larger : VIEWS_SIDE;
        if (columns[i].channels == 3) sheet.channels = 3;
        has_own_pixels &= larger <= VIEWS_SIDE && !columns[i].size;
    }
    sheet.width = VIEWS_GAP + (int)count * (sheet.side + VIEWS_GAP);
    sheet.height = VIEWS_GAP + (int)rows * (sheet.side + VIEWS_GAP);
    size_t bytes = (size_t)sheet.width * (size_t)sheet.height * (size_t)sheet.channels, size = 0;
    void *png = NULL;
    sheet.pixels = malloc(bytes);
    if (!sheet.pixels) return selfc_fail("no memory for views"), false;
    memset(sheet.pixels, 128, bytes);
    for (uint32_t i = 0; i < count; i++)
        for (int64_t row = 0; row < rows; row++) views_put(&sheet, &columns[i], (int)i, row);
    bool is_fine = !selfc_png_encode(sheet.pixels, sheet.width, sheet.height, sheet.channels, &png, &size);
    free(sheet.pixels);
    if (!is_fine) return false;
    file_print(
        out,
        "<h2>What the training sees</h2>\n<figure><img alt=\"samples and their views\" style=\"max-width:%dpx%s\" "
        "src=\"data:image/png;base64,",
        4 * sheet.width, has_own_pixels ? "" : ";image-rendering:auto");
    report_base64(out, png, size);
    free(png);
    file_print(out, "\"><figcaption>A row for each sample; the columns: ");
    return true;
}

static void views_name(FileWriter *out, const SelfcProgram *program) {
    for (uint32_t i = 0; i < program->output_count; i++) {
        const SelfcTensor *tensor = &program->io[program->input_count + i];
        file_print(out, i ? ", " : "");
        report_text(out, tensor->name);
        if (tensor->dim[0] > program->batch) file_print(out, " (%d)", (int)(tensor->dim[0] / program->batch));
    }
    file_print(out, ".</figcaption></figure>\n");
}

/* Of the data's own pictures, as views show them first: their true sizes, i32[rows,2], if they stand in boxes. free().
 */
static int32_t *views_sizes(const Trainer *trainer, const SelfcProgram *program, const int32_t *index) {
    const char *name = program->io[program->input_count].name;
    const Feed *feed = &trainer->feed;
    for (uint32_t i = 0; i < feed->input_count; i++) {
        const SelfcSource *source = feed->inputs[i].source[SELFC_TRAIN];
        uint32_t field = wanted_field(source, "size");
        if (strcmp(feed->inputs[i].input, name) || !field) continue;
        int32_t *sizes = calloc((size_t)program->batch, 2 * sizeof *sizes);
        if (sizes) selfc_source_gather(source, field, index, program->batch, sizes);
        return sizes;
    }
    return NULL;
}

bool report_views(FileWriter *out, Trainer *trainer) {
    const SelfcProgram *program = selfc_find_program(trainer->module, "$views");
    Binding binding;
    Column columns[VIEWS_MOST];
    uint32_t count = 0;
    if (!program || trainer->feed.count[SELFC_TRAIN] < program->batch) return true;
    if (!binding_make(&binding, trainer->session, program, program->batch)) return false;
    int32_t *index = calloc((size_t)program->batch, sizeof *index), *sizes = NULL;
    for (int32_t i = 0; index && i < program->batch; i++)
        index[i] = features_place(trainer, SELFC_TRAIN, i, program->batch);
    binding_set_key(&binding, trainer->seed, 0);
    bool is_fine =
        index && feed_fill(&trainer->feed, SELFC_TRAIN, &binding, index, program->batch, trainer->session->pool);
    if (!index) selfc_fail("no memory for views");
    if (is_fine) sizes = views_sizes(trainer, program, index);
    if (is_fine) selfc_execute(trainer->session, program, binding.io, program->batch);
    for (uint32_t i = 0; is_fine && i < program->output_count; i++)
        count += views_columns(&binding, i, columns + count, VIEWS_MOST - count);
    columns[0].size = sizes;
    is_fine = is_fine && views_draw(out, &binding, columns, count);
    if (is_fine) views_name(out, program);
    free(index);
    free(sizes);
    binding_free(&binding);
    return is_fine;
}
