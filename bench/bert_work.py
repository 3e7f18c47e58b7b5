"""BERT learning to fill masks: training steps against transformers' BertForMaskedLM.

Texts are whole rows of random tokens. selfc chooses and changes the masked ones within its step; PyTorch gets them as they
come out of that, made before the clock starts. transformers computes the logits of all tokens; the variants "places alone"
give its head what is masked, as selfc does."""
import json, os

from resnet_work import print_costs, show_plan, start_twice
from rivals import TOP, compare, torch_rivals

VOCABULARY, MASK, LENGTH = 30522, 103, 128


def save_texts(arguments, batch):
    """A .npy file for each training input."""
    import numpy
    random, rows = numpy.random.default_rng(0), 4 * batch
    text = random.integers(1000, VOCABULARY, (rows, LENGTH))
    word = numpy.tile(numpy.arange(LENGTH) - 1, (rows, 1))
    text[:, 0], text[:, -1], word[:, -1] = 101, 102, -1
    arrays = {"text": text, "word": word, "segment": numpy.zeros((rows, LENGTH)), "count": numpy.full(rows, LENGTH)}
    paths = {name: os.path.join(arguments.folder, name + ".npy") for name in arrays}
    for name, array in arrays.items():
        numpy.save(paths[name], array.astype(numpy.int32))
    return paths


def save_model(arguments, name, batch, paths):
    with open(os.path.join(TOP, "examples/bert", name)) as file:
        model = json.load(file)
    model["training"]["data"] = {name: {"path": path, "field": "value"} for name, path in paths.items()}
    model["let"].update(vocabulary=VOCABULARY, mask=MASK)
    model["training"].update(batch=batch, accumulate=1)
    del model["functions"]
    path = os.path.join(arguments.folder, "model.json")
    with open(path, "w") as file:
        json.dump(model, file)
    return path


def training_flop(batch, layers, units, places):
    """Products and attention, forward and twice as much backward; the vocabulary's at masked places alone."""
    rows, inner = batch * LENGTH, 4 * units
    layer = rows * (4 * units * units + 2 * units * inner) + 2 * rows * LENGTH * units
    head = batch * places * (units * units + units * VOCABULARY)
    return 2 * 3 * (layers * layer + head)


def compare_train(arguments, name, batch, layers, units, heads):
    places = -(-15 * LENGTH // 100)
    paths = save_texts(arguments, batch)
    path = save_model(arguments, name, batch, paths)
    arena, bound = show_plan(arguments, path)
    selfc, costs = start_twice(arguments, path, "train", arguments.threads, list(paths.values()))
    twin = {"batch": batch, "layers": layers, "units": units, "heads": heads, "places": places, "text": paths["text"],
            "vocabulary": VOCABULARY, "mask": MASK}
    variants = ["eager", "compile", "eager, places alone", "compile, places alone"]
    rivals = torch_rivals(arguments, "bert-train", variants, twin)
    row = compare(arguments, selfc, rivals, arguments.threads, training_flop(batch, layers, units, places))
    costs.update(arena_mb=round(arena / 1e6), arena_bound_mb=round(bound / 1e6))
    print_costs(costs, rivals)
    return {"batch": batch, **row, **costs}


def compare_base(arguments):
    return compare_train(arguments, "bert-base.json", 8, 12, 768, 12)


def compare_small(arguments):
    return compare_train(arguments, "bert-small.json", 32, 4, 256, 4)
