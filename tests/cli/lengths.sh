#!/usr/bin/env bash
# Functions for several lengths: a copy for each, found under the function's name and built with all the others.
. "$(dirname "$0")/common.bash"

cat >"$folder/model.json" <<'END'
{
  "name": "m",
  "functions": {
    "middle": { "lengths": [4, 8, 16], "inputs": { "x": ["n", "length"] }, "layers": [{ "expr": "sum(x, axis=1) / length", "name": "y" }] },
    "other": { "inputs": { "x": ["n", 3] }, "layers": [{ "expr": "2 * x", "name": "y" }] }
  }
}
END
gives 0 "$selfc" check "$folder/model.json"
prints "middle_4: x f32[n,4]"
prints "middle_16: x f32[n,16]"
gives 0 "$selfc" show "$folder/model.json" --function middle --stage graph
prints "f32[n,16]"
gives 0 "$selfc" build "$folder/model.json" -o "$folder/middle.o" --function middle
for length in 4 8 16; do
    grep -q "int m_middle_$length(" "$folder/middle.h" || fail "there is no m_middle_$length"
done
! grep -q m_other "$folder/middle.h" || fail "a function was built that nobody asked for"

# Texts go to the smallest length that holds them, where numbers of a row may be floats, too.
cat >"$folder/texts.json" <<'END'
{
  "name": "m",
  "functions": {
    "encode": {
      "lengths": [4, 8],
      "inputs": { "text": { "shape": ["n", "length"], "type": "i32" }, "word": ["n", "length"] },
      "layers": [{ "expr": "sum(word + cast(0 * text, 'f32'), axis=1)", "name": "places" }]
    }
  }
}
END
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' a b c d >"$folder/vocab.txt"
printf 'a b\na b c d\n' >"$folder/lines.txt"
gives 0 "$selfc" embed "$folder/texts.json" --data "$folder/lines.txt" --no-cache -o "$folder/places.npy"
places=$(python3 -c "import struct, sys; print(struct.unpack('<2f', open(sys.argv[1], 'rb').read()[-8:]))" "$folder/places.npy")
[ "$places" = "(-1.0, 2.0)" ] || fail "places of words are $places"
finish
