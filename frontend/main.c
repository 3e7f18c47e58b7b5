/* The command line: a thin client of the public API, which is all that it includes besides its own options.
 *
 * One function for each command of options.def; results go to stdout, messages to stderr. The exit code is 0, 1 after
 * an error, 2 for a mistake on the command line, 130 after Ctrl-C. */
#include "frontend/main.h"

#include <stdlib.h>
#include <string.h>

static int main_fail(void) {
    fprintf(stderr, "%s\n", selfc_error());
    return 1;
}

/* A full disk shows when the buffer is written at last. */
static int main_finish(int code) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    perror("selfc: stdout");
    return 1;
}

static SelfcOptions main_options(const Options *o) {
    return (SelfcOptions){.size = sizeof(SelfcOptions),
                          .sets = o->set.item,
                          .set_count = o->set.count,
                          .data = o->data,
                          .cpu = o->cpu,
                          .triple = o->target,
                          .cache = o->no_cache ? "" : o->cache,
                          .threads = o->threads > 1 << 20 ? 1 << 20 : (int)o->threads,
                          .seed = o->seed.value,
                          .has_seed = o->seed.is_given,
                          .times = o->times,
                          .check_meaning = o->check_meaning,
                          .dump = o->dump,
                          .untuned = o->untuned,
                          .memory = o->memory,
                          .notes = !o->quiet};
}

SelfcModel *main_open(const Options *o) {
    SelfcOptions options = main_options(o);
    if (options.threads > selfc_cpus())
        fprintf(stderr, "selfc: note: %d threads share %d CPU%s\n", options.threads, selfc_cpus(),
                selfc_cpus() == 1 ? "" : "s");
    SelfcModel *model = selfc_open_file(o->positional[0], &options);
    if (!model) main_fail();
    return model;
}

int main_close(SelfcModel *model, int failed) {
    if (failed == 1) main_fail();
    selfc_close(model);
    return failed;
}

static int main_check(const Options *o) {
    SelfcModel *model = main_open(o);
    return model ? main_close(model, selfc_check(model, stdout)) : 1;
}

static int main_train(const Options *o) {
    SelfcModel *model = main_open(o);
    if (!model) return 1;
    SelfcTrainRun run = {.size = sizeof run,
                         .out = o->out,
                         .epochs = o->epochs,
                         .steps = o->steps,
                         .minutes = o->minutes,
                         .resume = o->resume,
                         .quiet = o->quiet};
    return main_close(model, selfc_train_run(model, &run));
}

static int main_run(const Options *o) {
    SelfcModel *model = main_open(o);
    if (!model) return 1;
    return main_close(model, selfc_run_files(model, o->positional[1], o->input.item, o->input.count, o->output.item,
                                             o->output.count));
}

bool main_one(const OptionList *list, const char *command, const char *option) {
    if (list->count <= 1) return true;
    fprintf(stderr, "selfc: %s wants one %s\n", command, option);
    return false;
}

static int main_embed(const Options *o) {
    if (!main_one(&o->output, "embed", "-o FILE") || !main_one(&o->function, "embed", "--function")) return 2;
    SelfcModel *model = main_open(o);
    if (!model) return 1;
    SelfcEmbed embed = {.size = sizeof embed,
                        .function = o->function.item[0],
                        .split = o->split,
                        .out = o->output.item[0],
                        .labelled = o->labelled};
    return main_close(model, selfc_embed(model, &embed, stdout));
}

static int main_eval(const Options *o) {
    if (!main_one(&o->output, "eval", "-o FILE") || !main_one(&o->function, "eval", "--function")) return 2;
    if (!o->protocol) {
        fprintf(stderr, "selfc: --protocol is missing: --protocol knn, linear or finetune\n");
        return 2;
    }
    SelfcModel *model = main_open(o);
    if (!model) return 1;
    SelfcEval eval = {.size = sizeof eval,
                      .protocol = o->protocol,
                      .function = o->function.item[0],
                      .labels = o->labels,
                      .k = o->k,
                      .temperature = o->temperature,
                      .epochs = o->epochs,
                      .batch = o->batch,
                      .out = o->output.item[0]};
    return main_close(model, selfc_eval(model, &eval, stdout));
}

static int main_build(const Options *o) {
    if (o->output.count != 1) {
        fprintf(stderr, "selfc: build wants one -o FILE\n");
        return 2;
    }
    bool embed = !o->weights || !strcmp(o->weights, "embed");
    if (!embed && strcmp(o->weights, "file")) {
        fprintf(stderr, "selfc: --weights is \"%s\", but must be \"embed\" or \"file\"\n", o->weights);
        return 2;
    }
    SelfcModel *model = main_open(o);
    if (!model) return 1;
    return main_close(model, selfc_build(model, o->output.item[0], o->function.item, o->function.count, embed));
}

static bool main_folder(const Options *o, const char *what) {
    if (o->output.count == 1) return true;
    fprintf(stderr, "selfc: %s wants one -o DIR, the folder to write\n", what);
    return false;
}

static int main_import(const Options *o) {
    if (!main_folder(o, "import")) return 2;
    return selfc_import(o->positional[0], o->output.item[0], o->as, stdout) ? main_fail() : 0;
}

static int main_export(const Options *o) {
    if (!main_folder(o, "export")) return 2;
    SelfcModel *model = main_open(o);
    return model ? main_close(model, selfc_export(model, o->output.item[0], o->as, stdout)) : 1;
}

static int main_show(const Options *o) {
    if (o->function.count > 1) {
        fprintf(stderr, "selfc: show wants one --function\n");
        return 2;
    }
    if (o->stage && o->stop_after) {
        fprintf(stderr, "selfc: --stage and --stop-after say the same; one of them is enough\n");
        return 2;
    }
    SelfcModel *model = main_open(o);
    if (!model) return 1;
    const char *stage = o->stop_after ? o->stop_after : o->stage ? o->stage : "program";
    return main_close(model, selfc_show(model, stage, o->format, o->function.item[0], stdout));
}

static int main_profile(const Options *o) {
    SelfcModel *model = main_open(o);
    if (!model) return 1;
    return main_close(model, selfc_profile(model, o->function.item[0], o->format, o->batch, o->seconds, stdout));
}

static int main_preview(const Options *o) {
    if (o->output.count != 1) {
        fprintf(stderr, "selfc: preview wants one -o FILE, the picture to write\n");
        return 2;
    }
    SelfcModel *model = main_open(o);
    return model ? main_close(model, selfc_preview(model, o->output.item[0], o->batch, stdout)) : 1;
}

static int main_tune(const Options *o) {
    SelfcModel *model = main_open(o);
    return model ? main_close(model, selfc_tune(model, o->seconds, stdout)) : 1;
}

static int main_tokenize_train(const Options *o) {
    if (!o->positional_count || !o->size || o->output.count != 1 || o->vocabulary || o->ids || o->decode) {
        fprintf(stderr, "selfc: tokenize --train wants FILES, --size N and one -o FILE, and no more but --cased\n");
        return 2;
    }
    return selfc_tokenize_train(o->positional, o->positional_count, o->size, o->cased, o->output.item[0], stdout)
               ? main_fail()
               : 0;
}

static int main_tokenize(const Options *o) {
    if (o->train) return main_tokenize_train(o);
    if (!o->vocabulary || o->size || o->cased || o->output.count) {
        fprintf(stderr, !o->vocabulary ? "selfc: --vocabulary is missing: a vocab.txt, a tokenizer.json or a RUN\n"
                                       : "selfc: --size, --cased and -o go with --train\n");
        return 2;
    }
    SelfcTokenize tokenize = {.size = sizeof tokenize,
                              .vocabulary = o->vocabulary,
                              .files = o->positional,
                              .file_count = o->positional_count,
                              .ids = o->ids,
                              .decode = o->decode};
    return selfc_tokenize_files(&tokenize, stdout) ? main_fail() : 0;
}

static int main_passes(const Options *o) {
    if (!o->passes) {
        fprintf(stderr, "selfc: --passes=LIST is missing: selfc --passes=simplify,dce FILE\n");
        return 2;
    }
    SelfcOptions options = main_options(o);
    int failed = selfc_passes(o->positional[0], o->passes, o->stop_after, &options, stdout);
    return failed ? main_fail() : 0;
}

static int main_describe(const char *what) { return selfc_describe(what, stdout) ? main_fail() : 0; }

static int main_help(const Options *o) {
    if (o->positional_count && !strcmp(o->positional[0], "language")) return main_describe("language");
    return options_help(o->positional[0], stdout) ? 0 : 2;
}

static int main_command(const Options *o) {
    switch (o->command) {
    case COMMAND_check: return main_check(o);
    case COMMAND_train: return main_train(o);
    case COMMAND_run: return main_run(o);
    case COMMAND_embed: return main_embed(o);
    case COMMAND_eval: return main_eval(o);
    case COMMAND_fill_mask: return main_fill_mask(o);
    case COMMAND_classify: return main_classify(o);
    case COMMAND_answer: return main_answer(o);
    case COMMAND_build: return main_build(o);
    case COMMAND_import: return main_import(o);
    case COMMAND_export: return main_export(o);
    case COMMAND_show: return main_show(o);
    case COMMAND_profile: return main_profile(o);
    case COMMAND_preview: return main_preview(o);
    case COMMAND_tune: return main_tune(o);
    case COMMAND_tokenize: return main_tokenize(o);
    case COMMAND_passes: return main_passes(o);
    case COMMAND_schema: return main_describe("schema");
    case COMMAND_ops: return main_describe("ops");
    case COMMAND_help: return main_help(o);
    case COMMAND_version: printf("selfc %s\n", selfc_version()); return 0;
    }
    return 2;
}

int main(int argc, char **argv) {
    Options options;
    if (!options_parse(argc, argv, &options)) return 2;
    return main_finish(main_command(&options));
}
