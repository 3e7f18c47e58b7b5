/* What the files of the command line share. Each command is a function that returns the exit code. */
#ifndef SELFC_FRONTEND_MAIN_H
#define SELFC_FRONTEND_MAIN_H
#include "frontend/options.h"
#include "include/selfc.h"

/* main.c */
SelfcModel *main_open(const Options *o);       /* NULL after saying why */
int main_close(SelfcModel *model, int failed); /* says why, if it failed; returns it */
bool main_one(const OptionList *list, const char *command, const char *option);

/* main_language.c */
int main_fill_mask(const Options *o);
int main_classify(const Options *o);
int main_answer(const Options *o);
#endif
