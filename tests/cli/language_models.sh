#!/usr/bin/env bash
# The language models of examples/bert/ on a little text: what they are, that they learn, that a run that was stopped
# goes on to the same bits, that functions come out for each length, that letters are written and reviews are judged.
. "$(dirname "$0")/common.bash"
examples=$source_dir/examples/bert
words=(the a king queen fool ghost said saw heard loved feared that this sword crown castle again)
for i in $(seq 3000); do
    printf '%s ' "${words[$((i * i * 7 % 17))]}" "${words[$((i * 13 % 17))]}"
    [ $((i % 6)) = 0 ] && printf '.\n'
done >"$folder/text.txt"
vocabulary() { # SIZE
    printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' . "${words[@]}"
    seq -f '##%.0f' $(($1 - 6 - ${#words[@]}))
}
vocabulary 30522 >"$folder/large.txt"
vocabulary 40 >"$folder/small.txt"
with() { # VOCABULARY: arguments for selfc
    arguments=(--data "$folder/text.txt" --set "training.data.text.tokenizer=$folder/$1.txt")
}

# The published size, and the same weights by the same names as the library's.
with large
gives 0 "$selfc" check "$examples/bert-base.json" "${arguments[@]}"
prints 109514298
prints "fill_mask_128: text i32[n,128], count i32[n], positions i32[n] → probability f32[n,30522]"
parameters() { sed -n '/^parameters/,/^ *all /p' "$folder/out"; }
parameters >"$folder/written_out"
gives 0 "$selfc" check "$examples/bert-small.json" "${arguments[@]}" --set let.units=768 --set let.layers=12 --set let.heads=12
parameters | cmp -s - "$folder/written_out" || fail "the library's BERT has other weights than bert-base.json"

# Masks: learned, reported, and the same after a pause.
with small
tiny=("${arguments[@]}" --set let.units=32 --set let.layers=2 --set let.heads=2 --set training.data.text.length=32 --set
    training.batch=4 --set training.optimizer.learning_rate=0.003 --quiet)
gives 0 "$selfc" train "$examples/bert-small.json" "${tiny[@]}" --steps 60 --out "$folder/whole"
loss() { sed -n "s/.*\"$2\": \([0-9.]*\).*/\1/p" "$folder/$1/metrics.jsonl" | "$3" -n 1; }
[ -n "$(loss whole test_guessed tail)" ] || fail "the share of words guessed is not reported"
awk -v a="$(loss whole test_loss tail)" 'BEGIN { exit !(a != "" && a < 3.2) }' ||
    fail "after 60 steps the loss is $(loss whole test_loss tail); 40 words at random have 3.7"
gives 0 "$selfc" train "$examples/bert-small.json" "${tiny[@]}" --steps 30 --out "$folder/halves"
gives 0 "$selfc" train "$folder/halves" --resume --steps 60 --quiet
same_tensors "$folder/whole/checkpoint.safetensors" "$folder/halves/checkpoint.safetensors"
gives 0 "$selfc" check "$folder/whole"
prints "encode_32: text i32[n,32], count i32[n] → features f32[n,32]"

# What is written out in the description is exported with the numbers that it computes with, and comes back.
gives 0 "$selfc" train "$examples/bert-base.json" "${tiny[@]}" --set let.inner=64 --set let.epsilon=1e-6 --set let.dropout=0.2 \
    --set training.accumulate=1 --steps 2 --out "$folder/base"
gives 0 "$selfc" export "$folder/base" -o "$folder/folder"; prints "a BertForMaskedLM, 2 layers of 32, 40 words"
for number in '"num_attention_heads": 2' '"layer_norm_eps": 1e-06' '"hidden_dropout_prob": 0.2' '"attention_probs_dropout_prob": 0.1'; do
    grep -qF "$number" "$folder/folder/config.json" || fail "config.json does not have $number"
done
gives 0 "$selfc" import "$folder/folder" -o "$folder/again"
python3 - "$folder/base/weights.safetensors" "$folder/again/weights.safetensors" <<'END' || fail "weights are not the same after export and import"
import json, struct, sys
def read(path):
    bytes = open(path, "rb").read()
    length = struct.unpack("<Q", bytes[:8])[0]
    header, body = json.loads(bytes[8:8 + length]), bytes[8 + length:]
    return {n: body[slice(*t["data_offsets"])] for n, t in header.items() if n != "__metadata__"}
sys.exit(read(sys.argv[1]) != read(sys.argv[2]))
END
# Numbers with names that export does not know are not guessed.
for name in heads epsilon; do
    sed "s/\"$name\": \([0-9]\)/\"other\": \1/; s/: \"$name\"/: \"other\"/" "$examples/bert-base.json" >"$folder/other.json"
    rm -rf "$folder/other" && gives 0 "$selfc" train "$folder/other.json" "${tiny[@]/let.heads=2/let.units=48}" --set let.inner=64 --set training.accumulate=1 --steps 1 --out "$folder/other"
    gives 1 "$selfc" export "$folder/other" -o "$folder/none"; says "no positive number called \"$name\""
done

# Letters.
gives 0 "$selfc" train "$examples/gpt-mini.json" --data "$folder/text.txt" --set let.units=32 --set let.context=16 \
    --epochs 5 --quiet --out "$folder/letters"
awk -v a="$(loss letters test_loss tail)" 'BEGIN { exit !(a != "" && a < 2) }' ||
    fail "after 300 steps the loss of letters is $(loss letters test_loss tail)"
gives 0 "$selfc" check "$folder/letters"

# A program writes on from a beginning: what it has learnt, whether that is shorter or longer than what the model reads.
if command -v "${CC:-cc}" >/dev/null; then
    gives 0 "$selfc" build "$folder/letters" -o "$folder/letters.o" --function continue
    gives 0 "${CC:-cc}" -O2 -Wall -Wextra -Werror -I"$folder" "$examples/write.c" "$folder/letters.o" -lm -o "$folder/write"
    writes() { # TEXT ARGUMENTS…: exactly that comes out
        local text=$1; shift
        gives 0 "$folder/write" "$@"
        [ "$(cat "$folder/out")" = "$text" ] || { fail "not \"$text\" but:"; cat "$folder/out"; }
    }
    writes ghost gho 2 0
    writes "that loved this ghost" "that loved this gh" 3 0
    gives 0 "$folder/write" the 60 0 5
    text=$(cat "$folder/out")
    writes "$text" the 60 0 6
    writes "$text" "${text:0:62}" 1 0
    gives 0 "$folder/write" the 200 1 5; cp "$folder/out" "$folder/written"
    [ "$(wc -c <"$folder/written")" = 204 ] || fail "not 200 letters were written"
    gives 0 "$folder/write" the 200 1 5; same "$folder/out" "$folder/written"
    gives 0 "$folder/write" the 200 1 6; ! cmp -s "$folder/out" "$folder/written" || fail "the seed makes no difference"
    gives 1 "$folder/write" "the ßing"; says 'has not seen the first character of "ßing"'
    gives 2 "$folder/write" the many; says "'many' should be a number from 0"
    gives 2 "$folder/write" ""; says "usage"
fi

# Reviews: a word tells the class. The dev split judges the training, the test split what came out.
reviews() { # FIRST LAST
    for i in $(seq "$1" "$2"); do
        printf '%s the %s %s this %s\n' $((i % 2)) "${words[$((i * 7 % 5 + 2))]}" "${words[$((10 - i % 2))]}" "${words[$((i % 3 + 12))]}"
    done
}
reviews 1 200 >"$folder/reviews.train.txt"
reviews 201 240 >"$folder/reviews.dev.txt"
reviews 241 280 >"$folder/reviews.test.txt"
gives 0 "$selfc" train "$examples/sst2.json" --data "$folder/reviews.train.txt" --out "$folder/reviews" --quiet --epochs 17 \
    --set let.units=32 --set let.layers=1 --set let.heads=2 --set let.rate=0.003 \
    --set "training.data.text.tokenizer=$folder/small.txt"
awk -v a="$(loss reviews test_accuracy tail)" 'BEGIN { exit !(a != "" && a > 0.95) }' ||
    fail "after 100 steps the accuracy of reviews is $(loss reviews test_accuracy tail)"
judged=$(cut -d' ' -f2- "$folder/reviews.test.txt" | "$selfc" classify "$folder/reviews" | cut -d' ' -f1 |
    paste -d' ' - "$folder/reviews.test.txt" | awk '{ right += $1 == ($2 ? "good" : "bad") } END { print right / NR }')
awk -v a="$judged" 'BEGIN { exit !(a > 0.95) }' || fail "the accuracy of reviews that it has not seen is $judged"
finish
