"""IDX files, as MNIST comes in them."""
import gzip, os, struct, sys


def read_idx(path):
    import numpy
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as file:
        magic = struct.unpack(">I", file.read(4))[0]
        shape = struct.unpack(">" + "I" * (magic & 255), file.read(4 * (magic & 255)))
        return numpy.frombuffer(file.read(), dtype=numpy.uint8).reshape(shape)


def find_idx(folder, name):
    for ending in ("", ".gz"):
        path = os.path.join(folder, name + ending)
        if os.path.exists(path):
            return path
    sys.exit(f"{folder}: there is no {name}, gzipped or not")
