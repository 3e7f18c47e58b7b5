/* Words of a text and how often each occurs. Private to runtime/text. */
#ifndef SELFC_RUNTIME_WORDS_H
#define SELFC_RUNTIME_WORDS_H
#include "runtime/text/internal.h"

struct SelfcWords {
    SelfcTokenizer *reader; /* without a vocabulary: it finds the words */
    Vocabulary words;
    int64_t *count; /* of each */
    int32_t room;
    bool is_short; /* of memory */
};
#endif
