#!/usr/bin/env bash
# Training on pictures: the same bits from a folder, an archive, a list, the cache and a built program, for any number of
# threads, resumed or not; broken files are named and skipped, and too many of them stop the run.
. "$(dirname "$0")/common.bash"
cd "$folder" || exit 1
labelled=labelled.json
cat >labelled.json <<'END'
{
  "name": "labelled",
  "training": {
    "data": {
      "x": { "source": "pictures", "path": "photos", "size": [8, 10], "flatten": true },
      "size": { "source": "pictures", "path": "photos", "size": [8, 10], "field": "size" },
      "label": { "source": "pictures", "path": "photos", "size": [8, 10], "field": "label" }
    },
    "layers": [
      { "layer": "dense", "input": "x", "units": 3, "name": "logits" },
      { "expr": "mean(cross_entropy(logits, label))", "name": "loss" },
      { "expr": "accuracy(logits, label)", "name": "accurate" },
      { "expr": "mean(1.0 * size)", "name": "side" }
    ],
    "minimize": "loss",
    "report": ["accurate", "side"],
    "batch": 8,
    "epochs": 3
  }
}
END

cat >pictures.py <<'END'
import os, struct, sys, zlib
def chunk(name, data): return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
def png(path, height, width, seed):
    rows = b"".join(b"\0" + bytes((seed * 53 + y * 31 + x * 7) % 256 for x in range(3 * width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
root, count = sys.argv[1], int(sys.argv[2])
for i in range(count):
    png(f"{root}/train/{'abc'[i % 3]}/{i:03}.png", 4 + i % 9, 5 + i % 7, i)
for i in range(10):
    png(f"{root}/test/{'abc'[i % 3]}/{i:03}.png", 6, 7, 100 + i)
END
python3 pictures.py photos 60

gives 0 "$selfc" check "$labelled"; prints "60 samples"; prints "x u8[8,8,10,3]"; prints "size i32[8,2]"
gives 0 "$selfc" train "$labelled" --threads 1 --out one
for key in '"data_wait": ' '"test_accurate": ' '"side": '; do
    tail -1 one/metrics.jsonl | grep -q "$key" || fail "the last line of the metrics has no $key"
done
gives 0 "$selfc" train "$labelled" --threads 3 --out three
same_tensors one/checkpoint.safetensors three/checkpoint.safetensors
gives 0 "$selfc" train "$labelled" --steps 10 --out parts
gives 0 "$selfc" train "$labelled" --resume --out parts
same_tensors one/checkpoint.safetensors parts/checkpoint.safetensors

# The same pictures from elsewhere. --data recognises what is there, and the RUN says so.
tar -czf photos.tar.gz photos
(cd photos && find train -name '*.png' | LC_ALL=C sort | sed 's|^\(train/\(.\)/.*\)|\1\t\2|' >train.txt)
(cd photos && find test -name '*.png' | LC_ALL=C sort | sed 's|^\(test/\(.\)/.*\)|\1\t\2|' >test.txt)
for data in photos/ photos.tar.gz photos/train.txt; do
    gives 0 "$selfc" train "$labelled" --data $data --out "from-${data//\//-}"
    same_tensors one/checkpoint.safetensors "from-${data//\//-}/checkpoint.safetensors"
    grep -q '"pictures"' "from-${data//\//-}/model.json" || fail "the RUN does not say that its data are pictures"
done
rm photos/*.txt

# What does not fit into memory goes to the cache, and is used again.
for turn in first second; do
    gives 0 env SELFC_DATA_MEMORY=1000 "$selfc" train "$labelled" --cache cache --out cached-$turn
    same_tensors one/checkpoint.safetensors cached-$turn/checkpoint.safetensors
    [ "$(find cache -name 'pictures-*' | wc -l)" = 2 ] || fail "the cache has not one file for each split: $(ls cache)"
done
gives 0 env SELFC_DATA_MEMORY=1000 XDG_CACHE_HOME="$folder/home" "$selfc" train "$labelled" --no-cache --out uncached
same_tensors one/checkpoint.safetensors uncached/checkpoint.safetensors
[ -z "$(find home -name 'pictures-*')" ] || fail "--no-cache leaves decoded pictures in the cache"

# A built program reads pictures, too.
gives 0 "$selfc" build "$labelled" -o trainer
gives 0 ./trainer --out built
same_tensors one/checkpoint.safetensors built/checkpoint.safetensors
gives 0 ./trainer --data photos.tar.gz --out built-packed
same_tensors one/checkpoint.safetensors built-packed/checkpoint.safetensors

# Broken files.
cp -r photos broken
printf 'not a picture' >broken/train/b/001.png
head -c 60 photos/train/c/002.png >broken/train/c/002.png
gives 0 "$selfc" train "$labelled" --data broken --out broken-run
says "selfc: broken/train/b/001.png: not a picture that can be read (neither PNG nor JPEG); skipped"
says "broken/train/c/002.png: not a picture"
[ "$(grep -c 'skipped' err)" = 2 ] || fail "a broken file is not said once: $(cat err)"
gives 0 "$selfc" train "$labelled" --data broken --threads 3 --out broken-again
same_tensors broken-run/checkpoint.safetensors broken-again/checkpoint.safetensors
for i in 003 004 005 006 007 008 009 010 011 012; do printf x | tee broken/train/?/$i.png >/dev/null; done
gives 1 "$selfc" train "$labelled" --data broken --out stopped; says "more than 1 in 100"

# An album of a phone: what cannot be read, and what stands beside a folder called train, is told once; a class that the
# training does not have matters only where labels are asked for.
cp -r photos album
mkdir album/beach album/test/beach && cp photos/train/a/*.png album/beach && cp photos/train/a/000.png album/test/beach
for i in {1..40}; do printf 'ftypheic' >album/train/a/$i.HEIC; done
cat >unlabelled.json <<'END'
{
  "name": "unlabelled",
  "training": {
    "data": { "x": { "source": "pictures", "path": "photos", "size": [8, 10], "flatten": true } },
    "layers": [{ "layer": "dense", "input": "x", "units": 3, "name": "y" }, { "expr": "mean((y - 1)^2)", "name": "loss" }],
    "minimize": "loss",
    "batch": 8
  },
  "functions": {
    "encode": {
      "inputs": { "picture": { "shape": ["n", 8, 10, 3], "type": "u8" } },
      "layers": [{ "layer": "dense", "input": "flatten(picture / 255)", "units": 3, "name": "y" }]
    }
  }
}
END
gives 0 "$selfc" train unlabelled.json --data album --steps 3 --quiet --out album-run
says "note: album: files that cannot be read: 40 .heic; convert them to PNG or JPEG"
says "left out: 20; if"
[ "$(grep -c note: err)" = 2 ] || fail "the album is not told of in two lines: $(cat err)"
gives 0 "$selfc" embed album-run --data album --split test -o album.npy; prints "f32[11,3]"
[ -e album.labels.npy ] && fail "labels out of nowhere"
gives 1 "$selfc" eval album-run --data album --protocol knn; says 'the class "beach" is not among the 3'
gives 1 "$selfc" train "$labelled" --data album --out none; says 'the class "beach" is not among the 3'

# What cannot be.
mkdir flat && cp photos/train/a/*.png flat
gives 1 "$selfc" check "$labelled" --data flat; says '"label": its pictures stand in no folders that could be their classes'
gives 1 "$selfc" train "$labelled" --set training.layers[0].units=2 --out two; says "label 2, but there are 2 classes"
mkdir empty && gives 1 "$selfc" check "$labelled" --data empty; says "nor pictures"
head -c 300 photos.tar.gz >half.tar.gz
gives 1 "$selfc" check "$labelled" --data half.tar.gz; says "half.tar.gz"

# Digits in colour, in the same places.
colour=(--set training.data.x.source=glyphs --set training.data.x.channels=3 --set training.data.label.source=glyphs)
sed -e 's/"path": "photos", //; /"size": {/d; s/, "size": \[8, 10\]//; /"side"/d; s/\["accurate", "side"\]/"accurate"/; s/"units": 3/"units": 10/' \
    -e 's|"accurate" },|"accurate" }|' labelled.json >digits.json
gives 0 "$selfc" check digits.json "${colour[@]}"; prints "x u8[8,28,28,3]"
gives 0 "$selfc" train digits.json "${colour[@]}" --steps 5 --out digits
gives 1 "$selfc" check digits.json "${colour[@]}" --set training.data.x.size=32; says "asks for [32, 32]"
finish
