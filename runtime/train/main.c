/* The main() of a built training program: it reads its arguments and trains; there is nothing to compile. */
#include "runtime/train/train.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef enum { OPTION_flag, OPTION_text, OPTION_whole, OPTION_seed, OPTION_real } OptionKind;

typedef struct {
    const char *name, *value, *help;
    OptionKind kind;
} Option;

static const Option main_option[] = {
    {"--data", "PATH", "train on what is there: IDX files, a folder of them, .npy, pictures, text", OPTION_text},
    {"--epochs", "N", "passes over the data", OPTION_whole},
    {"--steps", "N", "stop after N steps", OPTION_whole},
    {"--minutes", "N", "stop after N minutes", OPTION_real},
    {"--out", "DIR", "the RUN folder; else runs/NAME-1, -2, ...", OPTION_text},
    {"--resume", NULL, "go on from the checkpoint in the RUN folder", OPTION_flag},
    {"--seed", "N", "seed of all random numbers", OPTION_seed},
    {"--threads", "N", "else all CPUs that this process may use", OPTION_whole},
    {"--quiet", NULL, "print only the RUN folder", OPTION_flag},
    {"--help", NULL, "print this", OPTION_flag},
};
enum { MAIN_OPTIONS = sizeof main_option / sizeof *main_option };

static void main_help(const SelfcModule *module, const char *program) {
    printf("%s: trains \"%s\"\n\nUsage: %s [options]\n\n", program, module->name, program);
    for (int i = 0; i < MAIN_OPTIONS; i++)
        printf("  %-10s %-6s %s\n", main_option[i].name, main_option[i].value ? main_option[i].value : "",
               main_option[i].help);
}

/* "--epochs=3" and "--epochs 3"; *value is NULL if it is missing. */
static const Option *main_match(const char *argument, const char *next, const char **value, bool *takes_next) {
    for (int i = 0; i < MAIN_OPTIONS; i++) {
        size_t length = strlen(main_option[i].name);
        if (strncmp(argument, main_option[i].name, length) || (argument[length] && argument[length] != '=')) continue;
        *value = argument[length] ? argument + length + 1 : next;
        *takes_next = !argument[length] && main_option[i].kind != OPTION_flag;
        if (main_option[i].kind == OPTION_flag && argument[length]) return NULL;
        return &main_option[i];
    }
    return NULL;
}

static bool main_is_number(const Option *option, const char *value) {
    char *end;
    errno = 0;
    if (option->kind == OPTION_real) return strtod(value, &end) > 0 && !*end && !errno;
    if (option->kind == OPTION_seed)
        return strtoull(value, &end, 10), *value >= '0' && *value <= '9' && !*end && !errno;
    long long number = strtoll(value, &end, 10);
    return number > 0 && number <= (strcmp(option->name, "--threads") ? INT64_MAX : INT32_MAX) && end > value &&
           !*end && !errno;
}

static void main_set(SelfcTrainOptions *options, const Option *option, const char *value) {
    if (!strcmp(option->name, "--data")) options->data = value;
    if (!strcmp(option->name, "--epochs")) options->epochs = strtoll(value, NULL, 10);
    if (!strcmp(option->name, "--steps")) options->steps = strtoll(value, NULL, 10);
    if (!strcmp(option->name, "--minutes")) options->minutes = strtod(value, NULL);
    if (!strcmp(option->name, "--out")) options->out = value;
    if (!strcmp(option->name, "--resume")) options->resume = 1;
    if (!strcmp(option->name, "--seed")) options->seed = strtoull(value, NULL, 10), options->has_seed = 1;
    if (!strcmp(option->name, "--threads")) options->threads = (int)strtol(value, NULL, 10);
    if (!strcmp(option->name, "--quiet")) options->quiet = 1;
}

int selfc_trainer_main(const SelfcModule *module, int argc, char **argv) {
    const char *program = argc > 0 ? argv[0] : module->name;
    SelfcTrainOptions options = {0};
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        bool takes_next = false;
        const Option *option = main_match(argv[i], i + 1 < argc ? argv[i + 1] : NULL, &value, &takes_next);
        if (option && !strcmp(option->name, "--help")) return main_help(module, program), 0;
        if (!option) return fprintf(stderr, "%s: error: unknown option '%s'; --help lists them\n", program, argv[i]), 1;
        if (option->kind != OPTION_flag && !value)
            return fprintf(stderr, "%s: error: %s needs a value\n", program, option->name), 1;
        if (option->kind > OPTION_text && !main_is_number(option, value))
            return fprintf(stderr, "%s: error: %s: '%s' is not a %s number\n", program, option->name, value,
                           option->kind == OPTION_real ? "positive" : "positive whole"),
                   1;
        main_set(&options, option, value);
        i += takes_next;
    }
    int cpus = selfc_cpu_count();
    if (options.threads > cpus)
        fprintf(stderr, "%s: note: %d threads share %d CPU%s\n", program, options.threads, cpus, cpus == 1 ? "" : "s");
    int code = selfc_train(module, &options);
    if (code == 1) fprintf(stderr, "%s: error: %s\n", program, selfc_failure());
    return code;
}
