/* From text to the token cache. Pieces are read one after another, tokenised side by side, and written in their order,
 * so the file does not depend on threads; no more than a piece for each is in memory.
 *
 * Streams: the files' tokens, with a [SEP] where one file ends and the next begins, if the tokenizer has that (as
 * FULL-SENTENCES in RoBERTa, Liu and others 2019, section 4.2). Lines, and the beginnings of documents: a record each;
 * those without any token are none. How many of them were longer than a sample is counted. */
#include "runtime/data/text_tokens.h"
#include "runtime/data/text_reader.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_DOCUMENTS = 64 /* that a thread does at a time */ };

/* What one thread works on, and what comes of it. */
typedef struct {
    TextPiece piece;
    int64_t first, end; /* documents: their numbers */
    SelfcToken *tokens;
    int64_t room;
    TextUnits out;
    char *failure;                /* a text that is owned; NULL: all went well */
    int64_t bad_file, bad_offset; /* where `reason` belongs to */
    char reason[TEXT_REASON];
} TextJob;

typedef struct {
    const TextPlan *plan;
    TextUnit unit;
    const TextFiles *files;
    TextJob *jobs;
    int job_count, used;
} TextWork;

static void text_reserve_tokens(TextJob *job, int64_t room) {
    if (job->room >= room) return;
    free(job->tokens);
    job->tokens = malloc((size_t)room * sizeof *job->tokens);
    if (!job->tokens) abort();
    job->room = room;
}

static int64_t text_cut_words(const void *context, const char *text, int64_t length) {
    return selfc_tokenizer_cut(context, text, length);
}

/* --- on a thread --- */

static bool text_is_utf8(TextJob *job, const TextPiece *piece, int64_t file) {
    job->bad_file = file;
    return text_check_utf8(piece, &job->bad_offset, job->reason);
}

static void text_do_stream(const TextWork *work, TextJob *job) {
    if (!text_is_utf8(job, &job->piece, job->piece.file)) return;
    text_reserve_tokens(job, job->piece.length);
    int64_t count = selfc_tokenizer_encode(work->plan->tokenizer, job->piece.text, job->piece.length, false,
                                           job->tokens, job->piece.length);
    text_put_ids(work->plan, &job->out, job->tokens, count);
    bool is_between = job->piece.ends_file && job->piece.file + 1 < work->files->count && work->plan->has_specials;
    if (is_between) text_put_ids(work->plan, &job->out, &(SelfcToken){.id = work->plan->end}, 1);
}

/* A record without a token of the text is no sample, unless it says something else. */
static void text_drop_empty(const TextWork *work, TextUnits *out, int64_t begin) {
    if (work->plan->kind == TEXT_plain && out->count > begin && !out->units[begin]) out->count = begin;
}

static void text_do_lines(const TextWork *work, TextJob *job) {
    if (!text_is_utf8(job, &job->piece, job->piece.file)) return;
    text_reserve_tokens(job, work->plan->length + 1);
    const char *line;
    int64_t length;
    for (int64_t at = 0; text_next_line(&job->piece, &at, &line, &length);) {
        int64_t begin = job->out.count;
        job->bad_offset = job->piece.offset + (line - job->piece.text);
        if (!text_line_encode(work->plan, line, length, job->tokens, &job->out, job->reason)) return;
        text_drop_empty(work, &job->out, begin);
    }
}

/* Reads on until the sample is full, and something is left. */
static bool text_do_document(const TextWork *work, TextJob *job, int64_t number) {
    TextFiles alone = {.files = &work->files->files[number], .count = 1};
    TextReader reader;
    int64_t body = text_body(work->plan), count = 0, begin = job->out.count;
    bool is_fine = true, is_cut = false;
    *text_units_add(&job->out, 1) = 0;
    text_reader_begin(&reader, &alone, text_cut_words, work->plan->tokenizer, "a place between words");
    while (is_fine && !is_cut) {
        is_fine = text_reader_next(&reader, &job->piece);
        if (!is_fine) job->failure = strdup(selfc_failure());
        if (!is_fine || !job->piece.length) break;
        is_fine = text_is_utf8(job, &job->piece, number);
        int64_t more =
            is_fine ? text_encode(work->plan, job->piece.text, job->piece.length, job->tokens, body - count, &is_cut)
                    : 0;
        text_put_ids(work->plan, &job->out, job->tokens, more);
        count += more;
    }
    text_reader_end(&reader);
    job->out.units[begin] = (uint16_t)count;
    job->out.cut += is_cut;
    text_drop_empty(work, &job->out, begin);
    return is_fine;
}

static void text_do_documents(const TextWork *work, TextJob *job) {
    text_reserve_tokens(job, work->plan->length + 1);
    for (int64_t i = job->first; i < job->end; i++)
        if (!text_do_document(work, job, i)) return;
}

static void text_do(void *context, int thread, int threads) {
    const TextWork *work = context;
    (void)threads;
    if (thread >= work->used) return;
    TextJob *job = &work->jobs[thread];
    job->out.count = job->out.cut = job->out.lost = 0;
    if (work->unit == UNIT_stream) text_do_stream(work, job);
    if (work->unit == UNIT_line) text_do_lines(work, job);
    if (work->unit == UNIT_document) text_do_documents(work, job);
}

/* --- in order --- */

static bool text_write_jobs(const TextWork *work, TokenWriter *writer) {
    for (int i = 0; i < work->used; i++) {
        const TextJob *job = &work->jobs[i];
        if (job->failure) return selfc_fail("%s", job->failure), false;
        if (*job->reason) return text_fail_at(&work->files->files[job->bad_file], job->bad_offset, job->reason);
        if (work->unit == UNIT_stream) token_writer_put(writer, job->out.units, job->out.count);
        writer->head.cut += job->out.cut;
        writer->head.lost += job->out.lost;
        int64_t fixed = 1 + writer->head.extra, width = writer->head.width;
        for (int64_t at = 0; work->unit != UNIT_stream && at < job->out.count; at += fixed + width * job->out.units[at])
            token_writer_put_record(writer, job->out.units + at);
    }
    return true;
}

/* Gives each job something to do; used 0: nothing is left. */
static bool text_next_pieces(TextWork *work, TextReader *reader) {
    for (work->used = 0; work->used < work->job_count; work->used++) {
        TextPiece *piece = &work->jobs[work->used].piece;
        if (!text_reader_next(reader, piece)) return false;
        if (!piece->length) break;
    }
    return true;
}

static void text_next_documents(TextWork *work, int64_t *next) {
    int64_t count = work->files->count;
    for (work->used = 0; work->used < work->job_count && *next < count; work->used++) {
        TextJob *job = &work->jobs[work->used];
        job->first = *next;
        *next = job->end = count - *next < TEXT_DOCUMENTS ? count : *next + TEXT_DOCUMENTS;
    }
}

static bool text_run(TextWork *work, TokenWriter *writer, SelfcPool *pool) {
    TextReader reader;
    bool is_stream = work->unit == UNIT_stream, is_fine = true;
    int64_t next = 0;
    text_reader_begin(&reader, work->files, is_stream ? text_cut_words : text_cut_lines, work->plan->tokenizer,
                      is_stream ? "a place between words" : "the end of a line");
    do {
        if (work->unit == UNIT_document)
            text_next_documents(work, &next);
        else
            is_fine = text_next_pieces(work, &reader);
        if (pool && work->used > 1)
            selfc_pool_run(pool, text_do, work);
        else if (work->used)
            text_do(work, 0, 1);
        is_fine = is_fine && text_write_jobs(work, writer);
    } while (is_fine && work->used);
    text_reader_end(&reader);
    return is_fine;
}

bool text_tokenise(const TextPlan *plan, TextUnit unit, const TextFiles *files, TokenWriter *writer) {
    enum { WORTH_THREADS = 1 << 18 }; /* bytes */
    SelfcPool *pool = text_files_bytes(files) > WORTH_THREADS ? selfc_pool_new(0) : NULL;
    TextWork work = {.plan = plan, .unit = unit, .files = files, .job_count = pool ? selfc_pool_threads(pool) : 1};
    work.jobs = calloc((size_t)work.job_count, sizeof *work.jobs);
    if (!work.jobs) abort();
    bool is_fine = text_run(&work, writer, pool);
    for (int i = 0; i < work.job_count; i++) {
        free(work.jobs[i].piece.text);
        free(work.jobs[i].tokens);
        free(work.jobs[i].out.units);
        free(work.jobs[i].failure);
    }
    free(work.jobs);
    selfc_pool_free(pool);
    return is_fine;
}
