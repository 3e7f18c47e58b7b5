#!/usr/bin/env bash
# Networks for pictures and for texts train to the same bits on any number of threads: weights, running averages, the
# optimiser's memory. Batches are of sizes that threads cannot share evenly.
. "$(dirname "$0")/common.bash"

trains_alike() { # MODEL BATCH STEPS
    local name
    name=$(basename "$(dirname "$1")")_$(basename "$1" .json)
    for threads in 1 2 3 7; do
        gives 0 "$selfc" train "$1" --set "training.batch=$2" --steps "$3" --threads $threads --quiet --out "$folder/$name$threads"
        same_tensors "$folder/${name}1/checkpoint.safetensors" "$folder/$name$threads/checkpoint.safetensors"
    done
    gives 0 "$selfc" train "$1" --set "training.batch=$2" --steps $(($3 - 1)) --quiet --out "$folder/$name"
    cmp -s <(tensors "$folder/$name/checkpoint.safetensors") <(tensors "$folder/${name}1/checkpoint.safetensors") &&
        fail "the last step of $name changes nothing"
}

trains_alike "$source_dir/examples/resnet/model.json" 19 4
trains_alike "$source_dir/examples/convnet/model.json" 23 4
trains_alike "$source_dir/tests/models/pictures.json" 13 4
trains_alike "$source_dir/tests/models/masked.json" 13 4
trains_alike "$source_dir/tests/models/letters.json" 7 4
finish
