/* Tokenizers without Python: tokens, words and places of known texts, files that are read and refused, cutting a text
 * anywhere that is allowed, decoding, characters, training, and the tables alone. The tokens are those that the package
 * `tokenizers` gives; oracle_tokenizer compares more of them. */
#include "runtime/core/core.h"
#include "runtime/data/data.h"
#include "runtime/text/internal.h"
#include "runtime/text/tokenizer.h"
#include "tests/expect.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

static char folder[64];

static const char *in_folder(const char *name) {
    static char path[4][128];
    static int turn;
    char *out = path[turn++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void write_file(const char *name, const char *text) {
    EXPECT(!selfc_file_replace(in_folder(name), text, strlen(text)), "%s", selfc_failure());
}

static SelfcTokenizer *open_text(const char *name, const char *text) {
    write_file(name, text);
    SelfcTokenizer *tokenizer = selfc_tokenizer_open(in_folder(name));
    unlink(in_folder(name));
    return tokenizer;
}

static const char pieces[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncapital\nof\nfrance\nis\n.\n,\n'\ncafe\nun\n##aff\n##able\n"
    "don\nt\n中\n文\nnaive\n##s\na\n##a\n👍\n##👍\n한\n##ᅡ\nᄒ\n##ᆫ\n";

/* "id/word/from-to …" */
static char *tokens_text(const SelfcTokenizer *tokenizer, const char *text, size_t length, bool specials) {
    static char out[4096];
    size_t used = 0;
    SelfcToken *tokens = malloc((length + 1) * sizeof *tokens);
    int64_t count = selfc_tokenizer_encode(tokenizer, text, (int64_t)length, specials, tokens, (int64_t)length);
    *out = 0;
    for (int64_t i = 0; i < count && used < sizeof out - 100; i++)
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%s/%d/%lld-%lld", i ? " " : "",
                                 selfc_tokenizer_token(tokenizer, tokens[i].id), tokens[i].word,
                                 (long long)tokens[i].from, (long long)tokens[i].to);
    free(tokens);
    return out;
}

static void expect_tokens(const SelfcTokenizer *tokenizer, const char *text, const char *want) {
    const char *got = tokens_text(tokenizer, text, strlen(text), true);
    EXPECT(!strcmp(got, want), "\"%s\" gives %s, not %s", text, got, want);
}

/* --- tokens --- */

static void check_uncased(void) {
    SelfcTokenizer *t = open_text("vocab.txt", pieces);
    EXPECT(t, "%s", selfc_failure());
    expect_tokens(t, "", "");
    expect_tokens(t, " \t\r\n", "");
    expect_tokens(t, "The capital of France is [MASK].",
                  "the/0/0-3 capital/1/4-11 of/2/12-14 france/3/15-21 is/4/22-24 [MASK]/5/25-31 ./6/31-32");
    expect_tokens(t, "UNAFFABLE unaffableS",
                  "un/0/0-2 ##aff/0/2-5 ##able/0/5-9 un/1/10-12 ##aff/1/12-15 ##able/1/15-19 ##s/1/19-20");
    expect_tokens(t, "Café cafe\u0301 CAFÉS", "cafe/0/0-5 cafe/1/6-10 cafe/2/13-18 ##s/2/18-19");
    expect_tokens(t, "don't", "don/0/0-3 '/1/3-4 t/2/4-5");
    expect_tokens(t, "a中文a", "a/0/0-1 中/1/1-4 文/2/4-7 a/3/7-8");
    expect_tokens(t, "a\u200ba\u00a0a\u3000\x07 a\ufffd\xff", "a/0/0-1 ##a/0/4-5 a/1/7-8 a/2/13-14");
    expect_tokens(t, "👍👍 👍🏽", "👍/0/0-4 ##👍/0/4-8 [UNK]/1/9-17");
    expect_tokens(t, "한", "ᄒ/0/0-3 ##ᅡ/0/0-3 ##ᆫ/0/0-3");
    expect_tokens(t, "qa a?a", "[UNK]/0/0-2 a/1/3-4 [UNK]/2/4-5 a/3/5-6");
    const char *got = tokens_text(t, "a[MASK]a", 8, false);
    EXPECT(!strcmp(got, "a/0/0-1 [UNK]/1/1-2 [UNK]/2/2-6 [UNK]/3/6-7 a/4/7-8"), "special tokens as text: %s", got);
    EXPECT(selfc_tokenizer_find(t, "[MASK]") == 4 && selfc_tokenizer_find(t, "nothing") == -1, "ids");
    EXPECT(selfc_tokenizer_is_special(t, 4) && !selfc_tokenizer_is_special(t, 5), "special tokens");
    EXPECT(selfc_tokenizer_continues(t, 15) && !selfc_tokenizer_continues(t, 14), "pieces that continue");
    EXPECT(selfc_tokenizer_size(t) == 31 && !selfc_tokenizer_token(t, 31) && !selfc_tokenizer_token(t, -1), "size");
    selfc_tokenizer_close(t);
}

/* A vocabulary with capitals is cased, unless the file beside it says otherwise. */
static void check_cased(void) {
    static const char cased[] = "[UNK]\nThe\nthe\nCafé\n";
    SelfcTokenizer *t = open_text("vocab.txt", cased);
    expect_tokens(t, "The the Café", "The/0/0-3 the/1/4-7 Café/2/8-13");
    selfc_tokenizer_close(t);
    write_file("tokenizer_config.json", "{\"do_lower_case\": true, \"other\": [{\"x\": null}, 1.5e3]}");
    t = open_text("vocab.txt", cased);
    expect_tokens(t, "The the", "the/0/0-3 the/1/4-7");
    selfc_tokenizer_close(t);
    write_file("tokenizer_config.json", "{\"do_lower_case\": maybe}");
    EXPECT(!open_text("vocab.txt", cased) && strstr(selfc_failure(), "true or false"), "%s", selfc_failure());
    unlink(in_folder("tokenizer_config.json"));
    t = open_text("vocab.txt", "[UNK]\nпривет\nПривет\n");
    expect_tokens(t, "Привет", "Привет/0/0-12");
    selfc_tokenizer_close(t);
    t = open_text("vocab.txt", "[UNK]\nпривет\n");
    expect_tokens(t, "Привет", "привет/0/0-12");
    selfc_tokenizer_close(t);
    t = open_text("vocab.txt", "[UNK]\nकु\nक\ncafé\n"); /* no capitals, but marks */
    expect_tokens(t, "कु Café", "कु/0/0-6 café/1/7-12");
    selfc_tokenizer_close(t);
    t = open_text("vocab.txt", "[UNK]\n한\n中\n\xFFÀ\n"); /* neither; the last is no text */
    expect_tokens(t, "É 中", "[UNK]/0/0-2 中/1/3-6");
    EXPECT(t && t->rules.lowers && t->rules.strips_accents, "Hangul is uncased");
    selfc_tokenizer_close(t);
}

/* What stands beside a vocab.txt: `said` NULL: it can be followed. */
static void expect_beside(const char *name, const char *text, const char *said) {
    static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n";
    write_file(name, text);
    SelfcTokenizer *t = open_text("vocab.txt", words);
    unlink(in_folder(name));
    EXPECT(said ? !t && strstr(selfc_failure(), said) : t != NULL, "%s: %s", text, t ? "is read" : selfc_failure());
    selfc_tokenizer_close(t);
}

#define EXPECT_CONFIG(text, said) expect_beside("tokenizer_config.json", text, said)

static void check_config(void) {
    EXPECT_CONFIG(
        "{\"do_lower_case\": true, \"unk_token\": \"[UNK]\", \"sep_token\": \"[SEP]\", \"mask_token\": {\"content\": "
        "\"[MASK]\", \"lstrip\": true, \"__type\": \"AddedToken\"}, \"strip_accents\": null, "
        "\"do_basic_tokenize\": true, \"never_split\": null, \"tokenizer_class\": \"BertTokenizer\"}",
        NULL);
    EXPECT_CONFIG("{\"tokenizer_class\": \"DistilBertTokenizerFast\", \"never_split\": [\"[UNK]\", \"[MASK]\"], "
                  "\"additional_special_tokens\": [], \"extra_special_tokens\": {}, \"added_tokens_decoder\": {\"4\": "
                  "{\"content\": \"[MASK]\", \"normalized\": false, \"special\": true}}}",
                  NULL);
    EXPECT_CONFIG("{\"tokenizer_class\": null}", NULL);
    EXPECT_CONFIG("{\"tokenizer_class\": \"BertJapaneseTokenizer\"}", "the tokenizer_class \"BertJapaneseTokenizer\"");
    EXPECT_CONFIG("{\"tokenizer_class\": \"Bert\"}", "the tokenizer_class \"Bert\" is not supported");
    EXPECT_CONFIG("{\"word_tokenizer_type\": \"mecab\"}",
                  "word_tokenizer_type \"mecab\" is not supported, only \"basic\"");
    EXPECT_CONFIG("{\"do_basic_tokenize\": false}", "do_basic_tokenize \"false\" is not supported");
    EXPECT_CONFIG("{\"never_split\": [\"the\"]}", "never_split \"the\" is not supported");
    EXPECT_CONFIG("{\"sep_token\": \"</s>\"}", "sep_token \"</s>\" is not supported, only \"[SEP]\"");
    EXPECT_CONFIG("{\"pad_token\": {\"content\": \"<pad>\"}}", "pad_token \"<pad>\" is not supported");
    EXPECT_CONFIG("{\"additional_special_tokens\": [\"<e>\"]}", "additional_special_tokens \"<e>\" is not supported");
    EXPECT_CONFIG("{\"added_tokens_decoder\": {\"6\": {\"content\": \"<e>\", \"normalized\": true}}}",
                  "the added token \"<e>\" has \"normalized\": true");
    EXPECT_CONFIG("{\"added_tokens_decoder\": {\"4\": {\"content\": \"<e>\"}}}",
                  "the id 4 of \"<e>\" is that of \"[MASK]\"");
    EXPECT_CONFIG("{\"added_tokens_decoder\": {\"x\": {}}}", "stands under its id");
    expect_beside("added_tokens.json", "{\"[MASK]\": 4, \"[PAD]\": 0}", NULL);
    expect_beside("added_tokens.json", "{}", NULL);
    expect_beside("added_tokens.json", "{\"<e>\": 6}", "the added token \"<e>\" is not supported");
    expect_beside("added_tokens.json", "{\"the\": 5}", "the added token \"the\" is not supported");
    expect_beside("added_tokens.json", "[]", "an object {…} must stand here");
    write_file("tokenizer_config.json",
               "{\"added_tokens_decoder\": {\"6\": {\"content\": \"<E>\", \"special\": true}}, "
               "\"additional_special_tokens\": [\"<E>\"]}");
    expect_beside("added_tokens.json", "{\"<E>\": 6}", NULL);
    SelfcTokenizer *t = open_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n");
    expect_tokens(t, "the<E>", "the/0/0-3 <E>/1/3-6");
    selfc_tokenizer_close(t);
    unlink(in_folder("tokenizer_config.json"));
}

static void check_long_words(void) {
    SelfcTokenizer *t = open_text("vocab.txt", pieces);
    enum { MOST = 100000 };
    char *text = malloc(MOST);
    memset(text, 'a', MOST);
    SelfcToken *tokens = malloc(MOST * sizeof *tokens);
    const int64_t lengths[] = {1, 99, 100, 101, 255, 256, 257, 1023, 1024, 1025, MOST};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int64_t count = selfc_tokenizer_encode(t, text, lengths[i], false, tokens, MOST);
        EXPECT(count == (lengths[i] <= 100 ? lengths[i] : 1), "%lld letters give %lld tokens", (long long)lengths[i],
               (long long)count);
        EXPECT(tokens[count - 1].to == lengths[i] && tokens[0].id == (lengths[i] <= 100 ? 23 : 1), "their place");
    }
    int64_t count = selfc_tokenizer_encode(t, text, 100, false, tokens, 7);
    EXPECT(count == 7 && tokens[6].to == 7, "the first 7 tokens: %lld", (long long)count);
    memcpy(text + 5, "\u0301", 2);
    EXPECT(selfc_tokenizer_encode(t, text, 8, false, tokens, 2) == 2, "a word that is not plain, cut off");
    free(tokens);
    free(text);
    selfc_tokenizer_close(t);
}

/* --- files --- */

static void expect_refused(const char *name, const char *text, const char *why) {
    SelfcTokenizer *t = open_text(name, text);
    EXPECT(!t && strstr(selfc_failure(), why), "%s is refused with \"%s\", not \"%s\"", text, t ? "" : selfc_failure(),
           why);
    selfc_tokenizer_close(t);
}

#define MODEL "\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"[UNK]\": 0, \"a\": 1, \"X\": 3}}"
#define SPLIT "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}"

static void check_files(void) {
    SelfcTokenizer *t =
        open_text("tokenizer.json", "{" MODEL "," SPLIT ", \"normalizer\": null, \"padding\": {\"x\": [[]]}}");
    EXPECT(t && selfc_tokenizer_size(t) == 4 && !selfc_tokenizer_token(t, 2), "ids with a gap: %s", selfc_failure());
    if (t) expect_tokens(t, "a X x", "a/0/0-1 X/1/2-3 [UNK]/2/4-5");
    selfc_tokenizer_close(t);
    expect_refused("tokenizer.json", "{" MODEL "}", "the pre_tokenizer \"null\" is not supported");
    expect_refused("tokenizer.json", "{" SPLIT "}", "there is no \"model\"");
    expect_refused("tokenizer.json", "{" SPLIT ", \"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", -1.5]]}}",
                   "the model \"Unigram\"");
    expect_refused("tokenizer.json", "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}",
                   "the model \"BPE\"");
    expect_refused("tokenizer.json", "{" MODEL "," SPLIT ", \"normalizer\": {\"type\": \"NFKC\"}}",
                   "the normalizer \"NFKC\"");
    expect_refused("tokenizer.json", "{" MODEL ", \"pre_tokenizer\": {\"type\": \"Metaspace\"}}",
                   "the pre_tokenizer \"Metaspace\"");
    expect_refused("tokenizer.json", "{" MODEL "," SPLIT ", \"decoder\": {\"type\": \"ByteLevel\"}}",
                   "the decoder \"ByteLevel\"");
    expect_refused("tokenizer.json", "{" MODEL "," SPLIT ", \"added_tokens\": [{\"id\": 1, \"content\": \"b\"}]}",
                   "is that of \"");
    expect_refused("tokenizer.json",
                   "{" MODEL "," SPLIT ", \"added_tokens\": [{\"id\": 9, \"content\": \"b\", \"lstrip\": true}]}",
                   "\"b\" has \"lstrip\" or \"rstrip\": true");
    expect_refused("tokenizer.json", "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 4294967296}}}",
                   "a token's id");
    expect_refused("tokenizer.json", "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}," SPLIT "}",
                   "\"[UNK]\", is not in the vocabulary");
    expect_refused(
        "tokenizer.json",
        "{\"model\": {\"type\": \"WordPiece\", \"max_input_chars_per_word\": 5000, \"vocab\": {\"[UNK]\": 0}}," SPLIT
        "}",
        "up to 5000 characters");
    expect_refused("tokenizer.json", "{" MODEL "," SPLIT ", \"added_tokens\": [{\"id\": 9, \"content\": \"a\"}]}",
                   "\"a\" has two ids, 1 and 9");
    expect_refused("tokenizer.json", "{" MODEL "," SPLIT, "',' or '}' must stand here");
    expect_refused("tokenizer.json", "{" MODEL "," SPLIT "} x", "something follows");
    expect_refused("tokenizer.json",
                   "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}, \"pre_tokenizer\": {\"type\": \"Split\"}, "
                   "\"added_tokens\": [{\"id\": 1, \"content\": \"[MASK]\"}]}",
                   "which a vocabulary of characters cannot have");
    expect_refused("tokenizer.json",
                   "{\"model\": {\"type\": \"BPE\", \"unk_token\": \"a\", \"vocab\": {\"a\": 0}}, "
                   "\"pre_tokenizer\": {\"type\": \"Split\"}}",
                   "for characters, the unk_token \"a\" is not supported");
    expect_refused("vocab.txt", "a\nb\n", "\"[UNK]\", is not in the vocabulary");
    expect_refused("vocab.txt", "", "there is no token in it");
    EXPECT(!selfc_tokenizer_open(in_folder("none.txt")) && strstr(selfc_failure(), "cannot read"), "%s",
           selfc_failure());
    EXPECT(!selfc_tokenizer_open(folder) && strstr(selfc_failure(), "neither a tokenizer.json nor a vocab.txt"), "%s",
           selfc_failure());
}

static void check_saving(void) {
    static const char text[] = "The capital of France [MASK] unaffable café 中文 👍👍 don't";
    SelfcTokenizer *t = open_text("vocab.txt", pieces);
    char before[4096];
    snprintf(before, sizeof before, "%s", tokens_text(t, text, strlen(text), true));
    EXPECT(!selfc_tokenizer_save(t, in_folder("tokenizer.json")), "%s", selfc_failure());
    EXPECT(!selfc_tokenizer_save_lines(t, in_folder("vocab.txt")), "%s", selfc_failure());
    SelfcTokenizer *again = selfc_tokenizer_open(folder), *lines = selfc_tokenizer_open(in_folder("vocab.txt"));
    size_t size[3];
    const void *tables[] = {selfc_tokenizer_tables(t, &size[0]), selfc_tokenizer_tables(again, &size[1]),
                            selfc_tokenizer_tables(lines, &size[2])};
    for (int i = 1; i < 3; i++)
        EXPECT(size[i] == size[0] && !memcmp(tables[i], tables[0], size[0]), "what was saved is the same, %d", i);
    EXPECT(!strcmp(before, tokens_text(again, text, strlen(text), true)), "tokens after saving");
    selfc_tokenizer_close(t);
    selfc_tokenizer_close(again);
    selfc_tokenizer_close(lines);
    unlink(in_folder("tokenizer.json"));
    unlink(in_folder("vocab.txt"));
}

/* --- pieces of a text, and back --- */

static void check_cuts(const SelfcTokenizer *t, const char *text, int64_t length) {
    SelfcToken *whole = malloc((size_t)(length + 1) * sizeof *whole),
               *parts = malloc((size_t)(length + 1) * sizeof *parts);
    int64_t count = selfc_tokenizer_encode(t, text, length, true, whole, length);
    for (int64_t piece = 1; piece <= length; piece++) {
        int64_t cut = selfc_tokenizer_cut(t, text, piece);
        EXPECT(cut <= piece && cut >= 0, "a cut at %lld of %lld", (long long)cut, (long long)piece);
        int64_t first = selfc_tokenizer_encode(t, text, cut, true, parts, cut);
        int64_t rest = selfc_tokenizer_encode(t, text + cut, length - cut, true, parts + first, length - cut);
        EXPECT(first + rest == count, "cut at %lld: %lld + %lld tokens, not %lld", (long long)cut, (long long)first,
               (long long)rest, (long long)count);
        for (int64_t i = 0; i < count; i++)
            EXPECT(parts[i].id == whole[i].id && parts[i].from + (i < first ? 0 : cut) == whole[i].from, "token %lld",
                   (long long)i);
    }
    free(whole);
    free(parts);
}

static void check_pieces(void) {
    static const char text[] =
        "The café\u0301 [MASK] \u302e\u0301a\u302f 中\xe4\xb8 \xf0\x9f\x91 👍👍\x80\x80\x80\x80\x80\x80 \xff end";
    SelfcTokenizer *t = open_text("vocab.txt", pieces),
                   *characters = selfc_tokenizer_of_characters(text, sizeof text - 1);
    check_cuts(t, text, sizeof text - 1);
    check_cuts(characters, text, sizeof text - 1);
    EXPECT(selfc_tokenizer_cut(t, "abc", 3) == 0, "a word is not cut");
    selfc_tokenizer_close(t);
    selfc_tokenizer_close(characters);
}

static void expect_text(const SelfcTokenizer *t, const int32_t *ids, int64_t count, bool specials, const char *want) {
    char *text = selfc_tokenizer_decode(t, ids, count, specials);
    EXPECT(!strcmp(text, want), "decoded \"%s\", not \"%s\"", text, want);
    free(text);
}

static void check_decoding(void) {
    SelfcTokenizer *t = open_text("vocab.txt", pieces);
    expect_text(t, (int32_t[]){2, 14, 15, 16, 11, 17, 12, 18, 10, 3}, 10, false, "unaffable, don ' t.");
    expect_text(t, (int32_t[]){2, 5, 4, 3}, 4, true, "[CLS] the [MASK] [SEP]");
    expect_text(t, (int32_t[]){15, 15, -1, 99}, 4, false, "##affaff");
    expect_text(t, NULL, 0, false, "");
    selfc_tokenizer_close(t);
}

static void check_characters(void) {
    SelfcTokenizer *t = selfc_tokenizer_of_characters("hé a\nh\xff", 8);
    EXPECT(selfc_tokenizer_size(t) == 6 && selfc_tokenizer_is_characters(t), "6 characters");
    expect_tokens(t, "ah ?é", "a/0/0-1 h/1/1-2  /2/2-3 é/3/4-6");
    EXPECT(selfc_tokenizer_find(t, "\n") == 0 && selfc_tokenizer_find(t, "\ufffd") == 5, "in order of code points");
    expect_text(t, (int32_t[]){3, 1, 4, 0}, 4, false, "h é\n");
    EXPECT(!selfc_tokenizer_save(t, in_folder("tokenizer.json")), "%s", selfc_failure());
    SelfcTokenizer *again = selfc_tokenizer_open(folder);
    EXPECT(again && selfc_tokenizer_size(again) == 6 && selfc_tokenizer_is_characters(again), "%s", selfc_failure());
    expect_tokens(again, "é\xc3", "é/0/0-2 \ufffd/1/2-3");
    EXPECT(selfc_tokenizer_save_lines(t, in_folder("vocab.txt")) == -1, "characters are no lines");
    EXPECT(!selfc_tokenizer_of_characters("", 0) && strstr(selfc_failure(), "no token"), "%s", selfc_failure());
    selfc_tokenizer_close(t);
    selfc_tokenizer_close(again);
    unlink(in_folder("tokenizer.json"));
}

/* --- training --- */

static void check_training(void) {
    static const char text[] =
        "low low low low low lower lower newest newest newest newest newest newest widest widest widest é";
    static const char want[] = "[PAD] [UNK] [CLS] [SEP] [MASK] d e i l n o r s t w ##d ##e ##i ##o ##r ##s ##t ##w "
                               "##es ##est lo low ne ##west newest wi ##dest widest ##er lower";
    SelfcWords *words = selfc_words_new(false);
    EXPECT(!selfc_words_train(words, 100) && strstr(selfc_failure(), "no words"), "%s", selfc_failure());
    EXPECT(!selfc_words_add(words, text, sizeof text - 1), "%s", selfc_failure());
    EXPECT(!selfc_words_train(words, 20) && strstr(selfc_failure(), "too small"), "%s", selfc_failure());
    SelfcTokenizer *t = selfc_words_train(words, 1000), *few = selfc_words_train(words, 25);
    char got[1024] = "";
    for (int32_t id = 0; id < selfc_tokenizer_size(t); id++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", id ? " " : "", selfc_tokenizer_token(t, id));
    EXPECT(!strcmp(got, want), "trained %s\nnot     %s", got, want);
    EXPECT(selfc_tokenizer_size(few) == 25, "as many tokens as wanted: %lld", (long long)selfc_tokenizer_size(few));
    expect_tokens(t, "Lowest é", "low/0/0-3 ##est/0/3-6 e/1/7-9");
    selfc_tokenizer_close(t);
    selfc_tokenizer_close(few);
    selfc_words_free(words);
}

/* --- tables --- */

/* They may be moved, and say what they are. */
static void check_tables(void) {
    SelfcTokenizer *t = open_text("vocab.txt", pieces);
    size_t size;
    const SelfcTables *tables = selfc_tokenizer_tables(t, &size);
    EXPECT(tables->magic == TOKENIZE_MAGIC && tables->version == TOKENIZE_VERSION && tables->size == size, "the head");
    SelfcTables *moved = malloc(size);
    memcpy(moved, tables, size);
    selfc_tokenizer_close(t);
    SelfcToken tokens[8];
    EXPECT(selfc_tokenize(moved, "Unaffable 한!", 14, 1, tokens, 8) == 7 && tokens[2].id == 16 && tokens[6].id == 1,
           "a copy works");
    free(moved);
}

/* What becomes of every code point, summed up: BERT's rules, uncased and cased. */
static void check_unicode(void) {
    if (strcmp(utf8proc_unicode_version(), "15.0.0")) {
        printf("the sum over all code points is known for Unicode 15.0.0, not for %s\n", utf8proc_unicode_version());
        return;
    }
    static const uint64_t want[] = {0xc07307fc340781af, 0x663f43dd1c4b82e0};
    UnicodeTable *table = unicode_table_new();
    for (int is_cased = 0; is_cased < 2; is_cased++) {
        TextRules rules = {.cleans = true, .splits_ideographs = true, .strips_accents = !is_cased, .lowers = !is_cased};
        uint64_t sum = 0;
        for (uint32_t code = 0; code < UNICODE_CODES; code++) {
            UnicodeMeaning meaning = unicode_meaning(table, &rules, code);
            sum = (sum ^ meaning.class) * 1099511628211u + meaning.count;
            for (uint32_t i = 0; i < meaning.count; i++) {
                uint32_t left = meaning.unit[i] & 0x1FFFFF;
                sum = (sum ^ meaning.unit[i]) * 1099511628211u;
                EXPECT(is_cased || (!unicode_is_capital(left) && !unicode_has_accent(table, left)),
                       "of U+%X the uncased rules leave U+%X", code, left);
            }
            if (unicode_is_uniform(code & ~63u)) {
                UnicodeMeaning first = unicode_meaning(table, &rules, code & ~63u);
                EXPECT(meaning.class == first.class && meaning.count == first.count, "U+%X is as its block", code);
            }
        }
        EXPECT(sum == want[is_cased], "the sum is 0x%llx", (unsigned long long)sum);
    }
    free(table);
}

/* An id without a token takes a line in either file of lines, so that those behind it keep theirs. */
static void check_holes(void) {
    SelfcTokenizer *t = open_text("tokenizer.json", "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"[UNK]\": 0, "
                                                    "\"a\": 3}}, \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}");
    for (int parts = 0; parts < 2; parts++) {
        int failed =
            parts ? selfc_tokenizer_save_parts(t, folder, 512) : selfc_tokenizer_save_lines(t, in_folder("vocab.txt"));
        EXPECT(!failed, "%s", selfc_failure());
        SelfcTokenizer *again = selfc_tokenizer_open(in_folder("vocab.txt"));
        EXPECT(again && selfc_tokenizer_find(again, "a") == 3 && selfc_tokenizer_find(again, "[unused-2]") == 2,
               "holes, %d: %s", parts, selfc_failure());
        selfc_tokenizer_close(again);
        unlink(in_folder("vocab.txt"));
    }
    unlink(in_folder("tokenizer_config.json"));
    selfc_tokenizer_close(t);
}

/* --- rows --- */

/* "id:segment … | count mask" of a row with room for so many. */
static void expect_row(const SelfcTokenizer *tokenizer, const char *text, const char *pair, bool has_specials,
                       int64_t room, const char *want) {
    SelfcMarks marks = selfc_tokenizer_marks(tokenizer);
    SelfcToken *tokens = malloc((size_t)room * sizeof *tokens);
    int32_t *ids = malloc((size_t)room * sizeof *ids), *segments = malloc((size_t)room * sizeof *segments), mask;
    size_t size, used = 0;
    int64_t count = selfc_text_row(selfc_tokenizer_tables(tokenizer, &size), &marks, text, (int64_t)strlen(text), pair,
                                   pair ? (int64_t)strlen(pair) : 0, has_specials, room, tokens, ids, segments, &mask);
    char got[256];
    for (int64_t i = 0; i < room; i++)
        used += (size_t)snprintf(got + used, sizeof got - used, "%d:%d ", ids[i], segments[i]);
    snprintf(got + used, sizeof got - used, "| %lld %d", (long long)count, mask);
    EXPECT(!strcmp(got, want), "\"%s\" gives the row %s, not %s", text, got, want);
    for (int64_t i = 0; i < count; i++) {
        bool is_mark = ids[i] == marks.begin || ids[i] == marks.end;
        EXPECT(tokens[i].id == ids[i] && (tokens[i].from < 0) == is_mark, "token %lld of a row", (long long)i);
    }
    free(tokens);
    free(ids);
    free(segments);
}

/* Whatever the room: a [MASK] is found wherever it stands, in one piece or behind many. */
static void expect_mask(const SelfcTokenizer *t, const char *text, bool want) {
    size_t size;
    SelfcToken tokens[8];
    for (int64_t room = 1; room <= 8; room++) {
        bool has = selfc_text_has(selfc_tokenizer_tables(t, &size), selfc_tokenizer_marks(t).mask, text,
                                  text ? (int64_t)strlen(text) : 9, tokens, room);
        EXPECT(has == want, "\"%s\" with room for %lld: %d", text ? text : "nothing", (long long)room, has);
    }
}

static void check_rows(void) {
    SelfcTokenizer *t = open_text("vocab.txt", pieces);
    expect_mask(t, NULL, false);
    expect_mask(t, "", false);
    expect_mask(t, "[MASK]", true);
    expect_mask(t, "the capital of the of the, of the the [MAS K]", false);
    expect_mask(t, "the capital of the of the, of the the [MASK]", true);
    expect_mask(t, "capitalcapitalcapitals[MASK]the", true);
    expect_row(t, "", NULL, true, 3, "2:0 3:0 0:0 | 2 -1");
    expect_row(t, "the", NULL, true, 3, "2:0 5:0 3:0 | 3 -1");
    expect_row(t, "the capital", NULL, true, 3, "2:0 5:0 3:0 | 3 -1");
    expect_row(t, "the", NULL, true, 1, "2:0 | 1 -1");
    expect_row(t, "the", "of", true, 5, "2:0 5:0 3:0 7:1 3:1 | 5 -1");
    expect_row(t, "the", "of", true, 2, "2:0 3:0 | 2 -1"); /* not even room for all marks */
    expect_row(t, "the", "of", true, 3, "2:0 3:0 3:1 | 3 -1");
    expect_row(t, "the", "", true, 5, "2:0 5:0 3:0 3:1 0:0 | 4 -1");
    expect_row(t, "the the the", "of", true, 6, "2:0 5:0 5:0 3:0 7:1 3:1 | 6 -1");
    expect_row(t, "the", "of of of", true, 6, "2:0 5:0 3:0 7:1 7:1 3:1 | 6 -1");
    expect_row(t, "the the the", "of of of", true, 6, "2:0 5:0 5:0 3:0 7:1 3:1 | 6 -1");
    expect_row(t, "the [MASK]", NULL, true, 5, "2:0 5:0 4:0 3:0 0:0 | 4 2");
    expect_row(t, "[MASK]", NULL, false, 5, "2:0 1:0 1:0 1:0 3:0 | 5 -1");
    selfc_tokenizer_close(t);
    t = open_text("vocab.txt", "[UNK]\n[CLS]\nthe\n"); /* [CLS] alone marks nothing, as in training */
    expect_row(t, "the", NULL, true, 3, "2:0 0:0 0:0 | 1 -1");
    expect_row(t, "the", "the", true, 3, "2:0 2:1 0:0 | 2 -1");
    selfc_tokenizer_close(t);
}

int main(void) {
    snprintf(folder, sizeof folder, "/tmp/selfc-tokenizer-XXXXXX");
    if (!mkdtemp(folder)) return 1;
    check_uncased();
    check_cased();
    check_config();
    check_long_words();
    check_files();
    check_saving();
    check_pieces();
    check_decoding();
    check_characters();
    check_training();
    check_holes();
    check_rows();
    check_tables();
    check_unicode();
    rmdir(folder);
    return expect_failures();
}
