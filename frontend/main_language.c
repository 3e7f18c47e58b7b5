/* The commands for language: fill-mask, classify, answer.
 *
 * Texts are the words behind RUN, or lines of the standard input, of which some are read, answered and printed before
 * the next ones; where one of them is wrong, those before it are answered, and its number is said. With --json each
 * text is one line, for other programs. */
#include "frontend/main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- texts --- */

enum { LINES_AT_ONCE = 256 };

/* Prints what the model makes of the texts; 1: it failed. */
typedef int Speak(const Options *o, SelfcModel *model, const char *const *texts, size_t count);

typedef struct {
    char *text[LINES_AT_ONCE];
    int64_t number[LINES_AT_ONCE], read; /* from 1 on; of all that were read */
    size_t count;
} Lines;

/* Reads lines; those that `skips_empty` leaves out are none. */
static bool lines_read(Lines *lines, bool skips_empty) {
    size_t room = 0;
    ssize_t length;
    lines->count = 0;
    for (char *line = NULL; lines->count < LINES_AT_ONCE; line = NULL, room = 0) {
        if ((length = getline(&line, &room, stdin)) < 0) return free(line), lines->count > 0;
        lines->read++;
        while (length && (line[length - 1] == '\n' || line[length - 1] == '\r')) line[--length] = 0;
        if (skips_empty && !line[strspn(line, " \t")]) {
            free(line);
            continue;
        }
        lines->number[lines->count] = lines->read;
        lines->text[lines->count++] = line;
    }
    return true;
}

/* One by one, up to that which is wrong; if it is the model that cannot, none of them is. */
static int speak_each(const Options *o, SelfcModel *model, Speak *speak, const Lines *lines) {
    if (speak(o, model, NULL, 0)) return 1;
    for (size_t i = 0; i < lines->count; i++) {
        if (!speak(o, model, (const char *const *)&lines->text[i], 1)) continue;
        fflush(stdout);
        fprintf(stderr, "stdin:%lld: ", (long long)lines->number[i]);
        return 1;
    }
    return 0;
}

static int speak_lines(const Options *o, SelfcModel *model, Speak *speak, bool skips_empty) {
    Lines lines = {0};
    int failed = 0;
    while (!failed && lines_read(&lines, skips_empty)) {
        failed = speak(o, model, (const char *const *)lines.text, lines.count) && speak_each(o, model, speak, &lines);
        fflush(stdout);
        for (size_t i = 0; i < lines.count; i++) free(lines.text[i]);
    }
    return failed;
}

static int speak_all(const Options *o, const char *command, Speak *speak, bool skips_empty) {
    if (!main_one(&o->function, command, "--function")) return 2;
    SelfcModel *model = main_open(o);
    if (!model) return 1;
    return main_close(model, o->positional_count > 1 ? speak(o, model, o->positional + 1, o->positional_count - 1)
                                                     : speak_lines(o, model, speak, skips_empty));
}

/* --- printing --- */

/* Bytes of the character at `text`; 0: it is no UTF-8. */
static int json_character(const unsigned char *text) {
    int bytes = text[0] < 0x80                      ? 1
                : text[0] >= 0xC2 && text[0] < 0xE0 ? 2
                : text[0] < 0xF0                    ? 3
                : text[0] < 0xF5                    ? 4
                                                    : 0;
    if (text[0] >= 0x80 && text[0] < 0xC2) return 0;
    for (int i = 1; i < bytes; i++)
        if ((text[i] & 0xC0) != 0x80) return 0;
    bool is_long = (text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xF0 && text[1] < 0x90);
    bool is_none = (text[0] == 0xED && text[1] > 0x9F) || (text[0] == 0xF4 && text[1] > 0x8F);
    return is_long || is_none ? 0 : bytes;
}

static void json_text(const char *text) {
    putchar('"');
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int bytes = json_character(at);
        if (!bytes)
            printf("\\ufffd");
        else if (*at == '"' || *at == '\\')
            printf("\\%c", *at);
        else if (*at < 0x20)
            printf("\\u%04x", *at);
        else
            fwrite(at, 1, (size_t)bytes, stdout);
        at += bytes ? bytes : 1;
    }
    putchar('"');
}

static void print_percent(double probability) { printf("  %6.2f %%  ", 100 * probability); }

/* --- fill-mask --- */

static void filled_print_json(const char *text, const SelfcFilled *filled) {
    printf("{\"text\": "), json_text(text);
    printf(", \"filled\": "), json_text(filled->filled);
    printf(", \"masks\": [");
    for (size_t i = 0; i < filled->mask_count; i++) {
        const SelfcMask *mask = &filled->masks[i];
        printf("%s{\"from\": %zu, \"to\": %zu, \"words\": [", i ? ", " : "", mask->from, mask->to);
        for (size_t k = 0; k < mask->word_count; k++) {
            printf("%s{\"word\": ", k ? ", " : ""), json_text(mask->words[k].word);
            printf(", \"id\": %d, \"probability\": %.9g}", mask->words[k].id, mask->words[k].probability);
        }
        printf("]}");
    }
    printf("]}\n");
}

static void filled_print(const SelfcFilled *filled) {
    printf("%s\n", filled->filled);
    for (size_t i = 0; i < filled->mask_count; i++) {
        const SelfcMask *mask = &filled->masks[i];
        if (filled->mask_count > 1) printf("[MASK] %zu of %zu\n", i + 1, filled->mask_count);
        for (size_t k = 0; k < mask->word_count; k++)
            print_percent(mask->words[k].probability), printf("%s\n", mask->words[k].word);
    }
    printf("\n");
}

static int fill_mask(const Options *o, SelfcModel *model, const char *const *texts, size_t count) {
    SelfcFillMask settings = {.size = sizeof settings, .function = o->function.item[0], .k = o->k};
    const SelfcFilled *filled = selfc_fill_mask(model, &settings, texts, count);
    for (size_t i = 0; filled && i < count; i++)
        if (o->json)
            filled_print_json(texts[i], &filled[i]);
        else
            filled_print(&filled[i]);
    return !filled;
}

int main_fill_mask(const Options *o) { return speak_all(o, "fill-mask", fill_mask, true); }

/* --- classify --- */

static bool classified_has(const SelfcClassified *classified, int64_t class) {
    return classified->takes_any ? classified->probabilities[class] >= 0.5F : class == classified->best;
}

static void classified_list_json(const SelfcClassified *classified, bool has_names) {
    const char *comma = "";
    for (int64_t i = 0; i < classified->class_count; i++) {
        if (!classified_has(classified, i)) continue;
        printf("%s", comma);
        if (has_names)
            json_text(classified->names[i]);
        else
            printf("%lld", (long long)i);
        comma = ", ";
    }
}

/* "class" and "name", or lists of them where there can be any number. */
static void classified_print_json(const char *text, const SelfcClassified *classified) {
    bool takes_any = classified->takes_any != 0;
    printf("{\"text\": "), json_text(text);
    printf(takes_any ? ", \"classes\": [" : ", \"class\": "), classified_list_json(classified, false);
    if (classified->names)
        printf(takes_any ? "], \"names\": [" : ", \"name\": "), classified_list_json(classified, true);
    printf("%s, \"probabilities\": [", takes_any ? "]" : "");
    for (int64_t i = 0; i < classified->class_count; i++)
        printf("%s%.9g", i ? ", " : "", (double)classified->probabilities[i]);
    printf("]}\n");
}

static void classified_print(const char *text, const SelfcClassified *classified) {
    bool has_none = true;
    for (int64_t i = 0; i < classified->class_count; i++) {
        if (!classified_has(classified, i)) continue;
        if (classified->names)
            printf("%s", classified->names[i]);
        else
            printf("%lld", (long long)i);
        print_percent((double)classified->probabilities[i]);
        has_none = false;
    }
    printf("%s%s\n", has_none ? "none  " : "", text);
}

static int classify(const Options *o, SelfcModel *model, const char *const *texts, size_t count) {
    const SelfcClassified *classified = selfc_classify(model, o->function.item[0], texts, count);
    for (size_t i = 0; classified && i < count; i++)
        if (o->json)
            classified_print_json(texts[i], &classified[i]);
        else
            classified_print(texts[i], &classified[i]);
    return !classified;
}

int main_classify(const Options *o) { return speak_all(o, "classify", classify, false); }

/* --- answer --- */

/* A file of that name, or the text itself; free(). */
static char *answer_context(const char *given) {
    struct stat status;
    if (stat(given, &status) || !S_ISREG(status.st_mode)) return strdup(given);
    FILE *file = fopen(given, "rb");
    char *text = NULL;
    size_t room = 0;
    if (!file || (getdelim(&text, &room, 0, file) < 0 && ferror(file))) {
        perror(given);
        free(text), text = NULL;
    } else if (!text) {
        text = strdup("");
    }
    if (file) fclose(file);
    return text;
}

static void answer_print(const Options *o, const SelfcAnswer *answer) {
    double probability = exp(answer->start + answer->end);
    if (o->json) {
        printf("{\"question\": "), json_text(o->question);
        if (answer->text)
            printf(", \"answer\": "), json_text(answer->text),
                printf(", \"from\": %zu, \"to\": %zu", answer->from, answer->to);
        else
            printf(", \"answer\": null, \"from\": null, \"to\": null");
        printf(", \"start\": %.9g, \"end\": %.9g, \"probability\": %.9g}\n", answer->start, answer->end, probability);
        return;
    }
    printf("%s\n", answer->text ? answer->text : "no answer");
    print_percent(probability);
    if (answer->text)
        printf("bytes %zu to %zu of the context", answer->from, answer->to);
    else
        printf("the context does not answer it");
    printf("; log-probabilities: start %.3f, end %.3f\n", answer->start, answer->end);
}

int main_answer(const Options *o) {
    if (!main_one(&o->function, "answer", "--function")) return 2;
    if (!o->question || !o->context) {
        fprintf(stderr, "selfc: %s is missing: selfc answer RUN --question TEXT --context FILE|TEXT\n",
                o->question ? "--context" : "--question");
        return 2;
    }
    char *context = answer_context(o->context);
    SelfcModel *model = context ? main_open(o) : NULL;
    const SelfcAnswer *answer = model ? selfc_answer(model, o->function.item[0], o->question, context) : NULL;
    if (answer) answer_print(o, answer);
    free(context);
    return model ? main_close(model, !answer) : 1;
}
