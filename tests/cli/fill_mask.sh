#!/usr/bin/env bash
# Functions on texts from the command line: words for masks, classes, answers and features are what the functions give,
# whatever length a text is filled up to; and mistakes.
. "$(dirname "$0")/common.bash"
cp "$source_dir"/tests/language/* "$folder"
cd "$folder" || exit 1

sentence="The capital of France is [MASK]."

# --- what is printed ---

gives 0 "$selfc" fill-mask model.json "$sentence"; says "untrained weights"; prints "The capital of France "; prints " %  "
[ "$(wc -l <out)" = 7 ] || fail "a sentence, five words and an empty line are not 7 lines, but $(wc -l <out)"
gives 0 "$selfc" fill-mask model.json --k 2 "$sentence" "[MASK] plays [MASK]"; prints "[MASK] 2 of 2"
[ "$(grep -c ' %  ' out)" = 6 ] || fail "three masks with two words each are not 6 words"
gives 0 "$selfc" fill-mask model.json --k 100000 "$sentence"
[ "$(grep -c ' %  ' out)" = 44 ] || fail "more words than there are"
printf '%s\n\n%s\r\n' "$sentence" "play [MASK]" >lines
"$selfc" fill-mask model.json --json <lines >from_lines 2>/dev/null || fail "lines of the standard input are not read"
gives 0 "$selfc" fill-mask model.json --json "$sentence" "play [MASK]"
same out from_lines

# A line that is wrong is named by its number; those before it are answered.
printf '%s\n\n%s\n%s\n' "play [MASK]" "no mask" "$sentence" >lines
"$selfc" fill-mask model.json --json <lines >out 2>err && fail "a line without [MASK] is filled"
says 'stdin:3: "no mask" has no [MASK]'; prints '{"text": "play [MASK]"'
[ "$(wc -l <out)" = 1 ] || fail "one line stands before the wrong one, but there are $(wc -l <out)"
printf 'paris\n%s\nparis\n' "$(printf 'a %.0s' $(seq 100))" >lines
"$selfc" classify model.json --json <lines >out 2>err && fail "a line that is too long has a class"
says 'stdin:2: "a a a'; says "102 tokens long"; prints '{"text": "paris"'
"$selfc" classify "$source_dir/examples/vae/model.json" <lines 2>err && fail "a VAE tells classes apart"
says "cannot say of which class a text is"
grep -q stdin: err && fail "a line is named that is not at fault"

# --- what the functions give for these tokens, read by other means ---

cat >check.py <<'END2'
import json, math, struct, subprocess, sys
def npy(path, descr, shape, data):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(path, "wb").write(b"\x93NUMPY\1\0" + bytes([118, 0]) + header.encode() + data)
def floats(path):
    data = open(path, "rb").read()
    return [x[0] for x in struct.iter_unpack("<f", data[10 + struct.unpack("<H", data[8:10])[0]:])]
def run(function, length, **inputs):
    args = []
    for name, row in inputs.items():
        row = row + [0] * (length - len(row)) if isinstance(row, list) else row
        shape, data = ((1, length), struct.pack(f"<{length}i", *row)) if isinstance(row, list) else ((1,), struct.pack("<i", row))
        npy(name + ".npy", "<i4", shape, data)
        args += ["--input", f"{name}={name}.npy"]
    subprocess.run([selfc, "run", "model.json", f"{function}_{length}", *args], check=True, stderr=subprocess.DEVNULL)
def ids(text):
    out = subprocess.run([selfc, "tokenize", "--vocabulary", "vocab.txt", "--ids", "-"], input=text, text=True, capture_output=True, check=True)
    return [int(x) for x in out.stdout.split()]
def asked(*words):
    out = subprocess.run([selfc, *words, "--json"], text=True, capture_output=True, check=True)
    return [json.loads(line) for line in out.stdout.splitlines()]
def near(a, b, what):
    if not abs(a - b) <= 1e-5: sys.exit(f"{what}: {a} is not {b}")
selfc = sys.argv[1]
vocabulary = open("vocab.txt").read().split()
CLS, SEP, MASK = (vocabulary.index(x) for x in ("[CLS]", "[SEP]", "[MASK]"))

# The best words of each mask, at every length that holds the sentence.
before, after = "play the ", " in france"
tokens = [CLS, *ids(before), MASK, *ids(after), SEP]
text = f"{before}[MASK]{after}"
for length in 8, 16, 64:
    run("fill_mask", length, text=tokens, count=len(tokens), positions=tokens.index(MASK))
    p = floats("probability.npy")
    best = sorted(range(len(p)), key=lambda i: -p[i])[:7]
    for function in "fill_mask", f"fill_mask_{length}":
        answer, = asked("fill-mask", "model.json", text, "--k", "7", "--function", function)
        mask, = answer["masks"]
        if text[mask["from"]:mask["to"]] != "[MASK]": sys.exit(f"the mask stands at {mask}")
        if [w["id"] for w in mask["words"]] != best: sys.exit(f"{function}: {mask['words']} are not {best} of {length}")
        for w in mask["words"]:
            near(w["probability"], p[w["id"]], f"{function} at {length}")
            if w["word"] != vocabulary[w["id"]]: sys.exit(f"{w} is another word")
        word = vocabulary[best[0]]
        want = before.rstrip() + word[2:] + after if word.startswith("##") else before + word + after
        if answer["filled"] != want: sys.exit(f"{answer['filled']} is not {want}")

# Classes: texts of several lengths at once come back in their order, as each alone.
texts = ["a", "a b c d e f g h i j k l", "paris", "lyon is in france . " * 9, "a b c d e f g"]
for text, answer in zip(texts, asked("classify", "model.json", *texts)):
    tokens = [CLS, *ids(text), SEP]
    run("classify", 64, text=tokens, count=len(tokens), segment=[0])
    p = floats("probability.npy")
    if answer["text"] != text or p[answer["class"]] != max(p): sys.exit(f"{answer} is not {p}")
    for a, b in zip(answer["probabilities"], p): near(a, b, text)

# The best span of the context, at most 30 tokens of it, as it is written there.
question, context = "what is the capital ?", "  In France, the CAPITAL is Paris — to see it one goes there." + " a b c d" * 8
q, c = ids(question), ids(context)
tokens = [CLS, *q, SEP, *c, SEP]
run("answer", 64, text=tokens, count=len(tokens), segment=[0] * (len(q) + 2) + [1] * (len(c) + 1))
start, end = floats("start.npy"), floats("end.npy")
first, last = len(q) + 2, len(q) + 2 + len(c)
score, i, k = max((start[i] + end[k], -i, -k) for i in range(first, last) for k in range(i, min(last, i + 30)))
answer, = asked("answer", "model.json", "--question", question, "--context", context)
near(answer["start"], start[-i], "start"), near(answer["end"], end[-k], "end"), near(answer["probability"], math.exp(score), "both")
raw = context.encode()
if raw[answer["from"]:answer["to"]].decode() != answer["answer"]: sys.exit(f"{answer} is not what stands there")
if ids(answer["answer"]) != tokens[-i:1 - k]: sys.exit(f"{answer} has not the tokens {-i} to {-k}")
open("context.txt", "w").write(context)
if asked("answer", "model.json", "--question", question, "--context", "context.txt") != [answer]: sys.exit("a file is another context")

# A long context in windows that begin every half of one; a token's answers count in the first window of those that
# show most of what is around it.
alphabet = "abcdefghijklmnopqrstuvw"
for length in 16, 64:
    question = "what is it ?"
    q = ids(question)
    width = length - len(q) - 3
    for words in width + 1, 2 * width, 131:
        context = " ".join(alphabet[i * i // 3 * 7 % 23] for i in range(words))
        c = ids(context)
        begins = [b for b in range(0, words - width, width // 2)] + [words - width]
        room = lambda b, p: min(p - b, b + width - 1 - p)
        found = []
        for b in begins:
            tokens = [CLS, *q, SEP, *c[b:b + width], SEP]
            run("answer", length, text=tokens, count=length, segment=[0] * (len(q) + 2) + [1] * (width + 1))
            start, end = (floats(f"{name}.npy")[len(q) + 2:-1] for name in ("start", "end"))
            for i in range(width):
                if b != max(begins, key=lambda other: (room(other, b + i), -other)): continue
                found += [(start[i] + end[k], b + i, b + k, start[i]) for k in range(i, min(width, i + 30))]
        score, i, k, start = max(found)
        answer, = asked("answer", "model.json", "--function", f"answer_{length}", "--question", question, "--context", context)
        near(answer["start"], start, f"start in {words} words"), near(answer["start"] + answer["end"], score, f"both in {words} words")
        if (answer["from"], answer["to"]) != (2 * i, 2 * k + 1): sys.exit(f"{answer} is not from word {i} to {k} of {words}, {length} at a time")
END2
python3 check.py "$selfc" || fail "what is printed is not what the functions give"
gives 0 "$selfc" answer model.json --question "what ?" --context "paris"; prints "paris"; prints "bytes 0 to 5"
gives 0 "$selfc" classify model.json paris; prints " %  paris"

# --- features: a row for each line, of the smallest length that holds it, in their order ---

printf 'paris\n\n%s\n%s\n' "$(printf 'lyon is in france . %.0s' 1 2 3 4 5 6)" "the capital of france is paris ." >sentences.txt
for i in $(seq 40); do echo "the $i capital"; echo "a b c d e f g h i j"; done >>sentences.txt
gives 0 "$selfc" embed model.json --data sentences.txt -o all.npy; prints "all.npy: f32[83,16]"; prints '"encode"'
gives 0 "$selfc" embed model.json --data sentences.txt --function encode_64 -o long.npy; prints "f32[83,16]"
gives 0 "$selfc" embed model.json --data sentences.txt --threads 1 -o one.npy
same all.npy one.npy
python3 - <<'END2' || fail "padding changes features"
import sys
sys.argv = ["", ""]
exec(open("check.py").read().split("selfc = ")[0])
a, b = floats("all.npy"), floats("long.npy")
sys.exit(not (len(a) == 83 * 16 and max(abs(x - y) for x, y in zip(a, b)) <= 1e-5 and len(set(a)) == 5 * 16))
END2

# --- judged by labels: every protocol tells these sentences apart; the few that are long are cut ---

for i in $(seq 60); do
    echo "0 the capital of france $(printf 'a %.0s' $(seq $((i % 5))))"
    echo "1 lyon goes to see $(printf 'a %.0s' $(seq $((i % 5))))"
done >sides.train.txt
echo "0 the capital $(printf 'b %.0s' $(seq 40))" >>sides.train.txt
tail -n 40 sides.train.txt >sides.dev.txt
gives 0 "$selfc" embed model.json --data sides.dev.txt --labelled -o sides.npy; prints "sides.npy: f32[40,16]"; prints "sides.labels.npy"
tail -c 160 sides.labels.npy | od -An -v -td4 -w4 | tr -d ' ' | cmp -s - <(cut -d' ' -f1 sides.dev.txt) || fail "the labels are not those of the lines"
for protocol in knn linear finetune; do
    gives 0 "$selfc" eval model.json --data sides.train.txt --protocol $protocol -o $protocol.json
    python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); sys.exit(not (r["accuracy"] >= 0.95 and r["function"] == "encode" and r["test_samples"] == 40))' $protocol.json ||
        fail "$protocol: $(cat $protocol.json)"
done

# --- a RUN has its tokenizer, and what it learnt ---

python3 - <<'END2'
import json
m = json.load(open("model.json"))
del m["functions"]["classify"], m["functions"]["answer"]
m["training"] = {
    "data": {"text": {"source": "text", "tokenizer": "vocab.txt", "length": 16, "unit": "line"},
             "word": {"source": "text", "field": "word"}, "segment": {"source": "text", "field": "segment"}, "count": {"source": "text", "field": "count"}},
    "layers": [{"layer": "mask_tokens", "input": ["text", "word"], "size": "tokens", "mask": "mask", "name": ["masked", "places", "labels", "weights"]},
               {"module": "body", "input": ["masked", "segment", "count"]},
               {"module": "masked_language_model", "input": ["hidden", "words", "places"], "name": "logits"},
               {"expr": "sum(weights * cross_entropy(logits, labels)) / max(sum(weights), 1)", "name": "loss"}],
    "minimize": "loss", "optimizer": {"name": "adam", "learning_rate": 0.01}, "batch": 16, "epochs": 1}
json.dump(m, open("train.json", "w"))
END2
for i in $(seq 40); do printf '%s\n' "the capital of france is paris ." "lyon is in france ." "to see paris one goes to france ."; done >corpus.txt
gives 0 "$selfc" train train.json --data corpus.txt --out run --steps 300 --quiet
mkdir elsewhere && mv run elsewhere/run
gives 0 "$selfc" fill-mask elsewhere/run "$sentence"; prints "The capital of France is paris."
[ -s err ] && fail "a trained RUN is noted: $(cat err)"
gives 0 "$selfc" embed elsewhere/run --data sentences.txt; prints "f32[83,16]"

# Names of classes stand beside the weights.
python3 - <<'END2'
import json, os, struct
data = open("elsewhere/run/weights.safetensors", "rb").read()
size = struct.unpack("<Q", data[:8])[0]
header, values = json.loads(data[8:8 + size]), data[8 + size:]
def named(*shape):
    global values
    count = 1
    for axis in shape: count *= axis
    at = len(values)
    values += struct.pack(f"<{count}f", *((i * 7 % 5 - 2) / 2 for i in range(count)))
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [at, len(values)]}
header["bert_pooler.dense.weight"], header["bert_pooler.dense.bias"] = named(16, 16), named(16)
header["class.weight"], header["class.bias"], header["ends.weight"], header["ends.bias"] = named(16, 3), named(3), named(16, 2), named(2)
header["__metadata__"] = {**header.get("__metadata__", {}), "labels": json.dumps(["bad", "fair \"so\"", "good"])}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
os.mkdir("named")
open("named/weights.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + values)
END2
cp model.json vocab.txt named
gives 0 "$selfc" classify named "paris" --json; grep -qE '"name": ("bad"|"good"|"fair \\"so\\"")' out || fail "a class has no name: $(cat out)"
gives 0 "$selfc" classify named "paris" "a b"; grep -qE '^(bad|good|fair "so") ' out || fail "a class has no name: $(cat out)"

# --- mistakes ---

gives 1 "$selfc" fill-mask model.json "The capital of France is Paris."; says '"The capital of France is Paris." has no [MASK]'
gives 1 "$selfc" fill-mask model.json "[MASK] $(printf 'a %.0s' $(seq 100))"; says "103 tokens"; says "64 at most"
gives 1 "$selfc" fill-mask model.json "[MASK] a b c d e f g h" --function fill_mask_8; says "11 tokens"; says "8 at most"
gives 1 "$selfc" answer model.json --question "$(printf 'a %.0s' $(seq 40))" --context "$(printf 'a %.0s' $(seq 100))"; says "42 tokens"; says "half of the 64"
gives 1 "$selfc" answer model.json --question "what ?" --context "  "; says "no words"
gives 1 "$selfc" fill-mask model.json "$sentence" --function fill; says "there is no function \"fill\""
gives 1 "$selfc" fill-mask model.json "$sentence" --function encode; says '"positions"'
gives 1 "$selfc" answer model.json --question a --context b --function classify; says "must give 2"
gives 1 "$selfc" fill-mask train.json "$sentence" --function classify; says "there is no function"
gives 1 "$selfc" classify "$source_dir/examples/vae/model.json" a
says "cannot say of which class a text is"; says "only encode, generate"; says "examples/bert/sst2.json"; says "--function"
gives 1 "$selfc" fill-mask "$source_dir/examples/vae/model.json" "a [MASK]"; says "cannot fill masks"; says "examples/bert/capitals.json"
gives 1 "$selfc" answer "$source_dir/examples/gan/model.json" --question a --context b; says "cannot answer questions"
gives 1 "$selfc" classify "$source_dir/examples/vae/model.json" a --function encode; says "tokenizer.json"
head -n 40 vocab.txt >named/vocab.txt
gives 0 "$selfc" classify named "paris"
printf 'x%s\n' 1 2 3 4 5 >>vocab.txt
gives 1 "$selfc" fill-mask model.json "$sentence"; says "49 tokens"; says "44"
mkdir alone && cp model.json alone
gives 1 "$selfc" fill-mask alone/model.json "$sentence"; says "neither a tokenizer.json nor a vocab.txt"; says "beside its description"
sed 's/\[MASK\]/[HOLE]/' "$source_dir/tests/language/vocab.txt" >alone/vocab.txt
gives 1 "$selfc" fill-mask alone/model.json "$sentence"; says "no token [MASK]"
gives 2 "$selfc" answer model.json --question a; says "--context is missing"
gives 2 "$selfc" fill-mask; says "RUN is missing"
gives 0 "$selfc" fill-mask model.json --help; prints "selfc fill-mask RUN [TEXT...]"
finish
