#!/usr/bin/env python3
"""The example VAE against PyTorch: from the same weights, batches and noise, the first 20 steps agree tensor by tensor.

Drives libselfc.so (SELFC_LIBRARY) through ctypes. The noise is drawn here again, by the rule that docs/design.md gives:
Philox with key = seed and counter = (element, sample, step, stream), 24 bits a number, Box and Muller's transform.
After every step each parameter, each of Adam's states and each reported value differs from PyTorch's by at most 1e-5
of it, in the Euclidean norm of the tensor. Exit code 77 where there is no PyTorch.

At the kink of ReLU no such bound can hold: an input that rounds to the other side of 0 switches a gradient on or off.
So the weights to begin with are the first ones with which PyTorch, on its own, keeps all inputs of ReLU away from 0.
"""
import os, sys

import oracle
import numpy, torch
from torch.nn import functional

STEPS, BATCH, TOLERANCE, SEED, KINK = 20, 128, 1e-5, 5, 3e-7


def philox(counter, key):
    """Philox4x32-10 on four arrays of counters."""
    c = [numpy.asarray(part, numpy.uint64) for part in counter]
    k = [numpy.uint64(part) for part in key]
    low = numpy.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = numpy.uint64(0xD2511F53) * c[0], numpy.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> numpy.uint64(32)) ^ c[1] ^ k[0], p1 & low, (p0 >> numpy.uint64(32)) ^ c[3] ^ k[1], p0 & low]
        k = [(k[0] + numpy.uint64(0x9E3779B9)) & low, (k[1] + numpy.uint64(0xBB67AE85)) & low]
    return c


def normal(step, sample, elements, stream):
    """What `normal` draws for each sample."""
    element, number = numpy.meshgrid(numpy.arange(elements), sample.astype(numpy.uint32))
    full = numpy.full_like(number, 1)
    words = philox([element, number, full * numpy.uint32(step), full * numpy.uint32(stream)], [SEED, 0])
    first, second = ((word >> numpy.uint64(8)).astype(numpy.float64) for word in words[:2])
    return numpy.sqrt(-2 * numpy.log((first + 1) * 2.0 ** -24)) * numpy.cos(second * 2.0 ** -24 * 2 * numpy.pi)


# The model's tensors under selfc's names; weights are [in, out] there and [out, in] in PyTorch.
LAYERS = {"encode.h": (784, 256), "encode.mean": (256, 2), "encode.log_var": (256, 2), "decode.dense_0": (2, 256),
          "decode.logits": (256, 784)}


def torch_values(layers, x, noise):
    """Loss and reports; and how close an input of ReLU comes to 0."""
    inner = layers["encode.h"](x)
    h = torch.relu(inner)
    mean, log_var = layers["encode.mean"](h), layers["encode.log_var"](h)
    z = mean + torch.exp(0.5 * log_var) * noise
    outer = layers["decode.dense_0"](z)
    logits = layers["decode.logits"](torch.relu(outer))
    reconstruction = functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    kl = -0.5 * (1 + log_var - mean ** 2 - log_var.exp()).sum(1)
    closest = min(inner.abs().min().item(), outer.abs().min().item())
    return [(reconstruction + kl).mean(), reconstruction.mean(), kl.mean()], closest


def expected_tensors(layers, optimizer):
    """Everything that a step leaves behind, under selfc's names."""
    for name, layer in layers.items():
        for part, parameter in (("weight", layer.weight), ("bias", layer.bias)):
            state = optimizer.state[parameter]
            yield f"{name}.{part}", parameter.detach().numpy().T.copy()
            yield f"adam.{name}.{part}.m", state["exp_avg"].numpy().T.copy()
            yield f"adam.{name}.{part}.v", state["exp_avg_sq"].numpy().T.copy()


def make_images():
    """Blobs of ink on black, as digits are: smooth, with many zeros."""
    random = numpy.random.default_rng(3)
    rows, columns = numpy.mgrid[0:28, 0:28]
    images = numpy.zeros((STEPS * BATCH, 28, 28))
    for _ in range(3):
        y, x, size = (random.uniform(*limits, (len(images), 1, 1)) for limits in ((6, 22), (6, 22), (2, 5)))
        images += numpy.maximum(0, 1 - numpy.hypot(rows - y, columns - x) / size)
    return (numpy.minimum(images, 1) * 255).astype(numpy.uint8)


def batch_at(images, step):
    sample = (numpy.arange(BATCH) * 7 + step * BATCH).astype(numpy.int32) % len(images)
    return sample, numpy.ascontiguousarray(images[sample])


def torch_run(seed, images):
    """The weights to begin with and, for each step, pairs of a name and a tensor; None if ReLU came too close to 0."""
    torch.manual_seed(seed)
    layers = {name: torch.nn.Linear(*shape) for name, shape in LAYERS.items()}
    first = {f"{name}.{part}": value.numpy().T.copy() for name, layer in layers.items()
             for part, value in layer.state_dict().items()}
    optimizer = torch.optim.Adam([p for layer in layers.values() for p in layer.parameters()], lr=1e-3)
    steps = []
    for step in range(STEPS):
        sample, batch = batch_at(images, step)
        x = torch.from_numpy(batch.reshape(BATCH, 784)).float() / 255
        noise = torch.from_numpy(normal(step, sample, 2, 0)).float()
        optimizer.zero_grad(set_to_none=True)
        values, closest = torch_values(layers, x, noise)
        if closest < KINK:
            return None
        values[0].backward()
        optimizer.step()
        steps.append([(f"report {i}", value.detach().numpy()) for i, value in enumerate(values)]
                     + list(expected_tensors(layers, optimizer)))
    return first, steps


def main():
    torch.set_num_threads(2)
    images = make_images()
    runs = (torch_run(seed, images) for seed in range(100))
    first, steps = next(run for run in runs if run)
    selfc = oracle.Selfc(os.path.join(oracle.SOURCE, "examples/vae/model.json"), SEED)
    for name, value in first.items():
        selfc.write(name, value)
    worst, failed = ("", 0.0), 0
    for step, expected in enumerate(steps):
        sample, batch = batch_at(images, step)
        reports = selfc.step([batch], sample, step, 3)
        for name, want in expected:
            is_report = name.startswith("report")
            got = numpy.array(reports[int(name[-1])]) if is_report else selfc.read(name, want.shape)
            error = oracle.difference(got, want)
            if error > worst[1]:
                worst = (f"{name} after step {step + 1}", error)
            if not error <= TOLERANCE:
                failed += 1
                if failed <= 10:
                    print(f"FAIL: {name} after step {step + 1} differs by {error:.2e}")
    print(f"{STEPS} steps; the largest difference is {worst[1]:.2e} ({worst[0]}), the bound {TOLERANCE:.0e}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
