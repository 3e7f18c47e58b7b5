#!/usr/bin/env bash
# --memory: a training step within a limit learns the same, bit for bit; a limit that is too small names one that works.
. "$(dirname "$0")/common.bash"
resnet=$source_dir/examples/resnet/model.json
small=(--set training.batch=32)
of_all() { sed -n 's/^  within --memory: \(.*\) in all of .*/\1/p' "$folder/out"; }

for size in "" lots -1 0 2XB 1e40 0.1B; do gives 2 "$selfc" check "$resnet" "--memory=$size"; says "--memory"; done
gives 2 "$selfc" run "$resnet" classify --memory 1GB; says "run has no option --memory"
for size in 2GB 2gb "2 GiB" 1.5GB 3000000000; do
    gives 0 "$selfc" check "$resnet" "${small[@]}" --memory "$size"; prints "without doing anything again"
done

gives 1 "$selfc" check "$resnet" "${small[@]}" --memory 1MB
says "1.00 MB are too little"; says "a smaller training.batch needs less"
least=$(sed -n 's/.*training needs \([^,]*\), .*/\1/p' "$folder/err")
for command in show profile "train --out $folder/none" "build -o $folder/none"; do
    gives 1 "$selfc" ${command%% *} "$resnet" $(echo "$command" | cut -s -d ' ' -f 2-) "${small[@]}" --memory 1MB
    says "training needs $least"
done
[ -e "$folder/none" ] && fail "something is left of what was refused"
gives 0 "$selfc" check "$resnet" "${small[@]}" --memory "$least"; prints "calls are done again"
gives 0 "$selfc" check "$resnet" "${small[@]}" --memory 1GB; all=$(of_all)
[ -n "$all" ] && [ "$all" != "$least" ] || fail "recomputation saves nothing: $all, $least"
gives 0 "$selfc" show "$resnet" "${small[@]}" --memory "$least" --stage recompute; prints '.conv (conv_norm.layers[0]) again"'
gives 0 "$selfc" profile "$resnet" "${small[@]}" --memory "$least" --seconds 0.1; prints "again"

# The same learning. (Fewer threads need less scratch.)
train() { gives 0 "$selfc" train "$resnet" "${small[@]}" --steps 8 --quiet "$@"; }
train --out "$folder/a"
train --out "$folder/b" --memory "$least"
train --out "$folder/c" --memory "$least" --threads 1 --cache "$folder/cache"
same_tensors "$folder/a/checkpoint.safetensors" "$folder/b/checkpoint.safetensors"
same_tensors "$folder/a/checkpoint.safetensors" "$folder/c/checkpoint.safetensors"
gives 0 "$selfc" train "$folder/b" --resume --steps 16 --quiet
gives 0 "$selfc" train "$folder/c" --resume --steps 16 --quiet --memory "$least"
same_tensors "$folder/b/checkpoint.safetensors" "$folder/c/checkpoint.safetensors"
gives 0 "$selfc" build "$resnet" "${small[@]}" --memory "$least" -o "$folder/trainer"
gives 0 "$folder/trainer" --steps 8 --quiet --out "$folder/d"
same_tensors "$folder/a/checkpoint.safetensors" "$folder/d/checkpoint.safetensors"

# So it does where random numbers are made again, and with two optimisers.
for name in contrastive gan; do
    noisy=$source_dir/examples/$name/model.json
    gives 1 "$selfc" check "$noisy" --memory 1KB
    least=$(sed -n 's/.*training needs \([^,]*\), .*/\1/p' "$folder/err")
    gives 0 "$selfc" show "$noisy" --memory "$least"
    grep -q ' again"' "$folder/out" || fail "$name does nothing again"
    [ $name = gan ] || grep -q 'random.* again"' "$folder/out" || fail "$name makes no random numbers again"
    gives 0 "$selfc" train "$noisy" --steps 10 --quiet --out "$folder/$name"
    gives 0 "$selfc" train "$noisy" --steps 10 --quiet --out "$folder/$name-again" --memory "$least"
    same_tensors "$folder/$name/checkpoint.safetensors" "$folder/$name-again/checkpoint.safetensors"
done

# A look at health needs all that the backward pass does, so it is done within the limit, too, and changes nothing.
noisy=$source_dir/examples/contrastive/model.json
large=(--set training.batch=512) watched=(--set 'training.health=["a", "b"]')
gives 1 "$selfc" check "$noisy" "${large[@]}" "${watched[@]}" --memory 1KB
least=$(sed -n 's/.*training needs \([^,]*\), .*/\1/p' "$folder/err")
gives 0 "$selfc" train "$noisy" "${large[@]}" --steps 4 --quiet --out "$folder/unwatched"
gives 0 "$selfc" train "$noisy" "${large[@]}" "${watched[@]}" --steps 4 --quiet --out "$folder/watched" \
    --memory "$least" --dump plan
awk '$1 == "program" { health = /health/ } health' "$folder/err" >"$folder/health"
grep -q ' again"' "$folder/health" || fail "health does nothing again"
grep -q '"effective_rank"' "$folder/watched/metrics.jsonl" || fail "health is not measured"
same_tensors "$folder/unwatched/checkpoint.safetensors" "$folder/watched/checkpoint.safetensors"

# It runs once between two changes of weights, so nothing is prepared for it; evaluation runs more often.
gives 0 "$selfc" train "$noisy" "${watched[@]}" --steps 1 --quiet --out "$folder/ready" --dump plan
awk '$1 == "program" { health = /health/ } health' "$folder/err" >"$folder/health"
grep -q '^ *call' "$folder/health" || fail "there is no program for health"
grep -q '^ *prepare' "$folder/health" && fail "weights are prepared for health"
says "prepare "

# A contrastive loss works block by block: what it takes grows with the batch, not with its square.
gives 0 "$selfc" show "$source_dir/examples/contrastive/model.json" --set training.batch=2048 --stage plan
bytes=$(sed -n 's/^arena *\([0-9]*\) bytes.*/\1/p' "$folder/out")
[ "$bytes" -lt 64000000 ] || fail "similarities of 4096 rows with one another are in memory: $bytes bytes"
gives 0 "$selfc" show "$source_dir/examples/contrastive/model.json" --set training.batch=2048 --function evaluate --stage plan
prints "once for each change of the states"

# Every pass keeps the meaning, on a network that is small enough for the evaluator.
tiny=(--set training.batch=4 --set let.hidden=24)
gives 1 "$selfc" check "$model" "${tiny[@]}" --memory 1KB
least=$(sed -n 's/.*training needs \([^,]*\), .*/\1/p' "$folder/err")
gives 0 "$selfc" check "$model" "${tiny[@]}" --memory "$least" --check-meaning; prints "within --memory"
finish
