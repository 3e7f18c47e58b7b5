# Shared by the tests of the command line: a folder of their own, and words for what is expected. Sourced.
set -u
selfc=${SELFC:?names the selfc to test}
source_dir=${SELFC_SOURCE:-$PWD}
model=$source_dir/examples/vae/model.json
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0

fail() {
    echo "FAIL: $*"
    failures=$((failures + 1))
}

# gives CODE COMMAND…: runs it; stdout and stderr are in $folder/out and $folder/err.
gives() {
    local want=$1 code
    shift
    "$@" >"$folder/out" 2>"$folder/err" </dev/null
    code=$?
    [ $code = "$want" ] && return
    fail "exit code $code, not $want: $*"
    tail -n 5 "$folder/out" "$folder/err"
}

# says TEXT: the last command's message has it. prints TEXT: its output has it.
says() { grep -qF -- "$1" "$folder/err" || { fail "the message does not say \"$1\":"; head -n 5 "$folder/err"; }; }
prints() { grep -qF -- "$1" "$folder/out" || { fail "the output does not have \"$1\":"; head -n 5 "$folder/out"; }; }
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; }

# Two safetensors files hold the same tensors; what their headers say about time may differ.
tensors() { tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1"; }
same_tensors() { cmp -s <(tensors "$1") <(tensors "$2") || fail "the tensors in $1 and $2 differ"; }

finish() {
    [ $failures = 0 ] && echo "$(basename "$0"): everything as it should be"
    exit $((failures != 0))
}
