"""Residual networks: training steps and inference against twins in PyTorch and ONNX Runtime."""
import json, os, re, shutil, subprocess

from resnet_layers import resnet
from rivals import HERE, TOP, compare, selfc_rival, torch_rival, torch_rivals


def save_samples(arguments, side, classes, count):
    """Random pictures and labels; the paths of two .npy files."""
    import numpy
    random = numpy.random.default_rng(0)
    arrays = {"x": random.standard_normal((count, side, side, 3), dtype=numpy.float32),
              "label": random.integers(0, classes, count).astype(numpy.int32)}
    for name, array in arrays.items():
        numpy.save(os.path.join(arguments.folder, name + ".npy"), array)
    return [os.path.join(arguments.folder, name + ".npy") for name in arrays]


def save_model(arguments, description, files=None):
    """A description that trains on the files, or does not train; its path, and what it says."""
    with open(description) as file:
        model = json.load(file)
    if files:
        data = zip(("x", "label"), files)
        model["training"]["data"] = {name: {"path": path, "field": "value"} for name, path in data}
    else:
        del model["training"]
    path = os.path.join(arguments.folder, "model.json")
    with open(path, "w") as file:
        json.dump(model, file)
    return path, model


def show_plan(arguments, model):
    """Bytes of the arena, and the least that any plan needs."""
    program = os.path.join(arguments.build, "selfc")
    text = subprocess.run([program, "show", model, "--stage", "plan"], check=True, capture_output=True,
                          text=True).stdout
    return [int(re.search(rf"^{what} +(\d+) bytes", text, re.MULTILINE)[1]) for what in ("arena", "lower bound")]


def start_twice(arguments, *what):
    """selfc with nothing in its cache, which ends at once, and then from the cache; the seconds of both."""
    cache = {"XDG_CACHE_HOME": os.path.join(arguments.folder, "cache")}
    cold = selfc_rival(arguments, *what, **cache)
    cold.close()
    warm = selfc_rival(arguments, *what, **cache)
    shutil.rmtree(cache["XDG_CACHE_HOME"])
    return warm, {"compile_cold_s": cold.ready, "compile_cached_s": warm.ready}


def print_costs(costs, rivals):
    print(f"selfc is ready for its first run after {costs['compile_cold_s']:.2f} s, from the cache after "
          f"{costs['compile_cached_s']:.2f} s")
    for rival in rivals:
        if rival.ready:
            print(f"{rival.name} has done its first run after {rival.ready:.1f} s")
    if "arena_mb" in costs:
        print(f"arena {costs['arena_mb']} MB, of which any plan needs {costs['arena_bound_mb']} MB")


def compare_train(arguments, description, network, batch):
    about = resnet(**network)
    x, label = save_samples(arguments, about.stem.side, about.classes, 2 * batch)
    path, model = save_model(arguments, description, [x, label])
    arena, bound = show_plan(arguments, path)
    selfc, costs = start_twice(arguments, path, "train", arguments.threads, [x, label])
    twin = {"network": network, "batch": batch, "x": x, "label": label, "optimizer": model["training"]["optimizer"]}
    variants = ["eager", "eager, fused SGD", "compile, fused SGD"]
    rivals = torch_rivals(arguments, "resnet-train", variants, twin)
    row = compare(arguments, selfc, rivals, arguments.threads, about.training_flop(batch))
    costs.update(arena_mb=round(arena / 1e6), arena_bound_mb=round(bound / 1e6))
    print_costs(costs, rivals)
    return {"batch": batch, **row, **costs}


def compare_train_50(arguments):
    return compare_train(arguments, os.path.join(TOP, "examples/resnet/resnet50.json"), {"depth": 50}, 16)


def compare_train_18(arguments):
    network = {"depth": 18, "side": 32, "is_small": True, "classes": 10}
    return compare_train(arguments, os.path.join(HERE, "resnet18.json"), network, 128)


def compare_infer_50(arguments):
    network, rows = {"depth": 50}, []
    path, _ = save_model(arguments, os.path.join(TOP, "examples/resnet/resnet50.json"))
    variants = ["eager", "eager, folded", "compile, folded", "compile, frozen"]
    for batch in (1, 16):
        print(f"\nbatch {batch}", flush=True)
        selfc, costs = start_twice(arguments, path, f"classify:{batch}", arguments.threads)
        about = {"network": network, "batch": batch}
        rivals = torch_rivals(arguments, "resnet-infer", variants, about)
        rivals.append(torch_rival("onnx-infer", "", arguments.threads, about, "ONNX Runtime"))
        row = compare(arguments, selfc, rivals, arguments.threads, resnet(**network).inference_flop(batch))
        row["onnx_ms"] = row["rivals_ms"].get("ONNX Runtime")
        print_costs(costs, rivals)
        rows.append({"batch": batch, **row, **costs})
    return {**rows[-1], "rows": rows}
