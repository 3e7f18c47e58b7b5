/* The words of texts, for a vocabulary: of a file all, of a folder those that would be trained on. Of JSON lines
 * question and context count as they read: keys, numbers and escapes of the JSON are no words of the text. */
#include "runtime/data/file.h"
#include "runtime/data/text_lines.h"
#include "runtime/data/text_reader.h"

#include <stdlib.h>
#include <string.h>

static int64_t words_cut(const void *words, const char *text, int64_t length) {
    return selfc_words_cut(words, text, length);
}

static bool words_add_text(SelfcWords *words, const char *text) {
    return !selfc_words_add(words, text, (int64_t)strlen(text));
}

/* Of one line; false after selfc_fail. */
static bool words_add_question(SelfcWords *words, const TextFile *file, int64_t offset, const char *line,
                               int64_t length) {
    QuestionLine question = {0};
    char reason[TEXT_REASON];
    bool is_fine = text_read_question(line, length, &question, reason);
    if (!is_fine) text_fail_at(file, offset, reason);
    is_fine = is_fine && words_add_text(words, question.question) && words_add_text(words, question.context);
    question_free(&question);
    return is_fine;
}

static bool words_add_questions(SelfcWords *words, const TextFile *file, const TextPiece *piece) {
    const char *line;
    char reason[TEXT_REASON];
    int64_t length, offset;
    if (!text_check_utf8(piece, &offset, reason)) return text_fail_at(file, offset, reason);
    for (int64_t at = 0; text_next_line(piece, &at, &line, &length);)
        if (!words_add_question(words, file, piece->offset + (line - piece->text), line, length)) return false;
    return true;
}

static bool words_read(SelfcWords *words, const TextFiles *files) {
    TextReader reader;
    TextPiece piece = {0};
    bool is_json = files->is_json, is_fine;
    text_reader_begin(&reader, files, is_json ? text_cut_lines : words_cut, words,
                      is_json ? "the end of a line" : "a place between words");
    while ((is_fine = text_reader_next(&reader, &piece)) && piece.length) {
        is_fine = is_json ? words_add_questions(words, &files->files[piece.file], &piece)
                          : !selfc_words_add(words, piece.text, piece.length);
        if (!is_fine) break;
    }
    text_reader_end(&reader);
    free(piece.text);
    return is_fine;
}

int selfc_text_words(SelfcWords *words, const char *path) {
    TextFiles files;
    bool is_fine =
        text_files_find(&files, path, SELFC_TRAIN, UNIT_stream, !file_is_folder(path)) && words_read(words, &files);
    text_files_free(&files);
    return is_fine ? 0 : -1;
}
