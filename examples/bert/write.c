/* Writes on from a beginning, letter by letter, with nothing of selfc but the object that it built:
 *
 *     selfc build letters -o letters.o --function continue
 *     cc -O2 -I. examples/bert/write.c letters.o -lm -o write
 *     ./write "ROMEO:" 500 0.8 1
 *
 * The GPT reads CONTEXT letters at once, and says for each which one follows. It looks at no letter from those before
 * it, so a shorter text is padded behind, with anything, and the row of its last letter is read; of a longer text the
 * end is read. A letter is drawn by its probability, sharpened by a temperature below 1: at 0 always the likeliest. */
#include "letters.h"
#include "random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT = GPT_MINI_CONTINUE_TEXT_DIM1, LETTERS = GPT_MINI_CONTINUE_PROBABILITY_DIM2 };

typedef struct {
    int32_t letters[CONTEXT]; /* the last ones; behind `count`, padding */
    int count;
} Text;

static void add_letter(Text *text, int32_t letter) {
    if (text->count == CONTEXT) {
        text->count--;
        memmove(text->letters, text->letters + 1, sizeof *text->letters * CONTEXT - sizeof *text->letters);
    }
    text->letters[text->count++] = letter;
}

/* The letter with which a text begins; LETTERS if none does. A letter is one character, of up to four bytes. */
static int32_t first_letter(const char *text) {
    int32_t letter = 0;
    while (letter < LETTERS && strncmp(text, gpt_mini_word(letter), strlen(gpt_mini_word(letter)))) letter++;
    return letter;
}

static void read_beginning(Text *text, const char *beginning) {
    for (const char *at = beginning; *at;) {
        int32_t letter = first_letter(at);
        if (letter == LETTERS) {
            fprintf(stderr, "write: the model has not seen the first character of \"%s\"\n", at);
            exit(1);
        }
        add_letter(text, letter);
        at += strlen(gpt_mini_word(letter));
    }
}

static int32_t draw(const float *probability, double temperature) {
    double weight[LETTERS], sum = 0;
    int32_t likeliest = 0, drawn = 0;
    for (int32_t i = 1; i < LETTERS; i++)
        if (probability[i] > probability[likeliest]) likeliest = i;
    if (temperature == 0) return likeliest;
    for (int32_t i = 0; i < LETTERS; i++)
        sum += weight[i] = pow(probability[i] / probability[likeliest], 1 / temperature);
    for (double left = random_share() * sum; drawn < LETTERS - 1 && left >= weight[drawn]; drawn++)
        left -= weight[drawn];
    return drawn;
}

/* The argument at `i`, if it is there. */
static double number(int count, char **arguments, int i, double absent, double most) {
    if (i >= count) return absent;
    char *end;
    double value = strtod(arguments[i], &end);
    if (end != arguments[i] && !*end && value >= 0 && value <= most) return value;
    fprintf(stderr, "write: '%s' should be a number from 0 to %.0f\n", arguments[i], most);
    exit(2);
}

int main(int count, char **arguments) {
    if (count < 2 || count > 5 || !*arguments[1]) {
        fputs("usage: write BEGINNING [LETTERS [TEMPERATURE [SEED]]], otherwise 500 letters, 0.8 and 0\n", stderr);
        return 2;
    }
    int wanted = (int)number(count, arguments, 2, 500, 1e9);
    double temperature = number(count, arguments, 3, 0.8, 100);
    random_state = (uint64_t)number(count, arguments, 4, 0, 1e9);
    static float probability[CONTEXT][LETTERS];
    void *workspace = malloc(GPT_MINI_CONTINUE_WORKSPACE(1));
    if (!workspace) return 1;
    Text text = {.count = 0};
    read_beginning(&text, arguments[1]);
    fputs(arguments[1], stdout);
    while (wanted--) {
        if (gpt_mini_continue(text.letters, probability[0], 1, workspace)) return 1;
        int32_t letter = draw(probability[text.count - 1], temperature);
        fputs(gpt_mini_word(letter), stdout);
        add_letter(&text, letter);
    }
    putchar('\n');
    free(workspace);
    return 0;
}
