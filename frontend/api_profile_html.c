/* A profile as one page that opens from disk without a network. Each kernel is a bar as long as its time, filled as far
 * as the machine's limit would need; a touch opens its facts. Sorted by time; a few lines of script sort it otherwise,
 * and without them the page still reads. Colours follow the reader's light or dark setting; it fits a phone. */
#include "frontend/api_profile.h"

static const char html_style[] =
    ":root{color-scheme:light dark;"
    "--page:#fff;--text:#1c1c1e;--faint:#6b6b70;--line:#dcdce0;--need:#2563c9;--gap:#c3d5f3}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#151517;--text:#ececf0;--faint:#9a9aa2;--line:#36363c;"
    "--need:#6ea8ff;--gap:#2c3f5e}}\n"
    "body{background:var(--page);color:var(--text);font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:0 auto;"
    "padding:1rem}\n"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.5rem 0}.faint{color:var(--faint)}\n"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .5rem .25rem 0;"
    "border-bottom:1px solid var(--line);font-variant-numeric:tabular-nums;overflow-wrap:anywhere}\n"
    ".facts th{width:35%;font-weight:400;color:var(--faint)}.wide{overflow-x:auto}"
    ".wide td,.wide th{white-space:nowrap}\n"
    ".number{text-align:right;padding-left:.5rem}\n"
    "details{border-bottom:1px solid var(--line);padding:.4rem 0}summary{cursor:pointer;list-style:none}\n"
    "summary::-webkit-details-marker{display:none}\n"
    ".head{display:flex;gap:.75rem;justify-content:space-between}.head b{font-weight:600;overflow-wrap:anywhere}\n"
    ".head span{white-space:nowrap;font-variant-numeric:tabular-nums}.why{color:var(--faint);font-size:.85rem}\n"
    ".bar{height:.6rem;background:var(--gap);border-radius:3px;margin:.25rem 0;min-width:2px;overflow:hidden}\n"
    ".bar i{display:block;height:100%;background:var(--need)}\n"
    "button{font:inherit;font-size:.9rem;color:inherit;background:none;border:1px solid var(--line);"
    "border-radius:4px;padding:.2rem .6rem;margin:0 .25rem .25rem 0}\n"
    "button[aria-pressed=true]{border-color:var(--need);color:var(--need)}\n";

static const char html_script[] =
    "document.querySelectorAll('button').forEach(function(button){button.onclick=function(){\n"
    "var key=button.dataset.by,list=document.getElementById('kernels');\n"
    "Array.from(list.children).sort(function(a,b){return b.dataset[key]-a.dataset[key]})"
    ".forEach(function(row){list.appendChild(row)});\n"
    "document.querySelectorAll('button').forEach(function(other){"
    "other.setAttribute('aria-pressed',other===button)})}})\n";

/* What rows can be sorted by: the names of their data attributes. */
static const struct {
    const char *key, *label;
} html_orders[] = {{"time", "time"},     {"gap", "gap to the limit"}, {"calls", "calls"},
                   {"spills", "spills"}, {"tail", "tail waste"},      {"idle", "imbalance"}};
enum { HTML_ORDERS = sizeof html_orders / sizeof *html_orders };

static void html_text(const char *text, FILE *out) {
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
}

static void html_head(const Profile *profile, FILE *out) {
    double peak = profile->run_seconds * profile->peak_flop;
    fprintf(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                 "content=\"width=device-width,initial-scale=1\">\n<title>");
    html_text(profile->model, out);
    fprintf(out, ": profile</title>\n<style>\n%s</style></head><body>\n<h1>", html_style);
    html_text(profile->model, out);
    fprintf(out, ", %s</h1>\n<table class=facts>\n", profile->function);
    fprintf(out, "<tr><th>a run<td>%.3f ms, %.1f GFLOP/s\n", 1e3 * profile->run_seconds,
            profile->flop / profile->run_seconds / 1e9);
    fprintf(out, "<tr><th>share of the peak<td>%.1f%%; products alone %.1f%%\n", 100 * profile->flop / peak,
            100 * profile->product_flop / peak);
    fprintf(out, "<tr><th>in kernels<td>%.3f ms; a thread waits for the others %.3f ms\n", 1e3 * profile->seconds,
            1e3 * profile->wait);
    fprintf(out, "<tr><th>measured limits<td>%.0f GFLOP/s, %.0f GB/s from memory\n", profile->peak_flop / 1e9,
            profile->peak_bytes / 1e9);
    fprintf(out, "<tr><th>where<td>batch %lld, %d thread%s, ", (long long)profile->batch, profile->threads,
            profile->threads == 1 ? "" : "s");
    html_text(profile->cpu, out);
    fprintf(out, ", vectors of %u bytes\n</table>\n", profile->vector_bytes);
}

static void html_kinds(const Profile *profile, FILE *out) {
    fprintf(out, "<h2>Kinds</h2>\n<div class=wide><table><tr><th>kind<th class=number>µs<th class=number>share"
                 "<th class=number>calls<th class=number>MFLOP<th class=number>MB<th class=number>of the limit\n");
    for (uint32_t i = 0; i < profile->kind_count; i++) {
        const ProfileKind *kind = &profile->kinds[i];
        fprintf(out,
                "<tr><td>%s %s<td class=number>%.1f<td class=number>%.1f%%<td class=number>%u<td class=number>%.2f"
                "<td class=number>%.3f<td class=number>%.1f%%\n",
                kind->part, kind->is_product ? "products" : "maps", kind->seconds * 1e6,
                100 * profile_share(kind->seconds, profile->seconds), kind->calls, kind->flop / 1e6, kind->bytes / 1e6,
                100 * profile_share(kind->limit, kind->seconds));
    }
    fprintf(out, "</table></div>\n");
}

static void html_shape(const Profile *profile, const ProfileKernel *row, FILE *out) {
    const Kernel *kernel = row->kernel;
    fprintf(out, "<tr><th>space<td>");
    for (uint32_t i = 0; i < kernel->grid.rank; i++)
        fprintf(out, "%s%lld", i ? " × " : "", (long long)dim_at(kernel->grid.axis[i].extent, profile->batch));
    fprintf(out, ", in %lld piece%s\n", (long long)row->pieces, row->pieces == 1 ? "" : "s");
    if (kernel->kind != KERNEL_contract) return;
    fprintf(out, "<tr><th>tile<td>%u rows × %u vectors%s%s%s\n", kernel->tile_rows, kernel->tile_vectors,
            kernel->winograd ? ", 16 products for 2×2 places (Winograd)" : "",
            kernel->pack_a ? ", packs the left operand" : "", kernel->pack_b ? ", packs the right operand" : "");
}

static void html_facts(const Profile *profile, const ProfileKernel *row, FILE *out) {
    const Inspection *code = &row->code;
    fprintf(out, "<table class=facts>\n<tr><th>layers<td>");
    for (uint32_t i = 0; i < row->layers.count; i++) {
        if (i) fprintf(out, ", ");
        html_text(row->layers.items[i], out);
    }
    fprintf(out, "\n<tr><th>part<td>");
    for (uint32_t i = 0; i < row->parts.count; i++) fprintf(out, "%s%s", i ? ", " : "", row->parts.items[i]);
    fprintf(out, "\n<tr><th>work<td>%u call%s, %.2f MFLOP, %.3f MB\n", row->calls, row->calls == 1 ? "" : "s",
            row->flop / 1e6, row->bytes / 1e6);
    fprintf(out, "<tr><th>limit<td>%s: %.1f µs, %.1f%% of the time taken\n", row->is_memory ? "memory" : "arithmetic",
            row->limit * 1e6, 100 * profile_share(row->limit, row->seconds));
    fprintf(out, "<tr><th>tail waste<td>%.1f%%\n<tr><th>imbalance<td>%.1f%%, %.1f µs of waiting\n",
            100 * row->tail_waste, 100 * row->imbalance, row->wait * 1e6);
    fprintf(out, "<tr><th>spills<td>%u stores and %u loads in inner loops of %u instructions; %u elsewhere\n",
            code->inner_stores, code->inner_loads, code->inner_instructions,
            code->stores + code->loads - code->inner_stores - code->inner_loads);
    html_shape(profile, row, out);
    fprintf(out, "</table>");
}

static void html_kernel(const Profile *profile, const ProfileKernel *row, double slowest, FILE *out) {
    double filled = profile_share(row->limit, row->seconds), gap = row->seconds - row->limit;
    fprintf(out,
            "<details data-time=\"%.3f\" data-gap=\"%.3f\" data-calls=\"%u\" data-spills=\"%u\" data-tail=\"%.5f\" "
            "data-idle=\"%.5f\"><summary><div class=head><b>",
            row->seconds * 1e6, gap * 1e6, row->calls, row->code.inner_stores + row->code.inner_loads, row->tail_waste,
            row->imbalance);
    html_text(row->name, out);
    fprintf(out,
            "</b><span>%.1f µs · %.1f%%</span></div>\n<div class=bar style=\"width:%.2f%%\">"
            "<i style=\"width:%.1f%%\"></i></div>\n<div class=why>",
            row->seconds * 1e6, 100 * profile_share(row->seconds, profile->seconds),
            100 * profile_share(row->seconds, slowest), filled > 1 ? 100 : 100 * filled);
    html_text(row->reason, out);
    fprintf(out, "</div></summary>\n");
    html_facts(profile, row, out);
    fprintf(out, "</details>\n");
}

void profile_print_html(const Profile *profile, FILE *out) {
    html_head(profile, out);
    html_kinds(profile, out);
    fprintf(out, "<h2>Kernels</h2>\n<p class=faint>A bar is the time of all calls; its full part is what the nearer "
                 "limit of the machine would need. A touch shows more.</p>\n<p>");
    for (int i = 0; i < HTML_ORDERS; i++)
        fprintf(out, "<button data-by=\"%s\" aria-pressed=\"%s\">%s</button>", html_orders[i].key, i ? "false" : "true",
                html_orders[i].label);
    fprintf(out, "</p>\n<div id=kernels>\n");
    for (uint32_t i = 0; i < profile->kernel_count; i++)
        html_kernel(profile, &profile->kernels[i], profile->kernels[0].seconds, out);
    fprintf(out, "</div>\n<script>\n%s</script>\n</body></html>\n", html_script);
}
