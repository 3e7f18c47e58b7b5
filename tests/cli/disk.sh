#!/usr/bin/env bash
# What cannot be written or read: a disk that is full, folders that are not ours, files that are damaged or gone. A
# message, exit code 1, and what was there before is whole.
. "$(dirname "$0")/common.bash"
short=(--set training.batch=32 --set let.hidden=48)

# A limit on the size of files stands in for a full disk: writing beyond it fails in the same way.
full() { (trap '' XFSZ; ulimit -f "$1"; shift; "$@"); }
gives 0 "$selfc" train "$model" "${short[@]}" --steps 5 --out "$folder/run"
cp -r "$folder/run" "$folder/before"
gives 1 full 100 "$selfc" train "$model" "${short[@]}" --steps 9 --resume --out "$folder/run"; says "$folder/run"
same "$folder/run/checkpoint.safetensors" "$folder/before/checkpoint.safetensors"
same "$folder/run/weights.safetensors" "$folder/before/weights.safetensors"
[ "$(ls "$folder/run" | wc -l)" = "$(ls "$folder/before" | wc -l)" ] || fail "half-written files are left: $(ls "$folder/run")"
gives 0 "$selfc" train "$model" "${short[@]}" --steps 9 --resume --out "$folder/run"
gives 1 full 100 "$selfc" build "$folder/run" -o "$folder/big.o"; says "big.o"
[ -e "$folder/big.o" ] && fail "half an object was left"

# No room for the cache is no reason to fail.
gives 0 full 4 "$selfc" profile "$model" --function generate --seconds 0.1 --cache "$folder/cache"
gives 0 env HOME=/nowhere XDG_CACHE_HOME=/dev/null/x "$selfc" train "$model" "${short[@]}" --steps 2 --out "$folder/nocache"

# Damaged and missing weights.
head -c 1000 "$folder/run/weights.safetensors" >"$folder/half" && mv "$folder/half" "$folder/run/weights.safetensors"
gives 1 "$selfc" build "$folder/run" -o "$folder/x.o"; says "weights.safetensors"
rm "$folder/run/weights.safetensors"
gives 1 "$selfc" build "$folder/run" -o "$folder/x.o"; says "weights.safetensors"
echo '{' >"$folder/run/model.json"
gives 1 "$selfc" check "$folder/run"; says "model.json:"
head -c 5000 "$folder/before/checkpoint.safetensors" >"$folder/before/short" && mv "$folder/before/short" "$folder/before/checkpoint.safetensors"
gives 1 "$selfc" train "$model" "${short[@]}" --steps 9 --resume --out "$folder/before"; says "checkpoint.safetensors"

# Data that are not there, not readable or not data.
gives 1 "$selfc" train "$model" --data "$folder/none" --out "$folder/no"; says "$folder/none"
echo "no pictures" >"$folder/text"
gives 1 "$selfc" train "$model" --data "$folder/text" --out "$folder/no"; says "$folder/text"
mkdir "$folder/idx"
printf '\0\0\10\3\0\0\0\2\0\0\0\34\0\0\0\34only a few bytes' >"$folder/idx/train-images-idx3-ubyte"
gives 1 "$selfc" train "$model" --set training.batch=2 --data "$folder/idx" --out "$folder/no"; says "train-images-idx3-ubyte"
[ -e "$folder/no" ] && fail "a RUN folder was made for data that cannot be read"
python3 - "$folder/nan.npy" <<'END'
import struct, sys
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (64, 784), }".ljust(117) + "\n"
data = struct.pack("<f", 0.5) * (64 * 784 - 1) + struct.pack("<f", float("nan"))
open(sys.argv[1], "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + data)
END
gives 1 "$selfc" train "$model" "${short[@]}" --set training.batch=2 --data "$folder/nan.npy" --out "$folder/no"; says "nan.npy"; says "NaN"
gives 1 "$selfc" train "$model" --set training.batch=100000 --out "$folder/no"; says "100000"
gives 1 "$selfc" train "$model" --out /proc/selfc; says "/proc/selfc"
gives 1 "$selfc" build "$model" -o "$folder/none/x.o"; says "none/x.o"
finish
