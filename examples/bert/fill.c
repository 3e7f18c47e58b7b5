/* Fills in the mask of a sentence, with nothing of selfc but the object that it built:
 *
 *     selfc build capitals -o capitals.o --function fill_mask
 *     cc -O2 -I. examples/bert/fill.c capitals.o -o fill
 *     ./fill "The capital of France is [MASK]."
 *
 * The object takes the text as it is: tokenizer and vocabulary are in it. */
#include "capitals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = CAPITALS_FILL_MASK_20_PROBABILITIES_DIM1, SHOWN = 5 };

static int likeliest(const float *probability) {
    int best = 0;
    for (int i = 1; i < WORDS; i++)
        if (probability[i] > probability[best]) best = i;
    return best;
}

int main(int argc, char **argv) {
    static float probability[WORDS];
    if (argc != 2) {
        fprintf(stderr, "usage: fill \"A sentence with a [MASK].\"\n");
        return 2;
    }
    void *workspace = malloc(CAPITALS_FILL_MASK_TEXT_WORKSPACE);
    if (!workspace) return 1;
    int code = capitals_fill_mask_text(argv[1], strlen(argv[1]), NULL, 0, probability, workspace);
    free(workspace);
    if (code) {
        fputs(code == 3   ? "there is no [MASK]: write it where the word is wanted\n"
              : code == 4 ? "the text is too long: its [MASK] stands behind what the model reads\n"
                          : "it cannot be read\n",
              stderr);
        return 1;
    }
    for (int shown = 0; shown < SHOWN; shown++) {
        int word = likeliest(probability);
        printf("%6.2f %%  %s\n", 100 * probability[word], capitals_word(word));
        probability[word] = 0;
    }
    return 0;
}
