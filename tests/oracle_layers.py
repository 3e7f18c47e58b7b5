#!/usr/bin/env python3
"""Layers of pictures and normalisations against PyTorch in double precision: random shapes, for each the results, the
gradients by the data, by every weight, and running averages.

Cases are put together, some to a description, as modules of their own. Its function gives the results and, by
gradient(…), what the data gets; its training step gives what the weights get, read from the optimiser's velocity."""
import json, os, random, sys, tempfile

import oracle
import numpy, torch
from torch.nn import functional

OPEN, BATCH, TOLERANCE = 5, 3, 1e-5  # samples of the function and of the training step
torch.set_default_dtype(torch.float64)


class Case:
    """One layer, or a few. `weights` are as PyTorch has them; those of four axes are stored [height, width, in, out].
    `function` takes x[n, channels, height, width], the weights and whether to train; `states` change in training;
    x is made of `values`, if there are any."""

    def __init__(self, layers, shape, weights, function, states=None, values=None):
        self.layers, self.shape, self.weights, self.function = layers, shape, weights, function
        self.states, self.values = states or {}, values

    def draw(self):
        if not self.values:
            return torch.randn(OPEN, *self.shape).float().double()
        return torch.tensor(random.choices(self.values, k=OPEN * numpy.prod(self.shape))).reshape(OPEN, *self.shape)

    def torch_run(self, x, dy, is_training):
        weights = {name: value.clone().requires_grad_() for name, value in self.weights.items()}
        states = {name: value.clone() for name, value in self.states.items()}
        x = x.clone().requires_grad_()
        y = self.function(x.permute(0, 3, 1, 2), {**weights, **states}, is_training).permute(0, 2, 3, 1)
        dy = torch.randn(y.shape) if dy is None else dy[:len(y)]
        (y * dy).sum().backward()
        return y.detach(), dy, x.grad, {name: stored(value.grad) for name, value in weights.items()}, states


def stored(tensor):
    array = tensor.detach().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def place(length, kernel, stride, dilation):
    """Something that a kernel may slide over, and how it is said: (before, after) of one axis."""
    reach = (kernel - 1) * dilation
    before, after = random.randint(0, 3), random.randint(0, 3)
    short = reach + 1 - length
    return (before, max(after, short - before))


def padding(form, pads, same):
    """What stands in the description, and pads of [top, bottom, left, right]; pads is what they may be."""
    if form == "same":
        return "same", [side for pair in same for side in pair]
    if form == "valid":
        return "valid", [0, 0, 0, 0]
    if form == "number":
        most = max(max(pair) for pair in pads)
        return most, [most] * 4
    if form == "pair":
        high, wide = max(pads[0]), max(pads[1])
        return [high, wide], [high, high, wide, wide]
    return [*pads[0], *pads[1]], [*pads[0], *pads[1]]


FORMS = ["same", "valid", "number", "pair", "four"]


def with_pads(x, pads, value=0.0):
    top, bottom, left, right = pads
    return functional.pad(x, (left, right, top, bottom), value=value)


def channels():
    groups = random.choice([1, 1, 1, 2, 3, 5])
    if random.random() < 0.25:
        count = random.randint(2, 9)
        return count, count * random.choice([1, 1, 2]), count
    return groups * random.randint(1, 6), groups * random.randint(1, 6), groups


def kernel_of_conv():
    size = [random.choice([1, 1, 2, 3, 3, 3, 4, 5, 7]) for _ in range(2)]
    return size, [random.randint(1, 3) for _ in range(2)], [random.randint(1, 3) for _ in range(2)]


def conv():
    size, stride, dilation = kernel_of_conv()
    ins, outs, groups = channels()
    shape = [random.randint(1, 19) for _ in range(2)]
    reach = [(k - 1) * d for k, d in zip(size, dilation)]
    form = random.choice(FORMS)
    if form == "valid":
        shape = [length + r for length, r in zip(shape, reach)]
    pads = [place(*of) for of in zip(shape, size, stride, dilation)]
    said, sides = padding(form, pads, [(r // 2, r - r // 2) for r in reach])
    weights = {"weight": torch.randn(outs, ins // groups, *size), "bias": torch.randn(outs)}
    layer = {"layer": "conv2d", "units": outs, "size": size, "stride": stride, "dilation": dilation, "groups": groups,
             "padding": said, "name": "at"}
    return Case([layer], [*shape, ins], weights, lambda x, w, t: functional.conv2d(
        with_pads(x, sides), w["weight"], w["bias"], stride, 0, dilation, groups))


def transposed():
    size, stride, dilation = kernel_of_conv()
    ins, outs, groups = channels()
    shape = [random.randint(1, 9) for _ in range(2)]
    surplus = [(k - 1) * d + 1 - s for k, s, d in zip(size, stride, dilation)]
    whole = [(length - 1) * s + (k - 1) * d + 1 for length, k, s, d in zip(shape, size, stride, dilation)]
    pads = [(random.randint(0, (w - 1) // 3), random.randint(0, (w - 1) // 3)) for w in whole]
    before = [max(0, (s + 1) // 2) for s in surplus]
    form = random.choice(FORMS if min(whole) > 2 * max(map(max, pads)) else ["same", "valid", "four"])
    said, sides = padding(form, pads, [(b, s - b) for b, s in zip(before, surplus)])
    weights = {"weight": torch.randn(ins, outs // groups, *size), "bias": torch.randn(outs)}
    layer = {"layer": "conv2d_transposed", "units": outs, "size": size, "stride": stride, "dilation": dilation,
             "groups": groups, "padding": said, "name": "at"}

    def function(x, w, t):
        y = functional.conv_transpose2d(x, w["weight"], None, stride, 0, 0, groups, dilation)
        return with_pads(y, [-side for side in sides]) + w["bias"][:, None, None]
    return Case([layer], [*shape, ins], weights, function)


def pool():
    size = [random.randint(1, 5) for _ in range(2)]
    stride = [random.randint(1, 3) for _ in range(2)]
    shape = [random.randint(k, 17) for k in size]
    pads = [(random.randint(0, (k - 1) // 2), random.randint(0, (k - 1) // 2)) for k in size]
    form = random.choice(["valid", "pair", "four"])
    said, sides = padding(form, pads, None)
    layer = {"layer": "max_pool", "size": size, "stride": stride, "padding": said}
    if random.random() < 0.1:
        return Case([{"layer": "global_pool"}, {"layer": "reshape", "shape": ["n", 1, 1, 3]}], [*shape, 3], {},
                    lambda x, w, t: x.mean((2, 3), keepdim=True))
    if random.random() < 0.5:
        return Case([layer], [*shape, random.randint(1, 9)], {},
                    lambda x, w, t: functional.max_pool2d(with_pads(x, sides, -torch.inf), size, stride))
    layer["layer"], layer["count_pads"] = "average_pool", random.random() < 0.5

    def average(x, w, t):
        counted = with_pads(torch.ones_like(x), sides, 1.0 if layer["count_pads"] else 0.0)
        return functional.avg_pool2d(with_pads(x, sides), size, stride) / functional.avg_pool2d(counted, size, stride)
    return Case([layer], [*shape, random.randint(1, 9)], {}, average)


def pool_of_equals():
    """The first of equals gets the gradient; nothing but -inf, and NaN, too, belong somewhere."""
    size = [random.randint(1, 4) for _ in range(2)]
    stride = size if random.random() < 0.3 else [random.randint(1, 3) for _ in range(2)]
    shape = [random.randint(k, 13) for k in size]
    pads = [random.randint(0, k // 2) for k in size]
    layer = {"layer": "max_pool", "size": size, "stride": stride, "padding": pads}
    values = random.choice([[0.0, 1.0], [0.0, 0.0, 0.0, -1.0, 2.0], [-torch.inf, -torch.inf, -1.0], [0.0, -0.0, -torch.inf],
                            [torch.nan, 1.0, -torch.inf], [torch.nan, torch.inf, 2.0, 3.0]])
    return Case([layer], [*shape, random.choice([1, 2, 3, 16, 19, 70])], {},
                lambda x, w, t: functional.max_pool2d(x, size, stride, pads), values=values)


def resize():
    shape = [random.randint(1, 30) for _ in range(2)]
    method = random.choice(["nearest", "bilinear"])
    layer = {"layer": "resize", "method": method}
    if random.random() < 0.5:
        factor = [random.choice([1, 2, 3, 0.5, 1.5, 4]) for _ in range(2)]
        size = [max(1, int(length * f)) for length, f in zip(shape, factor)]
        layer["scale"] = [max(f, 1 / length) for length, f in zip(shape, factor)]
    else:
        size = layer["size"] = [random.randint(1, 40) for _ in range(2)]

    def function(x, w, t):
        if method == "bilinear":
            return functional.interpolate(x, tuple(size), mode=method, align_corners=False)
        rows, columns = ([i * old // new for i in range(new)] for old, new in zip(shape, size))
        y = x[:, :, rows][:, :, :, columns]
        assert torch.equal(y, functional.interpolate(x, tuple(size), mode="nearest"))
        return y
    return Case([layer], [*shape, random.randint(1, 5)], {}, function)


def pad():
    shape = [random.randint(2, 12) for _ in range(2)]
    sides = [random.randint(-((length - 1) // 2), 4) for length in shape for _ in range(2)]
    value = random.choice([0, 0, 1.5, -3])
    layer = {"layer": "pad", "padding": sides, "value": value}
    return Case([layer], [*shape, random.randint(1, 5)], {}, lambda x, w, t: with_pads(x, sides, float(value)))


def affine(features):
    return {"weight": torch.randn(features), "bias": torch.randn(features)}


def norm():
    groups, shape = random.randint(1, 4), [random.randint(1, 7) for _ in range(2)]
    features = groups * random.randint(2, 7)
    epsilon = random.choice([1e-5, 0.1])
    if random.random() < 0.5:
        layer = {"layer": "group_norm", "groups": groups, "epsilon": epsilon, "name": "at"}
        return Case([layer], [*shape, features], affine(features), lambda x, w, t: functional.group_norm(
            x, groups, w["weight"], w["bias"], epsilon))
    layer = {"layer": "layer_norm", "epsilon": epsilon, "name": "at"}
    return Case([layer], [*shape, features], affine(features), lambda x, w, t: functional.layer_norm(
        x.permute(0, 2, 3, 1), [features], w["weight"], w["bias"], epsilon).permute(0, 3, 1, 2))


def batch_norm():
    """With a convolution before it: so the gradient that goes through it is seen in training, too."""
    shape, ins, features = [random.randint(2, 9) for _ in range(2)], random.randint(1, 4), random.randint(1, 9)
    momentum, epsilon = random.choice([0.1, 0.3]), random.choice([1e-5, 0.01])
    layers = [{"layer": "conv2d", "units": features, "size": 3, "bias": False, "name": "conv"},
              {"layer": "batch_norm", "momentum": momentum, "epsilon": epsilon, "activation": "silu", "name": "at"}]
    states = {"running_mean": torch.randn(features), "running_var": torch.rand(features) + 0.5}
    weights = {"conv.weight": torch.randn(features, ins, 3, 3), **affine(features)}

    def function(x, w, is_training):
        y = functional.conv2d(x, w["conv.weight"], padding=1)
        return functional.silu(functional.batch_norm(y, w["running_mean"], w["running_var"], w["weight"], w["bias"],
                                                     is_training, momentum, epsilon))
    return Case(layers, [*shape, ins], weights, function, states)


def residual():
    """A sum of two branches, cut into parts that are put together again."""
    shape, ins = [random.randint(2, 9) for _ in range(2)], random.randint(2, 6)
    layers = [{"layer": "conv2d", "input": "x", "units": ins, "size": 3, "name": "at"},
              {"expr": "relu(at + x)", "name": "sum"},
              {"layer": "concat", "input": ["sum[..., 1:]", "x", "sum[..., 0:1]"]},
              {"expr": "it[:, ::-1, 1:]"}]
    weights = {"weight": torch.randn(ins, ins, 3, 3), "bias": torch.randn(ins)}

    def function(x, w, t):
        y = torch.relu(functional.conv2d(x, w["weight"], w["bias"], padding=1) + x)
        return torch.cat([y[:, 1:], x, y[:, :1]], 1).flip(2)[:, :, :, 1:]
    return Case(layers, [*shape, ins], weights, function)


# how many random cases of each
PLAN = {conv: 72, transposed: 48, pool: 36, pool_of_equals: 36, resize: 54, pad: 10, norm: 16, batch_norm: 12, residual: 4}
TOGETHER = 18


def name_of(i, weight):
    return f"m{i}.{weight}" if "." in weight else f"m{i}.at.{weight}"


def description(cases, shapes):
    modules, calls, gradients, data, inputs = {}, [], [], {}, {}
    for i, (case, shape) in enumerate(zip(cases, shapes)):
        modules[f"m{i}"] = {"inputs": ["x"], "layers": case.layers}
        calls.append({"module": f"m{i}", "input": f"x{i}", "name": f"y{i}"})
        gradients.append({"expr": f"gradient(sum(y{i} * d{i}), x{i})", "name": f"dx{i}"})
        for name, of in ((f"x{i}", case.shape), (f"d{i}", shape)):
            inputs[name] = ["n", *of]
            data[name] = {"path": f"{name}.npy", "field": "value", "type": "f32", "shape": of}
    loss = " + ".join(f"sum(y{i} * d{i})" for i in range(len(cases)))
    outputs = [f"{kind}{i}" for i in range(len(cases)) for kind in ("y", "dx")]
    model = {"name": "layers", "modules": modules,
             "functions": {"f": {"inputs": inputs, "layers": [*calls, *gradients], "outputs": outputs}}}
    if any(case.weights for case in cases):
        model["training"] = {"data": data, "layers": [*calls, {"expr": loss, "name": "loss"}], "minimize": "loss",
                             "batch": BATCH, "optimizer": {"name": "sgd", "learning_rate": 0.001, "momentum": 0.9}}
    return model


def single(tensor):
    return numpy.ascontiguousarray(tensor.numpy(), numpy.float32)


def prepared(cases):
    """Random data as f32 holds it, and PyTorch's answers for the function and for the training step."""
    data, opened, trained = [], [], []
    for case in cases:
        for values in (case.weights, case.states):
            values.update({name: value.float().double() for name, value in values.items()})
        x = case.draw()
        dy = case.torch_run(x, None, False)[1].float().double()
        opened.append(case.torch_run(x, dy, False))
        trained.append(case.torch_run(x[:BATCH], dy, True))
        data += [single(x), single(dy)]
    return data, opened, trained


def compare(case, what, got, want):
    want = numpy.asarray(want)
    if numpy.array_equal(numpy.isnan(got), numpy.isnan(want)) and numpy.array_equal(got[numpy.isinf(want)], want[numpy.isinf(want)]):
        got, want = numpy.where(numpy.isfinite(want), got, 0), numpy.where(numpy.isfinite(want), want, 0)
    if not numpy.array_equal(numpy.isnan(got), numpy.isnan(want)):
        print(f"FAIL {what} has NaN elsewhere: x of {case.shape}, {json.dumps(case.layers)}")
        return 1
    apart = oracle.difference(got, want) if numpy.linalg.norm(want) > 1e-12 else float(numpy.abs(got).max())
    if apart <= TOLERANCE:
        return 0
    print(f"FAIL {what} is {apart:.1e} off: x of {case.shape}, {json.dumps(case.layers)}")
    return 1


def run(cases):
    data, opened, trained = prepared(cases)
    with open("model.json", "w") as file:
        json.dump(description(cases, [list(each[0].shape[1:]) for each in opened]), file)
    for i, array in enumerate(data):
        numpy.save(f"{'xd'[i % 2]}{i // 2}.npy", array[:BATCH])
    selfc = oracle.Selfc("model.json")
    for i, case in enumerate(cases):
        for name, value in {**case.weights, **case.states}.items():
            selfc.write(name_of(i, name), stored(value))
    failed = 0
    results = selfc.run("f", OPEN, data, [each[part].shape for each in opened for part in (0, 2)])
    for i, case in enumerate(cases):
        failed += compare(case, "the result", results[2 * i], opened[i][0])
        failed += compare(case, "the data's gradient", results[2 * i + 1], opened[i][2])
    if not any(case.weights for case in cases):
        return failed
    batch = [numpy.ascontiguousarray(array[:BATCH]) for array in data]
    selfc.step(batch, numpy.arange(BATCH, dtype=numpy.int32), 0, 1)
    for i, case in enumerate(cases):
        for name, want in trained[i][3].items():
            got = selfc.read(f"sgd.{name_of(i, name)}.velocity", want.shape)
            failed += compare(case, f"the gradient of {name}", got, want)
        for name, want in trained[i][4].items():
            failed += compare(case, name, selfc.read(name_of(i, name), want.shape), want)
    return failed


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    random.seed(seed), torch.manual_seed(seed)
    torch.set_num_threads(2)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for make, count in PLAN.items():
            wrong, left = 0, [make() for _ in range(count)]
            while left:
                wrong += run(left[:TOGETHER])
                left = left[TOGETHER:]
            print(f"{'FAIL' if wrong else 'ok  '} {make.__name__}: {count} cases", flush=True)
            failed += wrong
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
