"""Text to tokens on one thread, against the Python package `tokenizers`."""
import glob, os, subprocess, sys

from rivals import TOP, Rival, best_of, take_turns, torch_rival

VARIANTS = ("batch", "batch, without places", "line by line")
LEAST = 2 << 20  # bytes of text


def make_text(arguments):
    """The text of --data, or what is written about selfc; so often that it is long enough."""
    paths = [arguments.data] if arguments.data else sorted(glob.glob(os.path.join(TOP, "docs/*.md")))
    text = b"".join(open(path, "rb").read() for path in paths)
    if not text:
        sys.exit("the text is empty")
    text *= -(-LEAST // len(text))
    path = os.path.join(arguments.folder, "text")
    with open(path, "wb") as file:
        file.write(text)
    return path, len(text)


def make_vocabulary(arguments, text):
    if arguments.vocabulary:
        return arguments.vocabulary
    path = os.path.join(arguments.folder, "vocab.txt")
    command = [os.path.join(arguments.build, "selfc"), "tokenize", "--train", text, "--size", "30522", "-o", path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def compare_tokenize(arguments):
    text, size = make_text(arguments)
    vocabulary = make_vocabulary(arguments, text)
    subprocess.run(["cmake", "--build", arguments.build, "--target", "bench_tokenize"], check=True,
                   stdout=subprocess.DEVNULL)
    selfc = Rival("selfc", [os.path.join(arguments.build, "bench_tokenize"), vocabulary, text])
    rivals = [torch_rival("tokenize", variant, 1, {"text": text, "vocabulary": vocabulary}, "tokenizers",
                          RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
              for variant in VARIANTS if not any(word in variant for word in arguments.skip)]
    take_turns(arguments, [selfc, *rivals], 1)
    if not selfc.times:
        sys.exit("selfc did not run")
    print(f"\n1 thread, {size / 1e6:.1f} MB of text, median of {arguments.rounds} rounds\n{'':36}{'ms':>10}{'slowest':>10}{'MB/s':>9}")
    for rival in (selfc, *rivals):
        if rival.times:
            print(f"{rival.name:36}{rival.median * 1e3:10.2f}{max(rival.times) * 1e3:10.2f}{size / rival.median / 1e6:9.1f}")
        else:
            print(f"{rival.name:36}{'did not run':>20}")
    print(f"selfc opens the vocabulary in {selfc.ready * 1e3:.1f} ms")
    best = best_of(rivals)
    return {"selfc_ms": round(selfc.median * 1e3, 3), "mb_per_second": round(size / selfc.median / 1e6, 1),
            "open_ms": round(selfc.ready * 1e3, 1), "best": best.name if best else None,
            "ratio": round(best.median / selfc.median, 2) if best else None,
            "rivals_ms": {rival.name: round(rival.median * 1e3, 3) for rival in rivals if rival.times}}
