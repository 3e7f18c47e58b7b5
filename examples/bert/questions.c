/* Writes stories of travellers, each with a question whose answer is a part of the story: `questions FOLDER [SEED
 * [COUNTRIES]]`.
 *
 * Who travels where, when, and buys what is drawn anew for every story, so that an answer can be found by reading
 * alone. In test.jsonl nobody travels to a country that he or she travels to in train.jsonl. A line is a JSON object
 * with question, context, answer, null if there is none, and start, the character of the context at which the answer
 * begins. The same seed gives the same files. */
#include <string.h>

#define PROGRAM "questions"
#include "common.h"

enum { FEWEST = 2, MOST = 4, UNTOLD = 8, TRAIN_STORIES = 40000, TEST_STORIES = 1000, APART = 5, LONGEST = 1024 };

static const char *const people[] = {"Ada",  "Ben",  "Clara", "David", "Emma", "Felix", "Greta",
                                     "Hugo", "Ida",  "Jonas", "Karla", "Leo",  "Maria", "Noah",
                                     "Olga", "Paul", "Rosa",  "Simon", "Tina", "Viktor"};
static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const things[] = {"hat",    "map",   "drum", "lamp", "carpet", "vase",   "kite",   "scarf",
                                     "basket", "flute", "ring", "bowl", "coat",   "candle", "teapot", "bell"};

enum {
    PEOPLE = sizeof people / sizeof *people,
    MONTHS = sizeof months / sizeof *months,
    THINGS = sizeof things / sizeof *things
};

/* What a traveller is known by; names of forms in braces stand for these. */
enum { PERSON, PLACE, MONTH, THING, MONEY, PARTS };
static const char *const part_names[PARTS] = {"person", "place", "month", "thing", "money"};

/* A story has a sentence about each traveller, of one of these kinds. */
enum { JOURNEY, PURCHASE, TOLD };
enum { FORMS = 3 };
static const char *const forms[TOLD][FORMS] = {
    [JOURNEY] = {"{person} travelled to {place} in {month}.", "In {month}, {person} went to {place}.",
                 "{person} spent {month} in {place}."},
    [PURCHASE] = {"{person} bought a {thing} and paid with the {money}.",
                  "For a {thing}, {person} paid with the {money}.", "With the {money}, {person} bought a {thing}."},
};

static const struct {
    int answer, told_in; /* the part, and the sentence in which it answers */
    const char *text;
} questions[] = {
    {PLACE, JOURNEY, "Where did {person} go?"},       {PERSON, JOURNEY, "Who went to {place}?"},
    {MONTH, JOURNEY, "When did {person} travel?"},    {PERSON, JOURNEY, "Who travelled in {month}?"},
    {THING, PURCHASE, "What did {person} buy?"},      {PERSON, PURCHASE, "Who bought a {thing}?"},
    {MONEY, PURCHASE, "With what did {person} pay?"},
};

enum { QUESTIONS = sizeof questions / sizeof *questions };

typedef struct {
    const char *parts[PARTS];
} Traveller;

/* A number below `limit` that is none of the `count` before it. */
static int draw_other(const int *numbers, int count, int limit) {
    int number = random_below(limit);
    for (int i = 0; i < count; i++)
        if (numbers[i] == number) return draw_other(numbers, count, limit);
    return number;
}

/* Of each person the countries that he or she travels to in test.jsonl alone: every fifth. */
static int is_held_out(int person, int place) { return (person + place) % APART == 0; }

/* The part that stands at `at`, "{person}…", or PARTS. */
static int part_at(const char *at) {
    int part = 0;
    for (; part < PARTS; part++) {
        size_t length = strlen(part_names[part]);
        if (*at == '{' && !strncmp(at + 1, part_names[part], length) && at[1 + length] == '}') break;
    }
    return part;
}

/* Adds a form with the traveller's parts; where[part], if asked for, is the character at which each begins. */
static void add_form(char text[LONGEST], const char *form, const Traveller *traveller, int where[PARTS]) {
    size_t length = strlen(text);
    for (const char *at = form; *at;) {
        int part = part_at(at);
        if (part == PARTS) {
            text[length++] = *at++;
            text[length] = 0;
            continue;
        }
        if (where) where[part] = (int)length;
        length += (size_t)snprintf(text + length, LONGEST - length, "%s", traveller->parts[part]);
        at += strlen(part_names[part]) + 2;
    }
}

static void draw_travellers(Traveller travellers[MOST + 1], int is_test) {
    int person[MOST + 1], place[MOST + 1], month[MOST + 1], thing[MOST + 1];
    for (int i = 0; i <= MOST; i++) {
        person[i] = draw_other(person, i, PEOPLE);
        month[i] = draw_other(month, i, MONTHS);
        thing[i] = draw_other(thing, i, THINGS);
        do place[i] = draw_other(place, i, country_count);
        while (is_held_out(person[i], place[i]) != is_test);
        const char *const *country = countries[place[i]];
        travellers[i] =
            (Traveller){{people[person[i]], country[COUNTRY], months[month[i]], things[thing[i]], country[CURRENCY]}};
    }
}

/* A question that a sentence of this kind answers. */
static int draw_question(int told) {
    int asked = random_below(QUESTIONS);
    while (questions[asked].told_in != told) asked = random_below(QUESTIONS);
    return asked;
}

/* Every eighth question has no answer: it is about what is not told of a traveller, or about one who does not occur. */
static void write_story(FILE *file, int is_test) {
    Traveller travellers[MOST + 1];
    char context[LONGEST] = "", question[LONGEST] = "";
    int told[MOST + 1], where[MOST][PARTS], count = FEWEST + random_below(MOST - FEWEST + 1);
    draw_travellers(travellers, is_test);
    for (int i = 0; i <= MOST; i++) told[i] = random_below(TOLD);
    for (int i = 0; i < count; i++) {
        if (i) strcat(context, " ");
        add_form(context, forms[told[i]][random_below(FORMS)], &travellers[i], where[i]);
    }
    int is_told = random_below(UNTOLD) > 0, who = random_below(is_told ? count : count + 1);
    int asked = draw_question(is_told ? told[who] : TOLD - 1 - told[who]), answer = questions[asked].answer;
    add_form(question, questions[asked].text, &travellers[who], NULL);
    fprintf(file, "{\"question\": \"%s\", \"context\": \"%s\", \"answer\": ", question, context);
    if (is_told)
        fprintf(file, "\"%s\", \"start\": %d}\n", travellers[who].parts[answer], where[who][answer]);
    else
        fputs("null}\n", file);
}

static void write_stories(const char *folder, const char *name, int count, int is_test) {
    FILE *file = create(folder, name);
    for (int i = 0; i < count; i++) write_story(file, is_test);
    finish(file, name);
}

int main(int count, char **arguments) {
    const char *folder = begin(count, arguments);
    write_stories(folder, "train.jsonl", TRAIN_STORIES, 0);
    write_stories(folder, "test.jsonl", TEST_STORIES, 1);
    printf("%d stories to learn from, %d to judge by\n", TRAIN_STORIES, TEST_STORIES);
    return 0;
}
