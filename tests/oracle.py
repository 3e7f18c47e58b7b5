"""What the oracles share: the public API as far as they need it, through ctypes, and how tensors are compared.

Exits with 77, which means skipped, where there is no PyTorch or where Python could not load the library."""
import ctypes, os, sys

try:
    import numpy, torch
except ImportError:
    print("skipped: no PyTorch for this Python")
    sys.exit(77)

if os.environ.get("SELFC_SANITIZE") == "1":
    print("skipped: Python cannot load a library with sanitizers")
    sys.exit(77)

SOURCE = os.environ.get("SELFC_SOURCE", ".")


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("file", ctypes.c_char_p), ("sets", ctypes.POINTER(ctypes.c_char_p)),
                ("set_count", ctypes.c_size_t), ("data", ctypes.c_char_p), ("cpu", ctypes.c_char_p),
                ("triple", ctypes.c_char_p), ("cache", ctypes.c_char_p), ("threads", ctypes.c_int),
                ("seed", ctypes.c_uint64), ("has_seed", ctypes.c_int), ("times", ctypes.c_int),
                ("check_meaning", ctypes.c_int), ("dump", ctypes.c_char_p)]


class Selfc:
    """An open description."""

    def __init__(self, path, seed=0, sets=()):
        self.library = ctypes.CDLL(os.environ["SELFC_LIBRARY"])
        self.library.selfc_open_file.restype = ctypes.c_void_p
        self.library.selfc_error.restype = ctypes.c_char_p
        texts = (ctypes.c_char_p * max(len(sets), 1))(*[text.encode() for text in sets])
        options = Options(size=ctypes.sizeof(Options), sets=texts, set_count=len(sets), threads=2, seed=seed,
                          has_seed=1)
        model = self.library.selfc_open_file(path.encode(), ctypes.byref(options))
        self.model = ctypes.c_void_p(self.check(model))

    def check(self, good):
        if not good:
            sys.exit("selfc: " + self.library.selfc_error().decode())
        return good

    def read(self, name, shape):
        array = numpy.empty(shape, numpy.float32)
        self.check(not self.library.selfc_tensor_read(self.model, name.encode(), array.ctypes.data_as(ctypes.c_void_p),
                                                      ctypes.c_size_t(array.nbytes)))
        return array

    def write(self, name, array):
        array = numpy.ascontiguousarray(array, numpy.float32)
        self.check(not self.library.selfc_tensor_write(self.model, name.encode(), array.ctypes.data_as(ctypes.c_void_p),
                                                       ctypes.c_size_t(array.nbytes)))

    def run(self, function, n, arrays, shapes):
        """What a function makes of `n` samples: an array for each of the shapes of its outputs."""
        inputs = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
        results = [numpy.empty(shape, numpy.float32) for shape in shapes]
        outputs = (ctypes.c_void_p * len(results))(*[array.ctypes.data for array in results])
        self.check(not self.library.selfc_run(self.model, function.encode(), ctypes.c_int64(n), inputs, outputs))
        return results

    def step(self, arrays, sample, step, reports):
        """One training step; the arrays feed the data inputs in their order. The loss and reports, so many together."""
        inputs = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
        values = (ctypes.c_float * reports)()
        self.check(not self.library.selfc_train_step(self.model, inputs, sample.ctypes.data_as(ctypes.c_void_p),
                                                     ctypes.c_int64(step), values, ctypes.c_size_t(reports)))
        return list(values)


def difference(got, want):
    """In the Euclidean norm, as a share of what is wanted."""
    return float(numpy.linalg.norm(got.astype(numpy.float64) - want) / max(numpy.linalg.norm(want), 1e-30))
