/* `selfc tokenize`: files to tokens line by line, tokens to text, and vocabularies from files. */
#include "frontend/api.h"
#include "runtime/data/data.h"
#include "runtime/text/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    SelfcTokenizer *tokenizer;
    const SelfcTokenize *wanted;
    FILE *out;
    const char *name; /* of the file */
    int64_t line;
    SelfcToken *tokens; /* room for as many as a line has bytes */
    int32_t *ids;
    size_t room;
} Tokenizing;

static int tokenizing_reserve(Tokenizing *t, size_t tokens) {
    if (tokens <= t->room) return 0;
    free(t->tokens);
    free(t->ids);
    t->tokens = malloc(2 * tokens * sizeof *t->tokens);
    t->ids = malloc(2 * tokens * sizeof *t->ids);
    t->room = t->tokens && t->ids ? 2 * tokens : 0;
    return t->room ? 0 : api_fail("%s:%lld: no memory for a line of %zu bytes", t->name, (long long)t->line, tokens);
}

static int tokenize_line(Tokenizing *t, const char *line, size_t length) {
    int64_t count = selfc_tokenizer_encode(t->tokenizer, line, (int64_t)length, true, t->tokens, (int64_t)t->room);
    for (int64_t i = 0; i < count; i++) {
        if (i) fputc(' ', t->out);
        if (t->wanted->ids)
            fprintf(t->out, "%d", t->tokens[i].id);
        else
            fputs(selfc_tokenizer_token(t->tokenizer, t->tokens[i].id), t->out);
    }
    fputc('\n', t->out);
    return 0;
}

static int decode_line(Tokenizing *t, const char *line) {
    int64_t count = 0;
    for (const char *at = line + strspn(line, " \t\r"); *at; at += strspn(at, " \t\r")) {
        char *end;
        long id = strtol(at, &end, 10);
        if (end == at || (*end && !strchr(" \t\r", *end)) || id < 0 || id >= selfc_tokenizer_size(t->tokenizer))
            return api_fail("%s:%lld: \"%.*s\" is no id of the vocabulary, a whole number from 0 to %lld", t->name,
                            (long long)t->line, (int)strcspn(at, " \t\r"), at,
                            (long long)selfc_tokenizer_size(t->tokenizer) - 1);
        t->ids[count++] = (int32_t)id;
        at = end;
    }
    char *text = selfc_tokenizer_decode(t->tokenizer, t->ids, count, false);
    if (!text) return api_fail("%s", selfc_failure());
    fprintf(t->out, "%s\n", text);
    free(text);
    return 0;
}

static int tokenize_stream(Tokenizing *t, FILE *in) {
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    int failed = 0;
    for (t->line = 1; !failed && (length = getline(&line, &size, in)) >= 0; t->line++) {
        if (length && line[length - 1] == '\n') line[--length] = 0;
        failed = tokenizing_reserve(t, (size_t)length + 1);
        if (!failed) failed = t->wanted->decode ? decode_line(t, line) : tokenize_line(t, line, (size_t)length);
    }
    if (!failed && ferror(in)) failed = api_fail("cannot read %s: %s", t->name, strerror(errno));
    free(line);
    return failed;
}

static int tokenize_file(Tokenizing *t, const char *path) {
    t->name = path;
    if (!strcmp(path, "-")) return t->name = "stdin", tokenize_stream(t, stdin);
    FILE *in = fopen(path, "rbe");
    if (!in) return api_fail("cannot read %s: %s", path, strerror(errno));
    int failed = tokenize_stream(t, in);
    fclose(in);
    return failed;
}

int selfc_tokenize_files(const SelfcTokenize *given, FILE *out) {
    SelfcTokenize settings = {.size = sizeof settings};
    memcpy(&settings, given, given->size < sizeof settings ? given->size : sizeof settings);
    Tokenizing t = {.tokenizer = selfc_tokenizer_open(settings.vocabulary), .wanted = &settings, .out = out};
    if (!t.tokenizer) return api_fail("%s", selfc_failure());
    int failed = settings.file_count ? 0 : tokenize_file(&t, "-");
    for (size_t i = 0; !failed && i < settings.file_count; i++) failed = tokenize_file(&t, settings.files[i]);
    selfc_tokenizer_close(t.tokenizer);
    free(t.tokens);
    free(t.ids);
    return failed;
}

/* --- training --- */

/* What comes in by a pipe, in pieces that end with a space; only a word keeps more of it in memory. */
static int count_stream(SelfcWords *words, FILE *in, const char *name) {
    size_t room = 1 << 20, used = 0;
    char *text = malloc(room);
    int failed = 0;
    while (text && !failed) {
        size_t got = fread(text + used, 1, room - used, in);
        used += got;
        int64_t cut = got ? selfc_words_cut(words, text, (int64_t)used) : (int64_t)used;
        if (selfc_words_add(words, text, cut)) failed = api_fail("%s", selfc_failure());
        memmove(text, text + cut, used - (size_t)cut);
        used -= (size_t)cut;
        if (!got) break;
        if (used < room) continue;
        room *= 2;
        char *larger = realloc(text, room);
        if (!larger) free(text);
        text = larger;
    }
    if (!text) failed = api_fail("%s: no memory for a word of %zu bytes", name, room);
    if (!failed && ferror(in)) failed = api_fail("cannot read %s: %s", name, strerror(errno));
    free(text);
    return failed;
}

static int count_file(SelfcWords *words, const char *path) {
    bool is_stdin = !strcmp(path, "-");
    struct stat status;
    if (!is_stdin && !stat(path, &status) && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
        return selfc_text_words(words, path) ? api_fail("%s", selfc_failure()) : 0;
    FILE *in = is_stdin ? stdin : fopen(path, "rbe");
    if (!in) return api_fail("cannot read %s: %s", path, strerror(errno));
    int failed = count_stream(words, in, is_stdin ? "stdin" : path);
    if (!is_stdin) fclose(in);
    return failed;
}

static int write_vocabulary(const SelfcTokenizer *tokenizer, const char *out, FILE *report) {
    const char *ending = strrchr(out, '.');
    bool is_json = ending && !strcmp(ending, ".json");
    if (is_json ? selfc_tokenizer_save(tokenizer, out) : selfc_tokenizer_save_lines(tokenizer, out))
        return api_fail("%s", selfc_failure());
    fprintf(report, "%s: %lld tokens\n", out, (long long)selfc_tokenizer_size(tokenizer));
    return 0;
}

int selfc_tokenize_train(const char *const *files, size_t file_count, int64_t tokens, int is_cased, const char *out,
                         FILE *report) {
    SelfcWords *words = selfc_words_new(is_cased);
    if (!words) return api_fail("%s", selfc_failure());
    int failed = 0;
    for (size_t i = 0; !failed && i < file_count; i++) failed = count_file(words, files[i]);
    SelfcTokenizer *tokenizer = failed ? NULL : selfc_words_train(words, tokens);
    if (!failed && !tokenizer) failed = api_fail("%s", selfc_failure());
    if (tokenizer) failed = write_vocabulary(tokenizer, out, report);
    selfc_tokenizer_close(tokenizer);
    selfc_words_free(words);
    return failed;
}
