"""Two views of each picture as SimCLR makes them: bench/augment.json, a step of next to nothing else, and PyTorch."""
import os

from rivals import TOP, compare, selfc_rival, torch_rivals

BATCH, PICTURE, SIZE, BLUR = 64, 256, 224, 23
# multiplications and additions for each channel of a pixel of the result, as selfc counts them; see `selfc check`
FLOP = 4.0e9


def save_pictures(arguments):
    """Squares of random colours, with noise: a .npy file of u8[n, height, width, 3]."""
    import numpy
    random = numpy.random.default_rng(0)
    squares = random.integers(0, 256, (2 * BATCH, 16, 16, 3)).repeat(PICTURE // 16, 1).repeat(PICTURE // 16, 2)
    noisy = squares + random.normal(0, 10, squares.shape)
    path = os.path.join(arguments.folder, "pictures.npy")
    numpy.save(path, noisy.clip(0, 255).astype(numpy.uint8))
    return path


def compare_augment(arguments):
    pictures = save_pictures(arguments)
    model = os.path.join(TOP, "bench/augment.json")
    selfc = selfc_rival(arguments, model, "train", arguments.threads, [pictures], SELFC_DATA=pictures)
    about = {"pictures": pictures, "batch": BATCH, "size": SIZE, "blur": BLUR}
    rivals = torch_rivals(arguments, "augment", ["eager", "compile"], about)
    row = compare(arguments, selfc, rivals, arguments.threads, FLOP)
    for rival in [selfc, *rivals]:
        if rival.times:
            print(f"{rival.name:28}{2 * BATCH / rival.median:10.0f} views a second")
    row["views_per_second"] = round(2 * BATCH / selfc.median)
    return row
