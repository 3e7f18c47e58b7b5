/* UTF-8: is it that, and how a character is written. Private to the runtime. */
#ifndef SELFC_RUNTIME_UTF8_H
#define SELFC_RUNTIME_UTF8_H
#include <stddef.h>
#include <stdint.h>

/* How many bytes from the beginning on are whole, valid characters (no overlong ones, no surrogates). */
int64_t utf8_valid(const char *text, int64_t length);
/* The character at `text`, which is valid, and how many bytes it has. */
uint32_t utf8_get(const char *text, size_t *length);
/* Writes a character, at most 4 bytes; returns how many. */
size_t utf8_put(char *out, uint32_t code);
#endif
