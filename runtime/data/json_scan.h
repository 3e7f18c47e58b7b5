/* The little JSON that the runtime itself reads (headers of safetensors files, its own metrics), without a tree: the
 * reader asks for what must stand next. Private to the runtime. */
#ifndef SELFC_RUNTIME_JSON_SCAN_H
#define SELFC_RUNTIME_JSON_SCAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
    const char *start, *at, *end;
} JsonScan;

JsonScan json_begin(const char *text, size_t size);
void json_skip_space(JsonScan *scan);
bool json_take(JsonScan *scan, char wanted);                 /* space, then this character */
char *json_string(JsonScan *scan);                           /* free(); NULL: no valid string (or one with \u0000) */
bool json_string_into(JsonScan *scan, char *out, size_t size);
bool json_skip_string(JsonScan *scan);
bool json_whole_number(JsonScan *scan, uint64_t *number);    /* no sign, fraction, exponent or leading zero */
bool json_number(JsonScan *scan, double *number);            /* "null" is NaN */
bool json_word(JsonScan *scan, const char *word);            /* space, then "true", "false" or "null" */
bool json_skip_value(JsonScan *scan);                        /* of any kind, however deep */
void json_put_string(FILE *out, const char *text);
#endif
