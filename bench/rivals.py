"""Rivals: processes that wait while others run. They take turns, and a table says who was how fast."""
import json, os, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)


class Rival:
    """A process that prints "ready SECONDS" when it is, and then answers a count of runs with seconds."""

    def __init__(self, name, command, environment=None):
        self.name, self.times, self.one = name, [], None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(environment or {})})
        answer = self.process.stdout.readline().split()
        self.is_alive = answer[:1] == ["ready"]
        self.ready = float(answer[1]) if self.is_alive else None

    def run(self, count):
        """Seconds; None if the process is gone."""
        if self.is_alive and count:
            self.process.stdin.write(f"{count}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            self.is_alive = bool(answer)
            return float(answer) if answer else None
        return None

    def warm_up(self, seconds):
        """Runs a few times, at most for about `seconds` where a run is short, and learns how long one takes."""
        self.run(1)
        self.one = self.run(1)
        if self.one and self.run(min(18, int(seconds / self.one))):
            self.one = self.run(1)

    def measure(self, seconds):
        """Adds the seconds of one run, from about `seconds` of them; others have run in between."""
        if not self.one:
            self.warm_up(seconds)
        if not self.is_alive:
            return
        self.run(min(5, int(seconds / 4 / self.one)))
        count = max(1, int(seconds / self.one))
        spent = self.run(count)
        if spent is not None:
            self.one = spent / count
            self.times.append(self.one)

    def peak_memory(self):
        """Bytes of this process that were resident at once, at most; None where the system does not say."""
        try:
            with open(f"/proc/{self.process.pid}/status") as file:
                return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:"))
        except (OSError, StopIteration):
            return None

    def close(self):
        self.memory = self.peak_memory()
        self.process.stdin.close()
        self.process.wait()

    @property
    def median(self):
        return statistics.median(self.times) if self.times else None


def torch_rival(workload, variant, threads, argument, family="PyTorch", **environment):
    """A variant of PyTorch, or of what else `python_worker.py` knows, in a process of its own."""
    command = [sys.executable, os.path.join(HERE, "python_worker.py"), workload, variant, str(threads),
               json.dumps(argument)]
    return Rival(f"{family} {variant}".strip(), command, environment)


def torch_rivals(arguments, workload, variants, argument):
    """Those of the variants that --skip leaves."""
    return [torch_rival(workload, variant, arguments.threads, argument) for variant in variants
            if not any(word in variant for word in arguments.skip)]


# --- C programs ---

def compile_c(source, out, *flags):
    command = [os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-O2", "-march=native", "-ffp-contract=fast",
               os.path.join(HERE, source), "-o", out, "-lpthread", *flags]
    subprocess.run(command, check=True)
    return out


def compile_worker(arguments):
    return compile_c("worker.c", os.path.join(arguments.folder, "worker"), "-I" + os.path.join(TOP, "include"),
                     "-L" + arguments.build, "-lselfc", "-Wl,-rpath," + os.path.abspath(arguments.build))


def build_program(arguments, target):
    """A program that is built with selfc, from the parts that its library does not show."""
    subprocess.run(["cmake", "--build", arguments.build, "--target", target], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(arguments.build, target)


def selfc_rival(arguments, model, function, threads, files=(), **environment):
    return Rival("selfc", [arguments.worker_program, model, function, str(threads), *files], environment)


def measure_peak(program, threads):
    """GFLOP/s"""
    return float(subprocess.run([program, str(threads)], check=True, capture_output=True, text=True).stdout)


def check_idle(arguments, peak, threads):
    alone = measure_peak(arguments.peak, 1)
    if peak < 0.75 * threads * alone:
        print(f"The machine is busy: {threads} threads reach {peak:.0f} GFLOP/s where one alone reaches {alone:.0f}. "
              "Measure again.")


# --- rounds and tables ---

def take_turns(arguments, everyone, threads):
    """Measures all in turn, round after round, then ends them; the peak in GFLOP/s."""
    peaks = []
    for _ in range(arguments.rounds):
        peaks.append(measure_peak(arguments.peak, threads))
        for rival in everyone:
            rival.measure(arguments.seconds)
    for rival in everyone:
        rival.close()
    return statistics.median(peaks)


def print_table(everyone, threads, flop, peak, rounds):
    print(f"\n{threads} thread{'s' if threads > 1 else ''}; measured peak {peak:.0f} GFLOP/s; median of "
          f"{rounds} round{'s' if rounds > 1 else ''}\n"
          f"{'':28}{'ms':>10}{'slowest':>10}{'GFLOP/s':>9}{'of peak':>9}{'MB':>7}")
    for rival in everyone:
        if not rival.times:
            print(f"{rival.name:28}{'did not run':>20}")
            continue
        rate = flop / rival.median / 1e9
        memory = f"{rival.memory / 1e6:7.0f}" if rival.memory else ""
        print(f"{rival.name:28}{rival.median * 1e3:10.3f}{max(rival.times) * 1e3:10.3f}{rate:9.1f}{rate / peak:9.1%}"
              f"{memory}")


def best_of(rivals):
    """The fastest that ran, or None."""
    return min((rival for rival in rivals if rival.times), key=lambda rival: rival.median, default=None)


def make_row(selfc, rivals, threads, flop, peak):
    """What is said of a comparison in the result. The ratio is to the fastest of all rivals."""
    if not selfc.times:
        sys.exit("selfc did not run")
    best, torch = best_of(rivals), best_of(rival for rival in rivals if rival.name.startswith("PyTorch"))
    ms = lambda rival: round(rival.median * 1e3, 4) if rival else None
    mb = lambda rival: round(rival.memory / 1e6) if rival and rival.memory else None
    rate = flop / selfc.median / 1e9
    return {"selfc_ms": ms(selfc), "torch_ms": ms(torch), "threads": threads, "gflops": round(rate, 1),
            "ratio": round(best.median / selfc.median, 3) if best else None, "share_of_peak": round(rate / peak, 4),
            "selfc_peak_mb": mb(selfc), "torch_peak_mb": mb(torch), "best": best.name if best else None,
            "rivals_ms": {rival.name: ms(rival) for rival in rivals if rival.times}}


def compare(arguments, selfc, rivals, threads, flop):
    """Lets all take turns; prints a table and gives the row for the result."""
    everyone = [selfc, *rivals]
    peak = take_turns(arguments, everyone, threads)
    row = make_row(selfc, rivals, threads, flop, peak)
    print_table(everyone, threads, flop, peak, arguments.rounds)
    check_idle(arguments, peak, threads)
    return row
