/* What tests of the public API say when something does not hold: the API's own message. */
#ifndef SELFC_TESTS_API_EXPECT_H
#define SELFC_TESTS_API_EXPECT_H
#include "include/selfc.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int failures;

#define EXPECT(condition)                                                                                        \
    do {                                                                                                         \
        if (!(condition)) {                                                                                      \
            printf("%s:%d: %s does not hold; selfc_error: %s\n", __FILE__, __LINE__, #condition, selfc_error()); \
            failures++;                                                                                          \
        }                                                                                                        \
    } while (0)

static bool has_error(const char *part) { return strstr(selfc_error(), part) != NULL; }
#endif
