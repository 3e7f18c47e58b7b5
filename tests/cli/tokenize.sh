#!/usr/bin/env bash
# selfc tokenize: text to tokens and ids and back, vocabularies in their forms, training, and what is wrong.
. "$(dirname "$0")/common.bash"
cd "$folder" || exit 1
corpus="$source_dir/README.md $source_dir/docs/language.md"

gives 0 "$selfc" tokenize --train $corpus --size 800 -o vocab.txt; prints "vocab.txt: 800 tokens"
mkdir run
gives 0 "$selfc" tokenize --train $corpus --size 800 -o run/tokenizer.json; prints "800 tokens"
[ "$(head -n 5 vocab.txt | tr '\n' ' ')" = "[PAD] [UNK] [CLS] [SEP] [MASK] " ] || fail "special tokens come first"
printf 'The model is here.\n\nWhat is [MASK]?' >text
gives 0 "$selfc" tokenize --vocabulary run text; prints "the model is"; prints "[MASK] ?"
[ "$(wc -l <out)" = 3 ] || fail "a line for each line"
cp out tokens
gives 0 "$selfc" tokenize --vocabulary vocab.txt text; same out tokens
"$selfc" tokenize --vocabulary run <text >piped || fail "from a pipe"; same piped tokens
gives 0 "$selfc" tokenize --vocabulary run --ids text text; cp out ids
[ "$(wc -l <ids)" = 6 ] || fail "two files"
gives 0 "$selfc" tokenize --vocabulary run --decode ids; prints "the model is here."
gives 0 "$selfc" tokenize --train $corpus --size 800 --cased -o cased.txt
gives 0 "$selfc" tokenize --vocabulary cased.txt text; prints "The model"
gives 0 "$selfc" tokenize --train $corpus --size 800 -o again.txt; same again.txt vocab.txt

gives 2 "$selfc" tokenize text; says "--vocabulary is missing"
gives 2 "$selfc" tokenize --train --size 100 -o x.txt; says "wants FILES, --size N and one -o FILE"
gives 2 "$selfc" tokenize --vocabulary vocab.txt --size 5 text; says "go with --train"
gives 1 "$selfc" tokenize --vocabulary none text; says "cannot read none"
gives 1 "$selfc" tokenize --vocabulary "$source_dir/docs" text; says "neither a tokenizer.json nor a vocab.txt"
gives 1 "$selfc" tokenize --vocabulary vocab.txt none; says "cannot read none"
gives 1 "$selfc" tokenize --vocabulary vocab.txt --decode text; says 'text:1: "The" is no id of the vocabulary, a whole number from 0 to 799'
gives 1 "$selfc" tokenize --train $corpus --size 20 -o x.txt; says "a vocabulary of 20 tokens is too small"
: >empty
gives 1 "$selfc" tokenize --train empty --size 100 -o x.txt; says "empty: holds no text"
echo >blank
gives 1 "$selfc" tokenize --train blank --size 100 -o x.txt; says "there are no words"

# JSON lines as they read, and folders as they are trained on.
mkdir asked
printf '%s\n' '{"question": "who?", "context": "caf\u00e9\n\"x\"", "answer": "x", "start": 777}' '' >asked/train.jsonl
echo '{"question": "zzz", "context": "zzz"}' >asked/test.jsonl
printf 'who? caf\303\251\n"x"' >read.txt
for from in asked asked/train.jsonl read.txt "-"; do
    "$selfc" tokenize --train $from --size 100 --cased -o "from.txt" <read.txt >out 2>err || fail "$from: $(cat err)"
    [ $from = asked ] && cp from.txt first.txt
    same first.txt from.txt
done
"$selfc" tokenize --train <(cat read.txt) --size 100 --cased -o from.txt >out || fail "a pipe is not read"
same first.txt from.txt
gives 0 "$selfc" tokenize --vocabulary first.txt read.txt; prints 'c ##a ##f ##é'
echo '{"question": "who"}' >>asked/train.jsonl
gives 1 "$selfc" tokenize --train asked --size 100 -o x.txt; says 'asked/train.jsonl:3: the JSON object has no "context"'
printf '%s ' привет Привет мир Мир >russian
gives 0 "$selfc" tokenize --train russian --size 60 --cased -o russian.txt
gives 0 "$selfc" tokenize --vocabulary russian.txt russian; grep -q '^п' out && grep -q ' П' out || fail "case is lost: $(cat out)"
echo '{"model": {"type": "Unigram", "vocab": []}}' >unigram.json
gives 1 "$selfc" tokenize --vocabulary unigram.json text; says 'unigram.json: the model "Unigram" is not supported, only "WordPiece"'
finish
