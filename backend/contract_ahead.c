/* What the next block will read, asked for while this one is multiplied.
 *
 * To copy an operand is to wait for memory, and a product that copies, multiplies, copies, multiplies uses memory and
 * arithmetic by turns. So each run of steps along k asks for a few lines of what the next block reads: they are in L2
 * when it begins. Next is what stands behind this block in memory: more steps along k, more rows, or the next image. An
 * operand that is computed on the way from several inputs asks for those that are as large as it is. */
#include "backend/contract.h"

#include "ir/digits.h"
#include "ir/strided.h"

enum { LINE = 16 /* elements of a line of the cache */ };

static LLVMBuilderRef builder(Contract *c) { return contract_builder(c); }
static LLVMValueRef number(Contract *c, int64_t value) { return contract_number(c, value); }
static LLVMValueRef add(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_add(c->p, a, b); }
static LLVMValueRef mul(Contract *c, LLVMValueRef a, LLVMValueRef b) { return pull_mul(c->p, a, b); }
static LLVMValueRef sub(Contract *c, LLVMValueRef a, LLVMValueRef b) { return contract_sub(c, a, b); }

/* The part of an operand that is asked for: `rows` rows of `lines` lines, `row` elements from one to the next. */
typedef struct {
    LLVMValueRef first, row, rows; /* elements from the operand's start; elements; a number */
    LLVMValueRef lines;
} Region;

static LLVMValueRef lines_of_elements(Contract *c, LLVMValueRef count) {
    return contract_divide(c, add(c, count, number(c, LINE - 1)), LINE);
}

/* `count` elements from `first` on. */
static Region stretch(Contract *c, LLVMValueRef first, LLVMValueRef count) {
    return (Region){first, number(c, 0), number(c, 1), lines_of_elements(c, count)};
}

/* Steps along k that are one run of A's; 0: all of them. */
static int64_t depth_run(const Contract *c) {
    if (!c->has_patch) return 0;
    return !c->patch.rows_are_places ? c->patch.OW : c->patch.KH > 1 ? c->patch.run : 0;
}

/* Shares the region among the runs of steps that `rows` rows of the piece are made in. */
static void add_region(Contract *c, const Region *region, LLVMValueRef base, LLVMValueRef rows) {
    LLVMTypeRef i64 = LLVMInt64TypeInContext(c->p->e->context);
    LLVMValueRef columns = sub(c, c->to[c->rank - 1], c->from[c->rank - 1]), width = number(c, c->vectors * c->lanes);
    LLVMValueRef tiles = mul(c, contract_divide(c, add(c, rows, number(c, c->rows - 1)), c->rows),
                             LLVMBuildUDiv(builder(c), add(c, columns, sub(c, width, number(c, 1))), width, ""));
    int64_t run = depth_run(c);
    LLVMValueRef runs = tiles, total = mul(c, region->rows, region->lines);
    if (run) runs = mul(c, tiles, contract_divide(c, c->k_count, run));
    LLVMValueRef portion = LLVMBuildUDiv(builder(c), add(c, total, sub(c, runs, number(c, 1))), runs, "");
    Ahead *ahead = &c->ahead[c->ahead_count++];
    LLVMValueRef at = ahead->at;
    if (!at) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(builder(c)), entry = LLVMGetEntryBasicBlock(c->p->e->function);
        LLVMPositionBuilderBefore(builder(c), LLVMGetFirstInstruction(entry));
        at = LLVMBuildAlloca(builder(c), i64, "ahead");
        LLVMPositionBuilderAtEnd(builder(c), here);
    }
    *ahead = (Ahead){at, base, region->first, region->row, region->lines, total, portion};
    LLVMBuildStore(builder(c), number(c, 0), at);
}

/* An operand may be computed from one input in several ways. */
static bool is_asked_for(const Contract *c, LLVMValueRef base, const Region *region) {
    for (uint32_t i = 0; i < c->ahead_count; i++)
        if (c->ahead[i].base == base && c->ahead[i].first == region->first) return true;
    return false;
}

/* Adds the region of every input of which each element is one element of `operand`, in the same order. */
static void add_inputs(Contract *c, NodeId operand, int64_t elements, const Region *region, LLVMValueRef rows) {
    const Graph *body = c->kernel->body;
    const Node *node = &body->nodes[operand];
    if (type_elements(node->type) != elements || c->ahead_count == MOST_AHEAD) return;
    if (node->op == OP_input) {
        LLVMValueRef base = c->p->args[node->attr.index];
        if (node->type.dtype == DTYPE_f32 && !is_asked_for(c, base, region)) add_region(c, region, base, rows);
        return;
    }
    if (!op_is_elementwise(node->op) && node->op != OP_reshape) return;
    for (uint32_t i = 0; i < op_info[node->op].inputs; i++) add_inputs(c, node->in[i], elements, region, rows);
}

/* The piece's place among the products of the leading axes. */
static LLVMValueRef batch(Contract *c) {
    LLVMValueRef index = number(c, 0);
    for (uint32_t i = 0; i + 2 < c->rank; i++)
        index = add(c, mul(c, index, pull_dim(c->p, c->product->type.dim[i])), c->from[i]);
    return index;
}

/* Where the next block of B begins: with the next step along k, of the next product's if there are several, or with the
 * first if the next piece has the same columns. */
static LLVMValueRef next_step(Contract *c) {
    LLVMValueRef k = add(c, c->k_from, c->k_count), depth = pull_dim(c->p, c->depth);
    if (c->rank == 2) {
        LLVMValueRef is_last = LLVMBuildICmp(builder(c), LLVMIntSGE, k, depth, "");
        return LLVMBuildSelect(builder(c), is_last, number(c, 0), k, "");
    }
    return add(c, mul(c, batch(c), depth), k);
}

/* Of B as it lies in memory: the steps along k behind the block, of the piece's columns. */
void contract_ahead_b(Contract *c) {
    const Graph *body = c->kernel->body;
    NodeId b = c->product->in[1];
    Dim elements = type_elements(body->nodes[b].type);
    bool goes_on = c->cuts_depth || c->rank > 2;
    const Grid *grid = &c->kernel->grid;
    int64_t block = grid->axis[c->rank - 1].block;
    c->ahead_count = c->ahead_b_count = 0;
    if (!c->kernel->pack_b || c->has_panels || !goes_on || elements < 0) return;
    LLVMValueRef from = c->from[c->rank - 1];
    Region region = {.row = c->columns, .rows = c->k_count};
    region.first = add(c, mul(c, next_step(c), c->columns), from);
    region.lines = lines_of_elements(c, sub(c, c->to[c->rank - 1], from));
    if (!block || block >= grid->axis[c->rank - 1].extent)
        region = stretch(c, region.first, mul(c, c->k_count, c->columns));
    add_inputs(c, b, elements, &region, sub(c, c->to[c->rank - 2], c->from[c->rank - 2]));
    c->ahead_b_count = c->ahead_count;
}

/* Of a picture: the lines behind those that the block's places see first. */
static void ahead_of_patch(Contract *c) {
    const Patch *patch = &c->patch;
    const Type *picture = &c->kernel->body->nodes[patch->picture].type;
    LLVMValueRef from = patch->rows_are_places ? add(c, c->from[c->rank - 2], c->row_from) : c->k_from;
    LLVMValueRef count = patch->rows_are_places ? c->row_count : c->k_count;
    LLVMValueRef line = contract_divide(c, add(c, from, count), patch->OW), image;
    int64_t step = patch->stride[0] * patch->W * patch->C;
    if (patch->image_axis < MAX_RANK) {
        image = c->from[patch->image_axis];
    } else {
        image = contract_divide(c, line, patch->OH);
        line = contract_rest(c, line, patch->OH);
    }
    LLVMValueRef first =
        add(c, mul(c, image, number(c, patch->H * patch->W * patch->C)), mul(c, line, number(c, step)));
    Region region = stretch(c, first, mul(c, contract_divide(c, count, patch->OW), number(c, step)));
    add_inputs(c, patch->picture, type_elements(*picture), &region, c->row_count);
}

/* Where the next block begins, in rows and in steps along k: it has the next rows at the same steps if rows are what is
 * copied one by one, else more steps, or the next piece's rows from the first step on. */
static void find_next(Contract *c, bool along_rows, LLVMValueRef *row, LLVMValueRef *k) {
    *row = add(c, c->from[c->rank - 2], c->row_from);
    *k = c->k_from;
    LLVMValueRef row_to = add(c, *row, c->row_count), k_to = add(c, *k, c->k_count);
    if (!along_rows) {
        *row = row_to;
        return;
    }
    LLVMValueRef is_last = LLVMBuildICmp(builder(c), LLVMIntSGE, k_to, pull_dim(c->p, c->depth), "");
    *row = LLVMBuildSelect(builder(c), is_last, row_to, *row, "");
    *k = LLVMBuildSelect(builder(c), is_last, number(c, 0), k_to, "");
}

/* Of rows that are copied: as many as the block has. */
static void ahead_of_rows(Contract *c) {
    const Graph *body = c->kernel->body;
    Digits digits = digits_of(body, c->product->in[0]);
    const Type *type = &body->nodes[digits.base].type;
    uint32_t rows = c->rank - 2, depth = c->rank - 1;
    bool along_rows = digits_count_fastest(body, &digits, rows);
    LLVMValueRef first = number(c, 0), row, k;
    Extent dense[MAX_RANK];
    if (digits.count[rows] != 1 || digits.count[depth] != 1) return;
    strided_dense(type, dense);
    find_next(c, along_rows, &row, &k);
    for (uint32_t i = 0; i < c->rank; i++) {
        LLVMValueRef at = i == depth ? k : i == rows ? row : c->from[i];
        if (digits.count[i] > 1) return;
        if (digits.count[i]) first = add(c, first, mul(c, at, pull_extent(c->p, dense[digits.axis[i][0]])));
    }
    Region region = {.first = first, .row = pull_extent(c->p, dense[digits.axis[along_rows ? depth : rows][0]])};
    region.rows = along_rows ? c->k_count : c->row_count;
    region.lines = lines_of_elements(c, along_rows ? c->row_count : c->k_count);
    add_inputs(c, digits.base, type_elements(*type), &region, c->row_count);
}

void contract_ahead_a(Contract *c) {
    c->ahead_count = c->ahead_b_count;
    /* Pictures of an open batch are few and come from the layer before: measured, nothing is gained. */
    if (type_elements(c->kernel->body->nodes[c->product->in[0]].type) < 0) return;
    if (c->has_patch)
        ahead_of_patch(c);
    else if (c->kernel->pack_a)
        ahead_of_rows(c);
}

void contract_ask_ahead(Contract *c) {
    LLVMTypeRef i64 = LLVMInt64TypeInContext(c->p->e->context);
    for (uint32_t i = 0; i < c->ahead_count; i++) {
        const Ahead *ahead = &c->ahead[i];
        LLVMValueRef from = LLVMBuildLoad2(builder(c), i64, ahead->at, "");
        LLVMValueRef to = pull_min(c->p, add(c, from, ahead->portion), ahead->total);
        Loop loop = loop_begin(c->p, from, to, number(c, 1));
        LLVMValueRef line = loop.index, offset = number(c, 0);
        if (!LLVMIsConstant(ahead->row) || LLVMConstIntGetSExtValue(ahead->row)) {
            offset = mul(c, LLVMBuildUDiv(builder(c), line, ahead->lines, ""), ahead->row);
            line = LLVMBuildURem(builder(c), line, ahead->lines, "");
        }
        offset = add(c, offset, mul(c, line, number(c, LINE)));
        pull_fetch(c->p, ahead->base, c->f32, add(c, ahead->first, offset), TO_READ);
        loop_end(c->p, &loop);
        LLVMBuildStore(builder(c), to, ahead->at);
    }
}
