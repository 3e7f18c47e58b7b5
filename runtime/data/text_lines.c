/* Lines become records: `label text`, JSON objects with a question, or text alone.
 *
 * What does not fit is cut off: the end of a text; of a question what is more than half of the sample, and then the end
 * of the context. An answer that the context does not have has start and end 0, the place of [CLS], as in SQuAD 2.0's
 * baselines (Devlin and others 2018, section 4.3). One that is cut off is another matter, which would be learnt as the
 * opposite of what is so: its question is left out. What is cut and what is left out is counted. */
#include "runtime/data/text_lines.h"
#include "runtime/data/json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t text_extra(TextKind kind) { return (int64_t)kind; }
int64_t text_body(const TextPlan *plan) { return plan->length - (plan->has_specials ? 2 : 0); }

int64_t text_encode(const TextPlan *plan, const char *text, int64_t length, SelfcToken *tokens, int64_t most,
                    bool *is_cut) {
    int64_t count = selfc_tokenizer_encode(plan->tokenizer, text, length, false, tokens, most + 1);
    *is_cut = count > most;
    return *is_cut ? most : count;
}

uint16_t *text_units_add(TextUnits *units, int64_t count) {
    if (units->count + count > units->room) {
        units->room = 2 * units->room + count;
        units->units = realloc(units->units, (size_t)units->room * sizeof *units->units);
        if (!units->units) abort();
    }
    units->count += count;
    return units->units + units->count - count;
}

int64_t text_width(const TextPlan *plan) { return plan->is_wide ? 2 : 1; }

void text_put_ids(const TextPlan *plan, TextUnits *out, const SelfcToken *tokens, int64_t count) {
    uint16_t *to = text_units_add(out, text_width(plan) * count);
    for (int64_t i = 0; i < count; i++) {
        *to++ = (uint16_t)tokens[i].id;
        if (plan->is_wide) *to++ = (uint16_t)((uint32_t)tokens[i].id >> 16);
    }
}

/* --- labels --- */

/* The label before the text, and where the text begins. */
static bool text_take_label(const char *line, int64_t length, int64_t *begin, uint16_t *label, char *reason) {
    int64_t at = 0, digits, number = 0;
    while (at < length && (line[at] == ' ' || line[at] == '\t')) at++;
    int64_t word = at;
    for (digits = 0; at < length && line[at] >= '0' && line[at] <= '9' && digits < 6; at++, digits++)
        number = 10 * number + (line[at] - '0');
    bool is_end = at == length || line[at] == ' ' || line[at] == '\t';
    *begin = at;
    *label = (uint16_t)number;
    if (digits && is_end && number <= UINT16_MAX) return true;
    int64_t shown = 0;
    while (word + shown < length && line[word + shown] != ' ' && line[word + shown] != '\t' && shown < 24) shown++;
    snprintf(
        reason, TEXT_REASON,
        "a line should begin with its label, a whole number from 0 to %d, and a space, but it begins with \"%.*s\"",
        UINT16_MAX, (int)shown, line + word);
    return false;
}

/* --- questions --- */

void question_free(QuestionLine *line) {
    free(line->question);
    free(line->context);
    free(line->answer);
}

static bool text_read_string(JsonScan *scan, char **text) {
    free(*text);
    return (*text = json_string(scan)) != NULL;
}

static bool text_read_value(JsonScan *scan, const char *key, QuestionLine *line) {
    if (!strcmp(key, "question")) return text_read_string(scan, &line->question);
    if (!strcmp(key, "context")) return text_read_string(scan, &line->context);
    if (!strcmp(key, "answer")) return json_word(scan, "null") || text_read_string(scan, &line->answer);
    if (!strcmp(key, "start")) return json_word(scan, "null") || json_number(scan, &line->start);
    return json_skip_value(scan);
}

static bool text_read_object(JsonScan *scan, QuestionLine *line) {
    if (!json_take(scan, '{')) return false;
    if (json_take(scan, '}')) return true;
    do {
        char key[64] = "";
        JsonScan before = *scan;
        if (!json_string_into(scan, key, sizeof key)) {
            *scan = before; /* longer than any that means something */
            *key = 0;
            if (!json_skip_string(scan)) return false;
        }
        if (!json_take(scan, ':') || !text_read_value(scan, key, line)) return false;
    } while (json_take(scan, ','));
    json_skip_space(scan);
    return json_take(scan, '}') && (json_skip_space(scan), scan->at == scan->end);
}

bool text_read_question(const char *text, int64_t length, QuestionLine *line, char reason[TEXT_REASON]) {
    JsonScan scan = json_begin(text, (size_t)length);
    line->start = -1;
    if (!text_read_object(&scan, line))
        snprintf(reason, TEXT_REASON,
                 "a line should be a JSON object {\"question\": …, \"context\": …, \"answer\": …, \"start\": …}, but "
                 "this is "
                 "none from its byte %lld on",
                 (long long)(scan.at - scan.start));
    else if (!line->question || !line->context)
        snprintf(reason, TEXT_REASON, "the JSON object has no \"%s\"", line->question ? "context" : "question");
    else
        return true;
    return false;
}

/* The byte at which character `number` begins; -1: the text is shorter. */
static int64_t text_byte_of(const char *text, double number) {
    int64_t at = 0;
    if (number != (double)(int64_t)number) return -1;
    for (int64_t left = (int64_t)number; left > 0; left--) {
        if (!text[at]) return -1;
        do at++;
        while (((unsigned char)text[at] & 0xC0) == 0x80);
    }
    return at;
}

/* The bytes of the answer within the context; false with a reason. */
static bool text_find_answer(const QuestionLine *line, int64_t *from, int64_t *to, char *reason) {
    const char *first = strstr(line->context, line->answer);
    size_t length = strlen(line->answer);
    int64_t at = line->start < 0 || line->start > 1e15 ? -1 : text_byte_of(line->context, line->start);
    if (line->start < 0 && first) at = first - line->context;
    *from = at;
    *to = at + (int64_t)length;
    if (at >= 0 && !strncmp(line->context + at, line->answer, length)) return true;
    int64_t place = 0;
    for (const char *c = line->context; first && c < first; c++) place += ((unsigned char)*c & 0xC0) != 0x80;
    if (first)
        snprintf(
            reason, TEXT_REASON,
            "\"start\" is %.12g, but the answer \"%.100s\" does not stand at this character of the context; it does at "
            "%lld",
            line->start, line->answer, (long long)place);
    else
        snprintf(reason, TEXT_REASON, "the answer \"%.100s\" does not stand in the context", line->answer);
    return false;
}

/* [CLS] question [SEP] context [SEP], of which a record holds all between the first and the last. */
static bool text_encode_question(const TextPlan *plan, const QuestionLine *line, SelfcToken *tokens, TextUnits *out,
                                 char *reason) {
    int64_t from = 0, to = 0, room = plan->length - 3, start = 0, end = 0;
    bool has_answer = line->answer && *line->answer, is_long, is_cut;
    if (has_answer && !text_find_answer(line, &from, &to, reason)) return false;
    int64_t asked = text_encode(plan, line->question, (int64_t)strlen(line->question), tokens, room / 2, &is_long);
    int64_t begin = out->count;
    text_units_add(out, 1 + text_extra(TEXT_question));
    text_put_ids(plan, out, tokens, asked);
    text_put_ids(plan, out, &(SelfcToken){.id = plan->end}, 1);
    int64_t known = text_encode(plan, line->context, (int64_t)strlen(line->context), tokens, room - asked, &is_cut);
    out->cut += is_long || is_cut;
    if (is_cut && has_answer && (!known || tokens[known - 1].to < to)) {
        out->count = begin;
        out->lost++;
        return true;
    }
    text_put_ids(plan, out, tokens, known);
    for (int64_t i = known; has_answer && i--;)
        if (tokens[i].to > from) start = asked + 2 + i;
    for (int64_t i = 0; has_answer && i < known; i++)
        if (tokens[i].from < to) end = asked + 2 + i;
    bool is_there = start && start <= end; /* white space lies between tokens: end is before start */
    uint16_t *record = out->units + begin;
    record[0] = (uint16_t)(asked + 1 + known);
    record[1] = (uint16_t)(is_there ? start : 0);
    record[2] = (uint16_t)(is_there ? end : 0);
    return true;
}

/* --- all of them --- */

bool text_line_encode(const TextPlan *plan, const char *line, int64_t length, SelfcToken *tokens, TextUnits *out,
                      char reason[TEXT_REASON]) {
    int64_t begin = 0, extra = text_extra(plan->kind);
    uint16_t label = 0;
    if (plan->kind == TEXT_question) {
        QuestionLine question = {0};
        bool is_fine = text_read_question(line, length, &question, reason) &&
                       text_encode_question(plan, &question, tokens, out, reason);
        question_free(&question);
        return is_fine;
    }
    if (plan->kind == TEXT_labelled && !text_take_label(line, length, &begin, &label, reason)) return false;
    bool is_cut;
    int64_t count = text_encode(plan, line + begin, length - begin, tokens, text_body(plan), &is_cut);
    out->cut += is_cut;
    uint16_t *record = text_units_add(out, 1 + extra);
    record[0] = (uint16_t)count;
    if (extra) record[1] = label;
    text_put_ids(plan, out, tokens, count);
    return true;
}
