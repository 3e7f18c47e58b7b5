#!/usr/bin/env bash
# What `selfc tune` measures is remembered, used by the next command, and changes no bit; a file that is damaged in any
# way costs a note at most.
. "$(dirname "$0")/common.bash"
small=(--set training.batch=32 --set let.hidden=48)
cache=(--cache "$folder/cache")

gives 1 "$selfc" tune "$folder/none.json"; says "none.json"
gives 2 "$selfc" tune "$model" --no-cache; says "no option --no-cache"
gives 0 "$selfc" tune "$model" "${small[@]}" "${cache[@]}" --seconds 3 --threads 2
prints "kernel 1 of "; prints "products and convolutions of a training step: "; prints "remembered in $folder/cache/tuned-"
grep -q "$(printf '\033')" "$folder/err" && fail "a pipe gets what is meant for terminals"
file=$(echo "$folder"/cache/tuned-*.txt)
[ -s "$file" ] || fail "nothing is remembered in $folder/cache"
lines=$(($(wc -l <"$file") - 1))
[ "$lines" = "$(grep -c '^kernel' "$folder/out")" ] || fail "$lines lines in the file are not those that were printed"

# The same training, whether another choice is remembered for every kernel or none: a tile of one row.
sed -E '2,$ s/tile [0-9]+x/tile 1x/' "$file" >"$folder/one_row" && cp "$folder/one_row" "$file"
show() { gives 0 "$selfc" show "$model" "${small[@]}" "$@"; }
show "${cache[@]}"; prints "tile 1 rows"; cp "$folder/out" "$folder/tuned"
show "${cache[@]}" --untuned; cp "$folder/out" "$folder/untuned"
cmp -s "$folder/tuned" "$folder/untuned" && fail "--untuned changes nothing"
show --no-cache; same "$folder/out" "$folder/untuned"
show "${cache[@]}" --cpu x86-64-v2; prints "tile"; grep -q "tile 1 rows" "$folder/out" && fail "another processor's schedules are used"
train() { gives 0 "$selfc" train "$model" "${small[@]}" --steps 20 --quiet "$@"; }
train "${cache[@]}" --threads 1 --out "$folder/a"
train "${cache[@]}" --threads 3 --untuned --out "$folder/b"
train --no-cache --out "$folder/c"
same_tensors "$folder/a/checkpoint.safetensors" "$folder/b/checkpoint.safetensors"
same_tensors "$folder/a/checkpoint.safetensors" "$folder/c/checkpoint.safetensors"

# Tuning again replaces lines and keeps those of other kernels.
gives 0 "$selfc" tune "$model" "${small[@]}" "${cache[@]}" --seconds 0.1
[ $(($(wc -l <"$file") - 1)) = "$lines" ] || fail "kernels were forgotten or stand there twice"
gives 0 "$selfc" tune "$model" --set training.batch=8 --set let.hidden=24 "${cache[@]}" --seconds 0.1; prints "the time is up"
[ $(($(wc -l <"$file") - 1)) -gt "$lines" ] || fail "another model's kernels are not added"

# Damage: a foreign line, numbers that do not fit, cut off, something else altogether, no file at all.
check() { gives 0 "$selfc" show "$model" "${small[@]}" "${cache[@]}"; }
{ cat "$folder/one_row"; echo "and a word"; } >"$file"; check; says "1 line cannot be read"; same "$folder/out" "$folder/tuned"
for wrong in 's/tile 1x/tile 77x/' 's/tile 1x/tile 0x/' 's/depth [0-9]+/depth 999999999999/' 's/rows [0-9]+/rows -5/' \
    's/blocks [0-9,]+/blocks 1,1,1,1,1,1/' 's/blocks [0-9,]+/blocks 0,0/' 's/,[0-9]+ ;/,99999999999999999999999 ;/' 's/pack .. /pack -- /'; do
    sed -E "2,\$ $wrong" "$folder/one_row" >"$file"
    check
    train "${cache[@]}" --out "$folder/d"
    same_tensors "$folder/a/checkpoint.safetensors" "$folder/d/checkpoint.safetensors"
    rm -r "$folder/d"
done
head -c 100 "$folder/one_row" >"$file"; check; says "cannot be read"
head -c 3000 /dev/urandom >"$file"; check; says "no schedules that this selfc can read"; same "$folder/out" "$folder/untuned"
: >"$file"; check; says "no schedules that this selfc can read"
rm "$file"; mkdir "$file"; check; same "$folder/out" "$folder/untuned"
gives 1 "$selfc" tune "$model" "${small[@]}" "${cache[@]}" --seconds 0.1; says "tuned-"
finish
