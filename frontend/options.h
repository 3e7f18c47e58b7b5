/* The command line as a structure, made from options.def. Of the compiler it sees the public API alone. */
#ifndef SELFC_FRONTEND_OPTIONS_H
#define SELFC_FRONTEND_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum {
#define COMMAND(name, ...) COMMAND_##name,
#define OPTION(...)
#include "frontend/options.def"
} CommandKind;
enum {
    COMMAND_COUNT = 0
#define COMMAND(...) +1
#define OPTION(...)
#include "frontend/options.def"
};

enum { OPTIONS_MOST = 64, OPTIONS_POSITIONAL = 1024 };
typedef struct {
    const char *item[OPTIONS_MOST];
    size_t count;
} OptionList;

typedef bool Option_flag;
typedef const char *Option_text; /* NULL: not given */
typedef OptionList Option_list;
typedef int64_t Option_count; /* 0: not given; else at least 1 */
typedef int64_t Option_size;  /* bytes; 0: not given */
typedef double Option_number; /* 0: not given; else above 0 */
typedef struct {
    uint64_t value;
    bool is_given;
} Option_whole;

/* Its positional words stand in the order of the command line, NULL behind them. */
typedef struct {
    CommandKind command;
    uint64_t given; /* a bit for each line of options.def */
    const char *positional[OPTIONS_POSITIONAL + 1];
    size_t positional_count;
#define COMMAND(...)
#define OPTION(field, kind, ...) Option_##kind field;
#include "frontend/options.def"
} Options;

/* false: what is wrong has been said on stderr. */
bool options_parse(int argc, char **argv, Options *options);
/* topic: NULL for everything in short, "markdown", or a command. false: there is no such. */
bool options_help(const char *topic, FILE *out);
#endif
