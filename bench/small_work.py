"""The auto-encoder's training step, and products of matrices."""
import json, os

from idx import find_idx, read_idx
from rivals import TOP, compare, selfc_rival, torch_rival


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
    rivals = [torch_rival("vae", variant, arguments.threads, images) for variant in variants]
    forward = 784 * 256 + 2 * 256 * 2 + 2 * 256 + 256 * 784
    backward_data = 2 * 256 * 2 + 2 * 256 + 256 * 784  # all but the first layer's
    flop = 2 * 128 * (2 * forward + backward_data)
    return compare(arguments, selfc, rivals, arguments.threads, flop)


def compare_gemm(arguments):
    size = arguments.size
    model = {"name": "gemm", "functions": {"product": {
        "inputs": {"a": [size, size], "b": [size, size]}, "layers": [{"expr": "matmul(a, b)", "name": "c"}]}}}
    path = os.path.join(arguments.folder, "gemm.json")
    with open(path, "w") as file:
        json.dump(model, file)
    rows = []
    for threads in sorted({1, arguments.threads}):
        selfc = selfc_rival(arguments, path, "product", threads)
        rivals = [torch_rival("gemm", "eager", threads, [size] * 3)]
        rows.append(compare(arguments, selfc, rivals, threads, 2 * size ** 3))
    return {"size": size, **rows[-1], "rows": rows}
