#!/usr/bin/env bash
# What `selfc profile` says, in each of its formats, and where other tools find the layers' names.
. "$(dirname "$0")/common.bash"
quick=(--seconds 0.2 --threads 2)

gives 0 "$selfc" profile "$model" "${quick[@]}"
for part in "train, batch 128, 2 threads" "measured peak" "products alone" "forward products" "backward products" \
    "encode.h forward matmul" "decode.logits backward matmul" "reconstruction" "serves "; do
    prints "$part"
done
gives 0 "$selfc" profile "$model" --seconds 0.1 --function generate --batch 7 --format text
prints "generate, batch 7"
prints "decode.logits forward"
gives 1 "$selfc" profile "$model" --format xml; says "text, json or html"
gives 1 "$selfc" profile "$model" --batch 7; says "--set training.batch=7"

# JSON: it parses, and its sums are those of its parts.
gives 0 "$selfc" profile "$model" "${quick[@]}" --format json
cp "$folder/out" "$folder/train.json"
gives 0 "$selfc" profile "$source_dir/examples/convnet/model.json" --seconds 0.1 --function classify --batch 5 --threads 1 --format json
cp "$folder/out" "$folder/other.json"
if command -v python3 >/dev/null; then
    python3 - "$folder/train.json" "$folder/other.json" <<'END' || fail "the JSON is not as it should be"
import json, sys
wanted = """name operations kind layers parts phases calls microseconds share_of_time flop bytes share_of_limit limit reason
    tail_waste imbalance wait_microseconds spills code_bytes tile grid pieces""".split()
for path in sys.argv[1:]:
    profile = json.load(open(path))
    kernels = profile["kernels"]
    for kernel in kernels:
        missing = [key for key in wanted if key not in kernel]
        assert not missing, missing
        assert kernel["calls"] == len(kernel["phases"]) > 0 and kernel["reason"]
        assert kernel["limit"] in ("arithmetic", "memory") and kernel["kind"] in ("product", "map")
        assert (kernel["tile"] is not None) == (kernel["kind"] == "product")
        assert 0 <= kernel["tail_waste"] < 1 and 0 <= kernel["imbalance"] < 1 and kernel["wait_microseconds"] >= 0
        assert 20 < kernel["code_bytes"] < 1e6 and kernel["spills"] >= 0 and kernel["pieces"] > 0, kernel
    times = [kernel["microseconds"] for kernel in kernels]
    assert times == sorted(times, reverse=True)
    for key in ("flop", "bytes"):
        for parts in (kernels, profile["kinds"]):
            assert abs(sum(part[key] for part in parts) - profile[key]) <= len(parts), key
    for parts in (kernels, profile["kinds"]):
        assert abs(sum(part["microseconds"] for part in parts) - profile["kernel_microseconds"]) < 0.01 * len(parts)
    products = sum(kernel["flop"] for kernel in kernels if kernel["kind"] == "product")
    assert abs(products - profile["product_flop"]) <= len(kernels) and products > 0
    assert 0 < profile["products_share_of_peak"] <= profile["share_of_peak"]

train, other = (json.load(open(path)) for path in sys.argv[1:])
layers = [layer for kernel in train["kernels"] for layer in kernel["layers"]]
assert "encode.h" in layers and "decode.logits" in layers and not any("layers[" in layer for layer in layers)
assert train["threads"] == 2 and train["function"] == "train" and train["batch_samples"] == 128
assert other["threads"] == 1 and other["batch_samples"] == 5 and other["wait_microseconds"] < other["run_microseconds"]
# One thread alone is never uneven; dense layers of 2 columns waste most of a vector.
assert all(kernel["imbalance"] == 0 for kernel in other["kernels"])
lanes = train["vector_bytes"] // 4
mean = [kernel for kernel in train["kernels"] if "encode.mean" in kernel["layers"] and kernel["kind"] == "product"
        and kernel["grid"][-1]["elements"] == 2]
assert mean and all(abs(kernel["tail_waste"] - (1 - 2 / lanes)) < 1e-4 for kernel in mean), (lanes, mean)
# 2 m n k of the first product, forward.
assert any(kernel["flop"] == 2 * 128 * 784 * 256 and kernel["parts"] == ["forward"] for kernel in train["kernels"])
END
fi

# HTML: whole, and nothing in it asks for a network.
gives 0 "$selfc" profile "$model" "${quick[@]}" --format html
for part in "<!doctype html>" "prefers-color-scheme:dark" "width=device-width" "encode.h forward matmul" 'class=bar' "</html>"; do
    prints "$part"
done
grep -qiE 'https?:|src=|href=|@import|url\(' "$folder/out" && fail "the page refers to something outside of it"
[ "$(grep -c '<details' "$folder/out")" = "$(grep -c '</details>' "$folder/out")" ] || fail "the page's details do not close"

# Names for perf and gdb, only where they are asked for.
map() { # runs it with the given environment; the map is in $folder/map, empty if there is none
    env "$@" "$selfc" run "$model" generate --input z="$folder/z.npy" --output image="$folder/image.npy" 2>/dev/null &
    local process=$!
    wait $process || fail "run fails with $*"
    cat "/tmp/perf-$process.map" >"$folder/map" 2>/dev/null
    rm -f "/tmp/perf-$process.map"
}
{ printf '\x93NUMPY\x01\x00\x46\x00'; printf '%-69s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }"; head -c 8 /dev/zero; } >"$folder/z.npy"
map SELFC_PERF=1
grep -qE '^[0-9a-f]+ [1-9a-f][0-9a-f]* decode.logits forward matmul' "$folder/map" || fail "perf's map has no layers: $(head -3 "$folder/map")"
cp "$folder/image.npy" "$folder/named.npy"
map -u SELFC_PERF
[ -s "$folder/map" ] && fail "a map of the code that nobody asked for"
same "$folder/named.npy" "$folder/image.npy"

# gdb stops in a layer, where there is a gdb that may.
if command -v gdb >/dev/null && gdb -q -batch -ex run --args true 2>&1 | grep -q 'exited normally'; then
    gives 0 env SELFC_PERF=1 ASAN_OPTIONS=detect_leaks=0 gdb -q -batch -ex 'set breakpoint pending on' \
        -ex "break 'encode.h forward matmul_mul_add_max'" -ex run -ex 'bt 1' -ex 'info proc' -ex 'kill' --args \
        "$selfc" profile "$model" --seconds 0.1 --threads 1
    prints "in encode.h forward matmul_mul_add_max"
    rm -f "/tmp/perf-$(sed -n 's/^process //p' "$folder/out").map"
fi
finish
