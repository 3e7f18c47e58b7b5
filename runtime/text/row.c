/* Rows of tokens. The text's are written behind [CLS] and the pair's behind them; where both together are too long,
 * the pair is encoded into what the text leaves free, once it is known how long both are. */
#include "runtime/text/row.h"

#include <stddef.h>

typedef struct {
    const SelfcTables *tables;
    int32_t has_specials;
    SelfcToken *tokens;
    int32_t *segments;
    int64_t count, room;
} Row;

static void row_mark(Row *row, int32_t id, int32_t segment) {
    if (id < 0 || row->count == row->room) return;
    row->tokens[row->count] = (SelfcToken){.id = id, .word = -1, .from = -1, .to = -1};
    row->segments[row->count++] = segment;
}

/* How many tokens of each text stay, for `room` of both: one is taken from the longer until they fit. */
static void row_shares(int64_t room, int64_t *a, int64_t *b) {
    int64_t less = *a < *b ? *a : *b;
    if (*a + *b <= room) return;
    if (less <= room / 2) {
        if (*a > *b)
            *a = room - *b;
        else
            *b = room - *a;
    } else {
        *a = room - room / 2;
        *b = room / 2;
    }
}

/* Writes them behind what the row has, and returns how many they are; they belong to it when it counts them. */
static int64_t row_encode(const Row *row, const char *text, int64_t length, int64_t most) {
    return selfc_tokenize(row->tables, text, length, row->has_specials, row->tokens + row->count, most);
}

static void row_text(Row *row, const char *text, int64_t length, int64_t most, int32_t segment) {
    for (int64_t count = row_encode(row, text, length, most); count > 0; count--) row->segments[row->count++] = segment;
}

int64_t selfc_text_row(const SelfcTables *tables, const SelfcMarks *marks, const char *text, int64_t length,
                       const char *pair, int64_t pair_length, int32_t has_specials, int64_t room, SelfcToken *tokens,
                       int32_t *ids, int32_t *segments, int32_t *mask) {
    Row row = {tables, has_specials, tokens, segments, 0, room};
    int64_t marked = (marks->begin >= 0) + (marks->end >= 0) * (pair ? 2 : 1), most = room - marked, rest = 0;
    if (pair) {
        rest = row_encode(&row, pair, pair_length, most);
        int64_t own = row_encode(&row, text, length, most);
        row_shares(most, &own, &rest);
        most = own;
    }
    row_mark(&row, marks->begin, 0);
    row_text(&row, text, length, most, 0);
    row_mark(&row, marks->end, 0);
    if (pair) {
        row_text(&row, pair, pair_length, rest, 1);
        row_mark(&row, marks->end, 1);
    }
    *mask = -1;
    for (int64_t i = row.count - 1; i >= 0; i--) {
        ids[i] = tokens[i].id;
        if (marks->mask >= 0 && ids[i] == marks->mask) *mask = (int32_t)i;
    }
    for (int64_t i = row.count; i < room; i++) {
        ids[i] = marks->padding >= 0 ? marks->padding : 0;
        segments[i] = 0;
    }
    return row.count;
}

/* Piece after piece, each from where the last token of the one before ends. */
int32_t selfc_text_has(const SelfcTables *tables, int32_t id, const char *text, int64_t length, SelfcToken *tokens,
                       int64_t room) {
    for (int64_t at = 0; text && at < length;) {
        int64_t count = selfc_tokenize(tables, text + at, length - at, 1, tokens, room);
        for (int64_t i = 0; i < count; i++)
            if (tokens[i].id == id) return 1;
        if (count < room || tokens[count - 1].to < 1) return 0;
        at += tokens[count - 1].to;
    }
    return 0;
}
