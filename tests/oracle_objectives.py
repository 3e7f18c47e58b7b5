"""Objectives of the module library against PyTorch: the loss of a batch, and its gradient as one step of plain gradient
descent shows it. Losses that work block by block are tried with blocks that leave a rest. Exit code 77 where there is no
PyTorch."""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy
    import torch
    from safetensors.numpy import load_file
    from torch.nn import functional
except ImportError:
    print("skipped: no PyTorch for this Python")
    sys.exit(77)

SELFC = os.environ["SELFC"]
N, IN, OUT = 37, 12, 9


def nt_xent(a, b, label, temperature=0.5):
    """Chen et al. 2020, eq. 1, over both directions of all pairs."""
    z = functional.normalize(torch.cat([a, b]), dim=1)
    similarity = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return functional.cross_entropy(similarity, (torch.arange(2 * N) + N) % (2 * N))


def supervised_contrastive(a, b, label, temperature=0.1):
    """Khosla et al. 2020, eq. 2."""
    z = functional.normalize(torch.cat([a, b]), dim=1)
    label = torch.cat([label, label])
    log_share = (z @ z.T / temperature).fill_diagonal_(-torch.inf).log_softmax(1)
    kin = (label[:, None] == label[None]).fill_diagonal_(False)
    return -(log_share.masked_fill(~kin, 0).sum(1) / kin.sum(1)).mean()


def barlow_twins(a, b, label):
    """Zbontar et al. 2021, eq. 1, with batch statistics."""
    first, second = [(x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt() for x in (a, b)]
    correlation = first.T @ second / N
    off = correlation - torch.diag(correlation.diagonal())
    return ((1 - correlation.diagonal()) ** 2).sum() + 0.005 * (off ** 2).sum()


CASES = [
    ("nt_xent", {}, lambda a, b, l: nt_xent(a, b, l)),
    ("nt_xent", {"temperature": 0.07, "rows": 16}, lambda a, b, l: nt_xent(a, b, l, 0.07)),
    ("nt_xent", {"rows": 74}, lambda a, b, l: nt_xent(a, b, l)),
    ("nt_xent", {"rows": 73}, lambda a, b, l: nt_xent(a, b, l)),
    ("supervised_contrastive", {}, supervised_contrastive),
    ("supervised_contrastive", {"temperature": 0.3, "rows": 20}, lambda a, b, l: supervised_contrastive(a, b, l, 0.3)),
    ("barlow_twins", {}, barlow_twins),
]


def describe(name, params, folder):
    inputs = ["a", "b", "label"] if name == "supervised_contrastive" else ["a", "b"]
    data = {key: {"source": "npy", "path": f"{folder}/{key}.npy"} for key in ["x", "y"]}
    if "label" in inputs:
        data["label"] = {"source": "npy", "path": f"{folder}/x.npy", "field": "label"}
    return {
        "name": "objective",
        "modules": {"encode": {"inputs": {"x": ["n", IN]}, "layers": [{"layer": "dense", "units": OUT, "name": "z"}]}},
        "training": {
            "data": data,
            "layers": [
                {"module": "encode", "input": "x", "name": "a"},
                {"module": "encode", "input": "y", "name": "b"},
                {"module": name, "input": inputs, "params": params, "name": "loss"},
            ],
            "minimize": "loss",
            "optimizer": {"name": "sgd", "learning_rate": 1, "momentum": 0},
            "batch": N,
            "epochs": 1,
        },
        "functions": {"encode": {"module": "encode"}},
    }


def run(folder, *arguments):
    return subprocess.run([SELFC, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def check(name, params, oracle, folder, random):
    x, y = random.standard_normal((2, N, IN)).astype(numpy.float32)
    label = random.integers(0, 4, N).astype(numpy.int32)
    for key, value in [("x", x), ("y", y), ("x_labels", label)]:
        numpy.save(f"{folder}/{key}.npy", value)
    with open(f"{folder}/model.json", "w") as file:
        json.dump(describe(name, params, folder), file)
    run(folder, "train", "model.json", "--steps", "1", "--out", "after", "--quiet")
    after = load_file(f"{folder}/after/weights.safetensors")
    first = first_weights(folder, after)
    w, bias = [torch.tensor(first[key], requires_grad=True) for key in ("encode.z.weight", "encode.z.bias")]
    loss = oracle(torch.tensor(x) @ w + bias, torch.tensor(y) @ w + bias, torch.tensor(label).long())
    loss.backward()
    with open(f"{folder}/after/metrics.jsonl") as file:
        ours = json.loads(file.readline())["loss"]
    assert abs(ours - loss.item()) <= 2e-6 * max(1, abs(loss.item())), f"{name} {params}: {ours} against {loss.item()}"
    for key, parameter in (("encode.z.weight", w), ("encode.z.bias", bias)):
        slope, wanted = first[key] - after[key], parameter.grad.numpy()
        error = numpy.abs(slope - wanted).max()
        assert error <= 2e-6 + 1e-5 * numpy.abs(wanted).max(), f"{name} {params}: {key} is off by {error}"


def first_weights(folder, after):
    """Weights before the step: those of a run whose learning rate is nothing."""
    run(folder, "train", "model.json", "--steps", "1", "--out", "before", "--quiet", "--set",
        "training.optimizer.learning_rate=0")
    before = load_file(f"{folder}/before/weights.safetensors")
    assert any(numpy.any(before[key] != after[key]) for key in after), "the step changed nothing"
    return before


random = numpy.random.default_rng(7)
for name, params, oracle in CASES:
    with tempfile.TemporaryDirectory() as folder:
        check(name, params, oracle, folder, random)
print(f"{len(CASES)} objectives agree with PyTorch")
