/* EXPECT says what does not hold and goes on; main returns expect_failures() as its exit code. */
#ifndef SELFC_TESTS_EXPECT_H
#define SELFC_TESTS_EXPECT_H
#include <stdio.h>

static int expect_failed;

#define EXPECT(condition, ...)                                                        \
    do {                                                                              \
        if (condition) break;                                                         \
        expect_failed++;                                                              \
        fprintf(stderr, "%s:%d: %s does not hold: ", __FILE__, __LINE__, #condition); \
        fprintf(stderr, __VA_ARGS__);                                                 \
        fputc('\n', stderr);                                                          \
    } while (0)

static int expect_failures(void) {
    if (expect_failed) fprintf(stderr, "%d expectations failed\n", expect_failed);
    return expect_failed != 0;
}
#endif
