/* All of a split's text as tokens. Private to the runtime. */
#ifndef SELFC_RUNTIME_TEXT_TOKENS_H
#define SELFC_RUNTIME_TEXT_TOKENS_H
#include "runtime/data/text_files.h"
#include "runtime/data/text_lines.h"
#include "runtime/data/token_store.h"

/* Tokenises into `writer`, on as many threads as this process may use. False after selfc_fail. */
bool text_tokenise(const TextPlan *plan, TextUnit unit, const TextFiles *files, TokenWriter *writer);
#endif
