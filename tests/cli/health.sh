#!/usr/bin/env bash
# The health of a training: a value that is not finite is traced to its layer; features and gradients are measured
# without a change to what is learned, and their collapse is noticed.
. "$(dirname "$0")/common.bash"

# A logarithm of what is not always positive. Nothing has been saved yet, so the search begins at the first step.
cat >"$folder/logarithm.json" <<'END'
{
  "name": "logarithm",
  "training": {
    "data": { "x": { "source": "glyphs", "flatten": true } },
    "layers": [
      { "layer": "dense", "input": "x", "units": 32, "activation": "tanh", "name": "first" },
      { "layer": "dense", "units": 4, "name": "second" },
      { "expr": "sum(log(second + 0.3), axis=1)", "name": "logs" },
      { "expr": "mean(logs)", "name": "loss" }
    ],
    "minimize": "loss", "batch": 64, "epochs": 3
  }
}
END
gives 1 "$selfc" train "$folder/logarithm.json" --out "$folder/logarithm"
says 'note: a value is not finite; which layer made it takes some '
says 'step 1'
says 'layer "logs" (training.layers[2]), operation log(-0.'
grep -q 'learning rate may help' "$folder/err" && fail "nothing was learnt before the first step"
says 'made the first value that is not finite: nan, '
says 'what it read was finite, the largest '
[ -e "$folder/logarithm/checkpoint.safetensors" ] && fail "a checkpoint of a step that failed"

# What overflows in f32 and would not in doubles, behind other operations of its kernel.
sed -e 's/"logarithm"/"exponential"/' -e 's/log(second + 0.3)/2 * exp(1000 * second * second + 90) - 1/' "$folder/logarithm.json" >"$folder/exponential.json"
gives 1 "$selfc" train "$folder/exponential.json" --out "$folder/exponential"
says 'layer "logs" (training.layers[2]), operation exp(9'

# A learning rate that is too large, in a run that goes on from a checkpoint: this stays, and the answer is the same for
# any number of threads.
gives 0 "$selfc" train "$model" --steps 20 --out "$folder/good" --quiet
for threads in 1 3; do
    cp -r "$folder/good" "$folder/exploded$threads"
    gives 1 "$selfc" train "$folder/exploded$threads" --set training.optimizer.learning_rate=3000 --resume --steps 500 --threads $threads
    says 'layer "z" (training.layers[1]), operation exp('
    says 'the checkpoint of step 20 is kept'
    grep -o 'step [0-9]*: [^;]*' "$folder/err" >"$folder/found$threads"
    same "$folder/good/checkpoint.safetensors" "$folder/exploded$threads/checkpoint.safetensors"
done
same "$folder/found1" "$folder/found3"

# Health of two views: in the metrics at the same steps whatever stops the run; not a bit of the training changes.
contrastive=$source_dir/examples/contrastive/model.json
sed 's/"minimize": "loss",/"minimize": "loss", "health": ["a", "b"],/' "$contrastive" >"$folder/watched.json"
gives 0 "$selfc" train "$contrastive" --steps 320 --out "$folder/unwatched" --quiet
gives 0 "$selfc" train "$folder/watched.json" --steps 320 --out "$folder/watched" --quiet
same_tensors "$folder/unwatched/checkpoint.safetensors" "$folder/watched/checkpoint.safetensors"
for key in feature_std effective_rank alignment uniformity gradient_norm learning_rate; do
    head -n 1 "$folder/watched/metrics.jsonl" | grep -q "\"$key\": -\{0,1\}[0-9]" || fail "the first line has no $key"
done
for part in 'class="pca"' 'class="tsne"' 'id="show-pca"' 'Nearest neighbours' 'spread of features' 'effective rank' 'Where the time goes' 'encode.h.0 (encode.layers\[0\]) backward'; do
    grep -q "$part" "$folder/watched/report.html" || fail "the report has no $part"
done
grep -q '<th>effective rank of features[^<]*</th><td>[0-9]' "$folder/watched/report.html" || fail "the table has no health"
[ "$(grep -c '<circle class="k' "$folder/watched/report.html")" -ge 1000 ] || fail "the map lacks points"
grep -qE 'https?:|src="[^d]' "$folder/watched/report.html" && fail "the report wants a network"
[ "$(stat -c %s "$folder/watched/report.html")" -lt 3000000 ] || fail "the report is larger than 3 MB"
grep -q '"learning_rate": 0.001,' "$folder/unwatched/metrics.jsonl" || fail "metrics without the learning rate"
grep -q feature_std "$folder/unwatched/metrics.jsonl" && fail "health that nobody asked for"
[ "$(grep -c feature_std "$folder/watched/metrics.jsonl")" = 2 ] || fail "health is not measured twice in so short a run: $(grep -c feature_std "$folder/watched/metrics.jsonl")"
# What the description itself calls gradient_norm goes first.
sed 's/"minimize": "loss",/"minimize": "loss", "health": "a", "report": ["gradient_norm", "learning_rate"],/; s/\("name": "loss" }\)/\1, { "expr": "loss * 0 + 7", "name": "gradient_norm" }, { "expr": "loss * 0 + 8", "name": "learning_rate" }/' "$contrastive" >"$folder/own.json"
gives 0 "$selfc" train "$folder/own.json" --steps 1 --out "$folder/own" --quiet
for own in gradient_norm=7 learning_rate=8; do
    found=$(head -n 1 "$folder/own/metrics.jsonl" | grep -o "\"${own%=*}\": [^,]*")
    [ "$found" = "\"${own%=*}\": ${own#*=}" ] || fail "${own%=*} is not the description's alone: $found"
done
# Interrupted in the middle of a line of the metrics, and resumed on other threads; only times may differ.
python3 - "$selfc" "$folder/watched.json" "$folder/stopped" <<'END' || fail "no interrupted run"
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.argv[1], "train", sys.argv[2], "--steps", "320", "--threads", "1", "--out", sys.argv[3]],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
metrics = os.path.join(sys.argv[3], "metrics.jsonl")
while (not os.path.exists(metrics) or not os.path.getsize(metrics)) and child.poll() is None: time.sleep(0.002)
child.send_signal(signal.SIGINT)
sys.exit(child.wait(60) not in (130, 0))
END
gives 0 "$selfc" train "$folder/watched.json" --steps 320 --out "$folder/stopped" --resume --quiet
without_times() { sed 's/, "seconds".*//' "$1/metrics.jsonl"; }
cmp -s <(without_times "$folder/watched") <(without_times "$folder/stopped") || fail "a resumed run has other metrics: $(diff <(without_times "$folder/watched") <(without_times "$folder/stopped"))"

# What was no finite number stays one when a run goes on.
gives 0 "$selfc" train "$contrastive" --steps 5 --out "$folder/infinite" --quiet
sed -i '1s/"learning_rate": [^,]*/"learning_rate": null/' "$folder/infinite/metrics.jsonl"
cp "$folder/infinite/metrics.jsonl" "$folder/before"
gives 0 "$selfc" train "$folder/infinite" --steps 10 --resume --quiet
head -n "$(wc -l <"$folder/before")" "$folder/infinite/metrics.jsonl" | cmp -s - "$folder/before" || fail "metrics changed: $(head -n 1 "$folder/infinite/metrics.jsonl")"

# Views that layers make of pictures are in the report, here a picture turned in four ways.
gives 0 "$selfc" train examples/pretext/rotation.json --steps 2 --out "$folder/turned" --quiet
grep -q 'What the training sees' "$folder/turned/report.html" || fail "the report has no views"
grep -q 'What the training sees' "$folder/watched/report.html" && fail "views where there are no pictures"

# Neighbours judge every second epoch, in the line that ends it, and change nothing either.
gives 0 "$selfc" train "$contrastive" --epochs 2 --out "$folder/unjudged" --quiet
gives 0 "$selfc" train "$contrastive" --epochs 2 --set 'training.knn={"every": 2, "samples": 1000, "function": "encode"}' --out "$folder/judged" --threads 1
same_tensors "$folder/unjudged/checkpoint.safetensors" "$folder/judged/checkpoint.safetensors"
[ "$(grep -c knn_accuracy "$folder/judged/metrics.jsonl")" = 1 ] || fail "neighbours do not judge once in two epochs"
tail -n 1 "$folder/judged/metrics.jsonl" | grep -qE '"test_loss": .*"knn_accuracy": (0\.9|1)' || fail "neighbours judge badly: $(tail -n 1 "$folder/judged/metrics.jsonl")"
says "knn_accuracy 0.9"
grep -q '<th>accuracy of nearest neighbours on test data</th><td>0.9' "$folder/judged/report.html" || fail "the table has no accuracy of neighbours"
gives 0 "$selfc" train "$contrastive" --epochs 4 --set 'training.knn={"every": 2, "samples": 1000}' --out "$folder/judged4" --quiet
grep -q 'accuracy of nearest neighbours' "$folder/judged4/report.html" || fail "the report has no curve of neighbours"
[ "$(grep -o '"knn_accuracy": [0-9.]*' "$folder/judged/metrics.jsonl")" = "$(grep -o '"knn_accuracy": [0-9.]*' "$folder/judged4/metrics.jsonl" | head -n 1)" ] || fail "threads change what neighbours say"
gives 1 "$selfc" train examples/gan/model.json --steps 1 --set 'training.knn={"every": 1}' --out "$folder/nobody"
says "training.knn: no function takes samples of the data and gives features f32[n,d]"

# What is wrong with the labels is said before the first step; features that are no numbers end no run.
python3 - "$folder" <<'END'
import os, struct, sys
def npy(path, kind, shape, data):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(path, "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + data)
for name in ("unlabelled", "mislabelled"):
    os.makedirs(f"{sys.argv[1]}/{name}")
    for split, count in (("train", 300), ("test", 40)):
        npy(f"{sys.argv[1]}/{name}/{split}.npy", "|u1", f"({count}, 28, 28)", bytes(i * 7 % 256 for i in range(784 * count)))
        if (name, split) == ("unlabelled", "train"): continue
        npy(f"{sys.argv[1]}/{name}/{split}_labels.npy", "<i4", f"({count},)", struct.pack(f"<{count}i", *(i % 10 - (i == 7) * 9 for i in range(count))))
END
judged=(--set training.batch=32 --set 'training.knn={"every": 1}' --epochs 1 --quiet)
gives 1 "$selfc" train "$contrastive" "${judged[@]}" --data "$folder/unlabelled" --out "$folder/nolabels"
says "training.knn needs labels, but the training data have none"
gives 1 "$selfc" train "$contrastive" "${judged[@]}" --data "$folder/mislabelled" --out "$folder/nolabels"
says "sample 7 of the training data has the label -2"
[ -e "$folder/nolabels" ] && fail "a RUN folder was made for labels that cannot be used"
sed 's/"functions": {/&\n"no_numbers": { "inputs": { "x": ["n", 784] }, "layers": [{ "expr": "log(x[:, :3] * 0 - 1)", "name": "features" }] },/' "$contrastive" >"$folder/no_numbers.json"
gives 0 "$selfc" train "$folder/no_numbers.json" --set 'training.knn={"every": 1, "function": "no_numbers"}' --epochs 2 --out "$folder/no_numbers"
says "warning: step 312: neighbours cannot judge: the features of training sample"
grep -q knn_accuracy "$folder/no_numbers/metrics.jsonl" && fail "a judgement that could not be made"

# Two views that only attract each other collapse. It is said once.
sed 's/"health"/"batch": 16, "optimizer": { "name": "adam", "learning_rate": 0.003 }, "health"/; s/"batch": 64,//; s/{ "module": "nt_xent".*/{ "expr": "mean(sum((a - b)^2, axis=1))", "name": "loss" }/' "$folder/watched.json" >"$folder/collapses.json"
gives 0 "$selfc" train "$folder/collapses.json" --epochs 3 --out "$folder/collapses"
says "the features have collapsed"
[ "$(grep -c 'have collapsed' "$folder/err")" = 1 ] || fail "the warning stands there more than once"
grep -q 'class="alarm"' "$folder/collapses/report.html" || fail "no alarm in the report"
grep -q '"alarm": "collapse"' "$folder/collapses/metrics.jsonl" || fail "no alarm in the metrics"
# Looks are denser at the beginning: of evenly spread ones a quarter would be in the first quarter.
grep feature_std "$folder/collapses/metrics.jsonl" | grep -o '"step": [0-9]*' | awk '{ n++; early += $2 <= 3750 / 4 + 50 }
    END { print n " looks, " early " early"; exit !(n >= 12 && n < 38 && early >= 0.4 * n && early < n) }' >"$folder/looks" ||
    fail "looks at the health stand elsewhere: $(cat "$folder/looks")"
# However short the run.
gives 0 "$selfc" train "$folder/collapses.json" --steps 250 --out "$folder/short"
says "warning: step 250: the features have collapsed"
gives 0 "$selfc" train "$folder/collapses" --epochs 4 --resume
grep -q 'have collapsed' "$folder/err" && fail "the warning comes again in a run that goes on"
finish
