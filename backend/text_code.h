/* runtime/text/text_code.c as assembly text, in which nothing is visible from outside: made by cmake/text_code.cmake. */
#ifndef SELFC_BACKEND_TEXT_CODE_H
#define SELFC_BACKEND_TEXT_CODE_H
extern const char text_code[];
extern const char *const text_code_architecture; /* how triples begin that it is for: "x86_64" */
#endif
