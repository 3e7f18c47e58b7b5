#!/usr/bin/env bash
# In functions, batch norm costs no pass over memory of its own: its factor is in the weights of the convolution before it,
# and its offset, like an activation and a residual sum, is added to what that has in registers. Weights and offsets are
# computed beforehand.
. "$(dirname "$0")/common.bash"

cat >"$folder/folded.json" <<'END'
{
  "name": "folded",
  "functions": {
    "alone": { "inputs": { "x": ["n", 9, 9, 5] }, "layers": [{ "layer": "batch_norm", "activation": "relu" }] },
    "after": {
      "inputs": { "x": ["n", 9, 9, 5] },
      "layers": [
        { "layer": "conv2d", "units": 24, "size": 3, "bias": false },
        { "layer": "batch_norm", "activation": "relu", "name": "a" },
        { "layer": "conv2d", "units": 24, "size": 3, "groups": 24, "bias": false },
        { "layer": "batch_norm", "activation": "silu" },
        { "layer": "conv2d", "units": 24, "size": 1 },
        { "layer": "batch_norm", "name": "b" },
        { "expr": "relu(a + b)" },
        { "layer": "global_pool" }
      ]
    }
  }
}
END
# passes_over_memory LAYER: kernels over the batch, neither products nor over windows, with a sub or mul of the layer.
passes_over_memory() {
    awk -v layer="$1" 'function end() { if (over_batch && norm && !work) print name }
        /^kernel/ { end(); name = $0; over_batch = norm = work = 0 }
        /^  grid/ { over_batch = /n/ }
        /= (window|matmul)/ { work = 1 }
        /= (sub|mul) / && $0 ~ layer { norm = 1 }
        END { end() }' "$folder/out"
}
gives 0 "$selfc" show "$folder/folded.json" --function alone --stage fused
[ "$(passes_over_memory 'layers.0' | wc -l)" = 1 ] || fail "batch norm alone is not seen as a pass over memory"
gives 0 "$selfc" show "$folder/folded.json" --function after --stage fused
found=$(passes_over_memory 'layers.[135]')
[ -z "$found" ] || fail "batch norm behind a convolution is a pass of its own: $found"
[ "$(grep -c '^kernel.* contract' "$folder/out")" = 2 ] || fail "two convolutions of several channels are not two products"
[ "$(grep -c 'in registers: .*add' "$folder/out")" = 2 ] || fail "batch norm is not behind the products"
grep 'in registers: .*\(sub\|mul add\)' "$folder/out" && fail "batch norm's factor is not in the weights"

# All of a residual network.
gives 0 "$selfc" show "$source_dir/examples/resnet/model.json" --function classify --stage fused
grep -q 'in registers: add .*add max' "$folder/out" || fail "a residual sum is not behind a product"
found=$(passes_over_memory conv_norm.layers.1)
[ -z "$found" ] || fail "batch norm in a residual network is a pass of its own: $found"
[ "$(grep -c '= sqrt.*conv_norm.layers.1' "$folder/out")" -gt 2 ] || fail "batch norm is not where it was looked for"
finish
