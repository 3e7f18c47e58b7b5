#!/usr/bin/env python3
"""BERT of the library against transformers' BertForMaskedLM: from the same weights, batches and masks, without dropout,
fifty steps of AdamW with linear warm-up and decay, a bound on the length of the gradients, and no decay of biases and
normalisations. Texts are of several lengths, in two segments, with another number of masks in each.

Losses, every gradient of the first step (read from the optimiser's first moment), every weight after the last step and
the share of words guessed right are compared with PyTorch's in double precision."""
import json, os, sys, tempfile

import oracle
import numpy, torch

sys.modules.setdefault("torchvision", None)  # texts need none, and one that fits another PyTorch would be in the way
try:
    import transformers
except ImportError:
    print("skipped: no transformers for this Python")
    sys.exit(77)

STEPS, VOCABULARY, UNITS, HEADS, INNER, POSITIONS, RATE, DECAY, LONGEST = 50, 211, 48, 4, 80, 40, 1e-3, 0.01, 0.5
# layers, batch, tokens, places, batches that make one step, activation as transformers calls it
CASES = [(3, 6, 32, 5, 1, "gelu"), (2, 3, 37, 6, 2, "gelu_new"), (1, 5, 16, 3, 1, "relu")]
DATA = ["text", "segment", "count", "places", "labels", "weights"]
LAYER = {"attention.self.query": "query", "attention.self.key": "key", "attention.self.value": "value",
         "attention.output.dense": "attended", "attention.output.LayerNorm": "attended_norm",
         "intermediate.dense": "widened", "output.dense": "narrowed", "output.LayerNorm": "norm"}
OTHERS = {"bert.embeddings.word_embeddings": "bert.word", "bert.embeddings.position_embeddings": "bert.position",
          "bert.embeddings.token_type_embeddings": "bert.segment", "bert.embeddings.LayerNorm": "bert.norm",
          "cls.predictions.transform.dense": "masked_language_model.transform",
          "cls.predictions.transform.LayerNorm": "masked_language_model.norm",
          "cls.predictions": "masked_language_model.decoder"}


def description(layers, batch, accumulate, activation):
    half = {"tanh": activation == "gelu_new", "relu": activation == "relu"}
    bert = {"vocabulary": VOCABULARY, "units": UNITS, "layers": layers, "heads": HEADS, "inner": INNER,
            "positions": POSITIONS, "dropout": 0}
    return {
        "name": "bert",
        "training": {
            "data": {name: {"path": f"{name}.npy", "field": "value"} for name in DATA},
            "layers": [{"module": "bert", "input": ["text", "segment", "count"], "params": {**bert, **half}},
                       {"module": "masked_language_model", "input": ["hidden", "words", "places"], "params": half,
                        "name": "logits"},
                       {"expr": "sum(weights * cross_entropy(logits, labels)) / sum(weights)", "name": "loss"},
                       {"expr": "sum(weights * accuracy(logits, labels)) / sum(weights)", "name": "right"}],
            "minimize": "loss", "report": "right", "batch": batch, "accumulate": accumulate,
            "optimizer": {"name": "adamw", "epsilon": 1e-6, "weight_decay": DECAY, "clip_norm": LONGEST,
                          "learning_rate": f"{RATE} * warm_up(step, 5) * linear_decay(step, 60, start=5)"}}}


def name_here(name):
    """What selfc calls a tensor of transformers."""
    stem, _, end = name.rpartition(".")
    if stem in OTHERS:
        return f"{OTHERS[stem]}.{end}"
    number, _, part = stem.removeprefix("bert.encoder.layer.").partition(".")
    return f"bert.layer.{number}.{LAYER[part]}.{end}"


def stored(name, tensor):
    """As selfc keeps it: weights of dense layers are [in, out]."""
    array = tensor.detach().numpy()
    return array.T.copy() if array.ndim == 2 and "embeddings" not in name else array.copy()


def draw_batch(batch, tokens, places):
    count = torch.randint(tokens // 2, tokens + 1, (batch,))
    count[0] = tokens
    place = torch.arange(tokens)
    segment = ((place[None] >= (count // 2)[:, None]) & (place[None] < count[:, None])).long()
    text = torch.randint(1, VOCABULARY, (batch, tokens)) * (place[None] < count[:, None])
    chosen, labels, weights = (torch.zeros(batch, places, dtype=torch.long) for _ in range(3))
    for i in range(batch):
        some = 1 + i % places
        chosen[i, :some] = torch.randperm(int(count[i]))[:some]
        labels[i, :some] = torch.randint(0, VOCABULARY, (some,))
        weights[i, :some] = 1
    return text, segment, count, chosen, labels, weights


def torch_batch(model, text, segment, count, chosen, labels, weights):
    """The mean loss over what is to be guessed, and how much of it is."""
    seen = (torch.arange(text.shape[1])[None] < count[:, None]).long()
    wanted = torch.full_like(text, -100)
    for i in range(len(text)):
        wanted[i, chosen[i, weights[i] > 0]] = labels[i, weights[i] > 0]
    result = model(input_ids=text, token_type_ids=segment, attention_mask=seen, labels=wanted)
    guessed = result.logits.argmax(-1)
    return result.loss, (guessed == wanted)[wanted >= 0].double().mean()


def torch_run(model, batches, accumulate):
    plain = [p for p in model.parameters() if p.dim() < 2]
    decayed = [p for p in model.parameters() if p.dim() > 1]
    optimizer = torch.optim.AdamW([{"params": plain, "weight_decay": 0}, {"params": decayed, "weight_decay": DECAY}],
                                  lr=RATE, eps=1e-6)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 5) * min(1, 1 - (s - 5) / 60))
    reports, gradients = [], {}
    for step, batch in enumerate(batches):
        loss, right = torch_batch(model, *batch)
        (loss / accumulate).backward()
        reports.append((loss.item(), right.item()))
        if (step + 1) % accumulate:
            continue
        torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST)
        if step + 1 == accumulate:
            gradients = {name_here(n): stored(n, p.grad) for n, p in model.named_parameters()}
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
    return reports, gradients, {name_here(n): stored(n, p) for n, p in model.named_parameters()}


def selfc_run(first, case, batches):
    layers, batch, _, _, accumulate, activation = case
    batches = [[part.numpy().astype(numpy.float32 if name == "weights" else numpy.int32)
                for name, part in zip(DATA, parts)] for parts in batches]
    for i, name in enumerate(DATA):
        numpy.save(f"{name}.npy", numpy.concatenate([parts[i] for parts in batches]))
    with open("model.json", "w") as file:
        json.dump(description(layers, batch, accumulate, activation), file)
    selfc = oracle.Selfc("model.json")
    for name, value in first.items():
        selfc.write(name, value)
    reports, gradients, sample = [], {}, numpy.arange(batch, dtype=numpy.int32)
    for step, parts in enumerate(batches):
        reports.append(selfc.step(parts, sample, step, 2))
        if step + 1 == accumulate:
            gradients = {name: selfc.read(f"adamw.{name}.m", value.shape) / 0.1 for name, value in first.items()}
    return reports, gradients, {name: selfc.read(name, value.shape) for name, value in first.items()}


def run(case):
    layers, batch, tokens, places, accumulate, activation = case
    torch.manual_seed(layers)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=UNITS, num_hidden_layers=layers, num_attention_heads=HEADS,
        intermediate_size=INNER, max_position_embeddings=POSITIONS, hidden_act=activation, hidden_dropout_prob=0,
        attention_probs_dropout_prob=0)
    model = transformers.BertForMaskedLM(config).double().train()
    with torch.no_grad():  # biases are zeros and scales are ones at first, which would hide what is mixed up
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    first = {name_here(n): stored(n, p) for n, p in model.named_parameters()}
    batches = [draw_batch(batch, tokens, places) for _ in range(STEPS)]
    want, got = torch_run(model, batches, accumulate), selfc_run(first, case, batches)
    print(f"{layers} layers, {tokens} tokens, {activation}: {len(first)} tensors, {STEPS} batches")
    failed = False
    for i, what in enumerate(("loss", "share guessed")):
        apart = max(abs(a[i] - b[i]) / max(b[i], 1e-30 if i == 0 else 1) for a, b in zip(got[0], want[0]))
        failed |= not apart <= 1e-4
        print(f"  {'ok  ' if apart <= 1e-4 else 'FAIL'} the {what} is off by at most {apart:.1e}")
    for what, mine, theirs in (("gradient", got[1], want[1]), ("weight", got[2], want[2])):
        length = max(numpy.linalg.norm(value) for value in theirs.values())
        floor = 1e-3 * length if what == "gradient" else 0  # that of key.bias is nothing but what was rounded away
        apart, name = max((float(numpy.linalg.norm(mine[n] - v) / max(numpy.linalg.norm(v), floor)), n)
                          for n, v in theirs.items())
        failed |= not apart <= 1e-4
        print(f"  {'ok  ' if apart <= 1e-4 else 'FAIL'} {what} {name} is the furthest off, by {apart:.1e}")
    return failed


def main():
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        return any([run(case) for case in CASES])


if __name__ == "__main__":
    sys.exit(main())
