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
