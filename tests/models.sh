#!/usr/bin/env bash
# Every description of tests/models/ and examples/ is right and can be trained: tests/models.sh SELFC
#
# A few steps must leave a finite loss that has come down from the first one.
set -u
selfc=$1
root=$(dirname "$0")/..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 count=0
loss_of() { sed -n 's/.*"loss": \(-\{0,1\}[0-9.e+-]*\).*/\1/p'; }
for model in "$root"/tests/models/*.json "$root"/examples/*/model.json; do
    name=$(basename "$(dirname "$model")")/$(basename "$model" .json) run=$work/$count
    count=$((count + 1))
    if ! "$selfc" check "$model" >"$work/said" 2>&1 || ! "$selfc" train "$model" --steps 1 --out "$run-first" >"$work/said" 2>&1 ||
        ! "$selfc" train "$model" --steps 40 --out "$run" >"$work/said" 2>&1; then
        echo "FAIL $name"
        cat "$work/said"
        failed=$((failed + 1))
        continue
    fi
    first=$(head -n 1 "$run-first/metrics.jsonl" | loss_of) last=$(tail -n 1 "$run/metrics.jsonl" | loss_of)
    echo "$name: loss $first, later $last"
    if ! awk -v a="$first" -v b="$last" 'BEGIN { exit !(a != "" && b != "" && b + 0 < a + 0) }'; then
        echo "FAIL $name: the loss does not come down"
        failed=$((failed + 1))
    fi
done
[ $failed = 0 ] && [ $count -gt 0 ]
