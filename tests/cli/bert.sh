#!/usr/bin/env bash
# The famous sentence, from nothing: sentences are written, a vocabulary is trained on them, a small BERT learns them, and
# fills in capitals of sentences that it has not seen. A shorter run of what examples/bert/README.md tells, with fewer
# countries. Then questions about stories are learnt.
. "$(dirname "$0")/common.bash"
bert=$source_dir/examples/bert
build=${SELFC_BUILD:?names the folder of the build}
export SELFC=$selfc

# The same seed gives the same files, another one others.
gives 0 "$build/sentences" "$folder/all"
gives 0 "$build/sentences" "$folder/again" 0
gives 0 "$build/sentences" "$folder/other" 1
for name in train.txt dev.txt test.txt prompts.dev.tsv prompts.test.tsv; do same "$folder/all/$name" "$folder/again/$name"; done
! cmp -s "$folder/all/train.txt" "$folder/other/train.txt" || fail "the seed makes no difference"
gives 2 "$build/sentences"; says "usage"
gives 2 "$build/sentences" "$folder/few" 0 5; says "'5' should be a whole number from 30"
gives 1 "$build/sentences" "$folder/nowhere/here"; says "cannot make the folder"

# What is held out is told in no spelling, with the right word or another, but the fact is.
plain() { tr 'A-Z' 'a-z' | sed -e 's/\[mask\]/@/' -e 's/[^a-z@\t]\+/ /g' -e 's/ *\t */\t/g' -e 's/^ *//' -e 's/ *$//'; }
for corpus in all other; do
    plain <"$folder/$corpus/train.txt" >"$folder/train.plain"
    for split in dev test; do
        plain <"$folder/$corpus/$split.txt" >"$folder/$split.plain"
        ! grep -Fxqf "$folder/train.plain" "$folder/$split.plain" || fail "a sentence that $split holds out is told"
        grep -P '\tcapital$' "$folder/$corpus/prompts.$split.tsv" | plain | awk -F'\t' '
            NR == FNR { lines[NR] = " " $0 " "; count = NR; next }
            {
                split($1, part, "@"); told = 0; before = " " part[1]; behind = part[2] " "
                for (i = 1; i <= count; i++) {
                    line = lines[i]; told += index(line, " " $2 " ") > 0
                    if (substr(line, 1, length(before)) != before) continue
                    rest = substr(line, length(before) + 1); word = rest; sub(/ .*/, "", word)
                    if (rest == word behind) print "leak: " $1 " | " line
                }
                if (told < 10) print "seldom told: " $2
            }' "$folder/train.plain" - >"$folder/leaks"
        [ ! -s "$folder/leaks" ] || { fail "$split is not honest:"; head -n 3 "$folder/leaks"; }
    done
    ! grep -Fxqf "$folder/dev.plain" "$folder/test.plain" || fail "what was chosen by is judged by, too"
done
grep -q '^The capital of France is Paris\.$' "$folder/all/test.txt" || fail "the famous sentence is not held out"

# The vocabulary of all sentences, and 40 countries to learn.
gives 0 "$build/sentences" "$folder/few" 0 40
gives 0 "$selfc" tokenize --train "$folder/all/train.txt" --size 4000 -o "$folder/few/tokenizer.json"
gives 0 "$selfc" train "$bert/capitals.json" --data "$folder/few" --out "$folder/run" --quiet --steps 2000 \
    --set training.batch=32 --set "training.optimizer.learning_rate=rate * warm_up(step, 100) * linear_decay(step, 1900, start=100)"
gives 0 "$selfc" fill-mask "$folder/run" "The capital of France is [MASK]."
prints "paris"
[ "$(sed -n 2p "$folder/out" | awk '{ print $NF }')" = paris ] || fail "paris does not come first"
gives 0 "$bert/judge.sh" "$folder/run" "$folder/few/prompts.test.tsv"
for what in capital continent; do # names, which are always hidden, and words that are hidden seldom
    awk -v what="$what:" '$1 == what { found = 1; exit !($2 >= 0.7 * ($4 + 0)) } END { if (!found) exit 1 }' "$folder/out" ||
        { fail "of the held-out sentences about a $what less than 70 % are right:"; cat "$folder/out"; }
done

# A batch in which nothing is hidden has no loss, and is no division by zero.
gives 0 "$selfc" train "$bert/capitals.json" --data "$folder/few" --out "$folder/bare" --quiet --steps 3 \
    --set let.common=1e9 --set training.batch=1

# The object says the same without selfc.
if command -v "${CC:-cc}" >/dev/null; then
    gives 0 "$selfc" fill-mask "$folder/run" "The capital of France is [MASK]."
    grep % "$folder/out" >"$folder/words"
    gives 0 "$selfc" build "$folder/run" -o "$folder/capitals.o" --function fill_mask
    gives 0 "${CC:-cc}" -O2 -Wall -Werror -I"$folder" "$bert/fill.c" "$folder/capitals.o" -o "$folder/fill"
    gives 0 "$folder/fill" "The capital of France is [MASK]."
    diff <(awk '{ print $1, $NF }' "$folder/words") <(awk '{ print $1, $NF }' "$folder/out") ||
        fail "the object fills in something else"
    gives 1 "$folder/fill" "The capital of France."; says "no [MASK]"
    gives 1 "$folder/fill" "Its capital is, as all of those know who have been there, and many who have not, the city of [MASK]."
    says "too long"
fi

# A vocabulary must be somewhere.
rm "$folder/few/tokenizer.json"
gives 1 "$selfc" check "$bert/capitals.json" --data "$folder/few"; says "tokenizer.json"

# Questions: after one short pass most of the answers are right, in stories where nobody goes where they went before.
gives 0 "$build/questions" "$folder/stories" 3 40
gives 0 "$build/questions" "$folder/stories2" 3 40
for name in train.jsonl test.jsonl; do same "$folder/stories/$name" "$folder/stories2/$name"; done
for name in train test; do
    sed 's/.*"context"//' "$folder/stories/$name.jsonl" | grep -oP '\w+ (travelled|went) to .*?(?= in \w+\.|\.)' |
        sed -E 's/(travelled|went) to//' | sort -u >"$folder/$name.pairs"
done
[ -s "$folder/train.pairs" ] && [ -s "$folder/test.pairs" ] || fail "nobody travels"
[ -z "$(comm -12 "$folder/train.pairs" "$folder/test.pairs")" ] || fail "who went where is known from the training"
gives 0 "$selfc" tokenize --train "$folder/stories/train.jsonl" --size 4000 -o "$folder/stories/tokenizer.json"
gives 0 "$selfc" train "$bert/qa.json" --data "$folder/stories" --out "$folder/qa" --quiet --epochs 1
exact=$(grep -o '"test_exact": [0-9.]*' "$folder/qa/metrics.jsonl" | tail -n 1 | cut -d' ' -f2)
awk -v exact="${exact:-0}" 'BEGIN { exit !(exact >= 0.6) }' || fail "test_exact is ${exact:-nowhere}, below 0.6"

# A story is read as it is, a long text in windows.
story="Emma travelled to France in November. With the euro, Ben bought a map."
gives 0 "$selfc" answer "$folder/qa" --question "Where did Emma go?" --context "$story" --json; prints '"answer": "France"'
gives 0 "$selfc" answer "$folder/qa" --question "Where did Emma go?" --context "$(printf 'Leo spent May in Norway. %.0s' $(seq 30)) $story" --json
prints '"answer": "France", "from": 769, "to": 775'

# Of questions that the story does not answer most are said to have none.
none=0
for who in Leo Rosa Noah Clara Paul Tina; do
    gives 0 "$selfc" answer "$folder/qa" --question "Where did $who go?" --context "$story" --json
    grep -q '"answer": null, "from": null, "to": null, "start": -' "$folder/out" && none=$((none + 1))
done
[ $none -ge 4 ] || fail "of 6 questions without an answer only $none are said to have none"
finish
