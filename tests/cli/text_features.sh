#!/usr/bin/env bash
# Features of texts while a training goes on: neighbours judge those of a function of several inputs and lengths as
# `selfc eval` does, whether the training reads labels or not; the report has texts on its map and as neighbours.
. "$(dirname "$0")/common.bash"
cd "$folder" || exit 1
export XDG_CACHE_HOME=$folder/home

printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' the a cat dog '##s' '##ly' sat ran slow quick . '<' b '>' '"' '&' \
    >vocab.txt
cat >labelled.json <<'END'
{
  "name": "labelled",
  "modules": {
    "encode": {
      "inputs": ["text", "count"],
      "layers": [
        { "layer": "embedding", "input": "text", "size": "vocabulary", "units": 8, "name": "token" },
        { "layer": "dense", "units": 8, "name": "hidden" },
        { "module": "text_features", "input": ["hidden", "count"], "name": "h" }
      ],
      "outputs": "h"
    }
  },
  "training": {
    "data": {
      "text": { "source": "text", "unit": "line", "length": 16, "tokenizer": "vocab.txt" },
      "count": { "source": "text", "field": "count" },
      "label": { "source": "text", "field": "label" }
    },
    "layers": [
      { "module": "encode", "input": ["text", "count"], "name": "h" },
      { "layer": "dense", "input": "10 * h", "units": 2, "name": "logits" },
      { "expr": "mean(cross_entropy(logits, label))", "name": "loss" }
    ],
    "minimize": "loss",
    "knn": { "every": 2, "k": 5, "function": "encode" },
    "optimizer": { "name": "adam", "learning_rate": 0.02 },
    "batch": 16,
    "epochs": 6
  },
  "functions": {
    "places": {
      "inputs": { "text": { "shape": ["n", 16], "type": "i32" }, "positions": { "shape": ["n"], "type": "i32" } },
      "layers": [ { "expr": "cast(text, 'f32') + reshape(cast(positions, 'f32'), [n, 1])" } ]
    },
    "encode": {
      "lengths": [6, 16],
      "inputs": { "text": { "shape": ["n", "length"], "type": "i32" }, "count": { "shape": ["n"], "type": "i32" } },
      "layers": [ { "module": "encode" } ]
    }
  }
}
END
cat >texts.py <<'END'
import json, random
random.seed(3)
words = ["the", "a", "dogs", "ran", "slowly", "quick", "."]
for name, count in (("train", 160), ("dev", 60)):
    with open(f"reviews.{name}.txt", "w") as out, open(f"long.{name}.txt", "w") as long:
        for i in range(count):
            text = " ".join(random.choice(words) for _ in range(random.randrange(1, 20)))
            if i % 2: text = "cats " + text
            if i == 0: text = "the <b> & \" dog"
            out.write(f"{i % 2} {text}\n")
            long.write(f"{i % 2} {text} {'é' * 40} {'é' * 40}\n")

# Training that wants no labels; functions that do not fit it.
model = json.load(open("labelled.json"))
training, encode = model["training"], model["functions"]["encode"]
del training["data"]["label"]
training["layers"] = [training["layers"][0], {"expr": "mean((h - 1)^2)", "name": "loss"}]
for name, knn, lengths in ("unlabelled", {}, [6, 16]), ("places", {"function": "places"}, [6, 16]), ("shorter", {}, [6, 12]):
    training["knn"], encode["lengths"] = {"every": 1, **knn}, lengths
    json.dump(model, open(name + ".json", "w"))
END
python3 texts.py
data=(--data reviews.train.txt)
judged() { grep -o '"knn_accuracy": [0-9.]*' "$1/metrics.jsonl"; }

# Every second epoch, the same for any number of threads, and what eval says of the same weights.
gives 0 "$selfc" train labelled.json "${data[@]}" --threads 1 --quiet --out one
gives 0 "$selfc" train labelled.json "${data[@]}" --threads 3 --quiet --out three
[ "$(judged one | wc -l)" = 3 ] || fail "neighbours do not judge each second epoch of six: $(judged one)"
[ "$(judged one)" = "$(judged three)" ] || fail "threads change what neighbours say: $(judged one), $(judged three)"
judged one | tail -n 1 | grep -qE ' (0\.9|1$)' || fail "neighbours judge badly: $(judged one)"
gives 0 "$selfc" train unlabelled.json "${data[@]}" --epochs 1 --set training.knn.k=5 --quiet --out unlabelled
for run in one unlabelled; do
    gives 0 "$selfc" eval $run "${data[@]}" --protocol knn --k 5 -o result.json
    python3 - $run/metrics.jsonl result.json <<'END' || fail "eval says something else than the training: $(cat result.json)"
import json, sys
during = [json.loads(line) for line in open(sys.argv[1])][-1]["knn_accuracy"]
sys.exit(abs(during - json.load(open(sys.argv[2]))["accuracy"]) > 1e-6)
END
done
gives 0 "$selfc" build labelled.json "${data[@]}" -o trainer
gives 0 ./trainer --quiet --threads 2 --out built
[ "$(judged one)" = "$(judged built)" ] || fail "in a built program neighbours say something else: $(judged built)"

# The report: all test samples twice on the map, with class and text; twelve with their neighbours.
report=one/report.html
grep -qF '60 test samples by the function encode, 8 numbers each' $report || fail "the map is of something else"
[ "$(grep -c '<circle class="k[01]".*<title>test sample [0-9]*: [01]: [^<]' $report)" = 120 ] ||
    fail "not all points have class and text"
grep -qF '<title>test sample 0: 0: the &lt; b > &amp; &quot; dog</title>' $report || fail "a text is not escaped"
grep -qE ': 1: cats [^<]*slowly' $report || fail "a text's pieces are not joined"
line='<div[^>]*>[0-9]*: [01]: [^<]*</div>'
[ "$(grep -cE "^<tr><th>$line</th><td>($line){7}</td></tr>$" $report)" = 12 ] ||
    fail "there are not twelve texts with seven neighbours each"
grep -qF '<title>test sample 0: 0: the &lt; b' unlabelled/report.html || fail "a label became a part of its text"

# Long ones are cut between characters.
gives 0 "$selfc" train labelled.json --data long.train.txt --set training.data.text.tokenizer=characters \
    --set training.data.text.length=100 --set 'functions.encode.lengths=[50, 100]' --epochs 1 --quiet --out long
grep -q '…</title>' long/report.html || fail "a long text is not shortened"
python3 - long/report.html <<'END' || fail "texts are cut within a character, or elsewhere"
import html, re, sys
texts = re.findall(r"test sample \d+: \d: ([^<]*)</title>", open(sys.argv[1], encoding="utf-8").read())
sys.exit(not all(len(html.unescape(text).encode()) in (118, 119) for text in texts if text.endswith("…")))
END

# What does not fit, each with the reason.
gives 1 "$selfc" train unlabelled.json "${data[@]}" --set training.data.text.unit=document --quiet --out nobody
says 'so the unit must be "line"'
gives 1 "$selfc" train places.json "${data[@]}" --quiet --out nobody
says 'training.knn: function "places": its input "positions" is none of the data'
gives 1 "$selfc" train shorter.json "${data[@]}" --quiet --out nobody
says 'training.knn: function "encode_12" takes text i32[n,12], but the data'"'"'s "text" is i32[16] a sample'
gives 1 "$selfc" check labelled.json "${data[@]}" --set training.knn.function=encod; says 'did you mean "encode"?'
finish

# Fine-tuning takes the length that training texts need, and says what of the others it cuts.
for i in $(seq 40); do echo "$((i % 2)) $([ $((i % 2)) = 0 ] && echo the || echo cat) ran"; done >short.train.txt
head -n 19 short.train.txt >short.dev.txt
echo "1 cat ran the a cat ran the a" >>short.dev.txt
gives 0 "$selfc" eval one --data short.train.txt --protocol finetune --epochs 2
says '1 of 20 lines of the test data'; says '"encode_6" takes no longer ones'
