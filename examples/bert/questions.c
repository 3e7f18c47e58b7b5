/* Writes stories of travellers, each with a question whose answer is a part of the story: `questions FOLDER [SEED
 * [COUNTRIES]]`.
 *
 * Who travels where, when, and buys what is drawn anew for every story, so that an answer can be found by reading
 * alone. The stories of test.jsonl take place in countries that no story of train.jsonl is about. A line is a JSON
 * object with question, context, answer, and start, the character of the context at which the answer begins. The same
 * seed gives the same files. */
#include <string.h>

#define PROGRAM "questions"
#include "common.h"

enum { TRAVELLERS = 3, TRAIN_STORIES = 12000, TEST_STORIES = 1000, TEST_COUNTRIES = 20, LONGEST = 1024 };

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

/* A story tells of each traveller in two sentences, which need not follow each other. */
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

/* `count` different numbers below `limit`. */
static void draw(int *numbers, int count, int limit) {
    for (int i = 0; i < count; i++) {
        int is_new = 0;
        while (!is_new) {
            numbers[i] = random_below(limit);
            is_new = 1;
            for (int j = 0; j < i; j++) is_new &= numbers[j] != numbers[i];
        }
    }
}

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

static void draw_travellers(Traveller travellers[TRAVELLERS], const int *places, int place_count) {
    int person[TRAVELLERS], place[TRAVELLERS], month[TRAVELLERS], thing[TRAVELLERS];
    draw(person, TRAVELLERS, PEOPLE);
    draw(place, TRAVELLERS, place_count);
    draw(month, TRAVELLERS, MONTHS);
    draw(thing, TRAVELLERS, THINGS);
    for (int i = 0; i < TRAVELLERS; i++) {
        const char *const *country = countries[places[place[i]]];
        travellers[i] =
            (Traveller){{people[person[i]], country[COUNTRY], months[month[i]], things[thing[i]], country[CURRENCY]}};
    }
}

static void write_story(FILE *file, const int *places, int place_count) {
    Traveller travellers[TRAVELLERS];
    char context[LONGEST] = "", question[LONGEST] = "";
    int order[TRAVELLERS * TOLD], where[TRAVELLERS][TOLD][PARTS];
    draw_travellers(travellers, places, place_count);
    draw(order, TRAVELLERS * TOLD, TRAVELLERS * TOLD);
    for (int i = 0; i < TRAVELLERS * TOLD; i++) {
        int who = order[i] / TOLD, told = order[i] % TOLD;
        if (i) strcat(context, " ");
        add_form(context, forms[told][random_below(FORMS)], &travellers[who], where[who][told]);
    }
    int asked = random_below(QUESTIONS), who = random_below(TRAVELLERS), answer = questions[asked].answer;
    add_form(question, questions[asked].text, &travellers[who], NULL);
    fprintf(file, "{\"question\": \"%s\", \"context\": \"%s\", \"answer\": \"%s\", \"start\": %d}\n", question, context,
            travellers[who].parts[answer], where[who][questions[asked].told_in][answer]);
}

static void write_stories(const char *folder, const char *name, int count, const int *places, int place_count) {
    FILE *file = create(folder, name);
    for (int i = 0; i < count; i++) write_story(file, places, place_count);
    finish(file, name);
}

int main(int count, char **arguments) {
    const char *folder = begin(count, arguments);
    int places[COUNTRIES];
    draw(places, country_count, country_count);
    write_stories(folder, "test.jsonl", TEST_STORIES, places, TEST_COUNTRIES);
    write_stories(folder, "train.jsonl", TRAIN_STORIES, places + TEST_COUNTRIES, country_count - TEST_COUNTRIES);
    printf("%d stories to learn from, %d of other countries\n", TRAIN_STORIES, TEST_STORIES);
    return 0;
}
