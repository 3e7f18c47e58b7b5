"""Functions and layers without weights, compiled, against PyTorch's of the same meaning: one description whose only
function has an output for each of them. Exit code 77 where there is no PyTorch."""
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


def description():
    layers = [{"expr": formula, "name": f"o{i}"} for i, formula in enumerate(FORMULAS)]
    for i, text in enumerate(LAYERS, len(FORMULAS)):
        layers.append(dict(json.loads(text), name=f"o{i}"))
    inputs = {"x": ["n", 5, 6], "y": ["n", 7], "t": ["n", 5, 6], "l": {"shape": ["n"], "type": "i32"}}
    outputs = [f"o{i}" for i in range(len(layers))]
    function = {"inputs": inputs, "layers": layers, "outputs": outputs}
    return {"name": "functions", "functions": {"f": function}}


def inputs():
    generator = torch.Generator().manual_seed(3)
    x, y = 2 * torch.randn(9, 5, 6, generator=generator), torch.randn(9, 7, generator=generator)
    return x, y, torch.rand(9, 5, 6, generator=generator), torch.randint(0, 7, (9,), generator=generator)


def run(folder, tensors):
    with open(f"{folder}/model.json", "w") as file:
        json.dump(description(), file)
    command = [os.environ.get("SELFC", "selfc"), "run", "model.json", "f"]
    for name, tensor in zip("xytl", tensors):
        array = tensor.numpy()
        numpy.save(f"{folder}/{name}.npy", array.astype(numpy.int32) if name == "l" else array)
        command += ["--input", f"{name}={name}.npy"]
    subprocess.run(command, cwd=folder, check=True)


def main():
    tensors, failed = inputs(), 0
    with tempfile.TemporaryDirectory() as folder:
        run(folder, tensors)
        cases = [(text, make(*tensors)) for text, make in FORMULAS.items()]
        cases += [(text, make(tensors[0])) for text, make in LAYERS.items()]
        for i, (text, want) in enumerate(cases):
            got, want = numpy.load(f"{folder}/o{i}.npy"), want.numpy()
            if got.shape != want.shape or not numpy.allclose(got, want, rtol=1e-5, atol=1e-6):
                failed += 1
                print(f"FAIL {text}: {got.shape} {want.shape}", numpy.abs(got - want).max() if got.shape == want.shape else "")
    print(f"{len(cases) - failed} of {len(cases)} agree with PyTorch")
    return 1 if failed else 0


sys.exit(main())
