"""Attention, compiled, against PyTorch's scaled_dot_product_attention: results and gradients, with lengths of their own
for each sample, causal masks, more keys than queries and fewer. Exit code 77 where there is no PyTorch."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy
    import torch
except ImportError:
    print("skipped: no PyTorch for this Python")
    sys.exit(77)

# batch, queries, keys, heads, width, causal, with counts
CASES = [
    (2, 37, 37, 3, 20, False, False),
    (3, 64, 64, 4, 32, False, True),
    (1, 5, 300, 2, 64, False, False),
    (2, 140, 60, 2, 16, False, True),
    (2, 150, 150, 2, 24, True, False),
    (2, 33, 33, 1, 64, True, True),
]


def graph(n, s, t, h, d, causal):
    scale, width = repr(d ** -0.5), f"{h},{d}"
    rest = f"scale={scale} causal={int(causal)}"
    return f"""graph "attention"
%0 = input 0 "q" data : f32[n,{s},{width}]
%1 = input 1 "k" data : f32[n,{t},{width}]
%2 = input 2 "v" data : f32[n,{t},{width}]
%3 = input 3 "dy" data : f32[n,{s},{width}]
%4 = input 4 "count" data : i32[n]
%5 = constant value=0 : i32[3]
%6 = constant value=0 : i32[1]
%7 = attention_norm %0, %1, %4, {rest} : f32[n,{s},{h}]
%8 = attention %0, %1, %2, %7, %4, %5, %6, {rest} rate=0 stream=0 : f32[n,{s},{width}]
%9 = mul %8, %3 : f32[n,{s},{width}]
%10 = sum %9, axes=0,1,2,3 : f32[1,1,1,1]
%11 = gradient %10, %0 : f32[n,{s},{width}]
%12 = gradient %10, %1 : f32[n,{t},{width}]
%13 = gradient %10, %2 : f32[n,{t},{width}]
output "y" %8
output "dq" %11
output "dk" %12
output "dv" %13
"""


def compiled(case, arrays, folder):
    n, s, t, h, d, causal, _ = case
    path = os.path.join(folder, "attention.ir")
    with open(path, "w") as file:
        file.write(graph(n, s, t, h, d, causal))
    program = os.path.join(os.environ["SELFC_BUILD"], "selfc_graph")
    done = subprocess.run([program, path, str(n)], input=b"".join(a.tobytes() for a in arrays), stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"selfc_graph ends with {done.returncode}")
    values, results, at = numpy.frombuffer(done.stdout, numpy.float32), [], 0
    for positions in (s, s, t, t):
        results.append(values[at:at + n * positions * h * d].reshape(n, positions, h, d))
        at += n * positions * h * d
    return results


def wanted(case, q, k, v, dy, count):
    n, s, t, h, d, causal, _ = case
    q, k, v = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (q, k, v))
    seen = torch.arange(t)[None, None, None, :] < torch.tensor(count)[:, None, None, None]
    if causal:
        seen = seen & torch.ones(s, t, dtype=torch.bool).tril()
    y = torch.nn.functional.scaled_dot_product_attention(*(a.transpose(1, 2) for a in (q, k, v)), attn_mask=seen)
    y = y.transpose(1, 2)
    y.backward(torch.tensor(dy, dtype=torch.float64))
    return [a.detach().numpy() for a in (y, q.grad, k.grad, v.grad)]


def main():
    generator, failed = numpy.random.default_rng(7), 0
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            n, s, t, h, d, _, has_counts = case
            q, k, v, dy = (generator.standard_normal((n, positions, h, d), numpy.float32) for positions in (s, t, t, s))
            count = generator.integers(1, t + 1, n) if has_counts else numpy.full(n, t)
            count = count.astype(numpy.int32)
            got = compiled(case, (q, k, v, dy, count), folder)
            want = wanted(case, q, k, v, dy, count)
            for name, a, b in zip(("y", "dq", "dk", "dv"), got, want):
                error = float(numpy.abs(a - b).max() / max(numpy.abs(b).max(), 1e-30))
                if not error < 1e-5:
                    print(f"FAIL {case}: {name} differs by {error:.2g}")
                    failed += 1
    print("FAILED" if failed else "attention is PyTorch's")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
