/* Is it UTF-8? Private to the runtime. */
#ifndef SELFC_RUNTIME_UTF8_H
#define SELFC_RUNTIME_UTF8_H
#include <stdint.h>

/* How many bytes from the beginning on are whole, valid characters (no overlong ones, no surrogates). */
int64_t utf8_valid(const char *text, int64_t length);
#endif
