/* What sentences.c and questions.c share: the table of countries, files. PROGRAM is the name for messages. */
#include "random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { COUNTRY, CAPITAL, LANGUAGE, CURRENCY, CONTINENT, ADJECTIVE, FIELDS };

static const char *const countries[][FIELDS] = {
#define COUNTRY(name, capital, language, currency, continent, adjective) \
    {name, capital, language, currency, continent, adjective},
#include "countries.def"
#undef COUNTRY
};

enum { COUNTRIES = sizeof countries / sizeof *countries };

/* ---- files ---- */

static FILE *create(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (file) return file;
    fprintf(stderr, PROGRAM ": cannot write '%s': %s\n", path, strerror(errno));
    exit(1);
}

static void finish(FILE *file, const char *name) {
    int failed = ferror(file);
    if (!fclose(file) && !failed) return;
    fprintf(stderr, PROGRAM ": cannot write all of '%s': %s\n", name, strerror(errno));
    exit(1);
}

static int country_count = COUNTRIES; /* so many of the first are used */

enum { FEWEST_COUNTRIES = 30 };

static uint64_t whole_number(const char *text, uint64_t fewest, uint64_t most) {
    char *end;
    uint64_t number = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && number >= fewest && number <= most) return number;
    fprintf(stderr, PROGRAM ": '%s' should be a whole number from %llu to %llu\n", text, (unsigned long long)fewest,
            (unsigned long long)most);
    exit(2);
}

/* FOLDER [SEED [COUNTRIES]]: makes the folder, which it returns. */
static const char *begin(int count, char **arguments) {
    if (count < 2 || count > 4) {
        fputs("usage: " PROGRAM " FOLDER [SEED [COUNTRIES]], otherwise seed 0 and all countries\n", stderr);
        exit(2);
    }
    if (count > 2) random_state = whole_number(arguments[2], 0, UINT64_MAX);
    if (count > 3) country_count = (int)whole_number(arguments[3], FEWEST_COUNTRIES, COUNTRIES);
    if (mkdir(arguments[1], 0777) && errno != EEXIST) {
        fprintf(stderr, PROGRAM ": cannot make the folder '%s': %s\n", arguments[1], strerror(errno));
        exit(1);
    }
    return arguments[1];
}
