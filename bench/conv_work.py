"""Single convolutions of ResNet-50 in three directions, each compiled alone, against PyTorch's."""
import os, statistics, sys

from resnet_layers import resnet
from rivals import HERE, Rival, build_program, check_idle, measure_peak

DIRECTIONS = ("forward", "by-data", "by-weights")
BATCH = 16


def ask(rival, conv, seconds):
    """Seconds by direction."""
    print(BATCH, conv.side, conv.channels, conv.units, conv.size, conv.stride, seconds, file=rival.process.stdin,
          flush=True)
    answers = [rival.process.stdout.readline().split() for _ in DIRECTIONS]
    if not all(answers):
        sys.exit(f"{rival.name} did not survive {conv}")
    return {name: float(median) for name, median, _ in answers}


def measure_layer(arguments, rivals, conv):
    """GFLOP/s of the peak, and for each rival the median seconds by direction."""
    peaks, times = [], {rival.name: [] for rival in rivals}
    for _ in range(arguments.rounds):
        peaks.append(measure_peak(arguments.peak, arguments.threads))
        for rival in rivals:
            times[rival.name].append(ask(rival, conv, arguments.seconds))
    median = {name: {d: statistics.median(round[d] for round in rounds) for d in DIRECTIONS}
              for name, rounds in times.items()}
    return statistics.median(peaks), median


class Total:
    """Of a network: seconds at the peak, and those of selfc and of PyTorch, each layer as often as it occurs."""

    def __init__(self):
        self.peak = self.selfc = self.torch = 0.0

    def add(self, count, ideal, selfc, torch):
        self.peak += count * ideal
        self.selfc += count * selfc
        self.torch += count * torch

    def row(self):
        return {"selfc_ms": round(self.selfc * 1e3, 3), "torch_ms": round(self.torch * 1e3, 3),
                "ratio": round(self.torch / self.selfc, 3), "share_of_peak": round(self.peak / self.selfc, 4),
                "torch_share_of_peak": round(self.peak / self.torch, 4)}


def print_row(what, count, row):
    print(f"{what:44}{count:>4}{row['selfc_ms']:10.3f}{row['share_of_peak']:8.1%}{row['torch_ms']:10.3f}"
          f"{row['torch_share_of_peak']:8.1%}{row['ratio']:7.2f}", flush=True)


def compare_conv(arguments):
    network = resnet(50)
    rivals = [Rival("selfc", [build_program(arguments, "bench_conv"), str(arguments.threads)]),
              Rival("PyTorch", [sys.executable, os.path.join(HERE, "conv_twin.py"), str(arguments.threads)])]
    totals, rows, peaks = {direction: Total() for direction in (*DIRECTIONS, "all")}, [], []
    print(f"\nbatch {BATCH}, {arguments.threads} threads; times of one layer\n"
          f"{'':44}{'':>4}{'selfc ms':>10}{'of peak':>8}{'torch ms':>10}{'of peak':>8}{'ratio':>7}")
    for conv, count in network.distinct.items():
        peak, times = measure_layer(arguments, rivals, conv)
        peaks.append(peak)
        for direction in DIRECTIONS:
            if direction == "by-data" and conv == network.stem:
                continue  # nobody asks for the gradient of pictures
            layer = Total()
            numbers = (conv.flop(BATCH) / peak / 1e9, times["selfc"][direction], times["PyTorch"][direction])
            layer.add(1, *numbers)
            totals[direction].add(count, *numbers)
            totals["all"].add(count, *numbers)
            rows.append({"layer": str(conv), "direction": direction, "count": count, **layer.row()})
            print_row(f"{conv} {direction}", f"x{count}", rows[-1])
    for rival in rivals:
        rival.close()
    print("\nthe network's, each layer as often as it occurs")
    for direction, total in totals.items():
        print_row(direction, "", total.row())
    peak = statistics.median(peaks)
    check_idle(arguments, peak, arguments.threads)
    return {"batch": BATCH, "threads": arguments.threads, **totals["all"].row(), "peak_gflops": round(peak, 1),
            "directions": {direction: totals[direction].row() for direction in DIRECTIONS}, "rows": rows}
