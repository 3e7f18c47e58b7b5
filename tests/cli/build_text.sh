#!/usr/bin/env bash
# Built files whose functions take text: nothing undefined, the right length, pairs, masks, words; the same from an
# object, an archive and assembly.
. "$(dirname "$0")/common.bash"
cc=${CC:-cc}
command -v "$cc" >/dev/null && command -v nm >/dev/null || { echo "skipped: wants $cc and nm"; exit 77; }

mkdir "$folder/run"
cat >"$folder/run/model.json" <<'END'
{
  "name": "tiny",
  "functions": {
    "encode": {
      "lengths": [8, 16, 32],
      "inputs": { "text": { "shape": ["n", "length"], "type": "i32" }, "count": { "shape": ["n"], "type": "i32" } },
      "layers": [
        { "expr": "sum(cast(text, 'f32'), axis=1) + 10000 * cast(count, 'f32') + 100000 * length", "name": "features" }
      ]
    },
    "fill": {
      "lengths": [8, 32],
      "inputs": {
        "text": { "shape": ["n", "length"], "type": "i32" },
        "segment": { "shape": ["n", "length"], "type": "i32" },
        "positions": { "shape": ["n"], "type": "i32" }
      },
      "layers": [
        { "expr": "sum(cast(segment + 0 * text, 'f32'), axis=1) * 1000 + cast(positions, 'f32')", "name": "place" }
      ]
    },
    "named_16": {
      "inputs": { "text": { "shape": ["n", 16], "type": "i32" } },
      "layers": [{ "expr": "sum(cast(text, 'f32'), axis=1) + 1600000", "name": "features" }]
    },
    "named_8": {
      "inputs": { "text": { "shape": ["n", 8], "type": "i32" } },
      "layers": [{ "expr": "sum(cast(text, 'f32'), axis=1) + 800000", "name": "features" }]
    },
    "mixed_8": {
      "inputs": { "text": { "shape": ["n", 8], "type": "i32" }, "count": { "shape": ["n"], "type": "i32" } },
      "layers": [{ "expr": "sum(cast(text, 'f32'), axis=1) + cast(count, 'f32')", "name": "features" }]
    },
    "mixed_16": {
      "inputs": { "text": { "shape": ["n", 16], "type": "i32" }, "positions": { "shape": ["n"], "type": "i32" } },
      "layers": [{ "expr": "sum(cast(text, 'f32'), axis=1) + cast(positions, 'f32')", "name": "features" }]
    },
    "each": {
      "lengths": [8, 16],
      "inputs": { "text": { "shape": ["n", "length"], "type": "i32" } },
      "layers": [{ "expr": "cast(text, 'f32')", "name": "ids" }]
    }
  }
}
END
words='[PAD] [UNK] [CLS] [SEP] [MASK] the capital of france is paris . ##s a'
{
    printf '{"version":"1.0","added_tokens":['
    id=0
    for word in ${words%% the*}; do
        [ $id = 0 ] || printf ','
        printf '{"id":%d,"content":"%s","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}' $id "$word"
        id=$((id + 1))
    done
    printf '],"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},'
    printf '"pre_tokenizer":{"type":"BertPreTokenizer"},"model":{"type":"WordPiece","unk_token":"[UNK]",'
    printf '"continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{'
    id=0
    for word in $words; do
        [ $id = 0 ] || printf ','
        printf '"%s":%d' "$word" $id
        id=$((id + 1))
    done
    printf '}}}\n'
} >"$folder/run/tokenizer.json"
printf '\2\0\0\0\0\0\0\0{}' >"$folder/run/weights.safetensors"

gives 0 "$selfc" build "$folder/run" -o "$folder/tiny.o"
[ -z "$(nm -u "$folder/tiny.o")" ] || fail "undefined: $(nm -u "$folder/tiny.o")"
says '"each" takes rows of ids alone'; says '"mixed" takes rows of ids alone'
! grep -q encode "$folder/err" || fail "encode is said to take no text"
! grep -q each_text "$folder/tiny.h" || fail "a function whose result has as many numbers as the row cannot take text"
! grep -q mixed_text "$folder/tiny.h" || fail "functions with different inputs cannot be one that takes text"

cat >"$folder/use.c" <<'END'
#include "tiny.h"
#include <stdio.h>
#include <string.h>
static char workspace[TINY_ENCODE_TEXT_WORKSPACE + TINY_FILL_TEXT_WORKSPACE + TINY_NAMED_TEXT_WORKSPACE];
static void encode(const char *text) {
    float y = -1;
    int code = tiny_encode_text(text, strlen(text), &y, workspace);
    printf("%d %.0f\n", code, y);
}
static void fill(const char *text, const char *pair) {
    float y = -1;
    int code = tiny_fill_text(text, strlen(text), pair, pair ? strlen(pair) : 0, &y, workspace + 1);
    printf("%d %.0f\n", code, y);
}
static void named(const char *text) {
    float y = -1;
    int code = tiny_named_text(text, strlen(text), &y, workspace);
    printf("%d %.0f\n", code, y);
}
static float encoded(const char *text) {
    float y = -1;
    tiny_encode_text(text, strlen(text), &y, workspace);
    return y;
}
int main(void) {
    encode("The capital of France is Paris."); /* 2 + 5 … 11 + 3 */
    encode("");
    encode("a a a a a a");
    encode("a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a");
    named(""); /* the shorter one stands behind the longer */
    named("a a a a a a a");
    fill("the capital of [MASK]", "is paris");
    fill("the capital of [MASK]", NULL);
    fill("the capital", NULL);
    fill("a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a [MASK]", NULL);
    fill("a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a mask", NULL);
    fill("a", "a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a [MASK]");
    printf("%s %s %d\n", tiny_word(8), tiny_word(12), tiny_word(14) == NULL && tiny_word(-1) == NULL);
    printf("%d %d\n", tiny_encode_text(NULL, 0, NULL, workspace), tiny_encode_text("a", 1, NULL, workspace));
    printf("%d\n", encoded("a [SEP] a") == encoded("a [ SEP ] a")); /* text, where no [MASK] is asked for */
    return 0;
}
END
cat >"$folder/want" <<'END'
0 1690061
0 820005
0 880083
0 3520395
0 800005
0 1600096
0 3004
0 4
3 -1
4 -1
3 -1
4 -1
france ##s 1
2 2
1
END
use() { # what to link
    "$cc" -Wall -Werror -I"$folder" "$folder/use.c" "$@" -o "$folder/use" || { fail "cannot link $*"; return; }
    "$folder/use" >"$folder/have" || fail "$* does not run"
    diff "$folder/want" "$folder/have" || fail "$* says something else"
}
use "$folder/tiny.o"
for ending in a s so; do
    gives 0 "$selfc" build "$folder/run" -o "$folder/tiny.$ending"
    use "$folder/tiny.$ending"
done
gives 0 "$selfc" build "$folder/run" -o "$folder/alone.o" --function each_8
[ -s "$folder/err" ] && fail "a copy alone has nothing to differ from"
grep -q each_text "$folder/alone.h" || fail "a copy alone takes no text"
gives 0 "$selfc" build "$folder/run" -o "$folder/cross.o" --target aarch64-linux-gnu --function encode
case $(uname -m) in
x86_64) says "the code that reads text is for this machine"; says "not for aarch64"; ! grep -q encode_text "$folder/cross.h" || fail "the header has what the object has not" ;;
esac
# A vocabulary is a tokenizer, too.
cp -r "$folder/run" "$folder/lines" && rm "$folder/lines/tokenizer.json"
printf '%s\n' $words >"$folder/lines/vocab.txt"
gives 0 "$selfc" build "$folder/lines" -o "$folder/tiny.o"
use "$folder/tiny.o"
sed 's/"each": {/"word": {/' "$folder/run/model.json" >"$folder/model.json" && mv "$folder/model.json" "$folder/run/model.json"
sed -i 's/"lengths": \[8, 16\],/"about": "its name is taken",/; s/\["n", "length"\], "type": "i32" } },$/["n", 8], "type": "i32" } },/' "$folder/run/model.json"
gives 1 "$selfc" build "$folder/run" -o "$folder/word.o"; says "tiny_word"
finish
