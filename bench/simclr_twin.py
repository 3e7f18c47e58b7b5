#!/usr/bin/env python3
"""SimCLR on small photographs, the same recipe in selfc and in PyTorch, from a folder of JPEGs to a judged encoder.

    bench/simclr_twin.py CIFAR10 [--epochs 10] [--seeds 0 1 2] [--threads 2] [--only selfc|pytorch]

CIFAR10 is a folder with train/CLASS/*.jpg and test/CLASS/*.jpg. The recipe is examples/simclr/cifar10.json: ResNet-18 of a
quarter of the width, two views of 32x32 by random resized crop, flip, colour jitter and grey, NT-Xent at temperature 0.5,
batch 256, AdamW with a warm-up of a tenth of the steps, then a cosine to their end. Both are judged by weighted nearest
neighbours of frozen features (k and temperature as `selfc eval` has them for so many, given to both). Times are of whole
runs: reading the pictures, compiling, training, with the augmentation, but without the judgement. PyTorch augments whole batches at once, with tensors in channels-last order, and
trains eagerly or through torch.compile, whichever makes its first steps faster. Prints a table and one JSON object."""
import argparse, json, math, os, statistics, subprocess, tempfile, time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RECIPE = os.path.join(TOP, "examples/simclr/cifar10.json")
BATCH, TEMPERATURE, FEATURES, HIDDEN, PROJECTED = 256, 0.5, 128, 256, 64
RATE, DECAY, WARM_UP = 0.002, 1e-4, 0.1


def run_selfc(arguments, seed, epochs):
    selfc = os.path.join(arguments.build, "selfc")
    with tempfile.TemporaryDirectory() as folder:
        common = ["--data", arguments.data, "--threads", str(arguments.threads), "--seed", str(seed)]
        start = time.perf_counter()
        subprocess.run([selfc, "train", RECIPE, *common, "--epochs", str(epochs), "--out", folder + "/run", "--quiet",
                        "--cache", folder + "/cache"], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        accuracy = {}
        for name, model in [("trained", folder + "/run"), ("untrained", RECIPE)]:
            out = f"{folder}/{name}.json"
            subprocess.run([selfc, "eval", model, *common, "--protocol", "knn", "--k", str(arguments.neighbours),
                            "--temperature", str(arguments.knn_temperature), "-o", out], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with open(out) as file:
                accuracy[name] = json.load(file)["accuracy"]
    return {"seconds": seconds, **accuracy}


def run_pytorch(arguments, seed, epochs):
    import numpy, torch
    from PIL import Image
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(seed)
    torch.set_num_threads(arguments.threads)

    def read(split):
        classes = sorted(os.listdir(os.path.join(arguments.data, split)))
        files = [(os.path.join(arguments.data, split, c, f), i) for i, c in enumerate(classes)
                 for f in sorted(os.listdir(os.path.join(arguments.data, split, c)))]
        pictures = numpy.stack([numpy.asarray(Image.open(path).convert("RGB")) for path, _ in files])
        return torch.from_numpy(pictures), torch.tensor([label for _, label in files])

    def resnet():
        def conv(i, o, size, stride):
            layer = nn.Conv2d(i, o, size, stride, size // 2, bias=False)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            return nn.Sequential(layer, nn.BatchNorm2d(o))

        class Block(nn.Module):
            def __init__(self, i, o, stride):
                super().__init__()
                self.first, self.second = conv(i, o, 3, stride), conv(o, o, 3, 1)
                self.short = conv(i, o, 1, stride) if stride != 1 or i != o else nn.Identity()

            def forward(self, x):
                return functional.relu(self.second(functional.relu(self.first(x))) + self.short(x))

        widths = [16, 32, 64, 128]
        blocks = [Block(widths[max(0, s - (b == 0))], w, 2 if s and not b else 1)
                  for s, w in enumerate(widths) for b in range(2)]
        return nn.Sequential(conv(3, 16, 3, 1), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def crop(x):
        """torchvision's RandomResizedCrop with scale 0.2 to 1, one draw of ten that fits, for each picture."""
        n, side = len(x), x.shape[-1]
        area = side * side * torch.empty(10, n).uniform_(0.2, 1)
        ratio = torch.empty(10, n).uniform_(math.log(3 / 4), math.log(4 / 3)).exp()
        w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (w <= side) & (h <= side) & (w > 0) & (h > 0)
        which = fits.float().argmax(0)
        w, h = [torch.where(fits.any(0), v.gather(0, which[None])[0], torch.tensor(float(side))) for v in (w, h)]
        left, top = [(torch.rand(n) * (side - v + 1)).floor() for v in (w, h)]
        at = (torch.arange(side) + 0.5) / side
        column = torch.maximum(torch.minimum(at * w[:, None] - 0.5, w[:, None] - 1), torch.zeros(())) + left[:, None]
        row = torch.maximum(torch.minimum(at * h[:, None] - 0.5, h[:, None] - 1), torch.zeros(())) + top[:, None]
        column = torch.where(torch.rand(n, 1) < 0.5, column.flip(1), column)
        grid = torch.stack(torch.broadcast_tensors(column[:, None, :], row[:, :, None]), 3) * (2 / side) + (1 / side - 1)
        return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def grey(x):
        return (x * torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)

    def hue(x, shift):
        high, low = x.amax(1), x.amin(1)
        spread = high - low
        r, g, b = ((high[:, None] - x) / torch.where(spread == 0, 1, spread)[:, None]).unbind(1)
        h = torch.where(x[:, 0] == high, b - g, torch.where(x[:, 1] == high, 2 + r - b, 4 + g - r)) / 6
        s = spread / torch.where(high == 0, 1, high)
        k = (torch.tensor([5.0, 3.0, 1.0]).view(3, 1, 1) + 6 * ((h + shift.view(-1, 1, 1)) % 1)[:, None]) % 6
        return high[:, None] * (1 - s[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))

    def jitter(x):
        """Brightness, contrast and saturation by 0.4, hue by 0.1, in one order for the batch, to 8 of 10 pictures."""
        n, old = len(x), x
        factor = lambda: torch.empty(n, 1, 1, 1).uniform_(0.6, 1.4)
        steps = [
            lambda x: (x * factor()).clamp(0, 1),
            lambda x: torch.lerp(grey(x).mean((1, 2, 3), keepdim=True), x, factor()).clamp(0, 1),
            lambda x: torch.lerp(grey(x), x, factor()).clamp(0, 1),
            lambda x: hue(x, torch.empty(n).uniform_(-0.1, 0.1)),
        ]
        for i in torch.randperm(4):
            x = steps[i](x)
        return torch.where(torch.rand(n, 1, 1, 1) < 0.8, x, old)

    mean, deviation = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1), torch.tensor([0.247, 0.2435, 0.2616]).view(3, 1, 1)

    def standardize(x):
        return ((x - mean) / deviation).contiguous(memory_format=torch.channels_last)

    def view(x):
        x = jitter(crop(x))
        return torch.where(torch.rand(len(x), 1, 1, 1) < 0.2, grey(x).expand_as(x), x)

    def loss_of(z):
        z = functional.normalize(z, dim=1)
        similarity = (z @ z.T / TEMPERATURE).fill_diagonal_(-torch.inf)
        return functional.cross_entropy(similarity, (torch.arange(len(z)) + len(z) // 2) % len(z))

    @torch.no_grad()
    def features(encoder, pictures):
        encoder.eval()
        found = [functional.normalize(encoder(standardize(p.permute(0, 3, 1, 2) / 255)), dim=1)
                 for p in pictures.split(500)]
        encoder.train()
        return torch.cat(found)

    def judge(encoder, train, train_label, test, test_label):
        train, test, right = features(encoder, train), features(encoder, test), 0
        for rows, labels in zip(test.split(500), test_label.split(500)):
            nearest, index = (rows @ train.T).topk(arguments.neighbours, dim=1)
            votes = torch.zeros(len(rows), int(train_label.max()) + 1)
            votes.scatter_add_(1, train_label[index], (nearest / arguments.knn_temperature).exp())
            right += (votes.argmax(1) == labels).sum().item()
        return right / len(test)

    def steps_of(forward, optimizer, scheduler, train, limit):
        done, loss = 0, None
        for _ in range(epochs):
            order = torch.randperm(len(train))
            for batch in order[:len(train) // BATCH * BATCH].split(BATCH):
                x = train[batch].permute(0, 3, 1, 2) / 255
                loss = loss_of(forward(standardize(torch.cat([view(x), view(x)]))))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                done += 1
                if done == limit:
                    return
        assert math.isfinite(loss.item())

    def make(samples):
        encoder = resnet().to(memory_format=torch.channels_last)
        head = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTED))
        model = nn.Sequential(encoder, head)
        plain = [p for p in model.parameters() if p.ndim < 2]
        weights = [p for p in model.parameters() if p.ndim >= 2]
        optimizer = torch.optim.AdamW([{"params": weights, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0}],
                                      lr=RATE, fused=True)
        total = epochs * (samples // BATCH)
        warm_up = WARM_UP * total
        rate = lambda s: min(1, (s + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1, max(0, s - warm_up) / (total - warm_up))))
        return encoder, model, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def fastest(train):
        """Eager or compiled, by eight steps after two."""
        best = (math.inf, None)
        for name in ["eager", "compile"]:
            _, model, optimizer, scheduler = make(len(train))
            forward = torch.compile(model) if name == "compile" else model
            steps_of(forward, optimizer, scheduler, train, 2)
            start = time.perf_counter()
            steps_of(forward, optimizer, scheduler, train, 8)
            best = min(best, (time.perf_counter() - start, name))
        return best[1]

    start = time.perf_counter()
    (train, train_label), (test, test_label) = read("train"), read("test")
    reading = time.perf_counter() - start
    kind = fastest(train)
    torch.manual_seed(seed)
    encoder, model, optimizer, scheduler = make(len(train))
    untrained = judge(encoder, train, train_label, test, test_label)
    start = time.perf_counter()
    steps_of(torch.compile(model) if kind == "compile" else model, optimizer, scheduler, train, -1)
    seconds = reading + time.perf_counter() - start
    trained = judge(encoder, train, train_label, test, test_label)
    return {"seconds": seconds, "trained": trained, "untrained": untrained, "kind": kind}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with train/ and test/")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--neighbours", type=int, default=200)
    parser.add_argument("--knn-temperature", type=float, default=0.07)
    parser.add_argument("--only", choices=["selfc", "pytorch"])
    parser.add_argument("--build", default=os.path.join(TOP, "build/release"), help="folder with selfc")
    arguments = parser.parse_args()
    rivals = {"selfc": run_selfc, "pytorch": run_pytorch}
    results = {name: [] for name in rivals if arguments.only in (None, name)}
    for seed in arguments.seeds:
        for name in results:
            result = rivals[name](arguments, seed, arguments.epochs)
            results[name].append(result)
            print(f"{name:8} seed {seed}: {result['seconds']:7.1f} s, nearest neighbours {100 * result['trained']:.2f} %"
                  f" (untrained {100 * result['untrained']:.2f} %){' ' + result['kind'] if 'kind' in result else ''}",
                  flush=True)
    summary = {name: {key: statistics.mean(r[key] for r in runs) for key in ("seconds", "trained", "untrained")}
               for name, runs in results.items()}
    if len(summary) == 2:
        summary["ratio"] = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(*results.values()))
        summary["points"] = 100 * (summary["selfc"]["trained"] - summary["pytorch"]["trained"])
        print(f"selfc is {summary['ratio']:.2f}x as fast; its encoder is {summary['points']:+.2f} points")
    print(json.dumps({"workload": "simclr", "epochs": arguments.epochs, **summary}))


if __name__ == "__main__":
    main()
