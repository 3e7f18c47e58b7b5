"""The auto-encoder's training step, a table of embeddings, and products of matrices."""
import json, math, os, statistics

from idx import find_idx, read_idx
from resnet_layers import resnet
from rivals import TOP, Rival, build_program, check_idle, compare, make_row, selfc_rival, take_turns, torch_rival, torch_rivals


def vae_images(arguments):
    """Images as one raw file: MNIST if there, else noise with as many dark and bright pixels."""
    import numpy
    if arguments.data:
        images = read_idx(find_idx(arguments.data, "train-images-idx3-ubyte"))
    else:
        random = numpy.random.default_rng(0)
        images = (random.random((12800, 28, 28)) < 0.2) * random.integers(0, 256, (12800, 28, 28))
    path = os.path.join(arguments.folder, "images.u8")
    images.astype(numpy.uint8).tofile(path)
    return path


def compare_vae(arguments):
    images = vae_images(arguments)
    data = {"SELFC_DATA": arguments.data} if arguments.data else {}
    model = os.path.join(TOP, "examples/vae/model.json")
    selfc = selfc_rival(arguments, model, "train", arguments.threads, [images], **data)
    variants = ["eager", "eager, fused Adam", "compile", "compile, fused Adam"]
    rivals = torch_rivals(arguments, "vae", variants, images)
    forward = 784 * 256 + 2 * 256 * 2 + 2 * 256 + 256 * 784
    backward_data = 2 * 256 * 2 + 2 * 256 + 256 * 784  # all but the first layer's
    flop = 2 * 128 * (2 * forward + backward_data)
    return compare(arguments, selfc, rivals, arguments.threads, flop)


def compare_embedding(arguments):
    table = [30522, 768, 1024]
    command = [build_program(arguments, "bench_embedding"), *map(str, [arguments.threads, *table])]
    rivals = torch_rivals(arguments, "embedding", ["eager"], table)
    return compare(arguments, Rival("selfc", command), rivals, arguments.threads, table[1] * table[2])


# --- products of matrices ---

def resnet_products(batch):
    """The convolutions of 1x1 as products; a stride only leaves rows out."""
    shapes = [(batch * conv.places ** 2, conv.channels, conv.units) for conv in resnet(50).convs if conv.size == 1]
    return list(dict.fromkeys(shapes))


def products(arguments):
    """(where it is from, rows, inner, columns)"""
    if arguments.size:
        sizes = [[int(number) for number in size.split("x")] for size in arguments.size]
        return [("", *(size * 3 if len(size) == 1 else size)) for size in sizes]
    families = {"square": [(size, size, size) for size in (512, 1024, 2048)],
                "BERT": [(8 * 128, 768, 768), (8 * 128, 768, 3072), (8 * 128, 3072, 768)],
                "VAE": [(128, 784, 256), (128, 256, 784)],
                "ResNet-50, batch 1": resnet_products(1), "ResNet-50, batch 16": resnet_products(16)}
    return [(family, *shape) for family, shapes in families.items() for shape in shapes]


def save_product(arguments, rows, inner, columns):
    model = {"name": "gemm", "functions": {"product": {
        "inputs": {"a": [rows, inner], "b": [inner, columns]}, "layers": [{"expr": "matmul(a, b)", "name": "c"}]}}}
    path = os.path.join(arguments.folder, "gemm.json")
    with open(path, "w") as file:
        json.dump(model, file)
    return path


def compare_product(arguments, threads, family, shape):
    """A row of the result, which is also printed."""
    selfc = selfc_rival(arguments, save_product(arguments, *shape), "product", threads)
    rival = torch_rival("gemm", "eager", threads, shape)
    peak = take_turns(arguments, [selfc, rival], threads)
    flop = 2 * math.prod(shape)
    row = {"family": family, "shape": shape, **make_row(selfc, [rival], threads, flop, peak)}
    torch = (f"{row['torch_ms']:10.3f}{flop / rival.median / 1e9 / peak:8.1%}{row['ratio']:7.2f}" if rival.times
             else f"{'did not run':>25}")
    print(f"{family:20}{'x'.join(map(str, shape)):>17}{threads:>8}{row['selfc_ms']:10.3f}{row['share_of_peak']:8.1%}"
          f"{torch}{peak:7.0f}", flush=True)
    return row, peak


def compare_gemm(arguments):
    every_threads = sorted({1, arguments.threads}) if arguments.size else [arguments.threads]
    print(f"{'':20}{'':17}{'threads':>8}{'selfc ms':>10}{'of peak':>8}{'torch ms':>10}{'of peak':>8}{'ratio':>7}"
          f"{'peak':>7}")
    rows, peaks = [], []
    for family, *shape in products(arguments):
        for threads in every_threads:
            row, peak = compare_product(arguments, threads, family, shape)
            rows.append(row)
            peaks += [peak] if threads == arguments.threads else []
    check_idle(arguments, statistics.median(peaks), arguments.threads)
    if len(rows) == len(every_threads):
        return {**rows[-1], "rows": rows}
    ratio = statistics.geometric_mean(row["ratio"] for row in rows if row["ratio"])
    print(f"geometric mean of the ratios: {ratio:.2f}")
    return {"threads": arguments.threads, "ratio": round(ratio, 3), "rows": rows}
