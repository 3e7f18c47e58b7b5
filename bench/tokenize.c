/* selfc's side of the workload `tokenize`: `bench_tokenize VOCABULARY TEXT`. Speaks as worker.c does; a run encodes
 * every line of the text, and "ready" says how long opening the vocabulary took. */
#include "runtime/data/data.h"
#include "runtime/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int64_t encode_lines(const SelfcTokenizer *tokenizer, const char *text, size_t size, SelfcToken *tokens) {
    int64_t count = 0;
    for (size_t at = 0; at < size;) {
        const char *line = text + at, *feed = memchr(line, '\n', size - at);
        size_t length = feed ? (size_t)(feed - line) : size - at;
        count += selfc_tokenizer_encode(tokenizer, line, (int64_t)length, true, tokens, (int64_t)size);
        at += length + 1;
    }
    return count;
}

int main(int argc, char **argv) {
    void *text;
    size_t size;
    long runs;
    if (argc != 3) return fprintf(stderr, "usage: bench_tokenize VOCABULARY TEXT\n"), 2;
    double begin = seconds_now();
    SelfcTokenizer *tokenizer = selfc_tokenizer_open(argv[1]);
    double ready = seconds_now() - begin;
    SelfcToken *tokens = NULL;
    if (tokenizer && !selfc_file_read(argv[2], &text, &size)) tokens = malloc((size + 1) * sizeof *tokens);
    if (!tokens) return fprintf(stderr, "bench_tokenize: %s\n", selfc_failure()), 1;
    printf("ready %.6f\n", ready);
    fflush(stdout);
    while (scanf("%ld", &runs) == 1) {
        begin = seconds_now();
        for (long i = 0; i < runs; i++) encode_lines(tokenizer, text, size, tokens);
        printf("%.9f\n", seconds_now() - begin);
        fflush(stdout);
    }
    free(tokens);
    free(text);
    selfc_tokenizer_close(tokenizer);
    return 0;
}
