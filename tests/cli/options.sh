#!/usr/bin/env bash
# The command line itself: exit codes, nearest spellings, values that make no sense, help for everything.
. "$(dirname "$0")/common.bash"

gives 0 "$selfc"; prints "selfc train"
gives 0 "$selfc" --help; prints "selfc train"
gives 0 "$selfc" version; prints "selfc 0."
gives 0 "$selfc" --version; prints "selfc 0."
for command in check train run fill-mask classify answer build show profile tune passes schema ops help version; do
    gives 0 "$selfc" help $command; prints "selfc $command"
    gives 0 "$selfc" $command --help; prints "selfc $command"
done
gives 2 "$selfc" help trian; says 'did you mean "train"?'
gives 2 "$selfc" trian "$model"; says 'did you mean "train"?'
gives 2 "$selfc" train; says "MODEL is missing"; says "usage: selfc train MODEL"
gives 2 "$selfc" run "$model"; says "FUNCTION is missing"
gives 2 "$selfc" check a b; says '"b" is one word too many'; says "usage: selfc check MODEL"
gives 2 "$selfc" train "$model" --data --steps 20; says "--data wants PATH after it, not --steps"
gives 2 "$selfc" train "$model" --out ''; says "--out is empty"
gives 2 "$selfc" train "$model" --epochs 1 --epochs=2; says "--epochs is given twice"
gives 2 "$selfc" train "$model" --seed 99999999999999999999; says "18446744073709551615"
gives 0 "$selfc" check -h; prints "selfc check"
for command in check train run fill-mask classify answer build show profile tune; do
    [ -z "$({ "$selfc" help; "$selfc" help $command; } | awk 'length($0) > 110')" ] || fail "help $command has lines too long to read"
done
gives 1 "$selfc" check "$model" --dump nope; says "no pass \"nope\""
gives 1 "$selfc" passes x.ir --passes=dce --dump nope; says "no pass \"nope\""
gives 1 "$selfc" check "$model" --cache /dev/null/cache; says "the cache /dev/null/cache"
gives 1 "$selfc" profile "$model" --batch 7 --no-cache; says "training.batch=7"
gives 2 "$selfc" show "$model" --stage plan --stop-after dce; says "one of them"
gives 2 "$selfc" run a b c; says "one word too many"
gives 2 "$selfc" train "$model" --epoch 3; says 'did you mean "--epochs"?'
gives 2 "$selfc" check "$model" --epochs 3; says "check has no option --epochs"
gives 2 "$selfc" train "$model" --epochs; says "--epochs wants N"
gives 2 "$selfc" train "$model" --epochs 0; says 'is "0", but must be a whole number of at least 1'
gives 2 "$selfc" train "$model" --epochs=three; says 'is "three"'
gives 2 "$selfc" train "$model" --epochs=99999999999999999999; says "whole number"
gives 2 "$selfc" train "$model" --minutes=-1; says "a number above 0"
gives 2 "$selfc" train "$model" --minutes nan; says "a number above 0"
gives 2 "$selfc" train "$model" --seed=-1; says "at least 0"
gives 2 "$selfc" train "$model" --resume=yes; says "takes no value"
gives 2 "$selfc" build "$model"; says "-o FILE"
gives 2 "$selfc" build "$model" -o; says "--output wants FILE after it"
gives 2 "$selfc" import "$folder" -o; says "--output wants DIR after it"
# What an option means is said for the command that is asked about, and for no other.
gives 0 "$selfc" help eval; prints "--output FILE"; prints "how many neighbours vote"
grep -q "words for each mask\|several" "$folder/out" && fail "help eval speaks of other commands"
gives 0 "$selfc" help fill-mask; prints "how many words for each mask"
grep -q "neighbours\|finetune" "$folder/out" && fail "help fill-mask speaks of other commands"
gives 0 "$selfc" help run; prints "--output NAME=FILE"
gives 2 "$selfc" build "$model" -o x.o --weights inside; says '"embed" or "file"'
gives 2 "$selfc" --pases=dce x.ir; says 'did you mean "--passes"?'
gives 2 "$selfc" passes x.ir; says "--passes=LIST is missing"
gives 1 "$selfc" check "$folder/none.json"; says "none.json"
echo "no JSON" >"$folder/words.json"
gives 1 "$selfc" check "$folder/words.json"; says "words.json:1:1: error"
gives 1 "$selfc" check /dev/null; says "/dev/null"
mkdir "$folder/empty"
gives 1 "$selfc" check "$folder/empty"; says "model.json"
gives 1 "$selfc" check "$model" --set training.batsh=3; says "batch"
gives 1 "$selfc" check "$model" --set training.batch; says "training.batch"
gives 1 "$selfc" train "$model" --set training.batch=0; says "batch"
gives 1 "$selfc" show "$model" --stage porgram; says 'did you mean "program"?'
gives 1 "$selfc" show "$model" --format png; says "text, dot or html"
gives 1 "$selfc" show "$model" --function decoder; says "decode"
gives 1 "$selfc" show "$model" --cpu pentium9; says "pentium9"
gives 1 "$selfc" train "$model" --threads 1000000 --out "$folder/run"; says "threads"
gives 0 "$selfc" train "$model" --threads 5 --steps 3 --out "$folder/run"; prints "$folder/run"
[ -w /dev/full ] && {
    "$selfc" ops >/dev/full 2>"$folder/err" && fail "a full disk was not noticed"
    says "stdout"
}
finish
