#!/bin/sh
# The part of the tokenizer that built objects can carry needs nothing: no undefined symbol, whatever the optimisation, and
# nothing that would be written to.
cd "$(dirname "$0")/.." || exit 1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bad=0
for compiler in "${CC:-cc}" clang-22; do
    command -v "$compiler" >/dev/null || continue
    for level in -O1 -O2 -O3 -Os; do
        "$compiler" -std=c17 $level -ffreestanding -fno-stack-protector -fPIC -I. -c runtime/text/tokenize.c -o "$folder/tokenize.o" || exit 1
        undefined=$(nm -u "$folder/tokenize.o" | grep -v _GLOBAL_OFFSET_TABLE_)
        [ -z "$undefined" ] || { echo "$compiler $level: runtime/text/tokenize.c needs" $undefined; bad=1; }
        written=$(size -A "$folder/tokenize.o" | awk '($1 == ".data" || $1 == ".bss") && $2 > 0 { print $1 }')
        [ -z "$written" ] || { echo "$compiler $level: runtime/text/tokenize.c has" $written; bad=1; }
    done
done
exit $bad
