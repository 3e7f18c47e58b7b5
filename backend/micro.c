/* See micro.h. */
#include "backend/micro.h"

Round micro_round_begin(Pull *p, LLVMValueRef from, LLVMValueRef end, LLVMValueRef const *values, uint32_t count,
                        bool may_be_empty) {
    LLVMBuilderRef b = p->e->builder;
    LLVMContextRef context = p->e->context;
    Round round = {
        .before = LLVMGetInsertBlock(b), .end = end, .count = count, .step = 1, .may_be_empty = may_be_empty};
    round.body = LLVMAppendBasicBlockInContext(context, p->e->function, "micro");
    round.after = LLVMAppendBasicBlockInContext(context, p->e->function, "tile");
    if (may_be_empty)
        LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, from, end, ""), round.body, round.after);
    else
        LLVMBuildBr(b, round.body);
    LLVMPositionBuilderAtEnd(b, round.body);
    round.index = LLVMBuildPhi(b, LLVMInt64TypeInContext(context), "k");
    LLVMAddIncoming(round.index, &from, &round.before, 1);
    for (uint32_t i = 0; i < count; i++) {
        round.first[i] = values[i];
        round.phi[i] = LLVMBuildPhi(b, LLVMTypeOf(values[i]), "c");
        LLVMAddIncoming(round.phi[i], &round.first[i], &round.before, 1);
    }
    return round;
}

void micro_round_end(Pull *p, Round *round, LLVMValueRef *values) {
    LLVMBuilderRef b = p->e->builder;
    LLVMBasicBlockRef last = LLVMGetInsertBlock(b);
    LLVMValueRef next = pull_add(p, round->index, pull_i64(p, round->step));
    LLVMAddIncoming(round->index, &next, &last, 1);
    for (uint32_t i = 0; i < round->count; i++) LLVMAddIncoming(round->phi[i], &values[i], &last, 1);
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSLT, next, round->end, ""), round->body, round->after);
    LLVMPositionBuilderAtEnd(b, round->after);
    for (uint32_t i = 0; round->may_be_empty && i < round->count; i++) {
        LLVMValueRef behind = LLVMBuildPhi(b, LLVMTypeOf(values[i]), "c");
        LLVMAddIncoming(behind, &round->first[i], &round->before, 1);
        LLVMAddIncoming(behind, &values[i], &last, 1);
        values[i] = behind;
    }
}

static LLVMValueRef multiply_add(const Micro *m, LLVMValueRef a, LLVMValueRef b, LLVMValueRef sum) {
    LLVMBuilderRef build = m->p->e->builder;
    if (!m->p->e->target->machine.has_fma) return LLVMBuildFAdd(build, sum, LLVMBuildFMul(build, a, b, ""), "");
    LLVMValueRef args[] = {a, b, sum};
    LLVMTypeRef type = LLVMTypeOf(sum);
    return pull_intrinsic(m->p, "llvm.fma", &type, 1, args, 3);
}

void micro_step(const Micro *m, LLVMValueRef a, LLVMValueRef b, LLVMValueRef const *before, LLVMValueRef *sum) {
    Pull *p = m->p;
    LLVMTypeRef f32 = pull_type(p, DTYPE_f32, 1), vector = pull_type(p, DTYPE_f32, m->lanes);
    LLVMValueRef vectors[MOST_VECTORS];
    for (uint32_t v = 0; v < m->vectors; v++) {
        LLVMValueRef at = pull_address(p, b, f32, pull_i64(p, v * m->lanes));
        vectors[v] = pull_load(p, vector, at, m->align, v == m->vectors - 1 ? m->mask : NULL, false);
    }
    for (uint32_t r = 0; r < m->rows; r++) {
        LLVMValueRef x = pull_load(p, f32, pull_address(p, a, f32, m->row[r]), 4, NULL, false);
        LLVMValueRef wide = pull_splat(p, x, m->lanes);
        for (uint32_t v = 0; v < m->vectors; v++) {
            uint32_t i = r * m->vectors + v;
            sum[i] = multiply_add(m, wide, vectors[v], before[i]);
        }
    }
}

uint32_t micro_unroll(uint32_t products, uint32_t lanes) {
    if (lanes < 8) return 1;
    return products <= 16 ? 4 : products <= 24 ? 2 : 1;
}

/* log2(lanes) rounds, each exchanging blocks of half the size. */
void micro_transpose(Pull *p, LLVMValueRef *rows, uint32_t lanes) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(p->e->context);
    for (uint32_t step = 1; step < lanes; step *= 2)
        for (uint32_t i = 0; i < lanes; i++) {
            if (i & step) continue;
            LLVMValueRef low[64], high[64], a = rows[i], b = rows[i + step];
            for (uint32_t lane = 0; lane < lanes; lane++) {
                low[lane] = LLVMConstInt(i32, lane & step ? lane - step + lanes : lane, false);
                high[lane] = LLVMConstInt(i32, lane & step ? lane + lanes : lane + step, false);
            }
            rows[i] = LLVMBuildShuffleVector(p->e->builder, a, b, LLVMConstVector(low, lanes), "");
            rows[i + step] = LLVMBuildShuffleVector(p->e->builder, a, b, LLVMConstVector(high, lanes), "");
        }
}
