#!/usr/bin/env bash
# Features of data sets, and what `selfc eval` says about them: every protocol, what is in a result, the same bits for any
# number of threads, and mistakes.
. "$(dirname "$0")/common.bash"
model=$source_dir/examples/contrastive/model.json
cd "$folder" || exit 1

# get FILE KEY: a value of a result. above A B: numbers.
get() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
is() { [ "$(get "$1" "$2")" = "$3" ] || fail "$1: $2 is $(get "$1" "$2"), not $3"; }
above() { python3 -c 'import sys; sys.exit(not float(sys.argv[1]) > float(sys.argv[2]))' "$1" "$2" || fail "$1 is not above $2"; }
body() { tail -c +$((11 + $(od -An -tu2 -j8 -N2 "$1"))) "$1"; } # of a .npy file

# Small sets of pictures: two classes, bright at the left and at the right; one with labels, one without, one without a test part.
python3 - <<'END'
import os, struct
def npy(path, descr, shape, data):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(path, "wb").write(b"\x93NUMPY\1\0" + bytes([118, 0]) + header.encode() + data)
def picture(i):
    return bytes((200 if (x < 14) == (i % 2 == 0) else 20) + (i * 31 + x * 7 + y * 13) % 50 for y in range(28) for x in range(28))
for folder, splits, has_labels in [("sides", "train test", 1), ("plain", "train test", 0), ("lonely", "train", 1)]:
    os.mkdir(folder)
    for split in splits.split():
        count = 90 if split == "train" else 30
        npy(f"{folder}/{split}.npy", "|u1", (count, 28, 28), b"".join(picture(i) for i in range(count)))
        if has_labels: npy(f"{folder}/{split}_labels.npy", "<i4", (count,), struct.pack(f"<{count}i", *(i % 2 for i in range(count))))
order = sorted(range(90), key=lambda i: i % 2)
os.mkdir("sorted")
npy("sorted/train.npy", "|u1", (90, 28, 28), b"".join(picture(i) for i in order))
npy("sorted/train_labels.npy", "<i4", (90,), struct.pack("<90i", *(i % 2 for i in order)))
for name in "test.npy", "test_labels.npy": open("sorted/" + name, "wb").write(open("sides/" + name, "rb").read())
factor = struct.unpack("<f", struct.pack("<f", 1 / 255))[0]
npy("numbers.npy", "<f4", (90, 784), struct.pack("<70560f", *(byte * factor for i in range(90) for byte in picture(i))))
END

gives 0 "$selfc" train "$model" --steps 150 --quiet --out run
[ $failures = 0 ] || finish

# Embeddings are what the function gives for the values that training would see.
gives 0 "$selfc" embed run --data sides -o features.npy; prints "features.npy: f32[90,32]"; prints "features.labels.npy"
gives 0 "$selfc" run run encode --input numbers.npy --output one.npy
cmp -s <(body features.npy) <(body one.npy) || fail "embed and run differ"
body features.labels.npy | od -An -v -td4 -w8 | uniq -c | grep -q '45  *0  *1$' || fail "the labels are not those of the data"
gives 0 "$selfc" embed run --data sides --split test -o features; prints "features: f32[30,32]"; prints "features.labels.npy"
gives 0 "$selfc" embed run --data plain; prints "embeddings.npy: f32[90,32]"
[ -e embeddings.labels.npy ] && fail "labels out of nowhere"
gives 0 "$selfc" embed run -o drawn.npy --threads 3; prints "f32[20000,32]"
gives 0 "$selfc" embed run -o drawn1.npy --threads 1
same drawn.npy drawn1.npy
gives 0 "$selfc" embed "$model" --data sides -o untrained.npy; says "untrained weights"

# Nearest neighbours see what was learnt.
gives 0 "$selfc" eval run --protocol knn --labels 0.2 -o knn.json; prints "knn: "; prints "4001 of 20000 labels"
gives 0 "$selfc" eval "$model" --protocol knn --labels 0.2 -o untrained.json
above "$(get knn.json accuracy)" "$(get untrained.json accuracy)"
is knn.json weights trained
is untrained.json weights untrained
is knn.json protocol knn
is knn.json function encode
is knn.json data glyphs
is knn.json labels 0.2
is knn.json labelled_samples 4001
is knn.json train_samples 20000
is knn.json test_samples 2000
is knn.json classes 10
is knn.json features 32
is knn.json split test
is knn.json labelled_broken 0
is knn.json test_broken 0
is knn.json k 80
is knn.json temperature 0.07
is knn.json seed 0
[ "$(get knn.json weights_crc32)" = "$(get untrained.json weights_crc32)" ] && fail "other weights, the same sum"
python3 - <<'END' || fail "the accuracies do not agree"
import json, sys
result = json.load(open("knn.json"))
classes = result["class_accuracy"]
sys.exit(not (len(classes) == 10 and abs(sum(classes) / 10 - result["macro_accuracy"]) < 1e-5 and min(classes) <= result["accuracy"] <= max(classes)))
END
gives 0 "$selfc" eval run --protocol knn --labels 0.2 --k 5 --temperature 1 -o five.json
# How many neighbours vote, unless it is said, depends on how many there are.
gives 0 "$selfc" eval run --protocol knn -o all.json; is all.json k 200
gives 0 "$selfc" eval run --protocol knn --labels 0.01 -o few.json; is few.json k 5
gives 0 "$selfc" eval run --protocol knn --labels 0.0001 -o ten.json; is ten.json k 5
gives 0 "$selfc" eval run --protocol knn --labels 0.0001 --k 1000 -o ten.json; is ten.json k "$(get ten.json labelled_samples)"
is five.json k 5
is five.json temperature 1

# The result of a RUN is in it; of a description, on stdout. Threads do not matter, the seed does.
gives 0 "$selfc" eval run --protocol linear --labels 0.05
[ -s run/result-linear-0.05.json ] || fail "no result in the RUN"
above "$(get run/result-linear-0.05.json accuracy)" 0.9
is run/result-linear-0.05.json labelled_samples 1001
is run/result-linear-0.05.json epochs 334
gives 0 "$selfc" eval run --data sides --protocol knn; is run/result-knn.json labels 1
gives 0 "$selfc" eval run --data sides --protocol knn --labels 0.5 --seed 7; is run/result-knn-0.5-seed7.json labelled_samples 46
is run/result-knn.json labels 1
for protocol in knn linear finetune; do
    short=(--protocol $protocol --labels 0.01)
    [ $protocol = knn ] || short+=(--epochs 20)
    for threads in 1 3; do
        gives 0 "$selfc" eval run "${short[@]}" --threads $threads -o $protocol$threads.json
    done
    same ${protocol}1.json ${protocol}3.json
    gives 0 "$selfc" eval run "${short[@]}" --seed 1 -o ${protocol}_seed.json
    is ${protocol}_seed.json seed 1
    is ${protocol}_seed.json weights_crc32 "$(get ${protocol}1.json weights_crc32)"
    cmp -s <(grep -v seed ${protocol}1.json) <(grep -v seed ${protocol}_seed.json) && fail "$protocol: the seed does not matter"
done
gives 0 "$selfc" eval "$model" --protocol knn --labels 0.0001
python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["labelled_samples"] != 10)' <out || fail "not one label of each class"
says "knn: "

# Fine-tuning begins where the RUN is, and learns more than from scratch in a step.
is finetune1.json weights_matched 6
is finetune1.json weights_of_function 6
is finetune1.json epochs 20
is finetune1.json batch 64
above "$(get finetune1.json accuracy)" 0.8
gives 0 "$selfc" eval run --data sides --protocol finetune --epochs 4 --batch 16 -o sides.json
is sides.json accuracy 1
is sides.json data "$(realpath sides)"
gives 0 "$selfc" eval run --data sides --protocol linear -o sides.json; is sides.json accuracy 1
gives 0 "$selfc" eval run --data sides --protocol knn --k 5 -o sides.json; is sides.json accuracy 1

# Equal data have equal sums wherever they lie; one other pixel or label is another sum.
sum() { gives 0 "$selfc" eval run --data "$1" --protocol knn --k 5 -o sum.json; get sum.json labelled_crc32; get sum.json test_crc32; }
sum sides >sides.sums
cp -r sides copied; cmp -s sides.sums <(sum copied) || fail "the same data have other sums"
printf '\1' | dd of=copied/test.npy bs=1 seek=5000 conv=notrunc status=none
paste sides.sums <(sum copied) | awk 'NR == 1 && $1 != $2 || NR == 2 && $1 == $2 { exit 1 }' || fail "other test data have the same sum"
cp -r sides relabelled; printf '\1' | dd of=relabelled/train_labels.npy bs=1 seek=128 conv=notrunc status=none
paste sides.sums <(sum relabelled) | awk 'NR == 1 && $1 == $2 || NR == 2 && $1 != $2 { exit 1 }' || fail "other labels have the same sum"

# Neighbours while the training goes on, of data sorted by class: those that are looked at are spread over all of it.
gives 0 "$selfc" train "$model" --data sorted --epochs 1 --set 'training.knn={"every": 1, "samples": 10, "k": 3}' --quiet --out sorted_run
above "$(grep -o '"knn_accuracy": [0-9.]*' sorted_run/metrics.jsonl | cut -d' ' -f2)" 0.8
grep -q 'sample 29: 1' sorted_run/report.html || fail "the map of features lacks the last sample"

# Its function sees the values that the training has, here bytes from 0 to 255.
cat >loud.json <<'END'
{
  "name": "loud",
  "modules": { "loud": { "inputs": ["x"], "layers": [ { "expr": "relu(x - 150)", "name": "heard" } ] } },
  "training": {
    "data": { "x": { "source": "npy", "path": "sides", "scale": 1 }, "y": { "source": "npy", "path": "sides", "field": "label" } },
    "layers": [ { "layer": "flatten", "input": "x" }, { "module": "loud" }, { "layer": "dense", "units": 2, "name": "logits" },
      { "expr": "mean(cross_entropy(logits, y))", "name": "loss" } ],
    "minimize": "loss", "batch": 30, "epochs": 1, "knn": { "every": 1, "k": 5 }
  },
  "functions": { "encode": { "inputs": { "x": { "shape": ["n", 784] } }, "layers": [ { "module": "loud" } ] } }
}
END
gives 0 "$selfc" train loud.json --quiet --out loud
grep -q '"knn_accuracy": 1[,}]' loud/metrics.jsonl || fail "neighbours see other values than the training: $(tail -1 loud/metrics.jsonl)"

# A function of bytes, of its own layers and with two results; pictures with batch norm; parts that judging has no use for.
cat >bytes.json <<'END'
{
  "name": "bytes", "let": { "classes": 2, "spread": 0.1 },
  "modules": {
    "net": { "inputs": ["x"], "layers": [ { "layer": "conv2d", "units": 4, "size": 3, "stride": 4 }, { "layer": "batch_norm" }, { "layer": "relu", "name": "map" } ] },
    "noise": { "inputs": ["x"], "layers": [ { "expr": "x + normal(x, deviation=spread)", "name": "noisy" } ] }
  },
  "training": {
    "data": { "x": { "source": "npy", "path": "sides", "shape": [28, 28] }, "y": { "source": "npy", "path": "sides", "field": "label" } },
    "layers": [ { "layer": "reshape", "input": "x", "shape": ["n", 28, 28, 1] }, { "module": "noise" }, { "module": "net" },
      { "layer": "global_pool" }, { "layer": "dense", "units": "classes", "name": "logits" }, { "expr": "mean(cross_entropy(logits, y))", "name": "loss" } ],
    "minimize": "loss", "batch": 30, "epochs": 1
  },
  "functions": {
    "look": { "inputs": { "x": { "shape": ["n", 28, 28, 1], "type": "u8" } },
      "layers": [ { "expr": "cast(x, 'f32') / 255", "name": "picture" }, { "module": "net" }, { "expr": "mean(map)", "name": "level" } ], "outputs": ["map", "level"] }
  }
}
END
for protocol in knn linear finetune; do
    epochs=(--epochs 10); [ $protocol = knn ] && epochs=()
    gives 0 "$selfc" eval bytes.json --protocol $protocol "${epochs[@]}" -o bytes_$protocol.json
    is bytes_$protocol.json features 196
    above "$(get bytes_$protocol.json accuracy)" 0.9
done
is bytes_finetune.json weights_matched 6

# Pictures of any size become what the function takes, and their files are named.
python3 - <<'END'
import os, struct, zlib
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def png(path, high, wide, left, right):
    rows = b"".join(b"\0" + bytes(left if x < wide // 2 else right for x in range(wide)) for y in range(high))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", wide, high, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
for split, count in [("train", 12), ("test", 4)]:
    for side, colours in [("left", (220, 20)), ("right", (20, 220))]:
        os.makedirs(f"photos/{split}/{side}")
        for i in range(count): png(f"photos/{split}/{side}/{i:02}.png", 20 + i, 40 - i, *colours)
END
gives 0 "$selfc" train "$source_dir/examples/simclr/mnist.json" --set let.width=4 --steps 3 --quiet --out simclr
gives 0 "$selfc" embed simclr --data photos -o photos.npy; prints "photos.npy: f32[24,32]"; prints "photos.files.txt"
[ "$(wc -l <photos.files.txt)" = 24 ] && head -1 photos.files.txt | grep -q 'left/00.png$' || fail "the files are not named"
gives 0 "$selfc" eval simclr --data photos --protocol knn --k 3 -o photos.json; is photos.json accuracy 1
gives 0 "$selfc" eval simclr --data photos --protocol finetune --epochs 3 --batch 8 -o photos.json; is photos.json weights_matched 35
cp -r photos partly && echo no >partly/train/left/03.png
echo no >partly/test/left/01.png
gives 0 "$selfc" eval simclr --data partly --protocol knn --k 3 -o partly.json; is partly.json labelled_broken 1; is partly.json test_broken 1
gives 0 "$selfc" embed simclr --data partly -o partly.npy
[ "$(sed -n 4p partly.files.txt)" = "$(sed -n 5p partly.files.txt)" ] || fail "a broken file is named, and not what stands in for it"
cp -r photos spoilt && for file in spoilt/train/left/*; do echo no >"$file"; done
gives 1 "$selfc" eval simclr --data spoilt --protocol finetune --epochs 1 --batch 8; says "more than 1 in 100"

# Mistakes.
cp -r sides huge && printf '\377\377\377\177' | dd of=huge/test_labels.npy bs=1 seek=128 conv=notrunc status=none
gives 1 "$selfc" train "$model" --data huge --epochs 1 --set 'training.knn={"every": 1}' --quiet --out huge_run
says "has the label 2147483647, but there are 1048576 classes"
gives 1 "$selfc" eval run --data plain --protocol knn; says "no labels"
gives 1 "$selfc" eval run --data lonely --protocol knn; says "lonely: there is no test data"
gives 1 "$selfc" embed run --data lonely --split test; says "there is no test data"
gives 1 "$selfc" embed run --split middle; says '"train" or "test"'
gives 1 "$selfc" eval run --protocol knm; says 'did you mean "knn"?'
gives 2 "$selfc" eval run; says "--protocol is missing"
gives 1 "$selfc" eval run --protocol knn --labels 1.5; says "must be above 0, up to 1"
gives 2 "$selfc" eval run --protocol knn --labels 0; says "a number above 0"
gives 1 "$selfc" eval run --protocol linear --k 3; says "belong to knn"
gives 1 "$selfc" eval run --protocol knn --epochs 3; says "trains nothing"
gives 1 "$selfc" eval run --protocol knn --function encod; says 'did you mean "encode"?'
gives 1 "$selfc" eval run --protocol knn --function train; says "losses, not features"
gives 1 "$selfc" eval "$source_dir/examples/gan/model.json" --protocol knn; says "takes z f32[n,16]"
gives 1 "$selfc" eval run --protocol knn -o nowhere/result.json; says "nowhere/result.json"
gives 1 "$selfc" embed run --data sides -o nowhere/features.npy; says "nowhere/features.npy"
[ -e nowhere ] && fail "something was written"
finish
