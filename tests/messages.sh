#!/usr/bin/env bash
# Every kind of mistake in a description, and what is said about it: tests/messages.sh SELFC [--update]
#
# tests/messages/NAME.json is checked with the overrides in NAME.args, one a line; what comes out must be NAME.txt,
# and the exit code 1. Those in schema/ are mistakes that the JSON Schema sees, too (tests/oracle_schema.py).
set -u
selfc=$(realpath "$1")
cd "$(dirname "$0")/messages" || exit 1
failed=0 count=0
for test in *.json schema/*.json; do
    name=${test%.json} arguments=()
    [ -f "$name.args" ] && while IFS= read -r line; do arguments+=(--set "$line"); done <"$name.args"
    said=$("$selfc" check "$test" "${arguments[@]}" 2>&1)
    code=$?
    count=$((count + 1))
    [ "${2-}" = --update ] && printf '%s\n' "$said" >"$name.txt"
    if [ $code != 1 ]; then
        echo "FAIL $test: exit code $code"
        failed=$((failed + 1))
    elif ! diff -u "$name.txt" <(printf '%s\n' "$said"); then
        echo "FAIL $test"
        failed=$((failed + 1))
    fi
done
echo "$((count - failed)) of $count messages are as they should be"
[ $failed = 0 ] && [ $count -gt 0 ]
