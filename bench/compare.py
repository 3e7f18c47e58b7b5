#!/usr/bin/env python3
"""selfc against PyTorch and others on the same work, in one go, on this machine.

    bench/compare.py resnet50-train         a training step of ResNet-50, 224x224, batch 16
    bench/compare.py resnet18-train         one of ResNet-18, 32x32, batch 128
    bench/compare.py resnet50-infer         ResNet-50's function "classify" on 1 and on 16 pictures; ONNX Runtime, too
    bench/compare.py bert-train             a training step of BERT-base filling masks, batch 8 of 128 tokens
    bench/compare.py bert-small-train       one of four layers of 256, batch 32 of 128 tokens
    bench/compare.py minilm-infer           features of 1 and of 32 texts of 128 tokens; ONNX Runtime, too
    bench/compare.py conv                   each convolution of ResNet-50 alone, in three directions, batch 16
    bench/compare.py attention              attention alone, forward and with gradients: BERT's, MiniLM's, long ones
    bench/compare.py vae [--data DIR]       a training step of the variational auto-encoder, batch 128
    bench/compare.py augment                two views of each of 64 pictures as SimCLR makes them, 224x224 of 256x256
    bench/compare.py tokenize [--data FILE] [--vocabulary FILE]     lines of text to tokens, one thread; `tokenizers`
    bench/compare.py embedding              rows of a table taken, and the table's dense gradient: 30522 x 768, 1024 taken
    bench/compare.py gemm                   products of matrices: square ones, BERT's, the VAE's, ResNet-50's 1x1
    bench/compare.py gemm --size 1024 8x64x9     these, also on one thread: rows x inner x columns

Every rival is a process of its own that waits while others run. They take turns, round after round, with the
machine's peak rate of multiply-adds measured in between; what counts is the median of the rounds. PyTorch runs
eagerly and through torch.compile, and the fastest counts. Prints a table and, as its last line, one JSON object. Needs
a release build (build/release, or --build) and a Python with PyTorch.

A new workload is an entry in WORKLOADS, a function in one of the files beside, and its rivals in python_worker.py.
"""
import argparse, json, os, tempfile

import attention_work, augment_work, bert_work, conv_work, resnet_work, small_work, tokenize_work
from rivals import TOP, compile_c, compile_worker

# name: (function of the arguments that gives the result, rounds, seconds for each rival in each round)
WORKLOADS = {
    "resnet50-train": (resnet_work.compare_train_50, 7, 1.0),
    "resnet18-train": (resnet_work.compare_train_18, 7, 1.0),
    "resnet50-infer": (resnet_work.compare_infer_50, 7, 1.0),
    "bert-train": (bert_work.compare_base, 5, 1.0),
    "bert-small-train": (bert_work.compare_small, 5, 1.0),
    "minilm-infer": (bert_work.compare_minilm, 5, 1.0),
    "conv": (conv_work.compare_conv, 3, 0.2),
    "attention": (attention_work.compare_attention, 3, 0.3),
    "vae": (small_work.compare_vae, 7, 1.0),
    "augment": (augment_work.compare_augment, 7, 1.0),
    "tokenize": (tokenize_work.compare_tokenize, 7, 1.0),
    "embedding": (small_work.compare_embedding, 7, 1.0),
    "gemm": (small_work.compare_gemm, 3, 0.2),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="how often all take turns")
    parser.add_argument("--seconds", type=float, help="for each rival in each round; one run is the least")
    parser.add_argument("--skip", nargs="+", default=[], metavar="WORD",
                        help="leave out PyTorch's variants with this in their name, like compile, which starts slowly")
    parser.add_argument("--size", nargs="+", help="gemm: 1024 or 8x64x9, one or several")
    parser.add_argument("--data", help="vae: folder with MNIST's IDX files; tokenize: a text")
    parser.add_argument("--vocabulary", help="tokenize: vocab.txt of a BERT model, uncased; otherwise trained on the text")
    parser.add_argument("--build", default=os.path.join(TOP, "build/release"), help="folder with libselfc.so")
    arguments = parser.parse_args()
    work, rounds, seconds = WORKLOADS[arguments.workload]
    arguments.rounds = arguments.rounds or rounds
    arguments.seconds = arguments.seconds or seconds
    with tempfile.TemporaryDirectory() as arguments.folder:
        arguments.peak = compile_c("peak.c", os.path.join(arguments.folder, "peak"))
        arguments.worker_program = compile_worker(arguments)
        result = work(arguments)
    print(json.dumps({"workload": arguments.workload, **result}))


if __name__ == "__main__":
    main()
