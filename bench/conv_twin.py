#!/usr/bin/env python3
"""PyTorch's side of conv.c: `conv_twin.py THREADS < LAYERS`, with the same questions and answers."""
import statistics, sys, time

import torch


def directions(batch, side, channels, units, size, stride):
    """Runs by name. Everything lies channels last, as PyTorch likes it best."""
    last = {"memory_format": torch.channels_last}
    x = torch.rand(batch, channels, side, side).to(**last)
    w = (torch.rand(units, channels, size, size) - 0.5).to(**last)
    pad = [size // 2] * 2
    forward = lambda: torch.nn.functional.conv2d(x, w, None, stride, pad)
    dy = torch.rand_like(forward())

    def backward(*mask):
        return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, [stride] * 2, pad, [1, 1], False, [0, 0], 1,
                                                           [*mask, False])

    return {"forward": forward, "by-data": backward(True, False), "by-weights": backward(False, True)}


def measure(run, seconds):
    run()
    times = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 1000):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(times)


def main():
    torch.set_num_threads(int(sys.argv[1]))
    print("ready 0", flush=True)
    last, runs = None, {}
    with torch.inference_mode():
        for line in sys.stdin:
            *layer, seconds = line.split()
            if layer != last:
                runs = directions(*map(int, layer))
            last = layer
            for name, run in runs.items():
                median, count = measure(run, float(seconds))
                print(f"{name} {median:.9f} {count}", flush=True)


if __name__ == "__main__":
    main()
