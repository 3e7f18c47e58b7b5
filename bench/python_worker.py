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


def training_step(optimizer, loss_of, *inputs, clip=lambda: None):
    """A step on the next of the batches; inputs: lists of whole batches; clip: what is done with gradients."""
    batches = [batch for batch in zip(*inputs) if len(batch[0]) == len(inputs[0][0])]
    at = 0

    def step():
        nonlocal at
        optimizer.zero_grad(set_to_none=True)
        loss_of(*batches[at]).backward()
        clip()
        optimizer.step()
        at = (at + 1) % len(batches)

    return step


def embedding(variant, threads, table):
    import torch
    rows, width, taken = table
    layer = torch.nn.Embedding(rows, width)
    text, dy = torch.randint(rows, (taken,)), torch.rand(taken, width)

    def step():
        layer.weight.grad = None
        layer(text).backward(dy)

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


def resnet_infer(variant, threads, about):
    """Eagerly or compiled; "folded" batch norms by hand, "frozen" weights by the compiler, which folds them itself."""
    import torch
    from resnet_layers import resnet
    from resnet_twin import fold_norms, make_twin
    network = resnet(**about["network"])
    model = make_twin(network).eval().requires_grad_(False)
    if "folded" in variant:
        model = fold_norms(model).to(memory_format=torch.channels_last)
    if "frozen" in variant:
        import torch._inductor.config
        torch._inductor.config.freezing = True
    classify = torch.compile(model) if "compile" in variant else model
    x = torch.rand(about["batch"], 3, network.stem.side, network.stem.side)
    x = x.to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return classify(x)

    return run


def onnx_infer(variant, threads, about):
    import numpy, onnxruntime, os, tempfile
    from onnx_twin import write_onnx
    from resnet_layers import resnet
    network, batch = resnet(**about["network"]), about["batch"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "resnet.onnx")
        write_onnx(network, batch, path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    side = network.stem.side
    x = numpy.random.default_rng(0).random((batch, 3, side, side), dtype=numpy.float32)
    return lambda: session.run(None, {"x": x})


def augment(variant, threads, about):
    import numpy, torch
    from augment_twin import view
    torch.manual_seed(0)
    batches = torch.from_numpy(numpy.load(about["pictures"])).split(about["batch"])
    view_of = torch.compile(view) if "compile" in variant else view
    at = 0

    def step():
        nonlocal at
        for _ in range(2):
            view_of(batches[at % len(batches)], about["size"], about["blur"])
        at += 1

    return step


def tokenize(variant, threads, about):
    from tokenizers import BertWordPieceTokenizer
    with open(about["text"], encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    made = BertWordPieceTokenizer(about["vocabulary"], lowercase=True)
    if "line by line" in variant:
        return lambda: [made.encode(line, add_special_tokens=False) for line in lines]
    encode = made._tokenizer.encode_batch_fast if "without places" in variant else made._tokenizer.encode_batch
    return lambda: encode(lines, add_special_tokens=False)


def bert_train(variant, threads, about):
    """transformers' model as it comes with dropout; "places alone": its head on the masked tokens' rows."""
    import numpy, torch
    sys.modules.setdefault("torchvision", None)  # transformers would look for one, which texts need not
    import transformers
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=about["vocabulary"], hidden_size=about["units"], num_hidden_layers=about["layers"],
        num_attention_heads=about["heads"], intermediate_size=4 * about["units"])
    model = transformers.BertForMaskedLM(config).train()
    whole = torch.from_numpy(numpy.load(about["text"])).long()
    chosen = torch.rand(whole.shape).argsort(1)[:, :about["places"]]
    labels = whole.gather(1, chosen)
    text, wanted = whole.scatter(1, chosen, about["mask"]), torch.full_like(whole, -100).scatter(1, chosen, labels)
    everything = [part.split(about["batch"]) for part in (text, torch.ones_like(text), wanted, chosen, labels)]
    plain = [p for p in model.parameters() if p.dim() < 2]
    decayed = [p for p in model.parameters() if p.dim() > 1]
    optimizer = torch.optim.AdamW([{"params": plain, "weight_decay": 0}, {"params": decayed, "weight_decay": 0.01}],
                                  lr=1e-4, fused=True)

    def loss(text, seen, wanted, chosen, labels):
        if "places alone" not in variant:
            return model(input_ids=text, attention_mask=seen, labels=wanted).loss
        hidden = model.bert(input_ids=text, attention_mask=seen).last_hidden_state
        rows = hidden.gather(1, chosen[:, :, None].expand(-1, -1, hidden.shape[-1]))
        return torch.nn.functional.cross_entropy(model.cls(rows).flatten(0, 1), labels.flatten())

    clip = lambda: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return training_step(optimizer, torch.compile(loss) if "compile" in variant else loss, *everything, clip=clip)


def minilm_infer(variant, threads, about):
    import numpy, torch
    from minilm_twin import Encoder
    if "frozen" in variant:
        import torch._inductor.config
        torch._inductor.config.freezing = True
    encoder = Encoder(about["folder"])
    encode = torch.compile(encoder) if "compile" in variant else encoder
    text = torch.from_numpy(numpy.load(about["text"])).long()
    seen = torch.ones_like(text)

    def run():
        with torch.inference_mode():
            return encode(text, seen)

    return run


def minilm_onnx(variant, threads, about):
    import numpy, onnxruntime, tempfile, torch
    from minilm_twin import write_onnx
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    text = numpy.load(about["text"]).astype(numpy.int64)
    seen = numpy.ones_like(text)
    with tempfile.TemporaryDirectory() as folder:
        path = write_onnx(about, torch.from_numpy(text), torch.from_numpy(seen), folder, "fused" in variant)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda: session.run(None, {name: {"text": text, "seen": seen}[name] for name in names})


WORK = {"vae": vae, "embedding": embedding, "gemm": gemm, "augment": augment, "resnet-train": resnet_train,
        "resnet-infer": resnet_infer, "bert-train": bert_train, "onnx-infer": onnx_infer, "tokenize": tokenize,
        "minilm-infer": minilm_infer, "minilm-onnx": minilm_onnx}


def use_threads(workload, threads):
    if workload != "tokenize" and not workload.startswith("onnx"):
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
    use_threads(workload, int(threads))
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
