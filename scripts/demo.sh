#!/usr/bin/env bash
# From a bare Debian 12 to a trained model inside a C program: installs what is missing, builds selfc, trains the
# example VAE, and links its decoder into examples/embed. Arguments go to `selfc train`: --epochs 3, --data DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh
install_missing

cmake --preset release >/dev/null
cmake --build --preset release --target selfc
selfc=build/release/selfc

out=build/demo
rm -rf "$out"
$selfc check examples/vae/model.json
$selfc train examples/vae/model.json --out "$out/run" "$@"
$selfc build "$out/run" -o "$out/decoder.o" --function generate
cc -O2 -I"$out" examples/embed/digits.c "$out/decoder.o" -o "$out/digits"
"$out/digits"
echo "Undefined symbols of $out/decoder.o: $(nm -u "$out/decoder.o" | wc -l)"
echo "Pictures:" "$out"/run/*.png
echo "Report: $out/run/report.html"
