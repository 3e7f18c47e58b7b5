#!/usr/bin/env bash
# Built files: nothing undefined, small, and the same numbers as `selfc run`, bit for bit.
. "$(dirname "$0")/common.bash"
cc=${CC:-cc}
command -v "$cc" >/dev/null && command -v nm >/dev/null && command -v python3 >/dev/null || { echo "skipped: wants $cc, nm and python3"; exit 77; }

gives 0 "$selfc" train "$model" --steps 30 --out "$folder/run"
run=$folder/run
gives 0 "$selfc" build "$run" -o "$folder/decoder.o" --function generate
[ -z "$(nm -u "$folder/decoder.o")" ] || fail "undefined: $(nm -u "$folder/decoder.o")"
weights=$(((2 * 256 + 256 + 256 * 784 + 784) * 4))
size=$(stat -c %s "$folder/decoder.o")
[ "$size" -le $((weights + 32768)) ] || fail "the decoder's object has $size bytes, $((size - weights)) beyond its weights"

# 37 points of the plane, as .npy and in C.
python3 - "$folder/z.npy" "$folder/z.raw" <<'END'
import struct, sys
values = [((i * 7919) % 601) / 100 - 3 for i in range(74)]
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (37, 2), }".ljust(117) + "\n"
data = struct.pack("<74f", *values)
open(sys.argv[1], "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + data)
open(sys.argv[2], "wb").write(data)
END
gives 0 "$selfc" run "$run" generate --input z="$folder/z.npy" --output image="$folder/image.npy"
tail -c $((37 * 784 * 4)) "$folder/image.npy" >"$folder/want.raw"
gives 0 "$selfc" run "$run" generate --input "$folder/z.npy" --output "$folder/again.npy"
same "$folder/image.npy" "$folder/again.npy"

cat >"$folder/use.c" <<'END'
#include "decoder.h"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    static float z[37][2], image[37][784];
    void *workspace = malloc(VAE_GENERATE_WORKSPACE(37) + 64);
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
#ifdef WEIGHTS
    FILE *file = fopen(argv[3], "rb");
    void *weights = aligned_alloc(64, 1 << 20);
    if (!file || !fread(weights, 1, 1 << 20, file)) return 9;
#endif
    if (argc < 3 || fread(z, sizeof z, 1, in) != 1) return 8;
#ifdef WEIGHTS
    int code = vae_generate(z[0], image[0], 37, weights, workspace);
#else
    int code = vae_generate(z[0], image[0], 37, workspace);
#endif
    return code || fwrite(image, sizeof image, 1, out) != 1 || fclose(out);
}
END
use() { # name, what to link and other flags
    local name=$1
    shift
    "$cc" -I"$folder" "$folder/use.c" "$@" -o "$folder/$name" || { fail "cannot link $name"; return; }
    gives 0 "$folder/$name" "$folder/z.raw" "$folder/$name.raw" "$folder/decoder.weights"
    same "$folder/want.raw" "$folder/$name.raw"
}
use object "$folder/decoder.o"
gives 0 "$selfc" build "$run" -o "$folder/decoder.a" --function generate
use archive "$folder/decoder.a"
gives 0 "$selfc" build "$run" -o "$folder/decoder.so" --function generate
use shared "$folder/decoder.so" -Wl,-rpath,"$folder"
gives 0 "$selfc" build "$run" -o "$folder/decoder.o" --function generate --weights file
[ "$(stat -c %s "$folder/decoder.o")" -le 32768 ] || fail "an object without weights has $(stat -c %s "$folder/decoder.o") bytes"
grep -q "const void \*weights" "$folder/decoder.h" && sed -i 's/size_t n, const void \*weights/const void *weights, size_t n/' "$folder/decoder.h"
sed -i 's/37, weights, workspace/weights, 37, workspace/' "$folder/use.c"
use beside -DWEIGHTS "$folder/decoder.o"

# All functions; text; other machines.
gives 0 "$selfc" build "$run" -o "$folder/all.o"
grep -q vae_encode "$folder/all.h" || fail "all.h does not declare encode"

# Text holds what the object does: weights and a header.
sed -i 's/weights, 37, workspace/37, workspace/' "$folder/use.c"
rm "$folder/decoder.h"
gives 0 "$selfc" build "$run" -o "$folder/decoder.s" --function generate
use assembly "$folder/decoder.s"
llc=$(command -v llc-22 llc /usr/lib/llvm-22/bin/llc | head -n 1)
gives 0 "$selfc" build "$run" -o "$folder/decoder.ll" --function generate; grep -q "target-cpu" "$folder/decoder.ll" || fail "no LLVM text"
[ ! "$llc" ] || { "$llc" -relocation-model=pic "$folder/decoder.ll" -o "$folder/again.s" && use llvm "$folder/again.s"; }

# Convolutions with batch norm: what is prepared stands in the object in place of the weights, with the bits of `selfc run`.
pictures=$source_dir/examples/resnet/model.json
python3 - "$folder/x.npy" "$folder/x.raw" <<'END'
import struct, sys
data = struct.pack("<2352f", *[((i * 7919) % 601) / 601 for i in range(3 * 784)])
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 28, 28), }".ljust(117) + "\n"
open(sys.argv[1], "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + data)
open(sys.argv[2], "wb").write(data)
END
gives 0 "$selfc" run "$pictures" classify --input x="$folder/x.npy" --output probability="$folder/probability.npy"
tail -c $((3 * 10 * 4)) "$folder/probability.npy" >"$folder/want.raw"
gives 0 "$selfc" build "$pictures" -o "$folder/pictures.o" --function classify
[ -z "$(nm -u "$folder/pictures.o")" ] || fail "undefined: $(nm -u "$folder/pictures.o")"
cat >"$folder/classify.c" <<'END'
#include "pictures.h"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    static float x[3 * 784], probability[3 * 10];
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    if (argc < 3 || fread(x, sizeof x, 1, in) != 1) return 8;
    int code = resnet_classify(x, probability, 3, malloc(RESNET_CLASSIFY_WORKSPACE(3)));
    return code || fwrite(probability, sizeof probability, 1, out) != 1 || fclose(out);
}
END
"$cc" -I"$folder" "$folder/classify.c" "$folder/pictures.o" -o "$folder/classify" || fail "cannot link classify"
gives 0 "$folder/classify" "$folder/x.raw" "$folder/got.raw"
same "$folder/want.raw" "$folder/got.raw"

# What a name says, and untrained weights.
gives 0 "$selfc" build "$run" -o "$folder/noted.o"; [ ! -s "$folder/err" ] || fail "a RUN is built with a note: $(cat "$folder/err")"
gives 0 "$selfc" build "$model" -o "$folder/noted.o"; says 'note: "encode" gets untrained weights'
gives 0 "$selfc" run "$model" generate --input z="$folder/z.npy" --output "$folder/again.npy"; says "untrained weights"
gives 0 "$selfc" run "$run" generate --input z="$folder/z.npy" --output "$folder/again.npy"; [ ! -s "$folder/err" ] || fail "a RUN runs with a note"
gives 1 "$selfc" build "$run" -o "$folder/decoder.obj"; says "no kind of file with the ending .obj"
gives 1 "$selfc" build "$run" -o "$folder/trainer" --function generate; says "--function generate belongs to a file"
gives 0 "$selfc" build "$run" -o "$folder/trainer"; says "trains from the first step"
gives 1 "$selfc" build "$run" -o "$folder/"; says "the name of a file"
gives 0 "$selfc" build "$run" -o "$folder/cross.o" --function generate --target aarch64-linux-gnu
[ "$(od -An -tu1 -j18 -N1 "$folder/cross.o" | tr -d ' ')" = 183 ] || fail "no object for AArch64"
for cpu in x86-64 x86-64-v2 x86-64-v3 x86-64-v4; do
    [ "$(uname -m)" = x86_64 ] || continue
    gives 0 "$selfc" build "$run" -o "$folder/old.o" --function generate --cpu $cpu
    [ -z "$(nm -u "$folder/old.o")" ] || fail "for $cpu undefined: $(nm -u "$folder/old.o")"
done
gives 1 "$selfc" build "$run" -o "$folder/x.o" --target pdp11-unknown; says "pdp11"
gives 1 "$selfc" build "$run" -o "$folder/x.o" --function decode; says "no function"

# Inputs that do not fit.
gives 1 "$selfc" run "$run" generate; says "--input z=FILE.npy"
gives 1 "$selfc" run "$run" generate --input zz="$folder/z.npy"; says 'no input "zz"'
gives 1 "$selfc" run "$run" generate --input z="$folder/image.npy"; says "f32[n,2]"
gives 1 "$selfc" run "$run" generate --input z="$folder/none.npy"; says "none.npy"
gives 1 "$selfc" run "$run" generate --input z="$folder/z.raw"; says "z.raw"
gives 1 "$selfc" run "$run" generat --input z="$folder/z.npy"; says 'did you mean "generate"?'
gives 1 "$selfc" run "$run" generate --input z="$folder/z.npy" --output image="$folder/none/x.npy"; says "none/x.npy"

# Sizes whose names are one in capitals: the first has the macro, and the header compiles.
cat >"$folder/capitals.json" <<'END'
{
  "name": "m",
  "functions": {
    "a": { "inputs": { "b_c": ["n", 2], "x": ["n", 3], "X": ["n", 4] }, "layers": [{ "expr": "sum(b_c) + sum(x) + sum(X)" }] },
    "a_b": { "inputs": { "c": ["n", 5] }, "layers": [{ "expr": "sum(c)" }] }
  }
}
END
gives 0 "$selfc" build "$folder/capitals.json" -o "$folder/capitals.o"
grep -q '^#define M_A_B_C_DIM1 2$' "$folder/capitals.h" || fail "the first function's size has no macro"
grep -q '^#define M_A_X_DIM1 3$' "$folder/capitals.h" || fail "the first port's size has no macro"
cc -Wall -Werror -fsyntax-only -x c "$folder/capitals.h" || fail "macros are defined twice"
# On a terminal it says what it does while nothing else is to be seen, and takes that away again; in a pipe it says nothing.
if command -v script >/dev/null; then
    script -qec "'$selfc' build '$model' -o '$folder/watched.o' --no-cache" /dev/null >"$folder/watched" </dev/null
    grep -q $'compiling [0-9]* kernels …\033\\[?7h\r\033\\[K' "$folder/watched" || fail "nothing is said while kernels are compiled: $(cat -v "$folder/watched")"
fi
gives 0 "$selfc" build "$model" -o "$folder/watched.o" --no-cache
grep -q compiling "$folder/err" && fail "a pipe hears of the compiling"
finish
