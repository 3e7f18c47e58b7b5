#!/usr/bin/env python3
"""PyTorch's side of attention.c: `attention_twin.py THREADS < SHAPES`, with the same questions and answers."""
import sys

import torch

from conv_twin import measure


def directions(batch, queries, keys, heads, width, causal, rate):
    """Runs by name. Operands lie as a dense layer leaves them, and so do results."""
    def operand(positions):
        return torch.rand(batch, positions, heads * width).mul_(2).sub_(1).requires_grad_()

    def turned(x):
        return x.view(batch, -1, heads, width).transpose(1, 2)

    q, k, v = operand(queries), operand(keys), operand(keys)
    dy = torch.rand(batch, queries, heads * width)

    def attend():
        y = torch.nn.functional.scaled_dot_product_attention(turned(q), turned(k), turned(v), dropout_p=rate,
                                                             is_causal=bool(causal))
        return y.transpose(1, 2).reshape(batch, queries, heads * width)

    def forward():
        with torch.inference_mode():
            return attend()

    return {"forward": forward, "both": lambda: torch.autograd.grad(attend(), (q, k, v), dy)}


def main():
    torch.set_num_threads(int(sys.argv[1]))
    print("ready 0", flush=True)
    last, runs = None, {}
    for line in sys.stdin:
        *sizes, causal, rate, seconds = line.split()
        shape = [*map(int, sizes), int(causal), float(rate)]
        if shape != last:
            runs = directions(*shape)
        last = shape
        for name, run in runs.items():
            median, count = measure(run, float(seconds))
            print(f"{name} {median:.9f} {count}", flush=True)


if __name__ == "__main__":
    main()
