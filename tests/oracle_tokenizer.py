#!/usr/bin/env python3
"""Tokens, words and places against the Python package `tokenizers`: every code point, a list of nasty texts, random ones
made of what is nasty, bytes that are no UTF-8, and real texts of the folder that SELFC_TEXTS names, or of
../shared/data/text beside the project; with every combination of BERT's rules. Then back to text, files that the package
reads, characters, and trained vocabularies."""
import glob, itertools, json, os, random, subprocess, sys, tempfile

try:
    import tokenizers
    from tokenizers import BertWordPieceTokenizer, Tokenizer
except ImportError:
    print("skipped: no package `tokenizers` for this Python")
    sys.exit(77)

SELFC, TOKENS = os.environ["SELFC"], os.path.join(os.environ["SELFC_BUILD"], "selfc_tokens")
SOURCE = os.environ.get("SELFC_SOURCE", ".")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NASTY = [
    "", " ", "\n", "Hello, World! It's 3.14 o'clock.", "The capital of France is [MASK].", "[MASK][MASK] x[SEP]y [mask] [ MASK]",
    "naïve café résumé Ångström", "nai\u0308ve cafe\u0301 e\u0301\u0323\u0302", "\u0130stanbul \u0131 İİ ΑΣ ΣΑΣ ß ẞ ǅ ﬁ ﬀ",
    "👍🏽 👨‍👩‍👧‍👦 🇫🇷🇩🇪 a👍b ❤️ ☎ ☎️ 1️⃣ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "שָׁלוֹם עולם مرحبا بالعالم \u200fabc\u200e \u202eevil\u202c", "漢字かな交じり文 한국어 조선말 ᄒ\u1161\u11ab 中a文b 豈\uf900 \U0002f800",
    "\u3071\u306f\u309a が か\u3099", "a\u00a0b\u2003c\u3000d\u200be\ufefff\u00adg\u2028h\u2029i\u0085j\u1680k\u180el",
    "a\x00b\x01c\x07d\x0be\x0cf\x1bg\x7fh\x80i\x9fj\tk\rl\r\nm", "\ufffd\ufffe\uffff a\ufffdb \ue000x\U000f0000y\U0010ffffz",
    "tech — “quotes” «x» …!?¡¿ ‚ „ ‟ ′ 〈x〉 ＡＢＣ ，。", "$5 €5 £5 ^_^ `x` ~ | <tag> a_b a-b a+b=c #hash ##hash @at",
    "a" * 99, "a" * 100, "a" * 101, "é" * 100, "é" * 101, "e\u0301" * 100, "e\u0301" * 101, "x" * 300 + " y", "漢" * 300,
    "word" * 25600, "\u0301" * 1000 + "a", "a" + "\u0301" * 1000 + "b", "a\u200b" * 1000, "." * 1000, "-a" * 500,
    "\u302e\u0301a\u302f\u0323\u302e", "\U0001d15f\U0001d16d\u0301\U0001d160\u0334\U0001d166", "\u1734\u1734a\u0b57\u09be",
    "a\u0323\u302e\u0334\U0001d165b", "한\u302e글\u302f", "\u01d5\u01d6 \u1e9b\u0323 \u1e69 s\u0323\u0307 \u212b \u2126 \u037e \u0387",
    "ｶﾞ ガ ① ² ½ Ⅷ ⓐ", "नमस्ते हिन्दी ไทยภาษา தமிழ் ខ្មែរ བོད་", "z̸̢̛̗̱̣͖̏̀̇a̴̡̛͍̰̽̈́l̷g̶o̵",
]
BYTES = [b"\xff\xfe", b"a\x80b", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xe2\x82x\xe2", b"\xf0\x9f\x98", b"\xf0\x9f\x98 \xf0\x9f",
         b"\xed\xa0\x80\xed\xb0\x80", b"\xc0\x80\xc1\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe0\x80\x80",
         b"\xf0\x80\x80\x80", b"caf\xe9 na\xefve", b"\x80" * 50, b"x\xe2\x28\xa1y\xf0\x28\x8c\xbc"]
ALPHABET = (list("abcXYZ .,-'#[]") * 3 + ["[MASK]", "##", "é", "É", "İ", "ß", "漢", "豈", "한", "ᄒ", "か", "\u3099", "👍", "\u200d"]
            + [chr(c) for c in itertools.chain(range(0x300, 0x370, 5), range(0x590, 0x5c8, 3), range(0x8d0, 0x900, 3),
               (0x302a, 0x302e, 0x302f, 0x1714, 0x1715, 0x1734, 0x16ff0, 0x1d165, 0x1d166, 0x1d16d, 0x1d15f, 0x1d160,
                0x1d167, 0x1d17b, 0x344, 0xf73, 0xf81, 0x1e000, 0x1e944, 0x11442, 0x11446, 0x11938, 0x10a0f, 0, 9, 10, 11, 0x7f,
                0x85, 0xa0, 0xad, 0x200b, 0x2028, 0x3000, 0xfffd, 0xe000, 0xc16, 0xc55, 0x1b6b, 0x1df6, 0x1dfa, 0x10ffff))])

failed = 0


def expect(good, text):
    global failed
    failed += not good
    print(("ok   " if good else "FAIL ") + text, flush=True)


def random_texts(count):
    draw = random.Random(0)
    for _ in range(count):
        yield "".join(draw.choice(ALPHABET) for _ in range(draw.randint(1, 24)))


def random_bytes(count):
    draw = random.Random(1)
    pool = [0x20, 0x41, 0x61, 0x80, 0xbf, 0x9f, 0xa0, 0x90, 0x8f, 0xc2, 0xc3, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf3, 0xf4, 0xf5, 0xff]
    for _ in range(count):
        yield bytes(draw.choice(pool) for _ in range(draw.randint(1, 16)))


def code_points():
    """Every one that is assigned, in words and alone, and the ends of the planes."""
    codes = itertools.chain(range(0xD800), range(0xE000, 0x33000), range(0xE0000, 0xE1000),
                            *(range(plane + 0xFF00, plane + 0x10100) for plane in range(0x30000, 0x100000, 0x10000)),
                            range(0x10FF00, 0x110000))
    return "\n".join(f"x{chr(c)}y {chr(c)}" for c in codes).encode()


def make_vocabulary(end):
    """All characters below `end`, at the beginning of a word and behind it, and some pieces of several."""
    characters = [chr(c) for c in range(33, end) if not 0xD800 <= c < 0xE000 and not chr(c).isspace()]
    pieces = ["the", "cap", "##ital", "##ta", "france", "France", "word", "##word", "caf", "##fe", "naive", "e\u0301", "##\u302e\u302f",
              "hello", "Hello", "xy", "##ing", "aa", "##aa", "##aaaa", "na", "##ï", "한", "##글", "cafe", "1️", "👍🏽"]
    return list(dict.fromkeys(SPECIAL + pieces + characters + ["##" + c for c in characters]))


def package(vocabulary, clean=True, chinese=True, strip=None, lower=True, path=None):
    made = BertWordPieceTokenizer({token: i for i, token in enumerate(vocabulary)}, clean_text=clean,
                                  handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower)
    made.save(path)
    return made


def wanted_tokens(made, raw):
    text = raw.decode("utf-8", "replace")
    encoding = made.encode(text, add_special_tokens=False)
    at = byte_places(raw, text)
    return [f"{token} {word} {at[a]} {at[b]}"
            for token, word, (a, b) in zip(encoding.ids, encoding.word_ids, encoding.offsets)]


def byte_places(raw, text):
    """Where each character of the text begins in the bytes, also where bytes became U+FFFD."""
    if text.encode() == raw:
        return list(itertools.accumulate((len(c.encode()) for c in text), initial=0))
    places, at = [], 0
    while at < len(raw):
        places.append(at)
        for length in range(1, 5):  # the longest beginning that is one character, or none as a whole
            piece = raw[at:at + length].decode("utf-8", "replace")
            if len(piece) == 1 and piece != "\ufffd":
                break
            if len(piece) > 1 or at + length > len(raw):
                length -= 1
                break
        at += length
    assert len(places) == len(text)
    return places + [at]


def selfc_tokens(vocabulary, path, *more):
    return subprocess.run([TOKENS, vocabulary, path, *(more or ("special",))], check=True, capture_output=True,
                          text=True).stdout.split("\n")[:-1]


def compare(made, vocabulary, raw, what, *more):
    with open("text", "wb") as file:
        file.write(raw)
    want, got = wanted_tokens(made, raw), selfc_tokens(vocabulary, "text", *more)
    expect(want == got, f"{what}: {len(want)} tokens")
    if want == got:
        return
    i = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
    place = int((want + ["0 0 0 0"])[i].split()[2])
    print(f"     token {i}: package {want[i:i + 4]}, selfc {got[i:i + 4]}, at {raw[max(0, place - 12):place + 24]!r}")


def check_rules(vocabulary, small):
    texts = b"\n".join(t.encode() for t in NASTY) + b"\n" + b"\n".join(BYTES)
    every = code_points()
    for clean, chinese, strip, lower in itertools.product((True, False), (True, False), (None, True, False), (True, False)):
        is_usual = clean and chinese and strip is None
        made = package(vocabulary if is_usual else small, clean, chinese, strip, lower, "rules.json")
        count = 10000 if is_usual else 1000
        mixed = b"\n".join([texts, *(t.encode() for t in random_texts(count)), *random_bytes(count // 4)])
        name = f"clean={clean} chinese={chinese} strip={strip} lower={lower}"
        compare(made, "rules.json", mixed, name)
        if is_usual:
            compare(made, "rules.json", every, name + ", every code point")
            for piece in ("7", "1000"):
                compare(made, "rules.json", mixed, f"{name}, in pieces of {piece}", "special", piece)
            made.encode_special_tokens = made._tokenizer.encode_special_tokens = True
            compare(made, "rules.json", texts, name + ", special tokens as text", "text")


def check_each(vocabulary):
    """Texts alone, for what is at their ends."""
    made = package(vocabulary, path="rules.json")
    for raw in [t.encode() for t in NASTY] + BYTES:
        with open("text", "wb") as file:
            file.write(raw)
        if wanted_tokens(made, raw) != selfc_tokens("rules.json", "text"):
            expect(False, f"the text {raw[:40]!r}: {wanted_tokens(made, raw)[:4]} {selfc_tokens('rules.json', 'text')[:4]}")
    expect(True, "nasty texts, each alone")


def real_texts():
    folder = os.environ.get("SELFC_TEXTS") or os.path.join(SOURCE, "../shared/data/text")
    files = sorted(glob.glob(os.path.join(folder, "*.txt")))
    if not files:
        print(f"     (no real texts: {folder} has no *.txt, and SELFC_TEXTS names no other folder; the documentation stands "
              "for them)")
        files = sorted(glob.glob(os.path.join(SOURCE, "docs/*.md"))) + [os.path.join(SOURCE, "README.md")]
    return files


def check_training(files):
    """Ties are broken otherwise, so vocabularies are not equal, but nearly; where a small text has no two neighbours left
    that occur twice, they need not end at the same size."""
    for lower in (True, False):
        made = BertWordPieceTokenizer(lowercase=lower)
        made.train(files, vocab_size=3000, min_frequency=2, show_progress=False, limit_alphabet=1000)
        command = [SELFC, "tokenize", "--train", *files, "--size", "3000", "-o", "trained.json"] + ["--cased"] * (not lower)
        subprocess.run(command, check=True, capture_output=True)
        ours, theirs = Tokenizer.from_file("trained.json"), made
        same = set(ours.get_vocab()) & set(theirs.get_vocab())
        sizes = ours.get_vocab_size(), theirs.get_vocab_size()
        expect(max(sizes) - min(sizes) <= (0 if max(sizes) == 3000 else 0.005 * max(sizes)) and len(same) > 0.97 * sizes[0],
               f"trained, lower={lower}: {sizes[0]} and {sizes[1]} tokens, {len(same)} the same")
        text = "".join(open(f, errors="replace").read() for f in files)
        counts = [len(t.encode(text, add_special_tokens=False).ids) for t in (ours, theirs)]
        unknown = [t.encode(text, add_special_tokens=False).tokens.count("[UNK]") for t in (ours, theirs)]
        expect(abs(counts[0] / counts[1] - 1) < 0.005 and unknown[0] == unknown[1],
               f"     {counts[0]} and {counts[1]} tokens for the text, {unknown[0]} and {unknown[1]} unknown")
        made.save("theirs.json")
        for path in files:
            with open(path, "rb") as file:
                compare(theirs, "theirs.json", file.read(), f"{os.path.basename(path)}, lower={lower}")
        with open(files[0], "rb") as file:
            compare(ours, "trained.json", file.read(), f"by what was trained here, lower={lower}")
        with open("vocab.txt", "w") as file:
            file.write("\n".join(sorted(made.get_vocab(), key=made.get_vocab().get)) + "\n")
        with open("tokenizer_config.json", "w") as file:
            json.dump({"do_lower_case": lower, "model_max_length": 512, "nested": {"a": [1, {"b": None}]}}, file)
        with open(files[0], "rb") as file:
            compare(theirs, "vocab.txt", file.read(), f"vocab.txt, lower={lower}")


def check_decoding(made, vocabulary):
    draw, lines = random.Random(2), []
    known = [i for i, token in enumerate(vocabulary) if "\n" not in token and "\r" not in token]
    usual = [made.token_to_id(t) for t in list(".,!?'") + ["the", "##ital", "s", "m", "t", "n", "[MASK]", "[SEP]", "[UNK]"]]
    for _ in range(2000):
        lines.append([draw.choice(usual if draw.random() < 0.6 else known) for _ in range(draw.randint(0, 12))])
    text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
    got = subprocess.run([SELFC, "tokenize", "--vocabulary", "rules.json", "--decode"], input=text.encode(), check=True,
                         capture_output=True).stdout.decode().split("\n")[:-1]
    want = [made.decode(line) for line in lines]
    wrong = [(w, g) for w, g in zip(want, got) if w != g]
    expect(not wrong and len(want) == len(got), f"{len(want)} texts from ids {wrong[:3]}")


def check_saved(vocabulary):
    made = package(vocabulary, strip=False, path="rules.json")
    subprocess.run([TOKENS, "--save", "rules.json", "saved.json"], check=True)
    again = Tokenizer.from_file("saved.json")
    raw = "\n".join(NASTY).encode()
    compare(again, "saved.json", raw, "a saved tokenizer")
    expect(again.encode("a b", "c").tokens == made.encode("a b", "c").tokens, "     which frames pairs as BERT does")
    expect(again.decode([7, 8, 9]) == made.decode([7, 8, 9]), "     and decodes")


def check_characters():
    raw = "\n".join(t for t in NASTY if "\x00" not in t).encode() + b"\xff\xc3"
    with open("text", "wb") as file:
        file.write(raw)
    subprocess.run([TOKENS, "--characters", "text", "characters.json"], check=True)
    made = Tokenizer.from_file("characters.json")
    text = raw.decode("utf-8", "replace")
    expect(made.get_vocab() == {c: i for i, c in enumerate(sorted(set(text)))}, "a vocabulary of characters")
    compare(made, "characters.json", raw, "characters")
    compare(made, "characters.json", raw, "characters, in pieces of 5", "special", "5")
    expect(made.decode(made.encode(text).ids) == text, "     and back")


def main():
    print(f"tokenizers {tokenizers.__version__}")
    vocabulary, small = make_vocabulary(0x20000), make_vocabulary(0x3200)
    files = [os.path.abspath(path) for path in real_texts()]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        check_rules(vocabulary, small)
        check_each(small)
        check_decoding(package(small, path="rules.json"), small)
        check_saved(small)
        check_characters()
        check_training(files)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
