/* Functions on text in built objects:
 *
 *     int bert_encode_text(const char *text, size_t text_bytes, float *features, void *workspace);
 *
 * For each function whose inputs are a row of ids and what belongs to it (text, count, segment, positions), compiled
 * for one length or several. It makes the row with the tokenizer's own code, which joins the object as assembly text,
 * made of runtime/text/ when selfc was built; then it calls the driver of the smallest length that fits. */
#include "backend/code.h"
#include "backend/text_code.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_BYTES = 24 /* of a SelfcToken */, TEXT_ALIGN = 64, NO_MASK = 3, CUT_MASK = 4 };

/* ---- which functions there are ---- */

static TextInput text_input(const char *name) {
    static const char *const names[TEXT_INPUTS] = {
        [TEXT_ids] = "text", [TEXT_count] = "count", [TEXT_segment] = "segment", [TEXT_positions] = "positions"};
    for (int i = 0; i < TEXT_INPUTS; i++)
        if (!strcmp(names[i], name)) return (TextInput)i;
    return TEXT_INPUTS;
}

static bool text_shape_is(const SelfcTensor *tensor, int64_t length) {
    if (tensor->dtype != SELFC_i32 || tensor->rank != (length ? 2 : 1) || tensor->dim[0] != -1) return false;
    return !length || tensor->dim[1] == length;
}

/* The length of the rows that a program reads; 0: it is no function on text. */
static int64_t text_length(const SelfcProgram *program) {
    int64_t length = 0;
    for (uint32_t i = 0; i < program->input_count; i++)
        if (text_input(program->io[i].name) == TEXT_ids && program->io[i].rank == 2) length = program->io[i].dim[1];
    for (uint32_t i = 0; i < program->input_count; i++) {
        TextInput input = text_input(program->io[i].name);
        bool is_row = input == TEXT_ids || input == TEXT_segment;
        if (input == TEXT_INPUTS || !text_shape_is(&program->io[i], is_row ? length : 0)) return 0;
    }
    return length >= 3 ? length : 0;
}

/* Do both read the same and give results of the same shapes? Then who calls need not know which of the two ran. */
static bool text_agree(const SelfcProgram *a, const SelfcProgram *b) {
    if (a->input_count != b->input_count || a->output_count != b->output_count) return false;
    for (uint32_t i = 0; i < a->input_count; i++)
        if (strcmp(a->io[i].name, b->io[i].name)) return false;
    for (uint32_t i = 0; i < a->output_count; i++) {
        const SelfcTensor *x = &a->io[a->input_count + i], *y = &b->io[b->input_count + i];
        if (x->dtype != y->dtype || x->rank != y->rank || memcmp(x->dim, y->dim, sizeof x->dim)) return false;
    }
    return true;
}

/* "encode" of "encode_32" for a length of 32; else the whole name. */
static const char *text_family(const char *name, int64_t length, Arena *arena) {
    const char *ending = arena_printf(arena, "_%lld", (long long)length);
    size_t all = strlen(name), less = strlen(ending);
    bool ends = all > less && !strcmp(name + all - less, ending);
    return ends ? arena_printf(arena, "%.*s", (int)(all - less), name) : name;
}

/* "bert_encode_text" of "encode_text" */
static const char *text_symbol(const char *name, const Manifest *manifest, Arena *arena) {
    char *symbol = driver_identifier(arena_printf(arena, "%s_%s", manifest->module.name, name), arena);
    for (char *at = symbol; *at; at++) *at = (char)tolower((unsigned char)*at);
    return symbol;
}

static TextFunction *text_find(TextFunctions *functions, const char *name) {
    for (uint32_t i = 0; i < functions->count; i++)
        if (!strcmp(functions->items[i].name, name)) return &functions->items[i];
    return NULL;
}

static void text_add(TextFunctions *functions, const Manifest *manifest, const Driver *drivers, uint32_t p,
                     Arena *arena) {
    const SelfcModule *module = &manifest->module;
    int64_t length = text_length(&module->programs[p]);
    if (!length) return;
    const char *name = text_family(module->programs[p].name, length, arena);
    TextFunction *function = text_find(functions, name);
    if (!function) {
        function = &functions->items[functions->count++];
        *function =
            (TextFunction){.name = name, .first = p, .programs = arena_array(arena, uint32_t, module->program_count)};
        char *macro = arena_copy(arena, text_symbol(arena_printf(arena, "%s_text", name), manifest, arena));
        function->symbol = arena_copy(arena, macro);
        for (char *at = macro; *at; at++) *at = (char)toupper((unsigned char)*at);
        function->macro = macro;
    }
    function->is_split |= !text_agree(&module->programs[function->first], &module->programs[p]) ||
                          drivers[function->first].wants_weights != drivers[p].wants_weights;
    uint32_t at = function->program_count++;
    for (; at && text_length(&module->programs[function->programs[at - 1]]) > length; at--)
        function->programs[at] = function->programs[at - 1];
    function->programs[at] = p;
    if (length > function->room) function->room = length;
    SelfcExtent inner = drivers[p].workspace;
    if (inner.fixed + inner.per_n > function->inner) function->inner = inner.fixed + inner.per_n;
}

/* What the caller could not size is left out. */
TextFunctions text_functions(const Manifest *manifest, const Driver *drivers, Arena *arena) {
    TextFunctions functions = {.items = arena_array(arena, TextFunction, manifest->module.program_count + 1)};
    for (uint32_t p = 0; p < manifest->module.program_count; p++) text_add(&functions, manifest, drivers, p, arena);
    uint32_t kept = 0;
    functions.split = arena_array(arena, const char *, functions.count + 1);
    for (uint32_t i = 0; i < functions.count; i++)
        if (functions.items[i].is_split)
            functions.split[functions.split_count++] = functions.items[i].name;
        else
            functions.items[kept++] = functions.items[i];
    functions.count = kept;
    functions.word = text_symbol("word", manifest, arena);
    for (uint32_t i = 0; i < kept; i++) {
        TextFunction *function = &functions.items[i];
        const SelfcProgram *program = &manifest->module.programs[function->first];
        for (uint32_t k = 0; k < program->input_count; k++) function->has[text_input(program->io[k].name)] = true;
        function->workspace = function->room * (TOKEN_BYTES + 8) + 2 * TEXT_ALIGN + function->inner;
    }
    return functions;
}

bool text_fits(const Target *target) {
    return !strncmp(target->triple, text_code_architecture, strlen(text_code_architecture));
}

/* ---- what they do ---- */

typedef struct {
    const TextFunction *function;
    const Manifest *manifest;
    const Driver *drivers;
    const BuildText *text;
    LLVMModuleRef module;
    LLVMContextRef context;
    LLVMBuilderRef builder;
    LLVMValueRef self, tables, marks;          /* the function; constants */
    LLVMValueRef ids, segments, tokens, inner; /* in the workspace */
    LLVMValueRef count, position;              /* int32_t on the stack */
    LLVMTypeRef i8, i32, i64, pointer;
} Text;

static LLVMValueRef text_number(Text *t, int64_t value) {
    return LLVMConstInt(t->i64, (unsigned long long)value, true);
}

static LLVMValueRef text_move(Text *t, LLVMValueRef base, int64_t bytes) {
    LLVMValueRef offset = text_number(t, bytes);
    return LLVMBuildGEP2(t->builder, t->i8, base, &offset, 1, "");
}

static void text_return_if(Text *t, LLVMValueRef condition, int code) {
    LLVMBasicBlockRef fail = LLVMAppendBasicBlockInContext(t->context, t->self, "refuse");
    LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(t->context, t->self, "go_on");
    LLVMBuildCondBr(t->builder, condition, fail, next);
    LLVMPositionBuilderAtEnd(t->builder, fail);
    LLVMBuildRet(t->builder, LLVMConstInt(t->i32, (unsigned)code, false));
    LLVMPositionBuilderAtEnd(t->builder, next);
}

static LLVMValueRef text_is_null(Text *t, uint32_t parameter) {
    return LLVMBuildICmp(t->builder, LLVMIntEQ, LLVMGetParam(t->self, parameter), LLVMConstNull(t->pointer), "");
}

/* Ids, segments, tokens, then the workspace of the function that is called. */
static void text_find_memory(Text *t) {
    LLVMBuilderRef b = t->builder;
    LLVMValueRef at = LLVMBuildPtrToInt(b, LLVMGetLastParam(t->self), t->i64, "");
    at = LLVMBuildAnd(b, LLVMBuildAdd(b, at, text_number(t, TEXT_ALIGN - 1), ""), text_number(t, -TEXT_ALIGN), "");
    t->tokens = LLVMBuildIntToPtr(b, at, t->pointer, "tokens");
    t->ids = text_move(t, t->tokens, t->function->room * TOKEN_BYTES);
    t->segments = text_move(t, t->ids, t->function->room * 4);
    t->inner = text_move(t, t->segments, t->function->room * 4);
    t->count = LLVMBuildAlloca(b, t->i32, "count");
    t->position = LLVMBuildAlloca(b, t->i32, "position");
}

/* The row; its count on the stack and returned. */
static LLVMValueRef text_make_row(Text *t) {
    bool has_pair = t->function->has[TEXT_segment];
    LLVMTypeRef types[] = {t->pointer, t->pointer, t->pointer, t->i64,     t->pointer, t->i64,
                           t->i32,     t->i64,     t->pointer, t->pointer, t->pointer, t->pointer};
    LLVMTypeRef type = LLVMFunctionType(t->i64, types, 12, false);
    LLVMValueRef row = LLVMGetNamedFunction(t->module, "selfc_text_row");
    if (!row) row = LLVMAddFunction(t->module, "selfc_text_row", type);
    LLVMValueRef values[] = {t->tables,
                             t->marks,
                             LLVMGetParam(t->self, 0),
                             LLVMGetParam(t->self, 1),
                             has_pair ? LLVMGetParam(t->self, 2) : LLVMConstNull(t->pointer),
                             has_pair ? LLVMGetParam(t->self, 3) : text_number(t, 0),
                             LLVMConstInt(t->i32, t->function->has[TEXT_positions], false), /* [MASK] is no text */
                             text_number(t, t->function->room),
                             t->tokens,
                             t->ids,
                             t->segments,
                             t->position};
    LLVMValueRef count = LLVMBuildCall2(t->builder, type, row, values, 12, "");
    LLVMBuildStore(t->builder, LLVMBuildTrunc(t->builder, count, t->i32, ""), t->count);
    return count;
}

/* Is there a [MASK] in the text that is parameter `text`, however long it is? */
static LLVMValueRef text_has_mask(Text *t, uint32_t text) {
    LLVMTypeRef types[] = {t->pointer, t->i32, t->pointer, t->i64, t->pointer, t->i64};
    LLVMTypeRef type = LLVMFunctionType(t->i32, types, 6, false);
    LLVMValueRef has = LLVMGetNamedFunction(t->module, "selfc_text_has");
    if (!has) has = LLVMAddFunction(t->module, "selfc_text_has", type);
    LLVMValueRef values[] = {t->tables,
                             LLVMConstInt(t->i32, (unsigned)t->text->marks[3], true),
                             LLVMGetParam(t->self, text),
                             LLVMGetParam(t->self, text + 1),
                             t->tokens,
                             text_number(t, t->function->room)};
    return LLVMBuildCall2(t->builder, type, has, values, 6, "");
}

/* Returns if the row has no [MASK]: whoever wrote one behind what fits should hear that. */
static void text_need_mask(Text *t) {
    LLVMBasicBlockRef none = LLVMAppendBasicBlockInContext(t->context, t->self, "no_mask");
    LLVMBasicBlockRef next = LLVMAppendBasicBlockInContext(t->context, t->self, "has_mask");
    LLVMValueRef zero = LLVMConstNull(t->i32), position = LLVMBuildLoad2(t->builder, t->i32, t->position, "");
    LLVMBuildCondBr(t->builder, LLVMBuildICmp(t->builder, LLVMIntSLT, position, zero, ""), none, next);
    LLVMPositionBuilderAtEnd(t->builder, none);
    LLVMValueRef has = text_has_mask(t, 0);
    if (t->function->has[TEXT_segment]) has = LLVMBuildOr(t->builder, has, text_has_mask(t, 2), "");
    LLVMBuildRet(t->builder,
                 LLVMBuildSelect(t->builder, LLVMBuildICmp(t->builder, LLVMIntNE, has, zero, ""),
                                 LLVMConstInt(t->i32, CUT_MASK, false), LLVMConstInt(t->i32, NO_MASK, false), ""));
    LLVMPositionBuilderAtEnd(t->builder, next);
}

static LLVMValueRef text_argument(Text *t, const SelfcProgram *program, uint32_t i, uint32_t outputs_from) {
    if (i >= program->input_count) return LLVMGetParam(t->self, outputs_from + i - program->input_count);
    switch (text_input(program->io[i].name)) {
    case TEXT_ids: return t->ids;
    case TEXT_count: return t->count;
    case TEXT_segment: return t->segments;
    case TEXT_positions: return t->position;
    case TEXT_INPUTS: break;
    }
    BUG("input \"%s\" of a function on text", program->io[i].name);
}

static void text_call(Text *t, uint32_t p, uint32_t outputs_from) {
    const SelfcProgram *program = &t->manifest->module.programs[p];
    uint32_t io = program->input_count + program->output_count, count = 0;
    LLVMValueRef driver = LLVMGetNamedFunction(t->module, t->drivers[p].symbol),
                 *values = calloc(io + 3, sizeof *values);
    CHECK(driver && values);
    while (count < io) values[count] = text_argument(t, program, count, outputs_from), count++;
    if (t->drivers[p].wants_weights) values[count++] = LLVMGetParam(t->self, outputs_from + program->output_count);
    values[count++] = text_number(t, 1);
    values[count++] = t->inner;
    LLVMBuildRet(t->builder, LLVMBuildCall2(t->builder, LLVMGlobalGetValueType(driver), driver, values, count, ""));
    free(values);
}

/* The smallest length that holds the row; the last holds all. */
static void text_choose(Text *t, LLVMValueRef count, uint32_t outputs_from) {
    for (uint32_t i = 0; i < t->function->program_count; i++) {
        uint32_t p = t->function->programs[i];
        if (i + 1 == t->function->program_count) {
            text_call(t, p, outputs_from);
            return;
        }
        LLVMBasicBlockRef fits = LLVMAppendBasicBlockInContext(t->context, t->self, "fits");
        LLVMBasicBlockRef longer = LLVMAppendBasicBlockInContext(t->context, t->self, "longer");
        LLVMValueRef length = text_number(t, text_length(&t->manifest->module.programs[p]));
        LLVMBuildCondBr(t->builder, LLVMBuildICmp(t->builder, LLVMIntSLE, count, length, ""), fits, longer);
        LLVMPositionBuilderAtEnd(t->builder, fits);
        text_call(t, p, outputs_from);
        LLVMPositionBuilderAtEnd(t->builder, longer);
    }
}

static void text_open(Text *t, uint32_t outputs_from) {
    const SelfcProgram *program = &t->manifest->module.programs[t->function->first];
    LLVMTypeRef *types = calloc(outputs_from + program->output_count + 2, sizeof *types);
    uint32_t count = 0;
    if (!types) die("no memory for a function on text");
    while (count < outputs_from) types[count] = count % 2 ? t->i64 : t->pointer, count++;
    for (uint32_t i = 0; i < program->output_count; i++) types[count++] = t->pointer;
    if (t->drivers[t->function->first].wants_weights) types[count++] = t->pointer;
    types[count++] = t->pointer;
    t->self = LLVMAddFunction(t->module, t->function->symbol, LLVMFunctionType(t->i32, types, count, false));
    free(types);
    compile_mark(t->self);
    LLVMPositionBuilderAtEnd(t->builder, LLVMAppendBasicBlockInContext(t->context, t->self, "start"));
}

static void text_emit_function(Text *t) {
    const SelfcProgram *program = &t->manifest->module.programs[t->function->first];
    uint32_t outputs_from = t->function->has[TEXT_segment] ? 4 : 2;
    text_open(t, outputs_from);
    LLVMValueRef bad = text_is_null(t, 0);
    for (uint32_t i = 0; i < program->output_count; i++)
        bad = LLVMBuildOr(t->builder, bad, text_is_null(t, outputs_from + i), "");
    bad = LLVMBuildOr(t->builder, bad, text_is_null(t, LLVMCountParams(t->self) - 1), "");
    text_return_if(t, bad, 2);
    text_find_memory(t);
    LLVMValueRef count = text_make_row(t);
    if (t->function->has[TEXT_positions]) text_need_mask(t);
    text_choose(t, count, outputs_from);
}

static LLVMValueRef text_constant(LLVMModuleRef module, const char *name, const void *bytes, size_t size) {
    LLVMContextRef context = LLVMGetModuleContext(module);
    LLVMValueRef content = LLVMConstStringInContext2(context, bytes, size, true);
    LLVMValueRef constant = LLVMAddGlobal(module, LLVMTypeOf(content), name);
    LLVMSetInitializer(constant, content);
    LLVMSetGlobalConstant(constant, true);
    LLVMSetLinkage(constant, LLVMInternalLinkage);
    LLVMSetAlignment(constant, 8);
    return constant;
}

/* const char *bert_word(int32_t id): all words one after the other, and where each begins. */
static void text_emit_word(Text *t, const char *symbol) {
    uint32_t count = t->text->word_count;
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) size += strlen(t->text->words[i]) + 1;
    char *words = malloc(size + 1);
    uint32_t *begins = calloc(count + 1, sizeof *begins), at = 0;
    if (!words || !begins) die("no memory for %u words", count);
    for (uint32_t i = 0; i < count; i++) {
        begins[i] = at;
        memcpy(words + at, t->text->words[i], strlen(t->text->words[i]) + 1);
        at += (uint32_t)strlen(t->text->words[i]) + 1;
    }
    LLVMValueRef all = text_constant(t->module, "words", words, size);
    LLVMValueRef table = text_constant(t->module, "word_begins", begins, count * sizeof *begins);
    free(words);
    free(begins);
    t->self = LLVMAddFunction(t->module, symbol, LLVMFunctionType(t->pointer, &t->i32, 1, false));
    compile_mark(t->self);
    LLVMBasicBlockRef start = LLVMAppendBasicBlockInContext(t->context, t->self, "start");
    LLVMBasicBlockRef known = LLVMAppendBasicBlockInContext(t->context, t->self, "known");
    LLVMBasicBlockRef unknown = LLVMAppendBasicBlockInContext(t->context, t->self, "unknown");
    LLVMPositionBuilderAtEnd(t->builder, start);
    LLVMValueRef id = LLVMGetParam(t->self, 0), limit = LLVMConstInt(t->i32, count, false);
    LLVMBuildCondBr(t->builder, LLVMBuildICmp(t->builder, LLVMIntULT, id, limit, ""), known, unknown);
    LLVMPositionBuilderAtEnd(t->builder, unknown);
    LLVMBuildRet(t->builder, LLVMConstNull(t->pointer));
    LLVMPositionBuilderAtEnd(t->builder, known);
    LLVMValueRef index = LLVMBuildZExt(t->builder, id, t->i64, "");
    LLVMValueRef begin =
        LLVMBuildLoad2(t->builder, t->i32, LLVMBuildGEP2(t->builder, t->i32, table, &index, 1, ""), "");
    LLVMValueRef offset = LLVMBuildZExt(t->builder, begin, t->i64, "");
    LLVMBuildRet(t->builder, LLVMBuildGEP2(t->builder, t->i8, all, &offset, 1, ""));
}

void text_emit(const TextFunctions *functions, const Manifest *manifest, const Driver *drivers, const BuildText *text,
               LLVMModuleRef module) {
    if (!functions->count) return;
    LLVMContextRef context = LLVMGetModuleContext(module);
    LLVMAppendModuleInlineAsm(module, text_code, strlen(text_code));
    Text t = {.manifest = manifest,
              .drivers = drivers,
              .text = text,
              .module = module,
              .context = context,
              .builder = LLVMCreateBuilderInContext(context),
              .tables = text_constant(module, "tokenizer", text->tables, text->size),
              .marks = text_constant(module, "marks", text->marks, sizeof text->marks),
              .i8 = LLVMInt8TypeInContext(context),
              .i32 = LLVMInt32TypeInContext(context),
              .i64 = LLVMInt64TypeInContext(context),
              .pointer = LLVMPointerTypeInContext(context, 0)};
    for (uint32_t i = 0; i < functions->count; i++) {
        t.function = &functions->items[i];
        text_emit_function(&t);
    }
    text_emit_word(&t, functions->word);
    LLVMDisposeBuilder(t.builder);
}
