/* The text of the last failure on this thread. Functions that return NULL, -1 or false put it here, so that the
 * caller decides where it is shown: a command line, a test, the public C API. */
#include "runtime/core/core.h"

#include <stdarg.h>
#include <string.h>

enum { ERROR_LENGTH = 4096 };
static _Thread_local char error_text[ERROR_LENGTH];

void selfc_fail(const char *format, ...) {
    char text[ERROR_LENGTH]; /* apart, since the arguments may hold the last failure itself */
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= ERROR_LENGTH) memcpy(text + ERROR_LENGTH - 4, "...", 4);
    memcpy(error_text, text, sizeof text);
}

const char *selfc_failure(void) { return error_text; }
