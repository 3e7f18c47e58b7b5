"""The film reviews of examples/bert/sst2.json in PyTorch, from the same weights: accuracy on the dev split.

    bench/sst2_twin.py MINILM SST2.train.txt [--seed N] [--threads N]

MINILM is a folder with a BERT as transformers writes it, that `selfc import` was given, too. The recipe is that of the
description: rows of at most 64 tokens, mean of what is no padding, dropout, a dense layer; AdamW with warm-up, linear
decay and clipping, three epochs in batches of 32. Orders and dropout are PyTorch's own, so figures agree within what
seeds differ.
"""
import argparse, os, sys, time

sys.modules.setdefault("torchvision", None)  # transformers looks for it, and one that does not fit breaks it
import torch
from transformers import AutoTokenizer, BertModel, logging

logging.set_verbosity_error()
logging.disable_progress_bar()

BATCH, EPOCHS, LENGTH, RATE, WARM_UP, DECAY = 32, 3, 64, 1e-4, 60, 0.01


def lines_of(path):
    pairs = [line.rstrip("\n").split(" ", 1) for line in open(path, encoding="utf-8") if line.strip()]
    return [text for _, text in pairs], torch.tensor([int(label) for label, _ in pairs])


def rows_of(tokenizer, texts):
    rows = tokenizer(texts, max_length=LENGTH, truncation=True, padding="max_length", return_tensors="pt")
    return rows["input_ids"], rows["attention_mask"]


class Reviews(torch.nn.Module):
    def __init__(self, folder):
        super().__init__()
        self.bert = BertModel.from_pretrained(folder, add_pooling_layer=False)
        self.drop = torch.nn.Dropout(0.1)
        self.scores = torch.nn.Linear(self.bert.config.hidden_size, 2)
        torch.nn.init.normal_(self.scores.weight, std=0.02)
        torch.nn.init.zeros_(self.scores.bias)

    def forward(self, ids, mask):
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        counts = mask.unsqueeze(-1).float()
        return self.scores(self.drop((hidden * counts).sum(1) / counts.sum(1)))


def optimizer_of(model):
    plain = [p for p in model.parameters() if p.ndim <= 1]
    decayed = [p for p in model.parameters() if p.ndim > 1]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0}], lr=RATE)


def accuracy(model, ids, mask, labels):
    model.eval()
    with torch.no_grad():
        right = sum((model(ids[i : i + BATCH], mask[i : i + BATCH]).argmax(1) == labels[i : i + BATCH]).sum().item()
                    for i in range(0, len(labels), BATCH))
    model.train()
    return right / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minilm")
    parser.add_argument("train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    folder, name = os.path.split(options.train)
    dev = os.path.join(folder, name.replace("train", "dev"))
    tokenizer = AutoTokenizer.from_pretrained(options.minilm)
    (texts, labels), (dev_texts, dev_labels) = lines_of(options.train), lines_of(dev)
    (ids, mask), (dev_ids, dev_mask) = rows_of(tokenizer, texts), rows_of(tokenizer, dev_texts)
    model, steps = Reviews(options.minilm), len(labels) // BATCH * EPOCHS
    optimizer = optimizer_of(model)
    rate = lambda step: min(1, (step + 1) / WARM_UP) * min(1, (steps - step) / (steps - WARM_UP))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    start = time.time()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(labels))
        for i in range(0, len(labels) // BATCH * BATCH, BATCH):
            at = order[i : i + BATCH]
            loss = torch.nn.functional.cross_entropy(model(ids[at], mask[at]), labels[at])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: {100 * accuracy(model, dev_ids, dev_mask, dev_labels):.2f} % of {len(dev_labels)}, "
              f"{time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
