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
finish
