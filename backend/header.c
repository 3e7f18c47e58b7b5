/* The C header of a built object: everything its caller must know, and nothing else. */
#include "backend/code.h"

#include <string.h>

static const char *const header_type[DTYPE_COUNT] = {
    [DTYPE_f32] = "float",  [DTYPE_bf16] = "uint16_t", [DTYPE_f16] = "uint16_t", [DTYPE_i8] = "int8_t",
    [DTYPE_u8] = "uint8_t", [DTYPE_i32] = "int32_t",   [DTYPE_i64] = "int64_t",  [DTYPE_bool] = "uint8_t",
};

/* A name as it was given, but for what would end a comment. */
static void header_text(const char *text, FILE *out) {
    for (; *text; text++) fputc((unsigned char)*text < ' ' || strchr("*/\\", *text) ? '_' : *text, out);
}

/* f32[n,784] */
static void header_shape(const SelfcTensor *tensor, FILE *out) {
    fprintf(out, "%s[", dtype_info[tensor->dtype].name);
    for (int32_t i = 0; i < tensor->rank; i++) {
        if (i) fputc(',', out);
        if (tensor->dim[i] >= 0)
            fprintf(out, "%lld", (long long)tensor->dim[i]);
        else if (tensor->dim[i] == -1)
            fputc('n', out);
        else
            fprintf(out, "%lldn", (long long)-tensor->dim[i]);
    }
    fputc(']', out);
}

static void header_tensors(const SelfcTensor *io, const char **names, uint32_t count, FILE *out) {
    for (uint32_t i = 0; i < count; i++) {
        fprintf(out, "%s%s ", i ? ", " : "", names[i]);
        header_shape(&io[i], out);
    }
}

/* What the random operations of a function are fed with. */
static void header_random(const SelfcProgram *program, const Driver *driver, FILE *out) {
    for (uint32_t i = 0; i < program->input_count; i++) {
        if (strcmp(program->io[i].name, "$key") == 0)
            fprintf(out, " * %s: what random numbers are drawn with: seed (low, high) and a step to count up.\n",
                    driver->parameters[i]);
        if (strcmp(program->io[i].name, "$sample") == 0)
            fprintf(out, " * %s: a number for each sample; equal numbers draw equal random values.\n",
                    driver->parameters[i]);
    }
}

static void header_workspace(const Driver *driver, FILE *out) {
    if (!driver->workspace.fixed) {
        fprintf(out, "#define %s_WORKSPACE(n) ((size_t)0) /* bytes: none, workspace may be NULL */\n", driver->macro);
        return;
    }
    fprintf(out, "#define %s_WORKSPACE(n) ((size_t)%lld", driver->macro, (long long)driver->workspace.fixed);
    if (driver->workspace.per_n) fprintf(out, " + (size_t)%lld * (size_t)(n)", (long long)driver->workspace.per_n);
    fprintf(out, ") /* bytes, at any address */\n");
}

typedef struct {
    Arena *arena;
    const char **names;
    uint32_t count, capacity;
} Macros;

static bool macros_add(Macros *macros, const char *name) {
    for (uint32_t i = 0; i < macros->count; i++)
        if (!strcmp(macros->names[i], name)) return false;
    macros->names = arena_grow(macros->arena, macros->names, macros->count, &macros->capacity, sizeof name);
    macros->names[macros->count++] = name;
    return true;
}

/* VAE_GENERATE_Z_DIM1: what a caller would otherwise write a second time. Capitals may make two names one, and so may a
 * port b_c of a function a, and c of a_b: the first has it. */
static void header_sizes(const SelfcProgram *program, const Driver *driver, Macros *macros, FILE *out) {
    for (uint32_t i = 0; i < program->input_count + program->output_count; i++)
        for (int32_t axis = 0; axis < program->io[i].rank; axis++) {
            if (program->io[i].dim[axis] < 0) continue;
            char *name = arena_printf(macros->arena, "%s_%s_DIM%d", driver->macro, driver->parameters[i], axis);
            for (char *c = name; *c; c++) *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
            if (macros_add(macros, name)) fprintf(out, "#define %s %lld\n", name, (long long)program->io[i].dim[axis]);
        }
}

static void header_prototype(const SelfcProgram *program, const Driver *driver, FILE *out) {
    fprintf(out, "int %s(", driver->symbol);
    for (uint32_t i = 0; i < program->input_count + program->output_count; i++)
        fprintf(out, "%s%s *%s, ", i < program->input_count ? "const " : "", header_type[program->io[i].dtype],
                driver->parameters[i]);
    if (driver->wants_weights) fprintf(out, "const void *weights, ");
    fprintf(out, "size_t n, void *workspace);\n");
}

static void header_function(const SelfcModule *module, const SelfcProgram *program, const Driver *driver,
                            Macros *macros, FILE *out) {
    fprintf(out, "\n/* ");
    header_text(program->name, out);
    fprintf(out, ": ");
    header_tensors(program->io, driver->parameters, program->input_count, out);
    fprintf(out, " → ");
    header_tensors(program->io + program->input_count, driver->parameters + program->input_count, program->output_count,
                   out);
    fprintf(out, "; from ");
    header_text(module->name, out);
    fprintf(out, ", %s. Re-entrant, allocates nothing, calls nothing.\n",
            driver->wants_weights    ? "weights from the caller"
            : driver->embeds_weights ? "weights embedded"
                                     : "no weights");
    header_random(program, driver, out);
    if (program->batch) fprintf(out, " * n must be %lld.\n", (long long)program->batch);
    fprintf(out, " * Returns 0; 1 if n is 0 or too large; 2 if a pointer is NULL or not aligned to its type%s. */\n",
            driver->wants_weights ? " (weights: to 64 bytes)" : "");
    header_sizes(program, driver, macros, out);
    header_workspace(driver, out);
    header_prototype(program, driver, out);
}

static bool header_has_prepared(const SelfcModule *module, const Weights *weights) {
    for (uint32_t p = 0; p < module->program_count; p++)
        if (weights->prepared[p].count) return true;
    return false;
}

/* What was made of weights when the file was built. */
static void header_prepared(const SelfcModule *module, const Weights *weights, FILE *out) {
    char type[128];
    if (!header_has_prepared(module, weights)) return;
    fprintf(out, " * What was prepared from other weights, for the processor that this code is for:\n");
    for (uint32_t p = 0; p < module->program_count; p++)
        for (uint32_t i = 0; i < weights->prepared[p].count; i++) {
            const PreparedPart *part = &weights->prepared[p].parts[i];
            if (part->is_shared) continue;
            fprintf(out, " *   %10lld  %s from ", (long long)part->to, type_print(part->type, type));
            header_text(part->states, out);
            fputc('\n', out);
        }
}

/* Where each weight lies in the file, for those who want to look. */
static void header_weights(const SelfcModule *module, const Weights *weights, FILE *out) {
    fprintf(out, "\n/* The weights are %lld bytes, passed by address, a multiple of 64:\n", (long long)weights->bytes);
    for (uint32_t i = 0; i < module->state_count; i++) {
        if (weights->offset[i] < 0) continue;
        fprintf(out, " *   %10lld  ", (long long)weights->offset[i]);
        header_text(module->states[i].tensor.name, out);
        fputc(' ', out);
        header_shape(&module->states[i].tensor, out);
        fputc('\n', out);
    }
    header_prepared(module, weights, out);
    fprintf(out, " */\n");
}

/* Of all functions: a header of some of them is another one. */
static void header_guard(const SelfcModule *module, const Driver *drivers, const char *directive, FILE *out) {
    fprintf(out, "#%s SELFC", directive);
    for (uint32_t i = 0; i < module->program_count; i++) fprintf(out, "_%s", drivers[i].macro);
    fprintf(out, "_H\n");
}

/* The function on text that stands over those on rows of ids. */
static void header_text_function(const SelfcModule *module, const TextFunction *text, const Driver *drivers,
                                 FILE *out) {
    const SelfcProgram *program = &module->programs[text->first];
    const Driver *driver = &drivers[text->first];
    bool has_pair = text->has[TEXT_segment];
    fprintf(out, "\n/* ");
    header_text(text->name, out);
    fprintf(out, " of a text: UTF-8 of text_bytes bytes%s → ",
            has_pair ? ", and a second text behind it (pair may be NULL)" : "");
    header_tensors(program->io + program->input_count, driver->parameters + program->input_count, program->output_count,
                   out);
    fprintf(out,
            " for n = 1.\n * At most %lld tokens, [CLS] and [SEP] counted; what is longer is cut. Re-entrant, "
            "allocates nothing, calls nothing.\n",
            (long long)text->room);
    if (text->has[TEXT_positions]) fprintf(out, " * The result is for the first [MASK].\n");
    fprintf(out, " * Returns 0; 2 if a pointer is NULL%s. */\n",
            text->has[TEXT_positions] ? "; 3 if there is no [MASK], 4 if all of them stand behind what fits" : "");
    fprintf(out, "#define %s_WORKSPACE ((size_t)%lld) /* bytes, at any address */\n", text->macro,
            (long long)text->workspace);
    fprintf(out, "int %s(const char *text, size_t text_bytes, %s", text->symbol,
            has_pair ? "const char *pair, size_t pair_bytes, " : "");
    for (uint32_t i = program->input_count; i < program->input_count + program->output_count; i++)
        fprintf(out, "%s *%s, ", header_type[program->io[i].dtype], driver->parameters[i]);
    fprintf(out, "%svoid *workspace);\n", driver->wants_weights ? "const void *weights, " : "");
}

void header_print(const SelfcModule *module, const Driver *drivers, const TextFunctions *texts, const Weights *weights,
                  FILE *out) {
    fprintf(out, "/* Made by selfc from ");
    header_text(module->name, out);
    fprintf(out, ". Tensors are dense and row-major; the first axis named varies slowest.\n");
    fprintf(out, " * bf16 and f16 are passed as their 16 bits; n is the batch. */\n");
    header_guard(module, drivers, "ifndef", out);
    header_guard(module, drivers, "define", out);
    fprintf(out, "#include <stddef.h>\n#include <stdint.h>\n");
    fprintf(out, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    if (!weights->embedded && weights->bytes) header_weights(module, weights, out);
    Macros macros = {.arena = arena_new()};
    for (uint32_t i = 0; i < module->program_count; i++)
        header_function(module, &module->programs[i], &drivers[i], &macros, out);
    arena_free(macros.arena);
    for (uint32_t i = 0; i < texts->count; i++) header_text_function(module, &texts->items[i], drivers, out);
    if (texts->count)
        fprintf(out,
                "\n/* The token of an id, as it stands in the vocabulary; NULL: there is none. */\n"
                "const char *%s(int32_t id);\n",
                texts->word);
    fprintf(out, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}
