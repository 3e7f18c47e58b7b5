/* include/selfc.h, the part for language: words for masks, classes of texts, answers that stand in a context.
 *
 * Each makes rows of ids from its texts, runs a function on them, and reads what it wants to know from the
 * probabilities that come out. Results live in an arena of the model's, which the next call empties. */
#include "frontend/api_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Memory for the results of this call. */
static Arena *language_begin(SelfcModel *model) {
    arena_free(model->answers);
    return model->answers = arena_new();
}

/* --- filling masks --- */

typedef struct {
    const Rows *rows;
    int64_t k;
    Arena *arena;
    SelfcFilled *filled; /* of each text */
    Row *list;           /* a row for each mask of all texts */
    SelfcMask *masks;
    size_t mask_count;
    bool is_finite;
} Fill;

/* The k best words, of equal ones the first in the vocabulary. */
static void fill_take(void *context, size_t row, const float *const *outputs, int64_t width) {
    Fill *fill = context;
    SelfcMask *mask = &fill->masks[row];
    SelfcWord *best = arena_array(fill->arena, SelfcWord, fill->k + 1);
    size_t count = 0;
    for (int64_t id = 0; id < width; id++) {
        double probability = outputs[0][id];
        const char *word = selfc_tokenizer_token(fill->rows->tokenizer, (int32_t)id);
        fill->is_finite &= isfinite(probability) != 0;
        if (!word || (count == (size_t)fill->k && probability <= best[count - 1].probability)) continue;
        size_t at = count < (size_t)fill->k ? count++ : count - 1;
        for (; at && best[at - 1].probability < probability; at--) best[at] = best[at - 1];
        best[at] = (SelfcWord){word, (int32_t)id, probability};
    }
    mask->words = best;
    mask->word_count = count;
}

/* A row for each mask of the text, or only their number. */
static size_t fill_rows(const Row *row, int32_t mask, Row *rows, SelfcMask *masks) {
    size_t count = 0;
    for (int64_t i = 0; i < row->count; i++) {
        const SelfcToken *token = &row->tokens[i];
        if (token->id != mask || token->from < 0) continue;
        if (rows) {
            rows[count] = *row;
            rows[count].position = (int32_t)i;
            masks[count] = (SelfcMask){.from = (size_t)token->from, .to = (size_t)token->to};
        }
        count++;
    }
    return count;
}

/* "play [MASK]" becomes "playing" by "##ing". */
static const char *fill_in(const char *text, const SelfcFilled *filled, Arena *arena) {
    const char *made = "";
    size_t from = 0;
    for (size_t i = 0; i < filled->mask_count; i++) {
        const SelfcMask *mask = &filled->masks[i];
        const char *word = mask->word_count ? mask->words[0].word : "";
        int before = (int)(mask->from - from);
        bool is_piece = !strncmp(word, "##", 2) && word[2];
        while (is_piece && before && text[from + (size_t)before - 1] == ' ') before--;
        made = arena_printf(arena, "%s%.*s%s", made, before, text + from, word + (is_piece ? 2 : 0));
        from = mask->to;
    }
    return arena_printf(arena, "%s%s", made, text + from);
}

/* Rows of all texts, and where their masks are. */
static int fill_read(Fill *fill, const char *const *texts, size_t count) {
    const Rows *rows = fill->rows;
    int32_t mask = selfc_tokenizer_find(rows->tokenizer, "[MASK]");
    if (mask < 0)
        return api_fail("%s: error: its tokenizer has no token [MASK], so there is nothing to fill",
                        rows->model->options.file);
    Row *whole = arena_array(fill->arena, Row, count + 1);
    for (size_t i = 0; i < count; i++) {
        if (rows_make(rows, texts[i], true, fill->arena, &whole[i])) return 1;
        fill->filled[i].mask_count = fill_rows(&whole[i], mask, NULL, NULL);
        if (!fill->filled[i].mask_count)
            return api_fail("\"%s\" has no [MASK]: write it where the word is wanted, as in \"The capital of France is "
                            "[MASK].\"",
                            api_shorten(texts[i], fill->arena));
        fill->mask_count += fill->filled[i].mask_count;
    }
    fill->list = arena_array(fill->arena, Row, fill->mask_count + 1);
    fill->masks = arena_array(fill->arena, SelfcMask, fill->mask_count + 1);
    for (size_t i = 0, first = 0; i < count; first += fill->filled[i++].mask_count) {
        fill_rows(&whole[i], mask, fill->list + first, fill->masks + first);
        fill->filled[i].masks = fill->masks + first;
    }
    return 0;
}

const SelfcFilled *selfc_fill_mask(SelfcModel *model, const SelfcFillMask *given, const char *const *texts,
                                   size_t count) {
    SelfcFillMask settings = {.size = sizeof settings};
    if (given) memcpy(&settings, given, given->size < sizeof settings ? given->size : sizeof settings);
    Arena *arena = language_begin(model);
    Rows rows;
    Fill fill = {.rows = &rows, .k = settings.k ? settings.k : 5, .arena = arena, .is_finite = true};
    fill.filled = arena_array(arena, SelfcFilled, count + 1);
    if (fill.k < 1) return api_fail("k is %lld, but must be at least 1", (long long)fill.k), NULL;
    if (rows_open(&rows, model, ROWS_fill_mask, settings.function) || fill_read(&fill, texts, count)) return NULL;
    int64_t tokens = selfc_tokenizer_size(rows.tokenizer);
    if (fill.k > tokens) fill.k = tokens;
    if (rows_run(&rows, fill.list, fill.mask_count, fill_take, &fill)) return NULL;
    if (!fill.is_finite)
        return api_fail("function \"%s\" gives probabilities that are not finite", rows.function), NULL;
    for (size_t i = 0; i < count; i++) fill.filled[i].filled = fill_in(texts[i], &fill.filled[i], arena);
    return fill.filled;
}

/* --- classes --- */

/* What classes are goes with the weights that tell them apart. */
static void classes_find(SelfcModel *model) {
    SelfcTensors tensors;
    if (model->has_classes) return;
    model->has_classes = true;
    if (!model->weights || selfc_safetensors_read(model->weights, &tensors)) return;
    model->classes = api_weights_classes(&tensors, model->arena);
    selfc_safetensors_free(&tensors);
}

typedef struct {
    const ApiClasses *classes;
    SelfcClassified *classified;
    Arena *arena;
} Classify;

/* A class alone is there or not. */
static void classify_take(void *context, size_t row, const float *const *outputs, int64_t width) {
    Classify *classify = context;
    const ApiClasses *classes = classify->classes;
    const char *const *names = classes->count == width ? classes->names : NULL;
    float *kept = arena_array(classify->arena, float, width);
    memcpy(kept, outputs[0], (size_t)width * sizeof *kept);
    int64_t best = 0;
    for (int64_t i = 1; i < width; i++)
        if (kept[i] > kept[best]) best = i;
    classify->classified[row] = (SelfcClassified){.best = best,
                                                  .name = names ? names[best] : NULL,
                                                  .class_count = width,
                                                  .probabilities = kept,
                                                  .names = names,
                                                  .takes_any = classes->takes_any || width == 1};
}

const SelfcClassified *selfc_classify(SelfcModel *model, const char *function, const char *const *texts, size_t count) {
    Arena *arena = language_begin(model);
    Rows rows;
    Row *list = arena_array(arena, Row, count + 1);
    Classify classify = {&model->classes, arena_array(arena, SelfcClassified, count + 1), arena};
    if (rows_open(&rows, model, ROWS_classify, function)) return NULL;
    for (size_t i = 0; i < count; i++)
        if (rows_make(&rows, texts[i], false, arena, &list[i])) return NULL;
    classes_find(model);
    return rows_run(&rows, list, count, classify_take, &classify) ? NULL : classify.classified;
}

/* --- answers --- */

enum { ANSWER_MOST_TOKENS = 30 };

/* Log-probabilities of its first and last token. */
typedef struct {
    const SelfcToken *from, *to; /* NULL: there is none yet */
    double start, end;
} Span;

static double span_score(const Span *span) { return span->start + span->end; }

typedef struct {
    const Row *list; /* windows of the context, or the whole of it */
    Span best;
    Span none; /* [CLS] of the window that is least sure that it holds no answer */
} Answer;

static Span answer_span(const SelfcToken *tokens, const float *const *outputs, int64_t from, int64_t to) {
    return (Span){tokens + from, tokens + to, outputs[0][from], outputs[1][to]};
}

/* The span of the context with the highest sum of both log-probabilities (Devlin et al. 2019, section 4.2). Those of a
 * window are among its own tokens and [CLS], which stands for "the answer is not here": the smallest such sum of all
 * windows says so of the whole context (section 4.3, and score_null in their run_squad.py). */
static void answer_take(void *context, size_t row, const float *const *outputs, int64_t width) {
    Answer *answer = context;
    const Row *window = &answer->list[row];
    const SelfcToken *tokens = window->tokens;
    Span none = answer_span(tokens, outputs, 0, 0);
    (void)width;
    bool has_none = tokens[0].from < 0 && isfinite(span_score(&none));
    if (has_none && (!answer->none.to || span_score(&none) < span_score(&answer->none))) answer->none = none;
    for (int64_t i = window->from; i < window->to; i++)
        for (int64_t k = i; k < window->count && k < i + ANSWER_MOST_TOKENS; k++) {
            Span span = answer_span(tokens, outputs, i, k);
            if (span.from->from < 0 || span.to->from < 0 || !isfinite(span_score(&span))) continue;
            if (!answer->best.to || span_score(&span) > span_score(&answer->best)) answer->best = span;
        }
}

static const SelfcAnswer *answer_tell(const Answer *answer, const char *context, Arena *arena) {
    const Span *best = &answer->best, *none = &answer->none;
    SelfcAnswer *told = arena_array(arena, SelfcAnswer, 1);
    if (none->to && span_score(none) > span_score(best)) {
        *told = (SelfcAnswer){.start = none->start, .end = none->end};
        return told;
    }
    *told = (SelfcAnswer){
        .from = (size_t)best->from->from, .to = (size_t)best->to->to, .start = best->start, .end = best->end};
    told->text = arena_printf(arena, "%.*s", (int)(told->to - told->from), context + told->from);
    return told;
}

const SelfcAnswer *selfc_answer(SelfcModel *model, const char *function, const char *question, const char *context) {
    Arena *arena = language_begin(model);
    Rows rows;
    Row *list;
    size_t count;
    if (rows_open(&rows, model, ROWS_answer, function) ||
        rows_make_windows(&rows, question, context, arena, &list, &count))
        return NULL;
    Answer answer = {.list = list};
    if (rows_run(&rows, list, count, answer_take, &answer)) return NULL;
    if (!answer.best.to)
        return api_fail("\"%s\" cannot be answered: the context has no words, or the probabilities are not finite",
                        api_shorten(question, arena)),
               NULL;
    return answer_tell(&answer, context, arena);
}
