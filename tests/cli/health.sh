#!/usr/bin/env bash
# The health of a training: a value that is not finite is traced to its layer.
. "$(dirname "$0")/common.bash"

# A logarithm of what is not always positive. Nothing has been saved yet, so the search begins at the first step.
cat >"$folder/logarithm.json" <<'END'
{
  "name": "logarithm",
  "training": {
    "data": { "x": { "source": "glyphs", "flatten": true } },
    "layers": [
      { "layer": "dense", "input": "x", "units": 32, "activation": "tanh", "name": "first" },
      { "layer": "dense", "units": 4, "name": "second" },
      { "expr": "sum(log(second + 0.3), axis=1)", "name": "logs" },
      { "expr": "mean(logs)", "name": "loss" }
    ],
    "minimize": "loss", "batch": 64, "epochs": 3
  }
}
END
gives 1 "$selfc" train "$folder/logarithm.json" --out "$folder/logarithm"
says 'step 1'
says 'layer "logs" (training.layers[2])'
says 'made the first value that is not finite: nan, '
says 'what it read was finite, the largest '
[ -e "$folder/logarithm/checkpoint.safetensors" ] && fail "a checkpoint of a step that failed"

# A learning rate that is too large, in a run that goes on from a checkpoint: this stays, and the answer is the same for
# any number of threads.
gives 0 "$selfc" train "$model" --steps 20 --out "$folder/good" --quiet
for threads in 1 3; do
    cp -r "$folder/good" "$folder/exploded$threads"
    gives 1 "$selfc" train "$folder/exploded$threads" --set training.optimizer.learning_rate=3000 --resume --steps 500 --threads $threads
    says 'layer "encode.'
    says 'the checkpoint of step 20 is kept'
    grep -o 'step [0-9]*: [^;]*' "$folder/err" >"$folder/found$threads"
    same "$folder/good/checkpoint.safetensors" "$folder/exploded$threads/checkpoint.safetensors"
done
same "$folder/found1" "$folder/found3"
finish
