#!/usr/bin/env bash
# Training on text: characters and WordPiece, streams, lines and questions; the same bits for any number of threads,
# resumed, from the cache and in a built program; a RUN has its tokenizer; bad texts are said to be so.
. "$(dirname "$0")/common.bash"
cd "$folder" || exit 1
export XDG_CACHE_HOME=$folder/home

cat >characters.json <<'END'
{
  "name": "characters",
  "modules": {
    "encode": {
      "inputs": { "text": { "shape": ["n", 8], "type": "i32" } },
      "layers": [
        { "layer": "embedding", "size": "vocabulary", "units": 4, "name": "letter" },
        { "layer": "flatten" },
        { "layer": "dense", "units": 6, "activation": "relu", "name": "h" }
      ]
    }
  },
  "training": {
    "data": { "text": { "source": "text", "length": 9, "tokenizer": "characters", "stride": 2 } },
    "layers": [
      { "module": "encode", "input": "text[:, 0:8]", "name": "h" },
      { "layer": "dense", "input": "h", "units": "vocabulary", "name": "logits" },
      { "expr": "mean(cross_entropy(logits, reshape(text[:, 8:9], [n])))", "name": "loss" }
    ],
    "minimize": "loss",
    "batch": 16,
    "epochs": 1
  },
  "functions": { "encode": { "module": "encode" } }
}
END
mkdir -p described/words
cat >described/labelled.json <<'END'
{
  "name": "labelled",
  "modules": {
    "encode": {
      "inputs": { "text": { "shape": ["n", 12], "type": "i32" } },
      "layers": [
        { "layer": "embedding", "size": "vocabulary", "units": 6, "name": "token" },
        { "expr": "mean(token, axis=1)", "name": "h" }
      ]
    }
  },
  "training": {
    "data": {
      "text": { "source": "text", "length": 12, "tokenizer": "words" },
      "label": { "source": "text", "field": "label" },
      "word": { "source": "text", "field": "word" },
      "count": { "source": "text", "field": "count" }
    },
    "layers": [
      { "module": "encode", "input": "text", "name": "h" },
      { "layer": "dense", "input": "h", "units": 2, "name": "logits" },
      { "expr": "mean(cross_entropy(logits, label))", "name": "loss" },
      { "expr": "mean(1.0 * count)", "name": "tokens" },
      { "expr": "sum(one_hot(text, vocabulary)[:, :, mask:mask + 1])", "name": "masks" },
      { "expr": "mean(1.0 * word)", "name": "place" }
    ],
    "minimize": "loss",
    "report": ["tokens", "place", "masks"],
    "batch": 8,
    "epochs": 2
  },
  "functions": { "encode": { "module": "encode" } }
}
END
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' the a cat dog '##s' '##ly' sat ran slow quick . \
    >described/words/vocab.txt

cat >texts.py <<'END'
import os, random
random.seed(5)
words = ["the", "a", "cat", "dogs", "cats", "sat", "ran", "slowly", "quick", ".", "wolf"]
def sentence(): return " ".join(random.choice(words) for _ in range(random.randrange(1, 14)))
open("play.txt", "w").write("\n".join(sentence() for _ in range(200)) + "\n")
for name, count in (("train", 90), ("dev", 20), ("test", 7)):
    with open(f"reviews.{name}.txt", "w") as out:
        for _ in range(count):
            text = sentence()
            out.write(f"{int('cat' in text)} {text}\n")
for i in range(12):
    os.makedirs("folder/train", exist_ok=True)
    os.makedirs("folder/test", exist_ok=True)
    open(f"folder/{'train' if i < 9 else 'test'}/{i:02}.txt", "w").write("\n\n".join(sentence() for _ in range(20)))
END
python3 texts.py

# Characters. The last tenth of the text is the test split; the RUN names its own tokenizer.
gives 0 "$selfc" check characters.json --data play.txt; prints "characters is right"
vocabulary=$(python3 -c "t = open('play.txt', 'rb').read(); print(len(set(t[:len(t) - len(t) // 10])))")
prints "f32[$vocabulary,4]"
gives 0 "$selfc" train characters.json --data play.txt --threads 1 --out one
grep -q '"test_loss": ' one/metrics.jsonl || fail "there is no loss of the test split"
grep -q '"tokenizer": "tokenizer.json"' one/model.json || fail "the RUN does not name its tokenizer"
grep -q "\"vocabulary\": $vocabulary" one/model.json || fail "the RUN does not say how large its vocabulary is"
tokens='import json, sys; print(len(json.load(open(sys.argv[1]))["model"]["vocab"]))'
[ "$(python3 -c "$tokens" one/tokenizer.json)" = "$vocabulary" ] || fail "the RUN's tokenizer has not $vocabulary tokens"
gives 0 "$selfc" train characters.json --data play.txt --threads 3 --out three
same_tensors one/checkpoint.safetensors three/checkpoint.safetensors
gives 0 "$selfc" train characters.json --data play.txt --steps 20 --out parts
gives 0 "$selfc" train characters.json --data play.txt --resume --out parts
same_tensors one/checkpoint.safetensors parts/checkpoint.safetensors
gives 0 "$selfc" train characters.json --data play.txt --steps 20 --out whole
gives 0 "$selfc" train whole --resume --epochs 1
same_tensors one/checkpoint.safetensors whole/checkpoint.safetensors
same one/tokenizer.json whole/tokenizer.json

# One cache file for each split, whatever the length and the stride; none with --no-cache.
[ "$(find home -name 'tokens-*' | wc -l)" = 2 ] || fail "the cache has not one file for each split: $(ls home/selfc)"
gives 0 "$selfc" train characters.json --data play.txt --no-cache --out uncached
same_tensors one/checkpoint.safetensors uncached/checkpoint.safetensors
gives 0 "$selfc" check characters.json --data play.txt --set training.data.text.stride=5
[ "$(find home -name 'tokens-*' | wc -l)" = 2 ] || fail "another stride is no other text"
bytes=$(find home -name 'tokens-*' -printf '%s\n' | sort -n | tail -1)
[ "$bytes" -le $((2 * $(wc -c <play.txt))) ] || fail "the cache has $bytes bytes for $(wc -c <play.txt) characters"

# Another text has other characters, and a run goes on with its own.
sed 's/the/THE/; s/$/!/' play.txt >other.txt
gives 1 "$selfc" train characters.json --data other.txt --resume --epochs 2 --out parts
says "parts/tokenizer.json has $vocabulary tokens, but the tokenizer of the description is another, with $((vocabulary + 4))"
same_tensors one/checkpoint.safetensors parts/checkpoint.safetensors
gives 1 "$selfc" check characters.json --data other.txt --set training.data.text.vocabulary="$vocabulary"
says "its vocabulary is described as $vocabulary tokens, but the tokenizer (characters) has $((vocabulary + 4))"

# A built program has the tokenizer in it.
gives 0 "$selfc" build characters.json --data play.txt -o trainer
gives 0 ./trainer --out built
same_tensors one/checkpoint.safetensors built/checkpoint.safetensors
same one/tokenizer.json built/tokenizer.json
gives 0 ./trainer --data other.txt --steps 3 --out built-other
same one/tokenizer.json built-other/tokenizer.json

# How many of a file's lines have more than ten tokens.
long_lines() {
    python3 -c 'import sys
pieces = {"cats": 2, "dogs": 2, "slowly": 2}
print(sum(sum(pieces.get(word, 1) for word in line.split()[1:]) > 10 for line in open(sys.argv[1])))' "$1"
}

# WordPiece from a folder beside the description; lines with labels, beside one another and in a folder.
labelled=described/labelled.json
gives 0 "$selfc" train $labelled --data reviews.train.txt --threads 1 --out words
cut="$(long_lines reviews.train.txt) of 90 lines of the training data are cut at 12 tokens"
says "note: reviews.train.txt: $cut; a larger \"length\" keeps more"
says "of 20 lines of the test data"
[ "$(grep -c 'are cut at' "$folder/err")" = 2 ] || fail "it is not said once of each split"
gives 0 "$selfc" check $labelled --data reviews.train.txt; says "note: reviews.train.txt: $cut; a larger"
grep -q '"masks": 0' words/metrics.jsonl || fail "there are masks in the text: $(tail -1 words/metrics.jsonl)"
grep -q '"mask": 4' words/model.json || fail "the RUN does not say what [MASK] is"
[ "$(python3 -c "$tokens" words/tokenizer.json)" = 16 ] || fail "the RUN's tokenizer is another"
gives 1 "$selfc" check $labelled --data reviews.train.txt --set training.data.text.mask=3
says "[MASK] is described as the token 3, but in the tokenizer (words) it is 4"
gives 0 "$selfc" train $labelled --data reviews.train.txt --threads 3 --epochs 1 --out parted
gives 0 "$selfc" train parted --resume --epochs 2
same_tensors words/checkpoint.safetensors parted/checkpoint.safetensors
rm -r described/words
mkdir reviews && cp reviews.*.txt reviews
gives 0 "$selfc" embed words --data reviews -o features.npy; prints "f32[90,6]"; prints "features.labels.npy"
says "note: reviews: $cut; \"encode\" takes no longer ones"
gives 0 "$selfc" embed words --data reviews --split test -o features.npy; prints "f32[20,6]"
says "of 20 lines of the test data are cut at 12 tokens"
gives 0 "$selfc" eval words --data reviews --protocol knn; prints "of 20 test samples right"
says "note: reviews: $cut; "; says "of 20 lines of the test data"
gives 0 "$selfc" eval words --data reviews --protocol finetune; prints "of 20 test samples right"
gives 0 "$selfc" profile words --data reviews
gives 1 "$selfc" train words --data reviews --set training.layers[1].units=1 --out two
says "label 1, but there are 1 classes"
gives 1 "$selfc" check words --data reviews --set training.data.text.unit=stream; says 'so the unit must be "line"'
gives 1 "$selfc" check $labelled --data reviews; says "described/words: No such file"
sed 's/^\([01]\) /good\1 /' reviews.train.txt >bad.txt
gives 1 "$selfc" train words --data bad.txt --out bad; says "bad.txt:1: a line should begin with its label"

# Documents, and what is no text.
gives 0 "$selfc" check one --data folder --set training.data.text.unit=document --set training.batch=9
prints "epochs of 9 samples"
gives 0 "$selfc" check one --data folder
printf 'caf\351\n%.0s' 1 2 3 >latin.txt
gives 1 "$selfc" train one --data latin.txt --out latin
says "latin.txt:1: byte 3 of the file, 0xE9, is no UTF-8"
[ ! -e latin ] || fail "a text that cannot be read leaves a RUN"
: >empty.txt
gives 1 "$selfc" train one --set training.data.text.path=empty.txt; says "empty.txt: holds no text"
printf 'the' >short.txt
gives 1 "$selfc" train one --data short.txt
says "the training text has 3 tokens, too few for one sample, whose \"length\" is 9"
gives 1 "$selfc" check characters.json; says "where is that? Give it with --data"
gives 1 "$selfc" build characters.json -o encode.o --function encode; says "the vocabulary is not known: "
gives 0 "$selfc" build characters.json -o encode.o --function encode --set training.data.text.vocabulary=50

# Questions with answers.
cat >questions.json <<'END'
{
  "name": "questions",
  "training": {
    "data": {
      "text": { "source": "text", "path": "questions.train.jsonl", "length": 20, "tokenizer": "words/tokenizer.json" },
      "start": { "source": "text", "field": "start" },
      "end": { "source": "text", "field": "end" },
      "segment": { "source": "text", "field": "segment" }
    },
    "layers": [
      { "layer": "embedding", "input": "text", "size": "vocabulary", "units": 6, "name": "token" },
      { "layer": "dense", "units": 2 },
      { "expr": "it + 0.1 * reshape(1.0 * segment, [n, 20, 1])", "name": "logits" },
      { "expr": "mean(cross_entropy(logits[:, :, 0], start) + cross_entropy(logits[:, :, 1], end))", "name": "loss" },
      { "expr": "mean(1.0 * start)", "name": "place" }
    ],
    "minimize": "loss",
    "report": "place",
    "batch": 4,
    "epochs": 1
  }
}
END
for i in 1 2 3 4 5 6 7 8; do
    echo '{"question": "the cat", "context": "a dog ran . the cats sat slowly .", "answer": "cats", "start": 16}'
done >questions.train.jsonl
cp questions.train.jsonl questions.dev.jsonl
gives 0 "$selfc" train questions.json --out asked
grep -q '"place": 9' asked/metrics.jsonl || fail "answers begin elsewhere: $(tail -1 asked/metrics.jsonl)"
gives 1 "$selfc" train questions.json --data reviews --out unasked
says 'no field "start": questions with answers stand in .jsonl files'
sed -i 's/16/17/' questions.dev.jsonl
gives 1 "$selfc" train questions.json --out wrong; says 'questions.dev.jsonl:1: "start" is 17'
finish
