#!/usr/bin/env bash
# What `selfc check` and `selfc show` say about a description that is right.
. "$(dirname "$0")/common.bash"

gives 0 "$selfc" check "$model"
for part in "vae is right" "encode.h.weight" "f32[784,256]" 404244 "generate: z f32[n,2] → image f32[n,784]" "batch 128" "memory:" "a step, "; do
    prints "$part"
done
gives 0 "$selfc" check "$model" --set training.batch=64 --set let.hidden=100; prints "f32[784,100]"; prints "batch 64"
small=(--set training.batch=4 --set let.hidden=24)
gives 0 "$selfc" check "$model" "${small[@]}" --check-meaning
gives 0 "$selfc" check "$model" --times --dump=simplify; says "simplify"; says "%0 = "

for stage in graph gradient fused program plan llvm asm autodiff simplify dce split fuse schedule order plan; do
    gives 0 "$selfc" show "$model" --stage $stage
    [ -s "$folder/out" ] || fail "stage $stage is empty"
done
for stage in graph gradient program plan; do
    gives 0 "$selfc" show "$model" --stage $stage --format dot; prints "digraph"
    gives 0 "$selfc" show "$model" --stage $stage --format html; prints "</html>"
done
gives 1 "$selfc" show "$model" --stage asm --format html; says "no other --format"
gives 0 "$selfc" show "$model" --stage graph --function generate; prints "image"
gives 0 "$selfc" show "$model" --stage plan; prints "lower bound"

# What is shown reads back, and the passes can be run on it by hand.
"$selfc" show "$model" "${small[@]}" --stage graph >"$folder/graph.ir"
gives 0 "$selfc" --passes=autodiff,simplify,dce "$folder/graph.ir"
cp "$folder/out" "$folder/one.ir"
gives 0 "$selfc" passes "$folder/one.ir" --passes dce; same "$folder/out" "$folder/one.ir"
gives 0 "$selfc" --passes=autodiff,simplify,dce --stop-after=simplify --check-meaning "$folder/graph.ir"
gives 1 "$selfc" --passes=autodif "$folder/graph.ir"; says "autodiff"
gives 1 "$selfc" --passes=dce "$model"; says "error"

# Layers have names, and repeated ones each their own.
gives 0 "$selfc" check "$source_dir/examples/resnet/model.json"; prints "resnet.stage2.1.middle.conv "
gives 0 "$selfc" show "$model" --stage fused; prints '@ "encode.h (encode.layers[0]) backward"'

# Each call says which layer it is for, be it made by rules that turn products round.
for described in examples/contrastive/model tests/models/{letters,masked,pictures,vicreg}; do
    gives 0 "$selfc" show "$source_dir/$described.json" --stage program; prints "call "
    grep '^ *call ' "$folder/out" | grep -v '@' && fail "$described has calls that are of no layer"
done

# ResNet-50 without the library, in 80 lines at most, has as many parameters as PyTorch's.
python3 - "$folder" <<'END'
import struct, sys
def npy(name, descr, shape, data):
    header = (f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}").ljust(117) + "\n"
    open(f"{sys.argv[1]}/{name}", "wb").write(b"\x93NUMPY\1\0" + bytes([118, 0]) + header.encode() + data)
npy("pictures.npy", "|u1", (2, 224, 224, 3), bytes(2 * 224 * 224 * 3))
npy("labels.npy", "<i4", (2,), struct.pack("<2i", 1, 999))
END
cp "$source_dir/examples/resnet/resnet50.json" "$folder/resnet50.json"
[ "$(wc -l <"$folder/resnet50.json")" -le 80 ] || fail "ResNet-50 has more than 80 lines"
cd "$folder" || exit 1
gives 0 "$selfc" check resnet50.json --set training.batch=2; prints " 25557032"; prints "classify: x f32[n,224,224,3]"
finish
