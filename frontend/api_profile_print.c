/* A profile as text for terminals, and as JSON for programs. */
#include "frontend/api_profile.h"

enum { PRINT_LAYERS = 4 };

/* --- text --- */

static void print_kinds(const Profile *profile, FILE *out) {
    fprintf(out, "%9s %6s %5s %10s %9s %7s  %s\n", "us", "share", "calls", "MFLOP", "MB", "limit", "kind");
    for (uint32_t i = 0; i < profile->kind_count; i++) {
        const ProfileKind *kind = &profile->kinds[i];
        fprintf(out, "%9.1f %5.1f%% %5u %10.2f %9.3f %6.1f%%  %s %s\n", kind->seconds * 1e6,
                100 * profile_share(kind->seconds, profile->seconds), kind->calls, kind->flop / 1e6, kind->bytes / 1e6,
                100 * profile_share(kind->limit, kind->seconds), kind->part, kind->is_product ? "products" : "maps");
    }
}

static void print_kernel(const Profile *profile, const ProfileKernel *row, FILE *out) {
    fprintf(out, "%9.1f %5.1f%% %5u %10.2f %9.3f %6.1f%% %c %4.0f%% %4.0f%% %6u  %s\n%67s%s\n", row->seconds * 1e6,
            100 * profile_share(row->seconds, profile->seconds), row->calls, row->flop / 1e6, row->bytes / 1e6,
            100 * profile_share(row->limit, row->seconds), row->is_memory ? 'm' : 'a', 100 * row->tail_waste,
            100 * row->imbalance, row->code.inner_stores + row->code.inner_loads, row->name, "", row->reason);
    if (row->layers.count < 2 && row->parts.count < 2) return;
    fprintf(out, "%67sserves ", "");
    for (uint32_t i = 0; row->parts.count > 1 && i < row->parts.count; i++) fprintf(out, "%s, ", row->parts.items[i]);
    for (uint32_t i = 0; i < row->layers.count && i < PRINT_LAYERS; i++)
        fprintf(out, "%s%s", i ? ", " : "", row->layers.items[i]);
    if (row->layers.count > PRINT_LAYERS) fprintf(out, " and %u more", row->layers.count - PRINT_LAYERS);
    fputc('\n', out);
}

void profile_print_text(const Profile *profile, FILE *out) {
    double peak = profile->run_seconds * profile->peak_flop;
    fprintf(out,
            "%s, batch %lld, %d thread%s: %.3f ms a run, %.1f GFLOP/s, %.1f%% of the measured peak (products alone: "
            "%.1f%%)\n",
            profile->function, (long long)profile->batch, profile->threads, profile->threads == 1 ? "" : "s",
            1e3 * profile->run_seconds, profile->flop / profile->run_seconds / 1e9, 100 * profile->flop / peak,
            100 * profile->product_flop / peak);
    fprintf(out,
            "measured limits: %.0f GFLOP/s of arithmetic (a), %.0f GB/s from memory (m)\n"
            "kernels %.3f ms, and a thread waits for the others %.3f ms of a run\n\n",
            profile->peak_flop / 1e9, profile->peak_bytes / 1e9, 1e3 * profile->seconds, 1e3 * profile->wait);
    print_kinds(profile, out);
    fprintf(out, "\n%9s %6s %5s %10s %9s %9s %5s %5s %6s  %s\n", "us", "share", "calls", "MFLOP", "MB", "limit  ",
            "tail", "idle", "spills", "kernel, what holds it, its layers");
    for (uint32_t i = 0; i < profile->kernel_count; i++) print_kernel(profile, &profile->kernels[i], out);
}

/* --- JSON --- */

static void json_text(const char *text, FILE *out) {
    fputc('"', out);
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20)
            fprintf(out, "\\u%04x", (unsigned)*text);
        else
            fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    fputc('"', out);
}

static void json_words(const char *key, const ProfileWords *words, FILE *out) {
    fprintf(out, ", \"%s\": [", key);
    for (uint32_t i = 0; i < words->count; i++) {
        if (i) fprintf(out, ", ");
        json_text(words->items[i], out);
    }
    fprintf(out, "]");
}

static void json_kind(const Profile *profile, const ProfileKind *kind, FILE *out) {
    fprintf(out,
            "{\"part\": \"%s\", \"kind\": \"%s\", \"calls\": %u, \"microseconds\": %.3f, \"share_of_time\": %.5f, "
            "\"flop\": %.0f, \"bytes\": %.0f, \"share_of_limit\": %.5f}",
            kind->part, kind->is_product ? "product" : "map", kind->calls, kind->seconds * 1e6,
            profile_share(kind->seconds, profile->seconds), kind->flop, kind->bytes,
            profile_share(kind->limit, kind->seconds));
}

static void json_grid(const Kernel *kernel, int64_t n, FILE *out) {
    fprintf(out, ", \"grid\": [");
    for (uint32_t i = 0; i < kernel->grid.rank; i++)
        fprintf(out, "%s{\"elements\": %lld, \"block_elements\": %lld}", i ? ", " : "",
                (long long)dim_at(kernel->grid.axis[i].extent, n), (long long)kernel->grid.axis[i].block);
    fprintf(out, "]");
}

static void json_tile(const Kernel *kernel, FILE *out) {
    if (kernel->kind != KERNEL_contract) {
        fprintf(out, ", \"tile\": null");
        return;
    }
    fprintf(out,
            ", \"tile\": {\"rows\": %u, \"vectors\": %u, \"depth_block_elements\": %lld, \"packs_left\": %s, "
            "\"packs_right\": %s, \"winograd\": %s}",
            kernel->tile_rows, kernel->tile_vectors, (long long)kernel->depth_block, kernel->pack_a ? "true" : "false",
            kernel->pack_b ? "true" : "false", kernel->winograd ? "true" : "false");
}

static void json_code(const ProfileKernel *row, FILE *out) {
    const Inspection *code = &row->code;
    fprintf(out,
            ", \"spills\": %u, \"spill_stores_in_inner_loops\": %u, \"spill_loads_in_inner_loops\": %u, "
            "\"spills_elsewhere\": %u, \"instructions_in_inner_loops\": %u, \"code_bytes\": %llu",
            code->inner_stores + code->inner_loads, code->inner_stores, code->inner_loads,
            code->stores + code->loads - code->inner_stores - code->inner_loads, code->inner_instructions,
            (unsigned long long)code->code_bytes);
}

static void json_kernel(const Profile *profile, const ProfileKernel *row, FILE *out) {
    fprintf(out, "{\"name\": ");
    json_text(row->name, out);
    fprintf(out, ", \"operations\": ");
    json_text(row->kernel->name, out);
    bool is_product = row->kernel->kind == KERNEL_contract || row->kernel->kind == KERNEL_attention;
    fprintf(out, ", \"kind\": \"%s\"", is_product ? "product" : kernel_kind_name[row->kernel->kind]);
    json_words("layers", &row->layers, out);
    json_words("parts", &row->parts, out);
    fprintf(out, ", \"phases\": [");
    for (uint32_t i = 0; i < row->calls; i++) fprintf(out, "%s%u", i ? ", " : "", row->phases[i]);
    fprintf(out,
            "], \"calls\": %u, \"microseconds\": %.3f, \"share_of_time\": %.5f, \"flop\": %.0f, \"bytes\": %.0f, "
            "\"share_of_limit\": %.5f, \"limit\": \"%s\", \"limit_microseconds\": %.3f, \"reason\": ",
            row->calls, row->seconds * 1e6, profile_share(row->seconds, profile->seconds), row->flop, row->bytes,
            profile_share(row->limit, row->seconds), row->is_memory ? "memory" : "arithmetic", row->limit * 1e6);
    json_text(row->reason, out);
    fprintf(out, ", \"tail_waste\": %.5f, \"imbalance\": %.5f, \"wait_microseconds\": %.3f", row->tail_waste,
            row->imbalance, row->wait * 1e6);
    json_code(row, out);
    json_tile(row->kernel, out);
    json_grid(row->kernel, profile->batch, out);
    fprintf(out, ", \"pieces\": %lld}", (long long)row->pieces);
}

void profile_print_json(const Profile *profile, FILE *out) {
    double peak = profile->run_seconds * profile->peak_flop;
    fprintf(out, "{\"model\": ");
    json_text(profile->model, out);
    fprintf(out, ", \"function\": ");
    json_text(profile->function, out);
    fprintf(out, ", \"cpu\": ");
    json_text(profile->cpu, out);
    fprintf(out,
            ", \"vector_bytes\": %u, \"batch_samples\": %lld, \"threads\": %d,\n \"runs\": %.0f, "
            "\"run_microseconds\": %.3f, \"kernel_microseconds\": %.3f, \"wait_microseconds\": %.3f,\n"
            " \"flop\": %.0f, \"product_flop\": %.0f, \"bytes\": %.0f,\n \"peak_flop_per_second\": %.0f, "
            "\"memory_bytes_per_second\": %.0f, \"share_of_peak\": %.5f, \"products_share_of_peak\": %.5f,\n"
            " \"kinds\": [",
            profile->vector_bytes, (long long)profile->batch, profile->threads, profile->runs,
            profile->run_seconds * 1e6, profile->seconds * 1e6, profile->wait * 1e6, profile->flop,
            profile->product_flop, profile->bytes, profile->peak_flop, profile->peak_bytes, profile->flop / peak,
            profile->product_flop / peak);
    for (uint32_t i = 0; i < profile->kind_count; i++) {
        fprintf(out, "%s\n  ", i ? "," : "");
        json_kind(profile, &profile->kinds[i], out);
    }
    fprintf(out, "],\n \"kernels\": [");
    for (uint32_t i = 0; i < profile->kernel_count; i++) {
        fprintf(out, "%s\n  ", i ? "," : "");
        json_kernel(profile, &profile->kernels[i], out);
    }
    fprintf(out, "]}\n");
}
