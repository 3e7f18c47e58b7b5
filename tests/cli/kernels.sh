#!/usr/bin/env bash
# Every kernel that networks for pictures are compiled to, forward, backward and in functions, computes what its body
# means: as it is scheduled for this machine, on numbers of its own. What a step or a function makes of many kernels can
# hide a wrong one; here each stands alone.
. "$(dirname "$0")/common.bash"
kernels=${SELFC_BUILD:-build}/selfc_kernels
[ -x "$kernels" ] || { echo "skipped: no selfc_kernels at $kernels"; exit 77; }

computes() { # BATCH; what is shown of which model: arguments of show
    local batch=$1
    shift
    gives 0 "$selfc" show "$@" --stage program
    cp "$folder/out" "$folder/program.ir"
    gives 0 "$kernels" "$folder/program.ir" "$batch"; prints "kernels, 0 wrong"
}

cat >"$folder/deep.json" <<'END_OF_MODEL'
{
  "name": "deep",
  "training": {
    "data": { "x": { "source": "glyphs" }, "label": { "source": "glyphs", "field": "label" } },
    "layers": [
      { "expr": "reshape(x, [n, 28, 28, 1])" },
      { "module": "resnet", "params": { "depth": 50, "width": 8, "small": true } },
      { "layer": "dense", "units": 10, "name": "logits" },
      { "expr": "mean(cross_entropy(logits, label))", "name": "loss" }
    ],
    "minimize": "loss", "optimizer": { "name": "sgd", "learning_rate": 0.1, "momentum": 0.9 }, "batch": 8, "epochs": 1
  }
}
END_OF_MODEL
computes 8 "$folder/deep.json"
computes 8 "$folder/deep.json" --set training.batch=3
computes 3 "$source_dir/examples/resnet/model.json" --function classify
computes 13 "$source_dir/tests/models/pictures.json" --set training.batch=13
finish
