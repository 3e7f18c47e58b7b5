#!/usr/bin/env python3
"""What pretraining without labels is worth where there are few labels.

    bench/few_labels.py --data MNIST [--labels 0.01] [--epochs 5] [--seeds 0 1 2] [--threads 2]

Trains examples/simclr/mnist.json without labels on all pictures, then judges the encoder by a linear classifier of its
features and by fine-tuning, both on the same share of the labels; beside them, the same network trained on those labels
alone, from scratch, by the recipe of fine-tuning. --model names another description. Prints a table of test accuracies
and one JSON object. A folder for the runs, --out, lets a run that was stopped go on."""
import argparse, json, os, statistics, subprocess, sys, tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROTOCOLS = {"scratch": "finetune", "linear": "linear", "finetune": "finetune", "knn": "knn"}


def call(arguments, *words):
    subprocess.run([os.path.join(arguments.build, "selfc"), *words, "--threads", str(arguments.threads)], check=True,
                   stdout=subprocess.DEVNULL)


def judge(arguments, what, model, seed, out):
    if not os.path.exists(out):
        call(arguments, "eval", model, "--data", arguments.data, "--protocol", PROTOCOLS[what], "--labels",
             str(arguments.labels), "--seed", str(seed), "-o", out)
    with open(out) as file:
        return json.load(file)


def run(arguments, seed):
    folder = os.path.join(arguments.out, f"seed{seed}")
    resume = ["--resume"] if os.path.exists(os.path.join(folder, "checkpoint.safetensors")) else []
    call(arguments, "train", arguments.model, "--data", arguments.data, "--epochs", str(arguments.epochs), "--seed",
         str(seed), "--out", folder, *resume)
    return {what: judge(arguments, what, arguments.model if what == "scratch" else folder, seed,
                        f"{folder}-{what}.json") for what in PROTOCOLS}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default=os.path.join(TOP, "examples/simclr/mnist.json"))
    parser.add_argument("--labels", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out")
    parser.add_argument("--build", default=os.path.join(TOP, "build/release"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arguments.out = arguments.out or folder
        os.makedirs(arguments.out, exist_ok=True)
        results = [run(arguments, seed) for seed in arguments.seeds]
    some = results[0]["linear"]
    print(f"{some['labelled_samples']} labels, {arguments.epochs} epochs of {some['train_samples']} samples without, "
          f"{some['test_samples']} to test\n")
    print("| seed | " + " | ".join(PROTOCOLS) + " |\n" + "|---" * (len(PROTOCOLS) + 1) + "|")
    for seed, result in zip(arguments.seeds, results):
        print(f"| {seed} | " + " | ".join(f"{100 * result[what]['accuracy']:.2f} %" for what in PROTOCOLS) + " |")
    mean = {what: statistics.mean(result[what]["accuracy"] for result in results) for what in PROTOCOLS}
    print("| mean | " + " | ".join(f"{100 * mean[what]:.2f} %" for what in PROTOCOLS) + " |\n")
    gain = 100 * (mean["linear"] - mean["scratch"])
    print(f"the linear classifier is {gain:+.2f} points from the network trained from scratch")
    print(json.dumps({"model": os.path.basename(arguments.model), "labels": arguments.labels, "epochs": arguments.epochs,
                      "seeds": arguments.seeds, **{what: round(mean[what], 6) for what in PROTOCOLS},
                      "gain_points": round(gain, 3)}))


if __name__ == "__main__":
    sys.exit(main())
