#!/usr/bin/env bash
# What `selfc preview` draws: samples beside their views, the same for any number of threads, others for another seed.
. "$(dirname "$0")/common.bash"

cat >"$folder/model.json" <<'END'
{
  "name": "m",
  "training": {
    "data": { "x": { "source": "glyphs" } },
    "layers": [
      { "layer": "random_resized_crop", "input": "x", "size": [20, 24], "name": "cropped" },
      { "layer": "random_flip", "name": "first" },
      { "layer": "noise", "input": "x", "clip": false, "name": "second" },
      { "expr": "uniform(x)", "name": "unread" },
      { "layer": "dense", "input": "flatten(first)", "units": 2, "name": "a" },
      { "layer": "dense", "input": "flatten(second)", "units": 2, "name": "b" },
      { "expr": "mean((a - b)^2)", "name": "loss" }
    ],
    "minimize": "loss"
  }
}
END
draw() { gives 0 "$selfc" preview "$folder/model.json" -o "$folder/$1.png" --batch 3 --no-cache "${@:2}"; }
size() { od -An -tu4 --endian=big -j16 -N8 "$1" | tr -s ' '; }

# The chain's last picture stands for all of it; "unread" depends on no data, and x is the original.
draw one --threads 1
prints "3 samples, a row each"
prints "column 1: x, 28x28"
prints "column 2: first, 20x24"
prints "column 3: second, 28x28, from -"
grep -q "column 4" "$folder/out" && fail "there are more than three columns"
[ "$(size "$folder/one.png")" = " 268 268" ] || fail "the page is$(size "$folder/one.png") pixels, not 268 by 268: 28 times 3 a cell"
draw two --threads 2
same "$folder/one.png" "$folder/two.png"
draw other --seed 5
cmp -s "$folder/one.png" "$folder/other.png" && fail "another seed draws the same views"

# Pixels are enlarged no further than a page may be large.
gives 0 "$selfc" preview "$folder/model.json" -o "$folder/long.png" --batch 300 --no-cache
[ "$(size "$folder/long.png")" = " 100 9604" ] || fail "the page is$(size "$folder/long.png") pixels, not 100 by 9604"

# A view that nothing learns from is shown if it is the last of its chain.
gives 0 "$selfc" preview "$source_dir/examples/pretext/rotation.json" -o "$folder/turns.png" --batch 2 --set training.batch=8
prints "column 5: pictures, part 4, 28x28"

# Samples come from everywhere in the data: of nine, sorted by class, every third. So it is with pictures and with arrays.
python3 - "$folder" <<'END'
import os, struct, sys, zlib
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def png(path, grey):
    head = chunk(b"IHDR", struct.pack(">2I5B", 28, 28, 8, 0, 0, 0, 0))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress((b"\0" + bytes([grey]) * 28) * 28)) + chunk(b"IEND", b""))
def npy(path, greys):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(greys)}, 28, 28), }}".ljust(117) + "\n"
    open(path, "wb").write(b"\x93NUMPY\1\0" + bytes([118, 0]) + text.encode() + b"".join(bytes([grey]) * 784 for grey in greys))
for name, greys in [("all", range(20, 200, 20)), ("some", range(20, 200, 60))]:
    os.makedirs(f"{sys.argv[1]}/{name}"), os.makedirs(f"{sys.argv[1]}/{name}.arrays")
    for grey in greys: png(f"{sys.argv[1]}/{name}/{grey:03}.png", grey)
    npy(f"{sys.argv[1]}/{name}.arrays/train.npy", list(greys))
END
for data in all some all.arrays some.arrays; do
    draw $data --data "$folder/$data" --set training.data.x.size=28 --set training.data.x.channels=1
done
same "$folder/all.png" "$folder/some.png"
same "$folder/all.arrays.png" "$folder/some.arrays.png"
same "$folder/all.png" "$folder/all.arrays.png"

gives 1 "$selfc" preview "$model" -o "$folder/none.png"; says "there is nothing to preview"
gives 2 "$selfc" preview "$model"; says "preview wants one -o FILE"
gives 1 "$selfc" preview "$folder/model.json" -o "$folder/none.png" --batch 4000; says "--batch asks for fewer rows"
[ -e "$folder/none.png" ] && fail "a file was written all the same"
finish
