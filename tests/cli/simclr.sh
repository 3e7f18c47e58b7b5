#!/usr/bin/env bash
# SimCLR from pictures in a folder to neighbours: trained, killed between checkpoints and resumed with other numbers of
# threads to the same bits, judged, built into an object, and linked into the search program.
. "$(dirname "$0")/common.bash"
simclr=$source_dir/examples/simclr

for name in model mnist; do
    gives 0 "$selfc" check "$simclr/$name.json"; prints "is right"
done

# A folder of coloured pictures with a tale to tell: stripes along or across, of any two colours.
python3 - "$folder/stripes" <<'PYTHON'
import os, random, struct, sys, zlib
def png(path, rows):
    height, width = len(rows), len(rows[0]) // 3
    raw = b"".join(b"\0" + row for row in rows)
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
random.seed(5)
for split, count in (("train", 40), ("test", 12)):
    for kind in ("along", "across"):
        os.makedirs(f"{sys.argv[1]}/{split}/{kind}")
        for i in range(count):
            width, height = random.randint(30, 50), random.randint(30, 50)
            colour = [bytes(random.randint(0, 255) for _ in range(3)) for _ in range(2)]
            period, shift = random.randint(3, 6), random.randint(0, 9)
            rows = [b"".join(colour[((y if kind == "along" else x) + shift) // period % 2] for x in range(width))
                    for y in range(height)]
            png(f"{sys.argv[1]}/{split}/{kind}/{i:02}.png", rows)
PYTHON
data=(--data "$folder/stripes")
small=("${data[@]}" --set let.size=24 --set let.box=32 --set let.width=4 --set training.batch=16)

# The same bits, however often it is killed, and with how many threads it goes on: first killed before there is a
# checkpoint, then in the middle of an epoch, which has ten steps.
train=("$selfc" train "$simclr/album.json" "${small[@]}" --set training.batch=8 --steps 120 --quiet)
gives 0 "${train[@]}" --out "$folder/whole" --threads 2
python3 - "$folder/killed" "${train[@]}" <<'PYTHON' || fail "too few runs were killed between two checkpoints"
import os, re, subprocess, sys, time
run, train = sys.argv[1], sys.argv[2:]
def last(file, pattern):
    try: found = re.findall(pattern, open(os.path.join(run, file), "rb").read())
    except FileNotFoundError: found = []
    return int(found[-1]) if found else 0
written = lambda: last("metrics.jsonl", rb'"step": (\d+),.*\n')
saved = lambda: last("checkpoint.safetensors", rb'"step":"(\d+)"')
early = between = 0
for i, target in enumerate((1, 23, 42, 65, 84, 103)):
    child = subprocess.Popen(train + ["--resume"] * (i > 0) + ["--out", run, "--threads", str(i % 3 + 1)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and written() < target: time.sleep(0.001)
    child.kill()
    child.wait()
    early += 0 == saved() < written()
    between += 0 < saved() < written() < 120
print(early, "kills before the first checkpoint,", between, "between two")
sys.exit(early < 1 or between < 2)
PYTHON
gives 0 "${train[@]}" --resume --out "$folder/killed" --threads 3
same_tensors "$folder/whole/checkpoint.safetensors" "$folder/killed/checkpoint.safetensors"

# What it has learnt is told, and by whom.
gives 0 "$selfc" embed "$folder/whole" "${data[@]}" -o "$folder/features.npy"
[ -s "$folder/features.npy" ] && [ -s "$folder/features.labels.npy" ] && [ "$(wc -l <"$folder/features.files.txt")" = 80 ] ||
    fail "embed wrote not all of features, labels and names"
gives 0 "$selfc" eval "$folder/whole" "${data[@]}" --protocol knn --k 5 -o "$folder/result.json"
grep -q '"protocol":.*"knn"' "$folder/result.json" || fail "the result does not name its protocol"
for part in "Map of features" "Nearest neighbours"; do
    grep -qF "<h2>$part" "$folder/whole/report.html" || fail "the report has no $part"
done

# Neighbours during training see what eval sees: pictures of the encoder's size, without what is around them in a box. In
# boxes that hold all pictures as they are these are the same to the bit, and so they are if a box has the encoder's size.
knn='training.knn={"every":1}'
judge() { # judge NAME SIZE BOX STEPS
    local large=("${data[@]}" --set let.size=$2 --set let.box=$3 --set let.width=4 --set training.batch=16) during after
    gives 0 "$selfc" train "$simclr/album.json" "${large[@]}" --set "$knn" --steps $4 --quiet --out "$folder/$1"
    gives 0 "$selfc" eval "$folder/$1" "${data[@]}" --protocol knn -o "$folder/result.json"
    during=$(grep -o '"knn_accuracy": [0-9.]*' "$folder/$1/metrics.jsonl" | tail -n 1 | cut -d' ' -f2)
    after=$(grep -o '"accuracy":[[:space:]]*[0-9.]*' "$folder/result.json" | grep -o '[0-9.]*$')
    awk -v a="$during" -v b="$after" 'BEGIN { exit !(a != "" && (a - b) ^ 2 < 1e-8) }' ||
        fail "neighbours are $during during training, but $after afterwards, with a box of $3 for $2"
}
judge judged 24 64 120
judge judged_alike 50 50 10

# The report shows pictures of a photograph's own proportions, without what is around it in its box, by the names of their
# files; and of the views those of samples from everywhere, which stand sorted by class.
grep -q '<title>test sample [0-9]*: along: test/along/[0-9]*.png</title>' "$folder/judged/report.html" || fail "the map names no files"
grep -q '\.thumb{[^}]*pixelated' "$folder/judged/report.html" && fail "thumbnails of photographs are pixelated"
python3 - "$folder/judged/report.html" <<'PYTHON' || fail "the report's pictures are not what they should be"
import base64, re, struct, sys, zlib
def pixels(text):
    png, at, data = base64.b64decode(text), 8, b""
    width, height = struct.unpack(">II", png[16:24])
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IDAT": data += png[at + 8:at + 8 + size]
        at += size + 12
    raw, lines, above = zlib.decompress(data), [], bytes(3 * width)
    for y in range(height):
        filter, line = raw[y * (3 * width + 1)], bytearray(raw[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)])
        for i in range(3 * width):
            a, b, c = (line[i - 3], above[i], above[i - 3]) if i >= 3 else (0, above[i], 0)
            nearest = min((a, b, c), key=lambda value: abs(a + b - c - value))
            line[i] = (line[i] + (0, a, b, (a + b) // 2, nearest)[filter]) % 256
        lines.append([tuple(line[i:i + 3]) for i in range(0, 3 * width, 3)])
        above = line
    return lines
def cell(lines, top, left): return [line[left:left + 64] for line in lines[top:top + 64]]
def has_bar(picture): return not any(map(any, picture[-1])) or not any(any(line[-1]) for line in picture)
texts = re.findall("data:image/png;base64,([^\")]*)", open(sys.argv[1]).read())
thumbs, views = pixels(texts[0]), pixels(texts[1])
if len(thumbs) != 64 or len(thumbs[0]) != 25 * 64: sys.exit("thumbnails are not of 64x64 pixels")
bars = sum(has_bar(cell(thumbs, 0, 64 * i)) for i in range(24))
if bars: sys.exit(f"{bars} thumbnails have black bars")
samples = [cell(views, 2 + 66 * i, 2) for i in range((len(views) - 2) // 66)]
bars = sum(map(has_bar, samples))
if bars: sys.exit(f"{bars} samples beside their views have black bars")
is_along = [all(len(set(line[:30])) == 1 for line in sample[:9]) for sample in samples]
if is_along != [False] * (len(samples) // 2) + [True] * (len(samples) // 2): sys.exit(f"samples are of which class? {is_along}")
PYTHON

gives 0 "$selfc" preview "$simclr/album.json" "${small[@]}" -o "$folder/views.png"
[ -s "$folder/views.png" ] || fail "no views"

# The object alone, in a program that finds what looks like a picture: others than the picture itself.
gives 0 "$selfc" build "$folder/whole" -o "$folder/encoder.o" --function encode
[ -z "$(nm -u "$folder/encoder.o")" ] || fail "the encoder needs $(nm -u "$folder/encoder.o")"
gives 0 cc -O1 -I"$folder" "$simclr/search.c" "$folder/encoder.o" -ljpeg -lpng -lm -o "$folder/search"
wanted=$folder/stripes/test/along/03.png
cp "$wanted" "$folder/stripes/test/along/copy.png"
python3 - "$wanted" "$folder/stripes/test/across/again.png" <<'PYTHON'
import struct, sys, zlib
data = open(sys.argv[1], "rb").read()
at = data.index(b"IDAT")
length = struct.unpack(">I", data[at - 4:at])[0]
packed = b"IDAT" + zlib.compress(zlib.decompress(data[at + 4:at + 4 + length]), 0)  # the same pixels in another file
open(sys.argv[2], "wb").write(data[:at - 4] + struct.pack(">I", len(packed) - 4) + packed + struct.pack(">I", zlib.crc32(packed)))
PYTHON
gives 0 "$folder/search" "$(dirname "$wanted")/../along/03.png" "$folder/stripes/test" "$folder/page.html"
head -n 1 "$folder/out" | grep -q "^1\.000  .*/across/again.png" || fail "what is most like a picture is not the same one in another file: $(head -n 1 "$folder/out")"
grep -q "/along/03.png\|copy.png" "$folder/out" && fail "a picture is among its own neighbours"
[ "$(grep -c '<figure>' "$folder/page.html")" = 13 ] || fail "the page does not show what was found"
echo "not a picture" >"$folder/stripes/test/along/broken.png"
gives 0 "$folder/search" "$wanted" "$folder/stripes/test"; says "broken.png is no picture"
gives 1 "$folder/search" "$wanted" "$folder/none"; says "no other pictures"
gives 2 "$folder/search"; says "usage"
finish
