/* Parses the command line by the tables of options.def, and prints help from them.
 *
 * `--name value` and `--name=value` mean the same; `-o` is --output. Options may stand anywhere; `--` ends them. */
#include "frontend/options.h"
#include "include/selfc.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef enum { KIND_flag, KIND_text, KIND_list, KIND_count, KIND_number, KIND_whole, KIND_size } OptionKind;

#define IN(command) (1u << COMMAND_##command)
#define ON_TEXTS (IN(fill_mask) | IN(classify) | IN(answer))
#define ON_A_MODEL                                                                                               \
    (IN(check) | IN(train) | IN(run) | IN(build) | IN(show) | IN(profile) | IN(preview) | IN(tune) | IN(embed) | \
     IN(eval) | IN(export) | ON_TEXTS)
#define COMPILES (ON_A_MODEL & ~IN(export))

typedef struct {
    const char *spelling, *value, *meaning;
    OptionKind kind;
    unsigned commands;
    size_t offset;
} OptionInfo;

static const OptionInfo option_info[] = {
#define COMMAND(...)
#define OPTION(field, kind, spelling, value, commands, meaning) \
    {spelling, value, meaning, KIND_##kind, commands, offsetof(Options, field)},
#include "frontend/options.def"
};

/* What an option means to some of its commands. */
static const struct {
    size_t offset;
    const char *value, *meaning; /* value NULL: as to the others */
    unsigned commands;
} meaning_info[] = {
#define COMMAND(...)
#define OPTION(...)
#define MEANING(field, value, commands, meaning) {offsetof(Options, field), value, meaning, commands},
#include "frontend/options.def"
};
enum { MEANING_COUNT = sizeof meaning_info / sizeof *meaning_info };

enum { OPTION_COUNT = sizeof option_info / sizeof *option_info, HELP_COLUMNS = 100 };
_Static_assert(OPTION_COUNT <= 64, "Options.given has a bit for each");

static const struct {
    const char *name, *takes, *summary;
} command_info[] = {
#define COMMAND(name, takes, summary) {#name, takes, summary},
#define OPTION(...)
#include "frontend/options.def"
};

/* "fill-mask": a name has a hyphen where the table, whose names are C's, has an underscore. */
static const char *options_command(CommandKind command) {
    static char name[COMMAND_COUNT][16];
    const char *from = command_info[command].name;
    for (size_t i = 0; from[i] && i + 1 < sizeof name[0]; i++) name[command][i] = from[i] == '_' ? '-' : from[i];
    return name[command];
}

/* The option as this command has it. */
static OptionInfo options_for(const OptionInfo *info, CommandKind command) {
    OptionInfo own = *info;
    for (int i = 0; i < MEANING_COUNT; i++) {
        if (meaning_info[i].offset != info->offset || !(meaning_info[i].commands >> command & 1)) continue;
        own.meaning = meaning_info[i].meaning;
        if (meaning_info[i].value) own.value = meaning_info[i].value;
    }
    return own;
}

/* --- parsing --- */

static bool options_unknown(const char *what, const char *word, const char *nearest, const char *command) {
    fprintf(stderr, "selfc: there is no %s \"%s\"", what, word);
    if (nearest) fprintf(stderr, "; did you mean \"%s\"?", nearest);
    fprintf(stderr, "\nselfc help%s%s lists them\n", command ? " " : "", command ? command : "");
    return false;
}

static bool options_find_command(const char *word, CommandKind *command) {
    const char *names[COMMAND_COUNT];
    for (int i = 0; i < COMMAND_COUNT; i++) {
        names[i] = options_command((CommandKind)i);
        if (!strcmp(word, names[i])) return *command = (CommandKind)i, true;
    }
    return options_unknown("command", word, selfc_nearest(word, names, COMMAND_COUNT), NULL);
}

/* The option of `length` letters of word, if the command has it. */
static const OptionInfo *options_find(const char *word, size_t length, CommandKind command) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    const char *names[OPTION_COUNT];
    size_t count = 0;
    bool is_elsewhere = false;
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionInfo *info = &option_info[i];
        bool belongs = info->commands >> command & 1, is_it = !strcmp(name, info->spelling);
        if (is_it && belongs) return info;
        is_elsewhere |= is_it;
        if (belongs) names[count++] = info->spelling;
    }
    const char *of = options_command(command);
    if (is_elsewhere)
        fprintf(stderr, "selfc: %s has no option %s; selfc help %s lists those that it has\n", of, name, of);
    else
        options_unknown("option", name, selfc_nearest(name, names, count), of);
    return NULL;
}

static bool options_bad(const OptionInfo *info, const char *value, const char *want) {
    fprintf(stderr, "selfc: %s is \"%s\", but must be %s\n", info->spelling, value, want);
    return false;
}

/* Only lists may be given again. */
static bool options_mark(const OptionInfo *info, Options *options) {
    uint64_t bit = (uint64_t)1 << (info - option_info);
    bool is_again = options->given & bit && info->kind != KIND_list;
    options->given |= bit;
    if (is_again) fprintf(stderr, "selfc: %s is given twice\n", info->spelling);
    return !is_again;
}

/* "2GB", "1.5 GiB", "4096": bytes; 0 if it is no size. */
static int64_t options_size(const char *value) {
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"", 1},    {"B", 1},    {"K", 1e3},       {"KB", 1e3},      {"M", 1e6},       {"MB", 1e6},
                 {"G", 1e9}, {"GB", 1e9}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TB", 1e12}};
    char *end;
    double number = strtod(value, &end);
    while (*end == ' ') end++;
    for (size_t i = 0; end != value && i < sizeof units / sizeof *units; i++) {
        double bytes = number * units[i].bytes;
        if (!strcasecmp(end, units[i].unit)) return bytes >= 1 && bytes < 9e18 ? (int64_t)bytes : 0;
    }
    return 0;
}

static bool options_store(const OptionInfo *info, const char *value, Options *options) {
    void *field = (char *)options + info->offset;
    char *end = (char *)(uintptr_t)value;
    errno = 0;
    if (!options_mark(info, options)) return false;
    if (!*value && (info->kind == KIND_text || info->kind == KIND_list))
        return fprintf(stderr, "selfc: %s is empty, but wants %s\n", info->spelling, info->value), false;
    switch (info->kind) {
    case KIND_flag: *(Option_flag *)field = true; return true;
    case KIND_text: *(Option_text *)field = value; return true;
    case KIND_list: {
        Option_list *list = field;
        if (list->count == OPTIONS_MOST) return options_bad(info, value, "given 64 times at most");
        list->item[list->count++] = value;
        return true;
    }
    case KIND_count: {
        long long count = strtoll(value, &end, 10);
        if (errno == ERANGE) return options_bad(info, value, "a whole number from 1 to 9223372036854775807");
        if (!*value || *end || errno || count < 1) return options_bad(info, value, "a whole number of at least 1");
        *(Option_count *)field = count;
        return true;
    }
    case KIND_number: {
        double number = strtod(value, &end);
        if (!*value || *end || !isfinite(number) || number <= 0) return options_bad(info, value, "a number above 0");
        *(Option_number *)field = number;
        return true;
    }
    case KIND_size: {
        int64_t size = options_size(value);
        if (!size) return options_bad(info, value, "a size as in 500MB, 2GB or 1.5GiB");
        *(Option_size *)field = size;
        return true;
    }
    case KIND_whole: {
        unsigned long long whole = strtoull(value, &end, 10);
        if (!*value || *end || errno || strchr(value, '-'))
            return options_bad(info, value, "a whole number of at least 0, up to 18446744073709551615");
        *(Option_whole *)field = (Option_whole){whole, true};
        return true;
    }
    }
    return false;
}

/* The word after argv[*i] as its value. One that looks like an option is none, unless = says so. */
static bool options_read_next(int argc, char **argv, int *i, const OptionInfo *info, Options *options) {
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    if (next && strncmp(next, "--", 2)) return ++*i, options_store(info, next, options);
    fprintf(stderr, "selfc: %s wants %s after it", info->spelling, options_for(info, options->command).value);
    fprintf(stderr, next ? ", not %s; %s=%s says that this is one\n" : "\n", next, info->spelling, next);
    return false;
}

/* Reads argv[*i], an option, and its value, which may be the next word. */
static bool options_read(int argc, char **argv, int *i, Options *options) {
    char *word = argv[*i];
    if (!strncmp(word, "-o", 2) && word[2] != '-') {
        static char spelling[] = "--output";
        const OptionInfo *info = options_find(spelling, strlen(spelling), options->command);
        if (!info) return false;
        if (word[2]) return options_store(info, word + 2 + (word[2] == '='), options);
        return options_read_next(argc, argv, i, info, options);
    }
    const char *equals = strchr(word, '=');
    const OptionInfo *info = options_find(word, equals ? (size_t)(equals - word) : strlen(word), options->command);
    if (!info) return false;
    if (info->kind == KIND_flag && equals) return options_bad(info, equals + 1, "alone: it takes no value");
    if (info->kind == KIND_flag || equals) return options_store(info, equals ? equals + 1 : "", options);
    return options_read_next(argc, argv, i, info, options);
}

/* "MODEL FUNCTION" wants two words; those in [ ] may be left out, and of what ends in "..." there may be many. */
static bool options_check_positional(const Options *options) {
    const char *takes = command_info[options->command].takes, *missing = takes;
    size_t most = 0, least = 0;
    for (const char *at = takes; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
        if (most++ == options->positional_count) missing = at;
        least += *at != '[';
    }
    if (strstr(takes, "...")) most = OPTIONS_POSITIONAL;
    if (options->positional_count >= least && options->positional_count <= most) return true;
    if (options->positional_count > most)
        fprintf(stderr, "selfc: \"%s\" is one word too many\n", options->positional[most]);
    else
        fprintf(stderr, "selfc: %.*s is missing\n", (int)strcspn(missing, " "), missing);
    const char *command = options_command(options->command);
    fprintf(stderr, "usage: selfc %s %s\nselfc help %s says more\n", command, takes, command);
    return false;
}

/* The command, and where the rest begins; `selfc --passes=… FILE` needs no command. */
static bool options_parse_command(int argc, char **argv, Options *options, int *first) {
    *first = 2;
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        options->command = COMMAND_help;
        return true;
    }
    if (!strcmp(argv[1], "--version")) {
        options->command = COMMAND_version;
        return true;
    }
    if (argv[1][0] != '-') return options_find_command(argv[1], &options->command);
    options->command = COMMAND_passes;
    *first = 1;
    return true;
}

bool options_parse(int argc, char **argv, Options *options) {
    *options = (Options){0};
    int i;
    if (!options_parse_command(argc, argv, options, &i)) return false;
    bool only_words = false;
    for (; i < argc; i++) {
        if (!only_words && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
            *options = (Options){.command = COMMAND_help, .positional_count = 1};
            options->positional[0] = argv[1];
            return true;
        }
        if (!only_words && !strcmp(argv[i], "--")) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
            if (!options_read(argc, argv, &i, options)) return false;
        } else if (options->positional_count < OPTIONS_POSITIONAL) {
            options->positional[options->positional_count++] = argv[i];
        } else {
            fprintf(stderr, "selfc: \"%s\" is one word too many\n", argv[i]);
            return false;
        }
    }
    return options_check_positional(options);
}

/* --- help --- */

/* Breaks the text at spaces; its first line goes on where the cursor is, at `indent`. */
static void options_wrap(FILE *out, int indent, const char *text) {
    int column = indent;
    for (size_t length; *text; text += length + strspn(text + length, " ")) {
        length = strcspn(text, " ");
        if (column > indent && column + 1 + (int)length > HELP_COLUMNS)
            column = fprintf(out, "\n%*s", indent, "") - 1;
        else if (column > indent)
            column += fprintf(out, " ");
        column += fprintf(out, "%.*s", (int)length, text);
    }
    fprintf(out, "\n");
}

static void options_help_all(FILE *out) {
    fprintf(out, "selfc compiles descriptions of self-supervised learning to native code.\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  selfc %-10s%-15s ", options_command((CommandKind)i), command_info[i].takes);
        options_wrap(out, 34, command_info[i].summary);
    }
    fprintf(out, "\n");
    options_wrap(out, 0,
                 "MODEL is a description (JSON) or a RUN, the folder that `train` writes. `selfc help COMMAND` lists "
                 "the options of a command.");
}

static void options_help_command(CommandKind command, FILE *out) {
    fprintf(out, "selfc %s %s\n    ", options_command(command), command_info[command].takes);
    options_wrap(out, 4, command_info[command].summary);
    fprintf(out, "\n");
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!(option_info[i].commands >> command & 1)) continue;
        OptionInfo info = options_for(&option_info[i], command);
        char usage[64];
        snprintf(usage, sizeof usage, "%s %s", info.spelling, info.value ? info.value : "");
        fprintf(out, "  %-22s ", usage);
        options_wrap(out, 25, info.meaning);
    }
}

static void options_help_markdown(FILE *out) {
    fprintf(out, "# The command line\n\nMade by `selfc help markdown` from `frontend/options.def`. MODEL is a "
                 "description (JSON) or a RUN, the folder that `train` writes. `--name value` and `--name=value` mean "
                 "the same; `-o` is `--output`. The exit code is 0, 1 after an error (with a message on stderr), 2 for "
                 "a mistake on the command line, 130 after Ctrl-C.\n");
    for (int c = 0; c < COMMAND_COUNT; c++) {
        bool is_first = true;
        fprintf(out, "\n## selfc %s %s\n\n%s\n", options_command((CommandKind)c), command_info[c].takes,
                command_info[c].summary);
        for (int i = 0; i < OPTION_COUNT; i++) {
            if (!(option_info[i].commands >> c & 1)) continue;
            OptionInfo info = options_for(&option_info[i], (CommandKind)c);
            if (is_first) fprintf(out, "\n| option | meaning |\n|---|---|\n");
            is_first = false;
            fprintf(out, "| `%s%s", info.spelling, info.value ? " " : "");
            for (const char *p = info.value ? info.value : ""; *p; p++) fprintf(out, *p == '|' ? "\\|" : "%c", *p);
            fprintf(out, "` | %s |\n", info.meaning);
        }
    }
}

bool options_help(const char *topic, FILE *out) {
    CommandKind command;
    if (!topic) return options_help_all(out), true;
    if (!strcmp(topic, "markdown")) return options_help_markdown(out), true;
    if (!options_find_command(topic, &command)) return false;
    options_help_command(command, out);
    return true;
}
