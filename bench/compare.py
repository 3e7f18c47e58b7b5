#!/usr/bin/env python3
"""selfc against PyTorch on the same work, in one go, on this machine.

    bench/compare.py vae [--data DIR]       a training step of the variational auto-encoder, batch 128
    bench/compare.py gemm [--size 1024]     a square product, on one thread and on two

Every rival is a process of its own that waits while others run. They take turns, round after round, with the
machine's peak rate of multiply-adds measured in between; what counts is the median of the rounds. PyTorch runs
eagerly and through torch.compile, with the plain and the fused optimiser, and the fastest counts. Prints a table and,
as its last line, one JSON object. Needs a release build (build/release, or --build) and a Python with PyTorch.

A new workload is an entry in WORKLOADS and a class of rivals below.
"""
import argparse, gzip, json, os, statistics, struct, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)


# --- rivals: processes that answer a count of runs with seconds ---

class Rival:
    def __init__(self, name, command, environment=None):
        self.name, self.times = name, []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(environment or {})})
        self.alive = self.process.stdout.readline().strip() == "ready"

    def run(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.alive = False
            return None
        return float(answer)

    def measure(self, seconds):
        """Seconds of one run, from about `seconds` of them."""
        if not self.alive:
            return
        first = self.run(5)
        if first is None:
            return
        count = max(5, int(seconds / (first / 5)))
        spent = self.run(count)
        if spent is not None:
            self.times.append(spent / count)

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    @property
    def median(self):
        return statistics.median(self.times) if self.times else None


def compile_c(source, out, *flags):
    command = [os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-O2", "-march=native", "-ffp-contract=fast",
               os.path.join(HERE, source), "-o", out, "-lpthread", *flags]
    subprocess.run(command, check=True)
    return out


def measure_peak(program, threads):
    """GFLOP/s"""
    return float(subprocess.run([program, str(threads)], check=True, capture_output=True, text=True).stdout)


# --- data ---

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


# --- PyTorch's side, each variant in a process of its own ---

def torch_vae(variant, threads, images):
    """A training step as a function without arguments."""
    import numpy, torch
    from torch.nn import functional
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    from vae_twin import Vae
    data = torch.from_numpy(numpy.fromfile(images, dtype=numpy.uint8).reshape(-1, 784)).float() / 255
    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused="fused" in variant)
    loss_of = torch.compile(model.loss) if "compile" in variant else model.loss
    batches = len(data) // 128
    state = {"step": 0}

    def step():
        at = state["step"] % batches * 128
        state["step"] += 1
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(data[at:at + 128])
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_gemm(variant, threads, size):
    import torch
    torch.set_num_threads(threads)
    a, b = torch.rand(int(size), int(size)), torch.rand(int(size), int(size))
    out = torch.empty(int(size), int(size))
    return lambda: torch.mm(a, b, out=out)


def torch_worker(workload, variant, threads, argument):
    sys.path.insert(0, HERE)
    run = {"vae": torch_vae, "gemm": torch_gemm}[workload](variant, int(threads), argument)
    for _ in range(20):
        run()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            run()
        print(time.perf_counter() - start, flush=True)


def torch_rival(workload, variant, threads, argument):
    command = [sys.executable, os.path.abspath(__file__), "--worker", workload, variant, str(threads), str(argument)]
    return Rival(f"PyTorch {variant}", command)


# --- rounds and tables ---

def compare(arguments, selfc, rivals, threads, flop):
    """Lets all take turns; a row for the table."""
    peaks = []
    for _ in range(arguments.rounds):
        peaks.append(measure_peak(arguments.peak, threads))
        for rival in [selfc, *rivals]:
            rival.measure(arguments.seconds)
    for rival in [selfc, *rivals]:
        rival.close()
    if not selfc.times:
        sys.exit("selfc did not run")
    peak = statistics.median(peaks)
    print(f"\n{threads} thread{'s' if threads > 1 else ''}; measured peak {peak:.0f} GFLOP/s; median of "
          f"{arguments.rounds} rounds\n{'':28}{'ms':>9}{'slowest':>9}{'GFLOP/s':>9}{'of peak':>9}")
    for rival in [selfc, *rivals]:
        if not rival.times:
            print(f"{rival.name:28}{'did not run':>18}")
            continue
        rate = flop / rival.median / 1e9
        print(f"{rival.name:28}{rival.median * 1e3:9.3f}{max(rival.times) * 1e3:9.3f}{rate:9.1f}{rate / peak:9.1%}")
    best = min((rival.median for rival in rivals if rival.times), default=None)
    row = {"selfc_ms": round(selfc.median * 1e3, 4), "torch_ms": round(best * 1e3, 4) if best else None,
           "ratio": round(best / selfc.median, 3) if best else None, "gflops": round(flop / selfc.median / 1e9, 1),
           "share_of_peak": round(flop / selfc.median / 1e9 / peak, 4), "threads": threads,
           "rivals_ms": {rival.name: round(rival.median * 1e3, 4) for rival in rivals if rival.times}}
    alone = measure_peak(arguments.peak, 1)
    if peak < 0.75 * threads * alone:
        print(f"The machine is busy: {threads} threads reach {peak:.0f} GFLOP/s where one alone reaches {alone:.0f}. "
              "Measure again.")
    return row


def compare_vae(arguments):
    images = vae_images(arguments)
    data = {"SELFC_DATA": arguments.data} if arguments.data else {}
    selfc = Rival("selfc", [arguments.worker_program, os.path.join(TOP, "examples/vae/model.json"), "train",
                            str(arguments.threads), images], data)
    variants = ["eager", "eager, fused Adam", "compile", "compile, fused Adam"]
    rivals = [torch_rival("vae", variant, arguments.threads, images) for variant in variants]
    forward = 784 * 256 + 2 * 256 * 2 + 2 * 256 + 256 * 784
    backward_data = 2 * 256 * 2 + 2 * 256 + 256 * 784  # all but the first layer's
    flop = 2 * 128 * (2 * forward + backward_data)
    return {"workload": "vae", **compare(arguments, selfc, rivals, arguments.threads, flop)}


def compare_gemm(arguments):
    size = arguments.size
    model = {"name": "gemm", "functions": {"product": {
        "inputs": {"a": [size, size], "b": [size, size]}, "layers": [{"expr": "matmul(a, b)", "name": "c"}]}}}
    path = os.path.join(arguments.folder, "gemm.json")
    with open(path, "w") as file:
        json.dump(model, file)
    rows = []
    for threads in sorted({1, arguments.threads}):
        selfc = Rival("selfc", [arguments.worker_program, path, "product", str(threads)])
        rows.append(compare(arguments, selfc, [torch_rival("gemm", "eager", threads, size)], threads, 2 * size ** 3))
    return {"workload": "gemm", "size": size, **rows[-1], "rows": rows}


WORKLOADS = {"vae": compare_vae, "gemm": compare_gemm}


def main():
    if sys.argv[1:2] == ["--worker"]:
        return torch_worker(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each rival in each round")
    parser.add_argument("--size", type=int, default=1024, help="gemm: rows and columns")
    parser.add_argument("--data", help="vae: folder with MNIST's IDX files")
    parser.add_argument("--build", default=os.path.join(TOP, "build/release"), help="folder with libselfc.so")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as arguments.folder:
        arguments.peak = compile_c("peak.c", os.path.join(arguments.folder, "peak"))
        arguments.worker_program = compile_c("worker.c", os.path.join(arguments.folder, "worker"),
                                             "-I" + os.path.join(TOP, "include"), "-L" + arguments.build, "-lselfc",
                                             "-Wl,-rpath," + os.path.abspath(arguments.build))
        result = WORKLOADS[arguments.workload](arguments)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
