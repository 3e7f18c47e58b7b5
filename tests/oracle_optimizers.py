#!/usr/bin/env python3
"""Optimisers, schedules, clipping and accumulation against PyTorch: a small network from the same weights and batches,
ten steps, every parameter after each of them. LARS and LAMB, which PyTorch has not, are written out here. By default
parameters with one axis are left out of weight decay; with "exclude": [] all decay, as in PyTorch by default."""
import json, math, os, sys, tempfile

import oracle
import numpy, torch
from torch.nn import functional

STEPS, BATCH, TOLERANCE = 10, 32, 2e-6
SHAPES = {"first.weight": (12, 16), "first.bias": (16,), "norm.weight": (16,), "norm.bias": (16,),
          "last.weight": (16, 5), "last.bias": (5,)}


class Lars(torch.optim.Optimizer):
    """You, Gitman, Ginsburg 2017."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                g, trust = w.grad, 1.0
                if group["decays"]:
                    trust = group["coefficient"] * w.norm() / (g.norm() + group["weight_decay"] * w.norm())
                    g = g + group["weight_decay"] * w
                velocity = self.state[w].setdefault("velocity", torch.zeros_like(w))
                velocity.mul_(group["momentum"]).add_(group["lr"] * trust * g)
                w.sub_(velocity)


class Lamb(torch.optim.Optimizer):
    """You et al. 2020."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                state = self.state[w]
                t = state["t"] = state.get("t", 0) + 1
                m, v = (state.setdefault(name, torch.zeros_like(w)) for name in "mv")
                m.mul_(0.9).add_(0.1 * w.grad)
                v.mul_(0.999).add_(0.001 * w.grad ** 2)
                change = m / (1 - 0.9 ** t) / ((v / (1 - 0.999 ** t)).sqrt() + 1e-6)
                trust = 1.0
                if group["decays"]:
                    change = change + group["weight_decay"] * w
                    trust = w.norm() / change.norm()
                w.sub_(group["lr"] * trust * change)


def grouped(parameters, decay):
    """Matrices decay, the rest does not."""
    return [{"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay, "decays": True},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0, "decays": False}]


def cosine_with_warm_up(t):
    """t = 0 in the first step."""
    return min(1, (t + 1) / 4) * 0.5 * (1 + math.cos(math.pi * min(max(t - 4, 0) / 8, 1)))


ALL = {"exclude": []}
optim, schedule = torch.optim, torch.optim.lr_scheduler
# name: optimiser of the description, PyTorch's, its schedule, batches to accumulate
CASES = {
    "sgd": ({"name": "sgd", "learning_rate": 0.1}, lambda p: optim.SGD(p, lr=0.1)),
    "sgd with momentum": ({"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01, **ALL},
                          lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)),
    "nesterov": ({"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
                 lambda p: optim.SGD(grouped(p, 0.01), lr=0.1, momentum=0.9, nesterov=True)),
    "excluded by name": ({"name": "sgd", "learning_rate": 0.1, "weight_decay": 0.1, "exclude": ["first", "*.bias"]},
                         lambda p: optim.SGD([{"params": [p[2], p[4]], "weight_decay": 0.1},
                                              {"params": [p[0], p[1], p[3], p[5]]}], lr=0.1)),
    "adam": ({"name": "adam", "weight_decay": 0.01, **ALL}, lambda p: optim.Adam(p, lr=0.001, weight_decay=0.01)),
    "adamw": ({"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
              lambda p: optim.AdamW(grouped(p, 0.1), lr=0.01)),
    "lars": ({"name": "lars", "weight_decay": 0.01, "coefficient": 0.05},
             lambda p: Lars(grouped(p, 0.01), {"lr": 0.1, "momentum": 0.9, "coefficient": 0.05})),
    "lamb": ({"name": "lamb", "learning_rate": 0.01, "weight_decay": 0.1},
             lambda p: Lamb(grouped(p, 0.1), {"lr": 0.01})),
    "cosine": ({"name": "sgd", "learning_rate": "0.1 * cosine_decay(step, 12, end=0.1)"},
               lambda p: optim.SGD(p, lr=0.1), lambda o: schedule.CosineAnnealingLR(o, 12, eta_min=0.01)),
    "warm-up and cosine": ({"name": "sgd", "learning_rate": "0.1 * warm_up(step, 4) * cosine_decay(step, 8, start=4)"},
                           lambda p: optim.SGD(p, lr=0.1), lambda o: schedule.LambdaLR(o, cosine_with_warm_up)),
    "linear": ({"name": "sgd", "learning_rate": "0.1 * linear_decay(step, 7, end=0.2)"}, lambda p: optim.SGD(p, lr=0.1),
               lambda o: schedule.LinearLR(o, 1, 0.2, 7)),
    "steps": ({"name": "sgd", "learning_rate": "0.1 * step_decay(step, 3, factor=0.5)"}, lambda p: optim.SGD(p, lr=0.1),
              lambda o: schedule.StepLR(o, 3, 0.5)),
    "clipped": ({"name": "sgd", "learning_rate": 0.1, "clip_norm": 0.3}, lambda p: optim.SGD(p, lr=0.1)),
    "accumulated": ({"name": "adam", "learning_rate": "0.01 * cosine_decay(step, 4)", "clip_norm": 0.3},
                    lambda p: optim.Adam(p, lr=0.01), lambda o: schedule.CosineAnnealingLR(o, 4), 3),
}


def description(optimizer, accumulate):
    return {
        "name": "small",
        "training": {
            "data": {"x": {"path": "x.npy", "field": "value"}, "label": {"path": "label.npy", "field": "value"}},
            "layers": [{"layer": "dense", "input": "x", "units": 16, "activation": "tanh", "name": "first"},
                       {"layer": "layer_norm", "name": "norm"},
                       {"layer": "dense", "units": 5, "name": "last"},
                       {"expr": "mean(cross_entropy(last, label))", "name": "loss"}],
            "minimize": "loss", "batch": BATCH, "accumulate": accumulate, "optimizer": optimizer}}


def torch_loss(parameters, x, label):
    first = torch.tanh(x @ parameters[0] + parameters[1])
    norm = functional.layer_norm(first, (16,), parameters[2], parameters[3])
    return functional.cross_entropy(norm @ parameters[4] + parameters[5], label.long())


def torch_step(case, parameters, optimizer, plan, batches, step):
    """The loss of one batch; the optimiser moves when enough of them have come together."""
    accumulate = case[3] if len(case) > 3 else 1
    loss = torch_loss(parameters, *(torch.from_numpy(part) for part in batches[step]))
    (loss / accumulate).backward()
    if (step + 1) % accumulate == 0:
        if "clip_norm" in case[0]:
            torch.nn.utils.clip_grad_norm_(parameters, case[0]["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        if plan:
            plan.step()
    return float(loss.detach())


def run(name, case, folder, batches, first):
    with open(f"{folder}/model.json", "w") as file:
        json.dump(description(case[0], case[3] if len(case) > 3 else 1), file)
    selfc = oracle.Selfc("model.json")
    for key, value in first.items():
        selfc.write(key, value.numpy())
    parameters = [torch.nn.Parameter(value.clone()) for value in first.values()]
    optimizer = case[1](parameters)
    plan = case[2](optimizer) if len(case) > 2 else None
    worst, sample = 0.0, numpy.arange(BATCH, dtype=numpy.int32)
    for step in range(STEPS):
        loss = torch_step(case, parameters, optimizer, plan, batches, step)
        worst = max(worst, abs(selfc.step(batches[step], sample, step, 1)[0] - loss) / loss)
        for (key, start), parameter in zip(first.items(), parameters):
            want = parameter.detach().numpy()
            worst = max(worst, oracle.difference(selfc.read(key, want.shape), want))
    moved = oracle.difference(parameters[0].detach().numpy(), first["first.weight"].numpy())
    verdict = "ok  " if worst <= TOLERANCE and moved > 1e-3 else "FAIL"
    print(f"{verdict} {name}: {worst:.1e} apart; the first weight moved by {moved:.1e}")
    return verdict == "FAIL"


def main():
    generator = torch.Generator().manual_seed(1)
    first = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in SHAPES.items()}
    x = torch.randn(STEPS, BATCH, 12, generator=generator).numpy()
    label = torch.randint(0, 5, (STEPS, BATCH), generator=generator).numpy().astype(numpy.int32)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        numpy.save("x.npy", x.reshape(-1, 12))
        numpy.save("label.npy", label.reshape(-1))
        return any([run(name, case, folder, list(zip(x, label)), first) for name, case in CASES.items()])


if __name__ == "__main__":
    sys.exit(main())
