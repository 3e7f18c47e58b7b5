/* A tokenizer.json, as the Python package `tokenizers` writes and reads it. */
#include "runtime/text/internal.h"

#include "runtime/data/file.h"
#include "runtime/data/json_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *save_bool(bool value) { return value ? "true" : "false"; }

static void save_string(FileWriter *writer, const char *text) { json_put_string(writer->out, text); }

static void save_added(const SelfcTokenizer *tokenizer, FileWriter *writer) {
    file_print(writer, "  \"added_tokens\": [");
    for (uint32_t i = 0; i < tokenizer->added_count; i++) {
        const AddedToken *added = &tokenizer->added[i];
        file_print(writer, "%s\n    {\"id\": %d, \"content\": ", i ? "," : "", added->id);
        save_string(writer, tokenizer->vocabulary.token[added->id]);
        file_print(writer,
                   ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                   "\"special\": %s}",
                   save_bool(added->is_special));
    }
    file_print(writer, "%s],\n", tokenizer->added_count ? "\n  " : "");
}

static void save_vocabulary(const SelfcTokenizer *tokenizer, FileWriter *writer) {
    bool is_first = true;
    file_print(writer, "\"vocab\": {");
    for (int32_t id = 0; id < tokenizer->vocabulary.size; id++) {
        const char *token = tokenizer->vocabulary.token[id];
        if (!token || selfc_tokenizer_find(tokenizer, token) != id) continue;
        file_print(writer, "%s\n      ", is_first ? "" : ",");
        save_string(writer, token);
        file_print(writer, ": %d", id);
        is_first = false;
    }
    file_print(writer, "\n    }");
}

static void save_characters(const SelfcTokenizer *tokenizer, FileWriter *writer) {
    file_print(writer, "  \"normalizer\": null,\n"
                       "  \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[\\\\s\\\\S]\"}, "
                       "\"behavior\": \"Isolated\", \"invert\": false},\n"
                       "  \"post_processor\": null,\n"
                       "  \"decoder\": {\"type\": \"Fuse\"},\n"
                       "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                       "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
                       "\"byte_fallback\": false, \"ignore_merges\": false, \"merges\": [],\n    ");
    save_vocabulary(tokenizer, writer);
}

/* [CLS] text [SEP], and for pairs a second text and [SEP], as BERT wants it. */
static void save_template(int32_t cls, int32_t sep, FileWriter *writer) {
    static const char first[] = "{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}, "
                                "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                                "{\"SpecialToken\": {\"id\": \"[SEP]\", \"type_id\": 0}}";
    file_print(writer, "  \"post_processor\": {\"type\": \"TemplateProcessing\",\n    \"single\": [%s],\n", first);
    file_print(writer,
               "    \"pair\": [%s, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}, {\"SpecialToken\": {\"id\": "
               "\"[SEP]\", \"type_id\": 1}}],\n",
               first);
    file_print(writer,
               "    \"special_tokens\": {\"[CLS]\": {\"id\": \"[CLS]\", \"ids\": [%d], \"tokens\": [\"[CLS]\"]}, "
               "\"[SEP]\": {\"id\": \"[SEP]\", \"ids\": [%d], \"tokens\": [\"[SEP]\"]}}},\n",
               cls, sep);
}

static void save_pieces(const SelfcTokenizer *tokenizer, FileWriter *writer) {
    const TextRules *rules = &tokenizer->rules;
    int32_t cls = selfc_tokenizer_find(tokenizer, "[CLS]"), sep = selfc_tokenizer_find(tokenizer, "[SEP]");
    file_print(writer,
               "  \"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": %s, \"handle_chinese_chars\": %s, "
               "\"strip_accents\": %s, \"lowercase\": %s},\n  \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},\n",
               save_bool(rules->cleans), save_bool(rules->splits_ideographs), save_bool(rules->strips_accents),
               save_bool(rules->lowers));
    if (cls >= 0 && sep >= 0)
        save_template(cls, sep, writer);
    else
        file_print(writer, "  \"post_processor\": null,\n");
    file_print(writer, "  \"decoder\": {\"type\": \"WordPiece\", \"prefix\": ");
    save_string(writer, tokenizer->prefix);
    file_print(writer, ", \"cleanup\": %s},\n  \"model\": {\"type\": \"WordPiece\", \"unk_token\": ",
               save_bool(tokenizer->cleans_decoded));
    save_string(writer, tokenizer->unknown_token);
    file_print(writer, ", \"continuing_subword_prefix\": ");
    save_string(writer, tokenizer->prefix);
    file_print(writer, ", \"max_input_chars_per_word\": %lld,\n    ", (long long)tokenizer->most_characters);
    save_vocabulary(tokenizer, writer);
}

static void save_all(const SelfcTokenizer *tokenizer, FileWriter *writer) {
    file_print(writer, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    save_added(tokenizer, writer);
    if (tokenizer->rules.is_characters)
        save_characters(tokenizer, writer);
    else
        save_pieces(tokenizer, writer);
    file_print(writer, "\n  }\n}\n");
}

int selfc_tokenizer_save(const SelfcTokenizer *tokenizer, const char *path) {
    FileWriter writer;
    if (!file_begin(&writer, path)) return -1;
    save_all(tokenizer, &writer);
    return file_commit(&writer);
}

char *selfc_tokenizer_json(const SelfcTokenizer *tokenizer) {
    char *text = NULL;
    size_t size = 0;
    FileWriter writer = {.out = open_memstream(&text, &size)};
    if (writer.out) save_all(tokenizer, &writer);
    if (writer.out && fclose(writer.out)) writer.error = errno;
    if (writer.out && !writer.error && text) return text;
    selfc_fail("no memory for the text of a tokenizer");
    free(text);
    return NULL;
}

/* An id without a token takes a line, too, so that those behind it keep theirs. */
int selfc_tokenizer_save_lines(const SelfcTokenizer *tokenizer, const char *path) {
    FileWriter writer;
    if (tokenizer->rules.is_characters) {
        selfc_fail("%s: a vocabulary of characters is no list of lines; tokenizer.json holds it", path);
        return -1;
    }
    if (!file_begin(&writer, path)) return -1;
    for (int32_t id = 0; id < tokenizer->vocabulary.size; id++) {
        const char *token = selfc_tokenizer_token(tokenizer, id);
        if (token)
            file_print(&writer, "%s\n", token);
        else
            file_print(&writer, "[unused-%d]\n", id);
    }
    return file_commit(&writer);
}
