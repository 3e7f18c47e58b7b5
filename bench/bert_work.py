"""BERT learning to fill masks: training steps against transformers' BertForMaskedLM.

Texts are whole rows of random tokens. selfc chooses and changes the masked ones within its step; PyTorch gets them as they
come out of that, made before the clock starts. transformers computes the logits of all tokens; the variants "places alone"
give its head what is masked, as selfc does.

And rows of features of texts, by an encoder of the size of MiniLM (Wang et al. 2020) that transformers made and selfc
imported: mean of the tokens' rows, of length 1."""
import json, os, subprocess, sys

from resnet_work import print_costs, show_plan, start_twice
from rivals import TOP, compare, torch_rival, torch_rivals

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


# --- MiniLM ---

UNITS, LAYERS, HEADS = 384, 6, 12


def save_encoder(arguments):
    """A folder as transformers writes it, and the RUN that selfc makes of it."""
    sys.modules.setdefault("torchvision", None)
    import torch, transformers
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=VOCABULARY, hidden_size=UNITS, num_hidden_layers=LAYERS,
                                     num_attention_heads=HEADS, intermediate_size=4 * UNITS)
    folder, run = os.path.join(arguments.folder, "minilm"), os.path.join(arguments.folder, "run")
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    with open(os.path.join(folder, "vocab.txt"), "w") as file:
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        file.writelines(f"{word}\n" for word in names + [f"w{i}" for i in range(VOCABULARY - len(names))])
    subprocess.run([os.path.join(arguments.build, "selfc"), "import", folder, "-o", run], check=True,
                   stdout=subprocess.DEVNULL)
    return folder, run


def save_rows(arguments, batch):
    """text, count and segment, as the function takes them."""
    import numpy
    rows = {"text": numpy.random.default_rng(0).integers(1000, VOCABULARY, (batch, LENGTH)),
            "count": numpy.full(batch, LENGTH), "segment": numpy.zeros((batch, LENGTH))}
    paths = {name: os.path.join(arguments.folder, f"{name}{batch}.npy") for name in rows}
    for name, array in rows.items():
        numpy.save(paths[name], array.astype(numpy.int32))
    return paths


def compare_minilm(arguments):
    folder, run = save_encoder(arguments)
    rows, per_row = [], LENGTH * (4 * UNITS * UNITS + 8 * UNITS * UNITS + 2 * LENGTH * UNITS)
    for batch in (1, 32):
        print(f"\nbatch {batch}", flush=True)
        paths = save_rows(arguments, batch)
        selfc, costs = start_twice(arguments, run, f"encode_{LENGTH}:{batch}", arguments.threads, list(paths.values()))
        about = {"folder": folder, "text": paths["text"], "heads": HEADS, "units": UNITS}
        rivals = torch_rivals(arguments, "minilm-infer", ["eager", "compile", "compile, frozen"], about)
        rivals += [torch_rival("minilm-onnx", variant, arguments.threads, about, "ONNX Runtime")
                   for variant in ("", "fused")]
        rows.append({"batch": batch, **compare(arguments, selfc, rivals, arguments.threads, 2 * LAYERS * batch * per_row),
                     **costs})
        print_costs(costs, rivals)
    return {**rows[-1], "rows": rows}
