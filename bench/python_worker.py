#!/usr/bin/env python3
"""The side of a benchmark that runs in Python: `python_worker.py WORKLOAD VARIANT THREADS ARGUMENT`, ARGUMENT in JSON.

Speaks as worker.c does: "ready SECONDS" (from building the model until the first run is done), then seconds for each
count of runs. A workload is a function below that gives a run as a function without arguments; it is listed in WORK."""
import json, sys, time


def vae(variant, threads, images):
    import numpy, torch
    torch.manual_seed(0)
    from vae_twin import Vae
    data = torch.from_numpy(numpy.fromfile(images, dtype=numpy.uint8).reshape(-1, 784)).float() / 255
    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused="fused" in variant)
    loss_of = torch.compile(model.loss) if "compile" in variant else model.loss
    return training_step(optimizer, loss_of, data.split(128))


def training_step(optimizer, loss_of, *inputs):
    """A step on the next of the batches; inputs: lists of whole batches."""
    batches = [batch for batch in zip(*inputs) if len(batch[0]) == len(inputs[0][0])]
    at = 0

    def step():
        nonlocal at
        optimizer.zero_grad(set_to_none=True)
        loss_of(*batches[at]).backward()
        optimizer.step()
        at = (at + 1) % len(batches)

    return step


def gemm(variant, threads, shape):
    import torch
    rows, inner, columns = shape
    a, b, out = torch.rand(rows, inner), torch.rand(inner, columns), torch.empty(rows, columns)
    return lambda: torch.mm(a, b, out=out)


def resnet_train(variant, threads, about):
    import numpy, torch
    from resnet_layers import resnet
    from resnet_twin import make_twin
    torch.manual_seed(0)
    model = make_twin(resnet(**about["network"]))
    x = torch.from_numpy(numpy.load(about["x"])).permute(0, 3, 1, 2)  # channels last, as they lie
    label = torch.from_numpy(numpy.load(about["label"])).long()
    recipe = about["optimizer"]
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe["learning_rate"], momentum=recipe["momentum"],
                                weight_decay=recipe["weight_decay"], fused="fused" in variant)
    loss_of = torch.compile(model.loss) if "compile" in variant else model.loss
    return training_step(optimizer, loss_of, x.split(about["batch"]), label.split(about["batch"]))


WORK = {"vae": vae, "gemm": gemm, "resnet-train": resnet_train}


def use_threads(threads):
    import torch
    torch.set_num_threads(threads)


def warm_up(run):
    """Until what is slow once is behind: 20 runs, or fewer if they take more than 2 seconds."""
    begin = time.perf_counter()
    for count in range(1, 20):
        run()
        if count >= 2 and time.perf_counter() - begin > 2:
            break


def main():
    workload, variant, threads, argument = sys.argv[1:]
    begin = time.perf_counter()
    use_threads(int(threads))
    run = WORK[workload](variant, int(threads), json.loads(argument))
    run()
    ready = time.perf_counter() - begin
    warm_up(run)
    print(f"ready {ready:.3f}", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            run()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
