#!/usr/bin/env python3
"""How Winograd's tiles of 2x2 places round, beside the definition of a 3x3 convolution.

    bench/winograd_error.py

Both in f32, each sum in order as selfc's micro-kernel makes it, against f64; pictures behind a relu, weights as He et al.
2015 draw them. Prints the root of the mean square and the largest of the errors, relative to the root of the mean square
of the results, for several numbers of channels."""
import numpy

B = numpy.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]], "f4")  # as in ir/winograd.h
G = numpy.array([[1, 0, 0], [.5, .5, .5], [.5, -.5, .5], [0, 0, 1]], "f4")
A = numpy.array([[1, 1, 1, 0], [0, 1, -1, 1]], "f4")
TILES, FILTERS = 64, 32


def in_order(a, b):
    total = numpy.zeros((a.shape[0], b.shape[1]), "f4")
    for k in range(a.shape[1]):
        total += a[:, k:k + 1] * b[k:k + 1]
    return total


def errors(channels, random):
    seen = numpy.maximum(random.standard_normal((TILES, 4, 4, channels)), 0).astype("f4")
    weights = (random.standard_normal((3, 3, channels, FILTERS)) * numpy.sqrt(2 / (9 * channels))).astype("f4")
    patches = [[seen[:, y:y + 3, x:x + 3].reshape(TILES, -1) for x in range(2)] for y in range(2)]
    matrix = weights.reshape(-1, FILTERS)
    right = numpy.array([[p.astype("f8") @ matrix.astype("f8") for p in line] for line in patches])
    direct = numpy.array([[in_order(p, matrix) for p in line] for line in patches])
    u, v = numpy.einsum("ia,abcn,jb->ijcn", G, weights, G), numpy.einsum("ia,tabc,jb->ijtc", B, seen, B)
    products = numpy.array([[in_order(v[i, j], u[i, j]) for j in range(4)] for i in range(4)])
    tiled = numpy.einsum("ai,ijtn,bj->abtn", A, products, A)
    scale = numpy.sqrt((right**2).mean())
    return [f(e) / scale for e in (direct - right, tiled - right) for f in (lambda e: numpy.sqrt((e**2).mean()), lambda e: abs(e).max())]


def main():
    random = numpy.random.default_rng(0)
    print("channels  definition: rms  largest   tiles: rms  largest   rms of tiles / definition")
    for channels in (16, 64, 256, 512):
        d, d_most, t, t_most = errors(channels, random)
        print(f"{channels:8}{d:17.2e}{d_most:9.1e}{t:13.2e}{t_most:9.1e}{t / d:14.2f}")


if __name__ == "__main__":
    main()
