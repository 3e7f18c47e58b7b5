/* Rows of ids. The text's tokens are written behind [CLS] and the pair's behind them; where both together are too long,
 * the pair is encoded into what the text leaves free, once it is known how long both are. */
#include "runtime/text/row.h"

#include <stddef.h>

typedef struct {
    int32_t *ids, *segments;
    int64_t count, room;
} Row;

static void row_put(Row *row, int32_t id, int32_t segment) {
    if (id < 0 || row->count == row->room) return;
    row->ids[row->count] = id;
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

static void row_text(Row *row, const SelfcTables *tables, const char *text, int64_t length, int64_t most,
                     int32_t segment, SelfcToken *tokens) {
    int64_t count = selfc_tokenize(tables, text, length, 1, tokens, most);
    for (int64_t i = 0; i < count; i++) row_put(row, tokens[i].id, segment);
}

int64_t selfc_text_row(const SelfcTables *tables, const SelfcMarks *marks, const char *text, int64_t length,
                       const char *pair, int64_t pair_length, int64_t room, SelfcToken *tokens, int32_t *ids,
                       int32_t *segments, int32_t *mask) {
    Row row = {.ids = ids, .segments = segments, .room = room};
    int64_t marked = (marks->begin >= 0) + (marks->end >= 0) * (pair ? 2 : 1), most = room - marked, rest = 0;
    if (pair) {
        rest = selfc_tokenize(tables, pair, pair_length, 1, tokens, most);
        int64_t own = selfc_tokenize(tables, text, length, 1, tokens, most);
        row_shares(most, &own, &rest);
        most = own;
    }
    row_put(&row, marks->begin, 0);
    row_text(&row, tables, text, length, most, 0, tokens);
    row_put(&row, marks->end, 0);
    if (pair) {
        row_text(&row, tables, pair, pair_length, rest, 1, tokens);
        row_put(&row, marks->end, 1);
    }
    *mask = -1;
    for (int64_t i = row.count - 1; i >= 0; i--)
        if (marks->mask >= 0 && ids[i] == marks->mask) *mask = (int32_t)i;
    for (int64_t i = row.count; i < room; i++) {
        ids[i] = marks->padding >= 0 ? marks->padding : 0;
        segments[i] = 0;
    }
    return row.count;
}
