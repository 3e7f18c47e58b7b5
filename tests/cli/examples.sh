#!/usr/bin/env bash
# Every description of examples/ is right, on a little of the data that it is for; pretext tasks are learnt better than by
# chance, and the supervised contrastive loss brings digits of one class together.
. "$(dirname "$0")/common.bash"
cd "$folder" || exit 1

python3 - <<'PYTHON'
import json, os, struct, zlib
def npy(name, descr, shape, data):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(name, "wb").write(b"\x93NUMPY\1\0" + bytes([118, 0]) + header.encode() + data)
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
npy("pictures.npy", "|u1", (2, 224, 224, 3), bytes(2 * 224 * 224 * 3))
npy("labels.npy", "<i4", (2,), struct.pack("<2i", 1, 999))
for split in "train", "test":
    for kind in "cat", "dog":
        os.makedirs(f"photos/{split}/{kind}")
        for i in range(4):
            rows = b"".join(b"\0" + bytes((x * i + y) % 256 for x in range(120)) for y in range(30))
            open(f"photos/{split}/{kind}/{i}.png", "wb").write(
                b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 40, 30, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
lines = [f"the {colour} {animal} sees {number} of the old trees" for colour in ("red", "green", "blue", "black")
         for animal in ("cat", "dog", "bird") for number in ("two", "three", "seven", "nine")]
open("text.txt", "w").write("\n".join(lines * 12) + "\n")
open("labelled.txt", "w").write("".join(f"{i % 2} {line}\n" for i, line in enumerate(lines)))
with open("questions.jsonl", "w") as file:
    for line in lines:
        answer = line.split()[1]
        file.write(json.dumps({"question": "what colour is it?", "context": line, "answer": answer, "start": line.index(answer)}) + "\n")
PYTHON
for name in vocab.txt tokenizer.json; do
    gives 0 "$selfc" tokenize --train text.txt --size 120 -o $name
done
words=(--set "training.data.text.tokenizer=$folder/tokenizer.json" --set training.batch=4)
pieces=(--set "training.data.text.tokenizer=$folder/vocab.txt" --set training.batch=4)

count=0
for example in "$source_dir"/examples/*/*.json; do
    name=${example#"$source_dir/examples/"} data=()
    case $name in
    simclr/album.json | simclr/cifar10.json | simclr/imagenet.json) data=(--data photos --set training.batch=2) ;;
    resnet/resnet50.json) data=(--set training.batch=2) ;;
    bert/bert-base.json | bert/bert-small.json) data=(--data text.txt "${pieces[@]}") ;;
    bert/capitals.json) data=(--data text.txt "${words[@]}") ;;
    bert/gpt-mini.json) data=(--data text.txt --set training.batch=4) ;;
    bert/sst2.json) data=(--data labelled.txt "${words[@]}") ;;
    bert/qa.json) data=(--data questions.jsonl "${words[@]}") ;;
    esac
    gives 0 "$selfc" check "$example" "${data[@]}"
    prints " is right"
    count=$((count + 1))
done
[ $count -ge 23 ] || fail "only $count examples were found"

# learns NAME STEPS KEY LEAST: what the last line of a short training says of the test data.
learns() {
    gives 0 "$selfc" train "$source_dir/examples/$1.json" --set let.width=8 --set training.batch=32 --steps $2 --quiet --out learnt
    local reached=$(tail -n 1 learnt/metrics.jsonl | grep -o "\"test_$3\": [0-9.]*" | cut -d' ' -f2)
    awk -v a="$reached" -v b="$4" 'BEGIN { exit !(a != "" && a > b) }' || fail "$1: $3 is $reached, not above $4"
    rm -rf learnt
}
learns pretext/jigsaw 60 accurate 0.6 # by chance 1 of 4
learns pretext/rotation 120 accurate 0.5

judged() {
    gives 0 "$selfc" eval "$1" --set let.width=8 --protocol knn --labels 0.05 -o judged.json
    python3 -c 'import json; print(json.load(open("judged.json"))["accuracy"])'
}
supervised=$source_dir/examples/simclr/supervised.json
gives 0 "$selfc" train "$supervised" --set let.width=8 --set training.batch=32 --steps 150 --quiet --out digits
before=$(judged "$supervised") after=$(judged digits)
awk -v a="$before" -v b="$after" 'BEGIN { exit !(a > 0 && b > 0.75 && b > a + 0.3) }' || fail "neighbours are right for $before of the digits before, $after after training"
finish
