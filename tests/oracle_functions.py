"""Functions and layers without weights, compiled, against PyTorch's of the same meaning: one description with a
function that has an output for each of them, and one with the derivative of each by x or y, from a random incoming
gradient. HUGE is also given logits far apart. Exit code 77 where there is no PyTorch."""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy
    import torch
    from torch.nn import functional
except ImportError:
    print("skipped: no PyTorch for this Python")
    sys.exit(77)

FORMULAS = {
    "relu(x)": lambda x, y, t, l: torch.relu(x),
    "leaky_relu(x)": lambda x, y, t, l: functional.leaky_relu(x),
    "gelu(x)": lambda x, y, t, l: functional.gelu(x),
    "gelu_tanh(x)": lambda x, y, t, l: functional.gelu(x, approximate="tanh"),
    "silu(x)": lambda x, y, t, l: functional.silu(x),
    "softplus(x)": lambda x, y, t, l: functional.softplus(x),
    "sigmoid(x)": lambda x, y, t, l: torch.sigmoid(x),
    "tanh(x)": lambda x, y, t, l: torch.tanh(x),
    "erf(x)": lambda x, y, t, l: torch.erf(x),
    "expm1(x / 1000)": lambda x, y, t, l: torch.expm1(x / 1000),
    "softmax(x)": lambda x, y, t, l: torch.softmax(x, -1),
    "softmax(50 * x, axis=1)": lambda x, y, t, l: torch.softmax(50 * x, 1),
    "log_softmax(50 * x)": lambda x, y, t, l: torch.log_softmax(50 * x, -1),
    "log_sum_exp(x, axis=[1, 2])": lambda x, y, t, l: torch.logsumexp(x, (1, 2)),
    "normalize(x)": lambda x, y, t, l: functional.normalize(x, dim=-1),
    "mean(x, axis=1)": lambda x, y, t, l: x.mean(1),
    "var(x, axis=2)": lambda x, y, t, l: x.var(2, correction=0),
    "max(x, axis=2)": lambda x, y, t, l: x.amax(2),
    "min(x, axis=1)": lambda x, y, t, l: x.amin(1),
    "binary_cross_entropy(x, t)": lambda x, y, t, l: functional.binary_cross_entropy_with_logits(x, t, reduction="none"),
    "mean_squared_error(x, t)": lambda x, y, t, l: functional.mse_loss(x, t),
    "cross_entropy(y, l)": lambda x, y, t, l: functional.cross_entropy(y, l, reduction="none"),
    "cross_entropy(y, softmax(-y))": lambda x, y, t, l: functional.cross_entropy(y, torch.softmax(-y, 1), reduction="none"),
    "accuracy(y, l)": lambda x, y, t, l: (y.argmax(1) == l).float(),
    "one_hot(l, 7)": lambda x, y, t, l: functional.one_hot(l, 7).float(),
    "x @ transpose(x)": lambda x, y, t, l: x @ x.transpose(1, 2),
    "x @ transpose(t[0])": lambda x, y, t, l: x @ t[0].T,
    "transpose(x, [0, 2, 1])[:, 1:, ::-2]": lambda x, y, t, l: x.permute(0, 2, 1)[:, 1:].flip(2)[:, :, ::2],
    "concat(x, t, axis=1)": lambda x, y, t, l: torch.cat([x, t], 1),
    "where(x > t, x, 0)": lambda x, y, t, l: torch.where(x > t, x, 0.0),
    "x^3 - 2^x + abs(x)^1.5": lambda x, y, t, l: x ** 3 - 2 ** x + x.abs() ** 1.5,
}
# Logits of 10000 and more: neither an overflow nor a NaN, forward or backward.
HUGE = {
    "softmax(10000 * x)": lambda x, y, t, l: torch.softmax(10000 * x, -1),
    "log_softmax(10000 * x)": lambda x, y, t, l: torch.log_softmax(10000 * x, -1),
    "log_sum_exp(10000 * x, axis=2)": lambda x, y, t, l: torch.logsumexp(10000 * x, 2),
    "cross_entropy(20000 * y, l)": lambda x, y, t, l: functional.cross_entropy(20000 * y, l, reduction="none"),
    "cross_entropy(20000 * y, softmax(-y))":
        lambda x, y, t, l: functional.cross_entropy(20000 * y, torch.softmax(-y, 1), reduction="none"),
    "binary_cross_entropy(10000 * x, t)":
        lambda x, y, t, l: functional.binary_cross_entropy_with_logits(10000 * x, t, reduction="none"),
    "softplus(10000 * x)": lambda x, y, t, l: functional.softplus(10000 * x),
    "sigmoid(10000 * x)": lambda x, y, t, l: torch.sigmoid(10000 * x),
    "tanh(10000 * x)": lambda x, y, t, l: torch.tanh(10000 * x),
    "gelu(10000 * x)": lambda x, y, t, l: functional.gelu(10000 * x),
    "gelu_tanh(10000 * x)": lambda x, y, t, l: functional.gelu(10000 * x, approximate="tanh"),
    "silu(10000 * x)": lambda x, y, t, l: functional.silu(10000 * x),
}
FORMULAS.update(HUGE)
WITHOUT_GRADIENT = ("accuracy", "one_hot")
LAYERS = {
    '{"layer": "layer_norm", "input": "x", "affine": false}': lambda x: functional.layer_norm(x, x.shape[-1:]),
    '{"layer": "batch_norm", "input": "x", "affine": false}': lambda x: x / numpy.sqrt(1 + 1e-5),
    '{"layer": "dropout", "input": "x"}': lambda x: x,
    '{"layer": "flatten", "input": "x"}': lambda x: x.flatten(1),
    '{"layer": "group_norm", "input": "x", "groups": 3, "affine": false}':
        lambda x: functional.group_norm(x.transpose(1, 2), 3).transpose(1, 2),
    '{"layer": "max_pool", "input": "x", "size": 3, "stride": 2, "padding": 1}':
        lambda x: functional.max_pool2d(x[:, None], 3, 2, 1).permute(0, 2, 3, 1),
    '{"layer": "average_pool", "input": "x", "size": [2, 3], "padding": [1, 0]}':
        lambda x: functional.avg_pool2d(x[:, None], (2, 3), None, (1, 0)).permute(0, 2, 3, 1),
    '{"layer": "average_pool", "input": "x", "size": 3, "stride": 2, "padding": 1, "count_pads": false}':
        lambda x: functional.avg_pool2d(x[:, None], 3, 2, 1, count_include_pad=False).permute(0, 2, 3, 1),
    '{"layer": "global_pool", "input": "x"}': lambda x: x.mean((1, 2))[:, None],
    '{"layer": "conv2d", "input": "x", "units": 2, "size": 3, "stride": 2, "init": 0.5, "bias": false}':
        lambda x: functional.conv2d(x[:, None], torch.full((2, 1, 3, 3), 0.5), None, 2, 1).permute(0, 2, 3, 1),
    '{"layer": "conv2d", "input": "x", "units": 1, "size": [2, 3], "padding": [1, 2], "dilation": 2, "init": 1, "bias": false}':
        lambda x: functional.conv2d(x[:, None], torch.ones(1, 1, 2, 3), None, 1, (1, 2), 2).permute(0, 2, 3, 1),
    '{"layer": "conv2d_transposed", "input": "x", "units": 2, "size": 4, "stride": 2, "init": 1, "bias": false}':
        lambda x: functional.conv_transpose2d(x[:, None], torch.ones(1, 2, 4, 4), None, 2, 1).permute(0, 2, 3, 1),
    '{"layer": "conv2d_transposed", "input": "x", "units": 2, "size": 3, "stride": 2, "init": 1, "bias": false}':
        lambda x: functional.conv_transpose2d(x[:, None], torch.ones(1, 2, 3, 3), None, 2, 1, 1).permute(0, 2, 3, 1),
}


def differentiable():
    return [formula for formula in FORMULAS if not formula.startswith(WITHOUT_GRADIENT)]


def variable(formula):
    return "x" if "x" in formula.replace("exp", "").replace("max", "") else "y"


def description(cases):
    layers = [{"expr": formula, "name": f"o{i}"} for i, formula in enumerate(FORMULAS)]
    for i, text in enumerate(LAYERS, len(FORMULAS)):
        layers.append(dict(json.loads(text), name=f"o{i}"))
    inputs = {"x": ["n", 5, 6], "y": ["n", 7], "t": ["n", 5, 6], "l": {"shape": ["n"], "type": "i32"}}
    outputs = [f"o{i}" for i in range(len(layers))]
    incoming = {f"w{i}": list(want.shape) for i, (_, want, _, _) in enumerate(cases)}
    for shape in incoming.values():
        shape[:1] = ["n"] if shape else []
    back = [{"expr": f"gradient(sum(({text}) * w{i}), {variable(text)})", "name": f"g{i}"}
            for i, (text, _, _, _) in enumerate(cases)]
    return {"name": "functions", "functions": {
        "f": {"inputs": inputs, "layers": layers, "outputs": outputs},
        "g": {"inputs": {**inputs, **incoming}, "layers": back, "outputs": [f"g{i}" for i in range(len(cases))]}}}


def inputs():
    generator = torch.Generator().manual_seed(3)
    x, y = 2 * torch.randn(9, 5, 6, generator=generator), torch.randn(9, 7, generator=generator)
    return x, y, torch.rand(9, 5, 6, generator=generator), torch.randint(0, 7, (9,), generator=generator)


def gradient_cases(tensors):
    """Formula, its value, a random incoming gradient and what comes of it."""
    cases = []
    for formula in differentiable():
        x, y, t, l = (tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors)
        x, y = x.requires_grad_(), y.requires_grad_()
        value = FORMULAS[formula](x, y, t, l)
        incoming = torch.randn(value.shape, generator=torch.Generator().manual_seed(len(cases)))
        by = x if variable(formula) == "x" else y
        cases.append((formula, value.detach(), incoming, torch.autograd.grad((value * incoming).sum(), by)[0]))
    return cases


def run(folder, function, tensors):
    command = [os.environ.get("SELFC", "selfc"), "run", "model.json", function]
    for name, tensor in tensors.items():
        array = tensor.numpy()
        numpy.save(f"{folder}/{name}.npy", array.astype(numpy.int32) if name == "l" else array)
        command += ["--input", f"{name}={name}.npy"]
    subprocess.run(command, cwd=folder, check=True)


def compare(folder, kind, wanted, rtol, atol):
    failed = 0
    for i, (text, want) in enumerate(wanted):
        got, want = numpy.load(f"{folder}/{kind}{i}.npy"), want.numpy()
        scale = max(1.0, float(numpy.abs(want).max())) if kind == "g" else 1.0
        if got.shape == want.shape and numpy.allclose(got, want, rtol=rtol, atol=atol * scale):
            continue
        failed += 1
        apart = numpy.abs(got - want).max() if got.shape == want.shape else ""
        print(f"FAIL {'derivative of ' if kind == 'g' else ''}{text}: {got.shape} {want.shape}", apart)
    print(f"{len(wanted) - failed} of {len(wanted)} {'derivatives' if kind == 'g' else 'results'} agree with PyTorch")
    return failed


def main():
    tensors = inputs()
    named, cases = dict(zip("xytl", tensors)), gradient_cases(tensors)
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/model.json", "w") as file:
            json.dump(description(cases), file)
        run(folder, "f", named)
        results = [(text, make(*tensors)) for text, make in FORMULAS.items()]
        results += [(text, make(tensors[0])) for text, make in LAYERS.items()]
        run(folder, "g", {**named, **{f"w{i}": case[2] for i, case in enumerate(cases)}})
        failed = compare(folder, "o", results, 1e-5, 1e-6)
        failed += compare(folder, "g", [(case[0], case[3]) for case in cases], 1e-5, 3e-6)
    return failed > 0


sys.exit(main())
