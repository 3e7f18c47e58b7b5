/* A module's manifest as text, every field. Included by a test and by a small program that a test links with a built
 * object, so that constants in a file can be compared with what the JIT has in memory. */
#ifndef SELFC_TESTS_MODULE_DUMP_H
#define SELFC_TESTS_MODULE_DUMP_H
#include "runtime/abi.h"

#include <stdio.h>

static inline const char *dump_text(const char *text) { return text ? text : "(none)"; }

static inline void dump_tensor(const SelfcTensor *tensor, FILE *out) {
    fprintf(out, "%s dtype %d rank %d", dump_text(tensor->name), tensor->dtype, tensor->rank);
    for (int i = 0; i < SELFC_MAX_RANK; i++) fprintf(out, " %lld", (long long)tensor->dim[i]);
    fputc('\n', out);
}

static inline void dump_call(const SelfcCall *call, FILE *out) {
    fprintf(out, "  call %s @ %s phase %u flop %a bytes %a run %d grid", dump_text(call->name), dump_text(call->origin),
            call->phase, call->flop, call->bytes, call->run != NULL);
    for (uint32_t i = 0; i < call->grid_rank; i++)
        fprintf(out, " %lld/%lld", (long long)call->grid[i].extent, (long long)call->grid[i].block);
    for (uint32_t i = 0; i < call->arg_count; i++)
        fprintf(out, " (%u %lld %lld)", call->args[i].base, (long long)call->args[i].offset.fixed,
                (long long)call->args[i].offset.per_n);
    fputc('\n', out);
}

static inline void dump_program(const SelfcProgram *program, FILE *out) {
    fprintf(out, "program %s: %u in, %u out, %u phases, arena %lld %lld, batch %lld, prepared %lld, changes %d\n",
            program->name, program->input_count, program->output_count, program->phase_count,
            (long long)program->arena_bytes.fixed, (long long)program->arena_bytes.per_n, (long long)program->batch,
            (long long)program->prepared_bytes, program->changes_states);
    for (uint32_t i = 0; i < program->input_count + program->output_count; i++) dump_tensor(&program->io[i], out);
    for (uint32_t i = 0; i < program->call_count; i++) dump_call(&program->calls[i], out);
    for (uint32_t i = 0; program->prepare && i < program->prepare->call_count; i++)
        dump_call(&program->prepare->calls[i], out);
}

static inline void dump_training(const SelfcTraining *training, FILE *out) {
    fprintf(out, "training %d %d batch %lld epochs %lld seed %llu\n", training->train, training->evaluate,
            (long long)training->batch, (long long)training->epochs, (unsigned long long)training->seed);
    for (uint32_t i = 0; i < training->data_count; i++)
        fprintf(out, "data %s %s %s %s\n", training->data[i].input, training->data[i].source,
                dump_text(training->data[i].path), training->data[i].field);
    for (uint32_t i = 0; i < training->report_count; i++) fprintf(out, "report %s\n", training->reports[i]);
}

static inline void dump_module(const SelfcModule *module, FILE *out) {
    fprintf(out, "abi %u, %s, %s, state %lld, scratch %lld\n", module->abi_version, module->name,
            dump_text(module->description), (long long)module->state_bytes, (long long)module->scratch_bytes);
    for (uint32_t i = 0; i < module->state_count; i++) {
        const SelfcState *state = &module->states[i];
        fprintf(out, "state at %lld, parameter %d, init %d %a %a: ", (long long)state->offset, state->is_parameter,
                state->init, state->init_a, state->init_b);
        dump_tensor(&state->tensor, out);
    }
    for (uint32_t i = 0; i < module->program_count; i++) dump_program(&module->programs[i], out);
    dump_training(&module->training, out);
}
#endif
