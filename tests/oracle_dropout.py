#!/usr/bin/env python3
"""Dropout as statistics see it, through what comes back from it: the gradient by each element of a weight is what the
element was multiplied with. So masks are read element by element, and the loss says whether they were those of the
way there. How many elements go, whether neighbours, samples, steps, places and seeds go their own ways."""
import json, os, sys, tempfile

import oracle
import numpy

BATCH, UNITS, STEPS = 64, 257, 3
RATES = {"a": 0.1, "b": 0.5, "c": 0.5, "d": 0.9}
SIGMAS = 5


def description():
    """Each place has the rows of a weight as its samples: they are picked by a product with the unit matrix."""
    layers = [{"expr": "cast(position(x @ transpose(x), 0) == position(x @ transpose(x), 1), 'f32')", "name": "unit"}]
    for name, rate in RATES.items():
        layers += [{"layer": "dense", "input": "unit", "units": UNITS, "bias": False, "name": name},
                   {"layer": "dropout", "rate": rate, "name": f"{name}_left"}]
    layers.append({"expr": " + ".join(f"sum({name}_left)" for name in RATES), "name": "loss"})
    return {"name": "dropout",
            "training": {"data": {"x": {"path": "x.npy", "field": "value"}}, "layers": layers, "minimize": "loss",
                         "batch": BATCH, "optimizer": {"name": "sgd", "learning_rate": 0, "momentum": 1e-30}}}


def masks(seed, samples):
    """What each element of each place was multiplied with, step by step; and losses with what they should be."""
    selfc = oracle.Selfc("model.json", seed=seed)
    weights = {name: numpy.linspace(1, 2, BATCH * UNITS).reshape(BATCH, UNITS) for name in RATES}
    for name, value in weights.items():
        selfc.write(f"{name}.weight", value)
    x, steps = numpy.zeros((BATCH, 1), numpy.float32), []
    for step in range(STEPS):
        loss = selfc.step([x], samples, step, 1)[0]
        factor = {name: selfc.read(f"sgd.{name}.weight.velocity", (BATCH, UNITS))
                  for name in RATES}
        want = sum(float((factor[name] * weights[name]).sum()) for name in RATES)
        steps.append((factor, loss, want))
    return steps


def correlation(a, b):
    """In standard deviations of what independent ones would have."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / numpy.sqrt((a * a).sum() * (b * b).sum()) * numpy.sqrt(a.size))


class Report:
    failed = 0

    def expect(self, good, text):
        self.failed += not good
        print(("ok   " if good else "FAIL ") + text)

    def independent(self, a, b, text):
        apart = correlation(a, b)
        self.expect(abs(apart) < SIGMAS, f"{text}: {apart:+.1f} deviations")


def check_place(report, name, rate, factor):
    kept = factor != 0
    scale = numpy.float32(1 / (1 - rate))
    report.expect(numpy.allclose(factor[kept], scale, rtol=1e-6), f"{name}: what stays is multiplied with {scale:.3f}")
    share, deviation = 1 - kept.mean(), numpy.sqrt(rate * (1 - rate) / kept.size)
    report.expect(abs(share - rate) < SIGMAS * deviation, f"{name}: {share:.4f} of the elements go")
    for axis, what in ((0, "samples"), (1, "elements")):
        count = kept.shape[1 - axis]
        spread = kept.mean(1 - axis).var() * count / (rate * (1 - rate))
        bound = SIGMAS * numpy.sqrt(2 / kept.shape[axis])
        report.expect(abs(spread - 1) < bound, f"{name}: the share varies between {what} as chance does, {spread:.2f}")
    report.independent(kept[:, 1:], kept[:, :-1], f"{name}: neighbouring elements")
    report.independent(kept[1:], kept[:-1], f"{name}: neighbouring samples")


def main():
    report, samples = Report(), numpy.arange(BATCH, dtype=numpy.int32)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        numpy.save("x.npy", numpy.zeros((BATCH, 1), numpy.float32))
        with open("model.json", "w") as file:
            json.dump(description(), file)
        steps, other = masks(0, samples), masks(1, samples)
        moved = masks(0, samples[::-1].copy())
    first = steps[0][0]
    for name, rate in RATES.items():
        check_place(report, name, rate, first[name])
    for factor, loss, want in steps:
        report.expect(abs(loss - want) < 1e-5 * abs(want), f"the loss {loss:.6g} is that of the masks that come back")
    report.independent(first["b"], first["c"], "two places")
    report.independent(first["b"], steps[1][0]["b"], "two steps")
    report.independent(first["b"], other[0][0]["b"], "two seeds")
    report.expect(all(numpy.array_equal(first[name], moved[0][0][name][::-1]) for name in RATES),
                  "a sample's mask does not depend on its place in the batch")
    return report.failed > 0


if __name__ == "__main__":
    sys.exit(main())
