"""Attention alone, the result and the result with its gradients, against PyTorch's scaled_dot_product_attention."""
import os, statistics, subprocess, sys

from rivals import HERE, Rival, check_idle, measure_peak

DIRECTIONS = ("forward", "both")
# name: batch, queries, keys, heads, width, causal, dropout
SHAPES = {
    "BERT-base 8x128, 12 heads of 64": (8, 128, 128, 12, 64, 0, 0),
    "BERT-base with dropout 0.1": (8, 128, 128, 12, 64, 0, 0.1),
    "MiniLM 32x128, 12 heads of 32": (32, 128, 128, 12, 32, 0, 0),
    "long 1x2048, 12 heads of 64": (1, 2048, 2048, 12, 64, 0, 0),
    "long and causal": (1, 2048, 2048, 12, 64, 1, 0),
}


def flop(shape, direction):
    """Two products forward, five backward; with a causal mask of the pairs that are seen."""
    batch, queries, keys, heads, width, causal, _ = shape
    pairs = queries * (queries + 1) / 2 if causal else queries * keys
    return 2 * (2 if direction == "forward" else 7) * batch * heads * width * pairs


def build_program(arguments):
    subprocess.run(["cmake", "--build", arguments.build, "--target", "bench_attention"], check=True,
                   stdout=subprocess.DEVNULL)
    return os.path.join(arguments.build, "bench_attention")


def ask(rival, name, seconds):
    """Seconds by direction."""
    print(*SHAPES[name], seconds, file=rival.process.stdin, flush=True)
    answers = [rival.process.stdout.readline().split() for _ in DIRECTIONS]
    if not all(answers):
        sys.exit(f"{rival.name} did not survive {name}")
    return {direction: float(median) for direction, median, _ in answers}


def compare_attention(arguments):
    rivals = [Rival("selfc", [build_program(arguments), str(arguments.threads)]),
              Rival("PyTorch", [sys.executable, os.path.join(HERE, "attention_twin.py"), str(arguments.threads)])]
    rows, peaks = [], []
    print(f"\n{arguments.threads} threads\n{'':44}{'selfc ms':>10}{'of peak':>9}{'torch ms':>10}{'of peak':>9}{'ratio':>7}")
    for name, shape in SHAPES.items():
        own, times = [], {rival.name: [] for rival in rivals}
        for _ in range(arguments.rounds):
            own.append(measure_peak(arguments.peak, arguments.threads))
            for rival in rivals:
                times[rival.name].append(ask(rival, name, arguments.seconds))
        peaks += own
        for direction in DIRECTIONS:
            selfc, torch = (statistics.median(round[direction] for round in times[rival.name]) for rival in rivals)
            ideal = flop(shape, direction) / statistics.median(own) / 1e9
            rows.append({"shape": name, "direction": direction, "selfc_ms": round(selfc * 1e3, 3),
                         "torch_ms": round(torch * 1e3, 3), "ratio": round(torch / selfc, 3),
                         "share_of_peak": round(ideal / selfc, 4), "torch_share_of_peak": round(ideal / torch, 4)})
            print(f"{name + ' ' + direction:44}{selfc * 1e3:10.3f}{ideal / selfc:9.1%}{torch * 1e3:10.3f}"
                  f"{ideal / torch:9.1%}{torch / selfc:7.2f}", flush=True)
    for rival in rivals:
        rival.close()
    peak = statistics.median(peaks)
    check_idle(arguments, peak, arguments.threads)
    ratio = statistics.geometric_mean(row["ratio"] for row in rows)
    print(f"\n{'geometric mean':82}{ratio:7.2f}")
    return {"threads": arguments.threads, "ratio": round(ratio, 3), "peak_gflops": round(peak, 1), "rows": rows}
