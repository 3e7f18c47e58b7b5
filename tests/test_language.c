/* Functions on texts through the public C API: what they give is in the order of the texts, lives until the next call,
 * and does not depend on the length that a text is filled up to. Includes nothing but selfc.h. */
#include "tests/api_expect.h"
#include "include/selfc.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static SelfcModel *open_language(void) {
    SelfcOptions options = {.size = sizeof options, .threads = 2, .seed = 3, .has_seed = 1, .cache = ""};
    SelfcModel *model = selfc_open_file(SELFC_SOURCE_DIR "/tests/language/model.json", &options);
    EXPECT(model);
    return model;
}

static void expect_words(const SelfcMask *mask, size_t count) {
    EXPECT(mask->word_count == count);
    for (size_t i = 0; i < mask->word_count; i++) {
        const SelfcWord *word = &mask->words[i];
        EXPECT(word->word && word->word[0] && word->id >= 0 && word->id < 44);
        EXPECT(word->probability >= 0 && word->probability <= 1);
        EXPECT(!i || word->probability <= mask->words[i - 1].probability);
    }
}

static void test_masks(SelfcModel *model) {
    const char *const texts[] = {"play [MASK] the capital of france is paris .", "[MASK]", "lyon [MASK] in [MASK]."};
    SelfcFillMask settings = {.size = sizeof settings, .k = 44};
    const SelfcFilled *filled = selfc_fill_mask(model, &settings, texts, 3);
    EXPECT(filled && filled[0].mask_count == 1 && filled[1].mask_count == 1 && filled[2].mask_count == 2);
    if (!filled) return;
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < filled[i].mask_count; k++) {
            const SelfcMask *mask = &filled[i].masks[k];
            double sum = 0;
            expect_words(mask, 44);
            EXPECT(!strncmp(texts[i] + mask->from, "[MASK]", mask->to - mask->from) && mask->to - mask->from == 6);
            for (size_t w = 0; w < mask->word_count; w++) sum += mask->words[w].probability;
            EXPECT(fabs(sum - 1) < 1e-5);
        }
    EXPECT(!strstr(filled[2].filled, "[MASK]") || strstr(filled[2].masks[0].words[0].word, "[MASK]") ||
           strstr(filled[2].masks[1].words[0].word, "[MASK]"));
    EXPECT(!strncmp(filled[2].filled, "lyon", 4));
    const SelfcFilled *usual = selfc_fill_mask(model, NULL, texts + 1, 1);
    EXPECT(usual && usual[0].mask_count == 1);
    if (usual) expect_words(usual[0].masks, 5);
    EXPECT(selfc_fill_mask(model, NULL, texts, 0));
    EXPECT(!selfc_fill_mask(model, NULL, (const char *const[]){"[MASK]", "none"}, 2) && has_error("\"none\" has no"));
    settings.k = -1;
    EXPECT(!selfc_fill_mask(model, &settings, texts, 1) && has_error("at least 1"));
}

/* The best word of a mask, by one of the function's copies. */
static void test_padding(SelfcModel *model) {
    static const char *const functions[] = {"fill_mask", "fill_mask_16", "fill_mask_64"};
    const char *const texts[] = {"a [MASK] c"};
    SelfcWord first[44];
    for (int f = 0; f < 3; f++) {
        SelfcFillMask settings = {.size = sizeof settings, .function = functions[f], .k = 44};
        const SelfcFilled *filled = selfc_fill_mask(model, &settings, texts, 1);
        EXPECT(filled && filled[0].masks[0].word_count == 44);
        for (size_t w = 0; filled && w < 44; w++) {
            const SelfcWord *word = &filled[0].masks[0].words[w];
            if (!f) first[w] = *word;
            EXPECT(word->id == first[w].id && fabs(word->probability - first[w].probability) <= 1e-5);
        }
    }
}

/* More texts than run at once, of all lengths, one by one and together. */
static void test_classes(SelfcModel *model) {
    enum { TEXTS = 600 };
    static char text[TEXTS][2 * 60 + 1];
    const char *texts[TEXTS];
    for (int i = 0; i < TEXTS; i++) {
        for (int k = 0; k < i * 7 % 60; k++) memcpy(text[i] + 2 * k, (char[]){(char)('a' + (i + k) % 23), ' '}, 2);
        texts[i] = text[i];
    }
    static float all[TEXTS][3];
    const SelfcClassified *classified = selfc_classify(model, NULL, texts, TEXTS);
    EXPECT(classified);
    for (int i = 0; classified && i < TEXTS; i++) {
        const SelfcClassified *one = &classified[i];
        EXPECT(one->class_count == 3 && !one->name && one->best >= 0 && one->best < 3);
        memcpy(all[i], one->probabilities, sizeof all[i]);
        for (int c = 0; c < 3; c++) EXPECT(all[i][c] <= all[i][one->best]);
    }
    for (int i = 0; i < TEXTS; i += 37) {
        classified = selfc_classify(model, "classify_64", texts + i, 1);
        EXPECT(classified);
        for (int c = 0; classified && c < 3; c++) EXPECT(fabsf(classified->probabilities[c] - all[i][c]) <= 1e-5f);
    }
}

/* Contexts that fit, that are a token too long, and that have many windows, up to the shortest length that there is. */
static void test_long_contexts(SelfcModel *model) {
    static const char *const functions[] = {"answer", "answer_8", "answer_16", "answer_64"};
    static char context[2 * 200 + 1];
    for (int count = 1; count <= 200; count = count < 70 ? count + 1 : count + 43) {
        for (int i = 0; i < count; i++) memcpy(context + 2 * i, (char[]){(char)('a' + i * i % 23), ' '}, 2);
        context[2 * count] = 0;
        for (int f = 0; f < 4; f++) {
            const SelfcAnswer *answer = selfc_answer(model, functions[f], "a b", context);
            EXPECT(answer && answer->from % 2 == 0 && answer->to % 2 == 1 && answer->from < answer->to);
            EXPECT(answer && answer->to < 2 * (size_t)count && isfinite(answer->start + answer->end));
            if (answer) EXPECT(!strncmp(answer->text, context + answer->from, answer->to - answer->from));
        }
    }
    EXPECT(!selfc_answer(model, "answer_8", "a b c", context) && has_error("half of the 8"));
}

/* The context is read in one row, or in windows, of which one has the answer, or none. */
static void test_no_answer(SelfcModel *model) {
    static const char *const before[] = {"", "lyon ",
                                         "lyon is in france . to see one goes to lyon . lyon is in france . "};
    char context[200];
    for (int i = 0; i < 3; i++) {
        snprintf(context, sizeof context, "%sparis is the capital of france .", before[i]);
        const SelfcAnswer *answer = selfc_answer(model, "find_paris", "one goes", context);
        EXPECT(answer && answer->text && !strcmp(answer->text, "paris"));
        EXPECT(answer && answer->from == strlen(before[i]) && answer->to == answer->from + 5);
        snprintf(context, sizeof context, "%slyon is no capital of france .", before[i]);
        answer = selfc_answer(model, "find_paris", "one goes to paris", context);
        EXPECT(answer && !answer->text && !answer->from && !answer->to);
        EXPECT(answer && answer->start <= 0 && answer->start > -0.1 && answer->end == answer->start);
    }
}

static void test_answers(SelfcModel *model) {
    const char *context = "In France, \xE2\x80\x94 the CAPITAL is Paris.";
    const SelfcAnswer *answer = selfc_answer(model, NULL, "what is the capital ?", context);
    EXPECT(answer && answer->from < answer->to && answer->to <= strlen(context));
    if (!answer) return;
    EXPECT(answer->text && strlen(answer->text) == answer->to - answer->from);
    EXPECT(!strncmp(answer->text, context + answer->from, answer->to - answer->from));
    EXPECT(answer->start <= 0 && answer->end <= 0);
    EXPECT(!selfc_answer(model, NULL, "what ?", "") && has_error("no words"));
    test_long_contexts(model);
    test_no_answer(model);
    EXPECT(!selfc_answer(model, "nothing", "what ?", "a") && has_error("no function \"nothing\""));
}

int main(void) {
    SelfcModel *model = open_language();
    if (!model) return 1;
    test_masks(model);
    test_padding(model);
    test_classes(model);
    test_answers(model);
    selfc_close(model);
    if (!failures) printf("functions on texts behave\n");
    return failures != 0;
}
