#!/usr/bin/env bash
# Training from the command line: what is in a RUN, the same bits for any number of threads, whether the run was
# stopped and resumed or killed, and whether the JIT or a built program trained.
. "$(dirname "$0")/common.bash"
short=(--set training.batch=32 --set let.hidden=48)

gives 0 "$selfc" train "$model" "${short[@]}" --steps 40 --threads 1 --out "$folder/one"
[ "$(tail -1 "$folder/out")" = "$folder/one" ] || fail "the RUN folder is not printed last"
for file in model.json weights.safetensors checkpoint.safetensors metrics.jsonl samples.png plane.png reconstructions.png report.html; do
    [ -s "$folder/one/$file" ] || fail "$file is missing"
done
for key in '"step"' '"epoch"' '"loss"' '"seconds"' '"test_loss"' '"kl"'; do
    tail -1 "$folder/one/metrics.jsonl" | grep -q "$key" || fail "the last line of the metrics has no $key"
done
for threads in 2 3 7; do
    gives 0 "$selfc" train "$model" "${short[@]}" --steps 40 --threads $threads --out "$folder/many$threads"
    same_tensors "$folder/one/checkpoint.safetensors" "$folder/many$threads/checkpoint.safetensors"
    same "$folder/one/weights.safetensors" "$folder/many$threads/weights.safetensors"
done

# Stopped and resumed; with another seed nothing is the same.
gives 0 "$selfc" train "$model" "${short[@]}" --steps 17 --out "$folder/parts"
gives 0 "$selfc" train "$model" "${short[@]}" --steps 40 --out "$folder/parts" --resume
same_tensors "$folder/one/checkpoint.safetensors" "$folder/parts/checkpoint.safetensors"
cp -r "$folder/one" "$folder/longer"
gives 0 "$selfc" train "$folder/longer" --resume --steps 60
[ "$(tail -n 1 "$folder/out")" = "$folder/longer" ] || fail "a RUN is not resumed where it is"
gives 0 "$selfc" train "$model" "${short[@]}" --steps 60 --out "$folder/sixty"
same_tensors "$folder/longer/checkpoint.safetensors" "$folder/sixty/checkpoint.safetensors"
gives 0 "$selfc" train "$model" "${short[@]}" --steps 40 --seed 1 --out "$folder/seed"
cmp -s "$folder/one/weights.safetensors" "$folder/seed/weights.safetensors" && fail "the seed does not matter"

# The RUN is a model of its own.
gives 0 "$selfc" check "$folder/one"; prints "f32[784,48]"
gives 1 "$selfc" train "$model" --steps 50 --resume --out "$folder/one"; says "checkpoint"
gives 1 "$selfc" train "$model" --steps 50 --resume --out "$folder/nowhere"; says "nowhere"

# A RUN remembers which data it was trained on.
python3 - "$folder/pictures \"a\".npy" <<'END'
import sys
header = "{'descr': '|u1', 'fortran_order': False, 'shape': (100, 28, 28), }".ljust(117) + "\n"
open(sys.argv[1], "wb").write(b"\x93NUMPY\1\0" + bytes([118, 0]) + header.encode() + bytes(i * 7 % 256 for i in range(78400)))
END
(cd "$folder" && "$selfc" train "$model" "${short[@]}" --steps 3 --data 'pictures "a".npy' --out npy) >"$folder/out" 2>"$folder/err" || fail "cannot train on .npy: $(cat "$folder/err")"
grep -q 'pictures' "$folder/npy/model.json" || fail "the RUN does not say which data it was trained on"
gives 0 "$selfc" check "$folder/npy"; prints "100 samples"

# How long the run is: the learning rate of one step says what formulas see, by the data, the batch and the epochs; names
# in let go first. A RUN keeps the epochs that were asked for.
# rate WANTED FORMULA ARGUMENT…
rate() {
    local wanted=$1 formula=$2
    shift 2
    gives 0 "$selfc" train "$model" "${short[@]}" --set "training.optimizer.learning_rate=\"$formula * 0.000001\"" --steps 1 --quiet --out "$folder/rate" "$@"
    tail -n 1 "$folder/rate/metrics.jsonl" | tr ',' '\n' | awk -F: -v want="$wanted" '/learning_rate/ { seen = 1; bad = ($2 * 1e6 - want) ^ 2 > 1e-3 } END { exit !seen || bad }' ||
        fail "$formula is not $wanted: $(tail -n 1 "$folder/rate/metrics.jsonl")"
    mv "$folder/rate/model.json" "$folder/rate.json"
    rm -rf "$folder/rate"
}
rate 625 steps_per_epoch
rate 156 steps_per_epoch --set training.batch=128
rate 3 steps_per_epoch --data "$folder/pictures \"a\".npy"
rate 156.25 steps_per_epoch --set training.accumulate=4
rate 6250 steps
rate 1875 steps --epochs 3
grep -q '"epochs": *3' "$folder/rate.json" || fail "the RUN does not say how many epochs were asked for"
rate 4375 steps --set training.epochs=7
rate 12 '(steps + steps_per_epoch)' --set 'let={"pixels": 784, "hidden": 48, "latent": 2, "steps": 5, "steps_per_epoch": 7}'
gives 1 "$selfc" check "$model" --set 'training.optimizer.learning_rate="step_per_epoch"'; says 'did you mean "steps_per_epoch"?'
gives 1 "$selfc" check "$model" --set let.hidden=steps_per_epoch; says 'steps_per_epoch'

# A run that goes on with another description, or with as many other samples, says so; else it says nothing.
gives 0 "$selfc" train "$model" "${short[@]}" --steps 3 --data "$folder/pictures \"a\".npy" --out "$folder/changed"
gives 0 "$selfc" train "$model" "${short[@]}" --steps 4 --data "$folder/pictures \"a\".npy" --out "$folder/changed" --resume
gives 0 "$selfc" train "$folder/changed" --steps 5 --resume
grep -qE 'note|warning' "$folder/err" && fail "a change that is none: $(cat "$folder/err")"
gives 0 "$selfc" train "$folder/changed" --steps 6 --resume --set training.optimizer.learning_rate=0.5
says "changed/model.json: the run goes on with another description; the first difference:"
grep -qE '^  then .*0.001' "$folder/err" && grep -qE '^  now .*0.5' "$folder/err" || fail "not the difference: $(cat "$folder/err")"
grep -q "other training data" "$folder/err" && fail "the data are the same"
python3 -c 'import sys; file = open(sys.argv[1], "r+b"); file.seek(-1, 2); file.write(b"\0")' "$folder/pictures \"a\".npy"
gives 0 "$selfc" train "$folder/changed" --steps 7 --resume --quiet; says "changed began with other training data"

# What is wrong with the data is said once, though the step, its evaluation and its health all stumble over it.
cp "$folder/pictures \"a\".npy" "$folder/pictures.npy"
gives 1 "$selfc" train "$model" --set let.pixels=100 --data "$folder/pictures.npy" --set 'training.health="mean"' --out "$folder/no"
says 'f32[128,784]'
[ "$(grep -c 'error: module "encode" wants' "$folder/err")" = 1 ] || fail "a mistake is not said once: $(cat "$folder/err")"

# Killed at any moment: the last checkpoint is whole, and going on gives the same bits. Interrupted: code 130.
"$selfc" train "$model" "${short[@]}" --steps 3000 --out "$folder/all" >/dev/null 2>&1
"$selfc" train "$model" "${short[@]}" --steps 3000 --out "$folder/killed" >/dev/null 2>&1 &
child=$!
for _ in $(seq 100); do [ -e "$folder/killed/checkpoint.safetensors" ] && break; sleep 0.05; done
kill -9 $child 2>/dev/null
wait $child 2>/dev/null
resume=(--resume)
[ -e "$folder/killed/checkpoint.safetensors" ] || resume=()
gives 0 "$selfc" train "$model" "${short[@]}" --steps 3000 "${resume[@]}" --out "$folder/killed"
same_tensors "$folder/all/checkpoint.safetensors" "$folder/killed/checkpoint.safetensors"

# (setsid: a shell without job control starts background commands deaf to SIGINT, and the child would inherit that.)
python3 - "$selfc" "$model" "$folder/interrupted" "${short[@]}" <<'END' && code=0 || code=$?
import os, signal, subprocess, sys, time
command = [sys.argv[1], "train", sys.argv[2], "--steps", "1000000", "--out", sys.argv[3], *sys.argv[4:]]
child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
while not os.path.exists(os.path.join(sys.argv[3], "metrics.jsonl")) and child.poll() is None: time.sleep(0.02)
time.sleep(0.3)
child.send_signal(signal.SIGINT)
sys.exit(child.wait(60))
END
[ $code = 130 ] || fail "an interrupted run ends with $code, not 130"
[ -s "$folder/interrupted/checkpoint.safetensors" ] || fail "an interrupted run leaves no checkpoint"

# What functions read besides parameters, like running averages, is saved with the weights.
gives 0 "$selfc" train examples/convnet/model.json --steps 2 --quiet --out "$folder/averages"
grep -qa running_mean "$folder/averages/weights.safetensors" || fail "weights without running averages"

# In a terminal no line is wider than it: neither the bar, as often as it is drawn, nor the lines that stay.
for columns in 60 80 200; do
    python3 - $columns "$selfc" train "$model" --epochs 2 --set training.batch=256 --out "$folder/terminal$columns" <<'END' || fail "lines in a terminal of $columns columns"
import fcntl, os, pty, re, struct, sys, termios
columns = int(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
output = b""
while True:
    try: part = os.read(terminal, 65536)
    except OSError: break
    if not part: break
    output += part
if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]): sys.exit(output.decode())
# What stands between ?7l and ?7h is cut off by the terminal, which only narrow ones need.
cut = (lambda match: match[1][:columns]) if columns < 80 else r"\1"
lines = [re.sub(r"\x1b\[\?7l(.*)\x1b\[\?7h", cut, line) for line in re.split(r"\r\x1b\[K|\r*\n", output.decode())]
wide = [line for line in lines[:-2] if len(line) > columns and not line.startswith("vae: ")] # what stands above the first bar
epochs = [line for line in lines if line.startswith("epoch ")]
good = not wide and len(epochs) == 2 and all(" loss " in line and line.endswith(" s") for line in epochs)
sys.exit(0 if good and any("█" in line or "░" in line for line in lines) else "\n".join(wide or lines))
END
done

# Labels that the model has no class for.
labels=tests/models/batch_norm.json
for command in "$selfc train $labels --set let.classes=5" "$folder/five"; do
    [ "$command" = "$folder/five" ] && gives 0 "$selfc" build "$labels" --set let.classes=5 -o "$folder/five"
    gives 1 $command --steps 2 --out "$folder/labels"
    says "of the training data has the label"
    says "but there are 5 classes: 0 to 4"
done

# A built program trains to the same bits, without LLVM inside.
gives 0 "$selfc" build "$model" "${short[@]}" -o "$folder/trainer"
ldd "$folder/trainer" | grep -q LLVM && fail "the built program needs LLVM"
gives 0 "$folder/trainer" --steps 40 --threads 2 --out "$folder/built"
same_tensors "$folder/one/checkpoint.safetensors" "$folder/built/checkpoint.safetensors"
gives 0 "$selfc" train "$model" "${short[@]}" --steps 40 --out "$folder/cold" --no-cache
same_tensors "$folder/one/checkpoint.safetensors" "$folder/cold/checkpoint.safetensors"
finish
