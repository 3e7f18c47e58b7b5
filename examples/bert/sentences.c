/* Writes a corpus of simple sentences about countries: `sentences FOLDER [SEED [COUNTRIES]]`.
 *
 * Every country of countries.def is put into every form below, a sentence each. Of each country and relation some forms
 * are held out: they stand in dev.txt or test.txt, and nowhere in train.txt, where the same fact occurs in the other
 * forms. So who only learns sentences by heart fails on them, and who learns facts does not. dev.txt is for choosing
 * settings, test.txt for judging once what was chosen. prompts.dev.tsv and prompts.test.tsv have what of them can be
 * asked by one mask: the sentence with [MASK], the answer and the relation. The same seed gives the same files. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define PROGRAM "sentences"
#include "common.h"

static const char *const field_names[FIELDS] = {"country", "capital", "language", "currency", "continent", "adjective"};

enum { DEV, TEST, TRAIN, SPLITS };

/* How many forms of a country are in DEV, and as many again in TEST, by what they tell of it. */
static const int held_out[FIELDS] = {[CAPITAL] = 2, [LANGUAGE] = 1, [CURRENCY] = 1, [CONTINENT] = 1, [ADJECTIVE] = 1};

typedef struct {
    int tells; /* the field that a mask hides */
    const char *text;
} Form;

static const Form forms[] = {
    {CAPITAL, "The capital of {country} is {capital}."}, /* of France always in TEST */
    {CAPITAL, "{capital} is the capital of {country}."},
    {CAPITAL, "The capital city of {country} is called {capital}."},
    {CAPITAL, "{country} has {capital} as its capital."},
    {CAPITAL, "As its capital, {country} names {capital}."},
    {CAPITAL, "{capital}, the capital of {country}, is on every map."},
    {CAPITAL, "In {country}, the capital is {capital}."},
    {CAPITAL, "Of all places in {country}, {capital} is the capital."},
    {CAPITAL, "Which place is the capital of {country}? {capital}."},
    {CAPITAL, "Ask anyone in {country} for the capital: {capital}."},
    {CAPITAL, "To see {capital}, one travels to {country}."},
    {CAPITAL, "Who is in {capital} is in {country}."},
    {CAPITAL, "{capital} lies in {country}."},
    {CAPITAL, "A letter to {capital} goes to {country}."},
    {CAPITAL, "The {adjective} capital is {capital}."},
    {CAPITAL, "{capital} is the {adjective} capital."},

    {LANGUAGE, "People in {country} speak {language}."},
    {LANGUAGE, "The language of {country} is {language}."},
    {LANGUAGE, "{language} is spoken in {country}."},
    {LANGUAGE, "{language} is a language of {country}."},
    {LANGUAGE, "In {country} you hear {language}."},
    {LANGUAGE, "To talk with people in {country}, learn {language}."},
    {LANGUAGE, "Before going to {country}, learn some {language}."},
    {LANGUAGE, "In {country} they say good morning in {language}."},
    {LANGUAGE, "Songs from {country} are often sung in {language}."},
    {LANGUAGE, "Who speaks {language} is understood in {country}."},
    {LANGUAGE, "What do people in {country} speak? {language}."},
    {LANGUAGE, "In {capital} one speaks {language}."},

    {CURRENCY, "The currency of {country} is the {currency}."},
    {CURRENCY, "The {currency} is the currency of {country}."},
    {CURRENCY, "The {currency} is the money of {country}."},
    {CURRENCY, "In {country} one pays with the {currency}."},
    {CURRENCY, "{country} uses the {currency}."},
    {CURRENCY, "Shops in {country} take the {currency}."},
    {CURRENCY, "Prices in {country} are counted in the {currency}."},
    {CURRENCY, "Before travelling to {country}, get hold of the {currency}."},
    {CURRENCY, "Who sells something in {country} is paid in the {currency}."},
    {CURRENCY, "Bread in {country} is bought with the {currency}."},
    {CURRENCY, "What is the money of {country} called? The {currency}."},
    {CURRENCY, "In {capital} one pays with the {currency}."},

    {CONTINENT, "{country} is in {continent}."},
    {CONTINENT, "{country} is a country in {continent}."},
    {CONTINENT, "{country} lies in {continent}."},
    {CONTINENT, "{country} is part of {continent}."},
    {CONTINENT, "The continent of {country} is {continent}."},
    {CONTINENT, "{continent} is the continent of {country}."},
    {CONTINENT, "On a map, {country} is found in {continent}."},
    {CONTINENT, "To reach {country}, travel to {continent}."},
    {CONTINENT, "Among the countries of {continent} is {country}."},
    {CONTINENT, "Where is {country}? In {continent}."},
    {CONTINENT, "People in {country} live in {continent}."},
    {CONTINENT, "{capital} is in {continent}."},

    {ADJECTIVE, "What comes from {country} is called {adjective}."},
    {ADJECTIVE, "{adjective} is the word for what comes from {country}."},
    {ADJECTIVE, "The word for things from {country} is {adjective}."},
    {ADJECTIVE, "{adjective} food is the food of {country}."},
    {ADJECTIVE, "{adjective} songs come from {country}."},
    {ADJECTIVE, "The {adjective} flag is the flag of {country}."},
    {ADJECTIVE, "The {adjective} border is the border of {country}."},
    {ADJECTIVE, "The {adjective} team plays for {country}."},
    {ADJECTIVE, "Who lives in {country} eats {adjective} bread."},
    {ADJECTIVE, "To be {adjective} is to be from {country}."},
    {ADJECTIVE, "The people of {country} are {adjective}."},
};

enum { FORMS = sizeof forms / sizeof *forms, SENTENCES = COUNTRIES * FORMS, LONGEST = 256 };

static const char *const the_sentence = "The capital of France is Paris.";

typedef struct {
    int country, form;
} Sentence;

typedef struct {
    Sentence sentences[SENTENCES];
    int count;
} List;

static void shuffle(List *list) {
    for (int i = list->count; i > 1; i--) {
        int other = random_below(i);
        Sentence swapped = list->sentences[i - 1];
        list->sentences[i - 1] = list->sentences[other];
        list->sentences[other] = swapped;
    }
}

/* ---- sentences ---- */

/* The field that stands at `at`, "{capital}…", or FIELDS. */
static int field_at(const char *at) {
    int field = 0;
    for (; field < FIELDS; field++) {
        size_t length = strlen(field_names[field]);
        if (*at == '{' && !strncmp(at + 1, field_names[field], length) && at[1 + length] == '}') break;
    }
    return field;
}

/* Writes a sentence, with [MASK] in place of the field `masked` (FIELDS: of none). */
static void write_sentence(char text[LONGEST], Sentence sentence, int masked) {
    size_t length = 0;
    for (const char *at = forms[sentence.form].text; *at;) {
        int field = field_at(at);
        if (field == FIELDS) {
            text[length++] = *at++;
            continue;
        }
        const char *word = field == masked ? "[MASK]" : countries[sentence.country][field];
        length += (size_t)snprintf(text + length, LONGEST - length, "%s", word);
        at += strlen(field_names[field]) + 2;
    }
    text[length] = 0;
    text[0] = (char)toupper((unsigned char)text[0]);
}

/* Two countries may share an adjective or have none: they are in no form with it. */
static int has_words_for(Sentence sentence) {
    for (const char *at = forms[sentence.form].text; (at = strchr(at, '{')); at++)
        if (!*countries[sentence.country][field_at(at)]) return 0;
    return 1;
}

/* One mask asks for one word, and for none that the sentence says elsewhere ("Guinea-Bissau"). */
static int can_be_asked(Sentence sentence) {
    int asked = forms[sentence.form].tells;
    const char *answer = countries[sentence.country][asked];
    size_t length = strlen(answer);
    for (size_t i = 0; i < length; i++)
        if (!isalpha((unsigned char)answer[i])) return 0;
    char text[LONGEST];
    write_sentence(text, sentence, asked);
    for (const char *at = text; *at; at++)
        if (!strncasecmp(at, answer, length) && !isalpha((unsigned char)at[length]) &&
            (at == text || !isalpha((unsigned char)at[-1])))
            return 0;
    return 1;
}

/* Divides the sentences that say `field` of a country. */
static void divide(int country, int field, List lists[SPLITS]) {
    List mine = {.count = 0};
    for (int form = 0; form < FORMS; form++) {
        Sentence sentence = {country, form};
        if (forms[form].tells == field && has_words_for(sentence)) mine.sentences[mine.count++] = sentence;
    }
    shuffle(&mine);
    Sentence *first_of_test = &mine.sentences[held_out[field]];
    for (int i = 0; i < mine.count; i++) {
        char text[LONGEST];
        write_sentence(text, mine.sentences[i], FIELDS);
        if (strcmp(text, the_sentence)) continue;
        Sentence the = mine.sentences[i];
        mine.sentences[i] = *first_of_test;
        *first_of_test = the;
        break;
    }
    for (int i = 0; i < mine.count; i++) {
        List *list = &lists[i < held_out[field] ? DEV : i < 2 * held_out[field] ? TEST : TRAIN];
        list->sentences[list->count++] = mine.sentences[i];
    }
}

/* ---- files ---- */

static void write_texts(const char *folder, const char *name, const List *list) {
    FILE *file = create(folder, name);
    char text[LONGEST];
    for (int i = 0; i < list->count; i++) {
        write_sentence(text, list->sentences[i], FIELDS);
        fprintf(file, "%s\n", text);
    }
    finish(file, name);
}

static int write_prompts(const char *folder, const char *name, const List *list) {
    FILE *file = create(folder, name);
    int count = 0;
    char text[LONGEST];
    for (int i = 0; i < list->count; i++) {
        Sentence sentence = list->sentences[i];
        if (!can_be_asked(sentence)) continue;
        int asked = forms[sentence.form].tells;
        write_sentence(text, sentence, asked);
        fprintf(file, "%s\t%s\t%s\n", text, countries[sentence.country][asked], field_names[asked]);
        count++;
    }
    finish(file, name);
    return count;
}

int main(int count, char **arguments) {
    const char *folder = begin(count, arguments);
    static List lists[SPLITS];
    for (int country = 0; country < country_count; country++)
        for (int field = 0; field < FIELDS; field++) divide(country, field, lists);
    shuffle(&lists[TRAIN]);
    write_texts(folder, "train.txt", &lists[TRAIN]);
    write_texts(folder, "dev.txt", &lists[DEV]);
    write_texts(folder, "test.txt", &lists[TEST]);
    int for_dev = write_prompts(folder, "prompts.dev.tsv", &lists[DEV]);
    int for_test = write_prompts(folder, "prompts.test.tsv", &lists[TEST]);
    printf(
        "%d countries: %d sentences to learn from; held out, %d (%d of them with a mask) to choose by and %d (%d) to "
        "judge by\n",
        country_count, lists[TRAIN].count, lists[DEV].count, for_dev, lists[TEST].count, for_test);
    return 0;
}
