#!/usr/bin/env python3
"""Layers that change pictures at random, against what they say written out in NumPy, on the very numbers that selfc
draws: Philox, with the counter that docs/design.md names, says what every sample of every layer gets. Pictures have ugly
sizes, options are random. Where torchvision is at hand, its functional API gets the same parameters and must agree.
At last statistics: whether crops, flips and the like are as frequent and as large as they should be."""
import importlib, json, os, random, sys, tempfile

import oracle
import numpy

declared = []  # operators live as long as their library


def torchvision():
    """Its functional API; None: it is not there. One that was made for another build of PyTorch cannot load operators
    of its own. What is compared here needs none of them, but the import wants those two to be declared."""
    global torch
    try:
        import torch

        return importlib.import_module("torchvision.transforms.v2.functional")
    except ImportError:
        return None
    except RuntimeError:
        declared.append(torch.library.Library("torchvision", "DEF"))
        for name in ("nms", "qnms"):
            declared[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        return importlib.import_module("torchvision.transforms.v2.functional")


vision = torchvision()
SEED, BATCH, TOLERANCE = 7, 5, 2e-5
f32 = numpy.float32


# ---- the numbers that are drawn ----

def philox(element, sample, step, stream, seed):
    """Word 0 to 3 of Philox4x32-10 for arrays of elements and samples."""
    counter = [numpy.asarray(word, numpy.uint64) for word in numpy.broadcast_arrays(element, sample, step, stream)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        low = 0xFFFFFFFF
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & low, (a >> 32) ^ counter[3] ^ key[1], a & low]
        key = [(key[0] + 0x9E3779B9) & low, (key[1] + 0xBB67AE85) & low]
    return counter


class Draws:
    """What a layer draws, call by call: each takes the next stream."""

    def __init__(self, n, seed=SEED):
        self.n, self.seed, self.stream = n, seed, 0

    def bits(self, shape):
        count = int(numpy.prod(shape))
        words = philox(numpy.arange(count)[None], numpy.arange(self.n)[:, None], 0, self.stream, self.seed)
        self.stream += 1
        return [(word >> 8).reshape(self.n, *shape) for word in words]

    def uniform(self, low=0.0, high=1.0, shape=()):
        if low == high:
            return numpy.full((self.n, *shape), low)
        return low + (high - low) * (self.bits(shape)[0] * 2.0**-24)

    def chance(self, p, shape=()):
        return numpy.ones((self.n, *shape), bool) if p == 1 else self.bits(shape)[0] < int(p * 2**24 + 0.5)

    def normal(self, shape):
        first, second = self.bits(shape)[:2]
        return numpy.sqrt(-2 * numpy.log((first + 1) * 2.0**-24)) * numpy.cos(2 * numpy.pi * second * 2.0**-24)


# ---- what the layers say; pictures are [n, height, width, channels], in double precision ----

def gray_of(x):
    return x @ [0.2989, 0.587, 0.114] if x.shape[-1] == 3 else x.mean(-1)


def blend(x, y, factor):
    return numpy.clip(factor * x + (1 - factor) * y, 0, 1)


def turn_hue(x, turn):
    """By way of hue, saturation and value, pixel by pixel as in Foley and van Dam; x: [h, w, 3]."""
    most, least = x.max(-1), x.min(-1)
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    span = numpy.where(most == least, 1, most - least)
    hue = numpy.where(r == most, (g - b) / span, numpy.where(g == most, 2 + (b - r) / span, 4 + (r - g) / span))
    hue = numpy.mod(hue / 6 + turn, 1) * 6
    saturation = (most - least) / numpy.where(most == 0, 1, most)
    sector, f = numpy.floor(hue).astype(int) % 6, hue - numpy.floor(hue)
    p, q, t = (most * (1 - saturation * part) for part in (1, f, 1 - f))
    table = [(most, t, p), (q, most, p), (p, most, t), (p, q, most), (t, p, most), (most, p, q)]
    return numpy.select([(sector == i)[..., None] for i in range(6)], [numpy.stack(row, -1) for row in table])


def resize_axis(x, axis, start, extent, size):
    """One axis: triangles around each place, as wide as the larger of two pixels, over the part alone."""
    scale = extent / size
    reach = max(scale, 1)
    middle = scale * (numpy.arange(size) + 0.5)
    pixel = numpy.arange(extent)
    weight = numpy.maximum(1 - abs(pixel[None] + 0.5 - middle[:, None]) / reach, 0)
    weight /= weight.sum(1, keepdims=True)
    part = numpy.take(x, numpy.arange(start, start + extent), axis)
    return numpy.moveaxis(numpy.tensordot(weight, part, (1, axis)), 0, axis)


def rounded(x):
    return numpy.floor(numpy.float32(x) + numpy.float32(0.5))


def draw_part(draws, heights, widths, scale, ratio, turned=False, proper=False):
    """Parts as torchvision draws them, and for each sample how far its decisions were from going the other way."""
    area_share = draws.uniform(*scale, shape=(10,))
    aspect = numpy.exp(draws.uniform(*numpy.log(ratio), shape=(10,)))
    area = (heights * widths)[:, None] * area_share
    longer, shorter = numpy.sqrt(area * aspect), numpy.sqrt(area / aspect)
    u, v = draws.uniform(), draws.uniform()
    parts, doubt = [], []
    for i in range(draws.n):
        h, w = (longer[i], shorter[i]) if turned else (shorter[i], longer[i])
        exact = numpy.concatenate([h, w])
        h, w = rounded(h), rounded(w)
        most = (heights[i] - proper, widths[i] - proper)
        fits = (h > 0) & (w > 0) & (h <= most[0]) & (w <= most[1])
        k = int(numpy.argmax(fits))
        part = (int(h[k]), int(w[k])) if fits.any() else None
        near = abs(exact - numpy.floor(exact) - 0.5).min()
        if part:
            rooms = [(u[i] * (heights[i] - part[0] + 1)), (v[i] * (widths[i] - part[1] + 1))]
            near = min(near, *(min(room - numpy.floor(room), numpy.ceil(room) - room) if room else 1 for room in rooms))
            part = (min(int(rooms[0]), heights[i] - part[0]), min(int(rooms[1]), widths[i] - part[1]), *part)
        parts.append(part)
        doubt.append(near < 1e-4)
    return parts, doubt


def middle_part(height, width, ratio):
    w, h = width, height
    if width / height < ratio[0]:
        h = int(rounded(width / ratio[0]))
    elif width / height > ratio[1]:
        w = int(rounded(height * ratio[1]))
    return (height - h) // 2, (width - w) // 2, h, w


class Case:
    """A layer on pictures [height, width, channels], and what it should give: reference(draws, x) in NumPy, and in
    torchvision vision(parameters, x), where parameters are what the reference left in `self.parameters`."""

    def __init__(self, layer, shape, reference, library=None, sizes=None, turns=None):
        self.layer, self.shape, self.reference, self.library = layer, shape, reference, library
        self.sizes, self.turns = sizes, turns


def shape_of(channels=(1, 3), least=9, most=40):
    return [random.randint(least, most), random.randint(least, most), random.choice(channels)]


def crop():
    shape = shape_of((1, 3, 4))
    size = [random.randint(3, 40) for _ in range(2)]
    scale, ratio = random.choice([((0.08, 1), (0.75, 4 / 3)), ((0.5, 1), (0.9, 1.1)), ((0.9, 1), (2.5, 3.0))])
    sizes = None
    if random.random() < 0.5:
        sizes = numpy.array([[random.randint(4, s) for s in shape[:2]] for _ in range(BATCH)], numpy.int32)
    layer = {"layer": "random_resized_crop", "size": size, "scale": list(scale), "ratio": list(ratio)}

    def reference(draws, x):
        heights, widths = (sizes.T if sizes is not None else numpy.full((2, draws.n), [[shape[0]], [shape[1]]])).astype(int)
        parts, doubt = draw_part(draws, heights, widths, scale, ratio)
        parts = [part or middle_part(h, w, ratio) for part, h, w in zip(parts, heights, widths)]
        y = [resize_axis(resize_axis(a, 0, top, h, size[0]), 1, left, w, size[1])
             for a, (top, left, h, w) in zip(x, parts)]
        return numpy.stack(y), doubt, parts

    def library(part, a):
        return vision.resized_crop(a, *part, size, antialias=True)
    return Case(layer, shape, reference, library, sizes=sizes)


def flip():
    p, axis = random.choice([0.5, 0.3, 1]), random.choice(["horizontal", "vertical"])

    def reference(draws, x):
        flips = draws.chance(p)
        return numpy.stack([numpy.flip(a, axis == "horizontal") if f else a for a, f in zip(x, flips)]), None, flips
    library = lambda f, a: (vision.horizontal_flip if axis == "horizontal" else vision.vertical_flip)(a) if f else a
    return Case({"layer": "random_flip", "p": p, "axis": axis}, shape_of(), reference, library)


def jitter():
    names = ["brightness", "contrast", "saturation", "hue"]
    wanted = random.sample(names, random.randint(1, 4)) if random.random() < 0.5 else names
    strength = {name: round(random.uniform(0.05, 0.5 if name == "hue" else 0.9), 2) for name in wanted}
    p, shape = random.choice([1, 0.8]), shape_of((3, 3, 1))
    layer = {"layer": "color_jitter", "p": p, **strength}
    ranges = {name: (-s, s) if name == "hue" else (1 - s, 1 + s) for name, s in strength.items()}
    if "brightness" in layer and random.random() < 0.5:
        layer["brightness"] = list(ranges.setdefault("brightness", (0, 0)))

    def reference(draws, x):
        applies, keys = draws.chance(p), draws.uniform(shape=(4,))
        value = {name: draws.uniform(*ranges[name]) for name in names if name in ranges}
        parameters = []
        for i in range(draws.n):
            order = [names[k] for k in numpy.argsort(keys[i], kind="stable")]
            parameters.append([(name, value[name][i]) for name in order if name in value] if applies[i] else [])
        return numpy.stack([change(a, list_) for a, list_ in zip(x, parameters)]), None, parameters

    def change(a, steps):
        for name, value in steps:
            if a.shape[-1] != 3 and name in ("saturation", "hue"):
                continue
            if name == "hue":
                a = turn_hue(a, value)
            else:
                other = {"brightness": 0, "contrast": gray_of(a).mean(), "saturation": gray_of(a)[..., None]}[name]
                a = blend(a, other, value)
        return a

    def library(steps, a):
        for name, value in steps:
            a = getattr(vision, f"adjust_{name}")(a, value)
        return a
    return Case(layer, shape, reference, library)


def gray():
    p = random.choice([0.2, 0.5, 1])

    def reference(draws, x):
        on = draws.chance(p)
        return numpy.stack([numpy.repeat(gray_of(a)[..., None], a.shape[-1], -1) if f else a
                            for a, f in zip(x, on)]), None, on
    return Case({"layer": "random_gray", "p": p}, shape_of((1, 3)), reference,
                lambda f, a: vision.rgb_to_grayscale(a, a.shape[-3]) if f and a.shape[-3] == 3 else a)


def blur():
    shape, p = shape_of((1, 3)), random.choice([0.5, 1])
    size = [2 * random.randint(0, min(7, s - 1)) + 1 for s in shape[:2]]
    sigma = random.choice([[0.1, 2], [0.5, 0.5], [1, 3]])

    def bell(length, s):
        weight = numpy.exp(-((numpy.arange(length) - length // 2) / s) ** 2 / 2)
        return weight / weight.sum()

    def soft(a, s):
        wide = numpy.pad(a, [(size[0] // 2,) * 2, (size[1] // 2,) * 2, (0, 0)], "reflect")
        rows = sum(w * wide[:, k:k + a.shape[1]] for k, w in enumerate(bell(size[1], s)))
        return sum(w * rows[k:k + a.shape[0]] for k, w in enumerate(bell(size[0], s)))

    def reference(draws, x):
        on, s = draws.chance(p), draws.uniform(*sigma)
        return numpy.stack([soft(a, t) if f else a for a, f, t in zip(x, on, s)]), None, list(zip(on, s))
    library = lambda it, a: vision.gaussian_blur(a, size[::-1], [float(it[1])] * 2) if it[0] else a
    return Case({"layer": "gaussian_blur", "size": size, "sigma": sigma, "p": p}, shape, reference, library)


def solarize():
    threshold, p = round(random.uniform(0.2, 0.8), 2), random.choice([0.5, 1])

    def reference(draws, x):
        on = draws.chance(p)
        turned = numpy.where(x >= f32(threshold), 1 - x, x)
        return numpy.where(on[:, None, None, None], turned, x), None, on
    return Case({"layer": "solarize", "threshold": threshold, "p": p}, shape_of(), reference,
                lambda f, a: vision.solarize(a, threshold) if f else a)


def noise():
    deviation, clip, shape = round(random.uniform(0.05, 0.5), 2), random.random() < 0.5, shape_of()

    def reference(draws, x):
        y = x + deviation * draws.normal(x.shape[1:])
        return numpy.clip(y, 0, 1) if clip else y, None, None
    return Case({"layer": "noise", "deviation": deviation, "clip": clip}, shape, reference)


def standardize():
    shape = shape_of((1, 3, 4))
    mean, deviation = (numpy.round(numpy.random.uniform(0.2, 0.8, shape[2]), 3).tolist() for _ in range(2))

    def reference(draws, x):
        return (x - mean) / deviation, None, [None] * draws.n
    return Case({"layer": "standardize", "mean": mean, "deviation": deviation}, shape, reference,
                lambda _, a: vision.normalize(a, mean, deviation))


def rotation():
    degrees, fill = random.choice([30, [-10, 90], [45, 45], 360]), random.choice([0, 0, 0.7])
    least, most = degrees if isinstance(degrees, list) else (-degrees, degrees)

    def turned(a, angle):
        h, w = a.shape[:2]
        wide = numpy.pad(a, [(1, 1), (1, 1), (0, 0)], constant_values=fill)
        y, x = numpy.mgrid[:h, :w] - numpy.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
        c, s = numpy.cos(angle), numpy.sin(angle)
        rows, columns = x * s + y * c + (h - 1) / 2, x * c - y * s + (w - 1) / 2
        top, left = numpy.floor(rows).astype(int), numpy.floor(columns).astype(int)
        at = lambda i, j: wide[numpy.clip(i + 1, 0, h + 1), numpy.clip(j + 1, 0, w + 1)]
        down, right = (rows - top)[..., None], (columns - left)[..., None]
        upper = at(top, left) * (1 - right) + at(top, left + 1) * right
        return upper * (1 - down) + (at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right) * down

    def reference(draws, x):
        angle = draws.uniform(least, most)
        return numpy.stack([turned(a, t) for a, t in zip(x, numpy.radians(angle))]), None, angle
    library = None if fill else lambda t, a: vision.rotate(a, float(t), vision.InterpolationMode.BILINEAR)
    return Case({"layer": "random_rotation", "degrees": degrees, "fill": fill}, shape_of(), reference, library)


def quarter_turns():
    side = random.randint(4, 30)
    turns = numpy.random.randint(-3, 6, BATCH).astype(numpy.int32)

    def reference(draws, x):
        return numpy.stack([numpy.rot90(a, k) for a, k in zip(x, turns)]), None, turns
    return Case({"layer": "quarter_turns"}, [side, side, random.choice([1, 3])], reference,
                lambda k, a: torch.rot90(a, int(k), [1, 2]), turns=turns)


def cutout():
    p, shape, value = random.choice([0.5, 1]), shape_of(), random.choice([0, 0.3])
    layer = {"layer": "cutout", "p": p, "value": value}
    scale, ratio = (0.02, 0.33), (0.3, 3.3)
    if random.random() < 0.5:
        scale, ratio = (0.3, 0.9), (0.1, 8)
        layer.update(scale=list(scale), ratio=list(ratio))

    def reference(draws, x):
        on, y = draws.chance(p), x.copy()
        parts, doubt = draw_part(draws, *numpy.full((2, draws.n), [[shape[0]], [shape[1]]]), scale, ratio, True, True)
        parts = [part if f else None for part, f in zip(parts, on)]
        for a, part in zip(y, parts):
            if part:
                a[part[0]:part[0] + part[2], part[1]:part[1] + part[3]] = value
        return y, doubt, parts
    return Case(layer, shape, reference,
                lambda part, a: vision.erase(a, *part, torch.tensor(float(value))) if part else a)


def center_crop():
    size, shape = [random.randint(3, 45) for _ in range(2)], shape_of()

    def reference(draws, x):
        pads = [max(0, s - length) for s, length in zip(size, shape)]
        wide = numpy.pad(x, [(0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)])
        top, left = (round((length + p - s) / 2) for s, length, p in zip(size, shape, pads))
        return wide[:, top:top + size[0], left:left + size[1]], None, [None] * draws.n
    return Case({"layer": "center_crop", "size": size}, shape, reference, lambda _, a: vision.center_crop(a, size))


# how many random cases of each
PLAN = {crop: 16, flip: 4, jitter: 14, gray: 3, blur: 8, solarize: 3, noise: 3, standardize: 3, rotation: 6,
        quarter_turns: 3, cutout: 6, center_crop: 5}


def description(cases):
    functions = {}
    for i, case in enumerate(cases):
        inputs, layer = {"x": ["n", *case.shape]}, dict(case.layer)
        for name, value in (("sizes", case.sizes), ("turns", case.turns)):
            if value is not None:
                inputs[name] = {"shape": ["n", *value.shape[1:]], "type": "i32"}
                layer["input"] = ["x", name]
        functions[f"f{i}"] = {"inputs": inputs, "layers": [layer]}
    return {"name": "augment", "functions": functions}


def agrees(got, want, doubt, what):
    """A decision that rounding may turn makes another picture: such a sample is left out, if it is the only kind."""
    wrong = [i for i in range(len(want)) if abs(got[i] - want[i]).max() > TOLERANCE and not (doubt and doubt[i])]
    if wrong:
        print(f"FAIL {what}: sample {wrong[0]} differs by {abs(got[wrong[0]] - want[wrong[0]]).max():.3g}")
    return not wrong


def check(selfc, i, case):
    name = f"{case.layer['layer']} {case.layer} of {case.shape}"
    x = numpy.random.uniform(0, 1, (BATCH, *case.shape)).astype(f32)
    x[0] = numpy.round(x[0] * 4) / 4  # ties between channels
    want, doubt, parameters = case.reference(Draws(BATCH), x.astype(numpy.float64))
    arrays = [x] + [value for value in (case.sizes, case.turns) if value is not None]
    got = selfc.run(f"f{i}", BATCH, arrays, [want.shape])[0]
    good = agrees(got, want, doubt, name)
    if vision and case.library and good:
        planes = torch.from_numpy(x).permute(0, 3, 1, 2)
        theirs = numpy.stack([case.library(it, a).permute(1, 2, 0).numpy() for it, a in zip(parameters, planes)])
        good = agrees(got, theirs, doubt, name + " against torchvision")
    return good


# ---- what mixes a batch: in training alone ----

def beta(draws, alpha):
    u, v = draws.uniform(), draws.uniform()
    if alpha == 1:
        return u
    c, r = numpy.cos(2 * numpy.pi * v), u ** (1 / alpha)
    return (1 + c / numpy.sqrt(c * c + r / numpy.maximum(1 - r, 1e-30))) / 2


def mixed(kind, alpha, x, labels):
    draws = Draws(len(x))
    lam, others = beta(draws, alpha), (numpy.roll(x, 1, 0), numpy.roll(labels, 1, 0))
    if kind == "mixup":
        return [(lam * a.T + (1 - lam) * b.T).T for a, b in zip((x, labels), others)]
    half, (h, w), y = numpy.sqrt(1 - lam) / 2, x.shape[1:3], x.copy()
    ends = []
    for length in (w, h):
        middle, reach = numpy.floor(draws.uniform(0, length)), numpy.floor(half * length)
        ends.append((numpy.maximum(middle - reach, 0).astype(int), numpy.minimum(middle + reach, length).astype(int)))
    for i in range(len(x)):
        (left, right), (top, bottom) = [(a[i], b[i]) for a, b in ends]
        y[i, top:bottom, left:right] = others[0][i, top:bottom, left:right]
    (left, right), (top, bottom) = ends
    area = (right - left) * (bottom - top) / (h * w)
    return y, (area * others[1].T + (1 - area) * labels.T).T


def check_mix(folder, kind, alpha):
    """What comes back to a weight that each element is multiplied with is the element."""
    shape, classes = shape_of(), 4
    count, path = int(numpy.prod(shape)), os.path.join(folder, "mix.json")
    data = {name: {"path": f"{name}.npy", "field": "value", "type": "f32", "shape": of}
            for name, of in (("x", shape), ("y", [classes]))}
    layers = [{"expr": "cast(position(y @ transpose(y), 0) == position(y @ transpose(y), 1), 'f32')", "name": "unit"},
              {"layer": "dense", "input": "unit", "units": count, "bias": False, "name": "a"},
              {"layer": "dense", "input": "unit", "units": classes, "bias": False, "name": "b"},
              {"layer": kind, "input": ["x", "y"], "alpha": alpha, "name": ["mixed", "labels"]},
              {"expr": "sum(a * flatten(mixed)) + sum(b * labels)", "name": "loss"}]
    with open(path, "w") as file:
        json.dump({"name": "mix", "training": {
            "data": data, "layers": layers, "minimize": "loss", "batch": BATCH,
            "optimizer": {"name": "sgd", "learning_rate": 0, "momentum": 1e-30}}}, file)
    x, y = numpy.random.rand(BATCH, *shape).astype(f32), numpy.random.rand(BATCH, classes).astype(f32)
    numpy.save(os.path.join(folder, "x.npy"), x)
    numpy.save(os.path.join(folder, "y.npy"), y)
    os.chdir(folder)
    selfc = oracle.Selfc(path, seed=SEED)
    selfc.step([x, y], numpy.arange(BATCH, dtype=numpy.int32), 0, 1)
    got = [selfc.read(f"sgd.{name}.weight.velocity", (BATCH, size)) for name, size in (("a", count), ("b", classes))]
    want = mixed(kind, alpha, x.astype(numpy.float64), y.astype(numpy.float64))
    return all(agrees(a.reshape(b.shape), b, None, f"{kind} alpha {alpha} of {shape}") for a, b in zip(got, want))


# ---- several views of a batch ----

VIEWS = 16


def check_views(folder):
    """Views, one batch after the other, are samples of their own, up to 16; and tiles of a puzzle are such views."""
    grid, gap, side, path = 3, 1, 17, os.path.join(folder, "views.json")
    views = [{"expr": "concat(x, x, axis=0)"}] + [{"expr": "concat(it, it, axis=0)"}] * 3 + [{"expr": "uniform(it)"}]
    puzzle = [{"module": "jigsaw", "params": {"grid": grid, "gap": gap}, "name": ["tiles", "where"]},
              {"expr": "cast(where, 'f32')", "name": "places"}, {"expr": "uniform(tiles[:, 0, 0])", "name": "drawn"}]
    with open(path, "w") as file:
        json.dump({"name": "views", "functions": {
            "views": {"inputs": {"x": ["n", 3]}, "layers": views},
            "puzzle": {"inputs": {"x": ["n", side, side, 2]}, "layers": puzzle,
                       "outputs": ["tiles", "places", "drawn"]}}}, file)
    selfc = oracle.Selfc(path, seed=SEED)

    def drawn(count, size, stream):
        sample = (numpy.arange(count)[:, None] << 28 ^ numpy.arange(BATCH)).reshape(-1, 1)
        return (philox(numpy.arange(size)[None], sample, 0, stream, SEED)[0] >> 8) * 2.0**-24

    got = selfc.run("views", BATCH, [numpy.zeros((BATCH, 3), f32)], [(VIEWS * BATCH, 3)])[0]
    good = agrees(got, drawn(VIEWS, 3, 0), None, "views")
    x, tile, n = numpy.random.rand(BATCH, side, side, 2).astype(f32), side // grid, grid * grid
    inner = tile - 2 * gap
    tiles, places, noise = selfc.run("puzzle", BATCH, [x], [(n * BATCH, inner, inner, 2), (BATCH, n), (n * BATCH, 2)])
    good &= agrees(numpy.sort(places, 1), numpy.tile(numpy.arange(n), (BATCH, 1)), None, "places of tiles")
    rows, columns = (tile * numpy.array(divmod(places.T.reshape(-1).astype(int), grid)) + gap)
    want = [x[i % BATCH, top:top + inner, left:left + inner] for i, (top, left) in enumerate(zip(rows, columns))]
    return agrees(tiles, want, None, "tiles") and agrees(noise, drawn(n, 2, 1), None, "tiles as samples") and good


# ---- statistics ----

MANY, PART, SIGMAS = 4000, 200, 5


def expect(good, what):
    if not good:
        print(f"FAIL {what}")
    return not good


def distribution_fits(values, cumulative, what):
    """Kolmogorov and Smirnov: the largest distance from the distribution, at a chance of a millionth."""
    values = numpy.sort(values)
    wanted, steps = cumulative(values), numpy.arange(len(values) + 1) / len(values)
    distance = max(abs(wanted - steps[:-1]).max(), abs(wanted - steps[1:]).max())
    return expect(distance < 2.7 / len(values) ** 0.5, f"{what}: {distance:.4f} from its distribution")


def check_statistics(folder):
    """A ramp says what part of it was taken: where it begins, and how steep what is left of it is."""
    side, functions = 256, {
        "crop": [{"layer": "random_resized_crop", "size": 16, "scale": [0.08, 0.5]}],
        "flip": [{"layer": "random_flip", "p": 0.3}],
        "hole": [{"layer": "cutout", "p": 0.6, "value": -1, "scale": [0.1, 0.3]}]}
    path = os.path.join(folder, "many.json")
    with open(path, "w") as file:
        json.dump({"name": "many", "functions": {name: {"inputs": {"x": ["n", side, side, 2]}, "layers": layers}
                                                 for name, layers in functions.items()}}, file)
    failed, found = 0, {name: [] for name in functions}
    ramp = numpy.broadcast_to(numpy.stack(numpy.mgrid[:side, :side], -1).astype(f32), (PART, side, side, 2)).copy()
    for seed in range(MANY // PART):
        selfc = oracle.Selfc(path, seed=seed)
        run = lambda name, size: selfc.run(name, PART, [ramp], [(PART, size, size, 2)])[0]
        found["crop"].append(run("crop", 16)[:, ::15, ::15])
        found["flip"].append(run("flip", side)[:, :1, :1])
        found["hole"].append((run("hole", side) == -1).mean((1, 2, 3)))
    crops, flips, holes = (numpy.concatenate(found[name]) for name in functions)
    heights, widths = ((crops[:, -1, -1, i] - crops[:, 0, 0, i]) * 16 / 15 for i in range(2))
    area, ratio = heights * widths / side**2, numpy.log(widths / heights) / numpy.log(4 / 3)
    failed += distribution_fits(area, lambda a: numpy.clip((a - 0.08) / 0.42, 0, 1), "areas of crops")
    failed += distribution_fits(ratio, lambda r: numpy.clip((r + 1) / 2, 0, 1), "ratios of crops")
    share, deviation = (flips[:, 0, 0, 1] > 0).mean(), (0.3 * 0.7 / MANY) ** 0.5
    failed += expect(abs(share - 0.3) < SIGMAS * deviation, f"{share:.4f} are flipped")
    share, deviation = (holes > 0).mean(), (0.6 * 0.4 / MANY) ** 0.5
    failed += expect(abs(share - 0.6) < SIGMAS * deviation, f"{share:.4f} have a part cut out")
    return failed


def main():
    random.seed(3)
    numpy.random.seed(3)
    cases = [make() for make, count in PLAN.items() for _ in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.json")
        with open(path, "w") as file:
            json.dump(description(cases), file)
        selfc = oracle.Selfc(path, seed=SEED)
        failed = sum(not check(selfc, i, case) for i, case in enumerate(cases))
        mixes = [(kind, alpha) for kind in ("mixup", "cutmix") for alpha in (1, 0.3, 4)]
        failed += sum(not check_mix(folder, *mix) for mix in mixes) + check_statistics(folder)
        failed += not check_views(folder)
    print(f"{len(cases) + len(mixes) + 1} cases, {failed} failed" + ("" if vision else "; no torchvision to compare with"))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
