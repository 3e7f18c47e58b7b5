/* Loops of emitted kernels, tested at the bottom, and the cutting of a grid into pieces. */
#include "backend/pull.h"

Loop loop_begin(Pull *p, LLVMValueRef from, LLVMValueRef to, LLVMValueRef step) {
    LLVMBuilderRef b = p->e->builder;
    LLVMContextRef c = p->e->context;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b);
    Loop loop = {.to = to, .step = step, .mark = pull_mark(p)};
    loop.body = LLVMAppendBasicBlockInContext(c, p->e->function, "loop");
    loop.exit = LLVMAppendBasicBlockInContext(c, p->e->function, "done");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, from, to, ""), loop.body, loop.exit);
    LLVMPositionBuilderAtEnd(b, loop.body);
    loop.index = LLVMBuildPhi(b, LLVMTypeOf(from), "i");
    LLVMAddIncoming(loop.index, &from, &before, 1);
    return loop;
}

void loop_end(Pull *p, Loop *loop) {
    LLVMBuilderRef b = p->e->builder;
    LLVMBasicBlockRef last = LLVMGetInsertBlock(b);
    LLVMValueRef next = LLVMBuildNSWAdd(b, loop->index, loop->step, "");
    LLVMAddIncoming(loop->index, &next, &last, 1);
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, loop->to, ""), loop->body, loop->exit);
    LLVMPositionBuilderAtEnd(b, loop->exit);
    pull_forget(p, loop->mark);
}

void loop_lanes(Pull *p, LLVMValueRef from, LLVMValueRef to, Lanes full, LanesEmit *emit, void *context) {
    LLVMBuilderRef b = p->e->builder;
    uint32_t steps[] = {full.unroll * full.width, full.width};
    bool has_masks = p->e->target->machine.has_masks;
    for (int i = full.unroll == 1; i < 2 && !(i == 1 && has_masks && full.unroll > 1); i++) {
        LLVMValueRef size = pull_i64(p, steps[i]), count = LLVMBuildSub(b, to, from, "");
        LLVMValueRef end = pull_add(p, from, pull_mul(p, LLVMBuildSDiv(b, count, size, ""), size));
        Loop loop = loop_begin(p, from, end, size);
        emit(context, loop.index, (Lanes){full.width, i == 0 ? full.unroll : 1, NULL});
        loop_end(p, &loop);
        from = end;
    }
    Loop rest = loop_begin(p, from, to, pull_i64(p, full.width));
    LLVMValueRef left = full.width > 1 ? LLVMBuildSub(b, to, rest.index, "") : NULL;
    emit(context, rest.index, (Lanes){full.width, 1, left ? pull_mask(p, left, full.width) : NULL});
    loop_end(p, &rest);
}

void loop_piece(Pull *p, LLVMValueRef piece, LLVMValueRef from[MAX_RANK], LLVMValueRef to[MAX_RANK]) {
    LLVMBuilderRef b = p->e->builder;
    const Grid *grid = &p->e->kernel->grid;
    bool rows_first = p->e->kernel->kind == KERNEL_contract;
    for (uint32_t k = grid->rank; k--;) {
        uint32_t i = !rows_first || k + 2 < grid->rank ? k : 2 * grid->rank - 3 - k; /* the last two change places */
        LLVMValueRef extent = pull_dim(p, grid->axis[i].extent);
        from[i] = pull_i64(p, 0);
        to[i] = extent;
        int64_t block = grid->axis[i].block;
        if (!block) continue;
        LLVMValueRef size = pull_i64(p, block);
        LLVMValueRef count = LLVMBuildUDiv(b, pull_add(p, extent, pull_i64(p, block - 1)), size, "");
        from[i] = pull_mul(p, LLVMBuildURem(b, piece, count, ""), size);
        to[i] = pull_min(p, pull_add(p, from[i], size), extent);
        piece = LLVMBuildUDiv(b, piece, count, "");
    }
}
