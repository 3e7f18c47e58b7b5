/* What the tests of ir/ share: a condition that must hold, counted, with its place; and what main returns. */
#ifndef SELFC_TESTS_TEST_IR_EXPECT_H
#define SELFC_TESTS_TEST_IR_EXPECT_H
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int check_count, check_failed;

__attribute__((format(printf, 4, 5))) static inline bool check_at(const char *file, int line, bool holds,
                                                                  const char *format, ...) {
    check_count++;
    if (holds) return true;
    check_failed++;
    va_list args;
    va_start(args, format);
    printf("FAIL %s:%d: ", file, line);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    return false;
}

#define EXPECT(condition) check_at(__FILE__, __LINE__, (condition), "%s", #condition)
#define EXPECT_THAT(condition, ...) check_at(__FILE__, __LINE__, (condition), __VA_ARGS__)

static inline int check_result(const char *what) {
    printf("%s: %d of %d checks passed\n", what, check_count - check_failed, check_count);
    return check_failed != 0;
}
#endif
