#!/usr/bin/env bash
# Models of the BERT family from a folder of transformers' and back, and what is said about folders that do not fit. The
# numbers themselves are compared with transformers' in tests/oracle_import.py.
. "$(dirname "$0")/common.bash"
cd "$folder" || exit 1

# make FOLDER CHANGE…: a small model of two layers; each CHANGE is a line of Python on `config`, `tensors` (name: dtype,
# shape, values) and `files`.
cat >make.py <<'END'
import json, os, random, struct, sys

random.seed(1)
config = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "vocab_size": 11, "hidden_size": 8,
          "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 40,
          "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12}
tensors = {}
pack = {"F32": "f", "F16": "e", "I64": "q"}

def size(shape):
    count = 1
    for dim in shape:
        count *= dim
    return count

def put(name, *shape, dtype="F32"):
    tensors[name] = [dtype, list(shape), [random.randint(-64, 64) / 128 for _ in range(size(shape))]]

def dense(name, into, out):
    put(name + ".weight", out, into)
    put(name + ".bias", out)

def norm(name):
    put(name + ".weight", 8)
    put(name + ".bias", 8)

put("bert.embeddings.word_embeddings.weight", 11, 8)
put("bert.embeddings.position_embeddings.weight", 40, 8)
put("bert.embeddings.token_type_embeddings.weight", 2, 8)
norm("bert.embeddings.LayerNorm")
for i in range(2):
    layer = f"bert.encoder.layer.{i}."
    for part in "query", "key", "value":
        dense(layer + "attention.self." + part, 8, 8)
    dense(layer + "attention.output.dense", 8, 8)
    norm(layer + "attention.output.LayerNorm")
    dense(layer + "intermediate.dense", 8, 12)
    dense(layer + "output.dense", 12, 8)
    norm(layer + "output.LayerNorm")
dense("cls.predictions.transform.dense", 8, 8)
norm("cls.predictions.transform.LayerNorm")
put("cls.predictions.bias", 11)

def rename(change):
    for name in list(tensors):
        tensors[change(name)] = tensors.pop(name)

def data(dtype, values):
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{pack[dtype]}", *values)

def safetensors(tensors):
    header, body = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        part = data(dtype, values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(part)]}
        body += part
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##d"]
files = {"vocab.txt": "".join(word + "\n" for word in words).encode()}
for change in sys.argv[2:]:
    exec(change)
files.setdefault("config.json", json.dumps(config).encode())
if "model.safetensors.index.json" not in files:
    files.setdefault("model.safetensors", safetensors(tensors))
os.mkdir(sys.argv[1])
for name, bytes in files.items():
    if bytes is not None:
        open(os.path.join(sys.argv[1], name), "wb").write(bytes)
END
make() { python3 make.py "$@" || fail "cannot make $1"; }
number=0
# refuses TEXT CHANGE…: a model with these changes is not imported, and the message says why.
refuses() {
    local text=$1
    shift
    number=$((number + 1))
    make "bad$number" "$@"
    gives 1 "$selfc" import "bad$number" -o "no$number"
    says "$text"
    [ -e "no$number" ] && fail "a folder was written all the same: $text"
}

# There and back: the same bits, and a RUN like any other.
make there
gives 0 "$selfc" import there -o run
prints "a BertForMaskedLM, 2 layers of 8, 11 words"
gives 0 "$selfc" check run; prints "fill_mask_32: text i32[n,32], count i32[n], positions i32[n], segment i32[n,32]"; prints "encode_40: "
for file in model.json weights.safetensors tokenizer.json; do [ -s "run/$file" ] || fail "there is no run/$file"; done
gives 0 "$selfc" export run -o back
for file in config.json tokenizer.json tokenizer_config.json; do [ -s "back/$file" ] || fail "there is no back/$file"; done
same there/vocab.txt back/vocab.txt
gives 0 "$selfc" import back -o again
same_tensors run/weights.safetensors again/weights.safetensors
same run/tokenizer.json again/tokenizer.json
gives 0 "$selfc" build run -o fill.o --function fill_mask; grep -q "run_fill_mask_40(" fill.h || fail "there is no fill_mask in fill.h"

# Other ways to write the same: halves (all values are whole 128ths), old names, no prefix, a tied decoder, shards.
make f16 'for t in tensors.values(): t[0] = "F16"'
make bf16 'for t in tensors.values(): t[0] = "BF16"'
make old 'rename(lambda n: n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"))' \
    'tensors["bert.embeddings.position_ids"] = ["I64", [1, 40], list(range(40))]' 'put("cls.seq_relationship.weight", 2, 8)'
make bare 'rename(lambda n: n.removeprefix("bert."))'
make tied 'tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]' \
    'tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]'
make shards 'names = list(tensors)' 'where = {n: f"part-{i % 3}.safetensors" for i, n in enumerate(names)}' \
    'files["model.safetensors.index.json"] = json.dumps({"weight_map": where}).encode()' \
    'for i in range(3): files[f"part-{i}.safetensors"] = safetensors({n: tensors[n] for n in names if where[n] == f"part-{i}.safetensors"})'
for way in f16 bf16 old bare tied shards; do
    gives 0 "$selfc" import $way -o run-$way
    same_tensors run/weights.safetensors run-$way/weights.safetensors
done
gives 0 "$selfc" import old -o other; prints "left out: 2 tensors"

# Many more embeddings than tokens: what is imported can be used.
make spare 'config["vocab_size"] = 300' 'put("bert.embeddings.word_embeddings.weight", 300, 8)' 'put("cls.predictions.bias", 300)'
gives 0 "$selfc" import spare -o spare-run
gives 0 "$selfc" fill-mask spare-run "a [MASK] c"; prints "%"

# Other heads.
gives 0 "$selfc" import there -o encoder --as encoder
prints "a BertModel"; prints "left out: 5 tensors"
gives 0 "$selfc" check encoder; prints "hidden_32: "
gives 1 "$selfc" import there -o no --as classifier; says "classifier.weight, f32[2,8], is not in it"; says "--as"
gives 1 "$selfc" import there -o no --as encodr; says 'did you mean "encoder"?'
cat >judge.py <<'END'
config["architectures"] = ["BertForSequenceClassification"]
config["id2label"] = {"0": "no", "1": "yes", "2": "\"so\""}
for n in [n for n in tensors if n.startswith("cls.")]: del tensors[n]
dense("bert.pooler.dense", 8, 8)
dense("classifier", 8, 3)
END
make judge 'exec(open("judge.py").read())'
gives 0 "$selfc" import judge -o judge-run
gives 0 "$selfc" check judge-run; prints "classify_32: text i32[n,32], count i32[n], segment i32[n,32] → probability f32[n,3]"
gives 0 "$selfc" export judge-run -o judge-back
grep -qF '"2": "\"so\""' judge-back/config.json || fail "the names of classes are lost"
gives 0 "$selfc" classify judge-run "a b" --json; prints '"name": '; prints '"probabilities": ['
# Any number of classes: told so, and still so after export and import.
make several 'exec(open("judge.py").read())' 'config["problem_type"] = "multi_label_classification"'
make single 'exec(open("judge.py").read())' 'dense("classifier", 8, 1)' 'del config["id2label"]' 'config["num_labels"] = 1'
for kind in several single; do
    gives 0 "$selfc" import $kind -o $kind-run
    gives 0 "$selfc" export $kind-run -o $kind-back
    gives 0 "$selfc" import $kind-back -o $kind-again
    for run in run again; do
        gives 0 "$selfc" classify $kind-$run "a b" "c" "a cd b" "" --json
        mv "$folder/out" $kind-$run.json
        gives 0 "$selfc" classify $kind-$run "a b" "c" "a cd b" ""
        mv "$folder/out" $kind-$run.txt
    done
    same $kind-run.json $kind-again.json; same $kind-run.txt $kind-again.txt
    python3 - $kind-run.json $kind-run.txt <<'END' || fail "$kind: the classes are not those from one half"
import json, sys
names = ["no", "yes", '"so"']
for line, shown in zip(open(sys.argv[1]), open(sys.argv[2])):
    told = json.loads(line)
    right = [i for i, p in enumerate(told["probabilities"]) if p >= 0.5]
    if told["classes"] != right or "class" in told or told.get("names", None) not in (None, [names[i] for i in right]):
        sys.exit(line)
    if shown.count("%") != len(right) or (not right) != shown.startswith("none  "):
        sys.exit(shown)
END
done
grep -q '"names": \[' several-run.json || fail "names of classes are not told"
make first 'os.makedirs("first/1_Pooling"); os.mkdir = lambda name: None' 'files["1_Pooling/config.json"] = b"{\"pooling_mode_max_tokens\": true}"'
gives 1 "$selfc" import first -o no; says '1_Pooling/config.json:1:2: error: "pooling_mode_max_tokens"'

# Embeddings as sentence-transformers makes them: by its steps, of so many tokens.
sentence() { # FOLDER TYPES POOLING: its files, the pooling in a folder of another name
    make "$1"
    mkdir "$1/pool"
    echo "$3" >"$1/pool/config.json"
    echo '{"max_seq_length": 36, "do_lower_case": false}' >"$1/sentence_bert_config.json"
    python3 -c 'import json, sys; print(json.dumps([{"path": "pool" if t == "Pooling" else "", "type": "sentence_transformers.models." + t}
                                                    for t in sys.argv[1].split()]))' "$2" >"$1/modules.json"
}
sentence rows "Transformer Pooling Normalize" '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
gives 0 "$selfc" import rows -o rows-run
grep -qF '"first": true' rows-run/model.json || fail "the pooling that modules.json names is not looked at"
gives 0 "$selfc" check rows-run; prints "encode_36: "; prints "fill_mask_40: "
grep -q "encode_40: " "$folder/out" && fail "texts are longer than max_seq_length"
gives 0 "$selfc" export rows-run -o rows-back
gives 0 "$selfc" import rows-back -o rows-again
sed 's/rows-run/rows-again/' rows-run/model.json | cmp -s - rows-again/model.json || fail "an embedding is another after export and import: $(cat rows-again/model.json)"
grep -q '"pooling_mode_mean_tokens": true' back/1_Pooling/config.json || fail "the pooling is not exported"
sentence none "Transformer Pooling" '{"pooling_mode": "mean"}'
echo '{"max_seq_length": null}' >none/sentence_bert_config.json
gives 0 "$selfc" import none -o none-run; gives 0 "$selfc" check none-run; prints "encode_40: "
echo '{"max_seq_length": 0}' >none/sentence_bert_config.json
gives 1 "$selfc" import none -o no; says 'sentence_bert_config.json:1:20: error: "max_seq_length" must be'
sentence wide "Transformer Pooling Dense Normalize" '{"pooling_mode_mean_tokens": true}'
gives 1 "$selfc" import wide -o no; says 'modules.json:1:'; says '"Dense" is a step that selfc does not import'
rm wide/modules.json
gives 0 "$selfc" import wide -o wide-run
sentence both "Transformer Pooling" '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}'
gives 1 "$selfc" import both -o no; says '"pooling_mode_mean_tokens" as well as "pooling_mode_cls_token"'
gives 0 "$selfc" export judge-run -o judge-encoder --as encoder

# Where something is already, nothing is written.
gives 1 "$selfc" import there -o run; says "run holds a model.json already"
gives 1 "$selfc" export run -o there; says "there holds a model already"
gives 2 "$selfc" import there; says "-o DIR"
gives 1 "$selfc" export "$model" -o no; says "name a RUN"

# Trained on: begun with the import, its embeddings frozen, with a head of its own; and out again.
python3 - <<'END'
import struct
def npy(name, rows):
    shape = (len(rows), len(rows[0])) if isinstance(rows[0], list) else (len(rows),)
    flat = [x for row in rows for x in row] if len(shape) == 2 else rows
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    open(name, "wb").write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(flat)}i", *flat))
npy("text.npy", [[2] + [5 + (i * j) % 4 for j in range(6)] + [3] for i in range(64)])
npy("count.npy", [8] * 64)
npy("label.npy", [i % 2 for i in range(64)])
END
mkdir described
cat >described/tune.json <<'END'
{
  "name": "tune",
  "training": {
    "data": { "text": { "path": "text.npy", "field": "value" }, "count": { "path": "count.npy", "field": "value" },
              "label": { "path": "label.npy", "field": "value" } },
    "layers": [
      { "module": "bert", "input": ["text", "0 * text", "count"],
        "params": { "vocabulary": 11, "units": 8, "layers": 2, "heads": 2, "inner": 12, "positions": 40, "dropout": 0 } },
      { "module": "bert_pooler", "input": "hidden" },
      { "layer": "dense", "units": 2, "name": "classifier" },
      { "expr": "mean(cross_entropy(classifier, label))", "name": "loss" }
    ],
    "minimize": "loss", "batch": 16, "epochs": 2,
    "init": { "from": "../encoder", "new": ["bert_pooler", "classifier"] },
    "freeze": ["bert.word", "bert.position", "bert.segment", "bert.norm", "bert.layer.0"]
  }
}
END
gives 0 "$selfc" check described/tune.json
gives 0 "$selfc" train described/tune.json --out tuned
python3 - <<'END'
import json
model = json.load(open("described/tune.json"))
bert = {**model["training"]["layers"][0], "input": ["text", "0 * text", "count"]}
features = {"module": "text_features", "input": ["hidden", "count"]}
model["training"]["layers"].insert(1, {**features, "params": {"first": True}, "name": "embedding"})
model["training"]["layers"][-1]["expr"] = "mean(cross_entropy(classifier, label)) + 0 * mean(embedding)"
inputs = {"text": {"shape": ["n", 8], "type": "i32"}, "count": {"shape": ["n"], "type": "i32"}}
model["training"]["layers"][2]["input"] = "hidden"
model["functions"] = {"encode": {"inputs": inputs, "layers": [bert, features]}}
json.dump(model, open("described/means.json", "w"))
model["functions"]["encode"]["layers"].append({"expr": "2 * features", "name": "other"})
json.dump(model, open("described/others.json", "w"))
END
for name in means others; do
    gives 0 "$selfc" train described/$name.json --out $name
    gives 0 "$selfc" export $name -o $name-back
done
grep -q '"pooling_mode_mean_tokens": true' means-back/1_Pooling/config.json || fail "an export takes its pooling from the training"
[ -e others-back/modules.json ] && fail "an export promises an embedding that the function does not give"
gives 0 "$selfc" export tuned -o tuned-back; prints "a BertForSequenceClassification"
python3 - <<'END' || fail "what is frozen has changed, or what is not has stayed"
import json, struct, sys
def read(path):
    bytes = open(path, "rb").read()
    length = struct.unpack("<Q", bytes[:8])[0]
    header, body = json.loads(bytes[8:8 + length]), bytes[8 + length:]
    return {n: body[slice(*t["data_offsets"])] for n, t in header.items() if n != "__metadata__"}
before, after = read("encoder/weights.safetensors"), read("tuned/weights.safetensors")
frozen = lambda name: not name.startswith("bert.layer.1.")
sys.exit(any((before[n] == after[n]) != frozen(n) for n in before))
END
# Texts: the tokenizer is that of the weights, unless the description has one, which must be the same.
seq 64 | awk '{ print $1 % 2, ($1 % 2 ? "a b" : "c b"), ($1 % 3 ? "cd" : "a") }' >lines.train.txt
sed -e 's|"text": {[^}]*}|"text": { "source": "text", "path": "../lines.train.txt", "length": 8, "tokenizer": "vocab.txt" }|' \
    -e 's|"path": "count.npy", "field": "value"|"source": "text", "field": "count"|' \
    -e 's|"path": "label.npy", "field": "value"|"source": "text", "field": "label"|' \
    described/tune.json >described/texts.json
gives 0 "$selfc" train described/texts.json --out texts --data lines.train.txt
same texts/tokenizer.json encoder/tokenizer.json
sed 's/^a$/x/; s/^b$/a/; s/^x$/b/' there/vocab.txt >described/vocab.txt
for command in check "train --out texts2"; do
    gives 1 "$selfc" $command described/texts.json --data lines.train.txt
    says "learnt with the 9 tokens of"; says "is another, with 9"
done
gives 0 "$selfc" check described/texts.json --data lines.train.txt --set "training.init.from=$PWD/encoder/weights.safetensors"
cp there/vocab.txt described/vocab.txt
gives 0 "$selfc" check described/texts.json --data lines.train.txt
# Names of classes: the description's, else those of the weights, unless something is new.
python3 - <<'END'
import json
model = json.load(open("described/texts.json"))
model["training"]["data"]["label"]["labels"] = ["bad", "\"good\""]
layers = [dict(layer) for layer in model["training"]["layers"][:3]]
layers[0]["input"] = ["text", "0 * text", "count"]
ids = {"shape": ["n", 8], "type": "i32"}
model["functions"] = {"classify": {"inputs": {"text": ids, "count": {"shape": ["n"], "type": "i32"}},
                                   "layers": layers + [{"expr": "softmax(classifier)", "name": "probability"}]}}
json.dump(model, open("described/named.json", "w"))
del model["training"]["data"]["label"]["labels"]
model["training"]["init"] = "../named"
json.dump(model, open("described/again.json", "w"))
model["training"]["init"] = {"from": "../named", "new": "classifier"}
json.dump(model, open("described/new.json", "w"))
END
for name in named again new; do gives 0 "$selfc" train described/$name.json --out $name --data lines.train.txt; done
for name in named again; do
    gives 0 "$selfc" classify $name "a b" --json; grep -qE '"name": "(bad|\\"good\\")"' "$folder/out" || fail "$name: classes have no names"
    gives 0 "$selfc" export $name -o $name-back
    grep -qF '"id2label": {"0": "bad", "1": "\"good\""}' $name-back/config.json || fail "$name: the names of classes are not exported"
done
gives 0 "$selfc" classify new "a b" --json; grep -q '"name"' "$folder/out" && fail "names belong to other weights"
gives 0 "$selfc" build described/again.json -o again-program --data lines.train.txt
if [ -x again-program ]; then
    gives 0 ./again-program --data lines.train.txt --out built --steps 1 --quiet
    gives 0 "$selfc" classify built "a b" --json; prints '"name": "'
fi
# The same where a module of the description calls `bert`, with numbers of its own.
cat >wrapped.json <<'END'
{
  "name": "wrapped",
  "let": { "width": 8 },
  "modules": {
    "encode": {
      "inputs": { "text": { "shape": ["n", 8], "type": "i32" }, "count": { "shape": ["n"], "type": "i32" } },
      "params": { "heads": 1 },
      "layers": [
        { "module": "bert", "instance": "body", "input": ["text", "0 * text", "count"],
          "params": { "vocabulary": 11, "units": "width", "layers": 2, "heads": "2 * heads", "inner": 12, "positions": 40, "relu": true } },
        { "module": "bert_pooler", "input": "hidden", "name": "pooled" }
      ],
      "outputs": ["pooled"]
    }
  },
  "training": {
    "data": { "text": { "path": "text.npy", "field": "value" }, "count": { "path": "count.npy", "field": "value" },
              "label": { "path": "label.npy", "field": "value" } },
    "layers": [
      { "module": "encode", "instance": "left", "input": ["text", "count"], "params": { "heads": 2 } },
      { "layer": "dense", "units": 2, "name": "classifier" },
      { "expr": "mean(cross_entropy(classifier, label))", "name": "loss" }
    ],
    "minimize": "loss", "batch": 16, "epochs": 1
  }
}
END
gives 0 "$selfc" train wrapped.json --out wrapped
gives 0 "$selfc" export wrapped -o wrapped-back; prints "a BertForSequenceClassification, 2 layers of 8"
grep -q '"num_attention_heads": 4' wrapped-back/config.json || fail "the number of heads is not that of the call"
grep -q '"hidden_act": "relu"' wrapped-back/config.json || fail "the activation is not that of the call"
gives 0 "$selfc" import wrapped-back -o wrapped-again
python3 - <<'END' || fail "weights of a module within another are not the same after export and import"
import json, struct, sys
def read(path):
    bytes = open(path, "rb").read()
    length = struct.unpack("<Q", bytes[:8])[0]
    header, body = json.loads(bytes[8:8 + length]), bytes[8 + length:]
    return {n: body[slice(*t["data_offsets"])] for n, t in header.items() if n != "__metadata__"}
named = {n.replace("left.body.", "bert.").removeprefix("left."): t for n, t in read("wrapped/weights.safetensors").items()}
sys.exit(named != read("wrapped-again/weights.safetensors"))
END
gives 1 "$selfc" export wrapped -o no --as masked-lm; says "masked_language_model.transform.weight is not there"

gives 1 "$selfc" check described/tune.json --set training.init.new=classifier; says "bert_pooler.dense.weight, f32[8,8], is not there"
gives 1 "$selfc" check described/tune.json --set training.init=there; says "is not there"
sed 's|"\.\./encoder"|"../there"|' described/tune.json >described/raw.json
gives 1 "$selfc" check described/raw.json; says "selfc import"
sed 's|"units": 8|"units": 6|' described/tune.json >described/wide.json
gives 1 "$selfc" check described/wide.json; says "bert.word.weight, f32[11,6], is f32[11,8] there"; says "and 2"

# Folders that are no model, or none that we know.
mkdir empty
gives 1 "$selfc" import empty -o no; says "empty/config.json"; says "save_pretrained"
gives 1 "$selfc" import nowhere -o no; says "nowhere/config.json"
refuses "config.json:1:2" 'files["config.json"] = b"{,}"'
refuses "must be the object" 'files["config.json"] = b"[]"'
refuses '"RobertaForMaskedLM" is no architecture that selfc imports: BertForMaskedLM' 'config["architectures"] = ["RobertaForMaskedLM"]'
refuses '"model_type" is "roberta"' 'config["model_type"] = "roberta"'
refuses "say with --as" 'del config["architectures"]'
refuses '"position_embedding_type" is "relative_key"' 'config["position_embedding_type"] = "relative_key"'
refuses '"add_cross_attention" is on' 'config["add_cross_attention"] = True'
refuses '"is_decoder" is on' 'config["is_decoder"] = True'
refuses '"hidden_act" is "silu"' 'config["hidden_act"] = "silu"'
refuses "3 heads cannot share" 'config["num_attention_heads"] = 3'
refuses '"hidden_size" is -8' 'config["hidden_size"] = -8'
refuses '"hidden_size" is a string' 'config["hidden_size"] = "8"'
refuses '"layer_norm_eps" must be' 'config["layer_norm_eps"] = 0'
refuses '"problem_type" is "regression"' 'config["architectures"] = ["BertForSequenceClassification"]' 'config["problem_type"] = "regression"'
refuses "its tokenizer has 9 tokens, but the model embeddings for 8" 'config["vocab_size"] = 8' \
    'put("bert.embeddings.word_embeddings.weight", 8, 8)' 'put("cls.predictions.bias", 8)'
# Weights that do not fit.
refuses "holds no weights" 'files["model.safetensors"] = None'
refuses "is a pickle" 'files["model.safetensors"] = None' 'files["pytorch_model.bin"] = b"x"'
refuses "is the file cut off?" 'files["model.safetensors"] = safetensors(tensors)[:-100]'
refuses "not a valid safetensors file" 'files["model.safetensors"] = b"1234567"'
refuses "no \"weight_map\"" 'files["model.safetensors.index.json"] = b"{}"'
refuses "must be in a file of this folder" 'files["model.safetensors.index.json"] = b"{\"weight_map\": {\"a\": \"../there/model.safetensors\"}}"'
refuses "part-7" 'files["model.safetensors.index.json"] = b"{\"weight_map\": {\"a\": \"part-7.safetensors\"}}"'
refuses "bert.encoder.layer.1.output.dense.weight, f32[8,12], is not in it" 'del tensors["bert.encoder.layer.1.output.dense.weight"]'
refuses "word_embeddings.weight is f32[12,8], but config.json makes it f32[11,8]" 'put("bert.embeddings.word_embeddings.weight", 12, 8)'
refuses "bert.embeddings.LayerNorm.bias is i64[8], but must be f32, f16 or bf16" 'tensors["bert.embeddings.LayerNorm.bias"] = ["I64", [8], [0] * 8]'
refuses "bert.encoder.layer.2.extra, f32[3], has no place in it" 'put("bert.encoder.layer.2.extra", 3)'
refuses "and 24 more" 'config["num_hidden_layers"] = 4'
refuses '"tie_word_embeddings": false' 'put("cls.predictions.decoder.weight", 11, 8)'
finish
