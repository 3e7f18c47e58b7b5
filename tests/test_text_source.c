/* Texts as a data set: which files are found, how they become samples, what is kept in the cache, and what is said of
 * bad ones. */
#include "runtime/data/data.h"
#include "runtime/data/file.h"
#include "runtime/text/tokenizer.h"
#include "tests/expect.h"

#include <dirent.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/selfc-texts-XXXXXX";
static SelfcTokenizer *words;
/* Their numbers follow from the place. */
static const char *const vocabulary[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a",   "b",   "c",
                                         "d",     "e",     "##f",   "##g",   "the",    "cat", "##s", "sat",
                                         "on",    "mat",   ".",     "where", "?",      "é",   "{",   "\xE4\xB8\xAD"};
enum { PAD, UNK, CLS, SEP, MASK, A, B, C, D, E, XF, XG, THE, CAT, XS, SAT, ON, MAT, DOT, WHERE, ASK };

static const char *in_folder(const char *name) {
    static char paths[8][512];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put_bytes(const char *name, const void *bytes, size_t size) {
    char *path = strdup(in_folder(name)), *slash = strrchr(path, '/');
    *slash = 0;
    EXPECT(!selfc_make_folders(path), "%s", selfc_failure());
    *slash = '/';
    EXPECT(!selfc_file_replace(path, bytes, size), "%s", selfc_failure());
    free(path);
}

static void put(const char *name, const char *text) { put_bytes(name, text, strlen(text)); }

static SelfcSourceOptions of(const char *name, SelfcSplit split, int64_t length, const char *unit) {
    return (SelfcSourceOptions){
        .source = "text", .path = in_folder(name), .split = split, .length = length, .unit = unit, .tokenizer = words};
}

static SelfcSource *open_text(SelfcSourceOptions options) {
    SelfcSource *source = selfc_source_open(&options);
    EXPECT(source && !selfc_source_load(source), "%s: %s", options.path, selfc_failure());
    return source;
}

/* The field of a sample is these numbers; the last is -9. */
static void expect_field(SelfcSource *source, const char *name, int32_t index, ...) {
    int field = source ? selfc_source_field(source, name) : -1;
    const SelfcField *fields;
    int32_t values[256] = {0};
    va_list wanted;
    EXPECT(field >= 0, "%s: %s", name, selfc_failure());
    if (field < 0) return;
    selfc_source_fields(source, &fields);
    int64_t count = selfc_tensor_elements(&fields[field].sample, 0);
    selfc_source_gather(source, (uint32_t)field, &index, 1, values);
    va_start(wanted, index);
    for (int64_t i = 0; i < count; i++) {
        int32_t want = va_arg(wanted, int32_t);
        EXPECT(values[i] == want, "%s of sample %d, element %lld: %d and not %d", name, index, (long long)i, values[i],
               want);
    }
    EXPECT(va_arg(wanted, int32_t) == -9, "%s has %lld elements", name, (long long)count);
    va_end(wanted);
}

/* What of the data is said to be cut; NULL: nothing. */
static void expect_cut(SelfcSource *source, const char *wanted) {
    const char *said = source ? selfc_source_cut(source) : NULL;
    bool is_right = said && wanted ? strstr(said, wanted) != NULL : !said && !wanted;
    EXPECT(is_right, "said to be cut: %s; wanted: %s", said ? said : "nothing", wanted ? wanted : "nothing");
}

static const char *failure(SelfcSourceOptions options) {
    SelfcSource *source = selfc_source_open(&options);
    selfc_source_close(source);
    return source ? "was opened" : selfc_failure();
}

#define EXPECT_FAILURE(options, text)                                                      \
    do {                                                                                   \
        const char *said = failure(options);                                               \
        EXPECT(strstr(said, text), "\"%s\" should be said, but this was: %s", text, said); \
    } while (0)

static int64_t count_of(const char *name, SelfcSplit split, int64_t length, const char *unit) {
    SelfcSource *source = selfc_source_open(&(SelfcSourceOptions){
        .path = in_folder(name), .split = split, .length = length, .unit = unit, .tokenizer = words});
    int64_t count = source ? selfc_source_count(source) : -1;
    EXPECT(source && !strcmp(selfc_source_kind(source), "text"), "%s: %s", name, selfc_failure());
    selfc_source_close(source);
    return count;
}

static void test_splits(void) {
    put("named/x.train.txt", "a b\nc d\n");
    put("named/x.dev.txt", "a\n");
    put("named/x.test.txt", "a\nb\nc\n");
    EXPECT(count_of("named", SELFC_TRAIN, 8, "line") == 2 && count_of("named", SELFC_TEST, 8, "line") == 1, "by name");
    EXPECT(count_of("named/x.train.txt", SELFC_TEST, 8, "line") == 1, "beside a file");
    put("folders/train/deep/1.txt", "a\nb\n");
    put("folders/train/2.txt", "c\n");
    put("folders/test/1.txt", "d\n");
    put("folders/readme.txt", "e\ne\ne\ne\ne\n");
    EXPECT(count_of("folders", SELFC_TRAIN, 8, "line") == 3 && count_of("folders", SELFC_TEST, 8, "line") == 1,
           "by folder");
    put("judged/a.txt", "a\nb\nc\n");
    put("judged/deep/b.txt", "d\n");
    put("judged/test.txt", "e\ne\n");
    put("judged/dev/1.txt", "a\n");
    EXPECT(count_of("judged", SELFC_TRAIN, 8, "line") == 4 && count_of("judged", SELFC_TEST, 8, "line") == 1,
           "what has no name is trained on, where others are to judge by");
    put("tests/test.txt", "a\nb\n");
    EXPECT_FAILURE(of("tests", SELFC_TRAIN, 8, "line"), "each text in it is called \"test\" or the like");
    SelfcSourceOptions all = of("tests", SELFC_TRAIN, 8, "line");
    all.whole = true;
    SelfcSource *whole = open_text(all);
    EXPECT(whole && selfc_source_count(whole) == 2, "all of a folder");
    selfc_source_close(whole);
    put("one.txt", "a b c d\na b c d\na b c d\na b c d\na b c d\na b c d\na b c d\na b c d\na b c d\na b c d\na b c d\n"
                   "a b c d\na b c d\na b c d\na b c d\na b c d\na b c d\na b c d\na b c d\na b c d\n");
    EXPECT(count_of("one.txt", SELFC_TRAIN, 8, "line") == 18 && count_of("one.txt", SELFC_TEST, 8, "line") == 2,
           "the last tenth");
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "many/%02d.txt", i);
        put(name, "a b c");
    }
    EXPECT(count_of("many", SELFC_TRAIN, 8, "document") == 18 && count_of("many", SELFC_TEST, 8, "document") == 2,
           "the last tenth of files");
    for (int i = 0; i < 3000; i++) { /* marks of the byte order alone are no text */
        char name[32];
        snprintf(name, sizeof name, "marks/train/%04d.txt", i);
        put(name, i == 1500 ? "\xEF\xBB\xBF"
                              "a b c"
                            : "\xEF\xBB\xBF");
    }
    put("marks/test/1.txt", "\xEF\xBB\xBF");
    EXPECT(count_of("marks", SELFC_TRAIN, 5, "line") == 1 && count_of("marks", SELFC_TEST, 5, "stream") == 0, "marks");
    EXPECT(count_of("marks", SELFC_TRAIN, 5, "document") == 1, "a document among marks");
    put("short.txt", "a b c d e");
    EXPECT(count_of("short.txt", SELFC_TEST, 8, "document") == 0, "a single document");
    put("mixed/a.txt", "a");
    put("mixed/b.jsonl", "{}");
    EXPECT_FAILURE(of("mixed", SELFC_TRAIN, 8, NULL), "text and JSON lines make no data set together");
    put("nothing/a.md", "a");
    EXPECT_FAILURE(of("nothing", SELFC_TRAIN, 8, NULL), "there is no text in this folder");
    EXPECT(!selfc_source_kind_at(in_folder("nothing")), "a folder without texts is recognised");
    EXPECT_FAILURE(of("missing", SELFC_TRAIN, 8, NULL), "cannot read");
    put("empty.txt", "");
    EXPECT_FAILURE(of("empty.txt", SELFC_TRAIN, 8, NULL), "holds no text");
}

static void test_stream(void) {
    put("stream/train/1.txt", "The cats sat");
    put("stream/train/2.txt", "on the mat.\n\ncatsf");
    put("stream/train/3.txt", "");
    put("stream/test/1.txt", "a b c d e");
    SelfcSource *source = open_text(of("stream", SELFC_TRAIN, 6, NULL));
    EXPECT(selfc_source_count(source) == 3, "%lld samples", (long long)selfc_source_count(source));
    expect_field(source, "text", 0, CLS, THE, CAT, XS, SAT, SEP, -9);
    expect_field(source, "word", 0, -1, 0, 1, 1, 2, -1, -9);
    expect_field(source, "text", 1, CLS, SEP, ON, THE, MAT, SEP, -9);
    expect_field(source, "word", 1, -1, -1, 0, 1, 2, -1, -9);
    expect_field(source, "text", 2, CLS, DOT, CAT, XS, XF, SEP, -9);
    expect_field(source, "segment", 2, 0, 0, 0, 0, 0, 0, -9);
    expect_field(source, "count", 2, 6, -9);
    EXPECT(selfc_source_field(source, "label") < 0 && strstr(selfc_failure(), "begin with labels"), "label");
    EXPECT(selfc_source_field(source, "start") < 0 && strstr(selfc_failure(), ".jsonl"), "start");
    int32_t outside[2] = {-1, 3}, values[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    selfc_source_gather(source, 0, outside, 2, values);
    for (int i = 0; i < 12; i++) EXPECT(values[i] == 0, "samples outside of the text");
    selfc_source_close(source);
    SelfcSourceOptions options = of("stream", SELFC_TRAIN, 4, "stream");
    options.stride = 1;
    source = open_text(options);
    EXPECT(selfc_source_count(source) == 12, "%lld samples, a token apart", (long long)selfc_source_count(source));
    expect_field(source, "text", 1, CLS, CAT, XS, SEP, -9);
    expect_field(source, "text", 2, CLS, XS, SAT, SEP, -9);
    expect_field(source, "word", 2, -1, 0, 1, -1, -9);
    selfc_source_close(source);
    options.split = SELFC_TEST;
    source = open_text(options);
    EXPECT(selfc_source_count(source) == 2, "what judges is read once");
    selfc_source_close(source);
    EXPECT_FAILURE(of("stream", SELFC_TRAIN, 100, NULL), "the training text has 13 tokens, too few for one sample");
    EXPECT(count_of("stream", SELFC_TEST, 64, NULL) == 0, "too little to judge by");
    EXPECT_FAILURE(of("stream", SELFC_TRAIN, 2, NULL),
                   "a \"length\" must be from 3, for [CLS] and [SEP] count, to 32768");
    EXPECT_FAILURE(of("stream", SELFC_TRAIN, 1 << 16, NULL), "samples of 65536 tokens");
    EXPECT_FAILURE(of("stream", SELFC_TRAIN, 8, "page"), "the unit is \"page\"");
}

static void test_characters(void) {
    put("plays/train.txt", "abca\xC3\xA9\n");
    put("plays/test.txt", "a\xE4\xB8\xAD\xC3\xA9");
    SelfcTokenizer *characters = selfc_text_characters(in_folder("plays"), NULL);
    EXPECT(characters && selfc_tokenizer_size(characters) == 5, "%s", selfc_failure());
    SelfcSourceOptions options = of("plays", SELFC_TRAIN, 3, NULL);
    options.tokenizer = characters;
    SelfcSource *source = open_text(options);
    EXPECT(selfc_source_count(source) == 2, "%lld samples", (long long)selfc_source_count(source));
    expect_field(source, "text", 0, 1, 2, 3, -9);
    expect_field(source, "text", 1, 1, 4, 0, -9);
    expect_field(source, "word", 1, 0, 1, 2, -9);
    expect_field(source, "count", 1, 3, -9);
    selfc_source_close(source);
    options.split = SELFC_TEST;
    options.length = 2;
    source = open_text(options);
    EXPECT(selfc_source_count(source) == 1, "a character that is unknown is left out");
    expect_field(source, "text", 0, 1, 4, -9);
    selfc_source_close(source);
    options.split = SELFC_TRAIN;
    options.length = 8;
    options.unit = "line";
    source = open_text(options);
    expect_field(source, "text", 0, 1, 2, 3, 1, 4, 0, 0, 0, -9);
    expect_field(source, "count", 0, 5, -9);
    selfc_source_close(source);
    selfc_tokenizer_close(characters);
    EXPECT(!selfc_text_characters(in_folder("missing"), NULL), "characters of nothing");
}

static void test_lines(void) {
    put("lines.train.txt", "\xEF\xBB\xBF"
                           "1 the cat\r\n\n   \n0\ta b c d e\n3 .");
    put("lines.test.txt", "2 a\n");
    SelfcSourceOptions options = of("lines.train.txt", SELFC_TRAIN, 6, NULL);
    options.has_labels = 1;
    SelfcSource *source = open_text(options);
    EXPECT(selfc_source_count(source) == 3, "%lld lines", (long long)selfc_source_count(source));
    expect_field(source, "text", 0, CLS, THE, CAT, SEP, PAD, PAD, -9);
    expect_field(source, "word", 0, -1, 0, 1, -1, -1, -1, -9);
    expect_field(source, "count", 0, 4, -9);
    expect_field(source, "label", 0, 1, -9);
    expect_field(source, "text", 1, CLS, A, B, C, D, SEP, -9);
    expect_field(source, "label", 1, 0, -9);
    expect_field(source, "label", 2, 3, -9);
    EXPECT(selfc_source_classes(source) == 4 && !strcmp(selfc_source_class(source, 3), "3"), "classes");
    uint32_t label = (uint32_t)selfc_source_field(source, "label");
    EXPECT(!selfc_source_check_labels(source, label, 4), "%s", selfc_failure());
    expect_cut(source, "lines.train.txt: 1 of 3 lines of the training data is cut at 6 tokens");
    EXPECT(selfc_source_check_labels(source, label, 3) &&
               strstr(selfc_failure(), "sample 2 of the training data has the label 3"),
           "%s", selfc_failure());
    selfc_source_close(source);
    options.has_labels = 0;
    options.unit = "line";
    source = open_text(options);
    expect_field(source, "text", 2, CLS, UNK, DOT, SEP, PAD, PAD, -9);
    expect_field(source, "word", 2, -1, -1, 0, -1, -1, -1, -9);
    selfc_source_close(source);
    options.has_labels = 1;
    options.unit = "stream";
    EXPECT_FAILURE(options, "labels stand at the beginning of lines, so the unit must be \"line\"");
    options.unit = "line";
    put("bad.txt", "1 a\n1 a\ngood a\n1 a\n");
    options.path = in_folder("bad.txt");
    EXPECT_FAILURE(options, "bad.txt:3: a line should begin with its label");
    EXPECT_FAILURE(options, "begins with \"good\"");
    put("bad.txt", "70000 a\n1 a\n");
    EXPECT_FAILURE(options, "bad.txt:1: a line should begin with its label, a whole number from 0 to 65535");
    put("bad.txt", "-1 a\n1 a\n");
    EXPECT_FAILURE(options, "begins with \"-1\"");
}

static void test_documents(void) {
    put("documents/train/1.txt", "a b c d e");
    put("documents/train/2.txt", "the cat\n\nsat");
    put("documents/train/3.txt", " \n");
    SelfcSource *source = open_text(of("documents", SELFC_TRAIN, 6, "document"));
    EXPECT(selfc_source_count(source) == 2, "%lld documents", (long long)selfc_source_count(source));
    expect_cut(source, "1 of 2 documents of the training data is cut at 6 tokens");
    expect_field(source, "text", 0, CLS, A, B, C, D, SEP, -9);
    expect_field(source, "text", 1, CLS, THE, CAT, SAT, SEP, PAD, -9);
    expect_field(source, "count", 1, 5, -9);
    selfc_source_close(source);
    source = open_text(of("documents", SELFC_TRAIN, 5, "document"));
    expect_cut(source, "1 of 2 documents");
    selfc_source_close(source);
    source = open_text(of("documents", SELFC_TRAIN, 7, "document")); /* they fill it, and no more */
    expect_cut(source, NULL);
    selfc_source_close(source);
    source = open_text(of("documents", SELFC_TRAIN, 4, "document"));
    expect_cut(source, "2 of 2 documents of the training data are cut at 4 tokens");
    selfc_source_close(source);
}

static void test_questions(void) {
    put("q.train.jsonl",
        "{\"question\": \"Where sat the cat?\", \"context\": \"\\u4e2d The cats sat on the mat.\", \"answer\": \"the "
        "mat\", "
        "\"start\": 18, \"more\": [1, {\"a\": null}]}\n"
        "{\"context\": \"a b c d e a b c d e\", \"question\": \"a\", \"answer\": \"d e a\"}\n"
        "{\"context\": \"a b c d e a b c d e a b c d\", \"question\": \"a a a a a a a a a a\", \"answer\": \"d\"}\n"
        "{\"context\": \"a b\", \"question\": \"c\", \"answer\": null}\n"
        "{\"context\": \"a b\", \"question\": \"c\", \"answer\": \" \"}\n");
    SelfcSource *source = open_text(of("q.train.jsonl", SELFC_TRAIN, 17, NULL));
    EXPECT(selfc_source_count(source) == 5, "%lld questions", (long long)selfc_source_count(source));
    expect_field(source, "start", 4, 0, -9); /* no token is white space */
    expect_field(source, "end", 4, 0, -9);
    expect_field(source, "text", 0, CLS, WHERE, SAT, THE, CAT, ASK, SEP, 23, THE, CAT, XS, SAT, ON, THE, MAT, DOT, SEP,
                 -9);
    expect_field(source, "segment", 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -9);
    expect_field(source, "word", 0, -1, 0, 1, 2, 3, 4, -1, 5, 6, 7, 7, 8, 9, 10, 11, 12, -1, -9);
    expect_field(source, "start", 0, 13, -9);
    expect_field(source, "end", 0, 14, -9);
    expect_field(source, "start", 1, 6, -9);
    expect_field(source, "end", 1, 8, -9);
    expect_field(source, "count", 1, 14, -9);
    expect_field(source, "text", 2, CLS, A, A, A, A, A, A, A, SEP, A, B, C, D, E, A, B, SEP, -9);
    expect_field(source, "start", 2, 12, -9);
    selfc_source_close(source);
    source = open_text(of("q.train.jsonl", SELFC_TRAIN, 9, NULL));
    EXPECT(selfc_source_count(source) == 2, "%lld questions", (long long)selfc_source_count(source));
    expect_cut(source, "3 of 5 questions of the training data are cut at 9 tokens, of which 3 are left out: the answer "
                       "stands behind the cut");
    expect_field(source, "text", 0, CLS, C, SEP, A, B, SEP, PAD, PAD, PAD, -9);
    selfc_source_close(source);
    put("late.train.jsonl", "{\"context\": \"a b c d e\", \"question\": \"a\", \"answer\": \"e\"}\n");
    EXPECT_FAILURE(of("late.train.jsonl", SELFC_TRAIN, 8, NULL),
                   "the answer to each question stands behind the first 8 tokens");
    source = open_text(of("late.train.jsonl", SELFC_TRAIN, 9, NULL));
    expect_field(source, "start", 0, 7, -9);
    selfc_source_close(source);
    static const struct {
        const char *line, *said;
    } bad[] = {{"{\"question\": \"a\"}", "bad.jsonl:2: the JSON object has no \"context\""},
               {"{\"question\": \"a\", \"context\": \"b\", }", "a line should be a JSON object"},
               {"a b", "a line should be a JSON object"},
               {"{\"question\": \"a\", \"context\": \"b c\", \"answer\": \"c\", \"start\": 1}", "it does at 2"},
               {"{\"question\": \"a\", \"context\": \"b c\", \"answer\": \"d\", \"start\": 1}",
                "does not stand in the context"},
               {"{\"question\": \"a\", \"context\": \"b c\", \"answer\": \"c\", \"start\": 1e300}", "it does at 2"},
               {"{\"question\": \"a\", \"context\": \"b c\", \"answer\": \"c\", \"start\": 0.5}", "it does at 2"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "{\"question\": \"a\", \"context\": \"b\"}\n%s\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n", bad[i].line);
        put("bad.jsonl", text);
        EXPECT_FAILURE(of("bad.jsonl", SELFC_TRAIN, 16, NULL), bad[i].said);
    }
    EXPECT_FAILURE(of("q.train.jsonl", SELFC_TRAIN, 16, "stream"), "its samples are JSON lines");
    EXPECT_FAILURE(of("q.train.jsonl", SELFC_TRAIN, 4, NULL), "a \"length\" of at least 5");
}

/* Ids above 65,535, of which the last 16 bits are those of others. */
static void test_wide(void) {
    enum { TOKENS = 70000 };
    char *lines = malloc(16 * TOKENS), *at = lines;
    for (int i = 0; i < TOKENS; i++)
        at += i <= MASK ? sprintf(at, "%s\n", vocabulary[i]) : sprintf(at, i == 66000 ? "##z\n" : "w%d\n", i);
    put("wide/vocab.txt", lines);
    free(lines);
    SelfcTokenizer *wide = selfc_tokenizer_open(in_folder("wide/vocab.txt"));
    EXPECT(wide && selfc_tokenizer_size(wide) == TOKENS, "%s", selfc_failure());
    put("wide/train/1.txt", "1 w69999 w5z\n7 w65541 w65536 w7\n0 w6\n");
    put("wide/train/2.txt", "w66001");
    put("wide/test.jsonl",
        "{\"question\": \"w65541 w5\", \"context\": \"w5 w69999 w65538\", \"answer\": \"w65538\"}\n");
    SelfcSourceOptions options = of("wide/train/1.txt", SELFC_TRAIN, 5, "line");
    options.tokenizer = wide;
    options.has_labels = options.whole = 1;
    SelfcSource *source = open_text(options);
    expect_field(source, "text", 0, CLS, 69999, 5, 66000, SEP, -9);
    expect_field(source, "word", 0, -1, 0, 1, 1, -1, -9);
    expect_field(source, "text", 1, CLS, 65541, 65536, 7, SEP, -9);
    expect_field(source, "text", 2, CLS, 6, SEP, PAD, PAD, -9);
    expect_field(source, "label", 1, 7, -9);
    selfc_source_close(source);
    options.path = in_folder("wide/train");
    options.has_labels = 0;
    options.unit = "document";
    source = open_text(options);
    expect_field(source, "text", 1, CLS, 66001, SEP, PAD, PAD, -9);
    selfc_source_close(source);
    options.unit = "stream";
    options.stride = 1;
    source = open_text(options);
    EXPECT(source && selfc_source_count(source) == 12 - 3 + 1, "%lld samples", (long long)selfc_source_count(source));
    expect_field(source, "text", 1, CLS, 69999, 5, 66000, SEP, -9);
    expect_field(source, "text", 9, CLS, 6, SEP, 66001, SEP, -9);
    selfc_source_close(source);
    options = of("wide/test.jsonl", SELFC_TRAIN, 9, NULL);
    options.tokenizer = wide;
    options.whole = 1;
    source = open_text(options);
    expect_field(source, "text", 0, CLS, 65541, 5, SEP, 5, 69999, 65538, SEP, PAD, -9);
    expect_field(source, "segment", 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, -9);
    expect_field(source, "start", 0, 6, -9);
    selfc_source_close(source);
    selfc_tokenizer_close(wide);
}

static void test_bad_text(void) {
    put("latin.txt", "a b\nc \xE9t\xE9\n");
    EXPECT_FAILURE(of("latin.txt", SELFC_TRAIN, 4, NULL), "latin.txt:2: byte 6 of the file, 0xE9, is no UTF-8");
    put_bytes("wide.txt",
              "\xFF\xFE"
              "a\0b\0c\0",
              8);
    EXPECT_FAILURE(of("wide.txt", SELFC_TRAIN, 4, NULL), "the beginning of UTF-16");
    put("overlong.txt", "a \xC0\x80 b c d e");
    EXPECT_FAILURE(of("overlong.txt", SELFC_TRAIN, 4, "document"), "overlong.txt:1: byte 2 of the file");
    SelfcSourceOptions none = of("one.txt", SELFC_TRAIN, 4, NULL);
    none.tokenizer = NULL;
    EXPECT_FAILURE(none, "is text, which needs a tokenizer");
    EXPECT(!selfc_text_characters(in_folder("latin.txt"), NULL) && strstr(selfc_failure(), "latin.txt:2:"), "%s",
           selfc_failure());
    none.tokenizer = words;
    none.height = 8;
    EXPECT_FAILURE(none, "no picture");
}

/* --- the cache --- */

static char *cache_file(const char *cache) {
    DIR *directory = opendir(cache);
    char *path = NULL;
    int count = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        free(path);
        path = file_join(cache, entry->d_name);
        count++;
    }
    if (directory) closedir(directory);
    EXPECT(count == 1, "%d files in the cache %s", count, cache);
    return path ? path : strdup("");
}

/* Words of all lengths, so that pieces end anywhere. */
static char *long_text(size_t size) {
    static const char *const word[] = {"the", "cats", "sat", "on", "mat", ".", "abfg", "\xC3\xA9", "zzz", "where?"};
    char *text = malloc(size + 16);
    uint32_t state = 1;
    size_t at = 0;
    while (at < size) {
        state = state * 1664525u + 1013904223u;
        const char *next = word[state >> 16 & 0xFFF ? (state >> 20) % 10 : 0];
        memcpy(text + at, next, strlen(next));
        at += strlen(next);
        text[at++] = (state >> 8 & 31) ? ' ' : '\n';
    }
    text[at] = 0;
    return text;
}

static void test_cache(void) {
    const char *cache = in_folder("cache");
    char *text = long_text(1500000);
    put("large.train.txt", text);
    put("large.test.txt", "a b c d e");
    SelfcSourceOptions options = of("large.train.txt", SELFC_TRAIN, 66, NULL);
    options.cache = cache;
    SelfcSource *source = open_text(options);
    int64_t length = (int64_t)strlen(text), body = 64;
    SelfcToken *tokens = malloc((size_t)length * sizeof *tokens);
    int64_t count = selfc_tokenizer_encode(words, text, length, false, tokens, length), wrong = 0;
    EXPECT(selfc_source_count(source) == count / body, "%lld samples of %lld tokens",
           (long long)selfc_source_count(source), (long long)count);
    for (int32_t i = 0; i < selfc_source_count(source); i++) {
        int32_t ids[66], word[66], number = -1, before = -1;
        selfc_source_gather(source, 0, &i, 1, ids);
        selfc_source_gather(source, 1, &i, 1, word);
        for (int64_t t = 0; t < body; t++) {
            const SelfcToken *token = &tokens[i * body + t];
            number += token->word != before && token->id != UNK;
            before = token->word;
            wrong += ids[1 + t] != token->id || word[1 + t] != (token->id == UNK ? -1 : number);
        }
    }
    EXPECT(!wrong, "%lld of %lld tokens are others than in one go", (long long)wrong, (long long)count);
    selfc_source_close(source);
    char *file = cache_file(cache);
    struct stat first, second;
    EXPECT(!stat(file, &first) && first.st_size <= 2 * count + 128, "%lld bytes for %lld tokens",
           (long long)first.st_size, (long long)count);
    selfc_source_close(open_text(options));
    options.length = 34;
    options.stride = 7;
    selfc_source_close(open_text(options));
    EXPECT(!stat(file, &second) && first.st_ino == second.st_ino, "the cache was not used");
    /* Damaged, it is made again. */
    FILE *out = fopen(file, "r+b");
    fseek(out, 5000, SEEK_SET);
    fputc(0xEE, out);
    fclose(out);
    options.length = 66;
    options.stride = 0;
    source = open_text(options);
    int32_t zero = 0, ids[66];
    selfc_source_gather(source, 0, &zero, 1, ids);
    EXPECT(ids[1] == tokens[0].id, "a damaged cache");
    selfc_source_close(source);
    EXPECT(!stat(file, &second) && first.st_ino != second.st_ino, "the cache was not replaced");
    EXPECT(!truncate(file, 100), "truncate");
    source = open_text(options);
    EXPECT(selfc_source_count(source) == count / body, "a cut cache");
    selfc_source_close(source);
    free(cache_file(cache));
    /* Without a cache nothing is left behind. */
    options.cache = "";
    source = open_text(options);
    EXPECT(selfc_source_count(source) == count / body, "no cache");
    selfc_source_close(source);
    free(cache_file(cache));
    free(file);
    free(tokens);
    free(text);
}

/* Each number of the head counts, and what cannot have its name in the cache is used all the same. */
static void test_cache_head(void) {
    const char *cache = in_folder("heads");
    put("few.txt", "0 the cat\n1 a b c\n");
    SelfcSourceOptions options = of("few.txt", SELFC_TRAIN, 8, "line");
    options.cache = cache;
    options.has_labels = options.whole = true;
    selfc_source_close(open_text(options));
    char *file = cache_file(cache);
    struct stat before, after;
    for (long place = 0; place < 80; place += 8) {
        EXPECT(!stat(file, &before), "the cache is gone");
        FILE *out = fopen(file, "r+b");
        fseek(out, place + 2, SEEK_SET);
        fputc(0x11, out);
        fclose(out);
        SelfcSource *source = open_text(options);
        expect_field(source, "label", 1, 1, -9);
        EXPECT(selfc_source_classes(source) == 2, "damaged at %ld: %lld classes", place,
               (long long)selfc_source_classes(source));
        selfc_source_close(source);
        EXPECT(!stat(file, &after) && before.st_ino != after.st_ino, "damaged at %ld, it was not replaced", place);
    }
    EXPECT(!unlink(file) && !mkdir(file, 0700), "a folder in its place");
    SelfcSource *source = open_text(options);
    EXPECT(selfc_source_count(source) == 2, "a cache without a place");
    selfc_source_close(source);
    free(cache_file(cache));
    EXPECT(!rmdir(file), "something was put into it");
    free(file);
}

/* Lines keep to two bytes a token, labels and all; the tokens of a sample have [CLS] and [SEP] among them. */
static void test_cache_of_lines(void) {
    char *text = malloc(40 * 20000 + 1), *at = text;
    int64_t tokens = 0;
    for (int i = 0; i < 20000; i++) {
        at += sprintf(at, "%d the", i % 7);
        for (int w = 0; w < i % 5; w++) at += sprintf(at, " cats");
        *at++ = '\n';
        tokens += 3 + 2 * (i % 5);
    }
    *at = 0;
    put("labelled/train.txt", text);
    put("labelled/test.txt", "0 a\n");
    SelfcSourceOptions options = of("labelled", SELFC_TRAIN, 16, NULL);
    options.has_labels = 1;
    options.cache = in_folder("cache.lines");
    SelfcSource *source = open_text(options);
    EXPECT(selfc_source_count(source) == 20000, "%lld lines", (long long)selfc_source_count(source));
    int wrong = 0;
    for (int32_t i = 0; i < 20000; i++) {
        int32_t label, count;
        selfc_source_gather(source, (uint32_t)selfc_source_field(source, "label"), &i, 1, &label);
        selfc_source_gather(source, (uint32_t)selfc_source_field(source, "count"), &i, 1, &count);
        wrong += label != i % 7 || count != 3 + 2 * (i % 5);
    }
    EXPECT(!wrong, "%d lines are others than they should be", wrong);
    struct stat status;
    char *file = cache_file(options.cache);
    EXPECT(!stat(file, &status) && status.st_size <= 2 * tokens + 20000 / 8 + 128, "%lld bytes for %lld tokens",
           (long long)status.st_size, (long long)tokens);
    selfc_source_close(source);
    free(file);
    free(text);
}

/* --- memory and threads, each in a process of its own --- */

/* The most memory that opening took, in kB, on one CPU or on all. */
static long memory_of(SelfcSourceOptions options, bool is_alone) {
    struct rusage usage;
    int status;
    fflush(NULL);
    pid_t child = fork();
    if (!child) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(sched_getcpu(), &one);
        if (is_alone) sched_setaffinity(0, sizeof one, &one);
        SelfcSource *source = selfc_source_open(&options);
        _exit(!source);
    }
    EXPECT(wait4(child, &status, 0, &usage) == child && !status, "a process ended with %d", status);
    return usage.ru_maxrss;
}

static void test_memory(void) {
    enum { SMALL = 2 << 20, LARGE = 24 << 20, MOST = 8 << 10 /* kB more, for 44 MB more of tokens */ };
    char *text = long_text(LARGE);
    put_bytes("memory/large/train.txt", text, LARGE);
    put_bytes("memory/small/train.txt", text, SMALL);
    put("memory/large/test.txt", "a b c\n");
    put("memory/small/test.txt", "a b c\n");
    free(text);
    SelfcTokenizer *characters = selfc_text_characters(in_folder("memory/small"), NULL);
    SelfcSourceOptions options = of("memory/small", SELFC_TRAIN, 64, NULL);
    options.tokenizer = characters;
    options.cache = in_folder("cache.memory");
    long small = memory_of(options, false);
    options.path = in_folder("memory/large");
    long large = memory_of(options, false);
    EXPECT(large - small < MOST, "%ld kB for a small text, %ld kB for a large one", small, large);
    long again = memory_of(options, false);
    EXPECT(again - small < MOST, "%ld kB for a small text, %ld kB for a large one from the cache", small, again);
    selfc_tokenizer_close(characters);
}

static void test_threads(void) {
    void *bytes[2] = {NULL, NULL};
    size_t size[2];
    for (int i = 0; i < 2; i++) {
        SelfcSourceOptions options = of("large.train.txt", SELFC_TRAIN, 66, NULL);
        options.cache = in_folder(i ? "cache.all" : "cache.alone");
        memory_of(options, !i);
        char *file = cache_file(options.cache);
        EXPECT(!selfc_file_read(file, &bytes[i], &size[i]), "%s", selfc_failure());
        free(file);
    }
    EXPECT(size[0] == size[1] && !memcmp(bytes[0], bytes[1], size[0]), "the tokens depend on the threads");
    free(bytes[0]);
    free(bytes[1]);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    char vocabulary_text[1024] = "";
    for (size_t i = 0; i < sizeof vocabulary / sizeof *vocabulary; i++)
        strcat(strcat(vocabulary_text, vocabulary[i]), "\n");
    put("vocab.txt", vocabulary_text);
    setenv("XDG_CACHE_HOME", in_folder("home"), 1);
    words = selfc_tokenizer_open(in_folder("vocab.txt"));
    EXPECT(words != NULL, "%s", selfc_failure());
    if (words) {
        test_splits();
        test_stream();
        test_characters();
        test_lines();
        test_documents();
        test_questions();
        test_wide();
        test_bad_text();
        test_cache();
        test_cache_head();
        test_cache_of_lines();
        test_memory();
        test_threads();
    }
    selfc_tokenizer_close(words);
    char *command;
    if (asprintf(&command, "rm -rf '%s'", folder) < 0 || system(command)) return 1;
    free(command);
    return expect_failures();
}
