#!/bin/sh
# Runs every golden test of the passes: tests/golden.sh [--update] [FILE.ir…]
#
# A test is a text that names its passes ("; RUN: simplify dce") and holds, after "; ----", the text that should come
# out; or "; ERROR:" lines with the message that should. Each output is read and printed again and must not change.
# --update rewrites what comes out: read the diff as the review. SELFC_OPT or SELFC_BUILD says where selfc_opt is.
cd "$(dirname "$0")/.." || exit 1
opt=${SELFC_OPT:-${SELFC_BUILD:-build}/selfc_opt} update=0 files=
[ -x "$opt" ] || { echo "skipped: no selfc_opt at $opt"; exit 77; }
for argument; do
    case $argument in
    --update) update=1 ;;
    *.ir) files="$files $argument" ;;
    esac
done
[ -n "$files" ] || files=$(find tests -name '*.ir' | sort | xargs grep -l '^; RUN:')
got=$(mktemp) want=$(mktemp) again=$(mktemp)
trap 'rm -f "$got" "$want" "$again"' EXIT

run() { # file -> what comes out, in $got
    passes=$(sed -n 's/^; RUN://p' "$1")
    if $opt "$1" $passes >"$got" 2>"$again"; then
        $opt "$got" >"$again" 2>&1 && cmp -s "$got" "$again" || echo "does not read back" >>"$got"
        sed -i 's/^/; /; s/ *$//' "$got"
    else
        sed "s|$1|FILE|g; s/^/; ERROR: /" "$again" >"$got"
    fi
}

failed=0 count=0
for test in $files; do
    count=$((count + 1))
    run "$test"
    sed '1,/^; ----$/d' "$test" >"$want"
    cmp -s "$want" "$got" && continue
    if [ $update = 1 ]; then
        grep -q '^; ----$' "$test" || echo '; ----' >>"$test"
        sed '/^; ----$/q' "$test" >"$want" && cat "$got" >>"$want" && cp "$want" "$test"
        echo "updated $test"
    else
        echo "FAIL $test"
        diff -u "$want" "$got"
        failed=$((failed + 1))
    fi
done
echo "$((count - failed)) of $count golden tests passed"
[ $failed = 0 ]
